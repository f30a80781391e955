//! A receiver of callbacks: keeps what it is sent, and answers as told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::client::PATIENCE;

/// A request that came.
#[derive(Debug)]
pub struct Delivery {
    /// Its head, the names of headers in lower case.
    pub head: String,
    /// Its body.
    pub body: Value,
}

impl Delivery {
    /// The id of the request that it answers.
    pub fn request_id(&self) -> &str {
        let id = self.body.get("request_id").unwrap_or(&self.body["metadata"]["request_id"]);
        id.as_str().unwrap()
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(str::trim)
    }
}

/// The receiver; stops with the test's runtime.
pub struct Receiver {
    pub address: SocketAddr,
    deliveries: UnboundedReceiver<Delivery>,
    failing: Arc<AtomicUsize>,
}

impl Receiver {
    /// A receiver that answers 200.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, deliveries) = unbounded_channel();
        let failing = Arc::new(AtomicUsize::new(0));
        let left = Arc::clone(&failing);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&left), sender.clone()));
            }
        });
        Self {
            address,
            deliveries,
            failing,
        }
    }

    /// Answers so many from now on with 500.
    pub fn fail_next(&self, count: usize) {
        self.failing.store(count, Ordering::SeqCst);
    }

    /// The parameter that names this receiver and a path.
    pub fn parameter(&self, path: &str) -> String {
        parameter(&format!("http://{}{path}", self.address))
    }

    /// The next request.
    pub async fn next(&mut self) -> Delivery {
        let next = tokio::time::timeout(PATIENCE, self.deliveries.recv()).await;
        next.expect("nothing was delivered").unwrap()
    }

    /// Nothing comes for so long.
    pub async fn assert_quiet(&mut self, time: Duration) {
        let next = tokio::time::timeout(time, self.deliveries.recv()).await;
        assert!(next.is_err(), "{next:?}");
    }

    /// Forgets what came so far.
    pub fn forget(&mut self) {
        while self.deliveries.try_recv().is_ok() {}
    }
}

/// The parameter `callback` with a URL.
pub fn parameter(url: &str) -> String {
    let escaped: String = url.bytes().map(|byte| format!("%{byte:02x}")).collect();
    format!("callback={escaped}")
}

async fn answer(stream: TcpStream, failing: Arc<AtomicUsize>, sender: UnboundedSender<Delivery>) {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        if line == "\r\n" {
            break;
        }
        let line = match line.split_once(':') {
            Some((name, value)) if !head.is_empty() => format!("{}:{value}", name.to_lowercase()),
            _ => line,
        };
        head.push_str(&line);
    }
    let mut delivery = Delivery { head, body: Value::Null };
    let length = delivery.header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    if stream.read_exact(&mut body).await.is_err() {
        return;
    }
    delivery.body = serde_json::from_slice(&body).unwrap_or_default();
    let fails = failing
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
        .is_ok();
    let status = if fails { "500 Internal Server Error" } else { "200 OK" };
    sender.send(delivery).ok();
    let response = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(response.as_bytes()).await.ok();
    stream.shutdown().await.ok();
}
