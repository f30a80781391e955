//! The frame on one thread; filters touch only their own bins.

use super::{GUARD, LogMel, Workspace};

pub(super) fn frame(op: &LogMel, samples: &[f32], workspace: &mut Workspace, out: &mut [f32]) {
    let Workspace {
        samples: input,
        spectrum,
        power,
        transform,
    } = workspace;
    input.fill(0.0);
    for (target, (sample, weight)) in input.iter_mut().zip(samples.iter().zip(&op.window)) {
        *target = sample * weight;
    }
    if op.transform.process_with_scratch(input, spectrum, transform).is_err() {
        // Only wrong buffer lengths fail, and `LogMel::workspace` made these.
        spectrum.fill(realfft::num_complex::Complex::new(0.0, 0.0));
    }
    for (power, value) in power.iter_mut().zip(spectrum.iter()) {
        *power = value.re * value.re + value.im * value.im;
    }
    for (out, filter) in out.iter_mut().zip(&op.filters) {
        let bins = power.get(filter.first..).unwrap_or_default();
        let energy: f32 = filter.weights.iter().zip(bins).map(|(weight, power)| weight * power).sum();
        *out = (energy + GUARD).ln();
    }
}
