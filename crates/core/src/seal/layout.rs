//! Standing in for a header that cannot be read: the layout of a file as it was sealed.

use super::document::{FileSeal, Seal, TensorSeal};
use std::collections::BTreeSet;
use tensorseal_base::severity::Severity;
use tensorseal_format::{Checkpoint, FileKind, Tensor};

/// What is known of the files whose structure is damaged, by path.
#[derive(Debug, Default)]
pub struct DamagedFiles {
    /// Files whose header could not be read (the sealed layout stands in for it).
    pub headers: BTreeSet<String>,
    /// Files that are damaged otherwise: cut short, or with bytes behind the last tensor.
    pub others: BTreeSet<String>,
}

impl DamagedFiles {
    /// Whether a file is damaged in any way.
    pub fn contains(&self, path: &str) -> bool {
        self.headers.contains(path) || self.others.contains(path)
    }
}

/// Gives every file of `model` whose layout could not be read the one it was sealed with, as far as
/// it still fits, and says which files are damaged. Tensors that lie wholly inside the file can then
/// be compared although nobody could load them.
pub fn recover_layouts(model: &mut Checkpoint, sealed: Option<&Seal>) -> DamagedFiles {
    let mut damaged = DamagedFiles::default();
    for problem in &model.problems {
        // What a file without weights asks for says nothing of its bytes.
        if problem.companion {
            continue;
        }
        // A file of tensors that is only untidy can be read.
        let untidy = problem.severity <= Severity::Low
            && model
                .model_files()
                .iter()
                .any(|file| file.kind == FileKind::Tensors && file.path == problem.file);
        if untidy {
            continue;
        }
        // A file that was cut or that grew still has the header it was sealed with.
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
        let known = sealed.tensors.iter().filter(|tensor| tensor.file == file.path);
        let fits =
            |t: &&TensorSeal| t.offset.checked_add(t.bytes).is_some_and(|end| end <= file.bytes);
        let sealed: Vec<Tensor> = known.filter(fits).map(|t| sealed_tensor(t, index)).collect();
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

/// Files without tensors can be digested whole, or as bytes outside tensors, as an older version did with
/// pickles: they are digested as they were sealed.
fn match_granularity(model: &mut Checkpoint, sealed: &Seal) {
    let full = files_of_tensors(sealed);
    let own = model.model_files().len();
    for index in 0..own {
        if !model.tensors_of(index).is_empty() {
            continue;
        }
        let Some(file) = model.files.get_mut(index) else { continue };
        let Some(known) = sealed.file(&file.path).filter(|known| !full.contains(&*known.path))
        else {
            continue;
        };
        file.kind = match (file.kind, &known.outside) {
            (FileKind::Other, Some(_)) => FileKind::Tensors,
            (FileKind::Tensors, None) => FileKind::Other,
            (kind, _) => kind,
        };
    }
}

fn files_of_tensors(sealed: &Seal) -> BTreeSet<&str> {
    sealed.tensors.iter().map(|tensor| tensor.file.as_str()).collect()
}

/// Takes every file that was sealed whole, and that tensors are read from today, for the bytes that it was to
/// whoever sealed it, and gives their paths.
///
/// Not where the model root comes from elsewhere: what a seal that nobody vouches for says must not take tensors
/// out of it.
pub fn treat_as_bytes(model: &mut Checkpoint, sealed: &Seal) -> Vec<String> {
    let full = files_of_tensors(sealed);
    let own = model.model_files().len();
    let mut taken = BTreeSet::new();
    for index in 0..own {
        let holds = !model.tensors_of(index).is_empty();
        let Some(file) = model.files.get_mut(index).filter(|_| holds) else { continue };
        let whole = |known: &&FileSeal| known.outside.is_none() && !full.contains(&*known.path);
        if sealed.file(&file.path).filter(whole).is_some() {
            file.kind = FileKind::Other;
            taken.insert(index);
        }
    }
    model.tensors.retain(|tensor| !taken.contains(&tensor.file));
    taken.into_iter().filter_map(|index| Some(model.files.get(index)?.path.clone())).collect()
}

/// Gives every file that is as long as it was sealed the layout it was sealed with, whatever its header
/// says now: each sealed digest then has its bytes.
pub fn apply_layouts(model: &mut Checkpoint, sealed: &Seal) {
    let own = model.model_files().len();
    for (index, file) in model.files[..own].iter_mut().enumerate() {
        let Some(known) = sealed.file(&file.path).filter(|known| known.bytes == file.bytes) else {
            continue;
        };
        file.kind = match known.outside {
            Some(_) => FileKind::Tensors,
            None => FileKind::Other,
        };
        model.tensors.retain(|tensor| tensor.file != index);
        let tensors = sealed.tensors.iter().filter(|tensor| tensor.file == file.path);
        model.tensors.extend(tensors.map(|tensor| sealed_tensor(tensor, index)));
    }
    sort_tensors(model);
}

/// In order of file, offset and name, as a checkpoint promises.
fn sort_tensors(model: &mut Checkpoint) {
    model.tensors.sort_by(|a, b| {
        (a.file, a.offset, a.bytes, &a.name).cmp(&(b.file, b.offset, b.bytes, &b.name))
    });
}

/// A sealed tensor as if the header of `file` had listed it.
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
