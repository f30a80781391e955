//! Headerless samples to lanes. Who calls it: [`super`].

use super::super::AudioError;
use super::super::pcm::{self, PcmFormat};
use super::super::queue::Queue;
use super::super::resample::Resampler;

/// Frames decoded at a time at 16 kHz, where the resampler sets no block; bounds the scratch space.
const PASS_THROUGH_FRAMES: usize = 160;

/// Samples to lanes.
#[derive(Debug)]
pub(super) struct Decoder {
    pub(super) format: PcmFormat,
    pub(super) resampler: Resampler,
    scratch: Vec<u8>,
}

impl Decoder {
    pub(super) fn new(format: PcmFormat, resampler: Resampler) -> Self {
        Self {
            format,
            resampler,
            scratch: Vec::new(),
        }
    }

    /// Decodes block by block until `max_samples` are appended or the whole frames of the queue, or of `left`, are used up.
    pub(super) fn decode(
        &mut self,
        queue: &mut Queue,
        left: &mut Option<u64>,
        max_samples: usize,
        out: &mut [Vec<f32>],
    ) -> Result<usize, AudioError> {
        let frame_bytes = self.format.frame_bytes().max(1);
        let mut appended = 0_usize;
        while appended < max_samples {
            let room = left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
            let ready = queue.len().min(room) / frame_bytes;
            let wanted = self.resampler.frames_wanted(PASS_THROUGH_FRAMES.min(max_samples - appended));
            let frames = ready.min(wanted);
            if frames == 0 {
                break;
            }
            self.scratch.clear();
            queue.take(frames * frame_bytes, &mut self.scratch);
            if let Some(left) = left {
                *left = left.saturating_sub(u64::try_from(self.scratch.len()).unwrap_or(u64::MAX));
            }
            pcm::decode(&self.scratch, self.format, self.resampler.staging());
            appended += self.resampler.run(out)?;
        }
        Ok(appended)
    }
}
