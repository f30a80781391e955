//! The same launches on the card that is there, beside the emulator: with `HARK_TEST_REAL_GPU=1`.
//!
//! Every launch runs on both, from the same memory. What the card made then takes the place of what the emulator made, so that the
//! tests' own bounds judge the card; how far the two were apart goes to the file that `HARK_TEST_KERNEL_REPORT` names, one line a
//! launch. `HARK_GPU__DRIVER`, `HARK_GPU__NVRTC` and `HARK_GPU__CACHE` are those of the server.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use half::f16;
use hark::gpu::kernels::SOURCES;
use hark::gpu::{self, Buffer, Gpu, Pointer, Settings, Shape};
use ptx_emulator::Memory;
use serde_json::json;

use crate::support::{Arg, Kind};

/// The card for the time of a launch; none unless it was asked for. A card that was asked for and cannot be opened fails the test.
pub(crate) fn card() -> Option<MutexGuard<'static, Gpu>> {
    static CARD: OnceLock<Option<Mutex<Gpu>>> = OnceLock::new();
    let open = || {
        std::env::var_os("HARK_TEST_REAL_GPU")?;
        let path = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let settings = Settings {
            device: 0,
            driver: path("HARK_GPU__DRIVER"),
            nvrtc: path("HARK_GPU__NVRTC"),
            cache: path("HARK_GPU__CACHE"),
        };
        Some(Mutex::new(Gpu::open(&settings).unwrap_or_else(|error| panic!("{error}"))))
    };
    let card = CARD.get_or_init(open).as_ref()?;
    Some(card.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Memory that a launch was given, as it was before.
struct Given {
    size: usize,
    before: Vec<u8>,
    buffer: Buffer<u16>,
}

/// A launch on the card, to be compared with the emulator's.
pub(crate) struct Twin {
    kernel: String,
    given: BTreeMap<u64, Given>,
}

impl Twin {
    /// Runs the kernel on the card with copies of all memory that the arguments point into.
    pub(crate) fn run(gpu: &Gpu, file: &str, kernel: &str, shape: Shape, args: &[Arg], memory: &Memory) -> Self {
        let mut given = BTreeMap::new();
        let mut words = Vec::new();
        for arg in args {
            words.push(match *arg {
                Arg::Int(value) => gpu::Arg::Int(value),
                Arg::Float(value) => gpu::Arg::Float(value),
                Arg::Place(0) => gpu::Arg::Pointer(Pointer::NULL),
                Arg::Place(place) => {
                    let (start, size) = memory.containing(place).expect("an argument that points nowhere");
                    let given = given.entry(start).or_insert_with(|| {
                        let before = bytes(memory, start, size);
                        let halves: Vec<u16> = before.as_chunks().0.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
                        let buffer = gpu.upload(&halves).unwrap();
                        Given { size, before, buffer }
                    });
                    gpu::Arg::Pointer(given.buffer.at((place - start) as usize / 2).unwrap())
                }
            });
        }
        let (file, _) = SOURCES.iter().find(|(name, _)| *name == file).expect("no such kernel source");
        let function = gpu.kernel(file, kernel, shape.shared).unwrap_or_else(|error| panic!("{error}"));
        // SAFETY: the emulator, which runs the same, refuses a launch that does not fit its kernel or leaves its memory.
        unsafe { gpu.launch(&function, shape, &words) }.unwrap_or_else(|error| panic!("{kernel} on the card: {error}"));
        gpu.wait().unwrap_or_else(|error| panic!("{kernel} on the card: {error}"));
        Twin {
            kernel: kernel.to_owned(),
            given,
        }
    }

    /// Puts what the card made in the place of what the emulator made, and reports how they differ.
    pub(crate) fn settle(self, gpu: &Gpu, memory: &Memory, kinds: &BTreeMap<u64, Kind>) {
        let (mut values, mut differing, mut largest) = (0_u64, 0_u64, 0.0_f64);
        for (start, given) in self.given {
            let kind = kinds.get(&start).copied().unwrap_or(Kind::Int);
            let width = kind.width();
            let emulated = bytes(memory, start, given.size);
            let found: Vec<u8> = gpu
                .download(&given.buffer)
                .unwrap()
                .iter()
                .flat_map(|half| half.to_le_bytes())
                .collect();
            let parts = given
                .before
                .chunks_exact(width)
                .zip(emulated.chunks_exact(width))
                .zip(found.chunks_exact(width));
            for (index, ((before, emulated), found)) in parts.enumerate() {
                values += u64::from(before != emulated || before != found);
                if emulated != found {
                    differing += 1;
                    let off = (kind.number(emulated) - kind.number(found)).abs();
                    largest = largest.max(if off.is_nan() { f64::MAX } else { off });
                    memory.write(start + (index * width) as u64, found).unwrap();
                }
            }
        }
        if let Some(path) = std::env::var_os("HARK_TEST_KERNEL_REPORT") {
            let line = json!({"kernel": self.kernel, "launches": 1, "values": values, "differing": differing, "largest": largest});
            let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
            writeln!(file, "{line}").unwrap();
        }
    }
}

impl Kind {
    fn width(self) -> usize {
        match self {
            Kind::Half | Kind::Short => 2,
            Kind::Float | Kind::Int => 4,
        }
    }

    fn number(self, bytes: &[u8]) -> f64 {
        match (self, bytes) {
            (Kind::Half, &[a, b]) => f16::from_le_bytes([a, b]).to_f64(),
            (Kind::Short, &[a, b]) => f64::from(i16::from_le_bytes([a, b])),
            (Kind::Float, &[a, b, c, d]) => f64::from(f32::from_le_bytes([a, b, c, d])),
            (Kind::Int, &[a, b, c, d]) => f64::from(i32::from_le_bytes([a, b, c, d])),
            _ => f64::NAN,
        }
    }
}

fn bytes(memory: &Memory, start: u64, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    memory.read(start, &mut bytes).unwrap();
    bytes
}
