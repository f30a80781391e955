//! Faults over real sockets: clients that do not read, break off, flood or lie; an engine that fails, dies or hangs; a
//! server that stops in the middle of calls.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod common;
#[path = "faults/engine.rs"]
mod engine;
#[path = "faults/flood.rs"]
mod flood;
#[path = "faults/socket.rs"]
mod socket;

use std::time::{Duration, Instant};

use common::audio::Tape;
use common::client::{CLOSE_STREAM, Said, assert_tiles, connect, connect_with, number};
use common::{Setup, word_at};
use futures_util::future::join_all;

/// Mono linear16 at 16 kHz.
const QUERY: &str = "encoding=linear16&sample_rate=16000";

#[test]
#[ignore = "the server of other tests, which start it"]
fn server_in_a_process_of_its_own() {
    common::serve_as_child();
}

#[tokio::test]
async fn a_stopping_server_takes_nothing_new_and_lets_calls_finish() {
    let mut server = Setup::default().config("[server]\ndrain = \"30s\"").start();
    let mut live = connect(&server, QUERY).await;
    live.audio(&Tape::new(16_000).tone(1.0).linear16()).await;
    server.ask_to_stop();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let refused = connect_with(&server, QUERY, &[]).await.err().expect("a new stream was taken");
    assert_eq!(refused.status, 503);
    assert_eq!(refused.headers["retry-after"], "1");
    live.audio(&Tape::new(16_000).tone(1.0).linear16()).await;
    let asked = Instant::now();
    let conversation = live.close_stream().await;
    assert_eq!(conversation.words().len(), 7);
    assert_tiles(&conversation.finals(), 2.0);
    assert_eq!(conversation.close(), (1000, ""));
    server.join().unwrap();
    assert!(
        asked.elapsed() < Duration::from_secs(10),
        "the server waited although nothing ran: {:?}",
        asked.elapsed()
    );
}

#[tokio::test]
async fn a_file_under_way_is_finished_before_the_server_stops() {
    let mut server = Setup::default()
        .step(Duration::from_millis(10))
        .config("[server]\ndrain = \"30s\"")
        .start();
    let wav = Tape::new(16_000).silence(0.48).tone(19.2).wav(common::audio::Wav::default());
    let request = reqwest::Client::new().post(server.url("/v1/listen")).body(wav);
    let job = tokio::spawn(async move { request.send().await.unwrap().json::<serde_json::Value>().await.unwrap() });
    while server.active().await.1 == 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    server.ask_to_stop();
    let body = job.await.unwrap();
    assert_eq!(
        body["results"]["channels"][0]["alternatives"][0]["words"].as_array().unwrap().len(),
        60
    );
    server.join().unwrap();
}

#[tokio::test]
async fn when_the_time_to_drain_is_over_calls_get_their_finals_and_1001() {
    let mut server = Setup::default().config("[server]\ndrain = \"1s\"").start();
    let mut calls = Vec::new();
    for _ in 0..8 {
        let mut live = connect(&server, &format!("{QUERY}&interim_results=true")).await;
        live.audio(&Tape::new(16_000).tone(1.25).linear16()).await;
        calls.push(live);
    }
    server.ask_to_stop();
    for live in calls {
        let conversation = live.until_end().await;
        assert_eq!(conversation.close(), (1001, ""));
        assert_eq!(number(&conversation.metadata()["duration"]), 1.25);
        assert_eq!(conversation.text(), [0, 4, 8, 12].map(word_at).join(" "), "a word was lost");
        assert_tiles(&conversation.finals(), 1.25);
    }
    server.join().unwrap();
}

#[tokio::test]
async fn two_hundred_broken_connections_leave_every_slot_free() {
    const SLOTS: u32 = 16;
    let server = Setup::default().slots(SLOTS).config("[stream]\nidle_timeout = \"2min\"").start();
    let sound = Tape::new(16_000).tone(0.4).linear16();
    for n in 0..200 {
        let mut live = connect(&server, QUERY).await;
        if n % 4 != 0 {
            live.audio(&sound).await;
        }
        match n % 3 {
            0 => live.abort(),
            1 => live.text(CLOSE_STREAM).await,
            _ => {
                live.text(common::client::FINALIZE).await;
                live.abort();
            }
        }
        if n % 10 == 9 {
            server.idle_but(0).await;
        }
    }
    let mut all = Vec::new();
    for _ in 0..SLOTS {
        all.push(connect(&server, QUERY).await);
    }
    assert_eq!(connect_with(&server, QUERY, &[]).await.err().unwrap().status, 503);
    let sound = &sound;
    let said = join_all(all.into_iter().map(async |mut live| {
        live.audio(sound).await;
        live.close_stream().await.text()
    }))
    .await;
    assert!(
        said.iter().all(|text| *text == [0, 4].map(word_at).join(" ")),
        "a slot was not clean: {said:?}"
    );
}

#[tokio::test]
async fn nothing_is_said_after_the_close_frame() {
    let server = Setup::default().start();
    let mut live = connect(&server, QUERY).await;
    live.audio(&Tape::new(16_000).tone(0.5).linear16()).await;
    for _ in 0..3 {
        live.text(CLOSE_STREAM).await;
    }
    let conversation = live.until_end().await;
    let close = conversation
        .heard
        .iter()
        .position(|(_, said)| matches!(said, Said::Close(..)))
        .unwrap();
    assert!(
        conversation.heard[close + 1..]
            .iter()
            .all(|(_, said)| matches!(said, Said::Gone(_))),
        "{:?}",
        conversation.heard
    );
    assert_eq!(conversation.all("Metadata").len(), 1);
}
