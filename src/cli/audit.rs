//! `audit`: what is wrong with the weights of a model, without trusting anything.

mod baseline;

use super::args::AuditArgs;
use super::{Failure, output, running};
use tensorseal::report::Report;
use tensorseal::{audit, judge};

pub fn run(args: &AuditArgs) -> Result<u8, Failure> {
    let mut report = Report::new("audit", &args.model.display().to_string());
    let exclude = running::seals_inside(&args.model, baseline::seal_path(args));
    let model = running::open(&args.model, &args.opening, exclude, None)?;
    let baseline = baseline::open(args, &mut report)?;
    let options = running::run_options(&args.measuring, false);
    let (audited, compared) = running::watched(&args.measuring, args.common.quiet, |progress| {
        let audited = audit::measure(&model, &options, progress).map_err(running::failure)?;
        let compared = baseline
            .map(|baseline| baseline.compare(&model, &audited, &options, progress))
            .transpose()?;
        Ok((audited, compared))
    })?;
    running::say_who_measured(&audited.run, args.common.quiet);
    running::fill(&mut report, &model, &audited.model, &audited.run);
    report.findings.extend(model.problems.iter().map(running::finding));
    report.findings.extend(judge::audit::judge(&model, &audited));
    if let Some(compared) = &compared {
        report.findings.extend(compared.findings(&model, &audited, args.common.quiet));
    }
    if args.full {
        let facts = audited.facts.iter().map(
            |facts| serde_json::json!({"name": model.tensors[facts.tensor].name, "facts": facts}),
        );
        report.tensors = Some(facts.collect());
    }
    report.judge(args.common.fail_on);
    output::finish(&report, &args.common, &|_, _| Ok(()))
}
