//! What a new engine's steps cost: every size of step is run and timed before anybody waits for one.
//!
//! What it does: babbles to the engine in every context and size (whole windows to a model without streaming), so that nothing is slow the first
//! time either. What it does not do: know devices. The costs are tracked from here on by the scheduler. Who calls it: [`super::open()`].

use std::time::{Duration, Instant};

use super::batch::{Batch, Chunk, Slot};
use super::cost::{BUCKETS, CostTable};
use super::open::OpenError;
use super::{Engine, EngineError};
use crate::model::arch::Encoder;
use crate::units::{SAMPLES_PER_FRAME, StreamId};

/// How often each size of step is timed.
const ROUNDS: usize = 5;

/// Steps every context at every bucket size, so that nothing is slow the first time, and keeps the middle one of five times, taken in rounds over
/// all sizes: a moment in which the machine was slow must not become the price of a size. Every step is of the streams whose turn was longest
/// ago, as in service: their state lies in no cache.
pub(super) fn warm_up(engine: &mut dyn Engine, encoder: &Encoder, max_batch: usize) -> Result<CostTable, OpenError> {
    let mut cost = CostTable::linear(encoder.contexts.len(), Duration::from_millis(10));
    let slots = engine.slots().max(1);
    let largest = max_batch.min(usize::try_from(slots).unwrap_or(usize::MAX));
    // Four times the largest step is more than caches hold; a GPU may have very many slots.
    let slots = slots.min(u32::try_from(largest.saturating_mul(4)).unwrap_or(u32::MAX));
    for (context, [_, right]) in encoder.contexts.iter().enumerate() {
        let frames = u64::try_from(*right).unwrap_or(0) + 1;
        let samples = usize::try_from(frames * SAMPLES_PER_FRAME).unwrap_or(0);
        let mut turn = Turn {
            next: 0,
            slots,
            context,
            samples,
            seq: 0,
        };
        while turn.seq == 0 {
            let rest = usize::try_from(slots - turn.next).unwrap_or(usize::MAX);
            turn.step(engine, largest.min(rest))?;
        }
        let mut times = [[Duration::ZERO; ROUNDS]; BUCKETS.len()];
        for round in 0..ROUNDS {
            for (times, &size) in times.iter_mut().zip(&BUCKETS).filter(|(_, size)| **size <= largest) {
                let took = turn.step(engine, size)?;
                times.iter_mut().skip(round).take(1).for_each(|time| *time = took);
            }
        }
        let mut per_chunk = Duration::ZERO;
        for (bucket, (mut times, &size)) in times.into_iter().zip(&BUCKETS).enumerate() {
            if size > largest {
                cost.set(context, bucket, per_chunk * u32::try_from(size).unwrap_or(u32::MAX));
                continue;
            }
            times.sort_unstable();
            let took = times.get(ROUNDS / 2).copied().unwrap_or_default();
            cost.set(context, bucket, took);
            per_chunk = took / u32::try_from(size).unwrap_or(1);
        }
    }
    Ok(cost)
}

/// Steps all slots of an engine in turn.
struct Turn {
    next: u32,
    slots: u32,
    context: usize,
    samples: usize,
    /// Of the chunk that slot `next` is to get; the slots before it have had one more.
    seq: u64,
}

impl Turn {
    /// A step of the next `size` slots.
    fn step(&mut self, engine: &mut dyn Engine, size: usize) -> Result<Duration, EngineError> {
        let chunks = (0..size).map(|_| self.chunk()).collect();
        let batch = Batch {
            context: self.context,
            chunks,
        };
        let began = Instant::now();
        engine.step(&batch)?;
        Ok(began.elapsed())
    }

    fn chunk(&mut self) -> Chunk {
        // The first chunk of an utterance is shorter: it makes up for the front end's delay.
        let samples = if self.seq == 0 { self.samples - 1_080 } else { self.samples };
        let chunk = babble(self.next, samples, self.seq);
        self.next += 1;
        if self.next >= self.slots {
            self.next = 0;
            self.seq += 1;
        }
        chunk
    }
}

/// A model without streaming is timed on windows of ten seconds: one, and on a device that takes many together as many as `most` at
/// once; batches between and above are thought to scale.
pub(super) fn guess(engine: &mut dyn Engine, contexts: usize, most: usize) -> Result<CostTable, OpenError> {
    let window = |slot| Chunk {
        start: true,
        end: true,
        ..babble(slot, 160_000, 0)
    };
    let mut timed = |size: usize| -> Result<Duration, EngineError> {
        let slots = 0..u32::try_from(size).unwrap_or(1);
        let chunks = slots.map(window).collect();
        let began = Instant::now();
        engine.step(&Batch { context: 0, chunks })?;
        Ok(began.elapsed())
    };
    let mut cost = CostTable::linear(contexts, timed(1)? * 2);
    let mut per_chunk = Duration::ZERO;
    for (bucket, &size) in BUCKETS.iter().enumerate().filter(|_| most > 1) {
        let took = if size <= most {
            timed(size)?.max(timed(size)?)
        } else {
            per_chunk * u32::try_from(size).unwrap_or(u32::MAX)
        };
        (0..contexts).for_each(|context| cost.set(context, bucket, took));
        per_chunk = took / u32::try_from(size).unwrap_or(1);
    }
    Ok(cost)
}

/// A chunk of babble for slot `slot`; the first of an utterance if `seq` is 0. Decoding costs more the more a sound is like speech, so it
/// has what makes speech: the pulses of a voice, through two resonances that move from syllable to syllable, and a hiss between.
fn babble(slot: u32, samples: usize, seq: u64) -> Chunk {
    // A quarter of a second, at 16 kHz.
    const SYLLABLE: usize = 4_000;
    let mut state = 0x2545_f491_u32 ^ slot.wrapping_mul(0x9e37_79b9) ^ u32::try_from(seq).unwrap_or(0).wrapping_mul(0x85eb_ca6b);
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from(u16::try_from(state >> 16).unwrap_or(0)) / 65_536.0
    };
    let mut resonances = [[0.0_f32; 2]; 2];
    let mut memory = [[0.0_f32; 2]; 2];
    let sample = |n: usize| {
        if n.is_multiple_of(SYLLABLE) {
            resonances = [300.0 + 500.0 * random(), 900.0 + 1_500.0 * random()].map(resonator);
        }
        let source = match n % SYLLABLE {
            within if within > SYLLABLE * 4 / 5 => 0.1 * (random() - 0.5),
            within if within.is_multiple_of(130) => 0.3,
            _ => 0.0,
        };
        resonances.iter().zip(&mut memory).fold(source, |input, ([a, b], [last, before])| {
            let output = input + a * *last + b * *before;
            *before = std::mem::replace(last, output);
            output * 0.3
        })
    };
    let samples = (0..samples).map(sample).collect();
    Chunk {
        stream: StreamId(0),
        slot: Slot {
            index: slot,
            generation: 0,
        },
        seq,
        samples,
        start: seq == 0,
        end: false,
        commit: false,
        terms: None,
        lm: None,
    }
}

/// The two coefficients of a resonance at `hertz`, 80 Hz wide, at 16 kHz (Klatt, 1980).
fn resonator(hertz: f32) -> [f32; 2] {
    use std::f32::consts::PI;
    let radius = (-PI * 80.0 / 16_000.0).exp();
    [2.0 * radius * (2.0 * PI * hertz / 16_000.0).cos(), -radius * radius]
}
