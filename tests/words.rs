//! The bundled model: the same words streamed and at once, alone and among others, however the bytes come.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::as_conversions,
    reason = "a test"
)]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use futures_util::{SinkExt, StreamExt};
use hark::audio::{AudioSpec, Intake};
use hark::engine::batch::{Decoded, Token};
use hark::model::decode::{DecodeInput, Decoder, Strategy};
use hark::model::network::{Network, Scratch, StepInput};
use hark::model::store::{self, Model};
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn samples(name: &str) -> Vec<f32> {
    let spec = AudioSpec {
        encoding: None,
        rate: None,
        channels: 1,
        multichannel: false,
        whole: true,
    };
    let mut intake = Intake::new(spec).unwrap();
    intake.push(std::fs::read(root().join("samples").join(name)).unwrap().into());
    let mut lanes = Vec::new();
    intake.pull(usize::MAX, &mut lanes).unwrap();
    intake.close();
    while intake.pull(usize::MAX, &mut lanes).unwrap() > 0 {}
    lanes.remove(0)
}

fn at_once(network: &Network, decoder: &Decoder, audio: &[f32], context: [i32; 2]) -> Vec<Token> {
    let rows = network.offline(audio, context, None).unwrap();
    let (mut state, mut decoded) = (decoder.new_state(), Decoded::default());
    decoder.advance(&mut [DecodeInput {
        state: &mut state,
        rows: &rows,
        commit: true,
        end: true,
        terms: None,
        decoded: &mut decoded,
    }]);
    decoded.fixed
}

fn streamed(network: &Network, decoder: &Decoder, audio: &[f32], context: [i32; 2]) -> Vec<Token> {
    let index = network.context_index(context[0], context[1]).unwrap();
    let right = usize::try_from(context[1]).unwrap();
    let (mut stream, mut state, mut scratch) = (network.new_state(), decoder.new_state(), Scratch::default());
    let (mut tokens, mut at) = (Vec::new(), 0);
    while at <= audio.len() {
        let length = if at == 0 { 1280 * right + 200 } else { 1280 * (right + 1) };
        let end = at + length > audio.len();
        let chunk = &audio[at..audio.len().min(at + length)];
        let mut input = [StepInput {
            state: &mut stream,
            samples: chunk,
            start: at == 0,
            end,
        }];
        let encoded = network.step(index, &mut input, &mut scratch).unwrap();
        let mut decoded = Decoded::default();
        decoder.advance(&mut [DecodeInput {
            state: &mut state,
            rows: encoded.rows,
            commit: end,
            end,
            terms: None,
            decoded: &mut decoded,
        }]);
        tokens.extend(decoded.fixed);
        at += length;
    }
    tokens
}

fn model() -> Model {
    store::load(&root().join("models/hark-starter-en")).unwrap()
}

#[test]
fn streamed_words_equal_those_of_the_whole_at_every_context() {
    let model = model();
    let network = Network::new(&model.manifest.arch, &model.weights).unwrap();
    let pieces: Vec<String> = model.tokenizer.pieces().map(str::to_owned).collect();
    let decoder = Decoder::new(&model.manifest.arch, &model.weights, &pieces, Strategy::Ctc).unwrap();
    for name in ["call.wav", "call-2.wav", "call-3.wav"] {
        let audio = samples(name);
        for &context in &model.manifest.arch.encoder.contexts {
            let place = |token: &Token| (token.id, token.start, token.end);
            let whole: Vec<_> = at_once(&network, &decoder, &audio, context).iter().map(place).collect();
            let stream: Vec<_> = streamed(&network, &decoder, &audio, context).iter().map(place).collect();
            assert!(whole.len() > 10, "{name} {context:?}: hardly anything was heard");
            assert_eq!(whole, stream, "{name} {context:?}");
        }
    }
}

/// The real program with the bundled model.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start() -> Self {
        Self::start_with(&[])
    }

    /// With these environment variables besides.
    fn start_with(variables: &[(&str, &str)]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_hark"))
            .args(["serve", "--listen", "127.0.0.1:0", "--model", "hark-starter-en"])
            .env("HARK_ENGINE__MAX_BATCH", "8") // warming up larger batches takes long in a debug build
            .env("HARK_ENGINE__BUDGET", "60s")
            .env("HARK_STREAM__IDLE_TIMEOUT", "2min")
            .envs(variables.iter().copied())
            .current_dir(root())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line
            .trim()
            .strip_prefix("listening on http://")
            .expect("the line that says where")
            .to_owned();
        Self { process, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Final words with their times and confidences, for a WAV sent in messages of the given sizes, over and over.
async fn listen(address: &str, wav: &[u8], sizes: &[usize]) -> Vec<Value> {
    let (socket, _) = tokio_tungstenite::connect_async(format!("ws://{address}/v1/listen?interim_results=true"))
        .await
        .unwrap();
    let (mut out, mut messages) = socket.split();
    let wav = wav.to_vec();
    let sizes = sizes.to_vec();
    let sending = tokio::spawn(async move {
        let mut rest = wav.as_slice();
        for size in sizes.iter().cycle() {
            let (piece, others) = rest.split_at(rest.len().min(*size));
            if piece.is_empty() {
                break;
            }
            out.send(Message::binary(piece.to_vec())).await.unwrap();
            rest = others;
        }
        out.send(Message::text(r#"{"type":"CloseStream"}"#)).await.unwrap();
        out
    });
    let mut words = Vec::new();
    while let Some(message) = messages.next().await {
        let Ok(Message::Text(text)) = message else { break };
        let message: Value = serde_json::from_str(&text).unwrap();
        if message["type"] == "Results" && message["is_final"] == true {
            words.extend(message["channel"]["alternatives"][0]["words"].as_array().unwrap().clone());
        }
    }
    drop(sending.await.unwrap());
    words
}

#[tokio::test]
async fn words_and_times_are_the_same_for_any_split_and_for_32_streams_at_once() {
    let server = Server::start();
    let calls: Vec<Vec<u8>> = ["call-2.wav", "call-3.wav"]
        .iter()
        .map(|name| std::fs::read(root().join("samples").join(name)).unwrap())
        .collect();
    let mut alone = Vec::new();
    for call in &calls {
        alone.push(listen(&server.address, call, &[160]).await);
    }
    assert!(alone.iter().all(|words| words.len() > 5), "hardly anything was heard: {alone:?}");
    assert_ne!(alone[0], alone[1]);
    assert_eq!(alone[0], listen(&server.address, &calls[0], &[usize::MAX]).await, "in one message");
    assert_eq!(
        alone[0],
        listen(&server.address, &calls[0], &[1, 333, 7, 4001]).await,
        "in odd pieces"
    );
    let many = (0..32).map(|n| {
        let (address, call) = (server.address.clone(), calls[n % 2].clone());
        tokio::spawn(async move { listen(&address, &call, &[160 + 37 * n]).await })
    });
    for (n, words) in futures_util::future::join_all(many).await.into_iter().enumerate() {
        assert_eq!(words.unwrap(), alone[n % 2], "stream {n} of 32");
    }
}

/// Final words of linear16 at 16 kHz; `None` if no place was free. With `leaves` the connection breaks in the middle, and there are none.
async fn words_of(address: &str, pcm: &[u8], leaves: bool) -> Option<Vec<String>> {
    let url = format!("ws://{address}/v1/listen?encoding=linear16&sample_rate=16000");
    let mut socket = match tokio_tungstenite::connect_async(url).await {
        Ok((socket, _)) => socket,
        Err(tokio_tungstenite::tungstenite::Error::Http(refusal)) if refusal.status().as_u16() == 503 => return None,
        Err(other) => panic!("{other}"),
    };
    let sent = if leaves { &pcm[..pcm.len() / 3] } else { pcm };
    for piece in sent.chunks(3_200) {
        socket.send(Message::binary(piece.to_vec())).await.unwrap();
    }
    if leaves {
        return Some(Vec::new());
    }
    socket.send(Message::text(r#"{"type":"CloseStream"}"#)).await.unwrap();
    let mut words = Vec::new();
    while let Some(Ok(Message::Text(text))) = socket.next().await {
        let message: Value = serde_json::from_str(&text).unwrap();
        if message["type"] == "Results" && message["is_final"] == true {
            let said = message["channel"]["alternatives"][0]["words"].as_array().unwrap();
            words.extend(said.iter().map(ToString::to_string));
        }
    }
    Some(words)
}

#[tokio::test]
async fn slots_that_pass_from_call_to_call_never_pass_on_a_word() {
    const LINES: usize = 4;
    const ROUNDS: usize = 12;
    let server = Server::start_with(&[("HARK_ENGINE__SLOTS", "4"), ("HARK_ENGINE__GROUPS", "2")]);
    // Parts of the sample calls, four seconds each, which all sound different.
    let mut texts: Vec<Vec<u8>> = Vec::new();
    for name in ["call.wav", "call-2.wav", "call-3.wav"] {
        let audio = samples(name);
        let parts = (0..).map(|n| n * 24_000).take_while(|at| at + 64_000 <= audio.len()).take(6);
        texts.extend(parts.map(|at| {
            let part = audio[at..at + 64_000].iter();
            part.flat_map(|sample| ((sample * 32_767.0).round() as i16).to_le_bytes()).collect()
        }));
    }
    let mut alone = Vec::new();
    for text in &texts {
        alone.push(words_of(&server.address, text, false).await.unwrap());
    }
    for (n, words) in alone.iter().enumerate() {
        assert!(words.len() >= 2, "hardly anything was heard in part {n}: {words:?}");
        assert!(!alone[..n].contains(words), "part {n} sounds like another one");
    }
    let (texts, alone, address) = (&texts, &alone, &server.address);
    let line = |line: usize| async move {
        let mut refused = 0;
        for round in 0..ROUNDS {
            let n = (line * ROUNDS + round) * 7 % texts.len();
            // Of three calls one breaks off in its middle, and the next one follows at once.
            let leaves = (line + round).is_multiple_of(3);
            let words = loop {
                match words_of(address, &texts[n], leaves).await {
                    Some(words) => break words,
                    None => refused += 1,
                }
                assert!(refused < 2_000, "a slot was lost");
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            };
            if !leaves {
                assert_eq!(words, alone[n], "part {n}, line {line}, round {round}");
            }
        }
    };
    futures_util::future::join_all((0..LINES).map(line)).await;
    rustls::crypto::ring::default_provider().install_default().ok();
    let page = reqwest::get(format!("http://{address}/metrics"))
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    for device in ["0", "1"] {
        let steps = format!("hark_step_seconds_count{{device=\"{device}\"}} ");
        let steps = page
            .lines()
            .find_map(|line| line.strip_prefix(&steps))
            .expect("the steps of a group");
        assert!(steps.parse::<f64>().unwrap() > 100.0, "group {device} had {steps} steps");
    }
}

/// 16-bit samples at 16 kHz, each from its time in seconds.
fn pcm(seconds: u32, sample: impl FnMut(f64) -> f64) -> Vec<u8> {
    let times = (0..seconds * 16_000).map(|n| f64::from(n) / 16_000.0);
    times
        .map(sample)
        .flat_map(|sample| ((sample * 32_767.0).round() as i16).to_le_bytes())
        .collect()
}

#[tokio::test]
async fn check_18_nothing_is_heard_in_silence_noise_or_a_dial_tone() {
    let server = Server::start();
    rustls::crypto::ring::default_provider().install_default().ok();
    let mut state = 1_u32;
    let mut noise = |peak: f64| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (f64::from(state >> 8) / 8_388_608.0 - 1.0) * peak
    };
    let tone = |hertz: f64, at: f64| 0.1 * (std::f64::consts::TAU * hertz * at).sin();
    for (what, audio) in [
        ("silence", pcm(6, |_| 0.0)),
        // A quiet line: 60 dB below full scale.
        ("noise", pcm(6, |_| noise(0.001))),
        // The North American and the European one.
        ("a dial tone of two", pcm(6, |at| tone(350.0, at) + tone(440.0, at))),
        ("a dial tone of one", pcm(6, |at| tone(425.0, at))),
    ] {
        let heard = words_of(&server.address, &audio, false).await.unwrap();
        assert!(heard.is_empty(), "live, in {what}: {heard:?}");
        let url = format!(
            "http://{}/v1/listen?encoding=linear16&sample_rate=16000&utterances=true",
            server.address
        );
        let answer = reqwest::Client::new().post(url).body(audio).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{what}");
        let answer: Value = answer.json().await.unwrap();
        let empty = serde_json::json!({
            "channels": [{"alternatives": [{"transcript": "", "confidence": 0.0, "words": []}]}],
            "utterances": [],
        });
        assert_eq!(answer["results"], empty, "{what}");
    }
}

/// The program, with a short warm-up.
fn hark() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hark"));
    command.env("HARK_ENGINE__MAX_BATCH", "2").current_dir(root());
    command
}

#[test]
fn the_sample_call_is_understood_well_enough_to_read() {
    let wanted = std::fs::read_to_string(root().join("samples/call.txt")).unwrap();
    let output = hark().args(["transcribe", "samples/call.wav"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let heard = String::from_utf8(output.stdout).unwrap();
    let wanted: Vec<&str> = wanted.split_whitespace().collect();
    let known = heard.split_whitespace().filter(|word| wanted.contains(word)).count();
    assert!(known * 2 > wanted.len(), "heard {heard}");
}

#[test]
fn a_missing_file_fails_and_the_others_are_transcribed() {
    let arguments = [
        "transcribe",
        "samples/call-3.wav",
        "samples/no-such-file.wav",
        "--format",
        "json",
        "--live",
    ];
    let output = hark().args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no-such-file.wav"));
    let lines: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["file"], "samples/call-3.wav");
    assert!(lines[0]["words"].as_array().unwrap().len() > 5);
}

#[test]
fn a_rare_name_is_heard_if_it_is_a_term_and_only_where_it_is_said() {
    let names = ["Castellano", "Radcliffe", "Rasmussen", "Zimmerman"];
    let terms = || names.iter().flat_map(|name| ["--keyterm", name]);
    let heard = |arguments: &[&str], file: &str| {
        let output = hark().arg("transcribe").args(arguments).arg(file).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_lowercase()
    };
    let (name, other) = ("tests/fixtures/audio/rare-name-mulaw8k.wav", "samples/call.wav");
    for live in [&[][..], &["--live"]] {
        let with: Vec<&str> = live.iter().copied().chain(terms()).collect();
        assert!(!heard(live, name).contains("castellano"), "without, the clip would show nothing");
        assert_eq!(heard(&with, name), "the account is under the name castellano");
        assert_eq!(heard(&with, other), heard(live, other), "nobody says a name here");
    }
}
