//! Events.

use std::ffi::{c_uint, c_void};
use std::time::Instant;

use super::{api, put};
use crate::codes::{Code, Outcome};
use crate::log::log;
use crate::state::{Event, State, context};

/// Flag of an event that takes no times.
const DISABLE_TIMING: c_uint = 2;

fn elapsed(milliseconds: *mut f32, start: *mut c_void, end: *mut c_void) -> Outcome {
    let state = context()?;
    let instant = |handle: *mut c_void| {
        let event = state.events.get(&(handle as usize))?;
        event.recorded.filter(|_| event.timed)
    };
    let (Some(start), Some(end)) = (instant(start), instant(end)) else {
        return Err(Code::INVALID_HANDLE);
    };
    let signed = if end >= start {
        (end - start).as_secs_f64()
    } else {
        -(start - end).as_secs_f64()
    };
    // SAFETY: the caller keeps the rules of the API.
    unsafe { put(milliseconds, (signed * 1e3) as f32) }
}

/// Waiting for or asking about an event that belongs to a capture disturbs that capture.
fn observe(state: &mut State, handle: *mut c_void) -> Outcome {
    let event = state.events.get(&(handle as usize)).ok_or(Code::INVALID_HANDLE)?;
    let Some((id, _)) = event.captured else { return Ok(()) };
    match state.captures.get_mut(&id) {
        Some(capture) => {
            capture.valid = false;
            Err(Code::CAPTURED_EVENT)
        }
        None => Ok(()),
    }
}

fn record(event: usize, stream: usize) -> Outcome {
    let mut state = context()?;
    let capture = state.stream(stream)?.capture;
    let event = state.events.get_mut(&event).ok_or(Code::INVALID_HANDLE)?;
    event.captured = capture.map(|id| (id, stream));
    if capture.is_none() {
        event.recorded = Some(Instant::now());
    }
    Ok(())
}

/// A stream that waits for an event of a capture becomes part of it; one that captures must not wait for anything outside.
fn wait(stream: usize, event: usize) -> Outcome {
    let mut state = context()?;
    let found = state.events.get(&event).ok_or(Code::INVALID_HANDLE)?;
    let (captured, ever) = (found.captured, found.recorded.is_some());
    let own = state.stream(stream)?.capture;
    match (own, captured) {
        (None, None) => Ok(()),
        (Some(id), None) => {
            if !ever {
                return Ok(()); // an event that was never recorded counts as done
            }
            if let Some(capture) = state.captures.get_mut(&id) {
                capture.valid = false;
            }
            Err(Code::CAPTURE_ISOLATION)
        }
        (None, Some((id, _))) => {
            let Some(capture) = state.captures.get_mut(&id) else {
                return Ok(());
            };
            capture.joined.insert(stream, false);
            state.stream(stream)?.capture = Some(id);
            Ok(())
        }
        (Some(id), Some((other, from))) => {
            if id != other {
                return Err(Code::CAPTURE_MERGE);
            }
            if let Some(capture) = state.captures.get_mut(&id)
                && let Some(joined) = capture.joined.get_mut(&from)
            {
                *joined = true;
            }
            Ok(())
        }
    }
}

api! {
    fn cuEventCreate(event: *mut *mut c_void, flags: c_uint) {
        log("cuEventCreate");
        let mut state = context()?;
        let handle = state.handle();
        state.events.insert(handle, Event { timed: flags & DISABLE_TIMING == 0, ..Event::default() });
        put(event, handle as *mut c_void)
    }
    fn cuEventDestroy_v2(event: *mut c_void) {
        log("cuEventDestroy_v2");
        context()?.events.remove(&(event as usize)).map(|_| ()).ok_or(Code::INVALID_HANDLE)
    }
    fn cuEventRecord(event: *mut c_void, stream: *mut c_void) {
        log("cuEventRecord");
        record(event as usize, stream as usize)
    }
    fn cuEventRecordWithFlags(event: *mut c_void, stream: *mut c_void, _flags: c_uint) {
        log("cuEventRecordWithFlags");
        record(event as usize, stream as usize)
    }
    fn cuEventSynchronize(event: *mut c_void) {
        log("cuEventSynchronize");
        observe(&mut *context()?, event)
    }
    fn cuEventQuery(event: *mut c_void) {
        log("cuEventQuery");
        observe(&mut *context()?, event)
    }
    fn cuEventElapsedTime(milliseconds: *mut f32, start: *mut c_void, end: *mut c_void) {
        elapsed(milliseconds, start, end)
    }
    fn cuEventElapsedTime_v2(milliseconds: *mut f32, start: *mut c_void, end: *mut c_void) {
        elapsed(milliseconds, start, end)
    }
    fn cuStreamWaitEvent(stream: *mut c_void, event: *mut c_void, _flags: c_uint) {
        log("cuStreamWaitEvent");
        wait(stream as usize, event as usize)
    }
}
