//! One instruction for the active lanes of a warp.

use super::Context;
use super::access::{Run, trap};
use super::warp::{Warp, lanes};
use super::{collective, compare, convert, float, int};
use crate::error::FaultKind;
use crate::memory::{LOCAL_WINDOW, SHARED_WINDOW, in_window};
use crate::op::Op;
use crate::types::Space;

fn window(space: Space) -> u64 {
    match space {
        Space::Shared => SHARED_WINDOW,
        Space::Local => LOCAL_WINDOW,
        _ => 0,
    }
}

impl Context<'_> {
    /// Runs an instruction that does not change the flow of control.
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,bmi1,bmi2,f16c,fma,lzcnt,popcnt"))]
    pub(super) fn step(&mut self, warp: &mut Warp, op: &Op, mask: u32) -> Run<()> {
        match *op {
            Op::Int1 { f, d, a } => int::int1(warp, f, d, a, mask),
            Op::Int2 { f, d, a, b } => int::int2(warp, f, d, a, b, mask),
            Op::Int3 { f, d, a, b, c } => int::int3(warp, f, [d, a, b, c], mask),
            Op::Lop3 { table, d, a, b, c } => int::lop3(warp, table, [d, a, b, c], mask),
            Op::Bfi { d, a, b, start, length } => int::bfi(warp, [d, a, b, start, length], mask),
            Op::Long1 { f, d, a } => int::long1(warp, f, d, a, mask),
            Op::Long2 { f, d, a, b } => int::long2(warp, f, d, a, b, mask),
            Op::LongMad { d, a, b, c } => int::long3(warp, false, [d, a, b, c], mask),
            Op::LongFma { d, a, b, c } => int::long3(warp, true, [d, a, b, c], mask),
            Op::LongBfe {
                signed,
                d,
                a,
                start,
                length,
            } => int::long_bfe(warp, signed, [d, a, start, length], mask),
            Op::LongBfi { d, a, b, start, length } => int::long_bfi(warp, [d, a, b, start, length], mask),
            Op::LongShift { f, d, a, b } => int::long_shift(warp, f, d, a, b, mask),
            Op::Narrow { f, d, a } => int::narrow(warp, f, d, a, mask),
            Op::Widen { signed, d, a } => int::widen(warp, signed, d, a, mask),
            Op::MulWide { signed, d, a, b } => int::mul_wide(warp, signed, [d, a, b], None, mask),
            Op::MadWide { signed, d, a, b, c } => int::mul_wide(warp, signed, [d, a, b], Some(c), mask),
            Op::Float1 { f, mode, d, a } => float::float1(warp, f, mode, d, a, mask),
            Op::Float2 { f, mode, d, a, b } => float::float2(warp, f, mode, [d, a, b], mask),
            Op::Fma { mode, d, a, b, c } => float::fma(warp, mode, [d, a, b, c], mask),
            Op::Half1 { f, half, d, a } => float::half1(warp, f, half, d, a, mask),
            Op::Half2 { f, half, mode, d, a, b } => float::half2(warp, f, half, mode, [d, a, b], mask),
            Op::HalfFma { half, mode, d, a, b, c } => float::half_fma(warp, half, mode, [d, a, b, c], mask),
            Op::Convert { f, mode, integral, d, a } => convert::convert(warp, f, mode, integral, d, a, mask),
            Op::Pack16 { bfloat, mode, d, a, b } => convert::pack16(warp, bfloat, mode, [d, a, b], mask),
            Op::AnyConvert(ref c) => convert::any(warp, c, mask),
            Op::Join {
                d,
                long,
                parts_long,
                bits,
                ref parts,
            } => convert::join(warp, d, long, parts_long, bits, parts, mask),
            Op::Split { a, long, bits, ref parts } => convert::split(warp, a, long, bits, parts, mask),
            Op::Compare { ref compare, d, negated } => compare::compare(warp, compare, d, negated, mask),
            Op::CompareHalves { ref compare, low, high } => compare::compare_halves(warp, compare, low, high, mask),
            Op::Set { ref compare, d, float } => compare::set(warp, compare, d, float, mask),
            Op::Logic { f, d, a, b } => compare::logic(warp, f, d, a, b, mask),
            Op::Select { d, a, b, p } => compare::select(warp, [d, a, b], p, mask),
            Op::LongSelect { d, a, b, p } => compare::long_select(warp, [d, a, b], p, mask),
            Op::Load(ref access) => return self.load(warp, access, mask),
            Op::Store(ref access) => return self.store(warp, access, mask),
            Op::Atomic(ref atomic) => return self.atomic(warp, atomic, mask),
            Op::AsyncCopy(ref copy) => return self.async_copy(warp, copy, mask),
            Op::AsyncCommit => lanes(mask).for_each(|lane| warp.groups[lane] += 1),
            Op::AsyncWait { keep, all } => self.async_wait(warp, keep, all, mask),
            Op::LoadMatrix(ref matrix) => return self.load_matrix(warp, matrix, mask),
            Op::Mma(ref mma) => return self.mma(warp, mma, mask),
            Op::Shuffle(ref shuffle) => return collective::shuffle(warp, shuffle, mask),
            Op::Vote { mode, d, a, members } => return collective::vote(warp, mode, d, a, members, mask),
            Op::Match {
                all,
                long,
                d,
                predicate,
                a,
                members,
            } => {
                return collective::match_lanes(warp, all, long, [d, predicate, a, members], mask);
            }
            Op::Reduce { f, d, a, members } => return collective::reduce(warp, f, [d, a, members], mask),
            Op::ActiveMask { d } => warp.set_word(d, &[mask; 32], mask),
            Op::Clock { d, long } => {
                self.ticks += 8;
                if long {
                    warp.set_long(d, &[self.ticks; 32], mask);
                } else {
                    warp.set_word(d, &[self.ticks as u32; 32], mask);
                }
            }
            Op::ToSpace { space, d, a } => {
                let out = warp.long(a).map(|x| x.wrapping_sub(window(space)));
                warp.set_long(d, &out, mask);
            }
            Op::FromSpace { space, d, a } => {
                let out = warp.long(a).map(|x| x.wrapping_add(window(space)));
                warp.set_long(d, &out, mask);
            }
            Op::IsSpace { space, d, a } => {
                let inside = |x: u64| match space {
                    Space::Global => !in_window(x, SHARED_WINDOW) && !in_window(x, LOCAL_WINDOW),
                    other => in_window(x, window(other)),
                };
                let bits = warp
                    .long(a)
                    .iter()
                    .enumerate()
                    .fold(0, |bits, (lane, x)| bits | u32::from(inside(*x)) << lane);
                warp.set_predicate(d, bits, mask);
            }
            Op::Trap => return trap(FaultKind::Trap, mask.trailing_zeros() as usize),
            // the others are `Block::run_warp`'s
            Op::Nop | Op::Barrier(_) | Op::WarpBarrier { .. } | Op::Branch { .. } | Op::BranchTable { .. } | Op::Exit => {}
        }
        Ok(())
    }
}
