//! `GET /v1/listen`: checks the request, takes a slot for each lane, upgrades, and starts the stream's actor.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use actix_web::{HttpRequest, HttpResponse, web};
use uuid::Uuid;

use super::socket::{Socket, is_upgrade};
use super::{Admitted, State, errors};
use crate::audio::encoding::Form;
use crate::error::ApiError;
use crate::scheduler::admission::Overload;
use crate::stream::actor::{Connected, FramesArrived, Setup, StreamActor};
use crate::stream::pipe::{FromClient, Pipe};
use crate::stream::session::{Session, StreamInfo};
use crate::telemetry::compatible::Kind;
use crate::text::words::Vocabulary;
use crate::wire::ids;
use crate::wire::query::parse_live;

/// Handles the request.
pub async fn listen(request: HttpRequest, payload: web::Payload, state: web::Data<State>) -> HttpResponse {
    let began = Instant::now();
    match open(&request, payload, &state).await {
        Ok(response) => {
            state.metrics.connected_in(began.elapsed().as_secs_f64());
            response
        }
        Err(error) => {
            state.metrics.finished(Kind::Stream, error.status());
            state.health.record(error.status() < 500, Instant::now());
            errors::respond(&request, &error)
        }
    }
}

async fn open(request: &HttpRequest, payload: web::Payload, state: &web::Data<State>) -> Result<HttpResponse, ApiError> {
    if !is_upgrade(request) {
        return Err(ApiError::NotAnUpgrade);
    }
    let (key, admitted) = state.admit(request, Kind::Stream)?;
    let mut options = parse_live(request.query_string())?;
    state.permit(&options)?;
    let served = &state.served;
    let model = served.select(options.model.as_deref(), options.language.as_deref(), options.version.as_deref())?;
    options.changes.format_if(served.hears_english(options.language.as_deref()));
    let usual = served.live.ok_or(ApiError::NoSuchModel)?;
    let crowded = state.config.engine.longer_chunks && state.scheduler.overload() >= Overload::LongerChunks;
    let context = if crowded { served.longer(usual) } else { usual };
    let spec = super::audio_spec(&options.audio, false)?;
    let live = &state.config.stream;
    // A container says by itself how many channels it has.
    let declared = spec.encoding.is_some_and(|encoding| !matches!(encoding.form(), Form::Container(_)));
    let lanes = if declared && spec.multichannel {
        usize::from(spec.channels)
    } else {
        1
    };
    let request_id = errors::request_id(request);
    if !served.favours && !options.favoured.is_empty() {
        tracing::warn!(%request_id, "{}", super::UNFAVOURED);
    }
    let info = StreamInfo {
        request_id,
        created: ids::timestamp(SystemTime::now()),
        model,
        favours: served.favours,
    };
    let vocabulary: Arc<dyn Vocabulary + Send + Sync> = served.vocabulary.clone();
    let session = Session::new(
        options,
        spec,
        info,
        super::live_rules(live, served.right(context)),
        vocabulary,
        Instant::now(),
    );
    let session = session.map_err(ApiError::from)?;
    let pipe = Rc::new(Pipe::new(live.result_backlog, Arc::clone(&state.budget)));
    let setup = Setup {
        session,
        pipe: Rc::clone(&pipe),
        scheduler: state.scheduler.clone(),
        context,
        credits: live.credits,
        key,
        patience: live.tcp_user_timeout,
        metrics: Arc::clone(&state.metrics),
        ended: ended(state, request_id, admitted),
    };
    // Lanes whose number is declared are taken now, so that a full engine refuses the handshake and never an open stream.
    let stream = StreamActor::open(setup, lanes).await.map_err(|_| ApiError::ServiceUnavailable)?;
    let largest = state.config.stream.max_message_bytes;
    match Socket::upgrade(request, payload, Rc::clone(&pipe), stream.clone(), largest) {
        Ok((socket, response)) => {
            state.streams.insert(request_id, stream.clone());
            stream.try_send(Connected(socket.recipient())).map_err(|_| ApiError::Internal)?;
            Ok(response)
        }
        Err(error) => {
            tracing::debug!(%error, "the upgrade failed");
            pipe.put_in(FromClient::Gone(None));
            stream.try_send(FramesArrived).ok();
            Err(ApiError::NotAnUpgrade)
        }
    }
}

/// Counts the stream as active until it ends, and takes it off the table then.
fn ended(state: &web::Data<State>, request_id: Uuid, admitted: Admitted) -> Box<dyn FnOnce(bool)> {
    let state = state.clone();
    Box::new(move |ok| {
        state.streams.remove(&request_id);
        state.health.record(ok, Instant::now());
        drop(admitted);
    })
}
