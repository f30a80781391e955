//! What travels: request parameters, client messages, server messages, response bodies. Types and text only.
//!
//! What it does: parses and validates what clients send, and fixes names, key order and number format of what they get.
//! What it does not do: decide anything, read a clock (except to make an id), or know HTTP and WebSocket types.
//! Who calls it: `api`, `stream`, `prerecorded`, the command line.

pub mod changes;
pub mod control;
pub mod ids;
pub mod models;
pub mod pairs;
pub mod prerecorded;
pub mod query;
pub mod results;
pub mod status;
pub mod vocabulary;

use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::error::ApiError;
use crate::units::Samples;

/// A time or a span on the wire, in seconds: printed as the shortest text that reads back as the same 32-bit float.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Seconds(pub f64);

impl From<Samples> for Seconds {
    fn from(samples: Samples) -> Self {
        Seconds(samples.seconds())
    }
}

impl Serialize for Seconds {
    #[expect(clippy::as_conversions, reason = "the wire carries 32-bit floats; rounding is meant")]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f32(self.0 as f32)
    }
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    err_code: &'a str,
    err_msg: String,
    request_id: Uuid,
}

/// The JSON body of a refusal.
pub fn error_body(error: &ApiError, request_id: Uuid) -> String {
    json(&ErrorBody {
        err_code: error.code(),
        err_msg: error.to_string(),
        request_id,
    })
}

/// Compact JSON of a wire type. These have string keys and finite numbers, so that writing them cannot fail; if it did, the
/// empty text would tell.
pub fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
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
    fn seconds_print_as_short_32_bit_floats() {
        let texts: Vec<String> = [0.1, 1.0, 0.99902344, 1.2560788, 5.502_987_399]
            .iter()
            .map(|&s| json(&Seconds(s)))
            .collect();
        assert_eq!(texts, ["0.1", "1.0", "0.99902344", "1.2560788", "5.5029874"]);
        assert_eq!(json(&Seconds::from(Samples(8_000))), "0.5");
    }

    #[test]
    fn a_day_into_a_stream_times_are_right_to_8_ms() {
        let day = 24 * 3_600 * 16_000;
        for ms in 0..1_000 {
            let time = Samples(day + ms * 16);
            let printed: f64 = json(&Seconds::from(time)).parse().unwrap();
            assert!((printed - time.seconds()).abs() < 0.008, "{printed} for {}", time.seconds());
        }
    }

    #[test]
    fn error_bodies_have_the_legacy_shape() {
        let body = error_body(&ApiError::NoSuchModel, Uuid::nil());
        assert_eq!(
            body,
            r#"{"err_code":"Bad Request","err_msg":"Bad Request: No such model/language/tier combination found.","request_id":"00000000-0000-0000-0000-000000000000"}"#
        );
    }
}
