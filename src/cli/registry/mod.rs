//! `registry`: models of registries, remembered from scan to scan.

mod accept;
pub(super) mod args;
mod history;
mod notify;
pub(super) mod place;
mod reports;
mod scan;
mod status;
mod values;

use super::args::General;
use super::{CommandResult, Failure, exit};
use args::RegistryCommand;
use tensorseal_registry::state::StateError;

/// Runs a command on registries.
pub(super) fn run(command: &RegistryCommand, general: &General) -> CommandResult {
    match command {
        RegistryCommand::Scan(args) => scan::run(args, general),
        RegistryCommand::Status(args) => status::run(args, general),
        RegistryCommand::History(args) => history::run(args),
        RegistryCommand::Accept(args) => accept::run(args, general),
    }
}

/// The exit code of a state that cannot be used.
fn state_failure(error: StateError) -> Failure {
    let code = match &error {
        StateError::Missing(_) | StateError::NotAcceptable(_) => exit::USAGE,
        StateError::Unknown(_) => exit::NOTHING,
        StateError::Locked { .. } => exit::LOCKED,
        // Damaged, newer, a full disk: the state could not be read or written.
        _ => exit::INCOMPLETE,
    };
    Failure { code, error: error.into() }
}
