//! Parses the JSON header of a safetensors file, with a named error for every fault.

use crate::parsed_file::MAX_TENSORS;
use crate::problem::{BoundedErrors, ErrorLocation, StructureError, faults};
use serde::de::{Error as _, IgnoredAny, MapAccess, SeqAccess};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use tensorseal_base::display::{quoted, quoted_list};
use tensorseal_base::dtype::Dtype;
use tensorseal_base::json::{self, JsonError, JsonScalar, JsonSink, KeySink, ScalarSink, SinkSeed};
use tensorseal_base::severity::Severity;

/// The longest header in bytes, as in the reference implementation.
pub(super) const MAX_HEADER: u64 = 100_000_000;
/// The largest number of dimensions of a tensor. No framework supports more than 64.
pub(super) const MAX_DIMENSIONS: usize = 256;
/// The largest number of `__metadata__` entries in a file.
pub(super) const MAX_METADATA: usize = 100_000;

faults! {
    /// An error in the header of a safetensors file.
    #[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
    #[non_exhaustive]
    pub enum HeaderError {
        #[error("is empty; a safetensors file starts with the length of its header")]
        Empty => ("format/empty-file", High),
        #[error("is only {bytes} bytes long; a safetensors file starts with 8 bytes of header length")]
        TooShort { bytes: u64 } => ("format/too-short", High),
        #[error(
            "is a git-lfs pointer, not the weights; fetch them with: git lfs pull{}",
            size.map(|n| format!(" (the pointer stands for {n} bytes)")).unwrap_or_default()
        )]
        LfsPointer { size: Option<u64> } => ("format/git-lfs-pointer", High),
        #[error("states a header of length 0")]
        HeaderLengthZero => ("format/header-length-zero", High) at [0, 8],
        #[error("states a header of {length} bytes; the limit is {MAX_HEADER} bytes")]
        HeaderTooLarge { length: u64 } => ("format/header-too-large", High) at [0, 8],
        #[error(
            "states a header of {length} bytes, but only {available} bytes follow: the file is truncated, or \
             it is not a safetensors file"
        )]
        HeaderPastEnd { length: u64, available: u64 } => ("format/header-past-end", High) at [0, 8],

        #[error("header starts with a byte-order mark, which safetensors does not allow")]
        ByteOrderMark => ("format/byte-order-mark", High) at [8, 11],
        #[error("header is not UTF-8 at byte {at} of the file")]
        NotUtf8 { at: u64 } => ("format/header-not-utf8", High),
        #[error("header is {error}")]
        NotJson { error: JsonError }
            => ("format/header-not-json", High) at [8 + error.offset(), 9 + error.offset()],
        #[error("header is {error}")]
        TooDeep { error: JsonError }
            => ("format/header-too-deep", High) at [8 + error.offset(), 9 + error.offset()],
        #[error("header has {error}; only spaces may pad it")]
        Junk { error: JsonError } => ("format/header-junk", Medium) at [8 + error.offset(), 9 + error.offset()],
        #[error("header is {found}, not a JSON object")]
        NotAnObject { found: String } => ("format/header-not-object", High),
        #[error("header lists more than {MAX_TENSORS} tensors")]
        TooManyTensors => ("format/too-many-tensors", High),

        #[error("header has '__metadata__' twice")]
        DuplicateMetadata => ("format/duplicate-metadata", Medium),
        #[error("'__metadata__' has the key {} twice", quoted(key))]
        DuplicateMetadataKey { key: String } => ("format/duplicate-metadata-key", Medium),
        #[error("'__metadata__' is {found}, not an object of strings")]
        MetadataNotAnObject { found: String } => ("format/metadata-not-object", Medium),
        #[error("'__metadata__' entry {} is {found}, not a string", quoted(key))]
        MetadataNotAString { key: String, found: String } => ("format/metadata-not-string", Medium),
        #[error("'__metadata__' has more than {MAX_METADATA} entries")]
        MetadataTooLarge => ("format/metadata-too-large", Medium),

        #[error(
            "tensor {} is listed twice; it depends on the reader which entry is loaded",
            quoted(tensor)
        )]
        DuplicateTensor { tensor: String } => ("format/duplicate-tensor", Critical),
        #[error("tensor {}: the entry is {found}, not an object", quoted(tensor))]
        EntryNotAnObject { tensor: String, found: String } => ("format/entry-not-object", High),
        #[error("tensor {}: the entry has {} twice", quoted(tensor), quoted(member))]
        DuplicateMember { tensor: String, member: String } => ("format/duplicate-member", Critical),
        #[error("tensor {}: the entry has no {}", quoted(tensor), quoted(member))]
        MissingMember { tensor: String, member: &'static str } => ("format/missing-member", High),
        #[error(
            "tensor {}: the entry has {}, which the format does not define",
            quoted(tensor),
            quoted(member)
        )]
        UnknownMember { tensor: String, member: String } => ("format/unknown-member", Medium),
        #[error("tensor {}: unknown dtype {}{}", quoted(tensor), quoted(dtype), hint(dtype))]
        UnknownDtype { tensor: String, dtype: String } => ("format/unknown-dtype", High),
        #[error("tensor {}: dtype is {found}, not a string", quoted(tensor))]
        DtypeNotAString { tensor: String, found: String } => ("format/dtype-not-string", High),
        #[error("tensor {}: shape is {found}, not an array", quoted(tensor))]
        ShapeNotAnArray { tensor: String, found: String } => ("format/shape-not-array", High),
        #[error(
            "tensor {}: dimension {index} is {found}; a dimension is an integer from 0 to 2^63 - 1",
            quoted(tensor)
        )]
        BadDimension { tensor: String, index: usize, found: String } => ("format/bad-dimension", High),
        #[error("tensor {}: more than {MAX_DIMENSIONS} dimensions", quoted(tensor))]
        TooManyDimensions { tensor: String } => ("format/too-many-dimensions", High),
        #[error("tensor {}: the size of shape {shape} overflows 64 bits", quoted(tensor))]
        SizeOverflow { tensor: String, shape: String } => ("format/size-overflow", High),
        #[error("tensor {}: {elements} elements of {dtype} do not fill whole bytes", quoted(tensor))]
        PartialByte { tensor: String, elements: u64, dtype: Dtype } => ("format/partial-byte", High),
        #[error("tensor {}: data_offsets is {found}, not two non-negative integers", quoted(tensor))]
        BadOffsets { tensor: String, found: String } => ("format/bad-offsets", High),
        #[error("tensor {}: data_offsets are reversed: {start} comes after {end}", quoted(tensor))]
        ReversedOffsets { tensor: String, start: u64, end: u64 } => ("format/reversed-offsets", High),
        #[error(
            "tensor {}: data_offsets span {given} bytes, but {dtype} of shape {shape} takes {needed}",
            quoted(tensor)
        )]
        SizeMismatch {
            tensor: String,
            given: u64,
            needed: u64,
            dtype: Dtype,
            shape: String,
            range: [u64; 2],
        } => ("format/size-mismatch", High),

        #[error(
            "tensor {}: its data ends at byte {} of the file, which has only {file_bytes}",
            quoted(tensor),
            range[1]
        )]
        RangePastEnd { tensor: String, range: [u64; 2], file_bytes: u64 }
            => ("format/range-past-end", High),
        #[error("tensor {}: overlaps tensor {} in bytes {} to {} of the file",
            quoted(tensor), quoted(other), range[0], range[1])]
        Overlap { tensor: String, other: String, range: [u64; 2] } => ("format/overlap", High),
        #[error("bytes {} to {} of the file belong to no tensor (a gap between tensors)",
            range[0], range[1])]
        Gap { range: [u64; 2] } => ("format/gap", Medium),
        #[error("bytes {} to {} of the file follow the last tensor", range[0], range[1])]
        TrailingBytes { range: [u64; 2] } => ("format/trailing-bytes", Medium),
        #[error(
            "is truncated: bytes {} to {} are missing, which hold {} of its tensors ({}); download the \
             file again",
            missing[0], missing[1], tensors.len(), quoted_list(tensors.iter().map(String::as_str))
        )]
        Truncated { missing: [u64; 2], tensors: Vec<String> } => ("format/truncated", High),
        #[error("the reference safetensors reader refuses this header: {reason}")]
        ReferenceRefuses { reason: String } => ("format/reference-reader-refuses", Medium),
    }
}

/// A hint at the correct spelling of a dtype that is written in the wrong case.
fn hint(dtype: &str) -> String {
    match dtype.to_ascii_uppercase().parse::<Dtype>() {
        Ok(known) if !known.is_block_quantised() => format!(" (it is spelled {known})"),
        _ => String::new(),
    }
}

impl From<JsonError> for HeaderError {
    fn from(error: JsonError) -> Self {
        match error {
            JsonError::ByteOrderMark => HeaderError::ByteOrderMark,
            JsonError::NotUtf8 { at } => HeaderError::NotUtf8 { at: at + 8 },
            JsonError::TooDeep { .. } => HeaderError::TooDeep { error },
            JsonError::Syntax { .. } => HeaderError::NotJson { error },
            JsonError::Junk { .. } => HeaderError::Junk { error },
        }
    }
}

/// The entry of a tensor in the header. A member that could not be read is `None`, and its error was recorded.
#[derive(Debug)]
pub(crate) struct TensorEntry<'a> {
    pub name: Cow<'a, str>,
    pub dtype: Option<Dtype>,
    pub shape: Option<Vec<u64>>,
    pub offsets: Option<[u64; 2]>,
    /// Whether a later entry has the same name. Readers that keep the last entry do not see this one.
    pub superseded: bool,
}

/// Parses the text of a header. Returns `None` if the layout cannot be known.
pub(crate) fn parse<'a>(
    text: &'a [u8],
    errors: &mut BoundedErrors<HeaderError>,
) -> Option<Vec<TensorEntry<'a>>> {
    let mut state = State { entries: Vec::new(), errors, is_object: false, too_many: false };
    let outcome = json::parse(text, Top(&mut state));
    let State { mut entries, errors, is_object, too_many } = state;
    match outcome {
        Ok(()) => {}
        Err(_) if too_many => {
            // The errors of the entries before are useless without the rest.
            *errors = BoundedErrors::default();
            errors.push(HeaderError::TooManyTensors);
            return None;
        }
        Err(error) => {
            // The errors so far are part of the same fault. If text follows the object, the length of the
            // header, and thus the start of the data, is in doubt.
            *errors = BoundedErrors::default();
            errors.push(error.into());
            return None;
        }
    }
    if !is_object {
        return None;
    }
    mark_superseded(&mut entries, errors);
    Some(entries)
}

/// Reports names that occur twice. The later entry wins, as in readers that accept both.
fn mark_superseded(entries: &mut [TensorEntry<'_>], errors: &mut BoundedErrors<HeaderError>) {
    let mut superseded = Vec::new();
    {
        let mut last: HashMap<&str, usize> = HashMap::with_capacity(entries.len());
        for (at, entry) in entries.iter().enumerate() {
            superseded.extend(last.insert(&entry.name, at));
        }
    }
    for at in superseded {
        entries[at].superseded = true;
        errors.push(HeaderError::DuplicateTensor { tensor: entries[at].name.to_string() });
    }
}

struct State<'a, 'e> {
    entries: Vec<TensorEntry<'a>>,
    errors: &'e mut BoundedErrors<HeaderError>,
    is_object: bool,
    too_many: bool,
}

/// Receives the whole header.
struct Top<'s, 'a, 'e>(&'s mut State<'a, 'e>);

impl<'a> JsonSink<'a> for Top<'_, 'a, '_> {
    type Out = ();

    fn scalar(self, value: JsonScalar<'a>) {
        self.0.errors.push(HeaderError::NotAnObject { found: value.to_string() });
    }

    fn object<A: MapAccess<'a>>(self, mut object: A) -> Result<(), A::Error> {
        let state = self.0;
        state.is_object = true;
        let mut metadata_seen = false;
        while let Some(name) = object.next_key_seed(SinkSeed(KeySink))? {
            if name == "__metadata__" {
                if std::mem::replace(&mut metadata_seen, true) {
                    state.errors.push(HeaderError::DuplicateMetadata);
                }
                object.next_value_seed(SinkSeed(Metadata(state.errors)))?;
                continue;
            }
            if state.entries.len() == MAX_TENSORS {
                state.too_many = true;
                return Err(A::Error::custom("too many tensors"));
            }
            let entry =
                object.next_value_seed(SinkSeed(EntrySink { name, errors: state.errors }))?;
            state.entries.push(entry);
        }
        Ok(())
    }
}

/// Receives `__metadata__`. As in the reference reader, `null` means that there is none.
struct Metadata<'e>(&'e mut BoundedErrors<HeaderError>);

impl<'a> JsonSink<'a> for Metadata<'_> {
    type Out = ();

    fn scalar(self, value: JsonScalar<'a>) {
        if value != JsonScalar::Null {
            self.0.push(HeaderError::MetadataNotAnObject { found: value.to_string() });
        }
    }

    fn object<A: MapAccess<'a>>(self, mut object: A) -> Result<(), A::Error> {
        let errors = self.0;
        let mut seen = HashSet::new();
        while let Some(key) = object.next_key_seed(SinkSeed(KeySink))? {
            if seen.len() == MAX_METADATA {
                errors.push(HeaderError::MetadataTooLarge);
                object.next_value::<IgnoredAny>()?;
                while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                return Ok(());
            }
            match object.next_value_seed(SinkSeed(ScalarSink))? {
                JsonScalar::Text(_) => {}
                other => errors.push(HeaderError::MetadataNotAString {
                    key: key.to_string(),
                    found: other.to_string(),
                }),
            }
            if let Some(key) = seen.replace(key) {
                errors.push(HeaderError::DuplicateMetadataKey { key: key.into_owned() });
            }
        }
        Ok(())
    }
}

/// Receives the entry of one tensor.
struct EntrySink<'e, 'a> {
    name: Cow<'a, str>,
    errors: &'e mut BoundedErrors<HeaderError>,
}

impl<'a> JsonSink<'a> for EntrySink<'_, 'a> {
    type Out = TensorEntry<'a>;

    fn scalar(self, value: JsonScalar<'a>) -> TensorEntry<'a> {
        self.errors.push(HeaderError::EntryNotAnObject {
            tensor: self.name.to_string(),
            found: value.to_string(),
        });
        TensorEntry { name: self.name, dtype: None, shape: None, offsets: None, superseded: false }
    }

    fn object<A: MapAccess<'a>>(self, mut object: A) -> Result<TensorEntry<'a>, A::Error> {
        let EntrySink { name, errors } = self;
        let tensor: &str = &name;
        let (mut dtype, mut shape, mut offsets) = (None, None, None);
        let mut seen = [false; 3];
        let mut check_duplicate = |member: usize, errors: &mut BoundedErrors<HeaderError>| {
            if std::mem::replace(&mut seen[member], true) {
                let member = MEMBERS[member].to_owned();
                errors.push(HeaderError::DuplicateMember { tensor: tensor.to_owned(), member });
            }
        };
        while let Some(member) = object.next_key_seed(SinkSeed(KeySink))? {
            match &*member {
                "dtype" => {
                    check_duplicate(0, errors);
                    dtype =
                        read_dtype(tensor, object.next_value_seed(SinkSeed(ScalarSink))?, errors);
                }
                "shape" => {
                    check_duplicate(1, errors);
                    shape = object.next_value_seed(SinkSeed(Shape { tensor, errors }))?;
                }
                "data_offsets" => {
                    check_duplicate(2, errors);
                    offsets = object.next_value_seed(SinkSeed(Offsets { tensor, errors }))?;
                }
                _ => {
                    object.next_value::<IgnoredAny>()?;
                    let tensor = tensor.to_owned();
                    let member = member.into_owned();
                    errors.push(HeaderError::UnknownMember { tensor, member });
                }
            }
        }
        for (member, seen) in MEMBERS.into_iter().zip(seen) {
            if !seen {
                errors.push(HeaderError::MissingMember { tensor: tensor.to_owned(), member });
            }
        }
        Ok(TensorEntry { name, dtype, shape, offsets, superseded: false })
    }
}

const MEMBERS: [&str; 3] = ["dtype", "shape", "data_offsets"];

fn read_dtype(
    tensor: &str,
    value: JsonScalar<'_>,
    errors: &mut BoundedErrors<HeaderError>,
) -> Option<Dtype> {
    let tensor = || tensor.to_owned();
    match value {
        JsonScalar::Text(text) => {
            let known = text.parse::<Dtype>().ok().filter(|dtype| !dtype.is_block_quantised());
            if known.is_none() {
                errors.push(HeaderError::UnknownDtype { tensor: tensor(), dtype: text.into() });
            }
            known
        }
        other => {
            let found = other.to_string();
            errors.push(HeaderError::DtypeNotAString { tensor: tensor(), found });
            None
        }
    }
}

/// Receives the dimensions of a tensor.
struct Shape<'e> {
    tensor: &'e str,
    errors: &'e mut BoundedErrors<HeaderError>,
}

impl<'a> JsonSink<'a> for Shape<'_> {
    type Out = Option<Vec<u64>>;

    fn scalar(self, value: JsonScalar<'a>) -> Self::Out {
        let found = value.to_string();
        self.errors.push(HeaderError::ShapeNotAnArray { tensor: self.tensor.to_owned(), found });
        None
    }

    fn list<A: SeqAccess<'a>>(self, mut list: A) -> Result<Self::Out, A::Error> {
        let tensor = || self.tensor.to_owned();
        let mut shape = Some(Vec::new());
        let mut index = 0;
        while let Some(value) = list.next_element_seed(SinkSeed(ScalarSink))? {
            match value {
                _ if index == MAX_DIMENSIONS => {
                    self.errors.push(HeaderError::TooManyDimensions { tensor: tensor() });
                    while list.next_element::<IgnoredAny>()?.is_some() {}
                    return Ok(None);
                }
                JsonScalar::Unsigned(n) if i64::try_from(n).is_ok() => {
                    if let Some(shape) = &mut shape {
                        shape.push(n);
                    }
                }
                other => {
                    // Report only one error per shape.
                    if shape.take().is_some() {
                        let found = other.to_string();
                        let error = HeaderError::BadDimension { tensor: tensor(), index, found };
                        self.errors.push(error);
                    }
                }
            }
            index += 1;
        }
        Ok(shape)
    }
}

/// Receives the two offsets of a tensor.
struct Offsets<'e> {
    tensor: &'e str,
    errors: &'e mut BoundedErrors<HeaderError>,
}

impl<'a> JsonSink<'a> for Offsets<'_> {
    type Out = Option<[u64; 2]>;

    fn scalar(self, value: JsonScalar<'a>) -> Self::Out {
        let found = value.to_string();
        self.errors.push(HeaderError::BadOffsets { tensor: self.tensor.to_owned(), found });
        None
    }

    fn list<A: SeqAccess<'a>>(self, mut list: A) -> Result<Self::Out, A::Error> {
        let mut offsets = [0; 2];
        let (mut count, mut wrong) = (0usize, None);
        while let Some(value) = list.next_element_seed(SinkSeed(ScalarSink))? {
            match (value, offsets.get_mut(count)) {
                (JsonScalar::Unsigned(n), Some(offset)) => *offset = n,
                (_, None) => {}
                (other, Some(_)) => wrong = wrong.or(Some(other.to_string())),
            }
            count += 1;
        }
        let found = match wrong {
            None if count == 2 => return Ok(Some(offsets)),
            Some(value) => format!("an array with {value}"),
            None => format!("an array of {count}"),
        };
        self.errors.push(HeaderError::BadOffsets { tensor: self.tensor.to_owned(), found });
        Ok(None)
    }
}
