//! Time of one step of the acoustic network (samples in, encoder frames out) by number of streams.
//!
//! `cargo bench --bench encoder` runs models of the bundled shapes with random weights at two threads (`--threads N`).
//! With `--dump FILE` it first writes weights, audio and results for `benches/pytorch_reference.py`, which checks that it
//! computes the same and prints the same figures. With `--cpu` it runs on one thread and counts only the time for which that
//! thread had a processor (Linux), which holds on a busy machine too.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    missing_docs,
    reason = "a benchmark may stop on any error"
)]

use std::collections::HashMap;
use std::time::{Duration, Instant};

use hark::model::arch::{Architecture, Attention, ConvNorm, Encoder, Frontend, Normalize};
use hark::model::network::{Network, Scratch, StepInput};
use hark::model::state::StreamState;
use hark::model::weights::{Tensor, Weights};
use hark::ops::log_mel::{hann, slaney};

const RIGHT: usize = 6;

fn arch(width: usize, channels: usize) -> Architecture {
    Architecture {
        frontend: Frontend {
            mel_bins: 80,
            normalize: Normalize::None,
        },
        encoder: Encoder {
            layers: 8,
            width,
            heads: 4,
            subsampling_channels: channels,
            causal_subsampling: true,
            ff_expansion: 4,
            conv_kernel: 9,
            conv_context: [8, 0],
            conv_norm: ConvNorm::LayerNorm,
            scale_input: false,
            attention: Attention::Chunked,
            contexts: vec![[70, 6], [70, 13], [68, 3], [70, 1]],
        },
        vocabulary: 512,
        ctc: false,
        transducer: None,
        prompt: None,
    }
}

/// Random weights of the right shapes, scaled so that activations stay of order 1.
fn weights(arch: &Architecture) -> Weights {
    let (enc, mut seed) = (&arch.encoder, 1_u32);
    let (d, c, ff) = (enc.width, enc.subsampling_channels, enc.width * enc.ff_expansion);
    let mut out = Weights::default();
    let mut add = |name: String, shape: Vec<usize>| {
        let fan = shape.iter().skip(1).product::<usize>().max(1) as f32;
        let count = shape.iter().product();
        let vector = shape.len() == 1;
        let data = (0..count)
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let value = (seed >> 8) as f32 / 8_388_608.0 - 1.0;
                if vector {
                    0.1 * value
                        + if name.contains("norm") && name.ends_with("weight") {
                            1.0
                        } else {
                            0.0
                        }
                } else {
                    value * 1.7 / fan.sqrt()
                }
            })
            .collect();
        out.insert(name, Tensor { shape, data });
    };
    let pre = "encoder.pre_encode";
    for (index, shape) in [
        (0, [c, 1, 3, 3]),
        (2, [c, 1, 3, 3]),
        (3, [c, c, 1, 1]),
        (5, [c, 1, 3, 3]),
        (6, [c, c, 1, 1]),
    ] {
        add(format!("{pre}.conv.{index}.weight"), shape.to_vec());
        add(format!("{pre}.conv.{index}.bias"), vec![c]);
    }
    add(format!("{pre}.out.weight"), vec![d, c * 11]);
    add(format!("{pre}.out.bias"), vec![d]);
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
            add(format!("{p}.{norm}.weight"), vec![d]);
            add(format!("{p}.{norm}.bias"), vec![d]);
        }
        let matrices = [
            ("feed_forward1.linear1", ff, d),
            ("feed_forward1.linear2", d, ff),
            ("feed_forward2.linear1", ff, d),
            ("feed_forward2.linear2", d, ff),
            ("self_attn.linear_q", d, d),
            ("self_attn.linear_k", d, d),
            ("self_attn.linear_v", d, d),
            ("self_attn.linear_out", d, d),
            ("conv.pointwise_conv1", 2 * d, d),
            ("conv.pointwise_conv2", d, d),
        ];
        for (name, outputs, inputs) in matrices {
            add(format!("{p}.{name}.weight"), vec![outputs, inputs]);
            add(format!("{p}.{name}.bias"), vec![outputs]);
        }
        add(format!("{p}.self_attn.linear_pos.weight"), vec![d, d]);
        add(format!("{p}.self_attn.pos_bias_u"), vec![enc.heads, d / enc.heads]);
        add(format!("{p}.self_attn.pos_bias_v"), vec![enc.heads, d / enc.heads]);
        add(format!("{p}.conv.depthwise_conv.weight"), vec![d, 1, enc.conv_kernel]);
        add(format!("{p}.conv.depthwise_conv.bias"), vec![d]);
    }
    out.insert(
        "preprocessor.featurizer.window",
        Tensor {
            shape: vec![400],
            data: hann(),
        },
    );
    out.insert(
        "preprocessor.featurizer.fb",
        Tensor {
            shape: vec![1, 80, 257],
            data: slaney(80),
        },
    );
    out
}

fn audio(count: usize) -> Vec<f32> {
    (0..count)
        .map(|i| 0.3 * (i as f32 * 0.05).sin() + 0.1 * ((i * i % 9_973) as f32 / 9_973.0 - 0.5))
        .collect()
}

fn step(network: &Network, states: &mut [StreamState], samples: &[f32], start: bool, scratch: &mut Scratch) -> Vec<f32> {
    let mut work: Vec<StepInput<'_>> = states
        .iter_mut()
        .map(|state| StepInput {
            state,
            samples,
            start,
            end: false,
        })
        .collect();
    network.step(0, &mut work, scratch).unwrap().rows.to_vec()
}

/// Time so far: of this thread on a processor, or on the wall.
fn now(began: Instant, cpu: bool) -> Duration {
    if !cpu {
        return began.elapsed();
    }
    let spent = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(spent.split(' ').next().unwrap().parse().unwrap())
}

/// Median and least time of a step once the caches are full.
fn measure(network: &Network, streams: usize, cpu: bool) -> (Duration, Duration) {
    let mut states: Vec<StreamState> = (0..streams).map(|_| network.new_state()).collect();
    let mut scratch = Scratch::default();
    let samples = audio(1_280 * (RIGHT + 1));
    step(network, &mut states, &samples[..1_280 * RIGHT + 200], true, &mut scratch);
    for _ in 0..15 {
        step(network, &mut states, &samples, false, &mut scratch);
    }
    let began = Instant::now();
    // The processor clock ticks coarsely, so it is read around many steps.
    let (rounds, steps) = if cpu {
        (8, (1_000 / streams as u32).max(30))
    } else {
        ((4_000 / streams).clamp(60, 600), 1)
    };
    let mut times: Vec<Duration> = (0..rounds)
        .map(|_| {
            let before = now(began, cpu);
            for _ in 0..steps {
                step(network, &mut states, &samples, false, &mut scratch);
            }
            (now(began, cpu) - before) / steps
        })
        .collect();
    times.sort();
    (times[times.len() / 2], times[0])
}

fn dump(path: &str, network: &Network, weights: &Weights) {
    let samples = audio(1_280 * RIGHT + 200 + 14 * 1_280 * (RIGHT + 1));
    let (mut state, mut scratch, mut rows) = ([network.new_state()], Scratch::default(), Vec::new());
    let (first, rest) = samples.split_at(1_280 * RIGHT + 200);
    rows.extend(step(network, &mut state, first, true, &mut scratch));
    for chunk in rest.chunks(1_280 * (RIGHT + 1)) {
        rows.extend(step(network, &mut state, chunk, false, &mut scratch));
    }
    let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let mut tensors: Vec<(String, Vec<usize>, Vec<u8>)> = weights
        .iter()
        .map(|(name, tensor)| (name.to_owned(), tensor.shape.clone(), bytes(&tensor.data)))
        .collect();
    tensors.push(("samples".to_owned(), vec![samples.len()], bytes(&samples)));
    tensors.push((
        "frames".to_owned(),
        vec![rows.len() / network.width(), network.width()],
        bytes(&rows),
    ));
    let views = tensors.iter().map(|(name, shape, data)| {
        (
            name.as_str(),
            safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), data).unwrap(),
        )
    });
    safetensors::serialize_to_file(views, None::<HashMap<String, String>>, path.as_ref()).unwrap();
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |name: &str| arguments.iter().position(|a| a == name).and_then(|i| arguments.get(i + 1)).cloned();
    let cpu = arguments.iter().any(|a| a == "--cpu");
    let threads = if cpu {
        1
    } else {
        value("--threads").map_or(2, |n| n.parse().unwrap())
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    if cpu { pool.use_current_thread() } else { pool }.build_global().unwrap();
    println!(
        "context [70, {RIGHT}], {threads} threads, {} time; a step is {} ms of audio",
        if cpu { "processor" } else { "wall" },
        80 * (RIGHT + 1)
    );
    for (width, channels) in [(256, 64), (144, 32)] {
        let arch = arch(width, channels);
        let weights = weights(&arch);
        let network = Network::new(&arch, &weights).unwrap();
        if let Some(path) = value("--dump").filter(|_| width == 256) {
            dump(&path, &network, &weights);
        }
        for streams in [1, 8, 32] {
            let (median, least) = measure(&network, streams, cpu);
            println!(
                "D {width:4}  streams {streams:3}  median {:7.2} ms  least {:7.2} ms  steps/s {:7.1} (least {:7.1})  streams in real time {:6.0}",
                median.as_secs_f64() * 1e3,
                least.as_secs_f64() * 1e3,
                1.0 / median.as_secs_f64(),
                1.0 / least.as_secs_f64(),
                streams as f64 * 0.08 * (RIGHT + 1) as f64 / median.as_secs_f64(),
            );
        }
    }
}
