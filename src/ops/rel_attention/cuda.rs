//! Launches `kernels/rel_attention.cu`.
//!
//! Heads are padded to a multiple of 16 channels with zeros: the layer before writes them so, the layer after ignores them.

use std::sync::Arc;

use crate::gpu::buffer::halves;
use crate::gpu::launch::int;
use crate::gpu::{Arg, Buffer, Gpu, GpuError, Kernel, Pointer, Shape};

const FILE: &str = "rel_attention.cu";
/// Queries of a block.
const QUERIES: usize = 16;
/// Largest padded width of a head.
pub const DEEPEST: usize = 128;

/// The kernels of all attention layers of a device.
#[derive(Debug)]
pub struct Attentions {
    append: Kernel,
    attend: Kernel,
}

/// The sizes that all layers of a model share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Heads.
    pub count: usize,
    /// Channels of a head.
    pub depth: usize,
    /// Frames that a ring of keys and values holds, a multiple of 16.
    pub ring: usize,
}

/// Position biases and projected positions of one layer on the device.
#[derive(Debug)]
pub struct RelAttention {
    kernels: Arc<Attentions>,
    heads: Heads,
    content_bias: Buffer<f32>,
    position_bias: Buffer<f32>,
    /// f16 `[heads, count, padded depth]`, row `m` for distance `farthest - m`.
    positions: Buffer<u16>,
    count: usize,
    farthest: usize,
}

/// What a layer attends over in a step.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// f16 `[streams, frames, 3 * heads * padded depth]`: queries, keys, values.
    pub projected: Pointer,
    /// f16 `[slots, heads, ring, padded depth]`.
    pub keys: Pointer,
    /// f16 `[slots, heads, padded depth, ring]`.
    pub values: Pointer,
    /// Rows of the streams.
    pub rows: &'a Buffer<i32>,
    /// Streams.
    pub streams: usize,
    /// Frames of a stream.
    pub frames: usize,
    /// New frames that a new frame sees before and after itself; `None` is all.
    pub reach: [Option<usize>; 2],
}

impl Heads {
    /// Channels of a head with its padding.
    pub fn padded(self) -> usize {
        self.depth.next_multiple_of(16)
    }

    /// Values of a row of all heads, padded.
    pub fn width(self) -> usize {
        self.count * self.padded()
    }

    /// Dynamic shared memory of a block: a row of scores for each query, and the queries with either bias.
    fn shared(self) -> usize {
        4 * QUERIES * (self.ring + 8) + 2 * 2 * QUERIES * (self.padded() | 16)
    }

    /// `rows [heads * depth, width]` with zero rows after each head.
    pub fn pad_rows(self, rows: &[f32], width: usize) -> Vec<f32> {
        let mut padded = Vec::with_capacity(self.width() * width);
        for head in rows.chunks((self.depth * width).max(1)) {
            padded.extend_from_slice(head);
            padded.resize(padded.len() + (self.padded() - self.depth) * width, 0.0);
        }
        padded
    }

    /// `rows [n, heads * depth]` with zero columns after each head.
    pub fn pad_columns(self, rows: &[f32]) -> Vec<f32> {
        self.pad_rows(rows, 1)
    }
}

impl Attentions {
    /// Finds the kernels, with shared memory for rings and heads of these sizes.
    ///
    /// # Errors
    /// One is missing, or the device has too little shared memory.
    pub fn new(gpu: &Gpu, heads: Heads) -> Result<Arc<Self>, GpuError> {
        Ok(Arc::new(Attentions {
            append: gpu.kernel(FILE, "rel_attention_append", 0)?,
            attend: gpu.kernel(FILE, "rel_attention", heads.shared())?,
        }))
    }
}

impl RelAttention {
    /// Uploads the biases `[heads, depth]` and the projected positions `[count, heads * depth]`, row `m` for distance `farthest - m`.
    ///
    /// # Errors
    /// A head is too wide, or the device has no memory left.
    pub fn new(
        gpu: &Gpu,
        kernels: &Arc<Attentions>,
        heads: Heads,
        content_bias: &[f32],
        position_bias: &[f32],
        positions: &[f32],
        farthest: usize,
    ) -> Result<Self, GpuError> {
        let (padded, width) = (heads.padded(), heads.count * heads.depth);
        if padded > DEEPEST || width == 0 {
            return Err(GpuError::Unsupported(format!(
                "attention heads {} wide: the GPU takes at most {DEEPEST}",
                heads.depth
            )));
        }
        let count = positions.len() / width;
        let mut by_head = vec![0.0; count * heads.width()];
        for (m, row) in positions.chunks_exact(width).enumerate() {
            for (head, part) in row.chunks_exact(heads.depth).enumerate() {
                let at = (head * count + m) * padded;
                by_head.iter_mut().skip(at).zip(part).for_each(|(slot, value)| *slot = *value);
            }
        }
        Ok(RelAttention {
            kernels: Arc::clone(kernels),
            heads,
            content_bias: gpu.upload(&heads.pad_columns(content_bias))?,
            position_bias: gpu.upload(&heads.pad_columns(position_bias))?,
            positions: gpu.upload(&halves(&by_head))?,
            count,
            farthest,
        })
    }

    /// Adds the new keys and values to the rings, then writes what each new frame attends to: `out` f16 `[streams, frames, heads *
    /// padded depth]`.
    ///
    /// # Errors
    /// A size does not fit the kernels, or a launch was refused.
    #[expect(clippy::as_conversions, reason = "the published factor 1 / sqrt(depth)")]
    pub fn forward(&self, gpu: &Gpu, scene: Scene<'_>, out: Pointer) -> Result<(), GpuError> {
        let Heads { count, depth, ring } = self.heads;
        let padded = self.heads.padded();
        int(scene.frames.saturating_mul(3 * self.heads.width()))?;
        let shape = Shape {
            grid: [count, scene.streams, 1],
            block: [128, 1],
            shared: 0,
        };
        let args = [
            scene.projected.into(),
            scene.keys.into(),
            scene.values.into(),
            scene.rows.into(),
            int(scene.frames)?.into(),
            int(count)?.into(),
            int(padded)?.into(),
            int(ring)?.into(),
        ];
        // SAFETY: the arguments are those of `rel_attention_append`; the rings hold every slot that the rows name.
        unsafe { gpu.launch(&self.kernels.append, shape, &args) }?;
        let shape = Shape {
            grid: [scene.frames.div_ceil(QUERIES), count, scene.streams],
            block: [128, 1],
            shared: self.heads.shared(),
        };
        let reach = |side: Option<usize>| side.map_or(Ok(-1), int);
        let [left, right] = scene.reach;
        let args: [Arg; 17] = [
            scene.projected.into(),
            scene.keys.into(),
            scene.values.into(),
            (&self.positions).into(),
            int(self.count)?.into(),
            int(self.farthest)?.into(),
            (&self.content_bias).into(),
            (&self.position_bias).into(),
            scene.rows.into(),
            out.into(),
            int(scene.frames)?.into(),
            int(count)?.into(),
            int(padded)?.into(),
            int(ring)?.into(),
            reach(left)?.into(),
            reach(right)?.into(),
            (1.0 / (depth as f32).sqrt()).into(),
        ];
        // SAFETY: the arguments are those of `rel_attention`; the positions cover every distance within a ring.
        unsafe { gpu.launch(&self.kernels.attend, shape, &args) }
    }
}
