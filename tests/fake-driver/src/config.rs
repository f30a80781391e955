//! What the environment asks for, and what the device claims to be.

use std::sync::LazyLock;

use ptx_emulator::{Options, Order};

/// Memory that the device reports unless `FAKE_CUDA_MEMORY_MIB` says otherwise.
const MEMORY: usize = 8 << 30;
/// Bytes of shared memory of a block without opting in to more.
pub(crate) const SHARED_DEFAULT: usize = 48 << 10;
/// Bytes of shared memory of a block with opting in.
pub(crate) const SHARED_OPT_IN: usize = 163 << 10;
/// Bytes of shared memory of a multiprocessor.
pub(crate) const SHARED_PER_SM: usize = 164 << 10;
/// Bytes of shared memory that the system takes of each block.
pub(crate) const SHARED_RESERVED: usize = 1 << 10;
/// Compute capability, times ten.
pub(crate) const CAPABILITY: u32 = 80;

/// Settings from the environment, read once.
#[derive(Debug)]
pub(crate) struct Config {
    /// Bytes of device memory.
    pub memory: usize,
    /// How kernels are run.
    pub options: Options,
}

/// The settings.
pub(crate) static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.trim().parse::<u64>().ok());
    let mib = number("FAKE_CUDA_MEMORY_MIB").and_then(|mib| usize::try_from(mib).ok());
    let checks = std::env::var("FAKE_CUDA_CHECKS").map_or(true, |text| text.trim() != "0");
    let order = number("FAKE_CUDA_SHUFFLE").map_or(Order::InOrder, Order::Shuffled);
    let options = Options {
        order,
        races: checks,
        uninitialised: checks,
        ..Options::default()
    };
    Config {
        memory: mib.map_or(MEMORY, |mib| mib << 20),
        options,
    }
});

/// A device attribute (`CUdevice_attribute`): those of an A100 where they matter, 0 elsewhere.
pub(crate) fn attribute(attribute: u32) -> i32 {
    match attribute {
        1..=3 => 1024,  // threads of a block, in all, in x, in y
        4 => 64,        // ... in z
        5 => i32::MAX,  // blocks of a grid in x
        6 | 7 => 65535, // ... in y, in z
        8 => SHARED_DEFAULT as i32,
        9 => 65536,             // constant memory
        10 => 32,               // warp
        11 => i32::MAX,         // pitch
        12 | 82 => 65536,       // registers of a block, of a multiprocessor
        13 => 1_410_000,        // clock, kHz
        14 => 512,              // texture alignment
        15 | 19 | 31 | 41 => 1, // overlap, mapped host memory, concurrent kernels, unified addressing
        16 => 108,              // multiprocessors
        36 => 1_215_000,        // memory clock, kHz
        37 => 5120,             // memory bus, bits
        38 => 40 << 20,         // L2
        39 => 2048,             // threads of a multiprocessor
        40 => 3,                // copy engines
        75 => (CAPABILITY / 10) as i32,
        76 => (CAPABILITY % 10) as i32,
        78..=80 => 1, // stream priorities, caching of global and local memory
        81 => SHARED_PER_SM as i32,
        87 => 2, // f32 per f64
        90 => 1, // preemption
        97 => SHARED_OPT_IN as i32,
        106 => 32, // blocks of a multiprocessor
        111 => SHARED_RESERVED as i32,
        115 => 0, // memory pools: none, so that bindings use plain allocations
        _ => 0,
    }
}
