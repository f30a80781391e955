//! What kernel tests share: compiled modules, an emulated card with typed memory, reproducible data, comparison.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use half::f16;
use hark::gpu::Shape;
use hark::gpu::kernels::SOURCES;
use hark::gpu::nvrtc::Compiler;
use hark::ops::rows::Row;
use ptx_emulator::{Launch, Memory, Module, Options, Order, Params};

use crate::device::{self, Twin};
use crate::skipped::skipped;

/// One architecture for each path through the sources: without asynchronous copies, with them, and the newest.
const ARCHITECTURES: [&str; 3] = ["compute_75", "compute_80", "compute_90"];

type Modules = Option<Arc<Vec<(&'static str, Module)>>>;

/// The modules of a source file, one for each architecture; none where there is no compiler. Compiled once a process.
fn modules(file: &str) -> Modules {
    static CACHE: Mutex<BTreeMap<String, Modules>> = Mutex::new(BTreeMap::new());
    let mut cache = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    cache.entry(file.to_owned()).or_insert_with(|| compile(file)).clone()
}

fn compile(file: &str) -> Modules {
    let (_, source) = SOURCES.iter().find(|(name, _)| *name == file).expect("no such kernel source");
    let compiler = compiler()?;
    let module = |arch| {
        let ptx = compiler.ptx(file, source, arch).unwrap_or_else(|error| panic!("{error}"));
        let module = Module::parse(&ptx).unwrap_or_else(|error| panic!("{file} for {arch}: {error}"));
        (arch, module)
    };
    Some(Arc::new(ARCHITECTURES.into_iter().map(module).collect()))
}

/// The run-time compiler; none, told and counted, where there is none.
pub(crate) fn compiler() -> Option<Compiler> {
    let path = std::env::var_os("HARK_GPU__NVRTC").map(PathBuf::from);
    match Compiler::open(path.as_deref()) {
        Ok(compiler) => Some(compiler),
        Err(error) => {
            skipped(&error.to_string());
            None
        }
    }
}

/// Runs `test` on a fresh card for each architecture, with warps and blocks in order and shuffled; beside a real card once, with the
/// architecture that is nearest to it.
pub(crate) fn each(file: &str, mut test: impl FnMut(&mut Card<'_>)) {
    let capability = device::card().map(|gpu| gpu.found().device.capability);
    let number = |arch: &str| arch.trim_start_matches("compute_").parse::<i32>().unwrap();
    let suits = |arch: &str| capability.is_none_or(|(major, minor)| number(arch) <= 10 * major + minor);
    let (modules, mut orders) = (modules(file), vec![Order::InOrder, Order::Shuffled(7)]);
    let mut modules: Vec<&(&str, Module)> = modules.iter().flat_map(|modules| modules.iter()).collect();
    if capability.is_some() {
        modules = modules.into_iter().rfind(|(arch, _)| suits(arch)).into_iter().collect();
        orders.truncate(1);
    }
    for (arch, module) in modules {
        for order in orders.iter().copied() {
            test(&mut Card {
                file,
                module,
                memory: Memory::new(),
                kinds: BTreeMap::new(),
                order,
                name: format!("{file} for {arch}, {order:?}"),
            });
        }
    }
}

/// An emulated card with one source file loaded.
pub(crate) struct Card<'a> {
    file: &'a str,
    module: &'a Module,
    memory: Memory,
    /// What lies in each allocation.
    kinds: BTreeMap<u64, Kind>,
    order: Order,
    name: String,
}

impl Card<'_> {
    /// Room for `count` values that nothing has written yet: to read one is a fault.
    pub(crate) fn room<T: Value>(&mut self, count: usize) -> u64 {
        let place = self.memory.alloc(count * size_of::<T>()).unwrap();
        self.kinds.insert(place, T::KIND);
        place
    }

    /// A copy of `values`.
    pub(crate) fn put<T: Value>(&mut self, values: &[T]) -> u64 {
        let place = self.room::<T>(values.len());
        self.set(place, 0, values);
        place
    }

    /// Descriptors of a step's streams.
    pub(crate) fn put_rows(&mut self, rows: &[Row]) -> u64 {
        self.put(&rows.iter().flat_map(Row::words).collect::<Vec<i32>>())
    }

    /// Overwrites values from number `first` on.
    pub(crate) fn set<T: Value>(&mut self, place: u64, first: usize, values: &[T]) {
        let mut bytes = Vec::with_capacity(size_of_val(values));
        values.iter().for_each(|value| value.append(&mut bytes));
        self.memory.write(place + (first * size_of::<T>()) as u64, &bytes).unwrap();
    }

    /// All values at a place.
    pub(crate) fn get<T: Value>(&self, place: u64) -> Vec<T> {
        self.get_part(place, 0, self.memory.size(place).unwrap() / size_of::<T>())
    }

    /// `count` values from number `first` on.
    pub(crate) fn get_part<T: Value>(&self, place: u64, first: usize, count: usize) -> Vec<T> {
        let mut bytes = vec![0; count * size_of::<T>()];
        self.memory.read(place + (first * size_of::<T>()) as u64, &mut bytes).unwrap();
        bytes.chunks_exact(size_of::<T>()).map(T::of).collect()
    }

    /// Runs a kernel; `shared` is dynamic shared memory in bytes. A fault of any kind fails the test.
    pub(crate) fn launch(&mut self, kernel: &str, grid: [usize; 3], block: [usize; 2], shared: usize, args: &[Arg]) {
        let params = args.iter().fold(Params::new(), |params, arg| match *arg {
            Arg::Place(place) => params.u64(place),
            Arg::Int(value) => params.i32(value),
            Arg::Float(value) => params.f32(value),
        });
        let launch = Launch {
            grid: grid.map(|count| count as u32),
            block: [block[0] as u32, block[1] as u32, 1],
            dynamic_shared: shared,
            params: params.bytes(),
        };
        let options = Options {
            order: self.order,
            ..Options::default() // with all checks
        };
        let gpu = device::card();
        let twin = gpu.as_deref().map(|gpu| {
            let shape = Shape { grid, block, shared };
            Twin::run(gpu, self.file, kernel, shape, args, &self.memory)
        });
        if let Err(fault) = self.module.launch(&self.memory, kernel, &launch, &options) {
            panic!("{fault}");
        }
        if let (Some(twin), Some(gpu)) = (twin, gpu) {
            twin.settle(&gpu, &self.memory, &self.kinds);
        }
    }
}

impl Drop for Card<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with {}", self.name);
        }
    }
}

/// An argument of a kernel: an address (0 is null), an int or a float.
#[derive(Debug)]
pub(crate) enum Arg {
    Place(u64),
    Int(i32),
    Float(f32),
}

impl From<u64> for Arg {
    fn from(place: u64) -> Self {
        Arg::Place(place)
    }
}

impl From<usize> for Arg {
    fn from(value: usize) -> Self {
        Arg::Int(i32::try_from(value).unwrap())
    }
}

impl From<i32> for Arg {
    fn from(value: i32) -> Self {
        Arg::Int(value)
    }
}

impl From<f32> for Arg {
    fn from(value: f32) -> Self {
        Arg::Float(value)
    }
}

/// How the bytes of a value are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Half,
    Short,
    Float,
    Int,
}

/// What lies in a card's memory.
pub(crate) trait Value: Copy {
    const KIND: Kind;
    fn append(self, bytes: &mut Vec<u8>);
    fn of(bytes: &[u8]) -> Self;
}

macro_rules! values {
    ($($type:ty: $kind:ident),*) => {$(
        impl Value for $type {
            const KIND: Kind = Kind::$kind;

            fn append(self, bytes: &mut Vec<u8>) {
                bytes.extend(self.to_le_bytes());
            }

            fn of(bytes: &[u8]) -> Self {
                Self::from_le_bytes(bytes.try_into().unwrap())
            }
        }
    )*};
}

values!(i16: Short, u16: Short, i32: Int, u32: Int, f32: Float, f16: Half);

/// Numbers between -1 and 1 that repeat nowhere in step with the shapes.
pub(crate) struct Noise(u32);

impl Noise {
    pub(crate) fn new(seed: u64) -> Self {
        Noise((seed as u32).wrapping_mul(2_654_435_761).wrapping_add(12_345))
    }

    pub(crate) fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as f32 / 8_388_608.0 - 1.0
    }

    /// `count` numbers between `-scale` and `scale`.
    pub(crate) fn floats(&mut self, count: usize, scale: f32) -> Vec<f32> {
        (0..count).map(|_| self.next() * scale).collect()
    }

    /// The same in half precision.
    pub(crate) fn halves(&mut self, count: usize, scale: f32) -> Vec<f16> {
        (0..count).map(|_| f16::from_f32(self.next() * scale)).collect()
    }
}

/// `found` differs from `expected` by no more than `tolerance`.
#[track_caller]
pub(crate) fn close(name: &str, found: f64, expected: f64, tolerance: f64) {
    let off = (found - expected).abs();
    assert!(
        off <= tolerance,
        "{name}: {found} instead of {expected}, off by {off:e}, allowed {tolerance:e}"
    );
}

/// Saturating, as kernels store half precision.
pub(crate) fn saturated(value: f64) -> f64 {
    value.clamp(-65_504.0, 65_504.0)
}
