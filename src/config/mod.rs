//! The configuration: built-in defaults, then the files, then the environment.
//!
//! What it does: types for every key, loading, `${NAME}` substitution, validation and printing. Our own file (`config/default.toml`
//! describes every key) must not contain a key that does not exist; the compatible `api.toml` and `engine.toml` are
//! recognised by their keys and translated by [`compat`], with warnings for what has no effect here. What it does not do: read
//! the command line or keep global state. Who calls it: the application at start, `hark check-config`.
//!
//! Environment: `HARK_SECTION__KEY=value`, for example `HARK_SERVER__PORT=9000`. Variables without `__` are not keys
//! and are left to others; `auth.keys` can only be set in a file.

pub mod compat;
mod defaults;
mod duration;
pub mod limits;
mod overlay;
mod validate;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use limits::Limits;
use overlay::Layer;

/// Largest configuration file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// What stands in place of a secret when the configuration is printed.
const HIDDEN: &str = "<hidden>";

/// The whole configuration. Every section and key has a default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The HTTP and WebSocket listener.
    pub server: Server,
    /// A listener for `/metrics` alone.
    pub metrics: Metrics,
    /// Who may use the server.
    pub auth: Auth,
    /// The models.
    pub models: Models,
    /// What computes the models.
    pub engine: Engine,
    /// The graphics card.
    pub gpu: Gpu,
    /// Live streams.
    pub stream: Stream,
    /// Recorded files.
    pub files: Files,
    /// How words are written.
    pub text: Text,
    /// Outgoing requests for remote files.
    pub fetch: Fetch,
    /// Results that are delivered to an address.
    pub callback: Callback,
    /// Limits on requests.
    pub limits: Limits,
}

/// `[server]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Address or name to listen on.
    pub host: String,
    /// TCP port; 0 takes a free one.
    pub port: u16,
    /// Path prefix of the API: empty, or `/` and text without a slash at the end.
    pub base_url: String,
    /// HTTP worker threads; none: one per core.
    pub workers: Option<usize>,
    /// PEM file of the certificate chain; with `tls_key` it switches TLS on.
    pub tls_cert: Option<PathBuf>,
    /// PEM file of the private key.
    pub tls_key: Option<PathBuf>,
    /// How long running streams and files may go on after the signal to stop.
    #[serde(with = "duration")]
    pub drain: Duration,
}

/// `[metrics]`; the main listener always answers `/metrics` too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// Whether the separate listener is opened.
    pub enabled: bool,
    /// Its address.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
}

/// `[auth]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// Whether keys are needed.
    pub mode: AuthMode,
    /// The keys, for mode `keys`.
    pub keys: Vec<Key>,
}

/// Whether keys are needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// No keys, and therefore a loopback address only.
    #[default]
    Open,
    /// No keys on any address: somebody else guards the door, and says so here.
    None,
    /// A key from the list.
    Keys,
}

/// `[[auth.keys]]`
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// What logs and metrics call the holder.
    pub name: String,
    /// SHA-256 of the key, in hexadecimal; the key itself is not stored.
    pub sha256: String,
    /// Its part of the time that files get, relative to other keys.
    #[serde(default = "one")]
    pub weight: f64,
    /// Live streams that it may have open at once.
    #[serde(default)]
    pub streams: Option<u32>,
    /// Recorded files that it may have in work at once.
    #[serde(default)]
    pub files: Option<u32>,
    /// What it may be used for.
    #[serde(default = "all")]
    pub scopes: Vec<Scope>,
}

/// What a key may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Live streams.
    Live,
    /// Recorded files.
    Files,
}

fn one() -> f64 {
    1.0
}

fn all() -> Vec<Scope> {
    vec![Scope::Live, Scope::Files]
}

/// `[models]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Models {
    /// Folder with one folder per model.
    pub dir: PathBuf,
    /// Model to serve: its name, an alias or the path of its folder; none: the first by name.
    pub default: Option<String>,
    /// Names that requests may use for the model beside its own name and id; none: those of its `model.toml`, and every model name of the
    /// compatible product.
    pub aliases: Option<Vec<String>>,
    /// Largest look-ahead in frames of 80 ms that live streams use, where a model offers several; none: the model's own default.
    pub look_ahead: Option<u32>,
    /// Language model that helps decoding, in place of the model's own: the name it was built with.
    pub lm: Option<String>,
    /// Names of the language models that requests may choose.
    pub lm_choices: Vec<String>,
    /// Factor of the natural log-probabilities of these; none: that of the model's own, or 0.5.
    pub lm_weight: Option<f32>,
}

/// `[engine]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Engine {
    /// CPU threads for the model; none: one per core.
    pub threads: Option<usize>,
    /// Groups that the threads are parted into; each steps streams of its own, with a scheduler of its own.
    pub groups: usize,
    /// Streams whose state is held at once; admission may stop earlier. None: [`CPU_SLOTS`] on the processor, as many as the memory
    /// holds on a GPU.
    pub slots: Option<usize>,
    /// Streams computed in one step at most; none: [`CPU_BATCH`] on the processor, [`GPU_BATCH`] on a GPU.
    pub max_batch: Option<usize>,
    /// Time from the last byte of a live chunk to its result; streams are refused that would break it for others.
    #[serde(with = "duration")]
    pub budget: Duration,
    /// Near the capacity, new streams get the next longer chunks that the model offers: more of them fit, their words come later and may
    /// differ.
    pub longer_chunks: bool,
}

/// Slots on the processor where none are configured.
pub const CPU_SLOTS: usize = 256;
/// Streams of a step on the processor where no number is configured.
pub const CPU_BATCH: usize = 64;
/// Streams of a step on a GPU where no number is configured.
pub const GPU_BATCH: usize = 1_024;

/// `[gpu]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gpu {
    /// Whether a GPU is used.
    pub mode: GpuMode,
    /// Numbers of the devices; each has a copy of the model and a scheduler of its own.
    pub devices: Vec<usize>,
    /// Path of the driver library; none: the loader finds `libcuda`.
    pub driver: Option<PathBuf>,
    /// Path of the run-time compiler; none: the loader finds `libnvrtc`.
    pub nvrtc: Option<PathBuf>,
    /// Folder for compiled kernels; none: `hark` in the user's cache folder.
    pub cache: Option<PathBuf>,
}

/// Whether a GPU is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GpuMode {
    /// If there is one that can run the model; else the processor.
    #[default]
    Auto,
    /// Never.
    Never,
    /// Or the program does not start.
    Require,
}

/// `[stream]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stream {
    /// Largest WebSocket message.
    pub max_message_bytes: usize,
    /// Bytes received and not yet decoded, over all streams of the process.
    pub undecoded_budget_bytes: usize,
    /// Chunks of one stream that may be on their way through the scheduler.
    pub credits: usize,
    /// Results that may wait for a slow reader before its stream is ended.
    pub result_backlog: usize,
    /// Longest silence on the line: no message of any kind.
    #[serde(with = "duration")]
    pub idle_timeout: Duration,
    /// Longest time until the first audio, while other messages arrive.
    #[serde(with = "duration")]
    pub no_audio_timeout: Duration,
    /// Audio between interim results.
    #[serde(with = "duration")]
    pub interim_step: Duration,
    /// Length from which a segment is closed at the next pause between words.
    #[serde(with = "duration")]
    pub segment_soft: Duration,
    /// Length at which a segment is closed in any case.
    #[serde(with = "duration")]
    pub segment_hard: Duration,
    /// How long the peer may leave sent bytes unacknowledged, and a large message may wait for room in the budget.
    #[serde(with = "duration")]
    pub tcp_user_timeout: Duration,
    /// Bytes that the kernel may hold of a connection before they are read.
    pub receive_buffer_bytes: usize,
}

/// `[files]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Files {
    /// Largest upload or remote file.
    pub max_upload_bytes: u64,
    /// Longest audio of one file.
    #[serde(with = "duration")]
    pub max_duration: Duration,
    /// Longest time for one file, without the time that its bytes take to come.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// Share of the engine kept for files while live streams could use all of it.
    pub share: f64,
    /// How long a file may wait for a step before it is owed one whatever files had; a live chunk at risk still goes first.
    #[serde(with = "duration")]
    pub patience: Duration,
    /// Longest step that windows of files may form while live streams are open: a live chunk may have to wait for it.
    #[serde(with = "duration")]
    pub step: Duration,
    /// Files worked on at once, each channel counted; more are refused.
    pub at_once: usize,
    /// Windows of one file that may be on their way through the scheduler.
    pub windows_in_flight: usize,
}

/// `[text]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Text {
    /// What stands in the place of what is redacted.
    pub redact_style: RedactStyle,
}

/// What stands in the place of what is redacted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RedactStyle {
    /// One token with the name and number of what it is.
    #[default]
    Tokens,
    /// An asterisk for each word.
    Asterisks,
}

/// `[fetch]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fetch {
    /// Whether private, loopback, link-local and like addresses may be asked.
    pub allow_private: bool,
    /// Longest time to connect.
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
    /// Longest time waited for the other server, redirects and all bytes of one file together.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// Redirects followed.
    pub max_redirects: usize,
}

/// `[callback]`
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Callback {
    /// File of the database that keeps what is not delivered yet; none: `hark/callbacks.db` in the user's state folder.
    pub database: Option<PathBuf>,
    /// Longest time to connect.
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
    /// Longest time from the connection to the head of the answer.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// Time from a failed attempt to the next.
    #[serde(with = "duration")]
    pub retry_interval: Duration,
    /// Attempts after the first.
    pub retries: u32,
    /// Accepted files worked on at once; the others wait.
    pub at_once: usize,
    /// Files that may be accepted and not delivered; more are refused.
    pub max_pending: u64,
    /// Bytes on disk that these may have.
    pub max_bytes: u64,
    /// What the header `dg-token` of deliveries says; none: there is no such header.
    pub token: Option<String>,
}

impl fmt::Debug for Callback {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callback").field("database", &self.database).finish_non_exhaustive()
    }
}

impl Key {
    /// The hash as bytes; none if it is malformed, which validation refuses.
    pub fn hash(&self) -> Option<[u8; 32]> {
        let (pairs, rest) = self.sha256.as_bytes().as_chunks::<2>();
        if !rest.is_empty() || !self.sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let bytes: Option<Vec<u8>> = pairs
            .iter()
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect();
        bytes?.try_into().ok()
    }
}

impl fmt::Debug for Key {
    /// Without the hash.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A key of a compatible file that is unknown or without effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The key, with its sections.
    pub key: String,
    /// Why it does nothing.
    pub reason: &'static str,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.reason)
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is too long to be a configuration.
    #[error("{} is longer than {MAX_FILE_BYTES} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// The file is no TOML, or has a key that does not exist or a value of the wrong type.
    #[error("{origin}: {reason}")]
    Parse {
        /// The file or the environment variable.
        origin: String,
        /// What the parser says, with the place and the key.
        reason: String,
    },
    /// A value names an environment variable that is not set.
    #[error("{key} refers to the environment variable {name}, which is not set")]
    UnsetVariable {
        /// The key with its sections.
        key: String,
        /// The variable.
        name: String,
    },
    /// A value outside its range, or at odds with another.
    #[error("{key}: {reason}")]
    Invalid {
        /// The key with its sections.
        key: &'static str,
        /// What is wrong and what is allowed.
        reason: String,
    },
}

impl Config {
    /// Reads the files, lays them over each other in this order and the environment over all, and validates the result. An
    /// `engine.toml` lies below the others wherever it stands: its address was for the other half of the original alone. The
    /// warnings concern keys of compatible files.
    ///
    /// # Errors
    /// Any [`ConfigError`]; the message names the file, the key or the variable.
    pub fn load<'a>(
        paths: impl IntoIterator<Item = &'a Path>,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<(Config, Vec<Warning>), ConfigError> {
        let env: BTreeMap<String, String> = env.collect();
        let layers = paths.into_iter().map(|path| overlay::file(path, &env));
        let mut layers: Vec<Layer> = layers.collect::<Result<_, _>>()?;
        layers.sort_by_key(|layer| !layer.of_engine);
        let mut whole = Layer::default();
        for layer in layers {
            whole.lay(layer);
        }
        overlay::environment(&mut whole.table, &env)?;
        let config = overlay::typed(whole.table.clone(), "configuration")?;
        config.validate().map_err(|error| whole.named(error, &env))?;
        Ok((config, whole.warnings))
    }

    /// Checks every range and the keys that depend on each other. To be called again after changes by the command line.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for the first key that is wrong.
    pub fn validate(&self) -> Result<(), ConfigError> {
        validate::validate(self)
    }

    /// The effective configuration as a file of ours, with the hashes of keys and the token of callbacks hidden.
    ///
    /// # Errors
    /// [`ConfigError::Parse`] if it cannot be written as TOML.
    pub fn to_toml_redacted(&self) -> Result<String, ConfigError> {
        let mut shown = self.clone();
        for key in &mut shown.auth.keys {
            key.sha256 = HIDDEN.to_owned();
        }
        if let Some(token) = &mut shown.callback.token {
            *token = HIDDEN.to_owned();
        }
        toml::to_string(&shown).map_err(|error| ConfigError::Parse {
            origin: "configuration".to_owned(),
            reason: error.to_string(),
        })
    }
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
