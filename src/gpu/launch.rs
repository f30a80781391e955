//! Kernels by name, their launches, and graphs of launches that are replayed as one.

use cudarc::driver::{CudaFunction, CudaGraph, LaunchConfig, PushKernelArg, sys};

use super::{Buffer, Gpu, GpuError, Pointer};

/// A kernel that is ready to launch.
#[derive(Clone, Debug)]
pub struct Kernel {
    function: CudaFunction,
}

/// How many threads run a kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Blocks along x, y and z.
    pub grid: [usize; 3],
    /// Threads of a block along x and y.
    pub block: [usize; 2],
    /// Dynamic shared memory of a block in bytes.
    pub shared: usize,
}

/// One argument of a kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arg {
    /// An address.
    Pointer(Pointer),
    /// A 32-bit count or index.
    Int(i32),
    /// A number.
    Float(f32),
}

/// Launches and copies, recorded once and replayed as one.
pub struct Graph(CudaGraph);

// SAFETY: the graph's handles are not tied to a thread; an engine is used by one thread at a time.
unsafe impl Send for Graph {}

impl Gpu {
    /// The kernel `name` of the source `file`, allowed `shared` bytes of dynamic shared memory a block.
    ///
    /// # Errors
    /// There is no such kernel, or the device has less shared memory.
    pub fn kernel(&self, file: &'static str, name: &str, shared: usize) -> Result<Kernel, GpuError> {
        let missing = || GpuError::NoKernel {
            file,
            name: name.to_owned(),
        };
        let module = self.modules.get(file).ok_or_else(missing)?;
        let function = module.load_function(name).map_err(|_| missing())?;
        if shared > self.found.device.shared {
            return Err(GpuError::Unsupported(format!(
                "{name} needs {shared} bytes of shared memory, the device has {}",
                self.found.device.shared
            )));
        }
        // Static shared memory counts too, so the limit is raised for any amount.
        if shared > 0 {
            let attribute = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            function.set_attribute(attribute, int(shared)?)?;
        }
        Ok(Kernel { function })
    }

    /// Asks for a run of `kernel`, after everything asked for so far. An empty grid does nothing.
    ///
    /// # Errors
    /// A number is too large, or the driver refused the launch.
    ///
    /// # Safety
    /// The arguments are of the number and kinds that the kernel takes, and with them it stays within its buffers.
    pub unsafe fn launch(&self, kernel: &Kernel, shape: Shape, args: &[Arg]) -> Result<(), GpuError> {
        let Shape { grid, block, shared } = shape;
        if grid.contains(&0) {
            return Ok(());
        }
        let size = |count: usize| u32::try_from(count).map_err(|_| GpuError::TooLarge(count));
        let config = LaunchConfig {
            grid_dim: (size(grid[0])?, size(grid[1])?, size(grid[2])?),
            block_dim: (size(block[0])?, size(block[1])?, 1),
            shared_mem_bytes: size(shared)?,
        };
        // The driver reads as many bytes of each word as the kernel declares; both are little-endian.
        let words: Vec<u64> = args.iter().map(|arg| arg.word()).collect();
        let mut launch = self.stream.launch_builder(&kernel.function);
        for word in &words {
            launch.arg(word);
        }
        // SAFETY: what the caller promises.
        unsafe { launch.launch(config) }?;
        Ok(())
    }

    /// Records what `asked` asks for instead of doing it.
    ///
    /// # Errors
    /// What `asked` returned, or the driver cannot record it.
    pub fn record(&self, asked: impl FnOnce() -> Result<(), GpuError>) -> Result<Graph, GpuError> {
        self.stream
            .begin_capture(sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)?;
        let result = asked();
        // The capture ends whatever came of it, or the stream would stay unusable.
        let graph = self.stream.end_capture(sys::CUgraphInstantiate_flags(0));
        result?;
        let graph = graph?.ok_or_else(|| GpuError::Unsupported("an empty graph".to_owned()))?;
        graph.upload()?;
        Ok(Graph(graph))
    }

    /// Does everything in the graph, after everything asked for so far, and waits for its end.
    ///
    /// # Errors
    /// The driver refused, or something failed on the device, whose memory is then unusable.
    pub fn run(&self, graph: &Graph) -> Result<(), GpuError> {
        self.replay(graph)?;
        self.wait()
    }

    /// Asks for everything in a graph of launches alone, without waiting; one with copies has to be [`Gpu::run`].
    ///
    /// # Errors
    /// The driver refused.
    pub fn replay(&self, graph: &Graph) -> Result<(), GpuError> {
        Ok(graph.0.launch()?)
    }
}

impl Arg {
    fn word(self) -> u64 {
        match self {
            Arg::Pointer(Pointer(address)) => address,
            Arg::Int(value) => u64::from(value.cast_unsigned()),
            Arg::Float(value) => u64::from(value.to_bits()),
        }
    }
}

impl From<Pointer> for Arg {
    fn from(pointer: Pointer) -> Self {
        Arg::Pointer(pointer)
    }
}

impl<T> From<&Buffer<T>> for Arg {
    fn from(buffer: &Buffer<T>) -> Self {
        Arg::Pointer(buffer.pointer())
    }
}

impl From<i32> for Arg {
    fn from(value: i32) -> Self {
        Arg::Int(value)
    }
}

impl From<f32> for Arg {
    fn from(value: f32) -> Self {
        Arg::Float(value)
    }
}

/// A count as kernels take it.
///
/// # Errors
/// It has more than 31 bits.
pub fn int(count: usize) -> Result<i32, GpuError> {
    i32::try_from(count).map_err(|_| GpuError::TooLarge(count))
}
