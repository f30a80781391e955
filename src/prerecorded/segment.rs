//! Cuts recorded audio into pieces for the engine, and puts the tokens of the pieces together again. Pure.
//!
//! A model that can stream gets a file as one utterance, chunk after chunk: no seam, nothing to stitch. A model that needs
//! whole utterances gets windows that overlap: each window is cut where the audio is quietest near its end, is decoded with
//! some audio on either side of its own, and gives only the tokens that begin between its two cuts.

use crate::engine::batch::Token;
use crate::units::{Frames, MODEL_RATE, SAMPLES_PER_FRAME, Samples};

/// Samples in one energy measurement, 10 ms.
const HOP: usize = 160;
/// Energy measurements that are averaged to find a quiet place, 200 ms.
const SMOOTH: usize = 20;

/// Sizes of windows, in samples; multiples of an encoder frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowShape {
    /// Most samples between two cuts.
    pub longest: usize,
    /// How far before that a quiet place may be chosen.
    pub search: usize,
    /// Samples decoded on either side of the cuts.
    pub margin: usize,
}

impl Default for WindowShape {
    /// 20 s windows, cut at the quietest place of their last 5 s, with 2 s on either side.
    fn default() -> Self {
        let second = usize::try_from(MODEL_RATE.0).unwrap_or(usize::MAX);
        Self {
            longest: 20 * second,
            search: 5 * second,
            margin: 2 * second,
        }
    }
}

/// A window to decode by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// The audio, with its margins.
    pub samples: Vec<f32>,
    /// Where `samples` begins in the file; a multiple of an encoder frame.
    pub at: Samples,
    /// Tokens that begin from here on belong to this window.
    pub from: Samples,
    /// Tokens that begin before here belong to this window.
    pub to: Samples,
}

/// Collects samples and hands out windows.
#[derive(Debug)]
pub struct Segmenter {
    shape: WindowShape,
    held: Vec<f32>,
    /// Position in the file of the first held sample.
    at: usize,
    /// Position of the last cut.
    from: usize,
}

impl Segmenter {
    /// An empty segmenter.
    pub fn new(shape: WindowShape) -> Self {
        Self {
            shape,
            held: Vec::new(),
            at: 0,
            from: 0,
        }
    }

    /// Adds audio.
    pub fn push(&mut self, samples: &[f32]) {
        self.held.extend_from_slice(samples);
    }

    /// The next whole window; none until its right margin is there.
    pub fn window(&mut self) -> Option<Window> {
        let own = self.from - self.at;
        if self.held.len() < own + self.shape.longest + self.shape.margin {
            return None;
        }
        let first = own + self.shape.longest - self.shape.search;
        let to = self.at + quietest(self.held.get(first..own + self.shape.longest).unwrap_or_default(), first);
        Some(self.cut(to, to + self.shape.margin))
    }

    /// The last window, if anything is left.
    pub fn last(&mut self) -> Option<Window> {
        let end = self.at + self.held.len();
        (end > self.from).then(|| self.cut(end, end))
    }

    fn cut(&mut self, to: usize, until: usize) -> Window {
        let samples = self.held.get(..until - self.at).unwrap_or(&self.held).to_vec();
        let window = Window {
            samples,
            at: position(self.at),
            from: position(self.from),
            to: position(to),
        };
        let next = to.saturating_sub(self.shape.margin).max(self.at);
        self.held.drain(..(next - self.at).min(self.held.len()));
        self.at = next;
        self.from = to;
        window
    }
}

/// Adds the tokens of `window`, whose frames count from the window's beginning, to those of the windows before it.
/// Returned tokens count from the beginning of the file. A token that both sides of a cut claim is kept once.
pub fn stitch(tokens: &mut Vec<Token>, window: &Window, found: &[Token]) {
    const SAME_WITHIN: u32 = 3;
    let shift = frames(window.at);
    let mut seam = tokens.last().copied();
    for token in found {
        let moved = Token {
            start: Frames(token.start.0 + shift),
            end: Frames(token.end.0 + shift),
            ..*token
        };
        if moved.start.samples() < window.from || moved.start.samples() >= window.to {
            continue;
        }
        let doubled = seam
            .take()
            .is_some_and(|last| last.id == moved.id && moved.start.0.saturating_sub(last.start.0) <= SAME_WITHIN);
        if !doubled {
            tokens.push(moved);
        }
    }
}

/// Offset, a multiple of an encoder frame, of the quietest 200 ms in `samples`, which begins at `first`.
fn quietest(samples: &[f32], first: usize) -> usize {
    let energies: Vec<f32> = samples
        .chunks(HOP)
        .map(|hop| hop.iter().map(|sample| sample * sample).sum())
        .collect();
    let sums = energies.windows(SMOOTH).map(|window| window.iter().sum::<f32>());
    // The last of equals: as long a window as possible.
    let best = sums.enumerate().fold(
        (energies.len(), f32::INFINITY),
        |best, (index, sum)| if sum <= best.1 { (index, sum) } else { best },
    );
    let frame = usize::try_from(SAMPLES_PER_FRAME).unwrap_or(1);
    (first + (best.0 + SMOOTH / 2) * HOP) / frame * frame
}

fn position(samples: usize) -> Samples {
    Samples(u64::try_from(samples).unwrap_or(u64::MAX))
}

fn frames(position: Samples) -> u32 {
    u32::try_from(position.0 / SAMPLES_PER_FRAME).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    const SHAPE: WindowShape = WindowShape {
        longest: 25 * 1280,
        search: 10 * 1280,
        margin: 5 * 1280,
    };

    fn token(id: u32, start: u32) -> Token {
        Token {
            id,
            start: Frames(start),
            end: Frames(start + 1),
            confidence: 1.0,
        }
    }

    /// A file in which frame `n` is loud unless `n % 9 == 0`, its windows, and where each begins and ends.
    fn windows(frames: usize, split: usize) -> Vec<Window> {
        let audio: Vec<f32> = (0..frames * 1280)
            .map(|n| if (n / 1280).is_multiple_of(9) { 0.0 } else { 0.5 })
            .collect();
        let mut segmenter = Segmenter::new(SHAPE);
        let mut windows = Vec::new();
        for part in audio.chunks(split) {
            segmenter.push(part);
            while let Some(window) = segmenter.window() {
                windows.push(window);
            }
        }
        windows.extend(segmenter.last());
        windows
    }

    #[test]
    fn windows_tile_the_file_and_are_cut_in_quiet_places() {
        let windows = windows(100, 7777);
        assert_eq!(windows[0].from, Samples(0));
        assert_eq!(windows.last().unwrap().to, Samples(100 * 1280));
        for pair in windows.windows(2) {
            assert_eq!(pair[0].to, pair[1].from);
            assert!(
                (pair[0].to.0 / 1280).is_multiple_of(9) || (pair[0].to.0 / 1280) % 9 == 1,
                "cut at frame {}",
                pair[0].to.0 / 1280
            );
            assert!(pair[0].to.0 - pair[0].from.0 <= 25 * 1280);
        }
        for window in &windows {
            assert!(window.at.0.is_multiple_of(1280));
            assert!(window.samples.len() <= (25 + 10) * 1280);
        }
    }

    #[test]
    fn windows_do_not_depend_on_how_the_audio_came() {
        assert_eq!(windows(100, 7777), windows(100, 100_000_000));
    }

    #[test]
    fn every_token_of_the_file_is_kept_exactly_once() {
        let mut tokens = Vec::new();
        for window in windows(200, 5000) {
            let begin = u32::try_from(window.at.0 / 1280).unwrap();
            let end = begin + u32::try_from(window.samples.len() / 1280).unwrap();
            let found: Vec<Token> = (begin..end).map(|frame| token(frame, frame - begin)).collect();
            stitch(&mut tokens, &window, &found);
        }
        let ids: Vec<u32> = tokens.iter().map(|token| token.id).collect();
        assert_eq!(ids, (0..200).collect::<Vec<u32>>());
        assert!(tokens.iter().all(|token| token.start.0 == token.id));
    }

    #[test]
    fn a_token_seen_on_both_sides_of_a_cut_is_kept_once() {
        let window = |at: u64, from: u64, to: u64| Window {
            samples: Vec::new(),
            at: Samples(at),
            from: Samples(from),
            to: Samples(to),
        };
        let mut tokens = Vec::new();
        stitch(&mut tokens, &window(0, 0, 12_800), &[token(1, 4), token(2, 9)]);
        stitch(&mut tokens, &window(0, 12_800, 25_600), &[token(2, 10), token(2, 15)]);
        let starts: Vec<u32> = tokens.iter().map(|token| token.start.0).collect();
        assert_eq!(starts, [4, 9, 15]);
    }
}
