//! What a simulated device costs: a table with its source, from a file or from the metrics of a running server.
//!
//! A table says how long a step of each context takes with so many chunks, and how steps spread around that. Its source is free text that
//! every report repeats: who measured, on what, when, or that nobody did.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hark_pure::engine::cost::{BUCKETS, CostTable};
use serde::{Deserialize, Serialize};

use crate::metrics::Scrape;
use crate::numbers::count;

/// Ratio at which steps beyond the last bound of the server's histogram end: twice that bound, where the server stops believing them.
const BEYOND: f64 = 2.0;
/// Most contexts, and most points of the deviations.
const MOST: usize = 64;

/// A cost table, as written in TOML.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    /// What the device is called.
    pub(crate) name: String,
    /// Who measured, on what, when; or that it is assumed.
    pub(crate) source: String,
    /// Most chunks in one step.
    pub(crate) max_batch: u32,
    /// Streams whose state the device holds.
    pub(crate) slots: u32,
    /// Time of a chunk outside of the engine: socket, decoding of the audio, sending of the result.
    #[serde(default)]
    pub(crate) overhead_ms: f64,
    /// Quantiles (0 to 1) of the ratio of a step's time to the table, and the ratio; linear between them.
    #[serde(default = "exact")]
    pub(crate) deviation: Vec<[f64; 2]>,
    /// What steps take, by the audio in a chunk.
    pub(crate) context: Vec<Row>,
}

/// The steps of one context.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    /// Audio in a chunk.
    pub(crate) chunk_ms: u32,
    /// Seconds of a step with 1, 2, 4 and so on up to 4096 chunks.
    pub(crate) seconds: [f64; BUCKETS.len()],
}

fn exact() -> Vec<[f64; 2]> {
    vec![[0.0, 1.0], [1.0, 1.0]]
}

impl Table {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// No such file, no such table, or one that makes no sense.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    fn parse(text: &str) -> Result<Self> {
        let table: Self = toml::from_str(text)?;
        table.check()?;
        Ok(table)
    }

    /// Writes it to a file that [`Table::read`] reads.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        std::fs::write(path, toml::to_string(self)?).with_context(|| path.display().to_string())
    }

    /// The table of a server's first device. What its metrics do not say, slots and largest step, is said by the caller.
    ///
    /// # Errors
    /// Metrics without a cost table.
    pub(crate) fn of_server(scrape: &Scrape, url: &str, slots: u32, max_batch: u32) -> Result<Self> {
        let mut context: Vec<Row> = Vec::new();
        for (labels, seconds) in scrape.labelled("hark_step_cost_seconds") {
            let of = |name: &str| labels.iter().find(|(label, _)| *label == name).map(|(_, value)| *value);
            if of("device").is_some_and(|device| device != "0") {
                continue;
            }
            let (Some(chunk_ms), Some(chunks)) = (whole(of("chunk_ms")), whole(of("chunks"))) else {
                continue;
            };
            let Some(bucket) = BUCKETS.iter().position(|size| count(*size) == u64::from(chunks)) else {
                continue;
            };
            let place = context.iter().position(|row| row.chunk_ms == chunk_ms).unwrap_or(context.len());
            if place == context.len() {
                context.push(Row {
                    chunk_ms,
                    seconds: [0.0; BUCKETS.len()],
                });
            }
            let cell = context.get_mut(place).and_then(|row| row.seconds.get_mut(bucket));
            cell.into_iter().for_each(|cell| *cell = seconds);
        }
        ensure!(!context.is_empty(), "the metrics of {url} have no hark_step_cost_seconds");
        context.sort_by_key(|row| row.chunk_ms);
        let table = Self {
            name: format!("the server at {url}"),
            source: format!("read from the metrics of {url}: hark_step_cost_seconds and hark_step_deviation_ratio, as tracked there"),
            max_batch,
            slots,
            overhead_ms: 0.0,
            deviation: deviation(&scrape.shares("hark_step_deviation_ratio")),
            context,
        };
        table.check()?;
        Ok(table)
    }

    /// The context whose chunks are nearest to that length.
    pub(crate) fn nearest(&self, chunk_ms: f64) -> usize {
        let distance = |row: &Row| (f64::from(row.chunk_ms) / chunk_ms.max(1.0)).ln().abs();
        let contexts = self.context.iter().enumerate();
        contexts
            .min_by(|a, b| distance(a.1).total_cmp(&distance(b.1)))
            .map_or(0, |(context, _)| context)
    }

    /// Whether it makes sense.
    ///
    /// # Errors
    /// Says what does not.
    pub(crate) fn check(&self) -> Result<()> {
        ensure!(!self.source.trim().is_empty(), "a cost table must say its source");
        ensure!((1..=4096).contains(&self.max_batch), "max_batch is not 1 to 4096");
        ensure!((1..=1_000_000).contains(&self.slots), "slots is not 1 to 1,000,000");
        ensure!((0.0..=10_000.0).contains(&self.overhead_ms), "overhead_ms is not 0 to 10,000");
        ensure!((1..=MOST).contains(&self.context.len()), "there must be 1 to {MOST} contexts");
        for row in &self.context {
            ensure!((20..=60_000).contains(&row.chunk_ms), "chunk_ms is not 20 to 60,000");
            let sane = row.seconds.iter().all(|seconds| *seconds > 0.0 && *seconds <= 1_000.0);
            ensure!(sane, "a step of {} ms has no time between 0 and 1,000 s", row.chunk_ms);
        }
        let points = &self.deviation;
        ensure!((2..=MOST).contains(&points.len()), "deviation must have 2 to {MOST} points");
        let ends = points
            .first()
            .zip(points.last())
            .is_some_and(|([first, _], [last, _])| *first <= 0.0 && *last >= 1.0);
        ensure!(ends, "deviation must begin at quantile 0 and end at 1");
        let grows = points.is_sorted_by(|[a, low], [b, high]| a <= b && low <= high);
        let sane = points
            .iter()
            .all(|[share, ratio]| (0.0..=1.0).contains(share) && (0.0..=100.0).contains(ratio));
        ensure!(grows && sane, "quantiles and ratios of deviation must grow, ratios from 0 to 100");
        Ok(())
    }

    /// As the scheduler knows costs.
    pub(super) fn costs(&self) -> CostTable {
        CostTable::from_rows(self.context.iter().map(|row| row.seconds).collect())
    }

    /// Audio time between two chunks, for each context.
    pub(super) fn periods(&self) -> Vec<Duration> {
        let period = |row: &Row| Duration::from_millis(u64::from(row.chunk_ms));
        self.context.iter().map(period).collect()
    }

    /// The ratio of a step to the table at a quantile.
    pub(super) fn deviation(&self, share: f64) -> f64 {
        let mut below = self.deviation.first().copied().unwrap_or([0.0, 1.0]);
        for &[at, ratio] in &self.deviation {
            if share < at {
                let [from, low] = below;
                return low + (ratio - low) * ((share - from) / (at - from).max(f64::MIN_POSITIVE)).clamp(0.0, 1.0);
            }
            below = [at, ratio];
        }
        let [_, last] = below;
        last
    }
}

fn whole(text: Option<&str>) -> Option<u32> {
    text?.parse().ok()
}

/// Upper bounds of a histogram with the share up to each, as quantiles; steps as the table says if there were none.
fn deviation(shares: &[(f64, f64)]) -> Vec<[f64; 2]> {
    let mut points: Vec<[f64; 2]> = Vec::new();
    let mut low = 0.0;
    for &(bound, share) in shares {
        if share > 0.0 && points.is_empty() {
            points.push([0.0, low]);
        }
        if share > 0.0 && points.last().is_none_or(|[last, _]| *last < 1.0) {
            points.push([share.min(1.0), bound]);
        }
        low = bound;
    }
    match points.last().copied() {
        None => exact(),
        Some([share, ratio]) => {
            if share < 1.0 {
                points.push([1.0, ratio * BEYOND]);
            }
            points
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    const FILE: &str = "name = \"n\"\nsource = \"assumed\"\nmax_batch = 64\nslots = 256\noverhead_ms = 1.5\n\
        deviation = [[0, 0.5], [0.5, 1.0], [1, 3]]\n[[context]]\nchunk_ms = 320\n\
        seconds = [1e-3, 2e-3, 3e-3, 4e-3, 5e-3, 6e-3, 7e-3, 8e-3, 9e-3, 0.1, 0.2, 0.4, 0.8]\n";

    #[test]
    fn tables_are_read_written_and_read_again() {
        let table = Table::parse(FILE).unwrap();
        assert_eq!(table.costs().predict(0, 2), Duration::from_millis(2));
        assert_eq!(table.periods(), [Duration::from_millis(320)]);
        for (share, ratio) in [(0.0, 0.5), (0.25, 0.75), (0.5, 1.0), (0.75, 2.0), (1.0, 3.0)] {
            assert!((table.deviation(share) - ratio).abs() < 1e-9, "{share}");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.toml");
        table.save(&path).unwrap();
        assert_eq!(Table::read(&path).unwrap(), table);
    }

    #[test]
    fn tables_that_make_no_sense_are_refused() {
        for (from, to) in [
            ("source = \"assumed\"", "source = \" \""),
            ("max_batch = 64", "max_batch = 0"),
            ("slots = 256", "slots = 0"),
            ("[0, 0.5]", "[0.1, 0.5]"),
            ("[1, 3]", "[0.9, 3]"),
            ("[0.5, 1.0]", "[0.5, 0.1]"),
            ("1e-3, 2e-3", "0, 2e-3"),
            (", 0.8]", "]"),
            ("chunk_ms = 320", "chunk_ms = 1"),
            ("overhead_ms", "overhead"),
        ] {
            assert!(Table::parse(&FILE.replace(from, to)).is_err(), "{to}");
        }
    }

    #[test]
    fn shipped_tables_are_valid_and_say_what_they_are() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("costs");
        let table = Table::read(&folder.join("assumed-gpu.toml")).unwrap();
        assert!(table.source.starts_with("assumed, not measured:") && table.name.contains("assumed"));
    }

    #[test]
    fn the_table_of_a_server_is_read_from_its_metrics() {
        let mut text = String::from("# TYPE hark_step_cost_seconds gauge\n");
        for (ms, each) in [(1120, 4.0), (320, 1.0)] {
            for size in BUCKETS {
                let seconds = each * f64::from(u32::try_from(size).unwrap()) / 1e3;
                text += &format!("hark_step_cost_seconds{{device=\"0\",chunk_ms=\"{ms}\",chunks=\"{size}\"}} {seconds}\n");
                text += &format!("hark_step_cost_seconds{{device=\"1\",chunk_ms=\"{ms}\",chunks=\"{size}\"}} 9\n");
            }
        }
        text += "# TYPE hark_step_deviation_ratio histogram\n";
        for (bound, count) in [("0.9", 0), ("1.0", 50), ("1.5", 99), ("+Inf", 100)] {
            text += &format!("hark_step_deviation_ratio_bucket{{device=\"0\",le=\"{bound}\"}} {count}\n");
        }
        text += "hark_step_deviation_ratio_sum{device=\"0\"} 100\nhark_step_deviation_ratio_count{device=\"0\"} 100\n";
        let table = Table::of_server(&Scrape::parse(&text), "http://h", 256, 64).unwrap();
        assert_eq!(table.context.iter().map(|row| row.chunk_ms).collect::<Vec<_>>(), [320, 1120]);
        assert!((table.context[1].seconds[3] - 0.032).abs() < 1e-9);
        assert_eq!(table.deviation, [[0.0, 0.9], [0.5, 1.0], [0.99, 1.5], [1.0, 3.0]]);
        assert_eq!((table.slots, table.max_batch), (256, 64));
        let nothing = Table::of_server(&Scrape::default(), "http://h", 256, 64).unwrap_err();
        assert!(nothing.to_string().contains("hark_step_cost_seconds"), "{nothing}");
    }
}
