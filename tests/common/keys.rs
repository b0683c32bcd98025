//! Keys of other schemes, and models that are marked with them, made by code.

#![allow(dead_code)] // each test file uses its part

use crate::common::{Tensor, safetensors};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use tensorseal::checkpoint::{Checkpoint, OpenOptions};
use tensorseal::judge::third_party::{Context, judge};
use tensorseal::judge::watermark::Detection;
use tensorseal::stream::progress::Progress;
use tensorseal::watermark::third_party::{
    ThirdPartyError, ThirdPartyKey, ThirdPartyKeyError, ThirdPartyMeasured, measure,
};

/// An `.npy` array: NumPy's name of its type, its shape, its bytes.
#[derive(Debug, Clone)]
pub struct Npy {
    pub descr: String,
    pub shape: Vec<u64>,
    pub bytes: Vec<u8>,
}

impl Npy {
    pub fn new(descr: &str, shape: &[u64], bytes: Vec<u8>) -> Npy {
        Npy { descr: descr.to_owned(), shape: shape.to_vec(), bytes }
    }

    pub fn bytes(values: &[u8]) -> Npy {
        Npy::new("|u1", &[values.len() as u64], values.to_vec())
    }

    pub fn signs(values: &[i8]) -> Npy {
        let bytes = values.iter().map(|sign| *sign as u8).collect();
        Npy::new("|i1", &[values.len() as u64], bytes)
    }

    pub fn floats(shape: &[u64], values: &[f32]) -> Npy {
        Npy::new("<f4", shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    pub fn integers(values: &[i64]) -> Npy {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Npy::new("<i8", &[values.len() as u64], bytes)
    }

    /// One that NumPy wrote into `testdata/watermark`.
    pub fn golden(path: &str) -> Npy {
        let path = format!("{}/testdata/watermark/{path}", env!("CARGO_MANIFEST_DIR"));
        let file = fs::read(path).unwrap();
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

    /// As 32-bit floats.
    pub fn as_floats(&self) -> Vec<f32> {
        assert_eq!(self.descr, "<f4");
        self.bytes.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    }

    /// As a tensor of a safetensors file.
    pub fn tensor<'a>(&'a self, name: &'a str) -> Tensor<'a> {
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
    pub fn file(&self) -> Vec<u8> {
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
pub struct KeyFiles {
    pub dir: tempfile::TempDir,
    pub descriptor: Value,
}

impl KeyFiles {
    /// Of this scheme, with these parts and arrays.
    pub fn new(scheme: &str, parts: Value, arrays: &[(&str, &Npy)]) -> KeyFiles {
        let dir = tempfile::tempdir().unwrap();
        for (name, array) in arrays {
            fs::write(dir.path().join(name), array.file()).unwrap();
        }
        let schema = "tensorseal.watermark-key/1";
        let descriptor =
            json!({ "schema": schema, "scheme": scheme, "note": "for the tests", "parts": parts });
        KeyFiles { dir, descriptor }
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("key.json")
    }

    pub fn try_read(&self) -> Result<ThirdPartyKey, ThirdPartyKeyError> {
        fs::write(self.path(), self.descriptor.to_string()).unwrap();
        ThirdPartyKey::read(&self.path())
    }

    pub fn read(&self) -> ThirdPartyKey {
        self.try_read().unwrap()
    }

    /// Why it is refused.
    pub fn refusal(&self) -> String {
        self.try_read().unwrap_err().to_string()
    }
}

/// A model of these tensors in a directory of its own.
pub struct Model {
    pub dir: tempfile::TempDir,
    pub checkpoint: Checkpoint,
}

impl Model {
    pub fn new(tensors: &[Tensor]) -> Model {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        fs::write(&path, safetensors(tensors)).unwrap();
        Model { checkpoint: open(&path), dir }
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("model.safetensors")
    }

    pub fn measure(&self, key: &ThirdPartyKey) -> Result<ThirdPartyMeasured, ThirdPartyError> {
        measure(&self.checkpoint, key, &2.into(), &Progress::default())
    }

    /// What is said of it with one key.
    pub fn judge(&self, key: &ThirdPartyKey) -> Detection {
        let context = Context { keys: 1, committed: false };
        judge(key.id(), &self.measure(key).unwrap(), &context)
    }
}

pub fn open(path: &Path) -> Checkpoint {
    let model = Checkpoint::open(path, &OpenOptions::default()).unwrap();
    assert!(model.problems.is_empty(), "{:?}", model.problems);
    model
}
