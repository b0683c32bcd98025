//! Arguments of the gate.

use crate::cli::args::{Common, MeasurementArgs};
use crate::cli::heading;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// Arguments of `gate`.
#[derive(Debug, Args)]
pub(crate) struct GateArgs {
    /// Model file or directory
    #[arg(required_unless_present = "print_policy")]
    pub model: Option<PathBuf>,
    /// Policy (TOML) that the model must meet
    #[arg(long, value_name = "FILE", required_unless_present = "print_policy")]
    pub policy: Option<PathBuf>,
    /// Print a policy to start from, with every key explained
    #[arg(long, exclusive = true)]
    pub print_policy: bool,
    /// Seal of the model [default: MODEL/tensorseal.seal.json, or MODEL.seal.json for a single file]
    #[arg(long, value_name = "SEAL", help_heading = heading::VERIFICATION)]
    pub seal: Option<PathBuf>,
    /// Seal or model to compare the weights with [default: the seal of the model]
    #[arg(long, value_name = "SEAL|MODEL", help_heading = heading::VERIFICATION)]
    pub baseline: Option<PathBuf>,
    /// State database of `registry scan`, for policies that require one [default: as for `registry scan`]
    #[arg(long, value_name = "DB", help_heading = heading::VERIFICATION)]
    pub state: Option<PathBuf>,
    /// Signature of the model [default: MODEL/model.sig, or MODEL.sig for a single file]
    #[arg(long, value_name = "BUNDLE", help_heading = heading::SIGNATURE)]
    pub signature: Option<PathBuf>,
    /// Attestations that were signed with the model [default: BUNDLE.attestations.jsonl]
    #[arg(long, value_name = "FILE", help_heading = heading::SIGNATURE)]
    pub attestations: Option<PathBuf>,
    #[command(flatten)]
    pub stating: StatementArgs,
    #[command(flatten)]
    pub measuring: MeasurementArgs,
    #[command(flatten)]
    pub common: Common,
}

/// Statements of the verdict for others.
#[derive(Debug, Args)]
#[command(next_help_heading = heading::STATEMENTS)]
pub(crate) struct StatementArgs {
    /// Also write the verdict as vsa (SLSA Verification Summary v1) or svr (in-toto Simple Verification
    /// Result v0.2) (repeatable)
    #[arg(long, value_name = "KIND=PATH", value_parser = statement)]
    pub statement: Vec<(StatementKind, PathBuf)>,
    /// Private key (PEM) to sign the statements with, each as a bundle with a DSSE envelope
    #[arg(long, value_name = "PEM", requires = "statement")]
    pub key: Option<PathBuf>,
    /// File whose first line is the passphrase of the key [default: prompt for it]
    #[arg(long, value_name = "FILE", requires = "key")]
    pub passphrase_file: Option<PathBuf>,
    /// Certificate of the key, PEM
    #[arg(long, value_name = "PEM", requires = "key")]
    pub cert: Option<PathBuf>,
    /// Intermediate certificates between --cert and the root, PEM (repeatable)
    #[arg(long, value_name = "PEM", requires = "cert")]
    pub chain: Vec<PathBuf>,
    /// URI of the model in the statements [default: its digest]
    #[arg(long, value_name = "URI", requires = "statement", value_parser = uri)]
    pub resource_uri: Option<String>,
    /// URI of the policy in the statements [default: its digest]
    #[arg(long, value_name = "URI", requires = "statement", value_parser = uri)]
    pub policy_uri: Option<String>,
    /// URI of the verifier in the statements [default: this program]
    #[arg(long, value_name = "URI", requires = "statement", value_parser = uri)]
    pub verifier_id: Option<String>,
}

/// A form that the verdict is stated in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatementKind {
    /// SLSA Verification Summary v1
    Vsa,
    /// in-toto Simple Verification Result v0.2
    Svr,
}

fn statement(text: &str) -> Result<(StatementKind, PathBuf), String> {
    let expected = || "expected vsa=PATH or svr=PATH".to_owned();
    let (kind, path) = text.split_once('=').ok_or_else(expected)?;
    match StatementKind::from_str(kind, false) {
        Ok(kind) if !path.is_empty() => Ok((kind, path.into())),
        _ => Err(expected()),
    }
}

/// A scheme and something after it, without spaces (RFC 3986).
fn uri(text: &str) -> Result<String, String> {
    let scheme =
        text.split_once(':').filter(|(_, rest)| !rest.is_empty()).map(|(scheme, _)| scheme);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let known = scheme
        .is_some_and(|s| s.starts_with(|c: char| c.is_ascii_alphabetic()) && s.chars().all(plain));
    let printed = text.chars().all(|c| c.is_ascii_graphic());
    if known && printed { Ok(text.to_owned()) } else { Err("expected a URI".to_owned()) }
}
