//! Many calls at once: the reference run, then the lines of the scenario.
//!
//! Starts calls and gathers them; `report` makes sense of them. Called by `main`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::call::{Call, Outcome, Target, call};
use crate::plan::{Item, Scenario};

/// A line waits this long after a call that was refused or did not come about.
const REDIAL: Duration = Duration::from_secs(1);

/// One call of the run.
#[derive(Debug, Serialize)]
pub(crate) struct Placed {
    /// Which line made it.
    pub(crate) line: u32,
    /// Index of the file it played.
    pub(crate) file: usize,
    /// When it was placed, in seconds after the start of the run.
    pub(crate) begun_s: f64,
    /// When it ended.
    pub(crate) ended_s: f64,
    /// First chunk's planned send time, in seconds after the start of the run.
    pub(crate) audio_start_s: Option<f64>,
    /// What was seen.
    #[serde(flatten)]
    pub(crate) call: Call,
}

/// Sends every file once, alone, and returns the calls in the order of the files.
///
/// # Errors
/// A call that does not complete: without a reference the words of the run mean nothing.
pub(crate) async fn reference(scenario: &Scenario, target: &Target, items: &[Item]) -> Result<Vec<Call>> {
    let bar = bar(items.len(), "reference");
    let mut calls = Vec::new();
    for item in items {
        let seen = call(target, &item.wav, scenario.audio.reference_speed, |_, _| {}).await?;
        if seen.outcome != Outcome::Completed {
            bail!("the reference call with {} did not complete: {:?}", item.wav.name(), seen.outcome);
        }
        calls.push(seen);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(calls)
}

/// Runs all lines and returns their calls.
///
/// # Errors
/// A mistake on our side, such as a chunk shorter than one sample.
pub(crate) async fn run(scenario: &Arc<Scenario>, target: &Arc<Target>, items: &Arc<Vec<Item>>) -> Result<Vec<Placed>> {
    let start = Instant::now();
    let (sender, mut placed) = tokio::sync::mpsc::unbounded_channel();
    let mut lines = JoinSet::new();
    for index in 0..scenario.load.streams {
        let (scenario, target, items) = (Arc::clone(scenario), Arc::clone(target), Arc::clone(items));
        lines.spawn(line(index, start, scenario, target, items, sender.clone()));
    }
    drop(sender);

    let seconds = Duration::from_secs_f64(scenario.load.duration_s).as_secs();
    let bar = bar(usize::try_from(seconds)?, "calls");
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    let mut calls: Vec<Placed> = Vec::new();
    loop {
        tokio::select! {
            call = placed.recv() => match call {
                Some(call) => calls.push(call),
                None => break,
            },
            _ = tick.tick() => {
                bar.set_position(start.elapsed().as_secs());
                bar.set_message(format!("{} calls ended", calls.len()));
            }
        }
    }
    bar.finish_and_clear();
    while let Some(ended) = lines.join_next().await {
        ended??;
    }
    calls.sort_by(|a, b| a.begun_s.total_cmp(&b.begun_s));
    Ok(calls)
}

/// One line: call after call until the time is over. Line `i` begins with file `i`, so that neighbours play different files.
async fn line(
    index: u32,
    start: Instant,
    scenario: Arc<Scenario>,
    target: Arc<Target>,
    items: Arc<Vec<Item>>,
    placed: tokio::sync::mpsc::UnboundedSender<Placed>,
) -> Result<()> {
    let over = start + Duration::from_secs_f64(scenario.load.duration_s);
    tokio::time::sleep_until((start + scenario.line_start(index)).into()).await;
    for (file, item) in items.iter().enumerate().cycle().skip(usize::try_from(index)?) {
        let begun = Instant::now();
        if begun >= over {
            break;
        }
        let seen = call(&target, &item.wav, scenario.audio.speed, |_, _| {}).await?;
        let accepted = seen.audio_start.is_some();
        let since_start = |at: Instant| at.saturating_duration_since(start).as_secs_f64();
        let call = Placed {
            line: index,
            file,
            begun_s: since_start(begun),
            ended_s: since_start(Instant::now()),
            audio_start_s: seen.audio_start.map(since_start),
            call: seen,
        };
        if placed.send(call).is_err() {
            break;
        }
        if !accepted {
            tokio::time::sleep(REDIAL).await;
        }
    }
    Ok(())
}

/// A progress bar on stderr; invisible when that is not a terminal.
fn bar(length: usize, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(u64::try_from(length).unwrap_or(u64::MAX)).with_prefix(what);
    ProgressStyle::with_template("{prefix:10} [{bar:40}] {pos}/{len} {msg}").map_or(bar.clone(), |style| bar.with_style(style))
}
