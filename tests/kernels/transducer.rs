//! The greedy search against float64 over the same f16 weights, utterances in pieces, ties and limits.
//!
//! Tokens, frames and durations must be equal. That is fair because the reference also says how close its decisions were: a
//! test's networks are ones where the best score leads by much more than f32 can be off.

use half::f16;
use hark::ops::rows::Row;

use crate::steps::seats;
use crate::support::{Arg, Card, Noise, close, each};

/// Least lead of a decision. Scores of size 10 with some hundred terms are off by 1e-5 at most, what the state has gathered
/// included.
const LEAD: f64 = 2e-4;

/// Sizes of a network.
#[derive(Clone, Copy)]
struct Sizes {
    layers: usize,
    /// P, of the prediction network.
    depth: usize,
    /// J, of the joint.
    joint: usize,
    vocabulary: usize,
    durations: &'static [i32],
    max_symbols: usize,
    /// Added to the score of the blank.
    blank: f32,
}

struct Net {
    sizes: Sizes,
    embedding: Vec<f16>,
    lstm: Vec<f16>,
    lstm_bias: Vec<f32>,
    prediction: Vec<f16>,
    prediction_bias: Vec<f32>,
    output: Vec<f16>,
    output_bias: Vec<f32>,
    /// State after the start symbol, in the pool's layout.
    start: Vec<f32>,
}

/// An emitted token.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Emission {
    id: usize,
    frame: usize,
    /// Index of the duration, -1 without.
    duration: i32,
    confidence: f32,
}

/// What a search gave.
#[derive(Default)]
struct Searched {
    emissions: Vec<Emission>,
    /// Frames beyond the end that the last duration jumped over.
    skip: usize,
    state: Vec<f64>,
    /// Least lead of any decision over the next score.
    lead: f64,
}

impl Net {
    fn new(sizes: Sizes, seed: u64) -> Self {
        let Sizes {
            layers,
            depth,
            joint,
            vocabulary,
            durations,
            ..
        } = sizes;
        let mut noise = Noise::new(seed);
        let mut floats = |count: usize, scale: f32| (0..count).map(|_| noise.next() * scale).collect::<Vec<f32>>();
        let outputs = vocabulary + 1 + durations.len();
        let lstm_scale = 3.0 / (2.0 * depth as f32).sqrt();
        let mut embedding = halves(&floats((vocabulary + 1) * depth, 1.5));
        embedding[vocabulary * depth..].fill(f16::ZERO);
        let mut net = Net {
            sizes,
            embedding,
            lstm: halves(&floats(layers * 8 * depth * depth, lstm_scale)),
            lstm_bias: floats(layers * 4 * depth, 0.5),
            prediction: halves(&floats(joint * depth, 3.0 / (depth as f32).sqrt())),
            prediction_bias: floats(joint, 0.2),
            output: halves(&floats(outputs * joint, 6.0 / (joint as f32).sqrt())),
            output_bias: floats(outputs, 0.5),
            start: Vec::new(),
        };
        net.output_bias[vocabulary] += sizes.blank;
        let mut start = vec![0.0; net.words()];
        net.predict(vocabulary, &mut start);
        net.start = start.iter().map(|v| *v as f32).collect();
        net
    }

    /// Values of a state.
    fn words(&self) -> usize {
        2 * self.sizes.layers * self.sizes.depth + self.sizes.joint
    }

    fn predict(&self, token: usize, state: &mut [f64]) {
        let Sizes { layers, depth, .. } = self.sizes;
        let mut input: Vec<f64> = self.embedding[token * depth..][..depth].iter().map(|v| v.to_f64()).collect();
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        for layer in 0..layers {
            let (hidden, cell) = state[layer * 2 * depth..][..2 * depth].split_at_mut(depth);
            let both = [input.as_slice(), hidden].concat();
            let weights = &self.lstm[layer * 8 * depth * depth..][..8 * depth * depth];
            let gate = |index: usize| product(weights, index, &both) + f64::from(self.lstm_bias[layer * 4 * depth + index]);
            for unit in 0..depth {
                let [i, f, g, o] = [0, 1, 2, 3].map(|which| gate(which * depth + unit));
                cell[unit] = sigmoid(f) * cell[unit] + sigmoid(i) * g.tanh();
                hidden[unit] = sigmoid(o) * cell[unit].tanh();
            }
            input = hidden.to_vec();
        }
        for (index, g) in state[2 * layers * depth..].iter_mut().enumerate() {
            *g = product(&self.prediction, index, &input) + f64::from(self.prediction_bias[index]);
        }
    }

    /// The search as the published rules have it.
    fn search(&self, frames: &[f32]) -> Searched {
        let Sizes {
            joint,
            vocabulary,
            durations,
            max_symbols,
            ..
        } = self.sizes;
        let length = frames.len() / joint;
        let mut state: Vec<f64> = self.start.iter().map(|v| f64::from(*v)).collect();
        let (mut emissions, mut lead) = (Vec::new(), f64::INFINITY);
        let (mut frame, mut symbols) = (0, 0);
        while frame < length {
            let g = &state[state.len() - joint..];
            let x: Vec<f64> = frames[frame * joint..][..joint]
                .iter()
                .zip(g)
                .map(|(f, g)| (f64::from(*f) + g).max(0.0))
                .collect();
            let scores: Vec<f64> = self
                .output_bias
                .iter()
                .enumerate()
                .map(|(i, b)| product(&self.output, i, &x) + f64::from(*b))
                .collect();
            let (tokens, lengths) = scores.split_at(vocabulary + 1);
            let (id, ahead) = best(tokens);
            lead = lead.min(ahead);
            let mut index = -1;
            let mut step = 0;
            if !durations.is_empty() {
                let (best, ahead) = best(lengths);
                lead = lead.min(ahead);
                (index, step) = (best as i32, durations[best] as usize);
            }
            if id != vocabulary {
                let sum: f64 = tokens.iter().map(|v| (v - tokens[id]).exp()).sum();
                emissions.push(Emission {
                    id,
                    frame,
                    duration: index,
                    confidence: (1.0 / sum) as f32,
                });
                symbols += 1;
                self.predict(id, &mut state);
            }
            if step == 0 && (id == vocabulary || symbols >= max_symbols) {
                step = 1;
            }
            if step > 0 {
                symbols = 0;
            }
            frame += step;
        }
        Searched {
            emissions,
            skip: frame - length,
            state,
            lead,
        }
    }

    fn frames(&self, count: usize, seed: u64) -> Vec<f32> {
        let mut noise = Noise::new(seed);
        (0..count * self.sizes.joint).map(|_| noise.next() * 1.5).collect()
    }
}

fn halves(values: &[f32]) -> Vec<f16> {
    values.iter().map(|v| f16::from_f32(*v)).collect()
}

/// Row `index` of `matrix` times `x`.
fn product(matrix: &[f16], index: usize, x: &[f64]) -> f64 {
    matrix[index * x.len()..].iter().zip(x).map(|(w, x)| w.to_f64() * x).sum()
}

/// The greatest, the lowest of equals, and its lead over the next smaller one.
fn best(scores: &[f64]) -> (usize, f64) {
    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let next = scores.iter().copied().filter(|v| *v < most).fold(f64::NEG_INFINITY, f64::max);
    (scores.iter().position(|v| *v == most).unwrap(), most - next)
}

/// A network and the pools of its streams on a card.
struct Bench<'a> {
    net: &'a Net,
    stride: usize,
    state: u64,
    cursor: u64,
    /// Weights in the kernel's order, `start` first.
    weights: [u64; 9],
}

impl<'a> Bench<'a> {
    fn new(card: &mut Card<'_>, net: &'a Net, slots: usize) -> Self {
        let stride = net.words() + 5;
        Bench {
            net,
            stride,
            state: card.room::<f32>(slots * stride),
            cursor: card.room::<i32>(slots * 2),
            weights: [
                card.put(&net.start),
                card.put(&net.embedding),
                card.put(&net.lstm),
                card.put(&net.lstm_bias),
                card.put(&net.prediction),
                card.put(&net.prediction_bias),
                card.put(&net.output),
                card.put(&net.output_bias),
                card.put(&[net.sizes.durations, &[0]].concat()),
            ],
        }
    }

    /// Runs a step and gives what each stream emitted.
    fn step(&self, card: &mut Card<'_>, pieces: &[&[f32]], rows: &[Row]) -> Vec<Vec<Emission>> {
        let Sizes {
            layers,
            depth,
            joint,
            vocabulary,
            durations,
            max_symbols,
            ..
        } = self.net.sizes;
        let n = pieces.iter().map(|piece| piece.len() / joint).max().unwrap().max(1);
        let (ldj, most) = (joint + 8, n * max_symbols);
        let mut frames = vec![f32::NAN; rows.len() * n * ldj];
        for (to, piece) in frames.chunks_mut(n * ldj).zip(pieces) {
            for (to, frame) in to.chunks_mut(ldj).zip(piece.chunks(joint)) {
                to[..joint].copy_from_slice(frame);
            }
        }
        let (count, tokens) = (card.room::<i32>(rows.len()), card.room::<i32>(rows.len() * most * 3));
        let confidence = card.room::<f32>(rows.len() * most);
        let frames = card.put(&frames);
        let mut args: Vec<Arg> = vec![frames.into(), n.into(), ldj.into(), card.put_rows(rows).into(), self.state.into()];
        args.extend([Arg::from(self.stride), Arg::from(self.cursor)]);
        args.extend(self.weights.map(Arg::from));
        args.extend([count, tokens, confidence].map(Arg::from));
        args.extend([most, layers, depth, joint, vocabulary, durations.len(), max_symbols].map(Arg::from));
        let shared = 4 * (2 * joint + 2 * depth * (layers + 1));
        card.launch("transducer_greedy", [rows.len(), 1, 1], [512, 1], shared, &args);
        let counts: Vec<i32> = card.get(count);
        let emitted = |(b, count): (usize, &i32)| {
            let count = *count as usize;
            let tokens: Vec<i32> = card.get_part(tokens, b * most * 3, count * 3);
            let confidence: Vec<f32> = card.get_part(confidence, b * most, count);
            let emission = |(token, confidence): (&[i32], &f32)| Emission {
                id: token[0] as usize,
                frame: token[1] as usize,
                duration: token[2],
                confidence: *confidence,
            };
            tokens.chunks(3).zip(&confidence).map(emission).collect()
        };
        counts.iter().enumerate().map(emitted).collect()
    }

    fn state(&self, card: &Card<'_>, slot: usize) -> (Vec<f32>, i32) {
        (
            card.get_part(self.state, slot * self.stride, self.net.words()),
            card.get_part(self.cursor, slot * 2, 1)[0],
        )
    }
}

fn row(slot: usize, start: bool, frames: usize) -> Row {
    Row {
        slot: slot as i32,
        start: i32::from(start),
        given: [0, 0, frames as i32],
        ..Row::default()
    }
}

const PUBLISHED: &[i32] = &[0, 1, 2, 3, 4];
const LONG: &[i32] = &[0, 1, 2, 4, 8];

/// RNN-T and TDT, one and two layers, fewer tokens than the block has warps, more than one round of them, tokens that reach
/// max_symbols.
const NETS: [Sizes; 6] = [
    Sizes {
        layers: 1,
        depth: 24,
        joint: 40,
        vocabulary: 30,
        durations: &[],
        max_symbols: 10,
        blank: 2.0,
    },
    Sizes {
        layers: 2,
        depth: 40,
        joint: 24,
        vocabulary: 61,
        durations: &[],
        max_symbols: 3,
        blank: -2.0,
    },
    Sizes {
        layers: 2,
        depth: 24,
        joint: 32,
        vocabulary: 63,
        durations: PUBLISHED,
        max_symbols: 10,
        blank: 2.0,
    },
    Sizes {
        layers: 1,
        depth: 16,
        joint: 40,
        vocabulary: 100,
        durations: LONG,
        max_symbols: 2,
        blank: 1.0,
    },
    Sizes {
        layers: 1,
        depth: 8,
        joint: 8,
        vocabulary: 3,
        durations: PUBLISHED,
        max_symbols: 10,
        blank: 0.0,
    },
    Sizes {
        layers: 1,
        depth: 136,
        joint: 264,
        vocabulary: 1_024,
        durations: &[],
        max_symbols: 10,
        blank: 4.0,
    },
];

#[test]
fn utterances_match_float64() {
    let mut full = 0;
    for (index, sizes) in NETS.into_iter().enumerate() {
        let net = Net::new(sizes, 40 + index as u64);
        let counts: &[usize] = if sizes.vocabulary > 1_000 { &[5] } else { &[25, 1, 0, 12] };
        let frames: Vec<Vec<f32>> = counts.iter().map(|count| net.frames(*count, 7 + *count as u64)).collect();
        let expected: Vec<Searched> = frames.iter().map(|frames| net.search(frames)).collect();
        assert!(expected[0].emissions.len() > 1, "network {index} hears something");
        let at_most = |of: &Searched| {
            of.emissions
                .chunk_by(|a, b| a.frame == b.frame)
                .filter(|run| run.len() == sizes.max_symbols)
                .count()
        };
        full += expected.iter().map(at_most).sum::<usize>();
        for expected in &expected {
            assert!(expected.lead > LEAD, "network {index} has a decision by {}", expected.lead);
        }
        each("transducer.cu", |card| {
            let bench = Bench::new(card, &net, counts.len());
            let rows: Vec<Row> = counts.iter().enumerate().map(|(slot, count)| row(slot, true, *count)).collect();
            let pieces: Vec<&[f32]> = frames.iter().map(Vec::as_slice).collect();
            for (slot, (found, expected)) in bench.step(card, &pieces, &rows).iter().zip(&expected).enumerate() {
                let name = format!("network {index}, stream {slot}");
                let plain = |of: &[Emission]| of.iter().map(|e| (e.id, e.frame, e.duration)).collect::<Vec<_>>();
                assert_eq!(plain(found), plain(&expected.emissions), "{name}");
                for (found, expected) in found.iter().zip(&expected.emissions) {
                    // A probability is off relatively by as much as the scores are absolutely.
                    let expected = f64::from(expected.confidence);
                    close(
                        &format!("{name}, confidence"),
                        f64::from(found.confidence),
                        expected,
                        expected * LEAD / 4.0,
                    );
                }
                let (state, skip) = bench.state(card, slot);
                assert_eq!(skip as usize, expected.skip, "{name}");
                for (found, expected) in state.iter().zip(&expected.state) {
                    // Gates in (0, 1) forget what rounding a cell has gathered.
                    close(&format!("{name}, state"), f64::from(*found), *expected, LEAD / 8.0);
                }
            }
        });
    }
    assert!(full > 3, "max_symbols was reached {full} times");
}

#[test]
fn pieces_give_the_bits_of_the_whole() {
    // Single frames under long jumps, steps without frames (one right at the start), a stream that begins later.
    let plans: [(usize, &[usize]); 3] = [(0, &[1, 1, 2, 1, 4, 1, 1]), (1, &[0, 3, 0, 1, 1, 5]), (2, &[7])];
    for (index, sizes) in NETS.into_iter().enumerate().take(5) {
        let net = Net::new(sizes, 40 + index as u64);
        let joint = sizes.joint;
        let frames: Vec<Vec<f32>> = (0..3)
            .map(|stream| net.frames(plans[stream].1.iter().sum(), 90 + stream as u64))
            .collect();
        let lanes: Vec<(usize, usize)> = plans.iter().map(|(begin, pieces)| (*begin, pieces.len())).collect();
        each("transducer.cu", |card| {
            let (mut skipped, mut emitted) = (0, 0);
            let bench = Bench::new(card, &net, plans.len() + 1);
            let mut found = vec![Vec::new(); plans.len()];
            for seats in seats(&lanes) {
                let begins = |stream: usize, piece: usize| plans[stream].1[..piece].iter().sum::<usize>();
                let seated = |seat: &Option<(usize, usize)>| {
                    let Some((stream, piece)) = *seat else {
                        return (Row::padding(plans.len() as i32), &frames[0][..0]);
                    };
                    let count = plans[stream].1[piece];
                    (
                        row(stream, piece == 0, count),
                        &frames[stream][begins(stream, piece) * joint..][..count * joint],
                    )
                };
                let (rows, pieces): (Vec<Row>, Vec<&[f32]>) = seats.iter().map(seated).unzip();
                for (seat, emissions) in seats.iter().zip(bench.step(card, &pieces, &rows)) {
                    if let Some((stream, piece)) = *seat {
                        let moved = |e: Emission| Emission {
                            frame: e.frame + begins(stream, piece),
                            ..e
                        };
                        found[stream].extend(emissions.into_iter().map(moved));
                        skipped += bench.state(card, stream).1;
                    } else {
                        assert!(emissions.is_empty(), "padding heard something");
                    }
                }
            }
            for (stream, (frames, found)) in frames.iter().zip(&found).enumerate() {
                let alone = Bench::new(card, &net, 1);
                let whole = alone.step(card, &[frames], &[row(0, true, frames.len() / joint)]);
                let bits = |of: &[Emission]| {
                    of.iter()
                        .map(|e| (e.id, e.frame, e.duration, e.confidence.to_bits()))
                        .collect::<Vec<_>>()
                };
                assert_eq!(bits(&whole[0]), bits(found), "network {index}, stream {stream}");
                let state = |(values, skip): (Vec<f32>, i32)| (values.iter().map(|v| v.to_bits()).collect::<Vec<_>>(), skip);
                assert_eq!(
                    state(alone.state(card, 0)),
                    state(bench.state(card, stream)),
                    "network {index}, stream {stream}"
                );
                emitted += found.len();
            }
            assert!(emitted > 0);
            assert_eq!(skipped > 0, !sizes.durations.is_empty(), "jumps over the end of a step");
        });
    }
}

#[test]
fn of_equal_scores_the_lowest_index_wins() {
    let sizes = Sizes {
        layers: 1,
        depth: 8,
        joint: 16,
        vocabulary: 200,
        durations: PUBLISHED,
        max_symbols: 4,
        blank: 0.0,
    };
    // Neighbours, other lanes, other warps, a later round, the blank.
    for (tied, expected) in [
        (vec![17, 18, 21, 80, 150, 200], 17),
        (vec![3, 66], 3),
        (vec![0, 1, 2], 0),
        ((0..=200).collect(), 0),
    ] {
        let mut net = Net::new(sizes, 5);
        net.output.fill(f16::ZERO);
        net.output_bias.fill(-1.0);
        for index in &tied {
            net.output_bias[*index] = 1.0;
        }
        // Durations 1 and 3 are equal.
        net.output_bias[202] = 0.5;
        net.output_bias[204] = 0.5;
        each("transducer.cu", |card| {
            let bench = Bench::new(card, &net, 1);
            let found = bench.step(card, &[&net.frames(3, 1)], &[row(0, true, 3)]);
            let plain: Vec<_> = found[0].iter().map(|e| (e.id, e.frame, e.duration)).collect();
            assert_eq!(plain, [(expected, 0, 1), (expected, 1, 1), (expected, 2, 1)]);
            let sum = tied.len() as f64 + (201 - tied.len()) as f64 * (-2.0_f64).exp();
            close("confidence", f64::from(found[0][0].confidence), 1.0 / sum, 1e-6 / sum);
        });
    }
}

#[test]
fn certain_scores_and_no_frames() {
    // Scores in the thousands: other terms vanish, the probability is 1. A frame gives no more than max_symbols.
    let sizes = Sizes {
        layers: 1,
        depth: 8,
        joint: 16,
        vocabulary: 20,
        durations: &[],
        max_symbols: 3,
        blank: -50_000.0,
    };
    let mut net = Net::new(sizes, 6);
    net.output_bias[11] = 10_000.0;
    each("transducer.cu", |card| {
        let bench = Bench::new(card, &net, 2);
        let found = bench.step(card, &[&net.frames(2, 2), &[]], &[row(0, true, 2), row(1, true, 0)]);
        let plain: Vec<_> = found[0].iter().map(|e| (e.id, e.frame, e.duration, e.confidence)).collect();
        assert_eq!(plain, [0, 0, 0, 1, 1, 1].map(|frame| (11, frame, -1, 1.0)));
        assert!(found[1].is_empty());
        assert_eq!(bench.state(card, 1), (net.start.clone(), 0), "a start without frames");
    });
}
