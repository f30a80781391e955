//! Integer and logic operations, a loop over the lanes each.

use super::warp::Warp;
use crate::op::{Int1, Int2, Int3, Long1, Long2, Narrow, Shift, Slot};

/// `[f(a0), f(a1), ...]`
macro_rules! map {
    ($a:expr, |$x:ident| $result:expr) => {{
        let a = $a;
        let mut out = [Default::default(); 32];
        for lane in 0..32 {
            let $x = a[lane];
            out[lane] = $result;
        }
        out
    }};
    ($a:expr, $b:expr, |$x:ident, $y:ident| $result:expr) => {{
        let (a, b) = ($a, $b);
        let mut out = [Default::default(); 32];
        for lane in 0..32 {
            let ($x, $y) = (a[lane], b[lane]);
            out[lane] = $result;
        }
        out
    }};
    ($a:expr, $b:expr, $c:expr, |$x:ident, $y:ident, $z:ident| $result:expr) => {{
        let (a, b, c) = ($a, $b, $c);
        let mut out = [Default::default(); 32];
        for lane in 0..32 {
            let ($x, $y, $z) = (a[lane], b[lane], c[lane]);
            out[lane] = $result;
        }
        out
    }};
}
pub(super) use map;

#[inline(always)]
fn s16(x: u32) -> i32 {
    i32::from(x as i16)
}

#[inline(always)]
fn low16(x: i32) -> u32 {
    x as u32 & 0xffff
}

#[inline(always)]
fn shift_left(x: u32, by: u32) -> u32 {
    if by < 32 { x << by } else { 0 }
}

#[inline(always)]
fn shift_right(x: u32, by: u32) -> u32 {
    if by < 32 { x >> by } else { 0 }
}

/// The place of the highest bit that differs from the sign, as `bfind` gives it; all ones where there is none.
#[inline(always)]
fn highest(x: u32) -> u32 {
    31_u32.wrapping_sub(x.leading_zeros())
}

#[inline(always)]
fn fold_sign(x: u32) -> u32 {
    x ^ ((x as i32) >> 31) as u32
}

#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,bmi1,bmi2,f16c,fma,lzcnt,popcnt"))]
pub(super) fn int1(warp: &mut Warp, f: Int1, d: Slot, a: Slot, mask: u32) {
    let a = warp.word(a);
    let out: [u32; 32] = match f {
        Int1::Mov => *a,
        Int1::Not => map!(a, |x| !x),
        Int1::Not16 => map!(a, |x| !x & 0xffff),
        Int1::Neg => map!(a, |x| x.wrapping_neg()),
        Int1::Neg16 => map!(a, |x| x.wrapping_neg() & 0xffff),
        Int1::Abs => map!(a, |x| (x as i32).wrapping_abs() as u32),
        Int1::Abs16 => map!(a, |x| low16(s16(x).abs())),
        Int1::Popc => map!(a, |x| x.count_ones()),
        Int1::Clz => map!(a, |x| x.leading_zeros()),
        Int1::Brev => map!(a, |x| x.reverse_bits()),
        Int1::BfindU => map!(a, |x| highest(x)),
        Int1::BfindS => map!(a, |x| highest(fold_sign(x))),
        Int1::BfindShiftU => map!(a, |x| if x == 0 { u32::MAX } else { x.leading_zeros() }),
        Int1::BfindShiftS => map!(a, |x| if fold_sign(x) == 0 {
            u32::MAX
        } else {
            fold_sign(x).leading_zeros()
        }),
        Int1::NegF32 => map!(a, |x| x ^ 0x8000_0000),
        Int1::AbsF32 => map!(a, |x| x & 0x7fff_ffff),
        Int1::NegF16 => map!(a, |x| x ^ 0x8000),
        Int1::AbsF16 => map!(a, |x| x & 0x7fff),
        Int1::NegF16x2 => map!(a, |x| x ^ 0x8000_8000),
        Int1::AbsF16x2 => map!(a, |x| x & 0x7fff_7fff),
        Int1::Low8 => map!(a, |x| x & 0xff),
        Int1::Low16 => map!(a, |x| x & 0xffff),
        Int1::Sign8 => map!(a, |x| i32::from(x as i8) as u32),
        Int1::Sign8To16 => map!(a, |x| i32::from(x as i8) as u32 & 0xffff),
        Int1::Sign16 => map!(a, |x| s16(x) as u32),
    };
    warp.set_word(d, &out, mask);
}

#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,bmi1,bmi2,f16c,fma,lzcnt,popcnt"))]
pub(super) fn int2(warp: &mut Warp, f: Int2, d: Slot, a: Slot, b: Slot, mask: u32) {
    let (a, b) = (warp.word(a), warp.word(b));
    let out: [u32; 32] = match f {
        Int2::Add => map!(a, b, |x, y| x.wrapping_add(y)),
        Int2::Sub => map!(a, b, |x, y| x.wrapping_sub(y)),
        Int2::Mul => map!(a, b, |x, y| x.wrapping_mul(y)),
        Int2::MulHiS => map!(a, b, |x, y| ((i64::from(x as i32) * i64::from(y as i32)) >> 32) as u32),
        Int2::MulHiU => map!(a, b, |x, y| ((u64::from(x) * u64::from(y)) >> 32) as u32),
        Int2::Mul24S => map!(a, b, |x, y| (((x << 8) as i32) >> 8).wrapping_mul(((y << 8) as i32) >> 8) as u32),
        Int2::Mul24U => map!(a, b, |x, y| (x & 0xff_ffff).wrapping_mul(y & 0xff_ffff)),
        Int2::DivS => map!(a, b, |x, y| if y == 0 {
            u32::MAX
        } else {
            (x as i32).wrapping_div(y as i32) as u32
        }),
        Int2::DivU => map!(a, b, |x, y| x.checked_div(y).unwrap_or(u32::MAX)),
        Int2::RemS => map!(a, b, |x, y| if y == 0 { x } else { (x as i32).wrapping_rem(y as i32) as u32 }),
        Int2::RemU => map!(a, b, |x, y| x.checked_rem(y).unwrap_or(x)),
        Int2::MinS => map!(a, b, |x, y| (x as i32).min(y as i32) as u32),
        Int2::MinU => map!(a, b, |x, y| x.min(y)),
        Int2::MaxS => map!(a, b, |x, y| (x as i32).max(y as i32) as u32),
        Int2::MaxU => map!(a, b, |x, y| x.max(y)),
        Int2::And => map!(a, b, |x, y| x & y),
        Int2::Or => map!(a, b, |x, y| x | y),
        Int2::Xor => map!(a, b, |x, y| x ^ y),
        Int2::Shl => map!(a, b, |x, y| shift_left(x, y)),
        Int2::ShrS => map!(a, b, |x, y| ((x as i32) >> y.min(31)) as u32),
        Int2::ShrU => map!(a, b, |x, y| shift_right(x, y)),
        Int2::Add16 => map!(a, b, |x, y| x.wrapping_add(y) & 0xffff),
        Int2::Sub16 => map!(a, b, |x, y| x.wrapping_sub(y) & 0xffff),
        Int2::Mul16 => map!(a, b, |x, y| x.wrapping_mul(y) & 0xffff),
        Int2::MulHi16S => map!(a, b, |x, y| low16((s16(x) * s16(y)) >> 16)),
        Int2::MulHi16U => map!(a, b, |x, y| (x & 0xffff).wrapping_mul(y & 0xffff) >> 16),
        Int2::MulWide16S => map!(a, b, |x, y| (s16(x) * s16(y)) as u32),
        Int2::MulWide16U => map!(a, b, |x, y| (x & 0xffff).wrapping_mul(y & 0xffff)),
        Int2::Div16S => map!(a, b, |x, y| if y == 0 { 0xffff } else { low16(s16(x).wrapping_div(s16(y))) }),
        Int2::Div16U => map!(a, b, |x, y| x.checked_div(y).unwrap_or(0xffff)),
        Int2::Rem16S => map!(a, b, |x, y| if y == 0 { x } else { low16(s16(x).wrapping_rem(s16(y))) }),
        Int2::Rem16U => map!(a, b, |x, y| x.checked_rem(y).unwrap_or(x)),
        Int2::Min16S => map!(a, b, |x, y| low16(s16(x).min(s16(y)))),
        Int2::Max16S => map!(a, b, |x, y| low16(s16(x).max(s16(y)))),
        Int2::Shl16 => map!(a, b, |x, y| shift_left(x, y) & 0xffff),
        Int2::Shr16S => map!(a, b, |x, y| low16(s16(x) >> y.min(15))),
        Int2::Shr16U => map!(a, b, |x, y| shift_right(x, y)),
        Int2::CopySign => map!(a, b, |x, y| x & 0x8000_0000 | y & 0x7fff_ffff),
    };
    warp.set_word(d, &out, mask);
}

/// Picks bytes of the pair `low`, `high`, as `prmt` does.
#[inline(always)]
fn permute(low: u32, high: u32, selector: u32) -> u32 {
    let pair = u64::from(high) << 32 | u64::from(low);
    let mut out = 0;
    for byte in 0..4 {
        let pick = selector >> (4 * byte) & 0xf;
        let value = (pair >> (8 * (pick & 7))) as u32 & 0xff;
        let value = if pick & 8 == 0 { value } else { (value >> 7) * 0xff };
        out |= value << (8 * byte);
    }
    out
}

#[inline(always)]
fn bit_field(x: u32, start: u32, length: u32, signed: bool) -> u32 {
    let (start, length) = (start & 0xff, length & 0xff);
    if length == 0 {
        return 0;
    }
    if signed {
        // bits past the end repeat the sign of the value
        let sign = if start.saturating_add(length) > 32 {
            31
        } else {
            start + length - 1
        };
        let shifted = ((x as i32) >> start.min(31)) as u32;
        let ones = shift_right(u32::MAX, 32 - length.min(32));
        if x >> sign & 1 == 1 { shifted | !ones } else { shifted & ones }
    } else {
        shift_right(x, start) & shift_right(u32::MAX, 32 - length.min(32))
    }
}

#[inline(always)]
fn dot(x: u32, y: u32, sum: u32, x_signed: bool, y_signed: bool) -> u32 {
    let part = |v: u32, byte: u32, signed: bool| {
        let v = (v >> (8 * byte)) as u8;
        if signed { i32::from(v as i8) } else { i32::from(v) }
    };
    (0..4).fold(sum, |sum, byte| {
        sum.wrapping_add((part(x, byte, x_signed) * part(y, byte, y_signed)) as u32)
    })
}

#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,bmi1,bmi2,f16c,fma,lzcnt,popcnt"))]
pub(super) fn int3(warp: &mut Warp, f: Int3, [d, a, b, c]: [Slot; 4], mask: u32) {
    let (a, b, c) = (warp.word(a), warp.word(b), warp.word(c));
    let pair = |low: u32, high: u32| u64::from(high) << 32 | u64::from(low);
    let out: [u32; 32] = match f {
        Int3::MadLo => map!(a, b, c, |x, y, z| x.wrapping_mul(y).wrapping_add(z)),
        Int3::MadHiS => map!(a, b, c, |x, y, z| (((i64::from(x as i32) * i64::from(y as i32)) >> 32) as u32)
            .wrapping_add(z)),
        Int3::MadHiU => map!(a, b, c, |x, y, z| (((u64::from(x) * u64::from(y)) >> 32) as u32).wrapping_add(z)),
        Int3::Mad16 => map!(a, b, c, |x, y, z| x.wrapping_mul(y).wrapping_add(z) & 0xffff),
        Int3::MadWide16S => map!(a, b, c, |x, y, z| ((s16(x) * s16(y)) as u32).wrapping_add(z)),
        Int3::MadWide16U => map!(a, b, c, |x, y, z| (x & 0xffff).wrapping_mul(y & 0xffff).wrapping_add(z)),
        Int3::Prmt => map!(a, b, c, |x, y, z| permute(x, y, z)),
        Int3::ShfLeftWrap => map!(a, b, c, |x, y, z| ((pair(x, y) << (z & 31)) >> 32) as u32),
        Int3::ShfLeftClamp => map!(a, b, c, |x, y, z| ((pair(x, y) << z.min(32)) >> 32) as u32),
        Int3::ShfRightWrap => map!(a, b, c, |x, y, z| (pair(x, y) >> (z & 31)) as u32),
        Int3::ShfRightClamp => map!(a, b, c, |x, y, z| (pair(x, y) >> z.min(32)) as u32),
        Int3::BfeS => map!(a, b, c, |x, y, z| bit_field(x, y, z, true)),
        Int3::BfeU => map!(a, b, c, |x, y, z| bit_field(x, y, z, false)),
        Int3::SadS => map!(a, b, c, |x, y, z| (x as i32).abs_diff(y as i32).wrapping_add(z)),
        Int3::SadU => map!(a, b, c, |x, y, z| x.abs_diff(y).wrapping_add(z)),
        Int3::Dp4aSS => map!(a, b, c, |x, y, z| dot(x, y, z, true, true)),
        Int3::Dp4aUU => map!(a, b, c, |x, y, z| dot(x, y, z, false, false)),
        Int3::Dp4aSU => map!(a, b, c, |x, y, z| dot(x, y, z, true, false)),
        Int3::Dp4aUS => map!(a, b, c, |x, y, z| dot(x, y, z, false, true)),
        Int3::SelectIfNotNegative => map!(a, b, c, |x, y, z| if z as i32 >= 0 { x } else { y }),
    };
    warp.set_word(d, &out, mask);
}

#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,bmi1,bmi2,f16c,fma,lzcnt,popcnt"))]
pub(super) fn lop3(warp: &mut Warp, table: u8, [d, a, b, c]: [Slot; 4], mask: u32) {
    let (a, b, c) = (warp.word(a), warp.word(b), warp.word(c));
    let pick = |bit: u32| if table >> bit & 1 == 1 { u32::MAX } else { 0 };
    let t: [u32; 8] = std::array::from_fn(|bit| pick(bit as u32));
    let out: [u32; 32] = map!(a, b, c, |x, y, z| {
        let low = !y & (!z & t[0] | z & t[1]) | y & (!z & t[2] | z & t[3]);
        let high = !y & (!z & t[4] | z & t[5]) | y & (!z & t[6] | z & t[7]);
        !x & low | x & high
    });
    warp.set_word(d, &out, mask);
}

#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,bmi1,bmi2,f16c,fma,lzcnt,popcnt"))]
pub(super) fn bfi(warp: &mut Warp, [d, a, b, start, length]: [Slot; 5], mask: u32) {
    let (a, b, start, length) = (warp.word(a), warp.word(b), warp.word(start), warp.word(length));
    let mut out = [0; 32];
    for lane in 0..32 {
        let (s, n) = (start[lane] & 0xff, length[lane] & 0xff);
        let ones = shift_left(if n == 0 { 0 } else { shift_right(u32::MAX, 32 - n.min(32)) }, s);
        out[lane] = b[lane] & !ones | shift_left(a[lane], s) & ones;
    }
    warp.set_word(d, &out, mask);
}

#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,bmi1,bmi2,f16c,fma,lzcnt,popcnt"))]
pub(super) fn long1(warp: &mut Warp, f: Long1, d: Slot, a: Slot, mask: u32) {
    let a = warp.long(a);
    let out: [u64; 32] = match f {
        Long1::Mov => *a,
        Long1::Not => map!(a, |x| !x),
        Long1::Neg => map!(a, |x| x.wrapping_neg()),
        Long1::Abs => map!(a, |x| (x as i64).wrapping_abs() as u64),
        Long1::Brev => map!(a, |x| x.reverse_bits()),
        Long1::NegF => map!(a, |x| x ^ 1 << 63),
        Long1::AbsF => map!(a, |x| x & !(1 << 63)),
        Long1::SqrtF => map!(a, |x| f64::from_bits(x).sqrt().to_bits()),
        Long1::RcpF => map!(a, |x| f64::from_bits(x).recip().to_bits()),
    };
    warp.set_long(d, &out, mask);
}

#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,bmi1,bmi2,f16c,fma,lzcnt,popcnt"))]
pub(super) fn long2(warp: &mut Warp, f: Long2, d: Slot, a: Slot, b: Slot, mask: u32) {
    let (a, b) = (warp.long(a), warp.long(b));
    let float = f64::from_bits;
    let out: [u64; 32] = match f {
        Long2::Add => map!(a, b, |x, y| x.wrapping_add(y)),
        Long2::Sub => map!(a, b, |x, y| x.wrapping_sub(y)),
        Long2::Mul => map!(a, b, |x, y| x.wrapping_mul(y)),
        Long2::MulHiS => map!(a, b, |x, y| ((i128::from(x as i64) * i128::from(y as i64)) >> 64) as u64),
        Long2::MulHiU => map!(a, b, |x, y| ((u128::from(x) * u128::from(y)) >> 64) as u64),
        Long2::DivS => map!(a, b, |x, y| if y == 0 {
            u64::MAX
        } else {
            (x as i64).wrapping_div(y as i64) as u64
        }),
        Long2::DivU => map!(a, b, |x, y| x.checked_div(y).unwrap_or(u64::MAX)),
        Long2::RemS => map!(a, b, |x, y| if y == 0 { x } else { (x as i64).wrapping_rem(y as i64) as u64 }),
        Long2::RemU => map!(a, b, |x, y| x.checked_rem(y).unwrap_or(x)),
        Long2::MinS => map!(a, b, |x, y| (x as i64).min(y as i64) as u64),
        Long2::MinU => map!(a, b, |x, y| x.min(y)),
        Long2::MaxS => map!(a, b, |x, y| (x as i64).max(y as i64) as u64),
        Long2::MaxU => map!(a, b, |x, y| x.max(y)),
        Long2::And => map!(a, b, |x, y| x & y),
        Long2::Or => map!(a, b, |x, y| x | y),
        Long2::Xor => map!(a, b, |x, y| x ^ y),
        Long2::AddF => map!(a, b, |x, y| (float(x) + float(y)).to_bits()),
        Long2::SubF => map!(a, b, |x, y| (float(x) - float(y)).to_bits()),
        Long2::MulF => map!(a, b, |x, y| (float(x) * float(y)).to_bits()),
        Long2::DivF => map!(a, b, |x, y| (float(x) / float(y)).to_bits()),
        Long2::MinF => map!(a, b, |x, y| float(x).min(float(y)).to_bits()),
        Long2::MaxF => map!(a, b, |x, y| float(x).max(float(y)).to_bits()),
        Long2::CopySignF => map!(a, b, |x, y| x & 1 << 63 | y & !(1 << 63)),
    };
    warp.set_long(d, &out, mask);
}

#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,bmi1,bmi2,f16c,fma,lzcnt,popcnt"))]
pub(super) fn long3(warp: &mut Warp, fma: bool, [d, a, b, c]: [Slot; 4], mask: u32) {
    let (a, b, c) = (warp.long(a), warp.long(b), warp.long(c));
    let float = f64::from_bits;
    let out: [u64; 32] = if fma {
        map!(a, b, c, |x, y, z| float(x).mul_add(float(y), float(z)).to_bits())
    } else {
        map!(a, b, c, |x, y, z| x.wrapping_mul(y).wrapping_add(z))
    };
    warp.set_long(d, &out, mask);
}

#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,bmi1,bmi2,f16c,fma,lzcnt,popcnt"))]
pub(super) fn long_shift(warp: &mut Warp, f: Shift, d: Slot, a: Slot, b: Slot, mask: u32) {
    let (a, b) = (warp.long(a), warp.word(b));
    let out: [u64; 32] = match f {
        Shift::Left => map!(a, b, |x, y| if y < 64 { x << y } else { 0 }),
        Shift::RightS => map!(a, b, |x, y| ((x as i64) >> y.min(63)) as u64),
        Shift::RightU => map!(a, b, |x, y| if y < 64 { x >> y } else { 0 }),
    };
    warp.set_long(d, &out, mask);
}

#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,bmi1,bmi2,f16c,fma,lzcnt,popcnt"))]
pub(super) fn narrow(warp: &mut Warp, f: Narrow, d: Slot, a: Slot, mask: u32) {
    let a = warp.long(a);
    let fold = |x: u64| x ^ ((x as i64) >> 63) as u64;
    let out: [u32; 32] = match f {
        Narrow::Low => map!(a, |x| x as u32),
        Narrow::Popc => map!(a, |x| x.count_ones()),
        Narrow::Clz => map!(a, |x| x.leading_zeros()),
        Narrow::BfindU => map!(a, |x| 63_u32.wrapping_sub(x.leading_zeros())),
        Narrow::BfindS => map!(a, |x| 63_u32.wrapping_sub(fold(x).leading_zeros())),
        Narrow::BfindShiftU => map!(a, |x| if x == 0 { u32::MAX } else { x.leading_zeros() }),
        Narrow::BfindShiftS => map!(a, |x| if fold(x) == 0 { u32::MAX } else { fold(x).leading_zeros() }),
    };
    warp.set_word(d, &out, mask);
}

#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,bmi1,bmi2,f16c,fma,lzcnt,popcnt"))]
pub(super) fn widen(warp: &mut Warp, signed: bool, d: Slot, a: Slot, mask: u32) {
    let a = warp.word(a);
    let out: [u64; 32] = if signed {
        map!(a, |x| i64::from(x as i32) as u64)
    } else {
        map!(a, |x| u64::from(x))
    };
    warp.set_long(d, &out, mask);
}

#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,bmi1,bmi2,f16c,fma,lzcnt,popcnt"))]
pub(super) fn mul_wide(warp: &mut Warp, signed: bool, [d, a, b]: [Slot; 3], add: Option<Slot>, mask: u32) {
    let (a, b) = (warp.word(a), warp.word(b));
    let mut out: [u64; 32] = if signed {
        map!(a, b, |x, y| (i64::from(x as i32) * i64::from(y as i32)) as u64)
    } else {
        map!(a, b, |x, y| u64::from(x) * u64::from(y))
    };
    if let Some(c) = add {
        out = map!(&out, warp.long(c), |x, y| x.wrapping_add(y));
    }
    warp.set_long(d, &out, mask);
}

/// `bfe.64`.
pub(super) fn long_bfe(warp: &mut Warp, signed: bool, [d, a, start, length]: [Slot; 4], mask: u32) {
    let (a, start, length) = (warp.long(a), warp.word(start), warp.word(length));
    let out: [u64; 32] = map!(a, start, length, |x, s, n| {
        let (s, n) = (s & 0xff, (n & 0xff).min(64));
        let ones = if n == 0 { 0 } else { u64::MAX >> (64 - n) };
        let shifted = if signed {
            ((x as i64) >> s.min(63)) as u64
        } else {
            x.checked_shr(s).unwrap_or(0)
        };
        let sign = (s + n).clamp(1, 64) - 1;
        if signed && n > 0 && x >> sign & 1 == 1 {
            shifted | !ones
        } else {
            shifted & ones
        }
    });
    warp.set_long(d, &out, mask);
}

/// `bfi.b64`.
pub(super) fn long_bfi(warp: &mut Warp, [d, a, b, start, length]: [Slot; 5], mask: u32) {
    let (a, b, start, length) = (warp.long(a), warp.long(b), warp.word(start), warp.word(length));
    let mut out = [0; 32];
    for lane in 0..32 {
        let (s, n) = (start[lane] & 0xff, (length[lane] & 0xff).min(64));
        let ones = if n == 0 { 0 } else { u64::MAX >> (64 - n) };
        let ones = ones.checked_shl(s).unwrap_or(0);
        out[lane] = b[lane] & !ones | a[lane].checked_shl(s).unwrap_or(0) & ones;
    }
    warp.set_long(d, &out, mask);
}
