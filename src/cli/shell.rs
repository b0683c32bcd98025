//! Paths in commands that a reader can copy into a shell.

use std::path::Path;
use tensorseal_base::display::display_name;

/// A path as it would be written in a shell.
pub(super) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:@,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text;
    }
    format!("'{}'", display_name(&text).replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_for_a_shell() {
        let quoted = |text: &str| quoted(Path::new(text));
        assert_eq!(quoted("models/llama-3.1"), "models/llama-3.1");
        assert_eq!(quoted("my model"), "'my model'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert!(!quoted("\u{1b}[2J").contains('\u{1b}'));
    }
}
