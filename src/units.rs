//! Units of audio time, as types, so that samples, frames and milliseconds cannot be mixed up.
//!
//! What it does: wraps the integers, converts between them with the rounding named in the method.
//! What it does not do: floating-point seconds, except at the wire ([`Samples::seconds`]).

use std::fmt;

/// The rate at which every model of this family listens.
pub const MODEL_RATE: Hz = Hz(16_000);
/// Samples at [`MODEL_RATE`] in one encoder frame (80 ms: hop 160 x subsampling 8).
pub const SAMPLES_PER_FRAME: u64 = 1_280;

/// A sampling rate in samples per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hz(pub u32);

/// A count of samples, or a position on a stream's own sample clock, at [`MODEL_RATE`] unless said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Samples(pub u64);

/// A span of time in whole milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u32);

/// A count of encoder frames of 80 ms, or a position in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frames(pub u32);

/// Names one live stream or one file job in the scheduler; never reused within a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// Names the holder of an API key in the scheduler: its place in the configuration's list; 0 where there are no keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub u32);

impl Samples {
    /// Seconds at [`MODEL_RATE`]; exact for every stream shorter than 17,000 years.
    #[expect(clippy::as_conversions, reason = "the one place where the sample clock becomes seconds")]
    pub fn seconds(self) -> f64 {
        self.0 as f64 / f64::from(MODEL_RATE.0)
    }

    /// `self - other`, zero if `other` is later.
    pub fn since(self, other: Samples) -> Samples {
        Samples(self.0.saturating_sub(other.0))
    }

    /// `self + other`, saturating.
    pub fn plus(self, other: Samples) -> Samples {
        Samples(self.0.saturating_add(other.0))
    }
}

impl Millis {
    /// Samples at [`MODEL_RATE`] (16 for each millisecond, exact).
    pub fn samples(self) -> Samples {
        Samples(u64::from(self.0) * 16)
    }
}

impl Frames {
    /// The sample at which this frame begins, at [`MODEL_RATE`].
    pub fn samples(self) -> Samples {
        Samples(u64::from(self.0) * SAMPLES_PER_FRAME)
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
