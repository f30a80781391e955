#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic,
    reason = "a test"
)]

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::model::manifest::{Decode, LanguageModel};

fn nemo(model: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/oracle")
        .join(model)
        .join("model.nemo")
}

/// A models directory with one imported model.
fn imported(model: &str, precision: Precision) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    import(&nemo(model), directory.path(), Some(model), precision).unwrap();
    let folder = directory.path().join(model);
    (directory, folder)
}

#[test]
fn every_fixture_survives_an_import_unchanged() {
    for model in ["stream_hybrid", "stream_rnnt", "stream_prompt", "offline_tdt", "offline_ctc"] {
        let (_directory, folder) = imported(model, Precision::F32);
        let mut files: Vec<String> = fs::read_dir(&folder)
            .unwrap()
            .map(|item| item.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        assert_eq!(files, [MANIFEST, VOCABULARY, WEIGHTS], "nothing partial is left");
        let loaded = load(&folder).unwrap();
        let published = archive::read(&nemo(model)).unwrap();
        assert!(loaded.weights.iter().eq(published.weights.iter()), "{model}");
        assert_eq!(
            (loaded.manifest.arch, loaded.tokenizer),
            (published.architecture, published.tokenizer),
            "{model}"
        );
        assert_eq!(loaded.manifest.live, model.starts_with("stream"));
        assert!(!loaded.manifest.uuid.is_nil());
    }
    let (_directory, folder) = imported("stream_prompt", Precision::F32);
    let manifest = read_manifest(&folder).unwrap();
    assert_eq!(
        (manifest.languages, manifest.default_context),
        (vec!["de-DE".into(), "en-US".into(), "fr-FR".into()], [56, 3])
    );
    assert_eq!(
        (manifest.architecture.as_str(), manifest.provenance.source.as_str()),
        ("fastconformer-rnnt", "model.nemo")
    );
}

#[test]
fn half_precision_rounds_matrices_alone() {
    let (_directory, folder) = imported("offline_tdt", Precision::F16);
    let (_other, full) = imported("offline_tdt", Precision::F32);
    let size = |folder: &Path| fs::metadata(folder.join(WEIGHTS)).unwrap().len();
    assert!(
        size(&folder) < size(&full) * 6 / 10 + 150_000,
        "{} of {}",
        size(&folder),
        size(&full)
    );
    let (half, full) = (load(&folder).unwrap(), load(&full).unwrap());
    assert_ne!(half.manifest.uuid, full.manifest.uuid);
    let mut rounded = 0;
    for ((name, one), (_, other)) in half.weights.iter().zip(full.weights.iter()) {
        if other.shape.len() < 2 || name.starts_with("preprocessor.") {
            assert_eq!(one, other, "{name}");
            continue;
        }
        for (one, other) in one.data.iter().zip(&other.data) {
            assert!((one - other).abs() <= other.abs() / 2048.0 + 3e-8, "{name}: {one} {other}");
            rounded += usize::from(one != other);
        }
    }
    assert!(rounded > 1_000);
}

#[test]
fn values_beyond_f16_keep_their_matrix_in_f32() {
    let mut weights = Weights::default();
    let tensor = |data: Vec<f32>| super::super::weights::Tensor {
        shape: vec![1, data.len()],
        data,
    };
    weights.insert("large", tensor(vec![1e5, 0.1]));
    weights.insert("small", tensor(vec![0.1, 0.2]));
    let file = tempfile::NamedTempFile::new().unwrap();
    weights_file::write(&weights, Precision::F16, file.path()).unwrap();
    let (read, _) = weights_file::read(File::open(file.path()).unwrap(), |_| Ok::<(), ()>(()))
        .unwrap()
        .unwrap();
    assert_eq!(read.get("large", &[1, 2]).unwrap(), [1e5, 0.1]);
    assert_ne!(read.get("small", &[1, 2]).unwrap(), [0.1, 0.2]);
}

#[test]
fn a_second_import_keeps_what_people_wrote() {
    let (directory, folder) = imported("stream_hybrid", Precision::F32);
    let mut written = read_manifest(&folder).unwrap();
    written.aliases = vec!["nova-3".into(), "general".into()];
    written.languages = vec!["en".into()];
    written.licence = "Apache-2.0".into();
    written.version = "7".into();
    written.provenance.notes = "made by hand".into();
    written.default_context = [70, 1];
    written.checksums.lm = Some(hex(&Sha256::digest(b"words")));
    let lm = LanguageModel {
        file: "lm.bin".into(),
        weight: 0.5,
        word_bonus: 1.0,
        unknown_penalty: 8.0,
        beam_width: 8,
    };
    written.decode = Some(Decode {
        head: Head::Ctc,
        lm: Some(lm),
    });
    fs::write(folder.join(MANIFEST), written.write().unwrap()).unwrap();
    fs::write(folder.join("lm.bin"), b"words").unwrap();
    assert_eq!(
        load(&folder).unwrap().lm.map(|path| fs::read(path).unwrap()).as_deref(),
        Some(b"words".as_slice())
    );

    fs::write(folder.join("lm.bin"), b"other").unwrap();
    assert!(load(&folder).unwrap_err().to_string().contains("lm.bin is damaged or was replaced"));
    fs::write(folder.join("lm.bin"), b"words").unwrap();

    // The same archive again: everything stays.
    import(&nemo("stream_hybrid"), directory.path(), Some("stream_hybrid"), Precision::F32).unwrap();
    assert_eq!(read_manifest(&folder).unwrap(), written);
    assert_eq!(
        load(&folder).unwrap().lm.map(|path| fs::read(path).unwrap()).as_deref(),
        Some(b"words".as_slice())
    );

    // Another model: what belongs to the weights is replaced.
    import(&nemo("stream_rnnt"), directory.path(), Some("stream_hybrid"), Precision::F16).unwrap();
    let replaced = load(&folder).unwrap();
    let manifest = replaced.manifest;
    assert_eq!((manifest.aliases, manifest.languages), (written.aliases, written.languages));
    assert_eq!(
        (manifest.licence, manifest.version, manifest.provenance.notes),
        (written.licence, written.version, written.provenance.notes)
    );
    assert_ne!(
        (manifest.uuid, &manifest.checksums.weights),
        (written.uuid, &written.checksums.weights)
    );
    assert_eq!(
        (manifest.arch.frontend.mel_bins, manifest.default_context),
        (128, [56, 13]),
        "the context [70, 1] no longer exists"
    );
    assert_eq!(
        (manifest.decode, manifest.checksums.lm, replaced.lm),
        (None, None, None),
        "there is no ctc head any more"
    );
}

#[test]
fn damage_is_found_and_named() {
    let (_directory, folder) = imported("offline_ctc", Precision::F16);
    let change = |file: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let whole = fs::read(folder.join(file)).unwrap();
        let mut changed = whole.clone();
        change(&mut changed);
        fs::write(folder.join(file), changed).unwrap();
        let error = load(&folder).unwrap_err();
        let error = format!(
            "{error}: {}",
            std::error::Error::source(&error).map_or(String::new(), ToString::to_string)
        );
        fs::write(folder.join(file), whole).unwrap();
        error
    };
    let end = |bytes: &mut Vec<u8>| *bytes.last_mut().unwrap() ^= 1;
    assert!(change(WEIGHTS, &end).contains("weights.safetensors is damaged or was replaced"));
    assert!(change(VOCABULARY, &|bytes| bytes.extend(b"x\n")).contains("vocab.txt is damaged or was replaced"));
    assert!(change(WEIGHTS, &|bytes| bytes.truncate(bytes.len() - 4)).contains("beyond the end"));
    assert!(change(WEIGHTS, &|bytes| bytes.extend([0; 4])).contains("bytes follow the last tensor"));
    assert!(change(WEIGHTS, &|bytes| bytes.truncate(5)).contains("cannot be read"));
    assert!(change(WEIGHTS, &|bytes| bytes[..8].fill(0xff)).contains("longer than the file"));
    assert!(change(WEIGHTS, &|bytes| bytes[8] = b'[').contains("header of weights.safetensors is damaged"));
    let manifest = |from: &'static str, to: &'static str| {
        change(MANIFEST, &move |bytes| {
            *bytes = String::from_utf8(bytes.clone()).unwrap().replacen(from, to, 1).into_bytes()
        })
    };
    assert!(manifest("layers = 2", "layers = 3").contains("does not fit model.toml: tensor encoder.layers.2"));
    assert!(manifest("width = 40", "width = 4294967296").contains("architecture size width"));
    assert!(manifest("heads = 4", "heads = 0").contains("architecture size heads"));
    assert!(manifest("vocabulary = 96", "vocabulary = 97").contains("vocab.txt has 96 pieces, model.toml says 97"));
    assert!(load(&folder).is_ok());
}

#[test]
fn a_changed_header_never_panics() {
    let (_directory, folder) = imported("offline_ctc", Precision::F16);
    let whole = fs::read(folder.join(WEIGHTS)).unwrap();
    let header = u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    for at in (0..8 + header).step_by(61) {
        for flip in [1, 4, 0x11] {
            let mut changed = whole.clone();
            changed[at] ^= flip;
            fs::write(folder.join(WEIGHTS), changed).unwrap();
            assert!(load(&folder).is_err(), "byte {at}");
        }
    }
}

#[test]
fn names_paths_and_aliases_resolve() {
    let (directory, folder) = imported("offline_ctc", Precision::F16);
    let models = directory.path();
    let mut manifest = read_manifest(&folder).unwrap();
    manifest.aliases = vec!["general".into()];
    fs::write(folder.join(MANIFEST), manifest.write().unwrap()).unwrap();
    for name in ["offline_ctc", "general", &manifest.uuid.to_string(), folder.to_str().unwrap()] {
        assert_eq!(resolve(models, name).unwrap().manifest.name, "offline_ctc", "{name}");
    }
    let direct = resolve(models, nemo("offline_tdt").to_str().unwrap()).unwrap();
    assert_eq!(
        (direct.manifest.name.as_str(), direct.manifest.architecture.as_str()),
        ("model", "fastconformer-tdt")
    );
    for name in ["none", "../offline_ctc", "", "a/b"] {
        assert!(matches!(resolve(models, name), Err(StoreError::Unknown { .. })), "{name}");
    }
    let listed = list(models).unwrap();
    assert_eq!((listed.len(), listed[0].folder.as_str()), (1, "offline_ctc"));
    fs::rename(&folder, models.join("renamed")).unwrap();
    assert!(matches!(list(models).unwrap()[0].manifest, Err(StoreError::Folder { .. })));
    fs::write(models.join("renamed").join(MANIFEST), "format = 1").unwrap();
    assert!(matches!(list(models).unwrap()[0].manifest, Err(StoreError::Manifest(_))));
    assert!(list(&models.join("nowhere")).unwrap().is_empty());
}

#[test]
fn refused_imports_leave_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["../x", "a/b", "", ".hidden", "a b", "x\0"] {
        assert!(
            matches!(
                import(&nemo("offline_ctc"), directory.path(), Some(name), Precision::F32),
                Err(StoreError::Name(_))
            ),
            "{name}"
        );
    }
    let broken = directory.path().join("broken.nemo");
    fs::write(&broken, b"nothing").unwrap();
    assert!(import(&broken, &directory.path().join("models"), None, Precision::F32).is_err());
    assert!(!directory.path().join("models").exists());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    assert_eq!(
        (
            name_of(Path::new("/x/a b.nemo")),
            name_of(Path::new("..")),
            name_of(Path::new(".nemo"))
        ),
        ("a-b".into(), "model".into(), "nemo".into())
    );
}
