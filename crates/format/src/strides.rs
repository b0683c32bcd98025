//! The order in which the elements of a tensor are stored.
//!
//! Most tensors are row-major: the last dimension varies fastest. Others have *strides*: for each dimension the
//! number of elements between consecutive indexes. Such a tensor takes the range of the file from its first element
//! to its last.

use std::borrow::Cow;

/// Returns strides in their canonical form: `None` if the elements are row-major, and zero for dimensions of size
/// one, whose stride does not matter.
pub fn canonical_strides(shape: &[u64], strides: &[u64]) -> Option<Vec<u64>> {
    if shape.contains(&0) || is_row_major(shape.iter().copied().zip(strides.iter().copied())) {
        return None;
    }
    let step = |(size, stride): (&u64, &u64)| if *size == 1 { 0 } else { *stride };
    Some(shape.iter().zip(strides).map(step).collect())
}

/// Returns the strides of an array whose first dimension varies fastest, in the form of [`canonical_strides`].
pub fn column_major_strides(shape: &[u64]) -> Option<Vec<u64>> {
    let mut step = 1u64;
    let strides: Vec<u64> = shape
        .iter()
        .map(|size| {
            let stride = step;
            step = step.saturating_mul(*size);
            stride
        })
        .collect();
    canonical_strides(shape, &strides)
}

/// The number of elements from the first to the last element of a tensor in its file, or `None` if it overflows 64
/// bits.
pub fn stored_element_count(shape: &[u64], strides: Option<&[u64]>) -> Option<u64> {
    let Some(strides) = strides else { return element_count(shape) };
    if shape.contains(&0) {
        return Some(0);
    }
    let last = shape.iter().zip(strides).try_fold(0u64, |last, (size, stride)| {
        last.checked_add((size - 1).checked_mul(*stride)?)
    })?;
    last.checked_add(1)
}

/// The number of elements of a shape, or `None` if it overflows 64 bits. A shape with a zero has no elements,
/// whatever the other dimensions are.
pub fn element_count(shape: &[u64]) -> Option<u64> {
    match shape.contains(&0) {
        true => Some(0),
        false => shape.iter().try_fold(1u64, |all, one| all.checked_mul(*one)),
    }
}

/// The dimensions in the order in which the elements are stored, with the last one fastest. If the tensor fills
/// its range of the file exactly, these are its dimensions in another order. If it skips or repeats elements, this
/// is a single dimension.
pub fn storage_shape<'a>(shape: &'a [u64], strides: Option<&[u64]>) -> Cow<'a, [u64]> {
    let Some(strides) = strides else { return shape.into() };
    // Outermost first.
    let mut order: Vec<(u64, u64)> = shape.iter().copied().zip(strides.iter().copied()).collect();
    order.sort_by_key(|(_, stride)| std::cmp::Reverse(*stride));
    match is_row_major(order.iter().copied()) {
        true => order.into_iter().map(|(size, _)| size).collect(),
        false => vec![stored_element_count(shape, Some(strides)).unwrap_or(u64::MAX)].into(),
    }
}

/// The position among the stored elements of the element with this row-major index.
pub fn stored_position(shape: &[u64], strides: &[u64], element: u64) -> u64 {
    let (mut rest, mut position) = (element, 0u64);
    for (size, stride) in shape.iter().zip(strides).rev() {
        let size = (*size).max(1);
        position = position.saturating_add((rest % size).saturating_mul(*stride));
        rest /= size;
    }
    position
}

/// Whether dimensions with these strides are contiguous and row-major.
fn is_row_major(dimensions: impl DoubleEndedIterator<Item = (u64, u64)>) -> bool {
    let mut expected = 1u64;
    for (size, stride) in dimensions.rev().filter(|(size, _)| *size != 1) {
        if stride != expected {
            return false;
        }
        expected = expected.saturating_mul(size);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_lies_row_major_has_no_strides() {
        assert_eq!(canonical_strides(&[2, 3], &[3, 1]), None);
        assert_eq!(canonical_strides(&[2, 1, 3], &[3, 99, 1]), None);
        assert_eq!(canonical_strides(&[0, 3], &[7, 7]), None);
        assert_eq!(canonical_strides(&[], &[]), None);
        assert_eq!(canonical_strides(&[3, 2], &[1, 3]), Some(vec![1, 3]));
        assert_eq!(canonical_strides(&[3, 1, 2], &[1, 77, 3]), Some(vec![1, 0, 3]));
        assert_eq!(column_major_strides(&[2, 3]), Some(vec![1, 2]));
        assert_eq!(column_major_strides(&[1, 3]), None);
        assert_eq!(column_major_strides(&[7]), None);
    }

    #[test]
    fn dimensions_in_the_order_of_the_file() {
        let of = |shape: &[u64], strides: &[u64]| storage_shape(shape, Some(strides)).into_owned();
        assert_eq!(of(&[3, 2], &[1, 3]), [2, 3]);
        assert_eq!(of(&[2, 2], &[3, 1]), [5]);
        assert_eq!(of(&[2, 3], &[0, 0]), [1]);
        assert_eq!(&storage_shape(&[4, 5], None)[..], [4, 5]);
        assert_eq!(stored_element_count(&[u64::MAX, 2], Some(&[2, 1])), None);
        assert_eq!(element_count(&[u64::MAX, 4, 0]), Some(0));
    }

    proptest! {
        #[test]
        fn positions_lie_in_the_stretch(
            dimensions in prop::collection::vec((1u64..5, 0u64..9), 0..4),
        ) {
            let (shape, strides): (Vec<u64>, Vec<u64>) = dimensions.into_iter().unzip();
            let all = element_count(&shape).unwrap();
            let stored = stored_element_count(&shape, Some(&strides)).unwrap();
            let positions: Vec<u64> =
                (0..all).map(|element| stored_position(&shape, &strides, element)).collect();
            prop_assert_eq!(positions.iter().max().copied(), Some(stored - 1));
            let listed = storage_shape(&shape, Some(&strides));
            prop_assert_eq!(element_count(&listed), Some(stored));
            // Row-major is what needs no strides, and only that.
            let plain: Vec<u64> = (0..all).collect();
            prop_assert_eq!(canonical_strides(&shape, &strides).is_none(), positions == plain);
        }

        #[test]
        fn anything_ends(shape: Vec<u64>, strides: Vec<u64>, element: u64) {
            let len = shape.len().min(strides.len());
            let (shape, strides) = (&shape[..len], &strides[..len]);
            let _ = (stored_element_count(shape, Some(strides)), canonical_strides(shape, strides));
            let _ = (storage_shape(shape, Some(strides)), stored_position(shape, strides, element));
        }
    }
}
