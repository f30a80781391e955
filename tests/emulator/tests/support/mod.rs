//! Compiles CUDA sources to PTX with NVRTC, where there is one.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "tests; each file uses a part"
)]

pub mod ptx;
#[path = "../../../common/skipped.rs"]
mod skipped;

use std::ffi::{CString, c_char};
use std::path::{Path, PathBuf};
use std::sync::Once;

use cudarc::nvrtc::{result, sys};

/// Opens NVRTC from where `HARK_GPU__NVRTC` says, so that the binding finds it; false where there is none.
fn load() -> bool {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let Some(path) = std::env::var_os("HARK_GPU__NVRTC").map(PathBuf::from) else {
            return;
        };
        let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
        // NVRTC finds its builtins only if they are loaded already
        let builtins = std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let named = |p: &PathBuf| {
            p.file_name()
                .is_some_and(|n| n.to_string_lossy().starts_with("libnvrtc-builtins.so"))
        };
        for library in builtins.filter(named).chain([path]) {
            // SAFETY: NVIDIA's libraries have no initialisers that ask anything of us.
            match unsafe { libloading::Library::new(&library) } {
                Ok(library) => std::mem::forget(library), // stays open for the binding
                Err(error) => eprintln!("{}: {error}", library.display()),
            }
        }
    });
    // SAFETY: only opens the library.
    unsafe { sys::is_culib_present() }
}

/// PTX of `source` for `arch` (`compute_80`); `None`, with a message, where there is no NVRTC.
///
/// Panics with the log where the source does not compile.
pub fn compile(source: &Path, arch: &str, defines: &[&str]) -> Option<String> {
    if !load() {
        skipped::skipped("the run-time compiler libnvrtc is not installed");
        return None;
    }
    let text = std::fs::read_to_string(source).unwrap_or_else(|e| panic!("{}: {e}", source.display()));
    let name = source.file_name().unwrap().to_string_lossy().into_owned();
    Some(compile_text(&text, &name, arch, defines))
}

fn compile_text(text: &str, name: &str, arch: &str, defines: &[&str]) -> String {
    let (text, name) = (CString::new(text).unwrap(), CString::new(name).unwrap());
    let program = result::create_program(&text, Some(&name)).unwrap();
    let options: Vec<CString> = [
        format!("--gpu-architecture={arch}"),
        "--std=c++17".to_owned(),
        "-lineinfo".to_owned(),
    ]
    .into_iter()
    .chain(defines.iter().map(|d| format!("-D{d}")))
    .map(|o| CString::new(o).unwrap())
    .collect();
    let pointers: Vec<*const c_char> = options.iter().map(|o| o.as_ptr()).collect();
    // SAFETY: the program is live, the options outlive the call, the buffer is as long as NVRTC says.
    unsafe {
        let status = sys::nvrtcCompileProgram(program, i32::try_from(pointers.len()).unwrap(), pointers.as_ptr());
        if status != sys::nvrtcResult::NVRTC_SUCCESS {
            let log = result::get_program_log(program).unwrap();
            let log: Vec<u8> = log.into_iter().map(|c| c.cast_unsigned()).collect();
            panic!("{}", String::from_utf8_lossy(&log));
        }
        let ptx = result::get_ptx(program).unwrap();
        result::destroy_program(program).unwrap();
        let ptx: Vec<u8> = ptx.into_iter().map(|c| c.cast_unsigned()).filter(|b| *b != 0).collect();
        String::from_utf8(ptx).unwrap()
    }
}

/// Numbers that look random, the same each time.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Between -1 and 1.
    pub fn float(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    }

    pub fn halves(&mut self, count: usize) -> Vec<half::f16> {
        (0..count).map(|_| half::f16::from_f32(self.float())).collect()
    }
}

/// The bytes of numbers.
pub trait Bytes: Copy {
    const SIZE: usize;
    fn put(self, to: &mut Vec<u8>);
    fn get(from: &[u8]) -> Self;
}

macro_rules! bytes {
    ($($t:ty),*) => {$(
        impl Bytes for $t {
            const SIZE: usize = size_of::<$t>();
            fn put(self, to: &mut Vec<u8>) {
                to.extend_from_slice(&self.to_le_bytes());
            }
            fn get(from: &[u8]) -> Self {
                <$t>::from_le_bytes(from.try_into().unwrap())
            }
        }
    )*};
}
bytes!(u8, u16, u32, u64, i32, f32, f64, half::f16);

/// Puts numbers into fresh device memory.
pub fn upload<T: Bytes>(memory: &ptx_emulator::Memory, values: &[T]) -> u64 {
    let mut data = Vec::new();
    values.iter().for_each(|v| v.put(&mut data));
    let address = memory.alloc(data.len()).unwrap();
    memory.write(address, &data).unwrap();
    address
}

/// Reads numbers from device memory.
pub fn download<T: Bytes>(memory: &ptx_emulator::Memory, address: u64, count: usize) -> Vec<T> {
    let mut data = vec![0; count * T::SIZE];
    memory.read(address, &mut data).unwrap();
    data.chunks_exact(T::SIZE).map(T::get).collect()
}
