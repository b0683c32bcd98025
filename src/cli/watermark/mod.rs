//! `tensorseal watermark`: one file a verb.

pub(super) mod args;
mod claim;
pub(super) mod detect;
mod embed;
mod keygen;
mod marking;

use super::{CommandResult, Failure, exit, running};
use crate::watermark::claim::ClaimError;
use crate::watermark::detect::DetectError;
use crate::watermark::key::{WatermarkKey, WatermarkKeyError};
use anyhow::anyhow;
use args::WatermarkCommand;
use std::path::Path;

pub(super) fn run(command: &WatermarkCommand) -> CommandResult {
    match command {
        WatermarkCommand::Keygen(args) => keygen::run(args),
        WatermarkCommand::Claim(args) => claim::run(args),
        WatermarkCommand::Embed(args) => embed::run(args),
        WatermarkCommand::Detect(args) => detect::run(args),
    }
}

pub(super) fn read_key(path: &Path) -> Result<WatermarkKey, Failure> {
    WatermarkKey::read(path).map_err(key_failure)
}

fn key_failure(error: WatermarkKeyError) -> Failure {
    match error {
        WatermarkKeyError::NoRandom(_) | WatermarkKeyError::Write { .. } => {
            Failure::incomplete(error)
        }
        _ => Failure::usage(error),
    }
}

/// A claim that is not there is a mistake of the caller; one that cannot be read is not.
pub(super) fn claim_failure(error: ClaimError) -> Failure {
    match error {
        ClaimError::Missing(_) => Failure::usage(error),
        ClaimError::Exists(_) => Failure::usage(error),
        _ => Failure::incomplete(error),
    }
}

fn detect_failure(error: DetectError) -> Failure {
    match error {
        DetectError::Run(error) => running::failure(error),
        DetectError::Changed(_) => Failure::incomplete(error),
    }
}

/// A model in which nothing carries chips.
fn no_carriers(model: &Path) -> Failure {
    let error = anyhow!(
        "{}: nothing carries chips: no floating-point tensor of at most 32 bits an element, two or more dimensions and 65,536 or more elements",
        model.display()
    );
    Failure { code: exit::NOTHING, error }
}
