//! Loads, stores and atomics.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::Context;
use super::access::{Pointers, Run};
use super::warp::{ALL, Warp, lanes};
use crate::error::Access;
use crate::op::{Atomic, AtomicKind, MemoryAccess, NONE};

/// Reads the `size` bytes at `pointer` as a number.
///
/// # Safety
/// They must be readable.
#[inline(always)]
unsafe fn read(pointer: *const u8, size: usize) -> u64 {
    // SAFETY: promised by the caller.
    unsafe {
        match size {
            1 => u64::from(pointer.read()),
            2 => u64::from(pointer.cast::<u16>().read_unaligned()),
            4 => u64::from(pointer.cast::<u32>().read_unaligned()),
            _ => pointer.cast::<u64>().read_unaligned(),
        }
    }
}

/// Writes the low `size` bytes of `value` at `pointer`.
///
/// # Safety
/// They must be writable.
#[inline(always)]
unsafe fn write(pointer: *mut u8, size: usize, value: u64) {
    // SAFETY: promised by the caller.
    unsafe {
        match size {
            1 => pointer.write(value as u8),
            2 => pointer.cast::<u16>().write_unaligned(value as u16),
            4 => pointer.cast::<u32>().write_unaligned(value as u32),
            _ => pointer.cast::<u64>().write_unaligned(value),
        }
    }
}

impl Context<'_> {
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,bmi1,bmi2,f16c,fma,lzcnt,popcnt"))]
    pub(super) fn load(&mut self, warp: &mut Warp, a: &MemoryAccess, mask: u32) -> Run<()> {
        let bytes = a.size * a.slots.len();
        if let Some(start) = self
            .piece(warp, a.space, a.address, mask, bytes, Access::Read)
            .filter(|_| !a.long && a.sign_to == 0)
        {
            for (index, slot) in a.slots.iter().enumerate().filter(|(_, slot)| **slot != NONE) {
                let to = &mut warp.words[usize::from(*slot)].0;
                let at = |lane: usize| start.wrapping_add(lane * bytes + index * a.size);
                // SAFETY: `piece` checked 32 accesses of `bytes` bytes each, which follow each other.
                unsafe {
                    match (a.size, bytes) {
                        (4, 4) => *to = start.cast::<[u32; 32]>().read_unaligned(),
                        (2, 2) => {
                            let values = start.cast::<[u16; 32]>().read_unaligned();
                            (0..32).for_each(|lane| to[lane] = u32::from(values[lane]));
                        }
                        (4, _) => (0..32).for_each(|lane| to[lane] = at(lane).cast::<u32>().read_unaligned()),
                        _ => (0..32).for_each(|lane| to[lane] = read(at(lane), a.size) as u32),
                    }
                }
            }
            return Ok(());
        }
        let pointers = self.pointers(warp, a.space, a.address, mask, bytes, Access::Read)?;
        if pointers.contiguous && !a.long && a.size == 4 && a.slots.len() == 1 && a.slots[0] != NONE {
            // SAFETY: `pointers` checked 32 accesses of 4 bytes each, which follow each other.
            warp.words[usize::from(a.slots[0])].0 = unsafe { pointers.lane[0].cast::<[u32; 32]>().read_unaligned() };
            return Ok(());
        }
        for (index, slot) in a.slots.iter().enumerate().filter(|(_, slot)| **slot != NONE) {
            let skip = index * a.size;
            if a.long {
                let out = each(&pointers, |pointer| {
                    // SAFETY: `pointers` checked `bytes` bytes for every lane, inactive ones included.
                    extend(unsafe { read(pointer.wrapping_add(skip), a.size) }, a)
                });
                warp.set_long(*slot, &out, mask);
            } else {
                // SAFETY: as above, in all three.
                let out: [u32; 32] = match a.size {
                    4 => each(&pointers, |p| unsafe { p.wrapping_add(skip).cast::<u32>().read_unaligned() }),
                    2 if a.sign_to == 0 => each(&pointers, |p| {
                        u32::from(unsafe { p.wrapping_add(skip).cast::<u16>().read_unaligned() })
                    }),
                    _ => each(&pointers, |p| extend(unsafe { read(p.wrapping_add(skip), a.size) }, a) as u32),
                };
                warp.set_word(*slot, &out, mask);
            }
        }
        Ok(())
    }

    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,bmi1,bmi2,f16c,fma,lzcnt,popcnt"))]
    pub(super) fn store(&mut self, warp: &mut Warp, a: &MemoryAccess, mask: u32) -> Run<()> {
        let bytes = a.size * a.slots.len();
        if let Some(start) = self.piece(warp, a.space, a.address, mask, bytes, Access::Write).filter(|_| !a.long) {
            for (index, slot) in a.slots.iter().enumerate() {
                let from = warp.word(*slot);
                let at = |lane: usize| start.wrapping_add(lane * bytes + index * a.size);
                // SAFETY: `piece` checked 32 accesses of `bytes` bytes each, which follow each other.
                unsafe {
                    match (a.size, bytes) {
                        (4, 4) => start.cast::<[u32; 32]>().write_unaligned(*from),
                        (2, 2) => start.cast::<[u16; 32]>().write_unaligned(from.map(|value| value as u16)),
                        (4, _) => (0..32).for_each(|lane| at(lane).cast::<u32>().write_unaligned(from[lane])),
                        _ => (0..32).for_each(|lane| write(at(lane), a.size, u64::from(from[lane]))),
                    }
                }
            }
            return Ok(());
        }
        let pointers = self.pointers(warp, a.space, a.address, mask, bytes, Access::Write)?;
        let part = |warp: &Warp, index: usize, lane: usize| {
            let slot = a.slots[index];
            if a.long {
                warp.long(slot)[lane]
            } else {
                u64::from(warp.word(slot)[lane])
            }
        };
        let shared = pointers.shared.is_some() && self.shared.checked();
        if shared {
            // one lane after the other, so that two lanes that write different values to one place are noticed
            for lane in lanes(mask) {
                let mut value = [0_u8; 32];
                for index in 0..a.slots.len() {
                    value[index * a.size..][..a.size].copy_from_slice(&part(warp, index, lane).to_le_bytes()[..a.size]);
                }
                self.note_writes(warp, &pointers, 1 << lane, bytes, Access::Write, |_| value)?;
                // SAFETY: `pointers` checked `bytes` bytes for this lane.
                unsafe { std::ptr::copy_nonoverlapping(value.as_ptr(), pointers.lane[lane], bytes) };
            }
            return Ok(());
        }
        if pointers.contiguous && !a.long && a.size == 4 && a.slots.len() == 1 {
            // SAFETY: `pointers` checked 32 accesses of 4 bytes each, which follow each other.
            unsafe { pointers.lane[0].cast::<[u32; 32]>().write_unaligned(*warp.word(a.slots[0])) };
            return Ok(());
        }
        for index in 0..a.slots.len() {
            let skip = index * a.size;
            if mask == ALL && !a.long {
                let values = warp.word(a.slots[index]);
                // SAFETY: `pointers` checked `bytes` bytes for every lane.
                match a.size {
                    4 => (0..32).for_each(|lane| unsafe { write(pointers.lane[lane].wrapping_add(skip), 4, u64::from(values[lane])) }),
                    2 => (0..32).for_each(|lane| unsafe { write(pointers.lane[lane].wrapping_add(skip), 2, u64::from(values[lane])) }),
                    size => {
                        (0..32).for_each(|lane| unsafe { write(pointers.lane[lane].wrapping_add(skip), size, u64::from(values[lane])) })
                    }
                }
                continue;
            }
            for lane in lanes(mask) {
                // SAFETY: as above, for the active lanes.
                unsafe { write(pointers.lane[lane].wrapping_add(skip), a.size, part(warp, index, lane)) };
            }
        }
        Ok(())
    }

    /// Atomics, lane by lane. Global ones are atomic also between blocks; of shared ones there is only one block.
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,bmi1,bmi2,f16c,fma,lzcnt,popcnt"))]
    pub(super) fn atomic(&mut self, warp: &mut Warp, a: &Atomic, mask: u32) -> Run<()> {
        let bytes = if a.long { 8 } else { 4 };
        let pointers = self.pointers(warp, a.space, a.address, mask, bytes, Access::Atomic)?;
        self.note_writes(warp, &pointers, mask, bytes, Access::Atomic, |_| [0; 8])?;
        for lane in lanes(mask) {
            let operand = |slot| {
                if a.long {
                    warp.long(slot)[lane]
                } else {
                    u64::from(warp.word(slot)[lane])
                }
            };
            let value = operand(a.value);
            let swap = if a.swap == NONE { 0 } else { operand(a.swap) };
            let pointer = pointers.lane[lane];
            // SAFETY: `pointers` checked that these bytes exist and are aligned.
            let old = unsafe {
                if a.long {
                    let cell = AtomicU64::from_ptr(pointer.cast());
                    let update = |old| Some(combine(a.kind, old, value, swap, true));
                    cell.fetch_update(Ordering::AcqRel, Ordering::Acquire, update).unwrap_or_default()
                } else {
                    let cell = AtomicU32::from_ptr(pointer.cast());
                    let update = |old: u32| Some(combine(a.kind, u64::from(old), value, swap, false) as u32);
                    u64::from(cell.fetch_update(Ordering::AcqRel, Ordering::Acquire, update).unwrap_or_default())
                }
            };
            if a.d != NONE && a.long {
                warp.longs[usize::from(a.d)].0[lane] = old;
            } else if a.d != NONE {
                warp.words[usize::from(a.d)].0[lane] = old as u32;
            }
        }
        Ok(())
    }
}

#[inline(always)]
fn each<T: Copy + Default>(pointers: &Pointers, value: impl Fn(*mut u8) -> T) -> [T; 32] {
    let mut out = [T::default(); 32];
    for lane in 0..32 {
        out[lane] = value(pointers.lane[lane]);
    }
    out
}

/// Extends the sign of a narrow signed element.
#[inline(always)]
fn extend(value: u64, a: &MemoryAccess) -> u64 {
    if a.sign_to == 0 {
        return value;
    }
    let drop = 64 - 8 * a.size as u32;
    let wide = (((value << drop) as i64) >> drop) as u64;
    let unused = 64 - a.sign_to.min(64);
    (wide << unused) >> unused
}

fn combine(kind: AtomicKind, old: u64, value: u64, swap: u64, long: bool) -> u64 {
    let signed = |x: u64| if long { x as i64 } else { i64::from(x as i32) };
    match kind {
        AtomicKind::Add => old.wrapping_add(value),
        AtomicKind::AddF32 => u64::from((f32::from_bits(old as u32) + f32::from_bits(value as u32)).to_bits()),
        AtomicKind::AddF64 => (f64::from_bits(old) + f64::from_bits(value)).to_bits(),
        AtomicKind::MinS => signed(old).min(signed(value)) as u64,
        AtomicKind::MaxS => signed(old).max(signed(value)) as u64,
        AtomicKind::MinU => old.min(value),
        AtomicKind::MaxU => old.max(value),
        AtomicKind::And => old & value,
        AtomicKind::Or => old | value,
        AtomicKind::Xor => old ^ value,
        AtomicKind::Exchange => value,
        AtomicKind::CompareExchange => {
            if old == value {
                swap
            } else {
                old
            }
        }
        AtomicKind::Inc => {
            if old >= value {
                0
            } else {
                old + 1
            }
        }
        AtomicKind::Dec => {
            if old == 0 || old > value {
                value
            } else {
                old - 1
            }
        }
    }
}
