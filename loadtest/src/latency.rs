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
    /// Whether the server heard the speaker stop.
    pub(crate) speech_final: bool,
}

/// One `Results` message with what was measured on it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Timed {
    /// Which of the stream's channels it is of.
    pub(crate) channel: usize,
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
    /// For every word that no earlier result had: from the planned send time of its last byte to receipt.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) word_lags_ms: Vec<f64>,
    /// The same for the last word, where the result says that speech has ended.
    pub(crate) speech_end_ms: Option<f64>,
}

/// Attributes the results of one channel of a stream, in the order received.
#[derive(Debug)]
pub(crate) struct Attribution {
    channel: usize,
    pace: Pace,
    spoken: f64,
    covered: f64,
    previous_end: f64,
}

impl Attribution {
    /// For channel `channel` of a stream sent by `pace`.
    pub(crate) fn new(channel: usize, pace: Pace) -> Self {
        Self {
            channel,
            pace,
            spoken: 0.0,
            covered: 0.0,
            previous_end: 0.0,
        }
    }

    /// A result with `window` and words at `words` (start and end in seconds) came at `received`, when `chunks_sent` chunks had been
    /// handed to the socket.
    pub(crate) fn result(&mut self, window: Window, words: &[(f64, f64)], received: Instant, chunks_sent: u32) -> Timed {
        let end = window.start + window.duration;
        let since = |second: f64| {
            let planned = self.pace.chunk_of(second).map(|chunk| self.pace.planned(chunk));
            planned.and_then(|planned| received.checked_duration_since(planned)).map(millis)
        };
        let response = since(end);
        let cursor = self.pace.audio_sent(chunks_sent);
        // A word is new if its middle lies behind all that was heard before: its end may move while it is being spoken.
        let fresh = words.iter().filter(|(start, end)| f64::midpoint(*start, *end) > self.spoken);
        let timed = Timed {
            channel: self.channel,
            received_s: received.saturating_duration_since(self.pace.planned(0)).as_secs_f64(),
            start_s: window.start,
            duration_s: window.duration,
            is_final: window.is_final,
            covers_new: end > self.covered + 1e-4,
            response_ms: response,
            ahead: response.is_none(),
            cursor_ms: (cursor - end) * 1e3,
            cursor_averaged_ms: (cursor - f64::midpoint(end, self.previous_end)) * 1e3,
            word_lags_ms: fresh.filter_map(|(_, end)| since(*end)).collect(),
            speech_end_ms: words.last().filter(|_| window.speech_final).and_then(|(_, end)| since(*end)),
        };
        self.covered = self.covered.max(end);
        self.previous_end = end;
        self.spoken = words.iter().fold(self.spoken, |latest, (_, end)| latest.max(*end));
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
#[derive(Debug, Clone)]
pub(crate) struct Measure(Histogram<u64>);

impl Measure {
    /// No samples yet.
    ///
    /// # Errors
    /// Never in practice: bounds and precision are valid constants.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(Histogram::new_with_bounds(1, LONGEST, 3)?))
    }

    /// The same to two significant digits, for many of them.
    ///
    /// # Errors
    /// Never in practice: bounds and precision are valid constants.
    pub(crate) fn coarse() -> Result<Self> {
        Ok(Self(Histogram::new_with_bounds(1, LONGEST, 2)?))
    }

    /// Largest sample that lies within each of `shares` (0 to 1) of all, in milliseconds.
    pub(crate) fn curve(&self, shares: &[f64]) -> Vec<(f64, f64)> {
        let value = |share: &f64| millis(Duration::from_micros(self.0.value_at_quantile(*share)));
        shares.iter().map(|share| (value(share), *share)).collect()
    }

    /// Adds a sample in milliseconds; below zero counts as zero.
    pub(crate) fn add_ms(&mut self, ms: f64) {
        let micros = Duration::try_from_secs_f64(ms.max(0.0) / 1e3).map_or(0, |value| value.as_micros());
        self.0.saturating_record(u64::try_from(micros).unwrap_or(u64::MAX));
    }

    /// Adds a sample in nanoseconds.
    pub(crate) fn add_nanos(&mut self, nanos: u64) {
        self.0.saturating_record(nanos / 1_000);
    }

    /// Share of the samples at or below so many milliseconds, 0 to 1; 0 without any.
    pub(crate) fn share_within_ms(&self, ms: f64) -> f64 {
        let micros = Duration::try_from_secs_f64(ms / 1e3).map_or(0, |value| value.as_micros());
        if self.0.is_empty() {
            return 0.0;
        }
        self.0.percentile_below(u64::try_from(micros).unwrap_or(u64::MAX)) / 100.0
    }

    /// Adds all samples of another.
    ///
    /// # Errors
    /// Never in practice: both have the same bounds.
    pub(crate) fn merge(&mut self, other: &Self) -> Result<()> {
        Ok(self.0.add(&other.0)?)
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
        Window {
            start,
            duration,
            is_final,
            speech_final: is_final,
        }
    }

    fn near(value: Option<f64>, wanted: f64) -> bool {
        value.is_some_and(|value| (value - wanted).abs() < 1e-3)
    }

    #[test]
    fn response_runs_from_the_planned_time_of_the_last_byte_covered() {
        let start = Instant::now();
        let pace = Pace::new(start, 1.0, 8000, 100, 16_000).unwrap();
        let mut stream = Attribution::new(0, pace);
        // Audio 0 to 1.0 s ends in chunk 9, planned at 0.9 s.
        let first = stream.result(window(0.0, 1.0, false), &[], start + Duration::from_millis(950), 10);
        assert!(near(first.response_ms, 50.0) && first.covers_new, "{first:?}");
        // A final that ends earlier than the interim before it covers nothing new, and its own delay is long.
        let second = stream.result(window(0.0, 0.6, true), &[], start + Duration::from_millis(1100), 12);
        assert!(near(second.response_ms, 600.0) && !second.covers_new, "{second:?}");
        let third = stream.result(window(0.6, 0.8, false), &[], start + Duration::from_millis(1320), 14);
        assert!(near(third.response_ms, 20.0) && third.covers_new, "{third:?}");
    }

    #[test]
    fn a_stalled_sender_does_not_hide_the_delay() {
        let start = Instant::now();
        let mut stream = Attribution::new(0, Pace::new(start, 1.0, 8000, 100, 16_000).unwrap());
        // The socket took chunk 4 only after 3 s; the answer came at once, but the caller waited since 0.4 s.
        let late = stream.result(window(0.0, 0.5, false), &[], start + Duration::from_secs(3), 5);
        assert!(near(late.response_ms, 2600.0), "{late:?}");
    }

    #[test]
    fn windows_over_unsent_audio_are_marked() {
        let start = Instant::now();
        let mut stream = Attribution::new(0, Pace::new(start, 1.0, 8000, 100, 16_000).unwrap());
        assert!(
            stream
                .result(window(0.0, 1.0, false), &[], start + Duration::from_millis(500), 5)
                .ahead
        );
        assert!(
            stream
                .result(window(0.0, 9.0, false), &[], start + Duration::from_secs(60), 20)
                .ahead,
            "past the end"
        );
    }

    #[test]
    fn a_words_lag_counts_once_and_the_end_of_speech_from_the_last_word() {
        let start = Instant::now();
        let mut stream = Attribution::new(0, Pace::new(start, 1.0, 8000, 100, 16_000).unwrap());
        // The word ends at 0.45 s: its last byte is in chunk 4, planned at 0.4 s.
        let first = stream.result(window(0.0, 0.6, false), &[(0.2, 0.45)], start + Duration::from_millis(700), 7);
        assert!(
            first.word_lags_ms.len() == 1 && near(first.word_lags_ms.first().copied(), 300.0),
            "{first:?}"
        );
        assert!(first.speech_end_ms.is_none());
        // The same word, a little longer, and a new one that ends at 0.95 s, in chunk 9.
        let words = [(0.2, 0.5), (0.55, 0.95)];
        let last = stream.result(window(0.0, 1.5, true), &words, start + Duration::from_millis(1600), 16);
        assert!(
            last.word_lags_ms.len() == 1 && near(last.word_lags_ms.first().copied(), 700.0),
            "{last:?}"
        );
        assert!(near(last.speech_end_ms, 700.0), "{last:?}");
    }

    #[test]
    fn cursor_latency_is_audio_sent_minus_the_end_of_the_window() {
        let start = Instant::now();
        let mut stream = Attribution::new(0, Pace::new(start, 1.0, 8000, 100, 16_000).unwrap());
        let first = stream.result(window(0.0, 1.0, false), &[], start + Duration::from_millis(1250), 13);
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
