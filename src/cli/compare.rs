//! `tensorseal compare`: which weights of two models differ, and how.

use super::args::CompareArgs;
use super::{Outcome, output, running};
use std::io::{self, Write};
use tensorseal::compare;
use tensorseal::engine::RunReport;
use tensorseal::judge::compare::{Class, Comparison, Row};
use tensorseal::judge::{self, Verdict, structure};
use tensorseal::report::human::{Palette, shown};
use tensorseal::report::units::count;
use tensorseal::report::{Coverage, Model, Report};
use tensorseal::verbs::{Inputs, opening};

/// Weights that are listed one by one; the rest is counted.
const LISTED: usize = 40;

/// Runs the verb.
pub fn run(args: &CompareArgs) -> Outcome {
    let opening = args.opening.options();
    let models = [&args.model, &args.other].map(|path| opening::open_weights(path, opening));
    let [first, second] = models;
    let models = [first?, second?];
    let options = running::run_options(&args.measuring);
    let compared = running::watched(&args.measuring, args.common.quiet, |progress| {
        compare::measure([&models[0], &models[1]], &options, progress).map_err(running::failure)
    })?;
    let run = &compared.sides[1].run;
    let (comparison, findings) = judge::compare::judge(&compared);
    let mut report = Report::new("compare", &args.model.display().to_string());
    report.note_run(run);
    report.model = Model::listed(&models[0]);
    let checked = models.iter().flat_map(|model| &model.tensors).map(|t| t.bytes).sum();
    report.coverage = Coverage::of(&models[0], None, checked);
    report.coverage.add(&models[1], None);
    report.engine = Some(engine(&compared.sides[0].run, run));
    report.findings = findings;
    for model in &models {
        report.findings.extend(structure::of_weights(model));
        report.findings.extend(model.remarks.iter().map(structure::finding));
    }
    for side in &compared.sides {
        report.findings.extend(structure::unknown_quantisation(side.model, &side.weights));
    }
    report.judge(args.common.fail_on);
    if !comparison.is_identical() {
        // Any difference is one, however small.
        report.conclude(Verdict::Fail);
    }
    let other = Model::listed(&models[1]);
    let body =
        |out: &mut dyn Write, palette: Palette| human(out, palette, &other, &comparison, args);
    report.comparison = Some(tensorseal::report::Compared {
        other: Model::listed(&models[1]),
        comparison: comparison.clone(),
    });
    Inputs::default().settle(&[&models[0], &models[1]])?;
    output::finish(&report, &args.common, &body)
}

/// Both runs as one.
fn engine(first: &RunReport, second: &RunReport) -> tensorseal::engine::EngineUse {
    let mut whole = second.engine.clone();
    whole.bytes_read += first.engine.bytes_read;
    whole.seconds += first.engine.seconds;
    whole.cross_checked += first.engine.cross_checked;
    whole
}

fn human(
    out: &mut dyn Write,
    palette: Palette,
    other: &Model,
    comparison: &Comparison,
    args: &CompareArgs,
) -> io::Result<()> {
    writeln!(out, "{}  {}", palette.bold(&shown(&other.path)), other.content())?;
    writeln!(out, "relation  {}", comparison.relation.words())?;
    let classes: Vec<String> =
        comparison.classes.iter().map(|(class, n)| format!("{n} {}", class.name())).collect();
    writeln!(out, "weights   {}", classes.join(", "))?;
    if let (Some(relative), Some(cosine)) = (comparison.relative, comparison.cosine) {
        writeln!(
            out,
            "values    differ by {:.4} % of their norm, cosine {cosine:.6} (of those that differ)",
            relative * 100.0
        )?;
    }
    let mut rows: Vec<&Row> = comparison
        .weights
        .iter()
        .filter(|row| args.full || row.class > Class::Identical && row.relative.is_some())
        .collect();
    // The worst first; with --full in the order of the model.
    if !args.full {
        let far = |row: &Row| row.relative.unwrap_or(0.0);
        rows.sort_by(|a, b| b.class.cmp(&a.class).then(far(b).total_cmp(&far(a))));
    }
    let most = if args.full { rows.len() } else { LISTED };
    let number = |value: Option<f64>, digits: usize| {
        value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
    };
    let table = rows.iter().take(most).map(|row| {
        let [one, other] = row.stored_as.clone().map(|name| name.unwrap_or("-".to_owned()));
        let stored = if one == other { one } else { format!("{one} → {other}") };
        vec![
            shown(&row.name),
            row.class.name().to_owned(),
            stored,
            row.relative.map_or("-".to_owned(), |r| format!("{:.4} %", r * 100.0)),
            number(row.cosine, 6),
            row.largest.map_or("-".to_owned(), |largest| format!("{largest:.2e}")),
            row.changed_share.map_or("-".to_owned(), |share| format!("{:.2} %", share * 100.0)),
        ]
    });
    let header = ["weight", "", "stored as", "relative", "cosine", "largest", "changed"];
    let right = [false, false, false, true, true, true, true];
    output::table(&header, &right, table.collect(), out)?;
    if rows.len() > most {
        let rest = count((rows.len() - most) as u64, "weight");
        writeln!(out, "{}", palette.dim(&format!("… and {rest} more (all with --full)")))?;
    }
    Ok(())
}
