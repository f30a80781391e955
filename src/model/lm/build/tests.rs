//! The smoothing against figures worked out elsewhere, against its own definition, and through the compact form.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic
)]

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::super::NgramModel;
use super::super::fit::Fit;
use super::*;

/// 150 sentences of callers and books.
const HELD_OUT: &str = include_str!("../../../../models/recipe/held-out-sentences.txt");

fn built(text: &str, order: usize) -> Arpa {
    Sentences::read(text.as_bytes()).unwrap().build(order).unwrap()
}

/// The textbook definition of a backoff model, over the n-grams as they were built.
struct Plain<'a> {
    ids: HashMap<&'a str, u32>,
    ngrams: BTreeMap<Vec<u32>, (f64, f64)>,
}

impl<'a> Plain<'a> {
    fn new(model: &'a Arpa) -> Self {
        let of = |(index, ngrams): (usize, &Vec<Ngram>)| {
            let entry = |n: &Ngram| (n.words[..=index].to_vec(), (f64::from(n.probability), f64::from(n.backoff)));
            ngrams.iter().map(entry).collect::<Vec<_>>()
        };
        Plain {
            ids: model.words.iter().map(String::as_str).zip(0..).collect(),
            ngrams: model.orders.iter().enumerate().flat_map(of).collect(),
        }
    }

    /// ln P of the last of the words after the others.
    fn ln(&self, words: &[u32]) -> f64 {
        let (history, shorter) = (&words[..words.len() - 1], &words[1..]);
        match self.ngrams.get(words) {
            Some((probability, _)) => *probability,
            None => self.ngrams.get(history).map_or(0.0, |(_, backoff)| *backoff) + self.ln(shorter),
        }
    }

    fn p(&self, text: &str) -> f64 {
        let words: Vec<u32> = text.split(' ').map(|word| self.ids[word]).collect();
        self.ln(&words).exp()
    }
}

/// The text `a b a`, `a b`, `b a`. Too small to estimate discounts, so 1/2, 1 and 3/2 are taken off.
///
/// Words: each of `a`, `b` and `</s>` has two different predecessors; a half of the mass is taken off and shared by four words:
/// 1/6 + 1/8 = 7/24, and 1/8 for `<unk>`. Pairs: `<s> a` stands for itself, twice, and `<s> b` once: (2 - 1) / 3 + 1/2 * 7/24 = 23/48
/// and (1 - 1/2) / 3 + 1/2 * 7/24 = 5/16. `a b` and `a </s>` each have one predecessor (`<s>`, `b`): 1/4 + 1/2 * 7/24 = 19/48.
/// `b a` has two (`<s>` and `a`) and `b </s>` one: 23/48 and 5/16. Triples: `<s> a b` occurs twice and nothing else follows `<s> a`:
/// 1/2 + 1/2 * 19/48 = 67/96.
#[test]
fn a_tiny_text_by_hand() {
    let model = built("a b a\na b\n\nb a\n", 3);
    let plain = Plain::new(&model);
    for (words, wanted) in [
        ("a", 7.0 / 24.0),
        ("b", 7.0 / 24.0),
        ("</s>", 7.0 / 24.0),
        ("<unk>", 1.0 / 8.0),
        ("<s> a", 23.0 / 48.0),
        ("<s> b", 5.0 / 16.0),
        ("a b", 19.0 / 48.0),
        ("a </s>", 19.0 / 48.0),
        ("b a", 23.0 / 48.0),
        ("b </s>", 5.0 / 16.0),
        ("<s> a b", 67.0 / 96.0),
        ("b a </s>", 67.0 / 96.0),
        // Not seen: half of what the shorter history says, and half of that again.
        ("a a", 7.0 / 48.0),
        ("<s> a a", 7.0 / 96.0),
        ("b a <unk>", 1.0 / 32.0),
    ] {
        assert!((plain.p(words) - wanted).abs() < 1e-6, "{words}: {} not {wanted}", plain.p(words));
    }
    assert_eq!(model.orders.iter().map(Vec::len).collect::<Vec<_>>(), [5, 6, 5]);
}

/// Figures of an independent program in Python, in double precision, with its own way of counting.
#[test]
fn sentences_of_callers_as_another_program_has_them() {
    let model = built(HELD_OUT, 3);
    let plain = Plain::new(&model);
    for (words, wanted) in [
        ("<unk>", 0.000_617_226_855_836),
        ("the", 0.023_451_298_031_056),
        ("</s>", 0.085_011_784_788_393),
        ("of the", 0.188_756_485_635_530),
        ("<s> i", 0.094_698_847_933_128),
        ("how do i", 0.663_097_087_171_430),
        ("i need to", 0.623_129_904_777_552),
        ("i have to", 0.446_555_703_600_643),
    ] {
        assert!(
            (plain.p(words) / wanted - 1.0).abs() < 1e-5,
            "{words}: {} not {wanted}",
            plain.p(words)
        );
    }
    for (words, wanted) in [("the", 0.866_276_309_542_643), ("i need", 0.431_868_991_728_147)] {
        let ids: Vec<u32> = words.split(' ').map(|word| plain.ids[word]).collect();
        assert!((plain.ngrams[&ids].1.exp() / wanted - 1.0).abs() < 1e-5, "{words}");
    }
    assert_eq!(model.orders.iter().map(Vec::len).collect::<Vec<_>>(), [649, 1_397, 1_465]);
}

#[test]
fn discounts_follow_the_counts_of_counts_or_are_the_usual_ones() {
    let of = |times: [usize; 4]| discounts((1..).zip(times).flat_map(|(count, times)| std::iter::repeat_n(count, times)));
    // y = 10 / (10 + 2 * 4) = 5/9; 1 - 2y * 4/10, 2 - 3y * 2/4, 3 - 4y * 1/2.
    for (got, wanted) in of([10, 4, 2, 1]).into_iter().zip([5.0 / 9.0, 7.0 / 6.0, 17.0 / 9.0]) {
        assert!((got - wanted).abs() < 1e-12, "{got} not {wanted}");
    }
    for times in [
        [0, 0, 0, 0],
        [10, 0, 2, 1],
        [10, 4, 0, 1],
        [10, 4, 2, 0],
        [0, 4, 2, 1],
        [10, 1, 9, 1],
    ] {
        assert_eq!(of(times), USUAL, "{times:?}");
    }
}

#[test]
fn perplexity_is_below_that_of_simpler_models() {
    let (seen, held_out): (Vec<&str>, Vec<&str>) = (HELD_OUT.lines().take(120).collect(), HELD_OUT.lines().skip(120).collect());
    let (seen, held_out) = (seen.join("\n"), held_out.join("\n"));
    let fit = |order| {
        let model = NgramModel::from_ngrams(&built(&seen, order)).unwrap();
        Fit::read(&model, held_out.as_bytes()).unwrap()
    };
    let [one, two, three] = [1, 2, 3].map(|order| fit(order).perplexity());
    // What the other program has; the compact form rounds logarithms.
    for (got, wanted) in [(one, 132.48), (two, 103.16), (three, 101.68)] {
        assert!((got / wanted - 1.0).abs() < 0.02, "{got} not {wanted}");
    }
    assert_eq!((fit(3).unknown, fit(3).words), (112, 285));
    let uniform = 546.0;
    assert!(three < two && two < one && one < uniform);

    // Trigrams whose counts are smoothed by adding one, over the same words.
    let text = Sentences::read(seen.as_bytes()).unwrap();
    let ids: HashMap<&str, u32> = text.names.iter().map(String::as_str).zip(0..).collect();
    let mut counts: HashMap<Vec<u32>, f64> = HashMap::new();
    for words in text.each().flat_map(|sentence| (2..=3).flat_map(move |n| sentence.windows(n))) {
        *counts.entry(words.to_vec()).or_default() += 1.0;
    }
    let (mut ln, mut scored) = (0.0_f64, 0.0);
    for line in held_out.lines() {
        let of = |word: &str| ids.get(word).copied().unwrap_or(UNKNOWN);
        let sentence: Vec<u32> = [START].into_iter().chain(line.split(' ').map(of)).chain([END]).collect();
        for words in sentence.windows(3).filter(|words| words[2] != UNKNOWN) {
            let count = |words: &[u32]| counts.get(words).copied().unwrap_or(0.0);
            ln += ((count(words) + 1.0) / (count(&words[..2]) + uniform)).ln();
            scored += 1.0;
        }
    }
    let added: f64 = (-ln / scored).exp();
    assert!(three < added / 2.0, "{three} against {added}");
}

/// The model as an ARPA file.
fn arpa_text(model: &Arpa) -> String {
    let mut text = "\\data\\\n".to_owned();
    for (index, ngrams) in model.orders.iter().enumerate() {
        text += &format!("ngram {}={}\n", index + 1, ngrams.len());
    }
    for (index, ngrams) in model.orders.iter().enumerate() {
        text += &format!("\n\\{}-grams:\n", index + 1);
        for ngram in ngrams {
            let words: Vec<&str> = ngram.words[..=index].iter().map(|&id| model.words[id as usize].as_str()).collect();
            let base10 = |ln: f32| ln / std::f32::consts::LN_10;
            text += &format!("{}\t{}\t{}\n", base10(ngram.probability), words.join(" "), base10(ngram.backoff));
        }
    }
    text + "\n\\end\\\n"
}

#[test]
fn arpa_text_holds_the_same_model() {
    for order in 1..=MAX_ORDER {
        let model = built(HELD_OUT, order);
        let read = arpa::parse(arpa_text(&model).as_bytes()).unwrap();
        assert_eq!(read.words, model.words);
        for (read, built) in read.orders.iter().flatten().zip(model.orders.iter().flatten()) {
            assert_eq!(read.words, built.words);
            assert!((read.probability - built.probability).abs() < 1e-4, "{read:?} {built:?}");
            assert!((read.backoff - built.backoff).abs() < 1e-4, "{read:?} {built:?}");
        }
        assert_eq!(
            read.orders.iter().map(Vec::len).collect::<Vec<_>>(),
            model.orders.iter().map(Vec::len).collect::<Vec<_>>()
        );
    }
}

#[test]
fn the_compact_file_scores_as_the_builder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("callers.lm");
    let ngrams = built(HELD_OUT, 3);
    NgramModel::from_ngrams(&ngrams).unwrap().write(&path).unwrap();
    let model = NgramModel::open(&path).unwrap();
    let plain = Plain::new(&ngrams);
    let mark = |name: &str| plain.ids[name];
    for line in HELD_OUT.lines().chain(["the the the", "is there a the", "unheard of"]) {
        let (mut state, mut history) = (model.start(), vec![mark("<s>")]);
        for word in line.split(' ') {
            let (got, next) = match model.word_id(word) {
                Some(id) => model.score(&state, id),
                None => model.score_unknown(&state),
            };
            history.push(plain.ids.get(word).copied().unwrap_or(mark("<unk>")));
            let wanted = plain.ln(&history[history.len().saturating_sub(3)..]);
            // Three figures of at most 8 in 255 steps each, rounded.
            assert!((f64::from(got) - wanted).abs() < 0.05, "{line}: {word}: {got} not {wanted}");
            state = next;
        }
        history.push(mark("</s>"));
        let wanted = plain.ln(&history[history.len() - 3..]);
        assert!((f64::from(model.end(&state)) - wanted).abs() < 0.05, "{line}");
    }
}

#[test]
fn what_cannot_be_built_is_refused() {
    let longest = usize::try_from(MAX_LINE).unwrap();
    let refused = |text: &[u8]| Sentences::read(text).unwrap_err().to_string();
    for (text, wanted) in [
        (String::new(), "n-grams: the text has no words"),
        ("\n - \u{2026}\n".to_owned(), "n-grams: the text has no words"),
        (
            format!("yes\n{}\n", "a".repeat(MAX_WORD_BYTES + 1)),
            "line 2: word longer than 255 bytes",
        ),
        (format!("yes\n\n{}\n", "a ".repeat(longest / 2)), "line 3: longer than 16384 bytes"),
    ] {
        assert_eq!(refused(text.as_bytes()), wanted);
    }
    assert!(refused(b"yes\n\xff\xfe\n").starts_with("reading the text: "));
    for text in [
        format!("{}\n", "a".repeat(MAX_WORD_BYTES)),
        format!("{}\n", "a ".repeat(longest / 2 - 1)),
    ] {
        assert!(Sentences::read(text.as_bytes()).is_ok());
    }
    let sentences = Sentences::read(&b"yes\n"[..]).unwrap();
    for order in [0, MAX_ORDER + 1] {
        let error = sentences.build(order).unwrap_err().to_string();
        assert_eq!(error, format!("n-grams: order {order} is not between 1 and 5"));
    }
    // No sentence has four words and marks.
    assert_eq!(sentences.build(5).unwrap(), sentences.build(3).unwrap());
}

#[test]
fn the_size_of_the_text_is_limited() {
    let line = format!("{} b ", "a".repeat(MAX_WORD_BYTES)).repeat(60);
    let lines = MAX_TEXT / line.len();
    let mut text = format!("{line}\n").repeat(lines);
    assert!(Sentences::read(text.as_bytes()).is_ok());
    text += &line;
    let error = Sentences::read(text.as_bytes()).unwrap_err().to_string();
    assert_eq!(error, format!("line {}: the text has more than 67108864 bytes", lines + 1));

    let words = |count: usize| (0..count).map(|word| format!("{word}\n")).collect::<String>();
    let most = Sentences::read(words(MAX_DISTINCT).as_bytes()).unwrap();
    assert_eq!(
        (most.words(), most.numbered(), most.sentences()),
        (MAX_DISTINCT, MAX_DISTINCT, MAX_DISTINCT)
    );
    let error = Sentences::read(words(MAX_DISTINCT + 1).as_bytes()).unwrap_err().to_string();
    assert_eq!(error, format!("line {}: more than {MAX_DISTINCT} distinct words", MAX_DISTINCT + 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn probabilities_add_up_to_one_after_every_history(
        order in 1_usize..=MAX_ORDER,
        sentences in prop::collection::vec(prop::collection::vec(0_u8..9, 1..12), 1..60),
        skewed in any::<bool>(),
    ) {
        // Of skewed texts, half of the words are the same, so that higher counts occur.
        let word = |word: &u8| word.saturating_sub(if skewed { 4 } else { 0 }).to_string();
        let text: Vec<String> = sentences.iter().map(|words| words.iter().map(word).collect::<Vec<_>>().join(" ")).collect();
        let model = built(&text.join("\n"), order);
        let plain = Plain::new(&model);
        let predicted: Vec<u32> = plain.ids.iter().filter(|(name, _)| **name != "<s>").map(|(_, id)| *id).collect();
        let unseen = plain.ids["<unk>"];
        let seen = plain.ngrams.keys().filter(|words| words.len() < order).cloned();
        for history in seen.chain([vec![], vec![unseen], vec![plain.ids["<s>"], unseen]]) {
            let after = |word: &u32| plain.ln(&[history.as_slice(), &[*word]].concat());
            let sum: f64 = predicted.iter().map(|word| after(word).exp()).sum();
            prop_assert!((sum - 1.0).abs() < 1e-5, "{history:?}: {sum}");
        }
        NgramModel::from_ngrams(&model).unwrap();
    }
}
