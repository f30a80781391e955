//! `hark transcribe`: files in, transcripts out, through the same engine and scheduler as the server.

use std::io::{IsTerminal, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use super::{Format, TranscribeArguments, live};
use crate::audio::AudioSpec;
use crate::config::{CPU_SLOTS, Config};
use crate::engine::{self, served::Served};
use crate::prerecorded::assemble;
use crate::prerecorded::job::transcribe;
use crate::scheduler::Handle;
use crate::text::subtitles::{Spoken, srt, vtt};
use crate::text::words::Word;
use crate::units::KeyId;
use crate::wire::vocabulary::USUAL_WEIGHT;
use crate::{api, app};

/// Bytes read from a file at a time.
const READ: usize = 64 << 10;
/// Files in work at once.
const AT_ONCE: usize = 4;
/// Nobody waits for the answers: no file is refused because others keep the machine busy.
const BUDGET: Duration = Duration::from_secs(60);

/// A word of a transcript.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SpokenWord {
    word: String,
    start: f64,
    end: f64,
    confidence: f32,
}

impl From<&Word> for SpokenWord {
    fn from(word: &Word) -> Self {
        SpokenWord {
            word: word.text.clone(),
            start: word.start.seconds(),
            end: word.end.seconds(),
            confidence: word.confidence,
        }
    }
}

/// A transcript.
#[derive(Debug, Serialize)]
struct Transcript {
    file: String,
    transcript: String,
    words: Vec<SpokenWord>,
    duration: f64,
}

/// Transcribes every file; exit status 1 if any failed.
pub(super) fn run(arguments: &TranscribeArguments, config: &Config) -> anyhow::Result<ExitCode> {
    let mut config = config.clone();
    config.engine.budget = BUDGET;
    let config = &config;
    // Files need few slots; a server beside this may want the memory of the device.
    let mut choice = app::choice(config, arguments.context);
    choice.slots.get_or_insert(CPU_SLOTS);
    let opened = engine::open(&config.models.dir, &choice)?;
    actix_web::rt::System::new().block_on(async {
        let (scheduler, served) = app::start_engine(opened, config)?;
        if !served.favours && !arguments.keyterm.is_empty() {
            tracing::warn!("{}", api::UNFAVOURED);
        }
        let bar = progress(arguments.files.len());
        let mut failed = false;
        let (scheduler, served, bar) = (&scheduler, &served, &bar);
        let work = arguments.files.iter().map(|file| async move {
            let result = one(file, arguments, config, scheduler, served).await;
            bar.inc(1);
            (file, result)
        });
        let mut results = stream::iter(work).buffered(AT_ONCE);
        let mut out = std::io::stdout().lock();
        while let Some((file, result)) = results.next().await {
            match result {
                Ok(transcript) => writeln!(out, "{}", shown(&transcript, arguments))?,
                Err(error) => {
                    failed = true;
                    bar.suspend(|| eprintln!("hark: {}: {error:#}", file.display()));
                }
            }
        }
        bar.finish_and_clear();
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    })
}

async fn one(
    file: &Path,
    arguments: &TranscribeArguments,
    config: &Config,
    scheduler: &Handle,
    served: &Served,
) -> anyhow::Result<Transcript> {
    let (words, duration) = if arguments.live {
        live::transcribe(file, &arguments.keyterm, config, scheduler, served).await?
    } else {
        let spec = AudioSpec {
            encoding: None,
            rate: None,
            channels: 1,
            multichannel: false,
            whole: true,
        };
        let favoured = arguments.keyterm.iter().map(|term| (term.as_str(), USUAL_WEIGHT));
        let plan = api::file_plan(served, config, KeyId::default(), favoured, None);
        let heard = transcribe(read(file)?, spec, plan, scheduler, |_| ()).await?;
        let tokens = heard.lanes.first().map(Vec::as_slice).unwrap_or_default();
        let words = assemble::lane(tokens, heard.duration, served.vocabulary.as_ref());
        (words.iter().map(SpokenWord::from).collect(), heard.duration.seconds())
    };
    let transcript = words.iter().map(|word| word.word.as_str()).collect::<Vec<_>>().join(" ");
    Ok(Transcript {
        file: file.display().to_string(),
        transcript,
        words,
        duration,
    })
}

/// The file's bytes, a piece at a time.
pub(super) fn read(file: &Path) -> anyhow::Result<impl futures_util::Stream<Item = std::io::Result<Bytes>> + Unpin> {
    if file.is_dir() {
        bail!("is a folder");
    }
    let open = std::fs::File::open(file).context("cannot be opened")?;
    Ok(stream::iter(std::iter::from_fn({
        let mut open = open;
        move || {
            let mut piece = vec![0; READ];
            match open.read(&mut piece) {
                Ok(0) => None,
                Ok(length) => {
                    piece.truncate(length);
                    Some(Ok(Bytes::from(piece)))
                }
                Err(error) => Some(Err(error)),
            }
        }
    })))
}

fn shown(transcript: &Transcript, arguments: &TranscribeArguments) -> String {
    let spoken = || -> Vec<Spoken<'_>> {
        transcript
            .words
            .iter()
            .map(|word| Spoken {
                word: &word.word,
                start: word.start,
                end: word.end,
            })
            .collect()
    };
    match arguments.format {
        Format::Text if arguments.files.len() == 1 => transcript.transcript.clone(),
        Format::Text => format!("{}\t{}", transcript.file, transcript.transcript),
        Format::Json => crate::wire::json(transcript),
        Format::Srt => srt(&spoken()),
        Format::Vtt => vtt(&spoken()),
    }
}

pub(super) fn progress(files: usize) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(u64::try_from(files).unwrap_or(u64::MAX));
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} files, {elapsed} gone, {eta} to go") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
