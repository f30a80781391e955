//! Runs the PTX that NVRTC makes of CUDA kernels on the CPU, and checks what it does on the way.
//!
//! See `README.md` for what is checked and what is not. A short example:
//!
//! ```no_run
//! use ptx_emulator::{Launch, Memory, Module, Options, Params};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let module = Module::parse(&std::fs::read_to_string("kernels.ptx")?)?;
//! let memory = Memory::new();
//! let x = memory.alloc(4 * 1024)?;
//! memory.write(x, &[0; 4 * 1024])?;
//! let params = Params::new().u64(x).u32(1024);
//! let launch = Launch { grid: [8, 1, 1], block: [128, 1, 1], dynamic_shared: 0, params: params.bytes() };
//! module.launch(&memory, "scale", &launch, &Options::default())?;
//! # Ok(())
//! # }
//! ```
#![allow(
    clippy::indexing_slicing,
    reason = "slots are checked when an instruction is decoded, lanes by the type; a test-only crate"
)]
#![allow(
    clippy::as_conversions,
    reason = "wrapping and truncating casts are what the instructions are defined by"
)]
#![allow(clippy::needless_range_loop, reason = "loops over lanes index several arrays")]

mod decode;
mod error;
mod exec;
mod kernel;
mod launch;
mod memory;
mod op;
mod parse;
mod shadow;
mod shared;
mod types;

pub use error::{Access, Fault, FaultKind, ParseError, ParseErrorKind, Place, SourceLine};
pub use launch::{Launch, Module, Options, Order, Params, Stats};
pub use memory::{Memory, MemoryError};
