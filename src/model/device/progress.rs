//! How far each stage of one stream has come, counted on the host: the device holds data, no counters.
//!
//! What it does: from the samples of a step to the [`Row`] that tells every kernel what is new and what is kept. The counts are
//! those of the incremental front end and subsampling (`model::frontend`, `ops::subsample`), so a stream fed in any pieces
//! gives the frames of the whole utterance. Pure. Who calls it: `model::device`.

use crate::model::frontend::mel_frames;
use crate::ops::rows::Row;

/// Zeros before the first sample: the first window is centred on it.
const LEAD: u64 = 200;
const HOP: u64 = 160;

/// What stays the same for all streams of a model in one context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cadence {
    /// Zero rows before each strided layer: 2 causal, 1 not.
    pub(super) lead: u64,
    /// Frames of a chunk.
    pub(super) chunk: u64,
    /// Earlier chunks that a frame sees.
    pub(super) before: u64,
    /// Frames that the ring of keys and values holds.
    pub(super) ring: u64,
}

/// Where one stream stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    samples: u64,
    mel: u64,
    given: [u64; 3],
    parity: bool,
    pub(super) ended: bool,
    /// Context of the utterance, once it has begun.
    pub(super) context: Option<usize>,
}

impl Progress {
    /// Encoder frames given so far.
    pub(super) fn frames(&self) -> u64 {
        self.given[2]
    }

    /// The stream after `samples` more, and what the kernels are told of them. The slot and the prompt are the caller's.
    pub(super) fn advance(&self, samples: usize, start: bool, end: bool, cadence: Cadence) -> (Progress, Row) {
        let before = if start {
            Progress {
                parity: self.parity,
                ..Progress::default()
            }
        } else {
            *self
        };
        let mut after = before;
        after.samples += u64::try_from(samples).unwrap_or(u64::MAX);
        after.mel = mel_frames(after.samples, end).max(before.mel);
        let mut row = Row {
            parity: i32::from(before.parity),
            start: i32::from(start),
            samples: small(u64::try_from(samples).unwrap_or(u64::MAX)),
            tail: small((LEAD + before.samples).saturating_sub(HOP * before.mel)),
            mel: small(after.mel - before.mel),
            ring: small(before.frames() % cadence.ring.max(1)),
            past: small(before.frames() - cadence.first_seen(before.frames())),
            ..Row::default()
        };
        let (mut old_inputs, mut inputs) = (before.mel, after.mel);
        let layers = row.held.iter_mut().zip(&mut row.given);
        for ((held, given), (old, new)) in layers.zip(before.given.iter().zip(&mut after.given)) {
            *new = outputs(inputs, cadence.lead, end).max(*old);
            *held = small((old_inputs + cadence.lead).saturating_sub(2 * old));
            *given = small(*new - old);
            (old_inputs, inputs) = (*old, *new);
        }
        after.parity = !before.parity;
        after.ended = end;
        (after, row)
    }
}

impl Cadence {
    /// The first frame that the chunk beginning at `frame` sees.
    fn first_seen(&self, frame: u64) -> u64 {
        let chunk = frame / self.chunk.max(1);
        chunk.saturating_sub(self.before).saturating_mul(self.chunk).min(frame)
    }
}

/// Outputs of a strided layer that has taken `inputs` rows after `lead` zero rows; at the end a last one may lack its third.
fn outputs(inputs: u64, lead: u64, end: bool) -> u64 {
    let window = inputs + lead;
    if end && inputs > 0 {
        window / 2
    } else {
        window.saturating_sub(1) / 2
    }
}

/// Counts of one step fit 31 bits; a larger one is caught by the sizes of the step's buffers.
fn small(count: u64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ops::subsample;

    fn cadence(causal: bool, right: u64) -> Cadence {
        Cadence {
            lead: if causal { 2 } else { 1 },
            chunk: right + 1,
            before: 70 / (right + 1),
            ring: 96,
        }
    }

    #[test]
    fn chunks_of_a_live_stream_give_right_plus_one_frames_each() {
        for right in [0, 1, 6, 13] {
            let cadence = cadence(true, right);
            let mut progress = Progress::default();
            let mut samples = 1_280 * right + 200;
            for chunk in 0..20 {
                let (next, row) = progress.advance(usize::try_from(samples).unwrap(), chunk == 0, false, cadence);
                assert_eq!(row.given[2], i32::try_from(right + 1).unwrap());
                assert_eq!(row.parity, chunk % 2);
                assert_eq!(u64::try_from(row.ring).unwrap(), progress.frames() % 96);
                assert_eq!(
                    u64::try_from(row.past).unwrap(),
                    progress.frames().min(70 / (right + 1) * (right + 1)),
                    "chunk {chunk}"
                );
                assert!((200..400).contains(&row.tail) && row.held.iter().all(|held| (1..=2).contains(held)));
                progress = next;
                samples = 1_280 * (right + 1);
            }
        }
    }

    #[test]
    fn a_start_forgets_everything_but_the_half_to_read() {
        let cadence = cadence(true, 1);
        let (after, _) = Progress::default().advance(1_480, true, true, cadence);
        assert!(after.ended);
        let (again, row) = after.advance(1_480, true, false, cadence);
        assert_eq!((row.parity, row.start, row.tail, row.past, row.ring), (1, 1, 200, 0, 0));
        assert_eq!((again.frames(), again.ended), (2, false));
    }

    proptest! {
        #[test]
        fn any_pieces_give_the_frames_of_the_whole(pieces in prop::collection::vec(0_usize..5_000, 1..12), causal in any::<bool>()) {
            let cadence = cadence(causal, 3);
            let mut progress = Progress::default();
            let mut sums = [0_i32; 5];
            for (index, piece) in pieces.iter().enumerate() {
                let (next, row) = progress.advance(*piece, index == 0, index + 1 == pieces.len(), cadence);
                for (sum, count) in sums.iter_mut().zip([row.samples, row.mel, row.given[0], row.given[1], row.given[2]]) {
                    *sum += count;
                }
                prop_assert!(row.held.iter().all(|held| (0..=2).contains(held)));
                prop_assert!((0..400).contains(&row.tail));
                progress = next;
            }
            let samples = pieces.iter().sum::<usize>();
            prop_assert_eq!(sums[0], i32::try_from(samples).unwrap());
            prop_assert_eq!(sums[1], i32::try_from(samples / 160).unwrap());
            let wanted = subsample::frames(u64::try_from(samples / 160).unwrap(), causal);
            prop_assert_eq!(progress.frames(), wanted);
            prop_assert_eq!(sums[4], i32::try_from(wanted).unwrap());
        }
    }
}
