#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::*;
use crate::units::Frames;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// The rules of these tests; others change what they are about.
pub(crate) fn rules() -> Rules {
    Rules {
        slots: 4,
        max_batch: 3,
        budget: ms(400),
        file_step: ms(20),
        max_files: 2,
        dispatch: Dispatch {
            share: 0.1,
            patience: ms(2_000),
            linger: ms(10),
            margin: ms(20),
        },
        queue: 4,
        periods: vec![ms(560), ms(1120)],
        weights: Vec::new(),
    }
}

/// A time so late that others lie before it.
fn later() -> Instant {
    Instant::now() + ms(60_000)
}

fn core(now: Instant) -> Core {
    Core::new(rules(), CostTable::linear(2, ms(10)), now)
}

fn piece(seq: u64, arrived: Instant) -> Piece {
    Piece {
        seq,
        samples: vec![0.0; 16],
        start: seq == 0,
        end: false,
        commit: false,
        terms: None,
        lm: None,
        arrived,
    }
}

fn live(core: &mut Core, now: Instant) -> StreamId {
    core.register(Class::Live, 0, KeyId(0), now).unwrap()
}

fn file(core: &mut Core, context: usize, now: Instant) -> StreamId {
    core.register(Class::File, context, KeyId(0), now).unwrap()
}

fn streams(batch: &Batch) -> Vec<u64> {
    batch.chunks.iter().map(|chunk| chunk.stream.0).collect()
}

fn done(core: &mut Core, batch: Batch, now: Instant) -> Vec<Delivery> {
    let results = batch
        .chunks
        .iter()
        .map(|_| Decoded {
            frames: Frames(1),
            ..Decoded::default()
        })
        .collect();
    core.completed(batch, Some(results), ms(10), now).deliveries
}

#[test]
fn earliest_due_goes_first_and_the_batch_is_bounded() {
    let now = later();
    let mut core = core(now);
    for (n, ago) in [(0, 0), (1, 100), (2, 200), (3, 300)] {
        let id = live(&mut core, now);
        assert_eq!(id.0, n + 1);
        core.push(id, piece(0, now - ms(ago)), now).unwrap();
    }
    let batch = core.next_batch(now).unwrap();
    assert_eq!(streams(&batch), [4, 3, 2]);
    assert_eq!(streams(&core.next_batch(now).unwrap()), [1]);
}

#[test]
fn a_stream_has_one_chunk_in_a_step_and_stays_in_order() {
    let now = later();
    let mut core = core(now);
    let id = live(&mut core, now);
    let chosen = Piece {
        lm: Some(3),
        ..piece(0, now)
    };
    core.push(id, chosen, now).unwrap();
    core.push(id, piece(1, now), now).unwrap();
    let batch = core.next_batch(now).unwrap();
    assert_eq!((batch.chunks.len(), batch.chunks[0].lm), (1, Some(3)));
    assert!(core.next_batch(now).is_none());
    let deliveries = done(&mut core, batch, now);
    assert_eq!(deliveries[0].seq, 0);
    assert_eq!(core.next_batch(now).unwrap().chunks[0].seq, 1);
}

#[test]
fn contexts_do_not_mix_in_a_batch() {
    let now = later();
    let mut core = core(now);
    for context in [0, 1, 0] {
        let id = core.register(Class::Live, context, KeyId(0), now).unwrap();
        core.push(id, piece(0, now - ms(10 - id.0)), now).unwrap();
    }
    let batch = core.next_batch(now).unwrap();
    assert_eq!((batch.context, streams(&batch)), (0, vec![1, 3]));
    assert_eq!(core.next_batch(now).unwrap().context, 1);
}

#[test]
fn files_fill_steps_no_longer_than_the_limit_while_live_streams_are_there() {
    let now = later();
    let mut core = Core::new(Rules { max_files: 3, ..rules() }, CostTable::linear(2, ms(10)), now);
    let files = [file(&mut core, 1, now), file(&mut core, 1, now), file(&mut core, 1, now)];
    assert_eq!(core.register(Class::File, 1, KeyId(0), now), Err(Refusal::TooManyFiles));
    for id in files {
        core.push(id, piece(0, now), now).unwrap();
        core.push(id, piece(1, now), now).unwrap();
    }
    let batch = core.next_batch(now).unwrap();
    assert_eq!(batch.chunks.len(), 3, "nobody is there whom a long step could hurt");
    done(&mut core, batch, now);
    let talker = live(&mut core, now);
    core.push(talker, piece(0, now - ms(365)), now).unwrap();
    let batch = core.next_batch(now).unwrap();
    assert_eq!(streams(&batch), [talker.0], "a live chunk at risk goes before files");
    done(&mut core, batch, now);
    assert_eq!(core.next_batch(now).unwrap().chunks.len(), 2, "two chunks of 10 ms fit into 20 ms");
}

#[test]
fn files_take_turns_and_keys_share_by_weight() {
    let now = later();
    let rules = Rules {
        max_batch: 1,
        slots: 8,
        max_files: 8,
        weights: vec![1.0, 2.0],
        ..rules()
    };
    let mut core = Core::new(rules, CostTable::linear(2, ms(10)), now);
    // Three files of the first key, one of the second, which has twice the weight.
    let files: Vec<StreamId> = [0, 0, 0, 1]
        .iter()
        .map(|&key| core.register(Class::File, 1, KeyId(key), now).unwrap())
        .collect();
    let mut served = HashMap::<StreamId, u64>::new();
    for id in &files {
        core.push(*id, piece(0, now), now).unwrap();
    }
    for _ in 0..90 {
        let batch = core.next_batch(now).unwrap();
        let id = batch.chunks[0].stream;
        done(&mut core, batch, now);
        let count = served.entry(id).or_default();
        *count += 1;
        core.push(id, piece(*count, now), now).unwrap();
    }
    let of = |n: usize| served[&files[n]];
    assert_eq!((of(0), of(1), of(2)), (10, 10, 10));
    assert_eq!(of(3), 60);
}

#[test]
fn paused_files_get_a_step_only_after_their_patience() {
    let now = later();
    // A chunk takes 100 ms: 3 of 560 ms are all that can be held, so with them the engine refuses and files pause.
    let mut core = Core::new(Rules { slots: 10, ..rules() }, CostTable::linear(2, ms(100)), now);
    let talkers: Vec<StreamId> = (0..10).map_while(|_| core.register(Class::Live, 0, KeyId(0), now).ok()).collect();
    core.admission.force(Overload::FilesPaused);
    assert!(!talkers.is_empty());
    let waiting = file(&mut core, 1, now);
    core.push(waiting, piece(0, now), now).unwrap();
    assert!(core.next_batch(now + ms(1_999)).is_none());
    assert_eq!(streams(&core.next_batch(now + ms(2_000)).unwrap()), [waiting.0]);
}

#[test]
fn a_released_stream_frees_its_slot_after_its_step_and_gets_nothing() {
    let now = later();
    let mut core = core(now);
    let id = live(&mut core, now);
    core.push(id, piece(0, now), now).unwrap();
    let batch = core.next_batch(now).unwrap();
    let slot = batch.chunks[0].slot;
    core.release(id);
    assert_eq!(core.count(Class::Live), 1, "the slot is still part of a step");
    assert!(done(&mut core, batch, now).is_empty());
    assert_eq!(core.count(Class::Live), 0);
    let next = live(&mut core, now);
    core.push(next, piece(0, now), now).unwrap();
    let again = core.next_batch(now).unwrap().chunks[0].slot;
    assert_eq!(again.index, slot.index);
    assert_ne!(again.generation, slot.generation, "the next occupant has another generation");
    assert_eq!(core.push(id, piece(1, now), now), Err(PushError::UnknownStream(id)));
}

#[test]
fn released_streams_leave_nothing_waiting() {
    let now = later();
    let mut core = core(now);
    for id in [live(&mut core, now), file(&mut core, 1, now)] {
        core.push(id, piece(0, now), now).unwrap();
        core.push(id, piece(1, now), now).unwrap();
        core.release(id);
    }
    assert!(core.next_batch(now).is_none());
    assert_eq!((core.queued(), core.free.len()), (0, 4));
}

#[test]
fn slots_and_capacity_are_refused_at_the_door() {
    let now = later();
    let mut core = core(now);
    for _ in 0..4 {
        live(&mut core, now);
    }
    assert_eq!(core.register(Class::Live, 0, KeyId(0), now), Err(Refusal::NoSlot));
    // 10 ms a chunk, 560 ms a period, a fifth kept free: 44 streams, if their chunks do not meet.
    let many = Rules {
        slots: 100,
        max_batch: 64,
        ..rules()
    };
    let mut slow = Core::new(many, CostTable::linear(2, ms(10)), now);
    let foreseen = slow.capacity(0, now);
    let taken = (0..100)
        .take_while(|_| slow.register(Class::Live, 0, KeyId(0), now).is_ok())
        .count();
    assert_eq!(slow.register(Class::Live, 0, KeyId(0), now), Err(Refusal::NoCapacity));
    assert!((8..=44).contains(&taken), "{taken}");
    assert_eq!(taken, foreseen);
}

#[test]
fn a_full_queue_is_refused() {
    let now = later();
    let mut core = core(now);
    let id = live(&mut core, now);
    for seq in 0..4 {
        core.push(id, piece(seq, now), now).unwrap();
    }
    assert_eq!(core.push(id, piece(4, now), now), Err(PushError::QueueFull(id)));
}

#[test]
fn a_stream_far_ahead_of_its_pace_takes_nothing_from_others() {
    let now = later();
    let mut core = Core::new(
        Rules {
            queue: 64,
            max_batch: 1,
            ..rules()
        },
        CostTable::linear(2, ms(10)),
        now,
    );
    let (ahead, steady) = (live(&mut core, now), live(&mut core, now));
    // 20 chunks of 560 ms at once, and after them one of a stream that keeps to its pace.
    for seq in 0..20 {
        core.push(ahead, piece(seq, now), now).unwrap();
    }
    core.push(steady, piece(0, now), now + ms(1)).unwrap();
    let mut order = Vec::new();
    while let Some(batch) = core.next_batch(now) {
        order.push(streams(&batch)[0]);
        done(&mut core, batch, now);
    }
    let place = order.iter().position(|id| *id == steady.0).unwrap();
    assert_eq!(place, 4, "behind the burst that everybody may bring: {order:?}");
    assert_eq!(order.len(), 21, "and an idle engine works on all of it");
}

#[test]
fn what_a_network_held_up_is_due_as_always() {
    let now = later();
    let mut core = core(now);
    let id = live(&mut core, now);
    core.push(id, piece(0, now), now).unwrap();
    let at = now + ms(1_680);
    for seq in 1..4 {
        core.push(id, piece(seq, at), at).unwrap();
    }
    let stream = &core.streams[&id];
    assert!(
        stream
            .queue
            .iter()
            .skip(1)
            .all(|(timing, _)| timing.due == at + ms(400) && timing.on_pace)
    );
}

#[test]
fn an_engine_failure_reaches_every_stream_of_the_step() {
    let now = later();
    let mut core = core(now);
    let id = live(&mut core, now);
    core.push(id, piece(0, now), now).unwrap();
    let batch = core.next_batch(now).unwrap();
    let deliveries = core.completed(batch, None, ms(10), now).deliveries;
    assert_eq!(deliveries.len(), 1);
    assert!(deliveries[0].decoded.is_none());
    assert_eq!(core.count(Class::Live), 0);
}

#[test]
fn lateness_is_counted_for_live_chunks_only() {
    let now = later();
    let mut core = core(now);
    let talker = live(&mut core, now);
    core.push(talker, piece(0, now), now).unwrap();
    let batch = core.next_batch(now).unwrap();
    assert_eq!(done(&mut core, batch, now + ms(407))[0].late, ms(7));
    let id = file(&mut core, 0, now);
    core.push(id, piece(0, now), now).unwrap();
    let batch = core.next_batch(now).unwrap();
    assert_eq!(done(&mut core, batch, now + ms(407))[0].late, Duration::ZERO);
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Action {
        Register(bool),
        Push(usize),
        Step,
        Release(usize),
    }

    fn actions() -> impl Strategy<Value = Vec<Action>> {
        let action = prop_oneof![
            any::<bool>().prop_map(Action::Register),
            (0..6usize).prop_map(Action::Push),
            Just(Action::Step),
            (0..6usize).prop_map(Action::Release),
        ];
        proptest::collection::vec(action, 1..200)
    }

    proptest! {
        /// Every accepted chunk of a stream that stays is delivered once and in order; no slot is ever held twice;
        /// an engine with work waiting is never idle.
        #[test]
        fn nothing_is_lost_doubled_or_starved(actions in actions()) {
            let now = later();
            let mut core = core(now);
            let mut known: Vec<(StreamId, u64, u64)> = Vec::new();
            for action in actions {
                match action {
                    Action::Register(live) => {
                        if let Ok(id) = core.register(if live { Class::Live } else { Class::File }, 0, KeyId(0), now) {
                            known.push((id, 0, 0));
                        }
                    }
                    Action::Push(n) => {
                        if let Some((id, pushed, _)) = known.get_mut(n)
                            && core.push(*id, piece(*pushed, now), now).is_ok()
                        {
                            *pushed += 1;
                        }
                    }
                    Action::Release(n) => {
                        if n < known.len() {
                            core.release(known.remove(n).0);
                        }
                    }
                    Action::Step => {
                        let queued = core.queued();
                        let batch = core.next_batch(now);
                        prop_assert_eq!(batch.is_some(), queued > 0);
                        let Some(batch) = batch else { continue };
                        let mut slots: Vec<u32> = batch.chunks.iter().map(|chunk| chunk.slot.index).collect();
                        slots.sort_unstable();
                        slots.dedup();
                        prop_assert_eq!(slots.len(), batch.chunks.len());
                        for delivery in done(&mut core, batch, now) {
                            let entry = known.iter_mut().find(|(id, _, _)| *id == delivery.stream).unwrap();
                            prop_assert_eq!(delivery.seq, entry.2);
                            entry.2 += 1;
                        }
                    }
                }
            }
            while let Some(batch) = core.next_batch(now) {
                for delivery in done(&mut core, batch, now) {
                    let entry = known.iter_mut().find(|(id, _, _)| *id == delivery.stream).unwrap();
                    prop_assert_eq!(delivery.seq, entry.2);
                    entry.2 += 1;
                }
            }
            for (_, pushed, delivered) in known {
                prop_assert_eq!(pushed, delivered);
            }
        }
    }
}
