//! 16-bit floats, in arithmetic without branches so that loops over lanes become vector code.

/// The value of an IEEE half.
#[inline(always)]
pub(super) fn f16_to_f32(bits: u32) -> f32 {
    let magnitude = (bits & 0x7fff) << 13;
    // 2^112 moves the exponent to where `f32` has it; right for subnormal halves too
    let scaled = (f32::from_bits(magnitude) * f32::from_bits(0x7780_0000)).to_bits();
    let special = magnitude | 0x7f80_0000;
    let value = if bits & 0x7c00 == 0x7c00 { special } else { scaled };
    f32::from_bits(value | (bits & 0x8000) << 16)
}

/// The nearest half, ties to even.
#[inline(always)]
pub(super) fn f32_to_f16(value: f32) -> u32 {
    let bits = value.to_bits();
    let magnitude = bits & 0x7fff_ffff;
    let normal = magnitude.wrapping_add(0xfff + (magnitude >> 13 & 1)).wrapping_sub(112 << 23) >> 13;
    let normal = if normal > 0x7c00 { 0x7c00 } else { normal };
    // adding 0.5 leaves the subnormal half in the low bits, rounded by the addition
    let subnormal = (f32::from_bits(magnitude) + 0.5).to_bits().wrapping_sub(0.5_f32.to_bits());
    let finite = if magnitude < 0x3880_0000 { subnormal } else { normal };
    if magnitude > 0x7f80_0000 {
        0x7fff
    } else {
        finite | (bits >> 16 & 0x8000)
    }
}

/// The half next towards zero.
#[inline(always)]
pub(super) fn f32_to_f16_toward_zero(value: f32) -> u32 {
    let nearest = f32_to_f16(value);
    let back = f16_to_f32(nearest);
    // an infinity from a finite value becomes the largest half, which is the pattern below it
    nearest - u32::from(back.abs() > value.abs())
}

/// The value of a bfloat16.
#[inline(always)]
pub(super) fn bf16_to_f32(bits: u32) -> f32 {
    f32::from_bits(bits << 16)
}

/// The nearest bfloat16, ties to even.
#[inline(always)]
pub(super) fn f32_to_bf16(value: f32) -> u32 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    if bits & 0x7fff_ffff > 0x7f80_0000 { 0x7fff } else { rounded }
}

/// The bfloat16 next towards zero.
#[inline(always)]
pub(super) fn f32_to_bf16_toward_zero(value: f32) -> u32 {
    if value.is_nan() { 0x7fff } else { value.to_bits() >> 16 }
}

/// Rounds to `f32` such that a second rounding to fewer than 23 bits gives what one rounding would have given: to odd.
#[inline(always)]
pub(super) fn round_to_odd(value: f64) -> f32 {
    let nearest = value as f32;
    let back = f64::from(nearest);
    let away = u32::from(back.abs() > value.abs());
    let inexact = u32::from(back != value && !value.is_nan());
    f32::from_bits((nearest.to_bits() - away) | inexact)
}

/// Subnormal numbers to zero, where `on`.
#[inline(always)]
pub(super) fn flush(value: f32, on: bool) -> f32 {
    let bits = value.to_bits();
    if on && bits & 0x7f80_0000 == 0 {
        f32::from_bits(bits & 0x8000_0000)
    } else {
        value
    }
}
