//! One frame of the log-mel front end: window, 512-point spectrum, power, mel filters, logarithm.
//!
//! Input is the 400 pre-emphasized samples that the window covers; they sit in the middle of the transform. Window and filters come from the checkpoint, or from their formulas where it has none.
//! What it does not do: cut the audio into frames or pre-emphasize it (`model::frontend`).
//! Who calls it: `model::frontend`.

mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
mod spectrum;

use self::spectrum::Spectrum;

/// Samples under the window (25 ms).
pub const WINDOW: usize = 400;
/// Points of the transform.
pub const POINTS: usize = 512;
/// Place of the window among the points.
const WINDOW_AT: usize = (POINTS - WINDOW) / 2;
/// Bins of its half spectrum.
pub const BINS: usize = POINTS / 2 + 1;
/// Added to each mel energy before the logarithm (2^-24).
pub const GUARD: f32 = 5.960_464_5e-8;

/// Window, filters and transform.
#[derive(Clone, Debug)]
pub struct LogMel {
    window: Vec<f32>,
    filters: Vec<Filter>,
    spectrum: Spectrum,
}

/// The part of one filter that is not zero.
#[derive(Clone, Debug)]
struct Filter {
    first: usize,
    weights: Vec<f32>,
}

/// Buffers of one caller.
#[derive(Clone, Debug)]
pub struct Workspace {
    points: Box<[f32; POINTS]>,
    power: Box<[f32; BINS]>,
}

impl LogMel {
    /// `window [400]`, `filters [mel_bins, 257]`; shorter slices count as ending in zeros.
    pub fn new(window: &[f32], filters: &[f32], mel_bins: usize) -> Self {
        let mut padded = window.to_vec();
        padded.resize(WINDOW, 0.0);
        let filter = |row: usize| {
            let weights = filters.get(row * BINS..(row + 1) * BINS).unwrap_or_default();
            let first = weights.iter().position(|w| *w != 0.0).unwrap_or(0);
            let last = weights.iter().rposition(|w| *w != 0.0).map_or(first, |last| last + 1);
            Filter {
                first,
                weights: weights.get(first..last).unwrap_or_default().to_vec(),
            }
        };
        LogMel {
            window: padded,
            filters: (0..mel_bins).map(filter).collect(),
            spectrum: Spectrum::new(),
        }
    }

    /// Mel bins of a frame.
    pub fn mel_bins(&self) -> usize {
        self.filters.len()
    }

    /// Buffers for [`LogMel::frame`].
    pub fn workspace(&self) -> Workspace {
        Workspace {
            points: Box::new([0.0; POINTS]),
            power: Box::new([0.0; BINS]),
        }
    }

    /// One frame: `samples [400]` to `out [mel_bins]`.
    pub fn frame(&self, samples: &[f32], workspace: &mut Workspace, out: &mut [f32]) {
        cpu::frame(self, samples, workspace, out);
    }
}

/// The symmetric Hann window, `0.5 - 0.5 cos(2 pi i / 399)`.
#[expect(clippy::as_conversions, reason = "small integers and a rounding to f32")]
pub fn hann() -> Vec<f32> {
    (0..WINDOW)
        .map(|i| (0.5 - 0.5 * (std::f64::consts::TAU * i as f64 / (WINDOW - 1) as f64).cos()) as f32)
        .collect()
}

/// Triangular filters on Slaney's mel scale from 0 to 8000 Hz, normalized by area: `[mel_bins, 257]`, as librosa makes them.
#[expect(clippy::as_conversions, reason = "small integers and a rounding to f32")]
pub fn slaney(mel_bins: usize) -> Vec<f32> {
    let step = 6.4_f64.ln() / 27.0;
    let to_hz = |mel: f64| {
        if mel < 15.0 {
            mel * 200.0 / 3.0
        } else {
            1000.0 * ((mel - 15.0) * step).exp()
        }
    };
    let top = 15.0 + 8.0_f64.ln() / step;
    let corner = |i: usize| to_hz(top * i as f64 / (mel_bins + 1) as f64);
    let mut filters = Vec::with_capacity(mel_bins * BINS);
    for i in 0..mel_bins {
        let (low, center, high) = (corner(i), corner(i + 1), corner(i + 2));
        for bin in 0..BINS {
            let hz = bin as f64 * 16_000.0 / POINTS as f64;
            let triangle = ((hz - low) / (center - low)).min((high - hz) / (high - center)).max(0.0);
            filters.push((triangle * 2.0 / (high - low)) as f32);
        }
    }
    filters
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic
)]
mod tests {
    use super::*;
    use crate::ops::linear::tests::noise;

    #[test]
    fn equals_a_plain_fourier_sum() {
        let (window, filters, samples) = (hann(), slaney(80), noise(WINDOW, 1));
        let op = LogMel::new(&window, &filters, 80);
        let mut out = vec![0.0; 80];
        op.frame(&samples, &mut op.workspace(), &mut out);
        let power: Vec<f64> = (0..BINS)
            .map(|bin| {
                let (mut re, mut im) = (0.0, 0.0);
                for i in 0..WINDOW {
                    let angle = -std::f64::consts::TAU * bin as f64 * (i + 56) as f64 / POINTS as f64;
                    let value = f64::from(samples[i]) * f64::from(window[i]);
                    re += value * angle.cos();
                    im += value * angle.sin();
                }
                re * re + im * im
            })
            .collect();
        for mel in 0..80 {
            let energy: f64 = (0..BINS).map(|bin| power[bin] * f64::from(filters[mel * BINS + bin])).sum();
            let wanted = (energy + f64::from(GUARD)).ln();
            assert!((f64::from(out[mel]) - wanted).abs() < 2e-5, "bin {mel}: {} not {wanted}", out[mel]);
        }
    }

    #[test]
    fn silence_gives_the_guard() {
        let op = LogMel::new(&hann(), &slaney(128), 128);
        let mut out = vec![0.0; 128];
        op.frame(&[0.0; WINDOW], &mut op.workspace(), &mut out);
        assert!(out.iter().all(|v| (v + 16.635_532).abs() < 1e-5), "{out:?}");
    }

    #[test]
    fn filters_have_unit_area_and_meet_the_published_corner() {
        let filters = slaney(80);
        for (row, filter) in filters.chunks(BINS).enumerate().skip(40) {
            let area: f32 = filter.iter().sum::<f32>() * 16_000.0 / 512.0;
            assert!((area - 1.0).abs() < 0.03, "filter {row} has area {area}");
        }
        assert_eq!(filters[0], 0.0);
    }
}
