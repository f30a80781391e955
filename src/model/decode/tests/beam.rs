//! The beam search: exact sums, the language model's part, fixing and bounds.

use std::collections::HashMap;

use super::*;

/// ln probability of every label sequence, by enumeration of all alignments.
pub(super) fn enumerate(rows: &[f32], width: usize) -> HashMap<Vec<u32>, f64> {
    let frames = rows.len() / width;
    let mut sums: HashMap<Vec<u32>, f64> = HashMap::new();
    for code in 0..width.pow(frames as u32) {
        let (mut rest, mut score, mut last, mut labels) = (code, 0.0, width, Vec::new());
        for row in rows.chunks_exact(width) {
            let token = rest % width;
            rest /= width;
            score += f64::from(row[token]);
            if token != last && token != width - 1 {
                labels.push(token as u32);
            }
            last = token;
        }
        *sums.entry(labels).or_insert(0.0) += score.exp();
    }
    sums.into_iter().map(|(labels, sum)| (labels, sum.ln())).collect()
}

pub(super) fn normalized(rows: &mut [f32], width: usize) {
    rows.chunks_exact_mut(width).for_each(crate::ops::log_softmax::log_softmax);
}

pub(super) fn wide() -> BeamOptions {
    BeamOptions {
        width: 1000,
        token_floor: -1e6,
        tokens: 64,
        margin: 1e6,
        ..BeamOptions::default()
    }
}

#[test]
fn a_beam_wide_enough_sums_all_alignments() {
    for (width, frames, seed) in [(3, 6, 1), (4, 5, 2), (3, 6, 3), (2, 8, 4)] {
        let pieces: Vec<String> = PIECES[..width - 1].iter().map(|&piece| piece.to_owned()).collect();
        let mut rows = peaky(width, frames, seed);
        normalized(&mut rows, width);
        let beam = Beam::new(wide(), None, &pieces);
        let mut state = beam.new_state();
        for row in rows.chunks_exact(width) {
            beam.push(&mut state, row, Confidence::MaxProb, None, &mut Vec::new());
        }
        let wanted = enumerate(&rows, width);
        let got: HashMap<Vec<u32>, f64> = state.acoustic().into_iter().collect();
        assert_eq!(got.len(), wanted.len());
        for (labels, score) in &wanted {
            assert!((got[labels] - score).abs() < 1e-9, "{labels:?}: {} not {score}", got[labels]);
        }
        let best = wanted.iter().max_by(|a, b| a.1.total_cmp(b.1)).unwrap();
        assert_eq!(&state.acoustic()[0].0, best.0);
    }
}

#[test]
fn a_beam_of_one_keeps_the_best_prefix_of_each_frame() {
    let (width, seeds) = (4, 0..50);
    for seed in seeds {
        let pieces: Vec<String> = PIECES[..width - 1].iter().map(|&piece| piece.to_owned()).collect();
        let mut rows = peaky(width, 6, seed);
        normalized(&mut rows, width);
        let beam = Beam::new(BeamOptions { width: 1, ..wide() }, None, &pieces);
        let mut state = beam.new_state();
        // The same by hand: one prefix, extended or kept.
        let (mut labels, mut blank, mut label) = (Vec::<u32>::new(), 1.0_f64, 0.0_f64);
        let mut fixed = Vec::new();
        for row in rows.chunks_exact(width) {
            beam.push(&mut state, row, Confidence::MaxProb, None, &mut fixed);
            let p = |token: usize| f64::from(row[token]).exp();
            let last = labels.last().copied();
            let stay = ((blank + label) * p(width - 1), last.map_or(0.0, |last| label * p(last as usize)));
            let grown =
                (0..width as u32 - 1).map(|token| (if Some(token) == last { blank } else { blank + label } * p(token as usize), token));
            let best = grown.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
            if best.0 > stay.0 + stay.1 {
                labels.push(best.1);
                (blank, label) = (0.0, best.0);
            } else {
                (blank, label) = stay;
            }
        }
        beam.commit(&mut state, true, None, &mut fixed);
        assert_eq!(ids(&fixed), labels, "seed {seed}");
    }
}

fn best_words(strategy: Strategy, frames: &[&[(usize, f32)]]) -> String {
    let decoder = identity(&PIECES, strategy);
    let decoded = step(&decoder, &mut decoder.new_state(), &rows(PIECES.len() + 1, frames), false, true);
    ids(&decoded.fixed)
        .iter()
        .map(|&id| PIECES[id as usize])
        .collect::<String>()
        .replace('\u{2581}', " ")
        .trim()
        .to_owned()
}

#[test]
fn the_language_model_decides_between_words_that_sound_alike() {
    // "ab" or "ac": the sounds prefer "ac", the model prefers "ab" after the start and "ac" after "b".
    let sounds: [&[(usize, f32)]; 6] = [
        &[(0, 0.9)],
        &[(2, 0.5), (1, 0.4)],
        &[(6, 0.9)],
        &[(3, 0.9)],
        &[(0, 0.9)],
        &[(2, 0.5), (1, 0.4)],
    ];
    assert_eq!(best_words(Strategy::CtcBeam(BeamOptions::default(), None), &sounds), "ac b ac");
    assert_eq!(
        best_words(
            with_lm(BeamOptions {
                lm_weight: 0.8,
                ..BeamOptions::default()
            }),
            &sounds
        ),
        "ab b ac"
    );
}

#[test]
fn unknown_words_are_possible_but_cost() {
    // "ba" is no word of the model, "b a" are two.
    let unclear: [&[(usize, f32)]; 2] = [&[(3, 0.9)], &[(5, 0.55), (0, 0.35)]];
    assert_eq!(
        best_words(
            with_lm(BeamOptions {
                unknown_penalty: 0.0,
                ..BeamOptions::default()
            }),
            &unclear
        ),
        "ba"
    );
    assert_eq!(best_words(with_lm(BeamOptions::default()), &unclear), "b a");
    let clear: [&[(usize, f32)]; 2] = [&[(3, 0.9999)], &[(5, 0.99999)]];
    assert_eq!(best_words(with_lm(BeamOptions::default()), &clear), "ba");
}

#[test]
fn context_is_kept_over_a_commit() {
    let decoder = identity(&PIECES, with_lm(BeamOptions::default()));
    let after = rows(7, &[&[(0, 0.9)], &[(2, 0.47), (1, 0.47)]]);
    let ends_with = |before: &[&[(usize, f32)]]| {
        let mut state = decoder.new_state();
        let first = step(&decoder, &mut state, &rows(7, before), true, false);
        assert!(first.tail.is_empty());
        let last = ids(&step(&decoder, &mut state, &after, false, true).fixed).last().copied();
        PIECES[last.unwrap() as usize]
    };
    assert_eq!(ends_with(&[&[(3, 0.9)], &[(6, 0.9)]]), "c", "the model knows 'b ac'");
    assert_eq!(ends_with(&[&[(6, 0.9)], &[(6, 0.9)]]), "b", "the model knows 'ab' at the start");
}

#[test]
fn agreed_tokens_are_fixed_early_and_the_beam_stays_bounded() {
    let pieces: Vec<String> = PIECES.iter().map(|&piece| piece.to_owned()).collect();
    let lm = Arc::new(NgramModel::from_arpa(ARPA.as_bytes()).unwrap());
    let options = BeamOptions {
        width: 20,
        tail: Frames(30),
        ..BeamOptions::default()
    };
    let beam = Beam::new(options.clone(), Some(lm), &pieces);
    let mut state = beam.new_state();
    let mut rows = peaky(7, 5_000, 9);
    normalized(&mut rows, 7);
    let (mut fixed, mut early) = (Vec::new(), 0);
    for (frame, row) in rows.chunks_exact(7).enumerate() {
        let before = fixed.len();
        beam.push(&mut state, row, Confidence::Entropy, None, &mut fixed);
        early += fixed[before..].iter().filter(|token| frame as u32 - token.end.0 < 10).count();
        let mut tail = Vec::new();
        beam.tail(&state, &mut tail);
        assert!(
            state.nodes() <= options.width * 2 * options.tail.0 as usize + 1,
            "{} nodes",
            state.nodes()
        );
        let oldest = tail.first().map_or(frame as u32, |token| token.start.0);
        assert!(
            frame as u32 - oldest <= options.tail.0,
            "frame {frame}: the tail begins at {oldest}"
        );
    }
    assert!(fixed.len() > 500 && early > 20, "{} fixed, {early} early", fixed.len());
}

#[test]
fn without_rivals_beam_and_greedy_agree_in_times_and_confidence() {
    let frames: [&[(usize, f32)]; 8] = [
        &[(6, 0.99)],
        &[(0, 0.98)],
        &[(0, 0.97)],
        &[(6, 0.99)],
        &[(1, 0.99)],
        &[(6, 0.98)],
        &[(1, 0.99)],
        &[(6, 0.99)],
    ];
    let frames = rows(7, &frames);
    let greedy = identity(&PIECES, Strategy::Ctc);
    let beam = identity(&PIECES, Strategy::CtcBeam(BeamOptions::default(), None));
    let wanted = step(&greedy, &mut greedy.new_state(), &frames, false, true).fixed;
    assert_eq!(step(&beam, &mut beam.new_state(), &frames, false, true).fixed, wanted);
    assert_eq!(ids(&wanted), [0, 1, 1]);
}
