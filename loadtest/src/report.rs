//! Makes a report of the sums of a run: prints it, writes it as JSON, and holds it against the scenario's bounds.
//!
//! Measures nothing itself. Called by `main`, `capacity` and `soak`; `html` draws it.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use crate::compare::Differences;
use crate::latency::Summary;
use crate::live::Placed;
use crate::metrics::{ServerFigures, Spread};
use crate::plan::{Scenario, Thresholds};
use crate::program::Program;
use crate::tally::{Delay, Endings, Point, Tally, WordError};

/// Shares of the response times for which the curve gives the largest.
const SHARES: [f64; 12] = [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1.0];

/// Everything that is known about a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report<'a> {
    /// As read.
    pub(crate) scenario: &'a Scenario,
    /// The server.
    pub(crate) url: &'a str,
    /// What was sent, in the order that `raw[].recording` counts in.
    pub(crate) recordings: Vec<&'a str>,
    /// How the calls ended.
    pub(crate) calls: Endings,
    /// Most streams that were open at once.
    pub(crate) most_at_once: u64,
    /// Delays by name; `None` without samples.
    pub(crate) delays: BTreeMap<Delay, Option<Summary>>,
    /// Response times and the share of them that are at most so long.
    pub(crate) response_curve: Vec<(f64, f64)>,
    /// Results received, warm-up left out.
    pub(crate) results: u64,
    /// Results that covered audio not yet sent.
    pub(crate) ahead: u64,
    /// Words of the completed calls against the reference run.
    pub(crate) words: Differences,
    /// Words of the reference run.
    pub(crate) reference_words: u64,
    /// Completed calls whose final transcript is not that of the reference run.
    pub(crate) transcripts_changed: u64,
    /// Word errors against the transcripts; `None` without transcripts.
    pub(crate) word_error: Option<WordError>,
    /// The groups of lines, in the order of the scenario.
    pub(crate) groups: Vec<GroupReport<'a>>,
    /// `None` if the scenario has none.
    pub(crate) uploads: Option<UploadReport>,
    /// The server's own figures, from before to after the run.
    pub(crate) server: Option<ServerFigures>,
    /// Why there are none.
    pub(crate) server_error: Option<String>,
    /// The run over time.
    pub(crate) over_time: Vec<Point>,
    /// What the scenario asked for and did not get.
    pub(crate) broken: Vec<String>,
    /// Calls with every result, as far as they were kept.
    pub(crate) raw: &'a [Placed],
    /// Calls that were counted and not kept.
    pub(crate) raw_left_out: u64,
}

/// One group of lines.
#[derive(Debug, Serialize)]
pub(crate) struct GroupReport<'a> {
    /// As in the scenario.
    pub(crate) name: &'a str,
    /// How its calls ended.
    pub(crate) calls: Endings,
    /// Its response times.
    pub(crate) response: Option<Summary>,
    /// Its words against the reference run.
    pub(crate) words: Differences,
}

/// Uploads.
#[derive(Debug, Serialize)]
pub(crate) struct UploadReport {
    /// How they ended.
    pub(crate) calls: Endings,
    /// Due while as many as allowed were in flight.
    pub(crate) left_out: u64,
    /// From the planned beginning to the whole answer.
    pub(crate) turnaround: Option<Summary>,
    /// Audio of completed uploads, in seconds, for each second from the start of the run to the last answer.
    pub(crate) audio_per_second: f64,
    /// Words against the reference uploads.
    pub(crate) words: Differences,
}

/// The server's figures, or why there are none.
pub(crate) type Server = Result<ServerFigures, String>;

impl<'a> Report<'a> {
    /// Sums up a run that is over.
    pub(crate) fn new(
        scenario: &'a Scenario,
        url: &'a str,
        program: &'a Program,
        tally: &'a Tally<'_>,
        most_at_once: u64,
        server: Server,
    ) -> Self {
        let uploads = &tally.uploads;
        let upload_report = scenario.uploads.map(|_| UploadReport {
            calls: uploads.endings.clone(),
            left_out: uploads.left_out,
            turnaround: uploads.turnaround.summary(),
            audio_per_second: if uploads.last_s > 0.0 {
                uploads.audio_s / uploads.last_s
            } else {
                0.0
            },
            words: uploads.words,
        });
        let groups = program.kinds.iter().zip(&tally.groups).map(|(kind, group)| GroupReport {
            name: &kind.name,
            calls: group.endings.clone(),
            response: group.response.summary(),
            words: group.words,
        });
        let (server, server_error) = match server {
            Ok(figures) => (Some(figures), None),
            Err(reason) => (None, Some(reason)),
        };
        let mut report = Self {
            scenario,
            url,
            recordings: program.recordings.iter().map(|track| track.recording.name.as_str()).collect(),
            calls: tally.endings.clone(),
            most_at_once,
            delays: tally.delays(),
            response_curve: tally.response_curve(&SHARES),
            results: tally.results,
            ahead: tally.ahead,
            words: tally.words,
            reference_words: tally.reference_words(),
            transcripts_changed: tally.transcripts_changed,
            word_error: tally.word_error(),
            groups: groups.collect(),
            uploads: upload_report,
            server,
            server_error,
            over_time: tally.over_time(),
            broken: Vec::new(),
            raw: &tally.raw,
            raw_left_out: tally.raw_left_out,
        };
        report.broken = report.broken(&scenario.thresholds, program.items.len());
        report
    }

    /// One delay.
    pub(crate) fn delay(&self, delay: Delay) -> Option<Summary> {
        self.delays.get(&delay).copied().flatten()
    }

    fn broken(&self, bounds: &Thresholds, files: usize) -> Vec<String> {
        let delay = |delay: Delay, value: fn(&Summary) -> f64| self.delay(delay).map(|summary| value(&summary));
        let p99 = |which: Delay| delay(which, |summary| summary.p99_ms);
        let uploads = self.uploads.as_ref();
        let at_most = [
            ("p50_ms", bounds.p50_ms, delay(Delay::Response, |summary| summary.p50_ms)),
            ("p95_ms", bounds.p95_ms, delay(Delay::Response, |summary| summary.p95_ms)),
            ("p99_ms", bounds.p99_ms, p99(Delay::Response)),
            ("max_ms", bounds.max_ms, delay(Delay::Response, |summary| summary.max_ms)),
            ("transcript_lag_p99_ms", bounds.transcript_lag_p99_ms, p99(Delay::TranscriptLag)),
            ("speech_end_p99_ms", bounds.speech_end_p99_ms, p99(Delay::SpeechEnd)),
            ("first_interim_p99_ms", bounds.first_interim_p99_ms, p99(Delay::FirstInterim)),
            ("close_p99_ms", bounds.close_p99_ms, p99(Delay::CloseToLastResult)),
            ("reconnect_p99_ms", bounds.reconnect_p99_ms, p99(Delay::Reconnect)),
            ("own_lateness_p99_ms", bounds.own_lateness_p99_ms, p99(Delay::OwnLateness)),
            (
                "word_error_percent",
                bounds.word_error_percent,
                self.word_error.as_ref().map(|error| error.percent),
            ),
            (
                "upload_p95_ms",
                bounds.upload_p95_ms,
                uploads.and_then(|uploads| uploads.turnaround).map(|summary| summary.p95_ms),
            ),
        ];
        let at_least = [
            (
                "within_400_ms",
                bounds.within_400_ms,
                delay(Delay::Response, |summary| summary.within_400_ms),
            ),
            (
                "upload_audio_per_second",
                bounds.upload_audio_per_second,
                uploads.map(|uploads| uploads.audio_per_second),
            ),
        ];
        let of_uploads = |value: fn(&UploadReport) -> u64| uploads.map_or(0, value);
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
            (
                "uploads_refused",
                bounds.uploads_refused,
                of_uploads(|uploads| uploads.calls.refused),
            ),
            ("uploads_failed", bounds.uploads_failed, of_uploads(|uploads| uploads.calls.failed)),
            ("upload_words", bounds.upload_words, of_uploads(|uploads| uploads.words.wrong())),
        ];
        let mut broken = Vec::new();
        for (name, bound, value) in at_most {
            match (bound, value) {
                (Some(bound), Some(value)) if value > bound => broken.push(format!("{name} is {value:.1}, at most {bound} was asked for")),
                (Some(_), None) => broken.push(format!("{name}: there are no samples")),
                _ => {}
            }
        }
        for (name, bound, value) in at_least {
            match (bound, value) {
                (Some(bound), Some(value)) if value < bound => broken.push(format!("{name} is {value:.4}, at least {bound} was asked for")),
                (Some(_), None) => broken.push(format!("{name}: there are no samples")),
                _ => {}
            }
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
        if bounds.crossed_words.is_some() && files < 2 {
            broken.push("crossed_words: with one file alone no words can be told to be another stream's".to_owned());
        }
        if bounds.upload_words.is_some() && uploads.is_none_or(|uploads| uploads.words.words == 0) {
            broken.push("upload_words: no upload has words to compare".to_owned());
        }
        broken
    }
}

/// The head of a table of delays.
fn head(f: &mut Formatter<'_>, title: &str) -> fmt::Result {
    writeln!(
        f,
        "{title:28}{:>9}{:>10}{:>10}{:>10}{:>10}{:>14}",
        "count", "p50", "p95", "p99", "max", "within 400 ms"
    )
}

/// A row of a table of delays.
fn row(f: &mut Formatter<'_>, label: &str, summary: Option<Summary>) -> fmt::Result {
    match summary {
        Some(s) => writeln!(
            f,
            "{label:28}{:>9}{:>10.1}{:>10.1}{:>10.1}{:>10.1}{:>12.2} %",
            s.count,
            s.p50_ms,
            s.p95_ms,
            s.p99_ms,
            s.max_ms,
            s.within_400_ms * 100.0
        ),
        None => writeln!(f, "{label:28}{:>9}", 0),
    }
}

/// A figure of the server in its own units; three digits are enough for a bucket.
fn figure(value: Option<f64>) -> String {
    value.map_or_else(|| "beyond".to_owned(), |value| format!("{value:.4}"))
}

impl Display for Endings {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} placed, {} completed, {} refused, {} failed",
            self.placed, self.completed, self.refused, self.failed
        )?;
        for (number, what) in [
            (self.hung_up, "hung up by us"),
            (self.unread, "never read by us and open to the end"),
            (self.evicted, "never read by us and ended by the server"),
        ] {
            if number > 0 {
                write!(f, ", {number} {what}")?;
            }
        }
        Ok(())
    }
}

/// What lies behind the refusals and failures, a line each.
fn reasons(f: &mut Formatter<'_>, endings: &Endings) -> fmt::Result {
    if endings.refused > 0 {
        let by_status: Vec<String> = endings
            .refusals
            .iter()
            .map(|(status, number)| format!("{number} x {status}"))
            .collect();
        let told = match endings.retry_after_s {
            Some((least, most)) if least < most => format!("Retry-After {least} to {most} s"),
            Some((least, _)) => format!("Retry-After {least} s"),
            None => "never a Retry-After".to_owned(),
        };
        let without = endings.without_retry_after;
        writeln!(f, "          refused: {}; {told}, {without} without", by_status.join(", "))?;
    }
    for (reason, number) in &endings.failures {
        writeln!(f, "          {number} x {reason}")?;
    }
    Ok(())
}

impl Display for Differences {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} compared: {} missing, {} doubled, {} differing, {} crossed, {} extra, {} moved",
            self.words, self.missing, self.doubled, self.differing, self.crossed, self.extra, self.moved
        )
    }
}

impl Display for ServerFigures {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:60}{:>9}{:>10}{:>10}{:>10}{:>10}",
            "the server's own figures", "count", "mean", "p50", "p95", "p99"
        )?;
        for (name, spread) in &self.spreads {
            let Spread {
                count,
                mean,
                p50,
                p95,
                p99,
                ..
            } = spread;
            let [p50, p95, p99] = [p50, p95, p99].map(|value| figure(*value));
            writeln!(f, "{name:60}{count:>9}{mean:>10.4}{p50:>10}{p95:>10}{p99:>10}")?;
        }
        for (name, grown) in &self.grown {
            writeln!(f, "{name:60}{:>9}", format!("+{grown}"))?;
        }
        for (name, value) in &self.gauges {
            writeln!(f, "{name:60}{value:>9}")?;
        }
        Ok(())
    }
}

impl Display for Report<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { scenario, calls, .. } = self;
        writeln!(f, "{} on {}", scenario.name, self.url)?;
        writeln!(
            f,
            "{} lines over {} recordings, {} s with a ramp of {} s, warm-up {} s\n",
            scenario.most_streams(),
            self.recordings.len(),
            scenario.load.duration_s,
            scenario.load.ramp_s,
            scenario.load.warmup_s
        )?;
        head(f, "ms")?;
        for (delay, summary) in &self.delays {
            row(f, delay.label(), *summary)?;
        }
        if let Some(uploads) = &self.uploads {
            row(f, "upload to answer", uploads.turnaround)?;
        }
        if self.groups.len() > 1 {
            writeln!(f)?;
            head(f, "response time by group, ms")?;
            for group in &self.groups {
                row(f, group.name, group.response)?;
                writeln!(f, "  {}; {} words wrong", group.calls, group.words.wrong())?;
            }
        }
        writeln!(f, "\ncalls     {calls}; at most {} at once", self.most_at_once)?;
        reasons(f, calls)?;
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
        writeln!(f, "words     {}; {} transcripts changed", self.words, self.transcripts_changed)?;
        if let Some(error) = &self.word_error {
            writeln!(
                f,
                "accuracy  {:.1} % word error ({} of {} words)",
                error.percent, error.errors, error.words
            )?;
        }
        if let Some(uploads) = &self.uploads {
            writeln!(
                f,
                "uploads   {}, {} left out; {:.1} s of audio a second; words {}",
                uploads.calls, uploads.left_out, uploads.audio_per_second, uploads.words
            )?;
            reasons(f, &uploads.calls)?;
        }
        match (&self.server, &self.server_error) {
            (Some(server), _) => write!(f, "\n{server}")?,
            (None, Some(reason)) => writeln!(f, "server    no figures of its own: {reason}")?,
            (None, None) => {}
        }
        if self.raw_left_out > 0 {
            writeln!(f, "raw       {} calls are counted, but not kept one by one", self.raw_left_out)?;
        }
        for broken in &self.broken {
            writeln!(f, "BROKEN    {broken}")?;
        }
        Ok(())
    }
}
