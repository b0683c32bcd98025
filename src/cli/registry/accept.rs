//! `registry accept`.

use super::args::AcceptArgs;
use super::{place, state_failure};
use crate::cli::args::General;
use crate::cli::{CommandResult, exit};
use std::io::Write;
use tensorseal_base::system::user_id;
use tensorseal_core::verbs;
use tensorseal_registry::state::{Database, StateError};

/// Accepts the current content of a model.
pub(super) fn run(args: &AcceptArgs, general: &General) -> CommandResult {
    let path = place::state(&args.remembering)?;
    // A database that does not exist must not be created by this.
    drop(Database::open_for_reading(&path).map_err(state_failure)?);
    let (database, _) = Database::open_for_writing(&path, args.wait_lock).map_err(state_failure)?;
    let source = place::source_of(&database, &args.naming)?;
    let model = database.model(&source, &args.naming.model).map_err(state_failure)?;
    let Some(model) = model else {
        let text = format!("{}: already accepted as removed", args.naming.model);
        return Err(state_failure(StateError::Unknown(text)));
    };
    let by = args.by.clone().unwrap_or_else(user);
    let now = verbs::now()?;
    let accepted = database.accept(&model, now, &by, &args.reason).map_err(state_failure)?;
    let what = match accepted.root {
        Some(root) => format!("root {root}"),
        None => "removed from its source".to_owned(),
    };
    let was = accepted.was.name();
    if !general.quiet {
        let _ = writeln!(
            std::io::stdout(),
            "accepted  {} (was {was}): {what}\n          by {by}: {}",
            model.name,
            args.reason
        );
    }
    Ok(exit::PASS)
}

/// The name of the current user, from the environment.
fn user() -> String {
    let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let id = || user_id().map_or("unknown".to_owned(), |number| format!("user {number}"));
    match (set("SUDO_USER"), set("USER").or_else(|| set("LOGNAME"))) {
        (Some(user), Some(other)) if user != other => format!("{user} (as {other})"),
        (Some(user), _) | (None, Some(user)) => user,
        (None, None) => id(),
    }
}
