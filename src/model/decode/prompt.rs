//! The language prompt of multilingual checkpoints: a small network on `[encoder row; one-hot of the language]`.
//!
//! Who calls it: the decoder, before any search. The one-hot is never formed: its column of the first layer is a bias.
#![allow(clippy::indexing_slicing, reason = "columns are cut by the sizes that the constructor checked")]

use std::collections::BTreeMap;

use super::DecodeError;
use crate::model::arch::Architecture;
use crate::model::weights::{Weights, WeightsError};
use crate::ops::linear::Linear;

/// `enc' = W2 relu(W1 [enc; onehot] + b1) + b2`, for one checkpoint.
pub(super) struct PromptKernel {
    /// `[2D, D]`: the part of `W1` that reads encoder rows.
    rows: Linear,
    /// For each slot `[2D]`: its column of `W1` plus `b1`.
    slots: Vec<Vec<f32>>,
    /// `[D, 2D]`.
    output: Linear,
    width: usize,
    dictionary: BTreeMap<String, usize>,
    /// Slot of the model's default locale.
    pub(super) default: Option<usize>,
}

/// The tensors of a prompt network, row-major, for whoever computes it.
#[derive(Clone, Debug)]
pub struct PromptTensors<'a> {
    /// `[2D, D]`: the part of the first layer that reads encoder rows.
    pub rows: Vec<f32>,
    /// For each slot the first layer's bias `[2D]`.
    pub slots: Vec<Vec<f32>>,
    /// `[D, 2D]` and its bias.
    pub output: (&'a [f32], &'a [f32]),
}

impl<'a> PromptTensors<'a> {
    /// The tensors; `None` if the architecture has no prompt.
    ///
    /// # Errors
    /// One is missing or has another shape.
    pub fn of(arch: &Architecture, weights: &'a Weights) -> Result<Option<Self>, WeightsError> {
        let Some(prompt) = &arch.prompt else { return Ok(None) };
        let (width, inner) = (arch.encoder.width, 2 * arch.encoder.width);
        let inputs = width + prompt.slots;
        let first = weights.get("prompt_kernel.0.weight", &[inner, inputs])?;
        let bias = weights.get("prompt_kernel.0.bias", &[inner])?;
        let second = weights.get("prompt_kernel.2.weight", &[width, inner])?;
        let rows: Vec<f32> = first.chunks_exact(inputs).flat_map(|row| &row[..width]).copied().collect();
        let slot = |slot: usize| {
            first
                .chunks_exact(inputs)
                .zip(bias)
                .map(|(row, bias)| row[width + slot] + bias)
                .collect()
        };
        Ok(Some(PromptTensors {
            rows,
            slots: (0..prompt.slots).map(slot).collect(),
            output: (second, weights.get("prompt_kernel.2.bias", &[width])?),
        }))
    }
}

impl PromptKernel {
    /// Builds the kernel; `None` if the architecture has no prompt.
    pub(super) fn new(arch: &Architecture, weights: &Weights) -> Result<Option<Self>, DecodeError> {
        let (Some(prompt), Some(tensors)) = (&arch.prompt, PromptTensors::of(arch, weights)?) else {
            return Ok(None);
        };
        let (width, inner) = (arch.encoder.width, 2 * arch.encoder.width);
        if let Some((locale, _)) = prompt.dictionary.iter().find(|(_, slot)| **slot >= prompt.slots) {
            return Err(DecodeError::PromptSlot(locale.clone()));
        }
        let (second, bias) = tensors.output;
        let mut kernel = PromptKernel {
            rows: Linear::new(&tensors.rows, None, inner, width),
            slots: tensors.slots,
            output: Linear::new(second, Some(bias), width, inner),
            width,
            dictionary: prompt.dictionary.clone(),
            default: None,
        };
        kernel.default = prompt.default.as_ref().map(|locale| kernel.slot(locale)).transpose()?;
        Ok(Some(kernel))
    }

    /// The slot of a locale as the checkpoint spells it (`de-DE`).
    pub(super) fn slot(&self, locale: &str) -> Result<usize, DecodeError> {
        self.dictionary
            .get(locale)
            .copied()
            .ok_or_else(|| DecodeError::UnknownLocale(locale.to_owned()))
    }

    /// Applies the kernel to `rows` `[n, D]` in place; `slots` names the slot of each row, rows without one stay as they are.
    pub(super) fn apply(&self, rows: &mut [f32], slots: &[Option<usize>]) {
        let prompted: Vec<f32> = rows
            .chunks_exact(self.width)
            .zip(slots)
            .filter(|(_, slot)| slot.is_some())
            .flat_map(|(row, _)| row)
            .copied()
            .collect();
        let count = prompted.len() / self.width;
        let mut inner = vec![0.0; count * 2 * self.width];
        self.rows.forward(&prompted, count, &mut inner);
        for (row, &slot) in inner.chunks_exact_mut(2 * self.width).zip(slots.iter().flatten()) {
            row.iter_mut()
                .zip(&self.slots[slot])
                .for_each(|(value, bias)| *value = (*value + bias).max(0.0));
        }
        let mut out = vec![0.0; count * self.width];
        self.output.forward(&inner, count, &mut out);
        let targets = rows.chunks_exact_mut(self.width).zip(slots).filter(|(_, slot)| slot.is_some());
        targets
            .zip(out.chunks_exact(self.width))
            .for_each(|((row, _), out)| row.copy_from_slice(out));
    }
}
