//! `hark models dump` against the reference implementation's numbers, for every published architecture, at every context,
//! the whole file at once and chunk by chunk.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic,
    reason = "a test"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use hark::cli::models::{DumpOptions, dump};
use hark::model::decode::{Decoder, Strategy};
use hark::model::store::{self, Model};
use safetensors::SafeTensors;
use serde_json::Value;

/// Largest differences accepted: f32 against f32 of another implementation.
const MEL: f32 = 5e-3;
const ENCODER: f32 = 2e-4;
const SUBSAMPLED: f32 = 5e-4;
const LOG_PROBS: f32 = 2e-4;

/// Shape and values of a tensor; integers as f32, which holds them exactly.
type Tensor = (Vec<usize>, Vec<f32>);

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/oracle")
}

fn tensors(path: &Path) -> BTreeMap<String, Tensor> {
    let bytes = fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    tensors
        .iter()
        .filter(|(_, tensor)| tensor.dtype() != safetensors::Dtype::I64)
        .map(|(name, tensor)| {
            let integers = tensor.dtype() == safetensors::Dtype::I32;
            let value = |bytes: &[u8; 4]| {
                if integers {
                    i32::from_le_bytes(*bytes) as f32
                } else {
                    f32::from_le_bytes(*bytes)
                }
            };
            (
                name.to_owned(),
                (tensor.shape().to_vec(), tensor.data().as_chunks().0.iter().map(value).collect()),
            )
        })
        .collect()
}

/// One model with the reference's numbers.
struct Case {
    name: &'static str,
    model: Model,
    expected: Value,
    features: BTreeMap<String, Tensor>,
    encoder: BTreeMap<String, Tensor>,
    stream: BTreeMap<String, Tensor>,
    decode: BTreeMap<String, Tensor>,
}

fn case(name: &'static str) -> Case {
    let folder = fixtures().join(name);
    let stream = folder.join("stream.safetensors");
    Case {
        name,
        model: store::resolve(Path::new("nowhere"), folder.join("model.nemo").to_str().unwrap()).unwrap(),
        expected: serde_json::from_slice(&fs::read(folder.join("expected.json")).unwrap()).unwrap(),
        features: tensors(&folder.join("features.safetensors")),
        encoder: tensors(&folder.join("encoder.safetensors")),
        stream: if stream.exists() { tensors(&stream) } else { BTreeMap::new() },
        decode: tensors(&folder.join("decode.safetensors")),
    }
}

impl Case {
    fn run(&self, context: Option<[i32; 2]>, offline: bool, language: Option<&str>) -> BTreeMap<String, Tensor> {
        let out = tempfile::tempdir().unwrap();
        let file = out.path().join("dump.safetensors");
        let options = DumpOptions {
            context,
            offline,
            language: language.map(str::to_owned),
        };
        let written = dump(&self.model, &fixtures().join("audio_a.wav"), &file, &options).unwrap();
        let found = tensors(&file);
        for (name, shape) in written {
            assert_eq!(found[name].0, shape, "{} {name}", self.name);
        }
        found
    }

    fn near(&self, what: &str, (found_shape, found): &Tensor, (shape, wanted): &Tensor, limit: f32) {
        assert_eq!(found_shape, shape, "{} {what}", self.name);
        let worst = found.iter().zip(wanted).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max);
        assert!(worst <= limit, "{} {what}: largest difference {worst}, limit {limit}", self.name);
        println!("{} {what}: {worst:e}", self.name);
    }

    fn exact(&self, what: &str, found: &Tensor, wanted: &Value) {
        let wanted: Vec<f32> = wanted
            .as_array()
            .unwrap()
            .iter()
            .map(|value| value.as_f64().unwrap() as f32)
            .collect();
        assert_eq!(found.1, wanted, "{} {what}", self.name);
        assert_eq!(found.0, [wanted.len()], "{} {what}", self.name);
    }

    /// The reference's log-mel is `[F, T + 1]`, with a padding column at the end.
    fn mel(&self) -> Tensor {
        let (shape, values) = &self.features["mel_a"];
        let [bins, columns] = shape[..] else {
            panic!("mel_a has shape {shape:?}")
        };
        let frames = columns - 1;
        let transposed = (0..frames)
            .flat_map(|frame| (0..bins).map(move |bin| values[bin * columns + frame]))
            .collect();
        (vec![frames, bins], transposed)
    }

    fn heads(&self, how: &str, context: [i32; 2], found: &BTreeMap<String, Tensor>) {
        let tag = format!("att_{}_{}", context[0], context[1]);
        let default = context == self.model.manifest.default_context;
        let decode = &self.expected["decode"];
        if default && !decode["ctc"].is_null() {
            self.near(
                &format!("{how} ctc_log_probs"),
                &found["ctc_log_probs"],
                &self.decode["ctc_log_probs"],
                LOG_PROBS,
            );
            self.exact(&format!("{how} ctc_ids"), &found["ctc_ids"], &decode["ctc"]["collapsed"]);
            self.exact(&format!("{how} ctc_frames"), &found["ctc_frames"], &decode["ctc"]["first_frame"]);
        }
        if decode["transducer"].is_null() {
            assert!(!found.contains_key("rnnt_ids"));
            return;
        }
        // Streamed and offline tokens are the same, at every context.
        let transducer = if default {
            &decode["transducer"]
        } else {
            &decode["transducer_stream"][&tag]
        };
        self.exact(&format!("{how} {tag} rnnt_ids"), &found["rnnt_ids"], &transducer["tokens"]);
        self.exact(
            &format!("{how} {tag} rnnt_frames"),
            &found["rnnt_frames"],
            &transducer["timestamps"],
        );
        match transducer["durations"].as_array() {
            Some(durations) if !durations.is_empty() => {
                self.exact(&format!("{how} tdt_durations"), &found["tdt_durations"], &transducer["durations"]);
            }
            // The reference gives them in its default context only.
            _ => assert_eq!(found.contains_key("tdt_durations"), self.durations()),
        }
    }

    fn durations(&self) -> bool {
        let transducer = self.model.manifest.arch.transducer.as_ref();
        transducer.is_some_and(|transducer| !transducer.durations.is_empty())
    }

    fn check(&self) {
        let language = self.expected["decode"]["prompt"]["name"].as_str();
        let contexts = self.model.manifest.arch.encoder.contexts.clone();
        let first = format!("att_{}_{}", contexts[0][0], contexts[0][1]);
        for context in contexts {
            let tag = format!("att_{}_{}", context[0], context[1]);
            let offline = self.run(Some(context), true, language);
            self.near(&format!("offline {tag} mel"), &offline["mel"], &self.mel(), MEL);
            self.near(
                &format!("offline {tag} subsampled"),
                &offline["subsampled"],
                &self.encoder[&format!("{first}/pre_encode")],
                SUBSAMPLED,
            );
            self.near(
                &format!("offline {tag} encoder"),
                &offline["encoder"],
                &self.encoder[&format!("{tag}/encoder")],
                ENCODER,
            );
            self.heads("offline", context, &offline);
            if self.model.manifest.live {
                let streamed = self.run(Some(context), false, language);
                self.near(&format!("streamed {tag} mel"), &streamed["mel"], &self.mel(), MEL);
                self.near(
                    &format!("streamed {tag} subsampled"),
                    &streamed["subsampled"],
                    &offline["subsampled"],
                    0.0,
                );
                self.near(
                    &format!("streamed {tag} encoder"),
                    &streamed["encoder"],
                    &self.stream[&format!("{tag}/encoder")],
                    ENCODER,
                );
                self.heads("streamed", context, &streamed);
            }
        }
        // The heads alone, on the reference's encoder frames.
        let pieces: Vec<String> = self.model.tokenizer.pieces().map(str::to_owned).collect();
        let arch = &self.model.manifest.arch;
        let strategy = if arch.ctc { Strategy::Ctc } else { Strategy::Transducer };
        let decoder = Decoder::new(arch, &self.model.weights, &pieces, strategy).unwrap();
        let plain = decoder.plain(&self.encoder[&format!("{first}/encoder")].1, language).unwrap();
        if arch.ctc {
            let (shape, _) = &self.decode["ctc_log_probs"];
            self.near(
                "head ctc_log_probs",
                &(shape.clone(), plain.ctc_log_probs),
                &self.decode["ctc_log_probs"],
                LOG_PROBS,
            );
        }
        // Without a context the model's default is taken.
        let default = self.run(None, true, language);
        self.near(
            "default encoder",
            &default["encoder"],
            &self.encoder[&format!("{first}/encoder")],
            ENCODER,
        );
    }
}

#[test]
fn stream_hybrid() {
    case("stream_hybrid").check();
}

#[test]
fn stream_rnnt() {
    case("stream_rnnt").check();
}

#[test]
fn stream_prompt() {
    let case = case("stream_prompt");
    case.check();
    // The prompt changes what is decoded, never the encoder.
    let (one, other) = (case.run(None, true, Some("de-DE")), case.run(None, true, Some("en-US")));
    assert_eq!(one["encoder"], other["encoder"]);
    assert_ne!(one["rnnt_ids"], other["rnnt_ids"]);
}

/// Kernel 15, batch normalization with causal convolutions, tied position biases, durations 0, 1, 2, 4 and 8.
#[test]
fn stream_tdt() {
    case("stream_tdt").check();
}

/// A whole utterance under a mask with two bounds, kernel 15 with layer normalization.
#[test]
fn offline_window() {
    case("offline_window").check();
}

#[test]
fn offline_tdt() {
    case("offline_tdt").check();
}

#[test]
fn offline_ctc() {
    case("offline_ctc").check();
}

#[test]
fn what_cannot_be_dumped_is_refused() {
    let (tdt, hybrid, prompt) = (case("offline_tdt"), case("stream_hybrid"), case("stream_prompt"));
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("dump.safetensors");
    let audio = fixtures().join("audio_b.wav");
    let refusal = |case: &Case, audio: &Path, options: DumpOptions| format!("{:#}", dump(&case.model, audio, &file, &options).unwrap_err());
    assert!(refusal(&tdt, &audio, DumpOptions::default()).contains("use --offline"));
    let none = DumpOptions {
        context: Some([70, 2]),
        ..DumpOptions::default()
    };
    assert!(refusal(&hybrid, &audio, none).contains("has no context [70, 2]"));
    let locale = DumpOptions {
        language: Some("xx-XX".into()),
        ..DumpOptions::default()
    };
    assert!(refusal(&prompt, &audio, locale).contains("no prompt for locale xx-XX"));
    assert!(refusal(&hybrid, &fixtures().join("stream_hybrid/expected.json"), DumpOptions::default()).contains("cannot be read as audio"));
    assert!(refusal(&hybrid, &fixtures().join("none.wav"), DumpOptions::default()).contains("cannot be read as audio"));
    assert!(!file.exists());
}
