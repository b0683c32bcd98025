//! The index of a sharded checkpoint, `*.safetensors.index.json` or `*.bin.index.json`: which file holds which tensor.

use super::parsed_file::{MAX_TENSORS, ParsedFile};
use super::problem::{BoundedErrors, ErrorLocation, StructureError, faults};
use serde::de::{Error as _, MapAccess};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use tensorseal_base::display::quoted;
use tensorseal_base::json::{
    self, DuplicateKeySink, JsonError, JsonScalar, JsonSink, KeySink, ScalarSink, SinkSeed,
};
use tensorseal_base::severity::Severity;

/// What stands in the names of indexes: behind it the variant of the weights, if any, and `.json`.
const INFIXES: [&str; 2] = [".safetensors.index.", ".bin.index."];
/// Longest index that is read.
pub const MAX_INDEX: u64 = 100_000_000;

/// Longest path of a shard, as operating systems have it.
const MAX_PATH: usize = 4096;

/// Whether a file is an index, by its name: `model.safetensors.index.json`, `model.safetensors.index.fp16.json`.
pub fn is_index_name(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    INFIXES.iter().any(|infix| {
        name.split_once(infix).is_some_and(|(_, rest)| {
            rest == "json" || rest.strip_suffix(".json").is_some_and(|it| !it.contains('.'))
        })
    })
}

faults! {
    /// What can be wrong with a shard index.
    #[derive(Debug, Clone, PartialEq, thiserror::Error)]
    pub enum IndexError {
        #[error("is {bytes} bytes long; an index of more than {MAX_INDEX} is not read")]
        TooLarge { bytes: u64 } => ("format/index-too-large", High),
        #[error("starts with a byte-order mark; loaders refuse that")]
        ByteOrderMark => ("format/index-byte-order-mark", High) at [0, 3],
        #[error("is {error}")]
        NotUtf8 { error: JsonError } => ("format/index-not-utf8", High) at [error.offset(), error.offset() + 1],
        #[error("is {error}")]
        NotJson { error: JsonError } => ("format/index-not-json", High) at [error.offset(), error.offset() + 1],
        #[error("is {error}")]
        TooDeep { error: JsonError } => ("format/index-too-deep", High) at [error.offset(), error.offset() + 1],
        #[error("has {error}")]
        Junk { error: JsonError } => ("format/index-junk", High) at [error.offset(), error.offset() + 1],
        #[error("is {found}, not a JSON object")]
        NotAnObject { found: String } => ("format/index-not-object", High),
        #[error("has the key {} twice in one object", quoted(key))]
        DuplicateKey { key: String } => ("format/index-duplicate-key", Critical),
        #[error("has no 'weight_map', which says where the tensors are")]
        NoWeightMap => ("format/index-no-weight-map", High),
        #[error("'weight_map' is {found}, not an object")]
        WeightMapNotAnObject { found: String } => ("format/index-weight-map-not-object", High),
        #[error("'weight_map' lists more than {MAX_TENSORS} tensors")]
        TooManyTensors => ("format/index-too-many-tensors", High),
        #[error("tensor {}: its shard is {found}, not a file name", quoted(tensor))]
        ShardNotAString { tensor: String, found: String } => ("format/index-shard-not-string", High),
        #[error("'metadata' is {found}, not an object")]
        MetadataNotAnObject { found: String } => ("format/index-metadata-not-object", Low),
        #[error("'metadata.total_size' is {found}, not a number of bytes")]
        BadTotalSize { found: String } => ("format/index-bad-total-size", Low),
        #[error("'metadata.total_size' is {stated}, but the tensors of the shards take {actual} bytes")]
        WrongTotalSize { stated: String, actual: u64 } => ("format/index-wrong-total-size", Low),

        #[error("lists the shard {}, which {reason}; a shard is a file below the index", quoted(shard))]
        ShardPath { shard: String, reason: &'static str } => ("format/shard-path", High),
        #[error("lists the shard {}, which is missing ({count} tensors)", quoted(shard))]
        ShardMissing { shard: String, count: usize } => ("format/shard-missing", High),
        #[error("lists the shard {}, which is a directory", quoted(shard))]
        ShardIsDirectory { shard: String } => ("format/shard-is-directory", High),
        #[error("lists the shard {}, which is left out of the model: {reason}", quoted(shard))]
        ShardNotCovered { shard: String, reason: String } => ("format/shard-not-covered", High),
        #[error(
            "tensor {} is in two of the listed shards, {} and {}",
            quoted(tensor),
            quoted(first),
            quoted(second)
        )]
        TensorInTwoShards { tensor: String, first: String, second: String }
            => ("format/tensor-in-two-shards", High),
        #[error("tensor {} is not in {}, where the index has it{}", quoted(tensor), quoted(shard),
            holder.as_ref().map(|h| format!("; it is in {}", quoted(h))).unwrap_or_default())]
        TensorNotInShard { tensor: String, shard: String, holder: Option<String> }
            => ("format/tensor-not-in-shard", High),
        #[error("tensor {} is in the shard {} and not in the index", quoted(tensor), quoted(shard))]
        TensorNotInIndex { tensor: String, shard: String } => ("format/tensor-not-in-index", Medium),
    }
}

impl From<JsonError> for IndexError {
    fn from(error: JsonError) -> Self {
        match error {
            JsonError::ByteOrderMark => IndexError::ByteOrderMark,
            JsonError::NotUtf8 { .. } => IndexError::NotUtf8 { error },
            JsonError::TooDeep { .. } => IndexError::TooDeep { error },
            JsonError::Syntax { .. } => IndexError::NotJson { error },
            JsonError::Junk { .. } => IndexError::Junk { error },
        }
    }
}

/// A size as the index spells it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum TotalSize {
    Integer(u64),
    Float(f64),
}

/// What an index says.
#[derive(Debug, Default)]
pub struct ShardIndex {
    /// Tensor name to shard, as listed (paths that lead out of the model are left out).
    pub weight_map: BTreeMap<String, String>,
    total_size: Option<TotalSize>,
    /// Whether there was a usable `weight_map`.
    pub readable: bool,
    pub(crate) errors: BoundedErrors<IndexError>,
}

impl ShardIndex {
    /// The errors found, at most a few of each kind.
    pub fn errors(&self) -> impl Iterator<Item = &IndexError> {
        self.errors.iter()
    }

    /// The shards, each once, in byte order.
    pub(crate) fn shards(&self) -> BTreeSet<&str> {
        self.weight_map.values().map(String::as_str).collect()
    }
}

/// Reads the text of an index.
#[doc(hidden)]
pub fn parse_index(text: &[u8]) -> ShardIndex {
    let mut top = Top::default();
    let outcome = json::parse(text, &mut top);
    let Top { mut index, duplicates, too_many, is_object, has_map } = top;
    if let Err(error) = outcome {
        // Junk behind the value does not change what it says; otherwise what was noted before the
        // text went wrong is part of the same fault.
        if !matches!(error, JsonError::Junk { .. }) {
            index = ShardIndex::default();
        }
        index.errors.push(if too_many { IndexError::TooManyTensors } else { error.into() });
        if !index.readable {
            return index;
        }
    }
    for key in duplicates {
        index.errors.push(IndexError::DuplicateKey { key });
    }
    if is_object && !has_map {
        index.errors.push(IndexError::NoWeightMap);
    }
    let wrong: HashMap<String, &'static str> = index
        .shards()
        .into_iter()
        .filter_map(|shard| Some((shard.to_owned(), leads_out(shard)?)))
        .collect();
    index.weight_map.retain(|_, shard| !wrong.contains_key(shard));
    for (shard, reason) in BTreeMap::from_iter(wrong) {
        index.errors.push(IndexError::ShardPath { shard, reason });
    }
    index
}

/// Why a shard path is not that of a file below its index.
fn leads_out(shard: &str) -> Option<&'static str> {
    if shard.is_empty() {
        Some("is empty")
    } else if shard.len() > MAX_PATH {
        Some("is too long for a path")
    } else if shard.contains('\0') {
        Some("holds a NUL")
    } else if shard.contains('\\') {
        Some("holds a backslash")
    } else if shard.starts_with('/') || shard.as_bytes().get(1) == Some(&b':') {
        Some("is an absolute path")
    } else if shard.split('/').any(|part| part == "..") {
        Some("leads out with '..'")
    } else if shard.split('/').any(|part| part.is_empty() || part == ".") {
        Some("has an empty component")
    } else {
        None
    }
}

#[derive(Default)]
struct Top {
    index: ShardIndex,
    duplicates: Vec<String>,
    too_many: bool,
    is_object: bool,
    has_map: bool,
}

impl<'a> JsonSink<'a> for &mut Top {
    type Out = ();

    fn scalar(self, value: JsonScalar<'a>) {
        self.index.errors.push(IndexError::NotAnObject { found: value.to_string() });
    }

    fn object<A: MapAccess<'a>>(self, mut object: A) -> Result<(), A::Error> {
        self.is_object = true;
        let mut seen = HashSet::new();
        while let Some(key) = object.next_key_seed(SinkSeed(KeySink))? {
            match &*key {
                "weight_map" => {
                    self.has_map = true;
                    object.next_value_seed(SinkSeed(WeightMap(self)))?;
                }
                "metadata" => object.next_value_seed(SinkSeed(Metadata(self)))?,
                _ => {
                    object.next_value_seed(SinkSeed(DuplicateKeySink(&mut self.duplicates)))?;
                }
            }
            if let Some(key) = seen.replace(key) {
                self.duplicates.push(key.into_owned());
            }
        }
        Ok(())
    }
}

struct WeightMap<'t>(&'t mut Top);

impl<'a> JsonSink<'a> for WeightMap<'_> {
    type Out = ();

    fn scalar(self, value: JsonScalar<'a>) {
        let found = value.to_string();
        self.0.index.errors.push(IndexError::WeightMapNotAnObject { found });
    }

    fn object<A: MapAccess<'a>>(self, mut object: A) -> Result<(), A::Error> {
        let Top { index, duplicates, too_many, .. } = self.0;
        index.readable = true;
        let mut count = 0;
        while let Some(tensor) = object.next_key_seed(SinkSeed(KeySink))? {
            count += 1;
            if count > MAX_TENSORS {
                *too_many = true;
                return Err(A::Error::custom("too many tensors"));
            }
            match object.next_value_seed(SinkSeed(ScalarSink))? {
                JsonScalar::Text(shard) => {
                    let tensor = tensor.into_owned();
                    if index.weight_map.insert(tensor.clone(), shard.into()).is_some() {
                        duplicates.push(tensor);
                    }
                }
                other => index.errors.push(IndexError::ShardNotAString {
                    tensor: tensor.into_owned(),
                    found: other.to_string(),
                }),
            }
        }
        Ok(())
    }
}

struct Metadata<'t>(&'t mut Top);

impl<'a> JsonSink<'a> for Metadata<'_> {
    type Out = ();

    fn scalar(self, value: JsonScalar<'a>) {
        if value != JsonScalar::Null {
            let found = value.to_string();
            self.0.index.errors.push(IndexError::MetadataNotAnObject { found });
        }
    }

    fn object<A: MapAccess<'a>>(self, mut object: A) -> Result<(), A::Error> {
        let Top { index, duplicates, .. } = self.0;
        let mut seen = HashSet::new();
        while let Some(key) = object.next_key_seed(SinkSeed(KeySink))? {
            let value = object.next_value_seed(SinkSeed(DuplicateKeySink(duplicates)))?;
            if key == "total_size" {
                index.total_size = match value {
                    JsonScalar::Unsigned(n) => Some(TotalSize::Integer(n)),
                    JsonScalar::Float(x) if x >= 0.0 => Some(TotalSize::Float(x)),
                    other => {
                        let found = other.to_string();
                        index.errors.push(IndexError::BadTotalSize { found });
                        None
                    }
                };
            }
            if let Some(key) = seen.replace(key) {
                duplicates.push(key.into_owned());
            }
        }
        Ok(())
    }
}

/// What a listed shard turned out to be.
pub(crate) enum ListedShard<'r> {
    /// A file whose header was read.
    File(&'r ParsedFile),
    /// Nothing of that name.
    Missing,
    Directory,
    /// Left out of the model.
    Skipped(String),
    /// Something that a problem of its own was reported for.
    Reported,
}

/// Compares an index with its shards; `find` gives each by the path the index lists.
pub(crate) fn compare<'r>(
    index: &ShardIndex,
    find: impl Fn(&str) -> ListedShard<'r>,
) -> BoundedErrors<IndexError> {
    let mut errors = BoundedErrors::default();
    let mut reports: BTreeMap<&str, &ParsedFile> = BTreeMap::new();
    let mut all_sound = index.errors.is_empty();
    let mut listed: BTreeMap<&str, usize> = BTreeMap::new();
    for shard in index.weight_map.values() {
        *listed.entry(shard).or_insert(0) += 1;
    }
    for (shard, tensors) in listed {
        let name = shard.to_owned();
        match find(shard) {
            ListedShard::File(report) => {
                all_sound &= report.problems.is_empty();
                if report.readable {
                    reports.insert(shard, report);
                }
                continue;
            }
            ListedShard::Missing => {
                errors.push(IndexError::ShardMissing { shard: name, count: tensors });
            }
            ListedShard::Directory => errors.push(IndexError::ShardIsDirectory { shard: name }),
            ListedShard::Skipped(reason) => {
                errors.push(IndexError::ShardNotCovered { shard: name, reason });
            }
            ListedShard::Reported => {}
        }
        all_sound = false;
    }

    // Every tensor with the shard that holds it, ordered so that equal names stand together.
    let mut held: Vec<(&str, &str)> = reports
        .iter()
        .flat_map(|(&shard, report)| report.names().map(move |tensor| (tensor, shard)))
        .collect();
    held.sort_unstable();
    let holders = |tensor: &str| {
        let from = held.partition_point(|(name, _)| *name < tensor);
        let to = held.partition_point(|(name, _)| *name <= tensor);
        &held[from..to]
    };

    for (tensor, shard) in &index.weight_map {
        let holders = holders(tensor);
        if reports.contains_key(shard.as_str()) && !holders.iter().any(|(_, s)| s == shard) {
            errors.push(IndexError::TensorNotInShard {
                tensor: tensor.clone(),
                shard: shard.clone(),
                holder: holders.first().map(|(_, s)| (*s).to_owned()),
            });
        }
    }
    for same in held.chunk_by(|a, b| a.0 == b.0) {
        let (tensor, first) = same[0];
        if let Some((_, second)) = same.iter().find(|(_, shard)| *shard != first) {
            errors.push(IndexError::TensorInTwoShards {
                tensor: tensor.to_owned(),
                first: first.to_owned(),
                second: (*second).to_owned(),
            });
        } else if !index.weight_map.contains_key(tensor) {
            let (tensor, shard) = (tensor.to_owned(), first.to_owned());
            errors.push(IndexError::TensorNotInIndex { tensor, shard });
        }
    }

    if all_sound
        && errors.is_empty()
        && let Some(stated) = index.total_size
    {
        let actual = reports
            .values()
            .flat_map(|report| &report.tensors)
            .fold(0u64, |sum, tensor| sum.saturating_add(tensor.bytes));
        let (agrees, stated) = match stated {
            TotalSize::Integer(n) => (n == actual, n.to_string()),
            TotalSize::Float(x) => (x == actual as f64, format!("{x:?}")),
        };
        if !agrees {
            errors.push(IndexError::WrongTotalSize { stated, actual });
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rules(text: &str) -> Vec<&'static str> {
        parse_index(text.as_bytes()).errors().map(|error| error.rule().0).collect()
    }

    #[test]
    fn a_plain_index_is_read() {
        let index = parse_index(
            br#"{"metadata":{"total_size":12.0,"x":null},"weight_map":{"a":"1.safetensors"},"y":[]}"#,
        );
        assert!(index.errors.is_empty() && index.readable);
        assert_eq!(index.weight_map["a"], "1.safetensors");
        assert_eq!(index.total_size, Some(TotalSize::Float(12.0)));
    }

    #[test]
    fn faults_have_names() {
        for (text, rule) in [
            ("", "format/index-not-json"),
            ("[]", "format/index-not-object"),
            ("{}", "format/index-no-weight-map"),
            ("{\"weight_map\":{}} x", "format/index-junk"),
            ("{\"weight_map\":[]}", "format/index-weight-map-not-object"),
            ("{\"weight_map\":{\"a\":1}}", "format/index-shard-not-string"),
            (r#"{"weight_map":{"a":"x","\u0061":"y"}}"#, "format/index-duplicate-key"),
            (r#"{"weight_map":{},"weight_map":{}}"#, "format/index-duplicate-key"),
            (r#"{"weight_map":{},"x":[{"k":1,"k":2}]}"#, "format/index-duplicate-key"),
            (r#"{"weight_map":{},"metadata":7}"#, "format/index-metadata-not-object"),
            (r#"{"weight_map":{},"metadata":{"total_size":-1}}"#, "format/index-bad-total-size"),
            (r#"{"weight_map":{"a":"../x"}}"#, "format/shard-path"),
            (r#"{"weight_map":{"a":"/x"}}"#, "format/shard-path"),
            (r#"{"weight_map":{"a":"C:x"}}"#, "format/shard-path"),
            (r#"{"weight_map":{"a":"x\\y"}}"#, "format/shard-path"),
            (r#"{"weight_map":{"a":"x\u0000"}}"#, "format/shard-path"),
            (r#"{"weight_map":{"a":"x//y"}}"#, "format/shard-path"),
        ] {
            assert_eq!(rules(text), [rule], "{text}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            parse_index(&bytes);
        }

        #[test]
        fn mutated_indexes_do_not_panic(at in 0usize..80, byte: u8) {
            let mut text =
                br#"{"metadata":{"total_size":12},"weight_map":{"a":"1.safetensors","b":"2"},"y":[]}"#
                    .to_vec();
            text[at] = byte;
            let _ = compare(&parse_index(&text), |_| ListedShard::Missing);
        }
    }
}
