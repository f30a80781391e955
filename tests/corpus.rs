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
use std::panic;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
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

/// Made of each target's files, on every run the same; `scripts/fuzz` looks at what code is reached and makes up better ones.
const MUTANTS: usize = 200;

#[test]
fn damaged_files_are_taken_or_refused_in_bounded_time() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for target in TARGETS {
        let seeds: Vec<Vec<u8>> = entries(&corpus().join(target.name))
            .iter()
            .map(|path| fs::read(path).unwrap())
            .collect();
        for number in 0..MUTANTS {
            let mutant = mutant(&seeds, &mut dice);
            let began = Instant::now();
            let outcome = panic::catch_unwind(|| (target.run)(&mutant));
            assert!(outcome.is_ok(), "{} {number}: {:?}", target.name, Bytes::from(mutant));
            assert!(
                began.elapsed() < Duration::from_secs(5),
                "{} {number}: {:?}",
                target.name,
                Bytes::from(mutant)
            );
        }
    }
}

/// Random numbers (xorshift, Marsaglia 2003), the same on every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % most.max(1)
    }
}

/// One of the files with up to four damages: bytes changed, a piece missing, doubled, or out of another file, the end cut off.
fn mutant(seeds: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = seeds[dice.below(seeds.len())].clone();
    for _ in 0..1 + dice.below(4) {
        let at = dice.below(bytes.len());
        let end = (at + 1 + dice.below(16)).min(bytes.len());
        match dice.below(6) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << dice.below(8),
            1 if !bytes.is_empty() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][dice.below(5)],
            2 if at < end => drop(bytes.drain(at..end)),
            3 if at < end => bytes.extend_from_within(at..end),
            4 => {
                let other = &seeds[dice.below(seeds.len())];
                bytes.truncate(at);
                bytes.extend_from_slice(&other[dice.below(other.len()).min(other.len())..]);
            }
            _ => bytes.truncate(at),
        }
    }
    bytes
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
