//! Who is let in. Pure.
//!
//! A live stream is taken only if the engine is predicted to hold it beside those it has: each context's capacity comes
//! from the measured step costs, and the shares of all live streams must not exceed one. Refusal happens here, at the
//! door, and never later.

use std::time::Duration;

use super::core::Class;
use crate::engine::cost::CostTable;

/// Why a stream was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// All slots are taken.
    #[error("no slot is free")]
    NoSlot,
    /// The engine could not keep its promise to those it serves.
    #[error("the engine is at its capacity of live streams")]
    NoCapacity,
    /// As many files are in work as may be.
    #[error("too many files are in work")]
    TooManyFiles,
    /// The scheduler or its engine is gone.
    #[error("the engine is not running")]
    EngineDown,
}

/// Streams in service, by class and context.
#[derive(Debug)]
pub struct Admission {
    periods: Vec<Duration>,
    max_batch: usize,
    max_files: usize,
    live: Vec<usize>,
    files: usize,
}

impl Admission {
    /// `periods`: audio time between two chunks, for each context.
    pub fn new(periods: Vec<Duration>, max_batch: usize, max_files: usize) -> Self {
        let live = vec![0; periods.len()];
        Self {
            periods,
            max_batch,
            max_files,
            live,
            files: 0,
        }
    }

    /// Live streams the engine could hold if all used `context`; at least one.
    pub fn capacity(&self, context: usize, cost: &CostTable) -> usize {
        let period = self.periods.get(context).copied().unwrap_or_default();
        cost.stream_capacity(context, period, self.max_batch).max(1)
    }

    /// Whether one more stream may come in.
    pub fn check(&self, class: Class, context: usize, cost: &CostTable) -> Result<(), Refusal> {
        match class {
            Class::File if self.files >= self.max_files => Err(Refusal::TooManyFiles),
            Class::File => Ok(()),
            Class::Live if self.load(cost) + self.weight(context, cost) <= 1.0 + 1e-9 => Ok(()),
            Class::Live => Err(Refusal::NoCapacity),
        }
    }

    /// A stream came in.
    pub fn opened(&mut self, class: Class, context: usize) {
        match class {
            Class::File => self.files += 1,
            Class::Live => self.live.iter_mut().skip(context).take(1).for_each(|count| *count += 1),
        }
    }

    /// A stream left.
    pub fn closed(&mut self, class: Class, context: usize) {
        match class {
            Class::File => self.files = self.files.saturating_sub(1),
            Class::Live => self
                .live
                .iter_mut()
                .skip(context)
                .take(1)
                .for_each(|count| *count = count.saturating_sub(1)),
        }
    }

    /// Streams of a class in service.
    pub fn count(&self, class: Class) -> usize {
        match class {
            Class::File => self.files,
            Class::Live => self.live.iter().sum(),
        }
    }

    fn weight(&self, context: usize, cost: &CostTable) -> f64 {
        1.0 / float(self.capacity(context, cost))
    }

    fn load(&self, cost: &CostTable) -> f64 {
        self.live
            .iter()
            .enumerate()
            .map(|(context, &count)| float(count) * self.weight(context, cost))
            .sum()
    }
}

#[expect(clippy::as_conversions, reason = "stream counts are far below 2^52")]
fn float(n: usize) -> f64 {
    n as f64
}
