//! Device memory: allocations whose number is in the top bits of every address.

use std::alloc::{Layout, alloc, dealloc};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use crate::error::{Access, FaultKind, Place};

/// Bits of an address below the allocation's number.
const OFFSET_BITS: u32 = 40;
/// Where an allocation starts among its addresses: far from zero, so that small negative offsets stay with it.
const BASE: u64 = 1 << 36;
const OFFSET_MASK: u64 = (1 << OFFSET_BITS) - 1;
/// Allocation numbers that stand for the shared and local windows of generic addresses.
const LOCAL_ID: u64 = 0x7e_0000;
const SHARED_ID: u64 = 0x7f_0000;
/// First generic address of shared memory.
pub(crate) const SHARED_WINDOW: u64 = SHARED_ID << OFFSET_BITS;
/// First generic address of local memory.
pub(crate) const LOCAL_WINDOW: u64 = LOCAL_ID << OFFSET_BITS;
/// What fresh memory holds.
const POISON: u8 = 0xcd;
const ALIGNMENT: usize = 256;

/// Whether a generic address is in the window that starts at `window`.
pub(crate) fn in_window(address: u64, window: u64) -> bool {
    address >> OFFSET_BITS == window >> OFFSET_BITS
}

/// Why memory could not be given, freed, read or written by the host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// The host cannot give that much, or allocation numbers ran out.
    #[error("no memory for {bytes} bytes")]
    OutOfMemory {
        /// Bytes asked for.
        bytes: usize,
    },
    /// Not the address of a live allocation.
    #[error("{address:#x} is not the start of an allocation")]
    NotAnAllocation {
        /// The address.
        address: u64,
    },
    /// A range that does not lie within one live allocation.
    #[error("{bytes} bytes at {address:#x} do not lie within an allocation")]
    OutOfBounds {
        /// The address.
        address: u64,
        /// Length of the range.
        bytes: usize,
    },
}

/// One allocation.
pub(crate) struct Allocation {
    data: *mut u8,
    len: usize,
    /// One bit per byte that was ever written.
    written: Box<[AtomicU64]>,
    written_bytes: AtomicUsize,
    /// All bytes were written: `written` need not be looked at any more.
    complete: AtomicBool,
    read_only: AtomicBool,
}

// SAFETY: `data` is owned by the allocation, and freed only by `drop`. Its bytes are reached through raw pointers alone (no
// reference to them is ever made), by plain or atomic accesses of the width the kernel uses. Two blocks that write the same
// bytes at once are a race of the kernel under test: the bytes then hold one of the values or a mixture, and nothing in the
// emulator depends on which (they are only ever numbers).
unsafe impl Send for Allocation {}
// SAFETY: as above.
unsafe impl Sync for Allocation {}

impl Drop for Allocation {
    fn drop(&mut self) {
        if let Ok(layout) = Layout::from_size_align(self.len.max(1), ALIGNMENT) {
            // SAFETY: `data` came from `alloc` with this same layout.
            unsafe { dealloc(self.data, layout) };
        }
    }
}

impl Allocation {
    fn new(len: usize) -> Option<Self> {
        let layout = Layout::from_size_align(len.max(1), ALIGNMENT).ok()?;
        // SAFETY: the layout has a size of at least one byte.
        let data = unsafe { alloc(layout) };
        if data.is_null() {
            return None;
        }
        // SAFETY: `data` points at `len` bytes that were just allocated.
        unsafe { data.write_bytes(POISON, len) };
        let written = (0..len.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        let flags = (AtomicBool::new(len == 0), AtomicBool::new(false));
        Some(Allocation {
            data,
            len,
            written,
            written_bytes: AtomicUsize::new(0),
            complete: flags.0,
            read_only: flags.1,
        })
    }

    /// Pointer to the byte at `offset`, which must be within the allocation.
    pub(crate) fn pointer(&self, offset: usize) -> *mut u8 {
        debug_assert!(offset <= self.len, "offset {offset} of {}", self.len);
        // SAFETY: callers check the offset against `len`.
        unsafe { self.data.add(offset) }
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Relaxed)
    }

    /// Notes that `count` bytes from `offset` on were written.
    pub(crate) fn mark(&self, offset: usize, count: usize) {
        if self.is_complete() {
            return;
        }
        let mut fresh = 0;
        for_words(offset, count, |word, mask| {
            let bits = &self.written[word];
            if bits.load(Ordering::Relaxed) & mask != mask {
                let before = bits.fetch_or(mask, Ordering::Relaxed);
                fresh += (mask & !before).count_ones() as usize;
            }
            true
        });
        if fresh > 0 && self.written_bytes.fetch_add(fresh, Ordering::Relaxed) + fresh == self.len {
            self.complete.store(true, Ordering::Relaxed);
        }
    }

    /// Whether all of the `count` bytes from `offset` on were written.
    pub(crate) fn is_written(&self, offset: usize, count: usize) -> bool {
        self.is_complete()
            || for_words(offset, count, |word, mask| {
                self.written[word].load(Ordering::Relaxed) & mask == mask
            })
    }
}

/// Calls `visit` with each word of the bitmap that the range touches, and the range's bits in it, while it answers true.
fn for_words(offset: usize, count: usize, mut visit: impl FnMut(usize, u64) -> bool) -> bool {
    let (mut at, end) = (offset, offset + count);
    while at < end {
        let bit = at % 64;
        let take = (64 - bit).min(end - at);
        let ones = if take == 64 { u64::MAX } else { (1 << take) - 1 };
        if !visit(at / 64, ones << bit) {
            return false;
        }
        at += take;
    }
    true
}

enum Entry {
    Live(Box<Allocation>),
    Freed { len: usize },
}

/// The allocations of a memory, by number.
#[derive(Default)]
pub(crate) struct Table {
    entries: Vec<Entry>,
    live_bytes: usize,
}

/// Allocation number and byte offset of an address.
pub(crate) fn split(address: u64) -> (u64, i64) {
    (address >> OFFSET_BITS, (address & OFFSET_MASK) as i64 - BASE as i64)
}

impl Table {
    /// The live allocation with this number.
    pub(crate) fn get(&self, id: u64) -> Option<&Allocation> {
        match self.entries.get(usize::try_from(id).ok()?.checked_sub(1)?)? {
            Entry::Live(allocation) => Some(allocation),
            Entry::Freed { .. } => None,
        }
    }

    /// Finds `bytes` bytes at `address` for one lane, or says what is wrong with them.
    pub(crate) fn resolve(&self, address: u64, bytes: usize, access: Access) -> Result<(&Allocation, usize), FaultKind> {
        let (id, offset) = split(address);
        let slot = usize::try_from(id).ok().and_then(|id| id.checked_sub(1));
        let (live, len) = match slot.and_then(|slot| self.entries.get(slot)) {
            None => {
                return Err(FaultKind::OutOfBounds {
                    access,
                    bytes,
                    place: Place::Wild { address },
                });
            }
            Some(Entry::Live(allocation)) => (Some(allocation), allocation.len),
            Some(Entry::Freed { len }) => (None, *len),
        };
        let place = Place::Global {
            allocation: id as u32,
            offset,
            len,
        };
        let Some(allocation) = live else {
            return Err(FaultKind::UseAfterFree { access, bytes, place });
        };
        if access != Access::Read && allocation.read_only.load(Ordering::Relaxed) {
            return Err(FaultKind::ReadOnly { bytes, place });
        }
        match usize::try_from(offset) {
            Ok(at) if at + bytes <= len => {
                if at.is_multiple_of(bytes.max(1)) {
                    Ok((allocation, at))
                } else {
                    Err(FaultKind::Misaligned { access, bytes, place })
                }
            }
            _ => Err(FaultKind::OutOfBounds { access, bytes, place }),
        }
    }

    /// The allocation and offset of a range that the host uses.
    fn range(&self, address: u64, bytes: usize) -> Result<(&Allocation, usize), MemoryError> {
        let (id, offset) = split(address);
        let at = usize::try_from(offset).ok();
        match (self.get(id), at) {
            (Some(allocation), Some(at)) if at.checked_add(bytes).is_some_and(|end| end <= allocation.len) => Ok((allocation, at)),
            _ => Err(MemoryError::OutOfBounds { address, bytes }),
        }
    }

    /// The live allocation with this number, unless it may not be accessed this way.
    pub(crate) fn accessible(&self, id: u64, access: Access) -> Option<&Allocation> {
        self.get(id)
            .filter(|a| access == Access::Read || !a.read_only.load(Ordering::Relaxed))
    }
}

impl Allocation {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Where the bytes at `offset` are, for messages.
    pub(crate) fn place(&self, id: u64, offset: usize) -> Place {
        Place::Global {
            allocation: id as u32,
            offset: offset as i64,
            len: self.len,
        }
    }
}

/// Device memory. Allocation numbers are never used again, so that every use after a free is seen.
pub struct Memory {
    table: RwLock<Table>,
    id: u32,
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory")
            .field("live_bytes", &self.live_bytes())
            .finish_non_exhaustive()
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Memory {
    /// Memory without allocations.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Memory {
            table: RwLock::default(),
            id: NEXT.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Tells memories apart.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    pub(crate) fn table(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives `bytes` bytes, filled with a pattern that is no sensible number, and counted as never written.
    pub fn alloc(&self, bytes: usize) -> Result<u64, MemoryError> {
        let refuse = MemoryError::OutOfMemory { bytes };
        if bytes as u64 > OFFSET_MASK - BASE {
            return Err(refuse);
        }
        let allocation = Allocation::new(bytes).ok_or_else(|| refuse.clone())?;
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let id = table.entries.len() as u64 + 1;
        if id >= LOCAL_ID {
            return Err(refuse);
        }
        table.entries.push(Entry::Live(Box::new(allocation)));
        table.live_bytes += bytes;
        Ok((id << OFFSET_BITS) + BASE)
    }

    /// Frees an allocation; `address` must be its start.
    pub fn free(&self, address: u64) -> Result<(), MemoryError> {
        let refuse = MemoryError::NotAnAllocation { address };
        let (id, offset) = split(address);
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let slot = usize::try_from(id).ok().and_then(|id| id.checked_sub(1));
        match slot.and_then(|slot| table.entries.get_mut(slot)) {
            Some(entry @ Entry::Live(_)) if offset == 0 => {
                let Entry::Live(allocation) = entry else { return Err(refuse) };
                let len = allocation.len;
                *entry = Entry::Freed { len };
                table.live_bytes -= len;
                Ok(())
            }
            _ => Err(refuse),
        }
    }

    /// Bytes in live allocations.
    pub fn live_bytes(&self) -> usize {
        self.table().live_bytes
    }

    /// Size of the live allocation that starts at `address`.
    pub fn size(&self, address: u64) -> Option<usize> {
        let (id, offset) = split(address);
        (offset == 0).then(|| self.table().get(id).map(|a| a.len)).flatten()
    }

    /// Start and size of the live allocation that `address` lies in.
    pub fn containing(&self, address: u64) -> Option<(u64, usize)> {
        let (id, offset) = split(address);
        let len = self.table().get(id)?.len;
        (offset >= 0 && offset <= len as i64).then_some(((id << OFFSET_BITS) + BASE, len))
    }

    fn with_range<T>(&self, address: u64, bytes: usize, act: impl FnOnce(&Allocation, usize) -> T) -> Result<T, MemoryError> {
        let table = self.table();
        let (allocation, at) = table.range(address, bytes)?;
        Ok(act(allocation, at))
    }

    /// Copies `data` into the device memory at `address`.
    pub fn write(&self, address: u64, data: &[u8]) -> Result<(), MemoryError> {
        self.with_range(address, data.len(), |allocation, at| {
            // SAFETY: the range lies within the allocation, and no reference into it exists.
            unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), allocation.pointer(at), data.len()) };
            allocation.mark(at, data.len());
        })
    }

    /// Copies from the device memory at `address` into `data`.
    pub fn read(&self, address: u64, data: &mut [u8]) -> Result<(), MemoryError> {
        self.with_range(address, data.len(), |allocation, at| {
            // SAFETY: the range lies within the allocation, and `data` cannot overlap it.
            unsafe { std::ptr::copy_nonoverlapping(allocation.pointer(at), data.as_mut_ptr(), data.len()) };
        })
    }

    /// Repeats `pattern` over `bytes` bytes at `address`; a last incomplete pattern is cut.
    pub fn fill(&self, address: u64, bytes: usize, pattern: &[u8]) -> Result<(), MemoryError> {
        self.with_range(address, bytes, |allocation, at| {
            if let [byte] = pattern {
                // SAFETY: the range lies within the allocation.
                unsafe { allocation.pointer(at).write_bytes(*byte, bytes) };
            } else {
                for (index, byte) in pattern.iter().cycle().take(bytes).enumerate() {
                    // SAFETY: `index` is less than `bytes`.
                    unsafe { allocation.pointer(at + index).write(*byte) };
                }
            }
            allocation.mark(at, bytes);
        })
    }

    /// Copies within device memory; the ranges may overlap. Bytes that were never written stay so.
    pub fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<(), MemoryError> {
        let table = self.table();
        let (source, start) = table.range(from, bytes)?;
        let (target, at) = table.range(to, bytes)?;
        // SAFETY: both ranges lie within their allocations; `copy` allows an overlap.
        unsafe { std::ptr::copy(source.pointer(start), target.pointer(at), bytes) };
        if source.is_written(start, bytes) {
            target.mark(at, bytes);
        } else {
            (0..bytes)
                .filter(|i| source.is_written(start + i, 1))
                .for_each(|i| target.mark(at + i, 1));
        }
        Ok(())
    }

    /// Makes an allocation one that kernels may not write.
    pub(crate) fn set_read_only(&self, address: u64) {
        if let Some(allocation) = self.table().get(split(address).0) {
            allocation.read_only.store(true, Ordering::Relaxed);
        }
    }
}
