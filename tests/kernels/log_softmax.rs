//! Log-probabilities against float64, and the best column.

use crate::support::{Arg, Noise, close, each};

#[test]
fn rows_match_float64() {
    for (columns, ld) in [(1, 8), (2, 8), (31, 32), (128, 128), (129, 136), (1_025, 1_032), (8_193, 8_200)] {
        let mut noise = Noise::new(columns as u64);
        // Ordinary scores, all equal, ties of the greatest, a huge one and a hopeless one among many, sharp ones.
        let mut rows: Vec<Vec<f32>> = vec![
            (0..columns).map(|_| noise.next() * 6.0).collect(),
            vec![-3.5; columns],
            (0..columns)
                .map(|c| if c % 50 == 30 || c % 77 == 76 { 4.0 } else { noise.next() })
                .collect(),
            (0..columns).map(|c| if c == columns / 2 { 1e30 } else { noise.next() }).collect(),
            (0..columns).map(|c| if c == columns / 3 { -1e38 } else { noise.next() }).collect(),
            (0..columns).map(|_| noise.next() * 100.0).collect(),
        ];
        let count = rows.len();
        for row in &mut rows {
            row.resize(ld, 1e35); // what lies beyond the columns must not count
        }
        let logits = rows.concat();
        each("log_softmax.cu", |card| {
            for place in ["elsewhere", "in place", "nowhere"] {
                let x = card.put(&logits);
                let y = match place {
                    "elsewhere" => card.room::<f32>(count * ld),
                    "in place" => x,
                    _ => 0,
                };
                let (best, best_prob) = (card.room::<i32>(count), card.room::<f32>(count));
                let args: [Arg; 7] = [
                    x.into(),
                    y.into(),
                    best.into(),
                    best_prob.into(),
                    count.into(),
                    columns.into(),
                    ld.into(),
                ];
                card.launch("log_softmax", [count, 1, 1], [128, 1], 0, &args);
                let (best, best_prob): (Vec<i32>, Vec<f32>) = (card.get(best), card.get(best_prob));
                for (r, row) in rows.iter().enumerate() {
                    let row = &row[..columns];
                    let most = row.iter().copied().fold(f32::MIN, f32::max);
                    let sum: f64 = row.iter().map(|v| (f64::from(*v) - f64::from(most)).exp()).sum();
                    let name = format!("row {r} of {columns} columns {place}");
                    assert_eq!(best[r] as usize, row.iter().position(|v| *v == most).unwrap(), "{name}");
                    // exp2.approx and the product before it are off by 2^-21 each; the rest of the sum is less.
                    close(&name, f64::from(best_prob[r]), 1.0 / sum, 1e-6 / sum);
                    if y != 0 {
                        let found: Vec<f32> = card.get_part(y, r * ld, columns);
                        for (c, (found, value)) in found.iter().zip(row).enumerate() {
                            let expected = f64::from(*value) - f64::from(most) - sum.ln();
                            close(
                                &format!("{name}, column {c}"),
                                f64::from(*found),
                                expected,
                                2e-6 + 2_f64.powi(-22) * expected.abs(),
                            );
                        }
                    }
                }
            }
        });
    }
}

#[test]
fn a_row_alone_has_the_bits_of_a_batch() {
    let columns = 1_025;
    let mut noise = Noise::new(3);
    let logits: Vec<f32> = (0..5 * columns).map(|_| noise.next() * 8.0).collect();
    each("log_softmax.cu", |card| {
        let mut run = |logits: &[f32]| {
            let count = logits.len() / columns;
            let (x, best, best_prob) = (card.put(logits), card.room::<i32>(count), card.room::<f32>(count));
            let args: [Arg; 7] = [
                x.into(),
                x.into(),
                best.into(),
                best_prob.into(),
                count.into(),
                columns.into(),
                columns.into(),
            ];
            card.launch("log_softmax", [count, 1, 1], [128, 1], 0, &args);
            let bits = |place: u64| card.get::<f32>(place).iter().map(|v| v.to_bits()).collect::<Vec<u32>>();
            (bits(x), bits(best_prob))
        };
        let (all, all_best) = run(&logits);
        for r in 0..5 {
            let (one, one_best) = run(&logits[r * columns..][..columns]);
            assert_eq!(one, all[r * columns..][..columns], "row {r}");
            assert_eq!(one_best[0], all_best[r], "row {r}");
        }
    });
}
