//! The spectrum of 512 real points, with the rounding of the reference implementation.
//!
//! Near silence the logarithm after it magnifies the rounding of the transform: two correct f32 transforms differ by 4e-4 in
//! the log-probabilities of a small model, more than all the rest of the network together. Models were trained and published with
//! one of them (PyTorch on x86-64, which calls MKL), so this is the same sequence of operations: a complex transform of 256 points by
//! decimation in time, radix 4, 8 and 8, and the split of the packed halves, every product and sum rounded by itself. It gives the bits
//! of `torch.fft.rfft` (2.15, MKL 2024.2), found by comparing results; tests hold it to features that the reference made.
//! What it does not do: window, power. Who calls it: this folder's `cpu`.

#![allow(
    clippy::indexing_slicing,
    clippy::needless_range_loop,
    reason = "index formulas of the transform; all are below the fixed sizes of the arrays they are used on"
)]

use super::{BINS, POINTS};

const HALF: usize = POINTS / 2;
/// The square root of one half, one unit in the last place above its rounded value: as the reference has it.
const DIAGONAL: f32 = f32::from_bits(0x3f35_04f4);

/// Real and imaginary part.
type Complex = (f32, f32);

/// The factors of the transform.
#[derive(Clone, Debug)]
pub(super) struct Spectrum {
    /// `e^(-2 pi i p k / 32)` by `k`, then `p`.
    second: [[Complex; 8]; 4],
    /// `e^(-2 pi i b k / 256)` by `k`, then `b`.
    third: Box<[[Complex; 8]; 32]>,
    /// `1 - sin` and `cos` of `2 pi k / 512`.
    split: Box<[Complex; 128]>,
}

impl Spectrum {
    #[expect(
        clippy::as_conversions,
        reason = "factors computed in f64 are rounded to f32, as the reference does"
    )]
    pub(super) fn new() -> Self {
        let (mut second, mut third) = ([[(1.0, 0.0); 8]; 4], Box::new([[(1.0, 0.0); 8]; 32]));
        for (k, row) in second.iter_mut().enumerate() {
            *row = std::array::from_fn(|p| root(32, p * k));
        }
        for (k, row) in third.iter_mut().enumerate() {
            *row = std::array::from_fn(|b| root(256, b * k));
        }
        let split = Box::new(std::array::from_fn(|k| {
            let (sin, cos) = (std::f64::consts::TAU * k as f64 / POINTS as f64).sin_cos();
            (1.0 - sin as f32, cos as f32)
        }));
        Spectrum { second, third, split }
    }

    /// `|X[k]|^2` of the points `x`, for the half spectrum.
    pub(super) fn power(&self, x: &[f32; POINTS], power: &mut [f32; BINS]) {
        let half = self.half(x);
        let (first_re, first_im) = half[0];
        power[0] = square((first_re + first_im, 0.0));
        power[HALF] = square((first_re - first_im, 0.0));
        power[128] = square(half[128]);
        for k in 1..128 {
            let (a, b, (one_less_sin, cos)) = (half[k], half[HALF - k], self.split[k]);
            let (re, im) = (a.0 - b.0, a.1 + b.1);
            let (re, im) = ((re * one_less_sin + im * cos) * 0.5, (im * one_less_sin - re * cos) * 0.5);
            power[k] = square((b.0 + re, im - b.1));
            power[HALF - k] = square((a.0 - re, im - a.1));
        }
    }

    /// The complex transform of the points taken in pairs.
    fn half(&self, x: &[f32; POINTS]) -> [Complex; HALF] {
        let pair = |n: usize| (x[2 * n], x[2 * n + 1]);
        // `[k1 + 4 * k2][b]` for point `n = 64 q + 8 p + b`.
        let mut middle = [[(0.0, 0.0); 8]; 32];
        for b in 0..8 {
            let mut first = [[(0.0, 0.0); 8]; 4];
            for p in 0..8 {
                let n = 8 * p + b;
                let sums = radix4(pair(n), pair(n + 64), pair(n + 128), pair(n + 192));
                for k in 0..4 {
                    first[k][p] = if p == 0 || k == 0 {
                        sums[k]
                    } else {
                        times(sums[k], self.second[k][p])
                    };
                }
            }
            for (k1, points) in first.into_iter().enumerate() {
                for (k2, value) in radix8(points).into_iter().enumerate() {
                    middle[k1 + 4 * k2][b] = value;
                }
            }
        }
        let mut half = [(0.0, 0.0); HALF];
        for (k, mut points) in middle.into_iter().enumerate() {
            if k > 0 {
                for b in 1..8 {
                    points[b] = times(points[b], self.third[k][b]);
                }
            }
            for (k3, value) in radix8(points).into_iter().enumerate() {
                half[k + 32 * k3] = value;
            }
        }
        half
    }
}

/// `e^(-2 pi i j / n)`, exact at quarters of the circle.
#[expect(
    clippy::as_conversions,
    reason = "factors computed in f64 are rounded to f32, as the reference does"
)]
fn root(n: usize, j: usize) -> Complex {
    let j = j % n;
    if (4 * j).is_multiple_of(n) {
        return [(1.0, 0.0), (0.0, -1.0), (-1.0, 0.0), (0.0, 1.0)][4 * j / n];
    }
    let (sin, cos) = (std::f64::consts::TAU * j as f64 / n as f64).sin_cos();
    (cos as f32, -sin as f32)
}

fn square((re, im): Complex) -> f32 {
    re * re + im * im
}

fn plus(a: Complex, b: Complex) -> Complex {
    (a.0 + b.0, a.1 + b.1)
}

fn minus(a: Complex, b: Complex) -> Complex {
    (a.0 - b.0, a.1 - b.1)
}

fn times(x: Complex, w: Complex) -> Complex {
    (x.0 * w.0 - x.1 * w.1, x.1 * w.0 + x.0 * w.1)
}

/// `-i x`.
fn turned((re, im): Complex) -> Complex {
    (im, -re)
}

fn radix4(a: Complex, b: Complex, c: Complex, d: Complex) -> [Complex; 4] {
    let (s, t, u, v) = (plus(a, c), minus(a, c), plus(b, d), turned(minus(b, d)));
    [plus(s, u), plus(t, v), minus(s, u), minus(t, v)]
}

fn radix8(p: [Complex; 8]) -> [Complex; 8] {
    let even = radix4(p[0], p[2], p[4], p[6]);
    let [o0, o1, o2, o3] = radix4(p[1], p[3], p[5], p[7]);
    let odd = [
        o0,
        (o1.0 * DIAGONAL + o1.1 * DIAGONAL, o1.1 * DIAGONAL - o1.0 * DIAGONAL),
        turned(o2),
        (o3.1 * DIAGONAL - o3.0 * DIAGONAL, -(o3.0 * DIAGONAL + o3.1 * DIAGONAL)),
    ];
    std::array::from_fn(|j| {
        if j < 4 {
            plus(even[j], odd[j])
        } else {
            minus(even[j - 4], odd[j - 4])
        }
    })
}
