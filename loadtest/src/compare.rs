//! Compares the words of a stream under load with the words of the same audio on its own.
//!
//! Pure. `report` calls it once for every call; it knows nothing of sockets.

use std::collections::HashMap;
use std::ops::{AddAssign, Range};

use serde::Serialize;

/// Word times may differ by this much, in seconds, before the word counts as moved: times are printed as 32-bit floats.
const SAME_TIME: f64 = 1e-3;

/// One word of a final result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Word {
    /// As written in the transcript.
    pub(crate) text: String,
    /// Start and end in seconds, where the result gave one time for each word of its transcript.
    pub(crate) times: Option<(f64, f64)>,
}

/// What is different between two transcripts, in words. Each wrong word is counted once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Differences {
    /// Words of the reference.
    pub(crate) words: u64,
    /// In the reference, not in the stream.
    pub(crate) missing: u64,
    /// Said again: an additional word, or run of words, equal to the one beside it.
    pub(crate) doubled: u64,
    /// Another word in place of one of the reference.
    pub(crate) differing: u64,
    /// At least two wrong words in a row that stand so in another file of the run and not in this one: another stream's words.
    pub(crate) crossed: u64,
    /// Additional words that are neither doubled nor crossed.
    pub(crate) extra: u64,
    /// The right word at another time.
    pub(crate) moved: u64,
}

impl Differences {
    /// Wrong words of all kinds.
    pub(crate) fn wrong(&self) -> u64 {
        self.missing + self.doubled + self.differing + self.crossed + self.extra + self.moved
    }
}

impl AddAssign for Differences {
    fn add_assign(&mut self, other: Self) {
        self.words += other.words;
        self.missing += other.missing;
        self.doubled += other.doubled;
        self.differing += other.differing;
        self.crossed += other.crossed;
        self.extra += other.extra;
        self.moved += other.moved;
    }
}

/// One step of an alignment, with indices into the reference and into the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Same(usize, usize),
    Differs(usize, usize),
    Missing,
    Extra(usize),
}

/// Cheapest alignment (Levenshtein: one for each missing, extra or differing word). Common ends are cut off first.
fn align<T: PartialEq>(reference: &[T], got: &[T]) -> Vec<Step> {
    let head = reference.iter().zip(got).take_while(|(a, b)| a == b).count();
    let (reference_rest, got_rest) = (reference.get(head..).unwrap_or_default(), got.get(head..).unwrap_or_default());
    let tail = reference_rest
        .iter()
        .rev()
        .zip(got_rest.iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    let (rows, columns) = (reference_rest.len().saturating_sub(tail), got_rest.len().saturating_sub(tail));

    let mut steps: Vec<Step> = (0..head).map(|at| Step::Same(at, at)).collect();
    align_middle(
        reference_rest.get(..rows).unwrap_or_default(),
        got_rest.get(..columns).unwrap_or_default(),
        head,
        &mut steps,
    );
    let (reference_tail, got_tail) = (head.saturating_add(rows), head.saturating_add(columns));
    steps.extend((0..tail).map(|at| Step::Same(reference_tail.saturating_add(at), got_tail.saturating_add(at))));
    steps
}

/// The table of edit distances, `[rows + 1, columns + 1]`, filled from the end so that the steps come out in order.
#[expect(clippy::indexing_slicing, reason = "every index is bounded by the table's own size")]
fn align_middle<T: PartialEq>(reference: &[T], got: &[T], offset: usize, steps: &mut Vec<Step>) {
    let (rows, columns) = (reference.len(), got.len());
    let width = columns + 1;
    let mut cost = vec![0_u32; (rows + 1) * width];
    for row in (0..=rows).rev() {
        for column in (0..=columns).rev() {
            let here = row * width + column;
            if row == rows && column == columns {
                continue;
            }
            let missing = if row < rows { cost[here + width] + 1 } else { u32::MAX };
            let extra = if column < columns { cost[here + 1] + 1 } else { u32::MAX };
            let both = if row < rows && column < columns {
                cost[here + width + 1] + u32::from(reference[row] != got[column])
            } else {
                u32::MAX
            };
            cost[here] = missing.min(extra).min(both);
        }
    }
    let (mut row, mut column) = (0, 0);
    while row < rows || column < columns {
        let here = row * width + column;
        if row < rows && column < columns {
            let same = reference[row] == got[column];
            if cost[here] == cost[here + width + 1] + u32::from(!same) {
                let pair = (offset + row, offset + column);
                steps.push(if same {
                    Step::Same(pair.0, pair.1)
                } else {
                    Step::Differs(pair.0, pair.1)
                });
                (row, column) = (row + 1, column + 1);
                continue;
            }
        }
        if row < rows && cost[here] == cost[here + width] + 1 {
            steps.push(Step::Missing);
            row += 1;
        } else {
            steps.push(Step::Extra(offset + column));
            column += 1;
        }
    }
}

/// Word errors (missing, extra and differing words) of `got` against `reference`.
pub(crate) fn word_errors(reference: &[String], got: &[String]) -> u64 {
    let wrong = align(reference, got).iter().filter(|step| !matches!(step, Step::Same(..))).count();
    u64::try_from(wrong).unwrap_or(u64::MAX)
}

/// Lower case, no punctuation, no fillers: the form in which transcripts are scored. Numerals are left alone.
pub(crate) fn normalise(text: &str) -> Vec<String> {
    text.to_lowercase()
        .replace('\u{2019}', "'")
        .split(|c: char| !c.is_alphanumeric() && c != '\'')
        .map(|word| word.trim_matches('\''))
        .filter(|word| !matches!(*word, "" | "um" | "uh" | "umm" | "uhm" | "er" | "erm" | "hmm"))
        .map(str::to_owned)
        .collect()
}

/// The reference words of everything that is heard in the run, and where each pair of neighbours occurs in them.
#[derive(Debug)]
pub(crate) struct References {
    /// For each reference the file that is heard: one file in two forms is no other stream.
    sources: Vec<usize>,
    files: Vec<Vec<Word>>,
    pairs: HashMap<(String, String), Vec<(usize, usize)>>,
}

impl References {
    /// Each reference has the file that is heard and its words when it is alone.
    pub(crate) fn new(references: Vec<(usize, Vec<Word>)>) -> Self {
        let (sources, files): (Vec<usize>, Vec<Vec<Word>>) = references.into_iter().unzip();
        let mut pairs: HashMap<_, Vec<_>> = HashMap::new();
        for (file, words) in files.iter().enumerate() {
            for (at, pair) in words.windows(2).enumerate() {
                if let [first, second] = pair {
                    pairs.entry((first.text.clone(), second.text.clone())).or_default().push((file, at));
                }
            }
        }
        Self { sources, files, pairs }
    }

    /// The words of all references.
    pub(crate) fn words(&self) -> u64 {
        let words = self.files.iter().map(Vec::len).sum::<usize>();
        u64::try_from(words).unwrap_or(u64::MAX)
    }

    /// Compares what was heard in place of reference `file` with it.
    pub(crate) fn compare(&self, file: usize, got: &[Word]) -> Differences {
        let reference = self.files.get(file).map(Vec::as_slice).unwrap_or_default();
        let texts = |words: &[Word]| words.iter().map(|word| word.text.clone()).collect::<Vec<_>>();
        let (reference_texts, got_texts) = (texts(reference), texts(got));
        let steps = align(&reference_texts, &got_texts);

        let mut found = Differences {
            words: u64::try_from(reference.len()).unwrap_or(u64::MAX),
            ..Differences::default()
        };
        let crossed = self.crossed(file, &got_texts, &steps);
        let is_crossed = |at: usize| crossed.get(at).copied().unwrap_or(false);
        let extra: Vec<usize> = steps
            .iter()
            .filter_map(|step| if let Step::Extra(at) = step { Some(*at) } else { None })
            .collect();
        for step in &steps {
            match *step {
                Step::Missing => found.missing += 1,
                Step::Differs(_, at) if is_crossed(at) => found.crossed += 1,
                Step::Differs(..) => found.differing += 1,
                Step::Same(left, right) => found.moved += u64::from(moved(reference.get(left), got.get(right))),
                Step::Extra(_) => {}
            }
        }
        for run in runs(&extra) {
            let repeats = repeats(&got_texts, &run);
            for at in run {
                if is_crossed(at) {
                    found.crossed += 1;
                } else if repeats || repeats_one(&got_texts, at) {
                    found.doubled += 1;
                } else {
                    found.extra += 1;
                }
            }
        }
        found
    }

    /// For each word of `got`, whether it is one of another stream.
    fn crossed(&self, file: usize, got: &[String], steps: &[Step]) -> Vec<bool> {
        let wrong: Vec<usize> = steps
            .iter()
            .filter_map(|step| match *step {
                Step::Differs(_, at) | Step::Extra(at) => Some(at),
                Step::Same(..) | Step::Missing => None,
            })
            .collect();
        let mut marks = vec![false; got.len()];
        for run in runs(&wrong) {
            let mut at = run.start;
            while at < run.end {
                let length = self.longest_elsewhere(file, got.get(at..run.end).unwrap_or_default());
                for mark in marks.iter_mut().skip(at).take(length) {
                    *mark = true;
                }
                at = at.saturating_add(length.max(1));
            }
        }
        marks
    }

    /// How many words at the head of `words` stand so in another file, where at least the first two do not stand so in `own`; 0 if none.
    fn longest_elsewhere(&self, own: usize, words: &[String]) -> usize {
        let [first, second, ..] = words else { return 0 };
        let places = self
            .pairs
            .get(&(first.clone(), second.clone()))
            .map(Vec::as_slice)
            .unwrap_or_default();
        if places.iter().any(|(file, _)| self.sources.get(*file) == self.sources.get(own)) {
            return 0;
        }
        let length = |(file, at): &(usize, usize)| {
            let there = self.files.get(*file).and_then(|words| words.get(*at..)).unwrap_or_default();
            there.iter().zip(words).take_while(|(a, b)| a.text == **b).count()
        };
        places.iter().map(length).max().unwrap_or(0)
    }
}

/// Rising indices as ranges of neighbours.
fn runs(indices: &[usize]) -> Vec<Range<usize>> {
    let mut out: Vec<Range<usize>> = Vec::new();
    for &at in indices {
        match out.last_mut() {
            Some(last) if last.end == at => last.end = at.saturating_add(1),
            _ => out.push(at..at.saturating_add(1)),
        }
    }
    out
}

/// Whether the words of `run` equal as many words just before or just after them.
fn repeats(words: &[String], run: &Range<usize>) -> bool {
    let here = words.get(run.clone());
    let before = run.start.checked_sub(run.len()).and_then(|from| words.get(from..run.start));
    let after = words.get(run.end..run.end.saturating_add(run.len()));
    here.is_some() && (before == here || after == here)
}

/// Whether the word at `at` equals the one before or after it.
fn repeats_one(words: &[String], at: usize) -> bool {
    repeats(words, &(at..at.saturating_add(1)))
}

fn moved(left: Option<&Word>, right: Option<&Word>) -> bool {
    match (left.and_then(|word| word.times), right.and_then(|word| word.times)) {
        (Some(left), Some(right)) => (left.0 - right.0).abs() > SAME_TIME || (left.1 - right.1).abs() > SAME_TIME,
        (None, None) => false,
        _ => true,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(text: &str) -> Vec<Word> {
        let word = |(at, text): (usize, &str)| Word {
            text: text.to_owned(),
            times: u32::try_from(at).ok().map(|at| (f64::from(at), f64::from(at) + 0.5)),
        };
        text.split_whitespace().enumerate().map(word).collect()
    }

    /// Differences of `got` against the first of `files`, times left out.
    fn compared(files: &[&str], got: &str) -> Differences {
        let mut found = References::new(files.iter().map(|file| words(file)).enumerate().collect()).compare(0, &words(got));
        found.moved = 0;
        found
    }

    const OWN: &str = "i would like to check the balance on my account";
    const OTHER: &str = "a table for four people on friday evening please";

    #[test]
    fn the_same_words_have_no_differences() {
        let found = References::new(vec![(0, words(OWN))]).compare(0, &words(OWN));
        assert_eq!(
            found,
            Differences {
                words: 10,
                ..Differences::default()
            }
        );
    }

    #[test]
    fn each_kind_of_fault_is_named() {
        let lost = compared(&[OWN, OTHER], "i would like to check the on my account");
        assert_eq!((lost.missing, lost.doubled + lost.differing + lost.crossed + lost.extra), (1, 0));
        let twice = compared(&[OWN, OTHER], "i would like to check the balance the balance on my account");
        assert_eq!(
            (twice.doubled, twice.missing + twice.differing + twice.crossed + twice.extra),
            (2, 0)
        );
        let other = compared(&[OWN, OTHER], "i would like to check the ballots on my account");
        assert_eq!(
            (other.differing, other.missing + other.doubled + other.crossed + other.extra),
            (1, 0)
        );
        let mixed = compared(
            &[OWN, OTHER],
            "i would like to four people on friday check the balance on my account",
        );
        assert_eq!(
            (mixed.crossed, mixed.missing + mixed.doubled + mixed.differing + mixed.extra),
            (4, 0)
        );
        let replaced = compared(&[OWN, OTHER], OTHER);
        assert!(replaced.crossed >= 7, "{replaced:?}");
        let more = compared(&[OWN, OTHER], "i would really like to check the balance on my account");
        assert_eq!((more.extra, more.missing + more.doubled + more.differing + more.crossed), (1, 0));
    }

    #[test]
    fn another_form_of_the_same_file_is_no_other_stream() {
        let other = "four people on friday evening";
        let found = |source: usize| {
            let references = References::new(vec![(0, words(OWN)), (source, words(other))]);
            references.compare(0, &words("i would like to four people on friday check the balance on my account"))
        };
        assert_eq!((found(1).crossed, found(1).extra), (4, 0));
        assert_eq!((found(0).crossed, found(0).extra), (0, 4));
    }

    #[test]
    fn nothing_returned_is_all_missing_and_a_stray_word_is_extra() {
        assert_eq!(compared(&[OWN], "").missing, 10);
        assert_eq!(compared(&[""], "hello").extra, 1);
    }

    #[test]
    fn a_word_at_another_time_is_moved() {
        let references = References::new(vec![(0, words(OWN))]);
        let mut got = words(OWN);
        got[3].times = Some((3.1, 3.5));
        got[5].times = None;
        assert_eq!(references.compare(0, &got).moved, 2);
    }

    #[test]
    fn scoring_ignores_case_punctuation_and_fillers() {
        assert_eq!(
            normalise("Um, what\u{2019}s THE well-known 'time'?"),
            ["what's", "the", "well", "known", "time"]
        );
        assert_eq!(word_errors(&normalise("a b c d"), &normalise("a x c d e")), 2);
    }

    fn plain_distance(left: &[u8], right: &[u8]) -> usize {
        let mut row: Vec<usize> = (0..=right.len()).collect();
        for (i, a) in left.iter().enumerate() {
            let mut diagonal = row[0];
            row[0] = i + 1;
            for (j, b) in right.iter().enumerate() {
                let next = (diagonal + usize::from(a != b)).min(row[j] + 1).min(row[j + 1] + 1);
                diagonal = std::mem::replace(&mut row[j + 1], next);
            }
        }
        row[right.len()]
    }

    proptest! {
        #[test]
        fn the_alignment_is_cheapest_and_uses_every_word_once(
            left in proptest::collection::vec(0_u8..4, 0..14),
            right in proptest::collection::vec(0_u8..4, 0..14),
        ) {
            let steps = align(&left, &right);
            let wrong = steps.iter().filter(|step| !matches!(step, Step::Same(..))).count();
            prop_assert_eq!(wrong, plain_distance(&left, &right));
            let used: Vec<usize> = steps.iter().filter_map(|step| match *step {
                Step::Same(_, at) | Step::Differs(_, at) | Step::Extra(at) => Some(at),
                Step::Missing => None,
            }).collect();
            prop_assert_eq!(used, (0..right.len()).collect::<Vec<_>>());
            prop_assert_eq!(steps.iter().filter(|step| !matches!(step, Step::Extra(_))).count(), left.len());
        }
    }
}
