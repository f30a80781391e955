//! `POST /v1/listen`: a recorded file in the body, or at an address, to a transcript.

use std::time::{Duration, Instant, SystemTime};

use actix_web::http::header::{ACCEPT, CONTENT_TYPE};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt};
use serde::Deserialize;

use super::{State, errors};
use crate::error::ApiError;
use crate::prerecorded::assemble;
use crate::prerecorded::job::{Heard, JobError, transcribe};
use crate::telemetry::compatible::Kind;
use crate::telemetry::metrics as measure;
use crate::text::rewrite::Rewrite;
use crate::text::subtitles::{srt, vtt};
use crate::units::{KeyId, Samples};
use crate::wire::models::ModelRef;
use crate::wire::prerecorded::{FileRequest, Warning};
use crate::wire::query::{AnswerFormat, ListenOptions, parse_file};
use crate::wire::vocabulary::takes_keyterms;
use crate::wire::{ids, json};

/// Most bytes of a JSON body that names an address.
const MAX_JSON: usize = 64 << 10;

#[derive(Deserialize)]
struct Address {
    url: String,
}

/// Handles the request.
pub async fn listen(request: HttpRequest, body: web::Payload, state: web::Data<State>) -> HttpResponse {
    let began = Instant::now();
    let created = SystemTime::now();
    let answer = match handle(&request, body, &state, created).await {
        Ok((format, text)) => HttpResponse::Ok().content_type(format.media_type()).body(text),
        Err(error) => errors::respond(&request, &error),
    };
    state.metrics.finished(Kind::Batch, answer.status().as_u16());
    state.metrics.batch_took(began.elapsed().as_secs_f64());
    state.health.record(!answer.status().is_server_error(), Instant::now());
    answer
}

async fn handle(request: &HttpRequest, body: web::Payload, state: &State, created: SystemTime) -> Result<(AnswerFormat, String), ApiError> {
    let (key, _admitted) = state.admit(request, Kind::Batch)?;
    let mut options = parse_file(request.query_string())?;
    state.permit(&options)?;
    if options.answer == AnswerFormat::Json {
        let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
        options.answer = accept.and_then(AnswerFormat::accepted).unwrap_or_default();
    }
    let model = state
        .served
        .select(options.model.as_deref(), options.language.as_deref(), options.version.as_deref())?;
    if !state.served.files {
        return Err(ApiError::NoSuchModel);
    }
    options.changes.format_if(state.served.hears_english(options.language.as_deref()));
    let heard = tokio::time::timeout(state.config.files.timeout, hear(request, body, state, &options, key));
    let heard = heard.await.map_err(|_| ApiError::GatewayTimeout)??;
    let (format, vocabulary) = (options.answer, state.served.vocabulary.as_ref());
    let rewrite = Rewrite::new(&options.changes, options.punctuate);
    let text = match format {
        AnswerFormat::Json => respond(request, state, options, model, created, &heard, &rewrite),
        AnswerFormat::Srt => assemble::subtitles(&heard, vocabulary, &rewrite, srt),
        AnswerFormat::Vtt => assemble::subtitles(&heard, vocabulary, &rewrite, vtt),
    };
    Ok((format, text))
}

async fn hear(request: &HttpRequest, body: web::Payload, state: &State, options: &ListenOptions, key: KeyId) -> Result<Heard, ApiError> {
    let spec = super::audio_spec(&options.audio, true)?;
    let limit = state.config.files.max_upload_bytes;
    let body = bounded(
        body.map_err(|_| ApiError::RequestTimeout).boxed_local(),
        limit,
        state.config.limits.request_timeout,
    );
    let plan = super::file_plan(&state.served, &state.config, key, options.terms());
    let is_json = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(is_json);
    let mut told = Samples(0);
    let progress = |decoded: Samples| {
        measure::file_progress(decoded.since(told));
        told = decoded;
    };
    let result = if is_json {
        let url = address(body).await?;
        let remote = state.fetcher.open(&url).await?;
        let remote = bounded(
            remote.map_err(ApiError::from).boxed_local(),
            limit,
            state.config.limits.request_timeout,
        );
        transcribe(remote, spec, plan, &state.scheduler, progress).await
    } else {
        transcribe(body, spec, plan, &state.scheduler, progress).await
    };
    result.map_err(|error| match error {
        JobError::Audio(error) => {
            tracing::debug!(%error, "a file was refused");
            ApiError::from(error)
        }
        JobError::TooLong(_) => ApiError::PayloadTooLarge { limit },
        JobError::Refused(_) => ApiError::ServiceUnavailable,
        JobError::Engine => ApiError::BadGateway,
        JobError::Source(error) => error,
    })
}

fn respond(
    request: &HttpRequest,
    state: &State,
    options: ListenOptions,
    model: ModelRef,
    created: SystemTime,
    heard: &Heard,
    rewrite: &Rewrite,
) -> String {
    let request_id = errors::request_id(request);
    let mut warnings = Vec::new();
    if !state.served.favours && !options.favoured.is_empty() {
        tracing::warn!(%request_id, "{}", super::UNFAVOURED);
        let keyterms = takes_keyterms(options.model.as_deref());
        warnings.push(Warning {
            parameter: if keyterms { "keyterm" } else { "keywords" },
            kind: "unsupported_feature",
            message: super::UNFAVOURED,
        });
    }
    let is_english = state.served.hears_english(options.language.as_deref());
    if !is_english && !options.changes.redact.is_empty() {
        warnings.push(Warning {
            parameter: "redact",
            kind: "unsupported_language",
            message: "Redaction knows English words only.",
        });
    }
    let file = FileRequest {
        request_id,
        sha256: heard.sha256.clone(),
        created: ids::timestamp(created),
        model,
        warnings,
        tags: options.tags,
        extra: options.extra,
    };
    json(&assemble::response(
        file,
        heard,
        state.served.vocabulary.as_ref(),
        rewrite,
        options.utt_split,
    ))
}

fn is_json(content_type: &str) -> bool {
    content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .eq_ignore_ascii_case("application/json")
}

async fn address(body: impl Stream<Item = Result<Bytes, ApiError>>) -> Result<String, ApiError> {
    let mut text = Vec::new();
    let mut body = std::pin::pin!(body);
    while let Some(bytes) = body.next().await {
        text.extend_from_slice(&bytes?);
        if text.len() > MAX_JSON {
            return Err(ApiError::BadJson);
        }
    }
    serde_json::from_slice::<Address>(&text)
        .map(|address| address.url)
        .map_err(|_| ApiError::BadJson)
}

/// `body`, ended with an error when it is longer than `limit` bytes or nothing comes for `patience`.
fn bounded<S>(body: S, limit: u64, patience: Duration) -> impl Stream<Item = Result<Bytes, ApiError>> + Unpin
where
    S: Stream<Item = Result<Bytes, ApiError>> + Unpin,
{
    let step = move |(mut body, mut left): (S, u64)| async move {
        let item = match tokio::time::timeout(patience, body.next()).await {
            Err(_) => Err(ApiError::RequestTimeout),
            Ok(None) => return None,
            Ok(Some(item)) => item,
        };
        let item = item.and_then(|bytes| {
            left = left
                .checked_sub(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
                .ok_or(ApiError::PayloadTooLarge { limit })?;
            Ok(bytes)
        });
        Some((item, (body, left)))
    };
    Box::pin(futures_util::stream::unfold((body, limit), step))
}
