//! Linear layer: `y = x W^T + b`, optionally followed by a function of one value, a gate, or an addition.
//!
//! Weights are packed once into panels of 32 outputs. Each output is one chain of (fused) multiply-adds over the inputs in
//! ascending order, whatever the number of rows or threads, so a row has the same bits alone and in any batch.
//! What it does not do: hold activations, pick threads (it uses the current rayon pool if the product is large).
//! Who calls it: `model`.

pub(crate) mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;

use super::simd::{LANES, Level, Line};

/// Outputs in one panel.
pub(crate) const PANEL: usize = 2 * LANES;

/// What happens to `v = x W^T + b` before it is written to `y`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Finish {
    /// `y = v`.
    Store,
    /// `y = max(v, 0)`.
    Relu,
    /// `y = v * sigmoid(v)`.
    Silu,
    /// `y = y + factor * v`.
    Add(f32),
}

/// The weights of one linear layer, packed.
#[derive(Clone, Debug)]
pub struct Linear {
    inputs: usize,
    outputs: usize,
    gated: bool,
    level: Level,
    /// `[panels][inputs][2]` lines; outputs beyond the last are zero.
    panels: Vec<Line>,
    /// `[panels][2]` lines.
    bias: Vec<Line>,
}

impl Linear {
    /// Packs `weight [outputs, inputs]` (row-major) and `bias [outputs]`. Values missing from a short slice count as zero.
    pub fn new(weight: &[f32], bias: Option<&[f32]>, outputs: usize, inputs: usize) -> Self {
        Self::pack(weight, bias, outputs, inputs, false, Level::best())
    }

    /// A gated linear unit: `weight [2 * outputs, inputs]`; the result is `v[o] * sigmoid(v[outputs + o])`, `outputs` wide.
    pub fn gated(weight: &[f32], bias: Option<&[f32]>, outputs: usize, inputs: usize) -> Self {
        Self::pack(weight, bias, outputs, inputs, true, Level::best())
    }

    fn pack(weight: &[f32], bias: Option<&[f32]>, outputs: usize, inputs: usize, gated: bool, level: Level) -> Self {
        // In a gated layer each panel holds 16 values and the 16 gates that belong to them.
        let width = if gated { LANES } else { PANEL };
        let count = outputs.div_ceil(width);
        let mut panels = vec![Line::ZERO; count * inputs * 2];
        let mut biases = vec![Line::ZERO; count * 2];
        for panel in 0..count {
            for column in 0..PANEL {
                let within = panel * width + column % width;
                if within >= outputs {
                    continue;
                }
                let source = if gated && column >= LANES { outputs + within } else { within };
                let (half, lane) = (column / LANES, column % LANES);
                let row = weight.get(source * inputs..(source + 1) * inputs).unwrap_or_default();
                let target = panels.get_mut(panel * inputs * 2..(panel + 1) * inputs * 2).unwrap_or_default();
                for (line, value) in target.iter_mut().skip(half).step_by(2).zip(row) {
                    if let Some(slot) = line.0.get_mut(lane) {
                        *slot = *value;
                    }
                }
                let value = bias.and_then(|bias| bias.get(source)).copied().unwrap_or(0.0);
                if let Some(slot) = biases.get_mut(panel * 2 + half).and_then(|line| line.0.get_mut(lane)) {
                    *slot = value;
                }
            }
        }
        Linear {
            inputs,
            outputs,
            gated,
            level,
            panels,
            bias: biases,
        }
    }

    /// Width of a row of `x`.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Width of a row of `y`.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// `x [rows, inputs]` to `y [rows, outputs]`. Rows that either slice is too short for are not computed.
    pub fn forward(&self, x: &[f32], rows: usize, y: &mut [f32]) {
        self.forward_with(x, rows, y, Finish::Store);
    }

    /// Like [`Linear::forward`] with a function applied before the store (before the gate's product, for a gated layer,
    /// only [`Finish::Store`] and [`Finish::Add`] make sense and both act after the gate).
    pub fn forward_with(&self, x: &[f32], rows: usize, y: &mut [f32], finish: Finish) {
        cpu::forward(self, x, rows, y, finish);
    }
}

#[cfg(test)]
pub(crate) mod tests;
