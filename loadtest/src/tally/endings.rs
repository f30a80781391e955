//! How calls and uploads ended, and why some failed.
//!
//! Counts; keeps no more than a bounded number of reasons. Fed by `tally`, and by `soak` for its short connections.

use std::collections::BTreeMap;

use serde::Serialize;

use super::count;
use crate::call::{Call, Outcome, Refusal};

/// Different texts of failures that are told apart.
const MAX_REASONS: usize = 100;

/// How calls or uploads ended.
#[derive(Debug, Default, Clone, Serialize)]
pub(crate) struct Endings {
    /// All of them.
    pub(crate) placed: u64,
    /// Answered to their end.
    pub(crate) completed: u64,
    /// 429 or 503 instead of an acceptance.
    pub(crate) refused: u64,
    /// Ended by us with a TCP reset.
    pub(crate) hung_up: u64,
    /// Clients that never read, still connected at the end.
    pub(crate) unread: u64,
    /// Clients that never read, ended by the server.
    pub(crate) evicted: u64,
    /// All others.
    pub(crate) failed: u64,
    /// The others, by what happened.
    pub(crate) failures: BTreeMap<String, u64>,
    /// Refusals by status.
    pub(crate) refusals: BTreeMap<u16, u64>,
    /// Shortest and longest `Retry-After`, in seconds.
    pub(crate) retry_after_s: Option<(f64, f64)>,
    /// Refusals without `Retry-After`.
    pub(crate) without_retry_after: u64,
    /// Close frames by code.
    pub(crate) close_codes: BTreeMap<u16, u64>,
    /// `Error` messages on open streams.
    pub(crate) error_messages: u64,
}

impl Endings {
    /// An upload or a call ended.
    pub(super) fn add(&mut self, outcome: &Outcome) {
        self.placed += 1;
        match outcome {
            Outcome::Completed => self.completed += 1,
            Outcome::Refused(refusal) => self.refuse(refusal),
            Outcome::HungUp => self.hung_up += 1,
            Outcome::Unread => self.unread += 1,
            Outcome::Evicted => self.evicted += 1,
            Outcome::Failed(reason) => {
                self.failed += 1;
                let known = self.failures.len() < MAX_REASONS || self.failures.contains_key(reason);
                let reason = if known { reason.as_str() } else { "other failures" };
                *self.failures.entry(reason.to_owned()).or_default() += 1;
            }
        }
    }

    fn refuse(&mut self, refusal: &Refusal) {
        self.refused += 1;
        *self.refusals.entry(refusal.status).or_default() += 1;
        match refusal.retry_after_s {
            None => self.without_retry_after += 1,
            Some(seconds) => {
                let (least, most) = self.retry_after_s.unwrap_or((seconds, seconds));
                self.retry_after_s = Some((least.min(seconds), most.max(seconds)));
            }
        }
    }

    /// A call ended.
    pub(crate) fn add_call(&mut self, call: &Call) {
        self.add(&call.outcome);
        if let Some(code) = call.close_code {
            *self.close_codes.entry(code).or_default() += 1;
        }
        self.error_messages += count(call.errors.iter());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn refusals_tell_what_retry_after_said() {
        let mut endings = Endings::default();
        for (status, retry_after_s) in [(503, Some(1.0)), (429, Some(5.0)), (503, None)] {
            endings.add(&Outcome::Refused(Refusal { status, retry_after_s }));
        }
        assert_eq!((endings.placed, endings.refused, endings.without_retry_after), (3, 3, 1));
        assert_eq!(endings.retry_after_s, Some((1.0, 5.0)));
        assert_eq!(endings.refusals, BTreeMap::from([(429, 1), (503, 2)]));
    }

    #[test]
    fn the_number_of_reasons_is_bounded() {
        let mut endings = Endings::default();
        for index in 0..500 {
            endings.add(&Outcome::Failed(format!("reason {index}")));
        }
        endings.add(&Outcome::Failed("reason 3".into()));
        assert_eq!((endings.failed, endings.failures.len()), (501, MAX_REASONS + 1));
        assert_eq!((endings.failures["reason 3"], endings.failures["other failures"]), (2, 400));
    }
}
