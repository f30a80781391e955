//! `cvt`, `cvta`, `isspacep`.

use super::float::mode;
use super::{Decoded, Decoder, Opcode};
use crate::op::{AnyConvert, Convert, Int1, Long1, Mode, Narrow, Op, Round};
use crate::parse::RawOperand;
use crate::types::{Class, Space, Type};

impl<'a> Decoder<'a, '_> {
    pub(super) fn convert(&mut self, opcode: &Opcode<'_>, o: &[RawOperand<'a>]) -> Decoded<Op> {
        opcode.only(&[
            "rn",
            "rz",
            "rm",
            "rp",
            "rni",
            "rzi",
            "rmi",
            "rpi",
            "ftz",
            "sat",
            "satfinite",
            "relu",
        ])?;
        let (to, from) = (opcode.ty(0)?, opcode.ty(1)?);
        let mode = mode(opcode);
        let integral = ["rni", "rzi", "rmi", "rpi"].iter().any(|m| opcode.has(m));
        let (target, x) = (self.at(opcode, o, 0)?, self.at(opcode, o, 1)?);
        if opcode.has("satfinite") {
            return opcode.unsupported();
        }
        if matches!(to, Type::F16x2 | Type::BF16x2) {
            if from != Type::F32 || o.len() != 3 || !matches!(mode.round, Round::Nearest | Round::Zero) {
                return opcode.unsupported();
            }
            let (a, b) = (self.source(x, from)?, self.source(self.at(opcode, o, 2)?, from)?);
            return Ok(Op::Pack16 {
                bfloat: to == Type::BF16x2,
                mode,
                d: self.target(target, to)?,
                a,
                b,
            });
        }
        // registers may be wider than the types
        let destination = self.type_of(target, to);
        let source = self.type_of(x, from);
        let d = self.target(target, destination)?;
        let a = self.source(x, if source.size() >= from.size() { source } else { from })?;
        let classes = (destination.class(), source.class());
        let simple = mode == Mode::default();
        let words = classes == (Class::Word, Class::Word);
        if words
            && simple
            && !to.float()
            && !from.float()
            && let Some(f) = word_to_word(to, from, destination)
        {
            return Ok(Op::Int1 { f, d, a });
        }
        if simple && !to.float() && !from.float() {
            match (classes, to.size(), from) {
                ((Class::Long, Class::Word), 8, Type::S32) => return Ok(Op::Widen { signed: true, d, a }),
                ((Class::Long, Class::Word), 8, Type::U32 | Type::U16 | Type::B16) if source.size() == from.size() => {
                    return Ok(Op::Widen { signed: false, d, a });
                }
                ((Class::Word, Class::Long), 4, _) => return Ok(Op::Narrow { f: Narrow::Low, d, a }),
                ((Class::Long, Class::Long), 8, Type::U64 | Type::S64 | Type::B64) => return Ok(Op::Long1 { f: Long1::Mov, d, a }),
                _ => {}
            }
        }
        if words {
            let f = match (to, from) {
                (Type::F32, Type::S32) if simple => Some(Convert::F32FromS32),
                (Type::F32, Type::U32 | Type::U16) if simple && source.size() == from.size() => Some(Convert::F32FromU32),
                (Type::F32, Type::F16) if !integral => Some(Convert::F32FromF16),
                (Type::F32, Type::BF16) if !integral => Some(Convert::F32FromBF16),
                (Type::F16, Type::F32) if mode.round == Round::Nearest => Some(Convert::F16FromF32),
                (Type::BF16, Type::F32) if mode.round == Round::Nearest => Some(Convert::BF16FromF32),
                (Type::S32, Type::F32) => Some(Convert::S32FromF32),
                (Type::U32, Type::F32) => Some(Convert::U32FromF32),
                (Type::F32, Type::F32) if integral || mode.round == Round::Nearest => Some(Convert::F32FromF32),
                _ => None,
            };
            if let Some(f) = f {
                return Ok(Op::Convert { f, mode, integral, d, a });
            }
        }
        if mode.round == Round::NearestAway
            || (to.float() && from.float() && to.size() < from.size() && !matches!(mode.round, Round::Nearest))
        {
            return opcode.unsupported();
        }
        if to.float() && !from.float() && mode.round != Round::Nearest {
            return opcode.unsupported();
        }
        Ok(Op::AnyConvert(Box::new(AnyConvert {
            to,
            from,
            mode,
            integral,
            destination_long: destination.class() == Class::Long,
            source_long: source.class() == Class::Long,
            destination_bits: destination.bits(),
            d,
            a,
        })))
    }

    pub(super) fn cvta(&mut self, opcode: &Opcode<'_>, o: &[RawOperand<'a>]) -> Decoded<Op> {
        opcode.only(&["to", "global", "shared", "shared::cta", "local", "const"])?;
        let ty = opcode.ty(0)?;
        if ty.class() != Class::Long {
            return opcode.unsupported();
        }
        let a = self.source(self.at(opcode, o, 1)?, ty)?;
        let d = self.target(self.at(opcode, o, 0)?, ty)?;
        let space = match () {
            () if opcode.has("shared") || opcode.has("shared::cta") => Space::Shared,
            () if opcode.has("local") => Space::Local,
            () => return Ok(Op::Long1 { f: Long1::Mov, d, a }),
        };
        Ok(if opcode.has("to") {
            Op::ToSpace { space, d, a }
        } else {
            Op::FromSpace { space, d, a }
        })
    }

    pub(super) fn is_space(&mut self, opcode: &Opcode<'_>, o: &[RawOperand<'a>]) -> Decoded<Op> {
        opcode.only(&["global", "shared", "shared::cta", "local"])?;
        let space = match () {
            () if opcode.has("global") => Space::Global,
            () if opcode.has("local") => Space::Local,
            () => Space::Shared,
        };
        let a = self.source(self.at(opcode, o, 1)?, Type::U64)?;
        Ok(Op::IsSpace {
            space,
            d: self.target(self.at(opcode, o, 0)?, Type::Pred)?,
            a,
        })
    }
}

/// Integer conversions within words, without saturation.
fn word_to_word(to: Type, from: Type, destination: Type) -> Option<Int1> {
    if to.signed() && destination.size() > to.size() && from.size() >= to.size() {
        return None; // the result's sign fills a wider register
    }
    let narrow = to.size().min(from.size());
    let signed = from.signed() && from.size() < to.size().max(destination.size());
    match (narrow, signed) {
        (4, _) => Some(Int1::Mov),
        (2, false) => Some(Int1::Low16),
        (1, false) if to.size() > 1 || !to.signed() => Some(Int1::Low8),
        (2, true) if to.size() == 4 => Some(Int1::Sign16),
        (1, true) if to.size() == 4 => Some(Int1::Sign8),
        (1, true) if to.size() == 2 && destination.size() == 2 => Some(Int1::Sign8To16),
        _ => None,
    }
}
