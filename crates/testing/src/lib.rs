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
