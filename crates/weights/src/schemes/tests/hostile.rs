//! Layers with something that is not as it should be, one thing at a time: each is read whole, whatever it then says, or
//! not at all, for a reason that a line tells.

use super::layers::{self, Piece};
use super::{open, values};
use crate::reader::WeightReader;
use crate::{Weight, WeightStorage, Weights};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;
use tensorseal_base::dtype::Dtype;
use tensorseal_format::Checkpoint;

/// Longest reason, in characters.
const LONGEST: usize = 300;

/// Types of every width.
const TYPES: &[&str] =
    &["U8", "I8", "F8_E4M3", "F8_E8M0", "I16", "BF16", "I32", "U32", "F32", "I64", "F4", "BOOL"];

/// Holds what a model is taken for to the rules, and its values where they are wanted.
pub(super) fn hold(
    model: &Checkpoint,
    what: &str,
    mut is_wanted: impl FnMut(&Weight) -> bool,
) -> Weights {
    let weights = Weights::from_checkpoint(model);
    for unread in &weights.unreadable {
        let reason = &unread.reason;
        assert!(!reason.is_empty() && !reason.contains(char::is_control), "{what}: {reason:?}");
        assert!(reason.chars().count() < LONGEST, "{what}: {reason}");
        // It is not read as anything else, and neither is what belongs to it.
        for tensor in unread.tensors() {
            let also = weights.readable.iter().find(|weight| weight.tensors().contains(&tensor));
            assert!(also.is_none(), "{what}: {reason} {tensor}");
        }
    }
    let bytes: u64 = model.tensors.iter().map(|tensor| tensor.bytes).sum();
    for weight in weights.readable.iter().filter(|weight| is_scheme(weight)) {
        // No note makes a weight larger than its codes are.
        assert!(weight.elements().unwrap() <= bytes * 8, "{what}: {:?}", weight.shape);
        assert!(WeightReader::piece_len(weight).is_multiple_of(512), "{what}");
        if !is_wanted(weight) {
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

/// Whether any codes were read.
fn is_any_read(weights: &Weights) -> bool {
    weights.readable.iter().any(is_scheme)
}

/// Holds changed tensors of a layer, in a folder that has its configuration; and the weights that may be others by what
/// was changed of one tensor.
fn hold_pieces(dir: &Path, pieces: &[Piece], what: &str, changed: &str) -> (Checkpoint, Weights) {
    layers::write(&dir.join("model.safetensors"), pieces, None);
    let module = |name: &str| name.split('.').take(5).collect::<Vec<_>>().join(".");
    let changed = module(changed);
    let model = open(dir);
    let weights =
        hold(&model, what, |weight| changed.is_empty() || module(&weight.name) == changed);
    (model, weights)
}

/// The tensors of each weight that was codes, by name.
pub(super) fn of_codes(model: &Checkpoint, weights: &Weights) -> BTreeSet<Vec<String>> {
    let name = |index: &usize| model.tensors[*index].name.clone();
    let schemes = weights.readable.iter().filter(|weight| is_scheme(weight));
    schemes.map(|weight| weight.tensors().iter().map(name).collect()).collect()
}

/// What was codes and scales is that still, or is not read: it is no weight of other values.
pub(super) fn hold_codes(model: &Checkpoint, weights: &Weights, before: &[String], what: &str) {
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
        weights.unreadable.iter().any(|unread| unread.tensors().any(|part| part == codes)),
        "{what}"
    );
    // But for integers, which are never taken for values, and orders of columns, which are short.
    let parts = before.iter().filter(|name| !name.ends_with("g_idx")).filter_map(index);
    for part in parts.filter(|part| model.tensors[*part].dtype.is_float()) {
        let also = weights.readable.iter().find(|weight| weight.tensors().contains(&part));
        assert!(also.is_none(), "{what}: {}", model.tensors[part].name);
    }
}

/// What is changed of a tensor.
#[derive(PartialEq)]
enum Changed {
    Name,
    Other,
}

/// Calls something with each tensor of each layer, changed by each of some changes.
fn change_each<C: std::fmt::Debug>(
    kind: Changed,
    changes: impl Fn(&Piece) -> Vec<C>,
    apply: impl Fn(&mut Vec<Piece>, usize, &C),
) {
    let (mut read, mut all) = (0, 0);
    for name in layers::names() {
        let copy = layers::copy(&name);
        let pieces = layers::pieces(&name);
        let (model, weights) = hold_pieces(copy.path(), &pieces, &name, "");
        let before = of_codes(&model, &weights);
        assert!(!before.is_empty(), "{name}");
        for at in 0..pieces.len() {
            for change in changes(&pieces[at]) {
                let mut changed = pieces.clone();
                apply(&mut changed, at, &change);
                let what = format!("{name}: {} {change:?}", pieces[at].name);
                let (model, weights) = hold_pieces(copy.path(), &changed, &what, &pieces[at].name);
                // Codes that lost their scales, or whose file has a fault, are told by nothing.
                if kind == Changed::Other && model.problems.is_empty() {
                    before.iter().for_each(|names| hold_codes(&model, &weights, names, &what));
                }
                read += u32::from(is_any_read(&weights));
                all += 1;
            }
        }
    }
    // Most layers have several weights, of which one is changed.
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

/// Dimensions that differ from these: each one less, one more, none, twice; and others of as many elements.
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
    // With as many elements, and with as many bytes where those are whole elements.
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

/// Bytes that say other things than these: all of one bit, and numbers at the ends of their types.
fn contents(piece: &Piece) -> Vec<Vec<u8>> {
    let len = piece.data.len();
    let mut all = vec![vec![0; len], vec![0xFF; len]];
    let width = if piece.shape.is_empty() { len } else { len / (piece.shape[0] as usize).max(1) };
    // Notes: as many numbers as they have, of which one or all are others.
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
                hold_pieces(copy.path(), &pieces, &format!("{layer} {len} {number}"), "");
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
            hold_pieces(copy.path(), &pieces, &format!("{layer} {shown}"), "");
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
            let weights = hold(&open(copy.path()), &name, |_| true);
            assert!(is_any_read(&weights), "{name}");
        }
    }
}
