//! Test helpers that read the test data of the repository. They depend on no other tensorseal crate, so that every
//! crate can use them.

// Whatever is not there or cannot be read is a test that fails.
#![allow(clippy::missing_panics_doc)]

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

/// Writes a model of one tensor, `layer.weight` of 32 rows and 32 columns, into a new directory of `parent`.
pub fn small_model(parent: &Path) -> PathBuf {
    let header =
        br#"{"layer.weight":{"dtype":"F32","shape":[32,32],"data_offsets":[0,4096]}}        "#;
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    // A linear congruential generator: values between -0.5 and 0.5.
    let mut state = 1u32;
    file.extend((0..1024).flat_map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state as f32 / u32::MAX as f32 - 0.5).to_le_bytes()
    }));
    let model = parent.join("model");
    let write = |name: &str, bytes: &[u8]| fs::write(model.join(name), bytes);
    fs::create_dir(&model)
        .and_then(|()| write("model.safetensors", &file))
        .and_then(|()| write("config.json", b"{}\n"))
        .unwrap_or_else(|error| panic!("{}: {error}", model.display()));
    model
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
