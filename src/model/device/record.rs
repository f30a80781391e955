//! What is taken on the device for one number of slots: stages with their weights and slots, and the recorded graph of every step.
//!
//! What it does: uploads the front end and all layers, and records a graph for each context (for utterances each length) and number of streams.
//! What it does not do: run a graph, know who is in which slot. Who calls it: `model::device`, again with fewer slots where they do not fit.

use std::ops::Range;

use super::heads::{Heads, Most, Span};
use super::layers::{Activations, Kernels, Layer};
use super::progress::Cadence;
use super::scratch::Scratch;
use super::sizes::Sizes;
use super::{DeviceError, samples_of};
use crate::gpu::{Buffer, Gpu, GpuError, Graph};
use crate::model::arch::{Architecture, Encoder, Normalize};
use crate::model::decode::Decoder;
use crate::model::tensors::Front;
use crate::model::weights::Weights;
use crate::ops::linear::cuda::{Into, Linear};
use crate::ops::log_mel;
use crate::ops::log_mel::cuda::{Audio, LogMel, TAIL};
use crate::ops::rows::WORDS;
use crate::ops::subsample::cuda::{Places, Subsample};

/// A step of fixed size: what streams of one context, or utterances up to one length, run in.
pub(super) struct Plan {
    pub(super) cadence: Cadence,
    /// Frames of a stream.
    pub(super) frames: usize,
    /// Number of streams and its graph, ascending.
    pub(super) graphs: Vec<(usize, Graph)>,
}

/// The stages before and after the graphs' inputs.
pub(super) struct Stages {
    log_mel: LogMel,
    per_feature: bool,
    subsample: Subsample,
    project: Linear,
    layers: Vec<Layer>,
    audio_tails: Buffer<f32>,
    mel_tails: Buffer<f32>,
    row_tails: [Buffer<u16>; 2],
}

/// What is taken on the device for one number of slots.
pub(super) struct Parts {
    pub(super) plans: Vec<Plan>,
    pub(super) stages: Stages,
    pub(super) heads: Heads,
    pub(super) scratch: Scratch,
}

impl Parts {
    /// Takes the memory for `slots` slots and records every graph.
    pub(super) fn new(
        gpu: &Gpu,
        arch: &Architecture,
        weights: &Weights,
        decoder: &Decoder,
        sizes: &Sizes,
        slots: usize,
    ) -> Result<Self, DeviceError> {
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

fn range(count: usize) -> Range<usize> {
    0..count
}
