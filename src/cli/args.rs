//! Arguments that commands share, and those of the small ones, as documented by `--help`.

use super::heading;
use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args, ValueEnum};
use std::path::PathBuf;
use tensorseal_core::judge::Severity;
use tensorseal_core::pinpoint::search::DEFAULT_LIMIT;
use tensorseal_engine::Threads;
use tensorseal_engine::device::DeviceChoice;
use tensorseal_report::human;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum OutputFormat {
    /// Plain text
    Human,
    /// JSON
    Json,
}

/// The output formats of a report on the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum PrintFormat {
    /// Plain text
    Human,
    /// JSON
    Json,
    /// GitHub Actions annotations
    Github,
}

/// The formats that a report can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ReportFormat {
    /// JSON
    Json,
    /// Plain text, as on the terminal
    Human,
    /// One self-contained page
    Html,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// JUnit XML, for test reports
    Junit,
    /// A summary for pull requests and job pages
    Markdown,
    /// GitHub Actions annotations
    Github,
    /// CycloneDX 1.6, a bill of materials
    Cyclonedx,
}

/// Options of every verb; they stand last in their groups.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = heading::OUTPUT)]
pub(super) struct General {
    /// Print nothing if the command passes, else only what is wrong; no notes, hints or progress bar. Output in
    /// other formats, and verbs that only print data, are not affected
    #[arg(long, short, global = true, env = "TENSORSEAL_QUIET", hide_env_values = true)]
    #[arg(value_parser = FalseyValueParser::new())]
    #[arg(display_order = 900)]
    pub quiet: bool,
    /// Log each step to standard error; -vv logs more
    #[arg(long, short, global = true, env = "TENSORSEAL_VERBOSE", hide_env_values = true)]
    #[arg(action = ArgAction::Count)]
    #[arg(display_order = 901)]
    pub verbose: u8,
    /// Disable the progress bar
    #[arg(long, global = true, env = "TENSORSEAL_NO_PROGRESS", hide_env_values = true)]
    #[arg(value_parser = FalseyValueParser::new())]
    #[arg(display_order = 902)]
    pub no_progress: bool,
    /// Read default options from this file [default: ~/.config/tensorseal/tensorseal.toml, or
    /// /etc/tensorseal/tensorseal.toml]
    #[arg(long, value_name = "FILE", global = true, help_heading = heading::CONFIGURATION)]
    #[arg(display_order = 903)]
    pub config: Option<PathBuf>,
    /// Ignore configuration files
    #[arg(long, global = true, help_heading = heading::CONFIGURATION, conflicts_with = "config")]
    #[arg(display_order = 904)]
    pub no_config: bool,
}

/// Options of every verb that writes a report.
#[derive(Debug, Args)]
#[command(next_help_heading = heading::OUTPUT)]
pub(super) struct Common {
    /// Output format
    #[arg(long, value_enum, default_value = "human")]
    #[arg(env = "TENSORSEAL_FORMAT", hide_env_values = true)]
    pub format: PrintFormat,
    /// Also write a report as json, human, html, sarif, junit, markdown, github or cyclonedx (repeatable)
    #[arg(long, value_name = "FORMAT=PATH", value_parser = report_target)]
    pub report: Vec<(ReportFormat, PathBuf)>,
    #[command(flatten)]
    pub showing: Showing,
    /// Lowest severity that fails the command: info, low, medium, high, critical
    #[arg(long, value_name = "SEVERITY", default_value = "medium", value_parser = severity)]
    #[arg(help_heading = heading::FAILURE)]
    pub fail_on: Severity,
}

/// Which findings are printed.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = heading::OUTPUT)]
pub(super) struct Showing {
    /// Lowest severity of findings to print in full: info, low, medium, high, critical
    #[arg(long, value_name = "SEVERITY", default_value = "low", value_parser = severity)]
    #[arg(env = "TENSORSEAL_SHOW", hide_env_values = true)]
    show: Severity,
}

impl Showing {
    /// The options of the plain text report.
    pub(super) fn options(self) -> human::Options {
        human::Options { show: self.show }
    }
}

/// What belongs to a model.
#[derive(Debug, Args)]
#[command(next_help_heading = heading::MODEL)]
pub(super) struct OpenArgs {
    /// Follow symbolic links that lead out of the model
    #[arg(long)]
    pub allow_symlinks: bool,
    /// Treat .git, .gitignore, .gitattributes and .github as part of the model
    #[arg(long)]
    pub no_ignore_git_paths: bool,
}

impl OpenArgs {
    /// The options of the library.
    pub(super) fn options(&self) -> tensorseal_core::verbs::ModelScope {
        tensorseal_core::verbs::ModelScope {
            allow_symlinks: self.allow_symlinks,
            include_git_paths: self.no_ignore_git_paths,
        }
    }
}

/// How a model is measured.
#[derive(Debug, Args)]
#[command(next_help_heading = heading::MEASUREMENT)]
pub(super) struct MeasurementArgs {
    /// Compute device: auto, cpu, gpu, the name of an adapter as listed by `tensorseal devices`, or cpu+NAME
    /// for the CPU and that adapter
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    #[arg(env = "TENSORSEAL_DEVICE", hide_env_values = true)]
    pub device: DeviceChoice,
    /// Number of CPU threads, at most 1024; 0 for all [default: 0]
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true, value_parser = threads)]
    #[arg(env = "TENSORSEAL_THREADS", hide_env_values = true)]
    pub threads: Threads,
    /// Percentage of the data (in tiles of at most 32 MiB) to measure on both the CPU and the GPU, to detect
    /// a faulty device [default: 0]
    #[arg(long, value_name = "PERCENT", default_value = "0", hide_default_value = true, value_parser = percent)]
    #[arg(env = "TENSORSEAL_CROSS_CHECK", hide_env_values = true)]
    pub cross_check: f64,
}

#[derive(Debug, Args)]
pub(super) struct CompareArgs {
    /// Model file or directory
    #[arg(value_name = "A")]
    pub model: PathBuf,
    /// Model to compare it with, in any format
    #[arg(value_name = "B")]
    pub other: PathBuf,
    #[command(flatten)]
    pub opening: OpenArgs,
    #[command(flatten)]
    pub measuring: MeasurementArgs,
    /// List every weight, in the order of the first model
    #[arg(long, help_heading = heading::OUTPUT)]
    pub full: bool,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Debug, Args)]
pub(super) struct SealArgs {
    /// Model file or directory
    pub model: PathBuf,
    /// Seal file to write [default: MODEL/tensorseal.seal.json, or MODEL.seal.json for a single file]
    #[arg(short, long, value_name = "SEAL")]
    pub output: Option<PathBuf>,
    /// Omit the statistics of the values
    #[arg(long)]
    pub digest_only: bool,
    /// Also store sketches of the weights, so that `audit --baseline` can tell how far they moved
    #[arg(long, conflicts_with = "digest_only")]
    pub sketch: bool,
    /// Also store BLAKE3 and SHA-256 digests of whole files
    #[arg(long)]
    pub file_digests: bool,
    /// Also write chunk digests to a .fine file (3.2 % of the model): `verify` then locates changes to 1 KiB,
    /// and `repair` restores two flipped bits per KiB, otherwise one per MiB
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
#[command(next_help_heading = heading::VERIFICATION)]
pub(super) struct PinpointArgs {
    /// Maximum number of changed blocks, or of changed KiB with chunk digests, to search for bit flips;
    /// the search ends early after an eighth of them without a hit
    #[arg(long, value_name = "N", default_value_t = DEFAULT_LIMIT)]
    pub pinpoint_limit: usize,
}

#[derive(Debug, Args)]
pub(super) struct RepairArgs {
    /// Damaged model: a file or a directory
    pub model: PathBuf,
    /// Seal of the undamaged model [default: MODEL/tensorseal.seal.json, or MODEL.seal.json for a single file]
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
    /// Model file or directory
    pub model: PathBuf,
    /// Seal or model to compare the weights with
    #[arg(long, value_name = "SEAL|MODEL")]
    pub baseline: Option<PathBuf>,
    /// Write suspicious low-bit streams into this new directory for analysis; nothing is executed
    #[arg(long, value_name = "DIR")]
    pub extract: Option<PathBuf>,
    #[command(flatten)]
    pub opening: OpenArgs,
    #[command(flatten)]
    pub measuring: MeasurementArgs,
    /// List the measurements of every tensor in the JSON report
    #[arg(long, help_heading = heading::OUTPUT)]
    pub full: bool,
    #[command(flatten)]
    pub common: Common,
    /// Exit with 3 unless all weights were audited and every file was understood
    #[arg(long, help_heading = heading::FAILURE)]
    pub require_all: bool,
}

#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// Model file or directory
    pub model: PathBuf,
    #[command(flatten)]
    pub opening: OpenArgs,
    /// List every tensor instead of grouping similar ones
    #[arg(long, help_heading = heading::OUTPUT)]
    pub full: bool,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Debug, Args)]
pub(super) struct DevicesArgs {
    /// List the devices without testing and timing them
    #[arg(long)]
    pub list: bool,
    /// Output format
    #[arg(long, value_enum, default_value = "human", help_heading = heading::OUTPUT)]
    #[arg(env = "TENSORSEAL_FORMAT", hide_env_values = true)]
    pub format: OutputFormat,
}

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// Rule id from a report, or an area: format, integrity, signature, policy, watermark, weights, payload,
    /// lineage [default: list all rules]
    pub rule: Option<String>,
    /// Output format
    #[arg(long, value_enum, default_value = "human", help_heading = heading::OUTPUT)]
    #[arg(env = "TENSORSEAL_FORMAT", hide_env_values = true)]
    pub format: OutputFormat,
}

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// Shell to generate completions for
    pub shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Directory to write a page for every command to [default: print tensorseal(1)]
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}

fn report_target(text: &str) -> Result<(ReportFormat, PathBuf), String> {
    match text.split_once('=') {
        Some((_, "")) => Err("the path is empty".to_owned()),
        Some((name, path)) => match ReportFormat::from_str(name, false) {
            Ok(format) => Ok((format, path.into())),
            Err(_) => Err(format!(
                "unknown report format {name:?}: expected json, human, html, sarif, junit, markdown, github or cyclonedx"
            )),
        },
        None => Err("expected FORMAT=PATH, such as html=report.html".to_owned()),
    }
}

/// A severity, in upper or lower case.
pub(super) fn severity(text: &str) -> Result<Severity, String> {
    text.to_ascii_lowercase().parse()
}

pub(super) fn threads(text: &str) -> Result<Threads, String> {
    match text.parse() {
        Ok(threads @ 0..=1024) => Ok(Threads::new(threads)),
        _ => Err("expected a number from 1 to 1024, or 0 for all".to_owned()),
    }
}

pub(super) fn percent(text: &str) -> Result<f64, String> {
    let number = text.trim_end_matches('%').parse::<f64>();
    number
        .ok()
        .filter(|n| (0.0..=100.0).contains(n))
        .ok_or("expected a number from 0 to 100".to_owned())
}

pub(super) fn root(text: &str) -> Result<[u8; 32], String> {
    text.strip_prefix("blake3:")
        .and_then(tensorseal_core::seal::canonical::unhex)
        .ok_or("expected blake3: followed by 64 lower-case hexadecimal digits".to_owned())
}
