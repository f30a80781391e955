//! Streets, boxes and codes of post, addresses of the network. English.
//!
//! What it does not do: understand; a street is known by its number and its kind ("forty two … street"), or by what announces it.
//! Who calls it: [`super::rules`].

use std::ops::Range;

use super::labels::{BANK_ACCOUNT, EMAIL_ADDRESS, LOCATION_ADDRESS, LOCATION_ZIP, Label, SSN, URL, VEHICLE_ID};
use super::lists::{FILLERS, NO_MAILBOX, PLACES, PLACES_BEFORE, RARE_STREETS, STREETS, SUITES, TOP_LEVELS};
use super::names::{is_word, stops};
use super::numerals;
use super::rules::{Found, Said};

/// Words of a street behind its number.
const STREET: usize = 6;
/// Words of a place behind a street, before its code.
const PLACE: usize = 5;
/// Words behind "my address is" that may be those of a street.
const ANNOUNCED: usize = 12;
/// Words of a mailbox, and those that are spelled.
const MAILBOX: usize = 10;
const HOST: usize = 12;
/// Words of a street without a kind.
const UNNAMED: usize = 5;
/// Words over which "email" is remembered.
const MAIL: usize = 14;
/// Letters and digits of the longest code with a form, an account (ISO 13616).
const LONGEST: usize = 34;

/// What announces an address.
const PHRASES: [&str; 28] = [
    "address",
    "address is",
    "address it's",
    "address was",
    "i live at",
    "live at",
    "live on",
    "lives at",
    "lives on",
    "living at",
    "living on",
    "located at",
    "reside at",
    "resides at",
    "moved to",
    "ship it to",
    "ship to",
    "shipped to",
    "send it to",
    "sent to",
    "deliver to",
    "deliver it to",
    "delivered to",
    "based at",
    "staying at",
    "house is",
    "home is",
    "property is",
];

/// All addresses in the words.
pub(super) fn find(said: &Said<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for at in 0..said.words.len() {
        found.extend(mail_or_site(said, at).map(|(label, words)| Found::of_words(label, words)));
        found.extend(post_box(said, at).map(|words| Found::of_words(LOCATION_ADDRESS, words)));
        found.extend(announced(said, at).map(|words| Found::of_words(LOCATION_ADDRESS, words)));
        found.extend(birthplace(said, at).map(|words| Found::of_words(LOCATION_ADDRESS, words)));
        found.extend(code(said, at));
    }
    found
}

/// What letters and digits are by their order: codes of post, insurance, banks and vehicles.
pub(super) fn shape(text: &str) -> Option<Label> {
    if text.len() > LONGEST {
        return None;
    }
    let kinds: String = text.chars().map(|c| if c.is_ascii_digit() { '9' } else { 'a' }).collect();
    let starts = |prefix: &str| kinds.starts_with(prefix);
    match kinds.as_str() {
        "a99aa" | "aa99aa" | "a999aa" | "aa999aa" | "a9a9aa" | "aa9a9aa" | "a9a9a9" => Some(LOCATION_ZIP),
        "aa999999a" => Some(SSN),
        _ if (15..=LONGEST).contains(&kinds.len()) && starts("aa99") && kinds.bytes().filter(|b| *b == b'9').count() >= 10 => {
            Some(BANK_ACCOUNT)
        }
        _ if kinds.len() == 17 && kinds.contains('a') && kinds.contains('9') => Some(VEHICLE_ID),
        _ => None,
    }
}

/// A code of post or insurance that begins at an index with a letter, by its form. One that begins with a numeral is found there.
fn code(said: &Said<'_>, at: usize) -> Option<Found> {
    let spelled = said.spelled_at(at).filter(|spelled| spelled.words.start == at)?;
    let label = shape(&spelled.text)?;
    Some(Found::of_words(label, spelled.words.clone()))
}

/// The street address that begins with the run of an index, or with the flat before it, with what belongs to it behind.
pub(super) fn street(said: &Said<'_>, index: usize) -> Option<Range<usize>> {
    let run = said.runs.get(index).filter(|run| !run.is_date)?;
    let last = said.word(run.words.end.checked_sub(1)?);
    if run.digits.len() == 1 && said.word(run.words.end) == "way" {
        return None;
    }
    let known = street_end(said, run.words.end, numerals::is_ordinal(last), is_announced(said, run.words.start));
    let end = known.or_else(|| unnamed(said, run.words.start, run.words.end))?;
    let mut start = run.words.start;
    let letter = |at: usize| said.word(at).chars().count() == 1;
    if start > 1 && letter(start - 1) && SUITES.has(said.word(start - 2)) {
        start -= 2;
    } else if start > 0 && SUITES.has(said.word(start - 1)) {
        start -= 1;
    }
    Some(start..with_place(said, with_suite(said, end)))
}

fn is_announced(said: &Said<'_>, at: usize) -> bool {
    (at.saturating_sub(4)..=at).rev().any(|end| ends(said, end))
}

fn ends(said: &Said<'_>, end: usize) -> bool {
    let last = end.checked_sub(1).map_or("", |last| said.word(last));
    matches!(last, "address" | "is" | "it's" | "was" | "at" | "on" | "to" | "address's")
        && PHRASES.iter().any(|phrase| said.ends_with(end, phrase))
}

/// Behind the kind of street among the words from an index on. `named`: a name, such as "fifth", stands before.
fn street_end(said: &Said<'_>, from: usize, named: bool, announced: bool) -> Option<usize> {
    let is_kind = |word: &str| STREETS.has(word) || announced && RARE_STREETS.has(word);
    let mut found = None;
    for at in from..from + STREET {
        let word = said.word(at);
        // "Five way" needs a name between, "twelve broadway" does not.
        if is_kind(word) && (at > from || named || word == "broadway") {
            found = Some(at + 1);
            // "Hill street", "church walk road".
            if !is_kind(said.word(at + 1)) {
                break;
            }
        } else if !is_word(word) || stops(word) && word != "the" || word == "the" && !announced {
            break;
        }
    }
    found
}

/// The end of a street without a kind, right behind what announces it: "i live at one hundred main".
fn unnamed(said: &Said<'_>, start: usize, from: usize) -> Option<usize> {
    let number = start
        .checked_sub(1)
        .filter(|before| FILLERS.has(said.word(*before)) || said.word(*before) == "number")
        .unwrap_or(start);
    let is_part = |at: &usize| {
        let word = said.word(*at);
        is_word(word) && (!stops(word) || PLACES_BEFORE.has(word)) && !SUITES.has(word) && !said.is_numeral(*at)
    };
    let count = (from..from + UNNAMED).take_while(is_part).count();
    let is_named = (from..from + count).any(|at| said.word(at).chars().count() > 1);
    (ends(said, number) && is_named).then_some(from + count)
}

/// The end with a flat behind the street: "apartment four c".
fn with_suite(said: &Said<'_>, mut end: usize) -> usize {
    while SUITES.has(said.word(end)) || matches!(said.word(end), "number") {
        let next = end + 1;
        let Some(flat) = said.spelled_at(next).filter(|flat| flat.words.start == next) else {
            break;
        };
        end = flat.words.end;
    }
    end
}

/// The end with a town, state and code of post behind the street.
fn with_place(said: &Said<'_>, end: usize) -> usize {
    let is_part = |at: &usize| {
        let word = said.word(*at);
        is_word(word) && (!stops(word) || word == "in" || PLACES_BEFORE.has(word)) && !said.is_numeral(*at)
    };
    let words = (end..end + PLACE).take_while(is_part).count();
    for at in end..=end + words {
        let code = said.spelled_at(at).filter(|code| code.words.start == at);
        if let Some(code) = code.filter(|code| code.text.chars().count() >= 5 && code.text.chars().any(|c| c.is_ascii_digit())) {
            return code.words.end;
        }
    }
    let mut places = (end..end + words).filter(|at| PLACES.has(said.word(*at)));
    let last = places.next_back().map_or(end, |at| at + 1);
    // "In cambridge" is said of it, and "last week in boston" is not of it.
    let between = (end..last).all(|at| said.word(at) != "in");
    if between { last } else { end }
}

/// "P o box four five two".
fn post_box(said: &Said<'_>, at: usize) -> Option<Range<usize>> {
    let start = ["p o box", "po box", "p.o box", "post office box"]
        .iter()
        .find_map(|phrase| said.start_of(at, phrase))?;
    let number = said.spelled_at(at).filter(|number| number.words.start == at)?;
    Some(start..with_place(said, number.words.end))
}

/// An address without a number right behind what announces it: "my address is rose cottage church lane".
fn announced(said: &Said<'_>, at: usize) -> Option<Range<usize>> {
    let is_start = ends(said, at) && !said.is_numeral(at);
    if !is_start {
        return None;
    }
    let mut from = at;
    while FILLERS.has(said.word(from)) || matches!(said.word(from), "is" | "it's" | "at" | "number") {
        from += 1;
    }
    // "The old bakery high street".
    let the = usize::from(said.word(from) == "the");
    if the == 0 && stops(said.word(from)) {
        return None;
    }
    let mut here = from + the;
    let mut found = None;
    while here < from + ANNOUNCED {
        let word = said.word(here);
        if let Some(spelled) = said.spelled_at(here) {
            here = spelled.words.end.max(here + 1);
        } else if said.is_numeral(here) {
            here += 1;
        } else if (STREETS.has(word) && here > from + 3 * the || RARE_STREETS.has(word) && the == 0) && here > from {
            found = Some(here + 1);
            break;
        } else if !is_word(word) || stops(word) && !matches!(word, "old" | "new" | "little") {
            break;
        } else {
            here += 1;
        }
    }
    found.map(|end| from..with_place(said, with_suite(said, end)))
}

/// "My place of birth is".
fn birthplace(said: &Said<'_>, at: usize) -> Option<Range<usize>> {
    if !(1..=2).any(|back| {
        at.checked_sub(back)
            .is_some_and(|at| matches!(said.word(at), "birth" | "birthplace" | "born"))
    }) {
        return None;
    }
    let phrases = [
        "place of birth",
        "city of birth",
        "town of birth",
        "country of birth",
        "birthplace",
        "birth place",
    ];
    let from = ["", " is", " was", " it's"]
        .iter()
        .any(|more| phrases.iter().any(|phrase| said.ends_with(at, &format!("{phrase}{more}"))));
    let is_part = |at: &usize| is_word(said.word(*at)) && !stops(said.word(*at)) && !said.is_numeral(*at);
    let count = (at..at + 3).take_while(is_part).count();
    if from && count > 0 {
        return Some(at..at + count);
    }
    let first = at + usize::from(PLACES_BEFORE.has(said.word(at)));
    (said.ends_with(at, "born in") && PLACES.has(said.word(first))).then_some(at..first + 1)
}

/// An e-mail or web address whose last "dot" stands at an index.
fn mail_or_site(said: &Said<'_>, at: usize) -> Option<(Label, Range<usize>)> {
    let mut next = at + 1;
    if FILLERS.has(said.word(next)) {
        next += 1;
    }
    if said.word(at) != "dot" || !TOP_LEVELS.has(said.word(next)) || said.word(next + 1) == "dot" && TOP_LEVELS.has(said.word(next + 2)) {
        return None;
    }
    let mut end = next + 1;
    let start = host(said, at)?;
    let sign = start.checked_sub(1).filter(|sign| matches!(said.word(*sign), "at" | "sign"));
    if let Some(sign) = sign {
        let sign = if said.word(sign) == "sign" { sign.checked_sub(1)? } else { sign };
        return Some((EMAIL_ADDRESS, mailbox(said, sign)..end));
    }
    while said.word(end) == "slash" && end + 1 < said.words.len() {
        end += 2;
    }
    Some((URL, start..end))
}

/// The beginning of the host whose last "dot" stands at an index: behind an "at", or behind "w w w", or the words that dots join.
fn host(said: &Said<'_>, dot: usize) -> Option<usize> {
    let least = dot.saturating_sub(HOST);
    let mut start = dot.checked_sub(1)?;
    let mut first = start;
    loop {
        if let Some(spelled) = said.spelled_at(start) {
            start = spelled.words.start.min(start);
        }
        first = first.min(start);
        let before = start.checked_sub(1).map_or("", |before| said.word(before));
        match before {
            "dot" | "dash" | "hyphen" | "underscore" | "uh" | "um" if start >= 2 && start > least => {
                start -= if matches!(before, "uh" | "um") { 1 } else { 2 }
            }
            _ => break,
        }
    }
    first = first.min(start);
    // A host of several words is known by its beginning.
    let is_sign = |at: usize| said.word(at) == "at" || said.word(at) == "sign" && at > 0 && said.word(at - 1) == "at";
    let is_mail = (first.saturating_sub(MAIL)..first).any(|at| matches!(said.word(at), "email" | "e-mail" | "mail" | "address"));
    for back in 0..4 {
        let Some(sign) = first.checked_sub(back + 1) else { break };
        if is_sign(sign) {
            return Some(sign + 1);
        }
        if said.is_numeral(sign) {
            continue;
        }
        if stops(said.word(sign)) && !is_mail {
            break;
        }
    }
    let web = (least..first)
        .rev()
        .find(|at| said.word(*at) == "dot" && matches!(said.word(at.saturating_sub(1)), "w" | "www"));
    let web = web.map(|at| {
        if said.word(at.saturating_sub(1)) == "www" {
            at - 1
        } else {
            at.saturating_sub(3)
        }
    });
    if web.is_some() {
        return web;
    }
    // "My site is green gardens dot org".
    let plain = (first.saturating_sub(2)..first)
        .rev()
        .take_while(|at| is_word(said.word(*at)) && !stops(said.word(*at)) && said.word(*at) != "slash")
        .count();
    let names_it = (first - plain)
        .checked_sub(1)
        .is_some_and(|before| matches!(said.word(before), "is" | "it's" | "visit" | "to" | "slash"));
    let start = if names_it { first - plain } else { first };
    let scheme = said.start_of(start, "colon slash slash").and_then(|colon| colon.checked_sub(1));
    let letters = scheme.and_then(|scheme| said.spelled_at(scheme)).map(|letters| letters.words.start);
    Some(letters.or(scheme).unwrap_or(start))
}

/// The beginning of what stands before the "at" of an e-mail address.
fn mailbox(said: &Said<'_>, at: usize) -> usize {
    let mut start = at;
    for _ in 0..MAILBOX {
        let Some(before) = start.checked_sub(1) else { break };
        if let Some(spelled) = said.spelled_at(before) {
            start = spelled.words.start;
            continue;
        }
        let word = said.word(before);
        let joins = FILLERS.has(word) && matches!(said.word(before.saturating_sub(1)), "dot" | "underscore" | "dash")
            || FILLERS.has(word) && said.word(start) == "dot";
        let is_box = start == at && matches!(word, "hello" | "hi" | "contact" | "mail");
        if NO_MAILBOX.has(word) && !joins && !is_box {
            break;
        }
        start = before;
    }
    start
}
