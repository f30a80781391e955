//! Decoding: encoder rows to tokens with times and confidences, for any number of streams at once.
//!
//! What it does: the language prompt ([`prompt`]), CTC greedy ([`ctc`]) and beam search with a language model ([`beam`] and
//! its parts [`tree`], [`words`], [`align`]), RNN-T and TDT greedy ([`transducer`]), the bonus of a stream's terms ([`favour`]),
//! confidences ([`confidence`]), the removal of end-of-utterance tokens. What it does not do: the encoder, words and text. Who calls it: the engine, once for each step.
//!
//! The result for a stream depends on its frames and on where it was committed: not on how the frames were cut into calls,
//! nor on the streams beside it, to the bit.

mod align;
pub mod beam;
pub mod confidence;
mod ctc;
mod favour;
mod prompt;
#[cfg(test)]
mod tests;
mod transducer;
mod tree;
mod words;

use std::sync::Arc;

use rayon::prelude::*;
use thiserror::Error;

use self::beam::{Beam, BeamOptions, BeamState};
use self::confidence::Confidence;
use self::ctc::{CtcHead, Greedy};
use self::favour::{Favour, Spelled};
use self::prompt::PromptKernel;
pub use self::prompt::PromptTensors;
pub use self::transducer::{Emission, TransducerTensors};
use self::transducer::{Lane, Transducer, TransducerState};
use super::arch::Architecture;
use super::lm::NgramModel;
use super::weights::{Weights, WeightsError};
use crate::engine::batch::{Decoded, Token};
use crate::terms::{Place, Terms};
use crate::units::Frames;

/// Pieces by which a model itself marks the end of an utterance (`<EOB>`: of a back-channel word).
const UTTERANCE_ENDS: [&str; 2] = ["<EOU>", "<EOB>"];

/// A decoder could not be built or told to do something.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// A tensor is missing or has another shape.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The strategy needs a head that the checkpoint lacks.
    #[error("the checkpoint has no {0} head")]
    MissingHead(&'static str),
    /// The vocabulary has another size than the architecture says.
    #[error("{found} vocabulary pieces where the architecture says {wanted}")]
    Pieces {
        /// Pieces given.
        found: usize,
        /// Vocabulary size of the architecture.
        wanted: usize,
    },
    /// A size of the architecture is zero.
    #[error("a width of the decoder is zero")]
    ZeroWidth,
    /// A beam setting is out of range.
    #[error("{0}")]
    Option(&'static str),
    /// A locale of the prompt dictionary points beyond the slots.
    #[error("the prompt slot of locale {0} does not exist")]
    PromptSlot(String),
    /// The checkpoint's prompt does not know the locale.
    #[error("the model has no prompt for locale {0}")]
    UnknownLocale(String),
}

/// Which head is read, and how.
#[derive(Clone, Debug)]
pub enum Strategy {
    /// CTC head, best token of each frame.
    Ctc,
    /// CTC head, beam search, with a language model if given.
    CtcBeam(BeamOptions, Option<Arc<NgramModel>>),
    /// RNN-T or TDT head, greedy.
    Transducer,
}

/// Turns encoder rows into tokens: shared by all streams of a model, immutable.
pub struct Decoder {
    width: usize,
    prompt: Option<PromptKernel>,
    ctc: Option<CtcHead>,
    transducer: Option<Transducer>,
    search: Search,
    spelled: Spelled,
    confidence: Confidence,
    /// For each vocabulary id: true if it marks the end of an utterance.
    markers: Vec<bool>,
}

enum Search {
    Ctc,
    Beam(Beam),
    Transducer,
}

/// Where decoding of one stream stands. Bounded: a few vectors, for the beam search at most its tail.
pub struct DecodeState {
    frames: u32,
    prompt: Option<usize>,
    terms: Option<Arc<Terms>>,
    search: SearchState,
}

enum SearchState {
    Ctc(Greedy),
    Beam { now: Box<BeamState>, start: Box<BeamState> },
    Transducer(TransducerState),
}

/// One stream's part of a call of [`Decoder::advance`].
pub struct DecodeInput<'a> {
    /// The stream's state, made by the same decoder.
    pub state: &'a mut DecodeState,
    /// New encoder frames, `[n, D]`; may be empty.
    pub rows: &'a [f32],
    /// Fix everything after these frames; the utterance goes on.
    pub commit: bool,
    /// The utterance ends with these frames.
    pub end: bool,
    /// Terms that are favoured from these frames on. Without effect on [`Heard::Best`] and [`Heard::Emitted`].
    pub terms: Option<&'a Arc<Terms>>,
    /// Receives the result; what it held is replaced.
    pub decoded: &'a mut Decoded,
}

/// What a device made of one stream's frames, for [`Decoder::settle`].
#[derive(Clone, Debug)]
pub enum Heard<'a> {
    /// ln probabilities, `stride` values a frame of which the first `V + 1` count.
    LogProbs {
        /// `[n, stride]`.
        rows: &'a [f32],
        /// Values from one frame to the next.
        stride: usize,
    },
    /// Best token of each frame and its probability.
    Best(Vec<(u32, f32)>),
    /// What a transducer emitted.
    Emitted {
        /// Frames that it went through.
        frames: u32,
        /// Its tokens, frames counted from the first of these.
        emissions: Vec<Emission>,
    },
}

/// What a search reads of a frame: the kind of [`Heard`] that it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// The whole distribution.
    LogProbs,
    /// The best token.
    Best,
    /// The transducer's tokens.
    Emitted,
}

/// The plain outputs of both heads over one piece of audio, for comparison with other implementations.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlainOutputs {
    /// ln probabilities `[T', V + 1]`, if there is a CTC head.
    pub ctc_log_probs: Vec<f32>,
    /// Greedy CTC tokens.
    pub ctc_ids: Vec<u32>,
    /// First frame of each CTC token's run.
    pub ctc_frames: Vec<u32>,
    /// Greedy transducer tokens, end-of-utterance tokens included.
    pub rnnt_ids: Vec<u32>,
    /// Frame at which each was emitted.
    pub rnnt_frames: Vec<u32>,
    /// TDT durations as predicted; empty for RNN-T.
    pub tdt_durations: Vec<u32>,
    /// For each transducer token, and for what follows the last, the least lead of a best score over the next in the joint steps
    /// since the token before: how much another implementation may differ before it decides otherwise.
    pub rnnt_margins: Vec<f32>,
}

impl Decoder {
    /// Builds the heads that the checkpoint has.
    ///
    /// # Errors
    /// A tensor is missing or has another shape, the strategy's head does not exist, an option is out of range.
    pub fn new(arch: &Architecture, weights: &Weights, pieces: &[String], strategy: Strategy) -> Result<Self, DecodeError> {
        if pieces.len() != arch.vocabulary {
            return Err(DecodeError::Pieces {
                found: pieces.len(),
                wanted: arch.vocabulary,
            });
        }
        let inner = arch
            .transducer
            .as_ref()
            .map_or(1, |sizes| sizes.prediction_width * sizes.joint_width);
        if arch.encoder.width == 0 || inner == 0 || arch.vocabulary == 0 {
            return Err(DecodeError::ZeroWidth);
        }
        let search = match strategy {
            Strategy::Ctc => Search::Ctc,
            Strategy::Transducer => Search::Transducer,
            Strategy::CtcBeam(options, lm) => match options.fault() {
                Some(fault) => return Err(DecodeError::Option(fault)),
                None => Search::Beam(Beam::new(options, lm, pieces)),
            },
        };
        match search {
            Search::Transducer if arch.transducer.is_none() => return Err(DecodeError::MissingHead("transducer")),
            Search::Ctc | Search::Beam(_) if !arch.ctc => return Err(DecodeError::MissingHead("CTC")),
            _ => {}
        }
        Ok(Decoder {
            width: arch.encoder.width,
            prompt: PromptKernel::new(arch, weights)?,
            ctc: if arch.ctc { Some(CtcHead::new(arch, weights)?) } else { None },
            transducer: Transducer::new(arch, weights)?,
            search,
            spelled: Spelled::new(pieces),
            confidence: Confidence::default(),
            markers: pieces.iter().map(|piece| UTTERANCE_ENDS.contains(&piece.as_str())).collect(),
        })
    }

    /// The same decoder with another measure of confidence.
    pub fn with_confidence(self, confidence: Confidence) -> Self {
        Decoder { confidence, ..self }
    }

    /// A state at the start of an utterance, with the model's default locale.
    pub fn new_state(&self) -> DecodeState {
        let search = match &self.search {
            Search::Ctc => SearchState::Ctc(Greedy::default()),
            Search::Transducer => SearchState::Transducer(TransducerState::default()),
            Search::Beam(beam) => SearchState::Beam {
                now: Box::new(beam.new_state()),
                start: Box::new(beam.new_state()),
            },
        };
        DecodeState {
            frames: 0,
            prompt: self.prompt.as_ref().and_then(|prompt| prompt.default),
            terms: None,
            search,
        }
    }

    /// Chooses the language prompt of a stream from its next frame on; `None` returns to the model's default. Kept by
    /// [`DecodeState::reset`]. Checkpoints without a prompt accept every locale and ignore it.
    ///
    /// # Errors
    /// The checkpoint has a prompt that does not know the locale; the state is unchanged.
    pub fn set_locale(&self, state: &mut DecodeState, locale: Option<&str>) -> Result<(), DecodeError> {
        state.prompt = self.slot(locale)?;
        Ok(())
    }

    fn slot(&self, locale: Option<&str>) -> Result<Option<usize>, DecodeError> {
        match (&self.prompt, locale) {
            (Some(prompt), Some(locale)) => prompt.slot(locale).map(Some),
            (Some(prompt), None) => Ok(prompt.default),
            (None, _) => Ok(None),
        }
    }

    /// Decodes the next frames of some streams, each at most once in `work`.
    pub fn advance(&self, work: &mut [DecodeInput<'_>]) {
        let rows = self.gather(work);
        for input in work.iter_mut() {
            *input.decoded = Decoded::default();
            self.take_up(input);
        }
        match &self.search {
            Search::Transducer => self.advance_transducer(work, &rows),
            Search::Ctc | Search::Beam(_) => self.advance_ctc(work, &rows),
        }
        for input in work.iter_mut() {
            input.decoded.frames = Frames(input.state.frames);
        }
    }

    /// Makes the input's terms those of the stream.
    fn take_up(&self, input: &mut DecodeInput<'_>) {
        let state = &mut *input.state;
        let same = match (&state.terms, input.terms) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new),
            (old, new) => old.is_none() && new.is_none(),
        };
        if same {
            return;
        }
        state.terms = input.terms.cloned();
        match (&mut state.search, &self.search) {
            (SearchState::Ctc(greedy), _) => greedy.place = Place::default(),
            (SearchState::Transducer(transducer), _) => transducer.place = Place::default(),
            (SearchState::Beam { now, .. }, Search::Beam(beam)) => beam.leave_terms(now),
            (SearchState::Beam { .. }, _) => {}
        }
    }

    /// A stream's terms over the model's pieces.
    fn favour<'a>(&'a self, terms: Option<&'a Arc<Terms>>) -> Option<Favour<'a>> {
        let spelled = &self.spelled;
        terms.map(|terms| Favour { terms, spelled })
    }

    /// All rows one stream after the other, prompts applied.
    fn gather(&self, work: &[DecodeInput<'_>]) -> Vec<f32> {
        let whole = |input: &DecodeInput<'_>| self.count(input) * self.width;
        let mut rows: Vec<f32> = work
            .iter()
            .flat_map(|input| input.rows.iter().take(whole(input)))
            .copied()
            .collect();
        if let Some(prompt) = &self.prompt {
            let slots: Vec<Option<usize>> = work
                .iter()
                .flat_map(|input| std::iter::repeat_n(input.state.prompt, self.count(input)))
                .collect();
            prompt.apply(&mut rows, &slots);
        }
        rows
    }

    fn count(&self, input: &DecodeInput<'_>) -> usize {
        input.rows.len() / self.width
    }

    /// Decodes one stream's next frames where a device has run the heads: `heard` is what it made of them, the input's rows do not
    /// count. Confidences of [`Heard::Best`] and [`Heard::Emitted`] are greatest probabilities.
    pub fn settle(&self, input: &mut DecodeInput<'_>, heard: Heard<'_>) {
        *input.decoded = Decoded::default();
        self.take_up(input);
        match heard {
            Heard::LogProbs { rows, stride } => {
                let outputs = self.markers.len() + 1;
                let rows = rows.chunks_exact(stride.max(1)).filter_map(|row| row.get(..outputs));
                self.search_ctc(input, rows);
            }
            Heard::Best(best) => self.settle_best(input, &best),
            Heard::Emitted { frames, emissions } => {
                for emission in emissions {
                    let confidence = self.scaled(emission.confidence);
                    self.fix(token(&Emission { confidence, ..emission }, input.state.frames), input.decoded);
                }
                input.state.frames = input.state.frames.saturating_add(frames);
            }
        }
        input.decoded.frames = Frames(input.state.frames);
    }

    /// The greedy search over frames whose best tokens are known.
    fn settle_best(&self, input: &mut DecodeInput<'_>, best: &[(u32, f32)]) {
        let DecodeState {
            frames,
            search: SearchState::Ctc(greedy),
            ..
        } = &mut *input.state
        else {
            return;
        };
        let blank = u32::try_from(self.markers.len()).unwrap_or(u32::MAX);
        let mut fixed = Vec::new();
        for (id, most) in best {
            fixed.extend(greedy.push_best(*id, blank, Frames(*frames), || self.scaled(*most)));
            *frames = frames.saturating_add(1);
        }
        if input.commit || input.end {
            fixed.extend(greedy.open.take());
        }
        let tail = greedy.open;
        for token in fixed {
            self.fix(token, input.decoded);
        }
        input.decoded.tail = tail.into_iter().filter(|token| !self.marks_end(token.id)).collect();
    }

    /// The confidence of a frame whose greatest probability is `most`.
    #[expect(clippy::as_conversions, reason = "a vocabulary size becomes a factor")]
    fn scaled(&self, most: f32) -> f32 {
        confidence::scaled(most, (self.markers.len() + 1) as f32)
    }

    /// What the search reads of a frame.
    pub fn reads(&self) -> Reads {
        match self.search {
            Search::Ctc => Reads::Best,
            Search::Beam(_) => Reads::LogProbs,
            Search::Transducer => Reads::Emitted,
        }
    }

    /// The CTC head's matrix `[V + 1, D]` and bias.
    ///
    /// # Errors
    /// The matrix is missing or one of the two has another shape.
    pub fn ctc_tensors<'a>(arch: &Architecture, weights: &'a Weights) -> Result<(&'a [f32], Option<&'a [f32]>), WeightsError> {
        ctc::tensors(arch, weights)
    }

    /// The transducer's state after the start symbol, if there is one: hidden and cell of each LSTM layer, then the prediction in the
    /// joint space.
    pub fn transducer_start(&self) -> Vec<f32> {
        self.transducer.as_ref().map(Transducer::start).unwrap_or_default()
    }

    /// The prompt slot of a stream's state, if the checkpoint has prompts and one is chosen.
    pub fn prompt(&self, state: &DecodeState) -> Option<usize> {
        state.prompt
    }

    fn advance_ctc(&self, work: &mut [DecodeInput<'_>], rows: &[f32]) {
        let Some(head) = &self.ctc else { return };
        let log_probs = head.log_probs(rows);
        let mut rest = log_probs.as_slice();
        let mut parts = Vec::with_capacity(work.len());
        for input in work {
            let (own, others) = rest.split_at_checked(self.count(input) * head.outputs()).unwrap_or((rest, &[]));
            parts.push((input, own));
            rest = others;
        }
        parts
            .par_iter_mut()
            .for_each(|(input, own)| self.search_ctc(input, own.chunks_exact(head.outputs())));
    }

    fn search_ctc<'a>(&self, input: &mut DecodeInput<'_>, frames: impl Iterator<Item = &'a [f32]>) {
        let favour = self.favour(input.terms);
        let DecodeState { frames: frame, search, .. } = &mut *input.state;
        let close = input.commit || input.end;
        let (mut fixed, mut tail) = (Vec::new(), Vec::new());
        match (search, &self.search) {
            (SearchState::Ctc(greedy), _) => {
                for row in frames {
                    fixed.extend(greedy.push(row, Frames(*frame), self.confidence, favour));
                    *frame = frame.saturating_add(1);
                }
                if close {
                    fixed.extend(greedy.open.take());
                }
                tail.extend(greedy.open);
            }
            (SearchState::Beam { now, .. }, Search::Beam(beam)) => {
                for row in frames {
                    beam.push(now, row, self.confidence, favour, &mut fixed);
                    *frame = frame.saturating_add(1);
                }
                if close {
                    beam.commit(now, input.end, favour, &mut fixed);
                }
                beam.tail(now, &mut tail);
            }
            _ => {}
        }
        for token in fixed {
            self.fix(token, input.decoded);
        }
        tail.retain(|token| !self.marks_end(token.id));
        input.decoded.tail = tail;
    }

    fn advance_transducer(&self, work: &mut [DecodeInput<'_>], rows: &[f32]) {
        let Some(transducer) = &self.transducer else { return };
        let mut lanes = Vec::with_capacity(work.len());
        let mut results = Vec::with_capacity(work.len());
        for input in work {
            let count = self.count(input);
            let favour = self.favour(input.terms);
            let DecodeState {
                frames,
                search: SearchState::Transducer(state),
                ..
            } = &mut *input.state
            else {
                return;
            };
            lanes.push(Lane {
                state,
                frames: count,
                favour,
                emitted: Vec::new(),
                margins: None,
            });
            results.push((frames, count, &mut *input.decoded));
        }
        transducer.decode(&mut lanes, rows, self.confidence);
        for (lane, (frames, count, decoded)) in lanes.into_iter().zip(results) {
            for emission in lane.emitted {
                self.fix(token(&emission, *frames), decoded);
            }
            *frames = frames.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        }
    }

    fn fix(&self, token: Token, decoded: &mut Decoded) {
        if self.marks_end(token.id) {
            decoded.utterance_ends.push(token.start)
        } else {
            decoded.fixed.push(token)
        }
    }

    fn marks_end(&self, id: u32) -> bool {
        usize::try_from(id)
            .ok()
            .and_then(|id| self.markers.get(id))
            .copied()
            .unwrap_or(false)
    }

    /// Runs every head of the checkpoint greedily over the rows `[T', D]` of one piece of audio.
    ///
    /// # Errors
    /// The checkpoint's prompt does not know the locale.
    pub fn plain(&self, rows: &[f32], locale: Option<&str>) -> Result<PlainOutputs, DecodeError> {
        let mut rows = rows.to_vec();
        let count = rows.len() / self.width;
        if let Some(prompt) = &self.prompt {
            prompt.apply(&mut rows, &vec![self.slot(locale)?; count]);
        }
        let mut out = PlainOutputs::default();
        if let Some(head) = &self.ctc {
            out.ctc_log_probs = head.log_probs(&rows);
            let mut greedy = Greedy::default();
            let frames = (0..).map(Frames).zip(out.ctc_log_probs.chunks_exact(head.outputs()));
            let mut tokens: Vec<Token> = frames
                .filter_map(|(frame, row)| greedy.push(row, frame, self.confidence, None))
                .collect();
            tokens.extend(greedy.open);
            out.ctc_ids = tokens.iter().map(|token| token.id).collect();
            out.ctc_frames = tokens.iter().map(|token| token.start.0).collect();
        }
        if let Some(transducer) = &self.transducer {
            let mut lane = [Lane {
                state: &mut TransducerState::default(),
                frames: count,
                favour: None,
                emitted: Vec::new(),
                margins: Some(Vec::new()),
            }];
            transducer.decode(&mut lane, &rows, self.confidence);
            out.rnnt_margins = lane.iter_mut().filter_map(|lane| lane.margins.take()).flatten().collect();
            let emitted = lane.iter().flat_map(|lane| &lane.emitted);
            for (emission, token) in emitted.map(|emission| (emission, token(emission, 0))) {
                out.rnnt_ids.push(token.id);
                out.rnnt_frames.push(token.start.0);
                out.tdt_durations.extend(emission.duration);
            }
        }
        Ok(out)
    }
}

/// An RNN-T token lasts one frame, a TDT token its duration (which may be zero).
fn token(emission: &Emission, base: u32) -> Token {
    let start = base.saturating_add(u32::try_from(emission.frame).unwrap_or(u32::MAX));
    Token {
        id: u32::try_from(emission.id).unwrap_or(u32::MAX),
        start: Frames(start),
        end: Frames(start.saturating_add(emission.duration.unwrap_or(1))),
        confidence: emission.confidence,
    }
}

impl DecodeState {
    /// Starts a new utterance: frames count from 0, nothing is remembered but the locale.
    pub fn reset(&mut self) {
        self.frames = 0;
        self.terms = None;
        match &mut self.search {
            SearchState::Ctc(greedy) => *greedy = Greedy::default(),
            SearchState::Beam { now, start } => now.clone_from(start),
            SearchState::Transducer(state) => *state = TransducerState::default(),
        }
    }
}
