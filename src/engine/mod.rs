//! The engine: steps batches of chunks through a model.
//!
//! [`Engine`] is the whole contract between scheduling and compute. Implementations: [`neural::NeuralEngine`] (a real
//! model on the processor), `cuda::CudaEngine` (on a GPU) and [`scripted::ScriptedEngine`] (deterministic, for tests). [`worker`] owns an engine on one thread.

#[cfg(feature = "cuda")]
pub mod cuda;
mod help;
pub mod neural;
pub mod open;
pub mod scripted;
pub mod served;
mod slots;
mod warm_up;
pub mod worker;

use thiserror::Error;

#[cfg(feature = "cuda")]
pub use self::open::settings;
pub use hark_pure::engine::{batch, cost};

pub use self::open::{Choice, Device, LmChoice, Opened, open};

use self::batch::{Batch, Decoded};

/// Steps batches of chunks; owned by exactly one thread.
pub trait Engine: Send {
    /// Fixed places for stream state; a slot index is below this.
    fn slots(&self) -> u32;

    /// Runs one step. The result has one entry for each chunk, in the same order. An entry is the same to the bit
    /// whatever else is in the batch and whatever slot it uses.
    fn step(&mut self, batch: &Batch) -> Result<Vec<Decoded>, EngineError>;
}

/// A step could not be run. The engine's slots that were part of the batch must not be used further.
#[derive(Debug, Error)]
pub enum EngineError {
    /// A chunk names a slot that does not exist.
    #[error("slot {index} does not exist, the engine has {slots}")]
    NoSuchSlot {
        /// Index asked for.
        index: u32,
        /// Slots there are.
        slots: u32,
    },
    /// A chunk continues an utterance of another occupant of its slot.
    #[error("slot {index} holds generation {held}, the chunk is of generation {asked}")]
    StaleGeneration {
        /// Index of the slot.
        index: u32,
        /// Generation held by the engine.
        held: u32,
        /// Generation the chunk names.
        asked: u32,
    },
    /// The context index is not one of the model's.
    #[error("context {0} does not exist")]
    NoSuchContext(usize),
    /// The device failed; nothing more can be computed on it.
    #[error("the device failed: {0}")]
    Device(String),
    /// The network refused the step.
    #[error("the network refused the step: {0}")]
    Network(String),
}
