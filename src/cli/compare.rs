//! `tensorseal compare`: which weights of two models differ, and how.

use super::args::{CompareArgs, General};
use super::{CommandResult, output, running};
use std::io::{self, Write};
use tensorseal_core::judge::compare::{Class, ComparisonReport, WeightRow};
use tensorseal_core::verbs::{CompareOptions, compare};
use tensorseal_report::human::{Palette, shown};
use tensorseal_report::table::{Align, Cell, Table};
use tensorseal_report::units::{count, grouped};

/// Weights that are listed one by one; the rest is counted.
const LISTED: usize = 10;

/// Runs the verb.
pub(super) fn run(args: &CompareArgs, general: &General) -> CommandResult {
    let mut options = CompareOptions {
        opening: args.opening.options(),
        run: running::run_options(&args.measuring),
        fail_on: args.common.fail_on,
        ..CompareOptions::default()
    };
    let report = running::watched(general, |progress| {
        options.progress = progress.clone();
        Ok(compare(&args.model, &args.other, &options)?)
    })?;
    output::finish(&report, (&args.common, general), &|out, palette| match &report.comparison {
        Some(compared) => human(out, palette, &compared.comparison, args),
        None => Ok(()),
    })
}

/// Prints how the models are related, and the weights that differ most.
fn human(
    out: &mut dyn Write,
    palette: Palette,
    comparison: &ComparisonReport,
    args: &CompareArgs,
) -> io::Result<()> {
    writeln!(out, "relation  {}", comparison.words())?;
    let classes: Vec<String> =
        comparison.classes.iter().map(|(class, n)| format!("{n} {}", class.name())).collect();
    writeln!(out, "weights   {}", classes.join(", "))?;
    if let (Some(relative), Some(cosine)) = (comparison.relative, comparison.cosine) {
        writeln!(
            out,
            "values    relative difference {}, cosine {cosine:.6}, over the weights that differ",
            percent(relative)
        )?;
    }
    let mut rows: Vec<&WeightRow> = comparison
        .weights
        .iter()
        .filter(|row| args.full || row.class == Class::Changed || is_compared_and_differs(row))
        .collect();
    // The most different first; with --full in the order of the model.
    if !args.full {
        let far = |row: &WeightRow| row.relative.unwrap_or(f64::INFINITY);
        rows.sort_by(|a, b| b.class.cmp(&a.class).then(far(b).total_cmp(&far(a))));
    }
    let most = if args.full { rows.len() } else { LISTED };
    let table = Table::new()
        .column("weight", Align::Left)
        .column("class", Align::Left)
        .column("stored as", Align::Left)
        .column("relative", Align::Right)
        .column("cosine", Align::Right)
        .column("largest", Align::Right)
        .column("at element", Align::Right)
        .column("changed", Align::Right);
    let cells = rows.iter().take(most).map(|row| cells(row));
    output::table(table, &cells.collect::<Vec<_>>(), out)?;
    if rows.len() > most {
        let rest = count((rows.len() - most) as u64, "more weight");
        writeln!(out, "{}", palette.dim(&format!("… and {rest} (list all with --full)")))?;
    }
    Ok(())
}

/// Whether the values of a weight were compared, and something about it differs.
fn is_compared_and_differs(row: &WeightRow) -> bool {
    row.class > Class::Identical && row.relative.is_some()
}

/// Returns the line of a weight.
fn cells(row: &WeightRow) -> Vec<Cell> {
    let none = || "-".to_owned();
    let [one, other] = row.stored_as.clone().map(|name| name.unwrap_or_else(none));
    let stored = if one == other { one } else { format!("{one} → {other}") };
    let cells = [
        shown(&row.name),
        row.class.name().to_owned(),
        stored,
        row.relative.map_or_else(none, percent),
        row.cosine.map_or_else(none, |cosine| format!("{cosine:.6}")),
        row.largest.map_or_else(none, |largest| format!("{largest:.2e}")),
        row.largest_at.map_or_else(none, grouped),
        row.changed_share.map_or_else(none, |share| changed(share, row.elements)),
    ];
    cells.map(Cell::from).to_vec()
}

/// Returns a share as a percentage, in scientific notation if it is very small or very large.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent == 0.0 || (1e-3..1e5).contains(&percent.abs()) {
        format!("{percent:.4} %")
    } else {
        format!("{percent:.2e} %")
    }
}

/// Returns how many elements changed: as a percentage, or as a number if they are few.
fn changed(share: f64, elements: u64) -> String {
    let number = (share * elements as f64).round() as u64;
    if number > 0 && share < 1e-3 {
        count(number, "element")
    } else {
        format!("{:.2} %", share * 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_any_size_are_short() {
        for (share, text) in [
            (0.0, "0.0000 %"),
            (0.0123, "1.2300 %"),
            (-0.5, "-50.0000 %"),
            (4.059e36, "4.06e38 %"),
            (3.2e-9, "3.20e-7 %"),
            (f64::INFINITY, "inf %"),
            (f64::NAN, "NaN %"),
        ] {
            assert_eq!(percent(share), text);
        }
    }

    #[test]
    fn few_changed_elements_are_counted() {
        assert_eq!(changed(0.0, 589_824), "0.00 %");
        assert_eq!(changed(1.0 / 589_824.0, 589_824), "1 element");
        assert_eq!(changed(0.25, 8), "25.00 %");
        assert_eq!(changed(1.0, 0), "100.00 %");
    }
}
