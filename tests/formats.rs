//! Every codec and container that ffmpeg makes of the sample calls: the words are those of the same file decoded by ffmpeg, as a file and live.
//!
//! Needs ffmpeg; skipped, and counted, without.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

#[path = "common/skipped.rs"]
mod skipped;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Arguments of ffmpeg, the ending, and whether the container can be read live.
const FORMATS: [(&str, &str, bool); 37] = [
    ("-c:a flac", "flac", true),
    ("-c:a libmp3lame -b:a 64k -ar 44100 -ac 2", "mp3", true),
    ("-c:a libmp3lame -b:a 32k -write_id3v2 1 -metadata title=call", "mp3", true),
    ("-c:a aac -b:a 64k -ar 44100", "m4a", false),
    ("-c:a aac -b:a 64k -ar 48000 -movflags +faststart", "mp4", true),
    (
        "-c:a aac -b:a 64k -ar 48000 -movflags frag_keyframe+empty_moov -frag_duration 500000",
        "mp4",
        true,
    ),
    ("-c:a aac -b:a 64k -ar 32000", "aac", true),
    ("-c:a alac -ar 16000", "m4a", false),
    ("-c:a libopus -b:a 32k", "ogg", true),
    ("-c:a libopus -b:a 32k -page_duration 20000", "opus", true),
    ("-c:a libvorbis -q:a 4 -ar 16000", "ogg", true),
    ("-c:a libopus -b:a 32k -live 1", "webm", true),
    ("-c:a libopus -b:a 32k -cluster_time_limit 1000", "mka", true),
    ("-c:a pcm_s16be -ar 16000", "aiff", true),
    ("-c:a pcm_s16be -ar 22050", "caf", false),
    ("-c:a pcm_alaw -ar 8000", "wav", true),
    ("-c:a adpcm_ms -ar 8000", "wav", true),
    ("-c:a adpcm_ms -ar 16000 -ac 2", "wav", true),
    ("-c:a adpcm_ima_wav -ar 8000", "wav", true),
    ("-c:a adpcm_ima_wav -ar 22050 -ac 2", "wav", true),
    ("-c:a pcm_u8 -ar 16000", "wav", true),
    ("-c:a pcm_s24le -ar 44100", "wav", true),
    ("-c:a pcm_s32le -ar 16000", "wav", true),
    ("-c:a pcm_f32le -ar 48000 -ac 2", "wav", true),
    ("-c:a pcm_f64le -ar 16000", "wav", true),
    ("-c:a pcm_s16be -ar 16000", "au", true),
    ("-c:a pcm_mulaw -ar 8000", "au", true),
    ("-c:a pcm_s8 -ar 16000", "au", true),
    ("-c:a pcm_f32be -ar 22050 -ac 2", "au", true),
    ("-c:a pcm_s24be -ar 48000 -ac 2", "mov", false),
    ("-c:a pcm_s24le -ar 16000", "mov", false),
    ("-c:a pcm_s32be -ar 16000", "mov", false),
    ("-c:a pcm_f32be -ar 16000", "mov", false),
    ("-c:a pcm_alaw -ar 8000", "mov", false),
    ("-c:a pcm_mulaw -ar 8000 -ac 2", "mov", false),
    ("-c:a pcm_mulaw -ar 8000", "caf", false),
    ("-c:a libmp3lame -b:a 32k -ar 16000", "wav", true),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn ffmpeg(from: &Path, arguments: &str, to: &Path) {
    let mut command = Command::new("ffmpeg");
    command
        .args(["-v", "error", "-y", "-i"])
        .arg(from)
        .args(arguments.split_whitespace())
        .arg(to);
    assert!(command.status().unwrap().success(), "{arguments}: {}", to.display());
}

/// The transcripts of files, by file.
fn transcribe(files: &[PathBuf], live: bool) -> HashMap<PathBuf, Vec<String>> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hark"));
    // Tests that run beside must not make it refuse a stream.
    command
        .current_dir(root())
        .env("HARK_GPU__MODE", "never")
        .env("HARK_ENGINE__BUDGET", "60s")
        .arg("transcribe");
    if live {
        command.arg("--live");
    }
    let output = command.args(files).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    let split = |line: &str| {
        let (file, text) = line.split_once('\t').unwrap();
        (PathBuf::from(file), text.split_whitespace().map(str::to_owned).collect())
    };
    lines.lines().map(split).collect()
}

/// Words to be changed, taken out or put in (Levenshtein).
fn errors(found: &[String], wanted: &[String]) -> usize {
    let mut row: Vec<usize> = (0..=wanted.len()).collect();
    for (i, word) in found.iter().enumerate() {
        let mut diagonal = std::mem::replace(row.first_mut().unwrap(), i + 1);
        for (j, other) in wanted.iter().enumerate() {
            let here = (diagonal + usize::from(word != other)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], here);
        }
    }
    *row.last().unwrap()
}

#[test]
fn every_format_gives_the_words_that_ffmpeg_would_have_given() {
    if Command::new("ffmpeg").arg("-version").output().is_err() {
        skipped::skipped("ffmpeg is missing: apt-get install -y ffmpeg");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (mut encoded, mut decoded) = (Vec::new(), Vec::new());
    for (n, (arguments, ending, _)) in FORMATS.iter().enumerate() {
        for call in ["call", "call-2", "call-3"] {
            let coded = folder.path().join(format!("{call}-{n}.{ending}"));
            let plain = folder.path().join(format!("{call}-{n}-plain.wav"));
            ffmpeg(&root().join("samples").join(format!("{call}.wav")), arguments, &coded);
            ffmpeg(&coded, "-c:a pcm_s16le", &plain);
            encoded.push(coded);
            decoded.push(plain);
        }
    }
    for live in [false, true] {
        let chosen: Vec<usize> = (0..FORMATS.len()).filter(|&n| FORMATS[n].2 || !live).collect();
        let both = |&n: &usize| encoded[n * 3..][..3].iter().chain(&decoded[n * 3..][..3]);
        let files: Vec<PathBuf> = chosen.iter().flat_map(both).cloned().collect();
        let texts = transcribe(&files, live);
        for n in chosen {
            let format = FORMATS[n];
            let (mut wrong, mut all, mut reference) = (0, 0, 0);
            for call in 0..3 {
                let (found, wanted) = (&texts[&encoded[n * 3 + call]], &texts[&decoded[n * 3 + call]]);
                let name = ["call", "call-2", "call-3"][call];
                let written = std::fs::read_to_string(root().join("samples").join(format!("{name}.txt"))).unwrap();
                let written: Vec<String> = written.split_whitespace().map(str::to_lowercase).collect();
                wrong += errors(found, &written);
                reference += errors(wanted, &written);
                all += written.len();
            }
            println!("{format:?}, live {live}: {wrong} errors, {reference} as decoded by ffmpeg, of {all} words");
            assert!(all > 50 && reference * 3 < all, "{format:?}: {reference} of {all}");
            // Two points of word error, at least one word.
            assert!(
                wrong.abs_diff(reference) <= (all / 50).max(1),
                "{format:?}, live {live}: {wrong} and {reference} of {all}"
            );
        }
    }
}
