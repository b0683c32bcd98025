//! Walks through a protobuf message and visits the fields of a schema. Other fields, such as weights, are skipped
//! without reading them.

use super::lazy_file::LazyFile;
use tensorseal_format::OpenError;

/// The fields of a message that are visited.
pub(super) struct MessageSchema {
    /// The name of the message for visitors.
    pub name: &'static str,
    /// The fields that are visited, by number.
    pub fields: &'static [(u64, FieldSchema)],
}

/// The kind of a field that is visited.
pub(super) enum FieldSchema {
    /// A nested message.
    Message(&'static MessageSchema),
    /// A short text.
    Text,
}

/// An event of the walk.
pub(super) enum MessageEvent<'e> {
    /// The start of a message.
    Start(&'static str),
    /// A text in a message: the name of the message, the number of the field, and the text or its start.
    Text(&'static str, u64, &'e str),
    /// The end of a message.
    End(&'static str),
}

/// The deepest nesting of messages.
const MAX_DEPTH: usize = 64;
/// The number of bytes of a text that are read.
const MAX_TEXT: u64 = 4096;
/// The number of bytes that are read at once.
const WINDOW: u64 = 64 << 10;

/// A source of bytes with random access.
pub(super) trait ByteReader {
    fn len(&self) -> u64;
    fn fill(&self, at: u64, buffer: &mut [u8]) -> Result<(), OpenError>;
}

impl ByteReader for LazyFile<'_> {
    fn len(&self) -> u64 {
        self.file.bytes
    }

    fn fill(&self, at: u64, buffer: &mut [u8]) -> Result<(), OpenError> {
        self.whole()?;
        LazyFile::fill(self, at, buffer)
    }
}

struct ReadBuffer<'b> {
    bytes: &'b dyn ByteReader,
    buffer: Vec<u8>,
    start: u64,
}

impl ReadBuffer<'_> {
    /// Returns up to `count` bytes from `at` on, but no more than [`WINDOW`].
    fn get(&mut self, at: u64, count: u64) -> Result<&[u8], OpenError> {
        let count = count.min(WINDOW).min(self.bytes.len().saturating_sub(at));
        let buffered = self.start..self.start + self.buffer.len() as u64;
        if !(buffered.contains(&at) && at + count <= buffered.end) {
            let size = WINDOW.min(self.bytes.len().saturating_sub(at));
            self.buffer.resize(size as usize, 0);
            self.start = at;
            self.bytes.fill(at, &mut self.buffer)?;
        }
        let from = (at - self.start) as usize;
        Ok(self.buffer.get(from..from + count as usize).unwrap_or_default())
    }

    /// Reads a varint before `end`. Returns the number and its end.
    fn varint(&mut self, at: u64, end: u64) -> Result<Option<(u64, u64)>, OpenError> {
        let bytes = self.get(at, 10.min(end.saturating_sub(at)))?;
        let mut number = 0u64;
        for (place, byte) in bytes.iter().enumerate() {
            number |= u64::from(byte & 0x7f).checked_shl(7 * place as u32).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Ok(Some((number, at + place as u64 + 1)));
            }
        }
        Ok(None)
    }
}

/// Walks through a file that is one message. Parts that are not valid messages are skipped; the position of the first
/// one is returned.
pub(super) fn walk(
    bytes: &dyn ByteReader,
    message: &'static MessageSchema,
    visit: &mut dyn FnMut(MessageEvent<'_>),
) -> Result<Option<u64>, OpenError> {
    let mut window = ReadBuffer { bytes, buffer: Vec::new(), start: 0 };
    let mut fault = None;
    let mut open = vec![(bytes.len(), message)];
    let mut at = 0;
    visit(MessageEvent::Start(message.name));
    while let Some(&(end, message)) = open.last() {
        if at >= end {
            open.pop();
            visit(MessageEvent::End(message.name));
            continue;
        }
        let Some(field) = field(&mut window, at, end)? else {
            fault.get_or_insert(at);
            at = end;
            continue;
        };
        at = field.data[1];
        if !field.has_length {
            continue;
        }
        let [start, data_end] = field.data;
        match message.fields.iter().find(|(number, _)| *number == field.number) {
            Some((_, FieldSchema::Message(_))) if open.len() == MAX_DEPTH => {
                fault.get_or_insert(start);
            }
            Some((_, FieldSchema::Message(inner))) => {
                open.push((data_end, *inner));
                visit(MessageEvent::Start(inner.name));
                at = start;
            }
            Some((number, FieldSchema::Text)) => {
                let text = window.get(start, (data_end - start).min(MAX_TEXT))?;
                visit(MessageEvent::Text(message.name, *number, &String::from_utf8_lossy(text)));
            }
            None => {}
        }
    }
    Ok(fault)
}

struct FieldSpan {
    number: u64,
    has_length: bool,
    /// The bytes of the value.
    data: [u64; 2],
}

/// Parses the field at `at`, or returns `None` if there is none.
fn field(window: &mut ReadBuffer<'_>, at: u64, end: u64) -> Result<Option<FieldSpan>, OpenError> {
    let Some((tag, at)) = window.varint(at, end)? else { return Ok(None) };
    let number = tag >> 3;
    let (start, length) = match tag & 7 {
        0 => match window.varint(at, end)? {
            Some((_, value_end)) => (at, value_end - at),
            None => return Ok(None),
        },
        1 => (at, 8),
        2 => match window.varint(at, end)? {
            Some((length, start)) => (start, length),
            None => return Ok(None),
        },
        5 => (at, 4),
        _ => return Ok(None),
    };
    let fits = start.checked_add(length).filter(|data_end| number > 0 && *data_end <= end);
    Ok(fits.map(|data_end| FieldSpan { number, has_length: tag & 7 == 2, data: [start, data_end] }))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    impl ByteReader for &[u8] {
        fn len(&self) -> u64 {
            <[u8]>::len(self) as u64
        }

        fn fill(&self, at: u64, buffer: &mut [u8]) -> Result<(), OpenError> {
            buffer.copy_from_slice(&self[at as usize..at as usize + buffer.len()]);
            Ok(())
        }
    }

    fn varint(mut number: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while number > 0x7f {
            bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
        bytes
    }

    /// A field with these bytes.
    pub(crate) fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
        [varint(number << 3 | 2), varint(bytes.len() as u64), bytes.to_vec()].concat()
    }

    static NODE: MessageSchema = MessageSchema {
        name: "node",
        fields: &[(1, FieldSchema::Text), (2, FieldSchema::Message(&NODE))],
    };

    fn texts(bytes: &[u8]) -> (Vec<String>, Option<u64>) {
        let mut texts = Vec::new();
        let mut open = 0i64;
        let fault = walk(&bytes, &NODE, &mut |event| match event {
            MessageEvent::Start(_) => open += 1,
            MessageEvent::Text(_, _, text) => texts.push(format!("{open}{text}")),
            MessageEvent::End(_) => open -= 1,
        });
        assert_eq!(open, 0);
        (texts, fault.unwrap())
    }

    #[test]
    fn fields_that_matter_are_met() {
        let inner = [field(1, b"b"), field(9, &vec![0; 200_000]), field(1, b"c")].concat();
        let fixed =
            [&[1 << 3][..], &[0x96, 1], &[7 << 3 | 5], &[0; 4], &[8 << 3 | 1], &[0; 8]].concat();
        let whole = [field(1, b"a"), field(2, &inner), fixed, field(1, b"d")].concat();
        assert_eq!(texts(&whole), (["1a", "2b", "2c", "1d"].map(str::to_owned).to_vec(), None));
    }

    #[test]
    fn faults_are_passed_over() {
        let whole = [field(2, &[0xff; 3]), field(1, b"a")].concat();
        assert_eq!(texts(&whole), (vec!["1a".to_owned()], Some(2)));
        assert_eq!(texts(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]).1, Some(0));
        let mut deep = field(1, b"a");
        for _ in 0..1000 {
            deep = field(2, &deep);
        }
        assert!(texts(&deep).1.is_some());
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..100), small in prop::collection::vec(0u8..24, 0..100)) {
            texts(&bytes);
            texts(&small);
        }
    }
}
