//! Streams whose messages go to a callback.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;

use super::{QUERY, talk};
use crate::common::client::{Conversation, Said, connect, connect_with, transcribe};
use crate::common::receiver::{Receiver, parameter};
use crate::common::{Server, Setup, schema};

const LOCAL: &str = "[fetch]\nallow_private = true";
const ALL: &str = "interim_results=true&vad_events=true&utterance_end_ms=1000";

fn server() -> Server {
    Setup::default().config(LOCAL).start()
}

/// A message without what differs between two streams.
fn comparable(mut message: Value) -> Value {
    let keys = message.as_object_mut().unwrap();
    for key in ["metadata", "request_id", "created"] {
        keys.remove(key);
    }
    message
}

/// All messages of a conversation.
fn messages(conversation: &Conversation) -> Vec<Value> {
    let json = conversation.heard.iter().filter_map(|(_, said)| match said {
        Said::Json(message) => Some(comparable(message.clone())),
        _ => None,
    });
    json.collect()
}

/// What a receiver of requests gets up to the last message of a stream.
async fn received(receiver: &mut Receiver) -> Vec<Value> {
    let mut messages = Vec::new();
    loop {
        let delivery = receiver.next().await;
        schema::assert_message(&delivery.body);
        let is_last = delivery.body["type"] == "Metadata";
        messages.push(comparable(delivery.body));
        if is_last {
            return messages;
        }
    }
}

#[tokio::test]
async fn every_message_is_posted_in_order_and_the_client_gets_none() {
    let server = server();
    let wanted = messages(&transcribe(&server, &talk(), ALL, 20).await);
    assert!(wanted.len() > 10, "{wanted:#?}");
    let mut receiver = Receiver::start().await;
    let query = format!("{ALL}&{}", receiver.parameter("/messages"));
    let conversation = transcribe(&server, &talk(), &query, 20).await;
    assert_eq!(messages(&conversation), Vec::<Value>::new());
    assert_eq!(conversation.close(), (1000, ""));
    assert_eq!(received(&mut receiver).await, wanted);
    receiver.assert_quiet(Duration::from_millis(200)).await;
    server.idle_but(0).await;
}

#[tokio::test]
async fn a_message_that_was_not_taken_is_sent_again_before_the_next() {
    let server = server();
    let wanted = messages(&transcribe(&server, &talk(), "", 20).await);
    let mut receiver = Receiver::start().await;
    receiver.fail_next(2);
    let query = format!("{}&callback_method=PUT", receiver.parameter("/"));
    assert_eq!(transcribe(&server, &talk(), &query, 20).await.close(), (1000, ""));
    let first: Vec<Value> = [receiver.next().await, receiver.next().await]
        .map(|delivery| comparable(delivery.body))
        .to_vec();
    assert_eq!(first, [wanted[0].clone(), wanted[0].clone()]);
    assert_eq!(received(&mut receiver).await, wanted);
}

#[tokio::test]
async fn a_client_that_leaves_has_said_all() {
    let server = server();
    let wanted = messages(&transcribe(&server, &talk(), "", 20).await);
    let mut receiver = Receiver::start().await;
    let mut live = connect(&server, &format!("{QUERY}&{}", receiver.parameter("/"))).await;
    for chunk in talk().linear16().chunks(32_000) {
        live.audio(chunk).await;
    }
    // What is on its way when a connection breaks may be lost.
    tokio::time::sleep(Duration::from_secs(1)).await;
    live.abort();
    assert_eq!(received(&mut receiver).await, wanted);
    server.idle_but(0).await;
}

#[tokio::test]
async fn a_web_socket_gets_every_message_and_ends_the_stream_when_it_drops() {
    let server = server();
    let wanted = messages(&transcribe(&server, &talk(), ALL, 20).await);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/messages", listener.local_addr().unwrap());
    let receiving = tokio::spawn(async move {
        let mut socket = accept_async(listener.accept().await.unwrap().0).await.unwrap();
        let mut got = Vec::new();
        while let Some(Ok(message)) = socket.next().await {
            if let Message::Text(text) = message {
                got.push(comparable(serde_json::from_str(text.as_str()).unwrap()));
            }
        }
        (got, listener)
    });
    let conversation = transcribe(&server, &talk(), &format!("{ALL}&{}", parameter(&url)), 20).await;
    assert_eq!(messages(&conversation), Vec::<Value>::new());
    assert_eq!(conversation.close(), (1000, ""));
    let (got, listener) = receiving.await.unwrap();
    assert_eq!(got, wanted);

    let dropping = tokio::spawn(async move {
        let mut socket = accept_async(listener.accept().await.unwrap().0).await.unwrap();
        socket.next().await.unwrap().unwrap()
    });
    let mut live = connect(&server, &format!("{QUERY}&{ALL}&{}", parameter(&url))).await;
    live.audio(&talk().linear16()).await;
    assert!(dropping.await.unwrap().is_text());
    let began = Instant::now();
    let conversation = live.until_end().await;
    assert_eq!(messages(&conversation), Vec::<Value>::new());
    assert_eq!(conversation.close().0, 1011);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    server.idle_but(0).await;
}

#[tokio::test]
async fn a_receiver_that_takes_nothing_ends_the_stream_in_bounded_time() {
    let config = format!("{LOCAL}\n[callback]\ntimeout = \"500ms\"\n[stream]\ntcp_user_timeout = \"1s\"");
    let server = Setup::default().config(&config).start();
    // The kernel takes connections, nobody answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let query = parameter(&format!("http://{}/", silent.local_addr().unwrap()));
    let mut live = connect(&server, &format!("{QUERY}&{query}")).await;
    let began = Instant::now();
    live.audio(&talk().linear16()).await;
    let conversation = live.until_end().await;
    assert_eq!(messages(&conversation), Vec::<Value>::new());
    assert_eq!(conversation.close().0, 1011);
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    server.idle_but(0).await;
}

#[tokio::test]
async fn addresses_that_cannot_be_used_are_refused_at_the_handshake() {
    let (strict, open) = (Server::start(), server());
    // Nobody listens there any more.
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut receiver = Receiver::start().await;
    for (server, url) in [
        (&strict, format!("http://{}/", receiver.address)),
        (&strict, format!("ws://{}/", receiver.address)),
        (&open, format!("ws://{gone}/")),
        // It answers, but opens no WebSocket.
        (&open, format!("ws://{}/", receiver.address)),
    ] {
        let refused = connect_with(server, &format!("{QUERY}&{}", parameter(&url)), &[])
            .await
            .err()
            .unwrap();
        assert_eq!(
            (refused.status, &refused.body["err_code"], &refused.body["err_msg"]),
            (400, &json!("INVALID_QUERY_PARAMETER"), &json!("Invalid callback url.")),
            "{url}"
        );
    }
    receiver.forget();
    receiver.assert_quiet(Duration::from_millis(100)).await;
}
