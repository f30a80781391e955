//! Language prompt and the heads on the device: encoder frames to what the search on the host reads.
//!
//! Only the head that the decoder's search reads is uploaded. Who calls it: `model::device`.

use crate::gpu::{Buffer, Gpu, GpuError, Pinned, Pointer};
use crate::model::arch::Architecture;
use crate::model::decode::{Decoder, Emission, Heard, PromptTensors, Reads, TransducerTensors};
use crate::model::weights::Weights;
use crate::ops::linear::cuda::{Into, Linear, Prompted};
use crate::ops::log_softmax::cuda::LogSoftmax;
use crate::ops::transducer::cuda::{Search, Sizes, Tensors, Transducer};

use super::DeviceError;
use super::layers::Kernels;

/// Prompt and head of one model.
pub(super) struct Heads {
    prompt: Option<Prompt>,
    head: Head,
}

struct Prompt {
    first: Prompted,
    second: Linear,
    /// f16 `[rows, 2 * width]` and `[rows, width]`.
    inner: Buffer<u16>,
    frames: Buffer<u16>,
}

enum Head {
    Ctc(Box<Ctc>),
    Transducer(Box<Rnnt>),
}

/// CTC head: scores, the distribution, the best of each frame.
struct Ctc {
    linear: Linear,
    softmax: LogSoftmax,
    columns: usize,
    stride: usize,
    log_probs: Buffer<f32>,
    best: Buffer<i32>,
    most: Buffer<f32>,
    /// True if the search reads whole distributions.
    whole: bool,
    out_log_probs: Pinned<f32>,
    out_best: Pinned<i32>,
    out_most: Pinned<f32>,
}

/// Transducer head: the encoder's part of the joint, the search, and its state for every slot.
struct Rnnt {
    linear: Linear,
    search: Transducer,
    joint: Buffer<f32>,
    state: Buffer<f32>,
    cursor: Buffer<i32>,
    count: Buffer<i32>,
    tokens: Buffer<i32>,
    confidence: Buffer<f32>,
    max_symbols: usize,
    durations: Vec<u32>,
    out_count: Pinned<i32>,
    out_tokens: Pinned<i32>,
    out_confidence: Pinned<f32>,
}

/// The part of the buffers that one step uses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span<'a> {
    /// Descriptors of the streams.
    pub(super) rows: &'a Buffer<i32>,
    pub(super) streams: usize,
    /// Frames of a stream.
    pub(super) frames: usize,
}

/// How many streams and frames there are at most in a step, and places in the pools.
#[derive(Clone, Copy, Debug)]
pub(super) struct Most {
    /// Streams.
    pub(super) streams: usize,
    /// Frames of all streams together.
    pub(super) rows: usize,
    /// Places in the pools.
    pub(super) slots: usize,
}

impl Heads {
    pub(super) fn new(
        gpu: &Gpu,
        kernels: &Kernels,
        arch: &Architecture,
        weights: &Weights,
        decoder: &Decoder,
        most: Most,
    ) -> Result<Self, DeviceError> {
        let width = arch.encoder.width;
        // A model with prompts of which none is chosen runs without.
        let prompt = match PromptTensors::of(arch, weights)? {
            Some(PromptTensors { rows, slots, output }) if decoder.prompt(&decoder.new_state()).is_some() => {
                let second = Linear::new(gpu, &kernels.linears, output.0, Some(output.1), width, 2 * width)?;
                Some(Prompt {
                    first: Prompted::new(gpu, &kernels.linears, &rows, &slots, 2 * width, width)?,
                    second,
                    inner: gpu.zeros(most.rows * 2 * width)?,
                    frames: gpu.zeros(most.rows * width)?,
                })
            }
            _ => None,
        };
        let head = match decoder.reads() {
            Reads::Emitted => Head::Transducer(Box::new(Rnnt::new(gpu, kernels, arch, weights, decoder, most)?)),
            reads => Head::Ctc(Box::new(Ctc::new(gpu, kernels, arch, weights, reads == Reads::LogProbs, most)?)),
        };
        Ok(Heads { prompt, head })
    }

    /// Launches over `frames` (f16 `[streams, frames, width]`), and copies the results out.
    pub(super) fn forward(&mut self, gpu: &Gpu, mut frames: Pointer, span: Span<'_>) -> Result<(), GpuError> {
        let rows = span.streams * span.frames;
        if let Some(prompt) = &self.prompt {
            let inner = prompt.inner.pointer();
            prompt.first.forward(gpu, frames, rows, inner, span.rows, span.frames)?;
            let out = prompt.frames.pointer();
            prompt.second.forward(gpu, inner, rows, Into::Store(out), prompt.second.outputs())?;
            frames = out;
        }
        match &mut self.head {
            Head::Ctc(ctc) => ctc.forward(gpu, frames, rows),
            Head::Transducer(rnnt) => rnnt.forward(gpu, frames, span),
        }
    }

    /// What the step before gave for its stream `stream` of `frames` frames, of which `count` are real.
    pub(super) fn heard(&self, stream: usize, frames: usize, count: usize) -> Heard<'_> {
        match &self.head {
            Head::Ctc(ctc) => ctc.heard(stream * frames, count),
            Head::Transducer(rnnt) => rnnt.heard(stream, frames, count),
        }
    }

    /// Bytes that steps of `rows` frames need here.
    pub(super) fn scratch(arch: &Architecture, reads: Reads, rows: usize) -> usize {
        let width = arch.encoder.width;
        let prompt = if arch.prompt.is_some() { 2 * 3 * width } else { 0 };
        let head = match (&arch.transducer, reads) {
            (Some(sizes), Reads::Emitted) => 4 * sizes.joint_width.next_multiple_of(8) + 16 * sizes.max_symbols,
            _ => 4 * (arch.vocabulary + 1).next_multiple_of(8) + 8,
        };
        rows * (prompt + head)
    }

    /// Bytes that one slot holds here.
    pub(super) fn kept(arch: &Architecture, reads: Reads) -> usize {
        match (&arch.transducer, reads) {
            (Some(sizes), Reads::Emitted) => 4 * (2 * sizes.prediction_width * sizes.prediction_layers + sizes.joint_width + 2),
            _ => 0,
        }
    }
}

impl Ctc {
    fn new(gpu: &Gpu, kernels: &Kernels, arch: &Architecture, weights: &Weights, whole: bool, most: Most) -> Result<Self, DeviceError> {
        let (columns, width) = (arch.vocabulary + 1, arch.encoder.width);
        let (weight, bias) = Decoder::ctc_tensors(arch, weights)?;
        let stride = columns.next_multiple_of(8);
        Ok(Ctc {
            linear: Linear::new(gpu, &kernels.linears, weight, bias, columns, width)?,
            softmax: LogSoftmax::new(gpu)?,
            columns,
            stride,
            log_probs: gpu.zeros(most.rows * stride)?,
            best: gpu.zeros(most.rows)?,
            most: gpu.zeros(most.rows)?,
            whole,
            out_log_probs: gpu.pinned(if whole { most.rows * stride } else { 0 })?,
            out_best: gpu.pinned(most.rows)?,
            out_most: gpu.pinned(most.rows)?,
        })
    }

    fn forward(&mut self, gpu: &Gpu, frames: Pointer, rows: usize) -> Result<(), GpuError> {
        let scores = Into::Float(self.log_probs.pointer());
        self.linear.forward(gpu, frames, rows, scores, self.stride)?;
        self.softmax
            .forward(gpu, &self.log_probs, &self.best, &self.most, rows, self.columns, self.stride)?;
        if self.whole {
            return gpu.copy_out(&self.log_probs, rows * self.stride, &mut self.out_log_probs);
        }
        gpu.copy_out(&self.best, rows, &mut self.out_best)?;
        gpu.copy_out(&self.most, rows, &mut self.out_most)
    }

    fn heard(&self, first: usize, count: usize) -> Heard<'_> {
        if self.whole {
            let rows = self.out_log_probs.get(first * self.stride..(first + count) * self.stride);
            return Heard::LogProbs {
                rows: rows.unwrap_or_default(),
                stride: self.stride,
            };
        }
        let best = self.out_best.get(first..first + count).unwrap_or_default();
        let most = self.out_most.get(first..first + count).unwrap_or_default();
        let pairs = best.iter().zip(most);
        Heard::Best(pairs.map(|(id, most)| (u32::try_from(*id).unwrap_or(u32::MAX), *most)).collect())
    }
}

impl Rnnt {
    fn new(
        gpu: &Gpu,
        kernels: &Kernels,
        arch: &Architecture,
        weights: &Weights,
        decoder: &Decoder,
        most: Most,
    ) -> Result<Self, DeviceError> {
        let tensors = TransducerTensors::of(arch, weights)?;
        let tensors = tensors.ok_or_else(|| GpuError::Unsupported("a transducer search without a transducer".to_owned()))?;
        let (sizes, durations) = (tensors.sizes, tensors.sizes.durations.clone());
        let linear = Linear::new(
            gpu,
            &kernels.linears,
            tensors.encoder.0,
            Some(&tensors.encoder.1),
            sizes.joint_width,
            arch.encoder.width,
        )?;
        let search = Transducer::new(
            gpu,
            Sizes {
                layers: sizes.prediction_layers,
                prediction: sizes.prediction_width,
                joint: sizes.joint_width,
                vocabulary: arch.vocabulary,
                max_symbols: sizes.max_symbols,
            },
            Tensors {
                embedding: tensors.embedding,
                lstm: &tensors.lstm,
                lstm_bias: &tensors.lstm_bias,
                prediction: (tensors.prediction.0, &tensors.prediction.1),
                output: (tensors.output.0, &tensors.output.1),
                start: &decoder.transducer_start(),
                durations: &durations,
            },
        )?;
        let tokens = most.rows * sizes.max_symbols;
        Ok(Rnnt {
            linear,
            joint: gpu.zeros(most.rows * sizes.joint_width)?,
            state: gpu.zeros(most.slots * search.state())?,
            cursor: gpu.zeros(most.slots * 2)?,
            search,
            count: gpu.zeros(most.streams)?,
            tokens: gpu.zeros(tokens * 3)?,
            confidence: gpu.zeros(tokens)?,
            max_symbols: sizes.max_symbols,
            durations,
            out_count: gpu.pinned(most.streams)?,
            out_tokens: gpu.pinned(tokens * 3)?,
            out_confidence: gpu.pinned(tokens)?,
        })
    }

    fn forward(&mut self, gpu: &Gpu, frames: Pointer, span: Span<'_>) -> Result<(), GpuError> {
        let (stride, most) = (self.linear.outputs(), span.frames * self.max_symbols);
        let joint = Into::Float(self.joint.pointer());
        self.linear.forward(gpu, frames, span.streams * span.frames, joint, stride)?;
        self.search.forward(
            gpu,
            Search {
                joint: &self.joint,
                stride,
                rows: span.rows,
                streams: span.streams,
                frames: span.frames,
                state: &self.state,
                cursor: &self.cursor,
                count: &self.count,
                tokens: &self.tokens,
                confidence: &self.confidence,
                most,
            },
        )?;
        gpu.copy_out(&self.count, span.streams, &mut self.out_count)?;
        gpu.copy_out(&self.tokens, span.streams * most * 3, &mut self.out_tokens)?;
        gpu.copy_out(&self.confidence, span.streams * most, &mut self.out_confidence)
    }

    fn heard(&self, stream: usize, frames: usize, count: usize) -> Heard<'_> {
        let whole = |value: i32| usize::try_from(value).unwrap_or(0);
        let most = frames * self.max_symbols;
        let emitted = self.out_count.get(stream).map_or(0, |count| whole(*count)).min(most);
        let first = stream * most;
        let tokens = self.out_tokens.get(3 * first..3 * (first + emitted)).unwrap_or_default();
        let confidence = self.out_confidence.get(first..first + emitted).unwrap_or_default();
        let emissions = tokens.as_chunks::<3>().0.iter().zip(confidence);
        let emissions = emissions.map(|([id, frame, duration], confidence)| Emission {
            id: whole(*id),
            frame: whole(*frame),
            duration: usize::try_from(*duration).ok().and_then(|index| self.durations.get(index)).copied(),
            confidence: *confidence,
        });
        Heard::Emitted {
            frames: u32::try_from(count).unwrap_or(u32::MAX),
            emissions: emissions.collect(),
        }
    }
}
