//! The commands, as documented by `--help`.

use super::args::{
    AuditArgs, CompareArgs, CompletionsArgs, DevicesArgs, ExplainArgs, InspectArgs, RepairArgs,
    SealArgs,
};
use super::gate::args::GateArgs;
use super::registry::args::RegistryCommand;
use super::signing::args::SignArgs;
use super::verify::VerifyArgs;
use super::watermark::args::WatermarkCommand;
use clap::{Parser, Subcommand};

/// Are these the weights you trust?
///
/// Seals, verifies and examines model checkpoints, tensor by tensor.
#[derive(Debug, Parser)]
#[command(
    version,
    propagate_version = true,
    after_help = "Exit codes: 0 passed, 1 findings, 2 usage or nothing to verify against, 3 could not be completed, 4 nothing matched, 11 locked by another scan, 130 interrupted."
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Write a seal: a digest and the statistics of every tensor, and a digest of all other bytes
    Seal(SealArgs),
    /// Compare a model with its seal or its signature, and say what changed, where, and what it looks like
    Verify(Box<VerifyArgs>),
    /// Sign every file of a model (OpenSSF Model Signing), and facts of it
    Sign(Box<SignArgs>),
    /// Judge a model by a policy: the verdict of a deployment, closed to what could not be checked
    Gate(Box<GateArgs>),
    /// Find what is wrong with the weights of a model, without trusting anything
    Audit(AuditArgs),
    /// Write a copy of a damaged model with the flipped bits put back, held to its seal
    Repair(RepairArgs),
    /// List what is in a model, reading headers only
    Inspect(InspectArgs),
    /// Say which weights of two models differ, and how: across formats, names and quantisations
    Compare(CompareArgs),
    /// Embed a keyed mark in weights, prove its presence later, commit to it before a release
    #[command(subcommand)]
    Watermark(WatermarkCommand),
    /// Check the models of registries on a schedule: scan, remember, tell
    #[command(subcommand)]
    Registry(RegistryCommand),
    /// List the devices that can measure, test them and time their kernels
    Devices(DevicesArgs),
    /// Say what a rule means, how it is measured, how often it is wrong, and what to do
    Explain(ExplainArgs),
    /// Print completions for a shell
    Completions(CompletionsArgs),
}
