//! Any sampling rate to the model's 16 kHz, streaming, for all lanes of a stream together.
//!
//! What it does: wraps the crate `rubato` (nothing else here names it) so that an upgrade touches one file. The filter's delay
//! is cut off the beginning and made up at the end: output sample `k` belongs to input time `k / 16000`, and `n` input frames give exactly
//! `round(n * 16000 / rate)` samples. What it does not do: decode. Who calls it: [`super::intake`].
//!
//! Two filters, chosen by rate alone. Rates that share a large divisor with 16 kHz (every usual one but 11025 Hz) go through
//! the FFT resampler in blocks of 10 ms (up to 20 ms for 22050 Hz and rates below 8 kHz), which costs about a microsecond a block; the others through a
//! windowed sinc, some twenty times dearer. Both are linear in phase; the Blackman window gives 75 dB of stop band and, at
//! 8 kHz, a pass band up to 3.3 kHz. Look-ahead: half a block (5 ms), or 2 ms for the sinc, besides waiting for a whole block.

use rubato::audioadapter_buffers::direct::SequentialSliceOfVecs;
use rubato::{Async, Fft, FixedAsync, FixedSync, Indexing, SincInterpolationParameters, SincInterpolationType, WindowFunction};

use super::AudioError;
use crate::units::{Hz, MODEL_RATE};

/// Longest block of the FFT resampler, in milliseconds; a rate that needs more goes through the sinc.
const MAX_BLOCK_MS: usize = 20;
/// Shortest block, in input frames: the filter is as long as a block, and a shorter one would cut into speech.
const MIN_BLOCK: usize = 80;
/// Taps of the sinc at or below 16 kHz; longer in proportion above, where the filter works at the input's rate.
const SINC_TAPS: usize = 64;

/// Resampler of one stream: give it frames through [`Resampler::staging`], then call [`Resampler::run`].
pub struct Resampler {
    /// None at 16 kHz, where samples pass through.
    inner: Option<Box<dyn rubato::Resampler<f32>>>,
    rate: Hz,
    /// Input frames not yet processed, per lane; shorter than a block after `run`.
    staged: Vec<Vec<f32>>,
    /// Output of one block, per lane, as long as the longest block.
    block_out: Vec<Vec<f32>>,
    /// Output samples still to be cut off at the beginning.
    delay: usize,
    frames_in: u64,
    samples_out: u64,
}

impl std::fmt::Debug for Resampler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resampler")
            .field("rate", &self.rate)
            .field("frames_in", &self.frames_in)
            .field("samples_out", &self.samples_out)
            .finish_non_exhaustive()
    }
}

impl Resampler {
    /// A resampler from `rate` (at least 1 Hz) for `lanes` lanes. Takes up to some milliseconds; do it once per stream.
    ///
    /// # Errors
    /// [`AudioError::Resampler`] if the crate refuses its parameters.
    pub fn new(rate: Hz, lanes: usize) -> Result<Self, AudioError> {
        let (inner, delay) = if rate == MODEL_RATE {
            (None, 0)
        } else {
            build(rate, lanes).map(|(inner, delay)| (Some(inner), delay))?
        };
        let longest = inner.as_ref().map_or(0, |inner| inner.output_frames_max());
        Ok(Resampler {
            delay,
            inner,
            rate,
            staged: vec![Vec::new(); lanes],
            block_out: vec![vec![0.0; longest]; lanes],
            frames_in: 0,
            samples_out: 0,
        })
    }

    /// Frames to stage until the next block is whole; `wanted` at 16 kHz, where there are no blocks.
    pub fn frames_wanted(&self, wanted: usize) -> usize {
        match &self.inner {
            Some(inner) => inner.input_frames_next().saturating_sub(self.staged.first().map_or(0, Vec::len)),
            None => wanted,
        }
    }

    /// Where decoded frames are to be appended, one vector per lane, the same number to each.
    pub fn staging(&mut self) -> &mut [Vec<f32>] {
        &mut self.staged
    }

    /// Processes the whole blocks that are staged and appends the result to `out`, one vector per lane. Returns the samples appended
    /// to each.
    ///
    /// # Errors
    /// [`AudioError::Resampler`] if the crate refuses a block.
    pub fn run(&mut self, out: &mut [Vec<f32>]) -> Result<usize, AudioError> {
        let Some(inner) = self.inner.as_mut() else {
            let frames = self.staged.first().map_or(0, Vec::len);
            for (staged, out) in self.staged.iter_mut().zip(out) {
                out.append(staged);
            }
            return Ok(frames);
        };
        let mut appended = 0;
        while self.staged.first().map_or(0, Vec::len) >= inner.input_frames_next() {
            let (taken, produced) = block(inner.as_mut(), &self.staged, &mut self.block_out, None)?;
            for staged in &mut self.staged {
                staged.drain(..taken.min(staged.len()));
            }
            self.frames_in += u64::try_from(taken).unwrap_or(0);
            appended += append(&self.block_out, produced, &mut self.delay, usize::MAX, out);
        }
        self.samples_out += u64::try_from(appended).unwrap_or(0);
        Ok(appended)
    }

    /// End of input: processes what is staged and the filter's tail. Returns the samples appended to each lane.
    ///
    /// # Errors
    /// [`AudioError::Resampler`] if the crate refuses a block.
    pub fn finish(&mut self, out: &mut [Vec<f32>]) -> Result<usize, AudioError> {
        let mut appended = self.run(out)?;
        let Some(inner) = self.inner.as_mut() else { return Ok(appended) };
        self.frames_in += u64::try_from(self.staged.first().map_or(0, Vec::len)).unwrap_or(0);
        let rate = u64::from(self.rate.0);
        let target = self.frames_in.saturating_mul(u64::from(MODEL_RATE.0)).saturating_add(rate / 2) / rate;
        while self.samples_out < target {
            let staged = self.staged.first().map_or(0, Vec::len);
            let (_, produced) = block(inner.as_mut(), &self.staged, &mut self.block_out, Some(staged))?;
            self.staged.iter_mut().for_each(Vec::clear);
            let missing = usize::try_from(target.saturating_sub(self.samples_out)).unwrap_or(usize::MAX);
            let tail = append(&self.block_out, produced, &mut self.delay, missing, out);
            self.samples_out += u64::try_from(tail).unwrap_or(0);
            appended += tail;
        }
        Ok(appended)
    }
}

/// The resampler for a rate other than 16 kHz, and its delay in output samples.
fn build(rate: Hz, lanes: usize) -> Result<(Box<dyn rubato::Resampler<f32>>, usize), AudioError> {
    let (from, to) = (size(rate)?, size(MODEL_RATE)?);
    let block = (from / 100).max(MIN_BLOCK);
    let smallest = from / gcd(from, to);
    if smallest.saturating_mul(1_000) <= from.saturating_mul(MAX_BLOCK_MS) {
        let fft = Fft::new_custom(from, to, block, 1, lanes, WindowFunction::Blackman, FixedSync::Both).map_err(refused)?;
        let delay = rubato::Resampler::output_delay(&fft);
        return Ok((Box::new(fft), delay));
    }
    let taps = (SINC_TAPS * from).div_ceil(to).max(SINC_TAPS).next_multiple_of(8);
    let parameters = SincInterpolationParameters::new(taps, WindowFunction::Blackman).interpolation(SincInterpolationType::Cubic);
    let ratio = f64::from(MODEL_RATE.0) / f64::from(rate.0);
    let sinc = Async::new_sinc(ratio, 1.0, &parameters, block, lanes, FixedAsync::Input).map_err(refused)?;
    // Half the filter, less one sample, since the first output lies one step after the filter's start; to the nearest sample. The
    // crate's own figure is rounded down and forgets that step.
    let half = taps.saturating_mul(to).saturating_add(from) / from.saturating_mul(2);
    Ok((Box::new(sinc), half.saturating_sub(1)))
}

/// One call of the crate: `staged` (zeros after `partial` frames, if given) into `out`. Returns frames taken and made.
fn block(
    inner: &mut dyn rubato::Resampler<f32>,
    staged: &[Vec<f32>],
    out: &mut [Vec<f32>],
    partial: Option<usize>,
) -> Result<(usize, usize), AudioError> {
    let lanes = staged.len();
    let frames_in = staged.first().map_or(0, Vec::len);
    let frames_out = out.first().map_or(0, Vec::len);
    let input = SequentialSliceOfVecs::new(staged, lanes, frames_in).map_err(refused)?;
    let mut output = SequentialSliceOfVecs::new_mut(out, lanes, frames_out).map_err(refused)?;
    let indexing = Indexing {
        input_offset: 0,
        output_offset: 0,
        partial_len: partial,
        active_channels_mask: None,
    };
    inner.process_into_buffer(&input, &mut output, Some(&indexing)).map_err(refused)
}

/// Appends `produced` samples of each lane less those that belong to the delay, and at most `limit`.
fn append(block: &[Vec<f32>], produced: usize, delay: &mut usize, limit: usize, out: &mut [Vec<f32>]) -> usize {
    let skip = produced.min(*delay);
    *delay -= skip;
    let end = produced.min(skip.saturating_add(limit));
    for (block, out) in block.iter().zip(out) {
        out.extend_from_slice(block.get(skip..end).unwrap_or_default());
    }
    end - skip
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a.max(1) } else { gcd(b, a % b) }
}

fn size(rate: Hz) -> Result<usize, AudioError> {
    usize::try_from(rate.0).map_err(refused)
}

fn refused(error: impl std::fmt::Display) -> AudioError {
    AudioError::Resampler { reason: error.to_string() }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic
)]
mod tests;
