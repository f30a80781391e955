//! English numbers as they are spoken: words to values and digits. Pure.
//!
//! What it does: reads one number at the beginning of some words ("twenty five thousand", "two point oh five", "double five",
//! "nineteen ninety four"). Words are in lower case and without punctuation. What it does not do: decide whether a number is meant
//! ("one of them"). Who calls it: [`super::format`].

/// Most digits that are read as one run.
const MAX_DIGITS: usize = 64;

/// The months, in order.
pub const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// Below twenty, counted and ordered; the place is the value.
const SMALL: [[&str; 2]; 20] = [
    ["zero", "zeroth"],
    ["one", "first"],
    ["two", "second"],
    ["three", "third"],
    ["four", "fourth"],
    ["five", "fifth"],
    ["six", "sixth"],
    ["seven", "seventh"],
    ["eight", "eighth"],
    ["nine", "ninth"],
    ["ten", "tenth"],
    ["eleven", "eleventh"],
    ["twelve", "twelfth"],
    ["thirteen", "thirteenth"],
    ["fourteen", "fourteenth"],
    ["fifteen", "fifteenth"],
    ["sixteen", "sixteenth"],
    ["seventeen", "seventeenth"],
    ["eighteen", "eighteenth"],
    ["nineteen", "nineteenth"],
];

/// The tens from twenty.
const TENS: [[&str; 2]; 8] = [
    ["twenty", "twentieth"],
    ["thirty", "thirtieth"],
    ["forty", "fortieth"],
    ["fifty", "fiftieth"],
    ["sixty", "sixtieth"],
    ["seventy", "seventieth"],
    ["eighty", "eightieth"],
    ["ninety", "ninetieth"],
];

const LARGE: [(Kind, [&str; 2]); 5] = [
    (Kind::Hundred, ["hundred", "hundredth"]),
    (Kind::Scale(1_000), ["thousand", "thousandth"]),
    (Kind::Scale(1_000_000), ["million", "millionth"]),
    (Kind::Scale(1_000_000_000), ["billion", "billionth"]),
    (Kind::Scale(1_000_000_000_000), ["trillion", "trillionth"]),
];

/// What a word contributes to a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Small(u64),
    Tens(u64),
    /// "twenty-five"
    Compound(u64),
    Hundred,
    Scale(u64),
}

/// A number at the beginning of some words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    /// How many words it takes.
    pub words: usize,
    /// Its value.
    pub value: u64,
    /// It orders and does not count: "twenty first".
    pub ordinal: bool,
}

/// How the words at the beginning of some are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// How many words it takes.
    pub words: usize,
    /// The written form.
    pub text: String,
}

impl Written {
    /// `text` in the place of `words` words.
    pub fn new(words: usize, text: impl Into<String>) -> Self {
        Self { words, text: text.into() }
    }
}

/// What a word says, and whether it is an ordinal.
fn spelled(word: &str) -> Option<(Kind, bool)> {
    simple(word).or_else(|| {
        let (tens, ones) = word.split_once('-')?;
        match (simple(tens)?, simple(ones)?) {
            ((Kind::Tens(tens), false), (Kind::Small(ones @ 1..=9), ordinal)) => Some((Kind::Compound(tens + ones), ordinal)),
            _ => None,
        }
    })
}

fn simple(word: &str) -> Option<(Kind, bool)> {
    let ordinal = |names: &[&str; 2]| names.iter().position(|name| *name == word).map(|place| place == 1);
    let small = || {
        (0..)
            .zip(&SMALL)
            .find_map(|(value, names)| Some((Kind::Small(value), ordinal(names)?)))
    };
    let tens = || {
        (2..)
            .zip(&TENS)
            .find_map(|(tens, names)| Some((Kind::Tens(10 * tens), ordinal(names)?)))
    };
    let large = || LARGE.iter().find_map(|(kind, names)| Some((*kind, ordinal(names)?)));
    small().or_else(tens).or_else(large)
}

/// What the word at `at` says.
fn kind_at(words: &[&str], at: usize) -> Option<(Kind, bool)> {
    words.get(at).and_then(|word| spelled(word))
}

/// The word is a part of a number that counts, spoken or in digits.
pub fn counts(word: &str) -> bool {
    matches!(spelled(word), Some((_, false))) || literal(word)
}

/// A number that is in digits already: "25", "2.5", "1,000".
fn literal(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_digit()) && word.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | ','))
}

/// The whole number, or the ordinal, at the beginning of `words`, as long as it goes: below a quadrillion.
///
/// "and" joins only what is below a hundred, after "hundred" or a larger unit: "a hundred and five". "a" counts as one before "hundred"
/// and "thousand".
pub fn number(words: &[&str]) -> Option<Number> {
    let one = Number {
        words: 1,
        value: 1,
        ordinal: false,
    };
    let first = match words {
        ["a", "hundred" | "thousand", ..] => one,
        _ => below_hundred(words)?,
    };
    let mut part = hundreds(first, words);
    let mut whole = Number {
        words: 0,
        value: 0,
        ordinal: false,
    };
    let mut least = u64::MAX;
    loop {
        whole.words += part.words;
        whole.ordinal = part.ordinal;
        let unit = kind_at(words, whole.words).filter(|_| !part.ordinal && (1..1_000).contains(&part.value));
        let Some((Kind::Scale(scale), ordinal)) = unit.filter(|(kind, _)| matches!(kind, Kind::Scale(scale) if *scale < least)) else {
            whole.value += part.value;
            return Some(whole);
        };
        whole.words += 1;
        whole.value += part.value * scale;
        whole.ordinal = ordinal;
        least = scale;
        match (!ordinal)
            .then(|| lesser(words.get(whole.words..).unwrap_or_default(), scale))
            .flatten()
        {
            Some(next) => part = next,
            None => return Some(whole),
        }
    }
}

/// What goes on with a number after the unit `scale`.
fn lesser(words: &[&str], scale: u64) -> Option<Number> {
    let (and, part) = match words {
        ["and", rest @ ..] => (1, below_hundred(rest)?),
        _ => (0, hundreds(below_hundred(words)?, words)),
    };
    let words_taken = and + part.words;
    let joins = match kind_at(words, words_taken) {
        Some((Kind::Hundred, _)) => false,
        Some((Kind::Scale(after), _)) => and == 0 && after < scale,
        _ => true,
    };
    (joins && (1..scale).contains(&part.value)).then_some(Number {
        words: words_taken,
        ..part
    })
}

/// "twenty", "twenty five", "twenty-five", "twenty fifth"
fn below_hundred(words: &[&str]) -> Option<Number> {
    let (kind, ordinal) = kind_at(words, 0)?;
    let (words, value, ordinal) = match (kind, kind_at(words, 1)) {
        (Kind::Tens(tens), Some((Kind::Small(ones @ 1..=9), ordered))) if !ordinal => (2, tens + ones, ordered),
        (Kind::Small(value) | Kind::Tens(value) | Kind::Compound(value), _) => (1, value, ordinal),
        (Kind::Hundred | Kind::Scale(_), _) => return None,
    };
    Some(Number { words, value, ordinal })
}

/// `first`, which `words` begin with, and its hundreds: "nine hundred", "twenty five hundred", "nine hundred and five".
fn hundreds(first: Number, words: &[&str]) -> Number {
    let unit = kind_at(words, first.words).filter(|_| !first.ordinal && first.value > 0);
    let Some((Kind::Hundred, ordinal)) = unit else { return first };
    let whole = Number {
        words: first.words + 1,
        value: first.value * 100,
        ordinal,
    };
    let rest = words.get(whole.words..).unwrap_or_default();
    let (and, rest) = match rest {
        ["and", rest @ ..] => (1, rest),
        _ => (0, rest),
    };
    match below_hundred(rest) {
        Some(tail) if !ordinal && tail.value > 0 && !matches!(kind_at(rest, tail.words), Some((Kind::Hundred, _))) => Number {
            words: whole.words + and + tail.words,
            value: whole.value + tail.value,
            ordinal: tail.ordinal,
        },
        _ => whole,
    }
}

/// A year spoken as two numbers, from 1701 to 2099: "nineteen ninety four", "twenty twenty two", "nineteen oh five".
pub fn year(words: &[&str]) -> Option<Number> {
    let century = below_hundred(words.get(..1)?).filter(|number| !number.ordinal && (17..=20).contains(&number.value))?;
    let (oh, years, range) = match words.get(1..)? {
        ["oh" | "o", rest @ ..] => (1, below_hundred(rest)?, 1..=9),
        rest => (0, below_hundred(rest)?, 10..=99),
    };
    (!years.ordinal && range.contains(&years.value)).then_some(Number {
        words: 1 + oh + years.words,
        value: 100 * century.value + years.value,
        ordinal: false,
    })
}

/// A number with a fraction: "two point five", "zero point zero zero", "oh point seven five".
pub fn decimal(words: &[&str]) -> Option<Written> {
    let (taken, whole) = match words {
        ["oh" | "o", ..] => (1, 0),
        _ => number(words)
            .filter(|number| !number.ordinal)
            .map(|number| (number.words, number.value))?,
    };
    let ["point", fraction @ ..] = words.get(taken..)? else {
        return None;
    };
    let (mut digits, mut after) = (String::new(), 0);
    while let Some(digit) = single(fraction.get(after..).unwrap_or_default())
        && digits.len() < MAX_DIGITS
    {
        digits.push_str(&digit.text);
        after += digit.words;
    }
    // "Three point two point one".
    while let ["point", more @ ..] = fraction.get(after..).unwrap_or_default()
        && let Some(digit) = single(more).filter(|_| !digits.is_empty() && digits.len() < MAX_DIGITS)
    {
        digits.push('.');
        digits.push_str(&digit.text);
        after += 1 + digit.words;
    }
    if digits.is_empty() {
        let number = below_hundred(fraction).filter(|number| !number.ordinal && number.value >= 10)?;
        (digits, after) = (number.value.to_string(), number.words);
    }
    Some(Written::new(taken + 1 + after, format!("{whole}.{digits}")))
}

/// A number that counts or measures: whole, with a fraction, or in digits already.
pub fn quantity(words: &[&str]) -> Option<Written> {
    let whole = || number(words).filter(|number| !number.ordinal);
    let written = || words.first().filter(|word| literal(word)).map(|word| Written::new(1, *word));
    decimal(words)
        .or_else(|| whole().map(|number| Written::new(number.words, number.value.to_string())))
        .or_else(written)
}

/// A digit spoken by itself ("five", "oh"), or as "double five", "triple oh"; not the first word of a larger number ("five hundred").
pub fn digit(words: &[&str]) -> Option<Written> {
    let digit = single(words)?;
    let goes_on = match words.get(digit.words..)? {
        ["point", fraction @ ..] => single(fraction).is_some(),
        rest => matches!(kind_at(rest, 0), Some((Kind::Hundred | Kind::Scale(_), _))),
    };
    (!goes_on).then_some(digit)
}

fn single(words: &[&str]) -> Option<Written> {
    let (prefix, times) = match *words.first()? {
        "double" => (1, 2),
        "triple" => (1, 3),
        _ => (0, 1),
    };
    let digit = match (*words.get(prefix)?, kind_at(words, prefix)) {
        ("oh" | "o", _) => 0,
        (_, Some((Kind::Small(value @ 0..=9), false))) => value,
        (word, _) if word.len() == 1 => word.parse().ok()?,
        _ => return None,
    };
    Some(Written::new(prefix + 1, digit.to_string().repeat(times)))
}

/// The digits spoken one by one at the beginning of `words`, at most 64. "oh" is a zero only in a run of three or more.
pub fn digits(words: &[&str]) -> Vec<Written> {
    let (mut found, mut taken, mut doubtful) = (Vec::new(), 0, None);
    while let Some(next) = digit(words.get(taken..).unwrap_or_default())
        && found.len() < MAX_DIGITS
    {
        if matches!(words.get(taken), Some(&("oh" | "o"))) {
            doubtful.get_or_insert(found.len());
        }
        taken += next.words;
        found.push(next);
    }
    if let Some(doubtful) = doubtful
        && found.len() < 3
    {
        found.truncate(doubtful);
    }
    found
}

/// An ordinal in digits: "21st".
pub fn ordinal(value: u64) -> String {
    let ending = match (value % 100, value % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{value}{ending}")
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic
)]
mod tests;
