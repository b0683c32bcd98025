//! Showing names that come from a model: they may hold anything, a message is one line.

/// Longest name shown in a message, in characters.
const CLIP: usize = 120;

/// A name as shown in a message: control characters, line breaks and characters that change the
/// direction of text are escaped, a very long name is clipped and its length told.
pub fn display_name(name: &str) -> String {
    let mut shown = String::with_capacity(name.len().min(CLIP) + 8);
    for (at, c) in name.chars().enumerate() {
        if at == CLIP {
            shown.push_str(&format!("… ({} bytes)", name.len()));
            break;
        }
        match c {
            // Escaped too, so that an escape in a message always stands for one character.
            '\\' => shown.push_str("\\\\"),
            c if is_hidden(c) => shown.extend(c.escape_default()),
            c => shown.push(c),
        }
    }
    shown
}

/// [`display_name`] in quotes.
pub fn quoted(name: &str) -> String {
    format!("'{}'", display_name(name))
}

/// A few names in quotes, and how many more there are.
pub fn quoted_list<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 3;
    let count = names.len();
    let mut text = names.take(SHOWN).map(quoted).collect::<Vec<_>>().join(", ");
    if count > SHOWN {
        text.push_str(&format!(" and {} more", count - SHOWN));
    }
    text
}

/// Characters that a terminal acts on, or that hide or re-order what stands beside them.
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
