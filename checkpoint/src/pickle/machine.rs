//! The stack, the memo, and what each opcode does to them.
//!
//! Source of the opcodes: Python's `Lib/pickle.py` and `Lib/pickletools.py`, protocols 0 to 5.

use std::borrow::Cow;
use std::collections::HashMap;

use super::{Global, Id, Node};
use crate::cursor::Cursor;
use crate::error::{Fault, Parsed, damaged, shorten};

/// A pickle of a checkpoint is a few kilobytes a layer; this is thousands of times the largest.
const PICKLE_MAX_BYTES: usize = 256 << 20;
/// Values of one pickle; a large optimizer's state has some 100,000.
const VALUES_MAX: usize = 8_000_000;
/// Parts of values that may be copied, some ten bytes each; a pickle as large as they come copies a tenth of this.
const COPIES_MAX: usize = 32 << 20;
/// Marks that no tuple, list or dict has taken up yet; torch's pickles have fewer than a hundred.
const MARKS_MAX: usize = 1_000_000;
/// The newest protocol there is.
const PROTOCOL_MAX: u8 = 5;

/// Which classes a pickle may make instances of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Dialect {
    /// `torch.save`: none.
    Python,
    /// `torch.jit.save`: those of the archive, whose names begin with `__torch__`.
    TorchScript,
}

/// What a pickle holds once it has run.
pub(crate) struct Pickle<'a> {
    nodes: Vec<Node<'a>>,
    /// The value as a whole.
    pub(crate) root: Id,
    /// Bytes of the pickle itself, of those given.
    pub(crate) consumed: usize,
}

impl<'a> Pickle<'a> {
    pub(crate) fn node(&self, id: Id) -> &Node<'a> {
        &self.nodes[id.0 as usize]
    }

    /// All values, used or not.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Node<'a>> {
        self.nodes.iter()
    }
}

/// Runs the pickle at the start of `bytes`.
pub(crate) fn run(bytes: &[u8], dialect: Dialect) -> Parsed<Pickle<'_>> {
    let mut machine = Machine {
        cursor: Cursor::new(&bytes[..bytes.len().min(PICKLE_MAX_BYTES)], 0),
        dialect,
        nodes: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        copies_left: bytes.len().min(COPIES_MAX),
    };
    let root = machine.run()?;
    Ok(Pickle {
        root,
        consumed: machine.cursor.position(),
        nodes: machine.nodes,
    })
}

pub(super) struct Machine<'a> {
    cursor: Cursor<'a>,
    dialect: Dialect,
    pub(super) nodes: Vec<Node<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// What may still be copied from one value to another. A value of N parts took N bytes to make, so who copies more
    /// than the pickle's length in all copies the same parts again and again.
    copies_left: usize,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Parsed<Id> {
        loop {
            let at = self.cursor.position();
            let opcode = self.cursor.u8()?;
            if opcode == b'.' {
                return self.pop();
            }
            self.step(opcode).map_err(|fault| match fault {
                Fault::Damaged(detail) => damaged(format!(
                    "{detail} (opcode 0x{opcode:02x} at byte {at} of the pickle)"
                )),
                other => other,
            })?;
        }
    }

    fn step(&mut self, opcode: u8) -> Parsed<()> {
        match opcode {
            b'N' | b'I' | b'J' | b'K' | b'L' | b'M' | b'F' | b'G' | 0x88..=0x8B => {
                self.number(opcode)
            }
            b'X' | b'T' | b'U' | b'B' | b'C' | 0x8C..=0x8E | 0x96 => self.text(opcode),
            b'(' | b'0' | b'1' | b'2' => self.stack_operation(opcode),
            b'g' | b'h' | b'j' | b'p' | b'q' | b'r' | 0x94 => self.memo_operation(opcode),
            b')' | b't' | 0x85..=0x87 | b']' | b'l' | b'}' | b'd' | 0x8F | 0x91 => {
                self.make(opcode)
            }
            b'a' | b'e' | b's' | b'u' | 0x90 => self.fill(opcode),
            b'c' | 0x93 | b'R' | 0x81 | b'b' | b'Q' => self.call(opcode),
            0x80 => match self.cursor.u8()? {
                0..=PROTOCOL_MAX => Ok(()),
                protocol => Err(Fault::save_again(format!("pickle protocol {protocol}"))),
            },
            0x95 => self.cursor.u64().map(|_| ()),
            b'P' | b'S' | b'V' | b'i' | b'o' | 0x82..=0x84 | 0x92 | 0x97 | 0x98 => {
                Err(Fault::save_again(format!("pickle opcode 0x{opcode:02x}")))
            }
            _ => Err(damaged("no such opcode")),
        }
    }

    fn number(&mut self, opcode: u8) -> Parsed<()> {
        let node = match opcode {
            b'N' => Node::None,
            b'J' => Node::Int(i32::from_le_bytes(self.cursor.array()?).into()),
            b'K' => Node::Int(self.cursor.u8()?.into()),
            b'M' => Node::Int(self.cursor.u16()?.into()),
            b'G' => Node::Float(f64::from_be_bytes(self.cursor.array()?)),
            0x88 => Node::Bool(true),
            0x89 => Node::Bool(false),
            0x8A => {
                let length = self.cursor.u8()?;
                long(self.cursor.take(length.into())?)
            }
            0x8B => {
                let length = self.cursor.u32()?;
                long(self.cursor.take(length as usize)?)
            }
            _ => decimal(opcode, self.cursor.line()?)?,
        };
        self.push(node)
    }

    fn text(&mut self, opcode: u8) -> Parsed<()> {
        let length = match opcode {
            b'U' | b'C' | 0x8C => self.cursor.u8()?.into(),
            b'X' | b'T' | b'B' => self.cursor.u32()?.into(),
            _ => self.cursor.u64()?,
        };
        let bytes = self
            .cursor
            .take(usize::try_from(length).unwrap_or(usize::MAX))?;
        let node = match (opcode, std::str::from_utf8(bytes)) {
            (b'X' | 0x8C | 0x8D, Err(_)) => return Err(damaged("a text is not UTF-8")),
            (b'B' | b'C' | 0x8E | 0x96, _) | (_, Err(_)) => Node::Bytes(Cow::Borrowed(bytes)),
            // Python 2 wrote its texts as bytes.
            (_, Ok(text)) => Node::Text(Cow::Borrowed(text)),
        };
        self.push(node)
    }

    fn stack_operation(&mut self, opcode: u8) -> Parsed<()> {
        match opcode {
            b'(' => {
                at_most(self.marks.len(), MARKS_MAX, "open marks in a pickle")?;
                self.marks.push(self.stack.len());
            }
            b'0' if self.stack.len() == self.floor() => {
                self.pop_marked()?;
            }
            b'0' => {
                self.pop()?;
            }
            b'1' => {
                self.pop_marked()?;
            }
            _ => {
                let top = self.top()?;
                self.put(top)?;
            }
        }
        Ok(())
    }

    fn memo_operation(&mut self, opcode: u8) -> Parsed<()> {
        let number = match opcode {
            b'h' | b'q' => self.cursor.u8()?.into(),
            b'j' | b'r' => self.cursor.u32()?,
            0x94 => self.memo.len() as u32,
            _ => ascii(self.cursor.line()?)?,
        };
        if matches!(opcode, b'g' | b'h' | b'j') {
            let id = *self
                .memo
                .get(&number)
                .ok_or_else(|| damaged(format!("there is no value {number} in the memo")))?;
            return self.put(id);
        }
        let top = self.top()?;
        at_most(self.memo.len(), VALUES_MAX, "values in a pickle's memo")?;
        self.memo.insert(number, top);
        Ok(())
    }

    fn make(&mut self, opcode: u8) -> Parsed<()> {
        let node = match opcode {
            b')' => Node::Tuple(Vec::new()),
            b't' => Node::Tuple(self.pop_marked()?),
            0x85..=0x87 => {
                let count = usize::from(opcode - 0x84);
                let start = self
                    .stack
                    .len()
                    .checked_sub(count)
                    .filter(|&start| start >= self.floor());
                let start = start.ok_or_else(empty_stack)?;
                Node::Tuple(self.stack.split_off(start))
            }
            b']' | 0x8F => Node::List(Vec::new()),
            b'l' | 0x91 => Node::List(self.pop_marked()?),
            b'}' => Node::Dict(Vec::new()),
            _ => Node::Dict(pairs(&self.pop_marked()?)?),
        };
        self.push(node)
    }

    fn fill(&mut self, opcode: u8) -> Parsed<()> {
        let items = match opcode {
            b'a' => vec![self.pop()?],
            b's' => {
                let value = self.pop()?;
                vec![self.pop()?, value]
            }
            _ => self.pop_marked()?,
        };
        let target = self.top()?;
        match (opcode, self.node_mut(target)) {
            (b'a' | b'e' | 0x90, Node::List(list)) => list.extend(items),
            (b's' | b'u', Node::Dict(dict)) => dict.extend(pairs(&items)?),
            _ => return Err(damaged("items are put into something that holds none")),
        }
        Ok(())
    }

    fn call(&mut self, opcode: u8) -> Parsed<()> {
        match opcode {
            b'c' => {
                let module = utf8(self.cursor.line()?)?;
                let name = utf8(self.cursor.line()?)?;
                let global = self.global(module, name)?;
                self.push(Node::Global(global))
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (module, name) = (self.borrowed_text(module)?, self.borrowed_text(name)?);
                let global = self.global(module, name)?;
                self.push(Node::Global(global))
            }
            b'b' => {
                let state = self.pop()?;
                let target = self.top()?;
                self.build(target, state)
            }
            b'Q' => {
                let id = self.pop()?;
                let node = self.persistent(id)?;
                self.push(node)
            }
            _ => {
                let (arguments, callee) = (self.pop()?, self.pop()?);
                let Node::Global(global) = *self.node(callee) else {
                    return Err(damaged("something that is no function is called"));
                };
                let result = self.result_of(global, arguments, opcode == 0x81)?;
                self.put(result)
            }
        }
    }

    fn global(&self, module: &'a str, name: &'a str) -> Parsed<Global<'a>> {
        let is_scripted = module == "__torch__" || module.starts_with("__torch__.");
        if is_scripted && self.dialect == Dialect::TorchScript {
            return Ok(Global::Scripted);
        }
        Global::find(module, name)
            .ok_or_else(|| Fault::Refused(format!("{}.{}", shorten(module), shorten(name))))
    }

    /// A name for a global, which lives as long as the pickle's bytes.
    fn borrowed_text(&self, id: Id) -> Parsed<&'a str> {
        match self.node(id) {
            Node::Text(Cow::Borrowed(text)) => Ok(text),
            _ => Err(damaged("a global's name is no text")),
        }
    }

    pub(super) fn node(&self, id: Id) -> &Node<'a> {
        &self.nodes[id.0 as usize]
    }

    pub(super) fn node_mut(&mut self, id: Id) -> &mut Node<'a> {
        &mut self.nodes[id.0 as usize]
    }

    /// A new value, on no stack yet.
    pub(super) fn keep(&mut self, node: Node<'a>) -> Parsed<Id> {
        at_most(self.nodes.len(), VALUES_MAX, "values in a pickle")?;
        let id = Id(self.nodes.len() as u32);
        self.nodes.push(node);
        Ok(id)
    }

    /// Accounts for copying so many parts of a value.
    pub(super) fn charge(&mut self, parts: usize) -> Parsed<()> {
        self.copies_left = self.copies_left.checked_sub(parts).ok_or(Fault::Excess {
            what: "copies of values in a pickle",
            limit: COPIES_MAX as u64,
        })?;
        Ok(())
    }

    fn push(&mut self, node: Node<'a>) -> Parsed<()> {
        let id = self.keep(node)?;
        self.put(id)
    }

    fn put(&mut self, id: Id) -> Parsed<()> {
        at_most(self.stack.len(), VALUES_MAX, "values on a pickle's stack")?;
        self.stack.push(id);
        Ok(())
    }

    /// The height below which the stack belongs to what is behind the last mark.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Parsed<Id> {
        self.stack[self.floor()..]
            .last()
            .copied()
            .ok_or_else(empty_stack)
    }

    fn pop(&mut self) -> Parsed<Id> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_marked(&mut self) -> Parsed<Vec<Id>> {
        let mark = self
            .marks
            .pop()
            .ok_or_else(|| damaged("there is no mark on the stack"))?;
        Ok(self.stack.split_off(mark))
    }
}

/// Whether one more may come to so many.
fn at_most(count: usize, limit: usize, what: &'static str) -> Parsed<()> {
    if count < limit {
        return Ok(());
    }
    Err(Fault::Excess {
        what,
        limit: limit as u64,
    })
}

fn empty_stack() -> Fault {
    damaged("the stack is empty")
}

fn pairs(items: &[Id]) -> Parsed<Vec<(Id, Id)>> {
    let (pairs, rest) = items.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(damaged("a key has no value"));
    }
    Ok(pairs.iter().map(|&[key, value]| (key, value)).collect())
}

/// Two's complement of any length.
fn long<'a>(bytes: &[u8]) -> Node<'a> {
    if bytes.len() > 8 {
        return Node::LongInt;
    }
    let sign = bytes
        .last()
        .map_or(0, |&last| if last >= 0x80 { 0xFF } else { 0 });
    let mut wide = [sign; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    Node::Int(i64::from_le_bytes(wide))
}

/// The numbers of protocols 0 and 1, written out.
fn decimal<'a>(opcode: u8, line: &[u8]) -> Parsed<Node<'a>> {
    let line = line.strip_suffix(b"L").unwrap_or(line);
    Ok(match (opcode, line) {
        (b'I', b"00") => Node::Bool(false),
        (b'I', b"01") => Node::Bool(true),
        (b'F', _) => Node::Float(ascii(line)?),
        _ => Node::Int(ascii(line)?),
    })
}

fn ascii<T: std::str::FromStr>(line: &[u8]) -> Parsed<T> {
    utf8(line)?
        .parse()
        .map_err(|_| damaged("a number does not parse"))
}

fn utf8(line: &[u8]) -> Parsed<&str> {
    std::str::from_utf8(line).map_err(|_| damaged("a name is not UTF-8"))
}
