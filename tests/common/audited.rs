//! The real model cut short, damaged in many ways, and audited.

use super::program::{arg, run};
use super::real_model::real_model;
use super::schema::validate;
use super::weights::{read, write_as};
use safetensors::tensor::Dtype;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// The tensor that is damaged in most ways.
pub(crate) const DENSE: &str = "encoder.layer.2.intermediate.dense.weight";

/// The real model with its vocabulary cut short, as BF16.
pub(crate) fn real(dir: &Path) -> PathBuf {
    let mut weights = read(&real_model().join("model.safetensors"));
    let words = weights.iter_mut().find(|w| w.name == "embeddings.word_embeddings.weight").unwrap();
    words.shape[0] = 4096;
    words.values.truncate(4096 * words.shape[1]);
    let path = dir.join("model.safetensors");
    write_as(&path, &weights, Dtype::BF16);
    path
}

/// Where a tensor's data begins in a file.
pub(crate) fn start_of(path: &Path, tensor: &str) -> usize {
    let bytes = fs::read(path).unwrap();
    let len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + len]).unwrap();
    8 + len + header[tensor]["data_offsets"][0].as_u64().unwrap() as usize
}

/// Damages a file in many ways at once.
pub(crate) fn damage(path: &Path) {
    let start = start_of(path, DENSE);
    let mut bytes = fs::read(path).unwrap();
    // The highest exponent bit of one value, a page of zeros, a page that occurs twice, a script.
    bytes[start + 100_001] ^= 0x40;
    let page = (start + 300_000).next_multiple_of(4096);
    bytes[page..page + 4096].fill(0);
    bytes.copy_within(page + 40_960..page + 45_056, page + 81_920);
    let query = start_of(path, "encoder.layer.3.attention.self.query.weight");
    for (at, bit) in script().iter().flat_map(|b| (0..8).map(move |i| b >> i & 1)).enumerate() {
        let element = &mut bytes[query + 2 * at];
        *element = *element & 0xFE | bit;
    }
    fs::write(path, bytes).unwrap();
}

/// What is hidden in low bits.
pub(crate) fn script() -> Vec<u8> {
    b"#!/bin/sh\n# a payload of some length\necho this is not run by anyone, it is only found\n"
        .repeat(50)
}

/// A report without what depends on the machine.
pub(crate) fn judged(path: &Path, options: &[&str]) -> (i32, Value) {
    let args = [&["audit", arg(path), "--format", "json", "--full"], options].concat();
    let ran = run(&args);
    let mut report: Value =
        serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{}", ran.stderr));
    validate("tensorseal.report.2", &report);
    assert!(report.as_object_mut().unwrap().remove("engine").is_some());
    (ran.code, report)
}
