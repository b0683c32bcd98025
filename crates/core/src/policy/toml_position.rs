//! Finds lines, columns and key paths in a TOML document.

use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Returns the line and the column of a byte of a text, both counted from 1, the column in characters.
pub(super) fn line_column(text: &str, at: usize) -> (usize, usize) {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let before = &text[..at];
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (line, before[start..].chars().count() + 1)
}

/// Returns the path of the key at a byte of a text, such as `signature.keys[1]`, or of the key whose value is there.
///
/// Returns an empty path if there is none, and for a text that is not TOML.
pub(super) fn path_at(text: &str, at: usize) -> String {
    let Ok(document) = DeTable::parse(text) else { return String::new() };
    let mut search = KeySearch { at, best: (usize::MAX, String::new()) };
    search.table(document.get_ref(), &mut String::new());
    search.best.1
}

/// A search for the shortest range that contains a byte. The range of a table ends with its header, before its keys,
/// so no table can be skipped.
struct KeySearch {
    at: usize,
    /// The length and the path of the best match so far.
    best: (usize, String),
}

impl KeySearch {
    fn table(&mut self, table: &DeTable<'_>, path: &mut String) {
        for (key, value) in table {
            let before = path.len();
            if before > 0 {
                path.push('.');
            }
            path.push_str(key.get_ref());
            self.take(key.span(), path);
            self.value(value, path);
            path.truncate(before);
        }
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>, path: &mut String) {
        self.take(value.span(), path);
        match value.get_ref() {
            DeValue::Table(table) => self.table(table, path),
            DeValue::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    let before = path.len();
                    path.push_str(&format!("[{index}]"));
                    self.value(item, path);
                    path.truncate(before);
                }
            }
            _ => {}
        }
    }

    fn take(&mut self, span: Range<usize>, path: &str) {
        if span.contains(&self.at) && span.len() <= self.best.0 {
            self.best = (span.len(), path.to_owned());
        }
    }
}
