//! Runs the warps of a block.

mod access;
mod block;
mod collective;
mod compare;
mod convert;
mod float;
mod half;
mod int;
mod matrix;
mod memory;
mod step;
mod warp;

use crate::kernel::Kernel;
use crate::launch::{Options, Stats};
use crate::memory::Table;
use crate::shadow::Clocks;
use crate::shared::Shared;

pub(crate) use block::{Block, mix};
pub(crate) use warp::Spare;

/// What all blocks of a launch share.
pub(crate) struct Machine<'a> {
    pub kernel: &'a Kernel,
    pub table: &'a Table,
    /// Addresses of the module's variables.
    pub globals: &'a [u64],
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub dynamic_shared: usize,
    pub params: &'a [u8],
    pub options: &'a Options,
}

/// What the warps of a block share.
pub(crate) struct Context<'a> {
    pub machine: &'a Machine<'a>,
    pub shared: Shared,
    pub clocks: Clocks,
    pub stats: Stats,
    /// Advances as instructions run; read by `%clock`.
    pub ticks: u64,
}

/// Whether this processor has what the lane loops are compiled for.
pub(crate) fn supported() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::is_x86_feature_detected!("avx2")
        && std::is_x86_feature_detected!("bmi1")
        && std::is_x86_feature_detected!("bmi2")
        && std::is_x86_feature_detected!("f16c")
        && std::is_x86_feature_detected!("fma")
        && std::is_x86_feature_detected!("lzcnt")
        && std::is_x86_feature_detected!("popcnt");
    #[cfg(not(target_arch = "x86_64"))]
    return true;
}
