//! TODO

use super::contents::Contents;
use super::file::Opened;
use std::io;

pub(crate) fn is_plausible(_: &Opened) -> io::Result<bool> {
    Ok(false)
}

pub(crate) fn contents(_: &str, _: &Opened) -> io::Result<Contents> {
    Ok(Contents::default())
}

/// Whether a file of tensors may have this name.
pub(crate) fn may_be_named(path: &str) -> bool {
    let ending = path.rsplit_once('.').map(|(_, ending)| ending);
    matches!(ending, Some("pt" | "pth" | "bin" | "ckpt" | "pkl" | "pickle"))
}
