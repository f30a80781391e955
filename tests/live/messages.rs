//! Messages and frames: control messages, ping, fragments, sizes, the timeouts.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio_tungstenite::tungstenite::{Bytes, Message};

use super::QUERY;
use crate::common::audio::Tape;
use crate::common::client::{
    CLOSE_STREAM, FINALIZE, KEEP_ALIVE, PATIENCE, Said, assert_tiles, connect, number, transcribe, transcript, window, words,
};
use crate::common::raw::{BINARY, CONTINUATION, PING, PONG, Raw, TEXT};
use crate::common::{Server, Setup, word_at};

#[tokio::test]
async fn a_ping_is_answered_at_once_with_its_payload() {
    let server = Server::start();
    let mut live = connect(&server, QUERY).await;
    for payload in [&b""[..], b"hello"] {
        live.send(Message::Ping(Bytes::from_static(payload))).await;
        let asked = Instant::now();
        assert_eq!(live.next().await, Said::Pong(payload.to_vec()));
        assert!(asked.elapsed() < Duration::from_secs(2));
    }
}

#[tokio::test]
async fn pings_do_not_count_as_frames() {
    let server = Setup::default().config("[stream]\nidle_timeout = \"2s\"").start();
    let mut live = connect(&server, QUERY).await;
    live.audio(&Tape::new(16_000).silence(0.2).linear16()).await;
    let began = Instant::now();
    let closed = loop {
        live.try_send(Message::Ping(Bytes::new())).await;
        match live.next_within(Duration::from_millis(200)).await {
            Some(Said::Close(code, reason)) => break (code, reason),
            Some(Said::Gone(reason)) => panic!("{reason}"),
            _ => assert!(began.elapsed() < PATIENCE, "the stream is still open"),
        }
    };
    assert_eq!(closed.0, 1011);
    assert!(closed.1.contains("net0001"));
    assert!(
        (Duration::from_millis(1_900)..Duration::from_secs(4)).contains(&began.elapsed()),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn keep_alives_without_any_audio_do_not_hold_a_stream() {
    let server = Setup::default()
        .config("[stream]\nno_audio_timeout = \"3s\"\nidle_timeout = \"2s\"")
        .start();
    let mut live = connect(&server, QUERY).await;
    let began = Instant::now();
    while live.try_send(Message::text(KEEP_ALIVE)).await {
        if let Some(Said::Close(code, reason)) = live.next_within(Duration::from_millis(500)).await {
            assert_eq!(code, 1011);
            assert!(reason.contains("NET-0002"), "{reason}");
            break;
        }
        assert!(began.elapsed() < PATIENCE, "the stream is still open");
    }
    assert!(
        (Duration::from_millis(2_900)..Duration::from_secs(6)).contains(&began.elapsed()),
        "{:?}",
        began.elapsed()
    );
    let conversation = live.until_end().await;
    let metadata = conversation.metadata();
    assert_eq!(number(&metadata["duration"]), 0.0);
    assert!(
        metadata.get("models").is_none() && metadata.get("model_info").is_none(),
        "no audio was processed: {metadata}"
    );
}

#[tokio::test]
async fn a_silent_line_without_any_frame_is_closed_even_before_audio() {
    let server = Setup::default().config("[stream]\nidle_timeout = \"1s\"").start();
    let live = connect(&server, QUERY).await;
    let conversation = live.until_end().await;
    assert!(conversation.close().1.contains("net0001"));
    assert_eq!(conversation.all("Metadata").len(), 1);
    assert_eq!(conversation.all("Results").len(), 0);
}

#[tokio::test]
async fn keep_alive_and_configure_are_not_answered() {
    let server = Server::start();
    let mut live = connect(&server, QUERY).await;
    for message in [
        KEEP_ALIVE,
        r#"{"type":"Configure","features":{"numerals":true}}"#,
        r#"{"type":"Configure","processors":{"numerals":false}}"#,
        r#"{"type":"Configure","keyterms":null}"#,
        r#"{"type":"KeepAlive","more":1}"#,
    ] {
        live.text(message).await;
    }
    live.listen_for(Duration::from_millis(500)).await;
    assert_eq!(live.heard, []);
}

#[tokio::test]
async fn configure_with_keyterms_is_answered_once() {
    let server = Server::start();
    let mut live = connect(&server, QUERY).await;
    let id = crate::common::request_id(&live.headers);
    live.text(r#"{"type":"Configure","keyterms":["hark"]}"#).await;
    let said = live.next().await;
    let reply = said.message("ConfigureFailure").unwrap();
    assert_eq!(
        (&reply["request_id"], &reply["code"]),
        (&json!(id), &json!("CONFIGURE_KEYTERMS_NOT_SUPPORTED"))
    );
    live.listen_for(Duration::from_millis(300)).await;
    assert_eq!(live.heard.len(), 1);
}

#[tokio::test]
async fn finalize_before_any_audio_is_not_answered() {
    let server = Server::start();
    let mut live = connect(&server, QUERY).await;
    live.text(FINALIZE).await;
    live.listen_for(Duration::from_millis(700)).await;
    assert_eq!(live.heard, []);
    live.audio(&Tape::new(16_000).silence(0.1).linear16()).await;
    live.text(FINALIZE).await;
    assert_eq!(window(&live.until_finalized().await), (0.0, 0.1));
}

#[tokio::test]
async fn every_finalize_is_answered_once_even_when_nothing_is_left() {
    let server = Server::start();
    let mut live = connect(&server, QUERY).await;
    live.audio(&Tape::new(16_000).silence(0.48).speech(1.12).linear16()).await;
    for _ in 0..3 {
        live.text(FINALIZE).await;
    }
    let conversation = live.close_stream().await;
    let replies: Vec<_> = conversation
        .all("Results")
        .into_iter()
        .filter(|result| result["from_finalize"] == true)
        .collect();
    assert_eq!(replies.len(), 3);
    assert!(replies.iter().all(|reply| reply["is_final"] == true));
    assert!(!transcript(replies[0]).is_empty());
    assert!(replies[1..].iter().all(|reply| transcript(reply).is_empty()));
    assert_tiles(&conversation.finals(), 1.6);
}

#[tokio::test]
async fn only_the_last_of_several_finals_is_from_finalize() {
    let server = Server::start();
    let mut live = connect(&server, &format!("{QUERY}&endpointing=300")).await;
    let tape = Tape::new(16_000).silence(0.48).speech(2.08).silence(1.0).speech(2.08);
    live.audio(&tape.linear16()).await;
    live.text(FINALIZE).await;
    live.until_finalized().await;
    let conversation = live.close_stream().await;
    let finals = conversation.finals();
    let replies: Vec<usize> = (0..finals.len()).filter(|&n| finals[n]["from_finalize"] == true).collect();
    assert!(finals.len() >= 2, "{finals:?}");
    assert_eq!(replies.len(), 1);
    assert!(
        (window(finals[replies[0]]).1 - tape.seconds()).abs() < 0.001,
        "the reply covers all audio sent before"
    );
    assert_tiles(&finals, tape.seconds());
}

#[tokio::test]
async fn finalize_may_name_a_channel() {
    let server = Server::start();
    let both = Tape::interleave(&[Tape::new(16_000).tone(1.0), Tape::new(16_000).tone(1.0)]);
    let mut live = connect(&server, &format!("{}&multichannel=true", both.query("linear16"))).await;
    live.audio(&both.linear16()).await;
    live.text(r#"{"type":"Finalize","channel":1}"#).await;
    assert_eq!(live.until_finalized().await["channel_index"], json!([1, 2]));
    live.text(FINALIZE).await;
    let conversation = live.close_stream().await;
    let of = |channel| {
        conversation
            .results(channel)
            .iter()
            .filter(|result| result["from_finalize"] == true)
            .count()
    };
    assert_eq!((of(0), of(1)), (1, 2));
    for channel in [0, 1] {
        assert_tiles(&conversation.finals_of(channel), 1.0);
    }
}

#[tokio::test]
async fn finalize_and_close_stream_apply_to_the_audio_sent_before_them() {
    let server = Server::start();
    let mut live = connect(&server, QUERY).await;
    let tape = Tape::new(16_000).tone(40.0);
    live.audio(&tape.linear16()).await;
    live.text(FINALIZE).await;
    live.audio(&tape.linear16()).await;
    live.text(CLOSE_STREAM).await;
    live.audio(&tape.linear16()).await;
    let conversation = live.until_end().await;
    let reply = conversation
        .finals()
        .into_iter()
        .find(|result| result["from_finalize"] == true)
        .unwrap()
        .clone();
    assert!((window(&reply).1 - 40.0).abs() < 0.001);
    assert_tiles(&conversation.finals(), 80.0);
    assert_eq!(conversation.words().len(), 250);
}

#[tokio::test]
async fn results_have_every_key_in_the_order_that_clients_have_seen() {
    let server = Server::start();
    let mut raw = Raw::open(server.address, &format!("{QUERY}&punctuate=true"), None).await;
    raw.frame(true, BINARY, &Tape::new(16_000).tone(0.2).linear16()).await;
    raw.frame(true, TEXT, FINALIZE.as_bytes()).await;
    let text = raw.next().await.unwrap().text();
    let pattern = [
        r#"{"type":"Results","channel_index":[0,1],"duration":0.2,"start":0.0,"is_final":true,"speech_final":"#,
        r#","channel":{"alternatives":[{"transcript":"word1","confidence":0.9,"words":[{"word":"word1","start":0.0,"end":0.08,"confidence":0.9,"punctuated_word":"word1"}]}]},"metadata":{"request_id":""#,
        r#"","model_info":{"name":"general-toy","version":"2026-01-01.1","arch":"toy"},"model_uuid":"2187e11a-3532-4498-b076-81fa530bdd49"},"from_finalize":true}"#,
    ];
    let mut rest = text.as_str();
    for part in pattern {
        rest = rest.split_once(part).unwrap_or_else(|| panic!("no {part} in {text}")).1;
    }
    assert_eq!(rest, "");
}

#[tokio::test]
async fn metadata_has_the_shape_that_clients_parse() {
    let server = Server::start();
    let conversation = transcribe(&server, &Tape::new(16_000).tone(0.5), "", 100).await;
    let metadata = conversation.metadata();
    let uuid = crate::common::MODEL.to_string();
    let keys: Vec<&String> = metadata.as_object().unwrap().keys().collect();
    let all = [
        "channels",
        "created",
        "duration",
        "model_info",
        "models",
        "request_id",
        "sha256",
        "transaction_key",
        "type",
    ];
    assert_eq!(keys, all);
    assert_eq!(
        (&metadata["transaction_key"], &metadata["sha256"], &metadata["channels"]),
        (&json!("deprecated"), &json!("incomplete"), &json!(1))
    );
    assert_eq!(metadata["models"], json!([uuid]));
    assert_eq!(
        metadata["model_info"],
        json!({uuid: {"name": "general-toy", "version": "2026-01-01.1", "arch": "toy"}})
    );
    let created = metadata["created"].as_str().unwrap();
    assert!(created.len() == 24 && created.ends_with('Z') && created.contains('T'), "{created}");
}

#[tokio::test]
async fn fragmented_messages_are_joined_also_around_a_ping() {
    let server = Server::start();
    let mut raw = Raw::open(server.address, QUERY, None).await;
    let bytes = Tape::new(16_000).tone(1.0).linear16();
    let (first, rest) = bytes.split_at(9_999);
    let (second, third) = rest.split_at(1);
    raw.frame(false, BINARY, first).await;
    raw.frame(true, PING, b"between").await;
    raw.frame(false, CONTINUATION, second).await;
    raw.frame(true, CONTINUATION, third).await;
    raw.frame(false, TEXT, &CLOSE_STREAM.as_bytes()[..7]).await;
    raw.frame(true, CONTINUATION, &CLOSE_STREAM.as_bytes()[7..]).await;
    let frames = raw.rest(PATIENCE).await;
    assert!(frames.iter().any(|frame| frame.opcode == PONG && frame.payload == b"between"));
    let results: Vec<serde_json::Value> = frames
        .iter()
        .filter(|frame| frame.opcode == TEXT)
        .map(|frame| serde_json::from_str(&frame.text()).unwrap())
        .collect();
    let words: Vec<_> = results.iter().filter(|r| r["type"] == "Results").flat_map(words).collect();
    assert_eq!(crate::common::client::text(&words), [0, 4, 8, 12].map(word_at).join(" "));
    assert_eq!(frames.last().unwrap().close_code(), Some(1000));
}

#[tokio::test]
async fn a_fragmented_empty_binary_message_ends_the_stream() {
    let server = Server::start();
    let mut raw = Raw::open(server.address, QUERY, None).await;
    raw.frame(false, BINARY, &[]).await;
    raw.frame(true, CONTINUATION, &[]).await;
    assert_eq!(raw.rest(PATIENCE).await.last().unwrap().close_code(), Some(1000));
}

#[tokio::test]
async fn a_message_of_16_mib_is_taken_whole() {
    let _busy = crate::common::busy();
    let server = Server::start();
    let samples = 8 << 20;
    let mut live = connect(&server, "encoding=linear16&sample_rate=48000").await;
    live.audio(&vec![0; samples * 2]).await;
    let conversation = live.close_stream().await;
    assert_eq!(conversation.close(), (1000, ""));
    let seconds = samples as f64 / 48_000.0;
    assert_tiles(&conversation.finals(), seconds);
}

#[tokio::test]
async fn a_client_that_closes_is_answered_and_nothing_more() {
    let server = Server::start();
    let mut live = connect(&server, QUERY).await;
    live.audio(&Tape::new(16_000).tone(0.1).linear16()).await;
    live.send(Message::Close(None)).await;
    let conversation = live.until_end().await;
    assert_eq!(conversation.all("Results").len() + conversation.all("Metadata").len(), 0);
    server.idle_within(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn nothing_is_ever_sent_in_binary() {
    let server = Server::start();
    let tape = super::talk();
    let conversation = transcribe(&server, &tape, "interim_results=true&vad_events=true&utterance_end_ms=1000", 20).await;
    assert!(!conversation.heard.iter().any(|(_, said)| matches!(said, Said::Binary(_))));
    let known = ["Results", "SpeechStarted", "UtteranceEnd", "Metadata"];
    for (_, said) in &conversation.heard {
        if let Said::Json(message) = said {
            assert!(known.contains(&message["type"].as_str().unwrap()), "{message}");
        }
    }
}
