//! The operations of the network, one folder each: contract and tests in `mod.rs`, processor code in `cpu.rs`.
//!
//! What it does: numbers in, numbers out, over plain row-major `f32` slices. A row of the result has the same bits
//! whatever the number of rows computed with it and whatever the number of threads: every sum has one fixed order.
//! What it does not do: know what a model is, hold state between calls (callers pass it), read files.
//! Who calls it: `model`.
//!
//! Vector code is written once over sixteen lanes ([`simd`]) and compiled for each instruction set; which one runs is
//! decided when the program starts. Work is spread over the current rayon pool where it is large enough to pay.

pub mod depthwise_conv;
pub mod layer_norm;
pub mod linear;
pub mod log_mel;
pub mod log_softmax;
pub mod rel_attention;
#[cfg(feature = "cuda")]
pub mod rows;
pub(crate) mod simd;
pub mod subsample;
#[cfg(feature = "cuda")]
pub mod transducer;
