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

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

pub use self::types::{Effect, LiveRules, PendingChunk, StreamInfo};
use super::lane::{Lane, LaneRules};
use super::results::ResultRules;
use crate::audio::{AudioError, AudioSpec, Intake};
use crate::engine::batch::Decoded;
use crate::error::CloseReason;
use crate::terms::Terms;
use crate::text::rewrite::Rewrite;
use crate::text::words::Vocabulary;
use crate::units::{Millis, SAMPLES_PER_FRAME, Samples};
use crate::wire::control::{ClientMessage, SchemaError};
use crate::wire::query::ListenOptions;
use crate::wire::results::{Metadata, ResultsMetadata, ServerMessage};
use crate::wire::vocabulary;

/// What a queued message costs besides its bytes; also bounds the number of control messages that wait.
const MESSAGE_COST: usize = 64;
/// Samples pulled while the number of lanes is unknown.
const FIRST_PULL: usize = 1_280;
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

    /// Does everything that can be done now, and sees to reading.
    fn pump(&mut self, now: Instant, out: &mut Vec<Effect>) {
        loop {
            // Answers first: they give the credits back.
            self.deliver(now, out);
            self.cut(now, out);
            if !self.lanes.iter().all(Lane::is_drained) || !self.flush(now, out) {
                break;
            }
            match self.pull(out) {
                Ok(0) => {}
                Ok(_) => continue,
                Err(NotNow::NoCredit) => break,
                Err(NotNow::Undecodable) => self.fail(now),
                Err(NotNow::Fault) => {
                    self.finish(CloseReason::NoResponse, out);
                    return;
                }
            }
            if let Some(arrived) = self.closing.take() {
                self.flushing = Some(Flushing {
                    lanes: (0..self.lanes.len()).collect(),
                    from_finalize: false,
                    arrived,
                });
                continue;
            }
            let Some(input) = self.inbox.pop_front() else { break };
            self.inbox_bytes = self.inbox_bytes.saturating_sub(input.cost());
            self.work(input, now, out);
        }
        let worked = self.inbox.is_empty() && self.flushing.is_none() && self.closing.is_none();
        let flushed = worked && self.lanes.iter().all(|lane| lane.is_drained() && lane.is_idle());
        if let Some(reason) = self.ending.filter(|_| flushed) {
            self.finish(reason, out);
        }
        self.regulate(now, out);
    }

    /// Works on the next input. The audio before it has been taken by the lanes.
    fn work(&mut self, input: Input, now: Instant, out: &mut Vec<Effect>) {
        match input {
            Input::Audio(bytes, at) => self.take(bytes, at),
            Input::Finalize(None | Some(0), arrived) if self.lanes.is_empty() => self.answer_nothing(arrived, now, out),
            Input::Finalize(channel, arrived) => {
                let wanted = |lane: &usize| channel.is_none_or(|channel| channel == *lane);
                let lanes = (0..self.lanes.len()).filter(wanted).collect();
                self.flushing = Some(Flushing {
                    lanes,
                    from_finalize: true,
                    arrived,
                });
            }
            Input::Keyterms(keyterms) => {
                let keyterms = keyterms.iter().map(|term| (term.as_str(), vocabulary::USUAL_WEIGHT));
                self.terms = Terms::new(keyterms).map(Arc::new);
                self.lanes.iter_mut().for_each(|lane| lane.favour(self.terms.clone()));
            }
            Input::Numerals(numerals) => {
                self.rewrite = Arc::new(self.rewrite.with_numerals(numerals));
                self.lanes.iter_mut().for_each(|lane| lane.show(&self.rewrite));
            }
            Input::Close(arrived) => {
                if self.heard_audio {
                    self.intake.close();
                }
                self.closing = Some(arrived);
            }
        }
    }

    /// Answers a `Finalize` for audio of which nothing could be decoded yet, as a container whose head has not come as a whole.
    fn answer_nothing(&self, arrived: Instant, now: Instant, out: &mut Vec<Effect>) {
        let mut lane = self.lane([0, 1]);
        let mut messages = Vec::new();
        // A fresh lane has nothing for the engine.
        if lane.flush(true, arrived, now).is_ok() {
            lane.deliver(self.vocabulary.as_ref(), &mut messages);
        }
        out.extend(messages.into_iter().map(Effect::Send));
    }

    /// The audio cannot be decoded: the stream ends after what could be.
    fn fail(&mut self, now: Instant) {
        let closes = self.ending.replace(CloseReason::Undecodable).is_some();
        self.heard_audio = !self.lanes.is_empty();
        if !closes {
            self.inbox.clear();
            self.inbox_bytes = 0;
            self.put(Input::Close(now));
        }
    }

    /// Pulls samples for the next chunk. 0: the bytes given so far are used up.
    fn pull(&mut self, out: &mut Vec<Effect>) -> Result<usize, NotNow> {
        let wanted = self.lanes.iter().map(Lane::wanted).min().unwrap_or(FIRST_PULL);
        if wanted == 0 {
            return Err(NotNow::NoCredit);
        }
        let mut samples = Vec::new();
        let pulled = self.intake.pull(wanted, &mut samples);
        self.spread(&samples, out);
        pulled.map_err(NotNow::from)
    }

    /// Gives samples to the lanes, which are made when their number is known.
    fn spread(&mut self, samples: &[Vec<f32>], out: &mut Vec<Effect>) {
        if self.lanes.is_empty()
            && self.heard_audio
            && let Some(lanes) = self.intake.lanes().filter(|lanes| *lanes > 0)
        {
            self.lanes = (0..lanes).map(|index| self.lane([index, lanes])).collect();
            out.push(Effect::OpenLanes(lanes));
        }
        for (lane, samples) in self.lanes.iter_mut().zip(samples) {
            lane.push(samples);
        }
    }

    fn lane(&self, channel: [usize; 2]) -> Lane {
        let rules = LaneRules {
            right: self.rules.right,
            credits: self.rules.credits,
            endpointing: self.options.endpointing.map(Millis::samples),
            vad_events: self.options.vad_events,
            lm: self.info.lm,
        };
        let results = ResultRules {
            interim: self.options.interim_results,
            interim_step: self.rules.interim_step.samples(),
            soft: self.rules.soft_final.samples(),
            hard: self.rules.hard_final.samples(),
            chunk: Samples(SAMPLES_PER_FRAME.saturating_mul(u64::from(self.rules.right) + 1)),
            utterance_end: self.options.utterance_end.map(Millis::samples),
            rewrite: Arc::clone(&self.rewrite),
            hold: self.info.english && !self.options.no_delay && self.options.changes.has_entities(),
            channel,
            language_hint: self.options.language_hint.clone(),
            metadata: Arc::clone(&self.metadata),
        };
        Lane::new(rules, results, self.terms.clone())
    }

    /// Cuts and submits the chunks that there are samples and credits for.
    fn cut(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let arrived = self.arrived(now);
        let mut messages = Vec::new();
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            while let Some(chunk) = lane.cut(arrived, now, &mut messages) {
                out.push(Effect::Submit { lane: index, chunk });
            }
        }
        out.extend(messages.into_iter().map(Effect::Send));
    }

    /// Sends what became known.
    fn deliver(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let mut messages = Vec::new();
        for lane in &mut self.lanes {
            let answered = lane.deliver(self.vocabulary.as_ref(), &mut messages);
            out.extend(messages.drain(..).map(Effect::Send));
            let latency = |arrived| Effect::ObserveLatency {
                seconds: now.saturating_duration_since(arrived).as_secs_f64(),
            };
            out.extend(answered.into_iter().map(latency));
        }
    }

    /// Goes on with a flush. True if none is under way any more.
    fn flush(&mut self, now: Instant, out: &mut Vec<Effect>) -> bool {
        let Some(flushing) = &mut self.flushing else { return true };
        while let Some(index) = flushing.lanes.front().copied() {
            let Some(lane) = self.lanes.get_mut(index) else { break };
            match lane.flush(flushing.from_finalize, flushing.arrived, now) {
                Ok(chunk) => out.extend(chunk.map(|chunk| Effect::Submit { lane: index, chunk })),
                Err(_) => return false,
            }
            flushing.lanes.pop_front();
        }
        self.flushing = None;
        self.deliver(now, out);
        true
    }

    /// Stops reading while too much waits, and begins again.
    fn regulate(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let waiting = self.undecoded_bytes();
        let limit = if self.reading {
            self.rules.undecoded_bytes
        } else {
            self.rules.undecoded_bytes / 2
        };
        let reading = waiting <= limit || self.ending.is_some();
        if reading != self.reading && !self.ended {
            self.reading = reading;
            self.last_frame = now;
            out.push(Effect::Read(reading));
        }
    }
}

/// Why no samples were pulled.
#[derive(Debug)]
enum NotNow {
    NoCredit,
    Undecodable,
    /// Nothing is wrong with the audio: this machine could not decode it.
    Fault,
}

impl From<AudioError> for NotNow {
    fn from(error: AudioError) -> Self {
        match error {
            AudioError::Unavailable { .. } | AudioError::Resampler { .. } => NotNow::Fault,
            _ => NotNow::Undecodable,
        }
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
