//! Statements to instructions: resolves names, chooses the operation.

mod arith;
mod control;
mod convert;
mod float;
mod memory;
mod operands;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::error::{ParseError, ParseErrorKind};
use crate::exec::Spare;
use crate::kernel::{Constant, Kernel, Place};
use crate::op::{Guard, Instruction, Op, Slot};
use crate::parse::{Body, EntrySource, ModuleSource, RawInstruction, RawOperand};
use crate::types::{Class, Space, Type};

type Decoded<T> = Result<T, ParseErrorKind>;

/// An opcode taken apart at its dots.
pub(crate) struct Opcode<'a> {
    full: &'a str,
    base: &'a str,
    mods: Vec<&'a str>,
    types: Vec<Type>,
}

impl<'a> Opcode<'a> {
    fn new(full: &'a str) -> Self {
        let mut parts = full.split('.');
        let base = parts.next().unwrap_or("");
        let mods: Vec<&str> = parts.collect();
        let types = mods.iter().filter_map(|m| Type::parse(m)).collect();
        Opcode { full, base, mods, types }
    }

    fn has(&self, modifier: &str) -> bool {
        self.mods.contains(&modifier)
    }

    fn unsupported<T>(&self) -> Decoded<T> {
        Err(ParseErrorKind::UnsupportedInstruction(self.full.to_owned()))
    }

    /// Fails where a modifier is neither a type nor in `known`, so that none is passed over.
    fn only(&self, known: &[&str]) -> Decoded<()> {
        if self.mods.iter().all(|m| known.contains(m) || Type::parse(m).is_some()) {
            Ok(())
        } else {
            self.unsupported()
        }
    }

    /// The `index`th type named.
    fn ty(&self, index: usize) -> Decoded<Type> {
        self.types.get(index).copied().map_or_else(|| self.unsupported(), Ok)
    }
}

/// Slots and memory handed out while decoding a kernel.
struct Decoder<'a, 'm> {
    module: &'m ModuleSource<'a>,
    body: &'m Body<'a>,
    scope: usize,
    registers: HashMap<(usize, String), Slot>,
    counts: [usize; 3],
    word_constants: HashMap<Constant, Slot>,
    long_constants: HashMap<Constant, Slot>,
    /// Offsets of shared and local variables; scope `None` is the module.
    offsets: HashMap<(Option<usize>, &'a str), usize>,
    params: HashMap<&'m str, usize>,
    shared_bytes: usize,
    dynamic_align: usize,
    local_bytes: usize,
    shared_granule: usize,
}

/// Decodes one kernel.
pub(crate) fn decode(module: &ModuleSource<'_>, entry: &EntrySource<'_>) -> Result<Kernel, ParseError> {
    let mut decoder = Decoder {
        module,
        body: &entry.body,
        scope: 0,
        registers: HashMap::new(),
        counts: [2, 0, 0], // predicates FALSE and TRUE exist from the start
        word_constants: HashMap::new(),
        long_constants: HashMap::new(),
        offsets: HashMap::new(),
        params: entry.params.iter().map(|p| (p.name.as_str(), p.offset)).collect(),
        shared_bytes: 0,
        dynamic_align: 16,
        local_bytes: 0,
        shared_granule: 4,
    };
    let mut code = Vec::with_capacity(entry.body.instructions.len() + 1);
    let mut places = Vec::with_capacity(code.capacity());
    for raw in &entry.body.instructions {
        let place = Place {
            ptx_line: raw.origin.ptx_line,
            source_line: raw.origin.source_line(&module.files),
        };
        let instruction = decoder.instruction(raw).map_err(|kind| ParseError {
            kind,
            line: place.ptx_line,
            source_line: place.source_line.clone(),
        })?;
        code.push(instruction);
        places.push(place);
    }
    // a body may end without `ret`; branches to its end land here
    code.push(Instruction { op: Op::Exit, guard: None });
    places.push(places.last().cloned().unwrap_or_default());
    let [predicates, words, longs] = decoder.counts;
    if [predicates, words, longs].iter().any(|n| *n >= usize::from(Slot::MAX)) {
        let line = places.first().map_or(0, |p: &Place| p.ptx_line);
        return Err(crate::parse::error(
            line,
            ParseErrorKind::Unsupported(format!("kernel `{}` has too many registers", entry.name)),
        ));
    }
    let swap = |map: HashMap<Constant, Slot>| map.into_iter().map(|(constant, slot)| (slot, constant)).collect();
    Ok(Kernel {
        name: Arc::from(entry.name),
        params: entry.params.clone(),
        param_bytes: entry.param_bytes,
        max_threads: entry.max_threads,
        code,
        places,
        words,
        longs,
        predicates,
        word_constants: swap(decoder.word_constants),
        long_constants: swap(decoder.long_constants),
        shared_bytes: decoder.shared_bytes,
        dynamic_align: decoder.dynamic_align,
        local_bytes: decoder.local_bytes.next_multiple_of(16),
        shared_granule: decoder.shared_granule,
        block_cost: AtomicU64::new(0),
        spare: Spare::default(),
    })
}

impl<'a> Decoder<'a, '_> {
    fn instruction(&mut self, raw: &RawInstruction<'a>) -> Decoded<Instruction> {
        self.scope = raw.scope;
        let guard = match raw.guard {
            None => None,
            Some((name, negated)) => Some(Guard {
                slot: self.register(name, Class::Pred)?,
                negated,
            }),
        };
        let opcode = Opcode::new(raw.opcode);
        let op = self.op(&opcode, &raw.operands)?;
        Ok(Instruction { op, guard })
    }

    fn op(&mut self, opcode: &Opcode<'_>, o: &[RawOperand<'a>]) -> Decoded<Op> {
        match opcode.base {
            "add" | "sub" | "mul" | "div" | "min" | "max" | "neg" | "abs" | "fma" | "mad" | "copysign"
                if opcode.types.first().is_some_and(|t| t.float()) =>
            {
                self.float(opcode, o)
            }
            "ex2" | "lg2" | "rcp" | "rsqrt" | "sqrt" | "sin" | "cos" | "tanh" => self.float_function(opcode, o),
            "add" | "sub" | "mul" | "mul24" | "div" | "rem" | "min" | "max" | "and" | "or" | "xor" | "shl" | "shr" => self.int2(opcode, o),
            "neg" | "abs" | "not" | "cnot" | "popc" | "clz" | "brev" | "bfind" => self.int1(opcode, o),
            "mad" | "prmt" | "shf" | "bfe" | "bfi" | "sad" | "dp4a" | "lop3" | "slct" => self.int3(opcode, o),
            "mov" => self.mov(opcode, o),
            "setp" => self.setp(opcode, o),
            "set" => self.set(opcode, o),
            "selp" => self.select(opcode, o),
            "cvt" => self.convert(opcode, o),
            "cvta" => self.cvta(opcode, o),
            "isspacep" => self.is_space(opcode, o),
            "ld" | "ldu" => self.load(opcode, o),
            "st" => self.store(opcode, o),
            "atom" | "red" => self.atomic(opcode, o),
            "cp" => self.async_copy(opcode, o),
            "ldmatrix" => self.load_matrix(opcode, o),
            "mma" => self.mma(opcode, o),
            "bra" | "brx" | "ret" | "exit" | "trap" | "brkpt" | "call" => self.control(opcode, o),
            "bar" | "barrier" => self.barrier(opcode, o),
            "shfl" | "vote" | "match" | "redux" | "activemask" | "elect" => self.collective(opcode, o),
            "prefetch" | "prefetchu" | "membar" | "fence" | "nanosleep" | "griddepcontrol" | "discard" | "applypriority"
            | "createpolicy" => {
                if opcode.has("mbarrier_init") || opcode.has("proxy") || opcode.base == "createpolicy" {
                    return opcode.unsupported();
                }
                Ok(Op::Nop)
            }
            _ => opcode.unsupported(),
        }
    }

    /// The operand at `index`.
    fn at<'o>(&self, opcode: &Opcode<'_>, o: &'o [RawOperand<'a>], index: usize) -> Decoded<&'o RawOperand<'a>> {
        o.get(index).map_or_else(
            || Err(ParseErrorKind::Syntax(format!("`{}` has too few operands", opcode.full))),
            Ok,
        )
    }

    /// Remembers that shared memory is accessed in pieces of `bytes`.
    fn shared_access(&mut self, space: Space, bytes: usize) {
        if matches!(space, Space::Shared | Space::Generic) {
            self.shared_granule = self.shared_granule.min(bytes);
        }
    }
}
