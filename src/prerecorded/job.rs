//! One file: feeds its audio to the engine as low-priority work, a few pieces in flight, and collects the tokens.
//!
//! The source is read only as fast as the engine takes the audio, so memory does not depend on the file's length. Dropping
//! the future drops the slots and whatever was queued.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::spawn_blocking;

use super::segment::{Segmenter, Window, WindowShape, stitch};
use crate::audio::{AudioError, AudioSpec, Chunker, Intake};
use crate::engine::batch::{Decoded, Token};
use crate::scheduler::admission::Refusal;
use crate::scheduler::core::{Class, Piece};
use crate::scheduler::messages::Completed;
use crate::scheduler::{Handle, PushRefused, StreamGuard};
use crate::terms::Terms;
use crate::units::{KeyId, Samples};

/// Samples decoded at a time.
const PULL: usize = 16_000;

/// How the model takes a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// One utterance, in chunks of `right + 1` frames.
    Chunks {
        /// Right context in frames.
        right: u32,
    },
    /// Overlapping windows.
    Windows(WindowShape),
}

/// How a file is worked on.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Chunks or windows.
    pub cut: Cut,
    /// Context index of every step.
    pub context: usize,
    /// On whose behalf.
    pub key: KeyId,
    /// Pieces of one channel in flight.
    pub in_flight: usize,
    /// Longest audio accepted.
    pub longest: Samples,
    /// Terms to favour.
    pub terms: Option<Arc<Terms>>,
    /// The language model that the request chose, by its place among those of the model.
    pub lm: Option<usize>,
}

/// What a file gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    /// Tokens of each lane, their frames counted from the beginning of the file.
    pub lanes: Vec<Vec<Token>>,
    /// Length of the audio.
    pub duration: Samples,
    /// SHA-256 of the bytes received, in hexadecimal.
    pub sha256: String,
}

/// A file could not be transcribed.
#[derive(Debug, thiserror::Error)]
pub enum JobError<E> {
    /// The bytes are not audio that can be decoded.
    #[error(transparent)]
    Audio(#[from] AudioError),
    /// The audio is longer than accepted.
    #[error("the audio is longer than {0} seconds")]
    TooLong(u64),
    /// No slot could be had.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The engine failed in the middle.
    #[error("the engine failed")]
    Engine,
    /// The source broke off.
    #[error("the source broke off")]
    Source(E),
}

impl<E> From<PushRefused> for JobError<E> {
    fn from(_: PushRefused) -> Self {
        JobError::Engine
    }
}

/// Transcribes the audio of `source`. `watch` is told the audio time decoded so far.
pub async fn transcribe<S, E>(
    source: S,
    spec: AudioSpec,
    plan: Plan,
    scheduler: &Handle,
    mut watch: impl FnMut(Samples),
) -> Result<Heard, JobError<E>>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    let mut job = Job {
        source,
        intake: Some(Intake::new(spec)?),
        hash: Sha256::new(),
        plan,
        lanes: Vec::new(),
        closed: false,
        ended: false,
        duration: Samples(0),
    };
    let (sink, mut results) = channel(job.plan.in_flight * usize::from(crate::audio::MAX_CHANNELS) + 1);
    loop {
        job.submit()?;
        if job.is_done() {
            break;
        }
        if !job.ended && job.has_credit() {
            job.read(scheduler, &sink).await?;
        } else {
            job.receive(&mut results).await?;
        }
        watch(job.duration);
    }
    let lanes = job.lanes.into_iter().map(|lane| lane.tokens).collect();
    Ok(Heard {
        lanes,
        duration: job.duration,
        sha256: hex(&job.hash.finalize()),
    })
}

struct Job<S> {
    source: S,
    /// Away while it is decoded.
    intake: Option<Intake>,
    hash: Sha256,
    plan: Plan,
    lanes: Vec<Lane>,
    /// All bytes were read.
    closed: bool,
    /// All samples were taken.
    ended: bool,
    duration: Samples,
}

struct Lane {
    guard: StreamGuard,
    terms: Option<Arc<Terms>>,
    lm: Option<usize>,
    cutter: Cutter,
    in_flight: usize,
    seq: u64,
    ended: bool,
    windows: Vec<Window>,
    tokens: Vec<Token>,
}

enum Cutter {
    Chunks(Chunker),
    Windows(Segmenter),
}

impl<S, E> Job<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    /// Decodes what the intake holds, or reads more bytes if it holds too little.
    async fn read(&mut self, scheduler: &Handle, sink: &Sender<(usize, Completed)>) -> Result<(), JobError<E>> {
        let (mut pulled, mut out) = self.pull().await?;
        if pulled == 0 && self.closed {
            self.ended = true;
        } else if pulled == 0 {
            match self.source.next().await {
                Some(Ok(bytes)) => {
                    self.hash.update(&bytes);
                    if let Some(intake) = &mut self.intake {
                        intake.push(bytes);
                    }
                }
                Some(Err(error)) => return Err(JobError::Source(error)),
                None => {
                    self.closed = true;
                    if let Some(intake) = &mut self.intake {
                        intake.close();
                    }
                }
            }
            (pulled, out) = self.pull().await?;
        }
        self.open(scheduler, sink, out.len()).await?;
        for (lane, samples) in self.lanes.iter_mut().zip(&out) {
            lane.push(samples);
        }
        self.duration = self.duration.plus(Samples(u64::try_from(pulled).unwrap_or(u64::MAX)));
        if self.duration > self.plan.longest {
            return Err(JobError::TooLong(self.plan.longest.0 / 16_000));
        }
        Ok(())
    }

    /// Decodes on a thread that nobody else waits for: a container may take its reader long, and live streams share this one.
    async fn pull(&mut self) -> Result<(usize, Vec<Vec<f32>>), JobError<E>> {
        let mut intake = self.intake.take().ok_or(JobError::Engine)?;
        let decode = move || {
            let mut out = Vec::new();
            let pulled = intake.pull(PULL, &mut out);
            (intake, pulled, out)
        };
        let (intake, pulled, out) = spawn_blocking(decode).await.map_err(|_| JobError::Engine)?;
        self.intake = Some(intake);
        Ok((pulled?, out))
    }

    async fn open(&mut self, scheduler: &Handle, sink: &Sender<(usize, Completed)>, lanes: usize) -> Result<(), JobError<E>> {
        while self.lanes.len() < lanes {
            let (sink, index) = (sink.clone(), self.lanes.len());
            let take = Arc::new(move |completed| sink.try_send((index, completed)).is_ok());
            let guard = scheduler.register(Class::File, self.plan.context, self.plan.key, take).await?;
            self.lanes.push(Lane::new(guard, &self.plan));
        }
        Ok(())
    }

    fn submit(&mut self) -> Result<(), JobError<E>> {
        for lane in &mut self.lanes {
            while lane.in_flight < self.plan.in_flight && lane.submit_next(self.ended)? {}
        }
        Ok(())
    }

    async fn receive(&mut self, results: &mut Receiver<(usize, Completed)>) -> Result<(), JobError<E>> {
        let (index, completed) = results.recv().await.ok_or(JobError::Engine)?;
        let decoded = completed.decoded.ok_or(JobError::Engine)?;
        if let Some(lane) = self.lanes.get_mut(index) {
            lane.take(decoded);
        }
        Ok(())
    }

    fn has_credit(&self) -> bool {
        self.lanes.iter().all(|lane| lane.in_flight < self.plan.in_flight)
    }

    fn is_done(&self) -> bool {
        self.ended && self.lanes.iter().all(|lane| lane.ended && lane.in_flight == 0)
    }
}

impl Lane {
    fn new(guard: StreamGuard, plan: &Plan) -> Self {
        let cutter = match plan.cut {
            Cut::Chunks { right } => Cutter::Chunks(Chunker::new(right)),
            Cut::Windows(shape) => Cutter::Windows(Segmenter::new(shape)),
        };
        Self {
            guard,
            terms: plan.terms.clone(),
            lm: plan.lm,
            cutter,
            in_flight: 0,
            seq: 0,
            ended: false,
            windows: Vec::new(),
            tokens: Vec::new(),
        }
    }

    fn push(&mut self, samples: &[f32]) {
        match &mut self.cutter {
            Cutter::Chunks(chunker) => chunker.push(samples),
            Cutter::Windows(segmenter) => segmenter.push(samples),
        }
    }

    /// Submits the next piece, if there is one. `input_ended`: no more samples will come.
    fn submit_next(&mut self, input_ended: bool) -> Result<bool, PushRefused> {
        if self.ended {
            return Ok(false);
        }
        let piece = match &mut self.cutter {
            Cutter::Chunks(chunker) => match chunker.next() {
                Some(samples) => Some((samples, self.seq == 0, false)),
                None if input_ended => Some((chunker.flush(), self.seq == 0, true)),
                None => None,
            },
            Cutter::Windows(segmenter) => {
                let window = segmenter.window().or_else(|| if input_ended { segmenter.last() } else { None });
                window.map(|mut window| {
                    let samples = std::mem::take(&mut window.samples);
                    self.windows.push(window);
                    (samples, true, true)
                })
            }
        };
        let Some((samples, start, end)) = piece else {
            self.ended = input_ended;
            return Ok(false);
        };
        self.ended = end && matches!(self.cutter, Cutter::Chunks(_));
        self.guard.push(Piece {
            seq: self.seq,
            samples,
            start,
            end,
            commit: end,
            terms: self.terms.clone(),
            lm: self.lm,
            arrived: Instant::now(),
        })?;
        self.seq += 1;
        self.in_flight += 1;
        Ok(true)
    }

    fn take(&mut self, decoded: Decoded) {
        self.in_flight = self.in_flight.saturating_sub(1);
        match &self.cutter {
            Cutter::Chunks(_) => self.tokens.extend(decoded.fixed),
            Cutter::Windows(_) if self.windows.is_empty() => {}
            Cutter::Windows(_) => {
                let window = self.windows.remove(0);
                stitch(&mut self.tokens, &window, &decoded.fixed);
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
