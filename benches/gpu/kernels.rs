//! Each kernel of a step by itself, at the sizes that it has in a model.
//!
//! Many launches of a recorded graph between two waits. Nothing is faster than a graph can launch: that floor is measured too. "Warm" launches all do the same work on the same memory. "Cold" ones go round
//! through copies of everything they touch, more than any L2 cache holds, as weights and states of streams are found in a real step;
//! activations are found warm there, so a step lies between the two sums. Values are random, since a card's clock depends on them.

use std::error::Error;
use std::time::Instant;

use hark::gpu::buffer::halves;
use hark::gpu::launch::int;
use hark::gpu::{Arg, Buffer, Gpu, GpuError, Kernel, Pointer, Shape};
use hark::model::arch::Transducer as Sizing;
use hark::model::decode::TransducerTensors;
use hark::ops::depthwise_conv::cuda::DepthwiseConv;
use hark::ops::depthwise_conv::{DepthwiseConv as Folded, Norm};
use hark::ops::layer_norm::cuda::{LayerNorm, Norms};
use hark::ops::linear::cuda::{Into, Linear, Linears};
use hark::ops::log_mel::cuda::{Audio, LogMel, TAIL};
use hark::ops::log_mel::{hann, slaney};
use hark::ops::log_softmax::cuda::LogSoftmax;
use hark::ops::rel_attention::cuda::Heads;
use hark::ops::rows::Row;
use hark::ops::subsample::frequencies;
use hark::ops::transducer::cuda::{Search, Sizes, Tensors, Transducer};
use hark::units::SAMPLES_PER_FRAME;
use serde_json::{Value, json};

use crate::steps::MOST_ROWS;
use crate::{Model, Options};

/// Copies together are this large, in bytes: more than twice the L2 cache of the largest cards.
const COLD: usize = 128 << 20;
/// Slots that streams are spread over.
const SLOTS: usize = 1_024;
/// Earlier frames that a new one sees at most.
const PAST: usize = 70;
const SAMPLES: usize = SAMPLES_PER_FRAME as usize;

/// What is timed.
struct Case<'a> {
    name: &'static str,
    /// Launches in a step.
    per_step: usize,
    /// Bytes that have to be read and written, each once.
    bytes: usize,
    /// Operations of the tensor cores.
    products: usize,
    /// How many copies there are.
    copies: usize,
    /// Launches on copy `i`.
    launch: Box<dyn Fn(usize) -> Result<(), GpuError> + 'a>,
}

/// The sizes of one step.
#[derive(Clone, Copy)]
struct Step {
    streams: usize,
    frames: usize,
}

/// Weights on the device, some of them many times.
struct Layers {
    log_mel: LogMel,
    taps: Buffer<f32>,
    shift: Buffer<f32>,
    linears: Vec<Matrix>,
    norms: Vec<LayerNorm>,
    conv: DepthwiseConv,
    positions: Buffer<u16>,
    biases: Buffer<f32>,
    transducer: Option<Transducer>,
    softmax: LogSoftmax,
    raw: [Kernel; 4],
}

/// A linear layer and how it is used.
struct Matrix {
    name: &'static str,
    per_step: usize,
    /// Rows for each frame of a step.
    rows: usize,
    mode: fn(Pointer) -> Into,
    /// Results are f32, read before if they are added to.
    float: usize,
    /// Values of a result row.
    stride: usize,
    copies: Vec<Linear>,
}

/// Memory that steps work in, filled with noise.
struct Pools {
    half: [Buffer<u16>; 2],
    full: Buffer<f32>,
    pcm: Buffer<i16>,
    audio_tails: Buffer<f32>,
    mel_tails: Buffer<f32>,
    row_tails: Buffer<u16>,
    rings: [Buffer<u16>; 2],
    conv_tails: Buffer<u16>,
    state: Buffer<f32>,
    cursor: Buffer<i32>,
    count: Buffer<i32>,
    tokens: Buffer<i32>,
    confidence: Buffer<f32>,
    joint: Buffer<f32>,
    best: Buffer<i32>,
}

struct Bench<'a> {
    gpu: &'a Gpu,
    model: &'a Model,
    options: &'a Options,
    heads: Heads,
    columns: [usize; 3],
    slots: usize,
}

/// Times of every kernel at several sizes.
pub(crate) fn measure(model: &Model, options: &Options) -> Result<Value, Box<dyn Error>> {
    let gpu = Gpu::open(&options.settings)?;
    let (encoder, bins) = (&model.arch.encoder, model.arch.frontend.mel_bins);
    let rights: Vec<usize> = encoder.contexts.iter().map(|[_, right]| *right as usize).collect();
    let (longest, shortest) = (
        rights.iter().copied().max().unwrap_or(0) + 1,
        rights.iter().copied().min().unwrap_or(0).max(1) + 1,
    );
    let largest = |frames: usize| options.max_batch.min(MOST_ROWS / frames);
    let step = |frames: usize, streams: usize| Step { streams, frames };
    let mut steps = vec![
        step(longest, largest(longest)),
        step(shortest, largest(shortest)),
        step(shortest, 64),
        step(shortest, 1),
    ];
    if options.quick {
        steps = vec![step(shortest, 2)];
    }
    let bench = Bench {
        gpu: &gpu,
        model,
        options,
        heads: Heads {
            count: encoder.heads,
            depth: encoder.width / encoder.heads,
            ring: (PAST + longest).next_multiple_of(16),
        },
        columns: frequencies(bins, encoder.causal_subsampling),
        slots: if options.quick { 8 } else { SLOTS.max(options.max_batch) },
    };
    let layers = bench.layers(longest)?;
    let most = steps.iter().map(|step| step.streams * step.frames).max().unwrap_or(0);
    let streams = steps.iter().map(|step| step.streams).max().unwrap_or(0);
    let pools = bench.pools(most, streams)?;
    let mut measured = Vec::new();
    for step in steps {
        measured.push(bench.step(&layers, &pools, step)?);
    }
    Ok(json!(measured))
}

impl Bench<'_> {
    /// How many copies of `bytes` bytes there shall be.
    fn copies(&self, bytes: usize) -> usize {
        if self.options.quick {
            2
        } else {
            (COLD / bytes.max(1)).clamp(1, 256)
        }
    }

    fn layers(&self, longest: usize) -> Result<Layers, Box<dyn Error>> {
        let (gpu, arch, encoder) = (self.gpu, &self.model.arch, &self.model.arch.encoder);
        let (d, c, ff) = (encoder.width, encoder.subsampling_channels, encoder.width * encoder.ff_expansion);
        let (wide, [_, second, third]) = (self.heads.width(), self.columns);
        let kernels = Linears::new(gpu)?;
        let matrix = |name, per_step, rows, mode: fn(Pointer) -> Into, float, outputs: usize, inputs: usize| -> Result<Matrix, GpuError> {
            let weight = noise(outputs * inputs, 1.7 / (inputs as f32).sqrt());
            let bias = noise(outputs, 0.1);
            let gated = name == "conv in, gate";
            let one = |_| match gated {
                true => Linear::gated(gpu, &kernels, &weight, Some(&bias), outputs / 2, inputs),
                false => Linear::new(gpu, &kernels, &weight, Some(&bias), outputs, inputs),
            };
            Ok(Matrix {
                name,
                per_step,
                rows,
                mode,
                float,
                stride: if gated { outputs / 2 } else { outputs.next_multiple_of(8) },
                copies: (0..self.copies(2 * outputs * inputs)).map(one).collect::<Result<_, _>>()?,
            })
        };
        let all = encoder.layers;
        let mut linears = vec![
            matrix("subsample, mix 1", 1, 2 * second, Into::Relu, 0, c, c)?,
            matrix("subsample, mix 2", 1, third, Into::Relu, 0, c, c)?,
            matrix("subsample, out", 1, 1, Into::Float, 4, d, c * third)?,
            matrix("feed-forward, expand", 2 * all, 1, Into::Silu, 0, ff, d)?,
            matrix("feed-forward, contract", 2 * all, 1, |y| Into::Add(y, 1e-6), 8, d, ff)?,
            matrix("attention, in", all, 1, Into::Store, 0, 3 * wide, d)?,
            matrix("attention, out", all, 1, |y| Into::Add(y, 1e-6), 8, d, wide)?,
            matrix("conv in, gate", all, 1, Into::Gate, 0, 2 * d, d)?,
            matrix("conv, out", all, 1, |y| Into::Add(y, 1e-6), 8, d, d)?,
        ];
        if let Some(sizes) = &arch.transducer {
            linears.push(matrix("joint, encoder's part", 1, 1, Into::Float, 4, sizes.joint_width, d)?);
        }
        if arch.ctc {
            linears.push(matrix("ctc head", 1, 1, Into::Float, 4, arch.vocabulary + 1, d)?);
        }
        let norms = Norms::new(gpu)?;
        let (scale, small) = (vec![1.0; d], noise(d, 0.1));
        let norm = |_| LayerNorm::new(gpu, &norms, &scale, &small);
        let folded = Folded::new(
            &noise(d * encoder.conv_kernel, 0.5),
            None,
            d,
            encoder.conv_kernel,
            Norm::Layer {
                weight: &scale,
                bias: &small,
            },
        );
        let transducer = match TransducerTensors::of(arch, &self.model.weights)? {
            None => None,
            Some(tensors) => {
                let sizes = Sizes {
                    layers: tensors.sizes.prediction_layers,
                    prediction: tensors.sizes.prediction_width,
                    joint: tensors.sizes.joint_width,
                    vocabulary: arch.vocabulary,
                    max_symbols: tensors.sizes.max_symbols,
                };
                let tensors = Tensors {
                    embedding: tensors.embedding,
                    lstm: &tensors.lstm,
                    lstm_bias: &tensors.lstm_bias,
                    prediction: (tensors.prediction.0, &tensors.prediction.1),
                    output: (tensors.output.0, &tensors.output.1),
                    start: &vec![0.0; sizes.state()],
                    durations: &tensors.sizes.durations,
                };
                Some(Transducer::new(gpu, sizes, tensors)?)
            }
        };
        let distances = self.heads.ring + longest - 1;
        Ok(Layers {
            log_mel: LogMel::new(gpu, &hann(), &slaney(arch.frontend.mel_bins), arch.frontend.mel_bins)?,
            taps: gpu.upload(&noise(9 * c, 0.5))?,
            shift: gpu.upload(&noise(c, 0.1))?,
            linears,
            norms: (0..8).map(norm).collect::<Result<_, _>>()?,
            conv: DepthwiseConv::new(gpu, &folded, encoder.conv_kernel - 1)?,
            positions: gpu.upload(&halves(&noise(distances * wide, 1.0)))?,
            biases: gpu.upload(&noise(wide, 0.1))?,
            transducer,
            softmax: LogSoftmax::new(gpu)?,
            raw: [
                gpu.kernel("subsample.cu", "subsample_first", 0)?,
                gpu.kernel("subsample.cu", "subsample_depthwise", 0)?,
                gpu.kernel("rel_attention.cu", "rel_attention_append", 0)?,
                gpu.kernel("rel_attention.cu", "rel_attention", self.shared())?,
            ],
        })
    }

    fn pools(&self, rows: usize, streams: usize) -> Result<Pools, GpuError> {
        let (gpu, arch, encoder) = (self.gpu, &self.model.arch, &self.model.arch.encoder);
        let (bins, c, d) = (arch.frontend.mel_bins, encoder.subsampling_channels, encoder.width);
        let [first, second, _] = self.columns;
        let room = if self.options.quick { 0 } else { COLD };
        let widest = (d * encoder.ff_expansion).max(3 * self.heads.width());
        let state = |sizes: &Sizing| 2 * sizes.prediction_width * sizes.prediction_layers + sizes.joint_width;
        let sizes = arch.transducer.as_ref();
        let (symbols, joint, state) = sizes.map_or((1, 1, 1), |sizes| (sizes.max_symbols, sizes.joint_width, state(sizes)));
        let half = (4 * rows * first * c).max(rows * widest).max(room / 2);
        let full = (8 * rows * bins).max(rows * d).max(rows * (arch.vocabulary + 8)).max(room / 4);
        let sound: Vec<i16> = noise(rows * SAMPLES, 8_000.0).iter().map(|value| *value as i16).collect();
        let ring = self.slots * self.heads.width() * self.heads.ring;
        Ok(Pools {
            half: [
                gpu.upload(&halves_repeated(half))?,
                gpu.upload(&halves_repeated((2 * rows * second * c).max(half / 2)))?,
            ],
            full: gpu.upload(&repeated(noise(1 << 20, 1.7), full))?,
            pcm: gpu.upload(&sound)?,
            audio_tails: gpu.zeros(self.slots * 2 * TAIL)?,
            mel_tails: gpu.zeros(self.slots * 4 * bins)?,
            row_tails: gpu.zeros(self.slots * 4 * first * c)?,
            rings: [gpu.upload(&halves_repeated(ring))?, gpu.upload(&halves_repeated(ring))?],
            conv_tails: gpu.zeros(self.slots * 2 * (encoder.conv_kernel - 1) * d)?,
            state: gpu.zeros(self.slots * state)?,
            cursor: gpu.zeros(self.slots * 2)?,
            count: gpu.zeros(streams)?,
            tokens: gpu.zeros(rows * symbols * 3)?,
            confidence: gpu.zeros(rows * symbols)?,
            joint: gpu.upload(&noise(rows * joint, 5.7))?,
            best: gpu.zeros(rows)?,
        })
    }

    /// Descriptors of streams in the midst of their audio, with other slots in each table.
    fn tables(&self, step: Step) -> Result<Vec<Buffer<i32>>, GpuError> {
        let Step { streams, frames } = step;
        let count = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        let row = |slot: usize| Row {
            slot: count(slot % self.slots),
            samples: count(frames * SAMPLES),
            tail: 240,
            mel: count(8 * frames),
            held: [1; 3],
            given: [count(4 * frames), count(2 * frames), count(frames)],
            ring: 16,
            past: count(PAST / frames * frames),
            ..Row::default()
        };
        (0..(self.slots / streams).clamp(1, 256))
            .map(|table| {
                let rows: Vec<i32> = (0..streams).flat_map(|stream| row(table * streams + stream).words()).collect();
                self.gpu.upload(&rows)
            })
            .collect()
    }

    fn shared(&self) -> usize {
        4 * 16 * (self.heads.ring + 8) + 2 * 2 * 16 * (self.heads.padded() | 16)
    }

    /// One size: every kernel, warm and cold.
    fn step(&self, layers: &Layers, pools: &Pools, step: Step) -> Result<Value, Box<dyn Error>> {
        let tables = self.tables(step)?;
        let cases = self.cases(layers, pools, &tables, step);
        // One row on one warp: what a launch costs the host.
        let floor = self.time(1, &|_| {
            layers.norms[0].forward(self.gpu, pools.full.pointer(), 1, pools.half[1].pointer())
        })?;
        println!(
            "{}: {} streams of {} frames, times in microseconds (floor {:.2}); share of the copy rate (read and written) and of the f16 \
             product rate",
            self.model.name,
            step.streams,
            step.frames,
            floor * 1e6
        );
        let [copy, product] = self.options.ceilings;
        let (mut kernels, mut sums) = (Vec::new(), [0.0, 0.0]);
        for case in &cases {
            let warm = self.time(1, &case.launch)?;
            // Copies that the cache holds together would be warm again.
            let cold = if case.copies * case.bytes >= COLD * 3 / 4 {
                Some(self.time(case.copies, &case.launch)?)
            } else {
                None
            };
            let share =
                |amount: usize, ceiling: Option<f64>, time: f64| ceiling.filter(|_| amount > 0).map(|most| amount as f64 / time / most);
            let shares = [share(case.bytes, copy, cold.unwrap_or(warm)), share(case.products, product, warm)];
            let percent = |share: Option<f64>| share.map_or("-".to_owned(), |share| format!("{:.0} %", 100.0 * share));
            println!(
                "  {:24} {:4} a step  warm {:9.2}  cold {:>9}  {:8.3} MB {:9.3} GFLOP  {:>6} {:>6}",
                case.name,
                case.per_step,
                warm * 1e6,
                cold.map_or("-".to_owned(), |time| format!("{:.2}", time * 1e6)),
                case.bytes as f64 / 1e6,
                case.products as f64 / 1e9,
                percent(shares[0]),
                percent(shares[1])
            );
            sums[0] += case.per_step as f64 * warm;
            sums[1] += case.per_step as f64 * cold.unwrap_or(warm);
            kernels.push(json!({
                "name": case.name,
                "per_step": case.per_step,
                "warm_us": warm * 1e6,
                "cold_us": cold.map(|time| time * 1e6),
                "bytes": case.bytes,
                "products": case.products,
                "share_of_copy": shares[0],
                "share_of_product": shares[1],
            }));
        }
        println!("  all of a step: {:.3} ms warm, {:.3} ms cold", sums[0] * 1e3, sums[1] * 1e3);
        let tokens = self.gpu.download(&pools.count)?.iter().take(step.streams).sum::<i32>();
        Ok(json!({
            "streams": step.streams,
            "frames": step.frames,
            "floor_us": floor * 1e6,
            "kernels": kernels,
            "step_warm_ms": sums[0] * 1e3,
            "step_cold_ms": sums[1] * 1e3,
            "tokens_a_frame": layers.transducer.as_ref().map(|_| f64::from(tokens) / (step.streams * step.frames) as f64),
        }))
    }

    /// Seconds of one launch, when launches go round through `copies` copies.
    fn time(&self, copies: usize, launch: &dyn Fn(usize) -> Result<(), GpuError>) -> Result<f64, GpuError> {
        let (launches, rounds) = if self.options.quick { (2, 2) } else { (copies.max(32), 7) };
        let graph = self.gpu.record(|| (0..launches).try_for_each(|i| launch(i % copies)))?;
        let run = |replays: usize| -> Result<f64, GpuError> {
            let began = Instant::now();
            (0..replays).try_for_each(|_| self.gpu.replay(&graph))?;
            self.gpu.wait()?;
            Ok(began.elapsed().as_secs_f64() / (replays * launches) as f64)
        };
        run(1)?;
        // Long enough that the wait itself, some ten microseconds, does not show.
        let replays = if self.options.quick {
            1
        } else {
            (4e-3 / (run(1)? * launches as f64)).clamp(1.0, 500.0) as usize
        };
        let mut times = (0..rounds).map(|_| run(replays)).collect::<Result<Vec<_>, _>>()?;
        times.sort_by(f64::total_cmp);
        Ok(times[rounds / 2])
    }

    fn cases<'a>(&'a self, layers: &'a Layers, pools: &'a Pools, tables: &'a [Buffer<i32>], step: Step) -> Vec<Case<'a>> {
        let (gpu, arch, encoder) = (self.gpu, &self.model.arch, &self.model.arch.encoder);
        let Step { streams, frames } = step;
        let (rows, d, c, bins) = (
            streams * frames,
            encoder.width,
            encoder.subsampling_channels,
            arch.frontend.mel_bins,
        );
        let (heads, [first, second, third], all) = (self.heads, self.columns, encoder.layers);
        let [one, two] = &pools.half;
        let table = move |i: usize| &tables[i % tables.len()];
        let mut cases = vec![Case {
            name: "log-mel",
            per_step: 1,
            bytes: streams * (2 * frames * SAMPLES + 2 * 4 * TAIL) + 4 * 8 * rows * bins,
            products: 0,
            copies: 1,
            launch: Box::new(move |i| {
                let audio = Audio {
                    pcm: &pools.pcm,
                    stride: frames * SAMPLES,
                    tails: pools.audio_tails.pointer(),
                    rows: table(i),
                    streams,
                    mel: pools.full.pointer(),
                    frames: 8 * frames,
                };
                layers.log_mel.forward(gpu, audio)
            }),
        }];
        let grid = move |rows: usize| Shape {
            grid: [rows, streams, 1],
            block: [256, 1],
            shared: 0,
        };
        let lead = if encoder.causal_subsampling { 2 } else { 1 };
        let size = 2 * 4 * rows * first * c;
        cases.push(Case {
            name: "subsample, first",
            per_step: 1,
            bytes: 4 * 8 * rows * bins + size,
            products: 0,
            copies: self.fitting(one, size),
            launch: Box::new(move |i| {
                let args: [Arg; 12] = [
                    (&pools.full).into(),
                    int(8 * frames)?.into(),
                    (&pools.mel_tails).into(),
                    table(i).into(),
                    (&layers.taps).into(),
                    (&layers.shift).into(),
                    at(one, i, size)?.into(),
                    int(4 * frames)?.into(),
                    int(first)?.into(),
                    int(bins)?.into(),
                    int(c)?.into(),
                    int(lead)?.into(),
                ];
                // SAFETY: the arguments are those of `subsample_first`, as in `ops::subsample::cuda`; the pools are large enough.
                unsafe { gpu.launch(&layers.raw[0], grid(4 * frames), &args) }
            }),
        });
        for (name, layer, x_rows, x_columns, y_rows, y_columns) in [
            ("subsample, depthwise 1", 1, 4 * frames, first, 2 * frames, second),
            ("subsample, depthwise 2", 2, 2 * frames, second, frames, third),
        ] {
            let size = 2 * streams * x_rows * x_columns * c;
            cases.push(Case {
                name,
                per_step: 1,
                bytes: size + 2 * streams * (y_rows * y_columns + 2 * x_columns) * c,
                products: 0,
                copies: self.fitting(one, size),
                launch: Box::new(move |i| {
                    let args: [Arg; 13] = [
                        at(one, i, size)?.into(),
                        int(x_rows)?.into(),
                        (&pools.row_tails).into(),
                        table(i).into(),
                        layer.into(),
                        (&layers.taps).into(),
                        (&layers.shift).into(),
                        two.into(),
                        int(y_rows)?.into(),
                        int(y_columns)?.into(),
                        int(x_columns)?.into(),
                        int(c)?.into(),
                        int(lead)?.into(),
                    ];
                    // SAFETY: as above, for `subsample_depthwise`.
                    unsafe { gpu.launch(&layers.raw[1], grid(y_rows), &args) }
                }),
            });
        }
        for matrix in &layers.linears {
            let (m, inputs, outputs) = (rows * matrix.rows, matrix.copies[0].inputs(), matrix.copies[0].outputs());
            let result = if matrix.float > 0 {
                matrix.float * outputs
            } else {
                2 * matrix.stride
            };
            let size = 2 * m * inputs;
            cases.push(Case {
                name: matrix.name,
                per_step: matrix.per_step,
                bytes: 2 * outputs * inputs + size + m * result,
                products: 2 * m * outputs * inputs,
                copies: matrix.copies.len(),
                launch: Box::new(move |i| {
                    let y = if matrix.float > 0 { pools.full.pointer() } else { two.pointer() };
                    let x = at(one, i % self.fitting(one, size), size)?;
                    matrix.copies[i].forward(gpu, x, m, (matrix.mode)(y), matrix.stride)
                }),
            });
        }
        for (name, per_step, out) in [("layer norm", 4 * all, false), ("layer norm, out", all, true)] {
            let size = 4 * rows * d;
            cases.push(Case {
                name,
                per_step,
                bytes: rows * d * if out { 10 } else { 6 },
                products: 0,
                copies: self.fitting(&pools.full, size),
                launch: Box::new(move |i| {
                    let (norm, x, y) = (&layers.norms[i % 8], at(&pools.full, i, size)?, two.pointer());
                    if out {
                        norm.forward_out(gpu, x, rows, y)
                    } else {
                        norm.forward(gpu, x, rows, y)
                    }
                }),
            });
        }
        let (wide, seen) = (heads.width(), frames + PAST / frames * frames);
        cases.push(Case {
            name: "attention, append",
            per_step: all,
            bytes: 2 * 2 * 2 * rows * wide,
            products: 0,
            copies: tables.len(),
            launch: Box::new(move |i| {
                let args: [Arg; 8] = [
                    one.into(),
                    (&pools.rings[0]).into(),
                    (&pools.rings[1]).into(),
                    table(i).into(),
                    int(frames)?.into(),
                    int(heads.count)?.into(),
                    int(heads.padded())?.into(),
                    int(heads.ring)?.into(),
                ];
                let shape = Shape {
                    grid: [heads.count, streams, 1],
                    block: [128, 1],
                    shared: 0,
                };
                // SAFETY: as above, for `rel_attention_append`.
                unsafe { gpu.launch(&layers.raw[2], shape, &args) }
            }),
        });
        cases.push(Case {
            name: "attention",
            per_step: all,
            bytes: 2 * wide * (2 * streams * seen + 2 * rows),
            products: 6 * wide * rows * seen,
            copies: tables.len(),
            launch: Box::new(move |i| {
                let args: [Arg; 17] = [
                    one.into(),
                    (&pools.rings[0]).into(),
                    (&pools.rings[1]).into(),
                    (&layers.positions).into(),
                    int(layers.positions.len() / wide)?.into(),
                    int(heads.ring - 1)?.into(),
                    (&layers.biases).into(),
                    (&layers.biases).into(),
                    table(i).into(),
                    two.into(),
                    int(frames)?.into(),
                    int(heads.count)?.into(),
                    int(heads.padded())?.into(),
                    int(heads.ring)?.into(),
                    (-1).into(),
                    (-1).into(),
                    (1.0 / (heads.depth as f32).sqrt()).into(),
                ];
                let shape = Shape {
                    grid: [frames.div_ceil(16), heads.count, streams],
                    block: [128, 1],
                    shared: self.shared(),
                };
                // SAFETY: as above, for `rel_attention`.
                unsafe { gpu.launch(&layers.raw[3], shape, &args) }
            }),
        });
        let size = 2 * rows * d;
        cases.push(Case {
            name: "depthwise convolution",
            per_step: all,
            bytes: 2 * size + 2 * 2 * streams * (encoder.conv_kernel - 1) * d,
            products: 0,
            copies: self.fitting(one, size),
            launch: Box::new(move |i| {
                let tails = pools.conv_tails.pointer();
                layers
                    .conv
                    .forward(gpu, at(one, i, size)?, tails, table(i), streams, frames, two.pointer())
            }),
        });
        if let (Some(transducer), Some(sizes)) = (&layers.transducer, &arch.transducer) {
            cases.push(Case {
                name: "transducer search",
                per_step: 1,
                // Weights come from the cache again and again; how often depends on the tokens.
                bytes: 0,
                products: 0,
                copies: 1,
                launch: Box::new(move |i| {
                    let search = Search {
                        joint: &pools.joint,
                        stride: sizes.joint_width,
                        rows: table(i),
                        streams,
                        frames,
                        state: &pools.state,
                        cursor: &pools.cursor,
                        count: &pools.count,
                        tokens: &pools.tokens,
                        confidence: &pools.confidence,
                        most: frames * sizes.max_symbols,
                    };
                    transducer.forward(gpu, search)
                }),
            });
        }
        if arch.ctc {
            let columns = arch.vocabulary + 1;
            cases.push(Case {
                name: "log-softmax",
                per_step: 1,
                bytes: 2 * 4 * rows * columns,
                products: 0,
                copies: 1,
                launch: Box::new(move |_| {
                    let (scores, best) = (&pools.full, &pools.best);
                    layers
                        .softmax
                        .forward(gpu, scores, best, &pools.state, rows, columns, columns.next_multiple_of(8))
                }),
            });
        }
        cases
    }

    /// Copies of `bytes` bytes that a pool holds, as many as are wanted.
    fn fitting<T>(&self, pool: &Buffer<T>, bytes: usize) -> usize {
        (pool.len() * size_of::<T>() / bytes.max(1)).clamp(1, self.copies(bytes))
    }
}

/// Where copy `i` of `bytes` bytes begins.
fn at<T>(pool: &Buffer<T>, i: usize, bytes: usize) -> Result<Pointer, GpuError> {
    pool.at(i * bytes / size_of::<T>())
}

/// Numbers between `-scale` and `scale`.
fn noise(count: usize, scale: f32) -> Vec<f32> {
    let mut state = count as u32 | 1;
    let mut value = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 8) as f32 / 8_388_608.0 - 1.0) * scale
    };
    (0..count).map(|_| value()).collect()
}

/// `block` over and over, `count` values.
fn repeated<T: Copy>(block: Vec<T>, count: usize) -> Vec<T> {
    block.into_iter().cycle().take(count).collect()
}

fn halves_repeated(count: usize) -> Vec<u16> {
    repeated(halves(&noise(1 << 20, 1.0)), count)
}
