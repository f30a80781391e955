//! Dates and times of day.

use super::{Text, capital, rest, word};
use crate::text::spoken::{self, MONTHS, Written};

/// "may" and "march" are months before a day only with a year, after one of these words, or if the day is an ordinal from "fourth" on.
const BEFORE_MONTH: &[&str] = &[
    "on", "in", "by", "from", "since", "until", "till", "before", "after", "of", "for", "is",
];

/// Hours and minutes without "am" or "pm" are a time only after one of these words,
const BEFORE_TIME: &[&str] = &["at", "by", "until", "till", "around"];

/// and not before one of these.
const NOT_AFTER_TIME: &[&str] = &[
    "percent", "per", "dollar", "dollars", "pound", "pounds", "euro", "euros", "cents", "people", "degrees", "miles", "feet",
];

/// "november second twenty twenty two": `November 2 2022`; "the second of november": `the 2nd of November`.
pub(super) fn date(text: &Text<'_>, at: usize) -> Option<Vec<Written>> {
    month_first(text, at).or_else(|| day_first(text, at))
}

fn month_first(text: &Text<'_>, at: usize) -> Option<Vec<Written>> {
    let [month, after @ ..] = text.run(at) else { return None };
    if !MONTHS.contains(month) {
        return None;
    }
    let name = Written::new(1, capital(month));
    let day = spoken::number(after).filter(|number| (1..=31).contains(&number.value));
    let year_too = day.and_then(|day| year_after(text, at + 1 + day.words));
    if year_too.is_none()
        && let Some(year) = year(after)
    {
        return Some(vec![name, year]);
    }
    let day = day?;
    let is_all = at == 0 && word(after, day.words).is_empty();
    let certain = !matches!(*month, "may" | "march") || BEFORE_MONTH.contains(&text.before(at)) || day.ordinal && (day.value > 3 || is_all);
    // "in june two of them"
    let counted = !day.ordinal && word(after, day.words) == "of";
    if year_too.is_none() && (!certain || counted) {
        return None;
    }
    let day = Written::new(day.words, day.value.to_string());
    Some([name, day].into_iter().chain(year_too).collect())
}

fn day_first(text: &Text<'_>, at: usize) -> Option<Vec<Written>> {
    let run = text.run(at);
    let day = spoken::number(run).filter(|number| number.ordinal && (1..=31).contains(&number.value))?;
    let ["of", month, ..] = rest(run, day.words) else { return None };
    if !MONTHS.contains(month) || spoken::counts(text.before(at)) {
        return None;
    }
    let year = year_after(text, at + day.words + 2);
    let day = Written::new(day.words, spoken::ordinal(day.value));
    let parts = [day, Written::new(1, "of"), Written::new(1, capital(month))];
    Some(parts.into_iter().chain(year).collect())
}

/// A year at `at`, after what goes before or a comma.
fn year_after(text: &Text<'_>, at: usize) -> Option<Written> {
    text.goes_on(at).then(|| year(text.run(at))).flatten()
}

fn year(words: &[&str]) -> Option<Written> {
    let whole = || spoken::number(words).filter(|number| !number.ordinal && (1_000..2_100).contains(&number.value));
    let spoken = spoken::year(words)
        .or_else(whole)
        .map(|year| Written::new(year.words, year.value.to_string()));
    let digits = || Some(word(words, 0)).filter(|word| word.len() == 4 && word.bytes().all(|b| b.is_ascii_digit()));
    spoken.or_else(|| digits().map(|year| Written::new(1, year)))
}

/// "eight thirty seven pm": `8:37 PM`; "eight a m": `8 AM`.
pub(super) fn time(text: &Text<'_>, at: usize) -> Option<Vec<Written>> {
    let words = text.run(at);
    let hour = hour(words)?;
    let minute = minute(rest(words, 1));
    let taken = 1 + minute.as_ref().map_or(0, |minute| minute.words);
    let (half_words, half) = half_of_day(rest(words, taken))?;
    let minute = minute.map_or(String::new(), |minute| minute.text);
    Some(vec![Written::new(taken + half_words, format!("{hour}{minute} {half}"))])
}

/// "at eight thirty": `at 8:30`.
pub(super) fn bare_time(text: &Text<'_>, at: usize) -> Option<Vec<Written>> {
    let words = text.run(at);
    let (hour, minute) = (hour(words)?, minute(rest(words, 1))?);
    let after = word(words, 1 + minute.words);
    let is_time = BEFORE_TIME.contains(&text.before(at)) && !NOT_AFTER_TIME.contains(&after) && !spoken::counts(after);
    is_time.then(|| vec![Written::new(1 + minute.words, format!("{hour}{}", minute.text))])
}

/// The first word as an hour of a clock with hands.
fn hour(words: &[&str]) -> Option<u64> {
    let hour = spoken::number(words.get(..1)?)?;
    (!hour.ordinal && (1..=12).contains(&hour.value)).then_some(hour.value)
}

/// "thirty seven" as `:37`, "oh five" as `:05`.
fn minute(words: &[&str]) -> Option<Written> {
    let (oh, minutes, range) = match words {
        ["oh" | "o", rest @ ..] => (1, spoken::number(rest)?, 1..=9),
        _ => (0, spoken::number(words)?, 10..=59),
    };
    (!minutes.ordinal && range.contains(&minutes.value)).then(|| Written::new(oh + minutes.words, format!(":{:02}", minutes.value)))
}

fn half_of_day(words: &[&str]) -> Option<(usize, &'static str)> {
    match words {
        ["am" | "a.m", ..] => Some((1, "AM")),
        ["pm" | "p.m", ..] => Some((1, "PM")),
        ["a", "m", ..] => Some((2, "AM")),
        ["p", "m", ..] => Some((2, "PM")),
        _ => None,
    }
}
