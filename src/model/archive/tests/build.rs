//! Makes archives for the tests: taken apart, changed, and put together again.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use super::super::{ArchiveError, Published, read};

/// The five published-format archives, made by the reference implementation with random weights.
pub(super) const MODELS: [&str; 5] = ["stream_hybrid", "stream_rnnt", "stream_prompt", "offline_tdt", "offline_ctc"];

pub(super) fn fixture(model: &str, file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/oracle")
        .join(model)
        .join(file)
}

pub(super) fn expected(model: &str) -> serde_json::Value {
    serde_json::from_slice(&fs::read(fixture(model, "expected.json")).unwrap()).unwrap()
}

/// Members of a fixture by plain name.
pub(super) fn members(model: &str) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(fs::File::open(fixture(model, "model.nemo")).unwrap());
    let mut members = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_string_lossy().trim_start_matches("./").to_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        if !name.is_empty() {
            members.insert(name, bytes);
        }
    }
    members
}

pub(super) fn config(members: &BTreeMap<String, Vec<u8>>) -> String {
    String::from_utf8(members["model_config.yaml"].clone()).unwrap()
}

/// A tar file; names are written into the header as they are, so that hostile ones can be made.
pub(super) fn tar_of<'a>(members: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(bytes.len() as u64);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append(&header, bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

pub(super) fn pack(members: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    tar_of(members.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())))
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn read_bytes(bytes: &[u8]) -> Result<Published, ArchiveError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    read(file.path())
}

/// The message of a refusal with all its causes.
pub(super) fn refusal(result: Result<Published, ArchiveError>) -> String {
    let error: Box<dyn std::error::Error> = Box::new(result.expect_err("should be refused"));
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// A zip container with stored members.
pub(super) fn zip_of(members: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in members {
        let header = file.len() as u32;
        let lengths = |out: &mut Vec<u8>| {
            out.extend([0; 6]);
            out.extend([0; 4]);
            out.extend((bytes.len() as u32).to_le_bytes());
            out.extend((bytes.len() as u32).to_le_bytes());
            out.extend((name.len() as u16).to_le_bytes());
            out.extend([0; 2]);
        };
        file.extend(b"PK\x03\x04\x14\0\0\0");
        lengths(&mut file);
        file.extend(name.as_bytes());
        file.extend(*bytes);
        directory.extend(b"PK\x01\x02\x14\0\x14\0\0\0");
        lengths(&mut directory);
        directory.extend([0; 10]);
        directory.extend(header.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (at, count) = (file.len() as u32, members.len() as u16);
    file.extend(&directory);
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend([count.to_le_bytes(), count.to_le_bytes()].concat());
    file.extend((directory.len() as u32).to_le_bytes());
    file.extend(at.to_le_bytes());
    file.extend([0; 2]);
    file
}

/// A tensor for [`pickle_of`]: name, storage type, storage key, storage length, offset, shape, stride.
pub(super) type Row<'a> = (&'a str, &'a str, &'a str, i32, i32, &'a [i32], &'a [i32]);

fn text(out: &mut Vec<u8>, text: &str) {
    out.push(b'X');
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.as_bytes());
}

fn integer(out: &mut Vec<u8>, value: i32) {
    out.push(b'J');
    out.extend(value.to_le_bytes());
}

/// The pickle of a state dict.
pub(super) fn pickle_of(rows: &[Row<'_>]) -> Vec<u8> {
    let mut out = b"\x80\x02ccollections\nOrderedDict\n)R(".to_vec();
    for (name, storage, key, len, offset, shape, stride) in rows {
        text(&mut out, name);
        out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut out, "storage");
        out.extend(format!("ctorch\n{storage}\n").as_bytes());
        text(&mut out, key);
        text(&mut out, "cpu");
        integer(&mut out, *len);
        out.extend(b"tQ");
        integer(&mut out, *offset);
        for sizes in [shape, stride] {
            out.push(b'(');
            sizes.iter().for_each(|&size| integer(&mut out, size));
            out.push(b't');
        }
        out.extend(b"\x89ccollections\nOrderedDict\n)RtR");
    }
    out.extend(b"u.");
    out
}
