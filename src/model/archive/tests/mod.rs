#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic,
    reason = "a test"
)]

mod build;
mod hostile;
mod readers;
mod refused;

use std::collections::BTreeMap;
use std::fs;

use self::build::{MODELS, config, expected, fixture, gzip, members, pack, read_bytes};
use super::config::Config;
use super::{Published, filterbank, read, vocabulary};
use crate::model::arch::{Attention, ConvNorm, Normalize};

fn same(one: &Published, other: &Published) {
    assert_eq!(one.architecture, other.architecture);
    assert_eq!(one.tokenizer, other.tokenizer);
    assert!(one.weights.iter().eq(other.weights.iter()));
}

#[test]
fn every_fixture_has_the_tensors_of_its_state_dict() {
    for model in MODELS {
        let published = read(&fixture(model, "model.nemo")).unwrap();
        let expected = expected(model);
        let wanted: Vec<(&str, Vec<usize>)> = expected["state_dict"]
            .as_object()
            .unwrap()
            .iter()
            .filter(|(name, _)| !name.ends_with("num_batches_tracked"))
            .map(|(name, entry)| (name.as_str(), serde_json::from_value(entry[0].clone()).unwrap()))
            .collect();
        let mut found: Vec<(&str, Vec<usize>)> = published
            .weights
            .iter()
            .map(|(name, tensor)| (name, tensor.shape.clone()))
            .collect();
        let mut wanted = wanted;
        found.sort();
        wanted.sort();
        assert_eq!(found, wanted, "{model}");
        for (name, tensor) in published.weights.iter() {
            assert_eq!(tensor.data.len(), tensor.shape.iter().product::<usize>(), "{model} {name}");
        }
    }
}

#[test]
fn tensor_values_are_those_that_another_reader_finds() {
    // (model, tensor, place, value there, sum): from a reader written in Python.
    let known: [(&str, &str, usize, f32, f64); 14] = [
        (
            "stream_hybrid",
            "encoder.layers.1.self_attn.linear_q.weight",
            1365,
            0.092_390_6,
            -26.876_094_370_440_114,
        ),
        ("stream_hybrid", "preprocessor.featurizer.fb", 6853, 0.0, 2.558_260_781_399_44),
        (
            "stream_hybrid",
            "decoder.prediction.dec_rnn.lstm.weight_hh_l0",
            5461,
            -0.028_324_438,
            -12.053_938_166_294_756,
        ),
        (
            "stream_rnnt",
            "encoder.layers.1.self_attn.linear_q.weight",
            1365,
            -0.180_501_03,
            13.064_810_046_271_305,
        ),
        ("stream_rnnt", "preprocessor.featurizer.fb", 10965, 0.0, 4.090_487_653_877_062),
        (
            "stream_rnnt",
            "decoder.prediction.dec_rnn.lstm.weight_hh_l0",
            3072,
            -0.100_268_07,
            -17.156_503_271_335_17,
        ),
        ("stream_prompt", "prompt_kernel.2.bias", 13, -0.028_629_16, -0.845_161_774_894_222_6),
        (
            "stream_prompt",
            "encoder.pre_encode.conv.5.bias",
            5,
            -0.157_944_62,
            -1.038_291_251_286_864_3,
        ),
        (
            "offline_tdt",
            "encoder.layers.0.conv.batch_norm.running_var",
            16,
            0.985_370_4,
            50.800_804_555_416_11,
        ),
        (
            "offline_tdt",
            "decoder.prediction.dec_rnn.lstm.weight_hh_l0",
            2133,
            0.321_972_3,
            -5.713_347_440_807_411,
        ),
        (
            "offline_tdt",
            "encoder.pre_encode.conv.5.bias",
            8,
            0.127_432_3,
            0.224_772_016_037_604_77,
        ),
        (
            "offline_ctc",
            "decoder.decoder_layers.0.weight",
            1293,
            0.093_967_74,
            -9.674_417_354_777_688,
        ),
        (
            "offline_ctc",
            "encoder.layers.1.self_attn.linear_q.weight",
            533,
            0.174_490_84,
            -4.644_344_333_553_818,
        ),
        (
            "offline_ctc",
            "encoder.layers.0.conv.batch_norm.running_var",
            13,
            1.208_025,
            44.744_657_576_084_14,
        ),
    ];
    for (model, name, place, value, sum) in known {
        let published = read(&fixture(model, "model.nemo")).unwrap();
        let (_, tensor) = published.weights.iter().find(|(found, _)| *found == name).unwrap();
        assert!(
            (tensor.data[place] - value).abs() <= value.abs() * 1e-6,
            "{model} {name} {}",
            tensor.data[place]
        );
        let found: f64 = tensor.data.iter().map(|&value| f64::from(value)).sum();
        assert!((found - sum).abs() < 1e-9, "{model} {name} {found}");
    }
}

#[test]
fn architectures_are_those_of_the_configurations() {
    let [hybrid, rnnt, prompt, tdt, ctc] = MODELS.map(|model| read(&fixture(model, "model.nemo")).unwrap().architecture);
    assert_eq!((hybrid.frontend.mel_bins, hybrid.frontend.normalize), (80, Normalize::None));
    let encoder = &hybrid.encoder;
    assert_eq!(
        (encoder.layers, encoder.width, encoder.heads, encoder.subsampling_channels),
        (3, 64, 4, 32)
    );
    assert_eq!(
        (encoder.conv_kernel, encoder.conv_context, encoder.conv_norm),
        (9, [8, 0], ConvNorm::LayerNorm)
    );
    assert_eq!(
        (encoder.attention, encoder.scale_input, encoder.ff_expansion),
        (Attention::Chunked, true, 4)
    );
    assert_eq!(encoder.contexts, [[70, 13], [70, 6], [70, 1], [70, 0]]);
    assert!(encoder.streams() && hybrid.ctc && hybrid.vocabulary == 128 && hybrid.prompt.is_none());
    let transducer = hybrid.transducer.unwrap();
    assert_eq!(
        (
            transducer.prediction_width,
            transducer.prediction_layers,
            transducer.joint_width,
            transducer.max_symbols
        ),
        (64, 1, 64, 10)
    );
    assert!(transducer.durations.is_empty());

    assert!(!rnnt.ctc && !rnnt.encoder.scale_input && rnnt.encoder.streams());
    assert_eq!(rnnt.transducer.unwrap().prediction_layers, 2);

    let slots = prompt.prompt.unwrap();
    assert_eq!(
        (slots.slots, slots.dictionary["de-DE"], slots.default.as_deref()),
        (16, 3, Some("auto"))
    );
    assert_eq!(prompt.encoder.contexts[0], [56, 3]);

    assert_eq!((tdt.frontend.mel_bins, tdt.frontend.normalize), (128, Normalize::PerFeature));
    assert_eq!(
        (tdt.encoder.conv_context, tdt.encoder.conv_norm, tdt.encoder.attention),
        ([4, 4], ConvNorm::BatchNorm, Attention::Regular)
    );
    assert_eq!(
        (tdt.encoder.contexts.as_slice(), tdt.encoder.causal_subsampling),
        ([[-1, -1]].as_slice(), false)
    );
    assert_eq!(tdt.transducer.unwrap().durations, [0, 1, 2, 3, 4]);

    assert!(ctc.ctc && ctc.transducer.is_none() && ctc.encoder.scale_input && !ctc.encoder.streams());
    assert_eq!(ctc.vocabulary, 96);
}

#[test]
fn tokenizers_have_the_pieces_and_decode_the_samples() {
    for model in MODELS {
        let tokenizer = read(&fixture(model, "model.nemo")).unwrap().tokenizer;
        let expected = expected(model);
        let pieces: Vec<&str> = expected["tokenizer"]["pieces"]
            .as_array()
            .unwrap()
            .iter()
            .map(|piece| piece.as_str().unwrap())
            .collect();
        assert_eq!(tokenizer.len(), pieces.len());
        assert!((0..).zip(&pieces).all(|(id, piece)| tokenizer.piece(id) == Some(piece)), "{model}");
        let mut samples = 0;
        for sample in expected["tokenizer"]["samples"].as_array().unwrap() {
            let ids: Vec<u32> = serde_json::from_value(sample["ids"].clone()).unwrap();
            if let Some(text) = sample["text"].as_str() {
                assert_eq!(tokenizer.decode(&ids), text, "{model} {ids:?}");
                samples += 1;
            }
        }
        assert!(samples >= 10);
        // Whole transcripts as the reference implementation prints them, before it treats punctuation.
        let decoded = &expected["decode"]["ctc"];
        if let Some(text) = decoded["offline"]["text"].as_str() {
            let ids: Vec<u32> = serde_json::from_value(decoded["collapsed"].clone()).unwrap();
            assert_eq!(tokenizer.decode(&ids), text, "{model}");
        }
    }
    let tokenizer = read(&fixture("stream_rnnt", "model.nemo")).unwrap().tokenizer;
    assert_eq!((tokenizer.find("<EOU>"), tokenizer.find("<EOB>")), (Some(1), Some(2)));
    assert!(tokenizer.is_special(1) && tokenizer.is_special(2) && !tokenizer.is_special(0) && !tokenizer.is_special(3));
    assert!(tokenizer.starts_word(3) && !tokenizer.starts_word(6) && !tokenizer.starts_word(1));
}

#[test]
fn tar_with_plain_names_gzip_and_directory_read_the_same() {
    for model in ["stream_hybrid", "offline_tdt"] {
        let published = read(&fixture(model, "model.nemo")).unwrap();
        let members = members(model);
        same(&published, &read_bytes(&pack(&members)).unwrap());
        same(&published, &read_bytes(&gzip(&pack(&members))).unwrap());
        let directory = tempfile::tempdir().unwrap();
        for (name, bytes) in &members {
            fs::write(directory.path().join(name), bytes).unwrap();
        }
        same(&published, &read(directory.path()).unwrap());
    }
}

#[test]
fn a_nested_configuration_with_references_reads_the_same() {
    let published = read(&fixture("stream_hybrid", "model.nemo")).unwrap();
    let mut members = members("stream_hybrid");
    let text = config(&members)
        .replace("  feat_in: 80", "  feat_in: ${model.preprocessor.features}")
        .replace("  d_model: 64", "  d_model: ${model_defaults.enc_hidden}")
        .replace(
            "    pred_hidden: 64\n    pred_rnn_layers",
            "    pred_hidden: ${model.model_defaults.pred_hidden}\n    pred_rnn_layers",
        )
        .replace(
            "    joint_hidden: 64\n    activation",
            "    joint_hidden: ${..jointnet.pred_hidden}\n    activation",
        )
        .replace("  n_heads: 4", "  n_heads: ${.ff_expansion_factor}")
        .replace(
            "  num_classes: 128\n  vocabulary:",
            "  num_classes: ${decoder.vocab_size}\n  vocabulary:",
        );
    assert_eq!(text.matches("${").count(), 6);
    let nested = format!("model:\n{}", text.lines().map(|line| format!("  {line}\n")).collect::<String>());
    for text in [text.replace("${model.", "${"), text, nested] {
        members.insert("model_config.yaml".into(), text.into_bytes());
        same(&published, &read_bytes(&pack(&members)).unwrap());
    }
}

#[test]
fn a_missing_front_end_is_computed_as_the_stored_one() {
    for (model, bins) in [("stream_hybrid", 80), ("stream_rnnt", 128)] {
        let published = read(&fixture(model, "model.nemo")).unwrap();
        let stored = published.weights.get("preprocessor.featurizer.fb", &[1, bins, 257]).unwrap();
        let made = filterbank::filters(bins);
        assert_eq!(made.shape, [1, bins, 257]);
        assert!(
            stored.iter().zip(&made.data).all(|(one, other)| (one - other).abs() <= 1e-7),
            "{model}"
        );
        let stored = published.weights.get("preprocessor.featurizer.window", &[400]).unwrap();
        assert!(
            stored
                .iter()
                .zip(&filterbank::window().data)
                .all(|(one, other)| (one - other).abs() <= 1e-6),
            "{model}"
        );
    }
}

#[test]
fn aggregates_join_their_vocabularies() {
    let files = members("offline_ctc");
    let name = files.keys().find(|name| name.ends_with("tokenizer.model")).unwrap();
    let one = format!("type: bpe, model_path: 'nemo:{name}'");
    let config = Config::parse(&format!("tokenizer: {{type: agg, langs: {{en: {{{one}}}, es: {{{one}}}}}}}")).unwrap();
    let tokenizer = vocabulary::read(&config, &files).unwrap();
    assert_eq!(tokenizer.len(), 192);
    assert_eq!(
        [0, 95, 96, 191, 192].map(|id| tokenizer.language(id)),
        [Some("en"), Some("en"), Some("es"), Some("es"), None]
    );
    assert_eq!(tokenizer.piece(97), tokenizer.piece(1));
    assert_eq!(tokenizer.decode(&[97, 2, 96]), "different number \u{2047} ");
}

#[test]
fn word_pieces_are_read_from_their_list() {
    let files = BTreeMap::from([("ab_vocab.txt".to_owned(), b"[PAD]\n[UNK]\nhello\n##s\nworld\n".to_vec())]);
    let config = Config::parse("tokenizer: {type: wpe, vocab_path: 'nemo:ab_vocab.txt'}").unwrap();
    let tokenizer = vocabulary::read(&config, &files).unwrap();
    assert_eq!(tokenizer.decode(&[0, 2, 3, 4, 1]), "hellos world");
    assert!(tokenizer.starts_word(2) && !tokenizer.starts_word(3) && tokenizer.is_special(0));
}
