//! Launches `kernels/transducer.cu`.

use crate::gpu::buffer::halves;
use crate::gpu::launch::int;
use crate::gpu::{Arg, Buffer, Gpu, GpuError, Kernel, Pointer, Shape};

const FILE: &str = "transducer.cu";
const THREADS: usize = 512;

/// The tensors of prediction network and joint, row-major, biases added up.
#[derive(Clone, Copy, Debug)]
pub struct Tensors<'a> {
    /// `[V + 1, P]`.
    pub embedding: &'a [f32],
    /// `[layers, 4P, 2P]`: input and recurrent weights side by side.
    pub lstm: &'a [f32],
    /// `[layers, 4P]`.
    pub lstm_bias: &'a [f32],
    /// `[J, P]` and `[J]`.
    pub prediction: (&'a [f32], &'a [f32]),
    /// `[V + 1 + E, J]` and its bias.
    pub output: (&'a [f32], &'a [f32]),
    /// State after the start symbol: hidden and cell of each layer, then the prediction in joint space.
    pub start: &'a [f32],
    /// TDT durations; empty for RNN-T.
    pub durations: &'a [u32],
}

/// The sizes of a transducer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// LSTM layers.
    pub layers: usize,
    /// Hidden size `P`.
    pub prediction: usize,
    /// Joint size `J`.
    pub joint: usize,
    /// Tokens `V`, blank not counted.
    pub vocabulary: usize,
    /// Most tokens at one frame.
    pub max_symbols: usize,
}

/// Weights on the device.
#[derive(Debug)]
pub struct Transducer {
    kernel: Kernel,
    sizes: Sizes,
    embedding: Buffer<u16>,
    lstm: Buffer<u16>,
    lstm_bias: Buffer<f32>,
    prediction: Buffer<u16>,
    prediction_bias: Buffer<f32>,
    output: Buffer<u16>,
    output_bias: Buffer<f32>,
    start: Buffer<f32>,
    durations: Buffer<i32>,
    extra: usize,
}

/// Frames of a step and where the search stands.
#[derive(Clone, Copy, Debug)]
pub struct Search<'a> {
    /// The encoder's part of the joint, f32 `[streams, frames, stride]`.
    pub joint: &'a Buffer<f32>,
    /// Values from one frame to the next.
    pub stride: usize,
    /// Rows of the streams.
    pub rows: &'a Buffer<i32>,
    /// Streams.
    pub streams: usize,
    /// Frames of a stream.
    pub frames: usize,
    /// f32 `[slots, Transducer::state]`.
    pub state: &'a Buffer<f32>,
    /// `[slots, 2]`.
    pub cursor: &'a Buffer<i32>,
    /// Tokens of each stream: `[streams]`.
    pub count: &'a Buffer<i32>,
    /// `[streams, most, 3]`: id, frame, duration index or -1.
    pub tokens: &'a Buffer<i32>,
    /// `[streams, most]`: greatest probability.
    pub confidence: &'a Buffer<f32>,
    /// Tokens of a stream that there is room for.
    pub most: usize,
}

impl Transducer {
    /// Uploads the tensors.
    ///
    /// # Errors
    /// A size is no multiple of 8, or the device has no memory left.
    pub fn new(gpu: &Gpu, sizes: Sizes, tensors: Tensors<'_>) -> Result<Self, GpuError> {
        if !sizes.prediction.is_multiple_of(8) || !sizes.joint.is_multiple_of(8) {
            return Err(GpuError::Unsupported(format!(
                "a transducer of sizes {} and {}: the GPU needs multiples of 8",
                sizes.prediction, sizes.joint
            )));
        }
        let durations: Vec<i32> = tensors
            .durations
            .iter()
            .map(|frames| i32::try_from(*frames).unwrap_or(i32::MAX))
            .collect();
        Ok(Transducer {
            kernel: gpu.kernel(FILE, "transducer_greedy", sizes.shared())?,
            sizes,
            embedding: gpu.upload(&halves(tensors.embedding))?,
            lstm: gpu.upload(&halves(tensors.lstm))?,
            lstm_bias: gpu.upload(tensors.lstm_bias)?,
            prediction: gpu.upload(&halves(tensors.prediction.0))?,
            prediction_bias: gpu.upload(tensors.prediction.1)?,
            output: gpu.upload(&halves(tensors.output.0))?,
            output_bias: gpu.upload(tensors.output.1)?,
            start: gpu.upload(tensors.start)?,
            durations: gpu.upload(&durations)?,
            extra: durations.len(),
        })
    }

    /// Values of a slot's state.
    pub fn state(&self) -> usize {
        self.sizes.state()
    }

    /// Searches the new frames of all streams; the states move on.
    ///
    /// # Errors
    /// A size does not fit the kernel, or the launch was refused.
    pub fn forward(&self, gpu: &Gpu, search: Search<'_>) -> Result<(), GpuError> {
        let Sizes {
            layers,
            prediction,
            joint,
            vocabulary,
            max_symbols,
        } = self.sizes;
        let shape = Shape {
            grid: [search.streams, 1, 1],
            block: [THREADS, 1],
            shared: self.sizes.shared(),
        };
        let durations = if self.extra == 0 { Pointer::NULL } else { self.durations.pointer() };
        let args: [Arg; 26] = [
            search.joint.into(),
            int(search.frames)?.into(),
            int(search.stride)?.into(),
            search.rows.into(),
            search.state.into(),
            int(self.state())?.into(),
            search.cursor.into(),
            (&self.start).into(),
            (&self.embedding).into(),
            (&self.lstm).into(),
            (&self.lstm_bias).into(),
            (&self.prediction).into(),
            (&self.prediction_bias).into(),
            (&self.output).into(),
            (&self.output_bias).into(),
            durations.into(),
            search.count.into(),
            search.tokens.into(),
            search.confidence.into(),
            int(search.most)?.into(),
            int(layers)?.into(),
            int(prediction)?.into(),
            int(joint)?.into(),
            int(vocabulary)?.into(),
            int(self.extra)?.into(),
            int(max_symbols)?.into(),
        ];
        // SAFETY: the arguments are those of `transducer_greedy`; the callers' buffers hold all streams and slots.
        unsafe { gpu.launch(&self.kernel, shape, &args) }
    }
}

impl Sizes {
    /// Values of a slot's state: hidden and cell of each layer, and the prediction in joint space.
    pub fn state(self) -> usize {
        2 * self.prediction * self.layers + self.joint
    }

    fn shared(self) -> usize {
        4 * (2 * self.joint + 2 * self.prediction * (self.layers + 1))
    }
}
