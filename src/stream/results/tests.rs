use std::collections::BTreeMap;

use uuid::Uuid;

use super::*;
use crate::wire::models::ModelInfo;

/// Piece `n` is a word of one letter.
struct Letters;

impl Vocabulary for Letters {
    fn piece(&self, id: u32) -> Option<&str> {
        "abcdefgh".get(id as usize..id as usize + 1)
    }

    fn starts_word(&self, _: u32) -> bool {
        true
    }

    fn is_special(&self, _: u32) -> bool {
        false
    }
}

fn segment(utterance_end: Option<u64>) -> Segment {
    let metadata = ResultsMetadata {
        request_id: Uuid::nil(),
        model_info: ModelInfo {
            name: String::new(),
            version: String::new(),
            arch: String::new(),
        },
        model_uuid: Uuid::nil(),
        extra: BTreeMap::new(),
    };
    Segment::new(ResultRules {
        interim: true,
        interim_step: Samples(16_000),
        soft: Samples(5 * 16_000),
        hard: Samples(10 * 16_000),
        chunk: Samples(16_000),
        utterance_end: utterance_end.map(|seconds| Samples(seconds * 16_000)),
        rewrite: Arc::default(),
        hold: false,
        channel: [0, 1],
        language_hint: Vec::new(),
        metadata: Arc::new(metadata),
    })
}

/// Pieces of a tenth of a second at these tenths.
fn pieces(ids_and_tenths: &[(u32, u64)]) -> Vec<Piece> {
    let piece = |&(id, tenth): &(u32, u64)| Piece {
        id,
        start: Samples(tenth * 1_600),
        end: Samples((tenth + 1) * 1_600),
        confidence: 1.0,
    };
    ids_and_tenths.iter().map(piece).collect()
}

/// Feeds a chunk that ends at `seconds` and renders what came out: kind, window, transcript.
fn feed(segment: &mut Segment, fixed: &[(u32, u64)], tail: &[(u32, u64)], seconds: u64) -> Vec<String> {
    feed_heard(
        segment,
        fixed,
        tail,
        Heard {
            end: Samples(seconds * 16_000),
            ..Heard::default()
        },
    )
}

fn feed_heard(segment: &mut Segment, fixed: &[(u32, u64)], tail: &[(u32, u64)], heard: Heard) -> Vec<String> {
    let mut out = Vec::new();
    segment.chunk(pieces(fixed).into_iter(), pieces(tail).into_iter(), &heard, &Letters, &mut out);
    out.iter()
        .map(|message| match message {
            ServerMessage::Results(r) => {
                let kind = if r.is_final { "final" } else { "interim" };
                format!("{kind} {}+{} {}", r.start.0, r.duration.0, r.channel.alternatives[0].transcript)
            }
            ServerMessage::UtteranceEnd { last_word_end, .. } => format!("utterance end {}", last_word_end.0),
            other => format!("{other:?}"),
        })
        .collect()
}

#[test]
fn a_guess_shows_in_interims_only_until_it_is_fixed() {
    let mut segment = segment(None);
    assert_eq!(feed(&mut segment, &[(0, 1)], &[(1, 8)], 1), ["interim 0+1 a b"]);
    assert_eq!(feed(&mut segment, &[(2, 8)], &[], 2), ["interim 0+2 a c"]);
    let flush = Some(Flush {
        from_finalize: true,
        speech_final: true,
    });
    assert_eq!(
        feed_heard(
            &mut segment,
            &[],
            &[],
            Heard {
                end: Samples(40_000),
                flush,
                ..Heard::default()
            }
        ),
        ["final 0+2.5 a c"]
    );
}

#[test]
fn a_long_segment_ends_before_its_last_fixed_word_and_never_in_the_guess() {
    let mut segment = segment(None);
    feed(&mut segment, &[(0, 10), (1, 20)], &[], 4);
    // The last word may go on, the one before is complete.
    assert_eq!(feed(&mut segment, &[(2, 48)], &[(3, 49)], 5), ["final 0+4.9 a b c"]);
    assert_eq!(feed(&mut segment, &[(3, 49)], &[(4, 58)], 6), ["interim 4.9+1.1 d e"]);
}

#[test]
fn a_long_segment_without_a_fixed_boundary_ends_at_the_hard_limit() {
    let mut segment = segment(None);
    for seconds in 1..9 {
        feed(&mut segment, &[], &[(0, 5), (1, 70)], seconds);
    }
    assert_eq!(segment.start, Samples(0));
    // One chunk more would be too long; the guess stays for the next segment and is not lost.
    feed(&mut segment, &[], &[(0, 5), (1, 70)], 9);
    assert_eq!(feed(&mut segment, &[], &[(0, 5), (1, 70)], 10), ["final 0+10 "]);
    let flush = Some(Flush {
        from_finalize: false,
        speech_final: false,
    });
    let last = feed_heard(
        &mut segment,
        &[(0, 5), (1, 70)],
        &[],
        Heard {
            end: Samples(11 * 16_000),
            flush,
            ..Heard::default()
        },
    );
    assert_eq!(last, ["final 10+1 a b"]);
}

#[test]
fn a_pause_after_the_last_word_makes_all_of_a_long_segment_final() {
    let mut segment = segment(None);
    feed(&mut segment, &[(0, 10), (1, 20)], &[], 4);
    assert_eq!(feed(&mut segment, &[], &[], 5), ["final 0+5 a b"]);
}

#[test]
fn speech_without_words_yet_is_left_to_the_next_segment() {
    let mut segment = segment(None);
    let heard = Heard {
        end: Samples(80_000),
        speaking_since: Some(Samples(76_800)),
        ..Heard::default()
    };
    assert_eq!(feed_heard(&mut segment, &[], &[], heard), ["final 0+4.8 "]);
}

#[test]
fn utterance_end_makes_fixed_words_final_first() {
    let mut segment = segment(Some(1));
    assert_eq!(feed(&mut segment, &[(0, 5)], &[], 1), ["interim 0+1 a"]);
    assert_eq!(feed(&mut segment, &[], &[], 2), ["final 0+2 a", "utterance end 0.6"]);
    assert_eq!(feed(&mut segment, &[], &[], 3), ["interim 2+1 "]);
}

#[test]
fn utterance_end_after_a_guess_follows_an_interim_that_shows_it_and_is_not_repeated() {
    let mut segment = segment(Some(1));
    let heard = |tenths: u64| Heard {
        end: Samples(tenths * 1_600),
        ..Heard::default()
    };
    assert_eq!(feed_heard(&mut segment, &[], &[], heard(10)), ["interim 0+1 "]);
    assert_eq!(
        feed_heard(&mut segment, &[], &[(0, 5)], heard(18)),
        ["interim 0+1.8 a", "utterance end 0.6"]
    );
    assert_eq!(feed_heard(&mut segment, &[(0, 5)], &[], heard(26)), ["interim 0+2.6 a"]);
    assert_eq!(
        feed_heard(&mut segment, &[(1, 30)], &[], heard(45)),
        ["final 0+4.5 a b", "utterance end 3.1"]
    );
}

#[test]
fn an_endpoint_where_speech_resumes_divides_the_pieces() {
    let mut segment = segment(None);
    let endpoint = Endpoint {
        at: Samples(8_000),
        resumed: Some(Samples(12_800)),
    };
    let heard = Heard {
        end: Samples(16_000),
        endpoints: vec![endpoint],
        ..Heard::default()
    };
    // The second word comes late, but before the new speech.
    assert_eq!(feed_heard(&mut segment, &[(0, 2), (1, 6), (2, 9)], &[], heard), ["final 0+0.8 a b"]);
    let flush = Some(Flush {
        from_finalize: false,
        speech_final: true,
    });
    assert_eq!(
        feed_heard(
            &mut segment,
            &[],
            &[],
            Heard {
                end: Samples(20_800),
                flush,
                ..Heard::default()
            }
        ),
        ["final 0.8+0.5 c"]
    );
}

#[test]
fn a_guess_that_is_left_at_the_end_is_not_lost() {
    let mut segment = segment(None);
    let flush = Some(Flush {
        from_finalize: false,
        speech_final: true,
    });
    let last = feed_heard(
        &mut segment,
        &[(0, 2)],
        &[(1, 6)],
        Heard {
            end: Samples(16_000),
            flush,
            ..Heard::default()
        },
    );
    assert_eq!(last, ["final 0+1 a b"]);
}
