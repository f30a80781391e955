//! Launches `kernels/log_mel.cu`.

use super::{BINS, POINTS};
use crate::gpu::launch::int;
use crate::gpu::{Buffer, Gpu, GpuError, Kernel, Pointer, Shape};

const FILE: &str = "log_mel.cu";
/// Values of one half of a slot's audio tail.
pub const TAIL: usize = 512;
/// Frames of a block.
const FRAMES: usize = 4;

/// Window, filters and transform on the device.
#[derive(Debug)]
pub struct LogMel {
    kernel: Kernel,
    normalize: Kernel,
    window: Buffer<f32>,
    twiddles: Buffer<f32>,
    bands: Buffer<i32>,
    weights: Buffer<f32>,
    widest: usize,
    mel_bins: usize,
}

/// Audio of a step and where its frames go.
#[derive(Clone, Copy, Debug)]
pub struct Audio<'a> {
    /// 16-bit samples, `[streams, stride]`.
    pub pcm: &'a Buffer<i16>,
    /// Samples from one stream to the next.
    pub stride: usize,
    /// Tails of all slots, `[slots, 2, TAIL]`.
    pub tails: Pointer,
    /// Rows of the streams.
    pub rows: &'a Buffer<i32>,
    /// Streams.
    pub streams: usize,
    /// Frames, `[streams, frames, mel_bins]`.
    pub mel: Pointer,
    /// Frames from one stream to the next.
    pub frames: usize,
}

impl LogMel {
    /// Uploads `window [400]` and `filters [mel_bins, 257]`, the filters as one run of bins each.
    ///
    /// # Errors
    /// The device has no memory left or no such kernel.
    pub fn new(gpu: &Gpu, window: &[f32], filters: &[f32], mel_bins: usize) -> Result<Self, GpuError> {
        let (mut bands, mut runs) = (Vec::new(), Vec::new());
        for filter in filters.chunks_exact(BINS).take(mel_bins) {
            let first = filter.iter().position(|weight| *weight != 0.0).unwrap_or(0);
            let end = filter.iter().rposition(|weight| *weight != 0.0).map_or(first, |last| last + 1);
            bands.extend([int(first)?, int(end - first)?]);
            runs.push(filter.get(first..end).unwrap_or_default());
        }
        let widest = runs.iter().map(|run| run.len()).max().unwrap_or(0).max(1);
        let mut weights = vec![0.0; runs.len() * widest];
        for (run, row) in runs.iter().zip(weights.chunks_exact_mut(widest)) {
            row.iter_mut().zip(*run).for_each(|(slot, weight)| *slot = *weight);
        }
        Ok(LogMel {
            kernel: gpu.kernel(FILE, "log_mel", 0)?,
            normalize: gpu.kernel(FILE, "normalize_per_feature", 0)?,
            window: gpu.upload(window)?,
            twiddles: gpu.upload(&twiddles())?,
            bands: gpu.upload(&bands)?,
            weights: gpu.upload(&weights)?,
            widest,
            mel_bins,
        })
    }

    /// New frames of all streams; the tails move on.
    ///
    /// # Errors
    /// A size does not fit the kernel, or the launch was refused.
    pub fn forward(&self, gpu: &Gpu, audio: Audio<'_>) -> Result<(), GpuError> {
        int(audio.frames.saturating_mul(self.mel_bins))?;
        let shape = Shape {
            grid: [audio.frames.div_ceil(FRAMES).max(1), audio.streams, 1],
            block: [32 * FRAMES, 1],
            shared: 0,
        };
        let args = [
            audio.pcm.into(),
            int(audio.stride)?.into(),
            audio.tails.into(),
            audio.rows.into(),
            (&self.window).into(),
            (&self.twiddles).into(),
            (&self.bands).into(),
            (&self.weights).into(),
            int(self.widest)?.into(),
            audio.mel.into(),
            int(audio.frames)?.into(),
            int(self.mel_bins)?.into(),
        ];
        // SAFETY: the arguments are those of `log_mel`; the rows keep within the buffers, which `model::device` checks.
        unsafe { gpu.launch(&self.kernel, shape, &args) }
    }

    /// Normalizes the frames of whole utterances, per mel bin, in place.
    ///
    /// # Errors
    /// As [`LogMel::forward`].
    pub fn normalize(&self, gpu: &Gpu, audio: Audio<'_>) -> Result<(), GpuError> {
        let shape = Shape {
            grid: [self.mel_bins.div_ceil(32), audio.streams, 1],
            block: [32, 8],
            shared: 0,
        };
        let args = [
            audio.mel.into(),
            audio.rows.into(),
            int(audio.frames)?.into(),
            int(self.mel_bins)?.into(),
        ];
        // SAFETY: as in `forward`, for `normalize_per_feature`.
        unsafe { gpu.launch(&self.normalize, shape, &args) }
    }
}

/// `cos(2 pi k / 512)` and `-sin(2 pi k / 512)` for the first half of the circle, computed in f64.
#[expect(
    clippy::as_conversions,
    reason = "indices become angles, factors return to the precision of the transform"
)]
fn twiddles() -> Vec<f32> {
    let angle = |k: usize| std::f64::consts::TAU * k as f64 / POINTS as f64;
    (0..POINTS / 2)
        .flat_map(|k| [angle(k).cos() as f32, -angle(k).sin() as f32])
        .collect()
}
