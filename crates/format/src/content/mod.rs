//! What every file of a model is, by its bytes: its class, and what part that class plays.
//!
//! Endings are other people's promises. A file is what its bytes say, whatever it is called, and what
//! nothing here knows is *not understood*: counted, listed, and for a policy to judge.
//!
//! `table` is the one list of magic numbers; what needs more than fixed bytes has a file of its own. Of most
//! files nothing but the first and the last 4 KiB is read.

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
    /// Whether it depends on the reader what is loaded from the file. Programs may carry an archive: one that
    /// unpacks itself, or runs with the weights that it brings along. Where something that nobody loads stands
    /// before an archive, its reader says so.
    pub fn is_ambiguous(self) -> bool {
        let Some(also) = self.also else { return false };
        if also == ContentClass::Pickle {
            return true;
        }
        let both = self.class.is_loadable() && also.is_loadable();
        both || self.class.role() != FileRole::Executable && self.class.format().is_none()
    }
}

/// What a file is. `path` is only asked where bytes alone do not tell: see [`magic_numbers::TABLE`] and
/// [`protobuf`].
pub(crate) fn classify(path: &str, opened: &OpenedFile) -> io::Result<FileContent> {
    if opened.identity.bytes == 0 {
        return Ok(FileContent::new(ContentClass::Empty));
    }
    let look = FileProbe::new(path, opened)?;
    let starts = zip::is_archive_start(&look.head)
        .then(|| archive::classify_tail(&look, true))
        .transpose()?;
    let (first, closing) = match starts.flatten() {
        Some(class) => (class, Some(class)),
        None => {
            let first = classify_head(&look)?;
            // Whoever loads it may look for the end of an archive first, and passes over a comment behind it.
            let plain =
                matches!(first, ContentClass::Text | ContentClass::Json | ContentClass::Html);
            let commented = !plain || error::is_weights_name(path);
            let closing = match archive::classify_tail(&look, commented)? {
                Some(_) if first == ContentClass::Tar && archive::ends_in_member(&look)? => None,
                closing => closing,
            };
            (first, closing)
        }
    };
    let mut content = FileContent::new(first);
    let also = match closing {
        Some(class) if class != first => Some(class),
        _ => others(&look, first)?,
    };
    let Some(also) = also else { return Ok(content) };
    use ContentClass::{Unknown, Zeros};
    let from_front = |format: Format| format.reader().reads_from_start(first);
    content = match first {
        // Something stands before it.
        Unknown | Zeros => FileContent::new(also),
        // Readers of these take nothing else, and see nothing of what is behind.
        _ if first.format().is_some_and(from_front) => FileContent { also: Some(also), ..content },
        _ if first.role() == FileRole::Executable && also.format().is_none() => {
            FileContent { also: Some(also), ..content }
        }
        // Readers that look for the end of an archive first are common.
        _ if closing == Some(also) => FileContent { also: Some(first), ..FileContent::new(also) },
        _ => FileContent { also: Some(also), ..content },
    };
    Ok(content)
}

/// What a file begins as.
fn classify_head(look: &FileProbe<'_>) -> io::Result<ContentClass> {
    if binary::is_safetensors(look)? {
        return Ok(ContentClass::Safetensors);
    }
    let known = match magic_numbers::classify(look) {
        None => binary::classify(look)?.or_else(|| archive::classify_head(&look.head)),
        known => known,
    };
    if let Some(class) = known {
        return Ok(class);
    }
    if torch::is_stream(&look.head) {
        return Ok(ContentClass::TorchStream);
    }
    if is_pickle(look)? {
        return Ok(ContentClass::Pickle);
    }
    if let Some(class) = text::classify(look).or_else(|| protobuf::classify(look)) {
        return Ok(class);
    }
    /// Farther in, a file of HDF5 has no more than this before it.
    const FARTHEST: u64 = 1 << 20;
    Ok(if binary::is_late_hdf5(look, FARTHEST)? {
        ContentClass::Hdf5
    } else if binary::is_zeros(look)? {
        ContentClass::Zeros
    } else {
        ContentClass::Unknown
    })
}

/// What else a file is, whatever it begins as.
fn others(look: &FileProbe<'_>, first: ContentClass) -> io::Result<Option<ContentClass>> {
    use ContentClass::{Hdf5, Pickle, Tar, TorchStream, TorchTar};
    let tar = archive::classify_head(&look.head).filter(|_| !matches!(first, Tar | TorchTar));
    if tar.is_some() {
        return Ok(tar);
    }
    let loadable = first.is_loadable();
    if loadable && first != Hdf5 && binary::is_late_hdf5(look, probe::HEAD as u64)? {
        return Ok(Some(Hdf5));
    }
    // The magic numbers of a few kinds are operations, behind which others can stand.
    let pickle = !matches!(first, Pickle | TorchStream | TorchTar) && is_pickle(look)?;
    Ok(pickle.then_some(Pickle))
}

fn is_pickle(look: &FileProbe<'_>) -> io::Result<bool> {
    let promised = matches!(look.extension().as_str(), "pkl" | "pickle");
    pickle::is_pickle(&look.head, look.bytes, promised, &mut |at, length| look.read_at(at, length))
}

/// Whether a file of this machine holds weights that are no mere array, by its bytes or those of what is in it,
/// or is loaded as if it did. One that cannot be opened does not.
pub fn holds_weights(place: &Path) -> bool {
    use ContentClass::{Compressed, Pickle, Tar, Zip};
    let path = place.to_string_lossy();
    let Ok(opened) = file::open(&Location::Path(place.to_owned())) else { return false };
    let Ok(found) = classify(&path, &opened) else { return false };
    match found.class {
        class if class.format().is_some_and(Format::holds_arrays) => false,
        Pickle => true,
        // What is unpacked is not looked at here: there may be very many of these.
        Zip => zip::list(&opened).is_ok_and(|names| {
            names.unwrap_or_default().iter().any(|name| error::is_weights_name(name))
        }),
        Compressed => path.rsplit_once('.').is_some_and(|(front, _)| error::is_weights_name(front)),
        Tar => examine(&path, &opened).is_ok_and(|it| it.content.role == FileRole::Weights),
        _ => found.role == FileRole::Weights,
    }
}

/// What bytes are that a file of this name holds.
#[doc(hidden)]
pub fn classify_bytes(path: &str, bytes: &[u8]) -> FileContent {
    // Memory is always there to be read.
    classify(path, &file_slice::memory(bytes.to_vec())).unwrap_or_default()
}

/// What pickles ask for that are in a file of this name and these bytes: the rules of their problems.
#[doc(hidden)]
pub fn examine_bytes(path: &str, bytes: &[u8]) -> (FileContent, Vec<super::Problem>) {
    let found = examine(path, &file_slice::memory(bytes.to_vec())).unwrap_or_default();
    (found.content, found.problems)
}

#[cfg(test)]
mod tests;
