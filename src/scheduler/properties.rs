//! What must hold of the scheduler whatever comes: work conserving, ordered, nobody starved, capacity respected, due times met where any order
//! could meet them. The real core in virtual time.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::as_conversions, reason = "tests")]

use proptest::prelude::*;

use super::*;
use crate::engine::cost::BUCKETS;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn later() -> Instant {
    Instant::now() + ms(60_000)
}

fn rules() -> Rules {
    let usual = tests::rules();
    Rules {
        slots: 2_000,
        max_batch: 16,
        max_files: 64,
        dispatch: Dispatch {
            margin: ms(50),
            ..usual.dispatch
        },
        queue: 8,
        periods: vec![ms(320), ms(1_120)],
        weights: vec![1.0, 2.0],
        ..usual
    }
}

/// `fixed` for a step and `each` for a chunk, in tenths of a millisecond.
fn table(fixed: u64, each: u64) -> CostTable {
    CostTable::from_rows(vec![row((fixed, each)); 2])
}

fn piece(seq: u64, arrived: Instant) -> Piece {
    Piece {
        seq,
        samples: Vec::new(),
        start: seq == 0,
        end: false,
        commit: false,
        terms: None,
        lm: None,
        arrived,
    }
}

/// A core with an engine that takes exactly the time in the table.
struct World {
    core: Core,
    now: Instant,
    stepping: Option<(Batch, Duration, Instant)>,
    /// Chunks to come, latest first: when, whose, which.
    coming: Vec<(Instant, StreamId, u64)>,
    /// Response times of live chunks, and waits of file chunks.
    answered: Vec<(StreamId, u64, Duration)>,
    pushed: HashMap<(StreamId, u64), Instant>,
    busy: Duration,
    idle_with_work: Duration,
}

impl World {
    fn new(core: Core, now: Instant) -> Self {
        Self {
            core,
            now,
            stepping: None,
            coming: Vec::new(),
            answered: Vec::new(),
            pushed: HashMap::new(),
            busy: Duration::ZERO,
            idle_with_work: Duration::ZERO,
        }
    }

    fn comes(&mut self, at: Instant, stream: StreamId, seq: u64) {
        self.coming.push((at, stream, seq));
        self.coming
            .sort_by_key(|&(at, stream, _)| (std::cmp::Reverse(at), std::cmp::Reverse(stream)));
    }

    fn begin(&mut self) {
        if self.stepping.is_none()
            && let Some(batch) = self.core.next_batch(self.now)
        {
            let slots: std::collections::HashSet<u32> = batch.chunks.iter().map(|chunk| chunk.slot.index).collect();
            assert_eq!(slots.len(), batch.chunks.len(), "a slot twice in a step");
            assert!(batch.chunks.len() <= self.core.rules.max_batch);
            let took = self.core.cost.predict(batch.context, batch.chunks.len());
            let first = batch.chunks.first().and_then(|chunk| self.core.streams.get(&chunk.stream));
            let of_files = first.is_some_and(|stream| stream.class == Class::File);
            if of_files && self.core.count(Class::Live) > 0 && batch.chunks.len() > 1 {
                assert!(
                    took <= self.core.rules.file_step,
                    "files for {took:?} while live streams are in service"
                );
            }
            self.stepping = Some((batch, took, self.now + took));
        }
    }

    /// The next event; false if there is none.
    fn advance(&mut self, refill: &mut dyn FnMut(&mut World, StreamId, u64)) -> bool {
        self.begin();
        let arrival = self.coming.last().map(|&(at, ..)| at);
        let end = self.stepping.as_ref().map(|&(_, _, end)| end);
        match (arrival, end) {
            (None, None) => return false,
            (Some(at), end) if end.is_none_or(|end| at < end) => {
                if self.stepping.is_none() && self.core.queued() > 0 {
                    self.idle_with_work += at.saturating_duration_since(self.now);
                }
                self.now = self.now.max(at);
                let (_, stream, seq) = self.coming.pop().unwrap();
                self.core.push(stream, piece(seq, at), self.now).unwrap();
                self.pushed.insert((stream, seq), at);
            }
            _ => {
                let (batch, took, end) = self.stepping.take().unwrap();
                self.now = end;
                self.busy += took;
                let results = vec![Decoded::default(); batch.chunks.len()];
                for delivery in self.core.completed(batch, Some(results), took, end).deliveries {
                    let since = self.pushed.remove(&(delivery.stream, delivery.seq)).unwrap();
                    self.answered
                        .push((delivery.stream, delivery.seq, end.saturating_duration_since(since)));
                    refill(self, delivery.stream, delivery.seq);
                }
            }
        }
        true
    }

    fn run_until(&mut self, end: Instant, refill: &mut dyn FnMut(&mut World, StreamId, u64)) {
        while self.now < end && self.advance(refill) {}
    }

    fn live(&mut self) -> Result<StreamId, Refusal> {
        self.core.register(Class::Live, 0, KeyId(0), self.now)
    }

    fn file(&mut self, key: u32) -> StreamId {
        self.core.register(Class::File, 1, KeyId(key), self.now).unwrap()
    }

    fn longest(&self, streams: &[StreamId]) -> Duration {
        let of = self.answered.iter().filter(|(id, ..)| streams.contains(id));
        of.map(|&(.., time)| time).max().unwrap_or_default()
    }
}

/// Fills a world with live streams until one is refused, with chunks for `seconds` at random phases.
fn fill(world: &mut World, phases: &[u16], seconds: u64) -> Vec<StreamId> {
    let mut streams = Vec::new();
    while let Ok(id) = world.live() {
        let phase = u64::from(phases[streams.len() % phases.len()]) + 7 * (streams.len() as u64);
        streams.push(id);
        for chunk in 0..seconds * 1_000 / 320 {
            world.coming.push((world.now + ms(phase % 320 + chunk * 320), id, chunk));
        }
    }
    world
        .coming
        .sort_by_key(|&(at, stream, _)| (std::cmp::Reverse(at), std::cmp::Reverse(stream)));
    streams
}

/// The longest wait of a file chunk beside live streams that admission let in: its patience; then the step under way and the live steps
/// until the engine has caught up, which at four fifths of its throughput it has within a budget; then the steps of the files before it.
fn starvation_bound(rules: &Rules, files: u32) -> Duration {
    rules.dispatch.patience * files + rules.budget * files
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// At the load that admission lets in, no live chunk is late, whatever files wait; files have the engine's idle time, and none waits
    /// longer than the bound; the engine never idles while anything may go.
    #[test]
    fn at_admitted_load_live_is_in_time_and_files_go_on(
        phases in proptest::collection::vec(0..320_u16, 1..64),
        fixed in 5..40_u64,
        each in 10..80_u64,
        files in 1..6_u32,
    ) {
        let now = later();
        let mut world = World::new(Core::new(rules(), table(fixed, each), now), now);
        let file_streams: Vec<StreamId> = (0..files).map(|_| world.file(0)).collect();
        let live = fill(&mut world, &phases, 12);
        prop_assert!(live.len() <= 2_000 && !live.is_empty());
        for id in &file_streams {
            world.comes(now, *id, 0);
        }
        let again = file_streams.clone();
        let mut refill = move |world: &mut World, id: StreamId, seq: u64| {
            if again.contains(&id) {
                world.comes(world.now, id, seq + 1);
            }
        };
        world.run_until(now + ms(11_000), &mut refill);
        prop_assert!(world.longest(&live) <= ms(400), "{:?} of {} streams", world.longest(&live), live.len());
        let bound = starvation_bound(&world.core.rules, files);
        let mut waits: Vec<Duration> = file_streams.iter().map(|id| world.longest(&[*id])).collect();
        let open = file_streams.iter().filter_map(|id| world.pushed.iter().find(|((stream, _), _)| stream == id));
        waits.extend(open.map(|(_, since)| world.now.saturating_duration_since(*since)));
        prop_assert!(waits.iter().all(|wait| *wait <= bound), "{waits:?} against {bound:?}");
    }

    /// Streams that came together and send together are either held in time or were refused.
    #[test]
    fn streams_that_send_together_are_in_time_or_refused(groups in 1..8_u64, fixed in 5..40_u64, each in 10..80_u64) {
        let now = later();
        let mut world = World::new(Core::new(rules(), table(fixed, each), now), now);
        let mut live = Vec::new();
        for group in 0..groups * 3 {
            // Ten at a time, every two seconds, with the phase of their group.
            for _ in 0..10 {
                if let Ok(id) = world.live() {
                    live.push(id);
                    for chunk in 0..(3 * groups - group) * 2_000 / 320 + 6 {
                        world.comes(now + ms(group * 2_000 + group % groups * 40 + chunk * 320), id, chunk);
                    }
                }
            }
            world.run_until(now + ms((group + 1) * 2_000), &mut |_, _, _| ());
            world.now = now + ms((group + 1) * 2_000);
        }
        while world.advance(&mut |_, _, _| ()) {}
        prop_assert!(world.longest(&live) <= ms(400), "{:?} of {} streams", world.longest(&live), live.len());
    }

    /// When all chunks are there at once, the core meets all due times whenever any order and any parting into batches does, also where
    /// contexts are mixed.
    #[test]
    fn due_times_are_met_whenever_an_order_meets_them(
        chunks in proptest::collection::vec((0..400_u64, 0..2_usize), 1..7),
        max_batch in 1..4_usize,
        costs in [(0..400_u64, 50..600_u64), (0..1_500, 20..1_000)],
    ) {
        let cost = CostTable::from_rows(costs.map(row).to_vec());
        let dues: Vec<(Duration, usize)> = chunks.iter().map(|&(due, context)| (ms(due), context)).collect();
        prop_assert!(meets_all(&dues, max_batch, &cost) || !feasible(&dues, Duration::ZERO, max_batch, &cost));
    }

    /// The same where due times were made from an order, with hardly any room in it.
    #[test]
    fn the_order_that_due_times_were_made_from_is_found(
        steps in proptest::collection::vec((0..3_usize, proptest::collection::vec(prop_oneof![0..4_u64, 0..40_u64, Just(200)], 1..5)), 1..7),
        costs in [(10..150_u64, 10..80_u64), (10..150, 10..80), (10..150, 10..80)],
    ) {
        let cost = CostTable::from_rows(costs.map(row).to_vec());
        let mut end = Duration::ZERO;
        let mut dues = Vec::new();
        for (context, slack) in &steps {
            end += cost.predict(*context, slack.len());
            dues.extend(slack.iter().map(|more| (end + ms(*more), *context)));
        }
        prop_assert!(meets_all(&dues, 4, &cost));
    }

    /// Every key gets its share by weight, every file of a key its turn.
    #[test]
    fn keys_share_by_weight_and_files_take_turns(first in 1..5_usize, second in 1..5_usize, max_batch in 1..5_usize) {
        let now = later();
        let mut world = World::new(Core::new(Rules { max_batch, ..rules() }, table(10, 10), now), now);
        let of_key = |world: &mut World, key, count| (0..count).map(|_| world.file(key)).collect::<Vec<_>>();
        let (a, b) = (of_key(&mut world, 0, first), of_key(&mut world, 1, second));
        for id in a.iter().chain(&b) {
            for seq in 0..4 {
                world.comes(now, *id, seq);
            }
        }
        let mut refill = |world: &mut World, id: StreamId, seq: u64| world.comes(world.now, id, seq + 4);
        world.run_until(now + ms(4_000), &mut refill);
        let served = |id: &StreamId| world.answered.iter().filter(|(other, ..)| other == id).count();
        let (of_a, of_b): (usize, usize) = (a.iter().map(served).sum(), b.iter().map(served).sum());
        // A file has one chunk in a step at most, so a key cannot use more of a batch than it has files.
        if max_batch == 1 {
            prop_assert!((of_b as f64 / of_a as f64 - 2.0).abs() < 0.05, "{of_a} {of_b}");
        }
        for files in [&a, &b] {
            let counts: Vec<usize> = files.iter().map(served).collect();
            let spread = counts.iter().max().unwrap() - counts.iter().min().unwrap();
            prop_assert!(spread <= 1 + max_batch, "{counts:?}");
        }
        prop_assert_eq!(world.idle_with_work, Duration::ZERO);
    }

    /// Streams that send as fast as they are read make others wait for hardly more than the steps under way, once the burst that everybody
    /// may bring is over; and yet the engine never rests.
    #[test]
    fn catching_up_hurts_nobody(phases in proptest::collection::vec(0..320_u64, 4..24), each in 20..50_u64) {
        let now = later();
        let slowest = |fast: usize| {
            let rules = Rules { max_batch: 2, ..rules() };
            let mut world = World::new(Core::new(rules, table(10, each), now), now);
            let mut steady = Vec::new();
            for phase in &phases {
                let id = world.live().unwrap();
                steady.push(id);
                for chunk in 0..25 {
                    world.comes(now + ms(phase + chunk * 320), id, chunk);
                }
            }
            let fast: Vec<StreamId> = (0..fast).map(|_| world.live().unwrap()).collect();
            for id in &fast {
                for seq in 0..4 {
                    world.comes(now, *id, seq);
                }
            }
            let again = fast.clone();
            let mut refill = move |world: &mut World, id: StreamId, seq: u64| {
                if again.contains(&id) {
                    world.comes(world.now, id, seq + 4);
                }
            };
            world.run_until(now + ms(8_000), &mut refill);
            let after_burst = |&&(id, seq, _): &&(StreamId, u64, Duration)| steady.contains(&id) && seq >= 12;
            let slowest = world.answered.iter().filter(after_burst).map(|&(.., time)| time).max().unwrap();
            (slowest, world.busy)
        };
        let (alone, _) = slowest(0);
        let (beside, busy) = slowest(12);
        let step = table(10, each).predict(0, 2);
        prop_assert!(beside <= alone + step * 3, "{beside:?} beside, {alone:?} alone, a step takes {step:?}");
        prop_assert!(busy >= ms(7_900), "{busy:?}");
    }
}

/// Steps of `fixed` for a step and `each` for a chunk, in tenths of a millisecond.
fn row((fixed, each): (u64, u64)) -> [f64; BUCKETS.len()] {
    BUCKETS.map(|size| (fixed + each * u64::try_from(size).unwrap()) as f64 / 1e4)
}

/// Whether the core steps chunks that are all there, of these due times and contexts, without making one late.
fn meets_all(dues: &[(Duration, usize)], max_batch: usize, cost: &CostTable) -> bool {
    let now = later();
    let (budget, contexts) = (ms(1_000), 3);
    let rules = Rules {
        max_batch,
        budget,
        periods: vec![ms(320); contexts],
        ..rules()
    };
    let mut core = Core::new(rules, cost.clone(), now);
    for (due, context) in dues {
        // The admission of so slow an engine is not the question here.
        core.admission = Admission::new(contexts, now);
        let id = core.register(Class::Live, *context, KeyId(0), now).unwrap();
        core.push(id, piece(0, now + *due - budget), now).unwrap();
    }
    let mut time = Duration::ZERO;
    let mut met = true;
    while let Some(batch) = core.next_batch(now + time) {
        let took = cost.predict(batch.context, batch.chunks.len());
        time += took;
        let results = vec![Decoded::default(); batch.chunks.len()];
        let deliveries = core.completed(batch, Some(results), took, now + time).deliveries;
        met &= deliveries.iter().all(|delivery| delivery.late.is_zero());
    }
    met
}

/// Whether chunks of these due times and contexts can be stepped in time in any order and any batches.
fn feasible(chunks: &[(Duration, usize)], time: Duration, max_batch: usize, cost: &CostTable) -> bool {
    if chunks.is_empty() {
        return true;
    }
    (1_u32..1 << chunks.len()).any(|chosen| {
        let is_in = |n: &usize| chosen & (1 << n) != 0;
        let taken: Vec<(Duration, usize)> = (0..chunks.len()).filter(is_in).map(|n| chunks[n]).collect();
        let rest: Vec<(Duration, usize)> = (0..chunks.len()).filter(|n| !is_in(n)).map(|n| chunks[n]).collect();
        let context = taken[0].1;
        let end = time + cost.predict(context, taken.len());
        let fits = taken.len() <= max_batch && taken.iter().all(|&(due, other)| end <= due && other == context);
        fits && feasible(&rest, end, max_batch, cost)
    })
}

#[test]
fn what_gives_way_comes_step_by_step_as_streams_come() {
    let now = later();
    let mut world = World::new(Core::new(rules(), table(10, 10), now), now);
    let mut seen = vec![Overload::None];
    loop {
        world.core.capacity(0, now);
        let level = world.core.overload();
        if level != *seen.last().unwrap() {
            seen.push(level);
        }
        if world.live().is_err() {
            break;
        }
    }
    let all: Vec<Overload> = (0..5).map(Overload::from_rank).collect();
    assert_eq!(seen, all);
}
