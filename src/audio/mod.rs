//! Audio intake: a client's bytes to mono samples at the model's rate, speech activity, model chunks.
//!
//! What it does: [`intake`] queues bytes, strips or sniffs the container, decodes, mixes or splits channels and resamples; [`container`]
//! and [`packets`] decode what is compressed; [`vad`] marks speech; [`chunker`] cuts the sample stream into what the model takes at a time.
//! What it does not do: keep a clock, wait for bytes. Codecs without a decoder are recognised and refused by name.
//! Who calls it: live sessions and file jobs.
//!
//! The samples never depend on how the bytes were split into messages: decoding and resampling always work on blocks of the
//! same size counted from the beginning of the stream.

pub mod au;
pub mod chunker;
mod coded;
pub mod container;
pub mod encoding;
mod frames;
pub mod g711;
pub mod intake;
pub mod packets;
pub mod pcm;
mod queue;
mod quicktime;
pub mod resample;
pub mod sniff;
pub mod vad;
pub mod wav;

pub use chunker::Chunker;
pub use encoding::Encoding;
pub use intake::{AudioSpec, Intake};
pub use vad::{Vad, VadEvent};

/// Most channels that one stream or file may have (contract: 20 with `multichannel`).
pub const MAX_CHANNELS: u16 = 20;

/// Why audio cannot be taken. Cloneable, since a failed [`Intake`] repeats its error on every later call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AudioError {
    /// The format is recognised, but there is no decoder for it.
    #[error("{format} audio is not supported")]
    Unsupported {
        /// Name of the codec or container.
        format: &'static str,
    },
    /// No encoding has this name.
    #[error("unknown encoding {name:?}")]
    UnknownEncoding {
        /// The name as given.
        name: String,
    },
    /// The bytes are no audio that we know.
    #[error("the payload could not be decoded as audio: {reason}")]
    Undecodable {
        /// What was expected or found.
        reason: &'static str,
    },
    /// The WAV container is broken or outside the limits.
    #[error("the payload could not be decoded as audio: {0}")]
    Wav(#[from] wav::WavError),
    /// Input without an encoding ended before its first byte.
    #[error("no audio was received")]
    Empty,
    /// Headerless audio needs its rate from the caller.
    #[error("encoding {encoding} needs a sample rate")]
    MissingRate {
        /// The encoding's name.
        encoding: &'static str,
    },
    /// The rate is outside what is accepted.
    #[error("sample rate {rate} is not between {min} and {max} hz")]
    Rate {
        /// The rate asked for, in hertz.
        rate: u32,
        /// Lowest accepted, in hertz.
        min: u32,
        /// Highest accepted, in hertz.
        max: u32,
    },
    /// The number of channels is outside what is accepted.
    #[error("{channels} channels are not between 1 and {MAX_CHANNELS}")]
    Channels {
        /// The channels asked for.
        channels: u16,
    },
    /// What decoding needs of this machine could not be had: a thread, or room on disk.
    #[error("{what} could not be had to decode the audio")]
    Unavailable {
        /// What was wanting.
        what: &'static str,
    },
    /// The resampler refused its parameters or a block: a fault of ours, not of the input.
    #[error("resampler: {reason}")]
    Resampler {
        /// The resampler's own words.
        reason: String,
    },
}
