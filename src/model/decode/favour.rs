//! What a stream's terms say of the pieces that a search may emit.
//!
//! What it does: spells pieces into the letters that terms are made of, and chooses the token of a greedy search with the bonus of
//! its terms. What it does not do: match letters (see `terms`). Who calls it: the searches.
//!
//! Source of the greedy rule: NeMo's phrase boosting (Andrusenko et al. 2025, "TurboBias"): whether a token is emitted at all is the
//! model's own decision; the bonus decides only which.
#![allow(
    clippy::indexing_slicing,
    reason = "tokens are below the vocabulary's size, places below the row's width"
)]

use super::ctc::argmax;
use super::words;
use crate::terms::{BOUNDARY, Place, Terms};

/// Bonus of a greedy search for each letter of a term of weight 1, in ln probability.
pub(super) const GREEDY_BONUS: f64 = 1.0;

/// The pieces of a vocabulary as terms see them: letters, and a boundary where a word begins.
pub(super) struct Spelled {
    pieces: Vec<Box<[u8]>>,
}

impl Spelled {
    pub(super) fn new(pieces: &[String]) -> Self {
        let spell = |piece: &String| {
            let words::Piece { begins, letters, .. } = words::parse(piece);
            begins.then_some(BOUNDARY).into_iter().chain(letters).collect()
        };
        Spelled {
            pieces: pieces.iter().map(spell).collect(),
        }
    }
}

/// The terms of one stream over the pieces of its model.
#[derive(Clone, Copy)]
pub(super) struct Favour<'a> {
    pub(super) terms: &'a Terms,
    pub(super) spelled: &'a Spelled,
}

/// The token that a greedy search takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Choice {
    pub(super) token: usize,
    /// Where it leads.
    pub(super) place: Place,
    /// What it was given.
    pub(super) bonus: f64,
}

impl Favour<'_> {
    /// Where a token leads, and what it earns by itself; see [`Terms::follow`].
    pub(super) fn follow(&self, place: Place, token: usize) -> (Place, f64) {
        let letters = self.spelled.pieces.get(token).map(Box::as_ref).unwrap_or_default();
        self.terms.follow(place, letters)
    }

    /// True if a token goes on with a term, or begins one.
    pub(super) fn goes_on(&self, place: Place, token: u32) -> bool {
        let token = usize::try_from(token).unwrap_or(usize::MAX);
        self.follow(place, token).0.within()
    }

    /// What complete terms have earned if a word ends here; with those that go on, unless the sentence ends as well.
    pub(super) fn ended(&self, place: Place, sentence: bool) -> f64 {
        let place = self.terms.follow(place, &[BOUNDARY]).0;
        if sentence { place.kept() } else { place.worth() }
    }

    /// The best token by ln probability (or logit) and bonus. A search that takes a token for as long as it lasts gives the
    /// choice that still lasts as `run`: to go on with it leads nowhere else.
    pub(super) fn choose(&self, scores: &[f32], place: Place, run: Option<Choice>) -> Choice {
        let choice = |token: usize| match run {
            Some(run) if run.token == token => Choice { place, ..run },
            _ => {
                let (place, earned) = self.follow(place, token);
                let bonus = GREEDY_BONUS * earned;
                Choice { token, place, bonus }
            }
        };
        let worth = |choice: &Choice| f64::from(scores[choice.token]) + choice.bonus;
        let first = choice(argmax(scores));
        (0..scores.len())
            .map(choice)
            .fold(first, |best, choice| if worth(&choice) > worth(&best) { choice } else { best })
    }
}
