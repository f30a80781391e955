//! The bodies of `GET /v1/status` and `GET /v1/status/engine`.

use serde::Serialize;

/// How the server fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Health {
    /// The engine is not there yet.
    Initializing,
    /// The engine is there, nothing was asked of it yet.
    Ready,
    /// More than 90 % of the latest requests succeeded.
    Healthy,
    /// 40 to 90 %.
    Degraded,
    /// Less than 40 %.
    Critical,
}

impl Health {
    /// Health after `failed` of `total` recent requests were our fault; `connected`: the engine is there.
    pub fn of(connected: bool, total: u32, failed: u32) -> Self {
        let percent = u64::from(total.saturating_sub(failed)) * 100;
        match (connected, total) {
            (false, _) => Health::Initializing,
            (true, 0) => Health::Ready,
            _ if percent > u64::from(total) * 90 => Health::Healthy,
            _ if percent >= u64::from(total) * 40 => Health::Degraded,
            _ => Health::Critical,
        }
    }
}

/// The body of `GET /v1/status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// How the server fares.
    pub system_health: Health,
    /// Files in work.
    pub active_batch_requests: u64,
    /// Live streams.
    pub active_stream_requests: u64,
    /// Live streams of the turn-based interface.
    pub active_listen_v2_stream_requests: u64,
}

/// The body of `GET /v1/status/engine`; probes match its first key and need it on one line without blanks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct EngineStatus {
    engine_connection_status: &'static str,
}

impl EngineStatus {
    /// Whether an engine can be used.
    pub fn new(connected: bool) -> Self {
        Self {
            engine_connection_status: if connected { "Connected" } else { "Disconnected" },
        }
    }
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
    use crate::wire::json;

    #[test]
    fn bodies_match_the_probes() {
        let status = Status {
            system_health: Health::Healthy,
            active_batch_requests: 0,
            active_stream_requests: 2,
            active_listen_v2_stream_requests: 0,
        };
        assert_eq!(
            json(&status),
            r#"{"system_health":"Healthy","active_batch_requests":0,"active_stream_requests":2,"active_listen_v2_stream_requests":0}"#
        );
        assert_eq!(json(&EngineStatus::new(true)), r#"{"engine_connection_status":"Connected"}"#);
        assert_eq!(json(&EngineStatus::new(false)), r#"{"engine_connection_status":"Disconnected"}"#);
    }

    #[test]
    fn health_follows_the_share_of_success() {
        assert_eq!(Health::of(false, 5, 0), Health::Initializing);
        assert_eq!(Health::of(true, 0, 0), Health::Ready);
        assert_eq!(Health::of(true, 100, 9), Health::Healthy);
        assert_eq!(Health::of(true, 100, 10), Health::Degraded);
        assert_eq!(Health::of(true, 100, 60), Health::Degraded);
        assert_eq!(Health::of(true, 100, 61), Health::Critical);
    }
}
