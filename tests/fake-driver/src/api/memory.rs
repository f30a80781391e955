//! Device memory, pinned host memory, copies, fills.

use std::alloc::{Layout, alloc, dealloc};
use std::ffi::{c_int, c_uint, c_void};

use super::{api, put};
use crate::codes::{Code, Outcome};
use crate::config::CONFIG;
use crate::log::log;
use crate::state::{MEMORY, check_context, context};
use crate::work::{Work, run, submit};

/// Host pages; pinned memory starts at one.
const PAGE: usize = 4096;

fn allocate(bytes: usize) -> Outcome<u64> {
    if bytes == 0 {
        return Err(Code::INVALID_VALUE);
    }
    if MEMORY.live_bytes().saturating_add(bytes) > CONFIG.memory {
        return Err(Code::OUT_OF_MEMORY);
    }
    MEMORY.alloc(bytes).map_err(|_| Code::OUT_OF_MEMORY)
}

fn release(address: u64) -> Outcome {
    if address == 0 {
        return Ok(());
    }
    MEMORY.free(address).map_err(|error| {
        eprintln!("fake CUDA driver: free: {error}");
        Code::INVALID_VALUE
    })
}

/// Work for a call that waits for it.
unsafe fn now(work: Work) -> Outcome {
    context()?.outside_capture()?;
    // SAFETY: passed on.
    unsafe { run(&work) }
}

fn repeat(value: &[u8], count: usize) -> Outcome<(usize, Vec<u8>)> {
    let bytes = count.checked_mul(value.len()).ok_or(Code::INVALID_VALUE)?;
    Ok((bytes, value.to_vec()))
}

api! {
    fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) {
        check_context()?;
        put(free, CONFIG.memory.saturating_sub(MEMORY.live_bytes()))?;
        put(total, CONFIG.memory)
    }
    fn cuMemAlloc_v2(pointer: *mut u64, bytes: usize) {
        log(format!("cuMemAlloc_v2 bytes={bytes}"));
        let mut state = context()?;
        state.outside_capture()?;
        put(pointer, allocate(bytes)?)
    }
    fn cuMemFree_v2(pointer: u64) {
        log("cuMemFree_v2");
        let mut state = context()?;
        state.outside_capture()?;
        release(pointer)
    }
    fn cuMemAllocAsync(pointer: *mut u64, bytes: usize, stream: *mut c_void) {
        log(format!("cuMemAllocAsync bytes={bytes}"));
        let mut state = context()?;
        state.not_capturing(stream as usize)?;
        put(pointer, allocate(bytes)?)
    }
    fn cuMemFreeAsync(pointer: u64, stream: *mut c_void) {
        log("cuMemFreeAsync");
        let mut state = context()?;
        state.not_capturing(stream as usize)?;
        release(pointer)
    }
    fn cuMemGetAddressRange_v2(base: *mut u64, size: *mut usize, pointer: u64) {
        check_context()?;
        let (start, bytes) = MEMORY.containing(pointer).ok_or(Code::NOT_FOUND)?;
        super::put_optional(base, start);
        super::put_optional(size, bytes);
        Ok(())
    }
    fn cuMemHostAlloc(pointer: *mut *mut c_void, bytes: usize, _flags: c_uint) {
        log(format!("cuMemHostAlloc bytes={bytes}"));
        let mut state = context()?;
        state.outside_capture()?;
        if bytes == 0 {
            return Err(Code::INVALID_VALUE);
        }
        let layout = Layout::from_size_align(bytes, PAGE).map_err(|_| Code::OUT_OF_MEMORY)?;
        let memory = alloc(layout);
        if memory.is_null() {
            return Err(Code::OUT_OF_MEMORY);
        }
        memory.write_bytes(0xcd, bytes);
        state.pinned.insert(memory as usize, bytes);
        put(pointer, memory.cast())
    }
    fn cuMemAllocHost_v2(pointer: *mut *mut c_void, bytes: usize) {
        match cuMemHostAlloc(pointer, bytes, 0) {
            0 => Ok(()),
            code => Err(Code(code)),
        }
    }
    fn cuMemFreeHost(pointer: *mut c_void) {
        log("cuMemFreeHost");
        let mut state = context()?;
        state.outside_capture()?;
        let bytes = state.pinned.remove(&(pointer as usize)).ok_or(Code::INVALID_VALUE)?;
        let layout = Layout::from_size_align(bytes, PAGE).map_err(|_| Code::INVALID_VALUE)?;
        // stale uses are more visible this way
        pointer.cast::<u8>().write_bytes(0xdd, bytes);
        dealloc(pointer.cast(), layout);
        Ok(())
    }
    fn cuMemHostGetDevicePointer_v2(_pointer: *mut u64, _host: *mut c_void, _flags: c_uint) {
        log("cuMemHostGetDevicePointer_v2");
        Err(Code::NOT_SUPPORTED) // kernels cannot reach host memory here
    }
    fn cuMemAllocManaged(_pointer: *mut u64, _bytes: usize, _flags: c_uint) {
        log("cuMemAllocManaged");
        Err(Code::NOT_SUPPORTED)
    }
    fn cuMemHostGetFlags(flags: *mut c_uint, _host: *mut c_void) {
        put(flags, 0)
    }
    fn cuMemcpyHtoD_v2(to: u64, from: *const c_void, bytes: usize) {
        now(Work::ToDevice { call: "cuMemcpyHtoD_v2", to, from: from as usize, bytes })
    }
    fn cuMemcpyDtoH_v2(to: *mut c_void, from: u64, bytes: usize) {
        now(Work::ToHost { call: "cuMemcpyDtoH_v2", to: to as usize, from, bytes })
    }
    fn cuMemcpyDtoD_v2(to: u64, from: u64, bytes: usize) {
        now(Work::Within { call: "cuMemcpyDtoD_v2", to, from, bytes })
    }
    fn cuMemcpyHtoDAsync_v2(to: u64, from: *const c_void, bytes: usize, stream: *mut c_void) {
        submit(stream as usize, Work::ToDevice { call: "cuMemcpyHtoDAsync_v2", to, from: from as usize, bytes })
    }
    fn cuMemcpyDtoHAsync_v2(to: *mut c_void, from: u64, bytes: usize, stream: *mut c_void) {
        submit(stream as usize, Work::ToHost { call: "cuMemcpyDtoHAsync_v2", to: to as usize, from, bytes })
    }
    fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, stream: *mut c_void) {
        submit(stream as usize, Work::Within { call: "cuMemcpyDtoDAsync_v2", to, from, bytes })
    }
    fn cuMemcpyPeerAsync(to: u64, _to_context: *mut c_void, from: u64, _from_context: *mut c_void, bytes: usize, stream: *mut c_void) {
        submit(stream as usize, Work::Within { call: "cuMemcpyPeerAsync", to, from, bytes })
    }
    fn cuMemsetD8_v2(to: u64, value: u8, count: usize) {
        let (bytes, pattern) = repeat(&[value], count)?;
        now(Work::Fill { call: "cuMemsetD8_v2", to, bytes, pattern })
    }
    fn cuMemsetD16_v2(to: u64, value: u16, count: usize) {
        let (bytes, pattern) = repeat(&value.to_le_bytes(), count)?;
        now(Work::Fill { call: "cuMemsetD16_v2", to, bytes, pattern })
    }
    fn cuMemsetD32_v2(to: u64, value: c_uint, count: usize) {
        let (bytes, pattern) = repeat(&value.to_le_bytes(), count)?;
        now(Work::Fill { call: "cuMemsetD32_v2", to, bytes, pattern })
    }
    fn cuMemsetD8Async(to: u64, value: u8, count: usize, stream: *mut c_void) {
        let (bytes, pattern) = repeat(&[value], count)?;
        submit(stream as usize, Work::Fill { call: "cuMemsetD8Async", to, bytes, pattern })
    }
    fn cuMemsetD16Async(to: u64, value: u16, count: usize, stream: *mut c_void) {
        let (bytes, pattern) = repeat(&value.to_le_bytes(), count)?;
        submit(stream as usize, Work::Fill { call: "cuMemsetD16Async", to, bytes, pattern })
    }
    fn cuMemsetD32Async(to: u64, value: c_uint, count: usize, stream: *mut c_void) {
        let (bytes, pattern) = repeat(&value.to_le_bytes(), count)?;
        submit(stream as usize, Work::Fill { call: "cuMemsetD32Async", to, bytes, pattern })
    }
    fn cuPointerGetAttribute(data: *mut c_void, attribute: c_int, pointer: u64) {
        let state = context()?;
        // 2: the kind of memory; 1 host, 2 device
        if attribute != 2 {
            return Err(Code::NOT_SUPPORTED);
        }
        let kind = match MEMORY.containing(pointer) {
            Some(_) => 2,
            None if state.is_pinned(pointer as usize, 1) => 1,
            None => return Err(Code::INVALID_VALUE),
        };
        put(data.cast::<c_uint>(), kind)
    }
}
