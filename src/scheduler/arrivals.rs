//! When live chunks arrived lately. Pure.
//!
//! Callers do not speak at random: clients started together send together, and go on doing so for as long as they last. What admission
//! must know is how crowded the arrivals are, so they are counted in slices over the last seconds. Who calls it: [`super::core`].

use std::time::{Duration, Instant};

/// Width of a slice.
pub const SLICE: Duration = Duration::from_millis(10);
/// Slices that are kept: several chunks of every stream.
pub const SLICES: usize = 400;

/// Arrivals of one context by slice.
#[derive(Clone, Debug)]
pub struct Arrivals {
    origin: Instant,
    /// Number of the latest slice since `origin`.
    latest: u64,
    /// By slice number modulo [`SLICES`].
    counts: Vec<u32>,
}

impl Arrivals {
    /// Nothing has arrived before `now`.
    pub fn new(now: Instant) -> Self {
        Self {
            origin: now,
            latest: 0,
            counts: vec![0; SLICES],
        }
    }

    /// A chunk arrived at `at`. One that is older than what is kept is not counted.
    pub fn record(&mut self, at: Instant) {
        let slice = self.number(at);
        self.advance(slice);
        if self.latest.saturating_sub(slice) < SLICES.try_into().unwrap_or(u64::MAX)
            && let Some(count) = self.counts.get_mut(index(slice))
        {
            *count = count.saturating_add(1);
        }
    }

    /// Arrivals in each of the [`SLICES`] slices before the one that holds `now`, oldest first.
    pub fn slices(&mut self, now: Instant) -> Vec<u32> {
        let present = self.number(now);
        self.advance(present);
        let kept = u64::try_from(SLICES).unwrap_or(u64::MAX);
        (0..kept)
            .map(|n| {
                // Slice numbers wrap around in the ring, so that the oldest one stands right behind the latest.
                let slice = self.latest + 1 + n;
                self.counts.get(index(slice)).copied().unwrap_or(0)
            })
            .collect()
    }

    fn number(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.origin);
        u64::try_from(since.as_micros() / SLICE.as_micros()).unwrap_or(u64::MAX)
    }

    /// Forgets the slices that `slice` takes the place of.
    fn advance(&mut self, slice: u64) {
        if slice <= self.latest {
            return;
        }
        if slice - self.latest >= SLICES.try_into().unwrap_or(u64::MAX) {
            self.counts.fill(0);
        } else {
            for number in self.latest + 1..=slice {
                if let Some(count) = self.counts.get_mut(index(number)) {
                    *count = 0;
                }
            }
        }
        self.latest = slice;
    }
}

fn index(slice: u64) -> usize {
    usize::try_from(slice % u64::try_from(SLICES).unwrap_or(1)).unwrap_or(0)
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_are_counted_where_they_were_and_forgotten_in_time() {
        let now = Instant::now();
        let mut arrivals = Arrivals::new(now);
        for at in [0, 3, 12, 12, 25] {
            arrivals.record(now + Duration::from_millis(at));
        }
        let slices = arrivals.slices(now + Duration::from_millis(39));
        assert_eq!(slices.len(), SLICES);
        assert_eq!(slices[SLICES - 4..], [2, 2, 1, 0]);
        assert_eq!(slices.iter().sum::<u32>(), 5);
        let later = arrivals.slices(now + SLICE * 401 + Duration::from_millis(5));
        assert_eq!(later.iter().sum::<u32>(), 1, "the two oldest slices are gone");
        assert_eq!(later[0], 1);
        assert_eq!(arrivals.slices(now + SLICE * 2_000).iter().sum::<u32>(), 0);
    }

    #[test]
    fn arrivals_out_of_order_count_where_they_belong_unless_too_old() {
        let now = Instant::now();
        let mut arrivals = Arrivals::new(now);
        arrivals.record(now + SLICE * 500);
        arrivals.record(now + SLICE * 499);
        arrivals.record(now + SLICE * 50);
        let slices = arrivals.slices(now + SLICE * 500);
        assert_eq!(slices.iter().sum::<u32>(), 2);
        assert_eq!(slices[SLICES - 2..], [1, 1]);
    }
}
