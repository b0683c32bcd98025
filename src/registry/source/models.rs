//! Where a model begins, in a place that holds many.

/// Endings of files that hold tensors.
const TENSORS: [&str; 8] = ["safetensors", "gguf", "npy", "npz", "pt", "pth", "bin", "ckpt"];

/// Names of files that stand at the top of a model.
const TOPS: [&str; 2] = ["model_index.json", "tensorseal.seal.json"];

/// Whether a file of this name makes the directory that it is in a model, with everything below it, where
/// no directory above is one: a file of tensors, the index of shards, the index of a pipeline, or a seal.
///
/// `name` is the last component of a path.
pub fn is_model_marker(name: &str) -> bool {
    let is_index = |ending: &str| name.ends_with(&format!(".{ending}.index.json"));
    // A name that is an ending and no more is hidden.
    let ending = name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty());
    ending.is_some_and(|(_, ending)| TENSORS.contains(&ending))
        || ["safetensors", "bin"].into_iter().any(is_index)
        || TOPS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_models_are_known_by_name() {
        for name in [
            "model-00001-of-00002.safetensors",
            "q4.gguf",
            "pytorch_model.bin",
            "model.safetensors.index.json",
            "pytorch_model.bin.index.json",
            "model_index.json",
            "tensorseal.seal.json",
        ] {
            assert!(is_model_marker(name), "{name}");
        }
        for name in ["config.json", "bin", ".bin", "model.bin.json", "README.md", "safetensors", ""]
        {
            assert!(!is_model_marker(name), "{name}");
        }
    }
}
