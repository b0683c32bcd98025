//! Reads the sidecars of a model: its seal and its signature.

use crate::source::{ListedDigest, ListedFile, SourceError};
use std::collections::HashMap;
use tensorseal_base::severity::Severity;
use tensorseal_core::judge::Finding;
use tensorseal_core::seal::{self, Seal, SealError};
use tensorseal_format::{Checkpoint, Location, RemoteError, read_whole};
use tensorseal_signing::{self as signing, BUNDLE_FILE_NAME as SIGNATURE, Manifest};

/// The longest signature that is read, in bytes. That of the largest allowed number of files fits.
const MAX_SIGNATURE: u64 = 64 << 20;

/// Adds the digests in the signature of a model to its files, or returns the finding that the signature is invalid. The
/// signature is not verified: this detects a file that was changed without its signature, but not if both were changed.
pub(super) fn add_signed_digests(model: &Checkpoint, files: &mut [ListedFile]) -> Option<Finding> {
    let signature = model.model_files().iter().find(|file| file.path == SIGNATURE)?;
    let stated = match read_whole(model, SIGNATURE, MAX_SIGNATURE) {
        Some(bundle) => signing::parse_unverified(&bundle).map_err(|error| error.to_string()),
        None if signature.bytes > MAX_SIGNATURE => {
            Err(format!("it has {} bytes, more than the limit of {MAX_SIGNATURE}", signature.bytes))
        }
        // The file is being written or cannot be read, which the check itself reports.
        None => return None,
    };
    match stated {
        Ok(manifest) => {
            add_manifest_digests(manifest, files);
            None
        }
        Err(reason) => {
            let message = format!("the signature is invalid: {reason}");
            let mut finding =
                Finding::new("signature/bundle-invalid", message.replace(['\n', '\r'], " "));
            // A scan does not rely on the signature.
            finding.severity = Severity::Medium;
            Some(finding.in_file(SIGNATURE))
        }
    }
}

/// Adds the digests of a manifest to the files. Digests of shards are not used.
fn add_manifest_digests(manifest: Manifest, files: &mut [ListedFile]) {
    let algorithm = manifest.hashing.algorithm;
    let whole = manifest.resources.into_iter().filter(|resource| resource.range.is_none());
    let mut stated: HashMap<String, Vec<u8>> =
        whole.map(|resource| (resource.name, resource.digest)).collect();
    for file in files {
        let Some(digest) = stated.remove(&file.path) else { continue };
        let listed_digest = ListedDigest {
            algorithm,
            digest,
            origin: SIGNATURE,
            remedy: "restore it, or sign the model again",
        };
        if !file.digests.iter().any(|other| other.has_same_digest(&listed_digest)) {
            file.digests.push(listed_digest);
        }
    }
}

/// A seal that was read next to a model.
#[derive(Debug)]
pub(super) struct SealSidecar {
    /// The seal, or the finding that it is invalid.
    pub seal: Result<Seal, Box<Finding>>,
    /// The digest of its bytes, or of the message if it is invalid.
    pub digest: [u8; 32],
}

/// Reads the seal at a location.
///
/// # Errors
/// Returns [`SourceError::Unreachable`] or [`SourceError::Changed`] if a remote seal cannot be fetched or is no longer the
/// listed one.
pub(super) fn read_seal(place: &Location) -> Result<SealSidecar, SourceError> {
    let read = match place {
        Location::Path(path) => seal::read::read(path),
        Location::Remote(file) => seal::read::read_remote(file.as_ref()),
    };
    let error = match read {
        Ok((seal, digest)) => return Ok(SealSidecar { seal: Ok(seal), digest }),
        Err(error) => error,
    };
    if let SealError::Io(cause) = &error
        && let Some(remote) = RemoteError::from_io_error(cause)
    {
        return Err(SourceError::at(&place.display_path().to_string_lossy(), remote.clone()));
    }
    let message = format!("{}: {error}", seal::FILE_NAME);
    let digest = *blake3::hash(message.as_bytes()).as_bytes();
    let finding = Finding::new("integrity/seal-invalid", message).in_file(seal::FILE_NAME);
    Ok(SealSidecar { seal: Err(Box::new(finding)), digest })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::ChangeToken;
    use std::sync::Arc;
    use tensorseal_base::hashing::{FileHashing, HashAlgorithm};
    use tensorseal_format::RemoteFile;
    use tensorseal_signing::Resource;

    #[derive(Debug)]
    struct Response(u64, Result<&'static str, RemoteError>);

    impl RemoteFile for Response {
        fn place(&self) -> String {
            "s3://models/m/tensorseal.seal.json".to_owned()
        }

        fn bytes(&self) -> u64 {
            self.0
        }

        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), RemoteError> {
            let text = self.1.clone()?;
            buffer.copy_from_slice(&text.as_bytes()[offset as usize..][..buffer.len()]);
            Ok(())
        }
    }

    /// A seal that cannot be fetched is an error, and an invalid seal is a finding.
    #[test]
    fn a_seal_on_another_machine() {
        let read = |bytes, answer| read_seal(&Location::Remote(Arc::new(Response(bytes, answer))));
        let gone = read(9, Err(RemoteError::Changed("it is gone".to_owned())));
        assert!(matches!(gone, Err(SourceError::Changed { .. })), "{gone:?}");
        let away = read(9, Err(RemoteError::Unavailable("503".to_owned()))).unwrap_err();
        assert_eq!(away.to_string(), "s3://models/m/tensorseal.seal.json: 503");
        for (bytes, text, why) in
            [(2, "{}", "not a seal"), (0, "", "EOF"), (u64::MAX, "", "no seal is longer")]
        {
            let finding = read(bytes, Ok(text)).unwrap().seal.unwrap_err();
            assert_eq!(finding.rule, "integrity/seal-invalid");
            assert!(finding.message.contains(why), "{}", finding.message);
        }
    }

    #[test]
    fn a_signature_states_digests_of_whole_files_by_exact_path() {
        let file = |path: &str| ListedFile {
            path: path.to_owned(),
            bytes: 1,
            change_token: ChangeToken::None,
            digests: Vec::new(),
        };
        let resource =
            |name: &str, range| Resource { name: name.to_owned(), range, digest: vec![7; 32] };
        let stated = |shard: Option<u64>, resources| {
            let shard = shard.and_then(std::num::NonZeroU64::new);
            let hashing = FileHashing { algorithm: HashAlgorithm::Blake3, shard };
            Manifest::new("m", hashing, false, Vec::new(), resources).unwrap()
        };
        let mut files = ["A", "a", "b/a", "c"].map(file);
        add_manifest_digests(
            stated(None, vec![resource("a", None), resource("d", None)]),
            &mut files,
        );
        let counts: Vec<usize> = files.iter().map(|file| file.digests.len()).collect();
        assert_eq!(counts, [0, 1, 0, 0]);
        assert_eq!(files[1].digests[0].algorithm, HashAlgorithm::Blake3);
        add_manifest_digests(stated(None, vec![resource("a", None)]), &mut files);
        assert_eq!(files[1].digests.len(), 1, "the same digest is added once");
        add_manifest_digests(stated(Some(4), vec![resource("c", Some([0, 4]))]), &mut files);
        assert!(files[3].digests.is_empty());
    }
}
