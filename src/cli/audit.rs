//! `audit`: what is wrong with the weights of a model, without trusting anything.

use super::args::AuditArgs;
use super::{Failure, output, running};
use tensorseal::report::Report;
use tensorseal::{audit, judge};

pub fn run(args: &AuditArgs) -> Result<u8, Failure> {
    let model =
        running::open(&args.model, &args.opening, running::seals_inside(&args.model, None), None)?;
    let options = running::run_options(&args.measuring, false);
    let audited = running::watched(&args.measuring, args.common.quiet, |progress| {
        audit::measure(&model, &options, progress).map_err(running::failure)
    })?;
    running::say_who_measured(&audited.run, args.common.quiet);
    let mut report = Report::new("audit", &args.model.display().to_string());
    running::fill(&mut report, &model, &audited.model, &audited.run);
    report.findings.extend(model.problems.iter().map(running::finding));
    report.findings.extend(judge::audit::judge(&model, &audited));
    if args.full {
        let facts = audited.facts.iter().map(
            |facts| serde_json::json!({"name": model.tensors[facts.tensor].name, "facts": facts}),
        );
        report.tensors = Some(facts.collect());
    }
    report.judge(args.common.fail_on);
    output::finish(&report, &args.common, &|_, _| Ok(()))
}
