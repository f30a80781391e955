//! The members of a `.nemo` archive: a tar file, a gzipped tar file, or a directory with the same files.
//!
//! Members are taken by an allow-list of plain names; nothing is unpacked under a stored name, and a name that leads out of
//! the archive refuses the whole of it. The weights stay where they are (tar, directory) or are spooled to a nameless
//! temporary file (gzip). Called by the archive reader.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use tar::{Archive, Entries};
use thiserror::Error;

use super::blob::Blob;

/// Largest `model_config.yaml`.
const MAX_CONFIG: u64 = 4 << 20;
/// Largest tokenizer file, and all of them together.
const MAX_TOKENIZER: u64 = 32 << 20;
const MAX_TOKENIZERS: u64 = 64 << 20;
/// Largest checkpoint.
const MAX_WEIGHTS: u64 = 16 << 30;
/// Most members looked at.
const MAX_MEMBERS: usize = 1_000;
/// A gzipped archive may grow to this many times its size (weights hardly compress), plus [`GZIP_SLACK`].
const GZIP_RATIO: u64 = 50;
const GZIP_SLACK: u64 = 64 << 20;

const CONFIG: &str = "model_config.yaml";
const WEIGHTS: &str = "model_weights.ckpt";

/// Why an archive cannot be taken apart.
#[derive(Debug, Error)]
pub enum NemoError {
    /// Reading failed, or the tar structure is damaged.
    #[error("the archive cannot be read")]
    Io(#[from] io::Error),
    /// Neither tar nor gzip nor a directory.
    #[error("not a .nemo archive: neither a tar file nor a gzipped one nor a directory")]
    NotAnArchive,
    /// A member that every archive has.
    #[error("the archive has no member {0}")]
    Missing(&'static str),
    /// The same member twice.
    #[error("the archive has member {0} twice")]
    Twice(String),
    /// A name with `..` or an absolute one.
    #[error("member name {0} leads out of the archive")]
    Escapes(String),
    /// A member above its limit.
    #[error("member {name} has {size} bytes, the limit is {limit}")]
    TooLarge {
        /// Member name.
        name: String,
        /// Announced size.
        size: u64,
        /// Limit for this kind of member.
        limit: u64,
    },
    /// More members than an archive of this kind has.
    #[error("the archive has more than {MAX_MEMBERS} members")]
    TooManyMembers,
    /// The configuration is not UTF-8.
    #[error("model_config.yaml is not UTF-8")]
    NotText,
}

/// The members that an importer needs.
#[derive(Debug)]
pub(super) struct Members {
    /// Text of `model_config.yaml`.
    pub(super) config: String,
    /// The checkpoint.
    pub(super) weights: Blob<File>,
    /// Tokenizer files (`*.model`, `*.txt`) by member name.
    pub(super) files: BTreeMap<String, Vec<u8>>,
}

/// What has been found so far.
#[derive(Default)]
struct Found {
    config: Option<String>,
    weights: Option<Blob<File>>,
    files: BTreeMap<String, Vec<u8>>,
    files_len: u64,
}

/// What a member is for, by its name.
enum Role {
    Config,
    Weights,
    Tokenizer,
    Other,
}

/// Opens an archive or a directory with the same members.
pub(super) fn open(path: &Path) -> Result<Members, NemoError> {
    let mut found = Found::default();
    if fs::metadata(path)?.is_dir() {
        directory(path, &mut found)?;
    } else {
        let mut file = File::open(path)?;
        let mut magic = [0; 265];
        let read = read_up_to(&mut file, &mut magic)?;
        file.rewind()?;
        if magic.starts_with(&[0x1f, 0x8b]) {
            let limit = file
                .metadata()?
                .len()
                .saturating_mul(GZIP_RATIO)
                .saturating_add(GZIP_SLACK)
                .min(MAX_WEIGHTS + GZIP_SLACK);
            let mut archive = Archive::new(MultiGzDecoder::new(BufReader::new(file)).take(limit));
            members(archive.entries()?, &mut found, |entry, _, size| {
                let mut spool = tempfile::tempfile()?;
                io::copy(&mut entry.take(size), &mut spool)?;
                Blob::new(spool, 0, size)
            })?;
        } else if read == magic.len() && magic.get(257..262) == Some(b"ustar".as_slice()) {
            let weights = file.try_clone()?;
            let mut archive = Archive::new(file);
            members(archive.entries_with_seek()?, &mut found, |_, position, size| {
                Blob::new(weights.try_clone()?, position, size)
            })?;
        } else {
            return Err(NemoError::NotAnArchive);
        }
    }
    Ok(Members {
        config: found.config.ok_or(NemoError::Missing(CONFIG))?,
        weights: found.weights.ok_or(NemoError::Missing(WEIGHTS))?,
        files: found.files,
    })
}

/// Walks a tar file; `weights` turns the checkpoint's entry (with its position and size) into a blob.
fn members<R: Read>(
    entries: Entries<'_, R>,
    found: &mut Found,
    weights: impl Fn(&mut dyn Read, u64, u64) -> io::Result<Blob<File>>,
) -> Result<(), NemoError> {
    // Raw: extension headers are ordinary entries here, so their size never decides how much is read into memory.
    for (index, entry) in entries.raw(true).enumerate() {
        if index >= MAX_MEMBERS {
            return Err(NemoError::TooManyMembers);
        }
        let mut entry = entry?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let Some(name) = member_name(&String::from_utf8_lossy(&entry.path_bytes()))? else {
            continue;
        };
        let size = entry.header().size()?;
        match role(&name) {
            Role::Weights if found.weights.is_some() => return Err(NemoError::Twice(name)),
            Role::Weights if size > MAX_WEIGHTS => {
                return Err(NemoError::TooLarge {
                    name,
                    size,
                    limit: MAX_WEIGHTS,
                });
            }
            Role::Weights => {
                let position = entry.raw_file_position();
                found.weights = Some(weights(&mut entry, position, size)?);
            }
            _ => small_member(name, size, &mut entry, found)?,
        }
    }
    Ok(())
}

fn directory(path: &Path, found: &mut Found) -> Result<(), NemoError> {
    for (index, item) in fs::read_dir(path)?.enumerate() {
        if index >= MAX_MEMBERS {
            return Err(NemoError::TooManyMembers);
        }
        let item = item?;
        let Ok(name) = item.file_name().into_string() else { continue };
        // Links are followed: download caches keep the real files elsewhere.
        let information = fs::metadata(item.path())?;
        if !information.is_file() {
            continue;
        }
        let size = information.len();
        match role(&name) {
            Role::Weights if size > MAX_WEIGHTS => {
                return Err(NemoError::TooLarge {
                    name,
                    size,
                    limit: MAX_WEIGHTS,
                });
            }
            Role::Weights => found.weights = Some(Blob::new(File::open(item.path())?, 0, size)?),
            Role::Other => {}
            _ => small_member(name, size, &mut File::open(item.path())?, found)?,
        }
    }
    Ok(())
}

/// Reads a configuration or tokenizer member into memory; ignores others.
fn small_member(name: String, size: u64, reader: &mut dyn Read, found: &mut Found) -> Result<(), NemoError> {
    match role(&name) {
        Role::Config if found.config.is_some() => Err(NemoError::Twice(name)),
        Role::Config => {
            let bytes = read_exactly(name, size, MAX_CONFIG, reader)?;
            found.config = Some(String::from_utf8(bytes).map_err(|_| NemoError::NotText)?);
            Ok(())
        }
        Role::Tokenizer => {
            if found.files.contains_key(&name) {
                return Err(NemoError::Twice(name));
            }
            found.files_len = found.files_len.saturating_add(size);
            let limit = if found.files_len > MAX_TOKENIZERS { 0 } else { MAX_TOKENIZER };
            found.files.insert(name.clone(), read_exactly(name, size, limit, reader)?);
            Ok(())
        }
        Role::Weights | Role::Other => Ok(()),
    }
}

fn read_exactly(name: String, size: u64, limit: u64, reader: &mut dyn Read) -> Result<Vec<u8>, NemoError> {
    if size > limit {
        return Err(NemoError::TooLarge { name, size, limit });
    }
    let mut bytes = Vec::new();
    reader.take(size).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).ok() != Some(size) {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(bytes)
}

fn read_up_to(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..)
        && !rest.is_empty()
    {
        match reader.read(rest)? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

/// The plain name of a member, without a leading `./`; `None` for members in sub-folders.
fn member_name(stored: &str) -> Result<Option<String>, NemoError> {
    if stored.starts_with('/') || stored.split(['/', '\\']).any(|part| part == "..") {
        return Err(NemoError::Escapes(
            stored.chars().take(120).flat_map(char::escape_default).collect(),
        ));
    }
    let plain = stored.strip_prefix("./").unwrap_or(stored);
    Ok((!plain.is_empty() && !plain.contains(['/', '\\'])).then(|| plain.to_owned()))
}

fn role(name: &str) -> Role {
    match name {
        CONFIG => Role::Config,
        WEIGHTS => Role::Weights,
        _ if name.ends_with(".model") || name.ends_with(".txt") => Role::Tokenizer,
        _ => Role::Other,
    }
}
