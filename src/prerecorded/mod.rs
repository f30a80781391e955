//! Recorded files: bytes from an upload or an address to a finished transcript, as work that yields to live streams.

pub mod assemble;
pub mod callback;
pub mod fetch;
pub mod job;
pub mod segment;
