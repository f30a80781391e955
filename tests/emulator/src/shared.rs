//! The shared memory of a block.

use crate::error::{Access, FaultKind, Place};
use crate::shadow::{Accessor, Clash, Shadow};

/// Shared memory and its shadow.
#[derive(Default, Debug)]
pub(crate) struct Shared {
    bytes: Vec<u8>,
    shadow: Option<Shadow>,
}

impl Shared {
    /// Starts afresh with `len` bytes of a pattern.
    pub(crate) fn reset(&mut self, len: usize, granule: usize, races: bool, uninitialised: bool) {
        self.bytes.clear();
        self.bytes.resize(len, 0xcd);
        if races || uninitialised {
            self.shadow.get_or_insert_default().reset(len, granule, races, uninitialised);
        } else {
            self.shadow = None;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn checked(&self) -> bool {
        self.shadow.is_some()
    }

    pub(crate) fn place(&self, offset: u64) -> Place {
        Place::Shared {
            offset,
            len: self.bytes.len(),
        }
    }

    /// The byte offset of a lane's access, or what is wrong with it.
    pub(crate) fn locate(&self, address: u64, bytes: usize, access: Access) -> Result<usize, FaultKind> {
        match usize::try_from(address) {
            Ok(at) if at.checked_add(bytes).is_some_and(|end| end <= self.bytes.len()) => {
                if at.is_multiple_of(bytes) {
                    Ok(at)
                } else {
                    Err(FaultKind::Misaligned {
                        access,
                        bytes,
                        place: self.place(address),
                    })
                }
            }
            _ => Err(FaultKind::OutOfBounds {
                access,
                bytes,
                place: self.place(address),
            }),
        }
    }

    /// Pointer to the first byte.
    pub(crate) fn pointer(&mut self) -> *mut u8 {
        self.bytes.as_mut_ptr()
    }

    fn fault(&self, clash: Clash, offset: usize, bytes: usize, by: (usize, usize), access: Access) -> FaultKind {
        let place = self.place(offset as u64);
        match clash {
            Clash::Race(other, other_access) => FaultKind::Race {
                access,
                thread: (by.0 * 32 + by.1) as u32,
                other,
                other_access,
                place,
            },
            Clash::InFlight(thread) => FaultKind::AsyncCopyInFlight {
                access,
                bytes,
                thread,
                place,
            },
            Clash::Uninitialised => FaultKind::Uninitialised { bytes, place },
        }
    }

    /// Notes a read of thread `by` (warp, lane).
    #[inline(always)]
    pub(crate) fn note_read(&mut self, offset: usize, bytes: usize, by: Accessor<'_>, thread: (usize, usize)) -> Result<(), FaultKind> {
        let Some(shadow) = &mut self.shadow else { return Ok(()) };
        match shadow.read(offset, bytes, by) {
            Ok(()) => Ok(()),
            Err(clash) => Err(self.fault(clash, offset, bytes, thread, Access::Read)),
        }
    }

    /// Notes a write of `value`.
    #[inline(always)]
    pub(crate) fn note_write(
        &mut self,
        offset: usize,
        value: &[u8],
        by: Accessor<'_>,
        thread: (usize, usize),
        access: Access,
    ) -> Result<(), FaultKind> {
        let Some(shadow) = &mut self.shadow else { return Ok(()) };
        let old = &self.bytes[offset..offset + value.len()];
        match shadow.write(offset, value.len(), by, access, || old == value) {
            Ok(()) => Ok(()),
            Err(clash) => Err(self.fault(clash, offset, value.len(), thread, access)),
        }
    }

    /// Notes the start of an asynchronous copy.
    pub(crate) fn begin_copy(&mut self, offset: usize, bytes: usize, by: Accessor<'_>, thread: (usize, usize)) -> Result<(), FaultKind> {
        let Some(shadow) = &mut self.shadow else { return Ok(()) };
        shadow
            .begin_copy(offset, bytes, by)
            .map_err(|clash| self.fault(clash, offset, bytes, thread, Access::Write))
    }

    /// Lets the bytes of an asynchronous copy land.
    #[inline(always)]
    pub(crate) fn end_copy(&mut self, offset: usize, data: &[u8], by: Accessor<'_>) {
        if let Some(shadow) = &mut self.shadow {
            shadow.end_copy(offset, data.len(), by);
        }
        self.bytes[offset..offset + data.len()].copy_from_slice(data);
    }
}
