//! What a state knows of the model at a path of this machine.

use super::{Database, StateError};
use std::path::{Path, PathBuf};
use tensorseal_core::record::ModelRecord;
use tensorseal_core::verbs::gate::{RegisteredModel, RegistryLookup};

/// A state that is read when a gate asks for it.
#[derive(Debug, Clone)]
pub struct StateFile {
    /// The database, or why nobody knows where it is.
    pub path: Result<PathBuf, String>,
}

impl RegistryLookup for StateFile {
    fn lookup(&self, model: &Path) -> Result<Option<RegisteredModel>, String> {
        let told = |error: StateError| error.to_string();
        let database = Database::open_for_reading(self.path.as_ref()?).map_err(told)?;
        let path = model.canonicalize().map_err(|error| error.to_string())?;
        let Some(record) = find_model(&database, &path).map_err(told)? else { return Ok(None) };
        let known = database.stored_model(&record.source, &record.name).map_err(told)?;
        let baseline = known.map(|known| database.baseline(known.id)).transpose().map_err(told)?;
        let accepted = baseline.flatten().map(|baseline| baseline.seal);
        Ok(Some(RegisteredModel { record, accepted }))
    }
}

/// The model at a path, by the directory that was scanned: any that it lies in.
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

/// The repository and the commit of a snapshot in a Hugging Face cache.
fn snapshot(below: &str) -> Option<(String, &str)> {
    let (directory, commit) = below.split_once("/snapshots/")?;
    let id = directory.strip_prefix("models--").filter(|id| !id.contains('/'))?;
    (!commit.contains('/')).then(|| (id.replace("--", "/"), commit))
}
