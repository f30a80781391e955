//! Places the tokens of a chosen hypothesis in time: the best CTC alignment over the frames that are not fixed yet.
//!
//! Who calls it: `beam`, for tokens that become fixed and for the tail, so that the search itself carries no times.
#![allow(
    clippy::indexing_slicing,
    reason = "the tables are made here with the sizes that they are read with"
)]

use std::collections::VecDeque;

use super::confidence::Confidence;
use crate::engine::batch::Token;
use crate::units::Frames;

/// ln probability assumed for tokens that were not worth trying at a frame.
const UNTRIED: f32 = -14.0;

/// What is kept of a frame: blank and the tokens worth trying.
#[derive(Clone, Debug)]
pub(super) struct FrameScores {
    blank: f32,
    most: f32,
    confidence: f32,
    tokens: Box<[(u32, f32)]>,
}

impl FrameScores {
    /// From a row of ln probabilities (blank last) and its chosen tokens.
    pub(super) fn new(row: &[f32], tokens: &[(u32, f32)], confidence: Confidence) -> Self {
        let blank = row.last().copied().unwrap_or(0.0);
        let most = tokens.iter().map(|(_, score)| *score).fold(blank, f32::max);
        let confidence = if tokens.is_empty() { 0.0 } else { confidence.of(row) };
        FrameScores {
            blank,
            most,
            confidence,
            tokens: tokens.into(),
        }
    }

    fn score(&self, token: u32) -> f32 {
        self.tokens.iter().find(|(id, _)| *id == token).map_or(UNTRIED, |(_, score)| *score)
    }

    /// Certainty that this frame is `token`: that of the frame, less if another token leads.
    fn confidence(&self, token: u32) -> f32 {
        self.confidence * (self.score(token) - self.most).exp()
    }
}

/// Where a token lies in the window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Span {
    /// First frame.
    pub(super) start: usize,
    /// One past the last frame.
    pub(super) end: usize,
    /// Least of its frames.
    pub(super) confidence: f32,
}

impl Span {
    /// As a token of an utterance whose window begins at `base`.
    pub(super) fn token(&self, id: u32, base: u32) -> Token {
        let place = |frame: usize| Frames(base.saturating_add(u32::try_from(frame).unwrap_or(u32::MAX)));
        Token {
            id,
            start: place(self.start),
            end: place(self.end),
            confidence: self.confidence,
        }
    }
}

/// The best alignment of `tokens` to the frames. `before` is the token that ended (or still runs) where the window begins.
/// More tokens than frames can only come from hypotheses of the window before; they share the frames evenly.
pub(super) fn align(window: &VecDeque<FrameScores>, before: Option<u32>, tokens: &[u32]) -> Vec<Span> {
    let (frames, count) = (window.len(), tokens.len());
    if count == 0 {
        return Vec::new();
    }
    // States: the run of `before`, blank, first token, blank, second token, ..., last token, blank.
    let states = 2 * count + 2;
    let label = |state: usize| match state {
        0 => before,
        _ if state % 2 == 1 => None,
        _ => Some(tokens[state / 2 - 1]),
    };
    let mut scores = vec![f32::NEG_INFINITY; states];
    scores[0] = 0.0;
    scores[1] = 0.0;
    let mut steps = vec![0_u8; frames * states];
    for (frame, row) in window.iter().zip(steps.chunks_exact_mut(states)) {
        for state in (0..states).rev() {
            let own = label(state);
            let mut best = (scores[state], 0);
            if state >= 1 && scores[state - 1] > best.0 {
                best = (scores[state - 1], 1);
            }
            if state >= 2 && state % 2 == 0 && own != label(state - 2) && scores[state - 2] > best.0 {
                best = (scores[state - 2], 2);
            }
            let score = match own {
                Some(token) => frame.score(token),
                None if state == 0 => f32::NEG_INFINITY,
                None => frame.blank,
            };
            scores[state] = best.0 + score;
            row[state] = best.1;
        }
    }
    let mut state = if scores[states - 1] > scores[states - 2] {
        states - 1
    } else {
        states - 2
    };
    if scores[state] == f32::NEG_INFINITY {
        return (0..count).map(|at| evenly(at, count, frames)).collect();
    }
    let mut spans = vec![
        Span {
            start: 0,
            end: 0,
            confidence: 1.0
        };
        count
    ];
    for (at, row) in steps.chunks_exact(states).enumerate().rev() {
        if state >= 2 && state % 2 == 0 {
            let span = &mut spans[state / 2 - 1];
            span.start = at;
            span.end = span.end.max(at + 1);
            span.confidence = span.confidence.min(window[at].confidence(tokens[state / 2 - 1]));
        }
        state -= usize::from(row[state]);
    }
    spans
}

fn evenly(at: usize, count: usize, frames: usize) -> Span {
    let start = at * frames / count;
    Span {
        start,
        end: (start + 1).min(frames),
        confidence: 0.0,
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
mod tests {
    use super::*;

    /// Frames of three columns (two tokens, blank) from probabilities.
    fn window(frames: &[[f32; 3]]) -> VecDeque<FrameScores> {
        let row = |frame: &[f32; 3]| {
            let row = frame.map(f32::ln);
            FrameScores::new(&row, &[(0, row[0]), (1, row[1])], Confidence::MaxProb)
        };
        frames.iter().map(row).collect()
    }

    fn places(spans: &[Span]) -> Vec<(usize, usize)> {
        spans.iter().map(|span| (span.start, span.end)).collect()
    }

    #[test]
    fn equal_neighbours_need_a_blank_between() {
        let frames = window(&[[0.9, 0.05, 0.05], [0.7, 0.05, 0.25], [0.9, 0.05, 0.05]]);
        assert_eq!(places(&align(&frames, None, &[0, 0])), [(0, 1), (2, 3)]);
        assert_eq!(places(&align(&frames, None, &[0])), [(0, 3)]);
    }

    #[test]
    fn a_run_from_before_the_window_is_not_the_next_token() {
        let frames = window(&[[0.9, 0.05, 0.05], [0.1, 0.1, 0.8], [0.6, 0.1, 0.3], [0.1, 0.8, 0.1]]);
        assert_eq!(places(&align(&frames, Some(0), &[1])), [(3, 4)]);
        assert_eq!(places(&align(&frames, Some(0), &[0, 1])), [(2, 3), (3, 4)]);
        assert_eq!(places(&align(&frames, None, &[0, 1])), [(0, 1), (3, 4)]);
    }

    #[test]
    fn more_tokens_than_frames_share_them_in_order() {
        let frames = window(&[[0.9, 0.05, 0.05], [0.05, 0.9, 0.05]]);
        assert_eq!(places(&align(&frames, None, &[0, 1, 0])), [(0, 1), (0, 1), (1, 2)]);
        assert_eq!(places(&align(&VecDeque::new(), None, &[0])), [(0, 0)]);
    }
}
