//! Models that the runs are of: fixtures, made weights, and changes to either.

use crate::common::attacks::victim::Float;
use crate::common::*;
use half::{bf16, f16};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Paths below a model, and bytes.
pub(super) type Files = Vec<(&'static str, Vec<u8>)>;

pub(super) use tensorseal_testing::testdata;

/// The names in a directory of fixtures that have one of these endings; the empty one is that of directories.
pub(super) fn fixtures(directory: &str, endings: &[&str]) -> Vec<String> {
    let entries = fs::read_dir(testdata(directory)).unwrap().map(|entry| entry.unwrap());
    let fits = |entry: &fs::DirEntry| {
        let path = entry.path();
        let ending = path.extension().map_or("", |ending| ending.to_str().unwrap());
        endings.contains(&ending) && (path.is_dir() || !ending.is_empty())
    };
    let mut names: Vec<String> =
        entries.filter(fits).map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    assert!(!names.is_empty(), "{directory}");
    names
}

/// Copies fixtures into a directory, which is made.
pub(super) fn copy(dir: &Path, files: &[String]) -> PathBuf {
    fs::create_dir_all(dir).unwrap();
    for file in files {
        let from = testdata(file);
        fs::write(dir.join(from.file_name().unwrap()), fs::read(&from).unwrap()).unwrap();
    }
    dir.to_owned()
}

/// A model of one fixture, given as a file.
pub(super) fn fixture(file: String) -> impl Fn(&Path) -> PathBuf + Send + Sync + 'static {
    move |dir| {
        let name = file.rsplit('/').next().unwrap();
        copy(&dir.join("model"), std::slice::from_ref(&file)).join(name)
    }
}

/// Values of the shape of weights, by sums of integers: no function whose last bit the platform chooses.
pub(super) fn bell(seed: u64, len: usize) -> Vec<f32> {
    let value = |drawn: &[u8; 16]| {
        let sum: i64 =
            drawn.as_chunks().0.iter().map(|four| i64::from(u32::from_le_bytes(*four))).sum();
        (sum - (1 << 33)) as f32 * (0.02 / (1u64 << 32) as f32)
    };
    noise(seed, 16 * len).as_chunks().0.iter().map(value).collect()
}

pub(super) fn encoded(values: &[f32], float: Float) -> Vec<u8> {
    match float {
        Float::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Float::F16 => values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect(),
        Float::BF16 => values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect(),
    }
}

/// The tensor that is attacked, and another of its kind.
pub(super) const UP: [&str; 2] =
    ["model.layers.2.mlp.up_proj.weight", "model.layers.3.mlp.up_proj.weight"];

/// The tensors of a small decoder, 800,000 weights.
pub(super) fn decoder(float: Float) -> Vec<Tensor<'static>> {
    static MADE: [OnceLock<Vec<Tensor<'static>>>; 3] = [const { OnceLock::new() }; 3];
    MADE[float as usize].get_or_init(|| made_decoder(float)).clone()
}

fn made_decoder(float: Float) -> Vec<Tensor<'static>> {
    const NAMES: [[&str; 2]; 4] = [
        ["model.layers.0.mlp.up_proj.weight", "model.layers.0.self_attn.q_proj.weight"],
        ["model.layers.1.mlp.up_proj.weight", "model.layers.1.self_attn.q_proj.weight"],
        [UP[0], "model.layers.2.self_attn.q_proj.weight"],
        [UP[1], "model.layers.3.self_attn.q_proj.weight"],
    ];
    let mut tensors: Vec<Tensor> = vec![(
        "model.embed_tokens.weight",
        float.name(),
        &[512, 256],
        encoded(&bell(1, 512 * 256), float),
    )];
    for (layer, [up, q]) in NAMES.into_iter().enumerate() {
        let seed = 10 * layer as u64;
        tensors.push((up, float.name(), &[512, 256], encoded(&bell(seed + 2, 512 * 256), float)));
        tensors.push((q, float.name(), &[128, 256], encoded(&bell(seed + 3, 128 * 256), float)));
    }
    tensors
}

/// Two matrices that nothing is said of.
pub(super) fn sound() -> Vec<Tensor<'static>> {
    vec![
        (
            "model.layers.0.mlp.up_proj.weight",
            "F32",
            &[128, 256],
            encoded(&bell(5, 32_768), Float::F32),
        ),
        (
            "model.layers.1.mlp.up_proj.weight",
            "F32",
            &[128, 256],
            encoded(&bell(6, 32_768), Float::F32),
        ),
    ]
}

pub(super) fn sound_model(dir: &Path) -> PathBuf {
    write_model(&dir.join("model"), &sound())
}

pub(super) fn small_model(dir: &Path) -> PathBuf {
    write_model(&dir.join("model"), &small_tensors(1))
}

/// Files below `model`, beside sound weights.
pub(super) fn beside(files: Files) -> impl Fn(&Path) -> PathBuf + Send + Sync + 'static {
    move |dir| {
        let model = write_model(&dir.join("model"), &sound());
        for (path, bytes) in &files {
            malformed::write(&model, path, bytes);
        }
        model
    }
}

/// The largest file of a model, links aside.
fn largest(model: &Path) -> PathBuf {
    if model.is_file() {
        return model.to_owned();
    }
    let mut files: Vec<(u64, PathBuf)> = Vec::new();
    let mut directories = vec![model.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            let metadata = fs::symlink_metadata(entry.path()).unwrap();
            if metadata.is_dir() {
                directories.push(entry.path());
            } else if metadata.is_file() {
                files.push((metadata.len(), entry.path()));
            }
        }
    }
    files.sort();
    files.pop().map_or_else(|| model.join("config.json"), |(_, path)| path)
}

/// Flips a bit three fifths into the largest file.
pub(super) fn flip(model: &Path) {
    let path = largest(model);
    let mut bytes = fs::read(&path).unwrap_or_default();
    let at = bytes.len() * 3 / 5;
    match bytes.get_mut(at) {
        Some(byte) => *byte ^= 0x10,
        None => bytes.push(1),
    }
    fs::write(path, bytes).unwrap();
}

pub(super) const AUDITED: &str = "schema = \"tensorseal.policy/1\"\n[audit]\nrequired = true\n";
pub(super) const SEALED: &str = "schema = \"tensorseal.policy/1\"\ncode = \"pinned\"\n[seal]\nrequired = true\n[audit]\nrequired = true\n[files]\nunknown = \"pinned\"\n[severity]\nintegrity = \"info\"\n";
