//! What a socket and its stream share: frames in, messages out, and the gate that slows the client.
//!
//! Both ends live on one thread, so a frame costs no message between threads. Neither end waits for the other: the socket
//! puts frames in and wakes the stream, the stream puts messages out and wakes the socket. Bytes that are held count
//! against a budget of the whole process.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use crate::telemetry::metrics as measure;

/// Frames that may wait before no more is read.
const WAITING: usize = 256;
/// Bytes of frames that may wait before no more is read.
const WAITING_BYTES: usize = 256 << 10;
/// Bytes of a frame that have room in a spent budget.
const SMALL_FRAME: usize = 1 << 20;

/// What a client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromClient {
    /// A binary message: audio; empty means the end.
    Binary(Bytes),
    /// A text message.
    Text(String),
    /// The client's side of the connection ended: the code of its Close frame (1005 without one), the code that it was closed with for
    /// breaking the protocol, or none where it just broke.
    Gone(Option<u16>),
}

impl FromClient {
    /// Bytes held for the frame.
    fn cost(&self) -> usize {
        match self {
            FromClient::Binary(bytes) => bytes.len(),
            FromClient::Text(text) => text.len(),
            FromClient::Gone(_) => 0,
        }
    }
}

/// What a client is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToClient {
    /// A text message.
    Text(String),
    /// The end, with a close code and reason.
    Close(u16, String),
}

/// Undecoded bytes of all streams together, and how many there may be.
#[derive(Debug)]
pub struct Budget {
    held: AtomicUsize,
    limit: usize,
    /// A large frame goes on although the budget is spent: one at a time may, or all would wait for each other.
    exceeded: AtomicBool,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            held: AtomicUsize::new(0),
            limit,
            exceeded: AtomicBool::new(false),
        }
    }

    /// Bytes held now.
    pub fn held(&self) -> usize {
        self.held.load(Relaxed)
    }

    fn replace(&self, old: usize, new: usize) {
        self.held.fetch_add(new, Relaxed);
        self.held.fetch_sub(old, Relaxed);
        measure::undecoded(self.held());
    }

    fn is_spent(&self) -> bool {
        self.held() > self.limit
    }
}

/// The messages for a client were not taken in time: it does not read, and the stream must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client does not read its results")]
pub struct BacklogFull;

/// The shared state of a socket and its stream.
pub struct Pipe {
    inbox: RefCell<VecDeque<FromClient>>,
    outbox: RefCell<VecDeque<ToClient>>,
    backlog: usize,
    taken: Cell<u64>,
    /// Bytes in `inbox`, in the stream's own buffers, and in a frame that is still arriving.
    held: [Cell<usize>; 3],
    budget: Arc<Budget>,
    /// The frame that is arriving is the one that may exceed the budget.
    exceeds: Cell<bool>,
    /// The frame that is arriving has no room.
    no_room: Cell<bool>,
    open: Cell<bool>,
    reader: RefCell<Option<Waker>>,
}

/// Where bytes are held, as index into [`Pipe`]'s count.
#[derive(Clone, Copy, Debug)]
enum Place {
    Inbox,
    Stream,
    Frame,
}

impl Pipe {
    /// A pipe that holds at most `backlog` messages for the client.
    pub fn new(backlog: usize, budget: Arc<Budget>) -> Self {
        Self {
            inbox: RefCell::new(VecDeque::new()),
            outbox: RefCell::new(VecDeque::new()),
            backlog,
            taken: Cell::new(0),
            held: [Cell::new(0), Cell::new(0), Cell::new(0)],
            budget,
            exceeds: Cell::new(false),
            no_room: Cell::new(false),
            open: Cell::new(true),
            reader: RefCell::new(None),
        }
    }

    /// Socket: a frame arrived.
    pub fn put_in(&self, frame: FromClient) {
        self.hold(Place::Frame, 0);
        self.come_within();
        self.hold(Place::Inbox, self.count(Place::Inbox) + frame.cost());
        self.inbox.borrow_mut().push_back(frame);
    }

    /// Stream: the next frame. None while the client has half a backlog of messages to read: what it sent waits, and once much
    /// waits, no more is read.
    pub fn take_in(&self) -> Option<FromClient> {
        if self.is_crowded() {
            return None;
        }
        let frame = self.inbox.borrow_mut().pop_front()?;
        self.hold(Place::Inbox, self.count(Place::Inbox).saturating_sub(frame.cost()));
        self.wake_reader();
        Some(frame)
    }

    /// Stream: whether so many messages wait for the client that no more should be made until it has read some.
    pub fn is_crowded(&self) -> bool {
        self.outbox.borrow().len() > self.backlog / 2
    }

    /// Stream: a message for the client.
    pub fn put_out(&self, message: ToClient) -> Result<(), BacklogFull> {
        let mut outbox = self.outbox.borrow_mut();
        if outbox.len() >= self.backlog {
            return Err(BacklogFull);
        }
        outbox.push_back(message);
        Ok(())
    }

    /// Stream: drop what the client has not taken and end with this close, because it does not read.
    pub fn evict(&self, code: u16, reason: String) {
        let mut outbox = self.outbox.borrow_mut();
        outbox.clear();
        outbox.push_back(ToClient::Close(code, reason));
    }

    /// Socket: the next message for the client.
    pub fn take_out(&self) -> Option<ToClient> {
        let message = self.outbox.borrow_mut().pop_front()?;
        self.taken.set(self.taken.get() + 1);
        Some(message)
    }

    /// Relay: the next message, unless it is the end, which is left to the socket.
    pub fn take_text(&self) -> Option<String> {
        let next = self
            .outbox
            .borrow_mut()
            .pop_front_if(|message| matches!(message, ToClient::Text(_)));
        let ToClient::Text(text) = next? else { return None };
        self.taken.set(self.taken.get() + 1);
        Some(text)
    }

    /// Relay: whether the end is what comes next.
    pub fn is_at_end(&self) -> bool {
        matches!(self.outbox.borrow().front(), Some(ToClient::Close(..)))
    }

    /// Messages that the socket, or the relay in its place, has taken so far.
    pub fn taken(&self) -> u64 {
        self.taken.get()
    }

    /// Stream: how many received bytes it holds undecoded, and whether it wants more. Returns whether more is read.
    pub fn set_reading(&self, undecoded: usize, wanted: bool) -> bool {
        self.hold(Place::Stream, undecoded);
        // A stream that holds nothing may always read, so that a spent budget never stops everybody for good.
        let open = wanted && (undecoded == 0 || !self.budget.is_spent());
        if self.open.replace(open) && !open {
            measure::reading_paused();
        }
        self.wake_reader();
        open
    }

    /// Socket: ready once more may be read.
    pub fn poll_open(&self, context: &Context<'_>) -> Poll<()> {
        if self.may_read() {
            return Poll::Ready(());
        }
        *self.reader.borrow_mut() = Some(context.waker().clone());
        Poll::Pending
    }

    /// Socket: bytes of a frame arrived.
    pub fn arriving(&self, bytes: usize) {
        self.hold(Place::Frame, self.count(Place::Frame) + bytes);
    }

    /// Socket: whether there is room for more of the frame that is arriving. A small one always has it, and of the large ones that find
    /// the budget spent one.
    pub fn has_room(&self) -> bool {
        let mut room = self.count(Place::Frame) <= SMALL_FRAME || !self.budget.is_spent() || self.exceeds.get();
        if !room {
            room = !self.budget.exceeded.swap(true, Relaxed);
            self.exceeds.set(room);
        }
        self.no_room.set(!room);
        room
    }

    /// The frame has arrived, or never will: another one may exceed the budget.
    fn come_within(&self) {
        if self.exceeds.take() {
            self.budget.exceeded.store(false, Relaxed);
        }
    }

    /// Stream: whether something that the client sent waits on this side: frames to be taken in, or one that has no room to arrive.
    pub fn holds_up(&self) -> bool {
        !self.inbox.borrow().is_empty() || self.no_room.get()
    }

    fn may_read(&self) -> bool {
        self.open.get() && self.inbox.borrow().len() < WAITING && self.count(Place::Inbox) < WAITING_BYTES
    }

    fn wake_reader(&self) {
        if self.may_read()
            && let Some(waker) = self.reader.borrow_mut().take()
        {
            waker.wake();
        }
    }

    fn count(&self, place: Place) -> usize {
        self.cell(place).get()
    }

    fn cell(&self, place: Place) -> &Cell<usize> {
        let [inbox, stream, frame] = &self.held;
        match place {
            Place::Inbox => inbox,
            Place::Stream => stream,
            Place::Frame => frame,
        }
    }

    fn hold(&self, place: Place, bytes: usize) {
        let old = self.cell(place).replace(bytes);
        self.budget.replace(old, bytes);
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.come_within();
        let held = self.held.iter().map(Cell::get).sum();
        self.budget.replace(held, 0);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn pipe(limit: usize) -> (Pipe, Arc<Budget>) {
        let budget = Arc::new(Budget::new(limit));
        (Pipe::new(2, Arc::clone(&budget)), budget)
    }

    fn open(pipe: &Pipe) -> bool {
        pipe.poll_open(&Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn bytes_are_counted_wherever_they_are_held_and_given_back() {
        let (pipe, budget) = pipe(1000);
        pipe.arriving(10);
        pipe.put_in(FromClient::Binary(Bytes::from_static(&[0; 100])));
        assert_eq!(budget.held(), 100);
        pipe.take_in().unwrap();
        pipe.set_reading(60, true);
        assert_eq!(budget.held(), 60);
        drop(pipe);
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn a_spent_budget_stops_those_who_hold_bytes() {
        let (pipe, budget) = pipe(50);
        pipe.set_reading(60, true);
        assert!(!open(&pipe));
        let other = Pipe::new(2, budget);
        other.set_reading(0, true);
        assert!(open(&other), "a stream that holds nothing may read");
        pipe.set_reading(0, true);
        assert!(open(&pipe));
    }

    #[test]
    fn a_backlog_is_bounded_and_eviction_leaves_only_the_close() {
        let (pipe, _) = pipe(50);
        let text = || ToClient::Text("x".into());
        pipe.put_out(text()).unwrap();
        pipe.put_out(text()).unwrap();
        assert_eq!(pipe.put_out(text()), Err(BacklogFull));
        pipe.evict(1011, "slow".into());
        assert_eq!(pipe.take_out(), Some(ToClient::Close(1011, "slow".into())));
        assert_eq!(pipe.take_out(), None);
    }

    #[test]
    fn a_relay_takes_the_messages_and_leaves_the_end_to_the_socket() {
        let (pipe, _) = pipe(50);
        assert!(!pipe.is_at_end());
        pipe.put_out(ToClient::Text("x".into())).unwrap();
        pipe.put_out(ToClient::Close(1000, String::new())).unwrap();
        assert_eq!((pipe.take_text().as_deref(), pipe.taken()), (Some("x"), 1));
        assert_eq!((pipe.take_text(), pipe.taken()), (None, 1));
        assert!(pipe.is_at_end());
        assert_eq!(pipe.take_out(), Some(ToClient::Close(1000, String::new())));
    }

    #[test]
    fn a_large_frame_needs_room_in_the_budget() {
        let (first, budget) = pipe(2 << 20);
        first.arriving(2 << 20);
        assert!(first.has_room());
        let [second, third] = [0, 1].map(|_| Pipe::new(2, Arc::clone(&budget)));
        second.arriving(1 << 20);
        assert!(second.has_room(), "a small one always has room");
        second.arriving(1);
        assert!(second.has_room(), "one may go on");
        third.arriving((1 << 20) + 1);
        assert!(!third.has_room() && !first.has_room());
        assert!(third.holds_up() && !second.holds_up());
        second.put_in(FromClient::Binary(Bytes::new()));
        assert!(third.has_room(), "its turn has come");
        assert!(!first.has_room());
        drop(third);
        assert!(first.has_room());
    }
}
