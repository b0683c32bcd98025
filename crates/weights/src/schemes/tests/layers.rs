//! The layers of `testdata/schemes`, as files and as tensors that tests can change.

use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// Returns the names of the layers, which are directories.
pub(super) fn names() -> Vec<String> {
    let folders = std::fs::read_dir(tensorseal_testing::testdata("schemes")).unwrap();
    let layers = folders.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let mut names: Vec<String> = layers.map(name).collect();
    names.sort();
    names
}

/// Returns the path of a file of a layer.
pub(super) fn file(name: &str, file: &str) -> PathBuf {
    tensorseal_testing::testdata("schemes").join(name).join(file)
}

/// Copies a layer without its expected values, which are a separate model.
pub(super) fn copy(name: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for one in ["model.safetensors", "config.json"] {
        std::fs::copy(file(name, one), copy.path().join(one)).unwrap();
    }
    copy
}

/// A tensor of a file.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub name: String,
    pub dtype: String,
    pub shape: Vec<u64>,
    pub data: Vec<u8>,
}

impl Piece {
    /// Creates a tensor from bytes.
    pub(super) fn new(name: &str, dtype: &str, shape: &[u64], data: Vec<u8>) -> Self {
        Self { name: name.to_owned(), dtype: dtype.to_owned(), shape: shape.to_vec(), data }
    }

    /// Extends or shortens the data to the number of bytes that type and shape require.
    pub(super) fn fill(&mut self) {
        let bits = u64::from(self.dtype.parse::<super::Dtype>().unwrap().bits());
        let len = self.shape.iter().product::<u64>() * bits;
        // Rounds up shapes that are no whole number of bytes, which a file cannot have.
        self.data.resize(len.div_ceil(8) as usize, 0x5A);
    }
}

/// Returns the tensors of a layer.
pub(super) fn pieces(name: &str) -> Vec<Piece> {
    let bytes = std::fs::read(file(name, "model.safetensors")).unwrap();
    let (len, rest) = bytes.split_first_chunk().unwrap();
    let (header, data) = rest.split_at(u64::from_le_bytes(*len) as usize);
    let header: Map<String, Value> = serde_json::from_slice(header).unwrap();
    let tensors = header.iter().filter(|(name, _)| *name != "__metadata__");
    let piece = |(name, entry): (&String, &Value)| {
        let numbers =
            |key: &str| -> Vec<u64> { serde_json::from_value(entry[key].clone()).unwrap() };
        let place = numbers("data_offsets");
        Piece {
            name: name.clone(),
            dtype: entry["dtype"].as_str().unwrap().to_owned(),
            shape: numbers("shape"),
            data: data[place[0] as usize..place[1] as usize].to_vec(),
        }
    };
    tensors.map(piece).collect()
}

/// Writes tensors to a file.
pub(super) fn write(path: &Path, pieces: &[Piece], metadata: Option<Value>) {
    let mut header = Map::new();
    let mut data = Vec::new();
    for piece in pieces {
        let from = data.len();
        data.extend_from_slice(&piece.data);
        let entry =
            json!({"dtype": piece.dtype, "shape": piece.shape, "data_offsets": [from, data.len()]});
        header.insert(piece.name.clone(), entry);
    }
    if let Some(metadata) = metadata {
        header.insert("__metadata__".to_owned(), metadata);
    }
    let mut header = serde_json::to_vec(&header).unwrap();
    header.resize(header.len().next_multiple_of(8), b' ');
    let len = (header.len() as u64).to_le_bytes();
    replace(path, [&len[..], &header, &data].concat());
}

/// Writes a file that may exist. It is removed first, because some file systems sync files that are overwritten, which
/// is slow.
pub(super) fn replace(path: &Path, bytes: impl AsRef<[u8]>) {
    if path.exists() {
        std::fs::remove_file(path).unwrap();
    }
    std::fs::write(path, bytes).unwrap();
}
