//! Interleaved PCM and G.711 frames to samples per lane.
//!
//! What it does: converts whole frames to f32 with full scale 1.0, and mixes them to one lane or splits them to one lane per
//! channel. What it does not do: hold state; partial frames are the caller's. Who calls it: [`super::intake`].
#![allow(
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "inner loops over samples; tables are indexed by a byte"
)]

use super::g711;
use crate::units::Hz;

/// How one sample is stored; integers and floats are little-endian but for those that say otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SampleFormat {
    /// Unsigned 8-bit, silence at 128.
    U8,
    /// Signed 8-bit.
    S8,
    /// Signed 16-bit.
    S16,
    /// Signed 24-bit, packed in three bytes.
    S24,
    /// Signed 32-bit.
    S32,
    /// 32-bit float.
    F32,
    /// 64-bit float.
    F64,
    /// Signed 16-bit, big-endian.
    S16Be,
    /// Signed 24-bit, packed in three bytes, big-endian.
    S24Be,
    /// Signed 32-bit, big-endian.
    S32Be,
    /// 32-bit float, big-endian.
    F32Be,
    /// 64-bit float, big-endian.
    F64Be,
    /// G.711 mu-law.
    Mulaw,
    /// G.711 A-law.
    Alaw,
}

impl SampleFormat {
    /// Bytes of one sample.
    pub fn bytes(self) -> usize {
        match self {
            SampleFormat::U8 | SampleFormat::S8 | SampleFormat::Mulaw | SampleFormat::Alaw => 1,
            SampleFormat::S16 | SampleFormat::S16Be => 2,
            SampleFormat::S24 | SampleFormat::S24Be => 3,
            SampleFormat::S32 | SampleFormat::F32 | SampleFormat::S32Be | SampleFormat::F32Be => 4,
            SampleFormat::F64 | SampleFormat::F64Be => 8,
        }
    }
}

/// A stream of interleaved samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PcmFormat {
    /// How one sample is stored.
    pub sample: SampleFormat,
    /// Interleaved channels, at least 1.
    pub channels: u16,
    /// Frames per second.
    pub rate: Hz,
}

impl PcmFormat {
    /// Bytes of one frame (one sample of every channel).
    pub fn frame_bytes(self) -> usize {
        self.sample.bytes() * usize::from(self.channels)
    }
}

/// Decodes the whole frames of `bytes` and appends them: to each lane its channel when there are as many lanes as channels,
/// otherwise to the first lane the mean of the channels. Values lie in [-1, 1]: floats are clipped there, as by any converter,
/// and one that is not a number is silence.
pub fn decode(bytes: &[u8], format: PcmFormat, lanes: &mut [Vec<f32>]) {
    let channels = usize::from(format.channels);
    match format.sample {
        SampleFormat::U8 => spread(bytes.as_chunks().0, channels, lanes, |[b]: [u8; 1]| (f32::from(b) - 128.0) / 128.0),
        SampleFormat::S8 => spread(bytes.as_chunks().0, channels, lanes, s8),
        SampleFormat::S16 => spread(bytes.as_chunks().0, channels, lanes, s16),
        SampleFormat::S24 => spread(bytes.as_chunks().0, channels, lanes, s24),
        SampleFormat::S32 => spread(bytes.as_chunks().0, channels, lanes, s32),
        SampleFormat::F32 => spread(bytes.as_chunks().0, channels, lanes, float32),
        SampleFormat::F64 => spread(bytes.as_chunks().0, channels, lanes, float64),
        SampleFormat::S16Be => spread(bytes.as_chunks().0, channels, lanes, |b| s16(turned(b))),
        SampleFormat::S24Be => spread(bytes.as_chunks().0, channels, lanes, |b| s24(turned(b))),
        SampleFormat::S32Be => spread(bytes.as_chunks().0, channels, lanes, |b| s32(turned(b))),
        SampleFormat::F32Be => spread(bytes.as_chunks().0, channels, lanes, |b| float32(turned(b))),
        SampleFormat::F64Be => spread(bytes.as_chunks().0, channels, lanes, |b| float64(turned(b))),
        SampleFormat::Mulaw => spread(bytes.as_chunks().0, channels, lanes, |[b]: [u8; 1]| {
            f32::from(g711::MULAW[usize::from(b)]) / 32_768.0
        }),
        SampleFormat::Alaw => spread(bytes.as_chunks().0, channels, lanes, |[b]: [u8; 1]| {
            f32::from(g711::ALAW[usize::from(b)]) / 32_768.0
        }),
    }
}

fn s8([byte]: [u8; 1]) -> f32 {
    f32::from(i8::from_le_bytes([byte])) / 128.0
}

fn s16(bytes: [u8; 2]) -> f32 {
    f32::from(i16::from_le_bytes(bytes)) / 32_768.0
}

fn s24([a, b, c]: [u8; 3]) -> f32 {
    (i32::from_le_bytes([0, a, b, c]) >> 8) as f32 / 8_388_608.0
}

fn s32(bytes: [u8; 4]) -> f32 {
    (f64::from(i32::from_le_bytes(bytes)) / 2_147_483_648.0) as f32
}

fn float32(bytes: [u8; 4]) -> f32 {
    clip(f32::from_le_bytes(bytes))
}

fn float64(bytes: [u8; 8]) -> f32 {
    clip(f64::from_le_bytes(bytes) as f32)
}

/// The bytes of a sample in the other order.
fn turned<const N: usize>(mut bytes: [u8; N]) -> [u8; N] {
    bytes.reverse();
    bytes
}

fn clip(value: f32) -> f32 {
    if value.is_nan() { 0.0 } else { value.clamp(-1.0, 1.0) }
}

/// Appends interleaved frames to the lanes as [`decode`] does.
pub fn deal(samples: &[f32], channels: u16, lanes: &mut [Vec<f32>]) {
    spread(samples, usize::from(channels.max(1)), lanes, clip);
}

/// Applies `sample` to every stored sample and deals the values out to the lanes.
fn spread<T: Copy>(samples: &[T], channels: usize, lanes: &mut [Vec<f32>], sample: impl Fn(T) -> f32) {
    match lanes {
        [lane] if channels == 1 => lane.extend(samples.iter().map(|&stored| sample(stored))),
        [lane] => {
            let scale = 1.0 / channels as f32;
            lane.extend(
                samples
                    .chunks_exact(channels)
                    .map(|frame| frame.iter().map(|&stored| sample(stored)).sum::<f32>() * scale),
            );
        }
        lanes => {
            for frame in samples.chunks_exact(channels) {
                for (lane, &stored) in lanes.iter_mut().zip(frame) {
                    lane.push(sample(stored));
                }
            }
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
    use super::*;

    fn one(sample: SampleFormat, bytes: &[u8]) -> Vec<f32> {
        let mut lanes = vec![Vec::new()];
        decode(
            bytes,
            PcmFormat {
                sample,
                channels: 1,
                rate: Hz(16_000),
            },
            &mut lanes,
        );
        lanes.remove(0)
    }

    #[test]
    fn every_format_has_its_scale() {
        assert_eq!(one(SampleFormat::U8, &[0, 128, 192]), [-1.0, 0.0, 0.5]);
        assert_eq!(
            one(SampleFormat::S16, &[0x00, 0x80, 0xff, 0x7f, 0x00, 0x40]),
            [-1.0, 32_767.0 / 32_768.0, 0.5]
        );
        assert_eq!(
            one(SampleFormat::S24, &[0, 0, 0x80, 0, 0, 0x40, 0xff, 0xff, 0xff]),
            [-1.0, 0.5, -1.0 / 8_388_608.0]
        );
        assert_eq!(one(SampleFormat::S32, &[0, 0, 0, 0x80, 0, 0, 0, 0x40]), [-1.0, 0.5]);
        assert_eq!(one(SampleFormat::F32, &0.25_f32.to_le_bytes()), [0.25]);
        assert_eq!(one(SampleFormat::F64, &(-0.25_f64).to_le_bytes()), [-0.25]);
        assert_eq!(one(SampleFormat::S8, &[0x80, 0, 0x40]), [-1.0, 0.0, 0.5]);
        assert_eq!(one(SampleFormat::S16Be, &[0x80, 0, 0x40, 0]), [-1.0, 0.5]);
        assert_eq!(one(SampleFormat::S24Be, &[0x80, 0, 0, 0x40, 0, 0]), [-1.0, 0.5]);
        assert_eq!(one(SampleFormat::S32Be, &[0x80, 0, 0, 0, 0x40, 0, 0, 0]), [-1.0, 0.5]);
        assert_eq!(one(SampleFormat::F32Be, &0.25_f32.to_be_bytes()), [0.25]);
        assert_eq!(one(SampleFormat::F64Be, &(-0.25_f64).to_be_bytes()), [-0.25]);
        assert_eq!(one(SampleFormat::Mulaw, &[0xff, 0x80]), [0.0, 32_124.0 / 32_768.0]);
        assert_eq!(one(SampleFormat::Alaw, &[0xd5, 0x2a]), [8.0 / 32_768.0, -32_256.0 / 32_768.0]);
    }

    #[test]
    fn floats_that_are_no_audio_do_no_harm() {
        let bytes: Vec<u8> = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 3e38]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        assert_eq!(one(SampleFormat::F32, &bytes), [0.0, 1.0, -1.0, 1.0]);
        assert_eq!(one(SampleFormat::F64, &f64::MAX.to_le_bytes()), [1.0]);
    }

    #[test]
    fn channels_are_mixed_into_one_lane_or_split_into_several() {
        let format = PcmFormat {
            sample: SampleFormat::S16,
            channels: 2,
            rate: Hz(8_000),
        };
        let bytes: Vec<u8> = [8_192_i16, 16_384, -8_192, 8_192].iter().flat_map(|v| v.to_le_bytes()).collect();
        let mut mixed = vec![Vec::new()];
        decode(&bytes, format, &mut mixed);
        assert_eq!(mixed, [vec![0.375, 0.0]]);
        let mut split = vec![Vec::new(), Vec::new()];
        decode(&bytes, format, &mut split);
        assert_eq!(split, [vec![0.25, -0.25], vec![0.5, 0.25]]);
    }
}
