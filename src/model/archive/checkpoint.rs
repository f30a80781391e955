//! A checkpoint as `torch.save` writes it: a zip container with one pickle and one member per storage.
//!
//! Opening reads names and shapes only, and proves that every tensor lies inside its storage and every storage inside the
//! file; values are read later, tensor by tensor, as f32. Memory is therefore bounded by what the file really holds.
//! Called by the archive reader.

#![allow(
    clippy::as_conversions,
    reason = "64- and 32-bit numbers of the file become f32, which is the purpose"
)]

use std::collections::BTreeMap;
use std::io::{self, Read, Seek};

use half::{bf16, f16};
use thiserror::Error;

use super::blob::Blob;
use super::pickle::{self, ElementType, PickleError, TensorRecord};
use super::zip::{Zip, ZipError};
use crate::model::weights::Tensor;

/// Largest pickle; that of 20,000 tensors has about 4 MB.
const MAX_PICKLE: u64 = 16 << 20;
/// Bytes read from a storage at a time.
const BLOCK: usize = 1 << 20;

/// Why a checkpoint is refused.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// The container.
    #[error(transparent)]
    Zip(#[from] ZipError),
    /// The description of the tensors.
    #[error(transparent)]
    Pickle(#[from] PickleError),
    /// Reading failed.
    #[error("the checkpoint cannot be read")]
    Io(#[from] io::Error),
    /// Big-endian files.
    #[error("the checkpoint's byte order is {0}, only little is supported")]
    ByteOrder(String),
    /// A tensor that its storage or the file does not hold.
    #[error("tensor {name} of the checkpoint {problem}")]
    Tensor {
        /// Tensor name.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The tensors are many times larger than the file: views repeated to fill memory.
    #[error("the checkpoint's tensors have {elements} elements, more than its {bytes} bytes can hold")]
    TooLarge {
        /// Elements of all tensors.
        elements: u64,
        /// Bytes of the file.
        bytes: u64,
    },
}

/// An opened checkpoint.
#[derive(Debug)]
pub(super) struct Checkpoint<R> {
    zip: Zip<R>,
    folder: String,
    tensors: BTreeMap<String, TensorRecord>,
}

impl<R: Read + Seek> Checkpoint<R> {
    /// Reads the description of all tensors for whose name `keep` answers true.
    pub(super) fn open(blob: Blob<R>, keep: impl Fn(&str) -> bool) -> Result<Self, CheckpointError> {
        let mut zip = Zip::open(blob)?;
        let folder = zip
            .names()
            .find_map(|name| {
                name.strip_suffix("data.pkl")
                    .filter(|folder| folder.ends_with('/') && folder.matches('/').count() == 1)
            })
            .ok_or_else(|| ZipError::Missing("data.pkl".into()))?
            .to_owned();
        if let Ok(order) = zip.read(&format!("{folder}byteorder"), 16)
            && order != b"little"
        {
            return Err(CheckpointError::ByteOrder(
                String::from_utf8_lossy(&order).escape_default().collect(),
            ));
        }
        let mut tensors = pickle::state_dict(&zip.read(&format!("{folder}data.pkl"), MAX_PICKLE)?)?;
        tensors.retain(|name, _| keep(name));
        let mut elements = 0u64;
        for (name, tensor) in &tensors {
            let stored = zip.size(&format!("{folder}data/{}", tensor.storage))?;
            let wrong = |problem| CheckpointError::Tensor {
                name: name.clone(),
                problem,
            };
            if tensor.storage_len.checked_mul(element_size(tensor.element)) != Some(stored) {
                return Err(wrong("has a storage of another size than announced"));
            }
            let count = element_count(tensor)
                .filter(|&count| count <= tensor.storage_len)
                .ok_or_else(|| wrong("is larger than its storage"))?;
            if count > 0 && last_element(tensor).is_none_or(|last| last >= tensor.storage_len) {
                return Err(wrong("reaches beyond its storage"));
            }
            elements = elements.saturating_add(count);
        }
        // Four times what a file of f32 without shared storages has.
        if elements > zip.len() {
            return Err(CheckpointError::TooLarge {
                elements,
                bytes: zip.len(),
            });
        }
        Ok(Checkpoint { zip, folder, tensors })
    }

    /// Shapes of all tensors by name.
    pub(super) fn shapes(&self) -> BTreeMap<String, Vec<usize>> {
        let shape = |tensor: &TensorRecord| tensor.shape.iter().map(|&size| size as usize).collect();
        self.tensors.iter().map(|(name, tensor)| (name.clone(), shape(tensor))).collect()
    }

    /// Gives every tensor whose name begins with `from` a name that begins with `to`.
    pub(super) fn rename(&mut self, from: &str, to: &str) {
        let moved: Vec<String> = self.tensors.keys().filter(|name| name.starts_with(from)).cloned().collect();
        for name in moved {
            if let (Some(tensor), Some(rest)) = (self.tensors.remove(&name), name.strip_prefix(from)) {
                self.tensors.insert(format!("{to}{rest}"), tensor);
            }
        }
    }

    /// Reads the values of one tensor.
    pub(super) fn read(&mut self, name: &str) -> Result<Tensor, CheckpointError> {
        let wrong = |problem| CheckpointError::Tensor {
            name: name.to_owned(),
            problem,
        };
        let record = self.tensors.get(name).cloned().ok_or_else(|| wrong("does not exist"))?;
        let shape: Vec<usize> = record.shape.iter().map(|&size| size as usize).collect();
        let count = shape.iter().product::<usize>();
        if count == 0 {
            return Ok(Tensor { shape, data: Vec::new() });
        }
        let last = last_element(&record).ok_or_else(|| wrong("reaches beyond its storage"))?;
        let start = self.zip.position(&format!("{}data/{}", self.folder, record.storage))?;
        let size = element_size(record.element);
        let span = (last + 1 - record.offset) as usize;
        let mut values = Vec::with_capacity(span);
        let mut position = start + record.offset * size;
        while values.len() < span {
            let mut block = vec![0; ((span - values.len()) * size as usize).min(BLOCK)];
            self.zip.read_at(position, &mut block)?;
            position += block.len() as u64;
            convert(record.element, &block, &mut values);
        }
        let data = if contiguous(&record) {
            values
        } else {
            gather(&record, &values, count)
        };
        if data.iter().any(|value| !value.is_finite()) {
            return Err(wrong("has a value that is not a finite number"));
        }
        Ok(Tensor { shape, data })
    }
}

fn element_size(element: ElementType) -> u64 {
    match element {
        ElementType::Double | ElementType::Long => 8,
        ElementType::Float | ElementType::Int => 4,
        ElementType::Half | ElementType::BFloat16 => 2,
        ElementType::Bool => 1,
    }
}

fn element_count(tensor: &TensorRecord) -> Option<u64> {
    tensor.shape.iter().try_fold(1u64, |count, &size| count.checked_mul(size))
}

/// Index in the storage of the last element; `None` on overflow.
fn last_element(tensor: &TensorRecord) -> Option<u64> {
    tensor
        .shape
        .iter()
        .zip(&tensor.stride)
        .try_fold(tensor.offset, |last, (&size, &stride)| {
            size.saturating_sub(1).checked_mul(stride).and_then(|reach| last.checked_add(reach))
        })
}

/// True if the elements follow one another in row-major order.
fn contiguous(tensor: &TensorRecord) -> bool {
    let mut expected = 1;
    tensor.shape.iter().zip(&tensor.stride).rev().all(|(&size, &stride)| {
        let fits = size == 1 || stride == expected;
        expected *= size;
        fits
    })
}

/// Row-major copy of a strided view; `values` begins at the view's first element.
fn gather(tensor: &TensorRecord, values: &[f32], count: usize) -> Vec<f32> {
    let mut index = vec![0u64; tensor.shape.len()];
    let mut data = Vec::with_capacity(count);
    for _ in 0..count {
        let at: u64 = index.iter().zip(&tensor.stride).map(|(&place, &stride)| place * stride).sum();
        data.push(values.get(at as usize).copied().unwrap_or(f32::NAN));
        for (place, &size) in index.iter_mut().zip(&tensor.shape).rev() {
            *place += 1;
            if *place < size {
                break;
            }
            *place = 0;
        }
    }
    data
}

/// Little-endian elements to f32.
fn convert(element: ElementType, bytes: &[u8], values: &mut Vec<f32>) {
    match element {
        ElementType::Float => values.extend(bytes.as_chunks().0.iter().map(|&chunk| f32::from_le_bytes(chunk))),
        ElementType::Half => values.extend(bytes.as_chunks().0.iter().map(|&chunk| f16::from_le_bytes(chunk).to_f32())),
        ElementType::BFloat16 => values.extend(bytes.as_chunks().0.iter().map(|&chunk| bf16::from_le_bytes(chunk).to_f32())),
        ElementType::Double => values.extend(bytes.as_chunks().0.iter().map(|&chunk| f64::from_le_bytes(chunk) as f32)),
        ElementType::Long => values.extend(bytes.as_chunks().0.iter().map(|&chunk| i64::from_le_bytes(chunk) as f32)),
        ElementType::Int => values.extend(bytes.as_chunks().0.iter().map(|&chunk| i32::from_le_bytes(chunk) as f32)),
        ElementType::Bool => values.extend(bytes.iter().map(|&byte| f32::from(u8::from(byte != 0)))),
    }
}
