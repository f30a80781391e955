//! Modules and launches.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::decode::decode;
use crate::error::{Fault, FaultKind, ParseError};
use crate::exec::{Block, Machine, supported};
use crate::kernel::Kernel;
use crate::memory::{Memory, MemoryError};
use crate::parse::parse_module;
use crate::types::Space;

/// Threads that a block may have.
const MAX_THREADS: u32 = 1024;

/// Warp instructions of a launch that is over before other threads would have woken up.
const SMALL_LAUNCH: u64 = 4000;

/// In which order warps and blocks run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Order {
    /// Warps in turn by index, blocks by index (several at a time).
    #[default]
    InOrder,
    /// Warps in a new order each round with short turns, blocks in another order; the same for the same seed.
    Shuffled(u64),
}

/// What to check in a launch, and how to run it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Order of warps and blocks.
    pub order: Order,
    /// Report threads of a block that meet in shared memory without a barrier in between.
    pub races: bool,
    /// Report reads of shared and global memory that was never written.
    pub uninitialised: bool,
    /// Warp instructions after which the launch is given up.
    pub instruction_limit: u64,
}

impl Default for Options {
    /// In order, everything checked, at most 1 G warp instructions.
    fn default() -> Self {
        Options {
            order: Order::InOrder,
            races: true,
            uninitialised: true,
            instruction_limit: 1 << 30,
        }
    }
}

/// A launch.
#[derive(Clone, Debug)]
pub struct Launch<'a> {
    /// Blocks in x, y, z.
    pub grid: [u32; 3],
    /// Threads of a block in x, y, z; at most 1024 in all.
    pub block: [u32; 3],
    /// Bytes of dynamic shared memory.
    pub dynamic_shared: usize,
    /// The parameters, laid out as the kernel declares them; see [`Params`].
    pub params: &'a [u8],
}

/// What a launch did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Instructions, counted once for all lanes that ran one together.
    pub warp_instructions: u64,
    /// `mma` instructions among them.
    pub mma: u64,
}

/// Builds the bytes of parameters, each aligned to its size as PTX has it.
#[derive(Clone, Debug, Default)]
pub struct Params(Vec<u8>);

impl Params {
    /// No parameters yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends bytes that begin at a multiple of `align`: for structures.
    #[must_use]
    pub fn aligned(mut self, bytes: &[u8], align: usize) -> Self {
        self.0.resize(self.0.len().next_multiple_of(align.max(1)), 0);
        self.0.extend_from_slice(bytes);
        self
    }

    /// Appends an address or another 64-bit number.
    #[must_use]
    pub fn u64(self, value: u64) -> Self {
        self.aligned(&value.to_le_bytes(), 8)
    }

    /// Appends a 32-bit number.
    #[must_use]
    pub fn u32(self, value: u32) -> Self {
        self.aligned(&value.to_le_bytes(), 4)
    }

    /// Appends a signed 32-bit number.
    #[must_use]
    pub fn i32(self, value: i32) -> Self {
        self.aligned(&value.to_le_bytes(), 4)
    }

    /// Appends a float.
    #[must_use]
    pub fn f32(self, value: f32) -> Self {
        self.aligned(&value.to_le_bytes(), 4)
    }

    /// The bytes, for [`Launch::params`].
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

struct Global {
    name: String,
    bytes: Vec<u8>,
    constant: bool,
}

/// A PTX module: kernels ready to run, and its variables.
pub struct Module {
    kernels: HashMap<String, Kernel>,
    globals: Vec<Global>,
    /// Addresses of the variables in each memory that the module was used with.
    instances: Mutex<HashMap<u32, Arc<[u64]>>>,
}

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Module")
            .field("kernels", &self.kernels.keys())
            .finish_non_exhaustive()
    }
}

impl Module {
    /// Parses and decodes all kernels of a module.
    pub fn parse(ptx: &str) -> Result<Module, ParseError> {
        let source = parse_module(ptx)?;
        let mut kernels = HashMap::new();
        for entry in &source.entries {
            kernels.insert(entry.name.to_owned(), decode(&source, entry)?);
        }
        let globals = source.order.iter().filter_map(|name| {
            let variable = source.variables.get(name)?;
            let bytes = variable.initial.clone().unwrap_or_else(|| vec![0; variable.bytes]);
            Some(Global {
                name: (*name).to_owned(),
                bytes,
                constant: variable.space == Space::Const,
            })
        });
        Ok(Module {
            kernels,
            globals: globals.collect(),
            instances: Mutex::default(),
        })
    }

    /// Names of the kernels.
    pub fn kernels(&self) -> impl Iterator<Item = &str> {
        self.kernels.keys().map(String::as_str)
    }

    /// Byte offset and size of each parameter of a kernel.
    pub fn params(&self, kernel: &str) -> Option<Vec<(usize, usize)>> {
        self.kernels
            .get(kernel)
            .map(|k| k.params.iter().map(|p| (p.offset, p.bytes)).collect())
    }

    /// Bytes of shared memory that a kernel declares itself.
    pub fn static_shared(&self, kernel: &str) -> Option<usize> {
        self.kernels.get(kernel).map(|k| k.shared_bytes)
    }

    /// Threads that a block of the kernel may have.
    pub fn max_threads(&self, kernel: &str) -> Option<u32> {
        self.kernels
            .get(kernel)
            .map(|k| k.max_threads.unwrap_or(MAX_THREADS).min(MAX_THREADS))
    }

    /// Address and size of a module-level variable, as it is in `memory`.
    pub fn global(&self, memory: &Memory, name: &str) -> Result<Option<(u64, usize)>, MemoryError> {
        let addresses = self.instance(memory)?;
        let found = self.globals.iter().zip(addresses.iter()).find(|(global, _)| global.name == name);
        Ok(found.map(|(global, address)| (*address, global.bytes.len())))
    }

    /// Frees the module's variables in `memory`.
    pub fn unload(&self, memory: &Memory) -> Result<(), MemoryError> {
        let addresses = self.instances.lock().unwrap_or_else(PoisonError::into_inner).remove(&memory.id());
        addresses
            .iter()
            .flat_map(|a| a.iter())
            .try_for_each(|address| memory.free(*address))
    }

    fn instance(&self, memory: &Memory) -> Result<Arc<[u64]>, MemoryError> {
        let mut instances = self.instances.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(addresses) = instances.get(&memory.id()) {
            return Ok(Arc::clone(addresses));
        }
        let mut addresses = Vec::with_capacity(self.globals.len());
        for global in &self.globals {
            let address = memory.alloc(global.bytes.len())?;
            memory.write(address, &global.bytes)?;
            if global.constant {
                memory.set_read_only(address);
            }
            addresses.push(address);
        }
        let addresses: Arc<[u64]> = addresses.into();
        instances.insert(memory.id(), Arc::clone(&addresses));
        Ok(addresses)
    }

    /// Runs a kernel over the whole grid, blocks in parallel on rayon's threads. Host calls on `memory` that change allocations wait
    /// until it ends.
    pub fn launch(&self, memory: &Memory, kernel: &str, launch: &Launch<'_>, options: &Options) -> Result<Stats, Fault> {
        let refuse = |detail: String| Fault {
            kind: FaultKind::Launch { detail },
            kernel: Arc::from(kernel),
            block: None,
            warp: None,
            lane: None,
            source_line: None,
            ptx_line: None,
        };
        let Some(found) = self.kernels.get(kernel) else {
            return Err(refuse("the module has no such kernel".to_owned()));
        };
        check(found, launch).map_err(refuse)?;
        let globals = self.instance(memory).map_err(|e| refuse(e.to_string()))?;
        let table = memory.table();
        let machine = Machine {
            kernel: found,
            table: &table,
            globals: &globals,
            grid: launch.grid,
            block: launch.block,
            dynamic_shared: launch.dynamic_shared,
            params: launch.params,
            options,
        };
        run_grid(&machine)
    }
}

fn check(kernel: &Kernel, launch: &Launch<'_>) -> Result<(), String> {
    if !supported() {
        return Err("the emulator needs a processor with AVX2, BMI, F16C, FMA, LZCNT and POPCNT".to_owned());
    }
    let threads = launch.block.iter().try_fold(1_u32, |n, size| n.checked_mul(*size)).unwrap_or(0);
    let most = kernel.max_threads.unwrap_or(MAX_THREADS).min(MAX_THREADS);
    if threads == 0 || threads > most {
        return Err(format!("a block of {:?} threads; at most {most} are possible", launch.block));
    }
    if launch
        .grid
        .iter()
        .try_fold(1_u32, |n, size| n.checked_mul(*size))
        .is_none_or(|n| n == 0)
    {
        return Err(format!("a grid of {:?} blocks", launch.grid));
    }
    if launch.params.len() < kernel.param_bytes {
        return Err(format!(
            "{} bytes of parameters, but the kernel takes {}",
            launch.params.len(),
            kernel.param_bytes
        ));
    }
    if kernel.local_bytes > 512 << 10 {
        return Err(format!("{} bytes of local memory of a thread", kernel.local_bytes));
    }
    let shared = kernel.shared_total(launch.dynamic_shared);
    if shared > 256 << 10 {
        return Err(format!("{shared} bytes of shared memory"));
    }
    Ok(())
}

fn run_grid(machine: &Machine<'_>) -> Result<Stats, Fault> {
    let [gx, gy, gz] = machine.grid.map(u64::from);
    let blocks = gx * gy * gz;
    let next = AtomicU64::new(0);
    let spent = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let outcome = Mutex::new((Stats::default(), None::<(u64, Fault)>));
    let charge = |instructions: u64| spent.fetch_add(instructions, Ordering::Relaxed) + instructions <= machine.options.instruction_limit;
    let work = || {
        let mut block = Block::new(machine);
        let mut fault = None;
        while !stop.load(Ordering::Relaxed) {
            let turn = next.fetch_add(1, Ordering::Relaxed);
            if turn >= blocks {
                break;
            }
            let index = block_index(machine, turn, blocks);
            let at = [index % gx, index / gx % gy, index / gx / gy].map(|n| n as u32);
            if let Err(found) = block.run(at, &charge) {
                stop.store(true, Ordering::Relaxed);
                fault = Some((turn, found));
                break;
            }
        }
        let stats = block.finish();
        let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
        outcome.0.warp_instructions += stats.warp_instructions;
        outcome.0.mma += stats.mma;
        // of several faults the one of the earliest block, as a run on one thread would have it
        if let Some(fault) = fault
            && outcome.1.as_ref().is_none_or(|(turn, _)| fault.0 < *turn)
        {
            outcome.1 = Some(fault);
        }
    };
    let workers = blocks.min(rayon::current_num_threads() as u64);
    let cost = &machine.kernel.block_cost;
    let expected = cost.load(Ordering::Relaxed).saturating_mul(blocks);
    if workers <= 1 || (1..SMALL_LAUNCH).contains(&expected) {
        work();
    } else {
        rayon::scope(|scope| (0..workers).for_each(|_| scope.spawn(|_| work())));
    }
    let (stats, fault) = outcome.into_inner().unwrap_or_else(PoisonError::into_inner);
    match fault {
        Some((_, fault)) => Err(fault),
        None => {
            cost.store(stats.warp_instructions / blocks, Ordering::Relaxed);
            Ok(stats)
        }
    }
}

/// The block that comes at place `turn`: itself, or with shuffling the image of it under a permutation.
fn block_index(machine: &Machine<'_>, turn: u64, blocks: u64) -> u64 {
    let Order::Shuffled(seed) = machine.options.order else {
        return turn;
    };
    // a step that shares no factor with the number of blocks visits each once
    let gcd = |mut a: u64, mut b: u64| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let mut step = crate::exec::mix(seed) % blocks;
    while gcd(step, blocks) != 1 {
        step = (step + 1) % blocks.max(2);
    }
    let start = crate::exec::mix(seed ^ 0x5bd1) % blocks;
    ((u128::from(turn) * u128::from(step) + u128::from(start)) % u128::from(blocks)) as u64
}
