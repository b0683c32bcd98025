//! The state that the engines of a run share: plan, files, queue, and where measurements are collected.

use super::collect::Collector;
use super::cross_check::CrossCheck;
use super::error::RunError;
use super::report::FileMeasurement;
use crate::measure::{self, TileMeasurement};
use crate::stream::checksums::ChecksumVerifier;
use crate::stream::files::FileSet;
use crate::stream::plan::{Object, Plan};
use crate::stream::progress::Progress;
use crate::stream::queue::{Tile, TileQueue};
use crate::stream::rate_limiter::RateLimiter;
use crate::stream::sequential_hasher::SequentialHasher;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use tensorseal_format::ModelFile;

/// The state that all engines of a run share.
pub(super) struct RunState<'a> {
    pub plan: &'a Plan,
    pub files: FileSet<'a>,
    pub queue: TileQueue<'a>,
    pub collector: Collector<'a>,
    /// By file; `None` if no digests of it are requested.
    pub hashers: Vec<Option<SequentialHasher<'a>>>,
    /// By file; `None` if it states no checksums or is not read.
    pub checksum_verifiers: Vec<Option<ChecksumVerifier<'a>>>,
    pub cross_check: CrossCheck,
    pub names: &'a [ModelFile],
    pub progress: &'a Progress,
    pub rate_limiter: Option<&'a RateLimiter>,
    pub file_done: &'a (dyn Fn(usize, FileMeasurement) + Sync),
    pub failure: Mutex<Option<RunError>>,
    pub device_bytes: AtomicU64,
}

impl RunState<'_> {
    /// Ends the run. The first failure is the one that is reported.
    pub(crate) fn fail(&self, error: RunError) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.queue.close();
        self.hashers.iter().flatten().for_each(SequentialHasher::close);
    }

    pub(crate) fn check_interrupt(&self) -> Result<(), RunError> {
        if self.progress.stopped() { Err(RunError::Interrupted) } else { Ok(()) }
    }

    /// Returns whether something besides the kernels needs the bytes of a file. They are then copied once
    /// for all uses.
    pub(crate) fn needs_copy(&self, file: usize) -> bool {
        self.hashers[file].is_some() || self.checksum_verifiers[file].is_some()
    }

    /// Copies a tile and its halo. The tile is also given to the sequential hasher and to the checksum
    /// verifier of its file.
    pub(crate) fn copy(&self, tile: Tile) -> Result<Arc<Vec<u8>>, RunError> {
        let object = &self.plan.objects[tile.object];
        let position = object.offset + tile.start;
        let mut copy = Vec::new();
        let len = tile.len + self.plan.halo(object, tile.end());
        self.files.copy_into(object.file, position, len, &mut copy)?;
        let copy = Arc::new(copy);
        if !self.needs_copy(object.file) {
            return Ok(copy);
        }
        // The digests and checksums of a file cover the bytes in the byte order of the file.
        let raw = self.files.raw_copy(object.file, position, tile.len)?;
        let raw = raw.map_or_else(|| Arc::clone(&copy), Arc::new);
        if let Some(verifier) = &self.checksum_verifiers[object.file] {
            verifier.add(position, &raw[..tile.len]);
        }
        if let Some(hasher) = &self.hashers[object.file] {
            hasher.submit(position, raw, tile.len);
        }
        Ok(copy)
    }

    /// Returns the error for a tile of which the engines gave different measurements.
    pub(crate) fn disagreement(&self, adapter: &str, tile: Tile, object: &Object) -> RunError {
        let start = object.offset + tile.start;
        RunError::Disagree {
            path: self.names[object.file].path.clone(),
            adapter: adapter.to_owned(),
            start,
            end: start + tile.len as u64,
        }
    }

    /// Runs the CPU twins of all kernels over the copy of a tile.
    pub(crate) fn measure_copy(&self, copy: &[u8], tile: Tile, object: &Object) -> TileMeasurement {
        let kernels = self.plan.kernels_for(object);
        measure::measure_part(copy, tile.len, tile.start, kernels, &self.plan.keys)
    }

    pub(crate) fn tile_done(
        &self,
        tile: Tile,
        object: &Object,
        last: bool,
        by_device: bool,
    ) -> Result<(), RunError> {
        self.progress.add(tile.len as u64);
        if let Some(rate_limiter) = self.rate_limiter {
            rate_limiter.throttle(tile.len as u64, self.progress);
        }
        if by_device {
            self.device_bytes.fetch_add(tile.len as u64, Relaxed);
        }
        if last && self.files.object_done(object.file)? {
            (self.file_done)(object.file, self.finished(object.file));
        }
        Ok(())
    }

    /// Returns what was measured of a file whose objects are all done. Tiles are submitted to its hasher
    /// before they are measured, so the hasher has received every byte.
    fn finished(&self, file: usize) -> FileMeasurement {
        FileMeasurement {
            digests: self.hashers[file].as_ref().and_then(SequentialHasher::digests),
            broken_checksums: self.checksum_verifiers[file]
                .as_ref()
                .map(ChecksumVerifier::failed)
                .unwrap_or_default(),
        }
    }
}
