//! Whole kernels as NVRTC compiles them: the math library, module-level data, atomics, named barriers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "tests"
)]

mod support;

use std::path::Path;

use ptx_emulator::{FaultKind, Launch, Memory, Module, Options, Order, Params};
use support::{Random, compile, download, upload};

fn module(arch: &str) -> Option<Module> {
    let ptx = compile(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernels/math.cu"), arch, &[])?;
    Some(Module::parse(&ptx).unwrap_or_else(|e| panic!("{e}")))
}

/// Launches with one-dimensional sizes and all checks.
fn launch(module: &Module, memory: &Memory, kernel: &str, blocks: u32, threads: u32, params: &Params) {
    for order in [Order::InOrder, Order::Shuffled(11)] {
        let launch = Launch {
            grid: [blocks, 1, 1],
            block: [threads, 1, 1],
            dynamic_shared: 0,
            params: params.bytes(),
        };
        let options = Options {
            order,
            ..Options::default()
        };
        module.launch(memory, kernel, &launch, &options).unwrap_or_else(|e| panic!("{e}"));
        if kernel != "histogram" && kernel != "handover" {
            return; // not to be run twice
        }
    }
}

/// The error function, by its series and its continued fraction.
fn erf(x: f64) -> f64 {
    if x.abs() > 3.0 {
        let mut fraction = 0.0;
        for k in (1..60).rev() {
            fraction = f64::from(k) / 2.0 / (x.abs() + fraction);
        }
        return (1.0 - (-x * x).exp() / (x.abs() + fraction) / std::f64::consts::PI.sqrt()).copysign(x);
    }
    let (mut term, mut sum) = (x, x);
    for k in 1..80 {
        term *= -x * x / f64::from(k);
        sum += term / f64::from(2 * k + 1);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

#[test]
fn the_math_library_is_as_exact_as_it_says() {
    type Case = (&'static str, fn(f64) -> f64, f64);
    let cases: &[Case] = &[
        ("k_sin", f64::sin, 3e-7),
        ("k_cos", f64::cos, 3e-7),
        ("k_tan", f64::tan, 1e-5),
        ("k_tanh", f64::tanh, 3e-7),
        ("k_exp", f64::exp, 3e-7),
        ("k_fast_exp", f64::exp, 2e-5),
        ("k_log", |x| (x.abs() + 1e-3).ln(), 1e-6),
        ("k_log1p", |x| x.abs().ln_1p(), 1e-6),
        ("k_pow", |x| x.abs().powf(f64::from(2.3_f32)), 1e-6),
        ("k_erf", erf, 1e-6),
        ("k_fmod", |x| x % f64::from(0.7_f32), 1e-6),
        ("k_round", f64::round, 0.0),
        ("k_rsqrt", |x| 1.0 / (x.abs() + 1.0).sqrt(), 1e-6),
        ("k_div", |x| 3.0 / x, 2e-7),
        ("k_sqrt", |x| x.abs().sqrt(), 2e-7),
        ("k_gelu", |x| 0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2)), 1e-5),
        ("k_sigmoid", |x| 1.0 / (1.0 + (-x).exp()), 1e-6),
        ("k_double", |x| x.exp() * 1e-3, 2e-7),
        (
            "k_local",
            |x| (0..8).map(|k| if k == (x.abs() as i32 & 7) { 1.0 } else { x * f64::from(k) }).sum(),
            1e-6,
        ),
    ];
    for arch in ["compute_75", "compute_80", "compute_90"] {
        let Some(module) = module(arch) else { return };
        let mut random = Random::new(2);
        // most of them moderate, some large enough for the slow ways of the trigonometric functions
        let input: Vec<f32> = (0..1000).map(|i| random.float() * if i % 10 == 0 { 80.0 } else { 4.0 }).collect();
        for (kernel, wanted, tolerance) in cases {
            let memory = Memory::new();
            let (x, y) = (upload(&memory, &input), memory.alloc(4000).unwrap());
            launch(&module, &memory, kernel, 8, 128, &Params::new().u64(x).u64(y).i32(1000));
            for (x, got) in input.iter().zip(download::<f32>(&memory, y, 1000)) {
                let wanted = wanted(f64::from(*x));
                let error = (f64::from(got) - wanted).abs() / wanted.abs().max(1.0);
                assert!(
                    error <= *tolerance || f64::from(got) == wanted,
                    "{arch} {kernel}({x}) = {got}, should be {wanted}"
                );
            }
        }
        let memory = Memory::new();
        let (x, y) = (upload(&memory, &[1e8_f32, -123_456.79, 3e30]), memory.alloc(12).unwrap());
        launch(&module, &memory, "k_sin", 1, 32, &Params::new().u64(x).u64(y).i32(3));
        for (x, got) in [1e8_f32, -123_456.79, 3e30].iter().zip(download::<f32>(&memory, y, 3)) {
            assert!((f64::from(*x).sin() - f64::from(got)).abs() < 1e-6, "{arch} sin({x}) = {got}");
        }
    }
}

#[test]
fn module_data_switches_and_narrow_types() {
    for arch in ["compute_75", "compute_80", "compute_90"] {
        let Some(module) = module(arch) else { return };
        let memory = Memory::new();
        let bytes: Vec<u8> = (0..64).map(|i| (i * 37) as u8).collect();
        let shorts: Vec<u16> = (0..64).map(|i| (i * 3000) as u16).collect();
        let (out, b, s) = (memory.alloc(256).unwrap(), upload(&memory, &bytes), upload(&memory, &shorts));
        let q = -123_456_789_012_i64;
        launch(&module, &memory, "odds", 1, 64, &Params::new().u64(out).u64(b).u64(s).u64(q as u64));
        let got: Vec<i32> = download(&memory, out, 64);
        for t in 0..64_i64 {
            let i = t as usize;
            let wanted = match t % 7 {
                0 => ((t & 7) * (t & 7)) as i32,
                1 => (t & 3) as i32 + 1,
                2 => (q / (t + 1)) as i32,
                3 => (q % (t + 1)) as i32,
                4 => i32::from(bytes[i] as i8) * 3,
                5 => i32::from((shorts[i] as i16).wrapping_mul(5)),
                _ => -1,
            };
            assert_eq!(got[i], wanted, "{arch} thread {t}");
        }
        launch(&module, &memory, "read_counter", 1, 1, &Params::new().u64(out));
        assert_eq!(download::<i32>(&memory, out, 1), [67]);
        let (address, size) = module.global(&memory, "counter").unwrap().unwrap();
        assert_eq!((download::<i32>(&memory, address, 1)[0], size), (67, 4));
        assert!(module.global(&memory, "nothing").unwrap().is_none());
        module.unload(&memory).unwrap();
    }
}

#[test]
fn atomics_add_up_over_parallel_blocks() {
    let Some(module) = module("compute_80") else { return };
    let memory = Memory::new();
    let mut random = Random::new(4);
    let data: Vec<u8> = (0..10_000).map(|_| random.bits() as u8).collect();
    let (d, bins) = (upload(&memory, &data), upload(&memory, &[0_u32; 256]));
    let (total, longs) = (upload(&memory, &[0.0_f32]), upload(&memory, &[0_u64; 2]));
    launch(
        &module,
        &memory,
        "histogram",
        20,
        96,
        &Params::new().u64(d).i32(10_000).u64(bins).u64(total).u64(longs),
    );
    let got: Vec<u32> = download(&memory, bins, 256);
    for (count, value) in got.iter().zip(0..=u8::MAX) {
        assert_eq!(*count, 2 * data.iter().filter(|d| **d == value).count() as u32);
    }
    assert_eq!(download::<f32>(&memory, total, 1), [10_000.0]);
    assert_eq!(download::<u64>(&memory, longs, 2), [9_999, 2 * 20 * 48]);
}

#[test]
fn named_barriers_order_what_they_should() {
    let Some(module) = module("compute_80") else { return };
    let memory = Memory::new();
    let out = memory.alloc(128).unwrap();
    let params = Params::new().u64(out).i32(5);
    launch(&module, &memory, "handover", 1, 64, &params);
    let got: Vec<i32> = download(&memory, out, 32);
    assert!(got.iter().zip(0..).all(|(v, lane)| *v == 1000 + 5 * (31 - lane)), "{got:?}");
    let launch = Launch {
        grid: [1, 1, 1],
        block: [64, 1, 1],
        dynamic_shared: 0,
        params: params.bytes(),
    };
    for order in [Order::InOrder, Order::Shuffled(1), Order::Shuffled(2)] {
        let options = Options {
            order,
            ..Options::default()
        };
        let fault = module.launch(&memory, "handover_too_soon", &launch, &options).unwrap_err();
        assert!(
            matches!(fault.kind, FaultKind::Race { .. } | FaultKind::BarrierDivergence { .. }),
            "{fault}"
        );
    }
}

#[test]
fn launches_that_do_not_fit_are_refused() {
    let Some(module) = module("compute_80") else { return };
    let memory = Memory::new();
    let bytes = [0; 64];
    let good = Launch {
        grid: [1, 1, 1],
        block: [32, 1, 1],
        dynamic_shared: 0,
        params: &bytes,
    };
    let refused = |kernel: &str, launch: Launch<'_>| {
        let fault = module.launch(&memory, kernel, &launch, &Options::default()).unwrap_err();
        assert!(matches!(fault.kind, FaultKind::Launch { .. }), "{fault}");
    };
    refused("nothing", good.clone());
    refused(
        "odds",
        Launch {
            block: [33, 32, 1],
            ..good.clone()
        },
    );
    refused(
        "odds",
        Launch {
            block: [0, 1, 1],
            ..good.clone()
        },
    );
    refused(
        "odds",
        Launch {
            grid: [0, 1, 1],
            ..good.clone()
        },
    );
    refused(
        "odds",
        Launch {
            params: &bytes[..31],
            ..good.clone()
        },
    );
    refused(
        "odds",
        Launch {
            dynamic_shared: 1 << 20,
            ..good
        },
    );
}

#[test]
fn calls_of_device_functions_are_refused_by_line() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernels/math.cu");
    let Some(ptx) = compile(&source, "compute_80", &["CALLS"]) else {
        return;
    };
    let error = Module::parse(&ptx).unwrap_err();
    assert!(error.to_string().contains("forceinline"), "{error}");
    assert!(error.source_line.is_some());
}
