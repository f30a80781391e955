//! Digits and letters spoken one by one: numbers of phones, accounts, parcels.

use super::{Text, rest};
use crate::text::spoken::{self, Written};

/// Most digits of a phone number with its country (ITU-T E.164).
const MAX_PHONE: usize = 15;
/// Commas that a phone number may have: models put them between groups of digits. With more, somebody counts.
const MAX_COMMAS: usize = 4;
/// Letters and digits that are read as one code.
const MAX_CODE: usize = 64;
/// Letters and digits that make a code, and digits among them.
const MIN_CODE: usize = 4;
const MIN_CODE_DIGITS: usize = 2;
/// Digits that are joined.
const MIN_LONG: usize = 3;

/// Seven, ten or, with the country, eleven digits spoken one by one: `555-1234`, `555-123-4567`, `1-555-123-4567`; after "plus", the
/// number of any country: `+442071234567`.
pub(super) fn phone(text: &Text<'_>, at: usize) -> Option<Vec<Written>> {
    let plus = matches!(text.run(at), ["plus", _, ..]);
    let first = at + usize::from(plus);
    let (mut next, mut commas, mut digits) = (first, 0, String::new());
    while next == first || text.goes_on(next) {
        let words = text.run(next);
        let eight_hundred = || matches!(digits.as_str(), "" | "1").then(|| hundreds(words)).flatten();
        let Some(part) = eight_hundred().or_else(|| spoken::digit(words)) else {
            break;
        };
        commas += usize::from(next > first && text.before(next).is_empty());
        digits.push_str(&part.text);
        next += part.words;
        if digits.len() > MAX_PHONE || commas > MAX_COMMAS {
            return None;
        }
    }
    let written = match (plus, digits.len(), digits.starts_with('1')) {
        (false, 7, _) => grouped(&digits, &[3, 4]),
        (false, 10, _) => grouped(&digits, &[3, 3, 4]),
        (false, 11, true) => grouped(&digits, &[1, 3, 3, 4]),
        (true, 11, true) => format!("+{}", grouped(&digits, &[1, 3, 3, 4])),
        (true, 8.., _) => format!("+{digits}"),
        _ => return None,
    };
    Some(vec![Written::new(next - at, written)])
}

/// "eight hundred" before a digit: `800`.
fn hundreds(words: &[&str]) -> Option<Written> {
    let [_, "hundred", after @ ..] = words else { return None };
    spoken::digit(after)?;
    let digit = spoken::digit(words.get(..1)?)?;
    Some(Written::new(2, format!("{}00", digit.text)))
}

fn grouped(digits: &str, sizes: &[usize]) -> String {
    let mut digits = digits.chars();
    let groups: Vec<String> = sizes.iter().map(|size| digits.by_ref().take(*size).collect()).collect();
    groups.join("-")
}

/// "one z five seven a two b": `1Z57A2B`. "a" and "i" are words at the end, and at the beginning before a digit.
pub(super) fn code(text: &Text<'_>, at: usize) -> Option<Vec<Written>> {
    let words = text.run(at);
    let mut parts: Vec<Written> = Vec::new();
    let mut taken = 0;
    while parts.len() < MAX_CODE
        && let Some(part) = letter(words.get(taken).copied()).or_else(|| spoken::digit(rest(words, taken)))
    {
        taken += part.words;
        parts.push(part);
    }
    if matches!(words, ["a" | "i", _, ..]) && parts.get(1).is_some_and(|second| is_digits(&second.text)) {
        return None;
    }
    let is_end = rest(words, taken).is_empty();
    while let loose @ 1.. = loose_end(&parts, is_end) {
        parts.truncate(parts.len() - loose);
    }
    let written: String = parts.iter().map(|part| part.text.as_str()).collect();
    let digits = written.bytes().filter(u8::is_ascii_digit).count();
    // "o" alone may be a zero.
    let letters = written.chars().any(|c| c.is_alphabetic() && c != 'O');
    let is_code = written.len() >= MIN_CODE && digits >= MIN_CODE_DIGITS && letters;
    is_code.then(|| vec![Written::new(parts.iter().map(|part| part.words).sum(), written)])
}

/// How many words at the end belong to what follows: "a", "i", "a m", "p m".
fn loose_end(parts: &[Written], is_end: bool) -> usize {
    let texts: Vec<&str> = parts.iter().rev().take(2).map(|part| part.text.as_str()).collect();
    match texts.as_slice() {
        ["M", "A" | "P"] => 2,
        // "One a a": nothing follows that it could belong to.
        ["A", "A"] if is_end => 0,
        ["A" | "I", ..] => 1,
        _ => 0,
    }
}

/// Three or more digits spoken one by one, joined: `123`.
pub(super) fn long(text: &Text<'_>, at: usize) -> Option<Vec<Written>> {
    let digits = spoken::digits(text.run(at));
    let written: String = digits.iter().map(|digit| digit.text.as_str()).collect();
    let taken = digits.iter().map(|digit| digit.words).sum();
    (written.len() >= MIN_LONG).then(|| vec![Written::new(taken, written)])
}

fn letter(word: Option<&str>) -> Option<Written> {
    let word = word.filter(|word| word.len() == 1 && word.bytes().all(|b| b.is_ascii_alphabetic()))?;
    Some(Written::new(1, word.to_ascii_uppercase()))
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}
