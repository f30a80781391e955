//! Compressed audio on its way from its decoder to the lanes.
//!
//! What it does: asks for frames as samples are wanted, feeds the decoder from the queue, deals frames out to the lanes and resamples. What it does
//! not do: know containers or codecs ([`super::container`], [`super::packets`]). Who calls it: [`super::intake`].

use bytes::Bytes;

use super::AudioError;
use super::container::{Container, End, Frames, Step};
use super::packets::Packets;
use super::pcm;
use super::queue::Queue;
use super::resample::Resampler;
use crate::units::Hz;

/// Bytes given to the reader of a container at a time; few, so that what it holds back is little.
const FEED_BYTES: usize = 4_096;
/// Frames dealt out at a time at 16 kHz, where the resampler sets no block.
const DEAL_FRAMES: usize = 1_024;

/// What decodes frames that the client has compressed.
#[derive(Debug)]
pub(super) enum Coded {
    /// The reader of a container.
    Container(Container),
    /// Packets without one.
    Packets(Packets),
}

/// Channels and rate of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) channels: u16,
    pub(super) rate: Hz,
}

/// Decoded frames on their way to the lanes.
#[derive(Debug)]
pub(super) struct Sound {
    pub(super) shape: Shape,
    pub(super) resampler: Resampler,
    /// Interleaved.
    frames: Vec<f32>,
    /// Values of `frames` that are used up.
    used: usize,
}

impl Coded {
    /// Decodes until `max_samples` are appended or the bytes are used up.
    pub(super) fn decode(
        &mut self,
        sound: &mut Option<Box<Sound>>,
        queue: &mut Queue,
        closed: bool,
        multichannel: bool,
        max_samples: usize,
        out: &mut Vec<Vec<f32>>,
    ) -> Result<usize, AudioError> {
        let mut appended = 0_usize;
        while appended < max_samples {
            if let Some(sound) = sound.as_mut().filter(|sound| sound.has_frames()) {
                let lanes = lanes(sound.shape.channels, multichannel);
                if out.len() < lanes {
                    out.resize_with(lanes, Vec::new);
                }
                appended += sound.run(max_samples - appended, out)?;
                continue;
            }
            let frames = match self {
                Coded::Packets(packets) => packets.decode_next()?,
                Coded::Container(reader) => match reader.step()? {
                    Step::Frames(frames) => Some(frames),
                    Step::Ended(_) => None,
                    Step::Hungry if !queue.is_empty() => {
                        reader.feed(queue.some(FEED_BYTES));
                        continue;
                    }
                    Step::Hungry if closed => {
                        reader.feed(Bytes::new());
                        continue;
                    }
                    Step::Hungry => None,
                },
            };
            let Some(frames) = frames else { break };
            match sound {
                Some(sound) => sound.take(frames)?,
                None => *sound = Some(Box::new(Sound::new(frames, multichannel)?)),
            }
        }
        Ok(appended)
    }

    /// How the sound has ended; none as long as there may be more.
    pub(super) fn end(&self) -> Option<End> {
        match self {
            Coded::Packets(_) => None,
            Coded::Container(reader) => reader.end(),
        }
    }
}

impl Sound {
    fn new(frames: Frames, multichannel: bool) -> Result<Self, AudioError> {
        let shape = Shape {
            channels: frames.channels,
            rate: frames.rate,
        };
        Ok(Self {
            shape,
            resampler: Resampler::new(shape.rate, lanes(shape.channels, multichannel))?,
            frames: frames.samples,
            used: 0,
        })
    }

    fn has_frames(&self) -> bool {
        self.used < self.frames.len()
    }

    /// The next frames, when those before are used up.
    fn take(&mut self, frames: Frames) -> Result<(), AudioError> {
        let Shape { channels, rate } = self.shape;
        if (frames.channels, frames.rate) != (channels, rate) {
            return Err(AudioError::Unsupported {
                format: "changing channels or rates in",
            });
        }
        (self.frames, self.used) = (frames.samples, 0);
        Ok(())
    }

    /// Deals out frames until `max_samples` are appended or they are used up.
    fn run(&mut self, max_samples: usize, out: &mut [Vec<f32>]) -> Result<usize, AudioError> {
        let channels = usize::from(self.shape.channels.max(1));
        let mut appended = 0_usize;
        while appended < max_samples && self.has_frames() {
            let wanted = self.resampler.frames_wanted(DEAL_FRAMES.min(max_samples - appended)).max(1);
            let end = self.frames.len().min(self.used + wanted * channels);
            pcm::deal(
                self.frames.get(self.used..end).unwrap_or_default(),
                self.shape.channels,
                self.resampler.staging(),
            );
            self.used = end;
            appended += self.resampler.run(out)?;
        }
        Ok(appended)
    }
}

/// Lanes of an input with so many channels.
pub(super) fn lanes(channels: u16, multichannel: bool) -> usize {
    if multichannel { usize::from(channels) } else { 1 }
}
