//! Layers with something that is not as it should be, one thing at a time: each is read whole, whatever it then says, or
//! not at all, for a reason that a line tells.

use super::layers::{self, Piece};
use super::{open, values};
use crate::{Form, Weight, Weights};
use serde_json::json;
use std::path::Path;
use tensorseal_format::Checkpoint;

/// Longest reason, in characters.
const LONGEST: usize = 300;

/// Types of every width.
const TYPES: &[&str] =
    &["U8", "I8", "F8_E4M3", "F8_E8M0", "I16", "BF16", "I32", "U32", "F32", "I64", "F4", "BOOL"];

/// Holds what a model is taken for to the rules, and its values where they are wanted. Whether any of its codes was
/// read.
pub fn hold(model: &Checkpoint, what: &str, mut is_wanted: impl FnMut(&Weight) -> bool) -> bool {
    let weights = Weights::of(model);
    for unread in &weights.unread {
        let reason = &unread.reason;
        assert!(!reason.is_empty() && !reason.contains(char::is_control), "{what}: {reason:?}");
        assert!(reason.chars().count() < LONGEST, "{what}: {reason}");
        // It is not read as anything else.
        let is_it = |weight: &&Weight| {
            matches!(weight.form, Form::Scheme(_)) && weight.tensors()[0] == unread.tensor
        };
        let also = weights.weights.iter().find(is_it);
        assert!(also.is_none(), "{what}: {reason}");
    }
    let bytes: u64 = model.tensors.iter().map(|tensor| tensor.bytes).sum();
    let schemes = weights.weights.iter().filter(|weight| matches!(weight.form, Form::Scheme(_)));
    let mut any = false;
    for weight in schemes {
        any = true;
        // No note makes a weight larger than its codes are.
        assert!(weight.elements().unwrap() <= bytes * 8, "{what}: {:?}", weight.shape);
        if !is_wanted(weight) {
            continue;
        }
        let whole = values(model, weight, 1 << 20);
        let pieces = values(model, weight, 97);
        let same = whole.iter().zip(&pieces).all(|(a, b)| a.to_bits() == b.to_bits());
        assert!(same && whole.len() == pieces.len(), "{what}");
    }
    any
}

/// Holds changed tensors of a layer, in a folder that has its configuration; and the weights that may be others by what
/// was changed of one tensor.
fn hold_pieces(dir: &Path, pieces: &[Piece], what: &str, changed: &str) -> bool {
    layers::write(&dir.join("model.safetensors"), pieces, None);
    let module = |name: &str| name.split('.').take(5).collect::<Vec<_>>().join(".");
    let changed = module(changed);
    hold(&open(dir), what, |weight| changed.is_empty() || module(&weight.name) == changed)
}

/// Calls something with each tensor of each layer that has a name such as this, changed by each of some changes.
fn change_each<C>(changes: impl Fn(&Piece) -> Vec<C>, apply: impl Fn(&mut Vec<Piece>, usize, &C))
where
    C: std::fmt::Debug,
{
    let (mut read, mut all) = (0, 0);
    for name in layers::names() {
        let copy = layers::copy(&name);
        let pieces = layers::pieces(&name);
        assert!(hold_pieces(copy.path(), &pieces, &name, ""), "{name}");
        for at in 0..pieces.len() {
            for change in changes(&pieces[at]) {
                let mut changed = pieces.clone();
                apply(&mut changed, at, &change);
                let what = format!("{name}: {} {change:?}", pieces[at].name);
                read += u32::from(hold_pieces(copy.path(), &changed, &what, &pieces[at].name));
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
    change_each(changes, |pieces, at, (dtype, elements)| {
        let piece = &mut pieces[at];
        let bits = |dtype: &str| u64::from(dtype.parse::<super::Dtype>().unwrap().bits());
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
    change_each(contents, |pieces, at, data| pieces[at].data.clone_from(data));
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
            assert!(hold(&open(copy.path()), &name, |_| true), "{name}");
        }
    }
}
