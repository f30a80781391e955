//! What a kernel is told of each stream of a step: one row of [`WORDS`] integers.
//!
//! Tails (audio, mel frames, subsampled rows, convolution inputs) exist twice in a slot: a step reads one half and writes the
//! other, so kernels of one launch never read what another block has just written.
//! Who makes them: `model::device`. Who reads them: the kernels, through `kernels/common.cuh`, which a test compares.

/// Integers of a row.
pub const WORDS: usize = 16;

/// One stream's part of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Place in the pools; padding uses the last one.
    pub slot: i32,
    /// Half of the doubled tails that holds the past.
    pub parity: i32,
    /// 1 at the start of an utterance: the past reads as zero.
    pub start: i32,
    /// New samples.
    pub samples: i32,
    /// Emphasized samples kept from earlier steps.
    pub tail: i32,
    /// New mel frames.
    pub mel: i32,
    /// Rows kept by each of the three strided layers.
    pub held: [i32; 3],
    /// Rows that each strided layer gives; the third's are the new encoder frames.
    pub given: [i32; 3],
    /// Place of the first new frame in the ring of keys and values.
    pub ring: i32,
    /// Earlier frames that the new ones may see.
    pub past: i32,
    /// Row of the prompt table.
    pub prompt: i32,
}

impl Row {
    /// The row as kernels read it.
    pub fn words(&self) -> [i32; WORDS] {
        let [held0, held1, held2] = self.held;
        let [given0, given1, frames] = self.given;
        [
            self.slot,
            self.parity,
            self.start,
            self.samples,
            self.tail,
            self.mel,
            held0,
            held1,
            held2,
            given0,
            given1,
            frames,
            self.ring,
            self.past,
            self.prompt,
            0,
        ]
    }

    /// A row that fills a batch up: nothing new, nothing read.
    pub fn padding(slot: i32) -> Self {
        Row {
            slot,
            start: 1,
            held: [1; 3],
            ..Row::default()
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_where_the_kernels_look_for_them() {
        let row = Row {
            slot: 1,
            parity: 2,
            start: 3,
            samples: 4,
            tail: 5,
            mel: 6,
            held: [7, 8, 9],
            given: [10, 11, 12],
            ring: 13,
            past: 14,
            prompt: 15,
        };
        let names = [
            "SLOT", "PARITY", "START", "SAMPLES", "TAIL", "MEL", "HELD0", "HELD1", "HELD2", "OUT0", "OUT1", "FRAMES", "RING", "PAST",
            "PROMPT",
        ];
        let header = include_str!("../../kernels/common.cuh");
        for (value, name) in (1..).zip(names) {
            let line = header.lines().find(|line| line.contains(&format!("ROW_{name} = "))).unwrap();
            let index: usize = line.split(['=', ',']).nth(1).unwrap().trim().parse().unwrap();
            assert_eq!(row.words()[index], value, "{name}");
        }
        assert!(header.contains(&format!("ROW_WORDS = {WORDS}")));
    }
}
