//! The documents of this interface: OpenAPI, AsyncAPI for the WebSocket, and a page that shows both.
//!
//! They are the files of `docs/api`, written by hand. Tests hold their parameters against what is read, and their schemas
//! against what is answered.

use actix_web::HttpResponse;
use actix_web::http::header::CONTENT_SECURITY_POLICY;

const OPENAPI: &str = include_str!("../../docs/api/openapi.json");
const ASYNCAPI: &str = include_str!("../../docs/api/asyncapi.json");
const PAGE: &str = include_str!("../../docs/api/index.html");
/// The page runs its own script and asks this server for the documents; nothing comes from elsewhere.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'";

/// `GET /openapi.json`.
pub async fn openapi() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(OPENAPI)
}

/// `GET /asyncapi.json`.
pub async fn asyncapi() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(ASYNCAPI)
}

/// `GET /docs`.
pub async fn page() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .body(PAGE)
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic
)]
mod tests;
