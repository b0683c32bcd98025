//! Recognises protobuf messages: ONNX, TensorFlow graphs, Core ML, SentencePiece. They have no magic number, so they
//! are recognised by the numbers, the order and the contents of their first fields.

use super::ContentClass::{self, *};
use super::probe::FileProbe;

/// The largest number of fields of a message that are examined.
const MAX_FIELDS: usize = 64;

/// The value of a field, as far as it is available.
#[derive(Debug, Clone, Copy, PartialEq)]
enum FieldValue<'a> {
    Number(u64),
    Fixed32,
    Fixed64,
    /// The available bytes, and whether they are complete.
    Bytes(&'a [u8], bool),
}

/// Parses a varint of up to 64 bits. Returns the number and its length in bytes.
pub(super) fn number(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0;
    for (at, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7F).checked_shl(7 * at as u32)?;
        if byte & 0x80 == 0 {
            return Some((value, at + 1));
        }
    }
    None
}

/// Parses the first fields of a message of `length` bytes that begins with `bytes`. Returns `None` if it is not a
/// message.
fn fields(bytes: &[u8], length: u64) -> Option<Vec<(u64, FieldValue<'_>)>> {
    let mut parsed = Vec::new();
    let mut at = 0;
    while (at as u64) < length && at < bytes.len() && parsed.len() < MAX_FIELDS {
        let rest = bytes.get(at..)?;
        let cut = rest.len() < 20 && (bytes.len() as u64) < length;
        let Some((key, taken)) = number(rest) else { if cut { break } else { return None } };
        let rest = rest.get(taken..)?;
        let (value, taken) = match key & 7 {
            0 => match number(rest) {
                Some((value, width)) => (FieldValue::Number(value), taken + width),
                None if cut => break,
                None => return None,
            },
            1 => (FieldValue::Fixed64, taken + 8),
            5 => (FieldValue::Fixed32, taken + 4),
            2 => {
                let (count, width) = match number(rest) {
                    Some(number) => number,
                    None if cut => break,
                    None => return None,
                };
                let start = at + taken + width;
                let end = (start as u64).checked_add(count).filter(|end| *end <= length)?;
                let available = (bytes.len() as u64).min(end) as usize;
                let whole = available as u64 == end;
                parsed.push((key >> 3, FieldValue::Bytes(bytes.get(start..available)?, whole)));
                at = usize::try_from(end).ok()?;
                continue;
            }
            _ => return None,
        };
        if key >> 3 == 0 {
            return None;
        }
        parsed.push((key >> 3, value));
        at += taken;
    }
    Some(parsed)
}

/// Parses the fields of a nested message.
fn inner<'a>(value: &FieldValue<'a>) -> Option<Vec<(u64, FieldValue<'a>)>> {
    match value {
        FieldValue::Bytes(bytes, true) => fields(bytes, bytes.len() as u64),
        FieldValue::Bytes(bytes, false) => fields(bytes, u64::MAX),
        _ => None,
    }
}

fn is_text(value: &FieldValue<'_>) -> bool {
    match value {
        FieldValue::Bytes(bytes, _) => {
            std::str::from_utf8(bytes).is_ok_and(|text| !text.chars().any(char::is_control))
        }
        _ => false,
    }
}

/// Classifies a file that is a protobuf message.
pub(super) fn classify(probe: &FileProbe<'_>) -> Option<ContentClass> {
    if !matches!(probe.head.first(), Some(0x08 | 0x0A)) {
        return None;
    }
    let parsed = fields(&probe.head, probe.bytes)?;
    let (&(number, first), rest) = parsed.split_first()?;
    match (number, first) {
        (1, FieldValue::Number(version)) if is_onnx(version, rest) => Some(Onnx),
        (1, FieldValue::Number(1)) if is_saved_model(rest) => Some(TensorflowGraph),
        (1, FieldValue::Number(1..=64)) if probe.extension() == "mlmodel" => {
            matches!(rest.first(), Some((2, FieldValue::Bytes(..)))).then_some(CoreMl)
        }
        (1, FieldValue::Bytes(..)) if parsed.iter().take(3).all(is_piece) => Some(SentencePiece),
        (1, FieldValue::Bytes(..)) if is_node(&first) => Some(TensorflowGraph),
        _ => None,
    }
}

/// Whether these are the fields of an ONNX model: the format version, texts and the graph.
fn is_onnx(version: u64, rest: &[(u64, FieldValue<'_>)]) -> bool {
    let is_field = |(number, value): &(u64, FieldValue<'_>)| match number {
        2..=4 => is_text(value),
        5 => matches!(value, FieldValue::Number(_)),
        6 | 7 | 8 | 14 | 20 | 25 | 26 => matches!(value, FieldValue::Bytes(..)),
        _ => false,
    };
    let is_graph = |(number, value): &(u64, FieldValue<'_>)| {
        *number == 7
            && inner(value).is_some_and(|fields| {
                fields.iter().all(|(number, value)| {
                    matches!(number, 1 | 2 | 5 | 10..=16) && matches!(value, FieldValue::Bytes(..))
                })
            })
    };
    (1..=64).contains(&version) && rest.iter().all(is_field) && rest.iter().any(is_graph)
}

/// Whether these are the fields of a saved model: graphs that begin with their metadata.
fn is_saved_model(rest: &[(u64, FieldValue<'_>)]) -> bool {
    let is_graph = |(number, value): &(u64, FieldValue<'_>)| {
        *number == 2
            && inner(value).is_some_and(|fields| {
                matches!(fields.first(), Some((1, FieldValue::Bytes(..))))
                    && fields.iter().all(|(number, _)| (1..=7).contains(number))
            })
    };
    !rest.is_empty() && rest.iter().all(is_graph)
}

/// Whether a field is a piece of a SentencePiece tokenizer: a text, a score and an optional type.
fn is_piece((number, value): &(u64, FieldValue<'_>)) -> bool {
    *number == 1
        && inner(value).is_some_and(|fields| match &fields[..] {
            [(1, text), (2, FieldValue::Fixed32)] => is_text(text),
            [(1, text), (2, FieldValue::Fixed32), (3, FieldValue::Number(..=6))] => is_text(text),
            _ => false,
        })
}

/// Whether a field is a node of a TensorFlow graph: a name and an operation.
fn is_node(value: &FieldValue<'_>) -> bool {
    inner(value).is_some_and(|fields| match &fields[..] {
        [(1, name), (2, operation), ..] => is_text(name) && is_text(operation),
        _ => false,
    })
}
