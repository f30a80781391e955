use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::config::{AuthMode, Config, GpuMode};

const API: &str = r#"
[license]
server_url = ["https://licence.example"]
key = "${NOT_SET_ANYWHERE}"
[server]
base_url = "/v1/"
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
entity_detection = false
redact_usage = true
brand_new = 1
[[driver_pool.standard]]
url = "https://engine:8080/v2"
retry_sleep = "2s"
"#;

const ENGINE: &str = r#"
max_active_requests = 30
[server]
host = "10.1.2.3"
port = 8081
[metrics_server]
host = "127.0.0.1"
port = 9992
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

const HASH: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

/// Loads files with these texts, in this order.
fn load_all(texts: &[&str], env: &[(&str, &str)]) -> Result<(Config, Vec<String>), String> {
    let folder = tempfile::tempdir().unwrap();
    let write = |(n, text): (usize, &&str)| {
        let path = folder.path().join(format!("{n}.toml"));
        std::fs::write(&path, text).unwrap();
        path
    };
    let paths: Vec<PathBuf> = texts.iter().enumerate().map(write).collect();
    let env = env.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    let loaded = Config::load(paths.iter().map(PathBuf::as_path), env);
    let (config, warnings) = loaded.map_err(|error| error.to_string())?;
    Ok((config, warnings.iter().map(Warning::to_string).collect()))
}

fn load(text: &str, env: &[(&str, &str)]) -> (Config, Vec<String>) {
    load_all(&[text], env).unwrap()
}

#[test]
fn api_toml() {
    let (config, warnings) = load(API, &[("NAME", "host"), ("HARK_AUTH__MODE", "none")]);
    assert_eq!((config.server.host.as_str(), config.server.port), ("0.0.0.0", 8080));
    assert_eq!(config.server.base_url, "/v1");
    assert_eq!(config.server.tls_cert, Some(PathBuf::from("/tls/host.crt")));
    assert_eq!(config.server.tls_key, Some(PathBuf::from("/tls/key")));
    assert_eq!(config.callback.connect_timeout, Duration::from_secs(2));
    assert_eq!(config.callback.timeout, Duration::from_secs(20));
    assert_eq!(config.fetch.connect_timeout, Duration::from_millis(500));
    assert_eq!(config.fetch.timeout, Duration::from_secs(30));
    assert_eq!(config.limits.active_requests, Some(7));
    assert_eq!(config.metrics.host, "127.0.0.1", "that file does not open the metrics to others");
    assert_eq!(
        warnings,
        [
            "features.brand_new: unknown key, ignored",
            "features.entity_detection: has no effect here",
            "resolver.nameservers: has no effect here",
        ]
    );
}

#[test]
fn engine_toml() {
    let (config, warnings) = load(ENGINE, &[("HARK_AUTH__MODE", "none")]);
    assert_eq!(config.limits.engine_active_requests, Some(30));
    assert!(!config.limits.multichannel);
    assert_eq!(
        (config.metrics.enabled, config.metrics.host.as_str(), config.metrics.port),
        (true, "127.0.0.1", 9992)
    );
    assert_eq!(config.models.dir, PathBuf::from("/models"));
    assert_eq!(config.stream.interim_step, Duration::from_millis(500));
    assert_eq!(config.gpu.mode, GpuMode::Require);
    assert_eq!(
        warnings,
        [
            "chunking.batch.min_duration: has no effect here",
            "model_manager.search_paths: only the first of them is used"
        ]
    );
}

#[test]
fn the_metrics_of_an_engine_have_their_listener_unless_told_otherwise() {
    for (text, wanted) in [
        ("[health]\n", (true, "0.0.0.0", 9991)),
        ("[metrics_server]\n", (true, "0.0.0.0", 9991)),
        ("[metrics_server]\nport = 9000\n", (true, "0.0.0.0", 9000)),
        ("[health]\n[metrics]\nenabled = false\n", (false, "0.0.0.0", 9991)),
        ("[license]\n", (true, "127.0.0.1", 9991)),
    ] {
        let metrics = load(text, &[]).0.metrics;
        assert_eq!((metrics.enabled, metrics.host.as_str(), metrics.port), wanted, "{text}");
    }
}

#[test]
fn a_gpu_is_required_only_where_the_file_says_so() {
    assert_eq!(load("[health]\ngpu_required = false\n", &[]).0.gpu.mode, GpuMode::Auto);
    assert_eq!(load("[health]\ngpu_required = true\n", &[]).0.gpu.mode, GpuMode::Require);
}

#[test]
fn both_files_are_one_configuration_in_either_order() {
    let env = [("NAME", "host"), ("HARK_AUTH__MODE", "none")];
    for texts in [[API, ENGINE], [ENGINE, API]] {
        let (config, warnings) = load_all(&texts, &env).unwrap();
        assert_eq!((config.server.host.as_str(), config.server.port), ("0.0.0.0", 8080));
        assert_eq!(
            (config.limits.active_requests, config.limits.engine_active_requests),
            (Some(7), Some(30))
        );
        assert_eq!(config.metrics.port, 9992);
        assert_eq!(config.fetch.timeout, Duration::from_secs(30));
        assert_eq!(warnings.len(), 5, "{warnings:?}");
    }
    // Of files of ours, the later counts.
    let ours = ["[server]\nport = 1\n[files]\nshare = 0.5\n", "[server]\nport = 2\n"];
    let config = load_all(&ours, &[]).unwrap().0;
    assert_eq!((config.server.port, config.files.share), (2, 0.5));
}

#[test]
fn our_own_sections_may_stand_in_a_compatible_file() {
    let own = format!("[auth]\nmode = \"keys\"\n[[auth.keys]]\nname = \"desk\"\nsha256 = \"{HASH}\"\n[fetch]\nallow_private = true\n");
    let (config, warnings) = load(&format!("{API}{own}"), &[("NAME", "host")]);
    assert_eq!((config.auth.mode, config.auth.keys.len()), (AuthMode::Keys, 1));
    assert!(config.fetch.allow_private);
    assert_eq!(
        config.fetch.timeout,
        Duration::from_secs(30),
        "what stands in their sections counts as well"
    );
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    // Where both say something, ours counts.
    let both = "[concurrency_limit]\nactive_requests = 7\n[limits]\nactive_requests = 8\n";
    assert_eq!(load(both, &[]).0.limits.active_requests, Some(8));
    let wrong = load_all(&["[license]\n[auth]\nmod = \"none\"\n"], &[]).unwrap_err();
    assert!(wrong.contains("0.toml: ") && wrong.contains("`mod`"), "{wrong}");
}

#[test]
fn a_file_with_nothing_but_its_server_section_is_recognised() {
    for line in ["fetch_timeout = \"30s\"", "callback_timeout = \"20s\"", "https = {}"] {
        let (config, _) = load(&format!("[server]\nport = 9\n{line}\n"), &[]);
        assert_eq!(config.server.port, 9, "{line}");
    }
    assert!(load_all(&["[server]\nfetch_timeouts = \"30s\"\n"], &[]).is_err(), "a file of ours");
}

#[test]
fn switches_that_ask_for_what_is_done_anyway_do_not_warn() {
    let quiet = r#"
[features]
topic_detection = false
summarization = false
speak_streaming = false
entity_detection = true
entity_redaction = true
format_entity_tags = true
redact_usage = true
listen_v2 = false
speak_v2 = false
speak_v2_streaming = false
multichannel = true
language_detection = false
streaming_ner = true
use_v2_language_detection = false
[flux]
enabled = false
max_streams = 20
[model_manager]
search_paths = ["/models"]
max_concurrently_loaded_models = 5
[health]
gpu_required = false
"#;
    assert_eq!(load(quiet, &[]).1, [""; 0]);
    for (key, value) in [
        ("features.topic_detection", true),
        ("features.summarization", true),
        ("features.speak_streaming", true),
        ("features.entity_detection", false),
        ("features.entity_redaction", false),
        ("features.format_entity_tags", false),
        ("features.listen_v2", true),
        ("features.speak_v2", true),
        ("features.speak_v2_streaming", true),
        ("features.language_detection", true),
        ("features.streaming_ner", false),
        ("features.use_v2_language_detection", true),
        ("flux.enabled", true),
    ] {
        let asked = load(&format!("{key} = {value}\n"), &[]).1;
        assert_eq!(asked, [format!("{key}: has no effect here")]);
    }
}

#[test]
fn keys_without_a_counterpart_are_warned_of() {
    let text = r#"
[resolver]
max_ttl = 30
[features]
disk_buffer_path = "/tmp"
[voice_agent]
anything = 1
[flux]
model_name = "flux-general-en"
[flux_tts]
anything = 1
[chunking.batch]
max_duration = 10.0
[chunking.streaming]
min_duration = 1.0
max_duration = 2.0
more = 3
"#;
    assert_eq!(
        load(text, &[]).1,
        [
            "chunking.batch.max_duration: has no effect here",
            "chunking.streaming.max_duration: has no effect here",
            "chunking.streaming.min_duration: has no effect here",
            "chunking.streaming.more: unknown key, ignored",
            "features.disk_buffer_path: has no effect here",
            "resolver.max_ttl: has no effect here"
        ]
    );
}

#[test]
fn open_access_beyond_loopback_has_to_be_written_down() {
    let text = "[license]\n[server]\nhost = \"0.0.0.0\"\n";
    let error = load_all(&[text], &[]).unwrap_err();
    assert!(error.starts_with("auth.mode: server.host 0.0.0.0 can be reached"), "{error}");
    let (config, _) = load(&format!("{text}[auth]\nmode = \"none\"\n"), &[]);
    assert_eq!(config.auth.mode, AuthMode::None);
}

#[test]
fn wrong_types_warn_or_are_refused_with_the_key_of_the_file() {
    let (_, warnings) = load("[server]\nfetch_timeout = true\n[features]\nsummarization = 3\n", &[]);
    assert_eq!(
        warnings,
        [
            "features.summarization: has a value of the wrong type, ignored",
            "server.fetch_timeout: has a value of the wrong type, ignored"
        ]
    );
    let error = load_all(&["[concurrency_limit]\nactive_requests = \"7\"\n"], &[]).unwrap_err();
    assert!(error.contains("0.toml: concurrency_limit.active_requests: "), "{error}");
}

#[test]
fn values_out_of_range_are_refused_with_the_key_of_the_file() {
    let fast = "[chunking.streaming]\nstep = 0.05\n";
    assert_eq!(
        load_all(&[fast], &[]).unwrap_err(),
        "stream.interim_step: 50ms is not between 80ms and 1min (from chunking.streaming.step)"
    );
    let with_env = load_all(&[fast], &[("HARK_STREAM__INTERIM_STEP", "20ms")]).unwrap_err();
    assert_eq!(with_env, "stream.interim_step: 20ms is not between 80ms and 1min");
    let with_ours = load_all(&[fast, "[stream]\ninterim_step = \"20ms\"\n"], &[]).unwrap_err();
    assert_eq!(with_ours, "stream.interim_step: 20ms is not between 80ms and 1min");
}

#[test]
fn every_rule_leads_to_a_key_of_ours() {
    let mut led = 0;
    for (theirs, rule) in &RULES {
        let (Rule::Same(ours) | Rule::Prefix(ours) | Rule::Span(ours) | Rule::First(ours) | Rule::IfOn(ours, _)) = rule else {
            continue;
        };
        led += 1;
        let mut alone = Table::new();
        // No key takes such a list; only of one that does not exist is another thing said.
        put(&mut alone, &split(ours), Value::Array(vec![Value::Array(Vec::new())]));
        let error = typed(alone, "").unwrap_err().to_string();
        assert!(!error.contains("unknown field"), "{theirs}: {error}");
    }
    assert_eq!(led, 17);
}
