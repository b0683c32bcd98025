//! What is like a scheme and is not it stays unread, with the reason.

use super::layers::{Piece, write};
use super::open;
use crate::Weights;

/// Why a model of zeros is not read.
fn unknown(tensors: &[(&str, &str, &[u64])], config: &str) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let pieces = tensors.iter().map(|(name, dtype, shape)| {
        let mut piece = Piece::new(name, dtype, shape, Vec::new());
        piece.fill();
        piece.data.fill(0);
        piece
    });
    write(&dir.path().join("model.safetensors"), &pieces.collect::<Vec<_>>(), None);
    std::fs::write(dir.path().join("config.json"), config).unwrap();
    let weights = Weights::of(&open(dir.path()));
    assert!(weights.weights.iter().all(|weight| weight.tensor().is_some()));
    weights.unread.into_iter().map(|unread| unread.reason).collect()
}

#[test]
fn what_does_not_fit_is_named() {
    let nine = [
        ("a.qweight", "I32", &[36, 32][..]),
        ("a.scales", "F16", &[2, 32]),
        ("a.qzeros", "I32", &[2, 9]),
    ];
    assert_eq!(unknown(&nine, "{}"), ["codes of 9 bits are not known"]);
    let uneven = [
        ("a.qweight", "I32", &[8, 32][..]),
        ("a.scales", "F16", &[2, 32]),
        ("a.qzeros", "I32", &[3, 4]),
    ];
    let config = r#"{"quantization_config": {"bits": 4}}"#;
    assert_eq!(unknown(&uneven, config), ["a.qzeros has 12 elements where 8 belong"]);
    // Zero points that are not all in the middle, of the first version or of the second.
    assert_eq!(unknown(&uneven, "{}"), ["nothing says how its zero points are stored"]);
    let other = [("a.codes", "U8", &[64, 128][..])];
    let config = r#"{"quantization_config": {"quant_method": "aqlm"}}"#;
    assert_eq!(unknown(&other, config), ["the layout of aqlm is not known"]);
    assert_eq!(unknown(&other, "{"), [""; 0]);
    let fp8 = [("a.weight", "F8_E4M3", &[8, 8][..]), ("a.weight_scale", "F32", &[3, 3, 3])];
    assert_eq!(unknown(&fp8, "{}"), ["the shape of its scales [3, 3, 3] does not fit"]);
}

#[test]
fn elements_that_are_repeated_do_not_make_much_of_a_small_file() {
    // Views of one element, as a file of PyTorch can have them.
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
    let weights = Weights::of(&model);
    assert_eq!(weights.unread[0].reason, "its blocks are too many to be in any order");
    assert!(weights.weights.is_empty());
}
