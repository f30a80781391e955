//! Decoding against reference fixtures, brute force, and itself cut into other chunks. Here: what the tests share.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic
)]

mod beam;
mod favour;
mod hypotheses;
mod reference;
mod streams;

use std::path::PathBuf;

use serde_json::Value;

use super::*;
use crate::model::arch::{Attention, ConvNorm, Encoder, Frontend, Normalize, Transducer as Sizes};
use crate::model::archive;
use crate::model::weights::Tensor;

fn folder(model: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/oracle").join(model)
}

struct Oracle {
    arch: Architecture,
    weights: Weights,
    pieces: Vec<String>,
    expected: Value,
    folder: PathBuf,
}

impl Oracle {
    fn load(model: &str) -> Self {
        let published = archive::read(&folder(model).join("model.nemo")).unwrap();
        let expected: Value = serde_json::from_slice(&std::fs::read(folder(model).join("expected.json")).unwrap()).unwrap();
        let pieces = expected["tokenizer"]["pieces"]
            .as_array()
            .unwrap()
            .iter()
            .map(|piece| piece.as_str().unwrap().to_owned())
            .collect();
        let (arch, weights) = (published.architecture, published.weights);
        Oracle {
            arch,
            weights,
            pieces,
            expected: expected["decode"].clone(),
            folder: folder(model),
        }
    }

    fn decoder(&self, strategy: Strategy) -> Decoder {
        Decoder::new(&self.arch, &self.weights, &self.pieces, strategy).unwrap()
    }

    fn tensor(&self, file: &str, name: &str) -> Vec<f32> {
        let bytes = std::fs::read(self.folder.join(file)).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let data = tensors.tensor(name).unwrap().data().to_vec();
        data.chunks_exact(4)
            .map(|four| f32::from_le_bytes(four.try_into().unwrap()))
            .collect()
    }

    /// Encoder rows of the default context over the whole audio.
    fn rows(&self) -> Vec<f32> {
        let [left, right] = self.arch.encoder.contexts[0];
        self.tensor("encoder.safetensors", &format!("att_{left}_{right}/encoder"))
    }

    fn locale(&self) -> Option<String> {
        self.expected["prompt"]["name"].as_str().map(str::to_owned)
    }
}

fn numbers(value: &Value) -> Vec<u32> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|number| number.as_u64().unwrap() as u32)
        .collect()
}

fn floats(value: &Value) -> Vec<f32> {
    let first = |number: &Value| number.as_f64().or_else(|| number[0].as_f64()).unwrap() as f32;
    value.as_array().unwrap().iter().map(first).collect()
}

fn ids(tokens: &[Token]) -> Vec<u32> {
    tokens.iter().map(|token| token.id).collect()
}

fn starts(tokens: &[Token]) -> Vec<u32> {
    tokens.iter().map(|token| token.start.0).collect()
}

/// One call for one stream.
fn step(decoder: &Decoder, state: &mut DecodeState, rows: &[f32], commit: bool, end: bool) -> Decoded {
    favoured(decoder, state, None, rows, commit, end)
}

/// The same with terms.
fn favoured(decoder: &Decoder, state: &mut DecodeState, terms: Option<&Arc<Terms>>, rows: &[f32], commit: bool, end: bool) -> Decoded {
    let mut decoded = Decoded::default();
    decoder.advance(&mut [DecodeInput {
        state,
        rows,
        commit,
        end,
        terms,
        decoded: &mut decoded,
    }]);
    decoded
}

/// All fixed tokens of an utterance cut at `cuts` (frames), with commits after the frames in `commits`.
fn cut(decoder: &Decoder, state: &mut DecodeState, rows: &[f32], cuts: &[usize], commits: &[usize]) -> Decoded {
    let frames = rows.len() / decoder.width;
    let mut edges: Vec<usize> = cuts.iter().chain(commits).copied().filter(|&edge| edge < frames).collect();
    edges.push(frames);
    edges.sort_unstable();
    edges.dedup();
    let (mut all, mut from) = (Decoded::default(), 0);
    for edge in edges {
        let part = &rows[from * decoder.width..edge * decoder.width];
        let decoded = step(decoder, state, part, commits.contains(&edge), edge == frames);
        assert_eq!(decoded.frames.0 as usize, edge);
        all.fixed.extend(decoded.fixed);
        all.utterance_ends.extend(decoded.utterance_ends);
        if edge == frames {
            assert!(decoded.tail.is_empty(), "the end fixes everything");
        }
        from = edge;
    }
    all
}

/// An architecture of which only the decoder counts.
fn architecture(width: usize, vocabulary: usize, ctc: bool, transducer: Option<Sizes>) -> Architecture {
    let encoder = Encoder {
        layers: 1,
        width,
        heads: 1,
        subsampling_channels: 1,
        causal_subsampling: true,
        ff_expansion: 1,
        conv_kernel: 9,
        conv_context: [8, 0],
        conv_norm: ConvNorm::LayerNorm,
        scale_input: false,
        attention: Attention::Chunked,
        contexts: vec![[70, 6]],
    };
    let frontend = Frontend {
        mel_bins: 80,
        normalize: Normalize::None,
    };
    Architecture {
        frontend,
        encoder,
        vocabulary,
        ctc,
        transducer,
        prompt: None,
    }
}

/// The matrix that changes nothing.
fn unit(width: usize) -> Tensor {
    let value = |at: usize| if at.is_multiple_of(width + 1) { 1.0 } else { 0.0 };
    Tensor {
        shape: vec![width, width],
        data: (0..width * width).map(value).collect(),
    }
}

/// A decoder whose encoder rows are the ln probabilities themselves.
fn identity(pieces: &[&str], strategy: Strategy) -> Decoder {
    let width = pieces.len() + 1;
    let mut weights = Weights::default();
    weights.insert("decoder.decoder_layers.0.weight", unit(width));
    let pieces: Vec<String> = pieces.iter().map(|&piece| piece.to_owned()).collect();
    Decoder::new(&architecture(width, pieces.len(), true, None), &weights, &pieces, strategy).unwrap()
}

/// A transducer over [`PIECES`] that remembers nothing and emits at most one token a frame; its encoder rows are the ln probabilities
/// themselves, made [`loud`].
fn memoryless(strategy: Strategy) -> Decoder {
    let width = PIECES.len() + 1;
    let sizes = Sizes {
        prediction_width: 1,
        prediction_layers: 1,
        joint_width: width,
        max_symbols: 1,
        durations: Vec::new(),
    };
    let zeros = |count: usize| Tensor {
        shape: vec![count, 1],
        data: vec![0.0; count],
    };
    let mut weights = Weights::default();
    weights.insert("joint.enc.weight", unit(width));
    weights.insert("joint.joint_net.2.weight", unit(width));
    weights.insert("joint.pred.weight", zeros(width));
    weights.insert("decoder.prediction.embed.weight", zeros(width));
    for part in ["weight_ih", "weight_hh", "bias_ih", "bias_hh"] {
        weights.insert(format!("decoder.prediction.dec_rnn.lstm.{part}_l0"), zeros(4));
    }
    let pieces: Vec<String> = PIECES.iter().map(|&piece| piece.to_owned()).collect();
    let arch = architecture(width, pieces.len(), false, Some(sizes));
    Decoder::new(&arch, &weights, &pieces, strategy).unwrap()
}

/// Rows that a joint network leaves as they are: nothing below zero.
fn loud(rows: &[f32]) -> Vec<f32> {
    rows.iter().map(|value| value + 20.0).collect()
}

/// What the tokens spell, of [`PIECES`].
fn text(ids: &[u32]) -> String {
    ids.iter()
        .map(|&id| PIECES[id as usize])
        .collect::<String>()
        .replace('\u{2581}', " ")
}

/// Rows `[frames, width]` from probabilities, each frame one map of token to probability, the rest shared evenly.
fn rows(width: usize, frames: &[&[(usize, f32)]]) -> Vec<f32> {
    let mut out = Vec::new();
    for frame in frames {
        let rest = (1.0 - frame.iter().map(|(_, p)| p).sum::<f32>()) / (width - frame.len()) as f32;
        let mut row = vec![rest.max(1e-6).ln(); width];
        frame.iter().for_each(|&(token, p)| row[token] = p.ln());
        out.extend(row);
    }
    out
}

/// Pseudo-random rows with a few strong tokens and many blanks, as a trained model gives.
fn peaky(width: usize, frames: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut draw = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1_u64 << 24) as f32
    };
    let mut out = Vec::new();
    for _ in 0..frames {
        let mut row: Vec<f32> = (0..width).map(|_| -9.0 + 3.0 * draw()).collect();
        row[width - 1] = -3.0 + 4.0 * draw();
        for _ in 0..3 {
            let token = (draw() * (width - 1) as f32) as usize;
            row[token.min(width - 2)] = -5.0 + 5.0 * draw();
        }
        out.extend(row);
    }
    out
}

const ARPA: &str = "\\data\\\nngram 1=8\nngram 2=5\nngram 3=1\n\n\\1-grams:\n-2.0\t<unk>\t0\n-99\t<s>\t-0.5\n-1.0\t</s>\t0\n-1.0\tab\t-0.3\n\
    -1.2\tac\t-0.3\n-1.1\tb\t-0.2\n-1.3\tcab\t-0.1\n-1.5\ta\t-0.1\n\n\\2-grams:\n-0.3\t<s> ab\t-0.2\n-0.4\tab b\t-0.1\n-0.9\tb ac\n-0.7\tac ab\n-0.2\tcab a\n\n\
    \\3-grams:\n-0.1\t<s> ab b\n\n\\end\\\n";

const PIECES: [&str; 6] = ["\u{2581}a", "b", "c", "\u{2581}b", "\u{2581}", "a"];

fn with_lm(options: BeamOptions) -> Strategy {
    Strategy::CtcBeam(options, Some(Arc::new(NgramModel::from_arpa(ARPA.as_bytes()).unwrap())))
}
