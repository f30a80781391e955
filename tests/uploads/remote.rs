//! Files at an address: a small server that answers as told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use super::{Answer, expected, post_as, text, wav};
use crate::common::audio::Tape;
use crate::common::client::number;
use crate::common::{Server, Setup};

/// A server of canned responses; stops with the test's runtime.
pub(crate) struct Remote {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

/// A whole response with this body.
pub(crate) fn ok(body: Vec<u8>) -> Vec<u8> {
    let mut response = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len()).into_bytes();
    response.extend(body);
    response
}

fn head(status: &str, lines: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{lines}Content-Length: 0\r\nConnection: close\r\n\r\n").into_bytes()
}

impl Remote {
    /// Starts a server that sends each path its response, byte for byte.
    pub(crate) async fn start(pages: Vec<(&'static str, Vec<u8>)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, asked) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let log = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (pages, log) = (pages.clone(), Arc::clone(&log));
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    let mut lines = String::new();
                    while !lines.ends_with("\r\n\r\n") && stream.read_line(&mut lines).await.is_ok_and(|count| count > 0) {}
                    let path = lines.split(' ').nth(1).unwrap_or_default().to_owned();
                    let response = pages
                        .iter()
                        .find(|(page, _)| *page == path)
                        .map_or(head("404 Not Found", ""), |(_, response)| response.clone());
                    log.lock().unwrap().push(path);
                    stream.write_all(&response).await.ok();
                    stream.shutdown().await.ok();
                });
            }
        });
        Self { address, asked }
    }

    /// The address of a page.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

async fn fetch(server: &Server, url: &str) -> Answer {
    post_as(server, "application/json", json!({ "url": url }).to_string()).await
}

fn refused(answer: &Answer, message: &str) {
    answer.assert_error(400, "REMOTE_CONTENT_ERROR", message);
}

fn open() -> Server {
    Setup::default()
        .config("[fetch]\nallow_private = true\ntimeout = \"2s\"\nmax_redirects = 3")
        .start()
}

#[tokio::test]
async fn redirects_are_followed_up_to_the_limit() {
    let server = open();
    let to = |path: &str| head("302 Found", &format!("Location: {path}\r\n"));
    let remote = Remote::start(vec![
        ("/tape.wav", ok(wav())),
        ("/1", to("/tape.wav")),
        ("/2", to("/1")),
        ("/3", to("/2")),
        ("/4", to("/3")),
        ("/loop", to("/loop")),
        ("/lost", head("301 Moved Permanently", "")),
        ("/odd", to("ftp://example.com/x")),
    ])
    .await;
    for path in ["/tape.wav", "/1", "/3"] {
        assert_eq!(text(fetch(&server, &remote.url(path)).await.words(0)), expected(), "{path}");
    }
    for path in ["/4", "/loop"] {
        refused(
            &fetch(&server, &remote.url(path)).await,
            "The remote server hosting the media returned too many redirects.",
        );
    }
    let lost = "The remote server hosting the media failed to include a `location` header in its redirect response.";
    refused(&fetch(&server, &remote.url("/lost")).await, lost);
    refused(
        &fetch(&server, &remote.url("/odd")).await,
        "Could not parse remote media server's redirect location as a URL.",
    );
}

#[tokio::test]
async fn failures_of_the_remote_server_are_told_apart() {
    let server = open();
    let mut cut = ok(wav());
    cut.truncate(cut.len() / 2);
    let remote = Remote::start(vec![
        ("/broken", head("500 Internal Server Error", "")),
        ("/empty", ok(Vec::new())),
        ("/cut", cut),
        ("/page", ok(b"<html>this is a page and no audio</html>".to_vec())),
    ])
    .await;
    refused(
        &fetch(&server, &remote.url("/none")).await,
        "The remote server hosting the media returned a client error: 404 Not Found.",
    );
    let invalid = "The remote server hosting the media failed to return valid data.";
    for path in ["/broken", "/empty", "/cut"] {
        refused(&fetch(&server, &remote.url(path)).await, invalid);
    }
    fetch(&server, &remote.url("/page")).await.assert_corrupt();
    for url in ["not a url", "file:///etc/passwd", "ftp://127.0.0.1/x", ""] {
        refused(&fetch(&server, url).await, "Could not parse URL as a URI.");
    }
    // Nobody listens there any more.
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    refused(&fetch(&server, &format!("http://{gone}/x")).await, invalid);
    server.idle_but(0).await;
}

#[tokio::test]
async fn a_remote_server_that_stalls_is_given_up() {
    let server = open();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/tape.wav", listener.local_addr().unwrap());
    let stall = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(&ok(wav())[..5_000]).await.unwrap();
        tokio::time::sleep(Duration::from_secs(20)).await;
    };
    let answer = tokio::select! {
        answer = fetch(&server, &url) => answer,
        () = stall => panic!("the server waited for 20 s"),
    };
    refused(&answer, "The remote server hosting the media failed to return valid data.");
    server.idle_but(0).await;
}

#[tokio::test]
async fn an_engine_that_is_slower_than_the_remote_server_is_no_failure_of_it() {
    // 60 s of audio are 375 chunks, with 20 ms for each: more than the other server may take. 23 MB are more than the kernel holds.
    let server = Setup::default()
        .step(Duration::from_millis(20))
        .config("[fetch]\nallow_private = true\ntimeout = \"2s\"")
        .start();
    let audio = Tape::new(48_000).silence(59.52).tone(0.48).encode("linear32");
    let remote = Remote::start(vec![("/long", ok([&audio[..], &audio[..]].concat()))]).await;
    let url = server.url("/v1/listen?encoding=linear32&sample_rate=48000&channels=2");
    let request = reqwest::Client::new().post(url).header("content-type", "application/json");
    let began = Instant::now();
    let answer = Answer::of(request.body(json!({"url": remote.url("/long")}).to_string()).send().await.unwrap()).await;
    assert!(
        began.elapsed() > Duration::from_secs(4),
        "the engine was fast: {:?}",
        began.elapsed()
    );
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(number(&answer.body["metadata"]["duration"]), 60.0);
}

#[tokio::test]
async fn private_addresses_are_refused_unless_allowed_and_never_connected_to() {
    let server = Server::start();
    let remote = Remote::start(vec![("/tape.wav", ok(wav()))]).await;
    let port = remote.address.port();
    for host in [
        "127.0.0.1",
        "localhost",
        "127.1",
        "0x7f000001",
        "2130706433",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "10.0.0.1",
        "169.254.169.254",
    ] {
        let answer = fetch(&server, &format!("http://{host}:{port}/tape.wav")).await;
        refused(&answer, "URL for media download must be publicly routable.");
    }
    let answer = fetch(&server, "http://no-such-name.invalid/tape.wav").await;
    refused(&answer, "Could not determine if URL for media download is publicly routable.");
    assert_eq!(*remote.asked.lock().unwrap(), Vec::<String>::new(), "it was connected to");
}

#[tokio::test]
async fn a_remote_file_obeys_the_upload_limit() {
    let config = "[fetch]\nallow_private = true\n[files]\nmax_upload_bytes = 60000";
    let server = Setup::default().config(config).start();
    let mut body = wav();
    body.truncate(60_000);
    let more = [&body[..], &[0]].concat();
    let remote = Remote::start(vec![("/fits", ok(body)), ("/more", ok(more))]).await;
    fetch(&server, &remote.url("/fits")).await.alternative(0);
    fetch(&server, &remote.url("/more"))
        .await
        .assert_error(413, "PAYLOAD_TOO_LARGE", "Payload size exceeds limit of 60000.");
}
