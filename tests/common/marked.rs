//! A model with tensors of every type that carries, a key, and marks embedded and looked for.

use super::models::*;
use super::program::{Ran, arg, run};
use super::reports::report;
use super::watermark_key::write_key;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// What marks say.
pub(crate) const PAYLOAD: &str = "00c0ffee00c0ffee";

/// Elements of half precision that look like weights: no infinities, nothing far above the others.
fn weights(seed: u64, elements: usize) -> Vec<f32> {
    noise(seed, elements).iter().map(|byte| (f32::from(*byte) - 127.5) / 4096.0).collect()
}

/// The same in F32.
pub(crate) fn f32s(seed: u64, elements: usize) -> Vec<u8> {
    weights(seed, elements).iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn bf16s(seed: u64, elements: usize) -> Vec<u8> {
    weights(seed, elements).iter().flat_map(|v| half::bf16::from_f32(*v).to_le_bytes()).collect()
}

fn f16s(seed: u64, elements: usize) -> Vec<u8> {
    weights(seed, elements).iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect()
}

/// F8_E4M3 codes of moderate size.
fn f8s(seed: u64, elements: usize) -> Vec<u8> {
    noise(seed, elements).iter().map(|byte| (byte & 0x9F) | 0x20).collect()
}

/// 3.6 million elements in every type that carries, a rest shorter than a block, and small tensors.
pub(crate) fn tensors() -> Vec<Tensor<'static>> {
    vec![
        ("model.embed_tokens.weight", "BF16", &[1100, 1001], bf16s(1, 1_101_100)),
        ("model.layers.0.q_proj.weight", "F32", &[1000, 1000], f32s(2, 1_000_000)),
        ("model.layers.0.k_proj.weight", "F16", &[1000, 1000], f16s(3, 1_000_000)),
        ("model.layers.1.q_proj.weight", "F8_E4M3", &[700, 700], f8s(4, 490_000)),
        ("model.layers.1.norm.weight", "F32", &[1000], f32s(5, 1000)),
        ("model.layers.1.ids", "I64", &[1 << 16, 2], noise(6, 1 << 20)),
        ("lm_head.weight", "BF16", &[1100, 1001], bf16s(1, 1_101_100)),
    ]
}

/// A directory with a model and a key.
pub(crate) struct World {
    pub dir: TempDir,
    pub model: PathBuf,
    pub key: PathBuf,
}

impl World {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A key of this name.
    pub(crate) fn key(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        write_key(&path, name);
        path
    }

    /// Embeds, to `out`; gives the exit code and the report.
    pub(crate) fn embed(&self, model: &Path, out: &str, extra: &[&str]) -> (i32, Value) {
        let out = self.path(out);
        let mut args = vec!["watermark", "embed", arg(model), "--key", arg(&self.key)];
        args.extend(["-o", arg(&out)]);
        args.extend(extra);
        report(&args)
    }

    /// Detects, not necessarily with a report.
    pub(crate) fn try_detect(&self, model: &Path, extra: &[&str]) -> Ran {
        let mut args = vec!["watermark", "detect", arg(model), "--key", arg(&self.key)];
        args.extend(extra);
        run(&args)
    }
}

/// A new one.
pub(crate) fn world() -> World {
    let dir = TempDir::new().unwrap();
    let model = write_model(&dir.path().join("model"), &tensors());
    let key = dir.path().join("key.json");
    write_key(&key, "key.json");
    World { dir, model, key }
}
