//! What a number is by its form and the words right beside it: amounts, times, ages, dates, codes. English.
//!
//! What it does not do: look for what announces it; see [`super::announced`]. Who calls it: [`super::rules`].

use std::ops::Range;

use super::addresses;
use super::announced::{self, Hit};
use super::labels::{
    AGE, CREDIT_CARD, CREDIT_CARD_EXPIRATION, DATE, DATE_INTERVAL, DOB, IP_ADDRESS, Label, NUMERICAL_PII, PHONE_NUMBER, SSN,
};
use super::lists::{FILLERS, REMARKS, UNITS};
use super::numerals::{self, Run};
use super::rules::{Found, Said};
use crate::text::spoken::MONTHS;

/// Years that people reach.
const OLDEST: u8 = 120;
/// Words of a year: "two thousand and twenty one".
const YEAR: usize = 5;
/// Words behind "born" and "expires" in which a month or day alone belongs to it.
const PARTS: usize = 16;
/// Digits of a card said twice, or with its date and its code, in a row.
const CARD_AND_MORE: Range<usize> = 20..40;
/// Letters of a code without digits.
const LETTERS: usize = 3;
/// Digits of what counts nothing.
const LONG: usize = 8;
/// Letters and digits of a code that nothing announced.
const CODE: usize = 5;

impl Said<'_> {
    /// What is counted, and how many words that takes.
    pub(super) fn unit(&self, run: &Run) -> Option<(Option<Label>, usize)> {
        let rest = self.words.get(run.words.end..)?;
        let starts = |phrase: &str| {
            let count = phrase.split(' ').count();
            let same = phrase.split(' ').zip(rest).all(|(a, b)| a == *b);
            (same && rest.len() >= count).then_some(count)
        };
        // "Day twelve month four", "nineteen eighty eight month twelve".
        let is_part = |word: &str| matches!(word, "day" | "month" | "year");
        let before = run.words.start.checked_sub(1).map_or("", |before| self.word(before));
        let next = self.word(run.words.end);
        if is_part(next) && (is_part(before) || run.digits != "1" && self.is_numeral(run.words.end + 1)) {
            return None;
        }
        // "… this morning", "four four one nine second group".
        let digits = run.digits.len();
        let by_digits = digits > 3 && run.words.len() >= digits;
        if digits >= LONG && !numerals::is_cardinal(self.words, run) {
            return None;
        }
        UNITS.iter().find_map(|(phrases, label)| {
            let count = phrases.iter().filter_map(|phrase| starts(phrase)).max()?;
            if by_digits && label.is_none_or(|label| label == DATE_INTERVAL) {
                return None;
            }
            Some((*label, if label.is_some() { count } else { 0 }))
        })
    }

    /// What a number is by its length and form.
    pub(super) fn shape(&self, run: &Run, code: &Range<usize>) -> Option<Label> {
        let spoken = self.words.get(run.words.clone()).unwrap_or_default();
        let dots = spoken.iter().filter(|word| matches!(**word, "dot" | "point")).count();
        if dots == 3 {
            return Some(IP_ADDRESS);
        }
        if run.is_date {
            return Some(DATE);
        }
        if let Some(label) = self.spelled_at(code.start).and_then(|spelled| addresses::shape(&spelled.text)) {
            return Some(label);
        }
        if numerals::is_round(self.words, run) {
            return None;
        }
        if self.is_age(run) {
            return Some(AGE);
        }
        let before = run.words.start.checked_sub(1).map_or("", |before| self.word(before));
        let digits = run.digits.len();
        match digits {
            7..=15 if before == "plus" => Some(PHONE_NUMBER),
            _ if !matches!(self.word(code.start), "a" | "i") && self.is_code(run) => Some(NUMERICAL_PII),
            12..=19 => Some(CREDIT_CARD),
            _ if CARD_AND_MORE.contains(&digits) && run.digits.starts_with(['3', '4', '5', '6']) => Some(CREDIT_CARD),
            9 => Some(SSN),
            10 => Some(PHONE_NUMBER),
            11 if run.digits.starts_with(['0', '1']) => Some(PHONE_NUMBER),
            7 if spoken.len() >= 4 => Some(PHONE_NUMBER),
            _ if self.is_code(run) => Some(NUMERICAL_PII),
            _ => None,
        }
    }

    /// Letters and digits that are no amount: "k two two nine one oh four".
    fn is_code(&self, run: &Run) -> bool {
        let spelled = self.spelled_at(run.words.start);
        // "Covid19".
        let least = if spelled.is_some_and(|spelled| spelled.words.len() == 1) {
            3
        } else {
            2
        };
        let is_code = |text: &str| text.chars().count() >= CODE && text.chars().filter(char::is_ascii_digit).count() >= least;
        !numerals::is_cardinal(self.words, run) && spelled.is_some_and(|spelled| spelled.letters() > 0 && is_code(&spelled.text))
    }

    /// "I'm seventy one", "she will be eighteen".
    fn is_age(&self, run: &Run) -> bool {
        let back = |back: usize| run.words.start.checked_sub(back).map_or("", |at| self.word(at));
        let is_relative = back(1) == "is"
            && matches!(
                back(2),
                "wife" | "husband" | "son" | "daughter" | "mother" | "father" | "mum" | "mom" | "dad" | "partner" | "age"
            );
        let is_future = back(1) == "be"
            && (matches!(back(2), "i'll" | "he'll" | "she'll") || back(2) == "will" && matches!(back(3), "i" | "he" | "she"));
        let is_whose = is_relative || matches!(back(1), "i'm" | "am" | "he's" | "she's" | "aged" | "age");
        let turns = is_future || matches!(back(1), "turned" | "turning");
        let next = self.word(run.words.end);
        let ends = matches!(
            next,
            "" | "and" | "now" | "this" | "next" | "today" | "so" | "but" | "last" | "years" | "yes" | "going"
        );
        (is_whose && ends || turns && (ends || matches!(next, "in" | "on" | "soon")))
            && run.digits.parse::<u8>().is_ok_and(|age| age <= OLDEST)
    }

    /// "In nineteen ninety four".
    pub(super) fn is_year(&self, run: &Run) -> bool {
        let back = |back: usize| run.words.start.checked_sub(back).map_or("", |at| self.word(at));
        let before = if matches!(back(2), "ends" | "ending" | "end" | "ended" | "finishes" | "finishing") {
            ""
        } else {
            back(1)
        };
        let is_before = matches!(
            before,
            "in" | "since" | "from" | "until" | "before" | "after" | "year" | "by" | "around" | "of"
        );
        let is_year = run.digits.len() == 4 && (run.digits.starts_with("19") || run.digits.starts_with("20"));
        is_before && is_year && run.words.len() <= YEAR
    }

    /// "At ten forty five", and not "i live at ten forty five".
    pub(super) fn is_time(&self, run: &Run) -> bool {
        let back = |back: usize| run.words.start.checked_sub(back).map_or("", |at| self.word(at));
        let is_place = back(2).starts_with("liv")
            || matches!(
                back(2),
                "located" | "based" | "staying" | "me" | "us" | "him" | "her" | "reached" | "reach" | "address" | "are" | "i'm" | "we're"
            );
        let (hour, minute) = run.digits.split_at_checked(run.digits.len().saturating_sub(2)).unwrap_or_default();
        let is_within = |part: &str, least: u8, most: u8| part.parse::<u8>().is_ok_and(|value| (least..=most).contains(&value));
        back(1) == "at" && !is_place && run.words.len() <= 3 && is_within(hour, 1, 12) && is_within(minute, 0, 59)
    }

    /// "Born in may", "expires on the fifth of".
    pub(super) fn lone_parts(&self, hit: &Hit) -> Vec<Found> {
        let Some(label) = hit.trigger.label.filter(|label| [DOB, CREDIT_CARD_EXPIRATION].contains(label)) else {
            return Vec::new();
        };
        if label == CREDIT_CARD_EXPIRATION && !announced::is_of_card(&self.hits, self.words, hit) {
            return Vec::new();
        }
        let goes_on = |word: &str| {
            FILLERS.has(word)
                || REMARKS.has(word)
                || matches!(word, "in" | "on" | "it's" | "was" | "of" | "at" | "the" | "end" | "start" | "next")
        };
        let mut found = Vec::new();
        let mut at = hit.words.end;
        while at < (hit.words.end + PARTS).min(self.words.len()) {
            let word = self.word(at);
            let is_month = MONTHS.contains(&word) && !matches!(self.word(at + 1), "be" | "i" | "have");
            if self.is_numeral(at) {
                at += 1;
                continue;
            }
            if !(is_month || numerals::is_day(word)) {
                if !goes_on(word) {
                    break;
                }
                at += 1;
                continue;
            }
            let rest = self.words.get(at + 1..).unwrap_or_default();
            let open = rest.iter().take_while(|word| matches!(**word, "of" | "the")).count();
            // The month may follow in the next final.
            let end = at + 1 + if open == rest.len() { open } else { 0 };
            found.push(Found::of_words(label, at..end));
            at = end;
        }
        found
    }

    /// A code of letters right behind what announces one: "booking reference is whiskey tango foxtrot".
    pub(super) fn lone_code(&self, hit: &Hit) -> Option<Found> {
        let label = hit.trigger.label.filter(|_| hit.trigger.letters)?;
        let rest = self.words.get(hit.words.end..)?;
        let at = hit.words.end
            + rest
                .iter()
                .take(2)
                .take_while(|word| FILLERS.has(word) || matches!(**word, "is" | "it's" | "was"))
                .count();
        let spelled = self.spelled_at(at).filter(|spelled| spelled.words.start == at)?;
        let is_code = spelled.letters() == spelled.text.chars().count();
        // What follows may go on with it.
        let rest = self.words.get(spelled.words.end..).unwrap_or_default();
        let is_open = || rest.iter().all(|word| matches!(*word, "as" | "in" | "for" | "like"));
        let is_code = is_code && (spelled.letters() >= LETTERS || is_open());
        is_code.then(|| Found::of_words(label, spelled.words.clone()))
    }
}
