//! Lists the files of a model with the digests that a run computed.

use tensorseal_base::hashing::HashAlgorithm;
use tensorseal_base::hex::hex;
use tensorseal_engine::RunReport;
use tensorseal_format::Checkpoint;

/// A file of a model, with its digests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InventoryFile {
    /// The path relative to the model.
    pub path: String,
    /// The length in bytes.
    pub bytes: u64,
    /// The digests of the whole file, in hexadecimal.
    pub digests: Vec<(HashAlgorithm, String)>,
}

/// Returns all files of a model, in its order, with the digests that a run computed.
pub fn list_files(model: &Checkpoint, run: &RunReport) -> Vec<InventoryFile> {
    let digests = |index: usize| {
        let computed = run.file_digests.get(index).and_then(Option::as_ref);
        let of = |algorithm| Some((algorithm, hex(computed?.whole(algorithm)?)));
        HashAlgorithm::ALL.into_iter().filter_map(of).collect()
    };
    let model_files = model.files.iter().enumerate().filter(|(_, file)| file.signed_only.is_none());
    model_files
        .map(|(index, file)| InventoryFile {
            path: file.path.clone(),
            bytes: file.bytes,
            digests: digests(index),
        })
        .collect()
}
