//! The plain data that passes between the scheduler and the engine: no tensors, no actors.

use std::sync::Arc;

use crate::terms::Terms;
use crate::units::{Frames, StreamId};

/// Where a stream's state lives in the engine, and which occupant of that place is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    /// Index into the engine's fixed slots.
    pub index: u32,
    /// Grows with every new occupant, so that a late result never reaches the next one.
    pub generation: u32,
}

/// A recognised piece of the vocabulary with its place and certainty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Token {
    /// Id in the model's vocabulary.
    pub id: u32,
    /// First encoder frame, counted from the start of the utterance (see [`Chunk::start`]).
    pub start: Frames,
    /// One past the last encoder frame.
    pub end: Frames,
    /// 0 to 1.
    pub confidence: f32,
}

/// One unit of work: the next audio of one stream.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// Whose audio this is.
    pub stream: StreamId,
    /// Where its state lives.
    pub slot: Slot,
    /// Position among the stream's chunks, from 0.
    pub seq: u64,
    /// Mono f32 at 16 kHz. Enough for exactly `right + 1` more encoder frames, fewer only if `end`.
    pub samples: Vec<f32>,
    /// First chunk of an utterance: the slot's state is cleared before the step; frames count from 0 again.
    pub start: bool,
    /// Last chunk of an utterance: what is buffered is completed with zeros and decoded, everything is fixed.
    pub end: bool,
    /// Fix the best hypothesis after this chunk: a pause ends here.
    pub commit: bool,
    /// Terms that the search favours from this chunk on, if any.
    pub terms: Option<Arc<Terms>>,
    /// Language model that helps the search, by its place among those to choose from; none: what helps the others. That of the first
    /// chunk of an utterance counts.
    pub lm: Option<usize>,
}

/// Chunks that go through the network together; all use the same context.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Index into the model's list of contexts.
    pub context: usize,
    /// At most one chunk of each stream.
    pub chunks: Vec<Chunk>,
}

/// What one chunk gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decoded {
    /// Tokens that will not change any more, in order; they follow those of earlier steps.
    pub fixed: Vec<Token>,
    /// Best guess for what follows the fixed tokens; replaced by the next step.
    pub tail: Vec<Token>,
    /// Encoder frames of this utterance decoded so far.
    pub frames: Frames,
    /// Frames at which the model itself marked the end of an utterance.
    pub utterance_ends: Vec<Frames>,
}
