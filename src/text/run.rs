//! Words in a row as they are shown: the punctuation around them, where they lie, and one written form in the place of several. Pure.
//!
//! Who calls it: [`super::rewrite`], [`super::format`], and what looks for something in them.

use std::ops::Range;

use super::words::is_punctuation;
use crate::wire::Seconds;
use crate::wire::results::Word;

/// A word without the punctuation at its ends.
pub(super) fn bare(word: &str) -> &str {
    word.trim_matches(|c: char| !c.is_alphanumeric())
}

/// The punctuation before a word.
pub(super) fn opening(word: &Word) -> &str {
    let written = word.punctuated_word.as_deref().unwrap_or_default();
    let length = written.len() - written.trim_start_matches(is_punctuation).len();
    written.get(..length).unwrap_or_default()
}

/// The punctuation after a word. The dot of "p.m." counts as its own.
pub(super) fn ending(word: &Word) -> &str {
    let written = word.punctuated_word.as_deref().unwrap_or_default();
    let length = written.trim_end_matches(is_punctuation).len();
    let ending = written.get(length..).unwrap_or_default();
    if word.word.ends_with(".m") {
        ending.strip_prefix('.').unwrap_or(ending)
    } else {
        ending
    }
}

/// The word ends a sentence.
pub(super) fn ends_sentence(word: &Word) -> bool {
    ending(word).contains(['.', '?', '!'])
}

/// Which of the words, in order of time, lie at least partly between two times.
pub(super) fn overlap(words: &[Word], start: Seconds, end: Seconds) -> Range<usize> {
    let first = words.partition_point(|word| word.end <= start);
    first..words.partition_point(|word| word.start < end).max(first)
}

/// The words joined by blanks, as the model or a rule wrote them.
pub(super) fn written(words: &[Word]) -> String {
    let written: Vec<&str> = words
        .iter()
        .map(|word| word.punctuated_word.as_ref().unwrap_or(&word.word).as_str())
        .collect();
    written.join(" ")
}

/// Leaves a word out. The end of a sentence stays.
pub(super) fn drop_word(word: &Word, shown: &mut [Word]) {
    if let Some(before) = shown.last_mut()
        && ending(before).is_empty()
        && ending(word).starts_with(['.', '?', '!'])
        && let Some(written) = &mut before.punctuated_word
    {
        written.push_str(ending(word));
    }
}

/// One word, written as `text`, in the place of a run: with its time, its lowest confidence and the punctuation around it. `None` if the
/// run is empty.
pub(super) fn joined(run: &[Word], text: &str) -> Option<Word> {
    let (first, last) = (run.first()?, run.last()?);
    Some(Word {
        word: text.to_lowercase(),
        start: first.start,
        end: last.end,
        confidence: run.iter().map(|word| word.confidence).fold(first.confidence, f32::min),
        punctuated_word: first
            .punctuated_word
            .as_ref()
            .map(|_| format!("{}{text}{}", opening(first), ending(last))),
    })
}
