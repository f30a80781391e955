//! Control messages, timeouts, endings, channels.

use std::time::Duration;

use super::rig::{Rig, pcm, say, silence, speech, wav, words};
use crate::audio::AudioError;
use crate::stream::session::LiveRules;
use crate::stream::session::work::NotNow;
use crate::terms::Terms;
use crate::units::Hz;
use crate::wire::results::ServerMessage;

const KEEP_ALIVE: &str = r#"{"type":"KeepAlive"}"#;

fn last_close(rig: &Rig) -> (u16, &str) {
    let (code, reason) = rig.closed.as_ref().expect("the stream has ended");
    (*code, reason)
}

#[test]
fn nothing_is_sent_on_open() {
    let mut rig = Rig::new("interim_results=true&vad_events=true");
    rig.pass(Duration::from_secs(9));
    assert!(rig.sent.is_empty() && rig.closed.is_none());
}

#[test]
fn finalize_is_answered_once_with_from_finalize() {
    let mut rig = Rig::new("endpointing=false");
    rig.audio(&say(&[("speech", 1_000), ("silence", 200)]));
    rig.finalize();
    let finals = rig.finals();
    assert_eq!(finals.len(), 1);
    assert!(finals[0].from_finalize && !words(finals[0]).is_empty());
    assert!(finals[0].speech_final, "the audio ends in silence");
    rig.audio(&speech(1_000));
    rig.finalize();
    let finals = rig.finals();
    assert_eq!(finals.len(), 2);
    assert!(finals[1].from_finalize && !finals[1].speech_final, "in the middle of speech");
    rig.close();
    rig.check();
}

#[test]
fn finalize_after_a_little_silence_is_answered_at_once() {
    let mut rig = Rig::new("");
    rig.audio(&silence(50));
    rig.finalize();
    let finals = rig.finals();
    assert_eq!((finals.len(), finals[0].from_finalize, words(finals[0]).len()), (1, true, 0));
    assert_eq!(finals[0].duration.0, 0.05);
}

#[test]
fn every_finalize_gets_its_answer_even_with_nothing_new() {
    let mut rig = Rig::new("");
    rig.audio(&speech(700));
    for expected in 1..=3 {
        rig.finalize();
        assert_eq!(rig.finals().iter().filter(|results| results.from_finalize).count(), expected);
    }
    rig.close();
    rig.check();
}

#[test]
fn finalize_without_audio_is_not_answered() {
    let mut rig = Rig::new("");
    rig.finalize();
    assert!(rig.sent.is_empty());
}

#[test]
fn finalize_behind_half_a_header_is_answered_with_nothing() {
    let mut rig = Rig::with_rules("", LiveRules::default());
    let samples = say(&[("silence", 300), ("speech", 1_500)]);
    let file = wav(&samples, Hz(16_000), 1);
    let (head, rest) = file.split_at(20);
    rig.bytes(head.to_vec());
    rig.finalize();
    let finals = rig.finals();
    assert_eq!((finals.len(), finals[0].from_finalize, words(finals[0]).len()), (1, true, 0));
    assert_eq!((finals[0].start.0, finals[0].duration.0), (0.0, 0.0));
    rig.bytes(rest.to_vec());
    rig.finalize();
    assert_eq!(rig.finals().iter().filter(|results| results.from_finalize).count(), 2);
    rig.close();
    assert_eq!(rig.metadata()["duration"], 1.8);
    rig.check();
}

#[test]
fn bytes_behind_the_end_of_a_file_cost_nothing_and_the_stream_goes_on() {
    let mut rig = Rig::with_rules("", LiveRules::default());
    rig.bytes(wav(&say(&[("speech", 1_000), ("silence", 300)]), Hz(16_000), 1));
    for _ in 0..300 {
        rig.pass(Duration::from_millis(50));
        rig.bytes(vec![0; 10_000]);
        assert_eq!(rig.session.undecoded_bytes(), 0);
    }
    assert!(rig.session.arrivals.len() < 3, "{} arrivals are kept", rig.session.arrivals.len());
    assert!(rig.reads.is_empty() && rig.closed.is_none());
    rig.finalize();
    assert_eq!(rig.finals().iter().filter(|results| results.from_finalize).count(), 1);
    rig.close();
    assert_eq!(last_close(&rig), (1000, ""));
    assert_eq!(rig.metadata()["duration"], 1.3);
    rig.check();
}

#[test]
fn finalize_waits_for_the_audio_before_it_and_not_for_that_behind() {
    let mut rig = Rig::new("endpointing=false");
    rig.prompt = false;
    rig.bytes(pcm(&speech(3_000)));
    rig.finalize();
    rig.bytes(pcm(&speech(1_000)));
    rig.finalize();
    assert!(rig.sent.is_empty());
    while rig.answer() {}
    let ends: Vec<f64> = rig
        .finals()
        .iter()
        .filter(|results| results.from_finalize)
        .map(|results| results.start.0 + results.duration.0)
        .collect();
    assert_eq!(ends, [3.0, 4.0]);
    rig.close();
    while rig.answer() {}
    rig.check();
}

#[test]
fn times_go_on_after_finalize() {
    let mut rig = Rig::new("endpointing=false");
    rig.audio(&speech(1_000));
    rig.finalize();
    rig.audio(&say(&[("silence", 1_000), ("speech", 1_000)]));
    rig.close();
    let last = rig.finals().pop().unwrap();
    let first_word = last.channel.alternatives[0].words[0].start.0;
    assert!(
        (1.9..2.3).contains(&first_word),
        "the speech begins at 2 s, its first word at {first_word}"
    );
    rig.check();
}

#[test]
fn an_endpoint_used_up_by_finalize_does_not_fire_again() {
    let mut rig = Rig::new("endpointing=500");
    rig.audio(&say(&[("speech", 1_000), ("silence", 200)]));
    rig.finalize();
    rig.audio(&silence(2_000));
    assert_eq!(rig.finals().iter().filter(|results| results.speech_final).count(), 1);
}

#[test]
fn close_stream_flushes_and_ends_with_metadata() {
    for legacy in [false, true] {
        let mut rig = Rig::new("");
        rig.audio(&speech(1_300));
        if legacy {
            rig.bytes(Vec::new())
        } else {
            rig.close()
        }
        assert_eq!(last_close(&rig), (1000, ""));
        assert!(!rig.said().is_empty());
        let metadata = rig.metadata();
        assert_eq!(metadata["duration"], 1.3);
        assert_eq!(metadata["channels"], 1);
        assert_eq!(metadata["sha256"], "incomplete");
        assert_eq!(metadata["models"].as_array().unwrap().len(), 1);
        rig.check();
    }
}

#[test]
fn a_stream_without_audio_ends_with_metadata_alone() {
    let mut rig = Rig::new("");
    rig.close();
    assert_eq!((rig.sent.len(), last_close(&rig)), (1, (1000, "")));
    let metadata = rig.metadata();
    assert_eq!(metadata["duration"], 0.0);
    assert!(metadata.get("models").is_none() && metadata.get("model_info").is_none());
    for (query, channels) in [("", 1), ("channels=3", 1), ("channels=3&multichannel=true", 3)] {
        let mut rig = Rig::new(query);
        rig.close();
        assert_eq!(rig.metadata()["channels"], channels, "{query}");
    }
}

#[test]
fn a_fault_of_this_machine_is_not_laid_to_the_audio() {
    let fault = |error: AudioError| matches!(NotNow::from(error), NotNow::Fault);
    assert!(fault(AudioError::Unavailable { what: "a thread" }));
    assert!(fault(AudioError::Resampler { reason: "x".into() }));
    assert!(!fault(AudioError::Empty));
}

#[test]
fn after_close_stream_the_client_is_not_listened_to() {
    let mut rig = Rig::new("");
    rig.prompt = false;
    rig.audio(&speech(1_000));
    rig.close();
    rig.audio(&speech(1_000));
    rig.finalize();
    rig.text("garbage");
    while rig.answer() {}
    assert_eq!(rig.metadata()["duration"], 1.0);
    assert!(rig.finals().iter().all(|results| !results.from_finalize));
    rig.check();
}

#[test]
fn garbage_text_is_refused_and_the_stream_goes_on() {
    let mut rig = Rig::new("");
    rig.text("garbage");
    let [ServerMessage::Error { variant, message, .. }] = rig.sent.as_slice() else {
        panic!("{:?}", rig.sent)
    };
    assert_eq!((*variant, message.as_str()), ("SchemaError", "garbage"));
    rig.audio(&speech(1_000));
    rig.close();
    assert_eq!(last_close(&rig).0, 1000);
    assert!(!rig.said().is_empty());
}

#[test]
fn configure_is_answered_only_if_it_carries_keyterms() {
    let mut rig = Rig::new("");
    rig.text(r#"{"type":"Configure","features":{"numerals":true}}"#);
    rig.text(r#"{"type":"Configure","processors":{"numerals":false}}"#);
    assert!(rig.sent.is_empty());
    rig.text(r#"{"type":"Configure","keyterms":["snow"]}"#);
    let [ServerMessage::ConfigureSuccess { keyterms, .. }] = rig.sent.as_slice() else {
        panic!("{:?}", rig.sent)
    };
    assert_eq!(*keyterms, ["snow"]);
}

#[test]
fn numerals_are_switched_from_the_audio_on_that_follows_and_nobody_is_answered() {
    for prompt in [true, false] {
        let mut rig = Rig::saying(&["five"], "endpointing=false");
        rig.prompt = prompt;
        for configure in [
            r#"{"type":"Configure","features":{"punctuate":true}}"#,
            r#"{"type":"Configure","features":{"numerals":true}}"#,
            r#"{"type":"Configure","processors":{"numerals":false}}"#,
        ] {
            rig.text(configure);
            rig.audio(&speech(960));
            rig.finalize();
        }
        while rig.answer() {}
        let said: Vec<Vec<String>> = rig.finals().iter().map(|results| words(results)).collect();
        assert_eq!(said.len(), 3, "{said:?}");
        for (words, wanted) in said.iter().zip(["five", "5", "five"]) {
            assert!(!words.is_empty() && words.iter().all(|word| word == wanted), "{words:?}");
        }
        assert!(rig.sent.iter().all(|message| matches!(message, ServerMessage::Results(_))));
    }
    let mut german = Rig::saying(&["five"], "language=de&endpointing=false");
    german.text(r#"{"type":"Configure","features":{"numerals":true}}"#);
    german.audio(&speech(960));
    german.close();
    assert!(german.said().iter().all(|word| word == "five"), "{:?}", german.said());
}

#[test]
fn keyterms_that_cannot_be_taken_are_refused_and_change_nothing() {
    let many = format!(r#"{{"type":"Configure","keyterms":["{}"]}}"#, "a ".repeat(501));
    let one = r#"{"type":"Configure","keyterms":["snow"]}"#;
    for (query, text, wanted) in [
        ("model=nova-2", one, "CONFIGURE_KEYTERMS_NOT_SUPPORTED"),
        ("model=nova-3", &many, "CONFIGURE_KEYTERM_LIMIT_EXCEEDED"),
    ] {
        let mut rig = Rig::new(query);
        rig.text(text);
        let [ServerMessage::ConfigureFailure { code, .. }] = rig.sent.as_slice() else {
            panic!("{:?}", rig.sent)
        };
        assert_eq!(*code, wanted);
        rig.audio(&speech(500));
        rig.close();
        assert!(rig.terms.iter().all(Option::is_none));
    }
}

#[test]
fn chunks_carry_the_terms_in_force_where_they_were_cut() {
    let one = |term| Terms::new([(term, 1.0)]);
    let mut rig = Rig::new("model=nova-3&keyterm=snow&endpointing=false");
    // Nothing is answered: what comes after the credits waits, the change of terms among it.
    rig.prompt = false;
    rig.audio(&speech(1_000));
    rig.text(r#"{"type":"Configure","keyterms":["rain"]}"#);
    rig.audio(&speech(1_000));
    rig.text(r#"{"type":"Configure","keyterms":[]}"#);
    rig.audio(&speech(1_000));
    rig.close();
    while rig.answer() {}
    let mut runs: Vec<(Option<Terms>, usize)> = Vec::new();
    for terms in rig.terms.iter().map(|terms| terms.as_deref().cloned()) {
        match runs.last_mut().filter(|run| run.0 == terms) {
            Some(run) => run.1 += 1,
            None => runs.push((terms, 1)),
        }
    }
    // Chunks of two frames; the first ends after 1480 samples.
    assert_eq!(runs, [(one("snow"), 6), (one("rain"), 6), (None, 8)]);
    rig.check();
}

#[test]
fn ten_seconds_without_a_frame_end_the_stream_with_net0001() {
    let mut rig = Rig::new("");
    rig.audio(&speech(1_000));
    rig.pass(Duration::from_millis(9_999));
    assert!(rig.closed.is_none());
    rig.pass(Duration::from_millis(1));
    let (code, reason) = last_close(&rig);
    assert!(code == 1011 && reason.contains("net0001"), "{reason}");
    assert!(!rig.said().is_empty(), "what was said is not lost");
    rig.check();
}

#[test]
fn keep_alive_holds_a_stream_open_once_there_was_audio() {
    let mut rig = Rig::new("");
    rig.audio(&speech(1_000));
    for _ in 0..60 {
        rig.pass(Duration::from_secs(5));
        rig.text(KEEP_ALIVE);
    }
    assert!(rig.closed.is_none());
    rig.close();
    assert_eq!(rig.metadata()["duration"], 1.0, "audio time has not advanced");
}

/// A day of keep-alives between two seconds of audio; a day of audio would take too long here.
#[test]
fn a_stream_of_a_day_goes_on() {
    let mut rig = Rig::new("");
    rig.audio(&speech(1_000));
    for _ in 0..24 * 3_600 / 5 {
        rig.pass(Duration::from_secs(5));
        rig.text(KEEP_ALIVE);
    }
    rig.audio(&speech(1_000));
    assert!(rig.closed.is_none());
    rig.close();
    assert_eq!(rig.metadata()["duration"], 2.0);
    rig.check();
}

#[test]
fn keep_alive_without_any_audio_ends_after_a_minute_with_net0002() {
    let mut rig = Rig::new("");
    for _ in 0..11 {
        rig.pass(Duration::from_secs(5));
        rig.text(KEEP_ALIVE);
    }
    assert!(rig.closed.is_none());
    rig.pass(Duration::from_secs(5));
    let (code, reason) = last_close(&rig);
    assert!(code == 1011 && reason.contains("NET-0002"), "{reason}");
    rig.metadata();
}

#[test]
fn an_engine_that_does_not_answer_ends_the_stream_with_net0000() {
    let mut rig = Rig::new("");
    rig.prompt = false;
    rig.audio(&speech(1_000));
    for _ in 0..6 {
        rig.pass(Duration::from_secs(5));
        rig.text(KEEP_ALIVE);
    }
    let (code, reason) = last_close(&rig);
    assert!(code == 1011 && reason.contains("net0000"), "{reason}");
    assert_eq!(rig.sent.len(), 1, "Metadata");
}

#[test]
fn an_engine_that_hangs_cannot_hold_up_the_end() {
    let mut rig = Rig::new("");
    rig.prompt = false;
    rig.audio(&speech(1_000));
    rig.close();
    assert!(rig.closed.is_none());
    rig.pass(Duration::from_secs(31));
    assert!(last_close(&rig).1.contains("net0000"));
}

#[test]
fn a_failed_engine_ends_the_stream_with_metadata() {
    let mut rig = Rig::new("");
    rig.audio(&speech(1_000));
    rig.engine_fails();
    assert!(last_close(&rig).1.contains("net0000"));
    assert_eq!(rig.metadata()["duration"], 1.0);
}

#[test]
fn a_server_that_stops_says_going_away() {
    let mut rig = Rig::new("");
    rig.audio(&speech(1_000));
    rig.going_away();
    assert_eq!(last_close(&rig), (1001, ""));
    rig.metadata();
}

#[test]
fn after_a_disconnect_nothing_happens() {
    let mut rig = Rig::new("");
    rig.prompt = false;
    rig.audio(&speech(1_000));
    rig.session.on_disconnect();
    while rig.answer() {}
    rig.close();
    assert!(rig.sent.is_empty() && rig.closed.is_none() && rig.session.next_tick().is_none());
}

#[test]
fn random_bytes_without_an_encoding_are_undecodable() {
    let mut rig = Rig::with_rules("", LiveRules::default());
    rig.bytes(vec![0x5a; 4_000]);
    let (code, reason) = last_close(&rig);
    assert!(code == 1008 && reason.contains("DATA-0000"), "{reason}");
    let metadata = rig.metadata();
    assert!(metadata.get("models").is_none(), "no audio was processed");
}

#[test]
fn a_header_that_never_ends_is_undecodable() {
    let mut rig = Rig::with_rules("", LiveRules::default());
    rig.bytes(&b"RIFF"[..]);
    rig.close();
    assert_eq!(last_close(&rig).0, 1008);
}

#[test]
fn wav_needs_no_parameters_and_declared_audio_may_begin_with_a_header() {
    let samples = say(&[("silence", 300), ("speech", 1_500), ("silence", 300)]);
    let mut raw = Rig::new("interim_results=true");
    raw.bytes(pcm(&samples));
    raw.close();
    for query in ["interim_results=true", "interim_results=true&encoding=linear16&sample_rate=16000"] {
        let mut rig = Rig::with_rules(query, LiveRules::default());
        rig.bytes(wav(&samples, Hz(16_000), 1));
        rig.close();
        assert_eq!(rig.sent, raw.sent);
        rig.check();
    }
}

/// Two channels, interleaved.
fn interleave(left: &[f32], right: &[f32]) -> Vec<f32> {
    left.iter().zip(right).flat_map(|(left, right)| [*left, *right]).collect()
}

#[test]
fn channels_are_recognised_one_by_one() {
    let (left, right) = (
        say(&[("silence", 300), ("speech", 1_500), ("silence", 1_200)]),
        say(&[("silence", 1_500), ("speech", 1_000), ("silence", 500)]),
    );
    let mut rig = Rig::new("channels=2&multichannel=true&interim_results=true&endpointing=300");
    rig.bytes(pcm(&interleave(&left, &right)));
    rig.close();
    assert_eq!(rig.lanes_opened, Some(2));
    rig.check();
    assert_eq!(rig.metadata()["channels"], 2);
    for (channel, samples) in [left, right].iter().enumerate() {
        let mut alone = Rig::new("interim_results=true&endpointing=300");
        alone.bytes(pcm(samples));
        alone.close();
        let here: Vec<_> = rig
            .results()
            .into_iter()
            .filter(|results| results.channel_index == [channel, 2])
            .collect();
        let there = alone.results();
        assert_eq!(here.len(), there.len());
        for (here, there) in here.iter().zip(there) {
            assert_eq!(
                (here.start, here.duration, &here.channel),
                (there.start, there.duration, &there.channel)
            );
        }
    }
}

#[test]
fn channels_without_multichannel_are_mixed() {
    let mut rig = Rig::new("channels=2");
    rig.bytes(pcm(&interleave(&speech(1_000), &speech(1_000))));
    rig.close();
    assert!(rig.results().iter().all(|results| results.channel_index == [0, 1]));
    assert_eq!(
        (rig.metadata()["channels"].clone(), rig.metadata()["duration"].clone()),
        (1.into(), 1.0.into())
    );
    assert!(!rig.said().is_empty());
}

#[test]
fn finalize_may_name_one_channel() {
    let mut rig = Rig::new("channels=2&multichannel=true");
    rig.bytes(pcm(&interleave(&speech(1_000), &speech(1_000))));
    rig.text(r#"{"type":"Finalize","channel":1}"#);
    let indices = |rig: &Rig| {
        rig.finals()
            .iter()
            .filter(|r| r.from_finalize)
            .map(|r| r.channel_index)
            .collect::<Vec<_>>()
    };
    assert_eq!(indices(&rig), [[1, 2]]);
    rig.bytes(pcm(&interleave(&speech(1_000), &speech(1_000))));
    rig.finalize();
    assert_eq!(indices(&rig), [[1, 2], [0, 2], [1, 2]]);
    rig.text(&format!(r#"{{"type":"Finalize","channel":2,"more":"{}"}}"#, "x".repeat(5_000)));
    let Some(ServerMessage::Error { variant, message, .. }) = rig.sent.last() else {
        panic!("{:?}", rig.sent.last())
    };
    assert_eq!((*variant, message.len()), ("SchemaError", 1_024), "not all of it is sent back");
    rig.close();
    rig.check();
}

#[test]
fn a_client_that_sends_too_fast_is_not_read_until_the_engine_follows() {
    let rules = LiveRules {
        undecoded_bytes: 32_000,
        ..LiveRules::default()
    };
    let mut rig = Rig::with_rules("encoding=linear16&sample_rate=16000", rules);
    rig.prompt = false;
    let mut sent = 0;
    while rig.reads.is_empty() {
        rig.bytes(pcm(&speech(50)));
        sent += 1;
        assert!(sent < 1_000);
    }
    assert_eq!(rig.reads, [false]);
    assert!(
        rig.session.undecoded_bytes() <= 32_000 + 2 * 1_600,
        "{}",
        rig.session.undecoded_bytes()
    );
    assert!(rig.waiting.len() <= rules.credits);
    while rig.answer() {}
    assert_eq!(rig.reads, [false, true]);
    rig.close();
    while rig.answer() {}
    assert_eq!(rig.metadata()["duration"], f64::from(sent) * 0.05, "nothing is dropped");
    rig.check();
}

#[test]
fn waiting_control_messages_count_as_well() {
    let mut rig = Rig::new("");
    rig.prompt = false;
    rig.bytes(pcm(&speech(5_000)));
    let mut asked = 0;
    while rig.reads.is_empty() {
        rig.finalize();
        asked += 1;
        assert!(asked < 10_000);
    }
    while rig.answer() {}
    assert_eq!(rig.finals().iter().filter(|results| results.from_finalize).count(), asked);
}

#[test]
fn a_client_that_is_not_read_cannot_be_idle() {
    let rules = LiveRules {
        undecoded_bytes: 1_000,
        response: Duration::from_secs(100),
        ..LiveRules::default()
    };
    let mut rig = Rig::with_rules("encoding=linear16&sample_rate=16000", rules);
    rig.prompt = false;
    rig.bytes(pcm(&speech(2_000)));
    assert_eq!(rig.reads, [false]);
    rig.pass(Duration::from_secs(50));
    assert!(rig.closed.is_none());
    while rig.answer() {}
    rig.prompt = true;
    rig.pass(Duration::from_millis(9_999));
    assert!(rig.closed.is_none(), "ten seconds from when it is read again");
    rig.pass(Duration::from_millis(1));
    assert!(last_close(&rig).1.contains("net0001"));

    let mut rig = Rig::new("");
    rig.audio(&speech(100));
    rig.session.on_gate(false, rig.now);
    rig.pass(Duration::from_secs(50));
    assert!(rig.closed.is_none());
    rig.session.on_gate(true, rig.now);
    rig.pass(Duration::from_secs(10));
    assert!(rig.closed.is_some());
}
