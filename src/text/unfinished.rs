//! Whether the last words may go on: numbers and addresses that are being dictated. English. Pure.
//!
//! What it does: says how many words at the end belong to something that what follows may be a part of. What it does not do: wait; see
//! [`crate::stream`]. It errs on the side of going on: "a table for two" may be the beginning of "two hundred". Who calls it: live results.

use super::format::open_address;
use super::redact::is_open;
use super::spoken::{self, MONTHS};
use super::words::Word;

/// Most words of one number: that of a card digit by digit, with what people say between. More are somebody who counts.
const MOST_WORDS: usize = 24;

/// How many words at the end may go on; 0 after the end of a sentence.
pub fn unfinished(words: &[Word]) -> usize {
    if words.last().is_none_or(|last| last.text.ends_with(['.', '?', '!'])) {
        return 0;
    }
    let near = words.get(words.len().saturating_sub(MOST_WORDS + 1)..).unwrap_or_default();
    let plain: Vec<String> = near.iter().map(Word::plain).collect();
    let plain: Vec<&str> = plain.iter().map(String::as_str).collect();
    number(&plain).max(open_address(&plain))
}

/// Numbers in a row, with what may stand before, between and behind them; or letters spelled one by one.
fn number(words: &[&str]) -> usize {
    let count = words.iter().rev().take_while(|word| is_part(word)).count();
    let run = words.get(words.len() - count..).unwrap_or_default();
    let letters = run.iter().filter(|word| is_letter(word)).count();
    let begins = |word: &&str| is_number(word) || letters > 1 && is_letter(word);
    let mut numbers = run.iter().filter(|word| begins(word));
    // Mostly a pronoun: "that one".
    let is_lone_one = numbers.next() == Some(&"one") && numbers.next().is_none();
    match run.iter().position(&begins) {
        Some(before) if !is_lone_one && count <= MOST_WORDS => run.len() - before,
        _ => 0,
    }
}

fn is_part(word: &str) -> bool {
    is_number(word) || is_letter(word) || is_open(word)
}

/// A numeral, or a month that is no other word.
fn is_number(word: &str) -> bool {
    spoken::counts(word) || MONTHS.contains(&word) && !matches!(word, "march" | "may")
}

fn is_letter(word: &str) -> bool {
    word.len() == 1 && word.bytes().all(|byte| byte.is_ascii_alphabetic())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::as_conversions)]
mod tests {
    use super::*;
    use crate::units::Samples;

    fn words(text: &str) -> Vec<Word> {
        let word = |(first, text): (usize, &str)| Word {
            text: text.to_owned(),
            start: Samples(first as u64),
            end: Samples(first as u64 + 1),
            confidence: 0.9,
            first,
        };
        text.split_whitespace().enumerate().map(word).collect()
    }

    #[test]
    fn what_may_go_on_is_told_from_what_does_not() {
        for (text, wanted) in [
            ("", 0),
            ("hello there", 0),
            ("my card number is", 0),
            ("my card number is four", 1),
            ("my card number is Four one one,", 3),
            ("four one one thanks", 0),
            ("four one one.", 0),
            ("is it four?", 0),
            ("it costs twenty dollars", 0),
            ("it costs twenty", 1),
            ("one hundred and", 3),
            ("and five", 1),
            ("five point", 2),
            ("four double", 2),
            ("4111 11", 2),
            ("i want that one", 0),
            ("one", 0),
            ("one one", 2),
            ("one um", 0),
            ("oh", 0),
            ("just a second", 0),
            ("on november", 1),
            ("on november second", 2),
            ("yes you may", 0),
            ("so i", 0),
            ("flight b two", 1),
            ("flight b a two four", 4),
            ("my name is spelled j o h", 3),
            ("to john dot", 2),
            ("to john dot smith", 3),
            ("to john dot smith at gmail", 5),
            ("to john dot smith at gmail dot com", 0),
            ("john at gmail", 3),
            ("where are you at", 0),
            ("john dot what do you mean", 0),
            ("w w w dot", 4),
        ] {
            assert_eq!(unfinished(&words(text)), wanted, "{text:?}");
        }
        for (count, wanted) in [(MOST_WORDS, MOST_WORDS), (MOST_WORDS + 1, 0), (100, 0)] {
            assert_eq!(unfinished(&words(&"four ".repeat(count))), wanted);
        }
    }
}
