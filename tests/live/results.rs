//! When results come and what they cover, whatever the chunking, the speed and the company.

use std::time::Duration;

use super::{QUERY, talk};
use crate::common::audio::Tape;
use crate::common::client::{Conversation, Said, assert_tiles, connect, number, transcribe, transcript, window, words};
use crate::common::{Server, Setup, busy, fixture};

const ALL: &str = "interim_results=true&vad_events=true&utterance_end_ms=1000&endpointing=300&punctuate=true";

#[tokio::test]
async fn results_do_not_depend_on_the_chunking() {
    let server = Server::start();
    let tape = talk();
    let bytes = tape.linear16();
    let run = async |sizes: &[usize]| {
        let mut live = connect(&server, &format!("{QUERY}&{ALL}")).await;
        let (mut rest, mut turn) = (&bytes[..], sizes.iter().cycle());
        while !rest.is_empty() {
            let (part, later) = rest.split_at((*turn.next().unwrap()).min(rest.len()));
            live.audio(part).await;
            rest = later;
        }
        live.close_stream().await
    };
    let reference = run(&[640]).await;
    assert!(reference.finals().len() >= 4 && reference.words().len() >= 25);
    let messages = |conversation: &Conversation, kind: &str| conversation.all(kind).into_iter().cloned().collect::<Vec<_>>();
    for sizes in [&[1, 3, 7][..], &[6_401], &[4_096, 1, 9_999, 2], &[usize::MAX]] {
        let other = run(sizes).await;
        assert_eq!(other.words(), reference.words(), "{sizes:?}");
        assert_eq!(other.comparable(true), reference.comparable(true), "{sizes:?}");
        assert_eq!(other.comparable(false), reference.comparable(false), "{sizes:?}");
        for kind in ["UtteranceEnd", "SpeechStarted"] {
            assert_eq!(messages(&other, kind), messages(&reference, kind), "{sizes:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_two_streams_at_once_hear_the_same_as_one() {
    let _busy = busy();
    let server = std::sync::Arc::new(Setup::default().step(Duration::from_millis(2)).start());
    let alone = transcribe(&server, &talk(), ALL, 20).await;
    let together: Vec<_> = (0..32)
        .map(|n| {
            let server = std::sync::Arc::clone(&server);
            tokio::spawn(async move { transcribe(&server, &talk(), ALL, 10 + n * 7).await })
        })
        .collect();
    for stream in together {
        let stream = stream.await.unwrap();
        assert_eq!(stream.close(), (1000, ""));
        assert_eq!(stream.words(), alone.words());
        assert_eq!(stream.comparable(true), alone.comparable(true));
    }
}

#[tokio::test]
async fn a_file_sized_message_loses_nothing() {
    let server = Server::start();
    let tape = Tape::new(16_000).silence(0.48).speech(120.0);
    let whole = transcribe(&server, &tape, "", 1_000_000).await;
    assert_tiles(&whole.finals(), tape.seconds());
    assert_eq!(whole.words().len(), 375, "a word every 320 ms");
    let starts: Vec<f64> = whole.words().iter().map(|word| number(&word["start"])).collect();
    assert!(starts.windows(2).all(|pair| (pair[1] - pair[0] - 0.32).abs() < 0.001), "{starts:?}");
}

#[tokio::test]
async fn interims_keep_their_start_and_are_replaced_by_a_final_of_the_same_words() {
    let server = Server::start();
    let conversation = transcribe(&server, &talk(), ALL, 20).await;
    let (mut start, mut end, mut interims) = (0.0, 0.0, 0);
    for result in conversation.results(0) {
        let (from, to) = window(result);
        assert!((from - start).abs() < 0.001, "a result of the segment at {start} begins at {from}");
        if result["is_final"] == true {
            (start, end) = (to, to);
        } else {
            assert!(to > end, "an interim at {from} ends at {to}, after one that ended at {end}");
            assert_eq!(result["speech_final"], false);
            end = to;
            interims += 1;
        }
    }
    assert!(interims >= 5, "{interims}");
    // The scripted engine never changes its mind, so each interim's words are among the final ones.
    let finals = conversation.words();
    for result in conversation.results(0) {
        assert!(
            words(result)
                .iter()
                .all(|word| finals.iter().any(|other| other["word"] == word["word"])),
            "{result}"
        );
    }
}

#[tokio::test]
async fn without_interim_results_only_finals_come() {
    let server = Server::start();
    let conversation = transcribe(&server, &talk(), "interim_results=false&utterance_end_ms=1000", 20).await;
    assert!(conversation.all("Results").iter().all(|result| result["is_final"] == true));
    assert_eq!(conversation.all("UtteranceEnd").len(), 0, "never without interim results");
    assert_tiles(&conversation.finals(), talk().seconds());
}

#[tokio::test]
async fn long_speech_is_made_final_between_5_and_10_s() {
    let server = Server::start();
    for query in ["interim_results=true", "endpointing=false"] {
        let tape = Tape::new(16_000).silence(0.48).speech(40.0);
        let conversation = transcribe(&server, &tape, query, 20).await;
        let finals = conversation.finals();
        assert_tiles(&finals, tape.seconds());
        for result in &finals[..finals.len() - 1] {
            let (from, to) = window(result);
            assert!((3.0..=10.001).contains(&(to - from)), "a final of {} s", to - from);
            assert_eq!(result["speech_final"], false);
        }
        // A cut never divides a word: every word comes once.
        let texts: Vec<String> = conversation.words().iter().map(|word| word["word"].to_string()).collect();
        assert_eq!(texts.len(), 125);
        assert!(texts.windows(2).all(|pair| pair[0] != pair[1]));
    }
}

#[tokio::test]
async fn a_forced_final_may_end_before_the_last_interim_and_the_rest_opens_the_next_segment() {
    let server = Server::start();
    let tape = Tape::new(16_000).silence(0.48).speech(12.0);
    let conversation = transcribe(&server, &tape, "interim_results=true&endpointing=false", 20).await;
    let results = conversation.results(0);
    let at = results.iter().position(|result| result["is_final"] == true).unwrap();
    let (interim, forced) = (window(results[at - 1]), window(results[at]));
    assert_eq!(interim.0, forced.0);
    assert!((window(results[at + 1]).0 - forced.1).abs() < 0.001);
}

#[tokio::test]
async fn silence_gives_empty_interims_and_finals() {
    let server = Server::start();
    let tape = Tape::new(16_000).silence(12.0);
    let conversation = transcribe(&server, &tape, "interim_results=true", 20).await;
    let results = conversation.results(0);
    assert!(results.len() >= 12, "{} results in 12 s", results.len());
    assert!(
        results
            .iter()
            .all(|result| transcript(result).is_empty() && words(result).is_empty())
    );
    // Nor is the last one, which ends the stream: there was no speech to end.
    assert!(results.iter().all(|result| result["speech_final"] == false));
    assert!(
        results
            .iter()
            .all(|result| number(&result["channel"]["alternatives"][0]["confidence"]) == 0.0)
    );
    assert!(conversation.finals().len() >= 2);
    assert_tiles(&conversation.finals(), 12.0);
}

#[tokio::test]
async fn endpointing_ends_segments_at_pauses_as_long_as_asked_for() {
    let server = Server::start();
    // Pauses of 0.8, 0.32 and 1.28 s, and 1.6 s at the end.
    let ends = async |query: &str| {
        let conversation = transcribe(&server, &talk(), query, 20).await;
        conversation.finals().iter().filter(|result| result["speech_final"] == true).count()
    };
    assert_eq!(ends("endpointing=250").await, 4);
    assert_eq!(ends("endpointing=500").await, 3);
    assert_eq!(ends("endpointing=1000").await, 2);
    assert_eq!(ends("").await, 4, "10 ms by default");
    assert_eq!(ends("endpointing=true").await, 4);
}

#[tokio::test]
async fn endpointing_may_be_switched_off() {
    let server = Server::start();
    for query in ["endpointing=false", "endpointing=0"] {
        let conversation = transcribe(&server, &talk(), query, 20).await;
        let finals = conversation.finals();
        assert!(finals.len() >= 3);
        // Nor is the last one, at the end of the stream, though it ends in silence.
        assert!(finals.iter().all(|result| result["speech_final"] == false), "{query}");
    }
}

#[tokio::test]
async fn the_text_of_an_utterance_is_its_finals_up_to_speech_final() {
    let server = Server::start();
    let tape = Tape::new(16_000).silence(0.48).speech(14.4).silence(1.6);
    let conversation = transcribe(&server, &tape, "endpointing=300", 20).await;
    let mut utterance = Vec::new();
    for result in conversation.finals() {
        utterance.extend(words(result));
        if result["speech_final"] == true {
            break;
        }
    }
    assert_eq!(utterance.len(), 45, "14.4 s with a word every 320 ms");
    assert!(conversation.finals().len() >= 3);
}

#[tokio::test]
async fn speech_started_comes_once_per_segment_before_its_results() {
    let server = Server::start();
    let conversation = transcribe(&server, &talk(), ALL, 20).await;
    let started: Vec<f64> = conversation
        .all("SpeechStarted")
        .iter()
        .map(|message| number(&message["timestamp"]))
        .collect();
    assert_eq!(started.len(), 4, "{started:?}");
    for (at, due) in started.iter().zip([0.48, 3.36, 6.88, 10.72]) {
        assert!((at - due).abs() < 0.15, "speech at {due} was reported at {at}");
    }
    let mut last_word = 0.0;
    for (_, said) in &conversation.heard {
        if let Some(message) = said.message("SpeechStarted") {
            assert_eq!(message["channel"], serde_json::json!([0, 1]));
            assert!(
                last_word <= number(&message["timestamp"]) + 0.1,
                "a word at {last_word} came before {message}"
            );
        } else if let Some(result) = said.message("Results") {
            last_word = words(result).last().map_or(last_word, |word| number(&word["start"]));
        }
    }
    let without = transcribe(&server, &talk(), "interim_results=true", 20).await;
    assert_eq!(without.all("SpeechStarted").len(), 0);
}

#[tokio::test]
async fn utterance_end_is_clamped_to_a_second_and_needs_a_word() {
    let server = Server::start();
    let count = async |tape: Tape, query: &str| transcribe(&server, &tape, query, 20).await.all("UtteranceEnd").len();
    let pauses = || Tape::new(16_000).silence(0.48).speech(1.6).silence(0.8).speech(1.6).silence(2.4);
    assert_eq!(count(pauses(), "interim_results=true&utterance_end_ms=1000").await, 1);
    assert_eq!(
        count(pauses(), "interim_results=true&utterance_end_ms=100").await,
        1,
        "clamped to 1000"
    );
    assert_eq!(count(pauses(), "interim_results=true&utterance_end_ms=5000").await, 0);
    assert_eq!(count(pauses(), "interim_results=true").await, 0);
    assert_eq!(
        count(Tape::new(16_000).silence(5.0), "interim_results=true&utterance_end_ms=1000").await,
        0
    );
    assert_eq!(
        count(Tape::new(16_000).murmur(5.0), "interim_results=true&utterance_end_ms=1000").await,
        0
    );
}

/// "my phone number is" with a number behind it, a pause of 1.28 s in the number and a longer one at the end.
const NUMBER: &str = "- - my phone number is five five five - - - - one two three four - - - - - - - - - - - - - -";

fn number_with_a_pause() -> (Server, Tape) {
    let server = Setup::default().says(NUMBER).start();
    let tape = Tape::new(16_000).silence(0.64).speech(2.24).silence(1.28).speech(1.28).silence(1.6);
    (server, tape)
}

#[tokio::test]
async fn a_number_with_a_pause_in_it_is_one_unless_nothing_may_be_held() {
    let (server, tape) = number_with_a_pause();
    for (query, wanted) in [
        ("smart_format=true", "my phone number is 555-1234"),
        ("smart_format=true&no_delay=true", "my phone number is 555 1234"),
        ("redact=phone_number", "my phone number is [PHONE_NUMBER_1]"),
        ("numerals=false", "my phone number is five five five one two three four"),
    ] {
        let query = format!("{query}&endpointing=300&interim_results=true");
        let conversation = transcribe(&server, &tape, &query, 20).await;
        assert_eq!(conversation.text(), wanted, "{query}");
        assert_tiles(&conversation.finals(), tape.seconds());
        if query.contains("redact") {
            let shown = |result: &&&serde_json::Value| transcript(result).contains("five") || transcript(result).contains("four");
            assert_eq!(conversation.all("Results").iter().filter(shown).count(), 0);
        }
    }
}

#[tokio::test]
async fn a_held_number_is_final_as_soon_as_that_is_asked_for() {
    let (server, tape) = number_with_a_pause();
    let mut live = connect(&server, &format!("{QUERY}&smart_format=true&endpointing=300")).await;
    // The first 3.84 s, of which the last 0.96 are silent.
    live.audio(&tape.linear16()[..3_840 * 32]).await;
    live.text(crate::common::client::FINALIZE).await;
    let result = live.until_finalized().await;
    assert_eq!(transcript(&result), "my phone number is 555");
    assert_eq!(live.heard.len(), 1, "{:?}", live.heard);
}

#[tokio::test]
async fn entities_come_with_finals_and_finds_with_every_result() {
    let (server, tape) = number_with_a_pause();
    let query = "detect_entities=true&smart_format=true&search=phone+number&endpointing=300&interim_results=true";
    let conversation = transcribe(&server, &tape, query, 20).await;
    let (mut entities, mut hits) = (Vec::new(), Vec::new());
    for result in conversation.all("Results") {
        let search = result["channel"]["search"].as_array().unwrap();
        assert_eq!((search.len(), &search[0]["query"]), (1, &"phone number".into()));
        assert_eq!(result.get("entities").is_some(), result["is_final"] == true, "{result}");
        if let Some(found) = result["entities"].as_array() {
            entities.extend(found.clone());
            hits.extend(search[0]["hits"].as_array().unwrap().clone());
        }
    }
    assert_eq!(entities.len(), 1, "{entities:?}");
    assert_eq!(
        (&entities[0]["label"], &entities[0]["value"]),
        (&"PHONE_NUMBER".into(), &"555-1234".into())
    );
    assert_eq!(hits.len(), 1, "{hits:?}");
    assert_eq!(hits[0]["snippet"], "phone number");
    assert!((number(&hits[0]["start"]) - 0.96).abs() < 0.001, "{hits:?}");
}

#[tokio::test]
async fn punctuation_is_shown_only_when_asked_for() {
    let server = Server::start();
    let tape = Tape::new(16_000).tone(1.0);
    for query in ["punctuate=true", "smart_format=true", "detect_entities=true"] {
        let conversation = transcribe(&server, &tape, query, 20).await;
        assert_eq!(transcript(conversation.finals()[0]), "word1 word2 Word3. word4", "{query}");
        let word = &conversation.words()[2];
        assert_eq!((&word["word"], &word["punctuated_word"]), (&"word3".into(), &"Word3.".into()));
    }
    let plain = transcribe(&server, &tape, "punctuate=false", 20).await;
    assert_eq!(transcript(plain.finals()[0]), "word1 word2 word3 word4");
    assert!(plain.words()[2].get("punctuated_word").is_none());
}

#[tokio::test]
async fn a_recording_has_words_within_its_windows_and_results_within_real_time() {
    let server = Server::start();
    let recording = fixture("vctk-p225_003-mulaw8k.wav");
    let mut live = connect(&server, "interim_results=true&vad_events=true").await;
    for chunk in recording.chunks(400) {
        live.audio(chunk).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let conversation = live.close_stream().await;
    let seconds = number(&conversation.metadata()["duration"]);
    assert_tiles(&conversation.finals(), seconds);
    assert!(seconds > 5.0 && conversation.words().len() > 5);
    assert!(!conversation.heard.iter().any(|(_, said)| matches!(said, Said::Binary(_))));
}
