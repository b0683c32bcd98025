//! What a run says of itself, and whom it tells of what it measured.

use super::collect::ObjectMeasurement;
use crate::measure::digest::ChainingValue;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tensorseal_base::hashing::FileDigests;

/// Who measured, and how fast: the only part of a report that depends on the machine.
#[derive(Debug, Clone, Default, Serialize)]
pub struct EngineUse {
    /// `cpu`, `gpu` or `cpu+gpu`: who measured.
    pub device: String,
    /// Name of the adapter, if one was used.
    pub adapter: Option<String>,
    /// CPU threads.
    pub threads: usize,
    /// Bytes measured.
    pub bytes_read: u64,
    /// Wall time in seconds.
    pub seconds: f64,
    /// Share of the bytes that a device measured, 0 to 1.
    pub gpu_share: f64,
    /// Why the device was left in the middle of the run.
    pub fallback: Option<String>,
    /// Tiles that both engines measured and agreed on.
    pub cross_checked: u64,
}

/// What a run did, besides its measurements.
#[derive(Debug, Clone, Default)]
pub struct RunReport {
    /// Who measured.
    pub engine: EngineUse,
    /// What `auto` chose, in words.
    pub choice: Option<String>,
    /// By file of the model, when [asked for](crate::stream::plan::Plan::file_hashing).
    pub file_digests: Vec<Option<FileDigests>>,
    /// BLAKE3 of the files that were measured whole, by index of the file.
    pub whole_files: BTreeMap<usize, ChainingValue>,
    /// Bytes that were measured and are not part of the model.
    pub signed_only_bytes: u64,
    /// Stretches whose bytes were all read and do not have the checksum that their file states.
    pub broken_checksums: Vec<BrokenChecksum>,
}

/// See [`RunReport::broken_checksums`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokenChecksum {
    /// Index of the file in the model.
    pub file: usize,
    /// Index into [`ModelFile::checksums`](tensorseal_format::ModelFile::checksums).
    pub checksum: usize,
}

/// What was found of a file besides its objects, when the last of those was measured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileMeasurement {
    /// Its digests, when [asked for](crate::stream::plan::Plan::file_hashing).
    pub digests: Option<FileDigests>,
    /// Of [`ModelFile::checksums`](tensorseal_format::ModelFile::checksums), those that do not hold.
    pub broken_checksums: Vec<usize>,
}

/// Who is told of what was measured, once of each, from any thread.
#[derive(Clone, Copy)]
pub struct RunObserver<'a> {
    /// Of an object.
    pub object: &'a (dyn Fn(ObjectMeasurement<'_>) + Sync),
    /// Of a file, by its index, when all its objects in the plan were told of: it did not change meanwhile.
    pub file: &'a (dyn Fn(usize, FileMeasurement) + Sync),
}
