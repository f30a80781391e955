//! One live connection as a state machine: events in, effects out.
//!
//! What it does: everything that the protocol rules: the order of audio and control messages, chunks within the engine's
//! credits, results, timeouts, and the way a stream ends. What it does not do: sockets, timers, actors, clocks; each event
//! brings its time. Who calls it: [`super::actor`], the command line, simulations.
//!
//! Nothing accepted is dropped: bytes wait undecoded until the engine has taken what came before, and when too many wait, the
//! session asks not to be given more. All results but the timeouts, the place of a `Finalize` and, near the
//! engine's capacity, the number of interim results follow from the audio alone.

mod types;
mod work;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

pub use self::types::{Effect, LiveRules, PendingChunk, StreamInfo};
use super::lane::Lane;
use crate::audio::{AudioError, AudioSpec, Intake};
use crate::engine::batch::Decoded;
use crate::error::CloseReason;
use crate::terms::Terms;
use crate::text::rewrite::Rewrite;
use crate::text::words::Vocabulary;
use crate::wire::control::{ClientMessage, SchemaError};
use crate::wire::query::ListenOptions;
use crate::wire::results::{Metadata, ResultsMetadata, ServerMessage};
use crate::wire::vocabulary;

/// What a queued message costs besides its bytes; also bounds the number of control messages that wait.
const MESSAGE_COST: usize = 64;
/// Arrivals closer than this count as one.
const ARRIVAL_STEP: Duration = Duration::from_millis(1);

/// What waits to be worked on, in order.
#[derive(Debug)]
enum Input {
    Audio(Bytes, Instant),
    Finalize(Option<usize>, Instant),
    Keyterms(Vec<String>),
    Numerals(bool),
    Close(Instant),
}

/// Lanes that are yet to be flushed.
#[derive(Debug)]
struct Flushing {
    lanes: VecDeque<usize>,
    from_finalize: bool,
    arrived: Instant,
}

/// One live connection.
pub struct Session {
    options: ListenOptions,
    info: StreamInfo,
    rules: LiveRules,
    metadata: Arc<ResultsMetadata>,
    rewrite: Arc<Rewrite>,
    vocabulary: Arc<dyn Vocabulary + Send + Sync>,
    /// What the engine is to favour.
    terms: Option<Arc<Terms>>,
    intake: Intake,
    lanes: Vec<Lane>,
    inbox: VecDeque<Input>,
    inbox_bytes: usize,
    flushing: Option<Flushing>,
    /// The client has sent its last byte, at that time; what is left of the audio comes before the flush.
    closing: Option<Instant>,
    /// Bytes given to the intake so far, and up to which of them had arrived when.
    pushed: u64,
    arrivals: VecDeque<(u64, Instant)>,
    opened: Instant,
    last_frame: Instant,
    heard_audio: bool,
    reading: bool,
    gate_open: bool,
    /// The stream ends with this once everything is flushed; the client is not listened to any more.
    ending: Option<CloseReason>,
    ended: bool,
}

impl Session {
    /// A session for audio as `spec` describes it; fails if that is impossible.
    pub fn new(
        options: ListenOptions,
        spec: AudioSpec,
        info: StreamInfo,
        rules: LiveRules,
        vocabulary: Arc<dyn Vocabulary + Send + Sync>,
        now: Instant,
    ) -> Result<Self, AudioError> {
        let metadata = Arc::new(ResultsMetadata {
            request_id: info.request_id,
            model_info: info.model.info.clone(),
            model_uuid: info.model.uuid,
            extra: options.extra.clone(),
        });
        let rewrite = Arc::new(Rewrite::new(&options.changes, options.punctuate));
        let terms = if info.favours { Terms::new(options.terms()) } else { None };
        Ok(Self {
            options,
            info,
            rules,
            metadata,
            rewrite,
            vocabulary,
            terms: terms.map(Arc::new),
            intake: Intake::new(spec)?,
            lanes: Vec::new(),
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            flushing: None,
            closing: None,
            pushed: 0,
            arrivals: VecDeque::new(),
            opened: now,
            last_frame: now,
            heard_audio: false,
            reading: true,
            gate_open: true,
            ending: None,
            ended: false,
        })
    }

    /// Bytes received and not decoded yet.
    pub fn undecoded_bytes(&self) -> usize {
        self.intake.buffered_bytes() + self.inbox_bytes
    }

    /// True after [`Effect::Close`] or a disconnect: nothing follows.
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// A binary message. An empty one asks for the end.
    pub fn on_audio(&mut self, bytes: Bytes, now: Instant, out: &mut Vec<Effect>) {
        if !self.listens(now) {
            return;
        }
        if bytes.is_empty() {
            self.end(CloseReason::Finished, now, out);
            return;
        }
        self.heard_audio = true;
        self.put(Input::Audio(bytes, now));
        self.pump(now, out);
    }

    /// A text message.
    pub fn on_text(&mut self, text: &str, now: Instant, out: &mut Vec<Effect>) {
        if !self.listens(now) {
            return;
        }
        match ClientMessage::parse(text) {
            Ok(ClientMessage::KeepAlive) => {}
            Ok(ClientMessage::Configure { keyterms, numerals }) => self.configure(keyterms, numerals, now, out),
            Ok(ClientMessage::Finalize { channel: Some(channel) }) if self.intake.lanes().is_some_and(|lanes| channel >= lanes) => {
                let error = SchemaError::new(format!("The stream has no channel {channel}."), text);
                out.push(Effect::Send(ServerMessage::schema_error(error)));
            }
            Ok(ClientMessage::Finalize { channel }) => {
                if self.heard_audio {
                    self.put(Input::Finalize(channel, now));
                    self.pump(now, out);
                }
            }
            Ok(ClientMessage::CloseStream) => self.end(CloseReason::Finished, now, out),
            Err(error) => out.push(Effect::Send(ServerMessage::schema_error(error))),
        }
    }

    /// The engine's answer to a chunk, which gives its credit back.
    pub fn on_decoded(&mut self, lane: usize, seq: u64, decoded: Decoded, now: Instant, out: &mut Vec<Effect>) {
        if self.ended {
            return;
        }
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.decoded(seq, decoded);
        }
        self.pump(now, out);
    }

    /// The engine is near its capacity, or is not any more: interim results come half as often meanwhile.
    pub fn on_load(&mut self, high: bool) {
        self.lanes.iter_mut().for_each(|lane| lane.thin_interims(high));
    }

    /// The engine will not answer any more.
    pub fn on_engine_failed(&mut self, out: &mut Vec<Effect>) {
        self.finish(CloseReason::NoResponse, out);
    }

    /// The connection is gone; nothing can be sent.
    pub fn on_disconnect(&mut self) {
        self.ended = true;
    }

    /// The server stops, and the time for draining is over: what was said so far is still answered.
    pub fn on_going_away(&mut self, now: Instant, out: &mut Vec<Effect>) {
        if !self.ended && self.ending.is_none() {
            self.end(CloseReason::GoingAway, now, out);
        }
    }

    /// True if what the client sends next would only wait here.
    pub fn is_busy(&self) -> bool {
        !self.inbox.is_empty() || self.lanes.iter().any(Lane::is_crowded)
    }

    /// True once the stream is being flushed to be closed.
    pub fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// Reading was stopped or begun again for another reason than [`Effect::Read`]; meanwhile the client cannot be idle.
    pub fn on_gate(&mut self, open: bool, now: Instant) {
        if open && !self.gate_open {
            self.last_frame = now;
        }
        self.gate_open = open;
    }

    /// Time has passed; call it at [`Session::next_tick`] or later.
    pub fn on_tick(&mut self, now: Instant, out: &mut Vec<Effect>) {
        if self.ended {
            return;
        }
        if self.response_due().is_some_and(|due| due <= now) {
            self.finish(CloseReason::NoResponse, out);
        } else if self.no_audio_due().is_some_and(|due| due <= now) {
            self.finish(CloseReason::NoAudio, out);
        } else if self.idle_due().is_some_and(|due| due <= now) {
            self.end(CloseReason::Idle, now, out);
        }
    }

    /// When something happens by the passing of time alone.
    pub fn next_tick(&self) -> Option<Instant> {
        if self.ended {
            return None;
        }
        [self.response_due(), self.no_audio_due(), self.idle_due()]
            .into_iter()
            .flatten()
            .min()
    }

    fn response_due(&self) -> Option<Instant> {
        self.lanes
            .iter()
            .filter_map(Lane::waiting_since)
            .min()
            .map(|since| since + self.rules.response)
    }

    fn no_audio_due(&self) -> Option<Instant> {
        (!self.heard_audio && self.ending.is_none()).then(|| self.opened + self.rules.no_audio)
    }

    fn idle_due(&self) -> Option<Instant> {
        (self.reading && self.gate_open && self.ending.is_none()).then(|| self.last_frame + self.rules.idle)
    }

    /// Notes that a frame came. False if the client is not listened to any more.
    fn listens(&mut self, now: Instant) -> bool {
        self.last_frame = now;
        !self.ended && self.ending.is_none()
    }

    /// Favours other terms and writes numbers in another way, from the chunk on that the next byte belongs to. Terms are answered; if they are
    /// refused, nothing changes.
    fn configure(&mut self, keyterms: Option<Vec<String>>, numerals: Option<bool>, now: Instant, out: &mut Vec<Effect>) {
        let request_id = self.info.request_id;
        if let Some(keyterms) = keyterms {
            if !self.info.favours || !vocabulary::takes_keyterms(self.options.model.as_deref()) {
                out.push(Effect::Send(ServerMessage::keyterms_not_supported(request_id)));
                return;
            }
            if vocabulary::check_keyterms(&keyterms).is_err() {
                out.push(Effect::Send(ServerMessage::keyterm_limit_exceeded(request_id)));
                return;
            }
            self.put(Input::Keyterms(keyterms.clone()));
            out.push(Effect::Send(ServerMessage::ConfigureSuccess { request_id, keyterms }));
        }
        if let Some(numerals) = numerals.filter(|_| self.info.english) {
            self.put(Input::Numerals(numerals));
        }
        self.pump(now, out);
    }

    /// Flushes everything, then ends.
    fn end(&mut self, reason: CloseReason, now: Instant, out: &mut Vec<Effect>) {
        self.ending = Some(reason);
        self.put(Input::Close(now));
        self.pump(now, out);
    }

    /// Ends at once.
    fn finish(&mut self, reason: CloseReason, out: &mut Vec<Effect>) {
        if self.ended {
            return;
        }
        self.ended = true;
        let duration = self.lanes.iter().map(Lane::position).max().unwrap_or_default();
        let model = (self.heard_audio && !self.lanes.is_empty()).then_some(&self.info.model);
        let channels = self.lanes.len().max(self.intake.lanes().unwrap_or(1));
        let metadata = Metadata::new(self.info.request_id, self.info.created.clone(), duration, channels, model);
        out.push(Effect::Send(ServerMessage::Metadata(metadata)));
        out.push(Effect::Close(reason));
    }

    /// Puts an input behind those that wait.
    fn put(&mut self, input: Input) {
        match input {
            // Saves the detour in the usual case; the intake copies short messages together.
            Input::Audio(bytes, at) if self.inbox.is_empty() && self.flushing.is_none() => self.take(bytes, at),
            input => {
                self.inbox_bytes += input.cost();
                self.inbox.push_back(input);
            }
        }
    }

    /// Gives bytes to the intake.
    fn take(&mut self, bytes: Bytes, at: Instant) {
        let before = self.intake.buffered_bytes();
        self.intake.push(bytes);
        // What the intake counts, since what it still holds is taken off again.
        let cost = self.intake.buffered_bytes().saturating_sub(before);
        if cost == 0 {
            // Dropped, as what stands behind the end of a file is: there is nothing to be late with.
            return;
        }
        self.pushed = self.pushed.saturating_add(cost.try_into().unwrap_or(u64::MAX));
        match self.arrivals.back_mut() {
            Some((end, last)) if at.saturating_duration_since(*last) < ARRIVAL_STEP => *end = self.pushed,
            _ => self.arrivals.push_back((self.pushed, at)),
        }
    }

    /// When the last byte decoded so far had arrived.
    fn arrived(&mut self, now: Instant) -> Instant {
        let decoded = self
            .pushed
            .saturating_sub(self.intake.buffered_bytes().try_into().unwrap_or(u64::MAX));
        while self.arrivals.len() > 1 && self.arrivals.front().is_some_and(|(end, _)| *end < decoded) {
            self.arrivals.pop_front();
        }
        self.arrivals.front().map_or(now, |(_, at)| *at)
    }
}

impl Input {
    fn cost(&self) -> usize {
        match self {
            Input::Audio(bytes, _) => bytes.len() + MESSAGE_COST,
            Input::Keyterms(terms) => terms.iter().map(|term| term.len() + MESSAGE_COST).sum::<usize>() + MESSAGE_COST,
            Input::Finalize(..) | Input::Numerals(_) | Input::Close(_) => MESSAGE_COST,
        }
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic
)]
mod tests;
