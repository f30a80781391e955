//! What a language model says about the words that a prefix's tokens spell.
//!
//! What it does: follows pieces through the lexicon, scores a word under way by the best it may become, and complete words by
//! the n-gram model. Letters are compared in lower case, marks other than the apostrophe are passed over.
//! Who calls it: `beam`.

use std::sync::Arc;

use super::beam::BeamOptions;
use super::tree::{Node, Word};
use crate::model::lm::{NgramModel, NgramState};

/// Begins a word in a SentencePiece vocabulary.
const WORD_START: char = '\u{2581}';

/// A piece of the vocabulary as the lexicon sees it.
#[derive(Clone, Debug, Default)]
struct Piece {
    begins: bool,
    letters: Box<[u8]>,
    /// For a piece that begins a word: the word and its expected score.
    first: (Word, f64),
}

/// Scores words for one vocabulary and one language model; without a model every score is zero.
pub(super) struct WordScorer {
    lm: Option<Arc<NgramModel>>,
    pieces: Vec<Piece>,
    weight: f64,
    bonus: f64,
    penalty: f64,
    /// Expected score of an unknown word under way.
    unknown: f64,
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
    pub(super) fn end(&self, context: &NgramState) -> f64 {
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
    pub(super) fn extend(&self, word: Word, token: u32) -> (Word, f64) {
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

    /// Score and context of a prefix once its word under way is complete; kept in the node.
    pub(super) fn complete(&self, node: &mut Node) -> (f64, NgramState) {
        if let Some(complete) = node.complete {
            return complete;
        }
        let complete = match (&self.lm, node.word) {
            (None, _) | (_, Word::Empty) => (node.base, node.context),
            (Some(lm), word) => {
                let known = if let Word::Known(prefix) = word {
                    lm.lexicon().word(prefix)
                } else {
                    None
                };
                let (probability, context) = known.map_or_else(|| lm.score_unknown(&node.context), |word| lm.score(&node.context, word));
                let penalty = if known.is_some() { 0.0 } else { self.penalty };
                (node.base + self.weight * f64::from(probability) - penalty + self.bonus, context)
            }
        };
        node.complete = Some(complete);
        complete
    }
}

/// Letters of a piece; marks such as `<EOU>` and language tags end a word and have none.
fn parse(piece: &str) -> Piece {
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
    let letters: String = piece
        .chars()
        .filter(|letter| letter.is_alphanumeric() || *letter == '\'')
        .flat_map(char::to_lowercase)
        .collect();
    Piece {
        begins,
        letters: letters.into_bytes().into(),
        ..Piece::default()
    }
}
