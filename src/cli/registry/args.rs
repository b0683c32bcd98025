//! Arguments of `registry`.

use super::values::{self, Rotation};
use crate::cli::args::{MeasurementArgs, OutputFormat, Showing, severity};
use crate::cli::heading;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;
use tensorseal_core::judge::Severity;
use tensorseal_core::policy::{Age, Pattern};
use tensorseal_report::registry::syslog::Target;

#[derive(Debug, Subcommand)]
pub(crate) enum RegistryCommand {
    /// Scan registries: read models that are new, changed or due, and compare them with what was accepted
    ///
    /// A source is a directory (a Hugging Face cache is recognised by its layout) or a URI: s3://BUCKET/PREFIX,
    /// gs://…, az://…, oci://HOST/REPOSITORY[:TAG], mlflow://HOST[:PORT][/MODEL]. Credentials are read from the
    /// environment and from the configuration of the providers' tools, never from the command line.
    Scan(Box<ScanArgs>),
    /// Show the state of all models
    Status(StatusArgs),
    /// Show what happened to a model over time
    History(HistoryArgs),
    /// Accept the current content of a model, or that it is gone, as its new baseline
    Accept(AcceptArgs),
}

impl RegistryCommand {
    /// How models are measured.
    pub(crate) fn measuring(&self) -> Option<&MeasurementArgs> {
        match self {
            Self::Scan(args) => Some(&args.measuring),
            Self::Status(_) | Self::History(_) | Self::Accept(_) => None,
        }
    }
}

/// Arguments of `registry scan`.
#[derive(Debug, Args)]
pub(crate) struct ScanArgs {
    /// Directories and URIs of registries
    #[arg(required = true, value_name = "SOURCE")]
    pub sources: Vec<String>,
    #[command(flatten)]
    pub remembering: StateArgs,
    /// Wait for another scan that is using the same state database
    #[arg(long, help_heading = heading::SCAN)]
    pub wait_lock: bool,
    /// Also read models that were last read longer ago than this: 30d, 12h, 90m, 4w
    #[arg(long, value_name = "AGE", help_heading = heading::SCAN)]
    pub max_age: Option<Age>,
    /// Also read this part of all models: K/N, or auto/N for the next part with every scan
    #[arg(long, value_name = "K/N", value_parser = values::rotation, help_heading = heading::SCAN)]
    pub read_subset: Option<Rotation>,
    /// Read every model
    #[arg(long, help_heading = heading::SCAN)]
    pub read_all: bool,
    /// Skip models with this name, as listed by `registry status`; * matches any characters (repeatable)
    #[arg(long, value_name = "PATTERN", help_heading = heading::SCAN)]
    pub exclude: Vec<Pattern>,
    /// Maximum number of bytes to read per second: 200M, 1.5G
    #[arg(long, value_name = "RATE", value_parser = values::rate, help_heading = heading::SCAN)]
    pub limit_rate: Option<u64>,
    /// Directory for archives that must be unpacked [default: $TMPDIR, or /tmp]
    #[arg(long, value_name = "DIR", help_heading = heading::SCAN)]
    pub spool: Option<PathBuf>,
    #[command(flatten)]
    pub notifications: Notifications,
    #[command(flatten)]
    pub measuring: MeasurementArgs,
    #[command(flatten)]
    pub listing: Listing,
}

/// How models are listed, and which findings fail.
#[derive(Debug, Args)]
#[command(next_help_heading = heading::OUTPUT)]
pub(crate) struct Listing {
    /// Output format
    #[arg(long, value_enum, default_value = "human")]
    #[arg(env = "TENSORSEAL_FORMAT", hide_env_values = true)]
    pub format: ListFormat,
    #[command(flatten)]
    pub showing: Showing,
    /// Lowest severity that fails the command: info, low, medium, high, critical
    #[arg(long, value_name = "SEVERITY", default_value = "medium", value_parser = severity)]
    #[arg(help_heading = heading::FAILURE)]
    pub fail_on: Severity,
}

/// Where models are remembered.
#[derive(Debug, Args)]
pub(crate) struct StateArgs {
    /// State database (what scans remember) [default: tensorseal.db in $STATE_DIRECTORY, or tensorseal/registry.db in
    /// $XDG_STATE_HOME or ~/.local/state]
    #[arg(long, value_name = "DB")]
    pub state: Option<PathBuf>,
}

/// Where the results of a scan are sent.
#[derive(Debug, Args)]
#[command(next_help_heading = heading::NOTIFICATION)]
pub(crate) struct Notifications {
    /// Write Prometheus metrics to this file, for the textfile collector of node_exporter
    #[arg(long, value_name = "FILE")]
    pub prometheus: Option<PathBuf>,
    /// Write security events to this file: OCSF 1.8, one per line
    #[arg(long, value_name = "FILE")]
    pub ocsf: Option<PathBuf>,
    /// Send syslog messages (RFC 5424) to udp://HOST:514, tcp://HOST:601 or unix:///dev/log
    #[arg(long, value_name = "URI")]
    pub syslog: Option<Target>,
    /// Write an index.html of all models and a report of each model with findings into this directory
    #[arg(long, value_name = "DIR")]
    pub reports: Option<PathBuf>,
    /// Run this command with `sh -c` when the scan does not pass; it gets the JSON report on standard input,
    /// $TENSORSEAL_VERDICT and $TENSORSEAL_SUMMARY
    #[arg(long, value_name = "COMMAND")]
    pub notify: Option<String>,
    /// Request URL/start at the start and URL at the end, or URL/fail when the scan does not pass
    #[arg(long, value_name = "URL", value_parser = values::ping)]
    pub ping: Option<String>,
}

/// How models are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    /// Plain text
    Human,
    /// JSON
    Json,
    /// An inventory for spreadsheets
    Csv,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub remembering: StateArgs,
    /// List only models that need attention
    #[arg(long)]
    pub problems: bool,
    #[command(flatten)]
    pub listing: Listing,
    /// Also write an HTML page of all models to this file
    #[arg(long, value_name = "FILE", help_heading = heading::OUTPUT)]
    pub html: Option<PathBuf>,
}

/// A model of this name.
#[derive(Debug, Args)]
pub(crate) struct ModelNameArgs {
    /// Name of the model, as listed by `registry status`
    pub model: String,
    /// Source of the model, if several sources have one with this name
    #[arg(long, value_name = "SOURCE")]
    pub source: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    #[command(flatten)]
    pub naming: ModelNameArgs,
    #[command(flatten)]
    pub remembering: StateArgs,
    /// Output format
    #[arg(long, value_enum, default_value = "human", help_heading = heading::OUTPUT)]
    #[arg(env = "TENSORSEAL_FORMAT", hide_env_values = true)]
    pub format: OutputFormat,
}

#[derive(Debug, Args)]
pub(crate) struct AcceptArgs {
    #[command(flatten)]
    pub naming: ModelNameArgs,
    /// Reason, kept in the history of the model
    #[arg(long, value_name = "TEXT", value_parser = values::reason)]
    pub reason: String,
    /// Name of the person who accepts [default: the current user]
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
    #[command(flatten)]
    pub remembering: StateArgs,
    /// Wait for a scan that is using the same state database
    #[arg(long)]
    pub wait_lock: bool,
}
