#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic
)]

use super::*;
use crate::ops::linear::tests::noise;

struct Tensors {
    first: [Vec<f32>; 2],
    depthwise: [[Vec<f32>; 2]; 2],
    pointwise: [[Vec<f32>; 2]; 2],
}

fn tensors(c: usize) -> Tensors {
    let pair = |count: usize, seed: u32| [noise(count, seed), noise(c, seed + 1)];
    Tensors {
        first: pair(9 * c, 1),
        depthwise: [pair(9 * c, 3), pair(9 * c, 5)],
        pointwise: [pair(c * c, 7), pair(c * c, 9)],
    }
}

fn pair(tensors: &[Vec<f32>; 2]) -> (&[f32], &[f32]) {
    (&tensors[0], &tensors[1])
}

fn build(t: &Tensors, c: usize, bins: usize, causal: bool) -> Subsample {
    let kernels = Kernels {
        first: pair(&t.first),
        depthwise: [pair(&t.depthwise[0]), pair(&t.depthwise[1])],
        pointwise: [pair(&t.pointwise[0]), pair(&t.pointwise[1])],
    };
    Subsample::new(kernels, c, bins, causal)
}

/// The specification: three whole-image convolutions `[channel][time][frequency]` with zero padding, in f64.
fn reference(t: &Tensors, c: usize, mel: &[f32], bins: usize, causal: bool) -> (Vec<f64>, usize) {
    let low = if causal { 2i64 } else { 1 };
    let mut frames = mel.len() / bins;
    let mut width = bins;
    let mut image: Vec<Vec<f64>> = vec![mel.iter().map(|v| f64::from(*v)).collect()];
    for layer in 0..3 {
        let half = |n: usize| if causal { n / 2 + 1 } else { n.div_ceil(2) };
        let (rows, columns) = (half(frames), half(width));
        let [weight, bias] = if layer == 0 { &t.first } else { &t.depthwise[layer - 1] };
        let strided: Vec<Vec<f64>> = (0..c)
            .map(|o| {
                let source = &image[if layer == 0 { 0 } else { o }];
                let mut out = Vec::new();
                for r in 0..rows as i64 {
                    for f in 0..columns as i64 {
                        let mut sum = f64::from(bias[o]);
                        for k in 0..9i64 {
                            let (y, x) = (2 * r + k / 3 - low, 2 * f + k % 3 - low);
                            if (0..frames as i64).contains(&y) && (0..width as i64).contains(&x) {
                                sum += source[y as usize * width + x as usize] * f64::from(weight[o * 9 + k as usize]);
                            }
                        }
                        out.push(sum);
                    }
                }
                out
            })
            .collect();
        image = if layer == 0 {
            strided
        } else {
            let [weight, bias] = &t.pointwise[layer - 1];
            let mix = |o: usize, i: usize| (0..c).map(|k| strided[k][i] * f64::from(weight[o * c + k])).sum::<f64>() + f64::from(bias[o]);
            (0..c).map(|o| (0..rows * columns).map(|i| mix(o, i)).collect()).collect()
        };
        image.iter_mut().flatten().for_each(|v| *v = v.max(0.0));
        (frames, width) = (rows, columns);
    }
    // Channel-major rows, one for each frame.
    let flat = (0..frames)
        .flat_map(|r| image.iter().flat_map(move |channel| channel[r * width..(r + 1) * width].to_vec()))
        .collect();
    (flat, frames)
}

#[test]
fn equals_whole_image_convolutions() {
    for (c, bins, causal) in [
        (5, 80, true),
        (5, 80, false),
        (16, 128, true),
        (24, 128, false),
        (3, 13, true),
        (3, 13, false),
    ] {
        let t = tensors(c);
        let op = build(&t, c, bins, causal);
        let [_, _, last] = frequencies(bins, causal);
        // A projection that picks single values shows the order of the flattened row as well.
        let outputs = c * last;
        let mut pick = vec![0.0; outputs * outputs];
        (0..outputs).for_each(|i| pick[i * outputs + i] = 1.0);
        let projection = Linear::new(&flat_weight(&pick, outputs, c, last), None, outputs, op.row());
        for count in [1, 2, 3, 8, 9, 10, 16, 17, 24, 31] {
            let mel = noise(count * bins, 20);
            let (wanted, rows) = reference(&t, c, &mel, bins, causal);
            let mut flat = Vec::new();
            op.push(&mut op.state(), &mel, true, &mut flat);
            assert_eq!(flat.len() / op.row(), rows, "{count} frames");
            assert_eq!(frames(count as u64, causal), rows as u64);
            let mut got = vec![0.0; rows * outputs];
            projection.forward(&flat, rows, &mut got);
            for (g, w) in got.iter().zip(&wanted) {
                assert!(
                    (f64::from(*g) - w).abs() < 2e-4 * (1.0 + w.abs()),
                    "C {c}, {bins} bins, causal {causal}, {count} frames: {g} not {w}"
                );
            }
        }
    }
}

#[test]
fn pieces_give_the_bits_of_the_whole_and_reset_starts_over() {
    for causal in [true, false] {
        let op = build(&tensors(16), 16, 80, causal);
        let mel = noise(61 * 80, 30);
        let mut whole = Vec::new();
        op.push(&mut op.state(), &mel, true, &mut whole);
        let mut state = op.state();
        for _ in 0..2 {
            state.reset();
            let (mut got, mut at) = (Vec::new(), 0);
            for piece in [1, 8, 3, 0, 24, 7, 16, 2] {
                op.push(&mut state, &mel[at * 80..(at + piece) * 80], false, &mut got);
                at += piece;
                if causal {
                    assert_eq!(
                        got.len() / op.row(),
                        if at == 0 { 0 } else { (at - 1) / 8 + 1 },
                        "a frame comes with every eighth"
                    );
                }
            }
            op.push(&mut state, &mel[at * 80..], true, &mut got);
            assert!(got.len() == whole.len() && got.iter().zip(&whole).all(|(a, b)| a.to_bits() == b.to_bits()));
        }
    }
}

#[test]
fn nothing_in_gives_nothing_out() {
    let op = build(&tensors(4), 4, 80, true);
    let mut out = Vec::new();
    op.push(&mut op.state(), &[], true, &mut out);
    assert!(out.is_empty());
    assert_eq!(frames(0, true), 0);
}
