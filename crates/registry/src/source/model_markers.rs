//! Where a model begins, in a place that holds many.

use std::path::Path;
use tensorseal_format::{Format, content};

/// Endings of files that hold weights, besides those that promise a format that is read.
const WEIGHTS: [&str; 23] = [
    "bin",
    "ckpt",
    "distcp",
    "h5",
    "hdf5",
    "joblib",
    "keras",
    "llamafile",
    "mar",
    "mlmodel",
    "msgpack",
    "nemo",
    "onnx",
    "ort",
    "pdparams",
    "pickle",
    "pkl",
    "pt",
    "pt2",
    "pte",
    "pth",
    "ptl",
    "tflite",
];

/// Names of files that stand at the top of a model.
const TOPS: [&str; 4] =
    ["model_index.json", "saved_model.pb", "saved_model.pbtxt", "tensorseal.seal.json"];

/// Endings of files that have an index of the shards that hold them.
const INDEXED: [&str; 2] = ["safetensors", "bin"];

/// Whether a file of this name makes the directory that it is in a model, with everything below it, where
/// no directory above is one: a file of weights, the index of shards, the index of a pipeline, or a seal.
///
/// `name` is the last component of a path.
pub fn is_model_marker(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let is_index = |ending: &&str| name.ends_with(&format!(".{ending}.index.json"));
    // The shards of a bundle of TensorFlow: `variables.data-00000-of-00002`.
    let is_bundle = name.rsplit_once(".data-").is_some_and(|(stem, numbers)| {
        !stem.is_empty() && numbers.split_once("-of-").is_some_and(|(a, b)| digits(a) && digits(b))
    });
    ending(&name).is_some_and(is_weights_extension)
        || INDEXED.iter().any(is_index)
        || TOPS.contains(&&*name)
        || is_bundle
}

/// Whether an ending is that of weights. Arrays are weights beside other files of a model, and data by themselves.
fn is_weights_extension(ending: &str) -> bool {
    let promised = Format::from_extension(ending).is_some_and(|format| !format.holds_arrays());
    promised || WEIGHTS.contains(&ending)
}

/// Whether a file by its name is an array, which is no model alone.
pub fn is_array(name: &str) -> bool {
    let format = ending(&name.to_ascii_lowercase()).and_then(Format::from_extension);
    format.is_some_and(Format::holds_arrays)
}

/// Whether a file of this machine is one of a model, by its name or else by its bytes.
pub(super) fn is_model_file(name: &str, place: &Path) -> bool {
    is_model_marker(name) || !is_array(name) && content::holds_weights(place)
}

/// The ending of a name; one that is an ending and no more is hidden.
fn ending(name: &str) -> Option<&str> {
    let (_, ending) = name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty())?;
    Some(ending)
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_models_are_known_by_name() {
        for name in [
            "model-00001-of-00002.safetensors",
            "q4.gguf",
            "Q4.GGUF",
            "pytorch_model.bin",
            "model.onnx",
            "model.keras",
            "tf_model.h5",
            "flax_model.msgpack",
            "saved_model.pb",
            "variables.data-00000-of-00001",
            "model.safetensors.index.json",
            "pytorch_model.bin.index.json",
            "model_index.json",
            "tensorseal.seal.json",
        ] {
            assert!(is_model_marker(name), "{name}");
        }
        for name in [
            "config.json",
            "bin",
            ".bin",
            "model.bin.json",
            "README.md",
            "safetensors",
            "",
            "other.pb",
            "x.data-1-of-",
            ".data-0-of-1",
            "images.npy",
        ] {
            assert!(!is_model_marker(name), "{name}");
        }
        assert!(is_array("images.npy") && is_array("a.NPZ") && !is_array(".npy"));
    }

    #[test]
    fn files_of_models_are_known_by_how_they_begin() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("weights");
        let mut header = 2u64.to_le_bytes().to_vec();
        header.extend_from_slice(b"{}");
        for (bytes, expected) in [
            (&b"GGUF\x03\0\0\0"[..], true),
            (&header[..], true),
            (b"some text that is long enough", false),
            (b"", false),
        ] {
            std::fs::write(&place, bytes).unwrap();
            assert_eq!(is_model_file("weights", &place), expected, "{bytes:?}");
        }
        assert!(!is_model_file("weights", &dir.path().join("none")));
        assert!(!is_model_file("weights", dir.path()));
    }
}
