//! Reads NumPy files: `.npy`, a single array, and `.npz`, a zip archive of arrays.

mod error;
pub mod npy;

use super::class::{ContentClass, Format};
use super::file::{self, OpenedFile};
use super::parsed_file::{ParsedFile, StoredTensor};
use super::pickle::{self, MAX_PICKLE, PickleError, PickleLocation};
use super::problem::{BoundedErrors, StructureError};
use super::reader::FormatReader;
use super::strides;
use super::tensor::BigEndianRange;
use super::zip::{self, CompressionMethod, ZipArchive, ZipMember};
use error::{FortranOrder, NumpyError};
use npy::{NpyError, NpyHeader, START_LEN};
use std::collections::{HashMap, HashSet};
use std::io;

/// The start of every `.npy` file.
const MAGIC: &[u8] = b"\x93NUMPY";

/// The largest number of pickles in one archive that are examined.
const MAX_PICKLES: usize = 64;

/// The NumPy formats.
pub(crate) struct Numpy;

impl FormatReader for Numpy {
    fn format(&self) -> Format {
        Format::Numpy
    }

    fn name(&self) -> &'static str {
        "numpy"
    }

    fn display_name(&self) -> &'static str {
        "NumPy"
    }

    fn classes(&self) -> &'static [ContentClass] {
        &[ContentClass::Npy, ContentClass::Npz]
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["npy", "npz"]
    }

    fn read(&self, path: &str, class: ContentClass, opened: &OpenedFile) -> io::Result<ParsedFile> {
        parse(path, class, opened)
    }

    fn reads_from_start(&self, class: ContentClass) -> bool {
        class == ContentClass::Npy
    }

    /// An `.npz` archive may hold arrays whose names do not end in `.npy`.
    fn accepts_any_zip(&self) -> bool {
        true
    }

    fn holds_arrays(&self) -> bool {
        true
    }

    fn executes_metadata(&self) -> bool {
        true
    }
}

/// Parses and checks an opened file: an array, or an archive, whatever its name.
fn parse(path: &str, class: ContentClass, opened: &OpenedFile) -> io::Result<ParsedFile> {
    let start = file::read_at(&opened.file, 0, opened.identity.bytes.min(4) as usize)?;
    let is_archive = zip::is_archive_start(&start)
        || !start.starts_with(&MAGIC[..4])
            && (class == ContentClass::Npz || path.ends_with(".npz"));
    let mut reader = NumpyArchiveReader::default();
    let mut parsed = ParsedFile::default();
    if is_archive {
        reader.archive(opened, &mut parsed)?;
    } else {
        let name = array_name(path);
        let range = [0, opened.identity.bytes];
        reader.array(opened, name, range, &mut parsed)?;
        parsed.readable = !parsed.tensors.is_empty();
        // The array is the whole file, so an error concerns the file.
        parsed.unreadable.clear();
    }
    parsed.tensors.sort_by(|a, b| (a.offset, &a.name).cmp(&(b.offset, &b.name)));
    parsed.big_endian.sort_by_key(|swapped| swapped.range);
    let no_checksums = reader.no_checksums.then(|| zip::NoChecksums.to_problem(path));
    parsed.remarks.extend(no_checksums);
    let NumpyArchiveReader { numpy, zip, pickles, fortran, .. } = reader;
    parsed.problems = zip.problems(path);
    parsed.problems.extend(numpy.problems(path));
    parsed.problems.extend(pickles.problems(path));
    if let Some(first) = fortran.first().cloned() {
        parsed.remarks.push(FortranOrder { count: fortran.len(), first }.to_problem(path));
    }
    Ok(parsed)
}

/// The name of a single array, which is that of its file.
fn array_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.strip_suffix(".npy").unwrap_or(file).to_owned()
}

#[derive(Default)]
struct NumpyArchiveReader {
    numpy: BoundedErrors<NumpyError>,
    zip: BoundedErrors<zip::ZipError>,
    pickles: BoundedErrors<PickleError>,
    /// The names of the arrays in Fortran order.
    fortran: Vec<String>,
    /// Whether the archive records no checksums.
    no_checksums: bool,
}

impl NumpyArchiveReader {
    fn archive(&mut self, opened: &OpenedFile, parsed: &mut ParsedFile) -> io::Result<()> {
        let archive = zip::read(opened)?;
        parsed.checksums = archive.checksums();
        self.no_checksums = archive.has_no_checksums();
        let ZipArchive { members, readable, errors } = archive;
        self.zip = errors;
        parsed.readable = readable;
        self.check_same_names(&members);
        // PyTorch loads an archive whatever its name is, so the pickles that it would load are examined.
        for member in members.iter().filter(|m| m.name.ends_with(".pkl")).take(MAX_PICKLES) {
            self.pickle(opened, member)?;
        }
        let mut taken = HashSet::new();
        for member in members {
            let name = member.name.strip_suffix(".npy").unwrap_or(&member.name).to_owned();
            if !taken.insert(name.clone()) {
                continue;
            }
            if member.method == CompressionMethod::Deflated {
                self.zip.push(member.compressed());
                parsed.unreadable.push(name);
                continue;
            }
            let is_array =
                member.name.ends_with(".npy") || member.start(opened, MAGIC.len())? == MAGIC;
            if is_array {
                self.array(opened, name, member.range, parsed)?;
            } else {
                let ZipMember { name: member, range, .. } = member;
                self.numpy.push(NumpyError::NotAnArray { member, range });
            }
        }
        if parsed.tensors.is_empty() && !parsed.unreadable.is_empty() {
            parsed.readable = false;
        }
        Ok(())
    }

    /// Examines a member whose name is that of a pickle.
    fn pickle(&mut self, opened: &OpenedFile, member: &ZipMember) -> io::Result<()> {
        match member.read(opened, MAX_PICKLE)? {
            Ok(bytes) => {
                let start = (member.method == CompressionMethod::Stored).then_some(member.range[0]);
                let place = PickleLocation { member: &member.name, start };
                pickle::read_only(&bytes, place, &mut self.pickles);
            }
            Err(error) => self.zip.push(error),
        }
        Ok(())
    }

    /// Reports arrays with the same name: for NumPy, `a.npy` and `a` are both `a`.
    fn check_same_names(&mut self, members: &[ZipMember]) {
        let mut names: HashMap<&str, u32> = HashMap::new();
        for member in members {
            *names.entry(member.name.strip_suffix(".npy").unwrap_or(&member.name)).or_default() +=
                1;
        }
        let mut duplicates: Vec<&str> =
            names.into_iter().filter(|(_, count)| *count > 1).map(|(name, _)| name).collect();
        duplicates.sort_unstable();
        for tensor in duplicates {
            self.numpy.push(NumpyError::SameName { tensor: tensor.to_owned() });
        }
    }

    /// Parses the array in these bytes of the file.
    fn array(
        &mut self,
        opened: &OpenedFile,
        name: String,
        [start, end]: [u64; 2],
        parsed: &mut ParsedFile,
    ) -> io::Result<()> {
        let bytes = end - start;
        let head = file::read_at(&opened.file, start, bytes.min(START_LEN as u64) as usize)?;
        let header = match npy::parse_any_order(&head, bytes) {
            Ok(header) => header,
            Err(error) => {
                if error == NpyError::Object {
                    self.objects(opened, &name, &head, [start, end])?;
                }
                let tensor = Some(name.clone());
                self.numpy.push(NumpyError::Array { tensor, error, range: [start, end] });
                parsed.unreadable.push(name);
                return Ok(());
            }
        };
        let NpyHeader { dtype, shape, offset, bytes, fortran, big_endian } = header;
        let offset = start + offset;
        let strides = if fortran { strides::column_major_strides(&shape) } else { None };
        if strides.is_some() {
            self.fortran.push(name.clone());
        }
        if big_endian && bytes > 0 {
            parsed.big_endian.push(BigEndianRange { range: [offset, offset + bytes], dtype });
        }
        parsed.tensors.push(StoredTensor { name, dtype, shape, strides, offset, bytes });
        Ok(())
    }

    /// Examines the pickle after the header of an array of objects.
    fn objects(
        &mut self,
        opened: &OpenedFile,
        name: &str,
        head: &[u8],
        [start, end]: [u64; 2],
    ) -> io::Result<()> {
        let Some(length) = npy::header_len(head) else { return Ok(()) };
        let from = start + length;
        let bytes = end.saturating_sub(from).min(MAX_PICKLE);
        let bytes = file::read_at(&opened.file, from, bytes as usize)?;
        let member = format!("{name}.npy");
        let place = PickleLocation { member: &member, start: Some(from) };
        pickle::read_only(&bytes, place, &mut self.pickles);
        Ok(())
    }
}
