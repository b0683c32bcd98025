//! Text that comes from a model, made safe to look at: one line, of bounded length, with every
//! character that acts on a reader's screen written out. What a format itself must escape is left to
//! its writer.

use tensorseal_base::display::is_hidden;

/// Longest name that is shown, in characters.
pub const NAME: usize = 120;

/// Longest message that is shown, in characters.
pub const MESSAGE: usize = 600;

/// A name as it can be shown.
pub fn name(text: &str) -> String {
    clipped(text, NAME)
}

/// A name as one word of a line: quoted and escaped where it has control characters or spaces.
pub fn word(name: &str) -> String {
    let plain = !name.is_empty() && name.chars().all(|c| !c.is_control() && !c.is_whitespace());
    let clipped: String = name.chars().take(160).collect();
    let rest = if clipped.len() < name.len() { "…" } else { "" };
    if plain { format!("{clipped}{rest}") } else { format!("{clipped:?}{rest}") }
}

/// At most `limit` characters of a text, hidden ones escaped; the length is told when it is clipped.
pub fn clipped(text: &str, limit: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(limit) + 8);
    for (at, c) in text.chars().enumerate() {
        if at == limit {
            shown.push_str(&format!("… ({} bytes)", text.len()));
            break;
        }
        // Characters that no XML document may hold are escaped here, too.
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
    fn nothing_acts_on_a_screen() {
        assert_eq!(name("a\u{202e}b\n\u{7}"), "a\\u{202e}b\\n\\u{7}");
        assert_eq!(name("\u{ffff}\u{fffe}"), "\\u{ffff}\\u{fffe}");
        assert_eq!(name("schicht.größe"), "schicht.größe");
        let long = name(&"x".repeat(65_536));
        assert!(long.len() < 160 && long.ends_with("… (65536 bytes)"), "{long}");
    }
}
