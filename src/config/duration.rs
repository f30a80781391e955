//! Durations as text: `"1s"`, `"500ms"`, `"10min"`, `"2h"`, with decimals where wanted (`"1.5s"`).
//!
//! What it does: parses and prints, and serves as a serde `with` module. Who calls it: the sections of [`super::Config`],
//! [`super::compat`].

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer};

/// Units, the longer names first where one ends in another.
const UNITS: [(&str, f64); 5] = [("ms", 0.001), ("min", 60.0), ("m", 60.0), ("h", 3_600.0), ("s", 1.0)];
/// Longest duration, in seconds (ten years): far inside what the clock can add.
const MAX_SECONDS: f64 = 315_360_000.0;

/// Parses a duration.
///
/// # Errors
/// A message that shows what is allowed.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let refused = || format!("{text:?} is not a duration such as \"500ms\", \"10s\", \"5min\" or \"1h\"");
    let text_trimmed = text.trim();
    let (number, seconds) = UNITS
        .iter()
        .find_map(|(unit, seconds)| text_trimmed.strip_suffix(unit).map(|number| (number, *seconds)))
        .ok_or_else(refused)?;
    // `parse` would take "inf", "nan" and signs.
    if !number.trim_end().bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(refused());
    }
    let value: f64 = number.trim_end().parse().map_err(|_| refused())?;
    from_seconds(value * seconds).ok_or_else(refused)
}

/// A duration of so many seconds, to the microsecond; none if negative, not a number or longer than ten years.
pub(super) fn from_seconds(seconds: f64) -> Option<Duration> {
    if !(0.0..=MAX_SECONDS).contains(&seconds) {
        return None;
    }
    Duration::try_from_secs_f64((seconds * 1e6).round() / 1e6).ok()
}

/// The shortest text that parses to this duration (to the millisecond below which nothing is configured).
pub(super) fn print(duration: Duration) -> String {
    let millis = duration.as_millis();
    match millis {
        _ if !millis.is_multiple_of(1_000) => format!("{millis}ms"),
        0 => "0s".to_owned(),
        _ if millis.is_multiple_of(3_600_000) => format!("{}h", millis / 3_600_000),
        _ if millis.is_multiple_of(60_000) => format!("{}min", millis / 60_000),
        _ => format!("{}s", millis / 1_000),
    }
}

pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&print(*duration))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
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
    use super::*;

    #[test]
    fn texts() {
        for (text, millis) in [
            ("1s", 1_000),
            ("500ms", 500),
            ("1.5s", 1_500),
            ("10min", 600_000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            (" 5 s ", 5_000),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "5", "s", "-1s", "1e9s", "infs", "nans", "1 week", "99999999h", "1.2.3s"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_printed_parses_to_the_same() {
        for millis in [0, 1, 400, 1_000, 1_500, 60_000, 90_000, 1_800_000, 3_600_000, 86_400_000] {
            let duration = Duration::from_millis(millis);
            assert_eq!(parse(&print(duration)), Ok(duration));
        }
        assert_eq!(print(Duration::from_secs(1_800)), "30min");
    }
}
