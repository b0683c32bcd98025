//! Reads PyTorch files: the formats of `torch.save`, and plain pickles.
//!
//! The saved object is read by a pickle machine that executes nothing ([`super::pickle`]). Its tensors are views of
//! storages, which are stored in the file as plain bytes.

mod archive;
mod error;
mod legacy;
mod tensors;
mod views;

use super::class::{ContentClass, FileRole, Format};
use super::file::{self, OpenedFile};
use super::parsed_file::ParsedFile;
use super::pickle::{self, Fault, MAX_PICKLE, PickleError, PickleLocation};
use super::problem::{BoundedErrors, StructureError};
use super::reader::FormatReader;
use error::TorchRemark;
use std::io;

/// The extensions of PyTorch files and of pickles. Other programs use them as well.
const EXTENSIONS: &[&str] = &["pt", "pth", "bin", "ckpt", "pkl", "pickle"];

/// The smallest size of a pickle in bytes whose arrays count as weights. The state of a random number generator is
/// smaller.
const MIN_ARRAYS: u64 = 64 << 10;

/// Whether a file has an extension of PyTorch files or pickles.
pub(crate) fn is_torch_name(path: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, extension)| EXTENSIONS.contains(&extension))
}

/// Whether these are the first bytes of a stream from before PyTorch 1.6.
pub(crate) fn is_stream(start: &[u8]) -> bool {
    legacy::magic_len(start).is_some()
}

pub(crate) use legacy::is_tar;

/// The PyTorch formats, and pickles.
pub(crate) struct Torch;

impl FormatReader for Torch {
    fn format(&self) -> Format {
        Format::Torch
    }

    fn name(&self) -> &'static str {
        "torch"
    }

    fn display_name(&self) -> &'static str {
        "PyTorch"
    }

    fn classes(&self) -> &'static [ContentClass] {
        use ContentClass::{Pickle, TorchStream, TorchTar, TorchZip};
        &[TorchZip, TorchStream, TorchTar, Pickle]
    }

    fn extensions(&self) -> &'static [&'static str] {
        &[]
    }

    fn shared_extensions(&self) -> &'static [&'static str] {
        EXTENSIONS
    }

    fn read(&self, path: &str, class: ContentClass, opened: &OpenedFile) -> io::Result<ParsedFile> {
        match class {
            ContentClass::TorchStream => legacy::parse(path, opened),
            ContentClass::TorchTar => legacy::parse_tar(path, opened),
            ContentClass::Pickle => parse_plain_pickle(path, opened),
            // If it is not an archive, the errors of the archive reader say so.
            _ => archive::parse(path, opened),
        }
    }

    fn reads_from_start(&self, _: ContentClass) -> bool {
        false
    }

    fn executes_metadata(&self) -> bool {
        true
    }
}

/// The content class and the role of a file of `bytes` bytes without tensors: a pickle of plain data or objects. If
/// it has NumPy arrays and is not small, these are weights that are not read.
fn weightless(has_arrays: bool, bytes: u64) -> Option<(ContentClass, FileRole)> {
    let role = match has_arrays && bytes >= MIN_ARRAYS {
        true => FileRole::Weights,
        false => FileRole::Companion,
    };
    Some((ContentClass::Pickle, role))
}

/// Examines the imports and calls of a pickle that is not a tensor file.
fn parse_plain_pickle(path: &str, opened: &OpenedFile) -> io::Result<ParsedFile> {
    let mut errors = BoundedErrors::default();
    let bytes = opened.identity.bytes;
    let start = file::read_at(&opened.file, 0, bytes.min(MAX_PICKLE) as usize)?;
    let unpickled =
        pickle::read_only(&start, PickleLocation { member: "", start: Some(0) }, &mut errors);
    if bytes > MAX_PICKLE && unpickled.value.is_some() {
        let fault = Fault::TooLarge { what: format!("{MAX_PICKLE} bytes") };
        errors.push(PickleError { member: String::new(), fault, range: None });
    }
    Ok(ParsedFile {
        readable: unpickled.value.is_some(),
        weightless: weightless(unpickled.makes_arrays(), bytes),
        problems: errors.problems(path),
        remarks: vec![TorchRemark::PlainPickle.to_problem(path)],
        ..ParsedFile::default()
    })
}
