//! What one stream leaves behind between two steps: audio tail, subsampling rows, frames that wait for their chunk, and for
//! every block the keys, values and convolution inputs of the recent past.
//!
//! All memory is taken when a state is made; a reset only moves counters. Who calls it: `model::network`, `engine`.

use super::arch::Encoder as Architecture;
use super::frontend::FrontendState;
use crate::ops::depthwise_conv::History;
use crate::ops::rel_attention::KeyValues;
use crate::ops::subsample::SubsampleState;

/// The caches of one block.
#[derive(Clone, Debug)]
pub struct LayerState {
    /// Projected keys and values.
    pub window: KeyValues,
    /// Inputs of the depthwise convolution.
    pub history: History,
}

/// The caches of all blocks.
#[derive(Clone, Debug)]
pub struct EncoderState {
    layers: Vec<LayerState>,
    /// One layer's caches serve all blocks in turn: an utterance in one step needs no past.
    shared: bool,
}

impl EncoderState {
    /// For a stream that sees `frames` frames at once, at most `step` of them new.
    pub fn streaming(arch: &Architecture, frames: usize, step: usize) -> Self {
        let [left, _] = arch.conv_context;
        let layer = LayerState {
            window: KeyValues::new(arch.width, arch.heads, frames),
            history: History::new(arch.width, left, 0, step),
        };
        EncoderState {
            layers: vec![layer; arch.layers],
            shared: false,
        }
    }

    /// For one utterance of `frames` frames in one step.
    pub fn whole(arch: &Architecture, frames: usize) -> Self {
        let [left, right] = arch.conv_context;
        let layer = LayerState {
            window: KeyValues::new(arch.width, arch.heads, frames),
            history: History::new(arch.width, left, right, frames),
        };
        EncoderState {
            layers: vec![layer],
            shared: true,
        }
    }

    /// Back to the start of a stream.
    pub fn reset(&mut self) {
        for layer in &mut self.layers {
            layer.window.reset();
            layer.history.reset();
        }
    }

    /// Frames that have passed through all blocks.
    pub fn position(&self) -> u64 {
        self.layers.last().map_or(0, |layer| layer.window.end())
    }

    /// Makes the caches ready for block `index`.
    pub(super) fn enter(&mut self, index: usize) {
        if self.shared && index > 0 {
            self.reset();
        }
    }

    /// The caches of block `index`.
    pub fn layer(&mut self, index: usize) -> Option<&mut LayerState> {
        self.layers.get_mut(if self.shared { 0 } else { index })
    }
}

/// Everything that one stream leaves behind.
#[derive(Clone, Debug)]
pub struct StreamState {
    pub(super) frontend: FrontendState,
    pub(super) subsample: SubsampleState,
    /// Subsampled frames whose chunk is not complete, `[n, width]`.
    pub(super) pending: Vec<f32>,
    pub(super) encoder: EncoderState,
    /// Context of the utterance, once it has begun.
    pub(super) context: Option<usize>,
    pub(super) ended: bool,
}

impl StreamState {
    /// Back to the start of an utterance.
    pub fn reset(&mut self) {
        self.frontend.reset();
        self.subsample.reset();
        self.pending.clear();
        self.encoder.reset();
        self.context = None;
        self.ended = false;
    }

    /// Encoder frames given out since the start of the utterance.
    pub fn frames(&self) -> u64 {
        self.encoder.position()
    }

    /// Caches of the blocks, for tests and dumps.
    pub fn encoder(&mut self) -> &mut EncoderState {
        &mut self.encoder
    }
}
