//! Small models made by code.

use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// A tensor to be written: name, dtype, shape, bytes.
pub(crate) type Tensor<'a> = (&'a str, &'a str, &'a [u64], Vec<u8>);

/// Bytes that look like nothing in particular, the same for the same seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// The text of a header, with the tensors laid out in the order given.
pub(crate) fn header(tensors: &[Tensor], metadata: Option<Value>) -> String {
    let mut members = Vec::new();
    if let Some(metadata) = metadata {
        members.push(format!("\"__metadata__\":{metadata}"));
    }
    let mut offset = 0;
    for (name, dtype, shape, bytes) in tensors {
        let end = offset + bytes.len();
        let entry = json!({"dtype": dtype, "shape": shape, "data_offsets": [offset, end]});
        members.push(format!("{}:{entry}", Value::from(*name)));
        offset = end;
    }
    let mut text = format!("{{{}}}", members.join(","));
    // Eight spaces at least, so that tests have padding to damage.
    text.push_str(&" ".repeat(8 + (8 - text.len() % 8) % 8));
    text
}

/// A safetensors file with this header text and this data.
pub(crate) fn file_of(header: &str, data: &[u8]) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.extend_from_slice(data);
    file
}

/// A safetensors file.
pub(crate) fn safetensors(tensors: &[Tensor]) -> Vec<u8> {
    let data: Vec<u8> = tensors.iter().flat_map(|tensor| tensor.3.clone()).collect();
    file_of(&header(tensors, Some(json!({"format": "pt"}))), &data)
}

/// A model directory: `model.safetensors`, `config.json` and an empty file.
pub(crate) fn write_model(directory: &Path, tensors: &[Tensor]) -> PathBuf {
    fs::create_dir_all(directory).unwrap();
    fs::write(directory.join("config.json"), "{\"model_type\": \"test\"}\n").unwrap();
    fs::write(directory.join("empty.txt"), "").unwrap();
    fs::write(directory.join("model.safetensors"), safetensors(tensors)).unwrap();
    directory.to_owned()
}
