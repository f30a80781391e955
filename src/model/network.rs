//! The acoustic network: samples in, encoder frames out, for many live streams at once or one whole utterance.
//!
//! What it does: proves the tensors against the architecture, packs them, and runs front end, subsampling and blocks. Frames
//! enter the blocks only as whole chunks of `right + 1`, so results do not depend on how the audio was cut, and a stream gives
//! what the whole utterance gives under the same mask.
//! What it does not do: language prompts and tokens (`model::decode`), decide what runs together (`scheduler`).
//! Who calls it: `engine::neural`, and `cli` for dumps.

use rayon::prelude::*;
use thiserror::Error;

use super::arch::{Architecture, Attention, Normalize};
use super::encoder::{Encoder, EncoderScratch, Rows};
use super::frontend::{Frontend, mel_frames, normalize_per_feature};
use super::state::{EncoderState, StreamState};
use super::tensors::Front;
use super::weights::{Weights, WeightsError};
use crate::ops::linear::Linear;
use crate::ops::rel_attention::Mask;
use crate::ops::subsample::{Subsample, flat_weight, frames};

/// Longest utterance taken in one piece: one hour.
pub const LONGEST_UTTERANCE: usize = 16_000 * 3_600;
/// Mel frames subsampled at a time in a whole utterance.
const BLOCK: usize = 512;
const HOP: usize = 160;

/// The network of one checkpoint, ready to run; shared by all threads.
#[derive(Clone, Debug)]
pub struct Network {
    arch: Architecture,
    frontend: Frontend,
    subsample: Subsample,
    project: Linear,
    encoder: Encoder,
}

/// The network cannot be built or cannot do what was asked.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum NetworkError {
    /// A tensor is missing or has the wrong shape.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The numbers of the architecture contradict each other.
    #[error("impossible architecture: {0}")]
    Architecture(&'static str),
    /// The model hears whole utterances only, or the context has no bound on one side.
    #[error("the model cannot run as a live stream in context {0}")]
    NotStreaming(usize),
    /// There is no such context.
    #[error("context {0} does not exist")]
    NoSuchContext(usize),
    /// Neither -1 nor a count.
    #[error("impossible attention context {0:?}")]
    ImpossibleContext([i32; 2]),
    /// The samples would complete more frames than one step may give.
    #[error("stream {stream} of the step would give {frames} frames, at most {most} are allowed")]
    TooManyFrames {
        /// Place in the step.
        stream: usize,
        /// Frames that would be complete.
        frames: u64,
        /// Frames of one chunk.
        most: u64,
    },
    /// A stream went on in another context than it began in.
    #[error("stream {stream} of the step began in context {began}, the step uses {asked}")]
    ContextChanged {
        /// Place in the step.
        stream: usize,
        /// Context of its earlier steps.
        began: usize,
        /// Context of this step.
        asked: usize,
    },
    /// A stream went on after its end without a start.
    #[error("stream {0} of the step has ended")]
    Ended(usize),
    /// The utterance is too long to be heard in one piece.
    #[error("the utterance has {0} samples, at most {LONGEST_UTTERANCE} are allowed")]
    TooLong(usize),
}

/// The part of a step that belongs to one stream.
#[derive(Debug)]
pub struct StepInput<'a> {
    /// What earlier steps left.
    pub state: &'a mut StreamState,
    /// The next audio, mono at 16 kHz.
    pub samples: &'a [f32],
    /// First step of an utterance: the state is reset before anything else.
    pub start: bool,
    /// Last step of an utterance: what is buffered is completed with zeros.
    pub end: bool,
}

/// Buffers of one caller of [`Network::step`], kept between steps.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    streams: Vec<StreamScratch>,
    flat: Vec<f32>,
    subsampled: Vec<f32>,
    x: Vec<f32>,
    counts: Vec<usize>,
    encoder: EncoderScratch,
}

#[derive(Clone, Debug, Default)]
struct StreamScratch {
    mel: Vec<f32>,
    flat: Vec<f32>,
}

/// The frames that one step gave.
#[derive(Clone, Copy, Debug)]
pub struct Encoded<'a> {
    /// Frames of all streams one after the other, `[total, width]`.
    pub rows: &'a [f32],
    /// Frames of each stream, in the order of the step.
    pub counts: &'a [usize],
    /// Values of a frame.
    pub width: usize,
}

impl<'a> Encoded<'a> {
    /// The frames of each stream, in the order of the step.
    pub fn streams(self) -> impl Iterator<Item = &'a [f32]> {
        let mut rest = self.rows;
        self.counts.iter().map(move |count| {
            let (own, others) = rest.split_at_checked(count * self.width).unwrap_or((rest, &[]));
            rest = others;
            own
        })
    }
}

/// What [`Network::offline`] found on the way, row-major; for dumps and tests.
#[derive(Clone, Debug, Default)]
pub struct Probe {
    /// Log-mel frames `[T, mel_bins]`, normalized if the model asks for it.
    pub mel: Vec<f32>,
    /// Subsampled frames `[T', width]`, before any scaling.
    pub subsampled: Vec<f32>,
    /// Results of the blocks, `[T', width]` each.
    pub layers: Vec<Vec<f32>>,
}

impl Network {
    /// Packs the weights; every tensor must exist with the shape that `arch` implies.
    pub fn new(arch: &Architecture, weights: &Weights) -> Result<Self, NetworkError> {
        check(arch)?;
        let (bins, enc) = (arch.frontend.mel_bins, &arch.encoder);
        let (channels, causal) = (enc.subsampling_channels, enc.causal_subsampling);
        let front = Front::of(arch, weights)?;
        let subsample = Subsample::new(front.subsampling, channels, bins, causal);
        let project = Linear::new(
            &flat_weight(front.project.weight, enc.width, channels, front.frequencies),
            front.project.bias,
            enc.width,
            subsample.row(),
        );
        let mut encoder = Encoder::new(enc, weights)?;
        let bounds = contexts(arch);
        if let (Some(left), Some(right)) = (bounds.iter().map(|b| b.0).max(), bounds.iter().map(|b| b.1).max()) {
            let (left, right) = (i64::try_from(left).unwrap_or(i64::MAX), i64::try_from(right).unwrap_or(i64::MAX));
            encoder.prepare(-right, left + right + 1);
        }
        Ok(Network {
            arch: arch.clone(),
            frontend: Frontend::new(bins, front.window, front.filters),
            subsample,
            project,
            encoder,
        })
    }

    /// The architecture it was built from.
    pub fn architecture(&self) -> &Architecture {
        &self.arch
    }

    /// Values of one encoder frame.
    pub fn width(&self) -> usize {
        self.arch.encoder.width
    }

    /// Place of `[left, right]` among the model's contexts.
    pub fn context_index(&self, left: i32, right: i32) -> Option<usize> {
        self.arch.encoder.contexts.iter().position(|context| *context == [left, right])
    }

    /// True if the model can run as a live stream in that context.
    pub fn streams_in(&self, context: usize) -> bool {
        self.bounds(context).is_ok()
    }

    /// A fresh stream with room for the largest context; all memory that steps need is taken here.
    pub fn new_state(&self) -> StreamState {
        let bounds = contexts(&self.arch);
        let step = bounds.iter().map(|(_, right)| right + 1).max().unwrap_or(1);
        let window = bounds.iter().map(|(left, right)| left + right + 1).max().unwrap_or(1);
        StreamState {
            frontend: self.frontend.state(step * 8 * HOP),
            subsample: self.subsample.state(),
            pending: Vec::with_capacity(step * self.width()),
            encoder: EncoderState::streaming(&self.arch.encoder, window, step),
            context: None,
            ended: false,
        }
    }

    /// One step of many streams in one context. A stream gives frames when a chunk of `right + 1` is complete, or the rest at
    /// its end; it may not complete more than one chunk. On an error nothing was consumed. A stream's frames have the same
    /// bits alone and in any company.
    pub fn step<'s>(&self, context: usize, work: &mut [StepInput<'_>], scratch: &'s mut Scratch) -> Result<Encoded<'s>, NetworkError> {
        let (left, right) = self.bounds(context)?;
        let most = right + 1;
        for (stream, input) in work.iter().enumerate() {
            self.admit(stream, input, context, u64::try_from(most).unwrap_or(u64::MAX))?;
        }
        let size = u64::try_from(most).unwrap_or(u64::MAX);
        let mask = Mask::Chunked {
            size,
            before: Some(u64::try_from(left).unwrap_or(u64::MAX) / size),
        };
        // Everything below runs inside the pool, so that each parallel operation starts without a hand-over.
        rayon::scope(|_| self.run(context, most, mask, work, scratch));
        Ok(Encoded {
            rows: &scratch.x,
            counts: &scratch.counts,
            width: self.width(),
        })
    }

    /// Refuses what a step may not contain.
    fn admit(&self, stream: usize, input: &StepInput<'_>, context: usize, most: u64) -> Result<(), NetworkError> {
        let state = &input.state;
        let (mut received, mut given) = (0, 0);
        if !input.start {
            if state.ended {
                return Err(NetworkError::Ended(stream));
            }
            if let Some(began) = state.context.filter(|began| *began != context) {
                return Err(NetworkError::ContextChanged {
                    stream,
                    began,
                    asked: context,
                });
            }
            (received, given) = (state.frontend.received(), state.frames());
        }
        let samples = received.saturating_add(u64::try_from(input.samples.len()).unwrap_or(u64::MAX));
        let mel = mel_frames(samples, input.end);
        let complete = if input.end { frames(mel, true) } else { mel.div_ceil(8) };
        let frames = complete.saturating_sub(given);
        if frames > most {
            Err(NetworkError::TooManyFrames { stream, frames, most })
        } else {
            Ok(())
        }
    }

    fn run(&self, context: usize, most: usize, mask: Mask, work: &mut [StepInput<'_>], scratch: &mut Scratch) {
        let width = self.width();
        if scratch.streams.len() < work.len() {
            scratch.streams.resize_with(work.len(), StreamScratch::default);
        }
        work.par_iter_mut().zip(&mut scratch.streams).for_each(|(input, scratch)| {
            if input.start {
                input.state.reset();
            }
            input.state.context = Some(context);
            input.state.ended = input.end;
            scratch.mel.clear();
            scratch.flat.clear();
            self.frontend
                .push(&mut input.state.frontend, input.samples, input.end, &mut scratch.mel);
            self.subsample
                .push(&mut input.state.subsample, &scratch.mel, input.end, &mut scratch.flat);
        });

        scratch.flat.clear();
        for stream in scratch.streams.iter().take(work.len()) {
            scratch.flat.extend_from_slice(&stream.flat);
        }
        let fresh = scratch.flat.len() / self.subsample.row().max(1);
        scratch.subsampled.resize(fresh * width, 0.0);
        self.project.forward(&scratch.flat, fresh, &mut scratch.subsampled);
        self.scale(&mut scratch.subsampled);

        scratch.x.clear();
        scratch.counts.clear();
        let mut rest = scratch.subsampled.as_slice();
        for (input, stream) in work.iter_mut().zip(&scratch.streams) {
            let count = stream.flat.len() / self.subsample.row().max(1);
            let (own, others) = rest.split_at_checked(count * width).unwrap_or((rest, &[]));
            rest = others;
            let pending = &mut input.state.pending;
            pending.extend_from_slice(own);
            let complete = pending.len() / width;
            let ready = if input.end || complete == most { complete } else { 0 };
            scratch.counts.push(ready);
            if ready > 0 {
                scratch.x.append(pending);
            }
        }

        let counts = scratch.counts.iter().copied();
        let mut rows: Vec<Rows<'_>> = work
            .iter_mut()
            .zip(counts)
            .filter(|(_, count)| *count > 0)
            .map(|(input, count)| Rows {
                state: &mut input.state.encoder,
                count,
            })
            .collect();
        self.encoder
            .forward(&mut scratch.x, &mut rows, mask, &mut scratch.encoder, |_, _| {});
    }

    /// A whole utterance at once under the mask of `context` (`[left, right]` in frames, -1 unlimited; it need not be one of the
    /// model's): frames `[T', width]`. Memory grows with the length, never with its square.
    pub fn offline(&self, samples: &[f32], context: [i32; 2], mut probe: Option<&mut Probe>) -> Result<Vec<f32>, NetworkError> {
        let mask = self.mask(context)?;
        if samples.len() > LONGEST_UTTERANCE {
            return Err(NetworkError::TooLong(samples.len()));
        }
        let bins = self.arch.frontend.mel_bins;
        let mut mel = Vec::with_capacity(samples.len() / HOP * bins);
        self.frontend.push(&mut self.frontend.state(samples.len()), samples, true, &mut mel);
        if self.arch.frontend.normalize == Normalize::PerFeature {
            normalize_per_feature(&mut mel, bins);
        }
        let frames = self.encode(&mel, mask, probe.as_deref_mut());
        if let Some(probe) = probe {
            probe.mel = mel;
        }
        Ok(frames)
    }

    /// Log-mel frames of a whole utterance to encoder frames.
    fn encode(&self, mel: &[f32], mask: Mask, mut probe: Option<&mut Probe>) -> Vec<f32> {
        let (bins, width) = (self.arch.frontend.mel_bins, self.width());
        let mut state = self.subsample.state();
        let (mut x, mut flat) = (Vec::new(), Vec::new());
        let blocks = mel.len().div_ceil(BLOCK * bins);
        for (index, block) in mel.chunks(BLOCK * bins).enumerate() {
            flat.clear();
            self.subsample.push(&mut state, block, index + 1 == blocks, &mut flat);
            let (start, count) = (x.len(), flat.len() / self.subsample.row().max(1));
            x.resize(start + count * width, 0.0);
            self.project.forward(&flat, count, x.get_mut(start..).unwrap_or_default());
        }
        if let Some(probe) = probe.as_deref_mut() {
            probe.subsampled.clone_from(&x);
            probe.layers.clear();
        }
        self.scale(&mut x);
        let count = x.len() / width;
        let mut state = EncoderState::whole(&self.arch.encoder, count);
        let mut rows = [Rows { state: &mut state, count }];
        let mut scratch = EncoderScratch::default();
        rayon::scope(|_| {
            self.encoder.forward(&mut x, &mut rows, mask, &mut scratch, |_, rows| {
                if let Some(probe) = probe.as_deref_mut() {
                    probe.layers.push(rows.to_vec());
                }
            });
        });
        x
    }

    fn scale(&self, x: &mut [f32]) {
        if self.arch.encoder.scale_input {
            #[expect(clippy::as_conversions, reason = "the published factor sqrt(width)")]
            let factor = (self.width() as f32).sqrt();
            x.iter_mut().for_each(|value| *value *= factor);
        }
    }

    fn mask(&self, context: [i32; 2]) -> Result<Mask, NetworkError> {
        if context.iter().any(|side| *side < -1) {
            return Err(NetworkError::ImpossibleContext(context));
        }
        let [left, right] = context.map(|side| u64::try_from(side).ok());
        Ok(match (self.arch.encoder.attention, right) {
            (Attention::Chunked, Some(right)) => Mask::Chunked {
                size: right + 1,
                before: left.map(|left| left / (right + 1)),
            },
            // An unlimited chunk leaves only the left bound.
            _ => Mask::Regular { left, right },
        })
    }

    /// `left` and `right` of a context in which the model can stream.
    fn bounds(&self, context: usize) -> Result<(usize, usize), NetworkError> {
        let [left, right] = *self
            .arch
            .encoder
            .contexts
            .get(context)
            .ok_or(NetworkError::NoSuchContext(context))?;
        match (usize::try_from(left), usize::try_from(right)) {
            (Ok(left), Ok(right)) if streams(&self.arch) => Ok((left, right)),
            _ => Err(NetworkError::NotStreaming(context)),
        }
    }
}

/// True if the model can run chunk by chunk.
pub(super) fn streams(arch: &Architecture) -> bool {
    arch.encoder.streams() && arch.frontend.normalize == Normalize::None
}

/// `left` and `right` of all contexts in which the model can stream.
pub(super) fn contexts(arch: &Architecture) -> Vec<(usize, usize)> {
    let bounded = |[left, right]: &[i32; 2]| Some((usize::try_from(*left).ok()?, usize::try_from(*right).ok()?));
    if streams(arch) {
        arch.encoder.contexts.iter().filter_map(bounded).collect()
    } else {
        Vec::new()
    }
}

/// Refuses numbers that contradict each other or would need absurd memory, before anything is computed with them.
pub(super) fn check(arch: &Architecture) -> Result<(), NetworkError> {
    let enc = &arch.encoder;
    let rules = [
        (
            enc.width > 0 && enc.heads > 0 && enc.width.is_multiple_of(enc.heads),
            "the width is not a multiple of the heads",
        ),
        (
            enc.width <= 8_192 && enc.layers <= 256 && enc.ff_expansion <= 64,
            "the encoder is too large",
        ),
        (
            enc.layers > 0 && enc.ff_expansion > 0 && enc.subsampling_channels > 0,
            "a size is zero",
        ),
        (enc.subsampling_channels <= 8_192, "the subsampling has too many channels"),
        (
            (1..=512).contains(&arch.frontend.mel_bins),
            "the number of mel bins is not from 1 to 512",
        ),
        (
            enc.conv_kernel > 0 && enc.conv_kernel <= 1_024,
            "the convolution kernel is not from 1 to 1024",
        ),
        (
            enc.conv_context.iter().try_fold(1_usize, |sum, side| sum.checked_add(*side)) == Some(enc.conv_kernel),
            "the convolution context does not fit the kernel",
        ),
        (!enc.contexts.is_empty(), "there is no attention context"),
        (
            enc.contexts.iter().flatten().all(|side| (-1..=10_000).contains(side)),
            "an attention context is not from -1 to 10000",
        ),
    ];
    rules
        .into_iter()
        .find(|(holds, _)| !holds)
        .map_or(Ok(()), |(_, reason)| Err(NetworkError::Architecture(reason)))
}

#[cfg(test)]
#[path = "network_tests.rs"]
mod tests;
