//! The zip container of a checkpoint: members stored without compression, found through the central directory.
//!
//! Source: PKWARE APPNOTE 6.3, sections 4.3 and 4.5 (zip64). What it does not do: compression, encryption, several
//! disks, checksums (writers of checkpoints may leave them out). Called by `checkpoint`.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek};

use thiserror::Error;

use super::blob::Blob;

/// Most members of one container.
const MAX_MEMBERS: u64 = 50_000;
/// Most bytes of the central directory.
const MAX_DIRECTORY: u64 = 16 << 20;
/// Fixed part of the end record, and the longest comment that may follow it.
const END_LEN: u64 = 22;
const MAX_COMMENT: u64 = 65_535;

/// Why a container is refused.
#[derive(Debug, Error)]
pub enum ZipError {
    /// Reading failed or a record lies outside the file.
    #[error("the checkpoint ends early or cannot be read")]
    Io(#[from] io::Error),
    /// No end record: not a zip file. Checkpoints from before 2020 are not.
    #[error("the checkpoint is not a zip container (files written before 2020 are not supported)")]
    NotZip,
    /// A record contradicts the format.
    #[error("the checkpoint's zip directory is damaged: {0}")]
    Damaged(&'static str),
    /// More than this reader takes.
    #[error("the checkpoint's zip directory has {what} {found}, at most {limit} are read")]
    TooLarge {
        /// What is too many.
        what: &'static str,
        /// How many the file announces.
        found: u64,
        /// How many are read.
        limit: u64,
    },
    /// Compressed or encrypted member.
    #[error("member {0} of the checkpoint is compressed or encrypted")]
    NotStored(String),
    /// No such member.
    #[error("the checkpoint has no member {0}")]
    Missing(String),
}

/// A container whose directory has been read.
#[derive(Debug)]
pub(super) struct Zip<R> {
    blob: Blob<R>,
    members: BTreeMap<String, Member>,
}

#[derive(Clone, Copy, Debug)]
struct Member {
    header: u64,
    size: u64,
}

/// Little-endian fields of a record, read one after another.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], ZipError> {
        let (head, tail) = self.0.split_at_checked(count).ok_or(ZipError::Damaged("a record is cut short"))?;
        self.0 = tail;
        Ok(head)
    }

    fn number(&mut self, bytes: usize) -> Result<u64, ZipError> {
        Ok(self.take(bytes)?.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }
}

impl<R: Read + Seek> Zip<R> {
    /// Reads the directory of `blob`.
    pub(super) fn open(mut blob: Blob<R>) -> Result<Self, ZipError> {
        let (count, directory_len, directory_at) = end_of_directory(&mut blob)?;
        if count > MAX_MEMBERS {
            return Err(ZipError::TooLarge {
                what: "members",
                found: count,
                limit: MAX_MEMBERS,
            });
        }
        if directory_len > MAX_DIRECTORY {
            return Err(ZipError::TooLarge {
                what: "bytes",
                found: directory_len,
                limit: MAX_DIRECTORY,
            });
        }
        let directory = blob.bytes_at(directory_at, directory_len)?;
        let mut fields = Fields(&directory);
        let mut members = BTreeMap::new();
        for _ in 0..count {
            let (name, member) = directory_entry(&mut fields)?;
            if members.insert(name, member).is_some() {
                return Err(ZipError::Damaged("two members of one name"));
            }
        }
        Ok(Zip { blob, members })
    }

    /// Names of all members.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.members.keys().map(String::as_str)
    }

    /// Length of the whole container in bytes.
    pub(super) fn len(&self) -> u64 {
        self.blob.len()
    }

    /// Announced size of a member in bytes.
    pub(super) fn size(&self, name: &str) -> Result<u64, ZipError> {
        self.members
            .get(name)
            .map(|member| member.size)
            .ok_or_else(|| ZipError::Missing(name.to_owned()))
    }

    /// Where the bytes of a member begin in the blob; they are proven to lie inside it.
    pub(super) fn position(&mut self, name: &str) -> Result<u64, ZipError> {
        let member = *self.members.get(name).ok_or_else(|| ZipError::Missing(name.to_owned()))?;
        let header = self.blob.bytes_at(member.header, 30)?;
        let mut fields = Fields(&header);
        if fields.take(4)? != b"PK\x03\x04" {
            return Err(ZipError::Damaged("a member does not begin with its header"));
        }
        fields.take(22)?;
        let (name_len, extra_len) = (fields.number(2)?, fields.number(2)?);
        let start = member.header + 30 + name_len + extra_len;
        match start.checked_add(member.size) {
            Some(end) if end <= self.blob.len() => Ok(start),
            _ => Err(ZipError::Damaged("a member is longer than the file")),
        }
    }

    /// A whole member, at most `limit` bytes.
    pub(super) fn read(&mut self, name: &str, limit: u64) -> Result<Vec<u8>, ZipError> {
        let size = self.size(name)?;
        if size > limit {
            return Err(ZipError::TooLarge {
                what: "a small member of bytes",
                found: size,
                limit,
            });
        }
        let start = self.position(name)?;
        Ok(self.blob.bytes_at(start, size)?)
    }

    /// Bytes at a place of the blob, see [`Zip::position`].
    pub(super) fn read_at(&mut self, position: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.blob.read_at(position, buffer)
    }
}

/// Finds the end record: number of members, length and position of the directory.
fn end_of_directory<R: Read + Seek>(blob: &mut Blob<R>) -> Result<(u64, u64, u64), ZipError> {
    let tail_len = blob.len().min(END_LEN + MAX_COMMENT);
    let tail_at = blob.len() - tail_len;
    let tail = blob.bytes_at(tail_at, tail_len)?;
    let found = tail
        .windows(4)
        .rposition(|window| window == b"PK\x05\x06")
        .ok_or(ZipError::NotZip)?;
    let mut fields = Fields(tail.get(found + 4..).unwrap_or_default());
    let disks = fields.number(4)?;
    let (_, count) = (fields.number(2)?, fields.number(2)?);
    let (len, at) = (fields.number(4)?, fields.number(4)?);
    if count != 0xffff && len != 0xffff_ffff && at != 0xffff_ffff {
        return if disks == 0 {
            Ok((count, len, at))
        } else {
            Err(ZipError::Damaged("it spans several disks"))
        };
    }
    let end_at = tail_at + u64::try_from(found).map_err(io::Error::other)?;
    let locator_at = end_at.checked_sub(20).ok_or(ZipError::Damaged("the zip64 locator is missing"))?;
    let locator = blob.bytes_at(locator_at, 20)?;
    let mut fields = Fields(&locator);
    if fields.take(4)? != b"PK\x06\x07" {
        return Err(ZipError::Damaged("the zip64 locator is missing"));
    }
    fields.take(4)?;
    let record = blob.bytes_at(fields.number(8)?, 56)?;
    let mut fields = Fields(&record);
    if fields.take(4)? != b"PK\x06\x06" {
        return Err(ZipError::Damaged("the zip64 end record is missing"));
    }
    fields.take(28)?;
    Ok((fields.number(8)?, fields.number(8)?, fields.number(8)?))
}

/// One record of the central directory.
fn directory_entry(fields: &mut Fields<'_>) -> Result<(String, Member), ZipError> {
    if fields.take(4)? != b"PK\x01\x02" {
        return Err(ZipError::Damaged("a directory record has another signature"));
    }
    fields.take(4)?;
    let (flags, method) = (fields.number(2)?, fields.number(2)?);
    fields.take(8)?;
    let (mut stored, mut size) = (fields.number(4)?, fields.number(4)?);
    let (name_len, extra_len, comment_len) = (fields.number(2)?, fields.number(2)?, fields.number(2)?);
    fields.take(8)?;
    let mut header = fields.number(4)?;
    let length = |number: u64| usize::try_from(number).map_err(|_| ZipError::Damaged("a record is cut short"));
    let name = std::str::from_utf8(fields.take(length(name_len)?)?)
        .map_err(|_| ZipError::Damaged("a name is not UTF-8"))?
        .to_owned();
    let mut extra = Fields(fields.take(length(extra_len)?)?);
    fields.take(length(comment_len)?)?;
    while extra.0.len() >= 4 {
        let (id, len) = (extra.number(2)?, extra.number(2)?);
        let mut field = Fields(extra.take(length(len)?)?);
        if id == 1 {
            for value in [&mut size, &mut stored, &mut header] {
                if *value == 0xffff_ffff {
                    *value = field.number(8)?;
                }
            }
        }
    }
    if method != 0 || flags & 1 != 0 || stored != size {
        return Err(ZipError::NotStored(name));
    }
    Ok((name, Member { header, size }))
}
