//! Conversions.

use super::half::{bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_bf16_toward_zero, f32_to_f16, f32_to_f16_toward_zero, flush, round_to_odd};
use super::int::map;
use super::warp::{Warp, lanes};
use crate::op::{AnyConvert, Convert, Mode, Round, Slot};
use crate::types::Type;

#[inline(always)]
fn saturate(value: f32, mode: Mode) -> f32 {
    let value = if mode.sat {
        if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) }
    } else {
        value
    };
    if mode.relu && value < 0.0 { 0.0 } else { value }
}

#[inline(always)]
fn integral32(value: f32, round: Round) -> f32 {
    match round {
        Round::Nearest => value.round_ties_even(),
        Round::Zero => value.trunc(),
        Round::Down => value.floor(),
        Round::Up => value.ceil(),
        Round::NearestAway => value.round(),
    }
}

fn integral64(value: f64, round: Round) -> f64 {
    match round {
        Round::Nearest => value.round_ties_even(),
        Round::Zero => value.trunc(),
        Round::Down => value.floor(),
        Round::Up => value.ceil(),
        Round::NearestAway => value.round(),
    }
}

#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,bmi1,bmi2,f16c,fma,lzcnt,popcnt"))]
pub(super) fn convert(warp: &mut Warp, f: Convert, mode: Mode, integral: bool, d: Slot, a: Slot, mask: u32) {
    let a = warp.word(a);
    let float = |bits: u32| flush(f32::from_bits(bits), mode.ftz);
    // `as` clamps and makes NaN zero, as PTX does
    macro_rules! to_integer {
        ($to:ty) => {
            match mode.round {
                Round::Zero => map!(a, |x| float(x) as $to as u32),
                Round::Nearest => map!(a, |x| float(x).round_ties_even() as $to as u32),
                Round::Down => map!(a, |x| float(x).floor() as $to as u32),
                _ => map!(a, |x| integral32(float(x), mode.round) as $to as u32),
            }
        };
    }
    let out: [u32; 32] = match f {
        Convert::F32FromS32 => map!(a, |x| (x as i32 as f32).to_bits()),
        Convert::F32FromU32 => map!(a, |x| (x as f32).to_bits()),
        Convert::F32FromF16 => map!(a, |x| saturate(f16_to_f32(x), mode).to_bits()),
        Convert::F32FromBF16 => map!(a, |x| saturate(bf16_to_f32(x), mode).to_bits()),
        Convert::F16FromF32 => map!(a, |x| f32_to_f16(saturate(float(x), mode))),
        Convert::BF16FromF32 => map!(a, |x| f32_to_bf16(saturate(float(x), mode))),
        Convert::S32FromF32 => to_integer!(i32),
        Convert::U32FromF32 => to_integer!(u32),
        Convert::F32FromF32 => map!(a, |x| {
            let value = float(x);
            saturate(if integral { integral32(value, mode.round) } else { value }, mode).to_bits()
        }),
    };
    warp.set_word(d, &out, mask);
}

#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,bmi1,bmi2,f16c,fma,lzcnt,popcnt"))]
pub(super) fn pack16(warp: &mut Warp, bfloat: bool, mode: Mode, [d, a, b]: [Slot; 3], mask: u32) {
    let (a, b) = (warp.word(a), warp.word(b));
    let float = |bits: u32| saturate(f32::from_bits(bits), mode);
    let out: [u32; 32] = match (bfloat, mode.round == Round::Zero) {
        (false, false) => map!(a, b, |x, y| f32_to_f16(float(x)) << 16 | f32_to_f16(float(y))),
        (true, false) => map!(a, b, |x, y| f32_to_bf16(float(x)) << 16 | f32_to_bf16(float(y))),
        (false, true) => map!(a, b, |x, y| f32_to_f16_toward_zero(float(x)) << 16
            | f32_to_f16_toward_zero(float(y))),
        (true, true) => map!(a, b, |x, y| f32_to_bf16_toward_zero(float(x)) << 16
            | f32_to_bf16_toward_zero(float(y))),
    };
    warp.set_word(d, &out, mask);
}

/// An integer of `bits` bits, as a signed or unsigned number.
fn integer(value: u64, bits: u32, signed: bool) -> i128 {
    let drop = 64 - bits;
    if signed {
        i128::from(((value << drop) as i64) >> drop)
    } else {
        i128::from((value << drop) >> drop)
    }
}

fn to_f64(value: u64, ty: Type) -> f64 {
    match ty {
        Type::F16 => f64::from(f16_to_f32(value as u32)),
        Type::BF16 => f64::from(bf16_to_f32(value as u32 & 0xffff)),
        Type::F32 => f64::from(f32::from_bits(value as u32)),
        _ => f64::from_bits(value),
    }
}

/// The range of an integer type.
fn limits(ty: Type) -> (i128, i128) {
    let bits = ty.bits();
    if ty.signed() {
        (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    } else {
        (0, (1 << bits) - 1)
    }
}

fn convert_lane(value: u64, c: &AnyConvert) -> u64 {
    let mode = c.mode;
    let result = if c.from.float() {
        let mut value = to_f64(value, c.from);
        if mode.ftz && c.from == Type::F32 {
            value = f64::from(flush(value as f32, true));
        }
        if c.to.float() {
            if c.integral {
                value = integral64(value, mode.round);
            }
            if mode.sat {
                value = if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) };
            }
            return match c.to {
                Type::F16 => u64::from(f32_to_f16(round_to_odd(value))),
                Type::BF16 => u64::from(f32_to_bf16(round_to_odd(value))),
                Type::F32 => u64::from(flush(value as f32, mode.ftz).to_bits()),
                _ => value.to_bits(),
            };
        }
        let (low, high) = limits(c.to);
        (integral64(value, mode.round) as i128).clamp(low, high)
    } else {
        let value = integer(value, c.from.bits(), c.from.signed());
        match c.to {
            // i128 to float rounds once, to nearest
            Type::F16 => return u64::from(f32_to_f16(round_to_odd(value as f64))),
            Type::BF16 => return u64::from(f32_to_bf16(round_to_odd(value as f64))),
            Type::F32 => return u64::from((value as f32).to_bits()),
            Type::F64 => return (value as f64).to_bits(),
            _ if mode.sat => {
                let (low, high) = limits(c.to);
                value.clamp(low, high)
            }
            _ => value,
        }
    };
    // the register may be wider than the type: signed results fill it with their sign
    let bits = result as u64;
    let narrow = integer(bits, c.to.bits(), c.to.signed()) as u64;
    let drop = 64 - c.destination_bits.max(c.to.bits());
    (narrow << drop) >> drop
}

/// Conversions of the rarer kinds.
pub(super) fn any(warp: &mut Warp, c: &AnyConvert, mask: u32) {
    for lane in lanes(mask) {
        let value = if c.source_long {
            warp.long(c.a)[lane]
        } else {
            u64::from(warp.word(c.a)[lane])
        };
        let result = convert_lane(value, c);
        if c.destination_long {
            warp.longs[usize::from(c.d)].0[lane] = result;
        } else {
            warp.words[usize::from(c.d)].0[lane] = result as u32;
        }
    }
}

/// `mov` of parts into a whole.
pub(super) fn join(warp: &mut Warp, d: Slot, long: bool, parts_long: bool, bits: u32, parts: &[Slot], mask: u32) {
    let ones = u64::MAX >> (64 - bits);
    let mut out = [0_u64; 32];
    for (index, part) in parts.iter().enumerate() {
        let shift = bits * index as u32;
        for lane in 0..32 {
            let value = if parts_long {
                warp.long(*part)[lane]
            } else {
                u64::from(warp.word(*part)[lane])
            };
            out[lane] |= (value & ones) << shift;
        }
    }
    if long {
        warp.set_long(d, &out, mask);
    } else {
        warp.set_word(d, &map!(&out, |x| x as u32), mask);
    }
}

/// `mov` of a whole into parts.
pub(super) fn split(warp: &mut Warp, a: Slot, long: bool, bits: u32, parts: &[Slot], mask: u32) {
    let whole: [u64; 32] = if long {
        *warp.long(a)
    } else {
        map!(warp.word(a), |x| u64::from(x))
    };
    let ones = (u64::MAX >> (64 - bits)) as u32;
    for (index, part) in parts.iter().enumerate().filter(|(_, part)| **part != crate::op::NONE) {
        let shift = bits * index as u32;
        warp.set_word(*part, &map!(&whole, |x| (x >> shift) as u32 & ones), mask);
    }
}
