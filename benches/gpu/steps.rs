//! Whole steps on the device: start-up, memory, step times by context and batch, and what follows from them.

use std::cell::Cell;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hark::engine::Engine;
use hark::engine::batch::{Batch, Chunk, Slot};
use hark::engine::cuda::CudaEngine;
use hark::gpu::{Gpu, Settings};
use hark::model::decode::confidence::Confidence;
use hark::model::decode::{Decoder, Heard};
use hark::model::device::{Demand, DeviceInput, DeviceNetwork};
use hark::units::{SAMPLES_PER_FRAME, StreamId};
use serde_json::{Value, json};

use crate::{Head, Model, Options, random_model};

/// Frames of all streams of one step at most; the engine cuts larger ones.
pub(crate) const MOST_ROWS: usize = 8_192;
const FRAME: usize = SAMPLES_PER_FRAME as usize;
/// Part of the time that a server may spend in steps, as in `engine::cost`.
const USABLE: f64 = 0.8;

/// The kernels compiled and loaded: once without anything kept, once with what that kept.
pub(crate) fn startup(settings: &Settings) -> Result<Value, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let settings = Settings {
        cache: Some(folder.path().to_owned()),
        ..settings.clone()
    };
    let mut times = Vec::new();
    for kept in [false, true] {
        let began = Instant::now();
        let gpu = Gpu::open(&settings)?;
        let (all, found) = (began.elapsed(), gpu.found());
        println!(
            "start-up, {}: {:.0} ms, of it kernels {:.0} ms ({} compiled)",
            if kept { "kernels kept" } else { "nothing kept" },
            ms(all),
            ms(found.ready_in),
            found.compiled
        );
        times.push(json!({"kept": kept, "open_ms": ms(all), "kernels_ms": ms(found.ready_in), "compiled": found.compiled}));
    }
    Ok(json!(times))
}

/// A model on the device by itself and in the engine.
pub(crate) fn model(model: &Model, head: &Head, options: &Options) -> Result<Value, Box<dyn Error>> {
    let gpu = Gpu::open(&options.settings)?;
    let began = Instant::now();
    let decoder = Decoder::new(&model.arch, &model.weights, &model.pieces, head.strategy.clone())?;
    let decoder = Arc::new(decoder.with_confidence(Confidence::MaxProb));
    let demand = Demand {
        slots: options.slots,
        max_batch: options.max_batch,
    };
    let network = DeviceNetwork::new(gpu, &model.arch, &model.weights, &decoder, demand)?;
    let placed = began.elapsed();
    let taken = network.footprint();
    let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    println!(
        "{} {}: on the device in {:.0} ms, {} graphs; {} slots of {:.2} MiB; {:.0} MiB free before, {:.0} after",
        model.name,
        head.name,
        ms(placed),
        taken.graphs,
        taken.slots,
        mib(taken.per_slot),
        mib(taken.free.0),
        mib(taken.free.1)
    );
    let memory = json!({
        "placed_ms": ms(placed),
        "graphs": taken.graphs,
        "slots": taken.slots,
        "bytes_per_slot": taken.per_slot,
        "bytes_free_before": taken.free.0,
        "bytes_free_after": taken.free.1,
    });
    let mut bench = Bench {
        options,
        audio: random_model::call(),
        rights: model.arch.encoder.contexts.iter().map(|[_, right]| *right as usize).collect(),
        slots: network.slots(),
    };
    let mut network = network;
    let steps = bench.network(model, head, &mut network)?;
    let mut engine = CudaEngine::new(network, decoder, 0);
    let capacity = bench.engine(model, head, &mut engine)?;
    let offline = bench.offline(model, head, &mut engine)?;
    Ok(json!({"memory": memory, "steps": steps, "capacity": capacity, "offline": offline}))
}

struct Bench<'a> {
    options: &'a Options,
    audio: Vec<f32>,
    rights: Vec<usize>,
    slots: usize,
}

impl Bench<'_> {
    fn largest(&self, context: usize) -> usize {
        self.options.max_batch.min(MOST_ROWS / (self.rights[context] + 1)).min(self.slots)
    }

    /// The sizes measured: powers of four, and the largest.
    fn batches(&self, context: usize) -> Vec<usize> {
        let largest = self.largest(context);
        let mut batches: Vec<usize> = (0..).map(|power| 1 << (2 * power)).take_while(|size| *size < largest).collect();
        batches.push(largest);
        batches
    }

    /// Steps until the longest past is full.
    fn filling(&self, context: usize) -> usize {
        if self.options.quick {
            2
        } else {
            72 / (self.rights[context] + 1) + 2
        }
    }

    /// Piece `number` of what stream `stream` hears: the sample call from a place of its own on, over and over.
    fn piece(&self, stream: usize, number: usize, right: usize) -> &[f32] {
        let length = FRAME * (right + 1);
        let at = (stream * 7_919 + number * length) % (self.audio.len() - length);
        let part = &self.audio[at..at + length];
        // The first chunk: what makes `right + 1` frames after the zeros before the first sample.
        if number == 0 { &part[..FRAME * right + 200] } else { part }
    }

    /// The median and what is near the longest of many runs of `step`.
    fn times(&self, mut step: impl FnMut() -> Result<Duration, Box<dyn Error>>) -> Result<(Duration, Duration), Box<dyn Error>> {
        let once = step()?;
        let rounds = if self.options.quick {
            2
        } else {
            (0.4 / once.as_secs_f64().max(1e-6)).clamp(12.0, 400.0) as usize
        };
        let mut times = (0..rounds).map(|_| step()).collect::<Result<Vec<_>, _>>()?;
        times.sort();
        Ok((times[rounds / 2], times[rounds * 95 / 100]))
    }

    fn network(&mut self, model: &Model, head: &Head, network: &mut DeviceNetwork) -> Result<Vec<Value>, Box<dyn Error>> {
        let mut rows = Vec::new();
        for context in 0..self.rights.len() {
            let (right, largest) = (self.rights[context], self.largest(context));
            let (mut number, tokens) = (0, Cell::new(0_usize));
            let mut step = |batch: usize| -> Result<Duration, Box<dyn Error>> {
                let work: Vec<DeviceInput<'_>> = (0..batch)
                    .map(|slot| DeviceInput {
                        slot,
                        samples: self.piece(slot, number, right),
                        start: number == 0,
                        end: false,
                        prompt: None,
                    })
                    .collect();
                let mut emitted = vec![0; batch];
                let began = Instant::now();
                network.step(context, &work, &mut emitted, |count, heard| {
                    if let Heard::Emitted { emissions, .. } = heard {
                        *count = emissions.len();
                    }
                })?;
                let took = began.elapsed();
                tokens.set(emitted.iter().sum());
                number += 1;
                Ok(took)
            };
            for _ in 0..self.filling(context) {
                step(largest)?;
            }
            let batches = self.batches(context);
            for batch in batches {
                let (median, late) = self.times(|| step(batch))?;
                let emitted = tokens.get() as f64 / (batch * (right + 1)) as f64;
                println!(
                    "{} {} [70, {right}] batch {batch:5}: step {:8.3} ms (95 in 100 within {:.3}), {emitted:.2} tokens a frame",
                    model.name,
                    head.name,
                    ms(median),
                    ms(late)
                );
                rows.push(json!({
                    "context": model.arch.encoder.contexts[context],
                    "batch": batch,
                    "frames": batch * (right + 1),
                    "median_ms": ms(median),
                    "p95_ms": ms(late),
                    "tokens_a_frame": if head.name == "transducer" { json!(emitted) } else { Value::Null },
                }));
            }
        }
        Ok(rows)
    }

    /// What the server's engine thread spends in a step, search on the host included, and the streams for which that suffices.
    fn engine(&self, model: &Model, head: &Head, engine: &mut CudaEngine) -> Result<Vec<Value>, Box<dyn Error>> {
        let mut rows = Vec::new();
        for context in 0..self.rights.len() {
            let (right, batch) = (self.rights[context], self.largest(context));
            let mut number = 0;
            let mut step = || -> Result<Duration, Box<dyn Error>> {
                let took = timed(
                    engine,
                    context,
                    (0..batch).map(|slot| self.chunk(slot, number, right, false)).collect(),
                )?;
                number += 1;
                Ok(took)
            };
            for _ in 0..self.filling(context) {
                step()?;
            }
            let (median, late) = self.times(step)?;
            let period = 0.08 * (right + 1) as f64;
            let full = USABLE * period / median.as_secs_f64() * batch as f64;
            // As `CostTable::stream_capacity`; where a full step takes longer than there is time for, less than a batch fits.
            let streams = (full as usize).min(self.slots);
            println!(
                "{} {} [70, {right}] batch {batch:5}: engine {:7.3} ms (95 in 100 within {:.3}); by time {streams} streams fit of {} slots",
                model.name,
                head.name,
                ms(median),
                ms(late),
                self.slots
            );
            rows.push(json!({
                "context": model.arch.encoder.contexts[context],
                "batch": batch,
                "engine_median_ms": ms(median),
                "engine_p95_ms": ms(late),
                "streams_by_time": full as usize,
                "streams": streams,
            }));
        }
        Ok(rows)
    }

    /// Recorded files: as many as a step takes, from the first chunk to the last, in the longest context.
    fn offline(&self, model: &Model, head: &Head, engine: &mut CudaEngine) -> Result<Value, Box<dyn Error>> {
        let context = (0..self.rights.len()).max_by_key(|context| self.rights[*context]).unwrap_or(0);
        let (right, files) = (self.rights[context], self.largest(context));
        let chunks = if self.options.quick { 3 } else { 27 };
        let (mut took, mut samples) = (Duration::ZERO, 0);
        for number in 0..chunks {
            let batch: Vec<Chunk> = (0..files)
                .map(|slot| self.chunk(slot, number, right, number + 1 == chunks))
                .collect();
            samples += batch.iter().map(|chunk| chunk.samples.len()).sum::<usize>();
            took += timed(engine, context, batch)?;
        }
        let seconds = samples as f64 / 16_000.0;
        let speed = seconds / took.as_secs_f64();
        println!(
            "{} {} offline: {files} files, {seconds:.0} s of audio in {:.3} s: {speed:.0} times real time",
            model.name,
            head.name,
            took.as_secs_f64()
        );
        Ok(json!({
            "context": model.arch.encoder.contexts[context],
            "files": files,
            "audio_s": seconds,
            "took_s": took.as_secs_f64(),
            "times_real_time": speed,
        }))
    }

    fn chunk(&self, slot: usize, number: usize, right: usize, end: bool) -> Chunk {
        Chunk {
            stream: StreamId(slot as u64),
            slot: Slot {
                index: slot as u32,
                generation: 1,
            },
            seq: number as u64,
            samples: self.piece(slot, number, right).to_vec(),
            start: number == 0,
            end,
            commit: false,
            terms: None,
            lm: None,
        }
    }
}

fn timed(engine: &mut CudaEngine, context: usize, chunks: Vec<Chunk>) -> Result<Duration, Box<dyn Error>> {
    let batch = Batch { context, chunks };
    let began = Instant::now();
    engine.step(&batch)?;
    Ok(began.elapsed())
}

pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
