//! An opened model.

use super::class::{FileRole, Format};
use super::links::DirectoryLink;
use super::model_file::{FileKind, ModelFile, read_range};
use super::open_record::OpenRecord;
use super::parsed_file::ArchitectureMetadata;
use super::problem::{Problem, SkippedPath};
use super::tensor::Tensor;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// An opened model: files and tensors on this machine or on another one.
#[derive(Debug)]
pub struct Checkpoint {
    /// The path as the user gave it, or the name of a model on another machine.
    pub path: PathBuf,
    /// The directory that all file paths are relative to. For a single file this is its parent.
    pub root: PathBuf,
    /// The container format of the tensor files; `None` if they have several formats or if there are none.
    pub format: Option<Format>,
    /// All files of the model in byte order of their paths, followed, if requested, by the
    /// [signed-only](ModelFile::signed_only) files in the same order. [`Checkpoint::model_files`] returns only the
    /// files of the model.
    pub files: Vec<ModelFile>,
    /// All readable tensors, ordered by file, offset and name.
    pub tensors: Vec<Tensor>,
    /// The problems of the structure; empty for a well-formed model.
    pub problems: Vec<Problem>,
    /// Remarks about the structure: legal, but worth knowing.
    pub remarks: Vec<Problem>,
    /// The architecture that the metadata of a file names, by index of the file.
    pub architectures: BTreeMap<usize, ArchitectureMetadata>,
    /// The paths that exist but are not part of the model, with the reasons.
    pub skipped: Vec<SkippedPath>,
    /// The state at the time of opening, for [`Checkpoint::verify_unchanged`].
    pub(super) opened_as: OpenRecord,
    /// The links to directories whose files are listed under another path, in byte order of their paths.
    pub links: Vec<DirectoryLink>,
}

impl Checkpoint {
    /// The files of the model without the signed-only files. The indexes are the same as in [`Checkpoint::files`].
    pub fn model_files(&self) -> &[ModelFile] {
        &self.files[..self.files.partition_point(|file| file.signed_only.is_none())]
    }

    /// The name of the format in reports and seals: `mixed` if the files have several formats, `none` if there are
    /// no tensor files.
    pub fn format_name(&self) -> &'static str {
        match self.format {
            Some(format) => format.name(),
            None if self.files.iter().any(|file| file.format.is_some()) => "mixed",
            None => "none",
        }
    }

    /// Whether the model was opened as a file and consists of this file. The parts of a model in several files are
    /// opened together, whichever of them the user named.
    pub fn is_single_file(&self) -> bool {
        match self.model_files() {
            [file] => file.location.local().is_ok() && !self.path.is_dir(),
            _ => false,
        }
    }

    /// Keeps only some of the files, as plain bytes: all tensors, problems and remarks are removed.
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

    /// The tensors of one file in the order of their offsets.
    pub fn tensors_of(&self, file: usize) -> &[Tensor] {
        let from = self.tensors.partition_point(|tensor| tensor.file < file);
        let to = self.tensors.partition_point(|tensor| tensor.file <= file);
        &self.tensors[from..to]
    }

    /// Whether a file holds weights that are not read: it has weights, or should have some by its name, but no
    /// readable tensor; or it has [unread tensors](ModelFile::unread) among others.
    pub fn has_unread_weights(&self, file: usize) -> bool {
        let Some(entry) = self.files.get(file) else { return false };
        let has_no_tensors = self.tensors_of(file).is_empty();
        match entry.kind {
            // A file that was parsed completely and has no tensors has no weights.
            FileKind::Tensors => !entry.unread.is_empty(),
            FileKind::Damaged => has_no_tensors,
            FileKind::Other => has_no_tensors && entry.content.role == FileRole::Weights,
        }
    }

    /// The [unread tensors](ModelFile::unread) in files that were parsed completely: index of the file and name.
    pub fn unread_tensors(&self) -> impl Iterator<Item = (usize, &str)> {
        let files = self.model_files().iter().enumerate();
        let files = files.filter(|(_, file)| file.kind == FileKind::Tensors);
        files.flat_map(|(index, file)| file.unread.iter().map(move |name| (index, name.as_str())))
    }

    /// The number of bytes of a file in which unread weights may lie: all bytes outside the readable tensors, or 0
    /// if the file has no unread weights.
    pub fn unread_bytes(&self, file: usize) -> u64 {
        match self.has_unread_weights(file) {
            true => self.gaps(file).iter().map(|[from, to]| to - from).sum(),
            false => 0,
        }
    }

    /// The number of bytes that some tensors (by index) take. Bytes that several tensors share are counted once.
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

    /// The byte ranges of a file that belong to no tensor, in order: the header, padding between tensors, and what
    /// follows the last tensor. For a file without tensors this is the whole file.
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

/// Reads a small file of a model by its path. Returns `None` if it does not exist, is longer than `max` bytes, or
/// has changed since the model was opened.
pub fn read_whole(model: &Checkpoint, path: &str, max: u64) -> Option<Vec<u8>> {
    let file = model.model_files().iter().find(|file| file.path == path)?;
    if file.bytes > max { None } else { read_range(file, 0, file.bytes) }
}
