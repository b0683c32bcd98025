//! `tensorseal watermark`: one file a verb.

pub(super) mod args;
mod claim;
pub(super) mod detect;
mod embed;
mod keygen;
mod marking;

use super::args::General;
use super::{CommandResult, Failure, exit, running};
use anyhow::anyhow;
use args::WatermarkCommand;
use std::path::Path;
use tensorseal_core::watermark::claim::ClaimError;
use tensorseal_core::watermark::detect::DetectError;
use tensorseal_core::watermark::key::{WatermarkKey, WatermarkKeyError};

pub(super) fn run(command: &WatermarkCommand, general: &General) -> CommandResult {
    match command {
        WatermarkCommand::Keygen(args) => keygen::run(args, general),
        WatermarkCommand::Claim(args) => claim::run(args, general),
        WatermarkCommand::Embed(args) => embed::run(args, general),
        WatermarkCommand::Detect(args) => detect::run(args, general),
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

/// The exit code of a claim that cannot be used. One that does not exist is a usage error; one that cannot be read is not.
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
        _ => Failure::incomplete(error),
    }
}

/// A model without a tensor that can carry a watermark.
fn no_carriers(model: &Path) -> Failure {
    let error = anyhow!(
        "{}: no tensor can carry a watermark; it takes floating-point elements of at most 32 bits, two or more dimensions and at least 65,536 elements",
        model.display()
    );
    Failure { code: exit::NOTHING, error }
}
