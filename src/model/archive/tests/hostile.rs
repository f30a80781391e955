//! Archives made to do harm: each is refused by name, none panics, none takes more memory or time than its size warrants.

use std::time::{Duration, Instant};

use super::build::{Row, config, gzip, members, pack, pickle_of, read_bytes, refusal, tar_of, zip_of};

/// The refusal of a fixture with another checkpoint.
fn with_checkpoint(checkpoint: Vec<u8>) -> String {
    let mut members = members("offline_ctc");
    members.insert("model_weights.ckpt".into(), checkpoint);
    refusal(read_bytes(&pack(&members)))
}

fn with_pickle(pickle: &[u8]) -> String {
    with_checkpoint(zip_of(&[
        ("a/data.pkl", pickle),
        ("a/byteorder", b"little"),
        ("a/data/0", &[0; 64]),
    ]))
}

fn with_row(row: Row<'_>) -> String {
    with_pickle(&pickle_of(&[row]))
}

#[test]
fn names_that_lead_out_of_the_archive() {
    for name in [
        "../../etc/x_tokenizer.model",
        "/etc/x_tokenizer.model",
        "a/../../model_config.yaml",
        "..\\model_config.yaml",
    ] {
        let refusal = refusal(read_bytes(&tar_of([(name, b"x".as_slice())])));
        assert!(refusal.contains("leads out of the archive"), "{refusal}");
    }
    // In a sub-folder a name is simply another one.
    let refusal = refusal(read_bytes(&tar_of([("a/model_config.yaml", b"x".as_slice())])));
    assert!(refusal.contains("has no member model_config.yaml"), "{refusal}");
}

#[test]
fn announced_sizes_beyond_the_archive() {
    for (name, size, wanted) in [
        ("model_config.yaml", 5 << 20, "the limit is 4194304"),
        ("x_tokenizer.model", 33 << 20, "the limit is 33554432"),
        ("model_weights.ckpt", 17u64 << 30, "the limit is 17179869184"),
        ("model_weights.ckpt", 15u64 << 30, "the file ends before"),
        ("model_config.yaml", 4 << 20, "the archive cannot be read"),
    ] {
        let mut archive = tar_of([(name, b"small".as_slice())]);
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes().copy_from_slice(&archive[..512]);
        header.set_size(size);
        header.set_cksum();
        archive[..512].copy_from_slice(header.as_bytes());
        for bytes in [gzip(&archive), archive] {
            let refusal = refusal(read_bytes(&bytes));
            let gzipped_end = bytes[0] == 0x1f && refusal.contains("ends");
            assert!(
                refusal.contains(wanted) || gzipped_end || refusal.contains("cannot be read"),
                "{name} {size}: {refusal}"
            );
        }
    }
}

#[test]
fn a_gzip_bomb_stops_early() {
    let zeros = vec![0; 256 << 20];
    let bomb = gzip(&tar_of([("padding.bin", zeros.as_slice()), ("model_config.yaml", b"x")]));
    assert!(bomb.len() < 2 << 20);
    let refusal = refusal(read_bytes(&bomb));
    assert!(refusal.contains("cannot be read") || refusal.contains("has no member"), "{refusal}");
}

#[test]
fn pickles_that_ask_for_anything_else() {
    let system = with_pickle(b"\x80\x02cos\nsystem\nX\x02\0\0\0id\x85R.");
    assert!(system.contains("asks for os.system"), "{system}");
    let builtin = with_pickle(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.");
    assert!(builtin.contains("asks for builtins.eval"), "{builtin}");
    let instance = with_pickle(b"\x80\x02(ios\nsystem\n.");
    assert!(instance.contains("instruction 0x69"), "{instance}");
    let extension = with_pickle(b"\x80\x02\x82\x01.");
    assert!(extension.contains("instruction 0x82"), "{extension}");
    let call = with_pickle(b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nX\x02\0\0\0id\x85R.");
    assert!(call.contains("does not describe a tensor"), "{call}");
    let protocol = with_pickle(b"\x80\x01}.");
    assert!(protocol.contains("protocol"), "{protocol}");
}

#[test]
fn tensors_beyond_their_storage() {
    // 16 elements of f32 exist.
    for (row, wanted) in [
        (
            ("x", "FloatStorage", "0", 17, 0, [17].as_slice(), [1].as_slice()),
            "another size than announced",
        ),
        (("x", "DoubleStorage", "0", 16, 0, &[16], &[1]), "another size than announced"),
        (("x", "FloatStorage", "0", 16, 1, &[16], &[1]), "reaches beyond its storage"),
        (("x", "FloatStorage", "0", 16, 0, &[4, 4], &[8, 1]), "reaches beyond its storage"),
        (
            ("x", "FloatStorage", "0", 16, 0, &[1 << 30, 1 << 30], &[0, 0]),
            "is larger than its storage",
        ),
        (
            ("x", "FloatStorage", "0", 16, 0, &[1 << 30, 1 << 30, 1 << 30], &[0, 0, 0]),
            "is larger than its storage",
        ),
        (("x", "FloatStorage", "0", 16, -1, &[4], &[1]), "offset is negative"),
        (("x", "FloatStorage", "0", 16, 0, &[-4], &[1]), "size is negative"),
        (("x", "FloatStorage", "0", 16, 0, &[4], &[1, 1]), "sizes and strides"),
        (("x", "FloatStorage", "0", 16, 0, &[1; 9], &[1; 9]), "sizes and strides"),
        (("x", "FloatStorage", "1", 16, 0, &[16], &[1]), "no member a/data/1"),
        (("x", "QInt8Storage", "0", 64, 0, &[64], &[1]), "asks for torch.QInt8Storage"),
    ] {
        let refusal = with_row(row);
        assert!(refusal.contains(wanted), "{row:?}: {refusal}");
    }
}

#[test]
fn many_views_of_one_storage_do_not_fill_memory() {
    let names: Vec<String> = (0..200).map(|index| format!("x{index}")).collect();
    let rows: Vec<Row<'_>> = names
        .iter()
        .map(|name| (name.as_str(), "FloatStorage", "0", 1 << 16, 0, [1 << 16].as_slice(), [1].as_slice()))
        .collect();
    let storage = vec![0; 4 << 16];
    let refusal = with_checkpoint(zip_of(&[("a/data.pkl", &pickle_of(&rows)), ("a/data/0", &storage)]));
    assert!(refusal.contains("more than its"), "{refusal}");
}

#[test]
fn checkpoints_that_are_no_proper_zip() {
    assert!(with_checkpoint(b"\x80\x02\x8a\x0alegacy".to_vec()).contains("not a zip container"));
    assert!(with_checkpoint(zip_of(&[("a/version", b"3")])).contains("no member data.pkl"));
    let order = zip_of(&[("a/data.pkl", b"\x80\x02}."), ("a/byteorder", b"big")]);
    assert!(with_checkpoint(order).contains("byte order is big"));
    assert!(with_checkpoint(zip_of(&[("a/data.pkl", b"."), ("a/data.pkl", b".")])).contains("two members of one name"));
    let mut deflated = zip_of(&[("a/data.pkl", b"\x80\x02}.")]);
    let directory = deflated.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    deflated[directory + 10] = 8;
    assert!(with_checkpoint(deflated).contains("compressed or encrypted"));
    let mut far = zip_of(&[("a/data.pkl", b"\x80\x02}.")]);
    far[directory + 42..directory + 46].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
    assert!(with_checkpoint(far).contains("ends early"));
}

#[test]
fn values_that_are_not_numbers() {
    let mut members = members("offline_ctc");
    let checkpoint = members.get_mut("model_weights.ckpt").unwrap();
    // The window, the first storage: its largest value is the only 1.0 nearby.
    let one = checkpoint
        .windows(4)
        .position(|window| window == 0.999_984_5_f32.to_le_bytes())
        .unwrap();
    checkpoint[one..one + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    let refusal = refusal(read_bytes(&pack(&members)));
    assert!(
        refusal.contains("preprocessor.featurizer.window") && refusal.contains("not a finite number"),
        "{refusal}"
    );
}

#[test]
fn configurations_that_expand_without_end() {
    let mut aliases = "a: &a [x, x, x, x, x, x, x, x]\n".to_owned();
    for (name, before) in "bcdefghij".chars().zip("abcdefghi".chars()) {
        aliases += &format!("{name}: &{name} [*{before}, *{before}, *{before}, *{before}, *{before}, *{before}, *{before}, *{before}]\n");
    }
    let brackets = "[".repeat(20_000);
    let commas = format!("a: {}{}", "[".repeat(60), "x,".repeat(1 << 20));
    let deeper = format!("a: {}{}", "[".repeat(1_900), "x,".repeat(1 << 20));
    let dashes = "- ".repeat(1 << 20);
    let explicit = "? ".repeat(1 << 20);
    let chain: String = (0..100).map(|index| format!("a{index}: ${{a{}}}\n", index + 1)).collect();
    for text in [aliases, brackets, "[".repeat(1 << 21), commas, deeper, dashes, explicit, chain] {
        let mut members = members("offline_ctc");
        members.insert("model_config.yaml".into(), text.clone().into_bytes());
        let started = Instant::now();
        let refusal = refusal(read_bytes(&pack(&members)));
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "{} took {:?}",
            &text[..20],
            started.elapsed()
        );
        assert!(!refusal.is_empty());
    }
    // References that branch at every step: 4^16 steps if each were followed on its own.
    let mut members = members("offline_ctc");
    let mut text = config(&members).replace("  n_layers: 2", "  n_layers: ${r0.r.r.r}");
    for index in 0..16 {
        text += &format!("r{index}:\n  r: ${{r{}.r.r.r}}\n", index + 1);
    }
    members.insert("model_config.yaml".into(), text.into_bytes());
    let started = Instant::now();
    assert!(refusal(read_bytes(&pack(&members))).contains("leads nowhere"));
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn an_archive_cut_short_anywhere_is_refused() {
    let whole = pack(&members("offline_ctc"));
    // The last member that is needed ends before the padding of the tar file.
    let end = whole.len() - 1024;
    for at in (0..200).map(|step| end * step / 200).chain(end - 600..end - 512) {
        let cut = &whole[..at];
        assert!(read_bytes(cut).is_err(), "cut at {at}");
    }
}

#[test]
fn flipped_bytes_never_panic() {
    let members = members("offline_ctc");
    let whole = pack(&members);
    let checkpoint = whole.windows(4).position(|window| window == b"PK\x03\x04").unwrap();
    let directory = whole.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    let mut refused = 0;
    for round in 0..600 {
        let mut bytes = whole.clone();
        let (from, len) = match round % 4 {
            0 => (0, whole.len()),
            1 => (checkpoint, 20_000),
            2 => (directory, whole.len() - directory),
            _ => (0, 6_000),
        };
        for _ in 0..=round % 3 {
            let at = from + random() % len;
            bytes[at] ^= 1 << (random() % 8);
        }
        refused += usize::from(read_bytes(&bytes).is_err());
    }
    assert!(refused > 50, "only {refused} of 600 were refused: the flips miss what matters");
}
