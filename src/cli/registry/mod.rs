//! `registry`: models of registries, remembered from scan to scan.

mod accept;
pub mod args;
mod history;
mod notify;
pub mod place;
mod reports;
mod scan;
mod status;
mod values;

use super::args::General;
use super::{Failure, Outcome, exit};
use crate::registry::state::StateError;
use args::RegistryCommand;

/// Runs a command on registries.
pub fn run(command: &RegistryCommand, general: &General) -> Outcome {
    match command {
        RegistryCommand::Scan(args) => scan::run(args, general),
        RegistryCommand::Status(args) => status::run(args),
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
        StateError::Damaged { .. }
        | StateError::Newer { .. }
        | StateError::Full(_)
        | StateError::Io { .. }
        | StateError::Sql { .. } => exit::INCOMPLETE,
    };
    Failure { code, error: error.into() }
}
