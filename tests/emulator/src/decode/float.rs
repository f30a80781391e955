//! Floating-point arithmetic.

use super::{Decoded, Decoder, Opcode};
use crate::op::{Float1, Float2, Half, Int1, Int2, Long1, Long2, Mode, Op, Round};
use crate::parse::RawOperand;
use crate::types::Type;

/// The modifiers that make up a mode.
pub(super) fn mode(opcode: &Opcode<'_>) -> Mode {
    let round = if opcode.has("rz") || opcode.has("rzi") {
        Round::Zero
    } else if opcode.has("rm") || opcode.has("rmi") {
        Round::Down
    } else if opcode.has("rp") || opcode.has("rpi") {
        Round::Up
    } else if opcode.has("rna") {
        Round::NearestAway
    } else {
        Round::Nearest
    };
    let sat = opcode.has("sat");
    Mode {
        ftz: opcode.has("ftz"),
        sat,
        relu: opcode.has("relu"),
        round,
    }
}

fn half(ty: Type) -> Option<Half> {
    match ty {
        Type::F16 => Some(Half::F16),
        Type::F16x2 => Some(Half::F16x2),
        Type::BF16 => Some(Half::BF16),
        Type::BF16x2 => Some(Half::BF16x2),
        _ => None,
    }
}

impl<'a> Decoder<'a, '_> {
    pub(super) fn float(&mut self, opcode: &Opcode<'_>, o: &[RawOperand<'a>]) -> Decoded<Op> {
        opcode.only(&["rn", "rz", "rm", "rp", "ftz", "sat", "relu", "NaN", "approx", "full"])?;
        let ty = opcode.ty(0)?;
        let mode = mode(opcode);
        let d = self.target(self.at(opcode, o, 0)?, ty)?;
        let a = self.source(self.at(opcode, o, 1)?, ty)?;
        if matches!(opcode.base, "neg" | "abs") {
            let negate = opcode.base == "neg";
            return Ok(match ty {
                Type::F64 => Op::Long1 {
                    f: if negate { Long1::NegF } else { Long1::AbsF },
                    d,
                    a,
                },
                Type::F32 if negate => Op::Int1 { f: Int1::NegF32, d, a },
                Type::F32 => Op::Int1 { f: Int1::AbsF32, d, a },
                Type::F16 | Type::BF16 if negate => Op::Int1 { f: Int1::NegF16, d, a },
                Type::F16 | Type::BF16 => Op::Int1 { f: Int1::AbsF16, d, a },
                _ if negate => Op::Int1 { f: Int1::NegF16x2, d, a },
                _ => Op::Int1 { f: Int1::AbsF16x2, d, a },
            });
        }
        let b = self.source(self.at(opcode, o, 2)?, ty)?;
        if matches!(opcode.base, "fma" | "mad") {
            let c = self.source(self.at(opcode, o, 3)?, ty)?;
            return match (ty, half(ty)) {
                (Type::F32, _) => Ok(Op::Fma { mode, d, a, b, c }),
                (Type::F64, _) if mode.round == Round::Nearest => Ok(Op::LongFma { d, a, b, c }),
                (_, Some(half)) => Ok(Op::HalfFma { half, mode, d, a, b, c }),
                _ => opcode.unsupported(),
            };
        }
        if opcode.base == "copysign" {
            return match ty {
                Type::F32 => Ok(Op::Int2 {
                    f: Int2::CopySign,
                    d,
                    a,
                    b,
                }),
                Type::F64 => Ok(Op::Long2 {
                    f: Long2::CopySignF,
                    d,
                    a,
                    b,
                }),
                _ => opcode.unsupported(),
            };
        }
        let f = match (opcode.base, opcode.has("NaN")) {
            ("add", _) => Float2::Add,
            ("sub", _) => Float2::Sub,
            ("mul", _) => Float2::Mul,
            ("div", _) if mode.round == Round::Nearest => Float2::Div,
            ("min", false) => Float2::Min,
            ("min", true) => Float2::MinNan,
            ("max", false) => Float2::Max,
            ("max", true) => Float2::MaxNan,
            _ => return opcode.unsupported(),
        };
        if o.len() > 3 {
            return opcode.unsupported(); // three-operand min and max
        }
        match (ty, half(ty)) {
            (Type::F32, _) => Ok(Op::Float2 { f, mode, d, a, b }),
            (Type::F64, _) if mode.round == Round::Nearest => {
                let f = match f {
                    Float2::Add => Long2::AddF,
                    Float2::Sub => Long2::SubF,
                    Float2::Mul => Long2::MulF,
                    Float2::Div => Long2::DivF,
                    Float2::Min => Long2::MinF,
                    Float2::Max => Long2::MaxF,
                    Float2::MinNan | Float2::MaxNan => return opcode.unsupported(),
                };
                Ok(Op::Long2 { f, d, a, b })
            }
            (_, Some(half)) if f != Float2::Div => Ok(Op::Half2 { f, half, mode, d, a, b }),
            _ => opcode.unsupported(),
        }
    }

    pub(super) fn float_function(&mut self, opcode: &Opcode<'_>, o: &[RawOperand<'a>]) -> Decoded<Op> {
        opcode.only(&["approx", "rn", "ftz", "sat"])?;
        let ty = opcode.ty(0)?;
        let d = self.target(self.at(opcode, o, 0)?, ty)?;
        let a = self.source(self.at(opcode, o, 1)?, ty)?;
        let f = match opcode.base {
            "ex2" => Float1::Ex2,
            "lg2" => Float1::Lg2,
            "rcp" => Float1::Rcp,
            "rsqrt" => Float1::Rsqrt,
            "sqrt" => Float1::Sqrt,
            "sin" => Float1::Sin,
            "cos" => Float1::Cos,
            _ => Float1::Tanh,
        };
        match (ty, half(ty)) {
            (Type::F32, _) => Ok(Op::Float1 {
                f,
                mode: mode(opcode),
                d,
                a,
            }),
            (Type::F64, _) if f == Float1::Sqrt => Ok(Op::Long1 { f: Long1::SqrtF, d, a }),
            (Type::F64, _) if f == Float1::Rcp => Ok(Op::Long1 { f: Long1::RcpF, d, a }),
            (_, Some(half)) if matches!(f, Float1::Ex2 | Float1::Tanh) => Ok(Op::Half1 { f, half, d, a }),
            _ => opcode.unsupported(),
        }
    }
}
