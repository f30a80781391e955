//! Clients that do not read, half close, break the protocol or vanish.

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;

use super::QUERY;
use crate::common::audio::Tape;
use crate::common::client::{CLOSE_STREAM, PATIENCE, connect};
use crate::common::raw::{BINARY, CLOSE, CONTINUATION, Frame, PING, Raw, TEXT, encode, head};
use crate::common::{Server, Setup, busy};

fn results(frames: &[Frame]) -> Vec<serde_json::Value> {
    let texts = frames.iter().filter(|frame| frame.opcode == TEXT);
    texts
        .map(|frame| serde_json::from_str(&frame.text()).unwrap())
        .filter(|message: &serde_json::Value| message["type"] == "Results")
        .collect()
}

#[tokio::test]
async fn a_client_that_does_not_read_is_ended_in_bounded_time_with_memory_flat() {
    let _busy = busy();
    let config = "[stream]\ntcp_user_timeout = \"2s\"\ninterim_step = \"80ms\"\nresult_backlog = 16";
    let server = Setup::default().config(config).child();
    let sockets = || server.sockets();
    let mut warm = connect(&server, "encoding=mulaw&sample_rate=8000&interim_results=true").await;
    warm.audio(&Tape::new(8_000).tone(10.0).encode("mulaw")).await;
    warm.close_stream().await;
    let (before, open) = (server.resident().0, sockets());
    let sound = Tape::new(8_000).speech(60.0).encode("mulaw");
    let mut stuck = Vec::new();
    for _ in 0..8 {
        let mut raw = Raw::open(
            server.address,
            "encoding=mulaw&sample_rate=8000&interim_results=true&punctuate=true",
            Some(2_048),
        )
        .await;
        stuck.push(tokio::spawn(async move {
            // An hour at most; the server stops taking it long before.
            for _ in 0..60 {
                if !raw.try_frame(BINARY, &sound_of_minute(), Duration::from_secs(20)).await {
                    break;
                }
            }
            raw
        }));
    }
    let began = Instant::now();
    server.idle_within(Duration::from_secs(25)).await;
    while sockets() > open {
        assert!(
            began.elapsed() < Duration::from_secs(40),
            "{} connections are still there",
            sockets() - open
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let most = server.resident().1;
    assert!(
        most < before + (32 << 20),
        "memory went from {} to {} MiB",
        before >> 20,
        most >> 20
    );
    assert!(server.metric("hark_streams_evicted_total").await >= 1.0);
    // Others were not disturbed.
    let mut live = connect(&server, "encoding=mulaw&sample_rate=8000").await;
    live.audio(&sound[..16_000]).await;
    assert_eq!(live.close_stream().await.close(), (1000, ""));
    for task in stuck {
        task.abort();
    }
}

fn sound_of_minute() -> Vec<u8> {
    Tape::new(8_000).speech(60.0).encode("mulaw")
}

#[tokio::test]
async fn a_client_that_half_closes_after_close_stream_is_ended_at_once() {
    let server = Server::start();
    let mut raw = Raw::open(server.address, QUERY, None).await;
    let mut bytes = encode(true, BINARY, &Tape::new(16_000).tone(1.0).linear16());
    bytes.extend(encode(true, TEXT, CLOSE_STREAM.as_bytes()));
    raw.stream.write_all(&bytes).await.unwrap();
    raw.stream.shutdown().await.unwrap();
    // The HTTP library gives up on a connection whose client has closed its half; docs/compatibility.md says so.
    raw.rest(PATIENCE).await;
    server.idle_within(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_client_that_half_closes_without_a_word_is_gone() {
    let server = Server::start();
    let mut raw = Raw::open(server.address, QUERY, None).await;
    raw.frame(true, BINARY, &Tape::new(16_000).tone(0.5).linear16()).await;
    raw.stream.shutdown().await.unwrap();
    raw.rest(PATIENCE).await;
    server.idle_within(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_reset_connection_is_forgotten_at_once() {
    let server = Setup::default().slots(1).child();
    for _ in 0..10 {
        let mut raw = Raw::open(server.address, QUERY, None).await;
        raw.frame(true, BINARY, &Tape::new(16_000).tone(0.5).linear16()).await;
        raw.reset();
        server.idle_within(Duration::from_secs(5)).await;
    }
    let broken = server.metric("hark_streams_closed_total{code=\"1006\"}").await;
    assert!(broken >= 10.0, "{broken} broken connections counted");
}

#[tokio::test]
async fn a_message_above_the_limit_closes_with_1009() {
    let server = Setup::default().config("[stream]\nmax_message_bytes = 65536").start();
    let sound = vec![0; 65_536];
    // At the limit, in one frame and in two.
    let mut raw = Raw::open(server.address, QUERY, None).await;
    raw.frame(true, BINARY, &sound).await;
    raw.frame(false, BINARY, &sound[..65_000]).await;
    raw.frame(true, CONTINUATION, &sound[..536]).await;
    raw.frame(true, TEXT, CLOSE_STREAM.as_bytes()).await;
    let frames = raw.rest(PATIENCE).await;
    assert_eq!(frames.last().unwrap().close_code(), Some(1000), "{frames:?}");
    let audio: f64 = results(&frames).iter().map(|result| result["duration"].as_f64().unwrap()).sum();
    assert!((audio - 2.0 * 65_536.0 / 32_000.0).abs() < 0.01, "{audio} s");

    let mut raw = Raw::open(server.address, QUERY, None).await;
    raw.frame(true, BINARY, &[&sound[..], &[0]].concat()).await;
    assert_eq!(raw.rest(PATIENCE).await.last().and_then(Frame::close_code), Some(1009), "one frame");

    let mut raw = Raw::open(server.address, QUERY, None).await;
    raw.frame(false, BINARY, &sound[..65_000]).await;
    raw.frame(true, CONTINUATION, &sound[..537]).await;
    assert_eq!(
        raw.rest(PATIENCE).await.last().and_then(Frame::close_code),
        Some(1009),
        "two frames"
    );
    server.idle_within(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_frame_that_claims_exabytes_is_refused_at_its_head() {
    let server = Server::start();
    for length in [16 << 20 | 1, 1 << 40, usize::MAX >> 1] {
        let mut raw = Raw::open(server.address, QUERY, None).await;
        raw.stream.write_all(&head(true, BINARY, length)).await.unwrap();
        raw.stream.write_all(&[0; 1_000]).await.unwrap();
        let frames = raw.rest(Duration::from_secs(10)).await;
        assert_eq!(frames.last().and_then(Frame::close_code), Some(1009), "{length}: {frames:?}");
        server.idle_within(Duration::from_secs(5)).await;
    }
}

#[tokio::test]
async fn frames_that_break_the_protocol_close_with_1002() {
    let server = Server::start();
    let unmasked = vec![0x80 | BINARY, 4, 0, 0, 0, 0];
    let cases = [
        ("unmasked", unmasked),
        ("unknown opcode", encode(true, 3, b"x")),
        ("continuation of nothing", encode(true, CONTINUATION, b"x")),
        ("fragmented ping", encode(false, PING, b"x")),
        ("long ping", encode(true, PING, &[0; 126])),
        (
            "message inside a message",
            [encode(false, BINARY, b"xx"), encode(true, BINARY, b"xx")].concat(),
        ),
    ];
    for (what, bytes) in cases {
        let mut raw = Raw::open(server.address, QUERY, None).await;
        raw.stream.write_all(&bytes).await.unwrap();
        let frames = raw.rest(Duration::from_secs(10)).await;
        assert_eq!(frames.last().and_then(Frame::close_code), Some(1002), "{what}: {frames:?}");
        server.idle_within(Duration::from_secs(5)).await;
    }
}

#[tokio::test]
async fn a_close_frame_of_any_kind_ends_the_stream() {
    let server = Server::start();
    for payload in [&b""[..], &[0x03, 0xe8], &[0x03, 0xe9, b'b', b'y', b'e'], &[0x03], &[0xff, 0xff]] {
        let mut raw = Raw::open(server.address, QUERY, None).await;
        raw.frame(true, BINARY, &[0; 640]).await;
        raw.frame(true, CLOSE, payload).await;
        let frames = raw.rest(Duration::from_secs(10)).await;
        assert!(frames.iter().all(|frame| frame.opcode == CLOSE), "{payload:?}: {frames:?}");
        server.idle_within(Duration::from_secs(5)).await;
    }
}

#[tokio::test]
async fn text_that_is_not_utf_8_is_answered_and_the_stream_goes_on() {
    let server = Server::start();
    let mut raw = Raw::open(server.address, QUERY, None).await;
    raw.frame(true, TEXT, &[0xff, 0xfe, 0xfd]).await;
    raw.frame(false, TEXT, &[0xff]).await;
    raw.frame(true, CONTINUATION, &[0xfe, 0xfd]).await;
    raw.frame(true, BINARY, &Tape::new(16_000).tone(1.0).linear16()).await;
    raw.frame(true, TEXT, CLOSE_STREAM.as_bytes()).await;
    let frames = raw.rest(PATIENCE).await;
    let texts = frames.iter().filter(|frame| frame.opcode == TEXT).map(Frame::text);
    let errors: Vec<String> = texts.filter(|text| text.contains("SchemaError")).collect();
    assert_eq!(errors.len(), 2, "{frames:?}");
    assert_eq!(errors[0], errors[1], "whole and in fragments");
    assert!(!results(&frames).is_empty(), "{frames:?}");
    assert_eq!(frames.last().and_then(Frame::close_code), Some(1000), "{frames:?}");
}

#[tokio::test]
async fn a_head_that_never_ends_is_given_up() {
    let server = Setup::default().config("[limits]\nrequest_timeout = \"2s\"").start();
    let mut raw = Raw::tcp(server.address, None).await;
    raw.stream
        .write_all(b"GET /v1/listen HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        .await
        .unwrap();
    let began = Instant::now();
    let trickle = async {
        while raw.stream.write_all(b"a").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), trickle)
        .await
        .expect("the connection is still open");
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}
