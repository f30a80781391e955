//! Adds up calls and uploads as they end: delays, endings, words, and how they went over time.
//!
//! Memory is bounded whatever the length of the run: every figure is a counter or a histogram, and single results are kept only up to a
//! limit. Fed by `live`, read by `report`.

mod delay;
mod endings;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

pub(crate) use self::delay::Delay;
use self::delay::warm_results;
pub(crate) use self::endings::Endings;
use crate::call::{Outcome, transcript};
use crate::compare::{Differences, References, normalise, word_errors};
use crate::latency::{Measure, Summary};
use crate::live::{Placed, Reference};
use crate::plan::Scenario;
use crate::program::Program;
use crate::upload;

/// Results that are kept one by one, for JSON.
const MAX_RAW: usize = 1_000_000;
/// Points of the curves over time.
const MAX_POINTS: usize = 300;
/// Transcripts whose word errors are remembered.
const MAX_SCORED: usize = 10_000;

/// Word errors against written transcripts.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct WordError {
    /// Words of the transcripts.
    pub(crate) words: u64,
    /// Missing, extra and differing words.
    pub(crate) errors: u64,
    /// Their share.
    pub(crate) percent: f64,
}

/// One group of lines.
#[derive(Debug)]
pub(crate) struct GroupTally {
    /// How its calls ended.
    pub(crate) endings: Endings,
    /// Its response times.
    pub(crate) response: Measure,
    /// Its words against the reference run.
    pub(crate) words: Differences,
}

/// A stretch of time.
#[derive(Debug)]
struct Bucket {
    response: Measure,
    open: u64,
    results: u64,
    upload_audio_s: f64,
}

/// A point of the curves over time.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Point {
    /// Begin of the stretch, in seconds after the start of the run.
    pub(crate) at_s: f64,
    /// Most streams seen open.
    pub(crate) open: u64,
    /// Results received.
    pub(crate) results: u64,
    /// Response times, to two digits.
    pub(crate) response: Option<Summary>,
    /// Audio of uploads that were answered, in seconds a second.
    pub(crate) upload_audio_per_second: f64,
}

/// Uploads.
#[derive(Debug)]
pub(crate) struct UploadTally {
    /// How they ended.
    pub(crate) endings: Endings,
    /// Due while as many as allowed were in flight.
    pub(crate) left_out: u64,
    /// From the planned beginning to the whole answer.
    pub(crate) turnaround: Measure,
    /// Audio of completed uploads, in seconds.
    pub(crate) audio_s: f64,
    /// When the last one ended, in seconds after the start of the run.
    pub(crate) last_s: f64,
    /// Words against the reference uploads.
    pub(crate) words: Differences,
}

/// The sums of a run.
#[derive(Debug)]
pub(crate) struct Tally<'a> {
    program: &'a Program,
    /// For each recording the place of its first channel in `references`.
    first: Vec<usize>,
    references: References,
    upload_references: References,
    warm: f64,
    keeps_raw: bool,
    delays: BTreeMap<Delay, Measure>,
    scored: HashMap<(usize, String), (u64, u64)>,
    bucket_s: f64,
    buckets: Vec<Bucket>,
    raw_results: usize,
    /// How the calls ended.
    pub(crate) endings: Endings,
    /// The same, for each group.
    pub(crate) groups: Vec<GroupTally>,
    /// Uploads.
    pub(crate) uploads: UploadTally,
    /// Results received, warm-up left out.
    pub(crate) results: u64,
    /// Results that covered audio not yet sent.
    pub(crate) ahead: u64,
    /// Words of the completed calls against the reference run.
    pub(crate) words: Differences,
    /// Completed calls whose final transcript is not that of the reference run.
    pub(crate) transcripts_changed: u64,
    /// Calls one by one, as far as they are kept.
    pub(crate) raw: Vec<Placed>,
    /// Calls that were counted and not kept.
    pub(crate) raw_left_out: u64,
    accuracy: Option<(u64, u64)>,
    audio_s: f64,
}

impl<'a> Tally<'a> {
    /// Nothing has ended yet. `keeps_raw`: calls are kept one by one, up to a limit.
    ///
    /// # Errors
    /// Never in practice: see [`Measure::new`].
    pub(crate) fn new(scenario: &Scenario, program: &'a Program, reference: &Reference, keeps_raw: bool) -> Result<Self> {
        let mut first = Vec::new();
        let mut texts = Vec::new();
        for (track, words) in program.recordings.iter().zip(&reference.calls) {
            first.push(texts.len());
            texts.extend(track.recording.sources.iter().copied().zip(words.iter().cloned()));
        }
        let mut delays = BTreeMap::new();
        for delay in Delay::ALL {
            delays.insert(delay, Measure::new()?);
        }
        let mut groups = Vec::new();
        for _ in &program.kinds {
            groups.push(GroupTally {
                endings: Endings::default(),
                response: Measure::new()?,
                words: Differences::default(),
            });
        }
        // What is finished after the end takes its place in the last stretch.
        let points = f64::from(u32::try_from(MAX_POINTS)?);
        let bucket_s = (scenario.load.duration_s * 1.2 / points).max(1.0);
        Ok(Self {
            program,
            first,
            references: References::new(texts),
            upload_references: References::new(reference.uploads.iter().cloned().enumerate().collect()),
            warm: scenario.load.warmup_s,
            keeps_raw,
            delays,
            scored: HashMap::new(),
            bucket_s,
            buckets: Vec::new(),
            raw_results: 0,
            endings: Endings::default(),
            groups,
            uploads: UploadTally {
                endings: Endings::default(),
                left_out: 0,
                turnaround: Measure::new()?,
                audio_s: 0.0,
                last_s: 0.0,
                words: Differences::default(),
            },
            results: 0,
            ahead: 0,
            words: Differences::default(),
            transcripts_changed: 0,
            raw: Vec::new(),
            raw_left_out: 0,
            accuracy: None,
            audio_s: 0.0,
        })
    }

    /// A call ended.
    pub(crate) fn call(&mut self, placed: Placed) {
        for (delay, measure) in &mut self.delays {
            delay.values(&placed, self.warm).into_iter().for_each(|ms| measure.add_ms(ms));
        }
        self.endings.add_call(&placed.call);
        self.results += count(warm_results(&placed, self.warm));
        self.ahead += count(warm_results(&placed, self.warm).filter(|timed| timed.ahead));
        let start = placed.audio_start_s.unwrap_or(0.0);
        for timed in &placed.call.results {
            if let Some(bucket) = self.bucket(start + timed.received_s) {
                bucket.results += 1;
                if let Some(ms) = timed.response_ms.filter(|_| timed.covers_new) {
                    bucket.response.add_ms(ms);
                }
            }
        }
        let words = if placed.call.outcome == Outcome::Completed {
            self.compare(&placed)
        } else {
            Differences::default()
        };
        self.words += words;
        if let Some(group) = self.groups.get_mut(placed.group) {
            group.endings.add_call(&placed.call);
            group.words += words;
            let response = Delay::Response.values(&placed, self.warm);
            response.into_iter().for_each(|ms| group.response.add_ms(ms));
        }
        let size = placed
            .call
            .results
            .len()
            .saturating_add(placed.call.words.iter().map(Vec::len).sum());
        if self.keeps_raw && self.raw_results.saturating_add(size) <= MAX_RAW {
            self.raw_results = self.raw_results.saturating_add(size).saturating_add(1);
            self.raw.push(placed);
        } else {
            self.raw_left_out += 1;
        }
    }

    /// An upload ended, or was left out.
    pub(crate) fn upload(&mut self, event: upload::Event) {
        let sent = match event {
            upload::Event::Sent(sent) => sent,
            upload::Event::LeftOut => {
                self.uploads.left_out += 1;
                return;
            }
        };
        self.uploads.endings.add(&sent.outcome);
        self.uploads.last_s = self.uploads.last_s.max(sent.ended_s);
        if sent.outcome == Outcome::Completed {
            self.uploads.audio_s += sent.audio_s;
            self.uploads.turnaround.add_ms(sent.turnaround_s * 1e3);
            self.uploads.words += self.upload_references.compare(sent.file, &sent.words);
            if let Some(bucket) = self.bucket(sent.ended_s) {
                bucket.upload_audio_s += sent.audio_s;
            }
        }
    }

    /// `open` streams were open at `at_s`.
    pub(crate) fn sample(&mut self, at_s: f64, open: u64) {
        if let Some(bucket) = self.bucket(at_s) {
            bucket.open = bucket.open.max(open);
        }
    }

    fn bucket(&mut self, at_s: f64) -> Option<&mut Bucket> {
        let index = Duration::try_from_secs_f64(at_s / self.bucket_s).map_or(0, |number| number.as_secs());
        let index = usize::try_from(index).unwrap_or(usize::MAX).min(MAX_POINTS.saturating_sub(1));
        while self.buckets.len() <= index {
            self.buckets.push(Bucket {
                response: Measure::coarse().ok()?,
                open: 0,
                results: 0,
                upload_audio_s: 0.0,
            });
        }
        self.buckets.get_mut(index)
    }

    fn compare(&mut self, placed: &Placed) -> Differences {
        let mut found = Differences::default();
        let Some(track) = self.program.recordings.get(placed.recording) else {
            return found;
        };
        let first = self.first.get(placed.recording).copied().unwrap_or_default();
        self.audio_s += track.recording.seconds();
        let mut changed = false;
        for (channel, source) in track.recording.sources.iter().enumerate() {
            let words = placed.call.channel(channel);
            let differences = self.references.compare(first.saturating_add(channel), words);
            changed |= differences.wrong() > differences.moved;
            found += differences;
            let Some(transcribed) = self.program.items.get(*source).and_then(|item| item.transcript.as_deref()) else {
                continue;
            };
            let text = transcript(words);
            let score = || {
                let wanted = normalise(transcribed);
                (count(wanted.iter()), word_errors(&wanted, &normalise(&text)))
            };
            let key = (*source, text.clone());
            let (words, errors) = match self.scored.get(&key) {
                Some(known) => *known,
                None => score(),
            };
            if self.scored.len() < MAX_SCORED {
                self.scored.insert(key, (words, errors));
            }
            let sums = self.accuracy.get_or_insert((0, 0));
            (sums.0, sums.1) = (sums.0 + words, sums.1 + errors);
        }
        self.transcripts_changed += u64::from(changed);
        found
    }

    /// Summary of every delay.
    pub(crate) fn delays(&self) -> BTreeMap<Delay, Option<Summary>> {
        self.delays.iter().map(|(delay, measure)| (*delay, measure.summary())).collect()
    }

    /// Summary of one delay.
    pub(crate) fn delay(&self, delay: Delay) -> Option<Summary> {
        self.delays.get(&delay).and_then(Measure::summary)
    }

    /// How response times are spread: for each share of them the largest.
    pub(crate) fn response_curve(&self, shares: &[f64]) -> Vec<(f64, f64)> {
        let measure = self.delays.get(&Delay::Response).filter(|measure| measure.summary().is_some());
        measure.map(|measure| measure.curve(shares)).unwrap_or_default()
    }

    /// Audio of completed calls, in seconds.
    pub(crate) fn audio_s(&self) -> f64 {
        self.audio_s
    }

    /// Words of the reference run.
    pub(crate) fn reference_words(&self) -> u64 {
        self.references.words()
    }

    /// Word errors against the transcripts; `None` without transcripts.
    pub(crate) fn word_error(&self) -> Option<WordError> {
        self.accuracy.map(|(words, errors)| WordError {
            words,
            errors,
            percent: 100.0 * number(errors) / number(words).max(1.0),
        })
    }

    /// The run over time.
    pub(crate) fn over_time(&self) -> Vec<Point> {
        let point = |(index, bucket): (usize, &Bucket)| Point {
            at_s: self.bucket_s * f64::from(u32::try_from(index).unwrap_or(u32::MAX)),
            open: bucket.open,
            results: bucket.results,
            response: bucket.response.summary(),
            upload_audio_per_second: bucket.upload_audio_s / self.bucket_s,
        };
        self.buckets.iter().enumerate().map(point).collect()
    }
}

/// A count as a number to calculate with.
pub(crate) fn number(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// How many there are.
pub(crate) fn count<T>(items: impl Iterator<Item = T>) -> u64 {
    u64::try_from(items.count()).unwrap_or(u64::MAX)
}
