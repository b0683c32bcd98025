//! Reading a manifest from a statement that was signed by who is trusted: what it says is checked
//! nevertheless.

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
    /// Reads the manifest of a statement, and checks it: types and names, that shards are complete, that
    /// the root is that of the digests.
    ///
    /// # Errors
    /// See [`ManifestError`].
    pub fn parse(statement: &[u8]) -> Result<Self, ManifestError> {
        let head = StatementHeader::read(statement)?;
        let predicate_type = head.predicate_type.clone();
        let manifest = if predicate_type == LEGACY_PREDICATE_TYPE {
            from_subjects(head)?
        } else if is_v1(&predicate_type) {
            from_predicate(head, statement)?
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

fn from_predicate(head: StatementHeader, statement: &[u8]) -> Result<Manifest, ManifestError> {
    let predicate_type = head.predicate_type.clone();
    let unknown_members =
        head.members.iter().filter(|name| !matches!(name.as_str(), "serialization" | "resources"));
    let unknown_members = unknown_members.cloned().collect();
    let (subject, root) = head.one_subject()?;
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
            let size = written.shard_size.as_ref().and_then(whole).and_then(NonZeroU64::new);
            Some(size.ok_or(ManifestError::ShardSize)?)
        }
        _ => return Err(ManifestError::Method(written.method.clone())),
    };
    Ok(FileHashing { algorithm, shard })
}

/// A whole number, also one that is written with `.0`: all numbers of the Python client are floats.
fn whole(number: &Number) -> Option<u64> {
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

/// A manifest of `model_signing` 0.2: every subject is a file. There is no root to compare with.
fn from_subjects(head: StatementHeader) -> Result<Manifest, ManifestError> {
    let algorithm = match head.subject.first() {
        Some(subject) => algorithm_of(subject)?,
        None => HashAlgorithm::Sha256,
    };
    let resources: Result<Vec<_>, _> =
        head.subject.into_iter().map(|subject| file(subject, algorithm)).collect();
    let resources = resources?;
    Ok(Manifest {
        subject: String::new(),
        root: root(&resources),
        hashing: FileHashing::whole(algorithm),
        allow_symlinks: false,
        ignore_paths: Vec::new(),
        predicate_type: head.predicate_type,
        resources,
        unknown_members: Vec::new(),
    })
}

/// The hash function of a subject: the digest is always called `sha256`, and an annotation tells what
/// it is, as the name of the hash function after `file-`.
fn algorithm_of(subject: &WrittenSubject) -> Result<HashAlgorithm, ManifestError> {
    let annotation =
        subject.annotations.as_ref().and_then(|notes| notes.get("actual_hash_algorithm"));
    match annotation {
        None => Ok(HashAlgorithm::Sha256),
        Some(Value::String(name)) => {
            let known = HashAlgorithm::from_name(name.strip_prefix("file-").unwrap_or(name));
            known.ok_or_else(|| ManifestError::HashType(name.clone()))
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
