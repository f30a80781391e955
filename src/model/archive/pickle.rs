//! Recognises the pickle of a checkpoint: an ordered dict of tensor descriptions. Nothing in it is ever executed.
//!
//! A pickle is a program for a stack machine that may name any function. Here only the opcodes, the types and the two
//! functions that describe tensors are known; whatever else a file asks for is refused by name. All objects live in flat
//! lists (no nesting in memory), every size has a limit, and memory grows at most linearly with the input.
//!
//! Source: Python's `pickletools` (protocols 2 to 5), `torch.save`. Called by `checkpoint`.

use std::collections::BTreeMap;

use thiserror::Error;

/// Values on the stack at one time.
const MAX_STACK: usize = 100_000;
/// Objects made in all.
const MAX_OBJECTS: usize = 1_000_000;
/// Tensors of one checkpoint.
const MAX_TENSORS: usize = 20_000;
/// Axes of one tensor.
const MAX_AXES: usize = 8;

/// Why a pickle is refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PickleError {
    /// The input ends inside an instruction, or without the last one.
    #[error("the checkpoint's pickle ends early")]
    Truncated,
    /// An instruction that no description of tensors needs.
    #[error("the checkpoint's pickle uses instruction 0x{0:02x}, which describes no tensor")]
    Opcode(u8),
    /// A function or class other than those that describe tensors.
    #[error("the checkpoint's pickle asks for {0}, which describes no tensor; it was not run")]
    Global(String),
    /// A known function was called with something else than its arguments.
    #[error("the checkpoint's pickle is malformed: {0}")]
    Malformed(&'static str),
    /// A limit of this reader.
    #[error("the checkpoint's pickle has more than {limit} {what}")]
    TooMany {
        /// What is too many.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
}

/// Type of the elements of a storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ElementType {
    /// 32-bit float.
    Float,
    /// 16-bit float, 5 bits of exponent.
    Half,
    /// 16-bit float, 8 bits of exponent.
    BFloat16,
    /// 64-bit float.
    Double,
    /// 64-bit integer.
    Long,
    /// 32-bit integer.
    Int,
    /// One byte, zero or not.
    Bool,
}

/// A tensor as the pickle describes it: a view into a storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TensorRecord {
    /// Member under `data/` that holds the storage.
    pub(super) storage: String,
    /// Type of its elements.
    pub(super) element: ElementType,
    /// Elements of the whole storage.
    pub(super) storage_len: u64,
    /// First element of the tensor.
    pub(super) offset: u64,
    /// Sizes, outermost first.
    pub(super) shape: Vec<u64>,
    /// Elements between neighbours on each axis.
    pub(super) stride: Vec<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(ElementType),
}

/// A value on the stack; the numbers are places in the machine's lists.
#[derive(Clone, Copy, Debug)]
enum Value {
    Plain,
    Int(i64),
    Text(usize),
    Tuple(usize),
    Dict(usize),
    Global(Global),
    Storage(usize),
    Tensor(usize),
}

#[derive(Default)]
struct Machine<'a> {
    input: &'a [u8],
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: BTreeMap<u64, Value>,
    texts: Vec<&'a str>,
    tuples: Vec<Vec<Value>>,
    dicts: Vec<Vec<(Value, Value)>>,
    storages: Vec<(ElementType, usize, u64)>,
    tensors: Vec<TensorRecord>,
    objects: usize,
}

/// The tensors of a state dict, by name.
pub(super) fn state_dict(pickle: &[u8]) -> Result<BTreeMap<String, TensorRecord>, PickleError> {
    let mut machine = Machine {
        input: pickle,
        ..Machine::default()
    };
    let Value::Dict(top) = machine.run()? else {
        return Err(PickleError::Malformed("the outermost object is not a dict"));
    };
    let mut tensors = BTreeMap::new();
    for (key, value) in machine.dicts.get(top).map(Vec::as_slice).unwrap_or_default() {
        let (Value::Text(name), Value::Tensor(tensor)) = (key, value) else {
            return Err(PickleError::Malformed(
                "the outermost dict maps something else than names to tensors",
            ));
        };
        let (Some(name), Some(tensor)) = (machine.texts.get(*name), machine.tensors.get(*tensor)) else {
            return Err(PickleError::Malformed("a reference leads nowhere"));
        };
        if tensors.insert((*name).to_owned(), tensor.clone()).is_some() {
            return Err(PickleError::Malformed("a tensor name occurs twice"));
        }
    }
    Ok(tensors)
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Value, PickleError> {
        loop {
            match self.byte()? {
                0x80 => match self.byte()? {
                    2..=5 => {}
                    _ => return Err(PickleError::Malformed("the protocol is not 2 to 5")),
                },
                0x95 => {
                    self.take(8)?; // a frame's length: a hint for readers of streams
                }
                b'.' => return self.pop(),
                b'(' => {
                    self.count()?;
                    self.marks.push(self.stack.len());
                }
                b'N' | 0x88 | 0x89 => self.push(Value::Plain)?,
                b'J' => {
                    let bytes = self.take(4)?.try_into().map_err(|_| PickleError::Truncated)?;
                    self.push(Value::Int(i64::from(i32::from_le_bytes(bytes))))?;
                }
                b'K' => self.push_unsigned(1)?,
                b'M' => self.push_unsigned(2)?,
                0x8a => self.long()?,
                b'G' => {
                    self.take(8)?;
                    self.push(Value::Plain)?;
                }
                b'X' => self.text(4)?,
                0x8c => self.text(1)?,
                0x8d => self.text(8)?,
                b')' => self.tuple(0)?,
                0x85 => self.tuple(1)?,
                0x86 => self.tuple(2)?,
                0x87 => self.tuple(3)?,
                b't' => {
                    let items = self.since_mark()?;
                    self.push_tuple(items)?;
                }
                b'}' => self.push_dict()?,
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.set_items(&[key, value])?;
                }
                b'u' => {
                    let items = self.since_mark()?;
                    self.set_items(&items)?;
                }
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.push_global(module, name)?;
                }
                0x93 => {
                    let (name, module) = (self.pop_text()?, self.pop_text()?);
                    self.push_global(module, name)?;
                }
                b'R' => self.call()?,
                b'b' => {
                    // Attributes of the dict (`_metadata`, version numbers): not needed.
                    self.pop()?;
                    self.top_dict()?;
                }
                b'Q' => self.storage()?,
                b'q' => self.remember(1)?,
                b'r' => self.remember(4)?,
                0x94 => {
                    let next = u64::try_from(self.memo.len()).unwrap_or(u64::MAX);
                    self.remember_as(next)?;
                }
                b'h' => self.recall(1)?,
                b'j' => self.recall(4)?,
                other => return Err(PickleError::Opcode(other)),
            }
        }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], PickleError> {
        let (head, tail) = self.input.split_at_checked(count).ok_or(PickleError::Truncated)?;
        self.input = tail;
        Ok(head)
    }

    fn byte(&mut self) -> Result<u8, PickleError> {
        self.take(1)?.first().copied().ok_or(PickleError::Truncated)
    }

    fn unsigned(&mut self, bytes: usize) -> Result<u64, PickleError> {
        Ok(self.take(bytes)?.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    fn push_unsigned(&mut self, bytes: usize) -> Result<(), PickleError> {
        let value = self.unsigned(bytes)?;
        self.push(Value::Int(
            i64::try_from(value).map_err(|_| PickleError::Malformed("an integer is too large"))?,
        ))
    }

    /// An integer of up to eight bytes, little-endian two's complement.
    fn long(&mut self) -> Result<(), PickleError> {
        let len = usize::from(self.byte()?);
        if len > 8 {
            return Err(PickleError::Malformed("an integer is too large"));
        }
        let bytes = self.take(len)?;
        let fill = if bytes.last().is_some_and(|&byte| byte >= 0x80) { 0xff } else { 0 };
        let mut full = [fill; 8];
        full.iter_mut().zip(bytes).for_each(|(to, &from)| *to = from);
        self.push(Value::Int(i64::from_le_bytes(full)))
    }

    fn text(&mut self, length_bytes: usize) -> Result<(), PickleError> {
        let len = usize::try_from(self.unsigned(length_bytes)?).map_err(|_| PickleError::Truncated)?;
        let text = std::str::from_utf8(self.take(len)?).map_err(|_| PickleError::Malformed("a text is not UTF-8"))?;
        self.texts.push(text);
        self.push(Value::Text(self.texts.len() - 1))
    }

    fn line(&mut self) -> Result<&'a str, PickleError> {
        let len = self.input.iter().position(|&byte| byte == b'\n').ok_or(PickleError::Truncated)?;
        let line = self.take(len)?;
        self.take(1)?;
        std::str::from_utf8(line).map_err(|_| PickleError::Malformed("a text is not UTF-8"))
    }

    /// Counts one more object towards the limit.
    fn count(&mut self) -> Result<(), PickleError> {
        self.objects += 1;
        if self.objects > MAX_OBJECTS {
            return Err(PickleError::TooMany {
                what: "objects",
                limit: MAX_OBJECTS,
            });
        }
        Ok(())
    }

    fn push(&mut self, value: Value) -> Result<(), PickleError> {
        self.count()?;
        if self.stack.len() >= MAX_STACK {
            return Err(PickleError::TooMany {
                what: "values on its stack",
                limit: MAX_STACK,
            });
        }
        self.stack.push(value);
        Ok(())
    }

    fn pop(&mut self) -> Result<Value, PickleError> {
        if self.stack.len() <= self.marks.last().copied().unwrap_or(0) {
            return Err(PickleError::Malformed("its stack is empty"));
        }
        self.stack.pop().ok_or(PickleError::Malformed("its stack is empty"))
    }

    fn pop_text(&mut self) -> Result<&'a str, PickleError> {
        let Value::Text(text) = self.pop()? else {
            return Err(PickleError::Malformed("a global's name is not a text"));
        };
        self.texts
            .get(text)
            .copied()
            .ok_or(PickleError::Malformed("a reference leads nowhere"))
    }

    fn since_mark(&mut self) -> Result<Vec<Value>, PickleError> {
        let mark = self.marks.pop().ok_or(PickleError::Malformed("a mark is missing"))?;
        if mark > self.stack.len() {
            return Err(PickleError::Malformed("a mark is missing"));
        }
        Ok(self.stack.split_off(mark))
    }

    fn tuple(&mut self, len: usize) -> Result<(), PickleError> {
        let mut items = Vec::with_capacity(len);
        for _ in 0..len {
            items.push(self.pop()?);
        }
        items.reverse();
        self.push_tuple(items)
    }

    fn push_tuple(&mut self, items: Vec<Value>) -> Result<(), PickleError> {
        self.tuples.push(items);
        self.push(Value::Tuple(self.tuples.len() - 1))
    }

    fn push_dict(&mut self) -> Result<(), PickleError> {
        self.dicts.push(Vec::new());
        self.push(Value::Dict(self.dicts.len() - 1))
    }

    /// The dict on top of the stack, which stays there.
    fn top_dict(&mut self) -> Result<&mut Vec<(Value, Value)>, PickleError> {
        let dict = self.pop()?;
        self.stack.push(dict);
        match dict {
            Value::Dict(at) => self.dicts.get_mut(at).ok_or(PickleError::Malformed("a reference leads nowhere")),
            _ => Err(PickleError::Malformed(
                "items or attributes are given to something else than a dict",
            )),
        }
    }

    fn set_items(&mut self, items: &[Value]) -> Result<(), PickleError> {
        let dict = self.top_dict()?;
        for pair in items.chunks(2) {
            let [key, value] = pair else {
                return Err(PickleError::Malformed("a dict key has no value"));
            };
            dict.push((*key, *value));
        }
        Ok(())
    }

    fn push_global(&mut self, module: &str, name: &str) -> Result<(), PickleError> {
        let global = match (module, name) {
            ("collections", "OrderedDict") => Global::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => Global::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Global::RebuildParameter,
            ("torch", "FloatStorage") => Global::Storage(ElementType::Float),
            ("torch", "HalfStorage") => Global::Storage(ElementType::Half),
            ("torch", "BFloat16Storage") => Global::Storage(ElementType::BFloat16),
            ("torch", "DoubleStorage") => Global::Storage(ElementType::Double),
            ("torch", "LongStorage") => Global::Storage(ElementType::Long),
            ("torch", "IntStorage") => Global::Storage(ElementType::Int),
            ("torch", "BoolStorage") => Global::Storage(ElementType::Bool),
            _ => {
                let full = format!("{module}.{name}");
                return Err(PickleError::Global(full.chars().take(120).flat_map(char::escape_default).collect()));
            }
        };
        self.push(Value::Global(global))
    }

    fn tuple_at(&self, value: Value) -> Result<&[Value], PickleError> {
        match value {
            Value::Tuple(at) => self
                .tuples
                .get(at)
                .map(Vec::as_slice)
                .ok_or(PickleError::Malformed("a reference leads nowhere")),
            _ => Err(PickleError::Malformed("arguments or sizes are not a tuple")),
        }
    }

    /// REDUCE: the calls that describe tensors.
    fn call(&mut self) -> Result<(), PickleError> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let arguments = self.tuple_at(arguments)?;
        match (function, arguments) {
            (Value::Global(Global::OrderedDict), []) => self.push_dict(),
            (Value::Global(Global::RebuildParameter), [tensor @ Value::Tensor(_), _, _]) => {
                let tensor = *tensor;
                self.push(tensor)
            }
            (
                Value::Global(Global::RebuildTensor),
                [Value::Storage(storage), Value::Int(offset), shape, stride, _, _]
                | [Value::Storage(storage), Value::Int(offset), shape, stride, _, _, _],
            ) => {
                let record = self.tensor(*storage, *offset, *shape, *stride)?;
                if self.tensors.len() >= MAX_TENSORS {
                    return Err(PickleError::TooMany {
                        what: "tensors",
                        limit: MAX_TENSORS,
                    });
                }
                self.tensors.push(record);
                self.push(Value::Tensor(self.tensors.len() - 1))
            }
            _ => Err(PickleError::Malformed("a call does not describe a tensor")),
        }
    }

    fn tensor(&self, storage: usize, offset: i64, shape: Value, stride: Value) -> Result<TensorRecord, PickleError> {
        let &(element, key, storage_len) = self
            .storages
            .get(storage)
            .ok_or(PickleError::Malformed("a reference leads nowhere"))?;
        let (shape, stride) = (self.sizes(shape)?, self.sizes(stride)?);
        if shape.len() != stride.len() || shape.len() > MAX_AXES {
            return Err(PickleError::Malformed("a tensor's sizes and strides do not match"));
        }
        let storage = (*self.texts.get(key).ok_or(PickleError::Malformed("a reference leads nowhere"))?).to_owned();
        let offset = u64::try_from(offset).map_err(|_| PickleError::Malformed("a tensor's offset is negative"))?;
        Ok(TensorRecord {
            storage,
            element,
            storage_len,
            offset,
            shape,
            stride,
        })
    }

    fn sizes(&self, tuple: Value) -> Result<Vec<u64>, PickleError> {
        let size = |value: &Value| match value {
            Value::Int(size) => u64::try_from(*size).map_err(|_| PickleError::Malformed("a tensor's size is negative")),
            _ => Err(PickleError::Malformed("a tensor's size is not an integer")),
        };
        self.tuple_at(tuple)?.iter().take(MAX_AXES + 1).map(size).collect()
    }

    /// BINPERSID: `("storage", type, key, location, elements)`.
    fn storage(&mut self) -> Result<(), PickleError> {
        let id = self.pop()?;
        let [
            Value::Text(tag),
            Value::Global(Global::Storage(element)),
            Value::Text(key),
            Value::Text(_),
            Value::Int(len),
        ] = *self.tuple_at(id)?
        else {
            return Err(PickleError::Malformed("a persistent id is not a storage"));
        };
        if self.texts.get(tag) != Some(&"storage") {
            return Err(PickleError::Malformed("a persistent id is not a storage"));
        }
        let len = u64::try_from(len).map_err(|_| PickleError::Malformed("a storage's length is negative"))?;
        self.storages.push((element, key, len));
        self.push(Value::Storage(self.storages.len() - 1))
    }

    fn remember(&mut self, index_bytes: usize) -> Result<(), PickleError> {
        let index = self.unsigned(index_bytes)?;
        self.remember_as(index)
    }

    fn remember_as(&mut self, index: u64) -> Result<(), PickleError> {
        self.count()?;
        let value = self.pop()?;
        self.stack.push(value);
        self.memo.insert(index, value);
        Ok(())
    }

    fn recall(&mut self, index_bytes: usize) -> Result<(), PickleError> {
        let index = self.unsigned(index_bytes)?;
        let value = *self.memo.get(&index).ok_or(PickleError::Malformed("a reference leads nowhere"))?;
        self.push(value)
    }
}
