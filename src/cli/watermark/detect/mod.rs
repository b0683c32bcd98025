//! `tensorseal watermark detect`: the marks of keys in a model.

mod describe;
mod native;
mod third_party;

use super::args::{DetectArgs, Expect, SchemeChoice};
use crate::cli::args::{Common, General};
use crate::cli::{CommandResult, exit, next_step, output};
use tensorseal_core::judge::watermark::{Detection, Presence};
use tensorseal_core::verbs::RunInputs;
use tensorseal_core::watermark::third_party::ThirdPartyScheme;
use tensorseal_format::Checkpoint;
use tensorseal_report::{Report, WatermarkReport};

pub(crate) fn run(args: &DetectArgs, general: &General) -> CommandResult {
    match args.scheme {
        SchemeChoice::Native => native::run(args, general),
        SchemeChoice::ThirdParty(ThirdPartyScheme::Interval) => third_party::compare(args, general),
        SchemeChoice::ThirdParty(scheme) => third_party::run(args, scheme, general),
    }
}

/// Judges the findings and writes the report, unless a model changed while it was read.
fn conclude(
    models: &[&Checkpoint],
    mut report: Report,
    detections: Vec<Detection>,
    to: (&Common, &General),
    expect: Option<Expect>,
) -> CommandResult {
    RunInputs::default().check_unchanged(models)?;
    report.judge(to.0.fail_on);
    let shown = detections.clone();
    report.watermark = Some(WatermarkReport::from_detections(detections));
    let is_absent = shown.iter().all(|detection| detection.verdict == Presence::Absent);
    let next = match expect.is_none() && is_absent && report.exit_code == exit::FINDINGS {
        true => Some(
            "add `--expect absent` if the model should have no watermark of this key".to_owned(),
        ),
        false => next_step::after(&report),
    };
    let body: output::Body<'_> = &|out, palette| {
        shown.iter().try_for_each(|detection| describe::describe(out, palette, detection))
    };
    output::finish_with(&report, to, body, next)
}
