//! The strided convolutions: each layer against float64, and pieces against the whole.

use half::f16;
use hark::ops::rows::Row;

use crate::steps::seats;
use crate::support::{Arg, Card, Noise, close, each};

const SOURCE: &str = "subsample.cu";

/// One layer of a model with its weights.
struct Layer {
    index: usize,
    lead: usize,
    columns: usize,
    channels: usize,
    taps: Vec<f32>,
    bias: Vec<f32>,
}

impl Layer {
    fn new(index: usize, lead: usize, columns: usize, channels: usize) -> Self {
        let mut noise = Noise::new((index * 1_000 + columns + channels) as u64);
        Layer {
            index,
            lead,
            columns,
            channels,
            taps: (0..9 * channels).map(|_| noise.next() * 0.5).collect(),
            bias: (0..channels).map(|_| noise.next()).collect(),
        }
    }

    /// Channels of its input.
    fn depth(&self) -> usize {
        if self.index == 0 { 1 } else { self.channels }
    }

    /// Values of an input row.
    fn width(&self) -> usize {
        self.columns * self.depth()
    }

    fn out_columns(&self) -> usize {
        if self.lead == 2 {
            self.columns / 2 + 1
        } else {
            self.columns.div_ceil(2)
        }
    }

    /// Input rows like those of a model: log-mel energies, or what ReLU leaves.
    fn input(&self, rows: usize, seed: u64) -> Vec<f32> {
        let mut noise = Noise::new(seed);
        let mut value = || {
            if self.index == 0 {
                noise.next() * 6.0 - 9.0
            } else {
                f16::from_f32((noise.next() * 20.0).max(0.0)).to_f32()
            }
        };
        (0..rows * self.width()).map(|_| value()).collect()
    }

    /// Outputs of a whole utterance in float64, each with the sum of its terms' magnitudes.
    fn reference(&self, input: &[f32]) -> Vec<(f64, f64)> {
        let rows = input.len() / self.width();
        let mut out = Vec::new();
        for t in 0..outputs(rows, self.lead, true) {
            for (f, c) in (0..self.out_columns()).flat_map(|f| (0..self.channels).map(move |c| (f, c))) {
                let (mut sum, mut size) = (f64::from(self.bias[c]), f64::from(self.bias[c].abs()));
                for (i, j) in (0..3).flat_map(|i| (0..3).map(move |j| (i, j))) {
                    let (row, column) = ((2 * t + i).wrapping_sub(self.lead), (2 * f + j).wrapping_sub(self.lead));
                    if row < rows && column < self.columns {
                        let value = input[row * self.width() + column * self.depth() + if self.index == 0 { 0 } else { c }];
                        let term = f64::from(value) * f64::from(self.taps[(3 * i + j) * self.channels + c]);
                        sum += term;
                        size += term.abs();
                    }
                }
                out.push((if self.index == 0 { sum.max(0.0) } else { sum }, size));
            }
        }
        out
    }

    /// A tail for each slot; nothing of it is written yet.
    fn tails(&self, card: &mut Card<'_>, slots: usize) -> u64 {
        if self.index == 0 {
            card.room::<f32>(slots * 4 * self.width())
        } else {
            card.room::<f16>(slots * 4 * self.width())
        }
    }

    /// Runs a step and gives each stream's new outputs as bits.
    fn step(&self, card: &mut Card<'_>, tails: u64, pieces: &[&[f32]], rows: &[Row]) -> Vec<Vec<u16>> {
        // A little more room than needed: strides are not the counts.
        let stride = pieces.iter().map(|piece| piece.len() / self.width()).max().unwrap() + 1;
        let out_stride = rows.iter().map(|row| row.given[self.index] as usize).max().unwrap() + 1;
        let out_row = self.out_columns() * self.channels;
        let mut input = vec![f32::NAN; rows.len() * stride * self.width()]; // rows beyond the new ones are not read
        for (to, piece) in input.chunks_mut(stride * self.width()).zip(pieces) {
            to[..piece.len()].copy_from_slice(piece);
        }
        let out = card.room::<f16>(rows.len() * out_stride * out_row);
        let x = if self.index == 0 {
            card.put(&input)
        } else {
            card.put(&input.iter().map(|v| f16::from_f32(*v)).collect::<Vec<f16>>())
        };
        let mut args: Vec<Arg> = vec![x.into(), stride.into(), tails.into(), card.put_rows(rows).into()];
        if self.index > 0 {
            args.push(self.index.into());
        }
        args.extend([card.put(&self.taps), card.put(&self.bias), out].map(Arg::from));
        args.extend([out_stride, self.out_columns(), self.columns, self.channels, self.lead].map(Arg::from));
        let kernel = if self.index == 0 {
            "subsample_first"
        } else {
            "subsample_depthwise"
        };
        card.launch(kernel, [out_stride, rows.len(), 1], [256, 1], 0, &args);
        let part = |(b, row): (usize, &Row)| {
            let values: Vec<f16> = card.get_part(out, b * out_stride * out_row, row.given[self.index] as usize * out_row);
            values.into_iter().map(f16::to_bits).collect()
        };
        rows.iter().enumerate().map(part).collect()
    }

    /// The row of a piece of `new` input rows after `before` others.
    fn row(&self, slot: usize, piece: usize, before: usize, new: usize, end: bool) -> Row {
        let done = outputs(before, self.lead, false);
        let mut row = Row {
            slot: slot as i32,
            parity: ((slot + piece) % 2) as i32,
            start: i32::from(piece == 0),
            ..Row::default()
        };
        row.held[self.index] = (before + self.lead - 2 * done) as i32;
        row.given[self.index] = (outputs(before + new, self.lead, end) - done) as i32;
        match self.index {
            0 => row.mel = new as i32,
            index => row.given[index - 1] = new as i32,
        }
        row
    }
}

/// Outputs after `inputs` rows; at the end a last one may lack its third.
fn outputs(inputs: usize, lead: usize, end: bool) -> usize {
    if end && inputs > 0 {
        (inputs + lead) / 2
    } else {
        (inputs + lead).saturating_sub(1) / 2
    }
}

#[test]
fn layers_match_float64() {
    // Published widths, few and many channels (260 pairs are more than a block has threads), the widest input.
    let shapes = [
        (0, 2, 80, 256),
        (0, 1, 80, 16),
        (0, 2, 128, 24),
        (0, 1, 128, 32),
        (0, 2, 512, 8),
        (0, 2, 23, 520),
        (1, 2, 41, 256),
        (1, 1, 40, 24),
        (1, 2, 65, 16),
        (1, 1, 64, 32),
        (2, 2, 21, 256),
        (2, 1, 20, 16),
        (2, 2, 33, 24),
        (2, 1, 5, 520),
    ];
    for (index, lead, columns, channels) in shapes {
        let layer = Layer::new(index, lead, columns, channels);
        // Even and odd lengths and the shortest; with many channels only short ones.
        let counts: &[usize] = if channels > 250 { &[4, 3] } else { &[6, 1, 9, 2] };
        let inputs: Vec<Vec<f32>> = counts.iter().map(|count| layer.input(*count, *count as u64)).collect();
        let expected: Vec<_> = inputs.iter().map(|input| layer.reference(input)).collect();
        each(SOURCE, |card| {
            let tails = layer.tails(card, counts.len());
            let rows: Vec<Row> = counts
                .iter()
                .enumerate()
                .map(|(slot, count)| layer.row(slot, 0, 0, *count, true))
                .collect();
            let pieces: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
            for ((found, expected), count) in layer.step(card, tails, &pieces, &rows).iter().zip(&expected).zip(counts) {
                assert_eq!(found.len(), expected.len());
                for (i, (found, (expected, size))) in found.iter().zip(expected).enumerate() {
                    // One rounding to f16 (or half its least step), ten to f32 of partial sums.
                    let tolerance = expected.abs() * 2_f64.powi(-11) + 2_f64.powi(-25) + 10.0 * size * 2_f64.powi(-24);
                    let name = format!("layer {index} of {columns}x{channels}, {count} rows, value {i}");
                    close(&name, f16::from_bits(*found).to_f64(), *expected, tolerance);
                }
            }
        });
    }
}

#[test]
fn large_values_are_held_at_the_largest_half() {
    let mut layer = Layer::new(1, 2, 5, 8);
    layer.taps.fill(3.0);
    let input = vec![60_000.0; 3 * layer.width()];
    each(SOURCE, |card| {
        let tails = layer.tails(card, 1);
        let found = layer.step(card, tails, &[&input], &[layer.row(0, 0, 0, 3, true)]);
        assert!(found[0].iter().all(|bits| f16::from_bits(*bits) == f16::MAX));
    });
}

#[test]
fn pieces_give_the_bits_of_the_whole() {
    // Steady chunks, single rows and steps without any, an end on either parity, an utterance of one row.
    let plans: [(usize, &[usize]); 5] = [
        (0, &[1, 8, 8, 3]),
        (1, &[1, 1, 0, 1, 1, 1, 2]),
        (1, &[4, 2]),
        (3, &[1]),
        (2, &[0, 5, 0]),
    ];
    for (index, lead, columns, channels) in [(0, 2, 80, 16), (0, 1, 128, 24), (1, 2, 41, 32), (2, 1, 20, 24), (2, 2, 21, 256)] {
        let layer = Layer::new(index, lead, columns, channels);
        let inputs: Vec<Vec<f32>> = (0..plans.len())
            .map(|stream| layer.input(plans[stream].1.iter().sum(), 50 + stream as u64))
            .collect();
        let lanes: Vec<(usize, usize)> = plans.iter().map(|(begin, pieces)| (*begin, pieces.len())).collect();
        each(SOURCE, |card| {
            let slots = plans.len() + 1;
            let tails = layer.tails(card, slots);
            let mut found = vec![Vec::new(); plans.len()];
            for seats in seats(&lanes) {
                let seated = |seat: &Option<(usize, usize)>| {
                    let Some((stream, piece)) = *seat else {
                        return (Row::padding(slots as i32 - 1), &inputs[0][..0]);
                    };
                    let pieces = plans[stream].1;
                    let before: usize = pieces[..piece].iter().sum();
                    let row = layer.row(stream, piece, before, pieces[piece], piece + 1 == pieces.len());
                    (row, &inputs[stream][before * layer.width()..][..pieces[piece] * layer.width()])
                };
                let (rows, pieces): (Vec<Row>, Vec<&[f32]>) = seats.iter().map(seated).unzip();
                for (seat, out) in seats.iter().zip(layer.step(card, tails, &pieces, &rows)) {
                    if let Some((stream, _)) = seat {
                        found[*stream].extend(out);
                    }
                }
            }
            for (stream, (input, found)) in inputs.iter().zip(&found).enumerate() {
                let alone = layer.tails(card, 1);
                let rows = [layer.row(0, 0, 0, input.len() / layer.width(), true)];
                let whole = layer.step(card, alone, &[input], &rows);
                assert!(!found.is_empty());
                assert_eq!(&whole[0], found, "stream {stream} of layer {index}");
            }
        });
    }
}
