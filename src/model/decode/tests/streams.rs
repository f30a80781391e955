//! Cuts, batches, commits, marks and refusals: what a stream may rely on whatever is around it.

use std::collections::BTreeMap;

use proptest::prelude::{Just, ProptestConfig, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::*;

fn strategies(model: &str) -> Vec<(Oracle, Decoder)> {
    let beam = BeamOptions {
        width: 8,
        tail: Frames(20),
        ..BeamOptions::default()
    };
    let lm = Arc::new(NgramModel::from_arpa(ARPA.as_bytes()).unwrap());
    // The networks' weights are random: without a bonus for words nothing would be more probable than silence.
    let eager = BeamOptions {
        word_bonus: 8.0,
        unknown_penalty: 0.0,
        ..beam.clone()
    };
    let mut all = vec![Strategy::Transducer, Strategy::TransducerBeam(eager, Some(lm))];
    if model == "stream_hybrid" {
        all.extend([Strategy::Ctc, with_lm(beam)]);
    }
    let with_oracle = |strategy| {
        let oracle = Oracle::load(model);
        let decoder = oracle.decoder(strategy);
        (oracle, decoder)
    };
    all.into_iter().map(with_oracle).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn cuts_change_nothing(cuts in prop::collection::vec(0_usize..101, 0..30), commits in prop::collection::vec(1_usize..101, 0..3)) {
        for model in ["stream_hybrid", "offline_tdt", "stream_prompt"] {
            for (oracle, decoder) in strategies(model) {
                let rows = oracle.rows();
                let whole = cut(&decoder, &mut decoder.new_state(), &rows, &[], &commits);
                let parts = cut(&decoder, &mut decoder.new_state(), &rows, &cuts, &commits);
                prop_assert_eq!(&whole, &parts);
                prop_assert!(!whole.fixed.is_empty());
            }
        }
    }

    #[test]
    fn cuts_change_nothing_in_a_beam_that_must_force(seed in 0_u64..1000, cuts in prop::collection::vec(0_usize..200, 0..40)) {
        let decoder = identity(&PIECES, with_lm(BeamOptions { width: 12, tail: Frames(10), ..BeamOptions::default() }));
        let rows = peaky(PIECES.len() + 1, 200, seed);
        let whole = cut(&decoder, &mut decoder.new_state(), &rows, &[], &[50]);
        let parts = cut(&decoder, &mut decoder.new_state(), &rows, &cuts, &[50]);
        prop_assert_eq!(&whole, &parts);
        for pair in whole.fixed.windows(2) {
            prop_assert!(pair[0].end <= pair[1].start, "{:?}", pair);
        }
        for token in &whole.fixed {
            prop_assert!(token.start < token.end && token.end.0 <= 200 && (0.0..=1.0).contains(&token.confidence));
        }
    }

    #[test]
    fn hostile_rows_are_survived(values in prop::collection::vec(prop_oneof![
        Just(f32::NAN), Just(f32::INFINITY), Just(f32::NEG_INFINITY), Just(1e30_f32), Just(-1e30_f32), -20.0_f32..20.0], 70..350)) {
        for strategy in [Strategy::Ctc, with_lm(BeamOptions { tail: Frames(8), ..BeamOptions::default() })] {
            let decoder = identity(&PIECES, strategy);
            let mut state = decoder.new_state();
            for chunk in values.chunks(21) {
                step(&decoder, &mut state, chunk, false, false);
            }
            step(&decoder, &mut state, &[], false, true);
            state.reset();
            let clear = rows(7, &[&[(0, 0.9)], &[(6, 0.9)]]);
            prop_assert_eq!(ids(&step(&decoder, &mut state, &clear, false, true).fixed), [0]);
        }
    }
}

#[test]
fn streams_in_a_batch_do_not_meet() {
    for (oracle, decoder) in strategies("stream_hybrid").into_iter().chain(strategies("stream_prompt")) {
        let rows = oracle.rows();
        let width = decoder.width;
        // Stream `s` hears the audio from frame `s` on, in chunks of `s + 1` frames.
        let alone: Vec<Vec<Token>> = (0..5)
            .map(|s| {
                let mut state = decoder.new_state();
                rows[s * width..]
                    .chunks((s + 1) * width)
                    .take(15)
                    .flat_map(|chunk| step(&decoder, &mut state, chunk, false, false).fixed)
                    .collect()
            })
            .collect();
        let mut states: Vec<DecodeState> = (0..5).map(|_| decoder.new_state()).collect();
        let mut together: Vec<Vec<Token>> = vec![Vec::new(); 5];
        for round in 0..15 {
            let mut decoded = vec![Decoded::default(); 5];
            let mut work: Vec<DecodeInput<'_>> = states
                .iter_mut()
                .zip(&mut decoded)
                .enumerate()
                .map(|(s, (state, decoded))| {
                    let rows = rows[s * width..].chunks((s + 1) * width).nth(round).unwrap();
                    DecodeInput {
                        state,
                        rows,
                        commit: false,
                        end: false,
                        terms: None,
                        decoded,
                    }
                })
                .rev()
                .collect();
            decoder.advance(&mut work);
            together
                .iter_mut()
                .zip(decoded)
                .for_each(|(all, decoded)| all.extend(decoded.fixed));
        }
        assert_eq!(together, alone);
        assert!(alone[4].iter().any(|token| token.confidence > 0.0));
    }
}

#[test]
fn streams_beside_each_other_have_the_language_models_that_they_chose() {
    let sounds: [&[(usize, f32)]; 2] = [&[(0, 0.9)], &[(2, 0.5), (1, 0.4)]];
    let frames = rows(7, &sounds);
    let lm = Arc::new(NgramModel::from_arpa(ARPA.as_bytes()).unwrap());
    let pieces: Vec<String> = PIECES.iter().map(|&piece| piece.to_owned()).collect();
    let decoder = identity(&PIECES, Strategy::Ctc);
    assert_eq!(decoder.reads(), Reads::Best);
    let decoder = decoder.with_choices(&pieces, vec![(BeamOptions::default(), lm)]).unwrap();
    assert_eq!(decoder.reads(), Reads::LogProbs);
    // The last is no language model.
    let chosen = [None, Some(0), None, Some(1)];
    let mut states: Vec<DecodeState> = chosen.iter().map(|_| decoder.new_state()).collect();
    for round in 0..3 {
        let mut decoded = vec![Decoded::default(); chosen.len()];
        let inputs = states.iter_mut().zip(chosen).zip(&mut decoded);
        let mut work: Vec<DecodeInput<'_>> = inputs
            .map(|((state, lm), decoded)| {
                decoder.start(state, lm);
                DecodeInput {
                    state,
                    rows: &frames,
                    commit: false,
                    end: true,
                    terms: None,
                    decoded,
                }
            })
            .collect();
        decoder.advance(&mut work);
        let said: Vec<String> = decoded.iter().map(|decoded| text(&ids(&decoded.fixed))).collect();
        assert_eq!(said, [" ac", " ab", " ac", " ac"], "utterance {round}");
    }
    // A slot's next occupant may choose otherwise.
    let state = &mut states[1];
    decoder.start(state, None);
    assert_eq!(text(&ids(&step(&decoder, state, &frames, false, true).fixed)), " ac");
}

#[test]
fn reset_forgets_everything() {
    for (oracle, decoder) in strategies("stream_hybrid") {
        let rows = oracle.rows();
        let fresh = cut(&decoder, &mut decoder.new_state(), &rows, &[33], &[]);
        let mut state = decoder.new_state();
        step(&decoder, &mut state, &rows[decoder.width * 40..], false, false);
        state.reset();
        assert_eq!(cut(&decoder, &mut state, &rows, &[33], &[]), fresh);
    }
}

#[test]
fn an_open_run_waits_in_the_tail_and_a_commit_fixes_it_once() {
    let decoder = identity(&PIECES, Strategy::Ctc);
    let frames = rows(7, &[&[(0, 0.9)], &[(0, 0.8)], &[(0, 0.9)], &[(6, 0.9)]]);
    let mut state = decoder.new_state();
    let first = step(&decoder, &mut state, &frames[..14], false, false);
    assert!(first.fixed.is_empty());
    assert_eq!((ids(&first.tail), first.tail[0].end), (vec![0], Frames(2)));
    let second = step(&decoder, &mut state, &frames[14..21], true, false);
    assert_eq!(
        (ids(&second.fixed), second.fixed[0].start, second.fixed[0].end),
        (vec![0], Frames(0), Frames(3))
    );
    let third = step(&decoder, &mut state, &frames[14..], false, true);
    assert!(
        third.fixed.is_empty() && third.tail.is_empty(),
        "the run goes on over the commit, it is no new token"
    );
    assert_eq!(third.frames, Frames(5));
}

#[test]
fn end_of_utterance_tokens_become_marks() {
    let oracle = Oracle::load("stream_rnnt");
    let mut pieces = oracle.pieces.clone();
    assert_eq!((pieces[1].as_str(), pieces[2].as_str()), ("<EOU>", "<EOB>"));
    pieces.swap(1, 54);
    pieces.swap(2, 43);
    let decoder = Decoder::new(&oracle.arch, &oracle.weights, &pieces, Strategy::Transducer).unwrap();
    let decoded = step(&decoder, &mut decoder.new_state(), &oracle.rows(), false, true);
    let wanted = &oracle.expected["transducer"];
    let pairs: Vec<(u32, u32)> = numbers(&wanted["tokens"]).into_iter().zip(numbers(&wanted["timestamps"])).collect();
    let marks: Vec<u32> = pairs
        .iter()
        .filter(|(id, _)| [54, 43].contains(id))
        .map(|(_, frame)| *frame)
        .collect();
    assert!(!marks.is_empty());
    assert_eq!(decoded.utterance_ends.iter().map(|frame| frame.0).collect::<Vec<_>>(), marks);
    assert_eq!(decoded.fixed.len() + marks.len(), pairs.len());

    let pieces = ["\u{2581}a", "<EOU>"];
    for strategy in [Strategy::Ctc, Strategy::CtcBeam(BeamOptions::default(), None)] {
        let decoder = identity(&pieces, strategy);
        let frames = rows(3, &[&[(0, 0.9)], &[(2, 0.9)], &[(1, 0.9)], &[(2, 0.9)]]);
        let decoded = step(&decoder, &mut decoder.new_state(), &frames, false, true);
        assert_eq!((ids(&decoded.fixed), decoded.utterance_ends), (vec![0], vec![Frames(2)]));
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let hybrid = Oracle::load("stream_hybrid");
    let rnnt = Oracle::load("stream_rnnt");
    let ctc = Oracle::load("offline_ctc");
    let new = |oracle: &Oracle, strategy| {
        Decoder::new(&oracle.arch, &oracle.weights, &oracle.pieces, strategy)
            .err()
            .map(|error| error.to_string())
    };
    assert_eq!(new(&rnnt, Strategy::Ctc).unwrap(), "the checkpoint has no CTC head");
    assert_eq!(new(&ctc, Strategy::Transducer).unwrap(), "the checkpoint has no transducer head");
    for (options, part) in [
        (
            BeamOptions {
                width: 0,
                ..BeamOptions::default()
            },
            "width",
        ),
        (
            BeamOptions {
                tokens: 65,
                ..BeamOptions::default()
            },
            "tokens",
        ),
        (
            BeamOptions {
                tail: Frames(5),
                ..BeamOptions::default()
            },
            "tail",
        ),
        (
            BeamOptions {
                lm_weight: f32::NAN,
                ..BeamOptions::default()
            },
            "finite",
        ),
        (
            BeamOptions {
                margin: 0.0,
                ..BeamOptions::default()
            },
            "margin",
        ),
    ] {
        let error = new(&hybrid, Strategy::CtcBeam(options, None)).unwrap();
        assert!(error.contains(part), "{error}");
    }
    let few = Decoder::new(&hybrid.arch, &hybrid.weights, &hybrid.pieces[1..], Strategy::Ctc)
        .err()
        .unwrap();
    assert!(matches!(few, DecodeError::Pieces { found: 127, wanted: 128 }));
    let mut narrow = hybrid.arch.clone();
    narrow.encoder.width = 63;
    assert!(matches!(
        Decoder::new(&narrow, &hybrid.weights, &hybrid.pieces, Strategy::Ctc),
        Err(DecodeError::Weights(_))
    ));
    let mut slots = Oracle::load("stream_prompt");
    slots.arch.prompt.as_mut().unwrap().dictionary = BTreeMap::from([("de-DE".to_owned(), 99)]);
    let refused = Decoder::new(&slots.arch, &slots.weights, &slots.pieces, Strategy::Transducer);
    assert!(matches!(refused, Err(DecodeError::PromptSlot(_))));
}
