//! Which class of work goes next. Pure.
//!
//! Live chunks go first. Recorded files fill what is left; they are owed a small share, which they may claim ahead of
//! waiting live chunks only while no live chunk would become late by it.

use std::time::{Duration, Instant};

/// What waits, as far as the decision needs it.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    /// Due time of the most urgent live chunk, if any waits.
    pub live_due: Option<Instant>,
    /// Predicted time of the step that would take the waiting live chunks.
    pub live_step: Duration,
    /// Predicted time of the step that would take waiting file chunks; `None` if none wait.
    pub file_step: Option<Duration>,
    /// Share of the engine's recent time that files have had, 0 to 1.
    pub file_share: f64,
}

/// What the engine should do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Step the most urgent live chunks.
    Live,
    /// Step file chunks.
    File,
    /// Nothing waits.
    Idle,
}

/// Decides. `floor` is the share owed to files, `margin` the time kept between a step's predicted end and a due time.
pub fn next(waiting: &Waiting, now: Instant, floor: f64, margin: Duration) -> Next {
    match (waiting.live_due, waiting.file_step) {
        (None, None) => Next::Idle,
        (Some(_), None) => Next::Live,
        (None, Some(_)) => Next::File,
        (Some(due), Some(file_step)) => {
            let live_is_safe = now + file_step + waiting.live_step + margin <= due;
            if waiting.file_share < floor && live_is_safe {
                Next::File
            } else {
                Next::Live
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARGIN: Duration = Duration::from_millis(50);

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn waiting(now: Instant, live_due: Option<u64>, file_step: Option<u64>, file_share: f64) -> Waiting {
        Waiting {
            live_due: live_due.map(|n| now + ms(n)),
            live_step: ms(100),
            file_step: file_step.map(ms),
            file_share,
        }
    }

    #[test]
    fn live_goes_first() {
        let now = Instant::now();
        assert_eq!(next(&waiting(now, Some(300), Some(50), 0.5), now, 0.1, MARGIN), Next::Live);
    }

    #[test]
    fn files_fill_an_idle_engine() {
        let now = Instant::now();
        assert_eq!(next(&waiting(now, None, Some(50), 0.9), now, 0.1, MARGIN), Next::File);
        assert_eq!(next(&waiting(now, None, None, 0.0), now, 0.1, MARGIN), Next::Idle);
    }

    #[test]
    fn files_claim_their_share_only_while_no_live_chunk_is_at_risk() {
        let now = Instant::now();
        assert_eq!(next(&waiting(now, Some(300), Some(50), 0.0), now, 0.1, MARGIN), Next::File);
        assert_eq!(next(&waiting(now, Some(200), Some(50), 0.0), now, 0.1, MARGIN), Next::File);
        assert_eq!(next(&waiting(now, Some(199), Some(50), 0.0), now, 0.1, MARGIN), Next::Live);
    }
}
