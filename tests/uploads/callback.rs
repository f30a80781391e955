//! Files whose response is delivered: check 19 of the compatible interface, retries, limits, restarts.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::Client;
use serde_json::{Value, json};

use super::{Answer, post, remote, wav};
use crate::common::audio::{Tape, Wav, random};
use crate::common::client::PATIENCE;
use crate::common::receiver::{Delivery, Receiver, parameter};
use crate::common::{Server, Setup, busy, request_id, schema};

/// Deliveries to this machine, tried every 50 ms.
const LOCAL: &str = "[fetch]\nallow_private = true\n[callback]\nretry_interval = \"50ms\"";

/// As [`LOCAL`], with a database in that folder.
fn kept_in(folder: &Path) -> String {
    format!("{LOCAL}\ndatabase = \"{}\"", folder.join("callbacks.db").display())
}

/// Uploads, and checks that the answer is the id alone.
async fn accepted(server: &Server, query: &str, body: Vec<u8>) -> String {
    id_of(&post(server, query, body).await)
}

fn id_of(answer: &Answer) -> String {
    let id = request_id(&answer.headers);
    assert_eq!((answer.status, &answer.body), (200, &json!({ "request_id": id })));
    id
}

/// Asks for the file at an address.
async fn accepted_at(server: &Server, query: &str, url: &str) -> String {
    let request = Client::new()
        .post(server.url(&format!("/v1/listen?{query}")))
        .header("content-type", "application/json");
    let body = json!({ "url": url }).to_string();
    id_of(&Answer::of(request.body(body).send().await.unwrap()).await)
}

/// A response without what differs between two requests for the same.
fn comparable(body: &Value) -> Value {
    let mut body = body.clone();
    let metadata = body["metadata"].as_object_mut().unwrap();
    metadata.remove("request_id").unwrap();
    metadata.remove("created").unwrap();
    for utterance in body["results"]["utterances"].as_array_mut().unwrap() {
        utterance.as_object_mut().unwrap().remove("id").unwrap();
    }
    body
}

#[tokio::test]
async fn check_19_a_file_with_a_callback_is_answered_at_once_and_delivered_later() {
    let server = Setup::default().config(LOCAL).start();
    let mut receiver = Receiver::start().await;
    let query = "utterances=true&punctuate=true&tag=a&extra=k:v";
    let whole = post(&server, query, wav()).await;
    assert_eq!(whole.status, 200);
    let callback = receiver.parameter("/done?call=17");
    let id = accepted(&server, &format!("{query}&{callback}"), wav()).await;
    let delivery = receiver.next().await;
    assert!(delivery.head.starts_with("POST /done?call=17 HTTP/1.1\r\n"), "{delivery:?}");
    assert_eq!(delivery.header("content-type"), Some("application/json"));
    assert_eq!((delivery.header("dg-token"), delivery.header("authorization")), (None, None));
    assert_eq!(delivery.request_id(), id);
    schema::assert_answer("/v1/listen", 200, "application/json", &delivery.body);
    assert_eq!(comparable(&delivery.body), comparable(&whole.body));

    let file = remote::Remote::start(vec![("/tape.wav", remote::ok(wav()))]).await;
    let id = accepted_at(&server, &format!("{query}&{callback}"), &file.url("/tape.wav")).await;
    let delivery = receiver.next().await;
    assert_eq!(delivery.request_id(), id);
    assert_eq!(comparable(&delivery.body), comparable(&whole.body));

    let id = accepted(&server, &callback, random(5_000)).await;
    assert_eq!(
        receiver.next().await.body,
        json!({
            "err_code": "Bad Request",
            "err_msg": "Bad Request: failed to process audio: corrupt or unsupported data",
            "request_id": id
        })
    );
    receiver.assert_quiet(Duration::from_millis(500)).await;
}

#[tokio::test]
async fn method_credentials_and_token_are_sent() {
    let server = Setup::default().config(&format!("{LOCAL}\ntoken = \"desk-7\"")).start();
    let mut receiver = Receiver::start().await;
    let callback = parameter(&format!("http://user:pa%20ss@{}/x", receiver.address));
    accepted(&server, &format!("{callback}&callback_method=put"), wav()).await;
    let delivery = receiver.next().await;
    assert!(delivery.head.starts_with("PUT /x HTTP/1.1\r\n"), "{delivery:?}");
    assert_eq!(delivery.header("authorization"), Some("Basic dXNlcjpwYSBzcw=="));
    assert_eq!(delivery.header("dg-token"), Some("desk-7"));
}

#[tokio::test]
async fn parameters_and_addresses_are_checked_before_anything_is_accepted() {
    let server = Server::start();
    let mut receiver = Receiver::start().await;
    let port = receiver.address.port();
    for host in ["127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]", "user:pass@127.0.0.1"] {
        let callback = parameter(&format!("http://{host}:{port}/"));
        let answer = post(&server, &callback, wav()).await;
        answer.assert_error(400, "INVALID_QUERY_PARAMETER", "Invalid callback url.");
    }
    let answer = post(&server, &format!("model=none&{}", receiver.parameter("/")), wav()).await;
    assert_eq!(answer.status, 400);
    receiver.assert_quiet(Duration::from_millis(300)).await;
}

#[tokio::test]
async fn a_receiver_that_fails_is_asked_ten_times_more() {
    let server = Setup::default().config(LOCAL).child();
    let mut receiver = Receiver::start().await;
    let callback = receiver.parameter("/");

    receiver.fail_next(usize::MAX);
    let id = accepted(&server, &callback, wav()).await;
    let first = receiver.next().await;
    assert_eq!(server.metric("hark_callbacks_pending").await, 1.0);
    for attempt in 2..=11 {
        let again = receiver.next().await;
        assert_eq!((again.request_id(), &again.body), (id.as_str(), &first.body), "attempt {attempt}");
    }
    receiver.assert_quiet(Duration::from_millis(500)).await;
    let count = async |outcome: &str| server.metric(&format!("hark_callbacks_total{{outcome=\"{outcome}\"}}")).await;
    assert_eq!(
        (count("retried").await, count("given_up").await, count("delivered").await),
        (10.0, 1.0, 0.0)
    );

    receiver.fail_next(2);
    accepted(&server, &callback, wav()).await;
    for _ in 0..3 {
        receiver.next().await;
    }
    receiver.assert_quiet(Duration::from_millis(500)).await;
    assert_eq!(
        (count("retried").await, count("given_up").await, count("delivered").await),
        (12.0, 1.0, 1.0)
    );
    assert_eq!(server.metric("hark_callbacks_pending").await, 0.0);
}

#[tokio::test]
async fn a_killed_server_delivers_after_its_restart_what_it_had_accepted() {
    let _busy = busy();
    let folder = tempfile::tempdir().unwrap();
    let config = format!("{}\nretries = 1000", kept_in(folder.path()));
    let setup = |step| Setup::default().config(&config).step(step);
    let mut receiver = Receiver::start().await;
    let file = remote::Remote::start(vec![("/tape.wav", remote::ok(wav()))]).await;
    let callback = receiver.parameter("/");
    receiver.fail_next(usize::MAX);

    let server = setup(Duration::from_millis(30)).child();
    let answered = accepted(&server, &callback, wav()).await;
    assert_eq!(receiver.next().await.request_id(), answered);
    // More than ten seconds of work.
    let long = Tape::new(16_000).tone(60.0).wav(Wav::default());
    let in_work = accepted(&server, &callback, long).await;
    let at_address = accepted_at(&server, &callback, &file.url("/tape.wav")).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.kill();
    tokio::time::sleep(Duration::from_millis(100)).await;
    receiver.forget();
    receiver.fail_next(0);

    let server = setup(Duration::ZERO).child();
    let mut delivered: Vec<Delivery> = Vec::new();
    for _ in 0..3 {
        delivered.push(receiver.next().await);
    }
    receiver.assert_quiet(Duration::from_secs(1)).await;
    let ids: BTreeSet<&str> = delivered.iter().map(Delivery::request_id).collect();
    assert_eq!(ids, BTreeSet::from([answered.as_str(), &in_work, &at_address]));
    let long = delivered.iter().find(|delivery| delivery.request_id() == in_work).unwrap();
    assert_eq!(long.body["metadata"]["duration"], 60.0);
    assert_eq!(server.metric("hark_callbacks_pending").await, 0.0);
    let left = std::fs::read_dir(folder.path().join("callbacks.spool")).unwrap().count();
    assert_eq!(left, 0, "audio is left");
}

#[tokio::test]
async fn a_full_queue_is_answered_503() {
    let server = Setup::default()
        .config(&format!("{LOCAL}\nretries = 1000\nmax_pending = 1"))
        .start();
    let mut receiver = Receiver::start().await;
    receiver.fail_next(usize::MAX);
    accepted(&server, &receiver.parameter("/"), wav()).await;
    receiver.next().await;
    let refused = post(&server, &receiver.parameter("/"), wav()).await;
    refused.assert_error(503, "Service Unavailable", "Please try again later");
    assert_eq!(refused.headers["retry-after"], "1");
    post(&server, "", wav()).await.alternative(0);

    receiver.fail_next(0);
    let began = Instant::now();
    while post(&server, &receiver.parameter("/"), wav()).await.status != 200 {
        assert!(began.elapsed() < PATIENCE, "the queue stays full");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn an_upload_beyond_the_bytes_of_the_queue_is_refused_and_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let config = format!("{}\nmax_bytes = 1048576", kept_in(folder.path()));
    let server = Setup::default().config(&config).start();
    let mut receiver = Receiver::start().await;
    let mut large = Tape::new(16_000).silence(40.0).wav(Wav::default());
    large.truncate(1_048_600);
    let refused = post(&server, &receiver.parameter("/"), large).await;
    refused.assert_error(503, "Service Unavailable", "Please try again later");
    assert_eq!(std::fs::read_dir(folder.path().join("callbacks.spool")).unwrap().count(), 0);
    accepted(&server, &receiver.parameter("/"), wav()).await;
    receiver.next().await;
}

#[tokio::test]
async fn a_second_server_on_the_same_database_accepts_no_callbacks_and_serves_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let start = || Setup::default().config(&kept_in(folder.path())).start();
    let mut receiver = Receiver::start().await;
    let first = start();
    accepted(&first, &receiver.parameter("/"), wav()).await;
    receiver.next().await;
    let second = start();
    assert_eq!(post(&second, &receiver.parameter("/"), wav()).await.status, 503);
    post(&second, "", wav()).await.alternative(0);
}

#[tokio::test]
async fn a_stopping_server_delivers_first() {
    let server = Setup::default().config(&format!("{LOCAL}\n[server]\ndrain = \"30s\"")).start();
    let mut receiver = Receiver::start().await;
    receiver.fail_next(5);
    accepted(&server, &receiver.parameter("/"), wav()).await;
    let stopped = tokio::task::spawn_blocking(move || server.stop()).await.unwrap();
    assert!(stopped.is_ok(), "{stopped:?}");
    for _ in 0..6 {
        receiver.next().await;
    }
    receiver.assert_quiet(Duration::from_millis(200)).await;
}
