//! What a source claims of its files, and whether it is so.

use crate::checkpoint::{Checkpoint, display_name};
use crate::engine::RunReport;
use crate::judge::Finding;
use crate::registry::source::Listed;
use crate::seal::canonical::hex;
use crate::stream::hashing::{FileHashing, Hashings};

/// The digests that each file of a model is to be read for. The files are those of the list, in its order.
pub fn hashings(model: &Checkpoint, listed: &Listed) -> Hashings {
    let of = |index: usize| {
        let claims = listed.files.get(index).map(|file| file.claims.as_slice()).unwrap_or_default();
        let mut hashings: Vec<FileHashing> = Vec::new();
        for claim in claims {
            let hashing = FileHashing::whole(claim.algorithm);
            if !hashings.contains(&hashing) {
                hashings.push(hashing);
            }
        }
        hashings
    };
    Hashings::ByFile((0..model.files.len()).map(of).collect())
}

/// A finding for every file that does not have a digest that is claimed of it.
pub fn judge(model: &Checkpoint, listed: &Listed, run: &RunReport) -> Vec<Finding> {
    let mut found = Vec::new();
    for (index, file) in listed.files.iter().enumerate() {
        let digests = run.file_digests.get(index).and_then(Option::as_ref);
        let broken = file.claims.iter().find_map(|claim| {
            let digest = digests.and_then(|digests| digests.whole(claim.algorithm));
            (digest != Some(&claim.digest)).then_some((claim, digest))
        });
        let Some((claim, digest)) = broken else { continue };
        let found_hex = digest.map_or("not measured".to_owned(), hex);
        let message = format!(
            "{}: its bytes are not those that {} stands for: {} {found_hex}",
            display_name(&file.path),
            claim.place,
            claim.algorithm.name()
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
