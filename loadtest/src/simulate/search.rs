//! Searches: the most streams that some devices hold, the fewest devices that hold some streams.

use std::fmt::{self, Display, Formatter};

use anyhow::Result;
use serde::Serialize;

use super::cost::Table;
use super::limits::sentence;
use super::outcome::{Outcome, grouped, rounded};
use super::traffic::{Scenario, ceiling, simulate};
use crate::numbers::{length, real, whole};

/// The most streams are known up to this share of them.
const RESOLUTION: f64 = 0.03;
/// Most trials of one search.
const TRIALS: usize = 40;
/// Most devices and streams that are simulated.
pub(crate) const MOST_GPUS: u64 = 10_000;
pub(crate) const MOST_STREAMS: u64 = 20_000_000;

/// The result of a search.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Found {
    /// The largest load that held, or the fewest devices that did.
    pub(crate) held: Outcome,
    /// The nearest that did not.
    pub(crate) failed: Option<Outcome>,
    /// What breaks first.
    pub(crate) sentence: String,
    pub(crate) trials: usize,
}

/// The most streams that `gpus` devices hold; `None` if not even one. `guess`: where to begin, and by which factor to go on from there.
///
/// # Errors
/// As [`simulate`].
pub(crate) fn most_streams(scenario: &Scenario, table: &Table, gpus: u64, threads: usize, guess: (u64, f64)) -> Result<Option<Found>> {
    let (mut next, factor) = guess;
    let (mut held, mut failed): (Option<Outcome>, Option<Outcome>) = (None, None);
    let mut trials = 0;
    while trials < TRIALS {
        let outcome = simulate(scenario, table, length(gpus), next.clamp(1, MOST_STREAMS), threads, true)?;
        trials += 1;
        eprintln!(
            "  {} devices, {} streams: {} ({:.1} s)",
            grouped(gpus),
            grouped(outcome.streams),
            if outcome.holds() { "holds" } else { "does not hold" },
            outcome.wall.wall_s
        );
        let slot = if outcome.holds() { &mut held } else { &mut failed };
        *slot = Some(outcome);
        let fits = held.as_ref().map_or(0, |outcome| outcome.streams);
        match failed.as_ref().map(|outcome| outcome.streams) {
            None if fits >= MOST_STREAMS => break,
            None => next = whole(real(fits) * factor).max(fits + 1),
            Some(above) if above <= fits + 1 || real(above - fits) <= real(fits) * RESOLUTION => break,
            Some(above) if fits == 0 => next = whole(real(above) / factor).min(above - 1),
            Some(above) => next = fits + (above - fits) / 2,
        }
        if next == 0 {
            break;
        }
    }
    Ok(held.map(|held| found(held, failed, scenario, table, trials)))
}

/// The fewest devices that hold `streams`; `None` if [`MOST_GPUS`] do not.
///
/// # Errors
/// As [`simulate`].
pub(crate) fn fewest_gpus(scenario: &Scenario, table: &Table, streams: u64, threads: usize) -> Result<Option<Found>> {
    // Admission leaves a fifth of the throughput free.
    let mut next = whole(real(streams) / (0.8 * real(ceiling(scenario, table)))).max(1);
    let (mut held, mut failed): (Option<Outcome>, Option<Outcome>) = (None, None);
    let (mut trials, mut stride) = (0, 1);
    while trials < TRIALS {
        let outcome = simulate(scenario, table, length(next), streams, threads, true)?;
        trials += 1;
        eprintln!(
            "  {} devices: {} ({:.1} s)",
            grouped(next),
            if outcome.holds() { "hold" } else { "do not hold" },
            outcome.wall.wall_s
        );
        let slot = if outcome.holds() { &mut held } else { &mut failed };
        *slot = Some(outcome);
        let enough = held.as_ref().map(|outcome| outcome.gpus);
        let few = failed.as_ref().map_or(0, |outcome| outcome.gpus);
        match enough {
            None if few >= MOST_GPUS => break,
            None => next = (few + stride).min(MOST_GPUS),
            Some(enough) if enough <= few + 1 => break,
            Some(enough) if few == 0 => next = enough.saturating_sub(stride).max(1),
            Some(enough) => next = few + (enough - few) / 2,
        }
        stride *= 2;
    }
    Ok(held.map(|held| found(held, failed, scenario, table, trials)))
}

fn found(held: Outcome, failed: Option<Outcome>, scenario: &Scenario, table: &Table, trials: usize) -> Found {
    Found {
        sentence: sentence(&held, failed.as_ref(), scenario, table),
        held,
        failed,
        trials,
    }
}

/// A table with a row for each number of devices.
#[derive(Debug)]
pub(crate) struct Rows<'a>(pub(crate) &'a [Found]);

impl Display for Rows<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  devices  streams held  for each     p50     p99    load  imbalance  batch p50  scheduler  placing  chunks/s of wall time"
        )?;
        for Found { held, .. } in self.0 {
            let (p50, p99) = held.response.map_or((0.0, 0.0), |response| (response.p50_ms, response.p99_ms));
            writeln!(
                f,
                "{:>9}{:>14}{:>10}{p50:>8.1}{p99:>8.1}{:>6.1} %{:>11.3}{:>11}{:>9.1} %{:>6.1} us{:>23}",
                grouped(held.gpus),
                grouped(held.streams),
                rounded(real(held.streams) / real(held.gpus)),
                held.load.mean * 100.0,
                held.imbalance(),
                held.batches.p50,
                held.wall.scheduler_share.mean * 100.0,
                held.wall.placing_us,
                rounded(held.wall.chunks_per_second)
            )?;
        }
        writeln!(f)?;
        for Found { sentence, .. } in self.0 {
            writeln!(f, "{sentence}")?;
        }
        Ok(())
    }
}
