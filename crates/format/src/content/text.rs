//! Text, and the kinds of it that matter: JSON, HTML, pointers, links, scripts, networks of OpenVINO.

use super::super::{lfs, paths};
use super::ContentClass::{self, *};
use super::probe::{FileProbe, HEAD};
use serde::de::IgnoredAny;

/// Longest text that a link is stored as.
const LONGEST_LINK: usize = 4096;

/// The class of a file that is text; `None`: it is none.
pub(super) fn classify(look: &FileProbe<'_>) -> Option<ContentClass> {
    let text = DecodedText::of(&look.head, look.is_whole())?;
    let tail = look.tail();
    let end = tail.get(tail.len().saturating_sub(HEAD)..).unwrap_or_default();
    // What begins as text may go on as something else.
    if !look.is_whole() && !text.goes_on(end) {
        return None;
    }
    let text = &*text.text;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let start = text.trim_start();
    Some(if look.bytes <= lfs::MAX && look.head.starts_with(lfs::START) {
        LfsPointer
    } else if text.starts_with("#!") {
        Script
    } else if start.starts_with(['{', '[']) && is_json(start, look.is_whole()) {
        Json
    } else if start.starts_with('<') {
        markup(start)
    } else if look.is_whole() && is_link(look, text) {
        LinkText
    } else {
        Text
    })
}

/// Text as it was read.
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
    /// The text that bytes are; `whole`: nothing follows that a character could go on in.
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

    /// Whether the end of the file is text, too: cut at its front, perhaps in a character.
    fn goes_on(&self, end: &[u8]) -> bool {
        match self.encoding {
            TextEncoding::Utf8 => (0..4)
                .filter_map(|skipped| end.get(skipped..))
                .any(|end| std::str::from_utf8(end).is_ok_and(is_plain)),
            // Of two bytes a character; which is the first the length of the file tells.
            encoding => decode(end, encoding).is_some(),
        }
    }
}

/// Bytes as text, if that is what they are.
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
            // A pair that is cut in two at either end.
            if lost > 2 {
                return None;
            }
            text
        }
        TextEncoding::Latin1 => {
            // Letters of Western languages among ASCII, none of the codes between.
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

/// Whether text holds no NUL and hardly any other control characters.
fn is_plain(text: &str) -> bool {
    let is_odd =
        |c: char| c.is_ascii_control() && !matches!(c, '\n' | '\r' | '\t' | '\x0c' | '\x1b');
    let odd = text.chars().filter(|c| is_odd(*c)).count();
    !text.contains('\0') && odd * 100 <= text.len()
}

/// Whether this is the beginning of JSON, or JSON line by line.
fn is_json(text: &str, whole: bool) -> bool {
    if whole && is_json_value(text.as_bytes()) || !whole && is_json_begun(text.as_bytes()) {
        return true;
    }
    let Some((first, rest)) = text.split_once('\n') else { return false };
    is_json_value(first.as_bytes()) && rest.trim_start().starts_with(['{', '['])
}

/// What begins with a tag: pages, pictures, networks.
fn markup(text: &str) -> ContentClass {
    let lower = text.to_ascii_lowercase();
    let mut rest = &*lower;
    // Declarations and comments stand before the first element.
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
            Some(behind) => rest = behind,
            None => return Text,
        }
    }
    let is_element = |name: &str| {
        let behind = rest.strip_prefix('<').and_then(|rest| rest.strip_prefix(name));
        behind.is_some_and(|rest| rest.starts_with(|c: char| c.is_whitespace() || c == '>'))
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

/// Whether text is nothing but a path to another file, as git stores a link where there are none: it leads
/// elsewhere, or to a file that is called as this one ends.
fn is_link(look: &FileProbe<'_>, text: &str) -> bool {
    let is_part = |c: char| !c.is_whitespace() && !c.is_control();
    let name = text.rsplit('/').next().unwrap_or(text);
    let ending = look.extension();
    let leads = text.starts_with("../") || text.starts_with("./") || text.starts_with('/');
    text.len() <= LONGEST_LINK
        && text.chars().all(is_part)
        && !text.contains("//")
        && !name.is_empty()
        && (leads || !ending.is_empty() && paths::extension(name) == ending)
}

/// Whether bytes are one value of JSON.
pub(super) fn is_json_value(text: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

/// Whether bytes can go on to be a value of JSON.
pub(super) fn is_json_begun(text: &[u8]) -> bool {
    // The last character may be cut.
    let end = (0..4).filter_map(|cut| text.get(..text.len().checked_sub(cut)?));
    let Some(text) = end.into_iter().find(|text| std::str::from_utf8(text).is_ok()) else {
        return false;
    };
    serde_json::from_slice::<IgnoredAny>(text).is_err_and(|error| error.is_eof())
}
