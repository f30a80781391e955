//! What is decided before a stream is open: parameters, capacity, keys.

use serde_json::json;

use super::QUERY;
use crate::common::audio::{Tape, Wav};
use crate::common::client::{self, FINALIZE, Refused, assert_tiles, connect, connect_with, transcribe};
use crate::common::raw::Raw;
use crate::common::{Server, Setup, request_id};

async fn refused(server: &Server, query: &str) -> Refused {
    let refused = connect_with(server, query, &[])
        .await
        .err()
        .unwrap_or_else(|| panic!("{query} was accepted"));
    assert_eq!(refused.headers["dg-error"], refused.body["err_msg"].as_str().unwrap(), "{query}");
    assert_eq!(refused.headers["content-type"], "application/json");
    assert_eq!(refused.body["request_id"], request_id(&refused.headers).as_str());
    assert!(refused.headers.get("sec-websocket-accept").is_none());
    refused
}

#[tokio::test]
async fn bad_parameters_are_refused_with_400() {
    let server = Server::start();
    let cases = [
        ("punctuate=maybe", "INVALID_QUERY_PARAMETER"),
        ("endpointing=soon", "INVALID_QUERY_PARAMETER"),
        ("utterance_end_ms=-1", "INVALID_QUERY_PARAMETER"),
        ("encoding=linear16", "INVALID_QUERY_PARAMETER"),
        ("encoding=linear16&sample_rate=7999", "INVALID_QUERY_PARAMETER"),
        ("encoding=linear16&sample_rate=48001", "INVALID_QUERY_PARAMETER"),
        ("encoding=linear16&sample_rate=16000&channels=0", "INVALID_QUERY_PARAMETER"),
        (
            "encoding=linear16&sample_rate=16000&channels=21&multichannel=true",
            "INVALID_QUERY_PARAMETER",
        ),
        ("encoding=wavy&sample_rate=16000", "INVALID_QUERY_PARAMETER"),
        ("callback=nowhere", "INVALID_QUERY_PARAMETER"),
        ("language_model=no-such", "INVALID_QUERY_PARAMETER"),
        ("language=de", "Bad Request"),
        ("language=en_US", "Bad Request"),
        ("version=1999-01-01.0", "Bad Request"),
        ("diarize=true&diarize_model=v1", "Bad Request"),
        ("diarize_model=v2", "Bad Request"),
        ("summarize=v2", "Bad Request"),
        ("model=nova-3&keywords=hark:2", "Bad Request"),
        ("model=nova-2-phonecall&keyterm=hark", "Bad Request"),
    ];
    for (query, code) in cases {
        let refused = refused(&server, query).await;
        assert_eq!((refused.status, &refused.body["err_code"]), (400, &json!(code)), "{query}");
    }
}

#[tokio::test]
async fn encodings_without_a_decoder_are_refused_at_the_handshake() {
    let server = Server::start();
    for (encoding, rate) in [("amr-nb", 8_000), ("amr-wb", 16_000), ("speex", 16_000), ("g729", 8_000)] {
        let refused = refused(&server, &format!("encoding={encoding}&sample_rate={rate}")).await;
        assert_eq!(refused.status, 400, "{encoding}");
        assert_eq!(
            refused.body["err_msg"],
            format!("Bad Request: failed to process audio: corrupt or unsupported data: {encoding} audio is not supported")
        );
    }
}

#[tokio::test]
async fn what_clients_always_send_is_accepted_and_unknown_parameters_are_ignored() {
    let server = Server::start();
    let livekit = "model=nova-3&punctuate=true&smart_format=false&no_delay=true&interim_results=true&encoding=linear16&vad_events=true\
        &sample_rate=16000&channels=1&endpointing=25&filler_words=true&profanity_filter=false&numerals=false&mip_opt_out=false&language=en-US";
    let pipecat = "encoding=linear16&sample_rate=16000&channels=1&multichannel=false&detect_entities=false&dictation=false&diarize=false\
        &interim_results=true&measurements=false&model=general&utterance_end_ms=&vad_events=False&language=en&tag=a&tag=b&extra=k:v";
    let unknown =
        "encoding=linear16&sample_rate=16000&paragraphs=true&utterances=true&utt_split=1&detect_language=true&sentiment=true&x=y&X=1&=&&";
    for query in [livekit, pipecat, unknown] {
        connect(&server, query).await;
    }
    let tape = Tape::new(16_000).tone(0.5);
    let conversation = transcribe(&server, &tape, "model=nova-3&extra=call:17&extra=site:a:b", 100).await;
    let metadata = &conversation.finals()[0]["metadata"];
    assert_eq!(metadata["extra"], json!({"call": "17", "site": "a:b"}));
    assert_eq!(
        metadata["model_info"],
        json!({"name": "general-toy", "version": "2026-01-01.1", "arch": "nova-3"})
    );
    assert_eq!(metadata["model_uuid"], crate::common::MODEL.to_string());
}

#[tokio::test]
async fn the_model_may_be_asked_for_by_any_of_its_names() {
    let server = Server::start();
    for model in [
        "general-toy",
        "toy-general",
        "toy",
        "nova-3",
        "2187e11a-3532-4498-b076-81fa530bdd49",
    ] {
        for version in ["latest", "2026-01-01.1"] {
            connect(&server, &format!("{QUERY}&model={model}&language=en-GB&version={version}")).await;
        }
    }
    for model in ["model=nova-2-drivethru", "model=meeting&tier=nova", "model=whisper-large"] {
        connect(&server, &format!("{QUERY}&{model}")).await;
    }
}

#[tokio::test]
async fn configured_names_of_the_model_take_the_place_of_the_usual_ones() {
    let server = Setup::default().config("[models]\naliases = [\"front-desk\"]").start();
    for model in ["front-desk", "general-toy", "toy-general"] {
        connect(&server, &format!("{QUERY}&model={model}")).await;
    }
    for model in ["nova-3", "toy"] {
        let refused = refused(&server, &format!("{QUERY}&model={model}")).await;
        assert_eq!(refused.status, 400, "{model}");
        assert_eq!(
            refused.body["err_msg"],
            "Bad Request: No such model/language/tier combination found."
        );
    }
}

#[tokio::test]
async fn a_full_engine_refuses_the_handshake_with_503_and_a_freed_slot_is_used_again() {
    let server = Setup::default().slots(2).start();
    let first = connect(&server, QUERY).await;
    let second = connect(&server, QUERY).await;
    let refused = refused(&server, QUERY).await;
    assert_eq!((refused.status, &refused.body["err_code"]), (503, &json!("Service Unavailable")));
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(refused.body["err_msg"], "Please try again later");
    first.close_stream().await;
    server.idle_but(1).await;
    let third = connect(&server, QUERY).await;
    for live in [second, third] {
        assert_eq!(live.close_stream().await.close(), (1000, ""), "an accepted stream was disturbed");
    }
}

#[tokio::test]
async fn channels_that_do_not_all_fit_are_refused_together() {
    let server = Setup::default().slots(3).start();
    let query = |channels: u16| format!("{QUERY}&channels={channels}&multichannel=true");
    assert_eq!(refused(&server, &query(4)).await.status, 503);
    connect(&server, &query(3)).await.close_stream().await;
    server.idle_but(0).await;
    connect(&server, &query(3)).await;
}

#[tokio::test]
async fn a_container_takes_two_places_for_its_channels_and_gives_back_what_it_does_not_need() {
    let server = Setup::default().slots(2).start();
    let mono = Tape::new(16_000).tone(1.0);
    let one = connect(&server, QUERY).await;
    assert_eq!(refused(&server, "multichannel=true").await.status, 503, "one place is not enough");
    one.close_stream().await;
    server.idle_but(0).await;

    let mut live = connect(&server, "multichannel=true").await;
    assert_eq!(refused(&server, QUERY).await.status, 503);
    live.audio(&mono.wav(Wav::default())).await;
    live.text(FINALIZE).await;
    assert_eq!(live.until_finalized().await["channel_index"], json!([0, 1]));
    let other = connect(&server, QUERY).await;
    assert_eq!(live.close_stream().await.words().len(), 4);
    other.close_stream().await;
    server.idle_but(0).await;

    let both = Tape::interleave(&[mono.clone(), Tape::new(16_000).silence(1.0)]);
    let mut live = connect(&server, "multichannel=true").await;
    live.audio(&both.wav(Wav::default())).await;
    let conversation = live.close_stream().await;
    assert_eq!(conversation.close(), (1000, ""));
    for (channel, words) in [(0, 4), (1, 0)] {
        let finals = conversation.finals_of(channel);
        assert_tiles(&finals, 1.0);
        assert_eq!(finals.iter().map(|result| client::words(result).len()).sum::<usize>(), words);
    }
}

#[tokio::test]
async fn the_limit_of_requests_is_answered_with_429() {
    let server = Setup::default().config("[limits]\nactive_requests = 2").start();
    let first = connect(&server, QUERY).await;
    let _second = connect(&server, QUERY).await;
    let refused = refused(&server, QUERY).await;
    assert_eq!((refused.status, &refused.body["err_code"]), (429, &json!("TOO_MANY_REQUESTS")));
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(refused.body["err_msg"], "Too many requests. Please try again later");
    let wav = Tape::new(16_000).silence(0.1).wav(Wav::default());
    let file = async || {
        reqwest::Client::new()
            .post(server.url("/v1/listen"))
            .body(wav.clone())
            .send()
            .await
            .unwrap()
            .status()
    };
    assert_eq!(file().await, 429);
    first.close_stream().await;
    server.idle_but(1).await;
    assert_eq!(file().await, 200);
    connect(&server, QUERY).await;
}

#[tokio::test]
async fn the_limit_of_the_engine_is_answered_with_503() {
    let server = Setup::default().config("[limits]\nengine_active_requests = 1").start();
    let first = connect(&server, QUERY).await;
    let refused = refused(&server, QUERY).await;
    assert_eq!((refused.status, &refused.body["err_code"]), (503, &json!("Service Unavailable")));
    assert_eq!(server.metric("engine_max_active_requests").await, 1.0);
    assert_eq!(server.active().await, (1, 0), "what is refused is not counted");
    first.close_stream().await;
    server.idle_but(0).await;
    connect(&server, QUERY).await;
}

#[tokio::test]
async fn channels_one_by_one_may_be_switched_off() {
    let server = Setup::default().config("[limits]\nmultichannel = false").start();
    let refused = refused(&server, &format!("{QUERY}&channels=2&multichannel=true")).await;
    assert_eq!((refused.status, &refused.body["err_code"]), (400, &json!("Bad Request")));
    assert_eq!(refused.body["err_msg"], "Bad Request: multichannel is switched off on this server.");
    connect(&server, &format!("{QUERY}&channels=2&multichannel=false")).await;
    let url = server.url("/v1/listen?multichannel=true");
    let wav = Tape::new(16_000).silence(0.1).wav(crate::common::audio::Wav::default());
    assert_eq!(reqwest::Client::new().post(url).body(wav).send().await.unwrap().status(), 400);
}

#[tokio::test]
async fn the_first_subprotocol_is_echoed_as_it_was_offered() {
    use tokio::io::AsyncWriteExt;
    let server = Server::start();
    for (offered, wanted) in [
        ("Token, k", Some("Token")),
        ("BEARER,k", Some("BEARER")),
        ("token", Some("token")),
        ("token\r\nSec-WebSocket-Protocol: k", Some("token")),
        ("other, token", None),
    ] {
        // By hand: a proper client ends a connection that accepts none of what it offered.
        let mut raw = Raw::tcp(server.address, None).await;
        let request = format!(
            "GET /v1/listen?{QUERY} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {offered}\r\n\r\n"
        );
        raw.stream.write_all(request.as_bytes()).await.unwrap();
        let head = raw.head().await;
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        let lines = head.lines().filter_map(|line| line.split_once(": "));
        let echoed = lines.filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-protocol"));
        assert_eq!(echoed.map(|(_, value)| value).next(), wanted, "{offered}");
    }
}

#[tokio::test]
async fn a_key_is_good_for_its_scopes_alone() {
    let hash = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    for (scopes, live, file) in [
        ("\"files\"", false, true),
        ("\"live\"", true, false),
        ("\"live\", \"files\"", true, true),
    ] {
        let config = format!("[auth]\nmode = \"keys\"\nkeys = [{{ name = \"desk\", sha256 = \"{hash}\", scopes = [{scopes}] }}]");
        let server = Setup::default().config(&config).start();
        let answered = connect_with(&server, QUERY, &[("authorization", "Token secret")]).await;
        assert_eq!(answered.is_ok(), live, "{scopes}");
        if let Err(refused) = answered {
            assert_eq!(
                (refused.status, &refused.body["err_code"]),
                (401, &json!("INSUFFICIENT_PERMISSIONS"))
            );
            assert_eq!(refused.headers["dg-error"], "User does not have sufficient permissions.");
        }
        let wav = Tape::new(16_000).silence(0.1).wav(crate::common::audio::Wav::default());
        let request = reqwest::Client::new().post(server.url("/v1/listen")).body(wav);
        let response = request.header("authorization", "Token secret").send().await.unwrap();
        assert_eq!(response.status(), if file { 200 } else { 401 }, "{scopes}");
        let other = connect_with(&server, QUERY, &[("authorization", "Token wrong")])
            .await
            .err()
            .unwrap();
        assert_eq!(other.body["err_code"], "INVALID_AUTH", "a wrong key is told no more than that");
    }
}

#[tokio::test]
async fn a_key_gets_as_many_streams_at_once_as_it_may_have() {
    let hash = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    let config = format!("[auth]\nmode = \"keys\"\nkeys = [{{ name = \"desk\", sha256 = \"{hash}\", streams = 1 }}]");
    let server = Setup::default().config(&config).start();
    let key = [("authorization", "Token secret")];
    let first = connect_with(&server, QUERY, &key).await.unwrap();
    let refused = connect_with(&server, QUERY, &key).await.err().unwrap();
    assert_eq!((refused.status, &refused.body["err_code"]), (429, &json!("TOO_MANY_REQUESTS")));
    assert_eq!(refused.headers["retry-after"], "1");
    first.close_stream().await;
    server.idle_but(0).await;
    connect_with(&server, QUERY, &key).await.unwrap();
}

#[tokio::test]
async fn streams_spread_over_the_devices_and_each_gets_its_own_words() {
    let server = Setup::default().slots(2).devices(2).start();
    let tape = Tape::new(16_000).tone(2.0).silence(0.5);
    let alone = transcribe(&server, &tape, QUERY, 100).await.text();
    server.idle_but(0).await;
    let mut streams = Vec::new();
    for _ in 0..4 {
        streams.push(connect(&server, QUERY).await);
    }
    assert_eq!(refused(&server, QUERY).await.status, 503);
    let seats = async |device: u8| server.metric(&format!("hark_stream_head_room{{device=\"{device}\"}}")).await;
    assert_eq!((seats(0).await, seats(1).await), (0.0, 0.0), "two streams on each");
    for live in &mut streams {
        live.audio(&tape.linear16()).await;
    }
    for live in streams {
        assert_eq!(live.close_stream().await.text(), alone);
    }
}

#[tokio::test]
async fn configured_keys_are_asked_for() {
    // printf %s secret | sha256sum
    let hash = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    let config = format!("[auth]\nmode = \"keys\"\nkeys = [{{ name = \"desk\", sha256 = \"{hash}\" }}]");
    let server = Setup::default().config(&config).start();
    for headers in [
        &[][..],
        &[("authorization", "Token wrong")],
        &[("authorization", "secret")],
        &[("sec-websocket-protocol", "token, x")],
    ] {
        let refused = connect_with(&server, QUERY, headers).await.err().unwrap();
        assert_eq!(
            (refused.status, &refused.body["err_code"]),
            (401, &json!("INVALID_AUTH")),
            "{headers:?}"
        );
        assert_eq!(refused.headers["dg-error"], "Invalid credentials.");
    }
    for header in [
        ("authorization", "Token secret"),
        ("authorization", "bearer secret"),
        ("sec-websocket-protocol", "token, secret"),
    ] {
        connect_with(&server, QUERY, &[header]).await.unwrap();
    }
}

#[tokio::test]
async fn a_get_without_upgrade_is_refused_with_400() {
    let server = Server::start();
    let response = reqwest::get(server.url(&format!("/v1/listen?{QUERY}"))).await.unwrap();
    assert_eq!(response.status(), 400);
    let id = request_id(response.headers());
    let body: serde_json::Value = response.json().await.unwrap();
    assert_eq!((&body["err_code"], &body["request_id"]), (&json!("Bad Request"), &json!(id)));
}

#[tokio::test]
async fn an_upgrade_without_a_key_or_with_another_version_leaves_no_stream() {
    use tokio::io::AsyncWriteExt;
    let server = Setup::default().slots(1).start();
    for lines in [
        "Sec-WebSocket-Version: 13\r\n",
        "Sec-WebSocket-Version: 99\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    ] {
        let mut raw = Raw::tcp(server.address, None).await;
        let request = format!("GET /v1/listen?{QUERY} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{lines}\r\n");
        raw.stream.write_all(request.as_bytes()).await.unwrap();
        let head = raw.head().await;
        assert!(head.starts_with("HTTP/1.1 400"), "{head}");
        server.idle_but(0).await;
    }
    // Each counts once, as refused.
    let page = server.get("/metrics").await;
    let counted: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("engine_requests_total{kind=\"stream\""))
        .collect();
    assert_eq!(counted, ["engine_requests_total{kind=\"stream\",response_status=\"4xx\"} 2"]);
    connect(&server, QUERY).await;
}

#[tokio::test]
async fn the_upgrade_carries_cross_origin_headers() {
    let server = Server::start();
    let live = connect_with(&server, QUERY, &[("origin", "https://app.example")]).await.unwrap();
    assert_eq!(live.headers["access-control-allow-origin"], "https://app.example");
    assert_eq!(live.headers["access-control-allow-credentials"], "true");
    assert_eq!(live.headers["vary"], "origin");
    assert!(
        live.headers["access-control-expose-headers"]
            .to_str()
            .unwrap()
            .contains("dg-request-id")
    );
}

#[tokio::test]
async fn compression_may_be_offered_and_is_not_used() {
    let server = Server::start();
    let offer = ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits");
    let mut live = connect_with(&server, QUERY, &[offer]).await.unwrap();
    assert!(live.headers.get("sec-websocket-extensions").is_none());
    live.audio(&Tape::new(16_000).tone(0.5).linear16()).await;
    assert!(!live.close_stream().await.words().is_empty());
}

#[tokio::test]
async fn headers_of_client_libraries_are_ignored_and_a_long_query_is_taken() {
    let server = Server::start();
    let headers = [
        ("content-type", "application/json"),
        ("x-deepgram-session-id", "s"),
        ("x-fern-language", "Python"),
        ("x-client-info", "x"),
    ];
    connect_with(&server, QUERY, &headers).await.unwrap();
    let keyterms: String = (0..490).map(|n| format!("&keyterm=term{n}{}", "x".repeat(100))).collect();
    assert!(keyterms.len() > 50_000);
    connect(&server, &format!("{QUERY}&model=nova-3{keyterms}")).await;
    let refused = refused(&server, &format!("{QUERY}&model=nova-3{keyterms}&keyterm=a+b+c+d+e+f+g+h+i+j+k")).await;
    assert_eq!(refused.status, 400);
    assert!(refused.body["err_msg"].as_str().unwrap().contains("Keyterm limit exceeded"));
}
