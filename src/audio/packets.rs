//! Opus packets without a container, one a message, to frames at 16 kHz.
//!
//! What it does: queues packets, decodes them one by one, and fills in what is broken as lost (RFC 6716, section 4.4). What it does not do:
//! order them. Who calls it: [`super::intake`].

use std::collections::VecDeque;

use bytes::Bytes;
use opus::{Channels, Decoder};

use super::AudioError;
use super::container::Frames;
use crate::units::MODEL_RATE;

/// Frames of the longest packet, 120 ms at 16 kHz.
const LONGEST: usize = 1_920;
/// Packets in a row that may be broken.
const BROKEN: usize = 50;
/// What a packet counts beside its bytes.
const OVERHEAD: usize = 32;

/// Packets of one stream.
pub struct Packets {
    decoder: Decoder,
    channels: u16,
    waiting: VecDeque<Bytes>,
    bytes: usize,
    /// Frames of the last packet, as many as a broken one is filled in with.
    last: usize,
    broken: usize,
}

impl std::fmt::Debug for Packets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packets")
            .field("channels", &self.channels)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl Packets {
    /// For packets of one or two channels.
    ///
    /// # Errors
    /// Other numbers of channels; the codec refuses to begin.
    pub fn new(channels: u16) -> Result<Self, AudioError> {
        let layout = match channels {
            1 => Channels::Mono,
            2 => Channels::Stereo,
            channels => return Err(AudioError::Channels { channels }),
        };
        let decoder = Decoder::new(MODEL_RATE.0, layout).map_err(|_| AudioError::Unsupported { format: "opus" })?;
        Ok(Self {
            decoder,
            channels,
            waiting: VecDeque::new(),
            bytes: 0,
            last: LONGEST / 6,
            broken: 0,
        })
    }

    /// Queues a packet.
    pub fn push(&mut self, packet: Bytes) {
        self.bytes += packet.len() + OVERHEAD;
        self.waiting.push_back(packet);
    }

    /// Bytes that wait, with what it takes to keep them.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Decodes the next packet, if there is one.
    ///
    /// # Errors
    /// Too many packets in a row are broken, or the very first.
    pub fn decode_next(&mut self) -> Result<Option<Frames>, AudioError> {
        let Some(packet) = self.waiting.pop_front() else { return Ok(None) };
        self.bytes = self.bytes.saturating_sub(packet.len() + OVERHEAD);
        let channels = usize::from(self.channels);
        let mut samples = vec![0.0; LONGEST * channels];
        let frames = match self.decoder.decode_float(&packet, &mut samples, false) {
            Ok(frames) => {
                (self.last, self.broken) = (frames, 0);
                frames
            }
            Err(_) if self.broken < BROKEN => {
                self.broken += 1;
                samples.truncate(self.last * channels);
                self.decoder.decode_float(&[], &mut samples, false).unwrap_or(self.last)
            }
            Err(_) => {
                return Err(AudioError::Undecodable {
                    reason: "too many messages in a row are no opus packets",
                });
            }
        };
        samples.truncate(frames * channels);
        Ok(Some(Frames {
            channels: self.channels,
            rate: MODEL_RATE,
            samples,
        }))
    }
}
