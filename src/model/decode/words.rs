//! What language model and terms say about the words that some tokens spell.
//!
//! What it does: follows pieces through the lexicon, scores a word under way by the best it may become, and complete words by
//! the n-gram model; adds the bonus of the stream's terms, whose words are worth as much as unknown ones at least, without the
//! penalty of these. Letters are compared in lower case, marks other than the apostrophe are
//! passed over. Who calls it: the beam searches.

use std::sync::Arc;

use super::beam::BeamOptions;
use super::favour::Favour;
use crate::model::lm::lexicon::Prefix;
use crate::model::lm::{NgramModel, NgramState};
use crate::terms::{Place, letters};

/// Begins a word in a SentencePiece vocabulary.
const WORD_START: char = '\u{2581}';

/// The word that the last tokens begin.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Word {
    /// No letters yet.
    #[default]
    Empty,
    /// Letters that begin a known word.
    Known(Prefix),
    /// Letters that begin no known word.
    Unknown,
}

/// What some tokens spell, and what language model and terms make of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    pub(super) word: Word,
    /// Score of the complete words.
    pub(super) base: f64,
    /// Expected score of the word under way.
    pub(super) partial: f64,
    /// Words before the word under way.
    context: NgramState,
    /// Score and context once the word under way is complete; computed when first needed.
    complete: Option<(f64, NgramState)>,
    /// Where its letters lead among the stream's terms.
    pub(super) place: Place,
    /// Bonus of those terms.
    favour: f64,
}

impl Said {
    /// Nothing yet, after the words of `context`.
    pub(super) fn after(context: NgramState) -> Self {
        Said {
            context,
            ..Said::default()
        }
    }

    /// What language model and terms add to the tokens' own probability.
    pub(super) fn score(&self) -> f64 {
        self.base + self.partial + self.favour
    }
}

/// A piece of the vocabulary as the lexicon sees it.
#[derive(Clone, Debug, Default)]
pub(super) struct Piece {
    pub(super) begins: bool,
    pub(super) letters: Box<[u8]>,
    /// For a piece that begins a word: the word and its expected score.
    first: (Word, f64),
}

/// Scores words for one vocabulary and one language model; without a model only terms score.
pub(super) struct WordScorer {
    lm: Option<Arc<NgramModel>>,
    pieces: Vec<Piece>,
    weight: f64,
    bonus: f64,
    penalty: f64,
    /// Expected score of an unknown word under way.
    unknown: f64,
    /// The least score of a word of a term.
    of_term: f64,
    /// Added for each letter of a term of weight 1.
    term_bonus: f64,
}

impl WordScorer {
    pub(super) fn new(lm: Option<Arc<NgramModel>>, pieces: &[String], options: &BeamOptions) -> Self {
        let unknown = lm.as_ref().map_or(0.0, |lm| f64::from(lm.score_unknown(&NgramState::default()).0));
        let (weight, bonus) = (f64::from(options.lm_weight), f64::from(options.word_bonus));
        let penalty = f64::from(options.unknown_penalty);
        let unknown = weight * unknown - penalty + bonus;
        let mut scorer = WordScorer {
            lm,
            pieces: pieces.iter().map(|piece| parse(piece)).collect(),
            weight,
            bonus,
            penalty,
            unknown,
            of_term: unknown + penalty,
            term_bonus: f64::from(options.term_bonus),
        };
        let firsts: Vec<(Word, f64)> = scorer
            .pieces
            .iter()
            .map(|piece| scorer.spell(Word::Empty, &piece.letters))
            .collect();
        for (piece, first) in scorer.pieces.iter_mut().zip(firsts) {
            piece.first = first;
        }
        scorer
    }

    /// The words before an utterance.
    pub(super) fn start(&self) -> NgramState {
        self.lm.as_ref().map_or_else(NgramState::default, |lm| lm.start())
    }

    /// Score of the end of a sentence after `context`.
    fn end(&self, context: &NgramState) -> f64 {
        self.lm.as_ref().map_or(0.0, |lm| self.weight * f64::from(lm.end(context)))
    }

    fn piece(&self, token: u32) -> Option<&Piece> {
        usize::try_from(token).ok().and_then(|token| self.pieces.get(token))
    }

    /// True if the token begins a word.
    pub(super) fn begins(&self, token: u32) -> bool {
        self.piece(token).is_some_and(|piece| piece.begins)
    }

    /// By how much the expected score of a word may grow with further letters: those after none begin to earn the bonus,
    /// otherwise it falls as fewer words remain possible.
    pub(super) fn slack(&self) -> f64 {
        self.bonus.max(0.0)
    }

    /// The word under way after `token`, and its expected score.
    fn extend(&self, word: Word, token: u32) -> (Word, f64) {
        match self.piece(token) {
            Some(piece) if piece.begins => piece.first,
            Some(piece) => self.spell(word, &piece.letters),
            None => (word, 0.0),
        }
    }

    fn spell(&self, word: Word, letters: &[u8]) -> (Word, f64) {
        let Some(lm) = &self.lm else { return (Word::Empty, 0.0) };
        let lexicon = lm.lexicon();
        let from = match word {
            Word::Empty if letters.is_empty() => return (Word::Empty, 0.0),
            Word::Empty => lexicon.root(),
            Word::Known(prefix) => prefix,
            Word::Unknown => return (Word::Unknown, self.unknown),
        };
        match lexicon.advance(from, letters) {
            Some(prefix) => (Word::Known(prefix), self.weight * f64::from(lexicon.best(prefix)) + self.bonus),
            None => (Word::Unknown, self.unknown),
        }
    }

    /// What is said with one more token.
    pub(super) fn grown(&self, said: &mut Said, token: u32, favour: Option<Favour<'_>>) -> Said {
        let (base, context) = if self.begins(token) {
            self.complete(said, favour)
        } else {
            (said.base, said.context)
        };
        let (place, bonus) = self.favoured(said, token, favour);
        let (word, partial) = self.expected(said.word, token, place);
        Said {
            word,
            base,
            partial,
            context,
            complete: None,
            place,
            favour: bonus,
        }
    }

    /// As [`WordScorer::extend`], where a token has led to `place` among the terms.
    pub(super) fn expected(&self, word: Word, token: u32, place: Place) -> (Word, f64) {
        match self.extend(word, token) {
            (Word::Empty, partial) => (Word::Empty, partial),
            (word, partial) if place.within() => (word, partial.max(self.of_term)),
            other => other,
        }
    }

    /// Where one more token leads among the terms, and the bonus then; without terms everything stays.
    pub(super) fn favoured(&self, said: &Said, token: u32, favour: Option<Favour<'_>>) -> (Place, f64) {
        match favour {
            Some(favour) => {
                let token = usize::try_from(token).unwrap_or(usize::MAX);
                let (place, _) = favour.follow(said.place, token);
                (place, self.term_bonus * place.worth())
            }
            None => (said.place, said.favour),
        }
    }

    /// What language model and terms add once the word under way has ended, and the sentence with it if `sentence`.
    pub(super) fn ended(&self, said: &mut Said, sentence: bool, favour: Option<Favour<'_>>) -> f64 {
        let (complete, context) = self.complete(said, favour);
        let last = if sentence { self.end(&context) } else { 0.0 };
        let bonus = favour.map_or(said.favour, |favour| self.term_bonus * favour.ended(said.place, sentence));
        complete + last + bonus
    }

    /// Leaves the terms: those complete keep their bonus, those under way are broken off.
    pub(super) fn leave_terms(&self, said: &mut Said) {
        said.place = said.place.left();
        said.favour = self.term_bonus * said.place.worth();
        said.complete = None;
    }

    /// Score and context once the word under way is complete; kept.
    pub(super) fn complete(&self, said: &mut Said, favour: Option<Favour<'_>>) -> (f64, NgramState) {
        if let Some(complete) = said.complete {
            return complete;
        }
        let complete = match (&self.lm, said.word) {
            (None, _) | (_, Word::Empty) => (said.base, said.context),
            (Some(lm), word) => {
                let known = if let Word::Known(prefix) = word {
                    lm.lexicon().word(prefix)
                } else {
                    None
                };
                let (probability, context) = known.map_or_else(|| lm.score_unknown(&said.context), |word| lm.score(&said.context, word));
                let penalty = if known.is_some() { 0.0 } else { self.penalty };
                let score = self.weight * f64::from(probability) - penalty + self.bonus;
                let of_term = favour.is_some_and(|favour| favour.terms.spells(said.place));
                (said.base + if of_term { score.max(self.of_term) } else { score }, context)
            }
        };
        said.complete = Some(complete);
        complete
    }
}

/// Letters of a piece; marks such as `<EOU>` and language tags end a word and have none.
pub(super) fn parse(piece: &str) -> Piece {
    let begins = piece.starts_with(WORD_START);
    if piece == "<unk>" {
        return Piece {
            letters: "\u{2047}".as_bytes().into(),
            ..Piece::default()
        };
    }
    if piece.starts_with('<') && piece.ends_with('>') {
        return Piece {
            begins: true,
            ..Piece::default()
        };
    }
    let letters: String = letters(piece).collect();
    Piece {
        begins,
        letters: letters.into_bytes().into(),
        ..Piece::default()
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

    const ARPA: &str = "\\data\\\nngram 1=3\n\n\\1-grams:\n-2.0\t<unk>\n-1.0\tdon't\n-1.5\tdo\n\n\\end\\\n";

    fn scorer(options: &BeamOptions) -> WordScorer {
        let pieces = ["\u{2581}Do", "n't", ",", "\u{2581}x", "<EOU>", "\u{2581}"].map(str::to_owned);
        WordScorer::new(Some(Arc::new(NgramModel::from_arpa(ARPA.as_bytes()).unwrap())), &pieces, options)
    }

    #[test]
    fn a_word_under_way_is_worth_the_best_it_may_become() {
        let options = BeamOptions {
            lm_weight: 1.0,
            word_bonus: 0.5,
            unknown_penalty: 3.0,
            ..BeamOptions::default()
        };
        let scorer = scorer(&options);
        let ln = |base10: f64| base10 * std::f64::consts::LN_10;
        let near = |got: f64, wanted: f64| assert!((got - wanted).abs() < 0.05, "{got} not {wanted}");
        let (word, expected) = scorer.extend(Word::Unknown, 0);
        near(expected, ln(-1.0) + 0.5);
        let complete = |word| scorer.complete(&mut Said { word, ..Said::default() }, None).0;
        near(complete(word), ln(-1.5) + 0.5);
        let (word, expected) = scorer.extend(word, 1);
        near(expected, ln(-1.0) + 0.5);
        assert_eq!(scorer.extend(word, 2).0, word, "marks are passed over");
        near(complete(word), expected);
        let (word, expected) = scorer.extend(word, 1);
        assert_eq!(word, Word::Unknown);
        near(expected, ln(-2.0) - 3.0 + 0.5);
        near(complete(word), expected);
    }

    #[test]
    fn marks_and_bare_delimiters_are_no_words() {
        let scorer = scorer(&BeamOptions::default());
        for token in [4, 5] {
            assert!(scorer.begins(token));
            assert_eq!(scorer.extend(Word::Unknown, token), (Word::Empty, 0.0));
        }
        assert_eq!(scorer.complete(&mut Said::default(), None).0, 0.0);
        assert!(matches!(scorer.extend(Word::Empty, 3), (Word::Unknown, _)));
    }
}
