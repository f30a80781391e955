//! Which number of streams is tried next: twice the last until one does not hold, then the middle of the gap. Pure.
//!
//! Counts; runs no trial, and does not judge one. Called by `capacity`.

use super::Rule;

/// The search itself. Pure.
#[derive(Debug, Clone, Copy)]
pub(super) struct Search {
    first: u32,
    most: u32,
    resolution: f64,
    /// The largest number that held; 0 if none did yet.
    pub(super) held: u32,
    /// The smallest that did not.
    pub(super) broken: Option<u32>,
    /// What broke the rule in the last trial, and is to be tried once more.
    doubted: Option<u32>,
}

impl Search {
    pub(super) fn new(rule: &Rule) -> Self {
        Self {
            first: rule.first,
            most: rule.most,
            resolution: rule.resolution,
            held: 0,
            broken: None,
            doubted: None,
        }
    }

    /// The number of streams to try next; `None` at the end.
    pub(super) fn next(&self) -> Option<u32> {
        if self.doubted.is_some() {
            return self.doubted;
        }
        let Some(broken) = self.broken else {
            return match self.held {
                0 => Some(self.first),
                held if held >= self.most => None,
                held => Some(held.saturating_mul(2).min(self.most)),
            };
        };
        let gap = broken.saturating_sub(self.held);
        let near = f64::from(gap) <= f64::from(self.held) * self.resolution;
        (gap > 1 && !near).then(|| self.held.saturating_add(gap / 2))
    }

    /// A trial with `streams` is over.
    pub(super) fn tried(&mut self, streams: u32, holds: bool) {
        let again = self.doubted.take() == Some(streams);
        if holds {
            self.held = self.held.max(streams);
        } else if !again {
            self.doubted = Some(streams);
        } else {
            self.broken = Some(self.broken.map_or(streams, |broken| broken.min(streams)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(first: u32, most: u32, resolution: f64) -> Rule {
        Rule {
            duration_s: 1.0,
            late_share: 0.001,
            resolution,
            first,
            most,
            at_least: None,
        }
    }

    /// The numbers tried and the one found, if every trial is right.
    fn trials(limit: u32, first: u32, most: u32, resolution: f64) -> (Vec<u32>, u32) {
        let mut search = Search::new(&rule(first, most, resolution));
        let mut tried = Vec::new();
        while let Some(streams) = search.next() {
            tried.push(streams);
            search.tried(streams, streams <= limit);
        }
        (tried, search.held)
    }

    #[test]
    fn doubles_then_halves_the_gap_and_tries_what_broke_once_more() {
        assert_eq!(trials(21, 1, 1000, 0.0), (vec![1, 2, 4, 8, 16, 32, 32, 24, 24, 20, 22, 22, 21], 21));
        assert_eq!(trials(21, 1, 1000, 0.25), (vec![1, 2, 4, 8, 16, 32, 32, 24, 24, 20], 20));
        assert_eq!(trials(3, 8, 1000, 0.05), (vec![8, 8, 4, 4, 2, 3], 3));
        assert_eq!(trials(0, 8, 1000, 0.05), (vec![8, 8, 4, 4, 2, 2, 1, 1], 0));
        assert_eq!(trials(u32::MAX, 5, 17, 0.05), (vec![5, 10, 17], 17));
    }

    #[test]
    fn a_single_hiccup_is_not_the_limit() {
        let mut search = Search::new(&rule(10, 1000, 0.0));
        for holds in [true, false, true, false, false] {
            let streams = search.next().unwrap_or_default();
            search.tried(streams, holds);
        }
        // 10, 20 in the second trial, 40 in neither.
        assert_eq!((search.held, search.broken, search.next()), (20, Some(40), Some(30)));
    }

    #[test]
    fn every_limit_is_found_within_the_resolution() {
        for limit in 1..300 {
            let (tried, held) = trials(limit, 1, 20_000, 0.05);
            assert!(held <= limit && f64::from(limit) < f64::from(held) * 1.05 + 1.0, "{limit}: {held}");
            assert!(tried.len() <= 28, "{limit}: {tried:?}");
        }
    }
}
