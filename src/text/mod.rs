//! Recognised pieces to words, silence to the ends of utterances. Pure.
//!
//! What it does not do: know engines, messages or clocks; times are positions on a stream's sample clock.
//! Who calls it: `stream`, `prerecorded`, the command line.

pub mod endpoint;
pub mod format;
pub mod paragraphs;
pub mod redact;
pub mod rewrite;
mod run;
mod search;
pub mod spoken;
pub mod subtitles;
pub mod unfinished;
pub mod words;
