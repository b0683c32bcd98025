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
    assert_eq!(unknown(&uneven, "{}"), ["a.qzeros has 12 elements where 8 belong"]);
    let other = [("a.codes", "U8", &[64, 128][..])];
    let config = r#"{"quantization_config": {"quant_method": "aqlm"}}"#;
    assert_eq!(unknown(&other, config), ["the layout of aqlm is not known"]);
    assert_eq!(unknown(&other, "{"), [""; 0]);
    let fp8 = [("a.weight", "F8_E4M3", &[8, 8][..]), ("a.weight_scale", "F32", &[3, 3, 3])];
    assert_eq!(unknown(&fp8, "{}"), ["the shape of its scales [3, 3, 3] does not fit"]);
}
