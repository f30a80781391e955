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

/// One key: its SHA-256, and how many live streams and files its holder may have at once, and has.
#[derive(Debug)]
struct Key {
    hash: [u8; 32],
    most: [Option<usize>; 2],
    used: Arc<[AtomicUsize; 2]>,
}

/// Counts as a request of its key until dropped.
#[derive(Debug)]
pub struct KeyUse {
    counted: Option<(Arc<[AtomicUsize; 2]>, Kind)>,
}

impl Drop for KeyUse {
    fn drop(&mut self) {
        if let Some((used, kind)) = &self.counted {
            count(used, *kind).fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn count(used: &[AtomicUsize; 2], kind: Kind) -> &AtomicUsize {
    let [streams, files] = used;
    match kind {
        Kind::Stream => streams,
        Kind::Batch => files,
    }
}

impl Keys {
    /// Keys by their hashes, each with the most live streams and files that it may have at once.
    pub fn new(keys: Vec<([u8; 32], [Option<usize>; 2])>) -> Self {
        let key = |(hash, most)| Key {
            hash,
            most,
            used: Arc::default(),
        };
        Self {
            keys: keys.into_iter().map(key).collect(),
        }
    }

    /// Counts a request of a key's holder, unless he has as many as he may.
    pub fn take(&self, key: KeyId, kind: Kind) -> Result<KeyUse, ApiError> {
        let index = usize::try_from(key.0).unwrap_or(usize::MAX);
        let Some(Key { most, used, .. }) = self.keys.get(index) else {
            return Ok(KeyUse { counted: None });
        };
        let [streams, files] = *most;
        let most = match kind {
            Kind::Stream => streams,
            Kind::Batch => files,
        };
        // Counted first and asked then: two that come at once cannot both have the last place.
        let before = count(used, kind).fetch_add(1, Ordering::Relaxed);
        let taken = KeyUse {
            counted: Some((Arc::clone(used), kind)),
        };
        if most.is_some_and(|most| before >= most) {
            return Err(ApiError::TooManyRequests);
        }
        Ok(taken)
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

/// The key or token of a request: `Authorization: Token K` or `Bearer K`, or the pair `token, K` offered as subprotocols.
fn credential(request: &HttpRequest) -> Option<String> {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    if let Some(value) = header(AUTHORIZATION) {
        return scheme_and_key(value.split_once(' ')?);
    }
    scheme_and_key(header(SEC_WEBSOCKET_PROTOCOL)?.split_once(',')?)
}

fn scheme_and_key((scheme, key): (&str, &str)) -> Option<String> {
    let known = ["token", "bearer"].iter().any(|name| scheme.trim().eq_ignore_ascii_case(name));
    known.then(|| key.trim().to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn keys() -> Keys {
        Keys::new(vec![
            (Sha256::digest(b"secret").into(), [Some(2), None]),
            (Sha256::digest(b"other").into(), [None, Some(1)]),
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
