use super::*;

fn chunk(id: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut bytes = [id.as_slice(), &(body.len() as u32).to_le_bytes(), body].concat();
    if body.len() % 2 == 1 {
        bytes.push(0);
    }
    bytes
}

fn fmt_body(tag: u16, channels: u16, rate: u32, bits: u16) -> Vec<u8> {
    let align = channels.wrapping_mul(bits / 8);
    let mut body = Vec::new();
    body.extend(tag.to_le_bytes());
    body.extend(channels.to_le_bytes());
    body.extend(rate.to_le_bytes());
    body.extend(rate.wrapping_mul(u32::from(align)).to_le_bytes());
    body.extend(align.to_le_bytes());
    body.extend(bits.to_le_bytes());
    body
}

fn wav(chunks: &[Vec<u8>]) -> Vec<u8> {
    let body = chunks.concat();
    [b"RIFF".as_slice(), &(body.len() as u32 + 4).to_le_bytes(), b"WAVE", &body].concat()
}

fn parse(bytes: &[u8]) -> Result<(WavHeader, usize), WavError> {
    let mut header = WavHeader::default();
    let taken = header.feed(bytes)?;
    Ok((header, taken))
}

fn format_of(fmt: Vec<u8>) -> Result<PcmFormat, WavError> {
    parse(&wav(&[chunk(b"fmt ", &fmt), chunk(b"data", &[1, 2])])).and_then(|(header, _)| header.format())
}

#[test]
fn formats() {
    let cases = [
        (1, 8, SampleFormat::U8),
        (1, 16, SampleFormat::S16),
        (1, 24, SampleFormat::S24),
        (1, 32, SampleFormat::S32),
        (3, 32, SampleFormat::F32),
        (3, 64, SampleFormat::F64),
        (6, 8, SampleFormat::Alaw),
        (7, 8, SampleFormat::Mulaw),
    ];
    for (tag, bits, sample) in cases {
        let expected = PcmFormat {
            sample,
            channels: 2,
            rate: Hz(8_000),
        };
        assert_eq!(format_of(fmt_body(tag, 2, 8_000, bits)), Ok(expected));

        let mut extensible = fmt_body(0xfffe, 2, 8_000, bits);
        extensible.extend([22, 0, bits as u8, 0, 3, 0, 0, 0]);
        extensible.extend(tag.to_le_bytes());
        extensible.extend(GUID_TAIL);
        assert_eq!(format_of(extensible), Ok(expected), "extensible");
    }
}

#[test]
fn refusals_name_the_reason() {
    assert_eq!(format_of(fmt_body(1, 1, 0, 16)), Err(WavError::Rate { rate: 0 }));
    assert_eq!(format_of(fmt_body(1, 1, 192_001, 16)), Err(WavError::Rate { rate: 192_001 }));
    assert!(format_of(fmt_body(1, 1, 192_000, 16)).is_ok() && format_of(fmt_body(1, 1, 4_000, 16)).is_ok());
    assert_eq!(format_of(fmt_body(1, 0, 8_000, 16)), Err(WavError::Channels { channels: 0 }));
    assert!(format_of(fmt_body(1, 20, 8_000, 16)).is_ok());
    assert_eq!(format_of(fmt_body(1, 21, 8_000, 16)), Err(WavError::Channels { channels: 21 }));
    assert_eq!(format_of(fmt_body(1, 1, 8_000, 0)), Err(WavError::Bits { bits: 0, tag: 1 }));
    assert_eq!(format_of(fmt_body(1, 1, 8_000, 13)), Err(WavError::Bits { bits: 13, tag: 1 }));
    assert_eq!(format_of(fmt_body(0x4242, 1, 8_000, 16)), Err(WavError::UnknownTag { tag: 0x4242 }));
    assert_eq!(
        format_of(fmt_body(0x31, 1, 8_000, 0)),
        Err(WavError::UnsupportedCodec { codec: "gsm 6.10" })
    );
    assert_eq!(
        format_of(fmt_body(1, 1, 8_000, 16)[..14].to_vec()),
        Err(WavError::ShortFormat { bytes: 14 })
    );
    assert_eq!(format_of(fmt_body(0xfffe, 1, 8_000, 16)), Err(WavError::ShortFormat { bytes: 16 }));
    assert_eq!(parse(&wav(&[chunk(b"data", &[0; 4])])).map(|_| ()), Err(WavError::NoFormat));
    assert_eq!(parse(b"RIFF\0\0\0\0WAVX").map(|_| ()), Err(WavError::NotWav));
}

#[test]
fn adpcm_gets_a_header_of_its_own() {
    let head = |fmt: Vec<u8>| parse(&wav(&[chunk(b"fmt ", &fmt), chunk(b"data", &[0; 72])])).and_then(|(header, _)| header.adpcm());
    assert_eq!(head(fmt_body(1, 1, 8_000, 16)), Ok(None));
    assert_eq!(head(fmt_body(0x31, 1, 8_000, 0)), Ok(None));
    for (tag, format_bytes) in [(MS_ADPCM, 50), (IMA_ADPCM, 20)] {
        let made = head(fmt_body(tag, 2, 8_000, 4)).unwrap().unwrap();
        let (header, taken) = parse(&made).unwrap();
        assert_eq!((taken, header.data_bytes()), (made.len(), Some(72)));
        assert_eq!(u32_at(&made, 16), Some(format_bytes));
        assert_eq!(header.adpcm(), Ok(Some(made)));

        assert_eq!(head(fmt_body(tag, 1, 8_000, 3)), Err(WavError::Bits { bits: 3, tag }));
        assert_eq!(head(fmt_body(tag, 0, 8_000, 4)), Err(WavError::Channels { channels: 0 }));
        assert_eq!(head(fmt_body(tag, 1, 3_999, 4)), Err(WavError::Rate { rate: 3_999 }));
        let codec = "adpcm of more than two channels";
        assert_eq!(head(fmt_body(tag, 3, 8_000, 4)), Err(WavError::UnsupportedCodec { codec }));
    }
}

#[test]
fn other_chunks_are_skipped_with_their_padding() {
    let fmt = chunk(b"fmt ", &fmt_body(1, 1, 16_000, 16));
    let bytes = wav(&[
        chunk(b"JUNK", &[7; 5]),
        chunk(b"LIST", b"INFOISFT\x02\0\0\0x\0"),
        chunk(b"none", &[]),
        fmt,
        chunk(b"data", &[1, 2, 3, 4]),
    ]);
    let (header, taken) = parse(&bytes).unwrap();
    assert_eq!(taken, bytes.len() - 4);
    assert_eq!(header.data_bytes(), Some(4));
    for pieces in 1..=7 {
        let mut header = WavHeader::default();
        let taken: usize = bytes.chunks(pieces).map(|piece| header.feed(piece).unwrap()).sum();
        assert_eq!(taken, bytes.len() - 4, "pieces of {pieces}");
        assert!(header.is_complete() && header.format().is_ok());
    }
}

#[test]
fn unknown_sizes_mean_until_the_end() {
    let fmt = chunk(b"fmt ", &fmt_body(1, 1, 16_000, 16));
    let with_size = |size: u32| {
        parse(&wav(&[fmt.clone(), [b"data".as_slice(), &size.to_le_bytes()].concat()]))
            .unwrap()
            .0
            .data_bytes()
    };
    assert_eq!(with_size(0), None);
    assert_eq!(with_size(u32::MAX), None);
    assert_eq!(with_size(6), Some(6));

    let ds64 = |size: u64| chunk(b"ds64", &[&0_u64.to_le_bytes(), &size.to_le_bytes(), [0; 12].as_slice()].concat());
    let rf64 = |size: u64| {
        parse(&wav(&[ds64(size), fmt.clone(), [b"data".as_slice(), &[0xff; 4]].concat()]))
            .unwrap()
            .0
            .data_bytes()
    };
    assert_eq!(rf64(5_000_000_000), Some(5_000_000_000));
    assert_eq!(rf64(0), None);
}

#[test]
fn limits() {
    let fmt = chunk(b"fmt ", &fmt_body(1, 1, 16_000, 16));
    let data = chunk(b"data", &[0, 0]);
    let many = |n: usize| wav(&[vec![chunk(b"none", &[]); n].concat(), fmt.clone(), data.clone()]);
    assert!(parse(&many(255)).unwrap().0.is_complete());
    assert_eq!(parse(&many(256)).map(|_| ()), Err(WavError::TooManyChunks));

    // 12 of the form, 8 + 24 of fmt, 8 of the long chunk's head.
    let long = |size: usize| wav(&[fmt.clone(), chunk(b"long", &vec![0; size]), data.clone()]);
    let room = MAX_HEADER_BYTES as usize - 12 - 24 - 8;
    assert!(parse(&long(room)).unwrap().0.is_complete());
    assert_eq!(
        parse(&long(room + 2)).map(|_| ()),
        Err(WavError::HeaderTooLong {
            bytes: MAX_HEADER_BYTES + 2
        })
    );
    // A lying size is refused when it is read, not after a mebibyte.
    let lying = [wav(&[]), b"fmt \xff\xff\xff\xff".to_vec()].concat();
    assert!(matches!(parse(&lying), Err(WavError::HeaderTooLong { .. })));
}
