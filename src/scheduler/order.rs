//! Which live chunks make up the next step. Pure.
//!
//! The most urgent chunk goes first, with as many others of its context as leave it in time. Where chunks of several contexts wait and that
//! order would make one of them late, an order that makes none late is looked for among all of them: within a context chunks go by due time,
//! since chunks of a context cost the same, so that an order is a path over how many of each context are done, and the earliest end of each
//! such state is found by dynamic programming (R. Bellman, 1957).

use std::time::{Duration, Instant};

use crate::engine::cost::CostTable;

/// Most states of the search; chunks beyond the most urgent that give so many are left out of it.
const STATES: usize = 4_096;

/// A live chunk that waits: when it is due, and the context of its stream.
pub type Waiting = (Instant, usize);

/// Chunks of one context that go into a step together: the `chunks` most urgent of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Of all chunks in it.
    pub context: usize,
    /// How many, at most the largest batch.
    pub chunks: usize,
}

/// The step to begin at `now`. `waiting` is ordered by due time; no chunks if it is empty.
pub fn next_step(waiting: &[Waiting], cost: &CostTable, max_batch: usize, now: Instant) -> Step {
    let urgent = most_urgent(waiting, cost, max_batch, now);
    let is_mixed = waiting.iter().any(|&(_, context)| context != urgent.context);
    if !is_mixed || meets_all(waiting, cost, max_batch, now) {
        return urgent;
    }
    search(waiting, cost, max_batch, now).unwrap_or(urgent)
}

/// As many chunks of the most urgent context as leave its first in time, or all if that is late in any case.
fn most_urgent(waiting: &[Waiting], cost: &CostTable, max_batch: usize, now: Instant) -> Step {
    let Some(&(due, context)) = waiting.first() else {
        return Step::default();
    };
    let most = waiting.iter().filter(|waiting| waiting.1 == context).take(max_batch).count();
    let left = due.saturating_duration_since(now);
    let fits = cost.chunks_within(context, left, most);
    let helps = cost.predict(context, fits) <= left;
    Step {
        context,
        chunks: if helps { fits } else { most },
    }
}

/// Whether nothing is late if the most urgent always goes first.
fn meets_all(waiting: &[Waiting], cost: &CostTable, max_batch: usize, now: Instant) -> bool {
    let (mut rest, mut now) = (waiting.to_vec(), now);
    while !rest.is_empty() {
        let step = most_urgent(&rest, cost, max_batch, now);
        now += cost.predict(step.context, step.chunks);
        let (mut taken, mut late) = (0, false);
        rest.retain(|&(due, context)| {
            let goes = context == step.context && taken < step.chunks;
            taken += usize::from(goes);
            late |= goes && due < now;
            !goes
        });
        if late || taken == 0 {
            return false;
        }
    }
    true
}

/// The chunks of one context in the search.
struct Row {
    context: usize,
    /// By due time.
    dues: Vec<Instant>,
    /// Predicted time of a step of 1, 2, … chunks.
    steps: Vec<Duration>,
    /// Distance between states that differ by one chunk of this context.
    stride: usize,
}

/// The first step of the order that makes no chunk late and ends first, if there is one.
fn search(waiting: &[Waiting], cost: &CostTable, max_batch: usize, now: Instant) -> Option<Step> {
    let (rows, states) = rows(waiting, cost, max_batch);
    // For each state the earliest end, and the first step on the way to it.
    let mut best: Vec<Option<(Instant, Step)>> = vec![None; states];
    *best.first_mut()? = Some((now, Step::default()));
    for state in 0..states {
        let Some((time, first)) = best.get(state).copied().flatten() else {
            continue;
        };
        for row in &rows {
            let done = state / row.stride % (row.dues.len() + 1);
            let Some(&due) = row.dues.get(done) else { continue };
            for (chunks, step) in (1..=row.dues.len() - done).zip(&row.steps) {
                let end = time + *step;
                let Some(cell) = best.get_mut(state + chunks * row.stride).filter(|_| end <= due) else {
                    continue;
                };
                if cell.is_none_or(|(earliest, _)| end < earliest) {
                    let context = row.context;
                    let here = Step { context, chunks };
                    *cell = Some((end, if first.chunks == 0 { here } else { first }));
                }
            }
        }
    }
    best.last().copied().flatten().map(|(_, first)| first)
}

/// The most urgent chunks by context, and the number of states of their search.
fn rows(waiting: &[Waiting], cost: &CostTable, max_batch: usize) -> (Vec<Row>, usize) {
    let mut rows: Vec<Row> = Vec::new();
    let states = |rows: &[Row]| rows.iter().map(|row| row.dues.len() + 1).product::<usize>();
    for &(due, context) in waiting {
        let index = rows.iter().position(|row| row.context == context).unwrap_or(rows.len());
        if index == rows.len() {
            rows.push(Row {
                context,
                dues: Vec::new(),
                steps: Vec::new(),
                stride: 0,
            });
        }
        let Some(row) = rows.get_mut(index) else { continue };
        row.dues.push(due);
        if states(&rows) > STATES {
            if let Some(row) = rows.get_mut(index) {
                row.dues.pop();
            }
            break;
        }
    }
    let mut stride = 1;
    for row in &mut rows {
        let most = row.dues.len().min(max_batch);
        row.steps = (1..=most).map(|chunks| cost.predict(row.context, chunks)).collect();
        row.stride = stride;
        stride *= row.dues.len() + 1;
    }
    (rows, stride)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::cost::BUCKETS;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// Ten milliseconds a step and ten a chunk, in both contexts.
    fn table() -> CostTable {
        CostTable::from_rows(vec![BUCKETS.map(|size| 0.01 + 0.01 * f64::from(u32::try_from(size).unwrap_or(u32::MAX))); 2])
    }

    fn step(waiting: &[(u64, usize)]) -> Step {
        let now = Instant::now();
        let waiting: Vec<Waiting> = waiting.iter().map(|&(due, context)| (now + ms(due), context)).collect();
        next_step(&waiting, &table(), 4, now)
    }

    fn of(context: usize, chunks: usize) -> Step {
        Step { context, chunks }
    }

    #[test]
    fn the_most_urgent_goes_first_with_others_of_its_context() {
        assert_eq!(step(&[]), of(0, 0));
        assert_eq!(step(&[(50, 0), (60, 0), (300, 1)]), of(0, 2));
        assert_eq!(step(&[(200, 1), (300, 0), (310, 1)]), of(1, 2));
        assert_eq!(step(&[(90, 0); 9]), of(0, 4), "no more than the largest batch");
        assert_eq!(step(&[(40, 0); 9]), of(0, 3), "the first is in time");
    }

    #[test]
    fn chunks_that_can_wait_stay_behind_where_they_would_make_another_context_late() {
        // All of context 0 at once would take 50 ms, and context 1 would end at 70.
        assert_eq!(
            step(&[(50, 0), (60, 1), (900, 0), (900, 0), (900, 0)]),
            of(0, 1),
            "the others behind context 1"
        );
    }

    #[test]
    fn another_context_goes_first_where_that_lets_chunks_go_together() {
        // Context 0, 1, 0 would end at 20, 40, 60; context 1 and then both of 0 end at 20 and 50.
        assert_eq!(step(&[(49, 0), (50, 1), (51, 0)]), of(0, 2), "which ends at 30 and 50");
        assert_eq!(
            step(&[(35, 0), (40, 1), (60, 0)]),
            of(0, 1),
            "a step for two would end at 30, and context 1 at 50"
        );
    }

    #[test]
    fn what_cannot_be_met_goes_by_due_time() {
        assert_eq!(step(&[(5, 0), (90, 1)]), of(0, 1));
    }
}
