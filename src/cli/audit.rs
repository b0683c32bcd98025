//! `tensorseal audit`: what is wrong with the weights of a model, without trusting anything.

use super::args::AuditArgs;
use super::{CommandResult, output, running};
use crate::judge::Severity;
use crate::report::Report;
use crate::report::human::Palette;
use crate::report::units::count;
use crate::verbs::{AuditOptions, audit};
use std::io::{self, Write};

/// Runs the verb.
pub(super) fn run(args: &AuditArgs) -> CommandResult {
    let mut options = AuditOptions {
        baseline: args.baseline.clone(),
        extract: args.extract.clone(),
        require_all: args.require_all,
        opening: args.opening.options(),
        run: running::run_options(&args.measuring),
        list_tensors: args.full,
        fail_on: args.common.fail_on,
        ..AuditOptions::default()
    };
    let report = running::watched(&args.measuring, args.common.quiet, |progress| {
        options.progress = progress.clone();
        Ok(audit(&args.model, &options)?)
    })?;
    output::finish(&report, &args.common, &|out, palette| summary(out, palette, &report))
}

/// What was looked at, and what the remarks are.
fn summary(out: &mut dyn Write, palette: Palette, report: &Report) -> io::Result<()> {
    let Some(audited) = report.audited else { return Ok(()) };
    let and = match audited.others {
        0 => String::new(),
        n => format!("; {} of other types: digests and pages only", count(n, "tensor")),
    };
    writeln!(out, "audited   {}{and}", count(audited.weights, "weight tensor"))?;
    if audited.page_share < 1.0 {
        let rate = 1.0 / audited.page_share;
        writeln!(out, "pages     one of {rate:.0} doubled pages is found in a model of this size")?;
    }
    let remarks = report.findings.iter().filter(|f| f.severity == Severity::Info).count();
    if report.findings.len() > remarks {
        let hint = "what a finding means and what to do: tensorseal explain RULE";
        writeln!(out, "{}", palette.dim(hint))?;
    }
    Ok(())
}
