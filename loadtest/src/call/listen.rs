//! The server's side of a call: takes its messages in until it closes, and keeps what was seen.
//!
//! Reads; sends nothing, and does not judge results. Called by `call`; uploads have their words read by [`final_words`] too.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::SplitStream;
use serde::Deserialize;
use tokio_tungstenite::tungstenite::Message;

use super::Call;
use super::connect::Socket;
use crate::compare::Word;
use crate::latency::{Attribution, Timed, Window, millis};
use crate::pacing::Pace;
use crate::view::View;

/// Longest wait for the server to hang up after its Close frame.
const CLOSE_WAIT: Duration = Duration::from_secs(1);
/// A call with more `Error` messages has failed.
const MAX_ERRORS: usize = 1000;

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
    speech_final: bool,
    #[serde(default)]
    channel_index: Vec<usize>,
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

/// One reading of some audio; an upload's answer has the same.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Alternative {
    pub(crate) transcript: String,
    pub(crate) words: Vec<WordTime>,
}

/// When a word was said, in seconds.
#[derive(Debug, Deserialize)]
pub(crate) struct WordTime {
    start: f64,
    end: f64,
}

/// Takes in everything that the server sends. `Ok` after `Metadata` and Close 1000, otherwise what was wrong.
pub(super) async fn listen(
    mut stream: SplitStream<Socket>,
    pace: &Pace,
    sent: &AtomicU32,
    seen: &mut Call,
    view: &View,
    mut heard: impl FnMut(&Timed, &str),
) -> Result<(), String> {
    let mut channels: Vec<Attribution> = (0..seen.words.len()).map(|channel| Attribution::new(channel, *pace)).collect();
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
                            speech_final: message.speech_final,
                        };
                        let channel = message.channel_index.first().copied().unwrap_or(0);
                        let (Some(attribution), Some(words)) = (channels.get_mut(channel), seen.words.get_mut(channel)) else {
                            return Err(format!("a result of channel {channel}, which was not sent"));
                        };
                        let best = message.channel.alternatives.into_iter().next().unwrap_or_default();
                        let spoken: Vec<(f64, f64)> = best.words.iter().map(|word| (word.start, word.end)).collect();
                        let timed = attribution.result(window, &spoken, received, sent.load(Ordering::Relaxed));
                        view.result(&timed);
                        heard(&timed, &best.transcript);
                        if !timed.is_final && seen.first_interim_ms.is_none() {
                            seen.first_interim_ms = Some(millis(received.saturating_duration_since(pace.planned(0))));
                        }
                        if let Some(after) = received.checked_duration_since(closing) {
                            seen.close_to_last_result_ms = Some(millis(after));
                        }
                        if timed.is_final {
                            words.extend(final_words(&best));
                        }
                        seen.results.push(timed);
                    }
                    "Metadata" => metadata = true,
                    "Error" => {
                        seen.errors.push(message.description);
                        if seen.errors.len() > MAX_ERRORS {
                            return Err(format!("over {MAX_ERRORS} Error messages"));
                        }
                    }
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
pub(crate) fn final_words(best: &Alternative) -> Vec<Word> {
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
mod tests {
    use super::*;

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
