//! Escapes names that come from a model: they may hold any characters, and a message must stay on one line.

use std::path::Path;

/// The number of characters after which a name is cut.
const MAX_SHOWN_CHARS: usize = 120;

/// Returns a name as messages show it: control characters, line breaks and characters that change the
/// direction of text are escaped; a very long name is cut, followed by its length in bytes.
pub fn display_name(name: &str) -> String {
    let mut shown = String::with_capacity(name.len().min(MAX_SHOWN_CHARS) + 8);
    for (at, c) in name.chars().enumerate() {
        if at == MAX_SHOWN_CHARS {
            shown.push_str(&format!("… ({} bytes)", name.len()));
            break;
        }
        match c {
            // Escape backslashes as well, so that an escape in a message is unambiguous.
            '\\' => shown.push_str("\\\\"),
            c if is_hidden(c) => shown.extend(c.escape_default()),
            c => shown.push(c),
        }
    }
    shown
}

/// Returns a path as messages show it; see [`display_name`].
pub fn display_path(path: &Path) -> String {
    display_name(&path.to_string_lossy())
}

/// Returns [`display_name`] in single quotes.
pub fn quoted(name: &str) -> String {
    format!("'{}'", display_name(name))
}

/// Returns the first three names in quotes, followed by the number of the others.
pub fn quoted_list<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 3;
    let count = names.len();
    let mut text = names.take(SHOWN).map(quoted).collect::<Vec<_>>().join(", ");
    if count > SHOWN {
        text.push_str(&format!(" and {} more", count - SHOWN));
    }
    text
}

/// Whether a terminal interprets this character, or whether it is invisible or reorders the text around it.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_on_its_line() {
        assert_eq!(display_name("a\nb\u{1b}[31m"), "a\\nb\\u{1b}[31m");
        assert_eq!(display_name("\u{202e}x\0"), "\\u{202e}x\\u{0}");
        assert_eq!(display_name("a\\n"), "a\\\\n");
        assert_eq!(display_name("modèle"), "modèle");
        let long = display_name(&"x".repeat(70_000));
        assert!(long.chars().count() < 150 && long.ends_with("(70000 bytes)"), "{long}");
    }

    #[test]
    fn a_list_is_clipped() {
        assert_eq!(quoted_list(["a", "b"].into_iter()), "'a', 'b'");
        assert_eq!(quoted_list(["a", "b", "c", "d", "e"].into_iter()), "'a', 'b', 'c' and 2 more");
    }
}
