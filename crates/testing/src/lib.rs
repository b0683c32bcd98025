//! Test helpers that read the test data of the repository. They depend on no other tensorseal crate, so that every
//! crate can use them.

use serde::de::DeserializeOwned;
use std::fs;
use std::path::{Path, PathBuf};

/// The root directory of the workspace.
///
/// # Panics
/// Panics if this crate does not lie in `crates/`.
pub fn workspace() -> PathBuf {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    crates.and_then(Path::parent).expect("this crate lies in crates/").to_owned()
}

/// The path of a file or directory in `testdata/`.
pub fn testdata(path: &str) -> PathBuf {
    workspace().join("testdata").join(path)
}

/// Reads a file in `testdata/`.
///
/// # Panics
/// Panics if the file cannot be read.
pub fn bytes(path: &str) -> Vec<u8> {
    read(&testdata(path))
}

/// Parses a JSON file in `testdata/`.
///
/// # Panics
/// Panics if the file cannot be read or parsed.
pub fn json<T: DeserializeOwned>(path: &str) -> T {
    serde_json::from_slice(&bytes(path)).unwrap_or_else(|error| panic!("testdata/{path}: {error}"))
}

/// Parses the JSON schema `docs/schema/NAME.schema.json`.
///
/// # Panics
/// Panics if the schema cannot be read or parsed.
pub fn schema(name: &str) -> serde_json::Value {
    let path = workspace().join("docs/schema").join(format!("{name}.schema.json"));
    serde_json::from_slice(&read(&path)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
