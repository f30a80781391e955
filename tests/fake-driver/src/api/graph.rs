//! Graphs.

use std::ffi::{c_char, c_uint, c_ulonglong, c_void};
use std::sync::Arc;

use super::{api, put, put_optional};
use crate::codes::{Code, Outcome};
use crate::log::log;
use crate::state::context;
use crate::work::{Work, replay};

/// Flags of an instantiation for launches from the device, and for freeing at launch, which do not go together.
const DEVICE_LAUNCH: c_ulonglong = 4;
const AUTO_FREE: c_ulonglong = 1;

fn instantiate(executable: *mut *mut c_void, graph: *mut c_void, flags: c_ulonglong) -> Outcome {
    if flags & DEVICE_LAUNCH != 0 && flags & AUTO_FREE != 0 {
        return Err(Code::INVALID_VALUE);
    }
    let mut state = context()?;
    let nodes: Arc<[Work]> = state.graphs.get(&(graph as usize)).ok_or(Code::INVALID_HANDLE)?.clone().into();
    let handle = state.handle();
    state.executables.insert(handle, nodes);
    // SAFETY: the caller keeps the rules of the API.
    unsafe { put(executable, handle as *mut c_void) }
}

api! {
    fn cuGraphInstantiateWithFlags(executable: *mut *mut c_void, graph: *mut c_void, flags: c_ulonglong) {
        log("cuGraphInstantiateWithFlags");
        instantiate(executable, graph, flags)
    }
    fn cuGraphInstantiate_v2(executable: *mut *mut c_void, graph: *mut c_void, error_node: *mut *mut c_void, buffer: *mut c_char, room: usize) {
        log("cuGraphInstantiate_v2");
        put_optional(error_node, std::ptr::null_mut());
        if room > 0 {
            put_optional(buffer, 0);
        }
        instantiate(executable, graph, 0)
    }
    fn cuGraphLaunch(executable: *mut c_void, stream: *mut c_void) {
        let nodes = {
            let mut state = context()?;
            let nodes = state.executables.get(&(executable as usize)).map(Arc::clone).ok_or(Code::INVALID_HANDLE)?;
            let capture = state.stream(stream as usize)?.capture;
            let suffix = if capture.is_some() { " captured=1" } else { "" };
            log(format!("cuGraphLaunch nodes={}{suffix}", nodes.len()));
            if let Some(id) = capture {
                let capture = state.captures.get_mut(&id).filter(|c| c.valid).ok_or(Code::CAPTURE_INVALIDATED)?;
                capture.nodes.extend(nodes.iter().cloned());
                return Ok(());
            }
            nodes
        };
        replay(&nodes)
    }
    fn cuGraphUpload(executable: *mut c_void, _stream: *mut c_void) {
        log("cuGraphUpload");
        context()?.executables.get(&(executable as usize)).map(|_| ()).ok_or(Code::INVALID_HANDLE)
    }
    fn cuGraphDestroy(graph: *mut c_void) {
        log("cuGraphDestroy");
        context()?.graphs.remove(&(graph as usize)).map(|_| ()).ok_or(Code::INVALID_HANDLE)
    }
    fn cuGraphExecDestroy(executable: *mut c_void) {
        log("cuGraphExecDestroy");
        context()?.executables.remove(&(executable as usize)).map(|_| ()).ok_or(Code::INVALID_HANDLE)
    }
    fn cuGraphGetNodes(graph: *mut c_void, nodes: *mut *mut c_void, count: *mut usize) {
        let state = context()?;
        let total = state.graphs.get(&(graph as usize)).ok_or(Code::INVALID_HANDLE)?.len();
        if count.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        if !nodes.is_null() {
            let room = count.read();
            for index in 0..room {
                // nodes are numbered; nothing can be asked of one
                nodes.add(index).write(if index < total { (index + 1) as *mut c_void } else { std::ptr::null_mut() });
            }
        }
        put(count, total)
    }
    fn cuGraphExecGetFlags(_executable: *mut c_void, flags: *mut c_ulonglong) {
        put(flags, 0)
    }
    fn cuGraphCreate(graph: *mut *mut c_void, _flags: c_uint) {
        let mut state = context()?;
        let handle = state.handle();
        state.graphs.insert(handle, Vec::new());
        put(graph, handle as *mut c_void)
    }
}
