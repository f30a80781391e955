//! Streams and their capture.

use std::collections::HashMap;
use std::ffi::{c_int, c_uint, c_void};

use super::{api, put, put_optional};
use crate::codes::{Code, Outcome};
use crate::log::log;
use crate::state::{Capture, CaptureMode, Stream, context, exchange_capture_mode};
use crate::work::{HostFunction, Work, submit};

fn mode(number: c_uint) -> Outcome<CaptureMode> {
    match number {
        0 => Ok(CaptureMode::Global),
        1 => Ok(CaptureMode::ThreadLocal),
        2 => Ok(CaptureMode::Relaxed),
        _ => Err(Code::INVALID_VALUE),
    }
}

fn number(mode: CaptureMode) -> c_uint {
    match mode {
        CaptureMode::Global => 0,
        CaptureMode::ThreadLocal => 1,
        CaptureMode::Relaxed => 2,
    }
}

/// Capture status of a stream (0 none, 1 active, 2 invalidated) and the capture's number.
fn status(stream: usize) -> Outcome<(c_uint, u64)> {
    let mut state = context()?;
    let Some(id) = state.stream(stream)?.capture else {
        return Ok((0, 0));
    };
    let valid = state.captures.get(&id).is_some_and(|capture| capture.valid);
    Ok((if valid { 1 } else { 2 }, id))
}

fn create(flags: c_uint, priority: c_int) -> Outcome<*mut c_void> {
    let mut state = context()?;
    let handle = state.handle();
    state.streams.insert(
        handle,
        Stream {
            capture: None,
            flags,
            priority,
        },
    );
    Ok(handle as *mut c_void)
}

api! {
    fn cuStreamCreate(stream: *mut *mut c_void, flags: c_uint) {
        log("cuStreamCreate");
        put(stream, create(flags, 0)?)
    }
    fn cuStreamCreateWithPriority(stream: *mut *mut c_void, flags: c_uint, priority: c_int) {
        log(format!("cuStreamCreateWithPriority priority={priority}"));
        put(stream, create(flags, priority.clamp(-5, 0))?)
    }
    fn cuStreamDestroy_v2(stream: *mut c_void) {
        log("cuStreamDestroy_v2");
        let mut state = context()?;
        let removed = state.streams.remove(&(stream as usize)).ok_or(Code::INVALID_HANDLE)?;
        if let Some(id) = removed.capture {
            state.captures.remove(&id);
        }
        Ok(())
    }
    fn cuStreamGetFlags(stream: *mut c_void, flags: *mut c_uint) {
        put(flags, context()?.stream(stream as usize)?.flags)
    }
    fn cuStreamGetPriority(stream: *mut c_void, priority: *mut c_int) {
        put(priority, context()?.stream(stream as usize)?.priority)
    }
    fn cuStreamGetCtx(stream: *mut c_void, owner: *mut *mut c_void) {
        context()?.stream(stream as usize)?;
        put(owner, crate::state::CONTEXT as *mut c_void)
    }
    fn cuStreamSynchronize(stream: *mut c_void) {
        log("cuStreamSynchronize");
        context()?.not_capturing(stream as usize)
    }
    fn cuStreamQuery(stream: *mut c_void) {
        log("cuStreamQuery");
        context()?.not_capturing(stream as usize)
    }
    fn cuStreamAttachMemAsync(_stream: *mut c_void, _pointer: u64, _bytes: usize, _flags: c_uint) {
        Err(Code::NOT_SUPPORTED)
    }
    fn cuLaunchHostFunc(stream: *mut c_void, function: Option<HostFunction>, data: *mut c_void) {
        let function = function.ok_or(Code::INVALID_VALUE)?;
        submit(stream as usize, Work::Host { function, data: data as usize })
    }
    fn cuStreamBeginCapture_v2(stream: *mut c_void, requested: c_uint) {
        log("cuStreamBeginCapture_v2");
        let mode = mode(requested)?;
        let origin = stream as usize;
        let mut state = context()?;
        if origin <= 1 {
            return Err(Code::CAPTURE_UNSUPPORTED); // the legacy stream cannot be captured
        }
        if state.stream(origin)?.capture.is_some() {
            return Err(Code::CAPTURE_UNSUPPORTED);
        }
        let id = state.handle() as u64;
        let thread = std::thread::current().id();
        state.captures.insert(id, Capture { origin, mode, thread, nodes: Vec::new(), valid: true, joined: HashMap::new() });
        state.stream(origin)?.capture = Some(id);
        Ok(())
    }
    fn cuStreamEndCapture(stream: *mut c_void, graph: *mut *mut c_void) {
        log("cuStreamEndCapture");
        let origin = stream as usize;
        let mut state = context()?;
        let id = state.stream(origin)?.capture.ok_or(Code::INVALID_VALUE)?;
        let capture = state.captures.get(&id).ok_or(Code::CAPTURE_INVALIDATED)?;
        if capture.origin != origin {
            return Err(Code::CAPTURE_UNMATCHED);
        }
        if capture.mode != CaptureMode::Relaxed && capture.thread != std::thread::current().id() {
            return Err(Code::CAPTURE_WRONG_THREAD);
        }
        let capture = state.captures.remove(&id).ok_or(Code::CAPTURE_INVALIDATED)?;
        state.streams.values_mut().filter(|s| s.capture == Some(id)).for_each(|s| s.capture = None);
        put(graph, std::ptr::null_mut())?;
        if !capture.valid {
            return Err(Code::CAPTURE_INVALIDATED);
        }
        if capture.joined.values().any(|joined| !joined) {
            return Err(Code::CAPTURE_UNJOINED);
        }
        let handle = state.handle();
        state.graphs.insert(handle, capture.nodes);
        put(graph, handle as *mut c_void)
    }
    fn cuStreamIsCapturing(stream: *mut c_void, answer: *mut c_uint) {
        put(answer, status(stream as usize)?.0)
    }
    fn cuStreamGetCaptureInfo_v2(
        stream: *mut c_void,
        answer: *mut c_uint,
        id: *mut u64,
        graph: *mut *mut c_void,
        dependencies: *mut *const *mut c_void,
        count: *mut usize,
    ) {
        let (found, number) = status(stream as usize)?;
        put(answer, found)?;
        put_optional(id, number);
        put_optional(graph, std::ptr::null_mut());
        put_optional(dependencies, std::ptr::null());
        put_optional(count, 0);
        Ok(())
    }
    fn cuStreamGetCaptureInfo_v3(
        stream: *mut c_void,
        answer: *mut c_uint,
        id: *mut u64,
        graph: *mut *mut c_void,
        dependencies: *mut *const *mut c_void,
        edges: *mut *const c_void,
        count: *mut usize,
    ) {
        put_optional(edges, std::ptr::null());
        match cuStreamGetCaptureInfo_v2(stream, answer, id, graph, dependencies, count) {
            0 => Ok(()),
            code => Err(Code(code)),
        }
    }
    fn cuThreadExchangeStreamCaptureMode(inout: *mut c_uint) {
        if inout.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        let before = exchange_capture_mode(mode(inout.read())?);
        put(inout, number(before))
    }
}
