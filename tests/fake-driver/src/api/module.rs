//! Modules, kernels, launches.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use ptx_emulator::Module;

use super::{api, put, text};
use crate::codes::{Code, Outcome};
use crate::config::{CAPABILITY, SHARED_DEFAULT, SHARED_OPT_IN, SHARED_PER_SM, SHARED_RESERVED};
use crate::log::log;
use crate::state::{Function, LoadedModule, MEMORY, context};
use crate::work::{Work, submit};

/// Registers that a thread is taken to use, for occupancy.
const REGISTERS: i32 = 64;

/// The architecture that PTX is for: 80 of `.target sm_80`.
fn target(ptx: &str) -> Option<u32> {
    let rest = ptx.split(".target").nth(1)?.trim_start().strip_prefix("sm_")?;
    rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
}

/// Parses a module's image; the error has a message.
unsafe fn parse(image: *const c_void) -> Result<Module, (Code, String)> {
    if image.is_null() {
        return Err((Code::INVALID_VALUE, "no image".to_owned()));
    }
    // SAFETY: an image is at least four bytes long.
    let start = unsafe { image.cast::<[u8; 4]>().read_unaligned() };
    if &start == b"\x7fELF" || start == [0x50, 0xed, 0x55, 0xba] {
        return Err((Code::NO_BINARY, "a cubin or fatbin; this device runs PTX only".to_owned()));
    }
    // SAFETY: what is no binary is text, and ends in a zero.
    let ptx = unsafe { CStr::from_ptr(image.cast()) }.to_string_lossy();
    if let Some(target) = target(&ptx).filter(|target| *target > CAPABILITY) {
        return Err((Code::NO_BINARY, format!("PTX for sm_{target} on a device of sm_{CAPABILITY}")));
    }
    Module::parse(&ptx).map_err(|error| (Code::INVALID_PTX, error.to_string()))
}

unsafe fn load(module: *mut *mut c_void, image: *const c_void) -> Result<(), (Code, String)> {
    let quiet = |code| (code, String::new());
    context().and_then(|mut state| state.outside_capture()).map_err(quiet)?;
    // SAFETY: passed on.
    let parsed = unsafe { parse(image)? };
    let mut state = context().map_err(quiet)?;
    let handle = state.handle();
    state.modules.insert(handle, Arc::new(LoadedModule { module: parsed }));
    // SAFETY: passed on.
    unsafe { put(module, handle as *mut c_void) }.map_err(quiet)
}

fn report((code, message): (Code, String)) -> Code {
    if !message.is_empty() {
        eprintln!("fake CUDA driver: module: {message}");
    }
    code
}

fn function(handle: *mut c_void) -> Outcome<Arc<Function>> {
    context()?
        .functions
        .get(&(handle as usize))
        .map(Arc::clone)
        .ok_or(Code::INVALID_HANDLE)
}

/// Lays out the parameters that `values` points at, or takes the buffer of `extra`.
unsafe fn parameters(function: &Function, values: *mut *mut c_void, extra: *mut *mut c_void) -> Outcome<Arc<[u8]>> {
    let layout = function.module.module.params(&function.name).ok_or(Code::INVALID_HANDLE)?;
    let bytes = layout.last().map_or(0, |(offset, size)| offset + size);
    let mut buffer = vec![0_u8; bytes];
    if !values.is_null() {
        for (index, (offset, size)) in layout.iter().enumerate() {
            // SAFETY: the API asks for a pointer per parameter of the kernel.
            unsafe {
                let value = values.add(index).read();
                if value.is_null() {
                    return Err(Code::INVALID_VALUE);
                }
                std::ptr::copy_nonoverlapping(value.cast::<u8>(), buffer.as_mut_ptr().add(*offset), *size);
            }
        }
    } else if !extra.is_null() || bytes > 0 {
        return Err(Code::INVALID_VALUE); // the packed form is not used by the binding
    }
    Ok(buffer.into())
}

unsafe fn launch(
    handle: *mut c_void,
    grid: [u32; 3],
    block: [u32; 3],
    shared: u32,
    stream: usize,
    values: [*mut *mut c_void; 2],
) -> Outcome {
    let function = function(handle)?;
    let shared = shared as usize;
    let threads = block.iter().try_fold(1_u32, |n, size| n.checked_mul(*size)).unwrap_or(0);
    let fits =
        threads > 0 && threads <= function.max_threads() && block[2] <= 64 && grid.iter().all(|n| *n > 0) && grid[1].max(grid[2]) <= 65535;
    let limit = function.dynamic_limit();
    if !fits || shared > limit || shared + function.static_shared() > SHARED_OPT_IN {
        let name = &function.name;
        eprintln!(
            "fake CUDA driver: launch of {name} refused: grid {grid:?}, block {block:?}, {shared} bytes of shared memory (limit {limit})"
        );
        return Err(Code::INVALID_VALUE);
    }
    // SAFETY: passed on.
    let params = unsafe { parameters(&function, values[0], values[1])? };
    // SAFETY: a launch names no host memory.
    unsafe {
        submit(
            stream,
            Work::Launch {
                function,
                grid,
                block,
                shared,
                params,
            },
        )
    }
}

fn occupancy(function: &Function, threads: c_int, dynamic: usize) -> c_int {
    if threads <= 0 || threads > 1024 {
        return 0;
    }
    let warps = (threads + 31) / 32;
    let shared = function.static_shared() + dynamic + SHARED_RESERVED;
    let by_shared = c_int::try_from(SHARED_PER_SM / shared).unwrap_or(0);
    let by_registers = 65536 / (REGISTERS * 32 * warps);
    (64 / warps).min(32).min(by_shared).min(by_registers)
}

api! {
    fn cuModuleLoadData(module: *mut *mut c_void, image: *const c_void) {
        log("cuModuleLoadData");
        load(module, image).map_err(report)
    }
    fn cuModuleLoadDataEx(module: *mut *mut c_void, image: *const c_void, count: c_uint, options: *const c_int, values: *mut *mut c_void) {
        log("cuModuleLoadDataEx");
        load(module, image).map_err(|(code, message)| {
            // options 5 and 6: a buffer for the error log, and its size
            let (mut buffer, mut room) = (std::ptr::null_mut::<u8>(), 0_usize);
            for index in 0..count as usize {
                // SAFETY: the API asks for `count` options and values.
                match unsafe { options.add(index).read() } {
                    5 => buffer = unsafe { values.add(index).read() }.cast(),
                    6 => room = unsafe { values.add(index).read() } as usize,
                    _ => {}
                }
            }
            if !buffer.is_null() && room > 0 {
                let bytes = message.len().min(room - 1);
                // SAFETY: the buffer has `room` bytes.
                unsafe {
                    std::ptr::copy_nonoverlapping(message.as_ptr(), buffer, bytes);
                    buffer.add(bytes).write(0);
                }
            }
            report((code, message))
        })
    }
    fn cuModuleLoad(module: *mut *mut c_void, path: *const c_char) {
        log("cuModuleLoad");
        let mut image = std::fs::read(text(path)?).map_err(|_| Code::FILE_NOT_FOUND)?;
        image.extend([0; 4]);
        load(module, image.as_ptr().cast()).map_err(report)
    }
    fn cuModuleUnload(module: *mut c_void) {
        log("cuModuleUnload");
        let mut state = context()?;
        state.outside_capture()?;
        let handle = module as usize;
        let removed = state.modules.remove(&handle).ok_or(Code::INVALID_HANDLE)?;
        state.functions.retain(|_, function| !Arc::ptr_eq(&function.module, &removed));
        drop(state);
        removed.module.unload(&MEMORY).map_err(|_| Code::INVALID_VALUE)
    }
    fn cuModuleGetFunction(found: *mut *mut c_void, module: *mut c_void, name: *const c_char) {
        let name = text(name)?;
        log(format!("cuModuleGetFunction name={name}"));
        let mut state = context()?;
        let module = state.modules.get(&(module as usize)).map(Arc::clone).ok_or(Code::INVALID_HANDLE)?;
        let shared = module.module.static_shared(&name).ok_or(Code::NOT_FOUND)?;
        let limit = i32::try_from(SHARED_DEFAULT.saturating_sub(shared)).unwrap_or(0);
        let handle = state.handle();
        state.functions.insert(handle, Arc::new(Function { module, name, dynamic_limit: AtomicI32::new(limit) }));
        put(found, handle as *mut c_void)
    }
    fn cuModuleGetGlobal_v2(pointer: *mut u64, bytes: *mut usize, module: *mut c_void, name: *const c_char) {
        let name = text(name)?;
        log(format!("cuModuleGetGlobal_v2 name={name}"));
        let module = context()?.modules.get(&(module as usize)).map(Arc::clone).ok_or(Code::INVALID_HANDLE)?;
        let (address, size) = module.module.global(&MEMORY, &name).map_err(|_| Code::OUT_OF_MEMORY)?.ok_or(Code::NOT_FOUND)?;
        super::put_optional(pointer, address);
        super::put_optional(bytes, size);
        Ok(())
    }
    fn cuFuncGetAttribute(value: *mut c_int, attribute: c_int, handle: *mut c_void) {
        let function = function(handle)?;
        let answer = match attribute {
            0 => c_int::try_from(function.max_threads()).unwrap_or(c_int::MAX),
            1 => c_int::try_from(function.static_shared()).unwrap_or(c_int::MAX),
            4 => REGISTERS,
            5 => 90,
            6 => CAPABILITY as c_int,
            8 => function.dynamic_limit.load(Ordering::Relaxed),
            9 => -1,
            _ => 0,
        };
        put(value, answer)
    }
    fn cuFuncSetAttribute(handle: *mut c_void, attribute: c_int, value: c_int) {
        log(format!("cuFuncSetAttribute attribute={attribute} value={value}"));
        let function = function(handle)?;
        match attribute {
            8 => {
                let asked = usize::try_from(value).map_err(|_| Code::INVALID_VALUE)?;
                if asked + function.static_shared() > SHARED_OPT_IN {
                    return Err(Code::INVALID_VALUE);
                }
                function.dynamic_limit.store(value, Ordering::Relaxed);
                Ok(())
            }
            9 if (-1..=100).contains(&value) => Ok(()), // how to split the L1 cache: a hint
            _ => Err(Code::INVALID_VALUE),
        }
    }
    fn cuFuncSetCacheConfig(handle: *mut c_void, _config: c_uint) {
        function(handle).map(|_| ())
    }
    fn cuFuncGetName(name: *mut *const c_char, _handle: *mut c_void) {
        put(name, std::ptr::null())?;
        Err(Code::NOT_SUPPORTED)
    }
    fn cuLaunchKernel(
        handle: *mut c_void,
        grid_x: c_uint,
        grid_y: c_uint,
        grid_z: c_uint,
        block_x: c_uint,
        block_y: c_uint,
        block_z: c_uint,
        shared: c_uint,
        stream: *mut c_void,
        values: *mut *mut c_void,
        extra: *mut *mut c_void,
    ) {
        launch(handle, [grid_x, grid_y, grid_z], [block_x, block_y, block_z], shared, stream as usize, [values, extra])
    }
    fn cuLaunchCooperativeKernel(
        _handle: *mut c_void,
        _grid_x: c_uint,
        _grid_y: c_uint,
        _grid_z: c_uint,
        _block_x: c_uint,
        _block_y: c_uint,
        _block_z: c_uint,
        _shared: c_uint,
        _stream: *mut c_void,
        _values: *mut *mut c_void,
    ) {
        log("cuLaunchCooperativeKernel");
        Err(Code::NOT_SUPPORTED) // blocks are not all there at once
    }
    fn cuOccupancyMaxActiveBlocksPerMultiprocessor(blocks: *mut c_int, handle: *mut c_void, threads: c_int, dynamic: usize) {
        let function = function(handle)?;
        put(blocks, occupancy(&function, threads, dynamic))
    }
    fn cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks: *mut c_int, handle: *mut c_void, threads: c_int, dynamic: usize, _flags: c_uint) {
        let function = function(handle)?;
        put(blocks, occupancy(&function, threads, dynamic))
    }
}
