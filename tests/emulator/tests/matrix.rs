//! Tensor-core products and matrix loads, against the layouts of the PTX manual and `f64`.

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

use half::{bf16, f16};
use ptx_emulator::{Launch, Memory, Module, Options, Params};
use support::{Random, compile, download, upload};

fn module() -> Option<Module> {
    let ptx = compile(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernels/matrix.cu"),
        "compute_80",
        &[],
    )?;
    Some(Module::parse(&ptx).unwrap_or_else(|e| panic!("{e}")))
}

fn launch(module: &Module, memory: &Memory, kernel: &str, params: &Params) {
    let launch = Launch {
        grid: [1, 1, 1],
        block: [32, 1, 1],
        dynamic_shared: 0,
        params: params.bytes(),
    };
    let stats = module
        .launch(memory, kernel, &launch, &Options::default())
        .unwrap_or_else(|e| panic!("{kernel}: {e}"));
    assert_eq!(stats.mma, u64::from(kernel != "tiles"));
}

/// `A * B + C` of 16-bit values given as `f64`.
fn product(a: &[f64], b: &[f64], c: &[f64], depth: usize) -> Vec<f64> {
    (0..128)
        .map(|i| c[i] + (0..depth).map(|k| a[i / 8 * depth + k] * b[k * 8 + i % 8]).sum::<f64>())
        .collect()
}

#[test]
fn products_of_all_kinds() {
    let Some(module) = module() else { return };
    let mut random = Random::new(6);
    for (kernel, depth, bfloat) in [
        ("f16_16", 16, false),
        ("bf16_16", 16, true),
        ("f16_8", 8, false),
        ("bf16_8", 8, true),
        ("f16_16_half", 16, false),
    ] {
        let mut bits = |count: usize| -> (Vec<u16>, Vec<f64>) {
            let values = (0..count).map(|_| random.float() * 2.0);
            let both = |v: f32| {
                if bfloat {
                    (bf16::from_f32(v).to_bits(), bf16::from_f32(v).to_f64())
                } else {
                    (f16::from_f32(v).to_bits(), f16::from_f32(v).to_f64())
                }
            };
            values.map(both).unzip()
        };
        let ((a, af), (b, bf), (c, cf)) = (bits(16 * depth), bits(depth * 8), bits(128));
        let memory = Memory::new();
        let (pa, pb) = (upload(&memory, &a), upload(&memory, &b));
        let wanted = product(&af, &bf, &cf, depth);
        let (got, tolerance): (Vec<f64>, f64) = if kernel == "f16_16_half" {
            let pc = upload(&memory, &c);
            launch(&module, &memory, kernel, &Params::new().u64(pa).u64(pb).u64(pc));
            (download::<f16>(&memory, pc, 128).iter().map(|v| v.to_f64()).collect(), 0.02)
        } else {
            let pc = upload(&memory, &cf.iter().map(|v| *v as f32).collect::<Vec<_>>());
            launch(&module, &memory, kernel, &Params::new().u64(pa).u64(pb).u64(pc));
            (download::<f32>(&memory, pc, 128).iter().map(|v| f64::from(*v)).collect(), 1e-5)
        };
        for (i, (got, wanted)) in got.iter().zip(&wanted).enumerate() {
            assert!((got - wanted).abs() < tolerance, "{kernel} element {i}: {got}, should be {wanted}");
        }
    }
}

#[test]
fn matrix_loads_and_asynchronous_copies() {
    let Some(module) = module() else { return };
    let values: Vec<u16> = (0..256).map(|i| i * 7 + 1).collect();
    for bytes in [4_usize, 8, 16] {
        for given in [bytes, bytes / 2, 0] {
            let memory = Memory::new();
            // with a part given, the source need not go on behind the last part
            let end = if given == bytes / 2 { 256 - given / 2 } else { 256 };
            let (input, plain, turned) = (
                upload(&memory, &values[..end]),
                memory.alloc(512).unwrap(),
                memory.alloc(512).unwrap(),
            );
            let params = Params::new().u64(input).u64(plain).u64(turned).i32(bytes as i32).i32(given as i32);
            launch(&module, &memory, "tiles", &params);
            // what was not given is zero
            let at = |tile: usize, row: usize, column: usize| {
                let index = tile * 64 + row * 8 + column;
                u32::from(if index * 2 % bytes < given { values[index] } else { 0 })
            };
            let (plain, turned): (Vec<u32>, Vec<u32>) = (download(&memory, plain, 128), download(&memory, turned, 128));
            for tile in 0..4 {
                for lane in 0..32 {
                    let (row, column) = (lane / 4, lane % 4 * 2);
                    assert_eq!(plain[tile * 32 + lane], at(tile, row, column) | at(tile, row, column + 1) << 16);
                    assert_eq!(turned[tile * 32 + lane], at(tile, column, row) | at(tile, column + 1, row) << 16);
                }
            }
        }
    }
}
