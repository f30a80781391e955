//! Which chunks make up the batch that is stepped next. Pure.
//!
//! What it does: puts what waits in the state before [`order`] (which live chunks) and [`policy`] (live chunks or files), and takes what they
//! choose off the queues. What it does not do: take pieces in, book what a step gave. Who calls it: `scheduler::actor`, simulations.

use std::time::Instant;

use super::{Class, Core};
use crate::engine::batch::{Batch, Chunk};
use crate::scheduler::admission::Overload;
use crate::scheduler::order::{self, Step, Waiting};
use crate::scheduler::policy::{self, FileWork, LiveWork, Next};
use crate::units::StreamId;

impl Core {
    /// The batch to step next, if there is anything to do. The engine must be free.
    pub fn next_batch(&mut self, now: Instant) -> Option<Batch> {
        let step = self.live_step(now);
        let (file_context, most_files) = self.file_candidates();
        let live = self.live_work(step);
        let file = self.file_work(file_context, most_files, now);
        match policy::next(live, file, now, &self.rules.dispatch) {
            Next::Idle => None,
            Next::Live => {
                let ids = self.streams_of(step);
                let chunks = ids.into_iter().filter_map(|id| self.take(id)).collect();
                Some(Batch {
                    context: step.context,
                    chunks,
                })
            }
            Next::File => {
                let streams = &self.streams;
                let fits = |id: StreamId| streams.get(&id).is_some_and(|stream| stream.context == file_context);
                let ids = self.ready_files.take(most_files, fits);
                let chunks = ids.into_iter().filter_map(|id| self.take(id)).collect();
                Some(Batch {
                    context: file_context,
                    chunks,
                })
            }
        }
    }

    /// The live chunks that go into a step begun at `now`.
    fn live_step(&self, now: Instant) -> Step {
        // Chunks that are not among so many are not urgent.
        let most = self.rules.max_batch * 2;
        let waiting = self.ready_live.iter().take(most);
        let waiting: Vec<Waiting> = waiting
            .filter_map(|&(due, id)| Some((due, self.streams.get(&id)?.context)))
            .collect();
        order::next_step(&waiting, &self.cost, self.rules.max_batch, now)
    }

    /// The streams whose chunks make up a step, by due time.
    fn streams_of(&self, step: Step) -> Vec<StreamId> {
        let is_in = |id: &StreamId| self.streams.get(id).is_some_and(|stream| stream.context == step.context);
        self.ready_live.iter().map(|&(_, id)| id).filter(is_in).take(step.chunks).collect()
    }

    /// The context of the file whose turn it is, and how many files may go into one step.
    fn file_candidates(&self) -> (usize, usize) {
        let first = self.ready_files.first().and_then(|id| self.streams.get(&id));
        let context = first.map_or(0, |stream| stream.context);
        let most = if self.count(Class::Live) == 0 {
            self.rules.max_batch
        } else {
            self.cost.chunks_within(context, self.rules.file_step, self.rules.max_batch)
        };
        (context, most)
    }

    fn live_work(&self, step: Step) -> Option<LiveWork> {
        let &(due, id) = self.ready_live.first()?;
        let since = self.streams.get(&id)?.queue.front()?.0.arrived;
        Some(LiveWork {
            due,
            since,
            chunks: step.chunks,
            ridge: self.cost.ridge(step.context, self.rules.max_batch),
            step: self.cost.predict(step.context, step.chunks),
        })
    }

    /// None also while files are paused, unless one has waited too long.
    fn file_work(&self, context: usize, most: usize, now: Instant) -> Option<FileWork> {
        let since = self.ready_files.oldest()?;
        let patient = now.saturating_duration_since(since) < self.rules.dispatch.patience;
        if patient && self.overload() >= Overload::FilesPaused {
            return None;
        }
        Some(FileWork {
            since,
            step: self.cost.predict(context, self.ready_files.len().min(most)),
            share: if self.busy > 0.0 { self.busy_files / self.busy } else { 0.0 },
        })
    }

    fn take(&mut self, id: StreamId) -> Option<Chunk> {
        let stream = self.streams.get_mut(&id)?;
        let (timing, chunk) = stream.queue.pop_front()?;
        stream.stepping = Some(timing);
        if stream.class == Class::Live {
            self.ready_live.remove(&(timing.due, id));
        }
        Some(chunk)
    }
}
