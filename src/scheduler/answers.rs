//! How many live chunks were answered lately, and how many of them slower than admission aims at. Pure.
//!
//! A prediction can be wrong; answers are not. Who calls it: [`super::admission`].

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Width of a slice, and how many are kept.
const SLICE: Duration = Duration::from_secs(1);
const SLICES: usize = 16;
/// The worst slices that do not count: a hiccup of the machine, which may lie across two, is no rule, and a hundredth of the answers that
/// are kept are those of a sixth of a second.
const HICCUP: usize = 2;
/// Answers that say something.
const JUDGED: u64 = 200;
/// Of so many answers one may be slow. Fewer results are late than answers slow, since a result may end anywhere in its chunk: at twice the load
/// one answer in a hundred was slow and one result in five thousand late (benches/results/2026-11-28-xeon-2c/second-twice.txt), and with a p99 of
/// 164 ms 1.3 in a thousand (twice.txt there); of a thousand one may be, up to the capacity.
const SLOW_OF: u64 = 40;

/// Least part of the streams that is enough, however many answers are slow: those that stay tell whether it was.
const LEAST: f64 = 0.9;

/// Answers of about a second.
#[derive(Debug)]
struct Slice {
    began: Instant,
    all: u64,
    slow: u64,
    /// Sum of the live streams in service at the slow ones.
    among: u64,
}

/// Answers of the last [`SLICES`] seconds.
#[derive(Debug, Default)]
pub struct Answers {
    slices: VecDeque<Slice>,
}

impl Answers {
    /// A chunk was answered at `now`, among `live` streams, slower than the target or not.
    pub fn record(&mut self, slow: bool, live: usize, now: Instant) {
        if self
            .slices
            .back()
            .is_none_or(|slice| now.saturating_duration_since(slice.began) >= SLICE)
        {
            self.forget(now);
            self.slices.push_back(Slice {
                began: now,
                all: 0,
                slow: 0,
                among: 0,
            });
        }
        if let Some(slice) = self.slices.back_mut() {
            slice.all += 1;
            slice.slow += u64::from(slow);
            slice.among += if slow { u64::try_from(live).unwrap_or(u64::MAX) } else { 0 };
        }
    }

    /// The number of live streams that is enough, if more than one of forty answers was slow lately, the worst [`HICCUP`] seconds left
    /// out: the mean among which the slow ones were, so that quick answers among fewer streams do not excuse more, less the share of slow
    /// answers beyond that one, a tenth at most. One stream is never too many: where nobody is served, nothing would tell that it has become
    /// better.
    pub fn too_many(&mut self, now: Instant) -> Option<f64> {
        self.forget(now);
        let mut slices: Vec<&Slice> = self.slices.iter().collect();
        slices.sort_by_key(|slice| Reverse(slice.slow));
        let sum = |of: fn(&Slice) -> u64| slices.iter().skip(HICCUP).map(|slice| of(slice)).sum::<u64>();
        let (all, slow) = (sum(|slice| slice.all), sum(|slice| slice.slow));
        let among = || ratio(sum(|slice| slice.among), slow);
        let beyond = || ratio(slow * SLOW_OF - all, all * SLOW_OF);
        (all >= JUDGED && slow * SLOW_OF > all).then(|| (among() * (1.0 - beyond()).max(LEAST)).max(1.0))
    }

    fn forget(&mut self, now: Instant) {
        let kept = SLICE * u32::try_from(SLICES).unwrap_or(1);
        let old = |slice: &mut Slice| now.saturating_duration_since(slice.began) >= kept;
        while self.slices.pop_front_if(old).is_some() {}
    }
}

#[expect(clippy::as_conversions, reason = "counts of a few seconds are far below 2^52")]
fn ratio(part: u64, all: u64) -> f64 {
    part as f64 / all as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each of so many seconds from `from` on has `many` answers, `slow` of them slow.
    fn record(answers: &mut Answers, seconds: u64, many: u64, slow: u64, live: usize, from: Instant) {
        for second in 0..seconds {
            (0..many).for_each(|n| answers.record(n < slow, live, from + Duration::from_secs(second)));
        }
    }

    #[test]
    fn more_than_one_slow_answer_of_forty_says_that_there_were_too_many_streams() {
        let (mut answers, now) = (Answers::default(), Instant::now());
        record(&mut answers, 10, 100, 2, 50, now);
        assert_eq!(answers.too_many(now + Duration::from_secs(9)), None);
        record(&mut answers, 6, 100, 4, 50, now + Duration::from_secs(10));
        let enough = answers.too_many(now + Duration::from_secs(15));
        assert!(enough.is_some_and(|enough| enough > 49.9 && enough < 50.0), "{enough:?}");
    }

    #[test]
    fn the_more_answers_are_slow_the_fewer_streams_are_enough() {
        for (slow, expected) in [(6, 270.2), (50, 252.0)] {
            let (mut answers, now) = (Answers::default(), Instant::now());
            record(&mut answers, 8, 100, slow, 280, now);
            let enough = answers.too_many(now + Duration::from_secs(7));
            assert!(enough.is_some_and(|enough| (enough - expected).abs() < 1e-9), "{enough:?}");
        }
    }

    #[test]
    fn a_hiccup_says_nothing_and_an_engine_that_stays_slow_is_known_in_seconds() {
        let (mut answers, now) = (Answers::default(), Instant::now());
        record(&mut answers, 12, 300, 0, 100, now);
        record(&mut answers, 2, 300, 60, 100, now + Duration::from_secs(12));
        assert_eq!(answers.too_many(now + Duration::from_secs(13)), None);
        record(&mut answers, 2, 300, 60, 100, now + Duration::from_secs(14));
        assert!(answers.too_many(now + Duration::from_secs(15)).is_some());
    }

    #[test]
    fn one_stream_is_never_too_many() {
        let (mut answers, now) = (Answers::default(), Instant::now());
        record(&mut answers, 8, 100, 100, 1, now);
        assert_eq!(answers.too_many(now + Duration::from_secs(7)), Some(1.0));
    }

    #[test]
    fn what_was_slow_among_many_does_not_count_against_few() {
        let (mut answers, now) = (Answers::default(), Instant::now());
        record(&mut answers, 4, 55, 55, 260, now);
        let later = now + Duration::from_secs(4);
        record(&mut answers, 4, 200, 0, 100, later);
        let enough = answers.too_many(later + Duration::from_secs(3));
        assert!(enough.is_some_and(|enough| (enough - 235.07).abs() < 0.01), "{enough:?}");
    }

    #[test]
    fn few_and_old_answers_say_nothing() {
        let (mut answers, now) = (Answers::default(), Instant::now());
        record(&mut answers, 3, 199, 199, 9, now);
        assert_eq!(answers.too_many(now + Duration::from_secs(2)), None);
        record(&mut answers, 1, 199, 199, 9, now + Duration::from_secs(3));
        assert!(answers.too_many(now + Duration::from_secs(15)).is_some());
        assert_eq!(answers.too_many(now + Duration::from_secs(17)), None);
    }
}
