//! Numerals as people say them, found in English words: digit by digit, in pairs, as cardinals, in dates, and as figures.
//!
//! What it does: finds runs of numerals and the digits that they would be written with. What it does not do: say what a number means.
//! Who calls it: [`super::rules`].

use std::ops::Range;

use crate::text::spoken::MONTHS;

/// Words between two numerals of one run.
const CONNECTORS: [&str; 16] = [
    "and", "comma", "dash", "dot", "er", "erm", "hyphen", "minus", "of", "point", "slash", "space", "the", "then", "uh", "um",
];
/// Those of them between the parts of a date.
const DATE_CONNECTORS: usize = 3;

const DIGITS: [&str; 10] = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];

const TEENS: [&str; 10] = [
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];

const TENS: [&str; 8] = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];

const ORDINALS: [&str; 19] = [
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
    "thirteenth",
    "fourteenth",
    "fifteenth",
    "sixteenth",
    "seventeenth",
    "eighteenth",
    "nineteenth",
];

/// Words before a lone "one" that make it a pronoun.
const BEFORE_PRONOUN: [&str; 14] = [
    "another", "any", "each", "every", "last", "new", "no", "only", "other", "some", "that", "the", "this", "which",
];

/// Words before a lone "one" that it numbers.
const BEFORE_NUMBER: [&str; 8] = ["number", "line", "option", "room", "gate", "unit", "is", "was"];

/// Words behind a "one" that asks to wait.
const PAUSES: [&str; 6] = ["moment", "sec", "second", "minute", "more", "time"];

/// Numerals in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Which words, connectors between numerals included.
    pub(super) words: Range<usize>,
    /// As it would be written, without anything between the digits and without months.
    pub(super) digits: String,
    /// The name of a month is part of it.
    pub(super) is_date: bool,
    /// It counts something that stands beside it: "the last four digits".
    pub(super) is_count: bool,
}

/// Whether a word at the end of what was heard may turn out to be a part of a number.
pub(in crate::text) fn is_open(word: &str) -> bool {
    let begins = matches!(word, "oh" | "o" | "a" | "one") || repeated(word).is_some() || ordinal(word).is_some() || MONTHS.contains(&word);
    begins || CONNECTORS.contains(&word)
}

/// Whether the letters so far of a word that is still being said may become a numeral.
pub(super) fn may_become(begun: &str) -> bool {
    let lists: [&[&str]; 4] = [&DIGITS, &TEENS, &TENS, &ORDINALS];
    let words = || {
        lists
            .into_iter()
            .flatten()
            .copied()
            .chain(MONTHS)
            .chain(["hundred", "thousand", "double", "triple"])
    };
    !begun.is_empty() && words().any(|word| word.len() > begun.len() && word.starts_with(begun))
}

/// All runs in words of lower case without punctuation around them.
pub(super) fn runs(words: &[&str]) -> Vec<Run> {
    let tokens: Vec<(usize, &str)> = words
        .iter()
        .enumerate()
        .flat_map(|(index, word)| word.split('-').map(move |part| (index, part)))
        .collect();
    let spelled: Vec<&str> = tokens.iter().map(|(_, part)| *part).collect();
    let mut runs = Vec::new();
    let mut at = 0;
    while at < spelled.len() {
        let Some(run) = run(&spelled, at) else {
            at += 1;
            continue;
        };
        let end = run.words.end;
        let (first, last) = (tokens.get(at), tokens.get(end.saturating_sub(1)));
        if let (Some((first, _)), Some((last, _))) = (first, last) {
            let words = *first..last + 1;
            let is_count = is_count(&spelled, at..end);
            if !is_pronoun(&spelled, at..end) {
                runs.push(Run { words, is_count, ..run });
            }
        }
        at = end;
    }
    runs
}

/// The run that begins at a token; its `words` are tokens.
fn run(tokens: &[&str], from: usize) -> Option<Run> {
    let mut digits = String::new();
    let mut is_date = false;
    let mut end = from;
    let mut at = from;
    while let Some((found, used, month)) = element(tokens, at, end > from && (at == end || is_mark(tokens, at))) {
        // "Four one. One moment."
        let is_pause = end > from && tokens.get(at) == Some(&"one") && tokens.get(at + 1).is_some_and(|next| PAUSES.contains(next));
        // "Three seven one five, then six digits".
        let counts = at > end
            && tokens
                .get(at + used)
                .is_some_and(|next| matches!(*next, "digit" | "digits" | "numbers"));
        // "One nine four november juliet".
        let is_year = digits.len() == 4 && (digits.starts_with("19") || digits.starts_with("20"));
        let is_letter = month && tokens.get(at) == Some(&"november") && digits.len() > 2 && !is_year;
        if is_pause || is_letter || counts && end > from {
            break;
        }
        digits.push_str(&found);
        is_date |= month;
        end = at + used;
        // Up to two connectors, if a numeral follows.
        let skipped = |n: &usize| (end..end + n).all(|at| tokens.get(at).is_some_and(|token| CONNECTORS.contains(token)));
        let is_pair = from.checked_sub(1).and_then(|before| tokens.get(before)) == Some(&"between") && tokens.get(end) == Some(&"and");
        let next = (0..=if is_pair { 0 } else { 2 })
            .filter(skipped)
            .find(|n| element(tokens, end + n, *n == 0 || is_mark(tokens, end + n)).is_some());
        let Some(skip) = next else { break };
        at = end + skip;
    }
    (!digits.is_empty()).then_some(Run {
        words: from..end,
        digits,
        is_date,
        is_count: false,
    })
}

/// "Dot oh", "dash oh".
fn is_mark(tokens: &[&str], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| tokens.get(before));
    before.is_some_and(|word| matches!(*word, "dot" | "point" | "dash" | "hyphen" | "slash"))
}

/// A numeral, ordinal or month at a token: its digits, the tokens it takes, whether it is a month. `follows`: another stands right before.
fn element(tokens: &[&str], at: usize, follows: bool) -> Option<(String, usize, bool)> {
    let rest = tokens.get(at..)?;
    let token = *rest.first()?;
    if matches!(token, "oh" | "o") {
        let next = rest
            .get(1)
            .is_some_and(|next| !matches!(*next, "oh" | "o") && (small(next).is_some() || repeated(next).is_some()));
        let other = rest.get(1).is_some_and(|next| matches!(*next, "oh" | "o")) && rest.get(2).is_some_and(|next| small(next).is_some());
        return (follows || next || other).then(|| ("0".to_owned(), 1, false));
    }
    if let Some((digits, used)) = numeral(rest) {
        return Some((digits, used, false));
    }
    if MONTHS.contains(&token) {
        let next = behind(tokens, at);
        let is_before = numeral(next).is_some() || next.first().is_some_and(|token| ordinal(token).is_some());
        let is_after = follows || is_day_before(tokens, at);
        return (is_before || is_after).then(|| (String::new(), 1, true));
    }
    let value = ordinal(token)?;
    let next = behind(tokens, at);
    let before = before(tokens, at);
    let by_month = [next.first(), before].into_iter().flatten().any(|token| MONTHS.contains(token));
    // "The tenth of twenty eight", "the third of the fourth".
    let of_next = rest.get(1) == Some(&"of")
        && next
            .first()
            .is_some_and(|next| ordinal(next).is_some() || small(next).is_some_and(|next| next >= 20));
    let of_before = at
        .checked_sub(1)
        .and_then(|at| tokens.get(at))
        .is_some_and(|word| matches!(*word, "of" | "the"))
        && before.is_some_and(|before| ordinal(before).is_some());
    let used = if rest.get(1) == Some(&"of") && by_month { 2 } else { 1 };
    (by_month || of_next || of_before).then(|| (value.to_string(), used, by_month))
}

/// The tokens behind one, and behind what may part it from the next in a date.
fn behind<'t, 'a>(tokens: &'t [&'a str], at: usize) -> &'t [&'a str] {
    let rest = tokens.get(at + 1..).unwrap_or_default();
    let skipped = rest
        .iter()
        .take(DATE_CONNECTORS)
        .take_while(|token| is_date_connector(token))
        .count();
    rest.get(skipped..).unwrap_or_default()
}

/// The token before one, and before what may part it from the next in a date.
fn before<'t, 'a>(tokens: &'t [&'a str], at: usize) -> Option<&'t &'a str> {
    let before = tokens.get(..at)?;
    let skipped = before
        .iter()
        .rev()
        .take(DATE_CONNECTORS)
        .take_while(|token| is_date_connector(token))
        .count();
    before.iter().rev().nth(skipped)
}

fn is_date_connector(token: &str) -> bool {
    matches!(token, "the" | "of" | "uh" | "um" | "er")
}

fn is_day_before(tokens: &[&str], at: usize) -> bool {
    let is_parted = at
        .checked_sub(1)
        .and_then(|before| tokens.get(before))
        .is_some_and(|token| is_date_connector(token));
    is_parted && before(tokens, at).is_some_and(|token| ordinal(token).is_some() || small(token).is_some())
}

/// Whether it is a digit, or says that one is repeated, or stands between two.
pub(super) fn is_digit(word: &str) -> bool {
    digit(word).is_some() || repeated(word).is_some() || CONNECTORS.contains(&word) || word.chars().all(|c| !c.is_alphabetic())
}

/// Whether a word is a day of the month, and no unit of time.
pub(super) fn is_day(word: &str) -> bool {
    ordinal(word).is_some() && word != "second"
}

/// Whether a date may begin with the word.
pub(super) fn is_ordinal(word: &str) -> bool {
    ordinal(word).is_some() || matches!(word, "twenty" | "thirty") || word.split_once('-').is_some_and(|(_, unit)| ordinal(unit).is_some())
}

/// Whether a run ends with hundreds or thousands, as amounts do.
pub(super) fn is_round(words: &[&str], run: &Run) -> bool {
    run.words
        .end
        .checked_sub(1)
        .and_then(|last| words.get(last))
        .is_some_and(|last| is_scale(last))
}

/// Whether a run has hundreds or thousands.
pub(super) fn is_cardinal(words: &[&str], run: &Run) -> bool {
    words.get(run.words.clone()).unwrap_or_default().iter().any(|word| is_scale(word))
}

fn is_scale(word: &str) -> bool {
    word == "hundred" || scale(word).is_some()
}

/// One numeral at the beginning of the tokens: its digits and how many tokens it takes.
fn numeral(tokens: &[&str]) -> Option<(String, usize)> {
    let first = *tokens.first()?;
    if first.chars().any(|c| c.is_ascii_digit()) {
        return Some((first.chars().filter(char::is_ascii_digit).collect(), 1));
    }
    if let Some(times) = repeated(first) {
        // What is doubled may not have been heard yet.
        let Some(next) = tokens.get(1) else {
            return Some((String::new(), 1));
        };
        return Some((digit(next)?.to_string().repeat(times), 2));
    }
    let is_scaled = tokens.get(1).is_some_and(|next| *next == "hundred" || scale(next).is_some());
    let (mut value, mut used) = if first == "a" && is_scaled {
        (1, 1)
    } else {
        below_hundred(tokens)?
    };
    let mut total: u64 = 0;
    while let Some(next) = tokens.get(used) {
        if *next == "hundred" {
            let (more, more_used) = and_more(tokens, used + 1);
            value = value.saturating_mul(100).saturating_add(more);
            used += 1 + more_used;
        } else if let Some(scale) = scale(next) {
            total = total.saturating_add(value.saturating_mul(scale));
            let (more, more_used) = and_more(tokens, used + 1);
            value = more;
            used += 1 + more_used;
        } else {
            break;
        }
    }
    Some((total.saturating_add(value).to_string(), used))
}

/// What follows "hundred" or "thousand", with or without "and".
fn and_more(tokens: &[&str], at: usize) -> (u64, usize) {
    let skip = usize::from(tokens.get(at) == Some(&"and"));
    let rest = tokens.get(at + skip..).unwrap_or_default();
    below_hundred(rest).map_or((0, 0), |(value, used)| (value, used + skip))
}

/// A number below a hundred, "twenty first" too.
fn below_hundred(tokens: &[&str]) -> Option<(u64, usize)> {
    let first = *tokens.first()?;
    let value = small(first)?;
    let is_tens = value >= 20;
    let unit = tokens.get(1).filter(|_| is_tens);
    let unit = unit.and_then(|unit| small(unit).or_else(|| ordinal(unit)).filter(|unit| (1..10).contains(unit)));
    Some(unit.map_or((value, 1), |unit| (value + unit, 2)))
}

/// A number in one word.
fn small(token: &str) -> Option<u64> {
    let index = |list: &[&str]| {
        list.iter()
            .position(|word| *word == token)
            .and_then(|index| u64::try_from(index).ok())
    };
    digit(token)
        .or_else(|| index(&TEENS).map(|n| n + 10))
        .or_else(|| index(&TENS).map(|n| n * 10 + 20))
}

fn digit(token: &str) -> Option<u64> {
    let zero = matches!(token, "oh" | "o" | "naught" | "nought" | "nil").then_some(0);
    zero.or_else(|| DIGITS.iter().position(|word| *word == token).and_then(|n| u64::try_from(n).ok()))
}

fn ordinal(token: &str) -> Option<u64> {
    match token {
        "twentieth" => Some(20),
        "thirtieth" => Some(30),
        _ => ORDINALS
            .iter()
            .position(|word| *word == token)
            .and_then(|n| u64::try_from(n + 1).ok()),
    }
}

fn scale(token: &str) -> Option<u64> {
    match token {
        "thousand" => Some(1_000),
        "million" => Some(1_000_000),
        "billion" => Some(1_000_000_000),
        _ => None,
    }
}

fn repeated(token: &str) -> Option<usize> {
    match token {
        "double" => Some(2),
        "triple" | "treble" => Some(3),
        "quadruple" => Some(4),
        _ => None,
    }
}

/// A lone "one" that stands for a person or thing.
fn is_pronoun(tokens: &[&str], run: Range<usize>) -> bool {
    let before = run.start.checked_sub(1).and_then(|before| tokens.get(before));
    let lone = run.len() == 1 && tokens.get(run.start) == Some(&"one");
    // "A tough one".
    let article = run.start.checked_sub(2).and_then(|article| tokens.get(article));
    let is_word = before.is_some_and(|before| before.chars().count() > 1);
    let is_kind = is_word
        && article.is_some_and(|article| matches!(*article, "a" | "the" | "an" | "my" | "his" | "her"))
        && !before.is_some_and(|before| BEFORE_NUMBER.contains(before));
    lone && (is_kind || before.is_some_and(|before| BEFORE_PRONOUN.contains(before)) || tokens.get(run.end) == Some(&"of"))
}

/// "The last four digits", "four of my".
fn is_count(tokens: &[&str], run: Range<usize>) -> bool {
    let before = run.start.checked_sub(1).and_then(|before| tokens.get(before));
    let after = tokens.get(run.end);
    let counts = before.is_some_and(|word| matches!(*word, "last" | "first" | "final" | "next"));
    run.len() == 1 && (counts || after.is_some_and(|word| matches!(*word, "digit" | "digits" | "number" | "numbers" | "letters" | "of")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn the_first_letters_of_a_numeral_may_become_one() {
        for begun in ["f", "fir", "ninet", "tw", "hund", "janu", "dou"] {
            assert!(may_become(begun), "{begun}");
        }
        for word in ["", "first", "fine", "please"] {
            assert!(!may_become(word), "{word}");
        }
    }

    fn found(text: &str) -> Vec<String> {
        let words: Vec<&str> = text.split(' ').collect();
        let show = |run: &Run| format!("{}={}", words[run.words.clone()].join(" "), run.digits);
        runs(&words).iter().map(show).collect()
    }

    #[test]
    fn runs_and_their_digits() {
        for (text, wanted) in [
            (
                "call five five five one two one two now",
                &["five five five one two one two=5551212"][..],
            ),
            ("nine hundred", &["nine hundred=900"]),
            ("a hundred and five people", &["a hundred and five=105"]),
            ("twenty-five thousand three hundred", &["twenty-five thousand three hundred=25300"]),
            ("forty five thirty two oh one", &["forty five thirty two oh one=453201"]),
            ("double five triple oh nine", &["double five triple oh nine=550009"]),
            ("oh i see", &[]),
            ("oh five", &["oh five=05"]),
            ("nine o two one o", &["nine o two one o=90210"]),
            ("nineteen ninety four", &["nineteen ninety four=1994"]),
            ("four one uh one two", &["four one uh one two=4112"]),
            ("five and i said six", &["five=5", "six=6"]),
            ("march third nineteen eighty", &["march third nineteen eighty=31980"]),
            ("the third of march nineteen eighty", &["third of march nineteen eighty=31980"]),
            ("on june the twenty first", &["june the twenty first=21"]),
            ("i may come in march", &[]),
            ("the second call", &[]),
            ("4111-1111 or 20", &["4111-1111=41111111", "20=20"]),
            ("no one of this one", &[]),
            ("one please", &["one=1"]),
            ("", &[]),
        ] {
            assert_eq!(found(text), wanted, "{text}");
        }
    }

    #[test]
    fn what_counts_something_is_told_apart() {
        let of = |text: &str| runs(&text.split(' ').collect::<Vec<_>>())[0].is_count;
        assert!(of("the last four of my card"));
        assert!(of("three digits"));
        assert!(!of("five five five"));
    }
}
