//! The conformer blocks, written once: for one step of many streams and for a whole utterance.
//!
//! What it does: rows in, rows out. The rows of all streams stand one under the other, so every linear layer sees one tall
//! matrix; only attention and the depthwise convolution know where one stream ends ([`Rows`]), because they read its past
//! ([`EncoderState`]). An utterance at once is a stream with one long step and a state that keeps everything.
//! What it does not do: audio, subsampling, deciding when a chunk is complete (`model::network`).
//! Who calls it: `model::network`.

use std::borrow::Cow;

use rayon::prelude::*;

use super::arch::{ConvNorm, Encoder as Architecture};
use super::state::EncoderState;
use super::weights::{Weights, WeightsError};
use crate::ops::depthwise_conv::{DepthwiseConv, Norm};
use crate::ops::layer_norm::LayerNorm;
use crate::ops::linear::{Finish, Linear};
use crate::ops::rel_attention::{Mask, Positions, Queries, RelAttention};

/// Rows that pass through a feed-forward module together: bounds its inner buffer and keeps it in the cache.
const BLOCK: usize = 256;

/// All blocks of one model.
#[derive(Clone, Debug)]
pub struct Encoder {
    width: usize,
    heads: usize,
    layers: Vec<Layer>,
    /// Projected positions of each layer for the distances that streaming needs.
    positions: Vec<Positions>,
}

#[derive(Clone, Debug)]
struct FeedForward {
    norm: LayerNorm,
    expand: Linear,
    contract: Linear,
}

#[derive(Clone, Debug)]
struct Layer {
    first: FeedForward,
    attention_norm: LayerNorm,
    /// Query, key and value of a row at once: `[3 * width, width]`.
    attention_in: Linear,
    attention: RelAttention,
    attention_out: Linear,
    positions: Linear,
    conv_norm: LayerNorm,
    conv_in: Linear,
    conv: DepthwiseConv,
    conv_out: Linear,
    second: FeedForward,
    norm: LayerNorm,
}

/// The part of a step that belongs to one stream.
#[derive(Debug)]
pub struct Rows<'a> {
    /// What earlier steps left.
    pub state: &'a mut EncoderState,
    /// Its rows in this step.
    pub count: usize,
}

/// Buffers of one caller, kept between steps.
#[derive(Clone, Debug, Default)]
pub struct EncoderScratch {
    normed: Vec<f32>,
    wide: Vec<f32>,
    inner: Vec<f32>,
}

impl Encoder {
    /// Packs the weights of all blocks. Every tensor must have the shape that `arch` implies; biases are optional.
    pub fn new(arch: &Architecture, weights: &Weights) -> Result<Self, WeightsError> {
        let layers = (0..arch.layers)
            .map(|index| Layer::new(arch, weights, index))
            .collect::<Result<_, _>>()?;
        Ok(Encoder {
            width: arch.width,
            heads: arch.heads,
            layers,
            positions: Vec::new(),
        })
    }

    /// Projects positions once for all distances (query minus key) from `nearest` to `farthest`.
    pub fn prepare(&mut self, nearest: i64, farthest: i64) {
        let encoding = sinusoids(self.width, nearest, farthest);
        self.positions = self
            .layers
            .par_iter()
            .map(|layer| layer.project(&encoding, self.width, self.heads, farthest))
            .collect();
    }

    /// Runs all blocks over `x [rows of all streams, width]` in place. `seen` is called with the index of a block and its
    /// result.
    pub fn forward(
        &self,
        x: &mut [f32],
        streams: &mut [Rows<'_>],
        mask: Mask,
        scratch: &mut EncoderScratch,
        mut seen: impl FnMut(usize, &[f32]),
    ) {
        let (nearest, farthest) = reach(streams, mask);
        let prepared = self.positions.first().is_some_and(|positions| positions.covers(nearest, farthest));
        let encoding = if prepared {
            Vec::new()
        } else {
            sinusoids(self.width, nearest, farthest)
        };
        for (index, layer) in self.layers.iter().enumerate() {
            let positions = match self.positions.get(index) {
                Some(positions) if prepared => Cow::Borrowed(positions),
                _ => Cow::Owned(layer.project(&encoding, self.width, self.heads, farthest)),
            };
            for stream in streams.iter_mut() {
                stream.state.enter(index);
            }
            layer.forward(x, streams, index, &positions, mask, scratch, self.width);
            seen(index, x);
        }
    }
}

impl FeedForward {
    fn new(arch: &Architecture, weights: &Weights, prefix: &str, norm: &str, module: &str) -> Result<Self, WeightsError> {
        let inner = arch.width * arch.ff_expansion;
        Ok(FeedForward {
            norm: layer_norm(weights, &format!("{prefix}.{norm}"), arch.width)?,
            expand: linear(weights, &format!("{prefix}.{module}.linear1"), inner, arch.width)?,
            contract: linear(weights, &format!("{prefix}.{module}.linear2"), arch.width, inner)?,
        })
    }

    /// `x += 0.5 * contract(silu(expand(norm(x))))`.
    fn forward(&self, x: &mut [f32], scratch: &mut EncoderScratch) {
        let (width, inner) = (self.expand.inputs(), self.expand.outputs());
        for x in x.chunks_mut(BLOCK * width) {
            let rows = x.len() / width;
            let normed = sized(&mut scratch.normed, rows * width);
            let hidden = sized(&mut scratch.inner, rows * inner);
            self.norm.forward(x, normed);
            self.expand.forward_with(normed, rows, hidden, Finish::Silu);
            self.contract.forward_with(hidden, rows, x, Finish::Add(0.5));
        }
    }
}

impl Layer {
    fn new(arch: &Architecture, weights: &Weights, index: usize) -> Result<Self, WeightsError> {
        let (width, heads) = (arch.width, arch.heads);
        let prefix = format!("encoder.layers.{index}");
        let (attention, conv) = (format!("{prefix}.self_attn"), format!("{prefix}.conv"));
        let bias_shape = [heads, width / heads.max(1)];
        let gate = format!("{conv}.pointwise_conv1");
        Ok(Layer {
            first: FeedForward::new(arch, weights, &prefix, "norm_feed_forward1", "feed_forward1")?,
            attention_norm: layer_norm(weights, &format!("{prefix}.norm_self_att"), width)?,
            attention_in: query_key_value(weights, &attention, width)?,
            attention: RelAttention::new(
                weights.get(&format!("{attention}.pos_bias_u"), &bias_shape)?,
                weights.get(&format!("{attention}.pos_bias_v"), &bias_shape)?,
                heads,
            ),
            attention_out: linear(weights, &format!("{attention}.linear_out"), width, width)?,
            positions: Linear::new(
                weights.get(&format!("{attention}.linear_pos.weight"), &[width, width])?,
                None,
                width,
                width,
            ),
            conv_norm: layer_norm(weights, &format!("{prefix}.norm_conv"), width)?,
            conv_in: Linear::gated(
                weights.get(&format!("{gate}.weight"), &[2 * width, width, 1])?,
                weights.get_optional(&format!("{gate}.bias"), &[2 * width])?,
                width,
                width,
            ),
            conv: depthwise(arch, weights, &conv)?,
            conv_out: linear(weights, &format!("{conv}.pointwise_conv2"), width, width)?,
            second: FeedForward::new(arch, weights, &prefix, "norm_feed_forward2", "feed_forward2")?,
            norm: layer_norm(weights, &format!("{prefix}.norm_out"), width)?,
        })
    }

    #[expect(clippy::too_many_arguments, reason = "one call in one place")]
    fn forward(
        &self,
        x: &mut [f32],
        streams: &mut [Rows<'_>],
        index: usize,
        positions: &Positions,
        mask: Mask,
        scratch: &mut EncoderScratch,
        width: usize,
    ) {
        let rows = x.len() / width;
        self.first.forward(x, scratch);

        let normed = sized(&mut scratch.normed, rows * width);
        let wide = sized(&mut scratch.wide, 3 * rows * width);
        self.attention_norm.forward(x, normed);
        self.attention_in.forward(normed, rows, wide);
        let alone = streams.len() < rayon::current_num_threads();
        each(streams, width, wide, normed, &|stream, rows, out| {
            if let Some(layer) = stream.state.layer(index) {
                let first = layer.window.end();
                layer.window.append(rows);
                let (window, count) = (&layer.window, rows.len() / (3 * width));
                // Few streams: their rows go to different threads.
                let size = if alone {
                    count.div_ceil(rayon::current_num_threads()).clamp(1, 12)
                } else {
                    count.max(1)
                };
                let piece = |(piece, (rows, out)): (usize, (&[f32], &mut [f32]))| {
                    let first = first + u64::try_from(piece * size).unwrap_or(0);
                    self.attention.forward(Queries { rows, first, window }, positions, mask, out);
                };
                let pieces = rows.par_chunks(size * 3 * width).zip(out.par_chunks_mut(size * width)).enumerate();
                pieces.for_each(piece);
            }
        });
        self.attention_out.forward_with(normed, rows, x, Finish::Add(1.0));

        self.conv_norm.forward(x, normed);
        let gated = sized(&mut scratch.wide, rows * width);
        self.conv_in.forward(normed, rows, gated);
        each(streams, width, gated, normed, &|stream, rows, out| {
            if let Some(layer) = stream.state.layer(index) {
                self.conv.forward(rows, &mut layer.history, out);
            }
        });
        self.conv_out.forward_with(normed, rows, x, Finish::Add(1.0));

        self.second.forward(x, scratch);
        let normed = sized(&mut scratch.normed, rows * width);
        self.norm.forward(x, normed);
        x.copy_from_slice(normed);
    }

    /// Positions of this layer: `linear_pos` over the sinusoids, packed.
    fn project(&self, encoding: &[f32], width: usize, heads: usize, farthest: i64) -> Positions {
        let mut rows = vec![0.0; encoding.len()];
        self.positions.forward(encoding, encoding.len() / width.max(1), &mut rows);
        Positions::new(&rows, width, heads, farthest)
    }
}

/// Calls `f` for each stream with its rows of `x` and of `y [rows, width]`, on several threads if there are several streams.
/// A row of `x` may be wider than one of `y`.
fn each<F>(streams: &mut [Rows<'_>], width: usize, x: &[f32], y: &mut [f32], f: &F)
where
    F: Fn(&mut Rows<'_>, &[f32], &mut [f32]) + Sync,
{
    match streams {
        [] => {}
        [stream] => f(stream, x, y),
        _ => {
            let rows = y.len() / width;
            let (left, right) = streams.split_at_mut(streams.len() / 2);
            let before = left.iter().map(|stream| stream.count).sum::<usize>().min(rows);
            let (x_left, x_right) = x.split_at(before * (x.len() / rows.max(1)));
            let (y_left, y_right) = y.split_at_mut(before * width);
            rayon::join(|| each(left, width, x_left, y_left, f), || each(right, width, x_right, y_right, f));
        }
    }
}

/// Smallest and greatest distance (query minus key) that any row of the step needs.
fn reach(streams: &mut [Rows<'_>], mask: Mask) -> (i64, i64) {
    let (mut nearest, mut farthest) = (0, 0);
    for stream in streams {
        let first = stream.state.position();
        let end = first + u64::try_from(stream.count).unwrap_or(0);
        let distance = |query: u64, key: u64| i64::try_from(query).unwrap_or(i64::MAX) - i64::try_from(key).unwrap_or(i64::MAX);
        for query in first..end {
            let keys = mask.visible(query, end);
            // Rows are attended in groups, whose common window starts with the first row's.
            nearest = nearest.min(distance(first.max(query.saturating_sub(12)), keys.end.saturating_sub(1)));
            farthest = farthest.max(distance(end.min(query + 12), keys.start));
        }
    }
    (nearest, farthest)
}

/// The sinusoidal encoding of the distances `farthest` down to `nearest`, one row each: sine and cosine of
/// `r * 10000^(-2i / width)` in turn, the product rounded to f32 as the training code does.
#[expect(clippy::as_conversions, reason = "distances and channel numbers become angles")]
fn sinusoids(width: usize, nearest: i64, farthest: i64) -> Vec<f32> {
    let rates: Vec<f32> = (0..width.div_ceil(2))
        .map(|i| (-(2.0 * i as f64) * 10_000_f64.ln() / width as f64).exp() as f32)
        .collect();
    let row = |r: i64| {
        rates.iter().flat_map(move |rate| {
            let angle = f64::from(r as f32 * rate);
            [angle.sin() as f32, angle.cos() as f32]
        })
    };
    (nearest..=farthest)
        .rev()
        .flat_map(|r| row(r).take(width).collect::<Vec<f32>>())
        .collect()
}

/// The first `count` values of a buffer that grows as needed.
fn sized(buffer: &mut Vec<f32>, count: usize) -> &mut [f32] {
    if buffer.len() < count {
        buffer.resize(count, 0.0);
    }
    buffer.get_mut(..count).unwrap_or_default()
}

/// A linear layer by name, with its bias if there is one.
fn linear(weights: &Weights, name: &str, outputs: usize, inputs: usize) -> Result<Linear, WeightsError> {
    let weight = weights.get(&format!("{name}.weight"), &[outputs, inputs])?;
    let bias = weights.get_optional(&format!("{name}.bias"), &[outputs])?;
    Ok(Linear::new(weight, bias, outputs, inputs))
}

fn layer_norm(weights: &Weights, name: &str, width: usize) -> Result<LayerNorm, WeightsError> {
    Ok(LayerNorm::new(
        weights.get(&format!("{name}.weight"), &[width])?,
        weights.get(&format!("{name}.bias"), &[width])?,
    ))
}

/// `linear_q`, `linear_k` and `linear_v` under one another.
fn query_key_value(weights: &Weights, prefix: &str, width: usize) -> Result<Linear, WeightsError> {
    let (mut weight, mut bias) = (Vec::with_capacity(3 * width * width), Vec::with_capacity(3 * width));
    for part in ["linear_q", "linear_k", "linear_v"] {
        weight.extend_from_slice(weights.get(&format!("{prefix}.{part}.weight"), &[width, width])?);
        match weights.get_optional(&format!("{prefix}.{part}.bias"), &[width])? {
            Some(values) => bias.extend_from_slice(values),
            None => bias.resize(bias.len() + width, 0.0),
        }
    }
    Ok(Linear::new(&weight, Some(&bias), 3 * width, width))
}

fn depthwise(arch: &Architecture, weights: &Weights, prefix: &str) -> Result<DepthwiseConv, WeightsError> {
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
