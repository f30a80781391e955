//! Audio to log-mel frames, for a live stream and a whole file alike.
//!
//! What it does: pre-emphasis, cutting into windows every 10 ms, one [`LogMel`] frame for each. Fed in any pieces it gives
//! the bits of the whole: the only state is the previous sample and the samples of the next window. Frame `k` comes when
//! sample `160 k + 199` is there; at the end of an utterance the frames up to `floor(N / 160)` are completed with zeros.
//! Samples that are not finite count as 0, and all are held within +-8, so that no input can spread through the network.
//! What it does not do: resample, decode audio.
//! Who calls it: `model::network`.

use crate::ops::log_mel::{LogMel, WINDOW, Workspace, hann, slaney};

/// Samples from one frame to the next (10 ms).
const HOP: usize = 160;
/// Zeros before the first sample: the first window is centred on it.
const LEAD: usize = WINDOW / 2;
/// Share of the previous sample that pre-emphasis takes away.
const EMPHASIS: f32 = 0.97;
/// Largest magnitude let through; full scale is 1.
const LOUDEST: f32 = 8.0;

/// Window, filters and transform of one model.
#[derive(Clone, Debug)]
pub struct Frontend {
    mel: LogMel,
}

/// Progress of one stream.
#[derive(Clone, Debug)]
pub struct FrontendState {
    previous: f32,
    /// Pre-emphasized samples from the start of the next window on.
    live: Vec<f32>,
    received: u64,
    workspace: Workspace,
}

impl Frontend {
    /// `window [400]` and `filters [mel_bins, 257]` as stored with the weights, or the published formulas.
    pub fn new(mel_bins: usize, window: Option<&[f32]>, filters: Option<&[f32]>) -> Self {
        let window = window.map_or_else(hann, <[f32]>::to_vec);
        let filters = filters.map_or_else(|| slaney(mel_bins), <[f32]>::to_vec);
        Frontend {
            mel: LogMel::new(&window, &filters, mel_bins),
        }
    }

    /// A fresh stream; `samples` is how many a call brings at most without allocating.
    pub fn state(&self, samples: usize) -> FrontendState {
        let mut live = Vec::with_capacity(WINDOW + samples + HOP);
        live.resize(LEAD, 0.0);
        FrontendState {
            previous: 0.0,
            live,
            received: 0,
            workspace: self.mel.workspace(),
        }
    }

    /// Takes samples and appends each frame that became complete to `out`, row by row; completes the last ones if `end`.
    pub fn push(&self, state: &mut FrontendState, samples: &[f32], end: bool, out: &mut Vec<f32>) {
        let before = mel_frames(state.received, false);
        state.received = state.received.saturating_add(u64::try_from(samples.len()).unwrap_or(u64::MAX));
        for sample in samples {
            let sample = if sample.is_finite() { sample.clamp(-LOUDEST, LOUDEST) } else { 0.0 };
            state.live.push(sample - EMPHASIS * state.previous);
            state.previous = sample;
        }
        let count = usize::try_from(mel_frames(state.received, end).saturating_sub(before)).unwrap_or(0);
        let needed = if count == 0 { 0 } else { (count - 1) * HOP + WINDOW };
        if state.live.len() < needed {
            state.live.resize(needed, 0.0);
        }
        let bins = self.mel.mel_bins();
        let start = out.len();
        out.resize(start + count * bins, 0.0);
        let windows = state.live.windows(WINDOW).step_by(HOP);
        for (frame, window) in out.get_mut(start..).unwrap_or_default().chunks_exact_mut(bins.max(1)).zip(windows) {
            self.mel.frame(window, &mut state.workspace, frame);
        }
        state.live.drain(..(count * HOP).min(state.live.len()));
    }
}

impl FrontendState {
    /// Back to the start of a stream.
    pub fn reset(&mut self) {
        self.previous = 0.0;
        self.live.clear();
        self.live.resize(LEAD, 0.0);
        self.received = 0;
    }

    /// Samples taken since the start of the stream.
    pub fn received(&self) -> u64 {
        self.received
    }
}

/// Mel frames of a stream of `samples`, while it goes on or when it ends there.
pub fn mel_frames(samples: u64, end: bool) -> u64 {
    const HOP: u64 = 160;
    const AFTER: u64 = 200;
    if end {
        samples / HOP
    } else if samples < AFTER {
        0
    } else {
        (samples - AFTER) / HOP + 1
    }
}

/// Normalizes each column of `mel [frames, bins]` to mean 0 and unbiased deviation 1, where 1e-5 is added to the deviation.
#[expect(
    clippy::as_conversions,
    reason = "a frame count becomes a divisor, results return to the precision of the features"
)]
pub fn normalize_per_feature(mel: &mut [f32], bins: usize) {
    if bins == 0 {
        return;
    }
    let frames = mel.len() / bins;
    let mut sums = vec![0.0_f64; bins];
    for row in mel.chunks_exact(bins) {
        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
    }
    let means: Vec<f64> = sums.iter().map(|sum| sum / frames as f64).collect();
    let mut squares = vec![0.0_f64; bins];
    for row in mel.chunks_exact(bins) {
        for ((square, value), mean) in squares.iter_mut().zip(row).zip(&means) {
            *square += (f64::from(*value) - mean).powi(2);
        }
    }
    // One frame has no deviation; the published rule takes 0 for it.
    let spread = |square: f64| if frames < 2 { 0.0 } else { (square / (frames - 1) as f64).sqrt() };
    let factors: Vec<f64> = squares.into_iter().map(|square| 1.0 / (spread(square) + 1e-5)).collect();
    for row in mel.chunks_exact_mut(bins) {
        for ((value, mean), factor) in row.iter_mut().zip(&means).zip(&factors) {
            *value = ((f64::from(*value) - mean) * factor) as f32;
        }
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
    use proptest::prelude::*;

    use super::*;

    fn tone(count: usize) -> Vec<f32> {
        (0..count)
            .map(|i| (i as f32 * 0.05).sin() * 0.3 + (i as f32 * 0.31).cos() * 0.1)
            .collect()
    }

    fn whole(samples: &[f32]) -> Vec<f32> {
        let frontend = Frontend::new(80, None, None);
        let mut out = Vec::new();
        frontend.push(&mut frontend.state(0), samples, true, &mut out);
        out
    }

    #[test]
    fn frames_come_when_their_last_sample_is_there() {
        let frontend = Frontend::new(80, None, None);
        let (mut state, mut out) = (frontend.state(0), Vec::new());
        for (n, sample) in tone(2_000).iter().enumerate() {
            frontend.push(&mut state, &[*sample], false, &mut out);
            assert_eq!(
                out.len() / 80,
                if n + 1 < 200 { 0 } else { (n + 1 - 200) / 160 + 1 },
                "after sample {n}"
            );
        }
    }

    #[test]
    fn an_utterance_of_n_samples_has_n_over_160_frames() {
        for n in [0, 1, 159, 160, 199, 200, 319, 320, 359, 360, 1_600, 5_001] {
            assert_eq!(whole(&tone(n)).len() / 80, n / 160, "{n} samples");
        }
    }

    #[test]
    fn what_follows_the_end_is_silence_after_the_emphasis() {
        let mut longer = tone(330);
        longer.extend([0.0; 400]);
        // The zero that follows in `longer` is itself emphasized, what follows the end of an utterance is not.
        let (short, long) = (whole(&tone(330)), whole(&longer));
        assert_eq!(short[..80], long[..80], "a frame inside is the same");
        assert_ne!(short[80..160], long[80..160], "a frame over the end is not");
    }

    #[test]
    fn broken_samples_do_no_harm() {
        let mut samples = tone(3_000);
        samples[700] = f32::NAN;
        samples[900] = f32::INFINITY;
        samples[1_000] = -1e30;
        assert!(whole(&samples).iter().all(|v| v.is_finite()));
    }

    #[test]
    fn per_feature_statistics_are_unbiased() {
        let mut mel = vec![1.0, 5.0, 3.0, 5.0, 8.0, 5.0];
        normalize_per_feature(&mut mel, 2);
        let deviation = 13.0_f32.sqrt();
        for (got, wanted) in mel.iter().zip([-3.0 / deviation, 0.0, -1.0 / deviation, 0.0, 4.0 / deviation, 0.0]) {
            assert!((got - wanted).abs() < 1e-5, "{got} not {wanted}");
        }
        let mut one = vec![4.0, -4.0];
        normalize_per_feature(&mut one, 2);
        assert_eq!(one, [0.0, 0.0]);
    }

    proptest! {
        #[test]
        fn any_pieces_give_the_bits_of_the_whole(pieces in prop::collection::vec(0_usize..700, 1..12)) {
            let frontend = Frontend::new(80, None, None);
            let samples = tone(pieces.iter().sum());
            let (mut state, mut out, mut at) = (frontend.state(0), Vec::new(), 0);
            for (index, piece) in pieces.iter().enumerate() {
                frontend.push(&mut state, &samples[at..at + piece], index + 1 == pieces.len(), &mut out);
                at += piece;
            }
            prop_assert_eq!(state.received(), samples.len() as u64);
            prop_assert_eq!(out, whole(&samples));
        }
    }
}
