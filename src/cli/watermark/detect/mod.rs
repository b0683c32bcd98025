//! `tensorseal watermark detect`: the marks of keys in a model.

mod describe;
mod native;
mod third_party;

use super::args::{DetectArgs, SchemeChoice};
use crate::checkpoint::Checkpoint;
use crate::cli::args::Common;
use crate::cli::{CommandResult, output};
use crate::judge::watermark::Detection;
use crate::report::{Report, WatermarkReport};
use crate::verbs::RunInputs;
use crate::watermark::third_party::ThirdPartyScheme;

pub(crate) fn run(args: &DetectArgs) -> CommandResult {
    match args.scheme {
        SchemeChoice::Native => native::run(args),
        SchemeChoice::ThirdParty(ThirdPartyScheme::Interval) => third_party::compare(args),
        SchemeChoice::ThirdParty(scheme) => third_party::run(args, scheme),
    }
}

/// Draws the verdict, and writes the report if the models are still what they were.
fn conclude(
    models: &[&Checkpoint],
    mut report: Report,
    detections: Vec<Detection>,
    common: &Common,
) -> CommandResult {
    RunInputs::default().check_unchanged(models)?;
    report.judge(common.fail_on);
    let shown = detections.clone();
    report.watermark = Some(WatermarkReport::from_detections(detections));
    output::finish(&report, common, &|out, palette| {
        shown.iter().try_for_each(|detection| describe::describe(out, palette, detection))
    })
}
