//! Tests that tensors which resemble a scheme but do not fit it are unreadable, with the reason.

use super::layers::{Piece, write};
use super::open;
use crate::Weights;

/// Returns why a model of zeros is not read; no quantised weight of it may be readable.
fn all_unreadable(tensors: &[(&str, &str, &[u64])], config: &str) -> Vec<String> {
    all(tensors, config, true)
}

/// Returns why a model of zeros is not read that also has readable weights.
fn unreadable(tensors: &[(&str, &str, &[u64])], config: &str) -> Vec<String> {
    all(tensors, config, false)
}

fn all(tensors: &[(&str, &str, &[u64])], config: &str, is_plain: bool) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let pieces = tensors.iter().map(|(name, dtype, shape)| {
        let mut piece = Piece::new(name, dtype, shape, Vec::new());
        piece.fill();
        piece.data.fill(0);
        piece
    });
    write(&dir.path().join("model.safetensors"), &pieces.collect::<Vec<_>>(), None);
    std::fs::write(dir.path().join("config.json"), config).unwrap();
    let weights = Weights::from_checkpoint(&open(dir.path()));
    let plain = weights.readable.iter().all(|weight| weight.row_major_tensor().is_some());
    assert_eq!(plain, is_plain);
    weights.unreadable.into_iter().map(|weight| weight.reason).collect()
}

#[test]
fn what_does_not_fit_is_named() {
    let nine = [
        ("a.qweight", "I32", &[36, 32][..]),
        ("a.scales", "F16", &[2, 32]),
        ("a.qzeros", "I32", &[2, 9]),
    ];
    assert_eq!(all_unreadable(&nine, "{}"), ["codes of 9 bits are not supported"]);
    let uneven = [
        ("a.qweight", "I32", &[8, 32][..]),
        ("a.scales", "F16", &[2, 32]),
        ("a.qzeros", "I32", &[3, 4]),
    ];
    let config = r#"{"quantization_config": {"bits": 4}}"#;
    assert_eq!(all_unreadable(&uneven, config), ["a.qzeros has 12 elements, expected 8"]);
    // Zero points of either version that are not all in the middle.
    assert_eq!(all_unreadable(&uneven, "{}"), ["the storage format of its zero points is unknown"]);
    let other = [("a.codes", "U8", &[64, 128][..])];
    let config = r#"{"quantization_config": {"quant_method": "aqlm"}}"#;
    assert_eq!(all_unreadable(&other, config), ["the quantisation method aqlm is not supported"]);
    assert_eq!(all_unreadable(&other, "{"), [""; 0]);
    let fp8 = [("a.weight", "F8_E4M3", &[8, 8][..]), ("a.weight_scale", "F32", &[3, 3, 3])];
    assert_eq!(all_unreadable(&fp8, "{}"), ["the shape of its scales [3, 3, 3] does not fit"]);
}

#[test]
fn elements_that_are_repeated_do_not_make_much_of_a_small_file() {
    // Views of one element, which PyTorch files can contain.
    let groups = 1u64 << 40;
    let views = [
        ("a.weight_packed", "I32", vec![1, groups / 4]),
        ("a.weight_scale", "F32", vec![1, groups]),
        ("a.weight_g_idx", "I32", vec![groups * 2]),
    ];
    let mut pieces: Vec<Piece> =
        views.iter().map(|(name, dtype, _)| Piece::new(name, dtype, &[1], vec![0; 4])).collect();
    let shape = [1, groups * 2].map(|len| (len as i64).to_le_bytes()).concat();
    pieces.push(Piece::new("a.weight_shape", "I64", &[2], shape));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    write(&path, &pieces, None);
    let mut model = open(&path);
    for (name, _, shape) in views {
        let tensor = model.tensors.iter_mut().find(|tensor| tensor.name == name).unwrap();
        tensor.strides = Some(vec![0; shape.len()]);
        tensor.shape = shape;
    }
    let weights = Weights::from_checkpoint(&model);
    assert_eq!(weights.unreadable[0].reason, "it has too many groups for a group index");
    assert!(weights.readable.is_empty());
}

#[test]
fn what_looks_like_another_layout_is_not_taken_for_it() {
    const MISSING_SCALES: &str = "its scales are missing, or its layout is unknown";
    const UNKNOWN_LAYOUT: &str = "its codes and scales have an unknown layout";
    // Ternary codes have no zero point.
    let moved = [
        ("a.weight", "U8", &[8, 16][..]),
        ("a.weight_scale", "F32", &[1]),
        ("a.weight_zero_point", "F32", &[1]),
    ];
    assert_eq!(all_unreadable(&moved, "{}"), [UNKNOWN_LAYOUT]);
    // Marlin, and a shard whose scales are in another one.
    assert_eq!(
        all_unreadable(&[("a.B", "I32", &[8, 64][..]), ("a.s", "F16", &[4, 32])], "{}"),
        [UNKNOWN_LAYOUT]
    );
    for name in ["a.qweight", "a.weight_packed", "a.W_q", "a._weight_qdata"] {
        assert_eq!(
            all_unreadable(&[(name, "I32", &[8, 32][..])], "{}"),
            [MISSING_SCALES],
            "{name}"
        );
    }
    let one_of_two = [
        ("a.weight", "F8_E4M3", &[8, 8][..]),
        ("a.weight_scale", "F32", &[1]),
        ("b.weight", "F8_E4M3", &[8, 8]),
    ];
    let missing = "its scales are missing; other tensors of its type have some";
    assert_eq!(unreadable(&one_of_two, "{}"), [missing]);
    // A block size that does not follow from the shapes.
    let blocks = [("a.weight", "F8_E4M3", &[8, 8][..]), ("a.weight_scale", "F32", &[3, 1])];
    assert_eq!(all_unreadable(&blocks, "{}"), ["its block size is unknown"]);
    // MLX with the configuration of another library: 4 bits with groups of 128, or 8 bits with groups of 64.
    let mlx = [
        ("a.weight", "U32", &[4, 64][..]),
        ("a.scales", "F16", &[4, 4]),
        ("a.biases", "F16", &[4, 4]),
    ];
    let foreign =
        r#"{"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128}}"#;
    assert_eq!(all_unreadable(&mlx, foreign), ["the bit width of its codes is unknown"]);
    let own = r#"{"quantization": {"bits": 8, "group_size": 64}}"#;
    assert_eq!(unreadable(&mlx, own), [""; 0]);
    // Small tables next to tensors that are named like scales.
    let tables = [
        ("a.anchors", "I64", &[9, 4][..]),
        ("a.scales", "F32", &[3]),
        ("b.expert_map", "I32", &[1, 64]),
        ("b.scale", "F32", &[1]),
    ];
    assert_eq!(all_unreadable(&tables, "{}"), [""; 0]);
}

#[test]
fn codes_go_with_the_scales_of_their_file() {
    let dir = tempfile::tempdir().unwrap();
    for file in ["a", "b"] {
        let pieces = [("x.weight", "I8", &[4u64, 8][..]), ("x.weight_scale", "F32", &[4, 1])];
        let pieces = pieces.map(|(name, dtype, shape)| {
            let mut piece = Piece::new(name, dtype, shape, Vec::new());
            piece.fill();
            piece
        });
        write(&dir.path().join(format!("{file}.safetensors")), &pieces, None);
    }
    let model = open(dir.path());
    let weights = Weights::from_checkpoint(&model);
    assert_eq!(weights.readable.len(), 2);
    for weight in &weights.readable {
        let files: Vec<usize> =
            weight.tensors().iter().map(|index| model.tensors[*index].file).collect();
        assert!(files.len() == 2 && files[0] == files[1], "{files:?}");
    }
}
