//! The only types that other modules exchange with the scheduler's actor.

use std::sync::Arc;
use std::time::Duration;

use actix::Message;

use super::admission::Refusal;
use super::core::{Class, Piece};
use crate::engine::batch::Decoded;
use crate::units::{KeyId, StreamId};

/// A finished chunk, for the owner of its stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Completed {
    /// Which of the stream's chunks.
    pub seq: u64,
    /// What was decoded; `None` if the engine failed and the stream has lost its slot.
    pub decoded: Option<Decoded>,
    /// How long the step ended after the chunk was due.
    pub late: Duration,
}

/// Takes results without waiting; false if it cannot, which costs the stream its slot.
pub type Sink = Arc<dyn Fn(Completed) -> bool + Send + Sync>;

/// Asks for a slot.
#[derive(Message)]
#[rtype(result = "Result<StreamId, Refusal>")]
pub struct Register {
    /// Live or file.
    pub class: Class,
    /// Index of the context that the stream will use throughout.
    pub context: usize,
    /// On whose behalf.
    pub key: KeyId,
    /// Where results go.
    pub sink: Sink,
}

/// Brings a stream's next audio.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Push {
    /// Whose.
    pub stream: StreamId,
    /// The audio.
    pub piece: Piece,
}
