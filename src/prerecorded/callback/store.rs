//! The rows of the queue, in SQLite.
//!
//! What it does: one function for each step of a request. Every change is on disk when its function returns. What it does not do:
//! files of audio, limits, time. Who calls it: [`super::queue`], [`super::run()`].

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use uuid::Uuid;

/// A row without an answer waits for work; one with an answer for delivery, and `due` says when.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS callbacks (
    id TEXT PRIMARY KEY,
    created INTEGER NOT NULL,
    holder TEXT,
    query TEXT NOT NULL,
    address TEXT,
    url TEXT NOT NULL,
    method TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    runs INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    due INTEGER NOT NULL DEFAULT 0,
    media_type TEXT,
    answer BLOB
) STRICT";
const INDEX: &str = "CREATE INDEX IF NOT EXISTS callbacks_due ON callbacks (due, id)";

/// What a client asked for.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// Its id.
    pub id: Uuid,
    /// When it came.
    pub created: SystemTime,
    /// Name of the key that it came with.
    pub holder: Option<String>,
    /// Its parameters, as they came.
    pub query: String,
    /// Where the file is.
    pub source: Source,
    /// Where the answer goes.
    pub url: String,
    /// By which HTTP method.
    pub method: &'static str,
}

/// Where the file of a request is.
#[derive(Clone, PartialEq, Eq)]
pub enum Source {
    /// At an address.
    Address(String),
    /// In the queue's folder.
    Spool,
}

/// A request to be worked on.
#[derive(Clone, PartialEq, Eq)]
pub struct Job {
    /// Its id.
    pub id: Uuid,
    /// When it came.
    pub created: SystemTime,
    /// Name of the key that it came with.
    pub holder: Option<String>,
    /// Its parameters, as they came.
    pub query: String,
    /// Where the file is.
    pub source: Source,
    /// Times that it was begun and not ended.
    pub runs: u32,
}

/// An answer to be delivered.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// Where it goes.
    pub url: String,
    /// By which HTTP method.
    pub method: String,
    /// What it is.
    pub media_type: String,
    /// The answer.
    pub body: Vec<u8>,
    /// Attempts that failed.
    pub attempts: u32,
}

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// To be worked on.
    Work,
    /// To be delivered.
    Delivery,
}

/// The database.
pub struct Store {
    pool: SqlitePool,
}

impl Store {
    /// Opens the file, which is made if it is not there.
    pub async fn open(path: &Path) -> Result<Self, sqlx::Error> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        // One connection: SQLite has one writer at a time anyway.
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await?;
        sqlx::query(TABLE).execute(&pool).await?;
        sqlx::query(INDEX).execute(&pool).await?;
        Ok(Self { pool })
    }

    /// Closes the file; nothing can be done with it any more.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// The ids of all requests whose audio is still needed.
    pub async fn spooled(&self) -> Result<Vec<Uuid>, sqlx::Error> {
        let rows: Vec<(String,)> = sqlx::query_as("SELECT id FROM callbacks WHERE answer IS NULL AND address IS NULL")
            .fetch_all(&self.pool)
            .await?;
        Ok(ids(rows))
    }

    /// Number of requests, and bytes that they have on disk.
    pub async fn held(&self) -> Result<(u64, u64), sqlx::Error> {
        let rows: Vec<(i64, i64)> = sqlx::query_as("SELECT COUNT(*), COALESCE(SUM(bytes), 0) FROM callbacks")
            .fetch_all(&self.pool)
            .await?;
        Ok(rows
            .first()
            .map_or((0, 0), |(count, bytes)| (count.unsigned_abs(), bytes.unsigned_abs())))
    }

    /// Takes a request in, with the bytes that it has on disk.
    pub async fn insert(&self, request: Request, bytes: u64) -> Result<(), sqlx::Error> {
        let address = match request.source {
            Source::Address(address) => Some(address),
            Source::Spool => None,
        };
        sqlx::query("INSERT INTO callbacks (id, created, holder, query, address, url, method, bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
            .bind(request.id.to_string())
            .bind(millis(request.created))
            .bind(request.holder)
            .bind(request.query)
            .bind(address)
            .bind(request.url)
            .bind(request.method.to_owned())
            .bind(signed(bytes))
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Requests that wait for this and are due now, the longest waiting first. What is due only after `horizon` is due as well.
    pub async fn due(&self, stage: Stage, now: SystemTime, horizon: SystemTime, most: usize) -> Result<Vec<Uuid>, sqlx::Error> {
        let rows: Vec<(String,)> =
            sqlx::query_as("SELECT id FROM callbacks WHERE (answer IS NULL) = ? AND (due <= ? OR due > ?) ORDER BY due, id LIMIT ?")
                .bind(i64::from(stage == Stage::Work))
                .bind(millis(now))
                .bind(millis(horizon))
                .bind(i64::try_from(most).unwrap_or(i64::MAX))
                .fetch_all(&self.pool)
                .await?;
        Ok(ids(rows))
    }

    /// When the next thing is due that is not due now.
    pub async fn next_due(&self, now: SystemTime) -> Result<Option<SystemTime>, sqlx::Error> {
        let rows: Vec<(Option<i64>,)> = sqlx::query_as("SELECT MIN(due) FROM callbacks WHERE due > ?")
            .bind(millis(now))
            .fetch_all(&self.pool)
            .await?;
        Ok(rows.first().and_then(|(due,)| *due).map(time))
    }

    /// A request that waits for work; none if it is gone or answered.
    pub async fn job(&self, id: Uuid) -> Result<Option<Job>, sqlx::Error> {
        type Row = (i64, Option<String>, String, Option<String>, i64);
        let rows: Vec<Row> = sqlx::query_as("SELECT created, holder, query, address, runs FROM callbacks WHERE id = ? AND answer IS NULL")
            .bind(id.to_string())
            .fetch_all(&self.pool)
            .await?;
        Ok(rows.into_iter().next().map(|(created, holder, query, address, runs)| Job {
            id,
            created: time(created),
            holder,
            query,
            source: address.map_or(Source::Spool, Source::Address),
            runs: u32::try_from(runs).unwrap_or(u32::MAX),
        }))
    }

    /// An answer that waits for delivery; none if it is gone.
    pub async fn answer(&self, id: Uuid) -> Result<Option<Answer>, sqlx::Error> {
        type Row = (String, String, String, Vec<u8>, i64);
        let rows: Vec<Row> =
            sqlx::query_as("SELECT url, method, media_type, answer, attempts FROM callbacks WHERE id = ? AND answer IS NOT NULL")
                .bind(id.to_string())
                .fetch_all(&self.pool)
                .await?;
        Ok(rows.into_iter().next().map(|(url, method, media_type, body, attempts)| Answer {
            url,
            method,
            media_type,
            body,
            attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
        }))
    }

    /// Notes that the work on a request begins.
    pub async fn begin(&self, id: Uuid) -> Result<(), sqlx::Error> {
        sqlx::query("UPDATE callbacks SET runs = runs + 1 WHERE id = ?")
            .bind(id.to_string())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Puts a request off that could not be worked on. `runs`: how often it was begun and not ended.
    pub async fn put_off(&self, id: Uuid, runs: u32, due: SystemTime) -> Result<(), sqlx::Error> {
        sqlx::query("UPDATE callbacks SET runs = ?, due = ? WHERE id = ?")
            .bind(i64::from(runs))
            .bind(millis(due))
            .bind(id.to_string())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Puts a request's answer in the place of its audio. Returns how many bytes it had before.
    pub async fn answered(&self, id: Uuid, media_type: &str, body: &str) -> Result<u64, sqlx::Error> {
        let before = self.bytes(id).await?;
        sqlx::query("UPDATE callbacks SET media_type = ?, answer = ?, bytes = ?, due = 0 WHERE id = ?")
            .bind(media_type.to_owned())
            .bind(body.as_bytes().to_vec())
            .bind(i64::try_from(body.len()).unwrap_or(i64::MAX))
            .bind(id.to_string())
            .execute(&self.pool)
            .await?;
        Ok(before)
    }

    /// Notes that so many attempts have failed, and when the next is due.
    pub async fn failed(&self, id: Uuid, attempts: u32, due: SystemTime) -> Result<(), sqlx::Error> {
        sqlx::query("UPDATE callbacks SET attempts = ?, due = ? WHERE id = ?")
            .bind(i64::from(attempts))
            .bind(millis(due))
            .bind(id.to_string())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Forgets a request. Returns how many bytes it had.
    pub async fn remove(&self, id: Uuid) -> Result<u64, sqlx::Error> {
        let before = self.bytes(id).await?;
        sqlx::query("DELETE FROM callbacks WHERE id = ?")
            .bind(id.to_string())
            .execute(&self.pool)
            .await?;
        Ok(before)
    }

    async fn bytes(&self, id: Uuid) -> Result<u64, sqlx::Error> {
        let rows: Vec<(i64,)> = sqlx::query_as("SELECT bytes FROM callbacks WHERE id = ?")
            .bind(id.to_string())
            .fetch_all(&self.pool)
            .await?;
        Ok(rows.first().map_or(0, |(bytes,)| bytes.unsigned_abs()))
    }
}

fn ids(rows: Vec<(String,)>) -> Vec<Uuid> {
    rows.iter().filter_map(|(id,)| id.parse().ok()).collect()
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Milliseconds since 1970.
fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn time(millis: i64) -> SystemTime {
    let since = Duration::from_millis(millis.max(0).unsigned_abs());
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn request(n: u128, source: Source) -> Request {
        Request {
            id: Uuid::from_u128(n),
            created: time(1_000),
            holder: Some("desk".into()),
            query: "callback=http%3A%2F%2Fhost%2F".into(),
            source,
            url: "http://host/".into(),
            method: "PUT",
        }
    }

    #[tokio::test]
    async fn a_request_goes_through_its_states_and_survives_a_new_opening() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("callbacks.db");
        let (first, second) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let (now, horizon) = (time(10_000), time(40_000));

        let store = Store::open(&path).await.unwrap();
        store.insert(request(2, Source::Spool), 500).await.unwrap();
        store.insert(request(1, Source::Address("http://file/".into())), 70).await.unwrap();
        assert_eq!(store.held().await.unwrap(), (2, 570));
        assert_eq!(store.spooled().await.unwrap(), [second]);
        assert_eq!(store.due(Stage::Work, now, horizon, 9).await.unwrap(), [first, second]);
        assert_eq!(store.due(Stage::Work, now, horizon, 1).await.unwrap(), [first]);
        store.begin(first).await.unwrap();
        store.put_off(second, 0, time(20_000)).await.unwrap();
        store.close().await;

        let store = Store::open(&path).await.unwrap();
        let job = store.job(first).await.unwrap().unwrap();
        assert_eq!((job.runs, job.created, job.holder.as_deref()), (1, time(1_000), Some("desk")));
        assert!(job.source == Source::Address("http://file/".into()));
        assert_eq!(store.due(Stage::Work, now, horizon, 9).await.unwrap(), [first]);
        assert_eq!(store.next_due(now).await.unwrap(), Some(time(20_000)));
        assert_eq!(store.answered(first, "application/json", "{}").await.unwrap(), 70);
        assert!(store.job(first).await.unwrap().is_none());
        assert!(store.due(Stage::Work, now, horizon, 9).await.unwrap().is_empty());
        assert_eq!(store.due(Stage::Delivery, now, horizon, 9).await.unwrap(), [first]);
        store.failed(first, 3, time(50_000)).await.unwrap();
        let answer = store.answer(first).await.unwrap().unwrap();
        assert_eq!(
            (answer.method.as_str(), answer.body.as_slice(), answer.attempts),
            ("PUT", &b"{}"[..], 3)
        );
        assert_eq!(
            store.due(Stage::Delivery, now, horizon, 9).await.unwrap(),
            [first],
            "what is due beyond the horizon was written under another clock"
        );
        assert_eq!(store.remove(first).await.unwrap(), 2);
        assert!(store.answer(first).await.unwrap().is_none());
        assert_eq!(store.held().await.unwrap(), (1, 500));
    }
}
