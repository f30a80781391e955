//! A client's bytes to samples at 16 kHz per lane, live or from a file.
//!
//! What it does: queues bytes as they come ([`Intake::push`]), and only when asked ([`Intake::pull`]) finds the container, decodes,
//! mixes or splits channels and resamples, so that memory stays in proportion to what was pushed. A lane is one recognised
//! channel. What it does not do: input or output, waiting, model chunks. Who calls it: live sessions and file jobs.
//!
//! The samples are the same, bit for bit, however the bytes were split into messages and however much each pull asked for.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

use super::encoding::Encoding;
use super::pcm::{self, PcmFormat};
use super::resample::Resampler;
use super::sniff::{self, Container, SNIFF_BYTES};
use super::wav::{WavError, WavHeader};
use super::{AudioError, MAX_CHANNELS};
use crate::units::Hz;

/// Lowest rate of headerless audio (contract 3.2).
pub const MIN_RATE: Hz = Hz(8_000);
/// Highest rate of headerless audio (contract 3.2).
pub const MAX_RATE: Hz = Hz(48_000);

/// Frames decoded at a time at 16 kHz, where the resampler sets no block; bounds the scratch space.
const PASS_THROUGH_FRAMES: usize = 160;

/// Messages below this many bytes are copied together in the queue.
const SHORT_MESSAGE: usize = 1_024;

/// What the client says about its audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioSpec {
    /// How headerless audio is stored; none means a container, recognised by its first bytes.
    pub encoding: Option<Encoding>,
    /// Frames per second of headerless audio; ignored for a container.
    pub rate: Option<Hz>,
    /// Interleaved channels of headerless audio; ignored for a container.
    pub channels: u16,
    /// One lane per channel instead of one for their mean.
    pub multichannel: bool,
}

/// How far the input has been understood.
#[derive(Debug)]
enum State {
    /// Waiting for the first bytes of a container.
    Sniff,
    /// Headerless audio whose first bytes may be a WAV header that has to be dropped.
    RawStart(PcmFormat),
    /// Inside the WAV header; `raw` is the declared format of audio that should have had none.
    Header { header: Box<WavHeader>, raw: Option<PcmFormat> },
    /// Decoding; `left` counts the bytes of samples to come, if known.
    Samples { decoder: Box<Decoder>, left: Option<u64> },
    /// After the end of the samples, or of the input: whatever comes is dropped.
    Ended { format: PcmFormat },
    /// After an error, which every later call repeats.
    Failed(AudioError),
}

/// Samples to lanes.
#[derive(Debug)]
struct Decoder {
    format: PcmFormat,
    resampler: Resampler,
    scratch: Vec<u8>,
}

/// The intake of one stream or file.
#[derive(Debug)]
pub struct Intake {
    multichannel: bool,
    queue: Queue,
    state: State,
}

impl Intake {
    /// An intake for audio as `spec` describes it.
    ///
    /// # Errors
    /// Headerless audio without a rate, with a rate outside 8 to 48 kHz, or with no or too many channels.
    pub fn new(spec: AudioSpec) -> Result<Self, AudioError> {
        let state = match spec.encoding {
            None => State::Sniff,
            Some(encoding) => {
                let rate = spec.rate.ok_or(AudioError::MissingRate { encoding: encoding.name() })?;
                if rate < MIN_RATE || rate > MAX_RATE {
                    return Err(AudioError::Rate {
                        rate: rate.0,
                        min: MIN_RATE.0,
                        max: MAX_RATE.0,
                    });
                }
                if spec.channels == 0 || spec.channels > MAX_CHANNELS {
                    return Err(AudioError::Channels { channels: spec.channels });
                }
                State::RawStart(PcmFormat {
                    sample: encoding.sample_format(),
                    channels: spec.channels,
                    rate,
                })
            }
        };
        Ok(Intake {
            multichannel: spec.multichannel,
            queue: Queue::default(),
            state,
        })
    }

    /// Queues bytes; nothing is decoded. After the end or an error they are dropped.
    pub fn push(&mut self, bytes: Bytes) {
        if !matches!(self.state, State::Ended { .. } | State::Failed(_)) {
            self.queue.push(bytes);
        }
    }

    /// Undecoded bytes held.
    pub fn buffered_bytes(&self) -> usize {
        self.queue.len
    }

    /// Channels of the input, once known: at once for headerless audio, after the header otherwise.
    pub fn channels(&self) -> Option<u16> {
        self.format().map(|format| format.channels)
    }

    /// Frames per second of the input, known when [`Intake::channels`] is.
    pub fn rate(&self) -> Option<Hz> {
        self.format().map(|format| format.rate)
    }

    /// Lanes of the output, known when [`Intake::channels`] is: 1, or the number of channels with `multichannel`.
    pub fn lanes(&self) -> Option<usize> {
        self.format().map(|format| lanes(format, self.multichannel))
    }

    /// Decodes until about `max_samples` samples (at most one resampler block more, 20 ms) were appended to each `out[lane]`,
    /// or the bytes run out. `out` is lengthened to [`Intake::lanes`] vectors. Returns the samples appended to each lane; 0 for a
    /// positive `max_samples` means that more bytes are needed, or that the end was reached.
    ///
    /// # Errors
    /// The input is no audio that can be decoded. Every later call gives the same error.
    pub fn pull(&mut self, max_samples: usize, out: &mut Vec<Vec<f32>>) -> Result<usize, AudioError> {
        self.guarded(|intake| intake.advance(max_samples, out))
    }

    /// End of input: decodes what is queued (all of it, so pull first where that may be much) and the resampler's tail. A
    /// partial frame at the end is dropped. Over the whole input each lane has got exactly `round(frames * 16000 / rate)` samples.
    /// Further calls append nothing.
    ///
    /// # Errors
    /// As [`Intake::pull`]; also [`AudioError::Empty`] if a container was expected and no byte came, and an error for a header that
    /// ends early. A whole header without samples is no error.
    pub fn finish(&mut self, out: &mut Vec<Vec<f32>>) -> Result<usize, AudioError> {
        self.guarded(|intake| {
            intake.end_of_head()?;
            let mut appended = intake.advance(usize::MAX, out)?;
            appended += intake.end(out)?;
            intake.queue.clear();
            Ok(appended)
        })
    }

    fn format(&self) -> Option<PcmFormat> {
        match &self.state {
            State::RawStart(format) | State::Header { raw: Some(format), .. } | State::Ended { format } => Some(*format),
            State::Samples { decoder, .. } => Some(decoder.format),
            State::Sniff | State::Header { raw: None, .. } | State::Failed(_) => None,
        }
    }

    /// Runs `step`; an error is kept, and the queue emptied.
    fn guarded(&mut self, step: impl FnOnce(&mut Self) -> Result<usize, AudioError>) -> Result<usize, AudioError> {
        if let State::Failed(error) = &self.state {
            return Err(error.clone());
        }
        step(self).inspect_err(|error| {
            self.state = State::Failed(error.clone());
            self.queue.clear();
        })
    }

    /// Goes through the states as far as the bytes and `max_samples` allow.
    fn advance(&mut self, max_samples: usize, out: &mut Vec<Vec<f32>>) -> Result<usize, AudioError> {
        loop {
            match &mut self.state {
                State::Sniff => {
                    let head = self.queue.head(SNIFF_BYTES);
                    if head.len() < SNIFF_BYTES {
                        return Ok(0);
                    }
                    self.state = recognise(&head)?;
                }
                State::RawStart(format) => {
                    let (format, head) = (*format, self.queue.head(SNIFF_BYTES));
                    if !sniff::may_be_wav(&head) {
                        self.start(format, None)?;
                    } else if head.len() < SNIFF_BYTES {
                        return Ok(0);
                    } else {
                        self.state = State::Header {
                            header: Box::default(),
                            raw: Some(format),
                        };
                    }
                }
                State::Header { header, raw } => {
                    while !header.is_complete() && !self.queue.is_empty() {
                        let taken = header.feed(self.queue.front()).map_err(wav_error)?;
                        self.queue.advance(taken);
                    }
                    if !header.is_complete() {
                        return Ok(0);
                    }
                    // Of headerless audio the caller knows more than the header (contract 3.2: skip it), its length included.
                    let (format, left) = match *raw {
                        Some(format) => (format, None),
                        None => (header.format().map_err(wav_error)?, header.data_bytes()),
                    };
                    self.start(format, left)?;
                }
                State::Samples { decoder, left } => {
                    let lanes = lanes(decoder.format, self.multichannel);
                    if out.len() < lanes {
                        out.resize_with(lanes, Vec::new);
                    }
                    let appended = decoder.decode(&mut self.queue, left, max_samples, out)?;
                    if *left == Some(0) {
                        return Ok(appended.saturating_add(self.end(out)?));
                    }
                    return Ok(appended);
                }
                State::Ended { .. } => {
                    self.queue.clear();
                    return Ok(0);
                }
                State::Failed(error) => return Err(error.clone()),
            }
        }
    }

    /// Begins to decode.
    fn start(&mut self, format: PcmFormat, left: Option<u64>) -> Result<(), AudioError> {
        let resampler = Resampler::new(format.rate, lanes(format, self.multichannel))?;
        let frame = u64::try_from(format.frame_bytes()).unwrap_or(1).max(1);
        let left = left.map(|bytes| bytes - bytes % frame);
        self.state = State::Samples {
            decoder: Box::new(Decoder {
                format,
                resampler,
                scratch: Vec::new(),
            }),
            left,
        };
        Ok(())
    }

    /// The input has ended: decides what was still open at its beginning.
    fn end_of_head(&mut self) -> Result<(), AudioError> {
        match &self.state {
            State::Sniff if self.queue.is_empty() => Err(AudioError::Empty),
            State::Sniff if self.queue.len < SNIFF_BYTES => {
                let head = self.queue.head(SNIFF_BYTES);
                Err(if sniff::may_be_wav(&head) {
                    AudioError::Wav(WavError::Truncated)
                } else {
                    recognise(&head).err().unwrap_or(AudioError::Wav(WavError::Truncated))
                })
            }
            State::RawStart(format) if self.queue.len < SNIFF_BYTES => self.start(*format, None),
            _ => Ok(()),
        }
    }

    /// Ends the samples: the resampler's tail.
    fn end(&mut self, out: &mut [Vec<f32>]) -> Result<usize, AudioError> {
        match &mut self.state {
            State::Samples { decoder, .. } => {
                let appended = decoder.resampler.finish(out)?;
                self.state = State::Ended { format: decoder.format };
                Ok(appended)
            }
            State::Header { .. } => Err(AudioError::Wav(WavError::Truncated)),
            _ => Ok(0),
        }
    }
}

impl Decoder {
    /// Decodes block by block until `max_samples` are appended or the whole frames of the queue, or of `left`, are used up.
    fn decode(&mut self, queue: &mut Queue, left: &mut Option<u64>, max_samples: usize, out: &mut [Vec<f32>]) -> Result<usize, AudioError> {
        let frame_bytes = self.format.frame_bytes().max(1);
        let mut appended = 0_usize;
        while appended < max_samples {
            let room = left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
            let ready = queue.len.min(room) / frame_bytes;
            let wanted = self.resampler.frames_wanted(PASS_THROUGH_FRAMES.min(max_samples - appended));
            let frames = ready.min(wanted);
            if frames == 0 {
                break;
            }
            self.scratch.clear();
            queue.take(frames * frame_bytes, &mut self.scratch);
            if let Some(left) = left {
                *left = left.saturating_sub(u64::try_from(self.scratch.len()).unwrap_or(u64::MAX));
            }
            pcm::decode(&self.scratch, self.format, self.resampler.staging());
            appended += self.resampler.run(out)?;
        }
        Ok(appended)
    }
}

/// The state that follows from a container's first bytes.
fn recognise(head: &[u8]) -> Result<State, AudioError> {
    match sniff::container(head) {
        Container::Wav => Ok(State::Header {
            header: Box::default(),
            raw: None,
        }),
        Container::Other(format) => Err(AudioError::Unsupported { format }),
        Container::Unknown => Err(AudioError::Undecodable {
            reason: "the first bytes belong to no known container",
        }),
    }
}

fn wav_error(error: WavError) -> AudioError {
    match error {
        WavError::UnsupportedCodec { codec } => AudioError::Unsupported { format: codec },
        other => AudioError::Wav(other),
    }
}

fn lanes(format: PcmFormat, multichannel: bool) -> usize {
    if multichannel { usize::from(format.channels) } else { 1 }
}

/// Bytes in the order they came. Long messages are kept as they are; short ones are copied together, since a message of one byte
/// would otherwise cost some seventy, and the limit on undecoded bytes would bound nothing.
#[derive(Debug, Default)]
struct Queue {
    pieces: VecDeque<Bytes>,
    /// Short messages, after all of `pieces`.
    tail: BytesMut,
    len: usize,
}

impl Queue {
    fn push(&mut self, bytes: Bytes) {
        self.len += bytes.len();
        if bytes.len() < SHORT_MESSAGE {
            self.tail.extend_from_slice(&bytes);
            return;
        }
        if !self.tail.is_empty() {
            self.pieces.push_back(self.tail.split().freeze());
        }
        self.pieces.push_back(bytes);
    }

    fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first bytes in one piece; none only if the queue is empty.
    fn front(&self) -> &[u8] {
        self.pieces.front().map_or(&self.tail, |piece| piece)
    }

    /// A copy of the first `count` bytes, or of all there are.
    fn head(&self, count: usize) -> Vec<u8> {
        self.pieces.iter().flatten().chain(&self.tail).take(count).copied().collect()
    }

    /// Drops the first `count` bytes.
    fn advance(&mut self, count: usize) {
        let mut count = count.min(self.len);
        self.len -= count;
        while let Some(piece) = self.pieces.front_mut() {
            let part = piece.len().min(count);
            piece.advance(part);
            count -= part;
            if !piece.is_empty() {
                return;
            }
            self.pieces.pop_front();
        }
        self.tail.advance(count.min(self.tail.len()));
    }

    /// Moves the first `count` bytes, or all there are, to the end of `into`.
    fn take(&mut self, count: usize, into: &mut Vec<u8>) {
        let mut missing = count.min(self.len);
        while missing > 0 {
            let front = self.front();
            let part = front.len().min(missing);
            into.extend_from_slice(front.get(..part).unwrap_or(front));
            self.advance(part);
            missing -= part;
        }
    }

    fn clear(&mut self) {
        *self = Queue::default();
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic
)]
mod tests;
