//! Compares the values of the layers in `testdata/schemes` with those that NumPy computed.

use super::{layers, open, values};
use crate::{Weight, WeightStorage, Weights};
use serde_json::json;
use std::path::Path;
use tensorseal_format::{Checkpoint, strides};

/// Every layer, and how its weights are stored, in order of their names.
const LAYERS: &[(&str, &[&str])] = &[
    ("awq", &["awq 4-bit"]),
    ("awq-gemv", &["awq 4-bit"]),
    ("bitnet", &["bitnet"]),
    ("bitnet-inverse", &["bitnet"]),
    ("bitsandbytes-fp4", &["bitsandbytes fp4"]),
    ("bitsandbytes-int8", &["bitsandbytes int8"]),
    ("bitsandbytes-nf4", &["bitsandbytes nf4"]),
    ("bitsandbytes-nf4-nested", &["bitsandbytes nf4"]),
    ("compressed-tensors", &["compressed-tensors 4-bit"]),
    ("compressed-tensors-8-bits", &["compressed-tensors 8-bit"]),
    ("compressed-tensors-asymmetric", &["compressed-tensors 4-bit"]),
    ("compressed-tensors-bytes", &["int8 with scales", "int 4-bit"]),
    ("compressed-tensors-mxfp4", &["mxfp4"]),
    ("compressed-tensors-mxfp8", &["fp8 with scales"]),
    ("compressed-tensors-order", &["compressed-tensors 4-bit"; 2]),
    (
        "compressed-tensors-streams",
        &["compressed-tensors 3-bit", "compressed-tensors 6-bit", "compressed-tensors 5-bit"],
    ),
    ("compressed-tensors-two-groups", &["compressed-tensors 4-bit", "compressed-tensors 8-bit"]),
    ("compressed-tensors-zero-streams", &["compressed-tensors 3-bit", "compressed-tensors 6-bit"]),
    ("fp8", &["fp8 with scales"; 3]),
    ("fp8-experts", &["fp8 with scales"; 6]),
    ("fp8-powers", &["fp8 with scales"]),
    ("gpt-oss", &["mxfp4"; 2]),
    ("gptq", &["gptq 4-bit"]),
    ("gptq-3-bits", &["gptq 3-bit"; 2]),
    ("gptq-8-bits", &["gptq 8-bit"]),
    ("gptq-act-order", &["gptq 4-bit"]),
    ("gptq-planes", &["gptq 3-bit", "gptq 5-bit", "gptq 6-bit", "gptq 7-bit"]),
    ("gptq-symmetric", &["gptq 4-bit", "gptq 8-bit"]),
    ("hqq", &["hqq 1-bit", "hqq 8-bit", "hqq 4-bit", "hqq 3-bit", "hqq 2-bit"]),
    ("hqq-columns", &["hqq 4-bit", "hqq 3-bit"]),
    ("mlx-affine", &["mlx 6-bit", "mlx 8-bit", "mlx 4-bit", "mlx 2-bit", "mlx 3-bit", "mlx 5-bit"]),
    ("mlx-experts", &["mlx nvfp4"; 6]),
    ("mlx-mxfp4", &["mlx mxfp4"]),
    ("mlx-mxfp8", &["mlx mxfp8"]),
    ("mlx-nvfp4", &["mlx nvfp4"]),
    ("mlx-overrides", &["mlx 8-bit", "mlx 4-bit", "mlx 2-bit"]),
    ("modelopt-fp4", &["nvfp4", "mxfp4"]),
    ("modelopt-fp8-blocks", &["fp8 with scales"]),
    ("modelopt-int4", &["modelopt 4-bit"]),
    ("modelopt-int4-awq", &["modelopt 4-bit"]),
    ("mxfp4", &["mxfp4"]),
    ("nvfp4", &["nvfp4"]),
    ("quanto-groups", &["quanto 4-bit", "quanto 2-bit"]),
    ("quanto-rows", &["quanto 8-bit", "quanto fp8", "quanto fp8"]),
    ("torchao-float8", &["torchao fp8"; 3]),
    ("torchao-int4", &["torchao 4-bit"]),
    ("torchao-int8", &["torchao 8-bit"; 3]),
    ("torchao-intx", &["torchao 3-bit"]),
    ("torchao-mxfp4", &["mxfp4"; 2]),
    ("torchao-mxfp8", &["mxfp8"]),
    ("torchao-nvfp4", &["nvfp4"; 2]),
];

/// Layers that cannot be read without their configuration.
const NEED_CONFIG: &[&str] = &[
    // Whether one less than the zero points is stored.
    "gptq",
    "gptq-8-bits",
    "gptq-act-order",
    // How codes of three bits are packed.
    "gptq-3-bits",
    "gptq-planes",
    // Bits and group size, if several have the same product.
    "mlx-affine",
    "mlx-overrides",
    // The size of blocks of which the last one is cut off.
    "fp8",
    "fp8-experts",
    "fp8-powers",
];

/// Compares a model with the values of a layer.
fn check(name: &str, kinds: &[&str], model: &Checkpoint) -> Result<(), String> {
    let weights = Weights::from_checkpoint(model);
    if !weights.unreadable.is_empty() {
        return Err(format!("{name}: {:?}", weights.unreadable));
    }
    let quantised = weights
        .readable
        .iter()
        .filter(|weight| matches!(weight.storage, WeightStorage::Quantised(_)));
    let mut quantised: Vec<&Weight> = quantised.collect();
    quantised.sort_by_key(|weight| &weight.canonical);
    let named: Vec<_> = quantised.iter().map(|weight| weight.stored_as(model)).collect();
    if named != kinds {
        return Err(format!("{name}: {named:?}"));
    }
    let expected = open(&layers::file(name, "values.safetensors"));
    let all = Weights::from_checkpoint(&expected).readable;
    if all.len() != quantised.len() {
        return Err(format!("{name}: {} weights, not {}", quantised.len(), all.len()));
    }
    for truth in &all {
        let Some(weight) = quantised.iter().find(|weight| weight.canonical == truth.canonical)
        else {
            return Err(format!("{name}: {} is not there", truth.name));
        };
        let shape = if weight.flattened { &weight.shape } else { &truth.shape };
        if weight.shape != *shape || weight.elements() != truth.elements() {
            return Err(format!("{name} {}: {:?}", truth.name, weight.shape));
        }
        let truth_values = values(&expected, truth, 1 << 20);
        // Pieces that begin and end within rows.
        for piece_len in [1 << 20, 512, 37, 1] {
            let read = values(model, weight, piece_len);
            let row = *truth.shape.last().unwrap() as usize;
            for (at, (read, truth_values)) in
                read.chunks(row).zip(truth_values.chunks(row)).enumerate()
            {
                let largest = truth_values.iter().fold(0f32, |max, value| max.max(value.abs()));
                let near = |(read, truth_values): (&f32, &f32)| {
                    (read - truth_values).abs() <= 1e-6 * largest
                };
                if !read.iter().zip(truth_values).all(near) {
                    return Err(format!(
                        "{name} {}, row {at}: {read:?}, not {truth_values:?}",
                        truth.name
                    ));
                }
            }
        }
    }
    Ok(())
}

/// Compares every selected layer, in a form derived from a copy of it, with its values, and lists all that differ.
fn check_all(is_one: impl Fn(&str) -> bool, form: impl Fn(&Path) -> Checkpoint) {
    check_each(is_one, |dir, _| form(dir));
}

fn check_each(is_one: impl Fn(&str) -> bool, form: impl Fn(&Path, &str) -> Checkpoint) {
    let all = LAYERS.iter().filter(|(name, _)| is_one(name));
    let wrong = all.filter_map(|(name, kinds)| {
        let copy = layers::copy(name);
        let model = form(copy.path(), name);
        assert_eq!(model.problems, [], "{name}");
        check(name, kinds, &model).err()
    });
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_layer_is_here() {
    let names: Vec<&str> = LAYERS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, layers::names());
}

#[test]
fn every_layout_stands_for_its_values() {
    check_all(|_| true, open);
}

/// Returns a layer with all of its matrices and stacks stored column-major.
fn column_major(dir: &Path, name: &str) -> Checkpoint {
    let pieces = layers::pieces(name);
    let column_major = pieces.iter().map(|piece| {
        let elements: u64 = piece.shape.iter().product();
        let width = piece.data.len() / elements as usize;
        let strides = strides::column_major_strides(&piece.shape);
        let mut column_major = piece.clone();
        for element in 0..elements {
            let to = match &strides {
                None => element,
                Some(strides) => strides::stored_position(&piece.shape, strides, element),
            };
            let [from, to] = [element, to].map(|at| at as usize * width);
            column_major.data[to..to + width].copy_from_slice(&piece.data[from..from + width]);
        }
        column_major
    });
    let path = dir.join("model.safetensors");
    layers::write(&path, &column_major.collect::<Vec<_>>(), None);
    let mut model = open(dir);
    for tensor in &mut model.tensors {
        tensor.strides = strides::column_major_strides(&tensor.shape);
    }
    model
}

#[test]
fn tensors_may_lie_in_another_order() {
    // For these, values of zero points, scales or codes determine the layout, which are only read row-major.
    let sampled = ["awq-gemv", "compressed-tensors-bytes", "gptq-symmetric", "torchao-intx"];
    check_each(|name| !sampled.contains(&name), column_major);
}

#[test]
fn the_configuration_beside_a_file_counts() {
    check_all(|_| true, |dir| open(&dir.join("model.safetensors")));
    // The older file, which has the members at its top level.
    check_all(
        |name| name.starts_with("gptq") || name.starts_with("awq"),
        |dir| {
            let config = dir.join("config.json");
            let read: serde_json::Value =
                serde_json::from_slice(&std::fs::read(&config).unwrap()).unwrap();
            let inner = read.get("quantization_config").cloned().unwrap_or_default();
            std::fs::write(dir.join("quantize_config.json"), inner.to_string()).unwrap();
            std::fs::remove_file(config).unwrap();
            open(&dir.join("model.safetensors"))
        },
    );
}

#[test]
fn what_the_tensors_say_needs_no_configuration() {
    let says_all = |name: &str| !NEED_CONFIG.contains(&name);
    check_all(says_all, |dir| {
        std::fs::remove_file(dir.join("config.json")).unwrap();
        open(dir)
    });
    // The tensors have precedence over a configuration that contradicts them.
    for (bits, group) in [(6, 24), (2, 128), (8, 8), (4, 16), (0, 0)] {
        let other = json!({
            "bits": bits, "group_size": group, "w_bit": bits, "weight_block_size": [group, bits],
            "config_groups": {"group_0": {"weights": {"num_bits": bits, "group_size": group}}},
        });
        let other = json!({"quantization_config": other}).to_string();
        check_all(says_all, |dir| {
            std::fs::write(dir.join("config.json"), &other).unwrap();
            open(dir)
        });
    }
}
