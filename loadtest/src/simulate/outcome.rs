//! What came of one simulation: figures, whether the rule holds, and how near every limit of the design is.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use anyhow::Result;
use serde::Serialize;

use super::device::Device;
use super::sums::Sums;
use super::traffic::Scenario;
use crate::latency::{Measure, Summary};
use crate::metrics::interpolated;
use crate::numbers::{count, ratio, real, whole};

/// Shares for which the curve has the largest response time.
const SHARES: [f64; 11] = [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.999, 1.0];

/// Least, mean and most over devices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Range {
    pub(crate) min: f64,
    pub(crate) mean: f64,
    pub(crate) max: f64,
}

impl Range {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.collect();
        Self {
            min: values.iter().copied().fold(f64::INFINITY, f64::min).min(f64::MAX),
            mean: values.iter().sum::<f64>() / real(count(values.len()).max(1)),
            max: values.iter().copied().fold(0.0, f64::max),
        }
    }
}

/// Live steps by their number of chunks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Batches {
    pub(crate) steps: u64,
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) max: u64,
}

impl Batches {
    fn of(batches: &BTreeMap<usize, u64>) -> Self {
        let steps: u64 = batches.values().sum();
        let at = |share: f64| {
            let mut seen = 0;
            let found = batches.iter().find(|(_, steps_of_size)| {
                seen += **steps_of_size;
                real(seen) >= share * real(steps)
            });
            found.map_or(0, |(size, _)| count(*size))
        };
        Self {
            steps,
            p50: at(0.5),
            p99: at(0.99),
            max: batches.keys().next_back().map_or(0, |size| count(*size)),
        }
    }
}

/// The first stream that no device took.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct FirstRefusal {
    /// Virtual time.
    pub(crate) at_s: f64,
    /// What the device tried last said.
    pub(crate) reason: &'static str,
    /// Live streams of all devices then.
    pub(crate) in_service: u64,
    /// Part of the greatest throughput of the device with the most room that its streams used, 0 to 1.
    pub(crate) load: f64,
    /// The response time that admission aims at for such a stream.
    pub(crate) aim_ms: f64,
    /// What that device thought that it could hold.
    pub(crate) capacity: u64,
}

/// Recorded files.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct FileFigures {
    /// In work at once.
    pub(crate) in_work: u64,
    /// That no device took.
    pub(crate) refused: u64,
    /// Seconds of audio for each second, of all devices.
    pub(crate) audio_per_second: f64,
    /// Longest time that one waited for a step.
    pub(crate) longest_wait_ms: f64,
}

/// Real time that the simulation took: what is not the same when it is repeated.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Wall {
    pub(crate) wall_s: f64,
    /// Live chunks simulated in a second of real time.
    pub(crate) chunks_per_second: f64,
    /// Real time of the scheduler core for a chunk, admission and publishing included.
    pub(crate) scheduler_us_per_chunk: f64,
    /// The same as a share of one core, for each device.
    pub(crate) scheduler_share: Range,
    /// Real time of the placement of a stream, without the devices' own admission.
    pub(crate) placing_us: f64,
}

/// One simulation.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Outcome {
    pub(crate) gpus: u64,
    pub(crate) streams: u64,
    /// Virtual time.
    pub(crate) simulated_s: f64,
    /// Streams that asked for a place, those of storms and followers included.
    pub(crate) asked: u64,
    /// Streams that got none, by reason.
    pub(crate) refused: BTreeMap<&'static str, u64>,
    pub(crate) first_refusal: Option<FirstRefusal>,
    /// Live streams at the end.
    pub(crate) in_service: u64,
    /// What the devices think that they hold together.
    pub(crate) capacity: u64,
    /// Live streams of a device at the end.
    pub(crate) live: Range,
    /// Most live streams of a device, by what it thinks that it can hold.
    pub(crate) fullest: f64,
    /// Live chunks that arrived and that were answered, the ramp included.
    pub(crate) arrived: u64,
    pub(crate) answered: u64,
    /// From a chunk's arrival to the end of its step and the time outside of the engine; after the ramp.
    pub(crate) response: Option<Summary>,
    /// All of them.
    #[serde(skip)]
    times: Option<Measure>,
    /// Response times, and the share of them that are at most so long.
    pub(crate) response_curve: Vec<(f64, f64)>,
    /// The longest, exactly.
    pub(crate) slowest_ms: f64,
    /// Of those, the share beyond the budget.
    pub(crate) late_share: f64,
    /// Part of an engine's greatest throughput that its streams need.
    pub(crate) load: Range,
    /// Share of the time for which an engine is busy; near 1 long before it is full, because small batches cost more a chunk.
    pub(crate) utilisation: Range,
    pub(crate) batches: Batches,
    #[serde(skip)]
    files_refused_so_far: u64,
    pub(crate) files: Option<FileFigures>,
    /// What gave way at most on any device, 0 to 4 as in the server's `hark_overload`.
    pub(crate) overload: u8,
    /// Why the rule does not hold.
    pub(crate) broken: Vec<String>,
    pub(crate) wall: Wall,
}

impl Outcome {
    /// What the devices know.
    pub(super) fn new(gpus: usize, streams: u64, devices: &[Device], scenario: &Scenario) -> Self {
        let live = || devices.iter().map(Device::live);
        let capacity = |device: &Device| count(device.seat().capacity);
        Self {
            gpus: count(gpus),
            streams,
            simulated_s: 0.0,
            asked: 0,
            refused: BTreeMap::new(),
            first_refusal: None,
            in_service: live().sum(),
            capacity: devices.iter().map(capacity).sum(),
            live: Range::of(live().map(real)),
            fullest: devices
                .iter()
                .map(|device| ratio(device.live(), capacity(device)))
                .fold(0.0, f64::max),
            arrived: 0,
            answered: 0,
            response: None,
            times: None,
            response_curve: Vec::new(),
            slowest_ms: 0.0,
            late_share: 0.0,
            load: Range::of(devices.iter().map(Device::load)),
            utilisation: Range::of(devices.iter().map(|device| real(device.busy) / 1e9 / scenario.seconds)),
            batches: Batches::default(),
            files_refused_so_far: 0,
            files: None,
            overload: devices.iter().map(|device| device.overload).max().unwrap_or(0),
            broken: Vec::new(),
            wall: Wall::default(),
        }
    }

    /// Files that no device took.
    pub(super) fn refuse_files(&mut self, refused: u64) {
        self.files_refused_so_far = refused;
    }

    /// Sums up when all is answered, and judges.
    pub(super) fn finish(&mut self, sums: &[Sums], scenario: &Scenario, devices: &[Device]) -> Result<()> {
        let mut all = Sums::new()?;
        for sums in sums {
            all.merge(sums)?;
        }
        self.arrived = all.arrived;
        self.answered = all.answered;
        self.response = all.response.summary();
        if self.response.is_some() {
            self.response_curve = all.response.curve(&SHARES);
            self.times = Some(all.response);
        }
        self.slowest_ms = real(all.slowest) / 1e6;
        self.late_share = ratio(all.late, all.counted);
        self.batches = Batches::of(&all.batches);
        if scenario.files > 0 {
            let asked = count(scenario.files) * self.gpus;
            self.files = Some(FileFigures {
                in_work: asked.saturating_sub(self.files_refused_so_far),
                refused: self.files_refused_so_far,
                audio_per_second: real(all.file_audio) / 1e9 / scenario.seconds,
                longest_wait_ms: real(all.file_wait) / 1e6,
            });
        }
        let thought: u64 = devices.iter().map(|device| device.thought).sum();
        let thought_of: u64 = devices.iter().map(|device| device.thought_of).sum();
        self.wall.scheduler_us_per_chunk = ratio(thought, thought_of) / 1e3;
        self.wall.scheduler_share = Range::of(devices.iter().map(Device::scheduler_share));
        self.judge(scenario);
        Ok(())
    }

    fn judge(&mut self, scenario: &Scenario) {
        let refused = self.refused();
        if refused > 0 {
            let reasons: Vec<String> = self
                .refused
                .iter()
                .map(|(reason, number)| format!("{number} because {reason}"))
                .collect();
            self.broken.push(format!("{refused} refused, {}", reasons.join(", ")));
        }
        if self.late_share > scenario.late_share {
            self.broken.push(format!("{:.2} % late", self.late_share * 100.0));
        }
        if let Some(response) = self.response.filter(|response| response.p99_ms > scenario.budget_ms) {
            self.broken.push(format!("p99 {:.0} ms", response.p99_ms));
        }
        if self.response.is_none() && self.broken.is_empty() {
            self.broken.push("no chunk was answered after the ramp".to_owned());
        }
    }

    /// The p99 as it reads in a histogram with these bounds, interpolated between them; `None` beyond the last.
    pub(super) fn p99_between(&self, bounds_ms: &[f64]) -> Option<f64> {
        let times = self.times.as_ref()?;
        interpolated(bounds_ms.iter().map(|&bound| (bound, times.share_within_ms(bound))), 0.99)
    }

    /// Streams that no device took.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.values().sum()
    }

    /// Whether the rule holds.
    pub(crate) fn holds(&self) -> bool {
        self.broken.is_empty()
    }

    /// Live streams of the fullest device, by the mean over devices.
    pub(crate) fn imbalance(&self) -> f64 {
        if self.live.mean > 0.0 {
            self.live.max / self.live.mean
        } else {
            1.0
        }
    }

    /// Live chunks that arrive in a second at all devices, after the ramp.
    pub(crate) fn chunks_per_second(&self, seconds: f64) -> f64 {
        self.response.map_or(0.0, |response| real(response.count) / seconds)
    }
}

/// What gives way at a level of the overload.
fn gives_way(rank: u8) -> &'static str {
    match rank {
        0 => "nothing",
        1 => "interim results",
        2 => "interim results, short chunks of new streams",
        3 => "interim results, short chunks of new streams, files",
        _ => "interim results, short chunks of new streams, files, new streams",
    }
}

/// A number with thousands apart.
pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() * 2);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// As [`grouped`], of a real number without its fraction.
pub(crate) fn rounded(x: f64) -> String {
    grouped(whole((x + 0.5).max(0.0)))
}

impl Display for Outcome {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} device{}, {} streams, {:.0} s of virtual time\n",
            grouped(self.gpus),
            if self.gpus == 1 { "" } else { "s" },
            grouped(self.streams),
            self.simulated_s
        )?;
        match self.response {
            Some(Summary {
                p50_ms, p95_ms, p99_ms, ..
            }) => writeln!(
                f,
                "response      p50 {p50_ms:.1} ms, p95 {p95_ms:.1} ms, p99 {p99_ms:.1} ms, max {:.1} ms; {:.3} % late",
                self.slowest_ms,
                self.late_share * 100.0
            )?,
            None => writeln!(f, "response      none after the ramp")?,
        }
        writeln!(
            f,
            "streams       {} asked, {} refused, {} in service at the end",
            grouped(self.asked),
            grouped(self.refused()),
            grouped(self.in_service)
        )?;
        for (reason, number) in &self.refused {
            writeln!(f, "              {} because {reason}", grouped(*number))?;
        }
        writeln!(
            f,
            "capacity      the schedulers estimate {} streams together",
            grouped(self.capacity)
        )?;
        let Range { min, mean, max } = self.live;
        writeln!(f, "placement     least {min:.0}, mean {mean:.0}, most {max:.0} streams on a device")?;
        for (name, what, range) in [
            ("throughput", "of the greatest in use", self.load),
            ("engines", "of the time busy", self.utilisation),
        ] {
            let Range { min, mean, max } = range;
            let [min, mean, max] = [min, mean, max].map(|share| share * 100.0);
            writeln!(f, "{name:14}least {min:.1} %, mean {mean:.1} %, most {max:.1} % {what}")?;
        }
        let Batches { steps, p50, p99, max } = self.batches;
        writeln!(
            f,
            "live steps    {}; chunks in one: p50 {p50}, p99 {p99}, max {max}",
            grouped(steps)
        )?;
        if let Some(files) = &self.files {
            writeln!(
                f,
                "files         {} in work, {} refused; {} s of audio a second; longest wait for a step {:.0} ms",
                grouped(files.in_work),
                grouped(files.refused),
                rounded(files.audio_per_second),
                files.longest_wait_ms
            )?;
        }
        writeln!(f, "gave way      {}", gives_way(self.overload))?;
        let Wall {
            wall_s,
            chunks_per_second,
            scheduler_us_per_chunk,
            scheduler_share: share,
            placing_us,
        } = &self.wall;
        writeln!(
            f,
            "scheduler     {scheduler_us_per_chunk:.2} us of this machine for a chunk; {:.1} % of a core for a device, {:.1} % at most",
            share.mean * 100.0,
            share.max * 100.0
        )?;
        writeln!(f, "              {placing_us:.1} us to place a stream")?;
        writeln!(
            f,
            "simulation    {wall_s:.1} s of real time, {} chunks a second",
            rounded(*chunks_per_second)
        )?;
        for broken in &self.broken {
            writeln!(f, "BROKEN        {broken}")?;
        }
        Ok(())
    }
}
