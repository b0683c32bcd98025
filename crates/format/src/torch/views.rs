//! Converts views of storages to byte ranges of the file.

use super::error::{MAX_REPEATED, MAX_SHARED, TorchError, TorchRemark};
use crate::parsed_file::StoredTensor;
use crate::pickle::{ElementType, StorageType, View};
use crate::problem::BoundedErrors;
use crate::strides;
use crate::tensor::BigEndianRange;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tensorseal_base::dtype::Dtype;

/// The size of a file in bytes up to which sharing of bytes is limited by a constant.
const SMALL: u64 = 1 << 20;

/// The location of a storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StoragePlacement {
    /// The bytes of the file that hold the storage.
    Range([u64; 2]),
    /// The storage does not exist.
    Missing,
    /// The storage exists but cannot be read, which was reported.
    Unreadable,
}

/// The tensors of a file with their positions.
#[derive(Debug, Default)]
pub(super) struct PlacedTensors {
    pub tensors: Vec<StoredTensor>,
    pub unreadable: Vec<String>,
    pub remarks: Vec<TorchRemark>,
    pub big_endian: Vec<BigEndianRange>,
}

/// Locates views in a file of `file_bytes` bytes. `place` returns the location of a storage by its key. Storages in
/// `conflicts` have contradictory descriptions.
pub(super) fn place_views(
    views: Vec<(String, Arc<View>)>,
    conflicts: &BTreeSet<String>,
    file_bytes: u64,
    is_big_endian: bool,
    place: impl Fn(&str) -> StoragePlacement,
    errors: &mut BoundedErrors<TorchError>,
) -> PlacedTensors {
    let mut placed = PlacedTensors::default();
    let mut storages: BTreeMap<String, Vec<(String, Arc<View>)>> = BTreeMap::new();
    for (name, view) in views {
        storages.entry(view.storage.key.clone()).or_default().push((name, view));
    }
    let mut strided: Vec<String> = Vec::new();
    for (key, views) in storages {
        let conflict = conflicts.contains(&key);
        let Some([start, end]) = storage(&key, &views, conflict, place(&key), errors) else {
            placed.unreadable.extend(views.into_iter().map(|(name, _)| name));
            continue;
        };
        let kind = views.first().map(|(_, view)| view.storage.kind);
        for (name, view) in views {
            let dtype = match view.element_type() {
                ElementType::Read(dtype) => dtype,
                ElementType::Named(what) => {
                    errors.push(TorchError::Dtype { tensor: name.clone(), what });
                    placed.unreadable.push(name);
                    continue;
                }
            };
            match extent(&view, dtype) {
                Err(what) => {
                    errors.push(TorchError::BadView { tensor: name.clone(), what });
                    placed.unreadable.push(name);
                }
                Ok(ViewExtent { from, bytes, limit, .. })
                    if bytes > 0 && from + bytes > limit.min(end - start) =>
                {
                    errors.push(TorchError::ViewPastEnd {
                        tensor: name.clone(),
                        storage: key.clone(),
                        needed: from + bytes,
                        has: limit.min(end - start),
                    });
                    placed.unreadable.push(name);
                }
                Ok(ViewExtent { shape, strides, .. })
                    if dtype == Dtype::F4 && (shape.is_empty() || strides.is_some()) =>
                {
                    let kind = "a tensor of packed pairs of elements in an unsupported order";
                    errors.push(TorchError::Kind { tensor: name.clone(), kind: kind.into() });
                    placed.unreadable.push(name);
                }
                Ok(ViewExtent { from, bytes, mut shape, strides, .. }) => {
                    // The dimensions count pairs, so the last one is doubled, as in a safetensors file.
                    if let Some(last) = shape.last_mut().filter(|_| dtype == Dtype::F4) {
                        *last = last.saturating_mul(2);
                    }
                    if strides.is_some() {
                        strided.push(name.clone());
                    }
                    // The offset of an empty tensor does not matter.
                    let offset = if bytes == 0 { start } else { start + from };
                    placed.tensors.push(StoredTensor {
                        name,
                        dtype,
                        shape,
                        strides,
                        offset,
                        bytes,
                    });
                }
            }
        }
        // A loader swaps the bytes of a storage by the type of the storage.
        let wide = kind.and_then(StorageType::dtype);
        let wide = wide.filter(|dtype| is_big_endian && dtype.bits() > 8);
        placed.big_endian.extend(wide.map(|dtype| BigEndianRange { range: [start, end], dtype }));
    }
    placed.big_endian.sort_by_key(|swapped| swapped.range);
    placed.tensors.sort_by(|a, b| (a.offset, &a.name).cmp(&(b.offset, &b.name)));
    limit_shared_bytes(&mut placed, file_bytes, errors);
    if let Some(first) = strided.first().cloned() {
        placed.remarks.push(TorchRemark::Strided { count: strided.len(), first });
    }
    placed
}

/// Limits the total size of views that share bytes, because each of them is read.
fn limit_shared_bytes(
    placed: &mut PlacedTensors,
    file_bytes: u64,
    errors: &mut BoundedErrors<TorchError>,
) {
    let max_sum = file_bytes.max(SMALL).saturating_mul(MAX_SHARED);
    let max_repeated = file_bytes.max(SMALL).saturating_mul(MAX_REPEATED);
    let (mut sum, mut repeated) = (0u64, 0u64);
    let mut skipped = Vec::new();
    placed.tensors.retain(|tensor| {
        // The size of the tensor in a loader, which counts repeated elements again.
        let elements = strides::element_count(&tensor.shape).unwrap_or(u64::MAX);
        let loaded = tensor.dtype.byte_len(elements).unwrap_or(u64::MAX);
        let new_repeated = repeated.saturating_add(loaded.saturating_sub(tensor.bytes));
        let new_sum = sum.saturating_add(tensor.bytes);
        if new_sum > max_sum || new_repeated > max_repeated {
            skipped.push(tensor.name.clone());
            return false;
        }
        (sum, repeated) = (new_sum, new_repeated);
        true
    });
    if !skipped.is_empty() {
        placed.unreadable.extend(skipped.iter().cloned());
        errors.push(TorchError::SharedBytes { tensors: skipped });
    }
}

/// Returns the bytes of a storage if it matches the description in the pickle.
fn storage(
    key: &str,
    views: &[(String, Arc<View>)],
    conflict: bool,
    place: StoragePlacement,
    errors: &mut BoundedErrors<TorchError>,
) -> Option<[u64; 2]> {
    let tensors = || views.iter().map(|(name, _)| name.clone()).collect();
    let name = || key.to_owned();
    let (_, first) = views.first()?;
    let stated = &first.storage;
    if conflict {
        errors.push(TorchError::StorageConflict { storage: name(), tensors: tensors() });
        return None;
    }
    let width = stated.kind.width();
    let elements = u64::try_from(stated.elements).ok();
    let bytes = elements.and_then(|elements| elements.checked_mul(width.unwrap_or(1)));
    let Some(bytes) = bytes.filter(|bytes| *bytes <= i64::MAX as u64) else {
        errors.push(TorchError::StorageOverflow { storage: name(), tensors: tensors() });
        return None;
    };
    let [start, end] = match place {
        StoragePlacement::Range(range) => range,
        StoragePlacement::Unreadable => return None,
        StoragePlacement::Missing => {
            errors.push(TorchError::StorageMissing { storage: name(), tensors: tensors() });
            return None;
        }
    };
    let has = end - start;
    if width.is_some() && has != bytes {
        let short = has < bytes;
        let tensors = if short { tensors() } else { Vec::new() };
        let (storage, range) = (name(), [start, end]);
        errors.push(TorchError::StorageSize { storage, stated: bytes, has, range, tensors });
        if short {
            return None;
        }
    }
    Some([start, end])
}

/// The part of a storage that a view takes.
#[derive(Debug, PartialEq, Eq)]
struct ViewExtent {
    /// The number of bytes before the view.
    from: u64,
    bytes: u64,
    /// The number of bytes of the storage up to the end of the part that the view belongs to.
    limit: u64,
    shape: Vec<u64>,
    strides: Option<Vec<u64>>,
}

/// Computes the part of the storage that a view takes.
fn extent(view: &View, dtype: Dtype) -> Result<ViewExtent, &'static str> {
    const OVERFLOW: &str = "its size overflows 64 bits";
    let positive = |values: &[i64], what| -> Result<Vec<u64>, &'static str> {
        values.iter().map(|value| u64::try_from(*value).map_err(|_| what)).collect()
    };
    let shape = positive(&view.shape, "a dimension is negative")?;
    let stride = positive(&view.stride, "a stride is negative")?;
    let offset = u64::try_from(view.offset).map_err(|_| "its offset is negative")?;
    let width = u64::from(dtype.bits() / 8).max(1);
    // A part of a storage is measured in elements of the storage.
    let (start, limit) = match view.storage.view {
        None => (0, u64::MAX),
        Some((offset, count)) => {
            let unit =
                view.storage.kind.dtype().map_or(1, |dtype| u64::from(dtype.bits() / 8).max(1));
            let start = u64::try_from(offset).map_err(|_| "its offset is negative")?;
            let count =
                u64::try_from(count).map_err(|_| "its part of the storage has a negative size")?;
            let end = start.checked_add(count).and_then(|end| end.checked_mul(unit));
            (start.checked_mul(unit).ok_or(OVERFLOW)?, end.ok_or(OVERFLOW)?)
        }
    };
    let from =
        offset.checked_mul(width).and_then(|from| start.checked_add(from)).ok_or(OVERFLOW)?;
    let elements = strides::element_count(&shape).ok_or(OVERFLOW)?;
    let stored = strides::stored_element_count(&shape, Some(&stride)).ok_or(OVERFLOW)?;
    let bytes = stored.checked_mul(width).ok_or(OVERFLOW)?;
    if elements > 0 && from.checked_add(bytes).is_none_or(|end| end > i64::MAX as u64) {
        return Err(OVERFLOW);
    }
    let strides = strides::canonical_strides(&shape, &stride);
    Ok(ViewExtent { from, bytes, limit, shape, strides })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pickle::Storage;
    use crate::problem::StructureError;
    use proptest::prelude::*;

    fn view(shape: &[i64], stride: &[i64], offset: i64) -> View {
        View {
            storage: Arc::new(Storage {
                key: "0".to_owned(),
                kind: StorageType::Typed(Dtype::F32),
                class: "torch.FloatStorage".to_owned(),
                elements: 24,
                view: None,
            }),
            dtype: None,
            offset,
            shape: shape.to_vec(),
            stride: stride.to_vec(),
        }
    }

    #[test]
    fn views_are_listed_with_their_stretch() {
        let of = |shape: &[i64], stride: &[i64], offset| {
            let found = extent(&view(shape, stride, offset), Dtype::F32).unwrap();
            (found.from, found.bytes, found.shape, found.strides)
        };
        assert_eq!(of(&[2, 3], &[3, 1], 0), (0, 24, vec![2, 3], None));
        assert_eq!(of(&[3, 2], &[1, 3], 0), (0, 24, vec![3, 2], Some(vec![1, 3])));
        assert_eq!(of(&[2, 3], &[3, 1], 2), (8, 24, vec![2, 3], None));
        assert_eq!(of(&[2, 1, 3], &[3, 7, 1], 0), (0, 24, vec![2, 1, 3], None));
        assert_eq!(of(&[2, 2], &[3, 1], 0), (0, 20, vec![2, 2], Some(vec![3, 1])));
        assert_eq!(of(&[2, 3], &[0, 0], 1), (4, 4, vec![2, 3], Some(vec![0, 0])));
        assert_eq!(of(&[0, 3], &[3, 1], 9), (36, 0, vec![0, 3], None));
        assert_eq!(of(&[], &[], 5), (20, 4, vec![], None));
    }

    #[test]
    fn dimensions_of_half_bytes_count_pairs() {
        let placed = |shape: &[i64], stride: &[i64], offset| {
            let view =
                View { dtype: Some(ElementType::Read(Dtype::F4)), ..view(shape, stride, offset) };
            let mut errors = BoundedErrors::default();
            let views = vec![("x".to_owned(), Arc::new(view))];
            let at = |_: &str| StoragePlacement::Range([100, 196]);
            let placed = place_views(views, &BTreeSet::new(), 1000, false, at, &mut errors);
            let rule = errors.iter().map(|error| error.rule().0).next();
            let found = placed.tensors.into_iter().next();
            (found.map(|tensor| (tensor.shape, tensor.offset, tensor.bytes)), rule)
        };
        assert_eq!(placed(&[2, 3], &[3, 1], 1), (Some((vec![2, 6], 101, 6)), None));
        assert_eq!(placed(&[0, 3], &[3, 1], 0), (Some((vec![0, 6], 100, 0)), None));
        assert_eq!(placed(&[96], &[1], 0), (Some((vec![192], 100, 96)), None));
        let kind = Some("format/torch-tensor-kind");
        for (shape, stride) in [(&[3, 2][..], &[1, 3][..]), (&[2, 3], &[4, 1]), (&[], &[])] {
            assert_eq!(placed(shape, stride, 0), (None, kind), "{shape:?}");
        }
        assert_eq!(placed(&[97], &[1], 0), (None, Some("format/torch-view-past-end")));
    }

    #[test]
    fn what_is_wrong_with_a_view_is_said() {
        for (shape, stride, offset, expected) in [
            (&[-1][..], &[1][..], 0, "dimension is negative"),
            (&[2], &[-1], 0, "stride is negative"),
            (&[2], &[1], -1, "offset is negative"),
            (&[i64::MAX, 4], &[4, 1], 0, "overflows"),
            (&[2], &[i64::MAX], 0, "overflows"),
            (&[2], &[1], i64::MAX, "overflows"),
        ] {
            let error = extent(&view(shape, stride, offset), Dtype::F32).unwrap_err();
            assert!(error.contains(expected), "{error}: {expected}");
        }
    }

    proptest! {
        #[test]
        fn extents_hold_every_element(
            dimensions in prop::collection::vec((1i64..5, 0i64..9), 0..4),
            offset in 0i64..9,
        ) {
            let (shape, stride): (Vec<i64>, Vec<i64>) = dimensions.iter().copied().unzip();
            let found = extent(&view(&shape, &stride, offset), Dtype::F32).unwrap();
            let furthest: i64 = dimensions.iter().map(|(size, stride)| (size - 1) * stride).sum();
            prop_assert_eq!(found.bytes, (furthest as u64 + 1) * 4);
            let listed: u64 =
                strides::storage_shape(&found.shape, found.strides.as_deref()).iter().product();
            prop_assert_eq!(listed * 4, found.bytes);
        }

        #[test]
        fn arbitrary_views_do_not_panic(
            shape in prop::collection::vec(any::<i64>(), 0..5),
            stride in prop::collection::vec(any::<i64>(), 5),
            offset: i64,
        ) {
            let _ = extent(&view(&shape, &stride[..shape.len()], offset), Dtype::F64);
        }
    }
}
