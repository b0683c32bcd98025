//! Reads from `config.json` how the tensors of a model are named. It is only used if the tensors leave that open.

use serde_json::Value;
use std::path::Path;
use tensorseal_base::regular_file::read_at_most;
use tensorseal_format::{Checkpoint, read_whole};

/// The maximum length in bytes of a configuration.
const MAX_CONFIG: u64 = 4 << 20;

/// The contents of `config.json`; empty if it is missing or cannot be read.
#[derive(Debug, Default)]
pub(super) struct CompanionConfig {
    /// The `model_type` of the model, and of the language model in it.
    model_types: Vec<String>,
    /// Whether the output head is tied to the embedding table.
    pub is_tied: bool,
}

impl CompanionConfig {
    /// Reads the configuration in a directory of `model` (with its final `/`). For a model that is a single file, it is
    /// read from the directory of that file.
    pub(crate) fn read(model: &Checkpoint, directory: &str) -> CompanionConfig {
        let bytes = read_companion(model, directory, "config.json");
        let config = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        config.map(|config| CompanionConfig::from_json(&config)).unwrap_or_default()
    }

    fn from_json(config: &Value) -> CompanionConfig {
        let all = [Some(config), config.get("text_config")];
        let text = |config: &Value| Some(config.get("model_type")?.as_str()?.to_owned());
        let tied = |config: &Value| config.get("tie_word_embeddings")?.as_bool();
        CompanionConfig {
            model_types: all.iter().flatten().filter_map(|config| text(config)).collect(),
            is_tied: all.iter().flatten().find_map(|config| tied(config)) == Some(true),
        }
    }

    /// Returns whether the model, or the language model in it, has one of these types.
    pub(crate) fn has_model_type(&self, types: &[&str]) -> bool {
        self.model_types.iter().any(|model_type| types.contains(&model_type.as_str()))
    }
}

/// Reads a small file in a directory of the model; for a model that is a single file, from the directory of that
/// file.
pub(super) fn read_companion(model: &Checkpoint, directory: &str, name: &str) -> Option<Vec<u8>> {
    if let Some(bytes) = read_whole(model, &format!("{directory}{name}"), MAX_CONFIG) {
        return Some(bytes);
    }
    if !model.is_single_file() {
        return None;
    }
    let path: &Path = &model.root.join(name);
    let bytes = read_at_most(path, MAX_CONFIG).ok()?;
    (bytes.len() as u64 <= MAX_CONFIG).then(|| bytes.to_vec())
}

/// Returns the directory of a path, with its final `/`.
pub(super) fn directory_of(path: &str) -> &str {
    &path[..path.rfind('/').map_or(0, |at| at + 1)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_of_other_types_are_ignored() {
        let parse = |config| CompanionConfig::from_json(&config);
        let nested = parse(json!({"model_type": "a", "text_config": {"model_type": "b"}}));
        assert!(
            nested.has_model_type(&["b"])
                && nested.has_model_type(&["c", "a"])
                && !nested.has_model_type(&["c"])
        );
        assert!(!nested.is_tied);
        assert!(parse(json!({"tie_word_embeddings": true})).is_tied);
        assert!(parse(json!({"text_config": {"tie_word_embeddings": true}})).is_tied);
        for nothing in [json!([]), json!(1), json!({"model_type": 3, "text_config": "x"})] {
            let config = parse(nothing);
            assert!(config.model_types.is_empty() && !config.is_tied);
        }
    }
}
