//! The `api.toml` and `engine.toml` of the product that Hark can replace, read into our own keys.
//!
//! What it does: recognises such a file by its keys, translates those that have a counterpart, takes our own sections in it as they
//! are, and warns of keys that have no counterpart or that it does not know; an unknown key is never an error. What it does not do:
//! check ranges. Who calls it: the loader.
//!
//! Host and port mean the same in both files, so either can start the server. Open access stays forbidden beyond loopback, unlike
//! in the originals: it needs our `[auth]` in the file, or `HARK_AUTH__MODE=none`. `docs/compatibility.md` has a row for each key
//! (tested).

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::overlay::{Layer, defaults, put, split, substitute, typed};
use super::{ConfigError, Warning, duration};

/// Top-level keys that only an `api.toml`, or either file, has.
const SIGNS: [&str; 6] = ["license", "driver_pool", "concurrency_limit", "features", "resolver", "voice_agent"];
/// Top-level keys that only an `engine.toml` has.
const SIGNS_OF_ENGINE: [&str; 9] = [
    "max_active_requests",
    "metrics_server",
    "model_manager",
    "flux",
    "flux_tts",
    "chunking",
    "preload_models",
    "half_precision",
    "health",
];
/// Keys of `[server]` that ours does not have.
const SIGNS_IN_SERVER: [&str; 5] = [
    "https",
    "callback_conn_timeout",
    "callback_timeout",
    "fetch_conn_timeout",
    "fetch_timeout",
];

const UNKNOWN: &str = "unknown key, ignored";
const NO_EFFECT: &str = "has no effect here";
const FIRST_ONLY: &str = "only the first of them is used";
const WRONG_TYPE: &str = "has a value of the wrong type, ignored";

/// How a key of theirs becomes one of ours.
enum Rule {
    /// The value as it is.
    Same(&'static str),
    /// A path prefix, which may end with a slash there.
    Prefix(&'static str),
    /// A duration, as text or in seconds.
    Span(&'static str),
    /// The first text of a list.
    First(&'static str),
    /// Our key gets this text if the switch is on, and nothing if it is off.
    IfOn(&'static str, &'static str),
    /// A switch without a counterpart: in this position it asks for what is not done here.
    WarnIf(bool),
    /// Known; our behaviour is what it asks for, or does not depend on it.
    Fine,
    /// Known; without a counterpart.
    NoEffect,
}

/// Every key that the contract knows, with its sections, in both files. A section ends the search: all below it follows its rule.
const RULES: [(&str, Rule); 47] = [
    ("license", Rule::Fine),
    ("server.base_url", Rule::Prefix("server.base_url")),
    ("server.host", Rule::Same("server.host")),
    ("server.port", Rule::Same("server.port")),
    ("server.callback_conn_timeout", Rule::Span("callback.connect_timeout")),
    ("server.callback_timeout", Rule::Span("callback.timeout")),
    ("server.fetch_conn_timeout", Rule::Span("fetch.connect_timeout")),
    ("server.fetch_timeout", Rule::Span("fetch.timeout")),
    ("server.https.cert_file", Rule::Same("server.tls_cert")),
    ("server.https.key_file", Rule::Same("server.tls_key")),
    ("resolver.nameservers", Rule::NoEffect),
    ("resolver.max_ttl", Rule::NoEffect),
    ("concurrency_limit.active_requests", Rule::Same("limits.active_requests")),
    ("features.topic_detection", Rule::WarnIf(true)),
    ("features.summarization", Rule::WarnIf(true)),
    ("features.speak_streaming", Rule::WarnIf(true)),
    ("features.entity_detection", Rule::WarnIf(false)),
    ("features.entity_redaction", Rule::WarnIf(false)),
    ("features.format_entity_tags", Rule::WarnIf(false)),
    ("features.disk_buffer_path", Rule::NoEffect),
    ("features.redact_usage", Rule::Fine),
    ("features.listen_v2", Rule::WarnIf(true)),
    ("features.speak_v2", Rule::WarnIf(true)),
    ("features.speak_v2_streaming", Rule::WarnIf(true)),
    ("features.multichannel", Rule::Same("limits.multichannel")),
    ("features.language_detection", Rule::WarnIf(true)),
    ("features.streaming_ner", Rule::WarnIf(false)),
    ("features.use_v2_language_detection", Rule::WarnIf(true)),
    ("driver_pool", Rule::Fine),
    ("voice_agent", Rule::Fine),
    ("max_active_requests", Rule::Same("limits.engine_active_requests")),
    ("metrics_server.host", Rule::Same("metrics.host")),
    ("metrics_server.port", Rule::Same("metrics.port")),
    ("model_manager.search_paths", Rule::First("models.dir")),
    ("model_manager.max_concurrently_loaded_models", Rule::Fine),
    ("flux.enabled", Rule::WarnIf(true)),
    ("flux.max_streams", Rule::Fine),
    ("flux.model_name", Rule::Fine),
    ("flux_tts", Rule::Fine),
    ("chunking.batch.min_duration", Rule::NoEffect),
    ("chunking.batch.max_duration", Rule::NoEffect),
    ("chunking.streaming.min_duration", Rule::NoEffect),
    ("chunking.streaming.max_duration", Rule::NoEffect),
    ("chunking.streaming.step", Rule::Span("stream.interim_step")),
    ("preload_models.blocking", Rule::Fine),
    ("half_precision", Rule::Fine),
    ("health.gpu_required", Rule::IfOn("gpu.mode", "require")),
];

/// Every key that is known, with its sections; of some sections the name alone.
pub fn keys() -> impl Iterator<Item = &'static str> {
    RULES.iter().map(|(key, _)| *key)
}

fn rule(key: &str) -> Option<&'static Rule> {
    RULES.iter().find(|(theirs, _)| *theirs == key).map(|(_, rule)| rule)
}

/// Whether this is a compatible file rather than one of ours.
pub(super) fn is_compatible(table: &Table) -> bool {
    let server = table.get("server").and_then(Value::as_table);
    has(table, &SIGNS) || has(table, &SIGNS_OF_ENGINE) || server.is_some_and(|server| has(server, &SIGNS_IN_SERVER))
}

fn has(table: &Table, signs: &[&str]) -> bool {
    signs.iter().any(|sign| table.contains_key(*sign))
}

/// Translates a compatible file, whose name is `origin`, with the variables that it names.
///
/// # Errors
/// [`ConfigError`]: a variable is not set, a value has a type that our key does not take, or one of our sections is wrong.
pub(super) fn translate(mut table: Table, origin: &str, env: &BTreeMap<String, String>) -> Result<Layer, ConfigError> {
    let mut layer = Layer {
        of_engine: has(&table, &SIGNS_OF_ENGINE),
        ..Layer::default()
    };
    if layer.of_engine {
        // The original engine listens there whether its file has the section or not.
        put(&mut layer.table, &["metrics", "host"], Value::String("0.0.0.0".to_owned()));
    }
    // First of all, so that nothing in it (a licence variable that is not set) can be an error.
    table.retain(|key, _| !matches!(rule(key), Some(Rule::Fine)));
    substitute(&mut table, "", env)?;
    let ours = defaults()?;
    let is_ours = |section: &str| section != "server" && ours.contains_key(section);
    let (own, theirs): (Table, Table) = table.into_iter().partition(|(section, _)| is_ours(section));
    section("", theirs, origin, &mut layer)?;
    typed(own.clone(), origin)?;
    layer.lay(Layer {
        table: own,
        ..Layer::default()
    });
    Ok(layer)
}

fn section(path: &str, table: Table, origin: &str, layer: &mut Layer) -> Result<(), ConfigError> {
    for (key, value) in table {
        let key = if path.is_empty() { key } else { format!("{path}.{key}") };
        let (set, reason) = match (rule(&key), value) {
            (Some(rule), value) => counterpart(rule, value),
            (None, Value::Table(inner)) => {
                section(&key, inner, origin, layer)?;
                continue;
            }
            (None, _) => (None, Some(UNKNOWN)),
        };
        layer.warnings.extend(reason.map(|reason| Warning { key: key.clone(), reason }));
        if let Some((ours, value)) = set {
            // Alone first, so that an error names the key that stands in the file.
            let mut alone = Table::new();
            put(&mut alone, &split(ours), value.clone());
            typed(alone, &format!("{origin}: {key}"))?;
            put(&mut layer.table, &split(ours), value);
            layer.origins.insert(ours, key);
        }
    }
    Ok(())
}

/// Our key and its value, if a rule makes any of this value; and the reason to warn, if there is one.
fn counterpart(rule: &Rule, value: Value) -> (Option<(&'static str, Value)>, Option<&'static str>) {
    match (rule, value) {
        (Rule::Fine, _) => (None, None),
        (Rule::NoEffect, _) => (None, Some(NO_EFFECT)),
        (Rule::Same(key), value) => (Some((*key, value)), None),
        (Rule::Prefix(key), Value::String(path)) => (Some((*key, Value::String(path.trim_end_matches('/').to_owned()))), None),
        (Rule::Span(key), value) => match span(&value) {
            Some(text) => (Some((*key, Value::String(text))), None),
            None => (None, Some(WRONG_TYPE)),
        },
        (Rule::First(key), Value::Array(items)) => {
            let more = items.len() > 1;
            match items.into_iter().next() {
                Some(first) => (Some((*key, first)), more.then_some(FIRST_ONLY)),
                None => (None, Some(WRONG_TYPE)),
            }
        }
        (Rule::IfOn(key, text), Value::Boolean(on)) => (on.then(|| (*key, Value::String((*text).to_owned()))), None),
        (Rule::WarnIf(asked), Value::Boolean(on)) => (None, (on == *asked).then_some(NO_EFFECT)),
        _ => (None, Some(WRONG_TYPE)),
    }
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

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic
)]
mod tests;
