//! What must not depend on how audio arrives and when the engine answers.

use std::sync::Arc;

use proptest::prelude::*;

use super::rig::{Rig, Says, pcm, say};
use crate::stream::session::LiveRules;
use crate::wire::results::ServerMessage;

/// Feeds `bytes` in messages of the given sizes (again and again), lets the engine answer `answers` chunks after each, closes.
fn run(mut rig: Rig, bytes: &[u8], sizes: &[usize], answers: &[usize]) -> Rig {
    rig.prompt = false;
    let (mut rest, mut sizes, mut answers) = (bytes, sizes.iter().cycle(), answers.iter().cycle());
    while !rest.is_empty() {
        let (now, later) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
        rig.bytes(now.to_vec());
        rest = later;
        for _ in 0..*answers.next().unwrap() {
            rig.answer();
        }
    }
    rig.close();
    while rig.answer() {}
    assert!(rig.closed.is_some());
    rig
}

fn of_channel(rig: &Rig, wanted: usize) -> Vec<&ServerMessage> {
    let channel = |message: &ServerMessage| match message {
        ServerMessage::Results(results) => results.channel_index[0],
        ServerMessage::SpeechStarted { channel, .. } | ServerMessage::UtteranceEnd { channel, .. } => channel[0],
        _ => wanted,
    };
    rig.sent.iter().filter(|message| channel(message) == wanted).collect()
}

fn parts() -> impl Strategy<Value = Vec<(&'static str, usize)>> {
    prop::collection::vec((prop::sample::select(vec!["speech", "silence", "hum"]), 20_usize..3_000), 1..6)
}

fn options() -> impl Strategy<Value = String> {
    let endpointing = prop::sample::select(vec!["10", "100", "500", "1500", "false"]);
    (endpointing, any::<bool>(), any::<bool>()).prop_map(|(endpointing, interim, ends)| {
        let ends = if ends { "&utterance_end_ms=1000" } else { "" };
        format!("endpointing={endpointing}&interim_results={interim}&vad_events=true{ends}")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn any_split_and_any_pace_give_the_same_messages(
        parts in parts(), options in options(), right in 0_u32..8, credits in 1_usize..5, every in 1_usize..3,
        sizes in prop::collection::vec(1_usize..20_000, 1..8), answers in prop::collection::vec(0_usize..4, 1..5),
        (encoding, two) in prop::sample::select(vec![("linear16&sample_rate=16000", false), ("linear16&sample_rate=8000", false), ("mulaw&sample_rate=8000", false), ("linear16&sample_rate=24000", true)]),
    ) {
        let bytes = pcm(&say(&parts));
        let query = format!("encoding={encoding}&{options}{}", if two { "&channels=2&multichannel=true" } else { "" });
        let rules = LiveRules { right, ..LiveRules::default() };
        let whole = run(Rig::with_rules(&query, rules), &bytes, &[bytes.len()], &[1_000]);
        whole.check();
        let undecoded_bytes = 1_000 * every;
        let split = run(Rig::with_rules(&query, LiveRules { credits, undecoded_bytes, ..rules }), &bytes, &sizes, &answers);
        split.check();
        for channel in 0..if two { 2 } else { 1 } {
            prop_assert_eq!(of_channel(&whole, channel), of_channel(&split, channel));
        }
    }

    #[test]
    fn what_is_held_depends_on_the_audio_alone(
        parts in parts(), options in options(), right in 0_u32..8, credits in 1_usize..5,
        sizes in prop::collection::vec(1_usize..20_000, 1..8), answers in prop::collection::vec(0_usize..4, 1..5),
        feature in prop::sample::select(vec!["smart_format=true", "redact=pci", "detect_entities=true&search=card"]),
    ) {
        let bytes = pcm(&say(&parts));
        let query = format!("encoding=linear16&sample_rate=16000&{feature}&{options}");
        let rules = LiveRules { right, ..LiveRules::default() };
        let words = &["my", "card", "is", "four", "one", "one", "two", "twenty", "five", "thanks"];
        let rig = |rules| Rig::with_vocabulary(&query, rules, Arc::new(Says(words)));
        let whole = run(rig(rules), &bytes, &[bytes.len()], &[1_000]);
        whole.check_windows();
        let split = run(rig(LiveRules { credits, undecoded_bytes: 1_000, ..rules }), &bytes, &sizes, &answers);
        split.check_windows();
        prop_assert_eq!(of_channel(&whole, 0), of_channel(&split, 0));
    }

    #[test]
    fn finals_tile_and_lose_nothing_wherever_finalize_comes(
        parts in parts(), options in options(), right in 0_u32..4, every in 1_usize..5,
        steps in prop::collection::vec((1_usize..20_000, 0_usize..4, any::<bool>()), 1..12),
    ) {
        let bytes = pcm(&say(&parts));
        let mut rig = Rig::with_rules(&format!("encoding=linear16&sample_rate=16000&{options}"), LiveRules { right, ..LiveRules::default() });
        rig.prompt = false;
        rig.every = every;
        let (mut rest, mut asked) = (bytes.as_slice(), 0);
        for (size, answers, finalize) in steps {
            let (now, later) = rest.split_at(size.min(rest.len()));
            rest = later;
            if !now.is_empty() {
                rig.bytes(now.to_vec());
            }
            if finalize {
                rig.finalize();
                asked += 1;
            }
            for _ in 0..answers {
                rig.answer();
            }
        }
        rig.close();
        while rig.answer() {}
        rig.check();
        prop_assert_eq!(rig.finals().iter().filter(|results| results.from_finalize).count(), asked);
        prop_assert_eq!(rig.closed.as_ref().map(|(code, _)| *code), Some(1000));
    }

    #[test]
    fn any_events_in_any_order_are_survived(
        query in prop::sample::select(vec!["", "encoding=alaw&sample_rate=8000", "encoding=linear32&sample_rate=44100&channels=3&multichannel=true&interim_results=true"]),
        events in prop::collection::vec((0_u8..8, prop::collection::vec(any::<u8>(), 0..3_000)), 0..30),
    ) {
        let mut rig = Rig::with_rules(query, LiveRules::default());
        rig.prompt = false;
        for (kind, bytes) in events {
            if rig.closed.is_some() {
                break;
            }
            match kind {
                0..=2 => rig.bytes(bytes),
                3 => rig.finalize(),
                4 => rig.text(&String::from_utf8_lossy(&bytes)),
                5 => rig.pass(std::time::Duration::from_millis(100 * bytes.len() as u64 / 8)),
                6 => if bytes.len() > 2_900 { rig.close() },
                _ => while rig.answer() {},
            }
        }
    }
}
