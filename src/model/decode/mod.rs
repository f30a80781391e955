//! Decoding: encoder rows to tokens with times and confidences, for any number of streams at once.
//!
//! What it does: the language prompt ([`prompt`]), CTC greedy ([`ctc`]) and beam search with a language model ([`beam`] and
//! its parts [`tree`], [`align`]), RNN-T and TDT greedy ([`transducer`]) and beam search ([`hypotheses`]), what language models and
//! terms say ([`words`], [`favour`]), confidences ([`confidence`]), what is left where a device runs the heads ([`settle`]), the removal of
//! end-of-utterance tokens. What it does not do: the encoder, words and text. Who calls it: the engine, once for each step.
//!
//! The result for a stream depends on its frames and on where it was committed: not on how the frames were cut into calls,
//! nor on the streams beside it, to the bit.

mod align;
pub mod beam;
pub mod confidence;
mod ctc;
mod favour;
mod hypotheses;
mod plain;
mod prompt;
mod settle;
#[cfg(test)]
mod tests;
mod transduce;
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
use self::hypotheses::{Hypotheses, TransducerBeam};
pub use self::plain::PlainOutputs;
use self::prompt::PromptKernel;
pub use self::prompt::PromptTensors;
pub use self::settle::Heard;
pub use self::transducer::{Emission, TransducerTensors};
use self::transducer::{Transducer, TransducerState};
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
    /// RNN-T or TDT head, greedy; for streams with terms a beam search.
    Transducer,
    /// RNN-T or TDT head, beam search, with a language model if given.
    TransducerBeam(BeamOptions, Option<Arc<NgramModel>>),
}

/// Turns encoder rows into tokens: shared by all streams of a model, immutable.
pub struct Decoder {
    width: usize,
    prompt: Option<PromptKernel>,
    ctc: Option<CtcHead>,
    transducer: Option<Arc<Transducer>>,
    search: Search,
    /// The searches with the language models that streams may choose.
    choices: Vec<Search>,
    /// The search of streams with terms where that of the others is a transducer's greedy one.
    favouring: Option<TransducerBeam>,
    spelled: Spelled,
    confidence: Confidence,
    /// For each vocabulary id: true if it marks the end of an utterance.
    markers: Vec<bool>,
}

enum Search {
    Ctc,
    Beam(Beam),
    Transducer,
    TransducerBeam(TransducerBeam),
}

/// Where decoding of one stream stands. Bounded: a few vectors, for the beam search at most its tail.
pub struct DecodeState {
    frames: u32,
    prompt: Option<usize>,
    terms: Option<Arc<Terms>>,
    /// The language model that the stream chose.
    lm: Option<usize>,
    search: SearchState,
}

enum SearchState {
    Ctc(Greedy),
    Beam { now: Box<BeamState>, start: Box<BeamState> },
    Transducer(TransducerState),
    Hypotheses(Box<Hypotheses>),
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
        let transducer = Transducer::new(arch, weights)?.map(Arc::new);
        let (search, favouring) = match (strategy, &transducer) {
            (Strategy::Ctc | Strategy::CtcBeam(..), _) if !arch.ctc => return Err(DecodeError::MissingHead("CTC")),
            (Strategy::Ctc, _) => (Search::Ctc, None),
            (Strategy::CtcBeam(options, lm), _) => (Search::Beam(Beam::new(checked(options)?, lm, pieces)), None),
            (Strategy::Transducer | Strategy::TransducerBeam(..), None) => return Err(DecodeError::MissingHead("transducer")),
            (Strategy::Transducer, Some(network)) => {
                let favouring = TransducerBeam::new(BeamOptions::transducer(), None, pieces, Arc::clone(network));
                (Search::Transducer, Some(favouring))
            }
            (Strategy::TransducerBeam(options, lm), Some(network)) => {
                let beam = TransducerBeam::new(checked(options)?, lm, pieces, Arc::clone(network));
                (Search::TransducerBeam(beam), None)
            }
        };
        Ok(Decoder {
            width: arch.encoder.width,
            prompt: PromptKernel::new(arch, weights)?,
            ctc: if arch.ctc { Some(CtcHead::new(arch, weights)?) } else { None },
            transducer,
            search,
            choices: Vec::new(),
            favouring,
            spelled: Spelled::new(pieces),
            confidence: Confidence::default(),
            markers: pieces.iter().map(|piece| UTTERANCE_ENDS.contains(&piece.as_str())).collect(),
        })
    }

    /// The same decoder with another measure of confidence.
    pub fn with_confidence(self, confidence: Confidence) -> Self {
        Decoder { confidence, ..self }
    }

    /// The same decoder with language models that a stream may choose, each with the settings of its search; `pieces` as for
    /// [`Decoder::new`].
    ///
    /// # Errors
    /// An option is out of range.
    pub fn with_choices(mut self, pieces: &[String], choices: Vec<(BeamOptions, Arc<NgramModel>)>) -> Result<Self, DecodeError> {
        for (options, lm) in choices {
            let (options, lm) = (checked(options)?, Some(lm));
            let search = match (&self.search, &self.transducer) {
                (Search::Transducer | Search::TransducerBeam(_), Some(network)) => {
                    Search::TransducerBeam(TransducerBeam::new(options, lm, pieces, Arc::clone(network)))
                }
                _ => Search::Beam(Beam::new(options, lm, pieces)),
            };
            self.choices.push(search);
        }
        Ok(self)
    }

    /// A state at the start of an utterance, with the model's default locale and no language model chosen.
    pub fn new_state(&self) -> DecodeState {
        DecodeState {
            frames: 0,
            prompt: self.prompt.as_ref().and_then(|prompt| prompt.default),
            terms: None,
            lm: None,
            search: self.fresh(None),
        }
    }

    /// Starts a new utterance as [`DecodeState::reset`] does, with the language model of that place among those to choose from; none, or
    /// a place beyond them: with what helps the others.
    pub fn start(&self, state: &mut DecodeState, lm: Option<usize>) {
        state.reset();
        if state.lm != lm {
            state.lm = lm;
            state.search = self.fresh(lm);
        }
    }

    /// The search of streams that chose this language model.
    fn search_with(&self, lm: Option<usize>) -> &Search {
        lm.and_then(|lm| self.choices.get(lm)).unwrap_or(&self.search)
    }

    /// That search before the first frame. A transducer's beam begins as the greedy search does.
    fn fresh(&self, lm: Option<usize>) -> SearchState {
        match self.search_with(lm) {
            Search::Ctc => SearchState::Ctc(Greedy::default()),
            Search::Transducer | Search::TransducerBeam(_) => SearchState::Transducer(TransducerState::default()),
            Search::Beam(beam) => SearchState::Beam {
                now: Box::new(beam.new_state()),
                start: Box::new(beam.new_state()),
            },
        }
    }

    /// The beam of a transducer's streams that chose this language model and have terms or not; none if they are read greedily.
    fn hypothesising(&self, lm: Option<usize>, terms: bool) -> Option<&TransducerBeam> {
        match self.search_with(lm) {
            Search::TransducerBeam(beam) => Some(beam),
            _ if terms => self.favouring.as_ref(),
            _ => None,
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
        match self.reads() {
            Reads::Emitted => self.advance_transducer(work, &rows),
            Reads::Best | Reads::LogProbs => self.advance_ctc(work, &rows),
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
        match (&mut state.search, self.search_with(state.lm)) {
            (SearchState::Ctc(greedy), _) => greedy.place = Place::default(),
            (SearchState::Beam { now, .. }, Search::Beam(beam)) => beam.leave_terms(now),
            (SearchState::Hypotheses(hypotheses), _) => {
                if let Some(beam) = self.hypothesising(state.lm, true) {
                    beam.leave_terms(hypotheses);
                }
            }
            (SearchState::Beam { .. } | SearchState::Transducer(_), _) => {}
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

    /// What the search reads of a frame.
    pub fn reads(&self) -> Reads {
        match self.search {
            Search::Ctc if self.choices.is_empty() => Reads::Best,
            Search::Ctc | Search::Beam(_) => Reads::LogProbs,
            Search::Transducer | Search::TransducerBeam(_) => Reads::Emitted,
        }
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
        let chosen = self.search_with(input.state.lm);
        let DecodeState { frames: frame, search, .. } = &mut *input.state;
        let close = input.commit || input.end;
        let (mut fixed, mut tail) = (Vec::new(), Vec::new());
        match (search, chosen) {
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
        self.give(fixed, tail, input.decoded);
    }

    /// Gives out what is fixed and what is not, marks of the end of an utterance apart.
    fn give(&self, fixed: Vec<Token>, mut tail: Vec<Token>, decoded: &mut Decoded) {
        for token in fixed {
            self.fix(token, decoded);
        }
        tail.retain(|token| !self.marks_end(token.id));
        decoded.tail = tail;
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
}

/// The options, if none is out of its range.
fn checked(options: BeamOptions) -> Result<BeamOptions, DecodeError> {
    match options.fault() {
        Some(fault) => Err(DecodeError::Option(fault)),
        None => Ok(options),
    }
}

impl DecodeState {
    /// Starts a new utterance: frames count from 0, nothing is remembered but the locale and the language model.
    pub fn reset(&mut self) {
        self.frames = 0;
        self.terms = None;
        match &mut self.search {
            SearchState::Ctc(greedy) => *greedy = Greedy::default(),
            SearchState::Beam { now, start } => now.clone_from(start),
            transducer => *transducer = SearchState::Transducer(TransducerState::default()),
        }
    }
}
