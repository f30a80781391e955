//! What a call sends: the files of the scenario in the form that a group of lines asks for.
//!
//! Decodes G.711, changes between 8 and 16 kHz, puts in silences and lays two files side by side; a form that asks for none of this
//! sends the bytes of the file. Pure. Called by `plan`.

use anyhow::{Result, ensure};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::plan::{Form, SendAs, samples_of};
use crate::wav::{self, Wav};

/// How samples are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Encoding {
    /// 16 bits, little-endian.
    Linear16,
    /// G.711 mu-law.
    Mulaw,
    /// G.711 A-law.
    Alaw,
}

impl Encoding {
    /// The value of the query parameter `encoding`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Linear16 => "linear16",
            Self::Mulaw => "mulaw",
            Self::Alaw => "alaw",
        }
    }

    /// Bytes of one sample.
    pub(crate) fn sample_bytes(self) -> usize {
        match self {
            Self::Linear16 => 2,
            Self::Mulaw | Self::Alaw => 1,
        }
    }

    fn decode(self, bytes: &[u8]) -> Vec<i16> {
        match self {
            Self::Linear16 => bytes
                .chunks_exact(2)
                .filter_map(|pair| Some(i16::from_le_bytes(pair.try_into().ok()?)))
                .collect(),
            Self::Mulaw => bytes.iter().map(|code| mulaw_sample(*code)).collect(),
            Self::Alaw => bytes.iter().map(|code| alaw_sample(*code)).collect(),
        }
    }

    fn encode(self, samples: impl Iterator<Item = i16>) -> Vec<u8> {
        match self {
            Self::Linear16 => samples.flat_map(i16::to_le_bytes).collect(),
            Self::Mulaw => samples.map(mulaw_code).collect(),
            Self::Alaw => samples.map(alaw_code).collect(),
        }
    }
}

/// ITU-T G.711, mu-law, 14 bits scaled to 16.
fn mulaw_sample(code: u8) -> i16 {
    let code = !code;
    let exponent = u32::from((code >> 4) & 7);
    let magnitude = (((i32::from(code & 0x0F) << 3) + 0x84) << exponent) - 0x84;
    saturate(if code & 0x80 == 0 { magnitude } else { -magnitude })
}

fn mulaw_code(sample: i16) -> u8 {
    let magnitude = i32::from(sample).abs().min(32_635) + 0x84;
    // `magnitude` lies between 0x84 and 0x7FFF: its highest bit is 7 to 14.
    let exponent = (24_u32.saturating_sub(magnitude.leading_zeros())).min(7);
    let mantissa = (magnitude >> (exponent + 3)) & 0x0F;
    let sign = if sample < 0 { 0x80 } else { 0 };
    !low_byte(sign | (i32::try_from(exponent).unwrap_or(7) << 4) | mantissa)
}

/// ITU-T G.711, A-law, 13 bits scaled to 16.
fn alaw_sample(code: u8) -> i16 {
    let code = code ^ 0x55;
    let exponent = u32::from((code >> 4) & 7);
    let mantissa = i32::from(code & 0x0F) << 4;
    let magnitude = match exponent {
        0 => mantissa + 8,
        _ => (mantissa + 0x108) << (exponent - 1),
    };
    saturate(if code & 0x80 == 0 { -magnitude } else { magnitude })
}

fn alaw_code(sample: i16) -> u8 {
    let sign = if sample < 0 { 0 } else { 0x80 };
    // One's complement for negative samples, so that both halves have the same steps.
    let magnitude = i32::from(if sample < 0 { !sample } else { sample });
    let exponent = 24_u32.saturating_sub(magnitude.leading_zeros()).min(7);
    let mantissa = (magnitude >> if exponent == 0 { 4 } else { exponent + 3 }) & 0x0F;
    low_byte(sign | (i32::try_from(exponent).unwrap_or(7) << 4) | mantissa) ^ 0x55
}

fn low_byte(value: i32) -> u8 {
    u8::try_from(value & 0xFF).unwrap_or(0)
}

fn saturate(value: i32) -> i16 {
    i16::try_from(value).unwrap_or(if value < 0 { i16::MIN } else { i16::MAX })
}

/// Taps to each side of the low-pass between 8 and 16 kHz.
const REACH: i32 = 32;

/// A low-pass at 3.8 kHz of 16 kHz: a sinc under a Hann window, in units of 2^-15 and with a sum of one.
#[expect(clippy::as_conversions, reason = "taps are below 2^15")]
fn low_pass() -> Vec<i64> {
    let tap = |at: i32| {
        let (x, cutoff) = (f64::from(at), 2.0 * 3800.0 / 16_000.0);
        let sinc = if at == 0 {
            cutoff
        } else {
            (std::f64::consts::PI * cutoff * x).sin() / (std::f64::consts::PI * x)
        };
        let window = 0.5 + 0.5 * (std::f64::consts::PI * x / f64::from(REACH + 1)).cos();
        sinc * window
    };
    let taps: Vec<f64> = (-REACH..=REACH).map(tap).collect();
    let sum: f64 = taps.iter().sum();
    taps.iter().map(|tap| (tap / sum * 32_768.0).round() as i64).collect()
}

/// From 8 to 16 kHz, or back.
fn resample(samples: &[i16], from: u32, to: u32) -> Result<Vec<i16>> {
    let taps = low_pass();
    let filtered = |at: usize, every: usize, gain: i64| {
        let first = at.checked_sub(usize::try_from(REACH).unwrap_or(0));
        let sum: i64 = taps
            .iter()
            .enumerate()
            .filter_map(|(k, tap)| {
                // `at - REACH + k` at 16 kHz; when doubling only every second of those holds a sample.
                let place = match first {
                    Some(first) => first.checked_add(k)?,
                    None => at.checked_add(k)?.checked_sub(usize::try_from(REACH).ok()?)?,
                };
                let sample = (place % every == 0).then(|| samples.get(place / every)).flatten()?;
                Some(i64::from(*sample) * tap)
            })
            .sum();
        i16::try_from((sum * gain) >> 15).unwrap_or(if sum < 0 { i16::MIN } else { i16::MAX })
    };
    match (from, to) {
        _ if from == to => Ok(samples.to_vec()),
        (8000, 16_000) => Ok((0..samples.len().saturating_mul(2)).map(|at| filtered(at, 2, 2)).collect()),
        (16_000, 8000) => Ok((0..samples.len().div_ceil(2))
            .map(|at| filtered(at.saturating_mul(2), 1, 1))
            .collect()),
        _ => anyhow::bail!("{from} Hz cannot be brought to {to} Hz: only 8000 and 16000 are known"),
    }
}

/// Silence after every so many samples.
fn with_silences(samples: &[i16], every: usize, length: usize) -> Vec<i16> {
    let mut out = Vec::new();
    for piece in samples.chunks(every.max(1)) {
        out.extend_from_slice(piece);
        out.resize(out.len().saturating_add(length), 0);
    }
    out
}

/// What one call sends.
#[derive(Debug)]
pub(crate) struct Recording {
    /// The file's name, or both names, for tables.
    pub(crate) name: String,
    /// For each channel that has results of its own, the index of the file that is heard in it.
    pub(crate) sources: Vec<usize>,
    /// Parameters that describe the audio.
    pub(crate) parameters: Vec<(&'static str, String)>,
    /// Frames a second.
    pub(crate) sample_rate: u32,
    /// Length in frames.
    pub(crate) frames: u32,
    frame_bytes: usize,
    /// Bytes before the first frame.
    header: usize,
    bytes: Bytes,
}

impl Recording {
    /// File `source` in the form of `form`; with talk-over `beside` is heard in a second channel.
    ///
    /// # Errors
    /// A conversion of a file that has several channels, or another rate than 8 or 16 kHz.
    pub(crate) fn new(form: &Form, (source, file): (usize, &Wav), beside: (usize, &Wav)) -> Result<Self> {
        if form.sends_the_file() {
            return Ok(Self::of_file(form.send, source, file));
        }
        let encoding = form.encoding.unwrap_or(file.encoding);
        let rate = form.sample_rate.unwrap_or(file.sample_rate);
        let samples = |wav: &Wav| -> Result<Vec<i16>> {
            ensure!(
                wav.channels == 1,
                "{}: a file with {} channels can only be sent as it is",
                wav.name(),
                wav.channels
            );
            let samples = resample(&wav.encoding.decode(&wav.data()), wav.sample_rate, rate)?;
            Ok(match &form.silence {
                Some(silence) => with_silences(&samples, silence.every_samples(rate), silence.length_samples(rate)),
                None => samples,
            })
        };
        let first = samples(file)?;
        let (name, sources, data, frames) = if form.talk_over {
            let second = samples(beside.1)?;
            let frames = first.len().max(second.len());
            let padded = |samples: Vec<i16>| samples.into_iter().chain(std::iter::repeat(0)).take(frames);
            let both = padded(first).zip(padded(second)).flat_map(|(left, right)| [left, right]);
            let name = format!("{} + {}", file.name(), beside.1.name());
            (name, vec![source, beside.0], encoding.encode(both), frames)
        } else {
            let frames = first.len();
            (file.name(), vec![source], encoding.encode(first.into_iter()), frames)
        };
        let channels = u16::try_from(sources.len())?;
        let mut bytes = match form.send {
            SendAs::Raw => Vec::new(),
            SendAs::Wav => wav::header(encoding, channels, rate, u32::try_from(data.len())?),
        };
        let header = bytes.len();
        bytes.extend(data);
        let mut parameters = described(form.send, encoding, rate, channels);
        if form.talk_over {
            parameters.push(("multichannel", "true".to_owned()));
        }
        Ok(Self {
            name,
            frame_bytes: encoding.sample_bytes().saturating_mul(sources.len()),
            sources,
            parameters,
            sample_rate: rate,
            frames: u32::try_from(frames)?,
            header,
            bytes: bytes.into(),
        })
    }

    /// The file as it is.
    pub(crate) fn of_file(send: SendAs, source: usize, file: &Wav) -> Self {
        let (header, bytes) = match send {
            SendAs::Raw => (0, file.data()),
            SendAs::Wav => (file.header_bytes(), file.file()),
        };
        Self {
            name: file.name(),
            sources: vec![source],
            parameters: described(send, file.encoding, file.sample_rate, file.channels),
            sample_rate: file.sample_rate,
            frames: file.frames,
            frame_bytes: file.encoding.sample_bytes().saturating_mul(usize::from(file.channels)),
            header,
            bytes,
        }
    }

    /// Length in seconds.
    pub(crate) fn seconds(&self) -> f64 {
        f64::from(self.frames) / f64::from(self.sample_rate)
    }

    /// Its first `seconds`.
    pub(crate) fn beginning(&self, seconds: f64) -> Self {
        let frames = u32::try_from(samples_of(seconds, self.sample_rate)).unwrap_or(u32::MAX);
        let frames = frames.clamp(1, self.frames.max(1));
        Self {
            name: self.name.clone(),
            sources: self.sources.clone(),
            parameters: self.parameters.clone(),
            frames,
            bytes: self.bytes.clone(),
            ..*self
        }
    }

    /// Everything, as one body.
    pub(crate) fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// Chunk `index` of `chunk_frames` frames each; empty past the end. A header goes with chunk 0, so that the chunks together are
    /// the file.
    pub(crate) fn chunk(&self, index: u32, chunk_frames: u32) -> Bytes {
        let offset = |chunk: u64| {
            let frame = chunk.saturating_mul(u64::from(chunk_frames)).min(u64::from(self.frames));
            let byte = usize::try_from(frame).unwrap_or(usize::MAX).saturating_mul(self.frame_bytes);
            self.header.saturating_add(byte).min(self.bytes.len())
        };
        let start = if index == 0 { 0 } else { offset(u64::from(index)) };
        self.bytes.slice(start..offset(u64::from(index).saturating_add(1)).max(start))
    }
}

fn described(send: SendAs, encoding: Encoding, rate: u32, channels: u16) -> Vec<(&'static str, String)> {
    match send {
        SendAs::Raw => vec![
            ("encoding", encoding.name().to_owned()),
            ("sample_rate", rate.to_string()),
            ("channels", channels.to_string()),
        ],
        SendAs::Wav => Vec::new(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::as_conversions)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::plan::Silence;

    fn wav(samples: &[i16]) -> Wav {
        let data = Encoding::Linear16.encode(samples.iter().copied());
        let mut bytes = wav::header(Encoding::Linear16, 1, 8000, data.len() as u32);
        bytes.extend(data);
        Wav::parse(Path::new("a.wav"), bytes).unwrap()
    }

    fn made(form: &Form, samples: &[i16]) -> Recording {
        let file = wav(samples);
        Recording::new(form, (3, &file), (4, &wav(&[7; 10]))).unwrap()
    }

    #[test]
    fn g711_has_the_values_of_the_standard() {
        assert_eq!([0xFF, 0x00, 0x80, 0xF0].map(mulaw_sample), [0, -32_124, 32_124, 120]);
        assert_eq!([0xD5, 0x55, 0xAA, 0x2A].map(alaw_sample), [8, -8, 32_256, -32_256]);
        for code in 0..=255_u8 {
            assert_eq!(alaw_code(alaw_sample(code)), code, "A-law {code:#x}");
            // Mu-law has two zeros.
            let back = mulaw_code(mulaw_sample(code));
            assert!(back == code || mulaw_sample(code) == 0, "mu-law {code:#x}");
        }
        for sample in (i16::MIN..=i16::MAX).step_by(7) {
            let (value, mulaw, alaw) = (
                i32::from(sample),
                i32::from(mulaw_sample(mulaw_code(sample))),
                i32::from(alaw_sample(alaw_code(sample))),
            );
            let step = 8 + value.abs() / 16;
            assert!((mulaw - value).abs() <= step.max(650), "{value} became {mulaw}");
            assert!((alaw - value).abs() <= step.max(520), "{value} became {alaw}");
        }
    }

    #[test]
    fn a_tone_keeps_its_height_and_pitch_at_twice_the_rate_and_back() {
        let tone = |rate: f64, count: usize| -> Vec<i16> {
            (0..count)
                .map(|k| (10_000.0 * (2.0 * std::f64::consts::PI * 1000.0 * k as f64 / rate).sin()).round() as i16)
                .collect()
        };
        let near = |got: &[i16], wanted: &[i16]| {
            got.iter()
                .zip(wanted)
                .skip(100)
                .all(|(a, b)| (i32::from(*a) - i32::from(*b)).abs() < 60)
        };
        let up = resample(&tone(8000.0, 1000), 8000, 16_000).unwrap();
        assert_eq!(up.len(), 2000);
        assert!(near(&up[..1900], &tone(16_000.0, 2000)));
        let down = resample(&tone(16_000.0, 2000), 16_000, 8000).unwrap();
        assert_eq!(down.len(), 1000);
        assert!(near(&down[..900], &tone(8000.0, 1000)));
        assert!(resample(&[0], 11_025, 8000).is_err());
    }

    #[test]
    fn a_form_without_wishes_sends_the_file() {
        let recording = made(&Form::default(), &[1, 2, 3, 4, 5]);
        assert_eq!((recording.frames, recording.seconds()), (5, 5.0 / 8000.0));
        assert_eq!(&recording.chunk(0, 2)[..], [1, 0, 2, 0]);
        assert_eq!(&recording.chunk(2, 2)[..], [5, 0], "the last chunk is shorter");
        assert!(recording.chunk(3, 2).is_empty());
        let beginning = recording.beginning(3.0 / 8000.0);
        assert_eq!((beginning.frames, &beginning.chunk(1, 2)[..]), (3, &[3, 0][..]));
        assert_eq!(recording.beginning(9.0).frames, 5);
        assert_eq!(recording.parameters[0], ("encoding", "linear16".to_owned()));
        let form = Form {
            send: SendAs::Wav,
            ..Form::default()
        };
        let recording = made(&form, &[1, 2, 3]);
        let joined: Vec<u8> = (0..4).flat_map(|k| recording.chunk(k, 1).to_vec()).collect();
        assert_eq!(joined.len(), 44 + 6);
        assert_eq!(joined, recording.bytes());
        assert!(recording.parameters.is_empty());
    }

    #[test]
    fn conversions_silences_and_talk_over_are_described_on_the_query() {
        let form = Form {
            encoding: Some(Encoding::Mulaw),
            silence: Some(Silence {
                every_s: 0.000_25,
                length_s: 0.000_375,
            }),
            ..Form::default()
        };
        let recording = made(&form, &[8000, 8000, 8000]);
        let quiet = mulaw_code(0);
        let loud = mulaw_code(8000);
        let wanted = [loud, loud, quiet, quiet, quiet, loud, quiet, quiet, quiet];
        assert_eq!(&recording.bytes()[..], wanted);
        assert_eq!(recording.parameters[0], ("encoding", "mulaw".to_owned()));

        let form = Form {
            talk_over: true,
            sample_rate: Some(16_000),
            ..Form::default()
        };
        let recording = made(&form, &[1; 12]);
        assert_eq!((recording.frames, recording.sources), (24, vec![3, 4]));
        let parameters = [
            ("encoding", "linear16"),
            ("sample_rate", "16000"),
            ("channels", "2"),
            ("multichannel", "true"),
        ];
        assert_eq!(recording.parameters, parameters.map(|(name, value)| (name, value.to_owned())));
        assert_eq!(recording.name, "a.wav + a.wav");
    }
}
