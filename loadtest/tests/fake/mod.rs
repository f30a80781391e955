//! A server that speaks the live and the upload protocol and hears words in numbers: every 200 ms of audio hold one constant value, the
//! number of a word (of mu-law and A-law: the code). On request it makes one of the faults that the tool must find.

#![allow(clippy::result_large_err, reason = "the signature of the upgrade callback is the library's")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// Samples a second.
pub(crate) const RATE: u32 = 8000;
/// Samples of one word.
const WORD: usize = 1600;
/// Words in one final result.
const FINAL: usize = 5;

/// What the server does wrong, in every connection after the reference run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Leaves out the third word of every final.
    Loses,
    /// Says the third word of every final twice.
    Doubles,
    /// Writes another word for the third of every final.
    Changes,
    /// Puts three words of the other file into every final.
    Crosses,
    /// Gives the right words at other times.
    Moves,
    /// Takes 150 ms for every word.
    Late,
    /// Covers audio that it has not received.
    Ahead,
    /// Answers 503.
    Refuses,
    /// Closes with 1011 in the middle.
    Breaks,
    /// Ends the TCP connection in the middle.
    Vanishes,
    /// Ends without `Metadata`.
    Forgets,
    /// Sends much, and ends streams whose client does not read it.
    Evicts,
    /// Has room for so many streams, and answers 503 to more.
    Holds(usize),
    /// Is late with every word while more than so many streams are open.
    Slows(usize),
}

/// What the server has seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Streams open now.
    pub(crate) open: AtomicUsize,
    /// Streams that ended with a TCP reset.
    pub(crate) resets: AtomicUsize,
    /// Results sent.
    pub(crate) results: AtomicUsize,
    /// Uploads answered with a transcript.
    pub(crate) uploads: AtomicUsize,
    /// Uploads being worked on.
    pub(crate) uploading: AtomicUsize,
    /// Most of them at once.
    pub(crate) most_uploading: AtomicUsize,
}

/// How long an upload takes.
pub(crate) const UPLOAD_TIME: Duration = Duration::from_millis(100);

/// Starts a server whose first `clean` connections are without the fault; `GET /metrics` is no connection.
pub(crate) async fn start(fault: Fault, clean: usize) -> SocketAddr {
    start_watched(fault, clean).await.0
}

/// The same, with what it sees.
pub(crate) async fn start_watched(fault: Fault, clean: usize) -> (SocketAddr, Arc<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let seen = Arc::new(Seen::default());
    let watched = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(accept(socket, fault, clean, Arc::clone(&connections), Arc::clone(&seen)));
        }
    });
    (address, watched)
}

async fn accept(mut socket: TcpStream, fault: Fault, clean: usize, connections: Arc<AtomicUsize>, seen: Arc<Seen>) {
    let mut head = [0; 12];
    while socket.peek(&mut head).await.unwrap_or(0) < head.len() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    if head.starts_with(b"GET /metrics") {
        metrics(&mut socket, &seen).await;
        return;
    }
    let number = connections.fetch_add(1, Ordering::SeqCst);
    let fault = if number < clean { Fault::None } else { fault };
    if head.starts_with(b"POST") {
        upload(&mut socket, fault, &seen).await;
    } else {
        serve(socket, fault, &seen).await;
    }
}

/// Every result counts as one step of 30 ms.
async fn metrics(socket: &mut TcpStream, seen: &Seen) {
    request(socket).await;
    let results = seen.results.load(Ordering::SeqCst);
    let sum = results as f64 * 0.03;
    let text = format!(
        "# TYPE hark_step_seconds histogram\nhark_step_seconds_bucket{{le=\"0.02\"}} 0\nhark_step_seconds_bucket{{le=\"0.04\"}} {results}\nhark_step_seconds_bucket{{le=\"+Inf\"}} {results}\nhark_step_seconds_sum {sum}\nhark_step_seconds_count {results}\n# TYPE engine_estimated_stream_capacity gauge\nengine_estimated_stream_capacity 5\n"
    );
    answer(socket, "200 OK", &text).await;
}

/// Reads one request; returns its first line and its body.
async fn request(socket: &mut TcpStream) -> (String, Vec<u8>) {
    let mut bytes = Vec::new();
    loop {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length = length.map_or(0, |length| length.trim().parse::<usize>().unwrap());
            if bytes.len() >= end + 4 + length {
                let first = head.lines().next().unwrap().to_owned();
                return (first, bytes.split_off(end + 4));
            }
        }
        if socket.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return (String::new(), Vec::new());
        }
    }
}

async fn answer(socket: &mut TcpStream, status: &str, body: &str) {
    let length = body.len();
    let text = format!("HTTP/1.1 {status}\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
    socket.write_all(text.as_bytes()).await.ok();
    socket.shutdown().await.ok();
}

async fn upload(socket: &mut TcpStream, fault: Fault, seen: &Seen) {
    let (first, body) = request(socket).await;
    assert!(first.starts_with("post /v1/listen"), "{first}");
    assert!(body.starts_with(b"RIFF"), "the file as it is");
    let at_once = seen.uploading.fetch_add(1, Ordering::SeqCst) + 1;
    seen.most_uploading.fetch_max(at_once, Ordering::SeqCst);
    tokio::time::sleep(UPLOAD_TIME).await;
    seen.uploading.fetch_sub(1, Ordering::SeqCst);
    match fault {
        Fault::Refuses => return answer(socket, "503 Service Unavailable", "{}").await,
        Fault::Breaks => return answer(socket, "500 Internal Server Error", "{\"err_msg\":\"broken on purpose\"}").await,
        Fault::Vanishes => return,
        _ => {}
    }
    let mut stream = Stream::new(fault, Shape::default(), 0);
    stream.push(&body[44..]);
    let said = stream.said(stream.heard(), true);
    let text = said.iter().map(|word| word.0.as_str()).collect::<Vec<_>>().join(" ");
    let answered = json!({
        "metadata": {"request_id": "0"},
        "results": {"channels": [{"alternatives": [{"transcript": text, "confidence": 0.9, "words": words_of(&said)}]}]},
    });
    seen.uploads.fetch_add(1, Ordering::SeqCst);
    answer(socket, "200 OK", &answered.to_string()).await;
}

/// Writes a file that says `words`, numbers below 1000.
pub(crate) fn write_wav(path: &Path, words: &[i16]) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: RATE,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    for word in words {
        (0..WORD).for_each(|_| writer.write_sample(*word).unwrap());
    }
    writer.finalize().unwrap();
}

/// The form of a stream's audio.
#[derive(Debug, Clone, Copy)]
struct Shape {
    sample_bytes: usize,
    rate: usize,
    channels: usize,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            sample_bytes: 2,
            rate: 8000,
            channels: 1,
        }
    }
}

impl Shape {
    fn of(query: &str) -> Self {
        let value = |name: &str| query.split('&').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
        Self {
            sample_bytes: if matches!(value("encoding"), Some("mulaw" | "alaw")) {
                1
            } else {
                2
            },
            rate: value("sample_rate").map_or(8000, |rate| rate.parse().unwrap()),
            channels: if value("multichannel") == Some("true") { 2 } else { 1 },
        }
    }
}

/// One channel of a stream.
struct Stream {
    fault: Fault,
    shape: Shape,
    channel: usize,
    samples: Vec<i16>,
    bytes: Vec<u8>,
    frames: usize,
    finished: usize,
    interim: usize,
}

impl Stream {
    fn new(fault: Fault, shape: Shape, channel: usize) -> Self {
        Self {
            fault,
            shape,
            channel,
            samples: Vec::new(),
            bytes: Vec::new(),
            frames: 0,
            finished: 0,
            interim: 0,
        }
    }

    /// Takes the samples of its channel out of `bytes`, which hold those of all channels.
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        let frame = self.shape.sample_bytes * self.shape.channels;
        let whole = self.bytes.len() / frame * frame;
        for frame in self.bytes.drain(..whole).collect::<Vec<u8>>().chunks(frame) {
            let at = self.channel * self.shape.sample_bytes;
            self.samples.push(match self.shape.sample_bytes {
                1 => i16::from(frame[at]),
                _ => i16::from_le_bytes([frame[at], frame[at + 1]]),
            });
        }
        self.frames = self.samples.len();
    }

    fn word(&self) -> usize {
        WORD * self.shape.rate / 8000
    }

    fn heard(&self) -> usize {
        self.frames / self.word()
    }

    /// Words `finished..end` with their start times.
    fn said(&self, end: usize, is_final: bool) -> Vec<(String, f64)> {
        let word = self.word();
        let mut words: Vec<(String, f64)> = (self.finished..end)
            .map(|at| (format!("w{}", self.samples[at * word + word / 2]), at as f64 * 0.2))
            .collect();
        let third = is_final && words.len() > 3;
        let time = self.finished as f64 * 0.2;
        match self.fault {
            Fault::Loses if third => drop(words.remove(2)),
            Fault::Doubles if third => words.insert(2, words[2].clone()),
            Fault::Changes if third => words[2].0 = "another".into(),
            Fault::Crosses if third => {
                let base = if self.samples[0] < 500 { 500 } else { 0 };
                (0..3).for_each(|k| words.insert(2, (format!("w{}", base + 7 - k), time)));
            }
            Fault::Moves => words.iter_mut().for_each(|word| word.1 += 0.04),
            _ => {}
        }
        words
    }

    /// A result over words `finished..end`. A final ends the speech at the last of them.
    fn result(&self, end: usize, is_final: bool) -> Message {
        let words = self.said(end, is_final);
        let text = words.iter().map(|word| word.0.as_str()).collect::<Vec<_>>().join(" ");
        let duration = (end - self.finished) as f64 * 0.2 + if self.fault == Fault::Ahead { 0.6 } else { 0.0 };
        let message = json!({
            "type": "Results", "channel_index": [self.channel, self.shape.channels],
            "start": (self.finished as f64 * 0.2) as f32, "duration": duration as f32,
            "is_final": is_final, "speech_final": is_final, "from_finalize": false,
            "channel": {"alternatives": [{"transcript": text, "confidence": 0.9, "words": words_of(&words)}]},
            "metadata": {"request_id": "0", "model_info": {"name": "n", "version": "v", "arch": "a"}, "model_uuid": "0"},
        });
        Message::text(message.to_string())
    }

    /// The next result, if there is one.
    fn next(&mut self) -> Option<Message> {
        let heard = self.heard();
        if heard <= self.interim.max(self.finished) {
            return None;
        }
        self.interim = heard;
        let is_final = heard >= self.finished + FINAL;
        let message = self.result(heard, is_final);
        if is_final {
            self.finished = heard;
        }
        Some(message)
    }
}

fn words_of(words: &[(String, f64)]) -> Vec<serde_json::Value> {
    words
        .iter()
        .map(|(word, at)| json!({"word": word, "start": *at as f32, "end": (*at + 0.2) as f32, "confidence": 0.9}))
        .collect()
}

/// Counts a stream as open while it lives.
struct Opened<'a>(&'a Seen);

impl<'a> Opened<'a> {
    fn new(seen: &'a Seen) -> Self {
        seen.open.fetch_add(1, Ordering::SeqCst);
        Self(seen)
    }
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

fn admit(request: &Request, response: Response, fault: Fault, seen: &Seen, shape: &mut Shape) -> Result<Response, ErrorResponse> {
    let query = request.uri().query().unwrap_or_default();
    assert_eq!(request.uri().path(), "/v1/listen");
    assert!(query.contains("interim_results=true"), "{query}");
    let described = ["encoding=", "sample_rate=", "channels="].map(|name| query.contains(name));
    assert!(described == [true; 3] || described[0] == described[1], "{query}");
    *shape = Shape::of(query);
    let full = matches!(fault, Fault::Holds(room) if seen.open.load(Ordering::SeqCst) >= room);
    if fault == Fault::Refuses || full {
        let mut refusal = ErrorResponse::new(None);
        *refusal.status_mut() = tokio_tungstenite::tungstenite::http::StatusCode::SERVICE_UNAVAILABLE;
        refusal.headers_mut().insert("retry-after", "1".parse().unwrap());
        return Err(refusal);
    }
    Ok(response)
}

async fn serve(socket: TcpStream, fault: Fault, seen: &Seen) {
    let mut shape = Shape::default();
    let callback = |request: &Request, response: Response| admit(request, response, fault, seen, &mut shape);
    let Ok(socket) = tokio_tungstenite::accept_hdr_async(socket, callback).await else {
        return;
    };
    let _opened = Opened::new(seen);
    let (mut sink, mut source) = socket.split();
    let mut channels: Vec<Stream> = (0..shape.channels).map(|channel| Stream::new(fault, shape, channel)).collect();
    let mut header = true;
    loop {
        let message = match source.next().await {
            Some(Ok(message)) => message,
            Some(Err(tokio_tungstenite::tungstenite::Error::Io(error))) => {
                let reset = error.kind() == std::io::ErrorKind::ConnectionReset;
                seen.resets.fetch_add(usize::from(reset), Ordering::SeqCst);
                return;
            }
            _ => return,
        };
        match message {
            Message::Binary(bytes) => {
                // A WAV file sent as it is: the writer of the tests makes headers of 44 bytes.
                let skip = if header && bytes.starts_with(b"RIFF") { 44 } else { 0 };
                header = false;
                if skip > 0 {
                    let rate = u32::from_le_bytes(bytes[24..28].try_into().unwrap());
                    channels.iter_mut().for_each(|stream| stream.shape.rate = rate as usize);
                }
                for stream in &mut channels {
                    stream.push(&bytes[skip..]);
                }
                let heard = channels[0].heard();
                if heard >= 6 && fault == Fault::Breaks {
                    let frame = CloseFrame {
                        code: 1011.into(),
                        reason: "broken on purpose".into(),
                    };
                    sink.send(Message::Close(Some(frame))).await.ok();
                    return;
                }
                if heard >= 6 && fault == Fault::Vanishes {
                    return;
                }
                for stream in &mut channels {
                    let Some(message) = stream.next() else { continue };
                    let late = match fault {
                        Fault::Late => 150,
                        Fault::Slows(room) if seen.open.load(Ordering::SeqCst) > room => 450,
                        _ => 0,
                    };
                    tokio::time::sleep(Duration::from_millis(late)).await;
                    seen.results.fetch_add(1, Ordering::SeqCst);
                    let mut sending = vec![message];
                    if fault == Fault::Evicts {
                        sending.push(Message::text(format!("{{\"type\":\"Padding\",\"x\":\"{}\"}}", "x".repeat(1 << 20))));
                    }
                    for message in sending {
                        let sent = tokio::time::timeout(Duration::from_millis(300), sink.send(message)).await;
                        if !matches!(sent, Ok(Ok(()))) {
                            return;
                        }
                    }
                }
            }
            Message::Text(text) if text.contains("CloseStream") => {
                for stream in &channels {
                    if stream.heard() > stream.finished {
                        sink.send(stream.result(stream.heard(), true)).await.ok();
                    }
                }
                if fault != Fault::Forgets {
                    sink.send(Message::text(r#"{"type":"Metadata","request_id":"0"}"#)).await.ok();
                }
                let frame = CloseFrame {
                    code: 1000.into(),
                    reason: "".into(),
                };
                sink.send(Message::Close(Some(frame))).await.ok();
                return;
            }
            _ => {}
        }
    }
}
