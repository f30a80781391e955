//! How long a step takes, by context and number of chunks: measured at warm-up, then tracked.
//!
//! Pure: durations go in, predictions come out. Every step is compared with what warm-up measured for its size. Sizes that occur are
//! corrected by what was seen of them, the others by the drift of the engine as a whole, so that a slower machine or harder audio is
//! known for all sizes at once. The scheduler asks it before it lets recorded files onto the engine and live streams through the door.

use std::collections::VecDeque;
use std::time::Duration;

/// Batch sizes at which a cost is kept; sizes between are interpolated, larger ones scale with the last.
pub const BUCKETS: [usize; 13] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 2_048, 4_096];

/// Weight of a new step in the running mean of its sizes.
const TRACKING: f64 = 0.02;
/// A step counts in these means as at most so many times what they are, and as at least that part: one that is further off tells of a
/// moment, and is a deviation.
const STEP_MOST: f64 = 2.0;
/// Weight of a new step in the running mean of the whole engine.
const DRIFT_TRACKING: f64 = 0.005;
/// Chunks from which on a step counts fully in these means.
const FULL: f64 = 8.0;
/// The same weight for the mean by which alarms are raised.
const LASTING_TRACKING: f64 = 0.001;
/// Steps that a size must have been seen before its own mean counts as much as the engine's.
const TRUST: f64 = 8.0;
/// A batch of more than so many times the usual chunks tells nothing of its size.
const USUAL: f64 = 2.0;
/// Weight of a new step in the running mean of the chunks of steps.
const USUAL_TRACKING: f64 = 0.02;
/// Deviations of steps in service from what was predicted, as they were measured on processors shared with sockets: thought to be so until
/// steps are seen.
const USUAL_DEVIATIONS: [f64; 13] = [1.0, 0.85, 1.25, 0.95, 1.06, 0.75, 1.6, 0.92, 1.1, 0.85, 1.18, 0.98, 1.03];
/// Drift from which on an alarm is due, up or down, and to which it must fall back before the next.
const ALARM: [f64; 2] = [1.5, 1.25];
/// Latest steps whose deviation from the prediction is kept.
const DEVIATIONS: usize = 1_024;
/// Deviations are not believed beyond this: a machine that slept is not a slow step.
const DEVIATION_MOST: f64 = 20.0;
/// Share of the processors that is thought to be left to steps at least.
const LEFT_LEAST: f64 = 0.1;
/// A batch is at its ridge when a chunk costs at most this much more than in the best batch.
const RIDGE: f64 = 1.1;

/// What is known of steps of one size.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cell {
    /// Seconds at warm-up.
    baseline: f64,
    /// Running mean of the ratio of steps to the baseline, as if no live stream had been in service beside them.
    ratio: f64,
    /// Steps seen, weighted by how near they were.
    seen: f64,
}

/// Step costs for each context and each size in [`BUCKETS`].
#[derive(Clone, Debug, PartialEq)]
pub struct CostTable {
    rows: Vec<[Cell; BUCKETS.len()]>,
    /// Running mean of that ratio over all steps, larger steps counting more.
    drift: f64,
    /// Running mean of the ratio of all steps as they were over a much longer time, by which alarms are raised.
    lasting: f64,
    /// What it is thought to be at least for sizes that were not seen.
    least: f64,
    /// Running mean of the chunks of steps.
    usual: f64,
    /// Running mean of the live streams in service at those steps, for which predictions are.
    streams: f64,
    /// Share of the engine's processors that each live stream takes for other work than steps.
    beside: f64,
    alarmed: bool,
    deviations: VecDeque<f64>,
    /// Steps seen, as they count in the drift.
    seen: f64,
}

impl CostTable {
    /// A table in which every step of every context is thought to take `per_chunk` for each chunk.
    pub fn linear(contexts: usize, per_chunk: Duration) -> Self {
        let row = BUCKETS.map(|size| per_chunk.as_secs_f64() * float(size));
        Self::from_rows(vec![row; contexts])
    }

    /// A table of measured seconds, one row for each context, one value for each size in [`BUCKETS`].
    pub fn from_rows(rows: Vec<[f64; BUCKETS.len()]>) -> Self {
        let cell = |baseline| Cell {
            baseline,
            ratio: 1.0,
            seen: 0.0,
        };
        Self {
            rows: rows.into_iter().map(|row| row.map(cell)).collect(),
            drift: 1.0,
            lasting: 1.0,
            least: 0.0,
            usual: 1.0,
            streams: 0.0,
            beside: 0.0,
            alarmed: false,
            deviations: VecDeque::new(),
            seen: 0.0,
        }
    }

    /// Sets the cost of a size outright, as warm-up does.
    pub fn set(&mut self, context: usize, bucket: usize, took: Duration) {
        if let Some(cell) = self.rows.get_mut(context).and_then(|row| row.get_mut(bucket)) {
            cell.baseline = took.as_secs_f64();
        }
    }

    /// Takes into account a step that was measured with so many live streams in service. A size between two buckets counts for both, by
    /// nearness. True if the drift of the engine has just left, or come back to, what warm-up promised: see [`CostTable::is_alarmed`].
    pub fn observe(&mut self, context: usize, chunks: usize, live: usize, took: Duration) -> bool {
        let took = took.as_secs_f64();
        // Streams that have just come slow the step at once, whatever the mean of the streams says yet.
        let left = self.left(float(live));
        let predicted = self.interpolate(context, chunks, |cell| self.corrected(cell)) / left;
        let baseline = self.interpolate(context, chunks, |cell| cell.baseline);
        if predicted <= 0.0 || baseline <= 0.0 {
            return false;
        }
        let weight = weight(chunks);
        // A pause that is nothing to a large step is much to a small one, which foretells nothing of the steps of a full engine.
        let before = self.seen;
        self.seen += weight;
        if self.seen.floor() > before.floor() {
            if self.deviations.len() >= DEVIATIONS {
                self.deviations.pop_front();
            }
            self.deviations.push_back((took / predicted).min(DEVIATION_MOST));
        }
        // Far more chunks than usual come together when the engine was held up: such a step tells of that moment, and is a deviation.
        self.usual += USUAL_TRACKING * (float(chunks) - self.usual);
        if float(chunks) > 1.0 + USUAL * self.usual {
            return false;
        }
        let ratio = (took / baseline).min(DEVIATION_MOST);
        self.lasting += LASTING_TRACKING * weight * (ratio - self.lasting);
        self.streams += DRIFT_TRACKING * weight * (float(live) - self.streams);
        let ratio = ratio * left;
        self.drift += DRIFT_TRACKING * weight * (bounded(ratio, self.drift) - self.drift);
        let (below, part) = place(chunks);
        for (bucket, near) in [(below, 1.0 - part), (below + 1, part)] {
            if let Some(cell) = self.rows.get_mut(context).and_then(|row| row.get_mut(bucket)) {
                cell.ratio += TRACKING * near * (bounded(ratio, cell.ratio) - cell.ratio);
                cell.seen = (cell.seen + near).min(1e6);
            }
        }
        self.judge()
    }

    fn judge(&mut self) -> bool {
        let far = self.lasting.max(1.0 / self.lasting.max(1e-9));
        let [set, clear] = ALARM;
        let alarmed = far > if self.alarmed { clear } else { set };
        std::mem::replace(&mut self.alarmed, alarmed) != alarmed
    }

    /// For an engine that shares its processors with the rest of the service. Before the first step is seen, steps are thought to take
    /// `ratio` times what they took at warm-up, and to deviate as they usually do; of sizes that are not seen it is thought later on too. Each
    /// live stream takes the share `beside` of the processors for its socket and its audio, which steps have to wait for.
    #[must_use]
    pub fn shared(mut self, ratio: f64, beside: f64) -> Self {
        self.drift = ratio;
        self.least = ratio;
        self.beside = beside;
        self.deviations.extend(USUAL_DEVIATIONS);
        self
    }

    /// How much longer than predicted steps would take with so many live streams, as a ratio of at least 1: what the streams leave of the
    /// processors shrinks as they come.
    pub fn slowdown(&self, live: usize) -> f64 {
        (self.left(self.streams) / self.left(float(live))).max(1.0)
    }

    /// Share of the processors that so many live streams leave to steps.
    fn left(&self, streams: f64) -> f64 {
        (1.0 - self.beside * streams).max(LEFT_LEAST)
    }

    /// How many steps were seen; one of few chunks counts as a part of one.
    pub fn seen(&self) -> f64 {
        self.seen
    }

    /// How much longer steps take at present than at warm-up, as a ratio.
    pub fn drift(&self) -> f64 {
        self.drift / self.left(self.streams)
    }

    /// True while steps take so much more or less time than at warm-up that somebody should look.
    pub fn is_alarmed(&self) -> bool {
        self.alarmed
    }

    /// Ratios of the latest steps to what was predicted for them, oldest first, of small steps few; before the first what
    /// [`CostTable::shared`] thinks, or none.
    pub fn deviations(&self) -> impl ExactSizeIterator<Item = f64> {
        self.deviations.iter().copied()
    }

    /// Predicted seconds of a context's steps, for each size in [`BUCKETS`].
    pub fn row(&self, context: usize) -> [f64; BUCKETS.len()] {
        BUCKETS.map(|size| self.predict(context, size).as_secs_f64())
    }

    /// Predicted time of a step with `chunks` chunks beside as many live streams as there were lately; zero for an unknown context or an
    /// empty step.
    pub fn predict(&self, context: usize, chunks: usize) -> Duration {
        let alone = self.interpolate(context, chunks, |cell| self.corrected(cell));
        Duration::from_secs_f64((alone / self.left(self.streams)).max(0.0))
    }

    /// Seconds of a size without live streams beside, as far as its own steps are trusted by them, otherwise by the drift of the engine.
    fn corrected(&self, cell: &Cell) -> f64 {
        let own = cell.seen / (cell.seen + TRUST);
        cell.baseline * (own * cell.ratio + (1.0 - own) * self.drift.max(self.least))
    }

    fn interpolate(&self, context: usize, chunks: usize, value: impl Fn(&Cell) -> f64) -> f64 {
        let Some(row) = self.rows.get(context) else { return 0.0 };
        if chunks == 0 {
            return 0.0;
        }
        let (below, part) = place(chunks);
        let at = |bucket: usize| row.get(bucket).map(&value);
        match (at(below), at(below + 1)) {
            (Some(low), Some(high)) => low + part * (high - low).max(0.0),
            (Some(last), None) => last * float(chunks) / float(BUCKETS.last().copied().unwrap_or(1)),
            (None, _) => 0.0,
        }
    }

    /// Most chunks whose step is predicted to take at most `limit`; at least one, at most `most`.
    pub fn chunks_within(&self, context: usize, limit: Duration, most: usize) -> usize {
        let (mut fits, mut above) = (1, most.max(1) + 1);
        while above - fits > 1 {
            let middle = fits + (above - fits) / 2;
            if self.predict(context, middle) <= limit {
                fits = middle;
            } else {
                above = middle;
            }
        }
        fits
    }

    /// The smallest batch of at most `most` chunks in which a chunk costs hardly more than in the best one.
    pub fn ridge(&self, context: usize, most: usize) -> usize {
        let each = |size: usize| self.predict(context, size).as_secs_f64() / float(size.max(1));
        let sizes = || BUCKETS.into_iter().take_while(|size| *size < most).chain([most.max(1)]);
        let best = sizes().map(each).fold(f64::INFINITY, f64::min);
        sizes().find(|size| each(*size) <= best * RIDGE).unwrap_or(1)
    }

    /// Chunks a second at most, in batches of at most `most`.
    pub fn throughput(&self, context: usize, most: usize) -> f64 {
        let sizes = BUCKETS.into_iter().take_while(|size| *size < most).chain([most.max(1)]);
        let rate = |size: usize| float(size) / self.predict(context, size).as_secs_f64().max(1e-9);
        sizes.map(rate).fold(0.0, f64::max)
    }
}

/// A ratio as it counts in a running mean that is at `mean`; see [`STEP_MOST`].
fn bounded(ratio: f64, mean: f64) -> f64 {
    ratio.max(mean / STEP_MOST).min(mean * STEP_MOST)
}

/// How much a step says of the engine as a whole: small ones, which begin with data in no cache and end soon, say little of large ones.
fn weight(chunks: usize) -> f64 {
    (float(chunks) / FULL).min(1.0).powi(2)
}

/// The last bucket that is not larger than `chunks`, and how far on the way to the next one it lies, 0 to 1.
fn place(chunks: usize) -> (usize, f64) {
    let below = BUCKETS.iter().rposition(|&size| size <= chunks).unwrap_or(0);
    let low = BUCKETS.get(below).copied().unwrap_or(1);
    let part = match BUCKETS.get(below + 1) {
        Some(high) => float(chunks.saturating_sub(low)) / float(high - low),
        None => 0.0,
    };
    (below, part)
}

#[expect(clippy::as_conversions, reason = "batch sizes are far below 2^52")]
fn float(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn near(a: Duration, b: Duration) -> bool {
        a.abs_diff(b) < Duration::from_micros(500)
    }

    #[test]
    fn sizes_between_buckets_are_interpolated_and_larger_ones_scale() {
        let mut table = CostTable::linear(1, ms(1));
        table.set(0, 1, ms(10));
        table.set(0, 2, ms(20));
        assert_eq!(table.predict(0, 2), ms(10));
        assert_eq!(table.predict(0, 3), ms(15));
        assert_eq!(table.predict(0, 128), ms(128));
        assert!(near(table.predict(0, 8_192), ms(8_192)));
        assert_eq!(table.predict(0, 0), Duration::ZERO);
        assert_eq!(table.predict(9, 1), Duration::ZERO);
    }

    #[test]
    fn sizes_that_occur_follow_their_own_steps() {
        let mut table = CostTable::linear(1, ms(1));
        for _ in 0..1000 {
            table.observe(0, 8, 0, ms(40));
            table.observe(0, 64, 0, ms(64));
        }
        for (chunks, seconds) in [(8, 0.040), (64, 0.064)] {
            let predicted = table.predict(0, chunks).as_secs_f64();
            assert!((predicted / seconds - 1.0).abs() < 0.03, "{chunks}: {predicted}");
        }
    }

    #[test]
    fn sizes_that_do_not_occur_follow_the_engine() {
        let mut table = CostTable::linear(2, ms(1));
        for _ in 0..2_000 {
            table.observe(0, 6, 0, ms(12));
        }
        assert!(near(table.predict(0, 64), ms(128)), "{:?}", table.predict(0, 64));
        assert!(near(table.predict(1, 4), ms(8)), "{:?}", table.predict(1, 4));
        assert!((table.drift() - 2.0).abs() < 0.01);
    }

    #[test]
    fn drift_raises_one_alarm_and_clears_it_late() {
        let mut table = CostTable::linear(1, ms(1));
        let raised: usize = (0..3_000).map(|_| usize::from(table.observe(0, 4, 0, ms(8)))).sum();
        assert_eq!((raised, table.is_alarmed()), (1, true));
        let back = (0..9_000).position(|_| table.observe(0, 4, 0, ms(4))).unwrap();
        assert!(back > 500 && !table.is_alarmed(), "cleared after {back} steps");
    }

    #[test]
    fn a_single_slow_step_is_no_alarm_and_is_kept_as_a_deviation() {
        let mut table = CostTable::linear(1, ms(1));
        for _ in 0..1_100 {
            assert!(!table.observe(0, 8, 0, ms(8)));
        }
        assert!(!table.observe(0, 8, 0, ms(80)));
        assert_eq!(table.deviations().len(), DEVIATIONS);
        assert!(table.deviations().any(|ratio| ratio > 9.0));
        assert!(near(table.predict(0, 8), Duration::from_micros(8_160)));
    }

    #[test]
    fn slow_steps_of_few_chunks_say_little_of_a_full_engine() {
        let mut table = CostTable::linear(1, ms(1));
        (0..64 * 8).for_each(|n| _ = table.observe(0, 1, 0, ms(if n % 4 == 0 { 3 } else { 1 })));
        assert_eq!(table.deviations().len(), 8);
        (0..4).for_each(|_| _ = table.observe(0, 4, 0, ms(4)));
        assert_eq!(table.deviations().len(), 9);
    }

    #[test]
    fn streams_to_come_slow_the_steps_that_share_the_processors_with_them() {
        assert!(
            (CostTable::linear(1, ms(1)).slowdown(500) - 1.0).abs() < 1e-9,
            "a GPU shares nothing"
        );
        let mut table = CostTable::linear(1, ms(1)).shared(1.5, 0.002);
        assert!(near(table.predict(0, 64), ms(96)));
        // 250 streams leave half of the processors, 100 four fifths.
        assert!((table.slowdown(250) - 2.0).abs() < 1e-9);
        for _ in 0..2_000 {
            table.observe(0, 8, 100, ms(8));
        }
        assert!((table.slowdown(250) - 1.6).abs() < 0.01, "{}", table.slowdown(250));
        assert!((table.slowdown(20) - 1.0).abs() < 1e-9, "what is measured is not undercut");
        assert!((table.slowdown(5_000) - 8.0).abs() < 0.01);
    }

    #[test]
    fn streams_that_come_fast_are_not_counted_twice() {
        let mut table = CostTable::linear(1, ms(1)).shared(1.0, 0.002);
        let left = |streams: usize| 1.0 - 0.002 * float(streams);
        // Steps of 16 chunks take twice what warm-up said, and longer the more streams are beside them; then 150 come within a second.
        let took = |live: usize| Duration::from_secs_f64(0.032 / left(live));
        (0..2_000).for_each(|_| _ = table.observe(0, 16, 50, took(50)));
        let all = |table: &CostTable| table.predict(0, 16).as_secs_f64() * table.slowdown(250);
        let before = all(&table);
        (0..50).for_each(|step| _ = table.observe(0, 16, 50 + 3 * step, took(50 + 3 * step)));
        assert!((all(&table) / before - 1.0).abs() < 1e-6, "{} {before}", all(&table));
        assert!(table.deviations().skip(1_000).all(|deviation| (deviation - 1.0).abs() < 1e-6));
    }

    #[test]
    fn a_large_batch_that_gathered_while_the_engine_was_held_up_is_not_the_price_of_its_size() {
        let mut table = CostTable::linear(1, ms(1));
        for n in 0..5_000 {
            let (chunks, took) = if n % 50 == 0 { (16, ms(32)) } else { (4, ms(4)) };
            table.observe(0, chunks, 0, took);
        }
        assert!(near(table.predict(0, 16), ms(16)), "{:?}", table.predict(0, 16));
        assert!(table.deviations().any(|ratio| ratio > 1.9), "but it is a deviation");
        (0..500).for_each(|_| _ = table.observe(0, 16, 0, ms(32)));
        assert!(table.predict(0, 16) > ms(31), "where it is usual it is");
    }

    #[test]
    fn sizes_that_were_not_seen_are_not_thought_cheaper_than_at_first() {
        let mut table = CostTable::linear(1, ms(1)).shared(1.5, 0.0);
        (0..20_000).for_each(|_| _ = table.observe(0, 4, 0, ms(4)));
        assert!(near(table.predict(0, 4), ms(4)));
        assert!(near(table.predict(0, 64), ms(96)));
    }

    #[test]
    fn a_step_is_cut_to_the_time_there_is() {
        let table = CostTable::linear(1, ms(10));
        assert_eq!(table.chunks_within(0, ms(45), 64), 4);
        assert_eq!(table.chunks_within(0, ms(1), 64), 1);
        assert_eq!(table.chunks_within(0, ms(10_000), 8), 8);
    }

    #[test]
    fn the_ridge_is_where_larger_batches_gain_little() {
        let fixed_and_each = |fixed: f64, each: f64| CostTable::from_rows(vec![BUCKETS.map(|size| fixed + each * float(size))]);
        assert_eq!(fixed_and_each(0.0, 0.001).ridge(0, 64), 1);
        // 10 ms and 1 ms a chunk: 1.156 ms each at 64; 1.31 at 32.
        assert_eq!(fixed_and_each(0.010, 0.001).ridge(0, 64), 64);
        assert_eq!(fixed_and_each(0.010, 0.001).ridge(0, 1_024), 128);
        assert!((fixed_and_each(0.010, 0.001).throughput(0, 100) - 100.0 / 0.110).abs() < 1.0);
    }
}
