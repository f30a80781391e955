//! The actor of one live stream: carries out what the session decides.
//!
//! It lives on the thread of its socket, but on its own: timers and engine traffic go on whatever the socket does. Any front
//! door that can fill a [`Pipe`] can use it.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, Recipient, SpawnHandle, StreamHandler, WrapFuture,
};
use bytes::Bytes;
use futures_util::stream::unfold;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::pipe::{FromClient, Pipe, ToClient};
use super::session::{Effect, PendingChunk, Session};
use crate::error::CloseReason;
use crate::scheduler::admission::{Overload, Refusal};
use crate::scheduler::core::{Class, Piece};
use crate::scheduler::messages::Completed;
use crate::scheduler::{Handle, StreamGuard};
use crate::telemetry::compatible::{Compatible, Kind};
use crate::telemetry::metrics as measure;
use crate::units::KeyId;

/// Tells the stream that there are frames in the pipe.
#[derive(Message)]
#[rtype(result = "()")]
pub struct FramesArrived;

/// Tells the front door that there are messages in the pipe.
#[derive(Message)]
#[rtype(result = "()")]
pub struct MessagesWaiting;

/// Tells the stream whom to wake when there are messages.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Connected(pub Recipient<MessagesWaiting>);

/// Ends the stream because the receiver of its callback takes no more messages.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ReceiverGone;

/// Ends the stream because the server stops.
#[derive(Message)]
#[rtype(result = "()")]
pub struct GoAway;

/// What a stream needs from outside.
pub struct Setup {
    /// The rules of this connection.
    pub session: Session,
    /// Shared with the front door.
    pub pipe: Rc<Pipe>,
    /// Where chunks go.
    pub scheduler: Handle,
    /// Context index of every step.
    pub context: usize,
    /// Chunks that one lane may have in flight.
    pub credits: usize,
    /// On whose behalf.
    pub key: KeyId,
    /// How long a client may leave many messages unread before it is taken for dead.
    pub patience: Duration,
    /// The messages go to a callback: a client that leaves is one that has said all.
    pub relayed: bool,
    /// Compatible metric families.
    pub metrics: Arc<Compatible>,
    /// Called once when the stream ends; true unless the server was at fault.
    pub ended: Box<dyn FnOnce(bool)>,
}

/// The actor.
pub struct StreamActor {
    session: Session,
    pipe: Rc<Pipe>,
    scheduler: Handle,
    context: usize,
    key: KeyId,
    patience: Duration,
    relayed: bool,
    watch: Option<SpawnHandle>,
    metrics: Arc<Compatible>,
    ended: Option<Box<dyn FnOnce(bool)>>,
    lanes: Vec<StreamGuard>,
    /// Chunks of lanes that are not open yet.
    early: Vec<(usize, PendingChunk)>,
    results: Sender<(usize, Completed)>,
    /// Results that wait until the client has read; at most its credits.
    held: VecDeque<(usize, Completed)>,
    incoming: Option<Receiver<(usize, Completed)>>,
    door: Option<Recipient<MessagesWaiting>>,
    tick: Option<SpawnHandle>,
    reading: bool,
    failed: bool,
    /// The code that we closed the stream with.
    closed: Option<u16>,
    /// The code that the client left with.
    gone: Option<u16>,
}

/// How often it is looked whether something that the client sent is still held up.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// What a connection that broke counts as (RFC 6455, section 7.4.1); never sent.
const ABNORMAL: u16 = 1006;

impl StreamActor {
    /// Takes `lanes` slots and starts the actor on the current thread; a full engine refuses here.
    pub async fn open(setup: Setup, lanes: usize) -> Result<Addr<Self>, Refusal> {
        let most = setup.credits * usize::from(crate::audio::MAX_CHANNELS) + 1;
        let (results, incoming) = channel(most);
        let mut guards = Vec::with_capacity(lanes);
        for lane in 0..lanes {
            guards.push(register(&setup.scheduler, setup.context, setup.key, lane, &results).await?);
        }
        let Setup {
            session,
            pipe,
            scheduler,
            context,
            key,
            patience,
            relayed,
            metrics,
            ended,
            credits: _,
        } = setup;
        let actor = StreamActor {
            session,
            pipe,
            scheduler,
            context,
            key,
            patience,
            relayed,
            watch: None,
            metrics,
            ended: Some(ended),
            lanes: guards,
            early: Vec::new(),
            results,
            held: VecDeque::new(),
            incoming: Some(incoming),
            door: None,
            tick: None,
            reading: true,
            failed: false,
            closed: None,
            gone: None,
        };
        Ok(actor.start())
    }

    /// Lets the session take an event and carries out what it decides.
    fn event(&mut self, ctx: &mut Context<Self>, event: impl FnOnce(&mut Session, Instant, &mut Vec<Effect>)) {
        if self.closed.is_some() {
            return;
        }
        let now = Instant::now();
        let mut effects = Vec::new();
        event(&mut self.session, now, &mut effects);
        for effect in effects {
            self.carry_out(effect, ctx);
        }
        self.set_gate(now);
        if let Some(door) = &self.door {
            // A full mailbox means that a wake-up is waiting in it already.
            door.try_send(MessagesWaiting).ok();
        }
        self.set_timer(now, ctx);
        if self.closed.is_some() {
            ctx.stop();
        }
    }

    /// Lets the client be read or not, and tells the session whether its silence counts: not while it cannot be heard, nor while what it
    /// said waits here.
    fn set_gate(&mut self, now: Instant) {
        let open = self.pipe.set_reading(self.session.undecoded_bytes(), self.reading);
        self.session.on_gate(open && !self.pipe.holds_up(), now);
    }

    /// Hands the session the engine's results, then frames, as far as the client keeps up with reading: credits come back no
    /// faster than that.
    fn take_results(&mut self, ctx: &mut Context<Self>) {
        while !self.pipe.is_crowded()
            && let Some((lane, completed)) = self.held.pop_front()
        {
            let overload = self.lanes.first().map(StreamGuard::overload).unwrap_or_default();
            self.session.on_load(overload >= Overload::FewerInterims);
            match completed.decoded {
                Some(decoded) => self.event(ctx, |session, now, out| session.on_decoded(lane, completed.seq, decoded, now, out)),
                None => self.fail(ctx),
            }
        }
        self.take_frames(ctx);
        self.watch(ctx);
    }

    /// Ends the stream if its client leaves many messages unread and takes none of them for a while.
    fn watch(&mut self, ctx: &mut Context<Self>) {
        if self.watch.is_some() || !self.pipe.is_crowded() {
            return;
        }
        let taken = self.pipe.taken();
        self.watch = Some(ctx.run_later(self.patience, move |actor, ctx| {
            actor.watch = None;
            if actor.pipe.is_crowded() && actor.pipe.taken() == taken {
                actor.evict();
                ctx.stop();
            } else {
                actor.watch(ctx);
            }
        }));
    }

    fn evict(&mut self) {
        measure::stream_evicted();
        self.pipe
            .evict(CloseReason::NoResponse.code(), CloseReason::NoResponse.text().to_owned());
        self.closed = Some(CloseReason::NoResponse.code());
    }

    /// Hands the session the frames that wait in the pipe, as long as it can work on them.
    fn take_frames(&mut self, ctx: &mut Context<Self>) {
        while !self.session.is_busy()
            && let Some(frame) = self.pipe.take_in()
        {
            match frame {
                FromClient::Binary(bytes) => self.event(ctx, |session, now, out| session.on_audio(bytes, now, out)),
                FromClient::Text(text) => self.event(ctx, |session, now, out| session.on_text(&text, now, out)),
                // A client that has asked for the end may close its half of the connection; it still gets everything.
                FromClient::Gone(_) if self.session.is_ending() => {}
                FromClient::Gone(_) if self.relayed => self.event(ctx, |session, now, out| session.on_audio(Bytes::new(), now, out)),
                FromClient::Gone(code) => {
                    self.gone = code;
                    self.session.on_disconnect();
                    ctx.stop();
                    return;
                }
            }
        }
    }

    fn carry_out(&mut self, effect: Effect, ctx: &mut Context<Self>) {
        if self.closed.is_some() {
            return;
        }
        match effect {
            Effect::Send(message) => {
                if self.pipe.put_out(ToClient::Text(message.to_json())).is_err() {
                    self.evict();
                }
            }
            Effect::Submit { lane, chunk } => self.submit(lane, chunk, ctx),
            Effect::OpenLanes(count) => self.open_lanes(count, ctx),
            Effect::ObserveLatency { seconds } => {
                measure::responded(seconds);
                self.metrics.stream_latency(seconds);
            }
            Effect::Read(wanted) => self.reading = wanted,
            Effect::Close(reason) => {
                let (code, text) = (reason.code(), reason.text().to_owned());
                if self.pipe.put_out(ToClient::Close(code, text.clone())).is_err() {
                    self.pipe.evict(code, text);
                }
                self.closed = Some(code);
                self.failed |= reason == CloseReason::NoResponse;
            }
        }
    }

    fn submit(&mut self, lane: usize, chunk: PendingChunk, ctx: &mut Context<Self>) {
        let Some(guard) = self.lanes.get(lane) else {
            self.early.push((lane, chunk));
            return;
        };
        let PendingChunk {
            seq,
            samples,
            start,
            end,
            commit,
            terms,
            lm,
            arrived,
        } = chunk;
        if guard
            .push(Piece {
                seq,
                samples,
                start,
                end,
                commit,
                terms,
                lm,
                arrived,
            })
            .is_err()
        {
            self.fail(ctx);
        }
    }

    /// Takes slots for the lanes of a container whose channels are known only now, or gives back what it does not need.
    fn open_lanes(&mut self, count: usize, ctx: &mut Context<Self>) {
        self.lanes.truncate(count);
        let (scheduler, context, key) = (self.scheduler.clone(), self.context, self.key);
        let (results, open) = (self.results.clone(), self.lanes.len());
        let registering = async move {
            let mut guards = Vec::new();
            for lane in open..count {
                guards.push(register(&scheduler, context, key, lane, &results).await?);
            }
            Ok::<_, Refusal>(guards)
        };
        let opened = registering.into_actor(self).map(|guards, actor: &mut Self, ctx| match guards {
            Ok(guards) => {
                actor.lanes.extend(guards);
                for (lane, chunk) in std::mem::take(&mut actor.early) {
                    actor.submit(lane, chunk, ctx);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "no slot for a further channel");
                actor.fail(ctx);
            }
        });
        ctx.spawn(opened);
    }

    fn fail(&mut self, ctx: &mut Context<Self>) {
        ctx.notify(EngineFailed);
    }

    fn set_timer(&mut self, now: Instant, ctx: &mut Context<Self>) {
        if let Some(tick) = self.tick.take() {
            ctx.cancel_future(tick);
        }
        // What is held up may go on without a word of it.
        let again = self.pipe.holds_up().then(|| now + LOOK_AGAIN);
        if let Some(at) = self.session.next_tick().into_iter().chain(again).min() {
            let wait = at.saturating_duration_since(now);
            self.tick = Some(ctx.run_later(wait, |actor, ctx| {
                actor.set_gate(Instant::now());
                actor.event(ctx, |session, now, out| session.on_tick(now, out));
            }));
        }
    }
}

async fn register(
    scheduler: &Handle,
    context: usize,
    key: KeyId,
    lane: usize,
    results: &Sender<(usize, Completed)>,
) -> Result<StreamGuard, Refusal> {
    let results = results.clone();
    let sink = Arc::new(move |completed| results.try_send((lane, completed)).is_ok());
    scheduler.register(Class::Live, context, key, sink).await
}

/// The scheduler or engine cannot go on with this stream.
#[derive(Message)]
#[rtype(result = "()")]
struct EngineFailed;

impl Actor for StreamActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(incoming) = self.incoming.take() {
            ctx.add_stream(unfold(incoming, |mut incoming| async {
                incoming.recv().await.map(|result| (result, incoming))
            }));
        }
        self.set_timer(Instant::now(), ctx);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        let code = self.closed.or(self.gone).unwrap_or(ABNORMAL);
        if self.closed.is_none() {
            // The client is gone; its socket, which may be open on our side still, ends too.
            self.pipe.evict(CloseReason::Finished.code(), String::new());
            if let Some(door) = &self.door {
                door.try_send(MessagesWaiting).ok();
            }
        }
        // The slots go back before anybody can see that the stream is over.
        self.lanes.clear();
        measure::stream_closed(code);
        self.metrics.finished(Kind::Stream, if self.failed { 500 } else { 200 });
        if let Some(ended) = self.ended.take() {
            ended(!self.failed);
        }
    }
}

impl Handler<Connected> for StreamActor {
    type Result = ();

    fn handle(&mut self, Connected(door): Connected, ctx: &mut Self::Context) {
        self.door = Some(door);
        self.event(ctx, |_, _, _| ());
    }
}

impl Handler<FramesArrived> for StreamActor {
    type Result = ();

    fn handle(&mut self, _: FramesArrived, ctx: &mut Self::Context) {
        self.take_results(ctx);
    }
}

impl StreamHandler<(usize, Completed)> for StreamActor {
    fn handle(&mut self, result: (usize, Completed), ctx: &mut Self::Context) {
        self.held.push_back(result);
        self.take_results(ctx);
    }

    fn finished(&mut self, _: &mut Self::Context) {}
}

impl Handler<EngineFailed> for StreamActor {
    type Result = ();

    fn handle(&mut self, _: EngineFailed, ctx: &mut Self::Context) {
        self.failed = true;
        self.event(ctx, |session, _, out| session.on_engine_failed(out));
    }
}

impl Handler<ReceiverGone> for StreamActor {
    type Result = ();

    fn handle(&mut self, _: ReceiverGone, ctx: &mut Self::Context) {
        self.evict();
        ctx.stop();
    }
}

impl Handler<GoAway> for StreamActor {
    type Result = ();

    fn handle(&mut self, _: GoAway, ctx: &mut Self::Context) {
        self.event(ctx, |session, now, out| session.on_going_away(now, out));
    }
}
