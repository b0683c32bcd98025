//! The table of container formats. To add a format, add a folder with a [`FormatReader`], a row in [`READERS`], and
//! a variant of [`Format`] at the same position.
//!
//! A reader defines:
//!
//! - the name of the format in reports and seals, and its common name;
//! - by its position, which formats it is preferred to if a directory has the same tensors in several formats;
//! - the content classes that it reads ([`super::content`] recognises them, and also formats without a reader);
//! - the file extensions of the format, and those that its loaders share with other programs;
//! - how a file is parsed: its tensors, its problems, and the architecture in its metadata
//!   ([`ParsedFile::architecture`]), by which tensor names are translated;
//! - whether loaders see an archive at the end of a file, whether an unknown zip archive may be one of its files,
//!   whether its files are plain arrays, and whether loaders execute bytes outside the tensors;
//! - whether the metadata of a file say that it is one part of a model;
//! - where long texts such as chat templates are in the metadata.
//!
//! No other code depends on the format of a file, except to judge it: marks are only embedded in safetensors.

use super::class::{ContentClass, Format};
use super::file::OpenedFile;
use super::gguf::Gguf;
use super::model_file::ModelFile;
use super::numpy::Numpy;
use super::parsed_file::ParsedFile;
use super::reader::{FormatReader, ReadMetadataTexts};
use super::safetensors::Safetensors;
use super::shard_name::ShardName;
use super::torch::Torch;
use std::io;

/// The readers in the order of [`Format`].
static READERS: [&dyn FormatReader; 4] = [&Safetensors, &Gguf, &Torch, &Numpy];

impl Format {
    /// The reader of the format.
    pub(super) fn reader(self) -> &'static dyn FormatReader {
        READERS[self as usize]
    }

    /// The name of the format in reports and seals.
    pub fn name(self) -> &'static str {
        self.reader().name()
    }

    /// Returns the format with this name in reports and seals.
    pub fn from_name(name: &str) -> Option<Format> {
        READERS.iter().find(|reader| reader.name() == name).map(|reader| reader.format())
    }

    /// The format that a file should have by its extension, even if its bytes are damaged. Extensions that other
    /// programs also use give `None`.
    pub fn from_path(path: &str) -> Option<Format> {
        let (_, extension) = path.rsplit_once('.')?;
        Format::from_extension(extension)
    }

    /// The format that an extension, without the dot, belongs to.
    pub fn from_extension(extension: &str) -> Option<Format> {
        let has_extension = |reader: &&&dyn FormatReader| reader.extensions().contains(&extension);
        READERS.iter().find(has_extension).map(|reader| reader.format())
    }

    /// Whether loaders of the format look for files with such a name.
    pub(crate) fn accepts_name(self, path: &str) -> bool {
        let Some((_, extension)) = path.rsplit_once('.') else { return false };
        let reader = self.reader();
        reader.extensions().contains(&extension) || reader.shared_extensions().contains(&extension)
    }

    /// Whether files of the format hold plain arrays, which may be data as well as weights.
    pub fn holds_arrays(self) -> bool {
        self.reader().holds_arrays()
    }

    /// Whether loaders execute the bytes outside the tensors: a pickle is a program, and the header of a NumPy
    /// array is a Python expression.
    pub fn executes_metadata(self) -> bool {
        self.reader().executes_metadata()
    }

    /// The function that reads the long texts in the metadata, or `None` if the format has none.
    pub fn metadata_texts(self) -> Option<ReadMetadataTexts> {
        self.reader().metadata_texts()
    }
}

impl ContentClass {
    /// The container format that reads files of this class, or `None` if their tensors are not read.
    pub fn format(self) -> Option<Format> {
        let reads = |reader: &&&dyn FormatReader| reader.classes().contains(&self);
        READERS.iter().find(reads).map(|reader| reader.format())
    }
}

/// Parses a file of a given content class. `path` is its name in problems.
pub(crate) fn read(
    format: Format,
    class: ContentClass,
    path: &str,
    opened: &OpenedFile,
) -> io::Result<ParsedFile> {
    format.reader().read(path, class, opened)
}

/// The common names of the formats: `a, b or c`.
pub(super) fn supported_formats() -> String {
    let names: Vec<&str> = READERS.iter().map(|reader| reader.display_name()).collect();
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// Parses the path of a part of a model, for formats whose parts are opened together.
pub(super) fn part_name(path: &str) -> Option<ShardName<'_>> {
    let mut splits = READERS.iter().filter_map(|reader| reader.split_format());
    ShardName::parse(path).filter(|name| splits.any(|split| split.is_part(name)))
}

/// Checks the split models among these files and adds problems to the files concerned.
pub(super) fn check_parts(files: &[ModelFile], parsed_files: &mut [Option<ParsedFile>]) {
    for split in READERS.iter().filter_map(|reader| reader.split_format()) {
        split.check(files, parsed_files);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_format_has_its_row() {
        for (at, reader) in READERS.iter().enumerate() {
            let format = reader.format();
            assert_eq!(format as usize, at, "{}", reader.name());
            assert_eq!(Format::from_name(format.name()), Some(format));
            assert!(reader.classes().iter().all(|class| class.format() == Some(format)));
            assert!(
                reader.extensions().iter().all(|it| Format::from_extension(it) == Some(format))
            );
        }
        let names: BTreeSet<&str> = READERS.iter().map(|reader| reader.name()).collect();
        assert_eq!(names.len(), READERS.len());
        assert_eq!(supported_formats(), "safetensors, GGUF, PyTorch or NumPy");
        assert_eq!(Format::from_path("a.b/model"), None);
        assert!(Format::Torch.accepts_name("x.ckpt") && Format::from_path("x.ckpt").is_none());
    }

    #[test]
    fn names_of_parts() {
        let name = |path| part_name(path).map(|name| (name.stem, name.number, name.count));
        assert_eq!(name("a/m-Q4_0-00002-of-00003.gguf"), Some(("a/m-Q4_0", 2, 3)));
        assert_eq!(name("-00001-of-00001.gguf"), Some(("", 1, 1)));
        for path in [
            "m.gguf",
            "m-00004-of-00003.gguf",
            "m-00000-of-00003.gguf",
            "m-1-of-3.gguf",
            "m-+0001-of-00003.gguf",
            "m-00001-of-00003.safetensors",
            "m-00001-of-00003.GGUF",
            "00001-of-00003.gguf",
        ] {
            assert_eq!(name(path), None, "{path}");
        }
    }
}
