//! Launches `kernels/linear.cu`.
//!
//! Weights lie on the device as f16, rows padded to whole tiles. Which of three tile sizes runs depends on the number of rows;
//! all give the same bits.

use std::sync::Arc;

use crate::gpu::buffer::halves;
use crate::gpu::launch::int;
use crate::gpu::{Arg, Buffer, Gpu, GpuError, Kernel, Pointer, Shape};

const FILE: &str = "linear.cu";
/// Weight rows are padded to a multiple of this.
const PADDING: usize = 128;
/// Suffix, rows and outputs of a block, threads of a block.
const VARIANTS: [(&str, usize, usize, usize); 3] = [("r16", 16, 64, 128), ("r64", 64, 64, 128), ("r128", 128, 128, 256)];
/// What happens to `v = x W^T + b`, and where it goes.
#[derive(Clone, Copy, Debug)]
pub enum Into {
    /// `y = v`, f16.
    Store(Pointer),
    /// `y = max(v, 0)`, f16.
    Relu(Pointer),
    /// `y = v * sigmoid(v)`, f16.
    Silu(Pointer),
    /// `y = value * sigmoid(gate)`, f16; for layers made by [`Linear::gated`].
    Gate(Pointer),
    /// `y = y + factor * v`, f32.
    Add(Pointer, f32),
    /// `y = v`, f32.
    Float(Pointer),
}

/// The kernels of all linear layers of a device.
#[derive(Debug)]
pub struct Linears {
    /// By mode, then by variant.
    modes: [[Kernel; 3]; 7],
}

/// The weights of one linear layer on the device.
#[derive(Debug)]
pub struct Linear {
    kernels: Arc<Linears>,
    weight: Buffer<u16>,
    bias: Buffer<f32>,
    inputs: usize,
    outputs: usize,
}

/// A linear layer whose bias is chosen by stream: the first of a language prompt.
#[derive(Debug)]
pub struct Prompted {
    linear: Linear,
    table: Buffer<f32>,
}

impl Linears {
    /// Finds the kernels.
    ///
    /// # Errors
    /// One is missing.
    pub fn new(gpu: &Gpu) -> Result<Arc<Self>, GpuError> {
        let mode = |mode: &str| -> Result<[Kernel; 3], GpuError> {
            let kernel = |(suffix, ..): (&str, usize, usize, usize)| gpu.kernel(FILE, &format!("linear_{mode}_{suffix}"), 0);
            let [a, b, c] = VARIANTS;
            Ok([kernel(a)?, kernel(b)?, kernel(c)?])
        };
        Ok(Arc::new(Linears {
            modes: [
                mode("store")?,
                mode("relu")?,
                mode("silu")?,
                mode("gate")?,
                mode("add")?,
                mode("float")?,
                mode("prompt")?,
            ],
        }))
    }
}

impl Linear {
    /// Uploads `weight [outputs, inputs]` (row-major) and `bias [outputs]`.
    ///
    /// # Errors
    /// `inputs` is no multiple of 8, or the device has no memory left.
    pub fn new(
        gpu: &Gpu,
        kernels: &Arc<Linears>,
        weight: &[f32],
        bias: Option<&[f32]>,
        outputs: usize,
        inputs: usize,
    ) -> Result<Self, GpuError> {
        if inputs == 0 || !inputs.is_multiple_of(8) {
            return Err(GpuError::Unsupported(format!(
                "a linear layer with {inputs} inputs: the GPU needs a multiple of 8"
            )));
        }
        let padded = outputs.next_multiple_of(PADDING);
        int(padded.saturating_mul(inputs))?;
        let mut rows = halves(weight.get(..outputs * inputs).unwrap_or(weight));
        rows.resize(padded * inputs, 0);
        let mut shift = bias.map_or_else(Vec::new, <[f32]>::to_vec);
        shift.resize(padded, 0.0);
        Ok(Linear {
            kernels: Arc::clone(kernels),
            weight: gpu.upload(&rows)?,
            bias: gpu.upload(&shift)?,
            inputs,
            outputs,
        })
    }

    /// As [`Linear::new`] for `weight [2 * outputs, inputs]` whose second half gates the first; for [`Into::Gate`].
    ///
    /// # Errors
    /// As [`Linear::new`]; `outputs` is no multiple of 8.
    pub fn gated(
        gpu: &Gpu,
        kernels: &Arc<Linears>,
        weight: &[f32],
        bias: Option<&[f32]>,
        outputs: usize,
        inputs: usize,
    ) -> Result<Self, GpuError> {
        if !outputs.is_multiple_of(8) {
            return Err(GpuError::Unsupported(format!(
                "a gated layer with {outputs} outputs: the GPU needs a multiple of 8"
            )));
        }
        let weight = interleave(weight, outputs, inputs);
        let bias = bias.map(|bias| interleave(bias, outputs, 1));
        Linear::new(gpu, kernels, &weight, bias.as_deref(), 2 * outputs, inputs)
    }

    /// Values of an input row.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Values of a row before a gate.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Runs over `rows` rows of `x [rows, inputs]` (f16). A row of the result begins every `stride` values, a multiple of 8.
    ///
    /// # Errors
    /// A size does not fit the kernels, or the launch was refused.
    pub fn forward(&self, gpu: &Gpu, x: Pointer, rows: usize, into: Into, stride: usize) -> Result<(), GpuError> {
        let (mode, y, factor) = match into {
            Into::Store(y) => (0, y, None),
            Into::Relu(y) => (1, y, None),
            Into::Silu(y) => (2, y, None),
            Into::Gate(y) => (3, y, None),
            Into::Add(y, factor) => (4, y, Some(factor)),
            Into::Float(y) => (5, y, None),
        };
        let tail: &[Arg] = match factor {
            Some(factor) => &[Arg::Float(factor)],
            None => &[],
        };
        self.launch(gpu, mode, x, &self.bias, y, rows, stride, tail)
    }

    /// The largest tile that still gives every multiprocessor a block, or every second one for the middle size.
    fn variant(&self, gpu: &Gpu, rows: usize) -> usize {
        let most = usize::try_from(gpu.found().device.multiprocessors).unwrap_or(1);
        let enough = |index: usize, wanted: usize| {
            VARIANTS
                .get(index)
                .is_some_and(|(_, block_rows, outputs, _)| rows.div_ceil(*block_rows) * self.outputs.div_ceil(*outputs) >= wanted)
        };
        [(2, most), (1, most / 2)]
            .into_iter()
            .find(|(index, wanted)| enough(*index, *wanted))
            .map_or(0, |(index, _)| index)
    }

    #[expect(clippy::too_many_arguments, reason = "one call with the kernel's arguments")]
    fn launch(
        &self,
        gpu: &Gpu,
        mode: usize,
        x: Pointer,
        bias: &Buffer<f32>,
        y: Pointer,
        rows: usize,
        stride: usize,
        tail: &[Arg],
    ) -> Result<(), GpuError> {
        let variant = self.variant(gpu, rows);
        // Products of these must fit 31 bits; `int` checks the largest.
        int(rows.saturating_mul(self.inputs.max(stride)))?;
        if !stride.is_multiple_of(8) {
            return Err(GpuError::Unsupported(format!("rows of {stride} values")));
        }
        let kernel = self.kernels.modes.get(mode).and_then(|mode| mode.get(variant));
        let (Some(kernel), Some((_, block_rows, block_outputs, threads))) = (kernel, VARIANTS.get(variant)) else {
            return Err(GpuError::Unsupported(format!("mode {mode} of a linear layer")));
        };
        let shape = Shape {
            grid: [rows.div_ceil(*block_rows), self.outputs.div_ceil(*block_outputs), 1],
            block: [*threads, 1],
            shared: 0,
        };
        let mut args: Vec<Arg> = vec![
            x.into(),
            (&self.weight).into(),
            bias.into(),
            y.into(),
            int(rows)?.into(),
            int(self.outputs)?.into(),
            int(self.inputs)?.into(),
            int(stride)?.into(),
        ];
        args.extend_from_slice(tail);
        // SAFETY: the arguments are those of `linear_*`; the weights are padded to the tiles, and the callers' buffers hold `rows` rows.
        unsafe { gpu.launch(kernel, shape, &args) }
    }
}

impl Prompted {
    /// `weight [outputs, inputs]`, and a bias of `outputs` values for each prompt.
    ///
    /// # Errors
    /// As [`Linear::new`].
    pub fn new(
        gpu: &Gpu,
        kernels: &Arc<Linears>,
        weight: &[f32],
        biases: &[Vec<f32>],
        outputs: usize,
        inputs: usize,
    ) -> Result<Self, GpuError> {
        let padded = outputs.next_multiple_of(PADDING);
        let mut table = Vec::with_capacity(biases.len() * padded);
        for bias in biases {
            table.extend_from_slice(bias);
            table.resize(table.len().next_multiple_of(padded), 0.0);
        }
        Ok(Prompted {
            linear: Linear::new(gpu, kernels, weight, None, outputs, inputs)?,
            table: gpu.upload(&table)?,
        })
    }

    /// `y = max(v, 0)` (f16) with the bias of each stream's prompt; `per_stream` rows belong to a stream.
    ///
    /// # Errors
    /// As [`Linear::forward`].
    pub fn forward(&self, gpu: &Gpu, x: Pointer, rows: usize, y: Pointer, table: &Buffer<i32>, per_stream: usize) -> Result<(), GpuError> {
        let tail = [table.into(), int(per_stream)?.into()];
        let stride = self.linear.outputs;
        self.linear.launch(gpu, 6, x, &self.table, y, rows, stride, &tail)
    }
}

/// `rows [2 * outputs, width]` with values and gates in turn, eight of each.
fn interleave(rows: &[f32], outputs: usize, width: usize) -> Vec<f32> {
    let (values, gates) = rows.split_at_checked(outputs * width).unwrap_or((rows, &[]));
    let pairs = values.chunks(8 * width).zip(gates.chunks(8 * width));
    pairs.flat_map(|(values, gates)| [values, gates].concat()).collect()
}
