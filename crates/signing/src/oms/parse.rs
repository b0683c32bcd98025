//! Reads and checks the manifest of a statement. It is checked even if a trusted signer signed it.

use super::{
    LEGACY_PREDICATE_TYPE, Manifest, ManifestError, PREDICATE_TYPE_V1, Resource, root, shards,
};
use crate::json;
use crate::statement::{StatementError, StatementHeader, WrittenStatement, WrittenSubject};
use serde::Deserialize;
use serde_json::{Number, Value};
use std::num::NonZeroU64;
use tensorseal_base::hashing::{FileHashing, HashAlgorithm};
use tensorseal_base::hex::unhex_any_case;

#[derive(Deserialize)]
struct Predicate {
    serialization: Serialization,
    resources: Vec<WrittenResource>,
}

#[derive(Deserialize)]
struct Serialization {
    method: String,
    hash_type: String,
    #[serde(default)]
    shard_size: Option<Number>,
    #[serde(default)]
    allow_symlinks: bool,
    #[serde(default)]
    ignore_paths: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct WrittenResource {
    name: String,
    algorithm: String,
    digest: String,
}

impl Manifest {
    /// Parses and checks the manifest of a statement: the types, the names, that the shards of each file are complete,
    /// and that the root matches the digests. The signature is not checked.
    ///
    /// # Errors
    /// Returns a [`ManifestError`] if the text is not a statement with a manifest, or if the manifest breaks one of these
    /// rules.
    pub fn parse(statement: &[u8]) -> Result<Self, ManifestError> {
        let header = StatementHeader::read(statement)?;
        let predicate_type = header.predicate_type.clone();
        let manifest = if predicate_type == LEGACY_PREDICATE_TYPE {
            from_subjects(header)?
        } else if is_v1(&predicate_type) {
            from_predicate(header, statement)?
        } else {
            return Err(ManifestError::PredicateType(predicate_type));
        };
        manifest.check()?;
        let computed = root(&manifest.resources);
        if manifest.root != computed {
            return Err(ManifestError::Root { signed: manifest.root, computed });
        }
        Ok(manifest)
    }
}

fn is_v1(predicate_type: &str) -> bool {
    predicate_type.strip_prefix(PREDICATE_TYPE_V1).is_some_and(|minor| {
        !minor.is_empty() && minor.len() <= 4 && minor.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn from_predicate(header: StatementHeader, statement: &[u8]) -> Result<Manifest, ManifestError> {
    let predicate_type = header.predicate_type.clone();
    let unknown_members = header
        .members
        .iter()
        .filter(|name| !matches!(name.as_str(), "serialization" | "resources"));
    let unknown_members = unknown_members.cloned().collect();
    let (subject, root) = header.one_subject()?;
    let subject = subject.filter(|name| !name.is_empty()).ok_or(ManifestError::NoSubjectName)?;
    let written: WrittenStatement<Predicate> =
        json::shape(statement).map_err(StatementError::from)?;
    let Predicate { serialization, resources } = written.predicate;
    let hashing = hashing(&serialization)?;
    let resources: Result<_, _> =
        resources.into_iter().map(|written| resource(written, hashing)).collect();
    Ok(Manifest {
        subject,
        root,
        hashing,
        allow_symlinks: serialization.allow_symlinks,
        ignore_paths: serialization.ignore_paths.unwrap_or_default(),
        predicate_type,
        resources: resources?,
        unknown_members,
    })
}

fn hashing(written: &Serialization) -> Result<FileHashing, ManifestError> {
    let algorithm = HashAlgorithm::from_name(&written.hash_type)
        .ok_or_else(|| ManifestError::HashType(written.hash_type.clone()))?;
    let shard = match written.method.as_str() {
        "files" => None,
        "shards" => {
            let size = written.shard_size.as_ref().and_then(integer).and_then(NonZeroU64::new);
            Some(size.ok_or(ManifestError::ShardSize)?)
        }
        _ => return Err(ManifestError::Method(written.method.clone())),
    };
    Ok(FileHashing { algorithm, shard })
}

/// Returns a number that is an integer. It may be written with `.0`: all numbers of the Python client are floats.
fn integer(number: &Number) -> Option<u64> {
    const EXACT: f64 = (1u64 << 53) as f64;
    number.as_u64().or_else(|| {
        let value = number.as_f64()?;
        ((0.0..=EXACT).contains(&value) && libm::trunc(value) == value).then_some(value as u64)
    })
}

fn resource(written: WrittenResource, hashing: FileHashing) -> Result<Resource, ManifestError> {
    let WrittenResource { name, algorithm, digest } = written;
    let expected = hashing.algorithm.name();
    let sharded = hashing.shard.map(|size| format!("{expected}-sharded-{size}"));
    if algorithm != expected && Some(&algorithm) != sharded.as_ref() {
        let expected = sharded.unwrap_or_else(|| expected.to_owned());
        return Err(ManifestError::Algorithm { name, algorithm, expected });
    }
    let Some(digest) = unhex_any_case(&digest) else { return Err(ManifestError::Digest(name)) };
    if hashing.shard.is_none() {
        return Ok(Resource { name, range: None, digest });
    }
    match shards::read_name(&name) {
        Some((path, range)) => Ok(Resource { name: path.to_owned(), range: Some(range), digest }),
        None => Err(ManifestError::ShardName(name)),
    }
}

/// Reads a manifest of `model_signing` 0.2, in which every subject is a file and there is no root.
fn from_subjects(header: StatementHeader) -> Result<Manifest, ManifestError> {
    let algorithm = match header.subject.first() {
        Some(subject) => algorithm_of(subject)?,
        None => HashAlgorithm::Sha256,
    };
    let resources: Result<Vec<_>, _> =
        header.subject.into_iter().map(|subject| file(subject, algorithm)).collect();
    let resources = resources?;
    Ok(Manifest {
        subject: String::new(),
        root: root(&resources),
        hashing: FileHashing::whole(algorithm),
        allow_symlinks: false,
        ignore_paths: Vec::new(),
        predicate_type: header.predicate_type,
        resources,
        unknown_members: Vec::new(),
    })
}

/// Returns the hash function of a subject. The digest is always called `sha256`; an annotation names the actual hash
/// function after the prefix `file-`.
fn algorithm_of(subject: &WrittenSubject) -> Result<HashAlgorithm, ManifestError> {
    let annotation =
        subject.annotations.as_ref().and_then(|notes| notes.get("actual_hash_algorithm"));
    match annotation {
        None => Ok(HashAlgorithm::Sha256),
        Some(Value::String(name)) => {
            let algorithm = HashAlgorithm::from_name(name.strip_prefix("file-").unwrap_or(name));
            algorithm.ok_or_else(|| ManifestError::HashType(name.clone()))
        }
        Some(other) => Err(ManifestError::HashType(other.to_string())),
    }
}

fn file(subject: WrittenSubject, expected: HashAlgorithm) -> Result<Resource, ManifestError> {
    let algorithm = algorithm_of(&subject)?;
    let name = subject.name.unwrap_or_default();
    if algorithm != expected {
        let (algorithm, expected) = (algorithm.name().to_owned(), expected.name().to_owned());
        return Err(ManifestError::Algorithm { name, algorithm, expected });
    }
    match subject.digest.get("sha256").and_then(|text| unhex_any_case(text)) {
        Some(digest) => Ok(Resource { name, range: None, digest }),
        None => Err(ManifestError::Digest(name)),
    }
}
