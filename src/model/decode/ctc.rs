//! CTC: the linear head with its log-softmax, and the greedy search over its frames.
//!
//! What it does: log-probabilities; best token of each frame, equal neighbours joined, blanks removed. A token's start is the
//! first frame of its run, its end one past the last; its confidence the least of the run.
//! What it does not do: beam search (see `beam`). Who calls it: the decoder.
#![allow(clippy::indexing_slicing, reason = "row widths are fixed by the head's own shape")]

use super::confidence::Confidence;
use super::favour::{Choice, Favour};
use crate::engine::batch::Token;
use crate::model::arch::Architecture;
use crate::model::weights::{Weights, WeightsError};
use crate::ops::linear::Linear;
use crate::ops::log_softmax::log_softmax;
use crate::terms::Place;
use crate::units::Frames;

/// The output layer of a CTC model or of a hybrid.
pub(super) struct CtcHead {
    linear: Linear,
    outputs: usize,
    width: usize,
}

impl CtcHead {
    pub(super) fn new(arch: &Architecture, weights: &Weights) -> Result<Self, WeightsError> {
        let (outputs, width) = (arch.vocabulary + 1, arch.encoder.width);
        let (matrix, bias) = tensors(arch, weights)?;
        Ok(CtcHead {
            linear: Linear::new(matrix, bias, outputs, width),
            outputs,
            width,
        })
    }

    /// Columns of the result: vocabulary and blank.
    pub(super) fn outputs(&self) -> usize {
        self.outputs
    }

    /// ln probabilities `[n, V + 1]` of encoder rows `[n, D]`.
    pub(super) fn log_probs(&self, rows: &[f32]) -> Vec<f32> {
        let count = rows.len() / self.width;
        let mut out = vec![0.0; count * self.outputs];
        self.linear.forward(rows, count, &mut out);
        out.chunks_exact_mut(self.outputs).for_each(log_softmax);
        out
    }
}

/// The head's matrix `[V + 1, D]` and bias, under whichever name the checkpoint has them.
pub(super) fn tensors<'a>(arch: &Architecture, weights: &'a Weights) -> Result<(&'a [f32], Option<&'a [f32]>), WeightsError> {
    let (outputs, width) = (arch.vocabulary + 1, arch.encoder.width);
    let hybrid = "ctc_decoder.decoder_layers.0";
    let name = if weights.contains(&format!("{hybrid}.weight")) {
        hybrid
    } else {
        "decoder.decoder_layers.0"
    };
    let matrix = weights.get(&format!("{name}.weight"), &[outputs, width, 1])?;
    Ok((matrix, weights.get_optional(&format!("{name}.bias"), &[outputs])?))
}

/// The index of the greatest value, the lowest of equal ones.
pub(super) fn argmax(values: &[f32]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate().skip(1) {
        if *value > values[best] {
            best = index;
        }
    }
    best
}

/// What is left of a frame's confidence if the token `id` is taken where `best` has the greatest ln probability.
pub(super) fn share(log_probs: &[f32], id: usize, best: usize) -> f32 {
    if id == best { 1.0 } else { (log_probs[id] - log_probs[best]).exp() }
}

/// Where a greedy CTC search stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Greedy {
    /// Best token of the last frame, blank included.
    last: Option<u32>,
    /// The run that may still go on.
    pub(super) open: Option<Token>,
    /// Where the tokens have led among the stream's terms.
    pub(super) place: Place,
    /// How the last token came to be chosen, if it still lasts.
    run: Option<Choice>,
}

impl Greedy {
    /// Takes one frame's ln probabilities and returns the token whose run it ended, if any.
    pub(super) fn push(&mut self, row: &[f32], frame: Frames, confidence: Confidence, favour: Option<Favour<'_>>) -> Option<Token> {
        let (best, blank) = (argmax(row), row.len().saturating_sub(1));
        let id = favour.map_or(best, |favour| self.choose(row, best, favour));
        let number = |id: usize| u32::try_from(id).unwrap_or(u32::MAX);
        self.push_best(number(id), number(blank), frame, || confidence.of(row) * share(row, id, best))
    }

    /// The token to take with the bonus of the terms, where `best` would be taken without.
    fn choose(&mut self, row: &[f32], best: usize, favour: Favour<'_>) -> usize {
        let tokens = &row[..row.len() - 1];
        self.run = (best < tokens.len()).then(|| favour.choose(tokens, self.place, self.run));
        self.run.map_or(best, |choice| {
            self.place = choice.place;
            choice.token
        })
    }

    /// As [`Greedy::push`], where the frame's best token is known already.
    pub(super) fn push_best(&mut self, id: u32, blank: u32, frame: Frames, confidence: impl FnOnce() -> f32) -> Option<Token> {
        let end = Frames(frame.0.saturating_add(1));
        if self.last.replace(id) == Some(id) {
            if let Some(token) = &mut self.open {
                token.end = end;
                token.confidence = token.confidence.min(confidence());
            }
            return None;
        }
        let started = (id != blank).then(|| Token {
            id,
            start: frame,
            end,
            confidence: confidence(),
        });
        std::mem::replace(&mut self.open, started)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(frames: &[usize]) -> Vec<(u32, u32, u32)> {
        let mut greedy = Greedy::default();
        let mut tokens: Vec<Token> = Vec::new();
        for (frame, &best) in (0..).zip(frames) {
            let mut row = [-5.0; 4];
            row[best] = -0.1;
            tokens.extend(greedy.push(&row, Frames(frame), Confidence::MaxProb, None));
        }
        tokens.extend(greedy.open);
        tokens.iter().map(|token| (token.id, token.start.0, token.end.0)).collect()
    }

    #[test]
    fn runs_are_joined_and_a_repeat_after_blank_counts_again() {
        assert_eq!(run(&[3, 1, 1, 3, 1, 2, 2, 2, 3]), [(1, 1, 3), (1, 4, 5), (2, 5, 8)]);
    }

    #[test]
    fn ties_go_to_the_lowest_index() {
        assert_eq!(argmax(&[0.5, 1.0, 1.0]), 1);
    }
}
