//! Where the frames of a file begin that was cut within one.
//!
//! What it does: finds three headers of MPEG audio (ISO/IEC 11172-3, 2.4.1.3, and 13818-3) or of AAC in ADTS (ISO/IEC 14496-3, 1.A.2.2) that
//! follow each other at the distances they state, and agree. What it does not do: decode. Who calls it: [`super::intake`], for files that
//! begin as nothing known.

use super::container::Format;

/// Bytes that are enough: the rest of the longest frame of MP3, two whole ones and a header.
pub(super) const SEARCHED: usize = 8_192;
/// Headers that must follow each other.
const IN_A_ROW: usize = 3;

/// The first frame in `head`: its format and where it begins.
pub(super) fn first(head: &[u8]) -> Option<(Format, usize)> {
    (0..head.len()).find_map(|at| {
        let rest = head.get(at..)?;
        if row(rest, adts) {
            Some((Format::Adts, at))
        } else {
            row(rest, mpeg).then_some((Format::Mpeg, at))
        }
    })
}

/// What frames of a stream have in common.
type Same = u32;

/// Whether `bytes` begins with [`IN_A_ROW`] headers of the same stream.
fn row(bytes: &[u8], header: fn(&[u8]) -> Option<(Same, usize)>) -> bool {
    let Some((same, _)) = header(bytes) else { return false };
    let mut rest = bytes;
    for _ in 1..IN_A_ROW {
        let next = header(rest)
            .filter(|(other, _)| *other == same)
            .and_then(|(_, length)| rest.get(length..));
        match next {
            Some(next) => rest = next,
            None => return false,
        }
    }
    header(rest).is_some_and(|(other, _)| other == same)
}

/// Reads a header of ADTS: version, layer, profile, rate and channels are the same in a stream.
fn adts(bytes: &[u8]) -> Option<(Same, usize)> {
    let [0xff, second, third, fourth, fifth, sixth, ..] = *bytes else {
        return None;
    };
    let length = usize::from(fourth & 0x03) << 11 | usize::from(fifth) << 3 | usize::from(sixth >> 5);
    let known = second & 0xf6 == 0xf0 && third >> 2 & 0x0f < 13 && length > 7;
    known.then(|| (u32::from_be_bytes([0, second, third & 0xfd, fourth & 0xc0]), length))
}

/// Reads a header of MPEG audio: version, layer and rate are the same in a stream.
fn mpeg(bytes: &[u8]) -> Option<(Same, usize)> {
    let [0xff, second, third, _, ..] = *bytes else { return None };
    let (version, layer) = (second >> 3 & 0x03, second >> 1 & 0x03);
    let (index, rate, padding) = (
        usize::from(third >> 4),
        usize::from(third >> 2 & 0x03),
        usize::from(third >> 1 & 0x01),
    );
    if second & 0xe0 != 0xe0 {
        return None;
    }
    let one = version == 0b11;
    let shift = match version {
        0b11 => 0,
        0b10 => 1,
        0b00 => 2,
        _ => return None,
    };
    let hertz = [44_100, 48_000, 32_000].get(rate)? >> shift;
    // Bits per second in thousands, without the free format.
    let table: [usize; 14] = match (one, layer) {
        (true, 0b11) => [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
        (true, 0b10) => [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
        (true, 0b01) => [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
        (false, 0b11) => [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
        (false, 0b10 | 0b01) => [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
        _ => return None,
    };
    let bits = table.get(index.checked_sub(1)?)? * 1_000;
    let length = match (layer, one) {
        (0b11, _) => (12 * bits / hertz + padding) * 4,
        (0b01, false) => 72 * bits / hertz + padding,
        _ => 144 * bits / hertz + padding,
    };
    Some((u32::from_be_bytes([0, 0, second & 0xfe, third & 0x0c]), length))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn fixture(name: &str) -> Vec<u8> {
        std::fs::read(format!("{}/tests/fixtures/formats/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    #[test]
    fn a_stream_cut_anywhere_begins_at_its_next_frame() {
        for (name, format) in [("clip.mp3", Format::Mpeg), ("clip.aac", Format::Adts)] {
            let bytes = fixture(name);
            let (found, from) = first(&bytes).unwrap();
            assert_eq!(found, format, "{name}");
            // The frames of the first half, by their own lengths.
            let header = if format == Format::Mpeg { mpeg } else { adts };
            let mut starts = vec![from];
            while *starts.last().unwrap() < bytes.len() / 2 {
                let at = *starts.last().unwrap();
                starts.push(at + header(&bytes[at..]).unwrap().1);
            }
            for cut in (from + 1)..*starts.last().unwrap() {
                let expected = *starts.iter().find(|&&start| start >= cut).unwrap();
                assert_eq!(first(&bytes[cut..]), Some((format, expected - cut)), "{name} from {cut}");
            }
        }
    }

    #[test]
    fn lengths_are_those_of_the_standards() {
        for (head, length) in [
            // MPEG 1 layer III, 128 kbit/s at 44.1 kHz, without and with padding; MPEG 2 layer III, 64 kbit/s at 22.05 kHz.
            ([0xff, 0xfb, 0x90, 0xc4, 0, 0], 417),
            ([0xff, 0xfb, 0x92, 0xc4, 0, 0], 418),
            ([0xff, 0xf3, 0x80, 0xc4, 0, 0], 208),
            // MPEG 1 layer II, 192 kbit/s at 48 kHz; layer I, 384 kbit/s at 32 kHz.
            ([0xff, 0xfd, 0xa4, 0, 0, 0], 576),
            ([0xff, 0xff, 0xc8, 0, 0, 0], 576),
        ] {
            assert_eq!(mpeg(&head).map(|(_, length)| length), Some(length), "{head:?}");
        }
        assert_eq!(adts(&[0xff, 0xf1, 0x60, 0x40, 0x06, 0x1f]).map(|(_, length)| length), Some(48));
        for head in [
            [0xff, 0xe0, 0x90, 0xc4, 0, 0],
            [0xff, 0xfb, 0xf0, 0, 0, 0],
            [0xff, 0xfb, 0x0c, 0, 0, 0],
            [0; 6],
            [0xff; 6],
        ] {
            assert_eq!((mpeg(&head), adts(&head)), (None, None), "{head:?}");
        }
    }

    #[test]
    fn noise_and_text_are_no_frames() {
        let mut state = 7_u32;
        let noise: Vec<u8> = (0..1_000_000)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state.to_be_bytes()[0]
            })
            .collect();
        assert!(noise.chunks(SEARCHED).all(|part| first(part).is_none()));
        assert_eq!(first(&[0xff; SEARCHED]), None);
        assert_eq!(first(b"{\"url\": \"https://example.com/call.wav\"}"), None);
        assert_eq!(first(&[]), None);
    }
}
