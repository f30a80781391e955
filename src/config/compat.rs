//! The `api.toml` and `engine.toml` of the product that Hark can replace, read into our own keys.
//!
//! What it does: recognises such a file by its sections, translates the keys that have a counterpart, and warns of those that have
//! none, or that it does not know; it never fails for a key. What it does not do: validate values. Who calls it: the loader.
//!
//! Host and port mean the same in both files, so either can start the server. Open access stays forbidden beyond loopback, unlike
//! in the originals: it needs `HARK_AUTH__MODE=none`.

use toml::{Table, Value};

use super::overlay::put;
use super::{Warning, duration};

/// Top-level keys that only these files have.
const SIGNS: [&str; 15] = [
    "license",
    "driver_pool",
    "model_manager",
    "metrics_server",
    "concurrency_limit",
    "features",
    "chunking",
    "preload_models",
    "half_precision",
    "resolver",
    "voice_agent",
    "max_active_requests",
    "health",
    "flux",
    "flux_tts",
];
/// Sections that are accepted and mean nothing here, by the contract: no warning.
const IGNORED: [&str; 4] = ["license", "voice_agent", "flux_tts", "half_precision"];

const UNKNOWN: &str = "unknown key, ignored";
const NO_EFFECT: &str = "has no effect here";
const NO_GPU: &str = "this version computes on the processor";
const WRONG_TYPE: &str = "has a value of the wrong type, ignored";

/// How a key of theirs becomes one of ours.
enum Rule {
    /// The value as it is.
    Same(&'static str),
    /// A duration, as text or in seconds.
    Span(&'static str),
    /// The first text of a list.
    First(&'static str),
    /// A switch without a counterpart: in this position it asks for what is not done here, and this is the reason to warn.
    WarnIf(bool, &'static str),
    /// Known; our behaviour is what it asks for, or does not depend on it.
    Fine,
    /// Known; without a counterpart.
    NoEffect,
}

/// Every key that the contract knows, with its sections, in both files. A section ends the search: all below it follows its rule.
const RULES: [(&str, Rule); 34] = [
    ("server.base_url", Rule::Same("server.base_url")),
    ("server.host", Rule::Same("server.host")),
    ("server.port", Rule::Same("server.port")),
    ("server.callback_conn_timeout", Rule::Span("callback.connect_timeout")),
    ("server.callback_timeout", Rule::Span("callback.timeout")),
    ("server.fetch_conn_timeout", Rule::Span("fetch.connect_timeout")),
    ("server.fetch_timeout", Rule::Span("fetch.timeout")),
    ("server.https.cert_file", Rule::Same("server.tls_cert")),
    ("server.https.key_file", Rule::Same("server.tls_key")),
    ("resolver", Rule::NoEffect),
    ("concurrency_limit.active_requests", Rule::Same("limits.active_requests")),
    ("features.topic_detection", Rule::NoEffect),
    ("features.summarization", Rule::NoEffect),
    ("features.speak_streaming", Rule::NoEffect),
    ("features.entity_detection", Rule::NoEffect),
    ("features.entity_redaction", Rule::NoEffect),
    ("features.format_entity_tags", Rule::NoEffect),
    ("features.disk_buffer_path", Rule::NoEffect),
    ("features.redact_usage", Rule::Fine),
    ("features.listen_v2", Rule::NoEffect),
    ("features.speak_v2", Rule::NoEffect),
    ("features.speak_v2_streaming", Rule::NoEffect),
    ("features.multichannel", Rule::WarnIf(false, NO_EFFECT)),
    ("features.language_detection", Rule::NoEffect),
    ("features.streaming_ner", Rule::NoEffect),
    ("features.use_v2_language_detection", Rule::NoEffect),
    ("driver_pool", Rule::Fine),
    ("max_active_requests", Rule::Same("limits.engine_active_requests")),
    ("model_manager.search_paths", Rule::First("models.dir")),
    ("model_manager.max_concurrently_loaded_models", Rule::NoEffect),
    ("flux", Rule::NoEffect),
    ("chunking.streaming.step", Rule::Span("stream.interim_step")),
    ("preload_models.blocking", Rule::Fine),
    ("health.gpu_required", Rule::WarnIf(true, NO_GPU)),
];

/// Keys of a listener that is opened because its section is there.
const METRICS: [(&str, &str); 2] = [("metrics_server.host", "metrics.host"), ("metrics_server.port", "metrics.port")];
/// The rest of `chunking`: windows are cut by the scheduler, which knows what a step costs.
const CHUNKING: &str = "chunking.";

/// Whether this is a compatible file rather than one of ours.
pub fn is_compatible(table: &Table) -> bool {
    SIGNS.iter().any(|sign| table.contains_key(*sign))
}

/// Removes what is accepted and ignored, so that nothing in it (a licence variable that is not set) can be an error.
pub fn drop_ignored(table: &mut Table) {
    table.retain(|key, _| !IGNORED.contains(&key));
}

/// Translates a compatible file into a table of ours, and says what was not taken over.
pub fn translate(table: Table) -> (Table, Vec<Warning>) {
    let (mut ours, mut warnings) = (Table::new(), Vec::new());
    section("", table, &mut ours, &mut warnings);
    (ours, warnings)
}

fn section(path: &str, table: Table, ours: &mut Table, warnings: &mut Vec<Warning>) {
    for (key, value) in table {
        let key = if path.is_empty() { key } else { format!("{path}.{key}") };
        let rule = RULES.iter().find(|(theirs, _)| *theirs == key).map(|(_, rule)| rule);
        match (rule, value) {
            (Some(rule), value) => {
                if let Some(reason) = apply(rule, value, ours) {
                    warnings.push(Warning { key, reason });
                }
            }
            (None, Value::Table(inner)) => section(&key, inner, ours, warnings),
            (None, value) => {
                if let Some((_, metrics)) = METRICS.iter().find(|(theirs, _)| *theirs == key) {
                    set(ours, metrics, value);
                    set(ours, "metrics.enabled", Value::Boolean(true));
                } else {
                    let reason = if key.starts_with(CHUNKING) { NO_EFFECT } else { UNKNOWN };
                    warnings.push(Warning { key, reason });
                }
            }
        }
    }
}

/// Applies a rule; the reason to warn, if there is one.
fn apply(rule: &Rule, value: Value, ours: &mut Table) -> Option<&'static str> {
    match (rule, value) {
        (Rule::Fine, _) => {}
        (Rule::NoEffect, _) => return Some(NO_EFFECT),
        (Rule::Same(key), value) => set(ours, key, value),
        (Rule::Span(key), value) => match span(&value) {
            Some(text) => set(ours, key, Value::String(text)),
            None => return Some(WRONG_TYPE),
        },
        (Rule::First(key), Value::Array(items)) => match items.into_iter().next() {
            Some(first) => set(ours, key, first),
            None => return Some(WRONG_TYPE),
        },
        (Rule::WarnIf(asked, reason), Value::Boolean(on)) => return (on == *asked).then_some(*reason),
        _ => return Some(WRONG_TYPE),
    }
    None
}

/// `"500ms"`, `1.5` and `2` as text that our keys take.
#[expect(
    clippy::as_conversions,
    reason = "whole seconds of a timeout; beyond ten years they are refused anyway"
)]
fn span(value: &Value) -> Option<String> {
    let span = match value {
        Value::String(text) => duration::parse(text).ok()?,
        Value::Integer(seconds) => duration::from_seconds(*seconds as f64)?,
        Value::Float(seconds) => duration::from_seconds(*seconds)?,
        _ => return None,
    };
    Some(duration::print(span))
}

fn set(ours: &mut Table, key: &str, value: Value) {
    put(ours, &key.split('.').collect::<Vec<_>>(), value);
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic
)]
mod tests {
    use super::*;
    use crate::config::Config;
    use std::path::PathBuf;
    use std::time::Duration;

    const API: &str = r#"
[license]
server_url = ["https://licence.example"]
key = "${NOT_SET_ANYWHERE}"
[server]
base_url = "/v1"
host = "0.0.0.0"
port = 8080
callback_conn_timeout = "2s"
callback_timeout = "20s"
fetch_conn_timeout = "500ms"
fetch_timeout = "30s"
[server.https]
cert_file = "/tls/${NAME}.crt"
key_file = "/tls/key"
[resolver]
nameservers = ["127.0.0.1 53 udp"]
[concurrency_limit]
active_requests = 7
[features]
entity_detection = true
redact_usage = true
brand_new = 1
[[driver_pool.standard]]
url = "https://engine:8080/v2"
retry_sleep = "2s"
"#;

    const ENGINE: &str = r#"
max_active_requests = 30
[server]
host = "127.0.0.1"
port = 8081
[metrics_server]
host = "0.0.0.0"
port = 9991
[model_manager]
search_paths = ["/models", "/more"]
[features]
multichannel = false
[chunking.batch]
min_duration = 5.0
[chunking.streaming]
step = 0.5
[preload_models]
blocking = true
[half_precision]
state = "auto"
[health]
gpu_required = true
"#;

    fn load(text: &str, env: &[(&str, &str)]) -> (Config, Vec<String>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let env = env.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        let (config, warnings) = Config::load(Some(file.path()), env).unwrap();
        (config, warnings.iter().map(Warning::to_string).collect())
    }

    #[test]
    fn api_toml() {
        let (config, warnings) = load(API, &[("NAME", "host"), ("HARK_AUTH__MODE", "none")]);
        assert_eq!((config.server.host.as_str(), config.server.port), ("0.0.0.0", 8080));
        assert_eq!(config.server.tls_cert, Some(PathBuf::from("/tls/host.crt")));
        assert_eq!(config.fetch.connect_timeout, Duration::from_millis(500));
        assert_eq!(config.fetch.timeout, Duration::from_secs(30));
        assert_eq!(config.callback.connect_timeout, Duration::from_secs(2));
        assert_eq!(config.callback.timeout, Duration::from_secs(20));
        assert_eq!(config.limits.active_requests, Some(7));
        assert_eq!(
            warnings,
            [
                "features.brand_new: unknown key, ignored",
                "features.entity_detection: has no effect here",
                "resolver: has no effect here"
            ]
        );
    }

    #[test]
    fn engine_toml() {
        let (config, warnings) = load(ENGINE, &[]);
        assert_eq!(config.limits.engine_active_requests, Some(30));
        assert_eq!(
            (config.metrics.enabled, config.metrics.host.as_str(), config.metrics.port),
            (true, "0.0.0.0", 9991)
        );
        assert_eq!(config.models.dir, PathBuf::from("/models"));
        assert_eq!(config.stream.interim_step, Duration::from_millis(500));
        assert_eq!(
            warnings,
            [
                "chunking.batch.min_duration: has no effect here",
                "features.multichannel: has no effect here",
                "health.gpu_required: this version computes on the processor"
            ]
        );
    }

    #[test]
    fn switches_that_ask_for_what_is_done_anyway_do_not_warn() {
        let (_, warnings) = load("[features]\nmultichannel = true\n[health]\ngpu_required = false\n", &[]);
        assert_eq!(warnings, [""; 0]);
    }

    #[test]
    fn open_access_beyond_loopback_has_to_be_written_down() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[license]\n[server]\nhost = \"0.0.0.0\"\n").unwrap();
        let error = Config::load(Some(file.path()), std::iter::empty()).unwrap_err().to_string();
        assert!(error.starts_with("auth.mode: server.host 0.0.0.0 can be reached"), "{error}");
    }

    #[test]
    fn wrong_types_warn_or_are_refused_with_the_key() {
        let (_, warnings) = load("[server]\nfetch_timeout = true\n[features]\nmultichannel = 3\n", &[]);
        assert_eq!(
            warnings,
            [
                "features.multichannel: has a value of the wrong type, ignored",
                "server.fetch_timeout: has a value of the wrong type, ignored"
            ]
        );
    }
}
