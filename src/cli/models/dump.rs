//! `hark models dump`: what a model computes for one audio file, as named tensors, to compare with other implementations.

use std::borrow::Cow;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail};
use bytes::Bytes;
use safetensors::tensor::{Dtype, View};

use crate::audio::{AudioSpec, Chunker, Intake};
use crate::model::decode::{Decoder, Strategy};
use crate::model::frontend::Frontend;
use crate::model::network::{LONGEST_UTTERANCE, Network, Probe, Scratch, StepInput};
use crate::model::store::Model;

/// Largest audio file.
const MAX_FILE: u64 = 1 << 30;

/// How the model is run.
#[derive(Clone, Debug, Default)]
pub struct DumpOptions {
    /// Context in encoder frames; the model's default if none.
    pub context: Option<[i32; 2]>,
    /// The whole file at once, instead of chunk by chunk through the streaming path.
    pub offline: bool,
    /// Prompt of models that take one; others ignore it.
    pub language: Option<String>,
}

/// One tensor of the file.
struct Entry {
    name: &'static str,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// Runs `model` over the audio file and writes the tensors `mel [T, F]`, `subsampled [T', D]`, `encoder [T', D]` (before any
/// prompt), `ctc_log_probs [T', V + 1]`, and as i32 `ctc_ids`, `ctc_frames`, `rnnt_ids`, `rnnt_frames`, `tdt_durations`, as far as
/// the model has the heads. Gives the names and shapes written.
pub fn dump(model: &Model, audio: &Path, out: &Path, options: &DumpOptions) -> anyhow::Result<Vec<(&'static str, Vec<usize>)>> {
    let arch = &model.manifest.arch;
    let (bins, width) = (arch.frontend.mel_bins, arch.encoder.width);
    let samples = read_audio(audio).with_context(|| format!("{} cannot be read as audio", audio.display()))?;
    let network = Network::new(arch, &model.weights)?;
    let context = options.context.unwrap_or(model.manifest.default_context);
    // Front end and subsampling run frame by frame in both modes; only the blocks know chunks.
    let mut probe = Probe::default();
    let mut rows = network.offline(&samples, context, Some(&mut probe))?;
    if !options.offline {
        (probe.mel, rows) = stream(model, &network, &samples, context)?;
    }
    let pieces: Vec<String> = model.tokenizer.pieces().map(str::to_owned).collect();
    let strategy = if arch.transducer.is_some() {
        Strategy::Transducer
    } else {
        Strategy::Ctc
    };
    let locale = options.language.as_deref().filter(|_| arch.prompt.is_some());
    let decoded = Decoder::new(arch, &model.weights, &pieces, strategy)?.plain(&rows, locale)?;

    let mut entries = vec![
        Entry::floats("mel", bins, &probe.mel),
        Entry::floats("subsampled", width, &probe.subsampled),
        Entry::floats("encoder", width, &rows),
    ];
    if arch.ctc {
        entries.push(Entry::floats(
            "ctc_log_probs",
            arch.vocabulary.saturating_add(1),
            &decoded.ctc_log_probs,
        ));
        entries.push(Entry::integers("ctc_ids", &decoded.ctc_ids));
        entries.push(Entry::integers("ctc_frames", &decoded.ctc_frames));
    }
    if let Some(transducer) = &arch.transducer {
        entries.push(Entry::integers("rnnt_ids", &decoded.rnnt_ids));
        entries.push(Entry::integers("rnnt_frames", &decoded.rnnt_frames));
        if !transducer.durations.is_empty() {
            entries.push(Entry::integers("tdt_durations", &decoded.tdt_durations));
        }
    }
    let written = entries.iter().map(|entry| (entry.name, entry.shape.clone())).collect();
    safetensors::serialize_to_file(entries.into_iter().map(|entry| (entry.name, entry)), None, out)
        .with_context(|| format!("{} cannot be written", out.display()))?;
    Ok(written)
}

/// Chunk by chunk as for a live stream: log-mel frames `[T, F]` and encoder frames `[T', D]`.
fn stream(model: &Model, network: &Network, samples: &[f32], context: [i32; 2]) -> anyhow::Result<(Vec<f32>, Vec<f32>)> {
    let (name, contexts) = (&model.manifest.name, &model.manifest.arch.encoder.contexts);
    let [left, right] = context;
    let Some(index) = network.context_index(left, right) else {
        bail!("the model {name} has no context {context:?}; it has {contexts:?}");
    };
    let Ok(right) = u32::try_from(right)
        .map_err(drop)
        .and_then(|right| if network.streams_in(index) { Ok(right) } else { Err(()) })
    else {
        bail!("the model {name} cannot run chunk by chunk in context {context:?}; use --offline");
    };
    let bins = model.manifest.arch.frontend.mel_bins;
    let window = model.weights.get_optional("preprocessor.featurizer.window", &[400])?;
    let filters = model.weights.get_optional("preprocessor.featurizer.fb", &[1, bins, 257])?;
    let frontend = Frontend::new(bins, window, filters);
    let mut chunker = Chunker::new(right);
    let mut heard = frontend.state(samples.len());
    let mut state = network.new_state();
    let mut scratch = Scratch::default();
    let (mut mel, mut rows) = (Vec::new(), Vec::new());
    chunker.push(samples);
    let mut start = true;
    loop {
        let next = chunker.next();
        let end = next.is_none();
        let chunk = next.unwrap_or_else(|| chunker.flush());
        frontend.push(&mut heard, &chunk, end, &mut mel);
        let mut work = [StepInput {
            state: &mut state,
            samples: &chunk,
            start,
            end,
        }];
        rows.extend_from_slice(network.step(index, &mut work, &mut scratch)?.rows);
        start = false;
        if end {
            return Ok((mel, rows));
        }
    }
}

/// A file as mono samples at 16 kHz, at most the longest utterance.
pub(super) fn read_audio(path: &Path) -> anyhow::Result<Vec<f32>> {
    let mut intake = Intake::new(AudioSpec {
        encoding: None,
        rate: None,
        channels: 1,
        multichannel: false,
        whole: true,
    })?;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len > MAX_FILE) {
        bail!("it has more than {MAX_FILE} bytes");
    }
    intake.push(Bytes::from(bytes));
    intake.close();
    let mut lanes = Vec::new();
    while intake.pull(1 << 20, &mut lanes)? > 0 {
        if lanes.first().is_some_and(|lane: &Vec<f32>| lane.len() > LONGEST_UTTERANCE) {
            bail!("it is longer than an hour");
        }
    }
    lanes
        .into_iter()
        .next()
        .filter(|lane| !lane.is_empty())
        .context("it has no samples")
}

impl Entry {
    fn floats(name: &'static str, width: usize, values: &[f32]) -> Self {
        let rows = values.len().checked_div(width).unwrap_or(0);
        Entry {
            name,
            dtype: Dtype::F32,
            shape: vec![rows, width],
            bytes: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        }
    }

    fn integers(name: &'static str, values: &[u32]) -> Self {
        let bytes = values
            .iter()
            .flat_map(|&value| i32::try_from(value).unwrap_or(i32::MAX).to_le_bytes())
            .collect();
        Entry {
            name,
            dtype: Dtype::I32,
            shape: vec![values.len()],
            bytes,
        }
    }
}

impl View for Entry {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}
