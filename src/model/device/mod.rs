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
mod record;
mod scratch;
mod sizes;

use rayon::prelude::*;

use self::heads::Heads;
use self::progress::Progress;
use self::record::{Parts, Plan, Stages};
use self::scratch::Scratch;
use self::sizes::Sizes;
use super::arch::Architecture;
use super::decode::{Decoder, Heard};
use super::network::{self, NetworkError};
use super::weights::{Weights, WeightsError};
use crate::gpu::{Gpu, GpuError};
use crate::ops::rows::Row;
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

/// Samples of that many encoder frames.
fn samples_of(frames: usize) -> usize {
    frames * usize::try_from(SAMPLES_PER_FRAME).unwrap_or(0)
}
