//! Decoded instructions: names resolved to slots of the register files, immediates put into slots of their own.
//!
//! A slot is an index into one of a warp's register files (`types::Class`): words, longs or predicates. Immediates, special
//! registers and addresses of variables are slots too, filled when a block starts, so that an instruction never asks what
//! kind of operand it has.

mod forms;
mod kinds;

pub(crate) use forms::*;
pub(crate) use kinds::*;

use crate::types::Space;

/// Index into a register file.
pub(crate) type Slot = u16;

/// A slot that means "no such operand".
pub(crate) const NONE: Slot = Slot::MAX;

/// Predicate slot that is always false.
pub(crate) const FALSE: Slot = 0;

/// Predicate slot that is always true.
pub(crate) const TRUE: Slot = 1;

/// A predicate operand, perhaps negated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Guard {
    pub slot: Slot,
    pub negated: bool,
}

/// A decoded instruction without its guard.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Int1 {
        f: Int1,
        d: Slot,
        a: Slot,
    },
    Int2 {
        f: Int2,
        d: Slot,
        a: Slot,
        b: Slot,
    },
    Int3 {
        f: Int3,
        d: Slot,
        a: Slot,
        b: Slot,
        c: Slot,
    },
    Lop3 {
        table: u8,
        d: Slot,
        a: Slot,
        b: Slot,
        c: Slot,
    },
    Bfi {
        d: Slot,
        a: Slot,
        b: Slot,
        start: Slot,
        length: Slot,
    },
    Long1 {
        f: Long1,
        d: Slot,
        a: Slot,
    },
    Long2 {
        f: Long2,
        d: Slot,
        a: Slot,
        b: Slot,
    },
    LongMad {
        d: Slot,
        a: Slot,
        b: Slot,
        c: Slot,
    },
    LongFma {
        d: Slot,
        a: Slot,
        b: Slot,
        c: Slot,
    },
    LongBfe {
        signed: bool,
        d: Slot,
        a: Slot,
        start: Slot,
        length: Slot,
    },
    LongBfi {
        d: Slot,
        a: Slot,
        b: Slot,
        start: Slot,
        length: Slot,
    },
    LongShift {
        f: Shift,
        d: Slot,
        a: Slot,
        b: Slot,
    },
    Narrow {
        f: Narrow,
        d: Slot,
        a: Slot,
    },
    /// Word to long, with zeros or with the sign.
    Widen {
        signed: bool,
        d: Slot,
        a: Slot,
    },
    MulWide {
        signed: bool,
        d: Slot,
        a: Slot,
        b: Slot,
    },
    MadWide {
        signed: bool,
        d: Slot,
        a: Slot,
        b: Slot,
        c: Slot,
    },
    Float1 {
        f: Float1,
        mode: Mode,
        d: Slot,
        a: Slot,
    },
    Float2 {
        f: Float2,
        mode: Mode,
        d: Slot,
        a: Slot,
        b: Slot,
    },
    Fma {
        mode: Mode,
        d: Slot,
        a: Slot,
        b: Slot,
        c: Slot,
    },
    Half1 {
        f: Float1,
        half: Half,
        d: Slot,
        a: Slot,
    },
    Half2 {
        f: Float2,
        half: Half,
        mode: Mode,
        d: Slot,
        a: Slot,
        b: Slot,
    },
    HalfFma {
        half: Half,
        mode: Mode,
        d: Slot,
        a: Slot,
        b: Slot,
        c: Slot,
    },
    Convert {
        f: Convert,
        mode: Mode,
        integral: bool,
        d: Slot,
        a: Slot,
    },
    /// Two `f32` packed; `a` becomes the high half.
    Pack16 {
        bfloat: bool,
        mode: Mode,
        d: Slot,
        a: Slot,
        b: Slot,
    },
    AnyConvert(Box<AnyConvert>),
    /// Parts of `bits` bits each, the first one lowest, joined into `d`.
    Join {
        d: Slot,
        long: bool,
        parts_long: bool,
        bits: u32,
        parts: Box<[Slot]>,
    },
    Split {
        a: Slot,
        long: bool,
        bits: u32,
        parts: Box<[Slot]>,
    },
    Compare {
        compare: Box<Compare>,
        d: Slot,
        negated: Slot,
    },
    /// Both halves of packed 16-bit floats; `compare.compared` names the format.
    CompareHalves {
        compare: Box<Compare>,
        low: Slot,
        high: Slot,
    },
    /// `set`: the comparison as all ones or 1.0.
    Set {
        compare: Box<Compare>,
        d: Slot,
        float: bool,
    },
    Logic {
        f: Logic,
        d: Slot,
        a: Guard,
        b: Guard,
    },
    Select {
        d: Slot,
        a: Slot,
        b: Slot,
        p: Guard,
    },
    LongSelect {
        d: Slot,
        a: Slot,
        b: Slot,
        p: Guard,
    },
    Load(Box<MemoryAccess>),
    Store(Box<MemoryAccess>),
    Atomic(Box<Atomic>),
    AsyncCopy(Box<AsyncCopy>),
    AsyncCommit,
    /// Waits until at most `keep` of the latest groups are under way; with `all` also for copies in no group yet.
    AsyncWait {
        keep: u32,
        all: bool,
    },
    LoadMatrix(Box<LoadMatrix>),
    Mma(Box<Mma>),
    Shuffle(Box<Shuffle>),
    Vote {
        mode: VoteMode,
        d: Slot,
        a: Guard,
        members: Slot,
    },
    Match {
        all: bool,
        long: bool,
        d: Slot,
        predicate: Slot,
        a: Slot,
        members: Slot,
    },
    Reduce {
        f: ReduceKind,
        d: Slot,
        a: Slot,
        members: Slot,
    },
    ActiveMask {
        d: Slot,
    },
    Clock {
        d: Slot,
        long: bool,
    },
    /// Generic address from or to an address in `space`.
    ToSpace {
        space: Space,
        d: Slot,
        a: Slot,
    },
    FromSpace {
        space: Space,
        d: Slot,
        a: Slot,
    },
    IsSpace {
        space: Space,
        d: Slot,
        a: Slot,
    },
    Barrier(Box<Barrier>),
    WarpBarrier {
        members: Slot,
    },
    Branch {
        target: u32,
    },
    BranchTable {
        index: Slot,
        targets: Box<[u32]>,
    },
    Exit,
    Trap,
    Nop,
}

/// A decoded instruction.
#[derive(Clone, Debug)]
pub(crate) struct Instruction {
    pub op: Op,
    pub guard: Option<Guard>,
}
