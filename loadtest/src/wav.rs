//! Reads WAV files for sending: finds the samples, leaves them encoded as they are. Writes headers.
//!
//! Takes 16-bit linear, mu-law and A-law. Does not decode: see `audio`. Called by `plan` (folders) and `watch` (one file).

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;

use crate::audio::Encoding;

/// Longest file that is taken: an alignment of its words must stay small.
const MAX_SECONDS: u32 = 1800;
/// Largest file that is taken.
const MAX_BYTES: u64 = 256 << 20;

/// One recording, ready to be cut into chunks.
#[derive(Debug)]
pub(crate) struct Wav {
    /// Where it was read from.
    pub(crate) path: PathBuf,
    /// The whole file.
    bytes: Bytes,
    /// Where the samples begin in `bytes`.
    data_start: usize,
    /// One past the last whole frame in `bytes`.
    data_end: usize,
    /// How the samples are written.
    pub(crate) encoding: Encoding,
    /// Frames a second.
    pub(crate) sample_rate: u32,
    /// Interleaved channels.
    pub(crate) channels: u16,
    /// Length in frames.
    pub(crate) frames: u32,
}

impl Wav {
    /// Reads `path`.
    ///
    /// # Errors
    /// The file cannot be read, is no WAV file, holds another codec, or is over the limits.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let named = || format!("{}", path.display());
        let size = std::fs::metadata(path).with_context(named)?.len();
        ensure!(size <= MAX_BYTES, "{}: {size} bytes, the limit is {MAX_BYTES}", named());
        let bytes = std::fs::read(path).with_context(named)?;
        Self::parse(path, bytes).with_context(named)
    }

    /// Takes `bytes` as the file `path`.
    ///
    /// # Errors
    /// As [`Wav::read`].
    pub(crate) fn parse(path: &Path, bytes: Vec<u8>) -> Result<Self> {
        ensure!(
            bytes.get(..4) == Some(b"RIFF") && bytes.get(8..12) == Some(b"WAVE"),
            "not a WAV file"
        );
        let mut at = 12_usize;
        let mut format = None;
        loop {
            let id = bytes.get(at..at.saturating_add(4)).context("no data chunk")?;
            let size = usize::try_from(u32_at(&bytes, at.saturating_add(4))?)?;
            let body = at.saturating_add(8);
            // A recorder that streams leaves 0xFFFFFFFF as the size: the file's end is the end then.
            let end = body.saturating_add(size).min(bytes.len());
            match id {
                b"fmt " => format = Some(Format::parse(bytes.get(body..end).unwrap_or_default())?),
                b"data" => {
                    let format = format.context("the data chunk comes before the fmt chunk")?;
                    return Self::assemble(path, bytes, body, end, &format);
                }
                _ => {}
            }
            at = body.saturating_add(size).saturating_add(size & 1);
        }
    }

    fn assemble(path: &Path, bytes: Vec<u8>, start: usize, end: usize, format: &Format) -> Result<Self> {
        let frame_bytes = usize::from(format.channels).saturating_mul(format.encoding.sample_bytes());
        let frames = end.saturating_sub(start).checked_div(frame_bytes).context("no channels")?;
        ensure!(frames > 0, "no audio in it");
        let frames = u32::try_from(frames)?;
        ensure!(
            frames / MAX_SECONDS < format.sample_rate,
            "longer than {MAX_SECONDS} s, the limit for one file"
        );
        let data_end = start.saturating_add(usize::try_from(frames)?.saturating_mul(frame_bytes));
        Ok(Self {
            path: path.to_path_buf(),
            bytes: bytes.into(),
            data_start: start,
            data_end,
            encoding: format.encoding,
            sample_rate: format.sample_rate,
            channels: format.channels,
            frames,
        })
    }

    /// The file's name, for tables.
    pub(crate) fn name(&self) -> String {
        self.path
            .file_name()
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }

    /// The samples.
    pub(crate) fn data(&self) -> Bytes {
        self.bytes.slice(self.data_start..self.data_end)
    }

    /// The file up to the end of its samples.
    pub(crate) fn file(&self) -> Bytes {
        self.bytes.slice(..self.data_end)
    }

    /// Bytes before the samples.
    pub(crate) fn header_bytes(&self) -> usize {
        self.data_start
    }
}

/// A header of 44 bytes for `data_bytes` bytes of samples.
pub(crate) fn header(encoding: Encoding, channels: u16, sample_rate: u32, data_bytes: u32) -> Vec<u8> {
    let (tag, bits): (u16, u16) = match encoding {
        Encoding::Linear16 => (1, 16),
        Encoding::Alaw => (6, 8),
        Encoding::Mulaw => (7, 8),
    };
    let frame_bytes = (bits / 8).saturating_mul(channels);
    let mut out = b"RIFF".to_vec();
    out.extend(data_bytes.saturating_add(36).to_le_bytes());
    out.extend(b"WAVEfmt \x10\0\0\0");
    out.extend(tag.to_le_bytes());
    out.extend(channels.to_le_bytes());
    out.extend(sample_rate.to_le_bytes());
    out.extend(sample_rate.saturating_mul(u32::from(frame_bytes)).to_le_bytes());
    out.extend(frame_bytes.to_le_bytes());
    out.extend(bits.to_le_bytes());
    out.extend(b"data");
    out.extend(data_bytes.to_le_bytes());
    out
}

/// What the `fmt ` chunk says.
struct Format {
    encoding: Encoding,
    channels: u16,
    sample_rate: u32,
}

impl Format {
    fn parse(body: &[u8]) -> Result<Self> {
        let mut tag = u16_at(body, 0)?;
        let channels = u16_at(body, 2)?;
        let sample_rate = u32_at(body, 4)?;
        let bits = u16_at(body, 14)?;
        if tag == 0xFFFE {
            // Extensible: the first two bytes of the sub-format are the tag.
            tag = u16_at(body, 24)?;
        }
        let encoding = match (tag, bits) {
            (1, 16) => Encoding::Linear16,
            (6, 8) => Encoding::Alaw,
            (7, 8) => Encoding::Mulaw,
            _ => bail!("codec {tag} with {bits} bits: only 16-bit linear, mu-law and A-law are taken"),
        };
        ensure!(channels > 0 && sample_rate > 0, "{channels} channels at {sample_rate} Hz");
        Ok(Self {
            encoding,
            channels,
            sample_rate,
        })
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16> {
    let field = bytes.get(at..at.saturating_add(2)).context("the file ends within its header")?;
    Ok(u16::from_le_bytes(field.try_into()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32> {
    let field = bytes.get(at..at.saturating_add(4)).context("the file ends within its header")?;
    Ok(u32::from_le_bytes(field.try_into()?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::as_conversions)]
mod tests {
    use super::*;

    fn file(tag: u16, bits: u16, channels: u16, data: &[u8], size: u32) -> Vec<u8> {
        let mut out = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0".to_vec();
        out.extend(tag.to_le_bytes());
        out.extend(channels.to_le_bytes());
        out.extend(8000_u32.to_le_bytes());
        out.extend([0; 6]);
        out.extend(bits.to_le_bytes());
        out.extend(b"LIST\x03\0\0\0abc\0data");
        out.extend(size.to_le_bytes());
        out.extend(data);
        out
    }

    #[test]
    fn finds_the_samples_behind_other_chunks_and_a_lying_size() {
        let data: Vec<u8> = (0..=20).collect();
        let wav = Wav::parse(Path::new("a.wav"), file(1, 16, 2, &data, u32::MAX)).unwrap();
        assert_eq!((wav.encoding, wav.channels, wav.frames), (Encoding::Linear16, 2, 5));
        assert_eq!(wav.data(), &data[..20], "whole frames only");
        assert_eq!(wav.file().len(), wav.header_bytes() + 20);
    }

    #[test]
    fn its_own_headers_are_read_back() {
        for (encoding, channels) in [(Encoding::Linear16, 1), (Encoding::Alaw, 2), (Encoding::Mulaw, 2)] {
            let mut bytes = header(encoding, channels, 16_000, 8);
            bytes.extend([9; 8]);
            let wav = Wav::parse(Path::new("a.wav"), bytes).unwrap();
            assert_eq!((wav.encoding, wav.channels, wav.sample_rate), (encoding, channels, 16_000));
            assert_eq!((wav.header_bytes(), &wav.data()[..]), (44, &[9; 8][..]));
        }
    }

    #[test]
    fn refuses_what_it_cannot_send() {
        for (tag, bits) in [(1, 24), (3, 32), (0x31, 0)] {
            let refused = Wav::parse(Path::new("a.wav"), file(tag, bits, 1, &[0; 8], 8)).unwrap_err();
            assert!(refused.to_string().contains("only 16-bit linear"), "{refused}");
        }
        let whole = file(1, 16, 1, &[1, 2], 2);
        for cut in 0..whole.len() - 1 {
            assert!(Wav::parse(Path::new("a.wav"), whole[..cut].to_vec()).is_err(), "cut at {cut}");
        }
    }
}
