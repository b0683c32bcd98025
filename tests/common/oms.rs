//! Keys, certificates, models and signatures that others made: `testdata/oms`.

use super::program::arg;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The fixtures: keys, certificates, models and the bundles of them.
pub(crate) struct Fixtures(pub(super) TempDir);

/// Unpacks them into a directory.
pub(crate) fn unpack(dir: &Path) {
    let archive = tensorseal_testing::testdata("oms/fixtures.tar.gz");
    let unpacked = Command::new("tar")
        .args(["-xzf", arg(&archive), "-C", arg(dir), "--warning=no-unknown-keyword"])
        .status();
    assert!(unpacked.unwrap().success());
}

impl Fixtures {
    /// Unpacks them.
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        unpack(dir.path());
        Self(dir)
    }

    /// The path of one of them.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.0.path().join(relative)
    }
}
