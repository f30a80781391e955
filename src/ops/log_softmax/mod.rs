//! `x - max - ln(sum(e^(x - max)))` over one row.
//!
//! Who calls it: `model::decode`, on the scores of a frame.

mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;

use super::simd::Level;

/// Turns the scores of one row into log-probabilities, in place. An empty row stays empty.
pub fn log_softmax(row: &mut [f32]) {
    cpu::log_softmax_at(Level::best(), row);
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
    fn equals_the_formula() {
        for level in Level::all() {
            for width in [1, 2, 15, 16, 17, 129, 1025] {
                let x: Vec<f32> = noise(width, 11).iter().map(|v| v * 30.0).collect();
                let mut y = x.clone();
                cpu::log_softmax_at(level, &mut y);
                let most = x.iter().fold(f32::MIN, |a, b| a.max(*b));
                let sum: f64 = x.iter().map(|v| (f64::from(*v) - f64::from(most)).exp()).sum();
                for (x, y) in x.iter().zip(&y) {
                    let wanted = f64::from(*x) - f64::from(most) - sum.ln();
                    assert!((f64::from(*y) - wanted).abs() < 1e-5, "{level:?}, width {width}: {y} not {wanted}");
                }
            }
        }
    }

    #[test]
    fn large_scores_do_not_overflow() {
        let mut row = [1e30, -1e30, 1e30];
        log_softmax(&mut row);
        assert!((row[0] + 2.0f32.ln()).abs() < 1e-6 && row[1] < -1e29, "{row:?}");
        log_softmax(&mut []);
    }
}
