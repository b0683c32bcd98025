//! `registry` in a build without it.

use super::{CommandResult, Failure};
use crate::checkpoint::display_name;
use anyhow::anyhow;
use args::RegistryCommand;

/// Arguments of `registry`.
pub mod args {
    use clap::Subcommand;
    use std::ffi::OsString;

    /// Nothing is known of them.
    #[derive(Debug, Subcommand)]
    pub enum RegistryCommand {
        /// Any, with its arguments.
        #[command(external_subcommand)]
        Any(Vec<OsString>),
    }
}

/// Refuses the command.
pub fn run(RegistryCommand::Any(words): &RegistryCommand) -> CommandResult {
    let command = words.first().map(|word| word.to_string_lossy()).unwrap_or_default();
    Err(Failure::usage(anyhow!(
        "registry {}: this build of tensorseal has no registries; build it with the feature registry",
        display_name(&command)
    )))
}
