//! From token ids to text.
//!
//! What it does: keep the vocabulary's pieces in id order, say what each is for, join them to text.
//! What it does not do: encode text, handle punctuation or capitals (see `text`).
//! Source: SentencePiece's decoding (`▁` marks a word start, `<0xNN>` pieces are bytes of UTF-8, control pieces are
//! invisible), WordPiece (`##` continues a word). Called by the text layer and the command line.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Most pieces of a vocabulary.
const MAX_PIECES: usize = 1 << 18;
/// Marks the start of a word in SentencePiece vocabularies.
const WORD_START: char = '\u{2581}';
/// What an unknown piece is written as.
const UNKNOWN: &str = " \u{2047} ";

/// Why a vocabulary is refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum TokenizerError {
    /// No pieces, or too many.
    #[error("the vocabulary has {0} pieces, 1 to {MAX_PIECES} are supported")]
    Size(usize),
    /// A piece that a line of `vocab.txt` cannot hold.
    #[error("piece {0} of the vocabulary is empty or has a line break")]
    Piece(usize),
    /// A setting names a piece that does not exist.
    #[error("the tokenizer settings name piece {0}, which does not exist")]
    NoSuchPiece(u32),
    /// The languages' ranges do not add up.
    #[error("the tokenizer's languages have {ranges} pieces together, the vocabulary has {pieces}")]
    Ranges {
        /// Sum of the ranges.
        ranges: usize,
        /// Size of the vocabulary.
        pieces: usize,
    },
}

/// How pieces are joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Style {
    /// `▁` begins a word.
    #[default]
    SentencePiece,
    /// `##` continues a word.
    WordPiece,
}

/// What a piece is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Text.
    Normal,
    /// Stands for text that the vocabulary cannot write.
    Unknown,
    /// Invisible.
    Control,
    /// One byte of UTF-8.
    Byte,
}

/// A piece whose kind its text does not tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exception {
    /// Id of the piece.
    pub id: u32,
    /// What it is for.
    pub kind: Kind,
}

/// The ids of one language in an aggregate of several vocabularies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LanguageRange {
    /// Language tag.
    pub language: String,
    /// How many ids; they follow those of the languages before.
    pub pieces: usize,
}

/// What the pieces' texts alone do not tell; `[tokenizer]` in `model.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenizerSettings {
    /// How pieces are joined.
    #[serde(default)]
    pub style: Style,
    /// Pieces of another kind than their text says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<Exception>,
    /// Ranges of an aggregate vocabulary, in id order; empty otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub languages: Vec<LanguageRange>,
}

/// A vocabulary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokenizer {
    pieces: Vec<(String, Kind)>,
    settings: TokenizerSettings,
}

impl Kind {
    /// The kind that a piece's text alone tells.
    pub fn of(piece: &str, style: Style) -> Kind {
        match (style, piece) {
            (Style::SentencePiece, "<unk>") | (Style::WordPiece, "[UNK]" | "<unk>") => Kind::Unknown,
            (Style::SentencePiece, "<s>" | "</s>" | "<pad>") => Kind::Control,
            (Style::WordPiece, "[CLS]" | "[SEP]" | "[PAD]" | "[MASK]") => Kind::Control,
            (Style::SentencePiece, _) if byte_of(piece).is_some() => Kind::Byte,
            _ => Kind::Normal,
        }
    }
}

impl Tokenizer {
    /// A vocabulary of `pieces` in id order.
    pub fn new(pieces: Vec<String>, settings: TokenizerSettings) -> Result<Self, TokenizerError> {
        if pieces.is_empty() || pieces.len() > MAX_PIECES {
            return Err(TokenizerError::Size(pieces.len()));
        }
        if let Some(at) = pieces.iter().position(|piece| piece.is_empty() || piece.contains(['\n', '\r'])) {
            return Err(TokenizerError::Piece(at));
        }
        let ranges = settings
            .languages
            .iter()
            .fold(0usize, |sum, range| sum.saturating_add(range.pieces));
        if !settings.languages.is_empty() && ranges != pieces.len() {
            return Err(TokenizerError::Ranges {
                ranges,
                pieces: pieces.len(),
            });
        }
        let mut pieces: Vec<(String, Kind)> = pieces
            .into_iter()
            .map(|piece| {
                let kind = Kind::of(&piece, settings.style);
                (piece, kind)
            })
            .collect();
        for exception in &settings.exceptions {
            let piece = usize::try_from(exception.id).ok().and_then(|id| pieces.get_mut(id));
            piece.ok_or(TokenizerError::NoSuchPiece(exception.id))?.1 = exception.kind;
        }
        Ok(Tokenizer { pieces, settings })
    }

    /// Reads `vocab.txt`: one piece a line in id order.
    pub fn parse(vocabulary: &str, settings: TokenizerSettings) -> Result<Self, TokenizerError> {
        let lines = vocabulary.strip_suffix('\n').unwrap_or(vocabulary);
        Self::new(lines.split('\n').map(str::to_owned).collect(), settings)
    }

    /// The text of `vocab.txt`, see [`Tokenizer::parse`].
    pub fn vocabulary(&self) -> String {
        self.pieces.iter().flat_map(|(piece, _)| [piece.as_str(), "\n"]).collect()
    }

    /// What the pieces alone do not tell.
    pub fn settings(&self) -> &TokenizerSettings {
        &self.settings
    }

    /// All pieces in id order.
    pub fn pieces(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().map(|(piece, _)| piece.as_str())
    }

    /// Number of pieces; the blank's id is this number.
    pub fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Never true: a vocabulary has at least one piece.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The piece of an id, as the vocabulary spells it.
    pub fn piece(&self, id: u32) -> Option<&str> {
        self.entry(id).map(|(piece, _)| piece.as_str())
    }

    /// The id of a piece (`<EOU>`); the first one if several share the spelling.
    pub fn find(&self, piece: &str) -> Option<u32> {
        self.pieces
            .iter()
            .position(|(text, _)| text == piece)
            .and_then(|at| u32::try_from(at).ok())
    }

    /// The language of an id in an aggregate vocabulary.
    pub fn language(&self, id: u32) -> Option<&str> {
        let mut left = usize::try_from(id).ok()?;
        for range in &self.settings.languages {
            match left.checked_sub(range.pieces) {
                None => return Some(&range.language),
                Some(rest) => left = rest,
            }
        }
        None
    }

    /// True if a new word begins with this piece.
    pub fn starts_word(&self, id: u32) -> bool {
        match (self.entry(id), self.settings.style) {
            (Some((piece, Kind::Normal)), Style::SentencePiece) => piece.starts_with(WORD_START),
            (Some((piece, Kind::Normal)), Style::WordPiece) => !piece.starts_with("##"),
            _ => false,
        }
    }

    /// True for pieces that are no words: control pieces, language tags (`<en-US>`), `<EOU>` (end of utterance) and
    /// `<EOB>` (end of back-channel). [`Tokenizer::decode`] writes all but the control pieces; callers leave them out.
    pub fn is_special(&self, id: u32) -> bool {
        self.entry(id).is_some_and(|(piece, kind)| {
            *kind == Kind::Control || matches!(piece.as_str(), "<EOU>" | "<EOB>") || language_tag(piece).is_some()
        })
    }

    /// The language that a piece announces (`en-US` for `<en-US>`).
    pub fn language_tag(&self, id: u32) -> Option<&str> {
        self.piece(id).and_then(language_tag)
    }

    /// Joins the pieces to text: `▁` becomes a space, white space at the start of the text is dropped, unknown pieces become
    /// ` ⁇ `, bytes are joined to UTF-8 with U+FFFD for each byte that fits nowhere. Ids outside the vocabulary are skipped.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut text = String::new();
        let mut bytes = Vec::new();
        for (piece, kind) in ids.iter().filter_map(|&id| self.entry(id)) {
            if *kind == Kind::Byte {
                bytes.extend(byte_of(piece));
                continue;
            }
            append_bytes(&mut text, &mut bytes);
            match (kind, self.settings.style) {
                (Kind::Normal, Style::SentencePiece) => {
                    let piece = if text.is_empty() {
                        piece.strip_prefix(WORD_START).unwrap_or(piece)
                    } else {
                        piece
                    };
                    text.extend(piece.chars().map(|letter| if letter == WORD_START { ' ' } else { letter }));
                }
                (Kind::Normal, Style::WordPiece) => match piece.strip_prefix("##") {
                    Some(rest) => text.push_str(rest),
                    None if text.is_empty() => text.push_str(piece),
                    None => text.extend([" ", piece]),
                },
                (Kind::Unknown, Style::SentencePiece) => text.push_str(UNKNOWN),
                _ => {}
            }
        }
        append_bytes(&mut text, &mut bytes);
        text
    }

    fn entry(&self, id: u32) -> Option<&(String, Kind)> {
        self.pieces.get(usize::try_from(id).ok()?)
    }
}

/// Kinds that the pieces' texts do not tell, for [`TokenizerSettings::exceptions`].
pub(super) fn exceptions(kinds: &BTreeMap<u32, Kind>, pieces: &[String], style: Style) -> Vec<Exception> {
    let told = |id: &u32| {
        usize::try_from(*id)
            .ok()
            .and_then(|id| pieces.get(id))
            .map(|piece| Kind::of(piece, style))
    };
    kinds
        .iter()
        .filter(|(id, kind)| told(id) != Some(**kind))
        .map(|(&id, &kind)| Exception { id, kind })
        .collect()
}

/// The byte of a piece `<0xNN>`.
fn byte_of(piece: &str) -> Option<u8> {
    let digits = piece.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        u8::from_str_radix(digits, 16).ok()
    } else {
        None
    }
}

/// The tag inside `<xx-XX>`: two or three small letters, then a region or script.
fn language_tag(piece: &str) -> Option<&str> {
    let tag = piece.strip_prefix('<')?.strip_suffix('>')?;
    let (language, region) = tag.split_once('-')?;
    let language_fits = (2..=3).contains(&language.len()) && language.bytes().all(|letter| letter.is_ascii_lowercase());
    let region_fits = (2..=4).contains(&region.len()) && region.bytes().all(|letter| letter.is_ascii_alphanumeric());
    (language_fits && region_fits).then_some(tag)
}

fn append_bytes(text: &mut String, bytes: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    bytes.clear();
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

    fn tokenizer(pieces: &[&str]) -> Tokenizer {
        Tokenizer::new(pieces.iter().map(|&piece| piece.to_owned()).collect(), TokenizerSettings::default()).unwrap()
    }

    #[test]
    fn words_begin_with_a_mark_and_the_first_space_is_dropped() {
        let words = tokenizer(&["<unk>", "\u{2581}he", "llo", "\u{2581}", "x\u{2581}y"]);
        assert_eq!(words.decode(&[1, 2, 1, 2]), "hello hello");
        assert_eq!(
            words.decode(&[3, 1]),
            "he",
            "leading white space goes, however many pieces it is made of"
        );
        assert_eq!(words.decode(&[1, 3, 4]), "he x y");
        assert_eq!(words.decode(&[0, 1]), " \u{2047}  he", "an unknown piece brings its own spaces");
        assert_eq!(words.decode(&[]), "");
        assert_eq!(words.decode(&[99, 2]), "llo", "ids outside the vocabulary are skipped");
        assert_eq!(
            [0, 1, 2, 3, 4, 99].map(|id| words.starts_word(id)),
            [false, true, false, true, false, false]
        );
    }

    #[test]
    fn bytes_are_joined_to_utf8() {
        let bytes = tokenizer(&["<0xE2>", "<0x82>", "<0xAC>", "a", "<0x4>", "<s>"]);
        assert_eq!(bytes.decode(&[0, 1, 2, 3]), "\u{20ac}a");
        assert_eq!(
            bytes.decode(&[3, 0, 1, 3, 2]),
            "a\u{fffd}\u{fffd}a\u{fffd}",
            "one mark for each byte that fits nowhere"
        );
        assert_eq!(bytes.decode(&[0, 5, 1, 2]), "\u{fffd}\u{fffd}\u{fffd}", "control pieces part them");
        assert_eq!(bytes.decode(&[4]), "<0x4>", "not a byte: one digit");
    }

    #[test]
    fn special_pieces_are_told_by_text_and_by_exception() {
        let pieces = [
            "<unk>",
            "<s>",
            "<EOU>",
            "<EOB>",
            "<en-US>",
            "<yue-Hant>",
            "<b>",
            "<|go|>",
            "a-b",
            "</s>",
        ];
        let settings = TokenizerSettings {
            exceptions: vec![
                Exception {
                    id: 7,
                    kind: Kind::Control,
                },
                Exception { id: 9, kind: Kind::Normal },
            ],
            ..TokenizerSettings::default()
        };
        let special = Tokenizer::new(pieces.iter().map(|&piece| piece.to_owned()).collect(), settings.clone()).unwrap();
        let found: Vec<u32> = (0..10).filter(|&id| special.is_special(id)).collect();
        assert_eq!(found, [1, 2, 3, 4, 5, 7]);
        assert_eq!(
            (special.language_tag(4), special.language_tag(5), special.language_tag(6)),
            (Some("en-US"), Some("yue-Hant"), None)
        );
        assert_eq!(
            special.decode(&[1, 2, 7, 8, 9]),
            "<EOU>a-b</s>",
            "control pieces are invisible, user-defined symbols are not"
        );
        assert_eq!((special.find("<EOU>"), special.find("none")), (Some(2), None));
        let again = Tokenizer::parse(&special.vocabulary(), settings).unwrap();
        assert_eq!(again, special);
    }

    #[test]
    fn vocabularies_that_a_file_cannot_hold_are_refused() {
        let made = |pieces: &[&str], settings| Tokenizer::new(pieces.iter().map(|&piece| piece.to_owned()).collect(), settings);
        let plain = TokenizerSettings::default;
        assert_eq!(made(&[], plain()), Err(TokenizerError::Size(0)));
        assert_eq!(made(&["a", ""], plain()), Err(TokenizerError::Piece(1)));
        assert_eq!(made(&["a\nb"], plain()), Err(TokenizerError::Piece(0)));
        let exceptions = vec![Exception {
            id: 1,
            kind: Kind::Control,
        }];
        assert_eq!(
            made(&["a"], TokenizerSettings { exceptions, ..plain() }),
            Err(TokenizerError::NoSuchPiece(1))
        );
        let languages = vec![LanguageRange {
            language: "en".into(),
            pieces: 2,
        }];
        assert_eq!(
            made(&["a"], TokenizerSettings { languages, ..plain() }),
            Err(TokenizerError::Ranges { ranges: 2, pieces: 1 })
        );
        assert_eq!(Tokenizer::parse("a\n\nb\n", plain()), Err(TokenizerError::Piece(1)));
    }
}
