//! The decoder's transducer streams in one call: those read greedily together, those with a beam beside them.
//!
//! What it does: moves a stream from one search to the other where its terms come or go. What it does not do: search.
//! Who calls it: [`Decoder::advance`].

use rayon::prelude::*;

use super::hypotheses::{Hypotheses, TransducerBeam};
use super::transducer::{Emission, Lane};
use super::{DecodeInput, DecodeState, Decoder, SearchState};
use crate::engine::batch::Token;
use crate::units::Frames;

impl Decoder {
    /// Decodes all streams' encoder frames, which lie one stream after the other in `rows`.
    pub(super) fn advance_transducer(&self, work: &mut [DecodeInput<'_>], rows: &[f32]) {
        let Some(transducer) = &self.transducer else { return };
        let projected = transducer.project(rows);
        let mut rest = projected.as_slice();
        let (mut lanes, mut results, mut beams) = (Vec::new(), Vec::new(), Vec::new());
        for input in work.iter_mut() {
            let count = self.count(input);
            let (own, others) = rest.split_at_checked(count * transducer.joint_width()).unwrap_or((rest, &[]));
            rest = others;
            if let Some(beam) = self.hypothesising(input.state.lm, input.terms.is_some()) {
                beams.push((beam, input, own));
                continue;
            }
            self.leave_beam(input);
            let DecodeState {
                frames,
                search: SearchState::Transducer(state),
                ..
            } = &mut *input.state
            else {
                continue;
            };
            lanes.push(Lane {
                state,
                projected: own,
                emitted: Vec::new(),
                margins: None,
            });
            results.push((frames, count, &mut *input.decoded));
        }
        transducer.decode(&mut lanes, self.confidence);
        for (lane, (frames, count, decoded)) in lanes.into_iter().zip(results) {
            for emission in lane.emitted {
                self.fix(token(&emission, *frames), decoded);
            }
            *frames = frames.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        }
        beams
            .par_iter_mut()
            .for_each(|(beam, input, own)| self.search_transducer(beam, input, own.chunks_exact(transducer.joint_width())));
    }

    /// Returns a stream whose terms are gone to the greedy search.
    fn leave_beam(&self, input: &mut DecodeInput<'_>) {
        let Some(beam) = self.hypothesising(input.state.lm, true) else {
            return;
        };
        let search = &mut input.state.search;
        if let SearchState::Hypotheses(hypotheses) = search {
            let mut fixed = Vec::new();
            let left = Hypotheses::clone(hypotheses);
            *search = SearchState::Transducer(beam.leave(left, &mut fixed));
            fixed.into_iter().for_each(|token| self.fix(token, input.decoded));
        }
    }

    /// Decodes one stream's frames, each in the joint space, with a beam.
    fn search_transducer<'a>(&self, beam: &TransducerBeam, input: &mut DecodeInput<'_>, frames: impl Iterator<Item = &'a [f32]>) {
        let favour = self.favour(input.terms);
        let DecodeState { frames: frame, search, .. } = &mut *input.state;
        if let SearchState::Transducer(greedy) = search {
            let hypotheses = beam.begin(std::mem::take(greedy), *frame);
            *search = SearchState::Hypotheses(Box::new(hypotheses));
        }
        let SearchState::Hypotheses(hypotheses) = search else { return };
        let (mut fixed, mut tail) = (Vec::new(), Vec::new());
        for row in frames {
            beam.push(hypotheses, row, self.confidence, favour, &mut fixed);
            *frame = frame.saturating_add(1);
        }
        if input.commit || input.end {
            beam.commit(hypotheses, input.end, favour, &mut fixed);
        }
        beam.tail(hypotheses, &mut tail);
        self.give(fixed, tail, input.decoded);
    }
}

/// An RNN-T token lasts one frame, a TDT token its duration (which may be zero).
pub(super) fn token(emission: &Emission, base: u32) -> Token {
    let start = base.saturating_add(u32::try_from(emission.frame).unwrap_or(u32::MAX));
    Token {
        id: u32::try_from(emission.id).unwrap_or(u32::MAX),
        start: Frames(start),
        end: Frames(start.saturating_add(emission.duration.unwrap_or(1))),
        confidence: emission.confidence,
    }
}
