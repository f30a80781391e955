//! What breaks first: how much of every limit of the design a load uses, and the sentence that says so.
//!
//! The engine's limits (slots, predicted response, lateness) show in virtual time. Two others do not, because virtual time does not count what
//! deciding costs: a device's scheduler is one thread, and so is whoever places streams. Both are taken from the real time that the very
//! same code took here, so they depend on this machine, and are rough where the simulation shares its cores.

use serde::Serialize;

use super::cost::Table;
use super::outcome::{Outcome, grouped, rounded};
use super::traffic::Scenario;

/// Part of the greatest throughput from which on a refusal is put down to it.
const NEARLY_ALL: f64 = 0.75;
/// Time over which a storm's streams come back.
const STORM_S: f64 = 2.0;
/// Fullest device by the mean from which on the placement is called uneven, if devices hold enough streams for that to say something.
const UNEVEN: f64 = 1.1;

/// A limit, and how much of it is used.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Limit {
    pub(crate) name: &'static str,
    /// 1: all of it.
    pub(crate) used: f64,
    pub(crate) what: String,
}

/// Every limit at the load of `outcome`, the most used first.
pub(crate) fn limits(outcome: &Outcome, scenario: &Scenario, table: &Table) -> Vec<Limit> {
    let wall = &outcome.wall;
    let slots = outcome.live.max / f64::from(table.slots);
    let seconds_of_storm = wall.placing_us * 1e-6 * f64::from(u32::try_from(outcome.streams).unwrap_or(u32::MAX));
    let p99 = outcome.response.map_or(0.0, |response| response.p99_ms);
    let mut limits = vec![
        Limit {
            name: "slots",
            used: slots,
            what: format!("the fullest device has {:.0} of its {} slots taken", outcome.live.max, table.slots),
        },
        Limit {
            name: "admission",
            used: outcome.fullest,
            what: format!(
                "admission holds the fullest device to be {:.0} % full, and at most {:.0} % of an engine's greatest throughput is in use",
                outcome.fullest * 100.0,
                outcome.load.max * 100.0
            ),
        },
        Limit {
            name: "response",
            used: p99 / scenario.budget_ms,
            what: format!("the response time has a p99 of {p99:.1} ms of {:.0} ms", scenario.budget_ms),
        },
        Limit {
            name: "scheduler",
            used: wall.scheduler_share.max,
            what: format!(
                "the scheduler thread of a device takes {:.1} % of a core like this machine's ({:.2} us a chunk)",
                wall.scheduler_share.max * 100.0,
                wall.scheduler_us_per_chunk
            ),
        },
        Limit {
            name: "placement",
            used: if outcome.gpus > 1 { seconds_of_storm / STORM_S } else { 0.0 },
            what: format!(
                "placing a stream among {} devices takes {:.1} us, so one thread takes {seconds_of_storm:.1} s to place all {} streams again, of the \
                 {STORM_S:.0} s in which a storm has them come back",
                grouped(outcome.gpus),
                wall.placing_us,
                grouped(outcome.streams)
            ),
        },
    ];
    if outcome.live.mean >= 50.0 {
        limits.push(Limit {
            name: "balance",
            used: (outcome.imbalance() - 1.0) / (UNEVEN - 1.0),
            what: format!("the fullest device has {:.2} times the streams of the mean", outcome.imbalance()),
        });
    }
    limits.sort_by(|a, b| b.used.total_cmp(&a.used));
    limits
}

/// Why the rule does not hold in `failed`.
fn reason(failed: &Outcome, table: &Table) -> String {
    let Some(refusal) = &failed.first_refusal else {
        return failed.broken.join(", ");
    };
    let why = match refusal.reason {
        "no slot is free" => format!("all {} slots of every device are taken", grouped(u64::from(table.slots))),
        _ if refusal.load >= NEARLY_ALL => format!(
            "the streams of every device use what admission gives of the engine's greatest throughput ({:.0} % on the device with the most room)",
            refusal.load * 100.0
        ),
        _ => format!(
            "admission does not expect, or did not see, p99 within the {:.0} ms that it aims at ({:.0} % of the greatest throughput in use on the \
             device with the most room)",
            refusal.aim_ms,
            refusal.load * 100.0
        ),
    };
    format!(
        "the first stream is refused at {:.1} s with {} in service because {why}",
        refusal.at_s,
        grouped(refusal.in_service)
    )
}

/// How `failed` had it harder than `held`.
fn less(held: &Outcome, failed: &Outcome) -> String {
    if failed.gpus == held.gpus {
        format!("with {} streams", grouped(failed.streams))
    } else {
        format!("on {} devices", grouped(failed.gpus))
    }
}

/// The sentence: what broke when there were more streams than `held`, and which limits are next.
pub(crate) fn sentence(held: &Outcome, failed: Option<&Outcome>, scenario: &Scenario, table: &Table) -> String {
    let limits = limits(held, scenario, table);
    let beyond: Vec<&Limit> = limits
        .iter()
        .filter(|limit| limit.used > 1.0 && ["scheduler", "placement", "balance"].contains(&limit.name))
        .collect();
    let devices = format!("{} device{}", grouped(held.gpus), if held.gpus == 1 { "" } else { "s" });
    let mut text = match (beyond.first(), failed) {
        (Some(limit), _) => format!(
            "What breaks first with {devices}: the {}, before the engines do: with {} streams, {}",
            limit.name,
            grouped(held.streams),
            limit.what
        ),
        (None, Some(failed)) => format!(
            "What breaks first with {devices}: {} streams hold; {}, {}",
            grouped(held.streams),
            less(held, failed),
            reason(failed, table)
        ),
        (None, None) if !held.holds() => format!(
            "What breaks first with {devices}: with {} streams, {}",
            grouped(held.streams),
            reason(held, table)
        ),
        (None, None) => {
            let first = limits.first().map_or("nothing is used", |limit| limit.what.as_str());
            format!(
                "Nothing breaks with {devices} and {} streams; the nearest limit: {first}",
                grouped(held.streams)
            )
        }
    };
    if let (Some(_), Some(failed)) = (beyond.first(), failed) {
        text += &format!(
            "; in virtual time, with {} streams, {}",
            grouped(failed.streams),
            reason(failed, table)
        );
    }
    let told = beyond.first().map(|limit| limit.name);
    let rest: Vec<&str> = limits
        .iter()
        .filter(|limit| Some(limit.name) != told && limit.used > 0.0 && ["scheduler", "placement", "response"].contains(&limit.name))
        .map(|limit| limit.what.as_str())
        .collect();
    let chunks = rounded(held.chunks_per_second(scenario.seconds));
    format!(
        "{text}. At {} streams {}; the front ends take {chunks} chunks a second over all.",
        grouped(held.streams),
        rest.join("; ")
    )
}
