//! The model family: FastConformer with CTC, RNN-T and TDT decoders, on the CPU.
//!
//! [`archive`] reads published checkpoints, [`store`] our own model folders; [`network`] turns samples into encoder frames,
//! [`decode`] turns those into tokens, [`tokenizer`] says what the tokens stand for.

pub mod arch;
pub mod archive;
pub mod decode;
pub mod encoder;
pub mod frontend;
pub mod lm;
pub mod manifest;
pub mod network;
pub mod state;
pub mod store;
pub mod tokenizer;
pub mod weights;
