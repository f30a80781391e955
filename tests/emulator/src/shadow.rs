//! Who touched each piece of shared memory last, and whether a barrier lies in between.
//!
//! Every warp has a clock, which a barrier advances, and knows up to which clock of every other warp barriers have ordered
//! that warp's accesses before its own. An access clashes with an earlier one of another thread where it is not so ordered.

use crate::error::Access;

/// Largest number of warps in a block.
pub(crate) const WARPS: usize = 32;

/// What the barriers of a block have ordered.
#[derive(Clone, Debug)]
pub(crate) struct Clocks {
    /// `seen[w][v]`: accesses of warp `v` up to this clock come before whatever warp `w` does now; `seen[w][w]` is `w`'s own clock.
    seen: Vec<[u32; WARPS]>,
    /// Clocks of the warps right after the last barrier of the whole block.
    round_start: [u32; WARPS],
    /// Number of barriers of the whole block so far.
    round: u32,
}

impl Clocks {
    pub(crate) fn new(warps: usize) -> Self {
        let mut clocks = Clocks {
            seen: vec![[0; WARPS]; warps],
            round_start: [1; WARPS],
            round: 0,
        };
        clocks.reset();
        clocks
    }

    pub(crate) fn reset(&mut self) {
        for (warp, seen) in self.seen.iter_mut().enumerate() {
            *seen = [0; WARPS];
            seen[warp] = 1;
        }
        self.round_start = [1; WARPS];
        self.round = 0;
    }

    /// Orders the lanes of one warp.
    pub(crate) fn warp_barrier(&mut self, warp: usize) {
        self.seen[warp][warp] += 1;
    }

    /// What `warp` knows, for a barrier at which it arrives.
    pub(crate) fn knowledge(&self, warp: usize) -> [u32; WARPS] {
        self.seen[warp]
    }

    /// Lets the `waiting` warps go on from a barrier at which `known` came together.
    pub(crate) fn release(&mut self, waiting: u32, known: &[u32; WARPS], whole_block: bool) {
        for warp in (0..self.seen.len()).filter(|w| waiting >> w & 1 == 1) {
            let own = self.seen[warp][warp];
            for (mine, theirs) in self.seen[warp].iter_mut().zip(known) {
                *mine = (*mine).max(*theirs);
            }
            self.seen[warp][warp] = own + 1;
        }
        if whole_block {
            self.round += 1;
            for warp in 0..self.seen.len() {
                self.round_start[warp] = self.seen[warp][warp];
            }
        }
    }

    /// Knowledge that is the sum of two.
    pub(crate) fn join(into: &mut [u32; WARPS], other: &[u32; WARPS]) {
        for (a, b) in into.iter_mut().zip(other) {
            *a = (*a).max(*b);
        }
    }
}

/// Last accesses of one granule. A stamp is 0 (none) or the fields below.
#[derive(Clone, Copy, Default, Debug)]
struct Cell {
    write: u64,
    read: u64,
}

const LANE_MASK: u64 = 0x1f;
const PRESENT: u64 = 1 << 15;
const CLOCK_SHIFT: u32 = 16;
/// Write: by an atomic. Read: by more than one lane of the warp.
const FLAG: u64 = 1 << 48;
/// Write: by a `cp.async` that has not been waited for.
const PENDING: u64 = 1 << 49;
/// Read: by several warps; the low half is the set of them, then comes the round.
const MANY_WARPS: u64 = 1 << 63;

fn stamp(warp: usize, lane: usize, clock: u32) -> u64 {
    PRESENT | (warp as u64) << 5 | lane as u64 | u64::from(clock) << CLOCK_SHIFT
}

fn thread_of(stamp: u64) -> u32 {
    (stamp & 0x3ff) as u32
}

fn warp_of(stamp: u64) -> usize {
    (stamp >> 5 & LANE_MASK) as usize
}

fn clock_of(stamp: u64) -> u32 {
    (stamp >> CLOCK_SHIFT) as u32
}

/// What an access ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clash {
    /// Another thread, by its index in the block, and what it did.
    Race(u32, Access),
    /// Bytes that a copy of that thread is still to deliver.
    InFlight(u32),
    /// Bytes that nobody wrote.
    Uninitialised,
}

/// The thread that accesses, and the barriers it has passed.
#[derive(Clone, Copy)]
pub(crate) struct Accessor<'a> {
    warp: usize,
    lane: usize,
    stamp: u64,
    clocks: &'a Clocks,
}

impl<'a> Accessor<'a> {
    pub(crate) fn new(clocks: &'a Clocks, warp: usize, lane: usize) -> Self {
        Accessor {
            warp,
            lane,
            stamp: stamp(warp, lane, clocks.seen[warp][warp]),
            clocks,
        }
    }

    /// Whether the access of the stamp is not ordered before this thread's.
    #[inline(always)]
    fn unordered(&self, stamp: u64) -> bool {
        if (stamp ^ self.stamp) & 0x3ff == 0 {
            return false;
        }
        let warp = warp_of(stamp);
        clock_of(stamp) > self.clocks.seen[self.warp][warp].wrapping_sub(u32::from(warp == self.warp))
    }
}

/// The shadow of a block's shared memory.
#[derive(Default, Debug)]
pub(crate) struct Shadow {
    cells: Vec<Cell>,
    granule_shift: u32,
    races: bool,
    uninitialised: bool,
}

impl Shadow {
    /// Starts afresh for `bytes` bytes told apart in pieces of `granule`.
    pub(crate) fn reset(&mut self, bytes: usize, granule: usize, races: bool, uninitialised: bool) {
        self.granule_shift = granule.trailing_zeros();
        self.cells.clear();
        self.cells.resize(bytes.div_ceil(granule), Cell::default());
        (self.races, self.uninitialised) = (races, uninitialised);
    }

    fn range(&self, offset: usize, bytes: usize) -> std::ops::Range<usize> {
        offset >> self.granule_shift..(offset + bytes).div_ceil(1 << self.granule_shift)
    }

    /// Checks and notes a read.
    #[inline(always)]
    pub(crate) fn read(&mut self, offset: usize, bytes: usize, by: Accessor<'_>) -> Result<(), Clash> {
        let (races, uninitialised) = (self.races, self.uninitialised);
        let range = self.range(offset, bytes);
        for cell in &mut self.cells[range] {
            let write = cell.write;
            if write == 0 {
                if uninitialised {
                    return Err(Clash::Uninitialised);
                }
            } else if races {
                if write & PENDING != 0 {
                    return Err(Clash::InFlight(thread_of(write)));
                }
                if by.unordered(write) {
                    return Err(Clash::Race(
                        thread_of(write),
                        if write & FLAG == 0 { Access::Write } else { Access::Atomic },
                    ));
                }
            }
            if races && cell.read != by.stamp {
                cell.read = merge_read(cell.read, &by);
            }
        }
        Ok(())
    }

    /// Checks and notes a write. `same` tells whether the bytes already hold the value: then it does not matter who comes last.
    #[inline(always)]
    pub(crate) fn write(
        &mut self,
        offset: usize,
        bytes: usize,
        by: Accessor<'_>,
        access: Access,
        same: impl Fn() -> bool,
    ) -> Result<(), Clash> {
        let atomic = access == Access::Atomic;
        let races = self.races;
        let range = self.range(offset, bytes);
        for cell in &mut self.cells[range] {
            let write = cell.write;
            if races && write != 0 {
                if write & PENDING != 0 {
                    return Err(Clash::InFlight(thread_of(write)));
                }
                let before = if write & FLAG == 0 { Access::Write } else { Access::Atomic };
                if by.unordered(write) && !(atomic && before == Access::Atomic) && (atomic || before == Access::Atomic || !same()) {
                    return Err(Clash::Race(thread_of(write), before));
                }
            } else if write == 0 && atomic && self.uninitialised {
                return Err(Clash::Uninitialised);
            }
            if races
                && cell.read != 0
                && let Some(thread) = read_clash(cell.read, &by)
            {
                return Err(Clash::Race(thread, Access::Read));
            }
            cell.write = if atomic { by.stamp | FLAG } else { by.stamp };
            cell.read = 0;
        }
        Ok(())
    }

    /// Notes the start of an asynchronous copy, which is a write that nobody may look at yet.
    pub(crate) fn begin_copy(&mut self, offset: usize, bytes: usize, by: Accessor<'_>) -> Result<(), Clash> {
        self.write(offset, bytes, by, Access::Write, || false)?;
        let range = self.range(offset, bytes);
        for cell in &mut self.cells[range] {
            cell.write |= PENDING;
        }
        Ok(())
    }

    /// Notes that an asynchronous copy was waited for by the thread that began it.
    pub(crate) fn end_copy(&mut self, offset: usize, bytes: usize, by: Accessor<'_>) {
        let range = self.range(offset, bytes);
        for cell in &mut self.cells[range] {
            cell.write = by.stamp;
        }
    }
}

fn merge_read(before: u64, by: &Accessor<'_>) -> u64 {
    if before == 0 {
        return by.stamp;
    }
    let this_round = MANY_WARPS | u64::from(by.clocks.round & 0x7fff_ffff) << 32;
    if before & MANY_WARPS != 0 {
        let same_round = before >> 32 == this_round >> 32;
        return if same_round { before | 1 << by.warp } else { by.stamp };
    }
    if warp_of(before) == by.warp {
        let same_clock = clock_of(before) == clock_of(by.stamp);
        return if same_clock && (thread_of(before) != thread_of(by.stamp) || before & FLAG != 0) {
            by.stamp | FLAG
        } else {
            by.stamp
        };
    }
    if by.unordered(before) {
        this_round | 1 << warp_of(before) | 1 << by.warp
    } else {
        by.stamp
    }
}

/// A thread whose read is not ordered before the access of `by`.
fn read_clash(read: u64, by: &Accessor<'_>) -> Option<u32> {
    if read & MANY_WARPS == 0 {
        let other_lanes = read & FLAG != 0 && warp_of(read) == by.warp && clock_of(read) == clock_of(by.stamp);
        if other_lanes {
            // some other lane read too; name one that is not this one
            let thread = thread_of(read);
            return Some(if thread as usize & 31 == by.lane { thread ^ 1 } else { thread });
        }
        return by.unordered(read).then(|| thread_of(read));
    }
    if (read >> 32) as u32 & 0x7fff_ffff != by.clocks.round & 0x7fff_ffff {
        return None;
    }
    let seen = &by.clocks.seen[by.warp];
    (0..by.clocks.seen.len())
        .find(|v| *v != by.warp && read >> v & 1 == 1 && seen[*v] < by.clocks.round_start[*v])
        .map(|v| v as u32 * 32)
}
