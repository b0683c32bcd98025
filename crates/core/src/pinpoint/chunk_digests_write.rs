//! Writes the chunk digests of a model that was just sealed, in one more pass over its tensors and in constant memory.

use super::chunk_digests::{VALUE_LEN, head, starts, value_count};
use super::subtree::{chunk_values, merge};
use crate::seal::{Seal, TensorSeal};
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use std::fs::File;
use std::io;
use tensorseal_base::system::write_all_at;
use tensorseal_engine::measure::BLOCK_LEN;
use tensorseal_engine::measure::digest::ChainingValue;
use tensorseal_engine::stream::files::{FileError, FileSet};
use tensorseal_engine::stream::plan::{Object, ObjectKind, Plan};
use tensorseal_engine::stream::progress::Progress;
use tensorseal_engine::{RunError, Threads};
use tensorseal_format::Checkpoint;

/// The number of blocks that are processed together.
const BATCH: u64 = 64;

/// An error while chunk digests are written.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum ChunkDigestWriteError {
    /// The model could not be read, or changed since it was sealed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The file could not be written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<FileError> for ChunkDigestWriteError {
    fn from(error: FileError) -> Self {
        ChunkDigestWriteError::Run(error.into())
    }
}

/// Writes the chunk digests of `seal` to `out`, an empty file. `model` must be the model that was sealed: the values of
/// every block must merge to the sealed value.
///
/// # Errors
/// Returns a [`ChunkDigestWriteError`] if the model cannot be read, changed since it was sealed, `out` fails, or the run
/// was interrupted.
pub fn write_chunk_digests(
    model: &Checkpoint,
    seal: &Seal,
    out: &File,
    threads: &Threads,
    progress: &Progress,
) -> Result<(), ChunkDigestWriteError> {
    let mut plan = Plan::everything(model, false);
    plan.objects.retain(|object| matches!(object.kind, ObjectKind::Tensor(_)));
    progress.expect(plan.bytes());
    let writer = Writer { model, files: FileSet::new(&model.files, &plan), out, progress };
    let starts = starts(seal);
    write_all_at(out, &head(seal), 0)?;
    let pool = threads.pool()?;
    for object in &plan.objects {
        let ObjectKind::Tensor(index) = object.kind else { continue };
        let name = model.tensors[index].name.as_str();
        let sealed = seal.tensors.binary_search_by(|tensor| tensor.name.as_str().cmp(name));
        let sealed = sealed.map_err(|_| writer.changed(object))?;
        let (start, sealed) = (starts[sealed], &seal.tensors[sealed]);
        if value_count(sealed) > 0 {
            let blocks = object.bytes.div_ceil(BLOCK_LEN as u64);
            for first in (0..blocks).step_by(BATCH as usize) {
                let batch = first..blocks.min(first + BATCH);
                let write = |block| writer.block(object, sealed, start, block);
                pool.install(|| batch.into_par_iter().try_for_each(write))?;
            }
        } else {
            progress.add(object.bytes);
        }
        writer.files.object_done(object.file)?;
    }
    Ok(())
}

struct Writer<'a> {
    model: &'a Checkpoint,
    files: FileSet<'a>,
    out: &'a File,
    progress: &'a Progress,
}

impl Writer<'_> {
    fn block(
        &self,
        object: &Object,
        sealed: &TensorSeal,
        start: u64,
        block: u64,
    ) -> Result<(), ChunkDigestWriteError> {
        if self.progress.stopped() {
            return Err(RunError::Interrupted.into());
        }
        let offset = block * BLOCK_LEN as u64;
        let len = (object.bytes - offset).min(BLOCK_LEN as u64) as usize;
        let mut bytes = Vec::with_capacity(len);
        self.files
            .source(object.file)?
            .read(object.offset + offset, len, &mut |part| bytes.extend_from_slice(part))
            .map_err(|error| self.files.name_error(object.file, error))?;
        let values = chunk_values(&bytes, offset);
        let root = sealed.blocks.is_empty();
        let expected = if root { Some(&sealed.blake3) } else { sealed.blocks.get(block as usize) };
        if merge(&values, root).as_ref() != expected {
            return Err(self.changed(object));
        }
        let at = start + VALUE_LEN * (offset / super::CHUNK_LEN as u64);
        let values: &[ChainingValue] = &values;
        write_all_at(self.out, values.as_flattened(), at)?;
        self.progress.add(len as u64);
        Ok(())
    }

    fn changed(&self, object: &Object) -> ChunkDigestWriteError {
        let path = self.model.files[object.file].path.clone();
        FileError::Changed { path, what: "its bytes differ from the seal".into() }.into()
    }
}
