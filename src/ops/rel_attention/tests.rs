#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic
)]

use super::*;
use crate::ops::linear::tests::noise;

/// The specification in f64, query by query; `p(r)` is row `farthest - r` of `table`.
fn reference(
    rows: &[f32],
    biases: [&[f32]; 2],
    table: &[f32],
    farthest: i64,
    heads: usize,
    sees: impl Fn(usize, usize) -> bool,
) -> Vec<f64> {
    let width = biases[0].len();
    let (depth, count) = (width / heads, rows.len() / (3 * width));
    let at = |row: usize, part: usize, c: usize| f64::from(rows[row * 3 * width + part * width + c]);
    let mut out = vec![0.0; count * width];
    for i in 0..count {
        for head in 0..heads {
            let keys: Vec<usize> = (0..count).filter(|&j| sees(i, j)).collect();
            let scores: Vec<f64> = keys
                .iter()
                .map(|&j| {
                    let p = (farthest - (i as i64 - j as i64)) as usize;
                    let channels = head * depth..(head + 1) * depth;
                    let sum: f64 = channels
                        .map(|c| {
                            (at(i, 0, c) + f64::from(biases[0][c])) * at(j, 1, c)
                                + (at(i, 0, c) + f64::from(biases[1][c])) * f64::from(table[p * width + c])
                        })
                        .sum();
                    sum / (depth as f64).sqrt()
                })
                .collect();
            let most = scores.iter().fold(f64::MIN, |a, b| a.max(*b));
            let sum: f64 = scores.iter().map(|s| (s - most).exp()).sum();
            for (j, score) in keys.iter().zip(&scores) {
                for c in head * depth..(head + 1) * depth {
                    out[i * width + c] += (score - most).exp() / sum * at(*j, 2, c);
                }
            }
        }
    }
    out
}

/// Visibility as the published formulas state it, for one pair.
fn pair(mask: Mask, i: u64, j: u64) -> bool {
    match mask {
        Mask::Regular { left, right } => left.is_none_or(|l| i <= j + l) && right.is_none_or(|r| j <= i + r),
        Mask::Chunked { size, before } => i / size >= j / size && before.is_none_or(|n| i / size - j / size <= n),
    }
}

const MASKS: [Mask; 6] = [
    Mask::Regular { left: None, right: None },
    Mask::Regular {
        left: Some(20),
        right: Some(3),
    },
    Mask::Regular {
        left: Some(5),
        right: None,
    },
    Mask::Chunked { size: 7, before: Some(3) },
    Mask::Chunked { size: 14, before: None },
    Mask::Chunked { size: 1, before: Some(9) },
];

#[test]
fn ranges_are_the_visible_pairs() {
    for mask in MASKS {
        for end in [0, 1, 30] {
            for i in 0..end {
                let range = mask.visible(i, end);
                for j in 0..end {
                    assert_eq!(range.contains(&j), pair(mask, i, j), "{mask:?} {i} {j}");
                }
            }
        }
    }
}

#[test]
fn equals_the_formula_for_every_mask_shape_and_level() {
    for level in Level::all() {
        for (width, heads) in [(40, 4), (64, 8), (48, 4), (64, 1), (176, 4), (6, 3)] {
            let count = 41;
            let rows = noise(count * 3 * width, 1);
            let (u, v) = (noise(width, 2), noise(width, 3));
            let farthest = count as i64 + 2;
            let table = noise((2 * count + 6) * width, 4);
            let positions = Positions::new(&table, width, heads, farthest);
            let mut attention = RelAttention::new(&u, &v, heads);
            attention.level = level;
            let mut window = KeyValues::new(width, heads, count);
            window.append(&rows);
            for mask in MASKS {
                let mut out = vec![9.0; count * width];
                attention.forward(
                    Queries {
                        rows: &rows,
                        first: 0,
                        window: &window,
                    },
                    &positions,
                    mask,
                    &mut out,
                );
                let wanted = reference(&rows, [&u, &v], &table, farthest, heads, |i, j| pair(mask, i as u64, j as u64));
                for (i, (out, wanted)) in out.iter().zip(&wanted).enumerate() {
                    assert!(
                        (f64::from(*out) - wanted).abs() < 1e-5,
                        "{level:?} {width}/{heads} {mask:?} {i}: {out} not {wanted}"
                    );
                }
            }
        }
    }
}

/// A small ring that turns over many times gives what a window holding everything gives; one row alone gives the bits of
/// the row in a group.
#[test]
fn a_ring_and_any_grouping_give_the_same_bits() {
    let (width, heads, count, size) = (40, 4, 200, 7);
    let mask = Mask::Chunked { size, before: Some(3) };
    let rows = noise(count * 3 * width, 5);
    let positions = Positions::new(&noise(60 * width, 6), width, heads, 40);
    let attention = RelAttention::new(&noise(width, 7), &noise(width, 8), heads);
    let mut all = KeyValues::new(width, heads, count);
    all.append(&rows);
    let mut whole = vec![0.0; count * width];
    attention.forward(
        Queries {
            rows: &rows,
            first: 0,
            window: &all,
        },
        &positions,
        mask,
        &mut whole,
    );
    let mut ring = KeyValues::new(width, heads, 4 * size as usize);
    let mut first = 0;
    for chunk in rows.chunks(size as usize * 3 * width) {
        ring.append(chunk);
        for (row, query) in chunk.chunks(3 * width).enumerate() {
            let mut out = vec![0.0; width];
            attention.forward(
                Queries {
                    rows: query,
                    first: first + row as u64,
                    window: &ring,
                },
                &positions,
                mask,
                &mut out,
            );
            let at = (first as usize + row) * width;
            assert!(
                out.iter().zip(&whole[at..]).all(|(a, b)| a.to_bits() == b.to_bits()),
                "row {}",
                at / width
            );
        }
        first += (chunk.len() / (3 * width)) as u64;
    }
    assert_eq!(ring.end(), count as u64);
}

#[test]
fn what_is_missing_gives_zeros() {
    let (width, heads) = (16, 2);
    let rows = noise(40 * 3 * width, 1);
    let attention = RelAttention::new(&noise(width, 2), &noise(width, 3), heads);
    let mut window = KeyValues::new(width, heads, 16);
    window.append(&rows);
    let positions = Positions::new(&noise(200 * width, 4), width, heads, 100);
    let everything = Mask::Regular { left: None, right: None };
    let mut out = vec![1.0; width];
    let query = &rows[39 * 3 * width..];
    attention.forward(
        Queries {
            rows: query,
            first: 39,
            window: &window,
        },
        &positions,
        everything,
        &mut out,
    );
    assert_eq!(out, vec![0.0; width], "the ring has lost the first frames");
    let narrow = Mask::Regular {
        left: Some(5),
        right: Some(0),
    };
    attention.forward(
        Queries {
            rows: query,
            first: 39,
            window: &window,
        },
        &positions,
        narrow,
        &mut out,
    );
    assert_ne!(out, vec![0.0; width]);
    let few = Positions::new(&noise(3 * width, 4), width, heads, 2);
    attention.forward(
        Queries {
            rows: query,
            first: 39,
            window: &window,
        },
        &few,
        narrow,
        &mut out,
    );
    assert_eq!(out, vec![0.0; width], "the table does not reach that far");
}
