//! The words of a language model as a prefix tree over bytes, with the best word below each prefix.
//!
//! What it does: says whether some letters can still become a known word, and how probable the best such word is.
//! Who calls it: the beam search, for each word piece.
#![allow(
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "node numbers come from this tree alone and fit u32, since the text of all words is limited to 64 MiB"
)]

use super::binary::Words;

const NO_WORD: u32 = u32::MAX;

/// A prefix tree; nodes are numbered breadth first, so that the children of a node lie together.
pub struct Lexicon {
    /// For node `n`: its children are `first[n]..first[n + 1]`.
    first: Vec<u32>,
    label: Vec<u8>,
    word: Vec<u32>,
    best: Vec<f32>,
}

/// Some letters that begin at least one word of the lexicon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix(u32);

impl Lexicon {
    /// Builds the tree of all words but marks such as `<s>`. `unigram` gives ln P of a word.
    pub fn new(words: &Words, unigram: impl Fn(u32) -> f32) -> Self {
        let mut tree = Lexicon {
            first: Vec::new(),
            label: vec![0],
            word: Vec::new(),
            best: Vec::new(),
        };
        let mark = |id: &usize| words.get(*id).first() == Some(&b'<') && words.get(*id).last() == Some(&b'>');
        let ids: Vec<usize> = (0..words.len()).filter(|id| !mark(id)).collect();
        // One entry for each node: the words below it and its depth.
        let mut below = vec![(0, ids.len(), 0)];
        let mut node = 0;
        while node < below.len() {
            let (mut low, high, depth) = below[node];
            tree.first.push(below.len() as u32);
            let ends_here = low < high && words.get(ids[low]).len() == depth;
            tree.word.push(if ends_here { ids[low] as u32 } else { NO_WORD });
            tree.best.push(if ends_here { unigram(ids[low] as u32) } else { f32::NEG_INFINITY });
            low += usize::from(ends_here);
            while low < high {
                let label = words.get(ids[low])[depth];
                let end = low + ids[low..high].partition_point(|&id| words.get(id)[depth] == label);
                below.push((low, end, depth + 1));
                tree.label.push(label);
                low = end;
            }
            node += 1;
        }
        tree.first.push(below.len() as u32);
        for node in (0..tree.word.len()).rev() {
            tree.best[node] = tree.children(node).map(|child| tree.best[child]).fold(tree.best[node], f32::max);
        }
        tree
    }

    fn children(&self, node: usize) -> std::ops::Range<usize> {
        self.first[node] as usize..self.first[node + 1] as usize
    }

    /// Bytes in use.
    pub fn bytes(&self) -> usize {
        let numbers = self.first.len() + self.word.len() + self.best.len();
        numbers * size_of::<u32>() + self.label.len()
    }

    /// The empty prefix.
    pub fn root(&self) -> Prefix {
        Prefix(0)
    }

    /// The prefix followed by `bytes`, if a word begins so.
    pub fn advance(&self, prefix: Prefix, bytes: &[u8]) -> Option<Prefix> {
        let mut node = prefix.0 as usize;
        for byte in bytes {
            let children = self.children(node);
            node = children.start + self.label[children].binary_search(byte).ok()?;
        }
        Some(Prefix(node as u32))
    }

    /// The word that the prefix is, if it is one.
    pub fn word(&self, prefix: Prefix) -> Option<u32> {
        Some(self.word[prefix.0 as usize]).filter(|&word| word != NO_WORD)
    }

    /// ln P of the most probable word that begins so, without regard to context.
    pub fn best(&self, prefix: Prefix) -> f32 {
        self.best[prefix.0 as usize]
    }
}
