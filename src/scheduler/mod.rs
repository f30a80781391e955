//! Decides what the engine steps next, and who is let in.
//!
//! [`core`], [`policy`] and [`admission`] are pure; [`actor`] is the thin shell. Everyone else holds a [`Handle`], which
//! offers only sends that can be refused, and for each stream a [`StreamGuard`], which gives the slot back when dropped.

pub mod actor;
pub mod admission;
pub mod core;
pub mod messages;
pub mod policy;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use actix::Addr;
use tokio::sync::mpsc::UnboundedSender;

use self::actor::SchedulerActor;
use self::admission::Refusal;
use self::core::{Class, Piece};
use self::messages::{Push, Register, Sink};
use crate::units::StreamId;

/// The way to the scheduler.
#[derive(Clone)]
pub struct Handle {
    address: Addr<SchedulerActor>,
    releases: UnboundedSender<StreamId>,
    gauges: Arc<Gauges>,
}

/// Figures about the scheduler that anyone may read at any time.
#[derive(Debug, Default)]
pub struct Gauges {
    /// Live streams in service.
    pub live: AtomicUsize,
    /// File streams in service.
    pub files: AtomicUsize,
    /// Live streams that the engine is thought to hold at its default context.
    pub capacity: AtomicUsize,
    /// False once the engine is gone.
    pub running: AtomicBool,
}

/// The scheduler could not take a message; the stream cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the scheduler takes no more work for this stream")]
pub struct PushRefused;

impl Handle {
    /// Asks for a slot; the answer is immediate in all but an overloaded scheduler.
    pub async fn register(&self, class: Class, context: usize, sink: Sink) -> Result<StreamGuard, Refusal> {
        let answer = self.address.send(Register { class, context, sink }).await;
        let id = answer.map_err(|_| Refusal::EngineDown)??;
        Ok(StreamGuard { id, handle: self.clone() })
    }

    /// Current figures.
    pub fn gauges(&self) -> &Gauges {
        &self.gauges
    }

    /// True while the scheduler and its engine are there.
    pub fn is_running(&self) -> bool {
        self.address.connected() && self.gauges.running.load(Ordering::Relaxed)
    }
}

/// A slot taken by one stream; dropping it gives the slot back, whatever the way out.
pub struct StreamGuard {
    id: StreamId,
    handle: Handle,
}

impl StreamGuard {
    /// The stream's name in the scheduler.
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// Queues the stream's next audio. A refusal later on reaches the sink as a failed chunk.
    pub fn push(&self, piece: Piece) -> Result<(), PushRefused> {
        self.handle
            .address
            .try_send(Push { stream: self.id, piece })
            .map_err(|_| PushRefused)
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        // Fails only when the scheduler is gone, and its slots with it.
        self.handle.releases.send(self.id).ok();
    }
}
