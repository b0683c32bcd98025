//! `registry accept`.

use super::args::AcceptArgs;
use super::{place, state_failure};
use crate::cli::{CommandResult, exit};
use crate::registry::state::{Database, StateError};
use crate::system::user_id;
use crate::verbs;
use std::io::Write;

/// Accepts what a model is now.
pub(super) fn run(args: &AcceptArgs) -> CommandResult {
    let path = place::state(&args.remembering)?;
    // One that is not there is not made for this.
    drop(Database::open_for_reading(&path).map_err(state_failure)?);
    let (database, _) = Database::open_for_writing(&path, args.wait_lock).map_err(state_failure)?;
    let source = place::source_of(&database, &args.naming)?;
    let model = database.model(&source, &args.naming.model).map_err(state_failure)?;
    let Some(model) = model else {
        let text = format!("{}: was accepted as gone", args.naming.model);
        return Err(state_failure(StateError::Unknown(text)));
    };
    let by = args.by.clone().unwrap_or_else(user);
    let now = verbs::now()?;
    let accepted = database.accept(&model, now, &by, &args.reason).map_err(state_failure)?;
    let what = match accepted.root {
        Some(root) => format!("root {root}"),
        None => "it is gone".to_owned(),
    };
    let was = accepted.was.name();
    let mut out = std::io::stdout().lock();
    let _ = writeln!(
        out,
        "accepted  {} (was {was}): {what}\n          by {by}: {}",
        model.name, args.reason
    );
    Ok(exit::PASS)
}

/// Who runs this, as far as the environment tells.
fn user() -> String {
    let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let id = || user_id().map_or("unknown".to_owned(), |number| format!("user {number}"));
    match (set("SUDO_USER"), set("USER").or_else(|| set("LOGNAME"))) {
        (Some(user), Some(other)) if user != other => format!("{user} (as {other})"),
        (Some(user), _) | (None, Some(user)) => user,
        (None, None) => id(),
    }
}
