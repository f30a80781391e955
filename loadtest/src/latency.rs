//! Which delay a result has, and percentiles over many of them.
//!
//! Pure: takes instants, reads no clock. `call` feeds one `Attribution` per stream, `report` collects `Measure`s.

use std::time::{Duration, Instant};

use anyhow::Result;
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::pacing::Pace;

/// The promise that is being tested: a result within 400 ms.
pub(crate) const PROMISE: Duration = Duration::from_millis(400);

/// The window that one `Results` message covers, as sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    /// Seconds from the beginning of the audio.
    pub(crate) start: f64,
    /// Seconds.
    pub(crate) duration: f64,
    /// Whether it will not change any more.
    pub(crate) is_final: bool,
}

/// One `Results` message with what was measured on it.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Timed {
    /// Receipt, seconds after the planned beginning of the audio.
    pub(crate) received_s: f64,
    /// As sent by the server.
    pub(crate) start_s: f64,
    /// As sent by the server.
    pub(crate) duration_s: f64,
    /// As sent by the server.
    pub(crate) is_final: bool,
    /// Whether it covers audio that no earlier result of the stream covered.
    pub(crate) covers_new: bool,
    /// Response time: from the planned send time of the last byte that the window covers to receipt. `None`: see `ahead`.
    pub(crate) response_ms: Option<f64>,
    /// The window reaches past the audio that had been sent, which no honest window can.
    pub(crate) ahead: bool,
    /// Audio sent so far minus the end of the window.
    pub(crate) cursor_ms: f64,
    /// The mean of `cursor_ms` and the same from the end of the result before, as the vendor's load script averages it.
    pub(crate) cursor_averaged_ms: f64,
}

/// Attributes the results of one stream, in the order received.
#[derive(Debug)]
pub(crate) struct Attribution {
    pace: Pace,
    covered: f64,
    previous_end: f64,
}

impl Attribution {
    /// For a stream sent by `pace`.
    pub(crate) fn new(pace: Pace) -> Self {
        Self {
            pace,
            covered: 0.0,
            previous_end: 0.0,
        }
    }

    /// A result with `window` came at `received`, when `chunks_sent` chunks had been handed to the socket.
    pub(crate) fn result(&mut self, window: Window, received: Instant, chunks_sent: u32) -> Timed {
        let end = window.start + window.duration;
        let planned = self.pace.chunk_of(end).map(|chunk| self.pace.planned(chunk));
        let response = planned.and_then(|planned| received.checked_duration_since(planned));
        let cursor = self.pace.audio_sent(chunks_sent);
        let timed = Timed {
            received_s: received.saturating_duration_since(self.pace.planned(0)).as_secs_f64(),
            start_s: window.start,
            duration_s: window.duration,
            is_final: window.is_final,
            covers_new: end > self.covered + 1e-4,
            response_ms: response.map(millis),
            ahead: response.is_none(),
            cursor_ms: (cursor - end) * 1e3,
            cursor_averaged_ms: (cursor - f64::midpoint(end, self.previous_end)) * 1e3,
        };
        self.covered = self.covered.max(end);
        self.previous_end = end;
        timed
    }
}

/// A duration as milliseconds.
pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Longest delay that is told apart from longer ones: an hour, in microseconds.
const LONGEST: u64 = 3_600_000_000;

/// Many samples of one duration, to three significant digits.
#[derive(Debug)]
pub(crate) struct Measure(Histogram<u64>);

impl Measure {
    /// No samples yet.
    ///
    /// # Errors
    /// Never in practice: bounds and precision are valid constants.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(Histogram::new_with_bounds(1, LONGEST, 3)?))
    }

    /// Adds a sample in milliseconds; below zero counts as zero.
    pub(crate) fn add_ms(&mut self, ms: f64) {
        let micros = Duration::try_from_secs_f64(ms.max(0.0) / 1e3).map_or(0, |value| value.as_micros());
        self.0.saturating_record(u64::try_from(micros).unwrap_or(u64::MAX));
    }

    /// The figures, or `None` without samples.
    pub(crate) fn summary(&self) -> Option<Summary> {
        let ms = |micros: u64| millis(Duration::from_micros(micros));
        let promise = u64::try_from(PROMISE.as_micros()).unwrap_or(u64::MAX);
        (!self.0.is_empty()).then(|| Summary {
            count: self.0.len(),
            p50_ms: ms(self.0.value_at_quantile(0.50)),
            p95_ms: ms(self.0.value_at_quantile(0.95)),
            p99_ms: ms(self.0.value_at_quantile(0.99)),
            max_ms: ms(self.0.max()),
            within_400_ms: self.0.percentile_below(promise) / 100.0,
        })
    }
}

/// Percentiles of a [`Measure`].
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Summary {
    /// Samples.
    pub(crate) count: u64,
    /// Half lie at or below.
    pub(crate) p50_ms: f64,
    /// 95 in 100 lie at or below.
    pub(crate) p95_ms: f64,
    /// 99 in 100 lie at or below.
    pub(crate) p99_ms: f64,
    /// The largest.
    pub(crate) max_ms: f64,
    /// Share at or below 400 ms, 0 to 1.
    pub(crate) within_400_ms: f64,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn window(start: f64, duration: f64, is_final: bool) -> Window {
        Window { start, duration, is_final }
    }

    fn near(value: Option<f64>, wanted: f64) -> bool {
        value.is_some_and(|value| (value - wanted).abs() < 1e-3)
    }

    #[test]
    fn response_runs_from_the_planned_time_of_the_last_byte_covered() {
        let start = Instant::now();
        let pace = Pace::new(start, 1.0, 8000, 100, 16_000).unwrap();
        let mut stream = Attribution::new(pace);
        // Audio 0 to 1.0 s ends in chunk 9, planned at 0.9 s.
        let first = stream.result(window(0.0, 1.0, false), start + Duration::from_millis(950), 10);
        assert!(near(first.response_ms, 50.0) && first.covers_new, "{first:?}");
        // A final that ends earlier than the interim before it covers nothing new, and its own delay is long.
        let second = stream.result(window(0.0, 0.6, true), start + Duration::from_millis(1100), 12);
        assert!(near(second.response_ms, 600.0) && !second.covers_new, "{second:?}");
        let third = stream.result(window(0.6, 0.8, false), start + Duration::from_millis(1320), 14);
        assert!(near(third.response_ms, 20.0) && third.covers_new, "{third:?}");
    }

    #[test]
    fn a_stalled_sender_does_not_hide_the_delay() {
        let start = Instant::now();
        let mut stream = Attribution::new(Pace::new(start, 1.0, 8000, 100, 16_000).unwrap());
        // The socket took chunk 4 only after 3 s; the answer came at once, but the caller waited since 0.4 s.
        let late = stream.result(window(0.0, 0.5, false), start + Duration::from_secs(3), 5);
        assert!(near(late.response_ms, 2600.0), "{late:?}");
    }

    #[test]
    fn windows_over_unsent_audio_are_marked() {
        let start = Instant::now();
        let mut stream = Attribution::new(Pace::new(start, 1.0, 8000, 100, 16_000).unwrap());
        assert!(stream.result(window(0.0, 1.0, false), start + Duration::from_millis(500), 5).ahead);
        assert!(
            stream.result(window(0.0, 9.0, false), start + Duration::from_secs(60), 20).ahead,
            "past the end"
        );
    }

    #[test]
    fn cursor_latency_is_audio_sent_minus_the_end_of_the_window() {
        let start = Instant::now();
        let mut stream = Attribution::new(Pace::new(start, 1.0, 8000, 100, 16_000).unwrap());
        let first = stream.result(window(0.0, 1.0, false), start + Duration::from_millis(1250), 13);
        assert!(
            near(Some(first.cursor_ms), 300.0) && near(Some(first.cursor_averaged_ms), 800.0),
            "{first:?}"
        );
    }

    #[test]
    fn percentiles_and_the_share_within_the_promise() {
        let mut measure = Measure::new().unwrap();
        assert!(measure.summary().is_none());
        for ms in 1..=100_u32 {
            measure.add_ms(f64::from(ms) * 5.0);
        }
        let summary = measure.summary().unwrap();
        assert!(
            (summary.p50_ms - 250.0).abs() < 1.0 && (summary.p99_ms - 495.0).abs() < 1.0,
            "{summary:?}"
        );
        assert!(
            (summary.max_ms - 500.0).abs() < 1.0 && (summary.within_400_ms - 0.80).abs() < 1e-9,
            "{summary:?}"
        );
    }
}
