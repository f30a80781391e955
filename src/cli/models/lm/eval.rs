//! `hark models lm eval`: word errors, step times and perplexity on recordings, with language models and without.
//!
//! What it does: runs all recordings through the engine, once for each choice of language model, and prints a row for each. What it does not do:
//! build language models, or change any. Who calls it: [`super::run`].

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::{memory, open};
use crate::app;
use crate::audio::Chunker;
use crate::cli::models::dump::read_audio;
use crate::cli::models::table;
use crate::cli::transcribe::progress;
use crate::config::Config;
use crate::engine::batch::{Batch, Chunk, Slot, Token};
use crate::engine::served::Served;
use crate::engine::{self, Choice, Engine, LmChoice, Opened};
use crate::model::lm::fit::Fit;
use crate::model::lm::text::words;
use crate::prerecorded::assemble;
use crate::units::{Samples, StreamId};

/// Largest list of recordings in bytes.
const MAX_LIST: u64 = 16 << 20;

/// A recording and what is said in it.
struct Recording {
    audio: PathBuf,
    words: Vec<String>,
}

fn recordings(list: &Path) -> anyhow::Result<Vec<Recording>> {
    let mut text = String::new();
    open(list)?.take(MAX_LIST + 1).read_to_string(&mut text)?;
    if u64::try_from(text.len()).is_ok_and(|len| len > MAX_LIST) {
        bail!("it has more than {MAX_LIST} bytes");
    }
    let folder = list.parent().unwrap_or(Path::new(""));
    let mut recordings = Vec::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let Some((audio, said)) = line.split_once('\t') else {
            bail!("line {number} is not AUDIO<TAB>TEXT");
        };
        recordings.push(Recording {
            audio: folder.join(audio),
            words: words(said).collect(),
        });
    }
    if recordings.iter().all(|recording| recording.words.is_empty()) {
        bail!("it has no words");
    }
    Ok(recordings)
}

/// What a run over all recordings gave.
#[derive(Default)]
struct Score {
    words: u32,
    errors: u32,
    steps: u32,
    stepping: Duration,
    audio: Samples,
}

/// Prints a row for each choice of language model. All recordings go through the engine alone, one chunk a step: no other work and no
/// batch hides what a step costs.
pub(super) fn eval(config: &Config, list: &Path, out: &mut impl Write) -> anyhow::Result<()> {
    let recordings = recordings(list).with_context(|| format!("{} is no list of recordings", list.display()))?;
    let heading = [
        "LANGUAGE MODEL",
        "WORDS",
        "ERRORS",
        "WORD ERROR",
        "STEP",
        "PERPLEXITY",
        "UNKNOWN",
        "MEMORY",
    ]
    .map(str::to_owned);
    let named = Choice {
        slots: Some(1),
        max_batch: Some(1),
        groups: 1,
        lm_choices: Vec::new(),
        ..app::choice(config, None)
    };
    let (mut rows, mut measured) = (Vec::new(), Vec::new());
    let (mut audio, mut frames) = (Samples(0), 0);
    // The one asked for comes first: it may be missing.
    for lm in [named.lm.clone(), LmChoice::Own, LmChoice::Without] {
        let name = match &lm {
            LmChoice::Named(name) => name.clone(),
            LmChoice::Own => "the model's own".to_owned(),
            LmChoice::Without => "none".to_owned(),
        };
        let opened = engine::open(
            &config.models.dir,
            &Choice {
                lm: lm.clone(),
                ..named.clone()
            },
        )?;
        if matches!(lm, LmChoice::Own) && opened.lm.is_none() {
            continue;
        }
        if opened.lm.is_some() && !opened.served.favours {
            bail!(
                "the GPU takes this model's tokens by itself, where no language model helps; the processor decodes with gpu.mode = \"never\""
            );
        }
        let lm = opened.lm.clone();
        frames = opened.served.live.map_or(0, |context| opened.served.right(context) + 1);
        let score = score(opened, &recordings)?;
        audio = score.audio;
        let step = 1e3 * (score.stepping / score.steps.max(1)).as_secs_f64();
        measured.push((name.clone(), score.errors, step));
        let [perplexity, unknown, bytes] = lm.map_or(["-", "-", "-"].map(str::to_owned), |lm| {
            let mut fit = Fit::default();
            recordings.iter().for_each(|recording| fit.add(&lm, &recording.words));
            [format!("{:.1}", fit.perplexity()), fit.unknown.to_string(), memory(&lm)]
        });
        rows.push([
            name,
            score.words.to_string(),
            score.errors.to_string(),
            format!("{:.1} %", 100.0 * f64::from(score.errors) / f64::from(score.words)),
            format!("{step:.3} ms"),
            perplexity,
            unknown,
            bytes,
        ]);
    }
    rows.push(heading);
    rows.reverse();
    table(&rows, out)?;
    match frames {
        0 => writeln!(out, "{:.1} s of audio, a recording a step", audio.seconds())?,
        frames => writeln!(out, "{:.1} s of audio, {} ms a step", audio.seconds(), frames * 80)?,
    }
    if let ([(name, errors, step), ..], Some((without, errors_without, step_without))) = (measured.as_slice(), measured.last()) {
        let more = step - step_without;
        writeln!(
            out,
            "{name} against {without}: {errors} errors for {errors_without}, {more:+.3} ms a step"
        )?;
    }
    Ok(())
}

fn score(opened: Opened, recordings: &[Recording]) -> anyhow::Result<Score> {
    let Opened { devices, served, .. } = opened;
    let mut engine = devices.into_iter().next().context("there is no engine")?.engine;
    let mut score = Score::default();
    let bar = progress(recordings.len());
    for recording in recordings {
        let shown = || recording.audio.display().to_string();
        let samples = read_audio(&recording.audio).with_context(shown)?;
        let duration = Samples(u64::try_from(samples.len()).unwrap_or(u64::MAX));
        let tokens = recognise(engine.as_mut(), &served, samples, &mut score).with_context(shown)?;
        let transcript = assemble::lane(&tokens, duration, served.vocabulary.as_ref());
        let heard: Vec<String> = transcript.iter().flat_map(|word| words(&word.text)).collect();
        score.words = score.words.saturating_add(count(recording.words.len()));
        score.errors = score.errors.saturating_add(count(distance(&recording.words, &heard)));
        score.audio = score.audio.plus(duration);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(score)
}

fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The tokens of a whole recording, chunk by chunk where the model streams.
fn recognise(engine: &mut dyn Engine, served: &Served, samples: Vec<f32>, score: &mut Score) -> anyhow::Result<Vec<Token>> {
    let mut chunks = Vec::new();
    match served.live {
        Some(context) => {
            let mut chunker = Chunker::new(served.right(context));
            chunker.push(&samples);
            chunks.extend(chunker.by_ref());
            chunks.push(chunker.flush());
        }
        None => chunks.push(samples),
    }
    let last = chunks.len() - 1;
    let mut tokens = Vec::new();
    for (seq, (index, samples)) in (0..).zip(chunks.into_iter().enumerate()) {
        let chunk = Chunk {
            stream: StreamId(0),
            slot: Slot { index: 0, generation: 0 },
            seq,
            samples,
            start: index == 0,
            end: index == last,
            commit: false,
            terms: None,
            lm: None,
        };
        let batch = Batch {
            context: served.live.unwrap_or(served.file),
            chunks: vec![chunk],
        };
        let began = Instant::now();
        let decoded = engine.step(&batch)?;
        score.stepping += began.elapsed();
        score.steps = score.steps.saturating_add(1);
        tokens.extend(decoded.into_iter().flat_map(|decoded| decoded.fixed));
    }
    Ok(tokens)
}

/// Fewest words to put in, take out or replace (Levenshtein).
pub(super) fn distance(said: &[String], heard: &[String]) -> usize {
    let mut row: Vec<usize> = (0..=heard.len()).collect();
    for (index, word) in said.iter().enumerate() {
        let mut left = index + 1;
        let mut next = vec![left];
        for (other, pair) in heard.iter().zip(row.windows(2)) {
            let [diagonal, above] = pair else { continue };
            left = (diagonal + usize::from(word != other)).min(above + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}
