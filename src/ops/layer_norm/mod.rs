//! Layer normalization over the channels of each row: `(x - mean) / sqrt(variance + 1e-5) * weight + bias`.
//!
//! The variance is the mean square about the mean (two passes). Each row is computed alone.
//! Who calls it: `model::encoder`.

pub(crate) mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;

use super::simd::Level;

/// Added to the variance.
pub const EPSILON: f32 = 1e-5;

/// Scale and shift of one layer normalization.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    weight: Vec<f32>,
    bias: Vec<f32>,
    level: Level,
}

impl LayerNorm {
    /// `weight` and `bias` are as long as a row is wide.
    pub fn new(weight: &[f32], bias: &[f32]) -> Self {
        LayerNorm {
            weight: weight.to_vec(),
            bias: bias.to_vec(),
            level: Level::best(),
        }
    }

    /// Normalizes the rows of `x` into `y`; whole rows that both hold.
    pub fn forward(&self, x: &[f32], y: &mut [f32]) {
        cpu::forward(self, x, y);
    }
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
    fn equals_the_formula_for_every_width_and_level() {
        for level in Level::all() {
            for width in [1, 7, 16, 40, 48, 176, 256] {
                let (weight, bias, x) = (noise(width, 1), noise(width, 2), noise(5 * width, 3));
                let mut norm = LayerNorm::new(&weight, &bias);
                norm.level = level;
                let mut y = vec![0.0; 5 * width];
                norm.forward(&x, &mut y);
                for (x, y) in x.chunks(width).zip(y.chunks(width)) {
                    let mean = x.iter().map(|v| f64::from(*v)).sum::<f64>() / width as f64;
                    let variance = x.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / width as f64;
                    for i in 0..width {
                        let wanted = (f64::from(x[i]) - mean) / (variance + 1e-5).sqrt() * f64::from(weight[i]) + f64::from(bias[i]);
                        assert!(
                            (f64::from(y[i]) - wanted).abs() < 3e-6,
                            "{level:?}, width {width}: {} not {wanted}",
                            y[i]
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_constant_row_gives_the_bias() {
        let norm = LayerNorm::new(&[2.0; 40], &[0.5; 40]);
        let mut y = vec![0.0; 40];
        norm.forward(&[3.0; 40], &mut y);
        assert!(y.iter().all(|v| (v - 0.5).abs() < 1e-4), "{y:?}");
    }
}
