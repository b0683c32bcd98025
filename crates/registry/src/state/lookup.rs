//! Looks up the record of the model at a local path.

use super::{Database, StateError};
use std::path::{Path, PathBuf};
use tensorseal_core::record::ModelRecord;
use tensorseal_core::verbs::gate::{RegisteredModel, RegistryLookup};

/// A state database that is opened when a gate needs it.
#[derive(Debug, Clone)]
pub struct StateFile {
    /// The path of the database, or the reason why it is unknown.
    pub path: Result<PathBuf, String>,
}

impl RegistryLookup for StateFile {
    fn lookup(&self, model: &Path) -> Result<Option<RegisteredModel>, String> {
        let message = |error: StateError| error.to_string();
        let database = Database::open_for_reading(self.path.as_ref()?).map_err(message)?;
        let path = model.canonicalize().map_err(|error| error.to_string())?;
        let Some(record) = find_model(&database, &path).map_err(message)? else { return Ok(None) };
        let stored = database.stored_model(&record.source, &record.name).map_err(message)?;
        let baseline =
            stored.map(|stored| database.baseline(stored.id)).transpose().map_err(message)?;
        let accepted = baseline.flatten().map(|baseline| baseline.seal);
        Ok(Some(RegisteredModel { record, accepted }))
    }
}

/// Finds the model at a path in the sources that are directories above it.
fn find_model(database: &Database, path: &Path) -> Result<Option<ModelRecord>, StateError> {
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

/// Returns the repository and commit of a snapshot in a Hugging Face cache.
fn snapshot(below: &str) -> Option<(String, &str)> {
    let (directory, commit) = below.split_once("/snapshots/")?;
    let id = directory.strip_prefix("models--").filter(|id| !id.contains('/'))?;
    (!commit.contains('/')).then(|| (id.replace("--", "/"), commit))
}
