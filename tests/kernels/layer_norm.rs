//! Layer normalization against float64, and the bits of a row in any launch.

use half::f16;

use crate::support::{Arg, Card, Noise, close, each};

const SOURCE: &str = "layer_norm.cu";
/// Rows of a block.
const ROWS: usize = 8;

struct Norm {
    width: usize,
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Norm {
    fn new(width: usize) -> Self {
        let mut noise = Noise::new(width as u64);
        Norm {
            width,
            weight: noise.floats(width, 2.0),
            bias: noise.floats(width, 1.0),
        }
    }

    /// Results of one row and how far a kernel may be from each before rounding to f16.
    ///
    /// Sums in f32 of `width / 32` values a lane and then of the lanes: the mean is off by that many half units of the greatest
    /// magnitude at most; the deviation's error is relative and far below 2^-20.
    fn expected(&self, x: &[f32]) -> Vec<(f64, f64)> {
        let count = self.width as f64;
        let mean = x.iter().map(|v| f64::from(*v)).sum::<f64>() / count;
        let deviation = (x.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / count + 1e-5).sqrt();
        let greatest = x.iter().fold(0.0, |most: f64, v| most.max(f64::from(v.abs())));
        let mean_off = greatest * (2.0 + count / 128.0 + 5.0) * 2_f64.powi(-24);
        let one = |((x, weight), bias): ((&f32, &f32), &f32)| {
            let (normal, weight, bias) = ((f64::from(*x) - mean) / deviation, f64::from(*weight), f64::from(*bias));
            // A shifted mean adds its square to the variance.
            let off = mean_off / deviation + normal.abs() * (2_f64.powi(-20) + (mean_off / deviation).powi(2));
            (
                normal * weight + bias,
                weight.abs() * off + 2_f64.powi(-22) * (bias.abs() + (normal * weight).abs()),
            )
        };
        x.iter().zip(&self.weight).zip(&self.bias).map(one).collect()
    }

    /// Runs a kernel: the f16 rows, and what is then in place of `x`.
    fn run(&self, card: &mut Card<'_>, kernel: &str, x: &[f32]) -> (Vec<f16>, Vec<f32>) {
        let rows = x.len() / self.width;
        let (place, y) = (card.put(x), card.room::<f16>(x.len()));
        let (weight, bias) = (card.put(&self.weight), card.put(&self.bias));
        let args: [Arg; 6] = [place.into(), weight.into(), bias.into(), y.into(), rows.into(), self.width.into()];
        card.launch(kernel, [rows.div_ceil(ROWS), 1, 1], [ROWS * 32, 1], 0, &args);
        (card.get(y), card.get(place))
    }
}

fn check(width: usize, x: &[f32]) {
    let norm = Norm::new(width);
    let expected: Vec<_> = x.chunks(width).flat_map(|row| norm.expected(row)).collect();
    each(SOURCE, |card| {
        let (y, same) = norm.run(card, "layer_norm", x);
        let (y_out, kept) = norm.run(card, "layer_norm_out", x);
        assert_eq!(same, x, "layer_norm leaves its input alone");
        assert_eq!(y, y_out, "both kernels give the same f16 values");
        for (i, ((y, kept), (expected, off))) in y.iter().zip(&kept).zip(&expected).enumerate() {
            let name = format!("width {width}, row {}, channel {}", i / width, i % width);
            close(&name, f64::from(*kept), *expected, *off);
            close(
                &name,
                y.to_f64(),
                *expected,
                off + expected.abs() * 2_f64.powi(-11) + 2_f64.powi(-25),
            );
        }
    });
}

#[test]
fn rows_of_any_width_match_float64() {
    for (width, rows) in [
        (8, 3),
        (16, 8),
        (40, 9),
        (48, 70),
        (176, 17),
        (264, 1),
        (512, 7),
        (1_024, 5),
        (8_192, 2),
    ] {
        check(width, &Noise::new(rows as u64).floats(rows * width, 3.0));
    }
}

/// Zeros, a constant, a large offset, tiny and huge values, one channel that outweighs all others.
#[test]
fn extreme_rows_match_float64() {
    for width in [40, 512] {
        let mut noise = Noise::new(9);
        let mut x = vec![0.0; width];
        x.extend(vec![-7.25; width]);
        x.extend(noise.floats(width, 1.0).iter().map(|v| v + 1000.0));
        x.extend(noise.floats(width, 1e-6));
        x.extend(noise.floats(width, 1e15));
        x.extend((0..width).map(|c| if c == 33 { 6e4 } else { noise.next() }));
        check(width, &x);
    }
}

#[test]
fn a_row_has_the_same_bits_in_any_launch() {
    let (width, rows) = (176, 21);
    let norm = Norm::new(width);
    let x = Noise::new(4).floats(rows * width, 2.0);
    each(SOURCE, |card| {
        for kernel in ["layer_norm", "layer_norm_out"] {
            let (whole, _) = norm.run(card, kernel, &x);
            for (from, to) in [(0, 1), (13, 14), (20, 21), (3, 12)] {
                let (part, _) = norm.run(card, kernel, &x[from * width..to * width]);
                assert!(
                    part.iter().zip(&whole[from * width..]).all(|(a, b)| a.to_bits() == b.to_bits()),
                    "rows {from}..{to}"
                );
            }
        }
    });
}
