//! The map of a model: a table of layers and roles that shows the most severe finding of each cell.
//!
//! The size of the table is bounded. Neighbouring layers share a row if there are many, and rare roles share a
//! column.

use super::Flagged;
use crate::profile::Profile;
use crate::units::{count, grouped};
use crate::{Report, safe_text};
use askama::filters::Safe;
use quick_xml::escape::escape;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use tensorseal_core::judge::Severity;

/// Largest number of rows for layers.
const ROWS: usize = 64;

/// Largest number of columns. The last one may stand for all other roles.
const COLUMNS: usize = 24;

/// Greatest length of a line of a column label, in characters.
const LINE: usize = 32;

/// The tensors of one cell.
#[derive(Debug, Default, Clone)]
pub(super) struct Cell {
    /// Number of tensors.
    pub tensors: u64,
    /// Number of tensors with findings above info.
    pub flagged: u64,
    /// The most severe finding.
    pub worst: Option<Severity>,
    /// Number of the first listed finding of the most severe tensor.
    pub link: Option<usize>,
}

impl Cell {
    /// Returns how many tensors of the cell have findings, and the most severe of them.
    pub(super) fn title(&self) -> String {
        let worst = self.worst.map_or("clean", Severity::name);
        format!("{worst}: {} of {}", grouped(self.flagged), count(self.tensors, "tensor"))
    }

    /// Returns the number of tensors with findings, if there are several.
    pub(super) fn number(&self) -> Option<String> {
        match self.flagged {
            0 | 1 => None,
            2..=99 => Some(self.flagged.to_string()),
            _ => Some("99+".to_owned()),
        }
    }

    fn add(&mut self, profile: &Profile, flagged: &Flagged<'_>) {
        self.tensors += 1;
        let Some(flag) = flagged.get(&profile.tensor) else { return };
        self.flagged += 1;
        if self.worst < Some(flag.worst) {
            self.worst = Some(flag.worst);
            self.link = flag.listed.first().map(|listed| listed.0);
        } else if self.link.is_none() && self.worst == Some(flag.worst) {
            self.link = flag.listed.first().map(|listed| listed.0);
        }
    }
}

/// The rows and columns with their names.
pub(super) struct Map {
    /// Number of tensors.
    pub tensors: u64,
    /// The roles.
    pub columns: Vec<String>,
    /// Name and cells of each row.
    pub rows: Vec<(String, Vec<Cell>)>,
    /// Number of layers that share a row.
    pub layers_per_row: usize,
}

impl Map {
    /// Draws the map of a report, or returns `None` if the roles of its tensors are not known.
    pub(super) fn of(report: &Report, flagged: &Flagged<'_>) -> Option<Self> {
        let profiles: Vec<&Profile> =
            report.profiles.iter().filter(|profile| !profile.role.is_empty()).collect();
        (!profiles.is_empty()).then(|| Self::draw(&profiles, flagged))
    }

    fn draw(profiles: &[&Profile], flagged: &Flagged<'_>) -> Self {
        let columns = columns(profiles, flagged);
        let column_of: BTreeMap<&str, usize> =
            columns.iter().enumerate().map(|(index, role)| (role.as_str(), index)).collect();
        let others = columns.len() - 1;
        let layers: BTreeSet<u64> = profiles.iter().filter_map(|profile| profile.depth).collect();
        let layers: Vec<u64> = layers.into_iter().collect();
        let layers_per_row = layers.len().div_ceil(ROWS).max(1);
        let mut rows: Vec<(String, Vec<Cell>)> = Vec::new();
        if profiles.iter().any(|profile| profile.depth.is_none()) {
            rows.push(("no layer".to_owned(), vec![Cell::default(); columns.len()]));
        }
        let first = rows.len();
        for bin in layers.chunks(layers_per_row) {
            let name = match bin {
                [one] => one.to_string(),
                [start, .., end] => format!("{start}–{end}"),
                [] => continue,
            };
            rows.push((name, vec![Cell::default(); columns.len()]));
        }
        for profile in profiles {
            let row = match profile.depth {
                None => 0,
                Some(depth) => {
                    first + layers.partition_point(|layer| *layer < depth) / layers_per_row
                }
            };
            let column = column_of.get(profile.role.as_str()).copied().unwrap_or(others);
            rows[row].1[column].add(profile, flagged);
        }
        Self { tensors: profiles.len() as u64, columns, rows, layers_per_row }
    }
}

/// Returns the roles sorted by name, with those outside layers last. If there are too many, the roles with the most
/// severe findings and then the most tensors are kept, and one column stands for all others.
fn columns(profiles: &[&Profile], flagged: &Flagged<'_>) -> Vec<String> {
    let mut roles: BTreeMap<&str, Cell> = BTreeMap::new();
    for profile in profiles {
        roles.entry(&profile.role).or_default().add(profile, flagged);
    }
    let mut ranked: Vec<(&str, Cell)> = roles.into_iter().collect();
    let many = ranked.len() > COLUMNS;
    if many {
        ranked.sort_by_key(|(_, cell)| Reverse((cell.worst, cell.tensors)));
        ranked.truncate(COLUMNS - 1);
    }
    let layered: BTreeSet<&str> =
        profiles.iter().filter(|p| p.depth.is_some()).map(|p| p.role.as_str()).collect();
    ranked.sort_by_key(|(role, _)| (!layered.contains(role), *role));
    let mut names: Vec<String> = ranked.into_iter().map(|(role, _)| role.to_owned()).collect();
    if many {
        names.push("all other roles".to_owned());
    }
    names
}

/// Breaks a label into lines of at most [`LINE`] characters, after separators where possible.
fn lines(label: &str) -> String {
    let (mut text, mut length) = (String::with_capacity(label.len() + 4), 0);
    for part in label.split_inclusive(['.', '_', '-', '/', ' ']) {
        let part_length = part.chars().count();
        if length > 0 && length + part_length > LINE {
            text.push('\n');
            length = 0;
        }
        for c in part.chars() {
            if length == LINE {
                text.push('\n');
                length = 0;
            }
            text.push(c);
            length += 1;
        }
    }
    text
}

/// Returns the severities that a cell may show.
pub(super) fn legend() -> impl Iterator<Item = Severity> {
    Severity::ALL.into_iter().filter(|severity| *severity > Severity::Info)
}

/// Returns the name of a column as markup, in lines that are not too long.
pub(super) fn label(role: &str) -> Safe<String> {
    Safe(format!("<bdi>{}</bdi>", escape(lines(&safe_text::name(role)))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_labels_are_broken_after_separators() {
        assert_eq!(lines("attention.output.LayerNorm.bias"), "attention.output.LayerNorm.bias");
        assert_eq!(
            lines("visual_encoder.attention.relative_position_bias"),
            "visual_encoder.attention.\nrelative_position_bias"
        );
        let long = "x".repeat(LINE * 2 + 1);
        assert_eq!(lines(&format!("a.{long}")), format!("a.\n{0}\n{0}\nx", "x".repeat(LINE)));
        assert_eq!(lines(""), "");
    }
}
