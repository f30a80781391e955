//! Channels in lanes, taps in the inner loop, one row after the other.

#![allow(clippy::indexing_slicing, reason = "the row windows are proven to lie inside `x` before the loop")]

use super::DepthwiseConv;
use crate::ops::layer_norm;
use crate::ops::simd::{self, LANES, Lanes};

simd::dispatch!(pub(super) fn rows_at(conv: &DepthwiseConv, x: &[f32], y: &mut [f32]) = rows);

#[inline(always)]
fn rows<V: Lanes>(conv: &DepthwiseConv, x: &[f32], y: &mut [f32]) {
    let (width, span) = (conv.width, conv.width * conv.kernel);
    if span == 0 {
        return;
    }
    for (t, y) in y.chunks_exact_mut(width).enumerate() {
        let Some(window) = x.get(t * width..t * width + span) else {
            return;
        };
        let mut d = 0;
        while d + LANES <= width {
            let mut sum = part::<V>(&conv.bias[d..d + LANES]);
            for (x, tap) in window[d..].chunks(width).zip(conv.taps[d..].chunks(width)) {
                sum = part::<V>(&tap[..LANES]).mul_add(part(&x[..LANES]), sum);
            }
            save(if conv.norm.is_some() { sum } else { simd::silu(sum) }, &mut y[d..d + LANES]);
            d += LANES;
        }
        if d < width {
            let rest = width - d;
            let mut sum = part::<V>(&conv.bias[d..]);
            for (x, tap) in window[d..].chunks(width).zip(conv.taps[d..].chunks(width)) {
                sum = part::<V>(&tap[..rest]).mul_add(part(&x[..rest]), sum);
            }
            save(if conv.norm.is_some() { sum } else { simd::silu(sum) }, &mut y[d..]);
        }
        if let Some((weight, bias)) = &conv.norm {
            layer_norm::cpu::normalize_silu::<V>(y, weight, bias);
        }
    }
}

#[inline(always)]
fn part<V: Lanes>(from: &[f32]) -> V {
    from.first_chunk::<LANES>()
        .map_or_else(|| V::load_part(from, 0.0), |line| V::load(line))
}

#[inline(always)]
fn save<V: Lanes>(v: V, to: &mut [f32]) {
    match to.first_chunk_mut::<LANES>() {
        Some(line) => v.store(line),
        None => v.store_part(to),
    }
}
