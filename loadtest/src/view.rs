//! What is to be seen while a run goes on: streams open, results, the response time so far.
//!
//! Counters that calls touch and a progress line reads; the figures of the report come from elsewhere. Bars go to stderr and are
//! invisible when that is not a terminal.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

use crate::latency::{Measure, PROMISE, Timed, millis};

/// Counters of a run.
#[derive(Debug)]
pub(crate) struct View {
    open: AtomicU64,
    most_open: AtomicU64,
    results: AtomicU64,
    late: AtomicU64,
    uploads: AtomicU64,
    response: Mutex<Measure>,
}

impl View {
    /// Nothing open, nothing seen.
    ///
    /// # Errors
    /// Never in practice: see [`Measure::new`].
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            open: AtomicU64::new(0),
            most_open: AtomicU64::new(0),
            results: AtomicU64::new(0),
            late: AtomicU64::new(0),
            uploads: AtomicU64::new(0),
            response: Mutex::new(Measure::coarse()?),
        })
    }

    /// A stream was accepted; it is open until the guard is dropped.
    pub(crate) fn opened(&self) -> Open<'_> {
        let now = self.open.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        self.most_open.fetch_max(now, Ordering::Relaxed);
        Open(self)
    }

    /// A result came.
    pub(crate) fn result(&self, timed: &Timed) {
        self.results.fetch_add(1, Ordering::Relaxed);
        if let Some(ms) = timed.response_ms.filter(|_| timed.covers_new) {
            if ms > millis(PROMISE) {
                self.late.fetch_add(1, Ordering::Relaxed);
            }
            self.response.lock().unwrap_or_else(PoisonError::into_inner).add_ms(ms);
        }
    }

    /// An upload was answered.
    pub(crate) fn uploaded(&self) {
        self.uploads.fetch_add(1, Ordering::Relaxed);
    }

    /// Streams open now.
    pub(crate) fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Most streams that were open at once.
    pub(crate) fn most_open(&self) -> u64 {
        self.most_open.load(Ordering::Relaxed)
    }

    /// One line of text.
    pub(crate) fn line(&self) -> String {
        let response = self.response.lock().unwrap_or_else(PoisonError::into_inner).summary();
        let p99 = response.map_or_else(|| "none yet".to_owned(), |summary| format!("{:.0} ms", summary.p99_ms));
        let uploads = match self.uploads.load(Ordering::Relaxed) {
            0 => String::new(),
            uploads => format!(", {uploads} uploads"),
        };
        format!(
            "{} streams open, {} results, p99 {p99}, {} later than {} ms{uploads}",
            self.open(),
            self.results.load(Ordering::Relaxed),
            self.late.load(Ordering::Relaxed),
            PROMISE.as_millis()
        )
    }
}

/// One open stream.
#[derive(Debug)]
pub(crate) struct Open<'a>(&'a View);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How often a bar is drawn anew.
pub(crate) const TICK: Duration = Duration::from_millis(250);

/// A progress bar.
pub(crate) fn bar(length: usize, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(u64::try_from(length).unwrap_or(u64::MAX)).with_prefix(what);
    ProgressStyle::with_template("{prefix:10} [{bar:30}] {pos}/{len} {msg}").map_or(bar.clone(), |style| bar.with_style(style))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::latency::{Attribution, Window};
    use crate::pacing::Pace;

    #[test]
    fn counts_what_is_open_and_what_came_late() {
        let view = View::new().unwrap();
        let first = view.opened();
        drop(view.opened());
        assert_eq!((view.open(), view.most_open()), (1, 2));
        let start = std::time::Instant::now();
        let mut stream = Attribution::new(0, Pace::new(start, 1.0, 8000, 100, 16_000).unwrap());
        for (end, after) in [(0.1, 300), (0.2, 700)] {
            let window = Window {
                start: 0.0,
                duration: end,
                is_final: false,
                speech_final: false,
            };
            view.result(&stream.result(window, &[], start + Duration::from_millis(after), 2));
        }
        drop(first);
        let line = view.line();
        assert!(
            line.starts_with("0 streams open, 2 results, p99 6") && line.ends_with(", 1 later than 400 ms"),
            "{line}"
        );
    }
}
