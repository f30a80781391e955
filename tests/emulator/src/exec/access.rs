//! From the addresses of a warp to pointers, with every check on the way.

use super::Context;
use super::warp::{ALL, Warp, lanes};
use crate::error::{Access, FaultKind, Place};
use crate::memory::{LOCAL_WINDOW, SHARED_WINDOW, in_window, split};
use crate::op::Address;
use crate::shadow::Accessor;
use crate::types::Space;

/// A fault and the lane it was found in.
#[derive(Debug)]
pub(super) struct Trap {
    pub kind: FaultKind,
    pub lane: Option<usize>,
}

/// The outcome of an instruction; the error is boxed so that success costs nothing.
pub(super) type Run<T> = Result<T, Box<Trap>>;

pub(super) fn trap<T>(kind: FaultKind, lane: usize) -> Run<T> {
    Err(Box::new(Trap { kind, lane: Some(lane) }))
}

/// Where the lanes of a warp access memory. Lanes outside the mask point where some lane inside it does, so that loads may run
/// over all lanes.
pub(super) struct Pointers {
    pub lane: [*mut u8; 32],
    /// All 32 lanes are active and each accesses the bytes right after those of the one before.
    pub contiguous: bool,
    /// Offsets in shared memory, where that is what is accessed.
    pub shared: Option<[u32; 32]>,
}

/// The addresses of the lanes.
#[inline(always)]
pub(super) fn addresses(warp: &Warp, address: Address) -> [u64; 32] {
    let mut out = [0; 32];
    if address.long {
        let base = warp.long(address.base);
        for lane in 0..32 {
            out[lane] = base[lane].wrapping_add_signed(address.offset);
        }
    } else {
        let base = warp.word(address.base);
        for lane in 0..32 {
            out[lane] = u64::from(base[lane].wrapping_add(address.offset as u32));
        }
    }
    out
}

/// The largest of the active lanes' offsets, all bits that occur in them, and whether the lanes follow each other by `bytes`.
#[inline(always)]
fn survey(offsets: &[u64; 32], mask: u32, bytes: usize) -> (u64, u64, bool) {
    let (mut largest, mut bits, mut apart) = (0_u64, 0_u64, 0_u64);
    for lane in 0..32 {
        largest = if offsets[lane] > largest { offsets[lane] } else { largest };
        bits |= offsets[lane];
        apart |= offsets[lane] ^ (offsets[0].wrapping_add((lane * bytes) as u64));
    }
    (largest, bits, apart == 0 && mask == ALL)
}

/// Makes the inactive lanes repeat the first active one.
#[inline(always)]
fn fill_inactive(values: &mut [u64; 32], mask: u32) {
    if mask != ALL {
        let first = values[mask.trailing_zeros() as usize & 31];
        for lane in 0..32 {
            values[lane] = if mask >> lane & 1 == 1 { values[lane] } else { first };
        }
    }
}

impl Context<'_> {
    /// Checks an access of `bytes` bytes per lane and says where it goes. In shared memory reads are noted here; writes are to be
    /// noted by the caller, who knows the values.
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,bmi1,bmi2,f16c,fma,lzcnt,popcnt"))]
    pub(super) fn pointers(
        &mut self,
        warp: &mut Warp,
        space: Space,
        address: Address,
        mask: u32,
        bytes: usize,
        access: Access,
    ) -> Run<Pointers> {
        let mut at = addresses(warp, address);
        fill_inactive(&mut at, mask);
        match space {
            Space::Global | Space::Const => self.global(&at, mask, bytes, access),
            Space::Shared => self.shared_pointers(warp, &at, mask, bytes, access),
            Space::Local => self.local(warp, &at, mask, bytes, access),
            Space::Param => self.param(&at, mask, bytes, access),
            Space::Generic => {
                let within = |window: u64| (0..32).filter(|lane| in_window(at[*lane], window)).count();
                match (within(SHARED_WINDOW), within(LOCAL_WINDOW)) {
                    (0, 0) => self.global(&at, mask, bytes, access),
                    (32, _) => {
                        at.iter_mut().for_each(|a| *a -= SHARED_WINDOW);
                        self.shared_pointers(warp, &at, mask, bytes, access)
                    }
                    (_, 32) => {
                        at.iter_mut().for_each(|a| *a -= LOCAL_WINDOW);
                        self.local(warp, &at, mask, bytes, access)
                    }
                    _ => {
                        let detail = "generic addresses of one warp in different state spaces".to_owned();
                        trap(FaultKind::Unsupported { detail }, mask.trailing_zeros() as usize)
                    }
                }
            }
        }
    }

    /// The usual case, quickly: all lanes in one piece of global memory, one after the other, and nothing to object to. Gives the
    /// place of the first lane; otherwise the full check is to say what is what.
    #[inline(always)]
    pub(super) fn piece(&self, warp: &Warp, space: Space, address: Address, mask: u32, bytes: usize, access: Access) -> Option<*mut u8> {
        if mask != ALL || !address.long || !matches!(space, Space::Global | Space::Const) {
            return None;
        }
        let base = warp.long(address.base);
        let mut apart = 0;
        for lane in 0..32 {
            apart |= base[lane] ^ base[0].wrapping_add((lane * bytes) as u64);
        }
        if apart != 0 {
            return None;
        }
        let (id, offset) = split(base[0].wrapping_add_signed(address.offset));
        let allocation = self.machine.table.accessible(id, access)?;
        let at = usize::try_from(offset).ok()?;
        if at + 32 * bytes > allocation.len() || at & (bytes - 1) != 0 {
            return None;
        }
        if !allocation.is_complete() {
            if access != Access::Write && self.machine.options.uninitialised && !allocation.is_written(at, 32 * bytes) {
                return None;
            }
            if access != Access::Read {
                allocation.mark(at, 32 * bytes);
            }
        }
        Some(allocation.pointer(at))
    }

    #[inline(always)]
    fn global(&mut self, at: &[u64; 32], mask: u32, bytes: usize, access: Access) -> Run<Pointers> {
        let table = self.machine.table;
        let (id, first) = split(at[0]);
        let start = at[0].wrapping_sub(first as u64);
        let mut offsets = [0_u64; 32];
        for lane in 0..32 {
            offsets[lane] = at[lane].wrapping_sub(start);
        }
        let (largest, bits, contiguous) = survey(&offsets, mask, bytes);
        let uninitialised = self.machine.options.uninitialised;
        let mut pointers = [std::ptr::null_mut(); 32];
        let Some(allocation) = table
            .accessible(id, access)
            .filter(|a| largest.saturating_add(bytes as u64) <= a.len() as u64 && bits & (bytes as u64 - 1) == 0)
        else {
            // not all in one allocation, or something is wrong: one lane at a time
            for lane in lanes(mask) {
                let (allocation, offset) = match table.resolve(at[lane], bytes, access) {
                    Ok(found) => found,
                    Err(kind) => return trap(kind, lane),
                };
                if access != Access::Write && uninitialised && !allocation.is_written(offset, bytes) {
                    let place = allocation.place(split(at[lane]).0, offset);
                    return trap(FaultKind::Uninitialised { bytes, place }, lane);
                }
                if access != Access::Read {
                    allocation.mark(offset, bytes);
                }
                pointers[lane] = allocation.pointer(offset);
            }
            let some = pointers[mask.trailing_zeros() as usize & 31];
            pointers.iter_mut().filter(|p| p.is_null()).for_each(|p| *p = some);
            return Ok(Pointers {
                lane: pointers,
                contiguous: false,
                shared: None,
            });
        };
        if !allocation.is_complete() {
            let whole = contiguous.then_some((offsets[0] as usize, 32 * bytes));
            if access != Access::Write && uninitialised && !whole.is_some_and(|(at, n)| allocation.is_written(at, n)) {
                for lane in lanes(mask) {
                    let offset = offsets[lane] as usize;
                    if !allocation.is_written(offset, bytes) {
                        return trap(
                            FaultKind::Uninitialised {
                                bytes,
                                place: allocation.place(id, offset),
                            },
                            lane,
                        );
                    }
                }
            }
            if access != Access::Read {
                match whole {
                    Some((at, count)) => allocation.mark(at, count),
                    None => lanes(mask).for_each(|lane| allocation.mark(offsets[lane] as usize, bytes)),
                }
            }
        }
        let base = allocation.pointer(0);
        for lane in 0..32 {
            pointers[lane] = base.wrapping_add(offsets[lane] as usize);
        }
        Ok(Pointers {
            lane: pointers,
            contiguous,
            shared: None,
        })
    }

    #[inline(always)]
    fn shared_pointers(&mut self, warp: &Warp, at: &[u64; 32], mask: u32, bytes: usize, access: Access) -> Run<Pointers> {
        let (largest, bits, contiguous) = survey(at, mask, bytes);
        if largest.saturating_add(bytes as u64) > self.shared.len() as u64 || bits & (bytes as u64 - 1) != 0 {
            for lane in lanes(mask) {
                if let Err(kind) = self.shared.locate(at[lane], bytes, access) {
                    return trap(kind, lane);
                }
            }
        }
        if access == Access::Read && self.shared.checked() {
            for lane in lanes(mask) {
                let by = Accessor::new(&self.clocks, warp.index, lane);
                if let Err(kind) = self.shared.note_read(at[lane] as usize, bytes, by, (warp.index, lane)) {
                    return trap(kind, lane);
                }
            }
        }
        let base = self.shared.pointer();
        let (mut pointers, mut offsets) = ([std::ptr::null_mut(); 32], [0; 32]);
        for lane in 0..32 {
            pointers[lane] = base.wrapping_add(at[lane] as usize);
            offsets[lane] = at[lane] as u32;
        }
        Ok(Pointers {
            lane: pointers,
            contiguous,
            shared: Some(offsets),
        })
    }

    fn local(&mut self, warp: &mut Warp, at: &[u64; 32], mask: u32, bytes: usize, access: Access) -> Run<Pointers> {
        let len = self.machine.kernel.local_bytes;
        let some = mask.trailing_zeros() as usize & 31;
        let base = warp.local.as_mut_ptr();
        let mut pointers = [base; 32];
        for lane in lanes(mask) {
            let offset = at[lane];
            let place = Place::Local { offset, len };
            if offset.saturating_add(bytes as u64) > len as u64 {
                return trap(FaultKind::OutOfBounds { access, bytes, place }, lane);
            }
            if offset & (bytes as u64 - 1) != 0 {
                return trap(FaultKind::Misaligned { access, bytes, place }, lane);
            }
            pointers[lane] = base.wrapping_add(lane * len + offset as usize);
        }
        for lane in lanes(!mask) {
            pointers[lane] = pointers[some];
        }
        Ok(Pointers {
            lane: pointers,
            contiguous: false,
            shared: None,
        })
    }

    fn param(&mut self, at: &[u64; 32], mask: u32, bytes: usize, access: Access) -> Run<Pointers> {
        let params = self.machine.params;
        for lane in lanes(mask) {
            if at[lane].saturating_add(bytes as u64) > params.len() as u64 {
                let place = Place::Param {
                    offset: at[lane],
                    len: params.len(),
                };
                return trap(FaultKind::OutOfBounds { access, bytes, place }, lane);
            }
        }
        // only loads have this space, so nothing is written through these pointers
        let base = params.as_ptr().cast_mut();
        Ok(Pointers {
            lane: std::array::from_fn(|lane| base.wrapping_add(at[lane] as usize)),
            contiguous: false,
            shared: None,
        })
    }

    /// Notes the writes of a warp to shared memory; `value` gives the bytes of a lane.
    #[inline(always)]
    pub(super) fn note_writes<const N: usize>(
        &mut self,
        warp: &Warp,
        pointers: &Pointers,
        mask: u32,
        bytes: usize,
        access: Access,
        value: impl Fn(usize) -> [u8; N],
    ) -> Run<()> {
        let Some(offsets) = &pointers.shared else { return Ok(()) };
        if !self.shared.checked() {
            return Ok(());
        }
        for lane in lanes(mask) {
            let by = Accessor::new(&self.clocks, warp.index, lane);
            let value = value(lane);
            if let Err(kind) = self
                .shared
                .note_write(offsets[lane] as usize, &value[..bytes], by, (warp.index, lane), access)
            {
                return trap(kind, lane);
            }
        }
        Ok(())
    }
}
