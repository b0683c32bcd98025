//! What a source claims of its files, and whether it is so.

use crate::source::ListedFile;
use tensorseal_base::display::display_name;
use tensorseal_base::hashing::{FileHashing, HashingPlan};
use tensorseal_base::hex::hex;
use tensorseal_core::judge::Finding;
use tensorseal_engine::RunReport;
use tensorseal_format::Checkpoint;

/// Adds bytes so that where they end is a part of what is hashed.
pub(super) fn update_framed(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

/// A digest of all that a model is held to: what is claimed of its files, and the digest of the seal beside it.
pub(super) fn expectations_digest(files: &[ListedFile], seal: Option<&[u8; 32]>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("tensorseal 2026 claims of a source");
    for file in files {
        for claim in &file.digests {
            update_framed(&mut hasher, file.path.as_bytes());
            update_framed(&mut hasher, claim.algorithm.name().as_bytes());
            update_framed(&mut hasher, &claim.digest);
        }
    }
    if let Some(seal) = seal {
        update_framed(&mut hasher, seal);
    }
    *hasher.finalize().as_bytes()
}

/// The digests that each file of a model is to be read for. `files` are those of the list, in its order.
pub(super) fn hashings(model: &Checkpoint, files: &[ListedFile]) -> HashingPlan {
    let of = |index: usize| {
        let claims = files.get(index).map(|file| file.digests.as_slice()).unwrap_or_default();
        let mut hashings: Vec<FileHashing> = Vec::new();
        for claim in claims {
            let hashing = FileHashing::whole(claim.algorithm);
            if !hashings.contains(&hashing) {
                hashings.push(hashing);
            }
        }
        hashings
    };
    HashingPlan::PerFile((0..model.files.len()).map(of).collect())
}

/// A finding for every file that does not have a digest that is claimed of it.
pub(super) fn mismatches(
    model: &Checkpoint,
    files: &[ListedFile],
    run: &RunReport,
) -> Vec<Finding> {
    let mut found = Vec::new();
    for (index, file) in files.iter().enumerate() {
        let digests = run.file_digests.get(index).and_then(Option::as_ref);
        let broken = file.digests.iter().find_map(|claim| {
            let digest = digests.and_then(|digests| digests.whole(claim.algorithm));
            (digest != Some(&claim.digest)).then_some((claim, digest))
        });
        let Some((claim, digest)) = broken else { continue };
        let found_hex = digest.map_or("not measured".to_owned(), hex);
        let message = format!(
            "{}: its bytes are not those that {} stands for: {} {found_hex}; {}",
            display_name(&file.path),
            claim.origin,
            claim.algorithm.name(),
            claim.remedy
        );
        let finding = Finding::new("registry/blob-differs", message)
            .in_file(&file.path)
            .with("algorithm", claim.algorithm.name())
            .with("claimed", hex(&claim.digest))
            .with("found", found_hex)
            .with("tensors", model.tensors_of(index).len());
        found.push(finding);
    }
    found
}
