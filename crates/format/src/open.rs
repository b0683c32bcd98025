//! Opens a path as a [`Checkpoint`].

use super::class::Format;
use super::content::{
    self, ContentClass, ContentReport, FileContent, FileRole, UnsupportedSingleFile,
};
use super::directory::{self, DiscoveredFile, PathOrigin, Tree};
use super::error::{MAX_FILES, OpenError, is_name_too_long};
use super::file::{self, OpenedFile, kind_of_special};
use super::formats::{self, part_name};
use super::links::{LinkBounds, LinkTarget, TreeError};
use super::location::Location;
use super::model::Checkpoint;
use super::model_file::{FileKind, ModelFile};
use super::naming::{self, ParsedIndex};
use super::open_record::OpenRecord;
use super::options::OpenOptions;
use super::parsed_file::{ParsedFile, StoredTensor};
use super::paths::directory_of;
use super::problem::{BoundedErrors, Problem, StructureError};
use super::remote::RemoteFile;
use super::shard_index::{self, IndexError, ListedShard, MAX_INDEX, ShardIndex};
use super::tensor::Tensor;
use super::{listing, shards};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tensorseal_base::display::{display_name, display_path};
use tensorseal_base::severity::Severity;

/// The reason why a single file cannot be opened as a model.
#[derive(Debug, thiserror::Error)]
enum SingleError {
    #[error(
        "not a checkpoint: neither the name nor the content is that of a {} file",
        formats::supported_formats()
    )]
    UnknownFormat,
    #[error("not a checkpoint: the file is empty")]
    Empty,
    #[error("is the index of a sharded model; pass the directory that holds the index instead")]
    IsIndex,
}

impl StructureError for SingleError {
    fn rule(&self) -> (&'static str, Severity) {
        match self {
            SingleError::UnknownFormat | SingleError::Empty => ("format/unknown", Severity::High),
            SingleError::IsIndex => ("format/is-index", Severity::High),
        }
    }
}

impl Checkpoint {
    /// Opens a model: a directory or a single file. Reads only names and headers. Everything that is wrong with
    /// the structure is listed in [`Checkpoint::problems`].
    ///
    /// # Errors
    /// Returns an [`OpenError`] only if something cannot be examined at all: it does not exist, may not be read,
    /// or changed while it was being read.
    pub fn open(path: &Path, options: &OpenOptions) -> Result<Checkpoint, OpenError> {
        let metadata = fs::metadata(path).map_err(|error| OpenError::new(path, error))?;
        let model = if metadata.is_dir() {
            open_directory(path, options)
        } else if metadata.is_file() {
            open_file(path, options)
        } else {
            let what = kind_of_special(metadata.file_type());
            Err(OpenError::Special { path: path.to_owned(), what })
        }?;
        log_opened(&model);
        Ok(model)
    }

    /// Opens a model on another machine. `files` are its files by their paths, with components separated by `/`,
    /// in any order. The result is the same as for a directory with these files; a path that no directory could
    /// hold is a problem. Reads only headers. `name` is the name of the model in reports.
    ///
    /// # Errors
    /// Returns [`OpenError::TooManyFiles`] if there are more than [`MAX_FILES`] files, and other errors if a file
    /// cannot be read or has changed.
    pub fn open_remote(
        name: &str,
        files: Vec<(String, Arc<dyn RemoteFile>)>,
        options: &OpenOptions,
    ) -> Result<Checkpoint, OpenError> {
        let path = Path::new(name);
        if files.len() > MAX_FILES {
            return Err(OpenError::TooManyFiles { path: path.to_owned(), files: files.len() });
        }
        let files = files.into_iter().map(|(path, file)| (path, Location::Remote(file)));
        let tree = listing::tree(files, options);
        let model = assemble(path, path.to_owned(), tree, options, OpenRecord::for_remote())?;
        log_opened(&model);
        Ok(model)
    }
}

/// Logs the files of a model and their formats.
fn log_opened(model: &Checkpoint) {
    let (files, tensors) = (model.files.len(), model.tensors.len());
    let problems = model.problems.len();
    tracing::debug!(path = %display_path(&model.path), files, tensors, problems, "opened the model");
    for file in &model.files {
        let (path, bytes) = (display_name(&file.path), file.bytes);
        let class = file.content.class.name();
        match file.format {
            Some(format) => {
                let format = format.name();
                tracing::debug!(file = %path, bytes, %format, %class, "file with tensors");
            }
            None => tracing::trace!(file = %path, bytes, %class, "other file"),
        }
    }
}

fn open_file(path: &Path, options: &OpenOptions) -> Result<Checkpoint, OpenError> {
    let location = fs::canonicalize(path).map_err(|error| OpenError::new(path, error))?;
    let opened = file::open(&Location::Path(location.clone()))?;
    let name = path.file_name().or(location.file_name()).unwrap_or_default();
    let mut problems = Vec::new();
    let name = match name.to_str() {
        Some(name) => name.to_owned(),
        None => {
            let lossy = name.to_string_lossy().into_owned();
            problems.push(TreeError::NameNotUtf8.to_problem(&lossy));
            lossy
        }
    };
    let failed = |error| OpenError::for_found_path(&location, error);
    let content::ContentExamination { content, format, problems: content_problems } =
        content::examine(&name, &opened).map_err(failed)?;
    problems.extend(content_problems);
    let mut parsed = None;
    let is_index = shard_index::is_index_name(&name);
    if is_index {
        problems.push(SingleError::IsIndex.to_problem(&name));
    } else if let Some(format) = format {
        parsed = Some(formats::read(format, content.class, &name, &opened).map_err(failed)?);
    } else if content.class == ContentClass::Empty {
        problems.push(SingleError::Empty.to_problem(&name));
    } else if content.class == ContentClass::Unknown {
        problems.push(SingleError::UnknownFormat.to_problem(&name));
    }
    if parsed.as_ref().is_some_and(|parsed| parsed.part.is_some())
        && let Some(model) = open_parts(path, &location, options)?
    {
        return Ok(model);
    }
    let origin = PathOrigin { link: link_of(path, &location)?, signed_only: None };
    let mut file = model_file(name, location.into(), origin, &opened);
    (file.content, file.format) = (content, format.filter(|_| !is_index));
    // The user named this file, so whatever cannot be read of it is damage.
    file.kind = FileKind::Damaged;
    let (mut files, mut parsed_files, mut remarks) = ([file], [parsed], Vec::new());
    demote_companions(&mut files, &mut parsed_files, &BTreeSet::new(), &mut problems, &mut remarks);
    formats::check_parts(&files, &mut parsed_files);
    for parsed in parsed_files.iter_mut().flatten() {
        problems.append(&mut parsed.problems);
    }
    let report = ContentReport::new(&mut files, &parsed_files, &BTreeSet::new(), &mut problems)?;
    // An empty or unknown file was reported above.
    let is_reported = problems.iter().any(|problem| problem.rule == "format/unknown");
    problems.extend(report.problems.into_iter().filter(|_| !is_reported));
    remarks.extend(report.remarks);
    let ([parsed], [mut file]) = (parsed_files, files);
    let (mut tensors, mut architectures) = (Vec::new(), BTreeMap::new());
    if let Some(mut parsed) = parsed {
        remarks.append(&mut parsed.remarks);
        tensors = std::mem::take(&mut parsed.tensors);
        architectures.extend(parsed.architecture.take().map(|model| (0, model)));
        file.apply_parsed(parsed);
    } else if problems.is_empty() && file.kind == FileKind::Damaged {
        file.kind = FileKind::Other;
        remarks.extend(UnsupportedSingleFile::remark(&file));
    }
    let format = file.format;
    let files = vec![file];
    Ok(Checkpoint {
        path: path.to_owned(),
        root: parent_of(path),
        format,
        files,
        tensors: tensors.into_iter().map(|stored| tensor(stored, 0, None)).collect(),
        problems,
        remarks,
        architectures,
        skipped: Vec::new(),
        opened_as: OpenRecord::for_files(),
        links: Vec::new(),
    })
}

/// Where the opened file leads if it is a symbolic link, as seen from its directory.
fn link_of(path: &Path, location: &Path) -> Result<Option<LinkTarget>, OpenError> {
    let failed = |error| OpenError::new(path, error);
    if !fs::symlink_metadata(path).map_err(failed)?.is_symlink() {
        return Ok(None);
    }
    let root = fs::canonicalize(parent_of(path)).map_err(failed)?;
    Ok(Some(LinkBounds::new(root).target_kind(location)))
}

/// Opens all parts of the model that a file is a part of, as if they were alone in their directory. Returns
/// `None` if the name of the file does not tell the names of the other parts.
fn open_parts(
    path: &Path,
    location: &Path,
    options: &OpenOptions,
) -> Result<Option<Checkpoint>, OpenError> {
    // Try the file itself, then the link to it: the blobs of caches have names without a part number.
    for place in [location, path] {
        let name = place.file_name().and_then(|name| name.to_str());
        let Some((name, part)) = name.and_then(|name| Some((name, part_name(name)?))) else {
            continue;
        };
        let root = parent_of(place);
        let is_part =
            |name: &str| part_name(name).is_some_and(|name| name.set_key() == part.set_key());
        let tree = directory::walk_only(&root, options, &is_part)?;
        let record = OpenRecord::for_parts(options, name, &tree);
        return assemble(path, root, tree, options, record).map(Some);
    }
    Ok(None)
}

/// The directory of a file.
fn parent_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Creates the entry of a file before its content is known.
fn model_file(
    path: String,
    location: Location,
    origin: PathOrigin,
    opened: &OpenedFile,
) -> ModelFile {
    let identity = opened.identity.clone();
    ModelFile {
        path,
        location,
        bytes: identity.bytes,
        identity,
        kind: FileKind::Other,
        content: FileContent::default(),
        link: origin.link,
        signed_only: origin.signed_only,
        format: None,
        unread: Vec::new(),
        checksums: Vec::new(),
        big_endian: Vec::new(),
    }
}

impl ModelFile {
    /// Takes over what was parsed from the file.
    fn apply_parsed(&mut self, parsed: ParsedFile) {
        self.kind = if parsed.readable { FileKind::Tensors } else { FileKind::Damaged };
        self.unread = if parsed.has_unread { parsed.unreadable } else { Vec::new() };
        self.checksums = parsed.checksums;
        self.big_endian = parsed.big_endian;
    }
}

/// Creates a tensor of the model from one of a file, under `name` or under the name in the file.
fn tensor(stored: StoredTensor, file: usize, name: Option<String>) -> Tensor {
    Tensor {
        name: name.unwrap_or(stored.name),
        dtype: stored.dtype,
        shape: stored.shape,
        strides: stored.strides,
        file,
        offset: stored.offset,
        bytes: stored.bytes,
    }
}

/// The state of reading the files of a model.
#[derive(Default)]
struct ModelReader {
    files: Vec<ModelFile>,
    /// What was parsed from each file, if it is a tensor file.
    parsed_files: Vec<Option<ParsedFile>>,
    indexes: Vec<ParsedIndex>,
    /// Problems of files that are not tensor files, such as calls in pickles.
    problems: Vec<Problem>,
    remarks: Vec<Problem>,
}

/// Turns tensor files without weights, such as pickles of other objects or plain data, into companion files.
/// Files that an index lists stay, because a loader takes them for weights. The problems of the companion files
/// become problems of the model that do not affect which weights can be read.
fn demote_companions(
    files: &mut [ModelFile],
    parsed_files: &mut [Option<ParsedFile>],
    listed: &BTreeSet<String>,
    problems: &mut Vec<Problem>,
    remarks: &mut Vec<Problem>,
) {
    for (file, entry) in files.iter_mut().zip(parsed_files) {
        if listed.contains(&file.path) {
            continue;
        }
        let weightless = entry.as_ref().and_then(|parsed| parsed.weightless);
        let Some((class, role)) = weightless else { continue };
        let Some(parsed) = entry.take() else { continue };
        let companion = |problem| Problem { companion: true, ..problem };
        problems.extend(parsed.problems.into_iter().map(companion));
        remarks.extend(parsed.remarks);
        (file.content.class, file.content.role) = (class, role);
        file.checksums = parsed.checksums;
        (file.kind, file.format) = (FileKind::Other, None);
    }
}

fn open_directory(path: &Path, options: &OpenOptions) -> Result<Checkpoint, OpenError> {
    let tree = directory::walk(path, options)?;
    let record = OpenRecord::for_directory(options, &tree);
    assemble(path, path.to_owned(), tree, options, record)
}

/// Reads the files of a tree and names their tensors.
fn assemble(
    path: &Path,
    root: PathBuf,
    mut tree: Tree,
    options: &OpenOptions,
    mut record: OpenRecord,
) -> Result<Checkpoint, OpenError> {
    let mut reader = ModelReader::default();
    for discovered in std::mem::take(&mut tree.files) {
        reader.add(discovered, &mut tree, &mut record)?;
    }
    let listed = reader.listed_shards();
    reader.read_other_shards(&listed)?;
    reader.drop_link_targets(&listed);
    let ModelReader { mut files, mut parsed_files, indexes, problems, remarks } = reader;
    tree.problems.extend(problems);
    tree.remarks.extend(remarks);
    let (problems, remarks) = (&mut tree.problems, &mut tree.remarks);
    demote_companions(&mut files, &mut parsed_files, &listed, problems, remarks);

    formats::check_parts(&files, &mut parsed_files);
    let naming = naming::name_all(&files, &parsed_files, &indexes, options.expected_files.as_ref());
    let mut problems = std::mem::take(&mut tree.problems);
    let mut remarks = std::mem::take(&mut tree.remarks);
    for (at, parsed) in parsed_files.iter_mut().enumerate() {
        let Some(parsed) = parsed else { continue };
        let name = |name: &str| naming.name(at, name).unwrap_or_else(|| name.to_owned());
        remarks.extend(renamed(std::mem::take(&mut parsed.remarks), name));
        // The problems are copied, because the comparison with an index needs to know which shards are sound.
        problems.extend(renamed(parsed.problems.clone(), name));
    }
    for (at, errors) in compare_indexes(&indexes, &files, &parsed_files, &tree, &problems) {
        let ParsedIndex { path, index } = &indexes[at];
        let name = |name: &str| format!("{}{name}", directory_of(path));
        problems.extend(renamed(index.errors.problems(path), name));
        problems.extend(renamed(errors.problems(path), name));
    }
    problems.extend(shards::check(&files, &parsed_files, &listed));
    problems.extend(naming.problems.iter().cloned());
    remarks.extend(naming.remarks.iter().cloned());
    let report = ContentReport::new(&mut files, &parsed_files, &listed, &mut problems)?;
    problems.extend(report.problems);
    remarks.extend(report.remarks);
    problems.sort_by(|a, b| a.file.cmp(&b.file));
    remarks.sort_by(|a, b| a.file.cmp(&b.file));

    let (mut tensors, mut architectures) = (Vec::new(), BTreeMap::new());
    for (at, parsed) in parsed_files.into_iter().enumerate() {
        let Some(mut parsed) = parsed else { continue };
        for stored in std::mem::take(&mut parsed.tensors) {
            if let Some(name) = naming.name(at, &stored.name) {
                tensors.push(tensor(stored, at, Some(name)));
            }
        }
        for unreadable in &mut parsed.unreadable {
            if let Some(name) = naming.name(at, unreadable) {
                *unreadable = name;
            }
        }
        architectures.extend(parsed.architecture.take().map(|model| (at, model)));
        files[at].apply_parsed(parsed);
    }
    let mut formats = files.iter().filter_map(|file| file.format);
    let format = formats.next().filter(|first| formats.all(|other| other == *first));
    Ok(Checkpoint {
        path: path.to_owned(),
        root,
        format,
        files,
        tensors,
        problems,
        remarks,
        architectures,
        skipped: tree.skipped,
        opened_as: record,
        links: tree.links,
    })
}

/// Renames the tensors in problems from their names in the file to their names in the model.
fn renamed(mut problems: Vec<Problem>, name: impl Fn(&str) -> String) -> Vec<Problem> {
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

impl ModelReader {
    fn add(
        &mut self,
        discovered: DiscoveredFile,
        tree: &mut Tree,
        record: &mut OpenRecord,
    ) -> Result<(), OpenError> {
        let DiscoveredFile { path, location, origin } = discovered;
        let opened = match file::open(&location) {
            Err(OpenError::Io { source, .. }) if is_name_too_long(&source) => {
                tree.problems.push(TreeError::TooDeep(directory::MAX_DEPTH).to_problem(&path));
                record.add_unopened(&path);
                return Ok(());
            }
            other => other?,
        };
        let failed = |error| OpenError::for_found_path(&location.display_path(), error);
        let content::ContentExamination { content, mut format, problems } =
            content::examine(&path, &opened).map_err(failed)?;
        self.problems.extend(problems);
        if origin.signed_only.is_some() {
            // Signed-only files are treated as plain bytes, except pickles, which are always checked.
            format = format.filter(|_| content.class == ContentClass::Pickle);
        } else if shard_index::is_index_name(&path) {
            let index = read_index(&opened).map_err(failed)?;
            self.indexes.push(ParsedIndex { path: path.clone(), index });
            format = None;
        }
        let read = |format| formats::read(format, content.class, &path, &opened);
        let parsed = format.map(read).transpose().map_err(failed)?;
        let mut file = model_file(path, location, origin, &opened);
        (file.content, file.format) = (content, format);
        self.files.push(file);
        self.parsed_files.push(parsed);
        Ok(())
    }

    /// The paths of the shards that indexes list.
    fn listed_shards(&self) -> BTreeSet<String> {
        let mut listed = BTreeSet::new();
        for ParsedIndex { path, index } in &self.indexes {
            let directory = directory_of(path);
            listed.extend(index.shards().into_iter().map(|shard| format!("{directory}{shard}")));
        }
        listed
    }

    /// Makes sure that the tensors of a file which is reached under several names are listed only once: under
    /// the names that loaders look for, or else under the first name. The other names become companion files.
    fn drop_link_targets(&mut self, listed: &BTreeSet<String>) {
        let mut by_location: BTreeMap<PathBuf, Vec<usize>> = BTreeMap::new();
        for (at, (file, parsed)) in self.files.iter().zip(&self.parsed_files).enumerate() {
            if let (Some(_), Location::Path(path), None) =
                (parsed, &file.location, file.signed_only)
            {
                by_location.entry(path.clone()).or_default().push(at);
            }
        }
        for same in by_location.into_values().filter(|same| same.len() > 1) {
            let is_named = |at: &usize| {
                let Some(file) = self.files.get(*at) else { return false };
                file.format.is_some_and(|format| format.accepts_name(&file.path))
                    || Format::from_path(&file.path).is_some()
                    || listed.contains(&file.path)
            };
            let mut kept: Vec<usize> = same.iter().copied().filter(is_named).collect();
            if kept.is_empty() {
                kept.extend(same.first());
            }
            for at in same.into_iter().filter(|at| !kept.contains(at)) {
                if let (Some(file), Some(parsed)) =
                    (self.files.get_mut(at), self.parsed_files.get_mut(at))
                {
                    (*parsed, file.format, file.content.role) = (None, None, FileRole::Companion);
                }
            }
        }
    }

    /// Reads the listed shards that were not recognised as tensor files, because a loader would read them.
    fn read_other_shards(&mut self, listed: &BTreeSet<String>) -> Result<(), OpenError> {
        for (file, entry) in self.files.iter_mut().zip(&mut self.parsed_files) {
            if entry.is_some() || file.signed_only.is_some() || !listed.contains(&file.path) {
                continue;
            }
            let opened = file::open(&file.location)?;
            let failed = |error| OpenError::for_found_path(&file.location.display_path(), error);
            let (content, format, parsed) =
                content::read_listed(&file.path, &opened).map_err(failed)?;
            (file.content, file.format, *entry) = (content, Some(format), Some(parsed));
            file.bytes = opened.identity.bytes;
            file.identity = opened.identity;
        }
        Ok(())
    }
}

fn read_index(opened: &OpenedFile) -> std::io::Result<ShardIndex> {
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
    indexes: &[ParsedIndex],
    files: &[ModelFile],
    parsed_files: &[Option<ParsedFile>],
    tree: &Tree,
    problems: &[Problem],
) -> Vec<(usize, BoundedErrors<IndexError>)> {
    let by_path: BTreeMap<&str, usize> =
        files.iter().enumerate().map(|(at, file)| (file.path.as_str(), at)).collect();
    let reported: BTreeSet<&str> = problems.iter().map(|problem| problem.file.as_str()).collect();
    let skipped: BTreeMap<&str, &str> =
        tree.skipped.iter().map(|path| (path.path.as_str(), path.reason.as_str())).collect();
    let find = |path: &str| {
        if let Some(parsed) = by_path.get(path).and_then(|&at| parsed_files[at].as_ref()) {
            return ListedShard::File(parsed);
        }
        // The path itself or one of its parent directories may have been reported or skipped.
        let parents = path.match_indices('/').map(|(end, _)| &path[..end]);
        for part in std::iter::once(path).chain(parents) {
            if reported.contains(part) {
                return ListedShard::Reported;
            }
            if let Some(reason) = skipped.get(part) {
                return ListedShard::Skipped(display_name(reason));
            }
        }
        if tree.directories.contains(path) { ListedShard::Directory } else { ListedShard::Missing }
    };
    indexes
        .iter()
        .enumerate()
        .map(|(at, ParsedIndex { path, index })| {
            let directory = directory_of(path);
            (at, shard_index::compare(index, |shard| find(&format!("{directory}{shard}"))))
        })
        .collect()
}
