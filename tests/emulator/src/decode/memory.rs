//! Loads, stores, atomics, asynchronous copies, matrix loads and products.

use super::{Decoded, Decoder, Opcode};
use crate::kernel::Constant;
use crate::op::{Address, AsyncCopy, Atomic, AtomicKind, Int1, LoadMatrix, Long1, MemoryAccess, Mma, NONE, Op, Slot};
use crate::parse::RawOperand;
use crate::types::{Class, Space, Type};

/// Hints and orderings that change nothing here: blocks are run on a machine that is sequentially consistent enough.
const HINTS: [&str; 28] = [
    "global",
    "shared",
    "shared::cta",
    "local",
    "const",
    "param",
    "nc",
    "ca",
    "cg",
    "cs",
    "lu",
    "cv",
    "wb",
    "wt",
    "volatile",
    "weak",
    "relaxed",
    "acquire",
    "release",
    "acq_rel",
    "cta",
    "gpu",
    "sys",
    "cluster",
    "v2",
    "v4",
    "unified",
    "mmio",
];

fn hint(modifier: &str) -> bool {
    HINTS.contains(&modifier) || modifier.starts_with("L1::") || modifier.starts_with("L2::") && modifier != "L2::cache_hint"
}

fn space(opcode: &Opcode<'_>, symbol: Option<Space>) -> Space {
    let named = match () {
        () if opcode.has("global") => Space::Global,
        () if opcode.has("const") => Space::Const,
        () if opcode.has("shared") || opcode.has("shared::cta") => Space::Shared,
        () if opcode.has("local") => Space::Local,
        () if opcode.has("param") => Space::Param,
        () => symbol.unwrap_or(Space::Generic),
    };
    if named == Space::Const { Space::Global } else { named }
}

fn known(opcode: &Opcode<'_>, more: &[&str]) -> Decoded<()> {
    if opcode.mods.iter().all(|m| hint(m) || more.contains(m) || Type::parse(m).is_some()) {
        Ok(())
    } else {
        opcode.unsupported()
    }
}

impl<'a> Decoder<'a, '_> {
    /// The registers of a vector operand, or of a plain one.
    fn elements<'o>(operand: &'o RawOperand<'a>) -> &'o [RawOperand<'a>] {
        match operand {
            RawOperand::Vector(parts) => parts,
            other => std::slice::from_ref(other),
        }
    }

    pub(super) fn load(&mut self, opcode: &Opcode<'_>, o: &[RawOperand<'a>]) -> Decoded<Op> {
        known(opcode, &[])?;
        let ty = opcode.ty(0)?;
        let parts = Self::elements(self.at(opcode, o, 0)?);
        let (address, symbol) = self.address(self.at(opcode, o, 1)?)?;
        let space = space(opcode, symbol);
        // all parts have the register type of the first; it may be wider than the type loaded
        let register = parts.iter().map(|p| self.type_of(p, ty)).max_by_key(|t| t.size()).unwrap_or(ty);
        let class = if ty.size() == 8 { Type::B64 } else { register };
        let slots = parts
            .iter()
            .map(|p| self.optional_target(p, class))
            .collect::<Decoded<Box<[Slot]>>>()?;
        if ty == Type::Pred || !matches!(slots.len(), 1 | 2 | 4 | 8) || ty.size() * slots.len() > 32 {
            return opcode.unsupported();
        }
        let sign_to = if ty.signed() { register.bits().max(ty.bits()) } else { 0 };
        let long = class.class() == Class::Long;
        if let (Space::Param, [d], Some(offset)) = (space, &*slots, self.constant_base(address)) {
            let constant = Constant::Param {
                offset,
                bytes: ty.size(),
                sign_to,
            };
            return Ok(if *d == NONE {
                Op::Nop
            } else if long {
                Op::Long1 {
                    f: Long1::Mov,
                    d: *d,
                    a: self.long_constant(constant),
                }
            } else {
                Op::Int1 {
                    f: Int1::Mov,
                    d: *d,
                    a: self.word_constant(constant),
                }
            });
        }
        self.shared_access(space, ty.size());
        Ok(Op::Load(Box::new(MemoryAccess {
            space,
            address,
            size: ty.size(),
            sign_to,
            slots,
            long,
        })))
    }

    /// The value of an address that is a constant.
    fn constant_base(&self, address: Address) -> Option<usize> {
        let constant = self
            .long_constants
            .iter()
            .find(|(_, slot)| address.long && **slot == address.base)?
            .0;
        match constant {
            Constant::Bits(bits) => usize::try_from(bits.checked_add_signed(address.offset)?).ok(),
            _ => None,
        }
    }

    pub(super) fn store(&mut self, opcode: &Opcode<'_>, o: &[RawOperand<'a>]) -> Decoded<Op> {
        known(opcode, &[])?;
        let ty = opcode.ty(0)?;
        let parts = Self::elements(self.at(opcode, o, 1)?);
        let (address, symbol) = self.address(self.at(opcode, o, 0)?)?;
        let space = space(opcode, symbol);
        let register = parts.iter().map(|p| self.type_of(p, ty)).max_by_key(|t| t.size()).unwrap_or(ty);
        let class = if register.size() >= ty.size() { register } else { ty };
        let slots = parts.iter().map(|p| self.source(p, class)).collect::<Decoded<Box<[Slot]>>>()?;
        if ty == Type::Pred || space == Space::Param || !matches!(slots.len(), 1 | 2 | 4 | 8) || ty.size() * slots.len() > 32 {
            return opcode.unsupported();
        }
        self.shared_access(space, ty.size());
        Ok(Op::Store(Box::new(MemoryAccess {
            space,
            address,
            size: ty.size(),
            sign_to: 0,
            slots,
            long: class.class() == Class::Long,
        })))
    }

    pub(super) fn atomic(&mut self, opcode: &Opcode<'_>, o: &[RawOperand<'a>]) -> Decoded<Op> {
        known(opcode, &["add", "min", "max", "and", "or", "xor", "exch", "cas", "inc", "dec"])?;
        let ty = opcode.ty(0)?;
        let reduces = opcode.base == "red";
        let first = usize::from(!reduces);
        let (address, symbol) = self.address(self.at(opcode, o, first)?)?;
        let value = self.source(self.at(opcode, o, first + 1)?, ty)?;
        let operation = opcode
            .mods
            .iter()
            .find(|m| !hint(m) && Type::parse(m).is_none())
            .copied()
            .unwrap_or("");
        let kind = match (operation, ty) {
            ("add", Type::F32) => AtomicKind::AddF32,
            ("add", Type::F64) => AtomicKind::AddF64,
            (_, t) if t.float() || !matches!(t.size(), 4 | 8) => return opcode.unsupported(),
            ("add", _) => AtomicKind::Add,
            ("min", t) if t.signed() => AtomicKind::MinS,
            ("min", _) => AtomicKind::MinU,
            ("max", t) if t.signed() => AtomicKind::MaxS,
            ("max", _) => AtomicKind::MaxU,
            ("and", _) => AtomicKind::And,
            ("or", _) => AtomicKind::Or,
            ("xor", _) => AtomicKind::Xor,
            ("exch", _) => AtomicKind::Exchange,
            ("cas", _) => AtomicKind::CompareExchange,
            ("inc", Type::U32) => AtomicKind::Inc,
            ("dec", Type::U32) => AtomicKind::Dec,
            _ => return opcode.unsupported(),
        };
        let swap = if kind == AtomicKind::CompareExchange {
            self.source(self.at(opcode, o, first + 2)?, ty)?
        } else {
            NONE
        };
        let d = if reduces {
            NONE
        } else {
            self.optional_target(self.at(opcode, o, 0)?, ty)?
        };
        let space = space(opcode, symbol);
        if !matches!(space, Space::Global | Space::Shared | Space::Generic) {
            return opcode.unsupported();
        }
        Ok(Op::Atomic(Box::new(Atomic {
            kind,
            space,
            address,
            long: ty.class() == Class::Long,
            d,
            value,
            swap,
        })))
    }

    pub(super) fn async_copy(&mut self, opcode: &Opcode<'_>, o: &[RawOperand<'a>]) -> Decoded<Op> {
        if opcode.mods.first() != Some(&"async") {
            return opcode.unsupported();
        }
        match opcode.mods.get(1).copied() {
            Some("commit_group") => return Ok(Op::AsyncCommit),
            Some("wait_all") => return Ok(Op::AsyncWait { keep: 0, all: true }),
            Some("wait_group") => {
                let keep = self.immediate(opcode, self.at(opcode, o, 0)?)?;
                return Ok(Op::AsyncWait {
                    keep: u32::try_from(keep).unwrap_or(u32::MAX),
                    all: false,
                });
            }
            Some("ca" | "cg") => {}
            _ => return opcode.unsupported(),
        }
        known(opcode, &["async"])?;
        let (to, _) = self.address(self.at(opcode, o, 0)?)?;
        let (from, _) = self.address(self.at(opcode, o, 1)?)?;
        let bytes = self.immediate(opcode, self.at(opcode, o, 2)?)?;
        if !matches!(bytes, 4 | 8 | 16) || (bytes != 16 && opcode.has("cg")) {
            return opcode.unsupported();
        }
        let (mut source_bytes, mut ignore) = (NONE, None);
        if let Some(extra) = o.get(3) {
            if self.type_of(extra, Type::U32) == Type::Pred || matches!(extra, RawOperand::Not(_)) {
                ignore = Some(self.predicate(extra)?);
            } else {
                source_bytes = self.source(extra, Type::U32)?;
            }
        }
        Ok(Op::AsyncCopy(Box::new(AsyncCopy {
            to,
            from,
            bytes: bytes as usize,
            source_bytes,
            ignore,
        })))
    }

    pub(super) fn load_matrix(&mut self, opcode: &Opcode<'_>, o: &[RawOperand<'a>]) -> Decoded<Op> {
        opcode.only(&["sync", "aligned", "m8n8", "x1", "x2", "x4", "trans", "shared", "shared::cta"])?;
        let count = match () {
            () if opcode.has("x4") => 4,
            () if opcode.has("x2") => 2,
            () => 1,
        };
        let parts = Self::elements(self.at(opcode, o, 0)?);
        if parts.len() != count || !opcode.has("m8n8") || opcode.ty(0)? != Type::B16 {
            return opcode.unsupported();
        }
        let slots = parts.iter().map(|p| self.target(p, Type::B32)).collect::<Decoded<Box<[Slot]>>>()?;
        let (address, _) = self.address(self.at(opcode, o, 1)?)?;
        Ok(Op::LoadMatrix(Box::new(LoadMatrix {
            address,
            transpose: opcode.has("trans"),
            slots,
        })))
    }

    pub(super) fn mma(&mut self, opcode: &Opcode<'_>, o: &[RawOperand<'a>]) -> Decoded<Op> {
        opcode.only(&["sync", "aligned", "m16n8k16", "m16n8k8", "row", "col"])?;
        let depth = if opcode.has("m16n8k16") { 16 } else { 8 };
        let half_sum = match *opcode.types {
            [Type::F32, Type::F16, Type::F16, Type::F32] | [Type::F32, Type::BF16, Type::BF16, Type::F32] => false,
            [Type::F16, Type::F16, Type::F16, Type::F16] => true,
            _ => return opcode.unsupported(),
        };
        let bfloat = opcode.types.get(1) == Some(&Type::BF16);
        let sum = if half_sum { Type::F16x2 } else { Type::F32 };
        let d = Self::elements(self.at(opcode, o, 0)?)
            .iter()
            .map(|p| self.target(p, sum))
            .collect::<Decoded<Box<[Slot]>>>()?;
        let mut sources = |index: usize, ty: Type| {
            let parts = Self::elements(self.at(opcode, o, index)?);
            parts.iter().map(|p| self.source(p, ty)).collect::<Decoded<Box<[Slot]>>>()
        };
        let (a, b, c) = (sources(1, Type::B32)?, sources(2, Type::B32)?, sources(3, sum)?);
        let sums = if half_sum { 2 } else { 4 };
        if a.len() != depth / 4 || b.len() != depth / 8 || c.len() != sums || d.len() != sums {
            return opcode.unsupported();
        }
        Ok(Op::Mma(Box::new(Mma {
            depth,
            bfloat,
            half_sum,
            d,
            a,
            b,
            c,
        })))
    }
}
