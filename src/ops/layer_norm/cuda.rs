//! Launches `kernels/layer_norm.cu`.

use std::sync::Arc;

use crate::gpu::launch::int;
use crate::gpu::{Buffer, Gpu, GpuError, Kernel, Pointer, Shape};

const FILE: &str = "layer_norm.cu";
/// Rows of a block, a warp each.
const ROWS: usize = 8;

/// The kernels of all layer normalizations of a device.
#[derive(Debug)]
pub struct Norms {
    plain: Kernel,
    out: Kernel,
}

/// Scale and shift of one layer normalization on the device.
#[derive(Debug)]
pub struct LayerNorm {
    kernels: Arc<Norms>,
    weight: Buffer<f32>,
    bias: Buffer<f32>,
}

impl Norms {
    /// Finds the kernels.
    ///
    /// # Errors
    /// One is missing.
    pub fn new(gpu: &Gpu) -> Result<Arc<Self>, GpuError> {
        Ok(Arc::new(Norms {
            plain: gpu.kernel(FILE, "layer_norm", 0)?,
            out: gpu.kernel(FILE, "layer_norm_out", 0)?,
        }))
    }
}

impl LayerNorm {
    /// Uploads `weight` and `bias`, as long as a row is wide.
    ///
    /// # Errors
    /// The device has no memory left.
    pub fn new(gpu: &Gpu, kernels: &Arc<Norms>, weight: &[f32], bias: &[f32]) -> Result<Self, GpuError> {
        Ok(LayerNorm {
            kernels: Arc::clone(kernels),
            weight: gpu.upload(weight)?,
            bias: gpu.upload(bias)?,
        })
    }

    /// `y` (f16) is `x` (f32) normalized, `rows` rows.
    ///
    /// # Errors
    /// A size does not fit the kernel, or the launch was refused.
    pub fn forward(&self, gpu: &Gpu, x: Pointer, rows: usize, y: Pointer) -> Result<(), GpuError> {
        self.launch(gpu, &self.kernels.plain, x, rows, y)
    }

    /// Normalizes `x` (f32) in place, and `y` (f16) is the same.
    ///
    /// # Errors
    /// As [`LayerNorm::forward`].
    pub fn forward_out(&self, gpu: &Gpu, x: Pointer, rows: usize, y: Pointer) -> Result<(), GpuError> {
        self.launch(gpu, &self.kernels.out, x, rows, y)
    }

    fn launch(&self, gpu: &Gpu, kernel: &Kernel, x: Pointer, rows: usize, y: Pointer) -> Result<(), GpuError> {
        let width = self.weight.len();
        int(rows.saturating_mul(width))?;
        let shape = Shape {
            grid: [rows.div_ceil(ROWS), 1, 1],
            block: [32 * ROWS, 1],
            shared: 0,
        };
        let args = [
            x.into(),
            (&self.weight).into(),
            (&self.bias).into(),
            y.into(),
            int(rows)?.into(),
            int(width)?.into(),
        ];
        // SAFETY: the arguments are those of both kernels; the callers' buffers hold `rows` rows.
        unsafe { gpu.launch(kernel, shape, &args) }
    }
}
