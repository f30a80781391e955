//! What devices count while they run; each thread has its own, which are added together at the end.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::latency::Measure;

/// Sums over some devices.
#[derive(Debug)]
pub(super) struct Sums {
    pub(super) response: Measure,
    /// The longest response time.
    pub(super) slowest: u64,
    /// Chunks of live streams that arrived, whenever, and that were answered, whenever.
    pub(super) arrived: u64,
    pub(super) answered: u64,
    /// Of those that count: answered, and answered late.
    pub(super) counted: u64,
    pub(super) late: u64,
    /// Live steps by their number of chunks.
    pub(super) batches: BTreeMap<usize, u64>,
    /// Audio of files that was decoded, in nanoseconds.
    pub(super) file_audio: u64,
    /// The longest time that a file waited for a step.
    pub(super) file_wait: u64,
}

impl Sums {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            response: Measure::new()?,
            slowest: 0,
            arrived: 0,
            answered: 0,
            counted: 0,
            late: 0,
            batches: BTreeMap::new(),
            file_audio: 0,
            file_wait: 0,
        })
    }

    /// Adds the sums over other devices.
    pub(super) fn merge(&mut self, other: &Self) -> Result<()> {
        self.response.merge(&other.response)?;
        self.slowest = self.slowest.max(other.slowest);
        self.arrived += other.arrived;
        self.answered += other.answered;
        self.counted += other.counted;
        self.late += other.late;
        for (size, steps) in &other.batches {
            *self.batches.entry(*size).or_default() += steps;
        }
        self.file_audio += other.file_audio;
        self.file_wait = self.file_wait.max(other.file_wait);
        Ok(())
    }
}
