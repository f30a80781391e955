//! What was accepted and is not delivered yet: rows in a database, audio in a folder beside it, and how much there may be of both.
//!
//! What it does: lets requests in within the limits, keeps their audio, and gives their places back. What it does not do: work or
//! deliver. Who calls it: the upload handler, [`super::run()`], the application at start and stop.
//!
//! The files are opened when the first request comes, or at start if an earlier process left some. One process has them at a time, which
//! a lock on a file sees to; another one refuses requests with a callback.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, OnceCell};
use uuid::Uuid;

use super::store::{Request, Source, Store};
use crate::config;
use crate::error::ApiError;
use crate::telemetry::metrics as measure;

/// Bytes read from a file of audio at a time.
const PIECE: usize = 64 << 10;
/// Longest wait for the database to close.
const CLOSING: Duration = Duration::from_secs(2);

/// Why a request cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// As much waits as may.
    #[error("as many callbacks are pending as may be")]
    Full,
    /// No place for the files is known.
    #[error("there is no state folder for callbacks: set callback.database")]
    NoFolder,
    /// Another process has the files.
    #[error("another process uses the database of callbacks")]
    InUse,
    /// A file cannot be read or written.
    #[error("the files of callbacks cannot be used")]
    Files(#[from] io::Error),
    /// The database cannot be read or written.
    #[error("the database of callbacks cannot be used")]
    Database(#[from] sqlx::Error),
}

impl From<QueueError> for ApiError {
    fn from(error: QueueError) -> Self {
        match &error {
            QueueError::Full => tracing::warn!("{error}"),
            _ => tracing::error!(error = ?error, "a request with a callback was refused"),
        }
        ApiError::ServiceUnavailable
    }
}

/// Requests in the queue and bytes that they have on disk, with those that are being taken.
#[derive(Debug)]
struct Room {
    held: Mutex<(u64, u64)>,
    most: (u64, u64),
}

impl Room {
    fn take(&self, requests: u64, bytes: u64) -> Result<(), QueueError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = (held.0.saturating_add(requests), held.1.saturating_add(bytes));
        if wanted.0 > self.most.0 || wanted.1 > self.most.1 {
            return Err(QueueError::Full);
        }
        *held = wanted;
        measure::callbacks_pending(held.0);
        Ok(())
    }

    /// Something came in, or is there, whatever the limits.
    fn add(&self, requests: u64, bytes: u64) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        *held = (held.0.saturating_add(requests), held.1.saturating_add(bytes));
        measure::callbacks_pending(held.0);
    }

    fn give_back(&self, requests: u64, bytes: u64) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        *held = (held.0.saturating_sub(requests), held.1.saturating_sub(bytes));
        measure::callbacks_pending(held.0);
    }
}

/// The queue.
pub struct Queue {
    database: Option<PathBuf>,
    room: Arc<Room>,
    opened: OnceCell<Opened>,
    changed: Notify,
}

struct Opened {
    store: Store,
    spool: PathBuf,
    /// Held as long as the files are used.
    _lock: File,
}

impl Queue {
    /// A queue under these rules. Nothing is opened yet.
    pub fn new(rules: &config::Callback) -> Self {
        Self {
            database: rules.database.clone().or_else(usual_database),
            room: Arc::new(Room {
                held: Mutex::default(),
                most: (rules.max_pending, rules.max_bytes),
            }),
            opened: OnceCell::new(),
            changed: Notify::new(),
        }
    }

    /// Takes up what an earlier process left.
    ///
    /// # Errors
    /// The files are there and cannot be used.
    pub async fn resume(&self) -> Result<(), QueueError> {
        if self.database.as_ref().is_some_and(|path| path.exists()) {
            self.open().await?;
        }
        Ok(())
    }

    /// Closes the database. What is written there is safe without that; it only leaves the file tidy.
    pub async fn close(&self) {
        if let Some(opened) = self.opened.get()
            && tokio::time::timeout(CLOSING, opened.store.close()).await.is_err()
        {
            tracing::warn!("the database of callbacks is still in use");
        }
    }

    /// Requests that were accepted, or are being taken, and are not delivered.
    pub fn pending(&self) -> u64 {
        self.room.held.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    /// Ready once a request was accepted or answered since the last call.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The rows, if there may be any.
    pub fn store(&self) -> Option<&Store> {
        self.opened.get().map(|opened| &opened.store)
    }

    /// Takes a place for a request.
    ///
    /// # Errors
    /// [`QueueError`]: there is none, or the files cannot be used.
    pub async fn reserve(&self, id: Uuid) -> Result<Incoming, QueueError> {
        let audio = spooled(&self.open().await?.spool, id);
        self.room.take(1, 0)?;
        Ok(Incoming {
            id,
            audio,
            room: Arc::clone(&self.room),
            bytes: 0,
            kept: false,
        })
    }

    /// Takes a request in. From here on it is not lost.
    ///
    /// # Errors
    /// [`QueueError`]: it was not taken.
    pub async fn accept(&self, request: Request, mut incoming: Incoming) -> Result<(), QueueError> {
        let opened = self.open().await?;
        let text = match &request.source {
            Source::Address(address) => address.len() + request.query.len(),
            Source::Spool => request.query.len(),
        };
        incoming.take(u64::try_from(text).unwrap_or(u64::MAX))?;
        opened.store.insert(request, incoming.bytes).await?;
        incoming.kept = true;
        self.changed.notify_one();
        Ok(())
    }

    /// The audio of a request.
    ///
    /// # Errors
    /// It is not there.
    pub async fn audio(&self, id: Uuid) -> io::Result<impl Stream<Item = io::Result<Bytes>> + Unpin + use<>> {
        let spool = self.opened.get().map_or(Path::new(""), |opened| opened.spool.as_path());
        let file = tokio::fs::File::open(spooled(spool, id)).await?;
        Ok(Box::pin(futures_util::stream::try_unfold(file, |mut file| async move {
            let mut piece = vec![0; PIECE];
            let count = file.read(&mut piece).await?;
            piece.truncate(count);
            io::Result::Ok((count > 0).then(|| (Bytes::from(piece), file)))
        })))
    }

    /// A request's answer took the place of its audio.
    pub(super) fn answered(&self, id: Uuid, before: u64, now: u64) {
        self.room.give_back(0, before);
        self.room.add(0, now);
        if let Some(opened) = self.opened.get() {
            // There is none if the file is at an address; what is left by mistake goes at the next start.
            std::fs::remove_file(spooled(&opened.spool, id)).ok();
        }
        self.changed.notify_one();
    }

    /// A request was delivered or given up.
    pub(super) fn removed(&self, bytes: u64) {
        self.room.give_back(1, bytes);
    }

    async fn open(&self) -> Result<&Opened, QueueError> {
        self.opened
            .get_or_try_init(|| async {
                let path = self.database.clone().ok_or(QueueError::NoFolder)?;
                let opened = Opened::new(&path).await?;
                let (requests, bytes) = opened.store.held().await?;
                self.room.add(requests, bytes);
                if requests > 0 {
                    tracing::info!(requests, "callbacks of an earlier run are taken up");
                }
                self.changed.notify_one();
                Ok(opened)
            })
            .await
    }
}

impl Opened {
    async fn new(path: &Path) -> Result<Self, QueueError> {
        let spool = path.with_extension("spool");
        // Only for us: callers' audio, and passwords in addresses.
        DirBuilder::new().recursive(true).mode(0o700).create(&spool)?;
        let file = |path: &Path| OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
        let lock = file(&path.with_extension("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(QueueError::InUse),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        file(path)?;
        let store = Store::open(path).await?;
        forget_unaccepted(&spool, &store.spooled().await?)?;
        Ok(Self { store, spool, _lock: lock })
    }
}

/// Removes audio whose request was never accepted or is answered.
fn forget_unaccepted(spool: &Path, needed: &[Uuid]) -> io::Result<()> {
    for entry in std::fs::read_dir(spool)? {
        let path = entry?.path();
        if !needed.iter().any(|id| spooled(spool, *id) == path) {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn spooled(spool: &Path, id: Uuid) -> PathBuf {
    spool.join(format!("{id}.audio"))
}

/// In the user's state folder (XDG Base Directory Specification).
fn usual_database() -> Option<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    let state = std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    state.or_else(home).map(|folder| folder.join("hark/callbacks.db"))
}

/// A request that is being taken. Dropped before it was accepted, it leaves nothing behind.
#[derive(Debug)]
pub struct Incoming {
    id: Uuid,
    audio: PathBuf,
    room: Arc<Room>,
    bytes: u64,
    kept: bool,
}

impl Incoming {
    /// Writes the request's audio. It is on disk when this returns.
    ///
    /// # Errors
    /// The body's own, or that there is no room for it, in the queue or on the disk.
    pub async fn write(&mut self, mut body: impl Stream<Item = Result<Bytes, ApiError>> + Unpin) -> Result<(), ApiError> {
        let path = self.audio.clone();
        let mut options = tokio::fs::OpenOptions::new();
        options.create_new(true).write(true).mode(0o600);
        let mut file = options.open(&path).await.map_err(no_room)?;
        while let Some(bytes) = body.next().await {
            let bytes = bytes?;
            self.take(u64::try_from(bytes.len()).unwrap_or(u64::MAX))?;
            file.write_all(&bytes).await.map_err(no_room)?;
        }
        file.flush().await.map_err(no_room)?;
        file.sync_all().await.map_err(no_room)?;
        // The name in the folder has to last as well.
        if let Some(folder) = path.parent() {
            let folder = tokio::fs::File::open(folder).await.map_err(no_room)?;
            folder.sync_all().await.map_err(no_room)?;
        }
        tracing::debug!(request_id = %self.id, bytes = self.bytes, "the audio is kept");
        Ok(())
    }

    fn take(&mut self, bytes: u64) -> Result<(), QueueError> {
        self.room.take(0, bytes)?;
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(())
    }
}

fn no_room(error: io::Error) -> ApiError {
    QueueError::from(error).into()
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.kept {
            self.room.give_back(1, self.bytes);
            std::fs::remove_file(&self.audio).ok();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::time::SystemTime;

    use futures_util::TryStreamExt;

    use super::*;

    fn queue(folder: &Path, max_pending: u64, max_bytes: u64) -> Queue {
        Queue::new(&config::Callback {
            database: Some(folder.join("deep/callbacks.db")),
            max_pending,
            max_bytes,
            ..config::Callback::default()
        })
    }

    fn request(n: u128) -> Request {
        Request {
            id: Uuid::from_u128(n),
            created: SystemTime::UNIX_EPOCH,
            holder: None,
            query: "0123456789".into(),
            source: Source::Spool,
            url: "http://host/".into(),
            method: "POST",
        }
    }

    async fn put(queue: &Queue, n: u128, audio: &'static [u8]) -> Result<(), ApiError> {
        let mut incoming = queue.reserve(Uuid::from_u128(n)).await?;
        let pieces = audio.chunks(7).map(|piece| Ok(Bytes::from_static(piece)));
        incoming.write(futures_util::stream::iter(pieces)).await?;
        Ok(queue.accept(request(n), incoming).await?)
    }

    fn files(folder: &Path) -> usize {
        std::fs::read_dir(folder.join("deep/callbacks.spool")).unwrap().count()
    }

    #[tokio::test]
    async fn requests_are_let_in_up_to_both_limits_and_refused_ones_leave_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let queue = queue(folder.path(), 2, 70);
        put(&queue, 1, &[1; 30]).await.unwrap();
        assert_eq!(
            put(&queue, 2, &[2; 31]).await,
            Err(ApiError::ServiceUnavailable),
            "71 bytes with the query"
        );
        assert_eq!((queue.pending(), files(folder.path())), (1, 1));
        put(&queue, 2, &[2; 20]).await.unwrap();
        assert_eq!(put(&queue, 3, b"").await, Err(ApiError::ServiceUnavailable), "two are there");
        queue.removed(40);
        put(&queue, 4, b"").await.unwrap();
        assert_eq!((queue.pending(), files(folder.path())), (2, 3));
    }

    #[tokio::test]
    async fn what_was_accepted_is_there_after_a_restart_and_what_was_not_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let first = queue(folder.path(), 9, 1_000);
        first.resume().await.unwrap();
        assert!(first.store().is_none(), "nothing is made before it is needed");
        put(&first, 1, b"some audio").await.unwrap();
        let second = queue(folder.path(), 9, 1_000);
        assert!(matches!(second.resume().await, Err(QueueError::InUse)));
        first.close().await;
        drop(first);

        std::fs::write(folder.path().join("deep/callbacks.spool/half.audio"), "x").unwrap();
        second.resume().await.unwrap();
        assert_eq!((second.pending(), files(folder.path())), (1, 1));
        let audio = second.audio(Uuid::from_u128(1)).await.unwrap();
        let audio: Vec<Bytes> = audio.try_collect().await.unwrap();
        assert_eq!(audio.concat(), b"some audio");
        second.answered(Uuid::from_u128(1), 20, 5);
        assert_eq!(files(folder.path()), 0);
        assert!(second.audio(Uuid::from_u128(1)).await.is_err());
    }
}
