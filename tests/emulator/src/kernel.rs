//! A decoded kernel.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::error::SourceLine;
use crate::exec::Spare;
use crate::op::{Instruction, Slot};
use crate::parse::Param;

/// Registers whose value the machine gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Special {
    Thread(u8),
    BlockSize(u8),
    Block(u8),
    GridSize(u8),
    Lane,
    Warp,
    WarpCount,
    LaneMask(Ordering),
    DynamicShared,
    TotalShared,
}

/// Which lanes a `%lanemask_..` register names, relative to one's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Ordering {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A value that a slot holds from the start of a block on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Constant {
    Bits(u64),
    Special(Special),
    /// A kernel parameter; narrow signed ones are extended to `sign_to` bits.
    Param {
        offset: usize,
        bytes: usize,
        sign_to: u32,
    },
    /// Address of a module-level variable, by its place in `ModuleSource::order`.
    Global {
        index: usize,
        offset: i64,
    },
    /// Address of the dynamic shared memory.
    DynamicShared {
        offset: i64,
    },
}

/// Where an instruction came from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    pub ptx_line: u32,
    pub source_line: Option<SourceLine>,
}

/// A kernel, ready to run.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub name: Arc<str>,
    pub params: Vec<Param>,
    pub param_bytes: usize,
    /// Threads of a block at most, where the source says so (`__launch_bounds__`).
    pub max_threads: Option<u32>,
    pub code: Vec<Instruction>,
    /// Origin of each instruction.
    pub places: Vec<Place>,
    pub words: usize,
    pub longs: usize,
    pub predicates: usize,
    pub word_constants: Vec<(Slot, Constant)>,
    pub long_constants: Vec<(Slot, Constant)>,
    /// Bytes of statically declared shared memory.
    pub shared_bytes: usize,
    /// Alignment of the dynamic shared memory behind it.
    pub dynamic_align: usize,
    /// Bytes of local memory of a thread.
    pub local_bytes: usize,
    /// Bytes that the smallest access to shared memory touches: what races are told apart by.
    pub shared_granule: usize,
    /// Warp instructions of a block in the last launch; 0 before the first.
    pub block_cost: AtomicU64,
    /// Register files to use again.
    pub spare: Spare,
}

impl Kernel {
    /// Offset of the dynamic shared memory.
    pub(crate) fn dynamic_base(&self) -> usize {
        self.shared_bytes.next_multiple_of(self.dynamic_align.max(16))
    }

    /// Bytes of shared memory that a block has with `dynamic` bytes asked for at launch.
    pub(crate) fn shared_total(&self, dynamic: usize) -> usize {
        if dynamic == 0 {
            self.shared_bytes
        } else {
            self.dynamic_base().saturating_add(dynamic)
        }
    }
}
