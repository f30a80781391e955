//! How well recent requests went, for the status page. Pure but for the lock.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::wire::status::Health as State;

/// Requests that are looked back at.
const REQUESTS: usize = 100;
/// How far back.
const WINDOW: Duration = Duration::from_secs(600);

/// Outcomes of recent requests.
#[derive(Debug, Default)]
pub struct Health {
    outcomes: Mutex<Outcomes>,
}

#[derive(Debug, Default)]
struct Outcomes {
    recent: VecDeque<(Instant, bool)>,
    /// There was a request, however long ago.
    any: bool,
}

impl Health {
    /// Books a finished request; `ok` unless the server was at fault.
    pub fn record(&self, ok: bool, now: Instant) {
        let mut outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        outcomes.any = true;
        outcomes.recent.push_back((now, ok));
        while outcomes.recent.len() > REQUESTS {
            outcomes.recent.pop_front();
        }
    }

    /// The state as the status page tells it.
    pub fn state(&self, running: bool, now: Instant) -> State {
        let outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = || {
            outcomes
                .recent
                .iter()
                .filter(|(at, _)| now.saturating_duration_since(*at) <= WINDOW)
        };
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        match State::of(running, count(recent().count()), count(recent().filter(|(_, ok)| !ok).count())) {
            // Ready is a server of which nothing was asked yet; this one has been quiet for a while.
            State::Ready if outcomes.any => State::Healthy,
            state => state,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_hundred_requests_of_the_last_ten_minutes_count() {
        let (health, now) = (Health::default(), Instant::now());
        assert_eq!(health.state(false, now), State::Initializing);
        assert_eq!(health.state(true, now), State::Ready);
        for n in 0..10 {
            health.record(n != 0, now);
        }
        assert_eq!(health.state(true, now), State::Degraded);
        for _ in 0..100 {
            health.record(true, now);
        }
        assert_eq!(health.state(true, now), State::Healthy);
        let later = now + Duration::from_secs(601);
        assert_eq!(
            health.state(true, later),
            State::Healthy,
            "what was long ago is no fault, nor was there nothing"
        );
        health.record(false, later);
        assert_eq!(health.state(true, later), State::Critical, "the old ones do not help");
    }
}
