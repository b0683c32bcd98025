//! The container formats, and who reads each.

use super::contents::Contents;
use super::file::Opened;
use super::{ContentClass, gguf, numpy, safetensors, torch};
use std::io;

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

    /// What the name of a file promises: it is held to that where its bytes are damaged. Endings that other
    /// programs use, too, promise nothing.
    pub(crate) fn of_name(path: &str) -> Option<Format> {
        let (_, ending) = path.rsplit_once('.')?;
        match ending {
            "safetensors" => Some(Format::Safetensors),
            "gguf" => Some(Format::Gguf),
            "npy" | "npz" => Some(Format::Numpy),
            _ => None,
        }
    }
}

/// Reads the layout of a file of that class. `path` is what problems call it.
pub(crate) fn read(
    format: Format,
    class: ContentClass,
    path: &str,
    opened: &Opened,
) -> io::Result<Contents> {
    match format {
        Format::Safetensors => safetensors::contents(path, opened),
        Format::Gguf => gguf::contents(path, opened),
        Format::Torch => torch::contents(path, class, opened),
        Format::Numpy => numpy::contents(path, class, opened),
    }
}
