//! The other ways to listen, over real sockets: TLS, and the listener for metrics alone.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic,
    reason = "tests"
)]

mod common;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::audio::{Tape, Wav};
use common::client::{CLOSE_STREAM, PATIENCE, text, words};
use common::raw::{BINARY, Raw, encode};
use common::{Setup, busy, request_id, word_at};
use futures_util::{SinkExt, StreamExt};
use reqwest::{Certificate, Client, Method};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::{Bytes, Message};

#[test]
#[ignore = "the server of other tests, which start it"]
fn server_in_a_process_of_its_own() {
    common::serve_as_child();
}

fn pair(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls").join(name)
}

/// The configuration as an `api.toml` has it.
fn https() -> String {
    format!(
        "[server.https]\ncert_file = {:?}\nkey_file = {:?}\n",
        pair("cert.pem"),
        pair("key.pem")
    )
}

/// A TLS connection that trusts the server's certificate and no other. `window`: bytes of the receive buffer.
async fn secure(address: SocketAddr, window: Option<usize>) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(pair("cert.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = Raw::tcp(address, window).await.stream;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

#[tokio::test]
async fn live_streams_and_files_go_over_tls() {
    let server = Setup::default().config(&https()).start();
    let tape = Tape::new(16_000).tone(1.0);
    let wanted = [0, 4, 8, 12].map(word_at).join(" ");

    let url = format!("wss://{}/v1/listen?encoding=linear16&sample_rate=16000", server.address);
    let (mut live, response) = client_async(url, secure(server.address, None).await).await.unwrap();
    request_id(response.headers());
    live.send(Message::Binary(Bytes::from(tape.linear16()))).await.unwrap();
    live.send(Message::text(CLOSE_STREAM)).await.unwrap();
    let (mut heard, mut closed) = (Vec::new(), None);
    while let Some(Ok(message)) = timeout(PATIENCE, live.next()).await.expect("nothing more came") {
        match message {
            Message::Text(text) => {
                let message: Value = serde_json::from_str(&text).unwrap();
                if message["type"] == "Results" && message["is_final"] == true {
                    heard.extend(words(&message));
                }
            }
            Message::Close(frame) => closed = frame.map(|frame| u16::from(frame.code)),
            _ => {}
        }
    }
    assert_eq!((text(&heard), closed), (wanted.clone(), Some(1000)));

    let trusted = Certificate::from_pem(&std::fs::read(pair("cert.pem")).unwrap()).unwrap();
    let client = Client::builder().tls_certs_only([trusted]).build().unwrap();
    let url = format!("https://{}/v1/listen", server.address);
    let answer = client.post(&url).body(tape.wav(Wav::default())).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["results"]["channels"][0]["alternatives"][0]["transcript"], wanted);

    assert!(
        reqwest::get(server.url("/v1/status")).await.is_err(),
        "there is no plain HTTP on this port"
    );
}

/// As `tests/faults.rs` has it without TLS: such a connection is ended by the kernel alone, with the timeout that is set at accept.
#[tokio::test]
async fn over_tls_too_a_client_that_does_not_read_is_ended_by_the_user_timeout() {
    let _busy = busy();
    let config = "[stream]\ntcp_user_timeout = \"2s\"\ninterim_step = \"80ms\"\nresult_backlog = 16";
    let server = Setup::default().config(&https()).config(config).child();
    // Once this is answered, all threads of the server run and have the sockets that they keep.
    let mut warm = secure(server.address, None).await;
    let request = b"GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    warm.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    // Whether the end comes with a closing alert is of no interest.
    timeout(PATIENCE, warm.read_to_end(&mut answer)).await.expect("it stays open").ok();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    drop(warm);
    sleep(Duration::from_millis(500)).await;
    let open = server.sockets();

    let mut stuck = secure(server.address, Some(2_048)).await;
    let query = "encoding=mulaw&sample_rate=8000&interim_results=true&punctuate=true";
    let request = format!(
        "GET /v1/listen?{query} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stuck.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    stuck.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 101");
    assert!(server.sockets() > open);
    let sound = encode(true, BINARY, &Tape::new(8_000).speech(60.0).encode("mulaw"));
    let began = Instant::now();
    let sending = tokio::spawn(async move {
        for _ in 0..60 {
            let sent = timeout(Duration::from_secs(20), stuck.write_all(&sound)).await;
            if !matches!(sent, Ok(Ok(()))) {
                break;
            }
        }
        // Not closed from this side.
        stuck
    });
    while server.sockets() > open {
        assert!(began.elapsed() < Duration::from_secs(40), "the connection is still there");
        sleep(Duration::from_millis(100)).await;
    }
    sending.abort();
}

#[tokio::test]
async fn metrics_have_a_listener_of_their_own_unless_it_is_switched_off_or_its_port_is_taken() {
    // Nothing else listens on this address, so that the port stays free.
    let host = "127.77.0.2";
    let probe = TcpListener::bind((host, 0)).unwrap();
    let port = probe.local_addr().unwrap().port();
    let config = format!("[metrics]\nhost = \"{host}\"\nport = {port}\n");
    let metrics = async || reqwest::get(format!("http://{host}:{port}/metrics")).await;

    let server = Setup::default().config(&config).start();
    let page = server.get("/metrics").await;
    assert!(page.contains("# TYPE engine_active_requests gauge"), "{page}");
    server.stop().unwrap();

    drop(probe);
    let server = Setup::default().config(&format!("{config}enabled = false\n")).start();
    assert!(metrics().await.is_err());
    server.stop().unwrap();

    let server = Setup::default().config(&config).start();
    assert_eq!(metrics().await.unwrap().status(), 200);
    server.stop().unwrap();
}

#[tokio::test]
async fn an_engine_toml_opens_the_listener_for_metrics() {
    // Nothing else listens on this address, so that the port stays free.
    let host = "127.77.0.1";
    let port = TcpListener::bind((host, 0)).unwrap().local_addr().unwrap().port();
    let config = format!("max_active_requests = 30\n[metrics_server]\nhost = \"{host}\"\nport = {port}\n");
    let server = Setup::default().config(&config).start();
    let url = |path: &str| format!("http://{host}:{port}{path}");
    let response = reqwest::get(url("/metrics")).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4");
    request_id(response.headers());
    let page = response.text().await.unwrap();
    for line in [
        "engine_active_requests{kind=\"stream\"} 0",
        "engine_max_active_requests 30",
        "# TYPE engine_stream_latency histogram",
    ] {
        assert!(page.lines().any(|found| found == line), "{line} is missing in\n{page}");
    }
    assert!(server.get("/metrics").await.contains("\nengine_max_active_requests 30\n"));
    for (method, path, status, code) in [
        (Method::GET, "/", 404, "NOT_FOUND"),
        (Method::GET, "/v1/status", 404, "NOT_FOUND"),
        (Method::POST, "/v1/listen", 404, "NOT_FOUND"),
        (Method::POST, "/metrics", 405, "METHOD_NOT_ALLOWED"),
    ] {
        let response = Client::new().request(method, url(path)).send().await.unwrap();
        assert_eq!(response.status(), status, "{path}");
        let id = request_id(response.headers());
        assert!(response.headers().contains_key("dg-error"), "{path}");
        let body: Value = response.json().await.unwrap();
        assert_eq!(
            (&body["err_code"], &body["request_id"]),
            (&Value::from(code), &Value::from(id)),
            "{path}"
        );
    }
}
