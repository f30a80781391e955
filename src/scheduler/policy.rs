//! Which class of work goes next. Pure.
//!
//! Live chunks go first, and recorded files fill what is left. A file step goes ahead of live chunks that wait only while none of them would
//! become late by it, and then in two cases: the files are owed time, by share or by age; or the live batch is still below its ridge and
//! young, so that it gains by waiting.

use std::time::{Duration, Instant};

/// What rules the decision.
#[derive(Clone, Copy, Debug)]
pub struct Dispatch {
    /// Share of the engine's time owed to files.
    pub share: f64,
    /// Files that have waited longer than this are owed a step whatever they had.
    pub patience: Duration,
    /// How long a live chunk may wait for its batch to grow while files use the engine.
    pub linger: Duration,
    /// Time kept between the predicted end of a step and a due time.
    pub margin: Duration,
}

/// Live chunks that wait and fit into one step.
#[derive(Clone, Copy, Debug)]
pub struct LiveWork {
    /// Due time of the most urgent.
    pub due: Instant,
    /// Since when the most urgent has waited.
    pub since: Instant,
    /// How many they are.
    pub chunks: usize,
    /// The number from which on more hardly makes a chunk cheaper.
    pub ridge: usize,
    /// Predicted time of their step.
    pub step: Duration,
}

/// File chunks that wait and fit into one step.
#[derive(Clone, Copy, Debug)]
pub struct FileWork {
    /// Since when the oldest has waited.
    pub since: Instant,
    /// Predicted time of their step.
    pub step: Duration,
    /// Share of the engine's recent time that files have had, 0 to 1.
    pub share: f64,
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

/// Decides what a free engine does at `now`.
pub fn next(live: Option<LiveWork>, file: Option<FileWork>, now: Instant, rules: &Dispatch) -> Next {
    match (live, file) {
        (None, None) => Next::Idle,
        (Some(_), None) => Next::Live,
        (None, Some(_)) => Next::File,
        (Some(live), Some(file)) if is_safe(&live, &file, now, rules) && (is_owed(&file, now, rules) || gains(&live, now, rules)) => {
            Next::File
        }
        (Some(_), Some(_)) => Next::Live,
    }
}

/// Whether the most urgent live chunk is in time even behind a step of files.
fn is_safe(live: &LiveWork, file: &FileWork, now: Instant, rules: &Dispatch) -> bool {
    now + file.step + live.step + rules.margin <= live.due
}

/// Whether files are owed a step.
fn is_owed(file: &FileWork, now: Instant, rules: &Dispatch) -> bool {
    file.share < rules.share || now.saturating_duration_since(file.since) >= rules.patience
}

/// Whether live chunks get cheaper by waiting for others.
fn gains(live: &LiveWork, now: Instant, rules: &Dispatch) -> bool {
    live.chunks < live.ridge && now.saturating_duration_since(live.since) < rules.linger
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Dispatch = Dispatch {
        share: 0.1,
        patience: Duration::from_secs(2),
        linger: Duration::from_millis(10),
        margin: Duration::from_millis(50),
    };

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// A full batch that has waited long, due in `due` ms, with a step of 100 ms.
    fn live(now: Instant, due: u64) -> LiveWork {
        LiveWork {
            due: now + ms(due),
            since: now.checked_sub(ms(100)).unwrap_or(now),
            chunks: 8,
            ridge: 8,
            step: ms(100),
        }
    }

    /// Files that came just now, with a step of 50 ms.
    fn file(now: Instant, share: f64) -> FileWork {
        FileWork {
            since: now,
            step: ms(50),
            share,
        }
    }

    fn decide(live: LiveWork, file: FileWork, now: Instant) -> Next {
        next(Some(live), Some(file), now, &RULES)
    }

    #[test]
    fn live_goes_first() {
        let now = Instant::now();
        assert_eq!(decide(live(now, 300), file(now, 0.5), now), Next::Live);
        assert_eq!(next(Some(live(now, 300)), None, now, &RULES), Next::Live);
    }

    #[test]
    fn files_fill_an_idle_engine() {
        let now = Instant::now();
        assert_eq!(next(None, Some(file(now, 0.9)), now, &RULES), Next::File);
        assert_eq!(next(None, None, now, &RULES), Next::Idle);
    }

    #[test]
    fn files_claim_their_share_only_while_no_live_chunk_is_at_risk() {
        let now = Instant::now();
        assert_eq!(decide(live(now, 300), file(now, 0.0), now), Next::File);
        assert_eq!(decide(live(now, 200), file(now, 0.0), now), Next::File);
        assert_eq!(decide(live(now, 199), file(now, 0.0), now), Next::Live);
    }

    #[test]
    fn files_that_have_waited_long_are_owed_a_step_beyond_their_share() {
        let now = Instant::now() + ms(5_000);
        let waited = |for_ms| FileWork {
            since: now.checked_sub(ms(for_ms)).unwrap_or(now),
            ..file(now, 0.5)
        };
        assert_eq!(decide(live(now, 300), waited(1_999), now), Next::Live);
        assert_eq!(decide(live(now, 300), waited(2_000), now), Next::File);
        assert_eq!(
            decide(live(now, 199), waited(9_000), now),
            Next::Live,
            "never at the risk of a live chunk"
        );
    }

    #[test]
    fn a_young_batch_below_its_ridge_waits_while_files_work() {
        let now = Instant::now() + ms(5_000);
        let young = |chunks, for_ms| LiveWork {
            chunks,
            since: now.checked_sub(ms(for_ms)).unwrap_or(now),
            ..live(now, 300)
        };
        assert_eq!(decide(young(7, 9), file(now, 0.5), now), Next::File);
        assert_eq!(decide(young(8, 9), file(now, 0.5), now), Next::Live, "at its ridge");
        assert_eq!(decide(young(7, 10), file(now, 0.5), now), Next::Live, "waited long enough");
        let urgent = LiveWork {
            due: now + ms(199),
            ..young(1, 0)
        };
        assert_eq!(decide(urgent, file(now, 0.0), now), Next::Live, "its due time is near");
        assert_eq!(next(Some(young(1, 0)), None, now, &RULES), Next::Live, "the engine would idle");
    }
}
