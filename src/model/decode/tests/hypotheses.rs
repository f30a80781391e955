//! The transducer's beam search: greedy at a width of one, exact sums where it is wide, language model, terms, bounds.

use std::collections::{HashMap, HashSet};

use proptest::prelude::{ProptestConfig, prop, prop_assert_eq, proptest};

use super::beam::wide;
use super::*;
use crate::model::decode::transducer::{Prediction, Scores};
use crate::ops::log_softmax::log_softmax;

/// Values between -1 and 1.
fn noise(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    }
}

/// A small network of random weights over `pieces` of [`PIECES`], whose encoder frames have four values.
struct Random {
    arch: Architecture,
    weights: Weights,
    pieces: Vec<String>,
}

impl Random {
    fn new(pieces: usize, max_symbols: usize, durations: &[u32], seed: u64) -> Self {
        let (width, p, j) = (4, 3, 6);
        let sizes = Sizes {
            prediction_width: p,
            prediction_layers: 1,
            joint_width: j,
            max_symbols,
            durations: durations.to_vec(),
        };
        let mut value = noise(seed);
        let mut weights = Weights::default();
        let mut put = |name: &str, shape: &[usize], scale: f32| {
            let data = (0..shape.iter().product()).map(|_| scale * value()).collect();
            let shape = shape.to_vec();
            weights.insert(name, Tensor { shape, data });
        };
        put("joint.enc.weight", &[j, width], 2.0);
        put("joint.pred.weight", &[j, p], 2.0);
        put("joint.joint_net.2.weight", &[pieces + 1 + durations.len(), j], 1.5);
        put("decoder.prediction.embed.weight", &[pieces + 1, p], 2.0);
        for part in ["weight_ih", "weight_hh"] {
            put(&format!("decoder.prediction.dec_rnn.lstm.{part}_l0"), &[4 * p, p], 1.5);
        }
        for part in ["bias_ih", "bias_hh"] {
            put(&format!("decoder.prediction.dec_rnn.lstm.{part}_l0"), &[4 * p], 1.5);
        }
        Random {
            arch: architecture(width, pieces, false, Some(sizes)),
            weights,
            pieces: PIECES[..pieces].iter().map(|&piece| piece.to_owned()).collect(),
        }
    }

    fn decoder(&self, strategy: Strategy) -> Decoder {
        Decoder::new(&self.arch, &self.weights, &self.pieces, strategy).unwrap()
    }

    fn network(&self) -> Transducer {
        Transducer::new(&self.arch, &self.weights).unwrap().unwrap()
    }

    fn rows(&self, frames: usize, seed: u64) -> Vec<f32> {
        let mut value = noise(seed ^ 0x5555);
        (0..frames * self.arch.encoder.width).map(|_| 2.0 * value()).collect()
    }
}

fn narrow() -> BeamOptions {
    BeamOptions {
        width: 1,
        ..BeamOptions::transducer()
    }
}

#[test]
fn a_width_of_one_is_the_greedy_search_of_published_models() {
    for model in ["stream_hybrid", "stream_rnnt", "stream_prompt", "offline_tdt"] {
        let oracle = Oracle::load(model);
        let heard = |strategy| {
            let decoder = oracle.decoder(strategy);
            let mut state = decoder.new_state();
            decoder.set_locale(&mut state, oracle.locale().as_deref()).unwrap();
            cut(&decoder, &mut state, &oracle.rows(), &[7, 20, 21], &[33])
        };
        let greedy = heard(Strategy::Transducer);
        assert!(!greedy.fixed.is_empty());
        assert_eq!(heard(Strategy::TransducerBeam(narrow(), None)), greedy, "{model}");
    }
}

/// Adds the probability of every alignment to that of its tokens.
fn enumerate(network: &Transducer, rows: &[f32], from: (usize, &[u32], &Prediction, f64), sums: &mut HashMap<Vec<u32>, f64>) {
    let (symbols, tokens, prediction, score) = from;
    let Some((row, rest)) = rows.split_at_checked(network.joint_width()) else {
        *sums.entry(tokens.to_vec()).or_insert(0.0) += score.exp();
        return;
    };
    let mut scores = Scores::default();
    network.joint(std::iter::once((row, prediction)), &mut scores);
    log_softmax(&mut scores.logits);
    let after = |id: usize| score + f64::from(scores.logits[id]);
    enumerate(network, rest, (0, tokens, prediction, after(network.vocabulary)), sums);
    for id in 0..network.vocabulary {
        let mut next = prediction.clone();
        network.predict(&mut [(id, &mut next)]);
        let longer = [tokens, &[id as u32]].concat();
        let full = network.step(false, symbols + 1, None) > 0;
        let (rows, symbols) = if full { (rest, 0) } else { (rows, symbols + 1) };
        enumerate(network, rows, (symbols, &longer, &next, after(id)), sums);
    }
}

#[test]
fn a_beam_wide_enough_sums_all_alignments() {
    for (pieces, frames, symbols, seed) in [(2, 3, 2, 1), (3, 3, 1, 2), (1, 4, 3, 3), (2, 2, 3, 4), (2, 3, 2, 5)] {
        let model = Random::new(pieces, symbols, &[], seed);
        let network = Arc::new(model.network());
        let projected = network.project(&model.rows(frames, seed));
        let mut wanted = HashMap::new();
        let start = network.resume(&mut TransducerState::default());
        enumerate(&network, &projected, (0, &[], &start, 0.0), &mut wanted);
        assert!((wanted.values().sum::<f64>() - 1.0).abs() < 1e-5, "all there is");

        let beam = TransducerBeam::new(wide(), None, &model.pieces, Arc::clone(&network));
        let mut state = beam.begin(TransducerState::default(), 0);
        let mut fixed = Vec::new();
        for row in projected.chunks_exact(network.joint_width()) {
            beam.push(&mut state, row, Confidence::MaxProb, None, &mut fixed);
        }
        assert!(fixed.is_empty(), "nothing is agreed on while silence is possible");
        let got: HashMap<Vec<u32>, f64> = state.acoustic().into_iter().collect();
        assert_eq!(got.len(), wanted.len());
        for (tokens, sum) in &wanted {
            assert!(
                (got[tokens] - sum.ln()).abs() < 1e-9,
                "{tokens:?}: {} not {}",
                got[tokens],
                sum.ln()
            );
        }
        beam.commit(&mut state, true, None, &mut fixed);
        let best = wanted.iter().max_by(|a, b| a.1.total_cmp(b.1)).unwrap();
        assert_eq!(&ids(&fixed), best.0);
    }
}

#[test]
fn the_language_model_decides_between_words_that_sound_alike() {
    let sounds: [&[(usize, f32)]; 6] = [
        &[(0, 0.9)],
        &[(2, 0.5), (1, 0.4)],
        &[(6, 0.9)],
        &[(3, 0.9)],
        &[(0, 0.9)],
        &[(2, 0.5), (1, 0.4)],
    ];
    let options = BeamOptions {
        lm_weight: 0.8,
        ..BeamOptions::transducer()
    };
    let lm = Arc::new(NgramModel::from_arpa(ARPA.as_bytes()).unwrap());
    let with_lm = Strategy::TransducerBeam(options.clone(), Some(Arc::clone(&lm)));
    let pieces: Vec<String> = PIECES.iter().map(|&piece| piece.to_owned()).collect();
    let choosing = memoryless(Strategy::Transducer).with_choices(&pieces, vec![(options, lm)]).unwrap();
    for (decoder, choice, wanted) in [
        (&memoryless(Strategy::Transducer), None, " ac b ac"),
        (&memoryless(with_lm), None, " ab b ac"),
        (&choosing, None, " ac b ac"),
        (&choosing, Some(0), " ab b ac"),
        (&choosing, Some(1), " ac b ac"),
    ] {
        let mut state = decoder.new_state();
        decoder.start(&mut state, choice);
        let decoded = step(decoder, &mut state, &loud(&rows(7, &sounds)), false, true);
        assert_eq!(text(&ids(&decoded.fixed)), wanted, "{choice:?}");
    }
}

#[test]
fn terms_come_and_go_in_the_middle_of_an_utterance() {
    let part = loud(&rows(7, &[&[(0, 0.9)], &[(2, 0.62), (1, 0.36)], &[(6, 0.99)], &[(6, 0.99)]]));
    let terms = |term: &str| Terms::new([(term, 1.0)]).map(Arc::new);
    let decoder = memoryless(Strategy::Transducer);
    let mut state = decoder.new_state();
    let mut said = String::new();
    for list in [None, terms("ab"), None, terms("aa"), terms("ab"), None] {
        said += &text(&ids(&favoured(&decoder, &mut state, list.as_ref(), &part, true, false).fixed));
    }
    assert_eq!(said, " ac ab ac ac ab ac");
    // Without a commit, what was not fixed comes out when the terms go, without their bonus.
    let first = favoured(&decoder, &mut state, terms("ab").as_ref(), &part[..14], false, false);
    let rest = favoured(&decoder, &mut state, None, &part[14..], false, true);
    let with = |more: &[Token]| text(&ids(&[first.fixed.as_slice(), more].concat()));
    assert_eq!((with(&first.tail).as_str(), with(&rest.fixed).as_str()), (" ab", " ac"));
    assert_eq!(rest.frames, Frames(28));
    state.reset();
    assert_eq!(
        step(&decoder, &mut state, &part, false, true),
        step(&decoder, &mut decoder.new_state(), &part, false, true)
    );
}

#[test]
fn what_waits_to_be_fixed_is_bounded() {
    let lm = Arc::new(NgramModel::from_arpa(ARPA.as_bytes()).unwrap());
    let options = BeamOptions {
        tail: Frames(12),
        ..BeamOptions::transducer()
    };
    for (durations, seed) in [(vec![], 1), (vec![], 2), (vec![0, 1, 2, 3], 3), (vec![1, 4], 4)] {
        let model = Random::new(6, 3, &durations, seed);
        let network = Arc::new(model.network());
        let beam = TransducerBeam::new(options.clone(), Some(Arc::clone(&lm)), &model.pieces, Arc::clone(&network));
        let mut state = beam.begin(TransducerState::default(), 0);
        let mut fixed = Vec::new();
        for (frame, row) in (1_u32..).zip(network.project(&model.rows(600, seed)).chunks_exact(network.joint_width())) {
            beam.push(&mut state, row, Confidence::Entropy, None, &mut fixed);
            let hypotheses = state.acoustic();
            assert!((1..=options.width).contains(&hypotheses.len()));
            assert!(
                state.oldest().is_none_or(|oldest| frame - oldest < 12),
                "frame {frame}: {:?}",
                state.oldest()
            );
            let different: HashSet<&Vec<u32>> = hypotheses.iter().map(|(tokens, _)| tokens).collect();
            assert!(
                different.len() == hypotheses.len() || !durations.is_empty(),
                "the same tokens are one"
            );
            assert!(different.iter().all(|tokens| tokens.len() <= 12 * 3));
        }
        beam.commit(&mut state, true, None, &mut fixed);
        assert!(fixed.iter().map(|token| token.start.0).is_sorted(), "{fixed:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_width_of_one_is_the_greedy_search(seed in 0_u64..100_000, cuts in prop::collection::vec(0_usize..40, 0..5)) {
        for durations in [&[][..], &[0, 1, 2, 3, 4], &[1, 2]] {
            let model = Random::new(5, 3, durations, seed);
            let rows = model.rows(40, seed);
            let heard = |strategy| {
                let decoder = model.decoder(strategy);
                cut(&decoder, &mut decoder.new_state(), &rows, &cuts, &[17])
            };
            prop_assert_eq!(heard(Strategy::TransducerBeam(narrow(), None)), heard(Strategy::Transducer));
        }
    }

    #[test]
    fn cuts_change_nothing_in_a_transducer_beam_that_must_force(seed in 0_u64..100_000, cuts in prop::collection::vec(0_usize..120, 0..30)) {
        let lm = Arc::new(NgramModel::from_arpa(ARPA.as_bytes()).unwrap());
        let options = BeamOptions { tail: Frames(10), ..BeamOptions::transducer() };
        for durations in [&[][..], &[0, 1, 2, 3, 4]] {
            let model = Random::new(6, 3, durations, seed);
            let decoder = model.decoder(Strategy::TransducerBeam(options.clone(), Some(Arc::clone(&lm))));
            let rows = model.rows(120, seed);
            let whole = cut(&decoder, &mut decoder.new_state(), &rows, &[], &[50]);
            prop_assert_eq!(cut(&decoder, &mut decoder.new_state(), &rows, &cuts, &[50]), whole);
        }
    }
}
