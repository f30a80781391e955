//! `weights.safetensors`: f32, f16 or bf16 on disk, f32 in memory.
//!
//! Read from front to back, one tensor at a time, so that memory holds the result and one block; the checksum is taken on
//! the way. Source: the safetensors format. Called by the store.

#![allow(clippy::as_conversions, reason = "sizes of a file in memory")]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use half::{bf16, f16};
use safetensors::tensor::{Dtype, Metadata, SafeTensorError, View};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::model::weights::{Tensor, Weights};

/// Largest header.
const MAX_HEADER: u64 = 16 << 20;
/// Bytes read at a time.
const BLOCK: usize = 1 << 20;

/// Why a weights file is refused.
#[derive(Debug, Error)]
pub enum WeightsFileError {
    /// Reading or writing failed, or the file ends early.
    #[error("weights.safetensors cannot be read or written")]
    Io(#[from] io::Error),
    /// The header is not that of a safetensors file.
    #[error("the header of weights.safetensors is damaged: {0}")]
    Header(&'static str),
    /// The header is not the JSON that it should be.
    #[error("the header of weights.safetensors is damaged")]
    Json(#[from] serde_json::Error),
    /// A tensor of integers or of an unusual float.
    #[error("tensor {name} of weights.safetensors has type {dtype:?}, f32, f16 and bf16 are supported")]
    Type {
        /// Tensor name.
        name: String,
        /// Its type.
        dtype: Dtype,
    },
    /// Writing failed.
    #[error("weights.safetensors cannot be written")]
    Write(#[source] Box<SafeTensorError>),
}

/// How large matrices are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// As published or wider.
    #[default]
    F32,
    /// Half the size. Vectors, the front end and matrices with values beyond the range of f16 stay f32.
    F16,
}

/// Reads a file; `check` sees all shapes before any value is read. Gives the weights and the file's SHA-256.
#[allow(clippy::type_complexity, reason = "the inner result is the caller's own check")]
pub(super) fn read<E>(
    file: File,
    check: impl FnOnce(&BTreeMap<String, Vec<usize>>) -> Result<(), E>,
) -> Result<Result<(Weights, String), E>, WeightsFileError> {
    let file_len = file.metadata()?.len();
    let mut reader = Hashing {
        inner: BufReader::with_capacity(BLOCK, file),
        hasher: Sha256::new(),
    };
    let mut length = [0; 8];
    reader.read_exact(&mut length)?;
    let header_len = u64::from_le_bytes(length);
    if header_len > MAX_HEADER || header_len > file_len.saturating_sub(8) {
        return Err(WeightsFileError::Header("it is longer than the file or than 16 MiB"));
    }
    let mut header = vec![0; header_len as usize];
    reader.read_exact(&mut header)?;
    let metadata: Metadata = serde_json::from_slice(&header)?;
    let tensors = metadata.tensors();
    let shapes = tensors.iter().map(|(name, info)| (name.clone(), info.shape.clone())).collect();
    if let Err(error) = check(&shapes) {
        return Ok(Err(error));
    }
    let mut ordered: Vec<_> = tensors.into_iter().collect();
    ordered.sort_by_key(|(_, info)| info.data_offsets);
    let mut position = 0;
    let mut weights = Weights::default();
    for (name, info) in ordered {
        let (start, end) = info.data_offsets;
        let size = match info.dtype {
            Dtype::F32 => 4,
            Dtype::F16 | Dtype::BF16 => 2,
            dtype => return Err(WeightsFileError::Type { name, dtype }),
        };
        let elements = info
            .shape
            .iter()
            .try_fold(size, |product: usize, &extent| product.checked_mul(extent));
        if start != position || end.checked_sub(start) != elements || elements.is_none() {
            return Err(WeightsFileError::Header("a tensor's place does not follow from its shape"));
        }
        if end as u64 > file_len.saturating_sub(8 + header_len) {
            return Err(WeightsFileError::Header("a tensor lies beyond the end of the file"));
        }
        position = end;
        let mut data = Vec::with_capacity((end - start) / size);
        let mut left = end - start;
        while left > 0 {
            let mut block = vec![0; left.min(BLOCK)];
            reader.read_exact(&mut block)?;
            left -= block.len();
            match info.dtype {
                Dtype::F16 => data.extend(block.as_chunks().0.iter().map(|&bytes| f16::from_le_bytes(bytes).to_f32())),
                Dtype::BF16 => data.extend(block.as_chunks().0.iter().map(|&bytes| bf16::from_le_bytes(bytes).to_f32())),
                _ => data.extend(block.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes))),
            }
        }
        weights.insert(
            name,
            Tensor {
                shape: info.shape.clone(),
                data,
            },
        );
    }
    if position as u64 != file_len - 8 - header_len {
        return Err(WeightsFileError::Header("bytes follow the last tensor"));
    }
    Ok(Ok((weights, super::hex(&reader.hasher.finalize()))))
}

/// Writes all tensors.
pub(super) fn write(weights: &Weights, precision: Precision, path: &Path) -> Result<(), WeightsFileError> {
    let stored = weights.iter().map(|(name, tensor)| {
        let halved = precision == Precision::F16 && tensor.shape.len() > 1 && !name.starts_with("preprocessor.") && fits_half(tensor);
        (name, Stored { tensor, half: halved })
    });
    // The library's file is for its owner alone; ours has the rights that any new file gets.
    let rights = File::create(path)?.metadata()?.permissions();
    safetensors::serialize_to_file(stored, None, path).map_err(|error| WeightsFileError::Write(Box::new(error)))?;
    Ok(std::fs::set_permissions(path, rights)?)
}

fn fits_half(tensor: &Tensor) -> bool {
    tensor.data.iter().all(|&value| f16::from_f32(value).is_finite())
}

/// A tensor as it will be written.
struct Stored<'a> {
    tensor: &'a Tensor,
    half: bool,
}

impl View for Stored<'_> {
    fn dtype(&self) -> Dtype {
        if self.half { Dtype::F16 } else { Dtype::F32 }
    }

    fn shape(&self) -> &[usize] {
        &self.tensor.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let mut bytes = Vec::with_capacity(self.data_len());
        for &value in &self.tensor.data {
            if self.half {
                bytes.extend(f16::from_f32(value).to_le_bytes())
            } else {
                bytes.extend(value.to_le_bytes())
            }
        }
        Cow::Owned(bytes)
    }

    fn data_len(&self) -> usize {
        self.tensor.data.len() * if self.half { 2 } else { 4 }
    }
}

/// Hashes what is read.
struct Hashing<R> {
    inner: R,
    hasher: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(buffer.get(..read).unwrap_or_default());
        Ok(read)
    }
}
