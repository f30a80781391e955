//! CTC prefix beam search with a word n-gram model, frame by frame.
//!
//! What it does: keeps the best prefixes of one stream as a tree with shared nodes, adds the language model's opinion as soon as
//! a word begins, and lets go of tokens on which all hypotheses agree. Everything depends on frames alone, never on how the
//! frames were cut into chunks. What it does not do: place tokens in time (see `align`). Who calls it: the decoder.
//!
//! Source of the search: Hannun et al. 2014 ("First-pass large vocabulary continuous speech recognition using bi-directional
//! recurrent DNNs"), with unigram look-ahead inside words (Ortmanns et al. 1996).
#![allow(
    clippy::indexing_slicing,
    reason = "node and hypothesis numbers come from this tree alone; tokens are below the row's width"
)]

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::Arc;

use super::align::{self, FrameScores, Span};
use super::confidence::Confidence;
use super::favour::Favour;
use super::tree::{NONE, Node, Tree};
use super::words::WordScorer;
use crate::engine::batch::Token;
use crate::model::lm::NgramModel;
use crate::units::Frames;

/// Tokens tried at a frame at most: [`Scratch::taken`] has a bit for each.
const MOST_TOKENS: usize = 64;

/// Settings of the beam search. Scores are natural logarithms.
#[derive(Clone, Debug, PartialEq)]
pub struct BeamOptions {
    /// Hypotheses kept after each frame, 1 to 1000.
    pub width: usize,
    /// Tokens less probable than this at a frame are not tried there.
    pub token_floor: f32,
    /// Tokens tried at a frame at most (blank not counted), 1 to 64.
    pub tokens: usize,
    /// Hypotheses this much below the best are dropped.
    pub margin: f32,
    /// Factor on the language model's ln probability.
    pub lm_weight: f32,
    /// Added for each word, against the preference for few words.
    pub word_bonus: f32,
    /// Taken off for each word that the language model does not know.
    pub unknown_penalty: f32,
    /// Added for each letter of a term of weight 1.
    pub term_bonus: f32,
    /// Tokens that go on with a term are tried down to this, as many again as `tokens`; with those 64 at most.
    pub term_floor: f32,
    /// When more frames than this wait to be fixed, the older half is fixed as the best hypothesis has it; 8 to 1000.
    pub tail: Frames,
}

impl Default for BeamOptions {
    fn default() -> Self {
        BeamOptions {
            width: 40,
            token_floor: -8.0,
            tokens: 20,
            margin: 14.0,
            lm_weight: 0.5,
            word_bonus: 1.5,
            unknown_penalty: 8.0,
            term_bonus: 2.25,
            term_floor: -10.0,
            tail: Frames(50),
        }
    }
}

impl BeamOptions {
    /// What suits a transducer, which decides more by itself: each hypothesis costs a joint step, and few are enough.
    pub fn transducer() -> Self {
        BeamOptions {
            width: 4,
            ..BeamOptions::default()
        }
    }

    /// The first setting that is out of its range, in words.
    pub(super) fn fault(&self) -> Option<&'static str> {
        let finite = [
            self.token_floor,
            self.margin,
            self.lm_weight,
            self.word_bonus,
            self.unknown_penalty,
            self.term_bonus,
            self.term_floor,
        ];
        match self {
            _ if !(1..=1000).contains(&self.width) => Some("beam width must be 1 to 1000"),
            _ if !(1..=MOST_TOKENS).contains(&self.tokens) => Some("tokens per frame must be 1 to 64"),
            _ if !(8..=1000).contains(&self.tail.0) => Some("the tail must be 8 to 1000 frames"),
            _ if finite.iter().any(|value| !value.is_finite()) => Some("weights must be finite numbers"),
            _ if self.margin <= 0.0 || self.lm_weight < 0.0 => Some("margin and language model weight must not be negative"),
            _ => None,
        }
    }
}

/// The search of one model, shared by all streams.
pub(super) struct Beam {
    options: BeamOptions,
    words: WordScorer,
    blank: usize,
}

/// One prefix in the beam, with its probability so far.
#[derive(Clone, Copy, Debug)]
struct Hypothesis {
    node: u32,
    /// ln probability of all alignments that end in blank.
    blank: f64,
    /// ln probability of all alignments that end in the prefix's last token.
    label: f64,
}

/// A prefix that competes for a place in the beam of the next frame.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    score: f64,
    blank: f64,
    label: f64,
    /// The node, or the parent of a node to be made.
    node: u32,
    /// The token of a node to be made.
    extension: Option<u32>,
    /// Place in the order of creation: decides between equal scores.
    serial: u32,
}

/// The search of one stream: at most `width` hypotheses and `tail` frames, so a bounded tree.
#[derive(Clone, Debug)]
pub(super) struct BeamState {
    tree: Tree,
    beam: Vec<Hypothesis>,
    /// Frames from `base` on.
    window: VecDeque<FrameScores>,
    /// First frame of the window: after the last fixed token.
    base: u32,
    /// Kept between frames for their memory alone.
    scratch: Scratch,
}

#[derive(Clone, Debug, Default)]
struct Scratch {
    tokens: Vec<(u32, f32)>,
    candidates: Vec<Candidate>,
    totals: Vec<f64>,
    /// For each hypothesis: bit `k` says that the prefix with token `k` is in the beam already.
    taken: Vec<u64>,
}

impl BeamState {
    /// Nodes in use, for the tests of boundedness.
    #[cfg(test)]
    pub(super) fn nodes(&self) -> usize {
        self.tree.len()
    }

    /// ln probability of the best hypothesis, all its alignments together, for comparison with an exact sum.
    #[cfg(test)]
    pub(super) fn acoustic(&self) -> Vec<(Vec<u32>, f64)> {
        self.beam
            .iter()
            .map(|h| (self.tree.path(h.node).1, log_add(h.blank, h.label)))
            .collect()
    }
}

/// Which of two tokens comes first: the more probable one.
fn better(a: &(u32, f32), b: &(u32, f32)) -> Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

/// ln(e^a + e^b).
pub(super) fn log_add(a: f64, b: f64) -> f64 {
    let (most, least) = if a > b { (a, b) } else { (b, a) };
    if least - most < -40.0 || most == f64::NEG_INFINITY {
        most
    } else {
        most + (least - most).exp().ln_1p()
    }
}

impl Beam {
    pub(super) fn new(options: BeamOptions, lm: Option<Arc<NgramModel>>, pieces: &[String]) -> Self {
        let words = WordScorer::new(lm, pieces, &options);
        Beam {
            options,
            words,
            blank: pieces.len(),
        }
    }

    pub(super) fn new_state(&self) -> BeamState {
        let tree = Tree::new(self.words.start());
        let beam = vec![Hypothesis {
            node: tree.root,
            blank: 0.0,
            label: f64::NEG_INFINITY,
        }];
        BeamState {
            tree,
            beam,
            window: VecDeque::new(),
            base: 0,
            scratch: Scratch::default(),
        }
    }

    /// Leaves the terms of a stream: those complete keep their bonus, those under way are broken off.
    pub(super) fn leave_terms(&self, state: &mut BeamState) {
        for node in &mut state.tree.nodes {
            self.words.leave_terms(&mut node.said);
        }
    }

    /// Takes one frame of ln probabilities `[V + 1]` and appends what became certain to `fixed`.
    pub(super) fn push(
        &self,
        state: &mut BeamState,
        row: &[f32],
        confidence: Confidence,
        favour: Option<Favour<'_>>,
        fixed: &mut Vec<Token>,
    ) {
        self.choose_tokens(row, &mut state.scratch.tokens);
        if let Some(favour) = favour {
            self.choose_term_tokens(state, row, favour);
        }
        state.window.push_back(FrameScores::new(row, &state.scratch.tokens, confidence));
        self.extend(state, row, favour);
        self.prune(state, favour);
        let agreed = state.tree.agreed();
        if agreed > 0 {
            self.fix(state, agreed, fixed);
        } else if state.window.len() >= usize::try_from(self.options.tail.0).unwrap_or(usize::MAX) {
            self.force(state, fixed);
        }
    }

    /// The tokens worth trying at this frame, the most probable first.
    fn choose_tokens(&self, row: &[f32], tokens: &mut Vec<(u32, f32)>) {
        tokens.clear();
        let ids = 0_u32..;
        tokens.extend(
            ids.zip(row.iter().copied())
                .take(self.blank)
                .filter(|(_, score)| *score > self.options.token_floor),
        );
        if tokens.len() > self.options.tokens {
            tokens.select_nth_unstable_by(self.options.tokens, better);
            tokens.truncate(self.options.tokens);
        }
        tokens.sort_unstable_by(better);
    }

    /// Less probable tokens that go on with a term in some prefix of the beam, behind those that are tried anyway.
    fn choose_term_tokens(&self, state: &mut BeamState, row: &[f32], favour: Favour<'_>) {
        let BeamState { tree, beam, scratch, .. } = state;
        let tokens = &mut scratch.tokens;
        let (usual, lowest) = (tokens.len(), tokens.last().map_or(0.0, |(_, score)| *score));
        let goes_on = |token| {
            beam.iter()
                .any(|hypothesis| favour.goes_on(tree.nodes[index(hypothesis.node)].said.place, token))
        };
        let mut others: Vec<(u32, f32)> = (0_u32..)
            .zip(row.iter().copied())
            .take(self.blank)
            .filter(|&(_, score)| score > self.options.term_floor && score <= lowest)
            .filter(|&(token, _)| !tokens.iter().any(|(tried, _)| *tried == token) && goes_on(token))
            .collect();
        others.sort_unstable_by(better);
        others.truncate(self.options.tokens.min(MOST_TOKENS - usual));
        tokens.append(&mut others);
    }

    /// Lists the prefixes of the next frame with their probabilities.
    fn extend(&self, state: &mut BeamState, row: &[f32], favour: Option<Favour<'_>>) {
        let BeamState { tree, beam, scratch, .. } = state;
        let Scratch {
            tokens,
            candidates,
            totals,
            taken,
        } = scratch;
        candidates.clear();
        totals.clear();
        taken.clear();
        let blank_score = f64::from(row[self.blank]);
        let mut serial = 0;
        // Prefixes stay as they are, by blank or by repeating their last token.
        for hypothesis in beam.iter() {
            let total = log_add(hypothesis.blank, hypothesis.label);
            let token = tree.nodes[index(hypothesis.node)].token;
            let label = row
                .get(index(token))
                .filter(|_| token != NONE)
                .map_or(f64::NEG_INFINITY, |score| hypothesis.label + f64::from(*score));
            candidates.push(Candidate {
                score: 0.0,
                blank: total + blank_score,
                label,
                node: hypothesis.node,
                extension: None,
                serial,
            });
            totals.push(total);
            taken.push(0);
            serial += 1;
        }
        // Prefixes that are others of the beam plus one token.
        for at in 0..beam.len() {
            let node = &tree.nodes[index(beam[at].node)];
            let parent = if node.parent == NONE {
                NONE
            } else {
                tree.nodes[index(node.parent)].hypothesis
            };
            let known = tokens.iter().position(|(token, _)| *token == node.token);
            if let (Some(place), true) = (known, parent != NONE) {
                let repeats = tree.nodes[index(node.parent)].token == node.token;
                let before = if repeats {
                    beam[index(parent)].blank
                } else {
                    totals[index(parent)]
                };
                candidates[at].label = log_add(candidates[at].label, before + f64::from(tokens[place].1));
                taken[index(parent)] |= 1 << place;
            }
            candidates[at].score = log_add(candidates[at].blank, candidates[at].label) + node.said.score();
        }
        let best = candidates.iter().map(|candidate| candidate.score).fold(f64::NEG_INFINITY, f64::max);
        let mut cutoff = best - f64::from(self.options.margin);
        // New prefixes.
        for at in 0..beam.len() {
            let hypothesis = beam[at];
            let node = &mut tree.nodes[index(hypothesis.node)];
            let (token, said) = (node.token, &mut node.said);
            let within = said.base + said.partial;
            for (place, &(id, score)) in tokens.iter().enumerate() {
                if taken[at] & (1 << place) != 0 {
                    continue;
                }
                let label = if id == token { hypothesis.blank } else { totals[at] } + f64::from(score);
                let begins = self.words.begins(id);
                let (place, bonus) = self.words.favoured(said, id, favour);
                // Letters added to a word can only lower its look-ahead score, so most need not be looked up.
                if label == f64::NEG_INFINITY || !begins && label + within + bonus + self.words.slack() < cutoff {
                    continue;
                }
                let base = if begins { self.words.complete(said, favour).0 } else { said.base };
                let (_, partial) = self.words.expected(said.word, id, place);
                let score = label + base + partial + bonus;
                if score >= cutoff {
                    candidates.push(Candidate {
                        score,
                        blank: f64::NEG_INFINITY,
                        label,
                        node: hypothesis.node,
                        extension: Some(id),
                        serial,
                    });
                    serial += 1;
                    cutoff = cutoff.max(score - f64::from(self.options.margin));
                }
            }
        }
        candidates.retain(|candidate| candidate.score >= cutoff);
    }

    /// Keeps the best candidates as the new beam and drops nodes that no hypothesis needs.
    fn prune(&self, state: &mut BeamState, favour: Option<Favour<'_>>) {
        let BeamState { tree, beam, scratch, .. } = state;
        let candidates = &mut scratch.candidates;
        let better = |a: &Candidate, b: &Candidate| b.score.total_cmp(&a.score).then(a.serial.cmp(&b.serial));
        if candidates.len() > self.options.width {
            candidates.select_nth_unstable_by(self.options.width, better);
            candidates.truncate(self.options.width);
        }
        candidates.sort_unstable_by(better);
        for hypothesis in beam.iter() {
            tree.nodes[index(hypothesis.node)].hypothesis = NONE;
        }
        let old = std::mem::take(beam);
        for candidate in candidates.iter() {
            let node = match candidate.extension {
                None => candidate.node,
                Some(token) => match tree.child(candidate.node, token) {
                    Some(node) => node,
                    None => {
                        let parent = &mut tree.nodes[index(candidate.node)];
                        let said = self.words.grown(&mut parent.said, token, favour);
                        tree.add(
                            candidate.node,
                            Node {
                                token,
                                said,
                                ..Node::default()
                            },
                        )
                    }
                },
            };
            tree.nodes[index(node)].hypothesis = u32::try_from(beam.len()).unwrap_or(NONE);
            beam.push(Hypothesis {
                node,
                blank: candidate.blank,
                label: candidate.label,
            });
        }
        for hypothesis in old {
            tree.release(hypothesis.node);
        }
    }

    /// Places of the best hypothesis's tokens that are not fixed yet.
    fn align(&self, state: &BeamState, node: u32) -> (Vec<u32>, Vec<u32>, Vec<Span>) {
        let (nodes, tokens) = state.tree.path(node);
        let before = state.tree.nodes[index(state.tree.root)].token;
        let spans = align::align(&state.window, (before != NONE).then_some(before), &tokens);
        (nodes, tokens, spans)
    }

    /// Fixes the first `count` tokens of the best hypothesis, on which all hypotheses agree.
    fn fix(&self, state: &mut BeamState, count: usize, fixed: &mut Vec<Token>) {
        let Some(best) = state.beam.first() else { return };
        let (nodes, tokens, spans) = self.align(state, best.node);
        let mut end = 0;
        for (&id, span) in tokens.iter().zip(&spans).take(count) {
            fixed.push(span.token(id, state.base));
            end = span.end;
        }
        if let Some(&root) = count.checked_sub(1).and_then(|last| nodes.get(last)) {
            state.tree.set_root(root);
        }
        self.forget(state, end);
    }

    /// Drops the first `count` frames of the window.
    fn forget(&self, state: &mut BeamState, count: usize) {
        let count = count.min(state.window.len());
        state.window.drain(..count);
        state.base = state.base.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// The window is full: fixes the best hypothesis's tokens in its older half and drops hypotheses that differ there.
    fn force(&self, state: &mut BeamState, fixed: &mut Vec<Token>) {
        let half = state.window.len() / 2;
        let Some(&best) = state.beam.first() else { return };
        let (nodes, _, spans) = self.align(state, best.node);
        let count = spans.iter().take_while(|span| span.end <= half).count();
        let root = count
            .checked_sub(1)
            .and_then(|last| nodes.get(last))
            .copied()
            .unwrap_or(state.tree.root);
        self.keep(state, |tree, node| tree.descends(node, root));
        if count > 0 {
            self.fix(state, count, fixed);
        } else {
            self.forget(state, half.min(spans.first().map_or(half, |span| span.start)));
        }
    }

    /// Drops all hypotheses but those that pass.
    fn keep(&self, state: &mut BeamState, passes: impl Fn(&Tree, u32) -> bool) {
        let BeamState { tree, beam, .. } = state;
        let (kept, dropped): (Vec<_>, Vec<_>) = beam.iter().copied().partition(|hypothesis| passes(tree, hypothesis.node));
        for hypothesis in dropped {
            tree.nodes[index(hypothesis.node)].hypothesis = NONE;
            tree.release(hypothesis.node);
        }
        for (at, hypothesis) in (0_u32..).zip(&kept) {
            tree.nodes[index(hypothesis.node)].hypothesis = at;
        }
        *beam = kept;
    }

    /// Fixes the best hypothesis altogether, its last word taken as complete and, if `end`, as the last of a sentence; the search
    /// goes on from it alone.
    pub(super) fn commit(&self, state: &mut BeamState, end: bool, favour: Option<Favour<'_>>, fixed: &mut Vec<Token>) {
        let mut best = (f64::NEG_INFINITY, NONE);
        for hypothesis in &state.beam {
            let said = &mut state.tree.nodes[index(hypothesis.node)].said;
            let score = log_add(hypothesis.blank, hypothesis.label) + self.words.ended(said, end, favour);
            if score > best.0 {
                best = (score, hypothesis.node);
            }
        }
        if best.1 == NONE {
            return;
        }
        self.keep(state, |_, node| node == best.1);
        let count = state.tree.path(best.1).0.len();
        self.fix(state, count, fixed);
        let rest = state.window.len();
        self.forget(state, rest);
    }

    /// The tokens of the best hypothesis that are not fixed yet.
    pub(super) fn tail(&self, state: &BeamState, tail: &mut Vec<Token>) {
        if let Some(best) = state.beam.first() {
            let (_, tokens, spans) = self.align(state, best.node);
            tail.extend(tokens.iter().zip(&spans).map(|(&id, span)| span.token(id, state.base)));
        }
    }
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
