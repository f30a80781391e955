//! Terms in every search: what they change, and what they leave alone.

use proptest::prelude::{ProptestConfig, prop, prop_assert, prop_assert_eq, proptest};

use super::beam::{enumerate, normalized, wide};
use super::*;

fn terms(list: &[(&str, f32)]) -> Option<Arc<Terms>> {
    Terms::new(list.iter().copied()).map(Arc::new)
}

/// What is heard in these frames as a whole.
fn heard(decoder: &Decoder, list: &[(&str, f32)], frames: &[f32]) -> String {
    let terms = terms(list);
    let decoded = favoured(decoder, &mut decoder.new_state(), terms.as_ref(), frames, false, true);
    text(&ids(&decoded.fixed)).trim().to_owned()
}

/// "ac b ac", in which the first "c" is nearly a "b" and the last is not.
fn unclear() -> Vec<f32> {
    rows(
        7,
        &[
            &[(0, 0.9)],
            &[(2, 0.5), (1, 0.3)],
            &[(6, 0.9)],
            &[(3, 0.999)],
            &[(6, 0.9)],
            &[(0, 0.9)],
            &[(2, 0.99999), (1, 0.000_001)],
        ],
    )
}

/// Terms, and what is heard with them.
const CLOSE: [(&[(&str, f32)], &str); 6] = [
    (&[], "ac b ac"),
    (&[("ab", 1.0)], "ab b ac"),
    (&[("AB b", 1.0)], "ab b ac"),
    (&[("ab", 0.1)], "ac b ac"),
    (&[("cab", 1.0)], "ac b ac"),
    (&[("ac", -0.6)], "ab b ac"),
];

fn searches() -> [Strategy; 3] {
    let plain = Strategy::CtcBeam(BeamOptions::default(), None);
    [Strategy::Ctc, plain, with_lm(BeamOptions::default())]
}

#[test]
fn a_term_wins_where_it_is_close_and_nowhere_else() {
    let greedy = identity(&PIECES, Strategy::Ctc);
    let beam = identity(&PIECES, Strategy::CtcBeam(BeamOptions::default(), None));
    for (list, wanted) in CLOSE {
        assert_eq!(heard(&greedy, list, &unclear()), wanted, "greedy: {list:?}");
        assert_eq!(heard(&beam, list, &unclear()), wanted, "beam: {list:?}");
    }
    // A term that does not come to its end: the beam takes the bonus back, the greedy search has nothing to go back to.
    let begun = [("abz", 1.0)];
    assert_eq!(heard(&beam, &begun, &unclear()), "ac b ac");
    assert_eq!(heard(&greedy, &begun, &unclear()), "ab b ac");
}

#[test]
fn a_transducer_chooses_a_term_where_it_is_close() {
    let decoder = memoryless(Strategy::Transducer);
    for (list, wanted) in CLOSE {
        assert_eq!(heard(&decoder, list, &loud(&unclear())), wanted, "{list:?}");
    }
}

#[test]
fn a_greedy_search_keeps_its_blanks_and_its_runs() {
    let sounds: [&[(usize, f32)]; 5] = [
        &[(0, 0.9)],
        &[(6, 0.5), (1, 0.49)],
        &[(2, 0.5), (1, 0.4)],
        &[(2, 0.6), (1, 0.3)],
        &[(6, 0.9)],
    ];
    let frames = rows(7, &sounds);
    let decoder = identity(&PIECES, Strategy::Ctc);
    let terms = terms(&[("ab", 1.0)]);
    let fixed = favoured(&decoder, &mut decoder.new_state(), terms.as_ref(), &frames, false, true).fixed;
    assert_eq!(ids(&fixed), [0, 1]);
    assert_eq!((fixed[1].start, fixed[1].end), (Frames(2), Frames(4)));
    let plain = step(&decoder, &mut decoder.new_state(), &frames, false, true).fixed;
    assert_eq!(fixed[0], plain[0]);
    assert!(fixed[1].confidence < plain[1].confidence, "another token would have been better");
}

#[test]
fn a_term_may_go_on_after_a_pause_and_ends_with_the_sentence() {
    let first = rows(7, &[&[(0, 0.9)], &[(2, 0.5), (1, 0.3)]]);
    let decoder = identity(&PIECES, Strategy::CtcBeam(BeamOptions::default(), None));
    let terms = terms(&[("ab b", 1.0)]);
    for (end, wanted) in [(false, " ab"), (true, " ac")] {
        let decoded = favoured(&decoder, &mut decoder.new_state(), terms.as_ref(), &first, true, end);
        assert_eq!(text(&ids(&decoded.fixed)), wanted);
    }
}

#[test]
fn terms_hold_from_the_frames_on_with_which_they_come() {
    let part = rows(7, &[&[(0, 0.9)], &[(2, 0.62), (1, 0.36)], &[(6, 0.99)], &[(6, 0.99)]]);
    let lists = [None, terms(&[("ab", 1.0)]), None, terms(&[("aa", 1.0)]), terms(&[("ab", 1.0)])];
    for strategy in [Strategy::Ctc, Strategy::CtcBeam(BeamOptions::default(), None)] {
        let decoder = identity(&PIECES, strategy);
        let mut state = decoder.new_state();
        let mut said = String::new();
        for list in &lists {
            said += &text(&ids(&favoured(&decoder, &mut state, list.as_ref(), &part, true, false).fixed));
        }
        assert_eq!(said, " ac ab ac ac ab");
        state.reset();
        let after = step(&decoder, &mut state, &part, false, true);
        assert_eq!(after, step(&decoder, &mut decoder.new_state(), &part, false, true));
    }
}

#[test]
fn a_stream_with_terms_leaves_those_beside_it_alone() {
    for strategy in [Strategy::Ctc, Strategy::Transducer, with_lm(BeamOptions::default())] {
        let oracle = Oracle::load("stream_hybrid");
        let decoder = oracle.decoder(strategy);
        let rows = oracle.rows();
        let list: Vec<(&str, f32)> = oracle.pieces.iter().map(|piece| (piece.as_str(), 3.0)).collect();
        let terms = terms(&list);
        let alone = |terms: Option<&Arc<Terms>>| favoured(&decoder, &mut decoder.new_state(), terms, &rows, false, true);
        let mut states = [decoder.new_state(), decoder.new_state(), decoder.new_state()];
        let mut decoded = vec![Decoded::default(); 3];
        let given = [None, terms.as_ref(), None];
        let inputs = states.iter_mut().zip(&mut decoded).zip(given);
        let mut work: Vec<DecodeInput<'_>> = inputs
            .map(|((state, decoded), terms)| DecodeInput {
                state,
                rows: &rows,
                commit: false,
                end: true,
                terms,
                decoded,
            })
            .collect();
        decoder.advance(&mut work);
        assert_eq!(decoded, [alone(None), alone(terms.as_ref()), alone(None)]);
        assert_ne!(decoded[0], decoded[1], "so many terms change something");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_beam_gives_the_bonus_to_complete_terms_alone(seed in 0_u64..1000, list in prop::collection::vec("[abc]{1,2}( [abc]{1,2})?", 1..3)) {
        let (width, frames) = (5, 5);
        let pieces: Vec<String> = PIECES[..width - 1].iter().map(|&piece| piece.to_owned()).collect();
        let mut rows = peaky(width, frames, seed);
        normalized(&mut rows, width);
        let list: Vec<(&str, f32)> = list.iter().map(|term| (term.as_str(), 1.0)).collect();
        let terms = Terms::new(list).unwrap();
        let (options, spelled) = (wide(), Spelled::new(&pieces));
        let bonus = f64::from(options.term_bonus);
        let beam = Beam::new(options, None, &pieces);
        let favour = Some(Favour { terms: &terms, spelled: &spelled });
        let (mut state, mut fixed) = (beam.new_state(), Vec::new());
        for row in rows.chunks_exact(width) {
            beam.push(&mut state, row, Confidence::MaxProb, favour, &mut fixed);
        }
        prop_assert!(fixed.is_empty());
        beam.commit(&mut state, true, favour, &mut fixed);
        let score = |(labels, acoustic): (Vec<u32>, f64)| {
            let kept = terms.follow(Default::default(), format!("{} ", text(&labels)).as_bytes()).0.kept();
            (acoustic + bonus * kept, labels)
        };
        let mut scores: Vec<(f64, Vec<u32>)> = enumerate(&rows, width).into_iter().map(score).collect();
        scores.sort_by(|a, b| b.0.total_cmp(&a.0));
        prop_assert_eq!(ids(&fixed), &scores[0].1[..], "next best {:?}", scores.get(1));
    }

    #[test]
    fn terms_that_nothing_begins_change_nothing(seed in 0_u64..1000) {
        let frames = peaky(PIECES.len() + 1, 60, seed);
        for strategy in searches() {
            let decoder = identity(&PIECES, strategy);
            let terms = terms(&[("zab", 5.0), ("x", -1.0)]);
            let with = favoured(&decoder, &mut decoder.new_state(), terms.as_ref(), &frames, false, true);
            prop_assert_eq!(with, step(&decoder, &mut decoder.new_state(), &frames, false, true));
        }
    }

    #[test]
    fn cuts_change_nothing_with_terms(seed in 0_u64..1000, cuts in prop::collection::vec(0_usize..101, 0..20)) {
        let list = [("ab", 1.0), ("ab a", 2.0), ("cab", 1.0), ("b", 0.5)];
        let oracle = Oracle::load("stream_hybrid");
        let letters: Vec<(&str, f32)> = oracle.pieces.iter().map(|piece| (piece.as_str(), 1.0)).collect();
        let mut cases: Vec<(Decoder, Vec<f32>, _)> = Vec::new();
        for strategy in searches() {
            cases.push((identity(&PIECES, strategy), peaky(PIECES.len() + 1, 100, seed), terms(&list)));
        }
        cases.push((oracle.decoder(Strategy::Transducer), oracle.rows(), terms(&letters)));
        for (decoder, rows, terms) in cases {
            let whole = favoured(&decoder, &mut decoder.new_state(), terms.as_ref(), &rows, false, true);
            let frames = rows.len() / decoder.width;
            let mut edges: Vec<usize> = cuts.iter().map(|cut| (*cut).min(frames)).chain([0, frames]).collect();
            edges.sort_unstable();
            let mut state = decoder.new_state();
            let mut parts = Vec::new();
            for edge in edges.windows(2) {
                let part = &rows[edge[0] * decoder.width..edge[1] * decoder.width];
                parts.extend(favoured(&decoder, &mut state, terms.as_ref(), part, false, false).fixed);
            }
            parts.extend(favoured(&decoder, &mut state, terms.as_ref(), &[], false, true).fixed);
            prop_assert_eq!(parts, whole.fixed);
        }
    }
}
