//! The frame on one thread; filters touch only their own bins.

use super::{GUARD, LogMel, WINDOW_AT, Workspace};

pub(super) fn frame(op: &LogMel, samples: &[f32], workspace: &mut Workspace, out: &mut [f32]) {
    let Workspace { points, power } = workspace;
    points.fill(0.0);
    let windowed = points.iter_mut().skip(WINDOW_AT);
    for (target, (sample, weight)) in windowed.zip(samples.iter().zip(&op.window)) {
        *target = sample * weight;
    }
    op.spectrum.power(points, power);
    for (out, filter) in out.iter_mut().zip(&op.filters) {
        let bins = power.get(filter.first..).unwrap_or_default();
        let energy: f32 = filter.weights.iter().zip(bins).map(|(weight, power)| weight * power).sum();
        *out = (energy + GUARD).ln();
    }
}
