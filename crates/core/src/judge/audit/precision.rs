//! Values that have less precision than their type, and lower halves that should be empty and are not.

use super::{AuditSubject, Siblings};
use crate::judge::finding::Finding;
use tensorseal_base::dtype::Dtype;

/// Elements that a tensor needs.
const LEAST_ELEMENTS: u64 = 4096;

/// Most distinct values of a tensor that is a grid of integers, with one scale.
const GRID: u64 = 256;

/// Distinct lower halves of values that were widened from F16: three bits of the mantissa.
const WIDENED_F16: u64 = 8;

/// Share of the values of a row that occur again within it, from which they lie on a grid.
const REPEATED: f64 = 0.2;

/// Share of the elements between the first and the last full lower half that must be full, for them to be
/// one patch.
const DENSE: f64 = 0.9;

/// Distinct lower halves below which they are those of constants.
const FEW_HALVES: u64 = 16;

/// Judges precision.
pub(super) fn judge(subjects: &[AuditSubject<'_>], siblings: &Siblings<'_>) -> Vec<Finding> {
    subjects
        .iter()
        .filter(|subject| subject.tensor.dtype.is_float() && subject.count() >= LEAST_ELEMENTS)
        .filter_map(|subject| low_half(subject, siblings).or_else(|| fake(subject)))
        .collect()
}

/// Whether all lower halves of an F32 tensor are empty: it was widened from BF16, or from F16 by a cast
/// that keeps ten bits or fewer.
fn is_widened(subject: &AuditSubject<'_>) -> bool {
    let values = &subject.facts.distribution;
    let nonzero = values.count - values.zero;
    let empty = subject.facts.low_bits.as_ref().map_or(0, |low| low.empty_halves);
    subject.tensor.dtype == Dtype::F32 && nonzero > 0 && empty == nonzero
}

fn fake(subject: &AuditSubject<'_>) -> Option<Finding> {
    let low = subject.facts.low_bits.as_ref().map_or(u64::MAX, |low| low.distinct);
    let wide = subject.tensor.dtype == Dtype::F32;
    let message = if is_widened(subject) || (wide && low <= WIDENED_F16) {
        "its values have 16 bits and are stored in 32".to_owned()
    } else if wide && subject.facts.localization.repeated_share > REPEATED {
        "many of its values occur again within a row, as integers with a scale for each row do"
            .to_owned()
    } else if subject.tensor.dtype.bits() == 16 && (3..=GRID).contains(&subject.facts.distinct) {
        format!(
            "it has {} distinct values, as integers with one scale have",
            subject.facts.distinct
        )
    } else {
        return None;
    };
    Some(subject.whole(subject.finding("weights/fake-precision", message)))
}

/// Lower halves that are full in one patch, or throughout one layer, where all others are empty.
fn low_half(subject: &AuditSubject<'_>, siblings: &Siblings<'_>) -> Option<Finding> {
    let low_bits =
        subject.facts.low_bits.as_ref().filter(|_| subject.tensor.dtype == Dtype::F32)?;
    let full = &subject.facts.localization.nonzero_lower_halves;
    if let Some(hull) =
        full.hull().filter(|_| low_bits.has_mixed_halves(&subject.facts.distribution))
    {
        let dense = full.count as f64 >= DENSE * (hull[1] - hull[0]) as f64;
        let outside = subject.count() - (hull[1] - hull[0]);
        let dense = dense && outside as f64 >= DENSE * low_bits.empty_halves as f64;
        let row = subject.row_bytes() / 4;
        let is_rows = row > 0 && hull.iter().all(|end| end.is_multiple_of(row));
        // Rows that were trained after the others were widened are usual.
        if !dense || (is_rows && subject.table) {
            return None;
        }
        let message = format!(
            "the lower halves of {} values in a row are full, and those of its other values are empty: it was widened from 16 bits, and something was written into the free ones",
            full.count
        );
        let finding = subject
            .finding("payload/low-half", message)
            .with("full_halves", full.count)
            .with("empty_halves", low_bits.empty_halves);
        return Some(subject.at_elements(finding, hull));
    }
    let others: Vec<_> = siblings
        .get(subject.role.role.as_str())?
        .iter()
        .filter(|other| other.role.depth != subject.role.depth)
        .collect();
    let alone = others.len() > 1 && others.iter().all(|other| is_widened(other));
    let few = low_bits.empty_halves <= subject.count() / 50 && low_bits.distinct >= FEW_HALVES;
    if !alone || !few || subject.tensor.shape.len() < 2 {
        return None;
    }
    let message = format!(
        "its values fill 32 bits, and those of the same tensor in {} other layers fill 16: something may lie in the lower halves",
        others.len()
    );
    let finding = subject
        .finding("payload/low-half", message)
        .with("distinct_halves", low_bits.distinct)
        .with("layers", others.len());
    Some(subject.whole(finding))
}
