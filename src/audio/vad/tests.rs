use super::*;
use crate::audio::{AudioSpec, Intake};
use proptest::prelude::*;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/audio/");
/// A man and a woman on a mu-law line, with the seconds between which each certainly speaks.
const VOICES: [(&str, f64, f64); 2] = [
    ("brooklyn-bridge-mulaw8k.wav", 0.12, 1.70),
    ("vctk-p225_003-mulaw8k.wav", 0.12, 5.80),
];

fn clip(name: &str) -> Vec<f32> {
    let mut intake = Intake::new(AudioSpec {
        encoding: None,
        rate: None,
        channels: 1,
        multichannel: false,
        whole: true,
    })
    .unwrap();
    let mut out = Vec::new();
    intake.push(std::fs::read(format!("{FIXTURES}{name}")).unwrap().into());
    intake.close();
    while intake.pull(usize::MAX, &mut out).unwrap() > 0 {}
    out.remove(0)
}

/// White noise of this root mean square, from a fixed seed.
fn white(rms: f32, count: usize) -> Vec<f32> {
    let mut state = 12_345_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 8) as f32 / 8_388_608.0 - 1.0) * rms * 3_f32.sqrt()
    };
    (0..count).map(|_| next()).collect()
}

/// Noise that falls by 3 dB per octave (P. Kellet's filter), scaled to this root mean square.
fn pink(rms: f32, count: usize) -> Vec<f32> {
    let mut b = [0.0_f32; 3];
    let mut noise = white(1.0, count);
    for x in &mut noise {
        b[0] = 0.997_65 * b[0] + *x * 0.099_046;
        b[1] = 0.963 * b[1] + *x * 0.296_516_4;
        b[2] = 0.57 * b[2] + *x * 1.052_691_3;
        *x = b[0] + b[1] + b[2] + *x * 0.184_8;
    }
    let scale = rms / root_mean_square(&noise);
    noise.iter().map(|x| x * scale).collect()
}

fn root_mean_square(samples: &[f32]) -> f32 {
    (samples.iter().map(|x| x * x).sum::<f32>() / samples.len() as f32).sqrt()
}

fn add(noise: &[f32], speech: &[f32]) -> Vec<f32> {
    noise.iter().zip(speech).map(|(a, b)| a + b).collect()
}

fn events(samples: &[f32]) -> Vec<VadEvent> {
    let (mut vad, mut events) = (Vad::default(), Vec::new());
    vad.push(samples, &mut events);
    vad.finish(&mut events);
    events
}

/// Stretches of speech in seconds; start and end alternate, and time does not run backwards.
fn stretches(samples: &[f32]) -> Vec<(f64, f64)> {
    let events = events(samples);
    let mut last = 0.0;
    let mut stretches = Vec::new();
    for pair in events.chunks(2) {
        let [VadEvent::SpeechStart(start), VadEvent::SpeechEnd(end)] = pair else {
            panic!("{pair:?}")
        };
        let (start, end) = (start.seconds(), end.seconds());
        assert!(
            last <= start && start < end && end <= samples.len() as f64 / 16_000.0,
            "{start} {end} after {last}"
        );
        stretches.push((start, end));
        last = end;
    }
    stretches
}

/// How much of the time between two moments is marked as speech.
fn share(stretches: &[(f64, f64)], from: f64, to: f64) -> f64 {
    stretches
        .iter()
        .map(|&(start, end)| (end.min(to) - start.max(from)).max(0.0))
        .sum::<f64>()
        / (to - from)
}

#[test]
fn silence_and_steady_noise_of_any_level_are_silence() {
    assert_eq!(events(&vec![0.0; 80_000]), []);
    assert_eq!(events(&vec![0.3; 80_000]), [], "constant");
    for level in [0.3, 0.03, 0.003, 0.0003] {
        assert_eq!(events(&white(level, 160_000)), [], "white {level}");
        assert_eq!(events(&pink(level, 160_000)), [], "pink {level}");
        let tone: Vec<f32> = (0..80_000).map(|n| level * (n as f32 * 0.172_788).sin()).collect();
        assert_eq!(events(&tone), [], "440 Hz {level}");
    }
    // The kind of noise of a line, which rumbles, and a ringing tone that stops.
    assert_eq!(events(&clip("noise-brown-8k-mulaw-8s.wav")), []);
    assert_eq!(events(&clip("ringback-8k-6s.wav")), []);
}

#[test]
fn steady_noise_that_begins_late_is_silence_again_within_two_seconds() {
    let mut samples = vec![0.0; 32_000];
    samples.extend(white(0.05, 96_000));
    assert!(share(&stretches(&samples), 4.0, 8.0) == 0.0);
}

#[test]
fn speech_is_found_at_any_gain() {
    for (name, from, to) in VOICES {
        for gain in [1.0, 0.3, 0.1] {
            let samples: Vec<f32> = [vec![0.0; 16_000], clip(name), vec![0.0; 16_000]]
                .concat()
                .iter()
                .map(|x| x * gain)
                .collect();
            let found = stretches(&samples);
            assert!(share(&found, 1.0 + from, 1.0 + to) > 0.8, "{name} at {gain}: {found:?}");
            assert!(share(&found, 0.0, 0.99) == 0.0, "{name} at {gain}: {found:?}");
            let end = 1.0 + clip(name).len() as f64 / 16_000.0;
            assert!(share(&found, end + 0.05, end + 1.0) == 0.0, "{name} at {gain}: {found:?}");
        }
    }
}

#[test]
fn speech_is_found_in_noise_and_only_there() {
    for (name, from, to) in VOICES {
        let speech = [vec![0.0; 32_000], clip(name), vec![0.0; 16_000]].concat();
        let level = root_mean_square(&clip(name));
        for (decibels, least) in [(20, 0.6), (10, 0.4)] {
            let level = level * 10_f32.powf(-decibels as f32 / 20.0);
            for (kind, noise) in [("white", white(level, speech.len())), ("pink", pink(level, speech.len()))] {
                let found = stretches(&add(&noise, &speech));
                let shares = (share(&found, 2.0 + from, 2.0 + to), share(&found, 0.0, 1.95));
                assert!(
                    shares.0 > least && shares.1 == 0.0,
                    "{name} {kind} {decibels} dB: {shares:?} {found:?}"
                );
            }
        }
    }
}

#[test]
fn a_pause_of_300_ms_is_marked_within_40_ms() {
    // Cut where the man has stopped speaking (1.71 s), then exact silence.
    let first = &clip(VOICES[0].0)[..27_360];
    let found = stretches(&[first, &vec![0.0; 4_800], &clip(VOICES[1].0)].concat());
    assert!(found.iter().any(|&(_, end)| (end - 1.71).abs() < 0.04), "{found:?}");
    assert!(share(&found, 1.75, 2.0) == 0.0, "{found:?}");
    assert!(found.iter().any(|&(start, _)| (2.01..2.15).contains(&start)), "{found:?}");
}

#[test]
fn an_end_is_known_100_ms_after_the_speech_stopped() {
    let (mut vad, mut events) = (Vad::default(), Vec::new());
    let speech = &clip(VOICES[0].0)[..27_360];
    vad.push(speech, &mut events);
    assert!(vad.in_speech());
    assert_eq!(vad.silence_since(), None);
    vad.push(&[0.0; 1_600], &mut events);
    assert!(!vad.in_speech());
    let end = vad.silence_since().unwrap();
    assert_eq!(events.last(), Some(&VadEvent::SpeechEnd(end)));
    assert!((26_720..=27_520).contains(&end.0), "{end:?}");
    assert_eq!(vad.position(), Samples(27_360 + 1_600));
}

#[test]
fn a_first_word_without_silence_before_it_is_marked_afterwards() {
    // Cut into the middle of the speech: it is loud from the first sample on.
    let speech = &clip(VOICES[0].0)[8_000..13_000];
    let found = stretches(&[speech, &vec![0.0; 16_000]].concat());
    assert!(share(&found, 0.0, 0.3) > 0.6, "{found:?}");
    assert!(share(&found, 0.35, 1.3) == 0.0, "{found:?}");
}

#[test]
fn extreme_samples_do_no_harm() {
    let samples: Vec<f32> = (0..48_000).map(|n| if n % 2 == 0 { 1.0 } else { -1.0 }).collect();
    assert_eq!(events(&samples), []);
    let (mut vad, mut events) = (Vad::default(), Vec::new());
    vad.finish(&mut events);
    assert_eq!((events.len(), vad.position(), vad.silence_since()), (0, Samples(0), None));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_split_gives_the_same_events(cuts in prop::collection::vec(1_usize..3_000, 1..20)) {
        let samples = [clip(VOICES[0].0), vec![0.0; 8_000], clip(VOICES[0].0)].concat();
        let (mut vad, mut split) = (Vad::default(), Vec::new());
        let (mut rest, mut cuts) = (samples.as_slice(), cuts.iter().cycle());
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
            vad.push(now, &mut split);
            rest = later;
        }
        vad.finish(&mut split);
        prop_assert_eq!(split, events(&samples));
    }
}
