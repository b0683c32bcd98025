//! Files of PyTorch: what `torch.save` writes, and plain pickles beside them.
//!
//! The object that was saved is read by a machine that executes nothing ([`super::pickle`]); its tensors
//! are places in storages, which lie in the file as they are.

mod archive;
mod error;
mod legacy;
mod tensors;
mod views;

use super::class::{ContentClass, Format, Role};
use super::contents::Contents;
use super::file::{self, Opened};
use super::pickle::{self, Fault, MAX_PICKLE, PickleError, Place};
use super::problem::{Gathered, Named};
use super::reader::FormatReader;
use error::TorchRemark;
use std::io;

/// Endings of files of PyTorch, and of pickles. Other programs use them, too.
const ENDINGS: &[&str] = &["pt", "pth", "bin", "ckpt", "pkl", "pickle"];

/// From this length on arrays in a pickle are taken for weights: the state of a generator of random numbers is
/// shorter.
const MIN_ARRAYS: u64 = 64 << 10;

/// Whether the name of a file promises one of PyTorch, or a pickle.
pub(crate) fn is_promised(path: &str) -> bool {
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

    fn words(&self) -> &'static str {
        "PyTorch"
    }

    fn classes(&self) -> &'static [ContentClass] {
        use ContentClass::{Pickle, TorchStream, TorchTar, TorchZip};
        &[TorchZip, TorchStream, TorchTar, Pickle]
    }

    fn endings(&self) -> &'static [&'static str] {
        &[]
    }

    fn shared_endings(&self) -> &'static [&'static str] {
        ENDINGS
    }

    fn read(&self, path: &str, class: ContentClass, opened: &Opened) -> io::Result<Contents> {
        match class {
            ContentClass::TorchStream => legacy::contents(path, opened),
            ContentClass::TorchTar => legacy::tar_contents(path, opened),
            ContentClass::Pickle => plain(path, opened),
            // The errors of the archive tell what is wrong.
            _ => archive::contents(path, opened),
        }
    }

    fn is_from_front(&self, _: ContentClass) -> bool {
        false
    }

    fn is_obeyed(&self) -> bool {
        true
    }
}

/// What a file of this length is in which nothing could be a tensor: a pickle of plain data or of objects. With
/// `arrays` of NumPy in it, and more than the state of a generator takes, it has weights that are not read.
fn weightless(arrays: bool, bytes: u64) -> Option<(ContentClass, Role)> {
    let role = match arrays && bytes >= MIN_ARRAYS {
        true => Role::Weights,
        false => Role::Companion,
    };
    Some((ContentClass::Pickle, role))
}

/// A pickle that is no file of tensors: examined for what it asks for.
fn plain(path: &str, opened: &Opened) -> io::Result<Contents> {
    let mut errors = Gathered::default();
    let bytes = opened.identity.bytes;
    let start = file::read_at(&opened.file, 0, bytes.min(MAX_PICKLE) as usize)?;
    let found = pickle::read_only(&start, Place { member: "", start: Some(0) }, &mut errors);
    if bytes > MAX_PICKLE && found.value.is_some() {
        let fault = Fault::TooLarge { what: format!("{MAX_PICKLE} bytes") };
        errors.push(PickleError { member: String::new(), fault, range: None });
    }
    Ok(Contents {
        readable: found.value.is_some(),
        weightless: weightless(found.makes_arrays(), bytes),
        problems: errors.problems(path),
        remarks: vec![TorchRemark::PlainPickle.problem(path)],
        ..Contents::default()
    })
}
