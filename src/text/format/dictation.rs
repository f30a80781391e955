//! Spoken punctuation: "period", "new line".

use super::capital;
use crate::text::run::ending;
use crate::text::words::is_punctuation;
use crate::wire::results::Word;

/// What is said, and the mark (contract 7.4). Breaks are written in angle brackets.
const MARKS: &[(&[&str], &str)] = &[
    (&["period"], "."),
    (&["comma"], ","),
    (&["colon"], ":"),
    (&["question", "mark"], "?"),
    (&["exclamation", "mark"], "!"),
    (&["exclamation", "point"], "!"),
    (&["new", "line"], "<\n>"),
    (&["new", "paragraph"], "<\n\n>"),
];

/// After these a noun is meant: "a period of time".
const ARTICLES: &[&str] = &["a", "an", "the", "this", "that", "each", "every"];

/// A mark becomes one word with the word before it; a break, or a mark without a word before it, is a word of its own. A sentence
/// after a mark begins with a capital.
pub(super) fn marks(words: Vec<Word>) -> Vec<Word> {
    let mut shown: Vec<Word> = Vec::with_capacity(words.len());
    let (mut at, mut begins) = (0, false);
    while let Some(word) = words.get(at) {
        let before = at.checked_sub(1).and_then(|before| words.get(before));
        let noun = before.is_some_and(|before| ARTICLES.contains(&before.word.as_str()));
        let Some((run, mark)) = spoken(words.get(at..).unwrap_or_default()).filter(|_| !noun) else {
            let mut word = word.clone();
            if begins {
                word.punctuated_word = word.punctuated_word.as_deref().map(capital);
            }
            shown.push(word);
            (at, begins) = (at + 1, false);
            continue;
        };
        put(run, mark, &mut shown);
        at += run.len();
        begins = !matches!(mark, "," | ":");
    }
    shown
}

/// The mark that `words` begin with, and the words that say it.
fn spoken(words: &[Word]) -> Option<(&[Word], &'static str)> {
    MARKS.iter().find_map(|(said, mark)| {
        let run = words.get(..said.len())?;
        let parted = run.iter().rev().skip(1).any(|word| !ending(word).is_empty());
        let fits = !parted && run.iter().map(|word| word.word.as_str()).eq(said.iter().copied());
        fits.then_some((run, *mark))
    })
}

fn put(run: &[Word], mark: &str, shown: &mut Vec<Word>) {
    let (Some(first), Some(last)) = (run.first(), run.last()) else {
        return;
    };
    let confidence = run.iter().map(|word| word.confidence).fold(first.confidence, f32::min);
    let is_break = mark.starts_with('<');
    match shown.last_mut() {
        Some(before) if !is_break && !before.word.starts_with('<') => {
            before.end = last.end;
            before.confidence = before.confidence.min(confidence);
            if let Some(written) = &mut before.punctuated_word {
                let length = written.trim_end_matches(is_punctuation).len();
                written.truncate(length);
                written.push_str(mark);
            }
        }
        _ => shown.push(Word {
            word: mark.to_owned(),
            start: first.start,
            end: last.end,
            confidence,
            punctuated_word: first.punctuated_word.as_ref().map(|_| mark.to_owned()),
        }),
    }
}
