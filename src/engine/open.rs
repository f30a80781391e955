//! From a model's name to an engine that is ready: load, build, warm up, measure.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::batch::{Batch, Chunk, Slot};
use super::cost::{BUCKETS, CostTable};
#[cfg(feature = "cuda")]
use super::cuda::CudaEngine;
use super::neural::NeuralEngine;
use super::served::Served;
use super::{Engine, EngineError};
use crate::config;
#[cfg(feature = "cuda")]
use crate::gpu::{Gpu, GpuError, Settings};
use crate::model::arch::Encoder;
use crate::model::decode::beam::BeamOptions;
use crate::model::decode::confidence::Confidence;
use crate::model::decode::{DecodeError, Decoder, Strategy};
use crate::model::lm::{LmError, NgramModel};
use crate::model::manifest::Head;
use crate::model::network::{Network, NetworkError};
use crate::model::store::{self, Model, StoreError};
use crate::units::{SAMPLES_PER_FRAME, StreamId};

/// Windows of whole utterances that a GPU is timed with at most.
const WINDOWS: usize = 16;

/// What to open, and with what resources.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Name of the model, one of its aliases, or the path of a folder or archive; the first of the directory if none.
    pub model: Option<String>,
    /// Context for live streams and files; the model's default and its longest if none.
    pub context: Option<[i32; 2]>,
    /// Largest look-ahead of live streams in frames, where no context is given.
    pub look_ahead: Option<u32>,
    /// Slots for stream state; what suits the device if none.
    pub slots: Option<usize>,
    /// Most chunks in a step; what suits the device if none.
    pub max_batch: Option<usize>,
    /// Whether a GPU is used, and which.
    pub gpu: config::Gpu,
    /// Threads that compute; 0 for one per core.
    pub threads: usize,
}

/// An engine that is ready to step.
pub struct Opened {
    /// The engine.
    pub engine: Box<dyn Engine>,
    /// The model's public face.
    pub served: Served,
    /// Measured step costs.
    pub cost: CostTable,
    /// Most chunks in a step; the largest size that was warmed up.
    pub max_batch: usize,
}

/// A model could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It could not be loaded.
    #[error("the model {name} cannot be loaded")]
    Load {
        /// Name asked for.
        name: String,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// There is no model.
    #[error("there is no model under {}", .0.display())]
    NoModel(PathBuf),
    /// The network does not fit its weights.
    #[error("the network cannot be built")]
    Network(#[from] NetworkError),
    /// The decoder does not fit its weights.
    #[error("the decoder cannot be built")]
    Decoder(#[from] DecodeError),
    /// The context asked for is not one of the model's.
    #[error("the model has no context {asked:?}; it has {contexts:?}")]
    NoSuchContext {
        /// Asked for.
        asked: [i32; 2],
        /// There are.
        contexts: Vec<[i32; 2]>,
    },
    /// The language model cannot be used.
    #[error("the language model cannot be used")]
    LanguageModel(#[from] LmError),
    /// A GPU is required and cannot be used.
    #[cfg(feature = "cuda")]
    #[error("a GPU is required and cannot be used")]
    Gpu(#[from] crate::model::device::DeviceError),
    /// A GPU is required and this program was built without the GPU engine.
    #[cfg(not(feature = "cuda"))]
    #[error("a GPU is required, this program was built without the feature `cuda`")]
    WithoutGpu,
    /// Warming up failed.
    #[error("warming up failed")]
    WarmUp(#[from] EngineError),
}

/// Opens a model of the directory `models`.
pub fn open(models: &Path, choice: &Choice) -> Result<Opened, OpenError> {
    let name = match &choice.model {
        Some(name) => name.clone(),
        None => first(models)?,
    };
    let model = store::resolve(models, &name).map_err(|source| OpenError::Load { name, source })?;
    let encoder = model.manifest.arch.encoder.clone();
    let contexts = encoder.contexts.clone();
    let find = |wanted: [i32; 2]| contexts.iter().position(|context| *context == wanted);
    let asked = choice
        .context
        .map(|asked| {
            find(asked).ok_or_else(|| OpenError::NoSuchContext {
                asked,
                contexts: contexts.clone(),
            })
        })
        .transpose()?;
    let near = choice.look_ahead.and_then(|most| within(&contexts, most));
    let default = asked.or(near).or_else(|| find(model.manifest.default_context)).unwrap_or(0);
    let live = (encoder.streams() && model.manifest.live).then_some(default);
    let file = asked.unwrap_or_else(|| longest(&encoder, default));
    let decoder = Arc::new(decoder(&model)?);
    // Everything that the engine computes runs on the threads of this pool; its own thread only waits for them.
    rayon::ThreadPoolBuilder::new()
        .num_threads(choice.threads)
        .thread_name(|n| format!("hark-compute-{n}"))
        .build_global()
        .ok();
    // Whole windows fill the processor one by one; a GPU takes many together.
    let (mut engine, max_batch, windows) = match on_gpu(&model, &decoder, choice)? {
        Some((engine, max_batch)) => (engine, max_batch, WINDOWS.min(max_batch)),
        None => {
            let (engine, max_batch) = on_processor(&model, decoder, choice)?;
            (engine, max_batch, 1)
        }
    };
    let cost = if encoder.streams() {
        warm_up(engine.as_mut(), &encoder, max_batch)?
    } else {
        let most = usize::try_from(engine.slots()).unwrap_or(1).min(windows);
        guess(engine.as_mut(), contexts.len(), most)?
    };
    Ok(Opened {
        engine,
        served: face(model, live, file),
        cost,
        max_batch,
    })
}

/// An engine and the most chunks of its steps.
type Ready = (Box<dyn Engine>, usize);

fn on_processor(model: &Model, decoder: Arc<Decoder>, choice: &Choice) -> Result<Ready, OpenError> {
    let network = Network::new(&model.manifest.arch, &model.weights)?;
    let slots = u32::try_from(choice.slots.unwrap_or(config::CPU_SLOTS)).unwrap_or(u32::MAX);
    let engine = NeuralEngine::new(Arc::new(network), decoder, slots);
    Ok((Box::new(engine), choice.max_batch.unwrap_or(config::CPU_BATCH)))
}

/// The engine on a GPU; none if there is no usable one and none is required.
#[cfg(feature = "cuda")]
fn on_gpu(model: &Model, decoder: &Arc<Decoder>, choice: &Choice) -> Result<Option<Ready>, OpenError> {
    use crate::model::device::{Demand, DeviceError, DeviceNetwork};
    if choice.gpu.mode == config::GpuMode::Never {
        return Ok(None);
    }
    let max_batch = choice.max_batch.unwrap_or(config::GPU_BATCH);
    let demand = Demand {
        slots: choice.slots,
        max_batch,
    };
    let network = Gpu::open(&settings(&choice.gpu))
        .map_err(DeviceError::from)
        .and_then(|gpu| DeviceNetwork::new(gpu, &model.manifest.arch, &model.weights, decoder, demand));
    let network = match network {
        Ok(network) => network,
        Err(error) if choice.gpu.mode == config::GpuMode::Require => return Err(error.into()),
        Err(DeviceError::Gpu(GpuError::NoDriver)) => return Ok(None),
        Err(error) => {
            tracing::warn!(%error, "the GPU is not used");
            return Ok(None);
        }
    };
    let (found, taken) = (network.gpu().found(), network.footprint());
    tracing::info!(
        device = %found.device.name,
        kernels = %found.arch,
        compiled = found.compiled,
        kernels_ms = found.ready_in.as_millis(),
        graphs = taken.graphs,
        slots = taken.slots,
        bytes_per_slot = taken.per_slot,
        mib_free_before = taken.free.0 >> 20,
        mib_free_after = taken.free.1 >> 20,
        "the model is on the GPU"
    );
    let utterances = u32::try_from(choice.slots.unwrap_or(config::CPU_SLOTS)).unwrap_or(u32::MAX);
    let engine = CudaEngine::new(network, Arc::clone(decoder), utterances);
    Ok(Some((Box::new(engine), max_batch)))
}

/// Built without the GPU engine, there is only the processor.
#[cfg(not(feature = "cuda"))]
fn on_gpu(_: &Model, _: &Arc<Decoder>, choice: &Choice) -> Result<Option<Ready>, OpenError> {
    match choice.gpu.mode {
        config::GpuMode::Require => Err(OpenError::WithoutGpu),
        config::GpuMode::Auto | config::GpuMode::Never => Ok(None),
    }
}

/// What the configuration says of the GPU, for opening it.
#[cfg(feature = "cuda")]
pub fn settings(gpu: &config::Gpu) -> Settings {
    Settings {
        device: gpu.device,
        driver: gpu.driver.clone(),
        nvrtc: gpu.nvrtc.clone(),
        cache: gpu.cache.clone(),
    }
}

/// The first usable model of a directory, by name.
fn first(models: &Path) -> Result<String, OpenError> {
    let load = |source| OpenError::Load {
        name: models.display().to_string(),
        source,
    };
    let mut names: Vec<String> = store::list(models)
        .map_err(load)?
        .into_iter()
        .filter(|model| model.manifest.is_ok())
        .map(|model| model.folder)
        .collect();
    names.sort();
    names.into_iter().next().ok_or_else(|| OpenError::NoModel(models.to_owned()))
}

/// The context that looks farthest ahead among those that look at most `most` frames ahead.
fn within(contexts: &[[i32; 2]], most: u32) -> Option<usize> {
    let fits = |[_, right]: &[i32; 2]| u32::try_from(*right).is_ok_and(|right| right <= most);
    contexts
        .iter()
        .enumerate()
        .filter(|(_, context)| fits(context))
        .max_by_key(|(_, [_, right])| *right)
        .map(|(index, _)| index)
}

/// The context with the most to look ahead, for files; an offline model has one and takes it.
fn longest(encoder: &Encoder, default: usize) -> usize {
    if !encoder.streams() {
        return default;
    }
    encoder
        .contexts
        .iter()
        .enumerate()
        .max_by_key(|(_, [_, right])| *right)
        .map_or(default, |(index, _)| index)
}

/// The decoder that the model's manifest asks for.
fn decoder(model: &Model) -> Result<Decoder, OpenError> {
    let lm = model.manifest.decode.as_ref().and_then(|decode| decode.lm.as_ref());
    let strategy = match (model.manifest.head(), lm, &model.lm) {
        (Head::Transducer, _, _) => Strategy::Transducer,
        (Head::Ctc, Some(settings), Some(file)) => {
            let options = BeamOptions {
                width: settings.beam_width,
                lm_weight: settings.weight,
                word_bonus: settings.word_bonus,
                unknown_penalty: settings.unknown_penalty,
                ..BeamOptions::default()
            };
            Strategy::CtcBeam(options, Some(Arc::new(NgramModel::open(file)?)))
        }
        (Head::Ctc, _, _) => Strategy::Ctc,
    };
    let pieces: Vec<String> = model.tokenizer.pieces().map(str::to_owned).collect();
    // Clients read a confidence as a probability, which the entropy measures are not.
    Ok(Decoder::new(&model.manifest.arch, &model.weights, &pieces, strategy)?.with_confidence(Confidence::MaxProb))
}

fn face(model: Model, live: Option<usize>, file: usize) -> Served {
    let manifest = &model.manifest;
    Served {
        name: manifest.name.clone(),
        aliases: manifest.aliases.clone(),
        canonical_name: manifest.canonical_name.clone().unwrap_or_else(|| manifest.name.clone()),
        arch: manifest.architecture.clone(),
        version: manifest.version.clone(),
        uuid: manifest.uuid,
        languages: manifest.languages.clone(),
        contexts: manifest.arch.encoder.contexts.clone(),
        live,
        file,
        vocabulary: Arc::new(model.tokenizer),
    }
}

/// Steps every context at every bucket size, so that nothing is slow the first time, and keeps the better of two times.
fn warm_up(engine: &mut dyn Engine, encoder: &Encoder, max_batch: usize) -> Result<CostTable, OpenError> {
    let mut cost = CostTable::linear(encoder.contexts.len(), Duration::from_millis(10));
    let slots = usize::try_from(engine.slots()).unwrap_or(usize::MAX);
    for (context, [_, right]) in encoder.contexts.iter().enumerate() {
        let frames = u64::try_from(*right).unwrap_or(0) + 1;
        let samples = usize::try_from(frames * SAMPLES_PER_FRAME).unwrap_or(0);
        let mut per_chunk = Duration::ZERO;
        for (bucket, &size) in BUCKETS.iter().enumerate() {
            if size > max_batch || size > slots {
                cost.set(context, bucket, per_chunk * u32::try_from(size).unwrap_or(u32::MAX));
                continue;
            }
            step(engine, context, size, samples, 0)?;
            let took = step(engine, context, size, samples, 1)?.min(step(engine, context, size, samples, 2)?);
            cost.set(context, bucket, took);
            per_chunk = took / u32::try_from(size).unwrap_or(1);
        }
    }
    Ok(cost)
}

/// A model without streaming is timed on windows of ten seconds: one, and on a device that takes many together as many as `most` at
/// once; batches between and above are thought to scale.
fn guess(engine: &mut dyn Engine, contexts: usize, most: usize) -> Result<CostTable, OpenError> {
    let window = |slot| Chunk {
        start: true,
        end: true,
        ..noise(slot, 160_000, 0)
    };
    let mut timed = |size: usize| -> Result<Duration, EngineError> {
        let slots = 0..u32::try_from(size).unwrap_or(1);
        let chunks = slots.map(window).collect();
        let began = Instant::now();
        engine.step(&Batch { context: 0, chunks })?;
        Ok(began.elapsed())
    };
    let mut cost = CostTable::linear(contexts, timed(1)? * 2);
    let mut per_chunk = Duration::ZERO;
    for (bucket, &size) in BUCKETS.iter().enumerate().filter(|_| most > 1) {
        let took = if size <= most {
            timed(size)?.max(timed(size)?)
        } else {
            per_chunk * u32::try_from(size).unwrap_or(u32::MAX)
        };
        (0..contexts).for_each(|context| cost.set(context, bucket, took));
        per_chunk = took / u32::try_from(size).unwrap_or(1);
    }
    Ok(cost)
}

fn step(engine: &mut dyn Engine, context: usize, size: usize, samples: usize, seq: u64) -> Result<Duration, OpenError> {
    let chunks = (0..u32::try_from(size).unwrap_or(0))
        .map(|slot| noise(slot, if seq == 0 { samples - 1_080 } else { samples }, seq))
        .collect();
    let batch = Batch { context, chunks };
    let began = Instant::now();
    engine.step(&batch)?;
    Ok(began.elapsed())
}

/// A chunk of faint noise for slot `slot`; the first of an utterance if `seq` is 0.
fn noise(slot: u32, samples: usize, seq: u64) -> Chunk {
    let mut state = 0x2545_f491_u32 ^ slot;
    let mut sample = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (f32::from(u16::try_from(state >> 16).unwrap_or(0)) - 32_768.0) / 3.3e6
    };
    let samples = (0..samples).map(|_| sample()).collect();
    Chunk {
        stream: StreamId(0),
        slot: Slot {
            index: slot,
            generation: 0,
        },
        seq,
        samples,
        start: seq == 0,
        end: false,
        commit: false,
    }
}
