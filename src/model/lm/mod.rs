//! A word n-gram language model with backoff: built from sentences or ARPA text, kept in one compact file, queried from a memory map.
//!
//! What it does: counts and smooths ([`build`]), parses and checks ([`arpa`]), writes and reads the compact form ([`binary`]), answers
//! "how probable is this word here" and "which words begin like this" ([`lexicon`]), tells how well it expects a text ([`fit`]).
//! What it does not do: word pieces, search. Who calls it: the beam searches of `model::decode`, and `hark models lm`.

pub mod arpa;
pub mod binary;
pub mod build;
pub mod fit;
pub mod lexicon;
#[cfg(test)]
mod tests;
pub mod text;

use std::fs::File;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use thiserror::Error;

use self::arpa::Arpa;
use self::binary::Layout;
use self::lexicon::Lexicon;

/// Highest order that is read: up to four words of context.
pub const MAX_ORDER: usize = 5;
/// Words at most, so that a word id fits three bytes.
pub const MAX_WORDS: usize = 1 << 24;
/// n-grams of one order at most.
pub const MAX_NGRAMS: usize = 1 << 28;
/// Bytes of one word at most.
pub const MAX_WORD_BYTES: usize = 255;

/// ln of the probability given to a word when the model has no `<unk>` entry.
const NO_UNKNOWN: f32 = -20.0;

/// A language model could not be read or written.
#[derive(Debug, Error)]
pub enum LmError {
    /// Opening, reading or writing failed.
    #[error("language model {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// Reading the text failed.
    #[error("reading the text: {0}")]
    Read(#[source] std::io::Error),
    /// The text is malformed or exceeds a limit.
    #[error("line {line}: {reason}")]
    Line {
        /// Line, from 1.
        line: u64,
        /// What is wrong there.
        reason: String,
    },
    /// The n-grams contradict each other or exceed a limit.
    #[error("n-grams: {0}")]
    Model(String),
    /// The compact file is damaged, truncated or of another version.
    #[error("compact language model: {0}")]
    Corrupt(&'static str),
}

/// The last words before a position, at most `order - 1`, oldest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NgramState {
    words: [u32; MAX_ORDER - 1],
    len: usize,
}

impl NgramState {
    fn context(&self) -> &[u32] {
        self.words.get(..self.len).unwrap_or_default()
    }

    fn followed_by(&self, word: u32, order: usize) -> NgramState {
        let room = order.saturating_sub(1).min(MAX_ORDER - 1);
        let mut next = NgramState::default();
        let kept = self.context().len().min(room.saturating_sub(1));
        let recent = self.context().get(self.len - kept..).unwrap_or_default();
        for (to, &from) in next.words.iter_mut().zip(recent.iter().chain([&word])).take(room) {
            *to = from;
            next.len += 1;
        }
        next
    }
}

enum Bytes {
    Owned(Vec<u8>),
    Mapped(Mmap),
}

impl Bytes {
    fn all(&self) -> &[u8] {
        match self {
            Bytes::Owned(bytes) => bytes,
            Bytes::Mapped(map) => map,
        }
    }
}

/// A checked n-gram model, ready to be queried from any thread.
pub struct NgramModel {
    bytes: Bytes,
    layout: Layout,
    lexicon: Lexicon,
    sentence_start: Option<u32>,
    sentence_end: Option<u32>,
    unknown: Option<u32>,
}

impl NgramModel {
    /// Builds a model in memory from ARPA text.
    ///
    /// # Errors
    /// Malformed text, an n-gram whose context is missing, or a limit of this module exceeded.
    pub fn from_arpa(reader: impl BufRead) -> Result<Self, LmError> {
        Self::from_ngrams(&arpa::parse(reader)?)
    }

    /// Builds a model in memory from its n-grams.
    ///
    /// # Errors
    /// An n-gram whose context is missing, or a limit of this module exceeded.
    pub fn from_ngrams(model: &Arpa) -> Result<Self, LmError> {
        Self::from_bytes(Bytes::Owned(binary::write(model)?))
    }

    /// Opens a compact file by memory map and checks all of it (a few milliseconds for each megabyte).
    ///
    /// # Errors
    /// The file cannot be read, or is not a complete and consistent model.
    pub fn open(path: &Path) -> Result<Self, LmError> {
        let io = |source| LmError::Io {
            path: path.to_owned(),
            source,
        };
        let map = map(&File::open(path).map_err(io)?).map_err(io)?;
        Self::from_bytes(Bytes::Mapped(map))
    }

    /// Reads a compact model that is already in memory.
    ///
    /// # Errors
    /// The bytes are not a complete and consistent model.
    pub fn from_vec(bytes: Vec<u8>) -> Result<Self, LmError> {
        Self::from_bytes(Bytes::Owned(bytes))
    }

    fn from_bytes(bytes: Bytes) -> Result<Self, LmError> {
        let layout = Layout::read(bytes.all())?;
        let words = layout.words(bytes.all())?;
        let find = |name: &str| words.find(name.as_bytes());
        let (sentence_start, sentence_end, unknown) = (find("<s>"), find("</s>"), find("<unk>"));
        let lexicon = Lexicon::new(&words, |word| layout.unigram(bytes.all(), word));
        Ok(NgramModel {
            bytes,
            layout,
            lexicon,
            sentence_start,
            sentence_end,
            unknown,
        })
    }

    /// The compact form, as [`NgramModel::open`] reads it.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.all()
    }

    /// SHA-256 of the content: models with the same answer alike.
    pub fn digest(&self) -> &[u8] {
        binary::digest(self.as_bytes())
    }

    /// Writes the compact form under another name and renames it, since the file of that name may be mapped.
    ///
    /// # Errors
    /// Writing or renaming fails; nothing is left behind.
    pub fn write(&self, path: &Path) -> Result<(), LmError> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let written = File::create(&partial)
            .and_then(|mut file| file.write_all(self.as_bytes()).and_then(|()| file.sync_all()))
            .and_then(|()| std::fs::rename(&partial, path));
        written.map_err(|source| {
            std::fs::remove_file(&partial).ok();
            LmError::Io {
                path: path.to_owned(),
                source,
            }
        })
    }

    /// Bytes in use beside the compact form: the lexicon.
    pub fn lexicon_bytes(&self) -> usize {
        self.lexicon.bytes()
    }

    /// Words of context plus one.
    pub fn order(&self) -> usize {
        self.layout.order()
    }

    /// n-grams of `order` words (1 = words, with the sentence marks).
    pub fn count(&self, order: usize) -> usize {
        self.layout.count(order)
    }

    /// The words as a prefix tree.
    pub fn lexicon(&self) -> &Lexicon {
        &self.lexicon
    }

    /// The id of a word; `None` for unknown words and for marks such as `<s>`.
    pub fn word_id(&self, word: &str) -> Option<u32> {
        self.lexicon
            .advance(self.lexicon.root(), word.as_bytes())
            .and_then(|prefix| self.lexicon.word(prefix))
    }

    /// The state at the start of a sentence.
    pub fn start(&self) -> NgramState {
        self.sentence_start
            .map_or_else(NgramState::default, |word| NgramState::default().followed_by(word, self.order()))
    }

    /// ln P(`word` | `state`) and the state after it. Backoff as in ARPA models: the longest n-gram found, times the
    /// backoff weights of the longer contexts that lack it.
    pub fn score(&self, state: &NgramState, word: u32) -> (f32, NgramState) {
        let probability = self.layout.score(self.bytes.all(), state.context(), word);
        (probability, state.followed_by(word, self.order()))
    }

    /// ln P(unknown word | `state`) and the state after it.
    pub fn score_unknown(&self, state: &NgramState) -> (f32, NgramState) {
        match self.unknown {
            Some(word) => self.score(state, word),
            None => (NO_UNKNOWN, NgramState::default()),
        }
    }

    /// ln P(end of sentence | `state`); 0 if the model has no such mark.
    pub fn end(&self, state: &NgramState) -> f32 {
        self.sentence_end.map_or(0.0, |word| self.score(state, word).0)
    }
}

impl std::fmt::Debug for NgramModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NgramModel")
            .field("order", &self.order())
            .field("words", &self.count(1))
            .finish_non_exhaustive()
    }
}

/// A memory map shares the model between processes and reads only the pages that are used.
fn map(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: the map is read-only and only ever viewed as bytes. Every number read from it is range-checked where it is used,
    // so a file that changes under the map can give wrong scores but no access outside it. A file that is truncated while
    // mapped raises SIGBUS: model files are replaced by rename, never edited in place.
    unsafe { Mmap::map(file) }
}
