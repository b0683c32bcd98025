//! The files of a model, with those digests of them that were made.

use tensorseal_base::hashing::HashAlgorithm;
use tensorseal_base::hex::hex;
use tensorseal_engine::RunReport;
use tensorseal_format::Checkpoint;

/// A file of the model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InventoryFile {
    /// Path relative to the model.
    pub path: String,
    /// Length in bytes.
    pub bytes: u64,
    /// Digests of the whole file, in hexadecimal.
    pub digests: Vec<(HashAlgorithm, String)>,
}

/// All files of a model, in its order, and what a run digested of them.
pub fn list_files(model: &Checkpoint, run: &RunReport) -> Vec<InventoryFile> {
    let digests = |index: usize| {
        let found = run.file_digests.get(index).and_then(Option::as_ref);
        let of = |algorithm| Some((algorithm, hex(found?.whole(algorithm)?)));
        HashAlgorithm::ALL.into_iter().filter_map(of).collect()
    };
    let own = model.files.iter().enumerate().filter(|(_, file)| file.signed_only.is_none());
    own.map(|(index, file)| InventoryFile {
        path: file.path.clone(),
        bytes: file.bytes,
        digests: digests(index),
    })
    .collect()
}
