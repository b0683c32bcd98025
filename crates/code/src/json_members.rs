//! Members of JSON objects in bytes of any kind: formats of others keep such text in the midst of theirs.

use std::borrow::Cow;

/// Longest string that is read, in bytes as they are written.
const MOST: usize = 512;
/// Most white space between a name and its value.
const BLANKS: usize = 64;
/// Bytes that one member can take: pieces of a file overlap by so many.
pub(super) const LONGEST: usize = 2 * (MOST + BLANKS + 2);

/// Shows each member whose value is a string: its name and the value.
pub(super) fn each_string_member(bytes: &[u8], mut look: impl FnMut(&str, &str)) {
    for at in memchr::memchr_iter(b'"', bytes) {
        // What begins a name stands behind one of these, else it ends a string.
        let before = at.checked_sub(1).and_then(|at| bytes.get(at));
        if !before.is_none_or(|byte| matches!(byte, b'{' | b',' | b' ' | b'\n' | b'\r' | b'\t')) {
            continue;
        }
        let Some((name, end)) = string(bytes, at) else { continue };
        let Some(colon) = behind_blanks(bytes, end).filter(|at| bytes.get(*at) == Some(&b':'))
        else {
            continue;
        };
        let Some(value) = behind_blanks(bytes, colon + 1) else { continue };
        if let Some((value, _)) = string(bytes, value) {
            look(&name, &value);
        }
    }
}

/// Whether a member of this name stands anywhere, whatever its value.
pub(super) fn has_name(bytes: &[u8], wanted: &str) -> bool {
    memchr::memchr_iter(b'"', bytes).any(|at| {
        let named = string(bytes, at).filter(|(name, _)| name == wanted);
        let end = named.and_then(|(_, end)| behind_blanks(bytes, end));
        end.is_some_and(|at| bytes.get(at) == Some(&b':'))
    })
}

fn behind_blanks(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    let blank = |byte: &u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
    let skipped = rest.iter().take(BLANKS).take_while(|byte| blank(byte)).count();
    Some(from + skipped)
}

/// The string that begins at `at`, and where it ends. `None`: there is none, or a very long one.
fn string(bytes: &[u8], at: usize) -> Option<(Cow<'_, str>, usize)> {
    let rest = bytes.get(at..)?.strip_prefix(b"\"")?;
    let mut escaped = false;
    let mut plain = true;
    let mut length = None;
    for (at, byte) in rest.iter().take(MOST).enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => (escaped, plain) = (true, false),
            b'"' => {
                length = Some(at);
                break;
            }
            0..=0x1f => return None,
            _ => {}
        }
    }
    let length = length?;
    let end = at + length + 2;
    let text = match plain {
        true => Cow::Borrowed(std::str::from_utf8(rest.get(..length)?).ok()?),
        false => Cow::Owned(serde_json::from_slice::<String>(bytes.get(at..end)?).ok()?),
    };
    Some((text, end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(bytes: &[u8]) -> Vec<(String, String)> {
        let mut all = Vec::new();
        each_string_member(bytes, |name, value| all.push((name.to_owned(), value.to_owned())));
        all
    }

    #[test]
    fn members_are_found_between_other_bytes() {
        let bytes =
            b"\xff\0\"junk\0\x89{\"class_name\" :\n \"Lambda\",\"n\":1, \"module\":\"a.b\"}\"\xfe";
        let pairs = [("class_name", "Lambda"), ("module", "a.b")];
        assert_eq!(all(bytes), pairs.map(|(a, b)| (a.to_owned(), b.to_owned())));
        let escaped = br#"{"class\u005fname": "\u004cambda"}"#;
        assert_eq!(all(escaped), [("class_name".to_owned(), "Lambda".to_owned())]);
        assert!(all(br#"{"text": 1, "a": ["class_name"]}"#).is_empty());
        assert!(has_name(escaped, "class_name") && !has_name(escaped, "Lambda"));
    }

    #[test]
    fn a_text_in_a_text_is_no_member() {
        assert_eq!(all(br#"{"a": "{\"class_name\": \"Lambda\"}"}"#).len(), 1);
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[{}\",: a\\\\u0-9]{0,80}") {
            all(&bytes);
            all(text.as_bytes());
            has_name(text.as_bytes(), "a");
        }
    }
}
