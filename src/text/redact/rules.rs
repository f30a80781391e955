//! What a run of numerals, or a few words, stands for: rules over the words around. English.
//!
//! The nearest phrase before that says what comes ("my card number is") decides, then one right behind ("is my card number"), then what
//! the numerals before or behind it are with nothing but remarks between, then what was spoken of before, then the shape of the number alone.

use std::ops::Range;

use super::addresses;
use super::announced::{self, Announcement, Hit, Size};
use super::cards;
use super::labels::{
    ACCOUNT_NUMBER, CREDIT_CARD, CREDIT_CARD_EXPIRATION, CVV, DOB, HEALTHCARE_NUMBER, LOCATION_ADDRESS, LOCATION_ZIP, Label, NUMERICAL_PII,
    PASSWORD, PHONE_NUMBER, SSN,
};
use super::lists::{ALPHABET, FILLERS, REMARKS};
use super::mail;
use super::names;
use super::numerals::{self, Run};
use super::phrases::Trigger;
use super::secrets;
use super::sequences;
use super::spelling::{self, Spelled};

/// Words before a run in which a phrase may announce it, back to the run before.
const BEFORE: usize = 14;
/// Words behind a run in which a phrase may say what it was.
const BEHIND: usize = 10;
/// Remarks between a number and what says what it was.
const REMARKS_BEHIND: usize = 4;
/// Words of a phrase.
const PHRASE: usize = 5;
/// Words over which a number goes on in parts, with questions and remarks between them.
pub(super) const ARMED: usize = 30;
/// Words on either side of a run that may be one code with it; hours may be spelled without an end.
const SPELLED: usize = 64;

/// Words between "last four" and what they are of.
const LAST_FOUR: usize = 6;
/// Words before a number that say that it takes the place of another.
const PUT_RIGHT: usize = 2;
/// Words at the end of an interim that may be spelled and go on.
const OPEN: usize = 64;
/// Words of "as in".
const FOR: usize = 2;

/// Something found in the words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Which words.
    pub(super) words: Range<usize>,
    /// Those that are numerals.
    pub(super) numerals: Range<usize>,
    /// What it is; `None`: a numeral of no special meaning.
    pub(super) label: Option<Label>,
    /// What it is as well: a pin of a card.
    pub(super) also: Option<Label>,
    /// Its digits, or none.
    pub(super) digits: String,
    /// It counts or measures something: an amount, a year.
    pub(super) counts: bool,
    /// Numerals follow, with nothing but remarks between.
    pub(super) goes_on: bool,
    /// Where what it is a part of ends.
    pub(super) until: usize,
    /// It may turn out to be a part of a card.
    pub(super) may_be_card: bool,
    /// It, and what follows, has the form of the first groups of a card.
    pub(super) begins_card: bool,
}

impl Found {
    /// Words that are not a number.
    pub(super) fn of_words(label: Label, words: Range<usize>) -> Self {
        Self {
            until: words.end,
            goes_on: false,
            numerals: words.clone(),
            words,
            label: Some(label),
            also: None,
            digits: String::new(),
            counts: false,
            may_be_card: false,
            begins_card: false,
        }
    }

    /// Words from its end on that may say that it is sensitive.
    pub(super) fn reach(&self) -> usize {
        if self.may_be_card { cards::GAP.max(BEHIND) } else { BEHIND }
    }
}

/// Some words and what is seen in them at once.
pub(super) struct Said<'a> {
    pub(super) words: &'a [&'a str],
    pub(super) runs: Vec<Run>,
    pub(super) spelled: Vec<Spelled>,
    pub(super) hits: Vec<Hit>,
}

/// How it is known what a number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// It counts something, or is part of an address.
    Unit,
    Before,
    Behind,
    /// By its form, or not at all.
    Form,
}

/// A number and how it is known what it is.
pub(super) struct Number {
    pub(super) found: Found,
    pub(super) by: By,
    pub(super) trigger: Option<&'static Trigger>,
    pub(super) is_code: bool,
    /// Words between it and what announced it.
    pub(super) gap: usize,
}

/// Everything in the words. A word may be part of several finds, such as a numeral in an address.
pub(super) fn find(words: &[&str]) -> Vec<Found> {
    let runs = numerals::runs(words);
    let said = Said {
        words,
        spelled: spelling::spelled(words, &runs),
        hits: announced::hits(words),
        runs,
    };
    let mut numbers: Vec<Number> = (0..said.runs.len()).filter_map(|index| said.number(index)).collect();
    sequences::join(&said, &mut numbers);
    cards::find(&said, &mut numbers);
    let mut found: Vec<Found> = numbers
        .into_iter()
        .flat_map(|number| said.parts(said.whole(number.found)))
        .collect();
    found.extend(said.hits.iter().flat_map(|hit| said.lone_parts(hit)));
    found.extend(said.hits.iter().filter_map(|hit| said.lone_code(hit)));
    found.extend(addresses::find(&said));
    found.extend(mail::find(&said));
    found.extend(names::find(&said));
    found.extend(secrets::find(&said));
    found
}

/// Where what is spelled, or was announced, begins that goes on over an index or up to it; that index if nothing does.
pub(super) fn open_from(words: &[&str], index: usize) -> usize {
    let near = words.len().saturating_sub(OPEN);
    let last = words.get(near..).unwrap_or_default();
    let runs = numerals::runs(last);
    let spelled = spelling::spelled(last, &runs);
    // "S as in", "sierra".
    let alone = last.iter().rev().take_while(|word| ALPHABET.has(word)).count();
    let index = index.min(words.len() - alone);
    let open = spelled
        .iter()
        .find(|spelled| spelled.letters() > 0 && near + spelled.words.end + FOR >= index)
        .map(|spelled| near + spelled.words.start);
    index.min(open.unwrap_or(index))
}

impl<'a> Said<'a> {
    /// The word at an index, or nothing.
    pub(super) fn word(&self, at: usize) -> &'a str {
        self.words.get(at).copied().unwrap_or_default()
    }

    /// Whether a phrase stands right before an index.
    pub(super) fn ends_with(&self, end: usize, phrase: &str) -> bool {
        self.start_of(end, phrase).is_some()
    }

    /// Where a phrase begins that stands right before an index.
    pub(super) fn start_of(&self, end: usize, phrase: &str) -> Option<usize> {
        let mut start = end;
        for word in phrase.rsplit(' ') {
            start = start.checked_sub(1)?;
            let said = self.word(start);
            if said != word {
                return None;
            }
        }
        Some(start)
    }

    /// Whether a word is part of a numeral.
    pub(super) fn is_numeral(&self, at: usize) -> bool {
        self.run_at(at).is_some()
    }

    /// The run that a word is part of.
    pub(super) fn run_at(&self, at: usize) -> Option<&Run> {
        let next = self.runs.partition_point(|run| run.words.end <= at);
        self.runs.get(next).filter(|run| run.words.contains(&at))
    }

    /// What is spelled where a word is.
    pub(super) fn spelled_at(&self, at: usize) -> Option<&Spelled> {
        let next = self.spelled.partition_point(|spelled| spelled.words.end <= at);
        self.spelled.get(next).filter(|spelled| spelled.words.contains(&at))
    }

    /// What the run of an index is.
    fn number(&self, index: usize) -> Option<Number> {
        let run = self.runs.get(index)?;
        let number = |words: Range<usize>, label: Option<Label>, by: By| Number {
            found: Found {
                until: words.end,
                goes_on: false,
                words,
                numerals: run.words.clone(),
                label,
                also: None,
                digits: run.digits.clone(),
                counts: by == By::Unit,
                may_be_card: false,
                begins_card: false,
            },
            by,
            trigger: None,
            is_code: false,
            gap: 0,
        };
        if run.is_count || self.is_in_phrase(run) {
            return Some(number(run.words.clone(), None, By::Unit));
        }
        // "Nine old mill lane".
        let is_street = || matches!(self.word(run.words.end), "old" | "new");
        if let Some(words) = is_street().then(|| addresses::street(self, index)).flatten() {
            return Some(number(words, Some(LOCATION_ADDRESS), By::Unit));
        }
        if let Some((label, more)) = self.unit(run) {
            return Some(number(run.words.start..run.words.end + more, label, By::Unit));
        }
        if let Some(words) = addresses::street(self, index) {
            return Some(number(words, Some(LOCATION_ADDRESS), By::Unit));
        }
        let code = self.code(run);
        let size = self.size(run);
        let others = self
            .runs
            .get(..index)
            .unwrap_or_default()
            .iter()
            .rev()
            .filter(|other| !other.is_count && !self.is_in_phrase(other));
        let previous = others.map(|other| other.words.end).find(|end| *end <= code.start).unwrap_or(0);
        let from = code.start.saturating_sub(BEFORE).max(previous);
        // "R x" may be a phrase, and the beginning of a code.
        let before = || {
            let said = |end: usize| announced::announced(&self.hits, self.words, from..end, size);
            said(code.start).or_else(|| said(run.words.start)).map(|it| (it, By::Before))
        };
        let behind = || self.said_behind(index, &code, size).map(|it| (it, By::Behind));
        let said = self
            .last_four(from..code.start, size)
            .map(|it| (it, By::Before))
            .or_else(before)
            .or_else(behind);
        // "The code … is on the back".
        let is_code = said.as_ref().is_some_and(|(said, by)| said.is_code && *by == By::Before);
        let said = if is_code { behind().or(said) } else { said };
        if let Some((said, by)) = said {
            let start = if by == By::Before { code.start.max(said.end) } else { code.start };
            let code = self.with_word(&said, start)..code.end;
            let words = if said.trigger.letters { code } else { run.words.clone() };
            let mut known = number(words, said.trigger.label, by);
            // Nine digits are no part of a card, and "last four digits please" does not say of what.
            let may_be_ssn = size.digits == 9 || said.trigger.digits == (4..5);
            let is_ssn = said.trigger.label == Some(CREDIT_CARD) && may_be_ssn;
            known.found.also = said.also.or(is_ssn.then_some(SSN));
            known.trigger = Some(said.trigger);
            known.is_code = said.is_code;
            known.gap = start.saturating_sub(said.end);
            return Some(known);
        }
        let label = self.goes_on(run, size).or_else(|| self.shape(run, &code));
        let mut plain = number(run.words.clone(), label, By::Form);
        let has_letters = label.is_some_and(|label| [NUMERICAL_PII, ACCOUNT_NUMBER, HEALTHCARE_NUMBER].contains(&label));
        let is_code = |text: &str| has_letters || addresses::shape(text) == label;
        let by_letters = self
            .spelled_at(run.words.start)
            .is_some_and(|spelled| spelled.letters() > 0 && is_code(&spelled.text));
        if label.is_some() && by_letters {
            plain.found.words = code;
        }
        let is_cardinal = || size.digits < 8 && numerals::is_cardinal(self.words, run);
        plain.found.counts = label.is_none() && (is_cardinal() || self.is_year(run) || self.is_time(run));
        Some(plain)
    }

    /// "The last four of the social, not your phone number": what they are of is said right behind "last four".
    fn last_four(&self, before: Range<usize>, size: Size) -> Option<Announcement> {
        let last = before
            .clone()
            .rev()
            .find(|at| self.ends_with(*at, "last four"))
            .filter(|_| size.digits == 4)?;
        let first = self.hits.partition_point(|hit| hit.words.end <= last);
        let near = self.hits.get(first..).unwrap_or_default().iter();
        let mut near = near.take_while(|hit| hit.words.start <= last + LAST_FOUR && hit.words.end <= before.end);
        let hit = near.find(|hit| hit.trigger.label.is_some_and(|label| [CREDIT_CARD, SSN].contains(&label)))?;
        Some(Announcement {
            trigger: hit.trigger,
            also: None,
            end: hit.words.end,
            is_code: false,
        })
    }

    /// "C v two", "three digit code".
    fn is_in_phrase(&self, run: &Run) -> bool {
        let from = self.hits.partition_point(|hit| hit.words.end < run.words.end);
        let near = self
            .hits
            .get(from..)
            .unwrap_or_default()
            .iter()
            .take_while(|hit| hit.words.end <= run.words.end + PHRASE);
        near.into_iter()
            .any(|hit| hit.words.start <= run.words.start && hit.words.len() > run.words.len())
    }

    /// The size of a run, with the letters beside it.
    pub(super) fn size(&self, run: &Run) -> Size {
        let digits = run.digits.len();
        let spelled = self.spelled_at(run.words.start).map_or(0, |spelled| spelled.text.chars().count());
        Size {
            digits,
            length: spelled.max(digits),
            is_amount: digits < 6 && numerals::is_round(self.words, run) || self.is_year(run) || self.is_time(run),
        }
    }

    /// The run with the letters and further numerals beside it.
    pub(super) fn code(&self, run: &Run) -> Range<usize> {
        let Some(spelled) = self.spelled_at(run.words.start) else {
            return run.words.clone();
        };
        let start = spelled.words.start.max(run.words.start.saturating_sub(SPELLED));
        start..spelled.words.end.min(run.words.end + SPELLED).max(run.words.end)
    }

    /// The beginning of a licence with a name in it: "smith seven five three".
    fn with_word(&self, said: &Announcement, start: usize) -> usize {
        let is_licence = said.trigger.label == Some(super::labels::DRIVER_LICENSE);
        let before = start.saturating_sub(1);
        let is_word = before >= said.end
            && names::is_word(self.word(before))
            && !names::stops(self.word(before))
            && !matches!(self.word(before), "number" | "it's" | "is");
        if is_licence && is_word { before } else { start }
    }

    /// A number in parts goes on, with remarks between them; none of the parts is a single digit, or nearly all of it.
    fn goes_on(&self, run: &Run, size: Size) -> Option<Label> {
        if !(3..=8).contains(&size.digits) || run.is_date && size.digits < 3 {
            return None;
        }
        let from = run.words.start.saturating_sub(ARMED);
        let said = announced::announced(&self.hits, self.words, from..run.words.start, size)?;
        match said.trigger.label? {
            // Behind the number of a card comes its date.
            CREDIT_CARD if run.is_date => Some(CREDIT_CARD_EXPIRATION),
            label @ (CVV | CREDIT_CARD_EXPIRATION) if self.is_put_right(run) => Some(label),
            DOB if size.digits == 4 && self.ends_with(run.words.start, "year") => Some(DOB),
            CVV | CREDIT_CARD_EXPIRATION | DOB | LOCATION_ZIP | LOCATION_ADDRESS => None,
            PASSWORD if said.is_code => None,
            label => Some(label),
        }
    }

    /// "It could be four one eight", "it's now oh three thirty one".
    fn is_put_right(&self, run: &Run) -> bool {
        let near = run.words.start.saturating_sub(PUT_RIGHT)..run.words.start;
        near.into_iter().any(|at| {
            matches!(
                self.word(at),
                "be" | "maybe" | "or" | "now" | "actually" | "no" | "sorry" | "wait" | "not"
            )
        })
    }

    /// "… is my card number", "… visa".
    fn said_behind(&self, index: usize, code: &Range<usize>, size: Size) -> Option<Announcement> {
        let next = self.runs.get(index + 1..).unwrap_or_default().iter();
        let mut next = next.filter(|next| !next.is_count && next.words.start >= code.end);
        let end = next.next().map_or(self.words.len(), |next| next.words.start).min(code.end + BEHIND);
        let rest = self.words.get(code.end..end)?;
        let is_remark = |word: &&&str| {
            REMARKS.has(word) && !matches!(**word, "is" | "was" | "are" | "were" | "that's" | "it's" | "on" | "that" | "last")
        };
        let start = code.end + rest.iter().take(REMARKS_BEHIND).take_while(is_remark).count();
        let whose = usize::from(matches!(self.word(start), "my" | "his" | "her" | "our" | "their"));
        let start = start + whose;
        let first = self.word(start);
        let says = matches!(
            first,
            "is" | "was"
                | "are"
                | "were"
                | "as"
                | "for"
                | "on"
                | "that's"
                | "that"
                | "it's"
                | "would"
                | "being"
                | "off"
                | "from"
                | "those"
                | "these"
                | "which"
                | "there's"
        );
        let is_last = || first == "last" && matches!(self.word(start + 1), "four" | "three" | "digits");
        if is_last() || first == "of" && matches!(self.word(start + 1), "my" | "the" | "his" | "her" | "our" | "your") && size.digits > 2 {
            return announced::announced(&self.hits, self.words, start..end, size);
        }
        // "… my social", and not "… my phone is ringing".
        let is_end = |next: &str| matches!(next, "" | "and" | "please" | "thanks" | "okay" | "yes" | "so" | "um" | "uh");
        let is_right_there = || {
            self.hits
                .iter()
                .skip(self.hits.partition_point(|hit| hit.words.end <= start))
                .take(8)
                .any(|hit| hit.words.start == start && (whose == 0 || is_end(self.word(hit.words.end))))
        };
        if !says && (size.digits < 2 || !is_right_there()) {
            return None;
        }
        let before = self.words.get(code.start.saturating_sub(3)..code.start).unwrap_or_default();
        let said = announced::announced(&self.hits, self.words, start..end, size)?;
        let is_amount = size.digits < 9 && before.iter().any(|word| super::lists::AMOUNTS.has(word));
        let of_money = said.trigger.label.is_some_and(|label| [CREDIT_CARD, SSN].contains(&label));
        (!is_amount || !of_money).then_some(said)
    }

    /// What "then" parts: "five five five then oh one oh oh".
    fn parts(&self, found: Found) -> Vec<Found> {
        let words = self.words.get(found.words.clone()).unwrap_or_default();
        if !words.contains(&"then") {
            return vec![found];
        }
        let mut parts = Vec::new();
        let mut start = found.words.start;
        for part in words.split(|word| *word == "then") {
            let end = start + part.len();
            let and = usize::from(part.last() == Some(&"and"));
            let words = start..end.saturating_sub(and);
            let numerals = found.numerals.start.max(words.start)..found.numerals.end.min(words.end);
            if !numerals.is_empty() {
                parts.push(Found {
                    words,
                    numerals,
                    goes_on: found.goes_on || end < found.words.end,
                    ..found.clone()
                });
            }
            start = end + 1;
        }
        parts
    }

    /// With what belongs to a find beside it: "the" of a date, "plus" of a phone number.
    fn whole(&self, mut found: Found) -> Found {
        let before = found.words.start.checked_sub(1).map_or("", |before| self.word(before));
        let belongs = match found.label {
            Some(DOB | CREDIT_CARD_EXPIRATION) => before == "the" && numerals::is_ordinal(self.word(found.words.start)),
            Some(PHONE_NUMBER) => before == "plus",
            _ => false,
        };
        if belongs {
            found.words.start -= 1;
        }
        // What may still be said of it.
        let rest = self.words.get(found.until..).unwrap_or_default();
        let remarks = rest
            .iter()
            .take(ARMED)
            .take_while(|word| REMARKS.has(word) || FILLERS.has(word) || numerals::is_open(word))
            .count();
        if remarks == rest.len() {
            found.until += remarks;
            found.goes_on |= matches!(rest.last(), Some(&("double" | "triple")));
        }
        found
    }
}
