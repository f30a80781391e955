//! Multi-head attention with relative positions (Transformer-XL form) over a window of keys.
//!
//! `score(i, j) = ((q_i + u) . k_j + (q_i + v) . p(i - j)) / sqrt(d)`, softmax over the visible `j`, weighted sum of values.
//! Keys and values arrive projected and stay in [`KeyValues`]; `p` is projected once and kept in [`Positions`]. Which keys a
//! query sees is a [`Mask`]: always one contiguous range, so a chunk of a stream and a whole utterance are the same code.
//! Memory for scores is a few rows of the window, never its square. A query that sees nothing gives zeros.
//! Who calls it: `model::encoder`.

pub(crate) mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;

use std::ops::Range;

use super::simd::{LANES, Level, Line};

/// Which keys a query sees; positions are frames from the start of the utterance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mask {
    /// From `left` before to `right` after; `None` is unlimited.
    Regular {
        /// Frames before the query.
        left: Option<u64>,
        /// Frames after the query.
        right: Option<u64>,
    },
    /// All of the query's chunk of `size` frames, and `before` whole chunks before it; `None` is unlimited.
    Chunked {
        /// Frames in a chunk, at least 1.
        size: u64,
        /// Chunks before the query's own.
        before: Option<u64>,
    },
}

impl Mask {
    /// Keys that `query` sees when `end` exist.
    pub fn visible(self, query: u64, end: u64) -> Range<u64> {
        let (from, to) = match self {
            Mask::Regular { left, right } => (
                left.map_or(0, |left| query.saturating_sub(left)),
                right.map_or(end, |right| query.saturating_add(right).saturating_add(1)),
            ),
            Mask::Chunked { size, before } => {
                let size = size.max(1);
                let chunk = query / size;
                (
                    before.map_or(0, |before| chunk.saturating_sub(before).saturating_mul(size)),
                    (chunk + 1).saturating_mul(size),
                )
            }
        };
        from.min(end)..to.min(end)
    }
}

/// Projected positions of one layer for a contiguous run of distances, packed by head.
#[derive(Clone, Debug)]
pub struct Positions {
    farthest: i64,
    count: usize,
    blocks: usize,
    /// `[heads][blocks][depth]` lines.
    lines: Vec<Line>,
}

impl Positions {
    /// `rows [count, width]`: row `m` is the projection of distance `farthest - m` (query minus key).
    pub fn new(rows: &[f32], width: usize, heads: usize, farthest: i64) -> Self {
        let depth = width / heads.max(1);
        let count = rows.len() / width.max(1);
        let blocks = count.div_ceil(LANES);
        let mut lines = vec![Line::ZERO; heads * blocks * depth];
        for (m, row) in rows.chunks_exact(width.max(1)).enumerate() {
            for (head, part) in row.chunks_exact(depth.max(1)).enumerate() {
                let block = (head * blocks + m / LANES) * depth;
                for (line, value) in lines.iter_mut().skip(block).zip(part) {
                    if let Some(lane) = line.0.get_mut(m % LANES) {
                        *lane = *value;
                    }
                }
            }
        }
        Positions {
            farthest,
            count,
            blocks,
            lines,
        }
    }

    /// True if every distance from `nearest` to `farthest` is in the table.
    pub fn covers(&self, nearest: i64, farthest: i64) -> bool {
        let count = i64::try_from(self.count).unwrap_or(i64::MAX);
        farthest <= self.farthest && self.farthest - nearest < count
    }
}

/// Projected keys and values of the last frames of one stream in one layer: a ring of fixed size.
#[derive(Clone, Debug)]
pub struct KeyValues {
    heads: usize,
    depth: usize,
    blocks: usize,
    end: u64,
    /// `[heads][blocks][depth]` lines; a lane is a frame.
    keys: Vec<Line>,
    /// `[heads][ceil(depth / 16)][blocks * 16]` lines; a line is a frame.
    values: Vec<Line>,
}

impl KeyValues {
    /// Room for the last `frames` frames.
    pub fn new(width: usize, heads: usize, frames: usize) -> Self {
        let depth = width / heads.max(1);
        let blocks = frames.div_ceil(LANES).max(1);
        KeyValues {
            heads,
            depth,
            blocks,
            end: 0,
            keys: vec![Line::ZERO; heads * blocks * depth],
            values: vec![Line::ZERO; heads * depth.div_ceil(LANES) * blocks * LANES],
        }
    }

    /// Back to an empty window. Old contents are never read again: only appended frames are visible.
    pub fn reset(&mut self) {
        self.end = 0;
    }

    /// Frames appended since the reset.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Frames there is room for.
    pub fn capacity(&self) -> usize {
        self.blocks * LANES
    }

    /// Appends frames whose rows hold a query, a key and a value (`rows [n, 3 * width]`), overwriting the oldest.
    pub fn append(&mut self, rows: &[f32]) {
        cpu::append(self, rows);
    }
}

/// The learned position biases of one layer.
#[derive(Clone, Debug)]
pub struct RelAttention {
    heads: usize,
    depth: usize,
    content_bias: Vec<f32>,
    position_bias: Vec<f32>,
    level: Level,
}

/// Rows of one stream that are attended together.
#[derive(Clone, Copy, Debug)]
pub struct Queries<'a> {
    /// `[n, 3 * width]`: query, key and value of each row; only the query is read.
    pub rows: &'a [f32],
    /// Position of the first row.
    pub first: u64,
    /// Keys and values of the stream, the rows' own included.
    pub window: &'a KeyValues,
}

impl RelAttention {
    /// `content_bias` (u) and `position_bias` (v) are `[heads, width / heads]`.
    pub fn new(content_bias: &[f32], position_bias: &[f32], heads: usize) -> Self {
        let depth = content_bias.len() / heads.max(1);
        RelAttention {
            heads,
            depth,
            content_bias: content_bias.to_vec(),
            position_bias: position_bias.to_vec(),
            level: Level::best(),
        }
    }

    /// Writes the heads' results `out [n, width]`. The window must still hold, and `positions` cover, what the mask shows
    /// (see [`KeyValues::capacity`], [`Positions::covers`]); rows for which it is not so become zeros.
    pub fn forward(&self, queries: Queries<'_>, positions: &Positions, mask: Mask, out: &mut [f32]) {
        cpu::forward(self, queries, positions, mask, out);
    }
}

#[cfg(test)]
mod tests;
