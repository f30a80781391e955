//! Devices, contexts, errors.

use std::ffi::{c_char, c_int, c_uint, c_void};

use super::{api, put};
use crate::codes::{Code, describe};
use crate::config::{CONFIG, attribute};
use crate::log::log;
use crate::state::{CONTEXT, context, current, set_current, state};

const NAME: &std::ffi::CStr = c"PTX emulator (no GPU)";
/// CUDA version that the driver claims to be of.
const VERSION: c_int = 13000;

fn known(device: c_int) -> Result<(), Code> {
    if device == 0 { Ok(()) } else { Err(Code::INVALID_DEVICE) }
}

api! {
    fn cuInit(_flags: c_uint) {
        log("cuInit");
        state().initialised = true;
        Ok(())
    }
    fn cuDriverGetVersion(version: *mut c_int) {
        put(version, VERSION)
    }
    fn cuDeviceGetCount(count: *mut c_int) {
        put(count, 1)
    }
    fn cuDeviceGet(device: *mut c_int, ordinal: c_int) {
        known(ordinal)?;
        put(device, ordinal)
    }
    fn cuDeviceGetName(name: *mut c_char, length: c_int, device: c_int) {
        known(device)?;
        let bytes = NAME.to_bytes();
        let room = usize::try_from(length).unwrap_or(0);
        if name.is_null() || room == 0 {
            return Err(Code::INVALID_VALUE);
        }
        let count = bytes.len().min(room - 1);
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), name.cast::<u8>(), count);
        name.add(count).write(0);
        Ok(())
    }
    fn cuDeviceGetUuid(uuid: *mut [u8; 16], device: c_int) {
        known(device)?;
        put(uuid, *b"ptx-emulator-000")
    }
    fn cuDeviceGetUuid_v2(uuid: *mut [u8; 16], device: c_int) {
        known(device)?;
        put(uuid, *b"ptx-emulator-000")
    }
    fn cuDeviceTotalMem_v2(bytes: *mut usize, device: c_int) {
        known(device)?;
        put(bytes, CONFIG.memory)
    }
    fn cuDeviceGetAttribute(value: *mut c_int, which: c_uint, device: c_int) {
        known(device)?;
        put(value, attribute(which))
    }
    fn cuDevicePrimaryCtxRetain(context: *mut *mut c_void, device: c_int) {
        log("cuDevicePrimaryCtxRetain");
        known(device)?;
        put(context, CONTEXT as *mut c_void)
    }
    fn cuDevicePrimaryCtxRelease_v2(device: c_int) {
        log("cuDevicePrimaryCtxRelease_v2");
        known(device)
    }
    fn cuDevicePrimaryCtxGetState(device: c_int, flags: *mut c_uint, active: *mut c_int) {
        known(device)?;
        put(flags, 0)?;
        put(active, 1)
    }
    fn cuDevicePrimaryCtxSetFlags_v2(device: c_int, _flags: c_uint) {
        known(device)
    }
    fn cuCtxGetCurrent(context: *mut *mut c_void) {
        put(context, current() as *mut c_void)
    }
    fn cuCtxSetCurrent(context: *mut c_void) {
        match context as usize {
            handle @ (0 | CONTEXT) => {
                set_current(handle);
                Ok(())
            }
            _ => Err(Code::INVALID_CONTEXT),
        }
    }
    fn cuCtxPushCurrent_v2(context: *mut c_void) {
        cuCtxSetCurrent(context);
        Ok(())
    }
    fn cuCtxPopCurrent_v2(context: *mut *mut c_void) {
        super::put_optional(context, current() as *mut c_void);
        set_current(0);
        Ok(())
    }
    fn cuCtxGetDevice(device: *mut c_int) {
        put(device, 0)
    }
    fn cuCtxGetApiVersion(_context: *mut c_void, version: *mut c_uint) {
        put(version, 3020)
    }
    fn cuCtxGetFlags(flags: *mut c_uint) {
        put(flags, 0)
    }
    fn cuCtxSetFlags(_flags: c_uint) {
        Ok(())
    }
    fn cuCtxGetLimit(value: *mut usize, limit: c_uint) {
        match limit {
            0 => put(value, 1024),    // stack of a thread
            1 => put(value, 1 << 20), // printf buffer
            2 => put(value, 8 << 20), // heap
            _ => Err(Code::UNSUPPORTED_LIMIT),
        }
    }
    fn cuCtxSetLimit(limit: c_uint, _value: usize) {
        if limit <= 2 { Ok(()) } else { Err(Code::UNSUPPORTED_LIMIT) }
    }
    fn cuCtxGetCacheConfig(config: *mut c_uint) {
        put(config, 0)
    }
    fn cuCtxSetCacheConfig(_config: c_uint) {
        Ok(())
    }
    fn cuCtxGetStreamPriorityRange(least: *mut c_int, greatest: *mut c_int) {
        super::put_optional(least, 0);
        super::put_optional(greatest, -5);
        Ok(())
    }
    fn cuCtxSynchronize() {
        log("cuCtxSynchronize");
        context()?.no_capture()
    }
    fn cuGetErrorName(code: c_int, name: *mut *const c_char) {
        match describe(code) {
            Some((found, _)) => put(name, found.as_ptr()),
            None => {
                put(name, c"CUDA_ERROR_UNKNOWN".as_ptr())?;
                Err(Code::INVALID_VALUE)
            }
        }
    }
    fn cuGetErrorString(code: c_int, description: *mut *const c_char) {
        match describe(code) {
            Some((_, found)) => put(description, found.as_ptr()),
            None => {
                put(description, c"unknown error".as_ptr())?;
                Err(Code::INVALID_VALUE)
            }
        }
    }
    fn cuProfilerStart() {
        log("cuProfilerStart");
        Ok(())
    }
    fn cuProfilerStop() {
        log("cuProfilerStop");
        Ok(())
    }
}
