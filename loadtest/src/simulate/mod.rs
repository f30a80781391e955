//! `hark-loadtest simulate`: the server's own scheduler, admission and placement in virtual time, over devices that are cost tables.
//!
//! Answers how many devices some traffic needs and what breaks first. Uses the package `hark-pure`, the scheduler without the server; no
//! other command does. What is not simulated: sockets, audio, the model, a scheduler or front end that is too slow (their real time is
//! measured and told instead).

mod compared;
mod cost;
mod device;
mod limits;
mod outcome;
mod search;
mod sums;
#[cfg(test)]
mod tests;
mod traffic;

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use serde::Serialize;

use self::compared::Compared;
use self::cost::Table;
use self::limits::{Limit, limits, sentence};
pub(crate) use self::outcome::Outcome;
use self::outcome::grouped;
use self::search::{Found, MOST_GPUS, MOST_STREAMS, Rows, fewest_gpus, most_streams};
use self::traffic::{Scenario, ceiling, mix, simulate};
use crate::metrics::Scrape;
use crate::numbers::length;
use crate::target::Target;

/// Growth of the load between the trials of the first row of a table, and of those after it.
const GROWTH: [f64; 2] = [2.0, 1.03];

/// What is asked.
#[derive(Debug, clap::Args)]
#[group(id = "asked")]
pub(crate) struct Simulate {
    /// Devices. Several, as 1,8,100: the most streams that each number holds.
    #[arg(long, value_delimiter = ',')]
    gpus: Vec<u64>,
    /// Streams. Without --gpus: the fewest devices that hold them.
    #[arg(long)]
    streams: Option<u64>,
    /// Cost table of a device.
    #[arg(long, conflicts_with = "from_server", required_unless_present = "from_server")]
    cost: Option<PathBuf>,
    /// Takes the cost table from the metrics of the server at this address.
    #[arg(long)]
    from_server: Option<String>,
    /// API key of that server.
    #[arg(long, env = "HARK_LOADTEST_KEY", hide_env_values = true)]
    key: Option<String>,
    /// Writes the cost table to this file.
    #[arg(long)]
    save_cost: Option<PathBuf>,
    /// What the saved or read table's source is: who measured, on what, when.
    #[arg(long)]
    source: Option<String>,
    /// Slots of a device, instead of the table's. A server does not tell: 256 then, its default on a processor.
    #[arg(long)]
    slots: Option<u32>,
    /// Most chunks in a step, instead of the table's. A server does not tell: 64 then, its default on a processor.
    #[arg(long)]
    max_batch: Option<u32>,
    /// Time of a chunk outside of the engine, instead of the table's.
    #[arg(long)]
    overhead_ms: Option<f64>,
    /// Chunk lengths in ms with their part of the streams, as 320:0.9,1120:0.1. Without it the table's first, or of a real run its own.
    #[arg(long)]
    mix: Option<String>,
    /// Seconds over which the streams come, at random.
    #[arg(long, default_value_t = 10.0)]
    ramp: f64,
    /// Seconds after the ramp, over which figures are taken.
    #[arg(long, default_value_t = 30.0)]
    seconds: f64,
    /// A chunk comes up to so much late, at random.
    #[arg(long, default_value_t = 5.0)]
    jitter_ms: f64,
    /// Mean length of calls in seconds, exponentially distributed; whoever leaves is followed by another. Without it calls last.
    #[arg(long)]
    calls_s: Option<f64>,
    /// Share of the streams that breaks off in the middle and comes back within 2 s.
    #[arg(long, default_value_t = 0.0, default_missing_value = "1", num_args = 0..=1)]
    storm: f64,
    /// Share of the streams that send in phase.
    #[arg(long, default_value_t = 0.0)]
    together: f64,
    /// Recorded files in work all the time, for each device; in chunks of the table's last context.
    #[arg(long, default_value_t = 0)]
    files: usize,
    /// Time from a chunk's arrival to its due time.
    #[arg(long, default_value_t = 400.0)]
    budget_ms: f64,
    /// Largest share of chunks that may be answered later.
    #[arg(long, default_value_t = 0.001)]
    late_share: f64,
    /// Of all randomness: the same seed gives the same figures.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Threads that simulate; all cores without it. The figures do not depend on it.
    #[arg(long)]
    threads: Option<usize>,
    /// Simulates the calls of a real run, of what `hark-loadtest run --json` wrote, and compares the p99. Exit code by whether it is
    /// within 25 %.
    #[arg(long, conflicts_with_all = ["streams", "ramp", "seconds", "jitter_ms", "calls_s", "storm", "together", "files"])]
    compare: Option<PathBuf>,
}

/// An answer.
#[derive(Debug, Serialize)]
pub(crate) struct Simulation {
    pub(crate) table: Table,
    pub(crate) scenario: Scenario,
    pub(crate) threads: usize,
    pub(crate) answer: Answer,
    pub(crate) compared: Option<Compared>,
}

/// By what was asked.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// What becomes of so many streams on so many devices.
    Load {
        outcome: Box<Outcome>,
        limits: Vec<Limit>,
        sentence: String,
    },
    /// What becomes of the calls of a real run.
    Run { outcome: Box<Outcome> },
    /// The fewest devices.
    Fewest { streams: u64, found: Option<Box<Found>> },
    /// The most streams of each number of devices, and the numbers that do not hold even one.
    Most { found: Vec<Found>, none: Vec<u64> },
}

/// Simulates what is asked for; `None` if only a cost table was to be saved.
///
/// # Errors
/// A question, a cost table or a real run that makes no sense.
pub(crate) async fn run(asked: &Simulate) -> Result<Option<Simulation>> {
    let table = table(asked).await?;
    if let Some(path) = &asked.save_cost {
        table.save(path)?;
        println!("cost table of {} saved as {}", table.name, path.display());
        if asked.gpus.is_empty() && asked.streams.is_none() && asked.compare.is_none() {
            return Ok(None);
        }
    }
    let mut scenario = Scenario {
        mix: mix(asked.mix.as_deref(), &table)?,
        ramp_s: asked.ramp,
        calls: Vec::new(),
        seconds: asked.seconds,
        jitter_ms: asked.jitter_ms,
        calls_s: asked.calls_s,
        storm: asked.storm,
        together: asked.together,
        files: asked.files,
        seed: asked.seed,
        budget_ms: asked.budget_ms,
        late_share: asked.late_share,
    };
    scenario.check()?;
    ensure!(
        asked.gpus.iter().all(|gpus| (1..=MOST_GPUS).contains(gpus)),
        "--gpus is not 1 to {MOST_GPUS}"
    );
    ensure!(
        asked.streams.is_none_or(|streams| (1..=MOST_STREAMS).contains(&streams)),
        "--streams is not 1 to {MOST_STREAMS}"
    );
    let threads = asked
        .threads
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    ensure!((1..=256).contains(&threads), "--threads is not 1 to 256");
    let (answer, compared) = match asked.compare.as_deref().map(compared::read).transpose()? {
        None => (answer(asked, &scenario, &table, threads)?, None),
        Some(run) => {
            ensure!(asked.gpus.len() <= 1, "with --compare there may be one number of --gpus");
            let gpus = asked.gpus.first().map_or(1, |gpus| length(*gpus));
            scenario.ramp_s = 0.0;
            scenario.jitter_ms = run.jitter_ms;
            if asked.mix.is_none() {
                scenario.mix = vec![(table.nearest(run.chunk_ms), 1.0)];
            }
            scenario.seconds = run.calls.iter().map(|call| call.at_s + call.lasts_s).fold(1.0, f64::max);
            scenario.calls = run.calls;
            let outcome = Box::new(simulate(&scenario, &table, gpus, run.most_at_once, threads, false)?);
            let compared = Compared::new(run.measured, &outcome)?;
            (Answer::Run { outcome }, Some(compared))
        }
    };
    Ok(Some(Simulation {
        table,
        scenario,
        threads,
        answer,
        compared,
    }))
}

async fn table(asked: &Simulate) -> Result<Table> {
    let mut table = match (&asked.cost, &asked.from_server) {
        (Some(path), _) => Table::read(path)?,
        (None, Some(url)) => {
            let scrape = Scrape::read(&Target::new(url, asked.key.as_deref(), &BTreeMap::new())?).await?;
            Table::of_server(&scrape, url, asked.slots.unwrap_or(256), asked.max_batch.unwrap_or(64))?
        }
        (None, None) => bail!("--cost or --from-server is needed"),
    };
    table.slots = asked.slots.unwrap_or(table.slots);
    table.max_batch = asked.max_batch.unwrap_or(table.max_batch);
    table.overhead_ms = asked.overhead_ms.unwrap_or(table.overhead_ms);
    if let Some(source) = &asked.source {
        table.source.clone_from(source);
    }
    table.check()?;
    Ok(table)
}

fn answer(asked: &Simulate, scenario: &Scenario, table: &Table, threads: usize) -> Result<Answer> {
    match (asked.gpus.as_slice(), asked.streams) {
        ([], None) => bail!("neither --gpus nor --streams is given"),
        ([gpus], Some(streams)) => {
            let outcome = simulate(scenario, table, length(*gpus), streams, threads, false)?;
            Ok(Answer::Load {
                limits: limits(&outcome, scenario, table),
                sentence: sentence(&outcome, None, scenario, table),
                outcome: Box::new(outcome),
            })
        }
        (_, Some(streams)) if asked.gpus.is_empty() => Ok(Answer::Fewest {
            streams,
            found: fewest_gpus(scenario, table, streams, threads)?.map(Box::new),
        }),
        (_, Some(_)) => bail!("with --streams there may be one number of --gpus"),
        (all, None) => {
            let (mut found, mut none): (Vec<Found>, Vec<u64>) = (Vec::new(), Vec::new());
            for &gpus in all {
                let [wide, near] = GROWTH;
                let before = found.last().map(|row| row.held.streams * gpus / row.held.gpus);
                // Half of what an engine could do at best is likely to hold.
                let guess = before.map_or((ceiling(scenario, table) * gpus / 2, wide), |streams| (streams, near));
                match most_streams(scenario, table, gpus, threads, guess)? {
                    Some(row) => found.push(row),
                    None => none.push(gpus),
                }
            }
            Ok(Answer::Most { found, none })
        }
    }
}

impl Simulation {
    /// Whether the rule holds, or what was looked for was found; of a comparison whether it is near enough.
    pub(crate) fn holds(&self) -> bool {
        if let Some(compared) = &self.compared {
            return compared.is_near();
        }
        match &self.answer {
            Answer::Load { outcome, .. } | Answer::Run { outcome } => outcome.holds(),
            Answer::Fewest { found, .. } => found.is_some(),
            Answer::Most { none, .. } => none.is_empty(),
        }
    }
}

impl Display for Simulation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { table, scenario, .. } = self;
        writeln!(f, "SIMULATED, in virtual time; nothing here was measured on a device")?;
        writeln!(f, "cost table    {}", table.name)?;
        writeln!(f, "              {}", table.source)?;
        writeln!(
            f,
            "              {} slots, at most {} chunks in a step, {} ms outside of the engine",
            grouped(u64::from(table.slots)),
            grouped(u64::from(table.max_batch)),
            table.overhead_ms
        )?;
        let part = |(context, share): &(usize, f64)| {
            let ms = table.context.get(*context).map_or(0, |row| row.chunk_ms);
            format!("{:.0} % in chunks of {ms} ms", share * 100.0)
        };
        let mix: Vec<String> = scenario.mix.iter().map(part).collect();
        write!(f, "traffic       {}; ", mix.join(", "))?;
        match scenario.calls.len() {
            0 => write!(f, "come over {} s, then {} s", scenario.ramp_s, scenario.seconds)?,
            calls => write!(f, "the {calls} calls of a real run in {:.0} s", scenario.seconds)?,
        }
        write!(f, "; jitter up to {:.1} ms", scenario.jitter_ms)?;
        if let Some(mean) = scenario.calls_s {
            write!(f, "; calls of {mean} s in the mean")?;
        }
        for (share, what) in [(scenario.storm, "break off and come back"), (scenario.together, "send in phase")] {
            if share > 0.0 {
                write!(f, "; {:.0} % {what}", share * 100.0)?;
            }
        }
        if scenario.files > 0 {
            write!(f, "; {} files in work for each device", scenario.files)?;
        }
        writeln!(
            f,
            "\nrule          nobody is refused, p99 within {} ms, at most {} % later; seed {}, {} threads\n",
            scenario.budget_ms,
            scenario.late_share * 100.0,
            scenario.seed,
            self.threads
        )?;
        match &self.answer {
            Answer::Load { outcome, sentence, .. } => writeln!(f, "{outcome}\n{sentence}")?,
            Answer::Run { outcome } => write!(f, "{outcome}")?,
            Answer::Fewest { streams, found: None } => writeln!(f, "{MOST_GPUS} devices do not hold {} streams", grouped(*streams))?,
            Answer::Fewest {
                streams,
                found: Some(found),
            } => writeln!(
                f,
                "{} devices hold {} streams\n\n{}\n{}",
                grouped(found.held.gpus),
                grouped(*streams),
                found.held,
                found.sentence
            )?,
            Answer::Most { found, none } => {
                write!(f, "{}", Rows(found))?;
                for gpus in none {
                    writeln!(f, "{} devices do not hold even one stream", grouped(*gpus))?;
                }
            }
        }
        if let Some(compared) = &self.compared {
            write!(f, "\n{compared}")?;
        }
        Ok(())
    }
}
