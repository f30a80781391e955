//! House numbers and streets.

use super::{Text, capital, rest, word};
use crate::text::spoken::{self, Written};

const DIRECTIONS: &[&str] = &["north", "south", "east", "west", "northeast", "northwest", "southeast", "southwest"];

const STREETS: &[&str] = &[
    "street",
    "avenue",
    "road",
    "boulevard",
    "lane",
    "drive",
    "court",
    "highway",
    "parkway",
];

/// After these the first of two numbers is not that of the house.
const FLATS: &[&str] = &["flat", "apartment", "unit", "suite"];

/// Words of a street's name.
const MAX_NAMES: usize = 2;

/// Digits of a house number that a direction alone may follow: `123 Southeast`, but "five north".
const MIN_BEFORE_DIRECTION: usize = 3;

/// Words that are no name of a street: "ten minute drive", "two people on the road".
const NOT_NAMES: &[&str] = &[
    "a", "about", "across", "along", "am", "an", "and", "are", "around", "at", "away", "behind", "block", "blocks", "by", "car", "cars",
    "cent", "cents", "day", "days", "dirt", "dollar", "dollars", "down", "euros", "feet", "for", "foot", "from", "hard", "hour", "hours",
    "i", "in", "into", "is", "it", "lane", "lanes", "men", "mile", "miles", "minute", "minutes", "more", "my", "near", "new", "of", "off",
    "on", "or", "other", "our", "over", "past", "people", "per", "percent", "pm", "pounds", "second", "that", "the", "their", "this",
    "through", "to", "up", "was", "way", "wheel", "year", "your",
];

/// "three hundred main street": `300 Main Street`; "one two three southeast": `123 Southeast`.
pub(super) fn street(text: &Text<'_>, at: usize) -> Option<Vec<Written>> {
    let words = text.run(at);
    let number = house_number(words)?;
    // "Flat three, twenty two".
    let parts = spoken::number(words).is_some_and(|first| first.words < number.words);
    if parts && FLATS.contains(&text.before(at)) {
        return None;
    }
    let taken = number.words;
    let long = number.text.len() >= MIN_BEFORE_DIRECTION;
    let mut parts = vec![number];
    let direction = Some(word(words, taken)).filter(|word| DIRECTIONS.contains(word));
    parts.extend(direction.map(|direction| Written::new(1, capital(direction))));
    match street_name(rest(words, taken + usize::from(direction.is_some()))) {
        Some(name) => parts.extend(name),
        None if direction.is_some() && long => {}
        None => return None,
    }
    Some(parts)
}

/// "fifth avenue": `5th Avenue`.
pub(super) fn numbered_street(text: &Text<'_>, at: usize) -> Option<Vec<Written>> {
    let words = text.run(at);
    let number = spoken::number(words).filter(|number| number.ordinal)?;
    let kind = word(words, number.words);
    matches!(kind, "street" | "avenue").then(|| {
        vec![
            Written::new(number.words, spoken::ordinal(number.value)),
            Written::new(1, capital(kind)),
        ]
    })
}

/// Digits spoken one by one, a number, or two as in "two twenty" and "twelve fifty". One alone is none.
fn house_number(words: &[&str]) -> Option<Written> {
    let digits = spoken::digits(words);
    if digits.len() > 1 {
        let text: String = digits.iter().map(|digit| digit.text.as_str()).collect();
        return Some(Written::new(digits.iter().map(|digit| digit.words).sum(), text));
    }
    let first = spoken::number(words).filter(|number| !number.ordinal && number.value > 0)?;
    let second = spoken::number(rest(words, first.words)).filter(|second| !second.ordinal && (10..100).contains(&second.value));
    match second.filter(|_| first.value < 100) {
        Some(second) => Some(Written::new(first.words + second.words, format!("{}{}", first.value, second.value))),
        None => (first.value > 1).then(|| Written::new(first.words, first.value.to_string())),
    }
}

/// One or two names and what kind of street it is.
fn street_name(words: &[&str]) -> Option<Vec<Written>> {
    let (mut parts, mut taken) = (Vec::new(), 0);
    loop {
        let name = word(words, taken);
        let is_kind = !parts.is_empty() && STREETS.contains(&name);
        let number = spoken::number(rest(words, taken));
        let part = match number {
            Some(number) if number.ordinal => Written::new(number.words, spoken::ordinal(number.value)),
            None if is_kind || is_name(name) => Written::new(1, capital(name)),
            _ => return None,
        };
        taken += part.words;
        parts.push(part);
        if is_kind {
            return Some(parts);
        }
        if parts.len() > MAX_NAMES {
            return None;
        }
    }
}

fn is_name(word: &str) -> bool {
    word.len() > 1 && word.chars().all(|c| c.is_alphabetic() || c == '\'') && !NOT_NAMES.contains(&word)
}
