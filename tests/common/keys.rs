//! Keys of other schemes, and models that are marked with them, made by code.

use super::models::{Tensor, safetensors};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use tensorseal_core::watermark::third_party::ThirdPartyKey;
use tensorseal_format::{Checkpoint, OpenOptions};

/// An `.npy` array: NumPy's name of its type, its shape, its bytes.
#[derive(Debug, Clone)]
pub(crate) struct Npy {
    pub descr: String,
    pub shape: Vec<u64>,
    pub bytes: Vec<u8>,
}

impl Npy {
    pub(crate) fn new(descr: &str, shape: &[u64], bytes: Vec<u8>) -> Npy {
        Npy { descr: descr.to_owned(), shape: shape.to_vec(), bytes }
    }

    /// One that NumPy wrote into `testdata/watermark`.
    pub(crate) fn golden(path: &str) -> Npy {
        let file = tensorseal_testing::bytes(&format!("watermark/{path}"));
        let end = 10 + usize::from(u16::from_le_bytes([file[8], file[9]]));
        let text = std::str::from_utf8(&file[10..end]).unwrap();
        let between = |start: &str, end: &str| {
            let rest = &text[text.find(start).unwrap() + start.len()..];
            &rest[..rest.find(end).unwrap()]
        };
        let dimensions = between("'shape': (", ")").split(',').map(str::trim);
        let shape = dimensions.filter(|d| !d.is_empty()).map(|d| d.parse().unwrap()).collect();
        let descr = between("'descr': '", "'").to_owned();
        Npy { descr, shape, bytes: file[end..].to_vec() }
    }

    /// As a tensor of a safetensors file.
    pub(crate) fn tensor<'a>(&'a self, name: &'a str) -> Tensor<'a> {
        let dtype = match self.descr.as_str() {
            "|u1" => "U8",
            "|i1" => "I8",
            "<i4" => "I32",
            "<i8" => "I64",
            "<f4" => "F32",
            "<f8" => "F64",
            other => panic!("no name for {other}"),
        };
        (name, dtype, &self.shape, self.bytes.clone())
    }

    /// The file.
    pub(crate) fn file(&self) -> Vec<u8> {
        let shape: String = self.shape.iter().map(|d| format!("{d},")).collect();
        let text = format!(
            "{{'descr': '{}', 'fortran_order': False, 'shape': ({shape}), }}\n",
            self.descr
        );
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend((text.len() as u16).to_le_bytes());
        file.extend(text.bytes());
        file.extend(&self.bytes);
        file
    }
}

/// The directory of a key, and its descriptor.
pub(crate) struct KeyFiles {
    pub dir: tempfile::TempDir,
    pub descriptor: Value,
}

impl KeyFiles {
    /// Of this scheme, with these parts and arrays.
    pub(crate) fn new(scheme: &str, parts: Value, arrays: &[(&str, &Npy)]) -> KeyFiles {
        let dir = tempfile::tempdir().unwrap();
        for (name, array) in arrays {
            fs::write(dir.path().join(name), array.file()).unwrap();
        }
        let schema = "tensorseal.watermark-key/1";
        let descriptor =
            json!({ "schema": schema, "scheme": scheme, "note": "for the tests", "parts": parts });
        KeyFiles { dir, descriptor }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("key.json")
    }

    pub(crate) fn read(&self) -> ThirdPartyKey {
        fs::write(self.path(), self.descriptor.to_string()).unwrap();
        ThirdPartyKey::read(&self.path()).unwrap()
    }
}

/// A model of these tensors in a directory of its own.
pub(crate) struct Model {
    pub dir: tempfile::TempDir,
    /// As it was opened when it was made.
    pub checkpoint: Checkpoint,
}

impl Model {
    pub(crate) fn new(tensors: &[Tensor]) -> Model {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        fs::write(&path, safetensors(tensors)).unwrap();
        Model { checkpoint: open(&path), dir }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join(&self.checkpoint.files[0].path)
    }
}

fn open(path: &Path) -> Checkpoint {
    let model = Checkpoint::open(path, &OpenOptions::default()).unwrap();
    assert!(model.problems.is_empty(), "{:?}", model.problems);
    model
}
