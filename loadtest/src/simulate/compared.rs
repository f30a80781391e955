//! Holds a simulation against a real run: the p99 of the response time on both sides.
//!
//! The figure is the server's own `hark_response_seconds`, from a chunk's last byte to its result. The client's response time is printed too,
//! but not judged: it contains the time from a pause inside a chunk to the chunk's end. The server's histogram is coarse, so the simulated
//! times are read through the same bounds before the two are compared.

use std::fmt::{self, Display, Formatter};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde_json::Value;

use super::outcome::Outcome;

/// Largest difference from the measured value.
const NEAR: f64 = 0.25;

/// What was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Measured {
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
/// No such file, or one without the server's own response times.
pub(crate) fn read(path: &Path) -> Result<Measured> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    let run: Value = serde_json::from_slice(&bytes).with_context(|| path.display().to_string())?;
    of(&run).with_context(|| path.display().to_string())
}

fn of(run: &Value) -> Result<Measured> {
    let spread = run
        .pointer("/server/spreads/hark_response_seconds")
        .context("the run has no hark_response_seconds of the server: it cannot be compared")?;
    let number = |name: &str| spread.get(name).and_then(Value::as_f64);
    let p99 = number("p99").context("the p99 of the run's hark_response_seconds lies beyond its last bound")?;
    ensure!(p99 > 0.0, "the p99 of the run's hark_response_seconds is not above 0");
    Ok(Measured {
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
            .bucketed_p99_ms
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
        let run = json!({
            "server": { "spreads": { "hark_response_seconds": { "count": 9.0, "mean": 0.01, "p99": 0.04 } } },
            "delays": { "response": { "p99_ms": 290.0 } }
        });
        let measured = of(&run).unwrap();
        assert!((measured.server_p99_ms - 40.0).abs() < 1e-9 && measured.client_p99_ms == Some(290.0));
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

    #[test]
    fn near_is_within_a_quarter() {
        let compared = |ratio| Compared {
            measured: Measured {
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
