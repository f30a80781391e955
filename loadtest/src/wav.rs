//! Reads WAV files for sending: finds the samples, leaves them encoded as they are.
//!
//! Takes 16-bit linear, mu-law and A-law. Does not decode or resample: what is in the file is what a phone would send.
//! Called by `plan` (folders) and `watch` (one file).

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

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
    bytes: Vec<u8>,
    /// Where the samples begin in `bytes`.
    data_start: usize,
    /// One past the last whole frame in `bytes`.
    data_end: usize,
    /// The name that the query parameter `encoding` takes: `linear16`, `mulaw` or `alaw`.
    pub(crate) encoding: &'static str,
    /// Frames a second.
    pub(crate) sample_rate: u32,
    /// Interleaved channels.
    pub(crate) channels: u16,
    /// Bytes of one frame (one sample of every channel).
    frame_bytes: usize,
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

    fn parse(path: &Path, bytes: Vec<u8>) -> Result<Self> {
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
        let frame_bytes = usize::from(format.channels).saturating_mul(format.sample_bytes);
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
            bytes,
            data_start: start,
            data_end,
            encoding: format.encoding,
            sample_rate: format.sample_rate,
            channels: format.channels,
            frame_bytes,
            frames,
        })
    }

    /// The file's name, for tables.
    pub(crate) fn name(&self) -> String {
        self.path
            .file_name()
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }

    /// Length in seconds.
    pub(crate) fn seconds(&self) -> f64 {
        f64::from(self.frames) / f64::from(self.sample_rate)
    }

    /// Chunk `index` of `chunk_frames` frames each; empty past the end. With `header` the bytes before the samples go with chunk 0,
    /// so that the chunks together are the file.
    pub(crate) fn chunk(&self, index: u32, chunk_frames: u32, header: bool) -> &[u8] {
        let offset = |chunk: u64| {
            let frame = chunk.saturating_mul(u64::from(chunk_frames)).min(u64::from(self.frames));
            let byte = usize::try_from(frame).unwrap_or(usize::MAX).saturating_mul(self.frame_bytes);
            self.data_start.saturating_add(byte).min(self.data_end)
        };
        let start = if header && index == 0 { 0 } else { offset(u64::from(index)) };
        self.bytes
            .get(start..offset(u64::from(index).saturating_add(1)))
            .unwrap_or_default()
    }
}

/// What the `fmt ` chunk says.
struct Format {
    encoding: &'static str,
    sample_bytes: usize,
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
        let (encoding, sample_bytes) = match (tag, bits) {
            (1, 16) => ("linear16", 2),
            (6, 8) => ("alaw", 1),
            (7, 8) => ("mulaw", 1),
            _ => bail!("codec {tag} with {bits} bits: only 16-bit linear, mu-law and A-law are taken"),
        };
        ensure!(channels > 0 && sample_rate > 0, "{channels} channels at {sample_rate} Hz");
        Ok(Self {
            encoding,
            sample_bytes,
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
        assert_eq!((wav.encoding, wav.channels, wav.frames), ("linear16", 2, 5));
        assert_eq!(wav.chunk(0, 2, false), &data[..8]);
        assert_eq!(
            wav.chunk(2, 2, false),
            &data[16..20],
            "the last chunk is shorter and holds whole frames only"
        );
        assert!(wav.chunk(3, 2, false).is_empty());
    }

    #[test]
    fn with_header_the_chunks_are_the_file() {
        let bytes = file(7, 8, 1, &[9; 10], 10);
        let wav = Wav::parse(Path::new("a.wav"), bytes.clone()).unwrap();
        let joined: Vec<u8> = (0..4).flat_map(|k| wav.chunk(k, 3, true).to_vec()).collect();
        assert_eq!(joined, bytes);
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
