//! A CUDA driver library (`libcuda.so`) on the PTX emulator, so that unmodified CUDA host code runs on a machine without a GPU.
//!
//! A test opens `libfake_driver.so` by its absolute path, with global symbols, and leaves it open; see `README.md`. Everything is
//! synchronous: a call has done its work when it returns. What cannot be expressed that way (real overlap of streams) is not
//! tested by it.
#![allow(non_snake_case, reason = "the names are the driver API's")]
#![allow(clippy::missing_safety_doc, reason = "the driver API documents what its pointers must be")]
#![allow(
    clippy::as_conversions,
    reason = "handles are numbers dressed as pointers, sizes are C's; a test-only crate"
)]
#![allow(clippy::indexing_slicing, reason = "a test-only crate")]

mod api;
mod codes;
mod config;
mod log;
mod state;
mod stream;
mod work;

pub use api::{device::*, event::*, graph::*, memory::*, module::*, stream::*};
pub use log::{fake_cuda_log_clear, fake_cuda_log_read};
