//! Buffers on the device that all steps share, and the inputs of a step on their way to them.
//!
//! What it does: takes them, as large as the largest step needs, and writes a step's audio and rows where its graph copies them from. What it
//! does not do: keep anything from one step to the next. Who calls it: `model::device`.

use rayon::prelude::*;

use super::progress::Progress;
use super::record::Plan;
use super::sizes::Sizes;
use super::{DeviceError, DeviceInput, samples_of};
use crate::gpu::{Buffer, Gpu, Pinned};
use crate::model::arch::Architecture;
use crate::ops::rows::{Row, WORDS};
use crate::ops::subsample::frequencies;

/// Buffers that all steps share, as large as the largest needs.
pub(super) struct Scratch {
    pub(super) pcm: Buffer<i16>,
    pub(super) rows: Buffer<i32>,
    pub(super) mel: Buffer<f32>,
    pub(super) work: [Buffer<u16>; 2],
    pub(super) x: Buffer<f32>,
    pub(super) normed: Buffer<u16>,
    pub(super) wide: Buffer<u16>,
    pub(super) attended: Buffer<u16>,
    pub(super) staged_pcm: Pinned<i16>,
    pub(super) staged_rows: Pinned<i32>,
}

impl Scratch {
    pub(super) fn new(gpu: &Gpu, arch: &Architecture, sizes: &Sizes) -> Result<Self, DeviceError> {
        let encoder = &arch.encoder;
        let width = encoder.width;
        let (rows, streams) = (sizes.most_rows(), sizes.most_streams());
        let [first, second, _] = frequencies(arch.frontend.mel_bins, encoder.causal_subsampling);
        let channels = encoder.subsampling_channels;
        let wide = (width * encoder.ff_expansion).max(3 * sizes.heads.width()).max(width);
        Ok(Scratch {
            pcm: gpu.zeros(samples_of(rows))?,
            rows: gpu.zeros(streams * WORDS)?,
            mel: gpu.zeros(rows * 8 * arch.frontend.mel_bins)?,
            work: [gpu.zeros(4 * rows * first * channels)?, gpu.zeros(2 * rows * second * channels)?],
            x: gpu.zeros(rows * width)?,
            normed: gpu.zeros(rows * width)?,
            wide: gpu.zeros(rows * wide)?,
            attended: gpu.zeros(rows * sizes.heads.width())?,
            staged_pcm: gpu.pinned(samples_of(rows))?,
            staged_rows: gpu.pinned(streams * WORDS)?,
        })
    }

    /// Writes the inputs of a step where the graph copies them from.
    pub(super) fn stage(&mut self, plan: &Plan, work: &[DeviceInput<'_>], admitted: &[(Progress, Row)], streams: bool, slots: usize) {
        let pcm = self.staged_pcm.par_chunks_exact_mut(samples_of(plan.frames));
        pcm.zip(work).for_each(|(target, input)| {
            for (slot, sample) in target.iter_mut().zip(input.samples) {
                *slot = quantized(*sample);
            }
        });
        let small = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        for (place, target) in self.staged_rows.chunks_exact_mut(WORDS).enumerate() {
            let row = match (work.get(place), admitted.get(place)) {
                (Some(input), Some((_, row))) => Row {
                    // Utterances keep nothing, so any place that no other uses will do.
                    slot: small(if streams { input.slot } else { place }),
                    prompt: small(input.prompt.unwrap_or(0)),
                    ..*row
                },
                _ => Row::padding(small(slots)),
            };
            target.copy_from_slice(&row.words());
        }
    }
}

/// A sample as 16 bits; what is no number is silence.
#[expect(clippy::as_conversions, reason = "a rounded value within the range of i16; a float cast saturates")]
fn quantized(sample: f32) -> i16 {
    (sample * 32_768.0).round() as i16
}
