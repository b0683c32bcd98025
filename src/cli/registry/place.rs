//! Where the state database is, and which model an argument names.

use super::args::{ModelNameArgs, StateArgs};
use super::state_failure;
use crate::cli::Failure;
use anyhow::anyhow;
use std::env::var_os;
use std::path::{Path, PathBuf};
use tensorseal_registry::state::{Database, StateError};

/// The path of the state database: the one that is given, or the default.
pub(crate) fn state(remembering: &StateArgs) -> Result<PathBuf, Failure> {
    of(remembering.state.as_deref())
}

/// As [`state`], from the value of the option.
pub(crate) fn of(named: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    let set = |name| var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    // systemd gives a list where a unit has several.
    let of_unit = set("STATE_DIRECTORY").and_then(|list| {
        Some(PathBuf::from(list.to_str()?.split(':').next()?).join("tensorseal.db"))
    });
    let home = || set("HOME").map(|home| home.join(".local/state"));
    let of_user =
        || set("XDG_STATE_HOME").or_else(home).map(|dir| dir.join("tensorseal/registry.db"));
    of_unit.or_else(of_user).ok_or_else(|| {
        Failure::usage(anyhow!(
            "there is no home directory for the state database; give its path with --state"
        ))
    })
}

/// The source of the model that an argument names.
pub(crate) fn source_of(database: &Database, naming: &ModelNameArgs) -> Result<String, Failure> {
    let sources = database.sources_of(&naming.model).map_err(state_failure)?;
    let named = naming.source.as_deref().map(source_name);
    let wanted = |source: &&String| named.as_ref().is_none_or(|named| named == *source);
    let mut found = sources.iter().filter(wanted);
    let unknown =
        |why: String| Err(state_failure(StateError::Unknown(format!("{}: {why}", naming.model))));
    match (found.next(), found.next(), named) {
        (Some(source), None, _) => Ok(source.clone()),
        (Some(_), Some(_), _) => Err(Failure::usage(anyhow!(
            "{} is in several sources; choose one with --source: {}",
            naming.model,
            sources.join(", ")
        ))),
        (None, _, Some(named)) if !sources.is_empty() => {
            unknown(format!("no model with this name in {named}, only in {}", sources.join(", ")))
        }
        (None, _, named) => {
            let place = named.map(|named| format!(" in {named}")).unwrap_or_default();
            unknown(format!(
                "no model with this name{place}: list the models with `tensorseal registry status`"
            ))
        }
    }
}

/// Returns the name under which a source is recorded: a path is made absolute, as by a scan.
fn source_name(named: &str) -> String {
    let path = named.strip_prefix("file://").unwrap_or(named);
    let resolved = match path.contains("://") {
        true => None,
        false => path.parse::<PathBuf>().ok().and_then(|path| path.canonicalize().ok()),
    };
    let resolved = resolved.and_then(|path| path.into_os_string().into_string().ok());
    resolved.unwrap_or_else(|| named.to_owned())
}
