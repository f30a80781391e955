//! The network on a GPU: samples of many streams in, what the search reads of their frames out.
//!
//! What it does: uploads a model, takes all memory that its slots and steps need, records a graph of copies and kernel launches
//! for every context and batch size, and replays one of them for each step: one copy in, the kernels, one copy out, nothing
//! waited for but the end. The state of a stream stays in its slot on the device; the host only counts ([`progress`]).
//! A model that hears whole utterances is run in steps of whole utterances, for several lengths.
//! What it does not do: search ([`crate::model::decode`] does, with [`Heard`]), decide what runs together.
//! Who calls it: `engine::cuda`.
//!
//! A stream's results have the same bits in any batch and any slot: kernels sum in an order that depends on the row alone.

mod heads;
mod layers;
mod progress;

use std::ops::Range;

use rayon::prelude::*;

use self::heads::{Heads, Most, Span};
use self::layers::{Activations, Common, Kernels, Layer};
use self::progress::{Cadence, Progress};
use super::arch::{Architecture, Attention, Encoder, Normalize};
use super::decode::{Decoder, Heard};
use super::network::{self, NetworkError};
use super::tensors::Front;
use super::weights::{Weights, WeightsError};
use crate::gpu::{Buffer, Gpu, GpuError, Graph, Pinned};
use crate::ops::linear::cuda::{Into, Linear};
use crate::ops::log_mel;
use crate::ops::log_mel::cuda::{Audio, LogMel, TAIL};
use crate::ops::rel_attention::cuda::Heads as HeadSizes;
use crate::ops::rows::{Row, WORDS};
use crate::ops::subsample::cuda::{Places, Subsample};
use crate::ops::subsample::frequencies;
use crate::units::SAMPLES_PER_FRAME;

/// Most frames of all streams of one step: bounds the memory for activations.
const MOST_ROWS: usize = 8_192;
/// Frames of the steps that whole utterances run in; the longest window of a file has 300.
const UTTERANCES: [usize; 5] = [64, 128, 192, 256, 304];
/// Largest state that a device's free memory is filled with, in slots.
const MOST_SLOTS: usize = 65_536;
/// Share of the free memory that is left alone: one part in so many.
const SPARE: usize = 16;

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
    gpu: Gpu,
    stages: Stages,
    heads: Heads,
    scratch: Scratch,
    /// By context for live streams, by length for utterances.
    plans: Vec<Plan>,
    /// Where the stream of each slot stands; empty for utterances.
    progress: Vec<Progress>,
    streams: bool,
    slots: usize,
    footprint: Footprint,
}

/// The sizes that follow from a model and a demand.
struct Sizes {
    heads: HeadSizes,
    lead: u64,
    /// Frames of a stream in each plan.
    frames: Vec<usize>,
    /// Streams in the largest step of each plan.
    batch: Vec<usize>,
    streams: bool,
}

impl DeviceNetwork {
    /// Uploads a model, takes the memory, records the graphs.
    ///
    /// # Errors
    /// A tensor is missing, the model is of a shape that the kernels do not take, or the device has too little memory.
    pub fn new(gpu: Gpu, arch: &Architecture, weights: &Weights, decoder: &Decoder, demand: Demand) -> Result<Self, DeviceError> {
        network::check(arch)?;
        let free = gpu.free_memory()?;
        let sizes = Sizes::new(arch, demand)?;
        let kernels = Kernels::new(&gpu, sizes.heads)?;
        let largest = sizes.frames.iter().zip(&sizes.batch);
        let most_rows = largest.map(|(frames, batch)| frames * batch).max().unwrap_or(0);
        let most_streams = sizes.batch.iter().copied().max().unwrap_or(0);
        // What a slot costs is known before any is taken; the rest is uploaded first, so that what is free then is what slots may have.
        let per_slot = sizes.per_slot(arch, decoder);
        let scratch = Scratch::new(&gpu, arch, &sizes)?;
        let weights_and_heads = 2 * weights.iter().map(|(_, tensor)| tensor.data.len()).sum::<usize>()
            + most_rows * (arch.vocabulary + 1).next_multiple_of(8) * 4
            + (64 << 20);
        let fit = (gpu.free_memory()? * (SPARE - 1) / SPARE).saturating_sub(weights_and_heads) / per_slot.max(1);
        let slots = if sizes.streams {
            demand.slots.unwrap_or_else(|| fit.min(MOST_SLOTS))
        } else {
            most_streams
        };
        if slots == 0 {
            return Err(GpuError::OutOfMemory { bytes: per_slot }.into());
        }
        // Padding has a place of its own behind the slots.
        let places = slots + 1;
        let heads = Heads::new(
            &gpu,
            &kernels,
            arch,
            weights,
            decoder,
            Most {
                streams: most_streams,
                rows: most_rows,
                slots: places,
            },
        )?;
        let stages = Stages::new(&gpu, &kernels, arch, weights, &sizes, places)?;
        let progress = if sizes.streams {
            vec![Progress::default(); slots]
        } else {
            Vec::new()
        };
        let mut network = DeviceNetwork {
            gpu,
            stages,
            heads,
            scratch,
            plans: Vec::new(),
            progress,
            streams: sizes.streams,
            slots,
            footprint: Footprint {
                per_slot,
                slots,
                free: (free, 0),
                graphs: 0,
            },
        };
        for (index, (frames, batch)) in sizes.frames.iter().zip(&sizes.batch).enumerate() {
            let plan = network.record(arch, &sizes, index, *frames, *batch)?;
            network.footprint.graphs += plan.graphs.len();
            network.plans.push(plan);
        }
        network.gpu.wait()?;
        network.footprint.free.1 = network.gpu.free_memory()?;
        Ok(network)
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

    /// Records the graphs of one context or length, for 1, 2, 4 ... streams.
    fn record(&mut self, arch: &Architecture, sizes: &Sizes, index: usize, frames: usize, most: usize) -> Result<Plan, DeviceError> {
        let (cadence, reach) = sizes.cadence(&arch.encoder, index, frames)?;
        let mut graphs = Vec::new();
        let mut batch = 1;
        loop {
            let batch_now = batch.min(most);
            let DeviceNetwork {
                gpu,
                stages,
                heads,
                scratch,
                ..
            } = self;
            let graph = gpu.record(|| launch(gpu, stages, heads, scratch, batch_now, frames, reach))?;
            graphs.push((batch_now, graph));
            if batch >= most {
                break;
            }
            batch *= 2;
        }
        Ok(Plan { cadence, frames, graphs })
    }

    /// One step of some streams in one context; `settle` is called with each stream's place in the step and what is heard in it.
    /// Utterances of a model that does not stream may be of different lengths. On an error nothing was consumed, unless the device
    /// itself failed.
    ///
    /// # Errors
    /// A stream would give more or fewer frames than a chunk, has ended, or the device failed.
    pub fn step(&mut self, context: usize, work: &[DeviceInput<'_>], mut settle: impl FnMut(usize, Heard<'_>)) -> Result<(), DeviceError> {
        let plan = self.plan(context, work)?;
        let admitted: Vec<(Progress, Row)> = work
            .iter()
            .enumerate()
            .map(|(stream, input)| self.admit(plan, stream, input))
            .collect::<Result<_, _>>()?;
        let most = self
            .plans
            .get(plan)
            .and_then(|plan| plan.graphs.last())
            .map_or(1, |(batch, _)| *batch);
        for (first, part) in (0..work.len()).step_by(most).zip(work.chunks(most)) {
            let range = first..first + part.len();
            self.replay(plan, part, admitted.get(range.clone()).unwrap_or_default())?;
            for (place, stream) in range.enumerate() {
                let Some((after, row)) = admitted.get(stream) else { continue };
                if let Some(progress) = work.get(stream).and_then(|input| self.progress.get_mut(input.slot)) {
                    *progress = *after;
                }
                let [.., frames] = row.given;
                let of_stream = self.plans.get(plan).map_or(0, |plan| plan.frames);
                settle(stream, self.heads.heard(place, of_stream, usize::try_from(frames).unwrap_or(0)));
            }
        }
        Ok(())
    }

    /// The plan that serves a step.
    fn plan(&self, context: usize, work: &[DeviceInput<'_>]) -> Result<usize, DeviceError> {
        if self.streams {
            return match self.plans.get(context) {
                Some(_) => Ok(context),
                None => Err(NetworkError::NoSuchContext(context).into()),
            };
        }
        let longest = work.iter().map(|input| input.samples.len()).max().unwrap_or(0);
        let frames = longest.div_ceil(samples_of(1));
        let fits = |plan: &Plan| plan.frames >= frames;
        self.plans.iter().position(fits).ok_or(NetworkError::TooLong(longest).into())
    }

    /// Where a stream will stand after the step, or why it may not be part of it.
    fn admit(&self, plan: usize, stream: usize, input: &DeviceInput<'_>) -> Result<(Progress, Row), DeviceError> {
        let Some(plan) = self.plans.get(plan) else {
            return Err(NetworkError::NoSuchContext(plan).into());
        };
        let before = self.progress.get(input.slot).copied().unwrap_or_default();
        if self.streams && !input.start && before.ended {
            return Err(NetworkError::Ended(stream).into());
        }
        let (after, row) = before.advance(input.samples.len(), input.start, input.end, plan.cadence);
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

    /// Stages the inputs, replays the graph that holds them, and waits for its end.
    fn replay(&mut self, plan: usize, work: &[DeviceInput<'_>], admitted: &[(Progress, Row)]) -> Result<(), DeviceError> {
        let Some(plan) = self.plans.get(plan) else { return Ok(()) };
        let graph = plan.graphs.iter().find(|(batch, _)| *batch >= work.len());
        let Some((batch, graph)) = graph else { return Ok(()) };
        let stride = samples_of(plan.frames);
        let pcm = self.scratch.staged_pcm.par_chunks_exact_mut(stride);
        pcm.zip(work).for_each(|(target, input)| {
            for (slot, sample) in target.iter_mut().zip(input.samples) {
                *slot = quantized(*sample);
            }
        });
        let small = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        let padding = small(self.slots);
        let rows = self.scratch.staged_rows.chunks_exact_mut(WORDS).take(*batch);
        for (place, target) in rows.enumerate() {
            let row = match (work.get(place), admitted.get(place)) {
                (Some(input), Some((_, row))) => Row {
                    // Utterances keep nothing, so any place that no other uses will do.
                    slot: small(if self.streams { input.slot } else { place }),
                    prompt: small(input.prompt.unwrap_or(0)),
                    ..*row
                },
                _ => Row::padding(padding),
            };
            target.copy_from_slice(&row.words());
        }
        self.gpu.replay(graph)?;
        self.gpu.wait()?;
        Ok(())
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
        let shapes = || sizes.frames.iter().zip(&sizes.batch);
        let rows = shapes().map(|(frames, batch)| frames * batch).max().unwrap_or(0);
        let streams = sizes.batch.iter().copied().max().unwrap_or(0);
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

impl Sizes {
    fn new(arch: &Architecture, demand: Demand) -> Result<Self, DeviceError> {
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
        let batch = frames
            .iter()
            .map(|frames| demand.max_batch.min(MOST_ROWS / frames).max(1))
            .collect();
        let window = contexts.iter().map(|(left, right)| left + right + 1).max();
        let longest = frames.iter().copied().max().unwrap_or(1);
        Ok(Sizes {
            heads: HeadSizes {
                count: encoder.heads,
                depth: encoder.width / encoder.heads,
                ring: window.unwrap_or(longest).next_multiple_of(16),
            },
            lead: if encoder.causal_subsampling { 2 } else { 1 },
            frames,
            batch,
            streams,
        })
    }

    /// The cadence of plan `index`, and which new frames see each other.
    fn cadence(&self, encoder: &Encoder, index: usize, frames: usize) -> Result<(Cadence, [Option<usize>; 2]), DeviceError> {
        let long = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let context = encoder
            .contexts
            .get(if self.streams { index } else { 0 })
            .copied()
            .unwrap_or([-1, -1]);
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

    fn common(&self, places: usize) -> Common {
        let distance = |frames: usize| i64::try_from(frames).unwrap_or(i64::MAX);
        let longest = self.frames.iter().copied().max().unwrap_or(1);
        Common {
            heads: self.heads,
            nearest: 1 - distance(longest),
            farthest: distance(self.heads.ring) - 1,
            slots: places,
            keeps: self.streams,
        }
    }

    /// Bytes of one slot.
    fn per_slot(&self, arch: &Architecture, decoder: &Decoder) -> usize {
        let encoder = &arch.encoder;
        let [first, second, _] = frequencies(arch.frontend.mel_bins, encoder.causal_subsampling);
        let front = 4 * 2 * TAIL + 4 * 4 * arch.frontend.mel_bins + 2 * 4 * (first + second) * encoder.subsampling_channels;
        let [rings, tails] = self.common(1).kept(encoder);
        front + encoder.layers * 2 * (rings + tails) + Heads::kept(arch, decoder.reads())
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
