//! The checkpoint's tensors under the names that the network uses, shapes proven: the one place that knows published names of the
//! encoder. Source: the state dictionary of NeMo's FastConformer.
//!
//! Who calls it: `model::encoder` and `model::network` for the processor, `model::device` for the GPU.

use super::arch::{Architecture, ConvNorm, Encoder};
use super::weights::{Weights, WeightsError};
use crate::ops::depthwise_conv::{DepthwiseConv, Norm};
use crate::ops::subsample::{Kernels, frequencies};

/// A matrix `[outputs, inputs]` and its bias, if the checkpoint has one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Matrix<'a> {
    pub(super) weight: &'a [f32],
    pub(super) bias: Option<&'a [f32]>,
    pub(super) outputs: usize,
    pub(super) inputs: usize,
}

/// Scale and shift of a layer normalization.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale<'a> {
    pub(super) weight: &'a [f32],
    pub(super) bias: &'a [f32],
}

/// A feed-forward module.
#[derive(Clone, Copy, Debug)]
pub(super) struct FeedForward<'a> {
    pub(super) norm: Scale<'a>,
    pub(super) expand: Matrix<'a>,
    pub(super) contract: Matrix<'a>,
}

/// One conformer block.
#[derive(Clone, Debug)]
pub(super) struct Block<'a> {
    pub(super) first: FeedForward<'a>,
    pub(super) attention_norm: Scale<'a>,
    /// Query, key and value.
    pub(super) projections: [Matrix<'a>; 3],
    pub(super) content_bias: &'a [f32],
    pub(super) position_bias: &'a [f32],
    /// `linear_pos [width, width]`, which never has a bias.
    pub(super) positions: &'a [f32],
    pub(super) attention_out: Matrix<'a>,
    pub(super) conv_norm: Scale<'a>,
    /// Values, then gates: `[2 * width, width]`.
    pub(super) conv_in: Matrix<'a>,
    /// Batch normalization folded, ready for the processor.
    pub(super) conv: DepthwiseConv,
    pub(super) conv_out: Matrix<'a>,
    pub(super) second: FeedForward<'a>,
    pub(super) norm: Scale<'a>,
}

/// What stands before the blocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Front<'a> {
    pub(super) window: Option<&'a [f32]>,
    pub(super) filters: Option<&'a [f32]>,
    pub(super) subsampling: Kernels<'a>,
    /// `pre_encode.out [width, channels * frequencies]`, channel-major.
    pub(super) project: Matrix<'a>,
    /// Frequencies after the last convolution.
    pub(super) frequencies: usize,
}

fn matrix<'a>(weights: &'a Weights, name: &str, outputs: usize, inputs: usize) -> Result<Matrix<'a>, WeightsError> {
    Ok(Matrix {
        weight: weights.get(&format!("{name}.weight"), &[outputs, inputs])?,
        bias: weights.get_optional(&format!("{name}.bias"), &[outputs])?,
        outputs,
        inputs,
    })
}

fn scale<'a>(weights: &'a Weights, name: &str, width: usize) -> Result<Scale<'a>, WeightsError> {
    Ok(Scale {
        weight: weights.get(&format!("{name}.weight"), &[width])?,
        bias: weights.get(&format!("{name}.bias"), &[width])?,
    })
}

impl<'a> Block<'a> {
    /// Block `index`; every tensor must have the shape that `arch` implies, biases are optional.
    pub(super) fn of(arch: &Encoder, weights: &'a Weights, index: usize) -> Result<Self, WeightsError> {
        let (width, heads) = (arch.width, arch.heads);
        let prefix = format!("encoder.layers.{index}");
        let (attention, conv) = (format!("{prefix}.self_attn"), format!("{prefix}.conv"));
        let bias_shape = [heads, width / heads.max(1)];
        let square = |name: &str| matrix(weights, name, width, width);
        let feed_forward = |norm: &str, module: &str| {
            let inner = width * arch.ff_expansion;
            Ok(FeedForward {
                norm: scale(weights, &format!("{prefix}.{norm}"), width)?,
                expand: matrix(weights, &format!("{prefix}.{module}.linear1"), inner, width)?,
                contract: matrix(weights, &format!("{prefix}.{module}.linear2"), width, inner)?,
            })
        };
        Ok(Block {
            first: feed_forward("norm_feed_forward1", "feed_forward1")?,
            attention_norm: scale(weights, &format!("{prefix}.norm_self_att"), width)?,
            projections: [
                square(&format!("{attention}.linear_q"))?,
                square(&format!("{attention}.linear_k"))?,
                square(&format!("{attention}.linear_v"))?,
            ],
            content_bias: weights.get(&format!("{attention}.pos_bias_u"), &bias_shape)?,
            position_bias: weights.get(&format!("{attention}.pos_bias_v"), &bias_shape)?,
            positions: weights.get(&format!("{attention}.linear_pos.weight"), &[width, width])?,
            attention_out: square(&format!("{attention}.linear_out"))?,
            conv_norm: scale(weights, &format!("{prefix}.norm_conv"), width)?,
            conv_in: matrix(weights, &format!("{conv}.pointwise_conv1"), 2 * width, width)?,
            conv: depthwise(arch, weights, &conv)?,
            conv_out: square(&format!("{conv}.pointwise_conv2"))?,
            second: feed_forward("norm_feed_forward2", "feed_forward2")?,
            norm: scale(weights, &format!("{prefix}.norm_out"), width)?,
        })
    }
}

impl<'a> Front<'a> {
    /// The tensors before the blocks.
    pub(super) fn of(arch: &Architecture, weights: &'a Weights) -> Result<Self, WeightsError> {
        let (bins, encoder) = (arch.frontend.mel_bins, &arch.encoder);
        let channels = encoder.subsampling_channels;
        let conv = |index: usize, shape: &[usize]| -> Result<(&[f32], &[f32]), WeightsError> {
            let name = format!("encoder.pre_encode.conv.{index}");
            Ok((
                weights.get(&format!("{name}.weight"), shape)?,
                weights.get(&format!("{name}.bias"), &[channels])?,
            ))
        };
        let small = [channels, 1, 3, 3];
        let square = [channels, channels, 1, 1];
        let [_, _, columns] = frequencies(bins, encoder.causal_subsampling);
        let out = "encoder.pre_encode.out";
        Ok(Front {
            window: weights.get_optional("preprocessor.featurizer.window", &[400])?,
            filters: weights.get_optional("preprocessor.featurizer.fb", &[1, bins, 257])?,
            subsampling: Kernels {
                first: conv(0, &small)?,
                depthwise: [conv(2, &small)?, conv(5, &small)?],
                pointwise: [conv(3, &square)?, conv(6, &square)?],
            },
            project: Matrix {
                weight: weights.get(&format!("{out}.weight"), &[encoder.width, channels * columns])?,
                bias: Some(weights.get(&format!("{out}.bias"), &[encoder.width])?),
                outputs: encoder.width,
                inputs: channels * columns,
            },
            frequencies: columns,
        })
    }
}

/// Query, key and value under one another: weight `[3 * width, width]` and bias, zeros where the checkpoint has none.
pub(super) fn stacked(parts: [Matrix<'_>; 3]) -> (Vec<f32>, Vec<f32>) {
    let weight = parts.iter().flat_map(|part| part.weight).copied().collect();
    let bias = parts
        .iter()
        .flat_map(|part| part.bias.map_or_else(|| vec![0.0; part.outputs], <[f32]>::to_vec))
        .collect();
    (weight, bias)
}

fn depthwise(arch: &Encoder, weights: &Weights, prefix: &str) -> Result<DepthwiseConv, WeightsError> {
    let (width, kernel) = (arch.width, arch.conv_kernel);
    let norm = |part: &str| weights.get(&format!("{prefix}.batch_norm.{part}"), &[width]);
    let (scale, shift) = (norm("weight")?, norm("bias")?);
    let norm = match arch.conv_norm {
        ConvNorm::LayerNorm => Norm::Layer {
            weight: scale,
            bias: shift,
        },
        ConvNorm::BatchNorm => Norm::Batch {
            mean: norm("running_mean")?,
            variance: norm("running_var")?,
            weight: scale,
            bias: shift,
        },
    };
    let weight = weights.get(&format!("{prefix}.depthwise_conv.weight"), &[width, 1, kernel])?;
    let bias = weights.get_optional(&format!("{prefix}.depthwise_conv.bias"), &[width])?;
    Ok(DepthwiseConv::new(weight, bias, width, kernel, norm))
}
