//! What lies beside the tensors of a model and speaks of it: its seal, its signature.

use crate::source::{ListedDigest, ListedFile, SourceError};
use std::collections::HashMap;
use tensorseal_base::severity::Severity;
use tensorseal_core::judge::Finding;
use tensorseal_core::seal::{self, Seal, SealError};
use tensorseal_format::{Checkpoint, Location, RemoteError, read_whole};
use tensorseal_signing::{self as signing, BUNDLE_FILE_NAME as SIGNATURE, Manifest};

/// The longest signature that is looked into: that of more files than a model of a registry may have.
const MAX_SIGNATURE: u64 = 64 << 20;

/// Adds to the files of a model what its signature states of them; or else gives the finding that it states
/// nothing that can be used. Nobody's key is asked for: whoever changed a file and not its signature is found
/// out, whoever changed both is not.
pub(super) fn add_signed_digests(model: &Checkpoint, files: &mut [ListedFile]) -> Option<Finding> {
    let signature = model.model_files().iter().find(|file| file.path == SIGNATURE)?;
    let stated = match read_whole(model, SIGNATURE, MAX_SIGNATURE) {
        Some(bundle) => signing::parse_unverified(&bundle).map_err(|error| error.to_string()),
        None if signature.bytes > MAX_SIGNATURE => {
            Err(format!("it is {} bytes long, and a scan reads {MAX_SIGNATURE}", signature.bytes))
        }
        // It is written at this moment, or cannot be read: the check itself will tell.
        None => return None,
    };
    match stated {
        Ok(manifest) => {
            add_manifest_digests(manifest, files);
            None
        }
        Err(why) => {
            let message = format!("the signature cannot be used: {why}");
            let mut finding =
                Finding::new("signature/bundle-invalid", message.replace(['\n', '\r'], " "));
            // Nobody relies on it here.
            finding.severity = Severity::Medium;
            Some(finding.in_file(SIGNATURE))
        }
    }
}

/// Digests of shards are left alone: they say the same, and nothing else here has them.
fn add_manifest_digests(manifest: Manifest, files: &mut [ListedFile]) {
    let algorithm = manifest.hashing.algorithm;
    let whole = manifest.resources.into_iter().filter(|resource| resource.range.is_none());
    let mut stated: HashMap<String, Vec<u8>> =
        whole.map(|resource| (resource.name, resource.digest)).collect();
    for file in files {
        let Some(digest) = stated.remove(&file.path) else { continue };
        let claim = ListedDigest {
            algorithm,
            digest,
            origin: "its signature",
            remedy: "restore it, or have the model signed again if it was changed on purpose",
        };
        if !file.digests.iter().any(|other| other.has_same_digest(&claim)) {
            file.digests.push(claim);
        }
    }
}

/// A seal that was read.
#[derive(Debug)]
pub(super) struct SealSidecar {
    /// It, or the finding that it cannot be used.
    pub seal: Result<Seal, Box<Finding>>,
    /// Of its bytes, or of what is wrong with it.
    pub digest: [u8; 32],
}

/// Reads the seal at a place.
///
/// # Errors
/// When it lies on another machine and could not be had, or is no longer the one that was listed.
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
    struct Answers(u64, Result<&'static str, RemoteError>);

    impl RemoteFile for Answers {
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

    /// What could not be had is not judged; what was had and is no seal is.
    #[test]
    fn a_seal_on_another_machine() {
        let read = |bytes, answer| read_seal(&Location::Remote(Arc::new(Answers(bytes, answer))));
        let gone = read(9, Err(RemoteError::Changed("it is gone".to_owned())));
        assert!(matches!(gone, Err(SourceError::Changed { .. })), "{gone:?}");
        let away = read(9, Err(RemoteError::Unavailable("503".to_owned()))).unwrap_err();
        assert_eq!(away.to_string(), "s3://models/m/tensorseal.seal.json: 503");
        for (bytes, text, why) in
            [(2, "{}", "not a valid seal"), (0, "", "EOF"), (u64::MAX, "", "no seal is longer")]
        {
            let finding = read(bytes, Ok(text)).unwrap().seal.unwrap_err();
            assert_eq!(finding.rule, "integrity/seal-invalid");
            assert!(finding.message.contains(why), "{}", finding.message);
        }
    }

    #[test]
    fn a_signature_claims_whole_files_by_their_exact_paths() {
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
        let claims: Vec<usize> = files.iter().map(|file| file.digests.len()).collect();
        assert_eq!(claims, [0, 1, 0, 0]);
        assert_eq!(files[1].digests[0].algorithm, HashAlgorithm::Blake3);
        add_manifest_digests(stated(None, vec![resource("a", None)]), &mut files);
        assert_eq!(files[1].digests.len(), 1, "the same is claimed once");
        add_manifest_digests(stated(Some(4), vec![resource("c", Some([0, 4]))]), &mut files);
        assert!(files[3].digests.is_empty());
    }
}
