//! Finals that wait for the rest of an entity.

use std::sync::Arc;

use super::rig::{Rig, Says, say, silence, words};
use crate::stream::session::LiveRules;
use crate::wire::results::ServerMessage;

const DIGITS: &[&str] = &["four", "one", "two", "five", "three"];
/// Two seconds of speech with a second of pause between and behind; what is at multiples of 240 ms is said.
const DICTATED: [(&str, usize); 5] = [
    ("silence", 480),
    ("speech", 960),
    ("silence", 960),
    ("speech", 960),
    ("silence", 960),
];

fn dictating(said: &'static [&'static str], query: &str) -> Rig {
    Rig::saying(said, &format!("endpointing=300&{query}"))
}

fn digits(word: &str) -> usize {
    word.chars().filter(char::is_ascii_digit).count()
}

#[test]
fn a_number_dictated_with_a_pause_is_one_number() {
    for query in ["smart_format=true", "redact=numbers&numerals=true"] {
        let mut rig = dictating(DIGITS, query);
        rig.audio(&say(&DICTATED));
        assert!(rig.finals().is_empty(), "{query}: {:?}", rig.said());
        rig.close();
        let finals = rig.finals();
        assert_eq!(finals.len(), 1, "{query}");
        assert!(finals[0].speech_final, "{query}");
        let said = words(finals[0]);
        assert_eq!(said.len(), 1, "{query}: {said:?}");
        let whole = said[0].starts_with('[') || digits(&said[0]) == rig.spoken();
        assert!(rig.spoken() >= 6 && whole, "{query}: {said:?}");
        rig.check_windows();
    }
}

#[test]
fn nothing_is_held_without_a_feature_that_needs_it_nor_with_no_delay_nor_in_other_languages() {
    for query in [
        "",
        "punctuate=true&numerals=true",
        "smart_format=true&no_delay=true",
        "redact=pci&no_delay=true",
        "detect_entities=true&no_delay=true",
        "smart_format=true&language=de",
    ] {
        let mut rig = dictating(DIGITS, query);
        rig.audio(&say(&DICTATED));
        let finals = rig.finals();
        assert_eq!(finals.len(), 2, "{query}");
        assert!(finals.iter().all(|results| results.speech_final), "{query}");
        rig.close();
        rig.check_windows();
    }
    for query in ["smart_format=true", "redact=pci", "detect_entities=true"] {
        let mut rig = dictating(DIGITS, query);
        rig.audio(&say(&DICTATED));
        assert!(rig.finals().is_empty(), "{query}");
    }
}

#[test]
fn what_cannot_go_on_is_not_held() {
    let mut rig = dictating(&["hello", "there"], "smart_format=true");
    rig.audio(&say(&DICTATED));
    assert_eq!(rig.finals().iter().filter(|results| results.speech_final).count(), 2);
    rig.close();
    rig.check_windows();
}

#[test]
fn nothing_is_held_for_more_than_three_seconds_of_silence() {
    let mut rig = dictating(DIGITS, "smart_format=true");
    rig.audio(&say(&[("silence", 480), ("speech", 960), ("silence", 2_500)]));
    assert!(rig.finals().is_empty());
    rig.audio(&silence(1_200));
    let finals = rig.finals();
    assert_eq!(finals.len(), 1);
    assert!(finals[0].speech_final && !words(finals[0]).is_empty());
    let last = finals[0].channel.alternatives[0].words.last().unwrap().end.0;
    let end = finals[0].start.0 + finals[0].duration.0;
    assert!(
        (last + 3.0..last + 3.2).contains(&end),
        "the last word ends at {last}, the final at {end}"
    );
    rig.audio(&silence(1_000));
    assert_eq!(rig.finals().len(), 1, "the endpoint is reported once");
    rig.close();
    rig.check_windows();
}

#[test]
fn time_that_passes_without_audio_is_no_silence() {
    let mut rig = dictating(DIGITS, "smart_format=true");
    rig.audio(&say(&[("silence", 480), ("speech", 960), ("silence", 960)]));
    for _ in 0..10 {
        rig.pass(std::time::Duration::from_secs(5));
        rig.text(r#"{"type":"KeepAlive"}"#);
    }
    assert!(rig.finals().is_empty());
    rig.close();
    rig.check_windows();
}

#[test]
fn finalize_is_answered_at_once_and_ends_the_hold() {
    let mut rig = dictating(DIGITS, "smart_format=true");
    rig.audio(&say(&[("silence", 480), ("speech", 960), ("silence", 640)]));
    assert!(rig.finals().is_empty());
    rig.finalize();
    let finals = rig.finals();
    assert_eq!(finals.len(), 1);
    assert!(finals[0].from_finalize && finals[0].speech_final && !words(finals[0]).is_empty());
    rig.audio(&silence(3_500));
    assert_eq!(rig.finals().len(), 1, "the endpoint is used up");
    rig.close();
    rig.check_windows();
}

#[test]
fn utterance_end_ends_the_hold_and_follows_the_final() {
    let mut rig = dictating(DIGITS, "smart_format=true&interim_results=true&utterance_end_ms=1000");
    rig.audio(&say(&[("silence", 480), ("speech", 960), ("silence", 2_000)]));
    let place = |fits: fn(&ServerMessage) -> bool| rig.sent.iter().position(fits).unwrap();
    let is_final = place(|message| matches!(message, ServerMessage::Results(results) if results.is_final));
    let ended = place(|message| matches!(message, ServerMessage::UtteranceEnd { .. }));
    assert!(is_final < ended, "{:?}", rig.sent);
    let finals = rig.finals();
    assert_eq!(finals.len(), 1);
    assert!(finals[0].speech_final && !words(finals[0]).is_empty());
    rig.close();
    rig.check_windows();
}

#[test]
fn speech_that_resumes_within_a_chunk_goes_on_with_the_number() {
    let rules = LiveRules {
        right: 13,
        ..LiveRules::default()
    };
    let query = "encoding=linear16&sample_rate=16000&endpointing=10&smart_format=true";
    let mut rig = Rig::with_vocabulary(query, rules, Arc::new(Says(DIGITS)));
    rig.audio(&say(&[
        ("silence", 500),
        ("speech", 600),
        ("silence", 200),
        ("speech", 600),
        ("silence", 1_000),
    ]));
    rig.close();
    let said = rig.said();
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(digits(&said[0]), rig.spoken());
    assert_eq!(rig.finals().iter().filter(|results| results.speech_final).count(), 1);
    rig.check_windows();
}

#[test]
fn a_long_segment_ends_before_a_number_that_may_go_on() {
    // Twelve words, twelve digits, and so on, a word every 240 ms.
    const SAID: &[&str] = &[
        "hello", "hello", "hello", "hello", "hello", "hello", "hello", "hello", "hello", "hello", "hello", "hello", "four", "one", "two",
        "five", "three", "four", "one", "two", "five", "three", "four", "one",
    ];
    let mut rig = Rig::saying(SAID, "endpointing=false&smart_format=true");
    rig.audio(&say(&[("speech", 13_500)]));
    rig.close();
    assert!(rig.finals().len() >= 3, "{}", rig.finals().len());
    let numbers: Vec<usize> = rig.said().iter().map(|word| digits(word)).filter(|digits| *digits > 0).collect();
    assert_eq!(numbers, [12, 12], "{:?}", rig.said());
    rig.check_windows();
}

#[test]
fn numbers_without_end_are_made_final_by_length() {
    // A word every 240 ms, of which no number has as many; and every 960 ms, so that the hard limit comes first.
    for (every, least) in [(3, 5.0), (12, 8.0)] {
        let mut rig = Rig::saying(DIGITS, "endpointing=false&smart_format=true");
        rig.every = every;
        rig.audio(&say(&[("speech", 25_000)]));
        let durations: Vec<f64> = rig.finals().iter().map(|results| results.duration.0).collect();
        assert!(
            durations.len() >= 2 && durations.iter().all(|duration| *duration > least),
            "{durations:?}"
        );
        rig.close();
        rig.check_windows();
    }
}

#[test]
fn what_announces_a_number_and_the_number_may_be_in_two_finals() {
    const SAID: &[&str] = &["card", "number", "is", "four", "one", "two", "five"];
    let mut rig = dictating(SAID, "redact=pci&interim_results=true");
    rig.audio(&say(&DICTATED));
    assert_eq!(rig.said(), ["card", "number", "is"]);
    assert!(rig.finals()[0].speech_final, "nothing is open");
    rig.close();
    assert_eq!(rig.said(), ["card", "number", "is", "[CREDIT_CARD_1]"]);
    for results in rig.results() {
        assert!(!words(results).iter().any(|word| DIGITS.contains(&word.as_str())), "{results:?}");
    }
    rig.check_windows();
}

#[test]
fn entities_and_finds_have_the_times_of_the_stream() {
    const SAID: &[&str] = &["my", "name", "is", "john", "and", "so"];
    let mut rig = dictating(SAID, "detect_entities=true&search=name&interim_results=true");
    rig.audio(&say(&DICTATED));
    rig.finalize();
    rig.audio(&say(&DICTATED));
    rig.close();
    for results in rig.results() {
        assert_eq!(results.entities.is_some(), results.is_final);
        assert_eq!(results.channel.search.as_ref().map(Vec::len), Some(1));
    }
    let entities: Vec<_> = rig
        .finals()
        .into_iter()
        .flat_map(|results| results.entities.iter().flatten())
        .collect();
    assert_eq!(entities.len(), 2, "{entities:?}");
    assert!(
        entities
            .iter()
            .all(|entity| (entity.label, entity.value.as_str()) == ("NAME", "john"))
    );
    let hits = rig.finals().into_iter().flat_map(|results| results.channel.search.iter().flatten());
    let starts: Vec<f64> = hits.flat_map(|search| &search.hits).map(|hit| hit.start.0).collect();
    // The second time around the words begin anew after 4.32 s.
    assert!(starts.len() == 2 && (starts[1] - starts[0] - 4.32).abs() < 0.2, "{starts:?}");
    rig.check_windows();
}
