//! The command line. Each verb has a file, which turns arguments into a library call and prints the report.

mod args;
mod audit;
mod command;
mod compare;
mod completions;
mod config;
mod devices;
mod explain;
mod gate;
mod heading;
mod help;
mod inspect;
mod logging;
mod man;
mod mistakes;
mod named_files;
mod next_step;
mod output;
mod progress;
#[cfg(not(feature = "registry"))]
#[path = "no_registry.rs"]
mod registry;
#[cfg(feature = "registry")]
mod registry;
mod repair;
mod running;
mod seal;
mod shell;
mod signing;
mod verify;
mod watermark;

use clap::FromArgMatches;
use command::{Arguments, Command};
use config::ConfigFile;
use std::path::PathBuf;
use std::process::ExitCode;
use tensorseal_core::verbs::{Error, ErrorKind, open};
use tensorseal_engine::device::DeviceChoice;
use tensorseal_format::OpenError;

/// Exit codes, as documented by [`help`].
mod exit {
    /// Nothing at or above `--fail-on`.
    pub(super) const PASS: u8 = 0;
    /// Findings at or above `--fail-on`.
    pub(super) const FINDINGS: u8 = 1;
    /// Usage, configuration, device, or nothing to verify against.
    pub(super) const USAGE: u8 = 2;
    /// Could not be completed.
    pub(super) const INCOMPLETE: u8 = 3;
    /// Nothing matched.
    pub(super) const NOTHING: u8 = 4;
    /// Another process is using the same state database.
    #[cfg(feature = "registry")]
    pub(super) const LOCKED: u8 = 11;
    /// Interrupted.
    pub(super) const INTERRUPTED: u8 = 130;
}

/// An error that ends a command without a verdict, and its exit code.
#[derive(Debug)]
struct Failure {
    code: u8,
    error: anyhow::Error,
}

impl Failure {
    fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self { code: exit::USAGE, error: error.into() }
    }

    fn incomplete(error: impl Into<anyhow::Error>) -> Self {
        Self { code: exit::INCOMPLETE, error: error.into() }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match error.kind() {
            ErrorKind::Usage => exit::USAGE,
            ErrorKind::Nothing => exit::NOTHING,
            ErrorKind::Interrupted => exit::INTERRUPTED,
            // Fails closed: what is not known here could not be completed.
            _ => exit::INCOMPLETE,
        };
        Self { code, error: error.into() }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        Error::from(error).into()
    }
}

type CommandResult = Result<u8, Failure>;

/// The paths that a command takes as models.
fn models(command: &Command) -> Vec<&PathBuf> {
    let (model, other) = match command {
        Command::Seal(args) => (Some(&args.model), None),
        Command::Verify(args) => (Some(&args.model), None),
        Command::Sign(args) => (Some(&args.model), None),
        Command::Gate(args) => (args.model.as_ref(), args.baseline.as_ref()),
        Command::Audit(args) => (Some(&args.model), args.baseline.as_ref()),
        Command::Repair(args) => (Some(&args.model), None),
        Command::Inspect(args) => (Some(&args.model), None),
        Command::Compare(args) => (Some(&args.model), Some(&args.other)),
        Command::Watermark(command) => command.models(),
        Command::Registry(_)
        | Command::Devices(_)
        | Command::Explain(_)
        | Command::Completions(_)
        | Command::Man(_) => (None, None),
    };
    model.into_iter().chain(other).collect()
}

/// The compute device that a command measures on.
fn device(command: &Command) -> Option<&DeviceChoice> {
    let measuring = match command {
        Command::Seal(args) => &args.measuring,
        Command::Verify(args) => &args.measuring,
        Command::Sign(args) => &args.measuring,
        Command::Gate(args) => &args.measuring,
        Command::Audit(args) => &args.measuring,
        Command::Repair(args) => &args.measuring,
        Command::Compare(args) => &args.measuring,
        Command::Watermark(command) => command.measuring()?,
        Command::Registry(command) => command.measuring()?,
        _ => return None,
    };
    Some(&measuring.device)
}

/// Refuses directories that hold many models, before anything else is read.
fn refuse_caches(models: &[&PathBuf]) -> Result<(), Failure> {
    Ok(models.iter().try_for_each(|model| open::refuse_cache(model))?)
}

/// Parses the arguments of the process with the defaults of a configuration file, and starts the log.
fn arguments() -> Result<Arguments, Failure> {
    let parse = |command: clap::Command| {
        let named = command.clone();
        let parsed =
            command.try_get_matches().and_then(|matches| Arguments::from_arg_matches(&matches));
        parsed.unwrap_or_else(|error| mistakes::with_hints(error, &named).exit())
    };
    let mut arguments = parse(command::command());
    let file = ConfigFile::find(&arguments.general, &|name| std::env::var_os(name))?;
    if let Some(file) = &file {
        arguments = parse(file.apply(command::command()));
    }
    logging::start(arguments.general.verbose)?;
    match &file {
        Some(file) => tracing::debug!(file = %file.path().display(), "read the configuration file"),
        None => tracing::debug!("no configuration file"),
    }
    Ok(arguments)
}

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(failure) => {
            output::error(&failure.error);
            return ExitCode::from(failure.code);
        }
    };
    let general = &arguments.general;
    let models = models(&arguments.command);
    if let Some(device) = device(&arguments.command) {
        running::warn_of_software_device(device, general.quiet);
    }
    let checked = refuse_caches(&models).and_then(|()| named_files::require(&arguments.command));
    let outcome = checked.and_then(|()| match &arguments.command {
        Command::Seal(args) => seal::run(args, general),
        Command::Verify(args) => verify::run(args, general),
        Command::Sign(args) => signing::sign(args, general),
        Command::Gate(args) => gate::run(args, general),
        Command::Audit(args) => audit::run(args, general),
        Command::Repair(args) => repair::run(args, general),
        Command::Inspect(args) => inspect::run(args, general),
        Command::Compare(args) => compare::run(args, general),
        Command::Watermark(command) => watermark::run(command, general),
        Command::Registry(command) => registry::run(command, general),
        Command::Devices(args) => devices::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Completions(args) => completions::run(args),
        Command::Man(args) => man::run(args, general),
    });
    ExitCode::from(outcome.unwrap_or_else(|failure| {
        output::error(&failure.error);
        let reported = match &arguments.command {
            Command::Seal(args) => Some(("seal", &args.model, &args.common)),
            Command::Verify(args) => Some(("verify", &args.model, &args.common)),
            Command::Sign(args) => Some(("sign", &args.model, &args.common)),
            Command::Gate(args) => args.model.as_ref().map(|model| ("gate", model, &args.common)),
            Command::Audit(args) => Some(("audit", &args.model, &args.common)),
            Command::Repair(args) => Some(("repair", &args.model, &args.common)),
            Command::Inspect(args) => Some(("inspect", &args.model, &args.common)),
            Command::Compare(args) => Some(("compare", &args.model, &args.common)),
            Command::Watermark(command) => command.reported(),
            Command::Registry(_)
            | Command::Devices(_)
            | Command::Explain(_)
            | Command::Completions(_)
            | Command::Man(_) => None,
        };
        if let Some((command, model, common)) = reported {
            output::incomplete(command, model, common, &failure);
        }
        failure.code
    }))
}
