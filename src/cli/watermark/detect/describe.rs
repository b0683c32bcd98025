//! A detection for people.

use crate::cli::output;
use std::io::{self, Write};
use tensorseal_core::judge::watermark::{Detection, DetectionMode, Presence};
use tensorseal_core::watermark::SCHEME;
use tensorseal_report::human::{Palette, shown};
use tensorseal_report::table::{Align, Cell, Table};
use tensorseal_report::units::grouped;

/// Groups that are listed for people; the JSON report has all of them.
const LISTED_GROUPS: usize = 40;

/// Prints a detection.
pub(super) fn describe(out: &mut dyn Write, palette: Palette, found: &Detection) -> io::Result<()> {
    let native = found.scheme == SCHEME;
    let z = |z: Option<f64>| z.map_or("n/a".to_owned(), |z| format!("{z:.2}"));
    writeln!(out)?;
    writeln!(out, "key       {}  {}", found.key_id, palette.dim(found.scheme))?;
    let mut line = palette.bold(&found.verdict.name().to_uppercase());
    if let Some(log10_p) = found.log10_p {
        line += &format!("  probability by chance at most {}", probability(log10_p));
    }
    if !native && found.z.is_some() {
        line += &format!(", z {}", z(found.z));
    }
    writeln!(out, "mark      {line}")?;
    if native {
        let line = format!(
            "z {} over all blocks, {} over the pilot blocks, which carry no payload",
            z(found.z),
            z(found.z_pilot)
        );
        writeln!(out, "          {}", palette.dim(&line))?;
    }
    if let Some(payload) = &found.payload {
        let read = if found.payload_ok { "read, checksum correct" } else { "claimed, not read" };
        writeln!(out, "payload   {}  {read}", palette.bold(payload))?;
    }
    let mode = match found.mode {
        DetectionMode::Blind => "weights alone",
        DetectionMode::Informed => "difference from the original",
    };
    let blocks =
        if native { format!(" in {} blocks", grouped(found.blocks)) } else { String::new() };
    writeln!(out, "carriers  {} elements{blocks}, {mode}", grouped(found.elements))?;
    if let Some(not_read) = &found.not_read {
        writeln!(out, "not read  {}", not_read.summary())?;
    }
    for (name, value) in found.evidence.iter().filter(|(_, value)| value.is_number()) {
        writeln!(out, "          {} {value}", name.replace('_', " "))?;
    }
    if found.log10_p.is_some() {
        writeln!(out, "evidence  {}", evidence(found.committed, native))?;
    }
    let shown = found.verdict == Presence::Present && !found.groups.is_empty();
    if shown { groups(out, palette, found) } else { Ok(()) }
}

/// A bound on a probability. Bounds near 1 exclude nothing and are not written as powers.
fn probability(log10: f64) -> String {
    match format!("{log10:.1}").as_str() {
        "0.0" | "-0.0" => "1".to_owned(),
        power => format!("10^{power}"),
    }
}

/// What the key proves.
fn evidence(committed: bool, native: bool) -> &'static str {
    match (committed, native) {
        (true, true) => {
            "the key opens the claim: evidence if the claim is older than the publication of the model"
        }
        (true, false) => {
            "the key has the published id: evidence if the id was published before the model"
        }
        (false, true) => "none: the key has no claim published before the model",
        (false, false) => "none: the key has no id published before the model",
    }
}

/// Lists the groups of tensors that carry the watermark.
fn groups(out: &mut dyn Write, palette: Palette, found: &Detection) -> io::Result<()> {
    let rows = found.groups.iter().take(LISTED_GROUPS).map(|group| {
        let z = |z: Option<f64>| z.map_or("n/a".to_owned(), |z| format!("{z:.1}"));
        let (all, pilot) = (z(group.z), z(group.z_pilot));
        [shown(&group.name), grouped(group.elements), all, pilot].map(Cell::from).to_vec()
    });
    let table = Table::new()
        .column("group", Align::Left)
        .column("elements", Align::Right)
        .column("z", Align::Right)
        .column("pilot z", Align::Right);
    output::table(table, &rows.collect::<Vec<_>>(), out)?;
    if found.groups.len() > LISTED_GROUPS {
        let more = grouped((found.groups.len() - LISTED_GROUPS) as u64);
        writeln!(out, "{}", palette.dim(&format!("… and {more} more (all with --format json)")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_numbers() {
        assert_eq!(probability(0.0), "1");
        assert_eq!(probability(-0.04), "1");
        assert_eq!(probability(-0.3), "10^-0.3");
        assert_eq!(probability(-750.31), "10^-750.3");
    }
}
