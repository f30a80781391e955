//! The fixtures of a reference implementation: log-probabilities, tokens, frames, durations, confidences.

use super::*;

#[test]
fn transducers_equal_the_reference() {
    for model in ["stream_hybrid", "stream_rnnt", "stream_prompt", "offline_tdt"] {
        let oracle = Oracle::load(model);
        let wanted = &oracle.expected["transducer"];
        let plain = oracle
            .decoder(Strategy::Transducer)
            .plain(&oracle.rows(), oracle.locale().as_deref())
            .unwrap();
        assert_eq!(plain.rnnt_ids, numbers(&wanted["tokens"]), "{model}");
        assert_eq!(plain.rnnt_frames, numbers(&wanted["timestamps"]), "{model}");
        assert_eq!(plain.tdt_durations, numbers(&wanted["durations"]), "{model}");
    }
}

#[test]
fn ctc_equals_the_reference() {
    for model in ["stream_hybrid", "offline_ctc"] {
        let oracle = Oracle::load(model);
        let plain = oracle.decoder(Strategy::Ctc).plain(&oracle.rows(), None).unwrap();
        let wanted = oracle.tensor("decode.safetensors", "ctc_log_probs");
        assert_eq!(plain.ctc_log_probs.len(), wanted.len());
        let worst = plain
            .ctc_log_probs
            .iter()
            .zip(&wanted)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        assert!(worst < 2e-4, "{model}: {worst}");
        assert_eq!(plain.ctc_ids, numbers(&oracle.expected["ctc"]["collapsed"]), "{model}");
        assert_eq!(
            plain.ctc_frames,
            numbers(&oracle.expected["ctc"]["first_frame"])[..plain.ctc_ids.len()],
            "{model}"
        );
    }
}

#[test]
fn the_prompt_equals_the_reference() {
    let oracle = Oracle::load("stream_prompt");
    let kernel = PromptKernel::new(&oracle.arch, &oracle.weights).unwrap().unwrap();
    let mut rows = oracle.rows();
    let count = rows.len() / oracle.arch.encoder.width;
    kernel.apply(&mut rows, &vec![Some(kernel.slot(&oracle.locale().unwrap()).unwrap()); count]);
    let wanted = oracle.tensor("decode.safetensors", "prompted_encoder");
    let worst = rows.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(rows.len() == wanted.len() && worst < 1e-4, "{worst}");

    let decoder = oracle.decoder(Strategy::Transducer);
    assert!(matches!(
        decoder.set_locale(&mut decoder.new_state(), Some("xx-XX")),
        Err(DecodeError::UnknownLocale(_))
    ));
}

#[test]
fn streamed_transducers_equal_the_reference_at_every_context() {
    let mut marked = 0;
    for model in ["stream_hybrid", "stream_rnnt", "stream_prompt"] {
        let oracle = Oracle::load(model);
        let decoder = oracle.decoder(Strategy::Transducer);
        for &[left, right] in &oracle.arch.encoder.contexts {
            let wanted = &oracle.expected["transducer_stream"][format!("att_{left}_{right}")];
            let rows = oracle.tensor("stream.safetensors", &format!("att_{left}_{right}/encoder"));
            let mut state = decoder.new_state();
            decoder.set_locale(&mut state, oracle.locale().as_deref()).unwrap();
            let (mut fixed, mut ends, mut counts) = (Vec::new(), Vec::new(), Vec::new());
            for chunk in rows.chunks((right as usize + 1) * decoder.width) {
                let decoded = step(&decoder, &mut state, chunk, false, false);
                fixed.extend(decoded.fixed);
                ends.extend(decoded.utterance_ends.iter().map(|frame| frame.0));
                counts.push((fixed.len() + ends.len()) as u32);
            }
            // One of the models has end-of-utterance tokens, and emits one at its context without look-ahead.
            let pairs: Vec<(u32, u32)> = numbers(&wanted["tokens"]).into_iter().zip(numbers(&wanted["timestamps"])).collect();
            let (marks, words): (Vec<_>, Vec<_>) = pairs.into_iter().partition(|(id, _)| decoder.marks_end(*id));
            let got: Vec<(u32, u32)> = ids(&fixed).into_iter().zip(starts(&fixed)).collect();
            assert_eq!(got, words, "{model} {right}");
            assert_eq!(ends, marks.iter().map(|(_, frame)| *frame).collect::<Vec<_>>(), "{model} {right}");
            assert_eq!(counts, numbers(&wanted["count_after_each_step"]), "{model} {right}");
            marked += ends.len();
        }
    }
    assert!(marked > 0);
}

#[test]
fn confidences_equal_the_reference() {
    let close = |got: &[Token], wanted: &[f32], what: &str| {
        assert_eq!(got.len(), wanted.len(), "{what}");
        for (token, &wanted) in got.iter().zip(wanted) {
            assert!(
                (token.confidence - wanted).abs() <= 1e-5 + 2e-3 * wanted,
                "{what}: {} not {wanted}",
                token.confidence
            );
            assert!(
                (token.confidence / wanted - 1.0).abs() < 0.02,
                "{what}: {} not {wanted}",
                token.confidence
            );
        }
    };
    for model in ["stream_hybrid", "stream_rnnt", "stream_prompt", "offline_tdt"] {
        let oracle = Oracle::load(model);
        let wanted = &oracle.expected["transducer"];
        for (method, wanted) in [
            (Confidence::Entropy, &wanted["offline"]["token_confidence"]),
            (Confidence::MaxProb, &wanted["token_confidence_max_prob"]),
        ] {
            let decoder = oracle.decoder(Strategy::Transducer).with_confidence(method);
            let mut state = decoder.new_state();
            decoder.set_locale(&mut state, oracle.locale().as_deref()).unwrap();
            close(
                &step(&decoder, &mut state, &oracle.rows(), false, true).fixed,
                &floats(wanted),
                model,
            );
        }
    }
    for model in ["stream_hybrid", "offline_ctc"] {
        let oracle = Oracle::load(model);
        let decoder = oracle.decoder(Strategy::Ctc);
        let decoded = step(&decoder, &mut decoder.new_state(), &oracle.rows(), false, true);
        close(
            &decoded.fixed,
            &floats(&oracle.expected["ctc"]["offline"]["token_confidence"]),
            model,
        );
    }
}

#[test]
fn tdt_tokens_last_as_long_as_predicted() {
    let oracle = Oracle::load("offline_tdt");
    let decoder = oracle.decoder(Strategy::Transducer);
    let fixed = step(&decoder, &mut decoder.new_state(), &oracle.rows(), false, true).fixed;
    let lengths: Vec<u32> = fixed.iter().map(|token| token.end.0 - token.start.0).collect();
    assert_eq!(lengths, numbers(&oracle.expected["transducer"]["durations"]));
}
