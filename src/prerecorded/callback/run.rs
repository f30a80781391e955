//! Works on what is accepted and delivers what is answered, for as long as the server runs.
//!
//! What it does: begins what is due, a few files and deliveries at once, and writes down how each ended. What it does not do: the work
//! itself, which the caller brings, or the arithmetic of retries ([`super::schedule`]). Who calls it: the application, on a thread of
//! its own, since files are decoded there.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::deliver::{Deliverer, host};
use super::queue::{Queue, QueueError};
use super::schedule::Retries;
use super::store::{Job, Stage, Store};
use crate::config;
use crate::error::ApiError;
use crate::telemetry::metrics::{self as measure, Delivery};
use crate::wire::error_body;

/// Deliveries under way at once.
const DELIVERIES: usize = 32;
/// A request that was begun so often and never ended, because the engine failed or the process died, is answered with an error.
const MOST_RUNS: u32 = 10;
/// How long a request waits that found no room in the engine.
const NO_ROOM_PAUSE: Duration = Duration::from_secs(1);
/// The media type of errors.
const JSON: &str = "application/json";

/// How the work on a request ended.
#[derive(Debug)]
pub enum Outcome {
    /// With this answer, which may tell of an error.
    Answer {
        /// What it is.
        media_type: &'static str,
        /// The answer.
        body: String,
    },
    /// It could not begin for want of room.
    NoRoom,
    /// The engine failed.
    Failed,
}

/// Requests in work, or answers under way.
type Busy = Rc<RefCell<HashSet<Uuid>>>;

/// Takes an id off the list, however the task ends.
struct Mark {
    busy: Busy,
    id: Uuid,
}

impl Mark {
    /// None if it is on the list.
    fn set(busy: &Busy, id: Uuid) -> Option<Self> {
        // Made only where the id is new: a mark takes it off the list when it goes.
        let new = busy.borrow_mut().insert(id);
        new.then(|| Self { busy: Rc::clone(busy), id })
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.busy.borrow_mut().remove(&self.id);
    }
}

/// What every task needs.
struct Shared<W> {
    queue: Arc<Queue>,
    deliverer: Deliverer,
    retries: Retries,
    work: W,
}

/// Runs until `stop` is ready, within a local set of the runtime; then breaks off what is under way. `work` makes the answer to a request.
pub async fn run<W, F>(queue: Arc<Queue>, deliverer: Deliverer, rules: &config::Callback, work: W, stop: impl Future<Output = ()>)
where
    W: Fn(Job) -> F + 'static,
    F: Future<Output = Outcome> + 'static,
{
    let shared = Rc::new(Shared {
        queue,
        deliverer,
        retries: Retries {
            interval: rules.retry_interval,
            further: rules.retries,
        },
        work,
    });
    let (working, delivering) = (Busy::default(), Busy::default());
    let mut tasks = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let begun = begin(&shared, &mut tasks, rules.at_once, &working, &delivering).await;
        let wait = begun.unwrap_or_else(|error| {
            tracing::error!(error = ?error, "the queue of callbacks cannot be read");
            shared.retries.interval
        });
        tokio::select! {
            () = &mut stop => break,
            Some(ended) = tasks.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "the work on a callback broke off");
                }
            }
            () = shared.queue.changed() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
    // Here, not wherever the runtime ends: the database needs one to take its connection back.
    tasks.shutdown().await;
}

/// Begins what is due, as far as there is room. Returns how long nothing more will be due.
async fn begin<W, F>(
    shared: &Rc<Shared<W>>,
    tasks: &mut JoinSet<()>,
    at_once: usize,
    working: &Busy,
    delivering: &Busy,
) -> Result<Duration, QueueError>
where
    W: Fn(Job) -> F + 'static,
    F: Future<Output = Outcome> + 'static,
{
    let retries = shared.retries;
    let Some(store) = shared.queue.store() else {
        return Ok(retries.interval);
    };
    let now = SystemTime::now();
    for id in due(store, retries, Stage::Work, now, at_once, working).await? {
        if let Some(mark) = Mark::set(working, id) {
            let shared = Rc::clone(shared);
            tasks.spawn_local(async move {
                shared.take_up(id).await;
                drop(mark);
            });
        }
    }
    for id in due(store, retries, Stage::Delivery, now, DELIVERIES, delivering).await? {
        if let Some(mark) = Mark::set(delivering, id) {
            let shared = Rc::clone(shared);
            tasks.spawn_local(async move {
                shared.deliver(id).await;
                drop(mark);
            });
        }
    }
    Ok(retries.wait(store.next_due(now).await?, now))
}

/// What is due and not busy, at most as much as there is room for.
async fn due(store: &Store, retries: Retries, stage: Stage, now: SystemTime, most: usize, busy: &Busy) -> Result<Vec<Uuid>, QueueError> {
    let taken = busy.borrow().len();
    let free = most.saturating_sub(taken);
    if free == 0 {
        return Ok(Vec::new());
    }
    // Those that are busy are due as well.
    let ids = store.due(stage, now, retries.horizon(now), most.saturating_add(taken)).await?;
    let busy = busy.borrow();
    Ok(ids.into_iter().filter(|id| !busy.contains(id)).take(free).collect())
}

impl<W, F> Shared<W>
where
    W: Fn(Job) -> F,
    F: Future<Output = Outcome>,
{
    /// Works on a request, if it is still there.
    async fn take_up(&self, id: Uuid) {
        if let Err(error) = self.try_work(id).await {
            self.trouble(&error).await;
        }
    }

    async fn try_work(&self, id: Uuid) -> Result<(), QueueError> {
        let Some(store) = self.queue.store() else { return Ok(()) };
        let Some(job) = store.job(id).await? else { return Ok(()) };
        let runs = job.runs;
        if runs >= MOST_RUNS {
            tracing::error!(request_id = %id, runs, "a file was begun again and again and never ended");
            self.answered(store, id, JSON, &error_body(&ApiError::Internal, id)).await;
            return Ok(());
        }
        store.begin(id).await?;
        match (self.work)(job).await {
            Outcome::Answer { media_type, body } => self.answered(store, id, media_type, &body).await,
            Outcome::NoRoom => store.put_off(id, runs, later(NO_ROOM_PAUSE.min(self.retries.interval))).await?,
            Outcome::Failed if runs + 1 >= MOST_RUNS => self.answered(store, id, JSON, &error_body(&ApiError::BadGateway, id)).await,
            Outcome::Failed => store.put_off(id, runs + 1, later(self.retries.interval)).await?,
        }
        Ok(())
    }

    /// Writes an answer down. Until that has succeeded nothing else is done with it: it can be neither lost nor made twice.
    async fn answered(&self, store: &Store, id: Uuid, media_type: &str, body: &str) {
        let before = self.until_written(async || store.answered(id, media_type, body).await).await;
        let bytes = u64::try_from(body.len()).unwrap_or(u64::MAX);
        self.queue.answered(id, before, bytes);
    }

    /// Tries to deliver an answer, if it is still there.
    async fn deliver(&self, id: Uuid) {
        if let Err(error) = self.try_deliver(id).await {
            self.trouble(&error).await;
        }
    }

    async fn try_deliver(&self, id: Uuid) -> Result<(), QueueError> {
        let Some(store) = self.queue.store() else { return Ok(()) };
        let Some(answer) = store.answer(id).await? else { return Ok(()) };
        let sent = self
            .deliverer
            .send(&answer.url, &answer.method, &answer.media_type, Bytes::from(answer.body))
            .await;
        let error = match sent {
            Ok(()) => {
                measure::callback(Delivery::Delivered);
                self.remove(store, id).await;
                return Ok(());
            }
            Err(error) => error,
        };
        let (attempts, host) = (answer.attempts.saturating_add(1), host(&answer.url));
        match self.retries.next(attempts, SystemTime::now()) {
            Some(due) => {
                tracing::info!(request_id = %id, %host, attempts, %error, "a callback was not delivered");
                measure::callback(Delivery::Retried);
                self.until_written(async || store.failed(id, attempts, due).await).await;
            }
            None => {
                tracing::warn!(request_id = %id, %host, attempts, %error, "a callback is given up");
                measure::callback(Delivery::GivenUp);
                self.remove(store, id).await;
            }
        }
        Ok(())
    }

    async fn remove(&self, store: &Store, id: Uuid) {
        let bytes = self.until_written(async || store.remove(id).await).await;
        self.queue.removed(bytes);
    }

    /// Repeats a write until it succeeds, as it will once the disk has room again.
    async fn until_written<T>(&self, write: impl AsyncFn() -> Result<T, sqlx::Error>) -> T {
        loop {
            match write().await {
                Ok(written) => return written,
                Err(error) => self.trouble(&QueueError::Database(error)).await,
            }
        }
    }

    /// The database cannot be used. What was to be done with it is done later, not at once again.
    async fn trouble(&self, error: &QueueError) {
        tracing::error!(error = ?error, "the database of callbacks cannot be used");
        tokio::time::sleep(self.retries.interval).await;
    }
}

fn later(pause: Duration) -> SystemTime {
    let now = SystemTime::now();
    now.checked_add(pause).unwrap_or(now)
}
