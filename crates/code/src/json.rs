//! Visits the strings of a JSON document with their paths, without building a tree.

use serde::de::{MapAccess, SeqAccess};
use std::borrow::Cow;
use tensorseal_base::json::JsonError;
use tensorseal_base::json::{self, JsonScalar, JsonSink, KeySink, SinkSeed};

/// A step of the path to a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PathStep<'a> {
    /// The member of an object.
    Member(Cow<'a, str>),
    /// The element of an array.
    Element(usize),
}

impl PathStep<'_> {
    /// The name of a member.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            PathStep::Member(name) => Some(name),
            PathStep::Element(_) => None,
        }
    }
}

/// Whether a path leads through a member with this name.
pub(super) fn through(steps: &[PathStep<'_>], name: &str) -> bool {
    steps.iter().any(|step| step.name() == Some(name))
}

/// The name of the innermost member of a path.
pub(super) fn innermost<'w>(steps: &'w [PathStep<'_>]) -> Option<&'w str> {
    steps.iter().rev().find_map(PathStep::name)
}

/// Passes every string of a document to `visit`, with the path from the top.
///
/// # Errors
/// Returns a [`JsonError`] if the text is not JSON. The strings before the error have been visited.
pub(super) fn each_string<'a>(
    bytes: &'a [u8],
    visit: &mut dyn FnMut(&[PathStep<'a>], &str),
) -> Result<(), JsonError> {
    let mut steps = Vec::new();
    json::parse(bytes, StringSink { steps: &mut steps, visit })
}

/// Replaces the numbers that Python supports but JSON does not (`NaN`, `Infinity`), or returns `None` if there are
/// none.
pub(super) fn without_python_numbers(bytes: &[u8]) -> Option<Vec<u8>> {
    const WORDS: [(&[u8], &[u8]); 3] =
        [(b"-Infinity", b"0        "), (b"Infinity", b"0       "), (b"NaN", b"0  ")];
    let mut text: Option<Vec<u8>> = None;
    let (mut in_string, mut escaped) = (false, false);
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        match rest[0] {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'-' | b'I' | b'N' if !in_string => {
                if let Some((word, zero)) = WORDS.iter().find(|(word, _)| rest.starts_with(word)) {
                    let text = text.get_or_insert_with(|| bytes.to_vec());
                    text[at..at + word.len()].copy_from_slice(zero);
                    at += word.len() - 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    text
}

struct StringSink<'w, 'a> {
    steps: &'w mut Vec<PathStep<'a>>,
    visit: &'w mut dyn FnMut(&[PathStep<'a>], &str),
}

impl<'w, 'a> JsonSink<'a> for StringSink<'w, 'a> {
    type Out = ();

    fn scalar(self, value: JsonScalar<'a>) {
        if let JsonScalar::Text(text) = value {
            (self.visit)(self.steps, &text);
        }
    }

    fn list<A: SeqAccess<'a>>(self, mut list: A) -> Result<(), A::Error> {
        let StringSink { steps, visit } = self;
        for at in 0.. {
            steps.push(PathStep::Element(at));
            if list
                .next_element_seed(SinkSeed(StringSink { steps: &mut *steps, visit: &mut *visit }))?
                .is_none()
            {
                break;
            }
            steps.pop();
        }
        steps.pop();
        Ok(())
    }

    fn object<A: MapAccess<'a>>(self, mut object: A) -> Result<(), A::Error> {
        let StringSink { steps, visit } = self;
        while let Some(key) = object.next_key_seed(SinkSeed(KeySink))? {
            steps.push(PathStep::Member(key));
            object
                .next_value_seed(SinkSeed(StringSink { steps: &mut *steps, visit: &mut *visit }))?;
            steps.pop();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str) -> Vec<String> {
        let mut all = Vec::new();
        let _ = each_string(text.as_bytes(), &mut |steps, text| {
            let steps: Vec<String> = steps
                .iter()
                .map(|step| match step {
                    PathStep::Member(name) => name.to_string(),
                    PathStep::Element(at) => at.to_string(),
                })
                .collect();
            all.push(format!("{}={text}", steps.join(".")));
        });
        all
    }

    #[test]
    fn strings_have_their_places() {
        let text = r#"{"a": {"b": ["x", 1, ["y"], {"c": "z"}]}, "d": "w", "a": "v"}"#;
        assert_eq!(shown(text), ["a.b.0=x", "a.b.2.0=y", "a.b.3.c=z", "d=w", "a=v"]);
        assert_eq!(shown(r#"{"a": "x", "b": ["y", tru"#), ["a=x", "b.0=y"]);
        assert_eq!(shown(r#""top""#), ["=top"]);
        assert!(shown(&"[".repeat(100_000)).is_empty());
    }

    #[test]
    fn numbers_of_python_are_taken() {
        let text = br#"{"a": [0.0, Infinity, -Infinity], "NaN": NaN, "s": "Infinity \" NaN"}"#;
        let plain = without_python_numbers(text).unwrap();
        assert_eq!(plain.len(), text.len());
        assert_eq!(shown(std::str::from_utf8(&plain).unwrap()), ["s=Infinity \" NaN"]);
        assert_eq!(without_python_numbers(b"{\"a\": -1, \"b\": \"NaN\"}"), None);
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[\\[\\]{}\",:a\\\\NIn-]{0,80}") {
            for bytes in [bytes.as_slice(), text.as_bytes()] {
                let _ = each_string(bytes, &mut |_, _| {});
                let _ = without_python_numbers(bytes);
            }
        }
    }
}
