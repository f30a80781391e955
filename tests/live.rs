//! Live streams over real sockets: checks 1 to 16 of the compatible interface, and in `live/` the rules behind them.
//!
//! The engine is scripted, so that every word and time can be foretold; sockets, HTTP, scheduler, session and audio are
//! the real ones.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic,
    reason = "tests"
)]

#[path = "live/benchmark.rs"]
mod benchmark;
#[path = "live/callback.rs"]
mod callback;
mod common;
#[path = "live/encodings.rs"]
mod encodings;
#[path = "live/handshake.rs"]
mod handshake;
#[path = "live/messages.rs"]
mod messages;
#[path = "live/results.rs"]
mod results;

use std::time::{Duration, Instant};

use common::audio::{Tape, random};
use common::client::{
    CLOSE_STREAM, FINALIZE, KEEP_ALIVE, Said, assert_tiles, connect, connect_with, number, samples, text, transcribe, transcript, window,
    words,
};
use common::{Server, Setup, median, quiet, request_id, word_at};

/// Mono linear16 at 16 kHz.
const QUERY: &str = "encoding=linear16&sample_rate=16000";

/// About 14 s of speech with pauses of different length.
fn talk() -> Tape {
    let tape = Tape::new(16_000).silence(0.48).speech(2.08).silence(0.8).speech(3.2);
    tape.silence(0.32).speech(2.56).silence(1.28).speech(1.6).silence(1.6)
}

#[tokio::test]
async fn check_01_no_auth_is_needed_and_the_subprotocol_is_echoed() {
    let server = Server::start();
    let echoed = async |headers: &[(&str, &str)]| {
        let live = connect_with(&server, QUERY, headers).await.unwrap();
        live.headers
            .get("sec-websocket-protocol")
            .map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(echoed(&[]).await, None);
    assert_eq!(echoed(&[("authorization", "Token anything")]).await, None);
    assert_eq!(echoed(&[("authorization", "bearer x.y.z")]).await, None);
    assert_eq!(echoed(&[("sec-websocket-protocol", "token, x")]).await.as_deref(), Some("token"));
    assert_eq!(
        echoed(&[("sec-websocket-protocol", "bearer, eyJh.x.y")]).await.as_deref(),
        Some("bearer")
    );
}

#[tokio::test]
async fn check_02_one_request_id_in_headers_and_bodies() {
    let server = Setup::default().slots(1).start();
    let mut live = connect(&server, QUERY).await;
    let id = request_id(&live.headers);
    live.audio(&Tape::new(16_000).tone(1.2).linear16()).await;

    // 4xx and 5xx while the only slot is taken.
    for (query, status) in [("model=no-such", 400), (QUERY, 503)] {
        let refused = connect_with(&server, query, &[]).await.err().unwrap();
        assert_eq!(refused.status, status);
        assert_eq!(refused.body["request_id"], request_id(&refused.headers).as_str());
    }

    let conversation = live.close_stream().await;
    assert_eq!(conversation.metadata()["request_id"], id.as_str());
    for result in conversation.all("Results") {
        assert_eq!(result["metadata"]["request_id"], id.as_str());
    }
    assert!(!conversation.all("Results").is_empty());

    let silence = Tape::new(16_000).silence(0.5).wav(common::audio::Wav::default());
    server.idle_within(Duration::from_secs(5)).await;
    let response = reqwest::Client::new()
        .post(server.url("/v1/listen"))
        .body(silence)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    let id = request_id(response.headers());
    let body: serde_json::Value = response.json().await.unwrap();
    assert_eq!(body["metadata"]["request_id"], id.as_str());
}

#[tokio::test]
async fn check_03_a_bad_model_is_refused_before_the_upgrade() {
    let server = Server::start();
    let refused = connect_with(&server, &format!("{QUERY}&model=no-such-model"), &[])
        .await
        .err()
        .unwrap();
    assert_eq!(refused.status, 400);
    assert_eq!(refused.headers["content-type"], "application/json");
    assert_eq!(
        refused.headers["dg-error"],
        "Bad Request: No such model/language/tier combination found."
    );
    assert_eq!(refused.body["err_code"], "Bad Request");
    assert_eq!(
        refused.body["err_msg"],
        "Bad Request: No such model/language/tier combination found."
    );
}

#[tokio::test]
async fn check_04_booleans_with_capitals_are_accepted() {
    let server = Server::start();
    let tape = Tape::new(16_000).tone(2.5);
    let conversation = transcribe(&server, &tape, "interim_results=True&punctuate=True&smart_format=False", 100).await;
    assert!(
        conversation.all("Results").iter().any(|result| result["is_final"] == false),
        "no interim results"
    );
    assert!(conversation.words()[0]["punctuated_word"].is_string());
}

#[tokio::test]
async fn check_05_nothing_is_sent_before_audio() {
    let server = Server::start();
    let mut live = connect(
        &server,
        &format!("{QUERY}&interim_results=true&vad_events=true&utterance_end_ms=1000"),
    )
    .await;
    live.listen_for(Duration::from_secs(3)).await;
    assert_eq!(live.heard, []);
}

#[tokio::test]
async fn check_06_interims_come_about_once_a_second_of_audio() {
    let server = Server::start();
    let tape = Tape::new(16_000).silence(0.48).speech(4.2);
    let conversation = transcribe(&server, &tape, "interim_results=true&endpointing=false", 50).await;
    let results = conversation.results(0);
    let interims: Vec<(f64, f64)> = results
        .iter()
        .filter(|result| result["is_final"] == false)
        .map(|result| window(result))
        .collect();
    assert_eq!(interims.len(), 4, "{interims:?}");
    for (n, (start, end)) in interims.iter().enumerate() {
        let due = (n + 1) as f64;
        assert_eq!(*start, 0.0);
        assert!((due..due + 0.17).contains(end), "interim {n} ends at {end}");
    }
    assert_eq!(results.last().unwrap()["is_final"], true);
    assert_eq!(results.len(), 5);
}

#[tokio::test]
async fn check_07_finals_tile_the_time_line() {
    let server = Server::start();
    let tape = talk();
    for query in [
        "interim_results=true",
        "endpointing=300",
        "endpointing=false",
        "interim_results=true&utterance_end_ms=1000",
    ] {
        let conversation = transcribe(&server, &tape, query, 20).await;
        let finals = conversation.finals();
        assert!(finals.len() >= 2, "{query}: {} finals", finals.len());
        assert_tiles(&finals, tape.seconds());
        let sum: u64 = finals.iter().map(|result| samples(&result["duration"])).sum();
        assert_eq!(sum, samples(&conversation.metadata()["duration"]), "{query}");
        assert_eq!(sum, tape.samples.len() as u64, "{query}");
    }
}

#[tokio::test]
async fn check_08_speech_final_implies_final_and_may_be_empty() {
    let server = Server::start();
    let mut live = connect(&server, &format!("{QUERY}&interim_results=true&endpointing=300")).await;
    live.audio(&Tape::new(16_000).silence(0.48).speech(2.08).linear16()).await;
    live.text(FINALIZE).await;
    assert!(!transcript(&live.until_finalized().await).is_empty());
    // The end of that speech is heard only now, and there is nothing left to transcribe.
    live.audio(&Tape::new(16_000).silence(1.0).linear16()).await;
    live.audio(&Tape::new(16_000).speech(2.08).silence(1.0).linear16()).await;
    let conversation = live.close_stream().await;
    let ends: Vec<&str> = conversation
        .all("Results")
        .iter()
        .filter(|r| r["speech_final"] == true)
        .map(|r| transcript(r))
        .collect();
    assert!(
        conversation
            .all("Results")
            .iter()
            .all(|r| r["speech_final"] == false || r["is_final"] == true)
    );
    assert!(ends.contains(&""), "no empty one: {ends:?}");
    assert!(ends.iter().any(|text| !text.is_empty()), "only empty ones: {ends:?}");
}

#[tokio::test]
async fn check_09_finalize_is_answered_within_500_ms() {
    let _quiet = quiet();
    let server = Server::start();
    let (mut in_silence, mut in_speech) = (Vec::new(), Vec::new());
    for _ in 0..7 {
        let mut live = connect(&server, QUERY).await;
        live.audio(&Tape::new(16_000).silence(0.05).linear16()).await;
        let asked = Instant::now();
        live.text(FINALIZE).await;
        let reply = live.until_finalized().await;
        in_silence.push(asked.elapsed());
        assert_eq!((&reply["is_final"], transcript(&reply)), (&true.into(), ""));
        assert_eq!(window(&reply), (0.0, 0.05));
        // And in the middle of speech, with the words so far.
        live.audio(&Tape::new(16_000).silence(0.32).speech(1.0).linear16()).await;
        let asked = Instant::now();
        live.text(FINALIZE).await;
        let reply = live.until_finalized().await;
        in_speech.push(asked.elapsed());
        assert!(!words(&reply).is_empty());
    }
    for took in [in_silence, in_speech] {
        assert!(median(&took) < Duration::from_millis(500), "{took:?}");
    }
}

#[tokio::test]
async fn check_10_close_stream_ends_within_200_ms_with_results_metadata_and_1000() {
    let _quiet = quiet();
    let server = Server::start();
    let tape = Tape::new(16_000).silence(0.16).speech(0.96);
    let mut took = Vec::new();
    for _ in 0..5 {
        let mut live = connect(&server, &format!("{QUERY}&interim_results=true")).await;
        live.speak(&tape, 1.0).await;
        let asked = Instant::now();
        live.text(CLOSE_STREAM).await;
        let conversation = live.until_end().await;
        took.push(conversation.closed_at() - asked);
        let kinds: Vec<&Said> = conversation.heard.iter().rev().take(4).map(|(_, said)| said).collect();
        assert!(matches!(kinds[0], Said::Gone(error) if error.is_empty()), "{kinds:?}");
        assert_eq!(kinds[1], &Said::Close(1000, String::new()));
        assert!(kinds[2].message("Metadata").is_some(), "{kinds:?}");
        assert!(
            kinds[3].message("Results").is_some_and(|result| result["is_final"] == true),
            "{kinds:?}"
        );
        assert_eq!(conversation.text(), [4, 8, 12].map(word_at).join(" "));
        assert_tiles(&conversation.finals(), tape.seconds());
    }
    assert!(median(&took) < Duration::from_millis(200), "{took:?}");
}

#[tokio::test]
async fn check_11_an_empty_binary_frame_ends_the_stream() {
    let server = Server::start();
    let mut live = connect(&server, QUERY).await;
    live.audio(&Tape::new(16_000).tone(1.0).linear16()).await;
    live.audio(&[]).await;
    let conversation = live.until_end().await;
    assert_eq!(conversation.text(), [0, 4, 8, 12].map(word_at).join(" "));
    assert_eq!(number(&conversation.metadata()["duration"]), 1.0);
    assert_eq!(conversation.close(), (1000, ""));
}

#[tokio::test]
async fn check_12_ten_seconds_without_a_frame_end_the_stream() {
    let server = Server::start();
    let mut live = connect(&server, QUERY).await;
    live.audio(&Tape::new(16_000).tone(1.0).linear16()).await;
    let last_frame = Instant::now();
    let conversation = live.until_end().await;
    let waited = conversation.closed_at() - last_frame;
    assert!(
        (Duration::from_millis(9_900)..Duration::from_millis(12_000)).contains(&waited),
        "{waited:?}"
    );
    let reason = "Deepgram did not receive audio data or a text message within the timeout window. See https://dpgr.am/net0001";
    assert_eq!(conversation.close(), (1011, reason));
    assert!(conversation.last_at("Metadata") <= conversation.closed_at());
    assert_eq!(number(&conversation.metadata()["duration"]), 1.0);
    assert_eq!(conversation.text(), [0, 4, 8, 12].map(word_at).join(" "));
}

#[tokio::test]
async fn check_12_keep_alive_every_5_s_holds_the_stream_for_60_s_without_advancing_time() {
    let server = Server::start();
    let mut live = connect(&server, &format!("{QUERY}&interim_results=true")).await;
    let tape = Tape::new(16_000).silence(0.48).speech(1.12);
    live.audio(&tape.linear16()).await;
    for _ in 0..12 {
        live.listen_for(Duration::from_secs(5)).await;
        live.text(KEEP_ALIVE).await;
    }
    assert!(
        live.heard.iter().all(|(_, said)| said.message("Results").is_some()),
        "{:#?}",
        live.heard
    );
    live.audio(&tape.linear16()).await;
    let conversation = live.close_stream().await;
    assert_eq!(conversation.close(), (1000, ""));
    assert_tiles(&conversation.finals(), 2.0 * tape.seconds());
    assert_eq!(number(&conversation.metadata()["duration"]), 3.2);
}

#[tokio::test]
async fn check_13_garbage_text_is_answered_and_the_stream_goes_on() {
    let server = Server::start();
    let mut live = connect(&server, QUERY).await;
    for garbage in ["hello", r#"{"type":"Nonsense"}"#, r#"{"no":"type"}"#, "[1,2]", ""] {
        live.text(garbage).await;
        let said = live.next().await;
        let error = said.message("Error").unwrap_or_else(|| panic!("{said:?}"));
        assert_eq!(error["variant"], "SchemaError");
        assert_eq!(error["message"], garbage);
        assert!(!error["description"].as_str().unwrap().is_empty());
    }
    live.audio(&Tape::new(16_000).tone(1.0).linear16()).await;
    let conversation = live.close_stream().await;
    assert_eq!(conversation.text(), [0, 4, 8, 12].map(word_at).join(" "));
    assert_eq!(conversation.close(), (1000, ""));
}

#[tokio::test]
async fn check_14_random_bytes_without_an_encoding_close_with_1008() {
    let server = Server::start();
    let mut live = connect(&server, "interim_results=true").await;
    live.audio(&random(4_000)).await;
    let conversation = live.until_end().await;
    let (code, reason) = conversation.close();
    assert_eq!(code, 1008);
    assert!(reason.contains("DATA-0000"), "{reason}");
    assert!(conversation.last_at("Metadata") <= conversation.closed_at());
    assert_eq!(conversation.all("Results").len(), 0);
}

#[tokio::test]
async fn check_15_two_channels_give_two_streams_of_results() {
    let server = Server::start();
    let left = Tape::new(16_000).silence(0.48).speech(2.24).silence(2.4);
    let right = Tape::new(16_000).silence(2.4).speech(2.24).silence(0.48);
    let both = Tape::interleave(&[left.clone(), right.clone()]);
    let conversation = transcribe(&server, &both, "multichannel=true&interim_results=true", 20).await;
    for (channel, mono) in [(0, left), (1, right)] {
        let results = conversation.results(channel);
        assert!(
            results
                .iter()
                .all(|result| result["channel_index"] == serde_json::json!([channel, 2]))
        );
        let finals = conversation.finals_of(channel);
        assert_tiles(&finals, mono.seconds());
        let spoken: Vec<_> = finals.iter().flat_map(|result| words(result)).collect();
        let alone = transcribe(&server, &mono, "interim_results=true", 20).await;
        assert_eq!(spoken, alone.words(), "channel {channel} differs from the same audio alone");
        assert!(!spoken.is_empty());
    }
    assert_eq!(conversation.metadata()["channels"], 2);
    assert_eq!(conversation.close(), (1000, ""));
}

#[tokio::test]
async fn check_16_utterance_end_comes_once_after_the_results_in_noise() {
    let server = Server::start();
    // The murmur is speech for the speech detector, so endpointing never sees a pause, but has no words.
    let tape = Tape::new(16_000).silence(0.48).speech(1.6).murmur(4.0).speech(1.6).murmur(2.4);
    let conversation = transcribe(&server, &tape, "utterance_end_ms=1000&interim_results=true&endpointing=300", 20).await;
    let ends: Vec<usize> = positions(&conversation.heard, "UtteranceEnd");
    assert_eq!(ends.len(), 2, "{:#?}", conversation.heard);
    for at in ends {
        let (before, end) = conversation.heard.split_at(at);
        let last = number(&end[0].1.message("UtteranceEnd").unwrap()["last_word_end"]);
        let shown = before
            .iter()
            .rev()
            .filter_map(|(_, said)| said.message("Results"))
            .flat_map(|result| words(result).pop())
            .next();
        assert_eq!(last, number(&shown.unwrap()["end"]), "the latest word shown before");
        assert_eq!(end[0].1.message("UtteranceEnd").unwrap()["channel"], serde_json::json!([0, 1]));
    }
    assert!(!text(&conversation.words()).is_empty());
}

fn positions(heard: &[(Instant, Said)], kind: &str) -> Vec<usize> {
    heard
        .iter()
        .enumerate()
        .filter(|(_, (_, said))| said.message(kind).is_some())
        .map(|(at, _)| at)
        .collect()
}
