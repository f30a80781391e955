//! What response time a load would have: a replay of the queue in numbers alone. Pure.
//!
//! Admission asks what would happen with more streams. The chunks that arrived lately come again as they came, crowded as they are; streams
//! of which nothing is known yet, newcomers among them, come at random phases of their chunks. The engine serves the most urgent context,
//! all that waits up to its largest batch, at the predicted cost of a step times the deviations that steps had lately. Files, if there are
//! any, occupy every gap for a step. Who calls it: [`super::admission`].

use std::collections::VecDeque;
use std::time::Duration;

use super::arrivals::SLICE;
use crate::engine::cost::CostTable;

/// Times that the arrivals come again, so that a queue that grows is seen to grow.
const ROUNDS: usize = 2;
/// The quantile that the promise is about.
const QUANTILE: f64 = 0.99;

/// Live chunks of one context.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// Chunks that arrived in each slice of [`SLICE`] lately.
    pub slices: Vec<u32>,
    /// Streams in service. Where more were sending, some have left and the chunks count less; where fewer were, the others, being new or
    /// silent, have a chunk per `period` at a phase of their own.
    pub streams: usize,
    /// Streams to come, each with a chunk per `period` at a phase of its own.
    pub more: usize,
    /// Audio time between two chunks of a stream.
    pub period: Duration,
}

/// The response time that 99 of 100 chunks are predicted to stay within, from the arrival of a chunk's last byte to the end of its step.
///
/// `traffic`: one entry for each context, all with as many slices. `slowdown`: how much longer than at present steps take. `gap`: the step
/// that fills every gap, zero if none does.
/// Complexity: linear in slices and steps.
pub fn p99(traffic: &[Traffic], cost: &CostTable, slowdown: f64, max_batch: usize, gap: Duration) -> Duration {
    let arrivals = arrivals(traffic);
    let slice = SLICE.as_secs_f64();
    let deviations: Vec<f64> = cost.deviations().collect();
    let mut deviation = deviations.iter().copied().cycle();
    let mut queues: Vec<VecDeque<(f64, u32)>> = traffic.iter().map(|_| VecDeque::new()).collect();
    let mut responses: Vec<(f64, u32)> = Vec::new();
    let mut now = 0.0_f64;
    let mut next = 0;
    loop {
        while let Some(&(at, context, count)) = arrivals.get(next)
            && at <= now
        {
            if let Some(queue) = queues.get_mut(context) {
                queue.push_back((at, count));
            }
            next += 1;
        }
        let oldest = |queue: &VecDeque<(f64, u32)>| queue.front().map(|&(at, _)| at);
        let urgent = queues
            .iter()
            .enumerate()
            .filter_map(|(context, queue)| Some((oldest(queue)?, context)))
            .min_by(|a, b| a.0.total_cmp(&b.0));
        let factor = slowdown * deviation.next().unwrap_or(1.0);
        match urgent {
            Some((_, context)) => {
                let Some(queue) = queues.get_mut(context) else { break };
                let batch = take(queue, max_batch);
                let chunks: u32 = batch.iter().map(|&(_, count)| count).sum();
                let step = cost.predict(context, usize::try_from(chunks).unwrap_or(usize::MAX));
                now += step.as_secs_f64() * factor;
                responses.extend(batch.into_iter().map(|(at, count)| (now - at, count)));
            }
            None => {
                let Some(&(at, _, _)) = arrivals.get(next) else { break };
                // A gap is filled by steps of files one after the other; the last of them is under way when the chunk arrives.
                let filled = if gap.is_zero() {
                    0.0
                } else {
                    let gap = gap.as_secs_f64() * factor;
                    ((at - now) / gap).ceil() * gap
                };
                now = at.max(now + filled);
            }
        }
        // Whoever is so far behind does not catch up; the rest of the arrivals changes nothing.
        if let Some(&(at, _, _)) = arrivals.get(next)
            && now - at > 100.0 * slice * 10.0
        {
            return Duration::from_secs_f64(now - at);
        }
    }
    quantile(responses)
}

/// All arrivals in order: seconds, context, chunks. A slice's chunks come in its middle.
fn arrivals(traffic: &[Traffic]) -> Vec<(f64, usize, u32)> {
    let slice = SLICE.as_secs_f64();
    let length = traffic.iter().map(|context| context.slices.len()).max().unwrap_or(0);
    let mut arrivals = Vec::new();
    for (context, traffic) in traffic.iter().enumerate() {
        let mut counts = vec![0_u32; length * ROUNDS];
        let streams = float(traffic.streams);
        let sending = sending(traffic);
        // What is left of a chunk after scaling goes to the next slices, so that the sum is right.
        let mut rest = 0.0;
        let measured = traffic.slices.iter().zip(&sending).cycle();
        for (count, (measured, sending)) in counts.iter_mut().zip(measured) {
            let scaled = f64::from(*measured) * (streams / sending.max(streams).max(1.0)) + rest;
            *count = whole(scaled);
            rest = scaled - f64::from(*count);
        }
        let others: Vec<usize> = sending
            .iter()
            .map(|sending| traffic.more + place((streams - sending).max(0.0) + 0.5))
            .collect();
        let period = traffic.period.as_secs_f64() / slice;
        if period > 0.0 {
            for stream in 0..others.iter().copied().max().unwrap_or(0) {
                let mut at = phase(stream) * period;
                while let Some(count) = counts.get_mut(place(at)) {
                    let there = others.get(place(at) % length.max(1)).is_some_and(|others| stream < *others);
                    *count += u32::from(there);
                    at += period;
                }
            }
        }
        let middle = |n: usize| (float(n) + 0.5) * slice;
        let some = |(n, &count): (usize, &u32)| (count > 0).then(|| (middle(n), context, count));
        arrivals.extend(counts.iter().enumerate().filter_map(some));
    }
    arrivals.sort_by(|a, b| a.0.total_cmp(&b.0));
    arrivals
}

/// Streams that were sending at each slice: the chunks in a period around it.
fn sending(traffic: &Traffic) -> Vec<f64> {
    let length = traffic.slices.len();
    let period = traffic.period.as_secs_f64() / SLICE.as_secs_f64();
    let width = place(period).clamp(1, length.max(1));
    let mut sum = 0_u32;
    let before: Vec<u32> = std::iter::once(0)
        .chain(traffic.slices.iter().map(|count| {
            sum += count;
            sum
        }))
        .collect();
    let chunks = |n: usize| {
        let from = n.saturating_sub(width / 2).min(length - width);
        let until = |at: usize| before.get(at).copied().unwrap_or(0);
        f64::from(until(from + width) - until(from))
    };
    (0..length).map(|n| chunks(n) * period / float(width)).collect()
}

/// Takes up to `most` chunks from the front.
fn take(queue: &mut VecDeque<(f64, u32)>, most: usize) -> Vec<(f64, u32)> {
    let mut left = u32::try_from(most.max(1)).unwrap_or(u32::MAX);
    let mut taken = Vec::new();
    while left > 0
        && let Some((_, count)) = queue.front_mut()
    {
        let part = left.min(*count);
        *count -= part;
        left -= part;
        let empty = *count == 0;
        if let Some(&(at, _)) = queue.front() {
            taken.push((at, part));
        }
        if empty {
            queue.pop_front();
        }
    }
    taken
}

/// The time that [`QUANTILE`] of the chunks stay within; zero without any.
fn quantile(mut responses: Vec<(f64, u32)>) -> Duration {
    responses.sort_by(|a, b| a.0.total_cmp(&b.0));
    let all: u64 = responses.iter().map(|&(_, count)| u64::from(count)).sum();
    let mut beyond = 0_u64;
    for (seconds, count) in responses.into_iter().rev() {
        beyond += u64::from(count);
        if ratio(beyond, all) > 1.0 - QUANTILE {
            return Duration::from_secs_f64(seconds.max(0.0));
        }
    }
    Duration::ZERO
}

/// A random number, 0 to 1, that is always the same for the same stream (splitmix64, Steele and others 2014).
fn phase(stream: usize) -> f64 {
    let mut x = u64::try_from(stream)
        .unwrap_or(0)
        .wrapping_add(1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ratio((x ^ (x >> 31)) >> 12, 1 << 52)
}

#[expect(clippy::as_conversions, reason = "below 2^53")]
fn ratio(part: u64, all: u64) -> f64 {
    part as f64 / all as f64
}

#[expect(clippy::as_conversions, reason = "slice numbers are far below 2^52")]
fn float(n: usize) -> f64 {
    n as f64
}

#[expect(clippy::as_conversions, reason = "a small non-negative number, cut to a whole one")]
fn place(x: f64) -> usize {
    x as usize
}

#[expect(clippy::as_conversions, reason = "a small non-negative number, cut to a whole one")]
fn whole(x: f64) -> u32 {
    (x + 1e-9) as u32
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::engine::cost::BUCKETS;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn table(fixed_ms: f64, each_ms: f64) -> CostTable {
        CostTable::from_rows(vec![BUCKETS.map(|size| (fixed_ms + each_ms * float(size)) / 1e3); 2])
    }

    fn random(streams: usize) -> Vec<Traffic> {
        vec![Traffic {
            slices: vec![0; 400],
            streams,
            more: 0,
            period: ms(320),
        }]
    }

    fn crowded(chunks: u32, streams: usize) -> Vec<Traffic> {
        let mut slices = vec![0; 384];
        slices.iter_mut().step_by(32).for_each(|count| *count = chunks);
        vec![Traffic {
            slices,
            streams,
            more: 0,
            period: ms(320),
        }]
    }

    #[test]
    fn one_stream_takes_its_own_step_and_a_file_before_it() {
        assert_eq!(p99(&random(1), &table(2.0, 1.0), 1.0, 64, Duration::ZERO).as_micros(), 3_000);
        let behind_files = p99(&random(1), &table(2.0, 1.0), 1.0, 64, ms(20));
        assert!(behind_files > ms(3) && behind_files <= ms(23), "{behind_files:?}");
        assert_eq!(p99(&random(0), &table(2.0, 1.0), 1.0, 64, ms(20)), Duration::ZERO);
    }

    #[test]
    fn streams_that_send_together_wait_for_each_other() {
        let cost = table(2.0, 1.0);
        assert_eq!(p99(&crowded(50, 50), &cost, 1.0, 64, Duration::ZERO).as_micros(), 52_000);
        // 128 in two steps of 66 ms.
        assert_eq!(p99(&crowded(128, 128), &cost, 1.0, 64, Duration::ZERO).as_micros(), 132_000);
        let spread = p99(&random(50), &cost, 1.0, 64, Duration::ZERO);
        assert!(spread < ms(26), "{spread:?}");
    }

    #[test]
    fn more_than_the_engine_can_do_never_looks_well() {
        // 1 ms a chunk and 320 ms a period: 320 streams are all there is.
        assert!(p99(&random(250), &table(0.0, 1.0), 1.0, 64, Duration::ZERO) < ms(60));
        assert!(p99(&random(400), &table(0.0, 1.0), 1.0, 64, Duration::ZERO) > ms(700));
        assert!(p99(&random(4_000), &table(0.0, 1.0), 1.0, 64, Duration::ZERO) > ms(4_000));
    }

    #[test]
    fn slow_steps_of_late_count() {
        let mut cost = table(0.0, 1.0);
        for _ in 0..20 {
            for _ in 0..20 {
                cost.observe(0, 4, 0, ms(4));
            }
            cost.observe(0, 4, 0, ms(40));
        }
        let calm = p99(&random(100), &table(0.0, 1.0), 1.0, 64, Duration::ZERO);
        let rough = p99(&random(100), &cost, 1.0, 64, Duration::ZERO);
        assert!(rough > calm * 2, "{calm:?} {rough:?}");
    }

    #[test]
    fn chunks_of_streams_that_left_count_less_and_keep_their_crowd() {
        let traffic = crowded(20, 9);
        let all: u32 = arrivals(&traffic).iter().map(|&(_, _, count)| count).sum();
        assert_eq!(all, 24 * 9);
        assert_eq!(p99(&traffic, &table(0.0, 1.0), 1.0, 64, Duration::ZERO), ms(9));
    }

    #[test]
    fn streams_that_came_one_after_the_other_are_no_more_than_they_are() {
        // A stream more about every 40 ms for four seconds, at all phases.
        let mut coming = random(100);
        for stream in 0..100 {
            let slices = coming[0].slices.iter_mut().skip(4 * stream + stream / 8 % 4).step_by(32);
            slices.for_each(|count| *count += 1);
        }
        let all: u32 = arrivals(&coming).iter().map(|&(_, _, count)| count).sum();
        assert!(all.abs_diff(2_500) < 50, "{all}");
        let cost = table(2.0, 1.0);
        let (coming, there) = (
            p99(&coming, &cost, 1.0, 64, Duration::ZERO),
            p99(&random(100), &cost, 1.0, 64, Duration::ZERO),
        );
        assert!(coming < there * 11 / 10 && coming > there * 7 / 10, "{coming:?} {there:?}");
    }

    #[test]
    fn contexts_are_served_in_the_order_of_arrival() {
        let mut traffic = crowded(10, 10);
        traffic.extend(crowded(10, 10));
        assert_eq!(p99(&traffic, &table(0.0, 1.0), 1.0, 64, Duration::ZERO).as_micros(), 20_000);
    }
}
