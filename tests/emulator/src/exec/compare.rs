//! Comparisons, logic of predicates, selection.
#![allow(clippy::double_comparisons, reason = "`p < q || p > q` is not `p != q` where one is no number")]

use super::half::{bf16_to_f32, f16_to_f32, flush};
use super::warp::Warp;
use crate::op::{Compare, Compared, Guard, Logic, Relation, Slot};

/// The lanes for which `$test` holds.
macro_rules! ballot {
    ($a:expr, $b:expr, |$x:ident, $y:ident| $test:expr) => {{
        let (a, b) = ($a, $b);
        let mut bits = 0_u32;
        for lane in 0..32 {
            let ($x, $y) = (a[lane], b[lane]);
            bits |= u32::from($test) << lane;
        }
        bits
    }};
}

macro_rules! integers {
    ($relation:expr, $a:expr, $b:expr, |$v:ident| $as:expr) => {{
        macro_rules! each {
            ($op:tt) => {
                ballot!($a, $b, |x, y| ({ let $v = x; $as }) $op ({ let $v = y; $as }))
            };
        }
        match $relation {
            Relation::Eq | Relation::Equ => each!(==),
            Relation::Ne | Relation::Neu => each!(!=),
            Relation::Lt | Relation::Ltu => each!(<),
            Relation::Le | Relation::Leu => each!(<=),
            Relation::Gt | Relation::Gtu => each!(>),
            Relation::Ge | Relation::Geu => each!(>=),
            Relation::Num => u32::MAX,
            Relation::Nan => 0,
        }
    }};
}

macro_rules! floats {
    ($relation:expr, $a:expr, $b:expr, |$v:ident| $as:expr) => {{
        macro_rules! each {
            (|$x:ident, $y:ident| $test:expr) => {
                ballot!($a, $b, |x, y| {
                    let ($x, $y) = (
                        {
                            let $v = x;
                            $as
                        },
                        {
                            let $v = y;
                            $as
                        },
                    );
                    $test
                })
            };
        }
        match $relation {
            Relation::Eq => each!(|p, q| p == q),
            Relation::Ne => each!(|p, q| p < q || p > q),
            Relation::Lt => each!(|p, q| p < q),
            Relation::Le => each!(|p, q| p <= q),
            Relation::Gt => each!(|p, q| p > q),
            Relation::Ge => each!(|p, q| p >= q),
            Relation::Neu => !each!(|p, q| p == q),
            Relation::Equ => !each!(|p, q| p < q || p > q),
            Relation::Geu => !each!(|p, q| p < q),
            Relation::Gtu => !each!(|p, q| p <= q),
            Relation::Leu => !each!(|p, q| p > q),
            Relation::Ltu => !each!(|p, q| p >= q),
            Relation::Num => each!(|p, q| p == p && q == q),
            Relation::Nan => !each!(|p, q| p == p && q == q),
        }
    }};
}

/// Lanes for which the comparison, without its logic, holds; `shift` picks the half of packed floats.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,bmi1,bmi2,f16c,fma,lzcnt,popcnt"))]
fn relate(warp: &Warp, c: &Compare, shift: u32) -> u32 {
    if matches!(c.compared, Compared::S64 | Compared::U64 | Compared::F64) {
        let (a, b) = (warp.long(c.a), warp.long(c.b));
        return match c.compared {
            Compared::S64 => integers!(c.relation, a, b, |v| v as i64),
            Compared::U64 => integers!(c.relation, a, b, |v| v),
            _ => floats!(c.relation, a, b, |v| f64::from_bits(v)),
        };
    }
    let (a, b) = (warp.word(c.a), warp.word(c.b));
    match c.compared {
        Compared::S32 => integers!(c.relation, a, b, |v| v as i32),
        Compared::U32 | Compared::U16 => integers!(c.relation, a, b, |v| v),
        Compared::S16 => integers!(c.relation, a, b, |v| v as i16),
        Compared::F16 => floats!(c.relation, a, b, |v| f16_to_f32(v >> shift & 0xffff)),
        Compared::BF16 => floats!(c.relation, a, b, |v| bf16_to_f32(v >> shift & 0xffff)),
        _ if c.ftz => floats!(c.relation, a, b, |v| flush(f32::from_bits(v), true)),
        _ => floats!(c.relation, a, b, |v| f32::from_bits(v)),
    }
}

fn combine(warp: &Warp, c: &Compare, bits: u32) -> u32 {
    match c.logic {
        Logic::First => bits,
        Logic::And => bits & warp.holds(c.with),
        Logic::Or => bits | warp.holds(c.with),
        Logic::Xor => bits ^ warp.holds(c.with),
    }
}

/// `setp`.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,bmi1,bmi2,f16c,fma,lzcnt,popcnt"))]
pub(super) fn compare(warp: &mut Warp, c: &Compare, d: Slot, negated: Slot, mask: u32) {
    let bits = relate(warp, c, 0);
    let (first, second) = (combine(warp, c, bits), combine(warp, c, !bits));
    if d != crate::op::NONE {
        warp.set_predicate(d, first, mask);
    }
    if negated != crate::op::NONE {
        warp.set_predicate(negated, second, mask);
    }
}

/// `setp` of packed 16-bit floats.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,bmi1,bmi2,f16c,fma,lzcnt,popcnt"))]
pub(super) fn compare_halves(warp: &mut Warp, c: &Compare, low: Slot, high: Slot, mask: u32) {
    for (slot, shift) in [(low, 0), (high, 16)] {
        if slot != crate::op::NONE {
            let bits = relate(warp, c, shift);
            warp.set_predicate(slot, combine(warp, c, bits), mask);
        }
    }
}

/// `set`.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,bmi1,bmi2,f16c,fma,lzcnt,popcnt"))]
pub(super) fn set(warp: &mut Warp, c: &Compare, d: Slot, float: bool, mask: u32) {
    let bits = combine(warp, c, relate(warp, c, 0));
    let yes = if float { 1.0_f32.to_bits() } else { u32::MAX };
    let out = std::array::from_fn(|lane| if bits >> lane & 1 == 1 { yes } else { 0 });
    warp.set_word(d, &out, mask);
}

/// Logic of two predicates.
pub(super) fn logic(warp: &mut Warp, f: Logic, d: Slot, a: Guard, b: Guard, mask: u32) {
    let (a, b) = (warp.holds(a), warp.holds(b));
    let bits = match f {
        Logic::First => a,
        Logic::And => a & b,
        Logic::Or => a | b,
        Logic::Xor => a ^ b,
    };
    warp.set_predicate(d, bits, mask);
}

/// `selp` of words.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,bmi1,bmi2,f16c,fma,lzcnt,popcnt"))]
pub(super) fn select(warp: &mut Warp, [d, a, b]: [Slot; 3], p: Guard, mask: u32) {
    let (a, b, bits) = (warp.word(a), warp.word(b), warp.holds(p));
    let mut out = [0; 32];
    for lane in 0..32 {
        out[lane] = if bits >> lane & 1 == 1 { a[lane] } else { b[lane] };
    }
    warp.set_word(d, &out, mask);
}

/// `selp` of longs.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,bmi1,bmi2,f16c,fma,lzcnt,popcnt"))]
pub(super) fn long_select(warp: &mut Warp, [d, a, b]: [Slot; 3], p: Guard, mask: u32) {
    let (a, b, bits) = (warp.long(a), warp.long(b), warp.holds(p));
    let mut out = [0; 32];
    for lane in 0..32 {
        out[lane] = if bits >> lane & 1 == 1 { a[lane] } else { b[lane] };
    }
    warp.set_long(d, &out, mask);
}
