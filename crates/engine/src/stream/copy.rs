//! Writing a copy of a model, in constant memory.
//!
//! Files are copied piece by piece, from the map to a new file; what is to differ is edited on the way,
//! and everything else stays as it is: header, order, other tensors, other files. The copy is made
//! under another name, and gets its own when it is whole and was accepted.

use super::big_endian;
use super::files::{FileError, FileSet};
use super::plan::{Object, Plan};
use super::progress::Progress;
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use tensorseal_base::system::{set_mode, sync_directory, write_all_at};
use tensorseal_format::Checkpoint;

/// Bytes that a thread copies and edits at once.
pub const COPY_PIECE_LEN: u64 = 2 << 20;

/// Pieces that are worked on together: what is kept of each is small, but not nothing.
const BATCH: usize = 64;

/// A copy could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The model could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// Something has the name already.
    #[error("{} exists: a copy is always a new one; choose another name", .0.display())]
    Exists(PathBuf),
    /// It could not be written.
    #[error("{}: cannot be written: {source}", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// A part of an object.
#[derive(Debug, Clone, Copy)]
pub struct CopyPiece<'a> {
    /// The object.
    pub object: &'a Object,
    /// Where the piece begins in it, a multiple of [`COPY_PIECE_LEN`].
    pub start: u64,
    /// Its length, at most [`COPY_PIECE_LEN`].
    pub len: usize,
}

/// What a copy is made with.
pub struct ModelCopy<'a> {
    /// The model.
    pub model: &'a Checkpoint,
    /// All of its objects.
    pub plan: &'a Plan,
    /// The threads.
    pub pool: &'a rayon::ThreadPool,
    /// What watches.
    pub progress: &'a Progress,
}

/// Edits the bytes of a piece. `B` is memory that a thread uses again and again.
pub type Edit<'e, T, B> = &'e (dyn Fn(&CopyPiece<'_>, &mut Vec<u8>, &mut B) -> T + Sync);

impl ModelCopy<'_> {
    /// Writes the copy to `out`, which must not exist: a file if the model is a single file, else a
    /// directory. `each` gets what `edit` returns, in the order of the pieces, whoever made it; `accept`
    /// gets the place of the whole copy before it has its name.
    ///
    /// # Errors
    /// [`CopyError`], and those of `accept`; nothing is left behind.
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
        // What anything new would get; the umask takes its part.
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
            // It has another name now.
            let _ = copy.keep();
        } else {
            // Under its own name, in a directory of its own: what a file is, and what the array in it
            // is called, may depend on that.
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
        // The name itself is as durable as the bytes.
        Ok(sync_directory(directory).map_err(failed)?)
    }

    /// Writes all files; `create` makes the file of a path.
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
            let mut of_file = 0;
            while let Some(object) = objects.next_if(|object| object.file == index) {
                pieces.extend((0..object.bytes).step_by(COPY_PIECE_LEN as usize).map(|start| {
                    CopyPiece {
                        object,
                        start,
                        len: (object.bytes - start).min(COPY_PIECE_LEN) as usize,
                    }
                }));
                of_file += 1;
            }
            for batch in pieces.chunks(BATCH) {
                self.write_batch(&files, &file, batch, edit, &failed)?
                    .into_iter()
                    .for_each(&mut *each);
                start_writeback(&file);
            }
            for _ in 0..of_file {
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
                    let stretches = &self.model.files[object.file].big_endian;
                    big_endian::write_back(stretches, position, bytes, &mut |position, bytes| {
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

/// Lets the system begin to write what is in memory to the disk, so that waiting for all of it in the end
/// is short. A hint: whether it is taken does not matter.
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
