//! When an answer that could not be delivered is tried again.
//!
//! What it does: arithmetic on times that it is given. What it does not do: read a clock, wait, deliver. Who calls it: [`super::run()`].

use std::time::{Duration, SystemTime};

/// How often and how far apart deliveries are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// Time from a failed attempt to the next.
    pub interval: Duration,
    /// Attempts after the first.
    pub further: u32,
}

impl Retries {
    /// When the next attempt is due, after so many have failed, the last of them now; none: it is given up.
    pub fn next(&self, failed: u32, now: SystemTime) -> Option<SystemTime> {
        if failed > self.further {
            return None;
        }
        // A time that cannot be told is not waited for.
        Some(now.checked_add(self.interval).unwrap_or(now))
    }

    /// How long to wait for something that is due then. Never longer than the interval: the clock may have been set back since.
    pub fn wait(&self, due: Option<SystemTime>, now: SystemTime) -> Duration {
        let wait = due.map(|due| due.duration_since(now).unwrap_or_default());
        wait.map_or(self.interval, |wait| wait.min(self.interval))
    }

    /// The latest time that anything can be due now: what is said to be due later was written under another clock, and is due at once.
    pub fn horizon(&self, now: SystemTime) -> SystemTime {
        now.checked_add(self.interval).unwrap_or(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRIES: Retries = Retries {
        interval: Duration::from_secs(30),
        further: 10,
    };

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn ten_further_attempts_come_thirty_seconds_apart() {
        let (mut now, mut attempts) = (at(1_000), 1);
        while let Some(due) = RETRIES.next(attempts, now) {
            assert_eq!(due.duration_since(now).ok(), Some(Duration::from_secs(30)));
            (now, attempts) = (due, attempts + 1);
        }
        assert_eq!((now, attempts), (at(1_300), 11));
    }

    #[test]
    fn without_further_attempts_the_first_failure_is_the_end() {
        let once = Retries { further: 0, ..RETRIES };
        assert_eq!(once.next(1, at(5)), None);
    }

    #[test]
    fn nothing_is_waited_for_longer_than_the_interval() {
        let wait = |due| RETRIES.wait(due, at(100)).as_secs();
        assert_eq!(wait(Some(at(110))), 10);
        assert_eq!(wait(Some(at(90))), 0, "overdue");
        assert_eq!(wait(Some(at(5_000))), 30, "the clock was set back");
        assert_eq!(wait(None), 30);
        assert_eq!(RETRIES.horizon(at(100)), at(130));
    }
}
