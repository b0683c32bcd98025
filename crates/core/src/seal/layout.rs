//! Recovers the layout of a file from a seal if its header is damaged, and applies sealed layouts.

use super::document::{FileSeal, Seal, TensorSeal};
use std::collections::BTreeSet;
use tensorseal_base::severity::Severity;
use tensorseal_format::{Checkpoint, FileKind, Tensor};

/// The paths of files whose structure is damaged.
#[derive(Debug, Default)]
pub struct DamagedFiles {
    /// Files whose header could not be read, so that the sealed layout replaces it.
    pub headers: BTreeSet<String>,
    /// Files with other damage: truncated, or with bytes after the last tensor.
    pub others: BTreeSet<String>,
}

impl DamagedFiles {
    /// Returns whether a file is damaged in any way.
    pub fn contains(&self, path: &str) -> bool {
        self.headers.contains(path) || self.others.contains(path)
    }
}

/// Recovers the layout of every file of `model` whose header could not be read from the seal, as far as the layout still
/// fits, and returns which files are damaged. Tensors that lie wholly inside the file can then be compared although the
/// file cannot be loaded.
pub fn recover_layouts(model: &mut Checkpoint, sealed: Option<&Seal>) -> DamagedFiles {
    let mut damaged = DamagedFiles::default();
    for problem in &model.problems {
        // A problem of a companion file does not concern its bytes.
        if problem.companion {
            continue;
        }
        // A tensor file with only a minor problem can be read.
        let is_minor = problem.severity <= Severity::Low
            && model
                .model_files()
                .iter()
                .any(|file| file.kind == FileKind::Tensors && file.path == problem.file);
        if is_minor {
            continue;
        }
        // A truncated or extended file still has its sealed header.
        let header = !matches!(problem.rule, "format/trailing-bytes" | "format/truncated");
        let list = if header { &mut damaged.headers } else { &mut damaged.others };
        list.insert(problem.file.clone());
    }
    damaged.others.retain(|path| !damaged.headers.contains(path));
    let Some(sealed) = sealed else { return damaged };
    for (index, file) in model.files.iter_mut().enumerate() {
        let tensor_file = file.kind != FileKind::Other;
        if !tensor_file || !damaged.headers.contains(&file.path) {
            continue;
        }
        let sealed_tensors = sealed.tensors.iter().filter(|tensor| tensor.file == file.path);
        let fits =
            |t: &&TensorSeal| t.offset.checked_add(t.bytes).is_some_and(|end| end <= file.bytes);
        let sealed: Vec<Tensor> =
            sealed_tensors.filter(fits).map(|t| sealed_tensor(t, index)).collect();
        if !sealed.is_empty() {
            file.kind = FileKind::Tensors;
            model.tensors.retain(|tensor| tensor.file != index);
            model.tensors.extend(sealed);
        }
    }
    match_granularity(model, sealed);
    sort_tensors(model);
    damaged
}

/// Makes files without tensors be digested the way they were sealed: as whole files, or as gaps, as an older version did
/// with pickles.
fn match_granularity(model: &mut Checkpoint, sealed: &Seal) {
    let tensor_files = files_of_tensors(sealed);
    let model_file_count = model.model_files().len();
    for index in 0..model_file_count {
        if !model.tensors_of(index).is_empty() {
            continue;
        }
        let Some(file) = model.files.get_mut(index) else { continue };
        let Some(sealed_file) =
            sealed.file(&file.path).filter(|file| !tensor_files.contains(&*file.path))
        else {
            continue;
        };
        file.kind = match (file.kind, &sealed_file.outside) {
            (FileKind::Other, Some(_)) => FileKind::Tensors,
            (FileKind::Tensors, None) => FileKind::Other,
            (kind, _) => kind,
        };
    }
}

fn files_of_tensors(sealed: &Seal) -> BTreeSet<&str> {
    sealed.tensors.iter().map(|tensor| tensor.file.as_str()).collect()
}

/// Treats every file as bytes that was sealed as a whole file although tensors can be read from it now, and returns the
/// paths of these files.
///
/// This must not be used if the expected model root comes from another source: an untrusted seal must not remove tensors
/// from that root.
pub fn treat_as_bytes(model: &mut Checkpoint, sealed: &Seal) -> Vec<String> {
    let tensor_files = files_of_tensors(sealed);
    let model_file_count = model.model_files().len();
    let mut as_bytes = BTreeSet::new();
    for index in 0..model_file_count {
        let holds_tensors = !model.tensors_of(index).is_empty();
        let Some(file) = model.files.get_mut(index).filter(|_| holds_tensors) else { continue };
        let whole =
            |file: &&FileSeal| file.outside.is_none() && !tensor_files.contains(&*file.path);
        if sealed.file(&file.path).filter(whole).is_some() {
            file.kind = FileKind::Other;
            as_bytes.insert(index);
        }
    }
    model.tensors.retain(|tensor| !as_bytes.contains(&tensor.file));
    as_bytes.into_iter().filter_map(|index| Some(model.files.get(index)?.path.clone())).collect()
}

/// Applies the sealed layout to every file that still has its sealed length, whatever its header states now, so that
/// every sealed digest can be compared.
pub fn apply_layouts(model: &mut Checkpoint, sealed: &Seal) {
    let model_file_count = model.model_files().len();
    for (index, file) in model.files[..model_file_count].iter_mut().enumerate() {
        let Some(sealed_file) = sealed.file(&file.path).filter(|sealed| sealed.bytes == file.bytes)
        else {
            continue;
        };
        file.kind = match sealed_file.outside {
            Some(_) => FileKind::Tensors,
            None => FileKind::Other,
        };
        model.tensors.retain(|tensor| tensor.file != index);
        let tensors = sealed.tensors.iter().filter(|tensor| tensor.file == file.path);
        model.tensors.extend(tensors.map(|tensor| sealed_tensor(tensor, index)));
    }
    sort_tensors(model);
}

/// Sorts tensors by file, offset and name, as a [`Checkpoint`] requires.
fn sort_tensors(model: &mut Checkpoint) {
    model.tensors.sort_by(|a, b| {
        (a.file, a.offset, a.bytes, &a.name).cmp(&(b.file, b.offset, b.bytes, &b.name))
    });
}

/// Converts a sealed tensor to one that the header of `file` lists.
fn sealed_tensor(sealed: &TensorSeal, file: usize) -> Tensor {
    Tensor {
        name: sealed.name.clone(),
        dtype: sealed.dtype,
        shape: sealed.shape.clone(),
        strides: sealed.strides.clone(),
        file,
        offset: sealed.offset,
        bytes: sealed.bytes,
    }
}
