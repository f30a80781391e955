//! Takes what is sensitive out of words: card and social security numbers, numerals, personal data; and tells which there are. English. Pure.
//!
//! What it does: finds what a request wants redacted and puts one token in its place ([`rules`] say what a number is), the same in interims
//! and finals. An interim shows no numeral that what follows could make sensitive. If asked, it says where everything is that the rules know by
//! name. What it does not do: understand; rules over words have false alarms, and miss what nobody announced. Who calls it:
//! [`super::rewrite`].

mod addresses;
mod announced;
mod cards;
mod forms;
mod introductions;
mod labels;
mod lists;
mod mail;
mod names;
mod numerals;
mod ordinary;
mod people;
mod phrases;
mod rules;
mod secrets;
mod sequences;
mod spelling;

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

use self::labels::Label;
pub(super) use self::numerals::is_open;
use self::rules::Found;
use super::run::{ending, opening};
use crate::wire::Seconds;
#[cfg(doc)]
use crate::wire::changes::REDACTIONS;
use crate::wire::results::Word;

/// Words of earlier finals that are looked at again.
const RECENT: usize = 40;
/// Distinct finds of a stream that are told from each other.
const DISTINCT: usize = 4_096;
/// Words at the end of an interim that are not shown where names and addresses are redacted.
const HELD: usize = 10;
/// Digits from which on numerals in a row are redacted by `numbers`.
const NUMBERS: usize = 3;

/// What a request wants redacted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redaction {
    labels: Vec<Label>,
    /// Numerals of so many digits, whatever they mean.
    numerals: Option<usize>,
    /// Numerals of so many digits that count and measure nothing.
    identifying: Option<usize>,
    /// Everything that has a label is told of.
    tells: bool,
    /// Asterisks stand in the place of what is redacted.
    asterisks: bool,
}

/// Words without what is redacted, and what is in them.
#[derive(Clone, Debug, PartialEq)]
pub struct Redacted {
    /// The words.
    pub words: Vec<Word>,
    /// In order, without overlap; empty unless asked for.
    pub entities: Vec<Span>,
}

/// What some words name or number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    /// Upper-case name (contract 7.9).
    pub label: &'static str,
    /// Start of its first word.
    pub start: Seconds,
    /// End of its last word.
    pub end: Seconds,
}

/// What the redaction of a stream or file remembers.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// The latest words of finals.
    recent: VecDeque<String>,
    /// Numbers of finds, by what they were.
    numbers: HashMap<u64, usize>,
    counts: HashMap<Label, usize>,
    /// The latest find, which the next final may go on with.
    latest: Option<(Label, usize)>,
}

/// What becomes of the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// They may change, and more will follow.
    Interim,
    /// They will not change; more may follow.
    Final,
    /// They are all there are.
    Whole,
}

impl Redaction {
    /// From the values of a request, which are some of [`REDACTIONS`]. `tells`: what is in the words is to be told.
    pub fn new(values: &[String], tells: bool) -> Self {
        let mut redaction = Self { tells, ..Self::default() };
        values.iter().for_each(|value| redaction.add(value));
        redaction
    }

    /// The same, with an asterisk for each word that is redacted in the place of a token for all of them, or not.
    pub fn in_asterisks(self, asterisks: bool) -> Self {
        Self { asterisks, ..self }
    }

    fn add(&mut self, value: &str) {
        let cards = [labels::CREDIT_CARD, labels::CREDIT_CARD_EXPIRATION, labels::CVV];
        let fewer = |digits: usize, now: Option<usize>| Some(now.map_or(digits, |now| now.min(digits)));
        match value {
            "pci" => self.labels.extend(cards),
            "numbers" => {
                self.labels.extend(cards);
                self.labels.push(labels::SSN);
                self.numerals = fewer(NUMBERS, self.numerals);
            }
            "aggressive_numbers" => self.numerals = fewer(1, self.numerals),
            "pii" => {
                self.labels.extend(cards);
                self.labels.push(labels::SSN);
                self.labels.extend(labels::PERSONAL);
                self.identifying = Some(NUMBERS);
            }
            label => self
                .labels
                .extend(labels::LABELS.iter().filter(|known| known.eq_ignore_ascii_case(label))),
        }
    }

    /// Whether anything is to be redacted.
    pub fn is_on(&self) -> bool {
        self.numerals.is_some() || self.identifying.is_some() || !self.labels.is_empty()
    }

    /// The words without what is to be redacted. `memory`: of the stream; of interims a copy, which is thrown away.
    pub fn words(&self, words: Vec<Word>, memory: &mut Memory, stage: Stage) -> Redacted {
        if !self.is_on() && !self.tells {
            let entities = Vec::new();
            return Redacted { words, entities };
        }
        let known = memory.recent.len();
        let plain: Vec<String> = memory
            .recent
            .iter()
            .cloned()
            .chain(words.iter().map(|word| word.word.clone()))
            .collect();
        let spelled: Vec<&str> = plain.iter().map(String::as_str).collect();
        let mut finds = rules::find(&spelled);
        finds.retain(|found| found.words.end > known);
        let found = self.found(&finds, &spelled, stage);
        let entities = if self.tells {
            entities(&finds, &found, known, &words)
        } else {
            Vec::new()
        };
        let shown = self.shown(&spelled, known, stage);
        let mut out = Vec::with_capacity(words.len());
        let mut found = found.into_iter().peekable();
        let mut rest = (known..).zip(words).peekable();
        while let Some((at, word)) = rest.next() {
            if at >= shown {
                break;
            }
            while found.next_if(|(found, _)| found.words.end <= at).is_some() {}
            let Some((here, label)) = found.next_if(|(found, _)| found.words.contains(&at)) else {
                out.push(word);
                continue;
            };
            let mut run = vec![word];
            while let Some((_, word)) = rest.next_if(|(at, _)| here.words.contains(at)) {
                run.push(word);
            }
            let number = memory.number(label, &here, &spelled, known);
            let text = if self.asterisks {
                "*".repeat(run.len())
            } else {
                format!("[{label}_{number}]")
            };
            out.extend(token(&run, &text));
        }
        if stage == Stage::Final {
            memory.recent.extend(plain.into_iter().skip(known));
            let old = memory.recent.len().saturating_sub(RECENT);
            memory.recent.drain(..old);
        }
        Redacted { words: out, entities }
    }

    /// What is to be redacted of what was found in the words, with its label, in order and without overlap.
    fn found(&self, finds: &[Found], words: &[&str], stage: Stage) -> Vec<(Found, Label)> {
        if !self.is_on() {
            return Vec::new();
        }
        let mut found: Vec<(Found, Label)> = finds.iter().filter_map(|found| self.redacted(found, words, stage)).collect();
        found.sort_by_key(|(found, _)| (found.words.start, std::cmp::Reverse(found.words.end)));
        // What begins within another find becomes part of it.
        found.dedup_by(|(later, _), (earlier, _)| {
            let overlaps = later.words.start < earlier.words.end;
            if overlaps {
                earlier.words.end = earlier.words.end.max(later.words.end);
            }
            overlaps
        });
        found
    }

    /// What is redacted of a find, if anything, and under which label: numerals alone where their number of digits is all that counts.
    fn redacted(&self, found: &Found, words: &[&str], stage: Stage) -> Option<(Found, Label)> {
        let mut labels = [found.label, found.also].into_iter().flatten();
        if let Some(label) = labels.find(|label| self.labels.contains(label)) {
            return Some((found.clone(), label));
        }
        let digits = found.digits.len();
        if digits == 0 {
            return None;
        }
        let reaches = |least: Option<usize>| least.is_some_and(|least| digits >= least);
        let by_length = reaches(self.numerals) || reaches(self.identifying) && !found.counts;
        // What follows may say that it is sensitive, or go on with it.
        let guess = self.guess();
        let open = stage == Stage::Interim && guess.is_some() && found.until + found.reach() > words.len();
        let rest = words.get(found.words.end..).unwrap_or_default();
        let is_last = || found.goes_on && found.until >= words.len() || rest.iter().all(|word| numerals::is_open(word));
        let by_form = found.label.is_none_or(|label| labels::BY_LENGTH.contains(&label));
        let is_long = digits >= NUMBERS || found.goes_on && digits > 1;
        let begins_card = found.begins_card && found.until + found.reach() > words.len() && self.labels.contains(&labels::CREDIT_CARD);
        let goes_on = stage == Stage::Final && guess.is_some() && (by_form && is_long && is_last() || begins_card);
        if !(by_length || open || goes_on) {
            return None;
        }
        let guess = guess.filter(|_| !by_length && by_form);
        let numerals = Found {
            words: found.numerals.clone(),
            ..found.clone()
        };
        Some((numerals, guess.or(found.label).unwrap_or(labels::NUMERICAL_PII)))
    }

    /// The label under which numerals are redacted that could become part of something, if they could: no name has numerals.
    fn guess(&self) -> Option<Label> {
        let of = |is: fn(&Label) -> bool| self.labels.iter().copied().find(is);
        of(|label| labels::BY_LENGTH.contains(label)).or_else(|| of(|label| *label != labels::NAME))
    }

    /// Up to where words are shown: those at the end of an interim that could turn out to be a part of a number, an address or a name are not.
    fn shown(&self, words: &[&str], known: usize, stage: Stage) -> usize {
        if stage != Stage::Interim || !self.is_on() {
            return words.len();
        }
        let of_words = self.labels.iter().any(|label| labels::OF_WORDS.contains(label));
        let held = if of_words { HELD } else { 0 };
        // The last word may not be whole yet.
        let may_be = |&(from_end, word): &(usize, &&str)| numerals::is_open(word) || from_end == 0 && numerals::may_become(word);
        let open = words.iter().rev().enumerate().take_while(may_be).count();
        let shown = words.len().saturating_sub(held.max(open));
        let shown = if of_words {
            mail::open_from(words).unwrap_or(shown).min(shown)
        } else {
            shown
        };
        let shown = if self.labels.is_empty() {
            shown
        } else {
            rules::open_from(words, shown)
        };
        shown.max(known)
    }
}

impl Memory {
    /// The number of a find among those of its label. What goes on from the final before has the number that it had there.
    fn number(&mut self, label: Label, found: &Found, words: &[&str], known: usize) -> usize {
        if let Some((latest, number)) = self.latest
            && latest == label
            && found.words.start < known
        {
            return number;
        }
        let mut hasher = DefaultHasher::new();
        label.hash(&mut hasher);
        if found.digits.is_empty() {
            words.get(found.words.clone()).unwrap_or_default().hash(&mut hasher);
        } else {
            found.digits.hash(&mut hasher);
        }
        let what = hasher.finish();
        let number = self.numbers.get(&what).copied().unwrap_or_else(|| {
            let count = self.counts.entry(label).or_default();
            *count += 1;
            if self.numbers.len() < DISTINCT {
                self.numbers.insert(what, *count);
            }
            *count
        });
        self.latest = Some((label, number));
        number
    }
}

/// Where what was found lies in `words`, which are those from `known` on: what was redacted under the label that it has there, the longest of
/// what begins at the same word, and nothing that begins within another.
fn entities(finds: &[Found], redacted: &[(Found, Label)], known: usize, words: &[Word]) -> Vec<Span> {
    let apart = |found: &&Found| {
        let next = redacted.partition_point(|(other, _)| other.words.end <= found.words.start);
        redacted.get(next).is_none_or(|(other, _)| other.words.start >= found.words.end)
    };
    let named = finds
        .iter()
        .filter(apart)
        .filter_map(|found| found.label.map(|label| (found.words.clone(), label)));
    let redacted = redacted.iter().map(|(found, label)| (found.words.clone(), *label));
    let mut found: Vec<(Range<usize>, Label)> = named.chain(redacted).collect();
    found.sort_by_key(|(words, _)| (words.start, std::cmp::Reverse(words.end)));
    found.dedup_by(|(later, _), (earlier, _)| later.start < earlier.end);
    let span = |(range, label): (Range<usize>, Label)| {
        let first = words.get(range.start.saturating_sub(known))?;
        let last = words.get(range.end.checked_sub(known + 1)?)?;
        Some(Span {
            label,
            start: first.start,
            end: last.end,
        })
    };
    found.into_iter().filter_map(span).collect()
}

/// One word in the place of a run, with the punctuation around it.
fn token(run: &[Word], text: &str) -> Option<Word> {
    let (first, last) = (run.first()?, run.last()?);
    let written = first.punctuated_word.as_ref();
    Some(Word {
        word: text.to_owned(),
        start: first.start,
        end: last.end,
        confidence: run.iter().map(|word| word.confidence).fold(first.confidence, f32::min),
        punctuated_word: written.map(|_| format!("{}{text}{}", opening(first), ending(last))),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::as_conversions)]
mod tests;
