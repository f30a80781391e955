//! RNN-T and TDT beam search with a word n-gram model and terms, frame by frame.
//!
//! What it does: keeps the best few token sequences of one stream, each with its own state of the prediction network; adds the
//! language model's opinion as soon as a word begins; fixes tokens on which all hypotheses agree, and forces agreement before a
//! bound. Hypotheses of the same tokens are one. All depends on frames alone, never on how the frames were cut into chunks.
//! What it does not do: compute the networks (see `transducer`). Who calls it: the decoder.
//!
//! Source of the search: the beam search of Graves 2012 in time-synchronous form (Saon et al. 2020, "Alignment-length synchronous
//! decoding for RNN transducer"), with at most as many tokens at a frame as the greedy search. At a frame, hypotheses go on by
//! joint steps until each has read it; the best of those done and those not done are kept after every step. With a width of one and
//! without help it is the greedy search. A TDT hypothesis takes the most probable duration, as there, and waits until its frame.
#![allow(
    clippy::indexing_slicing,
    reason = "tokens are below the row's width, hypotheses are numbered here, prefixes are cut by their own lengths"
)]

use std::sync::Arc;

use super::beam::{BeamOptions, log_add};
use super::confidence::Confidence;
use super::ctc::{argmax, share};
use super::favour::Favour;
use super::transducer::{Prediction, Scores, Transducer, TransducerState, argmax_or_zero};
use super::words::{Said, WordScorer};
use crate::engine::batch::Token;
use crate::model::lm::NgramModel;
use crate::ops::log_softmax::log_softmax;
use crate::units::Frames;

/// The search of one model with one language model or none, shared by all streams.
pub(super) struct TransducerBeam {
    options: BeamOptions,
    words: WordScorer,
    network: Arc<Transducer>,
}

/// The search of one stream: at most `width` hypotheses, their tokens not older than `tail` frames.
#[derive(Clone, Debug)]
pub(super) struct Hypotheses {
    /// The best first; never empty.
    beam: Vec<Hypothesis>,
    /// Frames read.
    frame: u32,
    /// Kept between frames for its memory alone.
    scores: Scores,
}

/// Something that may have been said.
#[derive(Clone, Debug)]
struct Hypothesis {
    /// Tokens that are not fixed yet, in the places of the best alignment.
    pending: Vec<Token>,
    /// ln probability of all its alignments together.
    acoustic: f64,
    said: Said,
    prediction: Arc<Prediction>,
    /// The frame that it reads next.
    frame: u32,
}

impl Hypothesis {
    fn score(&self) -> f64 {
        self.acoustic + self.said.score()
    }

    /// The tokens are those of `before`, and perhaps one more.
    fn spells(&self, before: &[Token], last: Option<u32>) -> bool {
        let ids = before.iter().map(|token| token.id).chain(last);
        self.pending.len() == before.len() + usize::from(last.is_some()) && self.pending.iter().map(|token| token.id).eq(ids)
    }

    /// Takes the alignments of the same tokens in.
    fn join(&mut self, acoustic: f64, pending: impl FnOnce() -> Vec<Token>) {
        if acoustic > self.acoustic {
            self.pending = pending();
        }
        self.acoustic = log_add(self.acoustic, acoustic);
    }
}

/// A hypothesis of the step before and one more token, which competes for a place.
struct Extension {
    parent: usize,
    token: Token,
    acoustic: f64,
    said: Said,
    frame: u32,
}

impl Extension {
    fn score(&self) -> f64 {
        self.acoustic + self.said.score()
    }

    fn pending(&self, parents: &[Hypothesis]) -> Vec<Token> {
        let before = &parents[self.parent].pending;
        before.iter().chain([&self.token]).copied().collect()
    }
}

/// One joint step of all hypotheses that are at a frame.
struct Step<'a> {
    /// The frame in the joint space.
    row: &'a [f32],
    now: u32,
    /// Tokens at this frame, those of this step included.
    symbols: usize,
    confidence: Confidence,
    favour: Option<Favour<'a>>,
}

#[cfg(test)]
impl Hypotheses {
    /// Token sequences that are not fixed yet, with their ln probabilities.
    pub(super) fn acoustic(&self) -> Vec<(Vec<u32>, f64)> {
        let ids = |hypothesis: &Hypothesis| hypothesis.pending.iter().map(|token| token.id).collect();
        self.beam.iter().map(|hypothesis| (ids(hypothesis), hypothesis.acoustic)).collect()
    }

    /// The first frame with a token that is not fixed yet.
    pub(super) fn oldest(&self) -> Option<u32> {
        self.beam
            .iter()
            .filter_map(|hypothesis| hypothesis.pending.first())
            .map(|token| token.start.0)
            .min()
    }
}

impl TransducerBeam {
    pub(super) fn new(options: BeamOptions, lm: Option<Arc<NgramModel>>, pieces: &[String], network: Arc<Transducer>) -> Self {
        let words = WordScorer::new(lm, pieces, &options);
        TransducerBeam { options, words, network }
    }

    /// Takes a stream over from the greedy search, which has read `frame` frames.
    pub(super) fn begin(&self, mut greedy: TransducerState, frame: u32) -> Hypotheses {
        let prediction = Arc::new(self.network.resume(&mut greedy));
        let skip = u32::try_from(greedy.skip).unwrap_or(u32::MAX);
        let hypothesis = Hypothesis {
            pending: Vec::new(),
            acoustic: 0.0,
            said: Said::after(self.words.start()),
            prediction,
            frame: frame.saturating_add(skip),
        };
        Hypotheses {
            beam: vec![hypothesis],
            frame,
            scores: Scores::default(),
        }
    }

    /// Fixes everything and hands the stream over to the greedy search.
    pub(super) fn leave(&self, mut state: Hypotheses, fixed: &mut Vec<Token>) -> TransducerState {
        self.commit(&mut state, false, None, fixed);
        let best = state.beam.into_iter().next();
        TransducerState {
            skip: best.as_ref().map_or(0, |best| {
                usize::try_from(best.frame.saturating_sub(state.frame)).unwrap_or(usize::MAX)
            }),
            prediction: best.map(|best| Arc::unwrap_or_clone(best.prediction)),
        }
    }

    /// Leaves the terms of a stream: those complete keep their bonus, those under way are broken off.
    pub(super) fn leave_terms(&self, state: &mut Hypotheses) {
        for hypothesis in &mut state.beam {
            self.words.leave_terms(&mut hypothesis.said);
        }
    }

    /// Takes one frame in the joint space `[J]` and appends what became certain to `fixed`.
    pub(super) fn push(
        &self,
        state: &mut Hypotheses,
        row: &[f32],
        confidence: Confidence,
        favour: Option<Favour<'_>>,
        fixed: &mut Vec<Token>,
    ) {
        let mut step = Step {
            row,
            now: state.frame,
            symbols: 0,
            confidence,
            favour,
        };
        loop {
            let hypotheses = std::mem::take(&mut state.beam);
            let (active, waiting): (Vec<_>, Vec<_>) = hypotheses.into_iter().partition(|hypothesis| hypothesis.frame <= step.now);
            if active.is_empty() {
                state.beam = waiting;
                break;
            }
            step.symbols += 1;
            state.beam = self.go_on(&step, active, waiting, &mut state.scores);
        }
        state.frame = state.frame.saturating_add(1);
        self.force(state);
        self.agree(state, fixed);
    }

    /// Takes the active hypotheses through a joint step, and keeps the best of them and of those that wait.
    fn go_on(&self, step: &Step<'_>, mut active: Vec<Hypothesis>, mut waiting: Vec<Hypothesis>, scores: &mut Scores) -> Vec<Hypothesis> {
        let extensions = self.extend(step, &mut active, &mut waiting, scores);
        // A token that ends the frame may lead to what waits already.
        let (mut apart, mut worth) = (Vec::with_capacity(extensions.len()), Vec::new());
        for extension in extensions {
            let parent = &active[extension.parent];
            let same = waiting
                .iter_mut()
                .find(|other| other.frame == extension.frame && other.spells(&parent.pending, Some(extension.token.id)));
            match same {
                Some(same) => same.join(extension.acoustic, || extension.pending(&active)),
                None => {
                    worth.push(extension.score());
                    apart.push(extension);
                }
            }
        }
        worth.extend(waiting.iter().map(Hypothesis::score));
        // Of equal ones the first is better: tokens by their probability, then those that wait.
        let mut order: Vec<usize> = (0..worth.len()).collect();
        order.sort_by(|a, b| worth[*b].total_cmp(&worth[*a]));
        order.truncate(self.options.width);
        let best = order.first().map_or(0.0, |best| worth[*best]);
        let least = best - f64::from(self.options.margin);
        let mut first = true;
        order.retain(|at| std::mem::take(&mut first) || worth[*at] >= least);
        let mut apart: Vec<Option<Extension>> = apart.into_iter().map(Some).collect();
        let mut waiting = waiting.into_iter().map(Some).collect::<Vec<_>>();
        let mut kept = Vec::with_capacity(order.len());
        let mut predictions = Vec::new();
        for at in order {
            match apart.get_mut(at) {
                Some(extension) => {
                    let Some(extension) = extension.take() else { continue };
                    let parent = &active[extension.parent];
                    predictions.push((kept.len(), extension.token.id, Prediction::clone(&parent.prediction)));
                    kept.push(Hypothesis {
                        pending: extension.pending(&active),
                        acoustic: extension.acoustic,
                        said: extension.said,
                        prediction: Arc::clone(&parent.prediction),
                        frame: extension.frame,
                    });
                }
                None => kept.extend(waiting.get_mut(at - apart.len()).and_then(Option::take)),
            }
        }
        self.predict(predictions, &mut kept);
        kept
    }

    /// Scores the active hypotheses at this frame: those that read a blank join those that wait, those that emit are listed.
    fn extend(&self, step: &Step<'_>, active: &mut [Hypothesis], waiting: &mut Vec<Hypothesis>, scores: &mut Scores) -> Vec<Extension> {
        let pairs = active.iter().map(|hypothesis| (step.row, hypothesis.prediction.as_ref()));
        self.network.joint(pairs, scores);
        let blank = self.network.vocabulary;
        let frame = |frames: usize| step.now.saturating_add(u32::try_from(frames).unwrap_or(u32::MAX));
        let mut extensions = Vec::new();
        for (parent, (hypothesis, row)) in active
            .iter_mut()
            .zip(scores.logits.chunks_exact_mut(self.network.outputs()))
            .enumerate()
        {
            let (tokens, durations) = row.split_at_mut(blank + 1);
            // Chosen before the logarithm, which may make equal what was not.
            let (best, ranked) = (argmax(tokens), self.ranked(&tokens[..blank], step.favour.is_some()));
            let longest = argmax_or_zero(durations);
            log_softmax(tokens);
            log_softmax(durations);
            let duration = self.network.durations.get(longest).copied();
            let before = hypothesis.acoustic + durations.get(longest).map_or(0.0, |score| f64::from(*score));
            let certain = step.confidence.of(tokens);
            for (rank, id) in ranked.into_iter().enumerate() {
                let token = u32::try_from(id).unwrap_or(u32::MAX);
                let usual = rank == 0 || rank < self.options.tokens && tokens[id] > self.options.token_floor;
                let goes_on = || step.favour.is_some_and(|favour| favour.goes_on(hypothesis.said.place, token));
                if !(usual || tokens[id] > self.options.term_floor && goes_on()) {
                    continue;
                }
                extensions.push(Extension {
                    parent,
                    token: Token {
                        id: token,
                        start: Frames(step.now),
                        end: Frames(step.now.saturating_add(duration.unwrap_or(1))),
                        confidence: certain * share(tokens, id, best),
                    },
                    acoustic: before + f64::from(tokens[id]),
                    said: self.words.grown(&mut hypothesis.said, token, step.favour),
                    frame: frame(self.network.step(false, step.symbols, duration)),
                });
            }
            let acoustic = before + f64::from(tokens[blank]);
            let next = frame(self.network.step(true, step.symbols, duration));
            let same = waiting
                .iter_mut()
                .find(|other| other.frame == next && other.spells(&hypothesis.pending, None));
            match same {
                Some(same) => same.join(acoustic, || hypothesis.pending.clone()),
                None => waiting.push(Hypothesis {
                    acoustic,
                    frame: next,
                    ..hypothesis.clone()
                }),
            }
        }
        extensions
    }

    /// The tokens that may be worth trying, the best first; as many again for terms.
    fn ranked(&self, tokens: &[f32], favoured: bool) -> Vec<usize> {
        let most = self.options.tokens * if favoured { 2 } else { 1 };
        let better = |a: &usize, b: &usize| tokens[*b].total_cmp(&tokens[*a]).then(a.cmp(b));
        let mut ranked: Vec<usize> = (0..tokens.len()).collect();
        if ranked.len() > most {
            ranked.select_nth_unstable_by(most, better);
            ranked.truncate(most);
        }
        ranked.sort_unstable_by(better);
        ranked
    }

    /// Feeds tokens to the prediction networks of the hypotheses of these numbers.
    fn predict(&self, mut predictions: Vec<(usize, u32, Prediction)>, kept: &mut [Hypothesis]) {
        if predictions.is_empty() {
            return;
        }
        let mut streams: Vec<(usize, &mut Prediction)> = predictions
            .iter_mut()
            .map(|(_, token, prediction)| (usize::try_from(*token).unwrap_or(usize::MAX), prediction))
            .collect();
        self.network.predict(&mut streams);
        for (at, _, prediction) in predictions {
            kept[at].prediction = Arc::new(prediction);
        }
    }

    /// If a token waits for too long, the tokens of the older half become those of the best hypothesis: others are dropped.
    fn force(&self, state: &mut Hypotheses) {
        let Hypotheses { beam, frame, .. } = state;
        let oldest = beam
            .iter()
            .filter_map(|hypothesis| hypothesis.pending.first())
            .map(|token| token.start.0)
            .min();
        if oldest.is_none_or(|oldest| frame.saturating_sub(oldest) < self.options.tail.0) {
            return;
        }
        let edge = frame.saturating_sub(self.options.tail.0 / 2);
        let Some(best) = beam.first() else { return };
        let ids: Vec<u32> = best
            .pending
            .iter()
            .take_while(|token| token.start.0 < edge)
            .map(|token| token.id)
            .collect();
        beam.retain(|hypothesis| {
            let (mut tokens, mut wanted) = (hypothesis.pending.iter(), ids.iter());
            wanted.all(|id| tokens.next().is_some_and(|token| token.id == *id)) && tokens.next().is_none_or(|token| token.start.0 >= edge)
        });
    }

    /// Fixes the tokens with which all hypotheses begin, as the best has them.
    fn agree(&self, state: &mut Hypotheses, fixed: &mut Vec<Token>) {
        let Some((best, others)) = state.beam.split_first() else { return };
        let alike = |other: &Hypothesis| {
            let pairs = best.pending.iter().zip(&other.pending);
            pairs.take_while(|(a, b)| a.id == b.id).count()
        };
        let count = others.iter().map(alike).fold(best.pending.len(), usize::min);
        let Some(last) = count.checked_sub(1).map(|last| best.pending[last].start) else {
            return;
        };
        fixed.extend(&best.pending[..count]);
        for hypothesis in &mut state.beam {
            hypothesis.pending.drain(..count);
            // Others may have had them earlier, and what follows too; it must not lie before what is fixed.
            for token in &mut hypothesis.pending {
                let late = last.0.saturating_sub(token.start.0);
                token.start = Frames(token.start.0.saturating_add(late));
                token.end = Frames(token.end.0.saturating_add(late));
            }
        }
    }

    /// Fixes the best hypothesis altogether, its last word taken as complete and, if `end`, as the last of a sentence; the search
    /// goes on from it alone.
    pub(super) fn commit(&self, state: &mut Hypotheses, end: bool, favour: Option<Favour<'_>>, fixed: &mut Vec<Token>) {
        let mut best: Option<(f64, usize)> = None;
        for (at, hypothesis) in state.beam.iter_mut().enumerate() {
            let score = hypothesis.acoustic + self.words.ended(&mut hypothesis.said, end, favour);
            if best.is_none_or(|(most, _)| score > most) {
                best = Some((score, at));
            }
        }
        let Some((_, at)) = best else { return };
        state.beam.swap(0, at);
        state.beam.truncate(1);
        for hypothesis in &mut state.beam {
            fixed.append(&mut hypothesis.pending);
        }
    }

    /// The tokens of the best hypothesis that are not fixed yet.
    pub(super) fn tail(&self, state: &Hypotheses, tail: &mut Vec<Token>) {
        tail.extend(state.beam.first().into_iter().flat_map(|best| &best.pending));
    }
}
