//! Arguments of `registry`.

use super::values::{self, Rotation};
use crate::cli::args::MeasurementArgs;
use crate::judge::Severity;
use crate::policy::{Age, Pattern};
use crate::report::registry::syslog::Target;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum RegistryCommand {
    /// Check the models of registries, and remember them: what is new, moved or due is read, byte for byte
    Scan(Box<ScanArgs>),
    /// Say what is known of all models
    Status(StatusArgs),
    /// Say what became of a model over time
    History(HistoryArgs),
    /// Accept what a model is now, or that it is gone: it is held to that from now on
    Accept(AcceptArgs),
}

/// A source is a directory (the Hugging Face cache is known by its layout) or a URI: s3://BUCKET/PREFIX,
/// gs://…, az://…, oci://HOST/REPOSITORY[:TAG], mlflow://HOST[:PORT][/MODEL]. Credentials are taken from the
/// environment and from the files of the providers' own tools, never from the command line.
#[derive(Debug, Args)]
pub(crate) struct ScanArgs {
    /// Where models are
    #[arg(required = true, value_name = "SOURCE")]
    pub sources: Vec<String>,
    #[command(flatten)]
    pub remembering: StateArgs,
    /// Wait for another scan that is at work with the same state
    #[arg(long)]
    pub wait_lock: bool,
    /// Also read models whose last deep check is older: 30d, 12h, 90m, 4w
    #[arg(long, value_name = "AGE")]
    pub max_age: Option<Age>,
    /// Also read this part of all models: K/N, or auto/N for the next one each time
    #[arg(long, value_name = "K/N", value_parser = values::rotation)]
    pub read_subset: Option<Rotation>,
    /// Read every model
    #[arg(long)]
    pub read_all: bool,
    /// Pass over models of this name, as `registry status` lists it; * stands for any characters
    /// (repeatable)
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<Pattern>,
    /// Read at most so many bytes a second: 200M, 1.5G
    #[arg(long, value_name = "RATE", value_parser = values::rate)]
    pub limit_rate: Option<u64>,
    /// Directory for archives that must be unpacked to be read (default: the system's for temporary files)
    #[arg(long, value_name = "DIR")]
    pub spool: Option<PathBuf>,
    #[command(flatten)]
    pub telling: NotificationArgs,
    /// What is printed on standard output
    #[arg(long, value_enum, default_value = "human")]
    pub format: ListFormat,
    /// Print nothing unless something is wrong
    #[arg(long, short)]
    pub quiet: bool,
    /// Lowest severity that makes the scan fail: info, low, medium, high, critical
    #[arg(long, value_name = "SEVERITY", default_value = "medium")]
    pub fail_on: Severity,
    #[command(flatten)]
    pub measuring: MeasurementArgs,
}

/// Where models are remembered.
#[derive(Debug, Args)]
pub(crate) struct StateArgs {
    /// The database (default: tensorseal.db in $STATE_DIRECTORY, else tensorseal/registry.db in
    /// $XDG_STATE_HOME or ~/.local/state)
    #[arg(long, value_name = "DB")]
    pub state: Option<PathBuf>,
}

/// Who else is told.
#[derive(Debug, Args)]
pub(crate) struct NotificationArgs {
    /// Write metrics for Prometheus: a text file for node_exporter
    #[arg(long, value_name = "FILE")]
    pub prometheus: Option<PathBuf>,
    /// Write events for security operations: OCSF 1.8, one a line
    #[arg(long, value_name = "FILE")]
    pub ocsf: Option<PathBuf>,
    /// Send messages (RFC 5424): udp://HOST:514, tcp://HOST:601, unix:///dev/log
    #[arg(long, value_name = "URI")]
    pub syslog: Option<Target>,
    /// Write index.html of all models, and a report of each model with findings, into this directory
    #[arg(long, value_name = "DIR")]
    pub reports: Option<PathBuf>,
    /// Run this command, by `sh -c`, when the scan does not pass: its standard input is the JSON of the scan,
    /// $TENSORSEAL_VERDICT and $TENSORSEAL_SUMMARY tell the rest
    #[arg(long, value_name = "COMMAND")]
    pub notify: Option<String>,
    /// Ask for URL/start, and at the end for URL, or URL/fail when the scan does not pass
    #[arg(long, value_name = "URL", value_parser = values::ping)]
    pub ping: Option<String>,
}

/// How models are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    /// For people
    Human,
    /// For machines
    Json,
    /// For spreadsheets: an inventory
    Csv,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub remembering: StateArgs,
    /// List only models that are not ok
    #[arg(long)]
    pub problems: bool,
    /// What is printed on standard output
    #[arg(long, value_enum, default_value = "human")]
    pub format: ListFormat,
    /// Lowest severity that makes the command fail: info, low, medium, high, critical
    #[arg(long, value_name = "SEVERITY", default_value = "medium")]
    pub fail_on: Severity,
    /// Also write a page of all models
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// A model of this name.
#[derive(Debug, Args)]
pub(crate) struct ModelNameArgs {
    /// Its name, as `registry status` lists it
    pub model: String,
    /// The source it is in, where several have one of this name
    #[arg(long, value_name = "SOURCE")]
    pub source: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    #[command(flatten)]
    pub naming: ModelNameArgs,
    #[command(flatten)]
    pub remembering: StateArgs,
    /// What is printed on standard output
    #[arg(long, value_enum, default_value = "human")]
    pub format: crate::cli::args::OutputFormat,
}

#[derive(Debug, Args)]
pub(crate) struct AcceptArgs {
    #[command(flatten)]
    pub naming: ModelNameArgs,
    /// Why: it is kept for ever
    #[arg(long, value_name = "TEXT", value_parser = values::reason)]
    pub reason: String,
    /// Who accepts (default: the user of this process)
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
    #[command(flatten)]
    pub remembering: StateArgs,
    /// Wait for a scan that is at work with the same state
    #[arg(long)]
    pub wait_lock: bool,
}
