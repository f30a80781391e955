//! Launches `kernels/depthwise_conv.cu`.

use super::DepthwiseConv as Folded;
use crate::gpu::launch::int;
use crate::gpu::{Buffer, Gpu, GpuError, Kernel, Pointer, Shape};

const FILE: &str = "depthwise_conv.cu";
const THREADS: usize = 256;
/// Widest row that the kernel takes.
const WIDEST: usize = 8_192;

/// Weights of one depthwise convolution on the device.
#[derive(Debug)]
pub struct DepthwiseConv {
    kernel: Kernel,
    width: usize,
    taps: Buffer<f32>,
    shift: Buffer<f32>,
    norm: Option<(Buffer<f32>, Buffer<f32>)>,
    size: usize,
    left: usize,
}

impl DepthwiseConv {
    /// Uploads a convolution whose batch normalization, if any, is folded already; it reads `left` rows before the new ones.
    ///
    /// # Errors
    /// The width is no multiple of 8 or too large, or the device has no memory left.
    pub fn new(gpu: &Gpu, folded: &Folded, left: usize) -> Result<Self, GpuError> {
        let width = folded.width;
        if !width.is_multiple_of(8) || width > WIDEST {
            return Err(GpuError::Unsupported(format!(
                "a convolution {width} channels wide: the GPU needs a multiple of 8, at most {WIDEST}"
            )));
        }
        let norm = match &folded.norm {
            Some((weight, bias)) => Some((gpu.upload(weight)?, gpu.upload(bias)?)),
            None => None,
        };
        Ok(DepthwiseConv {
            kernel: gpu.kernel(FILE, "depthwise_conv", 0)?,
            width,
            taps: gpu.upload(&folded.taps)?,
            shift: gpu.upload(&folded.bias)?,
            norm,
            size: folded.kernel,
            left,
        })
    }

    /// `y` is `x` (f16 `[streams, frames, width]`) convolved, normalized, through SiLU; `tails` (f16 `[slots, 2, left, width]`) move
    /// on, or are null where every stream is a whole utterance.
    ///
    /// # Errors
    /// A size does not fit the kernel, or the launch was refused.
    #[expect(clippy::too_many_arguments, reason = "one call in one place")]
    pub fn forward(
        &self,
        gpu: &Gpu,
        x: Pointer,
        tails: Pointer,
        rows: &Buffer<i32>,
        streams: usize,
        frames: usize,
        y: Pointer,
    ) -> Result<(), GpuError> {
        int(frames.saturating_mul(self.width))?;
        let (norm_weight, norm_bias) = match &self.norm {
            Some((weight, bias)) => (weight.pointer(), bias.pointer()),
            None => (Pointer::NULL, Pointer::NULL),
        };
        let shape = Shape {
            grid: [frames, streams, 1],
            block: [(self.width / 2).next_multiple_of(32).min(THREADS), 1],
            shared: if self.norm.is_some() { 4 * self.width } else { 0 },
        };
        let args = [
            x.into(),
            tails.into(),
            rows.into(),
            (&self.taps).into(),
            (&self.shift).into(),
            norm_weight.into(),
            norm_bias.into(),
            y.into(),
            int(frames)?.into(),
            int(self.width)?.into(),
            int(self.size)?.into(),
            int(self.left)?.into(),
        ];
        // SAFETY: the arguments are those of `depthwise_conv`; the callers' buffers hold all streams and slots.
        unsafe { gpu.launch(&self.kernel, shape, &args) }
    }
}
