//! Size, duration, time, number: at the limit and one past it.

use std::time::{Duration, Instant};

use futures_util::stream::unfold;
use reqwest::{Body, Client};
use serde_json::json;
use tokio::io::AsyncWriteExt;

use super::{Answer, chunked, post, tape, text, wav};
use crate::common::audio::{Tape, Wav};
use crate::common::client::{connect, number};
use crate::common::raw::Raw;
use crate::common::{Server, Setup, busy, word_at};

#[tokio::test]
async fn an_upload_of_the_largest_size_is_taken_and_one_byte_more_is_not() {
    let server = Setup::default().config("[files]\nmax_upload_bytes = 70000").start();
    let mut bytes = tape(16_000).wav(Wav::default());
    assert!(bytes.len() > 70_000);
    bytes.truncate(70_000);
    post(&server, "", bytes.clone()).await.alternative(0);
    post(&server, "", chunked(bytes.clone(), 999)).await.alternative(0);
    bytes.push(0);
    for answer in [post(&server, "", bytes.clone()).await, post(&server, "", chunked(bytes, 999)).await] {
        answer.assert_error(413, "PAYLOAD_TOO_LARGE", "Payload size exceeds limit of 70000.");
    }
}

#[tokio::test]
async fn a_declared_length_far_above_the_limit_is_refused_without_reading_it() {
    let server = Setup::default().config("[files]\nmax_upload_bytes = 70000").start();
    let mut raw = Raw::tcp(server.address, None).await;
    raw.stream
        .write_all(b"POST /v1/listen HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000000\r\n\r\n")
        .await
        .unwrap();
    // Nothing of the body is sent.
    let head = tokio::time::timeout(Duration::from_secs(10), raw.head()).await.expect("no answer");
    assert!(head.starts_with("HTTP/1.1 413"), "{head}");
    server.idle_but(0).await;
}

#[tokio::test]
async fn a_file_of_the_longest_duration_is_taken_and_more_is_not() {
    let server = Setup::default().config("[files]\nmax_duration = \"3s\"").start();
    let of = |seconds: f64| Tape::new(8_000).silence(seconds).wav(Wav::default());
    assert_eq!(number(&post(&server, "", of(3.0)).await.body["metadata"]["duration"]), 3.0);
    post(&server, "", of(3.1))
        .await
        .assert_error(413, "PAYLOAD_TOO_LARGE", "Audio duration exceeds limit of 3 seconds.");
}

#[tokio::test]
async fn a_query_above_the_limit_is_refused_with_414() {
    let server = Setup::default().config("[limits]\nquery_bytes = 8192").start();
    let with = async |bytes: usize| {
        let path = "/v1/listen?tag=";
        post(&server, &format!("x={}", "y".repeat(bytes - path.len() + 2)), wav()).await
    };
    with(8_000).await.alternative(0);
    with(8_300).await.assert_error(414, "URI Too Long", "The request URI is too long.");
}

#[tokio::test]
async fn by_default_a_query_is_taken_up_to_what_the_http_library_takes() {
    let server = Server::start();
    let body = wav();
    let ask = async |length: usize| {
        let path = "/v1/listen?x=";
        let mut raw = Raw::tcp(server.address, None).await;
        let head = format!(
            "POST {path}{} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
            "y".repeat(length - path.len()),
            body.len()
        );
        raw.stream.write_all(head.as_bytes()).await.unwrap();
        // A refusal does not wait for it.
        raw.stream.write_all(&body).await.ok();
        raw.head().await
    };
    assert!(ask(65_534).await.starts_with("HTTP/1.1 200"));
    // Beyond, no handler is asked.
    let head = ask(65_535).await;
    assert!(head.starts_with("HTTP/1.1 400") && !head.contains("dg-request-id"), "{head}");
}

#[tokio::test]
async fn a_client_that_stops_sending_is_told_and_forgotten() {
    let server = Setup::default().slots(1).config("[limits]\nrequest_timeout = \"1s\"").start();
    let mut raw = Raw::tcp(server.address, None).await;
    let began = Instant::now();
    raw.stream
        .write_all(b"POST /v1/listen HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        .await
        .unwrap();
    raw.stream.write_all(&wav()).await.unwrap();
    let head = tokio::time::timeout(Duration::from_secs(10), raw.head()).await.expect("no answer");
    assert!(head.starts_with("HTTP/1.1 408"), "{head}");
    let id = head
        .lines()
        .find_map(|line| line.strip_prefix("dg-request-id: "))
        .expect("no id")
        .to_owned();
    let body = tokio::time::timeout(Duration::from_secs(10), raw.body(&head))
        .await
        .expect("no body");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (&body["err_code"], &body["request_id"]),
        (&json!("Request Timeout"), &json!(id)),
        "{body}"
    );
    assert!(began.elapsed() >= Duration::from_millis(900));
    server.idle_but(0).await;
    post(&server, "", wav()).await.alternative(0);
}

#[tokio::test]
async fn a_client_that_hangs_up_frees_its_slot() {
    let server = Setup::default().slots(1).start();
    let mut refused = 0;
    for _ in 0..20 {
        let mut raw = Raw::tcp(server.address, None).await;
        raw.stream
            .write_all(b"POST /v1/listen HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
            .await
            .unwrap();
        raw.stream.write_all(&wav()).await.unwrap();
        let taken = async {
            while server.active().await.1 == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        // On a busy machine the request before may be gone a moment before its slot is back.
        if tokio::time::timeout(Duration::from_secs(3), taken).await.is_err() {
            refused += 1;
            assert!(refused < 3, "the slot does not come back");
        }
        raw.reset();
        server.idle_but(0).await;
    }
    let ended = |class: &str| format!("engine_requests_total{{kind=\"batch\",response_status=\"{class}\"}}");
    server.metric_becomes(&ended("4xx"), 20.0).await;
    assert_eq!(server.get_json("/v1/status").await["system_health"], "Healthy");
    assert_eq!(
        text(post(&server, "", wav()).await.words(0)),
        [8, 12, 16, 20].map(word_at).join(" ")
    );
}

#[tokio::test]
async fn processing_beyond_the_time_allowed_is_answered_504() {
    let server = Setup::default()
        .step(Duration::from_millis(300))
        .config("[files]\ntimeout = \"1s\"")
        .start();
    let long = Tape::new(8_000).silence(60.0).wav(Wav::default());
    let answer = post(&server, "", long).await;
    answer.assert_error(504, "Gateway Timeout", "The request exceeded the maximum processing time.");
    server.idle_but(0).await;
}

#[tokio::test]
async fn the_time_that_a_client_takes_to_send_is_not_processing() {
    let server = Setup::default().config("[files]\ntimeout = \"1s\"").start();
    let audio = wav();
    let size = audio.len().div_ceil(4);
    let parts: Vec<Vec<u8>> = audio.chunks(size).map(<[u8]>::to_vec).collect();
    let slow = unfold(parts.into_iter(), |mut parts| async move {
        tokio::time::sleep(Duration::from_millis(600)).await;
        parts.next().map(|part| (Ok::<_, std::io::Error>(part), parts))
    });
    let answer = post(&server, "", Body::wrap_stream(slow)).await;
    assert_eq!(text(answer.words(0)), super::expected());
}

#[tokio::test]
async fn a_file_that_finds_no_slot_is_refused_with_503_and_retry_after() {
    let server = Setup::default().slots(1).start();
    let live = connect(&server, "encoding=linear16&sample_rate=16000").await;
    let answer = post(&server, "", wav()).await;
    answer.assert_error(503, "Service Unavailable", "Please try again later");
    assert_eq!(answer.headers["retry-after"], "1");
    assert_eq!(live.close_stream().await.close(), (1000, ""));
    server.idle_but(0).await;
    post(&server, "", wav()).await.alternative(0);
}

#[tokio::test]
async fn every_channel_of_a_file_takes_one_of_the_places_for_files() {
    let both = Tape::interleave(&[tape(16_000), tape(16_000)]).wav(Wav::default());
    for (places, status) in [(1, 503), (2, 200)] {
        let server = Setup::default().config(&format!("[files]\nat_once = {places}")).start();
        post(&server, "", both.clone()).await.alternative(0);
        server.idle_but(0).await;
        let answer = post(&server, "multichannel=true", both.clone()).await;
        assert_eq!(answer.status, status, "{places} places");
    }
}

#[tokio::test]
async fn expect_100_continue_is_answered() {
    let server = Server::start();
    let mut raw = Raw::tcp(server.address, None).await;
    let body = wav();
    let head = format!(
        "POST /v1/listen HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        body.len()
    );
    raw.stream.write_all(head.as_bytes()).await.unwrap();
    assert!(raw.head().await.starts_with("HTTP/1.1 100"));
    raw.stream.write_all(&body).await.unwrap();
    assert!(raw.head().await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let server = Server::start();
    let client = Client::builder().pool_max_idle_per_host(1).build().unwrap();
    for n in 0..20 {
        let body = if n % 3 == 0 {
            b"no audio, but enough of it".to_vec()
        } else {
            wav()
        };
        let answer = Answer::of(client.post(server.url("/v1/listen")).body(body).send().await.unwrap()).await;
        assert_eq!(answer.status, if n % 3 == 0 { 400 } else { 200 });
    }
}

#[tokio::test]
async fn memory_does_not_grow_with_the_length_of_a_file() {
    let _busy = busy();
    let server = Setup::default().config("[files]\nmax_upload_bytes = 1000000000").child();
    let upload = async |megabytes: usize| {
        let part = bytes::Bytes::from(vec![0; 1 << 20]);
        let parts = unfold(megabytes, move |left| {
            let part = part.clone();
            async move { (left > 0).then(|| (Ok::<_, std::io::Error>(part), left - 1)) }
        });
        let answer = post(&server, "encoding=linear32&sample_rate=48000&channels=20", Body::wrap_stream(parts)).await;
        let seconds = number(&answer.body["metadata"]["duration"]);
        let expected = (megabytes << 20) as f64 / (48_000.0 * 80.0);
        assert!((seconds - expected).abs() < 0.01, "{seconds} s of {expected}");
    };
    upload(10).await;
    let before = server.resident().0;
    upload(300).await;
    let (_, most) = server.resident();
    assert!(
        most < before + (24 << 20),
        "from {} to {} MiB for a file of 300 MiB",
        before >> 20,
        most >> 20
    );
}

#[tokio::test]
async fn the_audio_of_files_is_counted_as_it_is_decoded() {
    let server = Server::start();
    let counted = async || server.metric("hark_file_audio_samples_total").await;
    let before = counted().await;
    post(&server, "", Tape::new(16_000).silence(2.5).wav(Wav::default()))
        .await
        .alternative(0);
    assert!(counted().await - before >= 40_000.0, "{before} before, {} after", counted().await);
}
