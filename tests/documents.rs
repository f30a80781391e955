//! What the server says about itself is true: the documents of the interface, and the page of metrics.
//!
//! Every message and answer in `tests/live.rs`, `tests/uploads.rs` and `tests/faults.rs` is held against the documents as well. Their schemas
//! are checked as such; that the rest of them is as OpenAPI and AsyncAPI want it is checked in parts alone (`api::docs::tests`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic,
    reason = "tests"
)]

mod common;

use common::audio::{Tape, Wav, random};
use common::client::{connect, connect_with};
use common::schema::{ASYNCAPI, OPENAPI, assert_answer};
use common::{MODEL, Server, Setup, request_id};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

/// Mono linear16 at 16 kHz.
const QUERY: &str = "encoding=linear16&sample_rate=16000";
/// SHA-256 of `secret`.
const HASH: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

/// Asks, and checks the answer against the document. Returns its status and body, which is a string unless it is JSON.
async fn ask(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    request_id(response.headers());
    let (status, path) = (response.status().as_u16(), response.url().path().to_owned());
    let content_type = response.headers()["content-type"].to_str().unwrap().to_owned();
    let text = response.text().await.unwrap();
    let body = if content_type == "application/json" {
        serde_json::from_str(&text).unwrap()
    } else {
        Value::String(text)
    };
    assert_answer(&path, status, &content_type, &body);
    (status, body)
}

fn wav() -> Vec<u8> {
    Tape::new(16_000)
        .silence(0.48)
        .tone(1.28)
        .silence(1.48)
        .tone(0.96)
        .wav(Wav::default())
}

#[tokio::test]
async fn the_documents_are_served_as_they_are_to_anybody() {
    let server = Setup::default()
        .config(&format!(
            "[auth]\nmode = \"keys\"\nkeys = [{{ name = \"desk\", sha256 = \"{HASH}\" }}]"
        ))
        .start();
    for (path, text) in [
        ("/openapi.json", include_str!("../docs/api/openapi.json")),
        ("/asyncapi.json", include_str!("../docs/api/asyncapi.json")),
        ("/docs", include_str!("../docs/api/index.html")),
    ] {
        let response = reqwest::get(server.url(path)).await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(response.headers().contains_key("content-security-policy"), path == "/docs");
        assert_eq!(response.text().await.unwrap(), text, "{path}");
    }
}

#[tokio::test]
async fn every_documented_page_is_there() {
    let server = Server::start();
    for (path, item) in OPENAPI.json["paths"].as_object().unwrap() {
        if path == "/v1/listen" {
            continue;
        }
        assert_eq!(item.as_object().unwrap().keys().collect::<Vec<_>>(), ["get"], "{path}");
        let url = server.url(&path.replace("{uuid}", &MODEL.to_string()));
        assert_eq!(ask(Client::new().get(&url)).await.0, 200, "{path}");
        assert_eq!(ask(Client::new().delete(&url)).await.0, 405, "{path}");
    }
    assert_eq!(ask(Client::new().get(server.url("/v1/models/none"))).await.0, 404);
    assert_eq!(ask(Client::new().get(server.url("/none"))).await.0, 404);
}

#[tokio::test]
async fn an_empty_prefix_leaves_the_other_pages_where_they_are() {
    let server = Setup::default().config("[server]\nbase_url = \"\"").start();
    for path in ["/status", "/models", "/metrics", "/openapi.json", "/docs"] {
        assert_eq!(reqwest::get(server.url(path)).await.unwrap().status(), 200, "{path}");
    }
    assert_eq!(reqwest::get(server.url("/v1/status")).await.unwrap().status(), 404);
}

#[tokio::test]
async fn files_are_answered_as_documented() {
    let server = Setup::default()
        .config("[files]\nmax_upload_bytes = 200000\n[limits]\nquery_bytes = 8192")
        .start();
    let post = |query: &str| Client::new().post(server.url(&format!("/v1/listen?{query}")));
    for query in [
        "",
        "punctuate=true&utterances=true&tag=a&extra=k:v",
        "multichannel=true&utterances=true&utt_split=0.1",
        "smart_format=true&paragraphs=true&detect_entities=true&search=word&summarize=v2&diarize=true&detect_language=true\
         &sentiment=true&topics=true&intents=true&alternatives=3&numerals=true",
        "response_format=srt",
        "response_format=vtt",
    ] {
        assert_eq!(ask(post(query).body(wav())).await.0, 200, "{query}");
    }
    let silence = Tape::new(16_000).silence(1.0).wav(Wav::default());
    assert_eq!(ask(post("utterances=true").body(silence)).await.0, 200);
    let remote = post("").header("content-type", "application/json");
    let no_url = remote.try_clone().unwrap().body("{}");
    for (request, status) in [
        (post("").body(random(1_000)), 400),
        (post("punctuate=maybe").body(wav()), 400),
        (remote.body(json!({"url": "http://127.0.0.1/"}).to_string()), 400),
        (no_url, 400),
        (post("").body(Tape::new(16_000).silence(7.0).wav(Wav::default())), 413),
        (post(&format!("x={}", "y".repeat(8_300))).body(wav()), 414),
    ] {
        assert_eq!(ask(request).await.0, status);
    }
}

#[tokio::test]
async fn refusals_at_the_door_are_answered_as_documented() {
    let keys = format!("[auth]\nmode = \"keys\"\nkeys = [{{ name = \"desk\", sha256 = \"{HASH}\" }}]");
    for (config, slots, key, status) in [
        (keys.as_str(), 1, "Token wrong", 401),
        ("[limits]\nactive_requests = 1", 2, "Token secret", 429),
        (keys.as_str(), 1, "Token secret", 503),
    ] {
        let server = Setup::default().config(config).slots(slots).start();
        let _first = connect_with(&server, QUERY, &[("authorization", "Token secret")]).await.unwrap();
        // The client holds refused handshakes against the document itself.
        let refused = connect_with(&server, QUERY, &[("authorization", key)]).await.err().unwrap();
        assert_eq!(refused.status, status);
        let file = Client::new().post(server.url("/v1/listen")).header("authorization", key);
        assert_eq!(ask(file.body(wav())).await.0, status);
    }
}

#[tokio::test]
async fn live_streams_say_what_is_documented_and_nothing_else() {
    let server = Setup::default().favours().start();
    let query = "interim_results=true&vad_events=true&utterance_end_ms=1000&punctuate=true&extra=call:17&endpointing=300";
    let sound = Tape::new(16_000).silence(0.48).speech(2.08).silence(2.0).linear16();
    // A client that reads checks every message by itself; here all kinds of them must come.
    let mut said = Vec::new();
    for model in ["nova-3", "nova-2-phonecall"] {
        let mut live = connect(&server, &format!("{QUERY}&{query}&model={model}")).await;
        live.audio(&sound).await;
        for text in [
            "garbage",
            r#"{"type":"Configure","keyterms":["hark"]}"#,
            r#"{"type":"Finalize","channel":0}"#,
        ] {
            live.text(text).await;
        }
        said.push(live.close_stream().await);
    }
    let without_audio = connect(&server, QUERY).await.close_stream().await;
    assert!(without_audio.metadata().get("models").is_none());
    for message in ASYNCAPI.json["operations"]["tell"]["messages"].as_array().unwrap() {
        let kind = message["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
        let messages: Vec<&Value> = said.iter().flat_map(|conversation| conversation.all(kind)).collect();
        assert!(!messages.is_empty(), "no {kind}");
        // The schemas are strict: a key more or one less is noticed.
        let validator = ASYNCAPI.validator(&format!("/components/messages/{kind}/payload"));
        for key in messages[0].as_object().unwrap().keys() {
            let mut less = messages[0].clone();
            less.as_object_mut().unwrap().remove(key);
            let optional = kind == "Metadata" && ["models", "model_info"].contains(&key.as_str());
            assert_eq!(validator.is_valid(&less), optional, "{kind} without {key}");
        }
        let mut more = messages[0].clone();
        more["more"] = json!(1);
        assert!(!validator.is_valid(&more), "{kind}");
    }
}

#[test]
fn every_schema_of_the_documents_is_one() {
    fn schemas<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
        match value {
            Value::Object(entries) => {
                found.extend(["schema", "payload", "query"].iter().filter_map(|key| entries.get(*key)));
                entries.values().for_each(|value| schemas(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| schemas(value, found)),
            _ => {}
        }
    }
    for (document, least) in [(&*OPENAPI, 60), (&*ASYNCAPI, 15)] {
        let mut found = Vec::new();
        schemas(&document.json, &mut found);
        found.extend(document.json["components"]["schemas"].as_object().unwrap().values());
        assert!(found.len() > least, "{}", found.len());
        for schema in found {
            assert!(jsonschema::meta::is_valid(schema), "{schema}");
        }
    }
}

#[tokio::test]
async fn every_metric_is_on_the_page() {
    let server = Server::start();
    assert_eq!(ask(Client::new().post(server.url("/v1/listen")).body(wav())).await.0, 200);
    let mut live = connect(&server, QUERY).await;
    live.audio(&Tape::new(16_000).tone(2.0).linear16()).await;
    assert!(!live.close_stream().await.words().is_empty());
    server.idle_but(0).await;
    let page = server.get("/metrics").await;
    for (name, kind, _) in hark::telemetry::metrics::TABLE {
        // Only a chunk that was late is counted there; tests/faults.rs makes one.
        if name != "hark_chunk_late_seconds" {
            assert!(page.contains(&format!("# TYPE {name} {kind}\n")), "no {name} in\n{page}");
        }
    }
    let at_least = |name: &str, least: f64| {
        let lines = page.lines().filter(|line| line.starts_with(name));
        let values: Vec<f64> = lines.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
        assert!(values.iter().any(|value| *value >= least), "{name}: {values:?}");
    };
    for (name, least) in [
        ("hark_step_seconds_count", 1.0),
        ("hark_step_chunks_count", 1.0),
        ("hark_step_deviation_ratio_count", 1.0),
        ("hark_step_drift_ratio{", 0.001),
        ("hark_step_cost_seconds{", 1e-6),
        ("hark_stream_head_room{", 1.0),
        ("hark_overload{", 0.0),
        ("hark_file_audio_samples_total", 67_200.0),
        ("hark_response_seconds_count", 1.0),
        ("hark_streams_closed_total{code=\"1000\"}", 1.0),
    ] {
        at_least(name, least);
    }
}
