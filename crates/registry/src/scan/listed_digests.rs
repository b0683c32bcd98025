//! Compares files with the digests that their source states.

use crate::source::ListedFile;
use tensorseal_base::display::display_name;
use tensorseal_base::hashing::{FileHashing, HashingPlan};
use tensorseal_base::hex::hex;
use tensorseal_core::judge::Finding;
use tensorseal_engine::RunReport;
use tensorseal_format::Checkpoint;

/// Hashes bytes with a length prefix, so that their end is unambiguous.
pub(super) fn update_framed(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

/// Returns a digest of everything against which a model is checked: the stated digests of its files, and the digest of
/// its seal.
pub(super) fn expectations_digest(files: &[ListedFile], seal: Option<&[u8; 32]>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("tensorseal 2026 listed_digests of a source");
    for file in files {
        for listed in &file.digests {
            update_framed(&mut hasher, file.path.as_bytes());
            update_framed(&mut hasher, listed.algorithm.name().as_bytes());
            update_framed(&mut hasher, &listed.digest);
        }
    }
    if let Some(seal) = seal {
        update_framed(&mut hasher, seal);
    }
    *hasher.finalize().as_bytes()
}

/// Returns the hash functions that must be computed for each file of a model. `files` are the listed files in order.
pub(super) fn hashings(model: &Checkpoint, files: &[ListedFile]) -> HashingPlan {
    let of = |index: usize| {
        let listed_digests =
            files.get(index).map(|file| file.digests.as_slice()).unwrap_or_default();
        let mut hashings: Vec<FileHashing> = Vec::new();
        for listed in listed_digests {
            let hashing = FileHashing::whole(listed.algorithm);
            if !hashings.contains(&hashing) {
                hashings.push(hashing);
            }
        }
        hashings
    };
    HashingPlan::PerFile((0..model.files.len()).map(of).collect())
}

/// Returns a finding for every file that does not have a digest that its source states.
pub(super) fn mismatches(
    model: &Checkpoint,
    files: &[ListedFile],
    run: &RunReport,
) -> Vec<Finding> {
    let mut found = Vec::new();
    for (index, file) in files.iter().enumerate() {
        let digests = run.file_digests.get(index).and_then(Option::as_ref);
        let mismatch = file.digests.iter().find_map(|listed| {
            let digest = digests.and_then(|digests| digests.whole(listed.algorithm));
            (digest != Some(&listed.digest)).then_some((listed, digest))
        });
        let Some((listed, digest)) = mismatch else { continue };
        let found_hex = digest.map_or("not measured".to_owned(), hex);
        let message = format!(
            "{}: its digest differs from {}: {} {found_hex}; {}",
            display_name(&file.path),
            listed.origin,
            listed.algorithm.name(),
            listed.remedy
        );
        let finding = Finding::new("registry/blob-differs", message)
            .in_file(&file.path)
            .with("algorithm", listed.algorithm.name())
            .with("claimed", hex(&listed.digest))
            .with("found", found_hex)
            .with("tensors", model.tensors_of(index).len());
        found.push(finding);
    }
    found
}
