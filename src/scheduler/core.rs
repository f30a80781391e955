//! The scheduler's whole state and rules, without clock, threads or actors.
//!
//! Streams take a slot, push chunks, and are served in batches: live chunks by earliest due time, file chunks by fair turns.
//! A stream has at most one chunk in a step, so its chunks stay in order. Called by `scheduler::actor` and by simulations.

mod next;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::admission::{Admission, Overload, Refusal};
use super::fair::FairQueue;
use super::policy::Dispatch;
use crate::engine::batch::{Batch, Chunk, Decoded, Slot};
use crate::engine::cost::CostTable;
use crate::terms::Terms;
use crate::units::{KeyId, StreamId};

/// Audio that a live stream may bring ahead of its own pace and still be answered within the budget: what a network held up and
/// then delivered at once.
const BURST: Duration = Duration::from_secs(2);
/// How much later than the budget a chunk may be due because its stream is ahead of its pace.
const AHEAD: Duration = Duration::from_secs(2);

/// Whether an answer is awaited by somebody who is speaking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// A live stream: every chunk has a due time.
    Live,
    /// A recorded file: fills what live streams leave.
    File,
}

/// The numbers that rule scheduling.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Slots of the engine.
    pub slots: u32,
    /// Most chunks in one step.
    pub max_batch: usize,
    /// Time from a live chunk's arrival to its due time.
    pub budget: Duration,
    /// Longest step that file chunks may form while live streams are in service, so that a live chunk that arrives meanwhile is not
    /// made late.
    pub file_step: Duration,
    /// Most file streams at once.
    pub max_files: usize,
    /// When which class goes.
    pub dispatch: Dispatch,
    /// Most chunks that one stream may have waiting.
    pub queue: usize,
    /// Audio time between two chunks, for each context.
    pub periods: Vec<Duration>,
    /// Each key's part of the files' time relative to other keys, more than zero; 1 for keys beyond the list.
    pub weights: Vec<f64>,
}

impl Rules {
    /// A key's part of the files' time.
    pub fn weight(&self, key: KeyId) -> f64 {
        let index = usize::try_from(key.0).unwrap_or(usize::MAX);
        self.weights.get(index).copied().filter(|weight| *weight > 0.0).unwrap_or(1.0)
    }

    /// Audio time between two chunks of a stream at `context`.
    pub fn period(&self, context: usize) -> Duration {
        self.periods.get(context).copied().unwrap_or_default()
    }

    /// The response time of chunks that admission aims at, for streams at `context`. Less than the budget: a result may end up to a chunk
    /// before the chunk's end, where a pause was, and whoever waits for it counts from there.
    pub fn target(&self, context: usize) -> Duration {
        let left = self.budget.saturating_sub(self.dispatch.margin + self.period(context));
        left.max(self.budget / 4)
    }

    /// Slots as a number of streams.
    pub fn slots(&self) -> usize {
        usize::try_from(self.slots).unwrap_or(usize::MAX)
    }
}

/// The next audio of a stream, before it has a slot written on it.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Position among the stream's chunks, from 0.
    pub seq: u64,
    /// As in [`Chunk::samples`].
    pub samples: Vec<f32>,
    /// As in [`Chunk::start`].
    pub start: bool,
    /// As in [`Chunk::end`].
    pub end: bool,
    /// As in [`Chunk::commit`].
    pub commit: bool,
    /// As in [`Chunk::terms`].
    pub terms: Option<Arc<Terms>>,
    /// As in [`Chunk::lm`].
    pub lm: Option<usize>,
    /// When its last byte arrived. Of no meaning for files.
    pub arrived: Instant,
}

/// A piece was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// No stream of that id is registered.
    #[error("stream {0} is not registered")]
    UnknownStream(StreamId),
    /// The stream has as many chunks waiting as it may.
    #[error("stream {0} has too many chunks waiting")]
    QueueFull(StreamId),
}

/// A result for the owner of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// Whose.
    pub stream: StreamId,
    /// Which of its chunks.
    pub seq: u64,
    /// What was decoded; `None` if the engine failed, after which the stream is no longer registered.
    pub decoded: Option<Decoded>,
    /// How long the chunk was late when its step ended; zero if it was in time or is of a file.
    pub late: Duration,
}

/// What a finished step leads to.
#[derive(Debug)]
pub struct Completion {
    /// Results for the owners of streams.
    pub deliveries: Vec<Delivery>,
    /// Steps have just begun to take much more or less time than at warm-up, or have stopped to: see
    /// [`CostTable::is_alarmed`].
    pub drifted: bool,
}

#[derive(Debug)]
struct Stream {
    class: Class,
    context: usize,
    key: KeyId,
    slot: Slot,
    queue: VecDeque<(Timing, Chunk)>,
    stepping: Option<Timing>,
    /// When the stream's own pace brings its next chunk.
    pace: Option<Instant>,
    released: bool,
}

/// The times of a waiting chunk.
#[derive(Clone, Copy, Debug)]
struct Timing {
    arrived: Instant,
    due: Instant,
    /// The stream was not ahead of its own pace, so the budget holds for the chunk.
    on_pace: bool,
}

/// The state.
#[derive(Debug)]
pub struct Core {
    rules: Rules,
    cost: CostTable,
    admission: Admission,
    streams: HashMap<StreamId, Stream>,
    ready_live: BTreeSet<(Instant, StreamId)>,
    ready_files: FairQueue,
    free: Vec<u32>,
    generations: Vec<u32>,
    next_id: u64,
    busy: f64,
    busy_files: f64,
}

impl Core {
    /// An empty scheduler over an engine with `rules.slots` slots and the given step costs.
    pub fn new(rules: Rules, cost: CostTable, now: Instant) -> Self {
        let generations = (0..rules.slots).map(|_| 0).collect();
        let free = (0..rules.slots).rev().collect();
        let admission = Admission::new(rules.periods.len(), now);
        Self {
            rules,
            cost,
            admission,
            streams: HashMap::new(),
            ready_live: BTreeSet::new(),
            ready_files: FairQueue::default(),
            free,
            generations,
            next_id: 1,
            busy: 0.0,
            busy_files: 0.0,
        }
    }

    /// Takes a stream of `key` in, or says why not.
    pub fn register(&mut self, class: Class, context: usize, key: KeyId, now: Instant) -> Result<StreamId, Refusal> {
        self.admission.check(class, context, &self.rules, &self.cost, now)?;
        let index = self.free.pop().ok_or(Refusal::NoSlot)?;
        let generation = self.take_generation(index);
        let id = StreamId(self.next_id);
        self.next_id += 1;
        self.admission.opened(class, context);
        self.streams.insert(
            id,
            Stream {
                class,
                context,
                key,
                slot: Slot { index, generation },
                queue: VecDeque::new(),
                stepping: None,
                pace: None,
                released: false,
            },
        );
        Ok(id)
    }

    /// Queues the next audio of a stream.
    pub fn push(&mut self, id: StreamId, piece: Piece, now: Instant) -> Result<(), PushError> {
        let stream = self
            .streams
            .get_mut(&id)
            .filter(|stream| !stream.released)
            .ok_or(PushError::UnknownStream(id))?;
        if stream.queue.len() >= self.rules.queue {
            return Err(PushError::QueueFull(id));
        }
        let timing = match stream.class {
            Class::Live => stream.pace(piece.arrived, now, &self.rules),
            Class::File => Timing {
                arrived: now,
                due: now,
                on_pace: false,
            },
        };
        if timing.on_pace {
            self.admission.arrived(stream.context, timing.arrived);
        }
        let Piece {
            seq,
            samples,
            start,
            end,
            commit,
            terms,
            lm,
            arrived: _,
        } = piece;
        let chunk = Chunk {
            stream: id,
            slot: stream.slot,
            seq,
            samples,
            start,
            end,
            commit,
            terms,
            lm,
        };
        stream.queue.push_back((timing, chunk));
        if stream.queue.len() == 1 && stream.stepping.is_none() {
            self.make_ready(id, now);
        }
        Ok(())
    }

    /// Forgets a stream. Its slot is free at once, or after the step that it is part of.
    pub fn release(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.released = true;
        let waiting = stream.queue.front().map(|(timing, _)| timing.due);
        stream.queue.clear();
        let (class, stepping) = (stream.class, stream.stepping.is_some());
        match (class, waiting) {
            (Class::Live, Some(due)) => {
                self.ready_live.remove(&(due, id));
            }
            (Class::File, Some(_)) => self.ready_files.remove(id),
            (_, None) => {}
        }
        if !stepping {
            self.remove(id);
        }
    }

    /// Books a finished step and says who gets what.
    pub fn completed(&mut self, batch: Batch, result: Option<Vec<Decoded>>, took: Duration, now: Instant) -> Completion {
        let live = self.count(Class::Live);
        let drifted = self.cost.observe(batch.context, batch.chunks.len(), live, took);
        self.book(&batch, took);
        let mut results = result.map(Vec::into_iter);
        let mut deliveries = Vec::with_capacity(batch.chunks.len());
        for chunk in batch.chunks {
            let decoded = results.as_mut().and_then(Iterator::next);
            let Some(stream) = self.streams.get_mut(&chunk.stream) else {
                continue;
            };
            let timing = stream.stepping.take();
            let late = match (stream.class, timing) {
                (Class::Live, Some(timing)) => now.saturating_duration_since(timing.due),
                _ => Duration::ZERO,
            };
            if let Some(timing) = timing.filter(|timing| timing.on_pace) {
                let response = now.saturating_duration_since(timing.arrived);
                self.admission.answered(response > self.rules.target(stream.context), now);
            }
            if stream.released {
                self.remove(chunk.stream);
                continue;
            }
            if decoded.is_none() {
                self.release(chunk.stream);
            } else if !stream.queue.is_empty() {
                self.make_ready(chunk.stream, now);
            }
            deliveries.push(Delivery {
                stream: chunk.stream,
                seq: chunk.seq,
                decoded,
                late,
            });
        }
        Completion { deliveries, drifted }
    }

    /// Live streams that the engine is thought to hold if those to come use `context`.
    pub fn capacity(&mut self, context: usize, now: Instant) -> usize {
        let slots = self.rules.slots().saturating_sub(self.count(Class::File)).max(1);
        self.admission.capacity(context, &self.rules, &self.cost, now).min(slots)
    }

    /// What gives way at present, as of the latest [`Core::capacity`].
    pub fn overload(&self) -> Overload {
        self.admission.overload()
    }

    /// Registered streams of a class.
    pub fn count(&self, class: Class) -> usize {
        self.admission.count(class)
    }

    /// What it was made with.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// What steps cost at present.
    pub fn cost(&self) -> &CostTable {
        &self.cost
    }

    /// Chunks that wait for a step.
    pub fn queued(&self) -> usize {
        self.streams.values().map(|stream| stream.queue.len()).sum()
    }

    fn make_ready(&mut self, id: StreamId, now: Instant) {
        let Some(stream) = self.streams.get(&id) else { return };
        match (stream.class, stream.queue.front()) {
            (Class::Live, Some((timing, _))) => {
                self.ready_live.insert((timing.due, id));
            }
            (Class::File, Some(_)) => {
                let weight = self.rules.weight(stream.key);
                self.ready_files.push(stream.key, weight, id, now);
            }
            (_, None) => {}
        }
    }

    fn remove(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.remove(&id) {
            self.admission.closed(stream.class, stream.context);
            self.free.push(stream.slot.index);
        }
    }

    fn take_generation(&mut self, index: u32) -> u32 {
        let cell = usize::try_from(index).ok().and_then(|index| self.generations.get_mut(index));
        cell.map_or(0, |generation| {
            *generation = generation.wrapping_add(1);
            *generation
        })
    }

    /// Running sums over about the last fifty steps, from which the files' share is read.
    fn book(&mut self, batch: &Batch, took: Duration) {
        const KEPT: f64 = 0.98;
        let of_files = batch
            .chunks
            .first()
            .and_then(|chunk| self.streams.get(&chunk.stream))
            .is_some_and(|s| s.class == Class::File);
        self.busy = self.busy * KEPT + took.as_secs_f64();
        self.busy_files = self.busy_files * KEPT + if of_files { took.as_secs_f64() } else { 0.0 };
    }
}

impl Stream {
    /// The times of a chunk that arrived at `arrived` and is pushed at `now`. A stream at the pace of speech is answered within the
    /// budget; what one that is far ahead of it brings is due as late as its own pace allows, so that it takes nothing from others
    /// (the generic cell rate algorithm, ITU-T I.371).
    fn pace(&mut self, arrived: Instant, now: Instant, rules: &Rules) -> Timing {
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        let pace = self.pace.map_or(earliest, |pace| pace.clamp(earliest, now + AHEAD));
        self.pace = Some(pace + rules.period(self.context));
        Timing {
            arrived,
            due: if pace > now { arrived.max(pace) } else { arrived } + rules.budget,
            on_pace: pace <= now,
        }
    }
}

#[cfg(test)]
#[path = "core_tests.rs"]
pub(crate) mod tests;

#[cfg(test)]
#[path = "properties.rs"]
mod properties;
