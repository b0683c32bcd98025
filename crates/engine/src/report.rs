//! The report of a run, and the observer that receives measurements while it runs.

use super::collect::ObjectMeasurement;
use crate::measure::digest::ChainingValue;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tensorseal_base::hashing::FileDigests;

/// Which engines measured, and how fast. This is the only part of a report that depends on the machine.
#[derive(Debug, Clone, Default, Serialize)]
pub struct EngineUse {
    /// The engines that measured: `cpu`, `gpu` or `cpu+gpu`.
    pub device: String,
    /// The name of the adapter, if one was used.
    pub adapter: Option<String>,
    /// The number of CPU threads.
    pub threads: usize,
    /// The number of bytes measured.
    pub bytes_read: u64,
    /// The wall-clock time in seconds.
    pub seconds: f64,
    /// The share of the bytes that a device measured, 0 to 1.
    pub gpu_share: f64,
    /// Why the device failed during the run and the CPU continued alone.
    pub fallback: Option<String>,
    /// The number of tiles for which both engines gave the same measurements.
    pub cross_checked: u64,
}

/// What a run returns besides the measurements of objects.
#[derive(Debug, Clone, Default)]
pub struct RunReport {
    /// Which engines measured.
    pub engine: EngineUse,
    /// What `--device auto` chose, as text for people.
    pub choice: Option<String>,
    /// The digests of each file of the model, if the [plan](crate::stream::plan::Plan::file_hashing) requests them.
    pub file_digests: Vec<Option<FileDigests>>,
    /// The BLAKE3 digests of the files that were measured as one object, by index of the file.
    pub whole_files: BTreeMap<usize, ChainingValue>,
    /// The number of measured bytes that are not part of the model.
    pub signed_only_bytes: u64,
    /// The ranges that were read completely and do not have the checksum that their file states.
    pub broken_checksums: Vec<BrokenChecksum>,
}

/// A range of a file whose bytes do not have the checksum that the file states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokenChecksum {
    /// The index of the file in the model.
    pub file: usize,
    /// The index into [`ModelFile::checksums`](tensorseal_format::ModelFile::checksums).
    pub checksum: usize,
}

/// What was measured of a file as a whole, available after its last object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileMeasurement {
    /// The digests of the file, if the [plan](crate::stream::plan::Plan::file_hashing) requests them.
    pub digests: Option<FileDigests>,
    /// The indices of those [`ModelFile::checksums`](tensorseal_format::ModelFile::checksums) that do not match.
    pub broken_checksums: Vec<usize>,
}

/// The callbacks that receive measurements. Each is called from any thread.
#[derive(Clone, Copy)]
pub struct RunObserver<'a> {
    /// Called once for each object, when it is measured.
    pub object: &'a (dyn Fn(ObjectMeasurement<'_>) + Sync),
    /// Called once for each file with its index, after all its objects in the plan. The file did not
    /// change while it was read.
    pub file: &'a (dyn Fn(usize, FileMeasurement) + Sync),
}
