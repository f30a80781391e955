//! Ranges of the configuration's values, and keys that depend on each other.
//!
//! What it does: one check per key, in the order of the file. What it does not do: change anything. Who calls it:
//! [`super::Config::validate`]. The ranges are those that `config/default.toml` states.

use std::fmt::Display;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::limits::MAX_QUERY;
use super::{Auth, AuthMode, Callback, Config, ConfigError, duration};

const DAY: Duration = Duration::from_secs(86_400);
const GIB: usize = 1 << 30;

pub(super) fn validate(config: &Config) -> Result<(), ConfigError> {
    let Config {
        server,
        metrics,
        auth,
        models,
        engine,
        gpu,
        stream,
        files,
        text: _,
        fetch,
        callback,
        limits,
    } = config;

    not_empty("server.host", &server.host)?;
    let base = &server.base_url;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte);
    if !base.is_empty() && (!base.starts_with('/') || base.ends_with('/') || !base.bytes().all(plain)) {
        return Err(invalid(
            "server.base_url",
            format!("{base:?} must be empty, or begin with a slash and not end with one"),
        ));
    }
    optional("server.workers", server.workers, 1..=1_024)?;
    if server.tls_cert.is_some() != server.tls_key.is_some() {
        return Err(invalid("server.tls_cert", "tls_cert and tls_key are needed together"));
    }
    span("server.drain", server.drain, 0, DAY)?;
    not_empty("metrics.host", &metrics.host)?;
    authorisation(auth, &server.host)?;

    names(models.aliases.as_deref().unwrap_or_default())?;
    optional("models.look_ahead", models.look_ahead, 0..=1_000)?;
    optional("models.lm_weight", models.lm_weight, 0.0..=100.0)?;
    if models.lm_weight.is_some() && models.lm.is_none() && models.lm_choices.is_empty() {
        return Err(invalid("models.lm_weight", "is only used with models.lm or models.lm_choices"));
    }
    within("models.lm_choices", models.lm_choices.len(), 0..=64)?;
    for (index, name) in models.lm_choices.iter().enumerate() {
        if models.lm_choices.iter().take(index).any(|other| other == name) {
            return Err(invalid("models.lm_choices", format!("{name:?} occurs twice")));
        }
    }
    optional("engine.threads", engine.threads, 1..=1_024)?;
    optional("engine.slots", engine.slots, 1..=65_536)?;
    optional("engine.max_batch", engine.max_batch, 1..=4_096)?;
    within("engine.groups", engine.groups, 1..=64)?;
    within("gpu.devices", gpu.devices.len(), 1..=64)?;
    for (index, device) in gpu.devices.iter().enumerate() {
        within("gpu.devices", *device, 0..=1_023)?;
        if gpu.devices.iter().take(index).any(|other| other == device) {
            return Err(invalid("gpu.devices", format!("{device} occurs twice")));
        }
    }
    span("engine.budget", engine.budget, 50, Duration::from_secs(60))?;

    within("stream.max_message_bytes", stream.max_message_bytes, 1 << 16..=GIB)?;
    within(
        "stream.undecoded_budget_bytes",
        stream.undecoded_budget_bytes,
        stream.max_message_bytes..=64 * GIB,
    )?;
    within("stream.credits", stream.credits, 1..=256)?;
    within("stream.result_backlog", stream.result_backlog, 1..=65_536)?;
    span("stream.idle_timeout", stream.idle_timeout, 1_000, DAY)?;
    span("stream.no_audio_timeout", stream.no_audio_timeout, 1_000, DAY)?;
    span("stream.interim_step", stream.interim_step, 80, Duration::from_secs(60))?;
    span("stream.segment_soft", stream.segment_soft, 500, Duration::from_secs(300))?;
    span("stream.segment_hard", stream.segment_hard, 500, Duration::from_secs(300))?;
    if stream.segment_hard < stream.segment_soft {
        return Err(invalid("stream.segment_hard", "must not be shorter than stream.segment_soft"));
    }
    span(
        "stream.tcp_user_timeout",
        stream.tcp_user_timeout,
        1_000,
        Duration::from_secs(3_600),
    )?;
    within("stream.receive_buffer_bytes", stream.receive_buffer_bytes, 1 << 12..=1 << 26)?;

    within("files.max_upload_bytes", files.max_upload_bytes, 1_024..=1 << 40)?;
    span("files.max_duration", files.max_duration, 1_000, DAY * 7)?;
    span("files.timeout", files.timeout, 1_000, DAY)?;
    within("files.share", files.share, 0.0..=0.9)?;
    span("files.patience", files.patience, 10, Duration::from_secs(3_600))?;
    span("files.step", files.step, 1, Duration::from_secs(60))?;
    within("files.at_once", files.at_once, 1..=65_536)?;
    within("files.windows_in_flight", files.windows_in_flight, 1..=256)?;
    span("fetch.connect_timeout", fetch.connect_timeout, 10, Duration::from_secs(300))?;
    span("fetch.timeout", fetch.timeout, 100, DAY)?;
    within("fetch.max_redirects", fetch.max_redirects, 0..=50)?;
    deliveries(callback)?;

    optional("limits.active_requests", limits.active_requests, 1..=u32::MAX)?;
    optional("limits.engine_active_requests", limits.engine_active_requests, 1..=u32::MAX)?;
    within("limits.connections", limits.connections, 1..=1_000_000)?;
    within("limits.query_bytes", limits.query_bytes, 1_024..=MAX_QUERY)?;
    span("limits.request_timeout", limits.request_timeout, 1_000, Duration::from_secs(3_600))
}

/// Aliases of the model.
fn names(aliases: &[String]) -> Result<(), ConfigError> {
    within("models.aliases", aliases.len(), 0..=256)?;
    let wrong = |name: &&String| !(1..=64).contains(&name.len()) || !name.bytes().all(|byte| byte.is_ascii_graphic());
    match aliases.iter().find(wrong) {
        Some(name) => Err(invalid(
            "models.aliases",
            format!("{name:?} must be 1 to 64 visible ascii characters"),
        )),
        None => Ok(()),
    }
}

fn deliveries(callback: &Callback) -> Result<(), ConfigError> {
    span("callback.connect_timeout", callback.connect_timeout, 10, Duration::from_secs(300))?;
    span("callback.timeout", callback.timeout, 100, Duration::from_secs(600))?;
    span("callback.retry_interval", callback.retry_interval, 10, Duration::from_secs(3_600))?;
    within("callback.retries", callback.retries, 0..=1_000)?;
    within("callback.at_once", callback.at_once, 1..=65_536)?;
    within("callback.max_pending", callback.max_pending, 1..=1_000_000)?;
    within("callback.max_bytes", callback.max_bytes, 1 << 20..=1 << 44)?;
    let sendable = |token: &String| (1..=1_000).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic());
    if callback.token.as_ref().is_some_and(|token| !sendable(token)) {
        return Err(invalid("callback.token", "must be 1 to 1000 visible ascii characters"));
    }
    Ok(())
}

/// Open doors only on loopback, unless somebody wrote that he means it; keys that are whole.
fn authorisation(auth: &Auth, host: &str) -> Result<(), ConfigError> {
    match auth.mode {
        AuthMode::Open if !is_loopback(host) => {
            return Err(invalid(
                "auth.mode",
                format!(
                    "server.host {host} can be reached from other machines: configure auth.keys with mode \"keys\", or write mode = \"none\""
                ),
            ));
        }
        AuthMode::Open | AuthMode::None if !auth.keys.is_empty() => {
            return Err(invalid(
                "auth.mode",
                "there are auth.keys, but they are only asked for with mode = \"keys\"",
            ));
        }
        AuthMode::Keys if auth.keys.is_empty() => return Err(invalid("auth.keys", "mode is \"keys\", but there are none")),
        _ => {}
    }
    for (index, key) in auth.keys.iter().enumerate() {
        let name = &key.name;
        if name.is_empty() || name.len() > 100 || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(invalid(
                "auth.keys.name",
                format!("{name:?} must be 1 to 100 visible ascii characters"),
            ));
        }
        if auth.keys.iter().take(index).any(|other| other.name == *name) {
            return Err(invalid("auth.keys.name", format!("{name:?} occurs twice")));
        }
        within("auth.keys.weight", key.weight, 0.01..=100.0)?;
        optional("auth.keys.streams", key.streams, 1..=u32::MAX)?;
        optional("auth.keys.files", key.files, 1..=u32::MAX)?;
        if key.scopes.is_empty() {
            return Err(invalid("auth.keys.scopes", format!("of {name:?} must not be empty")));
        }
        if key.hash().is_none() {
            return Err(invalid("auth.keys.sha256", format!("of {name:?} must be 64 hexadecimal digits")));
        }
    }
    Ok(())
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || address.parse().is_ok_and(|address: IpAddr| address.to_canonical().is_loopback())
}

fn within<T: PartialOrd + Display>(key: &'static str, value: T, range: RangeInclusive<T>) -> Result<(), ConfigError> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(invalid(
        key,
        format!("{value} is not between {} and {}", range.start(), range.end()),
    ))
}

fn optional<T: PartialOrd + Display>(key: &'static str, value: Option<T>, range: RangeInclusive<T>) -> Result<(), ConfigError> {
    value.map_or(Ok(()), |value| within(key, value, range))
}

fn span(key: &'static str, value: Duration, least_ms: u64, most: Duration) -> Result<(), ConfigError> {
    let least = Duration::from_millis(least_ms);
    if (least..=most).contains(&value) {
        return Ok(());
    }
    let [value, least, most] = [value, least, most].map(duration::print);
    Err(invalid(key, format!("{value} is not between {least} and {most}")))
}

fn not_empty(key: &'static str, text: &str) -> Result<(), ConfigError> {
    if text.trim().is_empty() {
        Err(invalid(key, "must not be empty"))
    } else {
        Ok(())
    }
}

fn invalid(key: &'static str, reason: impl Into<String>) -> ConfigError {
    ConfigError::Invalid {
        key,
        reason: reason.into(),
    }
}
