//! An engine without a model: it says a scripted word every few frames. For tests of everything around the engine.

use std::time::Duration;

use super::batch::{Batch, Chunk, Decoded, Slot, Token};
use super::{Engine, EngineError};
use crate::units::{Frames, SAMPLES_PER_FRAME};

/// Says token `1 + (frame / every) % vocabulary` at each frame divisible by `every` in which there is sound.
#[derive(Debug)]
pub struct ScriptedEngine {
    slots: Vec<Occupant>,
    every: u32,
    vocabulary: u32,
    step_time: Duration,
}

#[derive(Clone, Debug, Default)]
struct Occupant {
    generation: u32,
    samples: Vec<f32>,
    frames: u32,
}

impl ScriptedEngine {
    /// An engine with `slots` places that says a token every `every` frames and takes `step_time` for a step.
    pub fn new(slots: u32, every: u32, vocabulary: u32, step_time: Duration) -> Self {
        let occupants = (0..slots).map(|_| Occupant::default()).collect();
        Self {
            slots: occupants,
            every: every.max(1),
            vocabulary: vocabulary.max(1),
            step_time,
        }
    }

    fn occupant(&mut self, slot: Slot, start: bool) -> Result<&mut Occupant, EngineError> {
        let slots = self.slots();
        let index = usize::try_from(slot.index).unwrap_or(usize::MAX);
        let occupant = self
            .slots
            .get_mut(index)
            .ok_or(EngineError::NoSuchSlot { index: slot.index, slots })?;
        if start {
            *occupant = Occupant {
                generation: slot.generation,
                ..Occupant::default()
            };
        } else if occupant.generation != slot.generation {
            return Err(EngineError::StaleGeneration {
                index: slot.index,
                held: occupant.generation,
                asked: slot.generation,
            });
        }
        Ok(occupant)
    }

    fn decode(&mut self, chunk: &Chunk) -> Result<Decoded, EngineError> {
        let (every, vocabulary) = (self.every, self.vocabulary);
        let occupant = self.occupant(chunk.slot, chunk.start)?;
        occupant.samples.extend_from_slice(&chunk.samples);
        let per_frame = usize::try_from(SAMPLES_PER_FRAME).unwrap_or(usize::MAX);
        let mut decoded = Decoded::default();
        while occupant.samples.len() >= per_frame || (chunk.end && !occupant.samples.is_empty()) {
            let frame: Vec<f32> = occupant.samples.drain(..per_frame.min(occupant.samples.len())).collect();
            let loud = frame.iter().any(|sample| sample.abs() > 0.01);
            if loud && occupant.frames.is_multiple_of(every) {
                let id = 1 + (occupant.frames / every) % vocabulary;
                let (start, end) = (Frames(occupant.frames), Frames(occupant.frames + 1));
                decoded.fixed.push(Token {
                    id,
                    start,
                    end,
                    confidence: 0.9,
                });
            }
            occupant.frames += 1;
        }
        decoded.frames = Frames(occupant.frames);
        Ok(decoded)
    }
}

impl Engine for ScriptedEngine {
    fn slots(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(u32::MAX)
    }

    #[expect(clippy::disallowed_methods, reason = "stands for compute on the engine's own thread")]
    fn step(&mut self, batch: &Batch) -> Result<Vec<Decoded>, EngineError> {
        if !self.step_time.is_zero() {
            std::thread::sleep(self.step_time);
        }
        batch.chunks.iter().map(|chunk| self.decode(chunk)).collect()
    }
}
