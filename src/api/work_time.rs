//! How long a request may be worked on, not counting the time that its client takes to send it.
//!
//! What it does: notes when the bytes of a request are waited for, and ends work that has had its time otherwise. What it does not
//! do: limit the silence of a client; the reader of the body does. Who calls it: the upload handler.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use tokio::time::{Instant, sleep_until};

/// The time of one request.
#[derive(Debug)]
pub struct WorkTime {
    limit: Duration,
    /// What was waited for bytes so far, and since when they are waited for now.
    waited: Cell<Duration>,
    waiting: Cell<Option<Instant>>,
}

impl WorkTime {
    /// At most `limit` of work.
    pub fn new(limit: Duration) -> Self {
        Self {
            limit,
            waited: Cell::default(),
            waiting: Cell::default(),
        }
    }

    /// `bytes`, noting how long they are waited for.
    pub fn watch<S: Stream + Unpin>(&self, mut bytes: S) -> impl Stream<Item = S::Item> + Unpin {
        futures_util::stream::poll_fn(move |context| {
            let polled = bytes.poll_next_unpin(context);
            self.note(polled.is_pending());
            polled
        })
    }

    /// The outcome of `work`; none if it takes more time than it may have.
    pub async fn bound<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let end = Instant::now() + self.limit;
        let (mut work, mut timer) = (pin!(work), pin!(sleep_until(end)));
        poll_fn(|context| {
            if let Poll::Ready(outcome) = work.as_mut().poll(context) {
                return Poll::Ready(Some(outcome));
            }
            // The client's next bytes, or the end of the patience with it, wake the work.
            if self.waiting.get().is_some() {
                return Poll::Pending;
            }
            timer.as_mut().reset(end + self.waited.get());
            timer.as_mut().poll(context).map(|()| None)
        })
        .await
    }

    fn note(&self, waits: bool) {
        let now = Instant::now();
        match self.waiting.take() {
            since @ Some(_) if waits => self.waiting.set(since),
            None if waits => self.waiting.set(Some(now)),
            Some(since) => self.waited.set(self.waited.get() + now.saturating_duration_since(since)),
            None => {}
        }
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic
)]
mod tests {
    use futures_util::stream::unfold;
    use tokio::time::sleep;

    use super::*;

    /// Three items, each a while after the one before was taken.
    fn slow(pause: Duration) -> impl Stream<Item = u32> + Unpin {
        Box::pin(unfold(0, move |n| async move {
            sleep(pause).await;
            (n < 3).then_some((n, n + 1))
        }))
    }

    async fn work(bytes: impl Stream<Item = u32> + Unpin, each: Duration) -> u32 {
        let mut bytes = bytes;
        let mut taken = 0;
        while bytes.next().await.is_some() {
            sleep(each).await;
            taken += 1;
        }
        taken
    }

    #[tokio::test]
    async fn only_the_time_of_the_work_counts() {
        // Bytes are waited for 1.2 s, and worked on for 150 ms.
        let (pause, each) = (Duration::from_millis(300), Duration::from_millis(50));
        for (limit, outcome) in [(Duration::from_millis(900), Some(3)), (Duration::from_millis(100), None)] {
            let time = WorkTime::new(limit);
            assert_eq!(time.bound(work(time.watch(slow(pause)), each)).await, outcome, "{limit:?}");
        }
    }

    #[tokio::test]
    async fn work_that_never_ends_is_ended() {
        let time = WorkTime::new(Duration::from_millis(50));
        assert_eq!(time.bound(std::future::pending::<()>()).await, None);
    }
}
