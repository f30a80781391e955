//! Launches `kernels/log_softmax.cu`.

use crate::gpu::launch::int;
use crate::gpu::{Buffer, Gpu, GpuError, Kernel, Shape};

const FILE: &str = "log_softmax.cu";
const THREADS: usize = 128;

/// The kernel.
#[derive(Debug)]
pub struct LogSoftmax {
    kernel: Kernel,
}

impl LogSoftmax {
    /// Finds the kernel.
    ///
    /// # Errors
    /// It is missing.
    pub fn new(gpu: &Gpu) -> Result<Self, GpuError> {
        Ok(LogSoftmax {
            kernel: gpu.kernel(FILE, "log_softmax", 0)?,
        })
    }

    /// Turns `rows` rows of `columns` scores (`stride` from one to the next) into ln probabilities in place, and gives the best
    /// column of each and its probability.
    ///
    /// # Errors
    /// A size does not fit the kernel, or the launch was refused.
    #[expect(clippy::too_many_arguments, reason = "one call in one place")]
    pub fn forward(
        &self,
        gpu: &Gpu,
        scores: &Buffer<f32>,
        best: &Buffer<i32>,
        most: &Buffer<f32>,
        rows: usize,
        columns: usize,
        stride: usize,
    ) -> Result<(), GpuError> {
        let shape = Shape {
            grid: [rows, 1, 1],
            block: [THREADS, 1],
            shared: 0,
        };
        let args = [
            scores.into(),
            scores.into(),
            best.into(),
            most.into(),
            int(rows)?.into(),
            int(columns)?.into(),
            int(stride)?.into(),
        ];
        // SAFETY: the arguments are those of `log_softmax`; the callers' buffers hold `rows` rows.
        unsafe { gpu.launch(&self.kernel, shape, &args) }
    }
}
