//! The GPU: what is there, and the few things that are done with it.
//!
//! What it does: probes driver, compiler and device (what is missing is a value, never a panic), compiles and loads all
//! kernels, allocates, copies, launches and records launches into graphs. All of the crate's dealings with cudarc are here.
//! What it does not do: know an operation or a model. Who calls it: the launchers in `ops/*/cuda.rs`, `model::device`, and
//! `engine` to open the device.
//!
//! Order: everything goes through one CUDA stream, so that each launch sees what earlier ones wrote. Uploads, downloads
//! and the run of a graph wait for their end; the device therefore touches pinned host memory only while a graph runs.

pub mod buffer;
pub mod kernels;
pub mod launch;
pub mod nvrtc;
pub mod probe;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use cudarc::driver::{CudaContext, CudaModule, CudaStream, DriverError};
use cudarc::nvrtc::Ptx;

pub use self::buffer::{Buffer, Pinned, Pointer};
use self::kernels::Cache;
pub use self::launch::{Arg, Graph, Kernel, Shape};
use self::nvrtc::{CompileError, Compiler};
pub use self::probe::{Device, Found};

/// Where the GPU's libraries are and which device to use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Number of the device.
    pub device: usize,
    /// Path of the driver library, where the loader does not find it by name.
    pub driver: Option<PathBuf>,
    /// Path of the run-time compiler.
    pub nvrtc: Option<PathBuf>,
    /// Folder for compiled kernels; the user's cache folder if none.
    pub cache: Option<PathBuf>,
}

/// The GPU cannot be used, or did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum GpuError {
    /// There is no driver library.
    #[error("the NVIDIA driver (libcuda) is not installed")]
    NoDriver,
    /// The library at the configured place cannot be opened.
    #[error("{} cannot be opened: {reason}", path.display())]
    Library {
        /// The file.
        path: PathBuf,
        /// What the loader said.
        reason: String,
    },
    /// The driver has no such device.
    #[error("the driver reports {count} devices, there is no device {asked}")]
    NoDevice {
        /// Devices there are.
        count: usize,
        /// Number asked for.
        asked: usize,
    },
    /// The kernels cannot be compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The driver refused compiled code.
    #[error("the driver does not load {name} for {arch}: {source}")]
    Load {
        /// File name of the source.
        name: &'static str,
        /// Architecture it was compiled for.
        arch: String,
        /// The driver's answer.
        source: DriverError,
    },
    /// A kernel that the launchers know is not in the compiled code.
    #[error("there is no kernel {name} in {file}")]
    NoKernel {
        /// File name of the source.
        file: &'static str,
        /// Name asked for.
        name: String,
    },
    /// There is not enough device memory.
    #[error("the device has no {bytes} bytes of memory left")]
    OutOfMemory {
        /// Bytes asked for.
        bytes: usize,
    },
    /// A number that a kernel takes as 32 bits is larger.
    #[error("{0} is too large for a kernel")]
    TooLarge(usize),
    /// A copy between places of different sizes.
    #[error("a copy of {from} elements into {into}")]
    Length {
        /// Elements of the source.
        from: usize,
        /// Elements of the target.
        into: usize,
    },
    /// A model or a step that the GPU engine does not take.
    #[error("{0}")]
    Unsupported(String),
    /// The driver reported an error.
    #[error("the GPU reported an error: {0}")]
    Driver(#[from] DriverError),
}

/// An open device with all kernels loaded.
pub struct Gpu {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    modules: BTreeMap<&'static str, Arc<CudaModule>>,
    found: Found,
}

impl GpuError {
    /// True if there was not enough device memory.
    pub fn is_out_of_memory(&self) -> bool {
        use cudarc::driver::sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY;
        match self {
            GpuError::OutOfMemory { .. } => true,
            GpuError::Driver(error) => error.0 == CUDA_ERROR_OUT_OF_MEMORY,
            _ => false,
        }
    }
}

impl Gpu {
    /// Opens the device and makes all kernels ready: from the cache, or compiled now.
    ///
    /// # Errors
    /// What is missing or does not fit; the caller then uses the processor.
    pub fn open(settings: &Settings) -> Result<Self, GpuError> {
        let (context, mut found) = probe::probe(settings)?;
        let began = Instant::now();
        let compiler = Compiler::open(settings.nvrtc.as_deref())?;
        found.nvrtc = Some(compiler.version());
        // SAFETY: all work goes through the one stream made below, so there is nothing that events would have to order.
        unsafe { context.disable_event_tracking() };
        let stream = context.new_stream()?;
        let cache = Cache::new(settings.cache.as_deref());
        let (major, minor) = found.device.capability;
        let modules = match load(&context, &compiler, &cache, &format!("sm_{major}{minor}"), &mut found) {
            // The last resort: an older driver may refuse the machine code and still take PTX, or the other way round.
            Err(GpuError::Load { .. } | GpuError::Compile(CompileError::Refused { .. })) => {
                load(&context, &compiler, &cache, &format!("compute_{major}{minor}"), &mut found)?
            }
            loaded => loaded?,
        };
        found.ready_in = began.elapsed();
        Ok(Gpu {
            context,
            stream,
            modules,
            found,
        })
    }

    /// What was found and how the kernels came.
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// Bytes of device memory that are free now.
    ///
    /// # Errors
    /// The driver reported an error.
    pub fn free_memory(&self) -> Result<usize, GpuError> {
        Ok(self.context.mem_get_info()?.0)
    }

    /// Waits until everything asked for so far is done.
    ///
    /// # Errors
    /// Something of it failed; the device's memory is then unusable.
    pub fn wait(&self) -> Result<(), GpuError> {
        Ok(self.stream.synchronize()?)
    }
}

/// Compiles every source for `arch` and loads the results.
fn load(
    context: &Arc<CudaContext>,
    compiler: &Compiler,
    cache: &Cache,
    arch: &str,
    found: &mut Found,
) -> Result<BTreeMap<&'static str, Arc<CudaModule>>, GpuError> {
    let images = kernels::images(compiler, cache, arch)?;
    found.arch = arch.to_owned();
    found.compiled = images.iter().filter(|image| !image.cached).count();
    let virtual_arch = arch.starts_with("compute_");
    let module = |image: kernels::Image| {
        let code = if virtual_arch {
            Ptx::from_src(String::from_utf8_lossy(&image.code).into_owned())
        } else {
            Ptx::from_binary(image.code)
        };
        let module = context.load_module(code).map_err(|source| GpuError::Load {
            name: image.name,
            arch: arch.to_owned(),
            source,
        })?;
        Ok((image.name, module))
    };
    images.into_iter().map(module).collect()
}

/// Opens a shared library and never closes it. What the loader said, if it cannot be opened.
fn keep_open(path: &Path) -> Result<(), String> {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    // SAFETY: the initialisers of a library that the operator named run with our rights, as those of any linked library do.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) }.map_err(|error| error.to_string())?;
    std::mem::forget(library);
    Ok(())
}
