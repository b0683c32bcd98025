//! Standing in for a header that cannot be read: the layout of a file as it was sealed.

use super::document::Seal;
use crate::checkpoint::{Checkpoint, FileKind, Tensor};
use std::collections::BTreeSet;

/// What is known of the files whose structure is damaged, by path.
#[derive(Debug, Default)]
pub struct Damaged {
    /// Files whose header could not be read (the sealed layout stands in for it).
    pub headers: BTreeSet<String>,
    /// Files that are damaged otherwise: cut short, or with bytes behind the last tensor.
    pub others: BTreeSet<String>,
}

impl Damaged {
    /// Whether a file is damaged in any way.
    pub fn has(&self, path: &str) -> bool {
        self.headers.contains(path) || self.others.contains(path)
    }
}

/// Gives every file of `model` whose layout could not be read the one it was sealed with, as far as
/// it still fits, and says which files are damaged. Tensors that lie wholly inside the file can then
/// be compared although nobody could load them.
pub fn adopt(model: &mut Checkpoint, sealed: Option<&Seal>) -> Damaged {
    let mut damaged = Damaged::default();
    for problem in &model.problems {
        damaged.others.insert(problem.file.clone());
    }
    for (index, file) in model.files.iter_mut().enumerate() {
        if file.kind != FileKind::Damaged {
            continue;
        }
        damaged.headers.insert(file.path.clone());
        damaged.others.remove(&file.path);
        let Some(sealed) = sealed else { continue };
        let known = sealed.tensors.iter().filter(|tensor| tensor.file == file.path);
        let before = model.tensors.len();
        model.tensors.extend(
            known
                .filter(|t| t.offset.checked_add(t.bytes).is_some_and(|end| end <= file.bytes))
                .map(|t| Tensor {
                    name: t.name.clone(),
                    dtype: t.dtype,
                    shape: t.shape.clone(),
                    file: index,
                    offset: t.offset,
                    bytes: t.bytes,
                }),
        );
        if model.tensors.len() > before {
            file.kind = FileKind::Tensors;
        }
    }
    model.tensors.sort_by(|a, b| {
        (a.file, a.offset, a.bytes, &a.name).cmp(&(b.file, b.offset, b.bytes, &b.name))
    });
    damaged
}
