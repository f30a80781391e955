//! The table of public errors: what went wrong, its HTTP status, its code and its text; and why a live connection closes.
//!
//! Texts are part of the compatible interface, which is why they begin with capitals and end with full stops here.
//! What it does not do: JSON ([`crate::wire::error_body`]) or HTTP types. Who calls it: every front door. No error code is
//! minted anywhere else, and `docs/compatibility.md` documents each (tested).

use thiserror::Error;

/// Longest text put into the `dg-error` header, in bytes.
const MAX_HEADER_TEXT: usize = 512;

/// A refusal of a request. The display text is the public `err_msg`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ApiError {
    /// The body is not audio that can be decoded.
    #[error("Bad Request: failed to process audio: corrupt or unsupported data")]
    CorruptAudio,
    /// The audio is of a kind that has no decoder here.
    #[error("Bad Request: failed to process audio: corrupt or unsupported data: {0} audio is not supported")]
    UnsupportedAudio(&'static str),
    /// The body was declared to be JSON and is not, or has no `url`.
    #[error("Content-type was application/json, but we could not process the JSON payload.")]
    BadJson,
    /// A known parameter has a value of the wrong type or range.
    #[error("Failed to deserialize query parameters: {0}")]
    InvalidQuery(String),
    /// `callback` is not a usable address.
    #[error("Invalid callback url.")]
    InvalidCallback,
    /// No model of that name, or not in that language.
    #[error("Bad Request: No such model/language/tier combination found.")]
    NoSuchModel,
    /// The model exists, that version of it does not.
    #[error("Bad Request: No such model/version combination found.")]
    NoSuchVersion,
    /// Too many keyterms.
    #[error("Bad Request: Keyterm limit exceeded. The maximum number of tokens across all keyterms is 500.")]
    KeytermLimit,
    /// Two parameters, or a parameter and this kind of request or this server's configuration, exclude each other.
    #[error("Bad Request: {0}")]
    Conflict(&'static str),
    /// A WebSocket was expected.
    #[error("Bad Request: this endpoint accepts GET requests only as a WebSocket upgrade.")]
    NotAnUpgrade,
    /// A remote file could not be fetched.
    #[error("{0}")]
    Remote(#[from] RemoteError),
    /// The key is missing, malformed or unknown.
    #[error("Invalid credentials.")]
    InvalidAuth,
    /// The key is not meant for this kind of request.
    #[error("User does not have sufficient permissions.")]
    InsufficientPermissions,
    /// No such path or id.
    #[error("The requested resource was not found.")]
    NotFound,
    /// The path exists, with another method.
    #[error("The method is not allowed for this path.")]
    MethodNotAllowed,
    /// The client stopped sending the body.
    #[error("The request body was not received in time.")]
    RequestTimeout,
    /// The body is above the limit.
    #[error("Payload size exceeds limit of {limit}.")]
    PayloadTooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The audio is longer than the limit.
    #[error("Audio duration exceeds limit of {seconds} seconds.")]
    AudioTooLong {
        /// The limit.
        seconds: u64,
    },
    /// The query is above the limit.
    #[error("The request URI is too long.")]
    UriTooLong,
    /// As many requests are active as this server takes.
    #[error("Too many requests. Please try again later")]
    TooManyRequests,
    /// Unexpected failure.
    #[error("An internal error occurred.")]
    Internal,
    /// The engine's answer cannot be used.
    #[error("The engine failed to process the request.")]
    BadGateway,
    /// No engine could take the request.
    #[error("Please try again later")]
    ServiceUnavailable,
    /// The request took longer than it may.
    #[error("The request exceeded the maximum processing time.")]
    GatewayTimeout,
}

/// Why a remote file could not be fetched.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RemoteError {
    /// A private, loopback or otherwise not public address.
    #[error("URL for media download must be publicly routable.")]
    NotPublic,
    /// The name did not resolve.
    #[error("Could not determine if URL for media download is publicly routable.")]
    Unresolved,
    /// The URL cannot be parsed.
    #[error("Could not parse URL as a URI.")]
    BadUrl,
    /// A redirect without a target.
    #[error("The remote server hosting the media failed to include a `location` header in its redirect response.")]
    RedirectWithoutTarget,
    /// A redirect's target is not text.
    #[error("Could not parse remote media server's redirect location as a valid UTF-8 string.")]
    RedirectNotText,
    /// A redirect's target is not a URL.
    #[error("Could not parse remote media server's redirect location as a URL.")]
    RedirectNotUrl,
    /// The server answered 4xx.
    #[error("The remote server hosting the media returned a client error: {0}.")]
    ClientError(String),
    /// The server answered 5xx, nothing, or broke off.
    #[error("The remote server hosting the media failed to return valid data.")]
    InvalidData,
    /// Redirects without end.
    #[error("The remote server hosting the media returned too many redirects.")]
    TooManyRedirects,
}

impl ApiError {
    /// The row of the table: HTTP status and `err_code`.
    fn row(&self) -> (u16, &'static str) {
        match self {
            ApiError::CorruptAudio
            | ApiError::UnsupportedAudio(_)
            | ApiError::BadJson
            | ApiError::NoSuchModel
            | ApiError::NoSuchVersion
            | ApiError::KeytermLimit
            | ApiError::Conflict(_)
            | ApiError::NotAnUpgrade => (400, "Bad Request"),
            ApiError::InvalidQuery(_) | ApiError::InvalidCallback => (400, "INVALID_QUERY_PARAMETER"),
            ApiError::Remote(_) => (400, "REMOTE_CONTENT_ERROR"),
            ApiError::InvalidAuth => (401, "INVALID_AUTH"),
            ApiError::InsufficientPermissions => (401, "INSUFFICIENT_PERMISSIONS"),
            ApiError::NotFound => (404, "NOT_FOUND"),
            ApiError::MethodNotAllowed => (405, "METHOD_NOT_ALLOWED"),
            ApiError::RequestTimeout => (408, "Request Timeout"),
            ApiError::PayloadTooLarge { .. } | ApiError::AudioTooLong { .. } => (413, "PAYLOAD_TOO_LARGE"),
            ApiError::UriTooLong => (414, "URI Too Long"),
            ApiError::TooManyRequests => (429, "TOO_MANY_REQUESTS"),
            ApiError::Internal => (500, "Internal Server Error"),
            ApiError::BadGateway => (502, "Bad Gateway"),
            ApiError::ServiceUnavailable => (503, "Service Unavailable"),
            ApiError::GatewayTimeout => (504, "Gateway Timeout"),
        }
    }

    /// HTTP status.
    pub fn status(&self) -> u16 {
        self.row().0
    }

    /// The public `err_code`.
    pub fn code(&self) -> &'static str {
        self.row().1
    }

    /// Seconds after which a client should try again, for the `Retry-After` header.
    pub fn retry_after(&self) -> Option<u32> {
        matches!(self, ApiError::TooManyRequests | ApiError::ServiceUnavailable).then_some(1)
    }

    /// The text for the `dg-error` header: one line of printable ASCII, of bounded length.
    pub fn header_text(&self) -> String {
        let printable = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '?' };
        self.to_string().chars().map(printable).take(MAX_HEADER_TEXT).collect()
    }
}

/// Why the server closes a live connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The client asked for it and has everything.
    Finished,
    /// The server stops and the time for draining is over.
    GoingAway,
    /// Neither audio nor text came within the time allowed.
    Idle,
    /// Our own answer is overdue, or the engine failed.
    NoResponse,
    /// Text came, but never any audio.
    NoAudio,
    /// The audio cannot be decoded.
    Undecodable,
}

impl CloseReason {
    /// All reasons.
    pub const ALL: [CloseReason; 6] = [
        CloseReason::Finished,
        CloseReason::GoingAway,
        CloseReason::Idle,
        CloseReason::NoResponse,
        CloseReason::NoAudio,
        CloseReason::Undecodable,
    ];

    /// The WebSocket close code (RFC 6455, section 7.4.1).
    pub fn code(self) -> u16 {
        match self {
            CloseReason::Finished => 1000,
            CloseReason::GoingAway => 1001,
            CloseReason::Undecodable => 1008,
            CloseReason::Idle | CloseReason::NoResponse | CloseReason::NoAudio => 1011,
        }
    }

    /// The reason text, at most 123 bytes. Clients match parts of these sentences, hence the foreign name in them.
    pub fn text(self) -> &'static str {
        match self {
            CloseReason::Finished | CloseReason::GoingAway => "",
            CloseReason::Idle => {
                "Deepgram did not receive audio data or a text message within the timeout window. See https://dpgr.am/net0001"
            }
            CloseReason::NoResponse => "Deepgram did not provide a response message within the timeout window. See https://dpgr.am/net0000",
            CloseReason::NoAudio => "NET-0002: no audio was received within the timeout window (no_audio_timeout)",
            CloseReason::Undecodable => "DATA-0000: the payload could not be decoded as audio",
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
    use std::collections::BTreeSet;

    use super::*;

    const DOCUMENT: &str = include_str!("../docs/compatibility.md");
    const OPENAPI: &str = include_str!("../docs/api/openapi.json");
    const ASYNCAPI: &str = include_str!("../docs/api/asyncapi.json");

    fn all() -> Vec<ApiError> {
        vec![
            ApiError::CorruptAudio,
            ApiError::UnsupportedAudio("speex"),
            ApiError::BadJson,
            ApiError::InvalidQuery("detail".into()),
            ApiError::InvalidCallback,
            ApiError::NoSuchModel,
            ApiError::NoSuchVersion,
            ApiError::KeytermLimit,
            ApiError::Conflict("a excludes b."),
            ApiError::NotAnUpgrade,
            ApiError::Remote(RemoteError::NotPublic),
            ApiError::InvalidAuth,
            ApiError::InsufficientPermissions,
            ApiError::NotFound,
            ApiError::MethodNotAllowed,
            ApiError::RequestTimeout,
            ApiError::PayloadTooLarge { limit: 2_147_483_648 },
            ApiError::AudioTooLong { seconds: 43_200 },
            ApiError::UriTooLong,
            ApiError::TooManyRequests,
            ApiError::Internal,
            ApiError::BadGateway,
            ApiError::ServiceUnavailable,
            ApiError::GatewayTimeout,
        ]
    }

    #[test]
    fn every_error_code_is_documented_with_its_status() {
        for error in all() {
            let row = format!("| {} | `{}` |", error.status(), error.code());
            assert!(DOCUMENT.contains(&row), "no row {row}");
        }
    }

    #[test]
    fn every_close_reason_is_documented_and_fits_a_close_frame() {
        for reason in CloseReason::ALL {
            assert!(reason.text().len() <= 123, "{reason:?}");
            let row = format!(
                "| {} | {} |",
                reason.code(),
                if reason.text().is_empty() {
                    "empty".into()
                } else {
                    format!("`{}`", reason.text())
                }
            );
            assert!(DOCUMENT.contains(&row), "no row {row}");
        }
    }

    #[test]
    fn the_openapi_document_has_every_error_code_and_no_other() {
        let document: serde_json::Value = serde_json::from_str(OPENAPI).unwrap();
        let documented = document["components"]["responses"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(status, response)| {
                let codes = &response["content"]["application/json"]["schema"]["allOf"][1]["properties"]["err_code"]["enum"];
                let codes = codes.as_array().unwrap().iter().map(|code| code.as_str().unwrap().to_owned());
                codes.map(|code| (status.parse().unwrap(), code)).collect::<Vec<(u16, String)>>()
            });
        let sent = all().into_iter().map(|error| (error.status(), error.code().to_owned()));
        assert_eq!(documented.collect::<BTreeSet<_>>(), sent.collect::<BTreeSet<_>>());
    }

    #[test]
    fn the_asyncapi_document_has_every_close_reason() {
        let document: serde_json::Value = serde_json::from_str(ASYNCAPI).unwrap();
        let documented = document["channels"]["listen"]["x-close-codes"].as_array().unwrap().iter();
        let documented = documented.map(|close| (close["code"].as_u64().unwrap(), close["reason"].as_str().unwrap()));
        let sent = CloseReason::ALL.iter().map(|reason| (u64::from(reason.code()), reason.text()));
        // The socket itself sends these: broken frames, too large ones, no room for a large one.
        let sent = sent.chain([1002, 1009, 1013].map(|code| (code, "")));
        assert_eq!(documented.collect::<BTreeSet<_>>(), sent.collect::<BTreeSet<_>>());
    }

    #[test]
    fn clients_find_the_identifiers_they_look_for() {
        assert!(CloseReason::Idle.text().contains("net0001"));
        assert!(CloseReason::NoResponse.text().contains("net0000"));
        assert!(CloseReason::NoAudio.text().contains("NET-0002"));
        assert!(CloseReason::Undecodable.text().contains("DATA-0000"));
    }

    #[test]
    fn header_text_is_one_printable_line() {
        let error = ApiError::InvalidQuery(format!("bad\r\nx-evil: 1 ü{}", "y".repeat(2_000)));
        let text = error.header_text();
        assert!(text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()));
        assert_eq!(text.len(), MAX_HEADER_TEXT);
        assert!(text.starts_with("Failed to deserialize query parameters: bad??x-evil: 1 ?"));
    }

    #[test]
    fn only_capacity_errors_invite_a_retry() {
        for error in all() {
            assert_eq!(error.retry_after().is_some(), matches!(error.status(), 429 | 503), "{error}");
        }
    }
}
