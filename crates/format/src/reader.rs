//! The interface of the container formats. Each format has its own folder with one [`FormatReader`]; the table of
//! readers is in [`super::formats`].

use super::class::{ContentClass, Format};
use super::file::OpenedFile;
use super::model_file::ModelFile;
use super::parsed_file::{MetadataText, ParsedFile};
use super::shard_name::ShardName;
use std::io;

/// Reads one container format.
pub(crate) trait FormatReader: Sync {
    /// The format.
    fn format(&self) -> Format;

    /// The name of the format in reports, seals and policies.
    fn name(&self) -> &'static str;

    /// The common name of the format.
    fn display_name(&self) -> &'static str;

    /// The content classes of its files.
    fn classes(&self) -> &'static [ContentClass];

    /// The extensions of the format. A file with such a name must have this format.
    fn extensions(&self) -> &'static [&'static str];

    /// The extensions that loaders accept as well, but that other programs also use.
    fn shared_extensions(&self) -> &'static [&'static str] {
        &[]
    }

    /// Parses and checks the layout of a file of this content class. `path` is its name in problems.
    fn read(&self, path: &str, class: ContentClass, opened: &OpenedFile) -> io::Result<ParsedFile>;

    /// Whether loaders of this content class read from the first byte on, so that they never see a zip archive at
    /// the end of the file.
    fn reads_from_start(&self, class: ContentClass) -> bool;

    /// Whether any zip archive with an extension of the format counts as one of its files.
    fn accepts_any_zip(&self) -> bool {
        false
    }

    /// Whether files of the format hold plain arrays, which may be data as well as weights.
    fn holds_arrays(&self) -> bool {
        false
    }

    /// Whether loaders execute the bytes outside the tensors.
    fn executes_metadata(&self) -> bool;

    /// How the metadata of files say that they are parts of one model; `None` if only the names do, as for shards
    /// of any format.
    fn split_format(&self) -> Option<&'static dyn SplitFormat> {
        None
    }

    /// The function that reads long texts in the metadata, or `None` if the format has none.
    fn metadata_texts(&self) -> Option<ReadMetadataTexts> {
        None
    }
}

/// Reads the texts in the metadata of a file whose key the predicate accepts. Texts that are longer than the last
/// argument, in bytes, are returned without a value.
pub type ReadMetadataTexts =
    fn(&OpenedFile, &dyn Fn(&str) -> bool, u64) -> io::Result<Vec<MetadataText>>;

/// A format whose metadata say which part of a model a file is ([`ParsedFile::part`]). All parts are opened
/// together, whichever of them the user names.
pub(crate) trait SplitFormat: Sync {
    /// Whether a name is the name of a part.
    fn is_part(&self, name: &ShardName<'_>) -> bool;

    /// Checks the split models among the files and adds problems to the files concerned.
    fn check(&self, files: &[ModelFile], parsed_files: &mut [Option<ParsedFile>]);
}
