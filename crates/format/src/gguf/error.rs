//! The errors and remarks of GGUF files.

use super::{MAX_ALIGNMENT, MAX_DIMENSIONS, MAX_NESTING};
use crate::parsed_file::MAX_TENSORS;
use crate::problem::{ErrorLocation, StructureError, faults};
use tensorseal_base::display::{quoted, quoted_list};
use tensorseal_base::dtype::Dtype;
use tensorseal_base::severity::Severity;

faults! {
    /// An error in the header of a GGUF file.
    #[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
    #[non_exhaustive]
    pub enum GgufError {
        #[error("is empty; a GGUF file starts with 'GGUF', its version and two counts")]
        Empty => ("format/empty-file", High),
        #[error(
            "is a git-lfs pointer, not the weights; fetch them with: git lfs pull{}",
            size.map(|n| format!(" (the pointer stands for {n} bytes)")).unwrap_or_default()
        )]
        LfsPointer { size: Option<u64> } => ("format/git-lfs-pointer", High),
        #[error("does not start with 'GGUF'{}", hint(*magic))]
        BadMagic { magic: [u8; 4] } => ("format/gguf-magic", High) at [0, 4],
        #[error("has GGUF version {version}; supported are versions 1, 2 and 3")]
        UnknownVersion { version: u32 } => ("format/gguf-version", High) at [4, 8],
        #[error(
            "ends inside its header, after {file_bytes} bytes: the file is truncated (download it again), or \
             an earlier count is wrong"
        )]
        HeaderCut { file_bytes: u64 } => ("format/gguf-header-cut", High),
        #[error("states {count} {what}, more than the {left} bytes that follow can hold")]
        CountPastEnd { what: &'static str, count: u64, left: u64, at: u64 }
            => ("format/gguf-count-past-end", High),
        #[error("lists {count} tensors; the limit is {MAX_TENSORS}")]
        TooManyTensors { count: u64 } => ("format/too-many-tensors", High),
        #[error("has too many {what} in its metadata; the limit is {limit}")]
        TooMuchMetadata { what: &'static str, limit: u64 } => ("format/gguf-metadata-too-large", High),
        #[error(
            "{what} at byte {at} of the file states a length of {length}, but only {left} bytes follow"
        )]
        StringPastEnd { what: &'static str, length: u64, left: u64, at: u64 }
            => ("format/gguf-string-past-end", High),
        #[error(
            "metadata key {}: states an array of {count} {kind}, but only {left} bytes of the file follow",
            quoted(key)
        )]
        ArrayPastEnd { key: String, kind: &'static str, count: u64, left: u64, at: u64 }
            => ("format/gguf-array-past-end", High),
        #[error("metadata key {}: arrays are nested more than {MAX_NESTING} levels deep", quoted(key))]
        NestedTooDeep { key: String } => ("format/gguf-nested-too-deep", High),
        #[error("metadata key {}: unknown value type {kind}; the types are 0 to 12", quoted(key))]
        UnknownValueType { key: String, kind: u32, at: u64 } => ("format/gguf-value-type", High),

        #[error(
            "has the metadata key {} twice; it depends on the reader which value is used",
            quoted(key)
        )]
        DuplicateKey { key: String } => ("format/gguf-duplicate-key", High),
        #[error("has an empty metadata key")]
        EmptyKey { at: u64 } => ("format/gguf-empty-key", Medium),
        #[error("has a metadata key of {length} bytes; the format allows 65535")]
        KeyTooLong { length: u64, at: u64 } => ("format/gguf-key-too-long", Medium),
        #[error("metadata key {} is not UTF-8", quoted(key))]
        KeyNotUtf8 { key: String, at: u64 } => ("format/gguf-key-not-utf8", Medium),
        #[error(
            "metadata key {} contains a NUL character, which ends the key for some readers only",
            quoted(key)
        )]
        KeyNul { key: String, at: u64 } => ("format/gguf-nul-in-name", High),
        #[error("metadata key {}: a Boolean is {value}, neither 0 nor 1", quoted(key))]
        BadBool { key: String, value: u8, at: u64 } => ("format/gguf-bool", Medium),
        #[error("'general.alignment' is {found}, not an unsigned 32-bit integer")]
        AlignmentType { found: &'static str } => ("format/gguf-alignment-type", High),
        #[error("'general.alignment' is {alignment}; it must be a power of two of at least 8")]
        BadAlignment { alignment: u32 } => ("format/gguf-alignment", High),
        #[error("'general.alignment' is {alignment}; the limit is {MAX_ALIGNMENT}")]
        HugeAlignment { alignment: u32 } => ("format/gguf-alignment-too-large", High),
        #[error("'{key}' is {found}, not a number from 0 to {max}")]
        SplitMetadata { key: &'static str, found: String, max: u64 }
            => ("format/gguf-split-metadata", Medium),

        #[error(
            "tensor {} is listed twice; it depends on the reader which entry is loaded",
            quoted(tensor)
        )]
        DuplicateTensor { tensor: String } => ("format/duplicate-tensor", Critical),
        #[error(
            "tensor {}: the name is {length} bytes long; llama.cpp refuses names of more than 63 bytes",
            quoted(tensor)
        )]
        LongName { tensor: String, length: u64 } => ("format/gguf-long-name", Low),
        #[error("has a tensor name of {length} bytes, or more than 100 MB of tensor names")]
        HugeName { length: u64, at: u64 } => ("format/gguf-huge-name", High),
        #[error("tensor {}: the name is not UTF-8", quoted(tensor))]
        NameNotUtf8 { tensor: String } => ("format/gguf-name-not-utf8", High),
        #[error(
            "tensor {}: the name contains a NUL character, which ends the name for some readers only",
            quoted(tensor)
        )]
        NameNul { tensor: String } => ("format/gguf-nul-in-name", High),
        #[error("tensor {}: has {count} dimensions; ggml allows at most {MAX_DIMENSIONS}", quoted(tensor))]
        TooManyDimensions { tensor: String, count: u32 } => ("format/gguf-too-many-dimensions", High),
        #[error(
            "tensor {}: dimension {index} is {found}; a dimension is an integer from 0 to 2^63 - 1",
            quoted(tensor)
        )]
        BadDimension { tensor: String, index: usize, found: u64 } => ("format/bad-dimension", High),
        #[error("tensor {}: the size of shape {shape} overflows 63 bits", quoted(tensor))]
        SizeOverflow { tensor: String, shape: String } => ("format/size-overflow", High),
        #[error("tensor {}: unknown element type {number}", quoted(tensor))]
        UnknownType { tensor: String, number: i32 } => ("format/unknown-dtype", High),
        #[error(
            "tensor {}: element type {number} ({name}) was removed from ggml and no loader reads it; quantise \
             the model again",
            quoted(tensor)
        )]
        RemovedType { tensor: String, number: i32, name: &'static str }
            => ("format/gguf-removed-type", High),
        #[error(
            "tensor {}: rows of {row} elements do not fill whole blocks of {dtype}, which have {} elements",
            quoted(tensor),
            dtype.granule().1
        )]
        PartialBlock { tensor: String, row: u64, dtype: Dtype } => ("format/gguf-partial-block", High),
        #[error(
            "tensor {}: the offset {offset} is not a multiple of the alignment {alignment}",
            quoted(tensor)
        )]
        MisalignedOffset { tensor: String, offset: u64, alignment: u64 }
            => ("format/gguf-misaligned-offset", High),
        #[error(
            "tensor {}: its data would end at byte {end} of the file, which has only {file_bytes}",
            quoted(tensor)
        )]
        RangePastEnd { tensor: String, range: [u64; 2], end: u128, file_bytes: u64 }
            => ("format/range-past-end", High),

        #[error("tensor {}: overlaps tensor {} in bytes {} to {} of the file",
            quoted(tensor), quoted(other), range[0], range[1])]
        Overlap { tensor: String, other: String, range: [u64; 2] } => ("format/overlap", High),
        #[error(
            "tensor {}: its data comes before the data of tensor {}, which is listed earlier; llama.cpp \
             refuses this",
            quoted(tensor),
            quoted(other)
        )]
        Unordered { tensor: String, other: String } => ("format/gguf-unordered", Medium),
        #[error("bytes {} to {} of the file belong to no tensor (a gap beyond the padding)",
            range[0], range[1])]
        Gap { range: [u64; 2] } => ("format/gap", Medium),
        #[error("bytes {} to {} of the file are padding, but not zero", range[0], range[1])]
        Padding { range: [u64; 2] } => ("format/gguf-padding", Medium),
        #[error("bytes {} to {} of the file follow the last tensor", range[0], range[1])]
        TrailingBytes { range: [u64; 2] } => ("format/trailing-bytes", Medium),
        #[error(
            "is truncated: bytes {} to {} are missing, which hold {} of its tensors ({}); download the \
             file again",
            missing[0], missing[1], tensors.len(), quoted_list(tensors.iter().map(String::as_str))
        )]
        Truncated { missing: [u64; 2], tensors: Vec<String> } => ("format/truncated", High),
    }
}

/// A hint at another format that starts with these bytes.
fn hint(magic: [u8; 4]) -> &'static str {
    match &magic {
        b"ggml" | b"lmgg" | b"fmgg" | b"ggmf" | b"tjgg" | b"ggjt" | b"algg" | b"ggla" => {
            ": it is in a ggml format older than GGUF; convert it to GGUF"
        }
        b"FUGG" => ": the letters are reversed, so the byte order of the whole file was changed",
        _ => "",
    }
}

/// A remark about a GGUF file: legal, but worth knowing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GgufRemark {
    /// The file has version 1.
    #[error("has GGUF version 1, which llama.cpp no longer reads; convert it to a newer version")]
    OldVersion,
    /// The file is big-endian.
    #[error("is big-endian; its tensors are measured as if they were little-endian")]
    BigEndian,
    /// A metadata value is an array of arrays.
    #[error("metadata key {} is an array of arrays, which llama.cpp does not read", quoted(key))]
    NestedArray {
        /// The metadata key.
        key: String,
    },
    /// Some tensor names are unusual.
    #[error(
        "{count} tensor names are empty or contain control characters (the first is {})",
        quoted(first)
    )]
    UnusualNames {
        /// The number of these tensors.
        count: u64,
        /// The name of the first one.
        first: String,
    },
}

impl StructureError for GgufRemark {
    fn rule(&self) -> (&'static str, Severity) {
        match self {
            GgufRemark::OldVersion => ("format/gguf-old-version", Severity::Info),
            GgufRemark::BigEndian => ("format/gguf-big-endian", Severity::Info),
            GgufRemark::NestedArray { .. } => ("format/gguf-nested-array", Severity::Info),
            GgufRemark::UnusualNames { .. } => ("format/unusual-name", Severity::Info),
        }
    }
}
