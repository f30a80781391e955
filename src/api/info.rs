//! What the server tells about itself: models, status, metrics.

use std::time::Instant;

use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use uuid::Uuid;

use super::{State, errors};
use crate::error::ApiError;
use crate::telemetry::compatible::Kind;
use crate::wire::json;
use crate::wire::models::ModelList;
use crate::wire::status::{EngineStatus, Status};

fn body<T: serde::Serialize>(value: &T) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(json(value))
}

/// `GET /v1/models`.
pub async fn models(state: web::Data<State>) -> HttpResponse {
    body(&ModelList::new(vec![state.served.entry()]))
}

/// `GET /v1/models/{uuid}`.
pub async fn model(request: HttpRequest, state: web::Data<State>, id: web::Path<String>) -> HttpResponse {
    let entry = state.served.entry();
    if id.parse::<Uuid>() == Ok(entry.uuid) {
        body(&entry)
    } else {
        errors::respond(&request, &ApiError::NotFound)
    }
}

/// `GET /v1/status`.
pub async fn status(state: web::Data<State>) -> HttpResponse {
    body(&Status {
        system_health: state.health.state(state.scheduler.is_running(), Instant::now()),
        active_batch_requests: state.metrics.count(Kind::Batch),
        active_stream_requests: state.metrics.count(Kind::Stream),
        active_listen_v2_stream_requests: 0,
    })
}

/// `GET /v1/status/engine`.
pub async fn engine(state: web::Data<State>) -> HttpResponse {
    body(&EngineStatus::new(state.scheduler.is_running()))
}

/// `GET /metrics`.
pub async fn metrics(state: web::Data<State>) -> HttpResponse {
    let capacity = state.scheduler.capacity();
    let mut text = state.metrics.render(capacity, state.config.limits.engine_active_requests);
    text.push_str(&state.prometheus.render());
    HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(text)
}

/// Every path that is none of ours.
pub async fn not_found(request: HttpRequest) -> HttpResponse {
    errors::respond(&request, &ApiError::NotFound)
}

/// Every method that a path does not know; `allowed`: those that it does.
pub async fn method_not_allowed(request: HttpRequest, allowed: &'static str) -> HttpResponse {
    let mut response = errors::respond(&request, &ApiError::MethodNotAllowed);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}
