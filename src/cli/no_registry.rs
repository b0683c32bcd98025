//! `registry` in a build without it.

use self::args::RegistryCommand;
use super::args::General;
use super::{CommandResult, Failure};
use anyhow::anyhow;
use tensorseal_format::display_name;

/// Arguments of `registry`.
pub(super) mod args {
    use crate::cli::args::MeasurementArgs;
    use clap::Subcommand;
    use std::ffi::OsString;

    /// Any subcommand; none is supported.
    #[derive(Debug, Subcommand)]
    pub(crate) enum RegistryCommand {
        /// A subcommand and its arguments.
        #[command(external_subcommand)]
        Any(Vec<OsString>),
    }

    impl RegistryCommand {
        /// How models are measured: nothing is.
        pub(crate) fn measuring(&self) -> Option<&MeasurementArgs> {
            None
        }
    }
}

/// Refuses the command.
pub(super) fn run(RegistryCommand::Any(words): &RegistryCommand, _: &General) -> CommandResult {
    let command = words.first().map(|word| word.to_string_lossy()).unwrap_or_default();
    Err(Failure::usage(anyhow!(
        "registry {}: not supported by this build; build tensorseal with the feature `registry`",
        display_name(&command)
    )))
}
