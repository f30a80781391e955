use super::*;
use std::f64::consts::PI;

/// Rates of telephony and recorders (FFT), then two that take the sinc.
const RATES: [u32; 12] = [
    4_000, 8_000, 12_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000, 192_000, 11_025, 8_001,
];

/// Runs `input` through in pieces of `piece` frames, all lanes alike.
fn convert(rate: u32, input: &[f32], piece: usize, lanes: usize) -> Vec<Vec<f32>> {
    let mut resampler = Resampler::new(Hz(rate), lanes).unwrap();
    let mut out = vec![Vec::new(); lanes];
    for piece in input.chunks(piece) {
        resampler.staging().iter_mut().for_each(|lane| lane.extend_from_slice(piece));
        resampler.run(&mut out).unwrap();
    }
    resampler.finish(&mut out).unwrap();
    out
}

fn sine(rate: u32, hertz: f64, frames: usize) -> Vec<f32> {
    (0..frames)
        .map(|n| (2.0 * PI * hertz * n as f64 / f64::from(rate)).sin() as f32 * 0.5)
        .collect()
}

/// Amplitude and phase (radians, of a sine) of `hertz` in the middle of `samples` at 16 kHz.
fn measure(samples: &[f32], hertz: f64) -> (f64, f64) {
    let (from, to) = (samples.len() / 4, samples.len() * 3 / 4);
    let (mut s, mut c) = (0.0, 0.0);
    for (n, &sample) in samples.iter().enumerate().take(to).skip(from) {
        let angle = 2.0 * PI * hertz * n as f64 / 16_000.0;
        s += f64::from(sample) * angle.sin();
        c += f64::from(sample) * angle.cos();
    }
    let half = (to - from) as f64 / 2.0;
    ((s.hypot(c)) / half, c.atan2(s))
}

fn rms(samples: &[f32]) -> f64 {
    (samples.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / samples.len() as f64).sqrt()
}

#[test]
fn a_sine_keeps_amplitude_and_phase() {
    for rate in RATES {
        for hertz in [200.0, 1_000.0, 0.4 * f64::from(rate.min(16_000))] {
            let out = convert(rate, &sine(rate, hertz, rate as usize), 160, 1).remove(0);
            let (amplitude, phase) = measure(&out, hertz);
            assert!((amplitude / 0.5 - 1.0).abs() < 0.01, "{rate} {hertz}: amplitude {amplitude}");
            // Half a sample at 16 kHz.
            assert!(phase.abs() < 2.0 * PI * hertz * 0.5 / 16_000.0, "{rate} {hertz}: phase {phase}");
        }
    }
}

#[test]
fn an_impulse_stays_where_it_was() {
    for rate in RATES {
        let at = rate as usize / 10;
        let mut input = vec![0.0; rate as usize / 4];
        input[at] = 1.0;
        let out = convert(rate, &input, 37, 1).remove(0);
        let peak = out.iter().enumerate().max_by(|a, b| a.1.abs().total_cmp(&b.1.abs())).unwrap().0;
        let expected = at as f64 * 16_000.0 / f64::from(rate);
        assert!((peak as f64 - expected).abs() <= 1.0, "{rate}: peak at {peak}, not {expected}");
    }
}

#[test]
fn what_16_khz_cannot_hold_is_removed_and_images_do_not_appear() {
    for rate in [32_000, 44_100, 48_000, 96_000, 47_999] {
        let out = convert(rate, &sine(rate, 9_500.0, rate as usize), 480, 1).remove(0);
        let level = 20.0 * (rms(&out[1_000..15_000]) / rms(&sine(16_000, 1_000.0, 16_000))).log10();
        assert!(level < -60.0, "{rate}: alias at {level} dB");
    }
    for rate in [8_000, 11_025] {
        let out = convert(rate, &sine(rate, 2_500.0, rate as usize), 80, 1).remove(0);
        let (image, _) = measure(&out, f64::from(rate) - 2_500.0);
        assert!(20.0 * (image / 0.5).log10() < -60.0, "{rate}: image {image}");
    }
}

#[test]
fn the_length_is_exact() {
    for rate in RATES {
        for frames in [0, 1, 2, 79, 80, 81, 1_000, 12_345] {
            let out = convert(rate, &vec![0.1; frames], 333, 1).remove(0);
            let exact = (frames as f64 * 16_000.0 / f64::from(rate)).round() as usize;
            assert_eq!(out.len(), exact, "{rate} Hz, {frames} frames");
        }
    }
}

#[test]
fn pieces_and_lanes_make_no_difference() {
    for rate in [8_000, 11_025, 44_100, 16_000] {
        let input: Vec<f32> = (0..5_000_u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 8) as f32 / 8_388_608.0 - 1.0)
            .collect();
        let whole = convert(rate, &input, 5_000, 1).remove(0);
        for piece in [1, 7, 80, 441, 999] {
            assert_eq!(convert(rate, &input, piece, 1)[0], whole, "{rate} in pieces of {piece}");
        }
        let two = convert(rate, &input, 160, 2);
        assert_eq!(two[0], two[1]);
        if rate != 11_025 {
            assert_eq!(two[0], whole, "{rate}: two lanes against one");
        }
    }
}

#[test]
fn little_is_held_back() {
    // Output so far, in milliseconds, after 100 ms of input.
    for (rate, at_least) in [(8_000, 95), (48_000, 95), (44_100, 95), (22_050, 90), (11_025, 87)] {
        let mut resampler = Resampler::new(Hz(rate), 1).unwrap();
        let mut out = vec![Vec::new()];
        resampler.staging()[0].extend(std::iter::repeat_n(0.1, rate as usize / 10));
        resampler.run(&mut out).unwrap();
        assert!(out[0].len() >= at_least * 16, "{rate}: {} samples", out[0].len());
    }
}
