//! What every request gets: an id, cross-origin headers, an answer to preflight questions.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpResponse};
use uuid::Uuid;

use super::errors::DG_REQUEST_ID;

const EXPOSED: &str = "dg-model-name, dg-model-uuid, dg-char-count, dg-request-id, dg-error";

/// Gives the request its id and the response its headers.
pub async fn around(request: ServiceRequest, next: Next<impl MessageBody + 'static>) -> Result<ServiceResponse<BoxBody>, Error> {
    let id = Uuid::now_v7();
    request.extensions_mut().insert(id);
    let asked = request.headers().clone();
    let mut response = if request.method() == Method::OPTIONS {
        request.into_response(preflight(&asked))
    } else {
        next.call(request).await?.map_into_boxed_body()
    };
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        headers.insert(DG_REQUEST_ID, value);
    }
    if let Some(origin) = asked.get(header::ORIGIN) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
    }
    Ok(response)
}

fn preflight(asked: &HeaderMap) -> HttpResponse {
    let mut response = HttpResponse::NoContent();
    for (from, to) in [
        (header::ACCESS_CONTROL_REQUEST_METHOD, header::ACCESS_CONTROL_ALLOW_METHODS),
        (header::ACCESS_CONTROL_REQUEST_HEADERS, header::ACCESS_CONTROL_ALLOW_HEADERS),
    ] {
        if let Some(value) = asked.get(from) {
            response.insert_header((to, value.clone()));
        }
    }
    response.finish()
}
