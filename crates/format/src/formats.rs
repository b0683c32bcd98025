//! The table of container formats. A new one is a folder with a [`FormatReader`], a row of [`READERS`], and a
//! variant of [`Format`] in the same place.
//!
//! A row says:
//!
//! - its name in reports and seals, and what people call it;
//! - by its place, which formats it is preferred to where a directory has the same tensors in several;
//! - the classes of content that it reads: what tells a file by its bytes stands in [`super::content`], which
//!   knows of formats that nobody reads, too;
//! - the endings of names that promise it, and those that its loaders share with other programs;
//! - how a file is read: its tensors, what is wrong with it, and what its metadata say of the model
//!   ([`ParsedFile::architecture`]), which names of tensors are translated by;
//! - whether readers see an archive behind it, whether an unknown zip archive may be one of its files, whether
//!   its files are mere arrays, and whether the bytes outside its tensors are obeyed;
//! - whether files say by their metadata that they are parts of one model;
//! - where texts such as chat templates lie in its metadata.
//!
//! Nothing else asks which format a file has, but to judge: marks are embedded in safetensors alone.

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

/// In the order of [`Format`].
static READERS: [&dyn FormatReader; 4] = [&Safetensors, &Gguf, &Torch, &Numpy];

impl Format {
    /// Who reads it.
    pub(super) fn reader(self) -> &'static dyn FormatReader {
        READERS[self as usize]
    }

    /// Its name in reports and seals.
    pub fn name(self) -> &'static str {
        self.reader().name()
    }

    /// The one of this name in reports and seals.
    pub fn from_name(name: &str) -> Option<Format> {
        READERS.iter().find(|reader| reader.name() == name).map(|reader| reader.format())
    }

    /// What the name of a file promises: it is held to that where its bytes are damaged. Endings that other
    /// programs use, too, promise nothing.
    pub fn from_path(path: &str) -> Option<Format> {
        let (_, ending) = path.rsplit_once('.')?;
        Format::from_extension(ending)
    }

    /// What an ending, without the dot, promises.
    pub fn from_extension(ending: &str) -> Option<Format> {
        let promised = |reader: &&&dyn FormatReader| reader.extensions().contains(&ending);
        READERS.iter().find(promised).map(|reader| reader.format())
    }

    /// Whether its loaders go by a name such as this one.
    pub(crate) fn accepts_name(self, path: &str) -> bool {
        let Some((_, ending)) = path.rsplit_once('.') else { return false };
        let reader = self.reader();
        reader.extensions().contains(&ending) || reader.shared_extensions().contains(&ending)
    }

    /// Whether its files are arrays, which may be data as well as weights.
    pub fn holds_arrays(self) -> bool {
        self.reader().holds_arrays()
    }

    /// Whether the bytes outside the tensors of its files are more than a list of them: a pickle is a program,
    /// and the header of an array a text of Python.
    pub fn executes_metadata(self) -> bool {
        self.reader().executes_metadata()
    }

    /// What gives the long texts in the metadata of its files; `None`: there are none.
    pub fn metadata_texts(self) -> Option<ReadMetadataTexts> {
        self.reader().metadata_texts()
    }
}

impl ContentClass {
    /// The container format that tensors of this class are read by; `None`: they are not read.
    pub fn format(self) -> Option<Format> {
        let reads = |reader: &&&dyn FormatReader| reader.classes().contains(&self);
        READERS.iter().find(reads).map(|reader| reader.format())
    }
}

/// Reads the layout of a file of that class. `path` is what problems call it.
pub(crate) fn read(
    format: Format,
    class: ContentClass,
    path: &str,
    opened: &OpenedFile,
) -> io::Result<ParsedFile> {
    format.reader().read(path, class, opened)
}

/// What people call them: `a, b or c`.
pub(super) fn supported_formats() -> String {
    let words: Vec<&str> = READERS.iter().map(|reader| reader.display_name()).collect();
    match words.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// What the path of a part of a model says, of a format whose parts are opened together.
pub(super) fn part_name(path: &str) -> Option<ShardName<'_>> {
    let mut parts = READERS.iter().filter_map(|reader| reader.split_format());
    ShardName::parse(path).filter(|name| parts.any(|parts| parts.is_part(name)))
}

/// Checks all models in parts among these files, and notes what is wrong with the files concerned.
pub(super) fn check_parts(files: &[ModelFile], contents: &mut [Option<ParsedFile>]) {
    for parts in READERS.iter().filter_map(|reader| reader.split_format()) {
        parts.check(files, contents);
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
