//! What a run of numerals, or a few words, stands for: rules over the words around. English.
//!
//! The nearest phrase before that says what comes ("my card number is") decides, then one right behind ("is my card number"), then the
//! shape of the number alone, then what was spoken of before.

use std::ops::Range;

use super::numerals::{self, Run};
use super::phrases::{
    CREDIT_CARD, CREDIT_CARD_EXPIRATION, CVV, DATE, DOB, EMAIL_ADDRESS, IP_ADDRESS, LOCATION_ADDRESS, LOCATION_ZIP, Label, NAME,
    NAME_PHRASES, NAME_WORDS, NO_MAILBOX, NO_NAMES, PASSWORD, PHONE_NUMBER, SSN, STREETS, SUITES, TOP_LEVELS, TRIGGERS, Trigger, UNITS,
    URL, USERNAME,
};

/// Words before a run in which a phrase may announce it, back to the run before.
const BEFORE: usize = 14;
/// Words behind a run in which a phrase may say what it was.
pub(super) const BEHIND: usize = 8;
/// Words over which a number goes on in parts, with questions and remarks between them.
const ARMED: usize = 30;
/// Words on either side of a run that may be one code with it; hours may be spelled without an end.
const SPELLED: usize = 64;

/// Something found in the words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Which words.
    pub(super) words: Range<usize>,
    /// What it is; `None`: a numeral of no special meaning.
    pub(super) label: Option<Label>,
    /// Its digits, or none.
    pub(super) digits: String,
}

/// Everything in the words that does not end before `known`. A word may be part of several finds, such as a numeral in an address.
pub(super) fn find(words: &[&str], known: usize) -> Vec<Found> {
    let runs = numerals::runs(words);
    let new = runs.iter().position(|run| run.words.end > known).unwrap_or(runs.len());
    let numbers = (new..runs.len()).filter_map(|index| number(words, &runs, index));
    numbers.chain(of_words(words)).collect()
}

/// What the run of an index is.
fn number(words: &[&str], runs: &[Run], index: usize) -> Option<Found> {
    let run = runs.get(index)?;
    let count = run.digits.len();
    let found = |words: Range<usize>, label: Option<Label>| {
        Some(Found {
            words,
            label,
            digits: run.digits.clone(),
        })
    };
    let plain = found(run.words.clone(), None);
    if run.is_count {
        return plain;
    }
    if let Some((label, more)) = unit(words, run) {
        return found(run.words.start..run.words.end + more, label);
    }
    if let Some(end) = street(words, runs, index) {
        return found(run.words.start..end, Some(LOCATION_ADDRESS));
    }
    let code = with_letters(words, runs, index);
    let length = (code.end - code.start).max(count);
    let others = runs.get(..index).unwrap_or_default().iter().rev().filter(|other| !other.is_count);
    let previous = others.map(|other| other.words.end).find(|end| *end <= code.start).unwrap_or(0);
    let from = code.start.saturating_sub(BEFORE).max(previous);
    if let Some((end, trigger)) = announced(words, from..run.words.start, count, length) {
        let code = code.start.max(end)..code.end;
        return found(if trigger.letters { code } else { run.words.clone() }, Some(trigger.label));
    }
    if let Some(trigger) = said_behind(words, runs, index, &code, length) {
        return found(if trigger.letters { code } else { run.words.clone() }, Some(trigger.label));
    }
    if let Some(label) = goes_on(words, run, length) {
        return found(run.words.clone(), Some(label));
    }
    found(run.words.clone(), shape(words, run))
}

/// A number in parts goes on, with remarks between them; none of the parts is a single digit, or nearly all of it.
fn goes_on(words: &[&str], run: &Run, length: usize) -> Option<Label> {
    let count = run.digits.len();
    if !(2..=8).contains(&count) {
        return None;
    }
    let from = run.words.start.saturating_sub(ARMED);
    let (_, trigger) = announced(words, from..run.words.start, count.max(3), length)?;
    match trigger.label {
        // Behind the number of a card comes its date.
        CREDIT_CARD if run.is_date => Some(CREDIT_CARD_EXPIRATION),
        CVV | CREDIT_CARD_EXPIRATION | DOB | LOCATION_ZIP => None,
        label => Some(label),
    }
}

/// What is counted, and how many words that takes.
fn unit(words: &[&str], run: &Run) -> Option<(Option<Label>, usize)> {
    let rest = words.get(run.words.end..)?;
    let starts = |phrase: &str| {
        let count = phrase.split(' ').count();
        let same = phrase.split(' ').zip(rest).all(|(a, b)| a == *b);
        (same && rest.len() >= count).then_some(count)
    };
    UNITS.iter().find_map(|(phrases, label)| {
        let count = phrases.iter().filter_map(|phrase| starts(phrase)).max()?;
        Some((*label, if label.is_some() { count } else { 0 }))
    })
}

/// The end of a street address that begins with the run, with the flat if one follows.
fn street(words: &[&str], runs: &[Run], index: usize) -> Option<usize> {
    let run = runs.get(index).filter(|run| !run.is_date)?;
    let behind = words.get(run.words.end..words.len().min(run.words.end + 5))?;
    let is_plain = |word: &&&str| word.chars().all(|c| c.is_alphabetic() || c == '\'') && !NO_NAMES.contains(*word);
    let named = behind.iter().take_while(is_plain);
    // "Five way" needs a name between, "twelve broadway" does not.
    let is_kind = |(n, word): &(usize, &&str)| STREETS.contains(*word) && (*n > 0 || **word == "broadway");
    let kind = named.enumerate().find(is_kind).map(|(n, _)| n)?;
    let end = run.words.end + kind + 1;
    let suite = words.get(end).is_some_and(|word| SUITES.contains(word));
    let flat = runs.get(index + 1).filter(|next| suite && next.words.start == end + 1);
    Some(flat.map_or(end, |flat| flat.words.end))
}

/// The trigger whose phrase ends nearest to the end of a range, the longest of those, and where it ends. `length`: characters of the
/// number with its letters.
fn announced(words: &[&str], range: Range<usize>, digits: usize, length: usize) -> Option<(usize, &'static Trigger)> {
    let from = range.start;
    let words = words.get(range)?;
    let phrases = TRIGGERS
        .iter()
        .flat_map(|trigger| trigger.phrases.iter().map(move |phrase| (trigger, *phrase)));
    let placed = phrases.filter_map(|(trigger, phrase)| Some((last_end(words, phrase)?, phrase.len(), trigger)));
    placed
        .filter(|(_, _, trigger)| trigger.digits.contains(if trigger.letters { &length } else { &digits }))
        .max_by_key(|(end, length, _)| (*end, *length))
        .map(|(end, _, trigger)| (from + end, trigger))
}

/// Where a phrase occurs last: the index behind it.
fn last_end(words: &[&str], phrase: &str) -> Option<usize> {
    let count = phrase.split(' ').count();
    let starts = 0..(words.len() + 1).saturating_sub(count);
    let is_there = |start: &usize| phrase.split(' ').zip(words.iter().skip(*start)).all(|(a, b)| a == *b);
    starts.rev().find(is_there).map(|start| start + count)
}

/// Whether a phrase stands at the end of the words.
fn ends_with(words: &[&str], phrase: &str) -> bool {
    let last = words.len().checked_sub(phrase.split(' ').count());
    last.and_then(|last| words.get(last..))
        .is_some_and(|last| phrase.split(' ').eq(last.iter().copied()))
}

/// "… is my card number".
fn said_behind(words: &[&str], runs: &[Run], index: usize, code: &Range<usize>, length: usize) -> Option<&'static Trigger> {
    let run = runs.get(index)?;
    let next = runs.get(index + 1..).unwrap_or_default().iter();
    let next = next
        .filter(|next| !next.is_count && next.words.start >= code.end)
        .map(|next| next.words.start)
        .next();
    let end = next.unwrap_or(words.len()).min(code.end + BEHIND);
    let first = words.get(code.end)?;
    let says = ["is", "was", "are", "as", "for", "on", "that's", "that", "it's", "would"].contains(first);
    if !says {
        return None;
    }
    announced(words, code.end..end, run.digits.len(), length).map(|(_, trigger)| trigger)
}

/// What a number is by its length and form.
fn shape(words: &[&str], run: &Run) -> Option<Label> {
    let spoken = words.get(run.words.clone()).unwrap_or_default();
    let dots = spoken.iter().filter(|word| **word == "dot").count();
    if dots == 3 {
        return Some(IP_ADDRESS);
    }
    if run.is_date {
        return Some(DATE);
    }
    match run.digits.len() {
        12..=19 => Some(CREDIT_CARD),
        9 => Some(SSN),
        10 => Some(PHONE_NUMBER),
        11 if run.digits.starts_with('1') => Some(PHONE_NUMBER),
        7 if spoken.len() >= 4 => Some(PHONE_NUMBER),
        _ => None,
    }
}

/// The run with the letters and further numerals beside it.
fn with_letters(words: &[&str], runs: &[Run], index: usize) -> Range<usize> {
    let run = runs.get(index).map(|run| run.words.clone()).unwrap_or_default();
    let is_one = |word: &&str| word.chars().count() == 1 && word.chars().all(char::is_alphabetic);
    let is_letter = |at: usize| words.get(at).is_some_and(|word| is_one(word) || *word == "oh");
    let (mut start, mut end) = (run.start, run.end);
    let mut before = runs.get(..index).unwrap_or_default().iter().rev().peekable();
    while run.start - start < SPELLED {
        if start > 0 && is_letter(start - 1) {
            start -= 1;
        } else if let Some(numeral) = before.next_if(|other| other.words.end >= start) {
            start = start.min(numeral.words.start);
        } else {
            break;
        }
    }
    let mut behind = runs.get(index + 1..).unwrap_or_default().iter().peekable();
    while end - run.end < SPELLED {
        if is_letter(end) {
            end += 1;
        } else if let Some(numeral) = behind.next_if(|other| other.words.start <= end) {
            end = end.max(numeral.words.end);
        } else {
            break;
        }
    }
    start..end
}

/// Names, addresses of the network, passwords.
fn of_words(words: &[&str]) -> Vec<Found> {
    let mut found = Vec::new();
    for at in 0..words.len() {
        let one = mail_or_site(words, at).or_else(|| secret(words, at)).or_else(|| name(words, at));
        if let Some((label, words)) = one {
            found.push(Found {
                words,
                label: Some(label),
                digits: String::new(),
            });
        }
    }
    found
}

/// An e-mail or web address whose last "dot" stands at an index.
fn mail_or_site(words: &[&str], at: usize) -> Option<(Label, Range<usize>)> {
    let is_last_dot = words.get(at) == Some(&"dot") && words.get(at + 1).is_some_and(|word| TOP_LEVELS.contains(word));
    if !is_last_dot || words.get(at + 2) == Some(&"dot") {
        return None;
    }
    let mut end = at + 2;
    // Back over the names of the host.
    let mut start = at.checked_sub(1)?;
    while start >= 2 && words.get(start - 1) == Some(&"dot") {
        start -= 2;
    }
    let spelled = |at: usize| words.get(at).is_some_and(|word| word.chars().count() == 1);
    while start > 0 && spelled(start) && (spelled(start - 1)) {
        start -= 1;
    }
    let two_words = start >= 2 && words.get(start - 1) != Some(&"at") && words.get(start - 2) == Some(&"at");
    if two_words {
        start -= 1;
    }
    if start >= 2 && words.get(start - 1) == Some(&"at") {
        let mailbox = mailbox(words, start - 1);
        return Some((EMAIL_ADDRESS, mailbox..end));
    }
    while words.get(end) == Some(&"slash") && end + 1 < words.len() {
        end += 2;
    }
    // A host of several words is known by its beginning.
    let back = start.saturating_sub(6);
    let web = ["w w w dot", "www dot"].iter();
    let web = web.filter_map(|web| Some(back + last_end(words.get(back..start)?, web)? - web.split(' ').count()));
    Some((URL, web.min().unwrap_or(start)..end))
}

/// The beginning of what stands before the "at" of an e-mail address.
fn mailbox(words: &[&str], at: usize) -> usize {
    let mut start = at;
    while start > 0 && at - start < 8 {
        let Some(word) = words.get(start - 1) else { break };
        if NO_MAILBOX.contains(word) && word.chars().count() > 1 {
            break;
        }
        start -= 1;
    }
    start
}

/// A password or user name right behind what announces it.
fn secret(words: &[&str], at: usize) -> Option<(Label, Range<usize>)> {
    let before = words.get(..at)?;
    let ends = |phrase: &&str| ends_with(before, phrase);
    let label = if ["password is", "passcode is", "passphrase is"].iter().any(&ends) {
        PASSWORD
    } else if ["username is", "user name is", "user id is", "login is", "log in is"]
        .iter()
        .any(ends)
    {
        USERNAME
    } else {
        return None;
    };
    let is_part = |word: &&&str| !NO_NAMES.contains(*word) || word.chars().count() == 1;
    let count = words.get(at..)?.iter().take(8).take_while(is_part).count();
    (count > 0).then_some((label, at..at + count))
}

/// A name right behind what announces it.
fn name(words: &[&str], at: usize) -> Option<(Label, Range<usize>)> {
    let before = words.get(at.saturating_sub(4)..at)?;
    let announced = NAME_PHRASES.iter().any(|phrase| ends_with(before, phrase));
    if !announced {
        return None;
    }
    let is_name = |word: &&&str| word.chars().all(|c| c.is_alphabetic() || matches!(c, '\'' | '-')) && !NO_NAMES.contains(*word);
    let count = words.get(at..)?.iter().take(NAME_WORDS).take_while(is_name).count();
    (count > 0).then_some((NAME, at..at + count))
}
