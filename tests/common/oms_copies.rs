//! Copies of what others made, to be changed.

use super::oms::Fixtures;
use super::program::arg;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

impl Fixtures {
    /// A copy of them all, and of what was made beside them.
    pub(crate) fn again(&self) -> Self {
        let dir = TempDir::new().unwrap();
        let all = format!("{}/.", self.0.path().display());
        let copied = Command::new("cp").args(["-a", &all, arg(dir.path())]).status();
        assert!(copied.unwrap().success());
        Self(dir)
    }

    /// A copy of a model that may be changed.
    pub(crate) fn copy(&self, model: &str) -> PathBuf {
        let copy = self.path(&format!("copy-of-{model}"));
        let copied = Command::new("cp")
            .args(["-a", arg(&self.path("models").join(model)), arg(&copy)])
            .status();
        assert!(copied.unwrap().success());
        copy
    }
}
