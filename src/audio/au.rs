//! The header of an AU file (`.au`, `.snd`).
//!
//! What it does: reads its fixed part, which is big-endian as the samples are. What it does not do: take the note behind it, decode.
//! Who calls it: [`super::intake`]. Source: the headers `audio_filehdr.h` and `libaudio.h` of Solaris.

use super::pcm::{PcmFormat, SampleFormat};
use super::wav::{MAX_HEADER_BYTES, MAX_RATE, MIN_RATE};
use super::{AudioError, MAX_CHANNELS};
use crate::units::Hz;

/// Bytes of the fixed part.
pub const HEADER_BYTES: usize = 24;

/// What the header of a file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuHeader {
    /// How the samples are stored.
    pub format: PcmFormat,
    /// Bytes between the fixed part and the samples: a note.
    pub note: usize,
    /// Bytes of samples; none if the header does not know (sizes 0 and 0xffffffff of live writers).
    pub data: Option<u64>,
}

/// Reads the fixed part of a header, the first [`HEADER_BYTES`] bytes of a file.
///
/// # Errors
/// It ends early, its note is longer than 1 MiB, its encoding has no decoder, or rate or channels are outside the limits.
pub fn header(bytes: &[u8]) -> Result<AuHeader, AudioError> {
    let word = |at: usize| bytes.get(at..)?.first_chunk().map(|b| u32::from_be_bytes(*b));
    let (Some(offset), Some(size), Some(encoding), Some(rate), Some(channels)) = (word(4), word(8), word(12), word(16), word(20)) else {
        return Err(truncated());
    };
    let note = usize::try_from(offset).ok().and_then(|offset| offset.checked_sub(HEADER_BYTES));
    let Some(note) = note.filter(|_| u64::from(offset) <= MAX_HEADER_BYTES) else {
        return Err(AudioError::Undecodable {
            reason: "the au header has an impossible length",
        });
    };
    let sample = sample_format(encoding).map_err(|format| AudioError::Unsupported { format })?;
    if !(MIN_RATE.0..=MAX_RATE.0).contains(&rate) {
        return Err(AudioError::Rate {
            rate,
            min: MIN_RATE.0,
            max: MAX_RATE.0,
        });
    }
    let channels = u16::try_from(channels).unwrap_or(u16::MAX);
    if channels == 0 || channels > MAX_CHANNELS {
        return Err(AudioError::Channels { channels });
    }
    Ok(AuHeader {
        format: PcmFormat {
            sample,
            channels,
            rate: Hz(rate),
        },
        note,
        data: (size != 0 && size != u32::MAX).then_some(u64::from(size)),
    })
}

/// The input has ended within the header.
pub(super) fn truncated() -> AudioError {
    AudioError::Undecodable {
        reason: "the au header ends early",
    }
}

/// How samples of an encoding are stored, or the name of what has no decoder here.
fn sample_format(encoding: u32) -> Result<SampleFormat, &'static str> {
    Ok(match encoding {
        1 => SampleFormat::Mulaw,
        2 => SampleFormat::S8,
        3 => SampleFormat::S16Be,
        4 => SampleFormat::S24Be,
        5 => SampleFormat::S32Be,
        6 => SampleFormat::F32Be,
        7 => SampleFormat::F64Be,
        27 => SampleFormat::Alaw,
        23 => return Err("g.721 in au"),
        24 => return Err("g.722 in au"),
        25 | 26 => return Err("g.723 in au"),
        _ => return Err("the codec in au"),
    })
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic
)]
mod tests {
    use super::*;

    /// Offset, size, encoding, rate and channels behind the magic number.
    fn au(words: [u32; 5]) -> Vec<u8> {
        let words = words.into_iter().flat_map(u32::to_be_bytes);
        b".snd".iter().copied().chain(words).collect()
    }

    #[test]
    fn headers_say_format_note_and_length() {
        let encodings = [
            (1, SampleFormat::Mulaw),
            (2, SampleFormat::S8),
            (3, SampleFormat::S16Be),
            (4, SampleFormat::S24Be),
            (5, SampleFormat::S32Be),
            (6, SampleFormat::F32Be),
            (7, SampleFormat::F64Be),
            (27, SampleFormat::Alaw),
        ];
        for (encoding, sample) in encodings {
            let format = PcmFormat {
                sample,
                channels: 2,
                rate: Hz(8_000),
            };
            let expected = AuHeader {
                format,
                note: 8,
                data: Some(1_000),
            };
            assert_eq!(header(&au([32, 1_000, encoding, 8_000, 2])), Ok(expected));
        }
        for unknown in [0, u32::MAX] {
            assert_eq!(header(&au([24, unknown, 3, 8_000, 1])).unwrap().data, None);
        }
    }

    #[test]
    fn refusals_name_the_reason() {
        let refused = |words| header(&au(words)).unwrap_err();
        assert_eq!(refused([24, 0, 24, 16_000, 1]), AudioError::Unsupported { format: "g.722 in au" });
        let unknown = refused([24, 0, 99, 16_000, 1]);
        assert_eq!(unknown.to_string(), "the codec in au audio is not supported");
        assert_eq!(refused([24, 0, 3, 16_000, 0]), AudioError::Channels { channels: 0 });
        assert_eq!(refused([24, 0, 3, 16_000, 21]), AudioError::Channels { channels: 21 });
        assert_eq!(refused([24, 0, 3, 16_000, 1 << 20]), AudioError::Channels { channels: u16::MAX });
        assert!(matches!(refused([24, 0, 3, 3_999, 1]), AudioError::Rate { rate: 3_999, .. }));
        for offset in [0, 23, (1 << 20) + 1, u32::MAX] {
            assert!(matches!(refused([offset, 0, 3, 16_000, 1]), AudioError::Undecodable { .. }));
        }
        assert!(header(&au([1 << 20, 0, 3, 16_000, 1])).is_ok());
        assert_eq!(header(&au([24, 0, 3, 16_000, 1])[..23]), Err(truncated()));
    }
}
