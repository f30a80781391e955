//! Files sent to `POST /v1/listen`: one upload, and the load of a scenario.
//!
//! Does not judge. Called by `live`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::audio::Recording;
use crate::call::{Alternative, Outcome, Refusal, final_words};
use crate::compare::Word;
use crate::plan::{SendAs, Uploads};
use crate::program::Item;
use crate::target::Target;
use crate::view::View;

/// Longest wait for a connection.
const CONNECT_WAIT: Duration = Duration::from_secs(10);
/// Longest wait for an answer: a server gives up after ten minutes.
const ANSWER_WAIT: Duration = Duration::from_secs(660);
/// Largest answer that is read.
const MAX_ANSWER: usize = 64 << 20;
/// A client waits this long after an upload that failed.
const PAUSE: Duration = Duration::from_secs(1);

/// Sends files.
#[derive(Debug)]
pub(crate) struct Uploader {
    client: reqwest::Client,
    target: Target,
    files: Vec<Recording>,
}

/// What was seen of one upload.
#[derive(Debug)]
pub(crate) struct Sent {
    /// Index of the file.
    pub(crate) file: usize,
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// From the planned beginning to the last byte of the answer, in seconds.
    pub(crate) turnaround_s: f64,
    /// When the last byte of the answer came, in seconds after the start of the run.
    pub(crate) ended_s: f64,
    /// Length of the file.
    pub(crate) audio_s: f64,
    /// The transcript.
    pub(crate) words: Vec<Word>,
}

/// What the load of uploads tells.
#[derive(Debug)]
pub(crate) enum Event {
    /// One was answered or failed.
    Sent(Sent),
    /// One was due while as many as allowed were in flight.
    LeftOut,
}

/// The part of an answer that is read.
#[derive(Debug, Deserialize)]
struct Answer {
    results: Results,
}

#[derive(Debug, Deserialize)]
struct Results {
    channels: Vec<Channel>,
}

#[derive(Debug, Deserialize)]
struct Channel {
    alternatives: Vec<Alternative>,
}

/// An HTTP client that goes straight to the server.
///
/// # Errors
/// The client cannot be set up.
pub(crate) fn client() -> Result<reqwest::Client> {
    // Built together with the server the HTTP client has TLS and wants to know whose; built alone it has none and does not ask.
    rustls::crypto::ring::default_provider().install_default().ok();
    let builder = reqwest::Client::builder().no_proxy().connect_timeout(CONNECT_WAIT);
    builder
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .context("the HTTP client")
}

/// Reads the body of `response`, up to `limit` bytes.
///
/// # Errors
/// The connection broke, or the body is longer.
pub(crate) async fn body(mut response: reqwest::Response, limit: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(part) = response.chunk().await? {
        if bytes.len().saturating_add(part.len()) > limit {
            bail!("an answer of over {limit} bytes");
        }
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}

impl Uploader {
    /// For the files of `items`, as they are.
    ///
    /// # Errors
    /// The client cannot be set up.
    pub(crate) fn new(target: &Target, items: &[Item]) -> Result<Self> {
        let file = |(index, item): (usize, &Item)| Recording::of_file(SendAs::Wav, index, &item.wav);
        Ok(Self {
            client: client()?,
            target: target.clone(),
            files: items.iter().enumerate().map(file).collect(),
        })
    }

    /// Sends every file once, alone, and returns the words.
    ///
    /// # Errors
    /// One that does not succeed.
    pub(crate) async fn reference(&self) -> Result<Vec<Vec<Word>>> {
        let mut words = Vec::new();
        for (index, file) in self.files.iter().enumerate() {
            let now = Instant::now();
            let sent = self.send(index, now, now).await;
            if sent.outcome != Outcome::Completed {
                bail!("the reference upload of {} did not complete: {:?}", file.name, sent.outcome);
            }
            words.push(sent.words);
        }
        Ok(words)
    }

    /// Sends file `index`, which was due at `planned`, in a run that began at `start`.
    pub(crate) async fn send(&self, index: usize, planned: Instant, start: Instant) -> Sent {
        let (outcome, words) = match tokio::time::timeout(ANSWER_WAIT, self.exchange(index)).await {
            Ok(Ok((outcome, words))) => (outcome, words),
            Ok(Err(error)) => (Outcome::Failed(format!("upload: {error:#}")), Vec::new()),
            Err(_) => (Outcome::Failed("upload: no answer in time".to_owned()), Vec::new()),
        };
        let now = Instant::now();
        Sent {
            file: index,
            outcome,
            turnaround_s: now.saturating_duration_since(planned).as_secs_f64(),
            ended_s: now.saturating_duration_since(start).as_secs_f64(),
            audio_s: self.files.get(index).map_or(0.0, Recording::seconds),
            words,
        }
    }

    async fn exchange(&self, index: usize) -> Result<(Outcome, Vec<Word>)> {
        let file = self.files.get(index).context("no such file")?;
        let mut request = self
            .client
            .post(self.target.upload_url().clone())
            .header("content-type", "audio/wav")
            .body(file.bytes());
        if let Some(key) = self.target.authorization() {
            request = request.header("authorization", key.clone());
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        if matches!(status, 429 | 503) {
            return Ok((Outcome::Refused(Refusal::new(status, response.headers())), Vec::new()));
        }
        let bytes = body(response, MAX_ANSWER).await?;
        if status != 200 {
            let text: String = String::from_utf8_lossy(&bytes).chars().take(200).collect();
            bail!("answered with {status} {text}");
        }
        let answer: Answer = serde_json::from_slice(&bytes).context("an answer that is not understood")?;
        let channels = answer.results.channels.into_iter();
        let best = channels.filter_map(|channel| channel.alternatives.into_iter().next());
        Ok((Outcome::Completed, best.flat_map(|best| final_words(&best)).collect()))
    }
}

/// Uploads until `over`; every one is told to `told`. Returns when the last is answered.
///
/// # Errors
/// A task that did not end as it should.
pub(crate) async fn load(
    uploader: Arc<Uploader>,
    plan: Uploads,
    start: Instant,
    over: Instant,
    view: Arc<View>,
    told: mpsc::Sender<crate::live::Event>,
) -> Result<()> {
    let mut tasks = JoinSet::new();
    match plan.per_second {
        None => {
            for worker in 0..plan.parallel {
                let (uploader, view, told) = (Arc::clone(&uploader), Arc::clone(&view), told.clone());
                tasks.spawn(async move { saturate(worker, &uploader, start, over, &view, &told).await });
            }
        }
        Some(rate) => {
            let room = Arc::new(Semaphore::new(usize::try_from(plan.parallel)?));
            for number in 0_u32.. {
                let planned = start + Duration::from_secs_f64(f64::from(number) / rate);
                if planned >= over {
                    break;
                }
                tokio::time::sleep_until(planned.into()).await;
                while tasks.try_join_next().is_some() {}
                let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
                    told.send(crate::live::Event::Upload(Event::LeftOut)).await.ok();
                    continue;
                };
                let index = usize::try_from(number)? % uploader.files.len().max(1);
                let (uploader, view, told) = (Arc::clone(&uploader), Arc::clone(&view), told.clone());
                tasks.spawn(async move {
                    let sent = uploader.send(index, planned, start).await;
                    drop(place);
                    view.uploaded();
                    told.send(crate::live::Event::Upload(Event::Sent(sent))).await.ok();
                });
            }
        }
    }
    while let Some(ended) = tasks.join_next().await {
        ended?;
    }
    Ok(())
}

/// One upload after the other.
async fn saturate(worker: u32, uploader: &Uploader, start: Instant, over: Instant, view: &View, told: &mpsc::Sender<crate::live::Event>) {
    let files = uploader.files.len();
    for index in (0..files).cycle().skip(usize::try_from(worker).unwrap_or(0)) {
        let begun = Instant::now();
        if begun >= over {
            break;
        }
        let sent = uploader.send(index, begun, start).await;
        view.uploaded();
        let wait = match &sent.outcome {
            Outcome::Refused(refusal) => refusal.wait(),
            Outcome::Failed(_) => PAUSE,
            _ => Duration::ZERO,
        };
        if told.send(crate::live::Event::Upload(Event::Sent(sent))).await.is_err() {
            break;
        }
        tokio::time::sleep_until((Instant::now() + wait).min(over.max(Instant::now())).into()).await;
    }
}
