//! Searches for the largest number of streams that a server serves by the rule: answers in time, nobody refused, every word right.
//!
//! Doubles until a number of streams breaks the rule, then halves the gap. A number that breaks it is tried once more, so that a hiccup of a
//! machine does not pass for its limit; and up to [`DISTURBED_MOST`] times more often while other virtual machines take the processors of
//! this one, if the server runs on it. Called by `main`; every trial is a run of `live`, and `bisection` says which comes next.

mod bisection;

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use serde::Serialize;

use self::bisection::Search;
use crate::latency::{PROMISE, Summary, millis};
use crate::live::{self, Reference, Stage};
use crate::metrics::{self, Scrape, ServerFigures};
use crate::plan::{Load, Scenario};
use crate::report::Server;
use crate::stolen::Ticks;
use crate::tally::{Delay, Tally};
use crate::view::View;

/// Above this p99 of our own lateness a trial that breaks the rule says nothing about the server.
const OWN_LATENESS_MS: f64 = 20.0;
/// Above this share of this machine's processor time taken by others, a trial that breaks the rule says nothing about a server on it.
const STOLEN_SHARE: f64 = 0.02;
/// How often such a trial is repeated before it counts.
const DISTURBED_MOST: usize = 4;
/// Longest time over which the streams of a trial connect.
const LONGEST_RAMP_S: f64 = 30.0;
/// Longest wait for the streams of one trial to be gone at the server before the next.
const SETTLE: Duration = Duration::from_secs(30);
/// Longest pause after a trial that broke the rule, so that what it left behind at the server does not break the next.
const CALM: Duration = Duration::from_secs(20);
/// The server's own estimate of its capacity.
const ESTIMATE: &str = "engine_estimated_stream_capacity";
/// Streams open at the server.
const ACTIVE: &str = "engine_active_requests{kind=\"stream\"}";

/// What a trial must hold, and how far the search goes.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Rule {
    /// How long a trial is measured with all its streams, in seconds.
    pub(crate) duration_s: f64,
    /// Largest share of results later than 400 ms.
    pub(crate) late_share: f64,
    /// The search ends at this share of the number that holds.
    pub(crate) resolution: f64,
    /// Streams of the first trial.
    pub(crate) first: u32,
    /// Streams that are never exceeded.
    pub(crate) most: u32,
    /// Streams that must hold.
    pub(crate) at_least: Option<u32>,
}

impl Rule {
    /// Refuses what cannot be searched for.
    ///
    /// # Errors
    /// A value out of range.
    pub(crate) fn check(&self) -> Result<()> {
        ensure!(
            (1.0..=86_400.0).contains(&self.duration_s),
            "a trial must last between a second and a day"
        );
        ensure!((0.0..=1.0).contains(&self.late_share), "the late share must lie between 0 and 1");
        ensure!((0.0..=1.0).contains(&self.resolution), "the resolution must lie between 0 and 1");
        ensure!(
            self.first >= 1 && self.first <= self.most && self.most <= 20_000,
            "the streams must lie between 1 and 20000, the first number below the most"
        );
        Ok(())
    }

    fn ramp_s(&self) -> f64 {
        (self.duration_s / 4.0).min(LONGEST_RAMP_S)
    }
}

/// One number of streams.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Trial {
    /// How many were put on the server.
    pub(crate) streams: u32,
    /// Why the rule does not hold; empty if it does.
    pub(crate) broken: Vec<String>,
    /// Whether we sent so late that a broken rule may be our fault.
    pub(crate) own_fault: bool,
    /// Share of this machine's processor time that other virtual machines took, if the server runs on it and that is known.
    pub(crate) stolen: Option<f64>,
    /// Response times.
    pub(crate) response: Option<Summary>,
    /// Our own lateness.
    pub(crate) own_lateness: Option<Summary>,
    /// Calls answered to their end.
    pub(crate) completed: u64,
    /// Calls answered with 429 or 503.
    pub(crate) refused: u64,
    /// Calls that failed.
    pub(crate) failed: u64,
    /// Words not as in the reference run.
    pub(crate) words_wrong: u64,
    /// The capacity that the server estimated while at least half of the streams were open, the latest reading.
    pub(crate) estimated_by_server: Option<f64>,
    /// The server's own figures of the trial.
    pub(crate) server: Option<ServerFigures>,
}

/// What ended the search upwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bound {
    /// The server broke the rule with more streams.
    Server,
    /// We were too slow to tell.
    OwnLateness,
    /// No more streams were asked for.
    MostAskedFor,
}

/// The result of a search.
#[derive(Debug, Serialize)]
pub(crate) struct Capacity<'a> {
    /// Name of the scenario.
    pub(crate) scenario: &'a str,
    /// The server.
    pub(crate) url: &'a str,
    /// What was searched for.
    pub(crate) rule: Rule,
    /// The largest number of streams that held the rule; 0 if none did.
    pub(crate) streams: u32,
    /// The smallest number that did not.
    pub(crate) broken_at: Option<u32>,
    /// What ended the search upwards.
    pub(crate) bounded_by: Bound,
    /// What the server said before the search.
    pub(crate) estimated_by_server: Option<f64>,
    /// All trials in their order.
    pub(crate) trials: Vec<Trial>,
}

/// Searches, and prints every trial as it ends.
///
/// # Errors
/// A reference run that fails, or a mistake on our side.
pub(crate) async fn search<'a>(scenario: &'a Scenario, url: &'a str, stage: &Arc<Stage>, rule: &Rule) -> Result<Capacity<'a>> {
    ensure!(
        scenario.groups.iter().all(|group| group.count.is_none()),
        "a group with a count has no place in a search: give it a weight"
    );
    let estimate = Scrape::read(&stage.target).await.ok().and_then(|scrape| scrape.gauge(ESTIMATE));
    let reference = live::reference(scenario, stage).await?;
    let mut found = Capacity {
        scenario: &scenario.name,
        url,
        rule: *rule,
        streams: 0,
        broken_at: None,
        bounded_by: Bound::MostAskedFor,
        estimated_by_server: estimate,
        trials: Vec::new(),
    };
    println!("{} on {url}", scenario.name);
    match estimate {
        Some(streams) => println!("the server estimates that it can serve {streams} streams"),
        None => println!("the server gives no estimate of its own"),
    }
    println!(
        "trials of {} s with fresh connections over {} s before; at most {} of the results later than {} ms and p99 within it\n\n{HEAD}",
        rule.duration_s,
        rule.ramp_s(),
        rule.late_share,
        PROMISE.as_millis()
    );
    let mut search = Search::new(rule);
    while let Some(streams) = search.next() {
        for repeated in 0..=DISTURBED_MOST {
            settle(stage).await;
            let trial = attempt(scenario, stage, &reference, rule, streams).await?;
            println!("{trial}");
            let (holds, disturbed) = (trial.broken.is_empty(), trial.is_disturbed());
            found.trials.push(trial);
            if !holds {
                tokio::time::sleep(CALM.min(Duration::from_secs_f64(rule.duration_s / 2.0))).await;
            }
            if !disturbed || repeated == DISTURBED_MOST {
                search.tried(streams, holds);
                break;
            }
        }
    }
    found.streams = search.held;
    found.broken_at = search.broken;
    let bound = found.trials.iter().rfind(|trial| Some(trial.streams) == search.broken);
    found.bounded_by = match bound {
        None => Bound::MostAskedFor,
        Some(trial) if trial.own_fault => Bound::OwnLateness,
        Some(_) => Bound::Server,
    };
    Ok(found)
}

/// Waits until the streams of the trial before are gone at the server, as far as it says so.
async fn settle(stage: &Stage) {
    let end = Instant::now() + SETTLE;
    while Instant::now() < end {
        match Scrape::read(&stage.target).await {
            Ok(scrape) if scrape.gauge(ACTIVE).is_some_and(|streams| streams > 0.0) => {}
            _ => return,
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Runs one trial.
async fn attempt(scenario: &Scenario, stage: &Arc<Stage>, reference: &Reference, rule: &Rule, streams: u32) -> Result<Trial> {
    let ramp_s = rule.ramp_s();
    let scenario = Arc::new(Scenario {
        load: Load {
            streams,
            ramp_s,
            steps: Vec::new(),
            duration_s: ramp_s + rule.duration_s,
            warmup_s: ramp_s,
        },
        storms: Vec::new(),
        ..scenario.clone()
    });
    let before = Scrape::read(&stage.target).await;
    let ticks = stage.target.is_local().then(Ticks::now).flatten();
    let view = Arc::new(View::new()?);
    let mut tally = Tally::new(&scenario, &stage.program, reference, false)?;
    let mut estimate = None;
    // One refusal settles it.
    let run = live::run(&scenario, stage, &view, &mut tally, |tally| {
        tally.endings.refused > 0 || tally.endings.failed > 0
    });
    tokio::select! {
        ended = run => ended?,
        () = watch(stage, streams, &mut estimate) => {}
    }
    let server = metrics::between(before, &stage.target).await;
    let stolen = ticks.zip(Ticks::now()).map(|(before, now)| now.stolen_since(before));
    Ok(Trial {
        estimated_by_server: estimate,
        stolen,
        ..Trial::judge(streams, rule, &tally, server)
    })
}

/// Keeps the server's estimate of its capacity up to date while at least half of the streams are open; does not end.
async fn watch(stage: &Stage, streams: u32, estimate: &mut Option<f64>) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if let Ok(scrape) = Scrape::read(&stage.target).await
            && scrape.gauge(ACTIVE).is_some_and(|active| active >= f64::from(streams) / 2.0)
        {
            *estimate = scrape.gauge(ESTIMATE);
        }
    }
}

impl Trial {
    fn judge(streams: u32, rule: &Rule, tally: &Tally<'_>, server: Server) -> Self {
        let response = tally.delay(Delay::Response);
        let own_lateness = tally.delay(Delay::OwnLateness);
        let (endings, words_wrong) = (&tally.endings, tally.words.wrong());
        let mut broken = Vec::new();
        for (number, what) in [
            (endings.refused, "refused"),
            (endings.failed, "failed"),
            (words_wrong, "words wrong"),
        ] {
            if number > 0 {
                broken.push(format!("{number} {what}"));
            }
        }
        if endings.failed > 0 {
            broken.extend(endings.failures.keys().take(3).cloned());
        }
        match response {
            // Refused before there was anything to measure.
            None if !broken.is_empty() => {}
            None => broken.push("no results".to_owned()),
            Some(response) => {
                let late = 1.0 - response.within_400_ms;
                if late > rule.late_share {
                    broken.push(format!("{:.2} % late", late * 100.0));
                }
                if response.p99_ms > millis(PROMISE) {
                    broken.push(format!("p99 {:.0} ms", response.p99_ms));
                }
            }
        }
        if tally.reference_words() == 0 {
            broken.push("no words in the reference".to_owned());
        }
        Self {
            streams,
            own_fault: is_own_fault(&broken, endings.refused, own_lateness),
            broken,
            response,
            own_lateness,
            completed: endings.completed,
            refused: endings.refused,
            failed: endings.failed,
            words_wrong,
            estimated_by_server: None,
            stolen: None,
            server: server.ok(),
        }
    }

    /// Whether the rule was broken while others had the server's processors.
    fn is_disturbed(&self) -> bool {
        !self.broken.is_empty() && self.stolen.is_some_and(|share| share > STOLEN_SHARE)
    }
}

/// Whether a broken rule may be due to us: we were late ourselves, and nobody was refused, which only the server can do.
fn is_own_fault(broken: &[String], refused: u64, own_lateness: Option<Summary>) -> bool {
    !broken.is_empty() && refused == 0 && own_lateness.is_some_and(|summary| summary.p99_ms > OWN_LATENESS_MS)
}

const HEAD: &str = "  streams  results     p50     p99     max    late     refused  failed   words wrong  our lateness p99  estimate";

impl Display for Trial {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:9}", self.streams)?;
        match self.response {
            Some(s) => write!(
                f,
                "{:9}{:8.0}{:8.0}{:8.0}{:7.2} %",
                s.count,
                s.p50_ms,
                s.p99_ms,
                s.max_ms,
                (1.0 - s.within_400_ms) * 100.0
            )?,
            None => write!(f, "{:9}{:>8}{:>8}{:>8}{:>9}", 0, "-", "-", "-", "-")?,
        }
        let lateness = self
            .own_lateness
            .map_or_else(|| "-".to_owned(), |summary| format!("{:.1} ms", summary.p99_ms));
        write!(f, "{:12}{:8}{:14}{lateness:>18}", self.refused, self.failed, self.words_wrong)?;
        let estimate = self
            .estimated_by_server
            .map_or_else(|| "-".to_owned(), |streams| format!("{streams:.0}"));
        write!(f, "{estimate:>10}  ")?;
        match (self.broken.as_slice(), self.own_fault) {
            ([], _) => write!(f, "holds"),
            (broken, false) => write!(f, "does not hold: {}", broken.join(", ")),
            (broken, true) => write!(f, "invalid, we were late ourselves: {}", broken.join(", ")),
        }?;
        match self.stolen.filter(|_| self.is_disturbed()) {
            Some(share) => write!(f, "; others took {:.1} % of the processors", share * 100.0),
            None => Ok(()),
        }
    }
}

impl Display for Capacity<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let rule = &self.rule;
        write!(f, "\ncapacity  {} streams", self.streams)?;
        match (self.bounded_by, self.broken_at) {
            (Bound::Server, Some(broken)) => writeln!(f, "; {broken} do not hold")?,
            (Bound::OwnLateness, Some(broken)) => writeln!(
                f,
                " at least: with {broken} we were late ourselves (p99 over {OWN_LATENESS_MS} ms), so this machine is too slow to tell"
            )?,
            _ => writeln!(f, " at least: more were not asked for")?,
        }
        if let Some(estimate) = self.estimated_by_server {
            writeln!(f, "          the server estimated {estimate} before the search")?;
        }
        if let Some(least) = rule.at_least.filter(|least| self.streams < *least) {
            writeln!(f, "BROKEN    {} streams, at least {least} were asked for", self.streams)?;
        }
        Ok(())
    }
}

impl Capacity<'_> {
    /// Everything that the search printed.
    pub(crate) fn table(&self) -> String {
        let trials: String = self.trials.iter().map(|trial| format!("{trial}\n")).collect();
        format!("{} on {}\n\n{HEAD}\n{trials}{self}", self.scenario, self.url)
    }

    /// Whether a number was found that is as large as asked for.
    ///
    /// # Errors
    /// Not even the smallest trial was valid.
    pub(crate) fn holds(&self) -> Result<bool> {
        if self.streams == 0 && self.bounded_by == Bound::OwnLateness {
            bail!("no trial was valid: we were late ourselves");
        }
        Ok(self.streams >= self.rule.at_least.unwrap_or(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lateness(p99_ms: f64) -> Option<Summary> {
        Some(Summary {
            count: 1,
            p50_ms: 0.0,
            p95_ms: p99_ms,
            p99_ms,
            max_ms: p99_ms,
            within_400_ms: 1.0,
        })
    }

    #[test]
    fn a_broken_rule_is_our_fault_only_if_we_were_late_and_nobody_was_refused() {
        let broken = ["p99 500 ms".to_owned()];
        assert!(is_own_fault(&broken, 0, lateness(20.1)));
        assert!(!is_own_fault(&broken, 0, lateness(20.0)));
        assert!(!is_own_fault(&broken, 1, lateness(50.0)));
        assert!(!is_own_fault(&[], 0, lateness(50.0)), "what holds in spite of us holds");
        assert!(!is_own_fault(&broken, 0, None));
    }

    fn trial(broken: &[&str], stolen: Option<f64>) -> Trial {
        Trial {
            streams: 8,
            broken: broken.iter().map(|&reason| reason.to_owned()).collect(),
            own_fault: true,
            response: lateness(500.0),
            own_lateness: lateness(50.0),
            completed: 8,
            refused: 0,
            failed: 0,
            words_wrong: 0,
            estimated_by_server: Some(9.0),
            stolen,
            server: None,
        }
    }

    #[test]
    fn what_breaks_while_others_have_the_processors_is_disturbed_and_what_holds_then_holds() {
        assert!(trial(&["1 refused"], Some(0.021)).is_disturbed());
        assert!(!trial(&["1 refused"], Some(0.02)).is_disturbed());
        assert!(!trial(&["1 refused"], None).is_disturbed());
        assert!(!trial(&[], Some(0.5)).is_disturbed());
    }

    #[test]
    fn a_search_that_ends_at_our_own_lateness_says_so() {
        let trial = trial(&["p99 500 ms"], Some(0.021));
        let mut found = Capacity {
            scenario: "s",
            url: "u",
            rule: Rule {
                duration_s: 1.0,
                late_share: 0.001,
                resolution: 0.05,
                first: 1,
                most: 10,
                at_least: None,
            },
            streams: 7,
            broken_at: Some(8),
            bounded_by: Bound::OwnLateness,
            estimated_by_server: None,
            trials: vec![trial],
        };
        let table = found.table();
        assert!(
            table.contains("50.0 ms         9  invalid, we were late ourselves: p99 500 ms; others took 2.1 % of the processors"),
            "{table}"
        );
        assert!(
            table.contains("capacity  7 streams at least: with 8 we were late ourselves"),
            "{table}"
        );
        assert!(found.holds().is_ok_and(|holds| holds));
        found.streams = 0;
        assert!(found.holds().is_err(), "nothing is known of the server");
    }
}
