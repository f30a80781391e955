//! The table of our own metrics, all under `hark_`, and the functions that feed them.
//!
//! Nothing else in the crate names a metric. The families that dashboards of the compatible product expect are in
//! [`super::compatible`].

use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::units::Samples;

/// Upper bounds of the latency histograms in seconds, dense around the 400 ms promise.
const LATENCY_S: [f64; 18] = [
    0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.8, 1.6, 5.0, 10.0,
];
/// Upper bounds of the batch size histogram in chunks.
const BATCH: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];

/// Upper bounds of ratios to a prediction.
const RATIO: [f64; 12] = [0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0];

const STEP_SECONDS: &str = "hark_step_seconds";
const STEP_CHUNKS: &str = "hark_step_chunks";
const STEP_DEVIATION: &str = "hark_step_deviation_ratio";
const STEP_DRIFT: &str = "hark_step_drift_ratio";
const STEP_COST: &str = "hark_step_cost_seconds";
const HEAD_ROOM: &str = "hark_stream_head_room";
const OVERLOAD: &str = "hark_overload";
const FILE_AUDIO: &str = "hark_file_audio_samples_total";
const LATE_SECONDS: &str = "hark_chunk_late_seconds";
const RESPONSE_SECONDS: &str = "hark_response_seconds";
const RESULTS_REFUSED: &str = "hark_results_refused_total";
const STREAMS_EVICTED: &str = "hark_streams_evicted_total";
const READING_PAUSED: &str = "hark_reading_paused_total";
const UNDECODED_BYTES: &str = "hark_undecoded_bytes";
const CLOSED: &str = "hark_streams_closed_total";
const CALLBACKS: &str = "hark_callbacks_total";
const CALLBACKS_PENDING: &str = "hark_callbacks_pending";

/// Every metric: name, kind, meaning. `docs/operations.md` repeats it, and a test compares the two.
pub const TABLE: [(&str, &str, &str); 17] = [
    (
        STEP_SECONDS,
        "histogram",
        "time of one engine step, from the handing over of its batch to its results, in seconds",
    ),
    (STEP_CHUNKS, "histogram", "chunks in one engine step"),
    (
        STEP_DEVIATION,
        "histogram",
        "time of one engine step, divided by what was predicted for it",
    ),
    (
        STEP_DRIFT,
        "gauge",
        "time that steps take at present, divided by what they took at warm-up",
    ),
    (
        STEP_COST,
        "gauge",
        "predicted time of a step by the audio in a chunk and the number of chunks, in seconds",
    ),
    (HEAD_ROOM, "gauge", "live streams that fit beside those in service"),
    (
        OVERLOAD,
        "gauge",
        "what gives way: 0 nothing, 1 half of the interim results, 2 short chunks of new streams, 3 files, 4 new streams",
    ),
    (
        FILE_AUDIO,
        "counter",
        "audio of recorded files that was decoded, in samples of 16 kHz",
    ),
    (
        LATE_SECONDS,
        "histogram",
        "how long after its due time a late live chunk was decoded, in seconds",
    ),
    (
        RESPONSE_SECONDS,
        "histogram",
        "from a chunk's last audio byte to the hand-over of its first result, in seconds",
    ),
    (RESULTS_REFUSED, "counter", "results that a stream did not take, which ended it"),
    (
        STREAMS_EVICTED,
        "counter",
        "streams ended because their client, or the receiver of their callback, did not take its results",
    ),
    (
        READING_PAUSED,
        "counter",
        "times a client was slowed because its audio came faster than it could be decoded",
    ),
    (
        UNDECODED_BYTES,
        "gauge",
        "audio bytes received and not yet decoded, all streams together",
    ),
    (
        CLOSED,
        "counter",
        "streams ended, by close code; 1005: the client closed without one, 1006: its connection broke",
    ),
    (
        CALLBACKS,
        "counter",
        "attempts to deliver the result of a file, by outcome: delivered, retried, given_up",
    ),
    (
        CALLBACKS_PENDING,
        "gauge",
        "files accepted with a callback whose result is not delivered yet",
    ),
];

/// Installs the recorder of this process and describes every metric.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(STEP_CHUNKS.to_owned()), &BATCH)?
        .set_buckets_for_metric(Matcher::Full(STEP_DEVIATION.to_owned()), &RATIO)?
        .set_buckets(&LATENCY_S)?
        .build_recorder();
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_err() {
        tracing::debug!("a metrics recorder was installed already");
    }
    for (name, kind, meaning) in TABLE {
        match kind {
            "histogram" => describe_histogram!(name, meaning),
            "gauge" => describe_gauge!(name, meaning),
            _ => describe_counter!(name, meaning),
        }
    }
    counter!(RESULTS_REFUSED).increment(0);
    counter!(STREAMS_EVICTED).increment(0);
    counter!(READING_PAUSED).increment(0);
    counter!(FILE_AUDIO).increment(0);
    gauge!(UNDECODED_BYTES).set(0.0);
    for outcome in [Delivery::Delivered, Delivery::Retried, Delivery::GivenUp] {
        counter!(CALLBACKS, "outcome" => outcome.label()).increment(0);
    }
    gauge!(CALLBACKS_PENDING).set(0.0);
    Ok(handle)
}

/// The metrics of one device's steps and load.
#[derive(Debug)]
pub struct StepMetrics {
    device: String,
}

impl StepMetrics {
    /// For the device of that number.
    pub fn new(device: usize) -> Self {
        Self {
            device: device.to_string(),
        }
    }

    /// A step with `chunks` chunks went to the engine.
    #[expect(clippy::as_conversions, reason = "batch sizes are far below 2^52")]
    pub fn began(&self, chunks: usize) {
        histogram!(STEP_CHUNKS, "device" => self.device.clone()).record(chunks as f64);
    }

    /// A step came back, of which a certain time was predicted.
    pub fn ended(&self, took: Duration, predicted: Duration) {
        histogram!(STEP_SECONDS, "device" => self.device.clone()).record(took);
        if !predicted.is_zero() {
            histogram!(STEP_DEVIATION, "device" => self.device.clone()).record(took.as_secs_f64() / predicted.as_secs_f64());
        }
    }

    /// Steps take this many times what they took at warm-up.
    pub fn drift(&self, ratio: f64) {
        gauge!(STEP_DRIFT, "device" => self.device.clone()).set(ratio);
    }

    /// A step of `chunks` chunks of `period` of audio each is predicted to take `seconds`.
    pub fn cost(&self, period: Duration, chunks: usize, seconds: f64) {
        let labels = [
            ("device", self.device.clone()),
            ("chunk_ms", period.as_millis().to_string()),
            ("chunks", chunks.to_string()),
        ];
        gauge!(STEP_COST, &labels).set(seconds);
    }

    /// Live streams that fit beside those in service, and what gives way.
    #[expect(clippy::as_conversions, reason = "stream counts are far below 2^52")]
    pub fn load(&self, head_room: usize, overload: u8) {
        gauge!(HEAD_ROOM, "device" => self.device.clone()).set(head_room as f64);
        gauge!(OVERLOAD, "device" => self.device.clone()).set(f64::from(overload));
    }
}

/// Audio of a recorded file was decoded.
pub fn file_progress(audio: Samples) {
    counter!(FILE_AUDIO).increment(audio.0);
}

/// A live chunk was decoded after it was due.
pub fn chunk_late(late: Duration) {
    histogram!(LATE_SECONDS).record(late);
}

/// A result went to the socket.
pub fn responded(seconds: f64) {
    histogram!(RESPONSE_SECONDS).record(seconds);
}

/// A stream's owner did not take a result.
pub fn result_refused() {
    counter!(RESULTS_REFUSED).increment(1);
}

/// How an attempt to deliver a result ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The receiver has it.
    Delivered,
    /// It will be tried again.
    Retried,
    /// It will not be tried again.
    GivenUp,
}

impl Delivery {
    fn label(self) -> &'static str {
        match self {
            Delivery::Delivered => "delivered",
            Delivery::Retried => "retried",
            Delivery::GivenUp => "given_up",
        }
    }
}

/// An attempt to deliver a result ended.
pub fn callback(outcome: Delivery) {
    counter!(CALLBACKS, "outcome" => outcome.label()).increment(1);
}

/// Files accepted with a callback and not delivered.
#[expect(clippy::as_conversions, reason = "request counts are far below 2^52")]
pub fn callbacks_pending(count: u64) {
    gauge!(CALLBACKS_PENDING).set(count as f64);
}

/// A stream was ended because its client, or the receiver of its callback, did not take its results.
pub fn stream_evicted() {
    counter!(STREAMS_EVICTED).increment(1);
}

/// A client was slowed.
pub fn reading_paused() {
    counter!(READING_PAUSED).increment(1);
}

/// Audio bytes now waiting to be decoded.
#[expect(clippy::as_conversions, reason = "byte counts are far below 2^52")]
pub fn undecoded(bytes: usize) {
    gauge!(UNDECODED_BYTES).set(bytes as f64);
}

/// A stream ended with a close code.
pub fn stream_closed(code: u16) {
    counter!(CLOSED, "code" => code.to_string()).increment(1);
}
