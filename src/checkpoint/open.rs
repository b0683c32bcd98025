//! Opening a model: find its files, read their headers, give every tensor one name.

use super::directory::{self, Walk};
use super::problem::quoted;
use super::safetensors::{self, Entry, Header};
use super::shard_index::{self, ShardIndex};
use super::{Checkpoint, FileKind, Format, ModelFile, Problem, Tensor};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{File, OpenOptions as FileOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// How to open a model.
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    /// Follow links out of the model.
    pub allow_symlinks: bool,
    /// Relative paths that are not part of the model: its seals.
    pub exclude: Vec<String>,
    /// Files that are known to belong together, from a seal: a file that is not among them cannot
    /// change the names of their tensors.
    pub expected_files: Option<BTreeSet<String>>,
}

/// A model could not be examined at all.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub struct OpenError {
    path: String,
    source: io::Error,
}

impl OpenError {
    fn new(path: &Path, source: io::Error) -> Self {
        Self { path: path.display().to_string(), source }
    }
}

const INDEX: &str = ".safetensors.index.json";

impl Checkpoint {
    /// Opens the model at `path`, a file or a directory. Reads headers, never tensor data.
    ///
    /// # Errors
    /// [`OpenError`] when something cannot be read; whatever is wrong with what was read is in
    /// [`Checkpoint::problems`].
    pub fn open(path: &Path, options: &OpenOptions) -> Result<Checkpoint, OpenError> {
        let metadata = path.metadata().map_err(|error| OpenError::new(path, error))?;
        let single = !metadata.is_dir();
        let (root, walk) = if single {
            let mut walk = Walk::default();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            let location = path.canonicalize().map_err(|error| OpenError::new(path, error))?;
            walk.add(name.unwrap_or_default(), location, &metadata);
            (path.parent().unwrap_or(Path::new("")).to_owned(), walk)
        } else {
            let walk = directory::walk(path, options)
                .map_err(|(path, error)| OpenError::new(&path, error))?;
            (path.to_owned(), walk)
        };
        Opening::new(root, walk, single)?.checkpoint(path, options)
    }
}

/// A model being opened.
struct Opening {
    root: PathBuf,
    walk: Walk,
    files: Vec<ModelFile>,
    /// Header of every file that holds tensors, by path.
    headers: BTreeMap<String, Header>,
    indexes: BTreeMap<String, ShardIndex>,
}

impl Opening {
    fn new(root: PathBuf, mut walk: Walk, single: bool) -> Result<Self, OpenError> {
        let mut files = Vec::with_capacity(walk.files.len());
        let mut headers = BTreeMap::new();
        let mut indexes = BTreeMap::new();
        for (path, found) in &walk.files {
            let bytes = found.identity.bytes;
            let mut kind = FileKind::Other;
            if path.ends_with(".safetensors") || single {
                let header = read_header(path, &found.location, bytes)
                    .map_err(|error| OpenError::new(&found.location, error))?;
                kind = if header.tensors.is_some() { FileKind::Tensors } else { FileKind::Damaged };
                headers.insert(path.clone(), header);
            } else if path.ends_with(INDEX) {
                match read_index(path, &found.location, bytes)
                    .map_err(|error| OpenError::new(&found.location, error))?
                {
                    Ok(index) => drop(indexes.insert(path.clone(), index)),
                    Err(problem) => walk.problems.push(problem),
                }
            }
            files.push(ModelFile {
                path: path.clone(),
                location: found.location.clone(),
                bytes,
                identity: found.identity.clone(),
                kind,
            });
        }
        Ok(Self { root, walk, files, headers, indexes })
    }

    fn checkpoint(mut self, path: &Path, options: &OpenOptions) -> Result<Checkpoint, OpenError> {
        let mut problems = std::mem::take(&mut self.walk.problems);
        let mut remarks = std::mem::take(&mut self.walk.remarks);
        for header in self.headers.values_mut() {
            problems.append(&mut header.problems);
            remarks.append(&mut header.remarks);
        }
        for (path, index) in &self.indexes {
            problems.append(&mut self.check_index(path, index));
        }
        let prefixes = self.prefixes(options, &mut remarks);
        let mut tensors = Vec::new();
        for (file, entry) in self.files.iter().enumerate() {
            let Some(header) = self.headers.remove(&entry.path) else { continue };
            let prefix = prefixes.get(&entry.path).map_or("", String::as_str);
            for Entry { name, dtype, shape, range } in header.tensors.unwrap_or_default() {
                let name = if prefix.is_empty() { name } else { format!("{prefix}{name}") };
                let (offset, bytes) = (range[0], range[1] - range[0]);
                tensors.push(Tensor { name, dtype, shape, file, offset, bytes });
            }
        }
        let mut names = HashSet::with_capacity(tensors.len());
        if let Some(twice) = tensors.iter().find(|tensor| !names.insert(tensor.name.as_str())) {
            let file = &self.files[twice.file].path;
            let message = format!("two files hold a tensor of the name {}", quoted(&twice.name));
            problems
                .push(Problem::new("format/duplicate-tensor", file, message).tensor(&twice.name));
        }
        Ok(Checkpoint {
            path: path.to_owned(),
            root: self.root,
            format: Format::Safetensors,
            files: self.files,
            tensors,
            problems,
            remarks,
            not_covered: self.walk.not_covered,
        })
    }

    fn check_index(&self, path: &str, index: &ShardIndex) -> Vec<Problem> {
        let directory = directory_of(path);
        let shards = index.shards();
        let mut held = BTreeMap::new();
        let mut present = BTreeSet::new();
        for shard in shards {
            let full = format!("{directory}{shard}");
            // What was found but is no regular file has a problem of its own.
            let special = self.walk.not_covered.iter().any(|entry| entry.path == full);
            if self.walk.files.contains_key(&full) || special {
                present.insert(shard);
            }
            if let Some(Header { tensors: Some(tensors), problems, .. }) = self.headers.get(&full)
                && problems.is_empty()
            {
                let entries = tensors.iter().map(|e| (e.name.as_str(), e.range[1] - e.range[0]));
                held.insert(shard, entries.collect::<Vec<_>>());
            }
        }
        shard_index::check(path, index, &held, &present)
    }

    /// What goes before the names of a file's tensors, so that every tensor of the model has one
    /// name (`docs/formats.md`, "Names").
    fn prefixes(
        &self,
        options: &OpenOptions,
        remarks: &mut Vec<Problem>,
    ) -> BTreeMap<String, String> {
        let mut listed: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        let mut primary: BTreeMap<String, &str> = BTreeMap::new();
        for (path, index) in &self.indexes {
            let directory = directory_of(path);
            let shards = index.shards().into_iter().map(|shard| format!("{directory}{shard}"));
            listed.insert(path, shards.collect());
            // Of several indexes in a directory the plainest name is that of the model itself.
            let chosen = primary.entry(directory.to_owned()).or_insert(path);
            if (path.len(), path.as_str()) < (chosen.len(), chosen) {
                *chosen = path;
            }
        }
        let mut prefixes = BTreeMap::new();
        let mut taken: BTreeMap<String, HashSet<&str>> = BTreeMap::new();
        let known = |path: &str| options.expected_files.as_ref().is_none_or(|f| f.contains(path));
        // Known files first: a file that was put beside them must not rename their tensors.
        for round in [true, false] {
            let mut here: BTreeMap<String, Vec<(&str, &Header)>> = BTreeMap::new();
            for (path, header) in self.headers.iter().filter(|(path, _)| known(path) == round) {
                here.entry(directory_of(path).to_owned()).or_default().push((path, header));
            }
            for (directory, files) in here {
                let index = primary.get(&directory).and_then(|index| listed.get(index));
                let names = |header: &'_ Header| -> Vec<String> {
                    header.tensors.iter().flatten().map(|entry| entry.name.clone()).collect()
                };
                let mut count: BTreeMap<String, usize> = BTreeMap::new();
                if index.is_none() {
                    for name in files.iter().flat_map(|(_, header)| names(header)) {
                        *count.entry(name).or_default() += 1;
                    }
                }
                for (path, header) in files {
                    let own = taken.entry(directory.clone()).or_default();
                    let tensors = || header.tensors.iter().flatten().map(|e| e.name.as_str());
                    let apart = match index {
                        Some(listed) => !listed.contains(path),
                        None => tensors().any(|name| count.get(name).is_some_and(|n| *n > 1)),
                    } || (!round && tensors().any(|name| own.contains(name)));
                    if apart {
                        let message = "its tensors are named apart: it is not listed by the index, or other files hold tensors of the same names";
                        remarks.push(Problem::remark("format/named-apart", path, message));
                        prefixes.insert(path.to_owned(), format!("{path}:"));
                    } else {
                        own.extend(tensors());
                        prefixes.insert(path.to_owned(), directory.clone());
                    }
                }
            }
        }
        prefixes
    }
}

/// The directory part of a relative path, with its `/`; empty at the top.
fn directory_of(path: &str) -> &str {
    path.rfind('/').map_or("", |at| &path[..=at])
}

fn read_header(path: &str, location: &Path, bytes: u64) -> io::Result<Header> {
    let file = open_regular(location)?;
    let start = read_start(&file, 24.min(bytes) as usize)?;
    let len = match safetensors::header_len(path, &start, bytes) {
        Ok(len) => len,
        Err(problem) => return Ok(Header { problems: vec![problem], ..Header::default() }),
    };
    // At most 100 MB, and not past the end of the file: checked just now.
    let mut header = vec![0; len as usize];
    file.read_exact_at(&mut header, 8)?;
    Ok(safetensors::parse(path, &header, bytes))
}

fn read_index(path: &str, location: &Path, bytes: u64) -> io::Result<Result<ShardIndex, Problem>> {
    if bytes > shard_index::MAX_LEN {
        let message = format!("the index is over {} bytes long", shard_index::MAX_LEN);
        return Ok(Err(Problem::new("format/index-json", path, message)));
    }
    let mut text = vec![0; bytes as usize];
    open_regular(location)?.read_exact_at(&mut text, 0)?;
    Ok(shard_index::parse(path, &text))
}

/// Opens without blocking, should a FIFO have taken the file's place.
fn open_regular(location: &Path) -> io::Result<File> {
    FileOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(location)
}

fn read_start(file: &File, len: usize) -> io::Result<Vec<u8>> {
    let mut start = vec![0; len];
    file.read_exact_at(&mut start, 0)?;
    Ok(start)
}
