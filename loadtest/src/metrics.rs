//! The server's own figures: reads `GET /metrics` before and after a run and tells what happened between.
//!
//! Understands Prometheus text format 0.0.4 as far as it is needed. Only families whose names begin with `hark_` or `engine_` are kept.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::target::Target;
use crate::upload::{body, client};

/// Longest wait for an answer.
const WAIT: Duration = Duration::from_secs(10);
/// Largest answer that is read.
const MAX_ANSWER: usize = 8 << 20;
/// Most series that are kept.
const MAX_SERIES: usize = 2000;

/// All series at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Scrape {
    histograms: BTreeMap<String, Buckets>,
    counters: BTreeMap<String, f64>,
    gauges: BTreeMap<String, f64>,
}

/// A histogram; series that differ in labels are added together.
#[derive(Debug, Clone, Default, PartialEq)]
struct Buckets {
    /// Upper bound and samples up to it; bounds as text, because they are keys.
    up_to: BTreeMap<String, f64>,
    sum: f64,
    count: f64,
}

/// What a histogram says about the time between two readings. Percentiles are interpolated within a bucket; `None`: beyond the last bound.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Spread {
    /// Samples.
    pub(crate) count: f64,
    /// Mean.
    pub(crate) mean: f64,
    /// Median.
    pub(crate) p50: Option<f64>,
    /// 95 in 100 lie at or below.
    pub(crate) p95: Option<f64>,
    /// 99 in 100 lie at or below.
    pub(crate) p99: Option<f64>,
    /// Upper bounds of the buckets, without the infinite one.
    pub(crate) bounds: Vec<f64>,
}

/// What happened between two readings.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct ServerFigures {
    /// Histograms that got samples, in their own units.
    pub(crate) spreads: BTreeMap<String, Spread>,
    /// Counters that grew, and by how much.
    pub(crate) grown: BTreeMap<String, f64>,
    /// Gauges at the end.
    pub(crate) gauges: BTreeMap<String, f64>,
}

impl Scrape {
    /// Reads the metrics of the server at `target`.
    ///
    /// # Errors
    /// No answer, not 200, or not Prometheus text.
    pub(crate) async fn read(target: &Target) -> Result<Self> {
        let url = target.metrics_url();
        let asking = async {
            let mut request = client()?.get(url.clone());
            if let Some(key) = target.authorization() {
                request = request.header("authorization", key.clone());
            }
            let response = request.send().await?;
            let status = response.status().as_u16();
            ensure!(status == 200, "answered with {status}");
            body(response, MAX_ANSWER).await
        };
        let answer = tokio::time::timeout(WAIT, asking).await.context("no answer in time")?;
        let bytes = answer.with_context(|| url.to_string())?;
        Ok(Self::parse(&String::from_utf8_lossy(&bytes)))
    }

    /// Reads Prometheus text.
    pub(crate) fn parse(text: &str) -> Self {
        let mut kinds: BTreeMap<&str, &str> = BTreeMap::new();
        let mut out = Self::default();
        for line in text.lines() {
            if let Some(kind) = line.strip_prefix("# TYPE ") {
                kinds.extend(kind.trim().split_once(' '));
                continue;
            }
            let Some((series, value)) = sample(line) else { continue };
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            if !name.starts_with("hark_") && !name.starts_with("engine_") {
                continue;
            }
            if out.counters.len() + out.gauges.len() + out.histograms.len() >= MAX_SERIES {
                break;
            }
            let part = |suffix: &str| name.strip_suffix(suffix).filter(|base| kinds.get(base) == Some(&"histogram"));
            if let Some(base) = part("_bucket") {
                if let Some(bound) = label(labels, "le") {
                    let buckets = out.histograms.entry(base.to_owned()).or_default();
                    *buckets.up_to.entry(bound.to_owned()).or_default() += value;
                }
            } else if let Some(base) = part("_sum") {
                out.histograms.entry(base.to_owned()).or_default().sum += value;
            } else if let Some(base) = part("_count") {
                out.histograms.entry(base.to_owned()).or_default().count += value;
            } else {
                let kept = if kinds.get(name) == Some(&"counter") {
                    &mut out.counters
                } else {
                    &mut out.gauges
                };
                kept.insert(series.to_owned(), value);
            }
        }
        out
    }

    /// The gauge `name`.
    pub(crate) fn gauge(&self, name: &str) -> Option<f64> {
        self.gauges.get(name).copied()
    }

    /// The gauges `name`, each with its labels.
    pub(crate) fn labelled(&self, name: &str) -> impl Iterator<Item = (Vec<(&str, &str)>, f64)> {
        self.gauges.iter().filter_map(move |(series, value)| {
            let labels = series.strip_prefix(name)?.strip_prefix('{')?.strip_suffix('}')?;
            let pairs = labels.split(',').filter_map(|part| part.trim().split_once('='));
            let pairs = pairs.map(|(name, value)| (name, value.trim_matches('"')));
            Some((pairs.collect(), *value))
        })
    }

    /// The bounds of the histogram `name` with the share of all samples up to each, in order, as far as they are finite.
    pub(crate) fn shares(&self, name: &str) -> Vec<(f64, f64)> {
        let Some(buckets) = self.histograms.get(name).filter(|buckets| buckets.count > 0.0) else {
            return Vec::new();
        };
        let share = |(bound, up_to): (&String, &f64)| Some((bound.parse::<f64>().ok()?, up_to / buckets.count));
        let mut shares: Vec<(f64, f64)> = buckets
            .up_to
            .iter()
            .filter_map(share)
            .filter(|(bound, _)| bound.is_finite())
            .collect();
        shares.sort_by(|a, b| a.0.total_cmp(&b.0));
        shares
    }

    /// What happened from `before` to `self`.
    pub(crate) fn since(&self, before: &Self) -> ServerFigures {
        let nothing = Buckets::default();
        let spread = |(name, after): (&String, &Buckets)| {
            let before = before.histograms.get(name).unwrap_or(&nothing);
            Some((name.clone(), after.spread_since(before)?))
        };
        let growth = |(name, after): (&String, &f64)| {
            let grown = after - before.counters.get(name).copied().unwrap_or(0.0);
            (grown > 0.0).then(|| (name.clone(), grown))
        };
        ServerFigures {
            spreads: self.histograms.iter().filter_map(spread).collect(),
            grown: self.counters.iter().filter_map(growth).collect(),
            gauges: self.gauges.clone(),
        }
    }
}

/// What happened since `before`, a reading of the same server; `Err` is why this is not known.
pub(crate) async fn between(before: Result<Scrape>, target: &Target) -> Result<ServerFigures, String> {
    let before = before.map_err(|error| format!("{error:#}"))?;
    let after = Scrape::read(target).await.map_err(|error| format!("{error:#}"))?;
    Ok(after.since(&before))
}

/// A line's series and value; comments and what cannot be read give nothing.
fn sample(line: &str) -> Option<(&str, f64)> {
    let line = line.trim();
    if line.starts_with('#') {
        return None;
    }
    // Label values may hold spaces: the value follows the closing brace.
    let end = match line.rfind('}') {
        Some(brace) => brace.checked_add(1)?,
        None => line.find(' ')?,
    };
    let (series, rest) = (line.get(..end)?, line.get(end..)?);
    let value: f64 = rest.split_whitespace().next()?.parse().ok()?;
    value.is_finite().then_some((series, value))
}

/// The value of `name` in `a="1",b="2"}`.
fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    let start = format!("{name}=\"");
    let part = labels.split(',').find_map(|part| part.trim().strip_prefix(start.as_str()))?;
    part.split('"').next()
}

/// The value up to which `wanted` samples lie, interpolated within its bucket: `buckets` are upper bounds with the samples up to each, in
/// order. `None` beyond the last finite bound.
pub(crate) fn interpolated(buckets: impl IntoIterator<Item = (f64, f64)>, wanted: f64) -> Option<f64> {
    let (mut low, mut below) = (0.0, 0.0);
    for (high, up_to) in buckets {
        if up_to >= wanted && high.is_finite() {
            let inside = (up_to - below).max(f64::MIN_POSITIVE);
            return Some(low + (high - low) * ((wanted - below) / inside).clamp(0.0, 1.0));
        }
        (low, below) = (high, up_to);
    }
    None
}

impl Buckets {
    fn spread_since(&self, before: &Self) -> Option<Spread> {
        let count = self.count - before.count;
        if count <= 0.0 {
            return None;
        }
        let mut bounds: Vec<(f64, f64)> = self
            .up_to
            .iter()
            .filter_map(|(bound, samples)| {
                let past = before.up_to.get(bound).copied().unwrap_or(0.0);
                Some((bound.parse::<f64>().ok()?, samples - past))
            })
            .collect();
        bounds.sort_by(|a, b| a.0.total_cmp(&b.0));
        let quantile = |share: f64| interpolated(bounds.iter().copied(), share * count);
        let finite = bounds.iter().map(|(bound, _)| *bound).filter(|bound| bound.is_finite());
        Some(Spread {
            count,
            bounds: finite.collect(),
            mean: (self.sum - before.sum) / count,
            p50: quantile(0.50),
            p95: quantile(0.95),
            p99: quantile(0.99),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const BEFORE: &str = "# TYPE hark_step_seconds histogram\nhark_step_seconds_bucket{le=\"0.1\"} 5\nhark_step_seconds_bucket{le=\"0.2\"} 5\nhark_step_seconds_bucket{le=\"0.4\"} 5\nhark_step_seconds_bucket{le=\"+Inf\"} 5\nhark_step_seconds_sum 0.25\nhark_step_seconds_count 5\n";
    const AFTER: &str = "# HELP hark_step_seconds time\n# TYPE hark_step_seconds histogram\nhark_step_seconds_bucket{le=\"0.1\"} 5\nhark_step_seconds_bucket{le=\"0.2\"} 85\nhark_step_seconds_bucket{le=\"0.4\"} 104\nhark_step_seconds_bucket{le=\"+Inf\"} 105\nhark_step_seconds_sum 20.25\nhark_step_seconds_count 105\n\
        # TYPE hark_streams_closed_total counter\nhark_streams_closed_total{code=\"1000\"} 7\n# TYPE engine_estimated_stream_capacity gauge\nengine_estimated_stream_capacity 128\n\
        # TYPE other_total counter\nother_total 3\nhark_broken NaN\n";

    #[test]
    fn only_what_happened_between_the_readings_counts() {
        let (before, after) = (Scrape::parse(BEFORE), Scrape::parse(AFTER));
        let figures = after.since(&before);
        let step = figures.spreads.get("hark_step_seconds").unwrap();
        // 100 samples since: none up to 0.1, 80 up to 0.2, 99 up to 0.4, one beyond.
        assert!((step.count - 100.0).abs() < 1e-9 && (step.mean - 0.2).abs() < 1e-9, "{step:?}");
        assert!((step.p50.unwrap() - 0.1625).abs() < 1e-9, "{step:?}");
        assert!((step.p99.unwrap() - 0.4).abs() < 1e-9, "{step:?}");
        assert_eq!(step.bounds, [0.1, 0.2, 0.4]);
        assert_eq!(
            figures.grown,
            BTreeMap::from([("hark_streams_closed_total{code=\"1000\"}".to_owned(), 7.0)])
        );
        assert_eq!(after.gauge("engine_estimated_stream_capacity"), Some(128.0));
        assert!(after.since(&after).spreads.is_empty());
    }

    #[test]
    fn a_percentile_beyond_the_last_bound_is_not_made_up() {
        let text = "# TYPE hark_x histogram\nhark_x_bucket{le=\"1\"} 1\nhark_x_bucket{le=\"+Inf\"} 4\nhark_x_sum 40\nhark_x_count 4\n";
        let figures = Scrape::parse(text).since(&Scrape::default());
        let spread = figures.spreads.get("hark_x").unwrap();
        assert_eq!((spread.p50, spread.p99), (None, None));
    }

    #[test]
    fn series_of_one_histogram_are_added_and_odd_lines_are_left() {
        let text = "# TYPE engine_l histogram\nengine_l_bucket{kind=\"a b\",le=\"1.0\"} 2\nengine_l_bucket{kind=\"c\",le=\"1.0\"} 3\nengine_l_count{kind=\"a b\"} 2\nengine_l_count{kind=\"c\"} 3\nhark_\n\n}{\nhark_y{\n";
        let figures = Scrape::parse(text).since(&Scrape::default());
        assert!((figures.spreads.get("engine_l").unwrap().count - 5.0).abs() < 1e-9);
    }
}
