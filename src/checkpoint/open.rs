//! From a path to a [`Checkpoint`].

use super::directory::{self, Found, Tree};
use super::display::display_name;
use super::file::{self, OpenError, Opened, is_name_too_long, kind_of_special};
use super::links::TreeError;
use super::naming::{self, Indexed, directory_of};
use super::problem::{Gathered, Named, Problem};
use super::safetensors::{self, HeaderReport};
use super::shard_index::{self, IndexError, MAX_INDEX, Shard, ShardIndex};
use super::{Checkpoint, FileKind, Format, ModelFile, Tensor};
use crate::severity::Severity;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// How a model is opened.
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    /// Follow links that lead out of the model.
    pub allow_symlinks: bool,
    /// Take `.git`, `.gitignore`, `.gitattributes` and `.github` at the top as part of the model.
    pub include_git_paths: bool,
    /// Paths relative to the root that are not part of the model: its seal, its signature.
    pub exclude: Vec<String>,
    /// The files that are known to belong to the model (those of a seal): files beside them cannot
    /// change what their tensors are called.
    pub expected_files: Option<BTreeSet<String>>,
}

/// What a file given by itself can be wrong in.
#[derive(Debug, thiserror::Error)]
enum SingleError {
    #[error(
        "not a safetensors file: its name does not end in .safetensors and it does not start with a header"
    )]
    NotSafetensors,
    #[error("is the index of a sharded model; give the directory that holds it")]
    IsIndex,
}

impl Named for SingleError {
    fn rule(&self) -> (&'static str, Severity) {
        match self {
            SingleError::NotSafetensors => ("format/not-safetensors", Severity::High),
            SingleError::IsIndex => ("format/is-index", Severity::High),
        }
    }
}

impl Checkpoint {
    /// Opens a model: a directory or a single file. Reads names and headers only; whatever is wrong
    /// with the structure is in [`Checkpoint::problems`].
    ///
    /// # Errors
    ///
    /// Only where something cannot be examined at all: it is not there, may not be read, or changed
    /// while it was being read.
    pub fn open(path: &Path, options: &OpenOptions) -> Result<Checkpoint, OpenError> {
        let metadata = fs::metadata(path).map_err(|error| OpenError::new(path, error))?;
        if metadata.is_dir() {
            open_directory(path, options)
        } else if metadata.is_file() {
            open_file(path)
        } else {
            let what = kind_of_special(metadata.file_type());
            Err(OpenError::Special { path: path.to_owned(), what })
        }
    }
}

fn open_file(path: &Path) -> Result<Checkpoint, OpenError> {
    let location = fs::canonicalize(path).map_err(|error| OpenError::new(path, error))?;
    let opened = file::open(&location)?;
    let name = path.file_name().or(location.file_name()).unwrap_or_default();
    let mut problems = Vec::new();
    let name = match name.to_str() {
        Some(name) => name.to_owned(),
        None => {
            let shown = name.to_string_lossy().into_owned();
            problems.push(TreeError::NameNotUtf8.problem(&shown));
            shown
        }
    };
    let failed = |error| OpenError::of_found(&location, error);
    let mut remarks = Vec::new();
    let (mut kind, mut tensors) = (FileKind::Damaged, Vec::new());
    if name.ends_with(shard_index::SUFFIX) {
        problems.push(SingleError::IsIndex.problem(&name));
    } else if !is_tensor_file(&name) && !safetensors::is_plausible(&opened).map_err(failed)? {
        problems.push(SingleError::NotSafetensors.problem(&name));
    } else {
        let report = safetensors::read(&opened).map_err(failed)?;
        problems.extend(report.errors.problems(&name));
        remarks.extend(report.remarks.iter().map(|remark| remark.problem(&name)));
        kind = kind_of(&report);
        tensors = report.tensors.into_iter().map(|t| tensor(t, 0, None)).collect();
    }
    Ok(Checkpoint {
        path: path.to_owned(),
        root: match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        },
        format: Format::Safetensors,
        files: vec![model_file(name, location, &opened, kind)],
        tensors,
        problems,
        remarks,
        not_covered: Vec::new(),
    })
}

fn is_tensor_file(name: &str) -> bool {
    name.ends_with(".safetensors")
}

fn kind_of(report: &HeaderReport) -> FileKind {
    if report.readable { FileKind::Tensors } else { FileKind::Damaged }
}

fn model_file(path: String, location: PathBuf, opened: &Opened, kind: FileKind) -> ModelFile {
    let identity = opened.identity.clone();
    ModelFile { path, location, bytes: identity.bytes, identity, kind }
}

/// A tensor of a file, under the name given or the one in the header.
fn tensor(found: super::layout::HeaderTensor, file: usize, name: Option<String>) -> Tensor {
    Tensor {
        name: name.unwrap_or(found.name),
        dtype: found.dtype,
        shape: found.shape,
        file,
        offset: found.offset,
        bytes: found.bytes,
    }
}

/// A directory while it is being read.
#[derive(Default)]
struct Reading {
    files: Vec<ModelFile>,
    /// Beside each file, its header when it is a tensor file.
    reports: Vec<Option<HeaderReport>>,
    indexes: Vec<Indexed>,
}

fn open_directory(path: &Path, options: &OpenOptions) -> Result<Checkpoint, OpenError> {
    let mut tree = directory::walk(path, options)?;
    let mut reading = Reading::default();
    for found in std::mem::take(&mut tree.files) {
        reading.add(found, &mut tree)?;
    }
    reading.read_other_shards()?;
    let Reading { files, mut reports, indexes } = reading;

    let naming = naming::name_all(&files, &reports, &indexes, options.expected_files.as_ref());
    let mut problems = std::mem::take(&mut tree.problems);
    let mut remarks = std::mem::take(&mut tree.remarks);
    for (at, report) in reports.iter().enumerate() {
        let Some(report) = report else { continue };
        let path = &files[at].path;
        remarks.extend(report.remarks.iter().map(|remark| remark.problem(path)));
        problems.extend(renamed(&report.errors, path, |name| {
            naming.name(at, name).unwrap_or_else(|| name.to_owned())
        }));
    }
    for (at, compared) in compare_indexes(&indexes, &files, &reports, &tree, &problems) {
        let Indexed { path, index } = &indexes[at];
        let name = |name: &str| format!("{}{name}", directory_of(path));
        problems.extend(renamed(&index.errors, path, name));
        problems.extend(renamed(&compared, path, name));
    }
    problems.extend(naming.problems.iter().cloned());
    remarks.extend(naming.remarks.iter().cloned());
    problems.sort_by(|a, b| a.file.cmp(&b.file));
    remarks.sort_by(|a, b| a.file.cmp(&b.file));

    let mut tensors = Vec::new();
    for (at, report) in reports.iter_mut().enumerate() {
        for found in report.iter_mut().flat_map(|report| std::mem::take(&mut report.tensors)) {
            if let Some(name) = naming.name(at, &found.name) {
                tensors.push(tensor(found, at, Some(name)));
            }
        }
    }
    Ok(Checkpoint {
        path: path.to_owned(),
        root: path.to_owned(),
        format: Format::Safetensors,
        files,
        tensors,
        problems,
        remarks,
        not_covered: tree.not_covered,
    })
}

/// Errors as problems, with the tensors under the names the model knows them by.
fn renamed<E: Named>(
    errors: &Gathered<E>,
    file: &str,
    name: impl Fn(&str) -> String,
) -> Vec<Problem> {
    let mut problems = errors.problems(file);
    for problem in &mut problems {
        if let Some(tensor) = &mut problem.tensor {
            *tensor = name(tensor);
        }
        for tensor in &mut problem.affected {
            *tensor = name(tensor);
        }
    }
    problems
}

impl Reading {
    fn add(&mut self, found: Found, tree: &mut Tree) -> Result<(), OpenError> {
        let Found { path, location } = found;
        let opened = match file::open(&location) {
            Err(OpenError::Io { source, .. }) if is_name_too_long(&source) => {
                tree.problems.push(TreeError::TooDeep(directory::MAX_DEPTH).problem(&path));
                return Ok(());
            }
            other => other?,
        };
        let failed = |error| OpenError::of_found(&location, error);
        let mut report = None;
        if path.ends_with(shard_index::SUFFIX) {
            let index = read_index(&opened).map_err(failed)?;
            self.indexes.push(Indexed { path: path.clone(), index });
        } else if is_tensor_file(&path) {
            report = Some(safetensors::read(&opened).map_err(failed)?);
        }
        let kind = report.as_ref().map_or(FileKind::Other, kind_of);
        self.files.push(model_file(path, location, &opened, kind));
        self.reports.push(report);
        Ok(())
    }

    /// Reads the shards whose names do not tell that they hold tensors: a loader would.
    fn read_other_shards(&mut self) -> Result<(), OpenError> {
        let mut listed: BTreeSet<String> = BTreeSet::new();
        for Indexed { path, index } in &self.indexes {
            let directory = directory_of(path);
            listed.extend(index.shards().into_iter().map(|shard| format!("{directory}{shard}")));
        }
        for (file, report) in self.files.iter_mut().zip(&mut self.reports) {
            if report.is_some() || !listed.contains(&file.path) {
                continue;
            }
            let opened = file::open(&file.location)?;
            let read = safetensors::read(&opened)
                .map_err(|error| OpenError::of_found(&file.location, error))?;
            file.kind = kind_of(&read);
            file.bytes = opened.identity.bytes;
            file.identity = opened.identity;
            *report = Some(read);
        }
        Ok(())
    }
}

fn read_index(opened: &Opened) -> std::io::Result<ShardIndex> {
    let bytes = opened.identity.bytes;
    if bytes > MAX_INDEX {
        let mut index = ShardIndex::default();
        index.errors.push(IndexError::TooLarge { bytes });
        return Ok(index);
    }
    Ok(shard_index::parse_index(&file::read_at(&opened.file, 0, bytes as usize)?))
}

/// Compares every index with the files it lists.
fn compare_indexes(
    indexes: &[Indexed],
    files: &[ModelFile],
    reports: &[Option<HeaderReport>],
    tree: &Tree,
    problems: &[Problem],
) -> Vec<(usize, Gathered<IndexError>)> {
    let by_path: BTreeMap<&str, usize> =
        files.iter().enumerate().map(|(at, file)| (file.path.as_str(), at)).collect();
    let reported: BTreeSet<&str> = problems.iter().map(|problem| problem.file.as_str()).collect();
    let left_out: BTreeMap<&str, &str> =
        tree.not_covered.iter().map(|left| (left.path.as_str(), left.reason.as_str())).collect();
    let find = |path: &str| {
        if let Some(report) = by_path.get(path).and_then(|&at| reports[at].as_ref()) {
            return Shard::File(report);
        }
        // The path itself or a directory on the way to it.
        let on_the_way = path.match_indices('/').map(|(end, _)| &path[..end]);
        for part in std::iter::once(path).chain(on_the_way) {
            if reported.contains(part) {
                return Shard::Reported;
            }
            if let Some(reason) = left_out.get(part) {
                return Shard::NotCovered(display_name(reason));
            }
        }
        if tree.directories.contains(path) { Shard::Directory } else { Shard::Missing }
    };
    indexes
        .iter()
        .enumerate()
        .map(|(at, Indexed { path, index })| {
            let directory = directory_of(path);
            (at, shard_index::compare(index, |shard| find(&format!("{directory}{shard}"))))
        })
        .collect()
}
