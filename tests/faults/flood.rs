//! Clients that send more, faster or in smaller pieces than anybody speaks.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message;

use super::QUERY;
use crate::common::audio::Tape;
use crate::common::client::{CLOSE_STREAM, FINALIZE, KEEP_ALIVE, PATIENCE, assert_tiles, connect, number, text, words};
use crate::common::raw::{BINARY, PING, Raw, TEXT, encode, head};
use crate::common::{Server, Setup, busy, quickest, quiet, word_at};

#[tokio::test]
async fn a_client_at_many_times_real_time_is_slowed_and_loses_nothing() {
    let _busy = busy();
    // 160 ms of audio take the engine 8 ms: 20 times real time at most.
    let server = Setup::default().step(Duration::from_millis(8)).child();
    let tape = Tape::new(48_000).silence(0.48).speech(119.52);
    let bytes = tape.encode("linear32");
    let mut live = connect(&server, &tape.query("linear32")).await;
    let before = server.resident().0;
    let began = Instant::now();
    for part in bytes.chunks(96_000) {
        live.audio(part).await;
    }
    let sent = began.elapsed();
    let conversation = live.close_stream().await;
    assert_eq!(conversation.words().len(), 373);
    assert_tiles(&conversation.finals(), tape.seconds());
    let starts: Vec<f64> = conversation.words().iter().map(|word| number(&word["start"])).collect();
    assert!(starts.windows(2).all(|pair| (pair[1] - pair[0] - 0.32).abs() < 0.001), "{starts:?}");
    // 23 MB of audio; what the kernel and the stream hold of it is a small part, so the sender had to wait.
    assert!(sent > Duration::from_secs(3), "everything was taken in {sent:?}");
    let most = server.resident().1;
    assert!(
        most < before + (12 << 20),
        "memory went from {} to {} MiB",
        before >> 20,
        most >> 20
    );
    assert!(server.metric("hark_reading_paused_total").await >= 1.0);
}

#[tokio::test]
async fn tiny_frames_by_the_thousand_are_joined_and_cost_no_memory() {
    let _busy = busy();
    let server = Setup::default().child();
    connect(&server, QUERY).await.close_stream().await;
    let before = server.resident().0;
    let mut raw = Raw::open(server.address, QUERY, None).await;
    let sound = Tape::new(16_000).tone(4.0).linear16();
    let frames: Vec<u8> = sound.iter().flat_map(|byte| encode(true, BINARY, &[*byte])).collect();
    raw.stream.write_all(&frames).await.unwrap();
    raw.frame(true, TEXT, CLOSE_STREAM.as_bytes()).await;
    let frames = raw.rest(Duration::from_secs(60)).await;
    let messages: Vec<Value> = frames
        .iter()
        .filter(|frame| frame.opcode == TEXT)
        .map(|frame| serde_json::from_str(&frame.text()).unwrap())
        .collect();
    let spoken: Vec<Value> = messages
        .iter()
        .filter(|message| message["type"] == "Results")
        .flat_map(words)
        .collect();
    assert_eq!(text(&spoken), (0..50).step_by(4).map(word_at).collect::<Vec<_>>().join(" "));
    assert_eq!(frames.last().unwrap().close_code(), Some(1000));
    let most = server.resident().1;
    assert!(
        most < before + (12 << 20),
        "memory went from {} to {} MiB",
        before >> 20,
        most >> 20
    );
}

#[tokio::test]
async fn control_messages_by_the_thousand_are_worked_off() {
    let server = Server::start();
    let mut raw = Raw::open(server.address, QUERY, None).await;
    let (mut read, mut write) = raw.stream.into_split();
    let reading = tokio::spawn(async move {
        let mut all = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut read, &mut all).await.ok();
        String::from_utf8_lossy(&all).into_owned()
    });
    write.write_all(&encode(true, BINARY, &[0; 3_200])).await.unwrap();
    write
        .write_all(&encode(true, TEXT, KEEP_ALIVE.as_bytes()).repeat(20_000))
        .await
        .unwrap();
    write
        .write_all(&encode(true, TEXT, FINALIZE.as_bytes()).repeat(2_000))
        .await
        .unwrap();
    write.write_all(&encode(true, TEXT, CLOSE_STREAM.as_bytes())).await.unwrap();
    let heard = tokio::time::timeout(PATIENCE, reading).await.unwrap().unwrap();
    let end = &heard[heard.floor_char_boundary(heard.len().saturating_sub(300))..];
    assert_eq!(heard.matches(r#""from_finalize":true"#).count(), 2_000, "it ended with {end:?}");
    assert_eq!(heard.matches(r#""type":"Metadata""#).count(), 1);
    raw = Raw::open(server.address, QUERY, None).await;
    raw.reset();
}

#[tokio::test]
async fn a_burst_of_results_is_not_taken_for_a_client_that_does_not_read() {
    let server = Server::start();
    // Twenty channels with everything switched on, in one message: bursts of messages far above the backlog.
    let tapes: Vec<Tape> = (0..20)
        .map(|_| Tape::new(8_000).silence(0.48).speech(5.0).silence(1.5).speech(5.0))
        .collect();
    let sound = Tape::interleave(&tapes);
    let options = "multichannel=true&interim_results=true&vad_events=true&utterance_end_ms=1000&endpointing=300";
    let conversation = crate::common::client::transcribe(&server, &sound, options, 20_000).await;
    assert_eq!(conversation.close(), (1000, ""));
    for channel in 0..20 {
        assert_tiles(&conversation.finals_of(channel), sound.seconds());
    }
    // And many refusals at once.
    let mut raw = Raw::open(server.address, QUERY, None).await;
    raw.stream.write_all(&encode(true, TEXT, b"garbage").repeat(1_000)).await.unwrap();
    raw.frame(true, TEXT, CLOSE_STREAM.as_bytes()).await;
    let frames = raw.rest(PATIENCE).await;
    assert_eq!(
        frames
            .iter()
            .filter(|frame| frame.opcode == TEXT && frame.text().contains("SchemaError"))
            .count(),
        1_000
    );
    assert_eq!(frames.last().unwrap().close_code(), Some(1000));
}

#[tokio::test]
async fn pings_from_a_client_that_does_not_read_cost_no_memory() {
    let _busy = busy();
    let server = Setup::default().config("[stream]\ntcp_user_timeout = \"3s\"").child();
    connect(&server, QUERY).await.close_stream().await;
    let (before, open) = (server.resident().0, server.sockets());
    let mut raw = Raw::open(server.address, QUERY, Some(2_048)).await;
    let pings = encode(true, PING, &[7; 125]).repeat(1_000);
    let began = Instant::now();
    let flood = async {
        // 600 MB of pings at most.
        for _ in 0..4_500 {
            if raw.stream.write_all(&pings).await.is_err() {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(15), flood).await.ok();
    while server.sockets() > open {
        assert!(began.elapsed() < Duration::from_secs(40), "the connection is still there");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let most = server.resident().1;
    assert!(
        most < before + (16 << 20),
        "memory went from {} to {} MiB",
        before >> 20,
        most >> 20
    );
    server.idle_but(0).await;
}

#[tokio::test]
async fn unfinished_large_messages_are_bounded_by_the_budget_of_the_process() {
    let _busy = busy();
    let config = "[stream]\nundecoded_budget_bytes = 33554432\ntcp_user_timeout = \"2s\"";
    let server = Setup::default().config(config).child();
    connect(&server, QUERY).await.close_stream().await;
    let before = server.resident().0;
    let part = vec![0_u8; 1 << 20];
    let mut held = Vec::new();
    for _ in 0..16 {
        let mut raw = Raw::open(server.address, QUERY, None).await;
        raw.stream.write_all(&head(true, BINARY, 16 << 20)).await.unwrap();
        for _ in 0..15 {
            if tokio::time::timeout(Duration::from_millis(500), raw.stream.write_all(&part))
                .await
                .is_err()
            {
                break;
            }
        }
        held.push(raw);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let most = server.resident().1;
    assert!(
        most < before + (96 << 20),
        "memory went from {} to {} MiB for 240 MiB sent",
        before >> 20,
        most >> 20
    );
    // Whoever holds little is served all the same.
    let mut live = connect(&server, QUERY).await;
    live.audio(&Tape::new(16_000).tone(1.0).linear16()).await;
    assert_eq!(live.close_stream().await.words().len(), 4);
    drop(held);
    server.idle_within(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn a_large_message_without_room_in_the_budget_closes_with_1013() {
    let limits = "max_message_bytes = 4194304\nundecoded_budget_bytes = 4194304";
    let config = format!("[stream]\n{limits}\ntcp_user_timeout = \"2s\"\nidle_timeout = \"1min\"");
    let server = Setup::default().config(&config).start();
    let part = vec![0_u8; 1 << 16];
    let mut first = Raw::open(server.address, QUERY, None).await;
    let mut second = Raw::open(server.address, QUERY, None).await;
    let mut third = Raw::open(server.address, QUERY, None).await;
    // The first one holds nearly all of the budget, the second one is the one that may exceed it.
    for (raw, parts) in [(&mut first, 63), (&mut second, 32), (&mut third, 0)] {
        raw.stream.write_all(&head(true, BINARY, 4 << 20)).await.unwrap();
        for _ in 0..parts {
            raw.stream.write_all(&part).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    // A message of a megabyte has room always; what is more needs the budget, and waits for it a while.
    let (began, mut sent) = (Instant::now(), 0);
    let close = loop {
        if let Ok(Ok(())) = tokio::time::timeout(Duration::from_millis(50), third.stream.write_all(&part)).await {
            sent += part.len();
        }
        if let Ok(frame) = tokio::time::timeout(Duration::from_millis(50), third.next()).await {
            break frame.and_then(|frame| frame.close_code());
        }
        assert!(began.elapsed() < PATIENCE, "it is open after {sent} bytes");
    };
    // What the kernel holds for the connection counts as sent here.
    assert_eq!(close, Some(1013), "after {sent} bytes");
    assert!(sent > 1 << 20, "after {sent} bytes");
    assert!(began.elapsed() >= Duration::from_millis(1_500), "it did not wait");
}

#[tokio::test]
async fn a_large_message_waits_for_the_room_that_another_stream_makes() {
    let config = "[stream]\nmax_message_bytes = 4194304\nundecoded_budget_bytes = 4194304\nidle_timeout = \"1min\"";
    let server = Setup::default().config(config).start();
    let part = vec![0_u8; 1 << 16];
    let mut first = Raw::open(server.address, QUERY, None).await;
    let mut second = Raw::open(server.address, QUERY, None).await;
    let mut third = Raw::open(server.address, QUERY, None).await;
    // The client's own kernel is to hold little, so that the sender notices that it has to wait.
    socket2::SockRef::from(&third.stream).set_send_buffer_size(1 << 16).unwrap();
    // The first one holds nearly all of the budget, the second one is the one that may exceed it.
    for (raw, parts) in [(&mut first, 63), (&mut second, 32), (&mut third, 0)] {
        // The head, and a mask of zeros.
        raw.stream.write_all(&head(true, BINARY, 4 << 20)).await.unwrap();
        raw.stream.write_all(&[0; 4]).await.unwrap();
        for _ in 0..parts {
            raw.stream.write_all(&part).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    {
        let mut whole = Box::pin(async {
            for _ in 0..64 {
                third.stream.write_all(&part).await.unwrap();
            }
        });
        let early = tokio::time::timeout(Duration::from_secs(1), &mut whole).await;
        assert!(early.is_err(), "there was room for all");
        for _ in 0..32 {
            second.stream.write_all(&part).await.unwrap();
        }
        tokio::time::timeout(PATIENCE, whole).await.expect("no room came");
    }
    first.stream.write_all(&part).await.unwrap();
    for mut raw in [first, second, third] {
        raw.frame(true, TEXT, CLOSE_STREAM.as_bytes()).await;
        assert_eq!(raw.rest(PATIENCE).await.last().unwrap().close_code(), Some(1000));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_is_not_behind_all_the_audio_that_waits() {
    let _busy = busy();
    // 160 ms of audio take the engine 16 ms: ten times real time at most, so 100 s of audio 10 s.
    let server = Setup::default().step(Duration::from_millis(16)).start();
    let stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    // What the client's own kernel holds is not the server's to bound.
    socket2::SockRef::from(&stream).set_send_buffer_size(1 << 16).unwrap();
    let (socket, _) = tokio_tungstenite::client_async(server.live_url(QUERY), stream).await.unwrap();
    let (mut out, mut messages) = socket.split();
    let began = Instant::now();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    let sending = tokio::spawn(async move {
        let second = Tape::new(16_000).tone(1.0).linear16();
        for n in 0..100_u8 {
            noted.lock().unwrap().push(Instant::now());
            out.send(Message::Ping(vec![n].into())).await.unwrap();
            out.send(Message::binary(second.clone())).await.unwrap();
        }
        out.send(Message::text(CLOSE_STREAM)).await.unwrap();
        out
    });
    let mut waits = Vec::new();
    while let Some(Ok(message)) = messages.next().await {
        match message {
            Message::Pong(number) => waits.push(asked.lock().unwrap()[usize::from(number[0])].elapsed()),
            Message::Close(_) => break,
            _ => {}
        }
    }
    drop(sending.await.unwrap());
    assert_eq!(waits.len(), 100);
    assert!(
        began.elapsed() > Duration::from_secs(8),
        "the audio did not wait: {:?}",
        began.elapsed()
    );
    assert!(waits.iter().all(|wait| *wait < Duration::from_secs(5)), "{waits:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_on_one_stream_does_not_make_another_late() {
    let _quiet = quiet();
    let server = Setup::default().step(Duration::from_millis(2)).start();
    let mut flooding = connect(&server, QUERY).await;
    let flood = tokio::spawn(async move {
        let minute = Tape::new(16_000).tone(60.0).linear16();
        loop {
            flooding.audio(&minute).await;
            flooding.heard.clear();
        }
    });
    let mut live = connect(&server, QUERY).await;
    let mut took = Vec::new();
    for _ in 0..9 {
        live.speak(&Tape::new(16_000).tone(0.2), 1.0).await;
        let asked = Instant::now();
        live.text(FINALIZE).await;
        live.until_finalized().await;
        took.push(asked.elapsed());
    }
    flood.abort();
    assert!(quickest(&took) < Duration::from_millis(200), "{took:?}");
    assert!(took.iter().all(|time| *time < Duration::from_millis(1_500)), "{took:?}");
    live.close_stream().await;
}
