//! Damaged and lying files.

use std::iter::{once, repeat_n};

use reqwest::Body;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Answer, chunked, post, post_as, tape, wav};
use crate::common::audio::{Tape, Wav, random};
use crate::common::client::number;
use crate::common::{Server, Setup, busy, fixture};

/// What becomes of each damaged file: the status, and for those that can be decoded the seconds that are there.
const BROKEN: [(&str, Option<f64>); 26] = [
    ("endless-tiny-chunks.wav", None),
    ("header-only-claims-data.wav", Some(0.0)),
    ("header-only.wav", Some(0.0)),
    ("huge-declared-length.wav", Some(1.0)),
    ("huge-fmt-chunk.wav", None),
    ("huge-rate.wav", None),
    ("json-named.wav", None),
    ("lying-channels-2.wav", Some(1.495)),
    ("lying-rate-44100.wav", Some(1.085)),
    ("lying-rate-8000.wav", Some(5.98)),
    ("many-channels.wav", None),
    ("mp3-named.wav", Some(2.99)),
    ("no-fmt.wav", None),
    ("odd-bits-13.wav", None),
    ("odd-length.wav", Some(2.99)),
    ("one-byte.wav", None),
    ("random-bytes.wav", Some(0.625)),
    ("text-named.wav", None),
    ("truncated-data.wav", Some(1.495)),
    ("truncated-header.wav", None),
    ("unknown-format-tag.wav", None),
    ("wav-named.mp3", Some(2.99)),
    ("zero-bits.wav", None),
    ("zero-bytes.wav", None),
    ("zero-channels.wav", None),
    ("zero-rate.wav", None),
];

#[tokio::test]
async fn damaged_files_are_refused_or_give_what_is_there() {
    let server = Server::start();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/audio/broken");
    assert_eq!(
        std::fs::read_dir(folder).unwrap().count(),
        BROKEN.len(),
        "a damaged file is not in the table"
    );
    for (name, seconds) in BROKEN {
        let bytes = fixture(&format!("broken/{name}"));
        for (how, answer) in [
            ("whole", post(&server, "", bytes.clone()).await),
            ("chunked", post(&server, "", chunked(bytes, 1_000)).await),
        ] {
            match seconds {
                None => answer.assert_corrupt(),
                Some(seconds) => {
                    assert_eq!(answer.status, 200, "{name} {how}: {answer:?}");
                    let duration = number(&answer.body["metadata"]["duration"]);
                    assert!((duration - seconds).abs() < 0.01, "{name} {how}: {duration} s");
                }
            }
        }
    }
    assert_eq!(server.get("/v1/status/engine").await, r#"{"engine_connection_status":"Connected"}"#);
    post(&server, "", wav()).await.alternative(0);
    server.idle_but(0).await;
}

#[tokio::test]
async fn a_file_cut_anywhere_is_refused_or_decoded() {
    let server = Server::start();
    let whole = tape(8_000).wav(Wav {
        list: true,
        extensible: true,
        ..Wav::default()
    });
    for length in (0..140).chain([whole.len() - 1, whole.len() - 1_001]) {
        let answer = post(&server, "", whole[..length].to_vec()).await;
        assert!(answer.status == 200 || answer.status == 400, "{length} bytes: {answer:?}");
        if answer.status == 400 {
            answer.assert_corrupt();
        }
    }
}

#[tokio::test]
async fn bytes_changed_at_random_never_break_the_server() {
    let server = Server::start();
    let whole = tape(8_000).wav(Wav {
        list: true,
        ..Wav::default()
    });
    let noise = random(600);
    for change in noise.chunks(3) {
        let mut bytes = whole.clone();
        bytes[usize::from(change[0]) % 90] = change[1];
        bytes[usize::from(change[2]) % 90] ^= change[0];
        let answer = post(&server, "", bytes).await;
        assert!(answer.status == 200 || answer.status == 400, "{change:?}: {answer:?}");
    }
    post(&server, "", wav()).await.alternative(0);
}

#[tokio::test]
async fn bytes_behind_the_end_of_a_container_are_read_and_not_kept() {
    let _busy = busy();
    let server = Setup::default().child();
    let clip = fixture("../formats/clip.aiff");
    let wanted = post(&server, "", clip.clone()).await;
    assert!(wanted.words(0).len() > 5);
    let before = server.resident().0;
    let parts = once(clip).chain(repeat_n(vec![0; 1 << 20], 64));
    let mut hash = Sha256::new();
    parts.clone().for_each(|part| hash.update(part));
    let body = Body::wrap_stream(futures_util::stream::iter(parts.map(Ok::<_, std::io::Error>)));
    let answer = post(&server, "", body).await;
    assert_eq!(answer.words(0), wanted.words(0));
    let told = |answer: &Answer, key: &str| answer.body["metadata"][key].clone();
    assert_eq!(told(&answer, "duration"), told(&wanted, "duration"));
    let sha256: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(told(&answer, "sha256"), sha256.as_str());
    let most = server.resident().1;
    assert!(
        most < before + (24 << 20),
        "memory went from {} to {} MiB",
        before >> 20,
        most >> 20
    );
    server.idle_but(0).await;
}

#[tokio::test]
async fn a_container_that_breaks_gives_what_it_holds_up_to_there() {
    let server = Server::start();
    let clip = fixture("../formats/live.webm");
    let broken = [&clip[..clip.len() * 3 / 4], &[0; 2_000]].concat();
    let answer = post(&server, "", chunked(broken, 1_000)).await;
    assert!(!answer.words(0).is_empty());
    let duration = number(&answer.body["metadata"]["duration"]);
    assert!((0.5..2.0).contains(&duration), "{duration} s");
}

#[tokio::test]
async fn bodies_that_are_no_audio_are_refused() {
    let server = Server::start();
    post(&server, "", "").await.assert_corrupt();
    post(&server, "", chunked(Vec::new(), 1)).await.assert_corrupt();
    post(&server, "", r#"{"url":"https://example.com/a.wav"}"#).await.assert_corrupt();
    post(&server, "", "<html><body>not found</body></html>").await.assert_corrupt();
    for body in ["", "{", "[]", "{}", r#"{"url":7}"#, r#"{"uri":"http://x/"}"#] {
        let answer = post_as(&server, "application/json", body).await;
        answer.assert_error(
            400,
            "Bad Request",
            "Content-type was application/json, but we could not process the JSON payload.",
        );
    }
    let long = format!(r#"{{"url":"http://x/","pad":"{}"}}"#, "x".repeat(100_000));
    assert_eq!(post_as(&server, "application/json", long).await.status, 400);
    // Headerless audio of no length is audio of no length.
    let answer = post(&server, "encoding=linear16&sample_rate=16000", "").await;
    assert!(
        answer.status == 400 || number(&answer.body["metadata"]["duration"]) == 0.0,
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_file_of_one_sample_is_a_file() {
    let server = Server::start();
    let mut tape = Tape::new(16_000);
    tape.samples.push(0.5);
    let answer: Answer = post(&server, "", tape.wav(Wav::default())).await;
    assert_eq!(answer.alternative(0)["words"].as_array().map(Vec::len), Some(1));
    let word: &Value = &answer.words(0)[0];
    assert!(
        number(&word["end"]) <= number(&answer.body["metadata"]["duration"]) + 0.0001,
        "{answer:?}"
    );
}
