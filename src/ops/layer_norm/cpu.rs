//! Rows one after the other, spread over threads when there are many.

#![allow(clippy::as_conversions, reason = "a row width becomes the divisor of a mean")]

use rayon::prelude::*;

use super::{EPSILON, LayerNorm};
use crate::ops::simd::{self, LANES, Lanes};

/// Values that one task normalizes at least.
const GRAIN: usize = 16_384;

pub(super) fn forward(norm: &LayerNorm, x: &[f32], y: &mut [f32]) {
    let width = norm.weight.len().min(norm.bias.len());
    if width == 0 {
        return;
    }
    let piece = GRAIN.div_ceil(width) * width;
    if y.len() <= piece {
        return rows_at(norm.level, x, y, &norm.weight, &norm.bias);
    }
    x.par_chunks(piece)
        .zip(y.par_chunks_mut(piece))
        .for_each(|(x, y)| rows_at(norm.level, x, y, &norm.weight, &norm.bias));
}

simd::dispatch!(fn rows_at(x: &[f32], y: &mut [f32], weight: &[f32], bias: &[f32]) = rows);

#[inline(always)]
fn rows<V: Lanes>(x: &[f32], y: &mut [f32], weight: &[f32], bias: &[f32]) {
    for (x, y) in x.chunks_exact(weight.len()).zip(y.chunks_exact_mut(weight.len())) {
        row::<V>(x, y, weight, bias);
    }
}

#[inline(always)]
fn row<V: Lanes>(x: &[f32], y: &mut [f32], weight: &[f32], bias: &[f32]) {
    let (full, rest) = x.as_chunks::<LANES>();
    let (center, factor) = statistics::<V>(full, rest);
    let (weights, weight_rest) = weight.as_chunks::<LANES>();
    let (biases, bias_rest) = bias.as_chunks::<LANES>();
    let (targets, target_rest) = y.as_chunks_mut::<LANES>();
    for (((line, weight), bias), target) in full.iter().zip(weights).zip(biases).zip(targets) {
        V::load(line)
            .sub(center)
            .mul(factor)
            .mul_add(V::load(weight), V::load(bias))
            .store(target);
    }
    if !rest.is_empty() {
        let last = V::load_part(rest, 0.0).sub(center).mul(factor);
        last.mul_add(V::load_part(weight_rest, 0.0), V::load_part(bias_rest, 0.0))
            .store_part(target_rest);
    }
}

/// One row in place, followed by SiLU.
#[inline(always)]
pub(crate) fn normalize_silu<V: Lanes>(row: &mut [f32], weight: &[f32], bias: &[f32]) {
    let (full, rest) = row.as_chunks_mut::<LANES>();
    let (center, factor) = statistics::<V>(full, rest);
    let (weights, weight_rest) = weight.as_chunks::<LANES>();
    let (biases, bias_rest) = bias.as_chunks::<LANES>();
    for ((line, weight), bias) in full.iter_mut().zip(weights).zip(biases) {
        simd::silu(V::load(line).sub(center).mul(factor).mul_add(V::load(weight), V::load(bias))).store(line);
    }
    if !rest.is_empty() {
        let last = V::load_part(rest, 0.0).sub(center).mul(factor);
        simd::silu(last.mul_add(V::load_part(weight_rest, 0.0), V::load_part(bias_rest, 0.0))).store_part(rest);
    }
}

/// Mean and reciprocal deviation of a row cut into lines and a rest.
#[inline(always)]
fn statistics<V: Lanes>(full: &[[f32; LANES]], rest: &[f32]) -> (V, V) {
    let scale = 1.0 / (full.len() * LANES + rest.len()) as f32;
    let mut sum = V::load_part(rest, 0.0);
    for line in full {
        sum = sum.add(V::load(line));
    }
    let mean = sum.sum() * scale;
    let center = V::splat(mean);
    let apart = V::load_part(rest, mean).sub(center);
    let mut squares = apart.mul(apart);
    for line in full {
        let apart = V::load(line).sub(center);
        squares = apart.mul_add(apart, squares);
    }
    (center, V::splat(1.0 / (squares.sum() * scale + EPSILON).sqrt()))
}
