//! Arguments of the gate.

use crate::cli::args::{Common, MeasurementArgs};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// Nothing is taken on trust: whatever the policy asks for and could not be checked fails. The policy says
/// what is let through; --fail-on has no part in it.
#[derive(Debug, Args)]
pub(crate) struct GateArgs {
    /// A file or a directory
    #[arg(required_unless_present = "print_policy")]
    pub model: Option<PathBuf>,
    /// What must be true of the model: a policy (TOML)
    #[arg(long, value_name = "FILE", required_unless_present = "print_policy")]
    pub policy: Option<PathBuf>,
    /// Print a policy with every key explained, to begin with
    #[arg(long, exclusive = true)]
    pub print_policy: bool,
    /// The signature of the model (default: where `sign` writes it)
    #[arg(long, value_name = "BUNDLE")]
    pub signature: Option<PathBuf>,
    /// The attestations signed with the model (default: those beside the signature)
    #[arg(long, value_name = "FILE")]
    pub attestations: Option<PathBuf>,
    /// The seal of the model (default: where `seal` writes it)
    #[arg(long, value_name = "SEAL")]
    pub seal: Option<PathBuf>,
    /// A seal, or another model, that these weights are compared with (default: the seal of the model)
    #[arg(long, value_name = "SEAL|MODEL")]
    pub baseline: Option<PathBuf>,
    /// The state of registries that `registry scan` keeps, where the policy asks for it (default: the usual one)
    #[arg(long, value_name = "DB")]
    pub state: Option<PathBuf>,
    #[command(flatten)]
    pub stating: StatementArgs,
    #[command(flatten)]
    pub measuring: MeasurementArgs,
    #[command(flatten)]
    pub common: Common,
}

/// Statements of the verdict for others.
#[derive(Debug, Args)]
pub(crate) struct StatementArgs {
    /// Also write the verdict as a statement: vsa (SLSA Verification Summary v1) or svr (in-toto Simple
    /// Verification Result v0.2) (repeatable)
    #[arg(long, value_name = "KIND=PATH", value_parser = statement)]
    pub statement: Vec<(StatementKind, PathBuf)>,
    /// Sign the statements with this private key, PEM: each is then a bundle with a DSSE envelope
    #[arg(long, value_name = "PEM", requires = "statement")]
    pub key: Option<PathBuf>,
    /// A file whose first line is the passphrase of the key (default: it is asked for)
    #[arg(long, value_name = "FILE", requires = "key")]
    pub passphrase_file: Option<PathBuf>,
    /// The certificate of the key, PEM
    #[arg(long, value_name = "PEM", requires = "key")]
    pub cert: Option<PathBuf>,
    /// Certificates between it and the root, PEM (repeatable)
    #[arg(long, value_name = "PEM", requires = "cert")]
    pub chain: Vec<PathBuf>,
    /// What the statements call the model (default: its digest)
    #[arg(long, value_name = "URI", requires = "statement", value_parser = uri)]
    pub resource_uri: Option<String>,
    /// What the statements call the policy (default: its digest)
    #[arg(long, value_name = "URI", requires = "statement", value_parser = uri)]
    pub policy_uri: Option<String>,
    /// What the statements call whoever verified (default: this program)
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
