//! The compatible HTTP and WebSocket interface.

pub mod auth;
pub mod callback;
pub mod docs;
pub mod errors;
pub mod health;
pub mod info;
pub mod listen_rest;
pub mod listen_ws;
pub mod middleware;
pub mod relay;
pub mod socket;
pub mod work_time;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::Addr;
use actix_web::{HttpRequest, Resource, Route, guard, web};
use dashmap::DashMap;
use metrics_exporter_prometheus::PrometheusHandle;
use uuid::Uuid;

use self::auth::{KeyUse, Keys};
use self::health::Health;
use crate::audio::AudioSpec;
use crate::config::{self, Config, RedactStyle};
use crate::engine::served::Served;
use crate::error::ApiError;
use crate::prerecorded::callback::{Deliverer, Queue};
use crate::prerecorded::fetch::Fetcher;
use crate::prerecorded::job::{Cut, Plan};
use crate::prerecorded::segment::WindowShape;
use crate::scheduler::Handle;
use crate::stream::actor::StreamActor;
use crate::stream::pipe::Budget;
use crate::stream::session::LiveRules;
use crate::telemetry::compatible::{Active, Compatible, Kind};
use crate::terms::Terms;
use crate::units::{KeyId, MODEL_RATE, Millis, Samples};
use crate::wire::query::{DeclaredAudio, ListenOptions};

/// What the handlers share.
pub struct State {
    /// Effective configuration.
    pub config: Config,
    /// The model.
    pub served: Arc<Served>,
    /// The way to the scheduler.
    pub scheduler: Handle,
    /// Compatible metric families.
    pub metrics: Arc<Compatible>,
    /// Our own metrics.
    pub prometheus: PrometheusHandle,
    /// Fetches files from their addresses.
    pub fetcher: Fetcher,
    /// Results that are delivered to an address, until they are.
    pub callbacks: Arc<Queue>,
    /// Delivers them.
    pub deliverer: Deliverer,
    /// Undecoded bytes of all streams.
    pub budget: Arc<Budget>,
    /// Outcomes of recent requests.
    pub health: Arc<Health>,
    /// Keys that are accepted.
    pub keys: Keys,
    /// Live streams by request id.
    pub streams: Arc<DashMap<Uuid, Addr<StreamActor>>>,
    /// True once the server takes no new work.
    pub draining: AtomicBool,
}

/// Counts as an active request, of all and of its key, until dropped.
pub struct Admitted {
    _active: Active,
    _of_key: KeyUse,
}

impl State {
    /// Lets a request in or not: key, its scopes and its number of active requests, drain, active requests of all. Returns whose key it
    /// has, and what counts the request until it is dropped.
    pub fn admit(&self, request: &HttpRequest, kind: Kind) -> Result<(KeyId, Admitted), ApiError> {
        let key = self.keys.check(request)?;
        let of_key = self.keys.take(key, kind)?;
        if self.draining.load(Ordering::Relaxed) {
            return Err(ApiError::ServiceUnavailable);
        }
        if request
            .uri()
            .path_and_query()
            .is_some_and(|uri| uri.as_str().len() > self.config.limits.query_bytes)
        {
            return Err(ApiError::UriTooLong);
        }
        // Counted first and asked then: two that come at once cannot both have the last place.
        let active = self.metrics.active(kind);
        let above = |most: Option<u32>| most.is_some_and(|most| active.before() >= u64::from(most));
        if above(self.config.limits.active_requests) {
            return Err(ApiError::TooManyRequests);
        }
        if above(self.config.limits.engine_active_requests) {
            return Err(ApiError::ServiceUnavailable);
        }
        let admitted = Admitted {
            _active: active,
            _of_key: of_key,
        };
        Ok((key, admitted))
    }

    /// Refuses what a request asks for and the configuration switches off; adds what the configuration decides for all of them.
    pub fn permit(&self, options: &mut ListenOptions) -> Result<(), ApiError> {
        if options.audio.multichannel && !self.config.limits.multichannel {
            return Err(ApiError::Conflict("multichannel is switched off on this server."));
        }
        options.changes.asterisks = self.config.text.redact_style == RedactStyle::Asterisks;
        Ok(())
    }
}

/// Why a request's terms have no effect.
pub const UNFAVOURED: &str = "This server cannot favour terms with this model; they have no effect.";
/// Why the language model that a request chose has no effect.
pub const UNHELPED: &str = "This server cannot use a language model with this model; it has no effect.";

/// How a file is worked on by the model that is served. `terms`: what to favour, with weights, if that can be done; `lm`: see [`Plan::lm`].
pub fn file_plan<'a>(
    served: &Served,
    config: &Config,
    key: KeyId,
    terms: impl IntoIterator<Item = (&'a str, f32)>,
    lm: Option<usize>,
) -> Plan {
    let cut = match served.live {
        Some(_) => Cut::Chunks {
            right: served.right(served.file),
        },
        None => Cut::Windows(WindowShape::default()),
    };
    let longest = Samples(config.files.max_duration.as_secs().saturating_mul(u64::from(MODEL_RATE.0)));
    Plan {
        cut,
        context: served.file,
        key,
        in_flight: config.files.windows_in_flight,
        longest,
        terms: if served.favours { Terms::new(terms).map(Arc::new) } else { None },
        lm,
    }
}

/// The rules of live streams that look `right` frames ahead.
pub fn live_rules(config: &config::Stream, right: u32) -> LiveRules {
    let millis = |time: Duration| Millis(u32::try_from(time.as_millis()).unwrap_or(u32::MAX));
    LiveRules {
        right,
        credits: config.credits,
        interim_step: millis(config.interim_step),
        soft_final: millis(config.segment_soft),
        hard_final: millis(config.segment_hard),
        idle: config.idle_timeout,
        no_audio: config.no_audio_timeout,
        ..LiveRules::default()
    }
}

/// The audio that a request declares, for the intake. `whole`: it comes as a file.
pub fn audio_spec(declared: &DeclaredAudio, whole: bool) -> Result<AudioSpec, ApiError> {
    let encoding = declared.encoding.map(|encoding| crate::audio::Encoding::parse(encoding.name()));
    Ok(AudioSpec {
        encoding: encoding.transpose()?,
        rate: declared.sample_rate,
        channels: declared.channels,
        multichannel: declared.multichannel,
        whole,
    })
}

/// A path that answers GET, and HEAD in the same way without the body.
fn page(path: &str, get: Route) -> Resource {
    let get = get.guard(guard::Any(guard::Get()).or(guard::Head()));
    web::resource(path).route(get).default_service(other_methods("GET, HEAD, OPTIONS"))
}

/// What a path answers to every method but these; OPTIONS is answered everywhere, by the middleware.
fn other_methods(allowed: &'static str) -> Route {
    web::to(move |request: HttpRequest| info::method_not_allowed(request, allowed))
}

/// The routes of the listener for metrics alone.
pub fn metrics_routes(config: &mut web::ServiceConfig) {
    config
        .service(page("/metrics", web::to(info::metrics)))
        .default_service(web::to(info::not_found));
}

/// All routes; `base` is the configured prefix, `/v1`.
pub fn routes(config: &mut web::ServiceConfig, base: &str) {
    // The pages outside the prefix come first: an empty prefix would take them all.
    config
        .service(page("/metrics", web::to(info::metrics)))
        .service(page("/openapi.json", web::to(docs::openapi)))
        .service(page("/asyncapi.json", web::to(docs::asyncapi)))
        .service(page("/docs", web::to(docs::page)))
        .service(
            web::scope(base)
                .service(
                    page("/listen", web::to(listen_ws::listen))
                        .route(web::post().to(listen_rest::listen))
                        .default_service(other_methods("GET, HEAD, OPTIONS, POST")),
                )
                .service(page("/models", web::to(info::models)))
                .service(page("/models/{uuid}", web::to(info::model)))
                .service(page("/status", web::to(info::status)))
                .service(page("/status/engine", web::to(info::engine)))
                .default_service(web::to(info::not_found)),
        )
        .default_service(web::to(info::not_found));
}
