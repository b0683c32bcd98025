//! The subject of statements about a verdict, and the documents that the verdict depends on.

use super::measurements::GateMeasurements;
use super::{GateRequest, StatementSubject};
use crate::document::statement::StatementInput;
use crate::judge::signature::SignatureOutcome;
use crate::verbs::trust::read_small;
use crate::verbs::{Error, locations};
use sha2::{Digest, Sha256};
use std::path::Path;
use tensorseal_base::hashing::{FileHashing, HashAlgorithm};
use tensorseal_format::{Checkpoint, ModelFile};
use tensorseal_signing::{Manifest, Resource, attestation, bundle};

/// Returns the subject: that of the verified signature, else a manifest over the digests of all files.
pub(super) fn statement_subject(
    request: &GateRequest<'_>,
    model: &Checkpoint,
    measured: &GateMeasurements,
) -> Result<StatementSubject, Error> {
    let intact = |outcome: &SignatureOutcome| outcome.findings.is_empty();
    let inputs = inputs(request)?;
    if let (Some(verified), true) =
        (&request.signature, measured.signed.as_ref().is_some_and(intact))
    {
        let Manifest { subject, root, .. } = &verified.manifest;
        return Ok(StatementSubject { name: subject.clone(), sha256: *root, inputs });
    }
    let hashing = FileHashing::whole(HashAlgorithm::Sha256);
    let resource = |(at, file): (usize, &ModelFile)| {
        let digests = measured.digests.get(at).and_then(Option::as_ref);
        let digest = digests.and_then(|digests| digests.whole(hashing.algorithm));
        let digest = digest.ok_or_else(|| Error::NotHashed(file.path.clone()))?;
        Ok(Resource { name: file.path.clone(), range: None, digest: digest.to_vec() })
    };
    let resources: Result<Vec<Resource>, Error> =
        model.model_files().iter().enumerate().map(resource).collect();
    let resources = resources?;
    let name =
        locations::model_name(request.path).map_err(|_| Error::NoModel(request.path.to_owned()))?;
    let manifest = Manifest::new(&name, hashing, false, Vec::new(), resources)?;
    Ok(StatementSubject { name, sha256: manifest.root, inputs })
}

/// Returns the signature and the attestations that were read.
fn inputs(request: &GateRequest<'_>) -> Result<Vec<StatementInput>, Error> {
    if request.signature.is_none() {
        return Ok(Vec::new());
    }
    let bundle = &request.signature_options.bundle;
    let attestations = request.signature_options.attestations();
    let mut inputs = vec![input(bundle, bundle::MAX_LEN as u64)?];
    if attestations.is_file() {
        inputs.push(input(&attestations, attestation::MAX_FILE)?);
    }
    Ok(inputs)
}

fn input(path: &Path, max_len: u64) -> Result<StatementInput, Error> {
    let bytes = read_small(path, max_len)?;
    Ok(StatementInput {
        name: locations::file_name(path),
        sha256: Sha256::digest(bytes.as_slice()).into(),
    })
}
