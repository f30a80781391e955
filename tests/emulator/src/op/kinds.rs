//! Operations by their operands and results.

/// Rounding modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Round {
    #[default]
    Nearest,
    Zero,
    Down,
    Up,
    /// `.rna`: to nearest, ties away from zero.
    NearestAway,
}

/// Modifiers of floating-point instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Mode {
    /// Subnormal inputs and results become zero.
    pub ftz: bool,
    /// The result is clamped to 0..1.
    pub sat: bool,
    /// Negative results become zero (`.relu`).
    pub relu: bool,
    pub round: Round,
}

/// Two-operand integer operations on words; `16` works on the low half and leaves the high half zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Int2 {
    Add,
    Sub,
    Mul,
    MulHiS,
    MulHiU,
    Mul24S,
    Mul24U,
    DivS,
    DivU,
    RemS,
    RemU,
    MinS,
    MinU,
    MaxS,
    MaxU,
    And,
    Or,
    Xor,
    Shl,
    ShrS,
    ShrU,
    Add16,
    Sub16,
    Mul16,
    MulHi16S,
    MulHi16U,
    MulWide16S,
    MulWide16U,
    Div16S,
    Div16U,
    Rem16S,
    Rem16U,
    Min16S,
    Max16S,
    Shl16,
    Shr16S,
    Shr16U,
    CopySign,
}

/// One-operand operations on words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Int1 {
    Mov,
    Not,
    Not16,
    Neg,
    Neg16,
    Abs,
    Abs16,
    Popc,
    Clz,
    Brev,
    BfindS,
    BfindU,
    BfindShiftS,
    BfindShiftU,
    NegF32,
    AbsF32,
    NegF16,
    AbsF16,
    NegF16x2,
    AbsF16x2,
    Low8,
    Low16,
    Sign8,
    Sign8To16,
    Sign16,
}

/// Three-operand operations on words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Int3 {
    MadLo,
    MadHiS,
    MadHiU,
    Mad16,
    MadWide16S,
    MadWide16U,
    Prmt,
    ShfLeftWrap,
    ShfLeftClamp,
    ShfRightWrap,
    ShfRightClamp,
    BfeS,
    BfeU,
    SadS,
    SadU,
    Dp4aSS,
    Dp4aUU,
    Dp4aSU,
    Dp4aUS,
    SelectIfNotNegative,
}

/// Two-operand operations on longs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Long2 {
    Add,
    Sub,
    Mul,
    MulHiS,
    MulHiU,
    DivS,
    DivU,
    RemS,
    RemU,
    MinS,
    MinU,
    MaxS,
    MaxU,
    And,
    Or,
    Xor,
    AddF,
    SubF,
    MulF,
    DivF,
    MinF,
    MaxF,
    CopySignF,
}

/// One-operand operations on longs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Long1 {
    Mov,
    Not,
    Neg,
    Abs,
    Brev,
    NegF,
    AbsF,
    SqrtF,
    RcpF,
}

/// Operations from a long to a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Narrow {
    Low,
    Popc,
    Clz,
    BfindS,
    BfindU,
    BfindShiftS,
    BfindShiftU,
}

/// Shifts of a long by a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shift {
    Left,
    RightS,
    RightU,
}

/// Two-operand operations on `f32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Float2 {
    Add,
    Sub,
    Mul,
    Div,
    Min,
    Max,
    MinNan,
    MaxNan,
}

/// One-operand operations on `f32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Float1 {
    Ex2,
    Lg2,
    Rcp,
    Rsqrt,
    Sqrt,
    Sin,
    Cos,
    Tanh,
}

/// Formats of 16-bit floats, alone or in pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    F16,
    F16x2,
    BF16,
    BF16x2,
}
