//! One call: connects, sends a recording at its pace, listens until the server closes, and keeps what was seen.
//!
//! Also the calls of bad clients: those that vanish in the middle and those that never read. Does not judge. Called by `live` (many
//! calls), `soak` and `watch` (one).

mod connect;
mod listen;

use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::stream::SplitSink;
use futures_util::{SinkExt, StreamExt};
use serde::Serialize;
use tokio_tungstenite::tungstenite::http::HeaderMap;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};

use self::connect::{Socket, connect};
use self::listen::listen;
pub(crate) use self::listen::{Alternative, final_words};
use crate::audio::Recording;
use crate::compare::Word;
use crate::latency::{Timed, millis};
use crate::pacing::Pace;
use crate::target::Target;
use crate::view::View;

/// Longest wait for the end of a call, beyond twice its planned length.
const END_WAIT: Duration = Duration::from_secs(60);
/// Receive buffer of a client that never reads, in bytes; the system may take more.
const UNREAD_BUFFER: u32 = 4096;
/// Longest wait before a refused call is tried again, whatever `Retry-After` says.
const LONGEST_RETRY_S: f64 = 60.0;

/// How a call is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    /// Times real time.
    pub(crate) speed: f64,
    /// Audio in one message.
    pub(crate) chunk_ms: u32,
    /// Resets the connection after so many seconds of audio.
    pub(crate) hang_up_after_s: Option<f64>,
    /// Resets the connection at this time.
    pub(crate) drop_at: Option<Instant>,
}

impl Manner {
    /// A call that is played to its end.
    pub(crate) fn whole(speed: f64, chunk_ms: u32) -> Self {
        Self {
            speed,
            chunk_ms,
            hang_up_after_s: None,
            drop_at: None,
        }
    }
}

/// An answer of 429 or 503.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Refusal {
    /// 429 or 503.
    pub(crate) status: u16,
    /// What `Retry-After` said, where it was a number of seconds.
    pub(crate) retry_after_s: Option<f64>,
}

impl Refusal {
    /// Reads the headers of an answer with `status`.
    pub(crate) fn new(status: u16, headers: &HeaderMap) -> Self {
        let text = headers.get("retry-after").and_then(|value| value.to_str().ok());
        let retry_after_s = text.and_then(|text| text.trim().parse::<u32>().ok()).map(f64::from);
        Self { status, retry_after_s }
    }

    /// How long a polite client waits: what it was told, up to a minute, or a second.
    pub(crate) fn wait(&self) -> Duration {
        Duration::try_from_secs_f64(self.retry_after_s.unwrap_or(1.0).min(LONGEST_RETRY_S)).unwrap_or_default()
    }
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "outcome", content = "detail")]
pub(crate) enum Outcome {
    /// `Metadata`, then Close 1000.
    Completed,
    /// 429 or 503 at the handshake.
    Refused(Refusal),
    /// We reset the connection, as the scenario says.
    HungUp,
    /// We never read, and the server did not end the stream before the run was over.
    Unread,
    /// We never read, and the server ended the stream.
    Evicted,
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
    /// Words of the final results, for each channel.
    pub(crate) words: Vec<Vec<Word>>,
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

    /// The words of channel `channel`.
    pub(crate) fn channel(&self, channel: usize) -> &[Word] {
        self.words.get(channel).map(Vec::as_slice).unwrap_or_default()
    }
}

/// Words joined by spaces.
pub(crate) fn transcript(words: &[Word]) -> String {
    words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ")
}

/// Makes one call. `heard` is told of every result with its transcript, as it comes.
///
/// # Errors
/// Only for mistakes on our side (an impossible request or pace); what the server does wrong is in [`Call::outcome`].
pub(crate) async fn call(
    target: &Target,
    recording: &Recording,
    manner: &Manner,
    view: &View,
    heard: impl FnMut(&Timed, &str) + Send,
) -> Result<Call> {
    let request = target.request(recording)?;
    let begun = Instant::now();
    let answer = connect(target, request, None).await;
    let connect_ms = Some(millis(begun.elapsed()));
    let socket = match answer {
        Ok(socket) => socket,
        Err(outcome) => {
            let answered = matches!(outcome, Outcome::Refused(_));
            return Ok(Call::ended(outcome, connect_ms.filter(|_| answered)));
        }
    };
    let _open = view.opened();

    let pace = Pace::new(
        Instant::now(),
        manner.speed,
        recording.sample_rate,
        manner.chunk_ms,
        recording.frames,
    )?;
    let hang_up = manner
        .hang_up_after_s
        .and_then(|seconds| Duration::try_from_secs_f64(seconds / manner.speed).ok());
    let hang_up = hang_up.map(|after| pace.planned(0) + after);
    let vanish = [hang_up, manner.drop_at].into_iter().flatten().min();
    if vanish.is_some() {
        // The connection is reset when it is let go of, instead of closed.
        socket.get_ref().set_zero_linger()?;
    }
    let mut seen = Call::ended(Outcome::Completed, connect_ms);
    seen.words = vec![Vec::new(); recording.sources.len()];
    seen.audio_start = Some(pace.planned(0));
    let closing = pace.planned(pace.chunks());
    let deadline = closing + closing.saturating_duration_since(pace.planned(0)) + END_WAIT;
    let sent = AtomicU32::new(0);
    let (sink, stream) = socket.split();
    let mut lateness = Lateness::default();
    let ended = {
        let mut sending = pin!(send(sink, recording, &pace, &sent, &mut lateness));
        let mut listening = pin!(listen(stream, &pace, &sent, &mut seen, view, heard));
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
        tokio::select! {
            ended = tokio::time::timeout_at(deadline.into(), both) => Some(ended),
            () = tokio::time::sleep_until(vanish.unwrap_or(deadline).into()), if vanish.is_some() => None,
        }
    };
    seen.outcome = match ended {
        Some(Ok(Ok(()))) => Outcome::Completed,
        Some(Ok(Err(reason))) => Outcome::Failed(reason),
        Some(Err(_)) => Outcome::Failed("the call did not end in time".into()),
        None => Outcome::HungUp,
    };
    seen.own_lateness = lateness.own;
    seen.blocked = lateness.blocked;
    Ok(seen)
}

/// Sends a recording over and over and never reads, until the server ends the connection or `until` comes. The socket is then reset.
///
/// # Errors
/// As [`call`].
pub(crate) async fn never_read(target: &Target, recording: &Recording, manner: &Manner, view: &View, until: Instant) -> Result<Call> {
    let request = target.request(recording)?;
    let begun = Instant::now();
    let answer = connect(target, request, Some(UNREAD_BUFFER)).await;
    let connect_ms = Some(millis(begun.elapsed()));
    let mut socket = match answer {
        Ok(socket) => socket,
        Err(outcome) => return Ok(Call::ended(outcome, None)),
    };
    let _open = view.opened();
    socket.get_ref().set_zero_linger()?;
    let mut seen = Call::ended(Outcome::Unread, connect_ms);
    seen.words = vec![Vec::new(); recording.sources.len()];
    seen.audio_start = Some(Instant::now());
    let sending = async {
        // Each round is planned anew: what was sent late in one is not made up for in the next.
        loop {
            let pace = Pace::new(
                Instant::now(),
                manner.speed,
                recording.sample_rate,
                manner.chunk_ms,
                recording.frames,
            )?;
            for index in 0..pace.chunks() {
                tokio::time::sleep_until(pace.planned(index).into()).await;
                if socket
                    .send(Message::binary(recording.chunk(index, pace.chunk_frames())))
                    .await
                    .is_err()
                {
                    return Ok::<Outcome, anyhow::Error>(Outcome::Evicted);
                }
            }
            tokio::time::sleep_until(pace.planned(pace.chunks()).into()).await;
        }
    };
    seen.outcome = match tokio::time::timeout_at(until.into(), sending).await {
        Ok(ended) => ended?,
        Err(_) => Outcome::Unread,
    };
    Ok(seen)
}

/// How late the sender was, chunk by chunk.
#[derive(Debug, Default)]
struct Lateness {
    own: Vec<Duration>,
    blocked: Vec<Duration>,
}

/// Sends every chunk at its planned time, or at once when that has passed, then `CloseStream`.
async fn send(
    mut sink: SplitSink<Socket, Message>,
    recording: &Recording,
    pace: &Pace,
    sent: &AtomicU32,
    lateness: &mut Lateness,
) -> Result<(), SocketError> {
    let mut free = pace.planned(0);
    for index in 0..pace.chunks() {
        let planned = pace.planned(index);
        tokio::time::sleep_until(planned.into()).await;
        let begun = Instant::now();
        lateness.own.push(begun.saturating_duration_since(planned.max(free)));
        sink.send(Message::binary(recording.chunk(index, pace.chunk_frames()))).await?;
        free = Instant::now();
        lateness.blocked.push(free.saturating_duration_since(begun));
        sent.store(index.saturating_add(1), Ordering::Relaxed);
    }
    tokio::time::sleep_until(pace.planned(pace.chunks()).into()).await;
    sink.send(Message::text(r#"{"type":"CloseStream"}"#)).await
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_client_waits_as_it_is_told_but_not_for_ever() {
        let refusal = |text: &str| {
            let headers = HeaderMap::from_iter([(
                "retry-after".parse().unwrap(),
                tokio_tungstenite::tungstenite::http::HeaderValue::from_str(text).unwrap(),
            )]);
            Refusal::new(503, &headers)
        };
        assert_eq!(
            (refusal("7").retry_after_s, refusal("7").wait()),
            (Some(7.0), Duration::from_secs(7))
        );
        assert_eq!(refusal("100000").wait(), Duration::from_secs(60));
        assert_eq!(refusal("soon").wait(), Duration::from_secs(1));
    }
}
