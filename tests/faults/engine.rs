//! An engine that fails a step, dies or hangs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hark::app::AppError;
use hark::engine::batch::{Batch, Decoded};
use hark::engine::scripted::ScriptedEngine;
use hark::engine::{Engine, EngineError};

use super::QUERY;
use crate::common::audio::{Tape, Wav};
use crate::common::client::{Said, connect, connect_with};
use crate::common::{EVERY, Setup, WORDS, request_id, schema};

#[derive(Clone, Copy)]
enum Trouble {
    Error,
    Panic,
    Hang(Duration),
    /// One result too few.
    Short,
}

/// A scripted engine that makes trouble in the next step after it is told to.
struct Troubled {
    inner: ScriptedEngine,
    now: Arc<AtomicBool>,
    trouble: Trouble,
}

impl Engine for Troubled {
    fn slots(&self) -> u32 {
        self.inner.slots()
    }

    fn step(&mut self, batch: &Batch) -> Result<Vec<Decoded>, EngineError> {
        if self.now.swap(false, Ordering::SeqCst) {
            match self.trouble {
                Trouble::Error => return Err(EngineError::Network("told to fail".into())),
                Trouble::Panic => panic!("told to panic"),
                Trouble::Hang(time) => std::thread::sleep(time),
                Trouble::Short => {
                    let mut decoded = self.inner.step(batch)?;
                    decoded.pop();
                    return Ok(decoded);
                }
            }
        }
        self.inner.step(batch)
    }
}

fn troubled(trouble: Trouble) -> (Setup, Arc<AtomicBool>) {
    let now = Arc::new(AtomicBool::new(false));
    let inner = ScriptedEngine::new(8, EVERY, WORDS, Duration::ZERO);
    (
        Setup::default().engine(Troubled {
            inner,
            now: Arc::clone(&now),
            trouble,
        }),
        now,
    )
}

const NO_RESPONSE: &str = "Deepgram did not provide a response message within the timeout window. See https://dpgr.am/net0000";

#[tokio::test]
async fn a_failed_step_ends_the_streams_in_it_and_no_others() {
    for trouble in [Trouble::Error, Trouble::Short] {
        let (setup, now) = troubled(trouble);
        let server = setup.start();
        let mut spared = connect(&server, QUERY).await;
        spared.audio(&Tape::new(16_000).tone(0.5).linear16()).await;
        let mut hit = connect(&server, QUERY).await;
        spared.listen_for(Duration::from_millis(200)).await;
        now.store(true, Ordering::SeqCst);
        hit.audio(&Tape::new(16_000).tone(0.5).linear16()).await;
        let conversation = hit.until_end().await;
        assert_eq!(conversation.close(), (1011, NO_RESPONSE));
        assert_eq!(conversation.all("Metadata").len(), 1);
        spared.audio(&Tape::new(16_000).tone(0.5).linear16()).await;
        let conversation = spared.close_stream().await;
        assert_eq!((conversation.close(), conversation.words().len()), ((1000, ""), 4));
        server.idle_but(0).await;
        assert_eq!(
            server
                .metric("engine_requests_total{kind=\"stream\",response_status=\"5xx\"}")
                .await,
            1.0
        );
        assert_eq!(server.get("/v1/status/engine").await, r#"{"engine_connection_status":"Connected"}"#);
        let mut next = connect(&server, QUERY).await;
        next.audio(&Tape::new(16_000).tone(0.5).linear16()).await;
        assert_eq!(next.close_stream().await.words().len(), 2);
    }
}

#[tokio::test]
async fn a_failed_step_of_a_file_is_answered_502() {
    let (setup, now) = troubled(Trouble::Error);
    let server = setup.start();
    now.store(true, Ordering::SeqCst);
    let wav = Tape::new(16_000).tone(2.0).wav(Wav::default());
    let response = reqwest::Client::new()
        .post(server.url("/v1/listen"))
        .body(wav)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 502);
    let id = request_id(response.headers());
    let body: serde_json::Value = response.json().await.unwrap();
    assert_eq!(body["request_id"], id.as_str());
    schema::assert_answer("/v1/listen", 502, "application/json", &body);
    assert_eq!(body["err_code"], "Bad Gateway");
    server.idle_but(0).await;
}

#[tokio::test]
async fn a_chunk_behind_a_stalled_step_is_counted_as_late() {
    let (setup, now) = troubled(Trouble::Hang(Duration::from_secs(1)));
    let server = setup.start();
    let mut live = connect(&server, QUERY).await;
    now.store(true, Ordering::SeqCst);
    live.audio(&Tape::new(16_000).tone(0.5).linear16()).await;
    assert_eq!(live.close_stream().await.close(), (1000, ""));
    assert!(server.metric("hark_chunk_late_seconds_count").await >= 1.0);
    assert!(server.metric("hark_chunk_late_seconds_sum").await >= 0.5);
}

#[tokio::test]
async fn when_the_engine_dies_streams_are_told_and_the_server_says_so_and_ends() {
    let (setup, now) = troubled(Trouble::Panic);
    let server = setup.start();
    let mut calls = Vec::new();
    for _ in 0..3 {
        let mut live = connect(&server, QUERY).await;
        live.audio(&Tape::new(16_000).tone(0.5).linear16()).await;
        live.listen_for(Duration::from_millis(50)).await;
        calls.push(live);
    }
    now.store(true, Ordering::SeqCst);
    let died = Instant::now();
    calls[0].audio(&Tape::new(16_000).tone(0.5).linear16()).await;
    for live in &mut calls {
        // All of them, also those that had nothing in the step.
        let closed = live.until("the Close frame", |said| matches!(said, Said::Close(..))).await;
        assert_eq!(closed, Said::Close(1011, NO_RESPONSE.into()));
    }
    assert!(died.elapsed() < Duration::from_secs(2), "{:?}", died.elapsed());
    // It reports so until it ends by itself, which takes a second at least.
    assert_eq!(
        server.get("/v1/status/engine").await,
        r#"{"engine_connection_status":"Disconnected"}"#
    );
    assert_eq!(server.get_json("/v1/status").await["system_health"], "Initializing");
    assert_eq!(connect_with(&server, QUERY, &[]).await.err().unwrap().status, 503);
    assert!(matches!(server.join(), Err(AppError::EngineDied)));
    assert!(died.elapsed() < Duration::from_secs(10), "{:?}", died.elapsed());
}

#[tokio::test]
async fn when_the_engine_hangs_streams_are_told_after_30_s() {
    let (setup, now) = troubled(Trouble::Hang(Duration::from_secs(45)));
    let server = setup.start();
    let mut live = connect(&server, QUERY).await;
    now.store(true, Ordering::SeqCst);
    let hung = Instant::now();
    live.audio(&Tape::new(16_000).tone(0.5).linear16()).await;
    while hung.elapsed() < Duration::from_secs(29) {
        live.text(crate::common::client::KEEP_ALIVE).await;
        live.listen_for(Duration::from_secs(1)).await;
    }
    let closed = live.until("the Close frame", |said| matches!(said, Said::Close(..))).await;
    assert_eq!(closed, Said::Close(1011, NO_RESPONSE.into()));
    assert!(
        (Duration::from_secs(29)..Duration::from_secs(35)).contains(&hung.elapsed()),
        "{:?}",
        hung.elapsed()
    );
    // It counts as a failure of ours.
    server.idle_but(0).await;
    server
        .metric_becomes("engine_requests_total{kind=\"stream\",response_status=\"5xx\"}", 1.0)
        .await;
    assert_eq!(server.get_json("/v1/status").await["system_health"], "Critical");
}

#[tokio::test]
async fn a_client_whose_frames_wait_for_the_engine_is_not_idle() {
    let (setup, now) = troubled(Trouble::Hang(Duration::from_secs(4)));
    let server = setup.config("[stream]\nidle_timeout = \"1s\"").start();
    let mut live = connect(&server, QUERY).await;
    now.store(true, Ordering::SeqCst);
    // More than the engine takes at once, so that the Finalize waits, and everything behind it.
    live.audio(&Tape::new(16_000).tone(2.0).linear16()).await;
    live.text(crate::common::client::FINALIZE).await;
    for _ in 0..8 {
        live.text(crate::common::client::KEEP_ALIVE).await;
        live.listen_for(Duration::from_millis(400)).await;
    }
    live.until_finalized().await;
    let conversation = live.close_stream().await;
    assert_eq!((conversation.close(), conversation.words().len()), ((1000, ""), 7));
}
