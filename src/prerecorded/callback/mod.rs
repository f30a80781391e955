//! Results of files that are delivered to an address instead of the caller.
//!
//! What it does: keeps each accepted request on disk until its answer is delivered or given up, has it worked on, and delivers the
//! answer, again and again if need be. What it does not do: read requests, or make answers: the door puts requests into the
//! [`queue`] and gives [`run()`] what works on them. Who calls it: the upload handler, the application at start and stop.
//!
//! A request goes through three states. *Waiting*: its row and its audio are on disk, the client has its 200. *Answered*: the answer
//! is in the row, the audio is gone. *Gone*: delivered or given up. Each step is written before the next is taken, so whatever ends
//! the process, the next one goes on: a file may be worked on twice then, and an answer whose receipt was not noted comes twice.

pub mod deliver;
pub mod queue;
pub mod run;
pub mod schedule;
pub mod store;

pub use self::deliver::Deliverer;
pub use self::queue::{Incoming, Queue};
pub use self::run::{Outcome, run};
pub use self::store::{Job, Request, Source};
