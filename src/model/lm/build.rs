//! Builds n-gram models from sentences, with interpolated modified Kneser-Ney smoothing.
//!
//! What it does: counts, discounts, probabilities and backoff weights; after every history that occurs the probabilities of all
//! words, of the end of the sentence and of the unknown word add up to one. What it does not do: leave rare n-grams out, mix models.
//! Who calls it: `hark models lm build`.
//!
//! Source: Chen & Goodman 1999 ("An empirical study of smoothing techniques for language modeling"), equations 25 to 28. As in
//! KenLM, n-grams that begin a sentence keep their own counts at lower orders, for nothing can precede them.

use std::collections::HashMap;
use std::io::BufRead;

use super::arpa::{self, Arpa, Ngram};
use super::text::{Lines, words};
use super::{LmError, MAX_ORDER, MAX_WORD_BYTES};

/// Text at most, in bytes: about twelve million words.
pub const MAX_TEXT: usize = 64 << 20;
/// Longest line in bytes.
pub const MAX_LINE: u64 = 16 << 10;
/// Distinct words at most.
pub const MAX_DISTINCT: usize = 1 << 20;

const START: u32 = 0;
const END: u32 = 1;
const UNKNOWN: u32 = 2;

/// What is taken off counts of one, two and more where the text is too small to tell (the defaults of KenLM).
const USUAL: [f64; 3] = [0.5, 1.0, 1.5];

/// Words of an n-gram, oldest first, then zeros.
type Words = [u32; MAX_ORDER];

/// Sentences as numbers.
#[derive(Debug)]
pub struct Sentences {
    /// Words by number, the three marks first.
    names: Vec<String>,
    /// Every sentence from its beginning to its end mark.
    tokens: Vec<u32>,
    numbered: usize,
    sentences: usize,
}

impl Sentences {
    /// Reads one sentence a line; lines without a word are passed over.
    ///
    /// # Errors
    /// No words at all, a limit of this module exceeded ([`LmError::Line`] with the line), or reading fails.
    pub fn read(reader: impl BufRead) -> Result<Self, LmError> {
        let mut found = Sentences {
            names: ["<s>", "</s>", "<unk>"].map(str::to_owned).into(),
            tokens: Vec::new(),
            numbered: 0,
            sentences: 0,
        };
        let mut ids: HashMap<String, u32> = HashMap::new();
        let mut lines = Lines::new(reader, MAX_LINE);
        let mut bytes = 0;
        while lines.next()? {
            bytes += lines.text.len();
            if bytes > MAX_TEXT {
                return Err(lines.wrong(format!("the text has more than {MAX_TEXT} bytes")));
            }
            let before = found.tokens.len();
            for word in words(&lines.text) {
                if word.len() > MAX_WORD_BYTES {
                    return Err(lines.wrong(format!("word longer than {MAX_WORD_BYTES} bytes")));
                }
                if found.tokens.len() == before {
                    found.tokens.push(START);
                }
                found.numbered += usize::from(word.contains(char::is_numeric));
                let id = match ids.get(&word) {
                    Some(&id) => id,
                    None if ids.len() == MAX_DISTINCT => return Err(lines.wrong(format!("more than {MAX_DISTINCT} distinct words"))),
                    None => {
                        let id = u32::try_from(found.names.len()).map_err(|_| lines.wrong("too many words".to_owned()))?;
                        found.names.push(word.clone());
                        ids.insert(word, id);
                        id
                    }
                };
                found.tokens.push(id);
            }
            if found.tokens.len() > before {
                found.tokens.push(END);
                found.sentences += 1;
            }
        }
        if found.sentences == 0 {
            return Err(LmError::Model("the text has no words".to_owned()));
        }
        Ok(found)
    }

    /// How many sentences there are.
    pub fn sentences(&self) -> usize {
        self.sentences
    }

    /// How many words there are, each as often as it occurs.
    pub fn words(&self) -> usize {
        self.tokens.len() - 2 * self.sentences
    }

    /// How many of the words have digits; a model that spells numbers out never writes them.
    pub fn numbered(&self) -> usize {
        self.numbered
    }

    fn each(&self) -> impl Iterator<Item = &[u32]> {
        self.tokens.split_inclusive(|&token| token == END)
    }

    /// A model of `order` words, 1 to [`MAX_ORDER`]; of fewer if no sentence has so many.
    ///
    /// # Errors
    /// The order is out of range.
    pub fn build(&self, order: usize) -> Result<Arpa, LmError> {
        if !(1..=MAX_ORDER).contains(&order) {
            return Err(LmError::Model(format!("order {order} is not between 1 and {MAX_ORDER}")));
        }
        let mut built: Vec<Vec<Entry>> = Vec::new();
        for (index, counts) in self.counts(order).iter().enumerate() {
            let entries = match built.last_mut() {
                None => unigrams(counts),
                Some(lower) => interpolated(counts, index, lower),
            };
            built.push(entries);
        }
        let orders = built.iter().map(|entries| entries.iter().map(Entry::ngram).collect()).collect();
        arpa::sorted(self.names.clone(), orders)
    }

    /// For each order the n-grams in order of their words, with the counts that they are estimated by: at the highest order how
    /// often each occurs, below it how many different words precede it.
    fn counts(&self, order: usize) -> Vec<Vec<(Words, u32)>> {
        let mut orders: Vec<Vec<(Words, u32)>> = Vec::new();
        for n in (1..=order).rev() {
            let ngrams = match orders.last() {
                None => self.each().flat_map(|sentence| sentence.windows(n)).map(padded).collect(),
                Some(longer) => {
                    let preceded = longer.iter().filter_map(|(words, _)| words.get(1..=n));
                    let first = self.each().filter_map(|sentence| sentence.get(..n));
                    preceded.chain(first).map(padded).collect()
                }
            };
            orders.push(counted(ngrams));
        }
        orders.reverse();
        orders.retain(|ngrams| !ngrams.is_empty());
        orders
    }
}

fn padded(words: &[u32]) -> Words {
    let mut padded = [0; MAX_ORDER];
    padded.iter_mut().zip(words).for_each(|(to, &from)| *to = from);
    padded
}

fn counted(mut ngrams: Vec<Words>) -> Vec<(Words, u32)> {
    ngrams.sort_unstable();
    let count = |same: &[Words]| Some((*same.first()?, u32::try_from(same.len()).unwrap_or(u32::MAX)));
    ngrams.chunk_by(PartialEq::eq).filter_map(count).collect()
}

/// An n-gram with its probability and the backoff weight of what follows it.
struct Entry {
    words: Words,
    probability: f64,
    backoff: f64,
}

impl Entry {
    #[expect(clippy::as_conversions, reason = "probabilities are kept in single precision")]
    fn ngram(&self) -> Ngram {
        Ngram {
            words: self.words,
            probability: self.probability.ln() as f32,
            backoff: self.backoff.ln() as f32,
        }
    }
}

/// What is taken off a count of one, of two, and of three and more (equation 26).
fn discounts(counts: impl Iterator<Item = u32>) -> [f64; 3] {
    let mut times = [0.0; 4];
    for count in counts {
        let place = usize::try_from(count).ok().and_then(|count| count.checked_sub(1));
        if let Some(times) = place.and_then(|place| times.get_mut(place)) {
            *times += 1.0;
        }
    }
    let [n1, n2, n3, n4] = times;
    let y = n1 / (n1 + 2.0 * n2);
    let found = [1.0 - 2.0 * y * n2 / n1, 2.0 - 3.0 * y * n3 / n2, 3.0 - 4.0 * y * n4 / n3];
    // Not a number, too, is outside.
    let sound = found
        .iter()
        .zip([1.0, 2.0, 3.0])
        .all(|(&taken, count)| 0.0 < taken && taken < count);
    if sound { found } else { USUAL }
}

fn discount([one, two, more]: [f64; 3], count: u32) -> f64 {
    match count {
        0 => 0.0,
        1 => one,
        2 => two,
        _ => more,
    }
}

/// All words, interpolated with an even share for each of them and the unknown one. The beginning of a sentence is never
/// predicted; it is listed for its backoff weight, as probable as the unknown word so that it does not widen the scale.
fn unigrams(counts: &[(Words, u32)]) -> Vec<Entry> {
    let (start, unknown) = (padded(&[START]), padded(&[UNKNOWN]));
    let predicted = || counts.iter().filter(|(words, _)| *words != start);
    let discounts = discounts(predicted().map(|(_, count)| *count));
    let total: f64 = predicted().map(|(_, count)| f64::from(*count)).sum();
    let taken: f64 = predicted().map(|(_, count)| discount(discounts, *count)).sum();
    let listed = predicted().map(|_| 1.0).sum::<f64>() + 1.0;
    let even = taken / total / listed;
    let entry = |words, count| Entry {
        words,
        probability: (f64::from(count) - discount(discounts, count)) / total + even,
        backoff: 1.0,
    };
    let mut entries: Vec<Entry> = predicted().map(|(words, count)| entry(*words, *count)).collect();
    entries.extend([entry(start, 0), entry(unknown, 0)]);
    entries.sort_unstable_by_key(|entry| entry.words);
    entries
}

/// The n-grams whose last word stands at `index`, interpolated with `lower`, whose backoff weights are set.
fn interpolated(counts: &[(Words, u32)], index: usize, lower: &mut [Entry]) -> Vec<Entry> {
    let discounts = discounts(counts.iter().map(|(_, count)| *count));
    let mut entries = Vec::with_capacity(counts.len());
    for followers in counts.chunk_by(|(one, _), (other, _)| one.get(..index) == other.get(..index)) {
        let total: f64 = followers.iter().map(|(_, count)| f64::from(*count)).sum();
        let taken: f64 = followers.iter().map(|(_, count)| discount(discounts, *count)).sum();
        let backoff = taken / total;
        let history = followers.first().and_then(|(words, _)| words.get(..index));
        if let Some(at) = history.and_then(|history| place(lower, history))
            && let Some(history) = lower.get_mut(at)
        {
            history.backoff = backoff;
        }
        for (words, count) in followers {
            let shorter = words
                .get(1..=index)
                .and_then(|shorter| place(lower, shorter))
                .and_then(|at| lower.get(at));
            entries.push(Entry {
                words: *words,
                probability: (f64::from(*count) - discount(discounts, *count)) / total
                    + backoff * shorter.map_or(0.0, |shorter| shorter.probability),
                backoff: 1.0,
            });
        }
    }
    entries
}

/// Where the n-gram of these words stands; by the way n-grams are counted there always is one.
fn place(entries: &[Entry], words: &[u32]) -> Option<usize> {
    entries.binary_search_by_key(&padded(words), |entry| entry.words).ok()
}

#[cfg(test)]
mod tests;
