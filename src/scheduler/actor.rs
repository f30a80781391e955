//! The actix shell around [`super::core`]: messages in, batches to the worker, results to the sinks.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use actix::{Actor, ActorContext, Arbiter, AsyncContext, Context, Handler, StreamHandler};
use futures_util::stream::unfold;
use tokio::sync::mpsc::{Receiver, UnboundedReceiver, unbounded_channel};

use super::admission::Refusal;
use super::core::{Class, Core, Delivery};
use super::messages::{Completed, Push, Register, Sink};
use super::{Gauges, Handle};
use crate::engine::worker::{Stepped, Worker};
use crate::telemetry::metrics as measure;
use crate::units::StreamId;

/// Messages from one sender that may wait; a stream never has more chunks than its credits out.
const MAILBOX: usize = 64;

/// The actor. Made by [`start`].
pub struct SchedulerActor {
    core: Core,
    worker: Worker,
    stepping: bool,
    sinks: HashMap<StreamId, Sink>,
    default_context: usize,
    gauges: Arc<Gauges>,
    sources: Option<(Receiver<Stepped>, UnboundedReceiver<StreamId>)>,
}

/// A stream's guard was dropped.
struct Released(StreamId);

/// Starts the scheduler on a thread of its own.
pub fn start(core: Core, worker: Worker, results: Receiver<Stepped>, default_context: usize) -> Handle {
    let (releases, released) = unbounded_channel();
    let gauges = Arc::new(Gauges::default());
    gauges.running.store(true, Ordering::Relaxed);
    gauges.capacity.store(core.capacity(default_context), Ordering::Relaxed);
    let shared = Arc::clone(&gauges);
    let address = SchedulerActor::start_in_arbiter(&Arbiter::new().handle(), move |_| SchedulerActor {
        core,
        worker,
        stepping: false,
        sinks: HashMap::new(),
        default_context,
        gauges: shared,
        sources: Some((results, released)),
    });
    Handle { address, releases, gauges }
}

impl Actor for SchedulerActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        if let Some((results, released)) = self.sources.take() {
            ctx.add_stream(unfold(results, |mut results| async {
                results.recv().await.map(|stepped| (stepped, results))
            }));
            ctx.add_stream(unfold(released, |mut released| async {
                released.recv().await.map(|id| (Released(id), released))
            }));
        }
    }
}

impl SchedulerActor {
    fn pump(&mut self) {
        if self.stepping {
            return;
        }
        if let Some(batch) = self.core.next_batch(Instant::now()) {
            measure::step_began(batch.chunks.len());
            self.stepping = self.worker.submit(batch).is_ok();
        }
    }

    fn deliver(&mut self, delivery: Delivery) {
        let Delivery {
            stream,
            seq,
            decoded,
            late,
        } = delivery;
        if !late.is_zero() {
            measure::chunk_late(late);
        }
        let failed = decoded.is_none();
        let taken = self.sinks.get(&stream).is_none_or(|sink| sink(Completed { seq, decoded, late }));
        if failed || !taken {
            if !taken {
                measure::result_refused();
            }
            self.forget(stream);
        }
    }

    fn forget(&mut self, stream: StreamId) {
        self.core.release(stream);
        self.sinks.remove(&stream);
        self.publish();
    }

    fn publish(&self) {
        self.gauges.live.store(self.core.count(Class::Live), Ordering::Relaxed);
        self.gauges.files.store(self.core.count(Class::File), Ordering::Relaxed);
        self.gauges
            .capacity
            .store(self.core.capacity(self.default_context), Ordering::Relaxed);
    }
}

impl Handler<Register> for SchedulerActor {
    type Result = Result<StreamId, Refusal>;

    fn handle(&mut self, message: Register, _: &mut Self::Context) -> Self::Result {
        let id = self.core.register(message.class, message.context)?;
        self.sinks.insert(id, message.sink);
        self.publish();
        Ok(id)
    }
}

impl Handler<Push> for SchedulerActor {
    type Result = ();

    fn handle(&mut self, message: Push, _: &mut Self::Context) {
        let seq = message.piece.seq;
        if let Err(error) = self.core.push(message.stream, message.piece) {
            tracing::warn!(%error, "chunk refused");
            self.deliver(Delivery {
                stream: message.stream,
                seq,
                decoded: None,
                late: std::time::Duration::ZERO,
            });
        }
        self.pump();
    }
}

impl StreamHandler<Stepped> for SchedulerActor {
    fn handle(&mut self, stepped: Stepped, _: &mut Self::Context) {
        self.stepping = false;
        let Stepped { batch, result, took } = stepped;
        measure::step_ended(took);
        let decoded = result.inspect_err(|error| tracing::error!(%error, "the engine failed a step")).ok();
        for delivery in self.core.completed(batch, decoded, took, Instant::now()) {
            self.deliver(delivery);
        }
        self.publish();
        self.pump();
    }

    fn finished(&mut self, ctx: &mut Self::Context) {
        tracing::error!("the engine thread is gone");
        self.gauges.running.store(false, Ordering::Relaxed);
        for (_, sink) in self.sinks.drain() {
            sink(Completed {
                seq: u64::MAX,
                decoded: None,
                late: std::time::Duration::ZERO,
            });
        }
        ctx.stop();
    }
}

impl StreamHandler<Released> for SchedulerActor {
    fn handle(&mut self, Released(stream): Released, _: &mut Self::Context) {
        self.forget(stream);
        self.pump();
    }

    fn finished(&mut self, _: &mut Self::Context) {}
}
