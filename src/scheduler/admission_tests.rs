use super::*;
use crate::engine::cost::BUCKETS;
use crate::scheduler::policy::Dispatch;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn rules() -> Rules {
    let usual = crate::scheduler::core::tests::rules();
    Rules {
        slots: 10_000,
        max_batch: 64,
        dispatch: Dispatch {
            margin: ms(50),
            ..usual.dispatch
        },
        periods: vec![ms(160), ms(320)],
        ..usual
    }
}

/// A fixed time and one for each chunk, in milliseconds.
fn table(fixed: f64, each: f64) -> CostTable {
    CostTable::from_rows(vec![BUCKETS.map(|size| (fixed + each * float(size)) / 1e3); 2])
}

/// Lets in as many streams as may come at `now`.
fn fill(admission: &mut Admission, context: usize, rules: &Rules, cost: &CostTable, now: Instant) -> usize {
    let mut taken = 0;
    while admission.check(Class::Live, context, rules, cost, now).is_ok() && taken < 10_000 {
        admission.opened(Class::Live, context);
        taken += 1;
    }
    taken
}

#[test]
fn an_idle_engine_foresees_what_it_then_takes() {
    let (rules, cost, now) = (rules(), table(1.0, 0.5), Instant::now());
    let mut admission = Admission::new(2, now);
    let foreseen = admission.capacity(1, &rules, &cost, now);
    // 320 ms x 0.8 / 0.516 ms a chunk in the largest batch.
    assert!((300..=496).contains(&foreseen), "{foreseen}");
    assert_eq!(fill(&mut admission, 1, &rules, &cost, now), foreseen);
    assert_eq!(admission.check(Class::Live, 1, &rules, &cost, now), Err(Refusal::NoCapacity));
    assert_eq!(admission.capacity(1, &rules, &cost, now), foreseen);
    assert_eq!(admission.overload(), Overload::Refusing);
}

#[test]
fn streams_that_send_together_leave_less_room() {
    let (rules, cost, now) = (rules(), table(1.0, 0.5), Instant::now());
    let crowd = |together: bool| {
        let mut admission = Admission::new(2, now);
        for stream in 0..185_u64 {
            admission.opened(Class::Live, 1);
            for chunk in 0..20 {
                let phase = if together { 0 } else { stream * 320 / 185 };
                admission.arrived(1, now + ms(chunk * 320 + phase));
            }
        }
        admission.capacity(1, &rules, &cost, now + ms(20 * 320))
    };
    let (spread, together) = (crowd(false), crowd(true));
    // 185 chunks at once take 95 ms of the 100 ms there are.
    assert!(together < spread * 3 / 4, "{together} {spread}");
    assert!((185..350).contains(&together), "{together}");
}

#[test]
fn slower_steps_shrink_the_estimate_for_all_sizes() {
    let (rules, mut cost, now) = (rules(), table(1.0, 0.5), Instant::now());
    let mut admission = Admission::new(2, now);
    let before = admission.capacity(1, &rules, &cost, now);
    for _ in 0..2_000 {
        cost.observe(1, 8, 0, ms(10));
    }
    let soon = admission.capacity(1, &rules, &cost, now + ms(2_000));
    assert!(soon < before && soon > before * 7 / 10, "a mean over some seconds: {before} {soon}");
    for _ in 0..2_000 {
        cost.observe(1, 8, 0, ms(10));
    }
    let after = admission.capacity(1, &rules, &cost, now + ms(200_000));
    assert!(after < before * 6 / 10, "{before} {after}");
}

#[test]
fn a_bad_moment_before_the_engine_falls_idle_is_forgotten_slowly_and_believed_slowly() {
    let (rules, mut cost, now) = (rules(), table(1.0, 0.5), Instant::now());
    let mut admission = Admission::new(2, now);
    let before = admission.capacity(1, &rules, &cost, now);
    (0..2_000).for_each(|_| _ = cost.observe(1, 8, 0, ms(10)));
    let at = |second: u64| now + ms(1_000 * second);
    (1..=30).for_each(|second| _ = admission.capacity(1, &rules, &cost, at(second)));
    let idle = admission.capacity(1, &rules, &cost, at(31));
    assert!(idle > before * 9 / 10, "{before} {idle}");
    (32..=3_600).for_each(|second| _ = admission.capacity(1, &rules, &cost, at(second)));
    let later = admission.capacity(1, &rules, &cost, at(3_601));
    assert!(later < before * 6 / 10, "{before} {later}");
}

/// Four seconds of a thousand answers each from `now` on, one of `of` slow; says when they are over.
fn answer(admission: &mut Admission, of: usize, now: Instant) -> Instant {
    for second in 0..4 {
        (0..1_000).for_each(|n| admission.answered(n % of == 0, now + ms(1_000 * second)));
    }
    now + ms(3_500)
}

#[test]
fn nobody_is_let_in_while_answers_are_late_whatever_was_predicted() {
    let (rules, cost, now) = (rules(), table(1.0, 0.1), Instant::now());
    let mut admission = Admission::new(2, now);
    for n in 0..20 {
        admission.opened(Class::Live, 1);
        assert!(n < 20 && admission.check(Class::Live, 1, &rules, &cost, now).is_ok());
    }
    let then = answer(&mut admission, 25, now);
    assert_eq!(admission.check(Class::Live, 1, &rules, &cost, then), Err(Refusal::NoCapacity));
    assert_eq!(admission.capacity(1, &rules, &cost, then), 19);
    let later = then + ms(17_000);
    assert!(
        admission.check(Class::Live, 1, &rules, &cost, later).is_ok(),
        "old answers say nothing"
    );
}

#[test]
fn late_answers_among_many_streams_do_not_refuse_few() {
    let (rules, cost, now) = (rules(), table(1.0, 0.1), Instant::now());
    let mut admission = Admission::new(2, now);
    (0..60).for_each(|_| admission.opened(Class::Live, 1));
    let then = answer(&mut admission, 25, now);
    assert_eq!(admission.check(Class::Live, 1, &rules, &cost, then), Err(Refusal::NoCapacity));
    (0..30).for_each(|_| admission.closed(Class::Live, 1));
    assert_eq!(
        fill(&mut admission, 1, &rules, &cost, then + ms(2_000)),
        29,
        "less the share of late answers beyond what may be"
    );
}

#[test]
fn an_engine_that_serves_nobody_takes_a_stream_however_late_it_was() {
    let (rules, cost, now) = (rules(), table(1.0, 0.1), Instant::now());
    let mut admission = Admission::new(2, now);
    admission.opened(Class::Live, 1);
    let then = answer(&mut admission, 1, now);
    assert_eq!(admission.check(Class::Live, 1, &rules, &cost, then), Err(Refusal::NoCapacity));
    admission.closed(Class::Live, 1);
    assert_eq!(admission.check(Class::Live, 1, &rules, &cost, then), Ok(()));
}

#[test]
fn streams_that_will_share_the_processors_are_foreseen() {
    let (rules, cost, now) = (rules(), table(1.0, 0.5), Instant::now());
    let alone = Admission::new(2, now).capacity(1, &rules, &cost, now);
    let shared = cost.shared(1.0, 0.001);
    let beside = Admission::new(2, now).capacity(1, &rules, &shared, now);
    // 320 ms x 0.8 / 0.516 ms a chunk is 496 alone, and 331 if each stream takes a thousandth of the processors.
    assert!(beside < alone * 8 / 10 && (200..=331).contains(&beside), "{beside} {alone}");
    // Taken at once, nobody is taken who was not foreseen.
    let mut admission = Admission::new(2, now);
    assert!(fill(&mut admission, 1, &rules, &shared, now).abs_diff(beside) <= 1 + beside / 50);
}

#[test]
fn contexts_share_the_engine() {
    let (rules, cost, now) = (rules(), table(0.0, 0.5), Instant::now());
    let mut admission = Admission::new(2, now);
    let (short, long) = (admission.capacity(0, &rules, &cost, now), admission.capacity(1, &rules, &cost, now));
    assert!(long > short * 17 / 10, "{short} {long}");
    for _ in 0..short / 2 {
        admission.opened(Class::Live, 0);
    }
    let left = fill(&mut admission, 1, &rules, &cost, now + ms(1_500));
    assert!(left < long * 6 / 10 && left > long * 3 / 10, "{left} of {long}");
}

#[test]
fn a_refusal_is_never_by_old_figures() {
    let (rules, cost, now) = (rules(), table(1.0, 0.5), Instant::now());
    let mut admission = Admission::new(2, now);
    let taken = fill(&mut admission, 1, &rules, &cost, now);
    for _ in 0..taken / 2 {
        admission.closed(Class::Live, 1);
    }
    assert!(admission.check(Class::Live, 1, &rules, &cost, now + ms(1)).is_ok());
}

#[test]
fn files_take_room_only_by_the_step_that_a_chunk_may_wait_for() {
    let (rules, cost, now) = (rules(), table(1.0, 0.5), Instant::now());
    let mut alone = Admission::new(2, now);
    let mut beside = Admission::new(2, now);
    beside.opened(Class::File, 1);
    let (alone, beside) = (alone.capacity(1, &rules, &cost, now), beside.capacity(1, &rules, &cost, now));
    assert!(beside <= alone && beside > alone / 2, "{alone} {beside}");
    let mut full = Admission::new(2, now);
    full.opened(Class::File, 1);
    full.opened(Class::File, 1);
    assert_eq!(full.check(Class::File, 1, &rules, &cost, now), Err(Refusal::TooManyFiles));
}

#[test]
fn what_gives_way_comes_in_its_order() {
    let steps: Vec<Overload> = [60, 70, 80, 90, 100, 120].iter().map(|&live| overload(live, 100)).collect();
    assert_eq!(
        steps,
        [
            Overload::None,
            Overload::FewerInterims,
            Overload::LongerChunks,
            Overload::FilesPaused,
            Overload::Refusing,
            Overload::Refusing
        ]
    );
    assert!(steps.is_sorted() && steps.iter().all(|step| Overload::from_rank(step.rank()) == *step));
}

#[test]
fn the_search_finds_the_limit_from_any_beginning() {
    for limit in [0, 1, 7, 49, 50, 800] {
        for last in [0, 1, 40, 50, 900] {
            let found = largest(1_000, last, |streams| streams <= limit);
            assert!(found <= limit && limit - found <= 1 + found / 50, "{limit} from {last}: {found}");
        }
    }
    assert_eq!(largest(1_000, 3, |_| true), 1_000);
}

#[test]
fn an_engine_that_was_crowded_and_is_idle_again_takes_streams() {
    let (rules, mut cost, now) = (rules(), table(1.0, 0.5), Instant::now());
    let mut admission = Admission::new(2, now);
    for _ in 0..200 {
        admission.opened(Class::Live, 1);
    }
    for chunk in 0..40 {
        let at = now + ms(chunk * 320);
        for _ in 0..200 {
            admission.arrived(1, at);
            admission.answered(true, at + ms(150));
        }
        cost.observe(1, 16, 200, ms(20));
        let crowded = admission.check(Class::Live, 1, &rules, &cost, at + ms(200));
        assert!(chunk < 8 || crowded.is_err());
    }
    for _ in 0..200 {
        admission.closed(Class::Live, 1);
    }
    let later = now + ms(40 * 320 + 30_000);
    assert_eq!(admission.check(Class::Live, 1, &rules, &cost, later), Ok(()));
    assert!(admission.capacity(1, &rules, &cost, later) > 100);
}
