//! `hark transcribe --live`: a file through the very path of a live stream, without a socket, as fast as it is accepted.

use std::cell::RefCell;
use std::future::poll_fn;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use actix::{Actor, Context, Handler};
use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use futures_util::StreamExt;
use serde::Deserialize;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::transcribe::{SpokenWord, read};
use crate::api;
use crate::audio::AudioSpec;
use crate::config::Config;
use crate::engine::served::Served;
use crate::error::CloseReason;
use crate::scheduler::Handle;
use crate::stream::actor::{Connected, FramesArrived, MessagesWaiting, Setup, StreamActor};
use crate::stream::pipe::{Budget, FromClient, Pipe, ToClient};
use crate::stream::session::{Session, StreamInfo};
use crate::telemetry::compatible::Compatible;
use crate::text::words::Vocabulary;
use crate::units::KeyId;
use crate::wire::query::parse_live;
use crate::wire::vocabulary::USUAL_WEIGHT;

/// Bytes of one message: 20 ms of 16-bit audio at 16 kHz.
const MESSAGE: usize = 640;

/// Words and duration in seconds of a file.
pub(super) async fn transcribe(
    file: &Path,
    keyterms: &[String],
    config: &Config,
    scheduler: &Handle,
    served: &Served,
) -> anyhow::Result<(Vec<SpokenWord>, f64)> {
    let context = served.live.ok_or_else(|| anyhow!("the model {} cannot stream", served.name))?;
    let mut options = parse_live("")?;
    options.favoured = keyterms.iter().map(|term| (term.clone(), USUAL_WEIGHT)).collect();
    let spec = AudioSpec {
        encoding: None,
        rate: None,
        channels: 1,
        multichannel: false,
        whole: false,
    };
    let info = StreamInfo {
        request_id: Uuid::now_v7(),
        created: String::new(),
        model: served.select(None, None, None)?,
        favours: served.favours,
        lm: None,
        english: served.hears_english(None),
    };
    let vocabulary: Arc<dyn Vocabulary + Send + Sync> = served.vocabulary.clone();
    let rules = api::live_rules(&config.stream, served.right(context));
    let session = Session::new(options, spec, info, rules, vocabulary, Instant::now())?;
    let pipe = Rc::new(Pipe::new(usize::MAX, Arc::new(Budget::new(config.stream.undecoded_budget_bytes))));
    let setup = Setup {
        session,
        pipe: Rc::clone(&pipe),
        scheduler: scheduler.clone(),
        context,
        credits: config.stream.credits,
        key: KeyId::default(),
        patience: config.stream.tcp_user_timeout,
        relayed: false,
        metrics: Arc::new(Compatible::default()),
        ended: Box::new(|_| ()),
    };
    let stream = StreamActor::open(setup, 1).await?;
    let (done, ended) = oneshot::channel();
    let heard = Rc::new(RefCell::new(Heard::default()));
    let listener = Listener {
        pipe: Rc::clone(&pipe),
        heard: Rc::clone(&heard),
        done: Some(done),
    }
    .start();
    stream.send(Connected(listener.recipient())).await?;
    let mut bytes = read(file)?;
    while let Some(piece) = bytes.next().await {
        let mut piece = piece?;
        while !piece.is_empty() {
            let message = piece.split_to(MESSAGE.min(piece.len()));
            poll_fn(|context| pipe.poll_open(context)).await;
            pipe.put_in(FromClient::Binary(message));
            if stream.send(FramesArrived).await.is_err() {
                break;
            }
        }
    }
    pipe.put_in(FromClient::Binary(Bytes::new()));
    // A stream that refused the audio is gone by now; its reason is in the close message.
    stream.send(FramesArrived).await.ok();
    let (code, reason) = ended.await.context("the stream ended without a close")?;
    if code != CloseReason::Finished.code() {
        bail!("closed with {code}: {reason}");
    }
    let Heard { words, duration } = heard.take();
    Ok((words, duration))
}

#[derive(Default)]
struct Heard {
    words: Vec<SpokenWord>,
    duration: f64,
}

/// The part of a server message that matters here.
#[derive(Deserialize)]
#[serde(tag = "type")]
enum Message {
    Results {
        is_final: bool,
        channel: Channel,
    },
    Metadata {
        duration: f64,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Channel {
    alternatives: Vec<Alternative>,
}

#[derive(Deserialize)]
struct Alternative {
    words: Vec<SpokenWord>,
}

struct Listener {
    pipe: Rc<Pipe>,
    heard: Rc<RefCell<Heard>>,
    done: Option<oneshot::Sender<(u16, String)>>,
}

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Handler<MessagesWaiting> for Listener {
    type Result = ();

    fn handle(&mut self, _: MessagesWaiting, _: &mut Self::Context) {
        while let Some(message) = self.pipe.take_out() {
            match message {
                ToClient::Text(text) => match serde_json::from_str(&text) {
                    Ok(Message::Results { is_final: true, channel }) => {
                        let words = channel.alternatives.into_iter().flat_map(|alternative| alternative.words);
                        self.heard.borrow_mut().words.extend(words);
                    }
                    Ok(Message::Metadata { duration }) => self.heard.borrow_mut().duration = duration,
                    Ok(Message::Results { .. } | Message::Other) | Err(_) => {}
                },
                ToClient::Close(code, reason) => {
                    if let Some(done) = self.done.take() {
                        done.send((code, reason)).ok();
                    }
                }
            }
        }
    }
}
