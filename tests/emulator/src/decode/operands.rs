//! Operands to slots.

use super::{Decoded, Decoder, Opcode};
use crate::error::ParseErrorKind;
use crate::kernel::{Constant, Ordering, Special};
use crate::op::{Address, FALSE, Guard, NONE, Slot, TRUE};
use crate::parse::RawOperand;
use crate::types::{Class, Space, Type};

/// What a name that is no register stands for.
pub(super) enum Symbol {
    Constant(Constant),
    /// Address of a variable or parameter; the space says of which kind.
    Address(Constant, Space),
}

fn class_index(class: Class) -> usize {
    match class {
        Class::Pred => 0,
        Class::Word => 1,
        Class::Long => 2,
    }
}

fn special(name: &str) -> Option<Special> {
    let axis = |special: fn(u8) -> Special| match name.rsplit('.').next()? {
        "x" => Some(special(0)),
        "y" => Some(special(1)),
        "z" => Some(special(2)),
        _ => None,
    };
    match name.split('.').next()? {
        "%tid" => axis(Special::Thread),
        "%ntid" => axis(Special::BlockSize),
        "%ctaid" => axis(Special::Block),
        "%nctaid" => axis(Special::GridSize),
        "%laneid" => Some(Special::Lane),
        "%warpid" => Some(Special::Warp),
        "%nwarpid" => Some(Special::WarpCount),
        "%lanemask_eq" => Some(Special::LaneMask(Ordering::Equal)),
        "%lanemask_lt" => Some(Special::LaneMask(Ordering::Less)),
        "%lanemask_le" => Some(Special::LaneMask(Ordering::LessOrEqual)),
        "%lanemask_gt" => Some(Special::LaneMask(Ordering::Greater)),
        "%lanemask_ge" => Some(Special::LaneMask(Ordering::GreaterOrEqual)),
        "%dynamic_smem_size" => Some(Special::DynamicShared),
        "%total_smem_size" => Some(Special::TotalShared),
        _ => None,
    }
}

impl<'a> Decoder<'a, '_> {
    /// The declared type of a register.
    pub(super) fn register_type(&self, name: &str) -> Option<Type> {
        self.body.lookup(self.scope, |s| s.registers.get(name).copied()).map(|(_, ty)| ty)
    }

    fn fresh(&mut self, class: Class) -> Slot {
        let count = &mut self.counts[class_index(class)];
        let slot = Slot::try_from(*count).unwrap_or(NONE); // too many registers are refused at the end
        *count += 1;
        slot
    }

    /// The slot of register `name`, which must be of the class.
    pub(super) fn register(&mut self, name: &str, class: Class) -> Decoded<Slot> {
        let found = self.body.lookup(self.scope, |s| s.registers.get(name).copied());
        let (scope, ty) = found.ok_or_else(|| ParseErrorKind::UnknownName(name.to_owned()))?;
        if ty.class() != class {
            return Err(ParseErrorKind::Unsupported(format!(
                "register `{name}` of type {ty:?} where {class:?} is wanted"
            )));
        }
        if let Some(slot) = self.registers.get(&(scope, name.to_owned())) {
            return Ok(*slot);
        }
        let slot = self.fresh(class);
        self.registers.insert((scope, name.to_owned()), slot);
        Ok(slot)
    }

    /// What `name` stands for, if it is no register.
    pub(super) fn symbol(&mut self, name: &'a str, offset: i64) -> Decoded<Symbol> {
        if let Some(special) = special(name) {
            return Ok(Symbol::Constant(Constant::Special(special)));
        }
        if name == "WARP_SZ" {
            return Ok(Symbol::Constant(Constant::Bits(32)));
        }
        if matches!(name, "%smid" | "%gridid" | "%nsmid") {
            return Ok(Symbol::Constant(Constant::Bits(u64::from(name == "%nsmid"))));
        }
        let here = self
            .body
            .lookup(self.scope, |s| s.variables.get(name).cloned())
            .map(|(scope, v)| (Some(scope), v));
        if let Some((scope, variable)) = here.or_else(|| self.module.variables.get(name).cloned().map(|v| (None, v))) {
            if variable.dynamic {
                self.dynamic_align = self.dynamic_align.max(variable.align);
                return Ok(Symbol::Address(Constant::DynamicShared { offset }, Space::Shared));
            }
            if let Some(index) = self.module.order.iter().position(|n| *n == name)
                && scope.is_none()
            {
                return Ok(Symbol::Address(Constant::Global { index, offset }, Space::Global));
            }
            let end = if variable.space == Space::Shared {
                &mut self.shared_bytes
            } else {
                &mut self.local_bytes
            };
            let at = *self.offsets.entry((scope, name)).or_insert_with(|| {
                let at = end.next_multiple_of(variable.align);
                *end = at + variable.bytes;
                at
            });
            return Ok(Symbol::Address(
                Constant::Bits((at as u64).wrapping_add_signed(offset)),
                variable.space,
            ));
        }
        if let Some(at) = self.params.get(name) {
            return Ok(Symbol::Address(
                Constant::Bits((*at as u64).wrapping_add_signed(offset)),
                Space::Param,
            ));
        }
        Err(ParseErrorKind::UnknownName(name.to_owned()))
    }

    /// The slot that holds `constant` as a word.
    pub(super) fn word_constant(&mut self, constant: Constant) -> Slot {
        if let Some(slot) = self.word_constants.get(&constant) {
            return *slot;
        }
        let slot = self.fresh(Class::Word);
        self.word_constants.insert(constant, slot);
        slot
    }

    /// The slot that holds `constant` as a long.
    pub(super) fn long_constant(&mut self, constant: Constant) -> Slot {
        if let Some(slot) = self.long_constants.get(&constant) {
            return *slot;
        }
        let slot = self.fresh(Class::Long);
        self.long_constants.insert(constant, slot);
        slot
    }

    /// A source operand of `ty`, whatever the class of that type.
    pub(super) fn source(&mut self, operand: &RawOperand<'a>, ty: Type) -> Decoded<Slot> {
        match operand {
            RawOperand::Immediate(value) => Ok(match ty.class() {
                Class::Long => self.long_constant(Constant::Bits(*value)),
                Class::Pred => {
                    if *value == 0 {
                        FALSE
                    } else {
                        TRUE
                    }
                }
                Class::Word => {
                    let mask = if ty.size() <= 2 { 0xffff } else { 0xffff_ffff };
                    self.word_constant(Constant::Bits(value & mask))
                }
            }),
            RawOperand::Name(name, 0) if self.register_type(name).is_some() => self.register(name, ty.class()),
            RawOperand::Name(name, offset) => {
                let (Symbol::Constant(constant) | Symbol::Address(constant, _)) = self.symbol(name, *offset)?;
                match ty.class() {
                    Class::Word => Ok(self.word_constant(constant)),
                    Class::Long => Ok(self.long_constant(constant)),
                    Class::Pred => Err(ParseErrorKind::UnknownName((*name).to_owned())),
                }
            }
            other => Err(ParseErrorKind::Syntax(format!("a value expected, found {other:?}"))),
        }
    }

    /// A destination register of the class of `ty`; `_` gives a slot that nothing reads.
    pub(super) fn target(&mut self, operand: &RawOperand<'a>, ty: Type) -> Decoded<Slot> {
        match operand {
            RawOperand::Name("_", 0) => Ok(self.fresh(ty.class())),
            RawOperand::Name(name, 0) => self.register(name, ty.class()),
            other => Err(ParseErrorKind::Syntax(format!("a register expected, found {other:?}"))),
        }
    }

    /// A destination, or `NONE` for `_`.
    pub(super) fn optional_target(&mut self, operand: &RawOperand<'a>, ty: Type) -> Decoded<Slot> {
        if *operand == RawOperand::Name("_", 0) {
            Ok(NONE)
        } else {
            self.target(operand, ty)
        }
    }

    /// A predicate operand.
    pub(super) fn predicate(&mut self, operand: &RawOperand<'a>) -> Decoded<Guard> {
        match operand {
            RawOperand::Not(name) => Ok(Guard {
                slot: self.register(name, Class::Pred)?,
                negated: true,
            }),
            other => Ok(Guard {
                slot: self.source(other, Type::Pred)?,
                negated: false,
            }),
        }
    }

    /// Two predicate destinations written `a|b`, or one; `NONE` for what is missing.
    pub(super) fn predicate_targets(&mut self, operand: &RawOperand<'a>) -> Decoded<(Slot, Slot)> {
        let mut one = |name: &'a str| if name == "_" { Ok(NONE) } else { self.register(name, Class::Pred) };
        match operand {
            RawOperand::Pair(first, second) => Ok((one(first)?, one(second)?)),
            RawOperand::Name(name, 0) => Ok((one(name)?, NONE)),
            other => Err(ParseErrorKind::Syntax(format!("a predicate expected, found {other:?}"))),
        }
    }

    /// An address operand and the space that its symbol says it is in, if it has one.
    pub(super) fn address(&mut self, operand: &RawOperand<'a>) -> Decoded<(Address, Option<Space>)> {
        let RawOperand::Address(inner) = operand else {
            return Err(ParseErrorKind::Syntax(format!("an address expected, found {operand:?}")));
        };
        match inner.as_ref() {
            RawOperand::Immediate(value) => {
                let base = self.long_constant(Constant::Bits(*value));
                Ok((
                    Address {
                        long: true,
                        base,
                        offset: 0,
                    },
                    None,
                ))
            }
            RawOperand::Name(name, offset) => match self.register_type(name) {
                Some(ty) => {
                    let long = ty.class() == Class::Long;
                    Ok((
                        Address {
                            long,
                            base: self.register(name, ty.class())?,
                            offset: *offset,
                        },
                        None,
                    ))
                }
                None => {
                    let (constant, space) = match self.symbol(name, *offset)? {
                        Symbol::Constant(constant) => (constant, None),
                        Symbol::Address(constant, space) => (constant, Some(space)),
                    };
                    Ok((
                        Address {
                            long: true,
                            base: self.long_constant(constant),
                            offset: 0,
                        },
                        space,
                    ))
                }
            },
            other => Err(ParseErrorKind::Syntax(format!("an address expected, found {other:?}"))),
        }
    }

    /// The register type of a named operand, or `otherwise` for anything else.
    pub(super) fn type_of(&self, operand: &RawOperand<'a>, otherwise: Type) -> Type {
        match operand {
            RawOperand::Name(name, _) => self.register_type(name).unwrap_or(otherwise),
            _ => otherwise,
        }
    }

    /// An immediate that must be known when decoding.
    pub(super) fn immediate(&self, opcode: &Opcode<'_>, operand: &RawOperand<'a>) -> Decoded<u64> {
        match operand {
            RawOperand::Immediate(value) => Ok(*value),
            _ => opcode.unsupported(),
        }
    }
}
