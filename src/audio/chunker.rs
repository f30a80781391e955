//! Cuts a lane's samples into the chunks that the model takes at a time.
//!
//! What it does: collects samples and hands out chunks of fixed length; owns the lane's sample clock. What it does not do: overlap, padding or
//! waiting; the model's front end keeps its own history. Who calls it: live sessions and file jobs.
//!
//! A step of the model emits `right + 1` encoder frames of 80 ms. The first chunk of an utterance is shorter: the front end then has no
//! history, and the frames it needs before the first output end 200 samples after `right` frames.

use crate::units::{SAMPLES_PER_FRAME, Samples};

/// Samples of the first chunk of an utterance beyond its `right` frames (half a window of 25 ms).
const FIRST_EXTRA: usize = 200;

/// The chunker of one lane. As an iterator it yields the whole chunks collected so far; `None` means "not yet".
#[derive(Debug)]
pub struct Chunker {
    first_len: usize,
    later_len: usize,
    at_start: bool,
    held: Vec<f32>,
    position: Samples,
}

impl Chunker {
    /// A chunker for a model with `right` frames of look-ahead: `1280 * right + 200` samples in the first chunk of an utterance,
    /// `1280 * (right + 1)` in each later one.
    pub fn new(right: u32) -> Self {
        let frame = usize::try_from(SAMPLES_PER_FRAME).unwrap_or(usize::MAX);
        let right = usize::try_from(right).unwrap_or(usize::MAX);
        let frames = |count: usize| frame.saturating_mul(count);
        Chunker {
            first_len: frames(right).saturating_add(FIRST_EXTRA),
            later_len: frames(right.saturating_add(1)),
            at_start: true,
            held: Vec::new(),
            position: Samples(0),
        }
    }

    /// Collects samples.
    pub fn push(&mut self, samples: &[f32]) {
        self.held.extend_from_slice(samples);
    }

    /// Samples that the next chunk will have.
    pub fn next_len(&self) -> usize {
        if self.at_start { self.first_len } else { self.later_len }
    }

    /// Samples collected and not yet cut.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Everything that remains, of any length, perhaps none; whole chunks are to be taken first.
    pub fn flush(&mut self) -> Vec<f32> {
        self.cut(self.held.len())
    }

    /// A new utterance: the next chunk is a first one. Samples collected belong to it.
    pub fn restart(&mut self) {
        self.at_start = true;
    }

    /// Samples cut so far, over all utterances.
    pub fn position(&self) -> Samples {
        self.position
    }

    fn cut(&mut self, len: usize) -> Vec<f32> {
        let rest = self.held.split_off(len.min(self.held.len()));
        let chunk = std::mem::replace(&mut self.held, rest);
        self.position = self.position.plus(Samples(u64::try_from(chunk.len()).unwrap_or(u64::MAX)));
        chunk
    }
}

impl Iterator for Chunker {
    type Item = Vec<f32>;

    fn next(&mut self) -> Option<Vec<f32>> {
        if self.held.len() < self.next_len() {
            return None;
        }
        let chunk = self.cut(self.next_len());
        self.at_start = false;
        Some(chunk)
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic
)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_chunk_of_an_utterance_is_shorter() {
        let mut chunker = Chunker::new(1);
        chunker.push(&vec![0.5; 1_479]);
        assert_eq!(chunker.next(), None);
        chunker.push(&vec![0.5; 1 + 2_560 + 2_560 + 7]);
        let lens: Vec<usize> = chunker.by_ref().map(|chunk| chunk.len()).collect();
        assert_eq!(lens, [1_480, 2_560, 2_560]);
        assert_eq!(chunker.position(), Samples(6_600));
        assert_eq!(chunker.flush().len(), 7);
        assert_eq!(chunker.flush().len(), 0);
        chunker.restart();
        assert_eq!(chunker.next_len(), 1_480);
        assert_eq!(chunker.position(), Samples(6_607));
        chunker.push(&[0.0; 1_480]);
        assert_eq!(chunker.next().map(|chunk| chunk.len()), Some(1_480));
        assert_eq!(chunker.next_len(), 2_560);
    }

    #[test]
    fn without_look_ahead_the_first_chunk_is_the_extra_alone() {
        let mut chunker = Chunker::new(0);
        chunker.push(&[0.0; 1_480]);
        assert_eq!(chunker.by_ref().map(|chunk| chunk.len()).collect::<Vec<_>>(), [200, 1_280]);
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_chunks_and_loses_nothing(right in 0_u32..4, total in 0_usize..20_000, cuts in prop::collection::vec(1_usize..3_000, 1..40)) {
            let samples: Vec<f32> = (0..total).map(|n| n as f32).collect();
            let mut whole = Chunker::new(right);
            whole.push(&samples);
            let mut expected: Vec<Vec<f32>> = whole.by_ref().collect();
            expected.push(whole.flush());

            let mut chunker = Chunker::new(right);
            let (mut got, mut rest, mut cuts) = (Vec::new(), samples.as_slice(), cuts.iter().cycle());
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                chunker.push(now);
                got.extend(chunker.by_ref());
                rest = later;
            }
            got.push(chunker.flush());
            prop_assert_eq!(&got, &expected);
            prop_assert_eq!(got.concat(), samples);
            prop_assert_eq!(chunker.position(), Samples(total as u64));
        }
    }
}
