//! Letters and numerals in a row, as codes and names are spelled: "b for bravo three", "capital t h", "double l".

use std::ops::Range;

use super::lists::{ALPHABET, FILLERS, List, list};
use super::numerals::{self, Run};

/// Words between two letters.
const BETWEEN: usize = 2;
/// Letters in a row of which an "i" behind them is one more, unless one speaks of oneself.
const LETTERS: usize = 4;
/// Words behind "i".
static SAID_OF_ONESELF: List = list!(
    "am was have had will would want wanted need needed think thought do don't did didn't can can't cannot could couldn't live lived know \
     knew believe mean meant said say just guess got get also really never always still only used see saw spell spelled work worked \
     call called paid pay ordered understand hope wonder suppose like liked love might should spoke moved changed lost put gave went go \
     haven't hadn't won't wouldn't isn't wasn't told tell ask asked bought sent send received made make take took wrote use found \
     find feel felt apologize apologise assume actually currently"
);
/// Digits behind an "a" from which on it is a letter.
const LONG: usize = 5;
/// Words that are spelled as one; hours may be spelled without an end.
const MOST: usize = 128;

/// What is spelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spelled {
    pub(super) words: Range<usize>,
    /// Its letters and digits.
    pub(super) text: String,
}

impl Spelled {
    pub(super) fn letters(&self) -> usize {
        self.text.chars().filter(|c| c.is_alphabetic()).count()
    }
}

/// All that is spelled in the words, in order, without overlap. `runs`: the numerals among them.
pub(super) fn spelled(words: &[&str], runs: &[Run]) -> Vec<Spelled> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let Some(one) = one(words, runs, at) else {
            at += 1;
            continue;
        };
        at = one.words.end.max(at + 1);
        found.extend(trimmed(words, one));
    }
    found
}

/// What is spelled from an index on.
fn one(words: &[&str], runs: &[Run], from: usize) -> Option<Spelled> {
    let mut text = String::new();
    let (mut at, mut end) = (from, from);
    while end - from < MOST
        && let Some((part, used)) = part(words, runs, at, !text.is_empty() || end > from)
    {
        text.push_str(&part);
        end = at + used;
        let is_between = |n: &usize| (end..end + n).all(|at| words.get(at).is_some_and(|word| is_between(word)));
        let next = (0..=BETWEEN).filter(is_between).find(|n| part_at(words, runs, end + n));
        let Some(skip) = next else { break };
        at = end + skip;
    }
    (end > from).then_some(Spelled { words: from..end, text })
}

fn part_at(words: &[&str], runs: &[Run], at: usize) -> bool {
    part(words, runs, at, true).is_some()
}

/// Letters and digits in one word.
fn is_written(word: &str) -> bool {
    let has = |is: fn(&char) -> bool| word.chars().any(|c| is(&c));
    word.chars().all(char::is_alphanumeric) && has(char::is_ascii_digit) && has(|c| c.is_alphabetic())
}

fn is_between(word: &str) -> bool {
    FILLERS.has(word) && word != "well"
        || matches!(
            word,
            "dash" | "hyphen" | "slash" | "space" | "stroke" | "then" | "comma" | "colon" | "apostrophe" | "letter"
        )
}

/// A numeral or letter: what it is written with, and its words. `follows`: another stands before.
fn part(words: &[&str], runs: &[Run], at: usize, follows: bool) -> Option<(String, usize)> {
    let run = runs
        .get(runs.partition_point(|run| run.words.start < at))
        .filter(|run| run.words.start == at);
    // "Sw1a 1aa" as a model may write it.
    if let Some(word) = words.get(at).filter(|word| is_written(word)) {
        return Some(((*word).to_owned(), 1));
    }
    // "Sierra november one nine".
    if follows && words.get(at) == Some(&"november") && run.is_none_or(|run| run.is_date) {
        return Some(("n".to_owned(), 1));
    }
    if let Some(run) = run {
        return (!run.is_count && !run.is_date).then(|| (run.digits.clone(), run.words.end - at));
    }
    // The rest of "n for november one nine".
    let within = runs
        .get(runs.partition_point(|run| run.words.end <= at))
        .filter(|run| run.words.contains(&at) && run.is_date);
    if let Some(run) = within {
        let rest = numerals::runs(words.get(at..run.words.end)?);
        return rest
            .first()
            .filter(|rest| rest.words.start == 0 && !rest.is_date)
            .map(|rest| (rest.digits.clone(), rest.words.end));
    }
    letter(words, at).or_else(|| {
        let word = *words.get(at)?;
        let next = words.get(at + 1).copied().unwrap_or_default();
        let is_letter = || letter(words, at + 1).is_some() && !matches!(next, "a" | "i");
        let goes_on = || ALPHABET.has(next) || is_letter() || runs.binary_search_by_key(&(at + 1), |run| run.words.start).is_ok();
        let is_word = ALPHABET.has(word) && (follows || goes_on());
        is_word.then(|| (word.chars().take(1).collect(), 1))
    })
}

/// A letter, with what it is for.
pub(super) fn letter(words: &[&str], at: usize) -> Option<(String, usize)> {
    let word = |n: usize| words.get(at + n).copied().unwrap_or_default();
    let (case, times) = match (word(0), word(1)) {
        ("capital" | "uppercase" | "lowercase" | "small" | "big", _) => (1, 1),
        ("upper" | "lower", "case") => (2, 1),
        ("double", _) => (1, 2),
        ("triple", _) => (1, 3),
        _ => (0, 1),
    };
    if matches!((word(0), word(1)), ("double", "u" | "you")) {
        return Some(("w".to_owned(), 2));
    }
    let letter = match word(case) {
        "zed" | "zee" => "z",
        "oh" if case == 0 => return follows_letter(words, at).then(|| ("o".to_owned(), 1)),
        one if one.chars().count() == 1 && one.chars().all(char::is_alphabetic) => one,
        _ => return None,
    };
    let said = |n: usize| {
        let word = word(case + 1 + n);
        word.starts_with(letter) && word.chars().all(|c| c.is_alphabetic() || c == '-') && (word.len() > 1 || letter == "x")
    };
    let behind = match (word(case + 1), word(case + 2)) {
        ("as" | "is", "in" | "for") if said(2) => 3,
        ("for" | "as" | "like", _) if said(1) => 2,
        // "S sierra".
        (next, _) if said(0) && ALPHABET.has(next) => 1,
        _ => 0,
    };
    let ray = usize::from(behind > 0 && word(case + behind) == "x" && word(case + 1 + behind) == "ray");
    Some((letter.repeat(times), case + 1 + behind + ray))
}

/// "oh" is a letter among letters and numerals only.
fn follows_letter(words: &[&str], at: usize) -> bool {
    let next = words.get(at + 1).copied().unwrap_or_default();
    next.chars().count() == 1
}

/// Without "i" and "a" that are words at the ends.
fn trimmed(words: &[&str], mut spelled: Spelled) -> Option<Spelled> {
    let word = |at: usize| words.get(at).copied().unwrap_or_default();
    let Range { start, end } = spelled.words;
    let last = word(end.saturating_sub(1));
    let next = word(end);
    let is_closed = matches!(
        next,
        "" | "please" | "thanks" | "thank" | "and" | "okay" | "yes" | "is" | "that's" | "um" | "uh" | "at"
    );
    let before = word(end.saturating_sub(2));
    let is_mailbox = next == "at" && end - start > 3;
    // "C h i d i and", and not "a b c i want".
    let is_said = end - start < LETTERS || SAID_OF_ONESELF.has(next);
    let is_word = last == "i" && !next.is_empty() && !is_mailbox && is_said || last == "a" && !is_closed && before != "a";
    if is_word && end - start > 1 && !matches!(before, "double" | "capital") {
        spelled.text.pop();
        spelled.words.end -= 1;
    } else if is_word && end - start == 1 {
        return None;
    }
    let second = word(start + 1);
    let leads = matches!(word(start), "i" | "a") && second.chars().count() > 1 && !matches!(second, "for" | "as" | "like");
    if leads && spelled.words.len() > 1 {
        let is_code = spelled.letters() > 1 || spelled.text.chars().count() > LONG;
        if !is_code {
            spelled.text.remove(0);
            spelled.words.start += 1;
        }
    }
    Some(spelled)
}
