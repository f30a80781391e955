//! What can go wrong: PTX that is not understood, and faults of running kernels.

use std::fmt;
use std::sync::Arc;

/// A line of the CUDA source, known where the PTX was made with `-lineinfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLine {
    /// File name as in the PTX `.file` directive.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Where the line belongs to an inlined function: the line that calls it.
    pub caller: Option<u32>,
}

impl fmt::Display for SourceLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)?;
        match self.caller {
            Some(caller) => write!(f, ", called from line {caller}"),
            None => Ok(()),
        }
    }
}

/// Why a PTX module was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("PTX line {line}{}: {kind}", source_suffix(.source_line))]
pub struct ParseError {
    /// What is wrong.
    pub kind: ParseErrorKind,
    /// Line of the PTX text, from 1.
    pub line: u32,
    /// Line of the CUDA source, where known.
    pub source_line: Option<SourceLine>,
}

fn source_suffix(line: &Option<SourceLine>) -> String {
    line.as_ref().map(|l| format!(" ({l})")).unwrap_or_default()
}

/// Kinds of [`ParseError`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseErrorKind {
    /// Text that does not follow PTX's grammar as far as it is known here.
    #[error("syntax: {0}")]
    Syntax(String),
    /// A name that was not declared.
    #[error("unknown name `{0}`")]
    UnknownName(String),
    /// An instruction, or a form of one, that the emulator does not have.
    #[error("unsupported instruction `{0}`")]
    UnsupportedInstruction(String),
    /// Another part of PTX that the emulator does not have.
    #[error("unsupported: {0}")]
    Unsupported(String),
}

/// Whether memory was read, written or both at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A load.
    Read,
    /// A store.
    Write,
    /// An atomic read-modify-write.
    Atomic,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Access::Read => "read",
            Access::Write => "write",
            Access::Atomic => "atomic",
        })
    }
}

/// Where a memory access went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Device memory, by allocation.
    Global {
        /// Number of the allocation, in order of allocating.
        allocation: u32,
        /// Byte offset in it; may lie outside.
        offset: i64,
        /// Its size in bytes.
        len: usize,
    },
    /// An address that never belonged to an allocation.
    Wild {
        /// The address.
        address: u64,
    },
    /// Shared memory of the block.
    Shared {
        /// Byte offset.
        offset: u64,
        /// Bytes of shared memory that the block has.
        len: usize,
    },
    /// Local memory of the thread.
    Local {
        /// Byte offset.
        offset: u64,
        /// Bytes of local memory that a thread has.
        len: usize,
    },
    /// The kernel's parameters.
    Param {
        /// Byte offset.
        offset: u64,
        /// Bytes of parameters.
        len: usize,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Global { allocation, offset, len } => write!(f, "allocation {allocation} ({len} bytes) at offset {offset}"),
            Place::Wild { address } => write!(f, "address {address:#x}, which belongs to no allocation"),
            Place::Shared { offset, len } => write!(f, "shared memory ({len} bytes) at offset {offset}"),
            Place::Local { offset, len } => write!(f, "local memory ({len} bytes) at offset {offset}"),
            Place::Param { offset, len } => write!(f, "parameters ({len} bytes) at offset {offset}"),
        }
    }
}

/// What a kernel did wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultKind {
    /// An access outside its allocation or state space.
    #[error("{access} of {bytes} bytes out of bounds: {place}")]
    OutOfBounds {
        /// Read, write or atomic.
        access: Access,
        /// Bytes accessed by one lane.
        bytes: usize,
        /// Where.
        place: Place,
    },
    /// An access to memory that was freed.
    #[error("{access} of {bytes} bytes in freed memory: {place}")]
    UseAfterFree {
        /// Read, write or atomic.
        access: Access,
        /// Bytes accessed by one lane.
        bytes: usize,
        /// Where.
        place: Place,
    },
    /// An address that is not a multiple of the access size.
    #[error("misaligned {access} of {bytes} bytes: {place}")]
    Misaligned {
        /// Read, write or atomic.
        access: Access,
        /// Bytes accessed by one lane, which is the alignment needed.
        bytes: usize,
        /// Where.
        place: Place,
    },
    /// A store to a `.const` variable.
    #[error("write of {bytes} bytes to constant memory: {place}")]
    ReadOnly {
        /// Bytes accessed by one lane.
        bytes: usize,
        /// Where.
        place: Place,
    },
    /// Two threads of a block met in shared memory without a barrier in between.
    #[error("race: thread {thread} does a {access} of what thread {other} accessed ({other_access}) with no barrier in between: {place}")]
    Race {
        /// Read, write or atomic.
        access: Access,
        /// Linear index in the block of the thread that came second.
        thread: u32,
        /// The thread that came first (the last known, where many read).
        other: u32,
        /// What the other thread did.
        other_access: Access,
        /// Where.
        place: Place,
    },
    /// A read of bytes that nothing has written.
    #[error("read of {bytes} bytes that were never written: {place}")]
    Uninitialised {
        /// Bytes read by one lane.
        bytes: usize,
        /// Where.
        place: Place,
    },
    /// An access to shared memory that a `cp.async` may still be writing.
    #[error("{access} of {bytes} bytes that a cp.async of thread {thread} has not delivered yet: {place}")]
    AsyncCopyInFlight {
        /// Read, write or atomic.
        access: Access,
        /// Bytes accessed by one lane.
        bytes: usize,
        /// The thread that issued the copy.
        thread: u32,
        /// Where.
        place: Place,
    },
    /// Threads of a block wait at different barriers, or some never come.
    #[error("barrier divergence: {detail}")]
    BarrierDivergence {
        /// Who waits where.
        detail: String,
    },
    /// No thread of the block can go on.
    #[error("deadlock: {detail}")]
    Deadlock {
        /// Who waits where.
        detail: String,
    },
    /// A warp-wide instruction without all of the lanes it names, or a value taken from a lane that is not there.
    #[error("{detail}")]
    InactiveLane {
        /// What was asked for, and who was there.
        detail: String,
    },
    /// The kernel executed `trap` or `brkpt`.
    #[error("trap")]
    Trap,
    /// The launch ran more warp instructions than its limit.
    #[error("more than {limit} warp instructions; an endless loop?")]
    InstructionLimit {
        /// The limit of the launch.
        limit: u64,
    },
    /// Something that the emulator cannot do, seen only when run.
    #[error("unsupported: {detail}")]
    Unsupported {
        /// What.
        detail: String,
    },
    /// The launch itself is not valid.
    #[error("launch refused: {detail}")]
    Launch {
        /// Why.
        detail: String,
    },
}

/// A fault of a kernel: what, and where in the grid, the PTX and the CUDA source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What went wrong.
    pub kind: FaultKind,
    /// Name of the kernel.
    pub kernel: Arc<str>,
    /// Index of the block.
    pub block: Option<[u32; 3]>,
    /// Warp in the block.
    pub warp: Option<u8>,
    /// Lane in the warp (the first one concerned).
    pub lane: Option<u8>,
    /// Line of the CUDA source, where known.
    pub source_line: Option<SourceLine>,
    /// Line of the PTX text.
    pub ptx_line: Option<u32>,
}

impl std::error::Error for Fault {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; kernel {}", self.kind, self.kernel)?;
        if let Some([x, y, z]) = self.block {
            write!(f, ", block ({x}, {y}, {z})")?;
        }
        if let Some(warp) = self.warp {
            write!(f, ", warp {warp}")?;
        }
        if let Some(lane) = self.lane {
            write!(f, ", lane {lane}")?;
        }
        if let Some(line) = &self.source_line {
            write!(f, ", at {line}")?;
        }
        if let Some(line) = self.ptx_line {
            write!(f, " (PTX line {line})")?;
        }
        Ok(())
    }
}
