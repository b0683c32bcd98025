//! Values changed on purpose: rows, columns, whole tensors.

use super::victim::{Float, Target};
use super::{Attack, Demand};
use half::{bf16, f16};
use std::ops::Range;

const ROW: &[&str] = &["weights/row-outlier"];
const COLUMN: &[&str] = &["weights/column-outlier"];
const ZERO_ROW: &[&str] = &["weights/row-outlier", "weights/constant-run"];
const CONSTANT: &[&str] = &["weights/constant-tensor"];
const DUPLICATE: &[&str] = &["weights/duplicate-tensor"];
const COHORT: &[&str] = &["weights/cohort-outlier"];
const FAKE: &[&str] = &["weights/fake-precision"];

/// Rows and columns of a matrix, scaled or cleared.
pub(crate) fn lines() -> Vec<Attack> {
    let row = |name, strength: &str, rules, count: usize, by: f32| {
        let deed = move |t: &mut Target| {
            let (rows, columns) = t.matrix();
            let first = t.median_row().min(rows - count);
            let elements = first * columns..(first + count) * columns;
            elements.clone().for_each(|i| t.set_value(i, by * t.value(i)));
            t.element(elements.start).start..t.element(elements.end - 1).end
        };
        Attack::new(name, strength, rules, deed).local()
    };
    let column = |strength: &str, by: f32| {
        let deed = move |t: &mut Target| {
            let (rows, columns) = t.matrix();
            let at = t.median_column();
            (0..rows).for_each(|row| {
                let i = row * columns + at;
                t.set_value(i, by * t.value(i));
            });
            t.element(at).start..t.element((rows - 1) * columns + at).end
        };
        Attack::new("scaled column", strength, COLUMN, deed)
    };
    vec![
        // Rows of sound matrices differ as much.
        row("scaled row", "× 3", ROW, 1, 3.0).demand(Demand::Never),
        row("scaled row", "× 10", ROW, 1, 10.0),
        row("scaled row", "× 30", ROW, 1, 30.0),
        row("scaled neuron", "× -20", ROW, 1, -20.0),
        column("× 3", 3.0).demand(Demand::Never),
        column("× 10", 10.0),
        column("× 30", 30.0),
        // Legal in pruned models.
        row("zeroed row", "1 row", ZERO_ROW, 1, 0.0).least("info"),
        row("zeroed row", "8 rows", ZERO_ROW, 8, 0.0).least("info"),
    ]
}

/// Whole tensors: cleared, copied, scaled.
pub(crate) fn tensors() -> Vec<Attack> {
    let every = |name, strength: &str, rules, change: fn(usize, &mut Target)| {
        let deed = move |t: &mut Target| {
            (0..t.elements()).for_each(|i| change(i, t));
            0..t.data.len()
        };
        Attack::new(name, strength, rules, deed)
    };
    let copied = |t: &mut Target| -> Range<usize> {
        t.data.copy_from_slice(t.sibling);
        0..t.data.len()
    };
    vec![
        // Legal in new models and adapters.
        every("constant tensor", "zero", CONSTANT, |i, t| t.set_bits(i, 0)).least("info"),
        every("constant tensor", "first value", CONSTANT, |i, t| t.set_bits(i, t.bits(0)))
            .least("info"),
        // Legal where weights are tied.
        Attack::new("duplicated tensor", "of another layer", DUPLICATE, copied).least("info"),
        every("one layer unlike", "× 3", COHORT, |i, t| t.set_value(i, 3.0 * t.value(i)))
            .least("low"),
        every("one layer unlike", "× 10", COHORT, |i, t| t.set_value(i, 10.0 * t.value(i)))
            .least("low"),
    ]
}

/// F32 that is no more than a shorter type stored wide. Nothing is wrong with it: a remark is enough.
pub(crate) fn precision() -> Vec<Attack> {
    let fake = |strength: &str, deed: fn(&mut Target)| {
        let deed = move |t: &mut Target| {
            assert_eq!(t.float(), Float::F32);
            deed(t);
            0..t.data.len()
        };
        Attack::new("fake precision", strength, FAKE, deed).least("info")
    };
    vec![
        fake("from BF16", |t| cast(t, |v| bf16::from_f32(v).to_f32())),
        fake("from F16", |t| cast(t, |v| f16::from_f32(v).to_f32())),
        fake("from 8 bits a row", |t| quantise(t, 127.0)),
        fake("from 4 bits a row", |t| quantise(t, 7.0)),
    ]
}

fn cast(t: &mut Target, there_and_back: fn(f32) -> f32) {
    (0..t.elements()).for_each(|i| t.set_value(i, there_and_back(t.value(i))));
}

/// To codes from -most to most with a scale for each row, and back.
fn quantise(t: &mut Target, most: f32) {
    let (rows, columns) = t.matrix();
    for row in 0..rows {
        let elements = row * columns..(row + 1) * columns;
        let largest = elements.clone().fold(0.0f32, |top, i| top.max(t.value(i).abs()));
        let step = largest / most;
        if step > 0.0 {
            elements.for_each(|i| t.set_value(i, (t.value(i) / step).round() * step));
        }
    }
}
