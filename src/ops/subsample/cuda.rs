//! Launches `kernels/subsample.cu`; the pointwise layers between are [`linear`](crate::ops::linear::cuda).

use std::sync::Arc;

use super::{Kernels, frequencies};
use crate::gpu::launch::int;
use crate::gpu::{Arg, Buffer, Gpu, GpuError, Kernel, Pointer, Shape};
use crate::ops::linear::cuda::{Into, Linear, Linears};

const FILE: &str = "subsample.cu";
const THREADS: usize = 256;

/// Weights of the three layers on the device.
#[derive(Debug)]
pub struct Subsample {
    first: Kernel,
    depthwise: Kernel,
    /// `[9, C]` and `[C]` of each layer.
    taps: [Buffer<f32>; 3],
    bias: [Buffer<f32>; 3],
    pointwise: [Linear; 2],
    lead: usize,
    mel_bins: usize,
    channels: usize,
    columns: [usize; 3],
}

/// The buffers of a step. All rows are at fixed places: `8 n`, `4 n`, `2 n` and `n` rows a stream.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// Rows of the streams.
    pub rows: &'a Buffer<i32>,
    /// Streams.
    pub streams: usize,
    /// Encoder frames of a stream.
    pub frames: usize,
    /// Mel frames, f32 `[streams, mel_frames, mel_bins]`.
    pub mel: Pointer,
    /// Mel frames from one stream to the next.
    pub mel_frames: usize,
    /// Tails of all slots: f32 `[slots, 2, 2, mel_bins]`, f16 `[slots, 2, 2, columns, C]` of the first and of the second layer's rows.
    pub tails: [Pointer; 3],
    /// Two f16 buffers of [`Subsample::work`] values; the result is in the first.
    pub work: [Pointer; 2],
}

impl Subsample {
    /// Uploads the tensors; `channels` is `C`.
    ///
    /// # Errors
    /// `channels` is no multiple of 8, or the device has no memory left.
    pub fn new(
        gpu: &Gpu,
        linears: &Arc<Linears>,
        kernels: Kernels<'_>,
        channels: usize,
        mel_bins: usize,
        causal: bool,
    ) -> Result<Self, GpuError> {
        let taps = |weight: &[f32]| {
            let mut taps = vec![0.0; 9 * channels];
            for (c, kernel) in weight.chunks_exact(9).take(channels).enumerate() {
                taps.iter_mut()
                    .skip(c)
                    .step_by(channels.max(1))
                    .zip(kernel)
                    .for_each(|(slot, value)| *slot = *value);
            }
            gpu.upload(&taps)
        };
        let pointwise = |(weight, bias): (&[f32], &[f32])| Linear::new(gpu, linears, weight, Some(bias), channels, channels);
        let [second, third] = kernels.depthwise;
        let [mix_second, mix_third] = kernels.pointwise;
        Ok(Subsample {
            first: gpu.kernel(FILE, "subsample_first", 0)?,
            depthwise: gpu.kernel(FILE, "subsample_depthwise", 0)?,
            taps: [taps(kernels.first.0)?, taps(second.0)?, taps(third.0)?],
            bias: [gpu.upload(kernels.first.1)?, gpu.upload(second.1)?, gpu.upload(third.1)?],
            pointwise: [pointwise(mix_second)?, pointwise(mix_third)?],
            lead: if causal { 2 } else { 1 },
            mel_bins,
            channels,
            columns: frequencies(mel_bins, causal),
        })
    }

    /// Values of one half of a slot's tail of each layer.
    pub fn tails(&self) -> [usize; 3] {
        let [first, second, _] = self.columns;
        [2 * self.mel_bins, 2 * first * self.channels, 2 * second * self.channels]
    }

    /// Values of each work buffer for that many frames over all streams.
    pub fn work(&self, frames: usize) -> [usize; 2] {
        let [first, second, _] = self.columns;
        [4 * frames * first * self.channels, 2 * frames * second * self.channels]
    }

    /// Values of a result row: `[columns, C]`.
    pub fn row(&self) -> usize {
        let [.., last] = self.columns;
        last * self.channels
    }

    /// New rows of all streams into the first work buffer, f16 `[streams, frames, row]`; the tails move on.
    ///
    /// # Errors
    /// A size does not fit the kernels, or a launch was refused.
    pub fn forward(&self, gpu: &Gpu, places: Places<'_>) -> Result<(), GpuError> {
        let Places { streams, frames: n, .. } = places;
        let [first, second, third] = self.columns;
        let [one, two] = places.work;
        let [mel_tails, first_tails, second_tails] = places.tails;
        let grid = |rows: usize| Shape {
            grid: [rows.max(1), streams, 1],
            block: [THREADS, 1],
            shared: 0,
        };
        let [taps, _, _] = &self.taps;
        let [bias, _, _] = &self.bias;
        let args = [
            places.mel.into(),
            int(places.mel_frames)?.into(),
            mel_tails.into(),
            places.rows.into(),
            taps.into(),
            bias.into(),
            one.into(),
            int(4 * n)?.into(),
            int(first)?.into(),
            int(self.mel_bins)?.into(),
            int(self.channels)?.into(),
            int(self.lead)?.into(),
        ];
        // SAFETY: the arguments are those of `subsample_first`; `work` is sized by `Subsample::work`, the tails by `Subsample::tails`.
        unsafe { gpu.launch(&self.first, grid(4 * n), &args) }?;
        self.strided(gpu, 1, places, (one, 4 * n, first), first_tails, (two, 2 * n, second), grid(2 * n))?;
        self.mix(gpu, 0, two, streams * 2 * n * second, one)?;
        self.strided(gpu, 2, places, (one, 2 * n, second), second_tails, (two, n, third), grid(n))?;
        self.mix(gpu, 1, two, streams * n * third, one)
    }

    #[expect(clippy::too_many_arguments, reason = "two calls in one place")]
    fn strided(
        &self,
        gpu: &Gpu,
        layer: usize,
        places: Places<'_>,
        (x, x_rows, x_columns): (Pointer, usize, usize),
        tails: Pointer,
        (y, y_rows, y_columns): (Pointer, usize, usize),
        shape: Shape,
    ) -> Result<(), GpuError> {
        let (Some(taps), Some(bias)) = (self.taps.get(layer), self.bias.get(layer)) else {
            return Err(GpuError::Unsupported(format!("layer {layer} of the subsampling")));
        };
        let args: [Arg; 13] = [
            x.into(),
            int(x_rows)?.into(),
            tails.into(),
            places.rows.into(),
            int(layer)?.into(),
            taps.into(),
            bias.into(),
            y.into(),
            int(y_rows)?.into(),
            int(y_columns)?.into(),
            int(x_columns)?.into(),
            int(self.channels)?.into(),
            int(self.lead)?.into(),
        ];
        // SAFETY: the arguments are those of `subsample_depthwise`; sizes as in `forward`.
        unsafe { gpu.launch(&self.depthwise, shape, &args) }
    }

    fn mix(&self, gpu: &Gpu, layer: usize, x: Pointer, rows: usize, y: Pointer) -> Result<(), GpuError> {
        match self.pointwise.get(layer) {
            Some(pointwise) => pointwise.forward(gpu, x, rows, Into::Relu(y), self.channels),
            None => Err(GpuError::Unsupported(format!("pointwise layer {layer} of the subsampling"))),
        }
    }
}
