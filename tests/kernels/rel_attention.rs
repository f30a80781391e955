//! Attention with relative positions over rings of keys and values: live steps and whole utterances against float64.

use half::f16;
use hark::ops::rows::Row;

use crate::support::{Arg, Card, Noise, close, each};

const SOURCE: &str = "rel_attention.cu";
/// What lies in `out` where nothing is to be written.
const UNTOUCHED: f16 = f16::from_bits(0x57b0);

/// One layer's attention: `depth` true channels a head, padded with zeros to `padded`.
struct Attention {
    heads: usize,
    depth: usize,
    padded: usize,
    farthest: i64,
    /// `[heads][count][padded]`.
    positions: Vec<f16>,
    content_bias: Vec<f32>,
    position_bias: Vec<f32>,
    left: i32,
    right: i32,
}

/// A stream's part of a step: descriptor and its new rows `[frames][3 * heads * padded]`.
#[derive(Clone)]
struct Part {
    row: Row,
    qkv: Vec<f16>,
}

/// What one step works on.
struct Step<'a> {
    n: usize,
    ring: usize,
    parts: &'a [Part],
}

impl Attention {
    /// A table for distances `-ahead ..= farthest`.
    fn new(heads: usize, depth: usize, farthest: usize, ahead: usize) -> Self {
        let padded = depth.next_multiple_of(16);
        let mut noise = Noise::new((heads * 1_000 + depth + farthest) as u64);
        let mut attention = Attention {
            heads,
            depth,
            padded,
            farthest: farthest as i64,
            positions: noise.halves(heads * (farthest + ahead + 1) * padded, 1.0),
            content_bias: noise.floats(heads * padded, 1.0),
            position_bias: noise.floats(heads * padded, 1.0),
            left: -1,
            right: -1,
        };
        clear(&mut attention.positions, f16::ZERO, depth, padded);
        clear(&mut attention.content_bias, 0.0, depth, padded);
        clear(&mut attention.position_bias, 0.0, depth, padded);
        attention
    }

    fn width(&self) -> usize {
        self.heads * self.padded
    }

    fn count(&self) -> usize {
        self.positions.len() / self.width()
    }

    /// New rows: queries and keys large enough that few frames dominate.
    fn rows(&self, frames: usize, scale: f32, seed: usize) -> Vec<f16> {
        let mut rows = Noise::new(seed as u64).halves(frames * 3 * self.width(), scale);
        clear(&mut rows, f16::ZERO, self.depth, self.padded);
        rows
    }

    fn part(&self, slot: usize, ring: usize, past: usize, frames: usize) -> Part {
        Part {
            row: row(slot, ring, past, frames),
            qkv: self.rows(frames, 2.0, slot * 31 + ring * 7 + past + frames),
        }
    }

    /// A ring pool with something finite everywhere, of magnitudes that would show if they leaked.
    fn pool(&self, slots: usize, ring: usize, seed: u64) -> Vec<f16> {
        Noise::new(seed).halves(slots * self.width() * ring, 60.0)
    }

    fn key(&self, ring: usize, slot: usize, head: usize, place: usize, channel: usize) -> usize {
        ((slot * self.heads + head) * ring + place) * self.padded + channel
    }

    fn value(&self, ring: usize, slot: usize, head: usize, place: usize, channel: usize) -> usize {
        ((slot * self.heads + head) * self.padded + channel) * ring + place
    }

    /// Puts a past frame or a new one where it belongs in the pools.
    fn place(&self, ring: usize, row: Row, r: i64, qkv: &[f16], keys: &mut [f16], values: &mut [f16]) {
        let place = (i64::from(row.ring) + r).rem_euclid(ring as i64) as usize;
        for head in 0..self.heads {
            for channel in 0..self.padded {
                let from = self.width() + head * self.padded + channel;
                keys[self.key(ring, row.slot as usize, head, place, channel)] = qkv[from];
                values[self.value(ring, row.slot as usize, head, place, channel)] = qkv[from + self.width()];
            }
        }
    }

    /// Fills the past of every part and gives it back, `past` rows like `qkv`.
    fn fill(&self, step: &Step<'_>, scale: f32, keys: &mut [f16], values: &mut [f16]) -> Vec<Vec<f16>> {
        let one = |(b, part): (usize, &Part)| {
            let past = part.row.past as usize;
            let rows = self.rows(past, scale, 1_000 + b);
            for (i, qkv) in rows.chunks(3 * self.width()).enumerate() {
                self.place(step.ring, part.row, i as i64 - past as i64, qkv, keys, values);
            }
            rows
        };
        step.parts.iter().enumerate().map(one).collect()
    }

    fn sees(&self, t: i64, r: i64) -> bool {
        r < 0 || ((self.left < 0 || r >= t - i64::from(self.left)) && (self.right < 0 || r <= t + i64::from(self.right)))
    }

    /// Results of a part's queries and how far a kernel may be from each; `past` holds the visible earlier rows.
    ///
    /// The sums of query and bias are rounded to f16 here too, since they are operands. What then differs: scores, an f32 sum
    /// of `2 * padded` terms (see `linear`), hence weights by as much relatively; `exp`, by 2^-21 and 2^-22 of its argument; the
    /// rounding of weights to f16 (2^-11 of each in the weighted sum and again in the sum that divides it, 2^-25 for
    /// those nearly zero), and of the result.
    fn expected(&self, part: &Part, past: &[f16]) -> Vec<(f64, f64)> {
        let row = 3 * self.width();
        let (before, frames) = (past.len() / row, part.qkv.len() / row);
        let all: Vec<&[f16]> = past.chunks(row).chain(part.qkv.chunks(row)).collect();
        let rounding = (8.0 + (2.0 * self.padded as f64).sqrt()) * 2_f64.powi(-24);
        let scale = self.scale();
        let mut expected = Vec::new();
        for t in 0..frames {
            for head in 0..self.heads {
                let channels = head * self.padded..(head + 1) * self.padded;
                let query = &all[before + t][channels.clone()];
                let sum = |bias: &[f32]| -> Vec<f64> {
                    let bias = &bias[channels.clone()];
                    query
                        .iter()
                        .zip(bias)
                        .map(|(q, b)| f16::from_f32(q.to_f32() + b).to_f64())
                        .collect()
                };
                let (content, position) = (sum(&self.content_bias), sum(&self.position_bias));
                let mut scores = Vec::new();
                for (i, frame) in all.iter().enumerate() {
                    let r = i as i64 - before as i64;
                    if !self.sees(t as i64, r) {
                        continue;
                    }
                    let key = &frame[self.width()..][channels.clone()];
                    let m = (self.farthest - (t as i64 - r)) as usize;
                    let table = &self.positions[(head * self.count() + m) * self.padded..][..self.padded];
                    let terms = content
                        .iter()
                        .zip(key)
                        .chain(position.iter().zip(table))
                        .map(|(a, b)| a * b.to_f64());
                    let (score, size) = terms.fold((0.0, 0.0), |(sum, size), term: f64| (sum + term, size + term.abs()));
                    scores.push((i, score * scale, size * scale));
                }
                let most = scores.iter().fold(f64::MIN, |most, score| most.max(score.1));
                let total: f64 = scores.iter().map(|(_, score, _)| (score - most).exp()).sum();
                let off = |score: f64, size: f64| size * rounding + 2_f64.powi(-21) + (most - score) * 2_f64.powi(-22);
                let off = scores
                    .iter()
                    .map(|(_, score, size)| ((score - most).exp() / total) * off(*score, *size))
                    .sum::<f64>()
                    + scores.iter().map(|(_, _, size)| size * rounding).fold(0.0, f64::max);
                for channel in channels.clone() {
                    let value = |i: usize| all[i][2 * self.width() + channel].to_f64();
                    let weighted = |value: &dyn Fn(usize) -> f64| {
                        scores
                            .iter()
                            .map(|(i, score, _)| (score - most).exp() / total * value(*i))
                            .sum::<f64>()
                    };
                    let (result, size) = (weighted(&value), weighted(&|i| value(i).abs()));
                    let greatest = scores.iter().map(|(i, ..)| value(*i).abs()).fold(0.0, f64::max);
                    let tolerance = (size + result.abs()) * (2_f64.powi(-11) + off)
                        + result.abs() * 2_f64.powi(-11)
                        + (1.0 + scores.len() as f64 * greatest) * 2_f64.powi(-25);
                    expected.push((result, tolerance));
                }
            }
        }
        expected
    }

    fn scale(&self) -> f64 {
        f64::from(1.0 / (self.depth as f32).sqrt())
    }

    /// Appends and attends; `out` as `[streams][n][width]`.
    fn run(&self, card: &mut Card<'_>, step: &Step<'_>, keys: u64, values: u64) -> Vec<f16> {
        let (b, n, width) = (step.parts.len(), step.n, self.width());
        let qkv = card.room::<f16>(b * n * 3 * width); // rows of frames that a stream does not have are not read
        for (i, part) in step.parts.iter().enumerate() {
            card.set(qkv, i * n * 3 * width, &part.qkv);
        }
        let rows: Vec<Row> = step.parts.iter().map(|part| part.row).collect();
        let rows = card.put_rows(&rows);
        let args: [Arg; 8] = [
            qkv.into(),
            keys.into(),
            values.into(),
            rows.into(),
            n.into(),
            self.heads.into(),
            self.padded.into(),
            step.ring.into(),
        ];
        card.launch("rel_attention_append", [self.heads, b, 1], [128, 1], 0, &args);
        let out = card.put(&vec![UNTOUCHED; b * n * width]);
        let args: [Arg; 17] = [
            qkv.into(),
            keys.into(),
            values.into(),
            card.put(&self.positions).into(),
            self.count().into(),
            (self.farthest as i32).into(),
            card.put(&self.content_bias).into(),
            card.put(&self.position_bias).into(),
            rows.into(),
            out.into(),
            n.into(),
            self.heads.into(),
            self.padded.into(),
            step.ring.into(),
            self.left.into(),
            self.right.into(),
            (self.scale() as f32).into(),
        ];
        let shared = 16 * (step.ring + 8) * 4 + 2 * 16 * (self.padded | 16) * 2;
        card.launch("rel_attention", [n.div_ceil(16), self.heads, b], [128, 1], shared, &args);
        card.get(out)
    }

    /// One step of given streams, past and rings filled by the test: results, and pools afterwards.
    fn check(&self, name: &str, step: &Step<'_>, scale: f32) {
        let slots = step.parts.iter().map(|part| part.row.slot + 1).max().unwrap() as usize;
        let (mut keys, mut values) = (self.pool(slots, step.ring, 5), self.pool(slots, step.ring, 6));
        let past = self.fill(step, scale, &mut keys, &mut values);
        let (mut keys_after, mut values_after) = (keys.clone(), values.clone());
        for part in step.parts {
            for (t, qkv) in part.qkv.chunks(3 * self.width()).enumerate() {
                self.place(step.ring, part.row, t as i64, qkv, &mut keys_after, &mut values_after);
            }
        }
        let expected: Vec<_> = step.parts.iter().zip(&past).map(|(part, past)| self.expected(part, past)).collect();
        each(SOURCE, |card| {
            let (keys, values) = (card.put(&keys), card.put(&values));
            let out = self.run(card, step, keys, values);
            assert!(card.get::<f16>(keys) == keys_after, "{name}: keys");
            assert!(card.get::<f16>(values) == values_after, "{name}: values");
            for (b, (out, expected)) in out.chunks(step.n * self.width()).zip(&expected).enumerate() {
                for (i, (out, (expected, off))) in out.iter().zip(expected).enumerate() {
                    let (row, channel) = (i / self.width(), i % self.width());
                    close(
                        &format!("{name}, stream {b}, row {row}, channel {channel}"),
                        out.to_f64(),
                        *expected,
                        *off,
                    );
                }
                assert!(
                    out[expected.len()..].iter().all(|v| v.to_bits() == UNTOUCHED.to_bits()),
                    "{name}: rows beyond stream {b}'s"
                );
            }
        });
    }
}

fn clear<T: Copy>(rows: &mut [T], zero: T, depth: usize, padded: usize) {
    rows.chunks_mut(padded).for_each(|row| row[depth..].fill(zero));
}

fn row(slot: usize, ring: usize, past: usize, frames: usize) -> Row {
    Row {
        slot: slot as i32,
        given: [0, 0, frames as i32],
        ring: ring as i32,
        past: past as i32,
        ..Row::default()
    }
}

/// Streams at their start, with some past and with all of it, with the ring's end inside the new frames, inside the past and at
/// both ends, a stream with fewer frames and one with none, in any slots.
#[test]
fn live_steps_match_float64() {
    for (heads, depth) in [(2, 10), (1, 32), (2, 44), (3, 64), (1, 80), (1, 90), (1, 112), (1, 128)] {
        for n in [1, 2, 4, 7, 14] {
            let left = 21_usize;
            let ring = (left + n).next_multiple_of(16);
            let attention = Attention::new(heads, depth, left + n - 1, n - 1);
            let parts = [
                attention.part(3, 0, 0, n),
                attention.part(0, n, 5, n),
                attention.part(6, ring - 1, left, n),
                attention.part(2, ring - n, left, n),
                attention.part(7, 9, 0, 0),
                attention.part(5, 3, left, n.div_ceil(2)),
                attention.part(1, ring / 2, left.min(ring / 2), 1),
            ];
            attention.check(&format!("depth {depth}, {n} rows"), &Step { n, ring, parts: &parts }, 1.5);
        }
    }
}

#[test]
fn whole_utterances_match_float64() {
    let n = 101;
    let bounds = [(-1, -1), (20, 3), (5, -1), (-1, 2), (0, 0)];
    for (depth, bounds) in [10, 32, 64, 128].into_iter().flat_map(|depth| bounds.map(|bounds| (depth, bounds))) {
        let mut attention = Attention::new(1, depth, n - 1, n - 1);
        (attention.left, attention.right) = bounds;
        let parts = [attention.part(1, 0, 0, n), attention.part(0, 0, 0, 37), attention.part(2, 0, 0, 16)];
        let step = Step {
            n,
            ring: 112,
            parts: &parts,
        };
        attention.check(&format!("depth {depth}, {bounds:?}"), &step, 1.5);
    }
}

/// A long ring, barely and completely used.
#[test]
fn long_rings_match_float64() {
    for depth in [64, 128] {
        let attention = Attention::new(1, depth, 640, 20);
        let parts = [attention.part(0, 600, 626, 14), attention.part(1, 633, 10, 14)];
        attention.check(
            &format!("ring 640, depth {depth}"),
            &Step {
                n: 14,
                ring: 640,
                parts: &parts,
            },
            1.5,
        );
    }
}

/// Nothing but zeros (every frame weighs the same), scores far apart (one frame takes all), a single frame.
#[test]
fn extreme_values_match_float64() {
    for scale in [0.0, 40.0, 400.0] {
        let mut attention = Attention::new(2, 44, 40, 7);
        if scale == 0.0 {
            attention.content_bias.fill(0.0);
            attention.position_bias.fill(0.0);
        }
        let mut parts = [attention.part(0, 30, 25, 7), attention.part(1, 0, 0, 1), attention.part(2, 4, 4, 5)];
        for part in &mut parts {
            part.qkv = attention.rows(part.row.given[2] as usize, scale, part.row.slot as usize);
        }
        attention.check(
            &format!("scale {scale}"),
            &Step {
                n: 7,
                ring: 48,
                parts: &parts,
            },
            scale.max(1.0),
        );
    }
}

/// Values at the limit of f16 do not turn into anything that is not a number.
#[test]
fn the_greatest_values_stay_finite() {
    let attention = Attention::new(1, 64, 32, 7);
    let mut parts = [attention.part(0, 4, 4, 7)];
    let mut noise = Noise::new(3);
    parts[0]
        .qkv
        .iter_mut()
        .for_each(|v| *v = if noise.next() < 0.0 { f16::MIN } else { f16::MAX });
    let step = Step {
        n: 7,
        ring: 16,
        parts: &parts,
    };
    each(SOURCE, |card| {
        let pool = vec![f16::MAX; attention.width() * step.ring];
        let (keys, values) = (card.put(&pool), card.put(&pool));
        let out = attention.run(card, &step, keys, values);
        assert!(out.iter().all(|v| v.is_finite()));
    });
}

/// A stream fed in pieces over several turns of the ring, alone and in a crowd whose seats, slots and row counts differ: the
/// bits are the same at each step, and the results are those of the frames that it may see.
#[test]
fn a_stream_has_the_same_bits_alone_and_in_a_crowd() {
    let (left, ring, seats) = (20, 32, 4);
    let attention = Attention::new(2, 44, left + 14, 14);
    let width = attention.width();
    let lengths = [7, 1, 2, 7, 7, 4, 7, 7, 7, 3];
    let rows = attention.rows(lengths.iter().sum(), 2.0, 99);
    let mut wanted = Vec::new();
    let mut first = 0;
    for length in lengths {
        let past = first.min(left);
        let part = Part {
            row: row(0, first % ring, past, length),
            qkv: rows[first * 3 * width..(first + length) * 3 * width].to_vec(),
        };
        wanted.push((
            attention.expected(&part, &rows[(first - past) * 3 * width..first * 3 * width]),
            part,
        ));
        first += length;
    }
    each(SOURCE, |card| {
        let pool = |slots| attention.pool(slots, ring, 8);
        let (keys, values) = (card.put(&pool(1)), card.put(&pool(1)));
        let (crowd_keys, crowd_values) = (card.put(&pool(seats + 1)), card.put(&pool(seats + 1)));
        for (i, (expected, part)) in wanted.iter().enumerate() {
            let alone = Step {
                n: lengths[i],
                ring,
                parts: std::slice::from_ref(part),
            };
            let alone = attention.run(card, &alone, keys, values);
            for (j, (v, (expected, off))) in alone.iter().zip(expected).enumerate() {
                close(&format!("step {i}, value {j}"), v.to_f64(), *expected, *off);
            }
            let slot = |part: &Part, slot: i32| Part {
                row: Row { slot, ..part.row },
                qkv: part.qkv.clone(),
            };
            let mut parts: Vec<Part> = (0..seats)
                .map(|s| attention.part(s + usize::from(s >= 2), (i * 7 + s) % ring, s * 6, s * 3))
                .collect();
            parts.insert(i % (seats + 1), slot(part, 2));
            let crowd = Step {
                n: 14,
                ring,
                parts: &parts,
            };
            let crowd = attention.run(card, &crowd, crowd_keys, crowd_values);
            let mine = &crowd[i % (seats + 1) * 14 * width..][..alone.len()];
            assert!(mine.iter().zip(&alone).all(|(a, b)| a.to_bits() == b.to_bits()), "step {i}");
        }
    });
}
