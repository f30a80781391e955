//! Containers and compressed codecs: bytes in, frames out.
//!
//! What it does: wraps the crate `symphonia` (nothing but this and `read` names it), whose readers pull their bytes, so that bytes can be
//! pushed as they come: the reader runs on a thread of its own that stops whenever it needs bytes or has frames, and goes on when asked. It
//! computes only while [`Container::step`] waits for it, so that this is a way of calling a function, not of doing two things at once. A
//! reader that panics on hostile bytes takes only its thread along. What it does not do: resample, mix, keep what it has given away.
//! Who calls it: [`super::intake`].

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::{Buf, Bytes};
use symphonia::core::io::{MediaSource, MediaSourceStream};

use self::read::{What, read};
use super::{AudioError, quicktime};
use crate::units::Hz;

mod read;

/// Time that one step of a reader may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Frames that a file's packets are gathered to before they are given away: plain samples may come one frame a packet.
const GATHERED: usize = 1_024;
/// Stack of a reader.
const STACK: usize = 1 << 20;
/// Bytes that the reader of a live stream may take before the next packet is whole. It holds them, and nobody counts them any more; a
/// picture may come before the sound.
pub const LIVE_HELD: usize = 16 << 20;
/// The same for a file, whose index may be long.
pub const FILE_HELD: usize = 64 << 20;

/// A container, by the reader it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Ogg with Opus, Vorbis or FLAC.
    Ogg,
    /// WebM or Matroska.
    Matroska,
    /// MP4, M4A or MOV.
    Mp4,
    /// MPEG audio frames.
    Mpeg,
    /// Something behind an ID3 tag.
    Tagged,
    /// AAC in ADTS frames.
    Adts,
    /// Native FLAC.
    Flac,
    /// AIFF or AIFC.
    Aiff,
    /// Core Audio Format.
    Caf,
    /// WAV with samples in blocks; all others are [`super::wav`]'s.
    Wav,
}

impl Format {
    /// What to call it.
    pub fn name(self) -> &'static str {
        match self {
            Format::Ogg => "ogg",
            Format::Matroska => "webm",
            Format::Mp4 => "mp4",
            Format::Mpeg | Format::Tagged => "mp3",
            Format::Adts => "aac",
            Format::Flac => "flac",
            Format::Aiff => "aiff",
            Format::Caf => "caf",
            Format::Wav => "wav",
        }
    }
}

/// Where a reader gets its bytes.
pub enum Source {
    /// From [`Container::feed`].
    Pushed,
    /// From a file that is there as a whole, so that its index may stand at the end.
    File(File),
}

/// What a reader did.
#[derive(Debug)]
pub enum Step {
    /// It needs bytes before it can go on.
    Hungry,
    /// It has decoded interleaved frames.
    Frames(Frames),
    /// The sound has ended.
    Ended(End),
}

/// How the sound of a container has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With the container, or with the input, however little of the container that is.
    Over,
    /// What follows cannot be read, though the input has not ended.
    Broken,
}

/// Interleaved frames.
#[derive(Debug)]
pub struct Frames {
    /// Channels, at least one.
    pub channels: u16,
    /// Frames per second.
    pub rate: Hz,
    /// One value for each channel of each frame, full scale 1.0.
    pub samples: Vec<f32>,
}

/// A container being read.
#[derive(Debug)]
pub struct Container {
    steps: Receiver<Result<Step, AudioError>>,
    bytes: SyncSender<Bytes>,
    /// Bytes that the reader has taken since the last packet. It goes with the container, which tells the reader to stop.
    taken: Arc<AtomicUsize>,
    /// How many of them there may be.
    most: usize,
    hungry: bool,
    /// The reader has all the bytes there are.
    complete: bool,
    end: Option<End>,
}

impl Container {
    /// Begins to read; the reader may take `most` bytes for one packet, or before the first.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn open(format: Format, source: Source, most: usize) -> Result<Self, AudioError> {
        let (bytes, fed) = sync_channel(1);
        let (sender, steps) = sync_channel(0);
        let taken = Arc::new(AtomicUsize::new(0));
        let counted = Arc::downgrade(&taken);
        let complete = matches!(source, Source::File(_));
        let work = move || {
            let mut what = What {
                format,
                plain: None,
                gathered: 1,
            };
            let stream = match source {
                Source::File(mut file) => {
                    what.gathered = GATHERED;
                    if format == Format::Mp4 {
                        what.plain = Some(quicktime::plain(&mut file));
                        // Where that fails, the reader fails too.
                        file.rewind().ok();
                    }
                    let spooled = Spooled {
                        file,
                        taken: counted.clone(),
                        most,
                    };
                    MediaSourceStream::new(Box::new(spooled), Default::default())
                }
                Source::Pushed => {
                    let pushed = Pushed {
                        fed: Mutex::new(fed),
                        steps: sender.clone(),
                        held: Bytes::new(),
                        ended: false,
                    };
                    MediaSourceStream::new(Box::new(pushed), Default::default())
                }
            };
            let end = read(&what, stream, &sender, &counted).map(Step::Ended);
            // Nobody to tell: the intake is gone.
            sender.send(end).ok();
        };
        std::thread::Builder::new()
            .name("hark-container".to_owned())
            .stack_size(STACK)
            .spawn(work)
            .map_err(|_| AudioError::Unavailable { what: "a thread" })?;
        Ok(Self {
            steps,
            bytes,
            taken,
            most,
            hungry: false,
            complete,
            end: None,
        })
    }

    /// Lets the reader go on to its next step. After [`Step::Hungry`] it needs [`Container::feed`] first, and says so again without.
    ///
    /// # Errors
    /// The bytes cannot be decoded, the reader does not come to an end with them, or takes too many for one packet.
    pub fn step(&mut self) -> Result<Step, AudioError> {
        if let Some(end) = self.end {
            return Ok(Step::Ended(end));
        }
        if self.hungry {
            return Ok(Step::Hungry);
        }
        let step = match self.steps.recv_timeout(PATIENCE) {
            Ok(step) => step,
            Err(RecvTimeoutError::Timeout) => return Err(undecodable("its decoder does not come to an end")),
            Err(RecvTimeoutError::Disconnected) => return Err(undecodable("its decoder broke down")),
        };
        if self.taken.load(Relaxed) > self.most {
            return Err(undecodable("a packet, or what comes before the first, is too large"));
        }
        let step = match step? {
            // What was cut off is decoded as far as it goes.
            Step::Ended(_) if self.complete => Step::Ended(End::Over),
            step => step,
        };
        self.hungry = matches!(step, Step::Hungry);
        if let Step::Ended(end) = step {
            self.end = Some(end);
        }
        Ok(step)
    }

    /// How the sound has ended; none as long as there may be more.
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// Gives bytes to a hungry reader; none at all says that the input has ended.
    pub fn feed(&mut self, bytes: Bytes) {
        self.complete |= bytes.is_empty();
        self.taken.fetch_add(bytes.len(), Relaxed);
        self.hungry = self.bytes.try_send(bytes).is_err();
    }
}

fn undecodable(reason: &'static str) -> AudioError {
    AudioError::Undecodable { reason }
}

/// The reader's end of the bytes.
struct Pushed {
    // Never locked: the lock makes it shareable, as the reader demands.
    fed: Mutex<Receiver<Bytes>>,
    steps: SyncSender<Result<Step, AudioError>>,
    held: Bytes,
    ended: bool,
}

impl Read for Pushed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.held.is_empty() && !self.ended {
            let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
            self.steps.send(Ok(Step::Hungry)).map_err(|_| gone(()))?;
            let fed = self.fed.get_mut().unwrap_or_else(PoisonError::into_inner);
            self.held = fed.recv().map_err(|_| gone(()))?;
            self.ended = self.held.is_empty();
        }
        let count = self.held.len().min(into.len());
        if let Some(into) = into.get_mut(..count) {
            self.held.copy_to_slice(into);
        }
        Ok(count)
    }
}

impl Seek for Pushed {
    fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl MediaSource for Pushed {
    fn is_seekable(&self) -> bool {
        false
    }

    fn byte_len(&self) -> Option<u64> {
        None
    }
}

/// A file, as long as its reader is not given up and does not take too much for one packet.
struct Spooled {
    file: File,
    taken: Weak<AtomicUsize>,
    most: usize,
}

impl Read for Spooled {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let taken = self.taken.upgrade().ok_or(io::ErrorKind::BrokenPipe)?;
        if taken.load(Relaxed) > self.most {
            return Err(io::Error::other("the packet is too large"));
        }
        let count = self.file.read(into)?;
        taken.fetch_add(count, Relaxed);
        Ok(count)
    }
}

impl Seek for Spooled {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

impl MediaSource for Spooled {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        self.file.byte_len()
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
