//! Times the layer norm and the matrix product of the tests: `HARK_GPU__NVRTC=... cargo run --example speed -p ptx-emulator`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "tests"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::path::Path;
use std::time::Instant;

use ptx_emulator::{Launch, Memory, Module, Options, Params};
use support::{Random, compile, upload};

fn time(name: &str, module: &Module, memory: &Memory, kernel: &str, launch: &Launch<'_>, flops: f64) {
    for checked in [true, false] {
        let options = Options {
            races: checked,
            uninitialised: checked,
            ..Options::default()
        };
        let mut best = f64::MAX;
        let mut count = 0;
        for _ in 0..20 {
            let start = Instant::now();
            match module.launch(memory, kernel, launch, &options) {
                Ok(stats) => count = stats.warp_instructions,
                Err(fault) => return println!("{name}: {fault}"),
            }
            best = best.min(start.elapsed().as_secs_f64());
        }
        println!(
            "{name:24} checks {checked:5}  {:8.2} ms  {:6.1} M warp instructions/s  {:6.2} GFLOP/s",
            best * 1e3,
            count as f64 / best / 1e6,
            flops / best / 1e9
        );
    }
}

fn main() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults");
    let Some(layernorm) = compile(&folder.join("layernorm.cu"), "compute_80", &[]) else {
        return;
    };
    let gemm = compile(&folder.join("gemm.cu"), "compute_80", &[]).unwrap();
    let start = Instant::now();
    let (layernorm, gemm) = (Module::parse(&layernorm).unwrap(), Module::parse(&gemm).unwrap());
    println!(
        "parsing {:.2} ms, {} threads",
        start.elapsed().as_secs_f64() * 1e3,
        rayon::current_num_threads()
    );
    let mut random = Random::new(1);
    let memory = Memory::new();
    let (rows, columns) = (256_usize, 512_usize);
    let x = upload(&memory, &random.halves(rows * columns));
    let (scale, bias) = (upload(&memory, &vec![1.0_f32; columns]), upload(&memory, &vec![0.0_f32; columns]));
    let y = memory.alloc(rows * columns * 2).unwrap();
    let params = Params::new().u64(x).u64(scale).u64(bias).u64(y).u32(columns as u32 / 2).f32(1e-5);
    let launch = Launch {
        grid: [rows as u32, 1, 1],
        block: [128, 1, 1],
        dynamic_shared: 0,
        params: params.bytes(),
    };
    time("layernorm 256x512", &layernorm, &memory, "layernorm_f16", &launch, 0.0);
    if std::env::var_os("SHORT").is_some() {
        return;
    }
    for (m, n, k) in [(128_usize, 128_usize, 128_usize), (64, 2048, 512)] {
        let (a, b) = (upload(&memory, &random.halves(m * k)), upload(&memory, &random.halves(n * k)));
        let c = memory.alloc(m * n * 4).unwrap();
        let params = Params::new().u64(a).u64(b).u64(c).u32(m as u32).u32(n as u32).u32(k as u32);
        let grid = [n.div_ceil(64) as u32, m.div_ceil(64) as u32, 1];
        let launch = Launch {
            grid,
            block: [128, 1, 1],
            dynamic_shared: 0,
            params: params.bytes(),
        };
        time(
            &format!("gemm {m}x{n}x{k}"),
            &gemm,
            &memory,
            "gemm_f16_nt",
            &launch,
            2.0 * (m * n * k) as f64,
        );
    }
}
