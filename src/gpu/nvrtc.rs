//! The run-time compiler (NVRTC): kernel source to a cubin for one architecture, or to PTX.
//!
//! What it does: finds the library, compiles a source with the shared header, and gives the whole compiler log with every error.
//! cudarc's safe layer has neither cubins nor logs of successful runs, so this speaks to its raw functions.
//! What it does not do: choose what to compile, cache, load anything on a device. Who calls it: `gpu::kernels`, kernel tests.

use std::ffi::{CString, c_char, c_int};
use std::path::{Path, PathBuf};
use std::ptr;

use cudarc::nvrtc::sys;

use super::kernels::HEADER;

/// The compiler cannot be used, or refused a source.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// There is no such library on this machine.
    #[error("the run-time compiler libnvrtc is not installed")]
    Missing,
    /// The library at the configured place cannot be opened.
    #[error("{} cannot be opened: {reason}", path.display())]
    Library {
        /// The file.
        path: PathBuf,
        /// What the loader said.
        reason: String,
    },
    /// A name or source with a zero byte inside.
    #[error("the source of {0} contains a zero byte")]
    ZeroByte(String),
    /// The compiler refused the source.
    #[error("{name} does not compile for {arch} (options {options}): {log}")]
    Refused {
        /// File name of the source.
        name: String,
        /// Architecture asked for.
        arch: String,
        /// All options.
        options: String,
        /// The whole log.
        log: String,
    },
    /// A call failed that cannot fail on good input.
    #[error("{call} failed for {name}: {code:?}")]
    Call {
        /// Function of the library.
        call: &'static str,
        /// File name of the source.
        name: String,
        /// Result code.
        code: sys::nvrtcResult,
    },
}

/// What a compilation gave.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The PTX text.
    pub ptx: String,
    /// Machine code for the architecture; empty for a virtual one (`compute_80`).
    pub cubin: Vec<u8>,
    /// What the compiler said: registers, spills and shared memory of each kernel for a real architecture.
    pub log: String,
}

/// The compiler, found and ready.
#[derive(Clone, Copy, Debug)]
pub struct Compiler {
    version: (i32, i32),
}

impl Compiler {
    /// Finds the library: the file at `path` if given, else by the loader's search.
    ///
    /// # Errors
    /// There is none, or the file given is not one.
    pub fn open(path: Option<&Path>) -> Result<Self, CompileError> {
        if let Some(path) = path {
            preload(path)?;
        }
        // SAFETY: the function only asks the loader whether the library is there.
        if !unsafe { sys::is_culib_present() } {
            return Err(CompileError::Missing);
        }
        let (mut major, mut minor) = (0, 0);
        // SAFETY: both pointers are to live integers; the library is there.
        let code = unsafe { sys::nvrtcVersion(&raw mut major, &raw mut minor) };
        done("nvrtcVersion", "libnvrtc", code)?;
        Ok(Compiler { version: (major, minor) })
    }

    /// Major and minor version of the library.
    pub fn version(&self) -> (i32, i32) {
        self.version
    }

    /// Compiles to PTX for a virtual architecture such as `compute_80`, with line numbers: what tests run.
    ///
    /// # Errors
    /// As [`Compiler::compile`].
    pub fn ptx(&self, name: &str, source: &str, arch: &str) -> Result<String, CompileError> {
        Ok(self.compile(name, source, arch)?.ptx)
    }

    /// Compiles `source` (file name `name`) for `arch`: `sm_80` gives machine code and PTX, `compute_80` PTX alone.
    ///
    /// # Errors
    /// The source is refused; the error holds the log and the options.
    pub fn compile(&self, name: &str, source: &str, arch: &str) -> Result<Compiled, CompileError> {
        let text = |text: &str| CString::new(text).map_err(|_| CompileError::ZeroByte(name.to_owned()));
        let (file, source) = (text(name)?, text(source)?);
        let (header_name, header) = (text(HEADER.0)?, text(HEADER.1)?);
        let options = options(arch);
        let owned: Vec<CString> = options.iter().map(|option| text(option)).collect::<Result<_, _>>()?;
        let pointers: Vec<*const c_char> = owned.iter().map(|option| option.as_ptr()).collect();
        let (headers, names) = ([header.as_ptr()], [header_name.as_ptr()]);
        let mut program = Program {
            handle: ptr::null_mut(),
            name,
        };
        // SAFETY: all strings live until the program is destroyed at the end of this function.
        let code = unsafe {
            sys::nvrtcCreateProgram(
                &raw mut program.handle,
                source.as_ptr(),
                file.as_ptr(),
                1,
                headers.as_ptr(),
                names.as_ptr(),
            )
        };
        done("nvrtcCreateProgram", name, code)?;
        let count = c_int::try_from(pointers.len()).unwrap_or(c_int::MAX);
        // SAFETY: the program exists and there are `count` valid option strings.
        let code = unsafe { sys::nvrtcCompileProgram(program.handle, count, pointers.as_ptr()) };
        let log = program.text("nvrtcGetProgramLog", sys::nvrtcGetProgramLogSize, sys::nvrtcGetProgramLog)?;
        if code != sys::nvrtcResult::NVRTC_SUCCESS {
            return Err(CompileError::Refused {
                name: name.to_owned(),
                arch: arch.to_owned(),
                options: options.join(" "),
                log,
            });
        }
        let ptx = program.text("nvrtcGetPTX", sys::nvrtcGetPTXSize, sys::nvrtcGetPTX)?;
        let cubin = if arch.starts_with("sm_") {
            program.bytes("nvrtcGetCUBIN", sys::nvrtcGetCUBINSize, sys::nvrtcGetCUBIN)?
        } else {
            Vec::new()
        };
        Ok(Compiled { ptx, cubin, log })
    }
}

/// The options of a compilation; part of the cache's key.
pub(super) fn options(arch: &str) -> Vec<String> {
    let mut options = vec![
        format!("--gpu-architecture={arch}"),
        "--std=c++17".to_owned(),
        "-lineinfo".to_owned(),
    ];
    if arch.starts_with("sm_") {
        options.extend(["--ptxas-options=-v".to_owned(), "--ptxas-options=--warn-on-spills".to_owned()]);
    }
    options
}

/// Opens the library at `path` and leaves it open, its builtins before it (version 13.0 does not find them by itself):
/// the loader then gives the same library to whoever asks for it by name.
fn preload(path: &Path) -> Result<(), CompileError> {
    let beside = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with("libnvrtc-builtins.so");
    let builtins = path.parent().and_then(|folder| std::fs::read_dir(folder).ok());
    let builtins = builtins.into_iter().flatten().flatten().find(beside).map(|entry| entry.path());
    for path in builtins.iter().map(PathBuf::as_path).chain([path]) {
        super::keep_open(path).map_err(|reason| CompileError::Library {
            path: path.to_owned(),
            reason,
        })?;
    }
    Ok(())
}

fn done(call: &'static str, name: &str, code: sys::nvrtcResult) -> Result<(), CompileError> {
    if code == sys::nvrtcResult::NVRTC_SUCCESS {
        return Ok(());
    }
    Err(CompileError::Call {
        call,
        name: name.to_owned(),
        code,
    })
}

/// A program of the library; destroyed when dropped.
struct Program<'a> {
    handle: sys::nvrtcProgram,
    name: &'a str,
}

// SAFETY: of the calls; these name the two kinds of functions that give an output's size and the output.
type SizeOf = unsafe fn(sys::nvrtcProgram, *mut usize) -> sys::nvrtcResult;
type CopyOf = unsafe fn(sys::nvrtcProgram, *mut c_char) -> sys::nvrtcResult;

impl Program<'_> {
    /// One of the outputs: asked for its size, then copied.
    fn bytes(&self, call: &'static str, size: SizeOf, copy: CopyOf) -> Result<Vec<u8>, CompileError> {
        let mut length = 0;
        // SAFETY: the program exists; `length` is live.
        done(call, self.name, unsafe { size(self.handle, &raw mut length) })?;
        let mut bytes = vec![0_u8; length];
        // SAFETY: the library writes the `length` bytes that it just announced.
        done(call, self.name, unsafe { copy(self.handle, bytes.as_mut_ptr().cast()) })?;
        Ok(bytes)
    }

    /// An output that is text with a zero at its end.
    fn text(&self, call: &'static str, size: SizeOf, copy: CopyOf) -> Result<String, CompileError> {
        let bytes = self.bytes(call, size, copy)?;
        Ok(String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned())
    }
}

impl Drop for Program<'_> {
    fn drop(&mut self) {
        if !self.handle.is_null() {
            // SAFETY: the program was created and is destroyed once; a failure leaves nothing that could be done about it.
            unsafe { sys::nvrtcDestroyProgram(&raw mut self.handle) };
        }
    }
}
