//! Walks through untrusted JSON without building a tree: every value is passed to a [`JsonSink`], which decides
//! what it accepts, so that a value of the wrong type can be reported precisely.

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

/// The deepest nesting that is parsed (a safetensors header needs 3 levels).
const MAX_DEPTH: usize = 64;

/// The reason why a text is not a single JSON value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The text starts with the UTF-8 byte-order mark.
    #[error("starts with a byte-order mark, which JSON does not allow")]
    ByteOrderMark,
    /// The text is not UTF-8.
    #[error("not UTF-8 at byte {at}")]
    NotUtf8 {
        /// The position of the first invalid byte.
        at: u64,
    },
    /// Arrays or objects are nested too deeply.
    #[error("nested more than {MAX_DEPTH} levels deep at line {}, column {}", place.line, place.column)]
    TooDeep {
        /// The position of the bracket that exceeds the limit.
        place: TextPosition,
    },
    /// The text is not JSON.
    #[error("not JSON: {reason} at line {}, column {}", place.line, place.column)]
    Syntax {
        /// The position of the error.
        place: TextPosition,
        /// The message of the parser.
        reason: String,
    },
    /// Something other than white space follows the value.
    #[error("{what} after the end of the JSON, at line {}, column {}", place.line, place.column)]
    Junk {
        /// The position of the first byte after the value that is not white space.
        place: TextPosition,
        /// A short description of what follows.
        what: &'static str,
    },
}

/// A position in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextPosition {
    /// The line, counted from 1.
    pub line: u64,
    /// The column in bytes, counted from 1.
    pub column: u64,
    /// The offset in bytes from the start of the text.
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
    /// The offset of the error in bytes from the start of the text.
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

/// A JSON value as a sink sees it, without the contents of arrays and objects.
#[derive(Debug, Clone, PartialEq)]
pub enum JsonScalar<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool,
    /// A non-negative integer.
    Unsigned(u64),
    /// A negative integer.
    Negative(i64),
    /// Any other number.
    Float(f64),
    /// A string.
    Text(Cow<'a, str>),
    /// An array whose elements were skipped.
    List,
    /// An object whose members were skipped.
    Object,
}

impl fmt::Display for JsonScalar<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JsonScalar::Null => f.write_str("null"),
            JsonScalar::Bool => f.write_str("a Boolean"),
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

/// Receives one JSON value. By default arrays and objects are skipped and reported as a [`JsonScalar`].
pub trait JsonSink<'a>: Sized {
    /// The result for a value.
    type Out;

    /// Receives a value that is neither an array nor an object, or an array or object that was skipped.
    fn scalar(self, value: JsonScalar<'a>) -> Self::Out;

    /// Receives an array. The default skips it.
    ///
    /// # Errors
    /// Returns the syntax errors of the parser.
    fn list<A: SeqAccess<'a>>(self, mut list: A) -> Result<Self::Out, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(self.scalar(JsonScalar::List))
    }

    /// Receives an object. The default skips it.
    ///
    /// # Errors
    /// Returns the syntax errors of the parser.
    fn object<A: MapAccess<'a>>(self, mut object: A) -> Result<Self::Out, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(self.scalar(JsonScalar::Object))
    }
}

/// Passes the next value of a deserializer to a sink.
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

/// Returns any value as a [`JsonScalar`].
pub struct ScalarSink;

impl<'a> JsonSink<'a> for ScalarSink {
    type Out = JsonScalar<'a>;

    fn scalar(self, value: JsonScalar<'a>) -> JsonScalar<'a> {
        value
    }
}

/// Returns the key of an object member.
pub struct KeySink;

impl<'a> JsonSink<'a> for KeySink {
    type Out = Cow<'a, str>;

    fn scalar(self, value: JsonScalar<'a>) -> Cow<'a, str> {
        match value {
            JsonScalar::Text(text) => text,
            // The parser rejects all other keys.
            _ => Cow::Borrowed(""),
        }
    }
}

/// Skips a value and collects the keys that occur twice in an object, at any depth.
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

/// Returns the bytes as text that is safe to parse: UTF-8, without a byte-order mark, not nested too deeply.
fn checked_text(bytes: &[u8]) -> Result<&str, JsonError> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(JsonError::ByteOrderMark);
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| JsonError::NotUtf8 { at: error.valid_up_to() as u64 })?;
    match find_too_deep(bytes) {
        Some(at) => Err(JsonError::TooDeep { place: TextPosition::of_offset(bytes, at) }),
        None => Ok(text),
    }
}

/// Returns the position where the nesting first exceeds the limit. The parser does not count the depth of
/// values that it skips, and other readers of the same text recurse.
fn find_too_deep(bytes: &[u8]) -> Option<usize> {
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

/// Parses `bytes` as one JSON value, surrounded by nothing but white space, and passes it to `sink`.
///
/// # Errors
/// Returns a [`JsonError`] if the bytes are not UTF-8, not JSON, nested too deeply, or followed by other text.
pub fn parse<'a, S: JsonSink<'a>>(bytes: &'a [u8], sink: S) -> Result<S::Out, JsonError> {
    let text = checked_text(bytes)?;
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

/// Returns the message of the parser without the position, which is reported separately.
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
    fn errors_have_positions() {
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
