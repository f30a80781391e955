//! The network against numbers that the reference implementation made (see `tests/fixtures/oracle/README.md`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic
)]

use std::path::{Path, PathBuf};

use super::*;
use crate::model::arch::ConvNorm;
use crate::model::archive;
use crate::model::weights::Tensor;
use crate::ops::linear::tests::noise;

const STREAMING: [&str; 3] = ["stream_hybrid", "stream_rnnt", "stream_prompt"];
const WHOLE: [&str; 2] = ["offline_tdt", "offline_ctc"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/oracle")
}

fn audio(name: &str) -> Vec<f32> {
    let mut reader = hound::WavReader::open(folder().join(name)).unwrap();
    reader
        .samples::<i16>()
        .map(|sample| f32::from(sample.unwrap()) / 32_768.0)
        .collect()
}

struct Fixture(Weights);

impl Fixture {
    fn open(model: &str, file: &str) -> Self {
        Fixture(read(&folder().join(model).join(file)))
    }

    /// A matrix as it is stored, with its last size.
    fn get(&self, name: &str) -> (&[f32], usize) {
        let (_, tensor) = self
            .0
            .iter()
            .find(|(found, _)| *found == name)
            .unwrap_or_else(|| panic!("no {name}"));
        (&tensor.data, *tensor.shape.last().unwrap())
    }
}

fn read(path: &Path) -> Weights {
    let bytes = std::fs::read(path).unwrap();
    let mut weights = Weights::default();
    for (name, view) in safetensors::SafeTensors::deserialize(&bytes).unwrap().tensors() {
        if view.dtype() == safetensors::Dtype::F32 {
            let data = view
                .data()
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
                .collect();
            weights.insert(
                name,
                Tensor {
                    shape: view.shape().to_vec(),
                    data,
                },
            );
        }
    }
    weights
}

fn load(model: &str) -> Network {
    let published = archive::read(&folder().join(model).join("model.nemo")).unwrap();
    Network::new(&published.architecture, &published.weights).unwrap()
}

fn close(got: &[f32], wanted: &[f32], limit: f32, what: &str) -> f32 {
    assert_eq!(got.len(), wanted.len(), "{what}");
    let worst = got.iter().zip(wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= limit, "{what}: differs by {worst}");
    println!("{what}: {worst:.2e} of {limit:.0e}");
    worst
}

/// Streams `samples` in the engine's chunks, or cut after every `piece` samples; frames of all steps.
fn streamed(network: &Network, context: usize, samples: &[f32], piece: Option<usize>) -> Vec<f32> {
    let right = network.arch.encoder.contexts[context][1] as usize;
    let (mut state, mut scratch, mut out, mut rest) = (network.new_state(), Scratch::default(), Vec::new(), samples);
    let mut start = true;
    loop {
        let size = piece.unwrap_or(if start { 1_280 * right + 200 } else { 1_280 * (right + 1) });
        let (now, later) = rest.split_at(size.min(rest.len()));
        // Odd pieces leave the end to a step of its own, since it may bring a frame more.
        let end = later.is_empty() && (piece.is_none() || now.is_empty());
        let mut work = [StepInput {
            state: &mut state,
            samples: now,
            start,
            end,
        }];
        out.extend_from_slice(network.step(context, &mut work, &mut scratch).unwrap().rows);
        (rest, start) = (later, false);
        if end {
            return out;
        }
    }
}

fn tag([left, right]: [i32; 2]) -> String {
    format!("att_{left}_{right}")
}

fn transposed(values: &[f32], columns: usize, keep: usize) -> Vec<f32> {
    (0..keep).flat_map(|c| values.chunks(columns).map(move |row| row[c])).collect()
}

#[test]
fn log_mel_and_subsampling_equal_the_reference() {
    let samples = audio("audio_a.wav");
    for model in STREAMING.iter().chain(&WHOLE) {
        let (network, features, encoder) = (
            load(model),
            Fixture::open(model, "features.safetensors"),
            Fixture::open(model, "encoder.safetensors"),
        );
        let mut probe = Probe::default();
        let first = network.arch.encoder.contexts[0];
        network.offline(&samples, first, Some(&mut probe)).unwrap();
        let (mel, columns) = features.get("mel_a");
        close(&probe.mel, &transposed(mel, columns, 800), 5e-3, &format!("{model} log-mel"));
        close(
            &probe.subsampled,
            encoder.get(&format!("{}/pre_encode", tag(first))).0,
            5e-4,
            &format!("{model} subsampled"),
        );
    }
}

/// The reference's transform rounds near-silent bins by up to 2e-3, which is most of what the other tests see; from its own
/// features on, the difference is rounding alone.
#[test]
fn from_the_same_features_the_encoder_agrees_closely() {
    for model in STREAMING.iter().chain(&WHOLE) {
        let (network, features, encoder) = (
            load(model),
            Fixture::open(model, "features.safetensors"),
            Fixture::open(model, "encoder.safetensors"),
        );
        let (mel, columns) = features.get("mel_a");
        for context in network.arch.encoder.contexts.clone() {
            let got = network.encode(&transposed(mel, columns, 800), network.mask(context).unwrap(), None);
            close(
                &got,
                encoder.get(&format!("{}/encoder", tag(context))).0,
                2e-5,
                &format!("{model} {context:?} from features"),
            );
        }
    }
}

#[test]
fn whole_utterances_equal_the_reference_in_every_context() {
    let samples = audio("audio_a.wav");
    for model in STREAMING.iter().chain(&WHOLE) {
        let (network, encoder) = (load(model), Fixture::open(model, "encoder.safetensors"));
        for context in network.arch.encoder.contexts.clone() {
            let mut probe = Probe::default();
            let got = network.offline(&samples, context, Some(&mut probe)).unwrap();
            close(
                &got,
                encoder.get(&format!("{}/encoder", tag(context))).0,
                2e-4,
                &format!("{model} {context:?}"),
            );
            if context == network.arch.encoder.contexts[0] {
                for (index, layer) in probe.layers.iter().enumerate() {
                    close(
                        layer,
                        encoder.get(&format!("{}/layer{index}", tag(context))).0,
                        2e-4,
                        &format!("{model} block {index}"),
                    );
                }
            }
        }
        let (batch, _) = encoder.get("batch/encoder");
        let got = network
            .offline(&audio("audio_b.wav"), network.arch.encoder.contexts[0], None)
            .unwrap();
        let half = batch.len() / 2;
        close(&got, &batch[half..half + got.len()], 2e-4, &format!("{model} second clip"));
    }
}

#[test]
fn streams_equal_the_reference_and_the_whole_utterance_in_every_context() {
    let samples = audio("audio_a.wav");
    for model in STREAMING {
        let (network, stream) = (load(model), Fixture::open(model, "stream.safetensors"));
        for (index, context) in network.arch.encoder.contexts.clone().into_iter().enumerate() {
            let got = streamed(&network, index, &samples, None);
            close(
                &got,
                stream.get(&format!("{}/encoder", tag(context))).0,
                2e-4,
                &format!("{model} {context:?} streamed"),
            );
            let whole = network.offline(&samples, context, None).unwrap();
            close(&got, &whole, 2e-5, &format!("{model} {context:?} streamed against whole"));
        }
    }
}

#[test]
fn convolution_caches_equal_the_reference() {
    let samples = audio("audio_a.wav");
    for model in STREAMING {
        let (network, stream) = (load(model), Fixture::open(model, "stream.safetensors"));
        let context = network.arch.encoder.contexts[0];
        let right = context[1] as usize;
        let (mut state, mut scratch) = (network.new_state(), Scratch::default());
        for (step, samples) in [&samples[..1_280 * right + 200], &samples[1_280 * right + 200..]]
            .into_iter()
            .enumerate()
        {
            for (piece, samples) in samples.chunks(1_280 * (right + 1)).take(1 + step).enumerate() {
                let mut work = [StepInput {
                    state: &mut state,
                    samples,
                    start: step + piece == 0,
                    end: false,
                }];
                network.step(0, &mut work, &mut scratch).unwrap();
            }
        }
        assert_eq!(state.frames(), 3 * (right as u64 + 1));
        let (wanted, columns) = stream.get(&format!("{}/cache_last_time_after_step2", tag(context)));
        let width = network.width();
        for layer in 0..network.arch.encoder.layers {
            let kept = state.encoder().layer(layer).unwrap().history.kept().to_vec();
            let wanted = transposed(&wanted[layer * width * columns..(layer + 1) * width * columns], columns, columns);
            close(&kept, &wanted, 2e-4, &format!("{model} cache of block {layer}"));
        }
    }
}

#[test]
fn any_cut_of_the_audio_gives_the_same_bits() {
    let samples = &audio("audio_b.wav")[..40_000];
    let network = load("stream_hybrid");
    for context in 0..4 {
        let whole = streamed(&network, context, samples, None);
        for piece in [97, 160, 641, 1_280] {
            assert!(
                same(&streamed(&network, context, samples, Some(piece)), &whole),
                "context {context}, {piece} samples a step"
            );
        }
    }
    let few = streamed(&network, 3, &samples[..150], None);
    assert!(few.is_empty(), "less than one mel frame");
}

fn same(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

/// Thirty-two streams at different places, some beginning, some ending, in states used before, on one and two threads: each
/// gives the bits it gives alone.
#[test]
fn a_stream_has_the_same_bits_alone_and_in_company() {
    let samples = audio("audio_a.wav");
    let network = load("stream_hybrid");
    let context = 1;
    let step = 1_280 * 7;
    let first = 1_280 * 6 + 200;
    let clip = |index: usize| &samples[index * 1_111..index * 1_111 + first + step * (1 + index % 4) + index * 37];
    let alone: Vec<Vec<f32>> = (0..32).map(|index| streamed(&network, context, clip(index), None)).collect();
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut scratch = Scratch::default();
        let mut states: Vec<StreamState> = (0..32).map(|_| network.new_state()).collect();
        for round in 0..2 {
            let mut got = vec![Vec::new(); 32];
            let mut at = [0_usize; 32];
            for tick in 0.. {
                let mut who = Vec::new();
                let mut work = Vec::new();
                for (index, state) in states.iter_mut().enumerate() {
                    let clip = clip(index);
                    // Streams begin at different ticks.
                    if tick < index % 3 || (at[index] > 0 && at[index] == clip.len()) {
                        continue;
                    }
                    let size = if at[index] == 0 { first } else { step };
                    let stop = (at[index] + size).min(clip.len());
                    let (start, end) = (at[index] == 0, stop == clip.len());
                    work.push(StepInput {
                        state,
                        samples: &clip[at[index]..stop],
                        start,
                        end,
                    });
                    who.push(index);
                    at[index] = stop;
                }
                if work.is_empty() && tick > 2 {
                    break;
                }
                pool.install(|| {
                    let encoded = network.step(context, &mut work, &mut scratch).unwrap();
                    for (index, rows) in who.iter().zip(encoded.streams()) {
                        got[*index].extend_from_slice(rows);
                    }
                });
            }
            for (index, (got, alone)) in got.iter().zip(&alone).enumerate() {
                assert!(same(got, alone), "stream {index}, {threads} threads, round {round}");
            }
        }
    }
}

#[test]
fn impossible_steps_are_refused_and_consume_nothing() {
    let network = load("stream_hybrid");
    let samples = audio("audio_b.wav");
    let (mut state, mut scratch) = (network.new_state(), Scratch::default());
    let mut step = |samples: &[f32], start: bool, end: bool, context: usize| {
        let mut work = [StepInput {
            state: &mut state,
            samples,
            start,
            end,
        }];
        network.step(context, &mut work, &mut scratch).map(|encoded| encoded.counts[0])
    };
    assert_eq!(
        step(&samples[..1_280 * 7 + 200], true, false, 1),
        Err(NetworkError::TooManyFrames {
            stream: 0,
            frames: 8,
            most: 7
        })
    );
    assert_eq!(step(&samples[..1_280 * 6 + 200], true, false, 1), Ok(7));
    assert_eq!(
        step(&samples[..1_280 * 8], false, false, 1),
        Err(NetworkError::TooManyFrames {
            stream: 0,
            frames: 8,
            most: 7
        })
    );
    assert_eq!(
        step(&[], false, false, 0),
        Err(NetworkError::ContextChanged {
            stream: 0,
            began: 1,
            asked: 0
        })
    );
    assert_eq!(step(&[], false, false, 9), Err(NetworkError::NoSuchContext(9)));
    assert_eq!(step(&samples[..1_280 * 7], false, false, 1), Ok(7));
    assert_eq!(step(&[], false, true, 1), Ok(0), "a stream that ends on a frame has nothing more");
    assert_eq!(step(&[], false, false, 1), Err(NetworkError::Ended(0)));
    assert_eq!(step(&[], true, true, 3), Ok(0), "an empty utterance");

    let whole = load("offline_ctc");
    let mut work = [StepInput {
        state: &mut whole.new_state(),
        samples: &[],
        start: true,
        end: false,
    }];
    assert_eq!(
        whole.step(0, &mut work, &mut Scratch::default()).unwrap_err(),
        NetworkError::NotStreaming(0)
    );
    assert_eq!(whole.offline(&[], [-2, 0], None), Err(NetworkError::ImpossibleContext([-2, 0])));
    assert_eq!(
        whole.offline(&vec![0.0; LONGEST_UTTERANCE + 1], [-1, -1], None),
        Err(NetworkError::TooLong(LONGEST_UTTERANCE + 1))
    );
    assert_eq!(whole.offline(&[0.1; 100], [-1, -1], None), Ok(Vec::new()));
}

/// Random tensors of exactly the shapes that the network asks for, biases included or not.
fn invented(arch: &Architecture, biases: bool) -> Network {
    let mut weights = Weights::default();
    let add = |weights: &mut Weights, name: String, shape: Vec<usize>| {
        let count: usize = shape.iter().product();
        let fan = if shape.len() > 1 { (count / shape[0]) as f32 } else { 4.0 };
        let mut data: Vec<f32> = noise(count, name.len() as u32 * 31 + name.bytes().map(u32::from).sum::<u32>());
        data.iter_mut().for_each(|value| *value *= 1.5 / fan.sqrt());
        if name.ends_with("running_var") {
            data.iter_mut().for_each(|value| *value = value.abs() + 0.5);
        }
        weights.insert(name, Tensor { shape, data });
    };
    let width = arch.encoder.width;
    for layer in (0..arch.encoder.layers).filter(|_| biases) {
        let wide = width * arch.encoder.ff_expansion;
        let parts = [
            ("feed_forward1.linear1", wide),
            ("feed_forward2.linear2", width),
            ("self_attn.linear_k", width),
            ("self_attn.linear_out", width),
            ("conv.pointwise_conv1", 2 * width),
            ("conv.pointwise_conv2", width),
            ("conv.depthwise_conv", width),
        ];
        for (part, count) in parts {
            add(&mut weights, format!("encoder.layers.{layer}.{part}.bias"), vec![count]);
        }
    }
    loop {
        match Network::new(arch, &weights) {
            Ok(network) => return network,
            Err(NetworkError::Weights(WeightsError::Missing(name))) => weights.insert(
                name,
                Tensor {
                    shape: vec![0, 2],
                    data: Vec::new(),
                },
            ),
            Err(NetworkError::Weights(WeightsError::Shape { name, wanted, .. })) => add(&mut weights, name, wanted),
            Err(other) => panic!("{other}"),
        }
    }
}

/// Shapes that no fixture has: odd widths and heads, long kernels, batch norm in a stream, layer norm without one, a left
/// context that is no multiple of the chunk, unlimited sides.
#[test]
fn other_shapes_stream_as_they_hear_whole_utterances() {
    let samples = &audio("audio_b.wav")[..45_000];
    let mut arch = archive::read(&folder().join("stream_hybrid/model.nemo")).unwrap().architecture;
    for (width, heads, channels, bins, kernel, norm, biases) in [
        (176, 4, 20, 80, 31, ConvNorm::BatchNorm, true),
        (48, 3, 7, 128, 15, ConvNorm::LayerNorm, false),
        (90, 9, 33, 80, 9, ConvNorm::BatchNorm, false),
    ] {
        arch.frontend.mel_bins = bins;
        arch.encoder.layers = 2;
        (arch.encoder.width, arch.encoder.heads, arch.encoder.subsampling_channels) = (width, heads, channels);
        (arch.encoder.conv_kernel, arch.encoder.conv_context, arch.encoder.conv_norm) = (kernel, [kernel - 1, 0], norm);
        arch.encoder.contexts = vec![[21, 6], [12, 4], [-1, 3], [20, 19], [0, 0]];
        let network = invented(&arch, biases);
        for context in [0, 1, 3, 4] {
            let whole = network.offline(samples, arch.encoder.contexts[context], None).unwrap();
            assert!(whole.iter().all(|value| value.is_finite()) && whole.iter().any(|value| value.abs() > 0.1));
            close(
                &streamed(&network, context, samples, None),
                &whole,
                2e-5,
                &format!("width {width}, context {context}"),
            );
        }
        let mut work = [StepInput {
            state: &mut network.new_state(),
            samples: &[],
            start: true,
            end: false,
        }];
        assert_eq!(
            network.step(2, &mut work, &mut Scratch::default()).unwrap_err(),
            NetworkError::NotStreaming(2)
        );

        // The same weights with the kernel centred and both kinds of mask: whole utterances only, the same on any threads.
        arch.encoder.conv_context = [kernel / 2, kernel / 2];
        for attention in [Attention::Regular, Attention::Chunked] {
            arch.encoder.attention = attention;
            let network = invented(&arch, biases);
            for context in [[-1, -1], [5, -1], [-1, 3], [30, 2]] {
                let run = |threads: usize| {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    pool.install(|| network.offline(samples, context, None).unwrap())
                };
                let (one, two) = (run(1), run(2));
                assert!(
                    same(&one, &two) && one.iter().all(|value| value.is_finite()),
                    "{attention:?} {context:?}"
                );
            }
        }
        arch.encoder.attention = Attention::Chunked;
    }
}

#[test]
fn contradictory_architectures_are_refused() {
    let good = archive::read(&folder().join("stream_prompt/model.nemo")).unwrap().architecture;
    let refuse = |change: fn(&mut Architecture)| {
        let mut arch = good.clone();
        change(&mut arch);
        assert!(matches!(
            Network::new(&arch, &Weights::default()),
            Err(NetworkError::Architecture(_))
        ));
    };
    refuse(|arch| arch.encoder.heads = 3);
    refuse(|arch| arch.encoder.heads = 0);
    refuse(|arch| arch.encoder.width = 1 << 40);
    refuse(|arch| arch.encoder.conv_context = [usize::MAX, 2]);
    refuse(|arch| arch.encoder.contexts.clear());
    refuse(|arch| arch.encoder.contexts = vec![[i32::MAX, 1]]);
    refuse(|arch| arch.frontend.mel_bins = 0);
    let missing = Network::new(&good, &Weights::default()).unwrap_err();
    assert!(matches!(missing, NetworkError::Weights(WeightsError::Missing(_))), "{missing}");
}
