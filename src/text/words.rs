//! Pieces of a vocabulary to words with times and confidence.
//!
//! What it does: joins pieces to words, byte pieces to characters, leaves out markers such as language tags, attaches
//! punctuation to the word before, and makes times fit a window. What it does not do: change what was recognised.
//! Who calls it: live results, the assembly of files.

use crate::units::{Millis, Samples};
use crate::wire::results as wire;

/// Shortest word, where the window has room for it.
const MIN_WORD: Millis = Millis(20);

/// The boundary mark of SentencePiece vocabularies.
const BOUNDARY: char = '\u{2581}';
/// The mark of WordPiece vocabularies on pieces that go on with a word.
const CONTINUATION: &str = "##";

/// What a model's token ids stand for.
pub trait Vocabulary {
    /// The piece of an id as the vocabulary spells it, boundary marks included; `None` if there is no such id.
    fn piece(&self, id: u32) -> Option<&str>;

    /// The piece begins a word.
    fn starts_word(&self, id: u32) -> bool;

    /// The piece is a marker and no text (`<en-US>`, `<EOU>`). Byte pieces (`<0x41>`) and unknown ones (`<unk>`) may or may not
    /// count as such.
    fn is_special(&self, id: u32) -> bool;
}

/// A recognised piece with its place in a stream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Piece {
    /// Id in the vocabulary.
    pub id: u32,
    /// Beginning, on the stream's sample clock.
    pub start: Samples,
    /// End, on the stream's sample clock.
    pub end: Samples,
    /// 0 to 1.
    pub confidence: f32,
}

/// A word.
#[derive(Clone, Debug, PartialEq)]
pub struct Word {
    /// As the model wrote it, with its capitals and punctuation.
    pub text: String,
    /// Beginning: that of its first piece.
    pub start: Samples,
    /// End: that of its last piece, punctuation aside.
    pub end: Samples,
    /// The least of its pieces' confidences.
    pub confidence: f32,
    /// Index of its first piece.
    pub first: usize,
}

impl Word {
    /// The word in lower case and without the punctuation around it.
    pub fn plain(&self) -> String {
        self.text.trim_matches(is_punctuation).to_lowercase()
    }

    /// The word as messages and responses show it; `punctuate`: also as the model wrote it.
    pub fn to_wire(&self, punctuate: bool) -> wire::Word {
        wire::Word {
            word: self.plain(),
            start: self.start.into(),
            end: self.end.into(),
            confidence: self.confidence,
            punctuated_word: punctuate.then(|| self.text.clone()),
        }
    }
}

/// Joins pieces to words. Pieces come in order of time.
pub fn words(pieces: &[Piece], vocabulary: &dyn Vocabulary) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut open: Option<Open> = None;
    for (index, piece) in pieces.iter().enumerate() {
        let Some(spelled) = vocabulary.piece(piece.id) else { continue };
        let byte = byte(spelled);
        if byte.is_none() && (vocabulary.is_special(piece.id) || matches!(spelled, "<unk>" | "[UNK]")) {
            continue;
        }
        let starts = vocabulary.starts_word(piece.id);
        if starts {
            close(open.take(), &mut words);
        }
        let open = open.get_or_insert_with(|| Open::new(index, piece));
        match byte {
            Some(byte) => open.add(&[byte], piece),
            None => {
                let continued = if starts { None } else { spelled.strip_prefix(CONTINUATION) };
                let text = continued.unwrap_or(spelled).trim_start_matches(BOUNDARY);
                open.add(text.replace(BOUNDARY, " ").as_bytes(), piece);
            }
        }
    }
    close(open, &mut words);
    words
}

/// Makes the times of words lie within a window, follow each other, and end after they start where there is room.
pub fn fit(words: &mut [Word], from: Samples, to: Samples) {
    let mut next = Samples(u64::MAX);
    for word in words.iter_mut().rev() {
        if next > word.start {
            word.end = word.end.min(next);
        }
        next = word.start;
    }
    let mut floor = from.min(to);
    for word in words {
        word.start = word.start.clamp(floor, to);
        word.end = word.end.max(word.start.plus(MIN_WORD.samples())).min(to);
        floor = word.end;
    }
}

/// A word under construction.
struct Open {
    bytes: Vec<u8>,
    start: Samples,
    end: Option<Samples>,
    confidence: f32,
    first: usize,
}

impl Open {
    fn new(first: usize, piece: &Piece) -> Self {
        Self {
            bytes: Vec::new(),
            start: piece.start,
            end: None,
            confidence: 1.0,
            first,
        }
    }

    fn add(&mut self, bytes: &[u8], piece: &Piece) {
        let punctuation = std::str::from_utf8(bytes).is_ok_and(|text| text.chars().all(is_punctuation));
        if !punctuation || self.end.is_none() {
            self.end = Some(piece.end);
        }
        // `min` takes the number where the other is none.
        self.confidence = self.confidence.min(piece.confidence);
        self.bytes.extend_from_slice(bytes);
    }
}

/// Ends a word: one without text is dropped, one of punctuation alone goes to the word before.
fn close(open: Option<Open>, words: &mut Vec<Word>) {
    let Some(open) = open else { return };
    let text = String::from_utf8_lossy(&open.bytes).trim().to_owned();
    if !text.chars().all(is_punctuation) {
        let end = open.end.unwrap_or(open.start).max(open.start);
        words.push(Word {
            text,
            start: open.start,
            end,
            confidence: open.confidence.clamp(0.0, 1.0),
            first: open.first,
        });
    } else if let Some(before) = words.last_mut() {
        before.text.push_str(&text);
    }
}

/// The value of a byte piece such as `<0x41>`.
fn byte(piece: &str) -> Option<u8> {
    let digits = piece.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() == 2 {
        u8::from_str_radix(digits, 16).ok()
    } else {
        None
    }
}

pub(super) fn is_punctuation(c: char) -> bool {
    matches!(
        c,
        '.' | ',' | '?' | '!' | ':' | ';' | '"' | '(' | ')' | '[' | ']' | '{' | '}' | '…' | '¿' | '¡' | '«' | '»' | '“' | '”' | '„' | '‘'
    ) || matches!(c, '。' | '、' | '？' | '！' | '，' | '：' | '；' | '।' | '؟' | '،' | '–' | '—')
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic
)]
mod tests;
