//! The delays that are reported, and their values in one call.
//!
//! Takes them from what was measured on a call; measures nothing. Called by `tally`.

use serde::Serialize;

use crate::latency::{Timed, millis};
use crate::live::Placed;

/// The delays that are reported, in the order of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Delay {
    /// Results that cover new audio, from the planned send time of the last byte covered.
    Response,
    /// The same for every interim.
    Interim,
    /// The same for every final, also one that ends before the interim it follows.
    Final,
    /// From a word's last byte to the first result with the word.
    TranscriptLag,
    /// From the last word's last byte to the final that says that speech has ended.
    SpeechEnd,
    /// From the first chunk to the first interim.
    FirstInterim,
    /// From `CloseStream` to the last result.
    CloseToLastResult,
    /// From `CloseStream` to the Close frame.
    CloseToEnd,
    /// Connection and upgrade.
    Connect,
    /// From a storm to the acceptance of the call that replaces a dropped one.
    Reconnect,
    /// The vendor's cursor latency, of interims.
    CursorLatency,
    /// The same, averaged as in the vendor's load script.
    CursorLatencyAveraged,
    /// Our own lateness in sending.
    OwnLateness,
    /// Time that the socket took to accept a chunk.
    SendBlocked,
}

impl Delay {
    /// All of them.
    pub(super) const ALL: [Self; 14] = [
        Self::Response,
        Self::Interim,
        Self::Final,
        Self::TranscriptLag,
        Self::SpeechEnd,
        Self::FirstInterim,
        Self::CloseToLastResult,
        Self::CloseToEnd,
        Self::Connect,
        Self::Reconnect,
        Self::CursorLatency,
        Self::CursorLatencyAveraged,
        Self::OwnLateness,
        Self::SendBlocked,
    ];

    /// What the tables call it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Response => "response time",
            Self::Interim => "  of interims",
            Self::Final => "  of finals",
            Self::TranscriptLag => "transcript lag",
            Self::SpeechEnd => "end of speech to final",
            Self::FirstInterim => "first interim",
            Self::CloseToLastResult => "CloseStream to last result",
            Self::CloseToEnd => "CloseStream to Close",
            Self::Connect => "connect and upgrade",
            Self::Reconnect => "storm to reconnected",
            Self::CursorLatency => "cursor latency",
            Self::CursorLatencyAveraged => "cursor latency, averaged",
            Self::OwnLateness => "our own lateness",
            Self::SendBlocked => "send blocked",
        }
    }

    /// The values of this delay in one call; results before `warm` seconds of the run are left out.
    pub(super) fn values(self, placed: &Placed, warm: f64) -> Vec<f64> {
        let call = &placed.call;
        let of = |wanted: &dyn Fn(&Timed) -> bool, value: &dyn Fn(&Timed) -> Option<f64>| {
            warm_results(placed, warm)
                .filter(|timed| wanted(timed))
                .filter_map(value)
                .collect::<Vec<_>>()
        };
        let once = |value: Option<f64>| value.into_iter().filter(|_| placed.begun_s >= warm).collect();
        match self {
            Self::Response => of(&|timed| timed.covers_new, &|timed| timed.response_ms),
            Self::Interim => of(&|timed| !timed.is_final, &|timed| timed.response_ms),
            Self::Final => of(&|timed| timed.is_final, &|timed| timed.response_ms),
            Self::TranscriptLag => warm_results(placed, warm)
                .flat_map(|timed| timed.word_lags_ms.iter().copied())
                .collect(),
            Self::SpeechEnd => of(&|_| true, &|timed| timed.speech_end_ms),
            Self::CursorLatency => of(&|timed| !timed.is_final, &|timed| Some(timed.cursor_ms)),
            Self::CursorLatencyAveraged => of(&|timed| !timed.is_final, &|timed| Some(timed.cursor_averaged_ms)),
            Self::FirstInterim => once(call.first_interim_ms),
            Self::CloseToLastResult => once(call.close_to_last_result_ms),
            Self::CloseToEnd => once(call.close_to_end_ms),
            Self::Connect => once(call.connect_ms),
            Self::Reconnect => once(placed.reconnect_ms),
            Self::OwnLateness => call.own_lateness.iter().copied().map(millis).collect(),
            Self::SendBlocked => call.blocked.iter().copied().map(millis).collect(),
        }
    }
}

/// Results of a call that came after `warm` seconds of the run.
pub(super) fn warm_results(placed: &Placed, warm: f64) -> impl Iterator<Item = &Timed> {
    let start = placed.audio_start_s.unwrap_or(0.0);
    placed.call.results.iter().filter(move |timed| start + timed.received_s >= warm)
}
