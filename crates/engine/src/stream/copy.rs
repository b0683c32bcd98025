//! Writes an edited copy of a model, in constant memory.
//!
//! Files are copied piece by piece from the memory map to new files, and pieces are edited on the way.
//! Everything else stays the same: header, order, other tensors, other files. The copy is written under
//! a temporary name, and renamed when it is complete and was accepted.

use super::big_endian;
use super::files::{FileError, FileSet};
use super::plan::{Object, Plan};
use super::progress::Progress;
use crate::worker_pool::WorkerPool;
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use tensorseal_base::system::{set_mode, sync_directory, write_all_at};
use tensorseal_format::Checkpoint;

/// The number of bytes that a thread copies and edits at once.
pub const COPY_PIECE_LEN: u64 = 2 << 20;

/// The number of pieces whose results are kept in memory at once.
const BATCH: usize = 64;

/// A copy could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The model could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The output already exists.
    #[error("{} already exists; choose another name for the copy", .0.display())]
    Exists(PathBuf),
    /// The copy could not be written.
    #[error("{}: cannot be written: {source}", path.display())]
    Write {
        /// The path of the file or directory.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The run was stopped through [`Progress::stop`].
    #[error("interrupted")]
    Interrupted,
}

/// A part of an object, copied and edited at once.
#[derive(Debug, Clone, Copy)]
pub struct CopyPiece<'a> {
    /// The object that the piece belongs to.
    pub object: &'a Object,
    /// The position of the piece in the object, a multiple of [`COPY_PIECE_LEN`].
    pub start: u64,
    /// The length of the piece in bytes, at most [`COPY_PIECE_LEN`].
    pub len: usize,
}

/// A copy of a model to be written.
pub struct ModelCopy<'a> {
    /// The model that is copied.
    pub model: &'a Checkpoint,
    /// A plan with all objects of the model.
    pub plan: &'a Plan,
    /// The threads that copy and edit.
    pub pool: &'a WorkerPool,
    /// Counts the bytes that were copied, and stops the copy.
    pub progress: &'a Progress,
}

/// Edits the bytes of a piece. `B` is a buffer that a thread reuses for all its pieces.
pub type Edit<'e, T, B> = &'e (dyn Fn(&CopyPiece<'_>, &mut Vec<u8>, &mut B) -> T + Sync);

impl ModelCopy<'_> {
    /// Writes the copy to `out`, which must not exist: a file if the model is a single file, otherwise a
    /// directory. `each` receives what `edit` returned, in the order of the pieces. `accept` receives the
    /// temporary path of the complete copy before it is renamed.
    ///
    /// # Errors
    /// Returns a [`CopyError`] if `out` exists, if the model cannot be read or the copy cannot be written,
    /// or if the run is stopped, and the error of `accept`. No files remain in these cases.
    pub fn write<T: Send, B: Default, E: From<CopyError>>(
        &self,
        out: &Path,
        edit: Edit<'_, T, B>,
        each: &mut dyn FnMut(T),
        accept: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<(), E> {
        if out.symlink_metadata().is_ok() {
            return Err(CopyError::Exists(out.to_owned()).into());
        }
        let failed = |source| CopyError::Write { path: out.to_owned(), source };
        let directory = match out.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let mut builder = tempfile::Builder::new();
        builder.prefix(".tensorseal-").suffix(".tmp");
        // The mode of any new file or directory; the umask applies.
        if !self.model.is_single_file() {
            set_mode(&mut builder, 0o777);
            let copy = builder.tempdir_in(directory).map_err(failed)?;
            let mut create = |path: &str| {
                let path = copy.path().join(path);
                path.parent().map_or(Ok(()), fs::create_dir_all)?;
                File::create_new(path)
            };
            self.write_all(&mut create, edit, each)?;
            accept(copy.path())?;
            fs::rename(copy.path(), out).map_err(failed)?;
            // The directory was renamed, so there is nothing to remove.
            let _ = copy.keep();
        } else {
            // The file keeps its name, in a temporary directory: its format, and the name of the array
            // in it, may depend on the name.
            let place = builder.tempdir_in(directory).map_err(failed)?;
            let name = self.model.files.first().map_or("", |file| &file.path);
            let mut builder = tempfile::Builder::new();
            builder.prefix(name).rand_bytes(0);
            set_mode(&mut builder, 0o666);
            let copy = builder.tempfile_in(place.path()).map_err(failed)?;
            self.write_all(&mut |_| copy.as_file().try_clone(), edit, each)?;
            accept(copy.path())?;
            copy.persist_noclobber(out).map_err(|error| match error.error.kind() {
                io::ErrorKind::AlreadyExists => CopyError::Exists(out.to_owned()),
                _ => failed(error.error),
            })?;
        }
        // Makes the name as durable as the bytes.
        Ok(sync_directory(directory).map_err(failed)?)
    }

    /// Writes all files; `create` creates the file of a path.
    fn write_all<T: Send, B: Default>(
        &self,
        create: &mut dyn FnMut(&str) -> io::Result<File>,
        edit: Edit<'_, T, B>,
        each: &mut dyn FnMut(T),
    ) -> Result<(), CopyError> {
        let files = FileSet::new(&self.model.files, self.plan);
        let mut objects = self.plan.objects.iter().peekable();
        for (index, entry) in self.model.model_files().iter().enumerate() {
            let failed = |source| CopyError::Write { path: PathBuf::from(&entry.path), source };
            let file = create(&entry.path).map_err(failed)?;
            file.set_len(entry.bytes).map_err(failed)?;
            let mut pieces = Vec::new();
            let mut object_count = 0;
            while let Some(object) = objects.next_if(|object| object.file == index) {
                pieces.extend((0..object.bytes).step_by(COPY_PIECE_LEN as usize).map(|start| {
                    CopyPiece {
                        object,
                        start,
                        len: (object.bytes - start).min(COPY_PIECE_LEN) as usize,
                    }
                }));
                object_count += 1;
            }
            for batch in pieces.chunks(BATCH) {
                self.write_batch(&files, &file, batch, edit, &failed)?
                    .into_iter()
                    .for_each(&mut *each);
                start_writeback(&file);
            }
            for _ in 0..object_count {
                files.object_done(index)?;
            }
            file.sync_all().map_err(failed)?;
        }
        Ok(())
    }

    fn write_batch<T: Send, B: Default>(
        &self,
        files: &FileSet<'_>,
        file: &File,
        batch: &[CopyPiece<'_>],
        edit: Edit<'_, T, B>,
        failed: &(dyn Fn(io::Error) -> CopyError + Sync),
    ) -> Result<Vec<T>, CopyError> {
        self.pool.install(|| {
            batch
                .par_iter()
                .map_init(<(Vec<u8>, B)>::default, |(bytes, buffers), piece| {
                    if self.progress.stopped() {
                        return Err(CopyError::Interrupted);
                    }
                    let CopyPiece { object, start, len } = *piece;
                    let position = object.offset + start;
                    files.copy_into(object.file, position, len, bytes)?;
                    let edited = edit(piece, bytes, buffers);
                    let ranges = &self.model.files[object.file].big_endian;
                    big_endian::write_back(ranges, position, bytes, &mut |position, bytes| {
                        write_all_at(file, bytes, position)
                    })
                    .map_err(failed)?;
                    self.progress.add(len as u64);
                    Ok(edited)
                })
                .collect()
        })
    }
}

/// Asks the system to begin writing to the disk, so that the final sync is short. This is a hint that may
/// be ignored.
fn start_writeback(file: &File) {
    #[cfg(target_os = "linux")]
    {
        use std::os::fd::AsRawFd;
        // SAFETY: the descriptor is open, and no memory is touched.
        unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = file;
}
