//! Names a container from its first bytes.
//!
//! What it does: compares magic numbers. What it does not do: parse. Who calls it: [`super::intake`], for input without a
//! declared encoding.

use super::container::Format;

/// Bytes that decide the question; fewer are enough only at the end of input.
pub const SNIFF_BYTES: usize = 12;

/// What the first bytes announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// RIFF, RF64 or BW64 with form type WAVE.
    Wav,
    /// AU, also known as SND.
    Au,
    /// One that is decoded here.
    Coded(Format),
    /// Recognised, but not decoded here; the name of the format.
    Other(&'static str),
    /// No container that we know.
    Unknown,
}

/// True if `head` may be, or is, the beginning of a WAV file: it agrees with `RIFF....WAVE` (or RF64, BW64) as far as it goes.
pub fn may_be_wav(head: &[u8]) -> bool {
    [b"RIFF", b"RF64", b"BW64"].iter().any(|riff| agrees(head, *riff)) && agrees(head.get(8..).unwrap_or_default(), b"WAVE")
}

/// Names the container; `head` holds the first [`SNIFF_BYTES`] bytes, or all there are.
pub fn container(head: &[u8]) -> Container {
    if head.len() >= SNIFF_BYTES && may_be_wav(head) {
        return Container::Wav;
    }
    use Container::{Coded, Other};
    match head {
        [b'R', b'I', b'F', b'X', ..] => Other("big-endian wav"),
        [b'R', b'I', b'F', b'F', ..] => Other("riff (not wave)"),
        [b'r', b'i', b'f', b'f', 0x2e, 0x91, 0xcf, 0x11, ..] => Other("wave64"),
        [b'f', b'L', b'a', b'C', ..] => Coded(Format::Flac),
        [b'O', b'g', b'g', b'S', ..] => Coded(Format::Ogg),
        [0x1a, 0x45, 0xdf, 0xa3, ..] => Coded(Format::Matroska),
        [_, _, _, _, b'f', b't', b'y', b'p', ..] | [_, _, _, _, b'm', b'o', b'o', b'v', ..] => Coded(Format::Mp4),
        [_, _, _, _, b's', b't', b'y', b'p', ..] | [_, _, _, _, b'm', b'o', b'o', b'f', ..] => Coded(Format::Mp4),
        [b'#', b'!', b'A', b'M', b'R', b'-', b'W', b'B', ..] => Other("amr-wb"),
        [b'#', b'!', b'A', b'M', b'R', ..] => Other("amr"),
        [b'F', b'O', b'R', b'M', _, _, _, _, b'A', b'I', b'F', b'F' | b'C', ..] => Coded(Format::Aiff),
        [b'c', b'a', b'f', b'f', ..] => Coded(Format::Caf),
        [b'.', b's', b'n', b'd', ..] => Container::Au,
        [0x30, 0x26, 0xb2, 0x75, ..] => Other("asf"),
        [b'F', b'L', b'V', 1, ..] => Other("flv"),
        [b'w', b'v', b'p', b'k', ..] => Other("wavpack"),
        [b'I', b'D', b'3', ..] => Coded(Format::Tagged),
        [b'A', b'D', b'I', b'F', ..] => Other("aac (adif)"),
        // Frame syncs come last, being weak: eleven or twelve set bits, and a layer, rate and bit rate that exist.
        [0xff, second, ..] if second & 0xf6 == 0xf0 => Coded(Format::Adts),
        [0xff, second, third, ..] if second & 0xe0 == 0xe0 && second & 0x18 != 0x08 && second & 0x06 != 0 && mp3_rates(*third) => {
            Coded(Format::Mpeg)
        }
        _ => Container::Unknown,
    }
}

/// The container that audio said to be Opus begins with, if it is in one: Ogg, or Matroska and WebM. No Opus packet begins as Ogg does (its
/// second byte would say 39 frames, more than the 120 ms that there may be), and next to none as the others.
pub fn opus_container(head: &[u8]) -> Option<Format> {
    match container(head) {
        Container::Coded(format @ (Format::Ogg | Format::Matroska)) => Some(format),
        _ => None,
    }
}

fn agrees(head: &[u8], magic: &[u8]) -> bool {
    head.iter().zip(magic).all(|(a, b)| a == b)
}

fn mp3_rates(third: u8) -> bool {
    third & 0xf0 != 0xf0 && third & 0xf0 != 0 && third & 0x0c != 0x0c
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

    #[test]
    fn magic_numbers() {
        let cases: [(&[u8], Container); 18] = [
            (b"RIFF\x24\0\0\0WAVEfmt ", Container::Wav),
            (b"RF64\xff\xff\xff\xffWAVEds64", Container::Wav),
            (b".snd\0\0\0\x18\xff\xff\xff\xff", Container::Au),
            (b"RIFF\x24\0\0\0AVI LIST", Container::Other("riff (not wave)")),
            (b"fLaC\0\0\0\x22\x10\0\x10\0", Container::Coded(Format::Flac)),
            (b"OggS\0\x02\0\0\0\0\0\0", Container::Coded(Format::Ogg)),
            (b"\x1a\x45\xdf\xa3\x9fB\x86\x81\x01B\xf7\x81", Container::Coded(Format::Matroska)),
            (b"\0\0\0\x1cftypM4A \0\0", Container::Coded(Format::Mp4)),
            (b"#!AMR\n\x0c\x91\x17\x16\xbef", Container::Other("amr")),
            (b"#!AMR-WB\n\x04\x10\x20", Container::Other("amr-wb")),
            (b"FORM\0\x01\x75\xf6AIFF", Container::Coded(Format::Aiff)),
            (b"ID3\x04\0\0\0\0\0#TSS", Container::Coded(Format::Tagged)),
            (b"\xff\xfb\x90\xc4\0\0\0\0\0\0\0\0", Container::Coded(Format::Mpeg)),
            (b"\xff\xf1\x60\x40\x06\x1f\xfc\xde\x02\0Lav", Container::Coded(Format::Adts)),
            (b"{\"url\": \"https://x\"}", Container::Unknown),
            (b"RIFF", Container::Other("riff (not wave)")),
            (b"", Container::Unknown),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", Container::Unknown),
        ];
        for (head, expected) in cases {
            assert_eq!(container(head), expected, "{head:?}");
        }
    }

    #[test]
    fn opus_comes_in_two_containers() {
        assert_eq!(opus_container(b"OggS"), Some(Format::Ogg));
        assert_eq!(opus_container(b"\x1a\x45\xdf\xa3"), Some(Format::Matroska));
        for head in [&b"Ogg"[..], b"fLaC\0\0\0\x22\x10\0\x10\0", b"\x48\x0b\xe4\xc1\x36\xec\xc5\x80", b""] {
            assert_eq!(opus_container(head), None, "{head:?}");
        }
    }

    #[test]
    fn a_beginning_of_a_wav_header_stays_possible_until_it_disagrees() {
        let head = b"RIFF\x24\0\0\0WAVE";
        assert!((0..=head.len()).all(|n| may_be_wav(&head[..n])));
        assert!(!may_be_wav(b"RIFF\x24\0\0\0WAVX"));
        assert!(!may_be_wav(b"RX"));
    }
}
