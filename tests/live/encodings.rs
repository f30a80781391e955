//! Every encoding, rate and container that a stream may have.

use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use crate::common::audio::{SAMPLES, Sample, Tape, Wav, random};
use crate::common::client::{CLOSE_STREAM, Conversation, FINALIZE, KEEP_ALIVE, PATIENCE, assert_tiles, connect, number, transcribe};
use crate::common::{Server, Setup, fixture, word_at};

/// Sound from frame 6 to frame 22, and none at frames that could hold a word where it begins and ends.
fn tape(rate: u32) -> Tape {
    Tape::new(rate).silence(0.48).tone(1.28).silence(0.48)
}

fn expected() -> String {
    [8, 12, 16, 20].map(word_at).join(" ")
}

async fn send(server: &Server, query: &str, bytes: &[u8], chunk: usize) -> Conversation {
    let mut live = connect(server, query).await;
    for part in bytes.chunks(chunk) {
        live.audio(part).await;
    }
    live.close_stream().await
}

#[tokio::test]
async fn every_rate_gives_the_same_words() {
    let server = Server::start();
    for rate in [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000] {
        let tape = tape(rate);
        let conversation = transcribe(&server, &tape, "", 20).await;
        assert_eq!(conversation.text(), expected(), "{rate} Hz");
        assert_tiles(&conversation.finals(), tape.seconds());
        assert!((number(&conversation.metadata()["duration"]) - 2.24).abs() < 0.001, "{rate} Hz");
        for (word, frame) in conversation.words().iter().zip([8, 12, 16, 20]) {
            assert!(
                (number(&word["start"]) - f64::from(frame) * 0.08).abs() < 0.001,
                "{rate} Hz: {word}"
            );
        }
    }
}

#[tokio::test]
async fn every_encoding_gives_the_same_words() {
    let server = Server::start();
    for rate in [8_000, 16_000] {
        for encoding in ["linear16", "linear32", "mulaw", "alaw"] {
            let tape = tape(rate);
            let conversation = send(&server, &tape.query(encoding), &tape.encode(encoding), 161).await;
            assert_eq!(conversation.text(), expected(), "{encoding} at {rate} Hz");
            assert_tiles(&conversation.finals(), 2.24);
        }
    }
}

#[tokio::test]
async fn wav_files_are_recognised_on_the_socket() {
    let server = Server::start();
    for rate in [8_000, 16_000, 44_100] {
        for sample in SAMPLES {
            let flavours = [
                Wav { sample, ..Wav::default() },
                Wav {
                    sample,
                    extensible: true,
                    list: true,
                    ..Wav::default()
                },
            ];
            for flavour in flavours {
                let conversation = send(&server, "interim_results=false", &tape(rate).wav(flavour), 1_001).await;
                assert_eq!(conversation.text(), expected(), "{flavour:?} at {rate} Hz");
                assert_eq!(conversation.close(), (1000, ""));
            }
        }
    }
}

#[tokio::test]
async fn a_wav_of_unknown_length_goes_on_until_the_end() {
    let server = Server::start();
    let wav = tape(16_000).wav(Wav {
        open_ended: true,
        ..Wav::default()
    });
    assert_eq!(send(&server, "", &wav, 3_200).await.text(), expected());
}

#[tokio::test]
async fn a_wav_header_before_declared_raw_audio_is_skipped() {
    let server = Server::start();
    for (sample, encoding) in [(Sample::S16, "linear16"), (Sample::Mulaw, "mulaw"), (Sample::F32, "linear32")] {
        let wav = tape(8_000).wav(Wav {
            sample,
            list: true,
            ..Wav::default()
        });
        let conversation = send(&server, &format!("encoding={encoding}&sample_rate=8000"), &wav, 7).await;
        assert_eq!(conversation.text(), expected(), "{encoding}");
        assert_eq!(number(&conversation.metadata()["duration"]), 2.24, "{encoding}");
    }
}

#[tokio::test]
async fn a_stereo_wav_is_mixed_or_kept_apart() {
    let server = Server::start();
    let wav = Tape::interleave(&[tape(16_000), Tape::new(16_000).silence(2.24)]).wav(Wav::default());
    let mixed = send(&server, "", &wav, 3_200).await;
    assert_eq!(mixed.text(), expected());
    assert!(
        mixed
            .all("Results")
            .iter()
            .all(|result| result["channel_index"] == serde_json::json!([0, 1]))
    );
    assert_eq!(mixed.metadata()["channels"], 1);
    let apart = send(&server, "multichannel=true", &wav, 3_200).await;
    assert_eq!(apart.text(), expected());
    assert_tiles(&apart.finals_of(1), 2.24);
    assert_eq!(apart.metadata()["channels"], 2);
}

#[tokio::test]
async fn channels_without_multichannel_are_mixed() {
    let server = Server::start();
    let both = Tape::interleave(&[tape(16_000), Tape::new(16_000).silence(2.24)]);
    let conversation = transcribe(&server, &both, "", 20).await;
    assert_eq!(conversation.text(), expected());
    assert!(
        conversation
            .all("Results")
            .iter()
            .all(|result| result["channel_index"] == serde_json::json!([0, 1]))
    );
}

#[tokio::test]
async fn multichannel_without_channels_is_one_channel() {
    let server = Server::start();
    let tape = tape(16_000);
    let conversation = send(
        &server,
        "encoding=linear16&sample_rate=16000&multichannel=true",
        &tape.linear16(),
        640,
    )
    .await;
    assert_eq!(conversation.text(), expected());
    assert_eq!(conversation.metadata()["channels"], 1);
}

#[tokio::test]
async fn twenty_channels_at_once() {
    let server = Server::start();
    let tapes: Vec<Tape> = (0..20)
        .map(|n| if n % 2 == 0 { tape(8_000) } else { Tape::new(8_000).silence(2.24) })
        .collect();
    let conversation = transcribe(&server, &Tape::interleave(&tapes), "multichannel=true", 20).await;
    for channel in 0..20 {
        let finals = conversation.finals_of(channel);
        assert_tiles(&finals, 2.24);
        let words: Vec<Value> = finals.iter().flat_map(|result| crate::common::client::words(result)).collect();
        assert_eq!(
            crate::common::client::text(&words),
            if channel % 2 == 0 { expected() } else { String::new() }
        );
    }
    assert_eq!(conversation.metadata()["channels"], 20);
}

#[tokio::test]
async fn a_sample_rate_without_an_encoding_is_ignored() {
    let server = Server::start();
    let conversation = send(&server, "sample_rate=8000&channels=2", &tape(16_000).wav(Wav::default()), 640).await;
    assert_eq!(conversation.text(), expected());
}

#[tokio::test]
async fn recordings_in_telephone_encodings_have_speech_in_them() {
    let server = Server::start();
    for name in [
        "brooklyn-bridge-mulaw8k.wav",
        "brooklyn-bridge-alaw8k.wav",
        "vctk-p225_003-mulaw8k.wav",
    ] {
        let conversation = send(&server, "vad_events=true", &fixture(name), 800).await;
        assert!(!conversation.words().is_empty(), "{name}");
        assert!(!conversation.all("SpeechStarted").is_empty(), "{name}");
        assert_eq!(conversation.close(), (1000, ""), "{name}");
    }
    for name in ["noise-brown-8k-mulaw-8s.wav"] {
        let conversation = send(&server, "vad_events=true", &fixture(name), 800).await;
        assert_eq!(conversation.all("SpeechStarted").len(), 0, "{name} was taken for speech");
    }
}

#[tokio::test]
async fn every_container_gives_the_words_of_its_samples_live() {
    let server = Server::start();
    let clip = fixture("../formats/clip.wav");
    let expected = send(&server, "", &clip, 640).await;
    assert!(expected.words().len() > 5, "{}", expected.text());
    for name in [
        "clip.flac",
        "clip.aiff",
        "clip.opus.ogg",
        "clip.vorbis.ogg",
        "live.webm",
        "clip.mp3",
        "clip.aac",
        "fragments.mp4",
    ] {
        let conversation = send(&server, "", &fixture(&format!("../formats/{name}")), 97).await;
        // The engine of this test takes a word for a frame with sound; at the edges of sound lossy codecs differ.
        let (found, wanted) = (conversation.words().len(), expected.words().len());
        assert!(found.abs_diff(wanted) <= 2, "{name}: {found} words, not {wanted}");
        assert_eq!(conversation.close(), (1000, ""), "{name}");
        assert!((number(&conversation.metadata()["duration"]) - 2.0).abs() < 0.15, "{name}");
    }
}

#[tokio::test]
async fn bytes_behind_the_end_of_a_container_are_dropped_and_the_stream_goes_on() {
    let server = Setup::default().slots(1).config("[stream]\nidle_timeout = \"1s\"").start();
    let clip = fixture("../formats/clip.aiff");
    let expected = send(&server, "", &clip, 640).await;
    assert!(expected.words().len() > 5, "{}", expected.text());
    let longer = [clip, vec![0; 1 << 20]].concat();
    for asks in [true, false] {
        server.idle_within(PATIENCE).await;
        // More than may wait undecoded, and the only slot each time.
        let mut live = connect(&server, "").await;
        for part in longer.chunks(64_000) {
            live.audio(part).await;
        }
        let close = if asks {
            live.text(KEEP_ALIVE).await;
            live.text(FINALIZE).await;
            live.until_finalized().await;
            live.audio(&longer).await;
            live.text(CLOSE_STREAM).await;
            1000
        } else {
            1011
        };
        let conversation = live.until_end().await;
        assert_eq!(conversation.close().0, close);
        assert!(close == 1000 || conversation.close().1.contains("net0001"));
        assert_eq!(conversation.text(), expected.text());
        assert_eq!(conversation.metadata()["duration"], expected.metadata()["duration"]);
    }
    server.idle_within(PATIENCE).await;
}

#[tokio::test]
async fn a_container_that_breaks_ends_the_stream_with_1008_after_what_was_heard() {
    let server = Setup::default().slots(1).start();
    let clip = fixture("../formats/live.webm");
    let broken = [&clip[..clip.len() * 3 / 4], &[0; 2_000]].concat();
    let mut live = connect(&server, "").await;
    live.audio(&broken).await;
    let conversation = live.until_end().await;
    assert_eq!(conversation.close().0, 1008);
    assert!(conversation.close().1.contains("DATA-0000"));
    assert!(!conversation.words().is_empty());
    let duration = number(&conversation.metadata()["duration"]);
    assert!((0.5..2.0).contains(&duration), "{duration} s");
    server.idle_within(PATIENCE).await;
}

#[tokio::test]
async fn opus_packets_are_taken_one_a_message() {
    let server = Server::start();
    let tape = tape(16_000);
    let pcm: Vec<i16> = tape
        .linear16()
        .as_chunks()
        .0
        .iter()
        .map(|bytes| i16::from_le_bytes(*bytes))
        .collect();
    let mut encoder = opus::Encoder::new(16_000, opus::Channels::Mono, opus::Application::Audio).unwrap();
    let mut live = connect(&server, "encoding=opus&sample_rate=48000").await;
    for frame in pcm.chunks_exact(320) {
        live.audio(&encoder.encode_vec(frame, 1_500).unwrap()).await;
    }
    let conversation = live.close_stream().await;
    assert_eq!(conversation.text(), expected());
    assert!((number(&conversation.metadata()["duration"]) - 2.24).abs() < 0.001);
}

#[tokio::test]
async fn what_is_said_to_be_opus_may_be_in_a_container() {
    let server = Server::start();
    for name in ["clip.opus.ogg", "live.webm"] {
        let bytes = fixture(&format!("../formats/{name}"));
        let expected = send(&server, "", &bytes, 640).await;
        assert!(expected.words().len() > 5, "{name}: {}", expected.text());
        let conversation = send(&server, "encoding=opus&sample_rate=48000", &bytes, 97).await;
        assert_eq!(conversation.text(), expected.text(), "{name}");
        assert_eq!(conversation.close(), (1000, ""), "{name}");
        assert_eq!(conversation.metadata()["duration"], expected.metadata()["duration"], "{name}");
    }
}

#[tokio::test]
async fn containers_without_audio_and_those_that_are_not_decoded_are_refused_with_1008() {
    let server = Server::start();
    let with = |head: &[u8]| [head, &random(4_000)].concat();
    for (what, bytes) in [
        ("ogg", with(b"OggS\0\x02")),
        ("flac", with(b"fLaC\0\0\0\x22")),
        ("mp3", with(b"ID3\x04\0\0\0\0\0\0")),
        ("webm", with(&[0x1a, 0x45, 0xdf, 0xa3])),
        ("mp4", with(b"\0\0\0\x20ftypM4A ")),
        ("amr", with(b"#!AMR\n")),
        ("truncated wav", tape(16_000).wav(Wav::default())[..30].to_vec()),
    ] {
        let mut live = connect(&server, "").await;
        live.audio(&bytes).await;
        // Some are refused by their first bytes, others when no more come.
        live.try_send(Message::text(CLOSE_STREAM)).await;
        let conversation = live.until_end().await;
        assert_eq!(conversation.close().0, 1008, "{what}");
        assert!(conversation.close().1.contains("DATA-0000"));
        assert_eq!(conversation.all("Metadata").len(), 1, "{what}");
    }
}
