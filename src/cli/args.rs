//! Arguments that commands share, and those of the small ones, as documented by `--help`.

use crate::engine::Threads;
use crate::engine::device::DeviceChoice;
use crate::judge::Severity;
use crate::pinpoint::search::DEFAULT_LIMIT;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum OutputFormat {
    /// For people
    Human,
    /// For machines
    Json,
}

/// What a report can be printed as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum PrintFormat {
    /// For people
    Human,
    /// For machines
    Json,
    /// Annotations of GitHub Actions
    Github,
}

/// What a report can be written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ReportFormat {
    /// For machines
    Json,
    /// As on the terminal
    Human,
    /// One self-contained page
    Html,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// JUnit XML, for test reports
    Junit,
    /// A summary for pull requests and job pages
    Markdown,
    /// Annotations of GitHub Actions
    Github,
    /// CycloneDX 1.6, a bill of materials
    Cyclonedx,
}

/// What every verb understands.
#[derive(Debug, Args)]
pub(super) struct Common {
    /// What is printed on standard output
    #[arg(long, value_enum, default_value = "human")]
    pub format: PrintFormat,
    /// Also write a report to a file, as json, human, html, sarif, junit, markdown, github or cyclonedx
    /// (repeatable)
    #[arg(long, value_name = "FORMAT=PATH", value_parser = report_target)]
    pub report: Vec<(ReportFormat, PathBuf)>,
    /// Print only findings and errors
    #[arg(long, short)]
    pub quiet: bool,
    /// Lowest severity that makes the command fail: info, low, medium, high, critical
    #[arg(long, value_name = "SEVERITY", default_value = "medium")]
    pub fail_on: Severity,
}

/// What belongs to a model.
#[derive(Debug, Args)]
pub(super) struct OpenArgs {
    /// Follow links out of the model
    #[arg(long)]
    pub allow_symlinks: bool,
    /// Take .git, .gitignore, .gitattributes and .github as part of the model
    #[arg(long)]
    pub no_ignore_git_paths: bool,
}

impl OpenArgs {
    /// As the library knows it.
    pub(super) fn options(&self) -> crate::verbs::ModelScope {
        crate::verbs::ModelScope {
            allow_symlinks: self.allow_symlinks,
            include_git_paths: self.no_ignore_git_paths,
        }
    }
}

/// How a model is measured.
#[derive(Debug, Args)]
pub(super) struct MeasurementArgs {
    /// Who measures: auto, cpu, gpu, the name of an adapter, or cpu+NAME for both
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: DeviceChoice,
    /// CPU threads (default: all)
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true, value_parser = threads)]
    pub threads: Threads,
    /// Share of the tiles that the other engine measures again, in percent
    #[arg(long, value_name = "PERCENT", default_value = "0", hide_default_value = true, value_parser = percent)]
    pub cross_check: f64,
    /// Draw no progress
    #[arg(long)]
    pub no_progress: bool,
}

#[derive(Debug, Args)]
pub(super) struct CompareArgs {
    /// A file or a directory
    #[arg(value_name = "A")]
    pub model: PathBuf,
    /// Another, in any format
    #[arg(value_name = "B")]
    pub other: PathBuf,
    /// List every weight, in the order of the first model
    #[arg(long)]
    pub full: bool,
    #[command(flatten)]
    pub opening: OpenArgs,
    #[command(flatten)]
    pub measuring: MeasurementArgs,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Debug, Args)]
pub(super) struct SealArgs {
    /// A file or a directory
    pub model: PathBuf,
    /// Where to write the seal (default: MODEL/tensorseal.seal.json, or MODEL.seal.json beside a file)
    #[arg(short, long, value_name = "SEAL")]
    pub output: Option<PathBuf>,
    /// Leave the statistics of the values out
    #[arg(long)]
    pub digest_only: bool,
    /// Also keep signed sums of the weights: an audit beside this seal can then say how far they moved
    #[arg(long, conflicts_with = "digest_only")]
    pub sketch: bool,
    /// Also digest each file whole, with BLAKE3 and SHA-256
    #[arg(long)]
    pub file_digests: bool,
    /// Also write the value of every KiB of the tensors beside the seal (.fine, 3.2 % of the model):
    /// changes are then found to the KiB, and small ones to the bit
    #[arg(long)]
    pub fine: bool,
    #[command(flatten)]
    pub opening: OpenArgs,
    #[command(flatten)]
    pub measuring: MeasurementArgs,
    #[command(flatten)]
    pub common: Common,
}

/// How much is searched for flipped bits.
#[derive(Debug, Args)]
pub(super) struct PinpointArgs {
    /// Changed blocks, or KiB where those are known, that are searched for flipped bits at most; after
    /// an eighth of that many without a hit the rest is given up
    #[arg(long, value_name = "N", default_value_t = DEFAULT_LIMIT)]
    pub pinpoint_limit: usize,
}

#[derive(Debug, Args)]
pub(super) struct RepairArgs {
    /// A file or a directory
    pub model: PathBuf,
    /// The seal that says what it was (default: where `seal` writes it)
    #[arg(long, value_name = "SEAL")]
    pub seal: Option<PathBuf>,
    /// Where to write the repaired copy; must not exist
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    #[command(flatten)]
    pub pinpointing: PinpointArgs,
    #[command(flatten)]
    pub opening: OpenArgs,
    #[command(flatten)]
    pub measuring: MeasurementArgs,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    /// A file or a directory
    pub model: PathBuf,
    /// A seal, or another model, that these weights are compared with
    #[arg(long, value_name = "SEAL|MODEL")]
    pub baseline: Option<PathBuf>,
    /// Write suspicious streams of low bits, as found, into this new directory: for responders; nothing
    /// is run
    #[arg(long, value_name = "DIR")]
    pub extract: Option<PathBuf>,
    /// End with exit code 3, unless all weights were audited and every file is understood
    #[arg(long)]
    pub require_all: bool,
    #[command(flatten)]
    pub opening: OpenArgs,
    /// List the facts of every tensor in the JSON report
    #[arg(long)]
    pub full: bool,
    #[command(flatten)]
    pub measuring: MeasurementArgs,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// A file or a directory
    pub model: PathBuf,
    /// List every tensor instead of groups of alike ones
    #[arg(long)]
    pub full: bool,
    #[command(flatten)]
    pub opening: OpenArgs,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Debug, Args)]
pub(super) struct DevicesArgs {
    /// List only: no self-test, no timing
    #[arg(long)]
    pub list: bool,
    /// What is printed on standard output
    #[arg(long, value_enum, default_value = "human")]
    pub format: OutputFormat,
}

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// A rule, as it stands in a report, or an area: format, integrity, signature, policy, watermark, weights,
    /// payload, lineage (default: list all)
    pub rule: Option<String>,
    /// What is printed on standard output
    #[arg(long, value_enum, default_value = "human")]
    pub format: OutputFormat,
}

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}

fn report_target(text: &str) -> Result<(ReportFormat, PathBuf), String> {
    match text.split_once('=') {
        Some((_, "")) => Err("the path is empty".to_owned()),
        Some((name, path)) => match ReportFormat::from_str(name, false) {
            Ok(format) => Ok((format, path.into())),
            Err(_) => Err(format!(
                "unknown report format {name:?}: json, human, html, sarif, junit, markdown, github and cyclonedx can be written"
            )),
        },
        None => Err("expected FORMAT=PATH, such as html=report.html".to_owned()),
    }
}

fn threads(text: &str) -> Result<Threads, String> {
    match text.parse() {
        // 0: the default, spelled out.
        Ok(threads @ 0..=1024) => Ok(Threads::new(threads)),
        _ => Err("expected a number from 1 to 1024".to_owned()),
    }
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.trim_end_matches('%').parse::<f64>();
    number
        .ok()
        .filter(|n| (0.0..=100.0).contains(n))
        .ok_or("expected a number from 0 to 100".to_owned())
}

pub(super) fn root(text: &str) -> Result<[u8; 32], String> {
    text.strip_prefix("blake3:")
        .and_then(crate::seal::canonical::unhex)
        .ok_or("expected blake3: and 64 lower-case hexadecimal digits".to_owned())
}
