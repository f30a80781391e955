//! Named f32 tensors of one checkpoint, and the checks that a tensor has the shape the architecture says.

use std::collections::BTreeMap;

use thiserror::Error;

/// One tensor, row-major, always f32 in memory whatever the file stores.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Sizes, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// Values; the product of `shape` many.
    pub data: Vec<f32>,
}

/// All tensors of a checkpoint by their published names (`encoder.layers.0.norm_out.weight`).
#[derive(Clone, Debug, Default)]
pub struct Weights {
    tensors: BTreeMap<String, Tensor>,
}

/// A tensor is missing or has another shape than the architecture asks for.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum WeightsError {
    /// No tensor of that name.
    #[error("tensor {0} is missing")]
    Missing(String),
    /// The shape differs.
    #[error("tensor {name} has shape {found:?}, the architecture asks for {wanted:?}")]
    Shape {
        /// Tensor name.
        name: String,
        /// Shape in the file.
        found: Vec<usize>,
        /// Shape asked for.
        wanted: Vec<usize>,
    },
}

impl Weights {
    /// Adds or replaces a tensor.
    pub fn insert(&mut self, name: impl Into<String>, tensor: Tensor) {
        self.tensors.insert(name.into(), tensor);
    }

    /// The values of a tensor whose shape must be `wanted`, where trailing sizes of 1 do not count
    /// (a 1x1 convolution `[D, D, 1]` serves as a matrix `[D, D]`).
    pub fn get(&self, name: &str, wanted: &[usize]) -> Result<&[f32], WeightsError> {
        let tensor = self.tensors.get(name).ok_or_else(|| WeightsError::Missing(name.to_owned()))?;
        if trimmed(&tensor.shape) != trimmed(wanted) {
            return Err(WeightsError::Shape {
                name: name.to_owned(),
                found: tensor.shape.clone(),
                wanted: wanted.to_vec(),
            });
        }
        Ok(&tensor.data)
    }

    /// Like [`Weights::get`], but `None` if there is no such tensor (optional biases and heads).
    pub fn get_optional(&self, name: &str, wanted: &[usize]) -> Result<Option<&[f32]>, WeightsError> {
        if self.tensors.contains_key(name) {
            self.get(name, wanted).map(Some)
        } else {
            Ok(None)
        }
    }

    /// True if a tensor of that name exists.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// All tensors in name order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }
}

fn trimmed(shape: &[usize]) -> &[usize] {
    let ones = shape.iter().rev().take_while(|&&size| size == 1).count();
    shape.get(..shape.len() - ones).unwrap_or_default()
}
