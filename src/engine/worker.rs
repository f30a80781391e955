//! The one thread that owns an [`Engine`].
//!
//! Batches come in through a channel that holds one, results leave through a channel that holds two; since the
//! scheduler sends a batch only after it has the last result, neither ever blocks. A panic inside a step, or the failure
//! of its device, ends the thread and closes the results channel, which the scheduler takes as the death of the engine.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use super::batch::{Batch, Decoded};
use super::{Engine, EngineError};

/// A finished step.
#[derive(Debug)]
pub struct Stepped {
    /// The batch as it was sent.
    pub batch: Batch,
    /// One result for each chunk, or why there is none.
    pub result: Result<Vec<Decoded>, EngineError>,
}

/// The sending side of a worker.
#[derive(Clone, Debug)]
pub struct Worker {
    batches: SyncSender<Batch>,
}

/// The worker's thread is gone or still busy with two batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the engine thread takes no batch")]
pub struct WorkerGone;

impl Worker {
    /// Starts the thread. Results come out of the returned receiver until the engine dies or the worker is dropped.
    pub fn start(engine: Box<dyn Engine>) -> std::io::Result<(Self, tokio::sync::mpsc::Receiver<Stepped>)> {
        let (batches, incoming) = sync_channel(1);
        let (results, outgoing) = tokio::sync::mpsc::channel(2);
        std::thread::Builder::new()
            .name("hark-engine".into())
            .spawn(move || run(engine, &incoming, &results))?;
        Ok((Self { batches }, outgoing))
    }

    /// Hands over a batch without waiting.
    pub fn submit(&self, batch: Batch) -> Result<(), WorkerGone> {
        self.batches.try_send(batch).map_err(|error| match error {
            TrySendError::Full(_) | TrySendError::Disconnected(_) => WorkerGone,
        })
    }
}

fn run(mut engine: Box<dyn Engine>, incoming: &Receiver<Batch>, results: &tokio::sync::mpsc::Sender<Stepped>) {
    while let Ok(batch) = incoming.recv() {
        let result = engine.step(&batch);
        let failed = matches!(result, Err(EngineError::Device(_)));
        if results.blocking_send(Stepped { batch, result }).is_err() || failed {
            return;
        }
    }
}
