//! Numerals with nothing but remarks between them: "four one one one, yes, one one one one", "three one nine, no wait, three nine one".
//!
//! What it does: what one of them is, the others are. What it does not do: say what a number is by itself. Who calls it: [`super::rules`].

use super::announced::{Size, fits};
use super::cards::LONGEST;
use super::labels::{CREDIT_CARD, CREDIT_CARD_EXPIRATION, CVV, Label, PHONE_NUMBER, SSN};
use super::lists::REMARKS;
use super::phrases::Trigger;
use super::rules::{ARMED, By, Number, Said};

/// Words between two numerals of one sequence.
const GAP: usize = 10;

/// What announced a number, whether by "code" alone, and the words between.
type Known = (&'static Trigger, bool, usize);

/// Says of the numbers what those before and behind them say.
pub(super) fn join(said: &Said<'_>, numbers: &mut [Number]) {
    let mut group: Vec<usize> = Vec::new();
    for index in 0..numbers.len() {
        let Some(number) = numbers.get(index).filter(|number| number.by != By::Unit) else {
            continue;
        };
        let last = group.last().and_then(|last| numbers.get(*last));
        if last.is_some_and(|last| !are_together(said, last, number)) {
            one(said, numbers, &group);
            group.clear();
        }
        group.push(index);
    }
    one(said, numbers, &group);
    codes_of_cards(said, numbers);
}

/// Only remarks, or a "one" of "one more time", stand between two numbers.
fn are_together(said: &Said<'_>, last: &Number, next: &Number) -> bool {
    let (from, to) = (
        last.found.words.end.max(last.found.numerals.end),
        next.found.words.start.min(next.found.numerals.start),
    );
    to.saturating_sub(from) <= GAP && (from..to).all(|at| REMARKS.has(said.word(at)) || said.is_numeral(at) || said.word(at) == "one")
}

/// One sequence.
fn one(said: &Said<'_>, numbers: &mut [Number], group: &[usize]) {
    let [_, .., last] = group else { return };
    let until = numbers.get(*last).map_or(0, |last| last.found.until);
    let all: usize = group
        .iter()
        .filter_map(|at| numbers.get(*at))
        .map(|number| number.found.digits.len())
        .sum();
    let form = form(numbers, group, all);
    let mut known: Option<Known> = None;
    for at in group {
        let Some(number) = numbers.get_mut(*at) else { continue };
        number.found.until = until;
        number.found.goes_on = at != last;
        match (number.by, number.trigger) {
            (By::Before | By::Behind, Some(trigger)) => known = Some((trigger, number.is_code, number.gap)),
            _ => inherit(said, number, known, all),
        }
    }
    let mut known = None;
    for at in group.iter().rev() {
        let Some(number) = numbers.get_mut(*at) else { continue };
        match (number.by, number.trigger) {
            (By::Behind, Some(trigger)) => known = Some((trigger, number.is_code, number.gap)),
            (By::Before, _) => known = None,
            _ if number.trigger.is_none() => inherit(said, number, known, all),
            _ => {}
        }
    }
    for at in group {
        if let Some(number) = numbers.get_mut(*at).filter(|number| number.trigger.is_none()) {
            number.found.label = form.or(number.found.label);
        }
    }
}

/// Takes over what another number of the sequence is. `all`: digits of the sequence.
fn inherit(said: &Said<'_>, number: &mut Number, known: Option<Known>, all: usize) {
    let Some((trigger, is_code, gap)) = known else { return };
    let digits = number.found.digits.len();
    let size = said.run_at(number.found.numerals.start).map(|run| said.size(run));
    let alone = size.is_some_and(|size| fits(trigger, size));
    let is_amount = size.is_some_and(|size| size.is_amount);
    let together = fits(
        trigger,
        Size {
            digits: all,
            length: all,
            is_amount,
        },
    );
    // What is said twice makes more digits than there are.
    let is_short = trigger.label.is_some_and(|label| [CREDIT_CARD, SSN, PHONE_NUMBER].contains(&label)) && digits > 1;
    if !(alone || is_short || together && digits < all) || number.found.digits.is_empty() {
        return;
    }
    number.found.also = number.found.label;
    number.found.label = trigger.label;
    if let Some(run) = said.run_at(number.found.numerals.start).filter(|_| trigger.letters) {
        number.found.words = said.code(run);
    }
    number.found.counts = false;
    number.trigger = Some(trigger);
    number.is_code = is_code;
    number.gap = gap;
}

/// What a sequence is by its digits, where nothing else says it.
fn form(numbers: &[Number], group: &[usize], all: usize) -> Option<Label> {
    let mut parts = group.iter().filter_map(|at| numbers.get(*at));
    let is_part = |number: &Number| number.trigger.is_none() && number.found.digits.len() > 1 && !number.found.counts;
    if !parts.all(is_part) {
        return None;
    }
    let first = numbers.get(*group.first()?)?;
    // Part of a number, and then all of it.
    let mut labels = group.iter().filter_map(|at| numbers.get(*at)).map(|number| number.found.label);
    let whole = labels.find(|label| label.is_some_and(|label| [CREDIT_CARD, SSN, PHONE_NUMBER].contains(&label)));
    if let Some(whole) = whole {
        return whole;
    }
    // What was said twice may be the same part again.
    let digits = |at: &usize| numbers.get(*at).map_or("", |number| number.found.digits.as_str());
    let again = group
        .windows(2)
        .filter_map(|pair| Some((pair.first()?, pair.last()?)))
        .filter(|(a, b)| digits(a) == digits(b));
    let again: usize = again.map(|(a, _)| digits(a).len()).sum();
    let all = if all > LONGEST { all.saturating_sub(again) } else { all };
    match all {
        13..=LONGEST => Some(CREDIT_CARD),
        9 if group.len() == 3 => Some(SSN),
        10 => Some(PHONE_NUMBER),
        11 if first.found.digits.starts_with(['0', '1']) => Some(PHONE_NUMBER),
        _ => None,
    }
}

/// "And the code is": behind a card, that of the card.
fn codes_of_cards(said: &Said<'_>, numbers: &mut [Number]) {
    let of_card = |label: Option<Label>| label.is_some_and(|label| [CREDIT_CARD, CREDIT_CARD_EXPIRATION].contains(&label));
    let mut card = None;
    for number in numbers {
        let Number { found, is_code, .. } = number;
        if of_card(found.label) {
            card = Some(found.words.end);
        }
        let before = said.hits.partition_point(|hit| hit.words.end <= found.words.start);
        let near = said.hits.get(..before).unwrap_or_default().iter().rev();
        let mut near = near.take_while(|hit| hit.words.end + ARMED >= found.words.start);
        if *is_code && (3..5).contains(&found.digits.len()) {
            let named = near.find(|hit| of_card(hit.trigger.label)).map(|hit| hit.words.end);
            let card = card.max(named);
            if card.is_some_and(|card| found.words.start.saturating_sub(card) <= ARMED) {
                found.also = found.label;
                found.label = Some(CVV);
            }
        }
    }
}
