//! What scans of registries recorded of the model of a gate.

use crate::cli::registry::place;
use std::path::Path;
use tensorseal::policy::gate::{Looked, ScanRecord};
use tensorseal::registry::record::ModelRecord;
use tensorseal::registry::state::{Database, StateError};

/// What the state says of the model at `path`. Whatever is wrong with the state is a reason not to know.
pub fn recorded(path: &Path, state: Option<&Path>) -> Looked<Option<ScanRecord>> {
    let found = || -> Result<Option<ModelRecord>, String> {
        let place = place::of(state).map_err(|failure| failure.error.to_string())?;
        let told = |error: StateError| error.to_string();
        let database = Database::read_from(&place).map_err(told)?;
        let path = path.canonicalize().map_err(|error| error.to_string())?;
        in_source(&database, &path).map_err(told)
    };
    let record = |model: ModelRecord| ScanRecord {
        state: model.state,
        detail: model.detail,
        root: model.root,
        last_deep_check: model.last_deep_check,
    };
    match found() {
        Ok(found) => Looked::At(found.map(record)),
        Err(why) => Looked::Not(why),
    }
}

/// The model at a path, by the directory that was scanned: any that it lies in.
fn in_source(database: &Database, path: &Path) -> Result<Option<ModelRecord>, StateError> {
    for source in path.ancestors() {
        let (Some(name), Ok(below)) = (source.to_str(), path.strip_prefix(source)) else {
            continue;
        };
        let Some(below) = below.to_str() else { continue };
        let model = if below.is_empty() { "." } else { below };
        if let Some(found) = database.model(name, model)? {
            return Ok(Some(found));
        }
        if let Some((repository, commit)) = snapshot(below)
            && let Some(found) = database.model_of_version(name, &repository, commit)?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The repository and the commit of a snapshot in a Hugging Face cache.
fn snapshot(below: &str) -> Option<(String, &str)> {
    let (directory, commit) = below.split_once("/snapshots/")?;
    let id = directory.strip_prefix("models--").filter(|id| !id.contains('/'))?;
    (!commit.contains('/')).then(|| (id.replace("--", "/"), commit))
}
