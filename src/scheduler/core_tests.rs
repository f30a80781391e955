#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::*;
use crate::units::Frames;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn rules() -> Rules {
    Rules {
        slots: 4,
        max_batch: 3,
        file_step: ms(20),
        file_share: 0.1,
        max_files: 2,
        margin: ms(20),
        queue: 4,
        periods: vec![ms(560), ms(1120)],
    }
}

fn core() -> Core {
    Core::new(rules(), CostTable::linear(2, ms(10)))
}

fn piece(seq: u64, due: Instant) -> Piece {
    Piece {
        seq,
        samples: vec![0.0; 16],
        start: seq == 0,
        end: false,
        commit: false,
        due,
    }
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
    core.completed(batch, Some(results), ms(10), now)
}

#[test]
fn earliest_due_goes_first_and_the_batch_is_bounded() {
    let (mut core, now) = (core(), Instant::now());
    for (n, due) in [(0, 400), (1, 300), (2, 200), (3, 100)] {
        let id = core.register(Class::Live, 0).unwrap();
        assert_eq!(id.0, n + 1);
        core.push(id, piece(0, now + ms(due))).unwrap();
    }
    let batch = core.next_batch(now).unwrap();
    assert_eq!(streams(&batch), [4, 3, 2]);
    assert_eq!(streams(&core.next_batch(now).unwrap()), [1]);
}

#[test]
fn a_stream_has_one_chunk_in_a_step_and_stays_in_order() {
    let (mut core, now) = (core(), Instant::now());
    let id = core.register(Class::Live, 0).unwrap();
    core.push(id, piece(0, now)).unwrap();
    core.push(id, piece(1, now)).unwrap();
    let batch = core.next_batch(now).unwrap();
    assert_eq!(batch.chunks.len(), 1);
    assert!(core.next_batch(now).is_none());
    let deliveries = done(&mut core, batch, now);
    assert_eq!(deliveries[0].seq, 0);
    assert_eq!(core.next_batch(now).unwrap().chunks[0].seq, 1);
}

#[test]
fn contexts_do_not_mix_in_a_batch() {
    let (mut core, now) = (core(), Instant::now());
    for context in [0, 1, 0] {
        let id = core.register(Class::Live, context).unwrap();
        core.push(id, piece(0, now + ms(id.0))).unwrap();
    }
    let batch = core.next_batch(now).unwrap();
    assert_eq!((batch.context, streams(&batch)), (0, vec![1, 3]));
    assert_eq!(core.next_batch(now).unwrap().context, 1);
}

#[test]
fn files_fill_steps_no_longer_than_the_limit() {
    let (mut core, now) = (core(), Instant::now());
    let files = [core.register(Class::File, 1).unwrap(), core.register(Class::File, 1).unwrap()];
    assert_eq!(core.register(Class::File, 1), Err(Refusal::TooManyFiles));
    for id in files {
        core.push(id, piece(0, now)).unwrap();
    }
    let live = core.register(Class::Live, 0).unwrap();
    core.push(live, piece(0, now + ms(25))).unwrap();
    let batch = core.next_batch(now).unwrap();
    assert_eq!(streams(&batch), [live.0], "a live chunk at risk goes before files");
    done(&mut core, batch, now);
    assert_eq!(core.next_batch(now).unwrap().chunks.len(), 2, "two chunks of 10 ms fit into 20 ms");
}

#[test]
fn files_take_turns() {
    let (mut core, now) = (
        Core::new(
            Rules {
                file_step: ms(10),
                ..rules()
            },
            CostTable::linear(2, ms(10)),
        ),
        Instant::now(),
    );
    let files = [core.register(Class::File, 1).unwrap(), core.register(Class::File, 1).unwrap()];
    for id in files {
        core.push(id, piece(0, now)).unwrap();
        core.push(id, piece(1, now)).unwrap();
    }
    let order: Vec<u64> = (0..4)
        .map(|_| {
            let batch = core.next_batch(now).unwrap();
            let id = streams(&batch)[0];
            done(&mut core, batch, now);
            id
        })
        .collect();
    assert_eq!(order, [1, 2, 1, 2]);
}

#[test]
fn a_released_stream_frees_its_slot_after_its_step_and_gets_nothing() {
    let (mut core, now) = (core(), Instant::now());
    let id = core.register(Class::Live, 0).unwrap();
    core.push(id, piece(0, now)).unwrap();
    let batch = core.next_batch(now).unwrap();
    let slot = batch.chunks[0].slot;
    core.release(id);
    assert_eq!(core.count(Class::Live), 1, "the slot is still part of a step");
    assert!(done(&mut core, batch, now).is_empty());
    assert_eq!(core.count(Class::Live), 0);
    let next = core.register(Class::Live, 0).unwrap();
    core.push(next, piece(0, now)).unwrap();
    let again = core.next_batch(now).unwrap().chunks[0].slot;
    assert_eq!(again.index, slot.index);
    assert_ne!(again.generation, slot.generation, "the next occupant has another generation");
    assert_eq!(core.push(id, piece(1, now)), Err(PushError::UnknownStream(id)));
}

#[test]
fn slots_and_capacity_are_refused_at_the_door() {
    let mut core = core();
    for _ in 0..4 {
        core.register(Class::Live, 0).unwrap();
    }
    assert_eq!(core.register(Class::Live, 0), Err(Refusal::NoSlot));
    let mut slow = Core::new(Rules { slots: 100, ..rules() }, CostTable::linear(2, ms(100)));
    // 560 ms x 0.8 = 448 ms hold one full step of 3 chunks (300 ms), hence 4 streams.
    let taken = (0..100).take_while(|_| slow.register(Class::Live, 0).is_ok()).count();
    assert_eq!(taken, 4);
    assert_eq!(slow.register(Class::Live, 0), Err(Refusal::NoCapacity));
}

#[test]
fn a_full_queue_is_refused() {
    let (mut core, now) = (core(), Instant::now());
    let id = core.register(Class::Live, 0).unwrap();
    for seq in 0..4 {
        core.push(id, piece(seq, now)).unwrap();
    }
    assert_eq!(core.push(id, piece(4, now)), Err(PushError::QueueFull(id)));
}

#[test]
fn an_engine_failure_reaches_every_stream_of_the_step() {
    let (mut core, now) = (core(), Instant::now());
    let id = core.register(Class::Live, 0).unwrap();
    core.push(id, piece(0, now)).unwrap();
    let batch = core.next_batch(now).unwrap();
    let deliveries = core.completed(batch, None, ms(10), now);
    assert_eq!(deliveries.len(), 1);
    assert!(deliveries[0].decoded.is_none());
    assert_eq!(core.count(Class::Live), 0);
}

#[test]
fn lateness_is_counted_for_live_chunks_only() {
    let (mut core, now) = (core(), Instant::now());
    let live = core.register(Class::Live, 0).unwrap();
    core.push(live, piece(0, now)).unwrap();
    let batch = core.next_batch(now).unwrap();
    assert_eq!(done(&mut core, batch, now + ms(7))[0].late, ms(7));
    let file = core.register(Class::File, 0).unwrap();
    core.push(file, piece(0, now)).unwrap();
    let batch = core.next_batch(now).unwrap();
    assert_eq!(done(&mut core, batch, now + ms(7))[0].late, Duration::ZERO);
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
            let (mut core, now) = (core(), Instant::now());
            let mut known: Vec<(StreamId, u64, u64)> = Vec::new();
            for action in actions {
                match action {
                    Action::Register(live) => {
                        if let Ok(id) = core.register(if live { Class::Live } else { Class::File }, 0) {
                            known.push((id, 0, 0));
                        }
                    }
                    Action::Push(n) => {
                        if let Some((id, pushed, _)) = known.get_mut(n)
                            && core.push(*id, piece(*pushed, now + ms(400))).is_ok()
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
