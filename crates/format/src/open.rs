//! From a path to a [`Checkpoint`].

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
use tensorseal_base::display::display_name;
use tensorseal_base::severity::Severity;

/// What a file given by itself can be wrong in.
#[derive(Debug, thiserror::Error)]
enum SingleError {
    #[error(
        "not a checkpoint: neither its name nor its first bytes are those of {}",
        formats::supported_formats()
    )]
    UnknownFormat,
    #[error("is empty: no checkpoint is")]
    Empty,
    #[error("is the index of a sharded model; give the directory that holds it")]
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
    /// Opens a model: a directory or a single file. Reads names and headers only; whatever is wrong
    /// with the structure is in [`Checkpoint::problems`].
    ///
    /// # Errors
    ///
    /// Only where something cannot be examined at all: it is not there, may not be read, or changed
    /// while it was being read.
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
        log(&model);
        Ok(model)
    }

    /// Opens a model on another machine: its files by their paths in it, separated by `/`. They are what
    /// the same files in a directory are, whatever order they come in; of paths that no directory could
    /// hold there is a problem. Reads headers only.
    ///
    /// `name` is what reports call the model.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, or changed; when there are more than [`MAX_FILES`].
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
        log(&model);
        Ok(model)
    }
}

/// Logs which files a model has and how they are read.
fn log(model: &Checkpoint) {
    let (files, tensors) = (model.files.len(), model.tensors.len());
    let problems = model.problems.len();
    tracing::debug!(path = ?model.path, files, tensors, problems, "opened the model");
    for file in &model.files {
        let ModelFile { path, bytes, kind, .. } = file;
        match file.format {
            Some(format) => {
                tracing::debug!(file = ?path, bytes, ?format, ?kind, "file with tensors");
            }
            None => tracing::trace!(file = ?path, bytes, ?kind, "other file"),
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
            let shown = name.to_string_lossy().into_owned();
            problems.push(TreeError::NameNotUtf8.to_problem(&shown));
            shown
        }
    };
    let failed = |error| OpenError::for_found_path(&location, error);
    let content::ContentExamination { content, format, problems: inside } =
        content::examine(&name, &opened).map_err(failed)?;
    problems.extend(inside);
    let mut held = None;
    let is_index = shard_index::is_index_name(&name);
    if is_index {
        problems.push(SingleError::IsIndex.to_problem(&name));
    } else if let Some(format) = format {
        held = Some(formats::read(format, content.class, &name, &opened).map_err(failed)?);
    } else if content.class == ContentClass::Empty {
        problems.push(SingleError::Empty.to_problem(&name));
    } else if content.class == ContentClass::Unknown {
        problems.push(SingleError::UnknownFormat.to_problem(&name));
    }
    if held.as_ref().is_some_and(|held| held.part.is_some())
        && let Some(all) = open_parts(path, &location, options)?
    {
        return Ok(all);
    }
    let reached = PathOrigin { link: link_of(path, &location)?, signed_only: None };
    let mut file = model_file(name, location.into(), reached, &opened);
    (file.content, file.format) = (content, format.filter(|_| !is_index));
    // By itself it is what was asked for: what cannot be read of it is damage.
    file.kind = FileKind::Damaged;
    let (mut files, mut held, mut remarks) = ([file], [held], Vec::new());
    demote_companions(&mut files, &mut held, &BTreeSet::new(), &mut problems, &mut remarks);
    formats::check_parts(&files, &mut held);
    for contents in held.iter_mut().flatten() {
        problems.append(&mut contents.problems);
    }
    let account = ContentReport::new(&mut files, &held, &BTreeSet::new(), &mut problems)?;
    // That it is empty was said.
    let said = problems.iter().any(|problem| problem.rule == "format/unknown");
    problems.extend(account.problems.into_iter().filter(|_| !said));
    remarks.extend(account.remarks);
    let ([contents], [mut file]) = (held, files);
    let (mut tensors, mut architectures) = (Vec::new(), BTreeMap::new());
    if let Some(mut contents) = contents {
        remarks.append(&mut contents.remarks);
        tensors = std::mem::take(&mut contents.tensors);
        architectures.extend(contents.architecture.take().map(|model| (0, model)));
        file.apply_parsed(contents);
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
        tensors: tensors.into_iter().map(|found| tensor(found, 0, None)).collect(),
        problems,
        remarks,
        architectures,
        skipped: Vec::new(),
        opened_as: OpenRecord::for_files(),
        links: Vec::new(),
    })
}

/// Where the file that was given leads, if it is a link: as seen from its directory.
fn link_of(path: &Path, location: &Path) -> Result<Option<LinkTarget>, OpenError> {
    let failed = |error| OpenError::new(path, error);
    if !fs::symlink_metadata(path).map_err(failed)?.is_symlink() {
        return Ok(None);
    }
    let root = fs::canonicalize(parent_of(path)).map_err(failed)?;
    Ok(Some(LinkBounds::new(root).target_kind(location)))
}

/// Opens all parts of the model that a file is a part of, as if they were alone in their directory; `None`
/// where its name does not tell theirs.
fn open_parts(
    path: &Path,
    location: &Path,
    options: &OpenOptions,
) -> Result<Option<Checkpoint>, OpenError> {
    // Where the file is, or else where a link to it stands: caches link to names that say nothing.
    for place in [location, path] {
        let name = place.file_name().and_then(|name| name.to_str());
        let Some((name, part)) = name.and_then(|name| Some((name, part_name(name)?))) else {
            continue;
        };
        let root = parent_of(place);
        let is_part =
            |name: &str| part_name(name).is_some_and(|name| name.set_key() == part.set_key());
        let tree = directory::walk_only(&root, options, &is_part)?;
        let start = OpenRecord::for_parts(options, name, &tree);
        return assemble(path, root, tree, options, start).map(Some);
    }
    Ok(None)
}

/// The directory that a file is in.
fn parent_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// A file of which nothing is known yet.
fn model_file(
    path: String,
    location: Location,
    reached: PathOrigin,
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
        link: reached.link,
        signed_only: reached.signed_only,
        format: None,
        unread: Vec::new(),
        checksums: Vec::new(),
        big_endian: Vec::new(),
    }
}

impl ModelFile {
    /// It was read, and found to hold this.
    fn apply_parsed(&mut self, contents: ParsedFile) {
        self.kind = if contents.readable { FileKind::Tensors } else { FileKind::Damaged };
        self.unread = if contents.unread { contents.unreadable } else { Vec::new() };
        self.checksums = contents.checksums;
        self.big_endian = contents.big_endian;
    }
}

/// A tensor of a file, under the name given or the one in the file.
fn tensor(found: StoredTensor, file: usize, name: Option<String>) -> Tensor {
    Tensor {
        name: name.unwrap_or(found.name),
        dtype: found.dtype,
        shape: found.shape,
        strides: found.strides,
        file,
        offset: found.offset,
        bytes: found.bytes,
    }
}

/// A directory while it is being read.
#[derive(Default)]
struct ModelReader {
    files: Vec<ModelFile>,
    /// Beside each file, what it holds when it is a tensor file.
    contents: Vec<Option<ParsedFile>>,
    indexes: Vec<ParsedIndex>,
    /// What pickles ask for that are no files of weights.
    problems: Vec<Problem>,
    remarks: Vec<Problem>,
}

/// Takes what holds no weights out of the files of tensors: what goes along with a model, such as pickles of
/// objects or plain data. Those that an index lists stay: a loader takes them for weights. What they ask for is wrong
/// with the model, and says nothing of how far its weights can be read.
fn demote_companions(
    files: &mut [ModelFile],
    contents: &mut [Option<ParsedFile>],
    listed: &BTreeSet<String>,
    problems: &mut Vec<Problem>,
    remarks: &mut Vec<Problem>,
) {
    for (file, held) in files.iter_mut().zip(contents) {
        if listed.contains(&file.path) {
            continue;
        }
        let Some((class, role)) = held.as_ref().and_then(|held| held.weightless) else { continue };
        let Some(aside) = held.take() else { continue };
        let companion = |problem| Problem { companion: true, ..problem };
        problems.extend(aside.problems.into_iter().map(companion));
        remarks.extend(aside.remarks);
        (file.content.class, file.content.role) = (class, role);
        file.checksums = aside.checksums;
        (file.kind, file.format) = (FileKind::Other, None);
    }
}

fn open_directory(path: &Path, options: &OpenOptions) -> Result<Checkpoint, OpenError> {
    let tree = directory::walk(path, options)?;
    let start = OpenRecord::for_directory(options, &tree);
    assemble(path, path.to_owned(), tree, options, start)
}

/// Reads the files that were found, and names their tensors.
fn assemble(
    path: &Path,
    root: PathBuf,
    mut tree: Tree,
    options: &OpenOptions,
    mut start: OpenRecord,
) -> Result<Checkpoint, OpenError> {
    let mut reading = ModelReader::default();
    for found in std::mem::take(&mut tree.files) {
        reading.add(found, &mut tree, &mut start)?;
    }
    let listed = reading.listed();
    reading.read_other_shards(&listed)?;
    reading.read_once(&listed);
    let ModelReader { mut files, mut contents, indexes, problems, remarks } = reading;
    tree.problems.extend(problems);
    tree.remarks.extend(remarks);
    demote_companions(&mut files, &mut contents, &listed, &mut tree.problems, &mut tree.remarks);

    formats::check_parts(&files, &mut contents);
    let naming = naming::name_all(&files, &contents, &indexes, options.expected_files.as_ref());
    let mut problems = std::mem::take(&mut tree.problems);
    let mut remarks = std::mem::take(&mut tree.remarks);
    for (at, held) in contents.iter_mut().enumerate() {
        let Some(held) = held else { continue };
        let name = |name: &str| naming.name(at, name).unwrap_or_else(|| name.to_owned());
        remarks.extend(renamed(std::mem::take(&mut held.remarks), name));
        // They stay there, too: an index is compared with shards that are sound.
        problems.extend(renamed(held.problems.clone(), name));
    }
    for (at, compared) in compare_indexes(&indexes, &files, &contents, &tree, &problems) {
        let ParsedIndex { path, index } = &indexes[at];
        let name = |name: &str| format!("{}{name}", directory_of(path));
        problems.extend(renamed(index.errors.problems(path), name));
        problems.extend(renamed(compared.problems(path), name));
    }
    problems.extend(shards::check(&files, &contents, &listed));
    problems.extend(naming.problems.iter().cloned());
    remarks.extend(naming.remarks.iter().cloned());
    let account = ContentReport::new(&mut files, &contents, &listed, &mut problems)?;
    problems.extend(account.problems);
    remarks.extend(account.remarks);
    problems.sort_by(|a, b| a.file.cmp(&b.file));
    remarks.sort_by(|a, b| a.file.cmp(&b.file));

    let (mut tensors, mut architectures) = (Vec::new(), BTreeMap::new());
    for (at, held) in contents.into_iter().enumerate() {
        let Some(mut held) = held else { continue };
        for found in std::mem::take(&mut held.tensors) {
            if let Some(name) = naming.name(at, &found.name) {
                tensors.push(tensor(found, at, Some(name)));
            }
        }
        for unread in &mut held.unreadable {
            if let Some(name) = naming.name(at, unread) {
                *unread = name;
            }
        }
        architectures.extend(held.architecture.take().map(|model| (at, model)));
        files[at].apply_parsed(held);
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
        opened_as: start,
        links: tree.links,
    })
}

/// Problems with the tensors under the names the model knows them by.
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
        found: DiscoveredFile,
        tree: &mut Tree,
        start: &mut OpenRecord,
    ) -> Result<(), OpenError> {
        let DiscoveredFile { path, location, origin: reached } = found;
        let opened = match file::open(&location) {
            Err(OpenError::Io { source, .. }) if is_name_too_long(&source) => {
                tree.problems.push(TreeError::TooDeep(directory::MAX_DEPTH).to_problem(&path));
                start.unopened(&path);
                return Ok(());
            }
            other => other?,
        };
        let failed = |error| OpenError::for_found_path(&location.display_path(), error);
        let content::ContentExamination { content, mut format, problems } =
            content::examine(&path, &opened).map_err(failed)?;
        self.problems.extend(problems);
        if reached.signed_only.is_some() {
            // Whatever it is called, it is bytes; but a pickle is one wherever it lies.
            format = format.filter(|_| content.class == ContentClass::Pickle);
        } else if shard_index::is_index_name(&path) {
            let index = read_index(&opened).map_err(failed)?;
            self.indexes.push(ParsedIndex { path: path.clone(), index });
            format = None;
        }
        let read = |format| formats::read(format, content.class, &path, &opened);
        let held = format.map(read).transpose().map_err(failed)?;
        let mut file = model_file(path, location, reached, &opened);
        (file.content, file.format) = (content, format);
        self.files.push(file);
        self.contents.push(held);
        Ok(())
    }

    /// The files that indexes list.
    fn listed(&self) -> BTreeSet<String> {
        let mut listed = BTreeSet::new();
        for ParsedIndex { path, index } in &self.indexes {
            let directory = directory_of(path);
            listed.extend(index.shards().into_iter().map(|shard| format!("{directory}{shard}")));
        }
        listed
    }

    /// Leaves out of the files of tensors what a link inside the model leads to, where the link has the name
    /// that loaders go by: the same bytes are not read twice.
    fn read_once(&mut self, listed: &BTreeSet<String>) {
        let mut together: BTreeMap<PathBuf, Vec<usize>> = BTreeMap::new();
        for (at, (file, held)) in self.files.iter().zip(&self.contents).enumerate() {
            if let (Some(_), Location::Path(place), None) = (held, &file.location, file.signed_only)
            {
                together.entry(place.clone()).or_default().push(at);
            }
        }
        for same in together.into_values().filter(|same| same.len() > 1) {
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
                if let (Some(file), Some(held)) =
                    (self.files.get_mut(at), self.contents.get_mut(at))
                {
                    (*held, file.format, file.content.role) = (None, None, FileRole::Companion);
                }
            }
        }
    }

    /// Reads the shards whose names do not tell that they hold tensors: a loader would.
    fn read_other_shards(&mut self, listed: &BTreeSet<String>) -> Result<(), OpenError> {
        for (file, held) in self.files.iter_mut().zip(&mut self.contents) {
            if held.is_some() || file.signed_only.is_some() || !listed.contains(&file.path) {
                continue;
            }
            let opened = file::open(&file.location)?;
            let failed = |error| OpenError::for_found_path(&file.location.display_path(), error);
            let (content, format, contents) =
                content::read_listed(&file.path, &opened).map_err(failed)?;
            (file.content, file.format, *held) = (content, Some(format), Some(contents));
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
    contents: &[Option<ParsedFile>],
    tree: &Tree,
    problems: &[Problem],
) -> Vec<(usize, BoundedErrors<IndexError>)> {
    let by_path: BTreeMap<&str, usize> =
        files.iter().enumerate().map(|(at, file)| (file.path.as_str(), at)).collect();
    let reported: BTreeSet<&str> = problems.iter().map(|problem| problem.file.as_str()).collect();
    let left_out: BTreeMap<&str, &str> =
        tree.skipped.iter().map(|left| (left.path.as_str(), left.reason.as_str())).collect();
    let find = |path: &str| {
        if let Some(held) = by_path.get(path).and_then(|&at| contents[at].as_ref()) {
            return ListedShard::File(held);
        }
        // The path itself or a directory on the way to it.
        let on_the_way = path.match_indices('/').map(|(end, _)| &path[..end]);
        for part in std::iter::once(path).chain(on_the_way) {
            if reported.contains(part) {
                return ListedShard::Reported;
            }
            if let Some(reason) = left_out.get(part) {
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
