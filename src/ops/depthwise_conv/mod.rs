//! Depthwise convolution over time, its normalization and SiLU: the middle of a conformer's convolution module.
//!
//! `y[t][d] = silu(norm(bias[d] + sum over k of weight[d][k] * x[t + k][d]))`, where `x` has `kernel - 1` more rows than `y`:
//! what came before and, offline, what follows. [`History`] keeps those rows between steps. A batch normalization is
//! folded into weights and bias when the layer is made; a layer normalization runs per row.
//! Who calls it: `model::encoder`.

mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;

use super::simd::Level;

/// The normalization between the convolution and SiLU, with the tensors of the checkpoint, each `[width]`.
#[derive(Clone, Copy, Debug)]
pub enum Norm<'a> {
    /// Running statistics per channel, epsilon 1e-5.
    Batch {
        /// Running mean.
        mean: &'a [f32],
        /// Running variance.
        variance: &'a [f32],
        /// Scale.
        weight: &'a [f32],
        /// Shift.
        bias: &'a [f32],
    },
    /// Over the channels of each row, epsilon 1e-5.
    Layer {
        /// Scale.
        weight: &'a [f32],
        /// Shift.
        bias: &'a [f32],
    },
}

/// Weights of one depthwise convolution.
#[derive(Clone, Debug)]
pub struct DepthwiseConv {
    width: usize,
    kernel: usize,
    /// `[kernel, width]`.
    taps: Vec<f32>,
    bias: Vec<f32>,
    /// Scale and shift of a layer normalization.
    norm: Option<(Vec<f32>, Vec<f32>)>,
    level: Level,
}

impl DepthwiseConv {
    /// `weight [width, kernel]`, `bias [width]`.
    pub fn new(weight: &[f32], bias: Option<&[f32]>, width: usize, kernel: usize, norm: Norm<'_>) -> Self {
        let mut taps = vec![0.0; width * kernel];
        for (d, row) in weight.chunks_exact(kernel.max(1)).take(width).enumerate() {
            for (tap, value) in taps.iter_mut().skip(d).step_by(width.max(1)).zip(row) {
                *tap = *value;
            }
        }
        let mut shift = bias.map_or_else(|| vec![0.0; width], <[f32]>::to_vec);
        let norm = match norm {
            Norm::Layer { weight, bias } => Some((weight.to_vec(), bias.to_vec())),
            Norm::Batch {
                mean,
                variance,
                weight,
                bias,
            } => {
                let columns = mean.iter().zip(variance).zip(weight.iter().zip(bias));
                for (d, (((mean, variance), (weight, bias)), shift)) in columns.zip(shift.iter_mut()).enumerate() {
                    let factor = f64::from(*weight) / (f64::from(*variance) + 1e-5).sqrt();
                    *shift = narrow((f64::from(*shift) - f64::from(*mean)) * factor + f64::from(*bias));
                    for tap in taps.iter_mut().skip(d).step_by(width.max(1)) {
                        *tap = narrow(f64::from(*tap) * factor);
                    }
                }
                None
            }
        };
        DepthwiseConv {
            width,
            kernel,
            taps,
            bias: shift,
            norm,
            level: Level::best(),
        }
    }

    /// Runs over the new rows `x [rows, width]` after `history`, writes `y [rows, width]`, and leaves in `history` what the
    /// next call needs.
    pub fn forward(&self, x: &[f32], history: &mut History, y: &mut [f32]) {
        let window = history.extend(x);
        cpu::rows_at(self.level, self, window, y);
        history.roll(x.len());
    }
}

#[expect(clippy::as_conversions, reason = "folded weights are kept in the precision of the network")]
fn narrow(value: f64) -> f32 {
    value as f32
}

/// The rows around the new ones that a convolution reads: the last `left` rows of the stream (zeros at its start) and,
/// for a whole utterance, `right` zero rows after its end.
#[derive(Clone, Debug)]
pub struct History {
    left: usize,
    right: usize,
    /// `left` rows, room for new ones, `right` rows.
    rows: Vec<f32>,
}

impl History {
    /// For rows of `width`; `rows` is how many new ones a call brings at most without allocating. With `right > 0` the
    /// history serves one whole utterance only.
    pub fn new(width: usize, left: usize, right: usize, rows: usize) -> Self {
        let mut buffer = Vec::with_capacity((left + rows + right) * width);
        buffer.resize(left * width, 0.0);
        History {
            left: left * width,
            right: right * width,
            rows: buffer,
        }
    }

    /// Back to the start of a stream.
    pub fn reset(&mut self) {
        self.rows.clear();
        self.rows.resize(self.left, 0.0);
    }

    /// The kept rows, oldest first.
    pub fn kept(&self) -> &[f32] {
        self.rows.get(..self.left).unwrap_or_default()
    }

    fn extend(&mut self, x: &[f32]) -> &[f32] {
        self.rows.truncate(self.left);
        self.rows.extend_from_slice(x);
        self.rows.resize(self.left + x.len() + self.right, 0.0);
        &self.rows
    }

    fn roll(&mut self, added: usize) {
        if added + self.left <= self.rows.len() {
            self.rows.copy_within(added..added + self.left, 0);
        }
        self.rows.truncate(self.left);
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

    /// The specification, in f64: pads with zeros, convolves, normalizes, applies SiLU.
    fn reference(x: &[f32], width: usize, kernel: usize, left: usize, weight: &[f32], bias: Option<&[f32]>, norm: Norm<'_>) -> Vec<f64> {
        let rows = x.len() / width;
        let mut out = Vec::new();
        for t in 0..rows {
            let mut row: Vec<f64> = (0..width)
                .map(|d| {
                    let at = |k: usize| {
                        (t + k)
                            .checked_sub(left)
                            .filter(|&i| i < rows)
                            .map_or(0.0, |i| f64::from(x[i * width + d]))
                    };
                    bias.map_or(0.0, |b| f64::from(b[d])) + (0..kernel).map(|k| at(k) * f64::from(weight[d * kernel + k])).sum::<f64>()
                })
                .collect();
            match norm {
                Norm::Batch {
                    mean,
                    variance,
                    weight,
                    bias,
                } => {
                    for d in 0..width {
                        let scaled = (row[d] - f64::from(mean[d])) / (f64::from(variance[d]) + 1e-5).sqrt();
                        row[d] = scaled * f64::from(weight[d]) + f64::from(bias[d]);
                    }
                }
                Norm::Layer { weight, bias } => {
                    let mean = row.iter().sum::<f64>() / width as f64;
                    let variance = row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / width as f64;
                    for d in 0..width {
                        row[d] = (row[d] - mean) / (variance + 1e-5).sqrt() * f64::from(weight[d]) + f64::from(bias[d]);
                    }
                }
            }
            out.extend(row.iter().map(|v| v / (1.0 + (-v).exp())));
        }
        out
    }

    #[test]
    fn equals_the_formula_for_both_norms_both_paddings_and_every_level() {
        for level in Level::all() {
            for (width, kernel) in [(40, 9), (17, 15), (64, 31), (5, 1), (176, 9)] {
                let (weight, bias, x) = (noise(width * kernel, 1), noise(width, 2), noise(20 * width, 3));
                let (a, b, mean) = (noise(width, 4), noise(width, 5), noise(width, 6));
                let variance: Vec<f32> = noise(width, 7).iter().map(|v| v.abs() + 0.1).collect();
                for norm in [
                    Norm::Layer { weight: &a, bias: &b },
                    Norm::Batch {
                        mean: &mean,
                        variance: &variance,
                        weight: &a,
                        bias: &b,
                    },
                ] {
                    for left in [kernel - 1, kernel / 2] {
                        for bias in [None, Some(bias.as_slice())] {
                            let mut conv = DepthwiseConv::new(&weight, bias, width, kernel, norm);
                            conv.level = level;
                            let mut y = vec![0.0; x.len()];
                            conv.forward(&x, &mut History::new(width, left, kernel - 1 - left, 20), &mut y);
                            let wanted = reference(&x, width, kernel, left, &weight, bias, norm);
                            for (y, wanted) in y.iter().zip(&wanted) {
                                assert!(
                                    (f64::from(*y) - wanted).abs() < 2e-5,
                                    "{level:?} {width}x{kernel}: {y} not {wanted}"
                                );
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn pieces_give_the_bits_of_the_whole() {
        let (width, kernel) = (40, 9);
        let (weight, ones, x) = (noise(width * kernel, 1), vec![1.0; width], noise(30 * width, 3));
        let conv = DepthwiseConv::new(
            &weight,
            None,
            width,
            kernel,
            Norm::Layer {
                weight: &ones,
                bias: &ones,
            },
        );
        let mut whole = vec![0.0; x.len()];
        conv.forward(&x, &mut History::new(width, kernel - 1, 0, 30), &mut whole);
        let mut history = History::new(width, kernel - 1, 0, 14);
        for round in 0..2 {
            let (mut pieces, mut at) = (Vec::new(), 0);
            for rows in [1, 2, 0, 7, 14, 3, 3] {
                let mut y = vec![0.0; rows * width];
                conv.forward(&x[at..at + rows * width], &mut history, &mut y);
                at += rows * width;
                pieces.extend(y);
            }
            assert!(pieces.iter().zip(&whole).all(|(a, b)| a.to_bits() == b.to_bits()), "round {round}");
            assert_eq!(history.kept(), &x[(30 - 8) * width..]);
            history.reset();
        }
    }
}
