//! Scores, softmax and weighted sums for up to a tile of rows at a time, head by head.
//!
//! All products use the tile of the linear layer: rows in registers, sixteen keys (or positions, or channels of the value)
//! in lanes. Sums over keys run in the order of the keys, over exactly the frames visible to some row of the group; for a
//! row that sees fewer, the others add zeros, so the grouping leaves no trace in the bits.

#![allow(
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "ranges are proven against window and table in `forward`"
)]

use std::cell::RefCell;

use super::{KeyValues, Mask, Positions, Queries, RelAttention};
use crate::ops::simd::{self, LANES, Lanes, Line};

/// Rows that share a pass over keys and values.
pub(crate) const GROUP: usize = 12;

/// Buffers of one group, kept by each thread.
#[derive(Default)]
struct Buffers {
    /// `[rows, depth]`: query plus bias, scaled.
    content: Vec<f32>,
    position: Vec<f32>,
    /// `[rows, keys]`.
    scores: Vec<f32>,
    /// `[rows, distances]`.
    distances: Vec<f32>,
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

pub(super) fn append(window: &mut KeyValues, rows: &[f32]) {
    let (heads, depth, blocks) = (window.heads, window.depth, window.blocks);
    let width = heads * depth;
    let groups = depth.div_ceil(LANES);
    if width == 0 {
        return;
    }
    for row in rows.chunks_exact(3 * width) {
        let slot = (window.end % (blocks * LANES) as u64) as usize;
        let (block, lane) = (slot / LANES, slot % LANES);
        for head in 0..heads {
            let key = &row[width + head * depth..][..depth];
            for (line, value) in window.keys[(head * blocks + block) * depth..][..depth].iter_mut().zip(key) {
                line.0[lane] = *value;
            }
            let value = &row[2 * width + head * depth..][..depth];
            for (group, part) in value.chunks(LANES).enumerate() {
                window.values[(head * groups + group) * blocks * LANES + slot].0[..part.len()].copy_from_slice(part);
            }
        }
        window.end += 1;
    }
}

pub(super) fn forward(attention: &RelAttention, queries: Queries<'_>, positions: &Positions, mask: Mask, out: &mut [f32]) {
    let width = attention.heads * attention.depth;
    if width == 0 {
        return;
    }
    let total = queries.rows.len() / (3 * width);
    // Groups of even size: 14 rows make 7 and 7.
    let size = total.div_ceil(total.div_ceil(GROUP).max(1)).max(1);
    BUFFERS.with_borrow_mut(|buffers| {
        for (group, (rows, out)) in queries.rows.chunks(size * 3 * width).zip(out.chunks_mut(size * width)).enumerate() {
            let first = queries.first + (group * size) as u64;
            let count = (rows.len() / (3 * width)).min(out.len() / width);
            let window = queries.window;
            let seen: [(u64, u64); GROUP] = std::array::from_fn(|row| {
                let range = mask.visible(first + row as u64, window.end);
                (range.start, range.end)
            });
            let seen = &seen[..count];
            let from = seen.iter().map(|range| range.0).min().unwrap_or(0);
            let to = seen.iter().map(|range| range.1).max().unwrap_or(0);
            let nearest = first as i64 - to as i64 + 1;
            let farthest = (first + count as u64) as i64 - 1 - from as i64;
            if from >= to || window.end - from > window.capacity() as u64 || !positions.covers(nearest, farthest) {
                out.fill(0.0);
                continue;
            }
            let group = Group {
                attention,
                rows,
                first,
                seen,
                from,
                to,
                window,
                positions,
            };
            group_at(attention.level, group, buffers, out);
        }
    });
}

/// Up to [`GROUP`] rows of one stream; `from .. to` is what any of them sees.
#[derive(Clone, Copy)]
struct Group<'a> {
    attention: &'a RelAttention,
    rows: &'a [f32],
    first: u64,
    seen: &'a [(u64, u64)],
    from: u64,
    to: u64,
    window: &'a KeyValues,
    positions: &'a Positions,
}

simd::dispatch!(fn group_at(group: Group<'_>, buffers: &mut Buffers, out: &mut [f32]) = attend);

#[inline(always)]
fn attend<V: Lanes>(group: Group<'_>, buffers: &mut Buffers, out: &mut [f32]) {
    let Group {
        attention,
        rows,
        first,
        seen,
        from,
        to,
        window,
        positions,
    } = group;
    let (heads, depth, count) = (attention.heads, attention.depth, seen.len());
    let width = heads * depth;
    let scale = 1.0 / (depth as f32).sqrt();
    // Columns of `scores` are keys from the start of the first block; columns of `distances` are rows of the table.
    let (first_block, blocks) = (
        (from / LANES as u64) as usize,
        (to.div_ceil(LANES as u64) - from / LANES as u64) as usize,
    );
    let keys = blocks * LANES;
    let row_of = |query: u64, key: u64| (positions.farthest + key as i64 - query as i64) as usize;
    let table = row_of(first + count as u64 - 1, from) / LANES..row_of(first, to - 1) / LANES + 1;
    let distances = table.len() * LANES;
    buffers.content.resize(count * depth, 0.0);
    buffers.position.resize(count * depth, 0.0);
    buffers.scores.resize(count * keys, 0.0);
    buffers.distances.resize(count * distances, 0.0);
    for head in 0..heads {
        for row in 0..count {
            let query = &rows[row * 3 * width + head * depth..][..depth];
            let biases = attention.content_bias[head * depth..]
                .iter()
                .zip(&attention.position_bias[head * depth..]);
            let targets = buffers.content[row * depth..].iter_mut().zip(&mut buffers.position[row * depth..]);
            for ((query, (content, position)), (a, b)) in query.iter().zip(biases).zip(targets) {
                *a = (query + content) * scale;
                *b = (query + position) * scale;
            }
        }
        for block in 0..blocks {
            let place = (first_block + block) % window.blocks;
            let panel = &window.keys[(head * window.blocks + place) * depth..][..depth];
            product::<V>(
                count,
                &buffers.content,
                depth,
                [(0, panel), (0, &[])],
                &mut buffers.scores[block * LANES..],
                keys,
                LANES,
                None,
            );
        }
        for (column, block) in table.clone().enumerate() {
            let panel = &positions.lines[(head * positions.blocks + block) * depth..][..depth];
            let target = &mut buffers.distances[column * LANES..];
            product::<V>(
                count,
                &buffers.position,
                depth,
                [(0, panel), (0, &[])],
                target,
                distances,
                LANES,
                None,
            );
        }
        let base = first_block as u64 * LANES as u64;
        let (start, end) = ((from - base) as usize, (to - base) as usize);
        let mut factors = [0.0; GROUP];
        for (row, &(low, high)) in seen.iter().enumerate() {
            let scores = &mut buffers.scores[row * keys..][..keys];
            if low >= high {
                scores[start..end].fill(0.0);
                continue;
            }
            let offset = row_of(first + row as u64, low) - table.start * LANES;
            let (low, high) = ((low - base) as usize, (high - base) as usize);
            scores[start..low].fill(0.0);
            scores[high..end].fill(0.0);
            factors[row] = 1.0 / softmax::<V>(&mut scores[low..high], &buffers.distances[row * distances + offset..][..high - low]);
        }
        // The window is a ring: at most two runs of frames.
        let ring = window.blocks * LANES;
        let slot = (from % ring as u64) as usize;
        let length = end - start;
        let run = length.min(ring - slot);
        for (part, channels) in (0..depth).step_by(LANES).enumerate() {
            let lines = &window.values[(head * depth.div_ceil(LANES) + part) * ring..][..ring];
            let runs = [(start, &lines[slot..slot + run]), (start + run, &lines[..length - run])];
            let wide = (depth - channels).min(LANES);
            let target = &mut out[head * depth + channels..];
            product::<V>(count, &buffers.scores, keys, runs, target, width, wide, Some(&factors));
        }
    }
}

/// `out[r * step ..][..wide] = sum over runs and their lines of a[r * stride + offset + k] * line[k]`, times `factors[r]`.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "one matrix product with its strides")]
fn product<V: Lanes>(
    rows: usize,
    a: &[f32],
    stride: usize,
    runs: [(usize, &[Line]); 2],
    out: &mut [f32],
    step: usize,
    wide: usize,
    factors: Option<&[f32; GROUP]>,
) {
    let mut row = 0;
    while row < rows {
        let at = Product {
            a: &a[row * stride..],
            stride,
            runs,
            step,
            wide,
            factors: factors.map(|factors| &factors[row..]),
        };
        let out = &mut out[row * step..];
        row += match (rows - row).min(V::ROWS) {
            1 => at.tile::<V, 1>(out),
            2 => at.tile::<V, 2>(out),
            3 => at.tile::<V, 3>(out),
            4 => at.tile::<V, 4>(out),
            5 => at.tile::<V, 5>(out),
            6 => at.tile::<V, 6>(out),
            7 => at.tile::<V, 7>(out),
            8 => at.tile::<V, 8>(out),
            9 => at.tile::<V, 9>(out),
            10 => at.tile::<V, 10>(out),
            11 => at.tile::<V, 11>(out),
            _ => at.tile::<V, 12>(out),
        };
    }
}

/// The operands of [`product`] from one row on.
#[derive(Clone, Copy)]
struct Product<'a> {
    a: &'a [f32],
    stride: usize,
    runs: [(usize, &'a [Line]); 2],
    step: usize,
    wide: usize,
    factors: Option<&'a [f32]>,
}

impl Product<'_> {
    #[inline(always)]
    fn tile<V: Lanes, const R: usize>(self, out: &mut [f32]) -> usize {
        let mut sums = [[V::splat(0.0)]; R];
        for (offset, lines) in self.runs {
            if lines.is_empty() {
                continue;
            }
            let last = (R - 1) * self.stride + offset + lines.len();
            let a = &self.a[..last];
            // SAFETY: `a` was just cut to end with row `R - 1`, and `lines` are `repr(C)` arrays of one vector each.
            unsafe { simd::tile::<V, R, 1>(lines.len(), a[offset..].as_ptr(), self.stride, lines.as_ptr().cast(), &mut sums) };
        }
        for (r, [sum]) in sums.into_iter().enumerate() {
            let sum = self.factors.map_or(sum, |factors| sum.mul(V::splat(factors[r])));
            let target = &mut out[r * self.step..][..self.wide];
            match target.first_chunk_mut::<LANES>() {
                Some(line) => sum.store(line),
                None => sum.store_part(target),
            }
        }
        R
    }
}

/// Adds `distances` to `scores`, replaces them by `e^(score - greatest)` and returns the sum.
#[inline(always)]
fn softmax<V: Lanes>(scores: &mut [f32], distances: &[f32]) -> f32 {
    let (full, rest) = scores.as_chunks_mut::<LANES>();
    let (others, other_rest) = distances.as_chunks::<LANES>();
    let mut most = V::splat(f32::MIN);
    for (line, other) in full.iter_mut().zip(others) {
        let score = V::load(line).add(V::load(other));
        most = most.max(score);
        score.store(line);
    }
    // Lanes beyond the row become e^-87, which a sum of at least 1 does not notice.
    let last = V::load_part(rest, f32::MIN).add(V::load_part(other_rest, 0.0));
    let greatest = V::splat(most.max(last).greatest());
    let mut sum = V::splat(0.0);
    for line in full {
        let weight = simd::exp(V::load(line).sub(greatest));
        sum = sum.add(weight);
        weight.store(line);
    }
    if !rest.is_empty() {
        let weight = simd::exp(last.sub(greatest));
        sum = sum.add(weight);
        weight.store_part(rest);
    }
    sum.sum()
}
