//! Who may use the server. Without configured keys everybody may, as in the product we are compatible with; the
//! configuration then keeps the server on the loopback interface unless told otherwise.

use actix_web::HttpRequest;
use actix_web::http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::error::ApiError;
use crate::units::KeyId;

/// The SHA-256 hashes of the keys that are accepted; none means that every request is.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    hashes: Vec<[u8; 32]>,
}

impl Keys {
    /// Keys by their hashes.
    pub fn new(hashes: Vec<[u8; 32]>) -> Self {
        Self { hashes }
    }

    /// Lets a request in or not. Returns whose key it has: its place in the list, 0 where there are no keys.
    pub fn check(&self, request: &HttpRequest) -> Result<KeyId, ApiError> {
        if self.hashes.is_empty() {
            return Ok(KeyId::default());
        }
        let given = credential(request).ok_or(ApiError::InvalidAuth)?;
        let hash: [u8; 32] = Sha256::digest(given.as_bytes()).into();
        // Every key is compared, so that the time tells nothing.
        let known = (0..).zip(&self.hashes).fold(
            None,
            |known, (place, key)| {
                if bool::from(key.ct_eq(&hash)) { Some(KeyId(place)) } else { known }
            },
        );
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
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn keys() -> Keys {
        Keys::new(vec![Sha256::digest(b"secret").into(), Sha256::digest(b"other").into()])
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
    fn without_keys_everybody_is_let_in() {
        assert_eq!(Keys::default().check(&with("x-other", "y")), Ok(KeyId(0)));
    }
}
