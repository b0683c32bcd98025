//! For tests only: where the data of the repository lies. It knows nothing of tensorseal, so that every crate can
//! use it; it panics, as tests do.

use serde::de::DeserializeOwned;
use std::fs;
use std::path::{Path, PathBuf};

/// The folder of the workspace.
pub fn workspace() -> PathBuf {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    crates.and_then(Path::parent).expect("this crate lies in crates/").to_owned()
}

/// A file or folder of `testdata/`.
pub fn testdata(path: &str) -> PathBuf {
    workspace().join("testdata").join(path)
}

/// The bytes of a file of `testdata/`.
pub fn bytes(path: &str) -> Vec<u8> {
    read(&testdata(path))
}

/// A JSON file of `testdata/`.
pub fn json<T: DeserializeOwned>(path: &str) -> T {
    serde_json::from_slice(&bytes(path)).unwrap_or_else(|error| panic!("testdata/{path}: {error}"))
}

/// The JSON schema that is published under this name in `docs/schema/`.
pub fn schema(name: &str) -> serde_json::Value {
    let path = workspace().join("docs/schema").join(format!("{name}.schema.json"));
    serde_json::from_slice(&read(&path)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
