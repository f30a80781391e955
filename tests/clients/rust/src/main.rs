//! One live and one file job with the Rust client.
//!
//! Usage: rust-client http://HOST:PORT FILE.wav CHUNK_MS, the file mono 16-bit PCM; prints one JSON object.

use std::collections::BTreeSet;
use std::error::Error;
use std::time::Duration;

use deepgram::common::audio_source::AudioSource;
use deepgram::common::options::{Encoding, Model, Options};
use deepgram::common::stream_response::StreamResponse;
use deepgram::listen::websocket::WebsocketHandle;
use deepgram::{Deepgram, DeepgramError};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [base, path, chunk_ms] = arguments.as_slice() else {
        return Err("wanted: URL FILE.wav CHUNK_MS".into());
    };
    let client = Deepgram::with_base_url_and_api_key(base.as_str(), "any")?;
    let sound = hound::WavReader::open(path)?;
    let rate = sound.spec().sample_rate;
    let samples: Vec<i16> = sound.into_samples::<i16>().collect::<Result<_, _>>()?;
    let audio: Vec<u8> = samples.into_iter().flat_map(i16::to_le_bytes).collect();
    let outcome = json!({
        "live": live(&client, &audio, rate, chunk_ms.parse()?).await?,
        "file": file(&client, std::fs::read(path)?).await?,
        "refusals": refusals(&client).await,
    });
    println!("{outcome}");
    Ok(())
}

async fn live(client: &Deepgram, audio: &[u8], rate: u32, chunk_ms: u32) -> Outcome<Value> {
    let options = Options::builder().model(Model::Nova3).punctuate(true).build();
    let mut handle = client
        .transcription()
        .stream_request_with_options(options)
        .encoding(Encoding::Linear16)
        .sample_rate(rate)
        .channels(1)
        .interim_results(true)
        .handle()
        .await?;
    let mut heard = Heard::default();
    heard.request_ids.extend(handle.request_id().map(|id| id.to_string()));

    let mut due = Instant::now();
    for chunk in audio.chunks(usize::try_from(rate * chunk_ms / 1_000)? * 2) {
        handle.send_data(chunk.to_vec()).await?;
        due += Duration::from_millis(chunk_ms.into());
        heard.until(&mut handle, due, |_| false).await;
    }
    handle.keep_alive().await?;
    handle.finalize().await?;
    let patience = Duration::from_secs(5);
    heard.until(&mut handle, Instant::now() + patience, |heard| heard.finalized).await;
    handle.close_stream().await?;
    let ended = heard.until(&mut handle, Instant::now() + 2 * patience, |_| false).await;
    Ok(json!({
        "finals": heard.finals,
        "interims": heard.interims,
        "finalized": heard.finalized,
        // The client ends the messages when the server's Close frame comes, or after an error.
        "ended": ended,
        "closed": ended,
        "duration": heard.duration,
        "request_ids": heard.request_ids,
        "errors": heard.errors,
        "other": heard.other,
    }))
}

/// What came from the server.
#[derive(Default)]
struct Heard {
    finals: Vec<String>,
    interims: u32,
    finalized: bool,
    duration: Option<f64>,
    request_ids: BTreeSet<String>,
    errors: Vec<String>,
    other: Vec<String>,
}

impl Heard {
    /// Takes messages until a time, until there is enough, or to the end of the stream; true if that came.
    async fn until(&mut self, handle: &mut WebsocketHandle, time: Instant, enough: impl Fn(&Self) -> bool) -> bool {
        while !enough(self) {
            match timeout_at(time, handle.receive()).await {
                Ok(Some(message)) => self.take(message),
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
        false
    }

    fn take(&mut self, message: Result<StreamResponse, DeepgramError>) {
        match message {
            Ok(StreamResponse::TranscriptResponse {
                is_final,
                from_finalize,
                channel,
                metadata,
                ..
            }) => {
                self.request_ids.insert(metadata.request_id);
                self.finalized |= from_finalize;
                if is_final {
                    self.finals
                        .extend(channel.alternatives.into_iter().map(|alternative| alternative.transcript));
                } else {
                    self.interims += 1;
                }
            }
            Ok(StreamResponse::TerminalResponse { request_id, duration, .. }) => {
                self.request_ids.insert(request_id);
                self.duration = Some(duration);
            }
            Ok(other) => self.other.push(format!("{other:?}")),
            Err(error) => self.errors.push(error.to_string()),
        }
    }
}

async fn file(client: &Deepgram, body: Vec<u8>) -> Outcome<Value> {
    let options = Options::builder().model(Model::Nova3).punctuate(true).utterances(true).build();
    let source = AudioSource::from_buffer(body);
    let response = client.transcription().prerecorded(source, &options).await?;
    let channel = response.results.channels.first().ok_or("no channel")?;
    let alternative = channel.alternatives.first().ok_or("no alternative")?;
    let words: Vec<&str> = alternative.words.iter().map(|word| word.word.as_str()).collect();
    Ok(json!({
        "transcript": alternative.transcript,
        "words": words,
        "duration": response.metadata.duration,
        "request_id": response.metadata.request_id.to_string(),
        "utterances": response.results.utterances.as_ref().map(Vec::len),
    }))
}

/// What the client makes of a refused file and of a refused handshake.
async fn refusals(client: &Deepgram) -> Value {
    let options = Options::builder().model(Model::Nova3).build();
    let source = AudioSource::from_buffer("no audio at all, but long enough to be looked at");
    let file = match client.transcription().prerecorded(source, &options).await {
        Err(DeepgramError::DeepgramApiError { body, .. }) => body,
        other => format!("{other:?}"),
    };
    let options = Options::builder().model(Model::CustomId("no-such-model".to_owned())).build();
    let live = match client.transcription().stream_request_with_options(options).handle().await {
        Err(error) => error.to_string(),
        Ok(_) => "opened".to_owned(),
    };
    json!({ "file": file, "live": live })
}
