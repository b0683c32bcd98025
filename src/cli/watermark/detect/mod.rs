//! `tensorseal watermark detect`: the marks of keys in a model.

mod describe;
mod native;
mod third_party;

use super::args::{DetectArgs, SchemeChoice};
use crate::cli::args::Common;
use crate::cli::inputs::Inputs;
use crate::cli::{Failure, Outcome, output};
use anyhow::anyhow;
use std::collections::BTreeSet;
use tensorseal::checkpoint::Checkpoint;
use tensorseal::judge::watermark::Detection;
use tensorseal::report::{Report, Watermark};
use tensorseal::watermark::third_party::Scheme;

pub fn run(args: &DetectArgs) -> Outcome {
    match args.scheme {
        SchemeChoice::Native => native::run(args),
        SchemeChoice::ThirdParty(Scheme::Interval) => third_party::compare(args),
        SchemeChoice::ThirdParty(scheme) => third_party::run(args, scheme),
    }
}

/// A key that is looked for twice would be paid for as two.
pub fn refuse_twice<'a>(ids: impl Iterator<Item = &'a str>) -> Result<(), Failure> {
    let mut seen = BTreeSet::new();
    for id in ids {
        if !seen.insert(id) {
            return Err(Failure::usage(anyhow!("key {id} was given twice")));
        }
    }
    Ok(())
}

/// Draws the verdict, and writes the report if the models are still what they were.
fn conclude(
    models: &[&Checkpoint],
    mut report: Report,
    detections: Vec<Detection>,
    common: &Common,
) -> Outcome {
    Inputs::default().settle(models)?;
    report.judge(common.fail_on);
    let shown = detections.clone();
    report.watermark = Some(Watermark::detected(detections));
    output::finish(&report, common, &|out, palette| {
        shown.iter().try_for_each(|detection| describe::describe(out, palette, detection))
    })
}
