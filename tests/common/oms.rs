//! Keys, certificates, models and signatures that others made: `testdata/oms`.

use super::program::arg;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The fixtures: keys, certificates, models and the bundles of them.
pub struct Fixtures(pub(super) TempDir);

impl Fixtures {
    /// Unpacks them.
    pub fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/oms/fixtures.tar.gz");
        let unpacked = Command::new("tar")
            .args(["-xzf", arg(&archive), "-C", arg(dir.path()), "--warning=no-unknown-keyword"])
            .status();
        assert!(unpacked.unwrap().success());
        Self(dir)
    }

    /// The path of one of them.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.0.path().join(relative)
    }
}
