//! A block: runs its warps in turn, lets them go at barriers.

use std::sync::Arc;

use super::access::{Run, Trap, trap};
use super::warp::{Warp, lanes};
use super::{Context, Machine, collective};
use crate::error::{Fault, FaultKind};
use crate::kernel::{Constant, Ordering, Special};
use crate::launch::{Order, Stats};
use crate::op::{BarrierResult, FALSE, NONE, Op, TRUE};
use crate::shadow::{Clocks, WARPS};
use crate::shared::Shared;

/// Instructions that a warp runs before the next one gets its turn.
const TURN: u32 = 4096;
/// Barriers that a block has.
const BARRIERS: usize = 16;

/// Threads that came to a barrier without waiting.
#[derive(Clone, Copy, Default)]
struct Arrivals {
    threads: u32,
    known: [u32; WARPS],
}

/// A worker's block; used again for one block of the grid after the other.
pub(crate) struct Block<'a> {
    context: Context<'a>,
    warps: Vec<Warp>,
    index: [u32; 3],
    arrivals: [Arrivals; BARRIERS],
    /// State of the generator that shuffles.
    random: u64,
}

/// Barrier number and thread count that a waiting lane named.
struct Waiting {
    id: usize,
    threads: u32,
}

impl<'a> Block<'a> {
    pub(crate) fn new(machine: &'a Machine<'a>) -> Self {
        let kernel = machine.kernel;
        let threads = machine.block.iter().map(|n| *n as usize).product::<usize>();
        let count = threads.div_ceil(32);
        let mut warps = kernel.spare.take();
        warps.truncate(count);
        warps.extend((warps.len()..count).map(|index| Warp::new(index, kernel)));
        let context = Context {
            machine,
            shared: Shared::default(),
            clocks: Clocks::new(count),
            stats: Stats::default(),
            ticks: 0,
        };
        let mut block = Block {
            context,
            warps,
            index: [0; 3],
            arrivals: [Arrivals::default(); BARRIERS],
            random: 0,
        };
        block.constants(false);
        block
    }

    /// Fills the slots of constants; with `moved` only those that depend on the block's place in the grid.
    fn constants(&mut self, moved: bool) {
        let machine = self.context.machine;
        for warp in &mut self.warps {
            warp.predicates[usize::from(FALSE)] = 0;
            warp.predicates[usize::from(TRUE)] = u32::MAX;
            let skip = |constant: &Constant| moved && !matches!(constant, Constant::Special(Special::Block(_)));
            for (slot, constant) in machine.kernel.word_constants.iter().filter(|(_, c)| !skip(c)) {
                let value = constant_value(machine, warp.index, self.index, *constant);
                warp.words[usize::from(*slot)].0 = value.map(|x| x as u32);
            }
            for (slot, constant) in machine.kernel.long_constants.iter().filter(|(_, c)| !skip(c)) {
                warp.longs[usize::from(*slot)].0 = constant_value(machine, warp.index, self.index, *constant);
            }
        }
    }

    /// Runs the block `index` of the grid to its end.
    pub(crate) fn run(&mut self, index: [u32; 3], charge: &dyn Fn(u64) -> bool) -> Result<(), Fault> {
        let machine = self.context.machine;
        let (options, kernel) = (machine.options, machine.kernel);
        self.index = index;
        self.constants(true);
        let total = kernel.shared_total(machine.dynamic_shared);
        self.context
            .shared
            .reset(total, kernel.shared_granule, options.races, options.uninitialised);
        self.context.clocks.reset();
        self.arrivals = [Arrivals::default(); BARRIERS];
        let threads = machine.block.iter().map(|n| *n as usize).product();
        for warp in &mut self.warps {
            warp.pc = [0; 32];
            warp.live = Warp::members(warp.index, threads);
            (warp.parked, warp.warp_parked) = (0, 0);
            warp.copies.clear();
            warp.groups = [0; 32];
        }
        if let Order::Shuffled(seed) = options.order {
            let [x, y, z] = index.map(u64::from);
            self.random = mix(seed ^ mix(x | y << 24 | z << 48));
        }
        self.turns(charge)
    }

    /// What the worker's blocks did; the worker is done.
    pub(crate) fn finish(self) -> Stats {
        self.context.machine.kernel.spare.give(self.warps);
        self.context.stats
    }

    fn turns(&mut self, charge: &dyn Fn(u64) -> bool) -> Result<(), Fault> {
        let shuffled = matches!(self.context.machine.options.order, Order::Shuffled(_));
        let mut order: Vec<usize> = (0..self.warps.len()).collect();
        loop {
            if shuffled {
                for last in (1..order.len()).rev() {
                    order.swap(last, (self.next_random() % (last as u64 + 1)) as usize);
                }
            }
            let mut progress = false;
            for warp in &order {
                if self.warps[*warp].ready() != 0 {
                    progress = true;
                    let turn = if shuffled { 1 + (self.next_random() % 64) as u32 } else { TURN };
                    let before = self.context.stats.warp_instructions;
                    // SAFETY: `Module::launch` refuses to run where `exec::supported` finds the features missing.
                    #[allow(unused_unsafe, reason = "safe on processors without the attribute")]
                    let outcome = unsafe { self.run_warp(*warp, turn) };
                    outcome.map_err(|trap| self.fault(*warp, *trap))?;
                    if !charge(self.context.stats.warp_instructions - before) {
                        let limit = self.context.machine.options.instruction_limit;
                        self.warps[*warp].fault_pc = self.warps[*warp].pc[0];
                        return Err(self.fault(
                            *warp,
                            Trap {
                                kind: FaultKind::InstructionLimit { limit },
                                lane: None,
                            },
                        ));
                    }
                }
            }
            if self.warps.iter().all(|w| w.live == 0) {
                return Ok(());
            }
            let released = self.release_barriers()?;
            if !progress && !released {
                return Err(self.stuck());
            }
        }
    }

    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.random)
    }

    /// Runs a warp until all its lanes wait or have exited, or its turn is over.
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,bmi1,bmi2,f16c,fma,lzcnt,popcnt"))]
    fn run_warp(&mut self, index: usize, turn: u32) -> Run<()> {
        let (context, warp, arrivals) = (&mut self.context, &mut self.warps[index], &mut self.arrivals);
        let code = &*context.machine.kernel.code;
        let mut left = turn;
        let result = 'turn: loop {
            let active = warp.ready();
            if active == 0 || left == 0 {
                break Ok(());
            }
            let (mut pc, mask, limit) = warp.select(active);
            // straight on, until lanes part or others are to be met
            loop {
                if left == 0 {
                    warp.set_pc(mask, pc);
                    break 'turn Ok(());
                }
                left -= 1;
                let instruction = &code[pc as usize];
                let on = match instruction.guard {
                    None => mask,
                    Some(guard) => mask & warp.holds(guard),
                };
                if on == 0 {
                    pc += 1;
                } else {
                    match &instruction.op {
                        Op::Branch { target } => {
                            if on == mask {
                                pc = *target;
                            } else {
                                warp.set_pc(on, *target);
                                warp.set_pc(mask & !on, pc + 1);
                                continue 'turn;
                            }
                        }
                        Op::BranchTable { index, targets } => {
                            let picks = *warp.word(*index);
                            warp.set_pc(mask & !on, pc + 1);
                            for lane in lanes(on) {
                                warp.pc[lane] = targets.get(picks[lane] as usize).copied().unwrap_or(pc + 1);
                            }
                            continue 'turn;
                        }
                        Op::Exit => {
                            warp.live &= !on;
                            warp.set_pc(mask & !on, pc + 1);
                            warp.release_warp_barriers();
                            continue 'turn;
                        }
                        Op::Barrier(barrier) => {
                            warp.set_pc(mask, pc + 1);
                            for lane in lanes(on) {
                                let id = warp.word(barrier.id)[lane] as usize;
                                if id >= BARRIERS {
                                    warp.fault_pc = pc;
                                    let detail = format!("barrier {id}: a block has {BARRIERS}");
                                    break 'turn trap(FaultKind::Unsupported { detail }, lane);
                                }
                                if barrier.arrive {
                                    arrivals[id].threads += 1;
                                    Clocks::join(&mut arrivals[id].known, &context.clocks.knowledge(warp.index));
                                } else {
                                    warp.barrier_pc[lane] = pc;
                                    warp.parked |= 1 << lane;
                                }
                            }
                            if barrier.arrive {
                                context.clocks.warp_barrier(warp.index);
                            }
                            continue 'turn;
                        }
                        Op::WarpBarrier { members } => match collective::warp_barrier(warp, *members, on) {
                            Ok(true) => {
                                context.clocks.warp_barrier(warp.index);
                                pc += 1;
                            }
                            Ok(false) => {
                                warp.set_pc(mask, pc + 1);
                                if warp.release_warp_barriers() {
                                    context.clocks.warp_barrier(warp.index);
                                }
                                continue 'turn;
                            }
                            Err(trap) => {
                                warp.fault_pc = pc;
                                break 'turn Err(trap);
                            }
                        },
                        op => {
                            if let Err(trap) = context.step(warp, op, on) {
                                warp.fault_pc = pc;
                                break 'turn Err(trap);
                            }
                            pc += 1;
                        }
                    }
                }
                if pc >= limit {
                    warp.set_pc(mask, pc);
                    continue 'turn;
                }
            }
        };
        context.ticks += u64::from(turn - left);
        context.stats.warp_instructions += u64::from(turn - left);
        result
    }

    fn waiting(&self, warp: &Warp, lane: usize) -> Waiting {
        match &self.context.machine.kernel.code[warp.barrier_pc[lane] as usize].op {
            Op::Barrier(b) => {
                let threads = if b.threads == NONE { 0 } else { warp.word(b.threads)[lane] };
                Waiting {
                    id: warp.word(b.id)[lane] as usize & (BARRIERS - 1),
                    threads,
                }
            }
            _ => Waiting { id: 0, threads: 0 }, // only barriers park lanes
        }
    }

    /// Lets go the lanes whose barrier is complete; true if there were any.
    fn release_barriers(&mut self) -> Result<bool, Fault> {
        let live: u32 = self.warps.iter().map(|w| w.live.count_ones()).sum();
        let mut released = false;
        for id in 0..BARRIERS {
            let (mut count, mut wanted, mut at, mut warps) = (0, None, None, 0_u32);
            let mut several_places = false;
            for warp in &self.warps {
                for lane in lanes(warp.parked) {
                    let waiting = self.waiting(warp, lane);
                    if waiting.id != id {
                        continue;
                    }
                    count += 1;
                    warps |= 1 << warp.index;
                    several_places |= *at.get_or_insert(warp.barrier_pc[lane]) != warp.barrier_pc[lane];
                    if *wanted.get_or_insert(waiting.threads) != waiting.threads {
                        return Err(self.divergence(format!("threads name different thread counts for barrier {id}")));
                    }
                }
            }
            let Some(wanted) = wanted else { continue };
            let whole = wanted == 0;
            if whole && count == live && several_places {
                return Err(self.divergence(format!(
                    "the threads of the block meet at different barriers: {}",
                    self.whereabouts()
                )));
            }
            if (whole && count == live) || (!whole && count + self.arrivals[id].threads >= wanted) {
                self.release(id, warps, whole);
                released = true;
            }
        }
        Ok(released)
    }

    fn release(&mut self, id: usize, warps: u32, whole: bool) {
        let mut known = self.arrivals[id].known;
        let (mut yes, mut all) = (0_u32, true);
        let mut at: Vec<(usize, u32)> = Vec::new();
        for warp in self.warps.iter().filter(|w| warps >> w.index & 1 == 1) {
            Clocks::join(&mut known, &self.context.clocks.knowledge(warp.index));
            let here = lanes(warp.parked)
                .filter(|lane| self.waiting(warp, *lane).id == id)
                .fold(0, |bits, lane| bits | 1_u32 << lane);
            at.push((warp.index, here));
            if let Some(lane) = lanes(here).next()
                && let Op::Barrier(b) = &self.context.machine.kernel.code[warp.barrier_pc[lane] as usize].op
            {
                let holds = warp.holds(b.predicate) & here;
                yes += holds.count_ones();
                all &= holds == here;
            }
        }
        for (index, here) in at {
            let warp = &mut self.warps[index];
            warp.parked &= !here;
            if let Some(lane) = lanes(here).next()
                && let Op::Barrier(b) = &self.context.machine.kernel.code[warp.barrier_pc[lane] as usize].op
            {
                let bits = |on: bool| if on { u32::MAX } else { 0 };
                match b.result {
                    BarrierResult::Nothing => {}
                    BarrierResult::Count => warp.set_word(b.d, &[yes; 32], here),
                    BarrierResult::All => warp.set_predicate(b.d, bits(all), here),
                    BarrierResult::Any => warp.set_predicate(b.d, bits(yes > 0), here),
                }
            }
        }
        self.context.clocks.release(warps, &known, whole);
        self.arrivals[id] = Arrivals::default();
    }

    /// Which warps wait at which lines.
    fn whereabouts(&self) -> String {
        let places = &self.context.machine.kernel.places;
        let mut parts = Vec::new();
        for warp in &self.warps {
            for lane in lanes(warp.parked | warp.warp_parked) {
                let pc = if warp.parked >> lane & 1 == 1 {
                    warp.barrier_pc[lane]
                } else {
                    warp.pc[lane].saturating_sub(1)
                };
                let line = places
                    .get(pc as usize)
                    .and_then(|p| p.source_line.as_ref())
                    .map_or("an unknown line".to_owned(), |l| l.to_string());
                let text = format!("warp {} at {line}", warp.index);
                if parts.last() != Some(&text) {
                    parts.push(text);
                }
            }
        }
        let more = parts.len().saturating_sub(8);
        parts.truncate(8);
        let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{}{tail}", parts.join(", "))
    }

    fn divergence(&mut self, detail: String) -> Fault {
        self.at_a_barrier(FaultKind::BarrierDivergence { detail })
    }

    /// A fault at the first waiting lane.
    fn at_a_barrier(&mut self, kind: FaultKind) -> Fault {
        let warp = self.warps.iter().position(|w| w.parked | w.warp_parked != 0).unwrap_or(0);
        let state = &mut self.warps[warp];
        let lane = (state.parked | state.warp_parked).trailing_zeros() as usize & 31;
        state.fault_pc = if state.parked >> lane & 1 == 1 {
            state.barrier_pc[lane]
        } else {
            state.pc[lane].saturating_sub(1)
        };
        self.fault(warp, Trap { kind, lane: Some(lane) })
    }

    fn stuck(&mut self) -> Fault {
        let detail = self.whereabouts();
        let in_warp = self.warps.iter().any(|w| w.warp_parked != 0);
        let kind = if in_warp {
            FaultKind::Deadlock { detail }
        } else {
            FaultKind::BarrierDivergence { detail }
        };
        self.at_a_barrier(kind)
    }

    fn fault(&self, warp: usize, trap: Trap) -> Fault {
        let kernel = self.context.machine.kernel;
        let place = kernel.places.get(self.warps[warp].fault_pc as usize);
        Fault {
            kind: trap.kind,
            kernel: Arc::clone(&kernel.name),
            block: Some(self.index),
            warp: Some(warp as u8),
            lane: trap.lane.map(|lane| lane as u8),
            source_line: place.and_then(|p| p.source_line.clone()),
            ptx_line: place.map(|p| p.ptx_line),
        }
    }
}

/// Scrambles the bits of a number.
pub(crate) fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn constant_value(machine: &Machine<'_>, warp: usize, block: [u32; 3], constant: Constant) -> [u64; 32] {
    let [bx, by, _] = machine.block;
    let uniform = match constant {
        Constant::Bits(bits) => bits,
        Constant::Global { index, offset } => machine.globals.get(index).copied().unwrap_or(0).wrapping_add_signed(offset),
        Constant::DynamicShared { offset } => (machine.kernel.dynamic_base() as u64).wrapping_add_signed(offset),
        Constant::Param { offset, bytes, sign_to } => {
            let mut value = [0; 8];
            for (to, from) in value.iter_mut().zip(machine.params.iter().skip(offset).take(bytes)) {
                *to = *from;
            }
            let (bits, drop) = (u64::from_le_bytes(value), 64 - 8 * bytes.min(8) as u32);
            if sign_to == 0 {
                bits
            } else {
                (((bits << drop) as i64) >> drop) as u64 & (u64::MAX >> (64 - sign_to.min(64)))
            }
        }
        Constant::Special(special) => {
            return std::array::from_fn(|lane| {
                let thread = (warp * 32 + lane) as u32;
                let at = |axis: u8, of: [u32; 3]| of.get(usize::from(axis)).copied().unwrap_or(0);
                let bit = 1_u64 << lane;
                let value = match special {
                    Special::Thread(axis) => at(axis, [thread % bx, thread / bx % by, thread / bx / by]),
                    Special::BlockSize(axis) => at(axis, machine.block),
                    Special::Block(axis) => at(axis, block),
                    Special::GridSize(axis) => at(axis, machine.grid),
                    Special::Lane => lane as u32,
                    Special::Warp => warp as u32,
                    Special::WarpCount => machine.block.iter().product::<u32>().div_ceil(32),
                    Special::DynamicShared => machine.dynamic_shared as u32,
                    Special::TotalShared => machine.kernel.shared_total(machine.dynamic_shared) as u32,
                    Special::LaneMask(Ordering::Equal) => bit as u32,
                    Special::LaneMask(Ordering::Less) => (bit - 1) as u32,
                    Special::LaneMask(Ordering::LessOrEqual) => (2 * bit - 1) as u32,
                    Special::LaneMask(Ordering::Greater) => !(2 * bit - 1) as u32,
                    Special::LaneMask(Ordering::GreaterOrEqual) => !(bit - 1) as u32,
                };
                u64::from(value)
            });
        }
    };
    [uniform; 32]
}
