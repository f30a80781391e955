//! Greedy RNN-T and TDT search on the device: prediction network, joint and search loop in one kernel.
//!
//! On the processor the same search is written over [`linear`](super::linear) in `model::decode::transducer`, which is the
//! specification. Who calls it: `model::device`.

pub mod cuda;
