//! What a run reads: at its end all of it must be what it was at its start.

use super::locations;
use std::fs;
use std::path::{Path, PathBuf};
use tensorseal_format::{Checkpoint, FileIdentity, OpenError};

/// The seals and signatures that a run reads besides models, and what it writes before it ends.
#[derive(Debug, Default)]
pub struct RunInputs {
    files: Vec<(PathBuf, Option<FileIdentity>)>,
    own: Vec<PathBuf>,
}

impl RunInputs {
    /// A file that is about to be read. One that is not there must not come, either.
    pub fn record(&mut self, path: &Path) {
        self.files.push((path.to_owned(), identity(path)));
    }

    /// A file or directory that the run itself made: it may lie in a model, and is no part of it.
    pub fn record_output(&mut self, path: &Path) {
        self.own.push(path.to_owned());
    }

    /// Refuses to go on when anything that was read changed since: after the last byte was read, and before
    /// anything is written or told.
    ///
    /// # Errors
    /// [`OpenError::ChangedDuringRun`], with the first that differs; others, where it cannot be looked at any more.
    pub fn check_unchanged(&self, models: &[&Checkpoint]) -> Result<(), OpenError> {
        for model in models {
            let inside = |path: &PathBuf| locations::relative(&model.path, path);
            let own: Vec<String> = self.own.iter().filter_map(inside).collect();
            model.verify_unchanged(&own)?;
        }
        self.files.iter().try_for_each(|(path, before)| {
            let what = match (before, identity(path)) {
                (None, None) => None,
                (None, Some(_)) => Some("it was added"),
                (Some(_), None) => Some("it is gone"),
                (Some(before), Some(now)) => before.difference(&now),
            };
            let unsettled = |what| Err(OpenError::ChangedDuringRun { path: path.clone(), what });
            what.map_or(Ok(()), unsettled)
        })
    }
}

/// By its path: what it leads to counts.
fn identity(path: &Path) -> Option<FileIdentity> {
    fs::metadata(path).ok().map(|metadata| FileIdentity::of(&metadata))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_read_is_the_same_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seal.json");
        let noted = || {
            let mut inputs = RunInputs::default();
            inputs.record(&path);
            inputs
        };
        let said =
            |inputs: &RunInputs| inputs.check_unchanged(&[]).map_err(|error| error.to_string());
        let absent = noted();
        assert_eq!(said(&absent), Ok(()));
        fs::write(&path, "a").unwrap();
        assert!(said(&absent).unwrap_err().contains("(it was added)"));
        let there = noted();
        assert_eq!(said(&there), Ok(()));
        fs::write(dir.path().join("other"), "a").unwrap();
        fs::rename(dir.path().join("other"), &path).unwrap();
        assert!(said(&there).unwrap_err().contains("(another file took its place)"));
        fs::remove_file(&path).unwrap();
        assert!(said(&there).unwrap_err().contains("(it is gone)"));
    }
}
