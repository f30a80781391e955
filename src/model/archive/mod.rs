//! Reads published checkpoints (`.nemo`): archive, configuration, tokenizer and weights, all treated as untrusted.
//!
//! What it does: prove that the tensors are exactly those that the configuration describes before any value is read, then
//! convert them to f32. What it does not do: run anything that a file contains, write files (see `store`).
//! Called by `store`. The path of an import: `nemo` (members) -> `config`, `settings` (architecture) -> `checkpoint`
//! (over `zip` and `pickle`: names and shapes) -> `layout` (proof) -> `checkpoint` (values).

mod blob;
mod checkpoint;
mod config;
mod filterbank;
pub mod layout;
mod nemo;
mod pickle;
mod sentencepiece;
mod settings;
#[cfg(test)]
mod tests;
mod vocabulary;
mod zip;

use std::path::Path;

use thiserror::Error;

use self::checkpoint::Checkpoint;
use self::config::Config;
use super::arch::Architecture;
use super::tokenizer::{Tokenizer, TokenizerError};
use super::weights::Weights;

pub use self::checkpoint::CheckpointError;
pub use self::config::ConfigError;
pub use self::layout::LayoutError;
pub use self::nemo::NemoError;
pub use self::pickle::PickleError;
pub use self::sentencepiece::SentencePieceError;
pub use self::zip::ZipError;

/// Why a published checkpoint is refused.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// The archive as a container.
    #[error(transparent)]
    Nemo(#[from] NemoError),
    /// A setting of the configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The container of the weights.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Tensors and configuration do not agree.
    #[error("the checkpoint does not fit its configuration")]
    Layout(#[from] LayoutError),
    /// The tokenizer's model file.
    #[error(transparent)]
    SentencePiece(#[from] SentencePieceError),
    /// The vocabulary.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// A tokenizer file that the configuration names.
    #[error("setting {key} names tokenizer file {file}, which the archive does not have")]
    NoTokenizer {
        /// Setting.
        key: String,
        /// File that it names.
        file: String,
    },
    /// Another number of pieces than the decoder has classes.
    #[error("the tokenizer has {pieces} pieces, the decoder {classes} classes without blank")]
    Vocabulary {
        /// Pieces of the tokenizer.
        pieces: usize,
        /// Classes of the decoder.
        classes: usize,
    },
}

/// What an archive holds, converted.
#[derive(Debug)]
pub struct Published {
    /// Numbers of the network.
    pub architecture: Architecture,
    /// All tensors that inference needs; the joint's output layer is always called `joint.joint_net.2`.
    pub weights: Weights,
    /// Vocabulary.
    pub tokenizer: Tokenizer,
}

/// Reads a `.nemo` file (tar or gzipped tar) or a directory with the same members.
pub fn read(path: &Path) -> Result<Published, ArchiveError> {
    let members = nemo::open(path)?;
    let config = Config::parse(&members.config)?;
    let tokenizer = vocabulary::read(&config, &members.files)?;
    let mut checkpoint = Checkpoint::open(members.weights, layout::needed)?;
    // Without dropout in the joint its layers are numbered one lower.
    checkpoint.rename("joint.joint_net.1.", "joint.joint_net.2.");
    let mut shapes = checkpoint.shapes();
    let architecture = settings::architecture(&config, &shapes)?;
    if tokenizer.len() != architecture.vocabulary {
        return Err(ArchiveError::Vocabulary {
            pieces: tokenizer.len(),
            classes: architecture.vocabulary,
        });
    }
    let mut weights = Weights::default();
    let made = [
        ("preprocessor.featurizer.window", filterbank::window()),
        ("preprocessor.featurizer.fb", filterbank::filters(architecture.frontend.mel_bins)),
    ];
    for (name, tensor) in made {
        if !shapes.contains_key(name) {
            shapes.insert(name.to_owned(), tensor.shape.clone());
            weights.insert(name, tensor);
        }
    }
    layout::check(&architecture, &shapes)?;
    for name in shapes.keys() {
        if !weights.contains(name) {
            weights.insert(name.as_str(), checkpoint.read(name)?);
        }
    }
    Ok(Published {
        architecture,
        weights,
        tokenizer,
    })
}
