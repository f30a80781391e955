//! The limits of a scenario, and what contradicts itself in one.
//!
//! Checks what was read; reads nothing, and mends nothing. Called by `plan`.

use anyhow::{Result, ensure};

use super::{Scenario, Silence};

/// Most streams one scenario may ask for.
const MAX_STREAMS: u32 = 20_000;
/// Longest run, in seconds.
const MAX_SECONDS: f64 = 7.0 * 24.0 * 3600.0;
/// Most groups of lines.
const MAX_GROUPS: usize = 64;
/// Most uploads in flight.
const MAX_UPLOADS: u32 = 10_000;

impl Scenario {
    /// Refuses what no run can be made of.
    pub(super) fn check(&self) -> Result<()> {
        self.check_load()?;
        self.check_groups()?;
        for storm in &self.storms {
            ensure!(
                storm.at_s >= 0.0 && storm.within_s >= 0.0 && storm.at_s + storm.within_s <= self.load.duration_s,
                "a storm must lie between the start and the end of the run"
            );
        }
        if let Some(uploads) = &self.uploads {
            ensure!(
                (1..=MAX_UPLOADS).contains(&uploads.parallel),
                "uploads.parallel must lie between 1 and {MAX_UPLOADS}"
            );
            ensure!(
                uploads.per_second.is_none_or(|rate| (0.001..=10_000.0).contains(&rate)),
                "uploads.per_second must lie between 0.001 and 10000"
            );
        }
        for key in ["encoding", "sample_rate", "channels", "interim_results", "multichannel"] {
            ensure!(!self.query.contains_key(key), "query.{key} is set by the tool");
        }
        Ok(())
    }

    fn check_load(&self) -> Result<()> {
        let load = &self.load;
        let least = if self.uploads.is_some() { 0 } else { 1 };
        ensure!(
            (least..=MAX_STREAMS).contains(&load.streams),
            "load.streams must lie between {least} and {MAX_STREAMS}"
        );
        for (name, seconds) in [
            ("duration_s", load.duration_s),
            ("ramp_s", load.ramp_s),
            ("warmup_s", load.warmup_s),
        ] {
            ensure!(
                (0.0..=MAX_SECONDS).contains(&seconds),
                "load.{name} must lie between 0 and {MAX_SECONDS}"
            );
        }
        ensure!(load.ramp_s <= load.duration_s, "load.ramp_s is longer than load.duration_s");
        let mut end = load.ramp_s;
        for step in &load.steps {
            ensure!(step.streams <= MAX_STREAMS, "load.steps: over {MAX_STREAMS} streams");
            ensure!(
                step.at_s >= end && step.over_s >= 0.0,
                "load.steps: the step at {} s begins before the one before it is done",
                step.at_s
            );
            end = step.at_s + step.over_s;
        }
        ensure!(end <= load.duration_s, "load.steps go on after load.duration_s");
        Ok(())
    }

    fn check_groups(&self) -> Result<()> {
        ensure!(self.groups.len() <= MAX_GROUPS, "over {MAX_GROUPS} groups");
        let within = |what: &str, chunk_ms: u32, speed: f64, rate: Option<u32>, silence: Option<Silence>| -> Result<()> {
            ensure!((10..=10_000).contains(&chunk_ms), "{what}: chunk_ms must lie between 10 and 10000");
            ensure!((0.1..=1000.0).contains(&speed), "{what}: a speed must lie between 0.1 and 1000");
            ensure!(
                rate.is_none_or(|rate| [8000, 16_000].contains(&rate)),
                "{what}: sample_rate must be 8000 or 16000"
            );
            ensure!(
                silence.is_none_or(|silence| (0.1..=3600.0).contains(&silence.every_s) && (0.0..=600.0).contains(&silence.length_s)),
                "{what}: silence.every_s must lie between 0.1 and 3600, silence.length_s between 0 and 600"
            );
            Ok(())
        };
        let audio = &self.audio;
        within("audio", audio.chunk_ms, audio.speed, audio.sample_rate, audio.silence)?;
        within("audio, reference run", audio.chunk_ms, audio.reference_speed, None, None)?;
        for (group, kind) in self.groups.iter().zip(self.kinds()) {
            let what = format!("group {}", group.name);
            within(&what, kind.form.chunk_ms, kind.speed, kind.form.sample_rate, kind.form.silence)?;
            ensure!(
                (0.0..=1.0).contains(&group.hang_up_share),
                "{what}: hang_up_share must lie between 0 and 1"
            );
            ensure!(group.count.is_none() || group.weight.is_none(), "{what} has a count and a weight");
            ensure!(
                group.weight.is_none_or(|weight| (0.001..=1000.0).contains(&weight)),
                "{what}: weight must lie between 0.001 and 1000"
            );
        }
        let counted = self.groups.iter().filter_map(|group| group.count).fold(0, u32::saturating_add);
        let most = self.most_streams();
        ensure!(
            counted <= most,
            "the groups' counts make {counted}, there are at most {most} streams"
        );
        let all_counted = !self.groups.is_empty() && self.groups.iter().all(|group| group.count.is_some());
        ensure!(
            !all_counted || counted == most,
            "all groups have counts, which make {counted} and not the number of streams"
        );
        Ok(())
    }
}
