//! What the driver knows: memory, modules, streams, events, graphs.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ptx_emulator::{Memory, Module};

use crate::codes::{Code, Outcome};
use crate::work::Work;

/// Handle of the one context.
pub(crate) const CONTEXT: usize = 0x1000;

/// A loaded module.
pub(crate) struct LoadedModule {
    pub module: Module,
}

/// A kernel of a loaded module.
pub(crate) struct Function {
    pub module: Arc<LoadedModule>,
    pub name: String,
    /// Bytes of dynamic shared memory that launches may ask for.
    pub dynamic_limit: AtomicI32,
}

/// A stream: nothing but perhaps a part in a capture.
#[derive(Default)]
pub(crate) struct Stream {
    pub capture: Option<u64>,
    pub flags: u32,
    pub priority: i32,
}

/// An event.
#[derive(Default)]
pub(crate) struct Event {
    pub timed: bool,
    pub recorded: Option<Instant>,
    /// The capture in which it was last recorded, and by which stream.
    pub captured: Option<(u64, usize)>,
}

/// Stream capture modes (`CUstreamCaptureMode`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CaptureMode {
    Global,
    ThreadLocal,
    Relaxed,
}

/// A capture under way.
pub(crate) struct Capture {
    pub origin: usize,
    pub mode: CaptureMode,
    pub thread: std::thread::ThreadId,
    pub nodes: Vec<Work>,
    pub valid: bool,
    /// Streams that joined the capture and whether the origin has waited for their last work.
    pub joined: HashMap<usize, bool>,
}

/// Everything behind handles.
#[derive(Default)]
pub(crate) struct State {
    next: usize,
    pub modules: HashMap<usize, Arc<LoadedModule>>,
    pub functions: HashMap<usize, Arc<Function>>,
    pub streams: HashMap<usize, Stream>,
    pub events: HashMap<usize, Event>,
    pub captures: HashMap<u64, Capture>,
    pub graphs: HashMap<usize, Vec<Work>>,
    pub executables: HashMap<usize, Arc<[Work]>>,
    /// Pinned host memory: address to size.
    pub pinned: BTreeMap<usize, usize>,
    /// The context was broken by a kernel's fault; every later call says so.
    pub broken: Option<Code>,
    pub initialised: bool,
}

impl State {
    /// A new handle; handles look like addresses and are not used again.
    pub(crate) fn handle(&mut self) -> usize {
        self.next += 0x10;
        0x10_0000 + self.next
    }

    /// The stream behind a handle; the default streams exist from the start.
    pub(crate) fn stream(&mut self, handle: usize) -> Outcome<&mut Stream> {
        if handle <= 2 {
            return Ok(self.streams.entry(handle).or_default());
        }
        self.streams.get_mut(&handle).ok_or(Code::INVALID_HANDLE)
    }

    /// Whether host memory at `address` is pinned.
    pub(crate) fn is_pinned(&self, address: usize, bytes: usize) -> bool {
        self.pinned
            .range(..=address)
            .next_back()
            .is_some_and(|(start, len)| address + bytes <= start + len)
    }
}

static STATE: LazyLock<Mutex<State>> = LazyLock::new(Mutex::default);

/// The state.
pub(crate) fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The device's memory.
pub(crate) static MEMORY: LazyLock<Memory> = LazyLock::new(Memory::new);

thread_local! {
    static CURRENT: Cell<usize> = const { Cell::new(0) };
    static MODE: Cell<CaptureMode> = const { Cell::new(CaptureMode::Global) };
}

/// The context current to this thread.
pub(crate) fn current() -> usize {
    CURRENT.get()
}

/// Makes a context current to this thread.
pub(crate) fn set_current(context: usize) {
    CURRENT.set(context);
}

/// This thread's attitude to captures.
pub(crate) fn capture_mode() -> CaptureMode {
    MODE.get()
}

/// Changes it, and gives the one before.
pub(crate) fn exchange_capture_mode(mode: CaptureMode) -> CaptureMode {
    MODE.replace(mode)
}

/// The state, for a call that needs a working context.
pub(crate) fn context() -> Outcome<MutexGuard<'static, State>> {
    let state = state();
    if !state.initialised {
        return Err(Code::NOT_INITIALIZED);
    }
    if current() == 0 {
        return Err(Code::INVALID_CONTEXT);
    }
    match state.broken {
        Some(code) => Err(code),
        None => Ok(state),
    }
}

/// Fails where there is no working context.
pub(crate) fn check_context() -> Outcome {
    context().map(drop)
}

impl Function {
    /// Bytes of dynamic shared memory that a launch may ask for.
    pub(crate) fn dynamic_limit(&self) -> usize {
        usize::try_from(self.dynamic_limit.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// Threads that a block may have.
    pub(crate) fn max_threads(&self) -> u32 {
        self.module.module.max_threads(&self.name).unwrap_or(0)
    }

    /// Bytes of shared memory declared in the kernel.
    pub(crate) fn static_shared(&self) -> usize {
        self.module.module.static_shared(&self.name).unwrap_or(0)
    }
}
