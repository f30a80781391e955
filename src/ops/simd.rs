//! Sixteen lanes of `f32` on whatever the processor has, and the functions of one variable built on them.
//!
//! What it does: [`Lanes`] is written for AVX-512, for AVX2 with FMA and in portable code; [`Level`] says which of them this
//! machine runs; [`dispatch!`] compiles one generic body for each and picks at run time. The two x86 levels give the same
//! bits, because lanes and order of sums are the same.
//! What it does not do: threads, memory layout of any operation.
//! Who calls it: the operations beside it.

#![allow(
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "lane code: indices are compile-time constants, casts move exponent bits"
)]

use std::sync::OnceLock;

/// Lanes of one vector, on every level.
pub(crate) const LANES: usize = 16;

/// One cache line of floats. Buffers of lines are aligned, so that no vector load crosses a line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [f32; LANES]);

impl Line {
    /// Sixteen zeros.
    pub(crate) const ZERO: Line = Line([0.0; LANES]);
}

/// An instruction set that this machine was found to have. Only [`Level::all`] makes one, which is what allows
/// [`dispatch!`] to enter code compiled for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Level(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

impl Level {
    /// The levels of this machine, fastest first; never empty.
    pub(crate) fn all() -> Vec<Level> {
        let mut levels = Vec::with_capacity(3);
        #[cfg(target_arch = "x86_64")]
        {
            let fused = std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma");
            if fused && std::arch::is_x86_feature_detected!("avx512f") {
                levels.push(Level(Kind::Avx512));
            }
            if fused {
                levels.push(Level(Kind::Avx2));
            }
        }
        levels.push(Level(Kind::Portable));
        levels
    }

    /// The fastest level of this machine, found once.
    pub(crate) fn best() -> Level {
        static BEST: OnceLock<Level> = OnceLock::new();
        *BEST.get_or_init(|| Level::all().first().copied().unwrap_or(Level(Kind::Portable)))
    }

    pub(crate) fn kind(self) -> Kind {
        self.0
    }
}

/// Defines `fn name(level, arguments...)` that runs the generic `body::<V: Lanes>(arguments...)` compiled for `level`.
macro_rules! dispatch {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) = $body:ident) => {
        $(#[$meta])*
        $vis fn $name(level: $crate::ops::simd::Level, $($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx2,fma")]
            fn avx512($($arg: $ty),*) {
                $body::<$crate::ops::simd::Avx512>($($arg),*);
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($arg: $ty),*) {
                $body::<$crate::ops::simd::Avx2>($($arg),*);
            }
            match level.kind() {
                // SAFETY: a `Level` of this kind exists only where `Level::all` detected these features.
                #[cfg(target_arch = "x86_64")]
                $crate::ops::simd::Kind::Avx512 => unsafe { avx512($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::ops::simd::Kind::Avx2 => unsafe { avx2($($arg),*) },
                $crate::ops::simd::Kind::Portable => $body::<$crate::ops::simd::Portable>($($arg),*),
            }
        }
    };
}
pub(crate) use dispatch;

/// Sixteen `f32` values. The x86 versions may be touched only below [`dispatch!`], where the features are enabled.
pub(crate) trait Lanes: Copy {
    /// Rows of the largest tile that stays in registers with [`Lanes::COLUMNS`] vectors a row.
    const ROWS: usize;
    /// Vectors of a 32-wide panel that one tile covers (2 or 1).
    const COLUMNS: usize;
    /// All lanes `value`.
    fn splat(value: f32) -> Self;
    /// From memory.
    fn load(from: &[f32; LANES]) -> Self;
    /// To memory.
    fn store(self, to: &mut [f32; LANES]);
    /// Lane sums.
    fn add(self, other: Self) -> Self;
    /// Lane differences.
    fn sub(self, other: Self) -> Self;
    /// Lane products.
    fn mul(self, other: Self) -> Self;
    /// Lane quotients.
    fn div(self, other: Self) -> Self;
    /// Greater of each pair.
    fn max(self, other: Self) -> Self;
    /// Lesser of each pair.
    fn min(self, other: Self) -> Self;
    /// `self * factor + addend`, rounded once where the level has FMA.
    fn mul_add(self, factor: Self, addend: Self) -> Self;
    /// `2^n` where every lane is an integer from -126 to 127.
    fn power_of_two(self) -> Self;

    /// From a slice shorter than a vector; the other lanes are `fill`.
    #[inline(always)]
    fn load_part(from: &[f32], fill: f32) -> Self {
        let mut lanes = [fill; LANES];
        lanes[..from.len()].copy_from_slice(from);
        Self::load(&lanes)
    }

    /// The first `to.len()` lanes to memory.
    #[inline(always)]
    fn store_part(self, to: &mut [f32]) {
        let mut lanes = [0.0; LANES];
        self.store(&mut lanes);
        let count = to.len();
        to.copy_from_slice(&lanes[..count]);
    }

    /// Sum over lanes, always in the same order.
    #[inline(always)]
    fn sum(self) -> f32 {
        let mut l = [0.0; LANES];
        self.store(&mut l);
        let pair = |i: usize| (l[i] + l[i + 8]) + (l[i + 4] + l[i + 12]);
        (pair(0) + pair(2)) + (pair(1) + pair(3))
    }

    /// Greatest lane.
    #[inline(always)]
    fn greatest(self) -> f32 {
        let mut l = [0.0; LANES];
        self.store(&mut l);
        l.iter().fold(f32::MIN, |a, &b| if b > a { b } else { a })
    }
}

/// `e^x`, relative error below 2e-7 for -87.3 <= x <= 88.3; clamped outside.
#[inline(always)]
pub(crate) fn exp<V: Lanes>(x: V) -> V {
    // Adding 1.5 * 2^23 leaves the nearest integer in the low bits of the mantissa.
    let magic = V::splat(12_582_912.0);
    let x = x.max(V::splat(-87.3)).min(V::splat(88.3));
    let n = x.mul_add(V::splat(std::f32::consts::LOG2_E), magic).sub(magic);
    // ln 2 in two parts, the first exact in few bits, so that n * ln 2 loses nothing (Cody and Waite).
    let r = n.mul_add(V::splat(-0.693_359_4), x);
    let r = n.mul_add(V::splat(2.121_944_4e-4), r);
    let mut p = V::splat(1.0 / 5040.0);
    for c in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = p.mul_add(r, V::splat(c));
    }
    p.mul(n.power_of_two())
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(crate) fn sigmoid<V: Lanes>(x: V) -> V {
    V::splat(1.0).div(V::splat(1.0).add(exp(V::splat(0.0).sub(x))))
}

/// `x * sigmoid(x)`.
#[inline(always)]
pub(crate) fn silu<V: Lanes>(x: V) -> V {
    x.div(V::splat(1.0).add(exp(V::splat(0.0).sub(x))))
}

/// `sum[r][v] += sum over k of a[r * stride + k] * panel[k * C + v]`, `k` ascending; `panel` is `[depth][C]` vectors.
///
/// # Safety
/// `a` must be readable at `r * stride + k` for `r < R`, `k < depth`, and `panel` for `depth * C` vectors.
#[inline(always)]
pub(crate) unsafe fn tile<V: Lanes, const R: usize, const C: usize>(
    depth: usize,
    a: *const f32,
    stride: usize,
    panel: *const [f32; LANES],
    sum: &mut [[V; C]; R],
) {
    for k in 0..depth {
        let mut b = [V::splat(0.0); C];
        for (v, b) in b.iter_mut().enumerate() {
            // SAFETY: the caller vouches for `depth * C` vectors.
            *b = V::load(unsafe { &*panel.add(k * C + v) });
        }
        for (r, row) in sum.iter_mut().enumerate() {
            // SAFETY: the caller vouches for `R` rows of `depth` values.
            let x = V::splat(unsafe { *a.add(r * stride + k) });
            for (s, b) in row.iter_mut().zip(b) {
                *s = x.mul_add(b, *s);
            }
        }
    }
}

/// Lanes in one 512-bit register.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(crate) struct Avx512(std::arch::x86_64::__m512);

/// Lanes in two 256-bit registers.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(crate) struct Avx2(std::arch::x86_64::__m256, std::arch::x86_64::__m256);

/// Lanes in an array; the compiler vectorizes what it can.
#[derive(Clone, Copy)]
pub(crate) struct Portable([f32; LANES]);

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Avx2, Avx512, LANES, Lanes};

    // SAFETY of every block in this module: the types are used only in bodies that `dispatch!` compiled with the features
    // the intrinsics need and entered after detecting them; memory is reached through references of the full width.
    impl Lanes for Avx512 {
        const ROWS: usize = 12;
        const COLUMNS: usize = 2;

        #[inline(always)]
        fn splat(value: f32) -> Self {
            // SAFETY: see the top of the module.
            Avx512(unsafe { _mm512_set1_ps(value) })
        }
        #[inline(always)]
        fn load(from: &[f32; LANES]) -> Self {
            // SAFETY: see the top of the module.
            Avx512(unsafe { _mm512_loadu_ps(from.as_ptr()) })
        }
        #[inline(always)]
        fn store(self, to: &mut [f32; LANES]) {
            // SAFETY: see the top of the module.
            unsafe { _mm512_storeu_ps(to.as_mut_ptr(), self.0) }
        }
        #[inline(always)]
        fn add(self, other: Self) -> Self {
            // SAFETY: see the top of the module.
            Avx512(unsafe { _mm512_add_ps(self.0, other.0) })
        }
        #[inline(always)]
        fn sub(self, other: Self) -> Self {
            // SAFETY: see the top of the module.
            Avx512(unsafe { _mm512_sub_ps(self.0, other.0) })
        }
        #[inline(always)]
        fn mul(self, other: Self) -> Self {
            // SAFETY: see the top of the module.
            Avx512(unsafe { _mm512_mul_ps(self.0, other.0) })
        }
        #[inline(always)]
        fn div(self, other: Self) -> Self {
            // SAFETY: see the top of the module.
            Avx512(unsafe { _mm512_div_ps(self.0, other.0) })
        }
        #[inline(always)]
        fn max(self, other: Self) -> Self {
            // SAFETY: see the top of the module.
            Avx512(unsafe { _mm512_max_ps(self.0, other.0) })
        }
        #[inline(always)]
        fn min(self, other: Self) -> Self {
            // SAFETY: see the top of the module.
            Avx512(unsafe { _mm512_min_ps(self.0, other.0) })
        }
        #[inline(always)]
        fn mul_add(self, factor: Self, addend: Self) -> Self {
            // SAFETY: see the top of the module.
            Avx512(unsafe { _mm512_fmadd_ps(self.0, factor.0, addend.0) })
        }
        #[inline(always)]
        fn power_of_two(self) -> Self {
            // SAFETY: see the top of the module.
            Avx512(unsafe {
                _mm512_castsi512_ps(_mm512_slli_epi32::<23>(_mm512_add_epi32(
                    _mm512_cvtps_epi32(self.0),
                    _mm512_set1_epi32(127),
                )))
            })
        }
    }

    impl Lanes for Avx2 {
        const ROWS: usize = 6;
        const COLUMNS: usize = 1;

        #[inline(always)]
        fn splat(value: f32) -> Self {
            // SAFETY: see the top of the module.
            let v = unsafe { _mm256_set1_ps(value) };
            Avx2(v, v)
        }
        #[inline(always)]
        fn load(from: &[f32; LANES]) -> Self {
            // SAFETY: see the top of the module.
            unsafe { Avx2(_mm256_loadu_ps(from.as_ptr()), _mm256_loadu_ps(from.as_ptr().add(8))) }
        }
        #[inline(always)]
        fn store(self, to: &mut [f32; LANES]) {
            // SAFETY: see the top of the module.
            unsafe {
                _mm256_storeu_ps(to.as_mut_ptr(), self.0);
                _mm256_storeu_ps(to.as_mut_ptr().add(8), self.1);
            }
        }
        #[inline(always)]
        fn add(self, other: Self) -> Self {
            // SAFETY: see the top of the module.
            unsafe { Avx2(_mm256_add_ps(self.0, other.0), _mm256_add_ps(self.1, other.1)) }
        }
        #[inline(always)]
        fn sub(self, other: Self) -> Self {
            // SAFETY: see the top of the module.
            unsafe { Avx2(_mm256_sub_ps(self.0, other.0), _mm256_sub_ps(self.1, other.1)) }
        }
        #[inline(always)]
        fn mul(self, other: Self) -> Self {
            // SAFETY: see the top of the module.
            unsafe { Avx2(_mm256_mul_ps(self.0, other.0), _mm256_mul_ps(self.1, other.1)) }
        }
        #[inline(always)]
        fn div(self, other: Self) -> Self {
            // SAFETY: see the top of the module.
            unsafe { Avx2(_mm256_div_ps(self.0, other.0), _mm256_div_ps(self.1, other.1)) }
        }
        #[inline(always)]
        fn max(self, other: Self) -> Self {
            // SAFETY: see the top of the module.
            unsafe { Avx2(_mm256_max_ps(self.0, other.0), _mm256_max_ps(self.1, other.1)) }
        }
        #[inline(always)]
        fn min(self, other: Self) -> Self {
            // SAFETY: see the top of the module.
            unsafe { Avx2(_mm256_min_ps(self.0, other.0), _mm256_min_ps(self.1, other.1)) }
        }
        #[inline(always)]
        fn mul_add(self, factor: Self, addend: Self) -> Self {
            // SAFETY: see the top of the module.
            unsafe {
                Avx2(
                    _mm256_fmadd_ps(self.0, factor.0, addend.0),
                    _mm256_fmadd_ps(self.1, factor.1, addend.1),
                )
            }
        }
        #[inline(always)]
        fn power_of_two(self) -> Self {
            // SAFETY: see the top of the module.
            let half = |x: __m256| unsafe {
                _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_add_epi32(
                    _mm256_cvtps_epi32(x),
                    _mm256_set1_epi32(127),
                )))
            };
            Avx2(half(self.0), half(self.1))
        }
    }
}

impl Portable {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Portable(std::array::from_fn(|i| f(self.0[i], other.0[i])))
    }
}

impl Lanes for Portable {
    const ROWS: usize = 4;
    const COLUMNS: usize = 1;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        Portable([value; LANES])
    }
    #[inline(always)]
    fn load(from: &[f32; LANES]) -> Self {
        Portable(*from)
    }
    #[inline(always)]
    fn store(self, to: &mut [f32; LANES]) {
        *to = self.0;
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.zip(other, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        self.zip(other, |a, b| a / b)
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.zip(other, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        self.zip(other, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        // Without the instruction, `f32::mul_add` is a slow library call.
        let fused = cfg!(any(target_arch = "aarch64", target_feature = "fma"));
        Portable(std::array::from_fn(|i| {
            if fused {
                self.0[i].mul_add(factor.0[i], addend.0[i])
            } else {
                self.0[i] * factor.0[i] + addend.0[i]
            }
        }))
    }
    #[inline(always)]
    fn power_of_two(self) -> Self {
        Portable(self.0.map(|n| f32::from_bits(((n as i32 + 127) as u32) << 23)))
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic
)]
mod tests {
    use super::*;

    #[inline(always)]
    fn exp_all<V: Lanes>(x: &[f32], y: &mut [f32]) {
        for (x, y) in x.as_chunks::<LANES>().0.iter().zip(y.as_chunks_mut::<LANES>().0) {
            exp(V::load(x)).store(y);
        }
    }
    dispatch!(fn exp_at(x: &[f32], y: &mut [f32]) = exp_all);

    #[test]
    fn exp_is_within_two_parts_in_ten_million() {
        let x: Vec<f32> = (0..160_000).map(|i| -87.0 + 175.0 * i as f32 / 160_000.0).collect();
        for level in Level::all() {
            let mut y = vec![0.0; x.len()];
            exp_at(level, &x, &mut y);
            for (x, y) in x.iter().zip(&y) {
                let wanted = f64::from(*x).exp();
                assert!(
                    (f64::from(*y) / wanted - 1.0).abs() < 2e-7,
                    "{level:?} exp({x}) = {y}, not {wanted}"
                );
            }
        }
    }

    #[inline(always)]
    fn logistic_all<V: Lanes>(x: &[f32; LANES], y: &mut [f32; LANES], z: &mut [f32; LANES]) {
        sigmoid(V::load(x)).store(y);
        silu(V::load(x)).store(z);
    }
    dispatch!(fn logistic_at(x: &[f32; LANES], y: &mut [f32; LANES], z: &mut [f32; LANES]) = logistic_all);

    #[test]
    fn sigmoid_and_silu_hold_at_the_ends() {
        let x: [f32; LANES] = std::array::from_fn(|i| [-1e30, -200.0, -30.0, -1.5, 0.0, 0.7, 40.0, 1e30][i % 8]);
        for level in Level::all() {
            let (mut y, mut z) = ([0.0; LANES], [0.0; LANES]);
            logistic_at(level, &x, &mut y, &mut z);
            for i in 0..8 {
                let wanted = 1.0 / (1.0 + (-f64::from(x[i])).exp());
                assert!((f64::from(y[i]) - wanted).abs() < 1e-7, "{level:?} sigmoid({}) = {}", x[i], y[i]);
                if x[i] > -1e20 {
                    assert!(
                        (f64::from(z[i]) - f64::from(x[i]) * wanted).abs() <= 3e-7 * f64::from(x[i]).abs(),
                        "silu({}) = {}",
                        x[i],
                        z[i]
                    );
                }
            }
        }
    }

    #[inline(always)]
    fn reduce_all<V: Lanes>(x: &[f32], out: &mut [f32; 3]) {
        let v = V::load_part(x, -1.0);
        *out = [v.sum(), v.greatest(), 0.0];
        let mut part = [9.0; 3];
        v.store_part(&mut part[..2]);
        out[2] = part[0] + part[1] + part[2];
    }
    dispatch!(fn reduce_at(x: &[f32], out: &mut [f32; 3]) = reduce_all);

    #[test]
    fn parts_fill_and_leave_the_rest() {
        for level in Level::all() {
            let mut out = [0.0; 3];
            reduce_at(level, &[1.0, 2.0, 4.0], &mut out);
            assert_eq!(out, [7.0 - 13.0, 4.0, 1.0 + 2.0 + 9.0], "{level:?}");
        }
    }
}
