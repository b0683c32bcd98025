//! Places in a TOML document: lines, columns and the paths of keys.

use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Line and column, both from 1, the column in characters, of a byte of a text.
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

/// The path of the key that is written at a byte, or whose value is: `signature.keys[1]`.
///
/// Empty where there is none, and for a text that is no TOML.
pub(super) fn path_at(text: &str, at: usize) -> String {
    let Ok(document) = DeTable::parse(text) else { return String::new() };
    let mut search = KeySearch { at, best: (usize::MAX, String::new()) };
    search.table(document.get_ref(), &mut String::new());
    search.best.1
}

/// A search for the shortest range that holds a byte. Ranges of tables end with their header, before
/// their keys, so no table can be passed over.
struct KeySearch {
    at: usize,
    /// Length and path of the best so far.
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
