//! Streets, boxes and codes of post. English.
//!
//! What it does not do: understand; a street is known by its number and its kind ("forty two … street"), or by what announces it.
//! Who calls it: [`super::rules`].

use std::ops::Range;

use super::labels::{BANK_ACCOUNT, LOCATION_ADDRESS, LOCATION_ZIP, Label, SSN, VEHICLE_ID};
use super::lists::{FILLERS, OF_STREETS, PLACES, PLACES_BEFORE, RARE_STREETS, STREETS, SUITES};
use super::names::{is_unusual, is_word, stops};
use super::numerals;
use super::rules::{Found, Said};

/// Words of a street behind its number.
const STREET: usize = 6;
/// Words of a place behind a street, before its code.
const PLACE: usize = 5;
/// Letters and digits of the shortest code of post.
const POSTCODE: usize = 4;
/// Words of a town that is not known.
const TOWN: usize = 3;
/// Words behind "my address is" that may be those of a street.
const ANNOUNCED: usize = 12;
/// Words of a street without a kind.
const UNNAMED: usize = 5;
/// Letters and digits of the longest code with a form, an account (ISO 13616).
const LONGEST: usize = 34;

/// What announces an address, by its last word.
const PHRASES: [(&str, &[&str]); 11] = [
    ("address", &[""]),
    ("address's", &[""]),
    (
        "is",
        &[
            "address",
            "house",
            "home",
            "property",
            "place",
            "house name",
            "job",
            "office",
            "shop",
            "site",
            "street",
            "new one",
            "old one",
        ],
    ),
    ("it's", &["address"]),
    ("was", &["address"]),
    (
        "at",
        &[
            "live", "lives", "lived", "living", "located", "reside", "resides", "based", "staying", "stay", "i'm", "we're", "are", "house",
            "flat", "property", "it", "off", "up",
        ],
    ),
    (
        "on",
        &[
            "live", "lives", "lived", "living", "i'm", "we're", "place is", "house is", "located",
        ],
    ),
    ("in", &["i live", "we live", "staying"]),
    (
        "from",
        &[
            "pickup is",
            "collection is",
            "moved",
            "me up",
            "it up",
            "them up",
            "collect it",
            "collect",
            "pickup",
        ],
    ),
    (
        "to",
        &[
            "moved",
            "moving",
            "move",
            "ship it",
            "ship",
            "shipped",
            "send it",
            "send them",
            "send that",
            "send someone",
            "send the engineer",
            "sent",
            "deliver",
            "deliver it",
            "delivered",
            "post it",
            "posted",
            "mail it",
            "mailed",
            "goes",
            "going",
            "come",
            "come out",
            "coming",
            "coming out",
            "bring it",
            "drive",
            "engineer",
            "taxi",
            "cab",
            "bill it",
            "redirect it",
            "forward it",
            "return it",
        ],
    ),
    ("into", &["moved", "moving"]),
];

/// All addresses in the words.
pub(super) fn find(said: &Said<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for at in 0..said.words.len() {
        found.extend(post_box(said, at).map(|words| Found::of_words(LOCATION_ADDRESS, words)));
        found.extend(named(said, at).map(|words| Found::of_words(LOCATION_ADDRESS, words)));
        found.extend(announced(said, at).map(|words| Found::of_words(LOCATION_ADDRESS, words)));
        found.extend(sector(said, at).map(|words| Found::of_words(LOCATION_ADDRESS, words)));
        found.extend(town(said, at).map(|words| Found::of_words(LOCATION_ADDRESS, words)));
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
        "aa99aaa" | "a999aaa" | "aaa999a" => Some(VEHICLE_ID),
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
    // "Seventeen b".
    let has_letter = matches!(said.word(run.words.end), "a" | "b" | "c" | "d" | "e" | "f");
    let number = run.words.end + usize::from(has_letter);
    let number = number + usize::from(FILLERS.has(said.word(number)));
    let before = run.words.start.checked_sub(1).map_or("", |before| said.word(before));
    // "It's one fifteen washington view".
    let kind = (number + 1..number + UNNAMED).find(|at| RARE_STREETS.has(said.word(*at)));
    let is_alone = matches!(before, "it's" | "that's" | "at" | "for")
        && kind.is_some_and(|kind| matches!(said.word(kind + 1), "" | "please" | "thanks" | "and"));
    let is_flat = matches!(before, "flat" | "apartment" | "apt" | "unit" | "suite" | "house" | "plot" | "villa");
    let is_announced = has_letter || is_flat || is_alone || is_announced(said, run.words.start) || is_said_behind(said, number);
    let known = street_end(said, number, numerals::is_ordinal(last), is_announced);
    let end = known.or_else(|| unnamed(said, run.words.start, number))?;
    let mut start = run.words.start;
    let letter = |at: usize| said.word(at).chars().count() == 1;
    if start > 1 && letter(start - 1) && SUITES.has(said.word(start - 2)) {
        start -= 2;
    } else if start > 0 && SUITES.has(said.word(start - 1)) {
        // "Third floor".
        let ordinal = start > 1 && numerals::is_ordinal(said.word(start - 2));
        start -= 1 + usize::from(ordinal);
    }
    Some(start..with_place(said, with_suite(said, end)))
}

fn is_announced(said: &Said<'_>, at: usize) -> bool {
    (at.saturating_sub(4)..=at).rev().any(|end| ends(said, end))
}

fn ends(said: &Said<'_>, end: usize) -> bool {
    let Some(last) = end.checked_sub(1) else { return false };
    let before = |phrase: &&str| phrase.is_empty() || said.ends_with(last, phrase);
    PHRASES
        .iter()
        .any(|(word, phrases)| said.word(last) == *word && phrases.iter().any(before))
}

/// "Thirty three cherry tree rise is the address".
fn is_said_behind(said: &Said<'_>, from: usize) -> bool {
    let is = (from..from + STREET).find(|at| matches!(said.word(*at), "is" | "that's" | "it's"));
    is.is_some_and(|is| {
        (is + 1..is + 4).any(|at| said.word(at) == "address")
            || said.word(is + 1) == "where" && matches!(said.word(is + 3), "live" | "lives" | "am")
    })
}

/// Behind the kind of street among the words from an index on. `named`: a name, such as "fifth", stands before.
fn street_end(said: &Said<'_>, from: usize, named: bool, announced: bool) -> Option<usize> {
    // "Sixty six stonebridge", and not "one getaway".
    let is_long = said.run_at(from.saturating_sub(1)).is_some_and(|run| run.digits.len() > 1);
    let is_rare = |at: usize| {
        let is_place = SUITES.has(said.word(at + 1)) || PLACES.has(said.word(at + 1));
        RARE_STREETS.has(said.word(at)) && (announced || is_place || at > from && is_unusual(said.word(at - 1)))
    };
    let mut found = None;
    // "The avenue", "the old stables".
    let near = if announced { STREET } else { 3 };
    let the = (from + 1..from + near).any(|at| STREETS.has(said.word(at)) || announced && RARE_STREETS.has(said.word(at)));
    let from = from + usize::from(said.word(from) == "the" && the);
    let named = named || said.word(from.saturating_sub(1)) == "the";
    for at in from..from + STREET {
        let word = said.word(at);
        // "Five way" needs a name between, "twelve broadway" does not.
        if (STREETS.has(word) || is_rare(at)) && (at > from || named || word == "broadway") {
            // "Hill street", "church walk road".
            found = Some(at + 1);
        } else if at == from && (named || announced || is_long) && is_compound(word) {
            found = Some(at + 1);
        } else if !is_word(word) || word == "the" && !announced || stops(word) && !OF_STREETS.has(word) {
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
    ((ends(said, number) || is_said_behind(said, from)) && is_named).then_some(from + count)
}

/// The end with a flat behind the street: "apartment four c".
fn with_suite(said: &Said<'_>, mut end: usize) -> usize {
    // "Park avenue south".
    let is_side = matches!(
        said.word(end),
        "north" | "south" | "east" | "west" | "northeast" | "northwest" | "southeast" | "southwest"
    );
    end += usize::from(is_side);
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
        is_word(word) && (!stops(word) || word == "in" || PLACES_BEFORE.has(word) || FILLERS.has(word)) && !said.is_numeral(*at)
    };
    let words = (end..end + PLACE).take_while(is_part).count();
    for at in end..=end + words {
        let code = said.spelled_at(at).filter(|code| code.words.start == at);
        if let Some(code) = code.filter(|code| code.text.chars().count() >= POSTCODE && code.text.chars().any(|c| c.is_ascii_digit())) {
            return code.words.end;
        }
    }
    let mut places = (end..end + words).filter(|at| PLACES.has(said.word(*at)));
    let last = places.next_back().map_or(end, |at| at + 1);
    // "In cambridge" is said of it, and "last week in boston" is not of it.
    let between = (end..last).all(|at| said.word(at) != "in");
    let last = if between { last } else { end };
    // A town that is not known.
    let is_town = |at: usize| (is_unusual(said.word(at)) || PLACES.has(said.word(at))) && !said.is_numeral(at);
    // "Indiranagar bengaluru", "cape town", "orlando west soweto".
    let is_part = |at: &usize| is_town(*at) || *at > end && matches!(said.word(*at), "town" | "city" | "north" | "south" | "east" | "west");
    let more = (last..last + TOWN).take_while(is_part).count();
    let last = last + more;
    // "Kinsale county cork".
    let is_county = last > end && said.word(last) == "county" && is_town(last + 1);
    last + 2 * usize::from(is_county)
}

/// "P o box four five two".
fn post_box(said: &Said<'_>, at: usize) -> Option<Range<usize>> {
    let start = [
        "p o box",
        "po box",
        "p.o box",
        "post office box",
        "county road",
        "rural route",
        "state road",
    ]
    .iter()
    .find_map(|phrase| said.start_of(at, phrase));
    let start = start.or_else(|| said.start_of(at, "address is box").map(|address| address + 2))?;
    let number = said.spelled_at(at).filter(|number| number.words.start == at)?;
    Some(start..with_place(said, number.words.end))
}

/// A street with an unusual name: "it's on elderflower lane".
fn named(said: &Said<'_>, at: usize) -> Option<Range<usize>> {
    let before = at.checked_sub(1).map_or("", |before| said.word(before));
    let is_street = matches!(before, "on" | "at" | "it's" | "is" | "off" | "to") && is_unusual(said.word(at)) && !said.is_numeral(at);
    // "I'm on queensway".
    let is_whole = before == "on" && is_compound(said.word(at));
    let kind = (at + 1..at + 3)
        .find(|kind| STREETS.has(said.word(*kind)))
        .or(is_whole.then_some(at))?;
    is_street.then(|| at..with_place(said, with_suite(said, kind + 1)))
}

/// Streets in one word.
fn is_compound(word: &str) -> bool {
    let kinds = [
        "gate", "side", "way", "mead", "bridge", "brook", "dale", "croft", "hill", "park", "view", "field", "wood", "hurst", "combe",
        "marsh",
    ];
    is_unusual(word) && kinds.iter().any(|kind| word.len() > kind.len() + 2 && word.ends_with(kind))
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
        } else if (STREETS.has(word) && here >= from + 3 * the || RARE_STREETS.has(word) && the == 0) && here > from {
            // "Oakwood farm lane end road".
            here += 1;
            found = Some(here);
        } else if !is_word(word) || stops(word) && !matches!(word, "old" | "new" | "little") {
            break;
        } else {
            here += 1;
        }
    }
    found.map(|end| from..with_place(said, with_suite(said, end)))
}

/// "House number two three one sector fifteen gurgaon".
fn sector(said: &Said<'_>, at: usize) -> Option<Range<usize>> {
    let run = said.run_at(at + 1).filter(|run| run.words.start == at + 1)?;
    let is_part = matches!(said.word(at), "sector" | "phase") && at > 0 && (said.is_numeral(at - 1) || is_announced(said, at));
    is_part.then(|| at..with_place(said, run.words.end))
}

/// "And the city is columbus ohio".
fn town(said: &Said<'_>, at: usize) -> Option<Range<usize>> {
    let is_announced = ["city is", "city's", "town is", "town's", "village is"]
        .iter()
        .any(|phrase| said.ends_with(at, phrase));
    let is_place = |at: &usize| PLACES.has(said.word(*at)) || PLACES_BEFORE.has(said.word(*at)) || is_unusual(said.word(*at));
    let count = (at..at + PLACE).take_while(is_place).count();
    (is_announced && count > 0).then_some(at..at + count)
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
    let is_place = PLACES.has(said.word(first)) || is_unusual(said.word(first)) && !said.is_numeral(first);
    (said.ends_with(at, "born in") && is_place).then_some(at..first + 1)
}
