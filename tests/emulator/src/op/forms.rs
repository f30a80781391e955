//! Instructions with many operands, each with a structure of its own.

use super::{Guard, Mode, Slot};
use crate::types::Space;

/// What is compared in `setp` and `set`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compared {
    S16,
    U16,
    S32,
    U32,
    S64,
    U64,
    F16,
    BF16,
    F32,
    F64,
}

/// Comparison operators; the last eight are true also for unordered operands, or test for order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Equ,
    Neu,
    Ltu,
    Leu,
    Gtu,
    Geu,
    Num,
    Nan,
}

/// Logical operations on predicates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Logic {
    And,
    Or,
    Xor,
    /// The first operand alone.
    First,
}

/// `setp` and the comparing half of `set`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Compare {
    pub relation: Relation,
    pub compared: Compared,
    pub ftz: bool,
    pub a: Slot,
    pub b: Slot,
    pub logic: Logic,
    pub with: Guard,
}

/// Conversions with loops of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Convert {
    F32FromS32,
    F32FromU32,
    F32FromF16,
    F32FromBF16,
    F16FromF32,
    BF16FromF32,
    S32FromF32,
    U32FromF32,
    F32FromF32,
}

/// A conversion for which one lane at a time is fast enough.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AnyConvert {
    pub to: crate::types::Type,
    pub from: crate::types::Type,
    pub mode: Mode,
    /// Rounds a float to an integral value (`.rni` and the like).
    pub integral: bool,
    pub destination_long: bool,
    pub source_long: bool,
    /// Bits of the destination register, at least those of `to`.
    pub destination_bits: u32,
    pub d: Slot,
    pub a: Slot,
}

/// An address operand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address {
    pub long: bool,
    pub base: Slot,
    pub offset: i64,
}

/// A load or a store.
#[derive(Clone, Debug)]
pub(crate) struct MemoryAccess {
    pub space: Space,
    pub address: Address,
    /// Bytes of an element.
    pub size: usize,
    /// For loads of elements narrower than the register: extend the sign to this many bits (0: with zeros).
    pub sign_to: u32,
    /// Registers of a load, or values of a store; `NONE` for `_`.
    pub slots: Box<[Slot]>,
    pub long: bool,
}

/// Atomic operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtomicKind {
    Add,
    AddF32,
    AddF64,
    MinS,
    MinU,
    MaxS,
    MaxU,
    And,
    Or,
    Xor,
    Exchange,
    CompareExchange,
    Inc,
    Dec,
}

/// `atom` and `red`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Atomic {
    pub kind: AtomicKind,
    pub space: Space,
    pub address: Address,
    pub long: bool,
    /// `NONE` for `red` and `_`.
    pub d: Slot,
    pub value: Slot,
    /// The new value of a compare-and-swap.
    pub swap: Slot,
}

/// `cp.async` to shared memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AsyncCopy {
    pub to: Address,
    pub from: Address,
    pub bytes: usize,
    /// Word with the bytes to read, the rest being zeros; `NONE`: all.
    pub source_bytes: Slot,
    /// Predicate form: nothing is read where it holds.
    pub ignore: Option<Guard>,
}

/// `ldmatrix`.
#[derive(Clone, Debug)]
pub(crate) struct LoadMatrix {
    pub address: Address,
    pub transpose: bool,
    pub slots: Box<[Slot]>,
}

/// `mma.sync` of 16x8 tiles with 16-bit inputs.
#[derive(Clone, Debug)]
pub(crate) struct Mma {
    /// 8 or 16.
    pub depth: usize,
    pub bfloat: bool,
    /// Accumulators and results are packed `f16`.
    pub half_sum: bool,
    pub d: Box<[Slot]>,
    pub a: Box<[Slot]>,
    pub b: Box<[Slot]>,
    pub c: Box<[Slot]>,
}

/// Modes of `shfl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShuffleMode {
    Butterfly,
    Up,
    Down,
    Index,
}

/// `shfl.sync`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shuffle {
    pub mode: ShuffleMode,
    pub d: Slot,
    pub in_range: Slot,
    pub a: Slot,
    pub b: Slot,
    pub c: Slot,
    pub members: Slot,
}

/// Modes of `vote`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VoteMode {
    Ballot,
    Any,
    All,
    Uniform,
}

/// Operations of `redux`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReduceKind {
    Add,
    MinS,
    MinU,
    MaxS,
    MaxU,
    And,
    Or,
    Xor,
}

/// What a block-wide barrier gives back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BarrierResult {
    Nothing,
    /// Number of threads with a true predicate, into a word.
    Count,
    /// Whether all have it, into a predicate.
    All,
    /// Whether any has it, into a predicate.
    Any,
}

/// `bar`/`barrier`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Barrier {
    /// Word with the barrier's number.
    pub id: Slot,
    /// Word with the number of threads; `NONE`: the whole block.
    pub threads: Slot,
    /// `bar.arrive`: does not wait.
    pub arrive: bool,
    pub result: BarrierResult,
    pub d: Slot,
    pub predicate: Guard,
}
