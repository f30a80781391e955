use proptest::prelude::*;

use super::*;

/// A vocabulary of these pieces, in id order.
struct Toy(Vec<&'static str>);

impl Vocabulary for Toy {
    fn piece(&self, id: u32) -> Option<&str> {
        self.0.get(id as usize).copied()
    }

    fn starts_word(&self, id: u32) -> bool {
        self.piece(id).is_some_and(|piece| piece.starts_with(BOUNDARY))
    }

    fn is_special(&self, id: u32) -> bool {
        self.piece(id) == Some("<en-US>")
    }
}

const PIECES: [&str; 15] = [
    "▁hel", "lo", "▁World", ".", "▁", "s", "<en-US>", "<0xC3>", "<0xA4>", "▁don", "'", "t", "▁?", "<unk>", "##ing",
];

/// Pieces at one frame each, at the frames given.
fn pieces(ids_and_frames: &[(u32, u64)]) -> Vec<Piece> {
    let piece = |&(id, frame): &(u32, u64)| Piece {
        id,
        start: Samples(frame * 1_280),
        end: Samples((frame + 1) * 1_280),
        confidence: 1.0 - 0.01 * id as f32,
    };
    ids_and_frames.iter().map(piece).collect()
}

fn said(ids: &[u32]) -> Vec<String> {
    let numbered: Vec<(u32, u64)> = ids.iter().copied().zip(0..).collect();
    words(&pieces(&numbered), &Toy(PIECES.to_vec()))
        .into_iter()
        .map(|word| word.text)
        .collect()
}

#[test]
fn pieces_join_until_the_next_word_begins() {
    assert_eq!(said(&[0, 1, 2, 3]), ["hello", "World."]);
    assert_eq!(said(&[9, 10, 11]), ["don't"]);
    assert_eq!(said(&[2, 14]), ["Worlding"]);
    assert_eq!(said(&[4, 5, 4, 2]), ["s", "World"], "a bare boundary begins a word, or nothing");
    assert_eq!(said(&[1, 0, 1]), ["lo", "hello"], "what goes on from an earlier segment is a word");
    assert_eq!(said(&[]), [""; 0]);
}

#[test]
fn markers_and_unknown_ids_are_left_out() {
    assert_eq!(said(&[6, 0, 6, 1, 13, 999]), ["hello"]);
    assert_eq!(said(&[6]), [""; 0]);
}

#[test]
fn bytes_become_characters() {
    assert_eq!(said(&[4, 7, 8, 5]), ["äs"]);
    assert_eq!(said(&[4, 7, 5]), ["\u{fffd}s"], "half a character");
}

#[test]
fn punctuation_belongs_to_the_word_before() {
    assert_eq!(said(&[2, 12]), ["World?"]);
    assert_eq!(said(&[12, 2]), ["World"], "and is dropped without one");
    assert_eq!(said(&[3, 12]), [""; 0]);
}

#[test]
fn times_and_confidence_come_from_the_pieces() {
    let found = words(&pieces(&[(0, 2), (1, 4), (2, 7), (3, 20)]), &Toy(PIECES.to_vec()));
    let times: Vec<(u64, u64)> = found.iter().map(|word| (word.start.0 / 1_280, word.end.0 / 1_280)).collect();
    assert_eq!(times, [(2, 5), (7, 8)], "a late full stop does not lengthen its word");
    assert_eq!(found[0].confidence, 0.99);
    assert_eq!(found[1].confidence, 0.97);
    assert_eq!((found[0].first, found[1].first), (0, 2));
}

#[test]
fn a_confidence_that_is_none_does_not_spread() {
    let mut one = pieces(&[(0, 0)]);
    one[0].confidence = f32::NAN;
    assert_eq!(words(&one, &Toy(PIECES.to_vec()))[0].confidence, 1.0);
}

#[test]
fn plain_words_have_no_capitals_and_no_punctuation_around_them() {
    let plain = |text: &str| {
        Word {
            text: text.into(),
            start: Samples(0),
            end: Samples(0),
            confidence: 0.0,
            first: 0,
        }
        .plain()
    };
    assert_eq!(plain("World."), "world");
    assert_eq!(plain("¿Qué?"), "qué");
    assert_eq!(plain("don't"), "don't");
    assert_eq!(plain("3.14,"), "3.14");
    assert_eq!(plain("mm-mm"), "mm-mm");
}

#[test]
fn words_of_one_frame_follow_each_other() {
    let mut found = words(&pieces(&[(0, 5), (2, 5), (9, 6)]), &Toy(PIECES.to_vec()));
    fit(&mut found, Samples(0), Samples(100_000));
    assert!(found.windows(2).all(|pair| pair[0].end <= pair[1].start), "{found:?}");
    assert!(found.iter().all(|word| word.end > word.start), "{found:?}");
}

#[test]
fn an_overlap_is_taken_from_the_earlier_word() {
    let word = |start, end| Word {
        text: "w".into(),
        start: Samples(start),
        end: Samples(end),
        confidence: 1.0,
        first: 0,
    };
    let mut found = [word(1_000, 9_000), word(5_000, 6_000)];
    fit(&mut found, Samples(0), Samples(100_000));
    assert_eq!(found[0].end, Samples(5_000));
    assert_eq!((found[1].start, found[1].end), (Samples(5_000), Samples(6_000)));
}

proptest! {
    #[test]
    fn fitted_times_are_ordered_and_inside(
        spans in prop::collection::vec((0_u64..5_000, 0_u64..5_000), 0..20), from in 0_u64..3_000, length in 0_u64..3_000,
    ) {
        let mut found: Vec<Word> = spans
            .iter()
            .map(|&(start, end)| Word { text: "w".into(), start: Samples(start), end: Samples(end), confidence: 1.0, first: 0 })
            .collect();
        found.sort_by_key(|word| word.start);
        fit(&mut found, Samples(from), Samples(from + length));
        let mut last = Samples(from);
        for word in &found {
            prop_assert!(last <= word.start && word.start <= word.end && word.end <= Samples(from + length));
            last = word.end;
        }
    }

    #[test]
    fn every_piece_of_text_lands_in_one_word(ids in prop::collection::vec(0_u32..15, 0..30)) {
        let joined: String = said(&ids).concat();
        let letters = |text: &str| text.chars().filter(|c| c.is_ascii_alphabetic()).count();
        let expected: usize = ids.iter().map(|&id| if PIECES[id as usize].starts_with('<') { 0 } else { letters(PIECES[id as usize]) }).sum();
        prop_assert_eq!(letters(&joined), expected);
    }
}
