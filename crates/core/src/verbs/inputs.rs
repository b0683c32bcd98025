//! Records the inputs of a run, to check at its end that they are unchanged.

use super::locations;
use std::fs;
use std::path::{Path, PathBuf};
use tensorseal_format::{Checkpoint, FileIdentity, OpenError};

/// The seals, signatures and other files that a run reads besides models, and its outputs inside a model.
#[derive(Debug, Default)]
pub struct RunInputs {
    files: Vec<(PathBuf, Option<FileIdentity>)>,
    outputs: Vec<PathBuf>,
}

impl RunInputs {
    /// Records a file that is about to be read. A missing file must not appear during the run, either.
    pub fn record(&mut self, path: &Path) {
        self.files.push((path.to_owned(), identity(path)));
    }

    /// Records a file or directory that the run itself creates: it may be inside a model without being part of it.
    pub fn record_output(&mut self, path: &Path) {
        self.outputs.push(path.to_owned());
    }

    /// Checks that all inputs are unchanged, after the last byte was read and before anything is written or reported.
    ///
    /// # Errors
    /// Returns [`OpenError::ChangedDuringRun`] for the first input that differs, or another error if an input cannot be
    /// checked any more.
    pub fn check_unchanged(&self, models: &[&Checkpoint]) -> Result<(), OpenError> {
        for model in models {
            let inside = |path: &PathBuf| locations::relative(&model.path, path);
            let outputs: Vec<String> = self.outputs.iter().filter_map(inside).collect();
            model.verify_unchanged(&outputs)?;
        }
        self.files.iter().try_for_each(|(path, before)| {
            let what = match (before, identity(path)) {
                (None, None) => None,
                (None, Some(_)) => Some("it was added"),
                (Some(_), None) => Some("it is gone"),
                (Some(before), Some(now)) => before.difference(&now),
            };
            let changed = |what| Err(OpenError::ChangedDuringRun { path: path.clone(), what });
            what.map_or(Ok(()), changed)
        })
    }
}

/// Returns the identity of the file that a path leads to.
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
        let recorded = || {
            let mut inputs = RunInputs::default();
            inputs.record(&path);
            inputs
        };
        let check =
            |inputs: &RunInputs| inputs.check_unchanged(&[]).map_err(|error| error.to_string());
        let absent = recorded();
        assert_eq!(check(&absent), Ok(()));
        fs::write(&path, "a").unwrap();
        assert!(check(&absent).unwrap_err().contains("(it was added)"));
        let present = recorded();
        assert_eq!(check(&present), Ok(()));
        fs::write(dir.path().join("other"), "a").unwrap();
        fs::rename(dir.path().join("other"), &path).unwrap();
        assert!(check(&present).unwrap_err().contains("(another file took its place)"));
        fs::remove_file(&path).unwrap();
        assert!(check(&present).unwrap_err().contains("(it is gone)"));
    }
}
