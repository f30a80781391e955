//! Branches, barriers and instructions of whole warps.

use super::{Decoded, Decoder, Opcode};
use crate::error::ParseErrorKind;
use crate::kernel::Constant;
use crate::op::{Barrier, BarrierResult, Guard, NONE, Op, ReduceKind, Shuffle, ShuffleMode, TRUE, VoteMode};
use crate::parse::RawOperand;
use crate::types::{Class, Type};

const ALWAYS: Guard = Guard {
    slot: TRUE,
    negated: false,
};

impl<'a> Decoder<'a, '_> {
    fn label(&self, name: &str) -> Decoded<u32> {
        let found = self.body.lookup(self.scope, |s| s.labels.get(name).copied());
        found.map(|(_, at)| at).ok_or_else(|| ParseErrorKind::UnknownName(name.to_owned()))
    }

    pub(super) fn control(&mut self, opcode: &Opcode<'_>, o: &[RawOperand<'a>]) -> Decoded<Op> {
        match opcode.base {
            "ret" | "exit" => Ok(Op::Exit),
            "trap" | "brkpt" => Ok(Op::Trap),
            "bra" => match self.at(opcode, o, 0)? {
                RawOperand::Name(name, 0) => Ok(Op::Branch { target: self.label(name)? }),
                _ => opcode.unsupported(),
            },
            "brx" => {
                let index = self.source(self.at(opcode, o, 0)?, Type::U32)?;
                let RawOperand::Name(table, 0) = self.at(opcode, o, 1)? else {
                    return opcode.unsupported();
                };
                let names = self.body.lookup(self.scope, |s| s.targets.get(table).cloned());
                let (_, names) = names.ok_or_else(|| ParseErrorKind::UnknownName((*table).to_owned()))?;
                let targets = names.iter().map(|n| self.label(n)).collect::<Decoded<Box<[u32]>>>()?;
                Ok(Op::BranchTable { index, targets })
            }
            _ => Err(ParseErrorKind::Unsupported(crate::parse::CALL.to_owned())),
        }
    }

    pub(super) fn barrier(&mut self, opcode: &Opcode<'_>, o: &[RawOperand<'a>]) -> Decoded<Op> {
        opcode.only(&["sync", "arrive", "red", "warp", "aligned", "cta", "popc", "and", "or"])?;
        if opcode.has("warp") {
            return Ok(Op::WarpBarrier {
                members: self.source(self.at(opcode, o, 0)?, Type::B32)?,
            });
        }
        let result = match () {
            () if !opcode.has("red") => BarrierResult::Nothing,
            () if opcode.has("popc") => BarrierResult::Count,
            () if opcode.has("and") => BarrierResult::All,
            () => BarrierResult::Any,
        };
        let (mut d, mut predicate) = (NONE, ALWAYS);
        let mut rest = o;
        if result != BarrierResult::Nothing {
            let [to, middle @ .., last] = o else { return opcode.unsupported() };
            d = self.target(to, if result == BarrierResult::Count { Type::U32 } else { Type::Pred })?;
            predicate = self.predicate(last)?;
            rest = middle;
        }
        let id = match rest.first() {
            Some(id) => self.source(id, Type::U32)?,
            None => self.word_constant(Constant::Bits(0)), // `barrier.cta.sync.aligned` always has one; be lenient
        };
        let threads = rest.get(1).map_or(Ok(NONE), |t| self.source(t, Type::U32))?;
        let arrive = opcode.has("arrive");
        if arrive && threads == NONE {
            return opcode.unsupported();
        }
        Ok(Op::Barrier(Box::new(Barrier {
            id,
            threads,
            arrive,
            result,
            d,
            predicate,
        })))
    }

    pub(super) fn collective(&mut self, opcode: &Opcode<'_>, o: &[RawOperand<'a>]) -> Decoded<Op> {
        opcode.only(&[
            "sync", "bfly", "up", "down", "idx", "ballot", "any", "all", "uni", "add", "min", "max", "and", "or", "xor",
        ])?;
        let to = self.at(opcode, o, 0)?;
        if opcode.base == "activemask" {
            return Ok(Op::ActiveMask {
                d: self.target(to, Type::B32)?,
            });
        }
        if !opcode.has("sync") {
            return opcode.unsupported(); // forms without a member mask are gone since sm_70
        }
        match opcode.base {
            "shfl" => {
                let mode = match () {
                    () if opcode.has("bfly") => ShuffleMode::Butterfly,
                    () if opcode.has("up") => ShuffleMode::Up,
                    () if opcode.has("down") => ShuffleMode::Down,
                    () => ShuffleMode::Index,
                };
                let (d, in_range) = match to {
                    RawOperand::Pair(value, predicate) => (
                        self.register(value, Class::Word)?,
                        if *predicate == "_" {
                            NONE
                        } else {
                            self.register(predicate, Class::Pred)?
                        },
                    ),
                    other => (self.target(other, Type::B32)?, NONE),
                };
                let a = self.source(self.at(opcode, o, 1)?, Type::B32)?;
                let b = self.source(self.at(opcode, o, 2)?, Type::B32)?;
                let c = self.source(self.at(opcode, o, 3)?, Type::B32)?;
                let members = self.source(self.at(opcode, o, 4)?, Type::B32)?;
                Ok(Op::Shuffle(Box::new(Shuffle {
                    mode,
                    d,
                    in_range,
                    a,
                    b,
                    c,
                    members,
                })))
            }
            "vote" => {
                let mode = match () {
                    () if opcode.has("ballot") => VoteMode::Ballot,
                    () if opcode.has("any") => VoteMode::Any,
                    () if opcode.has("all") => VoteMode::All,
                    () => VoteMode::Uniform,
                };
                let d = self.target(to, if mode == VoteMode::Ballot { Type::B32 } else { Type::Pred })?;
                let a = self.predicate(self.at(opcode, o, 1)?)?;
                Ok(Op::Vote {
                    mode,
                    d,
                    a,
                    members: self.source(self.at(opcode, o, 2)?, Type::B32)?,
                })
            }
            "match" => {
                let ty = opcode.ty(0)?;
                let (d, predicate) = match to {
                    RawOperand::Pair(value, predicate) => (self.register(value, Class::Word)?, self.register(predicate, Class::Pred)?),
                    other => (self.target(other, Type::B32)?, NONE),
                };
                let a = self.source(self.at(opcode, o, 1)?, ty)?;
                let members = self.source(self.at(opcode, o, 2)?, Type::B32)?;
                Ok(Op::Match {
                    all: opcode.has("all"),
                    long: ty.class() == Class::Long,
                    d,
                    predicate,
                    a,
                    members,
                })
            }
            "redux" => {
                let ty = opcode.ty(0)?;
                let f = match (opcode.mods.get(1).copied(), ty) {
                    (Some("add"), _) => ReduceKind::Add,
                    (Some("min"), Type::S32) => ReduceKind::MinS,
                    (Some("min"), _) => ReduceKind::MinU,
                    (Some("max"), Type::S32) => ReduceKind::MaxS,
                    (Some("max"), _) => ReduceKind::MaxU,
                    (Some("and"), _) => ReduceKind::And,
                    (Some("or"), _) => ReduceKind::Or,
                    (Some("xor"), _) => ReduceKind::Xor,
                    _ => return opcode.unsupported(),
                };
                if ty.float() {
                    return opcode.unsupported();
                }
                let d = self.target(to, ty)?;
                let a = self.source(self.at(opcode, o, 1)?, ty)?;
                Ok(Op::Reduce {
                    f,
                    d,
                    a,
                    members: self.source(self.at(opcode, o, 2)?, Type::B32)?,
                })
            }
            _ => opcode.unsupported(),
        }
    }
}
