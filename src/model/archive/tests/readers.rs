//! The small readers: values of every type and stride, and random input that must never panic.

use std::io::Cursor;

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::blob::Blob;
use super::super::checkpoint::Checkpoint;
use super::super::config::Config;
use super::super::pickle::{PickleError, state_dict};
use super::super::sentencepiece::{PieceType, SentencePieceError, pieces};
use super::super::zip::Zip;
use super::build::{members, pickle_of, zip_of};
use half::{bf16, f16};

fn blob(bytes: Vec<u8>) -> Blob<Cursor<Vec<u8>>> {
    let len = bytes.len() as u64;
    Blob::new(Cursor::new(bytes), 0, len).unwrap()
}

#[test]
fn every_element_type_becomes_f32() {
    let floats: Vec<u8> = [1.5f32, -2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    let halves: Vec<u8> = [1.5, -2.0].iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect();
    let brains: Vec<u8> = [1.5, -2.0].iter().flat_map(|&value| bf16::from_f32(value).to_le_bytes()).collect();
    let doubles: Vec<u8> = [1.5f64, -2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    let longs: Vec<u8> = [3i64, -4].iter().flat_map(|value| value.to_le_bytes()).collect();
    let ints: Vec<u8> = [3i32, -4].iter().flat_map(|value| value.to_le_bytes()).collect();
    let kinds = [
        "FloatStorage",
        "HalfStorage",
        "BFloat16Storage",
        "DoubleStorage",
        "LongStorage",
        "IntStorage",
        "BoolStorage",
    ];
    let keys = ["0", "1", "2", "3", "4", "5", "6"];
    let rows: Vec<_> = kinds
        .iter()
        .zip(&keys)
        .map(|(&kind, &key)| (kind, kind, key, 2, 0, [2].as_slice(), [1].as_slice()))
        .collect();
    let pickle = pickle_of(&rows);
    let zip = zip_of(&[
        ("top/data.pkl", &pickle),
        ("top/data/0", &floats),
        ("top/data/1", &halves),
        ("top/data/2", &brains),
        ("top/data/3", &doubles),
        ("top/data/4", &longs),
        ("top/data/5", &ints),
        ("top/data/6", &[1, 0]),
    ]);
    let mut checkpoint = Checkpoint::open(blob(zip), |_| true).unwrap();
    for (kind, wanted) in kinds.iter().zip([
        [1.5, -2.0],
        [1.5, -2.0],
        [1.5, -2.0],
        [1.5, -2.0],
        [3.0, -4.0],
        [3.0, -4.0],
        [1.0, 0.0],
    ]) {
        assert_eq!(checkpoint.read(kind).unwrap().data, wanted, "{kind}");
    }
}

#[test]
fn offset_and_stride_are_honoured_and_storages_shared() {
    let storage: Vec<u8> = (0..12u8).flat_map(|value| f32::from(value).to_le_bytes()).collect();
    let pickle = pickle_of(&[
        ("whole", "FloatStorage", "0", 12, 0, &[3, 4], &[4, 1]),
        ("transposed", "FloatStorage", "0", 12, 0, &[4, 3], &[1, 4]),
        ("slice", "FloatStorage", "0", 12, 5, &[2, 2], &[4, 1]),
        ("one", "FloatStorage", "0", 12, 11, &[], &[]),
        ("single", "FloatStorage", "0", 12, 3, &[1, 1], &[99, 7]),
        ("none", "FloatStorage", "0", 12, 0, &[0, 4], &[4, 1]),
    ]);
    // A file of more than one byte for each element that the views have together.
    let zip = zip_of(&[("x/data.pkl", &pickle), ("x/data/0", &storage)]);
    let mut checkpoint = Checkpoint::open(blob(zip), |_| true).unwrap();
    assert_eq!(checkpoint.shapes()["slice"], [2, 2]);
    let mut values = |name: &str| {
        checkpoint
            .read(name)
            .unwrap()
            .data
            .iter()
            .map(|&value| value as u8)
            .collect::<Vec<_>>()
    };
    assert_eq!(values("whole"), (0..12).collect::<Vec<_>>());
    assert_eq!(values("transposed"), [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]);
    assert_eq!(values("slice"), [5, 6, 9, 10]);
    assert_eq!((values("one"), values("single"), values("none")), (vec![11], vec![3], vec![]));
}

#[test]
fn a_zip64_directory_is_read() {
    let mut file = zip_of(&[("a/data.pkl", b"\x80\x02}.")]);
    let end = file.len() - 22;
    let directory = file.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    let mut record = b"PK\x06\x06".to_vec();
    record.extend(44u64.to_le_bytes());
    record.extend([0; 12]);
    for value in [1, 1, (end - directory) as u64, directory as u64] {
        record.extend(value.to_le_bytes());
    }
    record.extend(b"PK\x06\x07\0\0\0\0");
    record.extend((end as u64).to_le_bytes());
    record.extend(1u32.to_le_bytes());
    file.splice(end..end, record);
    let end = file.len() - 22;
    file[end + 8..end + 20].fill(0xff);
    let mut zip = Zip::open(blob(file)).unwrap();
    assert_eq!(zip.read("a/data.pkl", 100).unwrap(), b"\x80\x02}.");
}

#[test]
fn pickles_of_every_protocol() {
    // collections.OrderedDict([("x", tensor)]) by STACK_GLOBAL, FRAME, MEMOIZE, as protocols 4 and 5 write it.
    let mut pickle = b"\x80\x05\x95\x00\0\0\0\0\0\0\0\x8c\x0bcollections\x94\x8c\x0bOrderedDict\x94\x93\x94)R\x94\x8c\x01x\x94".to_vec();
    pickle.extend(b"\x8c\x0ctorch._utils\x94\x8c\x12_rebuild_tensor_v2\x94\x93\x94((\x8c\x07storage\x94\x8c\x05torch\x94\x8c\x0cFloatStorage\x94\x93\x94");
    pickle.extend(b"\x8c\x010\x94\x8c\x03cpu\x94K\x04t\x94QK\x00K\x02K\x02\x86\x94K\x02K\x01\x86\x94\x89h\x02)Rt\x94R\x94s.");
    let tensors = state_dict(&pickle).unwrap();
    assert_eq!(
        (
            tensors["x"].shape.as_slice(),
            tensors["x"].stride.as_slice(),
            tensors["x"].storage_len
        ),
        ([2, 2].as_slice(), [2, 1].as_slice(), 4)
    );
    assert_eq!(state_dict(b"\x80\x02]."), Err(PickleError::Opcode(b']')));
    assert_eq!(state_dict(b"\x80\x02}"), Err(PickleError::Truncated));
    assert!(state_dict(b"\x80\x02}.").unwrap().is_empty());
    assert_eq!(
        state_dict(&[b"\x80\x02".as_slice(), &[b'('; 1_100_000]].concat()),
        Err(PickleError::TooMany {
            what: "objects",
            limit: 1_000_000
        })
    );
    assert_eq!(
        state_dict(&[b'N'; 200_000]),
        Err(PickleError::TooMany {
            what: "values on its stack",
            limit: 100_000
        })
    );
    // A tuple nested half a million deep: flat in memory, so neither making nor dropping it recurses.
    let nested = [b"\x80\x02)".as_slice(), &[0x85; 500_000], b"."].concat();
    assert!(matches!(state_dict(&nested), Err(PickleError::Malformed(_))));
}

#[test]
fn piece_types_and_model_kinds() {
    let field = |id: u8, bytes: &[u8]| [&[id << 3 | 2, bytes.len() as u8], bytes].concat();
    let piece = |text: &str, kind: u8| field(1, &[field(1, text.as_bytes()), vec![0x15, 0, 0, 0, 0], vec![3 << 3, kind]].concat());
    let model = [
        piece("<unk>", 2),
        piece("<s>", 3),
        piece("<EOU>", 4),
        piece("<0x41>", 6),
        piece("\u{2581}a", 1),
        field(2, &[3 << 3, 2]),
    ]
    .concat();
    let found = pieces(&model).unwrap();
    assert_eq!(found[0], ("<unk>".to_owned(), PieceType::Unknown));
    assert_eq!(
        found.iter().map(|(_, kind)| *kind).collect::<Vec<_>>()[1..],
        [PieceType::Control, PieceType::UserDefined, PieceType::Byte, PieceType::Normal]
    );
    assert_eq!(pieces(&field(2, &[3 << 3, 3])), Err(SentencePieceError::Kind(3)));
    assert_eq!(
        pieces(&piece("x", 9)),
        Err(SentencePieceError::Malformed("a piece is of no known type"))
    );
    assert_eq!(pieces(&[0x0a]), Err(SentencePieceError::Truncated));
    assert_eq!(
        pieces(&[0xff; 12]),
        Err(SentencePieceError::Malformed("a number has more than 64 bits"))
    );
}

/// Instructions that the machine knows, so that random programs get somewhere.
fn instruction() -> impl Strategy<Value = Vec<u8>> {
    let plain = prop::sample::select(b"(NtRbsu}).Q\x85\x86\x87\x88\x89\x93\x94".to_vec()).prop_map(|byte| vec![byte]);
    let small = (prop::sample::select(b"Kqh".to_vec()), 0u8..6).prop_map(|(code, value)| vec![code, value]);
    let whole = prop::sample::select(vec![
        b"ccollections\nOrderedDict\n".to_vec(),
        b"ctorch._utils\n_rebuild_tensor_v2\n".to_vec(),
        b"ctorch._utils\n_rebuild_parameter\n".to_vec(),
        b"ctorch\nFloatStorage\n".to_vec(),
        b"\x8c\x07storage".to_vec(),
        b"\x8c\x010".to_vec(),
        b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f".to_vec(),
    ]);
    prop_oneof![plain, small, whole]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_never_a_panic(bytes in vec(any::<u8>(), 0..300)) {
        state_dict(&bytes).ok();
        pieces(&bytes).ok();
        Zip::open(blob(bytes)).ok();
    }

    #[test]
    fn random_programs_are_never_a_panic(program in vec(instruction(), 0..60)) {
        state_dict(&program.concat()).ok();
    }

    #[test]
    fn random_zip_tails_are_never_a_panic(tail in vec(any::<u8>(), 18), fill in any::<u8>()) {
        let mut file = zip_of(&[("a/data.pkl", b"\x80\x02}."), ("a/data/0", &[fill; 40])]);
        let end = file.len() - 18;
        file[end..].copy_from_slice(&tail);
        Checkpoint::open(blob(file), |_| true).ok();
    }

    #[test]
    fn random_settings_are_never_a_panic(text in "[-a-c:{}\\[\\]$.&*!\"'| \\n0-9]{0,80}") {
        if let Ok(config) = Config::parse(&text) {
            config.get("a.b.c").ok();
            config.text("a").ok();
            config.integers("b").ok();
        }
    }
}

#[test]
fn a_tokenizer_model_cut_or_changed_anywhere_is_never_a_panic() {
    let members = members("stream_rnnt");
    let model = members.iter().find(|(name, _)| name.ends_with("tokenizer.model")).unwrap().1;
    let whole = pieces(model).unwrap();
    for at in (0..3_000).chain((3_000..model.len()).step_by(997)) {
        if let Ok(found) = pieces(&model[..at]) {
            assert!(found.len() <= whole.len());
        }
        let mut changed = model.clone();
        changed[at] ^= 0x85;
        pieces(&changed).ok();
    }
}
