//! The tokenizer that a configuration names: SentencePiece (`bpe`), several of them (`agg`) or WordPiece (`wpe`).
//!
//! Called by the archive reader.

use std::collections::BTreeMap;

use super::ArchiveError;
use super::config::{Config, ConfigError};
use super::sentencepiece::{self, PieceType};
use crate::model::tokenizer::{self, Kind, LanguageRange, Style, Tokenizer, TokenizerSettings};

/// Most vocabularies in an aggregate.
const MAX_LANGUAGES: usize = 256;

/// Pieces in id order, and those whose kind is known from the model file.
#[derive(Default)]
struct Pieces {
    texts: Vec<String>,
    kinds: BTreeMap<u32, Kind>,
}

/// Reads the tokenizer of a configuration from the archive's tokenizer files.
pub(super) fn read(config: &Config, files: &BTreeMap<String, Vec<u8>>) -> Result<Tokenizer, ArchiveError> {
    let mut pieces = Pieces::default();
    let mut settings = TokenizerSettings::default();
    match config.text("tokenizer.type")?.as_deref() {
        Some("bpe") => pieces.add(file(config, files, "tokenizer.model_path")?)?,
        Some("agg") => {
            let languages = config.group("tokenizer.langs")?;
            if languages.is_empty() || languages.len() > MAX_LANGUAGES {
                return Err(config
                    .unsupported("tokenizer.langs", format!("1 to {MAX_LANGUAGES} languages"))
                    .into());
            }
            for (language, _) in languages {
                let kind = format!("tokenizer.langs.{language}.type");
                if config.text(&kind)?.is_some_and(|kind| kind != "bpe") {
                    return Err(config.unsupported(&kind, "bpe").into());
                }
                let before = pieces.texts.len();
                pieces.add(file(config, files, &format!("tokenizer.langs.{language}.model_path"))?)?;
                settings.languages.push(LanguageRange {
                    language: language.clone(),
                    pieces: pieces.texts.len() - before,
                });
            }
        }
        Some("wpe") => {
            settings.style = Style::WordPiece;
            let text = String::from_utf8_lossy(file(config, files, "tokenizer.vocab_path")?);
            pieces.texts = text.lines().map(str::to_owned).collect();
        }
        Some(_) => return Err(config.unsupported("tokenizer.type", "bpe, agg or wpe").into()),
        None => return Err(ConfigError::Missing("tokenizer.type".into()).into()),
    }
    settings.exceptions = tokenizer::exceptions(&pieces.kinds, &pieces.texts, settings.style);
    Ok(Tokenizer::new(pieces.texts, settings)?)
}

impl Pieces {
    /// Appends the pieces of a SentencePiece model.
    fn add(&mut self, model: &[u8]) -> Result<(), ArchiveError> {
        for (text, kind) in sentencepiece::pieces(model)? {
            let kind = match kind {
                PieceType::Normal | PieceType::UserDefined | PieceType::Unused => Kind::Normal,
                PieceType::Unknown => Kind::Unknown,
                PieceType::Control => Kind::Control,
                PieceType::Byte => Kind::Byte,
            };
            self.kinds.insert(u32::try_from(self.texts.len()).unwrap_or(u32::MAX), kind);
            self.texts.push(text);
        }
        Ok(())
    }
}

/// The file that a setting names: `nemo:<member>`, or a path of the machine that trained, of which the last part counts.
fn file<'a>(config: &Config, files: &'a BTreeMap<String, Vec<u8>>, key: &str) -> Result<&'a [u8], ArchiveError> {
    let stored = config.text(key)?.ok_or_else(|| ConfigError::Missing(key.to_owned()))?;
    let name = stored
        .strip_prefix("nemo:")
        .unwrap_or_else(|| stored.rsplit('/').next().unwrap_or_default());
    files.get(name).map(Vec::as_slice).ok_or_else(|| ArchiveError::NoTokenizer {
        key: key.to_owned(),
        file: name.chars().take(120).flat_map(char::escape_default).collect(),
    })
}
