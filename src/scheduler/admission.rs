//! Who is let in, and what gives way before anybody is refused. Pure.
//!
//! A live stream is taken only if the response time is predicted to stay inside the budget with it: a replay of the arrivals of late, crowded as
//! they were, with one more stream ([`forecast`]), at step costs as they are tracked. Refusal happens here, at the door, and never later.

use std::time::{Duration, Instant};

use super::answers::Answers;
use super::arrivals::Arrivals;
use super::core::{Class, Rules};
use super::forecast::{self, Traffic};
use crate::engine::cost::CostTable;

/// Share of the engine's greatest throughput that live streams may use.
const USABLE: f64 = 0.8;
/// How old a prediction may be; one that would refuse somebody must be younger.
const FRESH: [Duration; 2] = [Duration::from_secs(1), Duration::from_millis(50)];
/// Time over which predictions of the capacity are averaged: one replays four seconds, and those beside differ by a third. A shared machine
/// has bad half minutes, too, and refusing everybody until somebody's load tells better would make them last.
const MEMORY: Duration = Duration::from_secs(120);
/// For so long the first prediction, made before anything is known, counts in that average.
const FIRST: Duration = Duration::from_secs(30);
/// Full steps a second from which on a time counts whole in that mean, and the part of it that counts without any: what a moment told last
/// must not outweigh the rest because nothing more is told, though it does in minutes.
const TELLING: f64 = 10.0;
const UNTOLD: f64 = 0.1;
/// Shares of the capacity from which on the load is seen as [`Overload`], by step.
const GIVES_WAY: [f64; 3] = [0.7, 0.8, 0.9];

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

/// What gives way as the load nears the capacity; each step includes those before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Overload {
    /// Nothing has to.
    #[default]
    None,
    /// Interim results come half as often.
    FewerInterims,
    /// New streams get longer chunks, where the configuration allows it.
    LongerChunks,
    /// Files wait, but for one step each time they have waited long.
    FilesPaused,
    /// New live streams are refused.
    Refusing,
}

impl Overload {
    /// Its place in the order, 0 for none.
    pub fn rank(self) -> u8 {
        match self {
            Overload::None => 0,
            Overload::FewerInterims => 1,
            Overload::LongerChunks => 2,
            Overload::FilesPaused => 3,
            Overload::Refusing => 4,
        }
    }

    /// The inverse of [`Overload::rank`].
    pub fn from_rank(rank: u8) -> Self {
        match rank {
            0 => Overload::None,
            1 => Overload::FewerInterims,
            2 => Overload::LongerChunks,
            3 => Overload::FilesPaused,
            _ => Overload::Refusing,
        }
    }
}

/// A prediction.
#[derive(Clone, Copy, Debug)]
struct Room {
    streams: f64,
    at: Instant,
    /// Steps that had been seen then.
    seen: f64,
    /// Seconds over which it is an average.
    over: f64,
}

/// Streams in service and what is known of their load.
#[derive(Debug)]
pub struct Admission {
    live: Vec<usize>,
    files: usize,
    arrivals: Vec<Arrivals>,
    answers: Answers,
    /// Streams that are predicted to fit beside those in service, by context, as a running mean.
    room: Vec<Option<Room>>,
    overload: Overload,
}

impl Admission {
    /// Nobody is in service at `now`.
    pub fn new(contexts: usize, now: Instant) -> Self {
        Self {
            live: vec![0; contexts],
            files: 0,
            arrivals: (0..contexts).map(|_| Arrivals::new(now)).collect(),
            answers: Answers::default(),
            room: vec![None; contexts],
            overload: Overload::None,
        }
    }

    /// Whether one more stream may come in.
    pub fn check(&mut self, class: Class, context: usize, rules: &Rules, cost: &CostTable, now: Instant) -> Result<(), Refusal> {
        match class {
            Class::File if self.files >= rules.max_files => Err(Refusal::TooManyFiles),
            Class::File => Ok(()),
            Class::Live => {
                let [usual, refusing] = FRESH;
                if self.room(context, rules, cost, now, usual) >= 1.0 || self.room(context, rules, cost, now, refusing) >= 1.0 {
                    Ok(())
                } else {
                    Err(Refusal::NoCapacity)
                }
            }
        }
    }

    /// A stream came in.
    pub fn opened(&mut self, class: Class, context: usize) {
        match class {
            Class::File => self.files += 1,
            Class::Live => {
                self.live.iter_mut().skip(context).take(1).for_each(|count| *count += 1);
                self.adjust(context, true);
            }
        }
    }

    /// A stream left.
    pub fn closed(&mut self, class: Class, context: usize) {
        match class {
            Class::File => self.files = self.files.saturating_sub(1),
            Class::Live => {
                let counts = self.live.iter_mut().skip(context).take(1);
                counts.for_each(|count| *count = count.saturating_sub(1));
                self.adjust(context, false);
            }
        }
    }

    /// A chunk of a live stream arrived at `at`.
    pub fn arrived(&mut self, context: usize, at: Instant) {
        if let Some(arrivals) = self.arrivals.get_mut(context) {
            arrivals.record(at);
        }
    }

    /// A chunk of a live stream was answered at `now`, slower than [`Rules::target`] or not.
    pub fn answered(&mut self, slow: bool, now: Instant) {
        let live = self.count(Class::Live);
        self.answers.record(slow, live, now);
    }

    /// Streams of a class in service.
    pub fn count(&self, class: Class) -> usize {
        match class {
            Class::File => self.files,
            Class::Live => self.live.iter().sum(),
        }
    }

    /// Live streams that the engine is predicted to hold if those to come use `context`; at least one.
    pub fn capacity(&mut self, context: usize, rules: &Rules, cost: &CostTable, now: Instant) -> usize {
        let [usual, _] = FRESH;
        let room = self.room(context, rules, cost, now, usual);
        let in_service = self.count(Class::Live);
        let capacity = whole(float(in_service) + room).max(1);
        self.overload = overload(in_service, capacity);
        capacity
    }

    /// What gives way at present, as of the latest [`Admission::capacity`].
    pub fn overload(&self) -> Overload {
        self.overload
    }

    #[cfg(test)]
    pub(super) fn force(&mut self, overload: Overload) {
        self.overload = overload;
    }

    /// Streams that fit beside those in service if they use `context`; negative if too many are in service. The prediction is no older than
    /// `age`, and is not believed against what is seen: with as many streams as there were lately, answers came late.
    fn room(&mut self, context: usize, rules: &Rules, cost: &CostTable, now: Instant, age: Duration) -> f64 {
        let room = self.predicted(context, rules, cost, now, age);
        let in_service = float(self.count(Class::Live));
        self.answers.too_many(now).map_or(room, |most| room.min(most - in_service))
    }

    /// As [`Admission::room`], by prediction alone, as a running mean.
    fn predicted(&mut self, context: usize, rules: &Rules, cost: &CostTable, now: Instant, age: Duration) -> f64 {
        let known = self.room.get(context).copied().flatten();
        if let Some(room) = known
            && now.saturating_duration_since(room.at) < age
        {
            return room.streams;
        }
        let predicted = self.predict(context, known.map(|room| room.streams), rules, cost, now);
        // The noise of some seconds neither refuses nor invites anybody.
        let (streams, over) = known.map_or((predicted, FIRST.as_secs_f64()), |room| {
            let seconds = now.saturating_duration_since(room.at).as_secs_f64();
            let told = ((cost.seen() - room.seen) / TELLING).min(seconds).max(UNTOLD * seconds);
            let over = (room.over + told).min(MEMORY.as_secs_f64());
            (room.streams + (told / over).min(1.0) * (predicted - room.streams), over)
        });
        if let Some(cell) = self.room.get_mut(context) {
            *cell = Some(Room {
                streams,
                at: now,
                seen: cost.seen(),
                over,
            });
        }
        streams
    }

    /// A stream at `context` came, or left: it takes, or leaves, the same part of the room at every context.
    fn adjust(&mut self, context: usize, came: bool) {
        let Some(own) = self.room.get(context).copied().flatten() else {
            return;
        };
        let part = 1.0 / own.streams.max(1.0);
        for room in self.room.iter_mut().flatten() {
            let streams = part * room.streams.max(1.0);
            room.streams += if came { -streams } else { streams };
        }
    }

    /// As [`Admission::predicted`], anew. `last`: what it was, near which it is looked for first.
    fn predict(&mut self, context: usize, last: Option<f64>, rules: &Rules, cost: &CostTable, now: Instant) -> f64 {
        let measured: Vec<Traffic> = (0..self.live.len()).map(|context| self.traffic(context, rules, now)).collect();
        let load = |context: usize, streams: f64| {
            let period = rules.period(context).as_secs_f64().max(1e-3);
            streams / (period * cost.throughput(context, rules.max_batch)).max(1e-9)
        };
        let live = self.live.iter().enumerate();
        let used: f64 = live.map(|(context, &live)| load(context, float(live))).sum();
        let each = load(context, 1.0);
        let in_service = self.count(Class::Live);
        if used + each > USABLE {
            return ((USABLE - used) / each).floor();
        }
        let gap = if self.files > 0 { rules.file_step } else { Duration::ZERO };
        let holds = |more: usize| {
            let slowdown = cost.slowdown(in_service + more);
            let mut traffic = measured.clone();
            traffic.iter_mut().skip(context).take(1).for_each(|context| context.more = more);
            (used + each * float(more)) * slowdown <= USABLE
                && forecast::p99(&traffic, cost, slowdown, rules.max_batch, gap) <= rules.target(context)
        };
        // More than twice the slots cannot matter.
        let most = ((USABLE - used) / each).floor().min(2.0 * float(rules.slots()));
        float(largest(whole(most), last.map_or(0, |room| whole(room.max(0.0))), holds))
    }

    /// What is known of a context's load.
    fn traffic(&mut self, context: usize, rules: &Rules, now: Instant) -> Traffic {
        let arrivals = self.arrivals.get_mut(context);
        Traffic {
            slices: arrivals.map(|arrivals| arrivals.slices(now)).unwrap_or_default(),
            streams: self.live.get(context).copied().unwrap_or(0),
            more: 0,
            period: rules.period(context),
        }
    }
}

/// The largest number up to `most` that holds, 0 if none does; what holds is thought to hold for all below. Looks near `last` first.
fn largest(most: usize, last: usize, holds: impl Fn(usize) -> bool) -> usize {
    if holds(most) {
        return most;
    }
    let (mut fits, mut above) = (0, most);
    // Twice a tenth around the last value finds most answers in few steps.
    for guess in [last + last / 10 + 1, last.saturating_sub(last / 10 + 1)] {
        if guess > fits && guess < above {
            if holds(guess) {
                fits = guess;
            } else {
                above = guess;
            }
        }
    }
    // One in fifty is as exact as anything here.
    while above - fits > 1 + fits / 50 {
        let middle = fits + (above - fits) / 2;
        if holds(middle) {
            fits = middle;
        } else {
            above = middle;
        }
    }
    fits
}

fn overload(in_service: usize, capacity: usize) -> Overload {
    let [interims, chunks, files] = GIVES_WAY.map(|share| float(in_service) >= share * float(capacity));
    match (in_service >= capacity, files, chunks, interims) {
        _ if in_service < 4 => Overload::None,
        (true, ..) => Overload::Refusing,
        (_, true, ..) => Overload::FilesPaused,
        (_, _, true, _) => Overload::LongerChunks,
        (.., true) => Overload::FewerInterims,
        _ => Overload::None,
    }
}

#[expect(clippy::as_conversions, reason = "stream counts are far below 2^52")]
fn float(n: usize) -> f64 {
    n as f64
}

#[expect(
    clippy::as_conversions,
    reason = "saturating conversion of a non-negative number is what is wanted"
)]
fn whole(x: f64) -> usize {
    (x + 1e-9) as usize
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;
