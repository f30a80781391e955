//! The model family: FastConformer with CTC, RNN-T and TDT decoders, on the CPU and on the GPU.
//!
//! [`archive`] reads published checkpoints, [`store`] our own model folders; [`network`] turns samples into encoder frames,
//! [`device`] does so on a GPU, [`decode`] turns those into tokens, [`tokenizer`] says what the tokens stand for.

pub mod arch;
pub mod archive;
pub mod decode;
#[cfg(feature = "cuda")]
pub mod device;
pub mod encoder;
pub mod frontend;
mod graph;
pub mod lm;
pub mod manifest;
pub mod network;
pub mod state;
pub mod store;
mod tensors;
pub mod tokenizer;
pub mod weights;
