//! `model.toml`: everything about a model folder except its tensors and pieces.
//!
//! What it does: the typed file, its checks, writing it. What it does not do: open the other files (see `store`).
//! Called by `store`, and read by whoever lists or chooses models.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use super::arch::Architecture;
use super::tokenizer::TokenizerSettings;

/// Version of the file format that this code reads and writes.
pub const FORMAT: u32 = 1;
/// Longest name, alias, language tag or version in bytes.
const MAX_WORD: usize = 64;
/// Most aliases or languages.
const MAX_WORDS: usize = 256;

/// Why a `model.toml` is refused.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// Not TOML, an unknown key, or a value of another type.
    #[error("model.toml, line {line}: {message}")]
    Toml {
        /// Line, from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// Cannot be written as TOML.
    #[error("model.toml cannot be written")]
    Write(#[from] toml::ser::Error),
    /// Written by another version.
    #[error("model.toml has format {0}, this version reads format {FORMAT}")]
    Format(u32),
    /// A value that contradicts another or is out of bounds.
    #[error("model.toml: {key} {problem}")]
    Value {
        /// Key.
        key: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

/// The whole file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Always [`FORMAT`].
    pub format: u32,
    /// Name of the folder, and the name by which the model is asked for.
    pub name: String,
    /// Other names by which it may be asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Name to show in model lists, if another than `name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canonical_name: Option<String>,
    /// Family to show in model lists.
    pub architecture: String,
    /// Version to show in model lists.
    pub version: String,
    /// Names these very weights; made from their checksum.
    pub uuid: Uuid,
    /// Language tags; empty if the source does not say.
    #[serde(default)]
    pub languages: Vec<String>,
    /// Serves live streams.
    pub live: bool,
    /// Serves files.
    pub files: bool,
    /// Writes capitals and punctuation itself.
    #[serde(default)]
    pub formatted_output: bool,
    /// Context used when nothing else is asked for, `[left, right]` in encoder frames; one of `arch.encoder.contexts`.
    pub default_context: [i32; 2],
    /// Licence of the weights.
    #[serde(default)]
    pub licence: String,
    /// Where the weights come from.
    #[serde(default)]
    pub provenance: Provenance,
    /// SHA-256 of the folder's other files.
    pub checksums: Checksums,
    /// How text is made from tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decode: Option<Decode>,
    /// How pieces are joined.
    #[serde(default)]
    pub tokenizer: TokenizerSettings,
    /// Numbers of the network.
    pub arch: Architecture,
}

/// Where weights come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// File name of the imported archive.
    #[serde(default)]
    pub source: String,
    /// Who made it, from what, by which recipe.
    #[serde(default)]
    pub notes: String,
}

/// SHA-256 in lower-case hexadecimal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checksums {
    /// Of `weights.safetensors`.
    pub weights: String,
    /// Of `vocab.txt`.
    pub vocabulary: String,
    /// Of the language model's file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lm: Option<String>,
}

/// Which head decodes, and with what help.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decode {
    /// Head.
    pub head: Head,
    /// Language model for the beam search over that head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lm: Option<LanguageModel>,
}

/// A decoder of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Head {
    /// Connectionist temporal classification.
    Ctc,
    /// RNN-T or TDT.
    Transducer,
}

/// A language model and how much it counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LanguageModel {
    /// File in the model's folder.
    pub file: String,
    /// Factor of its natural log-probabilities.
    pub weight: f32,
    /// Added for every word.
    pub word_bonus: f32,
    /// Taken off for every word that it does not know.
    pub unknown_penalty: f32,
    /// Hypotheses kept.
    pub beam_width: usize,
}

impl Manifest {
    /// Reads and checks the text of a `model.toml`.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let manifest: Manifest = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            ManifestError::Toml {
                line: before.matches('\n').count() + 1,
                message: error.message().to_owned(),
            }
        })?;
        manifest.validate()?;
        Ok(manifest)
    }

    /// The text of the file.
    pub fn write(&self) -> Result<String, ManifestError> {
        self.validate()?;
        Ok(toml::to_string(self)?)
    }

    /// The head that decodes: the one named under `[decode]`, else the transducer where there is one.
    pub fn head(&self) -> Head {
        match &self.decode {
            Some(decode) => decode.head,
            None if self.arch.transducer.is_some() => Head::Transducer,
            None => Head::Ctc,
        }
    }

    /// Place of [`Manifest::default_context`] in the architecture's list.
    pub fn default_context_index(&self) -> Option<usize> {
        self.arch
            .encoder
            .contexts
            .iter()
            .position(|context| *context == self.default_context)
    }

    /// True if the model answers to this name: its own, an alias, or its uuid.
    pub fn answers_to(&self, name: &str) -> bool {
        self.name == name
            || self.canonical_name.as_deref() == Some(name)
            || self.aliases.iter().any(|alias| alias == name)
            || Uuid::parse_str(name).is_ok_and(|uuid| uuid == self.uuid)
    }

    /// Checks what the types alone do not say.
    pub fn validate(&self) -> Result<(), ManifestError> {
        if self.format != FORMAT {
            return Err(ManifestError::Format(self.format));
        }
        let wrong = |key, problem: String| Err(ManifestError::Value { key, problem });
        if !is_name(&self.name) {
            return wrong(
                "name",
                format!(
                    "{:?} is no name: 1 to {MAX_WORD} letters, digits, `-`, `_` and `.`, not first a `.`",
                    self.name
                ),
            );
        }
        for (key, words) in [("aliases", &self.aliases), ("languages", &self.languages)] {
            if words.len() > MAX_WORDS {
                return wrong(key, format!("has {} entries, at most {MAX_WORDS} are allowed", words.len()));
            }
            if let Some(bad) = words.iter().find(|word| !is_name(word)) {
                return wrong(
                    key,
                    format!("has {bad:?}: 1 to {MAX_WORD} letters, digits, `-`, `_` and `.` are allowed"),
                );
            }
        }
        for (key, word) in [
            ("canonical_name", self.canonical_name.as_ref()),
            ("architecture", Some(&self.architecture)),
            ("version", Some(&self.version)),
        ] {
            if word.is_some_and(|word| word.is_empty() || word.len() > MAX_WORD || word.contains(char::is_control)) {
                return wrong(key, format!("is empty, longer than {MAX_WORD} bytes or has control characters"));
            }
        }
        if self.live && !self.arch.encoder.streams() {
            return wrong("live", "is true, but the architecture cannot run chunk by chunk".into());
        }
        if self.default_context_index().is_none() {
            return wrong(
                "default_context",
                format!("{:?} is not one of arch.encoder.contexts", self.default_context),
            );
        }
        match self.head() {
            Head::Ctc if !self.arch.ctc => return wrong("decode.head", "is ctc, but the model has no such head".into()),
            Head::Transducer if self.arch.transducer.is_none() => {
                return wrong("decode.head", "is transducer, but the model has no such head".into());
            }
            _ => {}
        }
        if let Some(prompt) = &self.arch.prompt {
            if prompt.dictionary.values().any(|&slot| slot >= prompt.slots) {
                return wrong("arch.prompt.dictionary", format!("names a slot of {} or more", prompt.slots));
            }
            if prompt
                .default
                .as_ref()
                .is_some_and(|locale| !prompt.dictionary.contains_key(locale))
            {
                return wrong("arch.prompt.default", "is not in the dictionary".into());
            }
        }
        for sum in [
            Some(&self.checksums.weights),
            Some(&self.checksums.vocabulary),
            self.checksums.lm.as_ref(),
        ]
        .into_iter()
        .flatten()
        {
            if sum.len() != 64 || !sum.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
                return wrong("checksums", "has something else than 64 lower-case hexadecimal digits".into());
            }
        }
        let lm = self.decode.as_ref().and_then(|decode| decode.lm.as_ref());
        if lm.is_some() != self.checksums.lm.is_some() {
            return wrong("checksums.lm", "must be given if and only if decode.lm is".into());
        }
        lm.map_or(Ok(()), validate_lm)
    }
}

fn validate_lm(lm: &LanguageModel) -> Result<(), ManifestError> {
    let wrong = |key, problem: String| Err(ManifestError::Value { key, problem });
    if !is_name(&lm.file) {
        return wrong("decode.lm.file", format!("{:?} is not a plain file name", lm.file));
    }
    for (key, value) in [
        ("decode.lm.weight", lm.weight),
        ("decode.lm.word_bonus", lm.word_bonus),
        ("decode.lm.unknown_penalty", lm.unknown_penalty),
    ] {
        if !(-100.0..=100.0).contains(&value) {
            return wrong(key, format!("is {value}, outside -100 to 100"));
        }
    }
    if !(1..=1_000).contains(&lm.beam_width) {
        return wrong("decode.lm.beam_width", format!("is {}, outside 1 to 1000", lm.beam_width));
    }
    Ok(())
}

/// True for a name that is safe as a folder name, in a URL and in a log line.
pub fn is_name(name: &str) -> bool {
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !name.is_empty() && name.len() <= MAX_WORD && !name.starts_with('.') && name.bytes().all(letters)
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

    const TEXT: &str = r#"
format = 1
name = "small-en"
aliases = ["nova-3", "nova-2-phonecall"]
architecture = "fastconformer-ctc"
version = "2026-11-20.1"
uuid = "67e55044-10b1-426f-9247-bb680e5fe0c8"
languages = ["en", "en-US"]
live = true
files = true
default_context = [70, 6]
licence = "Apache-2.0"

[provenance]
source = "small.nemo"

[checksums]
weights = "0000000000000000000000000000000000000000000000000000000000000000"
vocabulary = "0000000000000000000000000000000000000000000000000000000000000001"
lm = "0000000000000000000000000000000000000000000000000000000000000002"

[decode]
head = "ctc"
lm = { file = "lm.bin", weight = 0.5, word_bonus = 1.5, unknown_penalty = 8.0, beam_width = 16 }

[arch]
vocabulary = 256
ctc = true

[arch.frontend]
mel_bins = 80
normalize = "none"

[arch.encoder]
layers = 8
width = 144
heads = 4
subsampling_channels = 32
causal_subsampling = true
ff_expansion = 4
conv_kernel = 9
conv_context = [8, 0]
conv_norm = "layer_norm"
scale_input = false
attention = "chunked"
contexts = [[70, 6], [70, 13]]
"#;

    #[test]
    fn a_manifest_survives_writing_and_reading() {
        let manifest = Manifest::parse(TEXT).unwrap();
        assert_eq!(Manifest::parse(&manifest.write().unwrap()).unwrap(), manifest);
        assert_eq!((manifest.head(), manifest.default_context_index()), (Head::Ctc, Some(0)));
        let lm = manifest.decode.as_ref().unwrap().lm.as_ref().unwrap();
        assert_eq!((lm.file.as_str(), lm.weight, lm.beam_width), ("lm.bin", 0.5, 16));
        for name in ["small-en", "nova-3", "nova-2-phonecall", "67e55044-10b1-426f-9247-bb680e5fe0c8"] {
            assert!(manifest.answers_to(name), "{name}");
        }
        assert!(!manifest.answers_to("nova") && !manifest.answers_to(""));
    }

    #[test]
    fn mistakes_are_refused_with_their_key() {
        for (from, to, wanted) in [
            ("live = true", "live = true\nlive_too = true", "line 10: unknown field `live_too`"),
            ("heads = 4", "heads = 4\nfeet = 4", "unknown field `feet`"),
            ("format = 1", "format = 2", "format 2, this version reads format 1"),
            ("name = \"small-en\"", "name = \"../x\"", "name \"../x\" is no name"),
            ("\"nova-3\",", "\"nova 3\",", "aliases has \"nova 3\""),
            ("\"en\",", "\"\",", "languages has \"\""),
            ("version = \"2026-11-20.1\"", "version = \"\"", "version is empty"),
            (
                "default_context = [70, 6]",
                "default_context = [70, 7]",
                "default_context [70, 7] is not one of arch.encoder.contexts",
            ),
            (
                "attention = \"chunked\"",
                "attention = \"regular\"",
                "live is true, but the architecture cannot",
            ),
            ("head = \"ctc\"", "head = \"transducer\"", "decode.head is transducer, but"),
            (
                "file = \"lm.bin\"",
                "file = \"../lm.bin\"",
                "decode.lm.file \"../lm.bin\" is not a plain file name",
            ),
            ("beam_width = 16", "beam_width = 0", "decode.lm.beam_width is 0"),
            ("weight = 0.5", "weight = nan", "decode.lm.weight is NaN"),
            ("lm = \"0000", "# \"0000", "checksums.lm must be given"),
            ("weights = \"0000", "weights = \"00", "checksums has something else"),
            ("width = 144\n", "", "missing field `width`"),
            ("uuid = \"67", "uuid = \"6", "line 7: UUID"),
        ] {
            assert!(TEXT.contains(from), "{from}");
            let error = Manifest::parse(&TEXT.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error.contains(wanted), "{to}: {error}");
        }
    }
}
