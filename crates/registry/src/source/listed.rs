//! Models and files as their source lists them.

#[cfg(any(feature = "mlflow", feature = "s3"))]
use super::SourceError;
use super::local::is_signature;
use serde::{Deserialize, Serialize};
use tensorseal_base::hashing::HashAlgorithm;
use tensorseal_core::seal;
use tensorseal_format::FileIdentity;

/// A model in the listing of a source.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ListedModel {
    /// The name of the model in the source. It stays the same in new versions.
    pub name: String,
    /// The version in the source: a commit, the digest of a manifest, or a number; `None` if the source has no versions.
    pub version: Option<String>,
    /// The files of the model, in byte order of their paths.
    pub files: Vec<ListedFile>,
    /// The sidecars of the model: its seal and the metadata of its download. Their content is read when the model is
    /// opened. A sidecar that may be rewritten without a change has no change token: only its presence counts.
    pub sidecars: Vec<ListedFile>,
    /// The parts that are missing according to the source, one sentence each. A partial download has some.
    pub incomplete: Vec<String>,
    /// The reason why the model cannot be listed or read.
    pub unreadable: Option<String>,
    /// The reason why the entry is not a model. It is reported, but only read if it was recorded as a model before and
    /// has files.
    pub not_a_model: Option<String>,
    /// Whether the model has a signature. It is not verified.
    pub signed: bool,
    /// Whether the model has a seal.
    pub sealed: bool,
}

impl ListedModel {
    /// Creates the entry of a model that cannot be listed.
    pub(super) fn unreadable(name: String, reason: impl std::fmt::Display) -> ListedModel {
        ListedModel { name, unreadable: Some(reason.to_string()), ..ListedModel::default() }
    }

    /// Creates the entry of something that is not a model and is not read.
    pub(super) fn skipped(name: String, reason: impl Into<String>) -> ListedModel {
        ListedModel { name, not_a_model: Some(reason.into()), ..ListedModel::default() }
    }

    /// Marks the entry as a directory that has arrays but no model file.
    pub(super) fn into_arrays_only(self, arrays: u64) -> ListedModel {
        let reason = match arrays {
            1 => "one array, but no model file".to_owned(),
            n => format!("{n} arrays, but no model file"),
        };
        ListedModel { not_a_model: Some(reason), ..self }
    }

    /// Checks that the model is still listed with the same version, files, sidecars and change tokens.
    ///
    /// # Errors
    /// Returns [`SourceError::Changed`] if the listing differs.
    #[cfg(any(feature = "mlflow", feature = "s3"))]
    pub(super) fn ensure_unchanged(&self, now: &ListedModel) -> Result<(), SourceError> {
        let changed = |path: &str, what: &str| {
            Err(SourceError::Changed {
                place: format!("{}: {path}", self.name),
                what: what.to_owned(),
            })
        };
        if self.version != now.version {
            return changed("", "its version changed");
        }
        for (was, is) in [(&self.files, &now.files), (&self.sidecars, &now.sidecars)] {
            for (was, is) in was.iter().zip(is) {
                if was.path != is.path {
                    return changed(&was.path, "its list of files changed");
                }
                if (was.bytes, &was.change_token) != (is.bytes, &is.change_token) {
                    return changed(&was.path, "the file was written");
                }
            }
            if was.len() != is.len() {
                return changed("", "its list of files changed");
            }
        }
        Ok(())
    }

    /// Sets [`Self::signed`] and [`Self::sealed`] from the names of the files.
    pub(super) fn detect_signatures(&mut self) {
        for file in &self.files {
            let name = file.path.rsplit('/').next().unwrap_or_default();
            self.signed |= is_signature(name);
            self.sealed |= file.path == seal::FILE_NAME;
        }
    }
}

/// A file in the listing of a source.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedFile {
    /// The path in the model, with components separated by `/`.
    pub path: String,
    /// The length in bytes.
    pub bytes: u64,
    /// A value that changes when the file is written.
    pub change_token: ChangeToken,
    /// The digests that the source states for the file, as far as they are known without reading it.
    pub digests: Vec<ListedDigest>,
}

/// A value of a source that changes when a file is written. An unchanged value does not prove that the file is unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeToken {
    /// The identity of a file in a file system.
    Identity(FileIdentity),
    /// The identity of an object in an object store.
    Object {
        /// The entity tag.
        etag: Option<String>,
        /// The version of the object, in a bucket with versions.
        version: Option<String>,
        /// The modification time according to the store (RFC 3339).
        modified: String,
    },
    /// The digest by which the file is addressed: `sha256:…`.
    Digest(String),
    /// The source has no such value.
    None,
}

/// A digest that a source states for a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedDigest {
    /// The hash function.
    pub algorithm: HashAlgorithm,
    /// The digest.
    pub digest: Vec<u8>,
    /// The place that states the digest, for messages that it `does not match`: `the name of its blob`.
    pub origin: &'static str,
    /// The remedy for a file with another digest, for messages: `download it again`.
    pub remedy: &'static str,
}

impl ListedDigest {
    /// Returns whether `other` is the same digest, whatever place states it.
    pub fn has_same_digest(&self, other: &ListedDigest) -> bool {
        (self.algorithm, &self.digest) == (other.algorithm, &other.digest)
    }
}
