//! The conformer blocks on the device: weights, the rings and tails of every slot, and the launches of a step.
//!
//! The same blocks as `model::encoder`, in the order that [`crate::model::graph`] gives both. Activations between blocks are f32,
//! inputs of products f16. Who calls it: `model::device`.

use std::sync::Arc;

use crate::gpu::{Buffer, Gpu, GpuError, Pointer};
use crate::model::arch::Encoder as Architecture;
use crate::model::encoder::sinusoids;
use crate::model::graph::{self, Half};
use crate::model::tensors::{self, Block, Matrix, Scale};
use crate::model::weights::Weights;
use crate::ops;
use crate::ops::depthwise_conv::cuda::DepthwiseConv;
use crate::ops::layer_norm::cuda::{LayerNorm, Norms};
use crate::ops::linear::cuda::{Into, Linear, Linears};
use crate::ops::rel_attention::cuda::{Attentions, Heads, RelAttention, Scene};

use super::DeviceError;

/// The kernels that layers share.
#[derive(Clone, Debug)]
pub(super) struct Kernels {
    pub(super) linears: Arc<Linears>,
    norms: Arc<Norms>,
    attentions: Arc<Attentions>,
}

/// What all blocks of a model share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Common {
    pub(super) heads: Heads,
    /// Distances that the position tables cover, query minus key.
    pub(super) nearest: i64,
    pub(super) farthest: i64,
    /// Places in the pools.
    pub(super) slots: usize,
    /// False if every stream is a whole utterance and nothing is kept.
    pub(super) keeps: bool,
}

#[derive(Debug)]
struct FeedForward {
    norm: LayerNorm,
    expand: Linear,
    contract: Linear,
}

/// One block with its share of every slot.
#[derive(Debug)]
pub(super) struct Layer {
    first: FeedForward,
    attention_norm: LayerNorm,
    attention_in: Linear,
    attention: RelAttention,
    attention_out: Linear,
    conv_norm: LayerNorm,
    conv_in: Linear,
    conv: DepthwiseConv,
    conv_out: Linear,
    second: FeedForward,
    norm: LayerNorm,
    keys: Buffer<u16>,
    values: Buffer<u16>,
    tails: Option<Buffer<u16>>,
}

/// A step's rows on their way through the blocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Activations<'a> {
    /// f32 `[rows, width]`.
    pub(super) x: Pointer,
    /// f16 `[rows, width]`: normalized rows; after the last block its result.
    pub(super) normed: Pointer,
    /// f16, the widest inner rows.
    pub(super) wide: Pointer,
    /// f16 `[rows, padded width]`.
    pub(super) attended: Pointer,
    /// Descriptors of the streams.
    pub(super) rows: &'a Buffer<i32>,
    pub(super) streams: usize,
    /// Frames of a stream.
    pub(super) frames: usize,
    /// New frames that a new frame sees before and after itself.
    pub(super) reach: [Option<usize>; 2],
}

/// One block over one step.
struct Run<'a> {
    gpu: &'a Gpu,
    layer: &'a Layer,
    at: Activations<'a>,
}

impl Kernels {
    pub(super) fn new(gpu: &Gpu, heads: Heads) -> Result<Self, GpuError> {
        Ok(Kernels {
            linears: Linears::new(gpu)?,
            norms: Norms::new(gpu)?,
            attentions: Attentions::new(gpu, heads)?,
        })
    }

    pub(super) fn linear(&self, gpu: &Gpu, matrix: Matrix<'_>) -> Result<Linear, GpuError> {
        Linear::new(gpu, &self.linears, matrix.weight, matrix.bias, matrix.outputs, matrix.inputs)
    }

    fn norm(&self, gpu: &Gpu, scale: Scale<'_>) -> Result<LayerNorm, GpuError> {
        LayerNorm::new(gpu, &self.norms, scale.weight, scale.bias)
    }

    fn feed_forward(&self, gpu: &Gpu, tensors: &tensors::FeedForward<'_>) -> Result<FeedForward, GpuError> {
        Ok(FeedForward {
            norm: self.norm(gpu, tensors.norm)?,
            expand: self.linear(gpu, tensors.expand)?,
            contract: self.linear(gpu, tensors.contract)?,
        })
    }
}

impl Common {
    /// Values that one slot holds in one block: keys and values, convolution tails.
    pub(super) fn kept(&self, arch: &Architecture) -> [usize; 2] {
        let [left, _] = arch.conv_context;
        let tails = if self.keeps { 2 * left * arch.width } else { 0 };
        [2 * self.heads.width() * self.heads.ring, tails]
    }
}

impl Layer {
    /// Uploads block `index` and takes its share of the slots' memory.
    pub(super) fn new(
        gpu: &Gpu,
        kernels: &Kernels,
        arch: &Architecture,
        weights: &Weights,
        index: usize,
        common: Common,
    ) -> Result<Self, DeviceError> {
        let (width, heads) = (arch.width, common.heads);
        let block = Block::of(arch, weights, index)?;
        let padded = block.projections.map(|part| {
            let bias = part.bias.map(|bias| heads.pad_columns(bias));
            (heads.pad_rows(part.weight, width), bias)
        });
        let parts = [0, 1, 2].map(|part| {
            let (weight, bias): &(Vec<f32>, Option<Vec<f32>>) = padded.get(part).unwrap_or(&padded[0]);
            Matrix {
                weight,
                bias: bias.as_deref(),
                outputs: heads.width(),
                inputs: width,
            }
        });
        let (weight, bias) = tensors::stacked(parts);
        let attention_in = Linear::new(gpu, &kernels.linears, &weight, Some(&bias), 3 * heads.width(), width)?;
        let out: Vec<f32> = block
            .attention_out
            .weight
            .chunks_exact(width)
            .flat_map(|row| heads.pad_columns(row))
            .collect();
        let attention_out = Matrix {
            weight: &out,
            inputs: heads.width(),
            ..block.attention_out
        };
        let positions = ops::linear::Linear::new(block.positions, None, width, width);
        let encoding = sinusoids(width, common.nearest, common.farthest);
        let mut projected = vec![0.0; encoding.len()];
        positions.forward(&encoding, encoding.len() / width, &mut projected);
        let [left, _] = arch.conv_context;
        let [rings, tails] = common.kept(arch);
        Ok(Layer {
            first: kernels.feed_forward(gpu, &block.first)?,
            attention_norm: kernels.norm(gpu, block.attention_norm)?,
            attention_in,
            attention: RelAttention::new(
                gpu,
                &kernels.attentions,
                heads,
                block.content_bias,
                block.position_bias,
                &projected,
                usize::try_from(common.farthest).unwrap_or(0),
            )?,
            attention_out: kernels.linear(gpu, attention_out)?,
            conv_norm: kernels.norm(gpu, block.conv_norm)?,
            conv_in: Linear::gated(gpu, &kernels.linears, block.conv_in.weight, block.conv_in.bias, width, width)?,
            conv: DepthwiseConv::new(gpu, &block.conv, left)?,
            conv_out: kernels.linear(gpu, block.conv_out)?,
            second: kernels.feed_forward(gpu, &block.second)?,
            norm: kernels.norm(gpu, block.norm)?,
            keys: gpu.zeros(common.slots * rings / 2)?,
            values: gpu.zeros(common.slots * rings / 2)?,
            tails: if tails > 0 { Some(gpu.zeros(common.slots * tails)?) } else { None },
        })
    }

    /// Launches the block over a step's rows.
    pub(super) fn forward(&self, gpu: &Gpu, at: Activations<'_>) -> Result<(), GpuError> {
        graph::block(&mut Run { gpu, layer: self, at })
    }
}

impl Run<'_> {
    fn count(&self) -> usize {
        self.at.streams * self.at.frames
    }

    /// `x += factor * linear(from)`.
    fn add(&self, linear: &Linear, from: Pointer, factor: f32) -> Result<(), GpuError> {
        linear.forward(self.gpu, from, self.count(), Into::Add(self.at.x, factor), linear.outputs())
    }
}

impl graph::Block for Run<'_> {
    type Error = GpuError;

    fn feed_forward(&mut self, half: Half) -> Result<(), GpuError> {
        let module = match half {
            Half::First => &self.layer.first,
            Half::Second => &self.layer.second,
        };
        let (gpu, at, rows) = (self.gpu, self.at, self.count());
        module.norm.forward(gpu, at.x, rows, at.normed)?;
        let inner = module.expand.outputs();
        module.expand.forward(gpu, at.normed, rows, Into::Silu(at.wide), inner)?;
        self.add(&module.contract, at.wide, 0.5)
    }

    fn attention(&mut self) -> Result<(), GpuError> {
        let (gpu, at, layer, rows) = (self.gpu, self.at, self.layer, self.count());
        layer.attention_norm.forward(gpu, at.x, rows, at.normed)?;
        let width = layer.attention_in.outputs();
        layer.attention_in.forward(gpu, at.normed, rows, Into::Store(at.wide), width)?;
        let scene = Scene {
            projected: at.wide,
            keys: layer.keys.pointer(),
            values: layer.values.pointer(),
            rows: at.rows,
            streams: at.streams,
            frames: at.frames,
            reach: at.reach,
        };
        layer.attention.forward(gpu, scene, at.attended)?;
        self.add(&layer.attention_out, at.attended, 1.0)
    }

    fn convolution(&mut self) -> Result<(), GpuError> {
        let (gpu, at, layer, rows) = (self.gpu, self.at, self.layer, self.count());
        layer.conv_norm.forward(gpu, at.x, rows, at.normed)?;
        let width = layer.conv_in.outputs() / 2;
        layer.conv_in.forward(gpu, at.normed, rows, Into::Gate(at.wide), width)?;
        let tails = layer.tails.as_ref().map_or(Pointer::NULL, Buffer::pointer);
        layer.conv.forward(gpu, at.wide, tails, at.rows, at.streams, at.frames, at.normed)?;
        self.add(&layer.conv_out, at.normed, 1.0)
    }

    fn norm(&mut self) -> Result<(), GpuError> {
        self.layer.norm.forward_out(self.gpu, self.at.x, self.count(), self.at.normed)
    }
}
