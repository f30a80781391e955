//! One recognised channel of a live stream: samples to chunks, chunks to results.
//!
//! What it does: marks speech and endpoints while it cuts chunks, keeps account of the chunks in flight, and hands what was
//! decoded to the [`Segment`] in order. What it does not do: pull audio, decide when to end. Who calls it: [`super::session`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::results::{Flush, Heard, ResultRules, Segment};
use super::session::PendingChunk;
use crate::audio::{Chunker, Vad, VadEvent};
use crate::engine::batch::{Decoded, Token};
use crate::terms::Terms;
use crate::text::endpoint::{Endpoint, Endpointer};
use crate::text::rewrite::Rewrite;
use crate::text::words::{Piece, Vocabulary};
use crate::units::Samples;
use crate::wire::results::ServerMessage;

/// The numbers of a lane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LaneRules {
    /// Right context of the model in frames.
    pub(crate) right: u32,
    /// Chunks that may be with the engine at once.
    pub(crate) credits: usize,
    /// Silence that ends a segment.
    pub(crate) endpointing: Option<Samples>,
    /// Report the beginning of speech.
    pub(crate) vad_events: bool,
    /// The language model that helps, by its place among those of the model.
    pub(crate) lm: Option<usize>,
}

/// A chunk from its cut to its result, or a flush for which the engine has nothing to do.
#[derive(Debug)]
struct Flight {
    /// `None`: nothing was submitted.
    seq: Option<u64>,
    /// Where the utterance of the chunk began.
    base: Samples,
    heard: Heard,
    /// How words are shown from here on.
    rewrite: Arc<Rewrite>,
    /// Beginnings of speech in the chunk, reported before its results.
    started: Vec<Samples>,
    arrived: Instant,
    submitted: Instant,
    decoded: Option<Decoded>,
}

/// One recognised channel.
#[derive(Debug)]
pub(crate) struct Lane {
    rules: LaneRules,
    channel: [usize; 2],
    chunker: Chunker,
    vad: Vad,
    endpointer: Endpointer,
    /// Samples that came with the last pull and belong to the next chunk.
    spare: VecDeque<f32>,
    events: Vec<VadEvent>,
    speaking_since: Option<Samples>,
    /// Speech began in the chunk being collected.
    began: bool,
    /// Endpoints in it, and beginnings of speech that are reported.
    endpoints: Vec<Endpoint>,
    started: Vec<Samples>,
    /// Where the utterance under way began.
    base: Samples,
    /// No chunk of the utterance under way was submitted yet.
    fresh: bool,
    /// What the next chunk is to favour.
    terms: Option<Arc<Terms>>,
    /// How words are shown from the next chunk on.
    rewrite: Arc<Rewrite>,
    next_seq: u64,
    flights: VecDeque<Flight>,
    segment: Segment,
}

impl Lane {
    pub(crate) fn new(rules: LaneRules, results: ResultRules, terms: Option<Arc<Terms>>) -> Self {
        Self {
            rules,
            channel: results.channel,
            chunker: Chunker::new(rules.right),
            vad: Vad::default(),
            endpointer: Endpointer::new(rules.endpointing),
            spare: VecDeque::new(),
            events: Vec::new(),
            speaking_since: None,
            began: false,
            endpoints: Vec::new(),
            started: Vec::new(),
            base: Samples(0),
            fresh: true,
            terms,
            rewrite: Arc::clone(&results.rewrite),
            next_seq: 0,
            flights: VecDeque::new(),
            segment: Segment::new(results),
        }
    }

    /// Favours other terms from the next chunk on.
    pub(crate) fn favour(&mut self, terms: Option<Arc<Terms>>) {
        self.terms = terms;
    }

    /// Shows words in another way from the next chunk on.
    pub(crate) fn show(&mut self, rewrite: &Arc<Rewrite>) {
        self.rewrite = Arc::clone(rewrite);
    }

    /// Takes samples. They are cut as credits allow, see [`Lane::cut`].
    pub(crate) fn push(&mut self, samples: &[f32]) {
        self.spare.extend(samples);
    }

    /// Samples that are missing for the next chunk; 0 if it cannot be submitted now.
    pub(crate) fn wanted(&self) -> usize {
        if !self.has_credit() {
            return 0;
        }
        self.chunker
            .next_len()
            .saturating_sub(self.chunker.held())
            .saturating_sub(self.spare.len())
    }

    /// True if every sample taken is in a chunk, or waits for more to fill one.
    pub(crate) fn is_drained(&self) -> bool {
        self.spare.is_empty()
    }

    /// True if nothing is with the engine.
    pub(crate) fn is_idle(&self) -> bool {
        self.flights.is_empty()
    }

    /// More answers are owed than the credits alone explain: flushes without audio wait among them.
    pub(crate) fn is_crowded(&self) -> bool {
        self.flights.len() > self.rules.credits.saturating_add(8)
    }

    /// When the chunk whose answer is awaited longest was submitted.
    pub(crate) fn waiting_since(&self) -> Option<Instant> {
        self.flights.front().map(|flight| flight.submitted)
    }

    /// End of the audio taken, in chunks or waiting to fill one.
    pub(crate) fn position(&self) -> Samples {
        self.chunker
            .position()
            .plus(Samples(self.chunker.held().try_into().unwrap_or(u64::MAX)))
    }

    /// Cuts the next chunk if there are samples and a credit for it. `arrived`: when its last byte came.
    pub(crate) fn cut(&mut self, arrived: Instant, now: Instant, out: &mut Vec<ServerMessage>) -> Option<PendingChunk> {
        if !self.has_credit() {
            return None;
        }
        let room = self.chunker.next_len().saturating_sub(self.chunker.held());
        let samples: Vec<f32> = self.spare.drain(..room.min(self.spare.len())).collect();
        self.vad.push(&samples, &mut self.events);
        self.chunker.push(&samples);
        self.judge();
        self.announce(out);
        let samples = self.chunker.next()?;
        self.endpoints.extend(self.endpointer.reach(self.chunker.position()));
        let chunk = self.chunk(samples, false, arrived);
        self.depart(Some(chunk.seq), None, arrived, now);
        self.fresh = false;
        Some(chunk)
    }

    /// Makes everything taken so far final: ends the utterance. `Err`: no credit for it now.
    pub(crate) fn flush(&mut self, from_finalize: bool, arrived: Instant, now: Instant) -> Result<Option<PendingChunk>, NoCredit> {
        let empty = self.chunker.held() == 0 && self.fresh;
        if !empty && !self.has_credit() {
            return Err(NoCredit);
        }
        let samples = self.chunker.flush();
        let settled = self.endpointer.settle();
        let flush = Flush {
            from_finalize,
            // A client that asks is told whether the speaker is silent; an end by itself is none of speech unless speech has ended.
            speech_final: if from_finalize { settled.in_silence } else { settled.ends_speech },
        };
        let chunk = (!empty).then(|| self.chunk(samples, true, arrived));
        self.depart(chunk.as_ref().map(|chunk| chunk.seq), Some(flush), arrived, now);
        self.chunker.restart();
        self.base = self.chunker.position();
        self.fresh = true;
        Ok(chunk)
    }

    /// Sends interim results half as often, or as often as usual.
    pub(crate) fn thin_interims(&mut self, thin: bool) {
        self.segment.thin_interims(thin);
    }

    /// The engine's answer to a chunk. Unknown numbers are ignored.
    pub(crate) fn decoded(&mut self, seq: u64, decoded: Decoded) {
        if let Some(flight) = self.flights.iter_mut().find(|flight| flight.seq == Some(seq)) {
            flight.decoded = Some(decoded);
        }
    }

    /// Turns the answers that are next in order into messages. Returns the arrival of the last audio of each chunk that led to
    /// a result.
    pub(crate) fn deliver(&mut self, vocabulary: &dyn Vocabulary, out: &mut Vec<ServerMessage>) -> Vec<Instant> {
        let mut answered = Vec::new();
        while let Some(flight) = self.flights.pop_front_if(|flight| flight.decoded.is_some()) {
            let decoded = flight.decoded.unwrap_or_default();
            out.extend(flight.started.iter().map(|at| self.speech_started(*at)));
            let place = |token: &Token| piece(token, flight.base);
            let (fixed, tail) = (decoded.fixed.iter().map(place), decoded.tail.iter().map(place));
            self.segment.show(&flight.rewrite);
            if self.segment.chunk(fixed, tail, &flight.heard, vocabulary, out) {
                answered.push(flight.arrived);
            }
        }
        self.announce(out);
        answered
    }

    fn has_credit(&self) -> bool {
        self.flights.iter().filter(|flight| flight.seq.is_some()).count() < self.rules.credits.max(1)
    }

    /// Applies the endpoint rule to what the speech detector found.
    fn judge(&mut self) {
        for event in self.events.drain(..) {
            match event {
                VadEvent::SpeechStart(at) => {
                    self.speaking_since = Some(at);
                    self.began = true;
                    let beginning = self.endpointer.speech_started(at);
                    self.endpoints.extend(beginning.endpoint);
                    if beginning.fresh && self.rules.vad_events {
                        self.started.push(at);
                    }
                }
                VadEvent::SpeechEnd(at) => {
                    self.speaking_since = None;
                    self.endpointer.speech_ended(at);
                }
            }
        }
    }

    /// Reports beginnings of speech at once if all results for the audio before have been sent; otherwise they wait for those.
    fn announce(&mut self, out: &mut Vec<ServerMessage>) {
        if self.flights.is_empty() {
            let started = std::mem::take(&mut self.started);
            out.extend(started.into_iter().map(|at| self.speech_started(at)));
        }
    }

    fn speech_started(&self, at: Samples) -> ServerMessage {
        ServerMessage::SpeechStarted {
            channel: self.channel,
            timestamp: at.into(),
        }
    }

    fn chunk(&mut self, samples: Vec<f32>, end: bool, arrived: Instant) -> PendingChunk {
        let seq = self.next_seq;
        self.next_seq += 1;
        PendingChunk {
            seq,
            samples,
            start: self.fresh,
            end,
            commit: end || !self.endpoints.is_empty(),
            terms: self.terms.clone(),
            lm: self.rules.lm,
            arrived,
        }
    }

    /// Enters what was cut into the account.
    fn depart(&mut self, seq: Option<u64>, flush: Option<Flush>, arrived: Instant, now: Instant) {
        let heard = Heard {
            end: self.chunker.position(),
            endpoints: std::mem::take(&mut self.endpoints),
            began: std::mem::take(&mut self.began),
            speaking_since: self.speaking_since,
            flush,
        };
        let decoded = if seq.is_none() { Some(Decoded::default()) } else { None };
        let started = std::mem::take(&mut self.started);
        self.flights.push_back(Flight {
            seq,
            base: self.base,
            heard,
            rewrite: Arc::clone(&self.rewrite),
            started,
            arrived,
            submitted: now,
            decoded,
        });
    }
}

/// As many chunks are with the engine as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoCredit;

/// A token at its place in the stream.
fn piece(token: &Token, base: Samples) -> Piece {
    let (start, end) = (base.plus(token.start.samples()), base.plus(token.end.samples()));
    Piece {
        id: token.id,
        start,
        end: end.max(start),
        confidence: token.confidence,
    }
}
