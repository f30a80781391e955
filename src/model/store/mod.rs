//! Model folders: `models/<name>/` with `model.toml`, `weights.safetensors`, `vocab.txt` and perhaps a language model.
//!
//! What it does: load a folder with every checksum and shape proven, list folders, import a published checkpoint into one; say where
//! the language models of a directory are, and attach one to a folder.
//! What it does not do: choose where the models directory is (the caller says), build the network.
//! Called by the server's start-up and by `hark models`.

mod weights_file;

#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use thiserror::Error;
use uuid::Uuid;

use super::archive::{self, ArchiveError, LayoutError, Published};
use super::decode::beam::BeamOptions;
use super::lm::{LmError, NgramModel};
use super::manifest::{self, Checksums, Decode, FORMAT, Head, LanguageModel, Manifest, ManifestError, Provenance};
use super::tokenizer::{Tokenizer, TokenizerError};
use super::weights::Weights;

pub use self::weights_file::{Precision, WeightsFileError};

/// Largest `model.toml` and `vocab.txt`.
const MAX_TEXT: u64 = 32 << 20;
/// Most folders looked at in a models directory.
const MAX_FOLDERS: usize = 10_000;

const MANIFEST: &str = "model.toml";
const WEIGHTS: &str = "weights.safetensors";
const VOCABULARY: &str = "vocab.txt";
const LM: &str = "lm.bin";

/// Why a model cannot be loaded, listed or imported.
#[derive(Debug, Error)]
pub enum StoreError {
    /// A file or folder cannot be read or written.
    #[error("{} cannot be read or written", path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// Reason.
        #[source]
        source: io::Error,
    },
    /// A file above its limit.
    #[error("{} has more than {limit} bytes", path.display())]
    TooLarge {
        /// File.
        path: PathBuf,
        /// Limit in bytes.
        limit: u64,
    },
    /// No model of that name.
    #[error("there is no model {name} under {}", directory.display())]
    Unknown {
        /// Name asked for.
        name: String,
        /// Models directory.
        directory: PathBuf,
    },
    /// A name that cannot be a folder name.
    #[error("{0:?} is no name of a model: 1 to 64 letters, digits, `-`, `_` and `.`, not first a `.`")]
    Name(String),
    /// The manifest's name and the folder's differ.
    #[error("folder {folder} holds a model.toml with name = {name:?}")]
    Folder {
        /// Folder.
        folder: String,
        /// Name inside.
        name: String,
    },
    /// The language model.
    #[error("the language model cannot be read or written")]
    LanguageModel(#[from] LmError),
    /// `model.toml`.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// `vocab.txt`.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// Another number of pieces than the architecture says.
    #[error("vocab.txt has {pieces} pieces, model.toml says {vocabulary}")]
    Vocabulary {
        /// Lines of the file.
        pieces: usize,
        /// `arch.vocabulary`.
        vocabulary: usize,
    },
    /// `weights.safetensors`.
    #[error(transparent)]
    Weights(#[from] WeightsFileError),
    /// The tensors are not those of the architecture.
    #[error("weights.safetensors does not fit model.toml")]
    Layout(#[from] LayoutError),
    /// A file is not the one that was imported.
    #[error("{file} is damaged or was replaced: its checksum is {found}, model.toml says {wanted}")]
    Checksum {
        /// File name.
        file: String,
        /// Checksum of the file.
        found: String,
        /// Checksum in the manifest.
        wanted: String,
    },
    /// A published checkpoint.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

/// A model in memory, ready to build the network from.
#[derive(Debug)]
pub struct Model {
    /// Everything but tensors and pieces.
    pub manifest: Manifest,
    /// All tensors, f32.
    pub weights: Weights,
    /// Vocabulary.
    pub tokenizer: Tokenizer,
    /// The language model's file, its checksum proven; it is mapped into memory when used.
    pub lm: Option<PathBuf>,
}

/// One folder of a models directory.
#[derive(Debug)]
pub struct Listed {
    /// Folder name.
    pub folder: String,
    /// Its manifest, or why it cannot be used.
    pub manifest: Result<Manifest, StoreError>,
}

/// Loads a model folder; proves checksums and shapes.
pub fn load(folder: &Path) -> Result<Model, StoreError> {
    let manifest = read_manifest(folder)?;
    let vocabulary = read_file(&folder.join(VOCABULARY), MAX_TEXT)?;
    verify(VOCABULARY, &hex(&Sha256::digest(&vocabulary)), &manifest.checksums.vocabulary)?;
    let tokenizer = Tokenizer::parse(&String::from_utf8_lossy(&vocabulary), manifest.tokenizer.clone())?;
    if tokenizer.len() != manifest.arch.vocabulary {
        return Err(StoreError::Vocabulary {
            pieces: tokenizer.len(),
            vocabulary: manifest.arch.vocabulary,
        });
    }
    let mut lm = None;
    if let Some(settings) = manifest.decode.as_ref().and_then(|decode| decode.lm.as_ref()) {
        let path = folder.join(&settings.file);
        verify(
            &settings.file,
            &checksum(&path)?,
            manifest.checksums.lm.as_deref().unwrap_or_default(),
        )?;
        lm = Some(path);
    }
    let path = folder.join(WEIGHTS);
    let file = File::open(&path).map_err(|source| StoreError::Io { path, source })?;
    let (weights, checksum) = weights_file::read(file, |shapes| archive::layout::check(&manifest.arch, shapes))??;
    verify(WEIGHTS, &checksum, &manifest.checksums.weights)?;
    Ok(Model {
        manifest,
        weights,
        tokenizer,
        lm,
    })
}

/// The file of the language model of that name.
///
/// # Errors
/// The name cannot be a file name.
pub fn lm_file(models_dir: &Path, name: &str) -> Result<PathBuf, StoreError> {
    if manifest::is_name(name) {
        Ok(models_dir.join(format!("{name}.lm")))
    } else {
        Err(StoreError::Name(name.to_owned()))
    }
}

/// Copies a language model into a folder for the CTC head of its model, or for its transducer where that is the only head, and says so
/// in its `model.toml`. Settings that stand there already are kept.
///
/// # Errors
/// The language model cannot be opened, or a file cannot be read or written.
pub fn attach_lm(folder: &Path, lm: &Path) -> Result<(), StoreError> {
    let mut manifest = read_manifest(folder)?;
    let (head, options) = if manifest.arch.ctc {
        (Head::Ctc, BeamOptions::default())
    } else {
        (Head::Transducer, BeamOptions::transducer())
    };
    let decode = manifest.decode.get_or_insert(Decode { head, lm: None });
    decode.head = head;
    let settings = decode.lm.get_or_insert_with(|| LanguageModel {
        file: LM.to_owned(),
        weight: options.lm_weight,
        word_bonus: options.word_bonus,
        unknown_penalty: options.unknown_penalty,
        beam_width: options.width,
    });
    let copy = folder.join(&settings.file);
    let model = NgramModel::open(lm)?;
    manifest.checksums.lm = Some(hex(&Sha256::digest(model.as_bytes())));
    let (path, text) = (folder.join(MANIFEST), manifest.write()?);
    model.write(&copy)?;
    fs::write(&path, text).map_err(|source| StoreError::Io { path, source })
}

/// Reads and checks the `model.toml` of a folder, and nothing else.
pub fn read_manifest(folder: &Path) -> Result<Manifest, StoreError> {
    let text = read_file(&folder.join(MANIFEST), MAX_TEXT)?;
    let manifest = Manifest::parse(&String::from_utf8_lossy(&text))?;
    Ok(manifest)
}

/// All model folders of a directory in name order; weights are not read. A missing directory has none.
pub fn list(models_dir: &Path) -> Result<Vec<Listed>, StoreError> {
    let at = |source| StoreError::Io {
        path: models_dir.to_owned(),
        source,
    };
    let items = match fs::read_dir(models_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        items => items.map_err(at)?,
    };
    let mut listed = Vec::new();
    for item in items.take(MAX_FOLDERS) {
        let item = item.map_err(at)?;
        let Ok(folder) = item.file_name().into_string() else { continue };
        if item.path().join(MANIFEST).is_file() {
            let manifest = read_manifest(&item.path()).and_then(|manifest| {
                if manifest.name == folder {
                    Ok(manifest)
                } else {
                    Err(StoreError::Folder {
                        folder: folder.clone(),
                        name: manifest.name,
                    })
                }
            });
            listed.push(Listed { folder, manifest });
        }
    }
    listed.sort_by(|one, other| one.folder.cmp(&other.folder));
    Ok(listed)
}

/// The folder of the model that answers to `name` (folder name first, then aliases in folder order).
pub fn find(models_dir: &Path, name: &str) -> Result<PathBuf, StoreError> {
    if manifest::is_name(name) && models_dir.join(name).join(MANIFEST).is_file() {
        return Ok(models_dir.join(name));
    }
    let named = list(models_dir)?
        .into_iter()
        .find(|listed| listed.manifest.as_ref().is_ok_and(|manifest| manifest.answers_to(name)));
    match named {
        Some(listed) => Ok(models_dir.join(listed.folder)),
        None => Err(StoreError::Unknown {
            name: name.to_owned(),
            directory: models_dir.to_owned(),
        }),
    }
}

/// Loads what `model` means: a model folder, a published checkpoint (file or directory), or a name under `models_dir`.
pub fn resolve(models_dir: &Path, model: &str) -> Result<Model, StoreError> {
    let path = Path::new(model);
    if path.join(MANIFEST).is_file() {
        return load(path);
    }
    if path.is_file() || path.is_dir() {
        let name = name_of(path);
        return in_memory(archive::read(path)?, name, path);
    }
    load(&find(models_dir, model)?)
}

/// Imports a published checkpoint into `models_dir/<name>`; without `name` the file's own is taken. Into an existing folder
/// only weights, vocabulary, architecture and checksums are replaced: names, aliases, languages, licence and notes stay.
pub fn import(source: &Path, models_dir: &Path, name: Option<&str>, precision: Precision) -> Result<Manifest, StoreError> {
    let name = name.map_or_else(|| name_of(source), str::to_owned);
    if !manifest::is_name(&name) {
        return Err(StoreError::Name(name));
    }
    let folder = models_dir.join(&name);
    let existing = if folder.join(MANIFEST).is_file() {
        Some(read_manifest(&folder)?)
    } else {
        None
    };
    let model = in_memory(archive::read(source)?, name, source)?;
    fs::create_dir_all(&folder).map_err(|source| StoreError::Io {
        path: folder.clone(),
        source,
    })?;
    let partial = |file: &str| folder.join(format!("{file}.partial"));
    let result = write_folder(&model, existing, &folder, precision, &partial);
    if result.is_err() {
        for file in [WEIGHTS, VOCABULARY, MANIFEST] {
            fs::remove_file(partial(file)).ok();
        }
        fs::remove_dir(&folder).ok(); // succeeds only if empty
    }
    result
}

/// Writes all files under temporary names, then renames them, the manifest last.
fn write_folder(
    model: &Model,
    existing: Option<Manifest>,
    folder: &Path,
    precision: Precision,
    partial: &impl Fn(&str) -> PathBuf,
) -> Result<Manifest, StoreError> {
    weights_file::write(&model.weights, precision, &partial(WEIGHTS))?;
    let vocabulary = model.tokenizer.vocabulary();
    let mut fresh = model.manifest.clone();
    fresh.checksums.weights = checksum(&partial(WEIGHTS))?;
    fresh.checksums.vocabulary = hex(&Sha256::digest(vocabulary.as_bytes()));
    fresh.uuid = Uuid::new_v5(&Uuid::NAMESPACE_OID, fresh.checksums.weights.as_bytes());
    let manifest = match existing {
        Some(existing) => merged(existing, fresh),
        None => fresh,
    };
    for (file, text) in [(VOCABULARY, vocabulary), (MANIFEST, manifest.write()?)] {
        fs::write(partial(file), text).map_err(|source| StoreError::Io {
            path: partial(file),
            source,
        })?;
    }
    for file in [WEIGHTS, VOCABULARY, MANIFEST] {
        fs::rename(partial(file), folder.join(file)).map_err(|source| StoreError::Io {
            path: folder.join(file),
            source,
        })?;
    }
    Ok(manifest)
}

/// `existing` with everything that belongs to the new weights.
fn merged(existing: Manifest, fresh: Manifest) -> Manifest {
    let has_head = |head: Head| match head {
        Head::Ctc => fresh.arch.ctc,
        Head::Transducer => fresh.arch.transducer.is_some(),
    };
    let decode = existing.decode.filter(|decode| has_head(decode.head));
    let lm = existing
        .checksums
        .lm
        .filter(|_| decode.as_ref().is_some_and(|decode| decode.lm.is_some()));
    let context_kept = fresh.arch.encoder.contexts.contains(&existing.default_context);
    Manifest {
        architecture: if existing.arch == fresh.arch {
            existing.architecture
        } else {
            fresh.architecture
        },
        uuid: fresh.uuid,
        live: existing.live && fresh.live,
        default_context: if context_kept {
            existing.default_context
        } else {
            fresh.default_context
        },
        provenance: Provenance {
            source: fresh.provenance.source,
            notes: existing.provenance.notes,
        },
        checksums: Checksums { lm, ..fresh.checksums },
        decode,
        tokenizer: fresh.tokenizer,
        arch: fresh.arch,
        ..existing
    }
}

/// A checkpoint with a manifest as an import would write it, without checksums of files.
fn in_memory(published: Published, name: String, source: &Path) -> Result<Model, StoreError> {
    let Published {
        architecture: arch,
        weights,
        tokenizer,
    } = published;
    let mut languages: Vec<String> = match &arch.prompt {
        Some(prompt) => prompt.dictionary.keys().filter(|locale| *locale != "auto").cloned().collect(),
        None => tokenizer.settings().languages.iter().map(|range| range.language.clone()).collect(),
    };
    languages.retain(|language| manifest::is_name(language));
    languages.dedup();
    let heads = match &arch.transducer {
        Some(transducer) if !transducer.durations.is_empty() => "tdt",
        Some(_) => "rnnt",
        None => "ctc",
    };
    let manifest = Manifest {
        format: FORMAT,
        name,
        aliases: Vec::new(),
        canonical_name: None,
        architecture: format!(
            "fastconformer-{heads}{}",
            if arch.ctc && arch.transducer.is_some() { "-ctc" } else { "" }
        ),
        version: "1".into(),
        uuid: Uuid::nil(),
        languages,
        live: arch.encoder.streams(),
        files: true,
        formatted_output: writes_capitals(&tokenizer),
        default_context: arch.encoder.contexts.first().copied().unwrap_or([-1, -1]),
        licence: String::new(),
        provenance: Provenance {
            source: source.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            notes: String::new(),
        },
        checksums: Checksums {
            weights: "0".repeat(64),
            vocabulary: "0".repeat(64),
            lm: None,
        },
        decode: None,
        tokenizer: tokenizer.settings().clone(),
        arch,
    };
    manifest.validate()?;
    Ok(Model {
        manifest,
        weights,
        tokenizer,
        lm: None,
    })
}

/// A vocabulary with capitals and full stops belongs to a model that writes them.
fn writes_capitals(tokenizer: &Tokenizer) -> bool {
    let pieces = || {
        (0..)
            .map_while(|id| tokenizer.piece(id))
            .filter(|piece| !piece.starts_with(['<', '[']))
    };
    pieces().any(|piece| piece.contains(char::is_uppercase)) && pieces().any(|piece| piece.contains('.'))
}

/// A model name from a file name: `a b.nemo` gives `a-b`.
fn name_of(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let letters = |letter: char| {
        if letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.') {
            letter
        } else {
            '-'
        }
    };
    let name: String = stem.trim_start_matches('.').chars().map(letters).take(64).collect();
    if name.is_empty() { "model".into() } else { name }
}

fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>, StoreError> {
    let at = |source| StoreError::Io {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    File::open(path).map_err(at)?.take(limit + 1).read_to_end(&mut bytes).map_err(at)?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len > limit) {
        return Err(StoreError::TooLarge {
            path: path.to_owned(),
            limit,
        });
    }
    Ok(bytes)
}

fn checksum(path: &Path) -> Result<String, StoreError> {
    let at = |source| StoreError::Io {
        path: path.to_owned(),
        source,
    };
    let mut hasher = Sha256::new();
    io::copy(&mut File::open(path).map_err(at)?, &mut hasher).map_err(at)?;
    Ok(hex(&hasher.finalize()))
}

fn verify(file: &str, found: &str, wanted: &str) -> Result<(), StoreError> {
    if found == wanted {
        return Ok(());
    }
    Err(StoreError::Checksum {
        file: file.to_owned(),
        found: found.to_owned(),
        wanted: wanted.to_owned(),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
