//! `hark models`: list, inspect and import models, build and try language models, and dump what a model computes.

mod dump;
mod lm;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};

pub use self::dump::{DumpOptions, dump};
use crate::config::Config;
use crate::model::manifest::{Head, Manifest};
use crate::model::store::{self, Precision};

/// What `hark models` is told.
#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// List the models of the models directory.
    List {
        /// Where the models are.
        #[command(flatten)]
        place: Place,
    },
    /// Check one model, its checksums and tensors included, and show what it is.
    Inspect {
        /// Name, alias, folder or published archive.
        name: String,
        /// Where the models are.
        #[command(flatten)]
        place: Place,
    },
    /// Import a published checkpoint into the models directory.
    Import {
        /// Archive (tar or gzipped tar), or a folder with its members.
        #[arg(value_name = "FILE.nemo")]
        file: PathBuf,
        /// Name of the model; an existing one gets the new weights and keeps its names, languages and licence.
        #[arg(long)]
        name: Option<String>,
        /// Store matrices as f16: half the size.
        #[arg(long)]
        half: bool,
        /// Where the models are.
        #[command(flatten)]
        place: Place,
    },
    /// Build language models for the words of a domain, try them, and attach them to a model.
    Lm {
        /// What to do.
        #[command(subcommand)]
        command: lm::LmCommand,
    },
    /// Run a model over an audio file and write what it computes as tensors.
    Dump {
        /// Name, alias, folder or published archive.
        model: String,
        /// Audio file.
        audio: PathBuf,
        /// File to write.
        #[arg(long, value_name = "F.safetensors")]
        out: PathBuf,
        /// Context in encoder frames; the model's default if none.
        #[arg(long, value_name = "LEFT,RIGHT", value_parser = parse_context, allow_hyphen_values = true)]
        context: Option<[i32; 2]>,
        /// The whole file at once instead of chunk by chunk.
        #[arg(long)]
        offline: bool,
        /// Prompt of models that take one.
        #[arg(long, value_name = "TAG")]
        language: Option<String>,
        /// Where the models are.
        #[command(flatten)]
        place: Place,
    },
}

/// Where the models are.
#[derive(Debug, Args)]
pub struct Place {
    /// Models directory; `models.dir` of the configuration if none.
    #[arg(long, value_name = "DIR")]
    models_dir: Option<PathBuf>,
}

impl Place {
    fn directory(self) -> anyhow::Result<PathBuf> {
        match self.models_dir {
            Some(directory) => Ok(directory),
            None => Ok(Config::load(None, std::env::vars())?.0.models.dir),
        }
    }

    /// The configuration with this place in it.
    fn config(self) -> anyhow::Result<Config> {
        let (mut config, _) = Config::load(None, std::env::vars())?;
        if let Some(directory) = self.models_dir {
            config.models.dir = directory;
        }
        Ok(config)
    }
}

/// Runs a command; results go to `out`.
pub fn run(command: ModelsCommand, out: &mut impl Write) -> anyhow::Result<()> {
    match command {
        ModelsCommand::List { place } => list(&place.directory()?, out),
        ModelsCommand::Inspect { name, place } => inspect(&place.directory()?, &name, out),
        ModelsCommand::Import { file, name, half, place } => {
            let precision = if half { Precision::F16 } else { Precision::F32 };
            import(&file, &place.directory()?, name.as_deref(), precision, out)
        }
        ModelsCommand::Lm { command } => lm::run(command, out),
        ModelsCommand::Dump {
            model,
            audio,
            out: file,
            context,
            offline,
            language,
            place,
        } => {
            let loaded = store::resolve(&place.directory()?, &model).with_context(|| format!("the model {model} cannot be loaded"))?;
            let options = DumpOptions {
                context,
                offline,
                language,
            };
            for (name, shape) in dump(&loaded, &audio, &file, &options)? {
                writeln!(out, "{name:<14} {shape:?}")?;
            }
            Ok(())
        }
    }
}

/// Reads `LEFT,RIGHT`, for example `70,6`; -1 is unlimited.
pub fn parse_context(text: &str) -> Result<[i32; 2], String> {
    let side = |side: &str| side.trim().parse::<i32>().ok().filter(|side| (-1..=10_000).contains(side));
    let sides = text.split_once(',').and_then(|(left, right)| Some([side(left)?, side(right)?]));
    sides.ok_or_else(|| format!("{text:?} is not LEFT,RIGHT in frames of 80 ms, such as 70,6 (-1 for unlimited)"))
}

/// Prints the models of a directory as a table.
pub fn list(models_dir: &Path, out: &mut impl Write) -> anyhow::Result<()> {
    let listed = store::list(models_dir)?;
    if listed.is_empty() {
        writeln!(out, "no models under {}", models_dir.display())?;
        return Ok(());
    }
    let mut rows = vec![["NAME", "ARCHITECTURE", "LIVE", "FILES", "LANGUAGES", "ALIASES"].map(str::to_owned)];
    let mut broken = Vec::new();
    for model in listed {
        match model.manifest {
            Ok(manifest) => rows.push([
                manifest.name.clone(),
                manifest.architecture.clone(),
                yes(manifest.live),
                yes(manifest.files),
                or_dash(&manifest.languages),
                or_dash(&manifest.aliases),
            ]),
            Err(error) => broken.push(format!("{}: cannot be used: {:#}", model.folder, anyhow::Error::from(error))),
        }
    }
    table(&rows, out)?;
    for line in broken {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// Loads one model, which proves its checksums and shapes, and prints what it is.
pub fn inspect(models_dir: &Path, name: &str, out: &mut impl Write) -> anyhow::Result<()> {
    let model = store::resolve(models_dir, name).with_context(|| format!("the model {name} cannot be loaded"))?;
    let manifest = &model.manifest;
    let (arch, encoder) = (&manifest.arch, &manifest.arch.encoder);
    let parameters: usize = model.weights.iter().map(|(_, tensor)| tensor.data.len()).sum();
    let contexts: Vec<String> = encoder.contexts.iter().map(|context| shown_context(manifest, *context)).collect();
    let transducer = arch.transducer.as_ref().map(|sizes| {
        let kind = if sizes.durations.is_empty() {
            "RNN-T".into()
        } else {
            format!("TDT {:?}", sizes.durations)
        };
        format!(
            "{kind}, {} LSTM of {}, joint {}",
            sizes.prediction_layers, sizes.prediction_width, sizes.joint_width
        )
    });
    let heads = [arch.ctc.then(|| "CTC".to_owned()), transducer]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join("; ");
    let lm = manifest
        .decode
        .as_ref()
        .and_then(|decode| decode.lm.as_ref())
        .map(|lm| format!("{} (weight {})", lm.file, lm.weight));
    let rows = [
        ("name", manifest.name.clone()),
        ("aliases", or_dash(&manifest.aliases)),
        ("architecture", manifest.architecture.clone()),
        ("version", manifest.version.clone()),
        ("uuid", manifest.uuid.to_string()),
        ("languages", or_dash(&manifest.languages)),
        ("live, files", format!("{}, {}", yes(manifest.live), yes(manifest.files))),
        ("licence", or_dash(std::slice::from_ref(&manifest.licence))),
        ("source", or_dash(std::slice::from_ref(&manifest.provenance.source))),
        (
            "front end",
            format!("{} mel bins, normalization {:?}", arch.frontend.mel_bins, arch.frontend.normalize),
        ),
        (
            "encoder",
            format!(
                "{} blocks of width {}, {} heads, kernel {}",
                encoder.layers, encoder.width, encoder.heads, encoder.conv_kernel
            ),
        ),
        ("contexts", contexts.join("  ")),
        ("heads", heads),
        (
            "decodes with",
            format!(
                "{}{}",
                if manifest.head() == Head::Ctc { "CTC" } else { "transducer" },
                lm.map_or(String::new(), |lm| format!(" and {lm}"))
            ),
        ),
        ("vocabulary", format!("{} pieces", model.tokenizer.len())),
        (
            "prompt",
            arch.prompt
                .as_ref()
                .map_or("-".into(), |prompt| format!("{} locales", prompt.dictionary.len())),
        ),
        ("parameters", format!("{parameters} in {} tensors", model.weights.iter().count())),
        ("checks", "checksums and shapes are right".to_owned()),
    ];
    table(&rows.map(|(key, value)| [key.to_owned(), value]), out)
}

/// Imports a published checkpoint and says where it went.
pub fn import(file: &Path, models_dir: &Path, name: Option<&str>, precision: Precision, out: &mut impl Write) -> anyhow::Result<()> {
    let manifest = store::import(file, models_dir, name, precision).with_context(|| format!("{} cannot be imported", file.display()))?;
    let folder = models_dir.join(&manifest.name);
    let size = std::fs::metadata(folder.join("weights.safetensors"))?.len();
    writeln!(
        out,
        "imported {} ({}, {:.1} MB) into {}",
        manifest.name,
        manifest.architecture,
        in_megabytes(size),
        folder.display()
    )?;
    if manifest.aliases.is_empty() || manifest.languages.is_empty() || manifest.licence.is_empty() {
        writeln!(
            out,
            "aliases, languages, version and licence can be set in {}",
            folder.join("model.toml").display()
        )?;
    }
    Ok(())
}

#[expect(clippy::as_conversions, reason = "a size for people to read")]
fn in_megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn shown_context(manifest: &Manifest, context: [i32; 2]) -> String {
    let [left, right] = context;
    format!(
        "[{left}, {right}]{}",
        if context == manifest.default_context { " (default)" } else { "" }
    )
}

fn yes(value: bool) -> String {
    if value { "yes".into() } else { "no".into() }
}

fn or_dash(words: &[String]) -> String {
    let joined = words.join(" ");
    if joined.is_empty() { "-".into() } else { joined }
}

/// Columns as wide as their longest entry; the last one as it is.
fn table<const COLUMNS: usize>(rows: &[[String; COLUMNS]], out: &mut impl Write) -> anyhow::Result<()> {
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..COLUMNS).map(width).collect();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
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
    use super::*;

    fn fixture(model: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/oracle")
            .join(model)
            .join("model.nemo")
    }

    fn text(command: impl FnOnce(&mut Vec<u8>) -> anyhow::Result<()>) -> String {
        let mut out = Vec::new();
        command(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn imported_models_are_listed_and_inspected() {
        let directory = tempfile::tempdir().unwrap();
        let models = directory.path();
        assert!(text(|out| list(models, out)).contains("no models under"));
        let said = text(|out| import(&fixture("stream_hybrid"), models, Some("one"), Precision::F16, out));
        assert!(
            said.contains("imported one (fastconformer-rnnt-ctc, ") && said.contains("can be set in"),
            "{said}"
        );
        text(|out| import(&fixture("offline_tdt"), models, Some("two"), Precision::F32, out));
        std::fs::create_dir(models.join("three")).unwrap();
        std::fs::write(models.join("three/model.toml"), "format = 1").unwrap();
        let table = text(|out| list(models, out));
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 4, "{table}");
        assert!(lines[1].starts_with("one   fastconformer-rnnt-ctc  yes   yes"), "{table}");
        assert!(lines[2].starts_with("two   fastconformer-tdt       no    yes"), "{table}");
        assert!(
            lines[3].starts_with("three: cannot be used: model.toml, line 1: missing field `name`"),
            "{table}"
        );
        let shown = text(|out| inspect(models, "one", out));
        for wanted in [
            "[70, 13] (default)  [70, 6]",
            "CTC; RNN-T, 1 LSTM of 64, joint 64",
            "128 pieces",
            "138 tensors",
            "checksums and shapes are right",
        ] {
            assert!(shown.contains(wanted), "{wanted}: {shown}");
        }
        assert!(inspect(models, "none", &mut Vec::new()).is_err());
    }

    #[test]
    fn contexts_are_two_counts() {
        assert_eq!(parse_context("70,6"), Ok([70, 6]));
        assert_eq!(parse_context("-1, -1"), Ok([-1, -1]));
        for wrong in ["", "70", "70,", "70,6,1", "a,b", "-2,0", "70,10001"] {
            assert!(parse_context(wrong).is_err(), "{wrong}");
        }
    }
}
