//! Files of PyTorch: what `torch.save` writes, and plain pickles beside them.
//!
//! The object that was saved is read by a machine that executes nothing ([`super::pickle`]); its tensors
//! are places in storages, which lie in the file as they are.

mod archive;
mod error;
mod legacy;
mod tensors;
mod views;

use super::ContentClass;
use super::contents::Contents;
use super::file::{self, Opened};
use super::pickle::{self, Fault, MAX_PICKLE, PickleError, Place};
use super::problem::{Gathered, Named};
use error::TorchRemark;
use std::io;

/// Whether the name of a file promises one of PyTorch, or a pickle.
pub(crate) fn is_promised(path: &str) -> bool {
    let ending = path.rsplit_once('.').map(|(_, ending)| ending);
    matches!(ending, Some("pt" | "pth" | "bin" | "ckpt" | "pkl" | "pickle"))
}

/// Whether these are the first bytes of the stream that PyTorch wrote before 1.6.
pub(crate) fn is_stream(start: &[u8]) -> bool {
    legacy::magic_len(start).is_some()
}

pub(crate) use legacy::is_tar;

/// Reads and checks an opened file of that class.
pub(crate) fn contents(path: &str, class: ContentClass, opened: &Opened) -> io::Result<Contents> {
    match class {
        ContentClass::TorchStream => legacy::contents(path, opened),
        ContentClass::TorchTar => legacy::tar_contents(path, opened),
        ContentClass::Pickle => plain(path, opened),
        // The errors of the archive tell what is wrong.
        _ => archive::contents(path, opened),
    }
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
        weightless: true,
        arrays: found.makes_arrays(),
        problems: errors.problems(path),
        remarks: vec![TorchRemark::PlainPickle.problem(path)],
        ..Contents::default()
    })
}
