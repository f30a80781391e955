//! Audio made for tests: sounds, silence, and the ways to write them down.

use std::f64::consts::TAU;

/// Mono audio at some rate, or several such channels interleaved.
#[derive(Clone)]
pub struct Tape {
    /// Samples per second.
    pub rate: u32,
    /// Interleaved channels.
    pub channels: u16,
    /// Full scale is 1.
    pub samples: Vec<f32>,
}

impl Tape {
    /// An empty tape with one channel.
    pub fn new(rate: u32) -> Self {
        Self {
            rate,
            channels: 1,
            samples: Vec::new(),
        }
    }

    /// Digital silence.
    pub fn silence(self, seconds: f64) -> Self {
        self.add(seconds, |_| 0.0)
    }

    /// A steady tone: words for the scripted engine, no speech for the speech detector after a while.
    pub fn tone(self, seconds: f64) -> Self {
        self.add(seconds, |t| 0.4 * (TAU * 440.0 * t).sin())
    }

    /// Syllables of a buzzing voice, five in a second: words for the scripted engine and speech for the speech detector.
    pub fn speech(self, seconds: f64) -> Self {
        self.add(seconds, |t| 0.3 * syllables(t))
    }

    /// As [`Tape::speech`], so faint that the scripted engine hears no words in it.
    pub fn murmur(self, seconds: f64) -> Self {
        self.add(seconds, |t| 0.007 * syllables(t))
    }

    fn add(mut self, seconds: f64, sound: impl Fn(f64) -> f64) -> Self {
        assert_eq!(self.channels, 1);
        let count = (seconds * f64::from(self.rate)).round() as u32;
        self.samples
            .extend((0..count).map(|n| sound(f64::from(n) / f64::from(self.rate)) as f32));
        self
    }

    /// Channels of equal length and rate, interleaved.
    pub fn interleave(tapes: &[Tape]) -> Tape {
        let mut samples = Vec::new();
        for at in 0..tapes[0].samples.len() {
            samples.extend(tapes.iter().map(|tape| tape.samples[at]));
        }
        Tape {
            rate: tapes[0].rate,
            channels: tapes.len() as u16,
            samples,
        }
    }

    /// Length in seconds.
    pub fn seconds(&self) -> f64 {
        self.samples.len() as f64 / f64::from(self.channels) / f64::from(self.rate)
    }

    /// The bytes of a headerless encoding.
    pub fn encode(&self, encoding: &str) -> Vec<u8> {
        let s16 = |sample: f32| (sample * 32_767.0).round() as i16;
        let samples = self.samples.iter().copied();
        match encoding {
            "linear16" => samples.flat_map(|sample| s16(sample).to_le_bytes()).collect(),
            "linear32" => samples.flat_map(f32::to_le_bytes).collect(),
            "mulaw" => samples.map(|sample| mulaw(s16(sample))).collect(),
            "alaw" => samples.map(|sample| alaw(s16(sample))).collect(),
            other => panic!("no encoder for {other}"),
        }
    }

    /// As linear16.
    pub fn linear16(&self) -> Vec<u8> {
        self.encode("linear16")
    }

    /// The query that describes this tape in an encoding.
    pub fn query(&self, encoding: &str) -> String {
        format!("encoding={encoding}&sample_rate={}&channels={}", self.rate, self.channels)
    }

    /// A WAV file.
    pub fn wav(&self, flavour: Wav) -> Vec<u8> {
        let s16 = |sample: f32| (sample * 32_767.0).round() as i16;
        let s32 = |sample: f32| (f64::from(sample) * 2_147_483_647.0) as i32;
        let samples = self.samples.iter().copied();
        let data: Vec<u8> = match flavour.sample {
            Sample::U8 => samples.map(|sample| (sample * 127.0 + 128.0) as u8).collect(),
            Sample::S16 => self.linear16(),
            Sample::S24 => samples.flat_map(|sample| s32(sample).to_le_bytes()[1..].to_vec()).collect(),
            Sample::S32 => samples.flat_map(|sample| s32(sample).to_le_bytes()).collect(),
            Sample::F32 => self.encode("linear32"),
            Sample::F64 => samples.flat_map(|sample| f64::from(sample).to_le_bytes()).collect(),
            Sample::Alaw => samples.map(|sample| alaw(s16(sample))).collect(),
            Sample::Mulaw => samples.map(|sample| mulaw(s16(sample))).collect(),
        };
        let (tag, bits): (u16, u16) = match flavour.sample {
            Sample::U8 => (1, 8),
            Sample::S16 => (1, 16),
            Sample::S24 => (1, 24),
            Sample::S32 => (1, 32),
            Sample::F32 => (3, 32),
            Sample::F64 => (3, 64),
            Sample::Alaw => (6, 8),
            Sample::Mulaw => (7, 8),
        };
        let frame = self.channels * bits / 8;
        let mut fmt = Vec::new();
        fmt.extend(if flavour.extensible { 0xfffe } else { tag }.to_le_bytes());
        fmt.extend(self.channels.to_le_bytes());
        fmt.extend(self.rate.to_le_bytes());
        fmt.extend((self.rate * u32::from(frame)).to_le_bytes());
        fmt.extend(frame.to_le_bytes());
        fmt.extend(bits.to_le_bytes());
        if flavour.extensible {
            fmt.extend(22_u16.to_le_bytes());
            fmt.extend(bits.to_le_bytes());
            fmt.extend(0_u32.to_le_bytes());
            fmt.extend(tag.to_le_bytes());
            fmt.extend([0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71]);
        }
        let mut file = Vec::new();
        if flavour.list {
            // Of odd length, so that a byte of padding follows.
            chunk(&mut file, b"LIST", b"INFOISFT\x05\0\0\0test\0", None);
        }
        chunk(&mut file, b"fmt ", &fmt, None);
        if flavour.list {
            chunk(&mut file, b"fact", &[0; 4], None);
        }
        chunk(&mut file, b"data", &data, flavour.open_ended.then_some(u32::MAX));
        let mut whole = b"RIFF".to_vec();
        whole.extend(if flavour.open_ended { u32::MAX } else { file.len() as u32 + 4 }.to_le_bytes());
        whole.extend(b"WAVE");
        whole.extend(file);
        whole
    }
}

fn chunk(file: &mut Vec<u8>, id: &[u8; 4], body: &[u8], size: Option<u32>) {
    file.extend(id);
    file.extend(size.unwrap_or(body.len() as u32).to_le_bytes());
    file.extend(body);
    if body.len() % 2 == 1 {
        file.push(0);
    }
}

/// How a sample is stored in a WAV file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sample {
    U8,
    #[default]
    S16,
    S24,
    S32,
    F32,
    F64,
    Alaw,
    Mulaw,
}

/// All of them.
pub const SAMPLES: [Sample; 8] = [
    Sample::U8,
    Sample::S16,
    Sample::S24,
    Sample::S32,
    Sample::F32,
    Sample::F64,
    Sample::Alaw,
    Sample::Mulaw,
];

/// A kind of WAV file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wav {
    /// How samples are stored.
    pub sample: Sample,
    /// WAVE_FORMAT_EXTENSIBLE.
    pub extensible: bool,
    /// Other chunks around the format, one of odd length.
    pub list: bool,
    /// Sizes that say "unknown", as live writers leave them.
    pub open_ended: bool,
}

/// 150 ms of a voice at 120 Hz, 50 ms of a weaker one, and so on, between -1 and 1.
fn syllables(t: f64) -> f64 {
    let phase = (t * 5.0).fract();
    let envelope = if phase < 0.75 {
        (phase / 0.75 * std::f64::consts::PI).sin().sqrt()
    } else {
        0.05
    };
    let voice: f64 = (1..=24)
        .map(|n| (TAU * 120.0 * f64::from(n) * t + f64::from(n * n)).sin() / f64::from(n).sqrt())
        .sum();
    envelope * voice / 8.0
}

/// ITU-T G.711 mu-law.
pub fn mulaw(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = (i32::from(sample).abs().min(32_635)) + 132;
    let exponent = (24 - (magnitude as u32).leading_zeros()) as i32;
    let mantissa = (magnitude >> (exponent + 3)) & 0x0f;
    !(sign | (exponent << 4) | mantissa) as u8
}

/// ITU-T G.711 A-law.
pub fn alaw(sample: i16) -> u8 {
    let (sign, magnitude) = if sample < 0 {
        (0, -(i32::from(sample) + 1))
    } else {
        (0x80, i32::from(sample))
    };
    let exponent = if magnitude < 256 {
        0
    } else {
        24 - (magnitude as u32).leading_zeros() as i32
    };
    let mantissa = if exponent == 0 {
        magnitude >> 4
    } else {
        (magnitude >> (exponent + 3)) & 0x0f
    };
    ((sign | (exponent << 4) | mantissa) ^ 0x55) as u8
}

/// Bytes that are no audio: the same every time.
pub fn random(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..count).map(|_| byte()).collect()
}
