//! Who may use the server. Without configured keys everybody may, as in the product we are compatible with; the
//! configuration then keeps the server on the loopback interface unless told otherwise.

use actix_web::HttpRequest;
use actix_web::http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::error::ApiError;

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

    /// Lets a request in or not.
    pub fn check(&self, request: &HttpRequest) -> Result<(), ApiError> {
        if self.hashes.is_empty() {
            return Ok(());
        }
        let given = credential(request).ok_or(ApiError::InvalidAuth)?;
        let hash: [u8; 32] = Sha256::digest(given.as_bytes()).into();
        // Every key is compared, so that the time tells nothing.
        let known = self.hashes.iter().fold(false, |known, key| known | bool::from(key.ct_eq(&hash)));
        if known { Ok(()) } else { Err(ApiError::InvalidAuth) }
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
        for (name, value) in [
            ("authorization", "Token secret"),
            ("authorization", "token other"),
            ("authorization", "Bearer secret"),
            ("sec-websocket-protocol", "token, secret"),
            ("sec-websocket-protocol", "bearer,other"),
        ] {
            assert_eq!(keys().check(&with(name, value)), Ok(()), "{name}: {value}");
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
        assert_eq!(Keys::default().check(&with("x-other", "y")), Ok(()));
    }
}
