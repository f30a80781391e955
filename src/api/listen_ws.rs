//! `GET /v1/listen`: checks the request, takes a slot for each lane, upgrades, and starts the stream's actor.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use actix_web::{HttpRequest, HttpResponse, web};
use uuid::Uuid;

use super::relay::{Receiver, Relay};
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
use crate::wire::prerecorded::Warning;
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
    state.permit(&mut options)?;
    let served = &state.served;
    let model = served.select(options.model.as_deref(), options.language.as_deref(), options.version.as_deref())?;
    let english = served.hears_english(options.language.as_deref());
    let english_only = options.changes.format_if(english);
    options.warnings.extend(english_only.into_iter().map(Warning::english_only));
    let lm = served.language_model(options.language_model.as_deref())?;
    let usual = served.live.ok_or(ApiError::NoSuchModel)?;
    let crowded = state.config.engine.longer_chunks && state.scheduler.overload() >= Overload::LongerChunks;
    let context = if crowded { served.longer(usual) } else { usual };
    let spec = super::audio_spec(&options.audio, false)?;
    let live = &state.config.stream;
    // A container says by itself how many channels it has: mostly two where they are wanted apart, and what is not needed is given back.
    let declared = spec.encoding.is_some_and(|encoding| !matches!(encoding.form(), Form::Container(_)));
    let lanes = match (spec.multichannel, declared) {
        (false, _) => 1,
        (true, true) => usize::from(spec.channels),
        (true, false) => 2,
    };
    let request_id = errors::request_id(request);
    if !options.warnings.is_empty() {
        // There is no message to tell a live client so.
        tracing::debug!(%request_id, warnings = ?options.warnings, "parts of the request have no effect");
    }
    if !served.favours && !options.favoured.is_empty() {
        tracing::warn!(%request_id, "{}", super::UNFAVOURED);
    }
    let receiver = match options.callback.take() {
        Some(callback) => Some(Receiver::open(&state.deliverer, callback).await?),
        None => None,
    };
    if !served.favours && lm.is_some() {
        tracing::warn!(%request_id, "{}", super::UNHELPED);
    }
    let info = StreamInfo {
        request_id,
        created: ids::timestamp(SystemTime::now()),
        model,
        favours: served.favours,
        lm,
        english,
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
    let admitted = Rc::new(admitted);
    let setup = Setup {
        session,
        pipe: Rc::clone(&pipe),
        scheduler: state.scheduler.clone(),
        context,
        credits: live.credits,
        key,
        patience: live.tcp_user_timeout,
        relayed: receiver.is_some(),
        metrics: Arc::clone(&state.metrics),
        ended: ended(state, request_id, Rc::clone(&admitted)),
    };
    // Lanes whose number is declared are taken now, so that a full engine refuses the handshake and never an open stream.
    let stream = StreamActor::open(setup, lanes).await.map_err(|_| ApiError::ServiceUnavailable)?;
    let largest = state.config.stream.max_message_bytes;
    match Socket::upgrade(request, payload, Rc::clone(&pipe), stream.clone(), largest, live.tcp_user_timeout) {
        Ok((socket, response)) => {
            state.streams.insert(request_id, stream.clone());
            let door = match receiver {
                Some(receiver) => {
                    let relay = Relay {
                        receiver,
                        pipe,
                        stream: stream.clone(),
                        socket: socket.recipient(),
                        patience: live.tcp_user_timeout,
                    };
                    relay.start(admitted)
                }
                None => socket.recipient(),
            };
            stream.try_send(Connected(door)).map_err(|_| ApiError::Internal)?;
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

/// Takes the stream off the table when it ends. `admitted` counts it as active: until then, or longer where others hold it too.
fn ended(state: &web::Data<State>, request_id: Uuid, admitted: Rc<Admitted>) -> Box<dyn FnOnce(bool)> {
    let state = state.clone();
    Box::new(move |ok| {
        state.streams.remove(&request_id);
        state.health.record(ok, Instant::now());
        drop(admitted);
    })
}
