//! The compact form of an n-gram model: one byte string, little endian, read in place.
//!
//! | part | content |
//! |---|---|
//! | 0..8 | magic `HARKNGR1` |
//! | 8..40 | SHA-256 of everything that follows |
//! | 40..48 | order (1 byte), bytes of a word id (1: 2 or 3), zero (2), bytes of the word list (4) |
//! | 24 for each order | n-grams (4), bytes of an offset (1: 2 or 3, highest order 0), zero (3), least value and step of probabilities (f32, f32), the same of backoffs |
//! | word list | words in byte order: bytes shared with the word before (1), further bytes (1), those bytes |
//! | for each order | last words of the n-grams (order 1 has none: the id is the place), 1-byte probabilities, then but for the highest order 1-byte backoffs and offsets of the n-grams that extend it |
//!
//! n-grams of one order are sorted by their words, so the extensions of one n-gram lie together in the next order and are
//! found by binary search. Logarithms are natural and quantized to 256 even steps. Offsets are a 4-byte base for each 32
//! entries and a 2- or 3-byte difference. A 29,000-word trigram model with 790,000 n-grams takes about 3.5 MB.
#![allow(
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "the writer indexes arrays it just made; the reader goes through `number`, which never fails; counts fit u32 by check"
)]

use std::ops::Range;

use sha2::{Digest, Sha256};

use super::arpa::{Arpa, Ngram};
use super::{LmError, MAX_NGRAMS, MAX_ORDER, MAX_WORD_BYTES, MAX_WORDS};

const MAGIC: &[u8] = b"HARKNGR1";
const CHECKED_FROM: usize = 40;
const HEADER: usize = 48;
const ORDER_HEADER: usize = 24;
/// Entries that share one base offset.
const BLOCK: usize = 32;
/// Text of all words at most, so that a small hostile file cannot unfold into gigabytes.
const MAX_TEXT: usize = 64 << 20;
/// Least ln probability and backoff kept; `-99` entries and the like are raised to it so that they do not widen the steps.
const FLOOR: f32 = -21.0;

/// Even quantization: `least + step * code`.
#[derive(Clone, Copy, Debug)]
struct Scale {
    least: f32,
    step: f32,
}

impl Scale {
    fn over(values: impl Iterator<Item = f32> + Clone) -> Self {
        let least = values.clone().fold(f32::INFINITY, f32::min).max(FLOOR);
        let most = values.fold(f32::NEG_INFINITY, f32::max).max(least);
        if least.is_finite() {
            Scale {
                least,
                step: (most - least) / 255.0,
            }
        } else {
            Scale { least: 0.0, step: 0.0 }
        }
    }

    fn code(self, value: f32) -> u8 {
        if self.step > 0.0 {
            ((value - self.least) / self.step).round().clamp(0.0, 255.0) as u8
        } else {
            0
        }
    }

    fn value(self, code: u8) -> f32 {
        self.least + self.step * f32::from(code)
    }
}

/// The SHA-256 of a compact model, as its header says and [`Layout::read`] proves.
pub(super) fn digest(bytes: &[u8]) -> &[u8] {
    bytes.get(MAGIC.len()..CHECKED_FROM).unwrap_or_default()
}

/// Serializes a parsed model.
///
/// # Errors
/// [`LmError::Model`] if an n-gram extends one that is missing.
pub(super) fn write(model: &Arpa) -> Result<Vec<u8>, LmError> {
    let order = model.orders.len();
    let id_bytes = if model.words.len() <= 1 << 16 { 2 } else { 3 };
    let mut list = Vec::new();
    let mut before: &[u8] = &[];
    for word in &model.words {
        let word = word.as_bytes();
        let shared = word.iter().zip(before).take_while(|(a, b)| a == b).count();
        list.extend([shared as u8, (word.len() - shared) as u8]);
        list.extend(&word[shared..]);
        before = word;
    }
    if model.words.iter().map(String::len).sum::<usize>() > MAX_TEXT {
        return Err(LmError::Model(format!("the words take more than {MAX_TEXT} bytes")));
    }

    let mut headers = Vec::new();
    let mut sections = Vec::new();
    for (index, ngrams) in model.orders.iter().enumerate() {
        let probabilities = Scale::over(ngrams.iter().map(|ngram| ngram.probability));
        let backoffs = Scale::over(ngrams.iter().map(|ngram| ngram.backoff));
        if index > 0 {
            ngrams
                .iter()
                .for_each(|ngram| sections.extend(&ngram.words[index].to_le_bytes()[..id_bytes]));
        }
        sections.extend(ngrams.iter().map(|ngram| probabilities.code(ngram.probability)));
        let mut offset_bytes = 0;
        if let Some(longer) = model.orders.get(index + 1) {
            sections.extend(ngrams.iter().map(|ngram| backoffs.code(ngram.backoff)));
            let offsets = extensions(ngrams, longer, index + 1)?;
            offset_bytes = write_offsets(&offsets, &mut sections);
        }
        headers.extend((ngrams.len() as u32).to_le_bytes());
        headers.extend([offset_bytes as u8, 0, 0, 0]);
        for value in [probabilities.least, probabilities.step, backoffs.least, backoffs.step] {
            headers.extend(value.to_le_bytes());
        }
    }

    let mut out = MAGIC.to_vec();
    out.extend([0; CHECKED_FROM - MAGIC.len()]);
    out.extend([order as u8, id_bytes as u8, 0, 0]);
    out.extend((list.len() as u32).to_le_bytes());
    out.extend(headers);
    out.extend(list);
    out.extend(sections);
    let digest = Sha256::digest(&out[CHECKED_FROM..]);
    out[MAGIC.len()..CHECKED_FROM].copy_from_slice(&digest);
    Ok(out)
}

/// For each n-gram of `order` words, where its extensions begin among `longer`; one entry more at the end.
fn extensions(ngrams: &[Ngram], longer: &[Ngram], order: usize) -> Result<Vec<u32>, LmError> {
    let mut offsets = Vec::with_capacity(ngrams.len() + 1);
    let mut next = 0;
    for ngram in ngrams {
        offsets.push(next as u32);
        next += longer[next..]
            .iter()
            .take_while(|extension| extension.words[..order] == ngram.words[..order])
            .count();
    }
    offsets.push(next as u32);
    if next == longer.len() {
        Ok(offsets)
    } else {
        Err(LmError::Model(format!("a {}-gram extends no {order}-gram", order + 1)))
    }
}

fn write_offsets(offsets: &[u32], out: &mut Vec<u8>) -> usize {
    let widest = offsets
        .chunks(BLOCK)
        .map(|block| block[block.len() - 1] - block[0])
        .max()
        .unwrap_or(0);
    let bytes = if widest < 1 << 16 { 2 } else { 3 };
    offsets.chunks(BLOCK).for_each(|block| out.extend(block[0].to_le_bytes()));
    for block in offsets.chunks(BLOCK) {
        // Wider than three bytes only beyond 2^24 extensions of 32 neighbours; the reader's checks would refuse the file.
        block
            .iter()
            .for_each(|offset| out.extend(&(offset - block[0]).to_le_bytes()[..bytes]));
    }
    bytes
}

/// Where everything lies in a checked byte string.
pub(super) struct Layout {
    id_bytes: usize,
    list: Range<usize>,
    orders: Vec<Order>,
}

struct Order {
    count: usize,
    ids: usize,
    probabilities: usize,
    backoffs: usize,
    bases: usize,
    differences: usize,
    offset_bytes: usize,
    probability: Scale,
    backoff: Scale,
}

/// The little-endian number of `width` bytes at `at`; 0 beyond the end.
fn number(bytes: &[u8], at: usize, width: usize) -> u32 {
    let field = bytes.get(at..at.saturating_add(width)).unwrap_or_default();
    field.iter().rev().fold(0, |value, &byte| value << 8 | u32::from(byte))
}

impl Layout {
    /// Reads the header and checks everything, so that later look-ups cannot go wrong.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, LmError> {
        if bytes.get(..MAGIC.len()) != Some(MAGIC) {
            return Err(LmError::Corrupt("this is no compact language model of this version"));
        }
        if bytes.len() < HEADER || Sha256::digest(&bytes[CHECKED_FROM..])[..] != bytes[MAGIC.len()..CHECKED_FROM] {
            return Err(LmError::Corrupt("the checksum is wrong: the file is damaged or truncated"));
        }
        let (order, id_bytes) = (usize::from(bytes[40]), usize::from(bytes[41]));
        if order == 0 || order > MAX_ORDER || !(2..=3).contains(&id_bytes) {
            return Err(LmError::Corrupt("impossible order or word id size"));
        }
        let start = HEADER + order * ORDER_HEADER;
        let list = start..start.saturating_add(number(bytes, 44, 4) as usize);
        let mut at = list.end;
        let mut place = |size: usize| {
            let here = at;
            at = at.saturating_add(size);
            here
        };
        let mut orders = Vec::with_capacity(order);
        for index in 0..order {
            let header = HEADER + index * ORDER_HEADER;
            let float = |field: usize| f32::from_bits(number(bytes, header + field, 4));
            let (count, offset_bytes) = (
                number(bytes, header, 4) as usize,
                usize::from(bytes.get(header + 4).copied().unwrap_or(0)),
            );
            let last = index + 1 == order;
            let limit = if index == 0 { MAX_WORDS } else { MAX_NGRAMS };
            if count == 0 || count >= limit || !(if last { 0..=0 } else { 2..=3 }).contains(&offset_bytes) {
                return Err(LmError::Corrupt("impossible count or offset size"));
            }
            let inner = usize::from(!last);
            orders.push(Order {
                count,
                ids: place(if index == 0 { 0 } else { count * id_bytes }),
                probabilities: place(count),
                backoffs: place(count * inner),
                bases: place((count + 1).div_ceil(BLOCK) * 4 * inner),
                differences: place((count + 1) * offset_bytes),
                offset_bytes,
                probability: Scale {
                    least: float(8),
                    step: float(12),
                },
                backoff: Scale {
                    least: float(16),
                    step: float(20),
                },
            });
        }
        if at != bytes.len() {
            return Err(LmError::Corrupt("the parts do not add up to the file's size"));
        }
        let layout = Layout { id_bytes, list, orders };
        layout.check(bytes)?;
        Ok(layout)
    }

    fn check(&self, bytes: &[u8]) -> Result<(), LmError> {
        let words = self.count(1);
        for (index, order) in self.orders.iter().enumerate() {
            let sane = |scale: Scale| scale.least.abs() < 1e3 && (0.0..1e3).contains(&scale.step);
            if !sane(order.probability) || !sane(order.backoff) {
                return Err(LmError::Corrupt("impossible probabilities"));
            }
            let Some(longer) = self.orders.get(index + 1) else { continue };
            let mut begin = self.offset(bytes, order, 0);
            if begin != 0 {
                return Err(LmError::Corrupt("offsets do not begin at 0"));
            }
            for entry in 1..=order.count {
                let end = self.offset(bytes, order, entry);
                if end < begin || end > longer.count {
                    return Err(LmError::Corrupt("offsets out of order"));
                }
                let mut ids = (begin..end).map(|at| self.id(bytes, longer, at));
                let mut before = ids.next().unwrap_or(0);
                if before as usize >= words || !ids.all(|id| std::mem::replace(&mut before, id) < id && (id as usize) < words) {
                    return Err(LmError::Corrupt("n-grams out of order or of unknown words"));
                }
                begin = end;
            }
            if begin != longer.count {
                return Err(LmError::Corrupt("n-grams that extend nothing"));
            }
        }
        Ok(())
    }

    /// Unfolds the word list.
    pub(super) fn words(&self, bytes: &[u8]) -> Result<Words, LmError> {
        let mut words = Words {
            text: Vec::new(),
            ends: Vec::new(),
        };
        let mut rest = bytes.get(self.list.clone()).unwrap_or_default();
        while let [shared, further, tail @ ..] = rest {
            let (shared, further) = (usize::from(*shared), usize::from(*further));
            let start = words.text.len();
            let before = words.ends.len().checked_sub(1).map_or(0..0, |last| words.range(last));
            if shared > before.len() || further > tail.len() || shared + further > MAX_WORD_BYTES || start > MAX_TEXT {
                return Err(LmError::Corrupt("the word list is damaged"));
            }
            words.text.extend_from_within(before.start..before.start + shared);
            words.text.extend_from_slice(&tail[..further]);
            let (old, new) = (&words.text[before], &words.text[start..]);
            if std::str::from_utf8(new).is_err() || !words.ends.is_empty() && old >= new {
                return Err(LmError::Corrupt("the word list is out of order or no UTF-8"));
            }
            words.ends.push(words.text.len());
            rest = &tail[further..];
        }
        if rest.is_empty() && words.len() == self.count(1) {
            Ok(words)
        } else {
            Err(LmError::Corrupt("the word list has another length"))
        }
    }

    pub(super) fn order(&self) -> usize {
        self.orders.len()
    }

    pub(super) fn count(&self, order: usize) -> usize {
        self.orders.get(order.wrapping_sub(1)).map_or(0, |order| order.count)
    }

    /// ln P of a word without context.
    pub(super) fn unigram(&self, bytes: &[u8], word: u32) -> f32 {
        self.orders
            .first()
            .map_or(0.0, |order| self.probability(bytes, order, word as usize))
    }

    /// ln P(word | context) with backoff; see [`super::NgramModel::score`].
    pub(super) fn score(&self, bytes: &[u8], context: &[u32], word: u32) -> f32 {
        let mut backoffs = 0.0;
        for skipped in 0..context.len() {
            let Some((depth, entry)) = self.find(bytes, &context[skipped..]) else {
                continue;
            };
            let (Some(order), Some(longer)) = (self.orders.get(depth), self.orders.get(depth + 1)) else {
                continue;
            };
            if let Some(found) = self.extension(bytes, order, longer, entry, word) {
                return backoffs + self.probability(bytes, longer, found);
            }
            backoffs += order.backoff.value(number(bytes, order.backoffs + entry, 1) as u8);
        }
        backoffs + self.unigram(bytes, word)
    }

    /// The order (from 0) and place of an n-gram.
    fn find(&self, bytes: &[u8], words: &[u32]) -> Option<(usize, usize)> {
        let (&first, rest) = words.split_first()?;
        let mut entry = first as usize;
        for (pair, &word) in self.orders.windows(2).zip(rest) {
            entry = self.extension(bytes, &pair[0], &pair[1], entry, word)?;
        }
        Some((rest.len(), entry))
    }

    fn extension(&self, bytes: &[u8], order: &Order, longer: &Order, entry: usize, word: u32) -> Option<usize> {
        let (mut low, mut high) = (self.offset(bytes, order, entry), self.offset(bytes, order, entry + 1));
        while low < high {
            let middle = low.midpoint(high);
            match self.id(bytes, longer, middle).cmp(&word) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    fn id(&self, bytes: &[u8], order: &Order, entry: usize) -> u32 {
        number(bytes, order.ids + entry * self.id_bytes, self.id_bytes)
    }

    fn probability(&self, bytes: &[u8], order: &Order, entry: usize) -> f32 {
        order.probability.value(number(bytes, order.probabilities + entry, 1) as u8)
    }

    fn offset(&self, bytes: &[u8], order: &Order, entry: usize) -> usize {
        let base = number(bytes, order.bases + entry / BLOCK * 4, 4) as usize;
        base.saturating_add(number(bytes, order.differences + entry * order.offset_bytes, order.offset_bytes) as usize)
    }
}

/// All words of a model, by id.
pub struct Words {
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Words {
    /// How many.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    fn range(&self, id: usize) -> Range<usize> {
        let start = id.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        start..self.ends.get(id).copied().unwrap_or(start)
    }

    /// The bytes of a word; empty if there is no such id.
    pub fn get(&self, id: usize) -> &[u8] {
        self.text.get(self.range(id)).unwrap_or_default()
    }

    /// The id of a word or mark.
    pub fn find(&self, word: &[u8]) -> Option<u32> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.get(middle).cmp(word) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Some(middle as u32),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }
}
