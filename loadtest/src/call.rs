//! One call: connects, sends a file at its pace, listens until the server closes, and keeps what was seen.
//!
//! Does not judge. Called by `live` (many calls) and `watch` (one).

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Request};
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};
use url::Url;

use crate::compare::Word;
use crate::latency::{Attribution, Timed, Window, millis};
use crate::pacing::Pace;
use crate::plan::SendAs;
use crate::wav::Wav;

/// Longest wait for the answer to the upgrade request.
const CONNECT_WAIT: Duration = Duration::from_secs(10);
/// Longest wait for the server to hang up after its Close frame.
const CLOSE_WAIT: Duration = Duration::from_secs(1);
/// Longest wait for the end of a call, beyond twice its planned length.
const END_WAIT: Duration = Duration::from_secs(60);

/// Where calls go and in which form.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// The endpoint with the common query parameters, scheme `ws`.
    url: Url,
    /// Sent as `Authorization: Token KEY`.
    key: Option<String>,
    /// How samples are sent.
    pub(crate) send: SendAs,
    /// Audio in one message.
    pub(crate) chunk_ms: u32,
}

impl Target {
    /// `url` is the server's address; without a path `/v1/listen` is added. `query` goes to every call.
    ///
    /// # Errors
    /// No `http` or `ws` address, or a key that cannot stand in a header.
    pub(crate) fn new(url: &str, key: Option<String>, query: &BTreeMap<String, String>, send: SendAs, chunk_ms: u32) -> Result<Self> {
        let mut url = Url::parse(url).with_context(|| format!("the address {url}"))?;
        match url.scheme() {
            "ws" => {}
            "http" => ensure!(url.set_scheme("ws").is_ok(), "{url} is no address of a server"),
            other => bail!("the scheme {other}: only http and ws are supported, put a TLS proxy in front"),
        }
        if url.path() == "/" {
            url.set_path("/v1/listen");
        }
        if let Some(key) = &key {
            HeaderValue::from_str(key).context("the key")?;
        }
        url.query_pairs_mut().append_pair("interim_results", "true").extend_pairs(query);
        Ok(Self { url, key, send, chunk_ms })
    }

    fn request(&self, wav: &Wav) -> Result<Request<()>> {
        let mut url = self.url.clone();
        if self.send == SendAs::Raw {
            url.query_pairs_mut()
                .append_pair("encoding", wav.encoding)
                .append_pair("sample_rate", &wav.sample_rate.to_string())
                .append_pair("channels", &wav.channels.to_string());
        }
        let mut request = url.as_str().into_client_request()?;
        if let Some(key) = &self.key {
            request
                .headers_mut()
                .insert("authorization", HeaderValue::from_str(&format!("Token {key}"))?);
        }
        Ok(request)
    }
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "outcome", content = "detail")]
pub(crate) enum Outcome {
    /// `Metadata`, then Close 1000.
    Completed,
    /// 429 or 503 at the handshake.
    Refused(u16),
    /// Anything else, in words.
    Failed(String),
}

/// What was seen of one call.
#[derive(Debug, Serialize)]
pub(crate) struct Call {
    /// How it ended.
    #[serde(flatten)]
    pub(crate) outcome: Outcome,
    /// Code of the Close frame.
    pub(crate) close_code: Option<u16>,
    /// From the start of the connection to the answer to the upgrade.
    pub(crate) connect_ms: Option<f64>,
    /// Planned send time of the first chunk.
    #[serde(skip)]
    pub(crate) audio_start: Option<Instant>,
    /// From the planned send time of the first chunk to the first interim.
    pub(crate) first_interim_ms: Option<f64>,
    /// From the planned send time of `CloseStream` to the last result after it; `None` if none came after it.
    pub(crate) close_to_last_result_ms: Option<f64>,
    /// From the planned send time of `CloseStream` to the Close frame.
    pub(crate) close_to_end_ms: Option<f64>,
    /// Every result.
    pub(crate) results: Vec<Timed>,
    /// `Error` messages of the server.
    pub(crate) errors: Vec<String>,
    /// Words of the final results.
    pub(crate) words: Vec<Word>,
    /// For each chunk, how much later than planned (or than the end of the send before) we began to send it.
    #[serde(skip)]
    pub(crate) own_lateness: Vec<Duration>,
    /// For each chunk, how long the socket took to accept it.
    #[serde(skip)]
    pub(crate) blocked: Vec<Duration>,
}

impl Call {
    fn ended(outcome: Outcome, connect_ms: Option<f64>) -> Self {
        Self {
            outcome,
            close_code: None,
            connect_ms,
            audio_start: None,
            first_interim_ms: None,
            close_to_last_result_ms: None,
            close_to_end_ms: None,
            results: Vec::new(),
            errors: Vec::new(),
            words: Vec::new(),
            own_lateness: Vec::new(),
            blocked: Vec::new(),
        }
    }

    /// The final transcript: the texts of the final results, joined by spaces.
    pub(crate) fn transcript(&self) -> String {
        self.words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ")
    }
}

/// A message of the server, as far as it is read.
#[derive(Debug, Deserialize)]
struct ServerMessage {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    start: f64,
    #[serde(default)]
    duration: f64,
    #[serde(default)]
    is_final: bool,
    #[serde(default)]
    channel: Channel,
    #[serde(default)]
    description: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Channel {
    alternatives: Vec<Alternative>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Alternative {
    transcript: String,
    words: Vec<WordTime>,
}

#[derive(Debug, Deserialize)]
struct WordTime {
    start: f64,
    end: f64,
}

/// Makes one call. `heard` is told of every result with its transcript, as it comes.
///
/// # Errors
/// Only for mistakes on our side (an impossible request or pace); what the server does wrong is in [`Call::outcome`].
pub(crate) async fn call(target: &Target, wav: &Wav, speed: f64, heard: impl FnMut(&Timed, &str) + Send) -> Result<Call> {
    let request = target.request(wav)?;
    let begun = Instant::now();
    let connecting = connect_async_with_config(request, None, true);
    let answer = tokio::time::timeout(CONNECT_WAIT, connecting).await;
    let connect_ms = Some(millis(begun.elapsed()));
    let socket = match answer {
        Err(_) => return Ok(Call::ended(Outcome::Failed("no answer to the upgrade request".into()), None)),
        Ok(Err(SocketError::Http(response))) => {
            let status = response.status().as_u16();
            let detail = response
                .headers()
                .get("dg-error")
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default();
            let outcome = match status {
                429 | 503 => Outcome::Refused(status),
                _ => Outcome::Failed(format!("the upgrade was answered with {status} {detail}")),
            };
            return Ok(Call::ended(outcome, connect_ms));
        }
        Ok(Err(error)) => return Ok(Call::ended(Outcome::Failed(format!("connecting: {error}")), None)),
        Ok(Ok((socket, _))) => socket,
    };

    let pace = Pace::new(Instant::now(), speed, wav.sample_rate, target.chunk_ms, wav.frames)?;
    let mut seen = Call::ended(Outcome::Completed, connect_ms);
    seen.audio_start = Some(pace.planned(0));
    let closing = pace.planned(pace.chunks());
    let deadline = closing + closing.saturating_duration_since(pace.planned(0)) + END_WAIT;
    let sent = AtomicU32::new(0);
    let (sink, stream) = socket.split();
    let mut lateness = Lateness::default();
    let ended = {
        let mut sending = pin!(send(sink, wav, &pace, target.send == SendAs::Wav, &sent, &mut lateness));
        let mut listening = pin!(listen(stream, &pace, &sent, &mut seen, heard));
        let both = async {
            tokio::select! {
                ended = &mut listening => ended,
                // Why a send failed is told by what the server says before it closes.
                sending = &mut sending => match (sending, listening.await) {
                    (Err(error), Err(reason)) => Err(format!("{reason} (sending: {error})")),
                    (_, ended) => ended,
                },
            }
        };
        tokio::time::timeout_at(deadline.into(), both).await
    };
    seen.own_lateness = lateness.own;
    seen.blocked = lateness.blocked;
    seen.outcome = match ended {
        Err(_) => Outcome::Failed("the call did not end in time".into()),
        Ok(Err(reason)) => Outcome::Failed(reason),
        Ok(Ok(())) => Outcome::Completed,
    };
    Ok(seen)
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// How late the sender was, chunk by chunk.
#[derive(Debug, Default)]
struct Lateness {
    own: Vec<Duration>,
    blocked: Vec<Duration>,
}

/// Sends every chunk at its planned time, or at once when that has passed, then `CloseStream`.
async fn send(
    mut sink: SplitSink<Socket, Message>,
    wav: &Wav,
    pace: &Pace,
    header: bool,
    sent: &AtomicU32,
    lateness: &mut Lateness,
) -> Result<(), SocketError> {
    let mut free = pace.planned(0);
    for index in 0..pace.chunks() {
        let planned = pace.planned(index);
        tokio::time::sleep_until(planned.into()).await;
        let begun = Instant::now();
        lateness.own.push(begun.saturating_duration_since(planned.max(free)));
        let chunk = wav.chunk(index, pace.chunk_frames(), header).to_vec();
        sink.send(Message::binary(chunk)).await?;
        free = Instant::now();
        lateness.blocked.push(free.saturating_duration_since(begun));
        sent.store(index.saturating_add(1), Ordering::Relaxed);
    }
    tokio::time::sleep_until(pace.planned(pace.chunks()).into()).await;
    sink.send(Message::text(r#"{"type":"CloseStream"}"#)).await
}

/// Takes in everything that the server sends. `Ok` after `Metadata` and Close 1000, otherwise what was wrong.
async fn listen(
    mut stream: SplitStream<Socket>,
    pace: &Pace,
    sent: &AtomicU32,
    seen: &mut Call,
    mut heard: impl FnMut(&Timed, &str),
) -> Result<(), String> {
    let mut attribution = Attribution::new(*pace);
    let closing = pace.planned(pace.chunks());
    let mut metadata = false;
    loop {
        let message = stream.next().await;
        let received = Instant::now();
        match message {
            Some(Ok(Message::Text(text))) => {
                let message: ServerMessage =
                    serde_json::from_str(&text).map_err(|error| format!("a message that is not understood: {error}"))?;
                match message.kind.as_str() {
                    "Results" => {
                        let window = Window {
                            start: message.start,
                            duration: message.duration,
                            is_final: message.is_final,
                        };
                        let timed = attribution.result(window, received, sent.load(Ordering::Relaxed));
                        let best = message.channel.alternatives.into_iter().next().unwrap_or_default();
                        heard(&timed, &best.transcript);
                        if !timed.is_final && seen.first_interim_ms.is_none() {
                            seen.first_interim_ms = Some(millis(received.saturating_duration_since(pace.planned(0))));
                        }
                        if let Some(after) = received.checked_duration_since(closing) {
                            seen.close_to_last_result_ms = Some(millis(after));
                        }
                        if timed.is_final {
                            seen.words.extend(final_words(&best));
                        }
                        seen.results.push(timed);
                    }
                    "Metadata" => metadata = true,
                    "Error" => seen.errors.push(message.description),
                    _ => {}
                }
            }
            Some(Ok(Message::Close(frame))) => {
                let code = frame.as_ref().map(|frame| u16::from(frame.code));
                seen.close_code = code;
                seen.close_to_end_ms = received.checked_duration_since(closing).map(millis);
                // Reading on sends the answer to the Close frame.
                tokio::time::timeout(CLOSE_WAIT, stream.next()).await.ok();
                return match (code, metadata) {
                    (Some(1000), true) => Ok(()),
                    (Some(1000), false) => Err("closed with 1000 but without Metadata".into()),
                    (Some(code), _) => Err(format!(
                        "closed with {code} {}",
                        frame.map(|frame| frame.reason.to_string()).unwrap_or_default()
                    )),
                    (None, _) => Err("closed without a code".into()),
                };
            }
            Some(Ok(Message::Binary(_))) => return Err("the server sent a binary message".into()),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(format!("the connection broke: {error}")),
            None => return Err("the connection ended without a Close frame".into()),
        }
    }
}

/// The words of a final transcript, with times where there is one time for each of them.
fn final_words(best: &Alternative) -> Vec<Word> {
    let texts: Vec<&str> = best.transcript.split_whitespace().collect();
    let timed = texts.len() == best.words.len();
    let times = |at: usize| best.words.get(at).filter(|_| timed).map(|word| (word.start, word.end));
    let word = |(at, text): (usize, &&str)| Word {
        text: (*text).to_owned(),
        times: times(at),
    };
    texts.iter().enumerate().map(word).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn target(url: &str) -> Result<Target> {
        let query = BTreeMap::from([("keyterm".to_owned(), "a b&c".to_owned())]);
        Target::new(url, None, &query, SendAs::Raw, 20)
    }

    #[test]
    fn addresses_get_the_path_and_the_query() {
        let url = "ws://127.0.0.1:8080/v1/listen?interim_results=true&keyterm=a+b%26c";
        assert_eq!(target("http://127.0.0.1:8080").unwrap().url.as_str(), url);
        assert_eq!(target("ws://127.0.0.1:8080/").unwrap().url.as_str(), url);
        assert_eq!(target("ws://h/x/listen").unwrap().url.path(), "/x/listen");
        assert!(target("https://h").unwrap_err().to_string().contains("TLS proxy"));
        assert!(target("127.0.0.1:8080").is_err());
    }

    #[test]
    fn times_are_taken_only_where_they_match_the_words() {
        let times = |count| (0..count).map(|_| WordTime { start: 1.0, end: 2.0 }).collect();
        let matching = Alternative {
            transcript: "one two".into(),
            words: times(2),
        };
        assert!(final_words(&matching).iter().all(|word| word.times == Some((1.0, 2.0))));
        let formatted = Alternative {
            transcript: "12".into(),
            words: times(2),
        };
        assert_eq!(
            final_words(&formatted),
            [Word {
                text: "12".into(),
                times: None
            }]
        );
    }
}
