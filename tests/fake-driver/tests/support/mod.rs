//! Opens the fake driver, and compiles kernels for it.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

#[path = "../../../emulator/tests/support/mod.rs"]
pub mod nvrtc;

use std::ffi::c_char;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};

use cudarc::driver::{CudaContext, CudaModule};
use cudarc::nvrtc::Ptx;
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

/// `libfake_driver.so`, which cargo puts beside the test or one folder up.
fn library() -> PathBuf {
    let folder = std::env::current_exe().unwrap().parent().unwrap().to_path_buf();
    let places = [folder.join("libfake_driver.so"), folder.join("../libfake_driver.so")];
    places
        .iter()
        .find(|p| p.exists())
        .unwrap_or_else(|| panic!("libfake_driver.so is not in {}", folder.display()))
        .canonicalize()
        .unwrap()
}

/// Makes the fake driver the one that cudarc finds.
pub fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the library has no initialisers; it stays open for good.
        std::mem::forget(unsafe { Library::open(Some(library()), RTLD_NOW | RTLD_GLOBAL) }.unwrap());
    });
}

fn symbol<T: Copy>(name: &[u8]) -> T {
    // SAFETY: the functions have the types that the callers below name.
    unsafe {
        *Library::open(Some(library()), RTLD_NOW | RTLD_GLOBAL)
            .unwrap()
            .get::<T>(name)
            .unwrap()
    }
}

pub fn clear_log() {
    symbol::<unsafe extern "C" fn()>(b"fake_cuda_log_clear").call();
}

trait Call {
    fn call(self);
}

impl Call for unsafe extern "C" fn() {
    fn call(self) {
        // SAFETY: it takes nothing.
        unsafe { self() }
    }
}

/// The calls made so far.
pub fn read_log() -> Vec<String> {
    let read: unsafe extern "C" fn(*mut c_char, usize) -> usize = symbol(b"fake_cuda_log_read");
    // SAFETY: the buffer is as long as is said.
    unsafe {
        let mut buffer = vec![0_u8; read(std::ptr::null_mut(), 0) + 1];
        let length = read(buffer.as_mut_ptr().cast(), buffer.len());
        buffer.truncate(length);
        String::from_utf8(buffer).unwrap().lines().map(str::to_owned).collect()
    }
}

/// A context and the test kernels; `None`, with a message, without NVRTC. Tests of one file run one at a time: the driver, like a
/// real one, is one for the process.
pub fn setup() -> Option<(Arc<CudaContext>, Arc<CudaModule>, MutexGuard<'static, ()>)> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    install();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scale.cu");
    let ptx = nvrtc::compile(&source, "compute_80", &[])?;
    let context = CudaContext::new(0).unwrap();
    let module = context.load_module(Ptx::from_src(ptx)).unwrap();
    Some((context, module, guard))
}
