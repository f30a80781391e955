//! Makes figures of the calls, prints them, writes them as JSON, and holds them against the scenario's bounds.
//!
//! Measures nothing itself. Called by `main`.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use anyhow::Result;
use serde::Serialize;

use crate::call::{Call, Outcome};
use crate::compare::{Differences, References, normalise, word_errors};
use crate::latency::{Measure, Summary, Timed, millis};
use crate::live::Placed;
use crate::plan::{Item, Scenario, Thresholds};

/// Everything that is known about a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report<'a> {
    /// As read.
    pub(crate) scenario: &'a Scenario,
    /// The server.
    pub(crate) url: &'a str,
    /// Files streamed, in the order that `calls[].file` counts in.
    pub(crate) files: Vec<String>,
    /// How the calls ended.
    pub(crate) calls: Endings,
    /// Delays by name; `None` without samples.
    pub(crate) delays: BTreeMap<Delay, Option<Summary>>,
    /// Results received, warm-up left out.
    pub(crate) results: u64,
    /// Results that covered audio not yet sent.
    pub(crate) ahead: u64,
    /// Words of the completed calls against the reference run.
    pub(crate) words: Differences,
    /// Completed calls whose final transcript is not that of the reference run.
    pub(crate) transcripts_changed: u64,
    /// Word errors against the transcripts; `None` without transcripts.
    pub(crate) word_error: Option<WordError>,
    /// What the scenario asked for and did not get.
    pub(crate) broken: Vec<String>,
    /// Every call, with every result.
    pub(crate) raw: &'a [Placed],
}

/// How the calls ended.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Endings {
    /// All of them.
    pub(crate) placed: u64,
    /// Most that were open at once.
    pub(crate) most_at_once: u64,
    /// `Metadata` and Close 1000.
    pub(crate) completed: u64,
    /// 429 or 503 at the handshake.
    pub(crate) refused: u64,
    /// All others.
    pub(crate) failed: u64,
    /// The others, by what happened.
    pub(crate) failures: BTreeMap<String, u64>,
    /// Close frames by code.
    pub(crate) close_codes: BTreeMap<u16, u64>,
    /// `Error` messages on open streams.
    pub(crate) error_messages: u64,
}

/// Word errors against written transcripts.
#[derive(Debug, Serialize)]
pub(crate) struct WordError {
    /// Words of the transcripts.
    pub(crate) words: u64,
    /// Missing, extra and differing words.
    pub(crate) errors: u64,
    /// Their share.
    pub(crate) percent: f64,
}

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
    /// From the first chunk to the first interim.
    FirstInterim,
    /// From `CloseStream` to the last result.
    CloseToLastResult,
    /// From `CloseStream` to the Close frame.
    CloseToEnd,
    /// Connection and upgrade.
    Connect,
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
    const ALL: [Self; 11] = [
        Self::Response,
        Self::Interim,
        Self::Final,
        Self::FirstInterim,
        Self::CloseToLastResult,
        Self::CloseToEnd,
        Self::Connect,
        Self::CursorLatency,
        Self::CursorLatencyAveraged,
        Self::OwnLateness,
        Self::SendBlocked,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::Response => "response time",
            Self::Interim => "  of interims",
            Self::Final => "  of finals",
            Self::FirstInterim => "first interim",
            Self::CloseToLastResult => "CloseStream to last result",
            Self::CloseToEnd => "CloseStream to Close",
            Self::Connect => "connect and upgrade",
            Self::CursorLatency => "cursor latency",
            Self::CursorLatencyAveraged => "cursor latency, averaged",
            Self::OwnLateness => "our own lateness",
            Self::SendBlocked => "send blocked",
        }
    }

    /// The values of this delay in one call; results before `warm` seconds of the run are left out.
    fn values(self, placed: &Placed, warm: f64) -> Vec<f64> {
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
            Self::CursorLatency => of(&|timed| !timed.is_final, &|timed| Some(timed.cursor_ms)),
            Self::CursorLatencyAveraged => of(&|timed| !timed.is_final, &|timed| Some(timed.cursor_averaged_ms)),
            Self::FirstInterim => once(call.first_interim_ms),
            Self::CloseToLastResult => once(call.close_to_last_result_ms),
            Self::CloseToEnd => once(call.close_to_end_ms),
            Self::Connect => once(call.connect_ms),
            Self::OwnLateness => call.own_lateness.iter().copied().map(millis).collect(),
            Self::SendBlocked => call.blocked.iter().copied().map(millis).collect(),
        }
    }
}

/// Results of a call that came after `warm` seconds of the run.
fn warm_results(placed: &Placed, warm: f64) -> impl Iterator<Item = &Timed> {
    let start = placed.audio_start_s.unwrap_or(0.0);
    placed.call.results.iter().filter(move |timed| start + timed.received_s >= warm)
}

impl<'a> Report<'a> {
    /// Sums up `placed`, whose words are held against `reference` (one call for each of `items`).
    ///
    /// # Errors
    /// Never in practice: see [`Measure::new`].
    pub(crate) fn new(scenario: &'a Scenario, url: &'a str, items: &[Item], reference: &[Call], placed: &'a [Placed]) -> Result<Self> {
        let warm = scenario.load.warmup_s;
        let mut delays = BTreeMap::new();
        for delay in Delay::ALL {
            let mut measure = Measure::new()?;
            placed
                .iter()
                .flat_map(|call| delay.values(call, warm))
                .for_each(|ms| measure.add_ms(ms));
            delays.insert(delay, measure.summary());
        }
        let references = References::new(reference.iter().map(|call| call.words.clone()).collect());
        let completed = || placed.iter().filter(|placed| placed.call.outcome == Outcome::Completed);
        let mut words = Differences::default();
        let mut transcripts_changed = 0;
        for placed in completed() {
            words += references.compare(placed.file, &placed.call.words);
            let alone = reference.get(placed.file).map(Call::transcript);
            transcripts_changed += u64::from(alone != Some(placed.call.transcript()));
        }
        let results = || placed.iter().flat_map(|placed| warm_results(placed, warm));
        let mut report = Self {
            scenario,
            url,
            files: items.iter().map(|item| item.wav.name()).collect(),
            calls: Endings::of(placed),
            delays,
            results: count(results()),
            ahead: count(results().filter(|timed| timed.ahead)),
            words,
            transcripts_changed,
            word_error: word_error(items, completed()),
            broken: Vec::new(),
            raw: placed,
        };
        report.broken = report.broken(&scenario.thresholds);
        Ok(report)
    }

    fn broken(&self, bounds: &Thresholds) -> Vec<String> {
        let delay = |delay: Delay, value: fn(&Summary) -> f64| self.delays.get(&delay).copied().flatten().map(|summary| value(&summary));
        let p99 = |which: Delay| delay(which, |summary| summary.p99_ms);
        let at_most = [
            ("p50_ms", bounds.p50_ms, delay(Delay::Response, |summary| summary.p50_ms)),
            ("p95_ms", bounds.p95_ms, delay(Delay::Response, |summary| summary.p95_ms)),
            ("p99_ms", bounds.p99_ms, p99(Delay::Response)),
            ("max_ms", bounds.max_ms, delay(Delay::Response, |summary| summary.max_ms)),
            ("first_interim_p99_ms", bounds.first_interim_p99_ms, p99(Delay::FirstInterim)),
            ("close_p99_ms", bounds.close_p99_ms, p99(Delay::CloseToLastResult)),
            ("own_lateness_p99_ms", bounds.own_lateness_p99_ms, p99(Delay::OwnLateness)),
            (
                "word_error_percent",
                bounds.word_error_percent,
                self.word_error.as_ref().map(|error| error.percent),
            ),
        ];
        let counts = [
            ("refused", bounds.refused, self.calls.refused),
            ("failed", bounds.failed, self.calls.failed),
            ("ahead", bounds.ahead, self.ahead),
            ("missing_words", bounds.missing_words, self.words.missing),
            ("doubled_words", bounds.doubled_words, self.words.doubled),
            ("differing_words", bounds.differing_words, self.words.differing),
            ("crossed_words", bounds.crossed_words, self.words.crossed),
            ("extra_words", bounds.extra_words, self.words.extra),
            ("moved_words", bounds.moved_words, self.words.moved),
        ];
        let mut broken = Vec::new();
        for (name, bound, value) in at_most {
            match (bound, value) {
                (Some(bound), Some(value)) if value > bound => broken.push(format!("{name} is {value:.1}, at most {bound} was asked for")),
                (Some(_), None) => broken.push(format!("{name}: there are no samples")),
                _ => {}
            }
        }
        match (bounds.within_400_ms, delay(Delay::Response, |summary| summary.within_400_ms)) {
            (Some(bound), Some(value)) if value < bound => {
                broken.push(format!("within_400_ms is {value:.4}, at least {bound} was asked for"))
            }
            (Some(_), None) => broken.push("within_400_ms: there are no samples".to_owned()),
            _ => {}
        }
        for (name, bound, value) in counts {
            if let Some(bound) = bound.filter(|bound| value > *bound) {
                broken.push(format!("{name} is {value}, at most {bound} was asked for"));
            }
        }
        let asks_for_words = [bounds.missing_words, bounds.differing_words, bounds.crossed_words]
            .iter()
            .any(Option::is_some);
        if asks_for_words && self.words.words == 0 {
            broken.push("words: the reference run has none, so there is nothing to compare".to_owned());
        }
        if bounds.crossed_words.is_some() && self.files.len() < 2 {
            broken.push("crossed_words: with one file alone no words can be told to be another stream's".to_owned());
        }
        broken
    }
}

impl Endings {
    fn of(placed: &[Placed]) -> Self {
        let mut out = Self {
            placed: count(placed.iter()),
            most_at_once: most_at_once(placed),
            ..Self::default()
        };
        for Placed { call, .. } in placed {
            match &call.outcome {
                Outcome::Completed => out.completed += 1,
                Outcome::Refused(_) => out.refused += 1,
                Outcome::Failed(reason) => {
                    out.failed += 1;
                    *out.failures.entry(reason.clone()).or_default() += 1;
                }
            }
            if let Some(code) = call.close_code {
                *out.close_codes.entry(code).or_default() += 1;
            }
            out.error_messages += count(call.errors.iter());
        }
        out
    }
}

/// Most calls that were accepted and open at the same time.
fn most_at_once(placed: &[Placed]) -> u64 {
    let accepted = || placed.iter().filter_map(|call| Some((call.audio_start_s?, call.ended_s)));
    let mut edges: Vec<(f64, bool)> = accepted().flat_map(|(start, end)| [(start, true), (end, false)]).collect();
    edges.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let (mut open, mut most) = (0_u64, 0_u64);
    for (_, begins) in edges {
        open = if begins { open.saturating_add(1) } else { open.saturating_sub(1) };
        most = most.max(open);
    }
    most
}

fn word_error<'a>(items: &[Item], completed: impl Iterator<Item = &'a Placed>) -> Option<WordError> {
    let (mut words, mut errors) = (0, 0);
    let mut scored = false;
    for placed in completed {
        let Some(transcript) = items.get(placed.file).and_then(|item| item.transcript.as_deref()) else {
            continue;
        };
        let wanted = normalise(transcript);
        scored = true;
        words += count(wanted.iter());
        errors += word_errors(&wanted, &normalise(&placed.call.transcript()));
    }
    scored.then(|| WordError {
        words,
        errors,
        percent: percent(errors, words),
    })
}

fn percent(part: u64, whole: u64) -> f64 {
    let number = |count: u64| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    100.0 * number(part) / number(whole).max(1.0)
}

fn count<T>(items: impl Iterator<Item = T>) -> u64 {
    u64::try_from(items.count()).unwrap_or(u64::MAX)
}

impl Display for Report<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            scenario, calls, words, ..
        } = self;
        writeln!(f, "{} on {}", scenario.name, self.url)?;
        writeln!(
            f,
            "{} lines over {} files, {} ms chunks at {} times real time, {} s with a ramp of {} s, warm-up {} s\n",
            scenario.load.streams,
            self.files.len(),
            scenario.audio.chunk_ms,
            scenario.audio.speed,
            scenario.load.duration_s,
            scenario.load.ramp_s,
            scenario.load.warmup_s
        )?;
        writeln!(
            f,
            "{:28}{:>9}{:>10}{:>10}{:>10}{:>10}{:>14}",
            "ms", "count", "p50", "p95", "p99", "max", "within 400 ms"
        )?;
        for (delay, summary) in &self.delays {
            match summary {
                Some(s) => writeln!(
                    f,
                    "{:28}{:>9}{:>10.1}{:>10.1}{:>10.1}{:>10.1}{:>12.2} %",
                    delay.label(),
                    s.count,
                    s.p50_ms,
                    s.p95_ms,
                    s.p99_ms,
                    s.max_ms,
                    s.within_400_ms * 100.0
                )?,
                None => writeln!(f, "{:28}{:>9}", delay.label(), 0)?,
            }
        }
        writeln!(
            f,
            "\ncalls     {} placed, {} completed, {} refused, {} failed; at most {} at once",
            calls.placed, calls.completed, calls.refused, calls.failed, calls.most_at_once
        )?;
        for (reason, number) in &calls.failures {
            writeln!(f, "          {number} x {reason}")?;
        }
        let codes: Vec<String> = calls
            .close_codes
            .iter()
            .map(|(code, number)| format!("{number} x {code}"))
            .collect();
        writeln!(
            f,
            "closed    {}; {} Error messages",
            if codes.is_empty() { "never".to_owned() } else { codes.join(", ") },
            calls.error_messages
        )?;
        writeln!(f, "results   {}, {} of them over audio not yet sent", self.results, self.ahead)?;
        writeln!(
            f,
            "words     {} compared with the reference run: {} missing, {} doubled, {} differing, {} crossed, {} extra, {} moved; {} transcripts changed",
            words.words, words.missing, words.doubled, words.differing, words.crossed, words.extra, words.moved, self.transcripts_changed
        )?;
        if let Some(error) = &self.word_error {
            writeln!(
                f,
                "accuracy  {:.1} % word error ({} of {} words)",
                error.percent, error.errors, error.words
            )?;
        }
        for broken in &self.broken {
            writeln!(f, "BROKEN    {broken}")?;
        }
        Ok(())
    }
}
