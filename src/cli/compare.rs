//! `tensorseal compare`: which weights of two models differ, and how.

use super::args::{CompareArgs, General};
use super::{CommandResult, output, running};
use std::io::{self, Write};
use tensorseal_core::judge::compare::{Class, WeightRow};
use tensorseal_core::verbs::{CompareOptions, compare};
use tensorseal_report::ComparisonUsed;
use tensorseal_report::human::{Palette, shown};
use tensorseal_report::table::{Align, Cell, Table};
use tensorseal_report::units::count;

/// Weights that are listed one by one; the rest is counted.
const LISTED: usize = 40;

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
        Some(compared) => human(out, palette, compared, args),
        None => Ok(()),
    })
}

fn human(
    out: &mut dyn Write,
    palette: Palette,
    compared: &ComparisonUsed,
    args: &CompareArgs,
) -> io::Result<()> {
    let ComparisonUsed { other, comparison } = compared;
    writeln!(out, "{}  {}", palette.bold(&shown(&other.path)), other.content())?;
    writeln!(out, "relation  {}", comparison.words())?;
    let classes: Vec<String> =
        comparison.classes.iter().map(|(class, n)| format!("{n} {}", class.name())).collect();
    writeln!(out, "weights   {}", classes.join(", "))?;
    if let (Some(relative), Some(cosine)) = (comparison.relative, comparison.cosine) {
        writeln!(
            out,
            "values    relative difference {:.4} %, cosine {cosine:.6}, over the weights that differ",
            relative * 100.0
        )?;
    }
    let mut rows: Vec<&WeightRow> = comparison
        .weights
        .iter()
        .filter(|row| args.full || row.class > Class::Identical && row.relative.is_some())
        .collect();
    // The worst first; with --full in the order of the model.
    if !args.full {
        let far = |row: &WeightRow| row.relative.unwrap_or(0.0);
        rows.sort_by(|a, b| b.class.cmp(&a.class).then(far(b).total_cmp(&far(a))));
    }
    let most = if args.full { rows.len() } else { LISTED };
    let number = |value: Option<f64>, digits: usize| {
        value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
    };
    let cells = rows.iter().take(most).map(|row| {
        let [one, other] = row.stored_as.clone().map(|name| name.unwrap_or("-".to_owned()));
        let stored = if one == other { one } else { format!("{one} → {other}") };
        let cells = [
            shown(&row.name),
            row.class.name().to_owned(),
            stored,
            row.relative.map_or("-".to_owned(), |r| format!("{:.4} %", r * 100.0)),
            number(row.cosine, 6),
            row.largest.map_or("-".to_owned(), |largest| format!("{largest:.2e}")),
            row.changed_share.map_or("-".to_owned(), |share| format!("{:.2} %", share * 100.0)),
        ];
        cells.map(Cell::from).to_vec()
    });
    let table = Table::new()
        .column("weight", Align::Left)
        .column("", Align::Left)
        .column("stored as", Align::Left)
        .column("relative", Align::Right)
        .column("cosine", Align::Right)
        .column("largest", Align::Right)
        .column("changed", Align::Right);
    output::table(table, &cells.collect::<Vec<_>>(), out)?;
    if rows.len() > most {
        let rest = count((rows.len() - most) as u64, "weight");
        writeln!(out, "{}", palette.dim(&format!("… and {rest} more (all with --full)")))?;
    }
    Ok(())
}
