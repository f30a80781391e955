//! What a session does with what waits: audio becomes chunks, the engine's answers become messages.
//!
//! What it does: decodes, cuts and submits as far as credits allow, flushes, works on control messages in their place among the audio, and
//! stops reading while too much waits. What it does not do: take events in, timeouts, the end. Who calls it: [`Session`], after every event.

use std::sync::Arc;
use std::time::Instant;

use super::{Effect, Flushing, Input, Session};
use crate::audio::AudioError;
use crate::error::CloseReason;
use crate::stream::lane::{Lane, LaneRules};
use crate::stream::results::ResultRules;
use crate::terms::Terms;
use crate::units::{Millis, SAMPLES_PER_FRAME, Samples};
use crate::wire::vocabulary;

/// Samples pulled while the number of lanes is unknown.
const FIRST_PULL: usize = 1_280;

impl Session {
    /// Does everything that can be done now, and sees to reading.
    pub(super) fn pump(&mut self, now: Instant, out: &mut Vec<Effect>) {
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
pub(super) enum NotNow {
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
