//! What GPU tests share: the driver library and compiler, models, chunks.

use std::ffi::c_char;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::skipped::skipped;
use hark::audio::{AudioSpec, Intake};
use hark::engine::Engine;
use hark::engine::batch::{Batch, Chunk, Slot, Token};
use hark::engine::cuda::CudaEngine;
use hark::engine::neural::NeuralEngine;
use hark::gpu::nvrtc::Compiler;
use hark::gpu::{Gpu, Settings};
use hark::model::decode::confidence::Confidence;
use hark::model::decode::{Decoder, Reads, Strategy};
use hark::model::device::{Demand, DeviceError, DeviceNetwork};
use hark::model::network::Network;
use hark::model::store;
use hark::units::StreamId;
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/oracle")
}

/// Samples of a reference recording.
pub(crate) fn audio(name: &str) -> Vec<f32> {
    let mut reader = hound::WavReader::open(fixtures().join(name)).unwrap();
    reader
        .samples::<i16>()
        .map(|sample| f32::from(sample.unwrap()) / 32_768.0)
        .collect()
}

/// Samples of a recorded call at the model's rate, as 16-bit audio carries them.
pub(crate) fn call(path: &Path) -> Vec<f32> {
    let spec = AudioSpec {
        encoding: None,
        rate: None,
        channels: 1,
        multichannel: false,
        whole: true,
    };
    let mut intake = Intake::new(spec).unwrap();
    intake.push(std::fs::read(path).unwrap().into());
    let mut lanes = vec![Vec::new()];
    while intake.pull(16_000, &mut lanes).unwrap() > 0 {}
    intake.close();
    while intake.pull(usize::MAX, &mut lanes).unwrap() > 0 {}
    lanes[0].iter().map(|sample| (sample * 32_768.0).round() / 32_768.0).collect()
}

/// The driver and the compiler.
pub(crate) struct Rig {
    driver: Option<PathBuf>,
    nvrtc: Option<PathBuf>,
}

impl Rig {
    /// None, told and counted, where there is no compiler.
    pub(crate) fn find() -> Option<Self> {
        let nvrtc = std::env::var_os("HARK_GPU__NVRTC").map(PathBuf::from);
        if let Err(error) = Compiler::open(nvrtc.as_deref()) {
            skipped(&error.to_string());
            return None;
        }
        let real = std::env::var_os("HARK_TEST_REAL_GPU").is_some();
        Some(Rig {
            driver: (!real).then(fake_driver),
            nvrtc,
        })
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            device: 0,
            driver: self.driver.clone(),
            nvrtc: self.nvrtc.clone(),
            // Kept between tests: the kernels are compiled once.
            cache: Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("kernels")),
        }
    }

    pub(crate) fn network(&self, model: &Model, slots: Option<usize>, max_batch: usize) -> Result<DeviceNetwork, DeviceError> {
        let gpu = Gpu::open(&self.settings()).unwrap();
        let demand = Demand { slots, max_batch };
        DeviceNetwork::new(gpu, &model.model.manifest.arch, &model.model.weights, &model.decoder, demand)
    }

    pub(crate) fn engine(&self, model: &Model, slots: Option<usize>, max_batch: usize) -> CudaEngine {
        let network = self.network(model, slots, max_batch).unwrap();
        CudaEngine::new(network, Arc::clone(&model.decoder), 2)
    }

    /// The driver's log of calls; none on a real card.
    pub(crate) fn log(&self) -> Option<Log> {
        let path = self.driver.as_ref()?;
        // SAFETY: the library is open already; opening it again gives the same one.
        Some(Log(unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) }.unwrap()))
    }
}

/// The library that cargo built beside this test.
fn fake_driver() -> PathBuf {
    let folder = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let places = [folder.join("libfake_driver.so"), folder.join("../libfake_driver.so")];
    places
        .into_iter()
        .find(|path| path.exists())
        .expect("the fake driver was not built")
}

/// The driver's log of calls.
pub(crate) struct Log(Library);

impl Log {
    pub(crate) fn clear(&self) {
        // SAFETY: the function is exported with this type.
        unsafe { self.0.get::<unsafe extern "C" fn()>(b"fake_cuda_log_clear\0").unwrap()() }
    }

    pub(crate) fn read(&self) -> Vec<String> {
        let mut text = vec![0_u8; 1 << 20];
        // SAFETY: the function is exported with this type and writes at most the bytes it is given.
        let length = unsafe {
            let read = self
                .0
                .get::<unsafe extern "C" fn(*mut c_char, usize) -> usize>(b"fake_cuda_log_read\0")
                .unwrap();
            read(text.as_mut_ptr().cast(), text.len())
        };
        String::from_utf8_lossy(&text[..length]).lines().map(str::to_owned).collect()
    }
}

/// A reference model with a way to decode it.
pub(crate) struct Model {
    pub(crate) model: store::Model,
    pub(crate) decoder: Arc<Decoder>,
}

impl Model {
    pub(crate) fn load(name: &'static str, strategy: Strategy) -> Self {
        let path = fixtures().join(name).join("model.nemo");
        let model = store::resolve(Path::new("nowhere"), path.to_str().unwrap()).unwrap();
        let pieces: Vec<String> = model.tokenizer.pieces().map(str::to_owned).collect();
        let decoder = Decoder::new(&model.manifest.arch, &model.weights, &pieces, strategy).unwrap();
        Model {
            model,
            decoder: Arc::new(decoder.with_confidence(Confidence::MaxProb)),
        }
    }

    pub(crate) fn processor(&self, slots: u32) -> NeuralEngine {
        let network = Network::new(&self.model.manifest.arch, &self.model.weights).unwrap();
        NeuralEngine::new(Arc::new(network), Arc::clone(&self.decoder), slots)
    }

    pub(crate) fn streams(&self) -> bool {
        self.model.manifest.arch.encoder.streams()
    }

    pub(crate) fn contexts(&self) -> std::ops::Range<usize> {
        0..self.model.manifest.arch.encoder.contexts.len()
    }

    pub(crate) fn right(&self, context: usize) -> usize {
        usize::try_from(self.model.manifest.arch.encoder.contexts[context][1]).unwrap()
    }

    /// The least margin, on the processor, of the decisions that led to token `index`, the first that differs.
    pub(crate) fn margin(&self, context: usize, samples: &[f32], wanted: &[Token], found: Option<&Token>, index: usize) -> f32 {
        let arch = &self.model.manifest.arch;
        let network = Network::new(arch, &self.model.weights).unwrap();
        let frames = network.offline(samples, arch.encoder.contexts[context], None).unwrap();
        let plain = self.decoder.plain(&frames, None).unwrap();
        if self.decoder.reads() == Reads::Emitted {
            return plain.rnnt_margins[index];
        }
        // The frames from the start of the last equal token to the end of the first that is not, in either list.
        let first = index.checked_sub(1).map_or(0, |last| wanted[last].start.0);
        let ends = [wanted.get(index), found].map(|token| token.map_or(u32::MAX, |token| token.end.0));
        let rows = plain.ctc_log_probs.chunks(arch.vocabulary + 1);
        let lead = |row: &[f32]| {
            let mut row = row.to_vec();
            row.sort_by(|one, other| other.total_cmp(one));
            row[0] - row[1]
        };
        let count = (ends[0].max(ends[1]) - first) as usize;
        rows.skip(first as usize).take(count).map(lead).fold(f32::INFINITY, f32::min)
    }

    /// The audio as the chunks of slot 0, or as one if the model hears whole utterances.
    pub(crate) fn chunks(&self, context: usize, samples: &[f32]) -> Vec<Chunk> {
        if self.streams() {
            cut(slot(0), self.right(context), samples)
        } else {
            vec![chunk(slot(0), 0, samples, true, true)]
        }
    }
}

pub(crate) fn slot(index: u32) -> Slot {
    Slot { index, generation: 1 }
}

pub(crate) fn chunk(slot: Slot, seq: u64, samples: &[f32], start: bool, end: bool) -> Chunk {
    Chunk {
        stream: StreamId(u64::from(slot.index)),
        slot,
        seq,
        samples: samples.to_vec(),
        start,
        end,
        commit: false,
        terms: None,
        lm: None,
    }
}

/// An utterance as the chunks of one slot.
pub(crate) fn cut(slot: Slot, right: usize, samples: &[f32]) -> Vec<Chunk> {
    let (first, rest) = samples.split_at((1_280 * right + 200).min(samples.len()));
    let mut parts = vec![first];
    parts.extend(rest.chunks(1_280 * (right + 1)));
    let last = parts.len() - 1;
    (0..)
        .zip(parts.iter())
        .map(|(i, part)| chunk(slot, i, part, i == 0, i == last as u64))
        .collect()
}

/// Steps chunks one by one; everything that was fixed.
pub(crate) fn run(engine: &mut dyn Engine, context: usize, chunks: &[Chunk]) -> Vec<Token> {
    let mut tokens = Vec::new();
    for chunk in chunks {
        let chunks = vec![chunk.clone()];
        let decoded = engine.step(&Batch { context, chunks }).unwrap();
        tokens.extend(decoded.into_iter().flat_map(|decoded| decoded.fixed));
    }
    tokens
}
