//! How long a step takes, by context and number of chunks: measured at warm-up, then tracked.
//!
//! Pure: durations go in, predictions come out. The scheduler asks it before it lets recorded files onto the engine
//! and when it estimates how many live streams fit.

use std::time::Duration;

/// Batch sizes at which a cost is kept; sizes between are interpolated, larger ones scale with the last.
pub const BUCKETS: [usize; 13] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 2_048, 4_096];

/// Weight of a new measurement in the running mean.
const TRACKING: f64 = 0.1;

/// Seconds per step for each context and each size in [`BUCKETS`].
#[derive(Clone, Debug, PartialEq)]
pub struct CostTable {
    seconds: Vec<[f64; BUCKETS.len()]>,
}

impl CostTable {
    /// A table in which every step of every context is thought to take `per_chunk` for each chunk.
    pub fn linear(contexts: usize, per_chunk: Duration) -> Self {
        let row = BUCKETS.map(|size| per_chunk.as_secs_f64() * float(size));
        Self {
            seconds: vec![row; contexts],
        }
    }

    /// Takes a measured step into account. A size between two buckets counts for the nearest one below.
    pub fn observe(&mut self, context: usize, chunks: usize, took: Duration) {
        let bucket = BUCKETS.iter().rposition(|&size| size <= chunks).unwrap_or(0);
        let size = BUCKETS.get(bucket).copied().unwrap_or(1);
        let scaled = took.as_secs_f64() * float(size) / float(chunks.max(1));
        if let Some(cell) = self.seconds.get_mut(context).and_then(|row| row.get_mut(bucket)) {
            *cell += TRACKING * (scaled - *cell);
        }
    }

    /// Sets a cost outright, as warm-up does.
    pub fn set(&mut self, context: usize, bucket: usize, took: Duration) {
        if let Some(cell) = self.seconds.get_mut(context).and_then(|row| row.get_mut(bucket)) {
            *cell = took.as_secs_f64();
        }
    }

    /// Predicted time of a step with `chunks` chunks; zero for an unknown context or an empty step.
    pub fn predict(&self, context: usize, chunks: usize) -> Duration {
        let Some(row) = self.seconds.get(context) else {
            return Duration::ZERO;
        };
        if chunks == 0 {
            return Duration::ZERO;
        }
        let mut below = (BUCKETS[0], row[0]);
        for (&size, &cost) in BUCKETS.iter().zip(row) {
            if chunks == size {
                return Duration::from_secs_f64(cost);
            }
            if chunks < size {
                let part = float(chunks - below.0) / float(size - below.0);
                return Duration::from_secs_f64(below.1 + part * (cost - below.1).max(0.0));
            }
            below = (size, cost);
        }
        Duration::from_secs_f64(below.1 * float(chunks) / float(below.0))
    }

    /// Most chunks whose step is predicted to take at most `limit`; at least one, at most `most`.
    pub fn chunks_within(&self, context: usize, limit: Duration, most: usize) -> usize {
        (1..=most.max(1))
            .take_while(|&n| n == 1 || self.predict(context, n) <= limit)
            .last()
            .unwrap_or(1)
    }

    /// How many live streams the engine can hold when each brings one chunk per `period` and at most `max_batch` go
    /// into a step, with a fifth of the time kept free.
    pub fn stream_capacity(&self, context: usize, period: Duration, max_batch: usize) -> usize {
        let usable = period.as_secs_f64() * 0.8;
        let full = self.predict(context, max_batch).as_secs_f64();
        if full <= 0.0 {
            return usize::MAX;
        }
        if full <= usable {
            return whole(usable / full * float(max_batch));
        }
        self.chunks_within(context, Duration::from_secs_f64(usable), max_batch)
    }
}

#[expect(clippy::as_conversions, reason = "batch sizes are far below 2^52")]
fn float(n: usize) -> f64 {
    n as f64
}

#[expect(
    clippy::as_conversions,
    reason = "saturating conversion of a non-negative number is what is wanted"
)]
fn whole(x: f64) -> usize {
    x as usize
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn sizes_between_buckets_are_interpolated_and_larger_ones_scale() {
        let mut table = CostTable::linear(1, ms(1));
        table.set(0, 1, ms(10));
        table.set(0, 2, ms(20));
        assert_eq!(table.predict(0, 2), ms(10));
        assert_eq!(table.predict(0, 3), ms(15));
        assert_eq!(table.predict(0, 128), ms(128));
        assert_eq!(table.predict(0, 0), Duration::ZERO);
        assert_eq!(table.predict(9, 1), Duration::ZERO);
    }

    #[test]
    fn observations_pull_the_prediction_towards_what_was_seen() {
        let mut table = CostTable::linear(1, ms(1));
        for _ in 0..100 {
            table.observe(0, 8, ms(40));
        }
        assert!((table.predict(0, 8).as_secs_f64() - 0.040).abs() < 0.001);
        assert_eq!(table.predict(0, 4), ms(4));
    }

    #[test]
    fn a_step_is_cut_to_the_time_there_is() {
        let table = CostTable::linear(1, ms(10));
        assert_eq!(table.chunks_within(0, ms(45), 64), 4);
        assert_eq!(table.chunks_within(0, ms(1), 64), 1);
        assert_eq!(table.chunks_within(0, ms(10_000), 8), 8);
    }

    #[test]
    fn capacity_keeps_a_fifth_of_the_time_free() {
        let table = CostTable::linear(1, ms(1));
        assert_eq!(table.stream_capacity(0, ms(500), 64), 400);
        assert_eq!(table.stream_capacity(0, ms(50), 64), 40);
    }
}
