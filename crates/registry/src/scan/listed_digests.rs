//! Compares files with the digests that their source states.

use crate::source::ListedFile;
use tensorseal_base::display::display_name;
use tensorseal_base::hashing::{FileHashing, HashAlgorithm, HashingPlan};
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
            "{MISMATCH}{} ({}): {}",
            listed.origin,
            measured(listed.algorithm, digest.map(|_| found_hex.as_str())),
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

/// The start of the message about a file that does not have its digest.
const MISMATCH: &str = "does not match ";

/// The number of digits of a digest in a message. The evidence has all of them.
const SHOWN_DIGITS: usize = 12;

/// Returns the digest of a file as its message shows it: `SHA-256 now 451f0e3c9a70…`.
fn measured(algorithm: HashAlgorithm, digest: Option<&str>) -> String {
    let name = match algorithm {
        HashAlgorithm::Sha256 => "SHA-256",
        HashAlgorithm::Blake2b => "BLAKE2b",
        HashAlgorithm::Blake3 => "BLAKE3",
        HashAlgorithm::GitBlob => "git blob id",
    };
    match digest {
        Some(digest) => format!("{name} now {}…", &digest[..SHOWN_DIGITS.min(digest.len())]),
        None => format!("{name} not measured"),
    }
}

/// Describes the findings about files that are not those that their source states, each a file and a message, in a
/// sentence without the remedy. Returns `None` if there are none.
pub(super) fn describe<'a>(
    mut mismatches: impl Iterator<Item = (Option<&'a str>, &'a str)>,
) -> Option<String> {
    let (file, message) = mismatches.next()?;
    let place = file.map(display_name).unwrap_or_default();
    let what = match message.split_once("): ") {
        Some((mismatch, _)) if message.starts_with(MISMATCH) => format!("{place} {mismatch})"),
        _ => format!("{place}: {message}"),
    };
    let more = match mismatches.count() {
        0 => String::new(),
        1 => ", and 1 more file differs".to_owned(),
        n => format!(", and {n} more files differ"),
    };
    Some(format!("{what}{more}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mismatches_are_described_without_the_remedy() {
        let digest = measured(HashAlgorithm::Sha256, Some("451f0e3c9a70b2d4"));
        let message = format!("{MISMATCH}model.sig ({digest}): restore it");
        let signed = (Some("a/README.md"), message.as_str());
        let layer = (Some("b"), "the layer is longer than its manifest states");
        let described =
            |all: &[(Option<&'static str>, &'static str)]| describe(all.iter().copied());
        assert_eq!(described(&[]), None);
        let text = "a/README.md does not match model.sig (SHA-256 now 451f0e3c9a70…)";
        assert_eq!(describe([signed].into_iter()).as_deref(), Some(text));
        let both = describe([signed, layer].into_iter());
        assert_eq!(both, Some(format!("{text}, and 1 more file differs")));
        let text = "b: the layer is longer than its manifest states";
        assert_eq!(described(&[layer]).as_deref(), Some(text));
        let more = described(&[layer; 3]);
        assert_eq!(more, Some(format!("{text}, and 2 more files differ")));
    }
}
