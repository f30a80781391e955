//! The language models of a server, and the decoder that they help.
//!
//! What it does: opens what configuration and model name, and tells the decoder. What it does not do: score words (see `model::lm`).
//! Who calls it: [`super::open()`].

use std::path::Path;
use std::sync::Arc;

use super::open::{Choice, LmChoice, OpenError};
use crate::model::decode::beam::BeamOptions;
use crate::model::decode::confidence::Confidence;
use crate::model::decode::{Decoder, Strategy};
use crate::model::lm::NgramModel;
use crate::model::manifest::Head;
use crate::model::store::{self, Model};

/// A language model and how a search uses it.
pub(super) type Help = (BeamOptions, Arc<NgramModel>);

/// The language models of a server.
pub(super) struct Helps {
    /// Where a request chooses none.
    pub(super) usual: Option<Help>,
    /// Those that a request may choose, in the order of their names.
    choices: Vec<Help>,
    pub(super) names: Vec<String>,
}

/// Opens the language models that are asked for. All that there will ever be are opened here, mapped into memory; of those with the
/// same content one.
pub(super) fn language_models(models: &Path, model: &Model, choice: &Choice) -> Result<Helps, OpenError> {
    let own = beam_options(model);
    let named = BeamOptions {
        lm_weight: choice.lm_weight.unwrap_or(own.lm_weight),
        ..own.clone()
    };
    let mut opened: Vec<Arc<NgramModel>> = Vec::new();
    let mut open = |file: &Path| -> Result<Arc<NgramModel>, OpenError> {
        let lm = NgramModel::open(file)?;
        if let Some(same) = opened.iter().find(|other| other.digest() == lm.digest()) {
            return Ok(Arc::clone(same));
        }
        let lm = Arc::new(lm);
        opened.push(Arc::clone(&lm));
        Ok(lm)
    };
    let file_of = |name: &str| store::lm_file(models, name).map_err(OpenError::LanguageModelName);
    let mut names = choice.lm_choices.clone();
    let usual = match (&choice.lm, &model.lm) {
        (LmChoice::Named(name), _) => {
            // What helps all may be asked for as well.
            if !names.contains(name) {
                names.push(name.clone());
            }
            Some((named.clone(), open(&file_of(name)?)?))
        }
        (LmChoice::Own, Some(file)) => Some((own, open(file)?)),
        (LmChoice::Own, None) | (LmChoice::Without, _) => None,
    };
    let mut choices = Vec::with_capacity(names.len());
    for name in &names {
        choices.push((named.clone(), open(&file_of(name)?)?));
    }
    Ok(Helps { usual, choices, names })
}

/// How the model's search uses a language model: as with its own, if it has one.
fn beam_options(model: &Model) -> BeamOptions {
    let usual = match model.manifest.head() {
        Head::Ctc => BeamOptions::default(),
        Head::Transducer => BeamOptions::transducer(),
    };
    match model.manifest.decode.as_ref().and_then(|decode| decode.lm.as_ref()) {
        Some(settings) => BeamOptions {
            width: settings.beam_width,
            lm_weight: settings.weight,
            word_bonus: settings.word_bonus,
            unknown_penalty: settings.unknown_penalty,
            ..usual
        },
        None => usual,
    }
}

/// The decoder that the model's manifest asks for, with language models.
pub(super) fn decoder(model: &Model, helps: &Helps) -> Result<Decoder, OpenError> {
    let strategy = match (model.manifest.head(), helps.usual.clone()) {
        (Head::Ctc, Some((options, lm))) => Strategy::CtcBeam(options, Some(lm)),
        (Head::Ctc, None) => Strategy::Ctc,
        (Head::Transducer, Some((options, lm))) => Strategy::TransducerBeam(options, Some(lm)),
        (Head::Transducer, None) => Strategy::Transducer,
    };
    let pieces: Vec<String> = model.tokenizer.pieces().map(str::to_owned).collect();
    let decoder = Decoder::new(&model.manifest.arch, &model.weights, &pieces, strategy)?;
    // Clients read a confidence as a probability, which the entropy measures are not.
    let decoder = decoder.with_confidence(Confidence::MaxProb);
    Ok(decoder.with_choices(&pieces, helps.choices.clone())?)
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
    use crate::config;

    #[test]
    fn language_models_of_the_same_content_are_one_and_a_missing_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        for (name, word) in [("a", "yes"), ("b", "yes"), ("c", "no")] {
            let arpa = format!("\\data\\\nngram 1=1\n\n\\1-grams:\n-0.3\t{word}\n\n\\end\\\n");
            let lm = NgramModel::from_arpa(arpa.as_bytes()).unwrap();
            lm.write(&folder.path().join(format!("{name}.lm"))).unwrap();
        }
        let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/oracle/stream_rnnt/model.nemo");
        let model = store::resolve(folder.path(), archive.to_str().unwrap()).unwrap();
        let helps = |lm: LmChoice, choices: &[&str]| {
            let choice = Choice {
                model: None,
                context: None,
                look_ahead: None,
                slots: None,
                max_batch: None,
                gpu: config::Gpu::default(),
                lm,
                lm_choices: choices.iter().map(|&name| name.to_owned()).collect(),
                lm_weight: Some(0.7),
                threads: 0,
                groups: 1,
            };
            language_models(folder.path(), &model, &choice)
        };
        let Helps { usual, choices, names } = helps(LmChoice::Named("b".into()), &["a", "c"]).unwrap();
        let (options, usual) = usual.unwrap();
        assert_eq!((options.width, options.lm_weight), (4, 0.7), "a transducer's beam is narrow");
        assert_eq!(names, ["a", "c", "b"], "what helps all may be named too");
        let shared: Vec<bool> = choices.iter().map(|(_, lm)| Arc::ptr_eq(lm, &usual)).collect();
        assert_eq!(shared, [true, false, true]);
        let none = helps(LmChoice::Own, &[]).unwrap();
        assert!(none.usual.is_none() && none.choices.is_empty() && none.names.is_empty());
        for wrong in ["none", "../a"] {
            assert!(helps(LmChoice::Own, &[wrong]).is_err(), "{wrong}");
            assert!(helps(LmChoice::Named(wrong.into()), &[]).is_err(), "{wrong}");
        }
    }
}
