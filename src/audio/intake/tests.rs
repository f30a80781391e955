use super::*;
use crate::audio::encoding::Form;
use proptest::prelude::*;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/audio/");

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{FIXTURES}{name}")).unwrap()
}

const CONTAINER: AudioSpec = AudioSpec {
    encoding: None,
    rate: None,
    channels: 1,
    multichannel: false,
    whole: true,
};

fn raw(encoding: Encoding, rate: u32, channels: u16, multichannel: bool) -> AudioSpec {
    AudioSpec {
        encoding: Some(encoding),
        rate: Some(Hz(rate)),
        channels,
        multichannel,
        whole: false,
    }
}

fn sample_bytes(encoding: Encoding) -> usize {
    match encoding.form() {
        Form::Samples(sample) => sample.bytes(),
        form => panic!("{form:?}"),
    }
}

/// Everything that is left.
fn finish(intake: &mut Intake, out: &mut Vec<Vec<f32>>) -> Result<usize, AudioError> {
    let mut appended = 0;
    intake.close();
    loop {
        match intake.pull(usize::MAX, out)? {
            0 => return Ok(appended),
            more => appended += more,
        }
    }
}

/// Everything at once.
fn decode(spec: AudioSpec, bytes: &[u8]) -> Result<Vec<Vec<f32>>, AudioError> {
    let mut intake = Intake::new(spec)?;
    let mut out = Vec::new();
    intake.push(Bytes::copy_from_slice(bytes));
    finish(&mut intake, &mut out)?;
    Ok(out)
}

/// Pieces of the sizes in `cuts`, a pull of the sizes in `pulls` after each.
fn decode_split(spec: AudioSpec, bytes: &[u8], cuts: &[usize], pulls: &[usize]) -> Result<Vec<Vec<f32>>, AudioError> {
    let mut intake = Intake::new(spec)?;
    let (mut out, mut rest) = (Vec::new(), bytes);
    let (mut cuts, mut pulls) = (cuts.iter().cycle(), pulls.iter().cycle());
    while !rest.is_empty() {
        let (now, later) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
        intake.push(Bytes::copy_from_slice(now));
        let before = out.first().map_or(0, Vec::len);
        let wanted = *pulls.next().unwrap();
        let appended = intake.pull(wanted, &mut out)?;
        assert_eq!(out.first().map_or(0, Vec::len), before + appended);
        assert!(appended <= wanted + 640, "{appended} for {wanted}");
        rest = later;
    }
    finish(&mut intake, &mut out)?;
    Ok(out)
}

fn s16(samples: impl IntoIterator<Item = i16>) -> Vec<u8> {
    samples.into_iter().flat_map(i16::to_le_bytes).collect()
}

fn noise(count: usize) -> impl Iterator<Item = i16> {
    (0..count as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 16) as i16)
}

fn wav_16k(data: &[u8]) -> Vec<u8> {
    let mut bytes = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0data".to_vec();
    bytes.extend((data.len() as u32).to_le_bytes());
    bytes.extend_from_slice(data);
    bytes
}

#[test]
fn headerless_audio_needs_a_rate_and_channels_within_limits() {
    let new = |spec| Intake::new(spec).map(|_| ());
    assert_eq!(
        new(AudioSpec {
            encoding: Some(Encoding::Mulaw),
            ..CONTAINER
        }),
        Err(AudioError::MissingRate { encoding: "mulaw" })
    );
    assert_eq!(
        new(raw(Encoding::Linear16, 7_999, 1, false)),
        Err(AudioError::Rate {
            rate: 7_999,
            min: 8_000,
            max: 48_000
        })
    );
    assert!(new(raw(Encoding::Linear16, 8_000, 1, false)).is_ok() && new(raw(Encoding::Linear16, 48_000, 20, true)).is_ok());
    assert!(new(raw(Encoding::Linear16, 48_001, 1, false)).is_err());
    assert_eq!(new(raw(Encoding::Alaw, 8_000, 0, false)), Err(AudioError::Channels { channels: 0 }));
    assert_eq!(
        new(raw(Encoding::Alaw, 8_000, 21, false)),
        Err(AudioError::Channels { channels: 21 })
    );
}

#[test]
fn lanes_are_known_at_once_for_headerless_audio_and_after_the_header_of_a_container() {
    let intake = Intake::new(raw(Encoding::Linear16, 8_000, 2, true)).unwrap();
    assert_eq!(
        (intake.lanes(), intake.channels(), intake.rate()),
        (Some(2), Some(2), Some(Hz(8_000)))
    );
    assert_eq!(Intake::new(raw(Encoding::Linear16, 8_000, 2, false)).unwrap().lanes(), Some(1));

    let mut intake = Intake::new(CONTAINER).unwrap();
    let wav = wav_16k(&s16([1, 2, 3]));
    intake.push(Bytes::copy_from_slice(&wav[..43]));
    assert_eq!(intake.pull(100, &mut Vec::new()), Ok(0));
    assert_eq!((intake.lanes(), intake.buffered_bytes()), (None, 0));
    intake.push(Bytes::copy_from_slice(&wav[43..]));
    assert_eq!(intake.pull(100, &mut Vec::new()), Ok(3));
    assert_eq!(
        (intake.lanes(), intake.channels(), intake.rate()),
        (Some(1), Some(1), Some(Hz(16_000)))
    );
}

#[test]
fn push_only_queues_and_pull_takes_what_was_asked() {
    let mut intake = Intake::new(raw(Encoding::Linear16, 16_000, 1, false)).unwrap();
    let mut out = Vec::new();
    intake.push(Bytes::from(s16(noise(1_000))));
    assert_eq!((intake.buffered_bytes(), out.len()), (2_000, 0));
    assert_eq!(intake.pull(300, &mut out), Ok(300));
    assert_eq!(intake.buffered_bytes(), 1_400);
    assert_eq!(intake.pull(10_000, &mut out), Ok(700));
    assert_eq!(intake.pull(10_000, &mut out), Ok(0));
    // Appended behind what is there, and over after the end.
    assert_eq!((out.len(), out[0].len()), (1, 1_000));
    assert_eq!(finish(&mut intake, &mut out), Ok(0));
    intake.push(Bytes::from_static(b"more"));
    assert_eq!((intake.buffered_bytes(), finish(&mut intake, &mut out)), (0, Ok(0)));
}

#[test]
fn channels_become_lanes_or_their_mean() {
    let bytes = s16([8_192, 16_384, -8_192, 8_192]);
    assert_eq!(
        decode(raw(Encoding::Linear16, 16_000, 2, true), &bytes).unwrap(),
        [vec![0.25, -0.25], vec![0.5, 0.25]]
    );
    assert_eq!(
        decode(raw(Encoding::Linear16, 16_000, 2, false), &bytes).unwrap(),
        [vec![0.375, 0.0]]
    );
}

#[test]
fn a_partial_sample_at_the_end_is_dropped() {
    let mut bytes = s16([100, 200]);
    bytes.push(7);
    assert_eq!(decode(raw(Encoding::Linear16, 16_000, 1, false), &bytes).unwrap()[0].len(), 2);
    assert_eq!(decode(raw(Encoding::Linear16, 16_000, 2, true), &bytes).unwrap().len(), 2);
    assert_eq!(decode(raw(Encoding::Linear16, 16_000, 1, false), &[]).unwrap(), [Vec::<f32>::new()]);
    assert_eq!(decode(raw(Encoding::Linear16, 16_000, 1, false), b"RI").unwrap()[0].len(), 1);
}

#[test]
fn a_wav_header_before_headerless_audio_is_skipped_and_the_declaration_holds() {
    let samples = s16(noise(500));
    let spec = raw(Encoding::Linear16, 8_000, 1, false);
    let plain = decode(spec, &samples).unwrap();
    // The header claims 16 kHz and no data; the caller's rate counts and the samples run to the end.
    let mut with_header = wav_16k(&[]);
    with_header.extend_from_slice(&samples);
    assert_eq!(decode(spec, &with_header).unwrap(), plain);
    assert_eq!(decode_split(spec, &with_header, &[1], &[50]).unwrap(), plain);
    // Not a header after all.
    let mut unlucky = b"RIFFabcdWAVX".to_vec();
    unlucky.extend_from_slice(&samples);
    assert_eq!(decode(spec, &unlucky).unwrap()[0].len(), 2 * (500 + 6));
}

#[test]
fn samples_end_where_the_header_says_and_trailing_chunks_are_no_audio() {
    let mut bytes = wav_16k(&s16([1, 2, 3]));
    bytes.extend_from_slice(b"LIST\x04\0\0\0INFO");
    let mut intake = Intake::new(CONTAINER).unwrap();
    let mut out = Vec::new();
    intake.push(Bytes::from(bytes));
    assert_eq!(intake.pull(100, &mut out), Ok(3));
    assert_eq!(intake.pull(100, &mut out), Ok(0));
    assert_eq!(intake.buffered_bytes(), 0);
    assert_eq!((intake.lanes(), finish(&mut intake, &mut out)), (Some(1), Ok(0)));
}

#[test]
fn other_containers_are_refused_by_name_and_nonsense_as_undecodable() {
    let unsupported = |format| Err(AudioError::Unsupported { format });
    assert_eq!(decode(CONTAINER, b"FLV\x01\x05\0\0\0\x09\0\0\0"), unsupported("flv"));
    assert_eq!(decode(CONTAINER, b"#!AMR\n"), unsupported("amr"));
    assert!(matches!(
        decode(CONTAINER, b"once upon a time"),
        Err(AudioError::Undecodable { .. })
    ));
    assert!(matches!(decode(CONTAINER, b"x"), Err(AudioError::Undecodable { .. })));
    assert_eq!(decode(CONTAINER, b""), Err(AudioError::Empty));
    assert_eq!(decode(CONTAINER, b"RIFF"), Err(AudioError::Wav(WavError::Truncated)));
}

#[test]
fn au_files_are_decoded_behind_their_note() {
    let head = |offset: u32, size: u32| {
        let words = [offset, size, 3, 16_000, 1].map(u32::to_be_bytes).concat();
        [b".snd".to_vec(), words].concat()
    };
    let samples = [8_192_i16, -16_384, 100].map(i16::to_be_bytes).concat();
    let expected = [vec![0.25, -0.5, 100.0 / 32_768.0]];
    let noted = [head(28, 6), b"note".to_vec(), samples.clone(), b"more".to_vec()].concat();
    let open_ended = [head(24, u32::MAX), samples].concat();
    for whole in [true, false] {
        let spec = AudioSpec { whole, ..CONTAINER };
        for file in [&noted, &open_ended] {
            assert_eq!(decode(spec, file).unwrap(), expected);
            assert_eq!(decode_split(spec, file, &[1], &[50]).unwrap(), expected);
        }
        for length in [12, 23, 27] {
            assert_eq!(decode(spec, &noted[..length]), Err(au::truncated()));
        }
        assert_eq!(decode(spec, &noted[..28]).unwrap(), [Vec::<f32>::new()]);
    }
}

/// A WAV file of blocks of ADPCM; `size` is what it says of their length.
fn adpcm(tag: u16, channels: u16, block: u16, blocks: &[u8], size: u32) -> Vec<u8> {
    let extra = if tag == 2 { 32 } else { 2 };
    // Tag, channels, rate, bytes of a second, bytes of a block, bits of a sample, bytes that follow.
    let mut fmt = [tag, channels, 16_000, 0, 0, 0, block, 4, extra].map(u16::to_le_bytes).concat();
    fmt.resize(18 + usize::from(extra), 0);
    let mut file = b"RIFF\0\0\0\0WAVEfmt ".to_vec();
    file.extend((fmt.len() as u32).to_le_bytes());
    file.extend(fmt);
    file.extend(b"fact\x04\0\0\0\0\0\0\0data");
    file.extend(size.to_le_bytes());
    file.extend_from_slice(blocks);
    file
}

#[test]
fn adpcm_in_wav_is_decoded_block_by_block() {
    // A block says how it begins; zeros behind that leave it so.
    let ima = |level: i16| [level.to_le_bytes().to_vec(), vec![0; 1_022]].concat();
    let ms = |level: i16| {
        let twice = [level; 2].map(i16::to_le_bytes).concat();
        [vec![0, 16, 0], twice, vec![0; 1_017]].concat()
    };
    let level = |samples: &[f32], level: i16| samples.iter().all(|sample| (sample - f32::from(level) / 32_768.0).abs() < 1e-6);
    let (ima, ms) = ([ima(1_000), ima(-2_000)].concat(), [ms(1_000), ms(-2_000)].concat());
    for whole in [true, false] {
        let spec = AudioSpec { whole, ..CONTAINER };
        for (tag, blocks, frames) in [(0x11, &ima, 2_041), (2, &ms, 2_036)] {
            // What stands behind the blocks is no sound, if their length is known.
            let known = [adpcm(tag, 1, 1_024, blocks, 2_048), b"LIST\x04\0\0\0INFO".to_vec()].concat();
            let open_ended = [u32::MAX, 0].map(|size| adpcm(tag, 1, 1_024, blocks, size));
            for file in open_ended.into_iter().chain([known]) {
                let out = decode(spec, &file).unwrap();
                assert_eq!((out.len(), out[0].len()), (1, 2 * frames), "tag {tag}");
                assert!(level(&out[0][..frames], 1_000) && level(&out[0][frames..], -2_000), "tag {tag}");
                assert_eq!(decode_split(spec, &file, &[7], &[500]).unwrap(), out, "tag {tag} in pieces");
            }
        }
        // Four bytes of each channel, then four of each in turn.
        let stereo = [&1_000_i16.to_le_bytes()[..], &[0, 0], &(-1_000_i16).to_le_bytes(), &[0; 10]].concat();
        let apart = AudioSpec {
            multichannel: true,
            ..spec
        };
        let out = decode(apart, &adpcm(0x11, 2, 16, &stereo, 16)).unwrap();
        assert_eq!((out.len(), out[0].len(), out[1].len()), (2, 9, 9));
        assert!(level(&out[0], 1_000) && level(&out[1], -1_000));
        // No whole block.
        assert!(decode(spec, &adpcm(0x11, 1, 1_024, &ima[..1_000], 1_000)).is_err());
    }
}

#[test]
fn an_error_is_repeated_and_holds_no_memory() {
    let mut intake = Intake::new(CONTAINER).unwrap();
    let mut out = Vec::new();
    intake.push(Bytes::from_static(b"this is no audio at all"));
    assert_eq!(intake.pull(100, &mut out), Ok(0), "a frame may begin behind it");
    intake.push(Bytes::from(b"nor is this".repeat(1_000)));
    let error = intake.pull(100, &mut out).unwrap_err();
    intake.push(Bytes::from_static(b"this neither"));
    assert_eq!(intake.buffered_bytes(), 0);
    assert_eq!(intake.pull(100, &mut out), Err(error.clone()));
    assert_eq!(finish(&mut intake, &mut out), Err(error));
}

/// What each damaged file must give: samples at 16 kHz, or an error that says this.
#[test]
fn damaged_files_give_their_samples_or_a_reason() {
    let cases: [(&str, Result<usize, &str>); 26] = [
        ("zero-bytes.wav", Err("no audio was received")),
        ("one-byte.wav", Err("header ends early")),
        ("truncated-header.wav", Err("header ends early")),
        ("header-only.wav", Ok(0)),
        ("header-only-claims-data.wav", Ok(0)),
        ("truncated-data.wav", Ok(23_920)),
        ("odd-length.wav", Ok(47_839)),
        ("lying-rate-44100.wav", Ok(17_357)),
        ("lying-rate-8000.wav", Ok(95_680)),
        ("lying-channels-2.wav", Ok(23_920)),
        ("zero-rate.wav", Err("wav sample rate 0 is not between 4000 and 192000 hz")),
        ("huge-rate.wav", Err("wav sample rate 4294967295")),
        ("zero-channels.wav", Err("0 wav channels")),
        ("many-channels.wav", Err("65535 wav channels")),
        ("zero-bits.wav", Err("0 bits per sample")),
        ("odd-bits-13.wav", Err("13 bits per sample")),
        ("unknown-format-tag.wav", Err("unknown wav format tag 0x4242")),
        ("huge-declared-length.wav", Ok(16_000)),
        ("huge-fmt-chunk.wav", Err("claims 4294967")),
        ("no-fmt.wav", Err("no fmt chunk before its data")),
        ("endless-tiny-chunks.wav", Err("more than 256 chunks")),
        ("mp3-named.wav", Ok(47_855)),
        ("wav-named.mp3", Ok(47_840)),
        ("text-named.wav", Err("no known container")),
        ("json-named.wav", Err("no known container")),
        ("random-bytes.wav", Ok(10_000)),
    ];
    for (name, expected) in cases {
        let bytes = fixture(&format!("broken/{name}"));
        let whole = decode(CONTAINER, &bytes).map(|out| out[0].len());
        match (&whole, expected) {
            (Ok(samples), Ok(expected)) => assert_eq!(*samples, expected, "{name}"),
            (Err(error), Err(reason)) => assert!(error.to_string().contains(reason), "{name}: {error}"),
            (got, expected) => panic!("{name}: {got:?}, expected {expected:?}"),
        }
        assert_eq!(
            decode_split(CONTAINER, &bytes, &[7], &[1_000]).map(|out| out[0].len()),
            whole,
            "{name} in pieces"
        );
    }
}

#[test]
fn real_files_of_telephony_decode() {
    for name in ["brooklyn-bridge-mulaw8k.wav", "brooklyn-bridge-alaw8k.wav"] {
        let out = decode(CONTAINER, &fixture(name)).unwrap();
        let rms = (out[0].iter().map(|x| x * x).sum::<f32>() / out[0].len() as f32).sqrt();
        assert_eq!(out[0].len(), 28_980, "{name}");
        assert!((0.01..0.2).contains(&rms), "{name}: {rms}");
    }
}

fn any_spec() -> impl Strategy<Value = AudioSpec> {
    let encoding = prop::sample::select(vec![Encoding::Linear16, Encoding::Linear32, Encoding::Mulaw, Encoding::Alaw]);
    let rate = prop::sample::select(vec![8_000_u32, 11_025, 16_000, 44_100, 48_000]);
    (encoding, rate, 1_u16..=3, any::<bool>())
        .prop_map(|(encoding, rate, channels, multichannel)| raw(encoding, rate, channels, multichannel))
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![1_usize..8, 1_usize..2_000], 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_split_of_headerless_audio_gives_the_same_samples(
        spec in any_spec(), bytes in prop::collection::vec(any::<u8>(), 0..20_000), cuts in cuts(), pulls in prop::collection::vec(0_usize..3_000, 1..5),
    ) {
        let bits = |lanes: Vec<Vec<f32>>| lanes.into_iter().map(|lane| lane.into_iter().map(f32::to_bits).collect::<Vec<_>>()).collect::<Vec<_>>();
        let whole = decode(spec, &bytes).map(bits);
        let split = decode_split(spec, &bytes, &cuts, &pulls).map(bits);
        // Without a byte there may be no lanes yet.
        if !bytes.is_empty() {
            let frames = bytes.len() / (sample_bytes(spec.encoding.unwrap()) * usize::from(spec.channels));
            let exact = (frames as f64 * 16_000.0 / f64::from(spec.rate.unwrap().0)).round() as usize;
            prop_assert_eq!(whole.as_ref().unwrap()[0].len(), exact);
            prop_assert_eq!(whole, split);
        }
    }

    #[test]
    fn any_split_of_a_wav_gives_the_same_samples(count in 0_usize..4_000, cuts in cuts(), pulls in prop::collection::vec(0_usize..3_000, 1..5)) {
        let bytes = wav_16k(&s16(noise(count)));
        prop_assert_eq!(decode_split(CONTAINER, &bytes, &cuts, &pulls), decode(CONTAINER, &bytes));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    /// Damage mostly the header, where it hurts: no panic, and no more output than the bytes can hold (one byte a sample, raised from
    /// 4 kHz at the most).
    #[test]
    fn damaged_wavs_neither_panic_nor_grow(
        flips in prop::collection::vec((0_usize..600, any::<u8>()), 1..6), keep in 0_usize..4_000, cut in 1_usize..500, extensible in any::<bool>(),
    ) {
        let mut bytes = if extensible { fixture("extensible-head.wav") } else { wav_16k(&s16(noise(1_000))) };
        for (at, bit) in flips {
            let at = if at < 400 { at % 60 } else { at };
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= bit;
            }
        }
        bytes.truncate(keep);
        let whole = decode(CONTAINER, &bytes);
        if let Ok(out) = &whole {
            let samples: usize = out.iter().map(Vec::len).sum();
            prop_assert!(samples <= 4 * bytes.len() + 4, "{samples} samples of {} bytes", bytes.len());
        }
        let split = decode_split(CONTAINER, &bytes, &[cut], &[500]);
        prop_assert_eq!(split.is_ok(), whole.is_ok());
    }
}
