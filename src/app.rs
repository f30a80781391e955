//! Puts the server together: model, engine thread, scheduler, HTTP; starts it, drains it, stops it.

use std::any::Any;
use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actix::Arbiter;
use actix_web::dev::{Extensions, ServerHandle};
use actix_web::middleware::from_fn;
use actix_web::rt::net::TcpStream;
use actix_web::{App, HttpServer, web};
use dashmap::DashMap;
use tokio::sync::oneshot;

use crate::api::auth::{Keys, May};
use crate::api::health::Health;
use crate::api::{self, State, middleware};
use crate::config::{Config, Key, Scope};
use crate::engine::served::Served;
use crate::engine::worker::Worker;
use crate::engine::{Choice, Device, LmChoice, Opened};
use crate::model::tokenizer::Tokenizer;
use crate::prerecorded::callback::{self, Deliverer, Queue};
use crate::prerecorded::fetch::Fetcher;
use crate::scheduler::core::{Core, Rules};
use crate::scheduler::policy::Dispatch;
use crate::scheduler::{self, Handle};
use crate::stream::actor::GoAway;
use crate::stream::pipe::Budget;
use crate::telemetry::compatible::{Compatible, Kind};
use crate::telemetry::metrics;
use crate::text::words::Vocabulary;
use crate::units::SAMPLES_PER_FRAME;

/// Kept free of the budget for what happens outside the engine: reading, decoding, sending.
const MARGIN: Duration = Duration::from_millis(50);
/// How long a live chunk may wait for its batch to grow while files use the engine.
const LINGER: Duration = Duration::from_millis(30);

/// The server could not be started, or ended because its engine did.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The engine's thread could not be started.
    #[error("the engine thread could not be started")]
    Thread(#[source] std::io::Error),
    /// The address could not be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The metrics recorder could not be made.
    #[error("metrics could not be set up")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
    /// The HTTP clients for remote files and callbacks could not be made.
    #[error("the HTTP client could not be set up")]
    Fetcher(#[source] reqwest::Error),
    /// Certificate or key cannot be used.
    #[error("the TLS certificate or key cannot be used: {0}")]
    Tls(String),
    /// Serving failed.
    #[error("serving failed")]
    Serve(#[source] std::io::Error),
    /// The engine died while serving.
    #[error("the engine died")]
    EngineDied,
}

/// Starts for every device the engine's thread and the scheduler over it.
pub fn start_engine(opened: Opened, config: &Config) -> Result<(Handle, Arc<Served>), AppError> {
    let Opened { devices, mut served, .. } = opened;
    if let Some(aliases) = &config.models.aliases {
        served.aliases.clone_from(aliases);
        served.well_known = false;
    }
    let default_context = served.live.unwrap_or(served.file);
    let mut started = Vec::with_capacity(devices.len());
    for (number, Device { engine, cost, max_batch }) in devices.into_iter().enumerate() {
        let rules = rules(config, &served, engine.slots(), max_batch);
        let (worker, results) = Worker::start(engine).map_err(AppError::Thread)?;
        let core = Core::new(rules, cost, Instant::now());
        started.push(scheduler::actor::start(core, worker, results, number, default_context));
    }
    Ok((Handle::new(started), Arc::new(served)))
}

/// What rules the scheduler of an engine with so many slots and steps of so many chunks.
fn rules(config: &Config, served: &Served, slots: u32, max_batch: usize) -> Rules {
    Rules {
        slots,
        max_batch,
        budget: config.engine.budget,
        file_step: config.files.step,
        max_files: config.files.at_once,
        dispatch: Dispatch {
            share: config.files.share,
            patience: config.files.patience,
            linger: LINGER,
            margin: MARGIN.min(config.engine.budget / 4),
        },
        queue: config.stream.credits.max(config.files.windows_in_flight),
        periods: (0..served.contexts.len()).map(|index| period(served.right(index))).collect(),
        weights: config.auth.keys.iter().map(|key| key.weight).collect(),
    }
}

/// What `config` says about the engine.
pub fn choice(config: &Config, context: Option<[i32; 2]>) -> Choice {
    Choice {
        model: config.models.default.clone(),
        context,
        look_ahead: config.models.look_ahead,
        slots: config.engine.slots,
        max_batch: config.engine.max_batch,
        gpu: config.gpu.clone(),
        lm: match &config.models.lm {
            Some(name) => LmChoice::Named(name.clone()),
            None => LmChoice::Own,
        },
        lm_choices: config.models.lm_choices.clone(),
        lm_weight: config.models.lm_weight,
        threads: config.engine.threads.unwrap_or(0),
        groups: config.engine.groups,
    }
}

fn keys(config: &Config) -> Keys {
    let may = |key: &Key, scope: Scope, most: Option<u32>| match most {
        _ if !key.scopes.contains(&scope) => May::Never,
        Some(most) => May::AtMost(usize::try_from(most).unwrap_or(usize::MAX)),
        None => May::Freely,
    };
    let keys = config.auth.keys.iter().filter_map(|key| {
        let may = [may(key, Scope::Live, key.streams), may(key, Scope::Files, key.files)];
        Some((key.hash()?, may))
    });
    Keys::new(keys.collect())
}

fn period(right: u32) -> Duration {
    Duration::from_micros((u64::from(right) + 1) * SAMPLES_PER_FRAME * 1_000_000 / 16_000)
}

/// Serves until a signal, then drains. Prints `listening on http://ADDR:PORT` to `out` once ready.
pub async fn serve(config: Config, opened: Opened, out: impl Write) -> Result<(), AppError> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).map_err(AppError::Serve)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(AppError::Serve)?;
    let signalled = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    serve_until(config, opened, out, signalled).await
}

/// As [`serve`], until `stop` is ready.
pub async fn serve_until(config: Config, opened: Opened, mut out: impl Write, stop: impl Future<Output = ()>) -> Result<(), AppError> {
    let prometheus = metrics::install()?;
    let (scheduler, served) = start_engine(opened, &config)?;
    let state = web::Data::new(State {
        served,
        scheduler: scheduler.clone(),
        metrics: Arc::new(Compatible::default()),
        prometheus: prometheus.clone(),
        fetcher: Fetcher::new(&config.fetch).map_err(AppError::Fetcher)?,
        callbacks: Arc::new(Queue::new(&config.callback)),
        deliverer: Deliverer::new(&config.callback, config.fetch.allow_private).map_err(AppError::Fetcher)?,
        budget: Arc::new(Budget::new(config.stream.undecoded_budget_bytes)),
        health: Arc::new(Health::default()),
        keys: keys(&config),
        streams: Arc::new(DashMap::new()),
        draining: AtomicBool::new(false),
        config,
    });
    let (server, address) = bind(&state)?;
    let handle = server.handle();
    let serving = actix_web::rt::spawn(server);
    let metrics_server = bind_metrics(&state)?;
    let metrics_handle = metrics_server.as_ref().map(actix_web::dev::Server::handle);
    let serving_metrics = metrics_server.map(actix_web::rt::spawn);
    if let Err(error) = state.callbacks.resume().await {
        tracing::error!(error = ?error, "callbacks of an earlier run are not taken up, and none are accepted");
    }
    let (stop_callbacks, callbacks) = run_callbacks(&state);
    let scheme = if state.config.server.tls_cert.is_some() { "https" } else { "http" };
    // Standard output may be closed by whoever started us; that is no reason not to serve.
    writeln!(out, "listening on {scheme}://{address}").and_then(|()| out.flush()).ok();
    let ended = wait(&scheduler, &prometheus, stop).await;
    drain(&state, &handle, ended.is_ok()).await;
    // What is not delivered by now is on disk.
    stop_callbacks.send(()).ok();
    if callbacks.join().is_err() {
        tracing::error!("the thread of callbacks panicked");
    }
    state.callbacks.close().await;
    if let Some(handle) = metrics_handle {
        handle.stop(false).await;
    }
    for serving in std::iter::once(serving).chain(serving_metrics) {
        serving
            .await
            .map_err(|error| AppError::Serve(std::io::Error::other(error)))?
            .map_err(AppError::Serve)?;
    }
    ended
}

/// Works on what was accepted with a callback and delivers it, on a thread of its own, until the sender is used or dropped.
fn run_callbacks(state: &web::Data<State>) -> (oneshot::Sender<()>, Arbiter) {
    let (arbiter, state) = (Arbiter::new(), state.clone());
    let (stop, stopped) = oneshot::channel();
    arbiter.spawn_fn(move || {
        actix_web::rt::spawn(async move {
            let (queue, deliverer) = (Arc::clone(&state.callbacks), state.deliverer.clone());
            let shared = state.clone();
            let work = move |job| api::callback::work(shared.clone(), job);
            let stopped = async {
                stopped.await.ok();
            };
            callback::run(queue, deliverer, &state.config.callback, work, stopped).await;
            Arbiter::current().stop();
        });
    });
    (stop, arbiter)
}

fn bind(state: &web::Data<State>) -> Result<(actix_web::dev::Server, SocketAddr), AppError> {
    let config = &state.config.server;
    let named = format!("{}:{}", config.host, config.port);
    let cannot = |source| AppError::Listen {
        address: named.clone(),
        source,
    };
    let listener = TcpListener::bind(&named).map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    let shared = state.clone();
    let (timeout, buffer) = (state.config.stream.tcp_user_timeout, state.config.stream.receive_buffer_bytes);
    let server = HttpServer::new(move || {
        let base = shared.config.server.base_url.clone();
        App::new()
            .app_data(shared.clone())
            .wrap(from_fn(middleware::around))
            .configure(|routes| api::routes(routes, &base))
    })
    .workers(
        config
            .workers
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)),
    )
    .on_connect(move |connection, _: &mut Extensions| tune(connection, timeout, buffer))
    .max_connections(state.config.limits.connections)
    .client_request_timeout(state.config.limits.request_timeout)
    .shutdown_timeout(5)
    .disable_signals();
    let server = match (&config.tls_cert, &config.tls_key) {
        (Some(certificate), Some(key)) => server.listen_rustls_0_23(listener, tls_config(certificate, key)?),
        _ => server.listen(listener),
    };
    Ok((server.map_err(cannot)?.run(), address))
}

/// The second listener, for metrics alone, unless it is switched off or its port is taken: the main listener answers the same.
fn bind_metrics(state: &web::Data<State>) -> Result<Option<actix_web::dev::Server>, AppError> {
    let config = &state.config.metrics;
    if !config.enabled {
        return Ok(None);
    }
    let named = format!("{}:{}", config.host, config.port);
    let cannot = |source| AppError::Listen {
        address: named.clone(),
        source,
    };
    let shared = state.clone();
    let server = HttpServer::new(move || {
        App::new()
            .app_data(shared.clone())
            .wrap(from_fn(middleware::around))
            .configure(api::metrics_routes)
    });
    match server.workers(1).disable_signals().bind(&named) {
        Ok(server) => Ok(Some(server.run())),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            tracing::warn!(address = %named, "something else listens there: /metrics is on the main listener alone");
            Ok(None)
        }
        Err(error) => Err(cannot(error)),
    }
}

/// A connection whose peer acknowledges nothing for this long is ended by the kernel: the only thing that frees a
/// WebSocket actor whose client has stopped reading. The kernel holds about `buffer` bytes of it at most, so that a ping is not
/// behind minutes of audio.
fn tune(connection: &dyn Any, timeout: Duration, buffer: usize) {
    use actix_web::rt::net::TcpStream as Plain;
    let plain: Option<&Plain> = connection.downcast_ref::<TcpStream>().or_else(|| {
        let tls = connection.downcast_ref::<actix_tls::accept::rustls_0_23::TlsStream<TcpStream>>();
        tls.map(|stream| stream.get_ref().0)
    });
    let Some(stream) = plain else { return };
    let socket = socket2::SockRef::from(stream);
    if let Err(error) = socket.set_tcp_user_timeout(Some(timeout)) {
        tracing::warn!(%error, "the TCP user timeout could not be set");
    }
    if let Err(error) = socket.set_recv_buffer_size(buffer) {
        tracing::warn!(%error, "the receive buffer could not be set");
    }
}

fn tls_config(certificate: &std::path::Path, key: &std::path::Path) -> Result<rustls::ServerConfig, AppError> {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let tell = |error: &dyn std::fmt::Display| AppError::Tls(error.to_string());
    let chain = CertificateDer::pem_file_iter(certificate)
        .map_err(|e| tell(&e))?
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| tell(&e))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|e| tell(&e))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| tell(&e))?;
    builder.with_no_client_auth().with_single_cert(chain, key).map_err(|e| tell(&e))
}

/// Waits until the server shall stop, or for the engine's death.
async fn wait(
    scheduler: &Handle,
    prometheus: &metrics_exporter_prometheus::PrometheusHandle,
    stop: impl Future<Output = ()>,
) -> Result<(), AppError> {
    let mut stop = std::pin::pin!(stop);
    let mut every_second = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            () = &mut stop => return Ok(()),
            _ = every_second.tick() => {
                prometheus.run_upkeep();
                if !scheduler.is_running() {
                    return Err(AppError::EngineDied);
                }
            }
        }
    }
}

/// Takes no new work; waits for what runs, if it can still end well; then ends what is left.
async fn drain(state: &web::Data<State>, server: &ServerHandle, patient: bool) {
    state.draining.store(true, Ordering::Relaxed);
    let deadline = tokio::time::Instant::now()
        + if patient {
            state.config.server.drain
        } else {
            Duration::from_secs(1)
        };
    let busy = || state.metrics.count(Kind::Batch) + state.metrics.count(Kind::Stream) > 0;
    while (busy() || state.callbacks.pending() > 0) && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for stream in state.streams.iter() {
        // A stream that takes no message is stopping already.
        stream.value().try_send(GoAway).ok();
    }
    let last = tokio::time::Instant::now() + Duration::from_secs(2);
    while busy() && tokio::time::Instant::now() < last {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.stop(false).await;
}

impl Vocabulary for Tokenizer {
    fn piece(&self, id: u32) -> Option<&str> {
        Tokenizer::piece(self, id)
    }

    fn starts_word(&self, id: u32) -> bool {
        Tokenizer::starts_word(self, id)
    }

    fn is_special(&self, id: u32) -> bool {
        Tokenizer::is_special(self, id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_have_a_timeout_and_a_bounded_buffer() -> std::io::Result<()> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let _client = TcpStream::connect(listener.local_addr()?).await?;
        let (connection, _) = listener.accept().await?;
        tune(&connection, Duration::from_secs(7), 16_384);
        let socket = socket2::SockRef::from(&connection);
        assert_eq!(socket.tcp_user_timeout()?, Some(Duration::from_secs(7)));
        // Linux takes twice the size, for what it keeps beside the bytes; without a limit it begins with 128 KiB.
        assert!((16_384..=32_768).contains(&socket.recv_buffer_size()?));
        Ok(())
    }
}
