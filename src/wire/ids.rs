//! Request ids and time stamps as text.

use std::time::{SystemTime, UNIX_EPOCH};

use uuid::Uuid;

/// A fresh request id: a time-ordered UUID (RFC 9562, version 7).
pub fn request_id() -> Uuid {
    Uuid::now_v7()
}

/// The id of an utterance of a file: the same for the same request and place (RFC 9562, version 5).
pub fn utterance_id(request_id: Uuid, index: usize) -> Uuid {
    Uuid::new_v5(&request_id, &index.to_le_bytes())
}

/// RFC 3339 in UTC with milliseconds and `Z`: `2026-08-25T21:11:31.685Z`. Times before 1970 count as 1970.
pub fn timestamp(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}.{:03}Z",
        second % 60,
        since.subsec_millis()
    )
}

/// Year, month and day of a count of days since 1970-01-01 in the Gregorian calendar.
///
/// Source: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`; years begin in March here.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
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
    use std::time::Duration;

    use super::*;

    #[test]
    fn timestamps_know_the_calendar() {
        let at = |millis| timestamp(UNIX_EPOCH + Duration::from_millis(millis));
        assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_399_999), "2000-02-28T23:59:59.999Z");
        assert_eq!(at(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(at(1_787_692_291_685), "2026-08-25T21:11:31.685Z");
        assert_eq!(at(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
    }

    #[test]
    fn ids_are_of_the_promised_kinds() {
        assert_eq!(request_id().get_version_num(), 7);
        let id = request_id();
        assert_eq!(utterance_id(id, 1), utterance_id(id, 1));
        assert_ne!(utterance_id(id, 1), utterance_id(id, 2));
        assert_eq!(utterance_id(id, 1).get_version_num(), 5);
    }
}
