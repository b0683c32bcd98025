//! The commands, as documented by `--help`.

use super::args::{
    AuditArgs, CompareArgs, CompletionsArgs, DevicesArgs, ExplainArgs, General, InspectArgs,
    ManArgs, RepairArgs, SealArgs,
};
use super::gate::args::GateArgs;
use super::help;
use super::registry::args::RegistryCommand;
use super::signing::args::SignArgs;
use super::verify::VerifyArgs;
use super::watermark::args::WatermarkCommand;
use clap::{CommandFactory, Parser, Subcommand};

/// Are these the weights you trust?
///
/// Seals, verifies and audits model checkpoints, tensor by tensor.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub general: General,
}

/// The command line with the exit codes and examples of every verb.
pub(super) fn command() -> clap::Command {
    help::add(Arguments::command())
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Seal a model: record digests and statistics of all its tensors and files
    Seal(SealArgs),
    /// Verify a model against its seal, its signature or a known root
    Verify(Box<VerifyArgs>),
    /// Sign a model (OpenSSF Model Signing), optionally with attestations
    Sign(Box<SignArgs>),
    /// Decide by a policy whether a model may be deployed; fails closed
    ///
    /// A check that the policy requires and that could not be made counts as failed. Only the policy decides:
    /// --fail-on has no effect on the verdict.
    Gate(Box<GateArgs>),
    /// Audit weights for tampering, hidden data and damage; needs no seal
    Audit(AuditArgs),
    /// Write a repaired copy of a model that has bit flips
    Repair(RepairArgs),
    /// List the tensors of a model; reads headers only
    Inspect(InspectArgs),
    /// Compare the weights of two models, across formats and quantisations
    Compare(CompareArgs),
    /// Embed, detect and claim keyed watermarks
    #[command(subcommand)]
    Watermark(WatermarkCommand),
    /// Scan model registries on a schedule and track changes
    #[command(subcommand)]
    Registry(RegistryCommand),
    /// List compute devices, test them and time their kernels
    Devices(DevicesArgs),
    /// Explain a rule: what it means, how it is measured, what to do
    Explain(ExplainArgs),
    /// Generate shell completions
    Completions(CompletionsArgs),
    /// Generate man pages
    Man(ManArgs),
}
