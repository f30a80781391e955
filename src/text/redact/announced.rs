//! Where the phrases of [`super::phrases`] are in some words, and which of them a number belongs to.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::LazyLock;

use super::labels::{CREDIT_CARD, CREDIT_CARD_EXPIRATION, CVV, Label, SSN};
use super::lists::{AMOUNTS, PERISHABLE};
use super::phrases::{CODE, TRIGGERS, Trigger};

/// Words before "expires" that may say that it is no card.
const PERISHABLE_BEFORE: usize = 4;
/// Phrases that one word may be part of.
const NEAR: usize = 8;
/// Words between a card and what is said of it.
const NEAR_CARD: usize = 20;
/// Digits of a card from which on an amount is not meant.
const NO_AMOUNT: usize = 9;

/// A phrase somewhere.
pub(super) struct Hit {
    pub(super) words: Range<usize>,
    pub(super) trigger: &'static Trigger,
    /// It is [`CODE`] alone.
    pub(super) is_code: bool,
}

/// A number that phrases may be about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) digits: usize,
    /// With the letters beside it.
    pub(super) length: usize,
    /// It may well be an amount or a year.
    pub(super) is_amount: bool,
}

/// What was said of a number.
pub(super) struct Announcement {
    pub(super) trigger: &'static Trigger,
    /// "The pin of my card" is of the card too.
    pub(super) also: Option<Label>,
    /// Where the phrase ends.
    pub(super) end: usize,
    pub(super) is_code: bool,
}

/// The words of a phrase behind its first, and what it announces.
type Phrase = (Vec<&'static str>, &'static Trigger);

/// The phrases by their first word.
static PHRASES: LazyLock<HashMap<&'static str, Vec<Phrase>>> = LazyLock::new(|| {
    let mut phrases: HashMap<&'static str, Vec<Phrase>> = HashMap::new();
    for trigger in &TRIGGERS {
        for phrase in trigger.phrases.split(';') {
            let mut words = phrase.split_whitespace();
            if let Some(first) = words.next() {
                phrases.entry(first).or_default().push((words.collect(), trigger));
            }
        }
    }
    phrases
});

/// All phrases in the words, by their ends.
pub(super) fn hits(words: &[&str]) -> Vec<Hit> {
    let mut hits = Vec::new();
    for (start, word) in words.iter().enumerate() {
        let known = PHRASES.get(word).or_else(|| PHRASES.get(word.strip_suffix("'s")?));
        for (rest, trigger) in known.into_iter().flatten() {
            let behind = words.get(start + 1..start + 1 + rest.len());
            let is_there = behind.is_some_and(|behind| behind.iter().zip(rest).all(|(said, wanted)| is_same(said, wanted)));
            if !is_there {
                continue;
            }
            let end = start + 1 + rest.len();
            let number = words.get(end).is_some_and(|word| is_number(word));
            hits.push(Hit {
                words: start..end + usize::from(number),
                trigger,
                is_code: rest.is_empty() && *word == CODE,
            });
        }
    }
    hits.sort_by_key(|hit| (hit.words.end, std::cmp::Reverse(hit.words.start)));
    hits
}

fn is_same(said: &str, wanted: &str) -> bool {
    said == wanted || said.strip_suffix("'s") == Some(wanted)
}

fn is_number(word: &str) -> bool {
    matches!(word, "number" | "numbers" | "no" | "num" | "number's")
}

/// What the phrase that ends nearest to the end of a range says of a number, the longest of those that end there.
pub(super) fn announced(hits: &[Hit], words: &[&str], range: Range<usize>, size: Size) -> Option<Announcement> {
    let nearest = |end: usize| {
        let before = hits.get(..hits.partition_point(|hit| hit.words.end <= end)).unwrap_or_default();
        let mut near = before.iter().rev().take_while(|hit| hit.words.end > range.start);
        // Of those with the same end the longest is the last.
        near.find(|hit| hit.words.start >= range.start && fits(hit.trigger, size))
    };
    let hit = nearest(range.end)?;
    let label = hit.trigger.label?;
    let between = words.get(hit.words.end..range.end).unwrap_or_default();
    let before = before(words, hit);
    let speaks_of_amounts = || {
        between.iter().any(|word| AMOUNTS.has(word))
            || before
                .iter()
                .any(|word| matches!(*word, "balance" | "limit" | "interest" | "fee" | "fees"))
    };
    let is_amount = size.is_amount || size.digits < NO_AMOUNT && speaks_of_amounts();
    let refused = match label {
        CREDIT_CARD | SSN => is_amount,
        CREDIT_CARD_EXPIRATION => !is_of_card(hits, words, hit),
        _ => false,
    };
    if refused {
        return None;
    }
    let head = of(words, hit.words.start).and_then(|end| nearest(end).filter(|head| head.words.end == end));
    let head = head.filter(|head| head.trigger.label.is_some());
    Some(Announcement {
        trigger: head.map_or(hit.trigger, |head| head.trigger),
        also: head.and(hit.trigger.label),
        end: hit.words.end,
        is_code: head.unwrap_or(hit).is_code,
    })
}

/// Words before a phrase that may say that it is not meant.
fn before<'w, 'a>(words: &'w [&'a str], hit: &Hit) -> &'w [&'a str] {
    words
        .get(hit.words.start.saturating_sub(PERISHABLE_BEFORE)..hit.words.start)
        .unwrap_or_default()
}

/// Whether it is a card that expires.
pub(super) fn is_of_card(hits: &[Hit], words: &[&str], hit: &Hit) -> bool {
    // "Security code seven oh four expiry".
    let is_code = |at: &usize| {
        let from = hits.partition_point(|other| other.words.end <= *at);
        let mut near = hits.get(from..).unwrap_or_default().iter().take(NEAR);
        near.any(|other| other.trigger.label == Some(CVV) && other.words.contains(at))
    };
    let near = hit.words.start.saturating_sub(PERISHABLE_BEFORE)..hit.words.start;
    let is_perishable = |at: &usize| words.get(*at).is_some_and(|word| PERISHABLE.has(word)) && !is_code(at);
    let is_other = near.into_iter().any(|at| is_perishable(&at));
    !is_other && (!is_weak(words, hit) || is_near_card(hits, hit))
}

/// What much more than cards does: "runs until".
fn is_weak(words: &[&str], hit: &Hit) -> bool {
    let words = words.get(hit.words.clone()).unwrap_or_default();
    matches!(
        words,
        ["runs", "until" | "till" | "to" | "through"] | ["lasts", ..] | ["up", "in"] | ["date's"]
    )
}

/// Whether a card is spoken of near a phrase.
fn is_near_card(hits: &[Hit], hit: &Hit) -> bool {
    let first = hits.partition_point(|other| other.words.end + NEAR_CARD <= hit.words.start);
    let near = hits.get(first..).unwrap_or_default().iter();
    let mut near = near.take_while(|other| other.words.end <= hit.words.end + NEAR_CARD);
    near.any(|other| other.trigger.label.is_some_and(|label| [CREDIT_CARD, CVV].contains(&label)))
}

/// Whether a number may be what the phrase announces.
pub(super) fn fits(trigger: &Trigger, size: Size) -> bool {
    let count = if trigger.letters { size.length } else { size.digits };
    trigger.digits.contains(&count)
}

/// Where the words end before "on the", "of my" and the like, which end at an index.
fn of(words: &[&str], end: usize) -> Option<usize> {
    let word = |at: usize| words.get(at).copied().unwrap_or_default();
    let whose = end.checked_sub(1)?;
    let is_whose = matches!(
        word(whose),
        "the" | "my" | "your" | "his" | "her" | "our" | "their" | "this" | "that" | "a"
    );
    let of = if is_whose { whose.checked_sub(1)? } else { whose };
    matches!(word(of), "on" | "of" | "for" | "from" | "to" | "in" | "with" | "at").then_some(of)
}
