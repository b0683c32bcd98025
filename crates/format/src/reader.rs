//! What there is to say of a container format. Each is in a folder of its own, with one [`FormatReader`]; the
//! table of them is [`super::formats`].

use super::class::{ContentClass, Format};
use super::file::OpenedFile;
use super::model_file::ModelFile;
use super::parsed_file::{MetadataText, ParsedFile};
use super::shard_name::ShardName;
use std::io;

/// A format that is read.
pub(crate) trait FormatReader: Sync {
    /// Which it is.
    fn format(&self) -> Format;

    /// Its name in reports, seals and policies.
    fn name(&self) -> &'static str;

    /// What people call it.
    fn display_name(&self) -> &'static str;

    /// What its files are by their bytes.
    fn classes(&self) -> &'static [ContentClass];

    /// Endings of names that promise it: a file is held to that where its bytes are damaged.
    fn extensions(&self) -> &'static [&'static str];

    /// Endings that its loaders go by, too, and that promise nothing: other programs use them.
    fn shared_extensions(&self) -> &'static [&'static str] {
        &[]
    }

    /// Reads and checks the layout of a file of that class. `path` is what problems call it.
    fn read(&self, path: &str, class: ContentClass, opened: &OpenedFile) -> io::Result<ParsedFile>;

    /// Whether readers of this class of its files begin at the first byte and take nothing else, so that they
    /// see nothing of an archive that the file ends as.
    fn reads_from_start(&self, class: ContentClass) -> bool;

    /// Whether a zip archive that tells nothing by its members is one of its files where the name promises it.
    fn accepts_any_zip(&self) -> bool {
        false
    }

    /// Whether its files are arrays, which may be data as well as weights.
    fn holds_arrays(&self) -> bool {
        false
    }

    /// Whether the bytes outside the tensors are more than a list of them: a program, or a text of one.
    fn executes_metadata(&self) -> bool;

    /// How files say that they are parts of one model; `None`: only by names, as shards of any format do.
    fn split_format(&self) -> Option<&'static dyn SplitFormat> {
        None
    }

    /// What gives long texts of the metadata that the layout has no use for; `None`: there are none.
    fn metadata_texts(&self) -> Option<ReadMetadataTexts> {
        None
    }
}

/// Gives the texts of a file whose key is wanted, none that is longer than a number of bytes.
pub type ReadMetadataTexts =
    fn(&OpenedFile, &dyn Fn(&str) -> bool, u64) -> io::Result<Vec<MetadataText>>;

/// A format whose files say by their metadata which part of a model they are ([`ParsedFile::part`]): all parts
/// are opened together, whichever of them was given.
pub(crate) trait SplitFormat: Sync {
    /// Whether a name is that of a part.
    fn is_part(&self, name: &ShardName<'_>) -> bool;

    /// Checks all models in parts among the files of a model, and notes what is wrong with those concerned.
    fn check(&self, files: &[ModelFile], contents: &mut [Option<ParsedFile>]);
}
