//! Eightfold subsampling of log-mel frames by three strided convolutions (`dw_striding`), incrementally and exactly.
//!
//! Each layer keeps the one or two input rows that its next output still needs ([`Strided`]); an output row is computed when
//! its last input arrives. A stream fed in any pieces therefore gives the bits of the whole utterance, and nothing is
//! computed twice. Causal layers begin with two zero rows, the others with one; at the end of an utterance a layer that
//! waits for one more input row gets a zero row. Channels are padded to full lanes and lie innermost.
//! The final projection (`pre_encode.out`) is a separate [`Linear`](super::linear::Linear), see [`flat_weight`].
//! Who calls it: `model::frontend` and `model::network`.

mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;

use super::linear::{Finish, Linear};
use super::simd::{LANES, Level};

/// The tensors of the three layers, `C` channels; kernel axes are time, then frequency.
#[derive(Clone, Copy, Debug)]
pub struct Kernels<'a> {
    /// Full 3x3 convolution `[C, 1, 3, 3]` and its bias `[C]`.
    pub first: (&'a [f32], &'a [f32]),
    /// Depthwise 3x3 `[C, 1, 3, 3]` and bias of layers 2 and 3.
    pub depthwise: [(&'a [f32], &'a [f32]); 2],
    /// Pointwise `[C, C]` and bias of layers 2 and 3.
    pub pointwise: [(&'a [f32], &'a [f32]); 2],
}

/// Weights of the three layers.
#[derive(Clone, Debug)]
pub struct Subsample {
    causal: bool,
    mel_bins: usize,
    /// Channels, padded to a multiple of the lanes.
    channels: usize,
    /// `[9, channels]` and `[channels]` of each layer.
    taps: [Vec<f32>; 3],
    bias: [Vec<f32>; 3],
    pointwise: [Linear; 2],
    level: Level,
}

/// Frequencies after each of the three layers.
pub fn frequencies(mel_bins: usize, causal: bool) -> [usize; 3] {
    let halve = |count: usize| if causal { count / 2 + 1 } else { count.div_ceil(2) };
    let first = halve(mel_bins);
    let second = halve(first);
    [first, second, halve(second)]
}

/// Encoder frames of an utterance of `mel_frames`.
pub fn frames(mel_frames: u64, causal: bool) -> u64 {
    let halve = |count: u64| if causal { count / 2 + 1 } else { count.div_ceil(2) };
    if mel_frames == 0 { 0 } else { halve(halve(halve(mel_frames))) }
}

/// Brings the published `pre_encode.out.weight [outputs, C * F]` (channel-major) into the order of this module's rows:
/// `[outputs, F * padded C]`.
pub fn flat_weight(weight: &[f32], outputs: usize, channels: usize, frequencies: usize) -> Vec<f32> {
    let padded = channels.next_multiple_of(LANES);
    let mut flat = vec![0.0; outputs * frequencies * padded];
    for (row, target) in weight
        .chunks_exact((channels * frequencies).max(1))
        .zip(flat.chunks_exact_mut((frequencies * padded).max(1)))
    {
        for (c, values) in row.chunks_exact(frequencies.max(1)).enumerate() {
            for (slot, value) in target.iter_mut().skip(c).step_by(padded).zip(values) {
                *slot = *value;
            }
        }
    }
    flat
}

/// The rows that one strided layer still needs, with the zero columns that its convolution reads around them.
#[derive(Clone, Debug)]
struct Strided {
    /// Rows held, `row` values each.
    rows: Vec<f32>,
    row: usize,
    /// Zero values before the content of each row, and the content's length.
    before: usize,
    content: usize,
    started: bool,
}

/// Progress of one stream through the three layers.
#[derive(Clone, Debug)]
pub struct SubsampleState {
    layers: [Strided; 3],
    lead: usize,
    /// Results of a depthwise and a pointwise layer.
    work: [Vec<f32>; 2],
}

impl Subsample {
    /// Packs the tensors; `channels` is `C`.
    pub fn new(kernels: Kernels<'_>, channels: usize, mel_bins: usize, causal: bool) -> Self {
        let padded = channels.next_multiple_of(LANES);
        let taps = |weight: &[f32]| {
            let mut taps = vec![0.0; 9 * padded];
            for (c, kernel) in weight.chunks_exact(9).take(channels).enumerate() {
                for (slot, value) in taps.iter_mut().skip(c).step_by(padded.max(1)).zip(kernel) {
                    *slot = *value;
                }
            }
            taps
        };
        let pad = |bias: &[f32]| {
            let mut bias = bias.to_vec();
            bias.resize(padded, 0.0);
            bias
        };
        let pointwise = |(weight, bias): (&[f32], &[f32])| {
            let mut wide = vec![0.0; padded * padded];
            for (row, target) in weight.chunks_exact(channels.max(1)).zip(wide.chunks_exact_mut(padded.max(1))) {
                for (slot, value) in target.iter_mut().zip(row) {
                    *slot = *value;
                }
            }
            Linear::new(&wide, Some(&pad(bias)), padded, padded)
        };
        let [second, third] = kernels.depthwise;
        Subsample {
            causal,
            mel_bins,
            channels: padded,
            taps: [taps(kernels.first.0), taps(second.0), taps(third.0)],
            bias: [pad(kernels.first.1), pad(second.1), pad(third.1)],
            pointwise: kernels.pointwise.map(pointwise),
            level: Level::best(),
        }
    }

    /// Width of a result row: frequencies after the last layer times padded channels.
    pub fn row(&self) -> usize {
        let [_, _, last] = frequencies(self.mel_bins, self.causal);
        last * self.channels
    }

    /// A fresh stream.
    pub fn state(&self) -> SubsampleState {
        let [first, second, _] = frequencies(self.mel_bins, self.causal);
        let lead = if self.causal { 2 } else { 1 };
        let layer = |count: usize, channels: usize| Strided {
            rows: Vec::new(),
            row: (lead + count + 1) * channels,
            before: lead * channels,
            content: count * channels,
            started: false,
        };
        let layers = [layer(self.mel_bins, 1), layer(first, self.channels), layer(second, self.channels)];
        let mut state = SubsampleState {
            layers,
            lead,
            work: [Vec::new(), Vec::new()],
        };
        state.reset();
        state
    }

    /// Takes mel frames `mel [n, mel_bins]`, appends each row that became complete to `out`, and completes the utterance
    /// with zero rows if `end`.
    pub fn push(&self, state: &mut SubsampleState, mel: &[f32], end: bool, out: &mut Vec<f32>) {
        let [first, second, third] = &mut state.layers;
        let [narrow, wide] = &mut state.work;
        first.take(mel);
        let count = first.outputs(end);
        cpu::convolve(self, 0, first, count, narrow);
        second.take(narrow);
        let count = second.outputs(end);
        cpu::convolve(self, 1, second, count, narrow);
        self.mix(0, narrow, wide);
        third.take(wide);
        let count = third.outputs(end);
        cpu::convolve(self, 2, third, count, narrow);
        self.mix(1, narrow, wide);
        out.extend_from_slice(wide);
    }

    fn mix(&self, layer: usize, x: &[f32], y: &mut Vec<f32>) {
        y.resize(x.len(), 0.0);
        if let Some(pointwise) = self.pointwise.get(layer) {
            pointwise.forward_with(x, x.len() / self.channels.max(1), y, Finish::Relu);
        }
    }
}

impl SubsampleState {
    /// Back to the start of a stream.
    pub fn reset(&mut self) {
        for layer in &mut self.layers {
            layer.rows.clear();
            layer.rows.resize(self.lead * layer.row, 0.0);
            layer.started = false;
        }
    }
}

impl Strided {
    /// Appends rows, each with its zero columns around it.
    fn take(&mut self, content: &[f32]) {
        for row in content.chunks_exact(self.content.max(1)) {
            let start = self.rows.len();
            self.rows.resize(start + self.before, 0.0);
            self.rows.extend_from_slice(row);
            self.rows.resize(start + self.row, 0.0);
            self.started = true;
        }
    }

    /// Rows that can be computed now; at the end of an utterance a last one may lack only its third input, a zero row.
    fn outputs(&mut self, end: bool) -> usize {
        let held = self.rows.len() / self.row.max(1);
        if end && self.started && held.is_multiple_of(2) {
            self.rows.resize(self.rows.len() + self.row, 0.0);
            return held / 2;
        }
        held.saturating_sub(1) / 2
    }

    /// Forgets the inputs that no later output reads.
    fn consume(&mut self, outputs: usize) {
        let used = (2 * outputs * self.row).min(self.rows.len());
        self.rows.drain(..used);
    }
}

#[cfg(test)]
mod tests;
