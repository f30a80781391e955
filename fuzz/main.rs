//! The libFuzzer program: feeds the target that `HARK_FUZZ_TARGET` names. One program for all of them, since linking is much of the build.

#![no_main]

mod targets;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

use targets::{TARGETS, Target};

/// Bytes of one allocation at most, far more than inputs of some kilobytes warrant. A larger one fails, and the program with it.
const LARGEST: usize = 256 << 20;

static TARGET: OnceLock<&'static Target> = OnceLock::new();

#[global_allocator]
static ALLOCATOR: Bounded = Bounded;

/// The system's allocator up to [`LARGEST`]. What is taken and never touched shows in no count of resident memory.
struct Bounded;

// SAFETY: every call goes to the system's allocator with what it was called with, or gives null, as an allocator may.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() > LARGEST {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.size() > LARGEST {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if size > LARGEST {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's.
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { System.dealloc(at, layout) }
    }
}

fuzz_target!(init: start(), |data: &[u8]| {
    if let Some(target) = TARGET.get() {
        (target.run)(data);
    }
});

/// Finds the target, and lets the reader of a container break down, which the product takes for a refusal.
fn start() {
    let name = std::env::var("HARK_FUZZ_TARGET").expect("HARK_FUZZ_TARGET names the target");
    let target = TARGETS.iter().find(|target| target.name == name);
    TARGET.set(target.expect("there is no such target")).ok();
    let abort = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().name() != Some("hark-container") {
            abort(panic);
        }
    }));
}
