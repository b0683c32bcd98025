//! The map of a model: a table of layers and roles that shows the most severe finding of each cell.
//!
//! The size of the table is bounded. Neighbouring layers share a row if there are many, and rare roles share a
//! column.

use super::{Flagged, anchor, badge, escape, sign};
use crate::profile::Profile;
use crate::units::{count, grouped};
use crate::{Report, shown};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use tensorseal_core::judge::Severity;

/// Largest number of rows for layers.
const ROWS: usize = 64;

/// Largest number of columns. The last one may stand for all other roles.
const COLUMNS: usize = 24;

/// Greatest length of a line of a column label, in characters.
const LINE: usize = 32;

/// The tensors of one cell.
#[derive(Debug, Default, Clone)]
struct Cell {
    tensors: u64,
    flagged: u64,
    worst: Option<Severity>,
    /// Number of the first listed finding of the most severe tensor.
    link: Option<usize>,
}

impl Cell {
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
struct Map {
    columns: Vec<String>,
    rows: Vec<(String, Vec<Cell>)>,
    layers_a_row: usize,
}

impl Map {
    fn of(profiles: &[&Profile], flagged: &Flagged<'_>) -> Self {
        let columns = columns(profiles, flagged);
        let column_of: BTreeMap<&str, usize> =
            columns.iter().enumerate().map(|(index, role)| (role.as_str(), index)).collect();
        let others = columns.len() - 1;
        let layers: BTreeSet<u64> = profiles.iter().filter_map(|profile| profile.depth).collect();
        let layers: Vec<u64> = layers.into_iter().collect();
        let layers_a_row = layers.len().div_ceil(ROWS).max(1);
        let mut rows: Vec<(String, Vec<Cell>)> = Vec::new();
        if profiles.iter().any(|profile| profile.depth.is_none()) {
            rows.push(("no layer".to_owned(), vec![Cell::default(); columns.len()]));
        }
        let first = rows.len();
        for bin in layers.chunks(layers_a_row) {
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
                    first + layers.partition_point(|layer| *layer < depth) / layers_a_row
                }
            };
            let column = column_of.get(profile.role.as_str()).copied().unwrap_or(others);
            rows[row].1[column].add(profile, flagged);
        }
        Self { columns, rows, layers_a_row }
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
        ranked.sort_by_key(|(_, cell)| std::cmp::Reverse((cell.worst, cell.tensors)));
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

pub fn write(report: &Report, flagged: &Flagged<'_>, out: &mut dyn Write) -> io::Result<()> {
    let profiles: Vec<&Profile> =
        report.profiles.iter().filter(|profile| !profile.role.is_empty()).collect();
    if profiles.is_empty() {
        return Ok(());
    }
    let map = Map::of(&profiles, flagged);
    writeln!(
        out,
        "<section aria-labelledby=\"map\">\n<h2 id=\"map\">Map</h2>\n<p>{} by layer and role. {}</p>",
        count(profiles.len() as u64, "tensor"),
        match map.layers_a_row {
            1 => "Each cell shows the most severe finding of its tensors.".to_owned(),
            n => format!(
                "Each row covers {n} layers. Each cell shows the most severe finding of its tensors."
            ),
        }
    )?;
    legend(out)?;
    writeln!(
        out,
        "<div class=\"scroll\" role=\"region\" aria-labelledby=\"map\" tabindex=\"0\">\n<table class=\"map\">\n\
         <thead><tr><th scope=\"col\">layer</th>"
    )?;
    for role in &map.columns {
        let label = escape::lines(&lines(&shown::name(role)));
        writeln!(out, "<th scope=\"col\"><span><bdi>{label}</bdi></span></th>")?;
    }
    writeln!(out, "</tr></thead>\n<tbody>")?;
    for (name, cells) in &map.rows {
        write!(out, "<tr><th scope=\"row\">{}</th>", escape::text(name))?;
        for cell in cells {
            write_cell(cell, out)?;
        }
        writeln!(out, "</tr>")?;
    }
    writeln!(out, "</tbody>\n</table>\n</div>\n</section>")
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

fn write_cell(cell: &Cell, out: &mut dyn Write) -> io::Result<()> {
    let Some(worst) = cell.worst else {
        return match cell.tensors {
            0 => write!(out, "<td></td>"),
            _ => write!(out, "<td class=\"clean\"><i>clean</i></td>"),
        };
    };
    let name = worst.name();
    let title = format!("{name}: {} of {}", grouped(cell.flagged), count(cell.tensors, "tensor"));
    let number = match cell.flagged {
        1 => String::new(),
        2..=99 => format!("<small>{}</small>", cell.flagged),
        _ => "<small>99+</small>".to_owned(),
    };
    let inside = format!("{}{number}<i>{name}</i>", sign(worst));
    match cell.link {
        Some(link) => write!(
            out,
            "<td class=\"{name}\"><a href=\"#{}\" title=\"{title}\">{inside}</a></td>",
            anchor(link)
        ),
        None => write!(out, "<td class=\"{name}\" title=\"{title}\">{inside}</td>"),
    }
}

fn legend(out: &mut dyn Write) -> io::Result<()> {
    write!(out, "<p class=\"legend\"><span class=\"badge clean\">· clean</span> ")?;
    for severity in Severity::ALL.into_iter().filter(|severity| *severity > Severity::Info) {
        write!(out, "{} ", badge(severity))?;
    }
    writeln!(
        out,
        "<span class=\"blank\">blank: no such tensor; number: tensors with findings</span></p>"
    )
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
