//! One simulated device: the server's scheduler core over an engine that is busy for as long as its cost table says.
//!
//! Runs in virtual time from event to event: a chunk arrives, a step ends. After every event the device does what the server's scheduler
//! actor does: it asks for the next batch if the engine is free, and shows its capacity. Devices know nothing of each other; `traffic`
//! brings them streams.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hark_pure::engine::batch::{Batch, Decoded};
use hark_pure::engine::cost::CostTable;
use hark_pure::scheduler::admission::Refusal;
use hark_pure::scheduler::core::{Class, Core, Piece, Rules};
use hark_pure::scheduler::placement::Seat;
use hark_pure::units::{KeyId, StreamId};

use super::cost::Table;
use super::sums::Sums;
use crate::numbers::{Random, count, nanos, ratio, real};

/// What all devices of a simulation have in common. Times are virtual nanoseconds.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) table: Table,
    pub(super) costs: CostTable,
    pub(super) rules: Rules,
    /// The instant of virtual time 0.
    pub(super) base: Instant,
    /// Figures count from here.
    pub(super) from: u64,
    /// No chunk arrives from here on.
    pub(super) until: u64,
    /// Every chunk comes up to so much after its time.
    pub(super) jitter: f64,
    /// The context for which the capacity is shown.
    pub(super) shown: usize,
}

impl Common {
    pub(super) fn at(&self, nanos: u64) -> Instant {
        self.base + Duration::from_nanos(nanos)
    }
}

/// A stream before it has a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Newcomer {
    /// When its first chunk comes.
    pub(super) speaks: u64,
    /// Time after its first chunk at which the call is over.
    pub(super) lasts: u64,
    /// Its context.
    pub(super) context: usize,
}

/// A stream in service.
#[derive(Debug)]
struct Line {
    class: Class,
    context: usize,
    /// When its next chunk is due to be sent.
    next: u64,
    /// When the call is over.
    ends: u64,
    /// Chunks so far.
    seq: u64,
    /// When the chunks arrived that are not answered, oldest first.
    waiting: VecDeque<u64>,
    /// How many of them the scheduler has.
    pushed: usize,
    /// Of files: since when the next chunk could be stepped.
    ready: u64,
    over: bool,
}

#[derive(Debug)]
struct Step {
    ends: u64,
    began: u64,
    batch: Batch,
}

/// The device.
#[derive(Debug)]
pub(super) struct Device {
    common: Arc<Common>,
    core: Core,
    random: Random,
    now: u64,
    lines: HashMap<StreamId, Line>,
    due: BinaryHeap<Reverse<(u64, StreamId)>>,
    step: Option<Step>,
    capacity: usize,
    files_over: bool,
    /// Contexts of streams whose call was over, for each when, since this was last taken.
    pub(super) left: Vec<(u64, usize)>,
    /// Nanoseconds that the engine was busy, while figures count.
    pub(super) busy: u64,
    /// The most that had to give way.
    pub(super) overload: u8,
    /// Nanoseconds of real time that the scheduler's core took, while figures count, and the chunks that it took them for.
    pub(super) thought: u64,
    pub(super) thought_of: u64,
}

impl Device {
    pub(super) fn new(common: &Arc<Common>, random: Random) -> Self {
        let core = Core::new(common.rules.clone(), common.costs.clone(), common.base);
        let mut device = Self {
            common: Arc::clone(common),
            core,
            random,
            now: 0,
            lines: HashMap::new(),
            due: BinaryHeap::new(),
            step: None,
            capacity: 0,
            files_over: false,
            left: Vec::new(),
            busy: 0,
            overload: 0,
            thought: 0,
            thought_of: 0,
        };
        device.show();
        device
    }

    /// What placement knows of it.
    pub(super) fn seat(&self) -> Seat {
        Seat {
            live: self.core.count(Class::Live),
            capacity: self.capacity,
            files: self.core.count(Class::File),
        }
    }

    /// The part of the engine's greatest throughput that the live streams in service need, 0 to 1.
    pub(super) fn load(&self) -> f64 {
        let rules = self.core.rules();
        let mut streams = vec![0_u64; rules.periods.len()];
        for line in self.lines.values().filter(|line| line.class == Class::Live) {
            streams.iter_mut().skip(line.context).take(1).for_each(|count| *count += 1);
        }
        let of_context = |(context, (&streams, period)): (usize, (&u64, &Duration))| {
            real(streams) / (period.as_secs_f64() * self.core.cost().throughput(context, rules.max_batch)).max(f64::MIN_POSITIVE)
        };
        streams.iter().zip(&rules.periods).enumerate().map(of_context).sum()
    }

    /// Takes a live stream in, or says why not.
    pub(super) fn admit(&mut self, newcomer: Newcomer) -> Result<(), Refusal> {
        let Newcomer { context, speaks, lasts } = newcomer;
        let id = self.register(Class::Live, context)?;
        let line = Line {
            class: Class::Live,
            context,
            next: speaks,
            ends: speaks.saturating_add(lasts),
            seq: 0,
            waiting: VecDeque::new(),
            pushed: 0,
            ready: 0,
            over: false,
        };
        self.lines.insert(id, line);
        self.due.push(Reverse((speaks, id)));
        Ok(())
    }

    /// Takes a file in, which always has its next chunk ready, or says why not.
    pub(super) fn admit_file(&mut self, context: usize) -> Result<(), Refusal> {
        let id = self.register(Class::File, context)?;
        let waiting = std::iter::repeat_n(self.now, self.common.rules.queue).collect();
        let line = Line {
            class: Class::File,
            context,
            next: u64::MAX,
            ends: u64::MAX,
            seq: 0,
            waiting,
            pushed: 0,
            ready: self.now,
            over: false,
        };
        self.lines.insert(id, line);
        self.push(id);
        self.pump();
        Ok(())
    }

    fn register(&mut self, class: Class, context: usize) -> Result<StreamId, Refusal> {
        let now = self.common.at(self.now);
        let answer = self.think(0, |core| core.register(class, context, KeyId(0), now));
        self.show();
        answer
    }

    /// A share of the live streams breaks off; their contexts.
    pub(super) fn drop_some(&mut self, share: f64) -> Vec<usize> {
        let mut ids: Vec<StreamId> = self
            .lines
            .iter()
            .filter(|(_, line)| line.class == Class::Live)
            .map(|(id, _)| *id)
            .collect();
        ids.sort_unstable();
        let mut dropped = Vec::new();
        for id in ids {
            if self.random.share() < share {
                dropped.extend(self.lines.get(&id).map(|line| line.context));
                self.forget(id);
            }
        }
        self.pump();
        dropped
    }

    /// Ends the files; live chunks that wait are still answered.
    pub(super) fn end_files(&mut self, sums: &mut Sums) {
        self.files_over = true;
        let files: Vec<StreamId> = self
            .lines
            .iter()
            .filter(|(_, line)| line.class == Class::File)
            .map(|(id, _)| *id)
            .collect();
        for id in files {
            if let Some(line) = self.lines.get(&id) {
                sums.file_wait = sums.file_wait.max(self.now.saturating_sub(line.ready.max(self.common.from)));
            }
            self.forget(id);
        }
    }

    /// Everything that happens up to and at `until`.
    pub(super) fn run(&mut self, until: u64, sums: &mut Sums) {
        loop {
            let arrival = self.due.peek().map(|Reverse((at, _))| *at);
            let end = self.step.as_ref().map(|step| step.ends);
            match (arrival, end) {
                // What ends now makes room for what comes now.
                (_, Some(end)) if end <= until && arrival.is_none_or(|arrival| end <= arrival) => {
                    self.now = end;
                    self.end_step(sums);
                }
                (Some(arrival), _) if arrival <= until => {
                    self.now = arrival;
                    self.arrive(sums);
                }
                _ => break,
            }
            self.pump_counting(sums);
        }
        self.now = self.now.max(until);
    }

    /// True while a step is under way or a chunk waits.
    pub(super) fn is_busy(&self) -> bool {
        self.step.is_some() || !self.due.is_empty()
    }

    /// The most urgent event: a stream's chunk arrives; the last one, which is shorter, at the end of its call.
    fn arrive(&mut self, sums: &mut Sums) {
        let Some(Reverse((at, id))) = self.due.pop() else { return };
        let Some(line) = self.lines.get_mut(&id) else { return };
        if at >= self.common.until {
            return;
        }
        line.waiting.push_back(at);
        sums.arrived += 1;
        line.over = line.next >= line.ends;
        if !line.over {
            // The next one is sent a period after this one was, and comes as late as the network has it, but never before this one.
            let period = self.core.rules().period(line.context);
            let next = line.next.saturating_add(u64::try_from(period.as_nanos()).unwrap_or(u64::MAX));
            line.next = next.min(line.ends);
            let delay = nanos(self.random.share() * self.common.jitter);
            self.due.push(Reverse((line.next.saturating_add(delay).max(at), id)));
        }
        self.push(id);
    }

    /// Gives the scheduler as many of a stream's chunks as the stream has credits for.
    fn push(&mut self, id: StreamId) {
        loop {
            let Some(line) = self.lines.get_mut(&id) else { return };
            let Some(arrived) = line
                .waiting
                .get(line.pushed)
                .copied()
                .filter(|_| line.pushed < self.common.rules.queue)
            else {
                return;
            };
            let piece = Piece {
                seq: line.seq,
                samples: Vec::new(),
                start: line.seq == 0,
                end: false,
                commit: false,
                terms: None,
                lm: None,
                arrived: self.common.at(arrived),
            };
            let now = self.common.at(self.now);
            if self.think(1, |core| core.push(id, piece, now)).is_err() {
                return;
            }
            if let Some(line) = self.lines.get_mut(&id) {
                line.pushed += 1;
                line.seq += 1;
            }
        }
    }

    fn pump(&mut self) {
        if self.step.is_some() {
            return;
        }
        let now = self.common.at(self.now);
        let Some(batch) = self.think(0, |core| core.next_batch(now)) else {
            return;
        };
        let table = self.common.costs.predict(batch.context, batch.chunks.len()).as_secs_f64();
        let took = nanos(table * self.common.table.deviation(self.random.share()));
        self.step = Some(Step {
            ends: self.now.saturating_add(took),
            began: self.now,
            batch,
        });
    }

    fn pump_counting(&mut self, sums: &mut Sums) {
        if self.step.is_some() {
            return;
        }
        self.pump();
        let Some(step) = &self.step else { return };
        if self.now < self.common.from || self.now >= self.common.until {
            return;
        }
        let class = step
            .batch
            .chunks
            .first()
            .and_then(|chunk| self.lines.get(&chunk.stream))
            .map(|line| line.class);
        self.busy += step.ends.min(self.common.until) - step.began;
        if class == Some(Class::Live) {
            *sums.batches.entry(step.batch.chunks.len()).or_default() += 1;
            return;
        }
        for line in step.batch.chunks.iter().filter_map(|chunk| self.lines.get(&chunk.stream)) {
            sums.file_wait = sums.file_wait.max(self.now - line.ready.max(self.common.from));
        }
    }

    fn end_step(&mut self, sums: &mut Sums) {
        let Some(Step { ends, began, batch }) = self.step.take() else {
            return;
        };
        let (now, took) = (self.common.at(ends), Duration::from_nanos(ends - began));
        let decoded = vec![Decoded::default(); batch.chunks.len()];
        let completion = self.think(0, |core| core.completed(batch, Some(decoded), took, now));
        for delivery in completion.deliveries {
            self.deliver(delivery.stream, sums);
        }
        self.show();
    }

    fn deliver(&mut self, id: StreamId, sums: &mut Sums) {
        let Some(line) = self.lines.get_mut(&id) else { return };
        let Some(arrived) = line.waiting.pop_front() else { return };
        line.pushed = line.pushed.saturating_sub(1);
        let counts = arrived >= self.common.from;
        match line.class {
            Class::Live => {
                let response = (self.now - arrived).saturating_add(nanos(self.common.table.overhead_ms / 1e3));
                sums.answered += 1;
                if counts {
                    sums.counted += 1;
                    sums.late += u64::from(u128::from(response) > self.common.rules.budget.as_nanos());
                    sums.slowest = sums.slowest.max(response);
                    sums.response.add_nanos(response);
                }
                if line.over && line.waiting.is_empty() {
                    self.leave(id);
                    return;
                }
            }
            Class::File => {
                let audio = self.core.rules().period(line.context);
                if self.now >= self.common.from && self.now < self.common.until {
                    sums.file_audio += u64::try_from(audio.as_nanos()).unwrap_or(0);
                }
                line.ready = self.now;
                if !self.files_over {
                    line.waiting.push_back(self.now);
                }
            }
        }
        self.push(id);
    }

    fn leave(&mut self, id: StreamId) {
        if let Some(line) = self.lines.get(&id) {
            self.left.push((self.now, line.context));
        }
        self.forget(id);
    }

    fn forget(&mut self, id: StreamId) {
        self.lines.remove(&id);
        self.think(0, |core| core.release(id));
        self.show();
    }

    /// What the actor publishes: the capacity, and with it what gives way.
    fn show(&mut self) {
        let (now, context) = (self.common.at(self.now), self.common.shown);
        self.capacity = self.think(0, |core| core.capacity(context, now));
        self.overload = self.overload.max(self.core.overload().rank());
    }

    /// Has the core do something, and books the real time that it takes.
    fn think<T>(&mut self, chunks: u64, what: impl FnOnce(&mut Core) -> T) -> T {
        if self.now < self.common.from || self.now >= self.common.until {
            return what(&mut self.core);
        }
        let began = Instant::now();
        let answer = what(&mut self.core);
        self.thought = self
            .thought
            .saturating_add(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX));
        self.thought_of += chunks;
        answer
    }

    /// Real time of the scheduler as a share of one core.
    pub(super) fn scheduler_share(&self) -> f64 {
        ratio(self.thought, self.common.until.saturating_sub(self.common.from))
    }

    /// Live streams in service.
    pub(super) fn live(&self) -> u64 {
        count(self.core.count(Class::Live))
    }
}
