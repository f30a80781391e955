//! A client's bytes to samples at 16 kHz per lane, live or from a file.
//!
//! What it does: queues bytes as they come ([`Intake::push`]), and only when asked ([`Intake::pull`]) finds the container, decodes,
//! mixes or splits channels and resamples, so that memory stays in proportion to what was pushed. A lane is one recognised
//! channel. What it does not do: input or output, waiting, model chunks. Who calls it: live sessions and file jobs.
//!
//! The samples are the same, bit for bit, however the bytes were split into messages and however much each pull asked for.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};

use bytes::Bytes;

use self::decoder::Decoder;
use super::au::{self, AuHeader};
use super::coded::{Coded, Shape, Sound, lanes};
use super::container::{Container as Reader, End, FILE_HELD, Format, LIVE_HELD, Source};
use super::encoding::{Encoding, Form};
use super::frames::{self, SEARCHED};
use super::packets::Packets;
use super::pcm::PcmFormat;
use super::queue::Queue;
use super::resample::Resampler;
use super::sniff::{self, Container, SNIFF_BYTES};
use super::wav::{WavError, WavHeader};
use super::{AudioError, MAX_CHANNELS};
use crate::units::Hz;

mod decoder;

/// Lowest rate of headerless audio (contract 3.2).
pub const MIN_RATE: Hz = Hz(8_000);
/// Highest rate of headerless audio (contract 3.2).
pub const MAX_RATE: Hz = Hz(48_000);

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
    /// The input is a file that comes as a whole, so that what it begins with may stand at its end.
    pub whole: bool,
}

/// How far the input has been understood.
#[derive(Debug)]
enum State {
    /// Waiting for the first bytes of a container; `opus`: of one with Opus in it.
    Sniff { opus: bool },
    /// Headerless audio whose first bytes may be a WAV header that has to be dropped.
    RawStart(PcmFormat),
    /// Inside the WAV header; `raw` is the declared format of audio that should have had none.
    Header { header: Box<WavHeader>, raw: Option<PcmFormat> },
    /// Inside the header of an AU file, whose fixed part may have come.
    Au(Option<AuHeader>),
    /// Decoding; `left` counts the bytes of samples to come, if known.
    Samples { decoder: Box<Decoder>, left: Option<u64> },
    /// Collecting a container whose index may stand at its end.
    Spool { file: File, format: Format },
    /// Decoding a container, or packets.
    Coded { source: Coded, sound: Option<Box<Sound>> },
    /// After the end of the samples, or of the input: whatever comes is dropped.
    Ended { shape: Shape },
    /// After an error, which every later call repeats.
    Failed(AudioError),
}

/// The intake of one stream or file.
#[derive(Debug)]
pub struct Intake {
    multichannel: bool,
    whole: bool,
    queue: Queue,
    state: State,
    /// No more bytes will come.
    closed: bool,
}

impl Intake {
    /// An intake for audio as `spec` describes it.
    ///
    /// # Errors
    /// Headerless audio without a rate, with a rate outside 8 to 48 kHz, or with no or too many channels.
    pub fn new(spec: AudioSpec) -> Result<Self, AudioError> {
        let state = match (spec.encoding, spec.encoding.map(Encoding::form)) {
            (Some(encoding), Some(Form::Samples(sample))) => {
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
                    sample,
                    channels: spec.channels,
                    rate,
                })
            }
            (_, Some(Form::Container(format))) => coded(format, Source::Pushed, spec.whole)?,
            (_, Some(Form::Packets)) if spec.whole => State::Sniff { opus: true },
            (_, Some(Form::Packets)) => State::Coded {
                source: Coded::Packets(Packets::new(spec.channels)?),
                sound: None,
            },
            (_, None) | (None, _) => State::Sniff { opus: false },
        };
        Ok(Intake {
            multichannel: spec.multichannel,
            whole: spec.whole,
            queue: Queue::default(),
            state,
            closed: false,
        })
    }

    /// Queues bytes; nothing is decoded. After the end or an error they are dropped.
    pub fn push(&mut self, bytes: Bytes) {
        if let State::Coded {
            source: Coded::Packets(packets),
            sound: None,
        } = &self.state
            && packets.bytes() == 0
            && let Some(format) = sniff::opus_container(&bytes)
        {
            // The first message is no packet: the client means what is in its container.
            self.state = coded(format, Source::Pushed, self.whole).unwrap_or_else(State::Failed);
        }
        match &mut self.state {
            State::Ended { .. } | State::Failed(_) => {}
            State::Coded {
                source: Coded::Packets(packets),
                ..
            } => packets.push(bytes),
            _ => self.queue.push(bytes),
        }
    }

    /// Says that no more bytes will come. What is left is pulled as before.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Undecoded bytes held.
    pub fn buffered_bytes(&self) -> usize {
        match &self.state {
            State::Coded {
                source: Coded::Packets(packets),
                ..
            } => packets.bytes(),
            _ => self.queue.len(),
        }
    }

    /// Channels of the input, once known: at once for headerless audio, after the header otherwise.
    pub fn channels(&self) -> Option<u16> {
        self.shape().map(|shape| shape.channels)
    }

    /// Frames per second of the input, known when [`Intake::channels`] is.
    pub fn rate(&self) -> Option<Hz> {
        self.shape().map(|shape| shape.rate)
    }

    /// Lanes of the output, known when [`Intake::channels`] is: 1, or the number of channels with `multichannel`.
    pub fn lanes(&self) -> Option<usize> {
        self.shape().map(|shape| lanes(shape.channels, self.multichannel))
    }

    /// Decodes until about `max_samples` samples (at most one resampler block more, 20 ms) were appended to each `out[lane]`,
    /// or the bytes run out. `out` is lengthened to [`Intake::lanes`] vectors. Returns the samples appended to each lane; 0 for a
    /// positive `max_samples` means that more bytes are needed, or, after [`Intake::close`], that the end was reached. Over the whole
    /// input each lane gets exactly `round(frames * 16000 / rate)` samples; a partial frame at the end is dropped.
    ///
    /// # Errors
    /// The input is no audio that can be decoded; after [`Intake::close`] also [`AudioError::Empty`] if a container was expected and no
    /// byte came, and an error for a header that ends early. A whole header without samples is no error. Every later call gives the same
    /// error.
    pub fn pull(&mut self, max_samples: usize, out: &mut Vec<Vec<f32>>) -> Result<usize, AudioError> {
        self.guarded(|intake| {
            if intake.closed {
                intake.end_of_head()?;
            }
            let appended = intake.advance(max_samples, out)?;
            if appended > 0 || !intake.closed {
                return Ok(appended);
            }
            let appended = intake.end(out)?;
            intake.queue.clear();
            Ok(appended)
        })
    }

    fn shape(&self) -> Option<Shape> {
        match &self.state {
            State::RawStart(format) | State::Header { raw: Some(format), .. } => Some(shape(*format)),
            State::Samples { decoder, .. } => Some(shape(decoder.format)),
            State::Coded { sound, .. } => sound.as_ref().map(|sound| sound.shape),
            State::Ended { shape } => Some(*shape),
            State::Sniff { .. } | State::Header { raw: None, .. } | State::Au(_) | State::Spool { .. } | State::Failed(_) => None,
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
                State::Sniff { opus } => {
                    let (opus, head) = (*opus, self.queue.head(SNIFF_BYTES));
                    if head.len() < SNIFF_BYTES {
                        return Ok(0);
                    }
                    // A live client that forgot to say what it sends is told at once.
                    if self.whole && !opus && sniff::container(&head) == Container::Unknown {
                        if self.queue.len() < SEARCHED && !self.closed {
                            return Ok(0);
                        }
                        self.state = self.search()?;
                        continue;
                    }
                    self.state = self.recognise(&head, opus)?;
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
                    if raw.is_none() && header.holds_mpeg() {
                        self.state = coded(Format::Mpeg, Source::Pushed, self.whole)?;
                        continue;
                    }
                    if raw.is_none()
                        && let Some(head) = header.adpcm().map_err(wav_error)?
                    {
                        self.queue.push_front(Bytes::from(head));
                        self.state = coded(Format::Wav, Source::Pushed, self.whole)?;
                        continue;
                    }
                    // Of headerless audio the caller knows more than the header (contract 3.2: skip it), its length included.
                    let (format, left) = match *raw {
                        Some(format) => (format, None),
                        None => (header.format().map_err(wav_error)?, header.data_bytes()),
                    };
                    self.start(format, left)?;
                }
                State::Au(None) => {
                    let head = self.queue.head(au::HEADER_BYTES);
                    if head.len() < au::HEADER_BYTES {
                        return Ok(0);
                    }
                    self.queue.advance(au::HEADER_BYTES);
                    self.state = State::Au(Some(au::header(&head)?));
                }
                State::Au(Some(header)) => {
                    let passed = self.queue.len().min(header.note);
                    self.queue.advance(passed);
                    header.note -= passed;
                    if header.note > 0 {
                        return Ok(0);
                    }
                    let AuHeader { format, data, .. } = *header;
                    self.start(format, data)?;
                }
                State::Samples { decoder, left } => {
                    let lanes = lanes(decoder.format.channels, self.multichannel);
                    if out.len() < lanes {
                        out.resize_with(lanes, Vec::new);
                    }
                    let appended = decoder.decode(&mut self.queue, left, max_samples, out)?;
                    if *left == Some(0) {
                        return Ok(appended.saturating_add(self.end(out)?));
                    }
                    return Ok(appended);
                }
                State::Spool { file, format } => {
                    while !self.queue.is_empty() {
                        let piece = self.queue.front();
                        file.write_all(piece).map_err(spool_error)?;
                        let taken = piece.len();
                        self.queue.advance(taken);
                    }
                    if !self.closed {
                        return Ok(0);
                    }
                    file.seek(SeekFrom::Start(0)).map_err(spool_error)?;
                    let (file, format) = (file.try_clone().map_err(spool_error)?, *format);
                    self.state = coded(format, Source::File(file), true)?;
                }
                State::Coded { source, sound } => {
                    let (queue, closed) = (&mut self.queue, self.closed);
                    let appended = source.decode(sound, queue, closed, self.multichannel, max_samples, out)?;
                    return match source.end() {
                        None => Ok(appended),
                        // All that a live client goes on to say would be lost without a word. A file gives what it holds up to there.
                        Some(End::Broken) if !self.whole => Err(AudioError::Undecodable {
                            reason: "the container breaks off",
                        }),
                        Some(_) => {
                            self.queue.clear();
                            Ok(appended.saturating_add(self.end(out)?))
                        }
                    };
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
        let resampler = Resampler::new(format.rate, lanes(format.channels, self.multichannel))?;
        let frame = u64::try_from(format.frame_bytes()).unwrap_or(1).max(1);
        let left = left.map(|bytes| bytes - bytes % frame);
        self.state = State::Samples {
            decoder: Box::new(Decoder::new(format, resampler)),
            left,
        };
        Ok(())
    }

    /// The input has ended: decides what was still open at its beginning.
    fn end_of_head(&mut self) -> Result<(), AudioError> {
        match &self.state {
            State::Sniff { .. } if self.queue.is_empty() => Err(AudioError::Empty),
            State::Sniff { opus } if self.queue.len() < SNIFF_BYTES => {
                let head = self.queue.head(SNIFF_BYTES);
                Err(if sniff::may_be_wav(&head) {
                    AudioError::Wav(WavError::Truncated)
                } else {
                    self.recognise(&head, *opus).err().unwrap_or(AudioError::Wav(WavError::Truncated))
                })
            }
            State::RawStart(format) if self.queue.len() < SNIFF_BYTES => self.start(*format, None),
            _ => Ok(()),
        }
    }

    /// Ends the samples: the resampler's tail.
    fn end(&mut self, out: &mut Vec<Vec<f32>>) -> Result<usize, AudioError> {
        let (shape, resampler) = match &mut self.state {
            State::Samples { decoder, .. } => (shape(decoder.format), &mut decoder.resampler),
            State::Coded { sound: Some(sound), .. } => (sound.shape, &mut sound.resampler),
            State::Header { .. } => return Err(AudioError::Wav(WavError::Truncated)),
            State::Au(_) => return Err(au::truncated()),
            _ => return Ok(0),
        };
        let lanes = lanes(shape.channels, self.multichannel);
        if out.len() < lanes {
            out.resize_with(lanes, Vec::new);
        }
        let appended = resampler.finish(out)?;
        self.state = State::Ended { shape };
        Ok(appended)
    }

    /// The state where the first bytes say nothing: they may be of a frame that was cut, and are dropped then.
    fn search(&mut self) -> Result<State, AudioError> {
        let found = frames::first(&self.queue.head(SEARCHED));
        let (format, at) = found.ok_or_else(unknown)?;
        self.queue.advance(at);
        coded(format, Source::Pushed, self.whole)
    }

    /// The state that follows from a container's first bytes; `opus`: it is to be one with Opus in it.
    fn recognise(&self, head: &[u8], opus: bool) -> Result<State, AudioError> {
        if opus {
            // Where a packet ends is known by the message alone, and a file has none.
            let format = sniff::opus_container(head).ok_or(AudioError::Unsupported { format: "bare opus" })?;
            return coded(format, Source::Pushed, self.whole);
        }
        match sniff::container(head) {
            Container::Wav => Ok(State::Header {
                header: Box::default(),
                raw: None,
            }),
            Container::Au => Ok(State::Au(None)),
            Container::Coded(format @ (Format::Mp4 | Format::Caf)) if self.whole => Ok(State::Spool {
                file: tempfile::tempfile().map_err(spool_error)?,
                format,
            }),
            Container::Coded(Format::Caf) => Err(AudioError::Unsupported { format: "live caf" }),
            Container::Coded(format) => coded(format, Source::Pushed, self.whole),
            Container::Other(format) => Err(AudioError::Unsupported { format }),
            Container::Unknown => Err(unknown()),
        }
    }
}

/// Begins to read a container; `whole`: of a file.
fn coded(format: Format, source: Source, whole: bool) -> Result<State, AudioError> {
    let held = if whole { FILE_HELD } else { LIVE_HELD };
    Ok(State::Coded {
        source: Coded::Container(Reader::open(format, source, held)?),
        sound: None,
    })
}

fn unknown() -> AudioError {
    AudioError::Undecodable {
        reason: "the first bytes belong to no known container",
    }
}

fn spool_error(_: std::io::Error) -> AudioError {
    AudioError::Unavailable { what: "room on disk" }
}

fn shape(format: PcmFormat) -> Shape {
    Shape {
        channels: format.channels,
        rate: format.rate,
    }
}

fn wav_error(error: WavError) -> AudioError {
    match error {
        WavError::UnsupportedCodec { codec } => AudioError::Unsupported { format: codec },
        other => AudioError::Wav(other),
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
