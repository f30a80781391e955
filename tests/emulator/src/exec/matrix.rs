//! `ldmatrix`, `mma.sync` and `cp.async`.

use super::Context;
use super::access::{Run, addresses, trap};
use super::half::{bf16_to_f32, f32_to_f16};
use super::warp::{ALL, PendingCopy, Warp, lanes};
use crate::error::{Access, FaultKind};
use crate::memory::split;
use crate::op::{AsyncCopy, LoadMatrix, Mma, NONE};
use crate::shadow::Accessor;
use crate::types::Space;

fn needs_all(what: &str, mask: u32) -> Run<()> {
    if mask == ALL {
        return Ok(());
    }
    let detail = format!("{what} needs all 32 lanes, but only {mask:#010x} are there");
    trap(FaultKind::InactiveLane { detail }, mask.trailing_zeros() as usize)
}

/// An 8x8 tile of 16-bit values as a warp holds it, two to a register, row after row.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,bmi1,bmi2,f16c,fma,lzcnt,popcnt"))]
#[inline]
fn tile(register: &[u32; 32], bfloat: bool, out: &mut [f32; 64]) {
    if bfloat {
        for lane in 0..32 {
            out[2 * lane] = bf16_to_f32(register[lane] & 0xffff);
            out[2 * lane + 1] = bf16_to_f32(register[lane] >> 16);
        }
    } else {
        halves(register, out);
    }
}

/// The values of packed halves.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,f16c,fma,lzcnt,popcnt")]
#[inline]
fn halves(register: &[u32; 32], out: &mut [f32; 64]) {
    use std::arch::x86_64::{_mm_loadu_si128, _mm256_cvtph_ps, _mm256_storeu_ps};
    for (four, eight) in register.as_chunks::<4>().0.iter().zip(out.as_chunks_mut::<8>().0) {
        // SAFETY: four words are 16 bytes, eight floats 32.
        unsafe { _mm256_storeu_ps(eight.as_mut_ptr(), _mm256_cvtph_ps(_mm_loadu_si128(four.as_ptr().cast()))) };
    }
}

/// The values of packed halves.
#[cfg(not(target_arch = "x86_64"))]
fn halves(register: &[u32; 32], out: &mut [f32; 64]) {
    for lane in 0..32 {
        out[2 * lane] = super::half::f16_to_f32(register[lane] & 0xffff);
        out[2 * lane + 1] = super::half::f16_to_f32(register[lane] >> 16);
    }
}

/// Rows of the left operand, columns of the right one, and the sums of a product.
struct Tiles {
    a: [[f32; 16]; 16],
    b: [[f32; 8]; 16],
    sums: [[f32; 8]; 16],
}

impl Tiles {
    /// Adds the product over `DEPTH` inner indices, four rows at a time so that the sums do not wait for each other.
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,bmi1,bmi2,f16c,fma,lzcnt,popcnt"))]
    fn multiply<const DEPTH: usize>(&mut self) {
        for row in (0..16).step_by(4) {
            let mut sum = [[0.0_f32; 8]; 4];
            for k in 0..DEPTH {
                for r in 0..4 {
                    for n in 0..8 {
                        sum[r][n] = self.a[row + r][k].mul_add(self.b[k][n], sum[r][n]);
                    }
                }
            }
            for r in 0..4 {
                for n in 0..8 {
                    self.sums[row + r][n] += sum[r][n];
                }
            }
        }
    }
}

impl Context<'_> {
    /// `ldmatrix`: lanes `8 i` to `8 i + 7` give the rows of tile `i`.
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,bmi1,bmi2,f16c,fma,lzcnt,popcnt"))]
    pub(super) fn load_matrix(&mut self, warp: &mut Warp, m: &LoadMatrix, mask: u32) -> Run<()> {
        needs_all("ldmatrix", mask)?;
        let at = addresses(warp, m.address);
        for (index, slot) in m.slots.iter().enumerate() {
            let mut rows = [0_u32; 32];
            for row in 0..8 {
                let lane = index * 8 + row;
                let offset = match self.shared.locate(at[lane], 16, Access::Read) {
                    Ok(offset) => offset,
                    Err(kind) => return trap(kind, lane),
                };
                if self.shared.checked() {
                    let by = Accessor::new(&self.clocks, warp.index, lane);
                    if let Err(kind) = self.shared.note_read(offset, 16, by, (warp.index, lane)) {
                        return trap(kind, lane);
                    }
                }
                // SAFETY: `locate` found 16 bytes at the offset.
                let words = unsafe { self.shared.pointer().add(offset).cast::<[u32; 4]>().read_unaligned() };
                rows[4 * row..4 * row + 4].copy_from_slice(&words);
            }
            // a lane's word is two values of a row, or of a column
            let mut out = rows;
            if m.transpose {
                let value = |row: usize, column: usize| rows[4 * row + column / 2] >> (16 * (column % 2)) & 0xffff;
                for lane in 0..32 {
                    let (row, column) = (lane / 4, lane % 4 * 2);
                    out[lane] = value(column, row) | value(column + 1, row) << 16;
                }
            }
            warp.set_word(*slot, &out, ALL);
        }
        Ok(())
    }

    /// `mma.sync`: products and sums in `f32`, in order of the inner index. Tensor cores sum otherwise: compare with a tolerance.
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,bmi1,bmi2,f16c,fma,lzcnt,popcnt"))]
    pub(super) fn mma(&mut self, warp: &mut Warp, m: &Mma, mask: u32) -> Run<()> {
        needs_all("mma.sync", mask)?;
        self.stats.mma += 1;
        let mut tiles = Tiles {
            a: [[0.0; 16]; 16],
            b: [[0.0; 8]; 16],
            sums: [[0.0; 8]; 16],
        };
        let mut values = [0.0; 64];
        // register r of `a` is the tile of rows 8 (r % 2) and columns 8 (r / 2)
        for (index, slot) in m.a.iter().enumerate() {
            tile(warp.word(*slot), m.bfloat, &mut values);
            let (row, column) = (index % 2 * 8, index / 2 % 2 * 8);
            for r in 0..8 {
                for c in 0..8 {
                    tiles.a[row + r][column + c] = values[8 * r + c];
                }
            }
        }
        // register r of `b` is the tile of inner indices from 8 r on, stored by output column
        for (index, slot) in m.b.iter().enumerate() {
            tile(warp.word(*slot), m.bfloat, &mut values);
            for k in 0..8 {
                for n in 0..8 {
                    tiles.b[index % 2 * 8 + k][n] = values[8 * n + k];
                }
            }
        }
        // sums lie like the tiles of `a`: rows 0 to 7, then 8 to 15, two to a lane
        let sums = tiles.sums.as_flattened_mut();
        for half in 0..2 {
            let part = &mut sums[64 * half..64 * half + 64];
            if m.half_sum {
                tile(warp.word(m.c[half]), false, &mut values);
                part.copy_from_slice(&values);
            } else {
                let (even, odd) = (warp.word(m.c[2 * half]), warp.word(m.c[2 * half + 1]));
                for lane in 0..32 {
                    part[2 * lane] = f32::from_bits(even[lane]);
                    part[2 * lane + 1] = f32::from_bits(odd[lane]);
                }
            }
        }
        if m.depth == 8 {
            tiles.multiply::<8>()
        } else {
            tiles.multiply::<16>()
        }
        let sums = tiles.sums.as_flattened();
        for half in 0..2 {
            let part = &sums[64 * half..64 * half + 64];
            let (mut even, mut odd) = ([0_u32; 32], [0_u32; 32]);
            for lane in 0..32 {
                even[lane] = part[2 * lane].to_bits();
                odd[lane] = part[2 * lane + 1].to_bits();
            }
            if m.half_sum {
                for lane in 0..32 {
                    even[lane] = f32_to_f16(part[2 * lane]) | f32_to_f16(part[2 * lane + 1]) << 16;
                }
                warp.set_word(m.d[half], &even, ALL);
            } else {
                warp.set_word(m.d[2 * half], &even, ALL);
                warp.set_word(m.d[2 * half + 1], &odd, ALL);
            }
        }
        Ok(())
    }

    /// `cp.async`: reads now, delivers only at the wait, the latest moment that is allowed, so that a wait that is missing or too
    /// lax is noticed.
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,bmi1,bmi2,f16c,fma,lzcnt,popcnt"))]
    pub(super) fn async_copy(&mut self, warp: &mut Warp, c: &AsyncCopy, mask: u32) -> Run<()> {
        let to = addresses(warp, c.to);
        let ignored = c.ignore.map_or(0, |guard| warp.holds(guard));
        let sizes: [usize; 32] = std::array::from_fn(|lane| {
            let asked = if c.source_bytes == NONE {
                c.bytes
            } else {
                warp.word(c.source_bytes)[lane] as usize
            };
            if ignored >> lane & 1 == 1 { 0 } else { asked }
        });
        let whole = (0..32).fold(0, |bits, lane| bits | u32::from(sizes[lane] == c.bytes) << lane) & mask;
        let from = if whole == 0 {
            None
        } else {
            Some(self.pointers(warp, Space::Global, c.from, whole, c.bytes, Access::Read)?)
        };
        for lane in lanes(mask) {
            let offset = match self.shared.locate(to[lane], c.bytes, Access::Write) {
                Ok(offset) => offset,
                Err(kind) => return trap(kind, lane),
            };
            if sizes[lane] > c.bytes {
                let detail = format!("cp.async of {} bytes from a source of {}", c.bytes, sizes[lane]);
                return trap(FaultKind::Unsupported { detail }, lane);
            }
            let mut data = [0; 16];
            if let Some(from) = from.as_ref().filter(|_| whole >> lane & 1 == 1) {
                // SAFETY: `pointers` checked `c.bytes` bytes, which are 4, 8 or 16.
                unsafe {
                    if c.bytes == 16 {
                        data = from.lane[lane].cast::<[u8; 16]>().read();
                    } else {
                        std::ptr::copy_nonoverlapping(from.lane[lane], data.as_mut_ptr(), c.bytes);
                    }
                }
            } else {
                self.read_part(&mut data[..sizes[lane]], addresses(warp, c.from)[lane], c.bytes, lane)?;
            }
            if self.shared.checked() {
                let by = Accessor::new(&self.clocks, warp.index, lane);
                if let Err(kind) = self.shared.begin_copy(offset, c.bytes, by, (warp.index, lane)) {
                    return trap(kind, lane);
                }
            }
            let group = warp.groups[lane];
            warp.copies.push(PendingCopy {
                lane: lane as u8,
                bytes: c.bytes as u8,
                group,
                offset: offset as u32,
                data,
            });
        }
        Ok(())
    }

    /// Reads the first bytes of an asynchronous copy's source, the only ones that need to exist.
    fn read_part(&self, data: &mut [u8], address: u64, whole: usize, lane: usize) -> Run<()> {
        let table = self.machine.table;
        for (byte, at) in data.iter_mut().zip(address..) {
            let (allocation, offset) = match table.resolve(at, 1, Access::Read) {
                Ok(found) => found,
                Err(kind) => return trap(kind, lane),
            };
            let place = || allocation.place(split(at).0, offset);
            if at == address && !offset.is_multiple_of(whole) {
                return trap(
                    FaultKind::Misaligned {
                        access: Access::Read,
                        bytes: whole,
                        place: place(),
                    },
                    lane,
                );
            }
            if self.machine.options.uninitialised && !allocation.is_written(offset, 1) {
                return trap(FaultKind::Uninitialised { bytes: 1, place: place() }, lane);
            }
            // SAFETY: `resolve` found this byte.
            *byte = unsafe { allocation.pointer(offset).read() };
        }
        Ok(())
    }

    /// `cp.async.wait_group`: delivers all but the latest `keep` groups of the waiting lanes, or really all.
    pub(super) fn async_wait(&mut self, warp: &mut Warp, keep: u32, all: bool, mask: u32) {
        let Warp { copies, groups, index, .. } = warp;
        let (shared, clocks) = (&mut self.shared, &self.clocks);
        copies.retain(|copy| {
            let lane = usize::from(copy.lane);
            let due = mask >> lane & 1 == 1 && (all || copy.group.saturating_add(keep) < groups[lane]);
            if due {
                let (offset, by) = (copy.offset as usize, Accessor::new(clocks, *index, lane));
                match copy.bytes {
                    16 => shared.end_copy(offset, &copy.data, by),
                    bytes => shared.end_copy(offset, &copy.data[..usize::from(bytes)], by),
                }
            }
            !due
        });
    }
}
