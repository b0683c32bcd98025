//! Walking through hostile JSON without building it: every value is offered to a [`JsonSink`], which
//! says what it expected, so that a wrong type is an error of its own name rather than a parser's.

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

/// Nesting beyond this is refused before parsing (a safetensors header needs 3 levels).
const MAX_DEPTH: usize = 64;

/// The text is not one JSON value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Starts with the UTF-8 byte-order mark.
    #[error("starts with a byte-order mark, which JSON does not allow")]
    ByteOrderMark,
    /// Not UTF-8 from this byte of the text on.
    #[error("not UTF-8 at byte {at}")]
    NotUtf8 { at: u64 },
    /// Arrays or objects nested too deeply.
    #[error("nested more than {MAX_DEPTH} levels deep at line {}, column {}", place.line, place.column)]
    TooDeep { place: TextPosition },
    /// Not JSON.
    #[error("not JSON: {reason} at line {}, column {}", place.line, place.column)]
    Syntax { place: TextPosition, reason: String },
    /// Something other than white space after the value.
    #[error("{what} after the end of the JSON, at line {}, column {}", place.line, place.column)]
    Junk { place: TextPosition, what: &'static str },
}

/// A place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextPosition {
    /// From 1.
    pub line: u64,
    /// In bytes of the line, from 1.
    pub column: u64,
    /// In bytes of the text, from 0.
    pub offset: u64,
}

impl TextPosition {
    fn of_offset(text: &[u8], at: usize) -> TextPosition {
        let before = &text[..at.min(text.len())];
        let line = before.iter().filter(|&&b| b == b'\n').count();
        let start = before.iter().rposition(|&b| b == b'\n').map_or(0, |nl| nl + 1);
        TextPosition {
            line: line as u64 + 1,
            column: (before.len() - start) as u64 + 1,
            offset: at as u64,
        }
    }

    fn of_error(text: &[u8], error: &serde_json::Error) -> TextPosition {
        let mut start = 0;
        for _ in 1..error.line() {
            match text[start..].iter().position(|&b| b == b'\n') {
                Some(newline) => start += newline + 1,
                None => break,
            }
        }
        // serde_json's column counts the bytes of the line that were read.
        let at = (start + error.column().saturating_sub(1)).min(text.len());
        TextPosition { line: error.line() as u64, column: error.column() as u64, offset: at as u64 }
    }
}

impl JsonError {
    /// Where, in bytes from the start of the text.
    pub fn offset(&self) -> u64 {
        match self {
            JsonError::ByteOrderMark => 0,
            JsonError::NotUtf8 { at } => *at,
            JsonError::TooDeep { place }
            | JsonError::Syntax { place, .. }
            | JsonError::Junk { place, .. } => place.offset,
        }
    }
}

/// Any JSON value that is not looked into.
#[derive(Debug, Clone, PartialEq)]
pub enum JsonScalar<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool,
    /// An integer from 0 on.
    Unsigned(u64),
    /// An integer below 0.
    Negative(i64),
    /// Any other number.
    Float(f64),
    /// A string.
    Text(Cow<'a, str>),
    /// An array, passed over.
    List,
    /// An object, passed over.
    Object,
}

impl fmt::Display for JsonScalar<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JsonScalar::Null => f.write_str("null"),
            JsonScalar::Bool => f.write_str("a truth value"),
            JsonScalar::Unsigned(n) => write!(f, "{n}"),
            JsonScalar::Negative(n) => write!(f, "{n}"),
            JsonScalar::Float(x) => write!(f, "{x:?}"),
            JsonScalar::Text(text) => {
                write!(f, "the string {}", super::display::quoted(text))
            }
            JsonScalar::List => f.write_str("an array"),
            JsonScalar::Object => f.write_str("an object"),
        }
    }
}

/// What takes a value. By default arrays and objects are passed over.
pub trait JsonSink<'a>: Sized {
    /// What comes of a value.
    type Out;

    /// A value that is neither array nor object (or one that was passed over).
    fn scalar(self, value: JsonScalar<'a>) -> Self::Out;

    /// An array: passed over.
    fn list<A: SeqAccess<'a>>(self, mut list: A) -> Result<Self::Out, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(self.scalar(JsonScalar::List))
    }

    /// An object: passed over.
    fn object<A: MapAccess<'a>>(self, mut object: A) -> Result<Self::Out, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(self.scalar(JsonScalar::Object))
    }
}

/// Offers the next value of a deserializer to a sink.
pub struct SinkSeed<S>(pub S);

impl<'a, S: JsonSink<'a>> DeserializeSeed<'a> for SinkSeed<S> {
    type Value = S::Out;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<S::Out, D::Error> {
        deserializer.deserialize_any(AnyVisitor(self.0, PhantomData))
    }
}

struct AnyVisitor<'a, S>(S, PhantomData<&'a ()>);

impl<'a, S: JsonSink<'a>> Visitor<'a> for AnyVisitor<'a, S> {
    type Value = S::Out;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<S::Out, E> {
        Ok(self.0.scalar(JsonScalar::Null))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<S::Out, E> {
        Ok(self.0.scalar(JsonScalar::Bool))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<S::Out, E> {
        Ok(self.0.scalar(JsonScalar::Unsigned(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<S::Out, E> {
        Ok(self.0.scalar(match u64::try_from(value) {
            Ok(value) => JsonScalar::Unsigned(value),
            Err(_) => JsonScalar::Negative(value),
        }))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<S::Out, E> {
        Ok(self.0.scalar(JsonScalar::Float(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<S::Out, E> {
        Ok(self.0.scalar(JsonScalar::Text(Cow::Owned(value.to_owned()))))
    }

    fn visit_borrowed_str<E: Error>(self, value: &'a str) -> Result<S::Out, E> {
        Ok(self.0.scalar(JsonScalar::Text(Cow::Borrowed(value))))
    }

    fn visit_seq<A: SeqAccess<'a>>(self, list: A) -> Result<S::Out, A::Error> {
        self.0.list(list)
    }

    fn visit_map<A: MapAccess<'a>>(self, object: A) -> Result<S::Out, A::Error> {
        self.0.object(object)
    }
}

/// Takes any value as a [`JsonScalar`].
pub struct ScalarSink;

impl<'a> JsonSink<'a> for ScalarSink {
    type Out = JsonScalar<'a>;

    fn scalar(self, value: JsonScalar<'a>) -> JsonScalar<'a> {
        value
    }
}

/// Takes the key of an object.
pub struct KeySink;

impl<'a> JsonSink<'a> for KeySink {
    type Out = Cow<'a, str>;

    fn scalar(self, value: JsonScalar<'a>) -> Cow<'a, str> {
        match value {
            JsonScalar::Text(text) => text,
            // The parser lets no other key through.
            _ => Cow::Borrowed(""),
        }
    }
}

/// Passes over any value and notes the keys that occur twice in an object, at any depth.
pub struct DuplicateKeySink<'d>(pub &'d mut Vec<String>);

impl<'a> JsonSink<'a> for DuplicateKeySink<'_> {
    type Out = JsonScalar<'a>;

    fn scalar(self, value: JsonScalar<'a>) -> JsonScalar<'a> {
        value
    }

    fn list<A: SeqAccess<'a>>(self, mut list: A) -> Result<JsonScalar<'a>, A::Error> {
        while list.next_element_seed(SinkSeed(DuplicateKeySink(self.0)))?.is_some() {}
        Ok(JsonScalar::List)
    }

    fn object<A: MapAccess<'a>>(self, mut object: A) -> Result<JsonScalar<'a>, A::Error> {
        let mut seen = HashSet::new();
        while let Some(key) = object.next_key_seed(SinkSeed(KeySink))? {
            object.next_value_seed(SinkSeed(DuplicateKeySink(self.0)))?;
            if let Some(key) = seen.replace(key) {
                self.0.push(key.into_owned());
            }
        }
        Ok(JsonScalar::Object)
    }
}

/// The bytes as text that is safe to parse: UTF-8, no byte-order mark, not too deep.
fn text(bytes: &[u8]) -> Result<&str, JsonError> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(JsonError::ByteOrderMark);
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| JsonError::NotUtf8 { at: error.valid_up_to() as u64 })?;
    match too_deep(bytes) {
        Some(at) => Err(JsonError::TooDeep { place: TextPosition::of_offset(bytes, at) }),
        None => Ok(text),
    }
}

/// Where the nesting first exceeds the limit. The parser passes over unwanted values without
/// counting, and other readers of the same text recurse.
fn too_deep(bytes: &[u8]) -> Option<usize> {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Some(at);
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// Offers the one JSON value that `bytes` hold to `sink`; only white space may surround it.
pub fn parse<'a, S: JsonSink<'a>>(bytes: &'a [u8], sink: S) -> Result<S::Out, JsonError> {
    let text = text(bytes)?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let out = SinkSeed(sink).deserialize(&mut deserializer).map_err(|error| JsonError::Syntax {
        place: TextPosition::of_error(bytes, &error),
        reason: reason(&error),
    })?;
    deserializer.end().map_err(|error| {
        let place = TextPosition::of_error(bytes, &error);
        let nul = bytes.get(place.offset as usize) == Some(&0);
        JsonError::Junk { place, what: if nul { "NUL bytes" } else { "other text" } }
    })?;
    Ok(out)
}

/// The parser's words without the place, which is told apart.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> JsonError {
        parse(text.as_bytes(), ScalarSink).unwrap_err()
    }

    #[test]
    fn places_are_told() {
        let JsonError::Syntax { place, .. } = error("{\n \"a\": x}") else { panic!() };
        assert_eq!((place.line, place.column, place.offset), (2, 7, 8));
        let JsonError::Junk { place, what } = error("{} \0") else { panic!() };
        assert_eq!((place.offset, what), (3, "NUL bytes"));
        assert_eq!(error("\u{feff}{}"), JsonError::ByteOrderMark);
        assert_eq!(parse(b"{\"\xff", ScalarSink), Err(JsonError::NotUtf8 { at: 2 }));
    }

    #[test]
    fn depth_is_bounded_and_strings_do_not_count() {
        assert!(matches!(error(&"[".repeat(100_000)), JsonError::TooDeep { .. }));
        let brackets = format!("\"\\\"{}\"", "[".repeat(1000));
        assert!(parse(brackets.as_bytes(), ScalarSink).is_ok());
    }

    #[test]
    fn duplicates_are_found_at_any_depth() {
        let mut found = Vec::new();
        let text = br#"{"a":[{"b":1,"\u0062":2}],"a":1}"#;
        parse(text, DuplicateKeySink(&mut found)).unwrap();
        assert_eq!(found, ["b", "a"]);
    }
}
