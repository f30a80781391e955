//! The simulation as a whole.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::as_conversions, reason = "a test may panic")]

use hark_pure::engine::cost::BUCKETS;

use super::traffic::Call;
use super::*;

/// Steps of `fixed_ms` and `each_ms` for each chunk; chunks of 320 and 1120 ms.
fn device(fixed_ms: f64, each_ms: f64, slots: u32) -> Table {
    let row = |chunk_ms| cost::Row {
        chunk_ms,
        seconds: BUCKETS.map(|size| (fixed_ms + each_ms * size as f64) / 1e3),
    };
    Table {
        name: "test".into(),
        source: "assumed".into(),
        max_batch: 64,
        slots,
        overhead_ms: 0.0,
        deviation: vec![[0.0, 1.0], [1.0, 1.0]],
        context: vec![row(320), row(1120)],
    }
}

fn calm() -> Scenario {
    Scenario {
        mix: vec![(0, 1.0)],
        calls: Vec::new(),
        ramp_s: 4.0,
        seconds: 10.0,
        jitter_ms: 5.0,
        calls_s: None,
        storm: 0.0,
        together: 0.0,
        files: 0,
        seed: 1,
        budget_ms: 400.0,
        late_share: 0.001,
    }
}

fn run(scenario: &Scenario, table: &Table, gpus: usize, streams: u64) -> Outcome {
    simulate(scenario, table, gpus, streams, 2, false).unwrap()
}

/// All figures but those of real time.
fn figures(outcome: &Outcome) -> serde_json::Value {
    let mut value = serde_json::to_value(outcome).unwrap();
    value.as_object_mut().unwrap().remove("wall");
    value
}

#[test]
fn one_stream_on_a_constant_device_takes_its_step() {
    let outcome = run(&calm(), &device(2.0, 1.0, 8), 1, 1);
    assert!(outcome.holds(), "{outcome}");
    assert!((outcome.slowest_ms - 3.0).abs() < 1e-6, "{outcome}");
    let response = outcome.response.unwrap();
    assert!(
        (response.p50_ms - 3.0).abs() < 0.01 && (response.p99_ms - 3.0).abs() < 0.01,
        "{outcome}"
    );
    assert!((31..=32).contains(&response.count), "a chunk each 320 ms of 10 s: {outcome}");
    assert!((outcome.utilisation.mean - 0.003 / 0.32).abs() < 0.0005, "{outcome}");
    let slower = Table {
        overhead_ms: 2.5,
        ..device(2.0, 1.0, 8)
    };
    assert!((run(&calm(), &slower, 1, 1).slowest_ms - 5.5).abs() < 1e-6);
}

#[test]
fn a_seed_gives_the_same_figures_whatever_the_threads() {
    let scenario = Scenario {
        mix: vec![(0, 0.8), (1, 0.2)],
        calls_s: Some(5.0),
        storm: 0.5,
        together: 0.2,
        files: 2,
        ..calm()
    };
    let table = Table {
        deviation: vec![[0.0, 0.8], [0.9, 1.1], [1.0, 3.0]],
        ..device(2.0, 0.5, 64)
    };
    let one = simulate(&scenario, &table, 5, 200, 1, false).unwrap();
    let three = simulate(&scenario, &table, 5, 200, 3, false).unwrap();
    assert_eq!(figures(&one), figures(&three));
    assert!(one.asked > 300, "calls end and a storm comes: {one}");
    let other = Scenario { seed: 2, ..scenario };
    assert_ne!(figures(&one), figures(&run(&other, &table, 5, 200)));
}

#[test]
fn every_chunk_is_answered_once() {
    let scenario = Scenario {
        mix: vec![(0, 0.7), (1, 0.3)],
        calls_s: Some(4.0),
        together: 0.3,
        files: 3,
        ..calm()
    };
    let outcome = run(&scenario, &device(2.0, 1.0, 64), 3, 150);
    assert_eq!(outcome.arrived, outcome.answered, "{outcome}");
    assert!(outcome.arrived > 2_500, "{outcome}");
}

#[test]
fn who_is_beyond_the_capacity_is_refused_and_nobody_is_late() {
    // A chunk a ms: 320 streams are all there is, and admission keeps a fifth of it.
    let outcome = run(&calm(), &device(0.0, 1.0, 2_000), 1, 600);
    assert!(outcome.refused() > 0 && !outcome.holds(), "{outcome}");
    assert!(outcome.late_share < 0.001 && outcome.slowest_ms < 400.0, "{outcome}");
    assert_eq!(outcome.in_service + outcome.refused(), 600);
    let refusal = outcome.first_refusal.as_ref().unwrap();
    assert!((200..=260).contains(&refusal.in_service) && refusal.load > 0.6, "{refusal:?}");
    assert!(sentence(&outcome, None, &calm(), &device(0.0, 1.0, 2_000)).contains("greatest throughput"));
    // With fewer slots these end first.
    let outcome = run(&calm(), &device(0.0, 1.0, 50), 1, 60);
    assert_eq!((outcome.in_service, outcome.refused["no slot is free"]), (50, 10));
    let told = sentence(&outcome, None, &calm(), &device(0.0, 1.0, 50));
    assert!(told.contains("all 50 slots of every device are taken"), "{told}");
}

#[test]
fn devices_hold_about_as_many_times_what_one_holds() {
    let table = device(0.0, 1.0, 2_000);
    let found = |gpus| most_streams(&calm(), &table, gpus, 2, (64 * gpus, 2.0)).unwrap().unwrap();
    let (one, four) = (found(1), found(4));
    let ratio = four.held.streams as f64 / one.held.streams as f64;
    assert!((3.4..=4.4).contains(&ratio), "{} {}", one.held.streams, four.held.streams);
    assert!(four.held.imbalance() < 1.1, "{}", four.held);
    assert!(four.failed.unwrap().streams as f64 <= four.held.streams as f64 * 1.031);
    let fewest = fewest_gpus(&calm(), &table, four.held.streams, 2).unwrap().unwrap();
    assert_eq!(fewest.held.gpus, 4);
    assert_eq!(fewest.failed.unwrap().gpus, 3);
    assert!(
        fewest.sentence.contains("hold; on 3 devices, the first stream is refused"),
        "{}",
        fewest.sentence
    );
}

#[test]
fn files_take_what_is_left_and_never_make_live_late() {
    let table = device(2.0, 1.0, 256);
    let with_files = Scenario { files: 4, ..calm() };
    let (alone, beside) = (run(&calm(), &table, 1, 100), run(&with_files, &table, 1, 100));
    assert!(alone.files.is_none() && alone.holds(), "{alone}");
    let files = beside.files.as_ref().unwrap();
    assert!(beside.holds() && beside.slowest_ms < 400.0, "{beside}");
    assert!(files.audio_per_second > 100.0 && files.in_work == 4, "{beside}");
    assert!(files.longest_wait_ms > 0.0 && files.longest_wait_ms < 3_000.0, "{beside}");
    assert!(beside.utilisation.mean > alone.utilisation.mean, "{alone}{beside}");
}

#[test]
fn streams_in_phase_and_storms_are_harder() {
    let table = device(2.0, 1.0, 256);
    let crowd = Scenario { together: 1.0, ..calm() };
    let (spread, together) = (run(&calm(), &table, 1, 60), run(&crowd, &table, 1, 60));
    assert!(together.slowest_ms > spread.slowest_ms * 1.5, "{spread}{together}");
    assert!(together.batches.max > spread.batches.max);
    let storm = Scenario { storm: 1.0, ..calm() };
    let outcome = run(&storm, &table, 2, 100);
    assert_eq!((outcome.asked, outcome.in_service), (200, 100), "{outcome}");
}

#[test]
fn calls_come_and_end_at_their_own_times() {
    let table = device(2.0, 1.0, 256);
    // 60 calls 160 ms apart, with chunks of 320 ms: two phases of thirty. The first chunk of one is stepped at once and alone (3 ms), the
    // other 29 after it (31 ms). Ten seconds hold 31 whole chunks
    // and a shorter one.
    let call = |n: u32| Call {
        at_s: f64::from(n) * 0.16,
        lasts_s: 10.0,
    };
    let scenario = Scenario {
        calls: (0..60).map(call).collect(),
        ramp_s: 0.0,
        seconds: 20.0,
        jitter_ms: 0.0,
        ..calm()
    };
    let outcome = run(&scenario, &table, 1, 60);
    assert_eq!((outcome.asked, outcome.arrived, outcome.in_service), (60, 60 * 32, 0), "{outcome}");
    assert_eq!(outcome.batches.max, 29, "{outcome}");
    assert!((outcome.slowest_ms - 34.0).abs() < 0.01, "{outcome}");
}

#[test]
fn mixes_are_read_or_refused() {
    let table = device(1.0, 1.0, 8);
    assert_eq!(mix(None, &table).unwrap(), [(0, 1.0)]);
    assert_eq!(mix(Some("1120"), &table).unwrap(), [(1, 1.0)]);
    assert_eq!(mix(Some("320:3, 1120:1"), &table).unwrap(), [(0, 0.75), (1, 0.25)]);
    for (text, wanted) in [
        ("80:1", "of 320, 1120 ms, not of 80 ms"),
        ("320:x", "not like"),
        ("a:1", "not like"),
        ("320:0", "above 0"),
        ("320:1,320:1", "twice"),
        ("", "not like"),
    ] {
        let error = mix(Some(text), &table).unwrap_err().to_string();
        assert!(error.contains(wanted), "{text}: {error}");
    }
}

#[test]
fn scenarios_that_make_no_sense_are_refused() {
    assert!(calm().check().is_ok());
    for wrong in [
        Scenario { seconds: 0.0, ..calm() },
        Scenario { ramp_s: -1.0, ..calm() },
        Scenario { together: 1.5, ..calm() },
        Scenario { storm: f64::NAN, ..calm() },
        Scenario {
            calls_s: Some(0.0),
            ..calm()
        },
        Scenario { jitter_ms: 1e9, ..calm() },
        Scenario { budget_ms: 1.0, ..calm() },
    ] {
        assert!(wrong.check().is_err(), "{wrong:?}");
    }
}
