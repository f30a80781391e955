//! RNN-T and TDT: the networks, and the greedy search of several streams at once.
//!
//! What it does: prediction network (LSTM), joint, and the search of Graves 2012 (RNN-T) and Xu et al. 2023 (TDT) in the form
//! of NeMo's `greedy_batch`; streams in one call share the matrix products and do not influence each other.
//! What it does not do: beam search (see `hypotheses`), cutting tokens into words. Who calls it: the decoder.
#![allow(
    clippy::indexing_slicing,
    reason = "all slices are cut by the widths that the constructor checked against the weights"
)]

use super::confidence::Confidence;
use super::ctc::argmax;
use crate::model::arch::{Architecture, Transducer as Sizes};
use crate::model::weights::{Weights, WeightsError};
use crate::ops::linear::Linear;
use crate::ops::log_softmax::log_softmax;

/// Prediction network and joint of one checkpoint.
pub(super) struct Transducer {
    /// `[J, D]`: encoder frames into the joint space.
    encoder: Linear,
    /// `[J, P]`: prediction network output into the joint space.
    prediction: Linear,
    /// `[V + 1 + E, J]`.
    output: Linear,
    /// `[V + 1, P]`; the last row (blank) is zero and starts a sequence.
    embedding: Vec<f32>,
    /// For each layer `[4P, 2P]`: input and recurrent weights side by side, both biases added.
    lstm: Vec<Linear>,
    width: usize,
    prediction_width: usize,
    joint_width: usize,
    pub(super) vocabulary: usize,
    max_symbols: usize,
    /// TDT durations; empty for RNN-T.
    pub(super) durations: Vec<u32>,
    start: Prediction,
}

/// The tensors of prediction network and joint, row-major, for whoever computes them. A bias that the checkpoint lacks is zero.
#[derive(Clone, Debug)]
pub struct TransducerTensors<'a> {
    /// The sizes.
    pub sizes: &'a Sizes,
    /// `[J, D]` and its bias: encoder frames into the joint space.
    pub encoder: (&'a [f32], Vec<f32>),
    /// `[J, P]` and its bias.
    pub prediction: (&'a [f32], Vec<f32>),
    /// `[V + 1 + E, J]` and its bias.
    pub output: (&'a [f32], Vec<f32>),
    /// `[V + 1, P]`; the last row (blank) is zero and starts a sequence.
    pub embedding: &'a [f32],
    /// `[layers, 4P, 2P]`: input and recurrent weights side by side.
    pub lstm: Vec<f32>,
    /// `[layers, 4P]`: both biases added.
    pub lstm_bias: Vec<f32>,
}

impl<'a> TransducerTensors<'a> {
    /// The tensors; `None` if the architecture has no transducer.
    ///
    /// # Errors
    /// One is missing or has another shape.
    pub fn of(arch: &'a Architecture, weights: &'a Weights) -> Result<Option<Self>, WeightsError> {
        let Some(sizes) = &arch.transducer else { return Ok(None) };
        let (p, j) = (sizes.prediction_width, sizes.joint_width);
        let linear = |name: &str, outputs: usize, inputs: usize| {
            let matrix = weights.get(&format!("{name}.weight"), &[outputs, inputs])?;
            let bias = weights.get_optional(&format!("{name}.bias"), &[outputs])?;
            Ok((matrix, bias.map_or_else(|| vec![0.0; outputs], <[f32]>::to_vec)))
        };
        let (mut lstm, mut lstm_bias) = (Vec::new(), Vec::new());
        for layer in 0..sizes.prediction_layers {
            let (matrix, bias) = lstm_layer(weights, layer, p)?;
            lstm.extend(matrix);
            lstm_bias.extend(bias);
        }
        Ok(Some(TransducerTensors {
            sizes,
            encoder: linear("joint.enc", j, arch.encoder.width)?,
            prediction: linear("joint.pred", j, p)?,
            output: linear("joint.joint_net.2", arch.vocabulary + 1 + sizes.durations.len(), j)?,
            embedding: weights.get("decoder.prediction.embed.weight", &[arch.vocabulary + 1, p])?,
            lstm,
            lstm_bias,
        }))
    }
}

/// The prediction network after some tokens.
#[derive(Clone, Debug)]
pub(super) struct Prediction {
    /// `[layers, P]`.
    hidden: Vec<f32>,
    /// `[layers, P]`.
    cell: Vec<f32>,
    /// `[J]`: its output in the joint space.
    joint: Vec<f32>,
}

/// What a joint step gives, and what it needs by the way.
#[derive(Clone, Debug, Default)]
pub(super) struct Scores {
    joint: Vec<f32>,
    /// `[n, V + 1 + E]`.
    pub(super) logits: Vec<f32>,
}

/// Where the greedy search of one stream stands between calls.
#[derive(Clone, Debug, Default)]
pub(super) struct TransducerState {
    /// `None` before the first frame of an utterance.
    pub(super) prediction: Option<Prediction>,
    /// Frames of the next call that the last TDT duration jumps over.
    pub(super) skip: usize,
}

/// A token as the network emitted it.
#[derive(Clone, Debug, PartialEq)]
pub struct Emission {
    /// Id in the vocabulary.
    pub id: usize,
    /// Frame within the rows of this call.
    pub frame: usize,
    /// TDT duration as predicted; `None` for RNN-T.
    pub duration: Option<u32>,
    /// 0 to 1.
    pub confidence: f32,
}

/// One stream's part of a call.
pub(super) struct Lane<'a> {
    pub(super) state: &'a mut TransducerState,
    /// Frames of this stream in this call, `[n, J]` of [`Transducer::project`].
    pub(super) projected: &'a [f32],
    /// What was emitted, in order.
    pub(super) emitted: Vec<Emission>,
    /// If wanted: for each emission, and for what follows the last, how far the best score of every joint step since the emission
    /// before was ahead of the next at least.
    pub(super) margins: Option<Vec<f32>>,
}

/// A lane under way.
struct Cursor<'a, 'b> {
    lane: &'a mut Lane<'b>,
    prediction: Prediction,
    frame: usize,
    /// Frames there are.
    frames: usize,
    /// Tokens emitted at this frame.
    symbols: usize,
    /// Least lead of a best score since the last emission.
    margin: f32,
}

impl Transducer {
    /// Builds the network; `None` if the architecture has no transducer.
    pub(super) fn new(arch: &Architecture, weights: &Weights) -> Result<Option<Self>, WeightsError> {
        let Some(tensors) = TransducerTensors::of(arch, weights)? else {
            return Ok(None);
        };
        let TransducerTensors { sizes, .. } = tensors;
        let (width, p, j, layers) = (
            arch.encoder.width,
            sizes.prediction_width,
            sizes.joint_width,
            sizes.prediction_layers,
        );
        let outputs = arch.vocabulary + 1 + sizes.durations.len();
        let linear = |(matrix, bias): (&[f32], &[f32]), outputs: usize, inputs: usize| Linear::new(matrix, Some(bias), outputs, inputs);
        let lstm = |layer: usize| {
            let (matrix, bias) = (8 * p * p, 4 * p);
            linear(
                (
                    &tensors.lstm[layer * matrix..(layer + 1) * matrix],
                    &tensors.lstm_bias[layer * bias..(layer + 1) * bias],
                ),
                4 * p,
                2 * p,
            )
        };
        let mut transducer = Transducer {
            encoder: linear((tensors.encoder.0, &tensors.encoder.1), j, width),
            prediction: linear((tensors.prediction.0, &tensors.prediction.1), j, p),
            output: linear((tensors.output.0, &tensors.output.1), outputs, j),
            embedding: tensors.embedding.to_vec(),
            lstm: (0..layers).map(lstm).collect(),
            width,
            prediction_width: p,
            joint_width: j,
            vocabulary: arch.vocabulary,
            max_symbols: sizes.max_symbols,
            durations: sizes.durations.clone(),
            start: Prediction {
                hidden: vec![0.0; layers * p],
                cell: vec![0.0; layers * p],
                joint: vec![0.0; j],
            },
        };
        let mut start = transducer.start.clone();
        transducer.predict(&mut [(arch.vocabulary, &mut start)]);
        transducer.start = start;
        Ok(Some(transducer))
    }

    /// The prediction network's state after the start symbol: hidden and cell of each layer, then its output in the joint space.
    pub(super) fn start(&self) -> Vec<f32> {
        let p = self.prediction_width;
        let layers = self.start.hidden.chunks_exact(p).zip(self.start.cell.chunks_exact(p));
        let mut start: Vec<f32> = layers.flat_map(|(hidden, cell)| [hidden, cell].concat()).collect();
        start.extend_from_slice(&self.start.joint);
        start
    }

    /// Values of a frame in the joint space.
    pub(super) fn joint_width(&self) -> usize {
        self.joint_width
    }

    /// Values of a row of [`Transducer::joint`].
    pub(super) fn outputs(&self) -> usize {
        self.vocabulary + 1 + self.durations.len()
    }

    /// Encoder frames `[n, D]` in the joint space, `[n, J]`.
    pub(super) fn project(&self, rows: &[f32]) -> Vec<f32> {
        let total = rows.len() / self.width;
        let mut projected = vec![0.0; total * self.joint_width];
        self.encoder.forward(rows, total, &mut projected);
        projected
    }

    /// The prediction with which a stream goes on.
    pub(super) fn resume(&self, state: &mut TransducerState) -> Prediction {
        state.prediction.take().unwrap_or_else(|| self.start.clone())
    }

    /// Scores frames in the joint space, each after a prediction: `[n, V + 1 + E]` in [`Scores::logits`].
    pub(super) fn joint<'a>(&self, pairs: impl Iterator<Item = (&'a [f32], &'a Prediction)>, scores: &mut Scores) {
        let Scores { joint, logits } = scores;
        joint.clear();
        for (frame, prediction) in pairs {
            joint.extend(frame.iter().zip(&prediction.joint).map(|(f, g)| (f + g).max(0.0)));
        }
        let count = joint.len() / self.joint_width;
        logits.resize(count * self.outputs(), 0.0);
        self.output.forward(joint, count, logits);
    }

    /// Frames to go on by after a blank or a token, the `symbols`-th at its frame.
    pub(super) fn step(&self, blank: bool, symbols: usize, duration: Option<u32>) -> usize {
        let full = symbols >= self.max_symbols;
        match duration {
            None | Some(0) => usize::from(blank || full),
            Some(frames) => usize::try_from(frames).unwrap_or(usize::MAX),
        }
    }

    /// Searches the lanes' frames.
    pub(super) fn decode(&self, lanes: &mut [Lane<'_>], confidence: Confidence) {
        let mut cursors: Vec<Cursor<'_, '_>> = Vec::with_capacity(lanes.len());
        for lane in lanes {
            let prediction = self.resume(lane.state);
            let (frame, frames) = (lane.state.skip, lane.projected.len() / self.joint_width);
            cursors.push(Cursor {
                lane,
                prediction,
                frame,
                frames,
                symbols: 0,
                margin: f32::INFINITY,
            });
        }
        let mut scores = Scores::default();
        loop {
            let mut active: Vec<&mut Cursor<'_, '_>> = cursors.iter_mut().filter(|cursor| cursor.frame < cursor.frames).collect();
            if active.is_empty() {
                break;
            }
            let pairs = active.iter().map(|cursor| {
                let at = cursor.frame * self.joint_width;
                (&cursor.lane.projected[at..at + self.joint_width], &cursor.prediction)
            });
            self.joint(pairs, &mut scores);
            let mut emitters: Vec<(usize, &mut Prediction)> = Vec::new();
            for (cursor, row) in active.iter_mut().zip(scores.logits.chunks_exact_mut(self.outputs())) {
                if let Some(id) = self.decide(cursor, row, confidence) {
                    emitters.push((id, &mut cursor.prediction));
                }
            }
            if !emitters.is_empty() {
                self.predict(&mut emitters);
            }
        }
        for cursor in cursors {
            if let Some(margins) = &mut cursor.lane.margins {
                margins.push(cursor.margin);
            }
            cursor.lane.state.skip = cursor.frame - cursor.frames;
            cursor.lane.state.prediction = Some(cursor.prediction);
        }
    }

    /// Reads one joint output: emits or not, moves the cursor on, returns the emitted token.
    fn decide(&self, cursor: &mut Cursor<'_, '_>, row: &mut [f32], confidence: Confidence) -> Option<usize> {
        let (tokens, durations) = row.split_at_mut(self.vocabulary + 1);
        let best = argmax(tokens);
        let blank = best == self.vocabulary;
        let duration = self.durations.get(argmax_or_zero(durations)).copied();
        if let Some(margins) = &mut cursor.lane.margins {
            cursor.margin = cursor.margin.min(lead(tokens)).min(lead(durations));
            if !blank {
                margins.push(std::mem::replace(&mut cursor.margin, f32::INFINITY));
            }
        }
        if !blank {
            log_softmax(tokens);
            cursor.lane.emitted.push(Emission {
                id: best,
                frame: cursor.frame,
                duration,
                confidence: confidence.of(tokens),
            });
            cursor.symbols += 1;
        }
        let step = self.step(blank, cursor.symbols, duration);
        if step > 0 {
            cursor.symbols = 0;
            cursor.frame = cursor.frame.saturating_add(step);
        }
        (!blank).then_some(best)
    }

    /// Feeds one token to each prediction network.
    pub(super) fn predict(&self, streams: &mut [(usize, &mut Prediction)]) {
        let (count, p) = (streams.len(), self.prediction_width);
        let mut input: Vec<f32> = Vec::with_capacity(count * p);
        for (id, _) in streams.iter() {
            input.extend(&self.embedding[id * p..(id + 1) * p]);
        }
        let mut both = vec![0.0; count * 2 * p];
        let mut gates = vec![0.0; count * 4 * p];
        for (layer, linear) in self.lstm.iter().enumerate() {
            let own = layer * p..(layer + 1) * p;
            for ((row, input), (_, stream)) in both.chunks_exact_mut(2 * p).zip(input.chunks_exact(p)).zip(streams.iter()) {
                row[..p].copy_from_slice(input);
                row[p..].copy_from_slice(&stream.hidden[own.clone()]);
            }
            linear.forward(&both, count, &mut gates);
            for ((gates, output), (_, stream)) in gates.chunks_exact(4 * p).zip(input.chunks_exact_mut(p)).zip(streams.iter_mut()) {
                lstm_cell(gates, &mut stream.hidden[own.clone()], &mut stream.cell[own.clone()]);
                output.copy_from_slice(&stream.hidden[own.clone()]);
            }
        }
        let mut joint = vec![0.0; count * self.joint_width];
        self.prediction.forward(&input, count, &mut joint);
        for (row, (_, stream)) in joint.chunks_exact(self.joint_width).zip(streams) {
            stream.joint.copy_from_slice(row);
        }
    }
}

/// How far the greatest value is ahead of the next; infinite if there are fewer than two.
fn lead(values: &[f32]) -> f32 {
    let (mut first, mut second) = (f32::NEG_INFINITY, f32::NEG_INFINITY);
    for &value in values {
        (first, second) = if value > first {
            (value, first)
        } else {
            (first, second.max(value))
        };
    }
    if values.len() < 2 { f32::INFINITY } else { first - second }
}

pub(super) fn argmax_or_zero(values: &[f32]) -> usize {
    if values.is_empty() { 0 } else { argmax(values) }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// One LSTM cell with gates in the order i, f, g, o (`[4P]`): updates `hidden` and `cell` (`[P]`).
fn lstm_cell(gates: &[f32], hidden: &mut [f32], cell: &mut [f32]) {
    let p = hidden.len();
    for unit in 0..p {
        let [i, f, g, o] = [gates[unit], gates[p + unit], gates[2 * p + unit], gates[3 * p + unit]];
        cell[unit] = sigmoid(f) * cell[unit] + sigmoid(i) * g.tanh();
        hidden[unit] = sigmoid(o) * cell[unit].tanh();
    }
}

/// Input and recurrent weights of one LSTM layer side by side `[4P, 2P]`, and both biases added `[4P]`.
fn lstm_layer(weights: &Weights, layer: usize, p: usize) -> Result<(Vec<f32>, Vec<f32>), WeightsError> {
    let name = |part: &str| format!("decoder.prediction.dec_rnn.lstm.{part}_l{layer}");
    let input = weights.get(&name("weight_ih"), &[4 * p, p])?;
    let recurrent = weights.get(&name("weight_hh"), &[4 * p, p])?;
    let both = input
        .chunks_exact(p)
        .zip(recurrent.chunks_exact(p))
        .flat_map(|(a, b)| a.iter().chain(b))
        .copied()
        .collect();
    let biases = weights
        .get(&name("bias_ih"), &[4 * p])?
        .iter()
        .zip(weights.get(&name("bias_hh"), &[4 * p])?);
    Ok((both, biases.map(|(a, b)| a + b).collect()))
}
