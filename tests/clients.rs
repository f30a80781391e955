//! Real clients against the server: a live stream and a file each, with the last version of every interface that they have had.
//!
//! They are installed once, into `target/clients`, from the package indexes. Where that is impossible the test says
//! `skipped: REASON` on standard error and in `target/skipped.txt`.

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
use uuid::Uuid;

/// A client, and how it does the two jobs.
struct Client {
    /// Name and version; its folder under `target/clients`.
    name: &'static str,
    kind: Kind,
    /// What does the jobs, in `tests/clients`.
    script: &'static str,
    /// What the client does not show to its user: beginnings of JSON pointers into the outcome, where that is null or absent.
    hides: &'static [&'static str],
    /// The words of a file are shown as they stand in the transcript.
    written_words: bool,
}

/// How a client is installed.
enum Kind {
    /// Packages with what they need, and before them others without.
    Python {
        packages: &'static [&'static str],
        alone: &'static [&'static str],
    },
    /// A version of `@deepgram/sdk`.
    Node(&'static str),
    /// The script is a package, which names the version.
    Rust,
}

const CLIENTS: &[Client] = &[
    python("python-3.11.0", &["deepgram-sdk==3.11.0"], "classic.py"),
    python("python-4.8.1", &["deepgram-sdk==4.8.1"], "classic.py"),
    python("python-5.3.4", &["deepgram-sdk==5.3.4"], "modern.py"),
    python("python-6.1.1", &["deepgram-sdk==6.1.1"], "modern.py"),
    python("python-7.17.0", &["deepgram-sdk==7.17.0"], "modern.py"),
    showing_all("js-3.13.0", Kind::Node("3.13.0"), "classic.cjs"),
    showing_all("js-4.11.3", Kind::Node("4.11.3"), "classic.cjs"),
    showing_all("js-5.13.0", Kind::Node("5.13.0"), "modern.cjs"),
    showing_all("rust-0.14.0", Kind::Rust, "rust"),
    // Whole: the framework loads all that it names, `av` and `livekit-local-inference` alone 71 MB.
    Client {
        hides: &["/live/finalized", "/live/duration", "/file/duration", "/file/utterances"],
        written_words: true,
        ..python(
            "livekit-1.8.9",
            &["livekit-agents==1.8.9", "livekit-plugins-deepgram==1.8.9"],
            "livekit_plugin.py",
        )
    },
    // Alone, with what its Deepgram service loads: not numba, onnxruntime and others that it names. It has no service that sends files
    // to Deepgram, hangs up as soon as it has asked for the end, and takes no notice of Metadata.
    Client {
        name: "pipecat-1.14.0",
        kind: Kind::Python {
            packages: &[
                "deepgram-sdk==7.17.0",
                "aiofiles<27",
                "aiohttp<4",
                "audioop-lts~=0.2.1; python_version >= '3.13'",
                "docstring_parser<1",
                "loguru~=0.7.3",
                "loudness<1",
                "numpy<3",
                "Pillow<14",
                "pydantic<3",
                "sentencex==1.0.32",
                "soxr~=1.0.0",
                "typing_extensions",
                "wait_for2<1; python_version < '3.12'",
                "websockets>=13.1",
            ],
            alone: &["pipecat-ai==1.14.0"],
        },
        script: "pipecat_pipeline.py",
        hides: &["/live/closed", "/live/duration", "/file"],
        written_words: false,
    },
];

/// They take minutes to install or build: only where that is asked for by `HARK_CLIENTS=all`, or was done before.
const LARGE: [&str; 2] = ["livekit-1.8.9", "rust-0.14.0"];

/// A client that shows everything, words without punctuation.
const fn showing_all(name: &'static str, kind: Kind, script: &'static str) -> Client {
    Client {
        name,
        kind,
        script,
        hides: &[],
        written_words: false,
    }
}

const fn python(name: &'static str, packages: &'static [&'static str], script: &'static str) -> Client {
    showing_all(name, Kind::Python { packages, alone: &[] }, script)
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The build folder, also where it is not the usual one.
fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().to_owned()
}

/// The command that runs a client's script, the client installed the first time; or why there is none.
fn command(client: &Client) -> Result<Command, String> {
    let clients = target().join("clients");
    fs::create_dir_all(&clients).unwrap();
    // Tests of several processes must not install the same client at once.
    let lock = File::create(clients.join(format!("{}.lock", client.name))).unwrap();
    lock.lock().unwrap();
    let folder = clients.join(client.name);
    if LARGE.contains(&client.name) && !folder.exists() && std::env::var("HARK_CLIENTS").as_deref() != Ok("all") {
        return Err(format!("{} takes minutes to install, HARK_CLIENTS=all does it", client.name));
    }
    let script = root().join("tests/clients").join(client.script);
    match client.kind {
        Kind::Python { packages, alone } => {
            let mut command = Command::new(interpreter(&folder, packages, alone)?);
            // Without files beside the scripts.
            command.arg("-B").arg(script);
            Ok(command)
        }
        Kind::Node(version) => {
            install_package(&folder, version)?;
            let mut command = Command::new("node");
            command.arg(script).current_dir(folder);
            Ok(command)
        }
        Kind::Rust => Ok(Command::new(built(&folder, &script)?)),
    }
}

/// The interpreter of an environment with those packages.
fn interpreter(folder: &Path, packages: &[&str], alone: &[&str]) -> Result<PathBuf, String> {
    let (python, complete) = (folder.join("bin/python"), folder.join("complete"));
    let recipe = [alone, packages].concat().join("\n");
    if fs::read_to_string(&complete).is_ok_and(|installed| installed == recipe) {
        return Ok(python);
    }
    run("python3 is missing", Command::new("python3").arg("--version"))?;
    run(
        "python3 has no venv",
        Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder),
    )?;
    let steps: [(&[&str], &[&str]); 2] = [(&["--no-deps"], alone), (&[], packages)];
    for (options, packages) in steps {
        let Some(first) = packages.first() else { continue };
        let mut install = Command::new(&python);
        install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        install.args(["--retries", "1", "--timeout", "20"]).args(options).args(packages);
        run(&format!("{first} cannot be installed"), &mut install)?;
    }
    fs::write(complete, recipe).unwrap();
    Ok(python)
}

/// Puts a version of the package into a folder.
fn install_package(folder: &Path, version: &str) -> Result<(), String> {
    let node = run("node is missing", Command::new("node").arg("--version"))?;
    let node = String::from_utf8_lossy(&node.stdout).trim().to_owned();
    let major: Option<u32> = node.trim_start_matches('v').split('.').next().and_then(|major| major.parse().ok());
    if major.is_none_or(|major| major < 18) {
        return Err(format!("node 18 is wanted, this is {node}"));
    }
    let complete = folder.join("complete");
    if complete.exists() {
        return Ok(());
    }
    if folder.exists() {
        fs::remove_dir_all(folder).unwrap();
    }
    fs::create_dir(folder).unwrap();
    let manifest = json!({"private": true, "dependencies": {"@deepgram/sdk": version}});
    fs::write(folder.join("package.json"), manifest.to_string()).unwrap();
    let mut install = Command::new("npm");
    install.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]);
    install.args(["--fetch-retries=1", "--fetch-timeout=20000"]).current_dir(folder);
    run(&format!("@deepgram/sdk {version} cannot be installed"), &mut install)?;
    fs::write(complete, "").unwrap();
    Ok(())
}

/// The program of a package, built into a folder.
fn built(folder: &Path, package: &Path) -> Result<PathBuf, String> {
    let cargo = || {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        command.env("CARGO_NET_RETRY", "1").env("CARGO_HTTP_TIMEOUT", "20");
        command.env_remove("CARGO_BUILD_TARGET").current_dir(package);
        command
    };
    let output = cargo().args(["build", "--quiet", "--target-dir"]).arg(folder).output().unwrap();
    if !output.status.success() {
        // Only what cannot be fetched is a reason to skip.
        run("the Rust client cannot be fetched", cargo().args(["fetch", "--quiet"]))?;
        panic!("{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(folder.join("debug/rust-client"))
}

/// Runs a command; what is wrong, if it fails, with the last line that says so.
fn run(trouble: &str, command: &mut Command) -> Result<Output, String> {
    let output = command.output().map_err(|error| format!("{trouble}: {error}"))?;
    if output.status.success() {
        return Ok(output);
    }
    let text = String::from_utf8_lossy(&output.stderr);
    // npm ends with where its log is.
    let mut lines = text
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.contains("log of this run"));
    Err(format!("{trouble}: {}", lines.next_back().unwrap_or_default()))
}

/// Sound from frame 6 to frame 30: words at 8, 12, 16, 20, 24, 28.
fn tape() -> Tape {
    Tape::new(16_000).silence(0.48).speech(1.92).silence(0.48)
}

/// What a client made of its jobs, which must be right; none if it cannot be run here.
fn jobs(name: &str) -> Option<Value> {
    let client = CLIENTS.iter().find(|client| client.name == name).unwrap();
    let mut command = match command(client) {
        Ok(command) => command,
        Err(reason) => {
            skipped(&reason);
            return None;
        }
    };
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let wav = folder.path().join("tape.wav");
    fs::write(&wav, tape().wav(Wav::default())).unwrap();
    let output = command.arg(server.url("")).arg(&wav).arg("50").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}\n{errors}");
    let outcome: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    println!("{outcome}\n{errors}");
    assert_done(client, &outcome);
    Some(outcome)
}

/// What is true of every client.
fn assert_done(client: &Client, outcome: &Value) {
    let hidden = |pointer: &str| client.hides.iter().any(|hidden| pointer.starts_with(hidden));
    let shown = |pointer: &str| outcome.pointer(pointer).unwrap_or(&Value::Null).clone();
    let assert_shown = |pointer: &str, expected: Value| {
        let expected = if hidden(pointer) { Value::Null } else { expected };
        assert_eq!(shown(pointer), expected, "{pointer}");
    };
    // Every third word ends a sentence in the toy vocabulary.
    let transcript = "Word3. word4 word5 Word6. word7 word8";
    let words: Vec<String> = match client.written_words {
        true => transcript.split(' ').map(str::to_owned).collect(),
        false => [8, 12, 16, 20, 24, 28].map(word_at).to_vec(),
    };

    let finals = shown("/live/finals");
    let finals = finals.as_array().unwrap().iter().map(|text| text.as_str().unwrap());
    let finals: Vec<&str> = finals.flat_map(str::split_whitespace).collect();
    assert_eq!(finals.join(" "), transcript);
    assert!(shown("/live/interims").as_u64().unwrap() >= 1, "no interim results");
    for pointer in ["/live/finalized", "/live/ended", "/live/closed"] {
        assert_shown(pointer, json!(true));
    }
    assert_shown("/live/errors", json!([]));
    assert_shown("/live/other", json!([]));
    let duration = shown("/live/duration");
    match hidden("/live/duration") {
        true => assert_eq!(duration, Value::Null),
        false => assert!((duration.as_f64().unwrap() - tape().seconds()).abs() < 0.05, "{duration}"),
    }
    let ids = shown("/live/request_ids");
    assert_eq!(ids.as_array().unwrap().len(), 1, "not the same id everywhere: {ids}");
    assert!(ids[0].as_str().unwrap().parse::<Uuid>().is_ok(), "{ids}");

    assert_shown("/file/transcript", json!(transcript));
    assert_shown("/file/words", json!(words));
    assert_shown("/file/duration", json!(tape().seconds()));
    assert_shown("/file/utterances", json!(1));
    let id = shown("/file/request_id");
    assert_eq!(
        id.as_str().is_some_and(|id| id.parse::<Uuid>().is_ok()),
        !hidden("/file/request_id"),
        "{id}"
    );
}

/// The old clients in Python show the text of the error, and of a refused handshake only that there is no connection.
fn assert_classic_python(name: &str) {
    let Some(outcome) = jobs(name) else {
        return;
    };
    assert!(
        outcome["refusals"]["file"].as_str().unwrap().contains("failed to process audio"),
        "{outcome}"
    );
    assert_eq!(outcome["refusals"]["live"], false);
}

/// The old clients in JavaScript look for the text of an error under other names and show the whole body; a refused handshake is an
/// error of the socket.
fn assert_classic_js(name: &str) {
    let Some(outcome) = jobs(name) else {
        return;
    };
    let [status, text] = [0_usize, 1].map(|n| outcome["refusals"]["file"][n].clone());
    assert_eq!(status, 400, "{outcome}");
    assert!(text.as_str().unwrap().contains("failed to process audio"), "{outcome}");
    assert_eq!(outcome["refusals"]["live"], "refused");
}

/// The new ones have a class of errors with status and code.
fn assert_modern(name: &str) {
    let Some(outcome) = jobs(name) else {
        return;
    };
    assert_eq!(outcome["refusals"], json!({"file": [400, "Bad Request"], "live": 400}));
}

#[test]
fn check_21_the_python_client_of_version_3_does_a_live_and_a_file_job() {
    assert_classic_python("python-3.11.0");
}

#[test]
fn check_21_the_python_client_of_version_4_does_a_live_and_a_file_job() {
    assert_classic_python("python-4.8.1");
}

#[test]
fn check_21_the_python_client_of_version_5_does_a_live_and_a_file_job() {
    assert_modern("python-5.3.4");
}

#[test]
fn check_21_the_python_client_of_version_6_does_a_live_and_a_file_job() {
    assert_modern("python-6.1.1");
}

#[test]
fn check_21_the_python_client_of_version_7_does_a_live_and_a_file_job() {
    assert_modern("python-7.17.0");
}

#[test]
fn check_21_the_javascript_client_of_version_3_does_a_live_and_a_file_job() {
    assert_classic_js("js-3.13.0");
}

#[test]
fn check_21_the_javascript_client_of_version_4_does_a_live_and_a_file_job() {
    assert_classic_js("js-4.11.3");
}

#[test]
fn check_21_the_javascript_client_of_version_5_does_a_live_and_a_file_job() {
    assert_modern("js-5.13.0");
}

#[test]
fn check_21_the_rust_client_does_a_live_and_a_file_job() {
    let Some(outcome) = jobs("rust-0.14.0") else {
        return;
    };
    assert!(
        outcome["refusals"]["file"].as_str().unwrap().contains("failed to process audio"),
        "{outcome}"
    );
    assert!(outcome["refusals"]["live"].as_str().unwrap().contains("400"), "{outcome}");
}

#[test]
fn check_21_livekit_does_a_live_and_a_file_job() {
    let Some(outcome) = jobs("livekit-1.8.9") else {
        return;
    };
    assert!(outcome["live"]["turns"].as_u64().unwrap() >= 1, "no turn ended: {outcome}");
    assert_eq!(outcome["refusals"], json!({"live": 400}));
}

#[test]
fn check_21_pipecat_does_a_live_job() {
    jobs("pipecat-1.14.0");
}
