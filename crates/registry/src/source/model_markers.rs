//! Recognises the files that mark a directory as a model.

use std::path::Path;
use tensorseal_format::{Format, content};

/// The extensions of weights in formats that are not read.
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

/// The names of files at the top of a model.
const MARKERS: [&str; 4] =
    ["model_index.json", "saved_model.pb", "saved_model.pbtxt", "tensorseal.seal.json"];

/// The extensions of files that may have an index of shards.
const INDEXED: [&str; 2] = ["safetensors", "bin"];

/// Returns whether a file with this name makes its directory a model, unless a directory above is one: weights, an
/// index of shards, the index of a pipeline, or a seal.
///
/// `name` is the last component of a path.
pub fn is_model_marker(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let is_index = |extension: &&str| name.ends_with(&format!(".{extension}.index.json"));
    // The shards of a TensorFlow bundle: `variables.data-00000-of-00002`.
    let is_bundle = name.rsplit_once(".data-").is_some_and(|(stem, numbers)| {
        !stem.is_empty()
            && numbers.split_once("-of-").is_some_and(|(a, b)| is_number(a) && is_number(b))
    });
    extension(&name).is_some_and(is_weights_extension)
        || INDEXED.iter().any(is_index)
        || MARKERS.contains(&&*name)
        || is_bundle
}

/// Returns whether an extension is that of weights. Arrays count only next to other model files, because alone they
/// may be data.
fn is_weights_extension(extension: &str) -> bool {
    let is_supported =
        Format::from_extension(extension).is_some_and(|format| !format.holds_arrays());
    is_supported || WEIGHTS.contains(&extension)
}

/// Returns whether a file name is that of an array. Arrays alone are not a model.
pub fn is_array(name: &str) -> bool {
    let format = extension(&name.to_ascii_lowercase()).and_then(Format::from_extension);
    format.is_some_and(Format::holds_arrays)
}

/// Returns whether a local file is a model file, by its name or else by its first bytes.
pub(super) fn is_model_file(name: &str, place: &Path) -> bool {
    is_model_marker(name) || !is_array(name) && content::holds_weights(place)
}

/// Returns the extension of a file name. A hidden file such as `.bin` has none.
fn extension(name: &str) -> Option<&str> {
    let (_, extension) = name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty())?;
    Some(extension)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_files_are_recognised_by_name() {
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
    fn model_files_are_recognised_by_their_first_bytes() {
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
