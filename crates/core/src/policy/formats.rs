//! The names of weight formats in policies, including unsupported formats.

use tensorseal_format::{ContentClass, FileRole};

/// Returns the format name of a content class in `formats.allowed`. Several classes can have one name.
pub fn name_of(class: ContentClass) -> &'static str {
    match (class.format(), class) {
        (Some(format), _) => format.name(),
        (None, ContentClass::TensorflowBundle | ContentClass::TensorflowGraph) => "tensorflow",
        (None, other) => other.name(),
    }
}

/// Returns all format names, each once, the supported ones first.
pub fn all() -> Vec<&'static str> {
    let of_weights = ContentClass::ALL.iter().filter(|class| class.role() == FileRole::Weights);
    let (supported, unsupported): (Vec<&ContentClass>, Vec<&ContentClass>) =
        of_weights.partition(|class| class.format().is_some());
    let mut names = Vec::new();
    for class in supported.into_iter().chain(unsupported) {
        let name = name_of(*class);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_that_are_read_have_the_names_of_inspect_and_the_others_have_one() {
        assert_eq!(all()[..4], ["safetensors", "gguf", "torch", "numpy"]);
        for name in ["onnx", "hdf5", "keras", "tflite", "msgpack", "tensorflow", "executorch"] {
            assert!(all().contains(&name), "{name}");
        }
        for name in ["coreml", "openvino", "raw-weights"] {
            assert!(all().contains(&name), "{name}");
        }
        assert!(!all().contains(&"json") && !all().contains(&"elf"));
        assert_eq!(name_of(ContentClass::Pickle), "torch");
    }
}
