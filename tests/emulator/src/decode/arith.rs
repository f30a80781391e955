//! Integer, logic, move and compare instructions.

use super::{Decoded, Decoder, Opcode};
use crate::error::ParseErrorKind;
use crate::op::{Compare, Compared, Guard, Int1, Int2, Int3, Logic, Long1, Long2, Narrow, Op, Relation, Shift, Slot};
use crate::parse::RawOperand;
use crate::types::{Class, Type};

impl<'a> Decoder<'a, '_> {
    pub(super) fn int2(&mut self, opcode: &Opcode<'_>, o: &[RawOperand<'a>]) -> Decoded<Op> {
        opcode.only(&["lo", "hi", "wide"])?;
        let ty = opcode.ty(0)?;
        let signed = ty.signed();
        let (x, y) = (self.at(opcode, o, 1)?, self.at(opcode, o, 2)?);
        let (to, shift) = (self.at(opcode, o, 0)?, matches!(opcode.base, "shl" | "shr"));
        if ty == Type::Pred {
            let f = match opcode.base {
                "and" => Logic::And,
                "or" => Logic::Or,
                "xor" => Logic::Xor,
                _ => return opcode.unsupported(),
            };
            return Ok(Op::Logic {
                f,
                d: self.target(to, ty)?,
                a: self.predicate(x)?,
                b: self.predicate(y)?,
            });
        }
        if opcode.has("wide") {
            return self.mul_wide(opcode, o, ty);
        }
        let a = self.source(x, ty)?;
        let b = self.source(y, if shift { Type::U32 } else { ty })?;
        let d = self.target(to, ty)?;
        let pick = |s, u| if signed { s } else { u };
        if ty.class() == Class::Long {
            let f = match opcode.base {
                "shl" => return Ok(Op::LongShift { f: Shift::Left, d, a, b }),
                "shr" => {
                    return Ok(Op::LongShift {
                        f: if signed { Shift::RightS } else { Shift::RightU },
                        d,
                        a,
                        b,
                    });
                }
                "add" => Long2::Add,
                "sub" => Long2::Sub,
                "mul" if opcode.has("hi") => {
                    if signed {
                        Long2::MulHiS
                    } else {
                        Long2::MulHiU
                    }
                }
                "mul" => Long2::Mul,
                "div" if signed => Long2::DivS,
                "div" => Long2::DivU,
                "rem" if signed => Long2::RemS,
                "rem" => Long2::RemU,
                "min" if signed => Long2::MinS,
                "min" => Long2::MinU,
                "max" if signed => Long2::MaxS,
                "max" => Long2::MaxU,
                "and" => Long2::And,
                "or" => Long2::Or,
                "xor" => Long2::Xor,
                _ => return opcode.unsupported(),
            };
            return Ok(Op::Long2 { f, d, a, b });
        }
        let f = match (opcode.base, ty.size()) {
            ("and", _) => Int2::And,
            ("or", _) => Int2::Or,
            ("xor", _) => Int2::Xor,
            ("add", 4) => Int2::Add,
            ("sub", 4) => Int2::Sub,
            ("mul", 4) if opcode.has("hi") => pick(Int2::MulHiS, Int2::MulHiU),
            ("mul", 4) => Int2::Mul,
            ("mul24", 4) if !opcode.has("hi") => pick(Int2::Mul24S, Int2::Mul24U),
            ("div", 4) => pick(Int2::DivS, Int2::DivU),
            ("rem", 4) => pick(Int2::RemS, Int2::RemU),
            ("min", 4) => pick(Int2::MinS, Int2::MinU),
            ("max", 4) => pick(Int2::MaxS, Int2::MaxU),
            ("shl", 4) => Int2::Shl,
            ("shr", 4) => pick(Int2::ShrS, Int2::ShrU),
            ("add", 2) => Int2::Add16,
            ("sub", 2) => Int2::Sub16,
            ("mul", 2) if opcode.has("hi") => pick(Int2::MulHi16S, Int2::MulHi16U),
            ("mul", 2) => Int2::Mul16,
            ("div", 2) => pick(Int2::Div16S, Int2::Div16U),
            ("rem", 2) => pick(Int2::Rem16S, Int2::Rem16U),
            ("min", 2) => pick(Int2::Min16S, Int2::MinU),
            ("max", 2) => pick(Int2::Max16S, Int2::MaxU),
            ("shl", 2) => Int2::Shl16,
            ("shr", 2) => pick(Int2::Shr16S, Int2::Shr16U),
            _ => return opcode.unsupported(),
        };
        Ok(Op::Int2 { f, d, a, b })
    }

    fn mul_wide(&mut self, opcode: &Opcode<'_>, o: &[RawOperand<'a>], ty: Type) -> Decoded<Op> {
        let a = self.source(self.at(opcode, o, 1)?, ty)?;
        let b = self.source(self.at(opcode, o, 2)?, ty)?;
        let to = self.at(opcode, o, 0)?;
        match ty {
            Type::S32 | Type::U32 => Ok(Op::MulWide {
                signed: ty.signed(),
                d: self.target(to, Type::U64)?,
                a,
                b,
            }),
            Type::S16 => Ok(Op::Int2 {
                f: Int2::MulWide16S,
                d: self.target(to, Type::U32)?,
                a,
                b,
            }),
            Type::U16 => Ok(Op::Int2 {
                f: Int2::MulWide16U,
                d: self.target(to, Type::U32)?,
                a,
                b,
            }),
            _ => opcode.unsupported(),
        }
    }

    pub(super) fn int1(&mut self, opcode: &Opcode<'_>, o: &[RawOperand<'a>]) -> Decoded<Op> {
        opcode.only(&["shiftamt"])?;
        let ty = opcode.ty(0)?;
        let (to, x) = (self.at(opcode, o, 0)?, self.at(opcode, o, 1)?);
        if ty == Type::Pred && opcode.base == "not" {
            let mut a = self.predicate(x)?;
            a.negated = !a.negated;
            return Ok(Op::Logic {
                f: Logic::First,
                d: self.target(to, ty)?,
                a,
                b: a,
            });
        }
        let a = self.source(x, ty)?;
        let shift = opcode.has("shiftamt");
        if ty.class() == Class::Long {
            let narrow = match (opcode.base, shift, ty.signed()) {
                ("popc", ..) => Some(Narrow::Popc),
                ("clz", ..) => Some(Narrow::Clz),
                ("bfind", false, true) => Some(Narrow::BfindS),
                ("bfind", false, false) => Some(Narrow::BfindU),
                ("bfind", true, true) => Some(Narrow::BfindShiftS),
                ("bfind", true, false) => Some(Narrow::BfindShiftU),
                _ => None,
            };
            if let Some(f) = narrow {
                return Ok(Op::Narrow {
                    f,
                    d: self.target(to, Type::U32)?,
                    a,
                });
            }
            let f = match opcode.base {
                "not" => Long1::Not,
                "neg" => Long1::Neg,
                "abs" => Long1::Abs,
                "brev" => Long1::Brev,
                _ => return opcode.unsupported(),
            };
            return Ok(Op::Long1 {
                f,
                d: self.target(to, ty)?,
                a,
            });
        }
        let f = match (opcode.base, ty.size()) {
            ("not", 4) => Int1::Not,
            ("not", 2) => Int1::Not16,
            ("neg", 4) => Int1::Neg,
            ("neg", 2) => Int1::Neg16,
            ("abs", 4) => Int1::Abs,
            ("abs", 2) => Int1::Abs16,
            ("popc", 4) => Int1::Popc,
            ("clz", 4) => Int1::Clz,
            ("brev", 4) => Int1::Brev,
            ("bfind", 4) => match (shift, ty.signed()) {
                (false, true) => Int1::BfindS,
                (false, false) => Int1::BfindU,
                (true, true) => Int1::BfindShiftS,
                (true, false) => Int1::BfindShiftU,
            },
            _ => return opcode.unsupported(),
        };
        Ok(Op::Int1 {
            f,
            d: self.target(to, ty)?,
            a,
        })
    }

    pub(super) fn int3(&mut self, opcode: &Opcode<'_>, o: &[RawOperand<'a>]) -> Decoded<Op> {
        opcode.only(&["lo", "hi", "wide", "l", "r", "wrap", "clamp"])?;
        let ty = opcode.ty(0)?;
        let signed = ty.signed();
        let long = ty.class() == Class::Long;
        let wide = opcode.has("wide");
        let to = self.at(opcode, o, 0)?;
        let bit_field = matches!(opcode.base, "bfe" | "bfi");
        let second = if opcode.base == "bfe" { Type::U32 } else { ty };
        let third = match (opcode.base, ty) {
            ("mad", Type::S32 | Type::U32) if wide => Type::U64,
            ("mad", _) if wide => Type::U32,
            ("mad" | "sad" | "prmt" | "lop3", _) => ty,
            _ => Type::U32,
        };
        let a = self.source(self.at(opcode, o, 1)?, ty)?;
        let b = self.source(self.at(opcode, o, 2)?, second)?;
        let c = self.source(self.at(opcode, o, 3)?, third)?;
        let d = self.target(to, if wide { third } else { ty })?;
        if opcode.base == "bfi" {
            let length = self.source(self.at(opcode, o, 4)?, Type::U32)?;
            return Ok(if long {
                Op::LongBfi { d, a, b, start: c, length }
            } else {
                Op::Bfi { d, a, b, start: c, length }
            });
        }
        if opcode.base == "lop3" {
            let table = self.immediate(opcode, self.at(opcode, o, 4)?)? as u8;
            return if ty == Type::B32 {
                Ok(Op::Lop3 { table, d, a, b, c })
            } else {
                opcode.unsupported()
            };
        }
        if long {
            return match opcode.base {
                "mad" if opcode.has("lo") => Ok(Op::LongMad { d, a, b, c }),
                "bfe" if bit_field => Ok(Op::LongBfe {
                    signed,
                    d,
                    a,
                    start: b,
                    length: c,
                }),
                _ => opcode.unsupported(),
            };
        }
        let f = match (opcode.base, ty) {
            ("mad", Type::S32 | Type::U32) if wide => return Ok(Op::MadWide { signed, d, a, b, c }),
            ("mad", Type::S16) if wide => Int3::MadWide16S,
            ("mad", Type::U16) if wide => Int3::MadWide16U,
            ("mad", Type::S32) if opcode.has("hi") => Int3::MadHiS,
            ("mad", Type::U32) if opcode.has("hi") => Int3::MadHiU,
            ("mad", Type::S32 | Type::U32) if opcode.has("lo") => Int3::MadLo,
            ("mad", Type::S16 | Type::U16) if opcode.has("lo") => Int3::Mad16,
            ("prmt", Type::B32) if opcode.mods.len() == 1 => Int3::Prmt,
            ("shf", Type::B32) => match (opcode.has("l"), opcode.has("wrap")) {
                (true, true) => Int3::ShfLeftWrap,
                (true, false) => Int3::ShfLeftClamp,
                (false, true) => Int3::ShfRightWrap,
                (false, false) => Int3::ShfRightClamp,
            },
            ("bfe", Type::S32) => Int3::BfeS,
            ("bfe", Type::U32) => Int3::BfeU,
            ("sad", Type::S32) => Int3::SadS,
            ("sad", Type::U32) => Int3::SadU,
            ("dp4a", _) => match (ty, opcode.ty(1)?) {
                (Type::S32, Type::S32) => Int3::Dp4aSS,
                (Type::U32, Type::U32) => Int3::Dp4aUU,
                (Type::S32, Type::U32) => Int3::Dp4aSU,
                (Type::U32, Type::S32) => Int3::Dp4aUS,
                _ => return opcode.unsupported(),
            },
            ("slct", Type::B32 | Type::S32 | Type::U32 | Type::F32) if opcode.types.get(1) == Some(&Type::S32) => Int3::SelectIfNotNegative,
            _ => return opcode.unsupported(),
        };
        Ok(Op::Int3 { f, d, a, b, c })
    }

    pub(super) fn mov(&mut self, opcode: &Opcode<'_>, o: &[RawOperand<'a>]) -> Decoded<Op> {
        opcode.only(&[])?;
        let ty = opcode.ty(0)?;
        let (to, from) = (self.at(opcode, o, 0)?, self.at(opcode, o, 1)?);
        let long = ty.class() == Class::Long;
        match (to, from) {
            (RawOperand::Vector(parts), _) => {
                let (bits, part) = self.part_type(opcode, ty, parts)?;
                let a = self.source(from, ty)?;
                let parts = parts
                    .iter()
                    .map(|p| self.optional_target(p, part))
                    .collect::<Decoded<Box<[Slot]>>>()?;
                Ok(Op::Split { a, long, bits, parts })
            }
            (_, RawOperand::Vector(parts)) => {
                let (bits, part) = self.part_type(opcode, ty, parts)?;
                let parts = parts.iter().map(|p| self.source(p, part)).collect::<Decoded<Box<[Slot]>>>()?;
                Ok(Op::Join {
                    d: self.target(to, ty)?,
                    long,
                    parts_long: part.class() == Class::Long,
                    bits,
                    parts,
                })
            }
            (_, RawOperand::Name(name, 0)) if name.starts_with("%clock") || name.starts_with("%globaltimer") => Ok(Op::Clock {
                d: self.target(to, ty)?,
                long,
            }),
            _ if ty == Type::Pred => {
                let a = self.predicate(from)?;
                Ok(Op::Logic {
                    f: Logic::First,
                    d: self.target(to, ty)?,
                    a,
                    b: a,
                })
            }
            _ => {
                let (a, d) = (self.source(from, ty)?, self.target(to, ty)?);
                Ok(if long {
                    Op::Long1 { f: Long1::Mov, d, a }
                } else {
                    Op::Int1 { f: Int1::Mov, d, a }
                })
            }
        }
    }

    fn part_type(&self, opcode: &Opcode<'_>, ty: Type, parts: &[RawOperand<'a>]) -> Decoded<(u32, Type)> {
        let count = u32::try_from(parts.len()).unwrap_or(0);
        if !matches!(count, 2 | 4) {
            return opcode.unsupported();
        }
        match ty.bits() / count {
            8 => Ok((8, Type::B16)), // bytes live in 16-bit registers
            16 => Ok((16, Type::B16)),
            32 => Ok((32, Type::B32)),
            _ => opcode.unsupported(),
        }
    }

    fn comparison(&mut self, opcode: &Opcode<'_>, o: &[RawOperand<'a>], ty: Type) -> Decoded<Compare> {
        let relation = opcode.mods.first().copied().unwrap_or("");
        let compared = match ty {
            Type::S16 => Compared::S16,
            Type::U16 | Type::B16 => Compared::U16,
            Type::S32 => Compared::S32,
            Type::U32 | Type::B32 => Compared::U32,
            Type::S64 => Compared::S64,
            Type::U64 | Type::B64 => Compared::U64,
            Type::F16 | Type::F16x2 => Compared::F16,
            Type::BF16 | Type::BF16x2 => Compared::BF16,
            Type::F32 => Compared::F32,
            Type::F64 => Compared::F64,
            _ => return opcode.unsupported(),
        };
        let relation = match relation {
            "eq" => Relation::Eq,
            "ne" => Relation::Ne,
            "lt" | "lo" => Relation::Lt,
            "le" | "ls" => Relation::Le,
            "gt" | "hi" => Relation::Gt,
            "ge" | "hs" => Relation::Ge,
            "equ" => Relation::Equ,
            "neu" => Relation::Neu,
            "ltu" => Relation::Ltu,
            "leu" => Relation::Leu,
            "gtu" => Relation::Gtu,
            "geu" => Relation::Geu,
            "num" => Relation::Num,
            "nan" => Relation::Nan,
            _ => return opcode.unsupported(),
        };
        let logic = match opcode.mods.get(1).copied() {
            Some("and") => Logic::And,
            Some("or") => Logic::Or,
            Some("xor") => Logic::Xor,
            _ => Logic::First,
        };
        let a = self.source(self.at(opcode, o, 1)?, ty)?;
        let b = self.source(self.at(opcode, o, 2)?, ty)?;
        let with = if logic == Logic::First {
            Guard {
                slot: crate::op::TRUE,
                negated: false,
            }
        } else {
            self.predicate(self.at(opcode, o, 3)?)?
        };
        Ok(Compare {
            relation,
            compared,
            ftz: opcode.has("ftz"),
            a,
            b,
            logic,
            with,
        })
    }

    const RELATIONS: [&'static str; 22] = [
        "eq", "ne", "lt", "lo", "le", "ls", "gt", "hi", "ge", "hs", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan", "and", "or",
        "xor", "ftz",
    ];

    pub(super) fn setp(&mut self, opcode: &Opcode<'_>, o: &[RawOperand<'a>]) -> Decoded<Op> {
        opcode.only(&Self::RELATIONS)?;
        let ty = opcode.ty(0)?;
        let compare = Box::new(self.comparison(opcode, o, ty)?);
        let (d, second) = self.predicate_targets(self.at(opcode, o, 0)?)?;
        if matches!(ty, Type::F16x2 | Type::BF16x2) {
            return Ok(Op::CompareHalves {
                compare,
                low: d,
                high: second,
            });
        }
        Ok(Op::Compare {
            compare,
            d,
            negated: second,
        })
    }

    pub(super) fn set(&mut self, opcode: &Opcode<'_>, o: &[RawOperand<'a>]) -> Decoded<Op> {
        opcode.only(&Self::RELATIONS)?;
        let (to, ty) = (opcode.ty(0)?, opcode.ty(1)?);
        if !matches!(to, Type::U32 | Type::S32 | Type::F32) || matches!(ty, Type::F16x2 | Type::BF16x2) {
            return opcode.unsupported();
        }
        let compare = Box::new(self.comparison(opcode, o, ty)?);
        Ok(Op::Set {
            compare,
            d: self.target(self.at(opcode, o, 0)?, to)?,
            float: to == Type::F32,
        })
    }

    pub(super) fn select(&mut self, opcode: &Opcode<'_>, o: &[RawOperand<'a>]) -> Decoded<Op> {
        opcode.only(&[])?;
        let ty = opcode.ty(0)?;
        let a = self.source(self.at(opcode, o, 1)?, ty)?;
        let b = self.source(self.at(opcode, o, 2)?, ty)?;
        let p = self.predicate(self.at(opcode, o, 3)?)?;
        let d = self.target(self.at(opcode, o, 0)?, ty)?;
        match ty.class() {
            Class::Word => Ok(Op::Select { d, a, b, p }),
            Class::Long => Ok(Op::LongSelect { d, a, b, p }),
            Class::Pred => Err(ParseErrorKind::UnsupportedInstruction("selp.pred".to_owned())),
        }
    }
}
