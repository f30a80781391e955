//! When results come and what they cover.

use super::rig::{Rig, say, silence, speech, words};
use crate::wire::results::ServerMessage;

#[test]
fn interims_come_about_once_a_second_with_fixed_start_and_growing_duration() {
    let mut rig = Rig::new("interim_results=true");
    rig.audio(&speech(4_000));
    let ends: Vec<f64> = rig.results().iter().map(|results| results.duration.0).collect();
    assert_eq!(ends.len(), 3, "{ends:?}");
    assert!(rig.results().iter().all(|results| !results.is_final && results.start.0 == 0.0));
    for (end, second) in ends.iter().zip(1..) {
        assert!((f64::from(second)..f64::from(second) + 0.2).contains(end), "{ends:?}");
    }
    rig.close();
    rig.check();
}

#[test]
fn near_the_capacity_interims_come_half_as_often() {
    let mut rig = Rig::new("interim_results=true&endpointing=false");
    rig.audio(&speech(100));
    rig.session.on_load(true);
    rig.audio(&speech(4_500));
    let ends: Vec<f64> = rig.results().iter().map(|results| results.duration.0).collect();
    assert_eq!(ends.len(), 2, "{ends:?}");
    assert!((1.0..1.2).contains(&ends[0]) && (3.0..3.2).contains(&ends[1]), "{ends:?}");
    rig.close();
    rig.check();
}

#[test]
fn without_interim_results_only_finals_are_sent() {
    let mut rig = Rig::new("");
    rig.audio(&say(&[("silence", 500), ("speech", 4_000), ("silence", 1_000), ("speech", 2_000)]));
    rig.close();
    assert!(!rig.results().is_empty());
    assert!(rig.results().iter().all(|results| results.is_final));
    rig.check();
}

#[test]
fn an_endpoint_gives_a_final_with_speech_final() {
    let mut rig = Rig::new("endpointing=300");
    rig.audio(&say(&[("silence", 500), ("speech", 1_500), ("silence", 600)]));
    let finals = rig.finals();
    assert_eq!(finals.len(), 1);
    assert!(finals[0].speech_final && !finals[0].from_finalize);
    assert!(!words(finals[0]).is_empty());
    let end = finals[0].start.0 + finals[0].duration.0;
    assert!((2.3..2.6).contains(&end), "the endpoint is at 2.3 s, the final ends at {end}");
    assert!(rig.commits >= 1, "the engine is told");
    rig.close();
    rig.check();
}

#[test]
fn a_pause_shorter_than_endpointing_does_not_end_the_segment() {
    let mut rig = Rig::new("endpointing=500");
    rig.audio(&say(&[("silence", 500), ("speech", 1_000), ("silence", 300), ("speech", 1_000)]));
    assert!(rig.finals().is_empty());
    rig.close();
    rig.check();
}

#[test]
fn endpointing_is_judged_by_audio_and_not_by_the_clock() {
    let mut rig = Rig::new("endpointing=500");
    rig.audio(&say(&[("silence", 500), ("speech", 1_000), ("silence", 300)]));
    for _ in 0..10 {
        rig.pass(std::time::Duration::from_secs(5));
        rig.text(r#"{"type":"KeepAlive"}"#);
    }
    assert!(rig.finals().is_empty());
    rig.close();
    assert_eq!(rig.metadata()["duration"], 1.8);
}

#[test]
fn without_endpointing_no_final_is_a_speech_final() {
    let mut rig = Rig::new("endpointing=false");
    rig.audio(&say(&[
        ("silence", 500),
        ("speech", 2_000),
        ("silence", 3_000),
        ("speech", 2_000),
        ("silence", 3_000),
        ("speech", 300),
    ]));
    rig.close();
    assert!(rig.finals().len() >= 2);
    assert!(rig.finals().iter().all(|results| !results.speech_final));
    rig.check();
    // Nor at the end of a stream that ends in silence.
    let mut rig = Rig::new("endpointing=false");
    rig.audio(&say(&[("silence", 500), ("speech", 2_000), ("silence", 1_000)]));
    rig.close();
    assert!(rig.finals().iter().all(|results| !results.speech_final));
    rig.check();
}

#[test]
fn the_end_of_a_stream_is_a_speech_final_only_if_it_ends_speech() {
    for (parts, expected) in [
        (&[("silence", 3_000)][..], 0),
        (&[("silence", 500), ("speech", 1_600)], 0),
        (&[("silence", 500), ("speech", 1_500), ("silence", 200)], 1),
        // The endpoint has come before; the silence behind it is not another one.
        (&[("silence", 500), ("speech", 1_500), ("silence", 2_000)], 1),
    ] {
        let mut rig = Rig::new("endpointing=500");
        rig.audio(&say(parts));
        rig.close();
        let ends = rig.finals().iter().filter(|results| results.speech_final).count();
        assert_eq!(ends, expected, "{parts:?}");
        rig.check();
    }
}

#[test]
fn an_endpoint_after_all_words_are_final_gives_an_empty_final() {
    let mut rig = Rig::new("endpointing=1500&interim_results=true&utterance_end_ms=1000");
    rig.audio(&say(&[("silence", 500), ("speech", 2_200), ("silence", 2_000)]));
    let finals = rig.finals();
    let last = finals.last().unwrap();
    assert!(last.speech_final && words(last).is_empty(), "{last:?}");
    assert!(finals.iter().any(|results| !results.speech_final && !words(results).is_empty()));
    rig.close();
    rig.check();
}

#[test]
fn continuous_speech_is_made_final_at_the_end_of_a_word() {
    let mut rig = Rig::new("endpointing=false");
    rig.audio(&speech(21_000));
    let finals = rig.finals();
    assert!(finals.len() >= 3, "{}", finals.len());
    for results in &finals {
        assert!((3.0..=7.0).contains(&results.duration.0), "{}", results.duration.0);
        assert!(!words(results).is_empty());
    }
    // Pieces whose number is a multiple of three go on with a word, so no final may begin with one.
    let firsts: Vec<u32> = finals
        .iter()
        .skip(1)
        .map(|results| words(results)[0][1..].split('w').next().unwrap().parse().unwrap())
        .collect();
    assert!(firsts.iter().all(|first| first % 3 != 0), "{firsts:?}");
    rig.close();
    rig.check();
}

#[test]
fn a_word_without_end_is_cut_at_the_hard_limit() {
    let mut rig = Rig::new("endpointing=false");
    // One token in 30 s: never a word boundary.
    rig.every = 400;
    rig.audio(&speech(25_000));
    let durations: Vec<f64> = rig.finals().iter().map(|results| results.duration.0).collect();
    assert!(durations.iter().all(|duration| *duration <= 10.0), "{durations:?}");
    rig.close();
    rig.check();
}

#[test]
fn empty_results_keep_flowing_in_silence() {
    let mut rig = Rig::new("interim_results=true");
    rig.audio(&silence(21_000));
    let (interims, finals): (Vec<_>, Vec<_>) = rig.results().into_iter().partition(|results| !results.is_final);
    assert!(interims.len() >= 14, "{}", interims.len());
    assert!((3..=4).contains(&finals.len()), "{}", finals.len());
    rig.close();
    assert!(
        rig.finals()
            .iter()
            .all(|results| words(results).is_empty() && !results.speech_final)
    );
    rig.check();
}

#[test]
fn speech_that_resumes_in_the_chunk_of_an_endpoint_belongs_to_the_next_segment() {
    let mut rig = Rig::with_rules(
        "encoding=linear16&sample_rate=16000&endpointing=10",
        crate::stream::session::LiveRules {
            right: 13,
            ..Default::default()
        },
    );
    rig.every = 1;
    rig.audio(&say(&[
        ("silence", 500),
        ("speech", 600),
        ("silence", 200),
        ("speech", 600),
        ("silence", 200),
        ("speech", 600),
        ("silence", 1_500),
    ]));
    rig.close();
    let spoken: Vec<_> = rig.finals().into_iter().filter(|results| !words(results).is_empty()).collect();
    assert!(spoken.len() >= 3, "{spoken:?}");
    assert!(spoken.iter().all(|results| results.speech_final));
    rig.check();
}

#[test]
fn speech_started_comes_before_the_results_with_that_speech_and_once() {
    let mut rig = Rig::new("vad_events=true&interim_results=true&endpointing=300");
    rig.audio(&say(&[
        ("silence", 1_000),
        ("speech", 2_000),
        ("silence", 1_000),
        ("speech", 1_000),
        ("silence", 1_000),
    ]));
    let started: Vec<(usize, f64)> = rig
        .sent
        .iter()
        .enumerate()
        .filter_map(|(at, message)| {
            if let ServerMessage::SpeechStarted { timestamp, .. } = message {
                Some((at, timestamp.0))
            } else {
                None
            }
        })
        .collect();
    assert_eq!(started.len(), 2, "{started:?}");
    assert!((started[0].1 - 1.0).abs() < 0.1 && (started[1].1 - 4.0).abs() < 0.1, "{started:?}");
    let first_words = rig
        .sent
        .iter()
        .position(|message| matches!(message, ServerMessage::Results(results) if !words(results).is_empty()));
    assert!(started[0].0 < first_words.unwrap());
    rig.close();
    rig.check();
}

#[test]
fn speech_started_is_not_sent_unless_asked_for() {
    let mut rig = Rig::new("interim_results=true");
    rig.audio(&say(&[("silence", 1_000), ("speech", 1_000)]));
    assert!(rig.sent.iter().all(|message| matches!(message, ServerMessage::Results(_))));
}

#[test]
fn speech_started_does_not_wait_for_the_engine_or_its_chunk() {
    let mut rig = Rig::with_rules(
        "encoding=linear16&sample_rate=16000&vad_events=true",
        crate::stream::session::LiveRules {
            right: 13,
            ..Default::default()
        },
    );
    rig.audio(&say(&[("silence", 1_200), ("speech", 200)]));
    assert!(
        matches!(rig.sent.as_slice(), [ServerMessage::SpeechStarted { .. }]),
        "{:?}",
        rig.sent
    );
}

fn utterance_ends(rig: &Rig) -> Vec<(usize, f64)> {
    let end = |(at, message): (usize, &ServerMessage)| match message {
        ServerMessage::UtteranceEnd {
            last_word_end,
            channel: [0, 1],
        } => Some((at, last_word_end.0)),
        _ => None,
    };
    rig.sent.iter().enumerate().filter_map(end).collect()
}

#[test]
fn utterance_end_follows_the_results_with_the_last_word_once_for_each_gap() {
    let mut rig = Rig::new("utterance_end_ms=1000&interim_results=true&endpointing=300");
    rig.audio(&say(&[
        ("silence", 500),
        ("speech", 1_500),
        ("silence", 3_000),
        ("speech", 1_500),
        ("silence", 3_000),
    ]));
    let ends = utterance_ends(&rig);
    assert_eq!(ends.len(), 2, "{ends:?}");
    for (at, end) in ends {
        let before: Vec<_> = rig.sent[..at]
            .iter()
            .filter_map(|message| if let ServerMessage::Results(r) = message { Some(r) } else { None })
            .collect();
        let last_word = before
            .iter()
            .filter(|r| r.is_final)
            .flat_map(|r| &r.channel.alternatives[0].words)
            .next_back()
            .unwrap();
        assert_eq!(last_word.end.0, end);
    }
    rig.close();
    rig.check();
}

#[test]
fn utterance_end_comes_by_word_times_where_endpointing_does_not_fire() {
    // The engine hears words in the hum of the beginning only; the detector takes all of it for silence.
    let mut rig = Rig::new("utterance_end_ms=1000&interim_results=true&endpointing=false");
    rig.audio(&say(&[("silence", 500), ("speech", 1_500), ("hum", 4_000)]));
    let ends = utterance_ends(&rig);
    assert_eq!(ends.len(), 1, "{ends:?}");
    let told: Vec<String> = rig.said();
    assert!(
        !told.is_empty(),
        "the words before the gap are final, so that clients which act on it have them"
    );
    rig.close();
    rig.check();
}

#[test]
fn no_utterance_end_without_a_word_or_without_interim_results() {
    let mut rig = Rig::new("utterance_end_ms=1000&interim_results=true");
    rig.audio(&silence(5_000));
    assert!(utterance_ends(&rig).is_empty());
    let mut rig = Rig::new("utterance_end_ms=1000");
    rig.audio(&say(&[("speech", 1_000), ("silence", 3_000)]));
    assert!(utterance_ends(&rig).is_empty());
}

#[test]
fn punctuated_words_come_only_if_asked_for() {
    for (query, expected) in [("", false), ("punctuate=true", true), ("smart_format=true", true)] {
        let mut rig = Rig::new(query);
        rig.audio(&speech(1_000));
        rig.close();
        let finals = rig.finals();
        let words = &finals[0].channel.alternatives[0].words;
        assert!(
            !words.is_empty() && words.iter().all(|word| word.punctuated_word.is_some() == expected),
            "{query}"
        );
    }
}

#[test]
fn latency_counts_from_the_last_byte_of_the_chunk_that_led_to_a_result() {
    let mut rig = Rig::new("interim_results=true");
    rig.prompt = false;
    rig.audio(&speech(1_000));
    while rig.answer() {}
    assert!(rig.latencies.is_empty(), "no result was due: {:?}", rig.latencies);
    rig.audio(&speech(100));
    rig.pass(std::time::Duration::from_millis(70));
    while rig.answer() {}
    assert_eq!(rig.latencies.len(), 1);
    // The chunk is complete with the sample at 1.0525 s, in the message sent at 1.1 s.
    assert!((rig.latencies[0] - 0.07).abs() < 1e-6, "{:?}", rig.latencies);
}
