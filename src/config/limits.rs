//! Limits on requests, as configuration keys; those of streams and files stand in their own sections, and those that the compatible
//! interface fixes, such as the number of `search` terms, with the query parser.
//!
//! What it does: names, defaults. What it does not do: enforce. Who calls it: the doors.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Most bytes of a request's path and query that the HTTP library takes.
pub const MAX_QUERY: usize = 65_534;

/// `[limits]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Requests and streams at the door; more are answered 429. None: no such limit.
    pub active_requests: Option<u32>,
    /// Requests and streams in the engine; more are answered 503. None: admission by prediction alone.
    pub engine_active_requests: Option<u32>,
    /// Open connections, idle ones included.
    pub connections: usize,
    /// Longest path and query in bytes, at most [`MAX_QUERY`]; more is answered 414.
    pub query_bytes: usize,
    /// Longest wait for a request's head, and for the next bytes of its body; then 408.
    #[serde(with = "super::duration")]
    pub request_timeout: Duration,
    /// Whether the channels of a stream or file may be recognised one by one; if not, `multichannel=true` is refused.
    pub multichannel: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            active_requests: None,
            engine_active_requests: None,
            connections: 25_000,
            query_bytes: MAX_QUERY,
            request_timeout: Duration::from_secs(30),
            multichannel: true,
        }
    }
}
