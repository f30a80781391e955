//! The engine on a GPU: audio of many slots to tokens, the network and its heads on the device, the search's rest on the host.
//!
//! The same contract as `engine::neural`: a chunk must belong to its slot's occupant, and what a stream gives has the same bits
//! in any batch and any slot. Audio crosses to the device as 16-bit samples. Who calls it: `engine::worker`.

use std::sync::Arc;

use super::batch::{Batch, Decoded};
use super::slots::{Occupant, Slots};
use super::{Engine, EngineError};
use crate::gpu::GpuError;
use crate::model::decode::{DecodeInput, DecodeState, Decoder, Heard};
use crate::model::device::{DeviceError, DeviceInput, DeviceNetwork};
use crate::model::network::NetworkError;

/// Network and decoder of one model on one device.
pub struct CudaEngine {
    network: DeviceNetwork,
    decoder: Arc<Decoder>,
    slots: Slots<DecodeState>,
    /// False if chunks are whole utterances.
    streams: bool,
}

impl CudaEngine {
    /// An engine with as many slots as the network has; `utterances` slots if the network keeps no state between steps.
    pub fn new(network: DeviceNetwork, decoder: Arc<Decoder>, utterances: u32, streams: bool) -> Self {
        let count = if streams {
            u32::try_from(network.slots()).unwrap_or(u32::MAX)
        } else {
            utterances
        };
        CudaEngine {
            slots: Slots::new(count, || decoder.new_state()),
            network,
            decoder,
            streams,
        }
    }
}

impl Engine for CudaEngine {
    fn slots(&self) -> u32 {
        self.slots.count()
    }

    fn step(&mut self, batch: &Batch) -> Result<Vec<Decoded>, EngineError> {
        let (network, decoder, streams) = (&mut self.network, &self.decoder, self.streams);
        self.slots
            .with(&batch.chunks, |occupants| run(network, decoder, streams, batch, occupants))
    }
}

fn run(
    network: &mut DeviceNetwork,
    decoder: &Decoder,
    streams: bool,
    batch: &Batch,
    occupants: &mut [Occupant<DecodeState>],
) -> Result<Vec<Decoded>, EngineError> {
    if !streams && !batch.chunks.iter().all(|chunk| chunk.start && chunk.end) {
        return Err(refused(NetworkError::NotStreaming(batch.context).into()));
    }
    let mut work = Vec::with_capacity(batch.chunks.len());
    for (chunk, occupant) in batch.chunks.iter().zip(occupants.iter_mut()) {
        if chunk.start {
            occupant.state.reset();
        }
        work.push(DeviceInput {
            slot: usize::try_from(chunk.slot.index).unwrap_or(usize::MAX),
            samples: &chunk.samples,
            start: chunk.start,
            end: chunk.end,
            prompt: decoder.prompt(&occupant.state),
        });
    }
    let mut results = vec![Decoded::default(); batch.chunks.len()];
    let settle = |stream: usize, heard: Heard<'_>| {
        if let (Some(chunk), Some(occupant), Some(decoded)) = (batch.chunks.get(stream), occupants.get_mut(stream), results.get_mut(stream))
        {
            let mut input = DecodeInput {
                state: &mut occupant.state,
                rows: &[],
                commit: chunk.commit,
                end: chunk.end,
                decoded,
            };
            decoder.settle(&mut input, heard);
        }
    };
    network.step(batch.context, &work, settle).map_err(refused)?;
    Ok(results)
}

fn refused(error: DeviceError) -> EngineError {
    match error {
        DeviceError::Network(NetworkError::NoSuchContext(context)) => EngineError::NoSuchContext(context),
        DeviceError::Gpu(error @ GpuError::Driver(_)) => EngineError::Device(error.to_string()),
        error => EngineError::Network(error.to_string()),
    }
}
