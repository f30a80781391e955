//! Names of people. English.
//!
//! What it does: finds names behind what announces them, names that are spelled, and the most usual first names anywhere.
//! What it does not do: know other names that nothing announces. Who calls it: [`super::rules`].

use std::ops::Range;

use super::introductions;
use super::labels::NAME;
use super::lists::{FILLERS, REMARKS};
use super::ordinary::is_ordinary;
use super::people::{FIRST, LAST, NO_NAMES, RARE, is_known};
use super::rules::{Found, Said};

/// Words of a name, particles not counted; one more that is nothing but a name belongs to it.
const NAME_WORDS: usize = 3;
/// Words between a name and another, behind "or".
const BETWEEN: usize = 2;
/// Words between a name and how it is spelled.
const SPELLED_BEHIND: usize = 4;
/// Letters in a row that nothing announced and that are no abbreviation.
const LETTERS: usize = 4;
/// Parts of a name that are words of their own.
const PARTICLES: [&str; 17] = [
    "de", "la", "da", "del", "della", "der", "den", "van", "von", "bin", "ibn", "al", "el", "mac", "mc", "o", "st",
];

/// Names of two letters.
const SHORT: [&str; 13] = ["mo", "ty", "bo", "ed", "vi", "xi", "wu", "ng", "li", "yu", "lu", "su", "oz"];

/// Abbreviations of four letters and more.
const ABBREVIATIONS: [&str; 26] = [
    "asap", "rsvp", "hdmi", "ymca", "faqs", "nasa", "html", "http", "https", "wwww", "nhsx", "aarp", "cctv", "dvla", "hmrc", "dvsa",
    "rspca", "nspcc", "gcse", "btec", "fifa", "uefa", "nato", "hsbc", "usps", "unicef",
];

/// All names in the words.
pub(super) fn find(said: &Said<'_>) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    let mut until = 0;
    for at in 0..said.words.len() {
        if until > 0
            && is_next(said, until, at)
            && let Some(words) = words_of(said, at, false)
        {
            until = words.end;
            found.push(Found::of_words(NAME, words));
            continue;
        }
        if at < until {
            continue;
        }
        if let Some(words) = letters(said, at) {
            until = words.end;
            found.extend(spelled_before(said, &words).map(|words| Found::of_words(NAME, words)));
            found.push(Found::of_words(NAME, words));
        } else if let Some(words) = name(said, at) {
            until = words.end;
            let spelled = spelled_behind(said, words.end);
            until = until.max(spelled.as_ref().map_or(0, |spelled| spelled.end));
            found.push(Found::of_words(NAME, words));
            found.extend(spelled.map(|words| Found::of_words(NAME, words)));
        }
    }
    found
}

/// Whether a word stands beside the name before it: "edda and torvald", "harrison or maybe harris", "mcallister not mcpherson".
fn is_next(said: &Said<'_>, end: usize, at: usize) -> bool {
    let is_between =
        |at: usize| FILLERS.has(said.word(at)) || matches!(said.word(at), "maybe" | "perhaps" | "is" | "was" | "it" | "possibly");
    let is_name = is_unusual(said.word(at)) || is_known(said.word(at));
    match said.word(end) {
        "and" => at == end + 1 && is_unusual(said.word(at)),
        "or" | "not" | "so" => (end + 1..=end + BETWEEN + 1).contains(&at) && (end + 1..at).all(is_between) && is_name,
        "to" => at == end + 1 && is_name && (end.saturating_sub(NAME_WORDS)..end).any(|at| said.ends_with(at, "name from")),
        _ => false,
    }
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
    let word = said.word(at);
    if FILLERS.has(word) || said.is_numeral(at) {
        return None;
    }
    let mut end = at;
    while end > 0 && at - end < 2 && FILLERS.has(said.word(end - 1)) {
        end -= 1;
    }
    if introductions::is_titled(said, at) || RARE.has(word) && introductions::is_introduced(said, end, at + 1) {
        return Some(at..at + 1);
    }
    let is_verb = word.len() > 5 && word.ends_with("ed") && is_ordinary(word);
    if introductions::is_certain(said, end) && !is_verb {
        return words_of(said, at, true);
    }
    let words = words_of(said, at, false)?;
    // "Van der merwe".
    let main = (at..at + 3).find(|at| !PARTICLES.contains(&said.word(*at))).unwrap_or(at);
    let is_name = is_known(word) || is_unusual(said.word(main));
    if is_name && (introductions::is_possible(said, end) || introductions::is_polite(said, end, words.end)) {
        return Some(words);
    }
    // "Jacinta umunna", "concetta park is my landlord".
    let next = (at + 1..at + 3).find(|at| !PARTICLES.contains(&said.word(*at))).unwrap_or(at + 1);
    let is_full = is_unusual(said.word(next)) && !said.is_numeral(next);
    let is_meant = is_full || introductions::is_related(said, words.end) || introductions::is_asked_for(said, at, words.end);
    if is_unusual(word) && is_meant {
        return Some(words);
    }
    let is_greeted = introductions::begins(said, at) || ["this is", "it's"].iter().any(|phrase| said.ends_with(end, phrase));
    let is_speaking = matches!(said.word(words.end), "speaking" | "calling" | "here") && words.len() <= 2;
    if is_speaking && is_greeted && (is_name || said.word(words.end) == "speaking") {
        return Some(words);
    }
    let last = end.checked_sub(1).map_or("", |last| said.word(last));
    let count = (at + 1..at + NAME_WORDS)
        .take_while(|at| FIRST.has(said.word(*at)) || LAST.has(said.word(*at)))
        .count();
    let next = at + 1 + count;
    // "Kevin's place".
    if word.strip_suffix("'s").is_some_and(|word| FIRST.has(word)) {
        return Some(at..at + 1);
    }
    (FIRST.has(word) && !matches!(last, "saint" | "st")).then_some(at..next + last_names(said, next))
}

/// Whether a word is hardly anything but a name.
pub(super) fn is_unusual(word: &str) -> bool {
    is_word(word) && (word.chars().count() > 2 && !is_ordinary(word) || SHORT.contains(&word))
}

/// How many words from an index on may be last names: up to two, before the end or another word.
fn last_names(said: &Said<'_>, from: usize) -> usize {
    let at = from;
    let may_be = |at: &usize| {
        let word = said.word(*at);
        let is_verb = ["ed", "ing", "ly", "'s"].iter().any(|end| word.ends_with(end));
        is_word(word) && word.chars().count() > 1 && !stops(word) && !said.is_numeral(*at) && !is_verb && !REMARKS.has(word)
    };
    // "Dorothea m whitcombe".
    let initial =
        |at: usize| matches!(said.word(at).as_bytes(), [letter] if !matches!(letter, b'a' | b'i')) && is_unusual(said.word(at + 1));
    let at = at + usize::from(initial(at));
    let count = (at..at + NAME_WORDS).take_while(may_be).count();
    let before = at - from;
    if count < NAME_WORDS { before + count } else { 0 }
}

/// The words of a name from an index on. `certain`: even if it is mostly another word.
fn words_of(said: &Said<'_>, from: usize, certain: bool) -> Option<Range<usize>> {
    let spelled = said.spelled_at(from).filter(|spelled| spelled.words.start == from);
    if let Some(spelled) = spelled.filter(|spelled| certain && spelled.letters() > 1) {
        // "Mr t k adewale".
        let next = spelled.words.end;
        let is_initials = spelled.letters() < LETTERS && is_unusual(said.word(next));
        return Some(from..next + usize::from(is_initials));
    }
    let is_name = |at: usize| is_word(said.word(at)) && !stops(said.word(at)) && !said.is_numeral(at);
    let follows = said.word(from + 1);
    let is_rare = certain && RARE.has(said.word(from)) && !matches!(follows, "be" | "not" | "have");
    // "Temperance bear with me".
    let is_sure = certain || FIRST.has(said.word(from));
    let is_particle = |at: usize| PARTICLES.contains(&said.word(at)) && is_unusual(said.word(at + 1));
    let is_verb = |at: usize| said.word(at).ends_with("ed") && is_ordinary(said.word(at));
    let goes_on = |at: usize| {
        !is_verb(at) && (is_sure || !is_ordinary(said.word(at)) || is_closed(said.word(at + 1)) || is_particle(at) || is_particle(at + 1))
    };
    let (mut at, mut end, mut count) = (from, from, 0);
    while count < NAME_WORDS || count == NAME_WORDS && certain && (is_known(said.word(at)) || is_unusual(said.word(at))) {
        let word = said.word(at);
        let is_particle = PARTICLES.contains(&word);
        let is_filler = count > 0 && FILLERS.has(word) && is_name(at + 1);
        let is_spelled = said
            .spelled_at(at)
            .is_some_and(|spelled| spelled.letters() > 1 && spelled.words.start == at);
        let letter = at > from && (is_spelled || word.chars().count() == 1 && !is_name(at + 1));
        if is_filler && !is_particle {
            at += 1;
            continue;
        }
        if letter || !(is_name(at) && (at == from || goes_on(at)) || at == from && is_rare) {
            break;
        }
        at += 1;
        end = at;
        count += usize::from(!is_particle);
    }
    (end > from).then_some(from..end)
}

/// What follows a name more often than another word of a sentence.
fn is_closed(word: &str) -> bool {
    matches!(
        word,
        "" | "and" | "is" | "on" | "from" | "who" | "here" | "has" | "date" | "speaking" | "calling" | "please" | "that's"
    )
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
    let before = at.checked_sub(1).map_or("", |before| said.word(before));
    let of_initials = ["initials are", "initials is", "initial is"]
        .iter()
        .any(|phrase| said.ends_with(at, phrase));
    let is_announced = letters > 1 && (of_initials || matches!(before, "spelled" | "spelt" | "spelling" | "letters" | "initials"));
    if letters < spelled.text.chars().count() && !is_announced {
        return None;
    }
    // "A b m w".
    let article = usize::from(said.word(at) == "a" && !before.is_empty());
    let is_long = letters - article >= LETTERS && !ABBREVIATIONS.contains(&spelled.text.as_str());
    let has_words = letters > 1 && spelled.words.len() >= letters * 2;
    let is_short = letters > 2 && is_known(&spelled.text);
    (is_announced || is_long || is_short || has_words).then(|| spelled.words.clone())
}
