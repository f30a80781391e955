//! The actix shell around [`super::core`]: messages in, batches to the worker, results to the sinks.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use actix::{Actor, ActorContext, Arbiter, AsyncContext, Context, Handler, StreamHandler};
use futures_util::stream::{poll_fn, unfold};
use tokio::sync::mpsc::{Receiver, UnboundedReceiver, unbounded_channel};

use super::admission::Refusal;
use super::core::{Class, Completion, Core, Delivery};
use super::messages::{Completed, Push, Register, Sink};
use super::{Device, Gauges};
use crate::engine::cost::BUCKETS;
use crate::engine::worker::{Stepped, Worker};
use crate::telemetry::metrics::{self as measure, StepMetrics};
use crate::units::StreamId;

/// Messages from one sender that may wait; a stream never has more chunks than its credits out.
const MAILBOX: usize = 64;
/// How often figures are shown anew, whatever happens.
const SHOWN_EVERY: Duration = Duration::from_secs(1);

/// The actor. Made by [`start`].
pub struct SchedulerActor {
    core: Core,
    worker: Worker,
    /// When the step that the engine works on was handed over.
    stepping: Option<Instant>,
    sinks: HashMap<StreamId, Sink>,
    measure: StepMetrics,
    default_context: usize,
    gauges: Arc<Gauges>,
    results: Option<Receiver<Stepped>>,
    /// Streams whose guards were dropped. Shared with the stream that wakes the actor; only its thread ever locks it.
    released: Arc<Mutex<UnboundedReceiver<StreamId>>>,
}

/// A stream's guard was dropped.
struct Released(StreamId);

/// Starts the scheduler on a thread of its own.
pub fn start(core: Core, worker: Worker, results: Receiver<Stepped>, device: usize, default_context: usize) -> Device {
    let (releases, released) = unbounded_channel();
    let gauges = Arc::new(Gauges::default());
    gauges.running.store(true, Ordering::Relaxed);
    let mut scheduler = SchedulerActor {
        core,
        worker,
        stepping: None,
        sinks: HashMap::new(),
        measure: StepMetrics::new(device),
        default_context,
        gauges: Arc::clone(&gauges),
        results: Some(results),
        released: Arc::new(Mutex::new(released)),
    };
    scheduler.publish();
    scheduler.show_costs();
    let address = SchedulerActor::start_in_arbiter(&Arbiter::new().handle(), move |_| scheduler);
    Device { address, releases, gauges }
}

fn lock(released: &Mutex<UnboundedReceiver<StreamId>>) -> MutexGuard<'_, UnboundedReceiver<StreamId>> {
    released.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Actor for SchedulerActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        if let Some(results) = self.results.take() {
            ctx.add_stream(unfold(results, |mut results| async {
                results.recv().await.map(|stepped| (stepped, results))
            }));
        }
        ctx.run_interval(SHOWN_EVERY, |actor, _| {
            actor.publish();
            actor.show_costs();
        });
        let released = Arc::clone(&self.released);
        ctx.add_stream(poll_fn(move |context| {
            lock(&released).poll_recv(context).map(|id| id.map(Released))
        }));
    }
}

impl SchedulerActor {
    fn pump(&mut self) {
        if self.stepping.is_some() {
            return;
        }
        let now = Instant::now();
        if let Some(batch) = self.core.next_batch(now) {
            self.measure.began(batch.chunks.len());
            self.stepping = self.worker.submit(batch).is_ok().then_some(now);
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

    /// Shows the cost table.
    fn show_costs(&self) {
        for (context, period) in self.core.rules().periods.iter().enumerate() {
            for (chunks, seconds) in BUCKETS.into_iter().zip(self.core.cost().row(context)) {
                self.measure.cost(*period, chunks, seconds);
            }
        }
    }

    /// Shows what steps cost, and says so once when it becomes something else than at warm-up.
    fn watch_cost(&self, changed: bool) {
        let cost = self.core.cost();
        self.measure.drift(cost.drift());
        match (changed, cost.is_alarmed()) {
            (true, true) => tracing::warn!(ratio = cost.drift(), "steps do not take the time they took at warm-up"),
            (true, false) => tracing::info!(ratio = cost.drift(), "steps take the time they took at warm-up again"),
            (false, _) => {}
        }
    }

    fn forget(&mut self, stream: StreamId) {
        self.core.release(stream);
        self.sinks.remove(&stream);
        self.publish();
    }

    fn publish(&mut self) {
        let (live, files) = (self.core.count(Class::Live), self.core.count(Class::File));
        let capacity = self.core.capacity(self.default_context, Instant::now());
        let overload = self.core.overload();
        self.gauges.live.store(live, Ordering::Relaxed);
        self.gauges.files.store(files, Ordering::Relaxed);
        self.gauges.capacity.store(capacity, Ordering::Relaxed);
        self.gauges.overload.store(overload.rank(), Ordering::Relaxed);
        self.measure.load(capacity.saturating_sub(live), overload.rank());
    }
}

impl Handler<Register> for SchedulerActor {
    type Result = Result<StreamId, Refusal>;

    fn handle(&mut self, message: Register, _: &mut Self::Context) -> Self::Result {
        // Whoever was seen to leave makes room for whoever comes now.
        let left: Vec<StreamId> = std::iter::from_fn(|| lock(&self.released).try_recv().ok()).collect();
        left.into_iter().for_each(|id| self.forget(id));
        let id = self.core.register(message.class, message.context, message.key, Instant::now())?;
        self.sinks.insert(id, message.sink);
        self.publish();
        Ok(id)
    }
}

impl Handler<Push> for SchedulerActor {
    type Result = ();

    fn handle(&mut self, message: Push, _: &mut Self::Context) {
        let seq = message.piece.seq;
        if let Err(error) = self.core.push(message.stream, message.piece, Instant::now()) {
            tracing::warn!(%error, "chunk refused");
            self.deliver(Delivery {
                stream: message.stream,
                seq,
                decoded: None,
                late: Duration::ZERO,
            });
        }
        self.pump();
    }
}

impl StreamHandler<Stepped> for SchedulerActor {
    fn handle(&mut self, stepped: Stepped, _: &mut Self::Context) {
        let now = Instant::now();
        // What it takes to hand a batch over, and its results back, occupies the engine as the step itself does.
        let took = self.stepping.take().map_or(Duration::ZERO, |began| now - began);
        let Stepped { batch, result } = stepped;
        let predicted = self.core.cost().predict(batch.context, batch.chunks.len());
        self.measure.ended(took, predicted);
        let decoded = result.inspect_err(|error| tracing::error!(%error, "the engine failed a step")).ok();
        let Completion { deliveries, drifted } = self.core.completed(batch, decoded, took, now);
        for delivery in deliveries {
            self.deliver(delivery);
        }
        self.watch_cost(drifted);
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
                late: Duration::ZERO,
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
