//! The convolution over time: against float64 with either normalization, and pieces against the whole.

use half::f16;
use hark::ops::rows::Row;

use crate::steps::seats;
use crate::support::{Arg, Card, Noise, close, each};

const SOURCE: &str = "depthwise_conv.cu";

struct Conv {
    width: usize,
    kernel: usize,
    left: usize,
    taps: Vec<f32>,
    shift: Vec<f32>,
    /// Layer normalization; none: a batch normalization is in the taps.
    norm: Option<(Vec<f32>, Vec<f32>)>,
}

impl Conv {
    fn new(width: usize, kernel: usize, causal: bool, norm: bool) -> Self {
        let mut noise = Noise::new((width + kernel) as u64);
        let mut vector = |count: usize, scale: f32, shift: f32| (0..count).map(|_| noise.next() * scale + shift).collect::<Vec<f32>>();
        Conv {
            width,
            kernel,
            left: if causal { kernel - 1 } else { (kernel - 1) / 2 },
            taps: vector(kernel * width, 0.4, 0.0),
            shift: vector(width, 0.2, 0.0),
            norm: norm.then(|| (vector(width, 0.5, 1.0), vector(width, 0.5, 0.0))),
        }
    }

    fn input(&self, rows: usize, seed: u64) -> Vec<f16> {
        let mut noise = Noise::new(seed);
        (0..rows * self.width).map(|_| f16::from_f32(noise.next() * 2.0)).collect()
    }

    /// A whole utterance in float64, each value with how far f32 sums may be off.
    fn reference(&self, x: &[f16]) -> Vec<(f64, f64)> {
        let rows = x.len() / self.width;
        let mut out = Vec::new();
        for t in 0..rows {
            let sum = |d: usize| {
                let start = f64::from(self.shift[d]);
                (0..self.kernel).fold((start, start.abs()), |(sum, size), k| {
                    let row = (t + k).wrapping_sub(self.left);
                    let value = if row < rows { x[row * self.width + d].to_f64() } else { 0.0 };
                    let term = value * f64::from(self.taps[k * self.width + d]);
                    (sum + term, size + term.abs())
                })
            };
            let sums: Vec<(f64, f64)> = (0..self.width).map(sum).collect();
            let rounding = (self.kernel + 1) as f64 * 2_f64.powi(-24);
            let Some((weight, bias)) = &self.norm else {
                out.extend(sums.iter().map(|(v, size)| (v / (1.0 + (-v).exp()), 1.1 * size * rounding)));
                continue;
            };
            let count = self.width as f64;
            let mean = sums.iter().map(|(v, _)| v).sum::<f64>() / count;
            let variance = sums.iter().map(|(v, _)| (v - mean).powi(2)).sum::<f64>() / count;
            let deviation = (variance + 1e-5).sqrt();
            // A value is off by its own rounding and the mean by no more than the greatest; the deviation's own error is relative.
            let off = 3.0 * sums.iter().map(|(_, size)| size * rounding).fold(0.0, f64::max) / deviation;
            for ((v, _), (weight, bias)) in sums.iter().zip(weight.iter().zip(bias)) {
                let normal = (v - mean) / deviation;
                let v = normal * f64::from(*weight) + f64::from(*bias);
                let off = f64::from(weight.abs()) * (off * (1.0 + normal.abs()) + 2_f64.powi(-21) * normal.abs());
                out.push((v / (1.0 + (-v).exp()), 1.1 * off));
            }
        }
        out
    }

    fn tails(&self, card: &mut Card<'_>, slots: usize) -> u64 {
        card.room::<f16>((slots * 2 * self.left * self.width).max(1))
    }

    /// Runs a step and gives each stream's new rows as bits; `tails` 0 is none.
    fn step(&self, card: &mut Card<'_>, tails: u64, pieces: &[&[f16]], rows: &[Row]) -> Vec<Vec<u16>> {
        let n = pieces.iter().map(|piece| piece.len() / self.width).max().unwrap().max(1);
        let mut input = vec![f16::NAN; rows.len() * n * self.width]; // rows beyond the new ones are not read
        for (to, piece) in input.chunks_mut(n * self.width).zip(pieces) {
            to[..piece.len()].copy_from_slice(piece);
        }
        let norm = self
            .norm
            .as_ref()
            .map_or((0, 0), |(weight, bias)| (card.put(weight), card.put(bias)));
        let y = card.room::<f16>(rows.len() * n * self.width);
        let args: [Arg; 12] = [
            card.put(&input).into(),
            tails.into(),
            card.put_rows(rows).into(),
            card.put(&self.taps).into(),
            card.put(&self.shift).into(),
            norm.0.into(),
            norm.1.into(),
            y.into(),
            n.into(),
            self.width.into(),
            self.kernel.into(),
            self.left.into(),
        ];
        let block = (self.width / 2).next_multiple_of(32).min(256);
        let shared = if self.norm.is_some() { 4 * self.width } else { 0 };
        card.launch("depthwise_conv", [n, rows.len(), 1], [block, 1], shared, &args);
        let part = |(b, row): (usize, &Row)| {
            let values: Vec<f16> = card.get_part(y, b * n * self.width, row.given[2] as usize * self.width);
            values.into_iter().map(f16::to_bits).collect()
        };
        rows.iter().enumerate().map(part).collect()
    }
}

fn row(slot: usize, piece: usize, frames: usize) -> Row {
    Row {
        slot: slot as i32,
        parity: ((slot + piece) % 2) as i32,
        start: i32::from(piece == 0),
        given: [0, 0, frames as i32],
        ..Row::default()
    }
}

fn compare(name: &str, found: &[u16], expected: &[(f64, f64)]) {
    assert_eq!(found.len(), expected.len());
    for (i, (found, (expected, off))) in found.iter().zip(expected).enumerate() {
        // The result is rounded to f16 (or half its least step); exp and the division of SiLU are off by 2^-21 each.
        let tolerance = expected.abs() * (2_f64.powi(-11) + 2_f64.powi(-20)) + 2_f64.powi(-25) + off;
        close(&format!("{name}, value {i}"), f16::from_bits(*found).to_f64(), *expected, tolerance);
    }
}

#[test]
fn whole_utterances_match_float64() {
    let shapes = [
        (176, 9, true),
        (512, 9, false),
        (40, 31, false),
        (64, 15, true),
        (8, 31, true),
        (1_024, 15, false),
        (8_192, 3, true),
    ];
    for ((width, kernel, causal), norm) in shapes.into_iter().flat_map(|shape| [(shape, true), (shape, false)]) {
        let conv = Conv::new(width, kernel, causal, norm);
        let counts: &[usize] = if width > 500 { &[3, 1] } else { &[20, 1, 4] };
        let inputs: Vec<Vec<f16>> = counts.iter().map(|count| conv.input(*count, *count as u64)).collect();
        let expected: Vec<_> = inputs.iter().map(|input| conv.reference(input)).collect();
        each(SOURCE, |card| {
            // A convolution over whole utterances may come without tails.
            let tails = if causal { conv.tails(card, counts.len()) } else { 0 };
            let rows: Vec<Row> = counts.iter().enumerate().map(|(slot, count)| row(slot, 0, *count)).collect();
            let pieces: Vec<&[f16]> = inputs.iter().map(Vec::as_slice).collect();
            for (found, expected) in conv.step(card, tails, &pieces, &rows).iter().zip(&expected) {
                compare(&format!("width {width}, kernel {kernel}, norm {norm}"), found, expected);
            }
        });
    }
}

#[test]
fn extreme_values_stay_numbers() {
    for norm in [true, false] {
        let mut conv = Conv::new(64, 9, true, norm);
        // All values of a row the same: the deviation is that of rounding and the epsilon counts.
        conv.shift.fill(0.25);
        conv.taps.fill(1.0);
        let flat = vec![f16::from_f32(0.5); 3 * 64];
        let huge: Vec<f16> = (0..3 * 64).map(|i| if i % 3 == 0 { f16::MAX } else { f16::MIN }).collect();
        let expected = conv.reference(&flat);
        each(SOURCE, |card| {
            let tails = conv.tails(card, 2);
            let found = conv.step(card, tails, &[&flat, &huge], &[row(0, 0, 3), row(1, 0, 3)]);
            compare("flat", &found[0], &expected);
            assert!(found[1].iter().all(|bits| f16::from_bits(*bits).is_finite()));
        });
    }
}

#[test]
fn pieces_give_the_bits_of_the_whole() {
    // Chunks longer and shorter than the tail, steps without frames, an utterance of one frame.
    let plans: [(usize, &[usize]); 4] = [(0, &[2, 1, 14, 1, 1, 3]), (1, &[1, 0, 1, 1]), (1, &[1]), (2, &[4, 4, 0])];
    for (width, kernel, norm) in [(176, 9, true), (64, 31, false), (40, 15, true), (24, 1, true)] {
        let conv = Conv::new(width, kernel, true, norm);
        let inputs: Vec<Vec<f16>> = (0..plans.len())
            .map(|stream| conv.input(plans[stream].1.iter().sum(), 70 + stream as u64))
            .collect();
        let lanes: Vec<(usize, usize)> = plans.iter().map(|(begin, pieces)| (*begin, pieces.len())).collect();
        each(SOURCE, |card| {
            let slots = plans.len() + 1;
            let tails = conv.tails(card, slots);
            let mut found = vec![Vec::new(); plans.len()];
            for seats in seats(&lanes) {
                let seated = |seat: &Option<(usize, usize)>| {
                    let Some((stream, piece)) = *seat else {
                        return (Row::padding(slots as i32 - 1), &inputs[0][..0]);
                    };
                    let pieces = plans[stream].1;
                    let before: usize = pieces[..piece].iter().sum();
                    (
                        row(stream, piece, pieces[piece]),
                        &inputs[stream][before * width..][..pieces[piece] * width],
                    )
                };
                let (rows, pieces): (Vec<Row>, Vec<&[f16]>) = seats.iter().map(seated).unzip();
                for (seat, out) in seats.iter().zip(conv.step(card, tails, &pieces, &rows)) {
                    if let Some((stream, _)) = seat {
                        found[*stream].extend(out);
                    }
                }
            }
            for (stream, (input, found)) in inputs.iter().zip(&found).enumerate() {
                let alone = conv.tails(card, 1);
                let whole = conv.step(card, alone, &[input], &[row(0, 0, input.len() / width)]);
                assert_eq!(&whole[0], found, "stream {stream}, kernel {kernel}");
            }
        });
    }
}
