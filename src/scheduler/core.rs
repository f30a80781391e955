//! The scheduler's whole state and rules, without clock, threads or actors.
//!
//! Streams take a slot, push chunks, and are served in batches: live chunks by earliest due time, file chunks in turn.
//! A stream has at most one chunk in a step, so its chunks stay in order. Called by [`super::actor`] and by simulations.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::admission::{Admission, Refusal};
use super::policy::{self, Next, Waiting};
use crate::engine::batch::{Batch, Chunk, Decoded, Slot};
use crate::engine::cost::CostTable;
use crate::units::StreamId;

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
    /// Longest step that file chunks may form, so that a live chunk that arrives meanwhile is not made late.
    pub file_step: Duration,
    /// Share of the engine's time owed to files.
    pub file_share: f64,
    /// Most file streams at once.
    pub max_files: usize,
    /// Time kept between the predicted end of a step and a due time.
    pub margin: Duration,
    /// Most chunks that one stream may have waiting.
    pub queue: usize,
    /// Audio time between two chunks, for each context.
    pub periods: Vec<Duration>,
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
    /// When the answer is due.
    pub due: Instant,
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

#[derive(Debug)]
struct Stream {
    class: Class,
    context: usize,
    slot: Slot,
    queue: VecDeque<(Instant, Chunk)>,
    stepping: Option<Instant>,
    released: bool,
}

/// The state.
#[derive(Debug)]
pub struct Core {
    rules: Rules,
    cost: CostTable,
    admission: Admission,
    streams: HashMap<StreamId, Stream>,
    ready_live: BTreeSet<(Instant, StreamId)>,
    ready_files: BTreeSet<(u64, StreamId)>,
    file_turn: u64,
    free: Vec<u32>,
    generations: Vec<u32>,
    next_id: u64,
    busy: f64,
    busy_files: f64,
}

impl Core {
    /// An empty scheduler over an engine with `rules.slots` slots and the given step costs.
    pub fn new(rules: Rules, cost: CostTable) -> Self {
        let generations = (0..rules.slots).map(|_| 0).collect();
        let free = (0..rules.slots).rev().collect();
        let admission = Admission::new(rules.periods.clone(), rules.max_batch, rules.max_files);
        Self {
            rules,
            cost,
            admission,
            streams: HashMap::new(),
            ready_live: BTreeSet::new(),
            ready_files: BTreeSet::new(),
            file_turn: 0,
            free,
            generations,
            next_id: 1,
            busy: 0.0,
            busy_files: 0.0,
        }
    }

    /// Takes a stream in, or says why not.
    pub fn register(&mut self, class: Class, context: usize) -> Result<StreamId, Refusal> {
        self.admission.check(class, context, &self.cost)?;
        let index = self.free.pop().ok_or(Refusal::NoSlot)?;
        let generation = self.take_generation(index);
        let id = StreamId(self.next_id);
        self.next_id += 1;
        let slot = Slot { index, generation };
        self.admission.opened(class, context);
        self.streams.insert(
            id,
            Stream {
                class,
                context,
                slot,
                queue: VecDeque::new(),
                stepping: None,
                released: false,
            },
        );
        Ok(id)
    }

    /// Queues the next audio of a stream.
    pub fn push(&mut self, id: StreamId, piece: Piece) -> Result<(), PushError> {
        let stream = self
            .streams
            .get_mut(&id)
            .filter(|stream| !stream.released)
            .ok_or(PushError::UnknownStream(id))?;
        if stream.queue.len() >= self.rules.queue {
            return Err(PushError::QueueFull(id));
        }
        let Piece {
            seq,
            samples,
            start,
            end,
            commit,
            due,
        } = piece;
        stream.queue.push_back((
            due,
            Chunk {
                stream: id,
                slot: stream.slot,
                seq,
                samples,
                start,
                end,
                commit,
            },
        ));
        if stream.queue.len() == 1 && stream.stepping.is_none() {
            self.make_ready(id);
        }
        Ok(())
    }

    /// Forgets a stream. Its slot is free at once, or after the step that it is part of.
    pub fn release(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.released = true;
        stream.queue.clear();
        self.ready_live.retain(|&(_, ready)| ready != id);
        self.ready_files.retain(|&(_, ready)| ready != id);
        if stream.stepping.is_none() {
            self.remove(id);
        }
    }

    /// The batch to step next, if there is anything to do. The engine must be free.
    pub fn next_batch(&mut self, now: Instant) -> Option<Batch> {
        let live = self.live_candidates();
        let files = self.file_candidates();
        let waiting = Waiting {
            live_due: self.ready_live.first().map(|&(due, _)| due),
            live_step: self.cost.predict(live.0, live.1.len()),
            file_step: (!files.1.is_empty()).then(|| self.cost.predict(files.0, files.1.len())),
            file_share: if self.busy > 0.0 { self.busy_files / self.busy } else { 0.0 },
        };
        let (context, ids) = match policy::next(&waiting, now, self.rules.file_share, self.rules.margin) {
            Next::Idle => return None,
            Next::Live => live,
            Next::File => files,
        };
        let chunks = ids.into_iter().filter_map(|id| self.take(id)).collect();
        Some(Batch { context, chunks })
    }

    /// Books a finished step and says who gets what.
    pub fn completed(&mut self, batch: Batch, result: Option<Vec<Decoded>>, took: Duration, now: Instant) -> Vec<Delivery> {
        self.cost.observe(batch.context, batch.chunks.len(), took);
        self.book(&batch, took);
        let mut results = result.map(Vec::into_iter);
        let mut deliveries = Vec::with_capacity(batch.chunks.len());
        for chunk in batch.chunks {
            let decoded = results.as_mut().and_then(Iterator::next);
            let Some(stream) = self.streams.get_mut(&chunk.stream) else {
                continue;
            };
            let due = stream.stepping.take();
            let late = match (stream.class, due) {
                (Class::Live, Some(due)) => now.saturating_duration_since(due),
                _ => Duration::ZERO,
            };
            if stream.released {
                self.remove(chunk.stream);
                continue;
            }
            if decoded.is_none() {
                self.release(chunk.stream);
            } else if !stream.queue.is_empty() {
                self.make_ready(chunk.stream);
            }
            deliveries.push(Delivery {
                stream: chunk.stream,
                seq: chunk.seq,
                decoded,
                late,
            });
        }
        deliveries
    }

    /// Live streams that the engine is thought to hold at `context`.
    pub fn capacity(&self, context: usize) -> usize {
        let slots = usize::try_from(self.rules.slots).unwrap_or(usize::MAX);
        self.admission.capacity(context, &self.cost).min(slots)
    }

    /// Registered streams of a class.
    pub fn count(&self, class: Class) -> usize {
        self.admission.count(class)
    }

    /// Chunks that wait for a step.
    pub fn queued(&self) -> usize {
        self.streams.values().map(|stream| stream.queue.len()).sum()
    }

    /// Ids of all registered streams.
    pub fn ids(&self) -> Vec<StreamId> {
        self.streams.keys().copied().collect()
    }

    fn live_candidates(&self) -> (usize, Vec<StreamId>) {
        self.same_context(self.ready_live.iter().map(|&(_, id)| id), self.rules.max_batch)
    }

    fn file_candidates(&self) -> (usize, Vec<StreamId>) {
        let context = self
            .ready_files
            .first()
            .and_then(|&(_, id)| self.streams.get(&id))
            .map_or(0, |stream| stream.context);
        let most = self.cost.chunks_within(context, self.rules.file_step, self.rules.max_batch);
        self.same_context(self.ready_files.iter().map(|&(_, id)| id), most)
    }

    fn same_context(&self, ready: impl Iterator<Item = StreamId>, most: usize) -> (usize, Vec<StreamId>) {
        let mut context = None;
        let mut ids = Vec::new();
        for id in ready {
            let Some(stream) = self.streams.get(&id) else { continue };
            if *context.get_or_insert(stream.context) == stream.context {
                ids.push(id);
            }
            if ids.len() >= most {
                break;
            }
        }
        (context.unwrap_or(0), ids)
    }

    fn take(&mut self, id: StreamId) -> Option<Chunk> {
        let stream = self.streams.get_mut(&id)?;
        let (due, chunk) = stream.queue.pop_front()?;
        stream.stepping = Some(due);
        match stream.class {
            Class::Live => self.ready_live.remove(&(due, id)),
            Class::File => {
                self.ready_files.retain(|&(_, ready)| ready != id);
                true
            }
        };
        Some(chunk)
    }

    fn make_ready(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get(&id) else { return };
        match (stream.class, stream.queue.front()) {
            (Class::Live, Some(&(due, _))) => {
                self.ready_live.insert((due, id));
            }
            (Class::File, Some(_)) => {
                self.file_turn += 1;
                self.ready_files.insert((self.file_turn, id));
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

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;
