//! The conformer blocks, written once: for one step of many streams and for a whole utterance.
//!
//! What it does: rows in, rows out. The rows of all streams stand one under the other, so every linear layer sees one tall
//! matrix; only attention and the depthwise convolution know where one stream ends ([`Rows`]), because they read its past
//! ([`EncoderState`]). An utterance at once is a stream with one long step and a state that keeps everything.
//! What it does not do: audio, subsampling, deciding when a chunk is complete (`model::network`).
//! Who calls it: `model::network`.

use std::borrow::Cow;
use std::convert::Infallible;

use rayon::prelude::*;

use super::arch::Encoder as Architecture;
use super::graph::{self, Half};
use super::state::EncoderState;
use super::tensors::{self, Block, Matrix, Scale};
use super::weights::{Weights, WeightsError};
use crate::ops::depthwise_conv::DepthwiseConv;
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
            let Ok(()) = graph::block(&mut Run {
                layer,
                index,
                width: self.width,
                x,
                streams,
                positions: &positions,
                mask,
                scratch,
            });
            seen(index, x);
        }
    }
}

impl FeedForward {
    fn new(tensors: &tensors::FeedForward<'_>) -> Self {
        FeedForward {
            norm: layer_norm(tensors.norm),
            expand: linear(tensors.expand),
            contract: linear(tensors.contract),
        }
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
        let width = arch.width;
        let block = Block::of(arch, weights, index)?;
        let (weight, bias) = tensors::stacked(block.projections);
        Ok(Layer {
            first: FeedForward::new(&block.first),
            attention_norm: layer_norm(block.attention_norm),
            attention_in: Linear::new(&weight, Some(&bias), 3 * width, width),
            attention: RelAttention::new(block.content_bias, block.position_bias, arch.heads),
            attention_out: linear(block.attention_out),
            positions: Linear::new(block.positions, None, width, width),
            conv_norm: layer_norm(block.conv_norm),
            conv_in: Linear::gated(block.conv_in.weight, block.conv_in.bias, width, width),
            conv_out: linear(block.conv_out),
            second: FeedForward::new(&block.second),
            norm: layer_norm(block.norm),
            conv: block.conv,
        })
    }

    /// Positions of this layer: `linear_pos` over the sinusoids, packed.
    fn project(&self, encoding: &[f32], width: usize, heads: usize, farthest: i64) -> Positions {
        let mut rows = vec![0.0; encoding.len()];
        self.positions.forward(encoding, encoding.len() / width.max(1), &mut rows);
        Positions::new(&rows, width, heads, farthest)
    }
}

/// One block over the rows of one step.
struct Run<'a, 'b> {
    layer: &'a Layer,
    index: usize,
    width: usize,
    x: &'a mut [f32],
    streams: &'a mut [Rows<'b>],
    positions: &'a Positions,
    mask: Mask,
    scratch: &'a mut EncoderScratch,
}

impl graph::Block for Run<'_, '_> {
    type Error = Infallible;

    fn feed_forward(&mut self, half: Half) -> Result<(), Infallible> {
        match half {
            Half::First => self.layer.first.forward(self.x, self.scratch),
            Half::Second => self.layer.second.forward(self.x, self.scratch),
        }
        Ok(())
    }

    fn attention(&mut self) -> Result<(), Infallible> {
        let (layer, index, width, positions, mask) = (self.layer, self.index, self.width, self.positions, self.mask);
        let rows = self.x.len() / width;
        let normed = sized(&mut self.scratch.normed, rows * width);
        let wide = sized(&mut self.scratch.wide, 3 * rows * width);
        layer.attention_norm.forward(self.x, normed);
        layer.attention_in.forward(normed, rows, wide);
        let alone = self.streams.len() < rayon::current_num_threads();
        each(self.streams, width, wide, normed, &|stream, rows, out| {
            if let Some(caches) = stream.state.layer(index) {
                let first = caches.window.end();
                caches.window.append(rows);
                let (window, count) = (&caches.window, rows.len() / (3 * width));
                // Few streams: their rows go to different threads.
                let size = if alone {
                    count.div_ceil(rayon::current_num_threads()).clamp(1, 12)
                } else {
                    count.max(1)
                };
                let piece = |(piece, (rows, out)): (usize, (&[f32], &mut [f32]))| {
                    let first = first + u64::try_from(piece * size).unwrap_or(0);
                    layer.attention.forward(Queries { rows, first, window }, positions, mask, out);
                };
                let pieces = rows.par_chunks(size * 3 * width).zip(out.par_chunks_mut(size * width)).enumerate();
                pieces.for_each(piece);
            }
        });
        layer.attention_out.forward_with(normed, rows, self.x, Finish::Add(1.0));
        Ok(())
    }

    fn convolution(&mut self) -> Result<(), Infallible> {
        let (layer, index, width) = (self.layer, self.index, self.width);
        let rows = self.x.len() / width;
        let normed = sized(&mut self.scratch.normed, rows * width);
        let gated = sized(&mut self.scratch.wide, rows * width);
        layer.conv_norm.forward(self.x, normed);
        layer.conv_in.forward(normed, rows, gated);
        each(self.streams, width, gated, normed, &|stream, rows, out| {
            if let Some(caches) = stream.state.layer(index) {
                layer.conv.forward(rows, &mut caches.history, out);
            }
        });
        layer.conv_out.forward_with(normed, rows, self.x, Finish::Add(1.0));
        Ok(())
    }

    fn norm(&mut self) -> Result<(), Infallible> {
        let normed = sized(&mut self.scratch.normed, self.x.len());
        self.layer.norm.forward(self.x, normed);
        self.x.copy_from_slice(normed);
        Ok(())
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
pub(super) fn sinusoids(width: usize, nearest: i64, farthest: i64) -> Vec<f32> {
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

fn linear(matrix: Matrix<'_>) -> Linear {
    Linear::new(matrix.weight, matrix.bias, matrix.outputs, matrix.inputs)
}

fn layer_norm(scale: Scale<'_>) -> LayerNorm {
    LayerNorm::new(scale.weight, scale.bias)
}
