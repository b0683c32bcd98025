//! Recognises text, and kinds of text: JSON, HTML, git-lfs pointers, links, scripts, OpenVINO networks.

use super::super::{lfs, paths};
use super::ContentClass::{self, *};
use super::probe::{FileProbe, HEAD};
use serde::de::IgnoredAny;

/// The longest target of a link that is stored as text.
const MAX_LINK: usize = 4096;

/// Classifies a text file. Returns `None` if the file is not text.
pub(super) fn classify(probe: &FileProbe<'_>) -> Option<ContentClass> {
    let text = DecodedText::of(&probe.head, probe.is_whole())?;
    let tail = probe.tail();
    let end = tail.get(tail.len().saturating_sub(HEAD)..).unwrap_or_default();
    // A file that begins as text may continue as something else.
    if !probe.is_whole() && !text.continues_in(end) {
        return None;
    }
    let text = &*text.text;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let start = text.trim_start();
    Some(if probe.bytes <= lfs::MAX && probe.head.starts_with(lfs::START) {
        LfsPointer
    } else if text.starts_with("#!") {
        Script
    } else if start.starts_with(['{', '[']) && is_json(start, probe.is_whole()) {
        Json
    } else if start.starts_with('<') {
        markup(start)
    } else if probe.is_whole() && is_link(probe, text) {
        LinkText
    } else {
        Text
    })
}

/// A decoded text and its encoding.
struct DecodedText {
    text: String,
    encoding: TextEncoding,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum TextEncoding {
    Utf8,
    Utf16 { big_endian: bool },
    Latin1,
}

impl DecodedText {
    /// Decodes bytes as text. If they are not `whole`, the last character may be cut.
    fn of(bytes: &[u8], whole: bool) -> Option<DecodedText> {
        let encoding = match bytes {
            [0xFF, 0xFE, ..] => TextEncoding::Utf16 { big_endian: false },
            [0xFE, 0xFF, ..] => TextEncoding::Utf16 { big_endian: true },
            _ => match std::str::from_utf8(bytes) {
                Ok(_) => TextEncoding::Utf8,
                Err(error) if !whole && error.error_len().is_none() => TextEncoding::Utf8,
                Err(_) => TextEncoding::Latin1,
            },
        };
        Some(DecodedText { text: decode(bytes, encoding)?, encoding })
    }

    /// Whether the end of the file is text as well. Its first character may be cut.
    fn continues_in(&self, end: &[u8]) -> bool {
        match self.encoding {
            TextEncoding::Utf8 => (0..4)
                .filter_map(|skipped| end.get(skipped..))
                .any(|end| std::str::from_utf8(end).is_ok_and(is_plain)),
            // The length of the file tells where a two-byte character begins.
            encoding => decode(end, encoding).is_some(),
        }
    }
}

/// Decodes bytes, or returns `None` if they are not text.
fn decode(bytes: &[u8], encoding: TextEncoding) -> Option<String> {
    let text = match encoding {
        TextEncoding::Utf8 => String::from_utf8_lossy(bytes).into_owned(),
        TextEncoding::Utf16 { big_endian } => {
            let (pairs, _) = bytes.as_chunks::<2>();
            let unit = |pair: &[u8; 2]| match big_endian {
                true => u16::from_be_bytes(*pair),
                false => u16::from_le_bytes(*pair),
            };
            let text: String = char::decode_utf16(pairs.iter().map(unit))
                .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
                .collect();
            let lost = text.matches(char::REPLACEMENT_CHARACTER).count();
            // A surrogate pair may be cut at either end.
            if lost > 2 {
                return None;
            }
            text
        }
        TextEncoding::Latin1 => {
            // Accept a few letters of Western languages among ASCII, but hardly any control codes.
            let others = bytes.iter().filter(|byte| !byte.is_ascii()).count();
            let none = |byte: &u8| matches!(byte, 0x80..=0x9F);
            if others * 4 > bytes.len() || bytes.iter().filter(|b| none(b)).count() * 8 > others {
                return None;
            }
            bytes.iter().map(|byte| char::from(*byte)).collect()
        }
    };
    is_plain(&text).then_some(text)
}

/// Whether a text has no NUL and hardly any other control characters.
fn is_plain(text: &str) -> bool {
    let is_odd =
        |c: char| c.is_ascii_control() && !matches!(c, '\n' | '\r' | '\t' | '\x0c' | '\x1b');
    let odd = text.chars().filter(|c| is_odd(*c)).count();
    !text.contains('\0') && odd * 100 <= text.len()
}

/// Whether a text is JSON, the beginning of JSON, or JSON Lines.
fn is_json(text: &str, whole: bool) -> bool {
    if whole && is_json_value(text.as_bytes()) || !whole && is_json_begun(text.as_bytes()) {
        return true;
    }
    let Some((first, rest)) = text.split_once('\n') else { return false };
    is_json_value(first.as_bytes()) && rest.trim_start().starts_with(['{', '['])
}

/// Classifies a text that begins with a tag: HTML, SVG or an OpenVINO network.
fn markup(text: &str) -> ContentClass {
    let lower = text.to_ascii_lowercase();
    let mut rest = &*lower;
    // Skip declarations and comments before the first element.
    loop {
        rest = rest.trim_start();
        let end = match rest {
            _ if rest.starts_with("<!doctype html") => return Html,
            _ if rest.starts_with("<!--") => rest.find("-->").map(|end| end + 3),
            _ if rest.starts_with("<?") || rest.starts_with("<!") => {
                rest.find('>').map(|end| end + 1)
            }
            _ => break,
        };
        match end.and_then(|end| rest.get(end..)) {
            Some(rest_after) => rest = rest_after,
            None => return Text,
        }
    }
    let is_element = |name: &str| {
        let rest_after = rest.strip_prefix('<').and_then(|rest| rest.strip_prefix(name));
        rest_after.is_some_and(|rest| rest.starts_with(|c: char| c.is_whitespace() || c == '>'))
    };
    if is_element("html") || is_element("head") || is_element("body") {
        Html
    } else if is_element("svg") {
        Image
    } else if is_element("net") {
        OpenVino
    } else {
        Text
    }
}

/// Whether a text is only a path to another file, as git stores a link on systems without links: it leads to another
/// directory, or to a file with the same extension.
fn is_link(probe: &FileProbe<'_>, text: &str) -> bool {
    let is_part = |c: char| !c.is_whitespace() && !c.is_control();
    let name = text.rsplit('/').next().unwrap_or(text);
    let extension = probe.extension();
    let has_directory = text.starts_with("../") || text.starts_with("./") || text.starts_with('/');
    text.len() <= MAX_LINK
        && text.chars().all(is_part)
        && !text.contains("//")
        && !name.is_empty()
        && (has_directory || !extension.is_empty() && paths::extension(name) == extension)
}

/// Whether bytes are a JSON value.
pub(super) fn is_json_value(text: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

/// Whether bytes are the beginning of a JSON value.
pub(super) fn is_json_begun(text: &[u8]) -> bool {
    // The last character may be cut.
    let end = (0..4).filter_map(|cut| text.get(..text.len().checked_sub(cut)?));
    let Some(text) = end.into_iter().find(|text| std::str::from_utf8(text).is_ok()) else {
        return false;
    };
    serde_json::from_slice::<IgnoredAny>(text).is_err_and(|error| error.is_eof())
}
