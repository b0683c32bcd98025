//! Makes text from a model safe to display: one line of bounded length in which every character that acts on a terminal
//! or browser is escaped. Escaping for an output format such as HTML is left to the writer of that format.

use tensorseal_base::display::is_hidden;

/// The length of the longest name that is shown, in characters.
pub const NAME: usize = 120;

/// The length of the longest message that is shown, in characters.
pub const MESSAGE: usize = 600;

/// Returns a name that is safe to display, clipped to [`NAME`] characters.
pub fn name(text: &str) -> String {
    clipped(text, NAME)
}

/// Returns a name as a single word of a line: quoted and escaped if it is empty or has control characters or spaces.
pub fn word(name: &str) -> String {
    let plain = !name.is_empty() && name.chars().all(|c| !c.is_control() && !c.is_whitespace());
    let clipped: String = name.chars().take(160).collect();
    let rest = if clipped.len() < name.len() { "…" } else { "" };
    if plain { format!("{clipped}{rest}") } else { format!("{clipped:?}{rest}") }
}

/// Returns at most `limit` characters of a text, with hidden characters escaped. Clipped text ends with its full length.
pub fn clipped(text: &str, limit: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(limit) + 8);
    for (at, c) in text.chars().enumerate() {
        if at == limit {
            shown.push_str(&format!("… ({} bytes)", text.len()));
            break;
        }
        // Noncharacters, which XML documents must not contain, are escaped as well.
        if is_hidden(c) || (c as u32) & 0xfffe == 0xfffe {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(name("a\u{202e}b\n\u{7}"), "a\\u{202e}b\\n\\u{7}");
        assert_eq!(name("\u{ffff}\u{fffe}"), "\\u{ffff}\\u{fffe}");
        assert_eq!(name("schicht.größe"), "schicht.größe");
        let long = name(&"x".repeat(65_536));
        assert!(long.len() < 160 && long.ends_with("… (65536 bytes)"), "{long}");
    }
}
