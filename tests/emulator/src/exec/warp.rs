//! The state of a warp.

use std::sync::{Mutex, PoisonError};

use crate::kernel::Kernel;
use crate::op::{Guard, Slot};

/// A value per lane.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Lanes<T>(pub [T; 32]);

/// All lanes.
pub(crate) const ALL: u32 = u32::MAX;

/// Bytes that a `cp.async` has read and not delivered yet.
#[derive(Clone, Copy)]
pub(crate) struct PendingCopy {
    pub lane: u8,
    pub bytes: u8,
    /// Groups that the lane had committed when it began the copy.
    pub group: u32,
    pub offset: u32,
    pub data: [u8; 16],
}

/// A warp: registers, program counters, and what its lanes wait for.
pub(crate) struct Warp {
    pub index: usize,
    pub words: Vec<Lanes<u32>>,
    pub longs: Vec<Lanes<u64>>,
    pub predicates: Vec<u32>,
    pub pc: [u32; 32],
    /// Lanes that have not exited.
    pub live: u32,
    /// Lanes that wait at a barrier of the block; `barrier_pc` says at which instruction.
    pub parked: u32,
    pub barrier_pc: [u32; 32],
    /// Lanes that wait at a barrier of the warp, and for whom.
    pub warp_parked: u32,
    pub warp_members: [u32; 32],
    /// Where a fault happened.
    pub fault_pc: u32,
    pub local: Vec<u8>,
    pub copies: Vec<PendingCopy>,
    /// Copy groups committed by each lane.
    pub groups: [u32; 32],
}

/// Warps of launches that are over, kept for the next one.
#[derive(Default)]
pub(crate) struct Spare(Mutex<Vec<Vec<Warp>>>);

impl std::fmt::Debug for Spare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Spare")
    }
}

impl Spare {
    /// Sets of warps kept.
    const MOST: usize = 32;

    pub(super) fn take(&self) -> Vec<Warp> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    pub(super) fn give(&self, warps: Vec<Warp>) {
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < Self::MOST {
            spare.push(warps);
        }
    }
}

/// Lanes of a mask, lowest first.
pub(super) fn lanes(mask: u32) -> impl Iterator<Item = usize> {
    let mut rest = mask;
    std::iter::from_fn(move || {
        let lane = rest.trailing_zeros();
        rest &= rest.wrapping_sub(1);
        (lane < 32).then_some(lane as usize)
    })
}

impl Warp {
    /// A warp for a kernel.
    pub(super) fn new(index: usize, kernel: &Kernel) -> Self {
        Warp {
            index,
            words: vec![Lanes([0; 32]); kernel.words],
            longs: vec![Lanes([0; 32]); kernel.longs],
            predicates: vec![0; kernel.predicates],
            pc: [0; 32],
            live: 0,
            parked: 0,
            barrier_pc: [0; 32],
            warp_parked: 0,
            warp_members: [0; 32],
            fault_pc: 0,
            local: vec![0xcd; kernel.local_bytes * 32],
            copies: Vec::new(),
            groups: [0; 32],
        }
    }

    /// Threads of the warp that exist in a block of `threads`.
    pub(super) fn members(index: usize, threads: usize) -> u32 {
        let count = threads.saturating_sub(index * 32);
        if count >= 32 { ALL } else { (1 << count) - 1 }
    }

    #[inline(always)]
    pub(super) fn word(&self, slot: Slot) -> &[u32; 32] {
        &self.words[usize::from(slot)].0
    }

    #[inline(always)]
    pub(super) fn long(&self, slot: Slot) -> &[u64; 32] {
        &self.longs[usize::from(slot)].0
    }

    /// Lanes for which the predicate holds.
    #[inline(always)]
    pub(super) fn holds(&self, guard: Guard) -> u32 {
        let bits = self.predicates[usize::from(guard.slot)];
        if guard.negated { !bits } else { bits }
    }

    #[inline(always)]
    pub(super) fn set_word(&mut self, slot: Slot, value: &[u32; 32], mask: u32) {
        let to = &mut self.words[usize::from(slot)].0;
        if mask == ALL {
            *to = *value;
        } else {
            for lane in 0..32 {
                to[lane] = if mask >> lane & 1 == 1 { value[lane] } else { to[lane] };
            }
        }
    }

    #[inline(always)]
    pub(super) fn set_long(&mut self, slot: Slot, value: &[u64; 32], mask: u32) {
        let to = &mut self.longs[usize::from(slot)].0;
        if mask == ALL {
            *to = *value;
        } else {
            for lane in 0..32 {
                to[lane] = if mask >> lane & 1 == 1 { value[lane] } else { to[lane] };
            }
        }
    }

    #[inline(always)]
    pub(super) fn set_predicate(&mut self, slot: Slot, value: u32, mask: u32) {
        let to = &mut self.predicates[usize::from(slot)];
        *to = (*to & !mask) | (value & mask);
    }

    /// The lanes to run next, those with the smallest program counter, and the next larger counter. This rule brings lanes
    /// together again after a branch by itself.
    #[inline(always)]
    pub(super) fn select(&self, active: u32) -> (u32, u32, u32) {
        let mut low = u32::MAX;
        for lane in 0..32 {
            low = low.min(if active >> lane & 1 == 1 { self.pc[lane] } else { u32::MAX });
        }
        let (mut mask, mut next) = (0, u32::MAX);
        for lane in 0..32 {
            mask |= u32::from(self.pc[lane] == low) << lane;
        }
        mask &= active;
        if mask != active {
            for lane in 0..32 {
                next = next.min(if (active & !mask) >> lane & 1 == 1 {
                    self.pc[lane]
                } else {
                    u32::MAX
                });
            }
        }
        (low, mask, next)
    }

    #[inline(always)]
    pub(super) fn set_pc(&mut self, mask: u32, pc: u32) {
        for lane in 0..32 {
            self.pc[lane] = if mask >> lane & 1 == 1 { pc } else { self.pc[lane] };
        }
    }

    /// Lanes that can run.
    pub(super) fn ready(&self) -> u32 {
        self.live & !self.parked & !self.warp_parked
    }

    /// Lets go the lanes at warp barriers whose members have all come or exited; true where that is so.
    pub(super) fn release_warp_barriers(&mut self) -> bool {
        let mut released = 0;
        for lane in lanes(self.warp_parked) {
            let wanted = self.warp_members[lane] & self.live;
            if wanted & !self.warp_parked == 0 && lanes(wanted).all(|l| self.warp_members[l] & self.live == wanted) {
                released |= wanted | 1 << lane;
            }
        }
        self.warp_parked &= !released;
        released != 0
    }
}
