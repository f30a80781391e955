//! Three passes over the row: greatest, sum of exponentials, subtraction.

use crate::ops::simd::{self, LANES, Lanes};

simd::dispatch!(pub(super) fn log_softmax_at(row: &mut [f32]) = log_softmax);

#[inline(always)]
fn log_softmax<V: Lanes>(row: &mut [f32]) {
    let (full, rest) = row.as_chunks::<LANES>();
    let mut most = V::load_part(rest, f32::MIN);
    for line in full {
        most = most.max(V::load(line));
    }
    let greatest = most.greatest();
    let center = V::splat(greatest);
    // Lanes beyond the row count e^-87, which no sum of at least 1 notices.
    let mut sum = if rest.is_empty() {
        V::splat(0.0)
    } else {
        simd::exp(V::load_part(rest, f32::MIN).sub(center))
    };
    for line in full {
        sum = sum.add(simd::exp(V::load(line).sub(center)));
    }
    let shift = V::splat(sum.sum().ln());
    let (full, rest) = row.as_chunks_mut::<LANES>();
    for line in full {
        V::load(line).sub(center).sub(shift).store(line);
    }
    let last = V::load_part(rest, 0.0).sub(center).sub(shift);
    last.store_part(rest);
}
