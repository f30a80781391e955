//! The compact model against a plain one, and against damage.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic
)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;

const SMALL: &str = "\\data\\\nngram 1=6\nngram 2=4\nngram 3=1\n\n\\1-grams:\n-1.5\t<unk>\n-99\t<s>\t-0.5\n-1.0\t</s>\n-0.7\tgood\t-0.4\n\
    -0.8\tgoods\t-0.1\n-0.9\tday\t-0.2\n\n\\2-grams:\n-0.3\t<s> good\t-0.25\n-0.2\tgood day\t-0.15\n-0.6\tday </s>\n-0.5\tgoods day\n\n\\3-grams:\n\
    -0.1\t<s> good day\n\n\\end\\\n";

fn small() -> NgramModel {
    NgramModel::from_arpa(SMALL.as_bytes()).unwrap()
}

/// ln P as a base-10 logarithm.
fn base10(natural: f32) -> f32 {
    natural / std::f32::consts::LN_10
}

fn about(natural: f32, wanted: f32) {
    assert!((base10(natural) - wanted).abs() < 0.02, "{} not {wanted}", base10(natural));
}

#[test]
fn backoff_by_hand() {
    let model = small();
    let id = |word: &str| model.word_id(word).unwrap();
    let start = model.start();
    let (p, after_good) = model.score(&start, id("good"));
    about(p, -0.3);
    about(model.score(&after_good, id("day")).0, -0.1);
    about(model.score(&after_good, id("goods")).0, -0.25 - 0.4 - 0.8);
    let (p, after_day) = model.score(&model.score(&NgramState::default(), id("good")).1, id("day"));
    about(p, -0.2);
    about(model.end(&after_day), -0.15 - 0.6);
    about(model.score(&start, id("day")).0, -0.5 - 0.9);
    let (p, after_unknown) = model.score_unknown(&start);
    about(p, -0.5 - 1.5);
    about(model.score(&after_unknown, id("day")).0, -0.9);
}

#[test]
fn words_and_prefixes() {
    let model = small();
    assert_eq!(
        (model.order(), model.count(1), model.count(2), model.count(3), model.count(4)),
        (3, 6, 4, 1, 0)
    );
    assert!(
        model.word_id("goo").is_none()
            && model.word_id("").is_none()
            && model.word_id("<s>").is_none()
            && model.word_id("goodsx").is_none()
    );
    assert_ne!(model.word_id("good"), model.word_id("goods"));
    let lexicon = model.lexicon();
    let go = lexicon.advance(lexicon.root(), b"go").unwrap();
    about(lexicon.best(go), -0.7);
    let goods = lexicon.advance(go, b"ods").unwrap();
    about(lexicon.best(goods), -0.8);
    assert_eq!(lexicon.word(goods), model.word_id("goods"));
    assert!(lexicon.word(go).is_none() && lexicon.advance(go, b"x").is_none());
    about(lexicon.best(lexicon.root()), -0.7);
}

#[test]
fn a_file_gives_the_same_model() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("a.bin");
    let written = small();
    written.write(&out).unwrap();
    let read = NgramModel::open(&out).unwrap();
    assert_eq!(read.as_bytes(), written.as_bytes());
    let day = read.word_id("day").unwrap();
    assert_eq!(read.score(&read.start(), day), written.score(&written.start(), day));
    assert!(matches!(NgramModel::open(&folder.path().join("none")), Err(LmError::Io { .. })));
    std::fs::write(&out, b"").unwrap();
    assert!(NgramModel::open(&out).is_err(), "an empty file cannot be mapped");
    // Not over a folder, and without leaving the partial file.
    let taken = folder.path().join("b.bin");
    std::fs::create_dir(&taken).unwrap();
    assert!(matches!(written.write(&taken), Err(LmError::Io { .. })));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

/// Makes the checksum fit, as whoever means harm would.
fn sign(bytes: &mut [u8]) {
    if bytes.len() > 40 {
        let digest = Sha256::digest(&bytes[40..]);
        bytes[8..40].copy_from_slice(&digest);
    }
}

/// Asks a model everything that a search may ask.
fn interrogate(model: &NgramModel) {
    let mut state = model.start();
    let words = model.count(1) as u32;
    for word in (0..words).chain([words, u32::MAX]) {
        let (p, next) = model.score(&state, word);
        assert!(!p.is_nan());
        state = next;
        model.end(&state);
        model.score_unknown(&state);
    }
    let lexicon = model.lexicon();
    for byte in 0..=255 {
        lexicon.advance(lexicon.root(), &[byte]).and_then(|prefix| lexicon.word(prefix));
    }
}

#[test]
fn truncated_files_are_refused() {
    let bytes = small().as_bytes().to_vec();
    for length in 0..bytes.len() {
        let mut short = bytes[..length].to_vec();
        assert!(
            matches!(NgramModel::from_vec(short.clone()), Err(LmError::Corrupt(_))),
            "{length} bytes"
        );
        sign(&mut short);
        assert!(NgramModel::from_vec(short).is_err(), "{length} bytes, signed");
    }
    let mut longer = bytes;
    longer.push(0);
    sign(&mut longer);
    assert!(NgramModel::from_vec(longer).is_err());
}

#[test]
fn flipped_bits_are_refused_and_forged_ones_harmless() {
    let bytes = small().as_bytes().to_vec();
    let mut refused = 0;
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            assert!(NgramModel::from_vec(flipped.clone()).is_err(), "byte {at}");
            sign(&mut flipped);
            match NgramModel::from_vec(flipped) {
                Ok(model) => interrogate(&model),
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > bytes.len(), "the structure is checked, not only the checksum: {refused}");
}

#[test]
fn forged_structure_is_named() {
    let good = small().as_bytes().to_vec();
    let list = 48 + 3 * 24;
    let words = list + u32::from_le_bytes(good[44..48].try_into().unwrap()) as usize;
    // After the word list: 6 probabilities, 6 backoffs, 1 base and 7 differences of the words; then the word ids of the 2-grams.
    let (differences, ids) = (words + 6 + 6 + 4, words + 6 + 6 + 4 + 7 * 2);
    let day = list + good[list..].windows(3).position(|letters| letters == b"day").unwrap();
    let cases: [(usize, &[u8], &str); 6] = [
        (differences + 2, &[0xff, 0xff], "offsets out of order"),
        (differences, &[1, 0], "offsets do not begin at 0"),
        (differences + 12, &[3, 0], "n-grams that extend nothing"),
        (ids, &[0xff, 0xff], "n-grams out of order or of unknown words"),
        (day, b"z", "the word list is out of order"),
        (day, &[0xff], "the word list is out of order or no UTF-8"),
    ];
    for (at, forged, message) in cases {
        let mut bytes = good.clone();
        bytes[at..at + forged.len()].copy_from_slice(forged);
        sign(&mut bytes);
        let error = NgramModel::from_vec(bytes).unwrap_err().to_string();
        assert!(error.contains(message), "{error} lacks {message}");
    }
}

#[test]
fn counts_that_ask_for_much_memory_are_refused() {
    for field in [44, 48, 72, 96] {
        let mut bytes = small().as_bytes().to_vec();
        bytes[field..field + 4].copy_from_slice(&0x0fff_fff0_u32.to_le_bytes());
        sign(&mut bytes);
        assert!(NgramModel::from_vec(bytes).is_err());
    }
}

#[test]
fn malformed_arpa_is_refused_with_its_line() {
    let cases = [
        (SMALL.replace("\\data\\", "data"), "line 1: expected \\data\\"),
        (SMALL.replace("ngram 2=4", "ngram 2=x"), "line 3: expected 'ngram 2='"),
        (SMALL.replace("ngram 2=4", "ngram 3=4"), "line 3: expected 'ngram 2='"),
        (SMALL.replace("ngram 2=4", "ngram 2=999999999999"), "line 3"),
        (SMALL.replace("ngram 2=4", "ngram 2=3"), "more than the announced 3 2-grams"),
        (SMALL.replace("ngram 2=4", "ngram 2=5"), "4 2-grams where 5 were announced"),
        (SMALL.replace("-0.7\tgood", "nan\tgood"), "line 10: probability is no number"),
        (SMALL.replace("-0.7\tgood", "0.7\tgood"), "line 10: probability above 1"),
        (SMALL.replace("-0.8\tgoods", "-0.8\tgood"), "word good twice"),
        (SMALL.replace("day </s>", "day night"), "night is not among the words"),
        (SMALL.replace("day </s>", "day"), "fewer than 2 words"),
        (SMALL.replace("good day\t-0.15", "good day\t-0.15 1"), "too many fields"),
        (SMALL.replace("good day\t-0.15", "good day\tx"), "backoff is no number"),
        (SMALL.replace("goods day", "good day"), "a 2-gram occurs twice"),
        (SMALL.replace("<s> good day", "<s> goods day"), "a 3-gram extends no 2-gram"),
        (SMALL.replace("\\end\\", ""), "expected \\end\\"),
        (SMALL.replace("\\3-grams:", "\\4-grams:"), "expected \\3-grams:"),
        (SMALL.replace("goods", &"g".repeat(256)), "word longer than 255 bytes"),
        (SMALL.replace("goods", &"g".repeat(9000)), "longer than 2048 bytes"),
        (String::new(), "line 1"),
    ];
    for (text, message) in cases {
        let error = NgramModel::from_arpa(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(message), "{error} lacks {message}");
    }
    assert!(matches!(NgramModel::from_arpa(&[b'\\', 0xff, 0xfe][..]), Err(LmError::Read(_))));
    let orders: String = (1..=6).map(|order| format!("ngram {order}=1\n")).collect();
    assert!(
        NgramModel::from_arpa(format!("\\data\\\n{orders}").as_bytes())
            .unwrap_err()
            .to_string()
            .contains("order above 5")
    );
}

/// A model of any order with made-up numbers, as ARPA text and as a map.
fn made_up(order: usize, text: &[u8]) -> (String, BTreeMap<Vec<u8>, (f32, f32)>) {
    let mut ngrams = BTreeMap::new();
    for (at, window) in (1..=order).flat_map(|n| text.windows(n)).enumerate() {
        ngrams
            .entry(window.to_vec())
            .or_insert((-0.01 * (at % 300) as f32, -0.003 * (at % 170) as f32));
    }
    let mut arpa = "\\data\\\n".to_owned();
    let of = |n: usize| ngrams.iter().filter(move |(words, _)| words.len() == n);
    (1..=order).for_each(|n| arpa += &format!("ngram {n}={}\n", of(n).count()));
    for n in 1..=order {
        arpa += &format!("\n\\{n}-grams:\n");
        for (words, (p, backoff)) in of(n) {
            let words: Vec<String> = words.iter().map(|word| format!("w{word}")).collect();
            arpa += &format!("{p}\t{}\t{backoff}\n", words.join(" "));
        }
    }
    (arpa + "\\end\\\n", ngrams)
}

/// The textbook definition.
fn plain(ngrams: &BTreeMap<Vec<u8>, (f32, f32)>, context: &[u8], word: u8) -> f32 {
    let whole: Vec<u8> = context.iter().copied().chain([word]).collect();
    match (ngrams.get(&whole), context) {
        (Some((p, _)), _) => *p,
        (None, []) => f32::NAN,
        (None, [_, rest @ ..]) => ngrams.get(context).map_or(0.0, |(_, backoff)| *backoff) + plain(ngrams, rest, word),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn every_order_agrees_with_the_definition(
        order in 1_usize..=5,
        text in prop::collection::vec(0_u8..60, 20..1500),
        queries in prop::collection::vec(any::<prop::sample::Index>(), 60),
    ) {
        let (arpa, ngrams) = made_up(order, &text);
        let model = NgramModel::from_arpa(arpa.as_bytes()).unwrap();
        let mut state = NgramState::default();
        let mut history: Vec<u8> = Vec::new();
        for query in queries {
            let word = text[query.index(text.len())];
            let (p, next) = model.score(&state, model.word_id(&format!("w{word}")).unwrap());
            let context = &history[history.len().saturating_sub(order - 1)..];
            let wanted = plain(&ngrams, context, word);
            prop_assert!((base10(p) - wanted).abs() < 0.006 * order as f32, "{} not {}", base10(p), wanted);
            state = next;
            history.push(word);
        }
    }

    #[test]
    fn random_bytes_are_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(NgramModel::from_vec(bytes.clone()).is_err());
        prop_assert!(NgramModel::from_arpa(&bytes[..]).is_err());
        if bytes.len() > 48 {
            bytes[..8].copy_from_slice(b"HARKNGR1");
            sign(&mut bytes);
            if let Ok(model) = NgramModel::from_vec(bytes) {
                interrogate(&model);
            }
        }
    }
}
