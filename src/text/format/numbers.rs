//! Numbers, and what counts: per cent, money, units of measurement.

use super::{Text, rest, word};
use crate::text::spoken::{self, Written};

/// Words that a number may have; where to look for what ends it.
const REACH: usize = 24;

/// "one third" is left in words, and so is "three quarters".
const FRACTIONS: &[&str] = &[
    "half", "halves", "third", "thirds", "quarter", "quarters", "fourth", "fourths", "fifth", "fifths", "sixth", "sixths", "seventh",
    "sevenths", "eighth", "eighths", "ninth", "ninths", "tenth", "tenths",
];

/// "nineteen eighties" is left in words.
const DECADES: &[&str] = &[
    "twenties",
    "thirties",
    "forties",
    "fifties",
    "sixties",
    "seventies",
    "eighties",
    "nineties",
];

/// "one" is mostly a pronoun ("no one", "this one", "one of them"). By itself it is a number only after one of these words,
const ONE_AFTER: &[&str] = &[
    "number",
    "option",
    "press",
    "dial",
    "line",
    "extension",
    "chapter",
    "page",
    "room",
    "step",
    "version",
    "gate",
    "platform",
    "terminal",
    "unit",
    "apartment",
    "suite",
    "zone",
    "level",
    "phase",
    "day",
    "channel",
    "season",
    "episode",
    "route",
];

/// before one of these,
const ONE_BEFORE: &[&str] = &[
    "percent",
    "o'clock",
    "o\u{2019}clock",
    "am",
    "pm",
    "dollar",
    "cent",
    "euro",
    "hour",
    "week",
    "month",
    "year",
    "mile",
];

/// before a number, perhaps after a comma, or next to a number with one of these between.
const ONE_BETWEEN: &[&str] = &["or", "to", "through", "minus", "plus", "times"];

/// "pounds" are a weight near these words, and before "of".
const WEIGHT: &[&str] = &["weigh", "weighs", "weighed", "weighing", "weight", "lost", "lose", "gained", "gain"];

/// Units and their signs (contract 7.4).
const UNITS: &[(&str, &str)] = &[
    ("milligram", "mg"),
    ("centigram", "cg"),
    ("gram", "g"),
    ("kilogram", "kg"),
    ("milliliter", "ml"),
    ("centiliter", "cl"),
    ("liter", "l"),
    ("kiloliter", "kl"),
    ("millimeter", "mm"),
    ("centimeter", "cm"),
    ("meter", "m"),
    ("kilometer", "km"),
];

/// The words that a number at `at` may take: after "between", "and" parts two numbers, and after "a", "second" is a unit of time.
fn reach<'t, 'a>(text: &'t Text<'a>, at: usize) -> &'t [&'a str] {
    let run = text.run(at);
    let stop = match text.before(at) {
        "between" => "and",
        "a" | "an" => "second",
        _ => return run,
    };
    let end = run.iter().take(REACH).position(|word| *word == stop);
    end.and_then(|end| run.get(..end)).unwrap_or(run)
}

/// A number with its sign. "minus" is one unless a number comes before it.
fn quantity(text: &Text<'_>, at: usize) -> Option<Written> {
    match reach(text, at) {
        ["minus" | "negative", number @ ..] if !spoken::counts(text.before(at)) => {
            let number = spoken::quantity(number)?;
            Some(Written::new(number.words + 1, format!("-{}", number.text)))
        }
        words => spoken::quantity(words),
    }
}

/// Digits for numbers: digits spoken one by one stay apart, ordinals from "fourth" on, years.
pub(super) fn numerals(text: &Text<'_>, at: usize) -> Option<Vec<Written>> {
    let words = reach(text, at);
    let negative = || quantity(text, at).filter(|number| number.text.starts_with('-'));
    if let Some(written) = negative().or_else(|| spoken::decimal(words)).or_else(|| year(text, at)) {
        return Some(vec![written]);
    }
    let digits = spoken::digits(words);
    if digits.iter().map(|digit| digit.words).sum::<usize>() > 1 {
        return Some(digits);
    }
    let number = spoken::number(words)?;
    let after = word(words, number.words);
    let stays = if number.ordinal {
        number.value < 4 || spoken::counts(text.before(at))
    } else {
        DECADES.contains(&after)
            || number.value <= 20 && FRACTIONS.contains(&after)
            || number.value == 1 && number.words == 1 && !is_one(text, at)
    };
    let written = if number.ordinal {
        spoken::ordinal(number.value)
    } else {
        number.value.to_string()
    };
    (!stays).then(|| vec![Written::new(number.words, written)])
}

/// A year spoken as two numbers, with no other number next to it.
fn year(text: &Text<'_>, at: usize) -> Option<Written> {
    let words = reach(text, at);
    let year = spoken::year(words)?;
    let alone = !spoken::counts(text.before(at)) && !spoken::counts(word(words, year.words));
    alone.then(|| Written::new(year.words, year.value.to_string()))
}

/// "one" at `at` is a number and no pronoun.
fn is_one(text: &Text<'_>, at: usize) -> bool {
    let (run, before) = (text.run(at), text.before(at));
    let before_that = at.checked_sub(1).map_or("", |before| text.before(before));
    ONE_AFTER.contains(&before)
        || ONE_BEFORE.contains(&word(run, 1))
        || text.goes_on(at + 1) && spoken::counts(word(&text.words, at + 1))
        || ONE_BETWEEN.contains(&before) && spoken::counts(before_that)
        || ONE_BETWEEN.contains(&word(run, 1)) && spoken::counts(word(run, 2))
}

/// "fifty percent": `50%`.
pub(super) fn percent(text: &Text<'_>, at: usize) -> Option<Vec<Written>> {
    let words = text.run(at);
    let number = and_a_half(words).or_else(|| fraction(words)).or_else(|| quantity(text, at))?;
    let sign = match rest(text.run(at), number.words) {
        ["percent", ..] => 1,
        ["per", "cent", ..] => 2,
        _ => return None,
    };
    Some(vec![Written::new(number.words + sign, format!("{}%", number.text))])
}

/// "twenty dollars and fifty cents": `$20.50`. A unit such as "million" stays: `$2.5 million`.
pub(super) fn money(text: &Text<'_>, at: usize) -> Option<Vec<Written>> {
    let words = reach(text, at);
    let is_scaled = |number: &Written| matches!(word(words, number.words), "million" | "billion" | "trillion");
    let number = and_a_half(words).filter(is_scaled).or_else(|| spoken::quantity(words))?;
    let scale = Some(word(words, number.words)).filter(|word| matches!(*word, "million" | "billion" | "trillion"));
    let unit = number.words + usize::from(scale.is_some());
    let (sign, small) = match word(words, unit) {
        "dollar" | "dollars" => ("$", ["cent", "cents"]),
        "euro" | "euros" => ("\u{20ac}", ["cent", "cents"]),
        "pound" | "pounds" if !is_weight(text, at, unit) => ("\u{a3}", ["penny", "pence"]),
        _ => return None,
    };
    let sterling = sign == "\u{a3}" && word(words, unit + 1) == "sterling";
    let taken = unit + 1 + usize::from(sterling);
    let amount = format!("{sign}{}", number.text);
    let written = match (scale, cents(rest(words, taken), small)) {
        (Some(scale), _) => Written::new(taken, format!("{amount} {scale}")),
        (None, None) if !number.text.contains('.') && loose_cents(rest(words, taken)).is_some() => {
            let cents = loose_cents(rest(words, taken))?;
            Written::new(taken + cents.words, format!("{amount}.{}", cents.text))
        }
        (None, Some(cents)) if !number.text.contains('.') => Written::new(taken + cents.words, format!("{amount}.{}", cents.text)),
        _ => Written::new(taken, amount),
    };
    Some(vec![written])
}

/// "three and a half": `3.5`.
fn and_a_half(words: &[&str]) -> Option<Written> {
    let number = spoken::number(words).filter(|number| !number.ordinal)?;
    let is_half = matches!(rest(words, number.words), ["and", "a", "half", ..]);
    is_half.then(|| Written::new(number.words + 3, format!("{}.5", number.value)))
}

/// "point one": `0.1`.
fn fraction(words: &[&str]) -> Option<Written> {
    if word(words, 0) != "point" {
        return None;
    }
    let near = words.get(..words.len().min(REACH))?;
    let whole: Vec<&str> = std::iter::once("zero").chain(near.iter().copied()).collect();
    let fraction = spoken::decimal(&whole)?;
    Some(Written::new(fraction.words - 1, fraction.text))
}

/// "ten" of "forty two pounds ten", at the end of what is said or before one of a few words.
fn loose_cents(words: &[&str]) -> Option<Written> {
    let number = spoken::number(words).filter(|number| !number.ordinal && (10..100).contains(&number.value))?;
    let ends = matches!(word(words, number.words), "" | "and" | "for" | "please" | "twice" | "each");
    ends.then(|| Written::new(number.words, number.value.to_string()))
}

/// "and fifty cents" as the digits behind the point.
fn cents(words: &[&str], names: [&str; 2]) -> Option<Written> {
    let and = usize::from(word(words, 0) == "and");
    let number = spoken::number(rest(words, and)).filter(|number| !number.ordinal && (1..100).contains(&number.value))?;
    let taken = and + number.words;
    names
        .contains(&word(words, taken))
        .then(|| Written::new(taken + 1, format!("{:02}", number.value)))
}

/// The pounds at `at + unit` are a weight.
fn is_weight(text: &Text<'_>, at: usize, unit: usize) -> bool {
    let near = text.words.get(at.saturating_sub(3)..at).unwrap_or_default();
    word(text.run(at), unit + 1) == "of" || near.iter().any(|word| WEIGHT.contains(word))
}

/// "five milligrams": `5 mg`.
pub(super) fn measure(text: &Text<'_>, at: usize) -> Option<Vec<Written>> {
    let number = quantity(text, at)?;
    let unit = word(text.run(at), number.words).replace("litre", "liter").replace("metre", "meter");
    let unit = unit.strip_suffix('s').unwrap_or(&unit);
    let (_, sign) = UNITS.iter().find(|(name, _)| *name == unit)?;
    Some(vec![number, Written::new(1, *sign)])
}
