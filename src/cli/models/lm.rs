//! `hark models lm`: language models for the words of a domain.
//!
//! What it does: builds one from sentences or ARPA text, attaches one to a model, and prints word errors with and without one.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Subcommand;

use super::dump::read_audio;
use super::{Place, in_megabytes, table};
use crate::app;
use crate::audio::Chunker;
use crate::cli::transcribe::progress;
use crate::config::Config;
use crate::engine::batch::{Batch, Chunk, Slot, Token};
use crate::engine::served::Served;
use crate::engine::{self, Choice, Engine, LmChoice, Opened};
use crate::model::lm::NgramModel;
use crate::model::lm::build::Sentences;
use crate::model::lm::fit::Fit;
use crate::model::lm::text::words;
use crate::model::store;
use crate::prerecorded::assemble;
use crate::units::{Samples, StreamId};

/// Largest list of recordings in bytes.
const MAX_LIST: u64 = 16 << 20;

/// What `hark models lm` is told.
#[derive(Debug, Subcommand)]
pub enum LmCommand {
    /// Build a language model and store it as NAME.lm in the models directory.
    Build {
        /// Name of the language model; one of that name is replaced.
        name: String,
        /// Sentences, one a line, or an n-gram model in ARPA text form.
        file: PathBuf,
        /// Words that are looked at together, 1 to 5; an ARPA file has its own.
        #[arg(long, default_value = "3")]
        order: usize,
        /// Sentences that are not in FILE, whose perplexity is printed.
        #[arg(long, value_name = "FILE")]
        held_out: Option<PathBuf>,
        /// Where the models are.
        #[command(flatten)]
        place: Place,
    },
    /// Copy a language model into a model's folder; it takes part in decoding from then on.
    Attach {
        /// Name of the language model.
        name: String,
        /// Name or alias of the model.
        model: String,
        /// Where the models are.
        #[command(flatten)]
        place: Place,
    },
    /// Print the word error on recordings without a language model, with the model's own and with this one.
    Eval {
        /// Name of the language model.
        name: String,
        /// List of recordings: lines of AUDIO<TAB>TEXT, AUDIO relative to the list's folder.
        #[arg(value_name = "LIST.tsv")]
        list: PathBuf,
        /// Model to use; that of the configuration if none.
        #[arg(long, value_name = "NAME")]
        model: Option<String>,
        /// Weight of the language model; that of the model's own, or 0.5, if none.
        #[arg(long)]
        weight: Option<f32>,
        /// Where the models are.
        #[command(flatten)]
        place: Place,
    },
}

/// Runs a command; results go to `out`.
pub(super) fn run(command: LmCommand, out: &mut impl Write) -> anyhow::Result<()> {
    match command {
        LmCommand::Build {
            name,
            file,
            order,
            held_out,
            place,
        } => {
            let target = store::lm_file(&place.directory()?, &name)?;
            let model = read(&file, order, out).with_context(|| format!("{} is no language model", file.display()))?;
            if let Some(held_out) = held_out {
                let fit = Fit::read(&model, open(&held_out)?).with_context(|| held_out.display().to_string())?;
                let Fit { words, unknown, .. } = fit;
                writeln!(
                    out,
                    "held out: perplexity {:.1}, {unknown} of {words} words unknown",
                    fit.perplexity()
                )?;
            }
            model.write(&target)?;
            let ngrams: Vec<String> = (1..=model.order())
                .map(|order| format!("{} {order}-grams", model.count(order)))
                .collect();
            writeln!(out, "{}: {}; {}", target.display(), ngrams.join(", "), memory(&model))?;
            writeln!(
                out,
                "all requests use it with models.lm = {name:?} in the configuration, or HARK_MODELS__LM={name}; those with language_model={name} \
                 where models.lm_choices names it"
            )?;
            Ok(())
        }
        LmCommand::Attach { name, model, place } => {
            let directory = place.directory()?;
            let folder = store::find(&directory, &model)?;
            store::attach_lm(&folder, &store::lm_file(&directory, &name)?)?;
            writeln!(out, "{} decodes with {name} from now on", folder.display())?;
            Ok(())
        }
        LmCommand::Eval {
            name,
            list,
            model,
            weight,
            place,
        } => {
            let mut config = place.config()?;
            config.models.default = model.or(config.models.default);
            config.models.lm = Some(name);
            config.models.lm_weight = weight.or(config.models.lm_weight);
            config.validate()?;
            eval(&config, &list, out)
        }
    }
}

fn open(path: &Path) -> anyhow::Result<BufReader<File>> {
    let file = File::open(path).with_context(|| format!("{} cannot be opened", path.display()))?;
    Ok(BufReader::new(file))
}

/// The model that an ARPA file holds, which begins with `\data\`, or that its sentences make.
fn read(path: &Path, order: usize, out: &mut impl Write) -> anyhow::Result<NgramModel> {
    let mut file = open(path)?;
    if file.fill_buf()?.trim_ascii_start().starts_with(b"\\data\\") {
        return Ok(NgramModel::from_arpa(file)?);
    }
    let sentences = Sentences::read(file)?;
    writeln!(out, "{} sentences, {} words", sentences.sentences(), sentences.words())?;
    if sentences.numbered() > 0 {
        writeln!(
            out,
            "{} words have digits: a model that spells numbers out will not write them",
            sentences.numbered()
        )?;
    }
    Ok(NgramModel::from_ngrams(&sentences.build(order)?)?)
}

/// Bytes of the compact form, which processes share, and of what each keeps beside it.
fn memory(model: &NgramModel) -> String {
    let megabytes = |bytes: usize| in_megabytes(u64::try_from(bytes).unwrap_or(u64::MAX));
    format!(
        "{:.2} MB mapped, {:.2} MB beside",
        megabytes(model.as_bytes().len()),
        megabytes(model.lexicon_bytes())
    )
}

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
fn eval(config: &Config, list: &Path, out: &mut impl Write) -> anyhow::Result<()> {
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
fn distance(said: &[String], heard: &[String]) -> usize {
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

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic
)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::models::ModelsCommand;
    use crate::model::manifest::Head;

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        command: ModelsCommand,
    }

    /// `hark models lm` with these arguments, models in `folder`.
    fn lm(folder: &Path, arguments: &[&str]) -> anyhow::Result<String> {
        let whole = ["hark", "lm"].iter().chain(arguments).chain(&["--models-dir"]);
        let line = Line::parse_from(whole.map(std::ffi::OsStr::new).chain([folder.as_os_str()]));
        let mut out = Vec::new();
        super::super::run(line.command, &mut out)?;
        Ok(String::from_utf8(out)?)
    }

    fn root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR"))
    }

    #[test]
    fn a_language_model_of_the_domain_lowers_the_word_error_there() {
        let folder = tempfile::tempdir().unwrap();
        let (mut sentences, mut list) = (String::new(), String::new());
        for name in ["call-2", "call-3"] {
            let said = std::fs::read_to_string(root().join(format!("samples/{name}.txt"))).unwrap();
            sentences += &format!("{}\n", said.trim());
            list += &format!("{}\t{}\n\n", root().join(format!("samples/{name}.wav")).display(), said.trim());
        }
        let put = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (sentences, list) = (put("calls.txt", &sentences), put("list.tsv", &list));
        let said = lm(folder.path(), &["build", "calls", &sentences, "--held-out", &sentences]).unwrap();
        assert!(
            said.contains("2 sentences, ") && said.contains(" 0 of ") && said.contains("calls.lm: "),
            "{said}"
        );

        let model = root().join("models/hark-starter-en");
        let model = model.to_str().unwrap();
        let said = lm(folder.path(), &["eval", "calls", &list, "--model", model]).unwrap();
        let lines: Vec<&str> = said.lines().collect();
        let errors = |line: &str, name: &str| -> u32 {
            let rest = line.strip_prefix(name).unwrap_or_else(|| panic!("{said}"));
            rest.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        assert!(
            lines[0].starts_with("LANGUAGE MODEL") && lines[4].ends_with("320 ms a step"),
            "{said}"
        );
        let none = errors(lines[1], "none");
        assert!(errors(lines[2], "the model's own") <= none, "{said}");
        let with = errors(lines[3], "calls");
        assert!(with < none, "{said}");
        assert!(
            lines[5].starts_with(&format!("calls against none: {with} errors for {none}, ")),
            "{said}"
        );

        for (arguments, wanted) in [
            (["eval", "other", &list, "--model", model], "the language model cannot be used"),
            (["eval", "../calls", &list, "--model", model], "the language model cannot be used"),
            (
                ["eval", "calls", &sentences, "--model", model],
                "is no list of recordings: line 1 is not AUDIO<TAB>TEXT",
            ),
            (["eval", "calls", &list, "--weight", "101"], "models.lm_weight"),
            (["build", "a/b", &sentences, "--order", "3"], "is no name of a model"),
            (["build", "calls", &sentences, "--order", "6"], "order 6 is not between 1 and 5"),
            (["build", "calls", "none.txt", "--order", "3"], "none.txt cannot be opened"),
        ] {
            let error = format!("{:#}", lm(folder.path(), &arguments).unwrap_err());
            assert!(error.contains(wanted), "{arguments:?}: {error}");
        }
    }

    #[test]
    fn arpa_files_are_known_by_their_first_line_and_can_be_attached() {
        let folder = tempfile::tempdir().unwrap();
        let arpa = folder.path().join("small.txt");
        std::fs::write(&arpa, "\n\\data\\\nngram 1=2\n\n\\1-grams:\n-0.3\tyes\n-0.3\tno\n\n\\end\\\n").unwrap();
        let said = lm(folder.path(), &["build", "small", arpa.to_str().unwrap()]).unwrap();
        assert!(said.contains("small.lm: 2 1-grams; ") && !said.contains("sentences"), "{said}");

        let archive = |model: &str| root().join("tests/fixtures/oracle").join(model).join("model.nemo");
        let import = |model| store::import(&archive(model), folder.path(), Some(model), store::Precision::F32).unwrap();
        for (model, head, width) in [("stream_hybrid", Head::Ctc, 40), ("stream_rnnt", Head::Transducer, 4)] {
            import(model);
            lm(folder.path(), &["attach", "small", model]).unwrap();
            let attached = store::load(&folder.path().join(model)).unwrap();
            assert_eq!(
                std::fs::read(attached.lm.unwrap()).unwrap(),
                std::fs::read(folder.path().join("small.lm")).unwrap()
            );
            let decode = attached.manifest.decode.unwrap();
            assert_eq!((decode.head, decode.lm.unwrap().beam_width), (head, width));
        }
    }

    #[test]
    fn transducers_take_a_language_model() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let audio = root().join("samples/call-2.wav");
        let (sentences, list) = (put("s.txt", "yes\n"), put("list.tsv", &format!("{}\tyes\n", audio.display())));
        lm(folder.path(), &["build", "s", &sentences]).unwrap();
        let model = root().join("tests/fixtures/oracle/stream_rnnt/model.nemo");
        let said = lm(folder.path(), &["eval", "s", &list, "--model", model.to_str().unwrap()]).unwrap();
        let lines: Vec<&str> = said.lines().collect();
        assert!(lines[1].starts_with("none") && lines[2].starts_with("s "), "{said}");
        assert!(lines[4].starts_with("s against none: "), "{said}");
    }

    #[test]
    fn errors_are_the_fewest_changes() {
        for (said, heard, wanted) in [
            ("", "", 0),
            ("a b c", "", 3),
            ("", "a b", 2),
            ("a b c d", "a x c d e", 2),
            ("a b c", "b c", 1),
            ("k i t t e n", "s i t t i n g", 3),
        ] {
            let [said, heard] = [said, heard].map(|text| words(text).collect::<Vec<_>>());
            assert_eq!(distance(&said, &heard), wanted, "{said:?} {heard:?}");
        }
    }
}
