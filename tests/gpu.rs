//! The GPU engine, unmodified, on a driver library that runs its kernels in the PTX emulator: the same tokens as the processor,
//! and a step that is one graph launch.
//!
//! Needs the run-time compiler (`scripts/nvrtc` installs it; `HARK_GPU__NVRTC` names it); where it is missing the tests say
//! `skipped: REASON` on standard error and in `target/skipped.txt`. `HARK_TEST_REAL_GPU=1` runs the same tests on the card that
//! is there instead; then one at a time, since some fill its memory.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic,
    reason = "a test"
)]

#[path = "gpu/rig.rs"]
mod rig;
#[path = "common/skipped.rs"]
mod skipped;

use std::path::Path;
use std::process::Command;

use hark::config::{self, GpuMode};
use hark::engine::batch::{Batch, Token};
use hark::engine::{Choice, Engine, EngineError, LmChoice};
use hark::gpu::GpuError;
use hark::model::decode::Strategy;
use rig::{Model, Rig, audio, chunk, cut, run, slot};

/// A decision may differ where its best two scores were closer than this: half precision against single, scores up to 20.
const MARGIN: f32 = 0.02;
/// Decisions of all fixtures and contexts that do differ, each within [`MARGIN`]: counted, so that one more is noticed.
const DIFFERENT: [(&str, usize); 9] = [
    ("stream_hybrid transducer", 0),
    ("stream_hybrid ctc", 3),
    ("stream_rnnt", 1),
    ("stream_prompt", 2),
    ("stream_tdt", 1),
    ("stream_tdt ctc", 1),
    ("offline_window", 2),
    ("offline_tdt", 0),
    ("offline_ctc", 1),
];

/// Where a token is, and which.
fn places(tokens: &[Token]) -> Vec<(u32, u32, u32)> {
    tokens.iter().map(|token| (token.id, token.start.0, token.end.0)).collect()
}

/// Both engines in every context over the short recording, and in the default one over the long one. All tokens and frames are equal,
/// but for decisions within [`MARGIN`], after which a search goes its own way; those are counted.
fn fixture(title: &str, name: &'static str, strategy: Strategy) {
    let Some(rig) = Rig::find() else { return };
    let model = Model::load(name, strategy);
    let mut processor = model.processor(1);
    let mut device = rig.engine(&model, Some(2), 2);
    let (mut tokens, mut different, mut worst) = (0, 0, 0.0_f32);
    let short = model.contexts().map(|context| (context, audio("audio_b.wav")));
    for (context, samples) in short.chain([(0, audio("audio_a.wav"))]) {
        let chunks = model.chunks(context, &samples);
        let wanted = run(&mut processor, context, &chunks);
        let found = run(&mut device, context, &chunks);
        let (mut wanted_rest, mut found_rest) = (wanted.as_slice(), found.as_slice());
        loop {
            let equal = places(wanted_rest)
                .iter()
                .zip(&places(found_rest))
                .take_while(|(one, other)| one == other)
                .count();
            tokens += equal;
            let pairs = wanted_rest.iter().zip(found_rest).take(equal);
            worst = pairs
                .map(|(one, other)| (one.confidence - other.confidence).abs())
                .fold(worst, f32::max);
            (wanted_rest, found_rest) = (&wanted_rest[equal..], &found_rest[equal..]);
            if wanted_rest.is_empty() && found_rest.is_empty() {
                break;
            }
            let index = wanted.len() - wanted_rest.len();
            let margin = model.margin(context, &samples, &wanted, found_rest.first(), index);
            println!(
                "{title}, context {context}: token {index} of {} differs, margin {margin}",
                wanted.len()
            );
            assert!(
                margin < MARGIN,
                "{title}, context {context}: token {index} differs\n{wanted:?}\n{found:?}"
            );
            different += 1;
            // A CTC decision concerns its own frames only; a transducer feeds on what it emitted.
            if !title.ends_with("ctc") {
                break;
            }
            let end = [wanted_rest, found_rest].map(|rest| rest.first().map_or(0, |token| token.end.0));
            let later = |rest: &'_ [Token]| rest.iter().take_while(|token| token.start.0 < end[0].max(end[1])).count();
            (wanted_rest, found_rest) = (&wanted_rest[later(wanted_rest)..], &found_rest[later(found_rest)..]);
        }
    }
    println!("{title}: {tokens} tokens equal, {different} decisions within the margin, confidences within {worst:.1e}");
    assert!(tokens > 15, "{title} is all but silent");
    // Another card sums in another order: there the margin alone counts.
    if rig.log().is_none() {
        return;
    }
    let known = DIFFERENT.iter().find(|(known, _)| *known == title).unwrap().1;
    assert!(different <= known, "{different} decisions differ, {known} were known");
}

#[test]
fn stream_hybrid_transducer() {
    fixture("stream_hybrid transducer", "stream_hybrid", Strategy::Transducer);
}

#[test]
fn stream_hybrid_ctc() {
    fixture("stream_hybrid ctc", "stream_hybrid", Strategy::Ctc);
}

#[test]
fn stream_rnnt() {
    fixture("stream_rnnt", "stream_rnnt", Strategy::Transducer);
}

#[test]
fn stream_prompt() {
    fixture("stream_prompt", "stream_prompt", Strategy::Transducer);
}

#[test]
fn stream_tdt() {
    fixture("stream_tdt", "stream_tdt", Strategy::Transducer);
}

#[test]
fn stream_tdt_ctc() {
    fixture("stream_tdt ctc", "stream_tdt", Strategy::Ctc);
}

#[test]
fn offline_window() {
    fixture("offline_window", "offline_window", Strategy::Transducer);
}

#[test]
fn offline_tdt() {
    fixture("offline_tdt", "offline_tdt", Strategy::Transducer);
}

#[test]
fn offline_ctc() {
    fixture("offline_ctc", "offline_ctc", Strategy::Ctc);
}

#[test]
fn a_stream_has_the_same_bits_alone_in_a_batch_and_in_any_slot() {
    let Some(rig) = Rig::find() else { return };
    let model = Model::load("stream_rnnt", Strategy::Transducer);
    let samples = audio("audio_b.wav");
    let context = 3;
    let alone = run(&mut rig.engine(&model, Some(1), 1), context, &model.chunks(context, &samples));
    // Three streams at different places of the audio, in slots 4, 2 and 0, in batches of three (padded to four).
    let mut engine = rig.engine(&model, Some(5), 4);
    let streams: Vec<_> = [4, 2, 0]
        .into_iter()
        .map(|index| cut(slot(index), model.right(context), &samples))
        .collect();
    let mut found: [Vec<Token>; 3] = Default::default();
    let delays = [0, 5, 9];
    for step in 0..streams[0].len() + 9 {
        let present: Vec<usize> = (0..3)
            .filter(|n| step.checked_sub(delays[*n]).is_some_and(|at| at < streams[*n].len()))
            .collect();
        let chunks = present.iter().map(|n| streams[*n][step - delays[*n]].clone()).collect();
        let decoded = engine.step(&Batch { context, chunks }).unwrap();
        for (n, decoded) in present.into_iter().zip(decoded) {
            found[n].extend(decoded.fixed);
        }
    }
    for stream in found {
        assert_eq!(stream.len(), alone.len());
        for (one, other) in stream.iter().zip(&alone) {
            assert_eq!(
                (one.id, one.start, one.confidence.to_bits()),
                (other.id, other.start, other.confidence.to_bits())
            );
        }
    }
}

#[test]
fn more_streams_than_a_graph_holds_are_run_in_parts() {
    let Some(rig) = Rig::find() else { return };
    let model = Model::load("stream_hybrid", Strategy::Transducer);
    let (context, samples) = (0, audio("audio_b.wav"));
    let alone = run(&mut rig.engine(&model, Some(1), 1), context, &model.chunks(context, &samples));
    let mut engine = rig.engine(&model, Some(5), 2);
    let streams: Vec<_> = (0..5).map(|index| cut(slot(index), model.right(context), &samples)).collect();
    let mut found: [Vec<Token>; 5] = Default::default();
    for step in 0..streams[0].len() {
        let chunks = streams.iter().map(|chunks| chunks[step].clone()).collect();
        let decoded = engine.step(&Batch { context, chunks }).unwrap();
        found
            .iter_mut()
            .zip(decoded)
            .for_each(|(stream, decoded)| stream.extend(decoded.fixed));
    }
    assert!(!alone.is_empty());
    for stream in found {
        assert_eq!(stream, alone);
    }
}

#[test]
fn a_slot_forgets_its_last_occupant() {
    let Some(rig) = Rig::find() else { return };
    let model = Model::load("stream_hybrid", Strategy::Transducer);
    let (context, samples) = (1, audio("audio_b.wav"));
    let mut engine = rig.engine(&model, Some(1), 1);
    let first = run(&mut engine, context, &model.chunks(context, &samples));
    let loud: Vec<f32> = samples.iter().map(|sample| -8.0 * sample).collect();
    // A stream that is left in the middle, louder than full scale.
    let chunks = model.chunks(context, &loud);
    run(&mut engine, context, &chunks[..chunks.len() / 2]);
    assert_eq!(run(&mut engine, context, &model.chunks(context, &samples)), first);
}

#[test]
fn a_step_is_one_graph_launch() {
    let Some(rig) = Rig::find() else { return };
    for (name, strategy) in [("stream_hybrid", Strategy::Ctc), ("stream_rnnt", Strategy::Transducer)] {
        let model = Model::load(name, strategy);
        let mut engine = rig.engine(&model, Some(2), 2);
        let chunks = model.chunks(2, &audio("audio_b.wav"));
        let Some(log) = rig.log() else { return };
        for part in chunks.iter().take(4) {
            log.clear();
            engine
                .step(&Batch {
                    context: 2,
                    chunks: vec![part.clone()],
                })
                .unwrap();
            let calls = log.read();
            let (inside, outside): (Vec<&String>, Vec<&String>) = calls.iter().partition(|call| call.ends_with("graph=1"));
            let names: Vec<&str> = outside.iter().filter_map(|call| call.split(' ').next()).collect();
            let asked: Vec<&&str> = names.iter().filter(|name| !name.starts_with("cuCtx")).collect();
            assert_eq!(asked, [&"cuGraphLaunch", &"cuStreamSynchronize"], "{name}: {outside:?}");
            assert!(names.iter().all(|name| !name.contains("CtxSynchronize")), "{outside:?}");
            assert!(inside.iter().any(|call| call.contains("cuLaunchKernel")), "{inside:?}");
            let copies: Vec<&&String> = inside.iter().filter(|call| call.contains("Memcpy")).collect();
            assert!(
                copies.len() >= 4 && copies.iter().all(|copy| copy.contains("Async") && copy.contains("pinned=1")),
                "{copies:?}"
            );
            let foreign = ["Alloc", "Free", "Synchronize", "Module"];
            assert!(
                inside.iter().all(|call| foreign.iter().all(|word| !call.contains(word))),
                "{inside:?}"
            );
        }
    }
}

#[test]
fn what_a_step_may_not_contain_is_refused_and_changes_nothing() {
    let Some(rig) = Rig::find() else { return };
    let model = Model::load("stream_rnnt", Strategy::Transducer);
    let (context, samples) = (2, audio("audio_b.wav"));
    let mut engine = rig.engine(&model, Some(2), 2);
    let chunks = model.chunks(context, &samples);
    let mut step = |context, chunks: &[_]| {
        engine.step(&Batch {
            context,
            chunks: chunks.to_vec(),
        })
    };
    let first = &chunks[0];
    assert!(matches!(step(9, &chunks[..1]), Err(EngineError::NoSuchContext(9))));
    let long = chunk(slot(0), 0, &samples[..20_000], true, false);
    assert!(matches!(step(context, &[long]), Err(EngineError::Network(_))), "too many frames");
    let short = chunk(slot(0), 0, &samples[..2_000], true, false);
    assert!(matches!(step(context, &[short]), Err(EngineError::Network(_))), "part of a chunk");
    assert!(
        matches!(step(context, &[first.clone(), first.clone()]), Err(EngineError::Network(_))),
        "one slot twice"
    );
    let far = chunk(slot(7), 0, &samples[..5_320], true, false);
    assert!(matches!(step(context, &[far]), Err(EngineError::NoSuchSlot { index: 7, slots: 2 })));
    step(context, &chunks[..1]).unwrap();
    let mut stale = chunks[1].clone();
    stale.slot.generation = 2;
    assert!(matches!(step(context, &[stale]), Err(EngineError::StaleGeneration { .. })));
    let mut other = chunks[1].clone();
    other.samples.truncate(2_560);
    assert!(matches!(step(1, &[other]), Err(EngineError::Network(_))), "another context");
    step(context, &chunks[1..2]).unwrap();
}

#[test]
fn utterances_of_every_length_are_heard_and_parts_of_one_refused() {
    let Some(rig) = Rig::find() else { return };
    let model = Model::load("offline_ctc", Strategy::Ctc);
    let mut engine = rig.engine(&model, Some(2), 2);
    let samples: Vec<f32> = audio("audio_a.wav").into_iter().cycle().take(24 * 16_000 + 1).collect();
    let mut step = |part: &[f32], end| {
        let chunks = vec![chunk(slot(0), 0, part, true, end)];
        engine.step(&Batch { context: 0, chunks })
    };
    // Around the lengths of the graphs, the longest window of a file, and none at all.
    for frames in [0, 1, 63, 64, 65, 128, 300] {
        let decoded = step(&samples[..frames * 1_280], true).unwrap();
        assert_eq!(decoded[0].frames.0 as usize, frames);
    }
    assert!(
        matches!(step(&samples[..1_280], false), Err(EngineError::Network(_))),
        "a part of an utterance"
    );
    let long: Vec<f32> = samples.iter().cycle().take(30 * 16_000).copied().collect();
    assert!(matches!(step(&long, true), Err(EngineError::Network(_))), "too long");
    let chunks = vec![chunk(slot(0), 0, &samples[..1_280], true, true)];
    assert!(matches!(
        engine.step(&Batch { context: 1, chunks }),
        Err(EngineError::NoSuchContext(1))
    ));
}

#[test]
fn memory_that_does_not_suffice_is_an_error_and_what_fits_is_known() {
    let Some(rig) = Rig::find() else { return };
    let model = Model::load("stream_rnnt", Strategy::Transducer);
    let network = rig.network(&model, Some(3), 2).unwrap();
    let footprint = network.footprint();
    assert_eq!((footprint.slots, network.slots()), (3, 3));
    assert!(footprint.per_slot > 0 && footprint.free.1 < footprint.free.0);
    drop(network);
    let refused = rig.network(&model, Some(60_000_000), 2).err().unwrap().to_string();
    assert!(refused.contains("memory"), "{refused}");
}

#[test]
fn what_is_missing_is_told() {
    let mut settings = hark::gpu::Settings {
        driver: Some("/nowhere/libcuda.so".into()),
        ..Default::default()
    };
    let error = hark::gpu::Gpu::open(&settings).err().unwrap();
    assert!(
        matches!(&error, GpuError::Library { .. }) && error.to_string().contains("/nowhere/libcuda.so"),
        "{error}"
    );
    if let Some(rig) = Rig::find() {
        settings = rig.settings();
        settings.device = 99;
        let error = hark::gpu::Gpu::open(&settings).err().unwrap();
        assert!(matches!(error, GpuError::NoDevice { asked: 99, .. }), "{error}");
        settings = rig.settings();
        settings.nvrtc = Some("/nowhere/libnvrtc.so.13".into());
        let error = hark::gpu::Gpu::open(&settings).err().unwrap();
        assert!(error.to_string().contains("/nowhere/libnvrtc.so.13"), "{error}");
    }
}

#[test]
fn a_second_start_compiles_nothing() {
    let Some(rig) = Rig::find() else { return };
    let cache = tempfile::tempdir().unwrap();
    let mut settings = rig.settings();
    settings.cache = Some(cache.path().to_owned());
    let compiled = |settings| hark::gpu::Gpu::open(settings).unwrap().found().compiled;
    assert_eq!(compiled(&settings), hark::gpu::kernels::SOURCES.len());
    assert_eq!(compiled(&settings), 0);
}

/// The command line on the GPU: `hark gpu`, and a transcript equal to the processor's. Slots are as many as the card's memory holds.
#[test]
fn commands_use_the_gpu_and_tell_so() {
    let Some(rig) = Rig::find() else { return };
    let run = |arguments: &[&str], mode: &str| {
        let settings = rig.settings();
        let mut command = Command::new(env!("CARGO_BIN_EXE_hark"));
        command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR"));
        let paths = [("DRIVER", settings.driver), ("NVRTC", settings.nvrtc), ("CACHE", settings.cache)];
        for (key, path) in paths {
            command.envs(path.map(|path| (format!("HARK_GPU__{key}"), path)));
        }
        command.envs([
            ("HARK_GPU__MODE", mode),
            ("HARK_ENGINE__MAX_BATCH", "1"),
            ("FAKE_CUDA_MEMORY_MIB", "1024"),
            ("HARK_LOG", "info"),
        ]);
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        (text(&output.stdout), text(&output.stderr))
    };
    let (found, _) = run(&["gpu"], "require");
    assert!(
        found.contains("multiprocessors") && found.ends_with("The GPU is used.\n"),
        "{found}"
    );
    let (unused, _) = run(&["gpu"], "never");
    assert!(unused.starts_with("The GPU is not used"), "{unused}");
    let call = ["transcribe", "samples/call-2.wav"];
    let ((on_gpu, log), (on_processor, _)) = (run(&call, "require"), run(&call, "never"));
    if rig.log().is_some() {
        assert_eq!(on_gpu, on_processor);
    }
    assert!(log.contains("the model is on the GPU"), "{log}");
    if rig.log().is_some() {
        // 29 MB of weights as f16 and the activations of one stream leave room for some hundreds of slots in a GiB.
        let slots = log.split(" slots=").nth(1).unwrap().split_whitespace().next().unwrap();
        assert!((100..2_000).contains(&slots.parse::<usize>().unwrap()), "{log}");
    }
}

/// The bundled model opened as the server opens it, over the sample call: words as on the processor.
#[test]
fn the_sample_call_gives_the_words_of_the_processor() {
    let Some(rig) = Rig::find() else { return };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let samples = rig::call(&root.join("samples/call.wav"));
    let open = |mode| {
        let settings = rig.settings();
        let choice = Choice {
            model: Some("hark-starter-en".to_owned()),
            context: None,
            look_ahead: None,
            slots: Some(2),
            max_batch: Some(1),
            lm: LmChoice::Own,
            lm_choices: Vec::new(),
            lm_weight: None,
            threads: 0,
            groups: 1,
            gpu: config::Gpu {
                mode,
                devices: vec![0],
                driver: settings.driver,
                nvrtc: settings.nvrtc,
                cache: settings.cache,
            },
        };
        hark::engine::open(&root.join("models"), &choice).unwrap()
    };
    let mut device = open(GpuMode::Require);
    let mut processor = open(GpuMode::Never);
    let context = processor.served.file;
    let right = processor.served.right(context) as usize;
    let chunks = cut(slot(0), right, &samples);
    let wanted = run(processor.devices[0].engine.as_mut(), context, &chunks);
    let found = run(device.devices[0].engine.as_mut(), context, &chunks);
    let text = |tokens: &[Token]| {
        tokens
            .iter()
            .filter_map(|token| processor.served.vocabulary.piece(token.id))
            .collect::<String>()
    };
    let unequal = wanted
        .iter()
        .zip(&found)
        .filter(|(one, other)| (one.id, one.start) != (other.id, other.start))
        .count();
    println!("{} tokens, {unequal} differ in id or frame\n{}", wanted.len(), text(&found));
    if rig.log().is_some() {
        assert_eq!(text(&found), text(&wanted));
    } else {
        assert!(
            10 * unequal <= wanted.len() && wanted.len().abs_diff(found.len()) <= 5,
            "{}",
            text(&wanted)
        );
    }
}
