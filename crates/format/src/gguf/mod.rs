//! Reads GGUF files, as llama.cpp and related programs use them: versions 1 to 3, in either byte order. The header
//! is read and checked from start to end; of the data, only the padding between tensors is read.
//!
//! A file consists of `GGUF`, the version, the number of tensors, the number of metadata entries, the metadata
//! entries, the tensor entries, padding to the alignment, and the data. Counts and lengths have 64 bits (32 bits in
//! version 1). The bytes of the version tell the byte order.

mod error;
mod layout;
mod metadata;
mod reader;
mod split;
mod tensors;
mod texts;
mod types;

pub use error::{GgufError, GgufRemark};

use super::class::{ContentClass, Format};
use super::file::OpenedFile;
use super::lfs;
use super::parsed_file::{ArchitectureMetadata, MAX_TENSORS, ParsedFile, SplitPart, StoredTensor};
use super::problem::{BoundedErrors, StructureError};
use super::reader::{FormatReader, ReadMetadataTexts, SplitFormat};
use super::tensor::BigEndianRange;
use metadata::{GgufMetadata, HEADS, KEY_VALUE_HEADS, MAX_ENTRIES, MetadataValue};
use reader::{ByteReader, FilePrefix, Reader, Stop};
use split::Split;
use std::io;
use tensorseal_base::display::is_hidden;

/// The largest number of dimensions of a tensor in ggml.
pub const MAX_DIMENSIONS: usize = 4;
/// The deepest nesting of arrays in metadata values.
pub const MAX_NESTING: u32 = 4;
/// The largest alignment in bytes: the largest page size of common systems.
pub const MAX_ALIGNMENT: u64 = 64 << 10;

/// The start of every file, in either byte order.
const MAGIC: [u8; 4] = *b"GGUF";

/// Reads `general.architecture` and the numbers of heads of this architecture.
fn architecture(metadata: &GgufMetadata) -> Option<ArchitectureMetadata> {
    let Some(MetadataValue::Text(name)) = metadata.kept.get("general.architecture") else {
        return None;
    };
    Some(ArchitectureMetadata {
        heads: metadata.heads(name, HEADS),
        key_value_heads: metadata.heads(name, KEY_VALUE_HEADS),
        name: name.clone(),
    })
}

/// The result of parsing a GGUF file.
#[derive(Debug, Default)]
pub struct GgufReport {
    /// The tensors that can be read, ordered by offset, length and name.
    pub tensors: Vec<StoredTensor>,
    /// The names of the listed tensors that cannot be read.
    pub unreadable: Vec<String>,
    /// Whether the layout could be parsed.
    pub readable: bool,
    /// Whether the file is big-endian.
    pub big_endian: bool,
    /// The architecture in the metadata.
    pub architecture: Option<ArchitectureMetadata>,
    pub(super) part: Option<SplitPart>,
    errors: BoundedErrors<GgufError>,
    remarks: Vec<GgufRemark>,
}

impl GgufReport {
    /// The errors of the file, at most a few of each kind.
    pub fn errors(&self) -> impl Iterator<Item = &GgufError> {
        self.errors.iter()
    }

    fn refused(error: GgufError) -> GgufReport {
        let mut report = GgufReport::default();
        report.errors.push(error);
        report
    }

    /// Converts the result to that of any format. `path` is the name of the file in problems.
    fn into_parsed_file(self, path: &str) -> ParsedFile {
        let swapped = |tensor: &StoredTensor| BigEndianRange {
            range: [tensor.offset, tensor.offset + tensor.bytes],
            dtype: tensor.dtype,
        };
        let swapped = self.tensors.iter().filter(|t| self.big_endian && t.bytes > 0).map(swapped);
        ParsedFile {
            problems: self.errors.problems(path),
            remarks: self.remarks.iter().map(|remark| remark.to_problem(path)).collect(),
            big_endian: swapped.collect(),
            tensors: self.tensors,
            unreadable: self.unreadable,
            readable: self.readable,
            architecture: self.architecture,
            part: self.part,
            ..ParsedFile::default()
        }
    }
}

/// The GGUF format, used by llama.cpp and related programs.
pub(crate) struct Gguf;

impl FormatReader for Gguf {
    fn format(&self) -> Format {
        Format::Gguf
    }

    fn name(&self) -> &'static str {
        "gguf"
    }

    fn display_name(&self) -> &'static str {
        "GGUF"
    }

    fn classes(&self) -> &'static [ContentClass] {
        &[ContentClass::Gguf]
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["gguf"]
    }

    fn read(&self, path: &str, _: ContentClass, opened: &OpenedFile) -> io::Result<ParsedFile> {
        if let Some(size) = lfs::pointer(opened)? {
            return Ok(GgufReport::refused(GgufError::LfsPointer { size }).into_parsed_file(path));
        }
        Ok(check(&opened.file, opened.identity.bytes)?.into_parsed_file(path))
    }

    fn reads_from_start(&self, _: ContentClass) -> bool {
        true
    }

    fn executes_metadata(&self) -> bool {
        false
    }

    fn split_format(&self) -> Option<&'static dyn SplitFormat> {
        Some(&Split)
    }

    fn metadata_texts(&self) -> Option<ReadMetadataTexts> {
        Some(texts::texts)
    }
}

/// Checks a file of `file_bytes` bytes that begins with `start` and continues with zeros.
#[doc(hidden)]
pub fn check_bytes(start: &[u8], file_bytes: u64) -> GgufReport {
    check(&FilePrefix(start), file_bytes).unwrap_or_default()
}

fn check(bytes: &dyn ByteReader, file_bytes: u64) -> io::Result<GgufReport> {
    let mut report = GgufReport::default();
    match read(bytes, file_bytes, &mut report) {
        Ok(()) => {}
        Err(Stop::Io(error)) => return Err(error),
        Err(Stop::Fault(error)) => {
            // The errors so far may be part of the same fault.
            report = GgufReport::refused(error);
        }
    }
    Ok(report)
}

fn read(bytes: &dyn ByteReader, file_bytes: u64, report: &mut GgufReport) -> Result<(), Stop> {
    let mut reader = Reader::new(bytes, file_bytes);
    if file_bytes == 0 {
        return Err(GgufError::Empty.into());
    }
    let magic = reader.array()?;
    if magic != MAGIC {
        return Err(GgufError::BadMagic { magic }.into());
    }
    let mut version = reader.u32()?;
    if version.trailing_zeros() >= 16 && version != 0 {
        version = version.swap_bytes();
        reader.big_endian = true;
    }
    if !(1..=3).contains(&version) {
        return Err(GgufError::UnknownVersion { version }.into());
    }
    reader.narrow = version == 1;
    report.big_endian = reader.big_endian;
    report.remarks.extend((version == 1).then_some(GgufRemark::OldVersion));
    report.remarks.extend(reader.big_endian.then_some(GgufRemark::BigEndian));

    let counted_at = reader.position();
    let [tensors, entries] = [reader.length()?, reader.length()?];
    let left = reader.left();
    let min_entry_bytes = reader.length_width() + 4 + 1;
    for (what, count, min_bytes) in [
        ("tensors", tensors, tensors::min_entry_bytes(&reader)),
        ("metadata entries", entries, min_entry_bytes),
    ] {
        if count > left / min_bytes {
            return Err(GgufError::CountPastEnd { what, count, left, at: counted_at }.into());
        }
    }
    if tensors > MAX_TENSORS as u64 {
        return Err(GgufError::TooManyTensors { count: tensors }.into());
    }
    if entries > MAX_ENTRIES {
        let (what, limit) = ("entries", MAX_ENTRIES);
        return Err(GgufError::TooMuchMetadata { what, limit }.into());
    }
    let metadata = metadata::read(&mut reader, entries, &mut report.errors, &mut report.remarks)?;
    report.architecture = architecture(&metadata);
    report.part = split::part(&metadata, &mut report.errors);
    let mut layout_errors = BoundedErrors::default();
    let listed = tensors::read(&mut reader, tensors, &mut layout_errors, &mut report.errors)?;
    let Some(alignment) = metadata.alignment else {
        // The start of the data is unknown.
        report.unreadable = listed.into_iter().map(|entry| entry.name).collect();
        report.errors.append(layout_errors);
        return Ok(());
    };
    let geometry =
        layout::FileGeometry { bytes, header_end: reader.position(), file_bytes, alignment };
    let layout = layout::check(listed, &geometry, &mut layout_errors)?;
    report.errors.append(layout_errors);
    report.tensors = layout.tensors;
    report.unreadable = layout.unreadable;
    report.readable = !report.tensors.is_empty() || report.unreadable.is_empty();
    report.remarks.extend(unusual_names(&report.tensors));
    Ok(())
}

/// Finds tensor names that are empty or contain control characters.
fn unusual_names(tensors: &[StoredTensor]) -> Option<GgufRemark> {
    let is_unusual = |t: &&StoredTensor| t.name.is_empty() || t.name.chars().any(is_hidden);
    let mut unusual = tensors.iter().filter(is_unusual).map(|tensor| &tensor.name);
    let first = unusual.next()?.clone();
    Some(GgufRemark::UnusualNames { count: 1 + unusual.count() as u64, first })
}

#[cfg(test)]
mod tests;
