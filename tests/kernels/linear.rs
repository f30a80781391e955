//! Linear layers: every mode and tile against dot products in float64, and the bits of a row in any launch.

use half::f16;
use hark::ops::rows::Row;

use crate::support::{Arg, Card, Noise, close, each, saturated};

const SOURCE: &str = "linear.cu";
const MODES: [&str; 7] = ["store", "relu", "silu", "gate", "add", "float", "prompt"];
/// Name, rows and outputs of a block, threads.
const VARIANTS: [(&str, usize, usize, usize); 3] = [("r16", 16, 64, 128), ("r64", 64, 64, 128), ("r128", 128, 128, 256)];
const FACTOR: f32 = 0.5;
/// What lies in `y` where nothing is to be written.
const UNTOUCHED: f32 = 123.0;
/// Rows of a stream and prompts of the table, for `prompt`.
const FRAMES: usize = 3;
const PROMPTS: usize = 4;

/// One layer and its input.
#[derive(Clone)]
struct Layer {
    rows: usize,
    outputs: usize,
    depth: usize,
    x: Vec<f16>,
    w: Vec<f16>,
    bias: Vec<f32>,
    table: Vec<f32>,
    /// What `add` adds to.
    old: Vec<f32>,
}

impl Layer {
    fn new(rows: usize, outputs: usize, depth: usize, scale: f32) -> Self {
        let mut noise = Noise::new((rows * 1_000_000 + outputs * 1_000 + depth) as u64);
        let padded = outputs.next_multiple_of(128);
        let mut w = noise.halves(outputs * depth, scale / (depth as f32).sqrt());
        w.resize(padded * depth, f16::ZERO);
        let mut bias = noise.floats(outputs, scale);
        bias.resize(padded, 0.0);
        let layer = Layer {
            rows,
            outputs,
            depth,
            x: noise.halves(rows * depth, 2.0),
            w,
            bias,
            table: noise.floats(PROMPTS * padded, scale),
            old: vec![],
        };
        let old = noise.floats(rows * layer.stride("add"), scale);
        Layer { old, ..layer }
    }

    fn columns(&self, mode: &str) -> usize {
        if mode == "gate" { self.outputs / 2 } else { self.outputs }
    }

    /// Width of `y`: one more step of 8 than needed.
    fn stride(&self, mode: &str) -> usize {
        self.columns(mode).next_multiple_of(8) + 8
    }

    fn prompt(stream: usize) -> usize {
        (stream * 3 + 1) % PROMPTS
    }

    /// For each row and output: the product, and the sum of its terms' magnitudes.
    fn products(&self) -> Vec<(f64, f64)> {
        let x: Vec<f64> = self.x.iter().map(|v| v.to_f64()).collect();
        let w: Vec<f64> = self.w.iter().map(|v| v.to_f64()).collect();
        let mut products = Vec::new();
        for x in x.chunks(self.depth) {
            for w in w.chunks(self.depth).take(self.outputs) {
                let terms = x.iter().zip(w).map(|(x, w)| x * w);
                products.push(terms.fold((0.0, 0.0), |(sum, size), term: f64| (sum + term, size + term.abs())));
            }
        }
        products
    }

    /// The result and how far from it a kernel may be, `[rows][columns]`.
    ///
    /// An f32 sum of `depth` terms in steps of 16, each rounded or truncated: like a random walk its error is well below
    /// `(8 + sqrt(depth)) * 2^-24` of the terms' magnitudes. Functions have a slope of at most 1.1, and `exp` and division are off
    /// by 2^-21. A result in f16 is rounded once: 2^-11 of it, or 2^-25 where it is nearly zero.
    fn expected(&self, mode: &str, products: &[(f64, f64)]) -> Vec<(f64, f64)> {
        let rounding = (8.0 + (self.depth as f64).sqrt()) * 2_f64.powi(-24);
        let padded = self.outputs.next_multiple_of(128);
        let value = |row: usize, output: usize| {
            let (sum, size) = products[row * self.outputs + output];
            let bias = match mode {
                "prompt" => self.table[Self::prompt(row / FRAMES) * padded + output],
                _ => self.bias[output],
            };
            let (v, size) = (sum + f64::from(bias), size + f64::from(bias.abs()));
            (v, size * rounding)
        };
        let sigmoid = |v: f64| 1.0 / (1.0 + (-v).exp());
        let mut expected = Vec::new();
        for row in 0..self.rows {
            for column in 0..self.columns(mode) {
                let (v, off) = value(row, column);
                let (v, off) = match mode {
                    "relu" | "prompt" => (v.max(0.0), off),
                    "silu" => (v * sigmoid(v), 1.1 * off + v.abs() * sigmoid(v) * 2_f64.powi(-20)),
                    "gate" => {
                        let packed = column / 8 * 16 + column % 8;
                        let ((v, off), (gate, gate_off)) = (value(row, packed), value(row, packed + 8));
                        let s = sigmoid(gate);
                        (v * s, off + v.abs() * (0.25 * gate_off + s * 2_f64.powi(-20)))
                    }
                    "add" => {
                        let old = f64::from(self.old[row * self.stride(mode) + column]);
                        let sum = old + f64::from(FACTOR) * v;
                        (sum, f64::from(FACTOR) * off + sum.abs() * 2_f64.powi(-24))
                    }
                    _ => (v, off),
                };
                expected.push(match mode {
                    "add" | "float" => (v, off),
                    _ => (saturated(v), off + saturated(v).abs() * 2_f64.powi(-11) + 2_f64.powi(-25)),
                });
            }
        }
        expected
    }

    /// The layer's weights with other rows as input.
    fn with_rows(&self, rows: &[usize]) -> Layer {
        let part = |row: &usize| &self.x[row * self.depth..][..self.depth];
        let stride = self.stride("add");
        Layer {
            rows: rows.len(),
            x: rows.iter().flat_map(part).copied().collect(),
            old: rows.iter().flat_map(|row| &self.old[row * stride..][..stride]).copied().collect(),
            ..self.clone()
        }
    }

    /// Runs one kernel; the whole of `y`, as f32.
    fn run(&self, card: &mut Card<'_>, mode: &str, variant: (&str, usize, usize, usize)) -> Vec<f32> {
        let (suffix, rows, outputs, threads) = variant;
        let count = self.rows * self.stride(mode);
        let float = matches!(mode, "add" | "float");
        let y = match mode {
            "add" => card.put(&self.old),
            "float" => card.put(&vec![UNTOUCHED; count]),
            _ => card.put(&vec![f16::from_f32(UNTOUCHED); count]),
        };
        let bias = if mode == "prompt" { &self.table } else { &self.bias };
        let (x, w, bias) = (card.put(&self.x), card.put(&self.w), card.put(bias));
        let sizes = [self.rows, self.outputs, self.depth, self.stride(mode)].map(Arg::from);
        let mut args = vec![x.into(), w.into(), bias.into(), y.into()];
        args.extend(sizes);
        match mode {
            "add" => args.push(FACTOR.into()),
            "prompt" => {
                let row = |stream| Row {
                    prompt: Self::prompt(stream) as i32,
                    ..Row::default()
                };
                let streams: Vec<Row> = (0..self.rows.div_ceil(FRAMES)).map(row).collect();
                args.extend([card.put_rows(&streams).into(), FRAMES.into()]);
            }
            _ => {}
        }
        let grid = [self.rows.div_ceil(rows), self.outputs.div_ceil(outputs), 1];
        card.launch(&format!("linear_{mode}_{suffix}"), grid, [threads, 1], 0, &args);
        if float {
            card.get(y)
        } else {
            card.get::<f16>(y).into_iter().map(f16::to_f32).collect()
        }
    }
}

fn check(layer: &Layer, modes: &[&str]) {
    let products = layer.products();
    let possible = modes.iter().filter(|mode| **mode != "gate" || layer.outputs.is_multiple_of(16));
    let expected: Vec<_> = possible.map(|mode| (*mode, layer.expected(mode, &products))).collect();
    each(SOURCE, |card| {
        for &(mode, ref expected) in &expected {
            for variant in VARIANTS {
                let y = layer.run(card, mode, variant);
                let (columns, stride) = (layer.columns(mode), layer.stride(mode));
                for (row, (y, expected)) in y.chunks(stride).zip(expected.chunks(columns)).enumerate() {
                    let name = format!("{mode}_{}, {}x{}x{}, row {row}", variant.0, layer.rows, layer.outputs, layer.depth);
                    for (y, (expected, off)) in y.iter().zip(expected) {
                        close(&name, f64::from(*y), *expected, *off);
                    }
                    let old = &layer.old[if mode == "add" { row * stride..(row + 1) * stride } else { 0..0 }];
                    let beyond = y.iter().enumerate().skip(columns);
                    let untouched = |(c, y): (usize, &f32)| *y == old.get(c).copied().unwrap_or(UNTOUCHED);
                    assert!(beyond.into_iter().all(untouched), "{name}: columns beyond the result were written");
                }
            }
        }
    });
}

#[test]
fn all_modes_and_tiles_match_dot_products() {
    for (rows, outputs, depth) in [
        (1, 48, 40),
        (3, 16, 8),
        (17, 176, 48),
        (4, 35, 56),
        (130, 272, 176),
        (65, 136, 64),
        (2, 1_025, 264),
        (14, 64, 2_816),
    ] {
        check(&Layer::new(rows, outputs, depth, 1.5), &MODES);
    }
}

#[test]
fn wide_layers_match_dot_products() {
    check(&Layer::new(1, 8_192, 40, 1.0), &["store", "gate"]);
    check(&Layer::new(2, 16, 8_192, 1.0), &["add", "gate"]);
}

/// Zeros, results beyond the range of f16 (they saturate), and a row of the greatest values.
#[test]
fn extreme_values_match_dot_products() {
    let mut zeros = Layer::new(5, 48, 40, 1.0);
    zeros.x.fill(f16::ZERO);
    check(&zeros, &MODES);
    let mut large = Layer::new(5, 48, 40, 50.0);
    for (i, x) in large.x.iter_mut().enumerate() {
        *x = match i / 40 {
            0 => f16::MAX,
            1 => f16::MIN,
            2 => f16::from_f32(x.to_f32() * 30_000.0),
            3 => f16::from_bits(1 + i as u16 % 8),
            _ => *x,
        };
    }
    check(&large, &MODES);
}

#[test]
fn a_row_has_the_same_bits_in_every_tile_batch_and_place() {
    for depth in [176, 40] {
        let layer = Layer::new(150, 272, depth, 1.5);
        let some = [149, 64, 0, 63, 15, 16, 130];
        each(SOURCE, |card| {
            for mode in ["float", "gate", "add"] {
                let stride = layer.stride(mode);
                let whole = layer.run(card, mode, VARIANTS[0]);
                let row = |y: &[f32], row: usize| y[row * stride..(row + 1) * stride].iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                for variant in VARIANTS {
                    let name = format!("{mode}_{}", variant.0);
                    let other = layer.run(card, mode, variant);
                    assert!(
                        whole.iter().zip(&other).all(|(a, b)| a.to_bits() == b.to_bits()),
                        "{name}: all rows"
                    );
                    let few = layer.with_rows(&some).run(card, mode, variant);
                    for (i, r) in some.into_iter().enumerate() {
                        assert_eq!(row(&few, i), row(&whole, r), "{name}: row {r} as row {i} of {}", some.len());
                    }
                    let alone = layer.with_rows(&[77]).run(card, mode, variant);
                    assert_eq!(row(&alone, 0), row(&whole, 77), "{name}: row 77 alone");
                }
            }
        });
    }
}
