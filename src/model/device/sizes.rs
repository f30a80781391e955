//! The sizes that follow from a model and a demand: steps, rings, memory. Pure.
//!
//! Who calls it: `model::device`.

use super::heads::Heads;
use super::layers::Common;
use super::progress::Cadence;
use super::{Demand, DeviceError, UTTERANCES, samples_of};
use crate::gpu::GpuError;
use crate::model::arch::{Architecture, Attention, Encoder};
use crate::model::decode::Decoder;
use crate::model::network;
use crate::model::weights::Weights;
use crate::ops::log_mel::cuda::TAIL;
use crate::ops::rel_attention::cuda::Heads as HeadSizes;
use crate::ops::subsample::frequencies;

/// Most frames of all streams of one step: bounds the memory for activations.
const MOST_ROWS: usize = 8_192;
/// Largest state that a device's free memory is filled with, in slots.
const MOST_SLOTS: usize = 65_536;
/// Share of the free memory that is left alone: one part in so many.
const SPARE: usize = 16;

/// The sizes that follow from a model and a demand.
pub(super) struct Sizes {
    pub(super) heads: HeadSizes,
    lead: u64,
    /// Frames of a stream and most streams of a step: of each context, or of each length of utterances.
    pub(super) shapes: Vec<(usize, usize)>,
    pub(super) streams: bool,
}

impl Sizes {
    pub(super) fn new(arch: &Architecture, demand: Demand) -> Result<Self, DeviceError> {
        let encoder = &arch.encoder;
        let streams = network::streams(arch);
        let contexts = network::contexts(arch);
        if streams && contexts.len() != encoder.contexts.len() {
            return Err(GpuError::Unsupported("an unlimited context of a model that streams".to_owned()).into());
        }
        let frames: Vec<usize> = if streams {
            contexts.iter().map(|(_, right)| right + 1).collect()
        } else {
            UTTERANCES.to_vec()
        };
        let window = contexts.iter().map(|(left, right)| left + right + 1).max();
        let longest = frames.iter().copied().max().unwrap_or(1);
        let batch = |frames: usize| demand.max_batch.min(MOST_ROWS / frames).max(1);
        Ok(Sizes {
            heads: HeadSizes {
                count: encoder.heads,
                depth: encoder.width / encoder.heads,
                ring: window.unwrap_or(longest).next_multiple_of(16),
            },
            lead: if encoder.causal_subsampling { 2 } else { 1 },
            shapes: frames.into_iter().map(|frames| (frames, batch(frames))).collect(),
            streams,
        })
    }

    /// Frames and most streams of the steps of one context.
    pub(super) fn shapes(&self, context: usize) -> Vec<(usize, usize)> {
        if self.streams {
            self.shapes.get(context).copied().into_iter().collect()
        } else {
            self.shapes.clone()
        }
    }

    pub(super) fn most_rows(&self) -> usize {
        self.shapes.iter().map(|(frames, batch)| frames * batch).max().unwrap_or(0)
    }

    pub(super) fn most_streams(&self) -> usize {
        self.shapes.iter().map(|(_, batch)| *batch).max().unwrap_or(0)
    }

    /// Slots that `free` bytes hold beside weights and activations, with a part left alone.
    pub(super) fn fit(&self, arch: &Architecture, weights: &Weights, decoder: &Decoder, free: usize) -> usize {
        let encoder = &arch.encoder;
        let [first, second, _] = frequencies(arch.frontend.mel_bins, encoder.causal_subsampling);
        let channels = encoder.subsampling_channels;
        let wide = (encoder.width * encoder.ff_expansion).max(3 * self.heads.width());
        let row = 2 * samples_of(1)
            + 32 * arch.frontend.mel_bins
            + 2 * channels * (4 * first + 2 * second)
            + 6 * encoder.width
            + 2 * (wide + self.heads.width());
        let activations = self.most_rows() * row + Heads::scratch(arch, decoder.reads(), self.most_rows());
        let weights: usize = weights.iter().map(|(_, tensor)| 2 * tensor.data.len()).sum();
        let rest = (free / SPARE * (SPARE - 1)).saturating_sub(weights + activations);
        (rest / self.per_slot(arch, decoder).max(1)).min(MOST_SLOTS)
    }

    /// The cadence of a context's steps, and which new frames see each other.
    pub(super) fn cadence(&self, encoder: &Encoder, context: usize, frames: usize) -> Result<(Cadence, [Option<usize>; 2]), DeviceError> {
        let long = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let context = encoder.contexts.get(context).copied().unwrap_or([-1, -1]);
        let [left, right] = context.map(|side| usize::try_from(side).ok());
        if !self.streams && encoder.attention == Attention::Chunked && right.is_some() {
            return Err(GpuError::Unsupported("a chunked mask over whole utterances".to_owned()).into());
        }
        let cadence = Cadence {
            lead: self.lead,
            chunk: long(frames),
            before: if self.streams { long(left.unwrap_or(0) / frames) } else { 0 },
            ring: long(self.heads.ring),
        };
        Ok((cadence, if self.streams { [None, None] } else { [left, right] }))
    }

    pub(super) fn common(&self, places: usize) -> Common {
        let distance = |frames: usize| i64::try_from(frames).unwrap_or(i64::MAX);
        let longest = self.shapes.iter().map(|(frames, _)| *frames).max().unwrap_or(1);
        Common {
            heads: self.heads,
            nearest: 1 - distance(longest),
            farthest: distance(self.heads.ring) - 1,
            slots: places,
            keeps: self.streams,
        }
    }

    /// Bytes of one slot.
    pub(super) fn per_slot(&self, arch: &Architecture, decoder: &Decoder) -> usize {
        let encoder = &arch.encoder;
        let [first, second, _] = frequencies(arch.frontend.mel_bins, encoder.causal_subsampling);
        let front = 4 * 2 * TAIL + 4 * 4 * arch.frontend.mel_bins + 2 * 4 * (first + second) * encoder.subsampling_channels;
        let [rings, tails] = self.common(1).kept(encoder);
        front + encoder.layers * 2 * (rings + tails) + Heads::kept(arch, decoder.reads())
    }
}
