//! The front end's two tensors for checkpoints that do not carry them: a symmetric Hann window and Slaney's mel filters.
//!
//! Source: librosa's `mel(norm="slaney", htk=False)`; Slaney, Auditory Toolbox, 1998. A stored filterbank is always
//! preferred, since some checkpoints were trained with a rounded one. Called by the archive reader.

#![allow(clippy::as_conversions, reason = "small counts become f64, results f32")]

use crate::model::weights::Tensor;

/// `[400]`: `0.5 - 0.5 cos(2 pi i / 399)`.
pub(super) fn window() -> Tensor {
    let value = |index: u32| 0.5 - 0.5 * (std::f64::consts::TAU * f64::from(index) / 399.0).cos();
    Tensor {
        shape: vec![400],
        data: (0..400).map(|index| value(index) as f32).collect(),
    }
}

/// `[1, bins, 257]`: triangles of equal area between 0 and 8000 Hz, for a 512-point transform at 16 kHz.
pub(super) fn filters(bins: usize) -> Tensor {
    let top = mel(8_000.0);
    let corner = |index: usize| hertz(top * index as f64 / (bins + 1) as f64);
    let mut data = Vec::with_capacity(bins * 257);
    for bin in 0..bins {
        let (low, middle, high) = (corner(bin), corner(bin + 1), corner(bin + 2));
        for line in 0..257u32 {
            let frequency = f64::from(line) * 16_000.0 / 512.0;
            let slope = ((frequency - low) / (middle - low))
                .min((high - frequency) / (high - middle))
                .max(0.0);
            data.push((slope * 2.0 / (high - low)) as f32);
        }
    }
    Tensor {
        shape: vec![1, bins, 257],
        data,
    }
}

/// Slaney's scale: linear below 1 kHz, logarithmic above.
fn mel(hertz: f64) -> f64 {
    if hertz < 1_000.0 {
        hertz * 3.0 / 200.0
    } else {
        15.0 + (hertz / 1_000.0).ln() * 27.0 / 6.4f64.ln()
    }
}

fn hertz(mel: f64) -> f64 {
    if mel < 15.0 {
        mel * 200.0 / 3.0
    } else {
        1_000.0 * ((mel - 15.0) * 6.4f64.ln() / 27.0).exp()
    }
}
