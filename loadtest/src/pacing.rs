//! When each chunk is due on the wire, and which chunk carried a given instant of audio.
//!
//! Open loop: the plan is fixed when the stream starts and never waits for the server, so that a server which stalls the sender
//! cannot make its own figures look better ("coordinated omission"). Pure arithmetic; `call` does the waiting.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

/// The plan of one stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    start: Instant,
    speed: f64,
    sample_rate: u32,
    chunk_frames: u32,
    frames: u32,
}

impl Pace {
    /// A plan for `frames` frames at `sample_rate`, in chunks of `chunk_ms`, `speed` times as fast as they were spoken.
    ///
    /// # Errors
    /// A chunk shorter than one frame, or a speed outside 0.1 to 1000.
    pub(crate) fn new(start: Instant, speed: f64, sample_rate: u32, chunk_ms: u32, frames: u32) -> Result<Self> {
        let chunk_frames = u32::try_from(u64::from(sample_rate).saturating_mul(u64::from(chunk_ms)) / 1000)?;
        ensure!(
            chunk_frames > 0 && frames > 0,
            "a chunk of {chunk_ms} ms holds no audio at {sample_rate} Hz"
        );
        ensure!(
            (0.1..=1000.0).contains(&speed),
            "a speed of {speed}: it must lie between 0.1 and 1000"
        );
        Ok(Self {
            start,
            speed,
            sample_rate,
            chunk_frames,
            frames,
        })
    }

    /// Frames in every chunk but the last.
    pub(crate) fn chunk_frames(&self) -> u32 {
        self.chunk_frames
    }

    /// How many chunks there are.
    pub(crate) fn chunks(&self) -> u32 {
        self.frames.div_ceil(self.chunk_frames)
    }

    /// When chunk `index` is to be sent: `start + index * chunk / speed`. The end of the stream is chunk `chunks()`.
    pub(crate) fn planned(&self, index: u32) -> Instant {
        let spoken = f64::from(self.chunk_frames) / f64::from(self.sample_rate) * f64::from(index);
        self.start + Duration::from_secs_f64(spoken / self.speed)
    }

    /// Audio, in seconds, that has gone out once `chunks` chunks are sent.
    pub(crate) fn audio_sent(&self, chunks: u32) -> f64 {
        let frames = self.chunk_frames.saturating_mul(chunks).min(self.frames);
        f64::from(frames) / f64::from(self.sample_rate)
    }

    /// The chunk that carries the last frame before `seconds` of audio, rounded to the nearest frame; `None` past the end of the audio.
    pub(crate) fn chunk_of(&self, seconds: f64) -> Option<u32> {
        let nanos = Duration::try_from_secs_f64(seconds).ok()?.as_nanos();
        let frame = (nanos * u128::from(self.sample_rate) + 500_000_000) / 1_000_000_000;
        let frame = u32::try_from(frame).ok().filter(|frame| *frame <= self.frames)?;
        Some(frame.div_ceil(self.chunk_frames).saturating_sub(1))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn chunks_are_due_one_chunk_apart_and_faster_at_a_higher_speed() {
        let start = Instant::now();
        let pace = Pace::new(start, 1.0, 8000, 20, 8000).unwrap();
        assert_eq!((pace.chunk_frames(), pace.chunks()), (160, 50));
        assert_eq!(pace.planned(0), start);
        assert_eq!(pace.planned(50) - start, Duration::from_secs(1));
        let fast = Pace::new(start, 4.0, 8000, 20, 8000).unwrap();
        assert_eq!(fast.planned(50) - start, Duration::from_millis(250));
    }

    #[test]
    fn a_rate_that_20_ms_does_not_divide_stays_in_step_with_its_samples() {
        let start = Instant::now();
        let pace = Pace::new(start, 1.0, 11_025, 20, 11_025).unwrap();
        assert_eq!(pace.chunk_frames(), 220);
        let second = pace.planned(11_025 / 220) - start;
        assert!((second.as_secs_f64() - 11_000.0 / 11_025.0).abs() < 1e-6);
    }

    #[test]
    fn audio_belongs_to_the_chunk_that_holds_its_last_byte() {
        let pace = Pace::new(Instant::now(), 1.0, 8000, 20, 1000).unwrap();
        assert_eq!(pace.chunks(), 7, "six of 160 frames and a rest of 40");
        assert_eq!(pace.chunk_of(0.0), Some(0));
        assert_eq!(pace.chunk_of(0.02), Some(0), "up to the edge: the first chunk is enough");
        assert_eq!(pace.chunk_of(0.020_125), Some(1), "one frame more needs the second");
        assert_eq!(
            pace.chunk_of(f64::from(0.12_f32)),
            Some(5),
            "a 32-bit time does not slip over the edge"
        );
        assert_eq!(pace.chunk_of(0.125), Some(6));
        assert_eq!(pace.chunk_of(0.126), None, "the audio has ended before that");
        assert_eq!(pace.chunk_of(-1.0), None);
        assert_eq!(pace.chunk_of(f64::NAN), None);
    }

    #[test]
    fn refuses_empty_chunks_and_mad_speeds() {
        let now = Instant::now();
        assert!(Pace::new(now, 1.0, 8000, 0, 10).is_err());
        assert!(Pace::new(now, 0.0, 8000, 20, 10).is_err());
        assert!(Pace::new(now, f64::NAN, 8000, 20, 10).is_err());
    }

    proptest! {
        #[test]
        fn a_chunk_covers_its_own_end(rate in 4000_u32..48_000, chunk_ms in 10_u32..500, frames in 1_u32..2_000_000, pick in 0_u32..1000) {
            let pace = Pace::new(Instant::now(), 1.0, rate, chunk_ms, frames).unwrap();
            let index = pick % pace.chunks();
            prop_assert_eq!(pace.chunk_of(pace.audio_sent(index + 1)), Some(index));
        }
    }
}
