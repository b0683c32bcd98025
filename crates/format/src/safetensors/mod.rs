//! Reads and checks the header of a safetensors file. The data is not read.

mod header;
mod layout;
mod metadata;

pub use header::HeaderError;
pub use metadata::{MAX_TEXT, MetadataError, metadata, metadata_if};

use super::class::{ContentClass, Format};
use super::file::{self, OpenedFile};
use super::lfs;
use super::parsed_file::{ParsedFile, StoredTensor};
use super::problem::{BoundedErrors, StructureError};
use super::reader::FormatReader;
use header::MAX_HEADER;
use layout::TensorTable;
use std::io;
use tensorseal_base::display::is_hidden;
use tensorseal_base::severity::Severity;

/// The result of parsing a header.
#[derive(Debug, Default)]
pub struct HeaderReport {
    /// The tensors that can be read, ordered by offset and name.
    pub tensors: Vec<StoredTensor>,
    /// The names of the listed tensors that cannot be read.
    pub unreadable: Vec<String>,
    /// Whether the layout could be parsed.
    pub readable: bool,
    pub(crate) errors: BoundedErrors<HeaderError>,
    pub(crate) remarks: Vec<HeaderRemark>,
}

impl HeaderReport {
    /// The errors of the header, at most a few of each kind.
    pub fn errors(&self) -> impl Iterator<Item = &HeaderError> {
        self.errors.iter()
    }

    /// Converts the result to that of any format. `path` is the name of the file in problems.
    pub(crate) fn into_parsed_file(self, path: &str) -> ParsedFile {
        ParsedFile {
            problems: self.errors.problems(path),
            remarks: self.remarks.iter().map(|remark| remark.to_problem(path)).collect(),
            tensors: self.tensors,
            unreadable: self.unreadable,
            readable: self.readable,
            ..ParsedFile::default()
        }
    }

    fn refused(error: HeaderError) -> HeaderReport {
        let mut report = HeaderReport::default();
        report.errors.push(error);
        report
    }
}

/// A remark about a header: legal, but worth knowing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderRemark {
    /// Some tensors are not aligned.
    #[error(
        "{count} tensors do not start at a multiple of their element size (the first is {first}); \
         loaders have to copy them"
    )]
    Misaligned {
        /// The number of these tensors.
        count: u64,
        /// The quoted name of the first one.
        first: String,
    },
    /// Some tensor names are unusual.
    #[error(
        "{count} tensor names are empty, very long or contain control characters (the first is \
         {first})"
    )]
    UnusualNames {
        /// The number of these tensors.
        count: u64,
        /// The quoted name of the first one.
        first: String,
    },
}

impl StructureError for HeaderRemark {
    fn rule(&self) -> (&'static str, Severity) {
        match self {
            HeaderRemark::Misaligned { .. } => ("format/misaligned", Severity::Info),
            HeaderRemark::UnusualNames { .. } => ("format/unusual-name", Severity::Info),
        }
    }
}

/// The safetensors format: a JSON header followed by the data.
pub(crate) struct Safetensors;

impl FormatReader for Safetensors {
    fn format(&self) -> Format {
        Format::Safetensors
    }

    fn name(&self) -> &'static str {
        "safetensors"
    }

    fn display_name(&self) -> &'static str {
        "safetensors"
    }

    fn classes(&self) -> &'static [ContentClass] {
        &[ContentClass::Safetensors]
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["safetensors"]
    }

    fn read(&self, path: &str, _: ContentClass, opened: &OpenedFile) -> io::Result<ParsedFile> {
        Ok(read(opened)?.into_parsed_file(path))
    }

    fn reads_from_start(&self, _: ContentClass) -> bool {
        true
    }

    fn executes_metadata(&self) -> bool {
        false
    }
}

/// Reads and checks the header of an opened file.
pub(crate) fn read(opened: &OpenedFile) -> io::Result<HeaderReport> {
    Ok(match read_header(opened)? {
        Header::Text(text) => check_header(&text, opened.identity.bytes),
        Header::Refused(error) => HeaderReport::refused(error),
    })
}

/// The header of a file.
enum Header {
    /// The unchecked text of the header.
    Text(Vec<u8>),
    /// There is no valid header.
    Refused(HeaderError),
}

fn read_header(opened: &OpenedFile) -> io::Result<Header> {
    let bytes = opened.identity.bytes;
    match bytes {
        0 => return Ok(Header::Refused(HeaderError::Empty)),
        1..8 => return Ok(Header::Refused(HeaderError::TooShort { bytes })),
        _ => {}
    }
    let start = file::read_at(&opened.file, 0, 8)?;
    if let Some(size) = lfs::pointer(opened)? {
        return Ok(Header::Refused(HeaderError::LfsPointer { size }));
    }
    let mut length = [0; 8];
    length.copy_from_slice(&start);
    let length = u64::from_le_bytes(length);
    if let Err(error) = check_length(length, bytes) {
        return Ok(Header::Refused(error));
    }
    // The length is at most 100 MB and was checked against the file.
    Ok(Header::Text(file::read_at(&opened.file, 8, length as usize)?))
}

fn check_length(length: u64, file_bytes: u64) -> Result<(), HeaderError> {
    let available = file_bytes.saturating_sub(8);
    match length {
        0 => Err(HeaderError::HeaderLengthZero),
        _ if length > MAX_HEADER => Err(HeaderError::HeaderTooLarge { length }),
        _ if length > available => Err(HeaderError::HeaderPastEnd { length, available }),
        _ => Ok(()),
    }
}

/// Whether a header of `length` bytes fits a file of `file_bytes` bytes.
pub(crate) fn is_length(length: u64, file_bytes: u64) -> bool {
    check_length(length, file_bytes).is_ok()
}

/// Checks the text of a header (without the 8 bytes of its length) of a file of `file_bytes` bytes. If it has no
/// errors, the reference reader must accept it as well.
#[doc(hidden)]
pub fn check_header(text: &[u8], file_bytes: u64) -> HeaderReport {
    let mut report = check_header_alone(text, file_bytes);
    if report.errors.is_empty()
        && let Err(error) = serde_json::from_slice::<safetensors::tensor::Metadata>(text)
    {
        // The JSON error may contain text of the header, so it is escaped to one line.
        let reason = tensorseal_base::display::display_name(&error.to_string());
        report.errors.push(HeaderError::ReferenceRefuses { reason });
    }
    report
}

/// Like [`check_header`], but without the reference reader.
#[doc(hidden)]
pub fn check_header_alone(text: &[u8], file_bytes: u64) -> HeaderReport {
    if let Err(error) = check_length(text.len() as u64, file_bytes) {
        return HeaderReport::refused(error);
    }
    let mut errors = BoundedErrors::default();
    let Some(entries) = header::parse(text, &mut errors) else {
        return HeaderReport { errors, ..HeaderReport::default() };
    };
    let data_start = 8 + text.len() as u64;
    let TensorTable { tensors, unreadable } =
        layout::check(entries, data_start, file_bytes, &mut errors);
    HeaderReport {
        remarks: remarks(&tensors),
        // A header with only unreadable entries says nothing about the layout.
        readable: !tensors.is_empty() || unreadable.is_empty(),
        tensors,
        unreadable,
        errors,
    }
}

fn remarks(tensors: &[StoredTensor]) -> Vec<HeaderRemark> {
    /// Longer than the names of any framework.
    const LONG: usize = 1024;
    let (mut misaligned, mut unusual) = (Vec::new(), Vec::new());
    for tensor in tensors {
        if tensor.bytes > 0
            && !tensor.offset.is_multiple_of(u64::from(tensor.dtype.bits() / 8).max(1))
        {
            misaligned.push(&tensor.name);
        }
        let name = &tensor.name;
        if name.is_empty() || name.len() > LONG || name.chars().any(is_hidden) {
            unusual.push(name);
        }
    }
    let mut remarks = Vec::new();
    if let Some(first) = misaligned.first() {
        let first = tensorseal_base::display::quoted(first);
        remarks.push(HeaderRemark::Misaligned { count: misaligned.len() as u64, first });
    }
    if let Some(first) = unusual.first() {
        let first = tensorseal_base::display::quoted(first);
        remarks.push(HeaderRemark::UnusualNames { count: unusual.len() as u64, first });
    }
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::strategy::ValueTree;
    use tensorseal_base::dtype::Dtype;

    /// Length, header text and data of a whole file, as the reference reader takes it.
    fn whole(text: &[u8], data: usize) -> Vec<u8> {
        [&(text.len() as u64).to_le_bytes()[..], text, &vec![0; data]].concat()
    }

    /// Whatever is accepted here, the reference reader accepts too, and reads the same.
    fn accepted_alike(text: &[u8], data: usize) -> Result<bool, TestCaseError> {
        let report = check_header_alone(text, (8 + text.len() + data) as u64);
        if !report.errors.is_empty() {
            return Ok(false);
        }
        let whole = whole(text, data);
        let theirs = ::safetensors::SafeTensors::deserialize(&whole);
        prop_assert!(theirs.is_ok(), "{:?} of {}", theirs, String::from_utf8_lossy(text));
        let theirs = theirs.unwrap();
        prop_assert_eq!(theirs.len(), report.tensors.len());
        for tensor in &report.tensors {
            let view = theirs.tensor(&tensor.name).unwrap();
            prop_assert_eq!(view.data().len() as u64, tensor.bytes);
            let at = view.data().as_ptr() as usize - whole.as_ptr() as usize;
            prop_assert_eq!(at as u64, tensor.offset);
        }
        Ok(true)
    }

    /// Sound headers, and headers that are nearly so: a range may be moved by a byte, a name be
    /// there twice, elements not fill whole bytes.
    fn header() -> impl Strategy<Value = (String, usize)> {
        let dtypes: Vec<Dtype> = Dtype::safetensors_types().collect();
        let moved = prop_oneof![8 => Just(0i64), 1 => Just(-1), 1 => Just(1)];
        let tensor = (
            "[a-z]{0,2}",
            proptest::sample::select(dtypes),
            prop::collection::vec(0u64..5, 0..3),
            moved,
        );
        prop::collection::vec(tensor, 0..5).prop_map(|tensors| {
            let mut start = 0u64;
            let mut entries = vec![r#""__metadata__":{"format":"pt"}"#.to_owned()];
            for (name, dtype, shape, moved) in tensors {
                start = start.saturating_add_signed(moved);
                let bits = shape.iter().product::<u64>() * u64::from(dtype.bits());
                let end = start + bits / 8;
                entries.push(format!(
                    r#""{name}":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{start},{end}]}}"#
                ));
                start = end;
            }
            (format!("{{{}}}", entries.join(",")), start as usize)
        })
    }

    #[test]
    fn the_headers_of_the_tests_are_accepted_often_and_refused_often() {
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let accepted = (0..1000)
            .filter(|_| {
                let (text, data) = header().new_tree(&mut runner).unwrap().current();
                accepted_alike(text.as_bytes(), data).unwrap()
            })
            .count();
        assert!((200..900).contains(&accepted), "{accepted}");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(
            text in prop::collection::vec(any::<u8>(), 0..200),
            bytes: u64,
        ) {
            check_header(&text, bytes);
        }

        #[test]
        fn arbitrary_json_does_not_panic(
            text in r#"[\[\]{}",:0-9a-e\\u._ -]{0,60}"#,
            data in 0usize..9,
        ) {
            accepted_alike(text.as_bytes(), data)?;
        }

        #[test]
        fn what_is_accepted_the_reference_accepts((text, data) in header()) {
            accepted_alike(text.as_bytes(), data)?;
        }

        #[test]
        fn mutated_headers_are_refused_or_read_alike(
            (text, data) in header(),
            mutations in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4), 1..4),
        ) {
            let mut text = text.into_bytes();
            for (at, byte, how) in mutations {
                let at = at.index(text.len());
                match how {
                    0 => text[at] = byte,
                    1 => text[at] = b"0123456789-.[]{},:\" "[usize::from(byte) % 20],
                    2 => { text.remove(at); }
                    _ => text.insert(at, byte),
                }
                if text.is_empty() {
                    break;
                }
            }
            accepted_alike(&text, data)?;
            check_header(&text, (8 + text.len() + data) as u64);
        }
    }

    #[test]
    fn headers_of_the_reference_writer_are_read() {
        for dtype in Dtype::safetensors_types() {
            let (bytes, elements) = dtype.granule();
            let data = vec![1; (bytes * 6) as usize];
            let theirs =
                serde_json::from_value(serde_json::Value::String(dtype.name().into())).unwrap();
            let shape = vec![2, 3 * elements as usize];
            let view = ::safetensors::tensor::TensorView::new(theirs, shape, &data).unwrap();
            let file = ::safetensors::serialize([("a", &view), ("b", &view)], None).unwrap();
            let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
            let report = check_header(&file[8..8 + length], file.len() as u64);
            assert!(report.errors.is_empty() && report.readable, "{dtype}");
            assert_eq!(report.tensors.len(), 2);
            let start = 8 + length as u64;
            for (tensor, at) in report.tensors.iter().zip(0..) {
                assert_eq!((tensor.dtype, tensor.bytes), (dtype, bytes * 6));
                assert_eq!(tensor.shape, [2, 3 * elements]);
                assert_eq!(tensor.offset, start + at * bytes * 6);
            }
        }
    }

    #[test]
    fn places_are_bytes_of_the_file() {
        let report = check_header(b"{\"a\xff", 100);
        assert_eq!(report.errors().next().unwrap().location().bytes, Some([11, 12]));
        let report = check_header(b"{}  x", 13);
        assert_eq!(report.errors().next().unwrap().location().bytes, Some([12, 13]));
    }

    #[test]
    fn errors_of_one_kind_are_counted_beyond_a_few() {
        let entries: Vec<_> = (0..1000).map(|n| format!("\"{n}\":null")).collect();
        let text = format!("{{{}}}", entries.join(","));
        let problems = check_header(text.as_bytes(), 8 + text.len() as u64).errors.problems("x");
        assert_eq!(problems.len(), 17);
        assert!(
            problems[16].message.contains("984 more problems of the same kind"),
            "{}",
            problems[16].message
        );
    }
}
