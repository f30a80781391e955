//! Holds a simulation against a real run: the run's own calls, each at the time that it had there, and the p99 of the response time on
//! both sides.
//!
//! The figure is the server's own `hark_response_seconds`, from a chunk's last byte to its result. The client's response time is printed too,
//! but not judged: it contains the time from a pause inside a chunk to the chunk's end. The server's histogram is coarse, so the simulated
//! times are read through the same bounds before the two are compared.

use std::fmt::{self, Display, Formatter};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use serde_json::Value;

use super::outcome::Outcome;
use super::traffic::Call;
use crate::numbers::{count, real};

/// Largest difference from the measured value.
const NEAR: f64 = 0.25;

/// A real run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Run {
    pub(crate) measured: Measured,
    /// Its calls, as far as the server took them.
    pub(crate) calls: Vec<Call>,
    /// Most of them at once.
    pub(crate) most_at_once: u64,
    /// How much later some chunks were sent than others, against their planned times: what was late for all alike does not count.
    pub(crate) jitter_ms: f64,
    /// Length of its chunks, as far as their number tells: a call's last one is half a chunk in the mean.
    pub(crate) chunk_ms: f64,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Measured {
    /// Bounds of the server's histogram.
    #[serde(skip)]
    bounds_ms: Vec<f64>,
    /// The server's own, interpolated within a bucket.
    pub(crate) server_p99_ms: f64,
    /// Responses that it is of.
    pub(crate) count: f64,
    /// The client's.
    pub(crate) client_p99_ms: Option<f64>,
}

/// Both sides.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Compared {
    pub(crate) measured: Measured,
    /// Read through the bounds of the server's histogram.
    pub(crate) predicted_p99_ms: f64,
    /// As simulated.
    pub(crate) exact_p99_ms: f64,
    /// Predicted by measured.
    pub(crate) ratio: f64,
}

/// Reads what `hark-loadtest run --json` wrote.
///
/// # Errors
/// No such file, one without the server's own response times, or a run that cannot be simulated call by call.
pub(crate) fn read(path: &Path) -> Result<Run> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    let run: Value = serde_json::from_slice(&bytes).with_context(|| path.display().to_string())?;
    of(&run).with_context(|| path.display().to_string())
}

fn of(run: &Value) -> Result<Run> {
    let lateness = |name: &str| {
        let value = run.pointer(&format!("/delays/own_lateness/{name}")).and_then(Value::as_f64);
        value.context("the run does not tell its own lateness")
    };
    let (measured, calls) = (measured(run)?, calls(run)?);
    let audio_s: f64 = calls.iter().map(|call| call.lasts_s).sum();
    let step = |name: &str| {
        run.pointer(&format!("/server/spreads/hark_step_chunks/{name}"))
            .and_then(Value::as_f64)
    };
    let chunks = step("count").zip(step("mean")).map(|(steps, each)| steps * each);
    let chunks = chunks.context("the run has no hark_step_chunks of the server")? - 0.5 * real(count(calls.len()));
    Ok(Run {
        chunk_ms: audio_s * 1e3 / chunks.max(1.0),
        measured,
        calls,
        jitter_ms: (lateness("p99_ms")? - lateness("p50_ms")?).max(0.0),
        most_at_once: run
            .get("most_at_once")
            .and_then(Value::as_u64)
            .context("the run has no most_at_once")?,
    })
}

fn calls(run: &Value) -> Result<Vec<Call>> {
    let audio = |name: &str| run.pointer(&format!("/scenario/audio/{name}"));
    let groups = run
        .pointer("/scenario/groups")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    let odd = |name: &str, usual: &Value| {
        let of_group = |group: &Value| group.get(name).is_some_and(|value| !value.is_null() && value != usual);
        audio(name).is_some_and(|value| value != usual) || groups.iter().any(of_group)
    };
    for (found, what) in [
        (odd("speed", &Value::from(1.0)), "not in real time"),
        (odd("talk_over", &Value::from(false)), "with two channels"),
        (
            run.pointer("/scenario/uploads").is_some_and(|uploads| !uploads.is_null()),
            "with uploads",
        ),
        (
            run.get("raw_left_out").and_then(Value::as_u64) != Some(0),
            "of which not every call was kept",
        ),
    ] {
        if found {
            bail!("a run {what} cannot be simulated call by call");
        }
    }
    let raw = run.get("raw").and_then(Value::as_array).context("the run has no calls")?;
    let call = |call: &Value| {
        let at_s = call.get("audio_start_s")?.as_f64()?;
        let lasts_s = call.get("ended_s")?.as_f64()? - at_s;
        Some(Call { at_s, lasts_s })
    };
    let calls: Vec<Call> = raw.iter().filter_map(call).collect();
    let sane = |call: &Call| (0.0..=86_400.0).contains(&call.at_s) && (0.0..=86_400.0).contains(&call.lasts_s);
    ensure!(
        !calls.is_empty() && calls.iter().all(sane),
        "the run has no calls, or some at no sensible time"
    );
    Ok(calls)
}

fn measured(run: &Value) -> Result<Measured> {
    let spread = run
        .pointer("/server/spreads/hark_response_seconds")
        .context("the run has no hark_response_seconds of the server: it cannot be compared")?;
    let number = |name: &str| spread.get(name).and_then(Value::as_f64);
    let p99 = number("p99").context("the p99 of the run's hark_response_seconds lies beyond its last bound")?;
    ensure!(p99 > 0.0, "the p99 of the run's hark_response_seconds is not above 0");
    let bounds = spread.get("bounds").and_then(Value::as_array);
    let bounds_ms = bounds.map(|bounds| bounds.iter().filter_map(Value::as_f64).map(|bound| bound * 1e3).collect());
    Ok(Measured {
        bounds_ms: bounds_ms.context("the run's hark_response_seconds has no bounds")?,
        server_p99_ms: p99 * 1e3,
        count: number("count").unwrap_or(0.0),
        client_p99_ms: run.pointer("/delays/response/p99_ms").and_then(Value::as_f64),
    })
}

impl Compared {
    /// # Errors
    /// A simulation without answers.
    pub(super) fn new(measured: Measured, outcome: &Outcome) -> Result<Self> {
        let exact = outcome.response.context("the simulation has no responses to compare")?;
        let predicted = outcome
            .p99_between(&measured.bounds_ms)
            .context("the simulated p99 lies beyond the last bound of the server's histogram")?;
        Ok(Self {
            predicted_p99_ms: predicted,
            exact_p99_ms: exact.p99_ms,
            ratio: predicted / measured.server_p99_ms,
            measured,
        })
    }

    /// Whether the prediction is within a quarter of what was measured.
    pub(crate) fn is_near(&self) -> bool {
        (self.ratio - 1.0).abs() <= NEAR
    }
}

impl Display for Compared {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Measured {
            server_p99_ms,
            count,
            client_p99_ms,
            ..
        } = &self.measured;
        writeln!(f, "response time p99, predicted and measured")?;
        writeln!(
            f,
            "predicted     {:.1} ms read through the bounds of hark_response_seconds, {:.1} ms exactly",
            self.predicted_p99_ms, self.exact_p99_ms
        )?;
        writeln!(
            f,
            "measured      {server_p99_ms:.1} ms by the server over {count} responses, interpolated within a bucket"
        )?;
        if let Some(client) = client_p99_ms {
            writeln!(
                f,
                "              {client:.1} ms by the client, which contains the time from a pause inside a chunk to its end"
            )?;
        }
        let verdict = if self.is_near() { "within" } else { "NOT within" };
        writeln!(f, "ratio         {:.2}, {verdict} {:.0} %", self.ratio, NEAR * 100.0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_servers_own_p99_is_read_and_missed_where_it_lacks() {
        let found = of(&a_run()).unwrap();
        assert!((found.measured.server_p99_ms - 40.0).abs() < 1e-9 && found.measured.client_p99_ms == Some(290.0));
        assert_eq!(found.measured.bounds_ms, [10.0, 50.0]);
        for (run, wanted) in [
            (json!({ "server": null }), "has no hark_response_seconds"),
            (
                json!({ "server": { "spreads": { "hark_response_seconds": { "count": 9.0, "p99": null } } } }),
                "beyond",
            ),
        ] {
            let error = of(&run).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }

    fn a_run() -> Value {
        json!({
            "scenario": { "audio": { "speed": 1.0, "talk_over": false }, "groups": [{ "speed": null }], "uploads": null },
            "server": { "spreads": {
                "hark_response_seconds": { "count": 9.0, "mean": 0.01, "p99": 0.04, "bounds": [0.01, 0.05] },
                "hark_step_chunks": { "count": 10.0, "mean": 4.0 },
            } },
            "delays": { "response": { "p99_ms": 290.0 }, "own_lateness": { "p50_ms": 1.25, "p99_ms": 3.0 } },
            "most_at_once": 2,
            "raw": [
                { "audio_start_s": 0.5, "ended_s": 10.0 },
                { "audio_start_s": null, "ended_s": 1.0 },
                { "audio_start_s": 2.0, "ended_s": 5.0 },
            ],
            "raw_left_out": 0
        })
    }

    #[test]
    fn calls_keep_their_times_and_what_is_not_simulated_is_refused() {
        let found = of(&a_run()).unwrap();
        let wanted = [(0.5, 9.5), (2.0, 3.0)].map(|(at_s, lasts_s)| Call { at_s, lasts_s });
        assert_eq!((found.calls.as_slice(), found.most_at_once), (&wanted[..], 2));
        assert!((found.jitter_ms - 1.75).abs() < 1e-9);
        // 12.5 s in 40 chunks, the last two of them shorter.
        assert!((found.chunk_ms - 320.5).abs() < 1.0, "{}", found.chunk_ms);
        for (place, value, wanted) in [
            ("/scenario/audio/speed", json!(2.0), "not in real time"),
            ("/scenario/groups/0/speed", json!(2.0), "not in real time"),
            ("/scenario/audio/talk_over", json!(true), "two channels"),
            ("/scenario/uploads", json!({ "parallel": 1 }), "with uploads"),
            ("/server/spreads/hark_step_chunks", json!(null), "no hark_step_chunks"),
            ("/delays/own_lateness", json!(null), "own lateness"),
            ("/raw_left_out", json!(1), "not every call"),
            ("/raw", json!([]), "no calls"),
            ("/raw/0/ended_s", json!(0.1), "no sensible time"),
        ] {
            let mut run = a_run();
            *run.pointer_mut(place).unwrap() = value;
            let error = of(&run).unwrap_err().to_string();
            assert!(error.contains(wanted), "{place}: {error}");
        }
    }

    #[test]
    fn near_is_within_a_quarter() {
        let compared = |ratio| Compared {
            measured: Measured {
                bounds_ms: Vec::new(),
                server_p99_ms: 40.0,
                count: 1.0,
                client_p99_ms: None,
            },
            predicted_p99_ms: 40.0 * ratio,
            exact_p99_ms: 40.0,
            ratio,
        };
        assert!(compared(0.76).is_near() && compared(1.24).is_near());
        assert!(!compared(0.74).is_near() && !compared(1.26).is_near());
    }
}
