//! What streams do: launches, copies, fills. Done at once, or recorded and done when the graph is launched.

use std::ffi::c_void;
use std::sync::Arc;

use ptx_emulator::{FaultKind, Launch};

use crate::codes::{Code, Outcome};
use crate::config::CONFIG;
use crate::log::log;
use crate::state::{Function, MEMORY, State, state};

/// A host function of `cuLaunchHostFunc`.
pub(crate) type HostFunction = unsafe extern "C" fn(*mut c_void);

/// A piece of work. Host memory is kept by address and read when the work is done, as a device does it.
#[derive(Clone)]
pub(crate) enum Work {
    Launch {
        function: Arc<Function>,
        grid: [u32; 3],
        block: [u32; 3],
        shared: usize,
        params: Arc<[u8]>,
    },
    ToDevice {
        call: &'static str,
        to: u64,
        from: usize,
        bytes: usize,
    },
    ToHost {
        call: &'static str,
        to: usize,
        from: u64,
        bytes: usize,
    },
    Within {
        call: &'static str,
        to: u64,
        from: u64,
        bytes: usize,
    },
    Fill {
        call: &'static str,
        to: u64,
        bytes: usize,
        pattern: Vec<u8>,
    },
    Host {
        function: HostFunction,
        data: usize,
    },
}

impl Work {
    /// The line for the log.
    fn describe(&self, state: &State, suffix: &str) -> String {
        let size = |[x, y, z]: [u32; 3]| format!("{x}x{y}x{z}");
        match self {
            Work::Launch {
                function,
                grid,
                block,
                shared,
                ..
            } => {
                format!(
                    "cuLaunchKernel name={} grid={} block={} shared={shared}{suffix}",
                    function.name,
                    size(*grid),
                    size(*block)
                )
            }
            Work::ToDevice {
                call, from: host, bytes, ..
            }
            | Work::ToHost { call, to: host, bytes, .. } => {
                format!("{call} bytes={bytes} pinned={}{suffix}", u8::from(state.is_pinned(*host, *bytes)))
            }
            Work::Within { call, bytes, .. } | Work::Fill { call, bytes, .. } => format!("{call} bytes={bytes}{suffix}"),
            Work::Host { .. } => format!("cuLaunchHostFunc{suffix}"),
        }
    }

    /// Does the work.
    ///
    /// # Safety
    /// Host memory that it names must be there.
    unsafe fn perform(&self) -> Outcome {
        let bounds = |error: ptx_emulator::MemoryError| {
            eprintln!("fake CUDA driver: {error}");
            Code::INVALID_VALUE
        };
        if let Work::ToDevice { bytes: 0, .. }
        | Work::ToHost { bytes: 0, .. }
        | Work::Within { bytes: 0, .. }
        | Work::Fill { bytes: 0, .. } = self
        {
            return Ok(());
        }
        match self {
            Work::Launch {
                function,
                grid,
                block,
                shared,
                params,
            } => {
                let launch = Launch {
                    grid: *grid,
                    block: *block,
                    dynamic_shared: *shared,
                    params,
                };
                match function.module.module.launch(&MEMORY, &function.name, &launch, &CONFIG.options) {
                    Ok(_) => Ok(()),
                    Err(fault) => {
                        eprintln!("fake CUDA driver: {fault}");
                        if matches!(fault.kind, FaultKind::Launch { .. }) {
                            return Err(Code::INVALID_VALUE);
                        }
                        state().broken = Some(Code::ILLEGAL_ADDRESS);
                        Err(Code::ILLEGAL_ADDRESS)
                    }
                }
            }
            Work::ToDevice { to, from, bytes, .. } => {
                // SAFETY: promised by the caller.
                let data = unsafe { std::slice::from_raw_parts(*from as *const u8, *bytes) };
                MEMORY.write(*to, data).map_err(bounds)
            }
            Work::ToHost { to, from, bytes, .. } => {
                // SAFETY: promised by the caller; host buffers may be uninitialised, but bytes are only written.
                let data = unsafe { std::slice::from_raw_parts_mut(*to as *mut u8, *bytes) };
                MEMORY.read(*from, data).map_err(bounds)
            }
            Work::Within { to, from, bytes, .. } => MEMORY.copy(*to, *from, *bytes).map_err(bounds),
            Work::Fill { to, bytes, pattern, .. } => MEMORY.fill(*to, *bytes, pattern).map_err(bounds),
            Work::Host { function, data } => {
                // SAFETY: promised by the caller.
                unsafe { function(*data as *mut c_void) };
                Ok(())
            }
        }
    }
}

/// Does work now, whatever any stream is about.
///
/// # Safety
/// As for `Work::perform`.
pub(crate) unsafe fn run(work: &Work) -> Outcome {
    let line = work.describe(&state(), "");
    log(line);
    // SAFETY: passed on.
    unsafe { work.perform() }
}

/// Does work on a stream, or records it where the stream is capturing.
///
/// # Safety
/// As for `Work::perform`, also for every later launch of the graph that it becomes part of.
pub(crate) unsafe fn submit(stream: usize, work: Work) -> Outcome {
    {
        let mut state = crate::state::context()?;
        if let Some(id) = state.stream(stream)?.capture {
            let line = work.describe(&state, " captured=1");
            log(line);
            let Some(capture) = state.captures.get_mut(&id) else {
                return Err(Code::CAPTURE_INVALIDATED);
            };
            if !capture.valid {
                return Err(Code::CAPTURE_INVALIDATED);
            }
            if let Some(joined) = capture.joined.get_mut(&stream) {
                *joined = false;
            }
            capture.nodes.push(work);
            return Ok(());
        }
    }
    // SAFETY: passed on.
    unsafe { run(&work) }
}

/// Does the work of a graph.
///
/// # Safety
/// As for `Work::perform`, of all of it.
pub(crate) unsafe fn replay(nodes: &[Work]) -> Outcome {
    for work in nodes {
        let line = work.describe(&state(), " graph=1");
        log(line);
        // SAFETY: passed on.
        unsafe { work.perform()? };
    }
    Ok(())
}
