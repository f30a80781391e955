//! From a model's name to an engine that is ready: load, build, and have it warmed up and measured (`warm_up`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cost::CostTable;
#[cfg(feature = "cuda")]
use super::cuda::CudaEngine;
use super::help::{decoder, language_models};
use super::neural::NeuralEngine;
use super::served::Served;
use super::warm_up::{guess, warm_up};
use super::{Engine, EngineError};
use crate::config;
#[cfg(feature = "cuda")]
use crate::gpu::{Gpu, GpuError, Settings};
use crate::model::arch::Encoder;
use crate::model::decode::{DecodeError, Decoder, Reads};
use crate::model::lm::{LmError, NgramModel};
use crate::model::network::{Network, NetworkError};
use crate::model::store::{self, Model, StoreError};

/// What steps on the processor are thought to take in service, against warm-up, until they are seen: between them, sockets and audio displace
/// their data from the caches.
const DISPLACED: f64 = 1.45;
/// Processors that a live stream takes for its socket and its audio, and for the client that sends it if that runs beside (2.6 thousandths were
/// measured at packets of 20 ms, with the load tester; about half of it is the server's).
const BESIDE: f64 = 0.0026;
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
    /// Which language model helps decoding where a request chooses none.
    pub lm: LmChoice,
    /// Names of those of the models directory that requests may choose.
    pub lm_choices: Vec<String>,
    /// Factor of the natural log-probabilities of language models of the models directory; that of the model's own, or the usual, if none.
    pub lm_weight: Option<f32>,
    /// Threads that compute; 0 for one per core.
    pub threads: usize,
    /// Groups of them on the processor, each with an engine of its own; at least one.
    pub groups: usize,
}

/// Which language model helps decoding.
#[derive(Clone, Debug, Default)]
pub enum LmChoice {
    /// The model's own, if it has one.
    #[default]
    Own,
    /// None.
    Without,
    /// One of the models directory, by name, in place of the model's own.
    Named(String),
}

/// A model that is ready on every device.
pub struct Opened {
    /// The engines, at least one.
    pub devices: Vec<Device>,
    /// The model's public face.
    pub served: Served,
    /// The language model that helps it where a request chooses none.
    pub lm: Option<Arc<NgramModel>>,
}

/// An engine that is ready to step: a GPU, or a group of the processor's threads.
pub struct Device {
    /// The engine.
    pub engine: Box<dyn Engine>,
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
    /// The language model's name cannot be one.
    #[error("the language model cannot be used")]
    LanguageModelName(#[source] StoreError),
    /// A GPU is required and cannot be used.
    #[cfg(feature = "cuda")]
    #[error("a GPU is required and cannot be used")]
    Gpu(#[from] crate::model::device::DeviceError),
    /// A GPU is required and this program was built without the GPU engine.
    #[cfg(not(feature = "cuda"))]
    #[error("a GPU is required, this program was built without the feature `cuda`")]
    WithoutGpu,
    /// The threads of a group could not be started.
    #[error("the threads of a group could not be started")]
    Threads(#[from] rayon::ThreadPoolBuildError),
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
    let helps = language_models(models, &model, choice)?;
    let decoder = Arc::new(decoder(&model, &helps)?);
    // Everything that the engine computes runs on the threads of this pool; its own thread only waits for them.
    rayon::ThreadPoolBuilder::new()
        .num_threads(choice.threads)
        .thread_name(|n| format!("hark-compute-{n}"))
        .build_global()
        .ok();
    // Whole windows fill the processor one by one; a GPU takes many together.
    let (engines, windows) = match on_gpus(&model, &decoder, choice)? {
        engines if engines.is_empty() => (on_processor(&model, &decoder, choice)?, 1),
        engines => (engines, WINDOWS),
    };
    // A GPU takes the best tokens by itself, unless the search wants the whole distribution.
    let favours = windows == 1 || decoder.reads() == Reads::LogProbs;
    if !favours && (helps.usual.is_some() || !helps.names.is_empty()) {
        tracing::warn!("the GPU takes a transducer's tokens by itself: language models have no effect");
    }
    // The other groups' streams are as many as the own.
    let beside = BESIDE * float(engines.len()) / float(rayon::current_num_threads());
    let mut devices = Vec::with_capacity(engines.len());
    for (mut engine, max_batch) in engines {
        let cost = if encoder.streams() {
            warm_up(engine.as_mut(), &encoder, max_batch)?
        } else {
            let most = usize::try_from(engine.slots()).unwrap_or(1).min(windows).min(max_batch);
            guess(engine.as_mut(), contexts.len(), most)?
        };
        let cost = if windows == 1 { cost.shared(DISPLACED, beside) } else { cost };
        devices.push(Device { engine, cost, max_batch });
    }
    Ok(Opened {
        devices,
        served: face(model, live, file, favours, helps.names),
        lm: helps.usual.map(|(_, lm)| lm),
    })
}

/// An engine and the most chunks of its steps.
type Ready = (Box<dyn Engine>, usize);

/// An engine for each group of threads. The groups share the weights, and the slots among them.
fn on_processor(model: &Model, decoder: &Arc<Decoder>, choice: &Choice) -> Result<Vec<Ready>, OpenError> {
    let network = Arc::new(Network::new(&model.manifest.arch, &model.weights)?);
    let (slots, groups) = (choice.slots.unwrap_or(config::CPU_SLOTS), choice.groups.max(1));
    let slots = u32::try_from(slots.div_ceil(groups)).unwrap_or(u32::MAX);
    let max_batch = choice.max_batch.unwrap_or(config::CPU_BATCH);
    let engine = || NeuralEngine::new(Arc::clone(&network), Arc::clone(decoder), slots);
    if groups == 1 {
        return Ok(vec![(Box::new(engine()), max_batch)]);
    }
    let threads = if choice.threads == 0 {
        rayon::current_num_threads()
    } else {
        choice.threads
    };
    (0..groups)
        .map(|group| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads((threads / groups).max(1))
                .thread_name(move |n| format!("hark-compute-{group}-{n}"))
                .build()?;
            let engine: Box<dyn Engine> = Box::new(engine().on(pool));
            Ok((engine, max_batch))
        })
        .collect()
}

/// An engine for each of the GPUs that can run the model; none at all if there is none, and none is required.
#[cfg(feature = "cuda")]
fn on_gpus(model: &Model, decoder: &Arc<Decoder>, choice: &Choice) -> Result<Vec<Ready>, OpenError> {
    if choice.gpu.mode == config::GpuMode::Never {
        return Ok(Vec::new());
    }
    let engines = choice.gpu.devices.iter().map(|device| on_gpu(model, decoder, choice, *device));
    Ok(engines.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

/// The engine on the GPU of that number; none if it is not usable and not required.
#[cfg(feature = "cuda")]
fn on_gpu(model: &Model, decoder: &Arc<Decoder>, choice: &Choice, device: usize) -> Result<Option<Ready>, OpenError> {
    use crate::model::device::{Demand, DeviceError, DeviceNetwork};
    let max_batch = choice.max_batch.unwrap_or(config::GPU_BATCH);
    let demand = Demand {
        slots: choice.slots,
        max_batch,
    };
    let network = Gpu::open(&settings(&choice.gpu, device))
        .map_err(DeviceError::from)
        .and_then(|gpu| DeviceNetwork::new(gpu, &model.manifest.arch, &model.weights, decoder, demand));
    let network = match network {
        Ok(network) => network,
        Err(error) if choice.gpu.mode == config::GpuMode::Require => return Err(error.into()),
        Err(DeviceError::Gpu(GpuError::NoDriver)) => return Ok(None),
        Err(error) => {
            tracing::warn!(%error, device, "the GPU is not used");
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
fn on_gpus(_: &Model, _: &Arc<Decoder>, choice: &Choice) -> Result<Vec<Ready>, OpenError> {
    match choice.gpu.mode {
        config::GpuMode::Require => Err(OpenError::WithoutGpu),
        config::GpuMode::Auto | config::GpuMode::Never => Ok(Vec::new()),
    }
}

/// What the configuration says of the GPUs, for opening one of them.
#[cfg(feature = "cuda")]
pub fn settings(gpu: &config::Gpu, device: usize) -> Settings {
    Settings {
        device,
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

fn face(model: Model, live: Option<usize>, file: usize, favours: bool, language_models: Vec<String>) -> Served {
    let manifest = &model.manifest;
    Served {
        name: manifest.name.clone(),
        aliases: manifest.aliases.clone(),
        well_known: true,
        canonical_name: manifest.canonical_name.clone().unwrap_or_else(|| manifest.name.clone()),
        arch: manifest.architecture.clone(),
        version: manifest.version.clone(),
        uuid: manifest.uuid,
        languages: manifest.languages.clone(),
        contexts: manifest.arch.encoder.contexts.clone(),
        live,
        file,
        files: manifest.files,
        formatted_output: manifest.formatted_output,
        vocabulary: Arc::new(model.tokenizer),
        favours,
        language_models,
    }
}

#[expect(clippy::as_conversions, reason = "numbers of threads are far below 2^52")]
fn float(n: usize) -> f64 {
    n as f64
}
