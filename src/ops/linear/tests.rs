#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic
)]

use super::*;

/// Values that repeat nowhere in step with the shapes.
pub(crate) fn noise(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 8_388_608.0 - 1.0
        })
        .collect()
}

/// The specification: one dot product for each output.
fn reference(x: &[f32], weight: &[f32], bias: Option<&[f32]>, rows: usize, outputs: usize, inputs: usize) -> Vec<f64> {
    let mut y = Vec::new();
    for r in 0..rows {
        for o in 0..outputs {
            let dot: f64 = (0..inputs)
                .map(|k| f64::from(x[r * inputs + k]) * f64::from(weight[o * inputs + k]))
                .sum();
            y.push(dot + bias.map_or(0.0, |b| f64::from(b[o])));
        }
    }
    y
}

fn close(got: &[f32], wanted: &[f64], what: &str) {
    assert_eq!(got.len(), wanted.len());
    for (i, (g, w)) in got.iter().zip(wanted).enumerate() {
        assert!(
            (f64::from(*g) - w).abs() < 2e-5 * (1.0 + w.abs()),
            "{what}: value {i} is {g}, not {w}"
        );
    }
}

#[test]
fn equals_plain_dot_products_for_every_shape_and_level() {
    for level in Level::all() {
        for (inputs, outputs) in [(1, 1), (3, 31), (40, 40), (40, 33), (48, 192), (176, 64), (257, 80), (64, 97)] {
            let (weight, bias) = (noise(inputs * outputs, 1), noise(outputs, 2));
            for rows in [0, 1, 2, 3, 5, 7, 11, 12, 13, 31] {
                let x = noise(rows * inputs, 3);
                for bias in [None, Some(bias.as_slice())] {
                    let layer = Linear::pack(&weight, bias, outputs, inputs, false, level);
                    let wanted = reference(&x, &weight, bias, rows, outputs, inputs);
                    let mut y = vec![7.0; rows * outputs];
                    layer.forward(&x, rows, &mut y);
                    close(&y, &wanted, "store");
                    layer.forward_with(&x, rows, &mut y, Finish::Add(0.5));
                    close(&y, &wanted.iter().map(|w| w * 1.5).collect::<Vec<_>>(), "add");
                    layer.forward_with(&x, rows, &mut y, Finish::Relu);
                    close(&y, &wanted.iter().map(|w| w.max(0.0)).collect::<Vec<_>>(), "relu");
                    layer.forward_with(&x, rows, &mut y, Finish::Silu);
                    close(&y, &wanted.iter().map(|w| w / (1.0 + (-w).exp())).collect::<Vec<_>>(), "silu");
                }
            }
        }
    }
}

#[test]
fn a_gated_layer_multiplies_by_the_sigmoid_of_its_second_half() {
    for level in Level::all() {
        for (inputs, outputs) in [(40, 40), (17, 5), (64, 64), (20, 33)] {
            let (weight, bias, x) = (noise(2 * inputs * outputs, 4), noise(2 * outputs, 5), noise(9 * inputs, 6));
            let both = reference(&x, &weight, Some(&bias), 9, 2 * outputs, inputs);
            let wanted: Vec<f64> = (0..9 * outputs)
                .map(|i| (i / outputs * 2 * outputs + i % outputs, i))
                .map(|(v, _)| both[v] / (1.0 + (-both[v + outputs]).exp()))
                .collect();
            let mut y = vec![0.0; 9 * outputs];
            Linear::pack(&weight, Some(&bias), outputs, inputs, true, level).forward(&x, 9, &mut y);
            close(&y, &wanted, "gated");
        }
    }
}

#[test]
fn a_row_has_the_same_bits_in_any_batch_and_on_any_number_of_threads() {
    let (inputs, outputs) = (176, 528);
    let (weight, x) = (noise(inputs * outputs, 7), noise(64 * inputs, 8));
    for level in Level::all() {
        let layer = Linear::pack(&weight, None, outputs, inputs, false, level);
        let mut alone = vec![0.0; 64 * outputs];
        for r in 0..64 {
            layer.forward_with(
                &x[r * inputs..(r + 1) * inputs],
                1,
                &mut alone[r * outputs..(r + 1) * outputs],
                Finish::Silu,
            );
        }
        for threads in [1, 2, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            for rows in [2, 7, 13, 64] {
                let mut y = vec![0.0; rows * outputs];
                pool.install(|| layer.forward_with(&x, rows, &mut y, Finish::Silu));
                assert!(
                    y.iter().zip(&alone).all(|(a, b)| a.to_bits() == b.to_bits()),
                    "{level:?}, {rows} rows, {threads} threads"
                );
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn the_fused_levels_agree_to_the_bit() {
    let fused: Vec<Level> = Level::all()
        .into_iter()
        .filter(|level| level.kind() != crate::ops::simd::Kind::Portable)
        .collect();
    let (weight, x) = (noise(100 * 70, 9), noise(20 * 70, 10));
    let results: Vec<Vec<u32>> = fused
        .iter()
        .map(|level| {
            let mut y = vec![0.0; 20 * 100];
            Linear::pack(&weight, None, 100, 70, false, *level).forward_with(&x, 20, &mut y, Finish::Silu);
            y.iter().map(|v| v.to_bits()).collect()
        })
        .collect();
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn short_slices_are_not_overrun() {
    let layer = Linear::new(&noise(12, 1), None, 3, 4);
    let mut y = vec![5.0; 7];
    layer.forward(&noise(100, 2), 10, &mut y);
    assert_eq!(y[6], 5.0, "only two whole rows fit");
    Linear::new(&[], None, 0, 4).forward(&[1.0; 4], 1, &mut []);
}
