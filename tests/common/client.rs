//! A live client that keeps everything it is sent, with the time.

use std::time::{Duration, Instant};

use futures_util::stream::SplitSink;
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderName, HeaderValue, Response};
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::Server;
use super::audio::Tape;
use super::schema;

/// No test waits longer than this for anything that is not about time.
pub const PATIENCE: Duration = Duration::from_secs(30);
pub const KEEP_ALIVE: &str = r#"{"type":"KeepAlive"}"#;
pub const FINALIZE: &str = r#"{"type":"Finalize"}"#;
pub const CLOSE_STREAM: &str = r#"{"type":"CloseStream"}"#;

/// Something the server sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    Json(Value),
    Binary(usize),
    Pong(Vec<u8>),
    /// Close code and reason.
    Close(u16, String),
    /// The connection ended without a Close frame, or after one.
    Gone(String),
}

impl Said {
    /// The message, if it is one of this type.
    pub fn message(&self, kind: &str) -> Option<&Value> {
        match self {
            Said::Json(value) if value["type"] == kind => Some(value),
            _ => None,
        }
    }
}

/// An open connection.
pub struct Live {
    sink: SplitSink<WebSocketStream<MaybeTlsStream<TcpStream>>, Message>,
    incoming: UnboundedReceiver<(Instant, Said)>,
    reader: JoinHandle<()>,
    /// Headers of the 101.
    pub headers: HeaderMap,
    /// Everything taken from the server so far.
    pub heard: Vec<(Instant, Said)>,
}

/// A refused handshake.
#[derive(Debug)]
pub struct Refused {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

/// Connects with further headers.
pub async fn connect_with(server: &Server, query: &str, headers: &[(&str, &str)]) -> Result<Live, Refused> {
    let mut request = server.live_url(query).into_client_request().unwrap();
    for (name, value) in headers {
        request
            .headers_mut()
            .insert(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
    }
    match connect_async(request).await {
        Ok((socket, response)) => Ok(Live::new(socket, response)),
        Err(Error::Http(response)) => {
            let body = response.body().as_deref().unwrap_or_default();
            let body = serde_json::from_slice(body).unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(body)));
            let content_type = response.headers()["content-type"].to_str().unwrap();
            schema::assert_answer("/v1/listen", response.status().as_u16(), content_type, &body);
            Err(Refused {
                status: response.status().as_u16(),
                headers: response.headers().clone(),
                body,
            })
        }
        Err(other) => panic!("{other}"),
    }
}

/// Connects.
pub async fn connect(server: &Server, query: &str) -> Live {
    connect_with(server, query, &[])
        .await
        .unwrap_or_else(|refused| panic!("{refused:?}"))
}

/// Sends a whole tape in one encoding and chunks of that many milliseconds as fast as it is taken, and ends the stream.
pub async fn transcribe(server: &Server, tape: &Tape, query: &str, chunk_ms: u32) -> Conversation {
    let mut live = connect(server, &format!("{}&{query}", tape.query("linear16"))).await;
    let bytes = tape.linear16();
    let size = (u64::from(tape.rate) * u64::from(chunk_ms) / 1_000) as usize * 2 * usize::from(tape.channels);
    for chunk in bytes.chunks(size) {
        live.audio(chunk).await;
    }
    live.close_stream().await
}

impl Live {
    fn new(socket: WebSocketStream<MaybeTlsStream<TcpStream>>, response: Response<Option<Vec<u8>>>) -> Self {
        let (sink, mut stream) = socket.split();
        let (sender, incoming) = unbounded_channel();
        let reader = tokio::spawn(async move {
            while let Some(message) = stream.next().await {
                let said = match message {
                    Ok(Message::Text(text)) => Said::Json(serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}"))),
                    Ok(Message::Binary(bytes)) => Said::Binary(bytes.len()),
                    Ok(Message::Pong(bytes)) => Said::Pong(bytes.to_vec()),
                    Ok(Message::Close(frame)) => frame.map_or(Said::Close(1005, String::new()), |frame| {
                        Said::Close(frame.code.into(), frame.reason.to_string())
                    }),
                    Ok(Message::Ping(_) | Message::Frame(_)) => continue,
                    Err(error) => Said::Gone(error.to_string()),
                };
                let over = matches!(said, Said::Gone(_));
                if sender.send((Instant::now(), said)).is_err() || over {
                    return;
                }
            }
            sender.send((Instant::now(), Said::Gone(String::new()))).ok();
        });
        Self {
            sink,
            incoming,
            reader,
            headers: response.headers().clone(),
            heard: Vec::new(),
        }
    }

    /// Sends any message.
    pub async fn send(&mut self, message: Message) {
        if let Err(error) = self.sink.send(message).await {
            self.listen_for(Duration::from_secs(1)).await;
            panic!("{error}; heard: {:#?}", self.heard);
        }
    }

    /// Sends a message and says whether the connection took it.
    pub async fn try_send(&mut self, message: Message) -> bool {
        self.sink.send(message).await.is_ok()
    }

    /// Sends a binary message.
    pub async fn audio(&mut self, bytes: &[u8]) {
        self.send(Message::Binary(Bytes::copy_from_slice(bytes))).await;
    }

    /// Sends a text message.
    pub async fn text(&mut self, text: &str) {
        self.send(Message::text(text)).await;
    }

    /// Sends a tape as linear16 in chunks of 20 ms, each when a caller would have spoken it; with `speed` 2 in half the time.
    pub async fn speak(&mut self, tape: &Tape, speed: f64) {
        let bytes = tape.linear16();
        let began = Instant::now();
        let chunk = (tape.rate / 50) as usize * 2 * usize::from(tape.channels);
        for (n, part) in bytes.chunks(chunk).enumerate() {
            let due = began + Duration::from_secs_f64((n + 1) as f64 * 0.02 / speed);
            tokio::time::sleep_until(due.into()).await;
            self.audio(part).await;
        }
    }

    /// The next thing the server says, within a time. Every message must be as documented.
    pub async fn next_within(&mut self, limit: Duration) -> Option<Said> {
        let (at, said) = tokio::time::timeout(limit, self.incoming.recv()).await.ok()??;
        if let Said::Json(message) = &said {
            schema::assert_message(message);
        }
        self.heard.push((at, said.clone()));
        Some(said)
    }

    /// The next thing the server says.
    pub async fn next(&mut self) -> Said {
        self.next_within(PATIENCE)
            .await
            .unwrap_or_else(|| panic!("nothing more came; heard: {:#?}", self.heard))
    }

    /// Reads on until a message fits, and returns it.
    pub async fn until(&mut self, what: &str, fits: impl Fn(&Said) -> bool) -> Said {
        loop {
            let said = self.next().await;
            if fits(&said) {
                return said;
            }
            assert!(
                !matches!(said, Said::Gone(_)),
                "the connection ended before {what}; heard: {:#?}",
                self.heard
            );
        }
    }

    /// Reads on until the reply to a Finalize.
    pub async fn until_finalized(&mut self) -> Value {
        let said = self
            .until("the reply to Finalize", |said| {
                said.message("Results").is_some_and(|r| r["from_finalize"] == true)
            })
            .await;
        said.message("Results").unwrap().clone()
    }

    /// Takes everything that comes within a time.
    pub async fn listen_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while self.next_within(end.saturating_duration_since(Instant::now())).await.is_some() {}
    }

    /// Asks for the end and takes everything until it.
    pub async fn close_stream(mut self) -> Conversation {
        self.text(CLOSE_STREAM).await;
        self.until_end().await
    }

    /// Takes everything until the connection ends.
    pub async fn until_end(mut self) -> Conversation {
        while !matches!(self.next().await, Said::Gone(_)) {}
        Conversation {
            heard: std::mem::take(&mut self.heard),
        }
    }

    /// Drops the connection without a Close frame.
    pub fn abort(self) {
        self.reader.abort();
    }
}

/// Everything that a server said on one connection.
pub struct Conversation {
    pub heard: Vec<(Instant, Said)>,
}

impl Conversation {
    /// Messages of one type.
    pub fn all(&self, kind: &str) -> Vec<&Value> {
        self.heard.iter().filter_map(|(_, said)| said.message(kind)).collect()
    }

    /// The results of one channel.
    pub fn results(&self, channel: u64) -> Vec<&Value> {
        self.all("Results")
            .into_iter()
            .filter(|result| result["channel_index"][0] == channel)
            .collect()
    }

    /// The final results of channel 0.
    pub fn finals(&self) -> Vec<&Value> {
        self.finals_of(0)
    }

    /// The final results of a channel.
    pub fn finals_of(&self, channel: u64) -> Vec<&Value> {
        self.results(channel)
            .into_iter()
            .filter(|result| result["is_final"] == true)
            .collect()
    }

    /// The words of the final results of channel 0, with times and confidences.
    pub fn words(&self) -> Vec<Value> {
        self.finals().iter().flat_map(|result| words(result)).collect()
    }

    /// The words alone, of channel 0.
    pub fn text(&self) -> String {
        text(&self.words())
    }

    /// The one Metadata message.
    pub fn metadata(&self) -> &Value {
        let all = self.all("Metadata");
        assert_eq!(all.len(), 1, "{:#?}", self.heard);
        all[0]
    }

    /// Close code and reason.
    pub fn close(&self) -> (u16, &str) {
        let close = self.heard.iter().find_map(|(_, said)| match said {
            Said::Close(code, reason) => Some((*code, reason.as_str())),
            _ => None,
        });
        close.unwrap_or_else(|| panic!("no close frame: {:#?}", self.heard))
    }

    /// When the last message of a type came.
    pub fn last_at(&self, kind: &str) -> Instant {
        self.heard.iter().rev().find(|(_, said)| said.message(kind).is_some()).unwrap().0
    }

    /// When the Close frame came.
    pub fn closed_at(&self) -> Instant {
        self.heard.iter().find(|(_, said)| matches!(said, Said::Close(..))).unwrap().0
    }

    /// Results without the stream's id, which differs between streams.
    pub fn comparable(&self, is_final: bool) -> Vec<Value> {
        let mut results: Vec<Value> = self
            .all("Results")
            .into_iter()
            .filter(|result| result["is_final"] == is_final)
            .cloned()
            .collect();
        results.iter_mut().for_each(|result| drop(result["metadata"].take()));
        results
    }
}

/// The words of a result or of an alternative's channel.
pub fn words(result: &Value) -> Vec<Value> {
    result["channel"]["alternatives"][0]["words"].as_array().unwrap().clone()
}

/// Words joined by blanks.
pub fn text(words: &[Value]) -> String {
    words
        .iter()
        .map(|word| word["word"].as_str().unwrap())
        .collect::<Vec<_>>()
        .join(" ")
}

/// The transcript of a result.
pub fn transcript(result: &Value) -> &str {
    result["channel"]["alternatives"][0]["transcript"].as_str().unwrap()
}

/// A number.
pub fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("no number: {value}"))
}

/// Start and end of a result's window.
pub fn window(result: &Value) -> (f64, f64) {
    let start = number(&result["start"]);
    (start, start + number(&result["duration"]))
}

/// A time as a number of samples at the model's rate. Every time is one: what the short floats on the wire lose is less than half a sample.
pub fn samples(seconds: &Value) -> u64 {
    (number(seconds) * 16_000.0).round() as u64
}

/// Checks that finals tile the time line from 0 to `end` without gap or overlap by a single sample, and hold words that lie within.
pub fn assert_tiles(finals: &[&Value], end: f64) {
    let (mut position, mut at) = (0.0, 0);
    for result in finals {
        let (from, to) = window(result);
        assert_eq!(
            samples(&result["start"]),
            at,
            "a final begins at {from}, the one before ended at {position}"
        );
        at += samples(&result["duration"]);
        let mut last = from;
        for word in words(result) {
            let (start, end) = (number(&word["start"]), number(&word["end"]));
            assert!(
                start >= last - 0.001 && end >= start && end <= to + 0.001,
                "word {word} in {from} to {to}"
            );
            last = end;
        }
        position = to;
    }
    assert!((position - end).abs() < 0.05, "the finals end at {position}, the audio at {end}");
}
