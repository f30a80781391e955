//! The scenario file: what is sent, how much of it, and what must hold.
//!
//! Reads, and has it checked (`check`); sends nothing. Called by `main`.

mod check;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::audio::Encoding;
use crate::numbers::Random;
use crate::program::{LineKind, Share};

/// A scenario, as written in TOML.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// Printed at the head of the report.
    pub(crate) name: String,
    /// What is streamed, and the form in which lines send it unless their group says otherwise.
    pub(crate) audio: AudioPlan,
    /// How much of it.
    pub(crate) load: Load,
    /// Kinds of lines; without any there is one, which sends as `audio` says.
    #[serde(default)]
    pub(crate) groups: Vec<Group>,
    /// Moments at which all lines drop and reconnect.
    #[serde(default)]
    pub(crate) storms: Vec<Storm>,
    /// Files sent to `POST /v1/listen` beside the lines.
    pub(crate) uploads: Option<Uploads>,
    /// Parameters added to the query, for example `model = "nova-3"`; `interim_results=true` is always sent.
    #[serde(default)]
    pub(crate) query: BTreeMap<String, String>,
    /// What must hold for exit code 0.
    #[serde(default)]
    pub(crate) thresholds: Thresholds,
}

/// What is streamed, and in which form.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AudioPlan {
    /// Folder with WAV files, relative to the scenario file.
    pub(crate) folder: PathBuf,
    /// Takes only the first so many files in the order of their names.
    pub(crate) max_files: Option<usize>,
    /// Speed of the reference run, in which every recording is sent once, one at a time.
    #[serde(default = "one")]
    pub(crate) reference_speed: f64,
    /// How the samples are sent.
    #[serde(default)]
    pub(crate) send: SendAs,
    /// Converts to this encoding; unset: that of the file.
    pub(crate) encoding: Option<Encoding>,
    /// Converts to 8000 or 16000 Hz; unset: that of the file.
    pub(crate) sample_rate: Option<u32>,
    /// Audio in one message.
    #[serde(default = "default_chunk_ms")]
    pub(crate) chunk_ms: u32,
    /// 1 is the pace of a phone; 4 sends four seconds of audio each second.
    #[serde(default = "one")]
    pub(crate) speed: f64,
    /// Puts silences between.
    pub(crate) silence: Option<Silence>,
    /// Sends two files at once, in the two channels of a multichannel stream.
    #[serde(default)]
    pub(crate) talk_over: bool,
}

/// How the samples of a file are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SendAs {
    /// The bare samples, described by `encoding`, `sample_rate` and `channels` on the query.
    #[default]
    Raw,
    /// The bytes of a WAV file, header first.
    Wav,
}

/// Silence put into a recording.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Silence {
    /// After every so many seconds of the file, and at its end.
    pub(crate) every_s: f64,
    /// So long.
    pub(crate) length_s: f64,
}

impl Silence {
    /// `every_s` in samples at `rate`.
    pub(crate) fn every_samples(&self, rate: u32) -> usize {
        samples_of(self.every_s, rate)
    }

    /// `length_s` in samples at `rate`.
    pub(crate) fn length_samples(&self, rate: u32) -> usize {
        samples_of(self.length_s, rate)
    }
}

/// Seconds in samples, rounded to the nearest; 0 for what is no time.
pub(crate) fn samples_of(seconds: f64, rate: u32) -> usize {
    let micros = Duration::try_from_secs_f64(seconds).unwrap_or_default().as_micros();
    usize::try_from((micros * u128::from(rate) + 500_000) / 1_000_000).unwrap_or(usize::MAX)
}

/// The form in which a group sends its files.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Form {
    /// As in [`AudioPlan`], like all others.
    pub(crate) send: SendAs,
    pub(crate) encoding: Option<Encoding>,
    pub(crate) sample_rate: Option<u32>,
    pub(crate) silence: Option<Silence>,
    pub(crate) talk_over: bool,
    pub(crate) chunk_ms: u32,
}

impl Form {
    /// Whether the samples are those of the file.
    pub(crate) fn sends_the_file(&self) -> bool {
        self.encoding.is_none() && self.sample_rate.is_none() && self.silence.is_none() && !self.talk_over
    }
}

/// A kind of lines. What is unset is as in `[audio]`.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Group {
    /// For the tables.
    pub(crate) name: String,
    /// Exactly so many of the lines are of this kind.
    pub(crate) count: Option<u32>,
    /// Share of the lines that no `count` takes, against the weights of the other groups; 1 if neither is set.
    pub(crate) weight: Option<f64>,
    /// As in `[audio]`, like the six after it.
    pub(crate) send: Option<SendAs>,
    /// See above.
    pub(crate) encoding: Option<Encoding>,
    /// See above.
    pub(crate) sample_rate: Option<u32>,
    /// See above.
    pub(crate) chunk_ms: Option<u32>,
    /// See above.
    pub(crate) speed: Option<f64>,
    /// See above.
    pub(crate) silence: Option<Silence>,
    /// See above.
    pub(crate) talk_over: Option<bool>,
    /// Share of the calls that end with a TCP reset somewhere in their middle, 0 to 1.
    #[serde(default)]
    pub(crate) hang_up_share: f64,
    /// The client sends and never reads: one connection, its recording over and over, until the server ends it or the run is over.
    #[serde(default)]
    pub(crate) never_reads: bool,
}

/// All lines drop (TCP reset) and reconnect.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Storm {
    /// Seconds after the start of the run.
    pub(crate) at_s: f64,
    /// The reconnections are spread evenly over this time.
    #[serde(default)]
    pub(crate) within_s: f64,
}

/// Files sent to `POST /v1/listen` from the start to the end of the run, one after the other.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Uploads {
    /// Most in flight. Without `per_second` so many are in flight all the time, however fast they are answered.
    pub(crate) parallel: u32,
    /// Begins so many a second, whether or not earlier ones are answered; one that finds `parallel` in flight is left out and counted.
    pub(crate) per_second: Option<f64>,
}

/// How many streams, for how long.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Load {
    /// Lines that are busy at once. A line makes one call after the other; a call is one connection and one recording.
    pub(crate) streams: u32,
    /// The lines begin spread over this time: each at a random moment of its own equal part of it, the same in every run.
    #[serde(default)]
    pub(crate) ramp_s: f64,
    /// Changes of the number of lines, in the order of time.
    #[serde(default)]
    pub(crate) steps: Vec<LoadStep>,
    /// No call begins after this time; those that have begun are finished.
    pub(crate) duration_s: f64,
    /// Results received earlier than this count for the words, not for the delays.
    #[serde(default)]
    pub(crate) warmup_s: f64,
}

/// A change of the number of lines. Lines that leave finish their call.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoadStep {
    /// Seconds after the start of the run.
    pub(crate) at_s: f64,
    /// Lines from then on.
    pub(crate) streams: u32,
    /// The lines that come or go do so spread evenly over this time.
    #[serde(default)]
    pub(crate) over_s: f64,
}

/// Bounds on the figures; a bound on a figure without samples is broken.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Thresholds {
    /// Response time, median.
    pub(crate) p50_ms: Option<f64>,
    /// Response time, 95 in 100.
    pub(crate) p95_ms: Option<f64>,
    /// Response time, 99 in 100.
    pub(crate) p99_ms: Option<f64>,
    /// Response time, the largest.
    pub(crate) max_ms: Option<f64>,
    /// Least share of response times within 400 ms, 0 to 1.
    pub(crate) within_400_ms: Option<f64>,
    /// Time to the first interim, 99 in 100.
    pub(crate) first_interim_p99_ms: Option<f64>,
    /// From a word's last byte to the first result with it, 99 in 100.
    pub(crate) transcript_lag_p99_ms: Option<f64>,
    /// From the last word's last byte to the final that ends the speech, 99 in 100.
    pub(crate) speech_end_p99_ms: Option<f64>,
    /// From `CloseStream` to the last result, 99 in 100.
    pub(crate) close_p99_ms: Option<f64>,
    /// Our own lateness in sending, 99 in 100: above it the figures say little about the server.
    pub(crate) own_lateness_p99_ms: Option<f64>,
    /// Most connections refused with 429 or 503.
    pub(crate) refused: Option<u64>,
    /// Most calls that failed, before or after they were accepted.
    pub(crate) failed: Option<u64>,
    /// Most results that covered audio not yet sent.
    pub(crate) ahead: Option<u64>,
    /// Most words lost against the reference run.
    pub(crate) missing_words: Option<u64>,
    /// Most words said twice.
    pub(crate) doubled_words: Option<u64>,
    /// Most words that are others than in the reference run.
    pub(crate) differing_words: Option<u64>,
    /// Most words of another stream.
    pub(crate) crossed_words: Option<u64>,
    /// Most additional words of other kinds.
    pub(crate) extra_words: Option<u64>,
    /// Most words at other times than in the reference run.
    pub(crate) moved_words: Option<u64>,
    /// Word error rate against the transcripts, in percent.
    pub(crate) word_error_percent: Option<f64>,
    /// Time from a storm to the answer of the upgrade that replaces a dropped call, 99 in 100.
    pub(crate) reconnect_p99_ms: Option<f64>,
    /// Time from the request to the whole answer of an upload, 95 in 100.
    pub(crate) upload_p95_ms: Option<f64>,
    /// Least audio of completed uploads, in seconds a second.
    pub(crate) upload_audio_per_second: Option<f64>,
    /// Most uploads answered with 429 or 503.
    pub(crate) uploads_refused: Option<u64>,
    /// Most uploads that failed.
    pub(crate) uploads_failed: Option<u64>,
    /// Most words of uploads that are not as in the reference upload, of all kinds together.
    pub(crate) upload_words: Option<u64>,
}

fn default_chunk_ms() -> u32 {
    20
}

fn one() -> f64 {
    1.0
}

impl Scenario {
    /// Reads and checks `path`.
    ///
    /// # Errors
    /// The file cannot be read or parsed, has unknown keys, or asks for something out of range.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let mut scenario = Self::parse(&text).with_context(|| path.display().to_string())?;
        scenario.audio.folder = path.parent().unwrap_or(Path::new(".")).join(&scenario.audio.folder);
        Ok(scenario)
    }

    /// Checks `text`.
    ///
    /// # Errors
    /// It cannot be parsed, has unknown keys, or asks for something out of range.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let scenario: Self = toml::from_str(text)?;
        scenario.check()?;
        Ok(scenario)
    }

    /// The kinds of lines, without recordings.
    pub(crate) fn kinds(&self) -> Vec<LineKind> {
        let audio = &self.audio;
        let only = [Group {
            name: "lines".to_owned(),
            ..Group::default()
        }];
        let groups = if self.groups.is_empty() { only.as_slice() } else { &self.groups };
        let kind = |group: &Group| LineKind {
            name: group.name.clone(),
            form: Form {
                send: group.send.unwrap_or(audio.send),
                encoding: group.encoding.or(audio.encoding),
                sample_rate: group.sample_rate.or(audio.sample_rate),
                silence: group.silence.or(audio.silence),
                talk_over: group.talk_over.unwrap_or(audio.talk_over),
                chunk_ms: group.chunk_ms.unwrap_or(audio.chunk_ms),
            },
            speed: group.speed.unwrap_or(audio.speed),
            hang_up_share: group.hang_up_share,
            never_reads: group.never_reads,
            plays: Vec::new(),
            share: group.count.map_or_else(|| Share::Weight(group.weight.unwrap_or(1.0)), Share::Count),
        };
        groups.iter().map(kind).collect()
    }

    /// Most lines at any time.
    pub(crate) fn most_streams(&self) -> u32 {
        let steps = self.load.steps.iter().map(|step| step.streams);
        steps.fold(self.load.streams, u32::max)
    }

    /// When line `line` makes calls, as ranges of seconds after the start of the run.
    pub(crate) fn line_times(&self, line: u32) -> Vec<Range<f64>> {
        let load = &self.load;
        let first = LoadStep {
            at_s: 0.0,
            streams: load.streams,
            over_s: load.ramp_s,
        };
        let mut times: Vec<Range<f64>> = Vec::new();
        let (mut before, mut since) = (0_u32, None);
        for step in std::iter::once(&first).chain(&load.steps) {
            let after = step.streams;
            let spread = |part: f64, whole: u32| step.at_s + step.over_s * part / f64::from(whole.max(1));
            if line >= before && line < after {
                // Callers do not come at a beat; lines that did would send together for as long as they last.
                let part = f64::from(line.saturating_sub(before)) + Random::new(0, line.into()).share();
                since = Some(spread(part, after.saturating_sub(before)));
            } else if line < before && line >= after {
                let end = spread(
                    f64::from(before.saturating_sub(line).saturating_sub(1)),
                    before.saturating_sub(after),
                );
                times.extend(since.take().map(|start| start..end));
            }
            before = after;
        }
        times.extend(since.map(|start| start..load.duration_s));
        times
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::as_conversions)]
mod tests;
