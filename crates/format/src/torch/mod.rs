//! Files of PyTorch: what `torch.save` writes, and plain pickles beside them.
//!
//! The object that was saved is read by a machine that executes nothing ([`super::pickle`]); its tensors
//! are places in storages, which lie in the file as they are.

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

/// Endings of files of PyTorch, and of pickles. Other programs use them, too.
const ENDINGS: &[&str] = &["pt", "pth", "bin", "ckpt", "pkl", "pickle"];

/// From this length on arrays in a pickle are taken for weights: the state of a generator of random numbers is
/// shorter.
const MIN_ARRAYS: u64 = 64 << 10;

/// Whether the name of a file promises one of PyTorch, or a pickle.
pub(crate) fn is_torch_name(path: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, ending)| ENDINGS.contains(&ending))
}

/// Whether these are the first bytes of the stream that PyTorch wrote before 1.6.
pub(crate) fn is_stream(start: &[u8]) -> bool {
    legacy::magic_len(start).is_some()
}

pub(crate) use legacy::is_tar;

/// Files of PyTorch, and pickles.
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
        ENDINGS
    }

    fn read(&self, path: &str, class: ContentClass, opened: &OpenedFile) -> io::Result<ParsedFile> {
        match class {
            ContentClass::TorchStream => legacy::contents(path, opened),
            ContentClass::TorchTar => legacy::tar_contents(path, opened),
            ContentClass::Pickle => plain(path, opened),
            // The errors of the archive tell what is wrong.
            _ => archive::contents(path, opened),
        }
    }

    fn reads_from_start(&self, _: ContentClass) -> bool {
        false
    }

    fn executes_metadata(&self) -> bool {
        true
    }
}

/// What a file of this length is in which nothing could be a tensor: a pickle of plain data or of objects. With
/// `arrays` of NumPy in it, and more than the state of a generator takes, it has weights that are not read.
fn weightless(arrays: bool, bytes: u64) -> Option<(ContentClass, FileRole)> {
    let role = match arrays && bytes >= MIN_ARRAYS {
        true => FileRole::Weights,
        false => FileRole::Companion,
    };
    Some((ContentClass::Pickle, role))
}

/// A pickle that is no file of tensors: examined for what it asks for.
fn plain(path: &str, opened: &OpenedFile) -> io::Result<ParsedFile> {
    let mut errors = BoundedErrors::default();
    let bytes = opened.identity.bytes;
    let start = file::read_at(&opened.file, 0, bytes.min(MAX_PICKLE) as usize)?;
    let found =
        pickle::read_only(&start, PickleLocation { member: "", start: Some(0) }, &mut errors);
    if bytes > MAX_PICKLE && found.value.is_some() {
        let fault = Fault::TooLarge { what: format!("{MAX_PICKLE} bytes") };
        errors.push(PickleError { member: String::new(), fault, range: None });
    }
    Ok(ParsedFile {
        readable: found.value.is_some(),
        weightless: weightless(found.makes_arrays(), bytes),
        problems: errors.problems(path),
        remarks: vec![TorchRemark::PlainPickle.to_problem(path)],
        ..ParsedFile::default()
    })
}
