//! The verdict as statements for others, signed when a key is given.

use super::Asked;
use super::args::{StatementKind, Stating};
use super::measured::Measured;
use crate::cli::signing::args::SignerArgs;
use crate::cli::signing::{keys, places};
use crate::cli::{Failure, output};
use anyhow::{Context, anyhow};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use tensorseal::checkpoint::Checkpoint;
use tensorseal::report::statement::{Input, Stated};
use tensorseal::report::{Report, svr, vsa};
use tensorseal::signing::{
    Manifest, Method, PrivateKey, Resource, attestation, bundle, sign_statement,
};
use tensorseal::stream::hashing::{FileHashing, HashAlgorithm};

/// Whoever signs the statements. Asked for before the model is read, not after.
pub fn signer(args: &Stating) -> Result<Option<(PrivateKey, Method)>, Failure> {
    let Some(key) = &args.key else { return Ok(None) };
    keys::signer(&SignerArgs {
        key: key.clone(),
        passphrase_file: args.passphrase_file.clone(),
        cert: args.cert.clone(),
        chain: args.chain.clone(),
    })
    .map(Some)
}

/// A statement, and where it is to be.
pub type Made<'a> = (&'a Path, Vec<u8>);

/// Makes every statement that was asked for.
pub fn make<'a>(
    asked: &Asked<'a>,
    model: &Checkpoint,
    measured: &Measured,
    key: Option<&(PrivateKey, Method)>,
    report: &Report,
) -> Result<Vec<Made<'a>>, Failure> {
    if asked.args.stating.statement.is_empty() {
        return Ok(Vec::new());
    }
    let stated = stated(asked, model, measured)?;
    let make = |(kind, path): &'a (StatementKind, PathBuf)| {
        let statement = match kind {
            StatementKind::Vsa => vsa::statement(report, &stated),
            StatementKind::Svr => svr::statement(report, &stated),
        };
        let mut text = statement.map_err(Failure::incomplete)?.to_json();
        if let Some((key, method)) = key {
            text = sign_statement(&text, key, method).map_err(Failure::usage)?;
        }
        text.push(b'\n');
        Ok((path.as_path(), text))
    };
    asked.args.stating.statement.iter().map(make).collect()
}

/// Writes them.
pub fn write(statements: &[Made<'_>]) -> Result<(), Failure> {
    statements.iter().try_for_each(|(path, text)| {
        output::write_file(path, &|out| out.write_all(text))
            .with_context(|| format!("cannot write the statement to {}", path.display()))
            .map_err(Failure::incomplete)
    })
}

fn stated(asked: &Asked<'_>, model: &Checkpoint, measured: &Measured) -> Result<Stated, Failure> {
    let (subject, sha256) = subject(asked, model, measured)?;
    let stating = &asked.args.stating;
    Ok(Stated {
        subject,
        sha256,
        resource_uri: stating.resource_uri.clone(),
        policy_uri: stating.policy_uri.clone(),
        verifier: stating.verifier_id.clone(),
        inputs: inputs(asked)?,
    })
}

/// The model as a signature would call it: a signature that verified says it, else the digests of all files
/// do.
fn subject(
    asked: &Asked<'_>,
    model: &Checkpoint,
    measured: &Measured,
) -> Result<(String, [u8; 32]), Failure> {
    let intact = |outcome: &tensorseal::judge::signature::Outcome| outcome.findings.is_empty();
    if let (Some(checked), true) = (&asked.checked, measured.signed.as_ref().is_some_and(intact)) {
        return Ok((checked.manifest.subject.clone(), checked.manifest.root));
    }
    let hashing = FileHashing::whole(HashAlgorithm::Sha256);
    let resource = |(at, file): (usize, &tensorseal::checkpoint::ModelFile)| {
        let digests = measured.digests.get(at).and_then(Option::as_ref);
        let digest = digests.and_then(|digests| digests.whole(hashing.algorithm));
        let digest = digest.ok_or_else(|| anyhow!("{} was not hashed", file.path))?;
        Ok(Resource { name: file.path.clone(), range: None, digest: digest.to_vec() })
    };
    let resources: anyhow::Result<Vec<Resource>> =
        model.own_files().iter().enumerate().map(resource).collect();
    let resources = resources.map_err(Failure::incomplete)?;
    let name = places::subject(asked.model)?;
    let manifest = Manifest::new(&name, hashing, false, Vec::new(), resources);
    Ok((name, manifest.map_err(Failure::incomplete)?.root))
}

/// The documents that the verdict rests on: the signature and the attestations, where they were read.
fn inputs(asked: &Asked<'_>) -> Result<Vec<Input>, Failure> {
    let (Some(bundle), Some(_)) = (&asked.signature.signature, &asked.checked) else {
        return Ok(Vec::new());
    };
    let beside = places::attestations_of(bundle);
    let beside = asked.signature.attestations.as_ref().unwrap_or(&beside);
    let mut inputs = vec![input(bundle, bundle::MAX_LEN as u64)?];
    if beside.is_file() {
        inputs.push(input(beside, attestation::MAX_FILE)?);
    }
    Ok(inputs)
}

fn input(path: &Path, most: u64) -> Result<Input, Failure> {
    let bytes = keys::read_small(path, most)?;
    Ok(Input { name: output::file_name(path), sha256: Sha256::digest(bytes.as_slice()).into() })
}
