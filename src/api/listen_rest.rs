//! `POST /v1/listen`: a recorded file in the body, or at an address, to a transcript. With a callback it is [`super::callback`]'s.

use std::time::{Instant, SystemTime};

use actix_web::http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderName};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::stream::LocalBoxStream;
use futures_util::{Stream, StreamExt, TryStreamExt};
use serde::Deserialize;
use uuid::Uuid;

use super::work_time::WorkTime;
use super::{State, callback, errors};
use crate::audio::AudioSpec;
use crate::error::ApiError;
use crate::prerecorded::assemble::{self, Division};
use crate::prerecorded::job::{Heard, JobError, Plan, transcribe};
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

/// What a request counts as whose client did not wait for the answer; never sent.
const HUNG_UP: u16 = 499;
/// Most bytes of a JSON body that names an address.
const MAX_JSON: usize = 64 << 10;

#[derive(Deserialize)]
struct Address {
    url: String,
}

/// Handles the request.
pub async fn listen(request: HttpRequest, body: web::Payload, state: web::Data<State>) -> HttpResponse {
    let created = SystemTime::now();
    let mut outcome = Outcome {
        state: &state,
        status: HUNG_UP,
    };
    let answer = match handle(&request, body, &state, created).await {
        Ok((format, text)) => HttpResponse::Ok().content_type(format.media_type()).body(text),
        Err(error) => errors::respond(&request, &error),
    };
    outcome.status = answer.status().as_u16();
    answer
}

/// Books how a request ended when it is dropped, which it also is when its client has hung up.
struct Outcome<'a> {
    state: &'a State,
    status: u16,
}

impl Drop for Outcome<'_> {
    fn drop(&mut self) {
        let status = if std::thread::panicking() { 500 } else { self.status };
        self.state.metrics.finished(Kind::Batch, status);
        self.state.health.record(status < 500, Instant::now());
    }
}

async fn handle(
    request: &HttpRequest,
    payload: web::Payload,
    state: &State,
    created: SystemTime,
) -> Result<(AnswerFormat, String), ApiError> {
    let (key, _admitted) = state.admit(request, Kind::Batch)?;
    let mut asked = Asked::read(request.query_string(), state)?;
    let caller = Caller {
        request_id: errors::request_id(request),
        key,
        created,
    };
    if let Some(callback) = asked.options.callback.take() {
        let accepted = callback::accept(request, payload, state, callback, caller).await?;
        return Ok((AnswerFormat::Json, accepted));
    }
    if asked.options.answer == AnswerFormat::Json {
        let accept = header(request, ACCEPT);
        asked.options.answer = accept.and_then(AnswerFormat::accepted).unwrap_or_default();
    }
    let audio = match receive(request, payload, state).await? {
        Body::Address(url) => remote(state, &url).await?,
        Body::Audio(audio) => audio,
    };
    let began = Instant::now();
    let answer = transcript(state, asked, caller, audio).await?;
    state.metrics.batch_took(began.elapsed().as_secs_f64());
    Ok(answer)
}

/// Bytes as they come.
pub(super) type FileBytes = LocalBoxStream<'static, Result<Bytes, ApiError>>;

/// What a body is.
pub(super) enum Body {
    /// JSON that names an address.
    Address(String),
    /// A file.
    Audio(FileBytes),
}

/// What a request asks for, checked.
pub(super) struct Asked {
    options: ListenOptions,
    model: ModelRef,
    spec: AudioSpec,
    /// See [`Plan::lm`].
    lm: Option<usize>,
}

impl Asked {
    /// Reads the parameters.
    pub(super) fn read(query: &str, state: &State) -> Result<Self, ApiError> {
        let mut options = parse_file(query)?;
        state.permit(&mut options)?;
        let served = &state.served;
        let model = served.select(options.model.as_deref(), options.language.as_deref(), options.version.as_deref())?;
        if !served.files {
            return Err(ApiError::NoSuchModel);
        }
        let english_only = options.changes.format_if(served.hears_english(options.language.as_deref()));
        options.warnings.extend(english_only.into_iter().map(Warning::english_only));
        options.paragraphs &= served.spaces_words(options.language.as_deref());
        let spec = super::audio_spec(&options.audio, true)?;
        let lm = served.language_model(options.language_model.as_deref())?;
        Ok(Self { options, model, spec, lm })
    }
}

/// Whose request it is, and which.
#[derive(Clone, Copy)]
pub(super) struct Caller {
    pub(super) request_id: Uuid,
    pub(super) key: KeyId,
    pub(super) created: SystemTime,
}

/// Tells what a body is. An address is read to its end, a file is not read yet. What declares itself too large is refused unread.
pub(super) async fn receive(request: &HttpRequest, payload: web::Payload, state: &State) -> Result<Body, ApiError> {
    let limit = state.config.files.max_upload_bytes;
    let declared = header(request, CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    if declared.is_some_and(|length| length > limit) {
        return Err(ApiError::PayloadTooLarge { limit });
    }
    let body = bounded(payload.map_err(|_| ApiError::RequestTimeout), state);
    if header(request, CONTENT_TYPE).is_some_and(is_json) {
        return Ok(Body::Address(address(body).await?));
    }
    Ok(Body::Audio(body))
}

/// The file at an address.
pub(super) async fn remote(state: &State, url: &str) -> Result<FileBytes, ApiError> {
    let file = state.fetcher.open(url).await?;
    Ok(bounded(file.map_err(ApiError::from), state))
}

/// Transcribes a file and writes the answer.
pub(super) async fn transcript(state: &State, asked: Asked, caller: Caller, audio: FileBytes) -> Result<(AnswerFormat, String), ApiError> {
    let Asked { options, model, spec, lm } = asked;
    let plan = super::file_plan(&state.served, &state.config, caller.key, options.terms(), lm);
    let time = WorkTime::new(state.config.files.timeout);
    let heard = time.bound(hear(state, spec, plan, time.watch(audio)));
    let heard = heard.await.ok_or(ApiError::GatewayTimeout)??;
    let (format, vocabulary) = (options.answer, state.served.vocabulary.as_ref());
    let rewrite = Rewrite::new(&options.changes, options.punctuate);
    let text = match format {
        AnswerFormat::Json => respond(caller.request_id, state, options, model, caller.created, &heard, &rewrite),
        AnswerFormat::Srt => assemble::subtitles(&heard, vocabulary, &rewrite, srt),
        AnswerFormat::Vtt => assemble::subtitles(&heard, vocabulary, &rewrite, vtt),
    };
    Ok((format, text))
}

async fn hear(
    state: &State,
    spec: AudioSpec,
    plan: Plan,
    audio: impl Stream<Item = Result<Bytes, ApiError>> + Unpin,
) -> Result<Heard, ApiError> {
    let mut told = Samples(0);
    let progress = |decoded: Samples| {
        measure::file_progress(decoded.since(told));
        told = decoded;
    };
    let result = transcribe(audio, spec, plan, &state.scheduler, progress).await;
    result.map_err(|error| match error {
        JobError::Audio(error) => {
            tracing::debug!(%error, "a file was refused");
            ApiError::from(error)
        }
        JobError::TooLong(seconds) => ApiError::AudioTooLong { seconds },
        JobError::Refused(_) => ApiError::ServiceUnavailable,
        JobError::Engine => ApiError::BadGateway,
        JobError::Source(error) => error,
    })
}

fn respond(
    request_id: Uuid,
    state: &State,
    options: ListenOptions,
    model: ModelRef,
    created: SystemTime,
    heard: &Heard,
    rewrite: &Rewrite,
) -> String {
    let mut warnings = options.warnings;
    if !state.served.favours && !options.favoured.is_empty() {
        tracing::warn!(%request_id, "{}", super::UNFAVOURED);
        let keyterms = takes_keyterms(options.model.as_deref());
        warnings.push(Warning {
            parameter: if keyterms { "keyterm" } else { "keywords" },
            kind: "unsupported_feature",
            message: super::UNFAVOURED,
        });
    }
    if !state.served.favours && options.language_model.is_some() {
        tracing::warn!(%request_id, "{}", super::UNHELPED);
        warnings.push(Warning {
            parameter: "language_model",
            kind: "unsupported_feature",
            message: super::UNHELPED,
        });
    }
    let file = FileRequest {
        request_id,
        sha256: heard.sha256.clone(),
        created: ids::timestamp(created),
        model,
        warnings,
        language_hint: options.language_hint,
        tags: options.tags,
        extra: options.extra,
    };
    json(&assemble::response(
        file,
        heard,
        state.served.vocabulary.as_ref(),
        rewrite,
        Division {
            utt_split: options.utt_split,
            paragraphs: options.paragraphs,
        },
    ))
}

/// A header, if it is there and text.
fn header(request: &HttpRequest, name: HeaderName) -> Option<&str> {
    request.headers().get(name)?.to_str().ok()
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

/// `body`, ended with an error when it is longer than a file may be or nothing comes for too long.
fn bounded(body: impl Stream<Item = Result<Bytes, ApiError>> + 'static, state: &State) -> FileBytes {
    let (limit, patience) = (state.config.files.max_upload_bytes, state.config.limits.request_timeout);
    let step = move |(mut body, mut left): (FileBytes, u64)| async move {
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
    futures_util::stream::unfold((body.boxed_local(), limit), step).boxed_local()
}
