//! `hark models lm`: language models for the words of a domain.
//!
//! What it does: builds one from sentences or ARPA text, attaches one to a model, and has word errors printed with and without one (`eval`).

mod eval;

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Subcommand;

use self::eval::eval;
use super::{Place, in_megabytes};
use crate::model::lm::NgramModel;
use crate::model::lm::build::Sentences;
use crate::model::lm::fit::Fit;
use crate::model::store;

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

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic
)]
mod tests;
