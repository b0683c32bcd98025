//! Names the tensors of a model with several files, so that every name is unique and does not depend on files that
//! are added to the directory.

use super::links::TreeRemark;
use super::model_file::ModelFile;
use super::parsed_file::ParsedFile;
use super::paths::directory_of;
use super::problem::{ErrorLocation, Problem, StructureError};
use super::shard_index::ShardIndex;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use tensorseal_base::display::quoted;
use tensorseal_base::severity::Severity;

/// A parsed index file and its path.
pub(crate) struct ParsedIndex {
    pub path: String,
    pub index: ShardIndex,
}

/// A tensor name that cannot be made unambiguous.
#[derive(Debug, thiserror::Error)]
#[error(
    "tensor {} has the same name as another tensor of the model, or a name in the namespace of another file",
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

/// The names of all tensors.
pub(crate) struct TensorNaming {
    /// The prefix of the tensor names of each file.
    prefixes: Vec<String>,
    /// The names that are not prefix and name, by file and name in the header. `None` means that no unique name
    /// exists, and that the tensor is not listed.
    exceptions: HashMap<(usize, String), Option<String>>,
    pub problems: Vec<Problem>,
    pub remarks: Vec<Problem>,
}

impl TensorNaming {
    /// The name in the model of a tensor of a file.
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
    parsed_files: &'m [Option<ParsedFile>],
    indexes: &'m [ParsedIndex],
    expected: Option<&'m BTreeSet<String>>,
}

impl<'m> NamingInput<'m> {
    fn is_expected(&self, path: &str) -> bool {
        self.expected.is_none_or(|expected| expected.contains(path))
    }

    /// Whether an index may affect the names of a file. An index that was added cannot affect expected files.
    fn may_group(&self, index: usize, file: usize) -> bool {
        self.is_expected(&self.indexes[index].path) || !self.is_expected(&self.files[file].path)
    }

    fn tensor_files(&self) -> impl Iterator<Item = usize> + 'm {
        let parsed_files = self.parsed_files;
        (0..parsed_files.len()).filter(move |&file| parsed_files[file].is_some())
    }

    fn names(&self, file: usize) -> impl Iterator<Item = &'m str> + use<'m> {
        self.parsed_files[file].iter().flat_map(ParsedFile::names)
    }

    /// The primary index of each directory, by directory.
    fn primary_indexes(&self) -> BTreeMap<&'m str, usize> {
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
    parsed_files: &[Option<ParsedFile>],
    indexes: &[ParsedIndex],
    expected: Option<&BTreeSet<String>>,
) -> TensorNaming {
    let model = NamingInput { files, parsed_files, indexes, expected };
    let by_path: HashMap<&str, usize> =
        files.iter().enumerate().map(|(at, file)| (file.path.as_str(), at)).collect();
    let primaries = model.primary_indexes();

    // The index that lists each file.
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
    for siblings in loose.values() {
        for file in sharing_names(&model, siblings) {
            let path = &files[file].path;
            naming.prefixes[file] = format!("{path}:");
            let remark = TreeRemark::SharedNames { path: path.clone() };
            naming.remarks.push(remark.to_problem(path));
        }
    }
    report_foreign_namespaces(&model, &mut naming);
    make_unique(&model, &group, &mut naming);
    naming
}

/// Reports tensor names in a file that look like the qualified names of another file, such as `text_encoder/w` if
/// there are files in `text_encoder/`. Otherwise two different models could have the same root.
fn report_foreign_namespaces(model: &NamingInput<'_>, naming: &mut TensorNaming) {
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
            let mut separators = name.match_indices(['/', ':']).filter(|(at, _)| *at >= prefix);
            let is_foreign = separators.any(|(at, separator)| match separator {
                "/" => directories.contains(&name[..=at]),
                _ => paths.contains(&name[..at]),
            });
            if is_foreign {
                let path = &model.files[file].path;
                naming.problems.push(AmbiguousName { tensor: name }.to_problem(path));
                break;
            }
        }
    }
}

/// Among files in one directory without an index, finds those that share a tensor name with another file of the
/// same format, with a file of a preferred format, or with an expected file.
fn sharing_names(model: &NamingInput<'_>, siblings: &[usize]) -> BTreeSet<usize> {
    let mut sharing = BTreeSet::new();
    if siblings.len() < 2 {
        return sharing;
    }
    let expected = |file: usize| model.is_expected(&model.files[file].path);
    let mut first: HashMap<&str, usize> = HashMap::new();
    let rank = |file: usize| (!expected(file), model.files[file].format);
    let mut in_order = siblings.to_vec();
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

/// Gives a unique name to every tensor whose name is taken.
fn make_unique(model: &NamingInput<'_>, group: &[Option<usize>], naming: &mut TensorNaming) {
    let mut order: Vec<usize> = model.tensor_files().collect();
    if order.len() < 2 {
        return;
    }
    order.sort_by_key(|&file| {
        (!model.is_expected(&model.files[file].path), group[file].is_none(), file)
    });
    // Of a tensor in two shards, the one in the shard that the index lists comes first.
    let is_indexed = |file: usize, tensor: &str| {
        group[file].is_none_or(|index| {
            let ParsedIndex { path, index } = &model.indexes[index];
            index.weight_map.get(tensor).is_some_and(|shard| {
                let file = &model.files[file].path;
                file.strip_prefix(directory_of(path)) == Some(shard)
            })
        })
    };
    let mut taken: HashSet<String> = HashSet::new();
    let mut postponed: Vec<(usize, &str)> = Vec::new();
    for &file in &order {
        let Some(parsed) = &model.parsed_files[file] else { continue };
        for tensor in &parsed.tensors {
            let name = format!("{}{}", naming.prefixes[file], tensor.name);
            if !is_indexed(file, &tensor.name) || !taken.insert(name) {
                postponed.push((file, &tensor.name));
            }
        }
    }
    for (file, tensor) in postponed {
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
