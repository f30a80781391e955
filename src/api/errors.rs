//! The error table as HTTP responses.

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue, RETRY_AFTER};
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use uuid::Uuid;

use crate::audio::AudioError;
use crate::error::ApiError;
use crate::wire::error_body;

/// Header with the text of an error.
pub const DG_ERROR: HeaderName = HeaderName::from_static("dg-error");
/// Header with the id of the request.
pub const DG_REQUEST_ID: HeaderName = HeaderName::from_static("dg-request-id");

/// The id that the middleware gave this request.
pub fn request_id(request: &HttpRequest) -> Uuid {
    request.extensions().get::<Uuid>().copied().unwrap_or_else(Uuid::now_v7)
}

/// The response for an error: the JSON body, `dg-error`, and `Retry-After` where trying again helps.
pub fn respond(request: &HttpRequest, error: &ApiError) -> HttpResponse {
    response(request_id(request), error)
}

/// As [`respond`], for a request of which nothing but its id is left.
pub fn response(request_id: Uuid, error: &ApiError) -> HttpResponse {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    response.content_type("application/json");
    if let Ok(text) = HeaderValue::from_str(&error.header_text()) {
        response.insert_header((DG_ERROR, text));
    }
    if let Some(seconds) = error.retry_after() {
        response.insert_header((RETRY_AFTER, seconds));
    }
    response.body(error_body(error, request_id))
}

impl From<AudioError> for ApiError {
    fn from(error: AudioError) -> Self {
        match error {
            AudioError::Unsupported { format } => ApiError::UnsupportedAudio(format),
            AudioError::Unavailable { .. } => ApiError::ServiceUnavailable,
            AudioError::Resampler { .. } => ApiError::Internal,
            _ => ApiError::CorruptAudio,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_the_server_is_not_laid_to_the_audio() {
        for (error, status) in [
            (AudioError::Unsupported { format: "speex" }, 400),
            (AudioError::Empty, 400),
            (AudioError::Unavailable { what: "room on disk" }, 503),
            (AudioError::Resampler { reason: "x".into() }, 500),
        ] {
            assert_eq!(ApiError::from(error.clone()).status(), status, "{error}");
        }
    }
}
