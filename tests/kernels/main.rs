//! Every kernel, as the compiler turns it into PTX for each family of cards, in the emulator against float64 references.
//!
//! Memory, shared-memory races and reads of what was never written are checked on the way, with warps and blocks in order and
//! shuffled. What this cannot see is written in `tests/emulator/README.md`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "tests"
)]

#[path = "../common/skipped.rs"]
mod skipped;

mod depthwise_conv;
mod device;
mod layer_norm;
mod limits;
mod linear;
mod log_mel;
mod log_softmax;
mod rel_attention;
mod steps;
mod subsample;
mod support;
mod transducer;
