//! Every file of the fuzz corpus through its target: what once broke a parser stays mended. `scripts/fuzz` makes up new ones.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test"
)]

#[path = "../fuzz/targets.rs"]
mod targets;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use targets::TARGETS;

/// As much as a run of the fuzzer may have.
const MOST_MEMORY_KB: u64 = 1 << 20;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

/// What a folder holds, in order.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
}

#[test]
fn every_file_is_taken_or_refused_in_bounded_time_and_memory() {
    for target in TARGETS {
        let (mut taken, mut refused) = (0, 0);
        for path in entries(&corpus().join(target.name)) {
            let began = Instant::now();
            let counted = if (target.run)(&fs::read(&path).unwrap()) {
                &mut taken
            } else {
                &mut refused
            };
            *counted += 1;
            assert!(
                began.elapsed() < Duration::from_secs(5),
                "{}: {:?}",
                path.display(),
                began.elapsed()
            );
        }
        // Without either, the fuzzer would begin on one side of the door. Words are never refused.
        assert!(
            taken > 0 && (refused > 0 || target.name == "words"),
            "{}: {taken} {refused}",
            target.name
        );
    }
    // Where the system tells.
    if let Ok(status) = fs::read_to_string("/proc/self/status") {
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(peak < MOST_MEMORY_KB, "{peak} kB");
    }
}

#[test]
fn every_folder_has_a_target_and_the_corpus_is_small() {
    let folders = entries(&corpus());
    let names: Vec<&str> = folders.iter().map(|folder| folder.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, TARGETS.iter().map(|target| target.name).collect::<Vec<_>>());
    let files = folders.iter().flat_map(|folder| entries(folder));
    let bytes: u64 = files.map(|file| fs::metadata(file).unwrap().len()).sum();
    assert!(bytes < 1 << 20, "{bytes} bytes");
}
