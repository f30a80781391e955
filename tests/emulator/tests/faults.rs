//! Nine planted faults, each of which must be caught for what it is and where it is; and the healthy kernels against `f64`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "tests"
)]

mod support;

use std::path::{Path, PathBuf};

use half::f16;
use ptx_emulator::{Fault, FaultKind, Launch, Memory, Module, Options, Order, Params};
use support::{Random, compile, download, upload};

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults").join(name)
}

fn module(name: &str, arch: &str, fault: u32) -> Option<Module> {
    let ptx = compile(&source(name), arch, &[&format!("FAULT={fault}")])?;
    Some(Module::parse(&ptx).unwrap_or_else(|e| panic!("{name} for {arch}: {e}")))
}

/// The line of a source that holds `text`, the `nth` such.
fn line_of(name: &str, text: &str, nth: usize) -> u32 {
    let source = std::fs::read_to_string(source(name)).unwrap();
    let found = source.lines().enumerate().filter(|(_, line)| line.contains(text)).nth(nth);
    u32::try_from(found.unwrap_or_else(|| panic!("{text} is not in {name}")).0).unwrap() + 1
}

/// Parts of the lines where NVRTC says the two kinds of `ldmatrix` are.
const LOAD_FOUR: &str = ": \"=r\"(r[0]), \"=r\"(r[1]), \"=r\"(r[2]), \"=r\"(r[3])";
const LOAD_TWO: &str = "ldmatrix.sync.aligned.m8n8.x2";

struct Gemm {
    m: usize,
    n: usize,
    k: usize,
    a: Vec<f16>,
    b: Vec<f16>,
}

impl Gemm {
    fn new(m: usize, n: usize, k: usize) -> Self {
        let mut random = Random::new(7);
        Gemm {
            m,
            n,
            k,
            a: random.halves(m * k),
            b: random.halves(n * k),
        }
    }

    fn run(&self, module: &Module, options: &Options) -> Result<Vec<f32>, Fault> {
        let memory = Memory::new();
        let (a, b) = (upload(&memory, &self.a), upload(&memory, &self.b));
        let c = memory.alloc(self.m * self.n * 4).unwrap();
        let params = Params::new()
            .u64(a)
            .u64(b)
            .u64(c)
            .u32(self.m as u32)
            .u32(self.n as u32)
            .u32(self.k as u32);
        let grid = [self.n.div_ceil(64) as u32, self.m.div_ceil(64) as u32, 1];
        let launch = Launch {
            grid,
            block: [128, 1, 1],
            dynamic_shared: 0,
            params: params.bytes(),
        };
        module.launch(&memory, "gemm_f16_nt", &launch, options)?;
        Ok(download(&memory, c, self.m * self.n))
    }

    fn error(&self, c: &[f32]) -> f64 {
        let mut worst = 0.0_f64;
        for row in 0..self.m {
            for column in 0..self.n {
                let products = (0..self.k).map(|k| self.a[row * self.k + k].to_f64() * self.b[column * self.k + k].to_f64());
                worst = worst.max((products.sum::<f64>() - f64::from(c[row * self.n + column])).abs());
            }
        }
        worst
    }
}

fn layernorm(module: &Module, rows: usize, columns: usize, options: &Options) -> Result<f64, Fault> {
    let mut random = Random::new(3);
    let memory = Memory::new();
    let x = random.halves(rows * columns);
    let scale: Vec<f32> = (0..columns).map(|_| random.float()).collect();
    let bias: Vec<f32> = (0..columns).map(|_| random.float()).collect();
    let (px, ps, pb) = (upload(&memory, &x), upload(&memory, &scale), upload(&memory, &bias));
    let y = memory.alloc(rows * columns * 2).unwrap();
    let params = Params::new().u64(px).u64(ps).u64(pb).u64(y).u32(columns as u32 / 2).f32(1e-5);
    let launch = Launch {
        grid: [rows as u32, 1, 1],
        block: [128, 1, 1],
        dynamic_shared: 0,
        params: params.bytes(),
    };
    module.launch(&memory, "layernorm_f16", &launch, options)?;
    let y: Vec<f16> = download(&memory, y, rows * columns);
    let mut worst = 0.0_f64;
    for (row, out) in x.chunks(columns).zip(y.chunks(columns)) {
        let values: Vec<f64> = row.iter().map(|v| v.to_f64()).collect();
        let mean = values.iter().sum::<f64>() / columns as f64;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / columns as f64;
        for (i, v) in values.iter().enumerate() {
            let wanted = (v - mean) / (variance + 1e-5).sqrt() * f64::from(scale[i]) + f64::from(bias[i]);
            worst = worst.max((wanted - out[i].to_f64()).abs());
        }
    }
    Ok(worst)
}

fn orders() -> Vec<Options> {
    let mut all: Vec<Options> = (1..4)
        .map(|seed| Options {
            order: Order::Shuffled(seed),
            ..Options::default()
        })
        .collect();
    all.push(Options::default());
    all.push(Options {
        races: false,
        uninitialised: false,
        ..Options::default()
    });
    all
}

#[test]
fn healthy_kernels_match_float64() {
    for arch in ["compute_75", "compute_80", "compute_90"] {
        let (Some(gemm), Some(norm)) = (module("gemm.cu", arch, 0), module("layernorm.cu", arch, 0)) else {
            return;
        };
        for options in orders() {
            for (m, n, k) in [(70, 100, 176), (1, 8, 16), (128, 64, 512)] {
                let case = Gemm::new(m, n, k);
                let c = case.run(&gemm, &options).unwrap_or_else(|e| panic!("{arch}: {e}"));
                let error = case.error(&c);
                assert!(error < 5e-5, "{arch} {m}x{n}x{k} {options:?}: {error}");
            }
            let error = layernorm(&norm, 5, 512, &options).unwrap_or_else(|e| panic!("{arch}: {e}"));
            assert!(error < 2.5e-3, "{arch}: {error}"); // half a unit in the last place of an f16 near 4
        }
    }
}

#[test]
fn softmax_and_convolution_match_float64() {
    for arch in ["compute_75", "compute_80", "compute_90"] {
        let Some(module) = module("layernorm.cu", arch, 0) else { return };
        let mut random = Random::new(9);
        let memory = Memory::new();
        let (rows, columns) = (8, 300);
        let x: Vec<f32> = (0..rows * columns).map(|_| random.float() * 10.0).collect();
        let (px, py) = (upload(&memory, &x), memory.alloc(rows * columns * 4).unwrap());
        let params = Params::new().u64(px).u64(py).u32(columns as u32);
        let launch = Launch {
            grid: [rows as u32, 1, 1],
            block: [128, 1, 1],
            dynamic_shared: 0,
            params: params.bytes(),
        };
        module
            .launch(&memory, "softmax_f32", &launch, &Options::default())
            .unwrap_or_else(|e| panic!("{e}"));
        let y: Vec<f32> = download(&memory, py, rows * columns);
        for (row, out) in x.chunks(columns).zip(y.chunks(columns)) {
            let largest = f64::from(row.iter().copied().fold(f32::MIN, f32::max));
            let total: f64 = row.iter().map(|v| (f64::from(*v) - largest).exp()).sum();
            for (v, o) in row.iter().zip(out) {
                assert!(((f64::from(*v) - largest).exp() / total - f64::from(*o)).abs() < 1e-6);
            }
        }
        let (frames, channels) = (20_usize, 176_usize);
        let (x, w) = (random.halves(frames * channels), random.halves(9 * channels));
        let bias: Vec<f32> = (0..channels).map(|_| random.float()).collect();
        let (px, pw, pb) = (upload(&memory, &x), upload(&memory, &w), upload(&memory, &bias));
        let py = memory.alloc(frames * channels * 2).unwrap();
        let params = Params::new()
            .u64(px)
            .u64(pw)
            .u64(pb)
            .u64(py)
            .u32(frames as u32)
            .u32(channels as u32);
        let launch = Launch {
            grid: [2, frames as u32, 1],
            block: [128, 1, 1],
            dynamic_shared: 0,
            params: params.bytes(),
        };
        module
            .launch(&memory, "dwconv9_silu", &launch, &Options::default())
            .unwrap_or_else(|e| panic!("{e}"));
        let y: Vec<f16> = download(&memory, py, frames * channels);
        for t in 0..frames {
            for c in 0..channels {
                let taps = (0..9).filter_map(|k| (t + k).checked_sub(4).filter(|at| *at < frames).map(|at| (k, at)));
                let sum = taps
                    .map(|(k, at)| x[at * channels + c].to_f64() * w[k * channels + c].to_f64())
                    .sum::<f64>()
                    + f64::from(bias[c]);
                let wanted = sum / (1.0 + (-sum).exp());
                assert!((wanted - y[t * channels + c].to_f64()).abs() < 2.5e-3);
            }
        }
    }
}

/// Runs the kernel with a planted fault and gives what was caught.
fn caught(name: &str, fault: u32, options: &Options) -> Option<Fault> {
    let module = module(name, "compute_80", fault)?;
    let outcome = if name == "gemm.cu" {
        Gemm::new(70, 100, 176).run(&module, options).map(|_| ())
    } else {
        layernorm(&module, 4, 512, options).map(|_| ())
    };
    Some(outcome.expect_err(&format!("fault {fault} of {name} was not caught")))
}

fn assert_line(fault: &Fault, file: &str, allowed: &[u32]) {
    let line = fault.source_line.as_ref().unwrap_or_else(|| panic!("no source line: {fault}"));
    assert!(
        line.file.ends_with(file) && allowed.contains(&line.line),
        "line should be one of {allowed:?}: {fault}"
    );
}

#[test]
fn missing_barriers_are_races() {
    for options in [
        Options::default(),
        Options {
            order: Order::Shuffled(5),
            ..Options::default()
        },
    ] {
        // without the first barrier a warp reads what another has only just waited for or not even that
        let Some(fault) = caught("gemm.cu", 1, &options) else { return };
        let kind = &fault.kind;
        assert!(
            matches!(
                kind,
                FaultKind::Race { .. } | FaultKind::AsyncCopyInFlight { .. } | FaultKind::Uninitialised { .. }
            ),
            "{fault}"
        );
        assert_line(
            &fault,
            "gemm.cu",
            &[line_of("gemm.cu", LOAD_FOUR, 0), line_of("gemm.cu", LOAD_TWO, 0)],
        );
        // without the second one a warp overwrites what others still read
        let Some(fault) = caught("gemm.cu", 2, &options) else { return };
        assert!(matches!(fault.kind, FaultKind::Race { .. }), "{fault}");
        let copy = line_of("gemm.cu", "cp.async.cg.shared.global", 0);
        assert_line(
            &fault,
            "gemm.cu",
            &[copy, line_of("gemm.cu", LOAD_FOUR, 0), line_of("gemm.cu", LOAD_TWO, 0)],
        );
    }
}

#[test]
fn too_lax_a_wait_is_a_read_of_a_copy_in_flight() {
    let Some(fault) = caught("gemm.cu", 3, &Options::default()) else {
        return;
    };
    assert!(matches!(fault.kind, FaultKind::AsyncCopyInFlight { .. }), "{fault}");
    assert_line(&fault, "gemm.cu", &[line_of("gemm.cu", LOAD_FOUR, 0)]);
    // and where races are not looked for, the result is wrong
    let Some(module) = module("gemm.cu", "compute_80", 3) else { return };
    let case = Gemm::new(70, 100, 176);
    let c = case
        .run(
            &module,
            &Options {
                races: false,
                uninitialised: false,
                ..Options::default()
            },
        )
        .unwrap();
    let error = case.error(&c);
    assert!(error.is_nan() || error > 1.0, "{error}");
}

#[test]
fn missing_bounds_check_is_out_of_bounds() {
    let Some(fault) = caught("gemm.cu", 4, &Options::default()) else {
        return;
    };
    let FaultKind::OutOfBounds {
        bytes: 16,
        place: ptx_emulator::Place::Global { allocation, offset, len },
        ..
    } = fault.kind
    else {
        panic!("{fault}")
    };
    assert_eq!((allocation, len), (1, 70 * 176 * 2));
    assert!(offset >= 70 * 176 * 2 - 15, "{fault}");
    assert_line(&fault, "gemm.cu", &[line_of("gemm.cu", "cp.async.cg.shared.global", 0)]);
}

#[test]
fn misaligned_matrix_row() {
    let Some(fault) = caught("gemm.cu", 5, &Options::default()) else {
        return;
    };
    assert!(matches!(fault.kind, FaultKind::Misaligned { bytes: 16, .. }), "{fault}");
    assert_line(&fault, "gemm.cu", &[line_of("gemm.cu", LOAD_FOUR, 0)]);
}

#[test]
fn missing_barrier_in_a_reduction() {
    let Some(fault) = caught("layernorm.cu", 6, &Options::default()) else {
        return;
    };
    assert!(
        matches!(fault.kind, FaultKind::Uninitialised { .. } | FaultKind::Race { .. }),
        "{fault}"
    );
    assert_line(
        &fault,
        "layernorm.cu",
        &[line_of("layernorm.cu", "float a = lane < nw ? red[0][lane]", 0)],
    );
}

#[test]
fn shuffle_under_divergence() {
    let Some(fault) = caught("layernorm.cu", 7, &Options::default()) else {
        return;
    };
    assert!(matches!(fault.kind, FaultKind::InactiveLane { .. }), "{fault}");
    assert_line(
        &fault,
        "layernorm.cu",
        &[line_of("layernorm.cu", "__shfl_xor_sync(0xffffffffu, v, m)", 0)],
    );
}

#[test]
fn loop_one_too_far() {
    let Some(fault) = caught("layernorm.cu", 8, &Options::default()) else {
        return;
    };
    assert!(matches!(fault.kind, FaultKind::OutOfBounds { .. }), "{fault}");
    let reads = [
        line_of("layernorm.cu", "float2 v = __half22float2(xr[i]);", 0),
        line_of("layernorm.cu", "gg = g[i]", 0),
    ];
    assert_line(&fault, "layernorm.cu", &reads);
}

#[test]
fn barrier_that_some_warps_miss() {
    let Some(fault) = caught("layernorm.cu", 9, &Options::default()) else {
        return;
    };
    assert!(matches!(fault.kind, FaultKind::BarrierDivergence { .. }), "{fault}");
    let barriers: Vec<u32> = (0..3).map(|nth| line_of("layernorm.cu", "__syncthreads();", nth)).collect();
    assert_line(&fault, "layernorm.cu", &barriers);
}
