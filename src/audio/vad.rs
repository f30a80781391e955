//! Marks where speech begins and ends in one lane.
//!
//! What it does: every 10 ms, takes the power in three bands after pre-emphasis and how far it rises over each band's noise floor, which
//! follows the quietest moments of the last seconds; the band that rises most decides, with hysteresis and a short hangover.
//! Steady sound of any level, digital silence and the hiss of a line are silence; speech is found whatever its gain, once it
//! rises clear of what surrounds it. What it does not do: tell speech from other changing sounds (music, knocks), or decide
//! what a pause means: that is the session's endpointing. Who calls it: live sessions, with the samples of [`super::intake`].
//!
//! The floor is a minimum over time (R. Martin, "Noise power spectral density estimation based on optimal smoothing and minimum
//! statistics", 2001). Pre-emphasis flattens speech and takes the weight off hum and rumble; the bands find the formants of speech in
//! noise that would hide them in the whole.
#![allow(
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "numeric code over frames; ring indices are reduced by their length"
)]

use crate::units::Samples;

/// Samples of a frame (10 ms).
pub const FRAME: usize = 160;

/// First-difference weight of the pre-emphasis.
const PRE_EMPHASIS: f32 = 0.97;
/// Bands: below 900 Hz, up to 2.8 kHz, above.
const BANDS: usize = 3;
/// Lower and upper band edge.
const EDGES_HZ: [f32; 2] = [900.0, 2_800.0];
/// Frames whose power is averaged before the floor is taken (50 ms).
const SMOOTHED: usize = 5;
/// Frames of one bucket of the minimum (100 ms).
const BUCKET: u64 = 10;
/// Buckets of the minimum: the floor has risen to a new steady noise after 1.6 s.
const BUCKETS: usize = 16;
/// Frames looked back at to find the true beginning (600 ms).
const LOOK_BACK: usize = 60;
/// Rise over the floor that may be speech, in decibels.
const RISE_ON_DB: f32 = 8.0;
/// Rise over the floor that speech may fall to and go on, in decibels.
const RISE_OFF_DB: f32 = 6.0;
/// Below the loudest speech of late by this much is no speech, in decibels: keeps reverberation and breath out.
const RANGE_DB: f32 = 32.0;
/// How fast the memory of the loudest speech fades, in decibels per frame (4 dB/s).
const PEAK_FADE_DB: f32 = 0.04;
/// No band is taken to be quieter, in decibels to full scale after pre-emphasis: close to the last of 16 bits.
const QUIETEST_DB: f32 = -80.0;
/// Frames of the last five that must be loud for speech to begin.
const LOUD_OF_FIVE: u32 = 3;
/// Frames of quiet that end speech (90 ms): shorter than most pauses, longer than the closure of most plosives.
const HANGOVER: u32 = 9;
/// Frames at the beginning of the lane in which speech may be recognised only afterwards (2 s): when the first sound is speech, there
/// is nothing to compare it with until it pauses.
const UNSURE: u64 = 200;
/// Loud frames that make speech afterwards.
const LOUD_AFTERWARDS: usize = 6;
/// Their spread, in decibels: steady noise that stops has less, speech more.
const SPREAD_DB: f32 = 6.0;

/// A change between speech and silence, at a position of the lane's sample clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VadEvent {
    /// Speech begins with this sample. Found some 30 ms later or more, so the position lies in the past.
    SpeechStart(Samples),
    /// Speech has ended: this is the position behind its last sample, 90 ms or more in the past.
    SpeechEnd(Samples),
}

/// The detector of one lane. Memory is constant.
#[derive(Debug)]
pub struct Vad {
    filters: Filters,
    previous: f32,
    /// Power collected in the frame under way, and its samples so far.
    power: [f32; BANDS],
    filled: usize,
    /// Whole frames seen.
    frames: u64,
    bands: [Band; BANDS],
    peak: f32,
    /// One bit per frame, newest lowest: louder than the upper threshold.
    loud: u32,
    quiet: u32,
    /// First frame that a new beginning may lie in: behind those that the last end was found in.
    earliest: u64,
    /// Frame behind the last one of speech, once there was speech.
    speech_end: Option<u64>,
    in_speech: bool,
}

impl Default for Vad {
    fn default() -> Self {
        Vad {
            filters: Filters::default(),
            previous: 0.0,
            power: [0.0; BANDS],
            filled: 0,
            frames: 0,
            bands: std::array::from_fn(|_| Band::default()),
            peak: f32::NEG_INFINITY,
            loud: 0,
            quiet: 0,
            earliest: 0,
            speech_end: None,
            in_speech: false,
        }
    }
}

impl Vad {
    /// Takes the next samples (16 kHz, full scale 1.0) and appends the changes found in them to `events`. How the samples are split
    /// over calls makes no difference.
    pub fn push(&mut self, samples: &[f32], events: &mut Vec<VadEvent>) {
        for &sample in samples {
            let difference = sample - PRE_EMPHASIS * self.previous;
            self.previous = sample;
            for (power, band) in self.power.iter_mut().zip(self.filters.split(difference)) {
                *power += band * band;
            }
            self.filled += 1;
            if self.filled == FRAME {
                let decibels = self.power.map(|power| decibels(power / FRAME as f32));
                (self.power, self.filled) = ([0.0; BANDS], 0);
                events.extend(self.frame(decibels));
            }
        }
    }

    /// End of the lane: ends speech that is going on. Samples of a frame not yet whole count as speech then.
    pub fn finish(&mut self, events: &mut Vec<VadEvent>) {
        if self.in_speech {
            self.in_speech = false;
            self.speech_end = Some(self.frames);
            events.push(VadEvent::SpeechEnd(self.position()));
        }
    }

    /// True between [`VadEvent::SpeechStart`] and [`VadEvent::SpeechEnd`].
    pub fn in_speech(&self) -> bool {
        self.in_speech
    }

    /// Where the present silence began, if it follows speech.
    pub fn silence_since(&self) -> Option<Samples> {
        self.speech_end.filter(|_| !self.in_speech).map(first_sample)
    }

    /// Samples taken so far.
    pub fn position(&self) -> Samples {
        first_sample(self.frames).plus(Samples(self.filled as u64))
    }

    fn frame(&mut self, decibels: [f32; BANDS]) -> Option<VadEvent> {
        let now = self.frames;
        self.frames += 1;
        let loudest = decibels.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        self.peak = if self.in_speech {
            (self.peak - PEAK_FADE_DB).max(loudest)
        } else {
            self.peak - PEAK_FADE_DB
        };
        for (band, decibels) in self.bands.iter_mut().zip(decibels) {
            band.enter(now, decibels, QUIETEST_DB.max(self.peak - RANGE_DB - RISE_ON_DB));
        }
        self.loud = self.loud << 1 | u32::from(self.rise(now) > RISE_ON_DB);

        if !self.in_speech {
            let begins = (self.loud & 0b1_1111).count_ones() >= LOUD_OF_FIVE || self.was_speech(now);
            if !begins {
                return None;
            }
            self.in_speech = true;
            self.quiet = 0;
            return Some(VadEvent::SpeechStart(first_sample(self.beginning(now))));
        }
        if self.rise(now) > RISE_OFF_DB {
            self.quiet = 0;
            return None;
        }
        self.quiet += 1;
        if self.quiet < HANGOVER {
            return None;
        }
        self.in_speech = false;
        self.loud = 0;
        let end = now + 1 - u64::from(self.quiet);
        self.earliest = now + 1;
        self.speech_end = Some(end);
        Some(VadEvent::SpeechEnd(first_sample(end)))
    }

    /// How far a frame's most prominent band rises over its floor of now, in decibels.
    fn rise(&self, frame: u64) -> f32 {
        self.bands
            .iter()
            .map(|band| band.decibels(frame) - band.floor)
            .fold(f32::NEG_INFINITY, f32::max)
    }

    /// Whether the frames of a lane without speech so far were speech after all, measured against the floors of now.
    fn was_speech(&self, now: u64) -> bool {
        if now >= UNSURE || self.speech_end.is_some() {
            return false;
        }
        let (mut loud, mut least, mut most) = (0, f32::INFINITY, f32::NEG_INFINITY);
        for rise in (self.oldest(now)..=now)
            .map(|frame| self.rise(frame))
            .filter(|&rise| rise > RISE_ON_DB)
        {
            loud += 1;
            least = least.min(rise);
            most = most.max(rise);
        }
        loud >= LOUD_AFTERWARDS && most - least >= SPREAD_DB
    }

    /// The first frame of the run of speech that leads up to `now`, bridging gaps shorter than the hangover.
    fn beginning(&self, now: u64) -> u64 {
        let (mut first, mut gap) = (now, 0);
        for frame in (self.oldest(now)..now).rev() {
            if self.rise(frame) > RISE_OFF_DB {
                (first, gap) = (frame, 0);
            } else {
                gap += 1;
                if gap >= HANGOVER {
                    break;
                }
            }
        }
        first
    }

    /// The first frame that may be looked back at: remembered, and behind the last silence found.
    fn oldest(&self, now: u64) -> u64 {
        self.earliest.max((now + 1).saturating_sub(LOOK_BACK as u64))
    }
}

/// The past of one band.
#[derive(Debug)]
struct Band {
    /// Decibels of the last frames, by frame number modulo the length.
    history: [f32; LOOK_BACK],
    /// Minima of the smoothed power, in decibels, of the last buckets, by number modulo the length.
    minima: [f32; BUCKETS],
    floor: f32,
}

impl Default for Band {
    fn default() -> Self {
        Band {
            history: [f32::NEG_INFINITY; LOOK_BACK],
            minima: [f32::INFINITY; BUCKETS],
            floor: f32::INFINITY,
        }
    }
}

impl Band {
    /// Enters frame `now` and finds the floor, which is not put below `least`.
    fn enter(&mut self, now: u64, decibels: f32, least: f32) {
        self.history[(now % LOOK_BACK as u64) as usize] = decibels;
        let bucket = (now / BUCKET % BUCKETS as u64) as usize;
        if now.is_multiple_of(BUCKET) {
            self.minima[bucket] = f32::INFINITY;
        }
        if now + 1 >= SMOOTHED as u64 {
            let power: f32 = (0..SMOOTHED as u64).map(|back| 10_f32.powf(self.decibels(now - back) / 10.0)).sum();
            self.minima[bucket] = self.minima[bucket].min(self::decibels(power / SMOOTHED as f32));
        }
        self.floor = self.minima.iter().copied().fold(f32::INFINITY, f32::min).max(least);
    }

    fn decibels(&self, frame: u64) -> f32 {
        self.history[(frame % LOOK_BACK as u64) as usize]
    }
}

/// Second-order Butterworth filters that split a sample into the bands (R. Bristow-Johnson, "Cookbook formulae for audio EQ biquad
/// filter coefficients").
#[derive(Debug)]
struct Filters {
    low: Biquad,
    middle: [Biquad; 2],
    high: Biquad,
}

impl Default for Filters {
    fn default() -> Self {
        let [lower, upper] = EDGES_HZ;
        Filters {
            low: Biquad::new(lower, false),
            middle: [Biquad::new(lower, true), Biquad::new(upper, false)],
            high: Biquad::new(upper, true),
        }
    }
}

impl Filters {
    fn split(&mut self, sample: f32) -> [f32; BANDS] {
        let [above, below] = &mut self.middle;
        [self.low.step(sample), below.step(above.step(sample)), self.high.step(sample)]
    }
}

/// One filter in transposed direct form II.
#[derive(Debug)]
struct Biquad {
    b: [f32; 3],
    a: [f32; 2],
    state: [f32; 2],
}

impl Biquad {
    fn new(edge_hz: f32, high_pass: bool) -> Self {
        let angle = std::f32::consts::TAU * edge_hz / 16_000.0;
        let (cos, alpha) = (angle.cos(), angle.sin() * std::f32::consts::FRAC_1_SQRT_2);
        let gain = 1.0 / (1.0 + alpha);
        let side = if high_pass { 1.0 + cos } else { 1.0 - cos };
        let middle = if high_pass { -side } else { side };
        Biquad {
            b: [side / 2.0 * gain, middle * gain, side / 2.0 * gain],
            a: [-2.0 * cos * gain, (1.0 - alpha) * gain],
            state: [0.0; 2],
        }
    }

    fn step(&mut self, x: f32) -> f32 {
        let y = self.b[0] * x + self.state[0];
        self.state[0] = self.b[1] * x - self.a[0] * y + self.state[1];
        self.state[1] = self.b[2] * x - self.a[1] * y;
        y
    }
}

/// Decibels of a power, with a floor far below all audio.
fn decibels(power: f32) -> f32 {
    10.0 * (power + 1e-12).log10()
}

/// The first sample of a frame.
fn first_sample(frame: u64) -> Samples {
    Samples(frame * FRAME as u64)
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
