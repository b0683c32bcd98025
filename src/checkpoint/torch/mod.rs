//! Files of PyTorch: what `torch.save` writes, and plain pickles beside them.
//!
//! The object that was saved is read by a machine that executes nothing ([`super::pickle`]); its tensors
//! are places in storages, which lie in the file as they are.

mod archive;
mod error;
mod legacy;
mod tensors;
mod views;

use super::contents::Contents;
use super::file::{self, Opened};
use super::pickle::{self, Fault, MAX_PICKLE, PickleError, Place};
use super::problem::{Gathered, Named};
use super::zip;
use error::TorchRemark;
use std::io;

/// Bytes that tell what a file is.
const START: u64 = 512;

/// Whether a file of tensors may have this name.
pub(crate) fn may_be_named(path: &str) -> bool {
    let ending = path.rsplit_once('.').map(|(_, ending)| ending);
    matches!(ending, Some("pt" | "pth" | "bin" | "ckpt" | "pkl" | "pickle"))
}

/// What a file begins like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Archive,
    Stream,
    Tar,
    Pickle,
}

/// Whether the bytes of a file are those of a file of PyTorch, or of a pickle.
pub(crate) fn is_plausible(opened: &Opened) -> io::Result<bool> {
    Ok(match kind(opened)? {
        // Many other files are zip archives, too.
        Some(Kind::Archive) => zip::may_hold(opened, archive::is_pickle)?,
        kind => kind.is_some(),
    })
}

fn kind(opened: &Opened) -> io::Result<Option<Kind>> {
    let bytes = opened.identity.bytes;
    let start = file::read_at(&opened.file, 0, bytes.min(START) as usize)?;
    Ok(if zip::starts(&start) || zip::ends(opened)? {
        Some(Kind::Archive)
    } else if start.starts_with(legacy::MAGIC) {
        Some(Kind::Stream)
    } else if legacy::is_tar(&start) {
        Some(Kind::Tar)
    } else if is_pickle(&start, opened)? {
        Some(Kind::Pickle)
    } else {
        None
    })
}

/// Whether a file is a pickle: from protocol 2 on they begin so; older ones are known by being one, or by
/// asking for a name.
fn is_pickle(start: &[u8], opened: &Opened) -> io::Result<bool> {
    if let [0x80, 2..=5, next, ..] = start {
        return Ok(pickle::is_operation(*next));
    }
    /// Enough to meet a name, or all of a small pickle.
    const LOOKED_AT: u64 = 1 << 20;
    let Some(first) = start.first() else { return Ok(false) };
    if !b"(]})cNISVFLKJMXUTGPi".contains(first) {
        return Ok(false);
    }
    let bytes = file::read_at(&opened.file, 0, opened.identity.bytes.min(LOOKED_AT) as usize)?;
    let found = pickle::unpickle(&bytes);
    let asks = |(fault, _): &(Fault, _)| match fault {
        // A line of text that begins with the code of a name has another line behind it.
        Fault::Global { module, name } => {
            let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.');
            [module, name].into_iter().all(|n| !n.is_empty() && n.chars().all(is_word))
        }
        _ => false,
    };
    let whole = found.value.is_some() && found.end as u64 == opened.identity.bytes;
    Ok(whole || found.faults.iter().any(asks))
}

/// Reads and checks an opened file.
pub(crate) fn contents(path: &str, opened: &Opened) -> io::Result<Contents> {
    match kind(opened)? {
        Some(Kind::Stream) => legacy::contents(path, opened),
        Some(Kind::Tar) => legacy::tar_contents(path, opened),
        Some(Kind::Pickle) => plain(path, opened),
        // The errors of the archive tell what is wrong.
        Some(Kind::Archive) | None => archive::contents(path, opened),
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
        problems: errors.problems(path),
        remarks: vec![TorchRemark::PlainPickle.problem(path)],
        ..Contents::default()
    })
}
