//! The whole tool against a server that is right, and against servers that are wrong in one way each.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::as_conversions, reason = "a test may panic")]

mod fake;

use std::path::Path;
use std::process::Output;
use std::sync::atomic::Ordering;

use fake::{Fault, start, start_watched, write_wav};
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

/// What came of a run.
struct Ran {
    code: Option<i32>,
    report: Value,
    shown: String,
}

/// Runs `scenario` over the two files against the server at `address`.
async fn run_scenario(address: std::net::SocketAddr, scenario: &str) -> Ran {
    let folder = folder();
    let file = folder.path().join("s.toml");
    std::fs::write(&file, format!("name = \"test\"\n{scenario}")).unwrap();
    let json = folder.path().join("out.json");
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let url = format!("http://{address}");
    let output = tool(&["run", &path(&file), "--url", &url, "--json", &path(&json)]).await;
    let report = std::fs::read(&json).map_or(Value::Null, |bytes| serde_json::from_slice(&bytes).unwrap());
    Ran {
        code: output.status.code(),
        report,
        shown: String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap(),
    }
}

const AUDIO: &str = "[audio]\nfolder = \".\"\nspeed = 4.0\nreference_speed = 20.0\n";

/// Runs four lines at four times real time against a server with `fault`; returns the exit code and the report.
async fn run_with(fault: Fault, bounds: &str, audio: &str) -> (Option<i32>, Value, String) {
    let scenario = format!("{AUDIO}{audio}\n[load]\nstreams = 4\nramp_s = 0.2\nduration_s = 1.1\n[thresholds]\n{bounds}");
    let ran = run_scenario(start(fault, 2).await, &scenario).await;
    (ran.code, ran.report, ran.shown)
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
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
        assert_eq!(report["most_at_once"], 4);
        assert_eq!(report["words"]["words"], placed * 20);
        assert_eq!(report["results"], placed * 20, "one for each word");
        assert_eq!(report["delays"]["response"]["count"], placed * 20);
        assert_eq!(report["delays"]["first_interim"]["count"], placed);
        let errors = report["word_error"]["errors"].as_u64().unwrap();
        let of_b = report["raw"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|call| call["recording"] == 1)
            .count() as u64;
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
    assert_eq!(report["calls"]["retry_after_s"], serde_json::json!([1.0, 1.0]), "{shown}");
    assert!(shown.contains("x 503; Retry-After 1 s, 0 without"), "{shown}");

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
async fn groups_send_in_their_own_forms() {
    let groups = "[[groups]]\nname = \"mulaw\"\nencoding = \"mulaw\"\n[[groups]]\nname = \"wide\"\nsample_rate = 16000\nchunk_ms = 50\nsend = \"wav\"\n\
        [[groups]]\nname = \"alaw\"\nencoding = \"alaw\"\nsilence = { every_s = 2, length_s = 1 }\nspeed = 8\n[[groups]]\nname = \"both\"\ncount = 1\ntalk_over = true\n";
    let scenario = format!("{AUDIO}{groups}[load]\nstreams = 4\nduration_s = 1.1\n[thresholds]\n{ALL_BOUNDS}");
    let ran = run_scenario(start(Fault::None, 0).await, &scenario).await;
    assert_eq!(ran.code, Some(0), "{}", ran.shown);
    let groups = ran.report["groups"].as_array().unwrap();
    let of = |index: usize, part: &str, field: &str| number(&groups[index][part][field]);
    for index in 0..4 {
        assert_eq!(of(index, "calls", "placed"), of(index, "calls", "completed"));
        assert!(of(index, "calls", "placed") >= 2, "{}", ran.shown);
    }
    let words = |index: usize| of(index, "words", "words") / of(index, "calls", "completed");
    // 20 words a file; 2 x 1 s of silence are 10 words; two channels.
    assert_eq!((words(0), words(1), words(2), words(3)), (20, 20, 30, 40), "{}", ran.shown);
    assert_eq!(ran.report["recordings"].as_array().unwrap().len(), 8);
    assert!(ran.shown.contains("response time by group"), "{}", ran.shown);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_come_and_go_by_the_steps() {
    let load = "[load]\nstreams = 1\nduration_s = 2.4\nsteps = [{ at_s = 0.8, streams = 6 }, { at_s = 1.6, streams = 2 }]\n";
    let ran = run_scenario(start(Fault::None, 2).await, &format!("{AUDIO}{load}")).await;
    assert_eq!(ran.code, Some(0), "{}", ran.shown);
    assert_eq!(ran.report["most_at_once"], 6, "{}", ran.shown);
    let begun = |line: u64| -> Vec<f64> {
        let calls = ran.report["raw"].as_array().unwrap().iter();
        calls
            .filter(|call| call["line"] == line)
            .map(|call| call["begun_s"].as_f64().unwrap())
            .collect()
    };
    assert_eq!(
        begun(0).len(),
        3,
        "one call a second, and the fourth would begin too late: {}",
        ran.shown
    );
    assert!(
        begun(5).iter().all(|at| (0.8..1.6).contains(at)) && begun(5).len() == 1,
        "{:?}",
        begun(5)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_have_their_own_figures() {
    let bounds =
        "[thresholds]\nuploads_refused = 0\nuploads_failed = 0\nupload_words = 0\nupload_p95_ms = 1000\nupload_audio_per_second = 20\n";
    let load = "[load]\nstreams = 1\nduration_s = 1.5\n[uploads]\nparallel = 3\n";
    let (address, seen) = start_watched(Fault::None, 4).await;
    let ran = run_scenario(address, &format!("{AUDIO}{load}{bounds}")).await;
    assert_eq!(ran.code, Some(0), "{}", ran.shown);
    let uploads = &ran.report["uploads"];
    let completed = number(&uploads["calls"]["completed"]);
    // Three at once, 100 ms each, for 1.5 s; two more were the reference.
    assert!((12..=45).contains(&completed), "{}", ran.shown);
    assert_eq!(seen.uploads.load(Ordering::SeqCst) as u64, completed + 2);
    assert_eq!(seen.most_uploading.load(Ordering::SeqCst), 3);
    assert_eq!(number(&uploads["words"]["words"]), completed * 20);
    let median = uploads["turnaround"]["p50_ms"].as_f64().unwrap();
    assert!((100.0..400.0).contains(&median), "{}", ran.shown);
    // 4 s of audio in each.
    let throughput = uploads["audio_per_second"].as_f64().unwrap();
    assert!((20.0..=120.0).contains(&throughput), "{}", ran.shown);

    let slow = bounds.replace("1000", "50").replace("second = 20", "second = 1000");
    let ran = run_scenario(start(Fault::None, 4).await, &format!("{AUDIO}{load}{slow}")).await;
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.shown.contains("BROKEN    upload_p95_ms is") && ran.shown.contains("BROKEN    upload_audio_per_second is"),
        "{}",
        ran.shown
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_at_a_rate_count_from_their_planned_times() {
    let load = "[load]\nstreams = 0\nduration_s = 1.0\n[uploads]\nparallel = 2\nper_second = 10\n";
    let ran = run_scenario(start(Fault::None, 4).await, &format!("{AUDIO}{load}")).await;
    let uploads = &ran.report["uploads"];
    assert_eq!(
        number(&uploads["calls"]["completed"]) + number(&uploads["left_out"]),
        10,
        "{}",
        ran.shown
    );
    assert!(number(&uploads["left_out"]) <= 6, "{}", ran.shown);

    let load = load.replace("per_second = 10", "per_second = 40");
    let ran = run_scenario(start(Fault::None, 4).await, &format!("{AUDIO}{load}")).await;
    let uploads = &ran.report["uploads"];
    // Two at once of 100 ms each are 20 a second.
    let left_out = number(&uploads["left_out"]);
    assert!((18..=34).contains(&left_out), "{}", ran.shown);
    assert_eq!(number(&uploads["calls"]["placed"]), 40 - left_out);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_refused_and_broken_uploads_are_found() {
    let load = "[load]\nstreams = 0\nduration_s = 0.5\n[uploads]\nparallel = 1\n[thresholds]\n";
    for (fault, bound, broken) in [
        (Fault::Loses, "upload_words = 0", "upload_words is "),
        (Fault::Refuses, "uploads_refused = 0", "uploads_refused is 1,"),
        (Fault::Breaks, "uploads_failed = 0", "uploads_failed is 1,"),
        (Fault::Vanishes, "uploads_failed = 0", "uploads_failed is 1,"),
    ] {
        let ran = run_scenario(start(fault, 4).await, &format!("{AUDIO}{load}{bound}\n")).await;
        assert_eq!(ran.code, Some(1), "{fault:?}: {}", ran.shown);
        assert!(ran.shown.contains(broken), "{fault:?}: {}", ran.shown);
        if fault == Fault::Breaks {
            assert!(
                ran.shown.contains("answered with 500") && ran.shown.contains("broken on purpose"),
                "{}",
                ran.shown
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hang_ups_are_resets_and_no_failures() {
    let load = "[[groups]]\nname = \"rude\"\nhang_up_share = 0.5\n[load]\nstreams = 4\nduration_s = 2\n[thresholds]\nfailed = 0\nmissing_words = 0\n";
    let (address, seen) = start_watched(Fault::None, 2).await;
    let ran = run_scenario(address, &format!("{AUDIO}{load}")).await;
    assert_eq!(ran.code, Some(0), "{}", ran.shown);
    let calls = &ran.report["calls"];
    let hung_up = number(&calls["hung_up"]);
    assert!(hung_up >= 3, "{}", ran.shown);
    assert_eq!(number(&calls["completed"]) + hung_up, number(&calls["placed"]));
    assert_eq!(seen.resets.load(Ordering::SeqCst) as u64, hung_up, "each is a reset at the server");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_never_read_are_counted_apart() {
    let load = "[[groups]]\nname = \"good\"\n[[groups]]\nname = \"deaf\"\nnever_reads = true\ncount = 1\n[load]\nstreams = 2\nduration_s = 2\n[thresholds]\nfailed = 0\n";
    for (fault, evicted) in [(Fault::None, false), (Fault::Evicts, true)] {
        let ran = run_scenario(start(fault, 2).await, &format!("{AUDIO}{load}")).await;
        assert_eq!(ran.code, Some(0), "{}", ran.shown);
        let deaf = &ran.report["groups"][1]["calls"];
        assert_eq!(number(&deaf["evicted"]) > 0, evicted, "{}", ran.shown);
        assert_eq!(
            number(&deaf["unread"]) + number(&deaf["evicted"]),
            number(&deaf["placed"]),
            "{}",
            ran.shown
        );
        let good = &ran.report["groups"][0]["calls"];
        assert_eq!(good["completed"], good["placed"], "{}", ran.shown);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_storm_all_lines_drop_and_reconnect() {
    let load = "[[storms]]\nat_s = 0.5\nwithin_s = 0.4\n[load]\nstreams = 4\nduration_s = 1.4\n[thresholds]\nrefused = 0\nfailed = 0\nmissing_words = 0\nreconnect_p99_ms = 1000\n";
    let (address, seen) = start_watched(Fault::None, 2).await;
    let ran = run_scenario(address, &format!("{AUDIO}{load}")).await;
    assert_eq!(ran.code, Some(0), "{}", ran.shown);
    assert_eq!(number(&ran.report["calls"]["hung_up"]), 4, "{}", ran.shown);
    assert_eq!(seen.resets.load(Ordering::SeqCst), 4);
    let reconnect = &ran.report["delays"]["reconnect"];
    assert_eq!(number(&reconnect["count"]), 4, "{}", ran.shown);
    // Line 3 of 4 waits for three quarters of 0.4 s.
    assert!((299.0..900.0).contains(&reconnect["max_ms"].as_f64().unwrap()), "{}", ran.shown);
    let ran = run_scenario(start(Fault::None, 2).await, &format!("{AUDIO}{}", load.replace("1000", "100"))).await;
    assert!(ran.shown.contains("BROKEN    reconnect_p99_ms is"), "{}", ran.shown);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lags_and_the_servers_own_figures_stand_beside_the_delays() {
    let (code, report, shown) = run_with(Fault::None, "transcript_lag_p99_ms = 150\nspeech_end_p99_ms = 150\n", "").await;
    assert_eq!(code, Some(0), "{shown}");
    let completed = number(&report["calls"]["completed"]);
    // Every word is new once; a word's last byte is the last of its window. Every fifth word ends a final.
    assert_eq!(number(&report["delays"]["transcript_lag"]["count"]), completed * 20, "{shown}");
    assert_eq!(number(&report["delays"]["speech_end"]["count"]), completed * 4, "{shown}");
    let step = &report["server"]["spreads"]["hark_step_seconds"];
    assert_eq!(
        step["count"].as_f64().unwrap() as u64,
        completed * 20,
        "the reference run is left out: {shown}"
    );
    assert!((step["mean"].as_f64().unwrap() - 0.03).abs() < 1e-6, "{shown}");
    assert!((step["p50"].as_f64().unwrap() - 0.03).abs() < 1e-6, "{shown}");
    assert!(shown.contains("hark_step_seconds"), "{shown}");

    let (code, _, shown) = run_with(Fault::Late, "transcript_lag_p99_ms = 150\nspeech_end_p99_ms = 150\n", "").await;
    assert_eq!(code, Some(1), "{shown}");
    assert!(
        shown.contains("BROKEN    transcript_lag_p99_ms") && shown.contains("BROKEN    speech_end_p99_ms"),
        "{shown}"
    );
}

/// Searches the capacity of a server with `fault`; returns the exit code, the report and what was printed.
async fn capacity_of(fault: Fault, more: &[&str]) -> Ran {
    let folder = folder();
    let file = folder.path().join("s.toml");
    let text = format!("name = \"test\"\n{AUDIO}[load]\nstreams = 1\nduration_s = 1\n");
    std::fs::write(&file, text).unwrap();
    let json = folder.path().join("out.json");
    let url = format!("http://{}", start(fault, 2).await);
    let (file, json_path) = (file.to_str().unwrap(), json.to_str().unwrap());
    let mut arguments = vec![
        "capacity",
        "--url",
        &url,
        "--scenario",
        file,
        "--duration",
        "1s",
        "--json",
        json_path,
    ];
    arguments.extend(more);
    let output = tool(&arguments).await;
    Ran {
        code: output.status.code(),
        report: std::fs::read(&json).map_or(Value::Null, |bytes| serde_json::from_slice(&bytes).unwrap()),
        shown: String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap(),
    }
}

/// The numbers of the trials that count: one that breaks the rule while the host takes the processors away is repeated, four times at most.
fn streams_of_trials(report: &Value) -> Vec<u64> {
    let trials = report["trials"].as_array().unwrap();
    let mut repeated = 0;
    let counts = |trial: &&Value| {
        let is_broken = !trial["broken"].as_array().unwrap().is_empty();
        let is_disturbed = is_broken && trial["stolen"].as_f64().is_some_and(|share| share > 0.02);
        repeated = if is_disturbed && repeated < 4 { repeated + 1 } else { 0 };
        repeated == 0
    };
    trials.iter().filter(counts).map(|trial| number(&trial["streams"])).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_capacity_is_the_most_that_holds_the_rule() {
    let ran = capacity_of(Fault::Holds(5), &[]).await;
    assert_eq!((ran.code, &ran.report["streams"]), (Some(0), &Value::from(5)), "{}", ran.shown);
    assert_eq!(streams_of_trials(&ran.report), [1, 2, 4, 8, 8, 6, 6, 5], "{}", ran.shown);
    assert_eq!(ran.report["bounded_by"], "server", "{}", ran.shown);
    assert_eq!(ran.report["estimated_by_server"], 5.0, "{}", ran.shown);
    assert!(
        ran.shown.contains("refused") && ran.shown.contains("the server estimated 5"),
        "{}",
        ran.shown
    );

    let ran = capacity_of(Fault::Slows(2), &["--at-least", "3", "--first", "2"]).await;
    assert_eq!((ran.code, &ran.report["streams"]), (Some(1), &Value::from(2)), "{}", ran.shown);
    assert_eq!(streams_of_trials(&ran.report), [2, 4, 4, 3, 3], "{}", ran.shown);
    assert!(
        ran.shown.contains("BROKEN    2 streams, at least 3 were asked for"),
        "{}",
        ran.shown
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_capacity_has_its_reasons_and_its_ends() {
    let ran = capacity_of(Fault::Loses, &["--first", "2"]).await;
    assert_eq!((ran.code, &ran.report["streams"]), (Some(1), &Value::from(0)), "{}", ran.shown);
    assert!(ran.shown.contains("words wrong"), "{}", ran.shown);
    let ran = capacity_of(Fault::None, &["--most", "3"]).await;
    assert_eq!((ran.code, &ran.report["streams"]), (Some(0), &Value::from(3)), "{}", ran.shown);
    assert_eq!(ran.report["bounded_by"], "most_asked_for", "{}", ran.shown);
    let ran = capacity_of(Fault::None, &["--duration", "soon"]).await;
    assert_eq!(ran.code, Some(2), "{}", ran.shown);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pages_hold_the_plots_and_the_text_of_the_terminal() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let scenario = format!("name = \"a <b>\"\n{AUDIO}[load]\nstreams = 2\nduration_s = 1\n[uploads]\nparallel = 1\n");
    std::fs::write(path("s.toml"), scenario).unwrap();
    let url = format!("http://{}", start(Fault::None, 0).await);
    let shown = tool(&["run", &path("s.toml"), "--url", &url, "--html", &path("run.html")]).await;
    let (shown, page) = (
        String::from_utf8(shown.stdout).unwrap(),
        std::fs::read_to_string(path("run.html")).unwrap(),
    );
    assert_eq!(page.matches("<svg").count(), 4, "{page}");
    let response = shown.lines().find(|line| line.starts_with("response time")).unwrap();
    assert!(page.contains(response) && page.contains("<h1>a &lt;b&gt;</h1>"), "{page}");

    let arguments = [
        "capacity",
        "--url",
        &url,
        "--scenario",
        &path("s.toml"),
        "--duration",
        "1s",
        "--most",
        "2",
    ];
    let html = path("capacity.html");
    let shown = tool(&[&arguments[..], &["--html", &html]].concat()).await;
    assert_eq!(shown.status.code(), Some(0));
    let page = std::fs::read_to_string(html).unwrap();
    assert!(page.contains("<svg") && page.contains("capacity  2 streams at least"), "{page}");
}

/// Soaks a server with `fault`, which lives in this process.
async fn soak_of(fault: Fault, more: &[&str]) -> Ran {
    let folder = folder();
    let file = folder.path().join("s.toml");
    let groups = "[[groups]]\nname = \"slow\"\nspeed = 0.5\n";
    std::fs::write(
        &file,
        format!("name = \"test\"\n{AUDIO}{groups}[load]\nstreams = 1\nduration_s = 1\n"),
    )
    .unwrap();
    let (json, html) = (folder.path().join("out.json"), folder.path().join("out.html"));
    let url = format!("http://{}", start(fault, 2).await);
    let pid = std::process::id().to_string();
    let texts = [&file, &json, &html].map(|path| path.to_str().unwrap().to_owned());
    let [scenario, json_path, html_path] = texts.each_ref().map(String::as_str);
    let mut arguments = vec![
        "soak",
        "--url",
        &url,
        "--scenario",
        scenario,
        "--json",
        json_path,
        "--html",
        html_path,
    ];
    if !more.contains(&"--pid") {
        arguments.extend(["--pid", &pid]);
    }
    arguments.extend(["--cycles", "40", "--parallel", "4", "--streams", "2", "--speed", "20"]);
    arguments.extend(more);
    let output = tool(&arguments).await;
    Ran {
        code: output.status.code(),
        report: std::fs::read(&json).map_or(Value::Null, |bytes| serde_json::from_slice(&bytes).unwrap()),
        shown: String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_soak_connects_often_and_plays_hours_fast() {
    // 0.02 hours at 20 times real time are 3.6 s.
    let ran = soak_of(Fault::None, &["--hours", "0.02", "--most-mib-per-hour", "1000000"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.shown);
    let cycles = &ran.report["cycles"];
    assert_eq!((number(&cycles["placed"]), number(&cycles["hung_up"])), (40, 20), "{}", ran.shown);
    assert_eq!(number(&cycles["completed"]), 20);
    // Calls of 0.2 s on two lines for 3.6 s, a little more than that for each.
    let completed = number(&ran.report["calls"]["completed"]);
    assert!((8..=38).contains(&completed), "{}", ran.shown);
    let hours = ran.report["audio_hours"].as_f64().unwrap();
    assert!((hours - completed as f64 * 4.0 / 3600.0).abs() < 1e-9, "{}", ran.shown);
    let memory = &ran.report["calls_memory"];
    assert!(
        memory["first_mib"].as_f64().unwrap() > 1.0 && memory["mib_per_hour"].is_number(),
        "{}",
        ran.shown
    );
    assert!(ran.shown.contains("MiB an hour"), "{}", ran.shown);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_soak_tells_what_broke() {
    let ran = soak_of(Fault::Breaks, &["--hours", "0.005"]).await;
    assert_eq!(ran.code, Some(1), "{}", ran.shown);
    assert!(
        ran.shown.contains("calls failed") && ran.shown.contains("closed with 1011"),
        "{}",
        ran.shown
    );
    let ran = soak_of(Fault::Loses, &["--hours", "0.005"]).await;
    assert!(ran.shown.contains("words are not as in the reference run"), "{}", ran.shown);
    // No memory shrinks by a million MiB an hour.
    let ran = soak_of(Fault::None, &["--hours", "0.01", "--most-mib-per-hour=-1000000"]).await;
    assert_eq!(ran.code, Some(1), "{}", ran.shown);
    assert!(ran.shown.contains("BROKEN    the memory grows by"), "{}", ran.shown);
    let ran = soak_of(Fault::None, &["--pid", "4294967295"]).await;
    assert_eq!(ran.code, Some(2), "{}", ran.shown);
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

const COSTS: &str = "name = \"test\"\nsource = \"assumed for a test\"\nmax_batch = 64\nslots = 40\n[[context]]\nchunk_ms = 320\n\
    seconds = [0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096]\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_simulation_tells_its_source_and_its_answer() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (costs, json, html) = (path("costs.toml"), path("out.json"), path("out.html"));
    std::fs::write(&costs, COSTS).unwrap();
    let simulate = async |more: &[&str]| {
        let arguments = [&["simulate", "--cost", costs.as_str(), "--ramp", "2", "--seconds", "5"], more].concat();
        let output = tool(&arguments).await;
        let shown = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        (output.status.code(), shown)
    };
    let (code, shown) = simulate(&["--gpus", "2", "--streams", "50", "--json", &json, "--html", &html]).await;
    assert_eq!(code, Some(0), "{shown}");
    assert!(
        shown.contains("assumed for a test") && shown.contains("nothing here was measured"),
        "{shown}"
    );
    let report: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let outcome = &report["answer"]["load"]["outcome"];
    assert_eq!((number(&outcome["streams"]), number(&outcome["in_service"])), (50, 50));
    assert!(std::fs::read_to_string(&html).unwrap().contains("<svg"));

    let (code, shown) = simulate(&["--gpus", "1", "--streams", "50"]).await;
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("10 because no slot is free"), "{shown}");
    let (code, shown) = simulate(&["--streams", "100", "--html", &html]).await;
    assert!(code == Some(0) && shown.contains("3 devices hold 100 streams"), "{shown}");
    let (code, shown) = simulate(&["--gpus", "1,2", "--html", &html]).await;
    assert!(
        code == Some(0) && shown.contains("all 40 slots of every device are taken"),
        "{shown}"
    );

    for (wrong, wanted) in [
        (vec![], "neither --gpus nor --streams"),
        (vec!["--gpus", "0", "--streams", "1"], "--gpus is not"),
        (vec!["--gpus", "1", "--streams", "1", "--mix", "80"], "not of 80 ms"),
        (vec!["--compare", "run.json"], "cannot be used with"),
    ] {
        let (code, shown) = simulate(&wrong).await;
        assert!(code == Some(2) && shown.contains(wanted), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_simulation_is_held_against_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (costs, run) = (path("costs.toml"), path("run.json"));
    std::fs::write(&costs, COSTS).unwrap();
    for (server, code, wanted) in [
        // A call alone takes 1 ms a chunk: 99 of 100 in the first bucket, which ends at 5 ms.
        (
            r#"{"hark_response_seconds":{"count":9,"p99":0.00495,"bounds":[0.005,0.01]},"hark_step_chunks":{"count":20,"mean":3}}"#,
            0,
            "ratio         1.00, within 25 %",
        ),
        (
            r#"{"hark_response_seconds":{"count":9,"p99":0.04,"bounds":[0.005,0.1]},"hark_step_chunks":{"count":20,"mean":3}}"#,
            1,
            "NOT within",
        ),
        ("{}", 2, "no hark_response_seconds"),
    ] {
        let scenario = r#"{"audio":{"speed":1.0,"talk_over":false},"groups":[],"uploads":null}"#;
        let delays = r#"{"own_lateness":{"p50_ms":1.0,"p99_ms":2.0}}"#;
        let raw = r#"[{"audio_start_s":0.5,"ended_s":9.5},{"audio_start_s":0.6,"ended_s":9.5}]"#;
        std::fs::write(
            &run,
            format!(r#"{{"server":{{"spreads":{server}}},"delays":{delays},"scenario":{scenario},"most_at_once":2,"raw":{raw},"raw_left_out":0}}"#),
        )
        .unwrap();
        let output = tool(&["simulate", "--cost", &costs, "--compare", &run]).await;
        let shown = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(code) && shown.contains(wanted), "{shown}");
    }
}

/// Answers every request with `metrics`.
async fn metrics_server(metrics: String) -> std::net::SocketAddr {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            // The whole request comes at once: it is short and has no body.
            assert!(socket.read(&mut [0; 4096]).await.unwrap() > 0);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", metrics.len());
            socket.write_all((head + &metrics).as_bytes()).await.unwrap();
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_costs_of_a_server_are_saved_and_used() {
    let mut metrics = String::from("# TYPE hark_step_cost_seconds gauge\n");
    for power in 0..13 {
        let chunks = 1 << power;
        let seconds = f64::from(chunks) / 1e3;
        metrics += &format!("hark_step_cost_seconds{{device=\"0\",chunk_ms=\"320\",chunks=\"{chunks}\"}} {seconds}\n");
    }
    let folder = tempfile::tempdir().unwrap();
    let saved = folder.path().join("saved.toml");
    let saved = saved.to_str().unwrap();
    let url = format!("http://{}", metrics_server(metrics).await);
    let output = tool(&[
        "simulate",
        "--from-server",
        &url,
        "--save-cost",
        saved,
        "--source",
        "measured by a test",
    ])
    .await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let output = tool(&["simulate", "--cost", saved, "--gpus", "1", "--streams", "3", "--seconds", "2"]).await;
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.code() == Some(0) && shown.contains("measured by a test"), "{shown}");
    let url = format!("http://{}", metrics_server(String::new()).await);
    let output = tool(&["simulate", "--from-server", &url, "--save-cost", saved]).await;
    let shown = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.code() == Some(2) && shown.contains("no hark_step_cost_seconds"),
        "{shown}"
    );
}
