//! Messages of protobuf: ONNX, graphs of TensorFlow, Core ML, SentencePiece. They have no magic number; what
//! is known of them is which fields they have, in which order, and what is in the first ones.

use super::ContentClass::{self, *};
use super::probe::FileProbe;

/// Most fields of a message that are looked at.
const MOST: usize = 64;

/// The value of a field, as far as it lies in the bytes at hand.
#[derive(Debug, Clone, Copy, PartialEq)]
enum FieldValue<'a> {
    Number(u64),
    Fixed32,
    Fixed64,
    /// What is there of it; `true`: all.
    Bytes(&'a [u8], bool),
}

/// A number of up to 64 bits in groups of 7, and how many bytes it takes.
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

/// The first fields of a message of `length` bytes that begins with `bytes`; `None`: it is no message.
fn fields(bytes: &[u8], length: u64) -> Option<Vec<(u64, FieldValue<'_>)>> {
    let mut found = Vec::new();
    let mut at = 0;
    while (at as u64) < length && at < bytes.len() && found.len() < MOST {
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
                    Some(found) => found,
                    None if cut => break,
                    None => return None,
                };
                let start = at + taken + width;
                let end = (start as u64).checked_add(count).filter(|end| *end <= length)?;
                let there = (bytes.len() as u64).min(end) as usize;
                let whole = there as u64 == end;
                found.push((key >> 3, FieldValue::Bytes(bytes.get(start..there)?, whole)));
                at = usize::try_from(end).ok()?;
                continue;
            }
            _ => return None,
        };
        if key >> 3 == 0 {
            return None;
        }
        found.push((key >> 3, value));
        at += taken;
    }
    Some(found)
}

/// The fields of a message that is the value of a field.
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

/// What kind of message a file is.
pub(super) fn classify(look: &FileProbe<'_>) -> Option<ContentClass> {
    if !matches!(look.head.first(), Some(0x08 | 0x0A)) {
        return None;
    }
    let found = fields(&look.head, look.bytes)?;
    let (&(number, first), rest) = found.split_first()?;
    match (number, first) {
        (1, FieldValue::Number(version)) if is_onnx(version, rest) => Some(Onnx),
        (1, FieldValue::Number(1)) if is_saved_model(rest) => Some(TensorflowGraph),
        (1, FieldValue::Number(1..=64)) if look.extension() == "mlmodel" => {
            matches!(rest.first(), Some((2, FieldValue::Bytes(..)))).then_some(CoreMl)
        }
        (1, FieldValue::Bytes(..)) if found.iter().take(3).all(is_piece) => Some(SentencePiece),
        (1, FieldValue::Bytes(..)) if is_node(&first) => Some(TensorflowGraph),
        _ => None,
    }
}

/// The fields of an ONNX model: a version of the format, then texts, and the graph.
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

/// Graphs with notes on them, the first of which says what it is for.
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

/// A piece of a tokenizer: text, a score, perhaps a kind.
fn is_piece((number, value): &(u64, FieldValue<'_>)) -> bool {
    *number == 1
        && inner(value).is_some_and(|fields| match &fields[..] {
            [(1, text), (2, FieldValue::Fixed32)] => is_text(text),
            [(1, text), (2, FieldValue::Fixed32), (3, FieldValue::Number(..=6))] => is_text(text),
            _ => false,
        })
}

/// A node of a graph of TensorFlow: its name and its operation.
fn is_node(value: &FieldValue<'_>) -> bool {
    inner(value).is_some_and(|fields| match &fields[..] {
        [(1, name), (2, operation), ..] => is_text(name) && is_text(operation),
        _ => false,
    })
}
