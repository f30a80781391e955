//! Floating-point operations, a loop over the lanes each.

use super::half::{bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16, flush, round_to_odd};
use super::int::map;
use super::warp::Warp;
use crate::op::{Float1, Float2, Half, Mode, Round, Slot};

/// What happens to a result before it is stored.
#[inline(always)]
fn finish(value: f32, mode: Mode) -> f32 {
    let mut value = flush(value, mode.ftz);
    if mode.sat {
        value = if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) };
    }
    if mode.relu {
        value = if value < 0.0 { 0.0 } else { value };
    }
    value
}

/// Rounds the exact value `sum + rest` in the given direction.
fn directed(sum: f64, rest: f64, round: Round) -> f32 {
    let nearest = sum as f32;
    if !nearest.is_finite() && !sum.is_finite() {
        return nearest;
    }
    // positive where `nearest` lies above the exact value
    let above = (f64::from(nearest) - sum) - rest;
    match round {
        Round::Down if above > 0.0 => nearest.next_down(),
        Round::Up if above < 0.0 => nearest.next_up(),
        Round::Zero if sum > 0.0 && above > 0.0 => nearest.next_down(),
        Round::Zero if sum < 0.0 && above < 0.0 => nearest.next_up(),
        _ => nearest,
    }
}

/// The sum of two `f64` and its rounding error.
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_part = sum - a;
    (sum, (a - (sum - b_part)) + (b - b_part))
}

/// Loops for the common modes apart, so that they stay short.
macro_rules! with_mode {
    ($mode:expr, $a:expr, $b:expr, |$x:ident, $y:ident| $result:expr) => {{
        let mode: Mode = $mode;
        let plain = !mode.sat && !mode.relu;
        if plain && !mode.ftz {
            map!($a, $b, |p, q| {
                let ($x, $y) = (f32::from_bits(p), f32::from_bits(q));
                ($result).to_bits()
            })
        } else if plain {
            map!($a, $b, |p, q| {
                let ($x, $y) = (flush(f32::from_bits(p), true), flush(f32::from_bits(q), true));
                flush($result, true).to_bits()
            })
        } else {
            map!($a, $b, |p, q| {
                let ($x, $y) = (flush(f32::from_bits(p), mode.ftz), flush(f32::from_bits(q), mode.ftz));
                finish($result, mode).to_bits()
            })
        }
    }};
}

#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,bmi1,bmi2,f16c,fma,lzcnt,popcnt"))]
pub(super) fn float2(warp: &mut Warp, f: Float2, mode: Mode, [d, a, b]: [Slot; 3], mask: u32) {
    let (a, b) = (warp.word(a), warp.word(b));
    let out: [u32; 32] = if mode.round != Round::Nearest {
        map!(a, b, |p, q| {
            let (x, y) = (
                f64::from(flush(f32::from_bits(p), mode.ftz)),
                f64::from(flush(f32::from_bits(q), mode.ftz)),
            );
            let (sum, rest) = match f {
                Float2::Add => two_sum(x, y),
                Float2::Sub => two_sum(x, -y),
                _ => (x * y, 0.0), // the product of two f32 is exact
            };
            finish(directed(sum, rest, mode.round), mode).to_bits()
        })
    } else {
        match f {
            Float2::Add => with_mode!(mode, a, b, |x, y| x + y),
            Float2::Sub => with_mode!(mode, a, b, |x, y| x - y),
            Float2::Mul => with_mode!(mode, a, b, |x, y| x * y),
            Float2::Div => with_mode!(mode, a, b, |x, y| x / y),
            Float2::Min => with_mode!(mode, a, b, |x, y| x.min(y)),
            Float2::Max => with_mode!(mode, a, b, |x, y| x.max(y)),
            Float2::MinNan => with_mode!(mode, a, b, |x, y| if x.is_nan() || y.is_nan() { f32::NAN } else { x.min(y) }),
            Float2::MaxNan => with_mode!(mode, a, b, |x, y| if x.is_nan() || y.is_nan() { f32::NAN } else { x.max(y) }),
        }
    };
    warp.set_word(d, &out, mask);
}

#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,bmi1,bmi2,f16c,fma,lzcnt,popcnt"))]
pub(super) fn fma(warp: &mut Warp, mode: Mode, [d, a, b, c]: [Slot; 4], mask: u32) {
    let (a, b, c) = (warp.word(a), warp.word(b), warp.word(c));
    let float = f32::from_bits;
    let out: [u32; 32] = if mode == Mode::default() {
        map!(a, b, c, |x, y, z| float(x).mul_add(float(y), float(z)).to_bits())
    } else if mode.round != Round::Nearest {
        map!(a, b, c, |x, y, z| {
            let (x, y, z) = (flush(float(x), mode.ftz), flush(float(y), mode.ftz), flush(float(z), mode.ftz));
            let (sum, rest) = two_sum(f64::from(x) * f64::from(y), f64::from(z));
            finish(directed(sum, rest, mode.round), mode).to_bits()
        })
    } else if mode.ftz && !mode.sat && !mode.relu {
        map!(a, b, c, |x, y, z| flush(
            flush(float(x), true).mul_add(flush(float(y), true), flush(float(z), true)),
            true
        )
        .to_bits())
    } else {
        map!(a, b, c, |x, y, z| {
            let (x, y, z) = (flush(float(x), mode.ftz), flush(float(y), mode.ftz), flush(float(z), mode.ftz));
            finish(x.mul_add(y, z), mode).to_bits()
        })
    };
    warp.set_word(d, &out, mask);
}

#[inline(always)]
fn function(f: Float1, x: f32) -> f32 {
    match f {
        Float1::Ex2 => x.exp2(),
        Float1::Lg2 => x.log2(),
        Float1::Rcp => 1.0 / x,
        Float1::Rsqrt => (1.0 / f64::from(x).sqrt()) as f32,
        Float1::Sqrt => x.sqrt(),
        Float1::Sin => x.sin(),
        Float1::Cos => x.cos(),
        Float1::Tanh => x.tanh(),
    }
}

#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,bmi1,bmi2,f16c,fma,lzcnt,popcnt"))]
pub(super) fn float1(warp: &mut Warp, f: Float1, mode: Mode, d: Slot, a: Slot, mask: u32) {
    let a = warp.word(a);
    macro_rules! each {
        ($f:expr) => {
            map!(a, |x| finish(function($f, flush(f32::from_bits(x), mode.ftz)), mode)
                .to_bits())
        };
    }
    let out: [u32; 32] = match f {
        Float1::Ex2 => each!(Float1::Ex2),
        Float1::Lg2 => each!(Float1::Lg2),
        Float1::Rcp => each!(Float1::Rcp),
        Float1::Rsqrt => each!(Float1::Rsqrt),
        Float1::Sqrt => each!(Float1::Sqrt),
        Float1::Sin => each!(Float1::Sin),
        Float1::Cos => each!(Float1::Cos),
        Float1::Tanh => each!(Float1::Tanh),
    };
    warp.set_word(d, &out, mask);
}

/// Applies `$result` to 16-bit floats of format `$half`, in pairs where it is packed.
macro_rules! halves {
    ($half:expr, |$load:ident, $store:ident, $shift:ident, $bits:ident| $body:expr) => {{
        macro_rules! run {
            ($from:path, $to:path, $packed:expr) => {{
                let $load = |bits: u32| $from(bits & 0xffff);
                let $store = |value: f32| $to(value);
                let mut out = [0_u32; 32];
                for lane in 0..32 {
                    let $bits = lane;
                    let mut word = {
                        let $shift = 0;
                        $body
                    };
                    if $packed {
                        let $shift = 16;
                        word |= $body << 16;
                    }
                    out[lane] = word;
                }
                out
            }};
        }
        match $half {
            Half::F16 => run!(f16_to_f32, f32_to_f16, false),
            Half::F16x2 => run!(f16_to_f32, f32_to_f16, true),
            Half::BF16 => run!(bf16_to_f32, f32_to_bf16, false),
            Half::BF16x2 => run!(bf16_to_f32, f32_to_bf16, true),
        }
    }};
}

/// Subnormal halves to zero.
#[inline(always)]
fn flush_half(value: f32, mode: Mode) -> f32 {
    if mode.ftz && value.abs() < 6.103_515_6e-5 {
        0.0_f32.copysign(value)
    } else {
        value
    }
}

#[inline(always)]
fn finish_half(value: f32, mode: Mode) -> f32 {
    finish(flush_half(value, mode), Mode { ftz: false, ..mode })
}

#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,bmi1,bmi2,f16c,fma,lzcnt,popcnt"))]
pub(super) fn half1(warp: &mut Warp, f: Float1, half: Half, d: Slot, a: Slot, mask: u32) {
    let a = warp.word(a);
    let out = halves!(half, |load, store, shift, lane| store(function(f, load(a[lane] >> shift))));
    warp.set_word(d, &out, mask);
}

#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,bmi1,bmi2,f16c,fma,lzcnt,popcnt"))]
pub(super) fn half2(warp: &mut Warp, f: Float2, half: Half, mode: Mode, [d, a, b]: [Slot; 3], mask: u32) {
    let (a, b) = (warp.word(a), warp.word(b));
    // one rounding to f32 before the one to 16 bits does no harm: f32 has more than twice the digits
    macro_rules! each {
        (|$x:ident, $y:ident| $result:expr) => {
            halves!(half, |load, store, shift, lane| {
                let ($x, $y) = (
                    flush_half(load(a[lane] >> shift), mode),
                    flush_half(load(b[lane] >> shift), mode),
                );
                store(finish_half($result, mode))
            })
        };
    }
    let out = match f {
        Float2::Add => each!(|x, y| x + y),
        Float2::Sub => each!(|x, y| x - y),
        Float2::Mul => each!(|x, y| x * y),
        Float2::Div => each!(|x, y| x / y),
        Float2::Min => each!(|x, y| x.min(y)),
        Float2::Max => each!(|x, y| x.max(y)),
        Float2::MinNan => each!(|x, y| if x.is_nan() || y.is_nan() { f32::NAN } else { x.min(y) }),
        Float2::MaxNan => each!(|x, y| if x.is_nan() || y.is_nan() { f32::NAN } else { x.max(y) }),
    };
    warp.set_word(d, &out, mask);
}

#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,bmi1,bmi2,f16c,fma,lzcnt,popcnt"))]
pub(super) fn half_fma(warp: &mut Warp, half: Half, mode: Mode, [d, a, b, c]: [Slot; 4], mask: u32) {
    let (a, b, c) = (warp.word(a), warp.word(b), warp.word(c));
    let out = halves!(half, |load, store, shift, lane| {
        let get = |bits: u32| f64::from(flush_half(load(bits >> shift), mode));
        // the product is exact in f64, and so is the sum as far as the last rounding can tell
        let exact = get(a[lane]) * get(b[lane]) + get(c[lane]);
        store(finish_half(round_to_odd(exact), mode))
    });
    warp.set_word(d, &out, mask);
}
