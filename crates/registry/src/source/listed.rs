//! A model as its source lists it.

#[cfg(any(feature = "mlflow", feature = "s3"))]
use super::SourceError;
use super::local::is_signature;
use serde::{Deserialize, Serialize};
use tensorseal_base::hashing::HashAlgorithm;
use tensorseal_core::seal;
use tensorseal_format::FileIdentity;

/// A model of a source.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ListedModel {
    /// Its name in the source: what stays the same when it gets a new version.
    pub name: String,
    /// Its version as the source knows it: a commit, the digest of a manifest, a number; `None`: the source
    /// has no versions.
    pub version: Option<String>,
    /// Its files, in byte order of their paths.
    pub files: Vec<ListedFile>,
    /// Files that are no part of it and say something of it, by their paths in it: its seal, the notes of its
    /// download. What they say is read when it is opened. One that is written again although it says
    /// the same has no mark: only whether it is there counts.
    pub sidecars: Vec<ListedFile>,
    /// What of it is not there, as its source knows, in a sentence each: a part was downloaded.
    pub incomplete: Vec<String>,
    /// Why it cannot be listed, or read: nobody knows what is there.
    pub unreadable: Option<String>,
    /// Why it is no model: it is told of, and read only where it was known as a model before. Without files
    /// there is nothing that could be read.
    pub not_a_model: Option<String>,
    /// Whether there is a signature with it; nobody looked at what it says.
    pub signed: bool,
    /// Whether there is a seal with it.
    pub sealed: bool,
}

impl ListedModel {
    /// A model of which nothing is known but why.
    pub(super) fn unreadable(name: String, why: impl std::fmt::Display) -> ListedModel {
        ListedModel { name, unreadable: Some(why.to_string()), ..ListedModel::default() }
    }

    /// Something that is no model and is not looked into.
    pub(super) fn skipped(name: String, why: impl Into<String>) -> ListedModel {
        ListedModel { name, not_a_model: Some(why.into()), ..ListedModel::default() }
    }

    /// It has arrays and no file of a model.
    pub(super) fn into_arrays_only(self, arrays: u64) -> ListedModel {
        let why = match arrays {
            1 => "an array, and no file of a model".to_owned(),
            n => format!("{n} arrays, and no file of a model"),
        };
        ListedModel { not_a_model: Some(why), ..self }
    }

    /// Refuses to take this for what is listed of it `now`: its files, what lies beside it, their marks.
    #[cfg(any(feature = "mlflow", feature = "s3"))]
    pub(super) fn ensure_unchanged(&self, now: &ListedModel) -> Result<(), SourceError> {
        let changed = |path: &str, what: &str| {
            Err(SourceError::Changed {
                place: format!("{}: {path}", self.name),
                what: what.to_owned(),
            })
        };
        if self.version != now.version {
            return changed("", "it has another version");
        }
        for (was, is) in [(&self.files, &now.files), (&self.sidecars, &now.sidecars)] {
            for (was, is) in was.iter().zip(is) {
                if was.path != is.path {
                    return changed(&was.path, "its files are others");
                }
                if (was.bytes, &was.change_token) != (is.bytes, &is.change_token) {
                    return changed(&was.path, "it was written to");
                }
            }
            if was.len() != is.len() {
                return changed("", "its files are others");
            }
        }
        Ok(())
    }

    /// Notes the signatures and the seal that are among its files.
    pub(super) fn detect_signatures(&mut self) {
        for file in &self.files {
            let name = file.path.rsplit('/').next().unwrap_or_default();
            self.signed |= is_signature(name);
            self.sealed |= file.path == seal::FILE_NAME;
        }
    }
}

/// A file of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedFile {
    /// Path in the model, components separated by `/`.
    pub path: String,
    /// Length in bytes.
    pub bytes: u64,
    /// What moves when it is written.
    pub change_token: ChangeToken,
    /// What its source says its digest is, as far as that is known without reading anything.
    pub digests: Vec<ListedDigest>,
}

/// What a source gives that moves when a file is written: never a proof that it was not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeToken {
    /// Of a file system.
    Identity(FileIdentity),
    /// Of an object store.
    Object {
        /// Its entity tag.
        etag: Option<String>,
        /// The version of the object, in a bucket with versions.
        version: Option<String>,
        /// When it was written, as the store says (RFC 3339).
        modified: String,
    },
    /// The digest it is addressed by: `sha256:…`.
    Digest(String),
    /// Nothing moves.
    None,
}

/// A digest that a source claims a file has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedDigest {
    /// The hash function.
    pub algorithm: HashAlgorithm,
    /// The digest.
    pub digest: Vec<u8>,
    /// Where it stands, for people: `the name of its blob`.
    pub origin: &'static str,
    /// What to do about a file that does not have it: `fetch it again`.
    pub remedy: &'static str,
}

impl ListedDigest {
    /// Whether another claims the same, wherever it stands.
    pub fn has_same_digest(&self, other: &ListedDigest) -> bool {
        (self.algorithm, &self.digest) == (other.algorithm, &other.digest)
    }
}
