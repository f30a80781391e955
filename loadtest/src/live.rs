//! The run: first every recording alone, then the lines, storms and uploads of the scenario at once.
//!
//! Starts calls and hands them to the tally as they end. Called by `main`, `capacity` and `soak`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::call::{Call, Manner, Outcome, call, never_read};
use crate::compare::Word;
use crate::plan::{Scenario, Storm};
use crate::program::{LineKind, Program};
use crate::tally::Tally;
use crate::target::Target;
use crate::upload::{self, Uploader};
use crate::view::{TICK, View, bar};

/// A line waits this long after a call that did not come about.
const REDIAL: Duration = Duration::from_secs(1);
/// Calls that have ended and are not yet counted; lines wait when there are more.
const BACKLOG: usize = 256;

/// One call of the run.
#[derive(Debug, Serialize)]
pub(crate) struct Placed {
    /// Which line made it.
    pub(crate) line: u32,
    /// Index of the line's group.
    pub(crate) group: usize,
    /// Index of the recording it played.
    pub(crate) recording: usize,
    /// When it was placed, in seconds after the start of the run.
    pub(crate) begun_s: f64,
    /// When it ended.
    pub(crate) ended_s: f64,
    /// First chunk's planned send time, in seconds after the start of the run.
    pub(crate) audio_start_s: Option<f64>,
    /// From the storm that dropped the line's last call to the acceptance of this one.
    pub(crate) reconnect_ms: Option<f64>,
    /// What was seen.
    #[serde(flatten)]
    pub(crate) call: Call,
}

/// Something ended.
#[derive(Debug)]
pub(crate) enum Event {
    /// A call.
    Call(Box<Placed>),
    /// An upload.
    Upload(upload::Event),
}

/// What every recording gives when it is alone.
#[derive(Debug)]
pub(crate) struct Reference {
    /// Words of every recording, for each of its channels.
    pub(crate) calls: Vec<Vec<Vec<Word>>>,
    /// Words of every file as an upload; empty without uploads.
    pub(crate) uploads: Vec<Vec<Word>>,
}

/// Everything that a run needs.
#[derive(Debug)]
pub(crate) struct Stage {
    /// Where to.
    pub(crate) target: Target,
    /// What is sent.
    pub(crate) program: Program,
    /// Sends the files.
    pub(crate) uploader: Arc<Uploader>,
}

impl Stage {
    /// For `program` on `target`.
    ///
    /// # Errors
    /// The HTTP client cannot be set up.
    pub(crate) fn new(target: Target, program: Program) -> Result<Self> {
        let uploader = Arc::new(Uploader::new(&target, &program.items)?);
        Ok(Self { target, program, uploader })
    }
}

/// Sends every recording once, alone; with uploads also every file.
///
/// # Errors
/// A call that does not complete: without a reference the words of the run mean nothing.
pub(crate) async fn reference(scenario: &Scenario, stage: &Stage) -> Result<Reference> {
    let tracks = &stage.program.recordings;
    let bar = bar(tracks.len(), "reference");
    let view = View::new()?;
    let mut calls = Vec::new();
    for track in tracks {
        let manner = Manner::whole(scenario.audio.reference_speed, track.chunk_ms);
        let seen = call(&stage.target, &track.recording, &manner, &view, |_, _| {}).await?;
        if seen.outcome != Outcome::Completed {
            bail!(
                "the reference call with {} did not complete: {:?}",
                track.recording.name,
                seen.outcome
            );
        }
        calls.push(seen.words);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let uploads = match scenario.uploads {
        Some(_) => stage.uploader.reference().await?,
        None => Vec::new(),
    };
    Ok(Reference { calls, uploads })
}

/// Runs everything and feeds `tally`. Returns early, with all connections reset, when `enough` says so.
///
/// # Errors
/// A mistake on our side, such as a chunk shorter than one sample.
pub(crate) async fn run(
    scenario: &Arc<Scenario>,
    stage: &Arc<Stage>,
    view: &Arc<View>,
    tally: &mut Tally<'_>,
    enough: impl Fn(&Tally<'_>) -> bool,
) -> Result<()> {
    let start = Instant::now();
    let over = start + Duration::from_secs_f64(scenario.load.duration_s);
    let (sender, mut ended) = mpsc::channel(BACKLOG);
    let mut tasks = JoinSet::new();
    let streams = scenario.most_streams();
    for (index, group) in (0..streams).zip(stage.program.kinds_of_lines(streams)) {
        let line = Line {
            index,
            group,
            start,
            scenario: Arc::clone(scenario),
            stage: Arc::clone(stage),
            view: Arc::clone(view),
            told: sender.clone(),
        };
        tasks.spawn(line.run());
    }
    if let Some(plan) = scenario.uploads {
        let (uploader, view) = (Arc::clone(&stage.uploader), Arc::clone(view));
        tasks.spawn(upload::load(uploader, plan, start, over, view, sender.clone()));
    }
    drop(sender);

    let seconds = Duration::from_secs_f64(scenario.load.duration_s).as_secs();
    let bar = bar(usize::try_from(seconds)?, "run");
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            event = ended.recv() => match event {
                Some(Event::Call(placed)) => tally.call(*placed),
                Some(Event::Upload(event)) => tally.upload(event),
                None => break,
            },
            _ = tick.tick() => {
                tally.sample(start.elapsed().as_secs_f64(), view.open());
                bar.set_position(start.elapsed().as_secs());
                bar.set_message(view.line());
            }
        }
        if enough(tally) {
            bar.finish_and_clear();
            tasks.shutdown().await;
            return Ok(());
        }
    }
    bar.finish_and_clear();
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

/// A line makes one call after the other.
struct Line {
    index: u32,
    group: usize,
    start: Instant,
    scenario: Arc<Scenario>,
    stage: Arc<Stage>,
    view: Arc<View>,
    told: mpsc::Sender<Event>,
}

impl Line {
    /// Calls in the times that the scenario gives the line. Line `i` begins with file `i`, so that neighbours play different files.
    async fn run(self) -> Result<()> {
        let stage = Arc::clone(&self.stage);
        let kind = stage.program.kinds.get(self.group).context("no such group")?;
        let mut plays = kind.plays.iter().copied().cycle().skip(usize::try_from(self.index)?);
        let mut dropped_at = None;
        let mut number = 0_u32;
        for times in self.scenario.line_times(self.index) {
            let end = self.at(times.end);
            tokio::time::sleep_until(self.at(times.start).into()).await;
            while Instant::now() < end {
                let recording = plays.next().context("nothing to play")?;
                let storm = self.next_storm();
                let placed = self.place(kind, number, recording, storm, end, dropped_at).await?;
                number = number.wrapping_add(1);
                let outcome = placed.call.outcome.clone();
                if placed.call.audio_start.is_some() {
                    dropped_at = None;
                }
                if self.told.send(Event::Call(Box::new(placed))).await.is_err() {
                    return Ok(());
                }
                if let Some(storm) = storm.filter(|storm| Instant::now() >= self.at(storm.at_s)) {
                    dropped_at = Some(self.at(storm.at_s));
                    let share = f64::from(self.index) / f64::from(self.scenario.most_streams());
                    tokio::time::sleep_until(self.at(storm.at_s + storm.within_s * share).into()).await;
                    continue;
                }
                let wait = match outcome {
                    Outcome::Refused(refusal) => refusal.wait(),
                    Outcome::Failed(_) | Outcome::Evicted => REDIAL,
                    _ => Duration::ZERO,
                };
                let again = (Instant::now() + wait).min(end.max(Instant::now()));
                tokio::time::sleep_until(again.into()).await;
            }
        }
        Ok(())
    }

    fn at(&self, seconds: f64) -> Instant {
        self.start + Duration::try_from_secs_f64(seconds).unwrap_or_default()
    }

    fn next_storm(&self) -> Option<Storm> {
        let now = Instant::now();
        let storms = self.scenario.storms.iter().copied();
        storms
            .filter(|storm| self.at(storm.at_s) > now)
            .min_by(|a, b| a.at_s.total_cmp(&b.at_s))
    }

    /// Makes call `number` of the line.
    async fn place(
        &self,
        kind: &LineKind,
        number: u32,
        recording: usize,
        storm: Option<Storm>,
        end: Instant,
        dropped_at: Option<Instant>,
    ) -> Result<Placed> {
        let track = self.stage.program.recordings.get(recording).context("no such recording")?;
        let begun = Instant::now();
        let drop_at = storm.map(|storm| self.at(storm.at_s));
        let manner = Manner {
            speed: kind.speed,
            chunk_ms: kind.form.chunk_ms,
            hang_up_after_s: hang_up(kind.hang_up_share, self.index, number).map(|share| share * track.recording.seconds()),
            drop_at,
        };
        let target = &self.stage.target;
        let seen = if kind.never_reads {
            let until = drop_at.map_or(end, |at| at.min(end));
            never_read(target, &track.recording, &manner, &self.view, until).await?
        } else {
            call(target, &track.recording, &manner, &self.view, |_, _| {}).await?
        };
        let since = |at: Instant, from: Instant| at.saturating_duration_since(from).as_secs_f64();
        Ok(Placed {
            line: self.index,
            group: self.group,
            recording,
            begun_s: since(begun, self.start),
            ended_s: since(Instant::now(), self.start),
            audio_start_s: seen.audio_start.map(|at| since(at, self.start)),
            reconnect_ms: dropped_at.zip(seen.audio_start).map(|(from, at)| since(at, from) * 1e3),
            call: seen,
        })
    }
}

/// Whether call `number` of line `line` is hung up, and after which part of its audio. The golden ratio spreads the calls evenly.
fn hang_up(share: f64, line: u32, number: u32) -> Option<f64> {
    let place = f64::from(line) * 7.0 + f64::from(number) + 1.0;
    let part = (place * 0.618_033_988_749_894_9).fract();
    (part < share).then(|| 0.1 + 0.8 * (place * std::f64::consts::SQRT_2).fract())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hang_ups_have_their_share_and_lie_in_the_middle() {
        for share in [0.0, 0.25, 1.0] {
            let points: Vec<f64> = (0..20)
                .flat_map(|line| (0..50).filter_map(move |number| hang_up(share, line, number)))
                .collect();
            let wanted = share * 1000.0;
            let number = f64::from(u32::try_from(points.len()).unwrap_or(u32::MAX));
            assert!((number - wanted).abs() <= 30.0, "{number} of {wanted}");
            assert!(points.iter().all(|point| (0.1..0.9).contains(point)));
        }
    }
}
