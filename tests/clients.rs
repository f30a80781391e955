//! The official Python client against the server: a live stream and a file each, with the newest version and with the
//! last of the old interface.
//!
//! The clients are installed once, into `target/clients/VERSION`, from the package index. Where that is impossible the
//! test says `skipped: REASON` on standard error and in `target/skipped.txt`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod common;
#[path = "common/skipped.rs"]
mod skipped;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::audio::{Tape, Wav};
use common::{Server, word_at};
use serde_json::{Value, json};
use skipped::skipped;

/// The newest version when this was written.
const NEWEST: &str = "7.17.0";
/// The last version before the interface changed for the first time.
const OLD: &str = "3.11.0";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The build folder, also where it is not the usual one.
fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().to_owned()
}

/// The interpreter of an environment with the client of a version, made the first time; or why there is none.
fn interpreter(version: &str) -> Result<PathBuf, String> {
    let folder = target().join("clients").join(version);
    fs::create_dir_all(folder.parent().unwrap()).unwrap();
    // Tests of several processes must not install the same environment at once.
    let lock = File::create(folder.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    let (python, complete) = (folder.join("bin/python"), folder.join("complete"));
    if complete.exists() {
        return Ok(python);
    }
    run("python3 is missing", Command::new("python3").arg("--version"))?;
    run(
        "python3 has no venv",
        Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder),
    )?;
    let package = format!("deepgram-sdk=={version}");
    let install = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--retries",
        "1",
        "--timeout",
        "20",
        &package,
    ];
    run(&format!("{package} cannot be installed"), Command::new(&python).args(install))?;
    fs::write(complete, "").unwrap();
    Ok(python)
}

fn run(trouble: &str, command: &mut Command) -> Result<Output, String> {
    let output = command.output().map_err(|error| format!("{trouble}: {error}"))?;
    if output.status.success() {
        return Ok(output);
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "{trouble}: {}",
        text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default()
    ))
}

/// Sound from frame 6 to frame 30: words at 8, 12, 16, 20, 24, 28.
fn tape() -> Tape {
    Tape::new(16_000).silence(0.48).speech(1.92).silence(0.48)
}

/// Runs one of the scripts against a server; none if it cannot be run here.
fn jobs(version: &str, script: &str) -> Option<Value> {
    let python = match interpreter(version) {
        Ok(python) => python,
        Err(reason) => {
            skipped(&reason);
            return None;
        }
    };
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let wav = folder.path().join("tape.wav");
    fs::write(&wav, tape().wav(Wav::default())).unwrap();
    let script = root().join("tests/clients").join(script);
    let output = Command::new(python)
        .arg(script)
        .arg(server.url(""))
        .arg(&wav)
        .arg("50")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_str(text.lines().last().unwrap()).unwrap())
}

/// What is true of every version.
fn assert_done(outcome: &Value) {
    let words: Vec<String> = [8, 12, 16, 20, 24, 28].map(word_at).to_vec();
    // Every third word ends a sentence in the toy vocabulary.
    let transcript = "Word3. word4 word5 Word6. word7 word8";
    let live = &outcome["live"];
    let finals: Vec<&str> = live["finals"]
        .as_array()
        .unwrap()
        .iter()
        .map(|text| text.as_str().unwrap())
        .collect();
    assert_eq!(
        finals.join(" ").split_whitespace().collect::<Vec<_>>().join(" "),
        transcript,
        "{live}"
    );
    assert!(live["interims"].as_u64().unwrap() >= 1, "{live}");
    assert_eq!(
        (&live["finalized"], &live["ended"], &live["closed"]),
        (&json!(true), &json!(true), &json!(true)),
        "{live}"
    );
    assert_eq!((&live["errors"], &live["other"]), (&json!([]), &json!([])), "{live}");
    assert!(
        (live["metadata"]["duration"].as_f64().unwrap() - tape().seconds()).abs() < 0.05,
        "{live}"
    );
    let file = &outcome["file"];
    assert_eq!((&file["words"], &file["transcript"]), (&json!(words), &json!(transcript)));
    assert_eq!((&file["duration"], &file["utterances"]), (&json!(tape().seconds()), &json!(1)));
}

#[test]
fn check_21_the_newest_python_client_does_a_live_and_a_file_job() {
    let Some(outcome) = jobs(NEWEST, "modern.py") else {
        return;
    };
    assert_done(&outcome);
    assert_eq!(outcome["refusals"], json!({"file": [400, "Bad Request"], "live": 400}));
}

#[test]
fn check_21_the_python_client_of_version_3_does_a_live_and_a_file_job() {
    let Some(outcome) = jobs(OLD, "classic.py") else {
        return;
    };
    assert_done(&outcome);
    assert!(
        outcome["refusals"]["file"].as_str().unwrap().contains("failed to process audio"),
        "{outcome}"
    );
    assert_eq!(outcome["refusals"]["live"], false);
}
