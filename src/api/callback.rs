//! `POST /v1/listen?callback=...`: takes a file in and answers with the request's id; later the work on it.
//!
//! What it does: the door's part before the file is in the queue, and the work that the queue asks for. What it does not do: keep or
//! deliver anything, which is [`crate::prerecorded::callback`]. Who calls it: the upload handler, the application.

use std::sync::Arc;
use std::time::Instant;

use actix_web::{HttpRequest, web};
use futures_util::{StreamExt, TryStreamExt};
use serde::Serialize;
use uuid::Uuid;

use super::State;
use super::listen_rest::{Asked, Body, Caller, receive, remote, transcript};
use crate::error::ApiError;
use crate::prerecorded::callback::{Job, Outcome, Request, Source};
use crate::telemetry::compatible::Kind;
use crate::units::KeyId;
use crate::wire::query::{AnswerFormat, Callback};
use crate::wire::{error_body, json};

#[derive(Serialize)]
struct Accepted {
    request_id: Uuid,
}

/// Takes a file into the queue, whose parameters were checked; returns the body of the answer.
pub(super) async fn accept(
    request: &HttpRequest,
    payload: web::Payload,
    state: &State,
    callback: Callback,
    caller: Caller,
) -> Result<String, ApiError> {
    if !state.deliverer.permits(&callback.url).await {
        return Err(ApiError::InvalidCallback);
    }
    let mut incoming = state.callbacks.reserve(caller.request_id).await?;
    let source = match receive(request, payload, state).await? {
        Body::Address(url) => Source::Address(url),
        Body::Audio(audio) => {
            incoming.write(audio).await?;
            Source::Spool
        }
    };
    let key = usize::try_from(caller.key.0)
        .ok()
        .and_then(|place| state.config.auth.keys.get(place));
    let accepted = Request {
        id: caller.request_id,
        created: caller.created,
        holder: key.map(|key| key.name.clone()),
        query: request.query_string().to_owned(),
        source,
        url: callback.url,
        method: callback.method,
    };
    let queue = Arc::clone(&state.callbacks);
    // In a task of its own: a client that hangs up meanwhile cannot leave it half done.
    let kept = actix_web::rt::spawn(async move { queue.accept(accepted, incoming).await }).await;
    kept.map_err(|_| ApiError::Internal)??;
    Ok(json(&Accepted {
        request_id: caller.request_id,
    }))
}

/// Works on a file from the queue.
pub async fn work(state: web::Data<State>, job: Job) -> Outcome {
    let (request_id, key) = (job.id, holder(&state, job.holder.as_deref()));
    let Ok(_counted) = state.keys.take(key, Kind::Batch) else {
        return Outcome::NoRoom;
    };
    let _active = state.metrics.active(Kind::Batch);
    let began = Instant::now();
    match answer(&state, job, key).await {
        Ok((format, body)) => {
            state.metrics.batch_took(began.elapsed().as_secs_f64());
            Outcome::Answer {
                media_type: format.media_type(),
                body,
            }
        }
        Err(ApiError::ServiceUnavailable) => Outcome::NoRoom,
        Err(ApiError::BadGateway) => Outcome::Failed,
        Err(error) => Outcome::Answer {
            media_type: AnswerFormat::Json.media_type(),
            body: error_body(&error, request_id),
        },
    }
}

async fn answer(state: &State, job: Job, key: KeyId) -> Result<(AnswerFormat, String), ApiError> {
    let asked = Asked::read(&job.query, state)?;
    let audio = match &job.source {
        Source::Address(url) => remote(state, url).await?,
        Source::Spool => {
            let request_id = job.id;
            let unreadable = move |error: std::io::Error| {
                tracing::error!(%request_id, %error, "the audio of a callback cannot be read");
                ApiError::Internal
            };
            let audio = state.callbacks.audio(request_id).await.map_err(unreadable)?;
            audio.map_err(unreadable).boxed_local()
        }
    };
    let caller = Caller {
        request_id: job.id,
        key,
        created: job.created,
    };
    transcript(state, asked, caller, audio).await
}

/// The place of a key in the list as it is now; the first, if it is gone.
fn holder(state: &State, name: Option<&str>) -> KeyId {
    let place = state.config.auth.keys.iter().position(|key| Some(key.name.as_str()) == name);
    place.and_then(|place| u32::try_from(place).ok()).map(KeyId).unwrap_or_default()
}
