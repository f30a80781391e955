//! What GPU, driver and compiler this machine has. Who calls it: [`super::Gpu::open`], `hark gpu`.

use std::sync::Arc;
use std::time::Duration;

use cudarc::driver::{CudaContext, result, sys};

use super::{GpuError, Settings, keep_open};

/// Least CUDA version of a driver: the calls that are used exist from it on.
const OLDEST_DRIVER: (i32, i32) = (11, 4);
/// Least compute capability: the kernels' tensor-core instructions exist from it on.
const OLDEST_DEVICE: (i32, i32) = (7, 5);

/// A device as its driver describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Name of the card.
    pub name: String,
    /// Compute capability.
    pub capability: (i32, i32),
    /// Multiprocessors.
    pub multiprocessors: i32,
    /// Bytes of device memory, and how many were free.
    pub memory: (usize, usize),
    /// Bytes of shared memory that one block may have at most.
    pub shared: usize,
}

/// What was found on the way to an open device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// CUDA version that the driver supports, major and minor.
    pub driver: (i32, i32),
    /// The device.
    pub device: Device,
    /// Version of the run-time compiler, once it is found.
    pub nvrtc: Option<(i32, i32)>,
    /// What the kernels were compiled for: `sm_90`, or `compute_90` where the driver takes only PTX.
    pub arch: String,
    /// Sources that were compiled now; the others came from the cache.
    pub compiled: usize,
    /// Time that compiling and loading took.
    pub ready_in: Duration,
}

/// Asks driver and device; compiles nothing.
pub(super) fn probe(settings: &Settings) -> Result<(Arc<CudaContext>, Found), GpuError> {
    if let Some(path) = &settings.driver {
        keep_open(path).map_err(|reason| GpuError::Library {
            path: path.clone(),
            reason,
        })?;
    }
    // SAFETY: the function only asks the loader whether the library is there; calling the driver without it would panic.
    if !unsafe { sys::is_culib_present() } {
        return Err(GpuError::NoDriver);
    }
    let none = |count| GpuError::NoDevice {
        count,
        asked: settings.device,
    };
    match result::init() {
        Err(error) if error.0 == sys::CUresult::CUDA_ERROR_NO_DEVICE => return Err(none(0)),
        other => other?,
    }
    let count = usize::try_from(CudaContext::device_count()?).unwrap_or(0);
    if settings.device >= count {
        return Err(none(count));
    }
    let mut version = 0;
    // SAFETY: `version` is live; the library is there.
    unsafe { sys::cuDriverGetVersion(&raw mut version) }.result()?;
    let context = CudaContext::new(settings.device)?;
    let attribute = |which| context.attribute(which);
    use sys::CUdevice_attribute as Attribute;
    let shared = attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?;
    let (free, total) = context.mem_get_info()?;
    let (driver, capability) = ((version / 1_000, version % 1_000 / 10), context.compute_capability()?);
    if driver < OLDEST_DRIVER || capability < OLDEST_DEVICE {
        return Err(GpuError::Unsupported(format!(
            "the device has compute capability {}.{} and a driver for CUDA {}.{}; {}.{} and {}.{} are needed",
            capability.0, capability.1, driver.0, driver.1, OLDEST_DEVICE.0, OLDEST_DEVICE.1, OLDEST_DRIVER.0, OLDEST_DRIVER.1
        )));
    }
    let found = Found {
        driver,
        device: Device {
            name: context.name()?,
            capability,
            multiprocessors: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
            memory: (total, free),
            shared: usize::try_from(shared).unwrap_or(0),
        },
        nvrtc: None,
        arch: String::new(),
        compiled: 0,
        ready_in: Duration::ZERO,
    };
    Ok((context, found))
}

impl std::fmt::Display for Found {
    /// The lines that `hark gpu` prints.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Device {
            name,
            capability: (major, minor),
            multiprocessors,
            memory: (total, free),
            shared,
        } = &self.device;
        writeln!(
            f,
            "device    {name}, compute capability {major}.{minor}, {multiprocessors} multiprocessors"
        )?;
        writeln!(
            f,
            "memory    {} MiB, {} MiB free; {} KiB shared memory a block",
            total >> 20,
            free >> 20,
            shared >> 10
        )?;
        writeln!(f, "driver    supports CUDA {}.{}", self.driver.0, self.driver.1)?;
        match self.nvrtc {
            Some((major, minor)) => writeln!(f, "compiler  NVRTC {major}.{minor}")?,
            None => writeln!(f, "compiler  none")?,
        }
        write!(
            f,
            "kernels   for {}, {} files compiled now, ready in {} ms",
            self.arch,
            self.compiled,
            self.ready_in.as_millis()
        )
    }
}
