//! Models in several files.

use super::models::{Tensor, safetensors};
use serde_json::{Map, json};
use std::fs;
use std::path::Path;

/// Writes tensors as shards with an index.
pub(crate) fn write_shards(directory: &Path, tensors: &[Tensor], shards: usize) {
    let mut map = Map::new();
    let mut total = 0;
    for shard in 0..shards {
        let name = format!("model-{:05}-of-{shards:05}.safetensors", shard + 1);
        let part: Vec<Tensor> = tensors.iter().skip(shard).step_by(shards).cloned().collect();
        for tensor in &part {
            map.insert(tensor.0.to_owned(), name.clone().into());
            total += tensor.3.len();
        }
        fs::write(directory.join(&name), safetensors(&part)).unwrap();
    }
    let index = json!({"metadata": {"total_size": total}, "weight_map": map});
    fs::write(directory.join("model.safetensors.index.json"), index.to_string()).unwrap();
}
