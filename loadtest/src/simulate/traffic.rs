//! The streams of a simulation: when they come, which device they go to, when they leave; and the devices over time.
//!
//! Devices run side by side for an epoch, then whoever came in that time is placed as the server's scheduler handle does it. Placement is
//! all that devices share, so the result does not depend on the number of threads.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use hark_pure::scheduler::admission::Refusal;
use hark_pure::scheduler::core::Rules;
use hark_pure::scheduler::placement::{self, Seat};
use hark_pure::scheduler::policy::Dispatch;
use serde::Serialize;

use super::cost::Table;
use super::device::{Common, Device, Newcomer};
use super::outcome::{FirstRefusal, Outcome};
use super::sums::Sums;
use crate::numbers::{Random, count, length, nanos, ratio, real, whole};

/// Virtual time between two placements.
const EPOCH: u64 = 100_000_000;
/// Time from a stream's arrival to the beginning of its audio: an epoch, so that it has been placed.
const CONNECTING: u64 = EPOCH;
/// Time over which a storm's streams come back.
const STORM_S: f64 = 2.0;
/// Most files of a device at once by the server's default.
const FILES_AT_ONCE: usize = 32;
/// Chunks of a stream that the scheduler has at once, by the server's default.
const QUEUE: usize = 4;

/// A call of a real run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Call {
    /// When its audio began, in seconds after the run did.
    pub(crate) at_s: f64,
    /// How long its audio was.
    pub(crate) lasts_s: f64,
}

/// What is simulated on some devices.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Scenario {
    /// Part of the streams, by context; their sum is 1.
    pub(crate) mix: Vec<(usize, f64)>,
    /// Time over which the streams come.
    pub(crate) ramp_s: f64,
    /// The calls of a real run, each at its own time, instead of streams that come over a ramp.
    #[serde(skip)]
    pub(crate) calls: Vec<Call>,
    /// Time after that, over which figures are taken.
    pub(crate) seconds: f64,
    /// A chunk comes up to so much late.
    pub(crate) jitter_ms: f64,
    /// Mean length of a call; whoever leaves is followed by another. `None`: calls last.
    pub(crate) calls_s: Option<f64>,
    /// Part of the streams that breaks off in the middle and comes back within two seconds.
    pub(crate) storm: f64,
    /// Part of the streams that send in phase.
    pub(crate) together: f64,
    /// Recorded files in work all the time, for each device.
    pub(crate) files: usize,
    /// Of all randomness.
    pub(crate) seed: u64,
    /// Time from a chunk's arrival to its due time.
    pub(crate) budget_ms: f64,
    /// Largest share of chunks answered later than that.
    pub(crate) late_share: f64,
}

impl Scenario {
    /// Whether it can be simulated.
    ///
    /// # Errors
    /// Says what cannot.
    pub(crate) fn check(&self) -> Result<()> {
        ensure!((0.0..=3_600.0).contains(&self.ramp_s), "the ramp is not 0 to 3,600 s");
        ensure!((1.0..=86_400.0).contains(&self.seconds), "the time is not 1 to 86,400 s");
        ensure!((0.0..=1_000.0).contains(&self.jitter_ms), "the jitter is not 0 to 1,000 ms");
        ensure!(
            self.calls_s.is_none_or(|mean| (1.0..=1e6).contains(&mean)),
            "calls do not last 1 to 1,000,000 s"
        );
        let shares = [self.storm, self.together, self.late_share];
        ensure!(shares.iter().all(|share| (0.0..=1.0).contains(share)), "a share is not 0 to 1");
        ensure!(self.files <= 10_000, "there are more than 10,000 files for each device");
        ensure!((50.0..=60_000.0).contains(&self.budget_ms), "the budget is not 50 to 60,000 ms");
        Ok(())
    }

    /// As the server makes them, with its defaults.
    fn rules(&self, table: &Table) -> Rules {
        let budget = Duration::from_secs_f64(self.budget_ms / 1e3);
        Rules {
            slots: table.slots,
            max_batch: length(u64::from(table.max_batch)),
            budget,
            file_step: Duration::from_millis(40),
            max_files: FILES_AT_ONCE.max(self.files),
            dispatch: Dispatch {
                share: 0.1,
                patience: Duration::from_secs(2),
                linger: Duration::from_millis(30),
                margin: Duration::from_millis(50).min(budget / 4),
            },
            queue: QUEUE,
            periods: table.periods(),
            weights: Vec::new(),
        }
    }

    /// The context that most streams use.
    fn usual(&self) -> usize {
        let most = self.mix.iter().max_by(|a, b| a.1.total_cmp(&b.1));
        most.map_or(0, |(context, _)| *context)
    }
}

/// `320:0.9,1120:0.1` as contexts of the table and shares that sum to 1; the table's first context if there is none.
///
/// # Errors
/// Something else, or a chunk length that the table lacks.
pub(crate) fn mix(text: Option<&str>, table: &Table) -> Result<Vec<(usize, f64)>> {
    let Some(text) = text else { return Ok(vec![(0, 1.0)]) };
    let mut mix: Vec<(usize, f64)> = Vec::new();
    for part in text.split(',') {
        let (ms, share) = part.trim().split_once(':').unwrap_or((part.trim(), "1"));
        let ms: u32 = ms.parse().map_err(|_| anyhow!("{part}: not like 320:0.9"))?;
        let share: f64 = share.parse().map_err(|_| anyhow!("{part}: not like 320:0.9"))?;
        let known = table
            .context
            .iter()
            .map(|row| row.chunk_ms.to_string())
            .collect::<Vec<_>>()
            .join(", ");
        let place = table.context.iter().position(|row| row.chunk_ms == ms);
        let place = place.ok_or_else(|| anyhow!("the cost table has chunks of {known} ms, not of {ms} ms"))?;
        ensure!(share > 0.0 && share.is_finite(), "{part}: not a share above 0");
        ensure!(mix.iter().all(|(other, _)| *other != place), "{ms} ms is given twice");
        mix.push((place, share));
    }
    let sum: f64 = mix.iter().map(|(_, share)| share).sum();
    mix.iter_mut().for_each(|(_, share)| *share /= sum);
    Ok(mix)
}

/// Streams and devices at one moment.
struct World<'a> {
    scenario: &'a Scenario,
    common: Arc<Common>,
    random: Random,
    devices: Vec<Device>,
    /// One for each thread.
    sums: Vec<Sums>,
    /// Streams that come, beginning with the next one: when, and which.
    coming: BinaryHeap<Reverse<(u64, Newcomer)>>,
    asked: u64,
    refused: BTreeMap<&'static str, u64>,
    first_refusal: Option<FirstRefusal>,
    files_refused: u64,
    placing: Duration,
}

/// Simulates `streams` streams (or the scenario's calls, of which so many are open at once) on `gpus` devices like `table`, with as many
/// threads. `until_refused`: ends at the first refusal, which is enough to know that the rule does not hold.
///
/// # Errors
/// Never in practice: histograms have valid bounds.
pub(crate) fn simulate(
    scenario: &Scenario,
    table: &Table,
    gpus: usize,
    streams: u64,
    threads: usize,
    until_refused: bool,
) -> Result<Outcome> {
    let began = Instant::now();
    let from = nanos(scenario.ramp_s);
    let until = from + nanos(scenario.seconds);
    let common = Arc::new(Common {
        table: table.clone(),
        costs: table.costs(),
        rules: scenario.rules(table),
        base: began,
        from,
        until,
        jitter: scenario.jitter_ms / 1e3,
        shown: scenario.usual(),
    });
    let threads = threads.clamp(1, gpus.max(1));
    let mut world = World {
        scenario,
        devices: (0..gpus)
            .map(|n| Device::new(&common, Random::new(scenario.seed, count(n) + 1)))
            .collect(),
        sums: (0..threads).map(|_| Sums::new()).collect::<Result<_>>()?,
        common,
        random: Random::new(scenario.seed, 0),
        coming: BinaryHeap::new(),
        asked: 0,
        refused: BTreeMap::new(),
        first_refusal: None,
        files_refused: 0,
        placing: Duration::ZERO,
    };
    world.place_files();
    for call in &scenario.calls {
        let context = world.draw();
        world.expect(nanos(call.at_s), context, Some(nanos(call.lasts_s)));
    }
    let at_random = if scenario.calls.is_empty() { streams } else { 0 };
    for _ in 0..at_random {
        let at = nanos(world.random.share() * scenario.ramp_s);
        let context = world.draw();
        world.expect(at, context, None);
    }
    let storm = (scenario.storm > 0.0).then(|| from + (until - from) / 2);
    let mut now = 0;
    while now < until {
        let next = (now + EPOCH).min(until);
        world.advance(next);
        if storm.is_some_and(|at| at > now && at <= next) {
            world.storm(next);
        }
        world.follow();
        world.place(next);
        now = next;
        if until_refused && world.first_refusal.is_some() {
            break;
        }
    }
    let mut outcome = world.measure(gpus, streams, now);
    if now >= until {
        world.drain(until);
    }
    outcome.finish(&world.sums, scenario, &world.devices)?;
    outcome.wall.wall_s = began.elapsed().as_secs_f64();
    outcome.wall.chunks_per_second = real(outcome.answered) / outcome.wall.wall_s.max(1e-9);
    Ok(outcome)
}

impl World<'_> {
    fn draw(&mut self) -> usize {
        let mut left = self.random.share();
        for &(context, share) in &self.scenario.mix {
            if left < share {
                return context;
            }
            left -= share;
        }
        self.scenario.usual()
    }

    /// A stream will come at `at`, with audio of the length `audio`, or as long as the scenario's calls are.
    fn expect(&mut self, at: u64, context: usize, audio: Option<u64>) {
        let period = u64::try_from(self.common.rules.period(context).as_nanos()).unwrap_or(1).max(1);
        let together = self.random.share() < self.scenario.together;
        // The first chunk is there a period after the audio began.
        let speaks = at + CONNECTING + period;
        let speaks = if together { speaks.div_ceil(period) * period } else { speaks };
        let lasts = match (audio, self.scenario.calls_s) {
            (Some(audio), _) => audio.saturating_sub(period),
            (None, Some(mean)) => nanos(self.random.exponential(mean)),
            (None, None) => u64::MAX,
        };
        self.coming.push(Reverse((at, Newcomer { speaks, lasts, context })));
    }

    fn advance(&mut self, until: u64) {
        let each = self.devices.len().div_ceil(self.sums.len()).max(1);
        let run = |devices: &mut [Device], sums: &mut Sums| devices.iter_mut().for_each(|device| device.run(until, sums));
        let mut parts = self.devices.chunks_mut(each).zip(&mut self.sums);
        let first = parts.next();
        std::thread::scope(|scope| {
            for (devices, sums) in parts {
                scope.spawn(move || run(devices, sums));
            }
            if let Some((devices, sums)) = first {
                run(devices, sums);
            }
        });
    }

    fn place_files(&mut self) {
        let context = self.common.rules.periods.len().saturating_sub(1);
        for _ in 0..self.scenario.files.saturating_mul(self.devices.len()) {
            let seats: Vec<Seat> = self.devices.iter().map(Device::seat).collect();
            let taken = placement::for_file(&seats)
                .into_iter()
                .any(|index| self.devices.get_mut(index).is_some_and(|device| device.admit_file(context).is_ok()));
            self.files_refused += u64::from(!taken);
        }
    }

    /// Whoever left is followed by another.
    fn follow(&mut self) {
        let left: Vec<(u64, usize)> = self
            .devices
            .iter_mut()
            .flat_map(|device| std::mem::take(&mut device.left))
            .collect();
        if !self.scenario.calls.is_empty() {
            return;
        }
        for (at, _) in left {
            let context = self.draw();
            self.expect(at, context, None);
        }
    }

    fn storm(&mut self, now: u64) {
        let share = self.scenario.storm;
        let dropped: Vec<usize> = self.devices.iter_mut().flat_map(|device| device.drop_some(share)).collect();
        for context in dropped {
            let at = now + nanos(self.random.share() * STORM_S);
            self.expect(at, context, None);
        }
    }

    /// Places everybody who came before `now`, in their order.
    fn place(&mut self, now: u64) {
        let mut seats: Vec<Seat> = self.devices.iter().map(Device::seat).collect();
        while let Some(Reverse((at, newcomer))) = self.coming.peek().copied()
            && at <= now
        {
            self.coming.pop();
            self.asked += 1;
            let began = Instant::now();
            let order = placement::for_live(&seats);
            self.placing += began.elapsed();
            let mut refusal = None;
            let mut first = None;
            for index in order {
                let (Some(device), Some(seat)) = (self.devices.get_mut(index), seats.get_mut(index)) else {
                    continue;
                };
                let answer = device.admit(newcomer);
                *seat = device.seat();
                first.get_or_insert(index);
                match answer {
                    Ok(()) => {
                        refusal = None;
                        break;
                    }
                    Err(reason) => refusal = Some(reason),
                }
            }
            if let Some(reason) = refusal {
                let reason = name(reason);
                *self.refused.entry(reason).or_default() += 1;
                if self.first_refusal.is_none() {
                    self.first_refusal = Some(self.refusal(at, reason, first, newcomer.context));
                }
            }
        }
    }

    fn refusal(&self, at: u64, reason: &'static str, first: Option<usize>, context: usize) -> FirstRefusal {
        let device = first.and_then(|index| self.devices.get(index));
        FirstRefusal {
            at_s: real(at) / 1e9,
            reason,
            in_service: self.devices.iter().map(Device::live).sum(),
            load: device.map_or(0.0, Device::load),
            aim_ms: self.common.rules.target(context).as_secs_f64() * 1e3,
            capacity: device.map_or(0, |device| count(device.seat().capacity)),
        }
    }

    /// What is known when the last chunk has arrived.
    fn measure(&mut self, gpus: usize, streams: u64, ended: u64) -> Outcome {
        let mut outcome = Outcome::new(gpus, streams, &self.devices, self.scenario);
        outcome.simulated_s = real(ended) / 1e9;
        outcome.asked = self.asked;
        outcome.refused.clone_from(&self.refused);
        outcome.first_refusal = self.first_refusal.take();
        outcome.refuse_files(self.files_refused);
        let placing = u64::try_from(self.placing.as_nanos()).unwrap_or(u64::MAX);
        outcome.wall.placing_us = ratio(placing, self.asked) / 1e3;
        outcome
    }

    /// Answers what has arrived; files end.
    fn drain(&mut self, until: u64) {
        let each = self.devices.len().div_ceil(self.sums.len()).max(1);
        for (devices, sums) in self.devices.chunks_mut(each).zip(&mut self.sums) {
            devices.iter_mut().for_each(|device| device.end_files(sums));
        }
        let mut now = until;
        while self.devices.iter().any(Device::is_busy) {
            now += EPOCH * 10;
            self.advance(now);
        }
    }
}

fn name(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::NoSlot => "no slot is free",
        Refusal::NoCapacity => "admission holds the devices to be full",
        Refusal::TooManyFiles => "too many files",
        Refusal::EngineDown => "no engine",
    }
}

/// Streams that a device like `table` can hold at most, by slots and greatest throughput: where a search begins.
pub(crate) fn ceiling(scenario: &Scenario, table: &Table) -> u64 {
    let costs = table.costs();
    let periods = table.periods();
    let load = |&(context, share): &(usize, f64)| {
        let period = periods.get(context).map_or(1.0, Duration::as_secs_f64);
        share / (period * costs.throughput(context, length(u64::from(table.max_batch)))).max(f64::MIN_POSITIVE)
    };
    let each: f64 = scenario.mix.iter().map(load).sum();
    whole(1.0 / each.max(1e-9)).min(u64::from(table.slots)).max(1)
}
