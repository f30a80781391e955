//! Models of published shapes with random weights, in memory or as a folder that `hark serve` takes.
//!
//! For measuring speed where the published weights are not at hand. The time of a step does not depend on the values, with one
//! exception: how many tokens a transducer emits. Where random weights emit a token they go on until the most symbols of a frame,
//! so that is 1 here (published: 10), and the biases of the blanks are set by the sample call. With the sample calls 0.2 to 0.8
//! tokens a frame were seen at 114 M; speech has about 0.25, so a search takes longer than it need. Whoever measures should print how
//! many there were. Everything but these biases is the same on every machine.
#![allow(dead_code, reason = "each user takes a part")]

use std::collections::BTreeMap;
use std::path::Path;

use half::f16;
use hark::audio::{AudioSpec, Intake};
use hark::model::arch::{Architecture, Attention, ConvNorm, Encoder, Frontend, Normalize, Transducer};
use hark::model::archive::layout;
use hark::model::manifest::{Checksums, FORMAT, Manifest, Provenance};
use hark::model::network::{Network, Scratch, StepInput};
use hark::model::tokenizer::{Tokenizer, TokenizerSettings};
use hark::model::weights::{Tensor, Weights};
use hark::ops::log_mel::{hann, slaney};
use hark::ops::subsample::frequencies;
use rayon::prelude::*;
use safetensors::tensor::{Dtype, TensorView};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The shapes that there are, by name.
pub(crate) const NAMES: [&str; 3] = ["tiny", "114m", "0.6b"];

/// The architecture called `name`.
///
/// `114m` is the English streaming hybrid of 114 M parameters, `0.6b` the English streaming transducer of 0.6 G parameters; `tiny` is
/// for trying programs out.
pub(crate) fn shape(name: &str) -> Option<Architecture> {
    let (layers, width, heads, channels, bins, prediction, vocabulary) = match name {
        "tiny" => (2, 64, 2, 16, 80, 32, 40),
        "114m" => (17, 512, 8, 256, 80, 640, 1_024),
        "0.6b" => (24, 1_024, 8, 256, 128, 640, 1_024),
        _ => return None,
    };
    Some(Architecture {
        frontend: Frontend {
            mel_bins: bins,
            normalize: Normalize::None,
        },
        encoder: Encoder {
            layers,
            width,
            heads,
            subsampling_channels: channels,
            causal_subsampling: true,
            ff_expansion: 4,
            conv_kernel: 9,
            conv_context: [8, 0],
            conv_norm: ConvNorm::LayerNorm,
            scale_input: false,
            attention: Attention::Chunked,
            contexts: vec![[70, 13], [70, 6], [70, 1], [70, 0]],
        },
        vocabulary,
        ctc: name != "0.6b",
        transducer: Some(Transducer {
            prediction_width: prediction,
            prediction_layers: if name == "0.6b" { 2 } else { 1 },
            joint_width: prediction,
            max_symbols: 1,
            durations: Vec::new(),
        }),
        prompt: None,
    })
}

/// True if the linear layers of `name` have biases.
fn has_biases(name: &str) -> bool {
    name != "0.6b"
}

/// Where a tensor's values lie.
#[derive(Clone, Copy)]
enum Kind {
    /// Between `-scale` and `scale`.
    Even(f32),
    /// Scales of a normalization: near 1.
    Scale,
    /// Rows of an embedding, the last (blank) zero.
    Embedding(usize),
}

/// Weights for `shape(name)`, rounded to f16 so that a written folder holds the very same.
pub(crate) fn weights(name: &str, arch: &Architecture) -> Weights {
    let list = list(arch, has_biases(name));
    let tensors: Vec<(String, Tensor)> = list
        .into_par_iter()
        .map(|(name, shape, kind)| {
            let data = values(&name, &shape, kind);
            (name, Tensor { shape, data })
        })
        .collect();
    let mut weights = Weights::default();
    for (name, tensor) in tensors {
        weights.insert(name, tensor);
    }
    let bins = arch.frontend.mel_bins;
    let mut front = |name: &str, shape: Vec<usize>, data| weights.insert(format!("preprocessor.featurizer.{name}"), Tensor { shape, data });
    front("window", vec![400], hann());
    front("fb", vec![1, bins, 257], slaney(bins));
    let shapes: BTreeMap<String, Vec<usize>> = weights
        .iter()
        .map(|(name, tensor)| (name.to_owned(), tensor.shape.clone()))
        .collect();
    layout::check(arch, &shapes).expect("the generator's list of tensors is not the model's");
    settle(arch, &mut weights);
    weights
}

/// The sample call at the model's rate, as 16-bit audio carries it.
pub(crate) fn call() -> Vec<f32> {
    let spec = AudioSpec {
        encoding: None,
        rate: None,
        channels: 1,
        multichannel: false,
        whole: true,
    };
    let mut intake = Intake::new(spec).unwrap();
    intake.push(include_bytes!("../../samples/call.wav").to_vec().into());
    let mut lanes = vec![Vec::new()];
    while intake.pull(16_000, &mut lanes).unwrap() > 0 {}
    intake.close();
    while intake.pull(usize::MAX, &mut lanes).unwrap() > 0 {}
    lanes[0].iter().map(|sample| (sample * 32_768.0).round() / 32_768.0).collect()
}

/// Sets the heads so that one frame in ten of the beginning of the sample call has a token, in all contexts together.
fn settle(arch: &Architecture, weights: &mut Weights) {
    let (width, network) = (arch.encoder.width, Network::new(arch, weights).unwrap());
    let frames: Vec<Vec<f32>> = (0..arch.encoder.contexts.len())
        .map(|context| frames(arch, &network, context))
        .collect();
    let all = frames.concat();
    if arch.transducer.is_some() {
        // What the frames of a context have in common would decide alone, so the joint does not see it.
        let mut common: Vec<Vec<f32>> = Vec::new();
        for frames in &frames {
            let count = (frames.len() / width) as f32;
            let mut mean: Vec<f32> = (0..width)
                .map(|d| frames.iter().skip(d).step_by(width).sum::<f32>() / count)
                .collect();
            common.iter().for_each(|other| take_off(&mut mean, other));
            let length = mean.iter().map(|value| value * value).sum::<f32>().sqrt().max(1e-6);
            mean.iter_mut().for_each(|value| *value /= length);
            common.push(mean);
        }
        let (_, matrix) = weights.iter().find(|(name, _)| *name == "joint.enc.weight").unwrap();
        let mut matrix = matrix.clone();
        for row in matrix.data.chunks_exact_mut(width) {
            common.iter().for_each(|direction| take_off(row, direction));
            row.iter_mut().for_each(|value| *value = f16::from_f32(*value).to_f32());
        }
        let joint = matrix.shape[0];
        weights.insert("joint.enc.weight", matrix);
        let rows: Vec<f32> = all
            .chunks_exact(width)
            .flat_map(|frame| product(weights, "joint.enc", frame))
            .map(|value| value.max(0.0))
            .collect();
        blank(weights, "joint.joint_net.2", &rows, joint);
    }
    if arch.ctc {
        let head = if arch.transducer.is_some() { "ctc_decoder" } else { "decoder" };
        blank(weights, &format!("{head}.decoder_layers.0"), &all, width);
    }
}

/// Encoder frames of the sample call in one context, without those of the first two seconds.
fn frames(arch: &Architecture, network: &Network, context: usize) -> Vec<f32> {
    let right = arch.encoder.contexts[context][1] as usize;
    let (mut state, mut scratch, mut rows) = (network.new_state(), Scratch::default(), Vec::new());
    let samples = call();
    let (first, rest) = samples.split_at(1_280 * right + 200);
    let parts = std::iter::once(first).chain(rest.chunks_exact(1_280 * (right + 1)));
    for (number, part) in parts.take(98 / (right + 1)).enumerate() {
        let input = StepInput {
            state: &mut state,
            samples: part,
            start: number == 0,
            end: false,
        };
        let found = network.step(context, &mut [input], &mut scratch).unwrap().rows;
        if number >= 28 / (right + 1) {
            rows.extend_from_slice(found);
        }
    }
    rows
}

/// Takes off `from` what it has of the unit vector `direction`.
fn take_off(from: &mut [f32], direction: &[f32]) {
    let part: f32 = from.iter().zip(direction).map(|(a, b)| a * b).sum();
    from.iter_mut().zip(direction).for_each(|(a, b)| *a -= part * b);
}

/// A layer's matrix times `x`.
fn product(weights: &Weights, layer: &str, x: &[f32]) -> Vec<f32> {
    let (_, matrix) = weights.iter().find(|(name, _)| *name == format!("{layer}.weight")).unwrap();
    matrix
        .data
        .par_chunks_exact(x.len())
        .map(|row| row.iter().zip(x).map(|(w, x)| w * x).sum())
        .collect()
}

fn set(weights: &mut Weights, name: &str, data: Vec<f32>) {
    let tensor = Tensor {
        shape: vec![data.len()],
        data,
    };
    weights.insert(name, tensor);
}

/// The bias of the blank, the last of a layer's outputs, with which it wins in nine of ten `rows`.
fn blank(weights: &mut Weights, layer: &str, rows: &[f32], width: usize) {
    let mut bias = weights
        .iter()
        .find(|(name, _)| *name == format!("{layer}.bias"))
        .unwrap()
        .1
        .data
        .clone();
    let lead = |row: &[f32]| {
        let mut scores: Vec<f32> = product(weights, layer, row)
            .iter()
            .zip(&bias)
            .map(|(score, bias)| score + bias)
            .collect();
        let blank = scores.pop().unwrap();
        scores.into_iter().fold(f32::MIN, f32::max) - blank
    };
    let mut leads: Vec<f32> = rows.chunks_exact(width).map(lead).collect();
    leads.sort_by(f32::total_cmp);
    *bias.last_mut().unwrap() += leads[leads.len() * 9 / 10];
    set(weights, &format!("{layer}.bias"), bias);
}

fn values(name: &str, shape: &[usize], kind: Kind) -> Vec<f32> {
    // Each tensor has a seed of its own, so that the order of making them does not matter.
    let mut state = name
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let count: usize = shape.iter().product();
    let mut even = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 8_388_608.0 - 1.0
    };
    (0..count)
        .map(|index| {
            let value = even();
            let value = match kind {
                Kind::Even(scale) => scale * value,
                Kind::Scale => 1.0 + 0.1 * value,
                Kind::Embedding(width) if index + width >= count => 0.0,
                Kind::Embedding(_) => value,
            };
            f16::from_f32(value).to_f32()
        })
        .collect()
}

/// Names, shapes and values of all tensors but those of the front end. Matrices keep values of order 1 at order 1.
fn list(arch: &Architecture, biases: bool) -> Vec<(String, Vec<usize>, Kind)> {
    let (enc, mut list) = (&arch.encoder, Vec::new());
    let (d, c, ff) = (enc.width, enc.subsampling_channels, enc.width * enc.ff_expansion);
    let times = |factor: f32, inputs: usize| Kind::Even(factor * 1.7 / (inputs as f32).sqrt());
    let fan = |inputs: usize| times(1.0, inputs);
    let small = Kind::Even(0.1);
    let mut add = |name: String, shape: Vec<usize>, kind: Kind| list.push((name, shape, kind));
    for (index, shape, inputs) in [
        (0, [c, 1, 3, 3], 9),
        (2, [c, 1, 3, 3], 9),
        (3, [c, c, 1, 1], c),
        (5, [c, 1, 3, 3], 9),
        (6, [c, c, 1, 1], c),
    ] {
        add(format!("encoder.pre_encode.conv.{index}.weight"), shape.to_vec(), fan(inputs));
        add(format!("encoder.pre_encode.conv.{index}.bias"), vec![c], small);
    }
    let [_, _, columns] = frequencies(arch.frontend.mel_bins, enc.causal_subsampling);
    add("encoder.pre_encode.out.weight".into(), vec![d, c * columns], fan(c * columns));
    add("encoder.pre_encode.out.bias".into(), vec![d], small);
    for layer in 0..enc.layers {
        let p = format!("encoder.layers.{layer}");
        for norm in [
            "norm_feed_forward1",
            "norm_self_att",
            "norm_conv",
            "norm_feed_forward2",
            "norm_out",
            "conv.batch_norm",
        ] {
            add(format!("{p}.{norm}.weight"), vec![d], Kind::Scale);
            add(format!("{p}.{norm}.bias"), vec![d], small);
        }
        let matrices = [
            ("feed_forward1.linear1", vec![ff, d], d),
            ("feed_forward1.linear2", vec![d, ff], ff),
            ("feed_forward2.linear1", vec![ff, d], d),
            ("feed_forward2.linear2", vec![d, ff], ff),
            ("self_attn.linear_q", vec![d, d], d),
            ("self_attn.linear_k", vec![d, d], d),
            ("self_attn.linear_v", vec![d, d], d),
            ("self_attn.linear_out", vec![d, d], d),
            ("conv.pointwise_conv1", vec![2 * d, d, 1], d),
            ("conv.depthwise_conv", vec![d, 1, enc.conv_kernel], enc.conv_kernel),
            ("conv.pointwise_conv2", vec![d, d, 1], d),
        ];
        for (name, shape, inputs) in matrices {
            if biases {
                add(format!("{p}.{name}.bias"), vec![shape[0]], small);
            }
            add(format!("{p}.{name}.weight"), shape, fan(inputs));
        }
        add(format!("{p}.self_attn.linear_pos.weight"), vec![d, d], fan(d));
        for side in ["u", "v"] {
            add(format!("{p}.self_attn.pos_bias_{side}"), vec![enc.heads, d / enc.heads], small);
        }
    }
    let classes = arch.vocabulary + 1;
    if let Some(sizes) = &arch.transducer {
        let (p, j) = (sizes.prediction_width, sizes.joint_width);
        add("decoder.prediction.embed.weight".into(), vec![classes, p], Kind::Embedding(p));
        for layer in 0..sizes.prediction_layers {
            for (side, factor) in [("ih", 2.0), ("hh", 1.0)] {
                let lstm = "decoder.prediction.dec_rnn.lstm";
                add(format!("{lstm}.weight_{side}_l{layer}"), vec![4 * p, p], times(factor, p));
                add(format!("{lstm}.bias_{side}_l{layer}"), vec![4 * p], small);
            }
        }
        for (name, outputs, inputs, factor, bias) in [
            // Frames change little with random weights; enlarged, their changes decide, and the tokens before hardly count.
            ("joint.enc", j, d, 8.0, small),
            ("joint.pred", j, p, 0.1, small),
            ("joint.joint_net.2", classes, j, 1.0, small),
        ] {
            add(format!("{name}.weight"), vec![outputs, inputs], times(factor, inputs));
            add(format!("{name}.bias"), vec![outputs], bias);
        }
    }
    if arch.ctc {
        let head = if arch.transducer.is_some() { "ctc_decoder" } else { "decoder" };
        add(format!("{head}.decoder_layers.0.weight"), vec![classes, d, 1], fan(d));
        add(format!("{head}.decoder_layers.0.bias"), vec![classes], small);
    }
    list
}

/// The vocabulary: half of the pieces begin a word.
pub(crate) fn pieces(arch: &Architecture) -> Vec<String> {
    let letters = |index: usize| {
        let letter = |n: usize| char::from(b'a' + (n % 26) as u8);
        [letter(index), letter(index / 26), letter(index / 676)].iter().collect::<String>()
    };
    (0..arch.vocabulary)
        .map(|index| match index {
            0 => "<unk>".to_owned(),
            _ if index % 2 == 1 => format!("\u{2581}{}", letters(index)),
            _ => letters(index),
        })
        .collect()
}

/// Writes the model as a folder; `folder` ends in the model's name. Matrices as f16, vectors and the front end as f32.
pub(crate) fn write(folder: &Path, arch: &Architecture, weights: &Weights) {
    std::fs::create_dir_all(folder).unwrap();
    let tensors: Vec<(&str, Dtype, &[usize], Vec<u8>)> = weights
        .iter()
        .map(|(name, Tensor { shape, data })| {
            if shape.len() > 1 && !name.starts_with("preprocessor.") {
                let bytes = data.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect();
                (name, Dtype::F16, shape.as_slice(), bytes)
            } else {
                let bytes = data.iter().flat_map(|value| value.to_le_bytes()).collect();
                (name, Dtype::F32, shape.as_slice(), bytes)
            }
        })
        .collect();
    let views = tensors
        .iter()
        .map(|(name, dtype, shape, bytes)| (*name, TensorView::new(*dtype, shape.to_vec(), bytes).unwrap()));
    let path = folder.join("weights.safetensors");
    safetensors::serialize_to_file(views, None, &path).unwrap();
    let vocabulary = Tokenizer::new(pieces(arch), TokenizerSettings::default()).unwrap().vocabulary();
    let sum = |bytes: &[u8]| Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let checksum = sum(&std::fs::read(&path).unwrap());
    let manifest = Manifest {
        format: FORMAT,
        name: folder.file_name().unwrap().to_str().unwrap().to_owned(),
        aliases: Vec::new(),
        canonical_name: None,
        architecture: "fastconformer".to_owned(),
        version: "random".to_owned(),
        uuid: Uuid::new_v5(&Uuid::NAMESPACE_OID, checksum.as_bytes()),
        languages: vec!["en".to_owned()],
        live: arch.encoder.streams(),
        files: true,
        formatted_output: false,
        default_context: arch.encoder.contexts[0],
        licence: String::new(),
        provenance: Provenance {
            source: "benches/support/random_model.rs".to_owned(),
            notes: "Random weights, for measuring speed. It writes nonsense.".to_owned(),
        },
        checksums: Checksums {
            weights: checksum,
            vocabulary: sum(vocabulary.as_bytes()),
            lm: None,
        },
        decode: None,
        tokenizer: TokenizerSettings::default(),
        arch: arch.clone(),
    };
    std::fs::write(folder.join("vocab.txt"), vocabulary).unwrap();
    std::fs::write(folder.join("model.toml"), manifest.write().unwrap()).unwrap();
}
