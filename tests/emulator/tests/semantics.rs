//! What single instructions do, from small PTX written by hand.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "tests"
)]

mod support;

use ptx_emulator::{Module, ParseErrorKind};
use support::ptx::{kernel, run_lanes};

/// The word that a body computes in all lanes from the same operands.
fn word(body: &str, operands: [u32; 3]) -> u32 {
    let (out, _) = run_lanes(body, &[operands; 32], &[[0; 3]; 32]).unwrap_or_else(|e| panic!("{body}: {e}"));
    assert!(out.iter().all(|v| *v == out[0]), "{body}: {out:?}");
    out[0]
}

fn long(body: &str, operands: [u64; 3]) -> u64 {
    let (_, out) = run_lanes(body, &[[0; 3]; 32], &[operands; 32]).unwrap_or_else(|e| panic!("{body}: {e}"));
    out[0]
}

const NEG: u32 = 0x8000_0000;

#[test]
fn integers() {
    let cases: &[(&str, [u32; 3], u32)] = &[
        ("add.s32 %r0, %r1, %r2;", [u32::MAX, 2, 0], 1),
        ("sub.s32 %r0, %r1, 5;", [3, 0, 0], (-2_i32) as u32),
        ("mul.lo.s32 %r0, %r1, %r2;", [0x10001, 0x10001, 0], 0x20001),
        ("mul.hi.s32 %r0, %r1, %r2;", [-7_i32 as u32, 1 << 30, 0], -2_i32 as u32),
        ("mul.hi.u32 %r0, %r1, %r2;", [u32::MAX, u32::MAX, 0], u32::MAX - 1),
        ("mul24.lo.s32 %r0, %r1, %r2;", [0x00ff_ffff, 3, 0], -3_i32 as u32),
        ("mad.lo.s32 %r0, %r1, %r2, %r3;", [7, 8, 9], 65),
        ("mad.hi.u32 %r0, %r1, %r2, %r3;", [1 << 31, 4, 1], 3),
        ("div.s32 %r0, %r1, %r2;", [-7_i32 as u32, 2, 0], -3_i32 as u32),
        ("div.u32 %r0, %r1, %r2;", [-7_i32 as u32, 2, 0], 0x7fff_fffc),
        ("rem.s32 %r0, %r1, %r2;", [-7_i32 as u32, 2, 0], -1_i32 as u32),
        ("div.s32 %r0, %r1, %r2;", [NEG, u32::MAX, 0], NEG),
        ("min.s32 %r0, %r1, %r2;", [u32::MAX, 1, 0], u32::MAX),
        ("min.u32 %r0, %r1, %r2;", [u32::MAX, 1, 0], 1),
        ("max.s32 %r0, %r1, %r2;", [u32::MAX, 1, 0], 1),
        ("shl.b32 %r0, %r1, %r2;", [1, 31, 0], NEG),
        ("shl.b32 %r0, %r1, %r2;", [1, 32, 0], 0),
        ("shr.s32 %r0, %r1, %r2;", [NEG, 40, 0], u32::MAX),
        ("shr.u32 %r0, %r1, %r2;", [NEG, 31, 0], 1),
        ("not.b32 %r0, %r1;", [0xff, 0, 0], !0xff),
        ("neg.s32 %r0, %r1;", [5, 0, 0], -5_i32 as u32),
        ("abs.s32 %r0, %r1;", [-5_i32 as u32, 0, 0], 5),
        ("popc.b32 %r0, %r1;", [0xf0f0, 0, 0], 8),
        ("clz.b32 %r0, %r1;", [1, 0, 0], 31),
        ("brev.b32 %r0, %r1;", [1, 0, 0], NEG),
        ("bfind.u32 %r0, %r1;", [0x100, 0, 0], 8),
        ("bfind.u32 %r0, %r1;", [0, 0, 0], u32::MAX),
        ("bfind.s32 %r0, %r1;", [-1_i32 as u32, 0, 0], u32::MAX),
        ("bfind.shiftamt.u32 %r0, %r1;", [0x100, 0, 0], 23),
        ("bfe.u32 %r0, %r1, %r2, %r3;", [0xabcd_1234, 8, 12], 0xd12),
        ("bfe.s32 %r0, %r1, %r2, %r3;", [0x0000_0f00, 8, 4], u32::MAX),
        ("bfe.s32 %r0, %r1, %r2, %r3;", [NEG, 28, 8], -8_i32 as u32),
        ("bfe.u32 %r0, %r1, %r2, %r3;", [7, 0, 0], 0),
        ("bfi.b32 %r0, %r1, %r2, 4, 8;", [0xab, u32::MAX, 0], 0xffff_fabf),
        ("prmt.b32 %r0, %r1, %r2, %r3;", [0x4433_2211, 0x8877_6655, 0x7410], 0x8855_2211),
        ("prmt.b32 %r0, %r1, %r2, %r3;", [0x4433_2281, 0, 0x8888], u32::MAX),
        (
            "lop3.b32 %r0, %r1, %r2, %r3, 0x96;",
            [0b1100, 0b1010, 0b1001],
            0b1100 ^ 0b1010 ^ 0b1001,
        ),
        ("lop3.b32 %r0, %r1, %r2, %r3, 0xca;", [0xff00, 0x1234, 0xabcd], 0x12cd),
        ("shf.l.wrap.b32 %r0, %r1, %r2, %r3;", [0x8000_0001, 0x1, 33], 3),
        ("shf.r.wrap.b32 %r0, %r1, %r2, %r3;", [0x10, 0xf, 4], 0xf000_0001),
        ("shf.r.clamp.b32 %r0, %r1, %r2, %r3;", [0x10, 0xf, 40], 0xf),
        ("sad.u32 %r0, %r1, %r2, %r3;", [3, 10, 1], 8),
        (
            "dp4a.s32.s32 %r0, %r1, %r2, %r3;",
            [0x0102_03ff, 0x0101_0102, 10],
            10 + 1 + 2 + 3 - 2,
        ),
        ("dp4a.u32.u32 %r0, %r1, %r2, %r3;", [0x0000_00ff, 0x0000_0002, 0], 510),
        ("slct.b32.s32 %r0, %r1, %r2, %r3;", [1, 2, NEG], 2),
        (
            "{ .reg .b16 %rs1; .reg .b16 h; cvt.u16.u32 %rs1, %r1; shr.s16 h, %rs1, 4; cvt.s32.s16 %r0, h; }",
            [0x8000, 0, 0],
            -2048_i32 as u32,
        ),
        (
            "cvt.u16.u32 %rs1, %r1; mul.lo.s16 %rs2, %rs1, %rs1; cvt.u32.u16 %r0, %rs2;",
            [0x1234, 0, 0],
            (0x1234 * 0x1234) & 0xffff,
        ),
        ("cvt.u16.u32 %rs1, %r1; mul.wide.s16 %r0, %rs1, %rs1;", [0xffff, 0, 0], 1),
        (
            "and.b16 %rs2, %rs1, -8; mov.u16 %rs1, -3; and.b16 %rs2, %rs1, -2; cvt.u32.u16 %r0, %rs2;",
            [0, 0, 0],
            0xfffc,
        ),
    ];
    for (body, operands, wanted) in cases {
        assert_eq!(word(body, *operands), *wanted, "{body} {operands:x?}");
    }
}

#[test]
fn longs() {
    let cases: &[(&str, [u64; 3], u64)] = &[
        ("add.s64 %rd0, %rd1, -1;", [0, 0, 0], u64::MAX),
        ("mul.lo.s64 %rd0, %rd1, %rd2;", [1 << 33, 3, 0], 3 << 33),
        ("mul.hi.u64 %rd0, %rd1, %rd2;", [1 << 63, 4, 0], 2),
        ("mul.hi.s64 %rd0, %rd1, %rd2;", [u64::MAX, 4, 0], u64::MAX),
        ("mad.lo.s64 %rd0, %rd1, %rd2, %rd3;", [3, 4, 5], 17),
        ("shl.b64 %rd0, %rd1, 40;", [3, 0, 0], 3 << 40),
        ("shr.s64 %rd0, %rd1, 70;", [1 << 63, 0, 0], u64::MAX),
        ("shr.u64 %rd0, %rd1, 64;", [1 << 63, 0, 0], 0),
        ("div.s64 %rd0, %rd1, %rd2;", [-9_i64 as u64, 2, 0], -4_i64 as u64),
        ("rem.u64 %rd0, %rd1, %rd2;", [100, 7, 0], 2),
        ("clz.b64 %r1, %rd1; cvt.u64.u32 %rd0, %r1;", [1, 0, 0], 63),
        ("bfe.u64 %rd0, %rd1, 4, 40;", [0xabcd_ef01_2345_6789, 0, 0], 0xf0_1234_5678),
        ("bfi.b64 %rd0, %rd1, %rd2, 32, 32;", [7, 5, 0], 7 << 32 | 5),
        (
            "cvt.u32.u64 %r1, %rd1; cvt.s64.s32 %rd0, %r1;",
            [0x1_8000_0000, 0, 0],
            0xffff_ffff_8000_0000,
        ),
        ("cvt.u32.u64 %r1, %rd1; mul.wide.s32 %rd0, %r1, -3;", [5, 0, 0], -15_i64 as u64),
        (
            "cvt.u32.u64 %r1, %rd1; mad.wide.u32 %rd0, %r1, %r1, %rd2;",
            [0xffff_ffff, 1, 0],
            0xffff_fffe_0000_0002,
        ),
        (
            "mov.b64 {%r4, %r5}, %rd1; mov.b64 %rd0, {%r5, %r4};",
            [0x1111_1111_2222_2222, 0, 0],
            0x2222_2222_1111_1111,
        ),
        (
            "mov.b64 {%rs1, %rs2, %rs3, %rs4}, %rd1; mov.b64 %rd0, {%rs4, %rs3, %rs2, %rs1};",
            [0x1111_2222_3333_4444, 0, 0],
            0x4444_3333_2222_1111,
        ),
        (
            "setp.lt.s64 %p1, %rd1, %rd2; selp.b64 %rd0, %rd1, %rd2, %p1;",
            [u64::MAX, 5, 0],
            u64::MAX,
        ),
        (
            "mov.b64 %fd1, %rd1; mov.b64 %fd2, %rd2; fma.rn.f64 %fd3, %fd1, %fd2, %fd1; mov.b64 %rd0, %fd3;",
            [2.5_f64.to_bits(), 4.0_f64.to_bits(), 0],
            12.5_f64.to_bits(),
        ),
        (
            "mov.b64 %fd1, %rd1; sqrt.rn.f64 %fd2, %fd1; mov.b64 %rd0, %fd2;",
            [2.25_f64.to_bits(), 0, 0],
            1.5_f64.to_bits(),
        ),
        (
            "mov.b64 %fd1, %rd1; cvt.rzi.s64.f64 %rd0, %fd1;",
            [(-7.9_f64).to_bits(), 0, 0],
            -7_i64 as u64,
        ),
        (
            "cvt.rn.f64.s64 %fd1, %rd1; mov.b64 %rd0, %fd1;",
            [-3_i64 as u64, 0, 0],
            (-3.0_f64).to_bits(),
        ),
    ];
    for (body, operands, wanted) in cases {
        assert_eq!(long(body, *operands), *wanted, "{body} {operands:x?}");
    }
}

/// A float operation on `%f1..%f3`, result in `%f0`.
fn float(body: &str, operands: [f32; 3]) -> f32 {
    let body = format!("mov.b32 %f1, %r1; mov.b32 %f2, %r2; mov.b32 %f3, %r3; {body} mov.b32 %r0, %f0;");
    f32::from_bits(word(&body, operands.map(f32::to_bits)))
}

#[test]
fn floats() {
    let tiny = f32::from_bits(1);
    let cases: &[(&str, [f32; 3], f32)] = &[
        ("add.f32 %f0, %f1, %f2;", [1.5, 2.25, 0.0], 3.75),
        ("add.rz.f32 %f0, %f1, %f2;", [1.0, 1e-10, 0.0], 1.0),
        ("add.rp.f32 %f0, %f1, %f2;", [1.0, 1e-10, 0.0], 1.0_f32.next_up()),
        ("add.rm.f32 %f0, %f1, %f2;", [1.0, -1e-30, 0.0], 1.0_f32.next_down()),
        ("add.rz.f32 %f0, %f1, %f2;", [-1.0, 1e-30, 0.0], -1.0_f32.next_down()),
        ("mul.rp.f32 %f0, %f1, %f2;", [1.1, 1.1, 0.0], 1.21),
        (
            "fma.rn.f32 %f0, %f1, %f2, %f3;",
            [1.0 + f32::EPSILON, 1.0 - f32::EPSILON, -1.0],
            -f32::EPSILON * f32::EPSILON,
        ),
        ("fma.rm.f32 %f0, %f1, %f2, %f3;", [1.0, 1.0, -1e-30], 1.0_f32.next_down()),
        ("mul.ftz.f32 %f0, %f1, %f2;", [1e-30, 1e-10, 0.0], 0.0),
        ("mul.f32 %f0, %f1, %f2;", [tiny, 4.0, 0.0], f32::from_bits(4)),
        ("add.ftz.f32 %f0, %f1, %f2;", [tiny, 0.0, 0.0], 0.0),
        ("add.sat.f32 %f0, %f1, %f2;", [0.75, 0.75, 0.0], 1.0),
        ("fma.rn.ftz.sat.f32 %f0, %f1, %f2, %f3;", [1.0, -1.0, 0.5], 0.0),
        ("min.f32 %f0, %f1, %f2;", [f32::NAN, 2.0, 0.0], 2.0),
        ("max.f32 %f0, %f1, %f2;", [-3.0, f32::NAN, 0.0], -3.0),
        ("div.rn.f32 %f0, %f1, %f2;", [1.0, 3.0, 0.0], 1.0 / 3.0),
        ("div.approx.ftz.f32 %f0, %f1, %f2;", [6.0, 3.0, 0.0], 2.0),
        ("rcp.approx.ftz.f32 %f0, %f1;", [4.0, 0.0, 0.0], 0.25),
        ("sqrt.rn.f32 %f0, %f1;", [6.25, 0.0, 0.0], 2.5),
        ("rsqrt.approx.f32 %f0, %f1;", [0.25, 0.0, 0.0], 2.0),
        ("ex2.approx.ftz.f32 %f0, %f1;", [3.0, 0.0, 0.0], 8.0),
        ("ex2.approx.ftz.f32 %f0, %f1;", [-140.0, 0.0, 0.0], 0.0),
        ("lg2.approx.f32 %f0, %f1;", [32.0, 0.0, 0.0], 5.0),
        ("sin.approx.f32 %f0, %f1;", [0.0, 0.0, 0.0], 0.0),
        ("cos.approx.f32 %f0, %f1;", [0.0, 0.0, 0.0], 1.0),
        ("tanh.approx.f32 %f0, %f1;", [100.0, 0.0, 0.0], 1.0),
        ("neg.f32 %f0, %f1;", [2.0, 0.0, 0.0], -2.0),
        ("abs.ftz.f32 %f0, %f1;", [-2.0, 0.0, 0.0], 2.0),
        ("copysign.f32 %f0, %f1, %f2;", [-1.0, 7.0, 0.0], -7.0),
        ("cvt.rni.f32.f32 %f0, %f1;", [2.5, 0.0, 0.0], 2.0),
        ("cvt.rmi.f32.f32 %f0, %f1;", [-2.5, 0.0, 0.0], -3.0),
        ("cvt.rpi.f32.f32 %f0, %f1;", [-2.5, 0.0, 0.0], -2.0),
        ("cvt.rzi.f32.f32 %f0, %f1;", [-2.5, 0.0, 0.0], -2.0),
        ("cvt.sat.f32.f32 %f0, %f1;", [-2.5, 0.0, 0.0], 0.0),
    ];
    for (body, operands, wanted) in cases {
        let got = float(body, *operands);
        let close = (got - wanted).abs() <= wanted.abs() * 1e-6;
        let exact = got.to_bits() == wanted.to_bits() || (got == 0.0 && *wanted == 0.0);
        assert!(
            if body.contains("approx") || body.contains("mul.rp") {
                close
            } else {
                exact
            },
            "{body} {operands:?}: {got} {wanted}"
        );
    }
    assert!(float("min.NaN.f32 %f0, %f1, %f2;", [f32::NAN, 2.0, 0.0]).is_nan());
}

#[test]
fn conversions() {
    let cases: &[(&str, u32, u32)] = &[
        ("mov.b32 %f1, %r1; cvt.rzi.s32.f32 %r0, %f1;", (-3.7_f32).to_bits(), -3_i32 as u32),
        ("mov.b32 %f1, %r1; cvt.rni.s32.f32 %r0, %f1;", 2.5_f32.to_bits(), 2),
        ("mov.b32 %f1, %r1; cvt.rpi.u32.f32 %r0, %f1;", 2.1_f32.to_bits(), 3),
        ("mov.b32 %f1, %r1; cvt.rzi.u32.f32 %r0, %f1;", (-3.7_f32).to_bits(), 0),
        ("mov.b32 %f1, %r1; cvt.rzi.s32.f32 %r0, %f1;", 1e20_f32.to_bits(), i32::MAX as u32),
        ("mov.b32 %f1, %r1; cvt.rzi.s32.f32 %r0, %f1;", f32::NAN.to_bits(), 0),
        (
            "mov.b32 %f1, %r1; cvt.rzi.u16.f32 %rs1, %f1; cvt.u32.u16 %r0, %rs1;",
            70000.0_f32.to_bits(),
            65535,
        ),
        ("cvt.rn.f32.s32 %f1, %r1; mov.b32 %r0, %f1;", -3_i32 as u32, (-3.0_f32).to_bits()),
        (
            "cvt.rn.f32.u32 %f1, %r1; mov.b32 %r0, %f1;",
            u32::MAX,
            4_294_967_296.0_f32.to_bits(),
        ),
        (
            "cvt.u16.u32 %rs1, %r1; cvt.rn.f32.s16 %f1, %rs1; mov.b32 %r0, %f1;",
            0xfffe,
            (-2.0_f32).to_bits(),
        ),
        (
            "cvt.u16.u32 %rs1, %r1; cvt.rn.f32.s8 %f1, %rs1; mov.b32 %r0, %f1;",
            0x12fe,
            (-2.0_f32).to_bits(),
        ),
        (
            "cvt.u16.u32 %rs1, %r1; cvt.rn.f32.u8 %f1, %rs1; mov.b32 %r0, %f1;",
            0x12fe,
            254.0_f32.to_bits(),
        ),
        ("cvt.u16.u32 %rs1, %r1; cvt.s32.s8 %r0, %rs1;", 0x0080, -128_i32 as u32),
        ("cvt.u16.u32 %rs1, %r1; cvt.u16.u8 %rs2, %rs1; cvt.u32.u16 %r0, %rs2;", 0x1280, 0x80),
        (
            "cvt.u16.u32 %rs1, %r1; cvt.s16.s8 %rs2, %rs1; cvt.u32.u16 %r0, %rs2;",
            0x1280,
            0xff80,
        ),
        ("cvt.s8.s32 %r0, %r1;", 0x1280, 0xffff_ff80),
        ("cvt.sat.s8.s32 %r0, %r1;", 300, 127),
        ("cvt.sat.u8.s32 %r0, %r1;", -5_i32 as u32, 0),
        (
            "mov.b32 %f1, %r1; cvt.rn.f16.f32 %rs1, %f1; cvt.u32.u16 %r0, %rs1;",
            1.0_f32.to_bits(),
            0x3c00,
        ),
        (
            "mov.b32 %f1, %r1; cvt.rn.f16.f32 %rs1, %f1; cvt.u32.u16 %r0, %rs1;",
            65520.0_f32.to_bits(),
            0x7c00,
        ),
        (
            "mov.b32 %f1, %r1; cvt.rz.f16.f32 %rs1, %f1; cvt.u32.u16 %r0, %rs1;",
            65535.0_f32.to_bits(),
            0x7bff,
        ),
        (
            "mov.b32 %f1, %r1; cvt.rn.bf16.f32 %rs1, %f1; cvt.u32.u16 %r0, %rs1;",
            1.0_f32.to_bits(),
            0x3f80,
        ),
        (
            "cvt.u16.u32 %rs1, %r1; cvt.f32.f16 %f1, %rs1; mov.b32 %r0, %f1;",
            0x0001,
            5.960_464_5e-8_f32.to_bits(),
        ),
        (
            "cvt.u16.u32 %rs1, %r1; cvt.f32.bf16 %f1, %rs1; mov.b32 %r0, %f1;",
            0xc000,
            (-2.0_f32).to_bits(),
        ),
        (
            "mov.b32 %f1, %r1; mov.f32 %f2, 0f40000000; cvt.rn.f16x2.f32 %r0, %f1, %f2;",
            1.0_f32.to_bits(),
            0x3c00_4000,
        ),
        (
            "mov.b32 %f1, %r1; mov.f32 %f2, 0f40000000; cvt.rn.relu.bf16x2.f32 %r0, %f1, %f2;",
            (-1.0_f32).to_bits(),
            0x0000_4000,
        ),
    ];
    for (body, operand, wanted) in cases {
        // rounding of f32 towards zero to f16 alone is not there; it must say so
        if body.contains("cvt.rz.f16.f32") {
            assert!(matches!(
                Module::parse(&kernel(body)).unwrap_err().kind,
                ParseErrorKind::UnsupportedInstruction(_)
            ));
            continue;
        }
        assert_eq!(word(body, [*operand, 0, 0]), *wanted, "{body} {operand:x}");
    }
}

#[test]
fn all_halves_convert_as_the_half_crate_does() {
    let body = "cvt.u16.u32 %rs1, %r1; cvt.f32.f16 %f1, %rs1; mov.b32 %r0, %f1; cvt.rn.f16.f32 %rs2, %f1; cvt.u64.u16 %rd0, %rs2;";
    for base in (0..0x1_0000_u32).step_by(32) {
        let words: Vec<[u32; 3]> = (0..32).map(|lane| [base + lane, 0, 0]).collect();
        let (wide, back) = run_lanes(body, &words, &[[0; 3]; 32]).unwrap();
        for lane in 0..32 {
            let bits = (base + lane as u32) as u16;
            let wanted = half::f16::from_bits(bits).to_f32();
            let got = f32::from_bits(wide[lane]);
            assert!(
                got.to_bits() == wanted.to_bits() || got.is_nan() && wanted.is_nan(),
                "{bits:x}: {got} {wanted}"
            );
            assert!(
                back[lane] == u64::from(bits) || wanted.is_nan(),
                "{bits:x} came back as {:x}",
                back[lane]
            );
        }
    }
    // values between halves
    let mut random = support::Random::new(5);
    let body = "mov.b32 %f1, %r1; cvt.rn.f16.f32 %rs1, %f1; cvt.rn.bf16.f32 %rs2, %f1; mov.b32 %r0, {%rs1, %rs2};";
    for _ in 0..300 {
        let words: Vec<[u32; 3]> = (0..32)
            .map(|_| [(random.bits() as u32 & 0x8fff_ffff) + 0x3000_0000, 0, 0])
            .collect();
        let (out, _) = run_lanes(body, &words, &[[0; 3]; 32]).unwrap();
        for (got, [bits, ..]) in out.iter().zip(&words) {
            let value = f32::from_bits(*bits);
            let wanted = u32::from(half::f16::from_f32(value).to_bits()) | u32::from(half::bf16::from_f32(value).to_bits()) << 16;
            assert_eq!(*got, wanted, "{value}");
        }
    }
}

#[test]
fn arithmetic_of_halves() {
    let pair = |low: f32, high: f32| u32::from(half::f16::from_f32(low).to_bits()) | u32::from(half::f16::from_f32(high).to_bits()) << 16;
    assert_eq!(
        word("add.f16x2 %r0, %r1, %r2;", [pair(1.0, 2.0), pair(0.5, -4.0), 0]),
        pair(1.5, -2.0)
    );
    assert_eq!(
        word("mul.f16x2 %r0, %r1, %r2;", [pair(3.0, 2.0), pair(0.5, -4.0), 0]),
        pair(1.5, -8.0)
    );
    assert_eq!(
        word(
            "fma.rn.f16x2 %r0, %r1, %r2, %r3;",
            [pair(3.0, 2.0), pair(2.0, 2.0), pair(1.0, -4.0)]
        ),
        pair(7.0, 0.0)
    );
    assert_eq!(
        word(
            "fma.rn.relu.f16x2 %r0, %r1, %r2, %r3;",
            [pair(-3.0, 2.0), pair(2.0, 2.0), pair(1.0, 1.0)]
        ),
        pair(0.0, 5.0)
    );
    assert_eq!(
        word("max.f16x2 %r0, %r1, %r2;", [pair(3.0, -2.0), pair(0.5, 4.0), 0]),
        pair(3.0, 4.0)
    );
    assert_eq!(word("neg.f16x2 %r0, %r1;", [pair(3.0, -2.0), 0, 0]), pair(-3.0, 2.0));
    assert_eq!(word("abs.f16x2 %r0, %r1;", [pair(3.0, -2.0), 0, 0]), pair(3.0, 2.0));
    // fma rounds once: 2049 is no half, 2048 + 1 + 2^-11 rounds up to 2050
    assert_eq!(
        word(
            "fma.rn.f16x2 %r0, %r1, %r2, %r3;",
            [pair(1.0, 0.0), pair(1.000_976_6, 0.0), pair(2048.0, 0.0)]
        ),
        pair(2050.0, 0.0)
    );
    assert_eq!(word("ex2.approx.f16x2 %r0, %r1;", [pair(3.0, -1.0), 0, 0]), pair(8.0, 0.5));
    let bf = |v: f32| u32::from(half::bf16::from_f32(v).to_bits());
    let body = "cvt.u16.u32 %rs1, %r1; cvt.u16.u32 %rs2, %r2; fma.rn.bf16 %rs3, %rs1, %rs2, %rs1; cvt.u32.u16 %r0, %rs3;";
    assert_eq!(word(body, [bf(3.0), bf(4.0), 0]), bf(15.0));
    assert_eq!(
        word(
            "setp.lt.f16x2 %p1|%p2, %r1, %r2; selp.u32 %r0, 1, 0, %p1; @%p2 add.u32 %r0, %r0, 2;",
            [pair(3.0, -2.0), pair(0.5, 4.0), 0]
        ),
        2
    );
}

#[test]
fn comparisons_and_predicates() {
    let nan = f32::NAN.to_bits();
    let cases: &[(&str, [u32; 3], u32)] = &[
        ("setp.lt.s32 %p1, %r1, %r2; selp.u32 %r0, 7, 9, %p1;", [u32::MAX, 0, 0], 7),
        ("setp.lo.u32 %p1, %r1, %r2; selp.u32 %r0, 7, 9, %p1;", [u32::MAX, 0, 0], 9),
        ("setp.eq.f32 %p1, %r1, %r2; selp.u32 %r0, 7, 9, %p1;", [nan, nan, 0], 9),
        ("setp.ne.f32 %p1, %r1, %r2; selp.u32 %r0, 7, 9, %p1;", [nan, 0, 0], 9),
        ("setp.neu.f32 %p1, %r1, %r2; selp.u32 %r0, 7, 9, %p1;", [nan, 0, 0], 7),
        ("setp.gtu.f32 %p1, %r1, %r2; selp.u32 %r0, 7, 9, %p1;", [nan, 0, 0], 7),
        ("setp.nan.f32 %p1, %r1, %r2; selp.u32 %r0, 7, 9, %p1;", [nan, 0, 0], 7),
        ("setp.num.f32 %p1, %r1, %r2; selp.u32 %r0, 7, 9, %p1;", [nan, 0, 0], 9),
        ("setp.eq.ftz.f32 %p1, %r1, %r2; selp.u32 %r0, 7, 9, %p1;", [1, 0, 0], 7),
        (
            "setp.eq.u32 %p1|%p2, %r1, %r2; @%p1 mov.u32 %r0, 1; @%p2 mov.u32 %r0, 2;",
            [3, 4, 0],
            2,
        ),
        (
            "setp.ne.u32 %p3, %r3, 0; setp.eq.and.u32 %p1, %r1, %r2, %p3; selp.u32 %r0, 7, 9, %p1;",
            [4, 4, 1],
            7,
        ),
        (
            "setp.ne.u32 %p3, %r3, 0; setp.eq.and.u32 %p1, %r1, %r2, !%p3; selp.u32 %r0, 7, 9, %p1;",
            [4, 4, 1],
            9,
        ),
        (
            "setp.ne.u32 %p3, %r3, 0; not.pred %p4, %p3; or.pred %p5, %p4, %p3; selp.u32 %r0, 7, 9, %p5;",
            [4, 4, 1],
            7,
        ),
        ("set.lt.u32.s32 %r0, %r1, %r2;", [1, 2, 0], u32::MAX),
        ("set.lt.f32.s32 %r0, %r1, %r2;", [1, 2, 0], 1.0_f32.to_bits()),
        ("mov.pred %p1, 1; xor.pred %p2, %p1, %p1; @!%p2 mov.u32 %r0, 4;", [0; 3], 4),
    ];
    for (body, operands, wanted) in cases {
        let body = body.replace("f32 %p1, %r1, %r2", "f32 %p1, %f1, %f2");
        let body = format!("mov.b32 %f1, %r1; mov.b32 %f2, %r2; {body}");
        assert_eq!(word(&body, *operands), *wanted, "{body} {operands:x?}");
    }
}
