//! `tensorseal audit`: what is wrong with the weights of a model, without trusting anything.

use super::args::{AuditArgs, General};
use super::{CommandResult, output, running};
use std::io::{self, Write};
use tensorseal_core::verbs::{AuditOptions, audit};
use tensorseal_report::Report;
use tensorseal_report::units::count;

/// Runs the verb.
pub(super) fn run(args: &AuditArgs, general: &General) -> CommandResult {
    let mut options = AuditOptions::default();
    options.baseline = args.baseline.clone();
    options.extract = args.extract.clone();
    options.require_all = args.require_all;
    options.opening = args.opening.options();
    options.run = running::run_options(&args.measuring);
    options.list_tensors = args.full;
    options.fail_on = args.common.fail_on;
    let report = running::watched(general, |progress| {
        options.progress = progress.clone();
        Ok(audit(&args.model, &options)?)
    })?;
    output::finish(&report, (&args.common, general), &|out, _| summary(out, &report))
}

/// What was audited.
fn summary(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    let Some(audited) = report.audited else { return Ok(()) };
    let and = match audited.others {
        0 => String::new(),
        n => format!("; {} of other types: digests and pages only", count(n, "tensor")),
    };
    writeln!(out, "audited   {}{and}", count(audited.weights, "weight tensor"))?;
    if audited.page_share < 1.0 {
        let rate = 1.0 / audited.page_share;
        writeln!(
            out,
            "pages     a model of this size is sampled: 1 in {rate:.0} duplicated pages is found"
        )?;
    }
    Ok(())
}
