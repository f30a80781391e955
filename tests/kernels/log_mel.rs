//! The front end: frames against float64, pieces against the whole, and the statistics of whole utterances.

use hark::ops::log_mel::{BINS, GUARD, WINDOW, hann, slaney};
use hark::ops::rows::Row;

use crate::steps::seats;
use crate::support::{Arg, Card, Noise, close, each};

const SOURCE: &str = "log_mel.cu";
const HOP: usize = 160;
/// Floats of a tail.
const TAIL: usize = 512;

/// Window, filters and their device form.
struct Filters {
    bins: usize,
    window: Vec<f32>,
    filters: Vec<f32>,
    twiddles: Vec<f32>,
    bands: Vec<i32>,
    weights: Vec<f32>,
    stride: usize,
}

impl Filters {
    fn new(bins: usize) -> Self {
        let filters = slaney(bins);
        let spans: Vec<(usize, usize)> = filters
            .chunks(BINS)
            .map(|row| {
                let first = row.iter().position(|w| *w != 0.0).unwrap_or(0);
                (first, row.iter().rposition(|w| *w != 0.0).map_or(0, |last| last + 1 - first))
            })
            .collect();
        let stride = spans.iter().map(|(_, count)| *count).max().unwrap();
        let mut weights = vec![0.0; bins * stride];
        for ((row, to), (first, count)) in filters.chunks(BINS).zip(weights.chunks_mut(stride)).zip(&spans) {
            to[..*count].copy_from_slice(&row[*first..first + count]);
        }
        Filters {
            bins,
            window: hann(),
            twiddles: (0..256).flat_map(|k| [turn(k).0 as f32, turn(k).1 as f32]).collect(),
            bands: spans.iter().flat_map(|(first, count)| [*first as i32, *count as i32]).collect(),
            filters,
            weights,
            stride,
        }
    }

    /// Energies of each frame and band with how far f32 may be off, in float64.
    fn reference(&self, pcm: &[i16], frames: usize) -> Vec<(f64, f64)> {
        let x = |i: isize| {
            let sample = usize::try_from(i).ok().and_then(|i| pcm.get(i));
            sample.map_or(0.0, |sample| f64::from(*sample) / 32_768.0)
        };
        let y = |i: isize| {
            if i < pcm.len() as isize {
                x(i) - f64::from(0.97_f32) * x(i - 1)
            } else {
                0.0
            }
        };
        let mut out = Vec::new();
        for frame in 0..frames {
            let points: Vec<f64> = (0..WINDOW)
                .map(|i| y((frame * HOP + i) as isize - 200) * f64::from(self.window[i]))
                .collect();
            let power: Vec<f64> = (0..BINS)
                .map(|k| {
                    let sums = points.iter().enumerate().fold((0.0, 0.0), |(re, im), (i, x)| {
                        let (cos, sin) = turn(k * i);
                        (re + x * cos, im + x * sin)
                    });
                    sums.0 * sums.0 + sums.1 * sums.1
                })
                .collect();
            // Each X[k] carries the rounding of all points and of nine levels of butterflies: 2^-22 of the points' norm is usual,
            // 2^-21.2 the most that was seen in some 200,000 values.
            let off = points.iter().map(|x| x * x).sum::<f64>().sqrt() * 2_f64.powi(-21);
            for filter in self.filters.chunks(BINS) {
                let terms = || filter.iter().zip(&power).map(|(w, p)| (f64::from(*w), p));
                let energy = terms().map(|(w, p)| w * p).sum();
                out.push((energy, terms().map(|(w, p)| w * (2.0 * p.sqrt() * off + off * off)).sum()));
            }
        }
        out
    }
}

/// e^(-2 pi i k / 512).
fn turn(k: usize) -> (f64, f64) {
    let angle = std::f64::consts::TAU * (k % 512) as f64 / 512.0;
    (angle.cos(), -angle.sin())
}

/// Frames of `samples`, as `model::frontend` counts them.
fn frames(samples: usize, end: bool) -> usize {
    match samples.checked_sub(200) {
        _ if end => samples / HOP,
        Some(rest) => rest / HOP + 1,
        None => 0,
    }
}

/// A piece of `samples` after `before` others, as the device is told.
fn row(slot: usize, piece: usize, before: usize, samples: usize, end: bool) -> Row {
    let done = frames(before, false);
    Row {
        slot: slot as i32,
        parity: ((slot + piece) % 2) as i32,
        start: i32::from(piece == 0),
        samples: samples as i32,
        tail: (200 + before - HOP * done) as i32,
        mel: (frames(before + samples, end) - done) as i32,
        ..Row::default()
    }
}

/// Runs a step and gives each stream's new frames.
fn step(card: &mut Card<'_>, filters: &Filters, tails: u64, pieces: &[&[i16]], rows: &[Row], mel_stride: usize) -> Vec<Vec<f32>> {
    let pcm_stride = pieces.iter().map(|piece| piece.len()).max().unwrap_or(0);
    let mut pcm = vec![0_i16; rows.len() * pcm_stride];
    for (to, piece) in pcm.chunks_mut(pcm_stride.max(1)).zip(pieces) {
        to[..piece.len()].copy_from_slice(piece);
    }
    let mel = card.room::<f32>(rows.len() * mel_stride * filters.bins);
    let args: [Arg; 12] = [
        card.put(&pcm).into(),
        pcm_stride.into(),
        tails.into(),
        card.put_rows(rows).into(),
        card.put(&filters.window).into(),
        card.put(&filters.twiddles).into(),
        card.put(&filters.bands).into(),
        card.put(&filters.weights).into(),
        filters.stride.into(),
        mel.into(),
        mel_stride.into(),
        filters.bins.into(),
    ];
    card.launch("log_mel", [mel_stride.div_ceil(4).max(1), rows.len(), 1], [128, 1], 0, &args);
    let part = |(b, row): (usize, &Row)| card.get_part(mel, b * mel_stride * filters.bins, row.mel as usize * filters.bins);
    rows.iter().enumerate().map(part).collect()
}

/// Speech-like, loud, quiet and degenerate signals.
fn signals(count: usize) -> Vec<(&'static str, Vec<i16>)> {
    let mut noise = Noise::new(7);
    let tone = |i: usize| (i as f64 * 0.05).sin() * 9_000.0 + (i as f64 * 0.71).cos() * 2_000.0;
    vec![
        (
            "tone and noise",
            (0..count).map(|i| (tone(i) + f64::from(noise.next()) * 500.0) as i16).collect(),
        ),
        ("silence", vec![0; count]),
        (
            "loudest",
            (0..count).map(|i| if i / 7 % 2 == 0 { i16::MIN } else { i16::MAX }).collect(),
        ),
        ("quietest", (0..count).map(|i| i16::from(i % 97 == 0)).collect()),
        ("one click", (0..count).map(|i| if i == 333 { i16::MIN } else { 0 }).collect()),
    ]
}

#[test]
fn frames_match_float64() {
    for (bins, samples) in [(80, 1_637), (128, 1_279), (23, 480), (512, 200)] {
        let filters = Filters::new(bins);
        let signals = signals(samples);
        let count = frames(samples, true);
        let expected: Vec<_> = signals.iter().map(|(_, pcm)| filters.reference(pcm, count)).collect();
        each(SOURCE, |card| {
            let tails = card.room::<f32>(signals.len() * 2 * TAIL);
            let rows: Vec<Row> = (0..signals.len()).map(|slot| row(slot, 0, 0, samples, true)).collect();
            let pieces: Vec<&[i16]> = signals.iter().map(|(_, pcm)| pcm.as_slice()).collect();
            let found = step(card, &filters, tails, &pieces, &rows, count + 1);
            for (((name, _), found), expected) in signals.iter().zip(&found).zip(&expected) {
                assert_eq!(found.len(), expected.len());
                for (i, (mel, (energy, off))) in found.iter().zip(expected).enumerate() {
                    // A logarithm of size 16 has steps of 2^-20, which are relative to the energy.
                    let tolerance = off + (energy + f64::from(GUARD)) * 2_f64.powi(-19);
                    close(
                        &format!("{name}, value {i}"),
                        f64::from(*mel).exp(),
                        energy + f64::from(GUARD),
                        tolerance,
                    );
                }
            }
        });
    }
}

#[test]
fn pieces_give_the_bits_of_the_whole() {
    let filters = Filters::new(80);
    // An utterance with an odd end, one that begins with almost nothing, one below a frame, one whose pieces are long.
    let plans: [(usize, &[usize]); 4] = [
        (0, &[200, 160, 777, 0, 1, 163]),
        (1, &[3, 0, 150, 500]),
        (2, &[159]),
        (3, &[1_281, 1_280, 77]),
    ];
    let signal = signals(6_000).swap_remove(0).1;
    each(SOURCE, |card| {
        let slots = plans.len() + 1;
        let tails = card.room::<f32>(slots * 2 * TAIL);
        let mut found = vec![Vec::new(); plans.len()];
        let lanes: Vec<(usize, usize)> = plans.iter().map(|(begin, pieces)| (*begin, pieces.len())).collect();
        for seats in seats(&lanes) {
            let seated = |seat: &Option<(usize, usize)>| {
                let Some((stream, piece)) = *seat else {
                    return (Row::padding(slots as i32 - 1), &signal[..0]);
                };
                let pieces = plans[stream].1;
                let before: usize = pieces[..piece].iter().sum();
                let row = row(stream, piece, before, pieces[piece], piece + 1 == pieces.len());
                (row, &signal[stream * 100 + before..][..pieces[piece]])
            };
            let (rows, pieces): (Vec<Row>, Vec<&[i16]>) = seats.iter().map(seated).unzip();
            for (seat, mel) in seats.iter().zip(step(card, &filters, tails, &pieces, &rows, 9)) {
                if let Some((stream, _)) = seat {
                    found[*stream].extend(mel);
                }
            }
        }
        for (stream, ((_, pieces), found)) in plans.iter().zip(&found).enumerate() {
            let samples = pieces.iter().sum();
            let alone = card.room::<f32>(2 * TAIL);
            let rows = [row(0, 0, 0, samples, true)];
            let whole = step(
                card,
                &filters,
                alone,
                &[&signal[stream * 100..][..samples]],
                &rows,
                frames(samples, true),
            );
            assert_eq!(found.len(), samples / HOP * filters.bins);
            assert!(
                whole[0].iter().zip(found).all(|(a, b)| a.to_bits() == b.to_bits()),
                "stream {stream}"
            );
        }
    });
}

#[test]
fn statistics_of_whole_utterances() {
    for (bins, counts) in [(80, vec![57, 1, 0, 2, 60]), (128, vec![9, 8]), (33, vec![7]), (512, vec![3])] {
        let stride = 60;
        let mut noise = Noise::new(bins as u64);
        let mut mel: Vec<f32> = (0..counts.len() * stride * bins).map(|_| noise.next() * 4.0 - 12.0).collect();
        // A bin that never changes has deviation 0.
        mel.iter_mut().step_by(bins).for_each(|value| *value = -16.635_532);
        let rows: Vec<Row> = counts
            .iter()
            .map(|count| Row {
                mel: *count,
                ..Row::default()
            })
            .collect();
        each(SOURCE, |card| {
            let place = card.put(&mel);
            let args: [Arg; 4] = [place.into(), card.put_rows(&rows).into(), stride.into(), bins.into()];
            card.launch("normalize_per_feature", [bins.div_ceil(32), rows.len(), 1], [32, 8], 0, &args);
            let found: Vec<f32> = card.get(place);
            for (b, count) in counts.iter().enumerate() {
                for bin in 0..bins {
                    let at = |f: usize| (b * stride + f) * bins + bin;
                    let count = *count as usize;
                    let values: Vec<f64> = (0..count).map(|f| f64::from(mel[at(f)])).collect();
                    let mean = values.iter().sum::<f64>() / count as f64;
                    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
                    let deviation = if count > 1 { (squares / (count - 1) as f64).sqrt() } else { 0.0 } + 1e-5;
                    for (f, value) in values.iter().enumerate() {
                        let expected = (value - mean) / deviation;
                        // The mean is off by a few steps of a value of size 16 (2^-20), and so is every difference to it.
                        let tolerance = 2_f64.powi(-19) / deviation + 2_f64.powi(-20) * expected.abs();
                        close(
                            &format!("bin {bin}, frame {f} of {count}"),
                            f64::from(found[at(f)]),
                            expected,
                            tolerance,
                        );
                    }
                    let untouched = |f: usize| found[at(f)].to_bits() == mel[at(f)].to_bits();
                    assert!((count..stride).all(untouched), "frames beyond the utterance");
                }
            }
        });
    }
}
