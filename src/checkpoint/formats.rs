//! The container formats: how a file is known to be of one, and who reads it.

use super::contents::Contents;
use super::file::{self, Opened};
use super::{Location, gguf, numpy, safetensors, torch};
use std::io;
use std::path::Path;

/// Container format of a file of tensors. In order of preference: where a directory holds the same
/// tensors in several formats, loaders take the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// Safetensors.
    Safetensors,
    /// GGUF, of llama.cpp and its relatives.
    Gguf,
    /// The zip archive that `torch.save` writes, or an older form of it.
    Torch,
    /// NumPy's `.npy`, or `.npz`: a zip archive of them.
    Numpy,
}

impl Format {
    /// Its name in reports and seals.
    pub fn name(self) -> &'static str {
        match self {
            Self::Safetensors => "safetensors",
            Self::Gguf => "gguf",
            Self::Torch => "torch",
            Self::Numpy => "numpy",
        }
    }

    /// What the name of a file says it is. Of the endings that other programs use, too, the first
    /// bytes decide: see [`detect`].
    fn of_name(path: &str) -> Option<Format> {
        let (_, ending) = path.rsplit_once('.')?;
        match ending {
            "safetensors" => Some(Format::Safetensors),
            "gguf" => Some(Format::Gguf),
            "npy" | "npz" => Some(Format::Numpy),
            _ => None,
        }
    }
}

/// The format of a file in a directory; `None`: it holds no tensors.
pub(crate) fn detect(path: &str, opened: &Opened) -> io::Result<Option<Format>> {
    match Format::of_name(path) {
        Some(format) => Ok(Some(format)),
        None if torch::may_be_named(path) && torch::is_plausible(opened)? => {
            Ok(Some(Format::Torch))
        }
        None => Ok(None),
    }
}

/// The format of a file that was named by itself, whatever its name.
pub(crate) fn detect_any(path: &str, opened: &Opened) -> io::Result<Option<Format>> {
    if let Some(format) = detect(path, opened)? {
        return Ok(Some(format));
    }
    Ok(if gguf::is_plausible(opened)? {
        Some(Format::Gguf)
    } else if numpy::is_plausible(opened)? {
        Some(Format::Numpy)
    } else if torch::is_plausible(opened)? {
        Some(Format::Torch)
    } else if safetensors::is_plausible(opened)? {
        Some(Format::Safetensors)
    } else {
        None
    })
}

/// Whether a file of this machine begins as nothing but weights do. One that cannot be opened does not.
pub(crate) fn begins_like_weights(place: &Path) -> bool {
    file::open(&Location::Path(place.to_owned())).is_ok_and(|opened| {
        gguf::is_plausible(&opened).unwrap_or(false)
            || safetensors::is_plausible(&opened).unwrap_or(false)
    })
}

/// Reads the layout of a file. `path` is what problems call it.
pub(crate) fn read(format: Format, path: &str, opened: &Opened) -> io::Result<Contents> {
    match format {
        Format::Safetensors => safetensors::contents(path, opened),
        Format::Gguf => gguf::contents(path, opened),
        Format::Torch => torch::contents(path, opened),
        Format::Numpy => numpy::contents(path, opened),
    }
}
