//! Card numbers in groups with talk between them, and what goes on over talk. English.
//!
//! What it does: knows a card that nothing announced by its check digit, or by the lengths of its groups; carries what a number is over to
//! the groups that complete it, and from a card to its date and code. What it does not do: find numerals. Who calls it: [`super::rules`].

use super::labels::{
    ACCOUNT_NUMBER, CREDIT_CARD, CREDIT_CARD_EXPIRATION, CVV, DATE, DOB, HEALTHCARE_NUMBER, Label, NUMERICAL_PII, PHONE_NUMBER, SSN,
};
use super::lists::{AMOUNTS, REMARKS};
use super::numerals;
use super::rules::{ARMED, By, Number, Said};

/// Words between two groups of a card that nothing announced.
pub(super) const GAP: usize = 20;
/// Digits of card numbers (ISO/IEC 7812).
const SHORTEST: usize = 13;
pub(super) const LONGEST: usize = 19;
/// Groups of a card, with those that are taken back or said again.
const GROUPS: usize = 10;
/// Ways to read some groups, as long as it is not known which of them are taken back.
const READINGS: usize = 16;
/// Words between a card and its date or code that nothing announces.
const BEHIND_CARD: usize = 15;

/// Words from which on an announcement may have been said of something else.
const AFAR: usize = 5;
/// Digits that may be said again.
const MORE: usize = 8;
/// Words between the parts of a date.
const BEHIND_DATE: usize = 4;
/// Words between the parts of a number that is announced behind them.
const BEFORE: usize = 10;

/// Says of the numbers what the groups around them say.
pub(super) fn find(said: &Said<'_>, numbers: &mut [Number]) {
    loose(said, numbers);
    carry(said, numbers);
    carry_back(numbers);
}

/// Cards in groups with any words between.
fn loose(said: &Said<'_>, numbers: &mut [Number]) {
    let groups: Vec<usize> = (0..numbers.len())
        .filter(|at| {
            numbers
                .get(*at)
                .is_some_and(|number| number.by != By::Unit && number.found.digits.len() > 1)
        })
        .collect();
    for first in 0..groups.len() {
        let groups = groups.get(first..).unwrap_or_default();
        let (members, card) = window(said, numbers, groups);
        let end = members
            .last()
            .and_then(|last| numbers.get(*last))
            .map_or(0, |last| last.found.words.end);
        let begins = card == 0 && is_begun(said, numbers, members);
        for (n, at) in members.iter().enumerate() {
            let Some(number) = numbers.get_mut(*at) else { continue };
            number.found.may_be_card = true;
            number.found.begins_card |= begins;
            number.found.until = number.found.until.max(end);
            let is_alone = number.trigger.is_some() && card < 2;
            if n < card && !is_alone && number.found.label != Some(CREDIT_CARD) {
                number.found.also = number.found.label;
                number.found.label = Some(CREDIT_CARD);
                number.found.counts = false;
            }
        }
    }
}

/// The groups that may be one card with the first of some, and how many of them are.
fn window<'g>(said: &Said<'_>, numbers: &[Number], groups: &'g [usize]) -> (&'g [usize], usize) {
    // All groups; and those that are left where one is taken back or said again.
    let mut readings: Vec<Vec<&str>> = vec![Vec::new()];
    let (mut count, mut card) = (0, 0);
    let mut last = None;
    for at in groups.iter().take(GROUPS) {
        let Some(number) = numbers.get(*at).filter(|number| may_be_card(number)) else {
            break;
        };
        let gap = last.map_or(0..0, |end| end..number.found.words.start);
        let digits = digits_of(said, number);
        let taken_back = gap.clone().any(|at| takes_back(said.word(at)));
        readings = readings
            .iter()
            .flat_map(|groups| with(groups, digits, taken_back))
            .take(READINGS)
            .collect();
        if gap.len() > GAP || readings.is_empty() {
            break;
        }
        count += 1;
        if readings.iter().any(|groups| is_card(groups)) {
            card = count;
        }
        last = Some(number.found.words.end);
    }
    (groups.get(..count).unwrap_or_default(), card)
}

/// Groups with one more: behind the others, and in the place of the last if that may be meant.
fn with<'n>(groups: &[&'n str], next: [&'n str; 3], taken_back: bool) -> Vec<Vec<&'n str>> {
    let [digits, ..] = next;
    let again = |before: &&str| digits.starts_with(*before) || taken_back && digits.len() >= before.len();
    let replaces = groups.last().is_some_and(again);
    let kept = groups.get(..groups.len().saturating_sub(1)).filter(|_| replaces);
    let readings = [Some(groups), kept].into_iter().flatten();
    let readings = readings.flat_map(|before| next.map(|next| [before, &[next]].concat()));
    // The end of what was said is read back.
    let is_end = groups
        .last()
        .is_some_and(|before| digits.len() > 2 && before.len() > digits.len() && before.ends_with(digits));
    let readings = readings.chain(is_end.then(|| groups.to_vec()));
    let mut readings: Vec<Vec<&str>> = readings.filter(|groups| groups.concat().len() <= LONGEST).collect();
    readings.dedup();
    readings
}

/// What the digits of a number may be: all of them, those of what is said twice, those before "oh sorry".
fn digits_of<'n>(said: &Said<'_>, number: &'n Number) -> [&'n str; 3] {
    let digits = without_count(said, number);
    let end = number.found.numerals.end;
    let is_last = end.checked_sub(1).is_some_and(|last| said.word(last) == "oh") && REMARKS.has(said.word(end));
    let before = digits.strip_suffix('0').filter(|_| is_last);
    [digits, once(digits), before.unwrap_or(digits)]
}

/// Whether groups are those with which a card begins: the next final may go on with it.
fn is_begun(said: &Said<'_>, numbers: &[Number], groups: &[usize]) -> bool {
    let mut groups = groups.iter().filter_map(|at| numbers.get(*at));
    let Some(first) = groups.next() else { return false };
    let next: Vec<usize> = groups.map(|number| number.found.digits.len()).collect();
    let digits = without_count(said, first);
    // "Forty nine ninety nine" alone is an amount.
    let spoken = said.words.get(first.found.numerals.clone()).unwrap_or_default();
    let is_sure = digits.len() > 4 || next.iter().any(|digits| *digits > 3) || spoken.iter().all(|word| numerals::is_digit(word));
    let is_first = (4..SHORTEST).contains(&digits.len()) && is_brand(digits) && is_sure;
    // The last may go on.
    let all = next.len().saturating_sub(1);
    is_first && next.iter().take(all).all(|digits| (4..SHORTEST).contains(digits))
}

/// Whether most cards begin so.
fn is_brand(digits: &str) -> bool {
    digits.starts_with(['3', '4', '5', '6'])
}

/// The digits of a number, without the "four" of "the last four one two three four" and the "three" of "group three one two three four".
fn without_count<'n>(said: &Said<'_>, number: &'n Number) -> &'n str {
    let digits = number.found.digits.as_str();
    let before = number.found.words.start.checked_sub(1).map_or("", |before| said.word(before));
    let is_counted = match before {
        "last" | "first" | "final" | "next" => matches!((digits.get(..1), digits.len()), (Some("4"), 5) | (Some("5"), 6) | (Some("6"), 7)),
        "group" | "set" | "part" | "block" => digits.len() == 5,
        // "Use this one".
        "this" | "that" | "new" | "old" | "other" => digits.starts_with('1'),
        _ => false,
    };
    if is_counted { digits.get(1..).unwrap_or(digits) } else { digits }
}

/// What is said twice in a row, once.
fn once(digits: &str) -> &str {
    let halves = digits.split_at_checked(digits.len() / 2);
    halves
        .filter(|(a, b)| a == b && a.len() > 3 && digits.len() < SHORTEST)
        .map_or(digits, |(a, _)| a)
}

/// Whether a number may be a group of a card.
fn may_be_card(number: &Number) -> bool {
    // "Did you want the expiry as well".
    let may_be = [
        CREDIT_CARD,
        CREDIT_CARD_EXPIRATION,
        CVV,
        HEALTHCARE_NUMBER,
        ACCOUNT_NUMBER,
        NUMERICAL_PII,
    ];
    let label = number.trigger.and_then(|trigger| trigger.label);
    let is_other = number.trigger.is_some() && !label.is_some_and(|label| may_be.contains(&label)) && !is_afar(number);
    !is_other && !number.found.counts && number.found.label != Some(DATE)
}

/// What announced a number is far from it: "my phone is ringing in the other room".
fn is_afar(number: &Number) -> bool {
    number.gap >= AFAR
}

/// What is said before a part of a number is said in another way.
fn takes_back(word: &str) -> bool {
    matches!(
        word,
        "sorry"
            | "no"
            | "nope"
            | "wait"
            | "actually"
            | "correction"
            | "scratch"
            | "rather"
            | "oops"
            | "whoops"
            | "mean"
            | "meant"
            | "wrong"
            | "ignore"
            | "again"
    )
}

/// Whether groups are a card: by their check digit, or by their lengths.
fn is_card(groups: &[&str]) -> bool {
    let digits = groups.concat();
    let is_brand = is_brand(&digits);
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    let by_lengths = match digits.len() {
        15 if digits.starts_with('3') => matches!(*lengths, [4, 6, 5] | [4, 11] | [10, 5] | [15]),
        // "Forty | three five zero two" has one digit less.
        15 if lengths.len() > 1 => lengths.iter().all(|length| *length > 2) && lengths.iter().filter(|length| **length == 3).count() < 2,
        16 => lengths.iter().all(|length| length % 4 == 0) || lengths.len() > 2 && lengths.iter().all(|length| *length >= 4),
        _ => false,
    };
    let is_long = (SHORTEST..=LONGEST).contains(&digits.len());
    is_long && (is_brand && by_lengths || (is_brand || digits.starts_with('2')) && is_checked(&digits))
}

/// The check digit is right (ISO/IEC 7812-1, annex B).
fn is_checked(digits: &str) -> bool {
    let values = digits.chars().rev().filter_map(|digit| digit.to_digit(10));
    let sum: u32 = values
        .enumerate()
        .map(|(at, value)| if at % 2 == 0 { value } else { value * 2 / 10 + value * 2 % 10 })
        .sum();
    sum.is_multiple_of(10)
}

/// What numbers are that complete the one before, or stand behind a card.
fn carry(said: &Said<'_>, numbers: &mut [Number]) {
    // What the number before is, where it ends, and its digits.
    let mut last: Option<(Label, usize, usize)> = None;
    for number in numbers.iter_mut().filter(|number| number.by != By::Unit) {
        let (start, digits) = (number.found.words.start, number.found.digits.len());
        let amount = |end: usize| (end..start).any(|at| AMOUNTS.has(said.word(at)));
        let near = last.filter(|(_, end, _)| start.saturating_sub(*end) <= ARMED && !amount(*end));
        let is_free = (number.by == By::Form && number.trigger.is_none() || is_afar(number)) && !number.found.counts;
        if let Some((label, end, before)) = near.filter(|_| is_free) {
            let is_date = [DOB, CREDIT_CARD_EXPIRATION].contains(&label);
            let is_part = if is_date {
                digits < 5 && start.saturating_sub(end) <= BEHIND_DATE && number.found.label.is_none_or(|label| label == DATE)
            } else {
                let takes_back = (end..start).any(|at| takes_back(said.word(at)));
                let is_open = before < full(label) || takes_back && before < full(label) + MORE;
                is_open && (2..=8).contains(&digits) && (number.found.label.is_none() || is_afar(number))
            };
            let is_behind = label == CREDIT_CARD && before >= SHORTEST && start.saturating_sub(end) <= BEHIND_CARD;
            if is_part {
                number.found.label = Some(label);
            } else if is_behind && (number.found.label == Some(DATE) || digits == 4 && number.found.label.is_none()) {
                number.found.label = Some(CREDIT_CARD_EXPIRATION);
            } else if is_behind && digits == 3 && number.found.label.is_none() {
                number.found.label = Some(CVV);
            }
        }
        let label = number.found.label.filter(|label| full(label) > 0);
        last = match label {
            // The last four arm nothing.
            Some(_) if is_end(said, start) => None,
            // The code may follow.
            Some(CREDIT_CARD_EXPIRATION) if near.is_some_and(|(before, ..)| before == CREDIT_CARD) => last,
            Some(label) => {
                let before = near.filter(|(before, ..)| *before == label).map_or(0, |(_, _, digits)| digits);
                Some((label, number.found.words.end, before + digits))
            }
            None if number.found.label.is_none_or(|label| label == CVV) => last,
            None => None,
        };
    }
}

/// What the parts before a part are of which is said behind it what it is: "six one two … four three … eight eight oh nine is my social".
fn carry_back(numbers: &mut [Number]) {
    // What the number behind is, where it begins, and its digits.
    let mut next: Option<(Label, usize, usize)> = None;
    for number in numbers.iter_mut().rev().filter(|number| number.by != By::Unit) {
        let (end, digits) = (number.found.words.end, number.found.digits.len());
        let near = next.filter(|(label, start, behind)| start.saturating_sub(end) <= BEFORE && behind + digits <= full(label));
        let is_free = number.by == By::Form && number.found.label.is_none() && !number.found.counts && digits > 1;
        if let Some((label, ..)) = near.filter(|_| is_free) {
            number.found.label = Some(label);
        }
        let label = number
            .found
            .label
            .filter(|label| full(label) > 0 && (near.is_some() || number.by == By::Behind));
        next = label.map(|label| (label, number.found.words.start, digits + near.map_or(0, |(_, _, behind)| behind)));
    }
}

/// Digits of a whole number, or none.
fn full(label: Label) -> usize {
    match label {
        CREDIT_CARD => 16,
        SSN => 9,
        PHONE_NUMBER => 10,
        DOB | CREDIT_CARD_EXPIRATION => 8,
        _ => 0,
    }
}

/// "Ending in", "the last four are".
fn is_end(said: &Said<'_>, start: usize) -> bool {
    (start.saturating_sub(6)..start).any(|at| {
        matches!(
            said.word(at),
            "ending" | "ends" | "ended" | "end" | "last" | "final" | "finishing" | "finishes"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_known_by_its_check_digit_or_the_lengths_of_its_groups() {
        for (groups, wanted) in [
            (&["4539", "1488", "0343", "6467"][..], true),
            (&["45391488", "03436467"], true),
            (&["4539148", "803436467"], true),
            (&["4539148", "803436468"], false),
            (&["4539", "1488", "0343", "6468"], true),
            (&["3782", "822463", "10005"], true),
            (&["2221", "0000", "0000", "0009"], true),
            (&["2221", "0000", "0000", "0008"], false),
            (&["1539", "1488", "0343", "6467"], false),
            (&["930", "1015"], false),
            (&[], false),
        ] {
            assert_eq!(is_card(groups), wanted, "{groups:?}");
        }
    }

    #[test]
    fn the_number_of_digits_is_no_digit() {
        assert_eq!(once("11221122"), "1122");
        assert_eq!(once("1122"), "1122");
    }
}
