//! What is written in another form than it is spoken in: numbers, dates, addresses, units, marks. English, without a model. Pure.
//!
//! What it does: looks at each word for something that begins there, the most particular first, and puts one word, with the time of all,
//! in the place of the words that are one thing. What stands between two words' punctuation is not joined. What it does not do: join
//! words across results, or change the order of words. Rules that choose between two readings are beside the lists they use.
//! Who calls it: [`super::rewrite`].

mod addresses;
mod codes;
mod dates;
mod dictation;
mod internet;
mod numbers;

pub(super) use self::internet::open_address;
use super::run::{ending, joined, opening};
use super::spoken::Written;
use crate::wire::changes::Format;
use crate::wire::results::Word;

/// What begins at a word: the written forms of the next words, one after the other.
type Rule = fn(&Text<'_>, usize) -> Option<Vec<Written>>;

/// What `smart_format` writes, the most particular first.
const SMART: &[Rule] = &[
    internet::email,
    internet::web,
    codes::phone,
    dates::date,
    dates::time,
    numbers::money,
    numbers::percent,
    addresses::street,
    addresses::numbered_street,
    dates::bare_time,
    codes::code,
    codes::long,
    numbers::numerals,
];

impl Format {
    /// The words in their written form.
    pub fn words(self, words: Vec<Word>) -> Vec<Word> {
        let mut rules: Vec<Rule> = Vec::new();
        if self.measurements {
            rules.push(numbers::measure);
        }
        if self.smart {
            rules.extend(SMART);
        } else if self.numerals {
            rules.push(numbers::numerals);
        }
        let words = if rules.is_empty() { words } else { written(&rules, &words) };
        if self.dictation { dictation::marks(words) } else { words }
    }
}

fn written(rules: &[Rule], words: &[Word]) -> Vec<Word> {
    let text = Text::new(words);
    let mut shown = Vec::with_capacity(words.len());
    let mut at = 0;
    while let Some(word) = words.get(at) {
        let found = rules.iter().find_map(|rule| rule(&text, at));
        let before = at;
        for part in found.into_iter().flatten() {
            let run = words.get(at..at + part.words).unwrap_or_default();
            shown.extend(joined(run, &part.text));
            at += run.len();
        }
        if at == before {
            shown.push(word.clone());
            at += 1;
        }
    }
    shown
}

/// Words as they were spoken.
struct Text<'a> {
    words: Vec<&'a str>,
    /// Where the words end that no punctuation parts from each word.
    ends: Vec<usize>,
    /// A comma alone follows the word.
    commas: Vec<bool>,
}

impl<'a> Text<'a> {
    fn new(words: &'a [Word]) -> Self {
        let mut ends = Vec::with_capacity(words.len());
        let mut end = words.len();
        for (index, word) in words.iter().enumerate().rev() {
            if !ending(word).is_empty() || words.get(index + 1).is_some_and(|next| !opening(next).is_empty()) {
                end = index + 1;
            }
            ends.push(end);
        }
        ends.reverse();
        Self {
            words: words.iter().map(|word| word.word.as_str()).collect(),
            ends,
            commas: words.iter().map(|word| ending(word) == ",").collect(),
        }
    }

    /// The words from `at` on, up to the next punctuation.
    fn run(&self, at: usize) -> &[&'a str] {
        let end = self.ends.get(at).copied().unwrap_or(at);
        self.words.get(at..end).unwrap_or_default()
    }

    /// The word before `at`; empty if there is none, or punctuation between.
    fn before(&self, at: usize) -> &'a str {
        match at.checked_sub(1).map(|before| self.run(before)) {
            Some([word, _, ..]) => word,
            _ => "",
        }
    }

    /// What is said goes on at `at`, perhaps after a comma.
    fn goes_on(&self, at: usize) -> bool {
        let after_comma = at
            .checked_sub(1)
            .and_then(|before| self.commas.get(before))
            .is_some_and(|comma| *comma);
        after_comma || !self.before(at).is_empty()
    }
}

/// The word at `at` of some, or nothing.
fn word<'a>(words: &[&'a str], at: usize) -> &'a str {
    words.get(at).copied().unwrap_or_default()
}

/// The words from `at` on.
fn rest<'t, 'a>(words: &'t [&'a str], at: usize) -> &'t [&'a str] {
    words.get(at..).unwrap_or_default()
}

/// With its first letter as a capital.
fn capital(word: &str) -> String {
    let mut letters = word.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(letters).collect()
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
