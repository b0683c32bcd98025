//! A model as it was opened.

use super::class::{FileRole, Format};
use super::links::DirectoryLink;
use super::model_file::{FileKind, ModelFile, read_range};
use super::open_record::OpenRecord;
use super::parsed_file::ArchitectureMetadata;
use super::problem::{Problem, SkippedPath};
use super::tensor::Tensor;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A model as found on disk, or on another machine.
#[derive(Debug)]
pub struct Checkpoint {
    /// The path as it was given; of a model on another machine, its name.
    pub path: PathBuf,
    /// The directory all file paths are relative to (of a single file: its parent).
    pub root: PathBuf,
    /// Container format of the tensor files; `None` where they have several, or there are none.
    pub format: Option<Format>,
    /// Every file that is part of the model, in byte order of `path`; behind them, when asked for and in
    /// the same order, those [beside](ModelFile::beside) it. [`Checkpoint::model_files`] are the first alone.
    pub files: Vec<ModelFile>,
    /// Every readable tensor, in order of file, then offset, then name.
    pub tensors: Vec<Tensor>,
    /// What is wrong with the model's structure; empty for a well-formed one.
    pub problems: Vec<Problem>,
    /// What is legal but worth knowing.
    pub remarks: Vec<Problem>,
    /// What the metadata of files say of the model, by index of the file.
    pub architectures: BTreeMap<usize, ArchitectureMetadata>,
    /// What exists under the path and is not part of the model, and why.
    pub skipped: Vec<SkippedPath>,
    /// What it is compared with at the end of a run: see [`Checkpoint::still_there`].
    pub(super) opened_as: OpenRecord,
    /// Paths that lead into a directory that is covered under another path, in byte order of them.
    pub links: Vec<DirectoryLink>,
}

impl Checkpoint {
    /// Every file that is part of the model: the first of [`Checkpoint::files`], under the same indexes.
    pub fn model_files(&self) -> &[ModelFile] {
        &self.files[..self.files.partition_point(|file| file.signed_only.is_none())]
    }

    /// The name of its format in reports and seals: `mixed` where its files have several.
    pub fn format_name(&self) -> &'static str {
        match self.format {
            Some(format) => format.name(),
            None if self.files.iter().any(|file| file.format.is_some()) => "mixed",
            None => "none",
        }
    }

    /// Whether it was given as a file and has no other: the parts of a model in several files are opened
    /// together, whichever of them was given.
    pub fn is_single_file(&self) -> bool {
        match self.model_files() {
            [file] => file.location.local().is_ok() && !self.path.is_dir(),
            _ => false,
        }
    }

    /// Keeps some of its files alone, as bytes whatever they hold.
    pub fn retain_as_bytes(&mut self, is_kept: impl Fn(&ModelFile) -> bool) {
        self.files.retain(is_kept);
        for file in &mut self.files {
            (file.kind, file.format) = (FileKind::Other, None);
            file.checksums.clear();
            file.big_endian.clear();
        }
        self.tensors.clear();
        self.problems.clear();
        self.remarks.clear();
        self.architectures.clear();
        self.format = None;
        self.opened_as = OpenRecord::for_files();
    }

    /// The tensors of one file, in order of offset.
    pub fn tensors_of(&self, file: usize) -> &[Tensor] {
        let from = self.tensors.partition_point(|tensor| tensor.file < file);
        let to = self.tensors.partition_point(|tensor| tensor.file <= file);
        &self.tensors[from..to]
    }

    /// Whether one file has weights, or should have some by its name, and not one tensor that can be read; or
    /// has [tensors that are not read](ModelFile::unread) beside others.
    pub fn has_unread_weights(&self, file: usize) -> bool {
        let Some(it) = self.files.get(file) else { return false };
        let unread = self.tensors_of(file).is_empty();
        match it.kind {
            // One that was read to its end and has no tensor has no weights.
            FileKind::Tensors => !it.unread.is_empty(),
            FileKind::Damaged => unread,
            FileKind::Other => unread && it.content.role == FileRole::Weights,
        }
    }

    /// The [tensors that are not read](ModelFile::unread) in files that are read to their end: index of the file, and
    /// name.
    pub fn unread_tensors(&self) -> impl Iterator<Item = (usize, &str)> {
        let files = self.model_files().iter().enumerate();
        let files = files.filter(|(_, file)| file.kind == FileKind::Tensors);
        files.flat_map(|(index, file)| file.unread.iter().map(move |name| (index, name.as_str())))
    }

    /// The bytes of one file in which weights are that cannot be read: all that belong to no tensor.
    pub fn unread_bytes(&self, file: usize) -> u64 {
        match self.has_unread_weights(file) {
            true => self.gaps(file).iter().map(|[from, to]| to - from).sum(),
            false => 0,
        }
    }

    /// The bytes that some tensors lie in, each once: views of one storage share theirs.
    pub fn distinct_bytes(&self, tensors: impl IntoIterator<Item = usize>) -> u64 {
        let mut ranges: Vec<(usize, u64, u64)> = tensors
            .into_iter()
            .map(|index| &self.tensors[index])
            .map(|tensor| (tensor.file, tensor.offset, tensor.offset.saturating_add(tensor.bytes)))
            .collect();
        ranges.sort_unstable();
        let (mut sum, mut file, mut cursor) = (0u64, usize::MAX, 0);
        for (of, from, to) in ranges {
            if of != file {
                (file, cursor) = (of, 0);
            }
            sum = sum.saturating_add(to.saturating_sub(from.max(cursor)));
            cursor = cursor.max(to);
        }
        sum
    }

    /// The ranges of one file that belong to no tensor, in order: header, gaps, what follows the
    /// last tensor; all of a file without tensors.
    pub fn gaps(&self, file: usize) -> Vec<[u64; 2]> {
        let mut ranges = Vec::new();
        let mut cursor = 0;
        for tensor in self.tensors_of(file) {
            if tensor.offset > cursor {
                ranges.push([cursor, tensor.offset]);
            }
            cursor = cursor.max(tensor.offset + tensor.bytes);
        }
        match self.files.get(file) {
            Some(file) if file.bytes > cursor => ranges.push([cursor, file.bytes]),
            _ => {}
        }
        ranges
    }
}

/// A small file of a model, by its path in it; `None`: it is not there, longer than `most`, or not what
/// it was when the model was opened.
pub fn read_whole(model: &Checkpoint, path: &str, most: u64) -> Option<Vec<u8>> {
    let file = model.model_files().iter().find(|file| file.path == path)?;
    if file.bytes > most { None } else { read_range(file, 0, file.bytes) }
}
