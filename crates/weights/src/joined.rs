//! Joined weights: each rank of a distributed run wrote its part of a weight into a separate file, under the same
//! name.
//!
//! The distributed checkpoints that PyTorch writes as safetensors (`HuggingFaceStorageWriter`) state in the
//! `__metadata__` of every file at which offsets its tensors begin in the whole weight. Parts are joined if they fill
//! the whole exactly.

use super::companion_config::directory_of;
use super::element_reader::ElementReader;
use super::{UnreadableWeight, Weight, WeightStorage, schemes, unqualified};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use tensorseal_base::dtype::Dtype;
use tensorseal_base::json::{self, DuplicateKeySink};
use tensorseal_engine::stream::files::FileError;
use tensorseal_format::canonical::canonical_name;
use tensorseal_format::safetensors::metadata;
use tensorseal_format::{Checkpoint, Format, strides};

/// The entry of `__metadata__` with the offsets of parts.
const KEY: &str = "DCP_SHARDING_INFO";
/// The maximum number of parts of one weight.
const MAX_PARTS: usize = 4096;
/// The maximum number of pairs of parts that are compared, for all weights of a model.
const MAX_PAIRS: usize = 1 << 24;

/// A weight in parts, or a contiguous range of its elements.
#[derive(Debug, Clone)]
pub struct JoinedWeight {
    whole: Arc<JoinedTensor>,
    /// The position of the first element in the whole: other weights may be stacked before it.
    first: u64,
}

#[derive(Debug)]
struct JoinedTensor {
    dtype: Dtype,
    shape: Vec<u64>,
    parts: Vec<TensorPart>,
}

/// A part of a weight: a tensor, and the indices of its first element in the whole.
#[derive(Debug, Clone)]
struct TensorPart {
    tensor: usize,
    shape: Vec<u64>,
    offsets: Vec<u64>,
}

/// The weights of a model that are stored in parts.
#[derive(Debug, Default)]
pub(super) struct JoinedWeights {
    pub weights: Vec<Weight>,
    /// Parts that do not fill a whole.
    pub unreadable: Vec<UnreadableWeight>,
}

impl JoinedWeights {
    /// Adds these weights to the quantised weights of a model, and returns all tensors that are parts. Quantised
    /// weights whose codes or scales are parts themselves become unreadable, because schemes do not support ranks.
    pub(crate) fn merge_into(self, schemes: &mut schemes::SchemeMatches) -> Vec<usize> {
        let unreadable = self.unreadable.iter().flat_map(UnreadableWeight::tensors);
        let parts: BTreeSet<usize> =
            self.weights.iter().flat_map(Weight::tensors).chain(unreadable).collect();
        if parts.is_empty() {
            return Vec::new();
        }
        let has_parts = |tensors: &[usize]| tensors.iter().any(|index| parts.contains(index));
        let mut removed: BTreeSet<usize> = BTreeSet::new();
        schemes.weights.retain(|weight| {
            let tensors = weight.tensors();
            let keep = !has_parts(&tensors);
            if let Some((codes, scales)) = tensors.split_first().filter(|_| !keep) {
                removed.extend(&tensors);
                let reason = "its codes and scales are parts that several ranks wrote".to_owned();
                schemes.unreadable.push(UnreadableWeight {
                    tensor: *codes,
                    parts: scales.to_vec(),
                    reason,
                });
            }
            keep
        });
        let reported: BTreeSet<usize> =
            schemes.unreadable.iter().flat_map(UnreadableWeight::tensors).collect();
        // Tensors of unreadable quantised weights are not reported again.
        schemes.unreadable.extend(
            self.unreadable.into_iter().filter(|weight| !reported.contains(&weight.tensor)),
        );
        let is_free =
            |weight: &Weight| !weight.tensors().iter().any(|index| reported.contains(index));
        schemes.weights.extend(self.weights.into_iter().filter(is_free));
        parts.into_iter().chain(removed).collect()
    }
}

/// What the metadata of a file states about a tensor.
#[derive(Deserialize)]
struct ShardingInfo {
    saved_offsets: Vec<u64>,
}

/// Finds the weights of a model that are stored in parts. Headers are only read again if there may be some.
pub(super) fn find(model: &Checkpoint) -> JoinedWeights {
    let mut joined = JoinedWeights::default();
    let is_rank_file =
        |path: &str| path.rsplit('/').next().is_some_and(|name| name.starts_with("shard-"));
    let is_shared =
        |index: usize| unqualified(model, index).len() < model.tensors[index].name.len();
    if !model.files.iter().any(|file| is_rank_file(&file.path))
        && !(0..model.tensors.len()).any(is_shared)
    {
        return joined;
    }
    let places: BTreeMap<usize, Option<HashMap<String, ShardingInfo>>> = (0..model.files.len())
        .filter(|file| model.files[*file].format == Some(Format::Safetensors))
        .filter_map(|file| Some((file, sharding_info(model, file)?)))
        .collect();
    if places.is_empty() {
        return joined;
    }
    // Tensors by directory and name: the files of one checkpoint are in one directory.
    let mut named: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
    for (index, tensor) in model.tensors.iter().enumerate() {
        if places.contains_key(&tensor.file) {
            let directory = directory_of(&model.files[tensor.file].path);
            named.entry((directory, unqualified(model, index))).or_default().push(index);
        }
    }
    let mut pairs = 0;
    for ((directory, name), tensors) in named {
        let raw = name.strip_prefix(directory).unwrap_or(name);
        let offsets = |index: usize| {
            let in_file = places.get(&model.tensors[index].file)?.as_ref()?;
            Some(in_file.get(raw).or_else(|| in_file.get(name))?.saved_offsets.clone())
        };
        match join(model, &tensors, offsets, &mut pairs) {
            Ok(None) => {}
            Ok(Some(whole)) => joined.weights.push(Weight {
                canonical: canonical_name(name).into_owned(),
                name: model.tensors[whole.parts[0].tensor].name.clone(),
                shape: whole.shape.clone(),
                flattened: false,
                storage: WeightStorage::Joined(JoinedWeight { whole: Arc::new(whole), first: 0 }),
            }),
            Err(reason) => {
                let reason = format!("it is part of a tensor that several ranks wrote: {reason}");
                let (tensor, parts) = (tensors[0], tensors[1..].to_vec());
                joined.unreadable.push(UnreadableWeight { tensor, parts, reason });
            }
        }
    }
    joined
}

/// Returns the offsets of the tensors of a file. Returns `None` if it states none, and an inner `None` if the entry is
/// malformed.
fn sharding_info(model: &Checkpoint, file: usize) -> Option<Option<HashMap<String, ShardingInfo>>> {
    let mut texts = metadata(&model.files[file], &|key| key == KEY).ok()?;
    let text = texts.remove(KEY)?;
    let mut twice = Vec::new();
    let is_sound =
        json::parse(text.as_bytes(), DuplicateKeySink(&mut twice)).is_ok() && twice.is_empty();
    Some(serde_json::from_str(&text).ok().filter(|_| is_sound))
}

/// Joins parts. Returns `None` for a tensor that is not a part.
fn join(
    model: &Checkpoint,
    tensors: &[usize],
    offsets: impl Fn(usize) -> Option<Vec<u64>>,
    pairs: &mut usize,
) -> Result<Option<JoinedTensor>, &'static str> {
    const TOO_LARGE: &str = "its size does not fit 64 bits";
    let first = &model.tensors[tensors[0]];
    let mut parts = Vec::new();
    for index in tensors.iter().take(MAX_PARTS + 1) {
        let tensor = &model.tensors[*index];
        let offsets = offsets(*index)
            .ok_or("the metadata of a file does not state the offsets of its part")?;
        if offsets.len() != tensor.shape.len() || tensor.shape.len() != first.shape.len() {
            return Err("its parts have different numbers of dimensions");
        }
        if tensor.dtype != first.dtype {
            return Err("its parts have different types");
        }
        parts.push(TensorPart { tensor: *index, shape: tensor.shape.clone(), offsets });
    }
    if let [alone] = &parts[..]
        && alone.offsets.iter().all(|offset| *offset == 0)
    {
        return Ok(None);
    }
    if parts.len() > MAX_PARTS {
        return Err("it has too many parts");
    }
    let mut shape = vec![0; first.shape.len()];
    let mut filled = 0u64;
    for part in &parts {
        for ((whole, offset), len) in shape.iter_mut().zip(&part.offsets).zip(&part.shape) {
            *whole = offset.checked_add(*len).ok_or(TOO_LARGE)?.max(*whole);
        }
        let elements = strides::element_count(&part.shape).ok_or(TOO_LARGE)?;
        filled = filled.checked_add(elements).ok_or(TOO_LARGE)?;
    }
    let elements = strides::element_count(&shape).ok_or(TOO_LARGE)?;
    // Sorted by offsets, so that only parts that may overlap are compared.
    parts.sort_by(|a, b| (&a.offsets, a.tensor).cmp(&(&b.offsets, b.tensor)));
    for (at, part) in parts.iter().enumerate() {
        for other in &parts[at + 1..] {
            *pairs += 1;
            if *pairs > MAX_PAIRS {
                return Err("there are too many parts to compare");
            }
            if part.ends_before(other) {
                break;
            }
            if part.overlaps(other) {
                return Err("its parts overlap");
            }
        }
    }
    if filled != elements {
        return Err("some of its parts are missing");
    }
    Ok(Some(JoinedTensor { dtype: first.dtype, shape, parts }))
}

impl TensorPart {
    /// Returns whether `other`, which does not begin earlier in the first dimension, begins after the end of this part.
    fn ends_before(&self, other: &TensorPart) -> bool {
        match (self.offsets.first(), self.shape.first(), other.offsets.first()) {
            (Some(start), Some(len), Some(other)) => start.saturating_add(*len) <= *other,
            _ => false,
        }
    }

    fn overlaps(&self, other: &TensorPart) -> bool {
        let sides =
            self.offsets.iter().zip(&self.shape).zip(other.offsets.iter().zip(&other.shape));
        self.has_elements()
            && other.has_elements()
            && sides.into_iter().all(|((a, a_len), (b, b_len))| {
                *a < b.saturating_add(*b_len) && *b < a.saturating_add(*a_len)
            })
    }

    fn has_elements(&self) -> bool {
        !self.shape.contains(&0)
    }

    /// Returns the position in this part of the element at these indices of the whole; `None` if it is in another part.
    fn position_of(&self, indexes: &[u64]) -> Option<u64> {
        let mut place = 0u64;
        for ((index, offset), len) in indexes.iter().zip(&self.offsets).zip(&self.shape) {
            let within = index.checked_sub(*offset).filter(|within| within < len)?;
            place = place.checked_mul(*len)?.checked_add(within)?;
        }
        Some(place)
    }
}

impl JoinedWeight {
    /// Returns the type of the elements.
    pub fn dtype(&self) -> Dtype {
        self.whole.dtype
    }

    /// Returns the tensors of all parts.
    pub fn tensors(&self) -> Vec<usize> {
        self.whole.parts.iter().map(|part| part.tensor).collect()
    }

    /// Returns the range of this weight that begins with element `first`.
    pub(super) fn starting_at(&self, first: u64) -> JoinedWeight {
        JoinedWeight { whole: Arc::clone(&self.whole), first: self.first.saturating_add(first) }
    }

    /// Returns the number of elements that should be read at once.
    pub(super) fn piece_len(&self) -> u64 {
        1 << 16
    }

    /// Reads elements `first..first + count` of the weight.
    pub(super) fn read(
        &self,
        reader: &ElementReader<'_>,
        first: u64,
        count: usize,
    ) -> Result<Vec<f64>, FileError> {
        let JoinedTensor { shape, parts, .. } = &*self.whole;
        let mut values = Vec::with_capacity(count);
        let mut indexes = vec![0; shape.len()];
        let mut last = 0;
        while values.len() < count {
            let element = self.first + first + values.len() as u64;
            let mut rest = element;
            for (index, size) in indexes.iter_mut().zip(shape).rev() {
                (*index, rest) = (rest % (*size).max(1), rest / (*size).max(1));
            }
            // The next element is usually in the same part.
            let order = (last..parts.len()).chain(0..last);
            let mut places = order.filter_map(|at| Some((at, parts[at].position_of(&indexes)?)));
            let Some((at, place)) = places.next().filter(|_| rest == 0) else {
                // There are no more elements.
                values.resize(count, 0.0);
                break;
            };
            last = at;
            let part = &parts[at];
            let take = part.contiguous_len(shape, place).min((count - values.len()) as u64);
            values.extend(reader.values(part.tensor, place, take as usize)?);
        }
        Ok(values)
    }
}

impl TensorPart {
    /// Returns how many elements from position `place` of the part on are also contiguous in the whole.
    fn contiguous_len(&self, whole: &[u64], place: u64) -> u64 {
        // A part with complete inner dimensions is contiguous.
        let mut run = 1u64;
        for (size, len) in whole.iter().zip(&self.shape).rev() {
            run = run.saturating_mul(*len);
            if size != len {
                break;
            }
        }
        run - place % run.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Weights;
    use crate::testing::{TestModel, TestTensor, numbers, values, weight};
    use proptest::prelude::*;
    use serde_json::json;

    /// Writes the file of a rank, named as by PyTorch, with tensors and their offsets.
    fn rank(test_model: &TestModel, number: usize, parts: &[(TestTensor<'_>, Vec<u64>)]) {
        let places: HashMap<&str, _> =
            parts.iter().map(|((name, ..), at)| (*name, json!({"saved_offsets": at}))).collect();
        let tensors: Vec<TestTensor<'_>> = parts.iter().map(|(tensor, _)| tensor.clone()).collect();
        let path = format!("shard-{number:05}-model-00001-of-00001.safetensors");
        test_model.file(
            &path,
            &tensors,
            &[(KEY, &json!(places).to_string()), ("DCP_VERSION", "1.0")],
        );
    }

    /// Returns the part of a matrix with this number of columns that begins at `at`, as a tensor.
    fn part(columns: usize, at: [usize; 2], shape: [usize; 2]) -> (TestTensor<'static>, Vec<u64>) {
        let rows = at[0]..at[0] + shape[0];
        let of_row =
            |row: usize| (at[1]..at[1] + shape[1]).map(move |column| row * columns + column);
        let values = rows.flat_map(of_row).map(|number| number as f32).collect();
        (("model.w.weight", shape.to_vec(), values), at.iter().map(|at| *at as u64).collect())
    }

    fn whole(parts: &[(TestTensor<'_>, Vec<u64>)]) -> (Vec<u64>, Vec<f64>) {
        let test_model = TestModel::new();
        for (number, part) in parts.iter().enumerate() {
            rank(&test_model, number + 1, std::slice::from_ref(part));
        }
        let model = test_model.open();
        let weights = Weights::from_checkpoint(&model);
        assert!(weights.unreadable.is_empty(), "{:?}", weights.unreadable);
        let joined = weight(&weights, "w.weight");
        assert_eq!((joined.row_major_tensor(), joined.stored_as(&model)), (None, "F32".into()));
        let values_in = |piece| values(&model, joined, piece);
        assert_eq!(values_in(7), values_in(1000));
        (joined.shape.clone(), values_in(1000))
    }

    fn numbered(rows: u64, columns: u64) -> (Vec<u64>, Vec<f64>) {
        (vec![rows, columns], (0..rows * columns).map(|number| number as f64).collect())
    }

    #[test]
    fn parts_of_ranks_are_one_weight() {
        assert_eq!(whole(&[part(5, [0, 0], [2, 5]), part(5, [2, 0], [3, 5])]), numbered(5, 5));
        // Parts side by side, in a grid, in any order, and an empty one.
        assert_eq!(whole(&[part(6, [0, 4], [3, 2]), part(6, [0, 0], [3, 4])]), numbered(3, 6));
        let grid = [([2, 3], [1, 4]), ([0, 0], [2, 3]), ([0, 3], [2, 4]), ([2, 0], [1, 3])];
        assert_eq!(whole(&grid.map(|(at, shape)| part(7, at, shape))), numbered(3, 7));
        assert_eq!(
            whole(&[part(5, [0, 0], [4, 5]), part(5, [4, 0], [0, 5]), part(5, [4, 0], [1, 5])]),
            numbered(5, 5)
        );
    }

    #[test]
    fn a_tensor_that_is_no_part_is_unchanged() {
        let test_model = TestModel::new();
        let small = (("norm.weight", vec![3], numbers(3)), vec![0]);
        rank(&test_model, 1, &[part(5, [0, 0], [2, 5]), small]);
        rank(&test_model, 2, &[part(5, [2, 0], [3, 5])]);
        let model = test_model.open();
        let weights = Weights::from_checkpoint(&model);
        assert_eq!(weights.readable.len(), 2);
        assert!(weight(&weights, "norm.weight").row_major_tensor().is_some());
        assert_eq!(values(&model, weight(&weights, "w.weight"), 4), numbered(5, 5).1);
    }

    /// Returns why the parts are not read, and checks that none of them is a weight.
    fn refused(test_model: &TestModel) -> String {
        let weights = Weights::from_checkpoint(&test_model.open());
        assert!(weights.readable.is_empty(), "{:?}", weights.readable);
        let [unreadable] = &weights.unreadable[..] else { panic!("{:?}", weights.unreadable) };
        unreadable.reason.clone()
    }

    #[test]
    fn parts_that_do_not_fill_the_whole_are_not_read() {
        let of = |parts: &[(TestTensor<'_>, Vec<u64>)]| {
            let test_model = TestModel::new();
            for (number, part) in parts.iter().enumerate() {
                rank(&test_model, number + 1, std::slice::from_ref(part));
            }
            refused(&test_model)
        };
        let moved = |at: Vec<u64>| (part(5, [0, 0], [2, 5]).0, at);
        for (other, why) in [
            (part(5, [3, 0], [2, 5]), "missing"),
            (part(5, [1, 0], [4, 5]), "overlap"),
            (part(5, [0, 0], [2, 5]), "overlap"),
            (moved(vec![2]), "dimensions"),
            (moved(vec![u64::MAX, 0]), "64 bits"),
            (moved(vec![u64::MAX - 2, 0]), "64 bits"),
            (moved(vec![2, 1 << 62]), "64 bits"),
            (moved(vec![2, 1]), "missing"),
        ] {
            let reason = of(&[part(5, [0, 0], [2, 5]), other]);
            assert!(reason.contains(why), "{reason}: {why}");
        }
        // Only the part of another rank.
        assert!(of(&[part(5, [2, 0], [3, 5])]).contains("missing"));
    }

    #[test]
    fn malformed_metadata_is_not_used() {
        for text in [
            "",
            "[]",
            r#"{"model.w.weight":{}}"#,
            r#"{"model.w.weight":{"saved_offsets":[-2,0]}}"#,
            r#"{"model.w.weight":{"saved_offsets":[2.0,0]}}"#,
            r#"{"other":{"saved_offsets":[2,0]}}"#,
            r#"{"model.w.weight":{"saved_offsets":[2,0]},"model.w.weight":{"saved_offsets":[2,0]}}"#,
        ] {
            let test_model = TestModel::new();
            rank(&test_model, 1, &[part(5, [0, 0], [2, 5])]);
            let (tensor, _) = part(5, [2, 0], [3, 5]);
            let path = "shard-00002-model-00001-of-00001.safetensors";
            test_model.file(path, &[tensor], &[(KEY, text)]);
            assert!(refused(&test_model).contains("does not state"), "{text}");
        }
        // Files without such metadata are two variants.
        let test_model = TestModel::new();
        let (tensor, _) = part(5, [0, 0], [2, 5]);
        test_model.file("a.safetensors", std::slice::from_ref(&tensor), &[]);
        test_model.file("b.safetensors", &[tensor], &[]);
        assert_eq!(Weights::from_checkpoint(&test_model.open()).readable.len(), 2);
    }

    #[test]
    fn experts_in_parts_are_split() {
        let test_model = TestModel::new();
        // Two experts of one inner unit and three inputs.
        for number in 0..2 {
            let both = ("mlp.experts.gate_up_proj", vec![1, 2, 3], numbers(6));
            let down = ("mlp.experts.down_proj", vec![1, 3, 1], numbers(3));
            rank(
                &test_model,
                number + 1,
                &[both, down].map(|test_model| (test_model, vec![number as u64, 0, 0])),
            );
        }
        let model = test_model.open();
        let weights = Weights::from_checkpoint(&model);
        assert_eq!(weights.readable.len(), 6);
        for expert in 0..2 {
            let of = |name: &str| {
                values(&model, weight(&weights, &format!("mlp.experts.{expert}.{name}.weight")), 2)
            };
            assert_eq!(of("gate_proj"), [0.0, 1.0, 2.0]);
            assert_eq!(of("up_proj"), [3.0, 4.0, 5.0]);
            assert_eq!(of("down_proj"), [0.0, 1.0, 2.0]);
        }
    }

    proptest! {
        #[test]
        fn any_cuts_make_the_whole(
            rows in prop::collection::btree_set(1usize..9, 0..3),
            columns in prop::collection::btree_set(1usize..9, 0..3),
        ) {
            let cuts = |cuts: std::collections::BTreeSet<usize>| -> Vec<[usize; 2]> {
                let all: Vec<usize> = [0].into_iter().chain(cuts).chain([9]).collect();
                all.windows(2).map(|pair| [pair[0], pair[1] - pair[0]]).collect()
            };
            let mut parts = Vec::new();
            for [row, height] in cuts(rows) {
                for [column, width] in cuts(columns.clone()) {
                    parts.push(part(9, [row, column], [height, width]));
                }
            }
            if parts.len() > 1 {
                prop_assert_eq!(whole(&parts), numbered(9, 9));
            }
        }

        #[test]
        fn arbitrary_places_do_not_panic(
            places in prop::collection::vec(prop::collection::vec(any::<u64>(), 0..4), 1..4)
        ) {
            let test_model = TestModel::new();
            for (number, place) in places.into_iter().enumerate() {
                rank(&test_model, number + 1, &[(part(5, [0, 0], [2, 5]).0, place)]);
            }
            Weights::from_checkpoint(&test_model.open());
        }
    }
}
