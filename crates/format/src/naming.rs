//! What tensors are called when a model has several files, so that every name is there once and
//! does not depend on what else was put beside it.

use super::links::TreeRemark;
use super::model_file::ModelFile;
use super::parsed_file::ParsedFile;
use super::paths::directory_of;
use super::problem::{ErrorLocation, Problem, StructureError};
use super::shard_index::ShardIndex;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use tensorseal_base::display::quoted;
use tensorseal_base::severity::Severity;

/// An index file that was read.
pub(crate) struct ParsedIndex {
    pub path: String,
    pub index: ShardIndex,
}

/// A name that could not be made unambiguous.
#[derive(Debug, thiserror::Error)]
#[error(
    "tensor {} has the name of another tensor of the model, or one that tensors of another file have",
    quoted(tensor)
)]
struct AmbiguousName {
    tensor: String,
}

impl StructureError for AmbiguousName {
    fn rule(&self) -> (&'static str, Severity) {
        ("format/ambiguous-name", Severity::High)
    }

    fn location(&self) -> ErrorLocation<'_> {
        ErrorLocation { tensor: Some(&self.tensor), ..ErrorLocation::default() }
    }
}

/// The names given.
pub(crate) struct TensorNaming {
    /// What stands before the names of each file.
    prefixes: Vec<String>,
    /// Names that are not prefix and name, by file and name in the header; `None`: no name was
    /// left, the tensor is not listed.
    exceptions: HashMap<(usize, String), Option<String>>,
    pub problems: Vec<Problem>,
    pub remarks: Vec<Problem>,
}

impl TensorNaming {
    /// The name that the model knows a tensor of a file by.
    pub(crate) fn name(&self, file: usize, tensor: &str) -> Option<String> {
        if !self.exceptions.is_empty()
            && let Some(name) = self.exceptions.get(&(file, tensor.to_owned()))
        {
            return name.clone();
        }
        Some(format!("{}{tensor}", self.prefixes[file]))
    }
}

struct NamingInput<'m> {
    files: &'m [ModelFile],
    reports: &'m [Option<ParsedFile>],
    indexes: &'m [ParsedIndex],
    expected: Option<&'m BTreeSet<String>>,
}

impl<'m> NamingInput<'m> {
    fn is_expected(&self, path: &str) -> bool {
        self.expected.is_none_or(|expected| expected.contains(path))
    }

    /// Whether an index has a say about a file: one that was added has none about what was there.
    fn may_group(&self, index: usize, file: usize) -> bool {
        self.is_expected(&self.indexes[index].path) || !self.is_expected(&self.files[file].path)
    }

    fn tensor_files(&self) -> impl Iterator<Item = usize> + 'm {
        let reports = self.reports;
        (0..reports.len()).filter(move |&file| reports[file].is_some())
    }

    fn names(&self, file: usize) -> impl Iterator<Item = &'m str> + use<'m> {
        self.reports[file].iter().flat_map(ParsedFile::names)
    }

    /// The first index of each directory, by directory.
    fn primaries(&self) -> BTreeMap<&'m str, usize> {
        let key = |&at: &usize| {
            let path = &self.indexes[at].path;
            let name = &path[directory_of(path).len()..];
            (!self.is_expected(path), name != "model.safetensors.index.json", name.len(), name)
        };
        let mut primaries: BTreeMap<&str, usize> = BTreeMap::new();
        let readable = (0..self.indexes.len()).filter(|&at| self.indexes[at].index.readable);
        for at in readable {
            primaries
                .entry(directory_of(&self.indexes[at].path))
                .and_modify(|best| {
                    if key(&at) < key(best) {
                        *best = at;
                    }
                })
                .or_insert(at);
        }
        primaries
    }
}

/// Names the tensors of all files. `files` are in byte order of their paths.
pub(crate) fn name_all(
    files: &[ModelFile],
    reports: &[Option<ParsedFile>],
    indexes: &[ParsedIndex],
    expected: Option<&BTreeSet<String>>,
) -> TensorNaming {
    let model = NamingInput { files, reports, indexes, expected };
    let by_path: HashMap<&str, usize> =
        files.iter().enumerate().map(|(at, file)| (file.path.as_str(), at)).collect();
    let primaries = model.primaries();

    // Which index speaks for a file.
    let mut group: Vec<Option<usize>> = vec![None; files.len()];
    for (&directory, &index) in &primaries {
        for shard in indexes[index].index.shards() {
            if let Some(&file) = by_path.get(format!("{directory}{shard}").as_str())
                && group[file].is_none()
                && model.may_group(index, file)
            {
                group[file] = Some(index);
            }
        }
    }

    let mut naming = TensorNaming {
        prefixes: files.iter().map(|file| directory_of(&file.path).to_owned()).collect(),
        exceptions: HashMap::new(),
        problems: Vec::new(),
        remarks: Vec::new(),
    };
    let mut loose: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for file in model.tensor_files() {
        let path = &files[file].path;
        let directory = directory_of(path);
        match (group[file], primaries.get(directory)) {
            (Some(index), _) => {
                naming.prefixes[file] = directory_of(&indexes[index].path).to_owned();
            }
            (None, Some(&index)) if model.may_group(index, file) => {
                naming.prefixes[file] = format!("{path}:");
                let remark = TreeRemark::NotInIndex { path: path.clone() };
                naming.remarks.push(remark.to_problem(path));
            }
            _ => loose.entry(directory).or_default().push(file),
        }
    }
    for together in loose.values() {
        for file in sharing_names(&model, together) {
            let path = &files[file].path;
            naming.prefixes[file] = format!("{path}:");
            let remark = TreeRemark::SharedNames { path: path.clone() };
            naming.remarks.push(remark.to_problem(path));
        }
    }
    refuse_joined(&model, &mut naming);
    make_unique(&model, &group, &mut naming);
    naming
}

/// Refuses names that a file gives its own tensors and that another file's tensors would have by where they lie:
/// `text_encoder/w` beside the files of `text_encoder/`. One root would stand for two models.
fn refuse_joined(model: &NamingInput<'_>, naming: &mut TensorNaming) {
    let mut directories: BTreeSet<&str> = BTreeSet::new();
    let mut paths: BTreeSet<&str> = BTreeSet::new();
    for file in model.tensor_files() {
        let path = model.files[file].path.as_str();
        directories.insert(directory_of(path));
        paths.insert(path);
    }
    for file in model.tensor_files() {
        let prefix = naming.prefixes[file].len();
        for tensor in model.names(file).filter(|name| name.contains(['/', ':'])) {
            let name = format!("{}{tensor}", naming.prefixes[file]);
            let mut own = name.match_indices(['/', ':']).filter(|(at, _)| *at >= prefix);
            let is_joined = own.any(|(at, mark)| match mark {
                "/" => directories.contains(&name[..=at]),
                _ => paths.contains(&name[..at]),
            });
            if is_joined {
                let path = &model.files[file].path;
                naming.problems.push(AmbiguousName { tensor: name }.to_problem(path));
                break;
            }
        }
    }
}

/// Of files in one directory without an index, those with a tensor that another of the same format has
/// too, and those with one that a file of a preferred format or an expected file has.
fn sharing_names(model: &NamingInput<'_>, together: &[usize]) -> BTreeSet<usize> {
    let mut sharing = BTreeSet::new();
    if together.len() < 2 {
        return sharing;
    }
    let expected = |file: usize| model.is_expected(&model.files[file].path);
    let mut first: HashMap<&str, usize> = HashMap::new();
    let rank = |file: usize| (!expected(file), model.files[file].format);
    let mut in_order = together.to_vec();
    in_order.sort_by_key(|&file| rank(file));
    for file in in_order {
        for name in model.names(file) {
            let other = *first.entry(name).or_insert(file);
            if other != file {
                sharing.insert(file);
                if rank(other) == rank(file) {
                    sharing.insert(other);
                }
            }
        }
    }
    sharing
}

/// Gives a name of its own to every tensor whose name is taken.
fn make_unique(model: &NamingInput<'_>, group: &[Option<usize>], naming: &mut TensorNaming) {
    let mut order: Vec<usize> = model.tensor_files().collect();
    if order.len() < 2 {
        return;
    }
    order.sort_by_key(|&file| {
        (!model.is_expected(&model.files[file].path), group[file].is_none(), file)
    });
    // Of a tensor in two shards, the one that the index means comes first.
    let is_meant = |file: usize, tensor: &str| {
        group[file].is_none_or(|index| {
            let ParsedIndex { path, index } = &model.indexes[index];
            index.weight_map.get(tensor).is_some_and(|shard| {
                let file = &model.files[file].path;
                file.strip_prefix(directory_of(path)) == Some(shard)
            })
        })
    };
    let mut taken: HashSet<String> = HashSet::new();
    let mut late: Vec<(usize, &str)> = Vec::new();
    for &file in &order {
        let Some(report) = &model.reports[file] else { continue };
        for tensor in &report.tensors {
            let name = format!("{}{}", naming.prefixes[file], tensor.name);
            if !is_meant(file, &tensor.name) || !taken.insert(name) {
                late.push((file, &tensor.name));
            }
        }
    }
    for (file, tensor) in late {
        let path = &model.files[file].path;
        let plain = format!("{}{tensor}", naming.prefixes[file]);
        if taken.insert(plain.clone()) {
            continue;
        }
        let qualified = format!("{path}:{tensor}");
        let name = if taken.insert(qualified.clone()) {
            Some(qualified)
        } else {
            naming.problems.push(AmbiguousName { tensor: plain }.to_problem(path));
            None
        };
        naming.exceptions.insert((file, tensor.to_owned()), name);
    }
}
