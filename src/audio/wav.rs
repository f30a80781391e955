//! Push parser for the header of a WAV file or stream: everything before the first sample.
//!
//! What it does: takes bytes in any pieces, skips chunks it does not know, and finds the format and where the samples begin;
//! RIFF, RF64 and BW64, plain and extensible formats. What it does not do: decode samples, keep what it skips (it holds 40
//! bytes at most), read chunks behind the samples. Who calls it: [`super::intake`].
//!
//! Sizes are taken as hints, since live writers send 0 or 0xffffffff: the samples then run to the end of the input.
//! Sources: Microsoft RIFF specification (1991), `mmreg.h` format tags, EBU Tech 3306 (RF64), ITU-R BS.2088 (BW64).

use super::MAX_CHANNELS;
use super::pcm::{PcmFormat, SampleFormat};
use crate::units::Hz;

/// Chunks accepted before the samples.
pub const MAX_CHUNKS: u32 = 256;
/// Bytes accepted before the samples.
pub const MAX_HEADER_BYTES: u64 = 1 << 20;
/// Lowest rate taken from a header.
pub const MIN_RATE: Hz = Hz(4_000);
/// Highest rate taken from a header.
pub const MAX_RATE: Hz = Hz(192_000);

/// The part of a `fmt ` chunk that means anything: WAVEFORMATEXTENSIBLE.
const FMT_BYTES: usize = 40;
/// Bytes 2 to 15 of the sub-format GUIDs that stand for a plain format tag.
const GUID_TAIL: [u8; 14] = [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71];
/// Format tag of the ADPCM of Microsoft.
const MS_ADPCM: u16 = 0x0002;
/// Format tag of the ADPCM of the IMA, as Intel has laid it out (DVI).
const IMA_ADPCM: u16 = 0x0011;
/// Format tag of MPEG audio of layers I and II.
const MPEG: u16 = 0x0050;
/// Format tag of MPEG audio of layer III.
const MP3: u16 = 0x0055;
/// A size that says "unknown" or "see the ds64 chunk".
const UNKNOWN_SIZE: u32 = u32::MAX;

/// What is wrong with a WAV header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WavError {
    /// The first twelve bytes are not a WAV header.
    #[error("no wav header")]
    NotWav,
    /// The input ended before the samples began.
    #[error("the wav header ends early")]
    Truncated,
    /// The samples begin before any format was given.
    #[error("the wav header has no fmt chunk before its data")]
    NoFormat,
    /// The `fmt ` chunk is too short for its format.
    #[error("the wav fmt chunk has only {bytes} bytes")]
    ShortFormat {
        /// Its size.
        bytes: usize,
    },
    /// Too many chunks before the samples.
    #[error("the wav header has more than {MAX_CHUNKS} chunks before its data")]
    TooManyChunks,
    /// Too many bytes before the samples, or a chunk there that claims so.
    #[error("the wav header claims {bytes} bytes before its data, limit {MAX_HEADER_BYTES}")]
    HeaderTooLong {
        /// Bytes up to the end of the offending chunk.
        bytes: u64,
    },
    /// A format tag that nobody registered, or not one for sound that we know.
    #[error("unknown wav format tag {tag:#06x}")]
    UnknownTag {
        /// The tag.
        tag: u16,
    },
    /// A known codec without a decoder.
    #[error("{codec} in wav is not supported")]
    UnsupportedCodec {
        /// The codec's name.
        codec: &'static str,
    },
    /// A sample width that the format does not have.
    #[error("{bits} bits per sample are not possible for wav format tag {tag:#06x}")]
    Bits {
        /// Bits per sample.
        bits: u16,
        /// The format tag.
        tag: u16,
    },
    /// Zero or too many channels.
    #[error("{channels} wav channels are not between 1 and {MAX_CHANNELS}")]
    Channels {
        /// Channels in the header.
        channels: u16,
    },
    /// A rate outside the limits.
    #[error("wav sample rate {rate} is not between {} and {} hz", MIN_RATE.0, MAX_RATE.0)]
    Rate {
        /// Frames per second in the header.
        rate: u32,
    },
}

/// What the parser is in the middle of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// `RIFF`, size, `WAVE`.
    Form,
    /// Id and size of a chunk.
    ChunkHead,
    /// The beginning of the `fmt ` chunk; this many bytes follow what is kept.
    Fmt { rest: u64 },
    /// The beginning of the `ds64` chunk; this many bytes follow what is kept.
    Ds64 { rest: u64 },
    /// Bytes to be passed over.
    Skip(u64),
    /// The first sample.
    Data,
}

/// The parser. Memory: 40 bytes and a few counters, whatever is fed.
#[derive(Debug)]
pub struct WavHeader {
    at: At,
    /// Bytes wanted in `held` before the current part can be read.
    want: usize,
    held: Vec<u8>,
    chunks: u32,
    consumed: u64,
    fmt: Option<Vec<u8>>,
    ds64_data: Option<u64>,
    data: Option<u64>,
}

impl Default for WavHeader {
    fn default() -> Self {
        WavHeader {
            at: At::Form,
            want: 12,
            held: Vec::new(),
            chunks: 0,
            consumed: 0,
            fmt: None,
            ds64_data: None,
            data: None,
        }
    }
}

impl WavHeader {
    /// Takes bytes up to the first sample and returns how many were taken: fewer than given only when the samples begin there.
    ///
    /// # Errors
    /// Any of [`WavError`] that concerns the frame of the file; the format itself is judged by [`WavHeader::format`].
    pub fn feed(&mut self, bytes: &[u8]) -> Result<usize, WavError> {
        let mut rest = bytes;
        while !self.is_complete() && !rest.is_empty() {
            let part = match self.at {
                At::Skip(left) => rest.len().min(usize::try_from(left).unwrap_or(usize::MAX)),
                _ => rest.len().min(self.want.saturating_sub(self.held.len())),
            };
            let (now, later) = rest.split_at_checked(part).unwrap_or((rest, &[]));
            rest = later;
            let taken = u64::try_from(now.len()).unwrap_or(u64::MAX);
            self.consumed = self.consumed.saturating_add(taken);
            match self.at {
                At::Skip(left) if left > taken => self.at = At::Skip(left - taken),
                At::Skip(_) => self.expect(At::ChunkHead, 8),
                _ => {
                    self.held.extend_from_slice(now);
                    if self.held.len() >= self.want {
                        self.part()?;
                    }
                }
            }
        }
        Ok(bytes.len().saturating_sub(rest.len()))
    }

    /// True once everything up to the first sample was taken.
    pub fn is_complete(&self) -> bool {
        self.at == At::Data
    }

    /// Bytes of samples that the header declares; none if it does not know (sizes 0 and 0xffffffff of live writers).
    pub fn data_bytes(&self) -> Option<u64> {
        self.data
    }

    /// The format of the samples.
    ///
    /// # Errors
    /// [`WavError`] if there is none, or it is malformed, unknown or outside the limits.
    pub fn format(&self) -> Result<PcmFormat, WavError> {
        let fields = self.fields()?;
        let (tag, channels, rate, bits) = (fields.tag, fields.channels, fields.rate, fields.bits);
        let sample = match (tag, bits) {
            (1, 8) => SampleFormat::U8,
            (1, 16) => SampleFormat::S16,
            (1, 24) => SampleFormat::S24,
            (1, 32) => SampleFormat::S32,
            (3, 32) => SampleFormat::F32,
            (3, 64) => SampleFormat::F64,
            (6, 8) => SampleFormat::Alaw,
            (7, 8) => SampleFormat::Mulaw,
            (1 | 3 | 6 | 7, bits) => return Err(WavError::Bits { bits, tag }),
            (tag, _) => return Err(codec_name(tag).map_or(WavError::UnknownTag { tag }, |codec| WavError::UnsupportedCodec { codec })),
        };
        check(channels, rate)?;
        Ok(PcmFormat {
            sample,
            channels,
            rate: Hz(rate),
        })
    }

    /// Whether the sound is MPEG audio, such as MP3: frames that need no header. [`WavHeader::format`] refuses them.
    pub fn holds_mpeg(&self) -> bool {
        self.fields().is_ok_and(|fields| matches!(fields.tag, MPEG | MP3))
    }

    /// If the samples are ADPCM, which comes in blocks: the header of a WAV file of the same format and length and nothing else,
    /// for the reader of [`super::container::Format::Wav`]. [`WavHeader::format`] refuses them.
    ///
    /// # Errors
    /// [`WavError`] if there is no format, or it is malformed or outside the limits.
    pub fn adpcm(&self) -> Result<Option<Vec<u8>>, WavError> {
        let fields = self.fields()?;
        // What follows the sample width: the samples of a block, in the one case with the usual coefficients, which nobody reads.
        let extra: u16 = match fields.tag {
            MS_ADPCM => 32,
            IMA_ADPCM => 2,
            _ => return Ok(None),
        };
        let (tag, channels, rate, bits) = (fields.tag, fields.channels, fields.rate, fields.bits);
        if bits != 4 {
            return Err(WavError::Bits { bits, tag });
        }
        check(channels, rate)?;
        if channels > 2 {
            return Err(WavError::UnsupportedCodec {
                codec: "adpcm of more than two channels",
            });
        }
        let data = self.data.and_then(|bytes| u32::try_from(bytes).ok()).unwrap_or(UNKNOWN_SIZE);
        let mut head = b"RIFF\xff\xff\xff\xffWAVEfmt ".to_vec();
        head.extend((18 + u32::from(extra)).to_le_bytes());
        head.extend(tag.to_le_bytes());
        head.extend(channels.to_le_bytes());
        head.extend(rate.to_le_bytes());
        // The bytes of a second, which nobody reads either.
        head.extend(0_u32.to_le_bytes());
        head.extend(fields.block.to_le_bytes());
        head.extend(bits.to_le_bytes());
        head.extend(extra.to_le_bytes());
        head.resize(head.len() + usize::from(extra), 0);
        head.extend(b"data");
        head.extend(data.to_le_bytes());
        Ok(Some(head))
    }

    /// What the `fmt ` chunk says.
    fn fields(&self) -> Result<Fields, WavError> {
        let fmt = self.fmt.as_deref().ok_or(WavError::NoFormat)?;
        let short = WavError::ShortFormat { bytes: fmt.len() };
        let (Some(mut tag), Some(channels), Some(rate), Some(bits)) = (u16_at(fmt, 0), u16_at(fmt, 2), u32_at(fmt, 4), u16_at(fmt, 14))
        else {
            return Err(short);
        };
        if tag == 0xfffe {
            let guid = fmt.get(24..FMT_BYTES).ok_or(short)?;
            tag = if guid.ends_with(&GUID_TAIL) {
                u16_at(guid, 0).unwrap_or(tag)
            } else {
                tag
            };
        }
        Ok(Fields {
            tag,
            channels,
            rate,
            block: u16_at(fmt, 12).unwrap_or(0),
            bits,
        })
    }

    /// Reads the part that `held` now holds whole.
    fn part(&mut self) -> Result<(), WavError> {
        let held = std::mem::take(&mut self.held);
        match self.at {
            At::Form => {
                if !super::sniff::may_be_wav(&held) {
                    return Err(WavError::NotWav);
                }
                self.expect(At::ChunkHead, 8);
            }
            At::ChunkHead => {
                let size = u32_at(&held, 4).unwrap_or(0);
                self.chunk(held.get(..4).unwrap_or_default(), size)?;
            }
            At::Fmt { rest } => {
                self.fmt = Some(held);
                self.skip(rest);
            }
            At::Ds64 { rest } => {
                self.ds64_data = u64_at(&held, 8);
                self.skip(rest);
            }
            At::Skip(_) | At::Data => {}
        }
        Ok(())
    }

    /// Enters a chunk.
    fn chunk(&mut self, id: &[u8], size: u32) -> Result<(), WavError> {
        if id == b"data" {
            if self.fmt.is_none() {
                return Err(WavError::NoFormat);
            }
            self.data = match size {
                0 => None,
                UNKNOWN_SIZE => self.ds64_data.filter(|&bytes| bytes != 0 && bytes != u64::MAX),
                size => Some(u64::from(size)),
            };
            self.expect(At::Data, 0);
            return Ok(());
        }
        self.chunks += 1;
        if self.chunks > MAX_CHUNKS {
            return Err(WavError::TooManyChunks);
        }
        // Chunks begin at even places.
        let padded = u64::from(size) + u64::from(size % 2);
        let bytes = self.consumed.saturating_add(padded);
        if bytes > MAX_HEADER_BYTES {
            return Err(WavError::HeaderTooLong { bytes });
        }
        let keep = match id {
            b"fmt " => FMT_BYTES,
            b"ds64" => 16,
            _ => 0,
        };
        let keep = keep.min(usize::try_from(size).unwrap_or(keep));
        let rest = padded.saturating_sub(u64::try_from(keep).unwrap_or(0));
        match id {
            b"fmt " if keep > 0 => self.expect(At::Fmt { rest }, keep),
            b"ds64" if keep > 0 => self.expect(At::Ds64 { rest }, keep),
            _ => self.skip(padded),
        }
        Ok(())
    }

    fn skip(&mut self, bytes: u64) {
        if bytes == 0 {
            self.expect(At::ChunkHead, 8)
        } else {
            self.expect(At::Skip(bytes), 0)
        }
    }

    fn expect(&mut self, at: At, want: usize) {
        self.at = at;
        self.want = want;
        self.held.clear();
    }
}

/// What a `fmt ` chunk says.
struct Fields {
    /// The format tag, that of the sub-format in the extensible form.
    tag: u16,
    channels: u16,
    rate: u32,
    /// Bytes of a frame, or of a block of frames.
    block: u16,
    bits: u16,
}

/// Channels and rate within the limits.
fn check(channels: u16, rate: u32) -> Result<(), WavError> {
    if channels == 0 || channels > MAX_CHANNELS {
        return Err(WavError::Channels { channels });
    }
    if !(MIN_RATE.0..=MAX_RATE.0).contains(&rate) {
        return Err(WavError::Rate { rate });
    }
    Ok(())
}

/// Names of registered format tags that turn up in telephony and have no decoder here.
fn codec_name(tag: u16) -> Option<&'static str> {
    Some(match tag {
        MS_ADPCM => "ms adpcm",
        0x0010 | 0x0017 => "oki adpcm",
        IMA_ADPCM => "ima adpcm",
        0x0014 | 0x0040 | 0x0064 => "g.726",
        0x0022 => "truespeech",
        0x0031 => "gsm 6.10",
        0x0042 => "g.723.1",
        0x0028 | 0x0065 | 0x028f => "g.722",
        MPEG => "mpeg audio",
        MP3 => "mp3",
        0x0083 => "g.729",
        0x0057 => "amr-nb",
        0x0058 => "amr-wb",
        0x00ff | 0x1600 | 0x1610 => "aac",
        0x0160..=0x0163 => "wma",
        0x704f => "opus",
        0xa109 => "speex",
        0xf1ac => "flac",
        _ => return None,
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|b| u16::from_le_bytes(*b))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_le_bytes(*b))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|b| u64::from_le_bytes(*b))
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
