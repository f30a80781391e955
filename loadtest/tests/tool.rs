//! The whole tool against a server that is right, and against servers that are wrong in one way each.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::as_conversions, reason = "a test may panic")]

mod fake;

use std::path::Path;
use std::process::Output;

use fake::{Fault, start, write_wav};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

const ALL_BOUNDS: &str = "p99_ms = 2000\nrefused = 0\nfailed = 0\nahead = 0\nmissing_words = 0\ndoubled_words = 0\ndiffering_words = 0\ncrossed_words = 0\nextra_words = 0\nmoved_words = 0\n";

/// Two files of 20 words (4 s) with transcripts, one of them with a word that the server does not say.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, base) in [("a", 0_i16), ("b", 500)] {
        let words: Vec<i16> = (base..base + 20).collect();
        write_wav(&folder.path().join(format!("{name}.wav")), &words);
        let mut text: Vec<String> = words.iter().map(|word| format!("W{word},")).collect();
        if name == "b" {
            text[4] = "other".into();
        }
        std::fs::write(folder.path().join(format!("{name}.txt")), text.join(" ")).unwrap();
    }
    folder
}

async fn tool(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hark-loadtest"))
        .args(arguments)
        .output()
        .await
        .unwrap()
}

/// Runs four lines at four times real time against a server with `fault`; returns the exit code and the report.
async fn run_with(fault: Fault, bounds: &str, audio: &str) -> (Option<i32>, Value, String) {
    let folder = folder();
    let scenario = folder.path().join("s.toml");
    let text = format!(
        "name = \"test\"\n[audio]\nfolder = \".\"\nspeed = 4.0\nreference_speed = 20.0\n{audio}\n[load]\nstreams = 4\nramp_s = 0.2\nduration_s = 1.1\n[thresholds]\n{bounds}"
    );
    std::fs::write(&scenario, text).unwrap();
    let url = format!("http://{}", start(fault, 2).await);
    let json = folder.path().join("out.json");
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let output = tool(&["run", &path(&scenario), "--url", &url, "--json", &path(&json)]).await;
    let shown = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    let report = std::fs::read(&json).map_or(Value::Null, |bytes| serde_json::from_slice(&bytes).unwrap());
    (output.status.code(), report, shown)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_faults_passes() {
    for audio in ["", "send = \"wav\"\nchunk_ms = 50"] {
        let (code, report, shown) = run_with(Fault::None, ALL_BOUNDS, audio).await;
        assert_eq!(code, Some(0), "{shown}");
        // Four lines, calls of one second, no call begins after 1.1 s: two calls each but for the latest lines.
        let placed = report["calls"]["placed"].as_u64().unwrap();
        assert!((6..=8).contains(&placed), "{shown}");
        assert_eq!(report["calls"]["completed"], placed);
        assert_eq!(report["calls"]["most_at_once"], 4);
        assert_eq!(report["words"]["words"], placed * 20);
        assert_eq!(report["results"], placed * 20, "one for each word");
        assert_eq!(report["delays"]["response"]["count"], placed * 20);
        assert_eq!(report["delays"]["first_interim"]["count"], placed);
        let errors = report["word_error"]["errors"].as_u64().unwrap();
        let of_b = report["raw"].as_array().unwrap().iter().filter(|call| call["file"] == 1).count() as u64;
        assert_eq!((errors, report["word_error"]["words"].as_u64().unwrap()), (of_b, placed * 20));
        assert!(shown.contains("accuracy"), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_doubled_differing_crossed_and_moved_words_are_found() {
    for (fault, kind, each) in [
        (Fault::Loses, "missing", 4),
        (Fault::Doubles, "doubled", 4),
        (Fault::Changes, "differing", 4),
        (Fault::Crosses, "crossed", 12),
        (Fault::Moves, "moved", 20),
    ] {
        let (code, report, shown) = run_with(fault, ALL_BOUNDS, "").await;
        assert_eq!(code, Some(1), "{shown}");
        let calls = report["calls"]["completed"].as_u64().unwrap();
        for other in ["missing", "doubled", "differing", "crossed", "extra", "moved"] {
            let wanted = if other == kind { calls * each } else { 0 };
            assert_eq!(report["words"][other], wanted, "{other} where words are {kind}: {shown}");
        }
        assert_eq!(report["broken"].as_array().unwrap().len(), 1, "{shown}");
        assert!(shown.contains(&format!("BROKEN    {kind}_words is")), "{shown}");
        assert_eq!(report["transcripts_changed"], if kind == "moved" { 0 } else { calls }, "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_answers_and_answers_before_the_audio_are_found() {
    let (code, report, shown) = run_with(Fault::Late, "p99_ms = 400\nwithin_400_ms = 0.99\n", "").await;
    assert_eq!(code, Some(1), "{shown}");
    // The server takes 150 ms for every 50 ms and falls further behind: the delay adds up, for it counts from the planned times.
    assert!(report["delays"]["response"]["max_ms"].as_f64().unwrap() > 1500.0, "{shown}");
    assert_eq!(report["broken"].as_array().unwrap().len(), 2, "{shown}");

    let (code, report, shown) = run_with(Fault::Ahead, "ahead = 0\n", "").await;
    assert_eq!(code, Some(1), "{shown}");
    assert!(report["ahead"].as_u64().unwrap() > 0, "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_and_broken_calls_are_counted_apart() {
    let (code, report, shown) = run_with(Fault::Refuses, "refused = 0\n", "").await;
    assert_eq!((code, &report["calls"]["failed"]), (Some(1), &Value::from(0)), "{shown}");
    assert!(report["calls"]["refused"].as_u64().unwrap() >= 4, "{shown}");

    for (fault, reason) in [
        (Fault::Breaks, "closed with 1011 broken on purpose"),
        (Fault::Vanishes, "the connection broke"),
        (Fault::Forgets, "closed with 1000 but without Metadata"),
    ] {
        let (code, report, shown) = run_with(fault, "failed = 0\n", "").await;
        assert_eq!((code, &report["calls"]["completed"]), (Some(1), &Value::from(0)), "{shown}");
        let failures = report["calls"]["failures"].as_object().unwrap();
        assert!(failures.keys().all(|key| key.contains(reason)), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bound_without_samples_is_broken() {
    let (code, _, shown) = run_with(Fault::Refuses, "p99_ms = 400\n", "").await;
    assert_eq!(code, Some(1));
    assert!(shown.contains("p99_ms: there are no samples"), "{shown}");
    let (code, _, shown) = run_with(Fault::None, "crossed_words = 0\n", "max_files = 1").await;
    assert_eq!(code, Some(1));
    assert!(shown.contains("with one file alone"), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_does_not_come_about_exits_with_2() {
    let folder = folder();
    let scenario = folder.path().join("s.toml");
    std::fs::write(
        &scenario,
        "name = \"t\"\n[audio]\nfolder = \".\"\n[load]\nstreams = 1\nduration_s = 1\n",
    )
    .unwrap();
    let scenario = scenario.to_str().unwrap();
    let nobody = tool(&["run", scenario, "--url", "http://127.0.0.1:1"]).await;
    assert_eq!(nobody.status.code(), Some(2));
    assert!(
        String::from_utf8(nobody.stderr)
            .unwrap()
            .contains("reference call with a.wav did not complete")
    );
    let missing = tool(&["run", "none.toml", "--url", "http://127.0.0.1:1"]).await;
    assert_eq!(missing.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watch_prints_what_comes() {
    let folder = folder();
    let url = format!("http://{}", start(Fault::None, 0).await);
    let file = folder.path().join("a.wav");
    let file = file.to_str().unwrap();
    let finals = tool(&["watch", file, "--url", &url, "--speed", "10"]).await;
    let text = String::from_utf8(finals.stdout).unwrap();
    assert_eq!(finals.status.code(), Some(0), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("final ")).count(), 4, "{text}");
    assert!(
        text.contains("w5 w6 w7 w8 w9") && text.contains("response time: p50") && !text.contains("interim"),
        "{text}"
    );
    let interims = tool(&["watch", file, "--url", &url, "--speed", "10", "--interim", "--param", "a=b"]).await;
    let text = String::from_utf8(interims.stdout).unwrap();
    assert_eq!(text.lines().filter(|line| line.starts_with("interim ")).count(), 16, "{text}");

    let url = format!("http://{}", start(Fault::Refuses, 0).await);
    let refused = tool(&["watch", file, "--url", &url]).await;
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("503"));
}
