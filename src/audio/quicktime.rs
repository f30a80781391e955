//! Plain samples in QuickTime files, of which the reader of containers does not tell enough.
//!
//! What it does: walks the atoms of a file to the sound descriptions (QuickTime File Format, "Sound Sample Descriptions") and says which
//! tracks hold G.711, and which hold wide samples in big-endian order, as they do unless an atom `enda` says otherwise. What it does not do:
//! read samples, or anything from a stream. Who calls it: [`super::container`].

use std::io::{self, Read, Seek, SeekFrom};

/// Atoms that are looked at on one level.
const MOST_ATOMS: usize = 256;
/// Where a sound description has its atoms, by its version.
const EXTENSIONS: [u64; 2] = [28, 44];

/// What the samples of a track are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plain {
    /// G.711 A-law, with so many channels.
    ALaw(u16),
    /// G.711 mu-law, with so many channels.
    MuLaw(u16),
    /// Integers of 24 or 32 bits, or floats, the highest byte first.
    BigEndian,
}

/// The tracks with such samples, by number; none of a file that cannot be read as far.
pub(super) fn plain(file: &mut (impl Read + Seek)) -> Vec<(u32, Plain)> {
    tracks(file).unwrap_or_default()
}

fn tracks(file: &mut (impl Read + Seek)) -> io::Result<Vec<(u32, Plain)>> {
    let end = file.seek(SeekFrom::End(0))?;
    let Some(movie) = find(file, Atom { from: 0, to: end }, b"moov")? else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for (kind, track) in atoms(file, movie)? {
        if kind == *b"trak"
            && let Some(plain) = description(file, track)?
            && let Some(number) = number(file, track)?
        {
            found.push((number, plain));
        }
    }
    Ok(found)
}

/// Where an atom's content lies.
#[derive(Clone, Copy, Debug)]
struct Atom {
    from: u64,
    to: u64,
}

/// The atoms within another, until one that is none.
fn atoms(file: &mut (impl Read + Seek), within: Atom) -> io::Result<Vec<([u8; 4], Atom)>> {
    let mut found = Vec::new();
    let mut at = within.from;
    while at + 8 <= within.to && found.len() < MOST_ATOMS {
        let [a, b, c, d, kind @ ..] = bytes::<8>(file, at)?;
        let (from, to) = match u32::from_be_bytes([a, b, c, d]) {
            // To the end of what it is in.
            0 => (at + 8, within.to),
            1 => (at + 16, at.saturating_add(u64::from_be_bytes(bytes::<8>(file, at + 8)?))),
            size => (at + 8, at + u64::from(size)),
        };
        if to < from || to > within.to {
            break;
        }
        found.push((kind, Atom { from, to }));
        at = to;
    }
    Ok(found)
}

fn find(file: &mut (impl Read + Seek), within: Atom, kind: &[u8; 4]) -> io::Result<Option<Atom>> {
    let found = atoms(file, within)?.into_iter().find(|(other, _)| other == kind);
    Ok(found.map(|(_, atom)| atom))
}

fn bytes<const N: usize>(file: &mut (impl Read + Seek), at: u64) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A track's number: it stands behind two times, whose width the header's version says.
fn number(file: &mut (impl Read + Seek), track: Atom) -> io::Result<Option<u32>> {
    let Some(header) = find(file, track, b"tkhd")? else {
        return Ok(None);
    };
    let [version] = bytes::<1>(file, header.from)?;
    let at = if version == 0 { 12 } else { 20 };
    Ok(Some(u32::from_be_bytes(bytes::<4>(file, header.from + at)?)))
}

/// What a track's first sound description says.
fn description(file: &mut (impl Read + Seek), track: Atom) -> io::Result<Option<Plain>> {
    let mut atom = track;
    for kind in [b"mdia", b"minf", b"stbl", b"stsd"] {
        match find(file, atom, kind)? {
            Some(inner) => atom = inner,
            None => return Ok(None),
        }
    }
    // Version and flags, and the number of descriptions.
    let descriptions = Atom {
        from: atom.from.saturating_add(8),
        ..atom
    };
    let Some((kind, entry)) = atoms(file, descriptions)?.into_iter().next() else {
        return Ok(None);
    };
    let channels = u16::from_be_bytes(bytes::<2>(file, entry.from + 16)?);
    Ok(match &kind {
        b"alaw" => Some(Plain::ALaw(channels)),
        b"ulaw" => Some(Plain::MuLaw(channels)),
        b"in24" | b"in32" | b"fl32" | b"fl64" if !is_little(file, entry)? => Some(Plain::BigEndian),
        _ => None,
    })
}

/// Whether a description says that the lowest byte comes first.
fn is_little(file: &mut (impl Read + Seek), entry: Atom) -> io::Result<bool> {
    let version = u16::from_be_bytes(bytes::<2>(file, entry.from + 8)?);
    let Some(skipped) = EXTENSIONS.get(usize::from(version)) else {
        return Ok(false);
    };
    let extensions = Atom {
        from: entry.from + skipped,
        ..entry
    };
    let Some(wave) = find(file, extensions, b"wave")? else {
        return Ok(false);
    };
    match find(file, wave, b"enda")? {
        Some(order) => Ok(bytes::<2>(file, order.from)? == [0, 1]),
        None => Ok(false),
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn atom(kind: &[u8; 4], content: &[&[u8]]) -> Vec<u8> {
        let content = content.concat();
        let size = u32::try_from(content.len() + 8).unwrap_or_default();
        [&size.to_be_bytes()[..], kind, &content].concat()
    }

    /// A movie with a picture and a track 7 whose sound description is of `kind`, `version` and three channels.
    fn movie(kind: &[u8; 4], version: u8, extensions: &[u8]) -> Vec<u8> {
        let extra = vec![0; if version == 1 { 16 } else { 0 }];
        let entry = atom(
            kind,
            &[
                &[0; 8],
                &[0, version],
                &[0; 6],
                &[0, 3],
                &[0, 16],
                &[0; 4],
                &[0x1f, 0x40, 0, 0],
                &extra,
                extensions,
            ],
        );
        let sound = atom(b"stsd", &[&[0, 0, 0, 0, 0, 0, 0, 1], &entry]);
        let track = |header: &[u8], description: &[u8]| {
            let media = atom(b"mdia", &[&atom(b"minf", &[&atom(b"stbl", &[description])])]);
            atom(b"trak", &[&atom(b"tkhd", &[header]), &media])
        };
        let picture = atom(b"stsd", &[&[0, 0, 0, 0, 0, 0, 0, 1], &atom(b"avc1", &[&[0; 78]])]);
        let header = [&[0, 0, 0, 7][..], &[0; 8], &[0, 0, 0, 7], &[0; 60]].concat();
        let wide = [&[1, 0, 0, 7][..], &[0; 16], &[0, 0, 0, 2], &[0; 60]].concat();
        [
            atom(b"ftyp", &[b"qt  ", &[0; 4]]),
            atom(b"mdat", &[&[0x55; 100]]),
            atom(
                b"moov",
                &[&atom(b"mvhd", &[&[0; 100]]), &track(&wide, &picture), &track(&header, &sound)],
            ),
        ]
        .concat()
    }

    fn order(value: u8) -> Vec<u8> {
        atom(b"wave", &[&atom(b"frma", &[b"in24"]), &atom(b"enda", &[&[0, value]]), &[0; 8]])
    }

    #[test]
    fn laws_and_orders_are_told_of_their_track() {
        for (kind, version, extensions, expected) in [
            (b"alaw", 0, Vec::new(), Some(Plain::ALaw(3))),
            (b"ulaw", 1, Vec::new(), Some(Plain::MuLaw(3))),
            (b"in24", 1, order(0), Some(Plain::BigEndian)),
            (b"in24", 1, order(1), None),
            (b"fl32", 0, order(1), None),
            (b"fl64", 0, Vec::new(), Some(Plain::BigEndian)),
            (b"in32", 1, atom(b"chan", &[&[0; 12]]), Some(Plain::BigEndian)),
            (b"sowt", 0, Vec::new(), None),
            (b"mp4a", 0, Vec::new(), None),
        ] {
            let found = plain(&mut Cursor::new(movie(kind, version, &extensions)));
            let expected: Vec<(u32, Plain)> = expected.map(|plain| (7, plain)).into_iter().collect();
            assert_eq!(found, expected, "{kind:?} {version}");
        }
    }

    #[test]
    fn damaged_files_tell_nothing_and_come_to_an_end() {
        let whole = movie(b"in24", 1, &order(0));
        for length in 0..whole.len() {
            assert!(plain(&mut Cursor::new(&whole[..length])).len() <= 1);
        }
        let mut state = 1_u32;
        for _ in 0..2_000 {
            let mut bytes = whole.clone();
            for _ in 0..4 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let at = usize::try_from(state >> 8).unwrap_or_default() % bytes.len();
                bytes[at] = state.to_be_bytes()[3];
            }
            plain(&mut Cursor::new(bytes));
        }
        // More atoms than are looked at, none with content.
        plain(&mut Cursor::new([0, 0, 0, 8, b'f', b'r', b'e', b'e'].repeat(2_000)));
    }
}
