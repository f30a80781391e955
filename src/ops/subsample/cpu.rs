//! Strided 3x3 convolutions with channels in lanes.

#![allow(clippy::indexing_slicing, reason = "rows are cut to their full width before the inner loops")]

use super::{Strided, Subsample};
use crate::ops::simd::{self, LANES, Lanes};

/// Computes `count` rows of a layer (0 the full convolution with ReLU, else depthwise) into `out`, replacing it.
pub(super) fn convolve(op: &Subsample, layer: usize, input: &mut Strided, count: usize, out: &mut Vec<f32>) {
    let columns = input.row / if layer == 0 { 1 } else { op.channels.max(1) };
    let width = (columns - 1) / 2;
    out.resize(count * width * op.channels, 0.0);
    for (row, out) in out.chunks_exact_mut((width * op.channels).max(1)).enumerate() {
        let Some(three) = input.rows.get(2 * row * input.row..(2 * row + 3) * input.row) else {
            break;
        };
        if layer == 0 {
            full_at(op.level, op, three, out);
        } else {
            depthwise_at(op.level, op, layer, three, out);
        }
    }
    input.consume(count);
}

simd::dispatch!(fn full_at(op: &Subsample, three: &[f32], out: &mut [f32]) = full);
simd::dispatch!(fn depthwise_at(op: &Subsample, layer: usize, three: &[f32], out: &mut [f32]) = depthwise);

/// One input channel to all channels, then ReLU.
#[inline(always)]
fn full<V: Lanes>(op: &Subsample, three: &[f32], out: &mut [f32]) {
    let columns = three.len() / 3;
    let (bias, _) = op.bias[0].as_chunks::<LANES>();
    let (taps, _) = op.taps[0].as_chunks::<LANES>();
    for (group, bias) in bias.iter().enumerate() {
        let taps: [V; 9] = std::array::from_fn(|tap| V::load(&taps[tap * op.channels / LANES + group]));
        for (f, out) in out.chunks_exact_mut(op.channels).enumerate() {
            let mut sum = V::load(bias);
            for (tap, weight) in taps.iter().enumerate() {
                sum = V::splat(three[tap / 3 * columns + 2 * f + tap % 3]).mul_add(*weight, sum);
            }
            let (out, _) = out.as_chunks_mut::<LANES>();
            sum.max(V::splat(0.0)).store(&mut out[group]);
        }
    }
}

/// Each channel by itself.
#[inline(always)]
fn depthwise<V: Lanes>(op: &Subsample, layer: usize, three: &[f32], out: &mut [f32]) {
    let columns = three.len() / 3;
    let (input, _) = three.as_chunks::<LANES>();
    let (bias, _) = op.bias[layer].as_chunks::<LANES>();
    let (taps, _) = op.taps[layer].as_chunks::<LANES>();
    let groups = op.channels / LANES;
    for (group, bias) in bias.iter().enumerate() {
        let taps: [V; 9] = std::array::from_fn(|tap| V::load(&taps[tap * groups + group]));
        for (f, out) in out.chunks_exact_mut(op.channels).enumerate() {
            let mut sum = V::load(bias);
            for (tap, weight) in taps.iter().enumerate() {
                let column = tap / 3 * columns / op.channels + 2 * f + tap % 3;
                sum = V::load(&input[column * groups + group]).mul_add(*weight, sum);
            }
            let (out, _) = out.as_chunks_mut::<LANES>();
            sum.store(&mut out[group]);
        }
    }
}
