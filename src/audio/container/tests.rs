//! Two seconds of speech at 16 kHz in every container (made by ffmpeg 5.1 from `samples/`), whole, in pieces, and broken.

use std::sync::Weak;
use std::sync::mpsc::{channel, sync_channel};
use std::time::Duration;

use bytes::Bytes;

use super::{End, Format, LIVE_HELD, MediaSourceStream, What, read};
use crate::audio::{AudioError, AudioSpec, Encoding, Intake};
use crate::units::Hz;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/formats/");

/// What is to be expected of the samples against those that were encoded.
#[derive(Clone, Copy, Debug)]
enum Like {
    /// The same.
    Same,
    /// A correlation of at least so much, not farther off in time than half a millisecond.
    Near(f64),
}

/// All formats: as an upload, and live where an index at the end does not forbid it.
const FORMATS: [(&str, Like, bool); 16] = [
    ("clip.flac", Like::Same, true),
    ("clip.aiff", Like::Same, true),
    ("clip.caf", Like::Same, false),
    ("mulaw.caf", Like::Near(0.99), false),
    ("alaw.mov", Like::Near(0.99), false),
    ("be24.mov", Like::Same, false),
    ("le24.mov", Like::Same, false),
    ("alac.m4a", Like::Same, false),
    ("clip.opus.ogg", Like::Near(0.9), true),
    ("clip.webm", Like::Near(0.9), true),
    ("live.webm", Like::Near(0.9), true),
    ("clip.vorbis.ogg", Like::Near(0.9), true),
    ("clip.mp3", Like::Near(0.9), true),
    ("clip.m4a", Like::Near(0.9), false),
    ("fragments.mp4", Like::Near(0.9), true),
    ("clip.aac", Like::Near(0.9), true),
];

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{FIXTURES}{name}")).unwrap()
}

fn spec(whole: bool) -> AudioSpec {
    AudioSpec {
        encoding: None,
        rate: None,
        channels: 1,
        multichannel: false,
        whole,
    }
}

/// Pushes pieces of `cut` bytes and pulls at most `pull` samples at a time.
fn decode(spec: AudioSpec, bytes: &[u8], cut: usize, pull: usize) -> Result<Vec<f32>, AudioError> {
    let mut intake = Intake::new(spec)?;
    let mut out = Vec::new();
    for piece in bytes.chunks(cut) {
        intake.push(Bytes::copy_from_slice(piece));
        while intake.pull(pull, &mut out)? > 0 {}
    }
    intake.close();
    while intake.pull(pull, &mut out)? > 0 {}
    Ok(out.into_iter().next().unwrap_or_default())
}

fn correlation(a: &[f32], b: &[f32], lag: isize) -> f64 {
    let (a, b) = if lag >= 0 {
        (a, &b[lag as usize..])
    } else {
        (&a[lag.unsigned_abs()..], b)
    };
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| f64::from(x * y)).sum::<f64>();
    let n = a.len().min(b.len());
    let (a, b) = (&a[..n], &b[..n]);
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn assert_like(name: &str, samples: &[f32], like: Like) {
    let clip = decode(spec(true), &fixture("clip.wav"), 65_536, 16_000).unwrap();
    match like {
        Like::Same => assert!(samples == clip, "{name}: {} samples of {}", samples.len(), clip.len()),
        Like::Near(least) => {
            // A frame of padding at the end is no harm.
            assert!(
                samples.len() + 320 >= clip.len() && samples.len() <= clip.len() + 4_000,
                "{name}: {}",
                samples.len()
            );
            let best = (-2_000..=2_000_isize).max_by(|&a, &b| correlation(&clip, samples, a).total_cmp(&correlation(&clip, samples, b)));
            let best = best.unwrap();
            let found = correlation(&clip, samples, best);
            assert!(found >= least, "{name}: {found}");
            assert!(best.abs() <= 8, "{name}: {best} samples off");
        }
    }
}

#[test]
fn every_format_gives_the_samples_that_went_into_it_at_their_time() {
    for (name, like, _) in FORMATS {
        let samples = decode(spec(true), &fixture(name), 8_192, 16_000).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_like(name, &samples, like);
    }
}

#[test]
fn live_every_format_gives_the_same_samples_however_it_is_split() {
    for (name, _, live) in FORMATS {
        let bytes = fixture(name);
        let whole = decode(spec(true), &bytes, bytes.len(), usize::MAX).unwrap();
        if !live {
            assert!(
                decode(spec(false), &bytes, 1_000, 5_000).is_err(),
                "{name}: its index stands at its end"
            );
            continue;
        }
        for (cut, pull) in [(1, 320), (97, 1), (4_096, 5_120), (bytes.len(), 777)] {
            let samples = decode(spec(false), &bytes, cut, pull).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(
                samples == whole,
                "{name} in pieces of {cut}: {} samples of {}",
                samples.len(),
                whole.len()
            );
        }
    }
}

#[test]
fn live_audio_comes_out_before_the_container_is_whole() {
    for (name, _, live) in FORMATS {
        let bytes = fixture(name);
        if !live || name == "clip.webm" {
            // A WebM of one cluster, whose size is known, is as long as a browser never makes them.
            continue;
        }
        let mut intake = Intake::new(spec(false)).unwrap();
        let mut out = Vec::new();
        intake.push(Bytes::copy_from_slice(&bytes[..bytes.len() * 3 / 4]));
        while intake.pull(16_000, &mut out).unwrap() > 0 {}
        let samples = out.first().map_or(0, Vec::len);
        assert!(samples > 8_000, "{name}: {samples} samples of three quarters");
    }
}

#[test]
fn declared_containers_are_read_as_such() {
    let declared = |encoding, rate| AudioSpec {
        encoding: Some(encoding),
        rate,
        ..spec(false)
    };
    for (encoding, name) in [(Encoding::Flac, "clip.flac"), (Encoding::OggOpus, "clip.opus.ogg")] {
        let bytes = fixture(name);
        let whole = decode(spec(true), &bytes, bytes.len(), usize::MAX).unwrap();
        assert_eq!(decode(declared(encoding, Some(Hz(16_000))), &bytes, 100, 999).unwrap(), whole);
        assert_eq!(decode(declared(encoding, None), &bytes, 100, 999).unwrap(), whole);
        assert!(decode(declared(encoding, None), b"this is neither of them", 100, 999).is_err());
    }
}

#[test]
fn what_is_said_to_be_opus_may_be_in_a_container() {
    for name in ["clip.opus.ogg", "live.webm", "clip.webm"] {
        let bytes = fixture(name);
        let plain = decode(spec(true), &bytes, bytes.len(), usize::MAX).unwrap();
        for whole in [true, false] {
            let opus = AudioSpec {
                encoding: Some(Encoding::Opus),
                rate: Some(Hz(48_000)),
                ..spec(whole)
            };
            for cut in [97, bytes.len()] {
                let samples = decode(opus, &bytes, cut, 999).unwrap_or_else(|error| panic!("{name}: {error}"));
                assert!(samples == plain, "{name}: {} samples of {}", samples.len(), plain.len());
            }
        }
    }
    // Another container is none, and a file has no messages.
    let opus = AudioSpec {
        encoding: Some(Encoding::Opus),
        ..spec(true)
    };
    for bytes in [fixture("clip.flac"), fixture("clip.wav"), b"\x48\x0b".to_vec()] {
        let refused = decode(opus, &bytes, 1_000, 999);
        assert_eq!(refused, Err(AudioError::Unsupported { format: "bare opus" }));
    }
}

#[test]
fn files_cut_within_a_frame_begin_at_the_next() {
    for name in ["clip.mp3", "clip.aac"] {
        let bytes = fixture(name);
        let whole = decode(spec(true), &bytes, 4_096, 16_000).unwrap();
        // The middle of the file, which is the middle of the sound, give or take a frame or two.
        let rest = &bytes[bytes.len() / 2 + 7..];
        let file = decode(spec(true), rest, 4_096, 16_000).unwrap();
        assert!(
            file.len().abs_diff(whole.len() / 2) < 4_000,
            "{name}: {} of {}",
            file.len(),
            whole.len()
        );
        for cut in [1, 100, rest.len()] {
            assert!(decode(spec(true), rest, cut, 5_000).unwrap() == file, "{name} in pieces of {cut}");
        }
        let live = decode(spec(false), rest, 4_096, 5_000);
        assert!(matches!(live, Err(AudioError::Undecodable { .. })), "{name} live: {live:?}");
    }
    let noise: Vec<u8> = (0_u32..20_000).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let refused = AudioError::Undecodable {
        reason: "the first bytes belong to no known container",
    };
    for whole in [true, false] {
        assert_eq!(decode(spec(whole), &noise, 500, 16_000), Err(refused.clone()));
    }
}

#[test]
fn mp3_in_wav_is_mp3() {
    let mp3 = fixture("clip.mp3");
    let size = u32::try_from(mp3.len()).unwrap();
    let mut wav = b"RIFF\xff\xff\xff\xffWAVEfmt \x1e\0\0\0\x55\0\x01\0".to_vec();
    wav.extend(16_000_u32.to_le_bytes());
    wav.extend(4_000_u32.to_le_bytes());
    wav.extend(b"\x01\0\0\0\x0c\0\x01\0\x02\0\0\0\x90\0\x01\0\x71\x05data");
    wav.extend(size.to_le_bytes());
    wav.extend(&mp3);
    for (whole, cut) in [(true, 4_096), (false, 1), (false, 333)] {
        assert!(decode(spec(whole), &wav, cut, 5_000).unwrap() == decode(spec(whole), &mp3, cut, 5_000).unwrap());
    }
}

#[test]
fn wide_samples_of_a_stream_whose_order_is_not_told_are_refused() {
    let bytes = fixture("le24.mov");
    // The index right behind the type, as a live stream needs it.
    let (movie, after) = (bytes.windows(4).position(|kind| kind == b"moov").unwrap() - 4, bytes[3] as usize);
    let index = [&bytes[..after], &bytes[movie..], &bytes[after..movie]].concat();
    let refused = decode(spec(false), &index, 1_000, 5_000);
    assert!(
        matches!(
            refused,
            Err(AudioError::Unsupported {
                format: "the codec in mp4"
            })
        ),
        "{refused:?}"
    );
}

#[test]
fn opus_packets_come_one_a_message() {
    let clip = decode(spec(true), &fixture("clip.wav"), 65_536, 16_000).unwrap();
    let mut encoder = opus::Encoder::new(16_000, opus::Channels::Mono, opus::Application::Voip).unwrap();
    let raw = AudioSpec {
        encoding: Some(Encoding::Opus),
        rate: Some(Hz(16_000)),
        ..spec(false)
    };
    let mut intake = Intake::new(raw).unwrap();
    let mut out = Vec::new();
    for (n, frame) in clip.chunks_exact(320).enumerate() {
        let packet = encoder.encode_vec_float(frame, 1_500).unwrap();
        // One that was damaged on the way is filled in.
        intake.push(if n == 40 {
            Bytes::from_static(b"\xff\xff\xff")
        } else {
            Bytes::from(packet)
        });
        assert!(intake.buffered_bytes() > 0);
        assert_eq!(intake.pull(16_000, &mut out), Ok(320));
    }
    assert_eq!((intake.buffered_bytes(), intake.lanes()), (0, Some(1)));
    let found = (0..200).map(|lag| correlation(&clip, &out[0], lag)).fold(0.0, f64::max);
    assert!(found > 0.85, "{found}");
    // Other numbers of channels and endless nonsense are refused.
    assert!(Intake::new(AudioSpec { channels: 3, ..raw }).is_err());
    let mut nonsense = Intake::new(raw).unwrap();
    (0..60).for_each(|_| nonsense.push(Bytes::from_static(b"\xff\xff\xff")));
    assert!(nonsense.pull(1 << 20, &mut Vec::new()).is_err());
}

#[test]
fn a_damaged_packet_costs_no_more_than_itself() {
    for (name, live) in [("clip.aac", true), ("clip.mp3", true), ("clip.m4a", false)] {
        let bytes = fixture(name);
        let undamaged = decode(spec(true), &bytes, 500, 16_000).unwrap().len();
        // In the middle of the sound: the frames' own headers, four bytes each at most, are missed by nearly all of these.
        for at in (bytes.len() * 3 / 8..bytes.len() * 5 / 8).step_by(bytes.len() / 40) {
            let mut bytes = bytes.clone();
            bytes[at..at + 3].iter_mut().for_each(|byte| *byte = !*byte);
            for whole in [Some(true), live.then_some(false)].into_iter().flatten() {
                let decoded = decode(spec(whole), &bytes, 500, 16_000);
                assert!(
                    decoded.as_ref().is_ok_and(|samples| samples.len() > undamaged / 2),
                    "{name} at {at}: {:?}",
                    decoded.map(|samples| samples.len())
                );
            }
        }
    }
}

#[test]
fn cut_off_containers_give_what_is_there_or_a_reason() {
    for (name, _, live) in FORMATS {
        let bytes = fixture(name);
        for part in [1, 3, 12, 40, 100, bytes.len() / 4, bytes.len() * 3 / 4, bytes.len() - 1] {
            let cut = decode(spec(true), &bytes[..part], 500, 16_000);
            if live && part > bytes.len() / 2 && name != "clip.webm" {
                assert!(
                    cut.as_ref().is_ok_and(|samples| samples.len() > 8_000),
                    "{name} at {part}: {:?}",
                    cut.map(|s| s.len())
                );
            }
        }
    }
}

#[test]
fn bytes_behind_the_end_of_a_container_are_dropped() {
    let clip = fixture("clip.aiff");
    let samples = decode(spec(true), &clip, clip.len(), usize::MAX).unwrap();
    let longer = [clip, vec![0; 1 << 20]].concat();
    for whole in [true, false] {
        for pull in [777, usize::MAX] {
            let mut intake = Intake::new(spec(whole)).unwrap();
            let mut out = Vec::new();
            for piece in longer.chunks(10_000) {
                intake.push(Bytes::copy_from_slice(piece));
                while intake.pull(pull, &mut out).unwrap() > 0 {}
                assert_eq!(intake.buffered_bytes(), 0);
            }
            // Nothing is kept from then on, not even until it is asked for.
            intake.push(Bytes::copy_from_slice(&longer));
            assert_eq!((intake.buffered_bytes(), intake.lanes()), (0, Some(1)));
            intake.close();
            assert_eq!(intake.pull(pull, &mut out), Ok(0));
            assert!(out[0] == samples, "{} samples of {}", out[0].len(), samples.len());
        }
    }
}

#[test]
fn a_container_that_breaks_gives_a_file_its_beginning_and_a_live_stream_a_reason() {
    let clip = fixture("live.webm");
    // No element begins with a zero.
    let broken = [&clip[..clip.len() * 3 / 4], &[0; 100_000]].concat();
    let samples = decode(spec(true), &broken, 1_000, 16_000).unwrap();
    assert!((8_000..32_000).contains(&samples.len()), "{} samples", samples.len());
    for cut in [97, 4_096, broken.len()] {
        let mut intake = Intake::new(spec(false)).unwrap();
        let mut out = Vec::new();
        let error = broken.chunks(cut).find_map(|piece| {
            intake.push(Bytes::copy_from_slice(piece));
            loop {
                match intake.pull(16_000, &mut out) {
                    Ok(0) => return None,
                    Ok(_) => {}
                    Err(error) => return Some(error),
                }
            }
        });
        let reason = "the container breaks off";
        assert_eq!(error, Some(AudioError::Undecodable { reason }), "in pieces of {cut}");
        assert_eq!(intake.buffered_bytes(), 0);
        // What came before was given first, but for what the resampler still held.
        assert!(
            samples.starts_with(&out[0]) && out[0].len() + 1_000 > samples.len(),
            "{}",
            out[0].len()
        );
    }
}

#[test]
fn packets_without_sound_come_to_an_end() {
    // A table of 400 samples of no bytes; a file has room for hundreds of millions of them.
    let reason = "too many packets in a row hold no sound";
    let refused = decode(spec(true), &fixture("empty-packets.mov"), 1_000, 16_000);
    assert_eq!(refused, Err(AudioError::Undecodable { reason }));
}

#[test]
fn what_a_reader_holds_back_is_bounded() {
    // A tag of 256 MiB, as it says.
    let mut tag = b"ID3\x04\0\0\x7f\x7f\x7f\x7f".to_vec();
    tag.resize(LIVE_HELD + 8_192, 0);
    let reason = "a packet, or what comes before the first, is too large";
    let refused = decode(spec(false), &tag, 65_536, 16_000);
    assert_eq!(refused, Err(AudioError::Undecodable { reason }));
    // Up to the limit, and in a file, it is just not whole.
    for (spec, length) in [(spec(false), LIVE_HELD), (spec(true), tag.len())] {
        let cut = decode(spec, &tag[..length], 65_536, 16_000);
        assert!(cut.is_err() && cut != refused, "{cut:?}");
    }
}

#[test]
fn a_reader_that_was_given_up_stops_at_its_next_packet() {
    let (done, ended) = channel();
    std::thread::spawn(move || {
        let file = std::fs::File::open(format!("{FIXTURES}clip.flac")).unwrap();
        let stream = MediaSourceStream::new(Box::new(file), Default::default());
        // Somebody could listen; but the container is gone.
        let (steps, _listener) = sync_channel(0);
        let what = What {
            format: Format::Flac,
            plain: None,
            gathered: 1,
        };
        done.send(read(&what, stream, &steps, &Weak::new())).ok();
    });
    assert_eq!(ended.recv_timeout(Duration::from_secs(5)), Ok(Ok(End::Over)));
}

/// A number from a number (splitmix64).
fn mix(seed: &mut u64) -> usize {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (*seed ^ (*seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x >> 33) as usize
}

/// What happens to files: bytes changed, a length that lies, a part missing, doubled or of another file, the end cut off.
fn damaged(bytes: &[u8], seed: &mut u64) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let (at, length) = (mix(seed) % bytes.len(), 1 + mix(seed) % 400);
    let end = (at + length).min(bytes.len());
    match mix(seed) % 6 {
        0 => (0..1 + mix(seed) % 60).for_each(|_| {
            let at = mix(seed) % bytes.len();
            bytes[at] = mix(seed) as u8;
        }),
        1 => {
            // Near the beginning, where the lengths are.
            let at = mix(seed) % bytes.len().min(300);
            let end = (at + 1 + mix(seed) % 8).min(bytes.len());
            bytes[at..end].fill([0xff, 0x7f, 0x00][mix(seed) % 3]);
        }
        2 => drop(bytes.drain(at..end)),
        3 => {
            let part = bytes[at..end].to_vec();
            for _ in 0..1 + mix(seed) % 50 {
                bytes.splice(at..at, part.iter().copied());
            }
        }
        4 => {
            let (other, ..) = FORMATS[mix(seed) % FORMATS.len()];
            let other = fixture(other);
            let from = mix(seed) % other.len();
            bytes.splice(at..end, other[from..(from + length).min(other.len())].iter().copied());
        }
        _ => bytes.truncate(at),
    }
    bytes
}

#[test]
fn six_hundred_damaged_files_are_decoded_or_refused_in_bounded_time_and_memory() {
    let mut seed = 1;
    let (mut decoded, mut refused) = (0, 0);
    for (name, ..) in FORMATS {
        let bytes = fixture(name);
        for n in 0..50 {
            let damaged = damaged(&bytes, &mut seed);
            for whole in [true, false] {
                let began = std::time::Instant::now();
                match decode(spec(whole), &damaged, 1_000, 16_000) {
                    Ok(samples) => {
                        // A byte of these codecs is no more than some thousand samples.
                        assert!(
                            samples.len() < damaged.len() * 4_000,
                            "{name} {n}: {} of {} bytes",
                            samples.len(),
                            damaged.len()
                        );
                        assert!(samples.iter().all(|sample| sample.is_finite() && sample.abs() <= 1.5), "{name} {n}");
                        decoded += 1;
                    }
                    Err(_) => refused += 1,
                }
                assert!(began.elapsed().as_secs() < 5, "{name} {n} took {:?}", began.elapsed());
            }
        }
    }
    println!("{decoded} decoded as far as they went, {refused} refused");
    assert!(decoded > 200 && refused > 100, "{decoded} {refused}");
}
