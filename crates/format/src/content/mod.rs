//! Classifies every file of a model by its bytes.
//!
//! File names are not trusted: the bytes decide the content class, whatever the file is called. A file of an unknown
//! class is *not understood*: it is counted and listed, and a policy can judge it.
//!
//! `magic_numbers` is the table of magic numbers; formats that need more than fixed bytes have their own files. Of
//! most files only the first and the last 4 KiB are read.

mod archive;
mod binary;
mod described_paths;
mod error;
mod file_slice;
mod magic_numbers;
mod nested;
mod probe;
mod protobuf;
mod report;
mod text;

pub use super::class::{ContentClass, FileContent, FileRole};
pub(crate) use report::{
    ContentExamination, ContentReport, UnsupportedSingleFile, examine, read_listed,
};

use super::class::Format;
use super::file::{self, OpenedFile};
use super::location::Location;
use super::{pickle, torch, zip};
use probe::FileProbe;
use std::io;
use std::path::Path;

impl FileContent {
    /// Whether it depends on the reader what is loaded from the file. Programs may contain an archive, for example if
    /// they unpack themselves or run with embedded weights. If bytes that no loader reads come before an archive,
    /// the archive reader reports them.
    pub fn is_ambiguous(self) -> bool {
        let Some(also) = self.also else { return false };
        if also == ContentClass::Pickle {
            return true;
        }
        let both = self.class.is_loadable() && also.is_loadable();
        both || self.class.role() != FileRole::Executable && self.class.format().is_none()
    }
}

/// Classifies a file. `path` is only used if the bytes alone are not enough: see [`magic_numbers::TABLE`] and
/// [`protobuf`].
pub(crate) fn classify(path: &str, opened: &OpenedFile) -> io::Result<FileContent> {
    if opened.identity.bytes == 0 {
        return Ok(FileContent::new(ContentClass::Empty));
    }
    let probe = FileProbe::new(path, opened)?;
    let archive = zip::is_archive_start(&probe.head)
        .then(|| archive::classify_tail(&probe, true))
        .transpose()?;
    let (first, closing) = match archive.flatten() {
        Some(class) => (class, Some(class)),
        None => {
            let first = classify_head(&probe)?;
            // A loader may probe for the end of an archive first and skip a comment after it.
            let plain =
                matches!(first, ContentClass::Text | ContentClass::Json | ContentClass::Html);
            let commented = !plain || error::is_weights_name(path);
            let closing = match archive::classify_tail(&probe, commented)? {
                Some(_) if first == ContentClass::Tar && archive::ends_in_member(&probe)? => None,
                closing => closing,
            };
            (first, closing)
        }
    };
    let mut content = FileContent::new(first);
    let also = match closing {
        Some(class) if class != first => Some(class),
        _ => others(&probe, first)?,
    };
    let Some(also) = also else { return Ok(content) };
    use ContentClass::{Unknown, Zeros};
    let from_front = |format: Format| format.reader().reads_from_start(first);
    content = match first {
        // Other bytes come before the archive.
        Unknown | Zeros => FileContent::new(also),
        // Readers of these formats never see an archive at the end.
        _ if first.format().is_some_and(from_front) => FileContent { also: Some(also), ..content },
        _ if first.role() == FileRole::Executable && also.format().is_none() => {
            FileContent { also: Some(also), ..content }
        }
        // Many readers probe for the end of an archive first.
        _ if closing == Some(also) => FileContent { also: Some(first), ..FileContent::new(also) },
        _ => FileContent { also: Some(also), ..content },
    };
    Ok(content)
}

/// Classifies a file by its start.
fn classify_head(probe: &FileProbe<'_>) -> io::Result<ContentClass> {
    if binary::is_safetensors(probe)? {
        return Ok(ContentClass::Safetensors);
    }
    let known = match magic_numbers::classify(probe) {
        None => binary::classify(probe)?.or_else(|| archive::classify_head(&probe.head)),
        known => known,
    };
    if let Some(class) = known {
        return Ok(class);
    }
    if torch::is_stream(&probe.head) {
        return Ok(ContentClass::TorchStream);
    }
    if is_pickle(probe)? {
        return Ok(ContentClass::Pickle);
    }
    if let Some(class) = text::classify(probe).or_else(|| protobuf::classify(probe)) {
        return Ok(class);
    }
    /// The largest offset of an HDF5 file that begins after other bytes.
    const MAX_HDF5_OFFSET: u64 = 1 << 20;
    Ok(if binary::is_late_hdf5(probe, MAX_HDF5_OFFSET)? {
        ContentClass::Hdf5
    } else if binary::is_zeros(probe)? {
        ContentClass::Zeros
    } else {
        ContentClass::Unknown
    })
}

/// A second class of a file, in addition to the class of its start.
fn others(probe: &FileProbe<'_>, first: ContentClass) -> io::Result<Option<ContentClass>> {
    use ContentClass::{Hdf5, Pickle, Tar, TorchStream, TorchTar};
    let tar = archive::classify_head(&probe.head).filter(|_| !matches!(first, Tar | TorchTar));
    if tar.is_some() {
        return Ok(tar);
    }
    let loadable = first.is_loadable();
    if loadable && first != Hdf5 && binary::is_late_hdf5(probe, probe::HEAD as u64)? {
        return Ok(Some(Hdf5));
    }
    // Some magic numbers are valid pickle operations, so that a pickle can follow them.
    let pickle = !matches!(first, Pickle | TorchStream | TorchTar) && is_pickle(probe)?;
    Ok(pickle.then_some(Pickle))
}

fn is_pickle(probe: &FileProbe<'_>) -> io::Result<bool> {
    let promised = matches!(probe.extension().as_str(), "pkl" | "pickle");
    pickle::is_pickle(&probe.head, probe.bytes, promised, &mut |at, length| {
        probe.read_at(at, length)
    })
}

/// Whether a file on this machine holds weights other than plain arrays, or contains such a file, or is loaded as if
/// it did. A file that cannot be opened does not.
pub fn holds_weights(path: &Path) -> bool {
    use ContentClass::{Compressed, Pickle, Tar, Zip};
    let name = path.to_string_lossy();
    let Ok(opened) = file::open(&Location::Path(path.to_owned())) else { return false };
    let Ok(content) = classify(&name, &opened) else { return false };
    match content.class {
        class if class.format().is_some_and(Format::holds_arrays) => false,
        Pickle => true,
        // Archives are not unpacked here, because there may be very many of them.
        Zip => zip::list(&opened).is_ok_and(|names| {
            names.unwrap_or_default().iter().any(|name| error::is_weights_name(name))
        }),
        Compressed => name.rsplit_once('.').is_some_and(|(stem, _)| error::is_weights_name(stem)),
        Tar => examine(&name, &opened)
            .is_ok_and(|examination| examination.content.role == FileRole::Weights),
        _ => content.role == FileRole::Weights,
    }
}

/// Classifies bytes as the content of a file with this name.
#[doc(hidden)]
pub fn classify_bytes(path: &str, bytes: &[u8]) -> FileContent {
    // Reading from memory cannot fail.
    classify(path, &file_slice::memory(bytes.to_vec())).unwrap_or_default()
}

/// Classifies bytes as the content of a file with this name, and returns the problems of the pickles in it.
#[doc(hidden)]
pub fn examine_bytes(path: &str, bytes: &[u8]) -> (FileContent, Vec<super::Problem>) {
    let examination = examine(path, &file_slice::memory(bytes.to_vec())).unwrap_or_default();
    (examination.content, examination.problems)
}

#[cfg(test)]
mod tests;
