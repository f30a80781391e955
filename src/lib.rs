//! Hark: a self-hosted, real-time speech-to-text engine.
//!
//! Modules in layer order; a module may use only those above it (checked by `tests/repo.rs`). The page
//! `docs/architecture.md` tells the way of a chunk through them.

pub mod error;
pub use hark_pure::{terms, units};

pub mod config;
pub mod telemetry;
pub mod wire;

pub mod audio;
pub mod text;

#[cfg(feature = "cuda")]
pub mod gpu;

pub mod ops;

pub mod model;

pub mod engine;

pub mod scheduler;

pub mod prerecorded;
pub mod stream;

pub mod api;

pub mod app;
pub mod cli;
