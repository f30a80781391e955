//! The engine over a real model: audio of many slots to tokens.
//!
//! What it does: owns network, decoder and the state of every slot, checks that each chunk belongs to the slot's occupant, and
//! runs one step of all chunks together. A model that hears only whole utterances is served too: a chunk must then bring the
//! utterance from start to end.
//! What it does not do: choose what runs together or when. Who calls it: `engine::worker`.

use std::sync::Arc;

use rayon::ThreadPool;

use super::batch::{Batch, Chunk, Decoded};
use super::slots::{Occupant, Slots};
use super::{Engine, EngineError};
use crate::model::decode::{DecodeInput, DecodeState, Decoder};
use crate::model::network::{Network, NetworkError, Scratch, StepInput};
use crate::model::state::StreamState;

/// Network and decoder of one model with a fixed number of slots.
pub struct NeuralEngine {
    network: Arc<Network>,
    decoder: Arc<Decoder>,
    slots: Slots<State>,
    scratch: Scratch,
    /// The threads that compute; those of the whole process if none.
    pool: Option<ThreadPool>,
}

/// What one slot holds.
struct State {
    stream: StreamState,
    decode: DecodeState,
}

impl NeuralEngine {
    /// Makes the slots; all memory that their streams need is taken here.
    pub fn new(network: Arc<Network>, decoder: Arc<Decoder>, slots: u32) -> Self {
        let fresh = || State {
            stream: network.new_state(),
            decode: decoder.new_state(),
        };
        NeuralEngine {
            slots: Slots::new(slots, fresh),
            network,
            decoder,
            scratch: Scratch::default(),
            pool: None,
        }
    }

    /// Computes on the threads of `pool` instead of on all of the process.
    #[must_use]
    pub fn on(mut self, pool: ThreadPool) -> Self {
        self.pool = Some(pool);
        self
    }
}

fn run(
    network: &Network,
    decoder: &Decoder,
    scratch: &mut Scratch,
    batch: &Batch,
    occupants: &mut [Occupant<State>],
) -> Result<Vec<Decoded>, EngineError> {
    let mut streams = Vec::with_capacity(occupants.len());
    let mut decodes = Vec::with_capacity(occupants.len());
    for (occupant, chunk) in occupants.iter_mut().zip(&batch.chunks) {
        let State { stream, decode } = &mut occupant.state;
        if chunk.start {
            decoder.start(decode, chunk.lm);
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
    let rows: Vec<&[f32]> = if network.streams_in(batch.context) {
        network
            .step(batch.context, &mut streams, scratch)
            .map_err(refused)?
            .streams()
            .collect()
    } else {
        whole = utterances(network, batch)?;
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
            terms: chunk.terms.as_ref(),
            decoded,
        })
        .collect();
    decoder.advance(&mut inputs);
    Ok(results)
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
        self.slots.count()
    }

    fn step(&mut self, batch: &Batch) -> Result<Vec<Decoded>, EngineError> {
        let (network, decoder, scratch) = (&self.network, &self.decoder, &mut self.scratch);
        let slots = &mut self.slots;
        let mut step = || slots.with(&batch.chunks, |occupants| run(network, decoder, scratch, batch, occupants));
        // The whole step runs inside the pool: its many small parallel parts then start without a hand-over.
        match &self.pool {
            Some(pool) => pool.install(step),
            None => rayon::scope(|_| step()),
        }
    }
}

#[cfg(test)]
#[path = "neural_tests.rs"]
mod tests;
