//! Memory: on the device, and on the host where copies to and from the device run by themselves (pinned).
//!
//! All sizes are chosen when an engine is made; nothing is allocated during a step. Who calls it: launchers, `model::device`.

use std::ops::Range;

use cudarc::driver::{CudaSlice, DevicePtr, DeviceRepr, PinnedHostSlice, ValidAsZeroBits, result, sys};

use super::{Gpu, GpuError};

/// Plain numbers that kernels read and write: `f32`, `i32`, `i16`, and `u16` for the bits of an f16.
pub trait Number: DeviceRepr + ValidAsZeroBits + Copy + Default {}

impl Number for f32 {}
impl Number for i32 {}
impl Number for i16 {}
impl Number for u16 {}

/// Numbers on the device; freed when dropped.
#[derive(Debug)]
pub struct Buffer<T> {
    slice: CudaSlice<T>,
    address: sys::CUdeviceptr,
}

/// An address on the device, as kernels take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pointer(pub(super) sys::CUdeviceptr);

impl Pointer {
    /// The address that kernels take for "not there".
    pub const NULL: Pointer = Pointer(0);
}

/// Numbers on the host that the device copies by itself.
pub struct Pinned<T> {
    slice: PinnedHostSlice<T>,
    pointer: *mut T,
}

// SAFETY: the memory belongs to this value alone and is not tied to a thread.
unsafe impl<T: Send> Send for Pinned<T> {}

// SAFETY: a shared reference only reads.
unsafe impl<T: Sync> Sync for Pinned<T> {}

impl Gpu {
    /// `count` zeros.
    ///
    /// # Errors
    /// There is not enough memory, or the driver failed.
    pub fn zeros<T: Number>(&self, count: usize) -> Result<Buffer<T>, GpuError> {
        let slice = self
            .stream
            .alloc_zeros(count.max(1))
            .map_err(|error| refused(error, count.saturating_mul(size_of::<T>())))?;
        let address = slice.device_ptr(&self.stream).0;
        Ok(Buffer { slice, address })
    }

    /// The values of `data`, copied.
    ///
    /// # Errors
    /// As [`Gpu::zeros`].
    pub fn upload<T: Number>(&self, data: &[T]) -> Result<Buffer<T>, GpuError> {
        let mut buffer = self.zeros(data.len())?;
        if !data.is_empty() {
            self.stream.memcpy_htod(data, &mut buffer.slice)?;
            // The caller may drop what the copy reads.
            self.wait()?;
        }
        Ok(buffer)
    }

    /// The values of a buffer, after everything asked for so far; for start-up and tests.
    ///
    /// # Errors
    /// The driver failed.
    pub fn download<T: Number>(&self, buffer: &Buffer<T>) -> Result<Vec<T>, GpuError> {
        let data = self.stream.clone_dtoh(&buffer.slice)?;
        self.wait()?;
        Ok(data)
    }

    /// `count` zeros on the host.
    ///
    /// # Errors
    /// The driver has no such memory.
    pub fn pinned<T: Number>(&self, count: usize) -> Result<Pinned<T>, GpuError> {
        // SAFETY: the memory is filled below, before anybody can read it.
        let mut slice = unsafe { self.context.alloc_pinned_with_flags::<T>(count.max(1), 0) }
            .map_err(|error| refused(error, count.saturating_mul(size_of::<T>())))?;
        slice.as_mut_slice()?.fill(T::default());
        let pointer = slice.as_mut_ptr()?;
        Ok(Pinned { slice, pointer })
    }

    /// Records a copy of `range` of `from` to the start of `into`; only inside [`Gpu::record`].
    ///
    /// # Errors
    /// The range is not in `from` or does not fit `into`, or the driver cannot record it.
    pub(crate) fn copy_in<T: Number>(&self, from: &Pinned<T>, range: Range<usize>, into: &mut Buffer<T>) -> Result<(), GpuError> {
        let source = from.get(range.clone()).filter(|source| source.len() <= into.len());
        let source = source.ok_or(GpuError::Length {
            from: range.len(),
            into: into.len(),
        })?;
        // SAFETY: both places are as long as the copy. It is recorded, not done: the device reads the host's side only in
        // `Gpu::run`, whose one caller (`model::device`) owns both sides and the graph and is borrowed exclusively meanwhile.
        unsafe { result::memcpy_htod_async(into.address, source, self.stream.cu_stream()) }?;
        Ok(())
    }

    /// Records a copy of the first `count` values of `from` to the start of `into`; only inside [`Gpu::record`].
    ///
    /// # Errors
    /// One of the two is shorter, or the driver cannot record it.
    pub(crate) fn copy_out<T: Number>(&self, from: &Buffer<T>, count: usize, into: &mut Pinned<T>) -> Result<(), GpuError> {
        let (length, into_length) = (from.len(), into.len());
        let target = into.get_mut(..count).filter(|_| count <= length);
        let target = target.ok_or(GpuError::Length {
            from: count,
            into: into_length.min(length),
        })?;
        // SAFETY: as in `copy_in`, the device writing the host's side.
        unsafe { result::memcpy_dtoh_async(target, from.address, self.stream.cu_stream()) }?;
        Ok(())
    }
}

fn refused(error: result::DriverError, bytes: usize) -> GpuError {
    if error.0 == sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY {
        GpuError::OutOfMemory { bytes }
    } else {
        GpuError::Driver(error)
    }
}

impl<T> Buffer<T> {
    /// Numbers in it.
    pub fn len(&self) -> usize {
        self.slice.len()
    }

    /// True if there are none; never so.
    pub fn is_empty(&self) -> bool {
        self.slice.is_empty()
    }

    /// Where it begins.
    pub fn pointer(&self) -> Pointer {
        Pointer(self.address)
    }

    /// The address of number `index`.
    ///
    /// # Errors
    /// There is no such number.
    pub fn at(&self, index: usize) -> Result<Pointer, GpuError> {
        let offset = (index < self.len()).then(|| u64::try_from(index * size_of::<T>()).ok()).flatten();
        let offset = offset.ok_or(GpuError::Length {
            from: index,
            into: self.len(),
        })?;
        Ok(Pointer(self.address + offset))
    }
}

impl<T> std::ops::Deref for Pinned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the allocation holds that many initialised values, and `self` owns it.
        unsafe { std::slice::from_raw_parts(self.pointer, self.slice.len()) }
    }
}

impl<T> std::ops::DerefMut for Pinned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.pointer, self.slice.len()) }
    }
}

/// The bits of each value as f16, rounded to nearest and held within the finite values.
pub fn halves(values: &[f32]) -> Vec<u16> {
    values
        .iter()
        .map(|value| half::f16::from_f32(value.clamp(-65_504.0, 65_504.0)).to_bits())
        .collect()
}
