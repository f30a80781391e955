//! Instructions in which lanes of a warp see each other.

use super::access::{Run, trap};
use super::warp::{Warp, lanes};
use crate::error::FaultKind;
use crate::op::{Guard, NONE, ReduceKind, Shuffle, ShuffleMode, Slot, VoteMode};

/// Fails unless exactly the lanes named (and still alive) execute the instruction together.
#[inline(always)]
fn check_members(what: &str, warp: &Warp, members: Slot, mask: u32) -> Run<()> {
    let masks = warp.word(members);
    let mut differences = 0;
    for lane in 0..32 {
        differences |= masks[lane] ^ masks[0];
    }
    // the usual case: one mask for all, which names just those here
    if differences == 0 && masks[0] & warp.live == mask {
        return Ok(());
    }
    for lane in lanes(mask) {
        let wanted = masks[lane];
        if wanted >> lane & 1 == 0 {
            let detail = format!("{what}: lane {lane} is not in its own member mask {wanted:#010x}");
            return trap(FaultKind::InactiveLane { detail }, lane);
        }
        let missing = wanted & warp.live & !mask;
        if missing != 0 {
            let detail = format!("{what}: member mask {wanted:#010x}, but lanes {missing:#010x} of it are not here");
            return trap(FaultKind::InactiveLane { detail }, lane);
        }
    }
    Ok(())
}

#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,bmi1,bmi2,f16c,fma,lzcnt,popcnt"))]
pub(super) fn shuffle(warp: &mut Warp, s: &Shuffle, mask: u32) -> Run<()> {
    check_members("shfl.sync", warp, s.members, mask)?;
    let (a, b, c) = (warp.word(s.a), warp.word(s.b), warp.word(s.c));
    let (mut out, mut from, mut in_range) = ([0; 32], [0_u32; 32], 0_u32);
    for lane in 0..32_u32 {
        let at = lane as usize;
        let (clamp, segment, by) = (c[at] & 31, c[at] >> 8 & 31, b[at] & 31);
        let first = lane & segment;
        let last = first | (clamp & !segment);
        let (source, ok) = match s.mode {
            ShuffleMode::Butterfly => (lane ^ by, lane ^ by <= last),
            // for `up` the clamp is the lowest lane of the segment
            ShuffleMode::Up => (lane.wrapping_sub(by), lane as i32 - by as i32 >= last as i32),
            ShuffleMode::Down => (lane + by, lane + by <= last),
            ShuffleMode::Index => (first | (by & !segment), first | (by & !segment) <= last),
        };
        from[at] = if ok { source & 31 } else { lane };
        in_range |= u32::from(ok) << lane;
    }
    for lane in 0..32 {
        out[lane] = a[from[lane] as usize & 31];
    }
    let mut present = 0;
    for lane in 0..32 {
        present |= (mask >> (from[lane] & 31) & 1) << lane;
    }
    if let Some(lane) = lanes(mask & !present).next() {
        let detail = format!("shfl.sync reads from lane {}, which is not active", from[lane]);
        return trap(FaultKind::InactiveLane { detail }, lane);
    }
    warp.set_word(s.d, &out, mask);
    if s.in_range != NONE {
        warp.set_predicate(s.in_range, in_range, mask);
    }
    Ok(())
}

pub(super) fn vote(warp: &mut Warp, mode: VoteMode, d: Slot, a: Guard, members: Slot, mask: u32) -> Run<()> {
    check_members("vote.sync", warp, members, mask)?;
    let yes = warp.holds(a) & mask;
    let all = |on: bool| if on { u32::MAX } else { 0 };
    match mode {
        VoteMode::Ballot => warp.set_word(d, &[yes; 32], mask),
        VoteMode::Any => warp.set_predicate(d, all(yes != 0), mask),
        VoteMode::All => warp.set_predicate(d, all(yes == mask), mask),
        VoteMode::Uniform => warp.set_predicate(d, all(yes == mask || yes == 0), mask),
    }
    Ok(())
}

pub(super) fn match_lanes(warp: &mut Warp, all: bool, long: bool, [d, predicate, a, members]: [Slot; 4], mask: u32) -> Run<()> {
    check_members("match.sync", warp, members, mask)?;
    let value = |warp: &Warp, lane: usize| if long { warp.long(a)[lane] } else { u64::from(warp.word(a)[lane]) };
    let mut out = [0; 32];
    let mut same_everywhere = true;
    for lane in lanes(mask) {
        let mine = value(warp, lane);
        out[lane] = lanes(mask)
            .filter(|other| value(warp, *other) == mine)
            .fold(0, |bits, other| bits | 1 << other);
        same_everywhere &= out[lane] == mask;
    }
    if all {
        out = [if same_everywhere { mask } else { 0 }; 32];
    }
    warp.set_word(d, &out, mask);
    if predicate != NONE {
        warp.set_predicate(predicate, if same_everywhere { u32::MAX } else { 0 }, mask);
    }
    Ok(())
}

pub(super) fn reduce(warp: &mut Warp, f: ReduceKind, [d, a, members]: [Slot; 3], mask: u32) -> Run<()> {
    check_members("redux.sync", warp, members, mask)?;
    let values = warp.word(a);
    let total = lanes(mask).map(|lane| values[lane]).reduce(|x, y| match f {
        ReduceKind::Add => x.wrapping_add(y),
        ReduceKind::MinS => (x as i32).min(y as i32) as u32,
        ReduceKind::MaxS => (x as i32).max(y as i32) as u32,
        ReduceKind::MinU => x.min(y),
        ReduceKind::MaxU => x.max(y),
        ReduceKind::And => x & y,
        ReduceKind::Or => x | y,
        ReduceKind::Xor => x ^ y,
    });
    warp.set_word(d, &[total.unwrap_or_default(); 32], mask);
    Ok(())
}

/// `bar.warp.sync` where all members are here: true. Otherwise parks the lanes: false.
pub(super) fn warp_barrier(warp: &mut Warp, members: Slot, mask: u32) -> Run<bool> {
    let masks = *warp.word(members);
    let mut all_here = true;
    for lane in lanes(mask) {
        if masks[lane] >> lane & 1 == 0 {
            let detail = format!("bar.warp.sync: lane {lane} is not in its own member mask {:#010x}", masks[lane]);
            return trap(FaultKind::InactiveLane { detail }, lane);
        }
        all_here &= masks[lane] & warp.live & !mask == 0;
    }
    if !all_here {
        warp.warp_parked |= mask;
        lanes(mask).for_each(|lane| warp.warp_members[lane] = masks[lane]);
    }
    Ok(all_here)
}
