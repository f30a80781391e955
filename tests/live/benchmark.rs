//! The messages of the public benchmark for live streams (a k6 script for self-hosted servers): a WAV file of 8 kHz from the first
//! byte of its header on, a message every 50 ms by the clock, empty messages when the file is over, until the server has closed.

use std::time::{Duration, Instant};

use tokio_tungstenite::tungstenite::{Bytes, Message};

use crate::common::audio::{Tape, Wav};
use crate::common::client::{Conversation, PATIENCE, Said, connect_with, number, transcribe, window, words};
use crate::common::{Server, quiet};

/// The script's, with a model that the toy server has.
const QUERY: &str = "model=nova-2-phonecall&smart_format=true&interim_results=true";
const PAUSE: Duration = Duration::from_millis(50);
/// Of a message: 50 ms of 16 bits at 8 kHz.
const BYTES: usize = 800;
const BYTES_PER_SECOND: f64 = 16_000.0;

#[tokio::test]
async fn the_public_benchmark_gets_its_words_and_metadata_within_its_thresholds() {
    let _quiet = quiet();
    let server = Server::start();
    let tape = Tape::new(8_000).silence(0.48).speech(4.0).silence(0.8).speech(3.2).silence(0.8);
    let tape = tape.speech(1.6).silence(0.8);

    let mut live = connect_with(&server, QUERY, &[("authorization", "Token any")]).await.unwrap();
    let mut clock = tokio::time::interval(PAUSE);
    // How much had been sent, and since when.
    let mut sent: Vec<(Instant, usize)> = Vec::new();
    for message in tape.wav(Wav::default()).chunks(BYTES) {
        clock.tick().await;
        live.audio(message).await;
        sent.push((Instant::now(), (sent.len() + 1) * BYTES));
    }
    let end = Instant::now();
    while !live.heard.iter().any(|(_, said)| matches!(said, Said::Gone(_))) {
        clock.tick().await;
        live.try_send(Message::Binary(Bytes::new())).await;
        live.listen_for(Duration::ZERO).await;
        assert!(end.elapsed() < PATIENCE, "still open: {:#?}", live.heard);
    }
    let conversation = Conversation {
        heard: std::mem::take(&mut live.heard),
    };

    assert_eq!(conversation.close(), (1000, ""));
    assert!((number(&conversation.metadata()["duration"]) - tape.seconds()).abs() < 0.05);
    let reference = transcribe(&server, &tape, QUERY, 50).await;
    assert_eq!(conversation.words(), reference.words());
    assert!(conversation.words().len() > 20, "{:?}", conversation.text());

    let latencies = Latencies::of(&conversation, &sent);
    assert!(latencies.interim.len() >= 5 && latencies.endpoint.len() >= 3, "{latencies:?}");
    let [interim, endpoint] = [&latencies.interim, &latencies.endpoint].map(|values| [50, 90].map(|p| percentile(values, p)));
    assert!(interim[0] < 0.75 && interim[1] < 1.5, "{latencies:?}");
    assert!(endpoint[0] < 1.0 && endpoint[1] < 3.0, "{latencies:?}");
}

/// Seconds, as the script reckons them: from the position that the sent audio has reached.
#[derive(Debug)]
struct Latencies {
    /// Back to the middle of what is new in an interim result.
    interim: Vec<f64>,
    /// Back to the end of the last word, where speech has ended.
    endpoint: Vec<f64>,
}

impl Latencies {
    fn of(conversation: &Conversation, sent: &[(Instant, usize)]) -> Self {
        let (mut interim, mut endpoint) = (Vec::new(), Vec::new());
        let (mut covered, mut last_word) = (0.0, 0.0);
        for (at, said) in &conversation.heard {
            let Some(result) = said.message("Results") else { continue };
            let position = sent.iter().rev().find(|(since, _)| since <= at).map_or(0, |(_, bytes)| *bytes);
            let position = position as f64 / BYTES_PER_SECOND;
            let (_, end) = window(result);
            if result["is_final"] == false {
                interim.push(position - (covered + end) / 2.0);
            } else if result["speech_final"] == true {
                last_word = words(result).last().map_or(last_word, |word| number(&word["end"]));
                endpoint.push(position - last_word);
            }
            covered = end;
        }
        Self { interim, endpoint }
    }
}

fn percentile(values: &[f64], p: usize) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[(values.len() - 1) * p / 100]
}
