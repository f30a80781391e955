//! A server that speaks the live protocol and hears words in numbers: every 200 ms of 16-bit audio hold one constant value, the number
//! of a word. On request it makes one of the faults that the tool must find.

#![allow(clippy::result_large_err, reason = "the signature of the upgrade callback is the library's")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
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
}

/// Starts a server whose first `clean` connections are without the fault.
pub(crate) async fn start(fault: Fault, clean: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let number = connections.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(serve(socket, if number < clean { Fault::None } else { fault }));
        }
    });
    address
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

struct Stream {
    fault: Fault,
    samples: Vec<i16>,
    odd: Option<u8>,
    finished: usize,
}

impl Stream {
    fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match self.odd.take() {
                None => self.odd = Some(*byte),
                Some(low) => self.samples.push(i16::from_le_bytes([low, *byte])),
            }
        }
    }

    fn heard(&self) -> usize {
        self.samples.len() / WORD
    }

    /// A result over words `finished..end`.
    fn result(&self, end: usize, is_final: bool) -> Message {
        let mut words: Vec<(String, f64)> = (self.finished..end)
            .map(|at| (format!("w{}", self.samples[at * WORD]), at as f64 * 0.2))
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
        let text = words.iter().map(|word| word.0.as_str()).collect::<Vec<_>>().join(" ");
        let words: Vec<_> = words
            .iter()
            .map(|(word, at)| json!({"word": word, "start": *at as f32, "end": (*at + 0.2) as f32, "confidence": 0.9}))
            .collect();
        let duration = (end - self.finished) as f64 * 0.2 + if self.fault == Fault::Ahead { 0.6 } else { 0.0 };
        let message = json!({
            "type": "Results", "channel_index": [0, 1], "start": time as f32, "duration": duration as f32,
            "is_final": is_final, "speech_final": false, "from_finalize": false,
            "channel": {"alternatives": [{"transcript": text, "confidence": 0.9, "words": words}]},
            "metadata": {"request_id": "0", "model_info": {"name": "n", "version": "v", "arch": "a"}, "model_uuid": "0"},
        });
        Message::text(message.to_string())
    }
}

fn admit(request: &Request, response: Response, fault: Fault) -> Result<Response, ErrorResponse> {
    let query = request.uri().query().unwrap_or_default();
    assert_eq!(request.uri().path(), "/v1/listen");
    assert!(query.contains("interim_results=true"), "{query}");
    let raw = query.contains("encoding=linear16") && query.contains("sample_rate=8000") && query.contains("channels=1");
    assert!(raw || !query.contains("encoding"), "{query}");
    if fault == Fault::Refuses {
        let mut refusal = ErrorResponse::new(None);
        *refusal.status_mut() = tokio_tungstenite::tungstenite::http::StatusCode::SERVICE_UNAVAILABLE;
        return Err(refusal);
    }
    Ok(response)
}

async fn serve(socket: TcpStream, fault: Fault) {
    let callback = |request: &Request, response: Response| admit(request, response, fault);
    let Ok(socket) = tokio_tungstenite::accept_hdr_async(socket, callback).await else {
        return;
    };
    let (mut sink, mut source) = socket.split();
    let mut stream = Stream {
        fault,
        samples: Vec::new(),
        odd: None,
        finished: 0,
    };
    let mut interim = 0;
    let mut header = true;
    while let Some(Ok(message)) = source.next().await {
        match message {
            Message::Binary(bytes) => {
                // A WAV file sent as it is: the writer of the tests makes headers of 44 bytes.
                let skip = if header && bytes.starts_with(b"RIFF") { 44 } else { 0 };
                header = false;
                stream.push(&bytes[skip..]);
                let heard = stream.heard();
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
                if heard > interim.max(stream.finished) {
                    interim = heard;
                    if fault == Fault::Late {
                        tokio::time::sleep(Duration::from_millis(150)).await;
                    }
                    let is_final = heard >= stream.finished + FINAL;
                    sink.send(stream.result(heard, is_final)).await.unwrap();
                    if is_final {
                        stream.finished = heard;
                    }
                }
            }
            Message::Text(text) if text.contains("CloseStream") => {
                if stream.heard() > stream.finished {
                    sink.send(stream.result(stream.heard(), true)).await.unwrap();
                }
                if fault != Fault::Forgets {
                    sink.send(Message::text(r#"{"type":"Metadata","request_id":"0"}"#)).await.unwrap();
                }
                let frame = CloseFrame {
                    code: 1000.into(),
                    reason: "".into(),
                };
                sink.send(Message::Close(Some(frame))).await.unwrap();
                return;
            }
            _ => {}
        }
    }
}
