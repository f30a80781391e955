//! What goes into a session and what comes out of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::error::CloseReason;
use crate::terms::Terms;
use crate::units::Millis;
use crate::wire::models::ModelRef;
use crate::wire::results::ServerMessage;

/// What a stream is called.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamInfo {
    /// The request's id.
    pub request_id: Uuid,
    /// When it came, RFC 3339.
    pub created: String,
    /// The model that runs.
    pub model: ModelRef,
    /// The engine can favour terms with that model.
    pub favours: bool,
    /// The language model that the request chose, by its place among those of the model.
    pub lm: Option<usize>,
    /// What it hears is English.
    pub english: bool,
}

/// The numbers that rule live streams.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LiveRules {
    /// Right context of the model in frames; a chunk is one frame more.
    pub right: u32,
    /// Chunks of one lane that may be with the engine at once.
    pub credits: usize,
    /// Undecoded bytes at which the client is not read any more; at half of them it is read again.
    pub undecoded_bytes: usize,
    /// Audio between interim results.
    pub interim_step: Millis,
    /// A segment longer than this is made final at the next end of a word.
    pub soft_final: Millis,
    /// No final covers more than this.
    pub hard_final: Millis,
    /// The stream ends when no frame comes for this long.
    pub idle: Duration,
    /// The stream ends when no audio has come this long after it began.
    pub no_audio: Duration,
    /// The stream ends when the engine does not answer for this long.
    pub response: Duration,
}

impl Default for LiveRules {
    /// The compatible values, for a model with one frame of look-ahead.
    fn default() -> Self {
        Self {
            right: 1,
            credits: 4,
            undecoded_bytes: 256 << 10,
            interim_step: Millis(1_000),
            soft_final: Millis(5_000),
            hard_final: Millis(10_000),
            idle: Duration::from_secs(10),
            no_audio: Duration::from_secs(60),
            response: Duration::from_secs(30),
        }
    }
}

/// Audio for the engine.
#[derive(Clone, Debug, PartialEq)]
pub struct PendingChunk {
    /// Position among the lane's chunks, from 0.
    pub seq: u64,
    /// Mono at 16 kHz; fewer samples than a whole chunk, perhaps none, only if `end`.
    pub samples: Vec<f32>,
    /// First of an utterance.
    pub start: bool,
    /// Last of an utterance.
    pub end: bool,
    /// A pause ends here.
    pub commit: bool,
    /// Terms that are favoured from here on.
    pub terms: Option<Arc<Terms>>,
    /// The language model that the request chose.
    pub lm: Option<usize>,
    /// When its last byte arrived.
    pub arrived: Instant,
}

/// What the shell has to do.
#[expect(clippy::large_enum_variant, reason = "most effects are messages, a few a second")]
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Send a text frame.
    Send(ServerMessage),
    /// Hand a chunk to the engine.
    Submit {
        /// Whose.
        lane: usize,
        /// What.
        chunk: PendingChunk,
    },
    /// Begin or stop reading the socket. Reading is on at first.
    Read(bool),
    /// This many lanes will submit chunks; comes once, before the first chunk.
    OpenLanes(usize),
    /// Send a close frame; nothing follows.
    Close(CloseReason),
    /// A result for a chunk was sent this long after the chunk's last byte arrived.
    ObserveLatency {
        /// Seconds.
        seconds: f64,
    },
}
