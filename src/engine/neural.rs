//! The engine over a real model: audio of many slots to tokens.
//!
//! What it does: owns network, decoder and the state of every slot, checks that each chunk belongs to the slot's occupant, and
//! runs one step of all chunks together. A model that hears only whole utterances is served too: a chunk must then bring the
//! utterance from start to end.
//! What it does not do: choose what runs together or when. Who calls it: `engine::worker`.

use std::sync::Arc;

use super::batch::{Batch, Chunk, Decoded, Slot};
use super::{Engine, EngineError};
use crate::model::decode::{DecodeInput, DecodeState, Decoder};
use crate::model::network::{Network, NetworkError, Scratch, StepInput};
use crate::model::state::StreamState;

/// Network and decoder of one model with a fixed number of slots.
pub struct NeuralEngine {
    network: Arc<Network>,
    decoder: Arc<Decoder>,
    /// Empty only while its occupant is part of a running step.
    slots: Vec<Option<Occupant>>,
    scratch: Scratch,
}

/// What one slot holds.
struct Occupant {
    /// `None` until the first start.
    generation: Option<u32>,
    stream: StreamState,
    decode: DecodeState,
}

impl NeuralEngine {
    /// Makes the slots; all memory that their streams need is taken here.
    pub fn new(network: Arc<Network>, decoder: Arc<Decoder>, slots: u32) -> Self {
        let occupant = || Occupant {
            generation: None,
            stream: network.new_state(),
            decode: decoder.new_state(),
        };
        let slots = (0..slots).map(|_| Some(occupant())).collect();
        NeuralEngine {
            network,
            decoder,
            slots,
            scratch: Scratch::default(),
        }
    }

    /// The place of a slot's occupant.
    fn place(&mut self, slot: Slot) -> Result<&mut Option<Occupant>, EngineError> {
        let slots = self.slots();
        let index = usize::try_from(slot.index).unwrap_or(usize::MAX);
        self.slots
            .get_mut(index)
            .ok_or(EngineError::NoSuchSlot { index: slot.index, slots })
    }

    /// Takes the occupants of all chunks out of their slots, in order. On an error those taken so far are in `taken`.
    fn take(&mut self, chunks: &[Chunk], taken: &mut Vec<Occupant>) -> Result<(), EngineError> {
        for Chunk { slot, start, .. } in chunks {
            let place = self.place(*slot)?;
            let occupant = place
                .as_ref()
                .ok_or_else(|| EngineError::Network(format!("slot {} is twice in the step", slot.index)))?;
            if !start && occupant.generation != Some(slot.generation) {
                let held = occupant.generation.unwrap_or_default();
                return Err(EngineError::StaleGeneration {
                    index: slot.index,
                    held,
                    asked: slot.generation,
                });
            }
            taken.extend(place.take());
        }
        Ok(())
    }

    fn run(&mut self, batch: &Batch, occupants: &mut [Occupant]) -> Result<Vec<Decoded>, EngineError> {
        let mut streams = Vec::with_capacity(occupants.len());
        let mut decodes = Vec::with_capacity(occupants.len());
        for (occupant, chunk) in occupants.iter_mut().zip(&batch.chunks) {
            let Occupant {
                generation,
                stream,
                decode,
            } = occupant;
            if chunk.start {
                *generation = Some(chunk.slot.generation);
                decode.reset();
            }
            streams.push(StepInput {
                state: stream,
                samples: &chunk.samples,
                start: chunk.start,
                end: chunk.end,
            });
            decodes.push(decode);
        }
        let whole;
        let rows: Vec<&[f32]> = if self.network.streams_in(batch.context) {
            self.network
                .step(batch.context, &mut streams, &mut self.scratch)
                .map_err(refused)?
                .streams()
                .collect()
        } else {
            whole = utterances(&self.network, batch)?;
            whole.iter().map(Vec::as_slice).collect()
        };
        let mut results = vec![Decoded::default(); batch.chunks.len()];
        let inputs = decodes.into_iter().zip(rows).zip(&batch.chunks).zip(&mut results);
        let mut inputs: Vec<DecodeInput<'_>> = inputs
            .map(|(((state, rows), chunk), decoded)| DecodeInput {
                state,
                rows,
                commit: chunk.commit,
                end: chunk.end,
                decoded,
            })
            .collect();
        self.decoder.advance(&mut inputs);
        Ok(results)
    }
}

/// Encoder frames of whole utterances, one chunk each.
fn utterances(network: &Network, batch: &Batch) -> Result<Vec<Vec<f32>>, EngineError> {
    let contexts = &network.architecture().encoder.contexts;
    let context = *contexts.get(batch.context).ok_or(EngineError::NoSuchContext(batch.context))?;
    let encode = |chunk: &Chunk| {
        if !(chunk.start && chunk.end) {
            return Err(refused(NetworkError::NotStreaming(batch.context)));
        }
        network.offline(&chunk.samples, context, None).map_err(refused)
    };
    batch.chunks.iter().map(encode).collect()
}

fn refused(error: NetworkError) -> EngineError {
    match error {
        NetworkError::NoSuchContext(context) => EngineError::NoSuchContext(context),
        error => EngineError::Network(error.to_string()),
    }
}

impl Engine for NeuralEngine {
    fn slots(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(u32::MAX)
    }

    fn step(&mut self, batch: &Batch) -> Result<Vec<Decoded>, EngineError> {
        // The whole step runs inside the pool: its many small parallel parts then start without a hand-over.
        rayon::scope(|_| {
            let mut occupants = Vec::with_capacity(batch.chunks.len());
            let result = match self.take(&batch.chunks, &mut occupants) {
                Ok(()) => self.run(batch, &mut occupants),
                Err(error) => Err(error),
            };
            for (occupant, chunk) in occupants.into_iter().zip(&batch.chunks) {
                *self.place(chunk.slot)? = Some(occupant);
            }
            result
        })
    }
}

#[cfg(test)]
#[path = "neural_tests.rs"]
mod tests;
