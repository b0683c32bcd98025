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
