//! Who may use the server. Without configured keys everybody may, as in the product we are compatible with; the
//! configuration then keeps the server on the loopback interface unless told otherwise.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix_web::HttpRequest;
use actix_web::http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::error::ApiError;
use crate::telemetry::compatible::Kind;
use crate::units::KeyId;

/// The keys that are accepted; none means that every request is.
#[derive(Debug, Default)]
pub struct Keys {
    keys: Vec<Key>,
}

/// One key: its SHA-256, what its holder may do with live streams and with files, and how many of them he has.
#[derive(Debug)]
struct Key {
    hash: [u8; 32],
    may: [May; 2],
    used: Arc<[AtomicUsize; 2]>,
}

/// What a holder may do with one kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum May {
    /// Nothing.
    Never,
    /// Have so many at once.
    AtMost(usize),
    /// Have any number.
    Freely,
}

/// Counts as a request of its key until dropped.
#[derive(Debug)]
pub struct KeyUse {
    counted: Option<(Arc<[AtomicUsize; 2]>, Kind)>,
}

impl Drop for KeyUse {
    fn drop(&mut self) {
        if let Some((used, kind)) = &self.counted {
            of(used, *kind).fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// That of a pair which is of this kind.
fn of<T>([streams, files]: &[T; 2], kind: Kind) -> &T {
    match kind {
        Kind::Stream => streams,
        Kind::Batch => files,
    }
}

impl Keys {
    /// Keys by their hashes, each with what it may do with live streams and with files.
    pub fn new(keys: Vec<([u8; 32], [May; 2])>) -> Self {
        let key = |(hash, may)| Key {
            hash,
            may,
            used: Arc::default(),
        };
        Self {
            keys: keys.into_iter().map(key).collect(),
        }
    }

    /// Counts a request of a key's holder, unless it is of a kind that his key is not for, or he has as many as he may.
    pub fn take(&self, key: KeyId, kind: Kind) -> Result<KeyUse, ApiError> {
        let index = usize::try_from(key.0).unwrap_or(usize::MAX);
        let Some(Key { may, used, .. }) = self.keys.get(index) else {
            return Ok(KeyUse { counted: None });
        };
        // Counted first and asked then: two that come at once cannot both have the last place.
        let before = of(used, kind).fetch_add(1, Ordering::Relaxed);
        let taken = KeyUse {
            counted: Some((Arc::clone(used), kind)),
        };
        match of(may, kind) {
            May::Never => Err(ApiError::InsufficientPermissions),
            May::AtMost(most) if before >= *most => Err(ApiError::TooManyRequests),
            May::AtMost(_) | May::Freely => Ok(taken),
        }
    }

    /// Lets a request in or not. Returns whose key it has: its place in the list, 0 where there are no keys.
    pub fn check(&self, request: &HttpRequest) -> Result<KeyId, ApiError> {
        if self.keys.is_empty() {
            return Ok(KeyId::default());
        }
        let given = credential(request).ok_or(ApiError::InvalidAuth)?;
        let hash: [u8; 32] = Sha256::digest(given.as_bytes()).into();
        // Every key is compared, so that the time tells nothing.
        let known = (0..).zip(&self.keys).fold(None, |known, (place, key)| {
            if bool::from(key.hash.ct_eq(&hash)) {
                Some(KeyId(place))
            } else {
                known
            }
        });
        known.ok_or(ApiError::InvalidAuth)
    }
}

/// The key or token of a request: `Authorization: Token K` or `Bearer K`, or the pair `token, K` offered as subprotocols, in one
/// header line or in several (RFC 6455, section 11.3.4).
fn credential(request: &HttpRequest) -> Option<String> {
    let headers = request.headers();
    let authorization = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    // A header of another scheme is meant for a proxy.
    if let Some(key) = authorization.and_then(|value| scheme_and_key(value.split_once(' ')?)) {
        return Some(key);
    }
    let lines = headers.get_all(SEC_WEBSOCKET_PROTOCOL).filter_map(|line| line.to_str().ok());
    scheme_and_key(lines.collect::<Vec<_>>().join(",").split_once(',')?)
}

fn scheme_and_key((scheme, key): (&str, &str)) -> Option<String> {
    is_scheme(scheme.trim()).then(|| key.trim().to_owned())
}

/// True of the names that may stand before a key.
pub fn is_scheme(name: &str) -> bool {
    ["token", "bearer"].iter().any(|scheme| name.eq_ignore_ascii_case(scheme))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn keys() -> Keys {
        Keys::new(vec![
            (Sha256::digest(b"secret").into(), [May::AtMost(2), May::Freely]),
            (Sha256::digest(b"other").into(), [May::Freely, May::AtMost(1)]),
            (Sha256::digest(b"desk").into(), [May::Never, May::Freely]),
        ])
    }

    fn with(name: &str, value: &str) -> HttpRequest {
        TestRequest::default().insert_header((name, value)).to_http_request()
    }

    #[test]
    fn every_form_of_a_known_key_is_let_in() {
        for (name, value, holder) in [
            ("authorization", "Token secret", 0),
            ("authorization", "token other", 1),
            ("authorization", "Bearer secret", 0),
            ("sec-websocket-protocol", "token, secret", 0),
            ("sec-websocket-protocol", "bearer,other", 1),
        ] {
            assert_eq!(keys().check(&with(name, value)), Ok(KeyId(holder)), "{name}: {value}");
        }
    }

    #[test]
    fn the_two_subprotocols_may_come_in_two_lines() {
        let name = "sec-websocket-protocol";
        for (lines, holder) in [
            (&["token", "secret"][..], Ok(KeyId(0))),
            (&["bearer", "other"], Ok(KeyId(1))),
            (&["secret", "token"], Err(ApiError::InvalidAuth)),
            (&["token"], Err(ApiError::InvalidAuth)),
        ] {
            let with = |request: TestRequest, line: &&str| request.append_header((name, *line));
            let request = lines.iter().fold(TestRequest::default(), with).to_http_request();
            assert_eq!(keys().check(&request), holder, "{lines:?}");
        }
    }

    #[test]
    fn a_header_for_a_proxy_does_not_hide_the_subprotocol() {
        for (authorization, holder) in [
            ("Basic dXNlcjpwYXNz", Ok(KeyId(0))),
            ("", Ok(KeyId(0))),
            ("Token wrong", Err(ApiError::InvalidAuth)),
        ] {
            let request = TestRequest::default()
                .insert_header(("authorization", authorization))
                .insert_header(("sec-websocket-protocol", "token, secret"));
            assert_eq!(keys().check(&request.to_http_request()), holder, "{authorization}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for (name, value) in [
            ("authorization", "Token wrong"),
            ("authorization", "Basic secret"),
            ("authorization", "secret"),
            ("sec-websocket-protocol", "secret"),
            ("x-other", "Token secret"),
        ] {
            assert_eq!(keys().check(&with(name, value)), Err(ApiError::InvalidAuth), "{name}: {value}");
        }
    }

    #[test]
    fn a_key_is_good_for_its_scopes_alone() {
        let keys = keys();
        let desk = keys.check(&with("authorization", "Token desk")).unwrap();
        assert_eq!(keys.take(desk, Kind::Stream).unwrap_err(), ApiError::InsufficientPermissions);
        assert!(keys.take(desk, Kind::Batch).is_ok());
    }

    #[test]
    fn a_holder_gets_as_many_at_once_as_his_key_says() {
        let keys = keys();
        let (desk, other) = (KeyId(0), KeyId(1));
        let first = keys.take(desk, Kind::Stream).unwrap();
        let _second = keys.take(desk, Kind::Stream).unwrap();
        assert_eq!(keys.take(desk, Kind::Stream).unwrap_err(), ApiError::TooManyRequests);
        assert_eq!(
            keys.take(desk, Kind::Stream).unwrap_err(),
            ApiError::TooManyRequests,
            "a refusal is not counted"
        );
        let _files: Vec<KeyUse> = (0..9).map(|_| keys.take(desk, Kind::Batch).unwrap()).collect();
        let _file = keys.take(other, Kind::Batch).unwrap();
        assert_eq!(keys.take(other, Kind::Batch).unwrap_err(), ApiError::TooManyRequests);
        assert!(keys.take(other, Kind::Stream).is_ok(), "the one has nothing to do with the other");
        drop(first);
        assert!(keys.take(desk, Kind::Stream).is_ok());
        assert!(Keys::default().take(desk, Kind::Stream).is_ok());
    }

    #[test]
    fn without_keys_everybody_is_let_in() {
        assert_eq!(Keys::default().check(&with("x-other", "y")), Ok(KeyId(0)));
    }
}
