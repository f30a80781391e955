//! A raw query string as names and values, with the reading rules that all parameters share.
//!
//! Names are case-sensitive; of a scalar given twice the last counts; an empty value counts as not given; lists are repeated
//! names, or one value that is a JSON array of strings. Who calls it: [`super::query`].

#[cfg(test)]
use std::cell::RefCell;
#[cfg(test)]
use std::collections::BTreeSet;
use std::str::FromStr;

use crate::error::ApiError;

#[cfg(test)]
thread_local! {
    /// Every name that this thread has asked for: a test compares them with the documented ones.
    pub static ASKED: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
}

/// Decoded names and values in the order given.
#[derive(Debug, Default)]
pub struct Pairs(Vec<(String, String)>);

impl Pairs {
    /// Splits and decodes a query string without its `?`. Never fails: what is no valid escape stands for itself.
    pub fn parse(query: &str) -> Self {
        let decoded = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        });
        Pairs(decoded.collect())
    }

    /// All values given under a name, the empty ones too.
    fn values<'a, 'n>(&'a self, name: &'n str) -> impl DoubleEndedIterator<Item = &'a str> + use<'a, 'n> {
        #[cfg(test)]
        ASKED.with_borrow_mut(|asked| asked.insert(name.to_owned()));
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The value of a scalar: the last one, unless that is empty.
    pub fn scalar(&self, name: &str) -> Option<&str> {
        self.values(name).next_back().filter(|value| !value.is_empty())
    }

    /// A truth value, `false` if not given.
    pub fn boolean(&self, name: &str) -> Result<bool, ApiError> {
        self.scalar(name).map_or(Ok(false), |value| boolean(name, value))
    }

    /// A number, if given.
    pub fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, ApiError> {
        let Some(value) = self.scalar(name) else { return Ok(None) };
        value
            .trim()
            .parse()
            .map(Some)
            .map_err(|_| invalid(name, value, "a number in range"))
    }

    /// The non-empty values of a list.
    pub fn list(&self, name: &str) -> Vec<String> {
        let expand = |value: &str| {
            let array = value
                .starts_with('[')
                .then(|| serde_json::from_str::<Vec<String>>(value).ok())
                .flatten();
            array.unwrap_or_else(|| vec![value.to_owned()])
        };
        self.values(name).flat_map(expand).filter(|value| !value.is_empty()).collect()
    }
}

/// Reads a truth value in any case.
pub fn boolean(name: &str, value: &str) -> Result<bool, ApiError> {
    if value.eq_ignore_ascii_case("true") {
        Ok(true)
    } else if value.eq_ignore_ascii_case("false") {
        Ok(false)
    } else {
        Err(invalid(name, value, "true or false"))
    }
}

/// The refusal of a value.
pub fn invalid(name: &str, value: &str, expected: &str) -> ApiError {
    let shown: String = value.chars().take(64).collect();
    ApiError::InvalidQuery(format!("{name}: expected {expected}, got {shown:?}"))
}

/// Undoes form encoding: `+` is a space, `%xx` a byte; bytes that are not UTF-8 become U+FFFD.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    bytes.push(high << 4 | low);
                    rest = after;
                }
                _ => bytes.push(b'%'),
            },
            (&byte, _) => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic
)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_and_plus_are_undone() {
        assert_eq!(decode("a+b%20c%2B%C3%A4"), "a b c+ä");
        assert_eq!(decode("100%"), "100%");
        assert_eq!(decode("%zz%4"), "%zz%4");
        assert_eq!(decode("%ff"), "\u{fffd}");
    }

    #[test]
    fn the_last_scalar_wins_and_an_empty_one_is_not_given() {
        let pairs = Pairs::parse("a=1&a=2&b=&c&A=9&d=7&d=");
        assert_eq!(pairs.scalar("a"), Some("2"));
        assert_eq!(pairs.scalar("b"), None);
        assert_eq!(pairs.scalar("c"), None);
        assert_eq!(pairs.scalar("d"), None);
        assert!(!pairs.boolean("b").unwrap());
    }

    #[test]
    fn booleans_are_read_in_any_case_and_nothing_else_is_one() {
        let pairs = Pairs::parse("a=True&b=FALSE&c=1&d=yes");
        assert!(pairs.boolean("a").unwrap());
        assert!(!pairs.boolean("b").unwrap());
        assert!(matches!(pairs.boolean("c"), Err(ApiError::InvalidQuery(_))));
        assert_eq!(
            pairs.boolean("d").unwrap_err().to_string(),
            r#"Failed to deserialize query parameters: d: expected true or false, got "yes""#
        );
    }

    #[test]
    fn lists_are_repeated_names_or_one_json_array() {
        let pairs = Pairs::parse("k=a,b&k=c&k=&j=%5B%22x%22%2C%22y+z%22%5D&n=%5Bnot+json");
        assert_eq!(pairs.list("k"), ["a,b", "c"]);
        assert_eq!(pairs.list("j"), ["x", "y z"]);
        assert_eq!(pairs.list("n"), ["[not json"]);
        assert!(pairs.list("none").is_empty());
    }

    #[test]
    fn numbers_must_fit_their_type() {
        let pairs = Pairs::parse("a=8000&b=-1&c=1.5&d=+7+");
        assert_eq!(pairs.number::<u32>("a").unwrap(), Some(8_000));
        assert!(pairs.number::<u32>("b").is_err());
        assert_eq!(pairs.number::<f64>("c").unwrap(), Some(1.5));
        assert!(pairs.number::<u32>("c").is_err());
        assert_eq!(pairs.number::<u32>("d").unwrap(), Some(7));
        assert_eq!(pairs.number::<u32>("e").unwrap(), None);
    }

    proptest! {
        #[test]
        fn any_text_is_a_query(query in ".{0,200}") {
            Pairs::parse(&query);
        }

        #[test]
        fn what_was_escaped_comes_back(value in "\\PC{0,40}") {
            let escaped: String = value.bytes().map(|b| format!("%{b:02x}")).collect();
            prop_assert_eq!(decode(&escaped), value);
        }
    }
}
