//! Many connections, then many hours at high speed: does the server leak, and do the words stay right?
//!
//! Watches the resident memory of the server's process where it is told which one it is. Called by `main`.

use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::call::{Manner, Outcome, call};
use crate::live::{self, Stage};
use crate::metrics::{self, Scrape, ServerFigures};
use crate::plan::{Load, Scenario};
use crate::tally::{Endings, Tally};
use crate::view::{TICK, View, bar};

/// Most readings of the memory that are kept; with more every second one is dropped.
const MAX_READINGS: usize = 2000;
/// Shortest time between two readings.
const FIRST_INTERVAL: Duration = Duration::from_millis(500);
/// Part of a phase that is left out of its slope: a server fills its pools first.
const WARM_UP: f64 = 0.2;
/// Longest time over which the lines of the second phase begin.
const LONGEST_RAMP_S: f64 = 30.0;
/// Audio of one connection, in seconds.
const CYCLE_AUDIO_S: f64 = 1.0;
/// Connections that have ended and are not yet counted.
const BACKLOG: usize = 256;

/// What is done.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Plan {
    /// Connections, one after the other on each of `parallel` lines; every second one is reset by us.
    pub(crate) cycles: u32,
    /// Connections at once.
    pub(crate) parallel: u32,
    /// Hours of audio on each of `streams` lines.
    pub(crate) hours: f64,
    /// Lines of the second phase.
    pub(crate) streams: u32,
    /// Times real time, in both phases.
    pub(crate) speed: f64,
    /// The server's process.
    pub(crate) pid: Option<u32>,
    /// Most growth of the resident memory in the second phase.
    pub(crate) most_mib_per_hour: Option<f64>,
}

impl Plan {
    /// Refuses what cannot be done.
    ///
    /// # Errors
    /// A value out of range.
    pub(crate) fn check(&self) -> Result<()> {
        ensure!(
            (1..=20_000).contains(&self.parallel) && (1..=20_000).contains(&self.streams),
            "the streams must lie between 1 and 20000"
        );
        ensure!((0.1..=1000.0).contains(&self.speed), "the speed must lie between 0.1 and 1000");
        ensure!((0.0..=100_000.0).contains(&self.hours), "the hours must lie between 0 and 100000");
        ensure!(
            self.most_mib_per_hour.is_none() || self.pid.is_some(),
            "a bound on the memory needs the process: --pid"
        );
        Ok(())
    }
}

/// The memory in one phase.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Growth {
    /// First reading, in MiB.
    pub(crate) first_mib: f64,
    /// Last reading.
    pub(crate) last_mib: f64,
    /// Largest reading.
    pub(crate) most_mib: f64,
    /// Least-squares slope after the first fifth, in MiB an hour of wall time.
    pub(crate) mib_per_hour: Option<f64>,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Soak<'a> {
    /// Name of the scenario.
    pub(crate) scenario: &'a str,
    /// The server.
    pub(crate) url: &'a str,
    /// What was done.
    pub(crate) plan: Plan,
    /// How the connections of the first phase ended.
    pub(crate) cycles: Endings,
    /// How long the first phase took.
    pub(crate) cycles_s: f64,
    /// How the calls of the second phase ended.
    pub(crate) calls: Endings,
    /// How long the second phase took.
    pub(crate) calls_s: f64,
    /// Audio of completed calls of the second phase, in hours.
    pub(crate) audio_hours: f64,
    /// Words of the second phase that are not as in the reference run.
    pub(crate) words_wrong: u64,
    /// Memory in the first phase.
    pub(crate) cycles_memory: Option<Growth>,
    /// Memory in the second phase.
    pub(crate) calls_memory: Option<Growth>,
    /// Seconds after the start, and MiB.
    pub(crate) memory: Vec<(f64, f64)>,
    /// The server's own figures of both phases.
    pub(crate) server: Option<ServerFigures>,
    /// What should not have been.
    pub(crate) broken: Vec<String>,
}

/// Readings at growing intervals: their number is bounded whatever the time.
#[derive(Debug)]
struct Readings {
    interval: Duration,
    points: Vec<(f64, f64)>,
}

impl Readings {
    fn push(&mut self, at_s: f64, mib: f64) {
        self.points.push((at_s, mib));
        if self.points.len() >= MAX_READINGS {
            let mut keep = false;
            self.points.retain(|_| {
                keep = !keep;
                keep
            });
            self.interval = self.interval.saturating_mul(2);
        }
    }
}

/// Resident memory of process `pid`, in MiB.
fn resident_mib(pid: u32) -> Result<f64> {
    let path = PathBuf::from(format!("/proc/{pid}/status"));
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line
        .and_then(|line| line.split_whitespace().next())
        .and_then(|kib| kib.parse::<f64>().ok());
    Ok(kib.with_context(|| format!("{}: no VmRSS", path.display()))? / 1024.0)
}

/// Reads the memory until it is told to stop; returns the readings, and whether the process went away.
async fn watch(pid: u32, start: Instant, mut stop: tokio::sync::oneshot::Receiver<()>) -> (Vec<(f64, f64)>, bool) {
    let mut readings = Readings {
        interval: FIRST_INTERVAL,
        points: Vec::new(),
    };
    loop {
        match resident_mib(pid) {
            Ok(mib) => readings.push(start.elapsed().as_secs_f64(), mib),
            Err(_) => return (readings.points, true),
        }
        if tokio::time::timeout(readings.interval, &mut stop).await.is_ok() {
            return (readings.points, false);
        }
    }
}

/// Least-squares slope of `points`, per unit of their first value; `None` with fewer than two moments.
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let count = f64::from(u32::try_from(points.len()).ok()?);
    let mean = |value: fn(&(f64, f64)) -> f64| points.iter().map(value).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let spread: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    let together: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    (spread > 0.0).then(|| together / spread)
}

impl Growth {
    /// Of the readings between `from` and `to`.
    fn between(points: &[(f64, f64)], from: f64, to: f64) -> Option<Self> {
        let inside: Vec<(f64, f64)> = points.iter().copied().filter(|point| (from..=to).contains(&point.0)).collect();
        let warm = from + (to - from) * WARM_UP;
        let late: Vec<(f64, f64)> = inside.iter().copied().filter(|point| point.0 >= warm).collect();
        Some(Self {
            first_mib: inside.first()?.1,
            last_mib: inside.last()?.1,
            most_mib: inside.iter().fold(0.0, |most, point| most.max(point.1)),
            mib_per_hour: slope(&late).map(|per_second| per_second * 3600.0),
        })
    }
}

/// Runs both phases.
///
/// # Errors
/// A reference run that fails, a process whose memory cannot be read, or a mistake on our side.
pub(crate) async fn soak<'a>(scenario: &'a Scenario, url: &'a str, stage: &Arc<Stage>, plan: &Plan) -> Result<Soak<'a>> {
    if let Some(pid) = plan.pid {
        resident_mib(pid)?;
    }
    let reference = live::reference(scenario, stage).await?;
    let before = Scrape::read(&stage.target).await;
    let start = Instant::now();
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let watching = plan.pid.map(|pid| tokio::spawn(watch(pid, start, stopped)));

    let cycles = connect_and_leave(stage, plan).await?;
    let cycles_s = start.elapsed().as_secs_f64();

    let duration_s = plan.hours * 3600.0 / plan.speed;
    let mut fast = Scenario {
        load: Load {
            streams: plan.streams,
            // Not all at once: lines that begin together send together for hours.
            ramp_s: LONGEST_RAMP_S.min(duration_s / 10.0),
            steps: Vec::new(),
            duration_s,
            warmup_s: 0.0,
        },
        storms: Vec::new(),
        uploads: None,
        ..scenario.clone()
    };
    fast.audio.speed = plan.speed;
    let fast = Arc::new(fast);
    let view = Arc::new(View::new()?);
    let mut tally = Tally::new(&fast, &stage.program, &reference, false)?;
    live::run(&fast, stage, &view, &mut tally, |_| false).await?;
    let end_s = start.elapsed().as_secs_f64();

    drop(stop);
    let (memory, gone) = match watching {
        Some(watching) => watching.await?,
        None => (Vec::new(), false),
    };
    let mut soak = Soak {
        scenario: &scenario.name,
        url,
        plan: *plan,
        cycles,
        cycles_s,
        calls: tally.endings.clone(),
        calls_s: end_s - cycles_s,
        audio_hours: tally.audio_s() / 3600.0,
        words_wrong: tally.words.wrong(),
        cycles_memory: Growth::between(&memory, 0.0, cycles_s),
        calls_memory: Growth::between(&memory, cycles_s, end_s),
        memory,
        server: metrics::between(before, &stage.target).await.ok(),
        broken: Vec::new(),
    };
    soak.broken = soak.broken(gone);
    Ok(soak)
}

/// The first phase: short connections, every second one left with a reset.
async fn connect_and_leave(stage: &Arc<Stage>, plan: &Plan) -> Result<Endings> {
    let (told, mut ended) = mpsc::channel(BACKLOG);
    let number = Arc::new(AtomicU32::new(0));
    let view = Arc::new(View::new()?);
    let mut tasks = JoinSet::new();
    for _ in 0..plan.parallel.min(plan.cycles) {
        let (stage, view, number, told, plan) = (Arc::clone(stage), Arc::clone(&view), Arc::clone(&number), told.clone(), *plan);
        tasks.spawn(async move {
            loop {
                let cycle = number.fetch_add(1, Ordering::Relaxed);
                if cycle >= plan.cycles {
                    return Ok::<(), anyhow::Error>(());
                }
                let tracks = &stage.program.recordings;
                let index = usize::try_from(cycle)?.checked_rem(tracks.len()).context("nothing to play")?;
                let track = tracks.get(index).context("nothing to play")?;
                let recording = track.recording.beginning(CYCLE_AUDIO_S);
                let mut manner = Manner::whole(plan.speed, track.chunk_ms);
                manner.hang_up_after_s = (cycle % 2 == 1).then(|| recording.seconds() / 2.0);
                let seen = call(&stage.target, &recording, &manner, &view, |_, _| {}).await?;
                let wait = match &seen.outcome {
                    Outcome::Refused(refusal) => refusal.wait(),
                    _ => Duration::ZERO,
                };
                if told.send(seen).await.is_err() {
                    return Ok(());
                }
                tokio::time::sleep(wait).await;
            }
        });
    }
    drop(told);
    let bar = bar(usize::try_from(plan.cycles)?, "cycles");
    let mut tick = tokio::time::interval(TICK);
    let mut endings = Endings::default();
    loop {
        tokio::select! {
            seen = ended.recv() => match seen {
                Some(seen) => endings.add_call(&seen),
                None => break,
            },
            _ = tick.tick() => {
                bar.set_position(endings.placed);
                bar.set_message(view.line());
            }
        }
    }
    bar.finish_and_clear();
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(endings)
}

impl Soak<'_> {
    fn broken(&self, gone: bool) -> Vec<String> {
        let mut broken = Vec::new();
        for (number, what) in [
            (self.cycles.failed, "connections failed"),
            (self.cycles.refused, "connections were refused"),
            (self.calls.failed, "calls failed"),
            (self.calls.refused, "calls were refused"),
            (self.words_wrong, "words are not as in the reference run"),
        ] {
            if number > 0 {
                broken.push(format!("{number} {what}"));
            }
        }
        if gone {
            broken.push("the server's process went away".to_owned());
        }
        let growth = self.calls_memory.and_then(|memory| memory.mib_per_hour);
        match (self.plan.most_mib_per_hour, growth) {
            (Some(bound), Some(growth)) if growth > bound => {
                broken.push(format!(
                    "the memory grows by {growth:.1} MiB an hour, at most {bound} was asked for"
                ));
            }
            (Some(_), None) => broken.push("the memory: there are too few readings for a slope".to_owned()),
            _ => {}
        }
        broken
    }
}

impl Display for Growth {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "resident {:.1} MiB at first, {:.1} at the end, {:.1} at most",
            self.first_mib, self.last_mib, self.most_mib
        )?;
        match self.mib_per_hour {
            Some(growth) => write!(f, "; slope {growth:+.1} MiB an hour"),
            None => write!(f, "; too short for a slope"),
        }
    }
}

impl Display for Soak<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} on {}, soak at {} times real time\n",
            self.scenario, self.url, self.plan.speed
        )?;
        let phases = [
            ("cycles", &self.cycles, self.cycles_s, self.cycles_memory),
            ("calls", &self.calls, self.calls_s, self.calls_memory),
        ];
        for (name, endings, seconds, memory) in phases {
            writeln!(f, "{name:10}{endings}, in {seconds:.1} s")?;
            for (reason, number) in &endings.failures {
                writeln!(f, "          {number} x {reason}")?;
            }
            if let Some(memory) = memory {
                writeln!(f, "          {memory}")?;
            }
        }
        writeln!(
            f,
            "audio     {:.2} hours completed, {} words not as in the reference run",
            self.audio_hours, self.words_wrong
        )?;
        if let Some(server) = &self.server {
            write!(f, "\n{server}")?;
        }
        for broken in &self.broken {
            writeln!(f, "BROKEN    {broken}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn line(count: u32, per_second: f64) -> Vec<(f64, f64)> {
        (0..count)
            .map(|second| (f64::from(second), 100.0 + per_second * f64::from(second)))
            .collect()
    }

    #[test]
    fn the_slope_of_a_line_is_found_and_noise_has_none() {
        assert!((slope(&line(50, 0.5)).unwrap() - 0.5).abs() < 1e-9);
        let noise: Vec<(f64, f64)> = (0..100).map(|at| (f64::from(at), if at % 2 == 0 { 1.0 } else { 2.0 })).collect();
        assert!(slope(&noise).unwrap().abs() < 1e-3);
        assert!(slope(&[]).is_none() && slope(&[(1.0, 1.0)]).is_none());
    }

    #[test]
    fn growth_leaves_out_the_first_fifth_of_the_phase() {
        // 100 MiB more in the first ten seconds, then nothing.
        let points: Vec<(f64, f64)> = (0..=100).map(|at| (f64::from(at), 100.0 + 10.0 * f64::from(at.min(10)))).collect();
        let growth = Growth::between(&points, 0.0, 100.0).unwrap();
        assert!(growth.mib_per_hour.unwrap().abs() < 1e-6, "{growth:?}");
        assert!((growth.first_mib - 100.0).abs() < 1e-9 && (growth.most_mib - 200.0).abs() < 1e-9);
        let growth = Growth::between(&line(101, 0.01), 0.0, 100.0).unwrap();
        assert!((growth.mib_per_hour.unwrap() - 36.0).abs() < 1e-6, "{growth:?}");
        assert!(Growth::between(&points, 200.0, 300.0).is_none());
    }

    #[test]
    fn the_number_of_readings_is_bounded() {
        let mut readings = Readings {
            interval: FIRST_INTERVAL,
            points: Vec::new(),
        };
        for at in 0..100_000 {
            readings.push(f64::from(at), 1.0);
        }
        assert!(readings.points.len() < MAX_READINGS);
        assert!(readings.interval > FIRST_INTERVAL * 16);
    }

    #[test]
    fn our_own_memory_can_be_read() {
        assert!(resident_mib(std::process::id()).unwrap() > 1.0);
        assert!(resident_mib(u32::MAX).is_err());
    }
}
