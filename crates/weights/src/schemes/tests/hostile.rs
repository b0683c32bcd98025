//! Tests layers with one defect each: a weight is read completely, with whatever values it then has, or not at all, with
//! a reason of one line.

use super::layers::{self, Piece};
use super::{open, values};
use crate::reader::WeightReader;
use crate::{Weight, WeightStorage, Weights};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;
use tensorseal_base::dtype::Dtype;
use tensorseal_format::Checkpoint;

/// The maximum length of a reason, in characters.
const MAX_REASON: usize = 300;

/// Types of all widths.
const TYPES: &[&str] =
    &["U8", "I8", "F8_E4M3", "F8_E8M0", "I16", "BF16", "I32", "U32", "F32", "I64", "F4", "BOOL"];

/// Checks the invariants of the weights of a model, and the values of those that `checks_values` selects.
pub(super) fn check(
    model: &Checkpoint,
    what: &str,
    mut checks_values: impl FnMut(&Weight) -> bool,
) -> Weights {
    let weights = Weights::from_checkpoint(model);
    for unreadable in &weights.unreadable {
        let reason = &unreadable.reason;
        assert!(!reason.is_empty() && !reason.contains(char::is_control), "{what}: {reason:?}");
        assert!(reason.chars().count() < MAX_REASON, "{what}: {reason}");
        // Its tensors are not read as anything else.
        for tensor in unreadable.tensors() {
            let also = weights.readable.iter().find(|weight| weight.tensors().contains(&tensor));
            assert!(also.is_none(), "{what}: {reason} {tensor}");
        }
    }
    let bytes: u64 = model.tensors.iter().map(|tensor| tensor.bytes).sum();
    for weight in weights.readable.iter().filter(|weight| is_scheme(weight)) {
        // No metadata makes a weight larger than its codes.
        assert!(weight.elements().unwrap() <= bytes * 8, "{what}: {:?}", weight.shape);
        assert!(WeightReader::piece_len(weight).is_multiple_of(512), "{what}");
        if !checks_values(weight) {
            continue;
        }
        let whole = values(model, weight, 1 << 20);
        let pieces = values(model, weight, 97);
        let same = whole.iter().zip(&pieces).all(|(a, b)| a.to_bits() == b.to_bits());
        assert!(same && whole.len() == pieces.len(), "{what}");
    }
    weights
}

fn is_scheme(weight: &Weight) -> bool {
    matches!(weight.storage, WeightStorage::Quantised(_))
}

/// Returns whether any codes were read.
fn is_any_read(weights: &Weights) -> bool {
    weights.readable.iter().any(is_scheme)
}

/// Checks changed tensors of a layer, in a directory with its configuration, and the values of the weights that the
/// changed tensor may affect.
fn check_pieces(dir: &Path, pieces: &[Piece], what: &str, changed: &str) -> (Checkpoint, Weights) {
    layers::write(&dir.join("model.safetensors"), pieces, None);
    let module = |name: &str| name.split('.').take(5).collect::<Vec<_>>().join(".");
    let changed = module(changed);
    let model = open(dir);
    let weights =
        check(&model, what, |weight| changed.is_empty() || module(&weight.name) == changed);
    (model, weights)
}

/// Returns the names of the tensors of each quantised weight.
pub(super) fn quantised_tensors(model: &Checkpoint, weights: &Weights) -> BTreeSet<Vec<String>> {
    let name = |index: &usize| model.tensors[*index].name.clone();
    let schemes = weights.readable.iter().filter(|weight| is_scheme(weight));
    schemes.map(|weight| weight.tensors().iter().map(name).collect()).collect()
}

/// Checks that codes and scales are still read as such or are unreadable, and are never weights themselves.
pub(super) fn check_codes(model: &Checkpoint, weights: &Weights, before: &[String], what: &str) {
    let index = |name: &String| model.tensors.iter().position(|tensor| tensor.name == *name);
    let Some(codes) = index(&before[0]) else { return };
    let tensor = &model.tensors[codes];
    let is_matrix = tensor.shape.iter().filter(|len| **len > 1).count() > 1;
    let is_other = matches!(tensor.dtype, Dtype::F32 | Dtype::BF16 | Dtype::F8_E8M0 | Dtype::BOOL);
    if !is_matrix || is_other {
        return;
    }
    let is_read = |weight: &Weight| is_scheme(weight) && weight.tensors()[0] == codes;
    if weights.readable.iter().any(is_read) {
        return;
    }
    assert!(
        weights.unreadable.iter().any(|unreadable| unreadable.tensors().any(|part| part == codes)),
        "{what}"
    );
    // Except for integers, which are never taken for values, and orders of columns, which are short.
    let parts = before.iter().filter(|name| !name.ends_with("g_idx")).filter_map(index);
    for part in parts.filter(|part| model.tensors[*part].dtype.is_float()) {
        let also = weights.readable.iter().find(|weight| weight.tensors().contains(&part));
        assert!(also.is_none(), "{what}: {}", model.tensors[part].name);
    }
}

/// What is changed in a tensor.
#[derive(PartialEq)]
enum Changed {
    Name,
    Other,
}

/// Tests each tensor of each layer with each change.
fn change_each<C: std::fmt::Debug>(
    kind: Changed,
    changes: impl Fn(&Piece) -> Vec<C>,
    apply: impl Fn(&mut Vec<Piece>, usize, &C),
) {
    let (mut read, mut all) = (0, 0);
    for name in layers::names() {
        let copy = layers::copy(&name);
        let pieces = layers::pieces(&name);
        let (model, weights) = check_pieces(copy.path(), &pieces, &name, "");
        let before = quantised_tensors(&model, &weights);
        assert!(!before.is_empty(), "{name}");
        for at in 0..pieces.len() {
            for change in changes(&pieces[at]) {
                let mut changed = pieces.clone();
                apply(&mut changed, at, &change);
                let what = format!("{name}: {} {change:?}", pieces[at].name);
                let (model, weights) = check_pieces(copy.path(), &changed, &what, &pieces[at].name);
                // Codes without scales, or in a defective file, cannot be recognised.
                if kind == Changed::Other && model.problems.is_empty() {
                    before.iter().for_each(|names| check_codes(&model, &weights, names, &what));
                }
                read += u32::from(is_any_read(&weights));
                all += 1;
            }
        }
    }
    // Most layers have several weights, of which only one is changed.
    assert!(read > all / 10 && all > 500, "{read} of {all}");
}

#[test]
fn tensors_that_are_missing_or_called_otherwise() {
    change_each(
        Changed::Name,
        |_| vec!["missing", "under", "beside", "upper"],
        |pieces, at, change| {
            let name = &mut pieces[at].name;
            match *change {
                "missing" => drop(pieces.remove(at)),
                "under" => name.push_str("_x"),
                "beside" => name.insert_str(0, "x."),
                _ => *name = name.to_uppercase(),
            }
        },
    );
}

/// Returns other shapes: each dimension one less, one more, zero, doubled; and others with the same number of elements.
fn shapes(shape: &[u64]) -> Vec<Vec<u64>> {
    let mut all = Vec::new();
    for (at, len) in shape.iter().enumerate() {
        for other in [len.saturating_sub(1), len + 1, 0, len * 2, len / 2, 1] {
            let mut shape = shape.to_vec();
            shape[at] = other;
            all.push(shape);
        }
    }
    let elements = shape.iter().product::<u64>();
    let outer = |ones: usize| [vec![1; ones], shape.to_vec()].concat();
    all.extend([vec![elements], vec![1, elements], vec![elements, 1], outer(1), outer(40)]);
    all.push(shape.iter().rev().copied().collect());
    all.push([shape, &[1]].concat());
    if let Some(two) = elements.is_multiple_of(2).then_some(elements / 2) {
        all.extend([vec![2, two], vec![two, 2], vec![2, 1, two], vec![two, 1, 2, 1]]);
    }
    all.push(vec![1; 250]);
    all.retain(|other| other != shape);
    all
}

#[test]
fn shapes_that_do_not_fit() {
    change_each(
        Changed::Other,
        |piece| shapes(&piece.shape),
        |pieces, at, shape| {
            pieces[at].shape.clone_from(shape);
            pieces[at].fill();
        },
    );
}

#[test]
fn types_that_do_not_fit() {
    // With the same number of elements, and with the same number of bytes if those are whole elements.
    let changes = |piece: &Piece| -> Vec<(&str, bool)> {
        let others = TYPES.iter().filter(|dtype| **dtype != piece.dtype);
        others.flat_map(|dtype| [(*dtype, true), (*dtype, false)]).collect()
    };
    change_each(Changed::Other, changes, |pieces, at, (dtype, elements)| {
        let piece = &mut pieces[at];
        let bits = |dtype: &str| u64::from(dtype.parse::<Dtype>().unwrap().bits());
        let (old, new) = (bits(&piece.dtype), bits(dtype));
        piece.dtype = (*dtype).to_owned();
        if let (false, Some(last)) = (elements, piece.shape.last_mut()) {
            *last = (*last * old / new).max(1);
        }
        piece.fill();
    });
}

/// Returns other contents: all bits equal, and extreme numbers.
fn contents(piece: &Piece) -> Vec<Vec<u8>> {
    let len = piece.data.len();
    let mut all = vec![vec![0; len], vec![0xFF; len]];
    let width = if piece.shape.is_empty() { len } else { len / (piece.shape[0] as usize).max(1) };
    // Metadata: the same number of integers, of which one or all are changed.
    if len <= 64 && matches!(width, 1 | 4 | 8) && piece.dtype.starts_with(['I', 'U']) {
        let numbers =
            [0, 1, 2, 3, 7, 33, 255, 1 << 20, 1 << 31, 1 << 52, 1 << 62, i64::MAX, i64::MIN, -1];
        for number in numbers.map(i64::to_le_bytes) {
            all.push(number[..width].repeat(len / width));
            for at in 0..len / width {
                let mut other = piece.data.clone();
                other[at * width..(at + 1) * width].copy_from_slice(&number[..width]);
                all.push(other);
            }
        }
    }
    all.retain(|other| *other != piece.data);
    all
}

#[test]
fn numbers_that_are_no_sizes() {
    change_each(Changed::Other, contents, |pieces, at, data| pieces[at].data.clone_from(data));
}

#[test]
fn dimensions_in_a_long_note() {
    for (layer, ending) in [("hqq", ".shape"), ("compressed-tensors", ".weight_shape")] {
        for len in [0usize, 1, 3, 256, 8192, 100_000] {
            for number in [1i64, 2, 1 << 40] {
                let copy = layers::copy(layer);
                let mut pieces = layers::pieces(layer);
                for piece in pieces.iter_mut().filter(|piece| piece.name.ends_with(ending)) {
                    piece.shape = vec![len as u64];
                    piece.data = number.to_le_bytes().repeat(len);
                }
                check_pieces(copy.path(), &pieces, &format!("{layer} {len} {number}"), "");
            }
        }
    }
}

#[test]
fn notes_of_bitsandbytes() {
    let deep = "[".repeat(20_000);
    for layer in ["bitsandbytes-nf4", "bitsandbytes-nf4-nested", "bitsandbytes-fp4"] {
        let pieces = layers::pieces(layer);
        let at = pieces.iter().position(|piece| piece.name.contains("quant_state")).unwrap();
        let note: serde_json::Value = serde_json::from_slice(&pieces[at].data).unwrap();
        let mut notes: Vec<String> =
            ["", "{", "[]", "null", "\"\"", "\u{0}", &deep].map(str::to_owned).to_vec();
        for key in ["blocksize", "shape", "nested_blocksize", "nested_offset"] {
            let mut values: Vec<serde_json::Value> = super::configurations::extremes();
            values.extend([
                json!([]),
                json!([0, 5]),
                json!([2400]),
                json!([1u64 << 40, 1u64 << 40]),
                json!([u64::MAX, u64::MAX]),
                json!([1u64 << 63, 2]),
                json!(vec![1; 9000]),
                json!([24, 99]),
                json!([23, 100]),
                json!([2399]),
                json!(2),
                json!(3),
                json!(64),
                json!(1u64 << 40),
                json!((1u64 << 63)),
                json!(u64::MAX - 1),
            ]);
            for value in values {
                let mut note = note.clone();
                note[key] = value;
                notes.push(note.to_string());
            }
        }
        let copy = layers::copy(layer);
        for note in notes {
            let mut pieces = pieces.clone();
            pieces[at].data = note.clone().into_bytes();
            pieces[at].shape = vec![note.len() as u64];
            let shown: String = note.chars().take(200).collect();
            check_pieces(copy.path(), &pieces, &format!("{layer} {shown}"), "");
        }
    }
}

#[test]
fn long_metadata() {
    let long = "x".repeat(1 << 20);
    for name in layers::names() {
        let copy = layers::copy(&name);
        let pieces = layers::pieces(&name);
        let weight = format!("{}.weight", pieces[0].name.rsplit_once('.').unwrap().0);
        for metadata in [
            json!({"format": long}),
            json!({"tensor_names": "[", weight.clone(): "{"}),
            json!({"tensor_names": format!("[{long}"), weight.clone(): "[".repeat(100_000)}),
            json!({weight.clone(): r#"{"_type": "Int4Tensor", "_data": 5, "_tensor_data_names": [7]}"#}),
        ] {
            let path = copy.path().join("model.safetensors");
            layers::write(&path, &pieces, Some(metadata));
            let weights = check(&open(copy.path()), &name, |_| true);
            assert!(is_any_read(&weights), "{name}");
        }
    }
}
