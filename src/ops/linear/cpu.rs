//! Tiles of up to 12 rows by one panel, spread over threads by panel.

#![allow(
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "register tiles: sizes are constants, bounds are proven once in `forward`"
)]

use super::{Finish, Linear};
use crate::ops::simd::{self, LANES, Lanes};

/// Multiply-adds below which a second thread costs more than it brings (about four microseconds of one core).
const WORTH_A_THREAD: usize = 150_000;

/// The result matrix, shared by threads that write disjoint columns.
#[derive(Clone, Copy)]
struct Target(*mut f32);
// SAFETY: the threads of one `forward` write disjoint panels, and the borrow of `y` outlives them all.
unsafe impl Send for Target {}
// SAFETY: as above.
unsafe impl Sync for Target {}

pub(super) fn forward(linear: &Linear, x: &[f32], rows: usize, y: &mut [f32], finish: Finish) {
    if linear.inputs == 0 || linear.outputs == 0 {
        return;
    }
    let rows = rows.min(x.len() / linear.inputs).min(y.len() / linear.outputs);
    let panels = linear.bias.len() / 2;
    if rows == 0 {
        return;
    }
    let work = rows * linear.inputs * panels * super::PANEL;
    let threads = if work < 2 * WORTH_A_THREAD {
        1
    } else {
        rayon::current_num_threads().min(work / WORTH_A_THREAD)
    };
    split(linear, x, rows, Target(y.as_mut_ptr()), finish, (0, panels), threads);
}

/// Computes the panels `range.0 .. range.1`, the first half here and the second on another thread while `threads` last.
fn split(linear: &Linear, x: &[f32], rows: usize, y: Target, finish: Finish, range: (usize, usize), threads: usize) {
    if threads < 2 || range.1 - range.0 < 2 {
        return panels_at(linear.level, linear, x, rows, y, finish, range);
    }
    let left = threads / 2;
    let middle = range.0 + ((range.1 - range.0) * left / threads).max(1);
    rayon::join(
        || split(linear, x, rows, y, finish, (range.0, middle), left),
        || split(linear, x, rows, y, finish, (middle, range.1), threads - left),
    );
}

simd::dispatch!(fn panels_at(linear: &Linear, x: &[f32], rows: usize, y: Target, finish: Finish, range: (usize, usize)) = panels);

#[inline(always)]
fn panels<V: Lanes>(linear: &Linear, x: &[f32], rows: usize, y: Target, finish: Finish, range: (usize, usize)) {
    for panel in range.0..range.1 {
        let mut row = 0;
        while row < rows {
            let at = Place {
                linear,
                x,
                y,
                finish,
                panel,
                row,
            };
            // SAFETY: `forward` made sure that `x` and `y` hold `rows` rows, and `row + count <= rows` in each arm.
            let count = unsafe {
                match (rows - row).min(V::ROWS) {
                    1 => block::<V, 1>(at),
                    2 => block::<V, 2>(at),
                    3 => block::<V, 3>(at),
                    4 => block::<V, 4>(at),
                    5 => block::<V, 5>(at),
                    6 => block::<V, 6>(at),
                    7 => block::<V, 7>(at),
                    8 => block::<V, 8>(at),
                    9 => block::<V, 9>(at),
                    10 => block::<V, 10>(at),
                    11 => block::<V, 11>(at),
                    _ => block::<V, 12>(at),
                }
            };
            row += count;
        }
    }
}

/// One tile: which panel, from which row.
#[derive(Clone, Copy)]
struct Place<'a> {
    linear: &'a Linear,
    x: &'a [f32],
    y: Target,
    finish: Finish,
    panel: usize,
    row: usize,
}

/// Computes `R` rows of one panel and returns `R`.
///
/// # Safety
/// `x` and `y` hold at least `row + R` rows, and no other thread writes the columns of this panel.
#[inline(always)]
unsafe fn block<V: Lanes, const R: usize>(at: Place<'_>) -> usize {
    let Place {
        linear,
        x,
        y,
        finish,
        panel,
        row,
    } = at;
    let inputs = linear.inputs;
    let mut sums = [[V::splat(0.0); 2]; R];
    let a = x[row * inputs..].as_ptr();
    let lines = linear.panels[panel * inputs * 2..(panel + 1) * inputs * 2]
        .as_ptr()
        .cast::<[f32; LANES]>();
    // SAFETY: `a` has `R` rows of `inputs`, the panel has `inputs * 2` lines (both sliced above or promised by the caller).
    unsafe { accumulate::<V, R>(inputs, a, lines, &mut sums) };
    let (first, second) = (V::load(&linear.bias[panel * 2].0), V::load(&linear.bias[panel * 2 + 1].0));
    let width = if linear.gated { LANES } else { 2 * LANES };
    let count = (linear.outputs - panel * width).min(width);
    for (r, sum) in sums.into_iter().enumerate() {
        // SAFETY: row `row + r` exists, and columns `panel * width ..+ count` of it belong to this call alone.
        let target = unsafe { std::slice::from_raw_parts_mut(y.0.add((row + r) * linear.outputs + panel * width), count) };
        let (value, gate) = (sum[0].add(first), sum[1].add(second));
        if linear.gated {
            write(value.mul(simd::sigmoid(gate)), target, finish);
        } else {
            let cut = count.min(LANES);
            let (low, high) = target.split_at_mut(cut);
            write(value, low, finish);
            if !high.is_empty() {
                write(gate, high, finish);
            }
        }
    }
    R
}

/// Both halves of a panel at once if the level has the registers, else one after the other; the sums are the same.
///
/// # Safety
/// As [`simd::tile`] with `C = 2`.
#[inline(always)]
unsafe fn accumulate<V: Lanes, const R: usize>(depth: usize, a: *const f32, lines: *const [f32; LANES], sums: &mut [[V; 2]; R]) {
    if V::COLUMNS == 2 {
        // SAFETY: promised by the caller.
        return unsafe { simd::tile::<V, R, 2>(depth, a, depth, lines, sums) };
    }
    for half in 0..2 {
        let mut sum = [V::splat(0.0); R];
        for k in 0..depth {
            // SAFETY: promised by the caller.
            let b = V::load(unsafe { &*lines.add(k * 2 + half) });
            for (r, s) in sum.iter_mut().enumerate() {
                // SAFETY: promised by the caller.
                *s = V::splat(unsafe { *a.add(r * depth + k) }).mul_add(b, *s);
            }
        }
        for (s, pair) in sum.into_iter().zip(sums.iter_mut()) {
            pair[half] = s;
        }
    }
}

#[inline(always)]
fn write<V: Lanes>(v: V, target: &mut [f32], finish: Finish) {
    let full = target.len() == LANES;
    let v = match finish {
        Finish::Store => v,
        Finish::Relu => v.max(V::splat(0.0)),
        Finish::Silu => simd::silu(v),
        Finish::Add(factor) => {
            let old = match target.first_chunk::<LANES>() {
                Some(old) if full => V::load(old),
                _ => V::load_part(target, 0.0),
            };
            v.mul_add(V::splat(factor), old)
        }
    };
    match target.first_chunk_mut::<LANES>() {
        Some(line) if full => v.store(line),
        _ => v.store_part(target),
    }
}
