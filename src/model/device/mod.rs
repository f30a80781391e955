//! The network on a GPU: samples of many streams in, what the search reads of their frames out.
//!
//! What it does: uploads a model, takes all device memory that its slots and steps need, records a graph of copies and kernel
//! launches for every context and batch size, and runs one of them for each step: audio in, the kernels, results out, nothing
//! waited for but the end. The state of a stream stays in its slot on the device; the host only counts ([`progress`]).
//! A model that hears whole utterances is run in steps of whole utterances, for several lengths.
//! What it does not do: search ([`crate::model::decode`] does, with [`Heard`]), decide what runs together.
//! Who calls it: `engine::cuda`.
//!
//! A stream's results have the same bits in any batch and any slot: kernels sum in an order that depends on the row alone.

mod heads;
mod layers;
mod progress;
mod sizes;

use std::ops::Range;

use rayon::prelude::*;

use self::heads::{Heads, Most, Span};
use self::layers::{Activations, Kernels, Layer};
use self::progress::{Cadence, Progress};
use self::sizes::Sizes;
use super::arch::{Architecture, Encoder, Normalize};
use super::decode::{Decoder, Heard};
use super::network::{self, NetworkError};
use super::tensors::Front;
use super::weights::{Weights, WeightsError};
use crate::gpu::{Buffer, Gpu, GpuError, Graph, Pinned};
use crate::ops::linear::cuda::{Into, Linear};
use crate::ops::log_mel;
use crate::ops::log_mel::cuda::{Audio, LogMel, TAIL};
use crate::ops::rows::{Row, WORDS};
use crate::ops::subsample::cuda::{Places, Subsample};
use crate::ops::subsample::frequencies;
use crate::units::SAMPLES_PER_FRAME;

/// Frames of the steps that whole utterances run in; the longest window of a file has 300.
const UTTERANCES: [usize; 5] = [64, 128, 192, 256, 304];
/// How often fewer slots are tried.
const TRIES: usize = 5;

/// The network cannot run on the device, or a step could not.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The device.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// The model or the step, as on the processor.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A chunk that is neither whole nor the last.
    #[error("stream {stream} of the step would give {frames} of a chunk's {chunk} frames")]
    Incomplete {
        /// Place in the step.
        stream: usize,
        /// Frames that would be complete.
        frames: i32,
        /// Frames of a chunk.
        chunk: usize,
    },
}

impl From<WeightsError> for DeviceError {
    fn from(error: WeightsError) -> Self {
        DeviceError::Network(error.into())
    }
}

/// How many streams the device shall serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Slots for stream state; as many as fit if none.
    pub slots: Option<usize>,
    /// Most streams of a step.
    pub max_batch: usize,
}

/// What the memory of an open model was divided into, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// State of one stream.
    pub per_slot: usize,
    /// Slots.
    pub slots: usize,
    /// Memory that was free before, and after everything was taken.
    pub free: (usize, usize),
    /// Graphs recorded.
    pub graphs: usize,
}

/// The part of a step that belongs to one stream.
#[derive(Clone, Copy, Debug)]
pub struct DeviceInput<'a> {
    /// Its slot.
    pub slot: usize,
    /// The next audio, mono at 16 kHz, full scale 1; what is louder is clipped.
    pub samples: &'a [f32],
    /// First step of an utterance.
    pub start: bool,
    /// Last step of an utterance.
    pub end: bool,
    /// Language prompt.
    pub prompt: Option<usize>,
}

/// A step of fixed size: what streams of one context, or utterances up to one length, run in.
struct Plan {
    cadence: Cadence,
    /// Frames of a stream.
    frames: usize,
    /// Number of streams and its graph, ascending.
    graphs: Vec<(usize, Graph)>,
}

/// Buffers that all steps share, as large as the largest needs.
struct Scratch {
    pcm: Buffer<i16>,
    rows: Buffer<i32>,
    mel: Buffer<f32>,
    work: [Buffer<u16>; 2],
    x: Buffer<f32>,
    normed: Buffer<u16>,
    wide: Buffer<u16>,
    attended: Buffer<u16>,
    staged_pcm: Pinned<i16>,
    staged_rows: Pinned<i32>,
}

/// The stages before and after the graphs' inputs.
struct Stages {
    log_mel: LogMel,
    per_feature: bool,
    subsample: Subsample,
    project: Linear,
    layers: Vec<Layer>,
    audio_tails: Buffer<f32>,
    mel_tails: Buffer<f32>,
    row_tails: [Buffer<u16>; 2],
}

/// One model on one device.
pub struct DeviceNetwork {
    /// By context, and for utterances by context and length. First, so that graphs go before what they name.
    plans: Vec<Plan>,
    #[expect(dead_code, reason = "owns what the graphs name")]
    stages: Stages,
    heads: Heads,
    scratch: Scratch,
    gpu: Gpu,
    /// Where the stream of each slot stands; empty for utterances.
    progress: Vec<Progress>,
    streams: bool,
    slots: usize,
    footprint: Footprint,
}

/// What is taken on the device for one number of slots.
struct Parts {
    plans: Vec<Plan>,
    stages: Stages,
    heads: Heads,
    scratch: Scratch,
}

impl DeviceNetwork {
    /// Uploads a model, takes the memory, records the graphs. Where no number of slots is demanded and the estimate of how many fit
    /// was too high (drivers round what they are asked for), it tries again with fewer.
    ///
    /// # Errors
    /// A tensor is missing, the model is of a shape that the kernels do not take, or the device has too little memory.
    pub fn new(gpu: Gpu, arch: &Architecture, weights: &Weights, decoder: &Decoder, demand: Demand) -> Result<Self, DeviceError> {
        network::check(arch)?;
        let free = gpu.free_memory()?;
        let sizes = Sizes::new(arch, demand)?;
        let per_slot = sizes.per_slot(arch, decoder);
        let mut slots = if sizes.streams {
            demand.slots.unwrap_or_else(|| sizes.fit(arch, weights, decoder, free))
        } else {
            sizes.most_streams()
        };
        let mut parts = None;
        for _ in 0..TRIES {
            match Parts::new(&gpu, arch, weights, decoder, &sizes, slots) {
                Err(DeviceError::Gpu(error)) if error.is_out_of_memory() && sizes.streams && demand.slots.is_none() => slots -= slots / 8,
                done => {
                    parts = Some(done?);
                    break;
                }
            }
        }
        let Parts {
            plans,
            stages,
            heads,
            scratch,
        } = parts.filter(|_| slots > 0).ok_or(GpuError::OutOfMemory { bytes: per_slot })?;
        gpu.wait()?;
        let footprint = Footprint {
            per_slot,
            slots,
            free: (free, gpu.free_memory()?),
            graphs: plans.iter().map(|plan| plan.graphs.len()).sum(),
        };
        Ok(DeviceNetwork {
            plans,
            stages,
            heads,
            scratch,
            gpu,
            progress: if sizes.streams {
                vec![Progress::default(); slots]
            } else {
                Vec::new()
            },
            streams: sizes.streams,
            slots,
            footprint,
        })
    }

    /// False if the model hears whole utterances only.
    pub fn streams(&self) -> bool {
        self.streams
    }

    /// Slots for stream state.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// What the memory was divided into.
    pub fn footprint(&self) -> Footprint {
        self.footprint
    }

    /// The device.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// One step of some streams in one context. `settle` is called once for each stream, on several threads, with its item of `settled`
    /// and what is heard in it. Utterances of a model that does not stream may be of different lengths. More streams than the largest
    /// graph holds are run in parts. On an error before the device was asked nothing was consumed.
    ///
    /// # Errors
    /// A stream would give more or fewer frames than a chunk, has ended, changed its context, or the device failed.
    pub fn step<T: Send>(
        &mut self,
        context: usize,
        work: &[DeviceInput<'_>],
        settled: &mut [T],
        settle: impl Fn(&mut T, Heard<'_>) + Sync,
    ) -> Result<(), DeviceError> {
        let index = self.plan(context, work)?;
        let plan = self.plans.get(index).ok_or(NetworkError::NoSuchContext(context))?;
        let admitted: Vec<(Progress, Row)> = work
            .iter()
            .enumerate()
            .map(|(stream, input)| self.admit(plan, context, stream, input))
            .collect::<Result<_, _>>()?;
        let most = plan.graphs.last().map_or(1, |(batch, _)| *batch);
        let parts = work.chunks(most).zip(admitted.chunks(most)).zip(settled.chunks_mut(most));
        for ((work, admitted), settled) in parts {
            self.scratch.stage(plan, work, admitted, self.streams, self.slots);
            let graph = plan.graphs.iter().find(|(batch, _)| *batch >= work.len());
            let (_, graph) = graph.ok_or(NetworkError::NoSuchContext(context))?;
            self.gpu.run(graph)?;
            for (input, (after, _)) in work.iter().zip(admitted) {
                if let Some(progress) = self.progress.get_mut(input.slot) {
                    *progress = *after;
                }
            }
            let (heads, frames) = (&self.heads, plan.frames);
            let streams = settled.par_iter_mut().zip(admitted).enumerate();
            streams.for_each(|(place, (item, (_, row)))| {
                let [.., given] = row.given;
                settle(item, heads.heard(place, frames, usize::try_from(given).unwrap_or(0)));
            });
        }
        Ok(())
    }

    /// The plan that serves a step.
    fn plan(&self, context: usize, work: &[DeviceInput<'_>]) -> Result<usize, DeviceError> {
        let lengths = if self.streams { 1 } else { UTTERANCES.len() };
        if context >= self.plans.len() / lengths {
            return Err(NetworkError::NoSuchContext(context).into());
        }
        let longest = work.iter().map(|input| input.samples.len()).max().unwrap_or(0);
        // At its end an utterance may give a frame more than its samples fill.
        let fits = |plan: &Plan| self.streams || plan.frames > longest / samples_of(1);
        let mut plans = self.plans.iter().enumerate().skip(context * lengths).take(lengths);
        let found = plans.find(|(_, plan)| fits(plan));
        Ok(found.ok_or(NetworkError::TooLong(longest))?.0)
    }

    /// Where a stream will stand after the step, or why it may not be part of it.
    fn admit(&self, plan: &Plan, context: usize, stream: usize, input: &DeviceInput<'_>) -> Result<(Progress, Row), DeviceError> {
        let whole = input.start && input.end;
        if !self.streams && !whole {
            return Err(NetworkError::NotStreaming(context).into());
        }
        let before = self.progress.get(input.slot).copied().unwrap_or_default();
        if !input.start && before.ended {
            return Err(NetworkError::Ended(stream).into());
        }
        if let Some(began) = before.context.filter(|began| !input.start && *began != context) {
            return Err(NetworkError::ContextChanged {
                stream,
                began,
                asked: context,
            }
            .into());
        }
        let (mut after, row) = before.advance(input.samples.len(), input.start, input.end, plan.cadence);
        after.context = Some(context);
        let room = |rows: usize| i32::try_from(rows).unwrap_or(i32::MAX);
        let [given0, given1, frames] = row.given;
        if input.samples.len() > samples_of(plan.frames)
            || row.mel > room(8 * plan.frames)
            || given0 > room(4 * plan.frames)
            || given1 > room(2 * plan.frames)
            || frames > room(plan.frames)
        {
            return Err(NetworkError::TooManyFrames {
                stream,
                frames: after.frames() - if input.start { 0 } else { before.frames() },
                most: u64::try_from(plan.frames).unwrap_or(u64::MAX),
            }
            .into());
        }
        if self.streams && !input.end && frames != room(plan.frames) {
            return Err(DeviceError::Incomplete {
                stream,
                frames,
                chunk: plan.frames,
            });
        }
        Ok((after, row))
    }
}

impl Parts {
    /// Takes the memory for `slots` slots and records every graph.
    fn new(gpu: &Gpu, arch: &Architecture, weights: &Weights, decoder: &Decoder, sizes: &Sizes, slots: usize) -> Result<Self, DeviceError> {
        let kernels = Kernels::new(gpu, sizes.heads)?;
        // Padding has a place of its own behind the slots.
        let places = slots + 1;
        let most = Most {
            streams: sizes.most_streams(),
            rows: sizes.most_rows(),
            slots: places,
        };
        let mut parts = Parts {
            plans: Vec::new(),
            scratch: Scratch::new(gpu, arch, sizes)?,
            heads: Heads::new(gpu, &kernels, arch, weights, decoder, most)?,
            stages: Stages::new(gpu, &kernels, arch, weights, sizes, places)?,
        };
        for context in 0..arch.encoder.contexts.len() {
            for (frames, batch) in sizes.shapes(context) {
                let plan = parts.record(gpu, &arch.encoder, sizes, context, frames, batch)?;
                parts.plans.push(plan);
            }
        }
        Ok(parts)
    }

    /// Records the graphs of one context, and for utterances of one length, for 1, 2, 4 ... streams.
    fn record(
        &mut self,
        gpu: &Gpu,
        encoder: &Encoder,
        sizes: &Sizes,
        context: usize,
        frames: usize,
        most: usize,
    ) -> Result<Plan, DeviceError> {
        let (cadence, reach) = sizes.cadence(encoder, context, frames)?;
        let doubled = std::iter::successors(Some(1_usize), |batch| batch.checked_mul(2));
        let mut graphs = Vec::new();
        for batch in doubled.take_while(|batch| *batch < most).chain([most]) {
            let Parts {
                stages, heads, scratch, ..
            } = self;
            graphs.push((batch, gpu.record(|| launch(gpu, stages, heads, scratch, batch, frames, reach))?));
        }
        Ok(Plan { cadence, frames, graphs })
    }
}

/// Everything that a step asks of the device, in order.
fn launch(
    gpu: &Gpu,
    stages: &Stages,
    heads: &mut Heads,
    scratch: &mut Scratch,
    streams: usize,
    frames: usize,
    reach: [Option<usize>; 2],
) -> Result<(), GpuError> {
    let stride = samples_of(frames);
    gpu.copy_in(&scratch.staged_pcm, range(streams * stride), &mut scratch.pcm)?;
    gpu.copy_in(&scratch.staged_rows, range(streams * WORDS), &mut scratch.rows)?;
    let audio = Audio {
        pcm: &scratch.pcm,
        stride,
        tails: stages.audio_tails.pointer(),
        rows: &scratch.rows,
        streams,
        mel: scratch.mel.pointer(),
        frames: 8 * frames,
    };
    stages.log_mel.forward(gpu, audio)?;
    if stages.per_feature {
        stages.log_mel.normalize(gpu, audio)?;
    }
    let [first, second] = &scratch.work;
    let [first_tails, second_tails] = &stages.row_tails;
    let places = Places {
        rows: &scratch.rows,
        streams,
        frames,
        mel: scratch.mel.pointer(),
        mel_frames: 8 * frames,
        tails: [stages.mel_tails.pointer(), first_tails.pointer(), second_tails.pointer()],
        work: [first.pointer(), second.pointer()],
    };
    stages.subsample.forward(gpu, places)?;
    let rows = streams * frames;
    let (x, width) = (scratch.x.pointer(), stages.project.outputs());
    stages.project.forward(gpu, first.pointer(), rows, Into::Float(x), width)?;
    let at = Activations {
        x,
        normed: scratch.normed.pointer(),
        wide: scratch.wide.pointer(),
        attended: scratch.attended.pointer(),
        rows: &scratch.rows,
        streams,
        frames,
        reach,
    };
    for layer in &stages.layers {
        layer.forward(gpu, at)?;
    }
    let span = Span {
        rows: &scratch.rows,
        streams,
        frames,
    };
    heads.forward(gpu, scratch.normed.pointer(), span)
}

impl Stages {
    fn new(
        gpu: &Gpu,
        kernels: &Kernels,
        arch: &Architecture,
        weights: &Weights,
        sizes: &Sizes,
        places: usize,
    ) -> Result<Self, DeviceError> {
        let (bins, encoder) = (arch.frontend.mel_bins, &arch.encoder);
        let (channels, width) = (encoder.subsampling_channels, encoder.width);
        let front = Front::of(arch, weights)?;
        let window = front.window.map_or_else(log_mel::hann, <[f32]>::to_vec);
        let filters = front.filters.map_or_else(|| log_mel::slaney(bins), <[f32]>::to_vec);
        let subsample = Subsample::new(gpu, &kernels.linears, front.subsampling, channels, bins, encoder.causal_subsampling)?;
        // Rows are `[frequencies, channels]` here, channel-major in the checkpoint; the input scale goes with the weights.
        let columns = front.frequencies;
        #[expect(clippy::as_conversions, reason = "the published factor sqrt(width)")]
        let factor = if encoder.scale_input { (width as f32).sqrt() } else { 1.0 };
        let mut flat = Vec::with_capacity(front.project.weight.len());
        for row in front.project.weight.chunks_exact(channels * columns) {
            for column in 0..columns {
                flat.extend(row.iter().skip(column).step_by(columns).map(|value| value * factor));
            }
        }
        let bias: Vec<f32> = front.project.bias.unwrap_or_default().iter().map(|value| value * factor).collect();
        let project = Linear::new(gpu, &kernels.linears, &flat, Some(&bias), width, channels * columns)?;
        let common = sizes.common(places);
        let layers = (0..encoder.layers)
            .map(|index| Layer::new(gpu, kernels, encoder, weights, index, common))
            .collect::<Result<_, _>>()?;
        let [mel, first, second] = subsample.tails();
        Ok(Stages {
            log_mel: LogMel::new(gpu, &window, &filters, bins)?,
            per_feature: arch.frontend.normalize == Normalize::PerFeature,
            subsample,
            project,
            layers,
            audio_tails: gpu.zeros(places * 2 * TAIL)?,
            mel_tails: gpu.zeros(places * 2 * mel)?,
            row_tails: [gpu.zeros(places * 2 * first)?, gpu.zeros(places * 2 * second)?],
        })
    }
}

impl Scratch {
    fn new(gpu: &Gpu, arch: &Architecture, sizes: &Sizes) -> Result<Self, DeviceError> {
        let encoder = &arch.encoder;
        let width = encoder.width;
        let (rows, streams) = (sizes.most_rows(), sizes.most_streams());
        let [first, second, _] = frequencies(arch.frontend.mel_bins, encoder.causal_subsampling);
        let channels = encoder.subsampling_channels;
        let wide = (width * encoder.ff_expansion).max(3 * sizes.heads.width()).max(width);
        Ok(Scratch {
            pcm: gpu.zeros(samples_of(rows))?,
            rows: gpu.zeros(streams * WORDS)?,
            mel: gpu.zeros(rows * 8 * arch.frontend.mel_bins)?,
            work: [gpu.zeros(4 * rows * first * channels)?, gpu.zeros(2 * rows * second * channels)?],
            x: gpu.zeros(rows * width)?,
            normed: gpu.zeros(rows * width)?,
            wide: gpu.zeros(rows * wide)?,
            attended: gpu.zeros(rows * sizes.heads.width())?,
            staged_pcm: gpu.pinned(samples_of(rows))?,
            staged_rows: gpu.pinned(streams * WORDS)?,
        })
    }
}

impl Scratch {
    /// Writes the inputs of a step where the graph copies them from.
    fn stage(&mut self, plan: &Plan, work: &[DeviceInput<'_>], admitted: &[(Progress, Row)], streams: bool, slots: usize) {
        let pcm = self.staged_pcm.par_chunks_exact_mut(samples_of(plan.frames));
        pcm.zip(work).for_each(|(target, input)| {
            for (slot, sample) in target.iter_mut().zip(input.samples) {
                *slot = quantized(*sample);
            }
        });
        let small = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        for (place, target) in self.staged_rows.chunks_exact_mut(WORDS).enumerate() {
            let row = match (work.get(place), admitted.get(place)) {
                (Some(input), Some((_, row))) => Row {
                    // Utterances keep nothing, so any place that no other uses will do.
                    slot: small(if streams { input.slot } else { place }),
                    prompt: small(input.prompt.unwrap_or(0)),
                    ..*row
                },
                _ => Row::padding(small(slots)),
            };
            target.copy_from_slice(&row.words());
        }
    }
}

/// Samples of that many encoder frames.
fn samples_of(frames: usize) -> usize {
    frames * usize::try_from(SAMPLES_PER_FRAME).unwrap_or(0)
}

fn range(count: usize) -> Range<usize> {
    0..count
}

/// A sample as 16 bits; what is no number is silence.
#[expect(clippy::as_conversions, reason = "a rounded value within the range of i16; a float cast saturates")]
fn quantized(sample: f32) -> i16 {
    (sample * 32_768.0).round() as i16
}
