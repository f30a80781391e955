//! What the tests over real sockets share: the real server with a scripted engine, audio, and clients.
//!
//! The server runs in the test's process on a free port, on a thread of its own; [`Server::child`] puts it into a process
//! of its own, for tests that look at its memory or kill it.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::let_underscore_must_use,
    reason = "helpers of tests; each test file uses some of them"
)]

pub mod audio;
pub mod client;
pub mod raw;
pub mod receiver;
pub mod schema;

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hark::app::{self, AppError};
use hark::config::Config;
use hark::engine::cost::{BUCKETS, CostTable};
use hark::engine::scripted::ScriptedEngine;
use hark::engine::served::Served;
use hark::engine::{Device, Engine, Opened};
use hark::model::tokenizer::{Tokenizer, TokenizerSettings};
use serde_json::Value;
use uuid::Uuid;

/// Frames between two words of the scripted engine (320 ms).
pub const EVERY: u32 = 4;
/// Words that the scripted engine knows; they come in order, so that none repeats for 160 s.
pub const WORDS: u32 = 500;
/// Id of the toy model.
pub const MODEL: Uuid = Uuid::from_u128(0x2187e11a_3532_4498_b076_81fa530bdd49);

/// The plain form of the word that the scripted engine says at a loud frame divisible by [`EVERY`].
pub fn word_at(frame: u32) -> String {
    format!("word{}", 1 + (frame / EVERY) % WORDS)
}

/// A vocabulary in which every third word is capitalised and ends a sentence.
pub fn vocabulary() -> Tokenizer {
    let piece = |id: u32| match id {
        0 => "<unk>".to_owned(),
        id if id.is_multiple_of(3) => format!("\u{2581}Word{id}."),
        id => format!("\u{2581}word{id}"),
    };
    Tokenizer::new((0..=WORDS).map(piece).collect(), TokenizerSettings::default()).unwrap()
}

/// A vocabulary of these words, in the order in which the scripted engine says them.
fn saying(words: &str) -> Tokenizer {
    let words = words.split(' ').map(|word| format!("\u{2581}{word}"));
    Tokenizer::new(
        std::iter::once("<unk>".to_owned()).chain(words).collect(),
        TokenizerSettings::default(),
    )
    .unwrap()
}

/// The toy model's public face; chunks of 160 ms.
pub fn served() -> Served {
    Served {
        name: "general-toy".into(),
        aliases: vec!["toy".into()],
        well_known: true,
        canonical_name: "toy-general".into(),
        arch: "toy".into(),
        version: "2026-01-01.1".into(),
        uuid: MODEL,
        languages: vec!["en".into(), "en-US".into()],
        contexts: vec![[70, 1]],
        live: Some(0),
        file: 0,
        files: true,
        formatted_output: false,
        vocabulary: Arc::new(vocabulary()),
        favours: false,
        language_models: vec!["orders".into()],
    }
}

/// How a test's server differs from the usual one.
pub struct Setup {
    config: String,
    slots: u32,
    step: Duration,
    engine: Option<Box<dyn Engine>>,
    devices: usize,
    favours: bool,
    says: Option<&'static str>,
    model: fn(&mut Served),
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            config: String::new(),
            slots: 64,
            step: Duration::ZERO,
            engine: None,
            devices: 1,
            favours: false,
            says: None,
            model: |_| {},
        }
    }
}

impl Setup {
    /// Configuration as in our file, laid over the defaults; one section may not be written twice.
    pub fn config(mut self, toml: &str) -> Self {
        self.config.push_str(toml);
        self.config.push('\n');
        self
    }

    /// Places for streams.
    pub fn slots(mut self, slots: u32) -> Self {
        self.slots = slots;
        self
    }

    /// Time that the scripted engine takes for a step.
    pub fn step(mut self, step: Duration) -> Self {
        self.step = step;
        self
    }

    /// Another engine than the scripted one.
    pub fn engine(mut self, engine: impl Engine + 'static) -> Self {
        self.slots = engine.slots();
        self.engine = Some(Box::new(engine));
        self
    }

    /// The engine is said to favour terms.
    pub fn favours(mut self) -> Self {
        self.favours = true;
        self
    }

    /// The engine says these words in order, the first at the beginning, where there is sound at its time ([`EVERY`]).
    pub fn says(mut self, words: &'static str) -> Self {
        self.says = Some(words);
        self
    }

    /// What is different about the model's public face.
    pub fn model(mut self, change: fn(&mut Served)) -> Self {
        self.model = change;
        self
    }

    /// So many devices, each with a scripted engine and as many places.
    pub fn devices(mut self, devices: usize) -> Self {
        self.devices = devices;
        self
    }

    /// Starts the server and waits until it listens.
    pub fn start(self) -> Server {
        let config = parsed(&self.config);
        // A scripted step takes the same time for any number of chunks; what surrounds it costs a little for each.
        let cost = BUCKETS.map(|chunks| self.step.as_secs_f64() + 1e-4 + 2e-5 * chunks as f64);
        let words = self.says.map_or(WORDS, |words| words.split(' ').count() as u32);
        let engine = self
            .engine
            .unwrap_or_else(|| Box::new(ScriptedEngine::new(self.slots, EVERY, words, self.step)));
        let device = |engine| Device {
            engine,
            cost: CostTable::from_rows(vec![cost]),
            max_batch: 64,
        };
        let mut devices = vec![device(engine)];
        for _ in 1..self.devices {
            devices.push(device(Box::new(ScriptedEngine::new(self.slots, EVERY, words, self.step))));
        }
        let mut served = Served {
            favours: self.favours,
            vocabulary: Arc::new(self.says.map_or_else(vocabulary, saying)),
            ..served()
        };
        (self.model)(&mut served);
        let opened = Opened { devices, served, lm: None };
        let (lines, listening) = channel();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let stop = async move {
                if stopped.await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            actix_web::rt::System::new().block_on(app::serve_until(
                config,
                opened,
                Lines {
                    parts: Vec::new(),
                    to: lines,
                },
                stop,
            ))
        });
        let line = listening.recv_timeout(Duration::from_secs(20));
        let Ok(line) = line else {
            panic!("the server did not start: {:?}", thread.join())
        };
        Server {
            address: address(&line),
            stop: Some(stop),
            thread: Some(thread),
            child: None,
        }
    }

    /// Starts the server in a process of its own. Not for other engines than the scripted one, nor for another model.
    pub fn child(self) -> Server {
        assert!(self.engine.is_none() && self.says.is_none());
        // The server of this process would do it; here it is in another one.
        rustls::crypto::ring::default_provider().install_default().ok();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "server_in_a_process_of_its_own", "--ignored", "--nocapture"])
            .env("TEST_SERVER_CONFIG", &self.config)
            .env("TEST_SERVER_SLOTS", self.slots.to_string())
            .env("TEST_SERVER_STEP_MS", self.step.as_millis().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines
            .map_while(Result::ok)
            .find(|line| line.contains("listening on"))
            .expect("the server did not start");
        Server {
            address: address(&line),
            stop: None,
            thread: None,
            child: Some(child),
        }
    }
}

/// The other side of [`Setup::child`]: every test file that uses it has an ignored test that calls this. It serves until
/// its standard input is closed.
pub fn serve_as_child() {
    let Ok(config) = std::env::var("TEST_SERVER_CONFIG") else { return };
    let number = |name: &str| std::env::var(name).unwrap().parse::<u32>().unwrap();
    let step = Duration::from_millis(number("TEST_SERVER_STEP_MS").into());
    let server = Setup::default()
        .config(&config)
        .slots(number("TEST_SERVER_SLOTS"))
        .step(step)
        .start();
    println!("listening on http://{}", server.address);
    std::io::stdin().lines().for_each(drop);
    server.stop().unwrap();
}

fn parsed(toml: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hark.toml");
    std::fs::write(&path, toml).unwrap();
    let (mut config, warnings) = Config::load(Some(path.as_path()), std::iter::empty()).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    config.server.port = 0;
    config.server.workers.get_or_insert(2);
    if !toml.contains("drain") {
        config.server.drain = Duration::ZERO;
    }
    // Many servers run at once; only one could have the port.
    config.metrics.enabled &= toml.contains("metrics");
    // Not that of the user who runs the tests; it is made only when it is needed.
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join(Uuid::new_v4().to_string());
    config.callback.database.get_or_insert_with(|| scratch.join("callbacks.db"));
    config
}

fn address(line: &str) -> SocketAddr {
    let url = line.split_once("listening on ").and_then(|(_, url)| url.split_once("://"));
    let (_, text) = url.unwrap_or_else(|| panic!("not an address: {line}"));
    text.trim().parse().unwrap()
}

/// Hands on whole lines; one `writeln!` may come in parts.
struct Lines {
    parts: Vec<u8>,
    to: std::sync::mpsc::Sender<String>,
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.parts.extend_from_slice(bytes);
        if self.parts.ends_with(b"\n") {
            self.to
                .send(String::from_utf8_lossy(&std::mem::take(&mut self.parts)).into_owned())
                .ok();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A running server; stopped when dropped.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), AppError>>>,
    child: Option<Child>,
}

impl Server {
    /// The usual server.
    pub fn start() -> Self {
        Setup::default().start()
    }

    /// `http://ADDRESS` and the path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// `ws://ADDRESS/v1/listen?QUERY`.
    pub fn live_url(&self, query: &str) -> String {
        format!("ws://{}/v1/listen?{query}", self.address)
    }

    /// Asks it to stop, without waiting.
    pub fn ask_to_stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            stop.send(()).ok();
        }
    }

    /// Waits for its end, which somebody has asked for or the engine's death has caused.
    pub fn join(mut self) -> Result<(), AppError> {
        self.thread.take().unwrap().join().expect("the server panicked")
    }

    /// Stops it and says how it ended.
    pub fn stop(mut self) -> Result<(), AppError> {
        self.ask_to_stop();
        self.join()
    }

    /// Kills a server in a process of its own, as the kernel would.
    pub fn kill(mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Text of a page.
    pub async fn get(&self, path: &str) -> String {
        reqwest::get(self.url(path)).await.unwrap().text().await.unwrap()
    }

    /// JSON of a page.
    pub async fn get_json(&self, path: &str) -> Value {
        serde_json::from_str(&self.get(path).await).unwrap()
    }

    /// Live streams and files that are being worked on.
    pub async fn active(&self) -> (u64, u64) {
        let status = self.get_json("/v1/status").await;
        (
            status["active_stream_requests"].as_u64().unwrap(),
            status["active_batch_requests"].as_u64().unwrap(),
        )
    }

    /// Waits until nothing is being worked on.
    pub async fn idle_within(&self, limit: Duration) {
        self.active_within((0, 0), limit).await;
    }

    /// Waits until exactly that many live streams and no files are left.
    pub async fn idle_but(&self, streams: u64) {
        self.active_within((streams, 0), Duration::from_secs(10)).await;
    }

    async fn active_within(&self, wanted: (u64, u64), limit: Duration) {
        let began = Instant::now();
        while self.active().await != wanted {
            assert!(began.elapsed() < limit, "active after {limit:?}: {:?}", self.active().await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a value of the metrics page is as wanted.
    pub async fn metric_becomes(&self, name: &str, wanted: f64) {
        let began = Instant::now();
        loop {
            let page = self.get("/metrics").await;
            let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            if line.is_some_and(|value| value.parse::<f64>() == Ok(wanted)) {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(10), "{name} is {line:?} and not {wanted}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A value of the metrics page by the exact text before it.
    pub async fn metric(&self, name: &str) -> f64 {
        let page = self.get("/metrics").await;
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in\n{page}")).parse().unwrap()
    }

    /// Open sockets of a server in a process of its own.
    pub fn sockets(&self) -> usize {
        let files = std::fs::read_dir(format!("/proc/{}/fd", self.child.as_ref().unwrap().id())).unwrap();
        files
            .filter(|file| std::fs::read_link(file.as_ref().unwrap().path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:")))
            .count()
    }

    /// Resident bytes of a server in a process of its own: now, and at most so far.
    pub fn resident(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.as_ref().unwrap().id())).unwrap();
        let of = |key: &str| {
            let line = status.lines().find(|line| line.starts_with(key)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
        };
        (of("VmRSS:"), of("VmHWM:"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ask_to_stop();
        if let Some(mut child) = self.child.take() {
            drop(child.stdin.take());
            child.kill().ok();
            child.wait().ok();
        }
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            if !std::thread::panicking() {
                assert!(ended.is_ok(), "the server panicked");
            }
        }
    }
}

/// Held by tests that measure time: no test that loads the machine runs meanwhile, in any process.
pub fn quiet() -> File {
    let lock = lock_file();
    lock.lock().unwrap();
    lock
}

/// Held by tests that load the machine.
pub fn busy() -> File {
    let lock = lock_file();
    lock.lock_shared().unwrap();
    lock
}

fn lock_file() -> File {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("machine.lock");
    File::options().create(true).truncate(false).write(true).open(path).unwrap()
}

/// The shortest of several measurements: what else the machine does only adds to the server's own time.
pub fn quickest(values: &[Duration]) -> Duration {
    values.iter().copied().min().unwrap()
}

/// The middle one of several measurements, the upper one of two.
pub fn median(values: &[Duration]) -> Duration {
    let mut values = values.to_vec();
    values.sort();
    values[values.len() / 2]
}

/// The id that a response carries in its header.
pub fn request_id(headers: &reqwest::header::HeaderMap) -> String {
    let id = headers.get("dg-request-id").expect("no dg-request-id").to_str().unwrap();
    id.parse::<Uuid>().expect("the request id is no UUID");
    id.to_owned()
}

/// A file of `tests/fixtures/audio`.
pub fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/audio").join(name)).unwrap()
}
