use super::*;
use crate::items;
use crate::program::Program;

const GOOD: &str = "name = \"x\"\n[audio]\nfolder = \"f\"\n[load]\nstreams = 4\nramp_s = 2.0\nduration_s = 10.0\n";

fn parse(text: &str) -> Result<Scenario> {
    Scenario::parse(text)
}

#[test]
fn lines_begin_spread_over_the_ramp() {
    let scenario = parse(GOOD).unwrap();
    let begin = |line: u32| scenario.line_times(line).first().map(|times| times.start);
    for line in 0..4 {
        let part = f64::from(line) * 0.5;
        assert!(
            begin(line).is_some_and(|begin| (part..part + 0.5).contains(&begin)),
            "{line}: {:?}",
            begin(line)
        );
        assert_eq!(begin(line), parse(GOOD).unwrap().line_times(line).first().map(|times| times.start));
    }
    assert_eq!(begin(4), None);
}

#[test]
fn lines_do_not_begin_at_a_beat() {
    let scenario = parse(&GOOD.replace("streams = 4", "streams = 200").replace("ramp_s = 2.0", "ramp_s = 8.0")).unwrap();
    let begins: Vec<f64> = (0..200)
        .filter_map(|line| scenario.line_times(line).first().map(|times| times.start))
        .collect();
    assert!(begins.is_sorted());
    // At a beat of 40 ms they would fall into eight phases of a chunk of 320 ms; none of sixteen is empty or holds a fifth.
    let mut phases = [0; 16];
    begins
        .iter()
        .for_each(|begin| phases[((begin / 0.320).fract() * 16.0) as usize] += 1);
    assert!(phases.iter().all(|&lines| lines > 0 && lines < 40), "{phases:?}");
}

#[test]
fn lines_come_and_go_by_the_steps() {
    let steps = "duration_s = 10.0\nsteps = [{ at_s = 4, streams = 2, over_s = 2 }, { at_s = 7, streams = 5 }]\n";
    let scenario = parse(&GOOD.replace("duration_s = 10.0\n", steps)).unwrap();
    assert_eq!(scenario.most_streams(), 5);
    let begin = |line: u32| scenario.line_times(line)[0].start;
    assert_eq!(scenario.line_times(0), [begin(0)..10.0]);
    assert_eq!(
        scenario.line_times(2),
        [begin(2)..5.0, 7.0..10.0],
        "the last to come is the first to go"
    );
    assert_eq!(scenario.line_times(3), [begin(3)..4.0, 7.0..10.0]);
    assert_eq!(scenario.line_times(4), [7.0..10.0]);
}

fn mix(groups: &str, streams: u32) -> Vec<usize> {
    let text = GOOD.replace("streams = 4", &format!("streams = {streams}"));
    let scenario = parse(&format!("{text}{groups}")).unwrap();
    let program = Program::new(&scenario, Vec::new()).unwrap();
    program.kinds_of_lines(streams)
}

#[test]
fn every_beginning_has_the_mix_of_the_weights() {
    let two = "[[groups]]\nname = \"a\"\nweight = 3\n[[groups]]\nname = \"b\"\n";
    assert_eq!(mix(two, 8), [0, 0, 1, 0, 0, 0, 1, 0]);
    let counted = "[[groups]]\nname = \"a\"\n[[groups]]\nname = \"b\"\ncount = 2\n";
    assert_eq!(mix(counted, 4), [1, 1, 0, 0]);
    assert_eq!(mix("", 3), [0, 0, 0]);
}

#[test]
fn a_group_takes_from_audio_what_it_does_not_say() {
    let text = GOOD.replace("folder = \"f\"", "folder = \"f\"\nencoding = \"alaw\"\nspeed = 2");
    let scenario = parse(&format!(
        "{text}[[groups]]\nname = \"a\"\nspeed = 3.0\nchunk_ms = 50\n[[groups]]\nname = \"b\"\n"
    ))
    .unwrap();
    let kinds = scenario.kinds();
    assert_eq!((kinds[0].form.encoding, kinds[0].form.chunk_ms), (Some(Encoding::Alaw), 50));
    assert_eq!((kinds[0].speed, kinds[1].speed, kinds[1].form.chunk_ms), (3.0, 2.0, 20));
}

#[test]
fn mistakes_are_refused() {
    for (from, to) in [
        ("streams = 4", "streams = 0"),
        ("streams = 4", "streams = 4\nstrams = 5"),
        ("ramp_s = 2.0", "ramp_s = 20.0"),
        ("ramp_s = 2.0", "ramp_s = -1.0"),
        ("folder = \"f\"", "folder = \"f\"\nchunk_ms = 0"),
        ("folder = \"f\"", "folder = \"f\"\nspeed = 0.0"),
        ("folder = \"f\"", "folder = \"f\"\nspeed = nan"),
        ("[load]", "[query]\nencoding = \"opus\"\n[load]"),
        ("[load]", "[query]\nmultichannel = \"true\"\n[load]"),
        ("[load]", "[thresholds]\np98_ms = 3.0\n[load]"),
        ("[load]", "[[groups]]\nname = \"a\"\ncount = 5\n[load]"),
        ("[load]", "[[groups]]\nname = \"a\"\ncount = 3\n[load]"),
        ("[load]", "[[groups]]\nname = \"a\"\ncount = 4\nweight = 1\n[load]"),
        ("[load]", "[[groups]]\nname = \"a\"\nsample_rate = 11025\n[load]"),
        ("[load]", "[[groups]]\nname = \"a\"\nhang_up_share = 1.1\n[load]"),
        (
            "[load]",
            "[[groups]]\nname = \"a\"\nsilence = { every_s = 0, length_s = 1 }\n[load]",
        ),
        ("[load]", "[[storms]]\nat_s = 9.5\nwithin_s = 1\n[load]"),
        ("[load]", "[uploads]\nparallel = 0\n[load]"),
        ("[load]", "[uploads]\nparallel = 1\nper_second = 0\n[load]"),
        ("[load]", "[load]\nsteps = [{ at_s = 1, streams = 2 }]"),
        ("[load]", "[load]\nsteps = [{ at_s = 9, streams = 2, over_s = 2 }]"),
    ] {
        assert!(parse(&GOOD.replace(from, to)).is_err(), "{to}");
    }
}

#[test]
fn the_scenarios_in_the_repository_are_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let scenario = Scenario::read(&entry.unwrap().path()).unwrap();
        let program = Program::new(&scenario, items::read(&scenario.audio).unwrap()).unwrap();
        assert!(!program.recordings.is_empty());
        seen += 1;
    }
    assert!(seen >= 3);
}
