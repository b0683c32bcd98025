//! Writing a marked copy of a model, in constant memory.
//!
//! Files are copied piece by piece, from the map to a new file; the carrier blocks of a piece are marked
//! on the way, and everything else stays as it is: header, order, other tensors, other files. The copy
//! is made under another name and renamed when it is whole.

use super::carriers::Carriers;
use super::files;
use super::key::{DITHER_SEGMENT, WatermarkKey, dither_nonce};
use super::mark::{Change, DITHER_BYTES, Rounding};
use super::payload::{PLAIN, Payload, Word};
use crate::checkpoint::Checkpoint;
use crate::engine::{self, RunError};
use crate::measure::chips::{self, CHIP_BYTES, ChipKey};
use crate::measure::correlation::{CARRIER_LEN, Carrier, Correlation};
use crate::measure::slots::{Slot, SlotSums};
use crate::stream::files::FileSet;
use crate::stream::plan::{Object, ObjectKind, Plan};
use crate::stream::progress::Progress;
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use std::collections::HashMap;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Bytes that a thread copies and marks at once: whole carrier blocks of every type.
const PIECE: u64 = 2 << 20;

/// A mark that is to be embedded.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    /// What it says; `None`: every block carries +1.
    pub payload: Option<Payload>,
    /// Its strength, relative to the weights of a block.
    pub alpha: f64,
    /// Signal to noise, in dB, below which nothing is written; negative infinity: anything goes.
    pub least_snr_db: f64,
}

/// Pieces that are worked on together: what is kept of each is small, but not nothing.
const BATCH: usize = 64;

/// What was written.
#[derive(Debug, Clone)]
pub struct Embedded {
    /// How the carriers changed.
    pub change: Change,
    /// How the key correlates with what was written.
    pub sums: SlotSums,
    /// Bytes written.
    pub bytes: u64,
}

/// Why a model could not be marked.
#[derive(Debug, thiserror::Error)]
pub enum EmbedError {
    /// It could not be read.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Something has the name already.
    #[error("{} exists: a marked model is always a new one; choose another name", .0.display())]
    Exists(PathBuf),
    /// It would change the model more than allowed.
    #[error(
        "the mark changes the weights by more than allowed: {snr_db:.2} dB signal to noise, at least {least_snr_db} dB are wanted; nothing was written"
    )]
    Loud {
        /// Measured signal to noise.
        snr_db: f64,
        /// The least that was wanted.
        least_snr_db: f64,
    },
    /// The copy could not be written.
    #[error("{}: cannot be written: {source}", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Writes a copy of `model` with a mark of `key` to `out`, which must not exist: a file if the model was
/// given as a file, else a directory.
///
/// # Errors
/// See [`EmbedError`]; nothing is left behind.
pub fn write(
    model: &Checkpoint,
    carriers: &Carriers,
    key: &WatermarkKey,
    mark: &Mark,
    out: &Path,
    threads: usize,
    progress: &Progress,
) -> Result<Embedded, EmbedError> {
    if out.symlink_metadata().is_ok() {
        return Err(EmbedError::Exists(out.to_owned()));
    }
    let failed = |source| EmbedError::Write { path: out.to_owned(), source };
    let directory = files::directory_of(out);
    let marker = Marker::new(model, carriers, key, mark, threads, progress)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".tensorseal-").suffix(".tmp");
    // What anything new would get; the umask takes its part.
    let whole = if model.path.is_dir() {
        builder.permissions(Permissions::from_mode(0o777));
        let copy = builder.tempdir_in(directory).map_err(failed)?;
        let whole = marker.write_all(&mut |path| {
            let path = copy.path().join(path);
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            File::create_new(path)
        })?;
        fs::rename(copy.path(), out).map_err(failed)?;
        // It has another name now.
        let _ = copy.keep();
        whole
    } else {
        builder.permissions(Permissions::from_mode(0o666));
        let copy = builder.tempfile_in(directory).map_err(failed)?;
        let whole = marker.write_all(&mut |_| copy.as_file().try_clone())?;
        copy.persist_noclobber(out).map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => EmbedError::Exists(out.to_owned()),
            _ => failed(error.error),
        })?;
        whole
    };
    // The name itself is as durable as the bytes.
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)?;
    Ok(whole)
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

/// What all pieces share.
struct Marker<'a> {
    model: &'a Checkpoint,
    plan: Plan,
    files: FileSet<'a>,
    /// By tensor.
    marked: HashMap<usize, Marked<'a>>,
    key: ChipKey,
    word: Word,
    mark: Mark,
    pool: rayon::ThreadPool,
    progress: &'a Progress,
}

/// A tensor that is marked.
struct Marked<'a> {
    canonical: &'a str,
    carrier: Carrier,
    rounding: Rounding,
    offset: u32,
    /// Whether its blocks count: those of a tied duplicate do not.
    counts: bool,
}

/// A part of an object.
struct Piece<'a> {
    object: &'a Object,
    start: u64,
    len: usize,
}

/// Memory that a thread uses again and again.
#[derive(Default)]
struct Buffers {
    bytes: Vec<u8>,
    chips: Vec<u8>,
    dither: Vec<u8>,
}

impl<'a> Marker<'a> {
    fn new(
        model: &'a Checkpoint,
        carriers: &'a Carriers,
        key: &WatermarkKey,
        mark: &Mark,
        threads: usize,
        progress: &'a Progress,
    ) -> Result<Self, EmbedError> {
        let all = carriers.tensors.iter().map(|carrier| (carrier.tensor, carrier, true));
        let tied = carriers
            .tied
            .iter()
            .filter_map(|(tensor, first)| Some((*tensor, carriers.tensors.get(*first)?, false)));
        let marked = all.chain(tied).filter_map(|(tensor, carrier, counts)| {
            let rounding = Rounding::of(model.tensors[tensor].dtype)?;
            let offset = key.block_offset(&carrier.canonical);
            let canonical = carrier.canonical.as_str();
            let carrier = carrier.carrier;
            Some((tensor, Marked { canonical, carrier, rounding, offset, counts }))
        });
        let plan = Plan::everything(model, false);
        progress.expect(plan.bytes());
        let pool = engine::thread_pool(threads)?;
        Ok(Self {
            model,
            files: FileSet::new(&model.files, &plan),
            plan,
            marked: marked.collect(),
            key: key.chips(),
            word: mark.payload.map_or(PLAIN, Payload::word),
            mark: *mark,
            pool,
            progress,
        })
    }

    /// Writes all files; `create` makes the file of a path.
    fn write_all(
        &self,
        create: &mut dyn FnMut(&str) -> io::Result<File>,
    ) -> Result<Embedded, EmbedError> {
        let mut whole = Embedded { change: Change::default(), sums: SlotSums::default(), bytes: 0 };
        let mut objects = self.plan.objects.iter().peekable();
        for (index, entry) in self.model.files.iter().enumerate() {
            let failed = |source| EmbedError::Write { path: PathBuf::from(&entry.path), source };
            let file = create(&entry.path).map_err(failed)?;
            file.set_len(entry.bytes).map_err(failed)?;
            let mut pieces = Vec::new();
            let mut of_file = 0;
            while let Some(object) = objects.next_if(|object| object.file == index) {
                pieces.extend((0..object.bytes).step_by(PIECE as usize).map(|start| Piece {
                    object,
                    start,
                    len: (object.bytes - start).min(PIECE) as usize,
                }));
                of_file += 1;
            }
            self.write_file(&file, &pieces, &mut whole, &failed)?;
            for _ in 0..of_file {
                self.files.object_done(index).map_err(RunError::from)?;
            }
            file.sync_all().map_err(failed)?;
            whole.bytes += entry.bytes;
        }
        let (snr_db, least_snr_db) = (whole.change.snr_db(), self.mark.least_snr_db);
        if snr_db < least_snr_db {
            return Err(EmbedError::Loud { snr_db, least_snr_db });
        }
        Ok(whole)
    }

    fn write_file(
        &self,
        file: &File,
        pieces: &[Piece<'_>],
        whole: &mut Embedded,
        failed: &(dyn Fn(io::Error) -> EmbedError + Sync),
    ) -> Result<(), EmbedError> {
        for batch in pieces.chunks(BATCH) {
            let written = self.write_batch(file, batch, failed)?;
            start_writeback(file);
            // The changes are added in the order of the pieces, whoever made them: sums of floats.
            for (change, sums) in written {
                whole.change.merge(&change);
                whole.sums.merge(&sums);
            }
        }
        Ok(())
    }

    fn write_batch(
        &self,
        file: &File,
        batch: &[Piece<'_>],
        failed: &(dyn Fn(io::Error) -> EmbedError + Sync),
    ) -> Result<Vec<(Change, SlotSums)>, EmbedError> {
        self.pool.install(|| {
            batch
                .par_iter()
                .map_init(Buffers::default, |buffers, piece| {
                    if self.progress.stopped() {
                        return Err(RunError::Interrupted.into());
                    }
                    let change = self.piece(piece, buffers)?;
                    let position = piece.object.offset + piece.start;
                    file.write_all_at(&buffers.bytes, position).map_err(failed)?;
                    self.progress.add(piece.len as u64);
                    Ok(change)
                })
                .collect()
        })
    }

    /// Copies a piece, marks it and measures the mark.
    fn piece(
        &self,
        piece: &Piece<'_>,
        buffers: &mut Buffers,
    ) -> Result<(Change, SlotSums), RunError> {
        let Piece { object, start, len } = *piece;
        let bytes = &mut buffers.bytes;
        bytes.clear();
        self.files
            .source(object.file)?
            .read(object.offset + start, len, &mut |part| bytes.extend_from_slice(part))
            .map_err(|error| self.files.name_error(object.file, error))?;
        let (mut change, mut sums) = (Change::default(), SlotSums::default());
        let marked = match object.kind {
            ObjectKind::Tensor(tensor) => self.marked.get(&tensor),
            _ => None,
        };
        let Some(marked) = marked else { return Ok((change, sums)) };
        let block_bytes = marked.carrier.elements.block_bytes();
        let first = marked.carrier.block_at(start);
        let blocks = len.div_ceil(block_bytes);
        buffers.chips.resize(blocks * CHIP_BYTES, 0);
        chips::fill(&self.key, &marked.carrier.nonce, first, &mut buffers.chips);
        self.dither(marked.canonical, first, blocks, &mut buffers.dither);
        let chips = buffers.chips.as_chunks().0.iter().zip(buffers.dither.as_chunks().0);
        for ((block, part), (chips, dither)) in
            (first..).zip(buffers.bytes.chunks_mut(block_bytes)).zip(chips)
        {
            let sign = match Slot::of(block, marked.offset) {
                Slot::Pilot => 1,
                Slot::Bit(bit) => self.word[bit],
            };
            let strength = self.mark.alpha * f64::from(sign);
            change.merge(&marked.rounding.mark(part, chips, dither, strength));
        }
        if !marked.counts {
            return Ok((Change::default(), sums));
        }
        let mut correlation = Correlation::new(1);
        let key = std::slice::from_ref(&self.key);
        correlation.add(&marked.carrier, key, first, &buffers.bytes);
        for row in &correlation.sums {
            sums.add(marked.offset, first, &correlation.energies, row);
        }
        Ok((change, sums))
    }

    /// The dither of consecutive blocks.
    fn dither(&self, canonical: &str, first: u64, blocks: usize, dither: &mut Vec<u8>) {
        const STREAM_BLOCKS: u64 = (DITHER_BYTES / CHIP_BYTES) as u64;
        dither.resize(blocks * DITHER_BYTES, 0);
        // A piece begins at a multiple of its length, and so does a segment: it lies in one.
        let (segment, block) = (first / DITHER_SEGMENT, first % DITHER_SEGMENT);
        let nonce = dither_nonce(canonical, segment);
        chips::fill(&self.key, &nonce, block * STREAM_BLOCKS, dither);
    }
}

const _: () = assert!(PIECE.is_multiple_of(4 * CARRIER_LEN as u64));
const _: () = assert!((DITHER_SEGMENT * CARRIER_LEN as u64).is_multiple_of(PIECE));
