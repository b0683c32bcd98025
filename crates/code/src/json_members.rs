//! Finds members of JSON objects in arbitrary bytes, for binary formats that embed JSON.

use std::borrow::Cow;

/// The longest string that is read, in bytes of the source.
const MAX_STRING: usize = 512;
/// The longest white space between a name and its value.
const MAX_BLANKS: usize = 64;
/// The longest member in bytes. The pieces of a file overlap by this length.
pub(super) const MAX_MEMBER: usize = 2 * (MAX_STRING + MAX_BLANKS + 2);

/// Passes the name and the value of each member with a string value to `visit`.
pub(super) fn each_string_member(bytes: &[u8], mut visit: impl FnMut(&str, &str)) {
    for at in memchr::memchr_iter(b'"', bytes) {
        // A quote that begins a name follows one of these; any other quote ends a string.
        let before = at.checked_sub(1).and_then(|at| bytes.get(at));
        if !before.is_none_or(|byte| matches!(byte, b'{' | b',' | b' ' | b'\n' | b'\r' | b'\t')) {
            continue;
        }
        let Some((name, end)) = string(bytes, at) else { continue };
        let Some(colon) = skip_blanks(bytes, end).filter(|at| bytes.get(*at) == Some(&b':')) else {
            continue;
        };
        let Some(value) = skip_blanks(bytes, colon + 1) else { continue };
        if let Some((value, _)) = string(bytes, value) {
            visit(&name, &value);
        }
    }
}

/// Whether there is a member with this name, whatever its value is.
pub(super) fn has_name(bytes: &[u8], name: &str) -> bool {
    memchr::memchr_iter(b'"', bytes).any(|at| {
        let found = string(bytes, at).filter(|(text, _)| text == name);
        let end = found.and_then(|(_, end)| skip_blanks(bytes, end));
        end.is_some_and(|at| bytes.get(at) == Some(&b':'))
    })
}

fn skip_blanks(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    let blank = |byte: &u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
    let skipped = rest.iter().take(MAX_BLANKS).take_while(|byte| blank(byte)).count();
    Some(from + skipped)
}

/// Parses the string at `at`. Returns the string and its end, or `None` if there is none or it is too long.
fn string(bytes: &[u8], at: usize) -> Option<(Cow<'_, str>, usize)> {
    let rest = bytes.get(at..)?.strip_prefix(b"\"")?;
    let mut escaped = false;
    let mut plain = true;
    let mut length = None;
    for (at, byte) in rest.iter().take(MAX_STRING).enumerate() {
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
