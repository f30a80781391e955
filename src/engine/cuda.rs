//! The engine on a GPU: audio of many slots to tokens, the network and its heads on the device, the search's rest on the host.
//!
//! The same contract as `engine::neural`: a chunk must belong to its slot's occupant, and what a stream gives has the same bits
//! in any batch and any slot. Audio crosses to the device as 16-bit samples. Who calls it: `engine::worker`.

use std::sync::Arc;

use super::batch::{Batch, Decoded};
use super::slots::{Occupant, Slots};
use super::{Engine, EngineError};
use crate::gpu::GpuError;
use crate::model::decode::{DecodeInput, DecodeState, Decoder};
use crate::model::device::{DeviceError, DeviceInput, DeviceNetwork};
use crate::model::network::NetworkError;

/// Network and decoder of one model on one device.
pub struct CudaEngine {
    network: DeviceNetwork,
    decoder: Arc<Decoder>,
    slots: Slots<DecodeState>,
}

impl CudaEngine {
    /// An engine with as many slots as the network has; `utterances` slots if the network keeps no state between steps.
    pub fn new(network: DeviceNetwork, decoder: Arc<Decoder>, utterances: u32) -> Self {
        let count = if network.streams() {
            u32::try_from(network.slots()).unwrap_or(u32::MAX)
        } else {
            utterances
        };
        CudaEngine {
            slots: Slots::new(count, || decoder.new_state()),
            network,
            decoder,
        }
    }
}

impl Engine for CudaEngine {
    fn slots(&self) -> u32 {
        self.slots.count()
    }

    fn step(&mut self, batch: &Batch) -> Result<Vec<Decoded>, EngineError> {
        let (network, decoder, slots) = (&mut self.network, &self.decoder, &mut self.slots);
        // The parallel parts of the step, before and after the device's, then start without a hand-over.
        rayon::scope(|_| slots.with(&batch.chunks, |occupants| run(network, decoder, batch, occupants)))
    }
}

fn run(
    network: &mut DeviceNetwork,
    decoder: &Decoder,
    batch: &Batch,
    occupants: &mut [Occupant<DecodeState>],
) -> Result<Vec<Decoded>, EngineError> {
    let mut work = Vec::with_capacity(batch.chunks.len());
    let mut results = vec![Decoded::default(); batch.chunks.len()];
    let mut inputs: Vec<DecodeInput<'_>> = Vec::with_capacity(batch.chunks.len());
    for ((chunk, occupant), decoded) in batch.chunks.iter().zip(occupants).zip(&mut results) {
        if chunk.start {
            decoder.start(&mut occupant.state, chunk.lm);
        }
        work.push(DeviceInput {
            slot: usize::try_from(chunk.slot.index).unwrap_or(usize::MAX),
            samples: &chunk.samples,
            start: chunk.start,
            end: chunk.end,
            prompt: decoder.prompt(&occupant.state),
        });
        inputs.push(DecodeInput {
            state: &mut occupant.state,
            rows: &[],
            commit: chunk.commit,
            end: chunk.end,
            terms: chunk.terms.as_ref(),
            decoded,
        });
    }
    network
        .step(batch.context, &work, &mut inputs, |input, heard| decoder.settle(input, heard))
        .map_err(refused)?;
    Ok(results)
}

fn refused(error: DeviceError) -> EngineError {
    match error {
        DeviceError::Network(NetworkError::NoSuchContext(context)) => EngineError::NoSuchContext(context),
        DeviceError::Gpu(error @ GpuError::Driver(_)) => EngineError::Device(error.to_string()),
        error => EngineError::Network(error.to_string()),
    }
}
