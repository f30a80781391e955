//! Decoding where a device runs the heads: what they need there, and tokens from what the device heard.
//!
//! What it does: the searches that are left to the host ([`Decoder::settle`]). What it does not do: know devices, run them.
//! Who calls it: `model::device` while it is built, the engine on a GPU once for each stream of a step.

use super::transducer::Emission;
use super::{DecodeInput, DecodeState, Decoder, SearchState, confidence, ctc, transduce};
use crate::engine::batch::Decoded;
use crate::model::arch::Architecture;
use crate::model::weights::{Weights, WeightsError};
use crate::units::Frames;

/// What a device made of one stream's frames, for [`Decoder::settle`].
#[derive(Clone, Debug)]
pub enum Heard<'a> {
    /// ln probabilities, `stride` values a frame of which the first `V + 1` count.
    LogProbs {
        /// `[n, stride]`.
        rows: &'a [f32],
        /// Values from one frame to the next.
        stride: usize,
    },
    /// Best token of each frame and its probability.
    Best(Vec<(u32, f32)>),
    /// What a transducer emitted.
    Emitted {
        /// Frames that it went through.
        frames: u32,
        /// Its tokens, frames counted from the first of these.
        emissions: Vec<Emission>,
    },
}

impl Decoder {
    /// Decodes one stream's next frames where a device has run the heads: `heard` is what it made of them, the input's rows do not
    /// count. Confidences of [`Heard::Best`] and [`Heard::Emitted`] are greatest probabilities.
    pub fn settle(&self, input: &mut DecodeInput<'_>, heard: Heard<'_>) {
        *input.decoded = Decoded::default();
        self.take_up(input);
        match heard {
            Heard::LogProbs { rows, stride } => {
                let outputs = self.markers.len() + 1;
                let rows = rows.chunks_exact(stride.max(1)).filter_map(|row| row.get(..outputs));
                self.search_ctc(input, rows);
            }
            Heard::Best(best) => self.settle_best(input, &best),
            Heard::Emitted { frames, emissions } => {
                for emission in emissions {
                    let confidence = self.scaled(emission.confidence);
                    let token = transduce::token(&Emission { confidence, ..emission }, input.state.frames);
                    self.fix(token, input.decoded);
                }
                input.state.frames = input.state.frames.saturating_add(frames);
            }
        }
        input.decoded.frames = Frames(input.state.frames);
    }

    /// The greedy search over frames whose best tokens are known.
    fn settle_best(&self, input: &mut DecodeInput<'_>, best: &[(u32, f32)]) {
        let DecodeState {
            frames,
            search: SearchState::Ctc(greedy),
            ..
        } = &mut *input.state
        else {
            return;
        };
        let blank = u32::try_from(self.markers.len()).unwrap_or(u32::MAX);
        let mut fixed = Vec::new();
        for (id, most) in best {
            fixed.extend(greedy.push_best(*id, blank, Frames(*frames), || self.scaled(*most)));
            *frames = frames.saturating_add(1);
        }
        if input.commit || input.end {
            fixed.extend(greedy.open.take());
        }
        let tail = greedy.open;
        for token in fixed {
            self.fix(token, input.decoded);
        }
        input.decoded.tail = tail.into_iter().filter(|token| !self.marks_end(token.id)).collect();
    }

    /// The confidence of a frame whose greatest probability is `most`.
    #[expect(clippy::as_conversions, reason = "a vocabulary size becomes a factor")]
    fn scaled(&self, most: f32) -> f32 {
        confidence::scaled(most, (self.markers.len() + 1) as f32)
    }

    /// The CTC head's matrix `[V + 1, D]` and bias.
    ///
    /// # Errors
    /// The matrix is missing or one of the two has another shape.
    pub fn ctc_tensors<'a>(arch: &Architecture, weights: &'a Weights) -> Result<(&'a [f32], Option<&'a [f32]>), WeightsError> {
        ctc::tensors(arch, weights)
    }

    /// The transducer's state after the start symbol, if there is one: hidden and cell of each LSTM layer, then the prediction in the
    /// joint space.
    pub fn transducer_start(&self) -> Vec<f32> {
        self.transducer.as_ref().map(|transducer| transducer.start()).unwrap_or_default()
    }

    /// The prompt slot of a stream's state, if the checkpoint has prompts and one is chosen.
    pub fn prompt(&self, state: &DecodeState) -> Option<usize> {
        state.prompt
    }
}
