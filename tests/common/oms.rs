//! Keys, certificates, models and signatures that others made: `testdata/oms`.

use super::arg;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The fixtures: keys, certificates, models and the bundles of them.
pub struct Fixtures(TempDir);

/// Unpacks them into a directory.
pub fn unpack(dir: &Path) {
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/oms/fixtures.tar.gz");
    let unpacked = Command::new("tar")
        .args(["-xzf", arg(&archive), "-C", arg(dir), "--warning=no-unknown-keyword"])
        .status();
    assert!(unpacked.unwrap().success());
}

impl Fixtures {
    /// Unpacks them.
    pub fn new() -> Self {
        let dir = TempDir::new().unwrap();
        unpack(dir.path());
        Self(dir)
    }

    /// A copy of them all, and of what was made beside them.
    pub fn again(&self) -> Self {
        let dir = TempDir::new().unwrap();
        let all = format!("{}/.", self.0.path().display());
        let copied = Command::new("cp").args(["-a", &all, arg(dir.path())]).status();
        assert!(copied.unwrap().success());
        Self(dir)
    }

    /// The path of one of them.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.0.path().join(relative)
    }

    /// A copy of a model that may be changed.
    pub fn copy(&self, model: &str) -> PathBuf {
        let copy = self.path(&format!("copy-of-{model}"));
        let copied = Command::new("cp")
            .args(["-a", arg(&self.path("models").join(model)), arg(&copy)])
            .status();
        assert!(copied.unwrap().success());
        copy
    }
}
