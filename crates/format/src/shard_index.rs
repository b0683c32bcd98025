//! Parses the index of a sharded checkpoint (`*.safetensors.index.json` or `*.bin.index.json`) and compares it with
//! the shards.

use super::parsed_file::{MAX_TENSORS, ParsedFile};
use super::problem::{BoundedErrors, ErrorLocation, StructureError, faults};
use serde::de::{Error as _, MapAccess};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use tensorseal_base::display::quoted;
use tensorseal_base::json::{
    self, DuplicateKeySink, JsonError, JsonScalar, JsonSink, KeySink, ScalarSink, SinkSeed,
};
use tensorseal_base::severity::Severity;

/// The infixes of the names of indexes. The variant of the weights, if any, and `.json` follow.
const INFIXES: [&str; 2] = [".safetensors.index.", ".bin.index."];
/// The length in bytes of the longest index that is read.
pub const MAX_INDEX: u64 = 100_000_000;

/// The longest path of a shard in bytes (`PATH_MAX` of Linux).
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
    /// An error in a shard index. The first byte of a file is at position 0.
    #[derive(Debug, Clone, PartialEq, thiserror::Error)]
    #[non_exhaustive]
    pub enum IndexError {
        #[error("is {bytes} bytes long; the limit for an index is {MAX_INDEX} bytes")]
        TooLarge { bytes: u64 } => ("format/index-too-large", High),
        #[error("starts with a byte-order mark, which loaders refuse")]
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
        #[error("has the key {} twice in the same object", quoted(key))]
        DuplicateKey { key: String } => ("format/index-duplicate-key", Critical),
        #[error("has no 'weight_map', which maps the tensors to shards")]
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

        #[error("lists the shard {}, which {reason}; a shard must be a file in the directory of the index", quoted(shard))]
        ShardPath { shard: String, reason: &'static str } => ("format/shard-path", High),
        #[error("lists the shard {}, which is missing ({count} tensors)", quoted(shard))]
        ShardMissing { shard: String, count: usize } => ("format/shard-missing", High),
        #[error("lists the shard {}, which is a directory", quoted(shard))]
        ShardIsDirectory { shard: String } => ("format/shard-is-directory", High),
        #[error("lists the shard {}, which is not part of the model: {reason}", quoted(shard))]
        ShardNotCovered { shard: String, reason: String } => ("format/shard-not-covered", High),
        #[error(
            "tensor {} is in two of the listed shards, {} and {}",
            quoted(tensor),
            quoted(first),
            quoted(second)
        )]
        TensorInTwoShards { tensor: String, first: String, second: String }
            => ("format/tensor-in-two-shards", High),
        #[error("tensor {} is not in {}, where the index lists it{}", quoted(tensor), quoted(shard),
            holder.as_ref().map(|h| format!("; it is in {}", quoted(h))).unwrap_or_default())]
        TensorNotInShard { tensor: String, shard: String, holder: Option<String> }
            => ("format/tensor-not-in-shard", High),
        #[error("tensor {} is in the shard {}, but not in the index", quoted(tensor), quoted(shard))]
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

/// The total size that an index states.
#[derive(Debug, Clone, Copy, PartialEq)]
enum TotalSize {
    Integer(u64),
    Float(f64),
}

/// A parsed shard index.
#[derive(Debug, Default)]
pub struct ShardIndex {
    /// The shard of each tensor, by tensor name, without shards whose path leads out of the model.
    pub weight_map: BTreeMap<String, String>,
    total_size: Option<TotalSize>,
    /// Whether the index has a usable `weight_map`.
    pub readable: bool,
    pub(crate) errors: BoundedErrors<IndexError>,
}

impl ShardIndex {
    /// The errors of the index, at most a few of each kind.
    pub fn errors(&self) -> impl Iterator<Item = &IndexError> {
        self.errors.iter()
    }

    /// The distinct shards in byte order.
    pub(crate) fn shards(&self) -> BTreeSet<&str> {
        self.weight_map.values().map(String::as_str).collect()
    }
}

/// Parses the text of an index.
#[doc(hidden)]
pub fn parse_index(text: &[u8]) -> ShardIndex {
    let mut top = Top::default();
    let outcome = json::parse(text, &mut top);
    let Top { mut index, duplicates, too_many, is_object, has_map } = top;
    if let Err(error) = outcome {
        // Text after the value does not change the value. Otherwise the errors noted so far are part of the
        // same fault.
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
    let refused: HashMap<String, &'static str> = index
        .shards()
        .into_iter()
        .filter_map(|shard| Some((shard.to_owned(), refusal(shard)?)))
        .collect();
    index.weight_map.retain(|_, shard| !refused.contains_key(shard));
    for (shard, reason) in BTreeMap::from_iter(refused) {
        index.errors.push(IndexError::ShardPath { shard, reason });
    }
    index
}

/// The reason why a path cannot be that of a shard, if there is one.
fn refusal(shard: &str) -> Option<&'static str> {
    if shard.is_empty() {
        Some("is empty")
    } else if shard.len() > MAX_PATH {
        Some("is too long for a path")
    } else if shard.contains('\0') {
        Some("contains a NUL character")
    } else if shard.contains('\\') {
        Some("contains a backslash")
    } else if shard.starts_with('/') || shard.as_bytes().get(1) == Some(&b':') {
        Some("is an absolute path")
    } else if shard.split('/').any(|part| part == "..") {
        Some("contains '..'")
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

/// What a listed shard is.
pub(crate) enum ListedShard<'r> {
    /// A file whose header was parsed.
    File(&'r ParsedFile),
    /// The path does not exist.
    Missing,
    Directory,
    /// The path is not part of the model, for this reason.
    Skipped(String),
    /// The path has a problem that was already reported.
    Reported,
}

/// Compares an index with its shards. `find` returns a shard by the path in the index.
pub(crate) fn compare<'r>(
    index: &ShardIndex,
    find: impl Fn(&str) -> ListedShard<'r>,
) -> BoundedErrors<IndexError> {
    let mut errors = BoundedErrors::default();
    let mut parsed_shards: BTreeMap<&str, &ParsedFile> = BTreeMap::new();
    let mut all_sound = index.errors.is_empty();
    let mut listed: BTreeMap<&str, usize> = BTreeMap::new();
    for shard in index.weight_map.values() {
        *listed.entry(shard).or_insert(0) += 1;
    }
    for (shard, tensors) in listed {
        let name = shard.to_owned();
        match find(shard) {
            ListedShard::File(parsed) => {
                all_sound &= parsed.problems.is_empty();
                if parsed.readable {
                    parsed_shards.insert(shard, parsed);
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

    // Every tensor with its shard, ordered by the name of the tensor.
    let mut stored: Vec<(&str, &str)> = parsed_shards
        .iter()
        .flat_map(|(&shard, parsed)| parsed.names().map(move |tensor| (tensor, shard)))
        .collect();
    stored.sort_unstable();
    let holders = |tensor: &str| {
        let from = stored.partition_point(|(name, _)| *name < tensor);
        let to = stored.partition_point(|(name, _)| *name <= tensor);
        &stored[from..to]
    };

    for (tensor, shard) in &index.weight_map {
        let holders = holders(tensor);
        if parsed_shards.contains_key(shard.as_str()) && !holders.iter().any(|(_, s)| s == shard) {
            errors.push(IndexError::TensorNotInShard {
                tensor: tensor.clone(),
                shard: shard.clone(),
                holder: holders.first().map(|(_, s)| (*s).to_owned()),
            });
        }
    }
    for same in stored.chunk_by(|a, b| a.0 == b.0) {
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
        let actual = parsed_shards
            .values()
            .flat_map(|parsed| &parsed.tensors)
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
