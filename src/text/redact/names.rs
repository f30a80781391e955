//! Names of people. English.
//!
//! What it does: finds names behind what announces them, names that are spelled, and the most usual first names anywhere.
//! What it does not do: know other names that nothing announces. Who calls it: [`super::rules`].

use std::ops::Range;

use super::labels::NAME;
use super::lists::{FILLERS, REMARKS};
use super::people::{FIRST, LAST, NO_NAMES, RARE, is_known};
use super::rules::{Found, Said};

/// Words of a name, particles not counted.
const NAME_WORDS: usize = 3;
/// Words between a name and how it is spelled.
const SPELLED_BEHIND: usize = 4;
/// Letters in a row that nothing announced and that are no abbreviation.
const LETTERS: usize = 4;
/// Words between "name" and "is": "the name on the account is".
const NAME_IS: usize = 8;

/// Phrases behind which nothing but a name comes.
const CERTAIN: [&str; 82] = [
    "my name is",
    "my name's",
    "name is",
    "name's",
    "name was",
    "name's is",
    "first name",
    "first name is",
    "last name",
    "last name is",
    "surname",
    "surname is",
    "surname's",
    "middle name",
    "middle name is",
    "full name",
    "full name is",
    "family name",
    "family name is",
    "given name",
    "given name is",
    "forename",
    "forename is",
    "middle initial",
    "maiden name",
    "maiden name is",
    "maiden name was",
    "under the name",
    "under the name of",
    "in the name of",
    "cardholder",
    "cardholder is",
    "cardholder name",
    "card holder",
    "card holder is",
    "card holder name",
    "card holder's name",
    "cardholder's name",
    "account holder",
    "account holder is",
    "account holder name",
    "account holder's name",
    "policy holder",
    "policyholder",
    "policy holder is",
    "policyholder is",
    "account is under",
    "account's under",
    "booked under",
    "reservation under",
    "reservation's under",
    "booking under",
    "registered under",
    "registered to",
    "listed under",
    "booking is under",
    "reservation is under",
    "policy is under",
    "order is under",
    "made out to",
    "make it out to",
    "making it out to",
    "payable to",
    "name please",
    "calls me",
    "beneficiary is",
    "belongs to",
    "i am called",
    "he's called",
    "she's called",
    "they call me",
    "you can call me",
    "people call me",
    "goes by",
    "i go by",
    "known as",
    "formerly",
    "mister",
    "mr",
    "mrs",
    "ms",
    "miss",
];

/// Phrases behind which a name may come.
const LIKELY: [&str; 20] = [
    "speaking with",
    "speaking to",
    "speak to",
    "speak with",
    "spoke to",
    "spoke with",
    "talk to",
    "talking to",
    "talked to",
    "talked with",
    "on behalf of",
    "calling for",
    "put it under",
    "ask for",
    "asked for",
    "contact is",
    "doctor",
    "dr",
    "professor",
    "call me",
];

/// Phrases behind which a name comes if it is a known one, or if "speaking" or "calling" follows.
const POSSIBLE: [&str; 14] = [
    "this is",
    "i'm",
    "i am",
    "it's",
    "that's",
    "you have",
    "it's under",
    "contact",
    "under",
    "it was",
    "with",
    "reservation for",
    "booking for",
    "appointment for",
];

/// Parts of a name that are words of their own.
const PARTICLES: [&str; 17] = [
    "de", "la", "da", "del", "della", "der", "den", "van", "von", "bin", "ibn", "al", "el", "mac", "mc", "o", "st",
];

/// Abbreviations of four letters and more.
const ABBREVIATIONS: [&str; 12] = [
    "asap", "rsvp", "hdmi", "ymca", "faqs", "nasa", "html", "http", "https", "wwww", "nhsx", "aarp",
];

/// All names in the words.
pub(super) fn find(said: &Said<'_>) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    let mut until = 0;
    for at in 0..said.words.len() {
        if at < until {
            continue;
        }
        if let Some(words) = name(said, at) {
            until = words.end;
            let spelled = spelled_behind(said, words.end);
            until = until.max(spelled.as_ref().map_or(0, |spelled| spelled.end));
            found.push(Found::of_words(NAME, words));
            found.extend(spelled.map(|words| Found::of_words(NAME, words)));
        } else if let Some(words) = letters(said, at) {
            until = words.end;
            found.extend(spelled_before(said, &words).map(|words| Found::of_words(NAME, words)));
            found.push(Found::of_words(NAME, words));
        }
    }
    found
}

/// Whether it is written with letters only.
pub(super) fn is_word(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_alphabetic() || matches!(c, '\'' | '-'))
}

/// Whether no name goes on over the word.
pub(super) fn stops(word: &str) -> bool {
    NO_NAMES.has(word)
}

/// A name that begins at an index.
fn name(said: &Said<'_>, at: usize) -> Option<Range<usize>> {
    if FILLERS.has(said.word(at)) {
        return None;
    }
    let mut end = at;
    while end > 0 && at - end < 2 && FILLERS.has(said.word(end - 1)) {
        end -= 1;
    }
    let last = end.checked_sub(1).map_or("", |last| said.word(last));
    let certain = end > 0 && (CERTAIN.iter().any(|phrase| said.ends_with(end, phrase)) || name_is(said, end) || whose_name(said, end));
    if certain {
        return words_of(said, at, true);
    }
    let word = said.word(at);
    let likely = LIKELY.iter().any(|phrase| said.ends_with(end, phrase)) || last == "name" && bare_name(said, end) || name_on(said, end);
    if likely && (!said.is_numeral(at)) {
        return words_of(said, at, false);
    }
    let known = FIRST.has(word);
    let possible = POSSIBLE.iter().any(|phrase| said.ends_with(end, phrase)) || greets(said, end);
    let words = words_of(said, at, false)?;
    let is_speaking = matches!(said.word(words.end), "speaking" | "calling");
    // Two words, and then something else.
    let this = ["this is", "it's", "i'm"].iter().find_map(|phrase| said.start_of(end, phrase));
    let is_greeted = this.is_some_and(|this| this > 0 && greets(said, this)) && (said.word(words.end).is_empty() || words.len() > 1);
    let is_full = words.len() > 1
        && said.ends_with(end, "this is")
        && matches!(said.word(words.end), "from" | "my" | "with" | "here" | "returning" | "again");
    if possible && (is_known(word) || is_speaking || is_full || is_greeted) && !said.is_numeral(at) {
        return Some(words);
    }
    if is_speaking && said.word(words.end) == "speaking" && (known || begins(said, at)) && words.len() <= 2 {
        return Some(words);
    }
    let count = (at + 1..at + NAME_WORDS)
        .take_while(|at| FIRST.has(said.word(*at)) || LAST.has(said.word(*at)))
        .count();
    let next = at + 1 + count;
    (known && !matches!(last, "saint" | "st")).then_some(at..next + last_names(said, next))
}

/// How many words from an index on may be last names: up to two, before the end or another word.
fn last_names(said: &Said<'_>, at: usize) -> usize {
    let may_be = |at: &usize| {
        let word = said.word(*at);
        let is_verb = ["ed", "ing", "ly", "'s"].iter().any(|end| word.ends_with(end));
        is_word(word) && word.chars().count() > 1 && !stops(word) && !said.is_numeral(*at) && !is_verb && !REMARKS.has(word)
    };
    let count = (at..at + NAME_WORDS).take_while(may_be).count();
    if count < NAME_WORDS { count } else { 0 }
}

/// The words of a name from an index on. `certain`: even if it is mostly another word.
fn words_of(said: &Said<'_>, from: usize, certain: bool) -> Option<Range<usize>> {
    let is_name = |at: usize| is_word(said.word(at)) && !stops(said.word(at)) && !said.is_numeral(at);
    let follows = said.word(from + 1);
    let is_rare = certain && RARE.has(said.word(from)) && !matches!(follows, "be" | "not" | "have");
    let (mut at, mut end, mut count) = (from, from, 0);
    while count < NAME_WORDS {
        let word = said.word(at);
        let is_particle = PARTICLES.contains(&word);
        let is_filler = count > 0 && FILLERS.has(word) && is_name(at + 1);
        let letter = word.chars().count() == 1
            && at > from
            && (!is_name(at + 1) || said.spelled_at(at).is_some_and(|spelled| spelled.letters() > 1));
        if is_filler && !is_particle {
            at += 1;
            continue;
        }
        if letter || !(is_name(at) || at == from && is_rare) {
            break;
        }
        at += 1;
        end = at;
        count += usize::from(!is_particle);
    }
    (end > from).then_some(from..end)
}

/// "The name on the account is", "name for the booking was".
fn name_is(said: &Said<'_>, end: usize) -> bool {
    let Some(is) = end.checked_sub(1) else { return false };
    if !matches!(said.word(is), "is" | "was" | "says" | "reads" | "it's" | "be") {
        return false;
    }
    let name = (is.saturating_sub(NAME_IS)..is).rev().find(|at| said.word(*at) == "name");
    name.is_some_and(|name| {
        matches!(
            said.word(name + 1),
            "on" | "for" | "under" | "in" | "it" | "as" | "should" | "would"
        )
    })
}

/// "The name on the card".
fn name_on(said: &Said<'_>, end: usize) -> bool {
    [
        "card",
        "account",
        "booking",
        "policy",
        "order",
        "reservation",
        "file",
        "passport",
        "license",
        "licence",
    ]
    .iter()
    .any(|thing| {
        let thing = said
            .start_of(end, thing)
            .and_then(|thing| said.start_of(thing, "the").or_else(|| said.start_of(thing, "my")));
        thing.is_some_and(|the| said.ends_with(the, "name on") || said.ends_with(the, "name for"))
    })
}

/// "Under my wife's name", "her husband's name is", "my pet's name was".
fn whose_name(said: &Said<'_>, end: usize) -> bool {
    let name = ["name", "name is", "name was"].iter().find_map(|phrase| said.start_of(end, phrase));
    let whose = name.and_then(|name| name.checked_sub(1)).map_or("", |whose| said.word(whose));
    whose.ends_with("'s")
        && !matches!(
            whose,
            "what's" | "that's" | "it's" | "there's" | "company's" | "product's" | "here's"
        )
}

/// "Name carlos ruiz", and not "the name carlos".
fn bare_name(said: &Said<'_>, end: usize) -> bool {
    let before = end.checked_sub(2).map_or("", |before| said.word(before));
    before.is_empty()
        || REMARKS.has(before) && !matches!(before, "the" | "a" | "last" | "first" | "no")
        || matches!(before, "patient" | "customer" | "contact" | "on")
}

/// "Hi", "thanks".
fn greets(said: &Said<'_>, end: usize) -> bool {
    end.checked_sub(1).is_some_and(|last| {
        matches!(
            said.word(last),
            "hi" | "hello" | "hey" | "thanks" | "morning" | "afternoon" | "evening"
        )
    })
}

/// Nothing, or a greeting or answer, stands before.
fn begins(said: &Said<'_>, at: usize) -> bool {
    let before = at.checked_sub(1).map_or("", |before| said.word(before));
    before.is_empty() || greets(said, at) || matches!(before, "yes" | "yeah" | "support" | "service")
}

/// How the name before an index is spelled: "that's w o j c i k", "j for juliet".
fn spelled_behind(said: &Said<'_>, end: usize) -> Option<Range<usize>> {
    let is_between = |at: &usize| {
        FILLERS.has(said.word(*at))
            || matches!(
                said.word(*at),
                "that's"
                    | "spelled"
                    | "spelt"
                    | "spelling"
                    | "is"
                    | "it's"
                    | "so"
                    | "with"
                    | "which"
                    | "yes"
                    | "okay"
                    | "and"
                    | "as"
                    | "in"
            )
    };
    let skipped = (end..end + SPELLED_BEHIND).take_while(is_between).count();
    let spelled = (end..=end + skipped).find_map(|at| said.spelled_at(at).filter(|spelled| spelled.words.start == at))?;
    let is_name = spelled.letters() > 1 || spelled.words.len() > 2 && spelled.letters() == 1 || skipped > 0 && spelled.letters() == 1;
    (is_name && spelled.letters() * 2 > spelled.text.chars().count()).then(|| spelled.words.clone())
}

/// The word that was spelled: "gupta g u p t a".
fn spelled_before(said: &Said<'_>, letters: &Range<usize>) -> Option<Range<usize>> {
    let spelled = said.spelled_at(letters.start)?;
    let near = (letters.start.saturating_sub(SPELLED_BEHIND)..letters.start).rev();
    near.into_iter().find(|at| said.word(*at) == spelled.text).map(|at| at..at + 1)
}

/// Letters of a name that is not known to be one.
fn letters(said: &Said<'_>, at: usize) -> Option<Range<usize>> {
    let spelled = said.spelled_at(at).filter(|spelled| spelled.words.start == at)?;
    let letters = spelled.letters();
    if letters < spelled.text.chars().count() {
        return None;
    }
    let before = at.checked_sub(1).map_or("", |before| said.word(before));
    let is_announced = letters > 1 && matches!(before, "spelled" | "spelt" | "spelling" | "letters" | "initials");
    let is_long = letters >= LETTERS && !ABBREVIATIONS.contains(&spelled.text.as_str());
    let has_words = letters > 1 && spelled.words.len() >= letters * 2;
    (is_announced || is_long || has_words).then(|| spelled.words.clone())
}
