//! The fixed places for stream state, and who occupies them.
//!
//! What it does: checks that each chunk belongs to its slot's occupant, lends the states of a step out together, and takes them
//! back. What it does not do: know what a state is. Who calls it: the engines.

use super::EngineError;
use super::batch::{Chunk, Slot};

/// States of type `S` by slot.
#[derive(Debug)]
pub(super) struct Slots<S> {
    /// Empty only while its occupant is part of a running step.
    places: Vec<Option<Occupant<S>>>,
}

/// What one slot holds.
#[derive(Debug)]
pub(super) struct Occupant<S> {
    /// `None` until the first start.
    generation: Option<u32>,
    /// Its state.
    pub(super) state: S,
}

impl<S> Slots<S> {
    /// `count` slots with fresh states.
    pub(super) fn new(count: u32, mut fresh: impl FnMut() -> S) -> Self {
        let mut occupant = || Occupant {
            generation: None,
            state: fresh(),
        };
        Slots {
            places: (0..count).map(|_| Some(occupant())).collect(),
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.places.len()).unwrap_or(u32::MAX)
    }

    /// Runs `step` over the occupants of all chunks, in order, who are back in their slots afterwards whatever came of it. A chunk
    /// that starts an utterance makes its stream the occupant.
    pub(super) fn with<R>(
        &mut self,
        chunks: &[Chunk],
        step: impl FnOnce(&mut [Occupant<S>]) -> Result<R, EngineError>,
    ) -> Result<R, EngineError> {
        let mut occupants = Vec::with_capacity(chunks.len());
        let result = match self.take(chunks, &mut occupants) {
            Ok(()) => step(&mut occupants),
            Err(error) => Err(error),
        };
        for (occupant, chunk) in occupants.into_iter().zip(chunks) {
            *self.place(chunk.slot)? = Some(occupant);
        }
        result
    }

    /// Takes the occupants of all chunks out of their slots, in order. On an error those taken so far are in `taken`.
    fn take(&mut self, chunks: &[Chunk], taken: &mut Vec<Occupant<S>>) -> Result<(), EngineError> {
        for Chunk { slot, start, .. } in chunks {
            let place = self.place(*slot)?;
            let occupant = place
                .as_mut()
                .ok_or_else(|| EngineError::Network(format!("slot {} is twice in the step", slot.index)))?;
            if *start {
                occupant.generation = Some(slot.generation);
            } else if occupant.generation != Some(slot.generation) {
                return Err(EngineError::StaleGeneration {
                    index: slot.index,
                    held: occupant.generation.unwrap_or_default(),
                    asked: slot.generation,
                });
            }
            taken.extend(place.take());
        }
        Ok(())
    }

    /// The place of a slot's occupant.
    fn place(&mut self, slot: Slot) -> Result<&mut Option<Occupant<S>>, EngineError> {
        let slots = self.count();
        let index = usize::try_from(slot.index).unwrap_or(usize::MAX);
        self.places
            .get_mut(index)
            .ok_or(EngineError::NoSuchSlot { index: slot.index, slots })
    }
}
