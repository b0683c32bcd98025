//! Recognises pickles, whatever operation they begin with.
//!
//! Nearly any text and many raw numbers begin with a few bytes that are valid operations. Bytes count as a pickle if
//! they do something before the first fault: they import a name and call it or build with it, or they are a complete
//! pickle that imports a name or holds a tensor. The machine here only tracks the kinds of the values on the stack.
//! Text and bytes are skipped without reading them.

use super::super::zip;
use super::MAX_PICKLE;
use super::error::{Fault, MAX_OPERATIONS};
use super::operation::{Operation, Reader};
use std::collections::HashMap;
use std::io;

/// The number of bytes that are read at once: at first, and again if an operation does not fit.
const WINDOWS: [usize; 2] = [64 << 10, 1 << 20];

/// The number of operations without a fault that are enough if the bytes start with a protocol.
const ENOUGH: usize = 16;

/// The kind of a value on the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StackItem {
    Text,
    /// An imported name.
    Name,
    /// The result of a call.
    Made,
    Other,
}

/// Whether the `bytes` bytes that `read` returns by offset and length are a pickle. `head` are the first of these
/// bytes. If the name of the file has an extension of pickles (`promised`), any complete pickle counts.
pub(crate) fn is_pickle(
    head: &[u8],
    bytes: u64,
    promised: bool,
    read: &mut dyn FnMut(u64, usize) -> io::Result<Vec<u8>>,
) -> io::Result<bool> {
    // As a pickle, a zip archive begins with a reference to an external object, which plain readers do not support.
    if zip::is_archive_start(head) {
        return Ok(false);
    }
    let mut stream =
        OperationStream { read, bytes, window: head.to_vec(), start: 0, at: 0, left: MAX_PICKLE };
    let stated = matches!(head, [0x80, 0..=5, ..]);
    let mut machine = StackModel { stated, ..StackModel::default() };
    for operations in 0..MAX_OPERATIONS {
        let enough = || stated && operations >= ENOUGH;
        let step = match stream.next(&mut machine)? {
            Next::Step(step) => step,
            // A truncated pickle.
            Next::End => return Ok(stated && operations > 1),
            Next::Fault => return Ok(enough()),
            Next::TooMuch => return Ok(true),
        };
        match step {
            Some(Step::On) => {}
            Some(Step::Used) => return Ok(true),
            Some(Step::Stop) => {
                let whole = stream.position() == bytes;
                if stated || whole {
                    return Ok(stated || machine.named || machine.holds || promised);
                }
                // A reader of consecutive pickles continues with the next one.
                let StackModel { named, holds, .. } = machine;
                machine = StackModel { named, holds, ..StackModel::default() };
            }
            None => return Ok(enough()),
        }
    }
    Ok(true)
}

enum Step {
    On,
    /// A name was called or used to build an object.
    Used,
    Stop,
}

/// The result of decoding an operation. The inner `None` means that the stack does not fit the operation.
enum Next {
    Step(Option<Step>),
    Fault,
    /// The end of the bytes.
    End,
    /// The limit of a pickle was exceeded.
    TooMuch,
}

/// Decodes operations from a buffered part of the file.
struct OperationStream<'r> {
    read: &'r mut dyn FnMut(u64, usize) -> io::Result<Vec<u8>>,
    bytes: u64,
    window: Vec<u8>,
    start: u64,
    at: usize,
    /// The number of bytes that may still be read.
    left: u64,
}

impl OperationStream<'_> {
    fn position(&self) -> u64 {
        self.start + self.at as u64
    }

    /// Decodes and performs the next operation.
    fn next(&mut self, machine: &mut StackModel) -> io::Result<Next> {
        let mut windows = WINDOWS.iter();
        loop {
            let mut reader = Reader { bytes: &self.window, at: self.at };
            match reader.next() {
                Ok(operation) => {
                    let step = machine.perform(&operation);
                    self.at = reader.at;
                    return Ok(Next::Step(step));
                }
                Err(Fault::Truncated) => {}
                Err(_) => return Ok(Next::Fault),
            }
            if self.start + self.window.len() as u64 >= self.bytes {
                return Ok(Next::End);
            }
            match windows.next() {
                Some(length) => {
                    let position = self.position();
                    if !self.load(position, *length)? {
                        return Ok(Next::TooMuch);
                    }
                }
                None => return self.skip_long_operation(machine),
            }
        }
    }

    /// Fills the buffer. Returns `false` if that exceeds the limit.
    fn load(&mut self, position: u64, length: usize) -> io::Result<bool> {
        let available = self.bytes.saturating_sub(position).min(length as u64);
        let Some(left) = self.left.checked_sub(available) else { return Ok(false) };
        self.left = left;
        self.window = (self.read)(position, available as usize)?;
        (self.start, self.at) = (position, 0);
        Ok(true)
    }

    /// Skips the argument of an operation that is longer than the buffer.
    fn skip_long_operation(&mut self, machine: &mut StackModel) -> io::Result<Next> {
        let position = self.position();
        let Some((&code, rest)) = self.window.split_first() else { return Ok(Next::End) };
        let number = |width: usize| {
            let mut wide = [0; 8];
            let bytes = rest.get(..width)?;
            wide.get_mut(..width)?.copy_from_slice(bytes);
            Some(u64::from_le_bytes(wide))
        };
        let (width, operation) = match code {
            b'X' | b'T' => (4, Operation::Text(String::new())),
            0x8D => (8, Operation::Text(String::new())),
            b'B' | 0x8B => (4, Operation::Push(super::Value::Opaque)),
            0x8E | 0x96 => (8, Operation::Push(super::Value::Opaque)),
            0x95 => (8, Operation::Nothing),
            _ => return self.skip_lines(code, machine),
        };
        let Some(count) = number(width) else { return Ok(Next::End) };
        let front = position + 1 + width as u64;
        let Some(end) = front.checked_add(count).filter(|end| *end <= self.bytes) else {
            return Ok(Next::Fault);
        };
        // The contents of a frame are operations.
        let end = if code == 0x95 { front } else { end };
        (self.window, self.start, self.at) = (Vec::new(), end, 0);
        Ok(Next::Step(machine.perform(&operation)))
    }

    /// Skips the argument of an operation that ends with a newline.
    fn skip_lines(&mut self, code: u8, machine: &mut StackModel) -> io::Result<Next> {
        let nameless = || Operation::Global { module: "", name: "" };
        let (lines, operation) = match code {
            b'c' => (2, nameless()),
            b'i' => (2, Operation::Instance { module: "", name: "" }),
            b'S' | b'V' => (1, Operation::Text(String::new())),
            b'I' | b'L' | b'F' => (1, Operation::Push(super::Value::Opaque)),
            b'P' => (1, Operation::PersistentText),
            _ => return Ok(Next::Fault),
        };
        for _ in 0..lines {
            loop {
                let rest = self.window.get(self.at..).unwrap_or_default();
                if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                    self.at += end + 1;
                    break;
                }
                let position = self.start + self.window.len() as u64;
                if position >= self.bytes {
                    return Ok(Next::End);
                }
                if !self.load(position, WINDOWS[1])? {
                    return Ok(Next::TooMuch);
                }
            }
        }
        Ok(Next::Step(machine.perform(&operation)))
    }
}

/// The stack and the memo, as kinds of values.
#[derive(Debug, Default)]
struct StackModel {
    stack: Vec<StackItem>,
    marks: Vec<usize>,
    memo: HashMap<u32, StackItem>,
    /// Whether a name was imported.
    named: bool,
    /// Whether an external object was referred to, as tensor storages are.
    holds: bool,
    /// Whether the bytes start with a protocol, so that they are not text.
    stated: bool,
}

/// Whether a text can be the name of a module or of a member.
fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-');
    !name.is_empty() && name.chars().all(fits)
}

impl StackModel {
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Option<StackItem> {
        if self.stack.len() <= self.floor() { None } else { self.stack.pop() }
    }

    fn top(&self) -> Option<StackItem> {
        if self.stack.len() <= self.floor() { None } else { self.stack.last().copied() }
    }

    fn pop_to_mark(&mut self) -> Option<Vec<StackItem>> {
        let mark = self.marks.pop()?;
        Some(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn push(&mut self, kind: StackItem) {
        self.stack.push(kind);
    }

    /// Records an import. Returns `None` if the names are invalid and the bytes do not start with a protocol.
    fn resolve(&mut self, module: &str, name: &str) -> Option<()> {
        let resolves = self.stated || is_name(module) && is_name(name);
        self.named |= resolves;
        resolves.then_some(())
    }

    /// Pushes the result of a call.
    fn call(&mut self, callee: StackItem) -> Option<Step> {
        self.push(StackItem::Made);
        match callee {
            StackItem::Name | StackItem::Made => Some(Step::Used),
            StackItem::Text | StackItem::Other => None,
        }
    }

    /// Performs an operation. Returns `None` if the stack does not fit it.
    fn perform(&mut self, operation: &Operation<'_>) -> Option<Step> {
        match operation {
            Operation::Nothing => {}
            Operation::Stop => return self.pop().map(|_| Step::Stop),
            Operation::Mark => self.marks.push(self.stack.len()),
            Operation::Pop => {
                if self.marks.last() == Some(&self.stack.len()) {
                    self.marks.pop();
                } else {
                    self.pop()?;
                }
            }
            Operation::PopMark => drop(self.pop_to_mark()?),
            Operation::Dup => {
                let top = self.top()?;
                self.push(top);
            }
            Operation::Text(_) => self.push(StackItem::Text),
            Operation::Push(_)
            | Operation::EmptyList
            | Operation::EmptyDict
            | Operation::EmptyTuple
            | Operation::EmptySet => self.push(StackItem::Other),
            Operation::TupleOf(count) => {
                for _ in 0..*count {
                    self.pop()?;
                }
                self.push(StackItem::Other);
            }
            Operation::Tuple | Operation::List | Operation::Dict | Operation::FrozenSet => {
                self.pop_to_mark()?;
                self.push(StackItem::Other);
            }
            Operation::Append => {
                self.pop()?;
                self.top()?;
            }
            Operation::SetItem => {
                self.pop()?;
                self.pop()?;
                self.top()?;
            }
            Operation::Appends | Operation::AddItems | Operation::SetItems => {
                self.pop_to_mark()?;
                self.top()?;
            }
            Operation::Global { module, name } => {
                self.resolve(module, name)?;
                self.push(StackItem::Name);
            }
            Operation::Extension(_) => {
                self.named = true;
                self.push(StackItem::Name);
            }
            Operation::StackGlobal => {
                let names = [self.pop()?, self.pop()?];
                if names.iter().any(|kind| !matches!(kind, StackItem::Text | StackItem::Made)) {
                    return None;
                }
                self.named = true;
                self.push(StackItem::Name);
            }
            Operation::Instance { module, name } => {
                self.resolve(module, name)?;
                self.pop_to_mark()?;
                return self.call(StackItem::Name);
            }
            Operation::Object => {
                let class = self.pop_to_mark()?.first().copied()?;
                return self.call(class);
            }
            Operation::NewObjectEx => {
                self.pop()?;
                self.pop()?;
                let class = self.pop()?;
                return self.call(class);
            }
            Operation::Reduce | Operation::NewObject => {
                self.pop()?;
                let class = self.pop()?;
                return self.call(class);
            }
            Operation::Build => {
                self.pop()?;
                if matches!(self.top()?, StackItem::Name | StackItem::Made) {
                    return Some(Step::Used);
                }
            }
            Operation::PersistentText => self.push(StackItem::Other),
            Operation::Persistent => {
                self.pop()?;
                self.holds = true;
                self.push(StackItem::Other);
            }
            Operation::Get(at) => {
                let kind = *self.memo.get(at)?;
                self.push(kind);
            }
            Operation::Put(at) => {
                let top = self.top()?;
                self.memo.insert(*at, top);
            }
            Operation::Memoize => {
                let top = self.top()?;
                self.memo.insert(self.memo.len() as u32, top);
            }
        }
        Some(Step::On)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn recognised(bytes: &[u8]) -> bool {
        let head = &bytes[..bytes.len().min(64)];
        let mut read = |at: u64, length: usize| Ok(bytes[at as usize..][..length].to_vec());
        is_pickle(head, bytes.len() as u64, false, &mut read).unwrap()
    }

    #[test]
    fn what_resolves_a_name_and_uses_it_is_a_pickle() {
        for bytes in [
            &b"ccollections\nOrderedDict\n(S'x'\ntR."[..],
            b"(S'x'\nicollections\nOrderedDict\n.",
            b"(lp0\nccollections\nOrderedDict\n(S'x'\ntRa.",
            b"N0ccollections\nOrderedDict\n)R garbage",
            b"\x8c\x0bcollections\x8c\x0bOrderedDict\x93)\x81}b.",
            b"K\x01ccollections\nOrderedDict\n}b and more",
            b"\x80\x00ccollections\nOrderedDict\n.",
            b"\x80\x04}\x94.",
            b"\x80\x05\x95\x05\0\0\0\0\0\0\0}\x94.12",
            // Whole, and it names something.
            b"ccollections\nOrderedDict\n.",
            // Numbers as Python reads them.
            b"I0x1f\n0ccollections\nOrderedDict\n)R.",
            b"L-1_0L\n0ccollections\nOrderedDict\n)R.",
            b"Np1_0\n0ccollections\nOrderedDict\n)R.",
            // Behind another.
            b"I1\n.ccollections\nOrderedDict\n)R.",
            b"K\x01.N.ccollections\nOrderedDict\n.",
        ] {
            assert!(recognised(bytes), "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn an_archive_is_none_whatever_its_first_line_passes_over() {
        // As `torch.save` writes one whose first member names something on its first line.
        let rest = b"ccollections\nCounter\nccollections\nOrderedDict\n)R.";
        let bytes = [&b"PK\x03\x04\0\0\x08\x08m/data.pkl\x80\x02}q\0"[..], rest].concat();
        assert!(!recognised(&bytes));
    }

    #[test]
    fn text_and_numbers_are_none() {
        for bytes in [
            &b"cat\ndog\nmouse\n"[..],
            b"crane\nduck\nRobin\n",
            b"I am text\nand more",
            b"N.",
            b"(dp0\n.",
            b"K\x01.",
            b"constants\nare here.",
            b"(ii) Modify and create works\n(iii) Distribute them\n\n",
            b"(Maximum unit of one\nis this.\n",
            b"Dear reader,\nthis is no pickle.\n",
            b"\x80\x02\xfe\xff",
            b"\x80\x06N.",
            b"\x80\x02X\xff\xff\xff\xffa",
            b"",
        ] {
            assert!(!recognised(bytes), "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn long_text_is_passed_over() {
        let long = vec![b'a'; 3 << 20];
        let counted = [b"X", &(long.len() as u32).to_le_bytes()[..], &long, b"0"].concat();
        let line = [b"S'", &long[..], b"'\n0"].concat();
        for front in [counted, line] {
            let bytes = [&front, &b"ccollections\nOrderedDict\n)R."[..]].concat();
            assert!(recognised(&bytes));
            assert!(!recognised(&front));
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            recognised(&bytes);
        }

        /// Prefixes that do not change the stack.
        #[test]
        fn any_operation_may_come_first(front in prop::collection::vec(0usize..6, 0..200)) {
            let pieces: [&[u8]; 6] = [b"N0", b"K\x010", b"(1", b"]0", b"S'a'\n0", b"X\x01\0\0\0a0"];
            let mut bytes: Vec<u8> = front.iter().flat_map(|n| pieces[*n].to_vec()).collect();
            prop_assert!(!recognised(&bytes));
            bytes.extend_from_slice(b"ccollections\nOrderedDict\n)R.");
            prop_assert!(recognised(&bytes));
        }
    }
}
